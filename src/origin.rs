//! What containers are clones of, under directory storage.
//!
//! ZFS knows the origin of a clone, and keeps it as it was. Without ZFS the
//! skeleton is copied once beside itself before anything is cloned from it
//! (`14.2-RELEASE-skeleton@base`), and a file beside the container names that
//! copy (`web.origin`).

use crate::file;
use crate::host::Host;
use crate::jail::JailName;
use crate::layout::{BASE_SNAPSHOT, KEPT, Layout, Storage};
use crate::release::Release;
use crate::tree;
use crate::zfs;
use anyhow::{Context, Result, bail};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A skeleton as it once was: the name of a snapshot without its dataset, or of
/// a copy without its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The release.
    pub release: Release,
    /// The part behind the `@`.
    pub snapshot: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-skeleton@{}", self.release, self.snapshot)
    }
}

impl FromStr for Origin {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Origin> {
        let parts = text.split_once('@').and_then(|(skeleton, name)| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
            let sound = !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain);
            Some((skeleton.strip_suffix("-skeleton")?.parse().ok()?, name)).filter(|_| sound)
        });
        let Some((release, name)) = parts else { bail!("\"{text}\" names no skeleton") };
        Ok(Origin { release, snapshot: name.to_owned() })
    }
}

/// The copy that is as the skeleton is now, and whether it has yet to be made.
pub fn of_skeleton(host: &Host, layout: &Layout, release: &Release) -> Result<(Origin, bool)> {
    let skeleton = host.root().at(&layout.skeleton(release));
    let mut again = 0;
    loop {
        let snapshot = match again {
            0 => BASE_SNAPSHOT.to_owned(),
            n => format!("{BASE_SNAPSHOT}.{n}"),
        };
        let origin = Origin { release: release.clone(), snapshot };
        let copy = host.root().at(&layout.copy(&origin));
        if file::look(&copy)?.is_none() {
            return Ok((origin, true));
        }
        if tree::difference(&skeleton, &copy)?.is_none() {
            return Ok((origin, false));
        }
        again += 1;
    }
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
        let found = zfs::properties(host.tools(), dataset.as_str(), ["origin"])?;
        return Ok(found.and_then(|[origin]| of_snapshot(layout, &origin)));
    }
    let is_kept = |name: &String| name.strip_prefix(jail.as_str()).is_some_and(|rest| rest.starts_with(KEPT));
    let moved = layout.containers_of(host, jail)?.iter().any(is_kept);
    recorded(&host.root().at(&layout.origin(jail)), moved)
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

/// Whether a record tells that what a container was is not wanted any more.
pub fn is_committed(record: &Path) -> Result<bool> {
    let there = file::look(record)?.is_some_and(|there| there.is_file());
    Ok(there && fs_err::read_to_string(record)?.lines().count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["14.2-RELEASE-skeleton@base", "15.0-RC1-skeleton@p3.1"] {
            assert_eq!(good.parse::<Origin>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "base",
            "14.2-RELEASE@base",
            "14.2-RELEASE-skeleton@",
            "x-skeleton@base",
            "14.2-RELEASE-skeleton@../x",
            "14.2-RELEASE-skeleton@a/b",
            "../14.2-RELEASE-skeleton@base",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn records() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("web.origin");
        assert_eq!(recorded(&file, false).unwrap(), None);
        let [old, new] =
            ["14.2-RELEASE-skeleton@base", "15.0-RELEASE-skeleton@base"].map(|o| o.parse().unwrap());
        std::fs::write(&file, record(&[&old])).unwrap();
        assert_eq!(
            [false, true].map(|kept| recorded(&file, kept).unwrap().unwrap()),
            [old.clone(), old.clone()]
        );
        std::fs::write(&file, record(&[&old, &new])).unwrap();
        assert_eq!([false, true].map(|kept| recorded(&file, kept).unwrap().unwrap()), [old, new]);
    }
}
