//! The archive of a base: its checksum, and what it would unpack.
//!
//! An archive is judged by what tar(1) itself lists of it, so that no second
//! reader can understand it differently, and before anything is unpacked.

use crate::formats::manifest;
use crate::system::progress::Progress;
use crate::system::tool::{Stream, Tool, Tools};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

/// More than any base unpacks to, debug symbols included: a header that
/// declares more is made to fill the disk.
const LARGEST: u64 = 4 << 30;

/// PATH_MAX (freebsd-src: sys/sys/syslimits.h): no base has a longer name, and
/// of one that is nothing but levels all of them would be noted.
const LONGEST: usize = 1024;

/// The SHA-256 of a file.
pub fn checksum(path: &Path, progress: &mut Progress) -> Result<[u8; 32]> {
    let mut file = fs_err::File::open(path)?;
    let size = file.metadata()?.len();
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut done = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        done += n as u64;
        progress.report(done, size);
    }
    Ok(hasher.finalize().into())
}

/// Fails unless a file has the checksum that the MANIFEST gives its set.
pub fn check_sum(path: &Path, set: &manifest::Set, progress: &mut Progress) -> Result<()> {
    let sum = checksum(path, progress)?;
    if sum != set.sha256 {
        bail!(
            "{}: wrong checksum: SHA-256 {}, but the MANIFEST has {}",
            path.display(),
            manifest::to_hex(&sum),
            manifest::to_hex(&set.sha256)
        );
    }
    Ok(())
}

/// What an archive holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveListing {
    /// Entries of all kinds.
    pub entries: u64,
    /// Bytes of all regular files.
    pub bytes: u64,
}

/// Has tar(1) list an archive, and fails if unpacking it could touch anything
/// outside the directory that it is unpacked into, or fill the disk. `expected`
/// is the number of entries by the MANIFEST, for the progress.
pub fn check(tools: &Tools, path: &Path, expected: u64, progress: &mut Progress) -> Result<ArchiveListing> {
    let mut listing = Listing::default();
    let mut flaw = None;
    let arguments = ["-tvf".as_ref(), path.as_os_str()];
    let listed = tools.follow(Tool::Tar, &arguments, Stream::Stdout, &mut |line| {
        if flaw.is_none() {
            flaw = listing.line(line).err();
        }
        progress.report(listing.contents.entries, expected);
    });
    let contents = match (flaw, listed) {
        (Some(flaw), _) => Err(flaw),
        (None, Err(e)) => return Err(e.into()),
        (None, Ok(())) => listing.finish(),
    };
    contents.with_context(|| format!("{}: refused", path.display()))
}

/// A listing of `tar -tvf`, as far as it was read. Names are compared as tar(1)
/// writes them; `/` is never escaped.
#[derive(Default)]
pub struct Listing {
    contents: ArchiveListing,
    links: HashSet<String>,
    /// Names that something is unpacked below, or linked to.
    through: HashSet<String>,
}

/// One line of a listing.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    kind: u8,
    size: u64,
    name: &'a str,
    target: Option<&'a str>,
}

/// Reads `perm nlink user group size month day time name`, with the target of
/// a link after the name (freebsd-src: contrib/libarchive/tar/util.c,
/// list_item_verbose).
fn read(line: &str) -> Result<Line<'_>> {
    let mut rest = line;
    let mut words = [""; 8];
    for word in &mut words {
        rest = rest.trim_start_matches(' ');
        let end = rest.find(' ').with_context(|| format!("unexpected output of tar: \"{line}\""))?;
        (*word, rest) = rest.split_at(end);
    }
    // One blank, then the name, which may begin with more of them.
    let name = &rest[1..];
    let kind = words[0].as_bytes()[0];
    let separator = match kind {
        b'l' => Some(" -> "),
        b'h' => Some(" link to "),
        _ => None,
    };
    let (name, target) = match separator {
        None => (name, None),
        Some(separator) => {
            let mut parts = name.split(separator);
            match (parts.next(), parts.next(), parts.next()) {
                (Some(name), Some(target), None) => (name, Some(target)),
                _ => bail!("a link with ambiguous names: \"{name}\""),
            }
        }
    };
    // A device has numbers there.
    let size = if matches!(kind, b'b' | b'c') { Some(0) } else { words[4].parse().ok() };
    let size = size.with_context(|| format!("unexpected output of tar: \"{line}\""))?;
    Ok(Line { kind, size, name, target })
}

