//! Tests whether a file is locked without locking it: a lock that is taken for
//! the test would make other programs fail that do not wait for it.

use std::fs::File;
use std::io;

/// A mode of flock(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// LOCK_SH, which only an exclusive lock keeps waiting.
    Shared,
    /// LOCK_EX, which any lock keeps waiting.
    Exclusive,
}

/// Whether a lock of flock(2) through another open file would keep a lock of this
/// mode waiting.
///
/// F_GETLK sees those of flock(2) as it sees those of fcntl(2) (freebsd-src:
/// sys/kern/kern_lockf.c, lf_getlock and lf_blocks).
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
pub fn is_locked(file: &File, mode: Mode) -> io::Result<bool> {
    use std::os::fd::AsRawFd;
    let kind = match mode {
        Mode::Shared => libc::F_RDLCK,
        Mode::Exclusive => libc::F_WRLCK,
    };
    // SAFETY: all zeros are a lock from the beginning to the end of the file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as _;
    lock.l_whence = libc::SEEK_SET as _;
    // SAFETY: the descriptor is open, and F_GETLK reads and writes one flock.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut lock) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(libc::c_int::from(lock.l_type) != libc::c_int::from(libc::F_UNLCK))
}

/// The same from the list of locks that Linux keeps, where the tests run.
#[cfg(not(target_os = "freebsd"))]
pub fn is_locked(file: &File, mode: Mode) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata()?;
    let device = metadata.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let place = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let locks = std::fs::read_to_string("/proc/locks")?;
    Ok(locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "->").collect();
        let waits = line.contains("->");
        let keeps = mode == Mode::Exclusive || words.get(3) == Some(&"WRITE");
        !waits && words.get(1) == Some(&"FLOCK") && words.get(5) == Some(&place.as_str()) && keeps
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_takes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::open(file.path()).unwrap();
        let (one, other) = (open(), open());
        let look = |mode| is_locked(&open(), mode).unwrap();
        assert_eq!((look(Mode::Shared), look(Mode::Exclusive)), (false, false));
        one.try_lock_shared().unwrap();
        assert_eq!((look(Mode::Shared), look(Mode::Exclusive)), (false, true));
        one.unlock().unwrap();
        other.try_lock().unwrap();
        assert_eq!((look(Mode::Shared), look(Mode::Exclusive)), (true, true));
        // Not by closing it: a process that another test has just forked may
        // have the descriptor until it executes its program.
        other.unlock().unwrap();
        // A test keeps no other program waiting.
        let looking = open();
        assert!(!is_locked(&looking, Mode::Exclusive).unwrap());
        one.try_lock().unwrap();
    }
}
