//! A tree as text, by a walk that knows nothing of the library's: the oracle of
//! the tests of whole trees.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// One line an entry, by path below the top: kind, mode, owner, modification
/// time, and what it holds; names of one file carry the first of them. The time
/// of directories is left out with `Times::Files`.
pub fn listing(top: &Path, times: Times) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut first = HashMap::new();
    walk(top, Path::new(""), times, &mut first, &mut all);
    all
}

/// Whose modification times count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Everybody's.
    All,
    /// Not those of directories, which change with every entry.
    Files,
    /// Nobody's.
    None,
}

fn walk(
    top: &Path,
    below: &Path,
    times: Times,
    first: &mut HashMap<(u64, u64), PathBuf>,
    all: &mut BTreeMap<PathBuf, String>,
) {
    let mut names: Vec<_> = fs::read_dir(top.join(below)).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let path = below.join(name);
        let real = top.join(&path);
        let meta = fs::symlink_metadata(&real).unwrap();
        let kind = meta.file_type();
        let mut line = format!("{:o} {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid());
        if times == Times::All || times == Times::Files && !kind.is_dir() {
            line += &format!(" {}.{:09}", meta.mtime(), meta.mtime_nsec());
        }
        if kind.is_dir() {
            line = format!("dir {line}");
        } else if kind.is_symlink() {
            line = format!("link {line} -> {}", fs::read_link(&real).unwrap().display());
        } else if kind.is_file() {
            line = format!("file {line} {:?}", String::from_utf8_lossy(&fs::read(&real).unwrap()));
            if meta.nlink() > 1 {
                let known = first.entry((meta.dev(), meta.ino())).or_insert_with(|| path.clone());
                line += &format!(" = {}", known.display());
            }
        } else if kind.is_fifo() {
            line = format!("fifo {line}");
        } else {
            line = format!("special {line} {}", meta.rdev());
        }
        all.insert(path.clone(), line);
        if kind.is_dir() {
            walk(top, &path, times, first, all);
        }
    }
}