/// The components of a name below the top; fails for one that leaves it.
fn components<'a>(what: &str, name: &'a str) -> Result<Vec<&'a str>> {
    if name.len() > LONGEST {
        bail!("{what} of {} bytes: no base has a name longer than {LONGEST}", name.len());
    }
    if name.is_empty() || name.starts_with('/') {
        bail!("{what} \"{name}\" is not below the top of the tree");
    }
    let parts: Vec<&str> = name.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.contains(&"..") {
        bail!("{what} \"{name}\" leads out of the tree");
    }
    Ok(parts)
}

impl Listing {
    /// Takes the next line; fails for an entry that no base has.
    pub fn line(&mut self, line: &[u8]) -> Result<()> {
        let line = std::str::from_utf8(line).context("output of tar is not UTF-8")?;
        let Line { kind, size, name, target } = read(line)?;
        self.contents.entries += 1;
        self.contents.bytes = self.contents.bytes.saturating_add(size);
        if self.contents.bytes > LARGEST {
            bail!("{name} makes it unpack to more than {} GB: no base is that large", LARGEST >> 30);
        }
        let parts = components("entry", name)?;
        self.pass_through(&parts);
        match (kind, target) {
            (b'-' | b'd', None) => {}
            (b'h', Some(target)) => {
                let target = components(&format!("{name}: hard link to"), target)?;
                self.pass_through(&target);
            }
            (b'l', Some(text)) => {
                check_link(name, &parts, text)?;
                self.links.insert(parts.join("/"));
            }
            (b'b' | b'c', None) => bail!("{name}: a device, which no base holds"),
            _ => bail!("{name}: neither file, directory nor link, which no base holds"),
        }
        Ok(())
    }

    /// Notes the directories on the way to a name.
    fn pass_through(&mut self, parts: &[&str]) {
        for length in 1..parts.len() {
            let way = parts[..length].join("/");
            if !self.through.contains(&way) {
                self.through.insert(way);
            }
        }
    }

    /// The end of the listing; fails for what only the whole of it shows.
    pub fn finish(self) -> Result<ArchiveListing> {
        // In whatever order they come: a link may be unpacked over a directory.
        if let Some(link) = self.links.iter().filter(|l| self.through.contains(*l)).min() {
            bail!("an entry leads through the symbolic link {link}");
        }
        if self.contents.entries == 0 {
            bail!("it is empty");
        }
        Ok(self.contents)
    }
}

