//! A host to try the programs on: an alternate root with a simulated kernel
//! and directory storage.
#![allow(dead_code)] // Each test crate uses a part of it.

mod bin;
pub use bin::{bin, rules};

use assert_cmd::Command;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use thinjail::kernel::simulated::{Simulated, State};
use thinjail::root::Root;

/// The settings of the recipe, under directory storage.
pub const SETTINGS: &str = "jail_dir=\"/zdata/jails\"\nbsd_ver=\"14.2\"\njail_bridge=\"igc0bridge\"\n\
                            jail_net=\"192.168.7.0/24\"\njail_gateway=\"192.168.7.101\"\n";

pub struct Sandbox {
    dir: tempfile::TempDir,
    pub kernel: Simulated,
    at_start: Vec<String>,
}

impl Sandbox {
    /// A host with the NIC igc0 in the bridge igc0bridge.
    pub fn new() -> Sandbox {
        let dir = tempfile::Builder::new().prefix("thinjail").tempdir().unwrap();
        let root = Root::alternate(dir.path()).unwrap();
        let kernel = Simulated::new(&root);
        kernel
            .change(|s| {
                s.plug("igc0");
                s.create("bridge0")?;
                s.rename(0, "bridge0", "igc0bridge")?;
                s.add_member("igc0bridge", "igc0")
            })
            .unwrap();
        let mut sandbox = Sandbox { dir, kernel, at_start: Vec::new() };
        for directory in
            ["etc/jail.conf.d", "usr/local/etc", "var/run", "zdata/jails/templates", "zdata/jails/containers"]
        {
            fs::create_dir_all(sandbox.at(directory)).unwrap();
        }
        sandbox.write("usr/local/etc/thinjail.conf", SETTINGS);
        sandbox.at_start = sandbox.present();
        sandbox
    }

    /// The same with a small template of 14.2-RELEASE.
    pub fn with_template() -> Sandbox {
        let mut sandbox = Sandbox::new();
        sandbox.template("14.2-RELEASE");
        sandbox.at_start = sandbox.present();
        sandbox
    }

    pub fn template(&self, release: &str) {
        let base = format!("zdata/jails/templates/{release}-base");
        let skeleton = format!("zdata/jails/templates/{release}-skeleton");
        for directory in ["dev", "skeleton", "usr/share/certs/trusted", "usr/sbin", "mnt"] {
            fs::create_dir_all(self.at(&format!("{base}/{directory}"))).unwrap();
        }
        for directory in ["etc/ssl/certs", "var/empty", "root", "tmp", "home", "usr/local/www", "docs"] {
            fs::create_dir_all(self.at(&format!("{skeleton}/{directory}"))).unwrap();
        }
        for moved in ["etc", "var", "root", "tmp", "home"] {
            symlink(format!("skeleton/{moved}"), self.at(&format!("{base}/{moved}"))).unwrap();
        }
        symlink("../skeleton/usr/local", self.at(&format!("{base}/usr/local"))).unwrap();
        self.write(&format!("{base}/usr/share/certs/trusted/A.pem"), "a");
        self.write(&format!("{base}/usr/sbin/rmt"), "rmt");
        self.write(&format!("{skeleton}/etc/rc.conf"), "");
        let certs = self.at(&format!("{skeleton}/etc/ssl/certs"));
        symlink("../../../../usr/share/certs/trusted/A.pem", certs.join("0a.0")).unwrap();
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// One of our programs, on this host and with nothing from the outside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::from_std(std::process::Command::new(bin(program)));
        command.env_clear().env("THINJAIL_ROOT", self.root()).current_dir(self.root());
        command
    }

    /// Runs a command line (no quoting) and gives status, stdout and stderr.
    pub fn run(&self, line: &str) -> (i32, String, String) {
        let mut words = line.split(' ');
        let program = words.next().unwrap();
        let arguments: Vec<&str> = words.collect();
        let output = self.command(program).args(&arguments).output().unwrap();
        rules::hold(program, &arguments, &output.stderr);
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Runs a command line that must succeed; gives its output.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        let (status, stdout, stderr) = self.run(line);
        assert_eq!(status, 0, "{line}: {stdout}{stderr}");
        assert_eq!(stderr, "", "{line}");
        stdout
    }

    /// Runs a command line that must fail with `status` and one line of error,
    /// changing nothing; gives that line.
    #[track_caller]
    pub fn fails(&self, status: i32, line: &str) -> String {
        let mut words = line.split(' ');
        let program = words.next().unwrap();
        self.fails_with(status, program, &words.collect::<Vec<_>>())
    }

    /// The same with arguments of any shape.
    #[track_caller]
    pub fn fails_with(&self, status: i32, program: &str, arguments: &[&str]) -> String {
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
        self.kernel
            .change(|s| {
                s.plug(name);
                Ok(())
            })
            .unwrap();
    }

    /// From now on requests come from an ordinary user.
    pub fn drop_privilege(&self) {
        self.kernel
            .change(|s| {
                s.privileged = false;
                Ok(())
            })
            .unwrap();
    }

    pub fn state(&self) -> State {
        self.kernel.state().unwrap()
    }

    /// The names of the host's interfaces.
    pub fn interfaces(&self) -> Vec<String> {
        self.state().interfaces.iter().filter(|i| i.vnet == 0).map(|i| i.name.clone()).collect()
    }

    /// Everything that is there: files with contents, interfaces, mounts, jails.
    pub fn present(&self) -> Vec<String> {
        let mut all = Vec::new();
        walk(self.root(), &mut all);
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

    /// Fails unless everything is as at the start.
    #[track_caller]
    pub fn nothing_left(&self) {
        assert_eq!(self.at_start, self.present());
    }

    /// A syslogd that listens where FreeBSD's does.
    pub fn syslogd(&self) -> Syslogd {
        let socket = UnixDatagram::bind(self.at("var/run/log")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Syslogd(socket, self.at("var/run/log"))
    }
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
