//! A simulated host for tests: a root of its own, the stand-ins, and pools.
//!
//! Not part of the stand-in program: a test takes it in with
//!
//! ```ignore
//! #[path = "standins/setup.rs"]
//! mod setup;
//! ```
//!
//! and then
//!
//! ```ignore
//! let stage = Stage::new();
//! stage.pool("zdata");
//! stage.ok("zfs", &["create", "-p", "zdata/jails/containers"]);
//! let output = stage.wear(Command::new(program)).output();
//! assert!(stage.calls().iter().any(|call| call.starts_with("zfs clone")));
//! ```
//!
//! or, for a host that jails can run on,
//!
//! ```ignore
//! let stage = Stage::host(Storage::Zfs);
//! stage.ours("jail-clone", &["web", "10"]);
//! stage.ok("jail", &["-c", "web"]);
//! stage.ok("jail", &["-r", "web"]);
//! stage.nothing_left();
//! ```

// Every test binary compiles this file anew and uses a part of it.
#![allow(dead_code)]

#[allow(clippy::duplicate_mod)] // The runners of a test crate may both have it.
#[path = "../common/rules.rs"]
pub mod rules;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use thinjail::kernel::simulated::{HOST, Simulated, State};
use thinjail::root::Root;

/// The programs that have a stand-in. That of pkg(8) is there only once [`Stage::packages`] was called, as the port is
/// not on every host.
pub const PROGRAMS: &[&str] = &[
    "cap_mkdb",
    "certctl",
    "devfs",
    "fetch",
    "freebsd-update",
    "freebsd-version",
    "ifconfig",
    "jail",
    "jexec",
    "jls",
    "kldstat",
    "mount",
    "pwd_mkdb",
    "rctl",
    "route",
    "service",
    "services_mkdb",
    "sh",
    "sync",
    "sysctl",
    "sysrc",
    "tar",
    "umount",
    "uname",
    "zfs",
];

/// The release that a host's template is of.
pub const RELEASE: &str = "14.2-RELEASE";

/// How a host keeps its trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// In the pool `zdata`.
    Zfs,
    /// In plain directories.
    Directory,
}

/// A simulated host. It goes away with the value.
pub struct Stage {
    dir: TempDir,
    /// What [`Stage::nothing_left`] compares with.
    at_start: Vec<String>,
}

