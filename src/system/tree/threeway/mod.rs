//! Three-way comparison of trees: what a jail and a release each made of the
//! same ancestor, entry by entry.
//!
//! All three are only read, each relative to open directories and through no
//! link; the jail's is written by the jail's root.

mod change;

use crate::formats::diff::{self, MergedText, Side};
use crate::system::tree::attributes::Attributes;
use crate::system::tree::compare::{Comparison, same_attributes, same_contents, same_target};
use crate::system::tree::flags;
use crate::system::tree::{
    Aspect, Device, Entry, descend, kind_of, look, names, open_directory, open_parent, path_of,
    permissions_of,
};
use anyhow::{Context, Result};
pub use change::{
    ChangeKind, ChangedBy, ConflictReason, FileContents, MergeMetadata, Step, TreeChange, TreeConflict,
};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// What comes of three versions of something; absence is a version too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Both sides have the same.
    Unchanged,
    /// The jail left it as it was: as the release has it.
    Theirs,
    /// The release left it as it was: as the jail has it.
    Ours,
    /// Both changed it, each in its own way.
    Conflict,
}

/// The whole of three-way merging.
pub fn decide<T: PartialEq>(ancestor: T, theirs: T, ours: T) -> Decision {
    decide_by(ancestor == ours, ancestor == theirs, ours == theirs)
}

fn decide_by(kept_by_jail: bool, kept_by_release: bool, alike: bool) -> Decision {
    if alike {
        Decision::Unchanged
    } else if kept_by_jail {
        Decision::Theirs
    } else if kept_by_release {
        Decision::Ours
    } else {
        Decision::Conflict
    }
}

/// How an entry is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeRule {
    /// By [`decide`].
    Merge,
    /// It is the jail's own, with all below it, whatever the release has.
    Own,
    /// By [`decide`], and as the release has it where both changed it.
    Release,
    /// Not here: it is made from something else.
    Generated,
}

/// What is specific to some entries.
pub trait MergePolicy {
    /// How an entry, by its path below the top, is merged.
    fn rule(&self, path: &Path) -> MergeRule;
    /// Merges the contents of a file that both sides changed; `None` when that
    /// cannot be done.
    fn merge(&self, path: &Path, ancestor: &[u8], ours: &[u8], theirs: &[u8]) -> Option<MergedText>;
}

/// The tops of the three trees.
#[derive(Clone, Copy)]
pub struct TreeRoots<'a> {
    /// What both sides started from.
    pub ancestor: &'a Path,
    /// What the release has.
    pub theirs: &'a Path,
    /// What the jail has.
    pub ours: &'a Path,
}

/// Compares three trees; gives every entry that is not the same in all of them,
/// in the order of names, directories before what is in them.
pub fn compare(tops: TreeRoots, policy: &dyn MergePolicy) -> Result<Vec<TreeChange>> {
    let opened = [tops.ancestor, tops.theirs, tops.ours].map(Entry::top);
    let [a, t, o] = opened;
    let (a, t, o) = (a.context("ancestor")?, t.context("theirs")?, o.context("ours")?);
    let devices = [&a, &t, &o].map(|top| Device::of(&top.stat));
    let mut walk = Walk { policy, devices, path: PathBuf::new(), depth: 0, found: Vec::new() };
    let three = [Some(a), Some(t), Some(o)];
    walk.facts(&three)
        .and_then(|()| walk.directory(three.each_ref().map(Option::as_ref)))
        .with_context(|| format!("compare {}", tops.ours.join(&walk.path).display()))?;
    Ok(walk.found)
}

/// What is in the regular file at `path` of the tree `top`; `None` when there is
/// no such file, or when it has more than `limit` bytes.
pub fn contents(top: &Path, path: &Path, limit: usize) -> Result<Option<Vec<u8>>> {
    let open = || -> io::Result<Option<Vec<u8>>> {
        let top = open_directory(top).map_err(|e| io::Error::other(format!("{e:#}")))?;
        let (directory, name) = open_parent(top.as_fd(), path)?;
        let stat = rustix::fs::statat(&directory, &*name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        if kind_of(&stat) != FileType::RegularFile {
            return Ok(None);
        }
        whole(&Entry::open(directory.as_fd(), &name, FileType::RegularFile)?, limit)
    };
    match open() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.with_context(|| format!("read {}", top.join(path).display())),
    }
}

