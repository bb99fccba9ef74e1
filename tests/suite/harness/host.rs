//! A simulated host: an alternate root with a simulated kernel, stand-ins for the
//! base system's programs, and pools.
//!
//! ```ignore
//! let host = Host::zfs();
//! host.ok("jail-clone web 10");
//! host.tool("jail", &["-c", "web"]);
//! host.tool("jail", &["-r", "web"]);
//! assert!(host.fails("jail-clone web 10").contains("configured already"));
//! host.nothing_left();
//! ```
//!
//! The hooks need no other program: `Host::hooks` has no stand-ins, and there every
//! file counts as left behind.

use super::bin::bin;
use super::{rules, scratch};
use assert_cmd::assert::OutputAssertExt;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use thinjail::system::kernel::simulated::{HOST, Simulated, State};
use thinjail::system::root::Root;

/// The programs that have a stand-in. That of pkg(8) is there only once [`Host::packages`] was called, as the port is
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
    "netstat",
    "pfctl",
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
pub const RELEASE: &str = "14.5-RELEASE";

/// The settings of the recipe, under directory storage.
pub const SETTINGS: &str = "jail_dir=\"/zdata/jails\"\nbsd_ver=\"14.5\"\njail_bridge=\"igc0bridge\"\n\
                            jail_net=\"192.168.7.0/24\"\njail_gateway=\"192.168.7.101\"\n";

/// How a host keeps its trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// In the pool `zdata`.
    Zfs,
    /// In plain directories.
    Directory,
}

/// A simulated host. It goes away with the value.
pub struct Host {
    dir: TempDir,
    /// Whether it has stand-ins; without them every file counts for
    /// [`Host::nothing_left`].
    has_tools: bool,
    /// What [`Host::nothing_left`] compares with.
    at_start: Vec<String>,
}

impl Host {
    /// A host with an empty root, without pools.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("thinjail-").tempdir_in(scratch());
        let dir = dir.expect("make a temporary directory");
        let stage = Self { dir, has_tools: true, at_start: Vec::new() };
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
    pub fn on(storage: Storage) -> Self {
        let mut stage = Self::furnished(storage);
        let skeleton = match storage {
            Storage::Zfs => {
                let skeleton = format!("zdata/jails/templates/{RELEASE}-skeleton");
                stage.tool("zfs", &["create", "-p", &skeleton]);
                stage.tool("zfs", &["create", "zdata/jails/containers"]);
                Some(skeleton)
            }
            Storage::Directory => {
                fs::create_dir_all(stage.path("/zdata/jails/containers")).expect("lay out the host");
                None
            }
        };
        stage.template();
        if let Some(skeleton) = skeleton {
            stage.tool("zfs", &["snapshot", &format!("{skeleton}@base")]);
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
        stage.tool("ifconfig", &["standin-init", "igc0", "igc0bridge", "192.168.7.101/24"]);
        for sub in ["etc/jail.conf.d", "usr/local/sbin", "usr/local/etc", "var/log", "var/run"] {
            fs::create_dir_all(stage.path(sub)).expect("lay out the host");
        }
        for (name, file) in built() {
            symlink(file, stage.path("/usr/local/sbin").join(name)).expect("link a program");
        }
        stage
    }

    /// A new host with the network card igc0 and nothing else.
    pub fn with_card() -> Self {
        let stage = Self::new();
        stage.tool("ifconfig", &["standin-plug", "igc0"]);
        for sub in ["usr/local/sbin", "usr/local/etc", "var/log", "var/run"] {
            fs::create_dir_all(stage.path(sub)).expect("lay out the host");
        }
        for (name, file) in built() {
            symlink(file, stage.path("/usr/local/sbin").join(name)).expect("link a program");
        }
        stage
    }

    /// Says that what is there now is what [`Host::nothing_left`] compares with.
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
        self.fill_template("/zdata/jails", RELEASE);
    }

