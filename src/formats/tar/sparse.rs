//! Sparse files: GNU's format 1.0 for pax, which bsdtar and GNU tar read
//! (tar(5), "GNU.sparse.major=1").

use super::header::{BLOCK, padding};
use super::{TarError, bad};
use std::io::Read;

/// A piece of a file that has data; the rest are holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

/// The most segments that a file has: a map of a few megabytes.
const MOST: u64 = 100_000;

/// The map, in front of the data: how many segments, then their offsets and lengths,
/// a line each, filled up to a block.
pub(super) fn map(segments: &[Segment]) -> Vec<u8> {
    let mut text = format!("{}\n", segments.len());
    for segment in segments {
        text.push_str(&format!("{}\n{}\n", segment.offset, segment.length));
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len() + usize::try_from(padding(bytes.len() as u64)).unwrap_or(0), 0);
    bytes
}

/// Reads a map; gives its length, too.
pub(super) fn read(from: &mut impl Read) -> Result<(Vec<Segment>, u64), TarError> {
    let mut block = [0; BLOCK];
    let (mut at, mut length) = (BLOCK, 0);
    let mut number = || -> Result<u64, TarError> {
        let mut digits = String::new();
        loop {
            if at == BLOCK {
                if from.read_exact(&mut block).is_err() {
                    return bad("a sparse file with a map that is cut off");
                }
                (at, length) = (0, length + BLOCK as u64);
            }
            let byte = block[at];
            at += 1;
            match byte {
                b'\n' => break,
                b'0'..=b'9' if digits.len() < 20 => digits.push(char::from(byte)),
                _ => return bad("a sparse file with a map that is not numbers"),
            }
        }
        match digits.parse() {
            Ok(number) => Ok(number),
            Err(_) => bad("a sparse file with a map that is not numbers"),
        }
    };
    let count = number()?;
    if count > MOST {
        return bad(format!("a sparse file with {count} segments"));
    }
    let mut segments = Vec::new();
    for _ in 0..count {
        let (offset, length) = (number()?, number()?);
        segments.push(Segment { offset, length });
    }
    Ok((segments, length))
}

/// Fails unless the segments are in order, within the file, and all of the data.
pub(super) fn check(segments: &[Segment], size: u64, data: u64) -> Result<(), TarError> {
    let (mut end, mut total) = (0, 0_u64);
    for segment in segments {
        let next = segment.offset.checked_add(segment.length);
        match next {
            Some(next) if segment.offset >= end && next <= size => end = next,
            _ => return bad("a sparse file with segments that overlap or lie outside"),
        }
        total += segment.length;
    }
    if total != data || size > i64::MAX as u64 {
        return bad("a sparse file whose data does not match its map");
    }
    Ok(())
}
