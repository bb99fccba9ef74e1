//! The text of an fstab(5), as jail(8) reads it (freebsd-src: usr.sbin/jail/
//! command.c). The file written here is valid for getfsent(3) as well, which wants `ro`
//! or `rw` first among the options.

use crate::formats::vis;
use std::fmt;
use std::path::PathBuf;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FstabEntry {
    /// What is mounted.
    pub source: PathBuf,
    /// The mount point, spelled with the jail's path.
    pub target: PathBuf,
    /// The file system type.
    pub kind: String,
    /// The options, `ro` or `rw` first.
    pub options: Vec<String>,
}

impl FstabEntry {
    fn line(&self) -> Vec<u8> {
        let mut line = vis::encode(self.source.as_os_str());
        line.push(b' ');
        line.extend(vis::encode(self.target.as_os_str()));
        line.extend(format!(" {}", self.kind).bytes());
        // Read as it was: further fields would be taken for the options.
        if !self.options.is_empty() {
            line.extend(format!(" {} 0 0", self.options.join(",")).bytes());
        }
        line.push(b'\n');
        line
    }
}

/// A line of an fstab that is no mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FstabProblem {
    /// The line, from 1; 0 for what concerns the whole file.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for FstabProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.what),
            line => write!(f, "line {line}: {}", self.what),
        }
    }
}

/// Reads an fstab as jail(8) does. Gives the mounts with their line numbers,
/// and what it would choke on.
pub fn parse(text: &[u8]) -> (Vec<(usize, FstabEntry)>, Vec<FstabProblem>) {
    let mut entries = Vec::new();
    let mut findings = Vec::new();
    for (number, line) in text.split(|b| *b == b'\n').enumerate() {
        let number = number + 1;
        // A comment may start anywhere in a line.
        let line = line.split(|b| *b == b'#').next().unwrap_or_default();
        let fields: Vec<&[u8]> =
            line.split(|b| *b == b' ' || *b == b'\t').filter(|f| !f.is_empty()).collect();
        if fields.is_empty() {
            continue;
        }
        let mut find = |what: &str| findings.push(FstabProblem { line: number, what: what.to_owned() });
        if line.contains(&0) {
            find("a NUL byte, at which jail(8) ends the line");
            continue;
        }
        if fields.len() < 3 {
            find("missing information: device, mount point and type are required");
            continue;
        }
        let (Some(source), Some(target)) = (vis::decode(fields[0]), vis::decode(fields[1])) else {
            find("fstab parse error: bad escape (blanks are written \\040)");
            continue;
        };
        let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        let options =
            fields.get(3).map(|f| text(f).split(',').map(str::to_owned).collect()).unwrap_or_default();
        entries.push((
            number,
            FstabEntry { source: source.into(), target: target.into(), kind: text(fields[2]), options },
        ));
    }
    (entries, findings)
}

/// The text of an fstab.
pub fn format(entries: &[FstabEntry]) -> Vec<u8> {
    entries.iter().flat_map(FstabEntry::line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    #[test]
    fn reads_as_jail_does() {
        let text = b"# comment\n/a\t/p/ nullfs ro 0 0\n\n/b\\040c /p/x nullfs rw # c\n/b /p\n/b\\q /p/y nullfs rw\n/d /p/z nullfs";
        let (entries, findings) = parse(text);
        assert_eq!(entries.iter().map(|(l, _)| *l).collect::<Vec<_>>(), [2, 4, 7]);
        assert_eq!(entries[1].1.source, Path::new("/b c"));
        assert_eq!(entries[1].1.options, ["rw"]);
        assert!(entries[2].1.options.is_empty());
        assert_eq!(findings.iter().map(|f| f.line).collect::<Vec<_>>(), [5, 6]);
    }

    #[test]
    fn no_path_has_a_nul() {
        let (entries, findings) = parse(b"/a\0b /p nullfs rw\n/a /p nullfs rw # \0\n");
        assert_eq!((entries.len(), findings.len(), findings[0].line), (1, 1, 1));
    }

    #[test]
    fn no_options_stay_none() {
        let (entries, _) = parse(b"/d /p/z nullfs\n");
        let written = format(&[entries[0].1.clone()]);
        assert_eq!((written.as_slice(), parse(&written).0), (&b"/d /p/z nullfs\n"[..], entries));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            source in "/[^\\x00]{0,20}",
            target in "/[^\\x00]{0,20}",
            options in proptest::collection::vec("[a-z=0-9]{1,6}", 1..4),
        ) {
            let entry = FstabEntry { source: source.into(), target: target.into(), kind: "nullfs".into(), options };
            let (read, findings) = parse(&format(std::slice::from_ref(&entry)));
            prop_assert!(findings.is_empty());
            prop_assert_eq!(read, vec![(1, entry)]);
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = parse(&text);
        }
    }
}
