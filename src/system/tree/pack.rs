//! Trees as entries of an archive, whole or as their difference from another tree.

use super::compare::{same_attributes, same_contents, same_target};
use super::{Device, Entry, FirstNames, descend, kind_of, look, names, path_of, permissions_of};
use crate::formats::file_flags;
use crate::formats::tar::{Segment, TarEntry, TarKind, padding};
use crate::system::tree::attributes::{self, Attributes};
use crate::system::tree::flags;
use anyhow::{Context, Result};
use rustix::fs::{FileType, SeekFrom, Stat, readlinkat, seek};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::ffi::{CStr, OsStr};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The directory of an archive that the tree is in.
pub const CONTAINER: &str = "container";

/// The directory of an archive that has an empty file for each entry that the tree
/// no longer has.
pub const REMOVED: &str = "removed";

/// What was written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// How many entries.
    pub entries: u64,
    /// Devices, which are not written.
    pub devices: Vec<PathBuf>,
    /// Files that became shorter while they were read, and were filled with zeros.
    pub changed: Vec<PathBuf>,
}

/// Writes a tree as entries of an archive, below [`CONTAINER`], in the order of their
/// names: all of it, or what differs from `origin`, with an entry below [`REMOVED`] for
/// what is only there. Entries for which `always` is true are written in any case.
/// Sockets are left out, as tar(1) does.
pub fn pack(
    origin: Option<&Path>,
    tree: &Path,
    always: &dyn Fn(&Path) -> bool,
    out: &mut dyn Write,
    report: &mut dyn FnMut(u64),
) -> Result<Packed> {
    let top = Entry::top(tree)?;
    let origin = origin.map(Entry::top).transpose()?;
    let mut packer = Packer {
        out,
        always,
        report,
        devices: (origin.as_ref().map(|o| Device::of(&o.stat)), Device::of(&top.stat)),
        first_names: Default::default(),
        written: HashSet::new(),
        packed: Packed::default(),
        path: PathBuf::new(),
        depth: 0,
        buffer: vec![0; 1 << 17],
    };
    let done = packer.top(origin.as_ref(), &top);
    done.with_context(|| format!("read {}", tree.join(&packer.path).display()))?;
    Ok(packer.packed)
}

struct Packer<'a> {
    out: &'a mut dyn Write,
    always: &'a dyn Fn(&Path) -> bool,
    report: &'a mut dyn FnMut(u64),
    devices: (Option<Device>, Device),
    first_names: (FirstNames, FirstNames),
    /// Files with several names whose first one was written.
    written: HashSet<u64>,
    packed: Packed,
    /// What is being written; after an error, what could not be.
    path: PathBuf,
    depth: usize,
    buffer: Vec<u8>,
}

