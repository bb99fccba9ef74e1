//! What containers are clones of, under directory storage.
//!
//! ZFS knows the origin of a clone, and keeps it as it was. Without ZFS the
//! skeleton is copied once next to itself before anything is cloned from it
//! (`14.5-RELEASE-skeleton@base`), and a file next to the container names that
//! copy (`web.origin`).

use crate::domain::layout::{BASE_SNAPSHOT, KEPT, Layout, Storage};
use crate::system::file;
use crate::system::host::Host;
use crate::system::tree;
use crate::system::zfs;
use crate::types::jail_name::JailName;
use crate::types::origin::Origin;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The copy that is as the skeleton is now, and whether it has yet to be made.
pub fn of_skeleton(host: &Host, layout: &Layout, release: &Release) -> Result<(Origin, bool)> {
    let skeleton = host.root().host_path(&layout.skeleton(release));
    let named = |again: u32| {
        let snapshot = match again {
            0 => BASE_SNAPSHOT.to_owned(),
            n => format!("{BASE_SNAPSHOT}.{n}"),
        };
        Origin { release: release.clone(), snapshot }
    };
    let taken = copies(host, layout, release)?;
    for again in &taken {
        let copy = host.root().host_path(&layout.copy(&named(*again)));
        if tree::difference(&skeleton, &copy)?.is_none() {
            return Ok((named(*again), false));
        }
    }
    // Those in between may have been destroyed.
    let free = (0..).find(|again| !taken.contains(again));
    Ok((named(free.with_context(|| format!("{}: too many copies of it", skeleton.display()))?), true))
}

/// The copies of a skeleton: 0 for `base`, 1 for `base.1`.
fn copies(host: &Host, layout: &Layout, release: &Release) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs_err::read_dir(host.root().host_path(&layout.templates()))? {
        let name = entry?.file_name();
        let origin = name.to_str().and_then(|name| name.parse::<Origin>().ok());
        let Some(origin) = origin.filter(|origin| origin.release == *release) else { continue };
        match origin.snapshot.strip_prefix(BASE_SNAPSHOT) {
            Some("") => numbers.push(0),
            Some(rest) => {
                let number = rest.strip_prefix('.').and_then(|text| text.parse::<u32>().ok());
                numbers.extend(number.filter(|n| *n > 0 && format!(".{n}") == rest));
            }
            None => {}
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The skeleton that a snapshot is of, by its full name.
pub fn of_snapshot(layout: &Layout, snapshot: &str) -> Option<Origin> {
    let (dataset, name) = snapshot.split_once('@')?;
    Some(Origin { release: layout.skeleton_release(dataset)?, snapshot: name.to_owned() })
}

/// What the container of a jail is a clone of; `None` if that is unknown,
/// because it was promoted, or made before that was noted.
pub fn of_jail(host: &Host, layout: &Layout, jail: &JailName) -> Result<Option<Origin>> {
    if let Storage::Zfs(top) = layout.storage() {
        let dataset = Layout::container_dataset(top, jail)?;
        let found = zfs::query_one(host.tools(), dataset.as_str(), &["origin"])?;
        return Ok(found.and_then(|found| of_snapshot(layout, found.get("origin"))));
    }
    let is_kept = |name: &String| name.strip_prefix(jail.as_str()).is_some_and(|rest| rest.starts_with(KEPT));
    let moved = layout.containers_of(host, jail)?.iter().any(is_kept);
    recorded(&host.root().host_path(&layout.origin(jail)), moved)
}

/// What the file `record` says that a container is a clone of. It has two lines
/// while a jail is being moved and can go back: what it was, what it is now; and
/// the later one counts when the former container is `kept`.
pub fn recorded(record: &Path, kept: bool) -> Result<Option<Origin>> {
    match file::look(record)? {
        None => return Ok(None),
        Some(there) if !there.is_file() => {
            bail!("{}: {}, not a regular file", record.display(), file::kind(&there))
        }
        Some(_) => {}
    }
    let text = fs_err::read_to_string(record)?;
    let line = if kept { text.lines().last() } else { text.lines().next() };
    line.map(str::parse).transpose().with_context(|| record.display().to_string())
}

/// What a record says: what a container was a clone of, and what it is.
pub fn record(origins: &[&Origin]) -> Vec<u8> {
    origins.iter().flat_map(|origin| format!("{origin}\n").into_bytes()).collect()
}

/// Whether a record says that what a container was is not wanted any longer.
pub fn is_committed(record: &Path) -> Result<bool> {
    let there = file::look(record)?.is_some_and(|there| there.is_file());
    Ok(there && fs_err::read_to_string(record)?.lines().count() == 1)
}

/// The tree of a skeleton as it was, a real path that is only read.
pub fn tree_of(host: &Host, layout: &Layout, origin: &Origin) -> Result<PathBuf> {
    let path = match layout.storage() {
        Storage::Zfs(top) => {
            let dataset = Layout::skeleton_dataset(top, &origin.release)?;
            let mountpoint = host.root().host_path(&layout.skeleton(&origin.release));
            zfs::check_mounted(host, &dataset, &mountpoint)?;
            mountpoint.join(".zfs/snapshot").join(&origin.snapshot)
        }
        Storage::Directory => {
            let copy = host.root().host_path(&layout.copy(origin));
            // Nothing was ever cloned from it under a name of its own.
            if file::look(&copy)?.is_none() {
                host.root().host_path(&layout.skeleton(&origin.release))
            } else {
                copy
            }
        }
    };
    if !is_directory(&path) {
        bail!("{origin}: {} does not exist", path.display());
    }
    Ok(path)
}

/// Below `.zfs` a directory appears when it is looked into.
fn is_directory(path: &Path) -> bool {
    tree::open_directory(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("web.origin");
        assert_eq!(recorded(&file, false).unwrap(), None);
        let [old, new] =
            ["14.5-RELEASE-skeleton@base", "15.0-RELEASE-skeleton@base"].map(|o| o.parse().unwrap());
        std::fs::write(&file, record(&[&old])).unwrap();
        assert_eq!(
            [false, true].map(|kept| recorded(&file, kept).unwrap().unwrap()),
            [old.clone(), old.clone()]
        );
        std::fs::write(&file, record(&[&old, &new])).unwrap();
        assert_eq!([false, true].map(|kept| recorded(&file, kept).unwrap().unwrap()), [old, new]);
    }
}
