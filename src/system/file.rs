//! Single files and directories: the one way to write a file, and the small
//! actions around it.

use crate::formats::shell;
use crate::system::effect;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::types::sibling_name;
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use std::fs::{File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What lies at a path, links not followed. `None` when nothing does.
pub fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs_err::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// What kind of file something is, in words.
pub fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_file() {
        "a regular file"
    } else {
        "a special file"
    }
}

/// Fails unless a file may be made at `path`: nothing is there, and the
/// directory it goes into exists and can be written.
pub fn check_creatable(path: &Path) -> Result<()> {
    if let Some(there) = look(path)? {
        bail!("{}: {} already exists", path.display(), kind(&there));
    }
    check_writable_parent(path)
}

/// Fails unless the directory that `path` goes into exists and can be written.
pub fn check_writable_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let there = std::fs::metadata(parent).with_context(|| format!("directory {}", parent.display()))?;
    if !there.is_dir() {
        bail!("{}: not a directory", parent.display());
    }
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::accessat(rustix::fs::CWD, parent, access, AtFlags::EACCESS)
        .map_err(io::Error::from)
        .with_context(|| format!("write to {}", parent.display()))
}

/// Writes `contents` to `target` so that a reader, or the next boot, finds the
/// old file or the new one, never a part: a temporary file next to it, fsync,
/// rename. A file that is replaced keeps its mode and owner.
pub fn write(target: &Path, contents: &[u8]) -> Result<()> {
    write_noting(target, contents, &mut false)
}

/// The same; notes in `renamed` that the file is in place, whatever follows.
fn write_noting(target: &Path, contents: &[u8], renamed: &mut bool) -> Result<()> {
    write_inner(target, contents, renamed).with_context(|| format!("write {}", target.display()))
}

fn write_inner(target: &Path, contents: &[u8], renamed: &mut bool) -> Result<()> {
    let old = look(target)?;
    if let Some(old) = &old
        && !old.is_file()
    {
        bail!("{}, not a regular file", kind(old));
    }
    let temp = sibling_name::temporary(target);
    let file = open_temp(&temp)?;
    let filled = (|| -> io::Result<()> {
        effect::fill(&file, contents)?;
        let mode = old.as_ref().map_or(0o644, |m| m.mode() & 0o7777);
        if let Some(old) = &old {
            let new = file.metadata()?;
            if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
                let (uid, gid) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
                effect::fchown(&file, uid, gid)?;
            }
        }
        // After the owner: changing that clears the set-id bits.
        effect::fchmod(&file, Mode::from_raw_mode(mode as _))?;
        effect::fsync(&file, &temp)?;
        let done = effect::rename(&temp, target);
        // Over a network it may be done and fail nevertheless.
        *renamed = done.is_ok() || same(&file, target);
        done
    })();
    if let Err(e) = filled {
        let _ = effect::remove_file(&temp);
        return Err(e.into());
    }
    sync_parent(target)?;
    Ok(())
}

/// Opens the temporary file, new or left by a run that was killed. The lock on
/// it shows that it is in use.
fn open_temp(temp: &Path) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = effect::open(temp, flags, Mode::RUSR | Mode::WUSR)
        .with_context(|| format!("create {}", temp.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("another process is writing it; run it again"),
        Err(TryLockError::Error(e)) => return Err(e.into()),
    }
    // The former holder of the lock can have renamed the file in between.
    let (now, opened) = (look(temp)?, file.metadata()?);
    if now.map(|m| (m.dev(), m.ino())) != Some((opened.dev(), opened.ino())) || !opened.is_file() {
        bail!("another process is writing it; run it again");
    }
    Ok(file)
}

/// Whether a path leads to an open file.
fn same(file: &File, path: &Path) -> bool {
    let (Ok(here), Ok(there)) = (file.metadata(), std::fs::symlink_metadata(path)) else { return false };
    (here.dev(), here.ino()) == (there.dev(), there.ino())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => effect::fsync(File::open(parent)?, parent),
        _ => Ok(()),
    }
}

/// Creates an empty file, which must not exist. The umask applies to `mode`.
pub fn create_empty(path: &Path, mode: u32) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::EXCL | OFlags::NOFOLLOW;
    effect::open(path, flags, Mode::from_raw_mode(mode as _))
        .with_context(|| format!("create {}", path.display()))?;
    Ok(())
}

/// Opens a file for writing that only its owner can read, without what it had.
pub fn open_private(path: &Path) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW;
    let file = effect::open(path, flags, Mode::RUSR | Mode::WUSR)
        .with_context(|| format!("create {}", path.display()))?;
    Ok(file)
}

/// Makes a file that only its owner can read.
pub fn write_private(path: &Path, text: &[u8]) -> Result<()> {
    let file = effect::open(path, OFlags::WRONLY | OFlags::EXCL, Mode::RUSR | Mode::WUSR);
    file.and_then(|file| effect::fill(&file, text)).with_context(|| format!("write {}", path.display()))
}

/// Writes a whole file.
pub struct WriteFile {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub contents: Vec<u8>,
}

impl Action for WriteFile {
    fn shell(&self) -> String {
        format!("{} > {}", shell::print(&self.contents), shell::quote(&self.path))
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        let new = look(&self.path)?.is_none();
        let mut renamed = false;
        let done = write_noting(&self.path, &self.contents, &mut renamed);
        // Only this run's own file: another one may have been quicker.
        if new && renamed {
            undo.push(RemoveFile { path: self.path.clone() });
        }
        done
    }
}

