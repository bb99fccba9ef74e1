//! Whole trees: faithful copy, comparison, merging, removal.
//!
//! A copy carries contents with their holes, owners, modes, times to the
//! nanosecond, flags, access control lists, extended attributes, hard links
//! within the tree, and links, FIFOs and device nodes as they are. Sockets are
//! left out, as tar(1) does: they mean nothing without the process that made
//! them.
//!
//! Every step is relative to an open directory and follows no link, so a tree
//! that a jail's root has prepared leads nowhere else. Nothing is opened that
//! opening could do something to or wait for. What is mounted in a tree is
//! never entered.

mod apply;
pub mod attributes;
mod compare;
mod copy;
pub mod flags;
pub mod inside;
mod merge;
mod pack;
mod remove;
mod restore;
mod store;
pub mod threeway;
mod unpack;

pub use apply::{apply, put};
pub use compare::{Aspect, Difference, compare, difference, starts_with};
pub use copy::{copy, copy_reporting};
pub use merge::merge;
pub use pack::{CONTAINER, Packed, REMOVED, digest, pack};
pub use remove::{remove, remove_file_at};
pub use restore::restore;
pub use store::store;
pub use unpack::Unpacker;

use crate::formats::shell;
use crate::system::effect;
use crate::system::file;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::tree::attributes::Object;
use crate::types::sibling_name;
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, fstat, openat, statat};
use std::collections::{BinaryHeap, HashMap};
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Levels of directories that a copy or a comparison goes down, each with two
/// descriptors open. A path that deep with names of sixteen bytes is longer
/// than any program can name.
const DEEPEST: usize = 256;

const FIRST_OPEN: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = FIRST_OPEN.union(OFlags::DIRECTORY);
/// Opening does not wait, even if the file has become a FIFO.
const FILE: OFlags = FIRST_OPEN.union(OFlags::NONBLOCK);
/// A name for what is not to be opened.
const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory, itself not a link, for work relative to it.
pub fn open_directory(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, DIRECTORY, Mode::empty())
        .map_err(io::Error::from)
        .with_context(|| format!("open the directory {}", path.display()))
}

/// Opens a directory in an open directory, not through a link.
pub fn open_directory_at(parent: impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    Ok(openat(parent, name, DIRECTORY, Mode::empty())?)
}

/// The names in an open directory, sorted, without `.` and `..`.
pub fn names(directory: impl AsFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(sorted(names))
}

/// Sorts names: with a heap, as the standard library's sort for slices costs
/// several kilobytes in each program.
#[inline(never)]
fn sorted(names: Vec<CString>) -> Vec<CString> {
    BinaryHeap::from(names).into_sorted_vec()
}

fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Access and modification time of a file, to be given to another.
#[allow(clippy::unnecessary_cast)] // The types differ between systems.
pub fn times_of(stat: &Stat) -> Timestamps {
    let time = |sec: i64, nsec: i64| Timespec { tv_sec: sec, tv_nsec: nsec as _ };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as i64),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as i64),
    }
}

/// Mode bits of a file, to be given to another.
pub fn permissions_of(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

/// The bytes that a tree takes; what is mounted in it does not count.
pub fn size(path: &Path) -> Result<u64> {
    let top = Entry::top(path)?;
    let mut total = 0;
    let mut depth = 0;
    add_size(&top.fd, Device::of(&top.stat), &mut depth, &mut total)
        .with_context(|| format!("measure {}", path.display()))?;
    Ok(total)
}

fn add_size(directory: &OwnedFd, device: Device, depth: &mut usize, total: &mut u64) -> io::Result<()> {
    descend(depth)?;
    for name in names(directory)? {
        let stat = statat(directory, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
        if device.check(&stat).is_err() {
            continue;
        }
        *total += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        if kind_of(&stat) == FileType::Directory {
            add_size(&open_directory_at(directory, &name)?, device, depth, total)?;
        }
    }
    *depth -= 1;
    Ok(())
}

fn path_of(name: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(name.to_bytes()))
}

/// Looks at a directory entry. `None` for a socket, which no copy has.
fn look(directory: BorrowedFd, name: &CStr, device: Device) -> io::Result<Option<Stat>> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    device.check(&stat)?;
    Ok(Some(stat).filter(|s| kind_of(s) != FileType::Socket))
}

/// The file system that a tree lies in.
#[derive(Clone, Copy)]
struct Device(u64);

#[allow(clippy::unnecessary_cast)] // The types differ between systems.
impl Device {
    fn of(stat: &Stat) -> Device {
        Device(stat.st_dev as u64)
    }

    fn check(self, stat: &Stat) -> io::Result<()> {
        if stat.st_dev as u64 == self.0 {
            Ok(())
        } else {
            Err(io::Error::other("a file system is mounted there"))
        }
    }
}

/// A file that is looked at closely: a regular file or a directory open for
/// reading, anything else only held, so that its name cannot be reused.
struct Entry {
    fd: OwnedFd,
    stat: Stat,
}

impl Entry {
    /// Opens a directory entry of a known kind.
    fn open(directory: BorrowedFd, name: &CStr, kind: FileType) -> io::Result<Entry> {
        let flags = match kind {
            FileType::Directory => DIRECTORY,
            FileType::RegularFile => FILE,
            _ => HANDLE,
        };
        let entry = Entry::new(openat(directory, name, flags, Mode::empty())?)?;
        if kind_of(&entry.stat) != kind {
            return Err(io::Error::other("changes while it is being read"));
        }
        Ok(entry)
    }

