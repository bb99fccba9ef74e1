//! Two trees that should be one: what a `mv` or `cp` that stopped half-way left.
//!
//! mv(1) between file systems copies all and then removes all. Stopped while
//! copying, the source is whole and the copy lacks its end; stopped while
//! removing (by the immutable var/empty, usually), the copy is whole and the
//! source is a rest. Tried again by hand, there may be parts in both.

use crate::system::tree::{self, Aspect};
use anyhow::Result;
use std::ops::ControlFlow;
use std::path::Path;

/// What can be made of the two.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are alike; directories may have been touched at different times.
    Equal,
    /// The copy holds everything; the source is a rest of the same.
    CopyWhole,
    /// The source holds everything; the copy is its beginning.
    SourceWhole,
    /// Each has what the other lacks, and what both have is alike.
    Split,
    /// Both have something under one name that is not alike: one line each.
    Differ(Vec<String>),
}

/// Compares a source with a copy that may be unfinished. Names of hard links
/// that became separate files do not count: mv(1) and cp(1) make them so.
pub fn examine(source: &Path, copy: &Path) -> Result<Verdict> {
    let (mut only_source, mut only_copy) = (0, 0);
    let (mut unlike, mut alien) = (Vec::new(), false);
    let mut shorter = Vec::new();
    tree::compare(source, copy, &mut |difference| {
        match difference.what {
            Aspect::OnlyFirst => only_source += 1,
            Aspect::OnlySecond => only_copy += 1,
            // Whatever was made or removed in a directory touched it.
            _ if difference.is_directory_time() => {}
            Aspect::HardLinks => {}
            Aspect::Mode
            | Aspect::Owner
            | Aspect::ModificationTime
            | Aspect::Flags
            | Aspect::Acl
            | Aspect::ExtendedAttributes => unlike.push(difference.to_string()),
            Aspect::Size => {
                unlike.push(difference.to_string());
                shorter.push(difference.path);
            }
            _ => {
                alien = true;
                unlike.push(difference.to_string());
            }
        }
        ControlFlow::Continue(())
    })?;
    for path in shorter {
        alien |= !tree::starts_with(source, copy, &path)?;
    }
    Ok(match (unlike.is_empty(), only_source, only_copy) {
        _ if alien => Verdict::Differ(unlike),
        (true, 0, 0) => Verdict::Equal,
        (true, 0, _) => Verdict::CopyWhole,
        // What a copy has not got to yet, or was still writing.
        (_, _, 0) => Verdict::SourceWhole,
        (true, _, _) => Verdict::Split,
        (false, _, _) => Verdict::Differ(unlike),
    })
}