/// A relative link must not climb above the top. An absolute one is harmless:
/// base has such (etc/termcap), and nothing is unpacked through a link.
fn check_link(name: &str, parts: &[&str], text: &str) -> Result<()> {
    if text.starts_with('/') {
        return Ok(());
    }
    let mut depth = parts.len().saturating_sub(1);
    for part in text.split('/').filter(|p| !p.is_empty() && *p != ".") {
        if part == ".." {
            match depth.checked_sub(1) {
                Some(up) => depth = up,
                None => bail!("{name}: symbolic link to {text}, outside of the tree"),
            }
        } else {
            depth += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judge(listing: &str) -> Result<ArchiveListing> {
        let mut all = Listing::default();
        listing.lines().try_for_each(|l| all.line(l.as_bytes()))?;
        all.finish()
    }

    #[test]
    fn lines_of_tar() {
        let file = read("-rw-r--r--  0 root   wheel     224 Nov 23 14:02  a b").unwrap();
        assert_eq!((file.kind, file.size, file.name, file.target), (b'-', 224, " a b", None));
        let link = read("lrwxr-xr-x  0 root   wheel       0 Nov 23  2024 etc/termcap -> /usr/x").unwrap();
        assert_eq!((link.kind, link.name, link.target), (b'l', "etc/termcap", Some("/usr/x")));
        let hard = read("hrw-r--r--  0 root   wheel       0 Nov 23 14:02 d/h link to d/a b").unwrap();
        assert_eq!((hard.kind, hard.name, hard.target), (b'h', "d/h", Some("d/a b")));
        let device = read("crw-------  0 root   wheel  1,3 Nov 23 14:02 dev/null").unwrap();
        assert_eq!((device.kind, device.size), (b'c', 0));
        assert!(read("lrwxr-xr-x  0 r w 0 Nov 23  2024 a -> b -> c").is_err());
        for odd in ["", "drwx", "-rw-r--r--  0 root wheel many Nov 23 14:02 x", "    "] {
            assert!(read(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn a_base_passes() {
        let listing = "\
drwxr-xr-x  0 root   wheel       0 Nov 23 14:02 ./
drwxr-xr-x  0 root   wheel       0 Nov 23 14:02 ./etc/
lrwxr-xr-x  0 root   wheel       0 Nov 23 14:02 ./etc/termcap -> /usr/share/misc/termcap
lrwxr-xr-x  0 root   wheel       0 Nov 23 14:02 ./etc/rmt -> ../usr/sbin/rmt
-rw-r--r--  0 root   wheel     100 Nov 23 14:02 ./root/.profile
hrw-r--r--  0 root   wheel       0 Nov 23 14:02 ./.profile link to ./root/.profile
lrwxr-xr-x  0 root   wheel       0 Nov 23 14:02 ./sys -> usr/src/sys
";
        assert_eq!(judge(listing).unwrap(), ArchiveListing { entries: 7, bytes: 100 });
    }

    #[test]
    fn hostile_archives() {
        for (listing, expected) in [
            ("-rw-r--r-- 0 r w 1 Nov 23 14:02 ../x", "entry \"../x\" leads out of the tree"),
            ("-rw-r--r-- 0 r w 1 Nov 23 14:02 a/../../x", "entry \"a/../../x\" leads out of the tree"),
            ("-rw-r--r-- 0 r w 1 Nov 23 14:02 /etc/x", "entry \"/etc/x\" is not below the top"),
            (
                "hrw-r--r-- 0 r w 0 Nov 23 14:02 x link to /etc/passwd",
                "x: hard link to \"/etc/passwd\" is not",
            ),
            ("hrw-r--r-- 0 r w 0 Nov 23 14:02 x link to ../y", "x: hard link to \"../y\" leads out"),
            (
                "lrwxr-xr-x 0 r w 0 Nov 23 14:02 a/b -> ../../c",
                "a/b: symbolic link to ../../c, outside of the tree",
            ),
            (
                "lrwxr-xr-x 0 r w 0 Nov 23 14:02 d -> /tmp\n-rw-r--r-- 0 r w 1 Nov 23 14:02 d/x",
                "an entry leads through the symbolic link d",
            ),
            (
                "-rw-r--r-- 0 r w 1 Nov 23 14:02 ./d/x\nlrwxr-xr-x 0 r w 0 Nov 23 14:02 d -> /tmp",
                "an entry leads through the symbolic link d",
            ),
            (
                "lrwxr-xr-x 0 r w 0 Nov 23 14:02 d -> /etc\nhrw-r--r-- 0 r w 0 Nov 23 14:02 x link to d/passwd",
                "an entry leads through the symbolic link d",
            ),
            ("crw------- 0 r w 1,3 Nov 23 14:02 null", "null: a device"),
            ("prw------- 0 r w 0 Nov 23 14:02 p", "p: neither file, directory nor link"),
            ("-rw-r--r-- 0 r w 10737418240 Nov 23 14:02 big", "big makes it unpack to more than 4 GB"),
            (
                &format!("-rw-r--r-- 0 r w 1 Nov 23 14:02 {}", "a/".repeat(513)),
                "entry of 1026 bytes: no base",
            ),
            ("", "it is empty"),
        ] {
            let message = judge(listing).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message:?}, not {expected:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_too_much(line in "[-dlhbc]?\\PC*") {
            let _ = judge(&line);
        }

        /// An entry that passes stays below the top, however it is spelled.
        #[test]
        fn what_passes_stays_inside(name in "(\\.|\\.\\.|a|/|b/)*") {
            let mut at: Vec<&str> = Vec::new();
            let mut inside = !name.is_empty() && !name.starts_with('/');
            for part in name.split('/') {
                match part {
                    ".." => inside &= at.pop().is_some(),
                    "" | "." => {}
                    _ => at.push(part),
                }
            }
            if components("entry", &name).is_ok() {
                prop_assert!(inside);
            }
        }
    }
}
