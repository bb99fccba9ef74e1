//! Faults on demand, for the tests.
//!
//! `THINJAIL_INJECT` is a list of faults and the effects that meet them. An effect
//! is named by what it does and to what: `EBUSY@unmount:/path`,
//! `EIO@zfs_rename:zdata/jails`. It is the first effect whose description begins
//! with the one, blanks written as `_` and a program without its directory, and
//! has the other in it; `#2` behind it makes it the second. Or it is given by its
//! number, from 1, as a test does that tries all of them: `ENOSPC@7`,
//! `EIO@5,EIO@6`. With a `+` all effects from that one on meet the fault: a disk
//! stays full. The faults are
//!
//! - an error of errno(2), by name or number: the effect is not done and fails
//!   with it. A program that could not have run into it itself is not started;
//!   otherwise it fails with that message.
//! - `hangup`: a program is ended by SIGHUP before it did anything. Any other
//!   effect is interrupted (EINTR).
//! - `late-` and one of these: the effect is done, and reported as failed.
//! - `kill` and `kill-after`: SIGKILL before or after it.
//! - `wait`: before it the program writes to the FIFO `here` of the directory
//!   `THINJAIL_WAIT`, and continues when it has read from the FIFO `go`. A program
//!   that has to wait for a lock writes to `blocked` there.
//!
//! `THINJAIL_INJECT_LOG` names a file that gets a line for each effect.

use crate::types::errno;
use crate::types::tool_error::{Outcome, ToolError};
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What an effect meets.
#[derive(Clone, Copy)]
enum Fault {
    Kill,
    KillAfter,
    Wait,
    Error { error: Error, late: bool },
}

#[derive(Clone, Copy)]
enum Error {
    /// A number here, and on FreeBSD.
    Number(Errno, i32),
    Hangup,
}

struct Planned {
    fault: Fault,
    place: Place,
    onwards: bool,
    /// How many effects of that name there were, for one that is given by name.
    seen: AtomicUsize,
}

/// Which effect meets a fault.
enum Place {
    /// The one of that number.
    Number(usize),
    /// The one of that name, for the n-th time.
    Named { what: String, object: String, nth: usize },
}

impl Planned {
    fn meets(&self, number: usize, what: &str) -> bool {
        let (at, first) = match &self.place {
            Place::Number(first) => (number, *first),
            Place::Named { what: name, object, nth } => {
                // A program's line begins with its path.
                let program = what.split(' ').next().filter(|word| word.starts_with('/'));
                let directory = program.and_then(|word| word.rfind('/')).map_or(0, |slash| slash + 1);
                if !what[directory..]
                    .strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.contains(object.as_str()))
                {
                    return self.onwards && self.seen.load(Ordering::Relaxed) >= *nth;
                }
                (self.seen.fetch_add(1, Ordering::Relaxed) + 1, *nth)
            }
        };
        if self.onwards { at >= first } else { at == first }
    }
}

fn read_place(text: &str) -> Option<Place> {
    if let Ok(number) = text.parse() {
        return Some(Place::Number(number));
    }
    let (text, nth) = text.rsplit_once('#').map_or((text, "1"), |(text, nth)| (text, nth));
    let (what, object) = text.split_once(':').unwrap_or((text, ""));
    Some(Place::Named { what: what.replace('_', " "), object: object.to_owned(), nth: nth.parse().ok()? })
}

/// Names of errors, with their numbers on FreeBSD (freebsd-src: sys/sys/errno.h).
const ERRORS: &[(&str, Errno, i32)] = &[
    ("EPERM", Errno::PERM, 1),
    ("ENOENT", Errno::NOENT, 2),
    ("EINTR", Errno::INTR, 4),
    ("EIO", Errno::IO, 5),
    ("ENXIO", Errno::NXIO, 6),
    ("EDEADLK", Errno::DEADLK, 11),
    ("ENOMEM", Errno::NOMEM, 12),
    ("EACCES", Errno::ACCESS, 13),
    ("EBUSY", Errno::BUSY, 16),
    ("EEXIST", Errno::EXIST, 17),
    ("EXDEV", Errno::XDEV, 18),
    ("ENODEV", Errno::NODEV, 19),
    ("ENOTDIR", Errno::NOTDIR, 20),
    ("EISDIR", Errno::ISDIR, 21),
    ("EINVAL", Errno::INVAL, 22),
    ("ENFILE", Errno::NFILE, 23),
    ("EMFILE", Errno::MFILE, 24),
    ("EFBIG", Errno::FBIG, 27),
    ("ENOSPC", Errno::NOSPC, 28),
    ("EROFS", Errno::ROFS, 30),
    ("EMLINK", Errno::MLINK, 31),
    ("EPIPE", Errno::PIPE, 32),
    ("EAGAIN", Errno::AGAIN, 35),
    ("EOPNOTSUPP", Errno::OPNOTSUPP, 45),
    ("ECONNRESET", Errno::CONNRESET, 54),
    ("ETIMEDOUT", Errno::TIMEDOUT, 60),
    ("ELOOP", Errno::LOOP, 62),
    ("ENAMETOOLONG", Errno::NAMETOOLONG, 63),
    ("ENOTEMPTY", Errno::NOTEMPTY, 66),
    ("EDQUOT", Errno::DQUOT, 69),
    ("ESTALE", Errno::STALE, 70),
    ("ENOLCK", Errno::NOLCK, 77),
    ("ENOSYS", Errno::NOSYS, 78),
];

/// Errors that a program runs into, not the one that starts it.
const OF_PROGRAMS: [Errno; 6] =
    [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::ROFS, Errno::TIMEDOUT, Errno::CONNRESET];

