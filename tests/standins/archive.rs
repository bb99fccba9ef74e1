//! Reading of tar archives as libarchive does it, with its texts for what is wrong.
//!
//! Plain or compressed with xz; ustar, pax and GNU headers, sparse files of pax. An archive is read from front to back, so
//! that one cut short gives what it has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use lzma_rust2::XzReader;

/// What xz of libarchive hands on in one piece. Of a piece that cannot be read to its end nothing is handed on.
const PIECE: usize = 64 * 1024;
const BLOCK: usize = 512;

/// The sort of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink,
    Link,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Entry {
    pub path: Vec<u8>,
    /// Where a link of either sort leads.
    pub link: Vec<u8>,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub user: Vec<u8>,
    pub group: Vec<u8>,
    /// The size once extracted.
    pub size: u64,
    /// Seconds and nanoseconds.
    pub time: (i64, i64),
    pub device: (u32, u32),
    /// The number of hard links; archives rarely tell it.
    pub links: u64,
    /// File flags as chflags(1) spells them.
    pub flags: String,
    /// What of a sparse file is data: offset and length.
    pub map: Option<Vec<(u64, u64)>>,
}

/// Why reading ends early, in the words of libarchive.
pub type Fatal = String;

/// What is wrong with the next entry.
pub enum Flaw {
    /// There is no way to continue.
    Fatal(Fatal),
    /// What follows may be good.
    Retry(String),
}

impl From<Fatal> for Flaw {
    fn from(text: Fatal) -> Self {
        Flaw::Fatal(text)
    }
}

/// Where bytes come from.
enum Source {
    Plain(BufReader<File>),
    Xz(Box<XzReader<BufReader<File>>>),
}

/// An archive.
pub struct Archive {
    source: Source,
    piece: Vec<u8>,
    used: usize,
    /// Why there will be no more pieces.
    broken: Option<Fatal>,
    ended: bool,
    /// Bytes of the entry at hand that were not read, and the padding after them.
    left: u64,
    padding: u64,
}

impl Archive {
    /// Opens an archive. The error is what comes after `Error opening archive: `.
    pub fn open(path: &Path, name: &str) -> Result<Self, Fatal> {
        let file = File::open(path).map_err(|_| format!("Failed to open '{name}'"))?;
        let is_directory = file.metadata().is_ok_and(|meta| meta.is_dir());
        let mut file = BufReader::with_capacity(PIECE, file);
        let magic = match io::BufRead::fill_buf(&mut file) {
            Ok(bytes) => bytes.starts_with(b"\xfd7zXZ\0"),
            Err(_) if is_directory => return Err(format!("Couldn't visit directory: '{name}'")),
            Err(_) => return Err(format!("Error reading '{name}'")),
        };
        let source =
            if magic { Source::Xz(Box::new(XzReader::new(file, true))) } else { Source::Plain(file) };
        let mut archive =
            Self { source, piece: Vec::new(), used: 0, broken: None, ended: false, left: 0, padding: 0 };
        archive.refill();
        if let Some(broken) = archive.broken.take_if(|_| archive.piece.is_empty()) {
            return Err(broken);
        }
        let start = &archive.piece[..archive.piece.len().min(BLOCK)];
        let nothing = start.is_empty() && !magic;
        if !nothing && !(start.len() == BLOCK && (is_null(start) || checksum(start))) {
            return Err("Unrecognized archive format".into());
        }
        Ok(archive)
    }

    /// Gets the next piece.
    fn refill(&mut self) {
        self.piece.resize(PIECE, 0);
        (self.used, self.ended) = (0, true);
        let mut have = 0;
        while have < PIECE {
            // In small steps: what comes with an error is lost.
            let end = PIECE.min(have + BLOCK);
            let got = match &mut self.source {
                Source::Plain(file) => file.read(&mut self.piece[have..end]),
                Source::Xz(xz) => xz.read(&mut self.piece[have..end]),
            };
            match got {
                Ok(0) => break,
                Ok(count) => (have, self.ended) = (have + count, false),
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => {
                    let what = match cause.kind() {
                        ErrorKind::UnexpectedEof => "Lzma library error:  No progress is possible",
                        _ => "Lzma library error: Corrupted input data",
                    };
                    (self.broken, have) = (Some(what.into()), 0);
                    break;
                }
            }
        }
        self.piece.truncate(have);
    }

    /// Up to `most` of the bytes that come next; none at the end.
    fn some(&mut self, most: usize) -> Result<&[u8], Fatal> {
        if self.used == self.piece.len() && !self.ended {
            self.refill();
        }
        if self.used == self.piece.len() {
            return match &self.broken {
                Some(broken) => Err(broken.clone()),
                None => Ok(&[]),
            };
        }
        let end = self.piece.len().min(self.used + most);
        let start = std::mem::replace(&mut self.used, end);
        Ok(&self.piece[start..end])
    }