/// Whether there is something at `path` of the tree `top`.
pub fn exists(top: &Path, path: &Path) -> Result<bool> {
    let look = || -> io::Result<()> {
        let top = open_directory(top).map_err(|e| io::Error::other(format!("{e:#}")))?;
        let (directory, name) = open_parent(top.as_fd(), path)?;
        rustix::fs::statat(&directory, &*name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    };
    match look() {
        Ok(()) => Ok(true),
        // A link on the way does not lead there.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e)
            if [Errno::NOTDIR, Errno::LOOP, Errno::MLINK]
                .map(|e| Some(e.raw_os_error()))
                .contains(&e.raw_os_error()) =>
        {
            Ok(false)
        }
        Err(e) => Err(e).with_context(|| format!("look at {}", top.join(path).display())),
    }
}

fn whole(file: &Entry, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut contents = Vec::new();
    let file = std::fs::File::from(file.fd.try_clone()?);
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    file.take(limit as u64 + 1).read_to_end(&mut contents)?;
    Ok((contents.len() <= limit).then_some(contents))
}

/// The three versions of something: ancestor, theirs, ours.
type Three<T> = [T; 3];

struct Walk<'a> {
    policy: &'a dyn MergePolicy,
    devices: Three<Device>,
    /// What is being compared; after an error, what could not be.
    path: PathBuf,
    depth: usize,
    found: Vec<TreeChange>,
}

fn is_directory(stat: &Option<Stat>) -> bool {
    stat.as_ref().is_some_and(|stat| kind_of(stat) == FileType::Directory)
}

