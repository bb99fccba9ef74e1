//! Comparison of trees.

use super::{
    Device, Entry, FirstNames, descend, kind_of, look, names, open_directory, open_parent, path_of,
    permissions_of, sorted,
};
use crate::system::tree::attributes::{self, Attributes};
use crate::system::tree::flags;
use anyhow::{Context, Result};
use rustix::fs::{FileType, Stat, readlinkat};
use std::ffi::{CStr, CString};
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// One thing in which two trees differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where, below the tops; `.` for those themselves.
    pub path: PathBuf,
    /// What it is that differs.
    pub what: Aspect,
    /// Whether it is a directory, in one tree at least.
    pub directory: bool,
}

/// What may differ of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// It is only in the first tree, with all that may be below it.
    OnlyFirst,
    /// It is only in the second tree, with all that may be below it.
    OnlySecond,
    /// What kind of file it is. Nothing else is reported about the entry.
    Kind,
    /// The mode.
    Mode,
    /// User or group.
    Owner,
    /// The size of a regular file; then the contents are not compared.
    Size,
    /// The contents of a regular file.
    Contents,
    /// Where a symbolic link points to.
    Target,
    /// The device number of a node.
    Device,
    /// The modification time.
    ModificationTime,
    /// The flags of chflags(2).
    Flags,
    /// The access control list.
    Acl,
    /// The extended attributes.
    ExtendedAttributes,
    /// Which other names the same file has.
    HardLinks,
}

impl Difference {
    /// Whether this is what adding or removing an entry, or doing so and undoing
    /// it, leaves behind in any case.
    pub fn is_directory_time(&self) -> bool {
        self.directory && self.what == Aspect::ModificationTime
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Aspect::OnlyFirst => "missing in the second",
            Aspect::OnlySecond => "missing in the first",
            Aspect::Kind => "different type",
            Aspect::Mode => "different mode",
            Aspect::Owner => "different owner",
            Aspect::Size => "different size",
            Aspect::Contents => "different contents",
            Aspect::Target => "different target",
            Aspect::Device => "different device",
            Aspect::ModificationTime => "different modification time",
            Aspect::Flags => "different flags",
            Aspect::Acl => "different access control list",
            Aspect::ExtendedAttributes => "different extended attributes",
            Aspect::HardLinks => "different hard links",
        })
    }
}

/// Compares two trees in all that [`copy`](super::copy()) carries over, and reports
/// every difference, in the order of names, until `visit` breaks off. Sockets
/// do not count, nor does where a file has holes.
pub fn compare(a: &Path, b: &Path, visit: &mut dyn FnMut(Difference) -> ControlFlow<()>) -> Result<()> {
    let (left, right) = (Entry::top(a)?, Entry::top(b)?);
    let mut comparison = Comparison::new(&left, &right, visit);
    comparison.pair(&left, &right).with_context(|| {
        let path = &comparison.path;
        format!("compare {} with {}", a.join(path).display(), b.join(path).display())
    })
}

/// The first difference between two trees; `None` when they are equal in all
/// that [`copy`](super::copy()) carries over.
pub fn difference(a: &Path, b: &Path) -> Result<Option<String>> {
    let mut first = None;
    compare(a, b, &mut |found| {
        first = Some(found.to_string());
        ControlFlow::Break(())
    })?;
    Ok(first)
}

/// Whether the regular file at `path` in the tree `a` begins with all that the
/// one in the tree `b` has: as it is when copying it to `b` was cut short.
pub fn starts_with(a: &Path, b: &Path, path: &Path) -> Result<bool> {
    let open = |top: &Path| -> Result<Entry> {
        let (directory, name) = open_parent(open_directory(top)?.as_fd(), path)?;
        Ok(Entry::open(directory.as_fd(), &name, FileType::RegularFile)?)
    };
    let (whole, part) = (
        open(a).with_context(|| format!("open {}", a.join(path).display()))?,
        open(b).with_context(|| format!("open {}", b.join(path).display()))?,
    );
    if part.stat.st_size > whole.stat.st_size {
        return Ok(false);
    }
    same_beginning(&whole, &part, &mut buffers(), size(&part.stat))
        .with_context(|| format!("compare {} with {}", a.join(path).display(), b.join(path).display()))
}