    fn new(fd: OwnedFd) -> io::Result<Entry> {
        let stat = fstat(&fd)?;
        Ok(Entry { fd, stat })
    }

    /// The top of a tree.
    fn top(path: &Path) -> Result<Entry> {
        Ok(Entry::new(open_directory(path)?)?)
    }

    fn object(&self) -> Object<'_> {
        Object { fd: self.fd.as_fd(), kind: kind_of(&self.stat) }
    }
}

/// Opens the directory that a path in a tree leads to, and gives its last name.
fn open_parent(top: BorrowedFd, path: &Path) -> io::Result<(OwnedFd, CString)> {
    let mut directory = openat(top, c".", DIRECTORY, Mode::empty())?;
    for part in path.parent().into_iter().flatten() {
        directory = open_directory_at(directory, &CString::new(part.as_bytes())?)?;
    }
    Ok((directory, CString::new(path.file_name().unwrap_or_default().as_bytes())?))
}

/// The files of a tree that have several names, by inode, with the first of
/// these that was met.
#[derive(Default)]
struct FirstNames(HashMap<u64, PathBuf>);

impl FirstNames {
    /// The first name of a file, if it is not this one.
    #[allow(clippy::unnecessary_cast)] // The types differ between systems.
    fn before(&mut self, stat: &Stat, path: &Path) -> Option<PathBuf> {
        if stat.st_nlink < 2 || kind_of(stat) == FileType::Directory {
            return None;
        }
        let inode = stat.st_ino as u64;
        let first = self.0.get(&inode).cloned();
        if first.is_none() {
            self.0.insert(inode, path.to_owned());
        }
        first
    }
}

/// An error with what failed in front of it.
fn failed(what: fmt::Arguments, cause: io::Error) -> io::Error {
    io::Error::other(format!("{what}: {cause}"))
}

/// One level down in a tree, or a refusal.
fn descend(depth: &mut usize) -> io::Result<()> {
    if *depth == DEEPEST {
        return Err(io::Error::other(format!("more than {DEEPEST} levels of directories")));
    }
    *depth += 1;
    Ok(())
}

/// Copies a tree so that it appears whole or not at all: next to its target
/// first, then by rename.
pub struct CopyTree {
    /// The tree.
    pub from: PathBuf,
    /// Where the copy goes.
    pub to: PathBuf,
}

impl Action for CopyTree {
    fn shell(&self) -> String {
        // Not cp -a, which makes separate files of hard links.
        let (from, to) = (shell::quote(&self.from), shell::quote(&self.to));
        format!("/bin/mkdir {to} && /usr/bin/tar -C {from} -cf - . | /usr/bin/tar -C {to} -xpf -")
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        let aside = sibling_name::temporary(&self.to);
        // What a killed run left.
        remove(&aside)?;
        undo.push(RemoveTree { path: aside.clone() });
        let flags = copy::copy_but_flags(&self.from, &aside, &mut |_| ())?;
        store(&aside)?;
        let parent = self.to.parent().unwrap_or(Path::new("/"));
        let directory = open_directory(parent)?;
        // Renaming onto an empty directory would succeed, so look once more.
        if file::look(&self.to)?.is_some() {
            bail!("{} already exists", self.to.display());
        }
        effect::rename(&aside, &self.to)?;
        undo.push(RemoveCopy { path: self.to.clone() });
        // An immutable directory could not have been renamed.
        copy::set_top_flags(&self.to, flags)?;
        effect::fsync(&directory, parent)?;
        Ok(())
    }
}

/// Renames a tree to a name that is free, with the flags of its top.
pub fn rename_tree(from: &Path, to: &Path) -> Result<()> {
    // Renaming onto an empty directory would succeed, so look once more.
    if file::look(to)?.is_some() {
        bail!("{} already exists", to.display());
    }
    let flags = flags::flags(&Entry::top(from)?.stat);
    // An immutable directory cannot be renamed.
    copy::clear_top_flags(from)?;
    effect::rename(from, to)?;
    copy::set_top_flags(to, flags)
}

/// Removes everything in a tree, but not its top. A directory `.zfs` is not part of it.
pub fn empty(path: &Path) -> Result<()> {
    let top = open_directory(path)?;
    for name in names(&top)?.iter().filter(|name| name.as_c_str() != c".zfs") {
        remove::remove_at(top.as_fd(), name)
            .with_context(|| format!("remove {}", path.join(path_of(name)).display()))?;
    }
    Ok(())
}

/// Removes a copy that is in place. Under its own name it is never half a copy,
/// which the next run would have to take for work in progress.
pub struct RemoveCopy {
    /// Which.
    pub path: PathBuf,
}

impl Action for RemoveCopy {
    fn shell(&self) -> String {
        RemoveTree { path: self.path.clone() }.shell()
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        let aside = sibling_name::temporary(&self.path);
        remove(&aside)?;
        if file::look(&self.path)?.is_some() {
            copy::clear_top_flags(&self.path)?;
            effect::rename(&self.path, &aside)?;
        }
        remove(&aside)
    }
}

/// Removes a tree that this run made.
pub struct RemoveTree {
    /// Which.
    pub path: PathBuf,
}

impl Action for RemoveTree {
    fn shell(&self) -> String {
        // var/empty is immutable.
        let path = shell::quote(&self.path);
        format!("/bin/chflags -R noschg {path} && /bin/rm -rf {path}")
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        remove(&self.path)
    }
}
