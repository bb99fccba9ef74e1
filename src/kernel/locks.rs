//! Whether a file is locked, without locking it: whoever takes a lock to find
//! out makes others that do not wait for it fail.

use std::fs::File;
use std::io;

/// What would have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A shared lock: is somebody at work alone?
    Shared,
    /// An exclusive one: is anybody at work?
    Exclusive,
}

/// Whether another open file has a lock of flock(2) that keeps such a lock away.
///
/// F_GETLK sees those of flock(2) as it sees those of fcntl(2) (freebsd-src:
/// sys/kern/kern_lockf.c, lf_getlock and lf_blocks).
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
pub fn is_locked(file: &File, wish: Wish) -> io::Result<bool> {
    use std::os::fd::AsRawFd;
    let kind = match wish {
        Wish::Shared => libc::F_RDLCK,
        Wish::Exclusive => libc::F_WRLCK,
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
pub fn is_locked(file: &File, wish: Wish) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata()?;
    let device = metadata.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let place = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let locks = std::fs::read_to_string("/proc/locks")?;
    Ok(locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "->").collect();
        let waits = line.contains("->");
        let keeps = wish == Wish::Exclusive || words.get(3) == Some(&"WRITE");
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
        let look = |wish| is_locked(&open(), wish).unwrap();
        assert_eq!((look(Wish::Shared), look(Wish::Exclusive)), (false, false));
        one.try_lock_shared().unwrap();
        assert_eq!((look(Wish::Shared), look(Wish::Exclusive)), (false, true));
        one.unlock().unwrap();
        other.try_lock().unwrap();
        assert_eq!((look(Wish::Shared), look(Wish::Exclusive)), (true, true));
        drop(other);
        // While somebody looks, nobody is kept away.
        let looking = open();
        assert!(!is_locked(&looking, Wish::Exclusive).unwrap());
        one.try_lock().unwrap();
    }
}