impl Packer<'_> {
    fn top(&mut self, origin: Option<&Entry>, top: &Entry) -> io::Result<()> {
        let differs = match origin {
            Some(origin) => differs(origin, top)?,
            None => true,
        };
        if differs {
            self.write(top, TarKind::Directory)?;
        }
        self.directory(origin.map(|o| o.fd.as_fd()), top.fd.as_fd())
    }

    fn directory(&mut self, origin: Option<BorrowedFd>, here: BorrowedFd) -> io::Result<()> {
        descend(&mut self.depth)?;
        let old = origin.map_or_else(|| Ok(Vec::new()), names)?;
        let now = names(here)?;
        let (mut old, mut now) = (old.iter().peekable(), now.iter().peekable());
        loop {
            let (name, was, is) = match (old.peek(), now.peek()) {
                (None, None) => break,
                (Some(o), Some(n)) if o == n => (*n, true, true),
                (Some(o), Some(n)) if o < n => (*o, true, false),
                (Some(o), None) => (*o, true, false),
                (_, Some(n)) => (*n, false, true),
            };
            was.then(|| old.next());
            is.then(|| now.next());
            self.path.push(path_of(name));
            // On an error the path stays, for the message.
            self.entry(origin.filter(|_| was), Some(here).filter(|_| is), name)?;
            self.path.pop();
        }
        self.depth -= 1;
        Ok(())
    }

    fn entry(&mut self, origin: Option<BorrowedFd>, here: Option<BorrowedFd>, name: &CStr) -> io::Result<()> {
        let old = match (origin, self.devices.0) {
            (Some(directory), Some(device)) => look(directory, name, device)?,
            _ => None,
        };
        let now = here.map_or(Ok(None), |directory| look(directory, name, self.devices.1))?;
        let (Some(now), Some(here)) = (now, here) else {
            return if old.is_some() { self.write_removed() } else { Ok(()) };
        };
        let kind = kind_of(&now);
        if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
            self.packed.devices.push(self.path.clone());
            return if old.is_some() { self.write_removed() } else { Ok(()) };
        }
        let first = self.first_names.1.before(&now, &self.path);
        let old_first = old.as_ref().and_then(|old| self.first_names.0.before(old, &self.path));
        #[allow(clippy::unnecessary_cast)] // The types differ between systems.
        let inode = now.st_ino as u64;
        let same_kind = old.as_ref().is_some_and(|old| kind_of(old) == kind);
        if let Some(first) = first {
            if same_kind && old_first.as_ref() == Some(&first) && !self.written.contains(&inode) {
                return Ok(());
            }
            let target = Path::new(CONTAINER).join(first);
            return self.write_header(TarEntry { kind: TarKind::HardLink(target), ..self.named() });
        }
        let entry = Entry::open(here, name, kind)?;
        let old = match (old, origin) {
            (Some(_), Some(origin)) if same_kind => Some(Entry::open(origin, name, kind)?),
            _ => None,
        };
        let is_written = match &old {
            Some(old) => old_first.is_some() || differs(old, &entry)? || (self.always)(&self.path),
            None => true,
        };
        if is_written {
            if now.st_nlink > 1 && kind != FileType::Directory {
                self.written.insert(inode);
            }
            let kind = self.kind(&entry)?;
            self.write(&entry, kind)?;
        }
        if kind == FileType::Directory {
            self.devices.1.check(&entry.stat)?;
            self.directory(old.as_ref().map(|old| old.fd.as_fd()), entry.fd.as_fd())?;
        }
        Ok(())
    }

    /// What an entry is, with the segments of a sparse file.
    fn kind(&self, entry: &Entry) -> io::Result<TarKind> {
        let size = u64::try_from(entry.stat.st_size).unwrap_or(0);
        Ok(match kind_of(&entry.stat) {
            FileType::Directory => TarKind::Directory,
            FileType::RegularFile => match segments(entry, size)? {
                Some(segments) => TarKind::Sparse(size, segments),
                None => TarKind::File(size),
            },
            FileType::Symlink => TarKind::Symlink(text_of(entry)?),
            FileType::Fifo => TarKind::Fifo,
            _ => return Err(io::Error::other("a file of unknown type")),
        })
    }

    /// An entry at the path, with nothing but that.
    fn named(&self) -> TarEntry {
        TarEntry { path: Path::new(CONTAINER).join(&self.path), ..TarEntry::plain("-", 0) }
    }

    fn write_removed(&mut self) -> io::Result<()> {
        let path = Path::new(REMOVED).join(&self.path);
        self.write_header(TarEntry { path, ..TarEntry::plain("-", 0) })
    }

    fn write(&mut self, entry: &Entry, kind: TarKind) -> io::Result<()> {
        let stat = &entry.stat;
        let Attributes { names, acl } = Attributes::of(entry.object())?;
        let value = |name| Ok((std::ffi::CString::clone(name), attributes::value(entry.object(), name)?));
        let mut header = TarEntry {
            kind,
            mode: mode_of(stat),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: time_of(stat),
            flags: file_flags::to_text(flags::flags(stat)),
            attributes: names.iter().map(value).collect::<io::Result<_>>()?,
            acls: attributes::acl_records(&acl)?,
            ..self.named()
        };
        if self.path.as_os_str().is_empty() {
            header.path = CONTAINER.into();
        }
        let pieces = match &header.kind {
            TarKind::File(size) => vec![Segment { offset: 0, length: *size }],
            TarKind::Sparse(_, segments) => segments.clone(),
            _ => Vec::new(),
        };
        let data = header.data();
        self.write_header(header)?;
        for piece in pieces {
            self.data(entry, piece)?;
        }
        let zeros = [0; crate::formats::tar::BLOCK];
        put(self.out, &zeros[..usize::try_from(padding(data)).unwrap_or(0)])
    }

    fn write_header(&mut self, header: TarEntry) -> io::Result<()> {
        let bytes = header.to_bytes().map_err(io::Error::other)?;
        put(self.out, &bytes)?;
        self.packed.entries += 1;
        (self.report)(self.packed.entries);
        Ok(())
    }

    fn data(&mut self, entry: &Entry, piece: Segment) -> io::Result<()> {
        let mut done = 0;
        while done < piece.length {
            let most =
                usize::try_from(piece.length - done).map_or(self.buffer.len(), |l| l.min(self.buffer.len()));
            let read = match rustix::io::pread(&entry.fd, &mut self.buffer[..most], piece.offset + done) {
                Err(Errno::INTR) => continue,
                read => read?,
            };
            if read == 0 {
                // The header has promised as much.
                self.buffer[..most].fill(0);
                if self.packed.changed.last() != Some(&self.path) {
                    self.packed.changed.push(self.path.clone());
                }
            }
            let used = if read == 0 { most } else { read };
            put(self.out, &self.buffer[..used])?;
            done += used as u64;
        }
        Ok(())
    }
}

/// What is written is announced by the caller, as one effect.
#[expect(clippy::disallowed_methods, reason = "announced by the caller")]
fn put(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)
}

#[allow(clippy::useless_conversion)] // The types differ between systems.
fn mode_of(stat: &Stat) -> u32 {
    u32::from(permissions_of(stat).as_raw_mode())
}

