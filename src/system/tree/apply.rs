//! Making a merged tree of the release's: the steps that
//! [`threeway::compare`](super::threeway::compare) gave, one by one.

use super::copy::{Copier, Sources, apply_metadata, make};
use super::remove::remove_at;
use super::threeway::{FileContents, MergeMetadata, Step, TreeChange};
use super::{Entry, kind_of, open_parent, times_of};
use crate::formats::diff::Side;
use crate::system::effect;
use crate::system::tree::{attributes, flags};
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, FileType, Timestamps, fstat, statat};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Carries out the steps on the tree `work`, which is as the release has it and
/// not used by others, with what the jail has from the tree `ours`. Reports how many
/// entries it has copied after each.
///
/// A directory that gets or loses an entry has the time that the jail's has.
pub fn apply(found: &[TreeChange], ours: &Path, work: &Path, report: &mut dyn FnMut(u64)) -> Result<()> {
    let (source, target) = (Entry::top(ours)?, Entry::top(work)?);
    let mut builder = Builder {
        ours: &source,
        work: &target,
        copier: Copier::new(&source, &target, report),
        times: BTreeMap::new(),
    };
    let steps = found.iter().filter_map(|one| Some((&one.path, one.step.as_ref()?)));
    let done = steps
        .map(|(path, step)| builder.step(path, step))
        .find(io::Result::is_err)
        .unwrap_or(Ok(()))
        .and_then(|()| builder.restore_times())
        .and_then(|()| builder.copier.set_late_flags());
    done.with_context(|| {
        let path = &builder.copier.path;
        format!("merge {} into {}", ours.join(path).display(), work.join(path).display())
    })
}

/// Puts a copy of the file `from`, with all but its flags, into the tree `into`
/// at `path`, in place of what is there.
pub fn put(from: &Path, into: &Path, path: &Path) -> Result<()> {
    let parent = from.parent().unwrap_or(Path::new("."));
    let (source, target) = (Entry::top(parent)?, Entry::top(into)?);
    let put = || -> io::Result<()> {
        let name = CString::new(from.file_name().unwrap_or_default().as_bytes())?;
        let (directory, target_name) = open_parent(target.fd.as_fd(), path)?;
        let file = Entry::open(source.fd.as_fd(), &name, FileType::RegularFile)?;
        remove_at(directory.as_fd(), &target_name)?;
        let made = make(&file, directory.as_fd(), &target_name)?;
        flags::copy_data(&file.fd, &made.fd, &file.stat)?;
        apply_metadata(&Sources::all(&file), &made)
    };
    put().with_context(|| format!("put {} into {}", from.display(), into.join(path).display()))
}

struct Builder<'a> {
    ours: &'a Entry,
    work: &'a Entry,
    /// One for all steps, so that names of one file remain such.
    copier: Copier<'a>,
    /// The times that directories get at last.
    times: BTreeMap<PathBuf, Timestamps>,
}

fn sources<'a>(compose: &MergeMetadata, [ours, theirs]: [&'a Entry; 2]) -> Sources<'a> {
    let of = |side| if side == Side::Ours { ours } else { theirs };
    Sources {
        owner: of(compose.owner),
        mode: of(compose.mode),
        acl: of(compose.acl),
        attributes: of(compose.attributes),
    }
}

/// Opens a directory of a tree.
fn directory(top: &Entry, path: &Path) -> io::Result<OwnedFd> {
    // The parent of anything in it.
    Ok(open_parent(top.fd.as_fd(), &path.join("x"))?.0)
}

