//! File trees: faithful copies, removal, and what changed between two states.
//!
//! zfs diff compares **objects**, not paths: a file replaced by rename comes out as a `-` and a `+` line of the same
//! path, a moved one as a single `R` line, and below a moved directory nothing is listed at all. So every file gets an
//! object number that snapshots and clones carry on, and a stamp that changes when the file does. The kernel's inode
//! number and birth time tell whether a path still leads to the same file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, DirBuilder, File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};
use serde_json::{Value, json};

/// The directory through which snapshots show, if `snapdir` is `visible`. It is no part of the tree.
pub const CONTROL: &str = ".zfs";

/// Mountpoints of other datasets, which a walk does not enter.
pub type Mounts = BTreeSet<PathBuf>;

/// What is known of one file at one time.
#[derive(Clone)]
pub struct Node {
    pub object: u64,
    pub stamp: u64,
    kind: char,
    links: u64,
    /// Bytes of content, for the space figures.
    size: u64,
}

/// All files of a dataset at one time, by path below its root. The root itself has the empty path.
pub type Manifest = BTreeMap<Vec<u8>, Node>;

/// The object number, the stamp and the outward signs of a live file, by inode and birth time.
pub type Known = HashMap<String, (u64, u64, String)>;

/// One line of zfs diff.
pub struct Change {
    /// `-`, `+`, `M` or `R`.
    pub sign: char,
    /// What it is, as `-F` prints it.
    pub kind: char,
    /// The path, and after a rename the new one.
    pub path: Vec<u8>,
    pub renamed: Option<Vec<u8>>,
    /// By how many the number of hard links changed.
    pub links: i64,
}

