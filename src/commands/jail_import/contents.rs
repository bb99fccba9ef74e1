//! The files of the archive.

use super::Archive;
use crate::domain::fstab::MountPoint;
use crate::formats::jail_manifest::{ArchiveEnd, END_NAME, JailManifest};
use crate::system::progress::Progress;
use crate::system::signals;
use crate::system::tree::{CONTAINER, REMOVED, Unpacker};
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// More than the last entry has, in bytes.
const LARGEST_END: u64 = 4096;

/// What is behind a directory in a path, byte for byte: a [`Path`] passes over `.` and
/// empty parts.
fn below<'p>(path: &'p Path, directory: &str) -> Option<&'p Path> {
    let rest = path.as_os_str().as_bytes().strip_prefix(directory.as_bytes())?;
    match rest.split_first() {
        None => Some(Path::new("")),
        Some((b'/', rest)) => Some(Path::new(OsStr::from_bytes(rest))),
        Some(_) => None,
    }
}

/// The rest of an archive, from which one tree can be made.
pub(super) struct Contents {
    archive: RefCell<Option<Archive>>,
    what: String,
    /// Whether it is the difference from the template.
    pub(super) is_difference: bool,
    /// Mount points that the template lacks.
    pub(super) mount_points: Vec<MountPoint>,
}

impl Contents {
    pub(super) fn new(archive: Archive, manifest: &JailManifest, mount_points: Vec<MountPoint>) -> Contents {
        Contents {
            archive: RefCell::new(Some(archive)),
            what: format!("import {}", manifest.name),
            is_difference: manifest.template_digest.is_some(),
            mount_points,
        }
    }

    /// Puts the files into a tree that has those of the template, or nothing if the
    /// archive has all. What is wrong with the archive shows at its end at the latest.
    pub(super) fn unpack(&self, tree: &Path) -> Result<()> {
        let mut archive = self.archive.borrow_mut().take().context("the archive was read already")?;
        let mut unpacker = Unpacker::new(tree, !self.is_difference)?;
        let mut progress = Progress::new(self.what.clone());
        let mut entries = 0;
        let done = loop {
            signals::check()?;
            archive.skip_data().context("archive")?;
            let sum = archive.get_ref().sum();
            let Some(entry) = archive.next_entry().context("archive")? else {
                bail!("archive: it has no end: it was cut off, or is not complete");
            };
            let path = entry.path.clone();
            if path == Path::new(END_NAME) {
                break (sum, archive.read_all(LARGEST_END).context("archive")?);
            }
            entries += 1;
            progress.report(entries, 0);
            if let Some(below) = below(&path, CONTAINER) {
                unpacker.put(entry, below, CONTAINER, &mut archive).context("archive")?;
            } else if let Some(below) = below(&path, REMOVED)
                && self.is_difference
                && entry.data() == 0
            {
                unpacker.remove(below).context("archive")?;
            } else {
                bail!("archive: {}: not an entry that jail-export writes", path.display());
            }
        };
        drop(progress);
        let expected = ArchiveEnd { entries, sha256: done.0 };
        if ArchiveEnd::parse(&done.1) != Some(expected) {
            bail!("archive: its checksum is wrong: it was changed or damaged");
        }
        if archive.next_entry().context("archive")?.is_some() {
            bail!("archive: an entry follows its end");
        }
        archive.finish().context("archive")?;
        unpacker.finish()
    }
}