/// Replaces a file's text, to be put back if the rest fails.
pub struct ReplaceText {
    /// Which.
    pub path: PathBuf,
    /// What must be in it.
    pub old: Vec<u8>,
    /// What will be.
    pub new: Vec<u8>,
}

impl Action for ReplaceText {
    fn shell(&self) -> String {
        format!("{} > {}", shell::print(&self.new), shell::quote(&self.path))
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        let now = fs_err::read(&self.path)?;
        if now == self.new {
            return Ok(());
        }
        if now != self.old {
            bail!("{}: another program changed it in the meantime; run it again", self.path.display());
        }
        // What fails may have failed when the new text was in place.
        undo.push(ReplaceText { path: self.path.clone(), old: self.new.clone(), new: self.old.clone() });
        write(&self.path, &self.new)
    }
}

/// Removes a file. One that is gone already is as good: what a killed run
/// prepared may have been put to use meanwhile, by this very run.
pub struct RemoveFile {
    /// Which.
    pub path: PathBuf,
}

impl Action for RemoveFile {
    fn shell(&self) -> String {
        shell::line(["/bin/rm".as_ref(), self.path.as_os_str()])
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        match effect::remove_file(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => Ok(other?),
        }
    }
}

/// Removes a file, to be put back if the rest fails.
pub struct RemoveWithRestore {
    /// Which.
    pub path: PathBuf,
}

impl Action for RemoveWithRestore {
    fn shell(&self) -> String {
        shell::line(["/bin/rm".as_ref(), self.path.as_os_str()])
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        let contents = fs_err::read(&self.path)?;
        let there = fs_err::symlink_metadata(&self.path)?;
        let (mode, owner) = (there.mode(), (there.uid(), there.gid()));
        // Over a network it may be removed and fail nevertheless.
        undo.push(RestoreFile { path: self.path.clone(), contents, mode, owner });
        Ok(effect::remove_file(&self.path)?)
    }
}

/// Writes a removed file again.
struct RestoreFile {
    path: PathBuf,
    contents: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
}

impl Action for RestoreFile {
    fn shell(&self) -> String {
        format!("{} > {}", shell::print(&self.contents), shell::quote(&self.path))
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        if look(&self.path)?.is_some() {
            return Ok(());
        }
        write(&self.path, &self.contents)?;
        effect::chown(&self.path, self.owner)?;
        Ok(effect::chmod(&self.path, self.mode)?)
    }
}

/// Renames something to a name that is free.
pub struct RenameFile {
    /// What.
    pub from: PathBuf,
    /// Its new name, in the same file system.
    pub to: PathBuf,
}

impl Action for RenameFile {
    fn shell(&self) -> String {
        shell::line(["/bin/mv".as_ref(), self.from.as_os_str(), self.to.as_os_str()])
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        // Renaming onto an empty directory would succeed, so look first.
        if let Some(there) = look(&self.to)? {
            bail!("{}: {} already exists", self.to.display(), kind(&there));
        }
        let done = effect::rename(&self.from, &self.to);
        // Over a network it may be done and fail nevertheless.
        if done.is_ok() || look(&self.from)?.is_none() && look(&self.to)?.is_some() {
            undo.push(RenameFile { from: self.to.clone(), to: self.from.clone() });
        }
        done?;
        sync_parent(&self.to)?;
        Ok(())
    }
}

/// Makes a directory with mode 0755.
pub struct MakeDirectory {
    /// Where.
    pub path: PathBuf,
}

impl Action for MakeDirectory {
    fn shell(&self) -> String {
        shell::line(["/bin/mkdir".as_ref(), "-m".as_ref(), "755".as_ref(), self.path.as_os_str()])
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        effect::create_dir(&self.path, 0o755)?;
        undo.push(RemoveDirectory { path: self.path.clone() });
        // Whatever the umask: the jail's processes pass through it.
        Ok(effect::chmod(&self.path, 0o755)?)
    }
}

/// Removes an empty directory.
pub struct RemoveDirectory {
    /// Which.
    pub path: PathBuf,
}

impl Action for RemoveDirectory {
    fn shell(&self) -> String {
        shell::line(["/bin/rmdir".as_ref(), self.path.as_os_str()])
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        effect::remove_dir(&self.path)?;
        undo.push(MakeDirectory { path: self.path.clone() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_and_keeps_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jail.conf");
        write(&path, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(names(dir.path()), ["jail.conf"]);
    }

    #[test]
    fn what_a_killed_run_left_is_used_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(sibling_name::temporary(&path), "a longer text of an earlier run").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["x"]);
    }

    #[test]
    fn never_through_a_link_and_never_over_another_kind() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "v").unwrap();
        symlink(&victim, dir.path().join("link")).unwrap();
        assert!(write(&dir.path().join("link"), b"x").is_err());
        std::fs::create_dir(dir.path().join("dir")).unwrap();
        assert!(write(&dir.path().join("dir"), b"x").is_err());
        symlink(&victim, sibling_name::temporary(&dir.path().join("new"))).unwrap();
        assert!(write(&dir.path().join("new"), b"x").is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"v");
    }

    #[test]
    fn two_writers_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let held = open_temp(&sibling_name::temporary(&path)).unwrap();
        assert!(write(&path, b"second").unwrap_err().root_cause().to_string().contains("another process"));
        drop(held);
        write(&path, b"second").unwrap();
    }
}
