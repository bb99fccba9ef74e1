//! A further mount of a jail, as `-m` gives it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use thiserror::Error;

/// A further mount as `-m` gives it: `source:target[:options]`. A colon or a
/// backslash within a part is written with a backslash in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraMount {
    /// What is mounted: a path of the host, or a word for types that want one.
    pub source: PathBuf,
    /// Where the jail is to see it.
    pub target: PathBuf,
    /// The file system type, nullfs unless `type=` says another.
    pub kind: String,
    /// The options, `ro` or `rw` first.
    pub options: Vec<String>,
}

/// Why a string is no [`ExtraMount`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadMount(String);

impl FromStr for ExtraMount {
    type Err = BadMount;

    fn from_str(s: &str) -> Result<Self, BadMount> {
        ExtraMount::parse(OsStr::new(s))
    }
}

impl ExtraMount {
    /// Reads the argument of `-m`, whose paths may be any bytes.
    pub fn parse(argument: &OsStr) -> Result<ExtraMount, BadMount> {
        let bad = |why: &str| Err(BadMount(why.to_owned()));
        let mut parts = vec![Vec::new()];
        let mut bytes = argument.as_bytes().iter().copied();
        while let Some(b) = bytes.next() {
            match b {
                b'\\' => match bytes.next() {
                    Some(b @ (b':' | b'\\')) => parts.last_mut().map(|p| p.push(b)).unwrap_or_default(),
                    _ => return bad("a backslash must precede a colon or a backslash"),
                },
                b':' => parts.push(Vec::new()),
                b => parts.last_mut().map(|p| p.push(b)).unwrap_or_default(),
            }
        }
        let mut parts = parts.into_iter();
        let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
            return bad("a mount is written source:target[:options]");
        };
        let options = parts.next().unwrap_or_default();
        if parts.next().is_some() {
            return bad("a mount has three parts at most; a colon in a path is written \\:");
        }
        let Ok(options) = String::from_utf8(options) else { return bad("the options are not UTF-8") };
        let mut kind = String::from("nullfs");
        let mut access = None;
        let mut rest = Vec::new();
        for option in options.split(',').filter(|o| !o.is_empty()) {
            let plain = option.bytes().all(|b| b.is_ascii_graphic() && !b"#\\\"'".contains(&b));
            match option.split_once('=') {
                _ if !plain => return bad("an option has no blanks, quotes, # or backslash"),
                Some(("type", name))
                    if name.bytes().all(|b| b.is_ascii_alphanumeric()) && !name.is_empty() =>
                {
                    kind = name.to_owned();
                }
                Some(("type", _)) => return bad("type= names a file system, such as nullfs or tmpfs"),
                None if option == "ro" || option == "rw" => {
                    if access.is_some_and(|a| a != option) {
                        return bad("both ro and rw");
                    }
                    access = Some(option);
                }
                _ => rest.push(option.to_owned()),
            }
        }
        let mut all = vec![access.unwrap_or("rw").to_owned()];
        all.append(&mut rest);
        let (source, target) =
            (PathBuf::from(OsString::from_vec(source)), PathBuf::from(OsString::from_vec(target)));
        if source.as_os_str().is_empty() || kind == "nullfs" && !is_plain(&source) {
            return bad("the source is an absolute path without . and ..");
        }
        if !is_plain(&target) {
            return bad("the target is an absolute path in the jail without . and ..");
        }
        Ok(ExtraMount { source, target, kind, options: all })
    }
}

/// Absolute, without `.`, `..` and empty parts.
fn is_plain(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let rest = match bytes.strip_prefix(b"/") {
        Some(rest) => rest.strip_suffix(b"/").unwrap_or(rest),
        None => return false,
    };
    rest.is_empty() || rest.split(|b| *b == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extras() {
        let of = |s: &str| s.parse::<ExtraMount>().map(|e| (e.source, e.target, e.kind, e.options.join(",")));
        let p = PathBuf::from;
        assert_eq!(of("/a:/b").unwrap(), (p("/a"), p("/b"), "nullfs".into(), "rw".into()));
        assert_eq!(of("/a:/b:noatime,ro").unwrap(), (p("/a"), p("/b"), "nullfs".into(), "ro,noatime".into()));
        assert_eq!(
            of("tmpfs:/tmp/x:type=tmpfs,size=1g").unwrap(),
            (p("tmpfs"), p("/tmp/x"), "tmpfs".into(), "rw,size=1g".into())
        );
        assert_eq!(of(r"/a\:b:/c\\d").unwrap().0, p("/a:b"));
        for bad in [
            "",
            "/a",
            "a:/b",
            "/a:b",
            "/a:/b:ro,rw",
            "/a:/b:ro:x",
            r"/a:/b\c",
            "/a:/b/../c",
            "/a/../b:/c",
            "/a:/b:type=",
            "/a:/b:x y",
            "/a://b",
            ":/b",
            "/a:",
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