impl Walk<'_> {
    fn directory(&mut self, three: Three<Option<&Entry>>) -> io::Result<()> {
        descend(&mut self.depth)?;
        let mut all: BTreeSet<CString> = BTreeSet::new();
        for directory in three.iter().flatten() {
            all.extend(names(&directory.fd)?);
        }
        for name in &all {
            // ZFS shows its snapshots there, if asked to.
            if self.depth == 1 && name.as_c_str() == c".zfs" {
                continue;
            }
            self.path.push(path_of(name));
            // On an error the path stays, for the message.
            self.entry(three.map(|d| d.map(|d| d.fd.as_fd())), name)?;
            self.path.pop();
        }
        self.depth -= 1;
        Ok(())
    }

    fn report(&mut self, by: ChangedBy, event: ChangeKind, step: Option<Step>) {
        self.found.push(TreeChange { path: self.path.clone(), by, event, step, conflict: None });
    }

    /// Notes a conflict, with what each side would have done: ours, theirs.
    fn conflict(&mut self, why: ConflictReason, text: Option<diff::TextConflict>, steps: [Option<Step>; 2]) {
        if self.policy.rule(&self.path) == MergeRule::Release {
            let [_, step] = steps;
            return self.report(ChangedBy::Both, ChangeKind::Changed, step);
        }
        let event = if why == ConflictReason::AddedByBoth { ChangeKind::Added } else { ChangeKind::Changed };
        let conflict = Some(TreeConflict { why, text, steps });
        self.found.push(TreeChange {
            path: self.path.clone(),
            by: ChangedBy::Both,
            event,
            step: None,
            conflict,
        });
    }

    fn entry(&mut self, directories: Three<Option<BorrowedFd>>, name: &CStr) -> io::Result<()> {
        let rule = self.policy.rule(&self.path);
        if rule == MergeRule::Generated {
            return Ok(());
        }
        let mut stats: Three<Option<Stat>> = [None, None, None];
        for (at, directory) in directories.iter().enumerate() {
            stats[at] = match directory.map(|directory| look(directory, name, self.devices[at])) {
                Some(Err(e)) if e.kind() == io::ErrorKind::NotFound => None,
                Some(seen) => seen?,
                None => None,
            };
        }
        let open = |at: usize| -> io::Result<Option<Entry>> {
            match (directories[at], &stats[at]) {
                (Some(directory), Some(stat)) => Entry::open(directory, name, kind_of(stat)).map(Some),
                _ => Ok(None),
            }
        };
        if rule == MergeRule::Own {
            return self.own([open(1)?, open(2)?]);
        }
        let [a, t, o] = [0, 1, 2].map(|at| is_directory(&stats[at]));
        if t && o {
            let three = [if a { open(0)? } else { None }, open(1)?, open(2)?];
            self.facts(&three)?;
            return self.directory(three.each_ref().map(Option::as_ref));
        }
        if a && o && stats[1].is_none() {
            return self.removed_by_release([open(0)?, None, open(2)?]);
        }
        let three = [open(0)?, open(1)?, open(2)?];
        let kinds = stats.each_ref().map(|stat| stat.as_ref().map(kind_of));
        if kinds[0].is_some() && kinds[0] == kinds[1] && kinds[0] == kinds[2] {
            return self.facts(&three);
        }
        self.replaced(&three)
    }

    /// What is the jail's own is as the jail has it.
    fn own(&mut self, [theirs, ours]: [Option<Entry>; 2]) -> io::Result<()> {
        if !same(&theirs, &ours)? {
            match (theirs, ours) {
                (_, Some(_)) => self.report(ChangedBy::Jail, ChangeKind::Changed, Some(Step::CopyFromJail)),
                _ => self.report(ChangedBy::Jail, ChangeKind::Removed, Some(Step::Remove)),
            }
        }
        Ok(())
    }

    /// A directory that the release has no more stays for what the jail has put
    /// there.
    fn removed_by_release(&mut self, three: Three<Option<Entry>>) -> io::Result<()> {
        let before = self.found.len();
        self.directory(three.each_ref().map(Option::as_ref))?;
        let stays = self.found[before..].iter().any(|f| f.step.is_some() || f.conflict.is_some());
        let found = TreeChange {
            path: self.path.clone(),
            by: if stays { ChangedBy::Jail } else { ChangedBy::Release },
            event: if stays { ChangeKind::Changed } else { ChangeKind::Removed },
            step: stays.then_some(Step::MakeDirectory),
            conflict: None,
        };
        self.found.insert(before, found);
        Ok(())
    }

    /// An entry that does not exist, or differs in kind, in one of three trees.
    fn replaced(&mut self, three: &Three<Option<Entry>>) -> io::Result<()> {
        let [ancestor, theirs, ours] = three;
        let alike = same(ours, theirs)?;
        let kept = [same(ancestor, ours)?, !alike && same(ancestor, theirs)?];
        let event = |now: &Option<Entry>| match (ancestor, now) {
            (None, Some(_)) => ChangeKind::Added,
            (_, Some(_)) => ChangeKind::Changed,
            _ => ChangeKind::Removed,
        };
        let of_jail = Some(if ours.is_some() { Step::CopyFromJail } else { Step::Remove });
        match decide_by(kept[0], kept[1], alike) {
            Decision::Unchanged => {}
            Decision::Theirs => self.report(ChangedBy::Release, event(theirs), None),
            Decision::Ours => self.report(ChangedBy::Jail, event(ours), of_jail),
            Decision::Conflict => {
                let why = match (ancestor, theirs, ours) {
                    (None, ..) => ConflictReason::AddedByBoth,
                    (_, None, _) => ConflictReason::RemovedByRelease,
                    (_, _, None) => ConflictReason::RemovedByJail,
                    _ => ConflictReason::Kind,
                };
                self.conflict(why, None, [of_jail, None]);
            }
        }
        Ok(())
    }

    /// An entry of one kind in both trees, and in the ancestor if it was there:
    /// its facts are merged one by one, its contents among them.
    fn facts(&mut self, three: &Three<Option<Entry>>) -> io::Result<()> {
        let (Some(theirs), Some(ours)) = (&three[1], &three[2]) else { return Ok(()) };
        let ancestor = three[0].as_ref();
        let facts = Facts::decide(ancestor, theirs, ours)?;
        if facts.0.iter().all(|(_, decision)| *decision == Decision::Unchanged) {
            return Ok(());
        }
        let all = |side| facts.0.iter().all(|(_, d)| *d == Decision::Unchanged || *d == side);
        let directory = kind_of(&ours.stat) == FileType::Directory;
        if all(Decision::Theirs) {
            self.report(ChangedBy::Release, ChangeKind::Changed, None);
        } else if all(Decision::Ours) && !directory {
            self.report(ChangedBy::Jail, ChangeKind::Changed, Some(Step::CopyFromJail));
        } else {
            self.composed(&facts, [ancestor, Some(theirs), Some(ours)])?;
        }
        Ok(())
    }

    fn composed(&mut self, facts: &Facts, three: Three<Option<&Entry>>) -> io::Result<()> {
        let compose = |prefer: Side| {
            let of = |what| match facts.of(what) {
                Decision::Unchanged | Decision::Theirs => Side::Theirs,
                Decision::Ours => Side::Ours,
                Decision::Conflict => prefer,
            };
            MergeMetadata {
                contents: FileContents::Of(of(Aspect::Contents)),
                mode: of(Aspect::Mode),
                owner: of(Aspect::Owner),
                flags: of(Aspect::Flags),
                acl: of(Aspect::Acl),
                attributes: of(Aspect::ExtendedAttributes),
            }
        };
        let (mut ours, mut theirs) = (compose(Side::Ours), compose(Side::Theirs));
        let (mut why, mut text) = (None, None);
        if facts.of(Aspect::Contents) == Decision::Conflict {
            let merged = match three {
                [Some(a), Some(t), Some(o)] => self.merge(a, t, o)?,
                _ => None,
            };
            match merged {
                Some(MergedText::Clean(merged)) => {
                    ours.contents = FileContents::Merged(merged.clone());
                    theirs.contents = FileContents::Merged(merged);
                }
                Some(MergedText::Conflict(conflict)) => {
                    ours.contents = FileContents::Merged(conflict.decided(Side::Ours));
                    theirs.contents = FileContents::Merged(conflict.decided(Side::Theirs));
                    why = Some(ConflictReason::Lines(conflict.places()));
                    text = Some(conflict);
                }
                None => why = Some(ConflictReason::Contents),
            }
        }
        let other = facts.0.iter().find(|(w, d)| *w != Aspect::Contents && *d == Decision::Conflict);
        let why = why.or_else(|| {
            other.map(|(what, _)| {
                if three[0].is_none() { ConflictReason::AddedByBoth } else { ConflictReason::Fact(*what) }
            })
        });
        match why {
            Some(why) => {
                self.conflict(why, text, [ours, theirs].map(|compose| Some(Step::MergeMetadata(compose))))
            }
            None => {
                let only_ours =
                    facts.0.iter().all(|(_, d)| matches!(d, Decision::Unchanged | Decision::Ours));
                let by = if only_ours { ChangedBy::Jail } else { ChangedBy::Both };
                self.report(by, ChangeKind::Changed, Some(Step::MergeMetadata(ours)));
            }
        }
        Ok(())
    }

    fn merge(&self, a: &Entry, t: &Entry, o: &Entry) -> io::Result<Option<MergedText>> {
        if kind_of(&o.stat) != FileType::RegularFile {
            return Ok(None);
        }
        let texts = [a, o, t].map(|file| whole(file, diff::LARGEST));
        let [Some(a), Some(o), Some(t)] = texts.map(io::Result::transpose) else { return Ok(None) };
        Ok(self.policy.merge(&self.path, &a?, &o?, &t?))
    }
}

