//! Trees as the root of a jail could have prepared them for the host, and what
//! lies around them that the host must leave alone.
//!
//! ```ignore
//! #[path = "common/hostile.rs"]
//! mod hostile;
//!
//! let sentinels = Sentinels::make(dir.path());
//! let tree = Tree::make(&container, seed, &sentinels);
//! let race = tree.race();
//! /* the program that walks the tree */
//! race.end();
//! sentinels.untouched();
//! ```
//!
//! The same seed makes the same tree, but for what a system or a user can't
//! make: devices without root, attributes where the file system has none.

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// More than any of this takes on a busy machine, and less than for ever.
const TOO_LONG: Duration = Duration::from_secs(120);

/// What the host looks for in a container, and so what is prepared for it.
const EXPECTED: [&str; 31] = [
    "etc",
    "etc/rc",
    "etc/rc.conf",
    "etc/rmt",
    "etc/passwd",
    "etc/master.passwd",
    "etc/group",
    "etc/login.conf",
    "etc/.thinjail-link",
    "etc/ssl",
    "etc/ssl/certs",
    "etc/ssl/certs/0a.0",
    "etc/ssl/certs/0b.0",
    "etc/ssl/certs/.thinjail-link",
    "etc/ssl/untrusted",
    "etc/ssl/untrusted/0c.0",
    "etc/ssl/blacklisted",
    "etc/mtree",
    "etc/rc.d",
    "etc/rc.d/netif",
    "etc/resolv.conf",
    "root",
    "tmp",
    "home",
    "usr",
    "usr/local",
    "usr/local/etc",
    "var",
    "var/db",
    "var/db/etcupdate",
    "var/empty",
];

/// Numbers that look random and are the same for the same seed (splitmix64).
pub struct Random(u64);

impl Random {
    /// Those of a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a limit.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of them.
    pub fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// What lies outside: files, directories, and a FIFO that blocks whoever opens
/// it. They are watched where the system can do that.
pub struct Sentinels {
    top: PathBuf,
    before: BTreeMap<PathBuf, String>,
    #[cfg(target_os = "linux")]
    watch: OwnedFd,
}

impl Sentinels {
    /// Makes them in `dir`, which should be on the tree's file system, so that
    /// there can be hard links to them.
    pub fn make(dir: &Path) -> Sentinels {
        let top = dir.join("outside");
        for directory in ["dir/sub/subsub", "etc/ssl/certs", "empty", "private"] {
            fs::create_dir_all(top.join(directory)).unwrap();
        }
        for file in
            ["file", "hard", "dir/file", "dir/sub/x", "etc/rc.conf", "etc/ssl/certs/0a.0", "private/key"]
        {
            fs::write(top.join(file), format!("precious {file}\n")).unwrap();
        }
        symlink("file", top.join("link")).unwrap();
        rustix::fs::mknodat(CWD, top.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        fs::set_permissions(top.join("private/key"), Permissions::from_mode(0o400)).unwrap();
        fs::set_permissions(top.join("private"), Permissions::from_mode(0o700)).unwrap();
        let before = survey(&top);
        #[cfg(target_os = "linux")]
        let watch = watch(&top);
        Sentinels {
            top,
            before,
            #[cfg(target_os = "linux")]
            watch,
        }
    }

    /// Where they are.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Fails if anything of them was opened, read, changed, made or removed.
    #[track_caller]
    pub fn untouched(&self) {
        #[cfg(target_os = "linux")]
        {
            let seen = self.events();
            assert!(seen.is_empty(), "what lies outside was touched: {seen:?}");
        }
        let now = survey(&self.top);
        for (path, what) in &self.before {
            assert_eq!(now.get(path), Some(what), "{}", path.display());
        }
        assert_eq!(now.len(), self.before.len(), "{:?}", now.keys());
        #[cfg(target_os = "linux")]
        self.events();
    }

    /// What happened in the directories since it was asked last.
    #[cfg(target_os = "linux")]
    fn events(&self) -> Vec<String> {
        use rustix::fs::inotify;
        let mut room = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.watch, &mut room);
        let mut seen = Vec::new();
        while let Ok(event) = reader.next() {
            seen.push(format!("{:?} {:?}", event.events(), event.file_name()));
        }
        seen
    }
}

/// Watches directories, which tells of all their entries by those names: what is
/// done to a file by a hard link to it elsewhere is done to the jail's own.
#[cfg(target_os = "linux")]
fn watch(top: &Path) -> OwnedFd {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    let watch = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    // Not that something is closed: what another thread's child was born with
    // is closed later than this process has done it.
    let flags = WatchFlags::ALL_EVENTS.difference(WatchFlags::CLOSE) | WatchFlags::ONLYDIR;
    let mut directories = vec![top.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            }
        }
        add_watch(&watch, &directory, flags).unwrap();
    }
    // Looking for them was the first event.
    let sentinels = Sentinels { top: top.to_owned(), before: BTreeMap::new(), watch };
    sentinels.events();
    sentinels.watch
}

