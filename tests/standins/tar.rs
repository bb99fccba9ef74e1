//! tar(1), which is bsdtar: `-tvf FILE` and `-xpf FILE -C DIRECTORY`, with `-v` as well.
//!
//! The texts are those of libarchive 3.8. Without `-P` nothing is extracted outside the directory: a name with `..` is
//! refused, a leading slash left off, and a name that leads through a symbolic link refused. Times are shown in UTC.
//!
//! Linux has no file flags. What an archive says of them goes into the extended attribute `user.freebsd.flags`, where
//! the file system allows it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, makedev, mknodat, utimensat};

use crate::Reply;
use crate::archive::{Archive, Entry, Flaw, Kind, is_utf8};
use crate::getopt::getopt;
use crate::host::{Host, reason};
use crate::pool::now;
use crate::props::calendar;

/// The two errors without a number: of libarchive itself, and none.
const MISC: &str = "Unknown error: -1";
const NO_ERROR: &str = "No error: 0";

/// Users and groups that own something in FreeBSD.
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

/// Why an entry was not extracted: what is said, and the text of the error number.
type Failure = (String, String);

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let Ok((options, words)) = getopt(args, "C:f:ptvx") else {
        bail!("tar: only -C, -f, -p, -t, -v and -x are imitated");
    };
    let letters: String = options.iter().map(|(letter, _)| *letter).collect();
    let value = |letter| options.iter().find(|(found, _)| *found == letter).map(|(_, value)| value.as_str());
    let Some(file) = value('f') else {
        bail!("tar: only archives in a file are imitated");
    };
    let has = |letter| letters.contains(letter);
    let lists = has('t');
    // Root gets everything back that -p asks for, asked or not.
    if lists == has('x') || (lists && (has('p') || has('C') || !words.is_empty())) {
        bail!("tar: only -tvf FILE and -xpf FILE -C DIRECTORY are imitated");
    }
    let directory = value('C').unwrap_or(".");
    let mut archive = match Archive::open(&host.real(file), file) {
        Ok(archive) => archive,
        Err(cause) => {
            reply.complain(format!("tar: Error opening archive: {cause}"));
            return Ok(1);
        }
    };
    let good = if lists {
        list(&mut archive, has('v'), reply)
    } else {
        let place = host.real(directory);
        if !place.is_dir() {
            reply.complain(format!("tar: could not chdir to '{directory}'"));
            return Ok(1);
        }
        extract(host, &mut archive, &place, &words, has('v'), reply)?
    };
    if !good {
        reply.complain("tar: Error exit delayed from previous errors.");
    }
    Ok(u8::from(!good))
}

/// The next entry, after saying what is wrong with the archive.
fn next(archive: &mut Archive, good: &mut bool, reply: &mut Reply) -> Option<Entry> {
    loop {
        match archive.advance() {
            Ok(entry) => return entry,
            Err(Flaw::Retry(cause)) => {
                reply.complain(format!("tar: {cause}\ntar: Retrying..."));
                *good = false;
            }
            Err(Flaw::Fatal(cause)) => {
                reply.complain(format!("tar: {cause}"));
                *good = false;
                return None;
            }
        }
    }
}

/// Shows what is in an archive.
fn list(archive: &mut Archive, verbose: bool, reply: &mut Reply) -> bool {
    let mut good = true;
    let (mut user_width, mut size_width) = (6, 13);
    let now = now() as i64;
    while let Some(entry) = next(archive, &mut good, reply) {
        if !verbose {
            reply.say(escape(&entry.path));
            continue;
        }
        let user = match entry.user.as_slice() {
            // The blank is the real program's.
            [] => format!("{} ", entry.uid),
            name => String::from_utf8_lossy(name).into_owned(),
        };
        let group = match entry.group.as_slice() {
            [] => entry.gid.to_string(),
            name => String::from_utf8_lossy(name).into_owned(),
        };
        let size = match entry.kind {
            Kind::CharacterDevice | Kind::BlockDevice => format!("{},{}", entry.device.0, entry.device.1),
            _ => entry.size.to_string(),
        };
        user_width = user_width.max(user.len());
        size_width = size_width.max(group.len() + size.len() + 1);
        let mut line = format!(
            "{}  {} {user:<user_width$} {group}{size:>width$} {} {}",
            letters(&entry),
            entry.links,
            date(entry.time.0, now),
            escape(&entry.path),
            width = size_width - group.len(),
        );
        match entry.kind {
            Kind::HardLink => line += &format!(" link to {}", escape(&entry.link)),
            Kind::Link => line += &format!(" -> {}", escape(&entry.link)),
            _ => {}
        }
        reply.say(line);
    }
    good
}

