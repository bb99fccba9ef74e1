//! Entries of an archive as files of a tree. The archive may come from anywhere: no
//! entry leads out of the tree or through a link, none comes twice, and none waits.

use super::remove::remove_at;
use super::{
    Device, Entry, HANDLE, kind_of, open_directory_at, open_parent, path_of, permissions_of, times_of,
};
use crate::formats::file_flags;
use crate::formats::tar::{Segment, TarEntry, TarError, TarKind, TarReader, parts};
use crate::system::effect;
use crate::system::tree::attributes::{self, Attributes};
use crate::system::tree::flags;
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Timespec, Timestamps, Uid, openat, statat};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsStr};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A directory on the way to the entry that is being made.
struct OpenDirectory {
    name: CString,
    entry: Entry,
    /// What it gets when all that is in it is made: an entry of the archive, or what it
    /// had.
    after: After,
}

/// What a directory gets at last.
enum After {
    /// What its entry says.
    Entry(Box<TarEntry>),
    /// The times, the mode and the flags that it had.
    Kept,
}

/// A tree that entries are put into, in the order of their names.
pub struct Unpacker {
    top: PathBuf,
    device: Device,
    /// From the top to the directory of the last entry.
    open: Vec<OpenDirectory>,
    /// The last entry: each is behind the one before.
    last: Option<Vec<CString>>,
    /// Flags of files: an immutable file gets no further name.
    late_flags: Vec<(PathBuf, u32)>,
    /// Whether there is nothing in the tree but what comes from the archive.
    is_new: bool,
    buffer: Vec<u8>,
}

impl Unpacker {
    /// Puts entries into a tree, replacing what has their names. In a tree that is new
    /// nothing can have.
    pub fn new(top: &Path, is_new: bool) -> Result<Unpacker> {
        let entry = Entry::top(top)?;
        let device = Device::of(&entry.stat);
        let first = OpenDirectory { name: CString::default(), entry, after: After::Kept };
        let mut unpacker = Unpacker {
            top: top.to_owned(),
            device,
            open: Vec::new(),
            last: None,
            late_flags: Vec::new(),
            is_new,
            buffer: vec![0; 1 << 17],
        };
        prepare(&first.entry).with_context(|| top.display().to_string())?;
        unpacker.open.push(first);
        Ok(unpacker)
    }

    /// Puts an entry into the tree, with its data; `below` is its path below the top,
    /// empty for that itself, and `directory` the name that paths of hard links begin
    /// with.
    ///
    /// # Errors
    ///
    /// Anything but an entry that [`pack`](super::pack()) writes, in its order.
    pub fn put<R: Read>(
        &mut self,
        entry: TarEntry,
        below: &Path,
        directory: &str,
        reader: &mut TarReader<R>,
    ) -> Result<()> {
        let shown = entry.path.display().to_string();
        self.put_entry(entry, below, directory, reader).with_context(|| shown)
    }