/// A comparison under way.
pub(super) struct Comparison<'a> {
    visit: &'a mut dyn FnMut(Difference) -> ControlFlow<()>,
    stopped: bool,
    devices: (Device, Device),
    first_names: (FirstNames, FirstNames),
    buffers: (Vec<u8>, Vec<u8>),
    path: PathBuf,
    depth: usize,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(
        left: &Entry,
        right: &Entry,
        visit: &'a mut dyn FnMut(Difference) -> ControlFlow<()>,
    ) -> Comparison<'a> {
        Comparison {
            visit,
            stopped: false,
            devices: (Device::of(&left.stat), Device::of(&right.stat)),
            first_names: Default::default(),
            buffers: buffers(),
            path: PathBuf::new(),
            depth: 0,
        }
    }

    fn report(&mut self, what: Aspect, directory: bool) {
        if !self.stopped {
            let mut path = self.path.clone();
            if path.as_os_str().is_empty() {
                path.push(".");
            }
            self.stopped = (self.visit)(Difference { path, what, directory }).is_break();
        }
    }

    fn directory(&mut self, a: BorrowedFd, b: BorrowedFd) -> io::Result<()> {
        descend(&mut self.depth)?;
        let (left, right) = (names(a)?, names(b)?);
        let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
        while !self.stopped {
            // The lesser name, and in which trees it is.
            let (name, first, second) = match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some(name), None) => (*name, true, false),
                (None, Some(name)) => (*name, false, true),
                (Some(l), Some(r)) if l == r => (*l, true, true),
                (Some(l), Some(r)) if l < r => (*l, true, false),
                (_, Some(r)) => (*r, false, true),
            };
            if first {
                left.next();
            }
            if second {
                right.next();
            }
            self.path.push(path_of(name));
            // On an error the path stays, for the message.
            self.entry(Some(a).filter(|_| first), Some(b).filter(|_| second), name)?;
            self.path.pop();
        }
        self.depth -= 1;
        Ok(())
    }

    fn entry(&mut self, a: Option<BorrowedFd>, b: Option<BorrowedFd>, name: &CStr) -> io::Result<()> {
        let see = |directory: Option<BorrowedFd>, device| match directory {
            Some(directory) => look(directory, name, device),
            None => Ok(None),
        };
        let (left, right) = (see(a, self.devices.0)?, see(b, self.devices.1)?);
        let directory = |stat: &Stat| kind_of(stat) == FileType::Directory;
        match (left, right, a, b) {
            (None, None, ..) => {}
            (Some(left), None, ..) => self.report(Aspect::OnlyFirst, directory(&left)),
            (None, Some(right), ..) => self.report(Aspect::OnlySecond, directory(&right)),
            (Some(left), Some(right), Some(a), Some(b)) => {
                let kind = kind_of(&left);
                if kind != kind_of(&right) {
                    self.report(Aspect::Kind, directory(&left) || directory(&right));
                    return Ok(());
                }
                let firsts = (
                    self.first_names.0.before(&left, &self.path),
                    self.first_names.1.before(&right, &self.path),
                );
                if firsts.0 != firsts.1 {
                    self.report(Aspect::HardLinks, false);
                } else if firsts.0.is_some() {
                    // The same two files, compared under their first name.
                    return Ok(());
                }
                self.pair(&Entry::open(a, name, kind)?, &Entry::open(b, name, kind)?)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Compares two files of the same kind, and all below them.
    // `pack` asks the same of each file by itself.
    pub(super) fn pair(&mut self, left: &Entry, right: &Entry) -> io::Result<()> {
        let (a, b) = (&left.stat, &right.stat);
        let kind = kind_of(a);
        let (regular, directory) = (kind == FileType::RegularFile, kind == FileType::Directory);
        let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        let link = kind == FileType::Symlink;
        let facts = [
            (Aspect::Mode, permissions_of(a) != permissions_of(b)),
            (Aspect::Owner, (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid)),
            (Aspect::Size, regular && a.st_size != b.st_size),
            (Aspect::Device, device && a.st_rdev != b.st_rdev),
            (Aspect::Target, link && !same_target(left, right)?),
            (Aspect::ModificationTime, (a.st_mtime, a.st_mtime_nsec) != (b.st_mtime, b.st_mtime_nsec)),
            (Aspect::Flags, flags::flags(a) != flags::flags(b)),
        ];
        for (what, _) in facts.iter().filter(|(_, differs)| *differs) {
            self.report(*what, directory);
        }
        if self.stopped {
            return Ok(());
        }
        let beside = (Attributes::of(left.object())?, Attributes::of(right.object())?);
        if !beside.0.acl.same(&beside.1.acl)? {
            self.report(Aspect::Acl, directory);
        }
        if !same_attributes((left, beside.0.names), (right, beside.1.names))? {
            self.report(Aspect::ExtendedAttributes, directory);
        }
        if regular && a.st_size == b.st_size && !self.stopped {
            if !same_beginning(left, right, &mut self.buffers, size(a))? {
                self.report(Aspect::Contents, false);
            }
        } else if directory {
            self.devices.0.check(a)?;
            self.devices.1.check(b)?;
            self.directory(left.fd.as_fd(), right.fd.as_fd())?;
        }
        Ok(())
    }
}

pub(super) fn same_target(left: &Entry, right: &Entry) -> io::Result<bool> {
    Ok(readlinkat(&left.fd, c"", Vec::new())? == readlinkat(&right.fd, c"", Vec::new())?)
}

pub(super) fn same_attributes(
    left: (&Entry, Vec<CString>),
    right: (&Entry, Vec<CString>),
) -> io::Result<bool> {
    let names = sorted(left.1);
    if names != sorted(right.1) {
        return Ok(false);
    }
    for name in &names {
        if attributes::value(left.0.object(), name)? != attributes::value(right.0.object(), name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether two regular files have the same contents.
pub(super) fn same_contents(left: &Entry, right: &Entry) -> io::Result<bool> {
    Ok(left.stat.st_size == right.stat.st_size
        && same_beginning(left, right, &mut buffers(), size(&left.stat))?)
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

const BUFFER: usize = 1 << 17;

fn buffers() -> (Vec<u8>, Vec<u8>) {
    (vec![0; BUFFER], vec![0; BUFFER])
}

/// Whether two files begin with the same bytes, `length` of them.
fn same_beginning(
    left: &Entry,
    right: &Entry,
    buffers: &mut (Vec<u8>, Vec<u8>),
    length: u64,
) -> io::Result<bool> {
    let mut done = 0;
    while done < length {
        let piece = usize::try_from(length - done).map_or(BUFFER, |left| left.min(BUFFER));
        let (one, other) = (&mut buffers.0[..piece], &mut buffers.1[..piece]);
        // One that has become shorter has changed.
        if read_at(left, one, done)? < piece || read_at(right, other, done)? < piece || one != other {
            return Ok(false);
        }
        done += piece as u64;
    }
    Ok(true)
}

/// Reads until the buffer is full or the file at its end.
fn read_at(file: &Entry, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::pread(&file.fd, &mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(bytes) => done += bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(done)
}
