//! Copies of trees.

use super::{
    Device, Entry, FirstNames, descend, failed, kind_of, look, names, open_directory, open_parent, path_of,
    permissions_of, times_of,
};
use crate::system::effect;
use crate::system::tree::attributes::{self, Attributes};
use crate::system::tree::flags;
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Uid, readlinkat};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Copies the tree at `from` to `to`, which must not exist. What cannot be
/// carried over makes it fail; nothing is left out in silence but sockets.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    copy_reporting(from, to, &mut |_| ())
}

/// The same; says how many entries were copied after each.
pub fn copy_reporting(from: &Path, to: &Path, report: &mut dyn FnMut(u64)) -> Result<()> {
    let flags = copy_but_flags(from, to, report)?;
    set_top_flags(to, flags)
}

/// The same, but gives the flags of the top, which are still to be set.
pub(super) fn copy_but_flags(from: &Path, to: &Path, report: &mut dyn FnMut(u64)) -> Result<u32> {
    let source = Entry::top(from)?;
    effect::create_dir(to, 0o700)?;
    let target = Entry::top(to)?;
    let mut copier = Copier::new(&source, &target, report);
    let copied = attributes::strip_acl(target.object())
        .and_then(|()| copier.directory(source.fd.as_fd(), target.fd.as_fd()))
        .and_then(|()| copier.set_late_flags())
        .and_then(|()| finish(&source, &target));
    copied.with_context(|| {
        format!("copy {} to {}", from.join(&copier.path).display(), to.join(&copier.path).display())
    })?;
    Ok(flags::flags(&source.stat))
}

pub(super) fn set_top_flags(top: &Path, flags: u32) -> Result<()> {
    if flags != 0 {
        flags::set_flags(open_directory(top)?, c"", flags)
            .with_context(|| format!("set the flags of {}", top.display()))?;
    }
    Ok(())
}

pub(super) fn clear_top_flags(top: &Path) -> Result<()> {
    let there = Entry::top(top)?;
    if flags::flags(&there.stat) != 0 {
        flags::set_flags(&there.fd, c"", 0)
            .with_context(|| format!("clear the flags of {}", top.display()))?;
    }
    Ok(())
}

/// A copy under way.
pub(super) struct Copier<'a> {
    /// Top of the new tree.
    top: &'a Entry,
    device: Device,
    /// Where the first names of files with several were copied to.
    pub(super) first_names: FirstNames,
    /// Flags of files with several names: an immutable file gets no further one.
    pub(super) late_flags: Vec<(PathBuf, u32)>,
    /// What is being copied; after an error, what could not be.
    pub(super) path: PathBuf,
    pub(super) depth: usize,
    entries: u64,
    report: &'a mut dyn FnMut(u64),
}

impl<'a> Copier<'a> {
    pub(super) fn new(source: &Entry, top: &'a Entry, report: &'a mut dyn FnMut(u64)) -> Copier<'a> {
        Copier {
            top,
            device: Device::of(&source.stat),
            first_names: FirstNames::default(),
            late_flags: Vec::new(),
            path: PathBuf::new(),
            depth: 0,
            entries: 0,
            report,
        }
    }

    pub(super) fn set_late_flags(&mut self) -> io::Result<()> {
        for (path, flags) in std::mem::take(&mut self.late_flags) {
            self.path.clone_from(&path);
            let (directory, name) = open_parent(self.top.fd.as_fd(), &path)?;
            flags::set_flags(directory, &name, flags)?;
        }
        self.path.clear();
        Ok(())
    }

    fn directory(&mut self, from: BorrowedFd, to: BorrowedFd) -> io::Result<()> {
        descend(&mut self.depth)?;
        for name in names(from)? {
            self.path.push(path_of(&name));
            // On an error the path stays, for the message.
            self.entry(from, to, &name, false)?;
            self.path.pop();
        }
        self.depth -= 1;
        Ok(())
    }

    /// Copies a directory entry. One into a `foreign` directory may come into
    /// being with a list of rights that it inherits.
    pub(super) fn entry(
        &mut self,
        from: BorrowedFd,
        to: BorrowedFd,
        name: &CStr,
        foreign: bool,
    ) -> io::Result<()> {
        let Some(stat) = look(from, name, self.device)? else { return Ok(()) };
        match self.first_names.before(&stat, &self.path) {
            Some(first) => {
                let (directory, first) = open_parent(self.top.fd.as_fd(), &first)?;
                effect::linkat(directory, &first, to, name)?;
            }
            None => {
                let source = Entry::open(from, name, kind_of(&stat))?;
                let target = make(&source, to, name)?;
                if foreign && kind_of(&stat) != FileType::Symlink {
                    attributes::strip_acl(target.object())?;
                }
                self.fill(&source, &target)?;
                finish(&source, &target)?;
                self.carry_flags(&source.stat, target)?;
            }
        }
        self.entries += 1;
        (self.report)(self.entries);
        Ok(())
    }

    fn fill(&mut self, source: &Entry, target: &Entry) -> io::Result<()> {
        match kind_of(&source.stat) {
            FileType::Directory => {
                self.device.check(&source.stat)?;
                if (source.stat.st_dev, source.stat.st_ino) == (self.top.stat.st_dev, self.top.stat.st_ino) {
                    return Err(io::Error::other("the copy lies in the tree itself"));
                }
                self.directory(source.fd.as_fd(), target.fd.as_fd())
            }
            FileType::RegularFile if source.stat.st_size > 0 => {
                flags::copy_data(&source.fd, &target.fd, &source.stat)
            }
            _ => Ok(()),
        }
    }

    /// Last of all for an entry: an immutable one takes no further change.
    fn carry_flags(&mut self, stat: &Stat, target: Entry) -> io::Result<()> {
        match flags::flags(stat) {
            0 => Ok(()),
            flags if stat.st_nlink > 1 && kind_of(stat) != FileType::Directory => {
                self.late_flags.push((self.path.clone(), flags));
                Ok(())
            }
            flags => flags::set_flags(target.fd, c"", flags),
        }
    }
}

