//! The merged tree, as the entries that are not the same everywhere.

use super::policy::{self, DATABASES, DatabaseRule, EtcPolicy};
use crate::formats::diff::{Side, TextConflict as Marked};
use crate::system::tree::threeway::{self, ChangeKind, ChangedBy, Step, TreeChange, TreeRoots};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// What three-way comparison gave, and what was decided since.
#[derive(Default)]
pub struct MergedTree {
    found: Vec<TreeChange>,
    edits: Vec<Edit>,
}

/// A text that was edited.
struct Edit {
    path: PathBuf,
    marked: Marked,
    edited: Vec<u8>,
}

impl MergedTree {
    /// Compares.
    pub fn find(tops: TreeRoots) -> Result<MergedTree> {
        for must in ["etc", "var"] {
            // Without them it could not have started; and what is made in them is
            // made by name.
            if crate::system::tree::open_directory(&tops.ours.join(must)).is_err() {
                bail!("{}: not a directory", tops.ours.join(must).display());
            }
        }
        Ok(MergedTree { found: threeway::compare(tops, &EtcPolicy)?, ..MergedTree::default() })
    }

    /// The entries, in the order of names.
    pub fn found(&self) -> &[TreeChange] {
        &self.found
    }

    /// Those that are undecided.
    pub fn conflicts(&self) -> impl Iterator<Item = &TreeChange> {
        self.found.iter().filter(|found| found.conflict.is_some())
    }

    /// Decides all conflicts for one side.
    pub fn decide(&mut self, side: Option<Side>) {
        let Some(side) = side else { return };
        for found in &mut self.found {
            if let Some(conflict) = found.conflict.take() {
                found.step = conflict.step(side);
                found.event = conflict.event(side);
                found.by = ChangedBy::Decided;
            }
        }
        self.settle();
    }

    /// Drops directories that the release no longer has, and that nothing is
    /// put into now that conflicts are decided.
    fn settle(&mut self) {
        for at in (0..self.found.len()).rev() {
            if self.found[at].step != Some(Step::MakeDirectory) {
                continue;
            }
            let path = self.found[at].path.clone();
            let puts = |found: &TreeChange| {
                found.conflict.is_some() || !matches!(found.step, None | Some(Step::Remove))
            };
            let inside = |found: &&TreeChange| found.path.starts_with(&path);
            let filled = self.found[at + 1..].iter().take_while(inside).any(puts);
            let found = &mut self.found[at];
            if !filled {
                (found.by, found.event, found.step) = (ChangedBy::Release, ChangeKind::Removed, None);
            }
        }
    }

    /// Gives a conflict the text that the administrator made of it.
    pub fn edit(&mut self, path: &Path, edited: Vec<u8>) {
        let Some(found) = self.found.iter_mut().find(|found| found.path == path) else { return };
        let Some(conflict) = &found.conflict else { return };
        if let (Some(step), Some(marked)) = (conflict.edited(edited.clone()), conflict.text.clone()) {
            found.step = Some(step);
            found.conflict = None;
            self.edits.push(Edit { path: path.to_owned(), marked, edited });
        }
    }

    /// Takes over what was edited before things were compared again.
    pub fn take_edits(&mut self, before: &MergedTree) -> Result<()> {
        for edit in &before.edits {
            let still =
                self.found.iter().find(|found| found.path == edit.path).and_then(|f| f.conflict.as_ref());
            if still.and_then(|conflict| conflict.text.as_ref()) != Some(&edit.marked) {
                bail!(
                    "{}: changed while the jail was being stopped; run the command again",
                    edit.path.display()
                );
            }
            self.edit(&edit.path, edit.edited.clone());
        }
        Ok(())
    }

    /// The steps for databases, by what became of the texts they are made of.
    pub fn databases(&self, theirs: &Path, ours: &Path) -> Result<Vec<TreeChange>> {
        let mut steps = Vec::new();
        for database in &DATABASES {
            for file in database.files {
                let path = Path::new(file);
                let there = [threeway::exists(theirs, path)?, threeway::exists(ours, path)?];
                let untouched = !self.found.iter().any(|f| f.path == Path::new(database.source));
                let step = match (self.made(database.source), there) {
                    (DatabaseRule::Ours, [_, true]) => Some(Step::CopyFromJail),
                    // The same text, and only the jail has made something of it.
                    (DatabaseRule::Theirs, [false, true]) if untouched => Some(Step::CopyFromJail),
                    (DatabaseRule::Ours | DatabaseRule::Gone, [true, false])
                    | (DatabaseRule::Gone, [true, true]) => Some(Step::Remove),
                    (DatabaseRule::Rebuilt, [true, _]) if database.tool.is_none() => Some(Step::Remove),
                    _ => None,
                };
                let by = ChangedBy::Jail;
                let found = |step| TreeChange {
                    path: path.to_owned(),
                    by,
                    event: ChangeKind::Changed,
                    step: Some(step),
                    conflict: None,
                };
                steps.extend(step.map(found));
            }
        }
        Ok(steps)
    }

    /// Where what is made of a text comes from.
    pub fn made(&self, source: &str) -> DatabaseRule {
        policy::made(source, &self.found)
    }

    /// In numbers.
    pub fn summary(&self) -> String {
        let count = |by: ChangedBy| self.found.iter().filter(|f| f.by == by && f.conflict.is_none()).count();
        let mut parts = vec![
            format!("{} from the release", count(ChangedBy::Release)),
            format!("{} kept of the jail's own", count(ChangedBy::Jail)),
            format!("{} merged", count(ChangedBy::Both)),
        ];
        match count(ChangedBy::Decided) {
            0 => {}
            n => parts.push(format!("{n} decided")),
        }
        match self.conflicts().count() {
            0 => {}
            n => parts.push(format!("{n} in conflict")),
        }
        parts.join(", ")
    }
}
