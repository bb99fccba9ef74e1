//! Locks between the suite's processes: flock(2), gone with the process that
//! holds them, however it ends.

use crate::root::Root;
use anyhow::{Context, Result};
use rustix::fs::Mode;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Opens a file that only its owner may open: whoever can read a file can lock
/// it, and so keep every jail from starting.
pub fn open_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let file = options.create(true).read(true).write(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    }
    Ok(file)
}

/// What a lock guards.
#[derive(Clone, Copy, Debug)]
pub enum Guarded {
    /// From looking at interface names to tagging what was made.
    Interfaces,
    /// From reading jail.conf to the file that makes a new jail.
    Jails,
}

/// A held lock.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

impl Lock {
    /// Waits for the lock and takes it. The files lie in `/var/run`, which is
    /// cleared at boot as interfaces are.
    pub fn take(root: &Root, what: Guarded) -> Result<Lock> {
        let path = root.at(Path::new(match what {
            Guarded::Interfaces => "/var/run/thinjail-interfaces.lock",
            Guarded::Jails => "/var/run/thinjail-jails.lock",
        }));
        if root.is_alternate()
            && let Some(directory) = path.parent()
        {
            fs_err::create_dir_all(directory).context("lock")?;
        }
        let file = open_private(&path).with_context(|| format!("lock {}", path.display()))?;
        file.lock().with_context(|| format!("lock {}", path.display()))?;
        Ok(Lock(file))
    }
}
