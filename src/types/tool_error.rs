//! The failure of a program that was started.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

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
    /// It ran and failed.
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// Standard output.
        stdout: String,
        /// Standard error, its lines joined by `; `.
        stderr: String,
    },
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.command)?;
        match &self.outcome {
            Outcome::NotStarted(e) => write!(f, "could not be started: {e}"),
            Outcome::Failed { stderr, .. } if !stderr.is_empty() => f.write_str(stderr),
            Outcome::Failed { status, .. } => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "exited with status {code} and printed nothing"),
                (_, signal) => write!(f, "killed by signal {}", signal.unwrap_or_default()),
            },
        }
    }
}

impl std::error::Error for ToolError {}

impl ToolError {
    /// Whether the program may have made what it was to make although it
    /// failed; not if that was there already.
    pub fn may_have_made(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. }) && !self.says("already exists")
    }

    /// Whether the program's message says that `what` is missing: zfs(8) has no
    /// exit status for it.
    pub fn says(&self, what: &str) -> bool {
        matches!(&self.outcome, Outcome::Failed { stderr, .. } if stderr.contains(what))
    }
}
