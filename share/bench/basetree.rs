//! Builds the tree of a FreeBSD base from its mtree(5) specification, with
//! made-up contents: for the tests, the demonstration and the benchmarks.

use std::collections::HashSet;
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
        let linked = certificates == Certificates::Links && links.contains(path);
        if linked || (certificates == Certificates::Links && path == "etc/ssl/cert.pem") {
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
