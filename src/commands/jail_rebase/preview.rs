//! What a move would do, and what remains to be done after it.

use super::merged::MergedTree;
use super::policy::{self, DATABASES};
use crate::commands::common;
use crate::commands::common::Common;
use crate::formats::diff::{self, Side};
use crate::formats::printable;
use crate::system::console;
use crate::system::tree::threeway::{self, ChangeKind, ChangedBy, FileContents, Step, TreeChange, TreeRoots};
use crate::types::jail_name::JailName;
use crate::types::origin::Origin;
use crate::types::release::Release;
use anyhow::Result;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// One line for every conflict, with where its three versions are.
pub fn conflicts(merged: &MergedTree, tops: TreeRoots) -> Vec<String> {
    let line = |found: &TreeChange| {
        let conflict = found.conflict.as_ref()?;
        let versions = [("ancestor", tops.ancestor), ("theirs", tops.theirs), ("ours", tops.ours)]
            .map(|(name, top)| format!("{name} {}", top.join(&found.path).display()))
            .join(", ");
        let note = conflict.text.as_ref().and_then(|text| text.note()).map(|note| format!("; {note}"));
        let why = format!("{}{}", conflict.why, note.unwrap_or_default());
        Some(printable::line(&format!("conflict: {}: {why} ({versions})", found.path.display())))
    };
    merged.conflicts().filter_map(line).collect()
}

/// A letter for what happens to an entry, as diff(1) and zfs-diff(8) have them.
fn letter(event: ChangeKind) -> char {
    match event {
        ChangeKind::Added => '+',
        ChangeKind::Changed => 'M',
        ChangeKind::Removed => '-',
    }
}

fn by(found: &TreeChange) -> &'static str {
    match (&found.conflict, found.by) {
        (Some(_), _) => "conflict",
        (None, ChangedBy::Release) => "release",
        (None, ChangedBy::Jail) => "jail",
        (None, ChangedBy::Both) => "both",
        (None, ChangedBy::Decided) => "decided",
    }
}

/// What the merged tree has in a file, if that is a text.
fn result(found: &TreeChange, tops: TreeRoots) -> Result<Option<Vec<u8>>> {
    let of = |top: &Path| threeway::contents(top, &found.path, diff::LARGEST);
    match &found.step {
        Some(Step::MergeMetadata(compose)) => match &compose.contents {
            FileContents::Merged(text) => Ok(Some(text.clone())),
            FileContents::Of(Side::Ours) => of(tops.ours),
            FileContents::Of(Side::Theirs) => of(tops.theirs),
        },
        Some(Step::CopyFromJail | Step::MakeDirectory) => of(tops.ours),
        Some(Step::Remove) => Ok(None),
        None => of(tops.theirs),
    }
}

/// Prints the plan: a summary, every entry, every conflict, and what changes in
/// each text of the jail as a unified diff.
pub fn plan(
    jail: &JailName,
    [from, to]: [&Origin; 2],
    tops: TreeRoots,
    merged: &MergedTree,
    commands: &[String],
    common: &Common,
) -> Result<ExitCode> {
    let status =
        if merged.conflicts().next().is_some() { ExitCode::from(common::FAILED) } else { ExitCode::SUCCESS };
    if common.json {
        let entries: Vec<_> = merged
            .found()
            .iter()
            .map(|found| {
                json!({
                    "path": found.path.to_string_lossy(),
                    "by": by(found),
                    "event": match found.event {
                        ChangeKind::Added => "added",
                        ChangeKind::Changed => "changed",
                        ChangeKind::Removed => "removed",
                    },
                    "why": found.conflict.as_ref().map(|c| c.why.to_string()),
                })
            })
            .collect();
        let document = json!({
            "program": super::PROGRAM,
            "jail": jail.as_str(),
            "from": from.to_string(),
            "to": to.to_string(),
            "entries": entries,
            "conflicts": merged.conflicts().count(),
            "commands": commands,
        });
        console::print_json(&document)?;
        return Ok(status);
    }
    let mut out = format!("{jail}: {from} -> {to}: {}\n", merged.summary()).into_bytes();
    for found in merged.found() {
        let line = format!("{} {:8} {}", letter(found.event), by(found), found.path.display());
        out.extend(format!("{}\n", printable::line(&line)).bytes());
    }
    for line in conflicts(merged, tops) {
        out.extend(format!("{line}\n").bytes());
    }
    for found in merged.found().iter().filter(|f| f.conflict.is_none() && f.by != ChangedBy::Jail) {
        let old = threeway::contents(tops.ours, &found.path, diff::LARGEST)?;
        let new = result(found, tops)?;
        let names = [("a", &old), ("b", &new)].map(|(side, text)| match text {
            Some(_) => printable::line(&format!("{side}/{}", found.path.display())),
            None => "/dev/null".to_owned(),
        });
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        if [&old, &new].into_iter().all(|contents| diff::is_text(contents)) {
            out.extend(diff::unified([&names[0], &names[1]], &old, &new));
        } else if old != new {
            out.extend(format!("Binary files {} and {} differ\n", names[0], names[1]).bytes());
        }
    }
    for found in merged.conflicts() {
        let text = found.conflict.as_ref().and_then(|conflict| conflict.text.as_ref());
        if let (Some(text), Some(ours)) = (text, threeway::contents(tops.ours, &found.path, diff::LARGEST)?) {
            let names = ["a", "b"].map(|side| printable::line(&format!("{side}/{}", found.path.display())));
            out.extend(diff::unified([&names[0], &names[1]], &ours, text.marked()));
        }
    }
    for command in commands.iter().filter(|_| common.verbose) {
        out.extend(format!("{command}\n").bytes());
    }
    // Text that root in the jail wrote can contain terminal controls.
    console::print_text(&printable::bytes(&out))?;
    Ok(status)
}

/// What is left for the administrator.
pub fn remains(
    jail: &JailName,
    [was, is]: [&Release; 2],
    [before, container]: [&Path; 2],
    merged: &MergedTree,
) -> Vec<String> {
    // A note is no reason to fail.
    let has = |top: &Path, path: &str| threeway::exists(top, Path::new(path)).unwrap_or(false);
    let mut notes = vec![format!("service jail start {jail} restarts all its services")];
    if has(container, "var/db/pkg/local.sqlite") && was.version().0 != is.version().0 {
        notes.push(format!(
            "its packages were built for FreeBSD {}: after starting it, run pkg -j {jail} upgrade -f",
            was.version().0
        ));
    }
    if merged.found().iter().any(policy::touches_certificates) {
        notes
            .push(format!("it has its own certificates: after starting it, run jexec {jail} certctl rehash"));
    }
    let lost = |file: &&str| has(before, file) && !has(container, file);
    if DATABASES.iter().any(|database| database.tool.is_none() && database.files.iter().any(lost)) {
        notes.push(format!("its aliases have changed: after starting it, run jexec {jail} newaliases"));
    }
    notes.push(format!(
        "jail-rebase --revert {jail} returns to the former container, jail-rebase --commit {jail} destroys it"
    ));
    notes
}
