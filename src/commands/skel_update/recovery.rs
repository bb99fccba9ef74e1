//! Base and skeleton as they were before the update: kept, put back, forgotten.

use super::skeleton::{UnmountSkeleton, is_our_mount};
use super::{PROGRAM, State};
use crate::domain::template::{self, BEFORE_UPDATE as BEFORE};
use crate::formats::shell;
use crate::system::console;
use crate::system::effect;
use crate::system::file;
use crate::system::host::Host;
use crate::system::plan::{Action, Plan, Undo};
use crate::system::tool::{Tool, Tools};
use crate::system::tree::{self, RemoveTree};
use crate::system::zfs::{self, Dataset};
use crate::types::sibling_name;
use anyhow::{Context, Result, bail};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// How base and skeleton are kept as they were.
pub(super) enum Kept {
    Snapshots { base: Dataset, skeleton: Dataset },
    Copies,
}

/// Lines of differences that are shown.
pub(super) const SHOWN: usize = 20;

/// Shows what a recovery would take back, edits of the administrator's that
/// came since among it, and asks.
pub(super) fn ask(host: &Host, state: &State) -> Result<()> {
    let (base, skeleton) = (&state.base, &state.skeleton);
    let mut any = false;
    let mut show = |lines: Vec<String>, all: String| {
        any |= !lines.is_empty();
        for line in lines.iter().take(SHOWN) {
            console::note(PROGRAM, &format!("changed: {}", line.replace('\t', " ")));
        }
        if lines.len() > SHOWN {
            console::note(PROGRAM, &format!("and {} more: {all}", lines.len() - SHOWN));
        }
    };
    match &state.kept {
        Kept::Snapshots { base: of_base, skeleton: of_skeleton } => {
            for (dataset, path) in [(of_base, base), (of_skeleton, skeleton)] {
                if zfs::exists(host.tools(), &dataset.snapshot(BEFORE))? {
                    zfs::check_mounted(host, dataset, path)?;
                    let all = Tools::line(Tool::Zfs, &zfs::differences_arguments(dataset, BEFORE));
                    show(zfs::differences(host, dataset, BEFORE)?, all);
                }
            }
        }
        Kept::Copies => {
            for tree in [base, skeleton] {
                let before = template::before_update(tree);
                if file::look(&before)?.is_some() && file::look(tree)?.is_some() {
                    let mut lines = Vec::new();
                    tree::compare(&before, tree, &mut |found| {
                        if !found.is_directory_time() {
                            let line = format!("{} {}", sign(found.what), tree.join(&found.path).display());
                            // Mode, owner and contents of one entry.
                            if lines.last() != Some(&line) {
                                lines.push(line);
                            }
                        }
                        ControlFlow::Continue(())
                    })?;
                    show(
                        lines,
                        shell::line([
                            "/usr/bin/diff".as_ref(),
                            "-r".as_ref(),
                            before.as_os_str(),
                            tree.as_os_str(),
                        ]),
                    );
                }
            }
        }
    }
    let question = format!("Roll back template {}, and lose all changes listed above?", state.release);
    if any && !console::ask(&question)? {
        bail!("aborted");
    }
    Ok(())
}

/// A letter for a difference, as zfs-diff(8) has it.
pub(super) fn sign(what: tree::Aspect) -> char {
    match what {
        tree::Aspect::OnlySecond => '+',
        tree::Aspect::OnlyFirst => '-',
        _ => 'M',
    }
}

/// What to do first after a run that was killed, and whether that changes base
/// and skeleton.
pub(super) fn plan_recovery(host: &Host, state: &Rc<State>) -> Result<(Plan, bool)> {
    let mut takes_back = false;
    let mut recover = Plan::default();
    if host.kernel()?.mounts()?.iter().any(|m| is_our_mount(state, m)) {
        // This process holds the lock, so no other one is working with it.
        recover.push(UnmountSkeleton(state.clone()));
    }
    match &state.kept {
        Kept::Snapshots { base, skeleton } => {
            let exists = |dataset: &Dataset| zfs::exists(host.tools(), &dataset.snapshot(BEFORE));
            if exists(base)? || exists(skeleton)? {
                let all = zfs::snapshots(host, skeleton)?;
                let before = all.iter().position(|s| *s == skeleton.snapshot(BEFORE));
                if before.is_some_and(|at| all[at..].iter().any(|s| template::is_ours(s))) {
                    // The update was complete; only its traces were left.
                    recover.push(DropCheckpoint(state.clone()));
                } else {
                    recover.push(Rollback(state.clone()));
                    takes_back = true;
                }
            }
        }
        Kept::Copies => {
            let there = |tree: &Path| Ok::<_, anyhow::Error>(file::look(tree)?.is_some());
            if there(&template::before_update(&state.base))? {
                recover.push(Rollback(state.clone()));
                takes_back = true;
            } else if there(&template::before_update(&state.skeleton))? || there(&failed(&state.base))? {
                recover.push(DropCheckpoint(state.clone()));
            }
        }
    }
    Ok((recover, takes_back))
}

/// Where a tree that failed to be updated waits for its removal.
pub(super) fn failed(tree: &Path) -> PathBuf {
    sibling_name::hidden(tree, "failed")
}

/// Keeps base and skeleton as they are, both at one instant.
pub(super) struct Checkpoint(pub(super) Rc<State>);