/// Makes a new file of the same kind, which only its owner can use yet.
pub(super) fn make(source: &Entry, to: BorrowedFd, name: &CStr) -> io::Result<Entry> {
    let private = Mode::RUSR | Mode::WUSR;
    let kind = kind_of(&source.stat);
    match kind {
        FileType::Directory => effect::mkdirat(to, name, Mode::RWXU)?,
        FileType::RegularFile => {
            return Entry::new(effect::create_at(to, name, private)?);
        }
        FileType::Symlink => effect::symlinkat(&readlinkat(&source.fd, c"", Vec::new())?, to, name)?,
        FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
            // FreeBSD refuses a FIFO with a device number, and gives it one in stat(2).
            let device = if kind == FileType::Fifo { 0 } else { source.stat.st_rdev };
            effect::mknodat(to, name, kind, private, device)?;
        }
        _ => return Err(io::Error::other("a file of unknown type")),
    }
    Entry::open(to, name, kind)
}

/// Gives a new file all but its contents and its flags. The order matters: a
/// new owner clears the set-id bits and a file's capabilities, attributes can be
/// set only while we may write, a mode resets an access control list.
fn finish(source: &Entry, target: &Entry) -> io::Result<()> {
    apply_metadata(&Sources::all(source), target)?;
    effect::utimensat(target.fd.as_fd(), c"", &times_of(&source.stat), AtFlags::EMPTY_PATH)
}

/// Where the facts of a new file are taken from.
pub(super) struct Sources<'a> {
    pub(super) owner: &'a Entry,
    pub(super) mode: &'a Entry,
    pub(super) acl: &'a Entry,
    pub(super) attributes: &'a Entry,
}

impl<'a> Sources<'a> {
    /// All from one.
    pub(super) fn all(source: &'a Entry) -> Sources<'a> {
        Sources { owner: source, mode: source, acl: source, attributes: source }
    }
}

/// Gives a file all but its contents, its times and its flags.
pub(super) fn apply_metadata(sources: &Sources, target: &Entry) -> io::Result<()> {
    let (stat, to) = (&sources.owner.stat, target.object());
    if (stat.st_uid, stat.st_gid) != (target.stat.st_uid, target.stat.st_gid) {
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        effect::chownat(to.fd, c"", uid, gid, AtFlags::EMPTY_PATH).map_err(|e| {
            failed(format_args!("give it to user {} and group {}", stat.st_uid, stat.st_gid), e)
        })?;
    }
    let from = sources.attributes.object();
    for name in &Attributes::of(from)?.names {
        attributes::set(to, name, &attributes::value(from, name)?)
            .map_err(|e| failed(format_args!("set its attribute {}", name.to_string_lossy()), e))?;
    }
    flags::set_mode(to.fd, permissions_of(&sources.mode.stat))?;
    let acl = Attributes::of(sources.acl.object())?.acl;
    attributes::give_acl(&acl, to).map_err(|e| failed(format_args!("set its access control list"), e))
}