    /// Makes a template below a dataset of that name, mounted there, for [`Host::with_card`].
    pub fn template_in(&self, directory: &str, release: &str) {
        for part in ["base", "skeleton"] {
            let dataset = format!("{}/templates/{release}-{part}", directory.trim_start_matches('/'));
            self.tool("zfs", &["create", &dataset]);
        }
        self.fill_template(directory, release);
        let base = format!("{directory}/templates/{release}-base");
        self.write(&format!("{base}/bin/freebsd-version"), &format!("USERLAND_VERSION=\"{release}\"\n"));
    }

    fn fill_template(&self, directory: &str, release: &str) {
        let base = format!("{directory}/templates/{release}-base");
        let skeleton = format!("{directory}/templates/{release}-skeleton");
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
    pub fn ok_with(&self, program: &str, args: &[&str]) -> String {
        let output = self.run_with(program, args);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {complaint}");
        self.strip(&output.stdout)
    }

    /// Runs one of the built programs, whatever comes of it.
    pub fn run_with(&self, program: &str, args: &[&str]) -> Output {
        let output = self.command(program).args(args).output().expect("start a program");
        rules::hold(program, args, &output.stderr);
        output
    }

    /// What the simulated kernel knows.
    pub fn state(&self) -> State {
        self.kernel().state().expect("the state of the kernel")
    }

    /// The simulated kernel.
    pub fn kernel(&self) -> Simulated {
        Simulated::new(&Root::alternate(&self.root()).expect("the root"))
    }

    /// The host's interfaces, mounts and jails, dying ones among them, and the temporary files of the suite.
    pub fn present(&self) -> Vec<String> {
        if !self.has_tools {
            return self.everything();
        }
        let state = self.state();
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

    /// Fails unless interfaces, mounts, jails and temporary files are those that [`Host::on`] left, and tells the
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

    /// Whether it has stand-ins.
    pub fn has_tools(&self) -> bool {
        self.has_tools
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
        self.tool("zfs", &["standin-init", name]);
    }

    /// Puts a command on the stage: it sees this root and these tools.
    pub fn prepare(&self, mut command: Command) -> Command {
        command.env("THINJAIL_ROOT", self.root());
        if self.has_tools {
            command.env("THINJAIL_TOOLS", self.tools());
        }
        command
    }

    /// A stand-in, ready to be given arguments.
    pub fn tool_command(&self, program: &str) -> Command {
        self.prepare(Command::new(self.tools().join(program)))
    }

    /// Runs a stand-in, whatever comes of it.
    pub fn run_tool(&self, program: &str, args: &[&str]) -> Output {
        self.tool_command(program).args(args).output().expect("start a stand-in")
    }

    /// Runs a stand-in that has to succeed, and gives what it printed, without the root.
    pub fn tool(&self, program: &str, args: &[&str]) -> String {
        let output = self.run_tool(program, args);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {complaint}");
        self.strip(&output.stdout)
    }

    /// Runs a stand-in that has to fail with status 1, and gives its complaint, without the root.
    pub fn tool_fails(&self, program: &str, args: &[&str]) -> String {
        let output = self.run_tool(program, args);
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
        fs::write(self.standin_file(name), text).expect("set a fault");
    }

    /// Puts a file on a web server, and the server there if need be.
    pub fn www(&self, host: &str, path: &str, content: &[u8]) {
        let file = self.standin_file("www").join(host).join(path.trim_start_matches('/'));
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
        let updates = self.standin_file("updates").join(release);
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
    pub fn clear_fault(&self, name: &str) {
        let _ = fs::remove_file(self.standin_file(name));
    }

    /// Says that there is a nullfs mount above a mountpoint, which is given without the root.
    pub fn busy(&self, mountpoint: &str) {
        fs::write(self.standin_file("busy"), format!("{mountpoint}\n")).expect("make a mountpoint busy");
    }

    /// The stand-ins that were started, oldest first, as shell words.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.standin_file("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Forgets the calls made so far.
    pub fn forget_calls(&self) {
        let _ = fs::remove_file(self.standin_file("calls"));
    }

    /// A file of the stand-ins' own.
    pub fn standin_file(&self, name: &str) -> PathBuf {
        self.root().join("var/db/standin").join(name)
    }
}

impl Host {
    /// A host on ZFS with a template, ready for jails.
    pub fn zfs() -> Self {
        Self::on(Storage::Zfs)
    }

    /// The same with directory storage.
    pub fn directory() -> Self {
        Self::on(Storage::Directory)
    }

    /// A host for the hooks alone, without stand-ins: the NIC igc0 in the bridge
    /// igc0bridge, directory storage.
    pub fn hooks() -> Self {
        let dir = tempfile::Builder::new().prefix("thinjail").tempdir_in(scratch()).unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        let mut host = Self { dir, has_tools: false, at_start: Vec::new() };
        host.kernel()
            .change(|s| {
                s.plug("igc0");
                s.create("bridge0")?;
                s.rename(0, "bridge0", "igc0bridge")?;
                s.add_member("igc0bridge", "igc0")
            })
            .unwrap();
        for directory in
            ["etc/jail.conf.d", "usr/local/etc", "var/run", "zdata/jails/templates", "zdata/jails/containers"]
        {
            fs::create_dir_all(host.path(directory)).unwrap();
        }
        host.write("usr/local/etc/thinjail.conf", SETTINGS);
        host.at_start = host.present();
        host
    }

    /// The same with a small template of 14.5-RELEASE.
    pub fn hooks_with_template() -> Self {
        let mut host = Self::hooks();
        host.small_template("14.5-RELEASE");
        host.at_start = host.present();
        host
    }

    pub fn small_template(&self, release: &str) {
        let base = format!("zdata/jails/templates/{release}-base");
        let skeleton = format!("zdata/jails/templates/{release}-skeleton");
        for directory in ["dev", "skeleton", "usr/share/certs/trusted", "usr/sbin", "mnt"] {
            fs::create_dir_all(self.path(&format!("{base}/{directory}"))).unwrap();
        }
        for directory in ["etc/ssl/certs", "var/empty", "root", "tmp", "home", "usr/local/www", "docs"] {
            fs::create_dir_all(self.path(&format!("{skeleton}/{directory}"))).unwrap();
        }
        for moved in ["etc", "var", "root", "tmp", "home"] {
            symlink(format!("skeleton/{moved}"), self.path(&format!("{base}/{moved}"))).unwrap();
        }
        symlink("../skeleton/usr/local", self.path(&format!("{base}/usr/local"))).unwrap();
        self.write(&format!("{base}/usr/share/certs/trusted/A.pem"), "a");
        self.write(&format!("{base}/usr/sbin/rmt"), "rmt");
        self.write(&format!("{skeleton}/etc/rc.conf"), "");
        let certs = self.path(&format!("{skeleton}/etc/ssl/certs"));
        symlink("../../../../usr/share/certs/trusted/A.pem", certs.join("0a.0")).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// One of the suite's programs, ready to be given arguments. Without stand-ins it
    /// sees nothing of the environment.
    pub fn command(&self, program: &str) -> assert_cmd::Command {
        let mut command = Command::new(bin(program));
        if !self.has_tools {
            command.env_clear().current_dir(self.root());
        }
        assert_cmd::Command::from_std(self.prepare(command))
    }

    /// Runs a command line (no quoting), whatever comes of it.
    pub fn run(&self, line: &str) -> Output {
        let mut words = line.split(' ');
        let program = words.next().unwrap();
        self.run_with(program, &words.collect::<Vec<_>>())
    }

    /// Runs a command line that has to succeed, and gives what it printed.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        let output = self.run(line).assert().success().get_output().clone();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(self.has_tools || stderr.is_empty(), "{line}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command line that has to fail with status 1, and gives its error,
    /// without the root.
    #[track_caller]
    pub fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        let stderr = self.strip(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {stderr}");
        stderr
    }

    /// Runs a command line and gives status, standard output and standard error.
    pub fn said(&self, line: &str) -> (i32, String, String) {
        let output = self.run(line);
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Runs a command line that must fail with `status` and one line of error,
    /// changing nothing; gives that line.
    #[track_caller]
    pub fn refuses(&self, status: i32, line: &str) -> String {
        let mut words = line.split(' ');
        let program = words.next().unwrap();
        self.refuses_with(status, program, &words.collect::<Vec<_>>())
    }

    /// The same with arguments of any shape.
    #[track_caller]
    pub fn refuses_with(&self, status: i32, program: &str, arguments: &[&str]) -> String {
        let before = self.present();
        let output = self.command(program).args(arguments).output().unwrap();
        rules::hold(program, arguments, &output.stderr);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{program} {arguments:?}: {stderr}");
        if status == 2 {
            // As clap prints it; `hold` has looked at the rest.
            assert!(stderr.starts_with("error: "), "{program} {arguments:?}: {stderr:?}");
        } else {
            assert_eq!(stderr.lines().count(), 1, "{program} {arguments:?}: {stderr:?}");
            assert!(stderr.starts_with(&format!("{program}: ")), "{stderr}");
        }
        assert_eq!(before, self.present(), "{program} {arguments:?}: changed something");
        stderr.trim_end().to_owned()
    }

    /// Adds a network interface.
    pub fn plug(&self, name: &str) {
        self.kernel()
            .change(|s| {
                s.plug(name);
                Ok(())
            })
            .unwrap();
    }

    /// From now on requests come from an ordinary user.
    pub fn drop_privilege(&self) {
        self.kernel()
            .change(|s| {
                s.privileged = false;
                Ok(())
            })
            .unwrap();
    }

    /// The names of the host's interfaces.
    pub fn interfaces(&self) -> Vec<String> {
        self.state().interfaces.iter().filter(|i| i.vnet == 0).map(|i| i.name.clone()).collect()
    }

    /// A syslogd that listens where FreeBSD's does.
    pub fn syslogd(&self) -> Syslogd {
        let socket = UnixDatagram::bind(self.path("var/run/log")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Syslogd(socket, self.path("var/run/log"))
    }

    /// Everything that is there: files with contents, interfaces, mounts, jails.
    fn everything(&self) -> Vec<String> {
        let mut all = Vec::new();
        walk(&self.root(), &mut all);
        // The simulated kernel's own file and locks.
        all.retain(|line| !line.contains("/var/run/thinjail-"));
        let state = self.state();
        for i in &state.interfaces {
            all.push(format!(
                "interface {} {:?} vnet {} mtu {} {:?} {:?}",
                i.name, i.kind, i.vnet, i.mtu, i.description, i.groups
            ));
        }
        all.extend(state.mounts.iter().map(|m| format!("mount {} on {}", m.kind, m.on.display())));
        all.extend(state.jails.iter().map(|j| format!("jail {} dying {}", j.name, j.dying)));
        all
    }
}

impl Default for Host {
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

pub struct Syslogd(UnixDatagram, PathBuf);

impl Syslogd {
    /// What came in so far.
    pub fn lines(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let mut lines = Vec::new();
        while let Ok(n) = self.0.recv(&mut buffer) {
            lines.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
        }
        lines
    }
}

impl Drop for Syslogd {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.1);
    }
}

fn walk(directory: &Path, all: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let what = if metadata.is_symlink() {
            format!("-> {:?}", fs::read_link(&path).unwrap())
        } else if metadata.is_file() {
            format!("{:?}", fs::read(&path).map(|b| String::from_utf8_lossy(&b).into_owned()))
        } else {
            String::new()
        };
        all.push(format!("{} {what}", path.display()));
        if metadata.is_dir() {
            walk(&path, all);
        }
    }
}
