//! Where everything that changes the system passes by.
//!
//! Every primitive that changes something calls [`before`] first. In an
//! installed build that is nothing. With the feature `inject`, which only the
//! tests turn on, the variable `THINJAIL_INJECT` makes the Nth effect fail or
//! kills the process in front of it: `kill@3`, `ENOSPC@7`.

use std::io;

/// Announces the effect `what`; an error is to be treated as if the effect had
/// failed with it.
#[cfg(not(feature = "inject"))]
#[inline(always)]
pub fn before(_what: &str) -> io::Result<()> {
    Ok(())
}

/// Announces the effect `what`; an error is to be treated as if the effect had
/// failed with it.
#[cfg(feature = "inject")]
pub fn before(what: &str) -> io::Result<()> {
    use rustix::io::Errno;
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static PLAN: LazyLock<Option<(String, usize)>> = LazyLock::new(|| {
        let text = std::env::var("THINJAIL_INJECT").ok()?;
        let (fault, number) = text.split_once('@')?;
        Some((fault.to_owned(), number.parse().ok()?))
    });
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    let Some((fault, number)) = &*PLAN else { return Ok(()) };
    if COUNT.fetch_add(1, Ordering::Relaxed) + 1 != *number {
        return Ok(());
    }
    let errno = match fault.as_str() {
        "kill" => {
            let _ = kill_process(getpid(), Signal::KILL);
            unreachable!("killed before: {what}");
        }
        "ENOSPC" => Errno::NOSPC,
        "EROFS" => Errno::ROFS,
        "EIO" => Errno::IO,
        "EACCES" => Errno::ACCESS,
        "EMFILE" => Errno::MFILE,
        other => panic!("THINJAIL_INJECT: unknown fault {other}"),
    };
    Err(errno.into())
}