fn read_error(text: &str) -> Option<Error> {
    if text == "hangup" {
        return Some(Error::Hangup);
    }
    if let Ok(number) = text.parse() {
        return Some(Error::Number(Errno::from_raw_os_error(number), number));
    }
    ERRORS.iter().find(|(name, ..)| *name == text).map(|(_, here, there)| Error::Number(*here, *there))
}

fn read_plan(text: &str) -> Option<Planned> {
    let (fault, place) = text.split_once('@')?;
    let (place, onwards) = place.strip_suffix('+').map_or((place, false), |n| (n, true));
    let fault = match fault {
        "kill" => Fault::Kill,
        "kill-after" => Fault::KillAfter,
        "wait" => Fault::Wait,
        _ => {
            let (text, late) = fault.strip_prefix("late-").map_or((fault, false), |text| (text, true));
            Fault::Error { error: read_error(text)?, late }
        }
    };
    Some(Planned { fault, place: read_place(place)?, onwards, seen: AtomicUsize::new(0) })
}

/// Counts an effect, and says what it meets.
fn announce(what: fmt::Arguments) -> Option<Fault> {
    static PLAN: LazyLock<Vec<Planned>> = LazyLock::new(|| {
        let text = std::env::var("THINJAIL_INJECT").unwrap_or_default();
        let read =
            |text: &str| read_plan(text).unwrap_or_else(|| panic!("THINJAIL_INJECT: {text}: no such fault"));
        text.split(',').filter(|text| !text.is_empty()).map(read).collect()
    });
    static LOG: LazyLock<Option<std::fs::File>> = LazyLock::new(|| {
        let path = std::env::var_os("THINJAIL_INJECT_LOG")?;
        Some(std::fs::File::options().create(true).append(true).open(path).expect("THINJAIL_INJECT_LOG"))
    });
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    let number = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    let line = what.to_string().replace('\n', " ");
    if let Some(mut log) = LOG.as_ref() {
        log.write_all(format!("{line}\n").as_bytes()).expect("THINJAIL_INJECT_LOG");
    }
    // All of them, so that each counts what it waits for.
    let met: Vec<&Planned> = PLAN.iter().filter(|planned| planned.meets(number, &line)).collect();
    let fault = met.first()?.fault;
    if let Fault::Kill = fault {
        kill();
    }
    Some(fault)
}

/// A FIFO of the directory that a test waits at.
fn fifo(name: &str) -> Option<std::path::PathBuf> {
    Some(std::path::Path::new(&std::env::var_os("THINJAIL_WAIT")?).join(name))
}

fn report(name: &str) {
    if let Some(fifo) = fifo(name) {
        let opened = std::fs::File::options().write(true).open(fifo);
        opened.and_then(|mut fifo| fifo.write_all(b"x")).expect("THINJAIL_WAIT");
    }
}

fn wait() {
    report("here");
    let go = std::fs::File::open(fifo("go").expect("THINJAIL_WAIT")).expect("THINJAIL_WAIT");
    (&go).read_exact(&mut [0]).expect("THINJAIL_WAIT");
}

/// Reports that another process holds a lock.
pub fn blocked() {
    report("blocked");
}

fn kill() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    unreachable!("killed");
}

/// Does `work`, unless the effect is to fail before it.
fn meet<T, E>(
    what: fmt::Arguments,
    work: impl FnOnce() -> Result<T, E>,
    fail: impl FnOnce(Error, bool) -> E,
) -> Result<T, E> {
    match announce(what) {
        None => work(),
        Some(Fault::Wait) => {
            wait();
            work()
        }
        Some(Fault::Kill) => kill(),
        Some(Fault::KillAfter) => {
            let _ = work();
            kill();
        }
        Some(Fault::Error { error, late: false }) => Err(fail(error, false)),
        Some(Fault::Error { error, late: true }) => work().and_then(|_| Err(fail(error, true))),
    }
}

/// Does `work`, which is the effect `what`; an error is to be treated as if the
/// effect had failed with it.
pub fn with<T>(what: fmt::Arguments, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    meet(what, work, |error, _| match error {
        Error::Number(here, _) => here.into(),
        Error::Hangup => Errno::INTR.into(),
    })
}

/// Does `work`, which runs the program of that command line.
pub fn program<T>(
    line: impl FnOnce() -> String,
    work: impl FnOnce() -> Result<T, ToolError>,
) -> Result<T, ToolError> {
    let command = line();
    let failed = |status, stderr| Outcome::Failed {
        status: ExitStatus::from_raw(status),
        stdout: String::new(),
        stderr,
    };
    let fail = |error, late| match error {
        Error::Number(here, _) if late || OF_PROGRAMS.contains(&here) => failed(1 << 8, here.to_string()),
        Error::Number(here, _) => Outcome::NotStarted(here.into()),
        Error::Hangup => failed(Signal::HUP.as_raw(), String::new()),
    };
    let shown = command.clone();
    meet(format_args!("{shown}"), work, |error, late| ToolError { command, outcome: fail(error, late) })
}

/// Does `work`, a request to the kernel.
pub fn request<T>(
    request: &'static str,
    object: &str,
    work: impl FnOnce() -> errno::Result<T>,
) -> errno::Result<T> {
    meet(format_args!("{request} {object}"), work, |error, _| errno::KernelError {
        request,
        object: object.to_owned(),
        errno: errno::Errno(match error {
            Error::Number(_, there) => there,
            Error::Hangup => 4,
        }),
    })
}
