//! One of the directories that are moved: as it is found, and what is left to do.

use super::PROGRAM;
use super::interrupted::{self, Verdict};
use super::steps::{
    CreateDirectoryLike, CreateMissingDirectory, LinkToSkeleton, MergeCopies, SetOriginalAside, VerifyCopy,
    undone_without_links,
};
use crate::domain::jail_view::{JailRootView, LookupResult, Symlinks};
use crate::domain::layout::SKELETON;
use crate::formats::mtree;
use crate::system::console;
use crate::system::file::{self, RenameFile};
use crate::system::plan::Plan;
use crate::system::tree::{CopyTree, RemoveTree};
use crate::types::sibling_name;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// Base and skeleton as real paths.
pub(super) struct Trees {
    pub(super) base: PathBuf,
    pub(super) skeleton: PathBuf,
}

/// One of the directories that are moved.
pub(super) struct Part {
    pub(super) name: &'static str,
    /// Where it was, and where the link goes.
    pub(super) at_base: PathBuf,
    /// The original, renamed aside.
    pub(super) aside: PathBuf,
    /// Where it goes.
    pub(super) to: PathBuf,
    /// What a copy or merge replaced.
    pub(super) replaced: PathBuf,
    /// Where a merge is prepared.
    pub(super) merged: PathBuf,
}

impl Trees {
    pub(super) fn part(&self, name: &'static str) -> Part {
        let (at_base, to) = (self.base.join(name), self.skeleton.join(name));
        Part {
            name,
            aside: sibling_name::temporary(&at_base),
            replaced: sibling_name::hidden(&to, "torn"),
            merged: sibling_name::hidden(&to, "merged"),
            at_base,
            to,
        }
    }
}

impl Part {
    /// The text of the link, as the recipe has it.
    pub(super) fn text(&self) -> String {
        format!("{}{SKELETON}/{}", "../".repeat(self.name.matches('/').count()), self.name)
    }

    /// Where `-k` leaves the original.
    pub(super) fn kept(&self) -> PathBuf {
        sibling_name::suffixed(&self.at_base, "orig")
    }
}

/// Directories that a base may lack, with their modes (freebsd-src:
/// etc/mtree/BSD.root.dist); etc and var it may not.
pub(super) fn mode_of_missing(name: &str) -> Option<u32> {
    match name {
        "home" | "usr/local" => Some(0o755),
        "root" => Some(0o750),
        "tmp" => Some(0o1777),
        _ => None,
    }
}

/// How many differences are shown of a directory that cannot be completed.
pub(super) const SHOWN: usize = 20;

/// Whether the link in the base leads a jail to the directory in the skeleton.
pub(super) fn leads_right(trees: &Trees, part: &Part) -> Result<bool> {
    let mut view = JailRootView::new(&trees.base)?;
    let point = Path::new("/").join(SKELETON);
    view.mount(&trees.skeleton, &point)?;
    let found = view.look_up(Path::new("/"), Path::new(part.name), Symlinks::Follow)?;
    Ok(matches!(found, LookupResult::Directory(real) if real == point.join(part.name)))
}