impl Stage {
    /// A host with an empty root, without pools.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("thinjail-").tempdir_in(scratch());
        let dir = dir.expect("make a temporary directory");
        let stage = Self { dir, at_start: Vec::new() };
        for sub in ["root/etc", "root/var/db/standin", "tools"] {
            fs::create_dir_all(stage.dir.path().join(sub)).expect("lay out the stage");
        }
        let standin = standin();
        for program in PROGRAMS {
            symlink(&standin, stage.tools().join(program)).expect("link a stand-in");
        }
        stage
    }

    /// A host as the manual sets one up: the NIC igc0 in the bridge igc0bridge, settings, a template, the example
    /// jail.conf, and the built programs in `/usr/local/sbin`. No jail is configured.
    pub fn host(storage: Storage) -> Self {
        let mut stage = Self::furnished(storage);
        let skeleton = match storage {
            Storage::Zfs => {
                let skeleton = format!("zdata/jails/templates/{RELEASE}-skeleton");
                stage.ok("zfs", &["create", "-p", &skeleton]);
                stage.ok("zfs", &["create", "zdata/jails/containers"]);
                Some(skeleton)
            }
            Storage::Directory => {
                fs::create_dir_all(stage.path("/zdata/jails/containers")).expect("lay out the host");
                None
            }
        };
        stage.template();
        if let Some(skeleton) = skeleton {
            stage.ok("zfs", &["snapshot", &format!("{skeleton}@base")]);
        }
        stage.begin();
        stage
    }

    /// The same host before it has anything for jails: no template, no containers, and no dataset for them.
    pub fn bare(storage: Storage) -> Self {
        let mut stage = Self::furnished(storage);
        fs::create_dir_all(stage.path("/var/db/freebsd-update")).expect("lay out the host");
        stage.begin();
        stage
    }

    /// A host with its network and the built programs, and nothing configured yet for jails.
    pub fn unconfigured() -> Self {
        let stage = Self::new();
        stage.ok("ifconfig", &["standin-init", "igc0", "igc0bridge", "192.168.7.101/24"]);
        for sub in ["etc/jail.conf.d", "usr/local/sbin", "usr/local/etc", "var/log", "var/run"] {
            fs::create_dir_all(stage.path(sub)).expect("lay out the host");
        }
        for (name, file) in built() {
            symlink(file, stage.path("/usr/local/sbin").join(name)).expect("link a program");
        }
        stage
    }

    /// Says that what is there now is what [`Stage::nothing_left`] compares with.
    pub fn begin(&mut self) {
        self.forget_calls();
        self.at_start = self.present();
    }

    /// A host with its network, its settings and the programs.
    fn furnished(storage: Storage) -> Self {
        let stage = Self::unconfigured();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("share/examples/jail.conf");
        fs::copy(example, stage.path("/etc/jail.conf")).expect("install jail.conf");
        let place = match storage {
            Storage::Zfs => {
                stage.pool("zdata");
                "jail_zfs=\"zdata/jails\""
            }
            Storage::Directory => "jail_dir=\"/zdata/jails\"",
        };
        stage.write(
            "/usr/local/etc/thinjail.conf",
            &format!(
                "{place}\nbsd_ver=\"{RELEASE}\"\njail_bridge=\"igc0bridge\"\njail_net=\"192.168.7.0/24\"\n\
                 jail_gateway=\"192.168.7.101\"\n"
            ),
        );
        stage
    }

    /// Fills base and skeleton of [`RELEASE`] with the little that a jail's start and its links need.
    fn template(&self) {
        let base = format!("/zdata/jails/templates/{RELEASE}-base");
        let skeleton = format!("/zdata/jails/templates/{RELEASE}-skeleton");
        for directory in ["dev", "skeleton", "usr/share/certs/trusted", "mnt"] {
            fs::create_dir_all(self.path(&base).join(directory)).expect("make a directory");
        }
        for directory in ["etc/ssl/certs", "var/empty", "var/log", "root", "tmp", "home", "usr/local"] {
            fs::create_dir_all(self.path(&skeleton).join(directory)).expect("make a directory");
        }
        for moved in ["etc", "var", "root", "tmp", "home"] {
            symlink(format!("skeleton/{moved}"), self.path(&base).join(moved)).expect("make a link");
        }
        symlink("../skeleton/usr/local", self.path(&base).join("usr/local")).expect("make a link");
        self.write(&format!("{base}/usr/share/certs/trusted/A.pem"), "a certificate\n");
        let certificate = self.path(&skeleton).join("etc/ssl/certs/0a.0");
        symlink("../../../../usr/share/certs/trusted/A.pem", certificate).expect("make a link");
        self.write(&format!("{skeleton}/etc/rc.conf"), "");
    }

    /// Runs one of the built programs, which has to succeed, and gives what it printed, without the root.
    pub fn ours(&self, program: &str, args: &[&str]) -> String {
        let output = self.run_ours(program, args);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {complaint}");
        self.strip(&output.stdout)
    }

    /// Runs one of the built programs, whatever comes of it.
    pub fn run_ours(&self, program: &str, args: &[&str]) -> Output {
        let file = self.path("/usr/local/sbin").join(program);
        let output = self.wear(Command::new(file)).args(args).output().expect("start a program");
        rules::hold(program, args, &output.stderr);
        output
    }

    /// What the simulated kernel knows.
    pub fn kernel(&self) -> State {
        let root = Root::alternate(&self.root()).expect("the root");
        Simulated::new(&root).state().expect("the state of the kernel")
    }

    /// The host's interfaces, mounts and jails, dying ones among them, and the temporary files of the suite.
    pub fn present(&self) -> Vec<String> {
        let state = self.kernel();
        let mut found = Vec::new();
        for interface in &state.interfaces {
            let (name, vnet) = (&interface.name, interface.vnet);
            // The members of a bridge are told by their numbers, which do not change.
            let (kind, groups) = (&interface.kind, interface.groups.join(" "));
            let place = if vnet == HOST { "the host".into() } else { format!("jail {vnet}") };
            found.push(format!("interface {name} of {place}: {kind:?}, {groups}"));
        }
        for mount in &state.mounts {
            found.push(self.strip(format!("mount {} on {}", mount.kind, mount.on.display()).as_bytes()));
        }
        for jail in &state.jails {
            found.push(format!("{} jail {}", if jail.dying { "dying" } else { "running" }, jail.name));
        }
        let mut files = Vec::new();
        temporary_files(&self.root(), &mut files);
        found.extend(files.iter().map(|file| self.strip(format!("file {}", file.display()).as_bytes())));
        found.sort();
        found
    }

    /// Fails unless interfaces, mounts, jails and temporary files are those that [`Stage::host`] left, and tells the
    /// difference.
    #[track_caller]
    pub fn nothing_left(&self) {
        let now = self.present();
        let left: Vec<_> = now.iter().filter(|thing| !self.at_start.contains(thing)).collect();
        let gone: Vec<_> = self.at_start.iter().filter(|thing| !now.contains(thing)).collect();
        assert!(left.is_empty() && gone.is_empty(), "left: {left:#?}\ngone: {gone:#?}");
    }

    /// The alternate root, for `THINJAIL_ROOT`.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The directory with the stand-ins, for `THINJAIL_TOOLS`.
    pub fn tools(&self) -> PathBuf {
        self.dir.path().join("tools")
    }

    /// The real place of an absolute path of the host.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root().join(inside.trim_start_matches('/'))
    }

    /// Writes a file of the host, making the directories above it.
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("make a directory");
        }
        fs::write(path, text).expect("write a file");
    }

    /// Makes a pool, mounted at `/NAME`.
    pub fn pool(&self, name: &str) {
        self.ok("zfs", &["standin-init", name]);
    }

    /// Puts a command on the stage: it sees this root and these tools.
    pub fn wear(&self, mut command: Command) -> Command {
        command.env("THINJAIL_ROOT", self.root()).env("THINJAIL_TOOLS", self.tools());
        command
    }

    /// A stand-in, ready to be given arguments.
    pub fn command(&self, program: &str) -> Command {
        self.wear(Command::new(self.tools().join(program)))
    }

    /// Runs a stand-in, whatever comes of it.
    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        self.command(program).args(args).output().expect("start a stand-in")
    }

    /// Runs a stand-in that has to succeed, and gives what it printed, without the root.
    pub fn ok(&self, program: &str, args: &[&str]) -> String {
        let output = self.run(program, args);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {complaint}");
        self.strip(&output.stdout)
    }

    /// Runs a stand-in that has to fail with status 1, and gives its complaint, without the root.
    pub fn err(&self, program: &str, args: &[&str]) -> String {
        let output = self.run(program, args);
        assert_eq!(output.status.code(), Some(1), "{program} {args:?}: {output:?}");
        self.strip(&output.stderr)
    }

    /// Text as the real host would have printed it: without the root before its paths.
    pub fn strip(&self, text: &[u8]) -> String {
        let root = self.root();
        String::from_utf8_lossy(text).replace(root.to_str().expect("a root that is UTF-8"), "")
    }

    /// Asks for a fault, such as `fail-mount` or `held-connection`. Each stand-in's own documentation lists them.
    pub fn fault(&self, name: &str) {
        self.fault_with(name, "");
    }

    /// Asks for a fault that needs to be told more: `fetch-break`, for instance, the number of bytes.
    pub fn fault_with(&self, name: &str, text: &str) {
        fs::write(self.state(name), text).expect("set a fault");
    }

    /// Puts a file on a web server, and the server there if need be.
    pub fn www(&self, host: &str, path: &str, content: &[u8]) {
        let file = self.state("www").join(host).join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().expect("a file in a directory")).expect("make a web server");
        fs::write(&file, content).expect("put a file on a web server");
        // HTTP knows no fractions of seconds.
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_732_000_000);
        let opened = fs::File::options().write(true).open(&file).expect("open a file");
        opened.set_modified(time).expect("set a time");
    }

    /// Puts a patch level of a release on the server of freebsd-update(8) and pkg(8), in place of an earlier one: files by
    /// their paths in a base. The version in bin/freebsd-version is raised with it. See `tests/standins/update.rs` for what
    /// else there can be in the directory, which comes back.
    pub fn updates(&self, release: &str, level: u32, files: &[(&str, &[u8])]) -> PathBuf {
        let updates = self.state("updates").join(release);
        let _ = fs::remove_dir_all(&updates);
        fs::create_dir_all(updates.join("files")).expect("make a server");
        fs::create_dir_all(self.path("/var/db/freebsd-update")).expect("make a directory");
        fs::write(updates.join("level"), format!("{level}\n")).expect("put a level on a server");
        for (path, content) in files {
            let file = updates.join("files").join(path.trim_start_matches('/'));
            fs::create_dir_all(file.parent().expect("a file in a directory")).expect("make a directory");
            fs::write(file, content).expect("put a file on a server");
        }
        updates
    }

    /// Makes the base of every template one that was installed from packages, and pkg(8) there.
    pub fn packages(&self) {
        let link = self.tools().join("pkg");
        if !link.is_symlink() {
            symlink(standin(), link).expect("link a stand-in");
        }
        self.fault("pkgbase");
    }

    /// Takes a fault, or everything in `busy`, back.
    pub fn mend(&self, name: &str) {
        let _ = fs::remove_file(self.state(name));
    }

    /// Says that there is a nullfs mount above a mountpoint, which is given without the root.
    pub fn busy(&self, mountpoint: &str) {
        fs::write(self.state("busy"), format!("{mountpoint}\n")).expect("make a mountpoint busy");
    }

    /// The stand-ins that were started, oldest first, as shell words.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.state("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Forgets the calls made so far.
    pub fn forget_calls(&self) {
        let _ = fs::remove_file(self.state("calls"));
    }

    /// A file of the stand-ins' own.
    pub fn state(&self, name: &str) -> PathBuf {
        self.root().join("var/db/standin").join(name)
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

/// Collects what the suite's programs call their temporary files, however deep. A directory that cannot be read is
/// left out.
fn temporary_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && (name.ends_with(".thinjail") || name == ".thinjail-link") {
            found.push(entry.path());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            temporary_files(&entry.path(), found);
        }
    }
}

