//! Looking into a tree that another program writes: from its open top downwards,
//! no link followed, nothing opened that could block, and a bounded part read.

use crate::system::tree;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// More than any file has that is read here.
const LONGEST: u64 = 1 << 20;

/// More entries than any directory has that is listed here.
const MOST: usize = 10_000;

fn name(part: &OsStr) -> io::Result<CString> {
    Ok(CString::new(part.as_bytes())?)
}

/// The directory that a path in the tree leads to.
pub fn open(tree: &Path, path: &Path) -> io::Result<OwnedFd> {
    let mut here = tree::open_directory(tree).map_err(io::Error::other)?;
    for part in path {
        here = tree::open_directory_at(&here, &name(part)?)?;
    }
    Ok(here)
}

fn parent(tree: &Path, path: &Path) -> io::Result<(OwnedFd, CString)> {
    let directory = open(tree, path.parent().unwrap_or(Path::new("")))?;
    Ok((directory, name(path.file_name().unwrap_or_default())?))
}

/// What is there, if anything is and no link leads to it.
pub fn look(tree: &Path, path: &Path) -> Option<Stat> {
    let (directory, name) = parent(tree, path).ok()?;
    statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW).ok()
}

/// What kind of thing is there.
pub fn kind(tree: &Path, path: &Path) -> Option<FileType> {
    look(tree, path).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

/// The text of a link.
pub fn link(tree: &Path, path: &Path) -> Option<CString> {
    let (directory, name) = parent(tree, path).ok()?;
    readlinkat(directory, &name, Vec::new()).ok()
}

/// The first part of a path that is a link, or something else that is neither a
/// file nor a directory.
pub fn odd(tree: &Path, path: &Path) -> Option<(PathBuf, FileType)> {
    let mut walked = PathBuf::new();
    for part in path {
        walked.push(part);
        match kind(tree, &walked)? {
            FileType::Directory | FileType::RegularFile => {}
            kind => return Some((walked, kind)),
        }
    }
    None
}

/// A regular file of a reasonable size.
pub fn read(tree: &Path, path: &Path) -> Option<Vec<u8>> {
    let (directory, name) = parent(tree, path).ok()?;
    read_at(&directory, &name)
}

/// The same in an open directory.
pub fn read_at(directory: &OwnedFd, name: &CString) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    // Opening a device may do something to it.
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let file = File::from(openat(directory, name, flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    Some(text)
}

/// What `find` finds in the regular files of a directory. One file is held at a
/// time: all together may be more than there is memory.
pub fn find_in_files<T>(tree: &Path, path: &Path, find: impl Fn(&[u8]) -> Option<T>) -> Vec<T> {
    let Ok(directory) = open(tree, path) else { return Vec::new() };
    let names = tree::names(&directory).unwrap_or_default();
    names.iter().take(MOST).filter_map(|name| find(&read_at(&directory, name)?)).collect()
}
