//! File flags, modes of links and copying of data, where the systems differ.

#![allow(clippy::disallowed_methods)] // Each of them is announced here.

use crate::system::effect;
use rustix::fs::{Mode, Stat};
use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;

/// Flags of chflags(2) that a faithful copy carries along. UF_ARCHIVE is left
/// out: ZFS sets it on every file that is written.
#[cfg(target_os = "freebsd")]
const CARRIED: u32 = !0x800;

/// The flags of a file that matter for a copy; none where the system has none.
#[cfg(target_os = "freebsd")]
pub fn flags(stat: &Stat) -> u32 {
    stat.st_flags & CARRIED
}

/// The flags of a file that matter for a copy; none where the system has none.
#[cfg(not(target_os = "freebsd"))]
pub fn flags(_stat: &Stat) -> u32 {
    0
}

/// Sets the flags of a directory entry, links not followed; of what is open
/// itself when the name is empty.
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
pub fn set_flags(directory: impl AsFd, name: &CStr, flags: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    const AT_SYMLINK_NOFOLLOW: i32 = 0x0200;
    const AT_EMPTY_PATH: i32 = 0x4000;
    let fd = directory.as_fd().as_raw_fd();
    effect::with(format_args!("set the flags {}", name.to_string_lossy()), || {
        let at = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
        // SAFETY: fd is open and name ends in a NUL.
        match unsafe { libc::chflagsat(fd, name.as_ptr(), flags.into(), at) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    })
}

/// Sets the flags of a directory entry; there are none here.
#[cfg(not(target_os = "freebsd"))]
pub fn set_flags(_directory: impl AsFd, _name: &CStr, _flags: u32) -> io::Result<()> {
    Ok(())
}

/// Copies all data of a file, holes as holes.
pub fn copy_data(from: impl AsFd, to: impl AsFd, stat: &Stat) -> io::Result<()> {
    effect::with(format_args!("copy the data"), || copy_all(from, to, stat))
}

/// The kernel finds the holes. copy_file_range(2) lets ZFS share blocks between
/// datasets of a pool instead of copying them. A file that grows meanwhile is
/// copied up to its size as it was: a process that writes to it may never end.
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
fn copy_all(from: impl AsFd, to: impl AsFd, stat: &Stat) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut left = usize::try_from(stat.st_size).unwrap_or(0);
    while left > 0 {
        // SAFETY: both descriptors are open; null offsets mean the file offsets.
        let copied = unsafe {
            libc::copy_file_range(
                from.as_raw_fd(),
                std::ptr::null_mut(),
                to.as_raw_fd(),
                std::ptr::null_mut(),
                left.min(1 << 30),
                0,
            )
        };
        match usize::try_from(copied) {
            // It has become shorter.
            Ok(0) => return Ok(()),
            Ok(bytes) => left = left.saturating_sub(bytes),
            Err(_) => {
                let e = io::Error::last_os_error();
                if e.kind() != io::ErrorKind::Interrupted {
                    return Err(e);
                }
            }
        }
    }
    Ok(())
}

#[cfg(not(target_os = "freebsd"))]
fn copy_all(from: impl AsFd, to: impl AsFd, stat: &Stat) -> io::Result<()> {
    use rustix::fs::{SeekFrom, ftruncate, seek};
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if stat.st_blocks * 512 >= stat.st_size {
        return copy_piece(from, to, 0, size);
    }
    let mut done = 0;
    while done < size {
        let data = match seek(&from, SeekFrom::Data(done)) {
            // A hole up to the end.
            Err(rustix::io::Errno::NXIO) => break,
            found => found?,
        };
        done = seek(&from, SeekFrom::Hole(data))?;
        copy_piece(&from, &to, data, done)?;
    }
    Ok(ftruncate(to, size)?)
}

/// Copies what lies between two offsets.
#[cfg(not(target_os = "freebsd"))]
fn copy_piece(from: impl AsFd, to: impl AsFd, mut start: u64, end: u64) -> io::Result<()> {
    use rustix::io::{Errno, pread, pwrite};
    const ROOM: usize = 1 << 16;
    // With little to copy, copy_file_range(2) is the longer way.
    let mut in_kernel = end - start > ROOM as u64;
    let mut buffer = Vec::new();
    while start < end {
        let left = usize::try_from(end - start).unwrap_or(usize::MAX);
        let copied = if in_kernel {
            let (mut source, mut target) = (start, start);
            match rustix::fs::copy_file_range(&from, Some(&mut source), &to, Some(&mut target), left) {
                // Not between these file systems.
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                    in_kernel = false;
                    continue;
                }
                copied => copied,
            }
        } else {
            buffer.resize(left.min(ROOM), 0);
            pread(&from, &mut buffer[..], start).and_then(|got| pwrite(&to, &buffer[..got], start))
        };
        match copied {
            // It has become shorter.
            Ok(0) => break,
            Ok(bytes) => start += bytes as u64,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Gives a symbolic link a mode, which FreeBSD has and checks for nothing.
#[cfg(target_os = "freebsd")]
pub fn set_link_mode(directory: impl AsFd, name: &CStr, mode: Mode) -> io::Result<()> {
    effect::with(format_args!("set the mode {}", name.to_string_lossy()), || {
        Ok(rustix::fs::chmodat(directory, name, mode, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
    })
}

/// Gives a symbolic link a mode; links have none here.
#[cfg(not(target_os = "freebsd"))]
pub fn set_link_mode(_directory: impl AsFd, _name: &CStr, _mode: Mode) -> io::Result<()> {
    Ok(())
}

/// Sets the mode of what is open, be it with O_PATH only.
pub fn set_mode(fd: impl AsFd, mode: Mode) -> io::Result<()> {
    effect::with(format_args!("set the mode"), || change_mode(fd, mode))
}

#[cfg(target_os = "freebsd")]
fn change_mode(fd: impl AsFd, mode: Mode) -> io::Result<()> {
    Ok(rustix::fs::chmodat(fd, c"", mode, rustix::fs::AtFlags::EMPTY_PATH)?)
}

#[cfg(not(target_os = "freebsd"))]
fn change_mode(fd: impl AsFd, mode: Mode) -> io::Result<()> {
    use rustix::fs::{CWD, chmodat, fchmod};
    use rustix::io::Errno;
    use std::os::fd::AsRawFd;
    match fchmod(&fd, mode) {
        Err(Errno::BADF) => {
            let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
            match chmodat(CWD, path, mode, rustix::fs::AtFlags::empty()) {
                // Links have no mode here.
                Err(Errno::NOTSUP) => Ok(()),
                done => Ok(done?),
            }
        }
        done => Ok(done?),
    }
}
