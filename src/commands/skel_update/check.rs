//! What keeps an update from working, found before anything is touched.

use super::recovery::Kept;
use super::skeleton::is_our_mount;
use super::{CONF, State};
use crate::system::file;
use crate::system::host::Host;
use crate::system::kernel;
use crate::system::tool::Tool;
use crate::system::zfs;
use crate::types::mirror::Arch;
use anyhow::{Result, bail};
use std::path::Path;

/// Fails before anything is touched if updates cannot work here.
pub(super) fn check_host(host: &Host, state: &State, packaged: bool) -> Result<()> {
    if cfg!(target_os = "freebsd") && !rustix::process::geteuid().is_root() {
        bail!("this must run as root: it mounts file systems and replaces files of all owners");
    }
    if !packaged {
        if state.release.is_snapshot() {
            bail!("{}: there are no binary updates for it; build a newer base", state.release);
        }
        if !host.tools().program(Tool::FreebsdUpdate).exists() {
            bail!("freebsd-update(8) is not installed");
        }
        let conf = host.root().host_path(Path::new(CONF));
        if file::look(&conf)?.is_none() {
            bail!("{}: does not exist; freebsd-update(8) finds no server without it", conf.display());
        }
    }
    check_processor(&state.base)?;
    // freebsd-update(8) does not quote it.
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-".contains(b);
    if !state.base.as_os_str().as_encoded_bytes().iter().all(plain) {
        bail!("{}: freebsd-update(8) cannot work below a path with such characters", state.base.display());
    }
    let level = host.tools().ask(Tool::Sysctl, &["-n", "kern.securelevel"])?;
    if level.stdout.trim().parse::<i32>().is_ok_and(|level| level > 0) {
        bail!("kern.securelevel is above 0: immutable files of the base cannot be replaced");
    }
    if let Kept::Snapshots { base, skeleton } = &state.kept {
        for (dataset, path) in [(base, &state.base), (skeleton, &state.skeleton)] {
            zfs::check_mounted(host, dataset, path)?;
            let found = zfs::query_one(host.tools(), dataset.as_str(), &["readonly"])?;
            if found.is_some_and(|found| found.get("readonly") == "on") {
                bail!("{dataset} is read-only; zfs set readonly=off {dataset}");
            }
        }
    }
    for mount in host.kernel()?.mounts()? {
        if mount.kind == "nullfs" && mount.from == state.skeleton && mount.on != state.point() {
            bail!(
                "the skeleton is mounted on {}, where every step of the update would be visible; umount it",
                mount.on.display()
            );
        }
        if kernel::is_at_or_below(&mount.on, &state.base)
            && mount.on != state.base
            && !is_our_mount(state, &mount)
        {
            bail!("{} is mounted in the base; umount {}", mount.on.display(), mount.on.display());
        }
        // Trees that are exchanged would be pulled away under a jail.
        if matches!(state.kept, Kept::Copies) && mount.kind == "nullfs" && mount.from == state.base {
            bail!(
                "a jail runs on this base at {}; without ZFS, it cannot be updated under running jails; stop them",
                mount.on.display()
            );
        }
    }
    Ok(())
}

/// freebsd-update(8) brings what the host's processor runs, whatever is there.
pub(super) fn check_processor(base: &Path) -> Result<()> {
    use std::io::Read;
    let shell = base.join("bin/sh");
    if !file::look(&shell)?.is_some_and(|m| m.is_file()) {
        return Ok(());
    }
    let mut header = Vec::new();
    fs_err::File::open(&shell)?.take(20).read_to_end(&mut header)?;
    let ours = Arch::of_host()?;
    // Little-endian on both.
    if header.starts_with(b"\x7fELF") && header.len() == 20 && header[18..20] != [ours.elf_machine(), 0] {
        bail!(
            "{}: the base is not for {}, and can only be updated on a host of its own architecture",
            base.display(),
            ours.machine()
        );
    }
    Ok(())
}