/// Everything there is to see, but for the time of the last access and, of the
/// file that has names in hostile trees, their number.
fn survey(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![top.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let mut line =
            format!("{:o} {}:{} {}.{}", meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else if meta.is_file() {
            line += &format!(" {:?}", fs::read(&path).unwrap());
        } else if meta.is_symlink() {
            line += &format!(" {:?}", fs::read_link(&path).unwrap());
        }
        all.insert(path, line);
    }
    all
}

/// A hostile tree. It stays when the value goes.
pub struct Tree {
    /// Its top.
    pub top: PathBuf,
    /// Whether it has more levels than a path can name.
    pub deep: bool,
    /// Directories that can be swapped with what is next to them.
    swapped: Vec<(Arc<Name>, Arc<Name>)>,
    growing: Option<PathBuf>,
    /// Sockets exist while somebody holds them, or their names do.
    paths: Vec<PathBuf>,
}

struct Maker<'a> {
    random: Random,
    sentinels: &'a Sentinels,
    tree: Tree,
    depth: usize,
    serial: usize,
}

impl Tree {
    /// Makes the tree of that seed at `top`, of what already exists, if
    /// anything is: a container, for instance.
    pub fn make(top: &Path, seed: u64, sentinels: &Sentinels) -> Tree {
        if !top.exists() {
            fs::create_dir(top).unwrap();
        }
        let tree =
            Tree { top: top.to_owned(), deep: false, swapped: Vec::new(), growing: None, paths: Vec::new() };
        let mut maker = Maker { random: Random::new(seed), sentinels, tree, depth: 0, serial: 0 };
        maker.expected();
        let number = 5 + maker.random.below(25);
        maker.fill(top, number);
        maker.race();
        maker.tree
    }

    /// A path in the tree, without its top: one that was prepared.
    pub fn some_path(&self, random: &mut Random) -> PathBuf {
        random.one(&self.paths).strip_prefix(&self.top).unwrap().to_owned()
    }

    /// Has directories swapped with links to what lies outside, and a file grow,
    /// until [`Race::end`].
    pub fn race(&self) -> Race {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (one, other) in self.swapped.clone() {
            let stop = stop.clone();
            threads.push(std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    swap(&one, &other);
                    std::thread::yield_now();
                }
            }));
        }
        if let Some(file) = self.growing.clone() {
            let stop = stop.clone();
            threads.push(std::thread::spawn(move || {
                let Ok(mut file) = fs::File::options().append(true).open(file) else { return };
                let mut written = 0;
                while !stop.load(Ordering::Relaxed) && written < 8 << 20 {
                    written += file.write(&[b'x'; 4096]).unwrap_or(0);
                    std::thread::yield_now();
                }
            }));
        }
        Race { stop, threads }
    }
}

/// A name in an open directory: the way to it may be swapped as well.
struct Name {
    directory: OwnedFd,
    name: OsString,
}

impl Name {
    fn of(path: &Path) -> Arc<Name> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let directory = rustix::fs::open(path.parent().unwrap(), flags, Mode::empty()).unwrap();
        Arc::new(Name { directory, name: path.file_name().unwrap().to_owned() })
    }
}

