//! Builds the tree of a FreeBSD base from its mtree(5) specification, with
//! made-up contents: for the tests, the demonstration and the benchmarks.

#[allow(dead_code, unused_imports)] // Each user of this file takes a part of it.
#[path = "archive.rs"]
mod archive;
#[allow(dead_code)]
#[path = "contents.rs"]
mod contents;

#[allow(unused_imports)]
pub use archive::{Hostile, Meta, Tar, compress, hostile, manifest, noise, small};
#[allow(unused_imports)]
pub use contents::content;

use std::collections::{HashMap, HashSet};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// How certificates lie in etc/ssl.
#[allow(dead_code)] // The benchmarks and the demonstration use one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// Links into usr/share/certs, as FreeBSD 13 and 14 ship them.
    Links,
    /// Regular files, as FreeBSD 15 ships them.
    Files,
}

const MTREE: &str = include_str!("../../tests/data/base-15.0.mtree");
const LINKS: &str = include_str!("../../tests/data/cert-links-14.tsv");
const MOVED: [&str; 6] = ["etc", "var", "root", "tmp", "home", "usr/local"];

/// The certificate links of FreeBSD 14: path below the root and text.
pub fn certificate_links() -> impl Iterator<Item = (&'static str, &'static str)> {
    LINKS.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once('\t'))
}

/// Where an entry of the base lies once the base is split.
fn place(base: &Path, skeleton: &Path, path: &str) -> PathBuf {
    let moved = MOVED.iter().any(|m| path == *m || path.strip_prefix(m).is_some_and(|r| r.starts_with('/')));
    if moved { skeleton.join(path) } else { base.join(path) }
}

/// Builds a base and its skeleton as they are once the moved directories are
/// split off and linked, before any link was repaired.
pub fn split(base: &Path, skeleton: &Path, certificates: Certificates) -> io::Result<()> {
    let links: HashSet<&str> = certificate_links().map(|(path, _)| path).collect();
    let mut modes = Vec::new();
    fs::create_dir_all(base)?;
    for moved in MOVED {
        fs::create_dir_all(skeleton.join(moved))?;
    }
    fs::create_dir_all(skeleton.join("docs"))?;
    for line in MTREE.lines().filter(|l| l.starts_with("./")) {
        let mut words = line.split(' ');
        let path = words.next().unwrap_or_default().trim_start_matches("./");
        let of = |key: &str| line.split(' ').find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
        if certificates == Certificates::Links && (links.contains(path) || path == "etc/ssl/cert.pem") {
            continue;
        }
        let target = place(base, skeleton, path);
        let mode = of("mode").and_then(|m| u32::from_str_radix(m, 8).ok()).unwrap_or(0o644);
        match of("type") {
            Some("dir") => {
                fs::create_dir_all(&target)?;
                modes.push((target, mode));
            }
            Some("link") => symlink(of("link").unwrap_or_default(), &target)?,
            _ => {
                fs::write(&target, format!("{path}\n"))?;
                fs::set_permissions(&target, Permissions::from_mode(mode))?;
            }
        }
    }
    if certificates == Certificates::Links {
        for (path, text) in certificate_links() {
            symlink(text, skeleton.join(path))?;
        }
    }
    // Directories last and deepest first: some may not be written to.
    for (directory, mode) in modes.into_iter().rev() {
        fs::set_permissions(directory, Permissions::from_mode(mode))?;
    }
    fs::create_dir_all(base.join("skeleton"))?;
    for moved in MOVED {
        let up = "../".repeat(moved.matches('/').count());
        let link = base.join(moved);
        if fs::symlink_metadata(&link).is_err() {
            symlink(format!("{up}skeleton/{moved}"), link)?;
        }
    }
    Ok(())
}

/// FreeBSD's numbers of the users and groups that own something in a base.
const USERS: &[(&str, u32)] = &[
    ("root", 0),
    ("daemon", 1),
    ("operator", 2),
    ("unbound", 59),
    ("uucp", 66),
    ("auditdistd", 78),
    ("ntpd", 123),
];
const GROUPS: &[(&str, u32)] = &[
    ("wheel", 0),
    ("daemon", 1),
    ("tty", 4),
    ("operator", 5),
    ("mail", 6),
    ("games", 13),
    ("unbound", 59),
    ("authpf", 63),
    ("dialer", 68),
    ("network", 69),
    ("audit", 77),
    ("ntpd", 123),
];

