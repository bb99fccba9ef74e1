//! Removal of trees.

use super::{DIRECTORY, Device, HANDLE, kind_of, names, open_directory, path_of, permissions_of};
use crate::system::effect;
use crate::system::file;
use crate::system::tree::flags;
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, Mode, Stat, fstat, openat, statat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Levels that are gone down with a descriptor open for each. What lies deeper
/// is moved up to the top first, so that no depth is too much.
const LEVELS: usize = 64;

/// Removes a tree of any depth, flags and all, without following a link or
/// crossing a mount point. Nothing there is success.
pub fn remove(path: &Path) -> Result<()> {
    let Some(there) = file::look(path)? else { return Ok(()) };
    if !there.is_dir() {
        bail!("{}: {}, not a directory", path.display(), file::kind(&there));
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = open_directory(parent)?;
    let device = Device::of(&fstat(&parent).map_err(io::Error::from)?);
    let mut removal = Removal { device, moved: 0, path: PathBuf::new() };
    let name = path.file_name().with_context(|| format!("{}: no name", path.display()))?;
    let name = CString::new(name.as_bytes())?;
    let removed = removal.tree(parent.as_fd(), &name);
    removed.with_context(|| format!("remove {}", path.join(removal.path).display()))
}

/// Removes an entry of an open directory, and all that may be below it. Nothing
/// there is success.
pub(super) fn remove_at(parent: BorrowedFd, name: &CStr) -> io::Result<()> {
    let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        stat => stat?,
    };
    if kind_of(&stat) != FileType::Directory {
        return unlink(parent, name, &stat);
    }
    let device = Device::of(&fstat(parent)?);
    Removal { device, moved: 0, path: PathBuf::new() }.tree(parent, name)
}

/// Removes an entry of an open directory that is not a directory itself, flags and
/// all. Nothing there is success.
pub fn remove_file_at(parent: impl AsFd, name: &CStr) -> io::Result<()> {
    match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(()),
        stat => unlink(parent.as_fd(), name, &stat?),
    }
}

/// A removal under way.
struct Removal {
    device: Device,
    /// Directories moved up so far.
    moved: u64,
    /// What is being removed; after an error, what could not be.
    path: PathBuf,
}

impl Removal {
    fn tree(&mut self, parent: BorrowedFd, name: &CStr) -> io::Result<()> {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let top = self.enter(parent, name, &stat)?;
        loop {
            let moved = self.moved;
            self.contents(top.as_fd(), top.as_fd(), LEVELS)?;
            if moved == self.moved {
                break;
            }
        }
        effect::unlinkat(parent, name, AtFlags::REMOVEDIR)
    }

    fn contents(&mut self, top: BorrowedFd, directory: BorrowedFd, levels: usize) -> io::Result<()> {
        for name in names(directory)? {
            self.path.push(path_of(&name));
            // On an error the path stays, for the message.
            self.entry(top, directory, &name, levels)?;
            self.path.pop();
        }
        Ok(())
    }

    fn entry(&mut self, top: BorrowedFd, parent: BorrowedFd, name: &CStr, levels: usize) -> io::Result<()> {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        self.device.check(&stat)?;
        if kind_of(&stat) != FileType::Directory {
            return unlink(parent, name, &stat);
        }
        let directory = self.enter(parent, name, &stat)?;
        if levels == 0 {
            return self.move_up(top, parent, name);
        }
        self.contents(top, directory.as_fd(), levels - 1)?;
        effect::unlinkat(parent, name, AtFlags::REMOVEDIR)
    }

    /// Opens a directory and makes sure that its entries can be removed. A copy
    /// that was interrupted may have left one that cannot be entered.
    fn enter(&mut self, parent: BorrowedFd, name: &CStr, stat: &Stat) -> io::Result<OwnedFd> {
        self.device.check(stat)?;
        if flags::flags(stat) != 0 {
            flags::set_flags(parent, name, 0)?;
        }
        let directory = match openat(parent, name, DIRECTORY, Mode::empty()) {
            Err(Errno::ACCESS) => {
                let handle = openat(parent, name, HANDLE.union(DIRECTORY), Mode::empty())?;
                self.device.check(&fstat(&handle)?)?;
                flags::set_mode(handle, Mode::RWXU)?;
                openat(parent, name, DIRECTORY, Mode::empty())?
            }
            opened => opened?,
        };
        let opened = fstat(&directory)?;
        self.device.check(&opened)?;
        if !permissions_of(&opened).contains(Mode::RWXU) {
            flags::set_mode(&directory, Mode::RWXU)?;
        }
        Ok(directory)
    }

    /// Moves a directory to the top of the tree, under a name that is free.
    fn move_up(&mut self, top: BorrowedFd, parent: BorrowedFd, name: &CStr) -> io::Result<()> {
        loop {
            self.moved += 1;
            let free = CString::new(format!("thinjail.{}", self.moved))?;
            let Err(e) = effect::renameat(parent, name, top, &free) else { return Ok(()) };
            // The name is taken; if by an empty directory, that is gone now.
            if !matches!(Errno::from_io_error(&e), Some(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR)) {
                return Err(e);
            }
        }
    }
}

/// Removes what is no directory. If it has names elsewhere, it keeps its flags
/// there.
fn unlink(parent: BorrowedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
    let flags = flags::flags(stat);
    let mut elsewhere = None;
    if flags != 0 {
        if stat.st_nlink > 1 {
            elsewhere = Some(openat(parent, name, HANDLE, Mode::empty())?);
        }
        flags::set_flags(parent, name, 0)?;
    }
    effect::unlinkat(parent, name, AtFlags::empty())?;
    match elsewhere {
        Some(handle) if fstat(&handle)?.st_nlink > 0 => flags::set_flags(handle, c"", flags),
        _ => Ok(()),
    }
}
