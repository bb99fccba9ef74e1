//! Having a tree stored, before what it was made from goes.

#![allow(clippy::disallowed_methods)] // All of it is one effect, announced here.

use super::{Device, Entry, descend, kind_of, names};
use crate::system::effect;
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, FileType, statat};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// Has everything in the tree `path` stored, and returns when it is.
///
/// sync(2) does that for ZFS, which commits its log before it returns; for other
/// file systems it only starts the writes (freebsd-src: sys/kern/vfs_syscalls.c,
/// kern_sync with MNT_NOWAIT; sys/contrib/openzfs/module/os/freebsd/zfs/
/// zfs_vfsops.c, zfs_sync). There every file is stored by itself.
pub fn store(path: &Path) -> Result<()> {
    effect::with(format_args!("sync {}", path.display()), || stored(path))
        .with_context(|| format!("sync {}", path.display()))
}

#[cfg(target_os = "freebsd")]
fn stored(path: &Path) -> io::Result<()> {
    let kind = rustix::fs::statfs(path)?.f_fstypename;
    if kind.starts_with(&b"zfs\0".map(|b| b as _)) {
        rustix::fs::sync();
        return Ok(());
    }
    store_each(path)
}

/// On Linux, where the tests run, there is a call that waits.
#[cfg(not(target_os = "freebsd"))]
fn stored(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(std::fs::File::open(path)?)?)
}

/// Stores the files of a tree one by one, each directory after what is in it.
#[cfg_attr(not(target_os = "freebsd"), allow(dead_code, reason = "asked for by its test alone"))]
fn store_each(path: &Path) -> io::Result<()> {
    let top = Entry::top(path).map_err(|e| io::Error::other(format!("{e:#}")))?;
    directory(&top, Device::of(&top.stat), &mut 0)
}

fn directory(entry: &Entry, device: Device, depth: &mut usize) -> io::Result<()> {
    descend(depth)?;
    for name in names(&entry.fd)? {
        let stat = statat(&entry.fd, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
        // What is mounted there is not ours.
        if device.check(&stat).is_err() {
            continue;
        }
        let kind = kind_of(&stat);
        match kind {
            FileType::Directory => directory(&Entry::open(entry.fd.as_fd(), &name, kind)?, device, depth)?,
            FileType::RegularFile => rustix::fs::fsync(Entry::open(entry.fd.as_fd(), &name, kind)?.fd)?,
            // They are in their directory.
            _ => {}
        }
    }
    *depth -= 1;
    Ok(rustix::fs::fsync(&entry.fd)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn one_by_one_and_all_at_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), "text").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        store_each(dir.path()).unwrap();
        store(dir.path()).unwrap();
        assert!(store(&dir.path().join("nothing")).is_err());
    }
}