/// Files that are one file with another that comes before them.
const HARD_LINKS: &[(&str, &str)] = &[
    ("bin/test", "bin/["),
    ("bin/tcsh", "bin/csh"),
    ("bin/red", "bin/ed"),
    ("bin/ln", "bin/link"),
    ("bin/pkill", "bin/pgrep"),
    ("bin/unlink", "bin/rm"),
    ("usr/bin/fgrep", "usr/bin/egrep"),
    ("usr/bin/grep", "usr/bin/egrep"),
];

/// The same of FreeBSD 13 and 14 alone: later ones have links, or have one of the two no more.
const OLD_HARD_LINKS: &[(&str, &str)] = &[
    ("root/.cshrc", ".cshrc"),
    ("root/.profile", ".profile"),
    ("usr/bin/chpass", "usr/bin/chfn"),
    ("usr/bin/chsh", "usr/bin/chfn"),
];

/// Writes base.txz: a base before it is split, of that release.
#[allow(dead_code)] // The benchmarks have no use for it.
pub fn archive(file: &Path, certificates: Certificates, release: &str) -> io::Result<()> {
    let linked = certificates == Certificates::Links;
    let texts: HashMap<&str, &str> = certificate_links().collect();
    let mut hard: HashMap<&str, &str> = HARD_LINKS.iter().copied().collect();
    if linked {
        hard.extend(OLD_HARD_LINKS.iter().copied());
    }
    let mut tar = Tar::default();
    let untouched = |path: &str, mode| Meta { time: time(path), ..Meta::new(mode) };
    let meta = |line: &str| {
        let of = |key: &str| line.split(' ').find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
        let path = line.split(' ').next().unwrap_or_default();
        Meta {
            mode: of("mode").and_then(|m| u32::from_str_radix(m, 8).ok()).unwrap_or(0o644),
            user: USERS.iter().copied().find(|(name, _)| of("uname") == Some(name)).unwrap_or(("root", 0)),
            group: GROUPS.iter().copied().find(|(name, _)| of("gname") == Some(name)).unwrap_or(("wheel", 0)),
            time: time(path),
            flags: of("flags").map_or("", |flags| if flags == "schg" { "schg" } else { "" }),
        }
    };
    for line in MTREE.lines().filter(|l| l.starts_with('.')) {
        let of = |key: &str| line.split(' ').find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
        let name = line.split(' ').next().unwrap_or_default();
        let path = name.trim_start_matches("./");
        if linked && path == "etc/ssl/cert.pem" {
            continue;
        }
        let kind = of("type");
        match (kind, hard.get(path), texts.get(path).filter(|_| linked)) {
            (_, Some(first), _) => tar.hard_link(name, &format!("./{first}"), meta(line)),
            (_, _, Some(text)) => tar.link(name, text, Meta { mode: 0o755, ..meta(line) }),
            (Some("dir"), ..) => tar.directory(name, meta(line)),
            (Some("link"), ..) if !(linked && path == "usr/bin/chfn") => {
                tar.link(name, of("link").unwrap_or_default(), meta(line));
            }
            (Some("link"), ..) => {
                let mode = Meta { mode: 0o4555, flags: "schg", ..meta(line) };
                tar.file(name, b"usr/bin/chpass\n", mode);
            }
            _ => tar.file(name, &content(path, release), meta(line)),
        }
        if linked && path == "." {
            for name in [".cshrc", ".profile"] {
                tar.file(&format!("./{name}"), format!("{name}\n").as_bytes(), untouched(name, 0o644));
            }
        }
    }
    tar.finish(file)
}

/// A time for a file: not the same for all, but the same every time.
fn time(path: &str) -> u64 {
    let sum = path.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    1_731_000_000 - sum % 5_000_000
}