/// The mode as letters.
fn letters(entry: &Entry) -> String {
    let kind = match entry.kind {
        Kind::File => '-',
        Kind::HardLink => 'h',
        Kind::Link => 'l',
        Kind::CharacterDevice => 'c',
        Kind::BlockDevice => 'b',
        Kind::Directory => 'd',
        Kind::Fifo => 'p',
    };
    let mut text = String::from(kind);
    for (shift, special, set) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = entry.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (entry.mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => set.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A time as ls(1) shows it: with the year if it is half a year off, else with the hour.
fn date(time: i64, now: i64) -> String {
    // Thu Jan  1  0:00 1970, by words.
    let text = calendar(time.max(0) as u64);
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, month, day, hour, year] = words.as_slice() else { return text };
    if (time - now).abs() > 365 * 86_400 / 2 {
        format!("{month} {day:>2}  {year}")
    } else {
        format!("{month} {day:>2} {hour:0>5}")
    }
}

/// A name as it is printed: in the C locale, or as far as it is UTF-8 in one with that.
fn escape(name: &[u8]) -> String {
    let mut text = String::new();
    let (good, rest) = match std::str::from_utf8(name) {
        _ if !is_utf8() => ("", name),
        Ok(good) => (good, &name[..0]),
        Err(cause) => {
            let (good, rest) = name.split_at(cause.valid_up_to());
            (std::str::from_utf8(good).unwrap_or_default(), rest)
        }
    };
    for letter in good.chars().chain(rest.iter().map(|byte| char::from(*byte))) {
        match letter {
            '\\' => text.push_str("\\\\"),
            ' '..='~' => text.push(letter),
            '\x07' => text.push_str("\\a"),
            '\x08' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\x0b' => text.push_str("\\v"),
            '\x0c' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            '\u{a0}'.. if rest.is_empty() => text.push(letter),
            other => text.push_str(&format!("\\{:03o}", u32::from(other))),
        }
    }
    text
}

/// An extraction on its way.
struct Extraction<'a> {
    directory: &'a Path,
    users: BTreeMap<Vec<u8>, u32>,
    groups: BTreeMap<Vec<u8>, u32>,
    is_root: bool,
    /// Directories made here: on the way to something in them there is no link.
    made: HashSet<PathBuf>,
    /// Modes and times that directories get at the end, when nothing is made in them any longer.
    directories: BTreeMap<PathBuf, (u32, Option<(i64, i64)>)>,
}