/// Two names change places, at one blow where the system can do that.
fn swap(one: &Name, other: &Name) {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        let flags = RenameFlags::EXCHANGE;
        let _ = renameat_with(&one.directory, &*one.name, &other.directory, &*other.name, flags);
    }
    #[cfg(not(target_os = "linux"))]
    {
        use rustix::fs::renameat;
        let _ = renameat(&one.directory, &*one.name, &one.directory, "aside");
        let _ = renameat(&other.directory, &*other.name, &one.directory, &*one.name);
        let _ = renameat(&one.directory, "aside", &other.directory, &*other.name);
    }
}

/// A tree that changes. It must be ended.
pub struct Race {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Race {
    /// Waits until nothing changes any longer.
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

impl Maker<'_> {
    /// Puts something else, now and then, where the host expects a file or a
    /// directory, and something of the kind expected otherwise.
    fn expected(&mut self) {
        for path in EXPECTED {
            let at = self.tree.top.join(path);
            // What is above it may have been replaced.
            let Some(parent) = at.parent().filter(|p| is_directory(p)) else { continue };
            let there = fs::symlink_metadata(&at).is_ok();
            if self.random.once_in(12) {
                if there {
                    rename_away(&at, self.serial);
                    self.serial += 1;
                }
                self.entry(&at);
            } else if !there && self.random.once_in(2) {
                let directory = EXPECTED.iter().any(|p| Path::new(p).parent() == Some(Path::new(path)));
                if directory {
                    fs::create_dir(&at).unwrap();
                } else if parent.ends_with("certs") || path.ends_with("rmt") {
                    let text =
                        self.random.one(&["../../../usr/share/certs/trusted/A.pem", "../usr/sbin/rmt", "x"]);
                    symlink(text, &at).unwrap();
                } else {
                    fs::write(&at, "something\n").unwrap();
                }
            }
            self.tree.paths.push(at);
        }
    }

    fn fill(&mut self, directory: &Path, number: usize) {
        for _ in 0..number {
            let at = directory.join(self.name());
            if fs::symlink_metadata(&at).is_err() {
                self.entry(&at);
                self.tree.paths.push(at);
            }
        }
    }

    /// A name, with all that a name can have in it.
    fn name(&mut self) -> OsString {
        self.serial += 1;
        let serial = self.serial;
        let text: Vec<u8> = match self.random.below(16) {
            0 => format!("new\nline{serial}").into(),
            1 => format!(" blank {serial} ").into(),
            2 => format!("-rf{serial}").into(),
            3 => format!("quote'\"`$(id){serial}").into(),
            4 => format!("\u{1b}[31m{serial}\u{7}").into(),
            5 => [&b"\xff\xfe\x80"[..], serial.to_string().as_bytes()].concat(),
            6 => format!("{serial:x<255}").into(),
            7 => format!("...{serial}").into(),
            8 => format!("*{serial}?").into(),
            9 => format!("a\\040b{serial}").into(),
            10 => format!("thinjail.{serial}").into(),
            11 => b".thinjail-link".to_vec(),
            12 => format!(".x{serial}.thinjail").into(),
            _ => format!("n{serial}").into(),
        };
        OsStr::from_bytes(&text).to_owned()
    }

    /// Something at a path where nothing is.
    fn entry(&mut self, at: &Path) {
        match self.random.below(20) {
            0..=5 => symlink(self.target(at), at).unwrap(),
            6 => self.hard_link(at),
            7 => rustix::fs::mknodat(CWD, at, FileType::Fifo, Mode::RWXU, 0).unwrap(),
            8 => self.socket(at),
            9 => self.device(at),
            10 => {
                let file = fs::File::create(at).unwrap();
                file.set_len(1 << 20).unwrap();
                file.write_all_at(b"x", 700_000).unwrap();
            }
            11 => self.chain(at),
            12 => self.crowd(at),
            13 => {
                // Both lead to each other.
                let other = at.with_file_name(format!("loop{}", self.serial));
                self.serial += 1;
                symlink(other.file_name().unwrap(), at).unwrap();
                let _ = symlink(at.file_name().unwrap(), other);
            }
            14..=16 if self.depth < 4 => {
                fs::create_dir(at).unwrap();
                self.depth += 1;
                let number = self.random.below(8);
                self.fill(at, number);
                self.depth -= 1;
                self.decorate(at);
            }
            _ => {
                fs::write(at, format!("{}\n", self.serial)).unwrap();
                self.decorate(at);
            }
        }
    }

