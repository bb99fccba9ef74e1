//! The jails that do not have yet what an update brought.

use super::PROGRAM;
use crate::domain::fstab;
use crate::domain::layout::{Layout, Storage};
use crate::domain::template;
use crate::system::console;
use crate::system::host::Host;
use crate::system::zfs;
use crate::types::jail_name::JailName;
use crate::types::release::Release;
use anyhow::Result;

/// Reports the jails that lack the changes of the skeleton.
pub(super) fn report_jails(host: &Host, layout: &Layout, release: &Release, changed: bool) -> Result<()> {
    let jails = match layout.storage() {
        Storage::Zfs(top) => {
            let skeleton = Layout::skeleton_dataset(top, release)?;
            let mut snapshots = template::snapshots(host, &skeleton)?;
            snapshots.pop();
            let mut jails = Vec::new();
            for snapshot in &snapshots {
                for clone in zfs::clones(host, snapshot)? {
                    let name = clone.rsplit('/').next().unwrap_or_default();
                    let of = snapshot.rsplit('@').next().unwrap_or_default();
                    // What jail-rebase builds and keeps is no jail.
                    if name.parse::<JailName>().is_ok() {
                        jails.push(format!("{name} (@{of})"));
                    }
                }
            }
            jails
        }
        Storage::Directory if changed => jails_on(host, layout, release)?,
        Storage::Directory => Vec::new(),
    };
    if !jails.is_empty() {
        let jails = jails.join(", ");
        console::note(
            PROGRAM,
            &format!("jails with an older etc than their base: {jails}; next: jail-rebase NAME {release}"),
        );
    }
    Ok(())
}

/// The jails whose fstab mounts the base.
pub(super) fn jails_on(host: &Host, layout: &Layout, release: &Release) -> Result<Vec<String>> {
    let mut jails = Vec::new();
    let base = layout.base(release);
    for entry in fs_err::read_dir(host.root().host_path(&layout.containers()))? {
        let name = entry?.file_name();
        let Some(jail) = name.to_str().and_then(|n| n.parse::<JailName>().ok()) else { continue };
        let Ok(text) = std::fs::read(host.root().host_path(&layout.fstab(&jail))) else { continue };
        if fstab::parse(&text).0.first().is_some_and(|(_, first)| first.source == base) {
            jails.push(jail.to_string());
        }
    }
    jails.sort_unstable();
    Ok(jails)
}
