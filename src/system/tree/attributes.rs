//! Access control lists and extended attributes, where the systems differ.
//!
//! Names of extended attributes begin with their namespace: `user.mime_type`.

#![allow(clippy::disallowed_methods)] // Each of them is announced here.

use crate::system::effect;
use rustix::fs::FileType;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::BorrowedFd;

#[cfg(target_os = "freebsd")]
use freebsd as system;
#[cfg(not(target_os = "freebsd"))]
use linux as system;

pub use system::{Acl, value};

/// A file whose attributes are meant.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    /// It, open for reading or writing if it is a regular file or a directory;
    /// anything else with O_PATH.
    pub fd: BorrowedFd<'a>,
    /// What it is.
    pub kind: FileType,
}

/// What a file has besides the fixed fields of its inode.
pub struct Attributes {
    /// The names of its extended attributes, as far as they can be copied.
    pub names: Vec<CString>,
    /// Its access control list, if it says more than the mode.
    pub acl: Acl,
}

impl Attributes {
    /// Those of a file.
    pub fn of(object: Object) -> io::Result<Attributes> {
        let (names, acl) = system::read(object)?;
        Ok(Attributes { names, acl })
    }
}

/// Sets an extended attribute.
pub fn set(object: Object, name: &CStr, value: &[u8]) -> io::Result<()> {
    effect::with(format_args!("set the attribute {}", name.to_string_lossy()), || {
        system::set(object, name, value)
    })
}

/// Removes an extended attribute.
pub fn remove(object: Object, name: &CStr) -> io::Result<()> {
    effect::with(format_args!("remove the attribute {}", name.to_string_lossy()), || {
        system::remove(object, name)
    })
}

/// Access control lists as records of an archive, with the names that libarchive
/// gives them.
pub fn acl_records(acl: &Acl) -> io::Result<Vec<(String, Vec<u8>)>> {
    acl.records()
}

/// Gives a file the access control lists of records of an archive.
pub fn give_acl_records(records: &[(String, Vec<u8>)], to: Object) -> io::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let acl = Acl::from_records(records)?;
    give_acl(&acl, to)
}

/// Removes what a new file inherited from its directory.
pub fn strip_acl(object: Object) -> io::Result<()> {
    effect::with(format_args!("take the access control list away"), || system::strip_acl(object))
}

/// Gives a file the access control list of another one.
pub fn give_acl(acl: &Acl, to: Object) -> io::Result<()> {
    if acl.is_empty() {
        return Ok(());
    }
    effect::with(format_args!("set the access control list"), || acl.give(to))
}