/// Whether two entries are the same, with all below them, but for times.
fn same(one: &Option<Entry>, other: &Option<Entry>) -> io::Result<bool> {
    let (one, other) = match (one, other) {
        (None, None) => return Ok(true),
        (Some(one), Some(other)) if kind_of(&one.stat) == kind_of(&other.stat) => (one, other),
        _ => return Ok(false),
    };
    let mut same = true;
    let mut visit = |found: crate::system::tree::Difference| {
        same &= matches!(found.what, Aspect::ModificationTime | Aspect::HardLinks);
        if same { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    Comparison::new(one, other, &mut visit).pair(one, other)?;
    Ok(same)
}

/// What became of each fact of an entry.
struct Facts(Vec<(Aspect, Decision)>);

impl Facts {
    fn of(&self, what: Aspect) -> Decision {
        self.0.iter().find(|(w, _)| *w == what).map_or(Decision::Unchanged, |(_, decision)| *decision)
    }

    fn decide(ancestor: Option<&Entry>, theirs: &Entry, ours: &Entry) -> io::Result<Facts> {
        // Without an ancestor, neither side kept anything.
        let by = |same: &dyn Fn(&Entry, &Entry) -> io::Result<bool>| -> io::Result<Decision> {
            if same(ours, theirs)? {
                return Ok(Decision::Unchanged);
            }
            let Some(ancestor) = ancestor else { return Ok(Decision::Conflict) };
            Ok(decide_by(same(ancestor, ours)?, same(ancestor, theirs)?, false))
        };
        let kind = kind_of(&ours.stat);
        let link = kind == FileType::Symlink;
        let mut facts = vec![
            (
                Aspect::Contents,
                by(&|x, y| match kind {
                    FileType::RegularFile => same_contents(x, y),
                    FileType::Symlink => same_target(x, y),
                    FileType::CharacterDevice | FileType::BlockDevice => Ok(x.stat.st_rdev == y.stat.st_rdev),
                    _ => Ok(true),
                })?,
            ),
            (
                Aspect::Owner,
                by(&|x, y| Ok((x.stat.st_uid, x.stat.st_gid) == (y.stat.st_uid, y.stat.st_gid)))?,
            ),
            (Aspect::Flags, by(&|x, y| Ok(flags::flags(&x.stat) == flags::flags(&y.stat)))?),
        ];
        // A link's mode means nothing, and differs with the umask it was made under.
        if !link {
            facts.push((Aspect::Mode, by(&|x, y| Ok(permissions_of(&x.stat) == permissions_of(&y.stat)))?));
            facts.push((
                Aspect::Acl,
                by(&|x, y| Attributes::of(x.object())?.acl.same(&Attributes::of(y.object())?.acl))?,
            ));
        }
        facts.push((
            Aspect::ExtendedAttributes,
            by(&|x, y| {
                let (one, other) = (Attributes::of(x.object())?, Attributes::of(y.object())?);
                same_attributes((x, one.names), (y, other.names))
            })?,
        ));
        Ok(Facts(facts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tree::{apply, copy, difference};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// Every row of the table: two versions, or absence, at each place.
    #[test]
    fn the_decision_table() {
        use Decision::{Conflict, Ours, Theirs, Unchanged};
        let (no, x, y, z) = (None, Some('x'), Some('y'), Some('z'));
        for (ancestor, theirs, ours, decision) in [
            (no, no, no, Unchanged),
            (no, no, x, Ours),
            (no, x, no, Theirs),
            (no, x, x, Unchanged),
            (no, x, y, Conflict),
            (x, no, no, Unchanged),
            (x, no, x, Theirs),
            (x, no, y, Conflict),
            (x, x, no, Ours),
            (x, y, no, Conflict),
            (x, x, x, Unchanged),
            (x, x, y, Ours),
            (x, y, x, Theirs),
            (x, y, y, Unchanged),
            (x, y, z, Conflict),
        ] {
            assert_eq!(decide(ancestor, theirs, ours), decision, "{ancestor:?} {theirs:?} {ours:?}");
        }
    }

    struct Plain;

    impl MergePolicy for Plain {
        fn rule(&self, path: &Path) -> MergeRule {
            match path.to_str() {
                Some("own") => MergeRule::Own,
                Some("release") => MergeRule::Release,
                Some("made") => MergeRule::Generated,
                _ => MergeRule::Merge,
            }
        }

        fn merge(&self, _: &Path, ancestor: &[u8], ours: &[u8], theirs: &[u8]) -> Option<MergedText> {
            diff::is_text(ours).then(|| diff::merge(ancestor, ours, theirs))
        }
    }

    /// One version of an entry.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Version {
        File(&'static str, u32),
        Link(&'static str),
        Directory(u32, BTreeMap<&'static str, Version>),
        Fifo,
    }

    fn make(at: &Path, version: &Version) {
        let mode = |mode| fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
        match version {
            Version::File(text, bits) => {
                fs::write(at, text).unwrap();
                mode(*bits);
            }
            Version::Link(to) => symlink(to, at).unwrap(),
            Version::Fifo => rustix::fs::mkfifoat(rustix::fs::CWD, at, rustix::fs::Mode::RWXU).unwrap(),
            Version::Directory(bits, entries) => {
                fs::create_dir(at).unwrap();
                entries.iter().for_each(|(name, entry)| make(&at.join(name), entry));
                mode(*bits);
            }
        }
    }

    fn see(at: &Path) -> Option<Version> {
        let there = fs::symlink_metadata(at).ok()?;
        let bits = there.permissions().mode() & 0o7777;
        let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        Some(match there.file_type() {
            kind if kind.is_symlink() => {
                Version::Link(leak(fs::read_link(at).unwrap().display().to_string()))
            }
            kind if kind.is_file() => Version::File(leak(fs::read_to_string(at).unwrap()), bits),
            kind if kind.is_dir() => {
                let names = fs::read_dir(at).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
                let entries = names.map(|name| (leak(name.clone()), see(&at.join(name)).unwrap())).collect();
                Version::Directory(bits, entries)
            }
            _ => Version::Fifo,
        })
    }

    /// Three trees in a directory, and a fourth that is merged of them.
    fn trees(three: [&Version; 3]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, tree) in ["ancestor", "theirs", "ours"].into_iter().zip(three) {
            make(&dir.path().join(name), tree);
        }
        dir
    }

    fn tops(dir: &Path) -> [PathBuf; 3] {
        ["ancestor", "theirs", "ours"].map(|name| dir.join(name))
    }

    fn found(dir: &Path) -> Vec<TreeChange> {
        let [ancestor, theirs, ours] = &tops(dir);
        compare(TreeRoots { ancestor, theirs, ours }, &Plain).unwrap()
    }

    fn merged(dir: &Path, side: Side) -> Version {
        let mut found = found(dir);
        for one in &mut found {
            if let Some(conflict) = one.conflict.take() {
                one.step = conflict.step(side);
            }
        }
        let work = dir.join("work");
        copy(&dir.join("theirs"), &work).unwrap();
        apply(&found, &dir.join("ours"), &work, &mut |_| ()).unwrap();
        see(&work).unwrap()
    }

    /// What becomes of an entry, whose change it is, and with a conflict what
    /// each side makes of it.
    #[track_caller]
    fn becomes(
        three: [Option<Version>; 3],
        by: Option<ChangedBy>,
        why: Option<ConflictReason>,
        results: [Option<Version>; 2],
    ) {
        let top = |version: &Option<Version>| {
            Version::Directory(0o755, version.clone().into_iter().map(|v| ("x", v)).collect())
        };
        let [a, t, o] = &three;
        for (side, result) in [Side::Ours, Side::Theirs].into_iter().zip(&results) {
            let dir = trees([&top(a), &top(t), &top(o)]);
            let found = found(dir.path());
            let first = found.iter().find(|f| f.path == Path::new("x"));
            assert_eq!(first.map(|f| f.by), by, "{three:?}");
            assert_eq!(first.and_then(|f| f.conflict.as_ref()).map(|c| &c.why), why.as_ref(), "{three:?}");
            assert_eq!(merged(dir.path(), side), top(result), "{three:?} {side:?}");
        }
    }

    #[test]
    fn every_kind_of_change() {
        use Version::{Directory, Fifo, File, Link};
        let file = |text| Some(File(text, 0o644));
        let (a, b, c) = (file("a\n"), file("b\n"), file("c\n"));
        let directory =
            |entries: &[(&'static str, Version)]| Some(Directory(0o755, entries.iter().cloned().collect()));
        let (jail, release, both) = (Some(ChangedBy::Jail), Some(ChangedBy::Release), Some(ChangedBy::Both));
        let same = |v: &Option<Version>| [v.clone(), v.clone()];
        becomes([None, None, a.clone()], jail, None, same(&a));
        becomes([None, a.clone(), None], release, None, same(&a));
        becomes([None, a.clone(), a.clone()], None, None, same(&a));
        becomes(
            [None, a.clone(), b.clone()],
            both,
            Some(ConflictReason::AddedByBoth),
            [b.clone(), a.clone()],
        );
        becomes([a.clone(), None, None], None, None, same(&None));
        becomes([a.clone(), None, a.clone()], release, None, same(&None));
        becomes(
            [a.clone(), None, b.clone()],
            both,
            Some(ConflictReason::RemovedByRelease),
            [b.clone(), None],
        );
        becomes([a.clone(), a.clone(), None], jail, None, same(&None));
        becomes([a.clone(), b.clone(), None], both, Some(ConflictReason::RemovedByJail), [None, b.clone()]);
        becomes([a.clone(), a.clone(), b.clone()], jail, None, same(&b));
        becomes([a.clone(), b.clone(), a.clone()], release, None, same(&b));
        becomes([a.clone(), b.clone(), b.clone()], None, None, same(&b));
        becomes(
            [a.clone(), b.clone(), c.clone()],
            both,
            Some(ConflictReason::Lines(1)),
            [c.clone(), b.clone()],
        );
        // Texts, both changed.
        let (x, y, z) = (file("1\n2\n3\n4\n5\n"), file("1\n2\n3\n4\nV\n"), file("I\n2\n3\n4\n5\n"));
        becomes([x, y, z], both, None, same(&file("I\n2\n3\n4\nV\n")));
        // A mode from one side, contents from the other.
        let exec = |text| Some(File(text, 0o755));
        becomes([a.clone(), b.clone(), exec("a\n")], both, None, same(&exec("b\n")));
        becomes([a.clone(), exec("a\n"), b.clone()], both, None, same(&exec("b\n")));
        let secret = Some(File("a\n", 0o600));
        let why = Some(ConflictReason::Fact(Aspect::Mode));
        becomes([a.clone(), exec("a\n"), secret.clone()], both, why, [secret.clone(), exec("a\n")]);
        // What is no text.
        let (m, n, o) = (file("a\0"), file("b\0"), file("c\0"));
        becomes([m, n.clone(), o.clone()], both, Some(ConflictReason::Contents), [o, n]);
        // Links, and other kinds.
        let link = |to| Some(Link(to));
        becomes([link("a"), link("b"), link("a")], release, None, same(&link("b")));
        becomes([link("a"), link("a"), link("/etc")], jail, None, same(&link("/etc")));
        becomes(
            [link("a"), link("b"), link("c")],
            both,
            Some(ConflictReason::Contents),
            [link("c"), link("b")],
        );
        becomes([a.clone(), a.clone(), Some(Fifo)], jail, None, same(&Some(Fifo)));
        becomes(
            [a.clone(), b.clone(), Some(Fifo)],
            both,
            Some(ConflictReason::Kind),
            [Some(Fifo), b.clone()],
        );
        becomes([a.clone(), link("b"), a.clone()], release, None, same(&link("b")));
        // Directories.
        let one = File("1\n", 0o644);
        let (empty, full) = (directory(&[]), directory(&[("f", one.clone())]));
        becomes([full.clone(), None, full.clone()], release, None, same(&None));
        becomes([full.clone(), full.clone(), None], jail, None, same(&None));
        let more = directory(&[("f", one.clone()), ("g", one.clone())]);
        becomes([full.clone(), None, more.clone()], jail, None, same(&directory(&[("g", one.clone())])));
        becomes(
            [full.clone(), more.clone(), None],
            both,
            Some(ConflictReason::RemovedByJail),
            [None, more.clone()],
        );
        becomes([None, None, full.clone()], jail, None, same(&full));
        becomes(
            [empty.clone(), link("b"), full.clone()],
            both,
            Some(ConflictReason::Kind),
            [full.clone(), link("b")],
        );
        becomes([full.clone(), full.clone(), link("/")], jail, None, same(&link("/")));
        let private = Some(Directory(0o700, [("f", one.clone())].into()));
        becomes([full.clone(), full.clone(), private.clone()], jail, None, same(&private));
        becomes([full.clone(), private.clone(), full.clone()], release, None, same(&private));
    }

    #[test]
    fn rules_of_their_own() {
        let top = |own: &'static str, release: &'static str, made: &'static str| {
            let file = |text| Version::File(text, 0o644);
            let entries = [("own", file(own)), ("release", file(release)), ("made", file(made))];
            Version::Directory(0o755, entries.into())
        };
        let dir = trees([&top("a", "a", "a"), &top("b", "b", "b"), &top("a", "c", "c")]);
        assert!(found(dir.path()).iter().all(|f| f.conflict.is_none()));
        assert_eq!(merged(dir.path(), Side::Ours), top("a", "b", "b"));
    }

    #[test]
    fn names_of_one_file_stay_such() {
        let (one, two) = (Version::File("1", 0o644), Version::Directory(0o755, BTreeMap::new()));
        let dir = trees([&two, &two, &Version::Directory(0o755, [("a", one)].into())]);
        let ours = dir.path().join("ours");
        fs::create_dir(ours.join("d")).unwrap();
        fs::hard_link(ours.join("a"), ours.join("d/b")).unwrap();
        merged(dir.path(), Side::Ours);
        assert_eq!(difference(&ours.join("d"), &dir.path().join("work/d")).unwrap(), None);
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(dir.path().join("work/a")).unwrap().nlink(), 2);
    }

    fn version(depth: u32) -> BoxedStrategy<Version> {
        let text = prop::sample::select(vec!["", "1\n2\n3\n4\n", "1\nb\n3\n4\n", "1\n2\n3\nd\n", "x\0"]);
        let mode = prop::sample::select(vec![0o644, 0o600, 0o4755]);
        let leaf = prop_oneof![
            6 => (text, mode).prop_map(|(text, mode)| Version::File(text, mode)),
            1 => prop::sample::select(vec!["a", "/", "../.."]).prop_map(Version::Link),
            1 => Just(Version::Fifo),
        ];
        if depth == 0 {
            return leaf.boxed();
        }
        prop_oneof![3 => leaf, 2 => directory(depth)].boxed()
    }

    fn directory(depth: u32) -> BoxedStrategy<Version> {
        let name = prop::sample::select(vec!["a", "b", "c", "own"]);
        let entries = prop::collection::btree_map(name, version(depth - 1), 0..4);
        (prop::sample::select(vec![0o755, 0o700]), entries)
            .prop_map(|(mode, entries)| Version::Directory(mode, entries))
            .boxed()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn laws(a in directory(3), b in directory(3), c in directory(3)) {
            let without_own = |mut version: Version| {
                if let Version::Directory(_, entries) = &mut version {
                    entries.remove("own");
                }
                version
            };
            // Who changes nothing gets what the other one has, but for what is his own.
            let dir = trees([&a, &b, &a]);
            prop_assert_eq!(without_own(merged(dir.path(), Side::Ours)), without_own(b.clone()));
            let dir = trees([&a, &a, &b]);
            prop_assert_eq!(merged(dir.path(), Side::Theirs), b.clone());
            let dir = trees([&a, &b, &b]);
            prop_assert_eq!(merged(dir.path(), Side::Theirs), b.clone());
            // Without a conflict it does not matter how conflicts are decided, and
            // the result has nothing that neither side has.
            let dir = trees([&a, &b, &c]);
            if found(dir.path()).iter().all(|f| f.conflict.is_none()) {
                let again = trees([&a, &b, &c]);
                prop_assert_eq!(merged(dir.path(), Side::Ours), merged(again.path(), Side::Theirs));
            } else {
                merged(dir.path(), Side::Ours);
            }
        }
    }
}