/// Fails when a directory that base itself lists is in none of the trees: then
/// something got lost on the way.
pub(super) fn check_complete(trees: &Trees, name: &str, in_trees: &[&PathBuf]) -> Result<()> {
    let (list, below) = match name {
        "var" => ("BSD.var.dist", Path::new("")),
        "etc" | "root" | "tmp" => ("BSD.root.dist", Path::new(name)),
        _ => return Ok(()),
    };
    let etc = trees.part("etc");
    for place in [&etc.at_base, &etc.aside, &etc.to] {
        if !file::look(place)?.is_some_and(|m| m.is_dir()) {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(place.join("mtree").join(list)) else { continue };
        for directory in mtree::directories(&text) {
            let Ok(inner) = directory.strip_prefix(below) else { continue };
            let there =
                in_trees.iter().any(|t| file::look(&t.join(inner)).is_ok_and(|found| found.is_some()));
            if !there {
                bail!(
                    "{name}: {} is missing: {} lists it, but it is in none of {}; \
                     unpack {name} of the release's base.txz again",
                    Path::new(name).join(inner).display(),
                    list,
                    in_trees.iter().map(|t| t.display().to_string()).collect::<Vec<_>>().join(", ")
                );
            }
        }
        return Ok(());
    }
    Ok(())
}

/// A directory as it is found.
pub(super) struct Found {
    /// Where the copy in the skeleton is at the moment.
    copy: Option<PathBuf>,
    /// Whether an earlier run left what it replaced, and a merge that it did not
    /// finish.
    has_replaced: bool,
    has_merged: bool,
    /// The original: in its place, or renamed aside.
    original: Option<PathBuf>,
    has_aside: bool,
    /// Whether the base has the link already.
    is_linked: bool,
    /// How original and copy compare, where both exist.
    verdict: Option<Verdict>,
    /// The directory that this one is in, if the skeleton lacks it: `usr` for
    /// `usr/local`.
    missing_parent: Option<[PathBuf; 2]>,
}

/// Looks at a directory. Whatever stands against moving it is found here.
pub(super) fn look(trees: &Trees, part: &Part, keep: bool) -> Result<Found> {
    let (has_copy, has_replaced) = (file::look(&part.to)?, file::look(&part.replaced)?.is_some());
    if let Some(there) = has_copy.as_ref().filter(|there| !there.is_dir()) {
        bail!("{}: {}, not a directory", part.to.display(), file::kind(there));
    }
    let copy = match (has_copy.is_some(), has_replaced) {
        (true, _) => Some(part.to.clone()),
        // Killed between the two renames of a replacement.
        (false, true) => Some(part.replaced.clone()),
        (false, false) => None,
    };
    let has_merged = file::look(&part.merged)?.is_some();
    let has_aside = file::look(&part.aside)?.is_some();
    let mut found = Found {
        copy,
        has_replaced,
        has_merged,
        original: None,
        has_aside,
        is_linked: false,
        verdict: None,
        missing_parent: None,
    };
    (found.original, found.is_linked) = look_at_original(trees, part, &found)?;
    if !found.is_linked {
        if let Some(parent) = Path::new(part.name).parent().filter(|p| !p.as_os_str().is_empty()) {
            let missing = [trees.base.join(parent), trees.skeleton.join(parent)];
            found.missing_parent = file::look(&missing[1])?.is_none().then_some(missing);
        }
        found.verdict = compare(trees, part, &found)?;
    }
    let is_kept = keep && (found.has_aside || found.original.is_some());
    if is_kept && file::look(&part.kept())?.is_some() {
        bail!("-k: {} already exists", part.kept().display());
    }
    Ok(found)
}

/// Where the original is, and whether the link is in its place.
fn look_at_original(trees: &Trees, part: &Part, found: &Found) -> Result<(Option<PathBuf>, bool)> {
    match file::look(&part.at_base)? {
        Some(there) if there.is_symlink() => {
            let text = fs_err::read_link(&part.at_base)?;
            if found.copy.is_none() && text == Path::new(&part.text()) {
                bail!(
                    "{} is a symbolic link to {}, but {} does not exist",
                    part.at_base.display(),
                    text.display(),
                    part.to.display()
                );
            }
            if found.copy.is_none() || !leads_right(trees, part)? {
                bail!(
                    "{} is a symbolic link to {}, not to {} of the skeleton",
                    part.at_base.display(),
                    text.display(),
                    part.name
                );
            }
            Ok((None, true))
        }
        Some(there) if !there.is_dir() => {
            bail!("{}: {}, not a directory", part.at_base.display(), file::kind(&there))
        }
        Some(_) if found.has_aside => bail!(
            "both {} and {} exist; remove the one that is not needed",
            part.at_base.display(),
            part.aside.display()
        ),
        Some(_) => Ok((Some(part.at_base.clone()), false)),
        None => Ok((found.has_aside.then(|| part.aside.clone()), false)),
    }
}

/// Compares original and copy. Fails if something is in neither of them.
fn compare(trees: &Trees, part: &Part, found: &Found) -> Result<Option<Verdict>> {
    let name = part.name;
    let (source, copy) = match (&found.original, &found.copy) {
        (Some(source), Some(copy)) => (source, copy),
        (None, Some(copy)) => return check_complete(trees, name, &[copy]).map(|()| None),
        (None, None) if mode_of_missing(name).is_none() => {
            bail!("{name} is neither in {} nor in {}", trees.base.display(), trees.skeleton.display())
        }
        (_, None) => return Ok(None),
    };
    let verdict = interrupted::examine(source, copy)?;
    match &verdict {
        Verdict::CopyWhole => check_complete(trees, name, &[copy])?,
        Verdict::Split => check_complete(trees, name, &[source, copy])?,
        Verdict::Equal | Verdict::SourceWhole => {}
        Verdict::Differ(differences) => {
            for difference in differences.iter().take(SHOWN) {
                console::note(PROGRAM, &format!("{name}/{difference}"));
            }
            if differences.len() > SHOWN {
                console::note(PROGRAM, &format!("... and {} more", differences.len() - SHOWN));
            }
            bail!(
                "{} and {} differ; keep the right version in one of them, move the other away, and run the command again",
                source.display(),
                copy.display()
            );
        }
    }
    Ok(Some(verdict))
}

/// What is left to do for one directory.
pub(super) struct Steps {
    /// What the skeleton gets.
    pub(super) copies: Plan,
    /// What makes the link of the base.
    pub(super) links: Plan,
    /// What is removed when the template is complete.
    pub(super) clear: Plan,
    /// What an administrator should know.
    pub(super) notes: Vec<String>,
}

/// The steps for a directory, by what was found:
///
/// 1. What earlier runs left is put right: the replaced copy gets its name back, an
///    unfinished merge is removed.
/// 2. The copy is made, completed or replaced, so that it is whole before anything
///    of the base changes.
/// 3. The original is renamed aside and the link takes its place: the moment of the
///    move, as short as it can be.
/// 4. The original is removed, or kept as NAME.orig, when all directories are moved.
pub(super) fn steps(part: &Part, found: &Found, keep: bool) -> Steps {
    let mut steps =
        Steps { copies: Plan::default(), links: Plan::default(), clear: Plan::default(), notes: Vec::new() };
    match (&found.copy, found.has_replaced) {
        (Some(copy), true) if *copy == part.replaced => {
            steps.copies.push(RenameFile { from: part.replaced.clone(), to: part.to.clone() });
        }
        (Some(_), true) => steps.clear.push(RemoveTree { path: part.replaced.clone() }),
        _ => {}
    }
    if found.has_merged {
        steps.copies.push(RemoveTree { path: part.merged.clone() });
    }
    let original_goes = found.has_aside || !found.is_linked && found.original.is_some();
    if !found.is_linked {
        if let Some([from, to]) = found.missing_parent.clone() {
            steps.copies.push(CreateDirectoryLike { from, to });
        }
        copy_steps(part, found, &mut steps);
        if found.original.as_ref() == Some(&part.at_base) {
            steps.links.push(SetOriginalAside {
                from: part.at_base.clone(),
                to: part.aside.clone(),
                copy: part.to.clone(),
            });
        }
        steps.links.push(LinkToSkeleton { text: part.text(), path: part.at_base.clone() });
    }
    if original_goes {
        match keep {
            false => steps.clear.push(RemoveTree { path: part.aside.clone() }),
            true => steps.clear.push(RenameFile { from: part.aside.clone(), to: part.kept() }),
        }
    }
    steps
}

fn copy_steps(part: &Part, found: &Found, steps: &mut Steps) {
    let mut moves = Plan::default();
    match (&found.original, &found.verdict) {
        (Some(source), None) => copy_whole(source, part, &mut moves),
        (None, None) if found.copy.is_none() => {
            if let Some(mode) = mode_of_missing(part.name) {
                moves.push(CreateMissingDirectory { path: part.to.clone(), mode });
            }
        }
        (Some(source), Some(Verdict::SourceWhole)) => {
            steps.notes.push(format!(
                "{}: an unfinished copy; {} is copied again",
                part.to.display(),
                source.display()
            ));
            moves.push(RenameFile { from: part.to.clone(), to: part.replaced.clone() });
            steps.clear.push(RemoveTree { path: part.replaced.clone() });
            copy_whole(source, part, &mut moves);
        }
        (Some(source), Some(Verdict::Split)) => {
            steps.notes.push(format!(
                "{} is split between {} and {}; nothing is lost, both parts are merged",
                part.name,
                source.display(),
                part.to.display()
            ));
            moves.push(CopyTree { from: part.to.clone(), to: part.merged.clone() });
            moves.push(MergeCopies { from: source.clone(), into: part.merged.clone() });
            moves.push(RenameFile { from: part.to.clone(), to: part.replaced.clone() });
            moves.push(RenameFile { from: part.merged.clone(), to: part.to.clone() });
            steps.clear.push(RemoveTree { path: part.replaced.clone() });
        }
        _ => {}
    }
    if !moves.is_empty() {
        steps.copies.push(undone_without_links(moves, vec![part.at_base.clone()]));
    }
}

fn copy_whole(source: &Path, part: &Part, copies: &mut Plan) {
    copies.push(CopyTree { from: source.to_owned(), to: part.to.clone() });
    copies.push(VerifyCopy { source: source.to_owned(), copy: part.to.clone() });
}
