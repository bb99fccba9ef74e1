//! Three-way comparison of trees: what a jail and a release each made of the
//! same ancestor, entry by entry.
//!
//! All three are only read, each relative to open directories and through no
//! link; the jail's is written by the jail's root.

use super::compare::{Comparison, same_attributes, same_contents, same_target};
use super::{
    Device, Entry, What, descend, kind_of, look, names, open_directory, open_parent, path_of, permissions_of,
};
use crate::kernel::attributes::Attributes;
use crate::kernel::flags;
use crate::text::{self, Merged, Side};
use anyhow::{Context, Result};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fmt;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// What comes of three versions of something; absence is a version too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Both sides have the same.
    Alike,
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
        Decision::Alike
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
pub enum Rule {
    /// By [`decide`].
    Merge,
    /// It is the jail's own, with all below it, whatever the release has.
    Own,
    /// By [`decide`], and as the release has it where both changed it.
    Release,
    /// Not here: it is made from something else.
    Generated,
}

/// What is peculiar to some entries.
pub trait Policy {
    /// How an entry, by its path below the top, is merged.
    fn rule(&self, path: &Path) -> Rule;
    /// Merges the contents of a file that both sides changed; `None` when that
    /// can't be done.
    fn merge(&self, path: &Path, ancestor: &[u8], ours: &[u8], theirs: &[u8]) -> Option<Merged>;
}

/// Who changed an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// Only the release.
    Release,
    /// Only the jail; or it is the jail's own.
    Jail,
    /// Both.
    Both,
}

/// What was done to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// It was not there before.
    Added,
    /// It is another one, or has changed.
    Changed,
    /// It is gone.
    Removed,
}

/// Where a part of an entry is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// From one side, with the modification time.
    Of(Side),
    /// Merged.
    Merged(Vec<u8>),
}

/// An entry that has something from each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compose {
    /// What is in it, or where a link points to.
    pub contents: Contents,
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
    Take,
    /// It goes, with all below it.
    Remove,
    /// A directory as the jail has it, with nothing in it yet.
    MakeDirectory,
    /// Something of each.
    Compose(Compose),
}

/// Why an entry can't be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Both changed the same lines, in so many places.
    Lines(usize),
    /// Both changed what can't be merged by lines.
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
    Fact(What),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Lines(1) => f.write_str("both changed the same lines, in one place"),
            Why::Lines(n) => write!(f, "both changed the same lines, in {n} places"),
            Why::Contents => f.write_str("both changed it, and it can't be merged by lines"),
            Why::Kind => f.write_str("both made something else of it"),
            Why::AddedByBoth => f.write_str("both added it, and they differ"),
            Why::RemovedByJail => f.write_str("removed by the jail, changed by the release"),
            Why::RemovedByRelease => f.write_str("removed by the release, changed by the jail"),
            Why::Fact(what) => write!(f, "both gave it {what}"),
        }
    }
}

/// An entry that somebody has to decide about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Why.
    pub why: Why,
    /// Its text with markers, if lines conflict.
    pub text: Option<text::Conflict>,
    /// What is done for each side.
    steps: [Option<Step>; 2],
}

impl Conflict {
    /// What is done when it is decided for one side.
    pub fn step(&self, side: Side) -> Option<Step> {
        self.steps[usize::from(side == Side::Theirs)].clone()
    }

    /// What is done when somebody has edited the text.
    pub fn edited(&self, contents: Vec<u8>) -> Option<Step> {
        let compose = self.steps.iter().flatten().find_map(|step| match step {
            Step::Compose(compose) => Some(compose.clone()),
            _ => None,
        });
        Some(Step::Compose(Compose { contents: Contents::Merged(contents), ..compose? }))
    }
}

/// An entry that is not the same in all three trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where, below the tops.
    pub path: PathBuf,
    /// Whose change the merged tree has.
    pub by: By,
    /// What happened to it.
    pub event: Event,
    /// What is to be done to the release's tree; nothing for its own changes.
    pub step: Option<Step>,
    /// What is to be decided first.
    pub conflict: Option<Conflict>,
}

/// The tops of the three trees.
#[derive(Clone, Copy)]
pub struct Tops<'a> {
    /// What both sides started from.
    pub ancestor: &'a Path,
    /// What the release has.
    pub theirs: &'a Path,
    /// What the jail has.
    pub ours: &'a Path,
}

