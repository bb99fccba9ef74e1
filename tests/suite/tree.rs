//! Trees of every kind are copied, compared, merged and removed, and an oracle
//! of its own, which knows only std and a few system calls, looks at the result.
//!
//! What needs root, device nodes, extended attributes or access control lists
//! is left out where there are none. TMPDIR chooses the file system.

use crate::harness::bin::install_program;
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, mkdirat, openat, utimensat};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;
use thinjail::system::tree::{self, Aspect, Difference};

fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("thinjail-tree").tempdir().unwrap()
}

/// What can be tried here.
struct Able {
    root: bool,
    devices: bool,
    attributes: bool,
    /// Attributes of links, which only root may give them.
    trusted: bool,
    /// The same of FIFOs: FreeBSD's ZFS knows none.
    of_fifos: bool,
    acl: bool,
}

fn able() -> &'static Able {
    static ABLE: OnceLock<Able> = OnceLock::new();
    ABLE.get_or_init(|| {
        let dir = scratch();
        let at = |name: &str| dir.path().join(name);
        let (file, link, fifo) = (at("file"), at("link"), at("fifo"));
        fs::write(&file, "").unwrap();
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        symlink("file", &link).unwrap();
        let device = || {
            rustix::fs::mknodat(
                CWD,
                dir.path().join("null"),
                FileType::CharacterDevice,
                Mode::RUSR,
                0x103 as _,
            )
        };
        Able {
            root: rustix::process::geteuid().is_root(),
            devices: rustix::process::geteuid().is_root() && device().is_ok(),
            attributes: system::set(&file, "user.thinjail", b"1"),
            trusted: system::set(&link, system::TRUSTED, b"1"),
            of_fifos: system::set(&fifo, system::TRUSTED, b"1"),
            acl: system::grant(&file),
        }
    })
}

/// Extended attributes and access control lists, by path, links not followed.
#[cfg(not(target_os = "freebsd"))]
mod system {
    use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lremovexattr, lsetxattr};
    use std::path::{Path, PathBuf};

    pub const TRUSTED: &str = "trusted.thinjail";

    /// The lists of rights are among the attributes.
    pub fn lists(_paths: &[PathBuf]) -> String {
        String::new()
    }

    const ACL: &str = "system.posix_acl_access";
    const DEFAULT: &str = "system.posix_acl_default";

    pub fn set(path: &Path, name: &str, value: &[u8]) -> bool {
        lsetxattr(path, name, value, XattrFlags::empty()).is_ok()
    }

    pub fn unset(path: &Path, name: &str) {
        lremovexattr(path, name).unwrap();
    }

    /// All that there is, lists of rights among them.
    pub fn all(path: &Path) -> Vec<(String, Vec<u8>)> {
        let mut names = vec![0; 1 << 16];
        let length = match llistxattr(path, &mut names[..]) {
            Err(rustix::io::Errno::NOTSUP) => 0,
            length => length.unwrap(),
        };
        let mut found: Vec<_> = names[..length]
            .split(|b| *b == 0)
            .filter(|name| !name.is_empty())
            .map(|name| String::from_utf8(name.to_vec()).unwrap())
            .filter(|name| name != "security.selinux")
            .map(|name| {
                let mut value = vec![0; 1 << 16];
                let length = lgetxattr(path, name.as_str(), &mut value[..]).unwrap();
                value.truncate(length);
                (name, value)
            })
            .collect();
        found.sort();
        found
    }

    fn list() -> Vec<u8> {
        const NOBODY: u32 = 65534;
        const NONE: u32 = u32::MAX;
        let mut list = 2u32.to_le_bytes().to_vec();
        for (tag, rights, id) in
            [(1u16, 6u16, NONE), (2, 6, NOBODY), (4, 4, NONE), (0x10, 6, NONE), (0x20, 0, NONE)]
        {
            list.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
            list.extend(id.to_le_bytes());
        }
        list
    }

    /// Gives user nobody more rights than the mode can say.
    pub fn grant(path: &Path) -> bool {
        set(path, ACL, &list())
    }

    /// Has the entries of a directory inherit rights.
    pub fn grant_below(directory: &Path) -> bool {
        set(directory, DEFAULT, &list())
    }
}

/// Extended attributes and access control lists, by path, links not followed.
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
mod system {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    pub const TRUSTED: &str = "system.thinjail";

    fn split(name: &str) -> (i32, CString) {
        let (space, name) = name.split_once('.').unwrap();
        (if space == "user" { 1 } else { 2 }, CString::new(name).unwrap())
    }

    fn c(path: &Path) -> CString {
        CString::new(path.as_os_str().as_bytes()).unwrap()
    }

    pub fn set(path: &Path, name: &str, value: &[u8]) -> bool {
        let (space, name) = split(name);
        // SAFETY: the strings end in a NUL, the value has that many bytes.
        unsafe {
            libc::extattr_set_link(c(path).as_ptr(), space, name.as_ptr(), value.as_ptr().cast(), value.len())
                >= 0
        }
    }

    pub fn unset(path: &Path, name: &str) {
        let (space, name) = split(name);
        // SAFETY: the strings end in a NUL.
        assert_eq!(unsafe { libc::extattr_delete_link(c(path).as_ptr(), space, name.as_ptr()) }, 0);
    }