    /// The block that comes next; less than a block if there no longer exists that can be read.
    fn block(&mut self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK);
        while block.len() < BLOCK {
            match self.some(BLOCK - block.len()) {
                Ok(some) if !some.is_empty() => block.extend_from_slice(some),
                _ => break,
            }
        }
        block
    }

    /// The next entry; none at the end. What was not read of the one before is passed over.
    pub fn advance(&mut self) -> Result<Option<Entry>, Flaw> {
        let needed = std::mem::take(&mut self.left) + std::mem::take(&mut self.padding);
        let mut skipped = 0;
        while skipped < needed {
            let most = usize::try_from(needed - skipped).unwrap_or(usize::MAX);
            let passed = self.some(most).map_or(0, <[u8]>::len);
            if passed == 0 {
                // Of what can't be decompressed nothing counts.
                let had = if self.broken.is_some() { 0 } else { skipped };
                let text = format!("Truncated input file (needed {needed} bytes, only {had} available)");
                return Err(Flaw::Fatal(text));
            }
            skipped += passed as u64;
        }
        let mut pax = BTreeMap::new();
        let (mut long_path, mut long_link) = (None, None);
        let mut within = false;
        loop {
            let header = self.block();
            if header.is_empty() && !within && self.broken.is_none() {
                return Ok(None);
            }
            let end = header.is_empty() && self.broken.is_none();
            if end || (within && header.len() == BLOCK && is_null(&header)) {
                let text = "Damaged tar archive (end-of-archive within a sequence of headers)";
                return Err(Flaw::Fatal(text.into()));
            }
            if header.len() < BLOCK {
                return Err(Flaw::Fatal("Truncated tar archive detected while reading next header".into()));
            }
            if is_null(&header) {
                return Ok(None);
            }
            if !checksum(&header) {
                let text = "Damaged tar archive (bad header checksum)".into();
                return Err(if within { Flaw::Fatal(text) } else { Flaw::Retry(text) });
            }
            let size = number(&header[124..136]);
            match header[156] {
                b'x' | b'g' => {
                    let text = self.special(size)?;
                    if header[156] == b'x' {
                        pax = records(&text)?;
                    }
                }
                b'L' => long_path = Some(until_null(&self.special(size)?).to_vec()),
                b'K' => long_link = Some(until_null(&self.special(size)?).to_vec()),
                _ => return Ok(Some(self.entry(&header, size, pax, long_path, long_link)?)),
            }
            within = true;
        }
    }

    /// What a header of headers carries.
    fn special(&mut self, size: u64) -> Result<Vec<u8>, Fatal> {
        if size > 1 << 20 {
            return Err(format!("Special header too large: {size} > 1MiB"));
        }
        let mut text = Vec::new();
        while (text.len() as u64) < size {
            let block = self.block();
            if block.len() < BLOCK {
                return Err("Truncated archive detected while reading metadata".into());
            }
            text.extend(block);
        }
        text.truncate(size as usize);
        Ok(text)
    }

    /// Puts together what the headers say.
    fn entry(
        &mut self,
        header: &[u8],
        size: u64,
        pax: BTreeMap<String, Vec<u8>>,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, Fatal> {
        let field = |from: usize, to: usize| until_null(&header[from..to]).to_vec();
        let ustar = &header[257..263] == b"ustar\0";
        let text = |key: &str| pax.get(key).map(|value| String::from_utf8_lossy(value).into_owned());
        let given = |key: &str| text(key).and_then(|text| text.parse::<u64>().ok());
        let mut path = field(0, 100);
        let prefix = field(345, 500);
        if ustar && !prefix.is_empty() {
            path = [prefix.as_slice(), b"/", path.as_slice()].concat();
        }
        // In the C locale there is no other letter for those that are not ASCII.
        let is_binary = is_utf8() || pax.get("hdrcharset").is_some_and(|charset| charset == b"BINARY");
        let plain = |name: &Vec<u8>| match std::str::from_utf8(name) {
            Ok(text) if !is_binary => {
                text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' }).collect()
            }
            _ => name.clone(),
        };
        let named = pax.get("GNU.sparse.name").or(pax.get("path")).map(plain);
        let path = named.or(long_path).unwrap_or(path);
        let kind = match header[156] {
            b'1' => Kind::HardLink,
            b'2' => Kind::Link,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ if path.ends_with(b"/") => Kind::Directory,
            _ => Kind::File,
        };
        let mut stored = given("size").unwrap_or(size);
        // Only pax has hard links with content.
        if kind == Kind::HardLink && pax.is_empty() {
            stored = 0;
        }
        if matches!(
            kind,
            Kind::Link | Kind::CharacterDevice | Kind::BlockDevice | Kind::Directory | Kind::Fifo
        ) {
            stored = 0;
        }
        let time = match text("mtime") {
            Some(text) => seconds(&text),
            None => (number(&header[136..148]) as i64, 0),
        };
        let mut entry = Entry {
            path,
            link: pax.get("linkpath").map(plain).or(long_link).unwrap_or_else(|| field(157, 257)),
            kind,
            mode: number(&header[100..108]) as u32 & 0o7777,
            uid: given("uid").unwrap_or_else(|| number(&header[108..116])),
            gid: given("gid").unwrap_or_else(|| number(&header[116..124])),
            user: pax.get("uname").cloned().unwrap_or_else(|| field(265, 297)),
            group: pax.get("gname").cloned().unwrap_or_else(|| field(297, 329)),
            size: stored,
            time,
            device: (number(&header[329..337]) as u32, number(&header[337..345]) as u32),
            links: given("SCHILY.nlink").unwrap_or(0),
            flags: text("SCHILY.fflags").unwrap_or_default(),
            map: None,
        };
        self.left = stored;
        self.padding = stored.next_multiple_of(BLOCK as u64) - stored;
        if header[156] == b'S' {
            let maps = (0..4).map(|at| (number(&header[386 + 24 * at..]), number(&header[398 + 24 * at..])));
            entry.size = number(&header[483..495]);
            entry.map = Some(maps.filter(|(_, length)| *length > 0).collect());
            if header[482] != 0 {
                return Err("Malformed sparse map data".into());
            }
        }
        if given("GNU.sparse.major") == Some(1) {
            entry.size = given("GNU.sparse.realsize").unwrap_or(stored);
            entry.map = Some(self.sparse_map()?);
        }
        Ok(entry)
    }

    /// The list of a sparse file's data that stands before the data: numbers, one a line, filled up to a block.
    fn sparse_map(&mut self) -> Result<Vec<(u64, u64)>, Fatal> {
        let malformed = || Fatal::from("Malformed sparse map data");
        let mut numbers: Vec<u64> = Vec::new();
        let mut wanted = 1;
        let mut digits = String::new();
        while numbers.len() < wanted {
            let block = self.block();
            self.left = self.left.checked_sub(block.len() as u64).ok_or_else(malformed)?;
            if block.len() < BLOCK {
                return Err(malformed());
            }
            for byte in block {
                match byte {
                    b'0'..=b'9' if digits.len() < 20 => digits.push(char::from(byte)),
                    b'\n' if numbers.len() < wanted => {
                        numbers.push(digits.parse().map_err(|_| malformed())?);
                        digits.clear();
                        wanted = 1 + 2 * usize::try_from(numbers[0]).map_err(|_| malformed())?;
                    }
                    0 => {}
                    _ => return Err(malformed()),
                }
            }
        }
        Ok(numbers[1..].chunks(2).map(|pair| (pair[0], pair[1])).collect())
    }

    /// Some of the data of the entry at hand; none at its end.
    pub fn data(&mut self) -> Result<Vec<u8>, Fatal> {
        if self.left == 0 {
            return Ok(Vec::new());
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let some = self.some(most).unwrap_or_default().to_vec();
        if some.is_empty() {
            return Err("Truncated tar archive detected while reading data".into());
        }
        self.left -= some.len() as u64;
        Ok(some)
    }
}

/// Whether the locale is one with UTF-8.
pub fn is_utf8() -> bool {
    std::env::var("LC_ALL").is_ok_and(|locale| locale.ends_with("UTF-8"))
}

fn is_null(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

/// Whether a block is a header: the sum of its bytes is the one it states.
fn checksum(header: &[u8]) -> bool {
    let stated = number(&header[148..156]);
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
        .sum();
    header.len() == BLOCK && sum == stated
}

/// A number: octal, or with the first bit set binary.
fn number(field: &[u8]) -> u64 {
    if field[0] & 0x80 != 0 {
        return field[1..field.len().min(12)].iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    }
    let digits =
        field.iter().skip_while(|byte| **byte == b' ').take_while(|byte| matches!(byte, b'0'..=b'7'));
    digits.fold(0, |sum, digit| sum * 8 + u64::from(digit - b'0'))
}

fn until_null(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Seconds and nanoseconds of a decimal fraction.
fn seconds(text: &str) -> (i64, i64) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds = format!("{:0<9.9}", fraction).parse().unwrap_or(0);
    (whole.parse().unwrap_or(0), nanoseconds)
}

/// The records of a pax header: `LENGTH KEY=VALUE` and a newline.
fn records(mut text: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, Fatal> {
    let malformed = || Fatal::from("Ignoring malformed pax attributes: malformed attribute size field");
    let mut all = BTreeMap::new();
    while !text.is_empty() {
        let blank = text.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let length = std::str::from_utf8(&text[..blank]).ok().and_then(|text| text.parse::<usize>().ok());
        let length =
            length.filter(|length| *length > blank + 1 && *length <= text.len()).ok_or_else(malformed)?;
        let record = &text[blank + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        all.insert(String::from_utf8_lossy(&record[..equals]).into_owned(), record[equals + 1..].to_vec());
        text = &text[length..];
    }
    Ok(all)
}