/// Where to work: in memory where the system has such a place, because much is written that nobody will miss. TMPDIR
/// names another.
fn scratch() -> PathBuf {
    let memory = || Some(PathBuf::from("/dev/shm")).filter(|place| place.is_dir());
    std::env::var_os("TMPDIR").map(PathBuf::from).or_else(memory).unwrap_or_else(std::env::temp_dir)
}

/// The directory that cargo builds into: a test is `target/debug/deps/test`.
fn target() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    test.ancestors().nth(2).expect("a test below the target directory").to_owned()
}

/// The programs of the package and where cargo built them. Read from its manifest, so that no list has to be kept;
/// cargo builds all of them before it runs an integration test.
pub fn built() -> Vec<(String, PathBuf)> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    let manifest = manifest.expect("read the manifest");
    let mut lines = manifest.lines();
    let mut all = Vec::new();
    while lines.any(|line| line.trim() == "[[bin]]") {
        let name = lines.find_map(|line| line.trim().strip_prefix("name = \"")?.strip_suffix('"'));
        let name = name.expect("a program has a name").to_owned();
        let file = target().join(&name);
        assert!(file.is_file(), "{}: not there; run cargo build", file.display());
        all.push((name, file));
    }
    all
}

/// The stand-in program, for which cargo has no variable as it is an example.
pub fn standin() -> PathBuf {
    let standin = target().join("examples/standin");
    assert!(standin.is_file(), "{}: not there; run cargo build --examples", standin.display());
    standin
}