    /// All extended attributes that there are.
    pub fn all(path: &Path) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for (space, prefix) in [(1, "user."), (2, "system.")] {
            let mut names = vec![0u8; 1 << 16];
            // SAFETY: at most as many bytes are written as there are.
            let length = unsafe {
                libc::extattr_list_link(c(path).as_ptr(), space, names.as_mut_ptr().cast(), names.len())
            };
            let mut rest = &names[..usize::try_from(length).unwrap_or(0)];
            while let Some((length, after)) = rest.split_first() {
                let (name, after) = after.split_at(usize::from(*length));
                rest = after;
                let name = CString::new(name).unwrap();
                let mut value = vec![0u8; 1 << 16];
                // SAFETY: at most as many bytes are written as there are.
                let length = unsafe {
                    libc::extattr_get_link(
                        c(path).as_ptr(),
                        space,
                        name.as_ptr(),
                        value.as_mut_ptr().cast(),
                        value.len(),
                    )
                };
                value.truncate(usize::try_from(length).unwrap());
                found.push((format!("{prefix}{}", name.to_str().unwrap()), value));
            }
        }
        found.sort();
        found
    }

    /// The lists of rights, as getfacl(1) prints them.
    pub fn lists(paths: &[PathBuf]) -> String {
        let output = Command::new("/bin/getfacl").arg("-hqn").args(paths).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn setfacl(path: &Path, arguments: &[&str]) -> bool {
        let command = Command::new("/bin/setfacl").args(arguments).arg(path).output().unwrap();
        command.status.success()
    }

    /// Gives user nobody more rights than the mode can say.
    pub fn grant(path: &Path) -> bool {
        setfacl(path, &["-m", "u:65534:rw-::allow"]) || setfacl(path, &["-m", "u:65534:rw"])
    }

    /// Has the entries of a directory inherit rights.
    pub fn grant_below(directory: &Path) -> bool {
        setfacl(directory, &["-m", "u:65534:rw-:fd:allow"])
            || setfacl(directory, &["-d", "-m", "u::rwx,g::rx,o::rx,u:65534:rw,m::rwx"])
    }
}

// The oracle.

/// All that counts of a tree, one text an entry.
fn survey(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut first_names = HashMap::new();
    let mut waiting = vec![PathBuf::new()];
    let mut paths = Vec::new();
    while let Some(path) = waiting.pop() {
        let whole = top.join(&path);
        let stat = fs::symlink_metadata(&whole).unwrap();
        if stat.is_dir() {
            waiting.extend(fs::read_dir(&whole).unwrap().map(|e| path.join(e.unwrap().file_name())));
        }
        paths.push((path, stat));
    }
    paths.sort_by(|a, b| a.0.cmp(&b.0));
    paths.retain(|(_, stat)| !stat.file_type().is_socket());
    // In one go, as it starts a program.
    let lists = system::lists(&paths.iter().map(|(path, _)| top.join(path)).collect::<Vec<_>>());
    for (path, stat) in paths {
        let (whole, kind) = (top.join(&path), stat.file_type());
        let mut text = format!(
            "{:o} {}:{} {}.{:09} {:?}",
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.mtime_nsec(),
            system::all(&whole),
        );
        if kind.is_symlink() {
            text += &format!(" -> {:?}", fs::read_link(&whole).unwrap());
        } else if kind.is_file() {
            text += &format!(" {:?}", fs::read(&whole).unwrap());
        } else if kind.is_char_device() || kind.is_block_device() {
            text += &format!(" {}", stat.rdev());
        }
        if !kind.is_dir() {
            let first = first_names.entry((stat.dev(), stat.ino())).or_insert_with(|| path.clone());
            text += &format!(" = {}", first.display());
        }
        #[cfg(target_os = "freebsd")]
        {
            // ZFS sets UF_ARCHIVE on whatever is written.
            text += &format!(" {:x}", std::os::freebsd::fs::MetadataExt::st_flags(&stat) & !0x800);
        }
        found.insert(path, text);
    }
    *found.get_mut(Path::new("")).unwrap() += &lists;
    found
}

fn differences(a: &Path, b: &Path) -> Vec<Difference> {
    let mut found = Vec::new();
    tree::compare(a, b, &mut |d| {
        found.push(d);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(tree::difference(a, b).unwrap(), found.first().map(ToString::to_string));
    found
}

// Trees to work on.

#[derive(Clone, Debug)]
enum Form {
    Directory,
    File(Vec<u8>),
    /// Pieces at multiples of 64 KiB, then a hole.
    Sparse(Vec<u8>),
    Link(Vec<u8>),
    Fifo,
    Device(u8),
    Socket,
    /// Another name of an earlier entry.
    Again(usize),
}

#[derive(Clone, Debug)]
struct Node {
    parent: usize,
    name: Vec<u8>,
    form: Form,
    mode: u32,
    time: (i64, i64),
    owner: (u32, u32),
    attributes: Vec<(u8, Vec<u8>)>,
    granted: bool,
}

fn node() -> impl Strategy<Value = Node> {
    let byte = any::<u8>().prop_filter("in names", |b| *b != 0 && *b != b'/');
    let form = prop_oneof![
        4 => Just(Form::Directory),
        4 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Form::File),
        1 => proptest::collection::vec(any::<u8>(), 0..4).prop_map(Form::Sparse),
        2 => proptest::collection::vec(byte.clone(), 1..30).prop_map(Form::Link),
        1 => Just(Form::Fifo),
        1 => any::<u8>().prop_map(Form::Device),
        1 => Just(Form::Socket),
        3 => any::<usize>().prop_map(Form::Again),
    ];
    (
        any::<usize>(),
        proptest::collection::vec(byte, 0..12),
        form,
        0u32..0o10000,
        (1i64..4_000_000_000, 0i64..1_000_000_000),
        (0u32..3, 0u32..3),
        proptest::collection::vec((0u8..3, proptest::collection::vec(any::<u8>(), 0..20)), 0..3),
        proptest::bool::weighted(0.1),
    )
        .prop_map(|(parent, name, form, mode, time, owner, attributes, granted)| Node {
            parent,
            name,
            form,
            mode,
            time,
            owner,
            attributes,
            granted,
        })
}

fn set_times(path: &Path, (seconds, nanoseconds): (i64, i64)) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn times(path: &Path) -> (i64, i64) {
    let stat = fs::symlink_metadata(path).unwrap();
    (stat.mtime(), stat.mtime_nsec())
}

/// Builds the tree and gives its entries.
fn build(top: &Path, nodes: &[Node]) -> Vec<PathBuf> {
    let able = able();
    fs::create_dir(top).unwrap();
    let mut directories = vec![PathBuf::new()];
    let mut entries: Vec<PathBuf> = Vec::new();
    let mut made: Vec<(PathBuf, &Node)> = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let name = [&node.name[..], number.to_string().as_bytes()].concat();
        let path = directories[node.parent % directories.len()].join(OsString::from_vec(name));
        let whole = top.join(&path);
        match &node.form {
            Form::Directory => {
                fs::create_dir(&whole).unwrap();
                directories.push(path.clone());
            }
            Form::File(contents) => fs::write(&whole, contents).unwrap(),
            Form::Sparse(pieces) => {
                let file = File::create(&whole).unwrap();
                for (at, piece) in pieces.iter().enumerate() {
                    file.write_all_at(&[*piece; 100], at as u64 * (2 << 16)).unwrap();
                }
                file.set_len((pieces.len() as u64 + 1) * (2 << 16)).unwrap();
            }
            Form::Link(text) => symlink(OsStr::from_bytes(text), &whole).unwrap(),
            Form::Fifo => mknod(&whole, FileType::Fifo, 0),
            Form::Device(_) if !able.devices => continue,
            Form::Device(minor) => mknod(&whole, FileType::CharacterDevice, 0x100 | u64::from(*minor)),
            Form::Socket => {
                // Too long a path has no socket.
                let _ = UnixListener::bind(&whole);
                continue;
            }
            Form::Again(which) => {
                let others: Vec<_> =
                    entries.iter().filter(|e| !top.join(e).symlink_metadata().unwrap().is_dir()).collect();
                if !others.is_empty() {
                    fs::hard_link(top.join(others[which % others.len()]), &whole).unwrap();
                    entries.push(path);
                }
                continue;
            }
        }
        entries.push(path.clone());
        made.push((path, node));
    }
    for (path, node) in made.iter().rev() {
        let whole = top.join(path);
        dress(&whole, node);
    }
    set_times(top, (1_000_000_007, 123_456_789));
    entries
}

