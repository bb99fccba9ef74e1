//! Which jail(8) process owns a jail.
//!
//! jail(8) knows nothing of other jail(8) processes: two of them can start the
//! same jail at once (rc.d/jail does it with jail_parallel_start and `depend`),
//! or one starts what another is still stopping. Between exec.prepare and the
//! creation of the jail its mounts and its pair look exactly like what a failed
//! start left, and clearing them would pull the ground from under the other
//! process. So the hook that runs first notes the process that runs it, by its
//! id and start time, and for as long as that process lives no hook of another process
//! touches the jail.

use crate::system::console;
use crate::system::effect;
use crate::system::host::Host;
use crate::system::kernel::{Kernel, Process};
use crate::system::lock;
use crate::system::syslog::{self, Severity};
use crate::types::jail_name::JailName;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The names, as processes, of those that own a jail: jail(8), and the programs
/// that need it to be stopped while they run.
const OWNER_PROGRAMS: [&str; 4] = [JAIL, "jail-rebase", "jail-clone", "jail-export"];
const JAIL: &str = "jail";

fn path(host: &Host, jail: &JailName) -> PathBuf {
    host.root().host_path(Path::new(&format!("/var/run/thinjail-{jail}.claim")))
}

/// The process that owns the jail, if it still lives and is not the one
/// that runs us.
fn other(kernel: &dyn Kernel, noted: &str) -> Result<Option<Process>> {
    let mut words = noted.split_whitespace();
    let (Some(Ok(pid)), Some(started)) = (words.next().map(str::parse::<i32>), words.next()) else {
        return Ok(None);
    };
    let holds =
        |p: &Process| OWNER_PROGRAMS.contains(&p.command.as_str()) && p.started.to_string() == started;
    let alive = kernel.process(pid)?.filter(holds);
    Ok(alive.filter(|p| Some(p.pid) != parent() && p.pid != own()))
}

fn parent() -> Option<i32> {
    rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get())
}

fn own() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

fn refuse(jail: &JailName, other: &Process) -> Result<()> {
    if other.command == JAIL {
        bail!(
            "jail {jail} is being started, stopped or moved by another jail(8), process {}; try again later",
            other.pid
        );
    }
    bail!("jail {jail} is in use by {}, process {}; try again later", other.command, other.pid)
}

/// Claims the jail for the jail(8) that runs us, if one does. Fails when
/// another one has it in hand.
pub fn take(host: &Host, jail: &JailName) -> Result<()> {
    let kernel = host.kernel()?;
    let ours = match parent() {
        Some(pid) => kernel.process(pid)?.filter(|p| p.command == JAIL),
        None => None,
    };
    let Some(ours) = ours else { return check(host, jail) };
    let path = path(host, jail);
    match note(kernel, jail, &path, &ours) {
        // Without the note two starts at once are as bad as ever, but a full
        // /var must not keep every jail from starting.
        Err(e) if e.downcast_ref::<io::Error>().is_some() => {
            let what = format!("claim {}: {}", path.display(), console::line(&e));
            syslog::send(host.root(), "jail-sweep", Severity::Warning, &what);
            Ok(())
        }
        other => other,
    }
}

/// Claims the jail for this very process, which is no hook: as long as it lives,
/// jail(8) is refused by its first hook.
pub fn hold(host: &Host, jail: &JailName) -> Result<()> {
    let kernel = host.kernel()?;
    let Some(ours) = kernel.process(own())? else { return check(host, jail) };
    let path = path(host, jail);
    note(kernel, jail, &path, &ours).with_context(|| format!("claim {}", path.display()))
}

/// Notes who owns the jail, unless another process has.
fn note(kernel: &dyn Kernel, jail: &JailName, path: &Path, ours: &Process) -> Result<()> {
    let (file, noted) = open(path)?;
    if let Some(other) = other(kernel, &noted)? {
        return refuse(jail, &other);
    }
    Ok(effect::fill(&file, format!("{} {}\n", ours.pid, ours.started).as_bytes())?)
}

/// Opens the note and locks it: of two first hooks at the same moment one finds
/// what the other wrote.
fn open(path: &Path) -> Result<(File, String)> {
    let mut file = lock::open_private(path)?;
    effect::lock(&file)?;
    let mut noted = String::new();
    file.read_to_string(&mut noted)?;
    Ok((file, noted))
}

/// Fails when another jail(8) than the one that runs us owns the jail.
pub fn check(host: &Host, jail: &JailName) -> Result<()> {
    // It was never claimed, or the directory cannot be read.
    let Ok(noted) = std::fs::read_to_string(path(host, jail)) else { return Ok(()) };
    match other(host.kernel()?, &noted)? {
        Some(other) => refuse(jail, &other),
        None => Ok(()),
    }
}