    /// The text of a link that leads astray.
    fn target(&mut self, at: &Path) -> PathBuf {
        let outside = self.sentinels.top().to_owned();
        let victim = self.random.one(&[
            "",
            "dir",
            "file",
            "dir/sub",
            "etc",
            "etc/ssl/certs",
            "etc/ssl/certs/0a.0",
            "fifo",
            "private",
            "empty",
            "new",
            "link",
            "dir/sub/x",
        ]);
        match self.random.below(10) {
            0 => "/".into(),
            1 => "..".into(),
            2 => self.random.one(&[".", "./.", "nowhere", "/nowhere", "\n", "//", "a/../b"]).into(),
            3 => at.file_name().unwrap().into(),
            4 => "../".repeat(1 + self.random.below(1300)).into(),
            5 => OsStr::from_bytes(&b"x/".repeat(2000)).into(),
            6 | 7 => {
                // Climbs as far as there is something to climb, and down again.
                let climb = at.parent().unwrap().components().count() - 1 + self.random.below(4);
                let down = outside.strip_prefix("/").unwrap().join(victim);
                Path::new(&"../".repeat(climb)).join(down)
            }
            _ => outside.join(victim),
        }
    }

    fn hard_link(&mut self, at: &Path) {
        let inside: Vec<&PathBuf> = self.tree.paths.iter().filter(|p| is_file(p)).collect();
        let from = match inside.len() {
            0 => self.sentinels.top().join("hard"),
            _ if self.random.once_in(3) => self.sentinels.top().join("hard"),
            _ => (*self.random.one(&inside)).clone(),
        };
        if fs::hard_link(from, at).is_err() {
            fs::write(at, "").unwrap();
        }
    }

    fn socket(&mut self, at: &Path) {
        // The name of a socket's address is short.
        let (directory, short) = (at.parent().unwrap(), format!("s{}", self.serial));
        self.serial += 1;
        let handle = fs::File::open(directory).unwrap();
        let address = format!("/proc/self/fd/{}/{short}", std::os::fd::AsRawFd::as_raw_fd(&handle));
        match UnixListener::bind(address).and_then(|_| fs::rename(directory.join(&short), at)) {
            Ok(()) => {}
            Err(_) => fs::write(at, "").unwrap(),
        }
    }

    fn device(&mut self, at: &Path) {
        let device = rustix::fs::makedev(1, 3);
        if rustix::fs::mknodat(CWD, at, FileType::CharacterDevice, Mode::RWXU, device as _).is_err() {
            fs::write(at, "").unwrap();
        }
    }

    /// Directories in directories, mostly few of them, sometimes more than any
    /// path can name.
    fn chain(&mut self, at: &Path) {
        fs::create_dir(at).unwrap();
        let levels = match self.random.below(40) {
            0 => 2500,
            1 | 2 => 300,
            _ => 1 + self.random.below(40),
        };
        self.tree.deep |= levels > 100;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let mut here = rustix::fs::open(at, flags, Mode::empty()).unwrap();
        for _ in 0..levels {
            rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
            here = rustix::fs::openat(&here, "d", flags, Mode::empty()).unwrap();
        }
        rustix::fs::symlinkat(self.sentinels.top(), &here, "out").unwrap();
        rustix::fs::symlinkat("d/".repeat(500), &here, "further").unwrap();
        let _ = rustix::fs::symlinkat("d/".repeat(2000), CWD, at.join("down"));
    }

    /// More entries than a buffer for them takes.
    fn crowd(&mut self, at: &Path) {
        fs::create_dir(at).unwrap();
        let number = if self.random.once_in(30) { 3000 } else { 40 };
        for n in 0..number {
            if n % 7 == 0 {
                symlink(self.sentinels.top().join("dir"), at.join(n.to_string())).unwrap();
            } else {
                rustix::fs::mknodat(CWD, at.join(n.to_string()), FileType::Fifo, Mode::RWXU, 0).unwrap();
            }
        }
    }