/// Unpacks an archive, or what is named of it.
fn extract(
    host: &Host,
    archive: &mut Archive,
    directory: &Path,
    members: &[String],
    verbose: bool,
    reply: &mut Reply,
) -> Result<bool> {
    let mut extraction = Extraction {
        directory,
        users: numbers(host, "/etc/passwd", USERS)?,
        groups: numbers(host, "/etc/group", GROUPS)?,
        is_root: rustix::process::geteuid().is_root(),
        made: HashSet::new(),
        directories: BTreeMap::new(),
    };
    // Modes are as they are told.
    rustix::process::umask(Mode::empty());
    let mut good = true;
    let mut warned = false;
    let mut missing: BTreeSet<&[u8]> = members.iter().map(|member| member.as_bytes()).collect();
    while let Some(mut entry) = next(archive, &mut good, reply) {
        if !members.is_empty() && !members.iter().any(|member| member.as_bytes() == entry.path) {
            continue;
        }
        missing.remove(entry.path.as_slice());
        let mut relative = |path: &mut Vec<u8>| {
            let rest = strip_absolute(path);
            if rest.len() < path.len() && !std::mem::replace(&mut warned, true) {
                reply.complain("tar: Removing leading '/' from member names");
            }
            *path = rest.to_vec();
        };
        relative(&mut entry.path);
        if entry.path.is_empty() {
            entry.path = b".".to_vec();
        }
        if entry.kind == Kind::HardLink {
            relative(&mut entry.link);
            if entry.link.is_empty() {
                continue;
            }
        }
        let complain = |reply: &mut Reply, (what, why): Failure| {
            let text = format!("{}: {what}: {why}", escape(&entry.path));
            reply.complain(if verbose { format!("x {text}") } else { text });
        };
        let file = match extraction.make(&entry) {
            Ok(made) => made,
            Err(failure) => {
                complain(reply, failure);
                good = false;
                continue;
            }
        };
        let mut poured = Ok(());
        let mut is_fatal = false;
        if let Some((file, _)) = &file {
            poured = pour(archive, &entry, file, &mut is_fatal);
            // The file gets its size in any case.
            if poured.is_err() {
                let _ = file.set_len(entry.size);
            }
        }
        if let Some((_, path)) = file {
            extraction.dress(&entry, &path).with_context(|| path.display().to_string())?;
        }
        match poured {
            Err(failure) => {
                complain(reply, failure);
                good = false;
            }
            Ok(()) if verbose => reply.complain(format!("x {}", escape(&entry.path))),
            Ok(()) => {}
        }
        if is_fatal {
            break;
        }
    }
    extraction.finish()?;
    for member in missing {
        reply.complain(format!("tar: {}: Not found in archive", escape(member)));
        good = false;
    }
    Ok(good)
}

/// Names and numbers of a file like passwd(5); of those that FreeBSD ships, if there is no such file.
fn numbers(host: &Host, file: &str, shipped: &[(&str, u32)]) -> Result<BTreeMap<Vec<u8>, u32>> {
    let text = match fs::read_to_string(host.path(file)) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            return Ok(shipped.iter().map(|(name, number)| (name.as_bytes().to_vec(), *number)).collect());
        }
        other => other.with_context(|| file.to_owned())?,
    };
    let number = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.as_bytes().to_vec();
        Some((name, fields.nth(1)?.parse().ok()?))
    };
    Ok(text.lines().filter_map(number).collect())
}

/// A name without what makes it absolute: `/`, and `/.` and `/..` at its beginning.
fn strip_absolute(mut path: &[u8]) -> &[u8] {
    while let Some(rest) = path.strip_prefix(b"/") {
        path = match rest {
            [b'.', b'.', b'/', ..] => &rest[2..],
            [b'.', b'/', ..] => &rest[1..],
            _ => rest,
        };
    }
    path
}

/// Writes the data of an entry. If there no longer exists, that is fatal.
fn pour(archive: &mut Archive, entry: &Entry, mut file: &File, is_fatal: &mut bool) -> Result<(), Failure> {
    let failed = |cause: io::Error| ("Write failed".to_owned(), reason(&cause));
    let mut misc = |cause| {
        *is_fatal = true;
        (cause, MISC.to_owned())
    };
    let Some(map) = &entry.map else {
        loop {
            let data = archive.data().map_err(&mut misc)?;
            if data.is_empty() {
                return Ok(());
            }
            file.write_all(&data).map_err(failed)?;
        }
    };
    let mut data = Vec::new();
    for (offset, length) in map {
        file.seek(SeekFrom::Start(*offset)).map_err(failed)?;
        let mut left = *length;
        while left > 0 {
            if data.is_empty() {
                data = archive.data().map_err(&mut misc)?;
            }
            let part = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if part == 0 {
                break;
            }
            file.write_all(&data[..part]).map_err(failed)?;
            data.drain(..part);
            left -= part as u64;
        }
    }
    file.set_len(entry.size).map_err(failed)
}