/// Compares three trees; gives every entry that is not the same in all of them,
/// in the order of names, directories before what is in them.
pub fn compare(tops: Tops, policy: &dyn Policy) -> Result<Vec<Found>> {
    let opened = [tops.ancestor, tops.theirs, tops.ours].map(Entry::top);
    let [a, t, o] = opened;
    let (a, t, o) = (a.context("ancestor")?, t.context("theirs")?, o.context("ours")?);
    let devices = [&a, &t, &o].map(|top| Device::of(&top.stat));
    let mut walk = Walk { policy, devices, path: PathBuf::new(), depth: 0, found: Vec::new() };
    walk.directory([Some(&a), Some(&t), Some(&o)])
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
        // A link on the way is none that leads there.
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
    policy: &'a dyn Policy,
    devices: Three<Device>,
    /// What is being compared; after an error, what couldn't be.
    path: PathBuf,
    depth: usize,
    found: Vec<Found>,
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

    fn tell(&mut self, by: By, event: Event, step: Option<Step>) {
        self.found.push(Found { path: self.path.clone(), by, event, step, conflict: None });
    }

    /// Notes a conflict, with what each side would have done: ours, theirs.
    fn conflict(&mut self, why: Why, text: Option<text::Conflict>, steps: [Option<Step>; 2]) {
        if self.policy.rule(&self.path) == Rule::Release {
            let [_, step] = steps;
            return self.tell(By::Both, Event::Changed, step);
        }
        let conflict = Some(Conflict { why, text, steps });
        let path = self.path.clone();
        self.found.push(Found { path, by: By::Both, event: Event::Changed, step: None, conflict });
    }

    fn entry(&mut self, directories: Three<Option<BorrowedFd>>, name: &CStr) -> io::Result<()> {
        let rule = self.policy.rule(&self.path);
        if rule == Rule::Generated {
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
        if rule == Rule::Own {
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
        if !self.same(&theirs, &ours)? {
            match (theirs, ours) {
                (_, Some(_)) => self.tell(By::Jail, Event::Changed, Some(Step::Take)),
                _ => self.tell(By::Jail, Event::Removed, Some(Step::Remove)),
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
        let found = Found {
            path: self.path.clone(),
            by: if stays { By::Jail } else { By::Release },
            event: if stays { Event::Changed } else { Event::Removed },
            step: stays.then_some(Step::MakeDirectory),
            conflict: None,
        };
        self.found.insert(before, found);
        Ok(())
    }

    /// An entry that is not there, or not of the same kind, in all three trees.
    fn replaced(&mut self, three: &Three<Option<Entry>>) -> io::Result<()> {
        let [ancestor, theirs, ours] = three;
        let alike = self.same(ours, theirs)?;
        let kept = [self.same(ancestor, ours)?, !alike && self.same(ancestor, theirs)?];
        let event = |now: &Option<Entry>| match (ancestor, now) {
            (None, Some(_)) => Event::Added,
            (_, Some(_)) => Event::Changed,
            _ => Event::Removed,
        };
        let of_jail = Some(if ours.is_some() { Step::Take } else { Step::Remove });
        match decide_by(kept[0], kept[1], alike) {
            Decision::Alike => {}
            Decision::Theirs => self.tell(By::Release, event(theirs), None),
            Decision::Ours => self.tell(By::Jail, event(ours), of_jail),
            Decision::Conflict => {
                let why = match (ancestor, theirs, ours) {
                    (None, ..) => Why::AddedByBoth,
                    (_, None, _) => Why::RemovedByRelease,
                    (_, _, None) => Why::RemovedByJail,
                    _ => Why::Kind,
                };
                self.conflict(why, None, [of_jail, None]);
            }
        }
        Ok(())
    }

    /// Whether two entries are the same, with all below them, but for times.
    fn same(&self, one: &Option<Entry>, other: &Option<Entry>) -> io::Result<bool> {
        let (one, other) = match (one, other) {
            (None, None) => return Ok(true),
            (Some(one), Some(other)) if kind_of(&one.stat) == kind_of(&other.stat) => (one, other),
            _ => return Ok(false),
        };
        let mut same = true;
        let mut visit = |found: super::Difference| {
            same &= matches!(found.what, What::ModificationTime | What::HardLinks);
            if same { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        Comparison::new(one, other, &mut visit).pair(one, other)?;
        Ok(same)
    }

    /// An entry of one kind in both trees, and in the ancestor if it was there:
    /// its facts are merged one by one, its contents among them.
    fn facts(&mut self, three: &Three<Option<Entry>>) -> io::Result<()> {
        let (Some(theirs), Some(ours)) = (&three[1], &three[2]) else { return Ok(()) };
        let ancestor = three[0].as_ref();
        let facts = Facts::decide(ancestor, theirs, ours)?;
        if facts.0.iter().all(|(_, decision)| *decision == Decision::Alike) {
            return Ok(());
        }
        let all = |side| facts.0.iter().all(|(_, d)| *d == Decision::Alike || *d == side);
        let directory = kind_of(&ours.stat) == FileType::Directory;
        if all(Decision::Theirs) {
            self.tell(By::Release, Event::Changed, None);
        } else if all(Decision::Ours) && !directory {
            self.tell(By::Jail, Event::Changed, Some(Step::Take));
        } else {
            self.composed(&facts, [ancestor, Some(theirs), Some(ours)])?;
        }
        Ok(())
    }

    fn composed(&mut self, facts: &Facts, three: Three<Option<&Entry>>) -> io::Result<()> {
        let compose = |prefer: Side| {
            let of = |what| match facts.of(what) {
                Decision::Alike | Decision::Theirs => Side::Theirs,
                Decision::Ours => Side::Ours,
                Decision::Conflict => prefer,
            };
            Compose {
                contents: Contents::Of(of(What::Contents)),
                mode: of(What::Mode),
                owner: of(What::Owner),
                flags: of(What::Flags),
                acl: of(What::Acl),
                attributes: of(What::ExtendedAttributes),
            }
        };
        let (mut ours, mut theirs) = (compose(Side::Ours), compose(Side::Theirs));
        let (mut why, mut text) = (None, None);
        if facts.of(What::Contents) == Decision::Conflict {
            let merged = match three {
                [Some(a), Some(t), Some(o)] => self.merge(a, t, o)?,
                _ => None,
            };
            match merged {
                Some(Merged::Clean(merged)) => {
                    ours.contents = Contents::Merged(merged.clone());
                    theirs.contents = Contents::Merged(merged);
                }
                Some(Merged::Conflict(conflict)) => {
                    ours.contents = Contents::Merged(conflict.decided(Side::Ours));
                    theirs.contents = Contents::Merged(conflict.decided(Side::Theirs));
                    why = Some(Why::Lines(conflict.places()));
                    text = Some(conflict);
                }
                None => why = Some(Why::Contents),
            }
        }
        let other = facts.0.iter().find(|(w, d)| *w != What::Contents && *d == Decision::Conflict);
        let why = why.or_else(|| {
            other.map(|(what, _)| if three[0].is_none() { Why::AddedByBoth } else { Why::Fact(*what) })
        });
        match why {
            Some(why) => self.conflict(why, text, [ours, theirs].map(|compose| Some(Step::Compose(compose)))),
            None => {
                let only_ours = facts.0.iter().all(|(_, d)| matches!(d, Decision::Alike | Decision::Ours));
                let by = if only_ours { By::Jail } else { By::Both };
                self.tell(by, Event::Changed, Some(Step::Compose(ours)));
            }
        }
        Ok(())
    }

    fn merge(&self, a: &Entry, t: &Entry, o: &Entry) -> io::Result<Option<Merged>> {
        if kind_of(&o.stat) != FileType::RegularFile {
            return Ok(None);
        }
        let texts = [a, o, t].map(|file| whole(file, text::LARGEST));
        let [Some(a), Some(o), Some(t)] = texts.map(io::Result::transpose) else { return Ok(None) };
        Ok(self.policy.merge(&self.path, &a?, &o?, &t?))
    }
}

/// What became of each fact of an entry.
struct Facts(Vec<(What, Decision)>);

impl Facts {
    fn of(&self, what: What) -> Decision {
        self.0.iter().find(|(w, _)| *w == what).map_or(Decision::Alike, |(_, decision)| *decision)
    }

    fn decide(ancestor: Option<&Entry>, theirs: &Entry, ours: &Entry) -> io::Result<Facts> {
        // Without an ancestor nobody kept anything.
        let by = |same: &dyn Fn(&Entry, &Entry) -> io::Result<bool>| -> io::Result<Decision> {
            if same(ours, theirs)? {
                return Ok(Decision::Alike);
            }
            let Some(ancestor) = ancestor else { return Ok(Decision::Conflict) };
            Ok(decide_by(same(ancestor, ours)?, same(ancestor, theirs)?, false))
        };
        let kind = kind_of(&ours.stat);
        let link = kind == FileType::Symlink;
        let mut facts = vec![
            (
                What::Contents,
                by(&|x, y| match kind {
                    FileType::RegularFile => same_contents(x, y),
                    FileType::Symlink => same_target(x, y),
                    FileType::CharacterDevice | FileType::BlockDevice => Ok(x.stat.st_rdev == y.stat.st_rdev),
                    _ => Ok(true),
                })?,
            ),
            (What::Owner, by(&|x, y| Ok((x.stat.st_uid, x.stat.st_gid) == (y.stat.st_uid, y.stat.st_gid)))?),
            (What::Flags, by(&|x, y| Ok(flags::flags(&x.stat) == flags::flags(&y.stat)))?),
        ];
        // A link's mode means nothing, and differs with the umask it was made under.
        if !link {
            facts.push((What::Mode, by(&|x, y| Ok(permissions_of(&x.stat) == permissions_of(&y.stat)))?));
            facts.push((
                What::Acl,
                by(&|x, y| Attributes::of(x.object())?.acl.same(&Attributes::of(y.object())?.acl))?,
            ));
        }
        facts.push((
            What::ExtendedAttributes,
            by(&|x, y| {
                let (one, other) = (Attributes::of(x.object())?, Attributes::of(y.object())?);
                same_attributes((x, one.names), (y, other.names))
            })?,
        ));
        Ok(Facts(facts))
    }
}
