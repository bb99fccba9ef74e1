//! Where everything that changes the system passes by.
//!
//! Whatever makes, changes or removes something, or starts a program, is called
//! through this module and nowhere else: clippy.toml names the functions that
//! only it may call. In an installed build it adds nothing to them. With the
//! feature `inject`, which only the tests turn on, any effect can be made to
//! fail, before or after it was done, or to kill the process; see
//! `effect/inject.rs`.

#![allow(clippy::disallowed_methods)] // The one place that may.

#[cfg(feature = "inject")]
pub mod inject;
#[cfg(feature = "inject")]
pub use inject::{program, with};

#[cfg(not(feature = "inject"))]
use crate::types::tool_error::ToolError;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timestamps, Uid};
use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, ExitStatus};

/// Does `work`, which is the effect `what`; an error is to be treated as if the
/// effect had failed with it.
#[cfg(not(feature = "inject"))]
#[inline(always)]
pub fn with<T>(_what: fmt::Arguments, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    work()
}

/// Does `work`, which runs the program of that command line.
#[cfg(not(feature = "inject"))]
#[inline(always)]
pub fn program<T>(
    _line: impl FnOnce() -> String,
    work: impl FnOnce() -> Result<T, ToolError>,
) -> Result<T, ToolError> {
    work()
}

/// An error with what failed in front of it.
fn named<T>(what: fmt::Arguments, done: io::Result<T>) -> io::Result<T> {
    done.map_err(|e| io::Error::new(e.kind(), format!("{what}: {e}")))
}

/// An effect whose errors say what it is.
macro_rules! with_context {
    ($work:expr, $($what:tt)+) => {
        named(format_args!($($what)+), with(format_args!($($what)+), || $work))
    };
}

/// Runs a program that is the user's own, an editor, to its end.
pub fn run(command: &mut Command) -> io::Result<ExitStatus> {
    let name = command.get_program().to_owned();
    with_context!(command.status(), "start {}", name.display())
}

/// Renames a file.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    with_context!(std::fs::rename(from, to), "rename {} to {}", from.display(), to.display())
}

/// Removes a file.
pub fn remove_file(path: &Path) -> io::Result<()> {
    with_context!(std::fs::remove_file(path), "remove {}", path.display())
}

/// Removes an empty directory.
pub fn remove_dir(path: &Path) -> io::Result<()> {
    with_context!(std::fs::remove_dir(path), "remove the directory {}", path.display())
}

/// Makes a directory, of no more than that mode.
pub fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    with_context!(std::fs::DirBuilder::new().mode(mode).create(path), "make the directory {}", path.display())
}

/// Makes a symbolic link with that text.
pub fn symlink(text: &Path, path: &Path) -> io::Result<()> {
    with_context!(std::os::unix::fs::symlink(text, path), "link {}", path.display())
}

/// Sets the mode of a file, following a link.
pub fn chmod(path: &Path, mode: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode((mode & 0o7777) as _);
    with_context!(Ok(rustix::fs::chmod(path, mode)?), "set the mode of {}", path.display())
}

/// Sets the owner of a file, following a link.
pub fn chown(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    with_context!(std::os::unix::fs::chown(path, Some(uid), Some(gid)), "set the owner of {}", path.display())
}

/// Opens a file for writing, and creates it if it does not exist.
pub fn open(path: &Path, flags: OFlags, mode: Mode) -> io::Result<File> {
    let flags = flags.union(OFlags::CREATE).union(OFlags::CLOEXEC);
    let opened = with(format_args!("open {}", path.display()), || Ok(rustix::fs::open(path, flags, mode)?));
    Ok(File::from(opened?))
}

/// Makes a new file in an open directory, open for writing.
pub fn create_at(directory: impl AsFd, name: &CStr, mode: Mode) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let open = || Ok(rustix::fs::openat(directory, name, flags, mode)?);
    with(format_args!("create {}", name.to_string_lossy()), open)
}

/// Gives an open file new contents.
pub fn fill(mut file: &File, contents: &[u8]) -> io::Result<()> {
    use std::io::Seek;
    with(format_args!("write"), || {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(contents)
    })
}

/// Writes to standard output.
pub fn print(text: &[u8]) -> io::Result<()> {
    with(format_args!("print"), || io::stdout().write_all(text).and_then(|()| io::stdout().flush()))
}

