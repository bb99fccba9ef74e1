//! The header of an entry: one block of POSIX ustar (tar(5)).

use super::pax::Records;
use super::{TarError, bad};

/// The size of a block, in bytes.
pub const BLOCK: usize = 512;

/// The bytes behind data of that size, up to the next block.
pub fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

/// The fields that are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub path: Vec<u8>,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub size: u64,
    pub mtime: u64,
    pub kind: u8,
    pub link: Vec<u8>,
}

/// Offsets and lengths of the fields.
const NAME: (usize, usize) = (0, 100);
const MODE: (usize, usize) = (100, 8);
const UID: (usize, usize) = (108, 8);
const GID: (usize, usize) = (116, 8);
const SIZE: (usize, usize) = (124, 12);
const MTIME: (usize, usize) = (136, 12);
const CHECKSUM: (usize, usize) = (148, 8);
const KIND: usize = 156;
const LINK: (usize, usize) = (157, 100);
const MAGIC: (usize, usize) = (257, 8);
const PREFIX: (usize, usize) = (345, 155);

const USTAR: &[u8; 8] = b"ustar\x0000";

/// The latest time in a header, in seconds since the epoch.
pub(super) const LATEST: u64 = largest(MTIME);

/// The largest number in a field of that many bytes, one of which ends it.
const fn largest(field: (usize, usize)) -> u64 {
    (1 << (3 * (field.1 - 1))) - 1
}

fn field(block: &[u8; BLOCK], (at, length): (usize, usize)) -> &[u8] {
    &block[at..at + length]
}

/// Text up to a NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

fn octal(block: &[u8; BLOCK], at: (usize, usize)) -> Result<u64, TarError> {
    let all = field(block, at);
    let digits: Vec<u8> = all.iter().copied().take_while(|b| !matches!(b, 0 | b' ')).collect();
    let rest = &all[digits.len()..];
    if !digits.iter().all(|b| (b'0'..=b'7').contains(b)) || !rest.iter().all(|b| matches!(b, 0 | b' ')) {
        return bad("a header with a number that is not octal");
    }
    Ok(digits.iter().fold(0, |number, digit| number * 8 + u64::from(digit - b'0')))
}

fn checksum(block: &[u8; BLOCK]) -> u64 {
    let blank = CHECKSUM.0..CHECKSUM.0 + CHECKSUM.1;
    block.iter().enumerate().map(|(at, b)| if blank.contains(&at) { 32 } else { u64::from(*b) }).sum()
}

impl Header {
    pub fn parse(block: &[u8; BLOCK]) -> Result<Header, TarError> {
        if field(block, MAGIC) != USTAR {
            return bad("not a POSIX tar archive");
        }
        if octal(block, CHECKSUM)? != checksum(block) {
            return bad("a header with a wrong checksum");
        }
        let (name, prefix) = (text(field(block, NAME)), text(field(block, PREFIX)));
        let path = match prefix {
            [] => name.to_vec(),
            prefix => [prefix, b"/", name].concat(),
        };
        Ok(Header {
            path,
            mode: u32::try_from(octal(block, MODE)?).unwrap_or(u32::MAX),
            uid: octal(block, UID)?,
            gid: octal(block, GID)?,
            size: octal(block, SIZE)?,
            mtime: octal(block, MTIME)?,
            kind: block[KIND],
            link: text(field(block, LINK)).to_vec(),
        })
    }

    /// Takes the fields that an extended header has instead.
    pub fn take(&mut self, records: &Records) -> Result<(), TarError> {
        for (name, value) in &records.0 {
            let number = || match std::str::from_utf8(value).ok().and_then(|v| v.parse::<u64>().ok()) {
                Some(number) => Ok(number),
                None => bad(format!("{name} in an extended header is not a number")),
            };
            match name.as_str() {
                "path" => self.path.clone_from(value),
                "linkpath" => self.link.clone_from(value),
                "size" => self.size = number()?,
                "uid" => self.uid = number()?,
                "gid" => self.gid = number()?,
                _ => {}
            }
        }
        // What is added to it must not overflow.
        if self.size > i64::MAX as u64 {
            return bad("an entry with a size that is too large");
        }
        Ok(())
    }

    /// Moves what does not fit to an extended header.
    pub fn extend(&mut self, records: &mut Records) {
        let fits = |bytes: &[u8]| bytes.len() <= NAME.1;
        if !fits(&self.path) {
            records.add("path", &self.path);
            self.path.truncate(NAME.1);
        }
        if !fits(&self.link) {
            records.add("linkpath", &self.link);
            self.link.truncate(LINK.1);
        }
        for (name, value, at) in
            [("size", &mut self.size, SIZE), ("uid", &mut self.uid, UID), ("gid", &mut self.gid, GID)]
        {
            if *value > largest(at) {
                records.add(name, value.to_string().as_bytes());
                *value = 0;
            }
        }
    }

    /// The block. What does not fit has gone to an extended header.
    pub fn to_bytes(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |(at, length): (usize, usize), bytes: &[u8]| {
            let used = bytes.len().min(length);
            block[at..at + used].copy_from_slice(&bytes[..used]);
        };
        put(NAME, &self.path);
        for (at, value) in [
            (MODE, u64::from(self.mode)),
            (UID, self.uid),
            (GID, self.gid),
            (SIZE, self.size),
            (MTIME, self.mtime),
        ] {
            put(at, format!("{value:0width$o}", width = at.1 - 1).as_bytes());
        }
        put((KIND, 1), &[self.kind]);
        put(LINK, &self.link);
        put(MAGIC, USTAR);
        let sum = checksum(&block);
        block[CHECKSUM.0..CHECKSUM.0 + CHECKSUM.1].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}
