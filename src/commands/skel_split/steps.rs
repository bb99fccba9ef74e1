//! The steps of a split, each an action of its plan.

use super::interrupted::{self, Verdict};
use crate::formats::shell;
use crate::system::effect;
use crate::system::file::{self, MakeDirectory, RenameFile};
use crate::system::host::Host;
use crate::system::plan::{Action, Plan, Undo, UndoIf};
use crate::system::tree::{self, RemoveTree};
use anyhow::{Result, bail};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Makes a directory like another one: owner, mode and times.
pub(super) struct CreateDirectoryLike {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
}

impl Action for CreateDirectoryLike {
    fn shell(&self) -> String {
        shell::line(["/bin/mkdir".as_ref(), self.to.as_os_str()])
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        MakeDirectory { path: self.to.clone() }.perform(host, undo)?;
        let there = fs_err::symlink_metadata(&self.from)?;
        effect::chown(&self.to, (there.uid(), there.gid()))?;
        Ok(effect::chmod(&self.to, there.mode())?)
    }
}

/// Makes a directory that the base lacked.
pub(super) struct CreateMissingDirectory {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
}

impl Action for CreateMissingDirectory {
    fn shell(&self) -> String {
        let mode = format!("{:o}", self.mode);
        shell::line(["/bin/mkdir".as_ref(), "-m".as_ref(), mode.as_ref(), self.path.as_os_str()])
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        MakeDirectory { path: self.path.clone() }.perform(host, undo)?;
        Ok(effect::chmod(&self.path, self.mode)?)
    }
}

/// Compares a copy with its source, entry by entry.
pub(super) struct VerifyCopy {
    pub(super) source: PathBuf,
    pub(super) copy: PathBuf,
}

impl Action for VerifyCopy {
    fn shell(&self) -> String {
        shell::line(["/usr/bin/diff".as_ref(), "-r".as_ref(), self.source.as_os_str(), self.copy.as_os_str()])
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        match tree::difference(&self.source, &self.copy)? {
            None => Ok(()),
            Some(what) => {
                bail!("the copy {} differs from {}: {what}", self.copy.display(), self.source.display())
            }
        }
    }
}

/// Completes a tree with what another one has more, and verifies it.
pub(super) struct MergeCopies {
    pub(super) from: PathBuf,
    pub(super) into: PathBuf,
}

impl Action for MergeCopies {
    fn shell(&self) -> String {
        let (from, into) = (shell::quote(&self.from), shell::quote(&self.into));
        format!("/usr/bin/tar -C {from} -cf - . | /usr/bin/tar -C {into} -xkpf -")
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        undo.push(RemoveTree { path: self.into.clone() });
        tree::merge(&self.from, &self.into)?;
        match interrupted::examine(&self.from, &self.into)? {
            Verdict::Equal | Verdict::CopyWhole => Ok(()),
            _ => bail!("{}: not complete after the merge", self.into.display()),
        }
    }
}

/// A plan that makes the skeleton or a directory of it. It is not undone while a link
/// of the base leads there, because the link could not be removed: what it stands
/// for may be whole nowhere else.
pub(super) fn undone_without_links(plan: Plan, links: Vec<PathBuf>) -> UndoIf {
    let may_undo = move || -> Result<bool> {
        for link in &links {
            if file::look(link)?.is_some_and(|m| m.is_symlink()) {
                bail!("what {} leads to is kept", link.display());
            }
        }
        Ok(true)
    };
    UndoIf { plan, may_undo: Rc::new(may_undo) }
}

/// Renames an original of the base aside.
pub(super) struct SetOriginalAside {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    /// Where what is in it is now.
    pub(super) copy: PathBuf,
}

impl Action for SetOriginalAside {
    fn shell(&self) -> String {
        shell::line(["/bin/mv".as_ref(), self.from.as_os_str(), self.to.as_os_str()])
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        // Before what it was made of goes.
        tree::store(&self.copy)?;
        RenameFile { from: self.from.clone(), to: self.to.clone() }.perform(host, undo)
    }
}

/// Makes the link that takes the place of a directory.
pub(super) struct LinkToSkeleton {
    pub(super) text: String,
    pub(super) path: PathBuf,
}

impl Action for LinkToSkeleton {
    fn shell(&self) -> String {
        shell::line(["/bin/ln".as_ref(), "-s".as_ref(), self.text.as_ref(), self.path.as_os_str()])
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        let done = effect::symlink(Path::new(&self.text), &self.path);
        // Over a network it may be done and fail nevertheless.
        let made = || std::fs::read_link(&self.path).is_ok_and(|text| text == Path::new(&self.text));
        if done.is_ok() || made() {
            undo.push(file::RemoveFile { path: self.path.clone() });
        }
        Ok(done?)
    }
}