impl Extraction<'_> {
    /// Makes what an entry is, without its data. A file comes back open.
    fn make(&mut self, entry: &Entry) -> Result<Option<(File, PathBuf)>, Failure> {
        let name = clean(&entry.path)?;
        if entry.kind == Kind::HardLink && entry.link == name {
            return Err((format!("Skipping hardlink pointing to itself: {}", escape(&name)), MISC.into()));
        }
        self.check(&name, false)?;
        let path = self.directory.join(OsStr::from_bytes(&name));
        let cannot = |cause: io::Error| (format!("Can't create '{}'", escape(&name)), reason(&cause));
        let mut made = self.create(entry, &path);
        let mut existed = false;
        if let Err(Refused::System(cause)) = &made
            && matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        {
            self.parents(&path);
            made = self.create(entry, &path);
        }
        if let Err(Refused::System(cause)) = &made {
            if cause.kind() == ErrorKind::NotFound && entry.kind == Kind::HardLink {
                let what = format!("Hard-link target '{}' does not exist.", escape(&entry.link));
                return Err((what, reason(cause)));
            }
            if cause.kind() == ErrorKind::AlreadyExists {
                let there = fs::symlink_metadata(&path).map_err(cannot)?;
                if !there.is_dir() {
                    fs::remove_file(&path)
                        .map_err(|cause| ("Can't unlink already-existing object".into(), reason(&cause)))?;
                    made = self.create(entry, &path);
                } else if entry.kind != Kind::Directory {
                    let what = "Can't replace existing directory with non-directory";
                    fs::remove_dir(&path).map_err(|cause| (what.to_owned(), reason(&cause)))?;
                    self.made.remove(&path);
                    self.directories.remove(&path);
                    made = self.create(entry, &path);
                } else {
                    (made, existed) = (Ok(None), true);
                }
            }
        }
        let file = match made {
            Ok(file) => file,
            Err(Refused::Said(failure)) => return Err(failure),
            Err(Refused::System(cause)) => return Err(cannot(cause)),
        };
        if let Some(file) = file {
            return Ok(Some((file, path)));
        }
        if entry.kind != Kind::HardLink {
            self.dress(entry, &path).map_err(cannot)?;
        }
        if existed {
            // Only a directory made here gets its time at the end.
            set_time(&path, entry.time).map_err(cannot)?;
            self.directories.insert(path, (entry.mode, None));
        }
        Ok(None)
    }

    /// One attempt to make what an entry is.
    fn create(&self, entry: &Entry, path: &Path) -> Result<Option<File>, Refused> {
        match entry.kind {
            Kind::File => {
                // Writable for now, if it is for the attribute.
                let mode = if entry.flags.is_empty() { entry.mode & 0o777 } else { 0o600 };
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).mode(mode);
                return Ok(Some(options.open(path)?));
            }
            Kind::HardLink => {
                let target = clean(&entry.link)?;
                self.check(&target, true)?;
                fs::hard_link(self.directory.join(OsStr::from_bytes(&entry.link)), path)?;
            }
            Kind::Link => symlink(OsStr::from_bytes(&entry.link), path)?,
            Kind::Directory => DirBuilder::new().mode(0o700).create(path)?,
            Kind::Fifo => node(path, FileType::Fifo, entry)?,
            Kind::CharacterDevice => node(path, FileType::CharacterDevice, entry)?,
            Kind::BlockDevice => node(path, FileType::BlockDevice, entry)?,
        }
        Ok(None)
    }

    /// Makes the directories above a path that are missing, as far as it can.
    fn parents(&mut self, path: &Path) {
        if let Some(parent) = path.parent() {
            // An error shows at the next attempt.
            let _ = DirBuilder::new().recursive(true).mode(0o755).create(parent);
        }
    }

    /// Refuses a name that leads through a symbolic link. One at its end is taken away, unless it is to be linked to.
    fn check(&self, name: &[u8], linked: bool) -> Result<(), Failure> {
        let mut path = self.directory.to_owned();
        let mut said: Vec<u8> = Vec::new();
        let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
        for (at, part) in parts.iter().enumerate() {
            path.push(OsStr::from_bytes(part));
            if at > 0 {
                said.push(b'/');
            }
            said.extend_from_slice(part);
            let last = at + 1 == parts.len();
            if self.made.contains(&path) {
                continue;
            }
            let found = match fs::symlink_metadata(&path) {
                Ok(found) => found,
                Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
                Err(cause) => return Err((format!("Could not stat {}", escape(name)), reason(&cause))),
            };
            if !found.is_symlink() || (last && linked) {
                continue;
            }
            if !last {
                return Err((format!("Cannot extract through symlink {}", escape(name)), NO_ERROR.into()));
            }
            fs::remove_file(&path)
                .map_err(|cause| (format!("Could not remove symlink {}", escape(name)), reason(&cause)))?;
        }
        Ok(())
    }

    /// Gives what was made its owner, mode, flags and time. Directories get mode and time at the end.
    fn dress(&mut self, entry: &Entry, path: &Path) -> io::Result<()> {
        if self.is_root {
            let number = |names: &BTreeMap<Vec<u8>, u32>, name: &Vec<u8>, number: u64| {
                names.get(name).copied().unwrap_or(number as u32)
            };
            let user = number(&self.users, &entry.user, entry.uid);
            let group = number(&self.groups, &entry.group, entry.gid);
            // What is made here is root's already.
            if (user, group) != (0, 0) {
                lchown(path, Some(user), Some(group))?;
            }
        }
        if !entry.flags.is_empty() && matches!(entry.kind, Kind::File | Kind::Directory) {
            set_flags(path, &entry.flags);
        }
        if entry.kind == Kind::Directory {
            self.directories.insert(path.to_owned(), (entry.mode, Some(entry.time)));
            self.made.insert(path.to_owned());
            return Ok(());
        }
        let is_set = entry.kind == Kind::File && entry.flags.is_empty() && entry.mode & 0o7000 == 0;
        if entry.kind != Kind::Link && !is_set {
            fs::set_permissions(path, Permissions::from_mode(entry.mode))?;
        }
        set_time(path, entry.time)
    }

    /// Gives directories what was put off, the deepest first.
    fn finish(self) -> Result<()> {
        for (path, (mode, time)) in self.directories.into_iter().rev() {
            fs::set_permissions(&path, Permissions::from_mode(mode))
                .and_then(|()| time.map_or(Ok(()), |time| set_time(&path, time)))
                .with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// Why something was not made.
enum Refused {
    Said(Failure),
    System(io::Error),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Said(failure)
    }
}

impl From<io::Error> for Refused {
    fn from(cause: io::Error) -> Self {
        Self::System(cause)
    }
}

/// A name without empty parts and `.`; one with `..` is refused.
fn clean(name: &[u8]) -> Result<Vec<u8>, Failure> {
    if name.is_empty() {
        return Err(("Invalid empty pathname".into(), MISC.into()));
    }
    if name.starts_with(b"/") {
        return Err(("Path is absolute".into(), MISC.into()));
    }
    let mut parts = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(("Path contains '..'".into(), MISC.into())),
            part => parts.push(part),
        }
    }
    Ok(if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') })
}

/// Makes a FIFO or a device.
fn node(path: &Path, kind: FileType, entry: &Entry) -> io::Result<()> {
    let device = makedev(entry.device.0, entry.device.1);
    mknodat(CWD, path, kind, Mode::from_raw_mode((entry.mode & 0o777) as _), device).map_err(Into::into)
}

fn set_time(path: &Path, (seconds, nanoseconds): (i64, i64)) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(Into::into)
}

/// Notes file flags.
#[cfg(target_os = "linux")]
fn set_flags(path: &Path, flags: &str) {
    // Not every file system holds them.
    let _ =
        rustix::fs::lsetxattr(path, "user.freebsd.flags", flags.as_bytes(), rustix::fs::XattrFlags::empty());
}

/// Notes file flags.
#[cfg(not(target_os = "linux"))]
fn set_flags(_: &Path, _: &str) {}
