//! tar(5) archives with pax extensions, as tar(1) reads and writes them.
//!
//! Written and read here rather than by a library: what is read comes from the
//! network, and the libraries read extended headers of any size into memory and do
//! not know sparse files of pax.

mod header;
mod pax;
mod sparse;

pub use header::{BLOCK, padding};
pub use sparse::Segment;

use header::Header;
use pax::Records;
use std::ffi::{CString, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The longest path of an entry, in bytes.
pub const LONGEST_PATH: usize = 4096;

/// The largest extended header, in bytes: names, attributes and lists of rights.
const LARGEST_EXTENSION: u64 = 2 << 20;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TarKind {
    /// A directory.
    Directory,
    /// A regular file of that size, in bytes. Data follows the entry.
    File(u64),
    /// A regular file of that size with holes. The data of the segments follows.
    Sparse(u64, Vec<Segment>),
    /// A symbolic link with that text.
    Symlink(PathBuf),
    /// Another name of the file that has this path in the archive.
    HardLink(PathBuf),
    /// A FIFO.
    Fifo,
}

/// An entry of an archive, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarEntry {
    /// The path in the archive.
    pub path: PathBuf,
    /// What it is.
    pub kind: TarKind,
    /// The mode, without the type.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The modification time, in seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Flags of chflags(1), such as `schg,uarch`; empty for none.
    pub flags: String,
    /// Extended attributes, with the namespace in front.
    pub attributes: Vec<(CString, Vec<u8>)>,
    /// Access control lists, by the name of their record.
    pub acls: Vec<(String, Vec<u8>)>,
}

/// Why an archive cannot be read.
#[derive(Debug, Error)]
pub enum TarError {
    /// It cannot be read at all.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// What is read is no archive, or one that this suite did not write.
    #[error("{0}")]
    Bad(String),
}

fn bad<T>(why: impl Into<String>) -> Result<T, TarError> {
    Err(TarError::Bad(why.into()))
}

/// The names of records that hold access control lists: those of libarchive, and for
/// what Linux has instead.
pub const ACL_RECORDS: [&str; 5] = [
    "SCHILY.acl.access",
    "SCHILY.acl.default",
    "SCHILY.acl.ace",
    "THINJAIL.acl.system.posix_acl_access",
    "THINJAIL.acl.system.posix_acl_default",
];
const ATTRIBUTE: &str = "SCHILY.xattr.";
const FLAGS: &str = "SCHILY.fflags";

impl TarEntry {
    /// A regular file with a plain mode that root owns.
    pub fn plain(path: &str, size: u64) -> TarEntry {
        TarEntry {
            path: path.into(),
            kind: TarKind::File(size),
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            flags: String::new(),
            attributes: Vec::new(),
            acls: Vec::new(),
        }
    }

    /// The bytes of data that follow the header, without the padding behind them.
    pub fn data(&self) -> u64 {
        match &self.kind {
            TarKind::File(size) => *size,
            TarKind::Sparse(_, segments) => segments.iter().map(|s| s.length).sum(),
            _ => 0,
        }
    }

