//! A template: base and skeleton of a release, and the skeleton's snapshots.

use crate::composed::{Composed, Found, Links};
use crate::file;
use crate::host::Host;
use crate::layout::{BASE_SNAPSHOT, MOVED, SKELETON};
use crate::release::Release;
use crate::zfs::{self, Dataset};
use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};

/// Fails unless the template is there, split, and nobody stopped half-way
/// through making or updating it.
pub fn check(release: &Release, base: &Path, skeleton: &Path) -> Result<()> {
    for (what, path, program) in [("base", base, "skel-fetch"), ("skeleton", skeleton, "skel-split")] {
        match file::look(path)? {
            Some(there) if there.is_dir() => {}
            Some(there) => {
                bail!("{what} of {release}: {}: {}, not a directory", path.display(), file::kind(&there))
            }
            None => bail!(
                "no {what} of {release}: {} does not exist; {program} {release} makes it",
                path.display()
            ),
        }
    }
    let mut view = Composed::new(base).context("base")?;
    let point = Path::new("/").join(SKELETON);
    view.mount(skeleton, &point).context("skeleton")?;
    for moved in MOVED {
        let original = base.join(moved);
        let split = match file::look(&original)? {
            Some(there) if there.is_symlink() => true,
            // Without these two of its own a jail can't even start.
            _ if matches!(moved, "etc" | "var") => false,
            _ => continue,
        };
        let found = view.look_up(Path::new("/"), Path::new(moved), Links::Follow)?;
        if !split || !matches!(&found, Found::Directory(real) if *real == point.join(moved)) {
            bail!(
                "template {release}: {} is no link to {SKELETON}/{moved} of {}; skel-split {release} makes it one",
                original.display(),
                skeleton.display()
            );
        }
        if file::look(&file::temp_beside(&original))?.is_some() {
            bail!("template {release}: its split was interrupted; skel-split {release} finishes it");
        }
    }
    if file::look(&before_update(base))?.is_some() {
        bail!(
            "template {release}: its update was interrupted; skel-update {release} takes it back and starts anew"
        );
    }
    Ok(())
}

/// The snapshot of base and skeleton that an update can go back to.
pub const BEFORE_UPDATE: &str = "thinjail-update";

/// Fails when somebody was killed while updating the template. Directory
/// storage shows that to [`check`].
pub fn check_update(host: &Host, release: &Release, skeleton: &Dataset) -> Result<()> {
    if zfs::exists(host.tools(), &skeleton.snapshot(BEFORE_UPDATE))? {
        return Err(interrupted_update(release));
    }
    Ok(())
}

fn interrupted_update(release: &Release) -> anyhow::Error {
    anyhow!(
        "template {release}: its update was interrupted; skel-update {release} takes it back and starts anew"
    )
}

/// Where directory storage keeps a tree as it was before an update.
pub fn before_update(tree: &Path) -> PathBuf {
    let name = tree.file_name().unwrap_or_default().to_string_lossy().into_owned();
    tree.with_file_name(format!(".{name}.before"))
}

/// The snapshot of a skeleton that new jails are cloned from: the latest of
/// those that skel-split and skel-update take.
pub fn newest_snapshot(host: &Host, skeleton: &Dataset) -> Result<Option<String>> {
    Ok(snapshots(host, skeleton)?.pop())
}

/// The snapshots of a skeleton that jails are cloned from, oldest first.
pub fn snapshots(host: &Host, skeleton: &Dataset) -> Result<Vec<String>> {
    let mut all = zfs::snapshots(host, skeleton)?;
    all.retain(|full| is_ours(full));
    Ok(all)
}

/// Whether a snapshot, by its full name, is one of those: `base`, and `p3` or
/// `p3.1` for patch levels.
pub fn is_ours(full: &str) -> bool {
    let name = full.rsplit('@').next().unwrap_or_default();
    name == BASE_SNAPSHOT || level_text(name).is_some()
}

/// The patch level that a snapshot is named after; `base` is named after none.
pub fn level(name: &str) -> Option<u32> {
    level_text(name)?.parse().ok()
}

fn level_text(name: &str) -> Option<&str> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = name.strip_prefix('p')?;
    let (level, again) = text.split_once('.').unwrap_or((text, "0"));
    (number(level) && number(again)).then_some(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_snapshots() {
        for ours in ["base", "p1", "p12", "p3.1"] {
            assert!(is_ours(&format!("z/s@{ours}")), "{ours}");
        }
        for other in ["", "p", "p.", "p1.", "p1x", "daily-p1", "thinjail-update", "base2"] {
            assert!(!is_ours(&format!("z/s@{other}")), "{other}");
        }
        assert_eq!(["p12", "p3.1", "base", "p"].map(level), [Some(12), Some(3), None, None]);
    }
}
