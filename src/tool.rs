//! The base system's own programs: by absolute path, argument lists, a clean
//! environment, both streams captured.

use crate::effect;
use crate::root::Root;
use crate::shell;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// A program of the base system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// zfs(8)
    Zfs,
    /// sysrc(8)
    Sysrc,
}

impl Tool {
    /// Where the base system has it (freebsd-src: etc/mtree, hier(7)).
    pub fn path(self) -> &'static Path {
        Path::new(match self {
            Tool::Zfs => "/sbin/zfs",
            Tool::Sysrc => "/usr/sbin/sysrc",
        })
    }
}

/// What became of a program that did not do its work.
#[derive(Debug)]
pub struct ToolError {
    /// The command line, quoted for sh(1).
    pub command: String,
    /// Why.
    pub outcome: Outcome,
}

/// The two ways to fail.
#[derive(Debug)]
pub enum Outcome {
    /// It could not be started.
    NotStarted(io::Error),
    /// It ran and failed, with this on its standard error.
    Failed(ExitStatus, String),
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.command)?;
        match &self.outcome {
            Outcome::NotStarted(e) => write!(f, "could not be started: {e}"),
            Outcome::Failed(_, stderr) if !stderr.is_empty() => f.write_str(stderr),
            Outcome::Failed(status, _) => write!(f, "{status}"),
        }
    }
}

impl std::error::Error for ToolError {}

/// What a program that succeeded printed.
#[derive(Debug)]
pub struct Printed {
    /// Standard output.
    pub stdout: String,
    /// Standard error, its lines joined by `; `.
    pub stderr: String,
}

/// Where the programs are found.
#[derive(Clone, Debug)]
pub struct Tools {
    root: Root,
    stand_ins: Option<PathBuf>,
}

impl Tools {
    /// The base system's; `THINJAIL_TOOLS` puts stand-ins in their place, but
    /// only together with an alternate root, so that it is no way to have root
    /// run something else.
    pub fn new(root: &Root) -> Tools {
        let stand_ins = std::env::var_os("THINJAIL_TOOLS").filter(|_| root.is_alternate()).map(PathBuf::from);
        Tools { root: root.clone(), stand_ins }
    }

    /// The command line of a call, for people.
    pub fn line<S: AsRef<OsStr>>(tool: Tool, arguments: &[S]) -> String {
        let words = std::iter::once(tool.path().as_os_str()).chain(arguments.iter().map(AsRef::as_ref));
        shell::line(words)
    }

    /// Runs a program that changes something.
    pub fn run<S: AsRef<OsStr>>(&self, tool: Tool, arguments: &[S]) -> Result<Printed, ToolError> {
        let command = Tools::line(tool, arguments);
        effect::before(&command)
            .map_err(|e| ToolError { command: command.clone(), outcome: Outcome::NotStarted(e) })?;
        self.ask(tool, arguments)
    }

    /// Runs a program that only tells something.
    pub fn ask<S: AsRef<OsStr>>(&self, tool: Tool, arguments: &[S]) -> Result<Printed, ToolError> {
        let program = match (&self.stand_ins, tool.path().file_name()) {
            (Some(directory), Some(name)) => directory.join(name),
            _ => tool.path().to_owned(),
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/sbin:/bin:/usr/sbin:/usr/bin")
            .env("LC_ALL", "C")
            .env("HOME", "/")
            .stdin(Stdio::null());
        if self.stand_ins.is_some() {
            command.env("THINJAIL_ROOT", self.root.path());
        }
        let fail = |outcome| ToolError { command: Tools::line(tool, arguments), outcome };
        let output = command.output().map_err(|e| fail(Outcome::NotStarted(e)))?;
        let stderr = String::from_utf8_lossy(&output.stderr)
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
        if !output.status.success() {
            return Err(fail(Outcome::Failed(output.status, stderr)));
        }
        Ok(Printed { stdout: String::from_utf8_lossy(&output.stdout).into_owned(), stderr })
    }
}

impl ToolError {
    /// Whether the program's message says that `what` is missing: zfs(8) has no
    /// exit status for it.
    pub fn says(&self, what: &str) -> bool {
        matches!(&self.outcome, Outcome::Failed(_, stderr) if stderr.contains(what))
    }
}