    /// The header, with the extended one in front where one is needed, and for a sparse
    /// file its map.
    ///
    /// # Errors
    ///
    /// An attribute whose name cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TarError> {
        let mut records = Records::default();
        let mut map = Vec::new();
        let mut path = self.path.as_os_str().as_bytes().to_vec();
        let (kind, size, link) = match &self.kind {
            TarKind::Directory => {
                path.push(b'/');
                (b'5', 0, &[][..])
            }
            TarKind::File(size) => (b'0', *size, &[][..]),
            TarKind::Sparse(size, segments) => {
                map = sparse::map(segments);
                records.add("GNU.sparse.major", b"1");
                records.add("GNU.sparse.minor", b"0");
                records.add("GNU.sparse.name", &path);
                records.add("GNU.sparse.realsize", size.to_string().as_bytes());
                (b'0', map.len() as u64 + self.data(), &[][..])
            }
            TarKind::Symlink(text) => (b'2', 0, text.as_os_str().as_bytes()),
            TarKind::HardLink(path) => (b'1', 0, path.as_os_str().as_bytes()),
            TarKind::Fifo => (b'6', 0, &[][..]),
        };
        let mtime = u64::try_from(self.mtime.0).ok().filter(|seconds| *seconds <= header::LATEST);
        if self.mtime.1 != 0 || mtime.is_none() {
            records.add("mtime", pax::time(self.mtime).as_bytes());
        }
        if !self.flags.is_empty() {
            records.add(FLAGS, self.flags.as_bytes());
        }
        for (name, value) in &self.attributes {
            match name.to_str() {
                Ok(name) if !name.contains('=') => records.add(&format!("{ATTRIBUTE}{name}"), value),
                _ => {
                    return bad(format!(
                        "its attribute {} has a name that no archive can hold",
                        name.to_string_lossy()
                    ));
                }
            }
        }
        for (name, value) in &self.acls {
            records.add(name, value);
        }
        let mut header = Header {
            path,
            mode: self.mode & 0o7777,
            uid: self.uid.into(),
            gid: self.gid.into(),
            size,
            mtime: mtime.unwrap_or(0),
            kind,
            link: link.to_vec(),
        };
        header.extend(&mut records);
        let mut bytes = extension(&records);
        bytes.extend(header.to_bytes());
        bytes.extend(map);
        Ok(bytes)
    }

    /// Takes what an extended header says.
    fn take(&mut self, records: Records, sparse: &mut Option<u64>) -> Result<(), TarError> {
        for (name, value) in records.0 {
            let text = || match std::str::from_utf8(&value) {
                Ok(text) => Ok(text),
                Err(_) => bad(format!("{name} is not text")),
            };
            let number = || match text()?.parse::<u64>() {
                Ok(number) => Ok(number),
                Err(_) => bad(format!("{name}={} is not a number", text()?)),
            };
            match name.as_str() {
                // The header has taken them.
                "path" | "linkpath" | "size" | "uid" | "gid" => {}
                "mtime" => match pax::parse_time(text()?) {
                    Some(time) => self.mtime = time,
                    None => return bad(format!("mtime={} is not a time", text()?)),
                },
                FLAGS => self.flags = text()?.to_owned(),
                "GNU.sparse.major" if number()? == 1 => {}
                "GNU.sparse.minor" if number()? == 0 => {}
                "GNU.sparse.name" => self.path = path(&value)?,
                "GNU.sparse.realsize" => *sparse = Some(number()?),
                acl if ACL_RECORDS.contains(&acl) => self.acls.push((name, value)),
                other => match other.strip_prefix(ATTRIBUTE) {
                    Some(attribute) if !attribute.is_empty() && !attribute.contains('\0') => {
                        let attribute = CString::new(attribute).map_err(|_| TarError::Bad("NUL".into()))?;
                        self.attributes.push((attribute, value));
                    }
                    _ => return bad(format!("{name} in an extended header is unknown")),
                },
            }
        }
        Ok(())
    }
}

/// The extended header with these records; nothing if there are none.
fn extension(records: &Records) -> Vec<u8> {
    let body = records.to_bytes();
    if body.is_empty() {
        return body;
    }
    let size = body.len() as u64;
    let header = Header { path: b"PaxHeader".to_vec(), mode: 0o600, size, kind: b'x', ..Header::default() };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend(body);
    bytes.resize(bytes.len() + usize::try_from(padding(size)).unwrap_or(0), 0);
    bytes
}

/// A path as it is in a header. A slash at the end of a directory's does not count.
fn path(bytes: &[u8]) -> Result<PathBuf, TarError> {
    if bytes.len() > LONGEST_PATH {
        return bad(format!("a path of {} bytes", bytes.len()));
    }
    if bytes.is_empty() || bytes.contains(&0) {
        return bad("a path that is empty or contains a NUL");
    }
    Ok(OsString::from_vec(bytes.to_vec()).into())
}

/// The parts of a path that leads from the top of a tree into it, and nowhere else.
///
/// # Errors
///
/// An absolute path, an empty part, `.` and `..`.
pub fn parts(path: &Path) -> Result<Vec<CString>, TarError> {
    let all = path.as_os_str().as_bytes().split(|b| *b == b'/');
    all.map(|part| match part {
        b"" | b"." | b".." => bad(format!("{}: not a path below the top of the tree", path.display())),
        part if part.len() > 255 => bad(format!("{}: a name of {} bytes", path.display(), part.len())),
        part => CString::new(part).map_err(|_| TarError::Bad("a path contains a NUL".into())),
    })
    .collect()
}

/// Reads entries one after the other.
pub struct TarReader<R> {
    from: R,
    /// Data of the last entry that has not been read, and the padding behind it.
    left: (u64, u64),
}

impl<R: Read> TarReader<R> {
    /// Reads an archive from its beginning.
    pub fn new(from: R) -> TarReader<R> {
        TarReader { from, left: (0, 0) }
    }

    /// What is read from.
    pub fn get_ref(&self) -> &R {
        &self.from
    }

