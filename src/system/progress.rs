//! Progress of long work: one line that is written over, on a terminal only.

#![allow(clippy::disallowed_methods)] // What is shown is no effect.

use crate::formats::printable;
use std::io::{self, IsTerminal, Write};

/// A line about one piece of work; it is wiped when the work ends.
pub struct Progress {
    what: Option<String>,
    shown: Option<u64>,
}

impl Progress {
    /// Progress of `what`, such as `unpack base.txz`. Silent in a pipe.
    pub fn new(what: impl Into<String>) -> Progress {
        let what = Progress::wanted().then(|| printable::line(&what.into()));
        let mut progress = Progress { what, shown: None };
        progress.report(0, 0);
        progress
    }

    /// No progress output.
    pub fn none() -> Progress {
        Progress { what: None, shown: None }
    }

    /// Whether it is visible.
    pub fn wanted() -> bool {
        io::stderr().is_terminal()
    }

    /// Whether it is visible.
    pub fn is_shown(&self) -> bool {
        self.what.is_some()
    }

    /// Reports how far the work is; a total of 0 is an unknown one. Cheap enough
    /// to be called for every entry.
    pub fn report(&mut self, done: u64, total: u64) {
        let Some(what) = &self.what else { return };
        // A step is a per cent, or a thousand of whatever is counted.
        let step = (done.min(total) * 100).checked_div(total).unwrap_or(done / 1000);
        if self.shown == Some(step) {
            return;
        }
        self.shown = Some(step);
        let text = match total {
            0 if done == 0 => format!("\r{what} ..."),
            0 => format!("\r{what} ... {done}"),
            _ => format!("\r{what} ... {step}%"),
        };
        let _ = io::stderr().write_all(format!("{text}\x1b[K").as_bytes());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.what.is_some() {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