/// Copies what is in one directory to a new one: modes, owners as far as allowed, times, links of both sorts, special
/// files. A mountpoint comes out as the empty directory it is in the file system below.
pub fn copy(from: &Path, to: &Path, mounts: &Mounts) -> Result<()> {
    let mut linked = HashMap::new();
    copy_one(from, to, true, mounts, &mut linked)
        .with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

fn copy_one(
    from: &Path,
    to: &Path,
    top: bool,
    mounts: &Mounts,
    linked: &mut HashMap<u64, PathBuf>,
) -> Result<()> {
    let meta = fs::symlink_metadata(from).with_context(|| from.display().to_string())?;
    let kind = meta.file_type();
    if !kind.is_dir() && meta.nlink() > 1 {
        if let Some(first) = linked.get(&meta.ino()) {
            return fs::hard_link(first, to).with_context(|| to.display().to_string());
        }
        linked.insert(meta.ino(), to.to_owned());
    }
    let made: Result<()> = if kind.is_dir() {
        // Writable for now, whatever the original says: an unprivileged test has to fill it.
        DirBuilder::new().mode(0o700).create(to)?;
        let covered = !top && mounts.contains(from);
        let names = if covered { Vec::new() } else { names(from)? };
        names
            .iter()
            .filter(|name| !(top && *name == CONTROL))
            .try_for_each(|name| copy_one(&from.join(name), &to.join(name), false, mounts, linked))
    } else if kind.is_symlink() {
        symlink(fs::read_link(from)?, to).map_err(Into::into)
    } else if kind.is_file() {
        // Writable for now as well: attributes are written like contents.
        fs::copy(from, to)
            .and_then(|_| fs::set_permissions(to, Permissions::from_mode(0o600)))
            .map_err(Into::into)
    } else {
        // The type of a mode differs between systems; it has 16 bits in all.
        let mode = (meta.mode() & 0xffff) as _;
        let kind = FileType::from_raw_mode(mode);
        mknodat(CWD, to, kind, Mode::from_raw_mode(mode), meta.rdev()).map_err(Into::into)
    };
    made.with_context(|| from.display().to_string())?;
    attributes(from, to).with_context(|| to.display().to_string())?;
    dress(to, &meta).with_context(|| to.display().to_string())
}

/// Gives a copy the extended attributes of users, which here are file flags.
#[cfg(target_os = "linux")]
fn attributes(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
    let mut names = vec![0; 4096];
    // Not every file system has them.
    let Ok(length) = llistxattr(from, &mut names[..]) else { return Ok(()) };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.")) {
        let mut value = vec![0; 4096];
        let length = lgetxattr(from, name, &mut value[..])?;
        lsetxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

/// Elsewhere there are none.
#[cfg(not(target_os = "linux"))]
fn attributes(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

/// Gives a copy the owner, mode and times of the original.
fn dress(path: &Path, meta: &Metadata) -> io::Result<()> {
    match lchown(path, Some(meta.uid()), Some(meta.gid())) {
        // Only root can give files away; the copy is then the caller's own, as everything else there.
        Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {}
        other => other?,
    }
    if !meta.file_type().is_symlink() {
        // After the owner: a change of owner clears the set-id bits.
        fs::set_permissions(path, Permissions::from_mode(meta.mode() & 0o7777))?;
    }
    let times = Timestamps {
        last_access: timespec(meta.atime(), meta.atime_nsec()),
        last_modification: timespec(meta.mtime(), meta.mtime_nsec()),
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn timespec(seconds: i64, nanoseconds: i64) -> Timespec {
    Timespec { tv_sec: seconds, tv_nsec: nanoseconds }
}

/// The names in a directory, sorted, so that every run does the same.
fn names(dir: &Path) -> Result<Vec<std::ffi::OsString>> {
    let mut names = fs::read_dir(dir)
        .and_then(|list| {
            list.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
        })
        .with_context(|| dir.display().to_string())?;
    names.sort();
    Ok(names)
}

/// Removes a tree, directories without write permission included. An absent one is fine.
pub fn remove(path: &Path) -> Result<()> {
    fn inner(path: &Path) -> io::Result<()> {
        if !fs::symlink_metadata(path)?.is_dir() {
            return fs::remove_file(path);
        }
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(path)? {
            inner(&entry?.path())?;
        }
        fs::remove_dir(path)
    }
    match inner(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(cause).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Does something in a directory that changes its modification time, and puts the old time back: the real thing
/// happens above the file system, where the directory sees nothing of it.
pub fn unseen<T>(dir: &Path, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = fs::metadata(dir).and_then(|meta| meta.modified());
    let done = act()?;
    if let Ok(before) = before {
        File::open(dir)
            .and_then(|file| file.set_times(FileTimes::new().set_modified(before)))
            .with_context(|| format!("set the time of {}", dir.display()))?;
    }
    Ok(done)
}

/// Walks a live tree and says what is there, and how to know it again. Files already in `known` keep their object
/// number, and their stamp if nothing about them changed; `next` gives out new numbers.
pub fn survey(root: &Path, mounts: &Mounts, known: &Known, next: &mut u64) -> Result<(Manifest, Known)> {
    let mut found = Manifest::new();
    let mut seen = Known::new();
    let mut todo = vec![(root.to_owned(), Vec::new())];
    while let Some((path, inside)) = todo.pop() {
        let meta = fs::symlink_metadata(&path).with_context(|| path.display().to_string())?;
        let kind = meta.file_type();
        let mount = !inside.is_empty() && mounts.contains(&path);
        // What is mounted on a directory hides it; it cannot change meanwhile.
        let (identity, signs) = if mount {
            (format!("mount {}", latin(&inside)), "mountpoint".to_string())
        } else {
            (identity(&meta), signs(&path, &meta))
        };
        let (object, stamp) = match seen.get(&identity).or_else(|| known.get(&identity)) {
            // Another link to a file met before in this walk, or a file that was not touched.
            Some((object, stamp, old)) if *old == signs => (*object, *stamp),
            Some((object, ..)) => (*object, fresh(next)),
            None => (fresh(next), fresh(next)),
        };
        seen.insert(identity, (object, stamp, signs));
        if kind.is_dir() && !mount {
            for name in names(&path)? {
                if inside.is_empty() && name == CONTROL {
                    continue;
                }
                let mut below = inside.clone();
                if !below.is_empty() {
                    below.push(b'/');
                }
                below.extend_from_slice(name.as_bytes());
                todo.push((path.join(&name), below));
            }
        }
        let node = Node {
            object,
            stamp,
            kind: letter(&meta),
            links: meta.nlink(),
            size: if kind.is_dir() { 0 } else { meta.len() },
        };
        found.insert(inside, node);
    }
    Ok((found, seen))
}

/// Ties the files of a fresh copy to the object numbers and stamps of what they are copies of.
pub fn adopt(root: &Path, origin: &Manifest) -> Result<Known> {
    let mut known = Known::new();
    for (inside, node) in origin {
        let path = root.join(std::ffi::OsStr::from_bytes(inside));
        let meta = fs::symlink_metadata(&path).with_context(|| path.display().to_string())?;
        known.insert(identity(&meta), (node.object, node.stamp, signs(&path, &meta)));
    }
    Ok(known)
}

/// Waits until the file system's clock has gone on since the newest change below `root`, which takes a few
/// milliseconds at most. A change that comes right after a snapshot would else bear the same time as the state in it,
/// and go unnoticed.
pub fn settle(root: &Path, probe: &Path) -> Result<()> {
    let mut newest = (0, 0);
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).with_context(|| path.display().to_string())?;
        newest = newest.max((meta.ctime(), meta.ctime_nsec()));
        if meta.is_dir() {
            todo.extend(names(&path)?.iter().map(|name| path.join(name)));
        }
    }
    loop {
        fs::write(probe, "").context("write the clock probe")?;
        let meta = fs::metadata(probe).context("read the clock probe")?;
        if (meta.ctime(), meta.ctime_nsec()) > newest {
            return Ok(());
        }
        std::thread::yield_now();
    }
}

/// The next number.
fn fresh(next: &mut u64) -> u64 {
    *next += 1;
    *next
}

/// What makes a file the same file. The inode number alone does not: Linux gives it out again at once.
fn identity(meta: &Metadata) -> String {
    let born = meta
        .created()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |age| age.as_nanos());
    format!("{}:{born}", meta.ino())
}

/// What shows that a file was changed. Not the change time of directories, since moving a dataset in and out of its
/// mountpoint, which no one is to notice, sets it.
fn signs(path: &Path, meta: &Metadata) -> String {
    let (uid, gid, mode) = (meta.uid(), meta.gid(), meta.mode());
    let written = format!("{}.{:09}", meta.mtime(), meta.mtime_nsec());
    if meta.is_dir() {
        return format!("{mode:o} {uid} {gid} {written}");
    }
    let target = fs::read_link(path).unwrap_or_default();
    format!(
        "{mode:o} {uid} {gid} {written} {}.{:09} {} {} {}",
        meta.ctime(),
        meta.ctime_nsec(),
        meta.len(),
        meta.nlink(),
        latin(target.as_os_str().as_bytes())
    )
}

/// The letter of `zfs diff -F`.
fn letter(meta: &Metadata) -> char {
    let kind = meta.file_type();
    match () {
        () if kind.is_dir() => '/',
        () if kind.is_symlink() => '@',
        () if kind.is_fifo() => '|',
        () if kind.is_socket() => '=',
        () if kind.is_block_device() => 'B',
        () if kind.is_char_device() => 'C',
        () => 'F',
    }
}

/// Compares two states, as libzfs_diff.c does.
pub fn diff(from: &Manifest, to: &Manifest) -> Vec<Change> {
    let old = by_object(from);
    let new = by_object(to);
    let mut changes = Vec::new();
    let objects: BTreeSet<u64> = old.keys().chain(new.keys()).copied().collect();
    for object in objects {
        let line = |sign, kind, path: &[u8], renamed: Option<&[u8]>, links| Change {
            sign,
            kind,
            path: path.to_vec(),
            renamed: renamed.map(<[u8]>::to_vec),
            links,
        };
        match (old.get(&object), new.get(&object)) {
            (Some(was), None) => {
                changes.push(line('-', from[was[0]].kind, was[0], None, 0));
            }
            (None, Some(is)) => {
                changes.push(line('+', to[is[0]].kind, is[0], None, 0));
            }
            (Some(was), Some(is)) => {
                // Of several hard links prefer one that is in both states.
                let (was, is) =
                    was.iter().find(|path| is.contains(path)).map_or((was[0], is[0]), |path| (*path, *path));
                let (before, after) = (&from[was], &to[is]);
                let directory = after.kind == '/';
                let moved = directory && place(from, was) != place(to, is);
                if before.stamp == after.stamp && !moved {
                    continue;
                }
                let links = if directory { 0 } else { after.links as i64 - before.links as i64 };
                let renamed = (links == 0 && was != is).then_some(is);
                let sign = if renamed.is_some() { 'R' } else { 'M' };
                let path = if links < 0 { is } else { was };
                changes.push(line(sign, after.kind, path, renamed, links));
            }
            (None, None) => {}
        }
    }
    // The real order is that of object numbers on disk, which tells a reader nothing. By last component is as
    // useless, but the same in every run.
    changes.sort_by(|a, b| {
        let key = |change: &Change| {
            let last = change.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            (last.to_vec(), change.path.clone(), change.sign != '-')
        };
        key(a).cmp(&key(b))
    });
    changes
}

/// The paths of every object.
fn by_object(manifest: &Manifest) -> BTreeMap<u64, Vec<&[u8]>> {
    let mut objects: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
    for (path, node) in manifest {
        objects.entry(node.object).or_default().push(path);
    }
    objects
}

/// Where a directory stands: the object of its parent, and its name there.
fn place<'a>(manifest: &Manifest, path: &'a [u8]) -> (u64, &'a [u8]) {
    let cut = path.iter().rposition(|byte| *byte == b'/');
    let (parent, name) = match cut {
        Some(cut) => (&path[..cut], &path[cut + 1..]),
        None => (&path[..0], path),
    };
    (manifest.get(parent).map_or(0, |node| node.object), name)
}

/// Bytes on disk of what differs from an earlier state, or of all: blocks of 512 and one block for the file itself.
pub fn space(manifest: &Manifest, since: Option<&Manifest>) -> u64 {
    let old: BTreeSet<u64> =
        since.into_iter().flat_map(|manifest| manifest.values().map(|node| node.stamp)).collect();
    let mut counted = BTreeSet::new();
    manifest
        .values()
        .filter(|node| !old.contains(&node.stamp) && counted.insert(node.object))
        .map(|node| node.size.div_ceil(512) * 512 + 512)
        .sum()
}

/// Any bytes as text that JSON can hold, one character a byte.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The reverse of [`latin`].
fn unlatin(text: &str) -> Result<Vec<u8>> {
    text.chars()
        .map(|letter| u8::try_from(letter).context("a path that is not one byte a character"))
        .collect()
}

/// Writes a manifest down.
pub fn manifest_to_json(manifest: &Manifest) -> Value {
    manifest
        .iter()
        .map(|(path, node)| {
            let kind = node.kind.to_string();
            let fields = json!([node.object, node.stamp, kind, node.links, node.size]);
            (latin(path), fields)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Reads a manifest.
pub fn manifest_from_json(value: &Value) -> Result<Manifest> {
    let damaged = "damaged manifest";
    value
        .as_object()
        .context(damaged)?
        .iter()
        .map(|(path, fields)| {
            let number = |at: usize| fields[at].as_u64().context(damaged);
            let kind = fields[2].as_str().and_then(|kind| kind.chars().next());
            let node = Node {
                object: number(0)?,
                stamp: number(1)?,
                kind: kind.context(damaged)?,
                links: number(3)?,
                size: number(4)?,
            };
            Ok((unlatin(path)?, node))
        })
        .collect()
}

/// Writes down how to know live files again.
pub fn known_to_json(known: &Known) -> Value {
    known
        .iter()
        .map(|(identity, (object, stamp, signs))| (identity.clone(), json!([object, stamp, signs])))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Reads how to know live files again.
pub fn known_from_json(value: &Value) -> Result<Known> {
    let damaged = "damaged object table";
    value
        .as_object()
        .context(damaged)?
        .iter()
        .map(|(identity, fields)| {
            Ok((
                identity.clone(),
                (
                    fields[0].as_u64().context(damaged)?,
                    fields[1].as_u64().context(damaged)?,
                    fields[2].as_str().context(damaged)?.to_owned(),
                ),
            ))
        })
        .collect()
}
