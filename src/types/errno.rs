//! FreeBSD's error numbers, the same on every host the suite is built for.

use std::fmt;
use thiserror::Error;

/// An error number as FreeBSD counts them (freebsd-src: sys/sys/errno.h).
/// Linux has other numbers for many, so nothing here comes from the host.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident $number:literal $text:literal)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Errno = Errno($number);)*

            /// The text of strerror(3).
            pub fn text(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($text),)*
                    _ => None,
                }
            }

            /// The number of the constant called `name`.
            pub fn from_name(name: &str) -> Option<Errno> {
                match name {
                    $(stringify!($name) => Some(Errno($number)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM 1 "Operation not permitted"
    ENOENT 2 "No such file or directory"
    ESRCH 3 "No such process"
    EINTR 4 "Interrupted system call"
    EIO 5 "Input/output error"
    ENXIO 6 "Device not configured"
    EDEADLK 11 "Resource deadlock avoided"
    ENOMEM 12 "Cannot allocate memory"
    EACCES 13 "Permission denied"
    EBUSY 16 "Device busy"
    EEXIST 17 "File exists"
    EXDEV 18 "Cross-device link"
    ENODEV 19 "Operation not supported by device"
    EINVAL 22 "Invalid argument"
    EMFILE 24 "Too many open files"
    ENOTTY 25 "Inappropriate ioctl for device"
    ENOSPC 28 "No space left on device"
    EROFS 30 "Read-only file system"
    EAGAIN 35 "Resource temporarily unavailable"
    EOPNOTSUPP 45 "Operation not supported"
    ELOOP 62 "Too many levels of symbolic links"
    ENAMETOOLONG 63 "File name too long"
    ENOTEMPTY 66 "Directory not empty"
    ENOSYS 78 "Function not implemented"
    ENOMSG 83 "No message of desired type"
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => f.write_str(text),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errno {} {self}", self.0)
    }
}

/// A request the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{request} {object}: {errno}")]
pub struct KernelError {
    /// What was asked for, in words: "create".
    pub request: &'static str,
    /// The interface, mount point or jail concerned.
    pub object: String,
    /// The kernel's reason.
    pub errno: Errno,
}

/// What a kernel request gives.
pub type Result<T> = std::result::Result<T, KernelError>;
