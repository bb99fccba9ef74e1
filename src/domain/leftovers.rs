//! Clearing what an earlier run of a jail left: mounts at and below its path.
//!
//! A jail stopped with an open connection stays dying, and its root stays
//! mounted: umount(8) says "Device busy", jail(8) does not try again, and the
//! next start fails at the first fstab line with "Resource deadlock avoided".
//! Forcing the unmount is safe then: no process is in that jail any longer.

use crate::domain::epair;
use crate::domain::layout::Layout;
use crate::domain::owner_lock;
use crate::formats::shell;
use crate::system::console;
use crate::system::host::Host;
use crate::system::kernel::{Mount, RunningJail, is_at_or_below};
use crate::system::plan::{Action, Plan, Undo};
use crate::system::syslog::{self, Severity};
use crate::types::interface::PairName;
use crate::types::jail_name::JailName;
use anyhow::{Context, Result, bail};
use std::io;
use std::path::{Component, Path, PathBuf};

/// The file system types that a jail's start mounts, and that may be unmounted.
pub const KINDS: [&str; 5] = ["nullfs", "devfs", "fdescfs", "procfs", "tmpfs"];

/// What a jail's root is mounted as.
const ROOT_KIND: &str = "nullfs";

/// What jail-sweep is asked for.
#[derive(Clone, Debug)]
pub struct SweepRequest {
    /// The jail.
    pub jail: JailName,
    /// Its path.
    pub path: PathBuf,
    /// Its pair; every pair tagged as the jail's when none is given.
    pub pair: Option<PairName>,
    /// Further file system types that may be unmounted.
    pub kinds: Vec<String>,
    /// Note that the jail(8) that runs us owns the jail.
    pub takes_ownership: bool,
}

/// The plan that clears away, and what will be left although it is below the
/// path.
pub struct Sweep {
    /// What to do.
    pub plan: Plan,
    /// What is not ours to clear, in words.
    pub left: Vec<String>,
    /// What is ours and must stay because of that.
    pub blocked: Vec<String>,
}

/// Looks for what is left of the jail. A running jail has nothing left.
pub fn look(host: &Host, request: &SweepRequest) -> Result<Sweep> {
    let kernel = host.kernel()?;
    let mut sweep = Sweep { plan: Plan::default(), left: Vec::new(), blocked: Vec::new() };
    check_path(&request.path)?;
    // Before all that says whether the jail is idle: what a start mounts from
    // here on is not among these, and one that was under way shows below.
    let mounts = kernel.mounts()?;
    if kernel.running_jail(request.jail.as_str())?.is_some() {
        return Ok(sweep);
    }
    if request.takes_ownership {
        owner_lock::take(host, &request.jail)?;
    } else {
        owner_lock::check(host, &request.jail)?;
    }
    let running = kernel.running_jails()?;
    // The jail(8) that owned it may just have ended.
    if running.iter().any(|j| j.name == request.jail.as_str()) {
        return Ok(sweep);
    }
    if let Some(path) = resolve(host, &request.path)? {
        // Neither around nor inside of a jail that runs.
        let touches = |j: &&RunningJail| {
            let host_itself = j.path == Path::new("/");
            is_at_or_below(&j.path, &path) || !host_itself && is_at_or_below(&path, &j.path)
        };
        if let Some(other) = running.iter().find(touches) {
            bail!(
                "path {}: jail {} runs at {}; left alone",
                request.path.display(),
                other.name,
                other.path.display()
            );
        }
        look_at_mounts(mounts, request, &path, &mut sweep)?;
    }
    match &request.pair {
        None => sweep.plan.append(epair::down_all(host, &request.jail)?),
        // A foreign pair is jail-epair-up's to refuse: here it is not in the way.
        Some(pair) => match epair::down(host, &request.jail, pair) {
            Ok(plan) => sweep.plan.append(plan),
            Err(e) => sweep.left.push(format!("{e:#}")),
        },
    }
    Ok(sweep)
}

/// An absolute path without `.` and `..` that is not `/`.
fn check_path(path: &Path) -> Result<()> {
    let shown = path.display();
    if !path.is_absolute() {
        bail!("path {shown}: not an absolute path");
    }
    let text = path.as_os_str().as_encoded_bytes();
    if text.split(|b| *b == b'/').any(|part| part == b"." || part == b"..") {
        bail!("path {shown}: write it without . and ..");
    }
    if !path.components().any(|c| matches!(c, Component::Normal(_))) {
        bail!("path {shown}: this is the root directory of the host");
    }
    Ok(())
}