#[allow(clippy::unnecessary_cast)] // The types differ between systems.
fn time_of(stat: &Stat) -> (i64, u32) {
    (stat.st_mtime as i64, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

fn text_of(link: &Entry) -> io::Result<PathBuf> {
    let text = readlinkat(&link.fd, c"", Vec::new())?;
    Ok(OsStr::from_bytes(text.to_bytes()).into())
}

/// Whether two files of the same kind differ in what an archive has of them; what is
/// in a directory does not count.
fn differs(old: &Entry, now: &Entry) -> io::Result<bool> {
    let (a, b) = (&old.stat, &now.stat);
    let kind = kind_of(b);
    if permissions_of(a) != permissions_of(b)
        || (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid)
        || time_of(a) != time_of(b)
        || flags::flags(a) != flags::flags(b)
        || kind == FileType::RegularFile && a.st_size != b.st_size
        || kind == FileType::Symlink && !same_target(old, now)?
    {
        return Ok(true);
    }
    let beside = (Attributes::of(old.object())?, Attributes::of(now.object())?);
    Ok(!beside.0.acl.same(&beside.1.acl)?
        || !same_attributes((old, beside.0.names), (now, beside.1.names))?
        || kind == FileType::RegularFile && !same_contents(old, now)?)
}

/// The data of a file that has holes; `None` if it has none.
fn segments(file: &Entry, size: u64) -> io::Result<Option<Vec<Segment>>> {
    // ZFS compresses, so that most files have fewer blocks than their size takes.
    if file.stat.st_blocks * 512 >= file.stat.st_size {
        return Ok(None);
    }
    let mut all = Vec::new();
    let mut done = 0;
    while done < size {
        let offset = match seek(&file.fd, SeekFrom::Data(done)) {
            // A hole up to the end.
            Err(Errno::NXIO) => break,
            // A file system that cannot tell.
            Err(Errno::INVAL | Errno::NOTTY | Errno::OPNOTSUPP) => return Ok(None),
            found => found?,
        };
        done = seek(&file.fd, SeekFrom::Hole(offset))?.min(size);
        if offset >= size {
            break;
        }
        all.push(Segment { offset, length: done - offset });
    }
    let whole = [Segment { offset: 0, length: size }];
    Ok(Some(all).filter(|all| all.as_slice() != whole))
}

/// A number for all that a tree has, except for times and flags, which differ between
/// two hosts that unpacked the same release, and for the entries for which `passed`
/// is true.
pub fn digest(tree: &Path, passed: &dyn Fn(&Path) -> bool) -> Result<[u8; 32]> {
    let top = Entry::top(tree)?;
    let mut digest = TreeDigest {
        sum: Sha256::new(),
        passed,
        device: Device::of(&top.stat),
        path: PathBuf::new(),
        depth: 0,
    };
    let done = digest.directory(top.fd.as_fd());
    done.with_context(|| format!("read {}", tree.join(&digest.path).display()))?;
    Ok(digest.sum.finalize().into())
}

struct TreeDigest<'a> {
    sum: Sha256,
    passed: &'a dyn Fn(&Path) -> bool,
    device: Device,
    path: PathBuf,
    depth: usize,
}

impl TreeDigest<'_> {
    fn directory(&mut self, directory: BorrowedFd) -> io::Result<()> {
        descend(&mut self.depth)?;
        for name in names(directory)? {
            self.path.push(path_of(&name));
            if !(self.passed)(&self.path) {
                self.entry(directory, &name)?;
            }
            self.path.pop();
        }
        self.depth -= 1;
        Ok(())
    }

    fn entry(&mut self, directory: BorrowedFd, name: &CStr) -> io::Result<()> {
        let Some(stat) = look(directory, name, self.device)? else { return Ok(()) };
        let entry = Entry::open(directory, name, kind_of(&stat))?;
        let kind = match kind_of(&stat) {
            FileType::Directory => "d",
            FileType::RegularFile => "f",
            FileType::Symlink => "l",
            _ => "o",
        };
        self.field(self.path.clone().as_os_str().as_bytes());
        // The mode of a link is nothing on most systems.
        let mode = if kind == "l" { 0 } else { mode_of(&stat) };
        self.field(format!("{kind} {mode:o} {} {}", stat.st_uid, stat.st_gid).as_bytes());
        match kind {
            "l" => self.field(text_of(&entry)?.as_os_str().as_bytes()),
            "f" => self.contents(&entry)?,
            "d" => {
                self.device.check(&entry.stat)?;
                self.directory(entry.fd.as_fd())?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds a field, with its length in front, so that no two trees give the same bytes.
    fn field(&mut self, bytes: &[u8]) {
        self.sum.update((bytes.len() as u64).to_be_bytes());
        self.sum.update(bytes);
    }

    fn contents(&mut self, file: &Entry) -> io::Result<()> {
        let mut of_file = Sha256::new();
        let (mut buffer, mut offset) = ([0; 1 << 14], 0);
        loop {
            match rustix::io::pread(&file.fd, &mut buffer, offset) {
                Ok(0) => break,
                Ok(read) => {
                    of_file.update(&buffer[..read]);
                    offset += read as u64;
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.field(&of_file.finalize());
        Ok(())
    }
}
