//! The merged tree, as the entries that are not the same everywhere.

use super::policy::{self, DATABASES, Made, Policy};
use crate::text::{Conflict as Marked, Side};
use crate::tree::threeway::{self, By, Event, Found, Step, Tops};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// What three-way comparison gave, and what was decided since.
#[derive(Default)]
pub struct Merged {
    found: Vec<Found>,
    edits: Vec<Edit>,
}

/// A text that somebody has edited.
struct Edit {
    path: PathBuf,
    marked: Marked,
    edited: Vec<u8>,
}

impl Merged {
    /// Compares.
    pub fn find(tops: Tops) -> Result<Merged> {
        for must in ["etc", "var"] {
            // Without them it could not have started; and what is made in them is
            // made by name.
            if crate::tree::open_directory(&tops.ours.join(must)).is_err() {
                bail!("{}: not a directory", tops.ours.join(must).display());
            }
        }
        Ok(Merged { found: threeway::compare(tops, &Policy)?, ..Merged::default() })
    }

    /// The entries, in the order of names.
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// Those that nobody has decided about.
    pub fn conflicts(&self) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(|found| found.conflict.is_some())
    }

    /// Decides all conflicts for one side.
    pub fn decide(&mut self, side: Option<Side>) {
        let Some(side) = side else { return };
        for found in &mut self.found {
            if let Some(conflict) = found.conflict.take() {
                found.step = conflict.step(side);
                found.event = conflict.event(side);
                found.by = By::Decided;
            }
        }
        self.settle();
    }

    /// Lets go of directories that the release has no more, and that nothing is
    /// put into now that conflicts are decided.
    fn settle(&mut self) {
        for at in (0..self.found.len()).rev() {
            if self.found[at].step != Some(Step::MakeDirectory) {
                continue;
            }
            let path = self.found[at].path.clone();
            let puts =
                |found: &Found| found.conflict.is_some() || !matches!(found.step, None | Some(Step::Remove));
            let inside = |found: &&Found| found.path.starts_with(&path);
            let filled = self.found[at + 1..].iter().take_while(inside).any(puts);
            let found = &mut self.found[at];
            if !filled {
                (found.by, found.event, found.step) = (By::Release, Event::Removed, None);
            }
        }
    }

    /// Gives a conflict the text that somebody made of it.
    pub fn edit(&mut self, path: &Path, edited: Vec<u8>) {
        let Some(found) = self.found.iter_mut().find(|found| found.path == path) else { return };
        let Some(conflict) = &found.conflict else { return };
        if let (Some(step), Some(marked)) = (conflict.edited(edited.clone()), conflict.text.clone()) {
            found.step = Some(step);
            found.conflict = None;
            self.edits.push(Edit { path: path.to_owned(), marked, edited });
        }
    }

    /// Takes over what was edited before things were compared anew.
    pub fn take_edits(&mut self, before: &Merged) -> Result<()> {
        for edit in &before.edits {
            let still =
                self.found.iter().find(|found| found.path == edit.path).and_then(|f| f.conflict.as_ref());
            if still.and_then(|conflict| conflict.text.as_ref()) != Some(&edit.marked) {
                bail!("{}: it changed while the jail was stopped; run it again", edit.path.display());
            }
            self.edit(&edit.path, edit.edited.clone());
        }
        Ok(())
    }

    /// The steps for databases, by what became of the texts they are made of.
    pub fn databases(&self, theirs: &Path, ours: &Path) -> Result<Vec<Found>> {
        let mut steps = Vec::new();
        for database in &DATABASES {
            for file in database.files {
                let path = Path::new(file);
                let there = [threeway::exists(theirs, path)?, threeway::exists(ours, path)?];
                let untouched = !self.found.iter().any(|f| f.path == Path::new(database.source));
                let step = match (self.made(database.source), there) {
                    (Made::Ours, [_, true]) => Some(Step::Take),
                    // The same text, and only the jail has made something of it.
                    (Made::Theirs, [false, true]) if untouched => Some(Step::Take),
                    (Made::Ours | Made::Gone, [true, false]) | (Made::Gone, [true, true]) => {
                        Some(Step::Remove)
                    }
                    (Made::Anew, [true, _]) if database.tool.is_none() => Some(Step::Remove),
                    _ => None,
                };
                let by = By::Jail;
                let found = |step| Found {
                    path: path.to_owned(),
                    by,
                    event: Event::Changed,
                    step: Some(step),
                    conflict: None,
                };
                steps.extend(step.map(found));
            }
        }
        Ok(steps)
    }

    /// Where what is made of a text comes from.
    pub fn made(&self, source: &str) -> Made {
        policy::made(source, &self.found)
    }

    /// In numbers.
    pub fn summary(&self) -> String {
        let count = |by: By| self.found.iter().filter(|f| f.by == by && f.conflict.is_none()).count();
        let mut parts = vec![
            format!("{} from the release", count(By::Release)),
            format!("{} kept of the jail's own", count(By::Jail)),
            format!("{} merged", count(By::Both)),
        ];
        match count(By::Decided) {
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
