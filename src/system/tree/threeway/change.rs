//! What a three-way comparison finds of an entry, and what is to be done with it.

use crate::formats::diff::{self, Side};
use crate::system::tree::Aspect;
use std::fmt;
use std::path::PathBuf;

/// Who changed an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangedBy {
    /// Only the release.
    Release,
    /// Only the jail; or it is the jail's own.
    Jail,
    /// Both.
    Both,
    /// Both, in conflict, and the administrator decided for one side.
    Decided,
}

/// What was done to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It is another one, or has changed.
    Changed,
    /// It is gone.
    Removed,
}

/// Where a part of an entry is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContents {
    /// From one side, with the modification time.
    Of(Side),
    /// Merged.
    Merged(Vec<u8>),
}

/// An entry that has something from each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeMetadata {
    /// What is in it, or where a link points to.
    pub contents: FileContents,
    /// Mode.
    pub mode: Side,
    /// User and group.
    pub owner: Side,
    /// Flags of chflags(2).
    pub flags: Side,
    /// Access control list.
    pub acl: Side,
    /// Extended attributes.
    pub attributes: Side,
}

/// What makes an entry of the release's tree one of the merged tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// As the jail has it, with all below it.
    CopyFromJail,
    /// It goes, with all below it.
    Remove,
    /// A directory as the jail has it, with nothing in it yet.
    MakeDirectory,
    /// Something of each.
    MergeMetadata(MergeMetadata),
}

/// Why an entry cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConflictReason {
    /// Both changed the same lines, in so many places.
    Lines(usize),
    /// Both changed what cannot be merged by lines.
    Contents,
    /// Both made something else of it, or added it.
    Kind,
    /// Both added it.
    AddedByBoth,
    /// The jail removed what the release changed.
    RemovedByJail,
    /// The release removed what the jail changed.
    RemovedByRelease,
    /// Both changed this of it.
    Fact(Aspect),
}

impl fmt::Display for ConflictReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConflictReason::Lines(1) => f.write_str("both changed the same lines, in one place"),
            ConflictReason::Lines(n) => write!(f, "both changed the same lines, in {n} places"),
            ConflictReason::Contents => {
                f.write_str("both changed it, and it is not a text file that can be merged")
            }
            ConflictReason::Kind => f.write_str("one made something else of it, and the other changed it"),
            ConflictReason::AddedByBoth => f.write_str("both added it, and they differ"),
            ConflictReason::RemovedByJail => f.write_str("removed by the jail, changed by the release"),
            ConflictReason::RemovedByRelease => f.write_str("removed by the release, changed by the jail"),
            ConflictReason::Fact(what) => write!(f, "both changed it: {what}"),
        }
    }
}

/// An entry that the administrator has to decide about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeConflict {
    /// Why.
    pub why: ConflictReason,
    /// Its text with markers, if lines conflict.
    pub text: Option<diff::TextConflict>,
    /// What is done for each side.
    pub(super) steps: [Option<Step>; 2],
}

impl TreeConflict {
    /// What is done when it is decided for one side.
    pub fn step(&self, side: Side) -> Option<Step> {
        self.steps[usize::from(side == Side::Theirs)].clone()
    }

    /// What happens to the entry, as the jail sees it, when it is decided for one
    /// side.
    pub fn event(&self, side: Side) -> ChangeKind {
        match (&self.why, side) {
            (ConflictReason::RemovedByRelease, Side::Theirs) => ChangeKind::Removed,
            (ConflictReason::RemovedByJail, Side::Ours) => ChangeKind::Removed,
            (ConflictReason::RemovedByJail, Side::Theirs) => ChangeKind::Added,
            (ConflictReason::AddedByBoth, _) => ChangeKind::Added,
            _ => ChangeKind::Changed,
        }
    }

    /// What is done when the administrator has edited the text.
    pub fn edited(&self, contents: Vec<u8>) -> Option<Step> {
        let compose = self.steps.iter().flatten().find_map(|step| match step {
            Step::MergeMetadata(compose) => Some(compose.clone()),
            _ => None,
        });
        Some(Step::MergeMetadata(MergeMetadata { contents: FileContents::Merged(contents), ..compose? }))
    }
}

/// An entry that is not the same in all three trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeChange {
    /// Where, below the tops.
    pub path: PathBuf,
    /// Whose change the merged tree has.
    pub by: ChangedBy,
    /// What happened to it.
    pub event: ChangeKind,
    /// What is to be done to the release's tree; nothing for its own changes.
    pub step: Option<Step>,
    /// What is to be decided first.
    pub conflict: Option<TreeConflict>,
}
