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

// Every test binary compiles this file anew and uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The programs that have a stand-in.
pub const PROGRAMS: &[&str] = &["freebsd-version", "sysctl", "sysrc", "uname", "zfs"];

/// A simulated host. It goes away with the value.
pub struct Stage {
    dir: TempDir,
}

impl Stage {
    /// A host with an empty root, without pools.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("thinjail-").tempdir().expect("make a temporary directory");
        let stage = Self { dir };
        for sub in ["root/etc", "root/var/db/standin", "tools"] {
            fs::create_dir_all(stage.dir.path().join(sub)).expect("lay out the stage");
        }
        let standin = standin();
        for program in PROGRAMS {
            symlink(&standin, stage.tools().join(program)).expect("link a stand-in");
        }
        stage
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

    /// Asks for a fault: `fail-mount` or `not-root`.
    pub fn fault(&self, name: &str) {
        fs::write(self.state(name), "").expect("set a fault");
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

/// The stand-in program. Cargo has no variable for examples, so it is looked for beside the test that is running:
/// `target/debug/deps/test` and `target/debug/examples/standin`.
pub fn standin() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    let standin = test.ancestors().nth(2).unwrap_or(Path::new("/")).join("examples/standin");
    assert!(standin.is_file(), "{}: not there; run cargo build --examples", standin.display());
    standin
}
