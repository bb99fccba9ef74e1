//! Where configuration files come from, and the patterns of glob(3) in
//! `.include`.

use std::collections::BinaryHeap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// The files a configuration is read from.
pub trait Files {
    /// The bytes of a file.
    ///
    /// # Errors
    ///
    /// What reading it gives; the kind and the text reach the user.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The existing paths that match a pattern of glob(3), in the order of their
    /// bytes. None is no error.
    ///
    /// # Errors
    ///
    /// When the question cannot be answered at all. A directory that is missing
    /// or cannot be read just matches nothing, as with glob(3).
    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The files below an alternate root: `/etc/jail.conf` is read at
/// `ROOT/etc/jail.conf`, and so is `etc/jail.conf`.
///
/// `..` does not lead out of the root. Symbolic links are followed as the
/// system does, as with `pkg -r`: the root is an installation to look at, not a
/// fence against its owner.
#[derive(Clone, Debug)]
pub struct UnderRoot {
    /// The root; `/` for the running system.
    pub root: PathBuf,
}

impl UnderRoot {
    fn below(&self, path: &Path) -> PathBuf {
        let mut real = self.root.clone();
        let mut depth = 0usize;
        for component in path.components() {
            match component {
                Component::Normal(name) => {
                    depth += 1;
                    real.push(name);
                }
                Component::ParentDir if depth > 0 => {
                    depth -= 1;
                    real.push("..");
                }
                _ => {}
            }
        }
        real
    }

    fn names(&self, directory: &[u8]) -> Vec<OsString> {
        let directory = self.below(Path::new(OsStr::from_bytes(directory)));
        match fs::read_dir(directory) {
            // glob(3) without GLOB_ERR treats what it cannot read as empty.
            Err(_) => Vec::new(),
            Ok(entries) => entries.flatten().map(|entry| entry.file_name()).collect(),
        }
    }
}

impl Files for UnderRoot {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(self.below(path))
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found: Vec<Vec<u8>> = vec![Vec::new()];
        let (pattern, _) = compile(pattern.as_os_str().as_bytes());
        for segment in pattern.chunk_by(|a, b| a.is_slash() == b.is_slash()) {
            if let Some(text) = plain(segment) {
                for path in &mut found {
                    path.extend_from_slice(&text);
                }
                continue;
            }
            let mut longer = Vec::new();
            for path in &found {
                for name in self.names(path) {
                    if segment_matches(segment, name.as_bytes()) {
                        longer.push([path.as_slice(), name.as_bytes()].concat());
                    }
                }
            }
            found = longer;
        }
        // With a heap: a sort for slices costs kilobytes in each program.
        Ok(BinaryHeap::from(found)
            .into_sorted_vec()
            .into_iter()
            .map(|path| PathBuf::from(OsString::from_vec(path)))
            // As in glob(3), a link that leads nowhere exists.
            .filter(|path| fs::symlink_metadata(self.below(path)).is_ok())
            .collect())
    }
}

/// Whether a path matches a pattern of glob(3), segment by segment: for
/// implementations of [`Files`] that have a list of paths to choose from.
pub fn glob_match(pattern: &Path, path: &Path) -> bool {
    let (pattern, _) = compile(pattern.as_os_str().as_bytes());
    let mut segments = pattern.split(Token::is_slash);
    let mut names = path.as_os_str().as_bytes().split(|&b| b == b'/');
    loop {
        match (segments.next(), names.next()) {
            (None, None) => return true,
            (Some(segment), Some(name)) if segment_matches(segment, name) => {}
            _ => return false,
        }
    }
}

/// Whether jail(8) expands a name instead of just opening it: the GLOB_MAGCHAR
/// of glob(3). A bracket that is not closed and a backslash do not make a
/// pattern.
pub(super) fn is_pattern(name: &[u8]) -> bool {
    compile(name).1
}

/// One step of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`.
    One,
    /// `*`.
    Any,
    /// `[...]`: inclusive ranges, and whether they are the bytes not wanted.
    Set(Vec<(u8, u8)>, bool),
}

impl Token {
    fn is_slash(&self) -> bool {
        *self == Token::Byte(b'/')
    }
}

/// Translates a pattern, and says whether it is one. After glob0() in
/// lib/libc/gen/glob.c, in the C locale, which is the one jail(8) runs in.
fn compile(pattern: &[u8]) -> (Vec<Token>, bool) {
    let mut rest = Vec::new();
    let mut bytes = pattern.iter().copied();
    while let Some(b) = bytes.next() {
        // A byte behind a backslash is never special.
        let escaped = if b == b'\\' { bytes.next() } else { None };
        rest.push((escaped.unwrap_or(b), b == b'\\'));
    }
    let mut tokens = Vec::new();
    let mut magic = false;
    let mut at = 0;
    // Where one bracket is not closed, none behind it is; looking for its end
    // again and again would take the square of their number.
    let mut closed = true;
    while let Some(&(b, escaped)) = rest.get(at) {
        at += 1;
        let token = match b {
            b'*' if !escaped => Token::Any,
            b'?' if !escaped => Token::One,
            b'[' if !escaped && closed => match set(rest.get(at..).unwrap_or_default()) {
                Some((token, length)) => {
                    at += length;
                    token
                }
                None => {
                    closed = false;
                    Token::Byte(b)
                }
            },
            _ => Token::Byte(b),
        };
        magic |= !matches!(token, Token::Byte(_));
        tokens.push(token);
    }
    (tokens, magic)
}

