//! Stand-ins for the programs of FreeBSD that the suite runs, for tests on other systems.
//!
//! One program with many names: the tests make a directory of symbolic links to it, called `zfs`, `sysrc` and so on,
//! and point `THINJAIL_TOOLS` there. The file name it is called by says which program it plays. Everything it keeps or
//! changes lies below the alternate root, `THINJAIL_ROOT`; without one it refuses to do anything.
//!
//! How close the imitation is, is not a matter of opinion: `tests/suite/transcripts.rs` replays recordings of the real
//! programs against this one. What was never recorded follows the texts of the real programs' sources.
//!
//! Below `ROOT/var/db/standin/` a test finds `calls`, one line for every start of a stand-in, and may put files that
//! make things fail (see [`zfs`] and [`jail`]). Interfaces, mounts and jails are those of the simulated kernel, which the
//! programs under test share.

mod archive;
// The simulated kernel is on other systems only; on FreeBSD there is a real one.
#[cfg(not(target_os = "freebsd"))]
mod certs;
#[cfg(not(target_os = "freebsd"))]
mod commands;
#[cfg(not(target_os = "freebsd"))]
mod databases;
#[cfg(not(target_os = "freebsd"))]
mod devfs;
mod fetch;
mod getopt;
mod host;
#[cfg(not(target_os = "freebsd"))]
mod ifconfig;
#[cfg(not(target_os = "freebsd"))]
mod jail;
#[cfg(not(target_os = "freebsd"))]
mod jls;
mod kldstat;
#[cfg(not(target_os = "freebsd"))]
mod mounts;
#[cfg(not(target_os = "freebsd"))]
mod netstat;
mod pfctl;
#[cfg(not(target_os = "freebsd"))]
mod pkg;
mod pool;
mod props;
#[cfg(not(target_os = "freebsd"))]
mod rctl;
#[cfg(not(target_os = "freebsd"))]
mod route;
#[cfg(not(target_os = "freebsd"))]
mod service;
#[cfg(not(target_os = "freebsd"))]
mod simulated;
mod stream;
mod sysctl;
mod sysrc;
mod tar;
mod tree;
#[cfg(not(target_os = "freebsd"))]
mod update;
mod version;
mod zfs;

use std::env;
use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use host::Host;

/// What a run of a program has to say. It is written out at the end, in one go, so that a reader that leaves early
/// (`| head`) cannot stop a change half way.
#[derive(Default)]
struct Reply {
    out: String,
    err: String,
}

impl Reply {
    /// Adds a line to standard output.
    fn say(&mut self, line: impl AsRef<str>) {
        self.out.push_str(line.as_ref());
        self.out.push('\n');
    }

    /// Adds a line to standard error.
    fn complain(&mut self, line: impl AsRef<str>) {
        self.err.push_str(line.as_ref());
        self.err.push('\n');
    }

    /// Writes out what there is so far: another program is about to use the same streams.
    fn flush(&mut self) {
        // A closed pipe is the reader's choice and no error of ours.
        let _ = std::io::stdout().write_all(std::mem::take(&mut self.out).as_bytes());
        let _ = std::io::stderr().write_all(std::mem::take(&mut self.err).as_bytes());
    }
}

fn main() -> ExitCode {
    let mut reply = Reply::default();
    let status = match play(&mut reply) {
        Ok(status) => status,
        Err(cause) => {
            // EX_SOFTWARE: not a status any of the real programs uses, so a test sees that it is the stand-in that
            // could not go on.
            reply.complain(format!("standin: {cause:#}"));
            70
        }
    };
    reply.flush();
    ExitCode::from(status)
}

/// Runs sync(8): what was written already exists.
fn sync(_: &Host, args: &[String], _: &mut Reply) -> Result<u8> {
    if !args.is_empty() {
        bail!("sync: takes no arguments");
    }
    Ok(0)
}

/// Finds out which program to be, notes the call, and runs it.
fn play(reply: &mut Reply) -> Result<u8> {
    let mut words = Vec::new();
    for word in env::args_os() {
        match word.into_string() {
            Ok(word) => words.push(word),
            Err(word) => bail!("argument is not UTF-8: {word:?}"),
        }
    }
    let called = words.first().context("called without a name")?;
    let program =
        Path::new(called).file_name().and_then(OsStr::to_str).context("called without a name")?.to_owned();
    let run = match program.as_str() {
        "zfs" => zfs::run,
        "sysrc" => sysrc::run,
        "sysctl" => sysctl::run,
        "kldstat" => kldstat::run,
        #[cfg(not(target_os = "freebsd"))]
        "devfs" => devfs::run,
        "fetch" => fetch::run,
        "tar" => tar::run,
        "sync" => sync,
        "freebsd-version" => version::freebsd_version,
        "uname" => version::uname,
        #[cfg(not(target_os = "freebsd"))]
        "cap_mkdb" => databases::cap_mkdb,
        #[cfg(not(target_os = "freebsd"))]
        "certctl" => certs::certctl,
        #[cfg(not(target_os = "freebsd"))]
        "freebsd-update" => update::run,
        #[cfg(not(target_os = "freebsd"))]
        "netstat" => netstat::run,
        "pfctl" => pfctl::run,
        #[cfg(not(target_os = "freebsd"))]
        "pkg" => pkg::run,
        #[cfg(not(target_os = "freebsd"))]
        "pwd_mkdb" => databases::pwd_mkdb,
        #[cfg(not(target_os = "freebsd"))]
        "services_mkdb" => databases::services_mkdb,
        #[cfg(not(target_os = "freebsd"))]
        "sh" => certs::sh,
        #[cfg(not(target_os = "freebsd"))]
        "ifconfig" => ifconfig::run,
        #[cfg(not(target_os = "freebsd"))]
        "jail" => jail::run,
        #[cfg(not(target_os = "freebsd"))]
        "jexec" => commands::jexec,
        #[cfg(not(target_os = "freebsd"))]
        "jls" => jls::run,
        #[cfg(not(target_os = "freebsd"))]
        "mount" => mounts::mount,
        #[cfg(not(target_os = "freebsd"))]
        "rctl" => rctl::run,
        #[cfg(not(target_os = "freebsd"))]
        "route" => route::run,
        #[cfg(not(target_os = "freebsd"))]
        "service" => service::run,
        #[cfg(not(target_os = "freebsd"))]
        "umount" => mounts::umount,
        _ => bail!("{program}: no such stand-in; call it by a link named zfs, jail, ifconfig and so on"),
    };
    let args = words.split_off(1);
    let host = Host::from_env()?;
    // Programs of the machine that run shells are not what a test wants to know about.
    if program != "sh" {
        host.note_call(&program, &args)?;
    }
    run(&host, &args, reply)
}
