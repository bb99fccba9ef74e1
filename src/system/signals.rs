//! Being asked to stop: by ^C, by kill(1), by the end of a session.
//!
//! Most programs of the suite may die at any moment, because the next run
//! completes or clears what they left. One that has changed a tree which jails
//! run on, and has mounted something, should rather stop in order: the program
//! it waits for is terminated, what was done is undone, and then it ends.

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

static WATCHING: AtomicBool = AtomicBool::new(false);
/// The signal that came, 0 for none.
static CAME: AtomicI32 = AtomicI32::new(0);
/// The process group to signal, 0 for none.
static CHILD: AtomicI32 = AtomicI32::new(0);
/// Whether what was done is being undone; that is not interrupted again.
static UNDOING: AtomicBool = AtomicBool::new(false);

/// From now on a signal stops the run in order.
pub fn watch() -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    WATCHING.store(true, Ordering::SeqCst);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            CAME.store(signal, Ordering::SeqCst);
            signal_child();
        }
    })?;
    Ok(())
}

fn signal_child() {
    if UNDOING.load(Ordering::SeqCst) {
        return;
    }
    if let Some(group) = Pid::from_raw(CHILD.load(Ordering::SeqCst)) {
        let _ = kill_process_group(group, Signal::TERM);
    }
}

/// Fails if a signal came.
pub fn check() -> Result<()> {
    let name = match CAME.load(Ordering::SeqCst) {
        _ if UNDOING.load(Ordering::SeqCst) => return Ok(()),
        0 => return Ok(()),
        SIGHUP => "SIGHUP",
        SIGINT => "SIGINT",
        _ => "SIGTERM",
    };
    bail!("interrupted by {name}")
}

/// Whether a signal came.
pub fn came() -> bool {
    CAME.load(Ordering::SeqCst) != 0
}

/// From now on nothing is interrupted any longer.
pub fn undo() {
    UNDOING.store(true, Ordering::SeqCst);
}

/// Runs a program to its end and gives what it printed. While signals are
/// watched it has a process group of its own, so that ^C is this process's to
/// pass on, and programs that undo something are left in peace.
#[expect(clippy::disallowed_methods, reason = "called by Tools, which announces")]
pub fn output(command: &mut Command) -> io::Result<Output> {
    if !WATCHING.load(Ordering::SeqCst) {
        return command.output();
    }
    let child: Child = command.process_group(0).spawn()?;
    CHILD.store(child.id() as i32, Ordering::SeqCst);
    // One that came before the child was noted.
    if came() {
        signal_child();
    }
    let output = child.wait_with_output();
    CHILD.store(0, Ordering::SeqCst);
    output
}