    fn put_entry<R: Read>(
        &mut self,
        entry: TarEntry,
        below: &Path,
        directory: &str,
        reader: &mut TarReader<R>,
    ) -> Result<()> {
        if below.as_os_str().is_empty() {
            return self.put_top(entry);
        }
        let name = self.enter(below)?;
        let parent = self.open.last().context("no directory is open")?.entry.fd.try_clone()?;
        if let TarKind::Directory = entry.kind {
            let there = self.there(&parent, &name)?;
            if there != Some(FileType::Directory) {
                if there.is_some() {
                    remove_at(parent.as_fd(), &name)?;
                }
                effect::mkdirat(&parent, &name, Mode::RWXU)?;
            }
            return self.push(&parent, name, After::Entry(Box::new(entry)));
        }
        if self.there(&parent, &name)?.is_some() {
            remove_at(parent.as_fd(), &name)?;
        }
        let made = match &entry.kind {
            TarKind::HardLink(target) => return self.link(target, directory, &parent, &name),
            TarKind::Symlink(text) => {
                effect::symlinkat(&CString::new(text.as_os_str().as_bytes())?, &parent, &name)?;
                Entry::open(parent.as_fd(), &name, FileType::Symlink)?
            }
            TarKind::Fifo => {
                effect::mknodat(&parent, &name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
                Entry::open(parent.as_fd(), &name, FileType::Fifo)?
            }
            TarKind::File(size) => {
                let file = Entry::new(effect::create_at(&parent, &name, Mode::RUSR | Mode::WUSR)?)?;
                self.fill(&file, &[Segment { offset: 0, length: *size }], *size, reader)?;
                file
            }
            TarKind::Sparse(size, segments) => {
                let file = Entry::new(effect::create_at(&parent, &name, Mode::RUSR | Mode::WUSR)?)?;
                self.fill(&file, segments, *size, reader)?;
                file
            }
            TarKind::Directory => return Ok(()),
        };
        if kind_of(&made.stat) != FileType::Symlink {
            attributes::strip_acl(made.object())?;
        }
        apply(&entry, &made)?;
        match flags_of(&entry)? {
            0 => {}
            flags => self.late_flags.push((below.to_owned(), flags)),
        }
        Ok(())
    }

    /// Removes what the tree is not to have.
    pub fn remove(&mut self, below: &Path) -> Result<()> {
        let name = self.enter(below)?;
        let parent = &self.open.last().context("no directory is open")?.entry.fd;
        remove_at(parent.as_fd(), &name).with_context(|| format!("remove {}", below.display()))
    }

    /// Completes the tree.
    pub fn finish(mut self) -> Result<()> {
        while self.open.len() > 1 {
            self.leave()?;
        }
        for (path, flags) in std::mem::take(&mut self.late_flags) {
            let top = &self.open.first().context("no top")?.entry.fd;
            let (directory, name) = open_parent(top.as_fd(), &path)?;
            flags::set_flags(directory, &name, flags)
                .with_context(|| format!("set the flags of {}", path.display()))?;
        }
        self.leave()
    }

    fn put_top(&mut self, entry: TarEntry) -> Result<()> {
        let is_directory = entry.kind == TarKind::Directory;
        match self.open.as_mut_slice() {
            [top] if self.last.is_none() && is_directory && matches!(top.after, After::Kept) => {
                top.after = After::Entry(Box::new(entry))
            }
            _ => bail!("not the first entry, or not a directory"),
        }
        Ok(())
    }

    /// Opens the directories that lead to a path, and gives its last name.
    fn enter(&mut self, below: &Path) -> Result<CString> {
        let all = parts(below)?;
        if self.last.as_ref().is_some_and(|last| *last >= all) {
            bail!("a second time, or not in the order of names");
        }
        let (name, way) = all.split_last().context("no name")?;
        let common = self.open[1..].iter().zip(way).take_while(|(open, part)| open.name == **part).count();
        while self.open.len() > common + 1 {
            self.leave()?;
        }
        for part in &way[common..] {
            let parent = self.open.last().context("no directory is open")?.entry.fd.try_clone()?;
            self.push(&parent, part.clone(), After::Kept)?;
        }
        let name = name.clone();
        self.last = Some(all);
        Ok(name)
    }

    fn push(&mut self, parent: &impl AsFd, name: CString, after: After) -> Result<()> {
        if self.open.len() > super::DEEPEST {
            bail!("more than {} levels of directories", super::DEEPEST);
        }
        let directory = open_private(parent, &name).map_err(|e| match Errno::from_io_error(&e) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::MLINK) => {
                anyhow!("{} is not a directory", path_of(&name).display())
            }
            _ => anyhow!(e).context(format!("open {}", path_of(&name).display())),
        })?;
        self.device.check(&directory.stat)?;
        prepare(&directory)?;
        self.open.push(OpenDirectory { name, entry: directory, after });
        Ok(())
    }

    /// Leaves the directory that was entered last, and completes it.
    fn leave(&mut self) -> Result<()> {
        let path: PathBuf = self.open.iter().map(|open| path_of(&open.name)).collect();
        let Some(OpenDirectory { entry, after, .. }) = self.open.pop() else { return Ok(()) };
        complete(&entry, after).with_context(|| self.top.join(path).display().to_string())
    }

    fn there(&self, parent: &impl AsFd, name: &CStr) -> io::Result<Option<FileType>> {
        if self.is_new {
            return Ok(None);
        }
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            stat => {
                let stat = stat?;
                self.device.check(&stat)?;
                Ok(Some(kind_of(&stat)))
            }
        }
    }

    fn link(&self, target: &Path, directory: &str, parent: &impl AsFd, name: &CStr) -> Result<()> {
        let bytes = target.as_os_str().as_bytes().strip_prefix(directory.as_bytes());
        let Some(below) = bytes.and_then(|rest| rest.strip_prefix(b"/")) else {
            bail!("a hard link to {}", target.display())
        };
        let below = Path::new(OsStr::from_bytes(below));
        // Checks that it leads into the tree.
        let all = parts(below).with_context(|| format!("a hard link to {}", target.display()))?;
        let below: PathBuf = all.iter().map(|part| OsStr::from_bytes(part.to_bytes())).collect();
        let top = &self.open.first().context("no top")?.entry.fd;
        let linked = open_parent(top.as_fd(), &below).and_then(|(directory, first)| {
            let kind = kind_of(&statat(&directory, &*first, AtFlags::SYMLINK_NOFOLLOW)?);
            if kind == FileType::Directory {
                return Err(io::Error::other("a directory"));
            }
            effect::linkat(directory, &first, parent, name)
        });
        linked.with_context(|| format!("a hard link to {}", target.display()))
    }

    fn fill<R: Read>(
        &mut self,
        file: &Entry,
        segments: &[Segment],
        size: u64,
        reader: &mut TarReader<R>,
    ) -> Result<()> {
        let buffer = &mut self.buffer;
        let mut refused = None;
        let written = effect::with(format_args!("write the data"), || {
            write_data(file, segments, size, reader, buffer, &mut refused)
        });
        match refused {
            Some(error) => Err(error.into()),
            None => Ok(written?),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "announced by fill")]
