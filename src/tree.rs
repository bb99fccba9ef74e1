//! Whole trees: faithful copy, comparison, removal.
//!
//! Every step is relative to an open directory and follows no link, so a tree
//! that a jail's root has prepared leads nowhere else.

use crate::effect;
use crate::host::Host;
use crate::kernel::flags;
use crate::plan::{Action, Undo};
use crate::{file, shell};
use anyhow::{Context, Result, bail};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat, fchmod,
    fchown, fstat, futimens, linkat, mkdirat, openat, readlinkat, renameat, statat, symlinkat, unlinkat,
    utimensat,
};
use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Opens a directory, itself not a link, for work relative to it.
pub fn open_directory(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, DIRECTORY, Mode::empty())
        .map_err(io::Error::from)
        .with_context(|| format!("open the directory {}", path.display()))
}

/// Opens a directory in an open directory, not through a link.
pub fn open_directory_at(parent: impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    Ok(openat(parent, name, DIRECTORY, Mode::empty())?)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The names in an open directory, sorted, without `.` and `..`.
pub fn names(directory: impl AsFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Access and modification time of a file, to be given to another.
#[allow(clippy::unnecessary_cast)] // The types differ between systems.
pub fn times_of(stat: &Stat) -> Timestamps {
    let time = |sec: i64, nsec: i64| Timespec { tv_sec: sec, tv_nsec: nsec as _ };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as i64),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as i64),
    }
}

/// Mode bits of a file, to be given to another.
pub fn permissions_of(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn owner_of(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn path_of(name: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(name.to_bytes()))
}

/// Copies the tree at `from` to `to`, which must not exist: contents, modes,
/// owners, times to the nanosecond, flags, hard links within the tree, links as
/// they are. Sockets are left out, as tar(1) does: they mean nothing without
/// the process that made them.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let source = open_directory(from)?;
    let stat = fstat(&source).map_err(io::Error::from)?;
    effect::before("mkdir")?;
    fs_err::create_dir(to)?;
    let target = open_directory(to)?;
    fchmod(&target, Mode::RWXU).map_err(io::Error::from)?;
    let mut copier = Copier {
        top: target.as_fd(),
        hard_links: HashMap::new(),
        late_flags: Vec::new(),
        path: PathBuf::new(),
    };
    let copied = copier.directory(source.as_fd(), target.as_fd()).and_then(|()| copier.set_late_flags());
    copied.with_context(|| {
        format!("copy {} to {}", from.join(&copier.path).display(), to.join(&copier.path).display())
    })?;
    finish_directory(&target, &stat).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}

struct Copier<'a> {
    top: BorrowedFd<'a>,
    /// Where the first name of a file with several was copied to.
    hard_links: HashMap<(u64, u64), PathBuf>,
    /// Flags of files with several names: an immutable file gets no further one.
    late_flags: Vec<(PathBuf, u32)>,
    path: PathBuf,
}

impl Copier<'_> {
    fn set_late_flags(&mut self) -> io::Result<()> {
        for (path, flags) in std::mem::take(&mut self.late_flags) {
            self.path.clone_from(&path);
            flags::set_flags(self.top, &CString::new(path.as_os_str().as_bytes())?, flags)?;
        }
        self.path.clear();
        Ok(())
    }

    /// Last of all for an entry: an immutable one takes no further change.
    fn carry_flags(&mut self, to: BorrowedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
        match flags::flags(stat) {
            0 => Ok(()),
            flags if stat.st_nlink > 1 && kind_of(stat) != FileType::Directory => {
                self.late_flags.push((self.path.clone(), flags));
                Ok(())
            }
            flags => flags::set_flags(to, name, flags),
        }
    }

    fn directory(&mut self, from: BorrowedFd, to: BorrowedFd) -> io::Result<()> {
        for name in names(from)? {
            self.path.push(path_of(&name));
            // On an error the path stays, for the message.
            self.entry(from, to, &name)?;
            self.path.pop();
        }
        Ok(())
    }

    fn entry(&mut self, from: BorrowedFd, to: BorrowedFd, name: &CStr) -> io::Result<()> {
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = kind_of(&stat);
        effect::before("copy an entry")?;
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let key = (stat.st_dev as u64, stat.st_ino as u64);
            if let Some(first) = self.hard_links.get(&key) {
                return Ok(linkat(self.top, first, to, name, AtFlags::empty())?);
            }
            self.hard_links.insert(key, self.path.clone());
        }
        match kind {
            FileType::Directory => {
                let source = open_directory_at(from, name)?;
                mkdirat(to, name, Mode::RWXU)?;
                let target = open_directory_at(to, name)?;
                self.directory(source.as_fd(), target.as_fd())?;
                finish_directory(&target, &stat)?;
                return self.carry_flags(to, name, &stat);
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let mut source = File::from(openat(from, name, flags, Mode::empty())?);
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let mut target = File::from(openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
                if stat.st_size > 0 {
                    flags::copy_data(&mut source, &mut target)?;
                }
                let (uid, gid) = owner_of(&stat);
                fchown(&target, uid, gid)?;
                // After the owner: changing that clears the set-id bits.
                fchmod(&target, permissions_of(&stat))?;
                futimens(&target, &times_of(&stat))?;
                return self.carry_flags(to, name, &stat);
            }
            FileType::Symlink => {
                let text = readlinkat(from, name, Vec::new())?;
                symlinkat(text.as_c_str(), to, name)?;
            }
            FileType::Socket => return Ok(()),
            FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
                make_special(to, name, kind, &stat)?;
                chmodat(to, name, permissions_of(&stat), AtFlags::empty())?;
            }
            _ => return Err(io::Error::other("a file of unknown type")),
        }
        let (uid, gid) = owner_of(&stat);
        chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        utimensat(to, name, &times_of(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
        if kind == FileType::Symlink {
            flags::set_link_mode(to, name, permissions_of(&stat))?;
        }
        self.carry_flags(to, name, &stat)
    }
}