    /// A mode, a time, attributes, a list of rights.
    fn decorate(&mut self, at: &Path) {
        #[cfg(target_os = "linux")]
        if self.random.once_in(3) {
            use rustix::fs::XattrFlags;
            let _ = rustix::fs::setxattr(at, "user.thinjail", b"value\0\xff", XattrFlags::empty());
            // Version 2; owner rwx, user 7 rwx, group, mask, others nothing.
            let mut list = vec![2, 0, 0, 0];
            for (tag, rights, id) in
                [(1, 7, u32::MAX), (2, 7, 7), (4, 0, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)]
            {
                list.extend([tag, 0, rights, 0]);
                list.extend(u32::to_le_bytes(id));
            }
            let _ = rustix::fs::setxattr(at, "system.posix_acl_access", &list, XattrFlags::empty());
        }
        let mode = match self.random.below(10) {
            // Nobody but root could look into it afterwards.
            0 if rustix::process::geteuid().is_root() => 0o000,
            1 => 0o1777,
            2 => 0o4755,
            3 => 0o6777,
            4 => 0o755,
            _ => return,
        };
        fs::set_permissions(at, Permissions::from_mode(mode)).unwrap();
    }

    /// Prepares what changes while somebody walks the tree.
    fn race(&mut self) {
        let directories: Vec<PathBuf> = self.tree.paths.iter().filter(|p| is_directory(p)).cloned().collect();
        for (number, directory) in directories.iter().enumerate().take(3) {
            let link = self.tree.top.join(format!("swap{number}"));
            let victim = self.random.one(&["dir", "etc/ssl", "", "private"]);
            if symlink(self.sentinels.top().join(victim), &link).is_ok() {
                self.tree.swapped.push((Name::of(directory), Name::of(&link)));
            }
        }
        let growing = self.tree.top.join("growing");
        if fs::write(&growing, "x").is_ok() {
            self.tree.growing = Some(growing);
        }
    }
}

fn rename_away(at: &Path, serial: usize) {
    fs::rename(at, at.with_file_name(format!("was{serial}"))).unwrap();
}

fn is_directory(path: &Path) -> bool {
    kind(path) == Some(FileType::Directory)
}

fn is_file(path: &Path) -> bool {
    kind(path) == Some(FileType::RegularFile)
}

/// What kind of thing is at a path that no link leads through.
fn kind(path: &Path) -> Option<FileType> {
    let mut whole = PathBuf::new();
    let mut found = None;
    for part in path {
        whole.push(part);
        let stat = rustix::fs::statat(CWD, &whole, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        found = Some(FileType::from_raw_mode(stat.st_mode));
        if found == Some(FileType::Symlink) {
            break;
        }
    }
    found
}

/// The seeds that a test tries: a few, or as many as HOSTILE_SEEDS says, from
/// HOSTILE_FIRST on.
pub fn seeds(few: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("HOSTILE_SEEDS").ok().map(|n| n.parse().expect("HOSTILE_SEEDS is a number"));
    let first =
        std::env::var("HOSTILE_FIRST").ok().map_or(0, |n| n.parse().expect("HOSTILE_FIRST is a number"));
    first..first + wanted.unwrap_or(few)
}

/// Runs something that must come to an end.
pub fn in_time<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let result = work();
        let _ = done.send(());
        result
    });
    match wait.recv_timeout(TOO_LONG) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: it hangs"),
        // Ended, or panicked.
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// Runs a program that must come to an end with status 0 or 1, and with nothing
/// on standard error but lines of its own.
#[track_caller]
pub fn run(mut command: Command) -> Output {
    let what = format!("{command:?}");
    let name = Path::new(command.get_program()).file_name().unwrap().to_str().unwrap().to_owned();
    let output = in_time(&what, move || {
        command.stdin(std::process::Stdio::null());
        command.output().unwrap()
    });
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{what}: {}: {text}", output.status);
    for line in text.lines() {
        assert!(
            line.starts_with(&format!("{name}: ")) && !line.chars().any(char::is_control),
            "{what}: {text:?}"
        );
    }
    assert!(output.status.success() || !text.is_empty() || !output.stdout.is_empty(), "{what}: not a word");
    output
}