    /// The next entry; `None` at the end of the archive. Data of the one before that
    /// was not read is passed over.
    ///
    /// # Errors
    ///
    /// An archive that ends early, an entry that is none of [`TarKind`], an extended
    /// header that says something unknown or is too large.
    pub fn next_entry(&mut self) -> Result<Option<TarEntry>, TarError> {
        self.skip_data()?;
        let mut records = Records::default();
        let Some(mut block) = self.block()? else { return Ok(None) };
        if block.kind == b'x' {
            records = self.extension(block.size)?;
            block = match self.block()? {
                Some(block) if block.kind != b'x' => block,
                _ => return bad("an extended header without an entry behind it"),
            };
        }
        block.take(&records)?;
        let mut entry = TarEntry { path: path(trimmed(&block))?, ..TarEntry::plain("-", 0) };
        // The largest number means none (chown(2)).
        let owner = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        let (Some(uid), Some(gid), Ok(seconds)) =
            (owner(block.uid), owner(block.gid), i64::try_from(block.mtime))
        else {
            return bad(format!("{}: an owner or time that is too large", entry.path.display()));
        };
        (entry.mode, entry.uid, entry.gid, entry.mtime) = (block.mode, uid, gid, (seconds, 0));
        let mut size = None;
        entry.take(records, &mut size)?;
        if entry.mode > 0o7777 {
            return bad(format!("{}: mode {:o}", entry.path.display(), entry.mode));
        }
        let mut data = block.size;
        entry.kind = match (block.kind, size) {
            (b'0' | 0, None) => TarKind::File(block.size),
            (b'0' | 0, Some(size)) => {
                let (segments, length) = sparse::read(&mut self.from.by_ref().take(data))?;
                data -= length;
                sparse::check(&segments, size, data)?;
                TarKind::Sparse(size, segments)
            }
            (b'5', None) => TarKind::Directory,
            (b'2', None) => TarKind::Symlink(path(&block.link)?),
            (b'1', None) => TarKind::HardLink(path(&block.link)?),
            (b'6', None) => TarKind::Fifo,
            (b'3' | b'4', _) => return bad(format!("{}: a device", entry.path.display())),
            (kind, _) => {
                return bad(format!("{}: an entry of type {:?}", entry.path.display(), char::from(kind)));
            }
        };
        if !matches!(entry.kind, TarKind::File(_) | TarKind::Sparse(..)) && data != 0 {
            return bad(format!("{}: data without a file", entry.path.display()));
        }
        self.left = (data, padding(block.size));
        Ok(Some(entry))
    }

    /// Passes over what was not read of the last entry, and the padding behind it.
    ///
    /// # Errors
    ///
    /// An archive that ends early.
    pub fn skip_data(&mut self) -> Result<(), TarError> {
        let pass = self.left.0 + self.left.1;
        if io::copy(&mut self.from.by_ref().take(pass), &mut io::sink())? < pass {
            return bad("ends early");
        }
        self.left = (0, 0);
        Ok(())
    }

    /// Reads data of the entry; 0 at its end.
    ///
    /// # Errors
    ///
    /// An archive that ends early.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let most = usize::try_from(self.left.0).map_or(buffer.len(), |left| left.min(buffer.len()));
        if most == 0 {
            return Ok(0);
        }
        match self.from.read(&mut buffer[..most]) {
            Ok(0) => bad("ends early"),
            Ok(read) => {
                self.left.0 -= read as u64;
                Ok(read)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => self.read(buffer),
            Err(e) => Err(e.into()),
        }
    }

    /// All data of a small entry.
    ///
    /// # Errors
    ///
    /// As for [`TarReader::read`], and if there are more than `most` bytes.
    pub fn read_all(&mut self, most: u64) -> Result<Vec<u8>, TarError> {
        if self.left.0 > most {
            return bad(format!("an entry of {} bytes, where at most {most} are expected", self.left.0));
        }
        let mut all = vec![0; usize::try_from(self.left.0).unwrap_or(0)];
        let mut done = 0;
        while done < all.len() {
            done += self.read(&mut all[done..])?;
        }
        Ok(all)
    }

    /// Reads the end of the archive: blocks of zeros up to the end of the stream.
    ///
    /// # Errors
    ///
    /// Something else behind the end.
    pub fn finish(&mut self) -> Result<(), TarError> {
        let mut block = [0; BLOCK];
        loop {
            match self.from.read(&mut block) {
                Ok(0) => return Ok(()),
                Ok(read) if block[..read].iter().all(|b| *b == 0) => {}
                Ok(_) => return bad("something follows its end"),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn block(&mut self) -> Result<Option<Header>, TarError> {
        let mut block = [0; BLOCK];
        match self.from.read_exact(&mut block) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return bad("ends early"),
            other => other?,
        }
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        Header::parse(&block).map(Some)
    }

    fn extension(&mut self, size: u64) -> Result<Records, TarError> {
        if size > LARGEST_EXTENSION {
            return bad(format!("an extended header of {size} bytes"));
        }
        let mut all = vec![0; usize::try_from(size + padding(size)).unwrap_or(0)];
        match self.from.read_exact(&mut all) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return bad("ends early"),
            other => other?,
        }
        all.truncate(usize::try_from(size).unwrap_or(0));
        Records::parse(&all)
    }
}

/// The path of a header, without the slash at the end of a directory's.
fn trimmed(header: &Header) -> &[u8] {
    match (header.kind, header.path.strip_suffix(b"/")) {
        (b'5', Some(path)) => path,
        _ => &header.path,
    }
}

/// What ends an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

#[cfg(test)]
mod tests;