fn make_special(to: BorrowedFd, name: &CStr, kind: FileType, stat: &Stat) -> io::Result<()> {
    // FreeBSD refuses a FIFO with a device number, and gives it one in stat(2).
    let device = if kind == FileType::Fifo { 0 } else { stat.st_rdev };
    Ok(rustix::fs::mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, device as _)?)
}

fn finish_directory(target: &OwnedFd, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = owner_of(stat);
    fchown(target, uid, gid)?;
    fchmod(target, permissions_of(stat))?;
    Ok(futimens(target, &times_of(stat))?)
}

/// The first entry in which two trees differ, with what differs; `None` when
/// they are equal in all that [`copy`] carries over.
pub fn difference(a: &Path, b: &Path) -> Result<Option<String>> {
    let (left, right) = (open_directory(a)?, open_directory(b)?);
    let mut path = PathBuf::from(".");
    let stats = (fstat(&left).map_err(io::Error::from)?, fstat(&right).map_err(io::Error::from)?);
    // The flags of the top are not carried: it has to be renamed into place.
    if let Some(what) = metadata_difference(&stats.0, &stats.1).filter(|what| *what != OTHER_FLAGS) {
        return Ok(Some(format!(".: {what}")));
    }
    let found = directory_difference(left.as_fd(), right.as_fd(), &mut path)
        .with_context(|| format!("compare {} with {}", a.join(&path).display(), b.join(&path).display()))?;
    Ok(found.map(|what| format!("{}: {what}", path.display())))
}

const OTHER_FLAGS: &str = "other flags";

fn metadata_difference(a: &Stat, b: &Stat) -> Option<&'static str> {
    let mtime = |s: &Stat| (s.st_mtime, s.st_mtime_nsec);
    if kind_of(a) != kind_of(b) {
        Some("another type")
    } else if kind_of(a) != FileType::Symlink && permissions_of(a) != permissions_of(b) {
        Some("another mode")
    } else if (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid) {
        Some("another owner")
    } else if kind_of(a) != FileType::Directory && a.st_size != b.st_size {
        Some("another size")
    } else if mtime(a) != mtime(b) {
        Some("another modification time")
    } else if flags::flags(a) != flags::flags(b) {
        Some(OTHER_FLAGS)
    } else {
        None
    }
}

fn directory_difference(
    a: BorrowedFd,
    b: BorrowedFd,
    path: &mut PathBuf,
) -> io::Result<Option<&'static str>> {
    let sockets = |directory: BorrowedFd, names: Vec<CString>| {
        names
            .into_iter()
            .filter(|n| {
                let stat = statat(directory, n.as_c_str(), AtFlags::SYMLINK_NOFOLLOW);
                !stat.is_ok_and(|s| kind_of(&s) == FileType::Socket)
            })
            .collect::<Vec<_>>()
    };
    let (left, right) = (sockets(a, names(a)?), sockets(b, names(b)?));
    for name in &left {
        path.push(path_of(name));
        if right.binary_search(name).is_err() {
            return Ok(Some("missing in the second"));
        }
        let left = statat(a, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        let right = statat(b, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        if let Some(what) = metadata_difference(&left, &right) {
            return Ok(Some(what));
        }
        match kind_of(&left) {
            FileType::Directory => {
                let (left, right) = (open_directory_at(a, name)?, open_directory_at(b, name)?);
                if let Some(what) = directory_difference(left.as_fd(), right.as_fd(), path)? {
                    return Ok(Some(what));
                }
            }
            FileType::RegularFile => {
                let open = |d| {
                    openat(
                        d,
                        name.as_c_str(),
                        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK,
                        Mode::empty(),
                    )
                };
                if !same_contents(File::from(open(a)?), File::from(open(b)?))? {
                    return Ok(Some("other contents"));
                }
            }
            FileType::Symlink
                if readlinkat(a, name.as_c_str(), Vec::new())?
                    != readlinkat(b, name.as_c_str(), Vec::new())? =>
            {
                return Ok(Some("another target"));
            }
            _ => {}
        }
        path.pop();
    }
    if let Some(extra) = right.iter().find(|n| left.binary_search(n).is_err()) {
        path.push(path_of(extra));
        return Ok(Some("missing in the first"));
    }
    Ok(None)
}

fn same_contents(a: File, b: File) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let (mut a, mut b) = (a, b);
    loop {
        let n = a.read(&mut left)?;
        if n == 0 {
            return Ok(b.read(&mut right[..1])? == 0);
        }
        if let Err(e) = b.read_exact(&mut right[..n]) {
            return if e.kind() == io::ErrorKind::UnexpectedEof { Ok(false) } else { Err(e) };
        }
        if left[..n] != right[..n] {
            return Ok(false);
        }
    }
}