/// A bracket expression behind its `[`, and its length; `None` if it is not
/// closed. The first byte is taken as it is, even if it is `]`.
fn set(source: &[(u8, bool)]) -> Option<(Token, usize)> {
    let negated = source.first() == Some(&(b'!', false));
    let mut at = usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        let &low = source.get(at)?;
        if low == (b']', false) && !ranges.is_empty() {
            return Some((Token::Set(ranges, negated), at + 1));
        }
        match (source.get(at + 1), source.get(at + 2)) {
            (Some((b'-', false)), Some(&high)) if high != (b']', false) => {
                ranges.push((low.0, high.0));
                at += 3;
            }
            _ => {
                ranges.push((low.0, low.0));
                at += 1;
            }
        }
    }
}

/// The text of a segment without wildcards.
fn plain(segment: &[Token]) -> Option<Vec<u8>> {
    let bytes = segment.iter().map(|token| match token {
        Token::Byte(b) => Some(*b),
        _ => None,
    });
    bytes.collect()
}

/// Whether a name matches one segment of a pattern. Only a dot matches a dot at
/// the start.
fn segment_matches(segment: &[Token], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && segment.first() != Some(&Token::Byte(b'.')) {
        return false;
    }
    let (mut token, mut byte) = (0, 0);
    // Where to continue when the latest star has to take one byte more. An earlier
    // star never needs to: what it could gain, the later one can too.
    let mut retry = None;
    loop {
        let fits = match (segment.get(token), name.get(byte)) {
            (None, None) => return true,
            (Some(Token::Any), _) => {
                retry = Some((token, byte));
                token += 1;
                continue;
            }
            (Some(Token::One), Some(_)) => true,
            (Some(Token::Byte(want)), Some(b)) => want == b,
            (Some(Token::Set(ranges, negated)), Some(b)) => {
                ranges.iter().any(|(low, high)| low <= b && b <= high) != *negated
            }
            _ => false,
        };
        if fits {
            token += 1;
            byte += 1;
            continue;
        }
        match retry {
            Some((star, taken)) if taken < name.len() => {
                retry = Some((star, taken + 1));
                token = star + 1;
                byte = taken + 1;
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        glob_match(Path::new(pattern), Path::new(path))
    }

    #[test]
    fn patterns_match_as_in_glob() {
        for (pattern, path, expected) in [
            ("/etc/*.conf", "/etc/a.conf", true),
            ("/etc/*.conf", "/etc/.a.conf", false),
            ("/etc/.*.conf", "/etc/.a.conf", true),
            ("/etc/*.conf", "/etc/d/a.conf", false),
            ("/etc/*/a.conf", "/etc/d/a.conf", true),
            ("jail[.]conf", "jail.conf", true),
            ("[.]a", ".a", false),
            ("?a", ".a", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "axbxbx", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "dx", true),
            ("[]a]", "]", true),
            ("[]-a]", "^", true),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            ("[]x[a", "[]x[a", true),
            ("[a]b[c", "ab[c", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[\\]]", "]", true),
            ("**", "", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_makes_a_pattern() {
        for (name, expected) in [
            ("a.conf", false),
            ("a[.]conf", true),
            ("a[.conf", false),
            ("a[]conf", false),
            ("a[!]conf", false),
            ("a\\*", false),
            ("a?", true),
            ("{a,b}", false),
            ("~a", false),
        ] {
            assert_eq!(is_pattern(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn under_root_stays_there() {
        let root = tempfile::tempdir().unwrap();
        let files = UnderRoot { root: root.path().to_owned() };
        fs::create_dir_all(root.path().join("etc/d")).unwrap();
        for name in ["b.conf", "a.conf", ".c.conf", "a.txt"] {
            fs::write(root.path().join("etc/d").join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", root.path().join("etc/d/z.conf")).unwrap();
        assert_eq!(
            files.glob(Path::new("/etc/d/*.conf")).unwrap(),
            ["/etc/d/a.conf", "/etc/d/b.conf", "/etc/d/z.conf"].map(PathBuf::from)
        );
        assert_eq!(
            files.glob(Path::new("/e*//d/[a]*")).unwrap(),
            ["/etc//d/a.conf", "/etc//d/a.txt"].map(PathBuf::from)
        );
        assert!(files.glob(Path::new("/none/*")).unwrap().is_empty());
        assert!(files.glob(Path::new("/etc/d/a.conf/*")).unwrap().is_empty());
        assert_eq!(files.read(Path::new("../../etc/d/../d/a.conf")).unwrap(), b"a.conf");
    }
}
