//! Locks between the suite's processes: flock(2), gone with the process that
//! holds them, however it ends.

use crate::system::effect;
use crate::system::kernel::locks;
use crate::system::root::Root;
use crate::types::jail_name::JailName;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Opens a file that only its owner may open: a process that can read a file can lock
/// it, and so keep every jail from starting.
pub fn open_private(path: &Path) -> io::Result<File> {
    let private = Mode::RUSR | Mode::WUSR;
    let file = effect::open(path, OFlags::RDWR, private)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        effect::fchmod(&file, private)?;
    }
    Ok(file)
}

/// What a lock guards.
#[derive(Clone, Copy, Debug)]
pub enum LockId {
    /// From looking at interface names to tagging what was made.
    Interfaces,
    /// From reading jail.conf to the file that makes a new jail.
    Jails,
}

/// What a template is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// No other process may use it.
    Exclusive,
    /// No process may change it.
    Shared,
}

/// A held lock; closing the file gives it back.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Waits for the lock and takes it. The files lie in `/var/run`, which is
    /// cleared at boot as interfaces are.
    pub fn take(root: &Root, what: LockId) -> Result<Lock> {
        let (file, path) = open(
            root,
            match what {
                LockId::Interfaces => "interfaces",
                LockId::Jails => "jails",
            },
        )?;
        effect::lock(&file).with_context(|| format!("lock {}", path.display()))?;
        Ok(Lock(file))
    }

    /// Takes the lock of a release's template, to change it or to read it.
    /// Does not wait: a download or an update may hold it for an hour.
    pub fn template(root: &Root, release: &Release, use_: LockMode) -> Result<Lock> {
        let (file, path) = open(root, &format!("template-{release}"))?;
        let taken = match use_ {
            LockMode::Exclusive => file.try_lock(),
            LockMode::Shared => file.try_lock_shared(),
        };
        match taken {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => {
                bail!("template {release} is locked by another program; try again later")
            }
            Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("lock {}", path.display())),
        }
    }

    /// Waits for the lock of a jail's move to another release and takes it. The
    /// zfs(8) that a killed move was waiting for continues, and may hold it still.
    pub fn of_move(root: &Root, jail: &JailName) -> Result<Lock> {
        let (file, path) = open(root, &format!("rebase-{jail}"))?;
        effect::lock(&file).with_context(|| format!("lock {}", path.display()))?;
        Ok(Lock(file))
    }

    /// Takes the lock of a jail's move if it is free.
    pub fn try_of_move(root: &Root, jail: &JailName) -> Result<Option<Lock>> {
        let (file, path) = open(root, &format!("rebase-{jail}"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("lock {}", path.display())),
        }
    }

    /// Waits for the lock of those who repair links in a tree, and takes it. It is
    /// a file of the host's: a process that can open the directory of the tree, such as
    /// root in its jail, could lock that and never give it back. Without the
    /// right to take such locks, it is left out: an ordinary user's tree is his own.
    pub fn of_links(root: &Root, tree: &Path) -> Result<Option<Lock>> {
        let metadata = fs_err::metadata(tree)?;
        match open(root, &format!("links-{}-{}", metadata.dev(), metadata.ino())) {
            Ok((file, path)) => {
                effect::lock(&file).with_context(|| format!("lock {}", path.display()))?;
                Ok(Some(Lock(file)))
            }
            Err(e) if !rustix::process::geteuid().is_root() && is_refused(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Has the programs that are started from now on hold the lock too: one
    /// that outlives a killed run keeps the next run away until it ends.
    pub fn share_with_children(&self) -> io::Result<()> {
        Ok(rustix::io::fcntl_setfd(&self.0, rustix::io::FdFlags::empty())?)
    }
}

fn is_refused(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
}

/// Whether jail-rebase is running for the jail.
pub fn jail_is_moved(root: &Root, jail: &JailName) -> bool {
    is_held(root, &format!("rebase-{jail}"))
}

/// Whether a program is creating a jail. Without permission to open locks, this is unknown.
pub fn jails_are_made(root: &Root) -> bool {
    is_held(root, "jails")
}

/// Whether a program is working on the template of a release.
pub fn template_is_changed(root: &Root, release: &Release) -> bool {
    is_held(root, &format!("template-{release}"))
}

fn is_held(root: &Root, what: &str) -> bool {
    let Ok(file) = File::open(path(root, what)) else { return false };
    locks::is_locked(&file, locks::Mode::Shared).unwrap_or(false)
}

fn path(root: &Root, what: &str) -> PathBuf {
    root.host_path(&Path::new("/var/run").join(format!("thinjail-{what}.lock")))
}

#[expect(clippy::disallowed_methods, reason = "below an alternate root it is not made at boot")]
fn open(root: &Root, what: &str) -> Result<(File, PathBuf)> {
    let path = path(root, what);
    if root.is_alternate()
        && let Some(directory) = path.parent()
    {
        fs_err::create_dir_all(directory).context("lock")?;
    }
    let file = open_private(&path).with_context(|| format!("lock {}", path.display()))?;
    Ok((file, path))
}