/// Has an open file or directory stored; `path` is its name.
pub fn fsync(file: impl AsFd, path: &Path) -> io::Result<()> {
    with_context!(Ok(rustix::fs::fsync(file)?), "fsync {}", path.display())
}

/// Waits for the lock on an open file.
pub fn lock(file: &File) -> io::Result<()> {
    with(format_args!("lock"), || {
        #[cfg(feature = "inject")]
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(std::fs::TryLockError::WouldBlock) => inject::blocked(),
            Err(std::fs::TryLockError::Error(e)) => return Err(e),
        }
        file.lock()
    })
}

/// Sets the owner of an open file.
pub fn fchown(file: impl AsFd, uid: Uid, gid: Gid) -> io::Result<()> {
    with(format_args!("fchown"), || Ok(rustix::fs::fchown(file, Some(uid), Some(gid))?))
}

/// Sets the mode of an open file.
pub fn fchmod(file: impl AsFd, mode: Mode) -> io::Result<()> {
    with(format_args!("fchmod"), || Ok(rustix::fs::fchmod(file, mode)?))
}

/// Sets the owner of a directory entry, or of what is held with `O_PATH`.
pub fn chownat(directory: impl AsFd, name: &CStr, uid: Uid, gid: Gid, flags: AtFlags) -> io::Result<()> {
    let work = || Ok(rustix::fs::chownat(directory, name, Some(uid), Some(gid), flags)?);
    with(format_args!("chown {}", name.to_string_lossy()), work)
}

/// Sets the times of a directory entry, or of what is held with `O_PATH`.
pub fn utimensat(directory: impl AsFd, name: &CStr, times: &Timestamps, flags: AtFlags) -> io::Result<()> {
    let work = || Ok(rustix::fs::utimensat(directory, name, times, flags)?);
    with(format_args!("set the times {}", name.to_string_lossy()), work)
}

/// Sets the times of an open file.
pub fn futimens(file: impl AsFd, times: &Timestamps) -> io::Result<()> {
    with(format_args!("set the times"), || Ok(rustix::fs::futimens(file, times)?))
}

/// Removes a directory entry.
pub fn unlinkat(directory: impl AsFd, name: &CStr, flags: AtFlags) -> io::Result<()> {
    let work = || Ok(rustix::fs::unlinkat(directory, name, flags)?);
    with(format_args!("unlink {}", name.to_string_lossy()), work)
}

/// Renames a directory entry.
pub fn renameat(from: impl AsFd, name: &CStr, to: impl AsFd, new: &CStr) -> io::Result<()> {
    let work = || Ok(rustix::fs::renameat(from, name, to, new)?);
    with(format_args!("rename {} to {}", name.to_string_lossy(), new.to_string_lossy()), work)
}

/// Makes a directory in an open one.
pub fn mkdirat(directory: impl AsFd, name: &CStr, mode: Mode) -> io::Result<()> {
    let work = || Ok(rustix::fs::mkdirat(directory, name, mode)?);
    with(format_args!("mkdir {}", name.to_string_lossy()), work)
}

/// Makes a symbolic link in an open directory.
pub fn symlinkat(text: &CStr, directory: impl AsFd, name: &CStr) -> io::Result<()> {
    let work = || Ok(rustix::fs::symlinkat(text, directory, name)?);
    with(format_args!("symlink {}", name.to_string_lossy()), work)
}

/// Gives a file a further name.
pub fn linkat(from: impl AsFd, name: &CStr, to: impl AsFd, new: &CStr) -> io::Result<()> {
    let work = || Ok(rustix::fs::linkat(from, name, to, new, AtFlags::empty())?);
    with(format_args!("link {} to {}", new.to_string_lossy(), name.to_string_lossy()), work)
}

/// Makes a FIFO or a device node.
pub fn mknodat(
    directory: impl AsFd,
    name: &CStr,
    kind: rustix::fs::FileType,
    mode: Mode,
    device: u64,
) -> io::Result<()> {
    let work = || Ok(rustix::fs::mknodat(directory, name, kind, mode, device as _)?);
    with(format_args!("mknod {}", name.to_string_lossy()), work)
}