fn write_data<R: Read>(
    file: &Entry,
    segments: &[Segment],
    size: u64,
    reader: &mut TarReader<R>,
    buffer: &mut [u8],
    refused: &mut Option<TarError>,
) -> io::Result<()> {
    let mut end = 0;
    for segment in segments {
        end = segment.offset + segment.length;
        let mut at = segment.offset;
        while at < end {
            let most = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
            let read = match reader.read(&mut buffer[..most]) {
                Ok(read) => read,
                Err(error) => {
                    *refused = Some(error);
                    return Err(io::Error::other("the archive cannot be read"));
                }
            };
            let mut written = 0;
            while written < read {
                match rustix::io::pwrite(&file.fd, &buffer[written..read], at + written as u64) {
                    Err(Errno::INTR) => {}
                    more => written += more?,
                }
            }
            at += read as u64;
        }
    }
    if end < size {
        rustix::fs::ftruncate(&file.fd, size)?;
    }
    Ok(())
}

fn flags_of(entry: &TarEntry) -> Result<u32> {
    file_flags::parse(&entry.flags).with_context(|| format!("unknown flags {}", entry.flags))
}

/// Opens a directory, even one that its owner may not enter: only its owner can have
/// made it so, and root may in any case.
fn open_private(parent: &impl AsFd, name: &CStr) -> io::Result<Entry> {
    match open_directory_at(parent, name) {
        Err(e) if Errno::from_io_error(&e) == Some(Errno::ACCESS) => {
            let handle = openat(parent, name, HANDLE.union(super::DIRECTORY), Mode::empty())?;
            let entry = Entry::new(handle)?;
            flags::set_mode(&entry.fd, permissions_of(&entry.stat) | Mode::RWXU)?;
            let opened = open_directory_at(parent, name)?;
            // With the mode that it had.
            Ok(Entry { fd: opened, stat: entry.stat })
        }
        opened => Entry::new(opened?),
    }
}

/// Makes a directory one that entries can be put into.
fn prepare(directory: &Entry) -> io::Result<()> {
    if flags::flags(&directory.stat) != 0 {
        flags::set_flags(&directory.fd, c"", 0)?;
    }
    let mode = permissions_of(&directory.stat);
    if !mode.contains(Mode::RWXU) && !rustix::process::geteuid().is_root() {
        flags::set_mode(&directory.fd, mode | Mode::RWXU)?;
    }
    Ok(())
}

fn complete(directory: &Entry, after: After) -> Result<()> {
    match after {
        After::Kept => {
            let mode = permissions_of(&directory.stat);
            if !mode.contains(Mode::RWXU) && !rustix::process::geteuid().is_root() {
                flags::set_mode(&directory.fd, mode)?;
            }
            effect::futimens(&directory.fd, &times_of(&directory.stat))?;
            match flags::flags(&directory.stat) {
                0 => Ok(()),
                flags => Ok(flags::set_flags(&directory.fd, c"", flags)?),
            }
        }
        After::Entry(entry) => {
            let Attributes { names, .. } = Attributes::of(directory.object())?;
            for name in names.iter().filter(|name| !entry.attributes.iter().any(|(n, _)| n == *name)) {
                attributes::remove(directory.object(), name)?;
            }
            attributes::strip_acl(directory.object())?;
            apply(&entry, directory)?;
            match flags_of(&entry)? {
                0 => Ok(()),
                flags => Ok(flags::set_flags(&directory.fd, c"", flags)?),
            }
        }
    }
}

/// Gives a file what its entry says, but for its contents and its flags; in the order
/// that a copy does it.
fn apply(entry: &TarEntry, made: &Entry) -> Result<()> {
    let to = made.object();
    if (entry.uid, entry.gid) != (made.stat.st_uid, made.stat.st_gid) {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        effect::chownat(to.fd, c"", uid, gid, AtFlags::EMPTY_PATH)
            .with_context(|| format!("give it to user {} and group {}", entry.uid, entry.gid))?;
    }
    for (name, value) in &entry.attributes {
        attributes::set(to, name, value)
            .with_context(|| format!("set its attribute {}", name.to_string_lossy()))?;
    }
    flags::set_mode(to.fd, Mode::from_raw_mode(entry.mode as _))?;
    attributes::give_acl_records(&entry.acls, to).context("set its access control list")?;
    let (tv_sec, nanoseconds) = entry.mtime;
    let time = Timespec { tv_sec, tv_nsec: nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(effect::utimensat(to.fd, c"", &times, AtFlags::EMPTY_PATH)?)
}