impl Builder<'_> {
    fn step(&mut self, path: &Path, step: &Step) -> io::Result<()> {
        self.copier.path = path.to_owned();
        if let (Step::MergeMetadata(compose), true) = (step, path.as_os_str().is_empty()) {
            return self.compose_directory(compose, [self.ours, self.work]);
        }
        let (parent, name) = open_parent(self.work.fd.as_fd(), path)?;
        let parent = parent.as_fd();
        self.note_times(path.parent().unwrap_or(Path::new("")))?;
        if *step == Step::Remove {
            return remove_at(parent, &name);
        }
        let (source, _) = open_parent(self.ours.fd.as_fd(), path)?;
        let source = source.as_fd();
        match step {
            Step::Remove => {}
            Step::CopyFromJail => {
                remove_at(parent, &name)?;
                self.copier.depth = path.components().count();
                // In a directory of the release's, which may hand down rights.
                self.copier.entry(source, parent, &name, true)?;
            }
            Step::MakeDirectory => {
                let source = Entry::open(source, &name, FileType::Directory)?;
                let made = make(&source, parent, &name)?;
                self.apply_metadata(&Sources::all(&source), &source, &made)?;
                self.note_times(path)?;
            }
            Step::MergeMetadata(compose) => {
                let kind = kind_of(&statat(parent, &*name, AtFlags::SYMLINK_NOFOLLOW)?);
                let (theirs, ours) = (Entry::open(parent, &name, kind)?, Entry::open(source, &name, kind)?);
                self.compose(parent, &name, compose, [&ours, &theirs])?;
            }
        }
        Ok(())
    }

    fn compose(
        &mut self,
        parent: BorrowedFd,
        name: &CStr,
        compose: &MergeMetadata,
        [ours, theirs]: [&Entry; 2],
    ) -> io::Result<()> {
        if kind_of(&theirs.stat) == FileType::Directory {
            return self.compose_directory(compose, [ours, theirs]);
        }
        let of = |side| if side == Side::Ours { ours } else { theirs };
        // Never the file as it is: that may have further names.
        remove_at(parent, name)?;
        let from = match &compose.contents {
            FileContents::Of(side) => of(*side),
            FileContents::Merged(_) => ours,
        };
        let made = make(from, parent, name)?;
        match &compose.contents {
            FileContents::Merged(text) => effect::fill(&std::fs::File::from(made.fd.try_clone()?), text)?,
            FileContents::Of(_) if kind_of(&from.stat) == FileType::RegularFile => {
                flags::copy_data(&from.fd, &made.fd, &from.stat)?;
            }
            FileContents::Of(_) => {}
        }
        self.apply_metadata(&sources(compose, [ours, theirs]), of(compose.flags), &made)?;
        match &compose.contents {
            FileContents::Of(_) => {
                effect::utimensat(&made.fd, c"", &times_of(&from.stat), AtFlags::EMPTY_PATH)
            }
            FileContents::Merged(_) => Ok(()),
        }
    }

    fn compose_directory(&mut self, compose: &MergeMetadata, [ours, theirs]: [&Entry; 2]) -> io::Result<()> {
        let path = self.copier.path.clone();
        self.note_times(&path)?;
        if flags::flags(&theirs.stat) != 0 {
            flags::set_flags(&theirs.fd, c"", 0)?;
        }
        let flagged = if compose.flags == Side::Ours { ours } else { theirs };
        self.apply_metadata(&sources(compose, [ours, theirs]), flagged, theirs)
    }

    /// Gives an entry all but its contents and its times; its flags at the end,
    /// because nothing can be put into an immutable directory.
    fn apply_metadata(&mut self, sources: &Sources, flagged: &Entry, target: &Entry) -> io::Result<()> {
        if kind_of(&target.stat) != FileType::Symlink {
            attributes::strip_acl(target.object())?;
        }
        apply_metadata(sources, target)?;
        match flags::flags(&flagged.stat) {
            0 => {}
            flags => self.copier.late_flags.push((self.copier.path.clone(), flags)),
        }
        Ok(())
    }

    /// Notes what time a directory gets: the jail's, or else the one it has.
    fn note_times(&mut self, path: &Path) -> io::Result<()> {
        if self.times.contains_key(path) {
            return Ok(());
        }
        let found = match directory(self.ours, path) {
            Ok(found) => found,
            Err(_) => directory(self.work, path)?,
        };
        self.times.insert(path.to_owned(), times_of(&fstat(found)?));
        Ok(())
    }

    fn restore_times(&mut self) -> io::Result<()> {
        for (path, times) in std::mem::take(&mut self.times) {
            self.copier.path.clone_from(&path);
            match directory(self.work, &path) {
                Ok(directory) => {
                    effect::futimens(directory, &times)?;
                }
                // It was changed first, and then went with its parent.
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