impl Checkpoint {
    fn arguments(&self) -> Vec<String> {
        match &self.0.kept {
            Kept::Snapshots { base, skeleton } => {
                vec!["snapshot".into(), base.snapshot(BEFORE), skeleton.snapshot(BEFORE)]
            }
            Kept::Copies => Vec::new(),
        }
    }
}

impl Action for Checkpoint {
    fn shell(&self) -> String {
        Tools::line(Tool::Zfs, &self.arguments())
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let Kept::Snapshots { base, skeleton } = &self.0.kept else { return Ok(()) };
        // Both or none: zfs(8) takes them in one transaction group.
        zfs::TakeSnapshots::both([base, skeleton].map(|dataset| dataset.snapshot(BEFORE))).take(host)?;
        undo.push(Rollback(self.0.clone()));
        Ok(())
    }
}

/// Puts base and skeleton back as they were, and forgets that.
#[derive(Clone)]
pub(super) struct Rollback(pub(super) Rc<State>);

impl Action for Rollback {
    fn shell(&self) -> String {
        let state = &self.0;
        let mut lines = Vec::new();
        match &state.kept {
            Kept::Snapshots { base, skeleton } => {
                for dataset in [base, skeleton] {
                    lines.push(Tools::line(Tool::Zfs, &["rollback", &dataset.snapshot(BEFORE)]));
                }
                lines.push(DropCheckpoint(state.clone()).shell());
            }
            Kept::Copies => {
                for tree in [&state.skeleton, &state.base] {
                    let (before, failed) = (template::before_update(tree), failed(tree));
                    lines.push(shell::line(["/bin/mv".as_ref(), tree.as_os_str(), failed.as_os_str()]));
                    lines.push(shell::line(["/bin/mv".as_ref(), before.as_os_str(), tree.as_os_str()]));
                    lines.push(RemoveTree { path: failed }.shell());
                }
            }
        }
        lines.join("\n")
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let state = &self.0;
        match &state.kept {
            Kept::Snapshots { base, skeleton } => {
                for (dataset, tree) in [(base, &state.base), (skeleton, &state.skeleton)] {
                    put_back(host, dataset, tree)?;
                }
                DropCheckpoint(state.clone()).perform(host, &mut Undo::default())
            }
            Kept::Copies => {
                // The base last: as long as its copy is there, this is not done.
                for tree in [&state.skeleton, &state.base] {
                    let (before, failed) = (template::before_update(tree), failed(tree));
                    if file::look(&before)?.is_none() {
                        continue;
                    }
                    let here = file::look(tree)?.is_some();
                    if here && file::look(&failed)?.is_some() {
                        tree::remove(&failed)?;
                    }
                    let rename = |from: &Path, to: &Path| -> Result<()> { Ok(effect::rename(from, to)?) };
                    if here {
                        rename(tree, &failed)?;
                    }
                    rename(&before, tree)?;
                }
                for tree in [&state.skeleton, &state.base] {
                    tree::remove(&failed(tree))?;
                }
                Ok(())
            }
        }
    }
}

/// Puts a file system back as it was before the update.
pub(super) fn put_back(host: &Host, dataset: &Dataset, tree: &Path) -> Result<()> {
    let before = dataset.snapshot(BEFORE);
    if !zfs::exists(host.tools(), &before)? {
        return Ok(());
    }
    let newer = || -> Result<bool> { Ok(zfs::snapshots(host, dataset)?.last() != Some(&before)) };
    if !newer()? {
        match zfs::roll_back(host, dataset, BEFORE) {
            // One may have been taken in between.
            Err(_) if newer()? => {}
            result => return result,
        }
    }
    // ZFS does not roll back past later snapshots, and those that other programs
    // took must not be destroyed.
    let kept = tree.join(".zfs/snapshot").join(BEFORE);
    tree::restore(&kept, tree).with_context(|| format!("{dataset} has later snapshots than {before}"))
}

/// Removes what the update could have gone back to.
pub(super) struct DropCheckpoint(pub(super) Rc<State>);

impl Action for DropCheckpoint {
    fn shell(&self) -> String {
        let state = &self.0;
        let lines = match &state.kept {
            Kept::Snapshots { base, skeleton } => {
                [base, skeleton].map(|d| Tools::line(Tool::Zfs, &["destroy", &d.snapshot(BEFORE)]))
            }
            Kept::Copies => [&state.base, &state.skeleton]
                .map(|tree| RemoveTree { path: template::before_update(tree) }.shell()),
        };
        lines.join("\n")
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let state = &self.0;
        match &state.kept {
            Kept::Snapshots { base, skeleton } => {
                for before in [base, skeleton].map(|dataset| dataset.snapshot(BEFORE)) {
                    if zfs::exists(host.tools(), &before)? {
                        zfs::DestroyDataset { name: before }.perform(host, &mut Undo::default())?;
                    }
                }
            }
            Kept::Copies => {
                // In one step it is settled; what follows only makes room.
                let before = template::before_update(&state.base);
                if file::look(&before)?.is_some() {
                    tree::remove(&failed(&state.base))?;
                    effect::rename(&before, &failed(&state.base))?;
                }
                tree::remove(&template::before_update(&state.skeleton))?;
                for tree in [&state.skeleton, &state.base] {
                    tree::remove(&failed(tree))?;
                }
            }
        }
        Ok(())
    }
}