/// The real path, which must be what the jail's path says: below a link
/// mounts of others could lie. `None` when there is nothing.
fn resolve(host: &Host, path: &Path) -> Result<Option<PathBuf>> {
    // Collects doubled slashes, as the kernel does in the mount table.
    let real: PathBuf = host.root().host_path(path).components().collect();
    match real.canonicalize() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("path {}", path.display())),
        Ok(resolved) if resolved == real => Ok(Some(real)),
        Ok(resolved) => {
            let name = host.root().strip(&resolved).unwrap_or(resolved);
            bail!("path {}: contains a symbolic link; set path to {}", path.display(), name.display())
        }
    }
}

fn look_at_mounts(mounts: Vec<Mount>, request: &SweepRequest, path: &Path, sweep: &mut Sweep) -> Result<()> {
    let below: Vec<Mount> = mounts.into_iter().filter(|m| is_at_or_below(&m.on, path)).collect();
    if below.is_empty() {
        return Ok(());
    }
    let shown = request.path.display();
    let own: Vec<&Mount> = below.iter().filter(|m| m.on == path).collect();
    // Nothing but the base is ever mounted on the path itself: /dev and a
    // tmpfs on /tmp belong to others.
    if let Some(other) = own.iter().find(|m| m.kind != ROOT_KIND) {
        bail!(
            "path {shown}: it is itself where {} ({}) is mounted, not the empty directory of a thin jail",
            other.from.display(),
            other.kind
        );
    }
    if own.is_empty() && fs_err::read_dir(path)?.next().is_some() {
        bail!("path {shown}: not the empty directory of a thin jail, and no base is mounted there");
    }
    let may = |m: &Mount| KINDS.contains(&m.kind.as_str()) || request.kinds.contains(&m.kind);
    let mut stays: Vec<&Mount> = Vec::new();
    // The latest mount first: what is stacked or nested was mounted later.
    for mount in below.iter().rev() {
        let on = mount.on.display();
        if let Some(in_it) = stays.iter().find(|s| is_at_or_below(&s.on, &mount.on)) {
            // By force it would go, and leave the other on a path that no longer exists.
            sweep.blocked.push(format!("{on}: still mounted, because of {}", in_it.on.display()));
        } else if may(mount) {
            sweep.plan.push(UnmountLeftover { mount: mount.clone(), jail: request.jail.clone() });
        } else {
            let kind = &mount.kind;
            sweep.left.push(format!("warning: {on}: {kind}, left mounted; -t {kind} unmounts it"));
            stays.push(mount);
        }
    }
    Ok(())
}

/// Unmounts, plainly and where that is refused by force.
struct UnmountLeftover {
    mount: Mount,
    jail: JailName,
}

impl Action for UnmountLeftover {
    fn shell(&self) -> String {
        let on = shell::quote(&self.mount.on);
        format!("/sbin/umount {on} || /sbin/umount -f {on}")
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let kernel = host.kernel()?;
        let Err(plainly) = kernel.unmount(&self.mount, false) else { return Ok(()) };
        match kernel.unmount(&self.mount, true) {
            Ok(()) => {
                let what = format!(
                    "jail {}: {}: unmounted by force ({})",
                    self.jail,
                    self.mount.on.display(),
                    plainly.errno
                );
                syslog::send(host.root(), "jail-sweep", Severity::Warning, &what);
                if host.verbose() {
                    console::complain(&what);
                }
                Ok(())
            }
            // Another sweep, or jail(8) itself, was quicker.
            Err(_) if !kernel.mounts()?.iter().any(|m| m.fsid == self.mount.fsid) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

/// Fails while something is mounted below the jail's path, or the container
/// somewhere.
pub fn check_unmounted(host: &Host, layout: &Layout, jail: &JailName) -> Result<()> {
    let (path, container) =
        (host.root().host_path(&layout.path(jail)), host.root().host_path(&layout.container(jail)));
    for mount in host.kernel()?.mounts()? {
        if is_at_or_below(&mount.on, &path) {
            bail!(
                "{} is still mounted on {} after a failed stop (a start would say \
                 \"Resource deadlock avoided\"); jail-sweep {jail} {} clears it",
                mount.from.display(),
                mount.on.display(),
                layout.path(jail).display()
            );
        }
        let inside = is_at_or_below(&mount.on, &container) && mount.on != container;
        if inside || mount.kind == "nullfs" && is_at_or_below(&mount.from, &container) {
            bail!(
                "{} is mounted on {}; umount {}",
                mount.from.display(),
                mount.on.display(),
                mount.on.display()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for bad in ["", "/", "//", "zdata/jails/web", "/zdata/../etc", "/zdata/./web", "."] {
            assert!(check_path(Path::new(bad)).is_err(), "{bad:?}");
        }
        check_path(Path::new("/zdata/jails/web-nullfs-base")).unwrap();
        check_path(Path::new("/zdata//jails/web-nullfs-base/")).unwrap();
    }
}