#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)] // System calls that no crate wraps.
mod freebsd {
    use super::Object;
    use libc::{EXTATTR_NAMESPACE_SYSTEM, EXTATTR_NAMESPACE_USER};
    use rustix::fs::{FileType, Mode, OFlags};
    use std::ffi::{CStr, CString, c_char, c_int, c_void};
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd, RawFd};
    use std::ptr::{self, NonNull};

    /// freebsd-src: sys/sys/acl.h.
    const ACL_TYPE_ACCESS: c_int = 2;
    const ACL_TYPE_DEFAULT: c_int = 3;
    const ACL_TYPE_NFS4: c_int = 4;
    const ACL_TEXT_NUMERIC_IDS: c_int = 2;

    // freebsd-src: sys/sys/acl.h; acl_t is opaque.
    unsafe extern "C" {
        fn acl_get_fd_np(fd: c_int, kind: c_int) -> *mut c_void;
        fn acl_set_fd_np(fd: c_int, acl: *mut c_void, kind: c_int) -> c_int;
        fn acl_delete_fd_np(fd: c_int, kind: c_int) -> c_int;
        fn acl_is_trivial_np(acl: *mut c_void, trivial: *mut c_int) -> c_int;
        fn acl_get_entry(acl: *mut c_void, which: c_int, entry: *mut *mut c_void) -> c_int;
        fn acl_strip_np(acl: *mut c_void, mask: c_int) -> *mut c_void;
        fn acl_from_text(text: *const c_char) -> *mut c_void;
        fn acl_to_text_np(acl: *mut c_void, length: *mut isize, flags: c_int) -> *mut c_char;
        fn acl_free(object: *mut c_void) -> c_int;
    }

    fn check(result: c_int) -> io::Result<()> {
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Something that libc allocated for an ACL.
    struct Allocated(NonNull<c_void>);

    impl Allocated {
        fn new(pointer: *mut c_void) -> io::Result<Allocated> {
            NonNull::new(pointer).map(Allocated).ok_or_else(io::Error::last_os_error)
        }

        fn get(&self) -> *mut c_void {
            self.0.as_ptr()
        }
    }

    impl Drop for Allocated {
        fn drop(&mut self) {
            // SAFETY: it comes from a function of acl(3) and is freed once.
            unsafe { acl_free(self.get()) };
        }
    }

    /// The records of libarchive (freebsd-src: contrib/libarchive/libarchive/
    /// archive_write_set_format_pax.c).
    const RECORDS: [(c_int, &str); 3] = [
        (ACL_TYPE_ACCESS, "SCHILY.acl.access"),
        (ACL_TYPE_DEFAULT, "SCHILY.acl.default"),
        (ACL_TYPE_NFS4, "SCHILY.acl.ace"),
    ];

    /// The lists of a file, by type; only those that say more than the mode.
    pub struct Acl(Vec<(c_int, Allocated)>);

    impl Acl {
        /// Whether it is empty.
        pub fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        /// The lists as text, with numbers instead of names of users.
        pub(super) fn records(&self) -> io::Result<Vec<(String, Vec<u8>)>> {
            let record = |(kind, list): &(c_int, Allocated)| {
                let text = text(list)?;
                // SAFETY: acl_to_text_np(3) gives a string that ends in a NUL.
                let text = unsafe { CStr::from_ptr(text.get().cast_const().cast()) };
                let name = RECORDS.iter().find(|(of, _)| of == kind).map_or("", |(_, name)| name);
                Ok((name.to_owned(), text.to_bytes().to_vec()))
            };
            self.0.iter().map(record).collect()
        }

        /// The lists of such records.
        pub(super) fn from_records(records: &[(String, Vec<u8>)]) -> io::Result<Acl> {
            let list = |(name, text): &(String, Vec<u8>)| {
                let kind = RECORDS.iter().find(|(_, known)| known == name).map(|(kind, _)| *kind);
                let kind =
                    kind.ok_or_else(|| io::Error::other(format!("{name}: not known on this system")))?;
                let text = CString::new(text.clone())?;
                // SAFETY: the text ends in a NUL.
                Ok((kind, Allocated::new(unsafe { acl_from_text(text.as_ptr()) })?))
            };
            Ok(Acl(records.iter().map(list).collect::<io::Result<_>>()?))
        }

        /// Whether two files have the same.
        pub fn same(&self, other: &Acl) -> io::Result<bool> {
            if self.0.len() != other.0.len() {
                return Ok(false);
            }
            for ((kind, list), (other_kind, other)) in self.0.iter().zip(&other.0) {
                let (left, right) = (text(list)?, text(other)?);
                // SAFETY: acl_to_text_np(3) gives a string that ends in a NUL.
                let texts = unsafe {
                    (CStr::from_ptr(left.get().cast_const().cast()), CStr::from_ptr(right.get().cast()))
                };
                if kind != other_kind || texts.0 != texts.1 {
                    return Ok(false);
                }
            }
            Ok(true)
        }

        /// Gives the file `to` the same.
        pub(super) fn give(&self, to: Object) -> io::Result<()> {
            if self.0.is_empty() {
                return Ok(());
            }
            let (_opened, fd) = writable(to)?;
            for (kind, list) in &self.0 {
                // SAFETY: the list comes from acl_get_fd_np(3).
                check(unsafe { acl_set_fd_np(fd, list.get(), *kind) })?;
            }
            Ok(())
        }
    }

    fn text(list: &Allocated) -> io::Result<Allocated> {
        // SAFETY: the list comes from acl_get_fd_np(3); a null length is allowed.
        Allocated::new(unsafe { acl_to_text_np(list.get(), ptr::null_mut(), ACL_TEXT_NUMERIC_IDS) }.cast())
    }

    /// A list cannot be set through O_PATH. What cannot be opened otherwise, a
    /// device node or a link, cannot be given one.
    fn writable(object: Object) -> io::Result<(Option<OwnedFd>, RawFd)> {
        if matches!(object.kind, FileType::RegularFile | FileType::Directory) {
            return Ok((None, object.fd.as_raw_fd()));
        }
        let flags = OFlags::EMPTY_PATH | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(object.fd, c"", flags, Mode::empty())?;
        let fd = opened.as_raw_fd();
        Ok((Some(opened), fd))
    }

    /// The types of lists that a file may have.
    fn kinds(object: Object) -> &'static [c_int] {
        // SAFETY: the descriptor is open.
        let has = |name| unsafe { libc::fpathconf(object.fd.as_raw_fd(), name) } > 0;
        if has(libc::_PC_ACL_NFS4) {
            &[ACL_TYPE_NFS4]
        } else if !has(libc::_PC_ACL_EXTENDED) {
            &[]
        } else if object.kind == FileType::Directory {
            &[ACL_TYPE_ACCESS, ACL_TYPE_DEFAULT]
        } else {
            &[ACL_TYPE_ACCESS]
        }
    }

    fn acl(object: Object) -> io::Result<Acl> {
        let mut lists = Vec::new();
        for kind in kinds(object) {
            // SAFETY: the descriptor is open.
            let list = match Allocated::new(unsafe { acl_get_fd_np(object.fd.as_raw_fd(), *kind) }) {
                Ok(list) => list,
                Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => continue,
                Err(e) => return Err(e),
            };
            let (mut trivial, mut entry) = (0, ptr::null_mut());
            // SAFETY: the list comes from acl_get_fd_np(3), results go to locals.
            unsafe {
                if *kind == ACL_TYPE_DEFAULT {
                    trivial = c_int::from(acl_get_entry(list.get(), 0, &mut entry) == 0);
                } else {
                    check(acl_is_trivial_np(list.get(), &mut trivial))?;
                }
            }
            if trivial == 0 {
                lists.push((*kind, list));
            }
        }
        Ok(Acl(lists))
    }

    /// Removes what a new file inherited from its directory.
    pub fn strip_acl(object: Object) -> io::Result<()> {
        for (kind, list) in acl(object)?.0 {
            let (_opened, fd) = writable(object)?;
            // SAFETY: the descriptor is open, the lists come from acl(3).
            unsafe {
                if kind == ACL_TYPE_DEFAULT {
                    check(acl_delete_fd_np(fd, kind))?;
                } else {
                    let plain = Allocated::new(acl_strip_np(list.get(), 0))?;
                    check(acl_set_fd_np(fd, plain.get(), kind))?;
                }
            }
        }
        Ok(())
    }

    /// As freebsd-src: sys/sys/acl.h names the attributes that hold ACLs on UFS.
    const ACLS: [&[u8]; 3] = [b"posix1e.acl_access", b"posix1e.acl_default", b"nfs4.acl"];

    pub fn read(object: Object) -> io::Result<(Vec<CString>, Acl)> {
        let mut names = Vec::new();
        for (space, prefix) in [(EXTATTR_NAMESPACE_USER, "user."), (EXTATTR_NAMESPACE_SYSTEM, "system.")] {
            let fd = object.fd.as_raw_fd();
            // SAFETY: at most `room` bytes are written to `buffer`.
            let list = fill(|buffer, room| unsafe { libc::extattr_list_fd(fd, space, buffer, room) });
            let list = match list {
                Ok(list) => list,
                Err(e) => match e.raw_os_error() {
                    Some(libc::EOPNOTSUPP) => continue,
                    // Only root may see them, and not in a jail.
                    Some(libc::EPERM) if space == EXTATTR_NAMESPACE_SYSTEM => continue,
                    _ => return Err(e),
                },
            };
            // Each name has its length in front.
            let mut rest = &list[..];
            while let Some((length, after)) = rest.split_first() {
                let (name, after) = after.split_at_checked(usize::from(*length)).unwrap_or((after, &[]));
                rest = after;
                if space == EXTATTR_NAMESPACE_USER || !ACLS.contains(&name) {
                    names.push(CString::new([prefix.as_bytes(), name].concat())?);
                }
            }
        }
        Ok((names, acl(object)?))
    }

    /// What a call of extattr(2) puts into a buffer, of which it first returns the
    /// size of.
    fn fill(mut call: impl FnMut(*mut c_void, usize) -> isize) -> io::Result<Vec<u8>> {
        loop {
            let size = call(ptr::null_mut(), 0);
            let mut buffer = vec![0; usize::try_from(size).map_err(|_| io::Error::last_os_error())? + 1];
            let got = call(buffer.as_mut_ptr().cast(), buffer.len());
            let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
            // A full one may be only the beginning.
            if got < buffer.len() {
                buffer.truncate(got);
                return Ok(buffer);
            }
        }
    }

    fn split(name: &CStr) -> (c_int, *const c_char) {
        let user = name.to_bytes().starts_with(b"user.");
        let (space, prefix) =
            if user { (EXTATTR_NAMESPACE_USER, 5) } else { (EXTATTR_NAMESPACE_SYSTEM, "system.".len()) };
        (space, name[prefix..].as_ptr())
    }

    /// The value of an extended attribute.
    pub fn value(object: Object, name: &CStr) -> io::Result<Vec<u8>> {
        let (fd, (space, name)) = (object.fd.as_raw_fd(), split(name));
        // SAFETY: the name ends in a NUL, at most `room` bytes are written.
        fill(|buffer, room| unsafe { libc::extattr_get_fd(fd, space, name, buffer, room) })
    }

    /// Sets an extended attribute.
    pub fn set(object: Object, name: &CStr, value: &[u8]) -> io::Result<()> {
        let (space, name) = split(name);
        let (fd, data) = (object.fd.as_raw_fd(), value.as_ptr().cast());
        // SAFETY: the name ends in a NUL, the value has that many bytes.
        if unsafe { libc::extattr_set_fd(fd, space, name, data, value.len()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Removes an extended attribute.
    pub fn remove(object: Object, name: &CStr) -> io::Result<()> {
        let (space, name) = split(name);
        // SAFETY: the name ends in a NUL.
        check(unsafe { libc::extattr_delete_fd(object.fd.as_raw_fd(), space, name) })
    }
}

#[cfg(not(target_os = "freebsd"))]
mod linux {
    use super::Object;
    use rustix::fs::{
        FileType, XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, getxattr, listxattr,
        removexattr, setxattr,
    };
    use rustix::io::{Errno, Result as Called};
    use std::ffi::{CStr, CString};
    use std::io;
    use std::os::fd::AsRawFd;

    /// Labels that security modules give every file by their own policy.
    const LABELS: [&[u8]; 5] = [b"selinux", b"SMACK", b"apparmor", b"ima", b"evm"];
    const ACLS: [&CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];
    const RECORD: &str = "THINJAIL.acl.";

    /// The lists of a file, by name.
    pub struct Acl(Vec<(CString, Vec<u8>)>);

    impl Acl {
        /// Whether it is empty.
        pub fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        /// Whether two files have the same.
        pub fn same(&self, other: &Acl) -> io::Result<bool> {
            Ok(self.0.len() == other.0.len() && self.0.iter().all(|list| other.0.contains(list)))
        }

        /// The lists as this system keeps them, which no other can read.
        pub(super) fn records(&self) -> io::Result<Vec<(String, Vec<u8>)>> {
            let record = |(name, value): &(CString, Vec<u8>)| {
                (format!("{RECORD}{}", name.to_string_lossy()), value.clone())
            };
            Ok(self.0.iter().map(record).collect())
        }

        /// The lists of such records.
        pub(super) fn from_records(records: &[(String, Vec<u8>)]) -> io::Result<Acl> {
            let list = |(name, value): &(String, Vec<u8>)| {
                let known = ACLS.iter().find(|known| name.strip_prefix(RECORD) == known.to_str().ok());
                let known =
                    known.ok_or_else(|| io::Error::other(format!("{name}: not known on this system")))?;
                Ok(((*known).to_owned(), value.clone()))
            };
            Ok(Acl(records.iter().map(list).collect::<io::Result<_>>()?))
        }

        /// Gives the file `to` the same.
        pub(super) fn give(&self, to: Object) -> io::Result<()> {
            self.0.iter().try_for_each(|(name, value)| set(to, name, value))
        }
    }

    /// The path to give instead of a descriptor with O_PATH, which the calls
    /// refuse; none for what is really open.
    fn path_of(object: Object) -> Option<String> {
        let open = matches!(object.kind, FileType::RegularFile | FileType::Directory);
        (!open).then(|| format!("/proc/self/fd/{}", object.fd.as_raw_fd()))
    }

    /// What a call puts into a buffer, as large as it takes.
    fn fill(mut call: impl FnMut(&mut [u8]) -> Called<usize>) -> Called<Vec<u8>> {
        let mut buffer = vec![0; 256];
        loop {
            match call(&mut buffer) {
                Ok(got) => {
                    buffer.truncate(got);
                    return Ok(buffer);
                }
                Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
                Err(e) => return Err(e),
            }
        }
    }

    pub fn read(object: Object) -> io::Result<(Vec<CString>, Acl)> {
        let path = path_of(object);
        let list = match fill(|buffer| match &path {
            None => flistxattr(object.fd, buffer),
            Some(path) => listxattr(path.as_str(), buffer),
        }) {
            Err(Errno::NOTSUP) => Vec::new(),
            list => list?,
        };
        let (mut names, mut lists) = (Vec::new(), Vec::new());
        for name in list.split_inclusive(|b| *b == 0) {
            let name = CStr::from_bytes_with_nul(name).map_err(io::Error::other)?;
            let bytes = name.to_bytes();
            let label =
                bytes.strip_prefix(b"security.").is_some_and(|n| LABELS.iter().any(|l| n.starts_with(l)));
            let carried = [&b"user."[..], b"trusted.", b"security."].iter().any(|p| bytes.starts_with(p));
            if ACLS.contains(&name) {
                lists.push((name.to_owned(), value(object, name)?));
            } else if carried && !label {
                names.push(name.to_owned());
            }
        }
        Ok((names, Acl(lists)))
    }

    /// The value of an extended attribute.
    pub fn value(object: Object, name: &CStr) -> io::Result<Vec<u8>> {
        let path = path_of(object);
        Ok(fill(|buffer| match &path {
            None => fgetxattr(object.fd, name, buffer),
            Some(path) => getxattr(path.as_str(), name, buffer),
        })?)
    }

    /// Sets an extended attribute.
    pub fn set(object: Object, name: &CStr, value: &[u8]) -> io::Result<()> {
        Ok(match path_of(object) {
            None => fsetxattr(object.fd, name, value, XattrFlags::empty()),
            Some(path) => setxattr(path, name, value, XattrFlags::empty()),
        }?)
    }

    /// Removes an extended attribute.
    pub fn remove(object: Object, name: &CStr) -> io::Result<()> {
        Ok(match path_of(object) {
            None => fremovexattr(object.fd, name),
            Some(path) => removexattr(path, name),
        }?)
    }

    /// Removes what a new file inherited from its directory.
    pub fn strip_acl(object: Object) -> io::Result<()> {
        for name in ACLS {
            let removed = match path_of(object) {
                None => fremovexattr(object.fd, name),
                Some(path) => removexattr(path, name),
            };
            match removed {
                Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}