/// Removes a tree, flags and all, without following a link or crossing a mount
/// point. Nothing there is success.
pub fn remove(path: &Path) -> Result<()> {
    let Some(there) = file::look(path)? else { return Ok(()) };
    if !there.is_dir() {
        bail!("{}: {}, not a directory", path.display(), file::kind(&there));
    }
    let parent = open_directory(path.parent().unwrap_or(Path::new("/")))?;
    let name = path
        .file_name()
        .map(|n| CString::new(n.as_bytes()))
        .with_context(|| format!("remove {}", path.display()))??;
    remove_entry(parent.as_fd(), &name, None).with_context(|| format!("remove {}", path.display()))
}

fn remove_entry(parent: BorrowedFd, name: &CStr, device: Option<u64>) -> io::Result<()> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if flags::flags(&stat) != 0 {
        flags::set_flags(parent, name, 0)?;
    }
    if kind_of(&stat) != FileType::Directory {
        effect::before("unlink")?;
        return Ok(unlinkat(parent, name, AtFlags::empty())?);
    }
    let directory = open_directory_at(parent, name)?;
    let opened = fstat(&directory)?;
    if device.is_some_and(|d| d != opened.st_dev as u64) {
        return Err(io::Error::other("something is mounted in it"));
    }
    // A copy that was interrupted may have left a directory nobody may enter.
    fchmod(&directory, Mode::RWXU)?;
    for entry in names(&directory)? {
        remove_entry(directory.as_fd(), &entry, Some(opened.st_dev as u64))?;
    }
    effect::before("rmdir")?;
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// Copies a tree so that it appears whole or not at all: beside its target
/// first, then by rename.
pub struct CopyTree {
    /// The tree.
    pub from: PathBuf,
    /// Where the copy goes.
    pub to: PathBuf,
}

impl Action for CopyTree {
    fn shell(&self) -> String {
        // Not cp -a, which makes separate files of hard links.
        let (from, to) = (shell::quote(&self.from), shell::quote(&self.to));
        format!("/bin/mkdir {to} && /usr/bin/tar -C {from} -cf - . | /usr/bin/tar -C {to} -xpf -")
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        let aside = file::temp_beside(&self.to);
        // What a killed run left.
        remove(&aside)?;
        undo.push(RemoveTree { path: aside.clone() });
        copy(&self.from, &aside)?;
        effect::before("sync")?;
        sync(&aside)?;
        let parent = self.to.parent().unwrap_or(Path::new("/"));
        let directory = open_directory(parent)?;
        effect::before("rename into place")?;
        // Renaming onto an empty directory would succeed, so look once more.
        if file::look(&self.to)?.is_some() {
            bail!("{} is there already", self.to.display());
        }
        renameat(&directory, &aside, &directory, &self.to)
            .map_err(io::Error::from)
            .with_context(|| format!("rename {} to {}", aside.display(), self.to.display()))?;
        undo.push(RemoveTree { path: self.to.clone() });
        rustix::fs::fsync(&directory).map_err(io::Error::from)?;
        Ok(())
    }
}

/// Has the file system store what was written before a rename makes it count.
fn sync(tree: &Path) -> Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(open_directory(tree)?).map_err(io::Error::from)?;
    #[cfg(not(target_os = "linux"))]
    {
        let _ = tree;
        rustix::fs::sync();
    }
    Ok(())
}

/// Removes a tree that this run made.
pub struct RemoveTree {
    /// Which.
    pub path: PathBuf,
}

impl Action for RemoveTree {
    fn shell(&self) -> String {
        shell::line(["/bin/rm".as_ref(), "-rf".as_ref(), self.path.as_os_str()])
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        remove(&self.path)
    }
}