fn mknod(path: &Path, kind: FileType, device: u64) {
    rustix::fs::mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, device as _).unwrap();
}

/// Gives an entry all but its contents.
fn dress(path: &Path, node: &Node) {
    let able = able();
    let kind = fs::symlink_metadata(path).unwrap().file_type();
    let plain = kind.is_dir() || kind.is_file();
    let odd = match kind {
        _ if plain => false,
        kind if kind.is_symlink() => able.trusted,
        kind if kind.is_char_device() && cfg!(target_os = "freebsd") => false,
        _ => able.of_fifos,
    };
    if able.root {
        std::os::unix::fs::lchown(path, Some(node.owner.0), Some(node.owner.1)).unwrap();
    }
    for (name, value) in &node.attributes {
        if plain && able.attributes {
            assert!(system::set(path, &format!("user.name{name}"), value));
        } else if odd {
            assert!(system::set(path, &format!("{}{name}", system::TRUSTED), value));
        }
    }
    if !kind.is_symlink() {
        let mode = match (able.root, kind.is_dir()) {
            (true, _) => node.mode,
            (false, true) => node.mode | 0o700,
            (false, false) => node.mode & 0o777 | 0o600,
        };
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    if node.granted && plain && able.acl {
        assert!(system::grant(path));
        if kind.is_dir() {
            assert!(system::grant_below(path));
        }
    }
    set_times(path, node.time);
}

/// A tree with something of everything.
fn sample(top: &Path) {
    let at = |path: &str| top.join(path);
    fs::create_dir_all(at("dir/sub/deep")).unwrap();
    fs::create_dir(at("empty")).unwrap();
    fs::create_dir(at("sticky")).unwrap();
    fs::write(at("file"), "contents").unwrap();
    fs::write(at("dir/setuid"), "#!/bin/sh\n").unwrap();
    fs::write(at("dir/sub/x"), "one").unwrap();
    fs::hard_link(at("dir/sub/x"), at("dir/y")).unwrap();
    fs::hard_link(at("dir/sub/x"), at("z")).unwrap();
    symlink("../nowhere", at("dir/link")).unwrap();
    fs::hard_link(at("dir/link"), at("dir/link2")).unwrap();
    mknod(&at("fifo"), FileType::Fifo, 0);
    fs::hard_link(at("fifo"), at("dir/fifo2")).unwrap();
    fs::write(top.join(OsStr::from_bytes(b"\xff\xfe \n$(x)")), "odd").unwrap();
    if able().devices {
        mknod(&at("dir/null"), FileType::CharacterDevice, 0x103);
        mknod(&at("dir/block"), FileType::BlockDevice, 0x107);
    }
    if able().attributes {
        assert!(system::set(&at("file"), "user.one", b"1"));
        assert!(system::set(&at("file"), "user.two", b"2"));
        assert!(system::set(&at("dir/sub"), "user.one", b""));
    }
    if able().trusted {
        assert!(system::set(&at("dir/link"), system::TRUSTED, b"1"));
    }
    if able().of_fifos {
        assert!(system::set(&at("fifo"), system::TRUSTED, b"1"));
    }
    if able().root {
        std::os::unix::fs::lchown(at("dir/link"), Some(3), Some(4)).unwrap();
        std::os::unix::fs::lchown(at("dir/setuid"), Some(5), Some(6)).unwrap();
    } else {
        // A new file has the group of its directory on FreeBSD, which need not be one's own.
        let own = rustix::process::getegid().as_raw();
        std::os::unix::fs::lchown(at("dir/setuid"), None, Some(own)).unwrap();
    }
    fs::set_permissions(at("dir/setuid"), Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(at("sticky"), Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(at("file"), Permissions::from_mode(0o440)).unwrap();
    fs::set_permissions(at("fifo"), Permissions::from_mode(0o640)).unwrap();
    if able().acl {
        assert!(system::grant(&at("dir/sub/x")));
        assert!(system::grant_below(&at("dir/sub")));
    }
    fs::set_permissions(at("empty"), Permissions::from_mode(0o555)).unwrap();
    let mut paths: Vec<_> = survey(top).into_keys().collect();
    paths.reverse();
    for (number, path) in paths.iter().enumerate() {
        set_times(&top.join(path), (1_000_000_000 + number as i64, 1 + number as i64));
    }
}

fn cases(number: u32) -> ProptestConfig {
    ProptestConfig { cases: number, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn a_copy_is_equal_and_a_change_is_found(
        nodes in proptest::collection::vec(node(), 0..30),
        which in any::<usize>(),
        change in 0u8..4,
    ) {
        let dir = scratch();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let entries = build(&from, &nodes);
        let before = survey(&from);
        let mut told = 0;
        tree::copy_reporting(&from, &to, &mut |entries| { assert_eq!(entries, told + 1); told = entries }).unwrap();
        prop_assert_eq!(told as usize, entries.len());
        prop_assert_eq!(&before, &survey(&from), "the source was changed");
        prop_assert_eq!(differences(&from, &to), []);
        prop_assert_eq!(&before, &survey(&to));

        if !entries.is_empty() {
            let victim = to.join(&entries[which % entries.len()]);
            let stat = fs::symlink_metadata(&victim).unwrap();
            match change {
                0 if stat.is_file() && stat.len() > 0 => {
                    // A bit in the middle, and nothing else.
                    let file = File::options().read(true).write(true).open(&victim).unwrap();
                    let mut byte = [0];
                    file.read_exact_at(&mut byte, stat.len() / 2).unwrap();
                    file.write_all_at(&[byte[0] ^ 4], stat.len() / 2).unwrap();
                    set_times(&victim, (stat.mtime(), stat.mtime_nsec()));
                }
                1 if !stat.is_symlink() => {
                    // Where others are concerned, so that everything can still be read.
                    let mode = Permissions::from_mode(stat.mode() & 0o7777 ^ 2);
                    fs::set_permissions(&victim, mode).unwrap();
                }
                2 => {
                    let parent = victim.parent().unwrap();
                    let time = times(parent);
                    if stat.is_dir() { tree::remove(&victim).unwrap() } else { fs::remove_file(&victim).unwrap() }
                    set_times(parent, time);
                }
                _ => set_times(&victim, (stat.mtime(), (stat.mtime_nsec() + 1) % 1_000_000_000)),
            }
            prop_assert_ne!(&before, &survey(&to));
            prop_assert_ne!(differences(&from, &to), []);
        }
        tree::remove(&from).unwrap();
        tree::remove(&to).unwrap();
        prop_assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn parts_merge_into_the_whole(
        nodes in proptest::collection::vec(node(), 0..30),
        sides in proptest::collection::vec(0u8..3, 30),
    ) {
        let dir = scratch();
        let (whole, from, into) = (dir.path().join("whole"), dir.path().join("from"), dir.path().join("into"));
        let entries = build(&whole, &nodes);
        let expected = survey(&whole);
        tree::copy(&whole, &from).unwrap();
        tree::copy(&whole, &into).unwrap();
        // Where each entry is to be: 0 in both, 1 in `from`, 2 in `into`; below
        // a directory that is in one of them, in that.
        let mut side_of: BTreeMap<PathBuf, u8> = BTreeMap::new();
        let mut sorted: Vec<_> = entries.iter().zip(&sides).collect();
        sorted.sort();
        for (path, side) in sorted {
            let above = path.parent().and_then(|p| side_of.get(p)).copied().unwrap_or(0);
            side_of.insert(path.clone(), if above == 0 { *side } else { above });
        }
        for (path, side) in side_of.iter().rev() {
            let gone = match side { 1 => &into, 2 => &from, _ => continue }.join(path);
            if gone.symlink_metadata().unwrap().is_dir() {
                tree::remove(&gone).unwrap();
            } else {
                fs::remove_file(&gone).unwrap();
            }
        }
        for tree in [&from, &into] {
            for path in expected.keys().rev().filter(|p| whole.join(p).symlink_metadata().unwrap().is_dir()) {
                if tree.join(path).symlink_metadata().is_ok() {
                    set_times(&tree.join(path), times(&whole.join(path)));
                }
            }
        }
        tree::merge(&from, &into).unwrap();
        let mut found = differences(&whole, &into);
        // A file of which one name was in one part only and one in the other,
        // and none in both, is two files now.
        let mut groups: HashMap<u64, Vec<u8>> = HashMap::new();
        for (path, side) in &side_of {
            groups.entry(whole.join(path).symlink_metadata().unwrap().ino()).or_default().push(*side);
        }
        let split = groups.values().any(|g| !g.contains(&0) && g.contains(&1) && g.contains(&2));
        if split {
            found.retain(|d| d.what != Aspect::HardLinks);
        } else {
            prop_assert_eq!(&expected, &survey(&into));
        }
        prop_assert_eq!(found, []);
    }
}

type Mutation = (&'static str, fn(&Path), &'static str, Aspect);

/// Does something to an entry and gives its directory the time it had.
fn quietly(path: &Path, change: impl FnOnce(&Path)) {
    let parent = path.parent().unwrap();
    let time = times(parent);
    change(path);
    set_times(parent, time);
}

/// Does something to a file and gives it the time it had.
fn untouched(path: &Path, change: impl FnOnce(&Path)) {
    let time = times(path);
    change(path);
    set_times(path, time);
}

#[test]
fn every_single_change_is_found() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).unwrap();
    sample(&from);
    let mut mutations: Vec<Mutation> = vec![
        (
            "file removed",
            |t| quietly(&t.join("file"), |p| fs::remove_file(p).unwrap()),
            "file",
            Aspect::OnlyFirst,
        ),
        (
            "directory removed",
            |t| quietly(&t.join("dir"), |p| fs::remove_dir_all(p).unwrap()),
            "dir",
            Aspect::OnlyFirst,
        ),
        (
            "file added",
            |t| quietly(&t.join("dir/new"), |p| fs::write(p, "").unwrap()),
            "dir/new",
            Aspect::OnlySecond,
        ),
        (
            "directory added",
            |t| quietly(&t.join("new"), |p| fs::create_dir_all(p.join("x/y")).unwrap()),
            "new",
            Aspect::OnlySecond,
        ),
        (
            "link for a directory",
            |t| {
                quietly(&t.join("empty"), |p| {
                    fs::remove_dir(p).unwrap();
                    symlink("dir", p).unwrap()
                })
            },
            "empty",
            Aspect::Kind,
        ),
        (
            "mode",
            |t| fs::set_permissions(t.join("file"), Permissions::from_mode(0o444)).unwrap(),
            "file",
            Aspect::Mode,
        ),
        (
            "set-id",
            |t| fs::set_permissions(t.join("dir/setuid"), Permissions::from_mode(0o755)).unwrap(),
            "dir/setuid",
            Aspect::Mode,
        ),
        (
            "sticky",
            |t| fs::set_permissions(t.join("sticky"), Permissions::from_mode(0o777)).unwrap(),
            "sticky",
            Aspect::Mode,
        ),
        (
            "mode of a FIFO",
            |t| fs::set_permissions(t.join("fifo"), Permissions::from_mode(0o600)).unwrap(),
            "dir/fifo2",
            Aspect::Mode,
        ),
        (
            "mode of the top",
            |t| fs::set_permissions(t, Permissions::from_mode(0o711)).unwrap(),
            ".",
            Aspect::Mode,
        ),
        ("size", |t| untouched(&t.join("dir/setuid"), |p| append(p, b"x")), "dir/setuid", Aspect::Size),
        (
            "contents",
            |t| {
                untouched(&t.join("dir/setuid"), |p| {
                    File::options().write(true).open(p).unwrap().write_all(b"#!/bin/Sh\n").unwrap()
                })
            },
            "dir/setuid",
            Aspect::Contents,
        ),
        ("target", |t| quietly(&t.join("dir/link2"), relink), "dir/link2", Aspect::Target),
        ("time of a file", |t| later(&t.join("dir/setuid")), "dir/setuid", Aspect::ModificationTime),
        ("time of a link", |t| later(&t.join("dir/link")), "dir/link", Aspect::ModificationTime),
        ("time of a FIFO", |t| later(&t.join("fifo")), "dir/fifo2", Aspect::ModificationTime),
        ("time of a directory", |t| later(&t.join("empty")), "empty", Aspect::ModificationTime),
        ("time of the top", later, ".", Aspect::ModificationTime),
        ("one name less", |t| quietly(&t.join("z"), separate), "z", Aspect::HardLinks),
        ("one name in between less", |t| quietly(&t.join("dir/y"), separate), "dir/y", Aspect::HardLinks),
        (
            "one name of a FIFO less",
            |t| {
                quietly(&t.join("fifo"), |p| {
                    fs::remove_file(p).unwrap();
                    mknod(p, FileType::Fifo, 0)
                })
            },
            "fifo",
            Aspect::HardLinks,
        ),
    ];
    if able().root {
        mutations.extend([
            (
                "user",
                (|t| std::os::unix::fs::lchown(t.join("z"), Some(9), None).unwrap()) as fn(&Path),
                "dir/sub/x",
                Aspect::Owner,
            ),
            (
                "group of a link",
                |t| std::os::unix::fs::lchown(t.join("dir/link"), None, Some(9)).unwrap(),
                "dir/link",
                Aspect::Owner,
            ),
            (
                "user of a directory",
                |t| std::os::unix::fs::lchown(t.join("empty"), Some(9), None).unwrap(),
                "empty",
                Aspect::Owner,
            ),
        ]);
    }
    if able().devices {
        mutations.extend([
            (
                "device",
                (|t| quietly(&t.join("dir/null"), |p| renew(p, FileType::CharacterDevice, 0x105)))
                    as fn(&Path),
                "dir/null",
                Aspect::Device,
            ),
            (
                "block device",
                |t| quietly(&t.join("dir/block"), |p| renew(p, FileType::BlockDevice, 0x105)),
                "dir/block",
                Aspect::Device,
            ),
            (
                "block for character device",
                |t| quietly(&t.join("dir/null"), |p| renew(p, FileType::BlockDevice, 0x103)),
                "dir/null",
                Aspect::Kind,
            ),
        ]);
    }
    if able().attributes {
        mutations.extend([
            (
                "attribute changed",
                (|t| unlocked(&t.join("file"), |p| assert!(system::set(p, "user.two", b"3")))) as fn(&Path),
                "file",
                Aspect::ExtendedAttributes,
            ),
            (
                "attribute gone",
                |t| unlocked(&t.join("file"), |p| system::unset(p, "user.two")),
                "file",
                Aspect::ExtendedAttributes,
            ),
            (
                "attribute more",
                |t| unlocked(&t.join("file"), |p| assert!(system::set(p, "user.three", b""))),
                "file",
                Aspect::ExtendedAttributes,
            ),
            (
                "attribute of another name",
                |t| {
                    unlocked(&t.join("file"), |p| {
                        system::unset(p, "user.two");
                        assert!(system::set(p, "user.twO", b"2"))
                    })
                },
                "file",
                Aspect::ExtendedAttributes,
            ),
            (
                "attribute of a directory",
                |t| system::unset(&t.join("dir/sub"), "user.one"),
                "dir/sub",
                Aspect::ExtendedAttributes,
            ),
        ]);
    }
    if able().trusted {
        mutations.push((
            "attribute of a link",
            (|t| system::unset(&t.join("dir/link"), system::TRUSTED)) as fn(&Path),
            "dir/link",
            Aspect::ExtendedAttributes,
        ));
    }
    if able().of_fifos {
        mutations.push((
            "attribute of a FIFO",
            |t| assert!(system::set(&t.join("fifo"), system::TRUSTED, b"2")),
            "dir/fifo2",
            Aspect::ExtendedAttributes,
        ));
    }
    if able().acl {
        mutations.extend([
            (
                "rights",
                (|t| assert!(system::grant(&t.join("dir/setuid")))) as fn(&Path),
                "dir/setuid",
                Aspect::Acl,
            ),
            ("rights to inherit", |t| assert!(system::grant_below(&t.join("dir"))), "dir", Aspect::Acl),
        ]);
    }
    let before = survey(&from);
    for (name, mutate, path, what) in mutations {
        tree::copy(&from, &to).unwrap_or_else(|e| panic!("{name}: {e:#}"));
        assert_eq!(differences(&from, &to), [], "{name}");
        assert_eq!(before, survey(&to), "{name}");
        mutate(&to);
        let found = differences(&from, &to);
        assert!(found.iter().any(|d| d.path == Path::new(path) && d.what == what), "{name}: {found:?}");
        // And nothing that is not so; what was made again is new in all.
        let renewed = [Aspect::HardLinks, Aspect::Kind, Aspect::Target, Aspect::Device].contains(&what);
        // Rights show in the mode as well.
        let found: Vec<_> =
            found.iter().filter(|d| !(what == Aspect::Acl && d.what == Aspect::Mode)).collect();
        assert!(found.len() == 1 || renewed, "{name}: {found:?}");
        assert!(!found[0].is_directory_time() || what == Aspect::ModificationTime, "{name}: {found:?}");
        // From the other side as well.
        assert!(!differences(&to, &from).is_empty(), "{name}");
        tree::remove(&to).unwrap();
    }
}

fn append(path: &Path, bytes: &[u8]) {
    File::options().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn later(path: &Path) {
    let (seconds, nanoseconds) = times(path);
    set_times(path, (seconds, nanoseconds + 1));
}

fn relink(path: &Path) {
    fs::remove_file(path).unwrap();
    symlink("../elsewher", path).unwrap();
}

fn renew(path: &Path, kind: FileType, device: u64) {
    fs::remove_file(path).unwrap();
    mknod(path, kind, device);
}

/// Makes one of several names a file of its own, alike in all.
fn separate(path: &Path) {
    let aside = path.with_extension("aside");
    fs::rename(path, &aside).unwrap();
    let one = path.with_extension("one");
    fs::create_dir(&one).unwrap();
    fs::rename(&aside, one.join("f")).unwrap();
    let copy = path.with_extension("copy");
    tree::copy(&one, &copy).unwrap();
    fs::rename(copy.join("f"), path).unwrap();
    fs::remove_dir_all(one).unwrap();
    fs::remove_dir_all(copy).unwrap();
}

/// Does something to a file that may not be written.
fn unlocked(path: &Path, change: impl FnOnce(&Path)) {
    let old = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    change(path);
    fs::set_permissions(path, old).unwrap();
}

#[test]
fn access_times_are_carried_as_well() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir_all(from.join("sub")).unwrap();
    fs::write(from.join("file"), "x").unwrap();
    symlink("file", from.join("link")).unwrap();
    let time = |seconds| Timespec { tv_sec: seconds, tv_nsec: 7 };
    for name in ["file", "sub", "link", ""] {
        // Later than the modification, so that reading leaves it alone.
        let times = Timestamps { last_access: time(1_900_000_000), last_modification: time(1_000_000_000) };
        utimensat(CWD, from.join(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    tree::copy(&from, &to).unwrap();
    for name in ["file", "sub", "link", ""] {
        let stat = fs::symlink_metadata(to.join(name)).unwrap();
        assert_eq!((stat.atime(), stat.atime_nsec()), (1_900_000_000, 7), "{name}");
    }
}

#[test]
fn holes_stay_holes_and_fill_no_difference() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).unwrap();
    for (name, pieces) in [("a", &[0u64, 20 << 20][..]), ("b", &[10 << 20]), ("c", &[])] {
        let file = File::create(from.join(name)).unwrap();
        for piece in pieces {
            file.write_all_at(b"data", *piece).unwrap();
        }
        file.set_len(32 << 20).unwrap();
    }
    tree::copy(&from, &to).unwrap();
    assert_eq!(differences(&from, &to), []);
    for name in ["a", "b", "c"] {
        let stats = [&from, &to].map(|t| fs::metadata(t.join(name)).unwrap());
        assert_eq!(stats[1].len(), 32 << 20);
        let taken = fs::metadata(to.join(name)).unwrap().blocks() * 512;
        // Where the file system keeps holes at all.
        assert!(taken <= 1 << 20 || stats[0].blocks() * 512 > 1 << 20, "{name}: {taken}");
    }
    // Filled, they read alike.
    let time = times(&to.join("c"));
    fs::write(to.join("c"), vec![0; 32 << 20]).unwrap();
    set_times(&to.join("c"), time);
    assert_eq!(differences(&from, &to), []);
}

#[test]
fn sockets_are_left_out() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::write(from.join("file"), "").unwrap();
    let _socket = UnixListener::bind(from.join("socket")).unwrap();
    tree::copy(&from, &to).unwrap();
    assert!(!to.join("socket").exists());
    assert_eq!(differences(&from, &to), []);
    assert_eq!(differences(&to, &from), []);
    // Something else in its place is only there.
    quietly(&to.join("socket"), |p| fs::write(p, "").unwrap());
    assert_eq!(differences(&from, &to)[0].what, Aspect::OnlySecond);
    tree::merge(&from, &to).unwrap();
    tree::remove(&from).unwrap();
}

#[test]
fn nothing_is_inherited_from_where_a_copy_is_made() {
    if !able().acl {
        return;
    }
    let dir = scratch();
    let from = dir.path().join("from");
    fs::create_dir(&from).unwrap();
    sample(&from);
    let parent = dir.path().join("parent");
    fs::create_dir(&parent).unwrap();
    assert!(system::grant_below(&parent));
    tree::copy(&from, &parent.join("to")).unwrap();
    assert_eq!(differences(&from, &parent.join("to")), []);
    assert_eq!(survey(&from), survey(&parent.join("to")));
    // Nor from directories that a merge adds to.
    let into = parent.join("into");
    fs::create_dir(&into).unwrap();
    tree::merge(&from, &into).unwrap();
    let found: Vec<_> = differences(&from, &into).into_iter().filter(|d| d.path != Path::new(".")).collect();
    assert_eq!(found, []);
}

#[test]
fn a_merge_leaves_what_is_there_alone() {
    let dir = scratch();
    let (from, into) = (dir.path().join("from"), dir.path().join("into"));
    for tree in [&from, &into] {
        fs::create_dir_all(tree.join("sub/both")).unwrap();
    }
    fs::write(from.join("sub/file"), "from").unwrap();
    fs::write(into.join("sub/file"), "into").unwrap();
    fs::create_dir(from.join("kind")).unwrap();
    fs::write(from.join("kind/x"), "").unwrap();
    fs::write(into.join("kind"), "a file").unwrap();
    symlink("sub", from.join("link")).unwrap();
    fs::create_dir(into.join("link")).unwrap();
    fs::create_dir(from.join("dir")).unwrap();
    // A link there must not be followed.
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(from.join("dir/x"), "").unwrap();
    symlink(&outside, into.join("dir")).unwrap();
    fs::write(from.join("sub/both/new"), "new").unwrap();
    fs::write(into.join("sub/mine"), "mine").unwrap();
    set_times(&into.join("sub/both"), (77, 88));
    set_times(&into.join("sub"), (99, 11));
    let before = survey(&into);
    tree::merge(&from, &into).unwrap();
    assert_eq!(fs::read(into.join("sub/both/new")).unwrap(), b"new");
    quietly(&into.join("sub/both/new"), |p| fs::remove_file(p).unwrap());
    assert_eq!(before, survey(&into));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_beginning_is_told_from_another_file() {
    let dir = scratch();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let long: Vec<u8> = (0..300_000u32).map(|n| (n / 7) as u8).collect();
    for tree in [&a, &b] {
        fs::create_dir_all(tree.join("sub")).unwrap();
    }
    let path = Path::new("sub/file");
    fs::write(a.join(path), &long).unwrap();
    for (length, expected) in [(0, true), (1, true), (200_000, true), (300_000, true)] {
        fs::write(b.join(path), &long[..length]).unwrap();
        assert_eq!(tree::starts_with(&a, &b, path).unwrap(), expected, "{length}");
    }
    let mut other = long.clone();
    other[150_000] ^= 1;
    fs::write(b.join(path), &other[..200_000]).unwrap();
    assert!(!tree::starts_with(&a, &b, path).unwrap());
    fs::write(b.join(path), [&long[..], b"x"].concat()).unwrap();
    assert!(!tree::starts_with(&a, &b, path).unwrap());
    // Never through a link.
    fs::remove_dir_all(b.join("sub")).unwrap();
    symlink(a.join("sub"), b.join("sub")).unwrap();
    assert!(tree::starts_with(&a, &b, path).is_err());
}

#[test]
fn targets_that_are_there_and_sources_that_are_not() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    assert!(tree::copy(&from, &to).is_err());
    assert!(!to.exists());
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    assert!(tree::copy(&from, &to).is_err());
    symlink("from", dir.path().join("link")).unwrap();
    assert!(tree::copy(&dir.path().join("link"), &dir.path().join("x")).is_err());
    assert!(tree::copy(&from, &dir.path().join("link")).is_err());
    assert!(tree::remove(&dir.path().join("link")).is_err());
    let error = format!("{:#}", tree::copy(dir.path(), &from.join("sub")).unwrap_err());
    assert!(error.contains("/from/sub to ") && error.contains("the copy lies in the tree itself"), "{error}");
    tree::remove(&dir.path().join("x")).unwrap();
    assert!(from.exists());
}

// Depth.

/// Makes a chain of directories and gives the last.
fn chain(top: &Path, name: &str, levels: usize) -> OwnedFd {
    fs::create_dir_all(top).unwrap();
    let mut directory = tree::open_directory(top).unwrap();
    for _ in 0..levels {
        mkdirat(&directory, name, Mode::RWXU).unwrap();
        directory = openat(&directory, name, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
    }
    directory
}

fn touch(directory: impl AsFd, name: &str) {
    openat(directory, name, OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
}

#[test]
fn deep_trees_are_copied_up_to_a_limit() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    // A path of 50 KB, longer than any program may name, and hard links there.
    let name = "d".repeat(200);
    let last = chain(&from, &name, 255);
    touch(&last, "one");
    rustix::fs::linkat(&last, "one", &last, "two", AtFlags::empty()).unwrap();
    fs::write(from.join("three"), "").unwrap();
    rustix::fs::linkat(CWD, from.join("three"), &last, "four", AtFlags::empty()).unwrap();
    tree::copy(&from, &to).unwrap();
    assert_eq!(differences(&from, &to), []);
    assert_eq!(fs::metadata(to.join("three")).unwrap().nlink(), 2);
    // One level more is refused by name.
    mkdirat(&last, "deeper", Mode::RWXU).unwrap();
    let error = format!("{:#}", tree::copy(&from, &dir.path().join("other")).unwrap_err());
    assert!(error.contains("/deeper to ") && error.contains("more than 256 levels"), "{error}");
    let error = tree::compare(&from, &from, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(format!("{error:#}").contains("/deeper with "), "{error:#}");
    for tree in [from, to, dir.path().join("other")] {
        tree::remove(&tree).unwrap();
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Builds a tree that makes removing hard, and gives what lies around it.
fn hostile(dir: &Path, levels: usize) -> PathBuf {
    let outside = dir.join("outside");
    fs::create_dir(&outside).unwrap();
    sample(&outside);
    let top = dir.join("top");
    let mut directory = chain(&top, "d", levels);
    touch(&directory, "last");
    directory = chain(&top.join("e"), "thinjail.1", 300);
    mkdirat(&directory, "no entry", Mode::empty()).unwrap();
    for name in ["thinjail.1", "thinjail.2"] {
        fs::create_dir(top.join(name)).unwrap();
        fs::write(top.join(name).join("x"), "").unwrap();
    }
    fs::write(top.join("thinjail.3"), "").unwrap();
    fs::create_dir(top.join("thinjail.4")).unwrap();
    // Many side branches deep down.
    let mut directory = chain(&top.join("wide"), "w", 70);
    for number in 0..50 {
        mkdirat(&directory, number.to_string(), Mode::RWXU).unwrap();
    }
    directory = openat(&directory, "7", OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
    touch(&directory, "f");
    for (number, target) in [outside.clone(), outside.join("dir"), "/".into(), "..".into()].iter().enumerate()
    {
        symlink(target, top.join(format!("link{number}"))).unwrap();
        rustix::fs::symlinkat(target, &directory, format!("link{number}")).unwrap();
    }
    mknod(&top.join("fifo"), FileType::Fifo, 0);
    fs::hard_link(outside.join("file"), top.join("hard")).unwrap();
    fs::create_dir_all(top.join("locked/in")).unwrap();
    fs::write(top.join("locked/in/file"), "").unwrap();
    fs::write(top.join(OsStr::from_bytes(b"-rf \n\xff")), "").unwrap();
    fs::set_permissions(top.join("locked/in"), Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(top.join("locked"), Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(&top, Permissions::from_mode(0o0)).unwrap();
    outside
}

#[test]
fn hostile_trees_are_removed_and_nothing_else() {
    let dir = scratch();
    let outside = hostile(dir.path(), 5_000);
    let before = survey(&outside);
    tree::remove(&dir.path().join("top")).unwrap();
    assert_eq!(before, survey(&outside));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    tree::remove(&dir.path().join("top")).unwrap();
}

// What is done in a process of its own: as another user, with few descriptors.

const CHILD: &str = "THINJAIL_TREE_CHILD";

/// Runs one of the tests below in a process of its own, `prepare`d; its output
/// if it was run at all.
fn in_child(test: &str, dir: &Path, prepare: impl FnOnce(&Path) -> Command) -> Option<String> {
    // Where any user may start it.
    let program = dir.join("program");
    install_program(&std::env::current_exe().unwrap(), &program);
    let module = module_path!().split_once("::").unwrap().1;
    let output = prepare(&program)
        .args(["--exact", &format!("{module}::{test}"), "--include-ignored", "--nocapture"])
        .env(CHILD, dir)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(!text.contains("running 0 tests"), "{test}: {text}");
    if !text.contains("running 1 test") {
        eprintln!("{test} can't be run here: {text}");
        return None;
    }
    assert!(output.status.success(), "{text}");
    Some(text)
}

#[test]
fn few_descriptors_do() {
    let dir = scratch();
    in_child("child_with_few_descriptors", dir.path(), |program| Command::new(program)).unwrap();
}

#[test]
#[ignore = "run by few_descriptors_do"]
fn child_with_few_descriptors() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let few = rustix::process::Rlimit { current: Some(100), ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    hostile(&dir, 500);
    tree::remove(&dir.join("top")).unwrap();
    assert!(!dir.join("top").exists());
}

#[test]
fn other_users_do_what_they_may() {
    if !able().root {
        // Then all the tests run so.
        return;
    }
    let dir = scratch();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::create_dir(foreign.join("sub")).unwrap();
    fs::write(foreign.join("sub/file"), "of root").unwrap();
    in_child("child_of_another_user", dir.path(), |program| {
        let mut command = Command::new(program);
        command.uid(65534).gid(65534);
        command
    });
}

#[test]
#[ignore = "run by other_users_do_what_they_may"]
fn child_of_another_user() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    assert!(!rustix::process::geteuid().is_root());
    // An owner that can't be set is an error, in one line, with the reason.
    let error = format!("{:#}", tree::copy(&dir.join("foreign"), &dir.join("mine")).unwrap_err());
    assert!(error.contains("/sub/file: give it to user 0 and group 0: "), "{error}");
    assert!(error.contains("not permitted") && !error.contains('\n'), "{error}");
    tree::remove(&dir.join("mine")).unwrap();
    // Own trees are copied and removed as by root, locked directories too.
    fs::create_dir(dir.join("own")).unwrap();
    sample(&dir.join("own"));
    tree::copy(&dir.join("own"), &dir.join("copy")).unwrap();
    assert_eq!(differences(&dir.join("own"), &dir.join("copy")), []);
    assert_eq!(survey(&dir.join("own")), survey(&dir.join("copy")));
    tree::remove(&dir.join("copy")).unwrap();
    hostile(&dir, 500);
    tree::remove(&dir.join("top")).unwrap();
    assert!(!dir.join("top").exists());
    // What belongs to others is not removed, and says so.
    let error = format!("{:#}", tree::remove(&dir.join("foreign")).unwrap_err());
    assert!(error.contains("remove ") && error.contains("/foreign"), "{error}");
    assert!(dir.join("foreign/sub/file").exists());
}

#[cfg(not(target_os = "freebsd"))]
#[test]
fn what_is_mounted_in_a_tree_is_left_alone() {
    let dir = scratch();
    for tree in ["a", "b"] {
        fs::create_dir_all(dir.path().join(tree).join("dir/mnt")).unwrap();
    }
    in_child("child_with_a_mount", dir.path(), |program| {
        // A mount that only this process sees, if it may make one.
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", "mount -t tmpfs none \"$0\" && echo x > \"$0/file\" && exec \"$@\""]);
        command.arg(dir.path().join("a/dir/mnt")).arg(program);
        command
    });
}

#[cfg(not(target_os = "freebsd"))]
#[test]
#[ignore = "run by what_is_mounted_in_a_tree_is_left_alone"]
fn child_with_a_mount() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let (a, b, c) = (dir.join("a"), dir.join("b"), dir.join("c"));
    let visit = |_| ControlFlow::Continue(());
    for result in [
        tree::copy(&a, &c),
        tree::compare(&a, &b, &mut { visit }),
        tree::compare(&b, &a, &mut { visit }),
        tree::merge(&a, &b),
        tree::merge(&b, &a),
        tree::remove(&a),
        tree::remove(&a.join("dir/mnt")),
    ] {
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains("/dir/mnt") && error.contains("a file system is mounted there"), "{error}");
    }
    assert_eq!(fs::read(a.join("dir/mnt/file")).unwrap(), b"x\n");
    assert_eq!(fs::read_dir(b.join("dir/mnt")).unwrap().count(), 0);
}

/// Flags, which only FreeBSD has.
#[cfg(target_os = "freebsd")]
mod freebsd {
    use super::*;
    use std::os::freebsd::fs::MetadataExt as _;

    fn chflags(flags: &str, path: &Path) -> bool {
        Command::new("/bin/chflags").args(["-h", flags]).arg(path).status().unwrap().success()
    }

    fn flags(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().st_flags() & !0x800
    }

    #[test]
    fn flags_are_carried_compared_and_no_obstacle() {
        let dir = scratch();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        sample(&from);
        let immutable = if able().root { "schg" } else { "uchg" };
        let nodump = chflags("nodump", &from.join("dir/setuid"));
        if !chflags(immutable, &from.join("z")) || !nodump {
            return;
        }
        for path in ["empty", "dir/sub", "dir/link", "fifo"] {
            assert!(chflags(immutable, &from.join(path)), "{path}");
        }
        tree::copy(&from, &to).unwrap();
        assert_eq!(differences(&from, &to), []);
        assert_eq!(survey(&from), survey(&to));
        for (path, whats) in [("dir/setuid", 1), ("empty", 1), ("z", 1), ("dir/link", 1)] {
            let old = flags(&to.join(path));
            assert!(old != 0 && chflags("0", &to.join(path)));
            let found = differences(&from, &to);
            assert!(found.len() == whats && found[0].what == Aspect::Flags, "{path}: {found:?}");
            assert!(chflags(&format!("{old:o}"), &to.join(path)));
        }
        // Another name outside keeps its flags.
        assert!(chflags("0", &to.join("z")));
        let outside = dir.path().join("outside");
        fs::hard_link(to.join("z"), &outside).unwrap();
        assert!(chflags(immutable, &outside));
        let kept = flags(&outside);
        tree::remove(&to).unwrap();
        assert_eq!((kept != 0, flags(&outside)), (true, kept));
        assert!(chflags("0", &outside));
        // The top's own, which come last.
        assert!(chflags(immutable, &from));
        tree::copy(&from, &to).unwrap();
        assert_eq!(differences(&from, &to), []);
        tree::remove(&to).unwrap();
        tree::remove(&from).unwrap();
    }
}
