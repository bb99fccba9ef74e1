//! File flags and copying of data, where the systems differ.

use std::fs::File;
use std::io;

/// Flags of chflags(2) that a faithful copy carries along. UF_ARCHIVE is left
/// out: ZFS sets it on every file that is written.
#[cfg(target_os = "freebsd")]
const CARRIED: u32 = !0x800;

/// The flags of a file that matter for a copy; none where the system has none.
#[cfg(target_os = "freebsd")]
pub fn flags(stat: &rustix::fs::Stat) -> u32 {
    stat.st_flags & CARRIED
}

/// The flags of a file that matter for a copy; none where the system has none.
#[cfg(not(target_os = "freebsd"))]
pub fn flags(_stat: &rustix::fs::Stat) -> u32 {
    0
}

/// Sets the flags of a directory entry, links not followed.
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
pub fn set_flags(directory: impl std::os::fd::AsFd, name: &std::ffi::CStr, flags: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    const AT_SYMLINK_NOFOLLOW: i32 = 0x0200;
    let fd = directory.as_fd().as_raw_fd();
    // SAFETY: fd is open and name ends in a NUL.
    if unsafe { libc::chflagsat(fd, name.as_ptr(), flags.into(), AT_SYMLINK_NOFOLLOW) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets the flags of a directory entry; there are none here.
#[cfg(not(target_os = "freebsd"))]
pub fn set_flags(_directory: impl std::os::fd::AsFd, _name: &std::ffi::CStr, _flags: u32) -> io::Result<()> {
    Ok(())
}

/// Copies all data from where `from` stands. copy_file_range(2) lets ZFS share
/// blocks between datasets of a pool instead of copying them.
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
pub fn copy_data(from: &mut File, to: &mut File) -> io::Result<u64> {
    use std::os::fd::AsRawFd;
    let mut total = 0;
    loop {
        // SAFETY: both descriptors are open; null offsets mean the file offsets.
        let copied = unsafe {
            libc::copy_file_range(
                from.as_raw_fd(),
                std::ptr::null_mut(),
                to.as_raw_fd(),
                std::ptr::null_mut(),
                1 << 30,
                0,
            )
        };
        match u64::try_from(copied) {
            Ok(0) => return Ok(total),
            Ok(bytes) => total += bytes,
            Err(_) => {
                let e = io::Error::last_os_error();
                if e.kind() != io::ErrorKind::Interrupted {
                    return Err(e);
                }
            }
        }
    }
}

/// Copies all data from where `from` stands.
#[cfg(not(target_os = "freebsd"))]
pub fn copy_data(from: &mut File, to: &mut File) -> io::Result<u64> {
    io::copy(from, to)
}

/// Gives a symbolic link a mode, which FreeBSD has and checks for nothing.
#[cfg(target_os = "freebsd")]
pub fn set_link_mode(
    directory: impl std::os::fd::AsFd,
    name: &std::ffi::CStr,
    mode: rustix::fs::Mode,
) -> io::Result<()> {
    Ok(rustix::fs::chmodat(directory, name, mode, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Gives a symbolic link a mode; links have none here.
#[cfg(not(target_os = "freebsd"))]
pub fn set_link_mode(
    _directory: impl std::os::fd::AsFd,
    _name: &std::ffi::CStr,
    _mode: rustix::fs::Mode,
) -> io::Result<()> {
    Ok(())
}
