//! What `zfs diff -H -F` prints (zfs-diff(8)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// How an entry of a dataset differs from its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZfsChange {
    /// `+`
    Added,
    /// `-`
    Removed,
    /// `M`
    Modified,
    /// `R`
    Renamed,
    /// Another line, whatever it means.
    Unknown,
}

/// A line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZfsDifference {
    /// What happened.
    pub change: ZfsChange,
    /// Where it is, or was before it was renamed.
    pub path: PathBuf,
}

/// Reads the lines. A line of another shape is an unknown change, with the line as
/// its path: nothing that is printed may be taken for no change.
pub fn parse(text: &str) -> Vec<ZfsDifference> {
    let unknown = |text: &str| ZfsDifference { change: ZfsChange::Unknown, path: text.into() };
    text.lines().map(|text| line(text).unwrap_or_else(|| unknown(text))).collect()
}

fn line(text: &str) -> Option<ZfsDifference> {
    let mut fields = text.split('\t');
    let change = match fields.next()? {
        "+" => ZfsChange::Added,
        "-" => ZfsChange::Removed,
        "M" => ZfsChange::Modified,
        "R" => ZfsChange::Renamed,
        _ => return None,
    };
    let path = fields.nth(1)?;
    Some(ZfsDifference { change, path: OsString::from_vec(unescape(path.as_bytes())).into() })
}

/// Blanks, backslashes and bytes outside ASCII are printed as a backslash and four
/// octal digits (freebsd-src: libzfs_diff.c, stream_bytes).
fn unescape(mut text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        let digits = rest.get(..4).filter(|d| *first == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        let value = digits.map(|d| d.iter().fold(0u16, |n, b| n << 3 | u16::from(b - b'0')));
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(byte) => {
                out.push(byte);
                text = &rest[4..];
            }
            None => {
                out.push(*first);
                text = rest;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines() {
        let text = "M\t/\t/z/c/\n+\tF\t/z/c/a\\0040b\\0134\n-\t@\t/z/c/\\0303\\0244\nR\tF\t/z/c/x\t/z/c/y\nodd\n+\t/\n";
        let differences = parse(text);
        let expected = [
            (ZfsChange::Modified, "/z/c/"),
            (ZfsChange::Added, "/z/c/a b\\"),
            (ZfsChange::Removed, "/z/c/ä"),
            (ZfsChange::Renamed, "/z/c/x"),
            (ZfsChange::Unknown, "odd"),
            (ZfsChange::Unknown, "+\t/"),
        ];
        assert_eq!(differences.len(), expected.len());
        for (found, (change, path)) in differences.iter().zip(expected) {
            assert_eq!((found.change, found.path.as_path()), (change, path.as_ref()));
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in proptest::collection::vec(1u8.., 1..20)) {
            let escaped: Vec<u8> = name.iter().flat_map(|b| match b {
                b'!'..=b'[' | b']'..=b'~' => vec![*b],
                _ => format!("\\{b:04o}").into_bytes(),
            }).collect();
            prop_assert_eq!(unescape(&escaped), name);
        }

        #[test]
        fn anything(text in ".*") {
            parse(&text);
        }
    }
}
