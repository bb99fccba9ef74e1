//! What skel-split does: the writable directories of a base become a skeleton,
//! and links take their places.
//!
//! In the order that loses nothing: all of them are copied and compared first;
//! then each original is renamed aside and a link made; then links that climb
//! out are repaired and the snapshot is taken; and only then the originals go.
//! So each directory is whole in at least one place at every moment, a failing
//! run can go back, and a killed one is gone on with.

use crate::cli::SkelSplit;
use crate::composed::{Composed, Found, Links};
use crate::file::{self, MakeDirectory, Rename};
use crate::fixcerts::RepairLinks;
use crate::host::Host;
use crate::layout::{BASE_SNAPSHOT, Layout, MOVED, SKELETON, Storage};
use crate::links::{self, Scope};
use crate::lock::{Lock, Use};
use crate::mtree;
use crate::plan::{Action, Plan, Undo};
use crate::release::Release;
use crate::report;
use crate::settings::Settings;
use crate::shell;
use crate::template;
use crate::torn::{self, Verdict};
use crate::tree::{self, CopyTree, RemoveTree};
use crate::userland;
use crate::zfs;
use crate::{effect, kernel};
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const PROGRAM: &str = "skel-split";

/// The directory for host trees that every skeleton has.
const DOCS: &str = "docs";

/// How many differences are told of a directory that can't be completed.
const TOLD: usize = 20;

/// Splits, or goes on with a split.
pub fn run(arguments: &SkelSplit, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let release = &arguments.release;
    let settings = Settings::load(host.root())?;
    let _lock = if common.dry_run { None } else { Some(Lock::template(host.root(), release, Use::Change)?) };
    let layout = Layout::find(host, &settings)?;
    let split = plan(host, &layout, arguments)?;
    for note in &split.notes {
        report::note(PROGRAM, note);
    }
    if common.dry_run {
        let mut all = split.plan;
        all.append(split.clear);
        return report::dry_run(PROGRAM, &all, common.json);
    }
    let nothing = split.plan.is_empty() && split.clear.is_empty();
    split.plan.carry_out(host)?;
    // From here the template is complete, and what goes is not needed.
    let failures = split.clear.carry_out_all(host);
    let text = match nothing {
        true => format!("{release}: split already"),
        false => format!("{release}: split; jail-clone -r {release} makes jails of it"),
    };
    report::tell(PROGRAM, &text);
    match failures.into_iter().next() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Err(first.context("the template is complete, but an original could not be removed")),
    }
}

struct Split {
    /// All or nothing.
    plan: Plan,
    /// What goes afterwards.
    clear: Plan,
    notes: Vec<String>,
}

/// Base and skeleton as real paths.
struct Trees {
    base: PathBuf,
    skeleton: PathBuf,
}

/// One of the directories that are moved.
struct Part {
    name: &'static str,
    /// Where it was, and where the link goes.
    at_base: PathBuf,
    /// The original, renamed aside.
    aside: PathBuf,
    /// Where it goes.
    to: PathBuf,
    /// What a copy or merge replaced.
    torn: PathBuf,
    /// Where a merge is prepared.
    merged: PathBuf,
}

impl Trees {
    fn part(&self, name: &'static str) -> Part {
        let (at_base, to) = (self.base.join(name), self.skeleton.join(name));
        let beside = |suffix: &str| {
            let last = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
            to.with_file_name(format!(".{last}.{suffix}"))
        };
        Part {
            name,
            aside: file::temp_beside(&at_base),
            torn: beside("torn"),
            merged: beside("merged"),
            at_base,
            to,
        }
    }
}

impl Part {
    /// The text of the link, as the recipe has it.
    fn text(&self) -> String {
        format!("{}{SKELETON}/{}", "../".repeat(self.name.matches('/').count()), self.name)
    }

    /// Where `-k` leaves the original.
    fn kept(&self) -> PathBuf {
        let mut name = self.at_base.as_os_str().to_owned();
        name.push(".orig");
        name.into()
    }
}

/// Directories that a base may lack, with their modes (freebsd-src:
/// etc/mtree/BSD.root.dist); etc and var it may not.
fn mode_of_missing(name: &str) -> Option<u32> {
    match name {
        "home" | "usr/local" => Some(0o755),
        "root" => Some(0o750),
        "tmp" => Some(0o1777),
        _ => None,
    }
}

fn plan(host: &Host, layout: &Layout, arguments: &SkelSplit) -> Result<Split> {
    let release = &arguments.release;
    let at = |path: PathBuf| host.root().at(&path);
    let trees = Trees { base: at(layout.base(release)), skeleton: at(layout.skeleton(release)) };
    check_base(host, layout, &trees.base, release)?;
    let mut split = Split { plan: Plan::default(), clear: Plan::default(), notes: Vec::new() };

    let snapshot = plan_skeleton(host, layout, release, &trees, &mut split.plan)?;
    let mut copies = Plan::default();
    let mut links = Plan::default();
    for name in MOVED {
        let part = trees.part(name);
        plan_part(&trees, &part, arguments.keep, &mut copies, &mut links, &mut split)?;
    }
    let skeleton_changes = !copies.is_empty();
    let taken = snapshot.as_ref().filter(|s| s.exists);
    // A template made by hand may lack it, and is none the worse.
    let docs = Some(Path::new(DOCS)).filter(|_| taken.is_none());
    for name in arguments.directories.iter().map(|d| d.as_path()).chain(docs) {
        let new = plan_directory(&trees.skeleton, name, &mut copies)?;
        if let (true, Some(taken)) = (new, taken) {
            split.notes.push(format!(
                "{}: jails that are cloned from {} lack it",
                name.display(),
                taken.name
            ));
        }
    }
    split.plan.append(copies);
    split.plan.append(links);
    let point = trees.base.join(SKELETON);
    match file::look(&point)? {
        None => split.plan.push(MakeDirectory { path: point }),
        Some(there) if there.is_dir() => {}
        Some(there) => bail!("{}: {}, not a mount point", point.display(), file::kind(&there)),
    }
    if !split.plan.is_empty() {
        check_unused(host, &trees)?;
    }

    let survey = if split.plan.is_empty() {
        let survey = links::survey(&trees.skeleton, &trees.base, Scope::All)?;
        for (path, what) in &survey.findings {
            split.notes.push(format!("{}: {what}", path.display()));
        }
        // What a killed run left matters as long as it is not in the snapshot.
        survey.repairs.len() + if taken.is_none() { survey.leftovers() } else { 0 }
    } else {
        1
    };
    match &snapshot {
        Some(taken) if taken.exists && skeleton_changes => bail!(
            "{} exists, but the skeleton is not complete; if no jail was cloned from it: zfs destroy {}",
            taken.name,
            taken.name
        ),
        Some(taken) if taken.exists && survey > 0 && split.plan.is_empty() => split.notes.push(format!(
            "links of {} miss the base; skel-fixcerts repairs them in the skeleton and in each jail, \
             and a snapshot taken afterwards has them right",
            taken.name
        )),
        _ if survey > 0 => {
            let (base, skeleton) = (trees.base.clone(), trees.skeleton.clone());
            split.plan.push(RepairLinks { program: PROGRAM, base, skeleton });
        }
        _ => {}
    }
    if let Some(taken) = snapshot
        && !taken.exists
    {
        split.plan.push(zfs::Snapshot::one(taken.name.clone()));
    }
    Ok(split)
}

fn check_base(host: &Host, layout: &Layout, base: &Path, release: &Release) -> Result<()> {
    match file::look(base)? {
        Some(there) if there.is_dir() => {}
        Some(there) => bail!("{}: {}, not a directory", base.display(), file::kind(&there)),
        None => {
            template::check_in_place(host, layout, release)?;
            bail!("no base of {release}: {} does not exist; skel-fetch {release} gets it", base.display())
        }
    }
    let version = match userland::of_base(base) {
        Ok(version) => version,
        Err(e) => {
            template::check_in_place(host, layout, release)?;
            return Err(e);
        }
    };
    if version.release != *release {
        bail!("{}: it holds {version}, not {release}", base.display());
    }
    if !file::look(&base.join("usr"))?.is_some_and(|m| m.is_dir()) {
        bail!("{}: not a directory", base.join("usr").display());
    }
    Ok(())
}

/// The snapshot that ends a split.
struct Taken {
    name: String,
    exists: bool,
}

/// Plans the skeleton itself.
fn plan_skeleton(
    host: &Host,
    layout: &Layout,
    release: &Release,
    trees: &Trees,
    plan: &mut Plan,
) -> Result<Option<Taken>> {
    let there = file::look(&trees.skeleton)?;
    if let Some(there) = &there
        && !there.is_dir()
    {
        bail!("{}: {}, not a directory", trees.skeleton.display(), file::kind(there));
    }
    match layout.storage() {
        Storage::Directory => {
            if there.is_none() {
                file::check_writable_parent(&trees.skeleton)?;
                plan.push(MakeDirectory { path: trees.skeleton.clone() });
            }
            Ok(None)
        }
        Storage::Zfs(top) => {
            let base = Layout::base_dataset(top, release)?;
            zfs::check_mounted(host, &base, &trees.base).context("base")?;
            let dataset = Layout::skeleton_dataset(top, release)?;
            let name = dataset.snapshot(BASE_SNAPSHOT);
            if zfs::exists(host.tools(), dataset.as_str())? {
                zfs::check_mounted(host, &dataset, &trees.skeleton).context("skeleton")?;
                let exists = zfs::exists(host.tools(), &name)?;
                return Ok(Some(Taken { name, exists }));
            }
            if there.is_some() && fs_err::read_dir(&trees.skeleton)?.next().is_some() {
                bail!("{}: there already, but no dataset {dataset}", trees.skeleton.display());
            }
            let mut made = Plan::default();
            made.push(zfs::Create { dataset, properties: Vec::new(), mountpoint: trees.skeleton.clone() });
            plan.push(Move { plan: made, links: MOVED.map(|name| trees.part(name).at_base).to_vec() });
            Ok(Some(Taken { name, exists: false }))
        }
    }
}

/// A plain directory of the skeleton; true if it has yet to be made.
fn plan_directory(skeleton: &Path, name: &Path, plan: &mut Plan) -> Result<bool> {
    let path = skeleton.join(name);
    match file::look(&path)? {
        None => plan.push(MakeDirectory { path }),
        Some(there) if there.is_dir() => return Ok(false),
        Some(there) => bail!("{}: {}, not a directory", path.display(), file::kind(&there)),
    }
    Ok(true)
}

/// Fails while somebody uses base or skeleton: what is to be moved must not be
/// in use, and nothing may be mounted in it.
fn check_unused(host: &Host, trees: &Trees) -> Result<()> {
    let kernel = match host.kernel() {
        Ok(kernel) => kernel,
        // Directory storage works where there are no jails.
        Err(_) if !cfg!(target_os = "freebsd") => return Ok(()),
        Err(e) => return Err(e),
    };
    for mount in kernel.mounts()? {
        for tree in [&trees.base, &trees.skeleton] {
            if mount.on != *tree && kernel::is_at_or_below(&mount.on, tree) {
                bail!("{} is mounted in the template; umount {}", mount.on.display(), mount.on.display());
            }
            if mount.kind == "nullfs" && kernel::is_at_or_below(&mount.from, tree) {
                bail!(
                    "{} is mounted on {}; stop the jail that runs on it, or umount {}",
                    mount.from.display(),
                    mount.on.display(),
                    mount.on.display()
                );
            }
        }
    }
    Ok(())
}

/// Plans what is left to do for one directory.
fn plan_part(
    trees: &Trees,
    part: &Part,
    keep: bool,
    copies: &mut Plan,
    links: &mut Plan,
    split: &mut Split,
) -> Result<()> {
    let name = part.name;
    let copy = match (file::look(&part.to)?, file::look(&part.torn)?) {
        (Some(there), _) if !there.is_dir() => {
            bail!("{}: {}, not a directory", part.to.display(), file::kind(&there))
        }
        (Some(_), torn) => {
            if torn.is_some() {
                split.clear.push(RemoveTree { path: part.torn.clone() });
            }
            Some(part.to.clone())
        }
        (None, Some(_)) => {
            // Killed between the two renames of a replacement.
            copies.push(Rename { from: part.torn.clone(), to: part.to.clone() });
            Some(part.torn.clone())
        }
        (None, None) => None,
    };
    if file::look(&part.merged)?.is_some() {
        copies.push(RemoveTree { path: part.merged.clone() });
    }
    let aside = file::look(&part.aside)?.is_some();
    let clear = |split: &mut Split| {
        if !keep {
            split.clear.push(RemoveTree { path: part.aside.clone() });
        } else if file::look(&part.kept())?.is_some() {
            bail!("-k: {} is there already", part.kept().display());
        } else {
            split.clear.push(Rename { from: part.aside.clone(), to: part.kept() });
        }
        Ok(())
    };
    let source = match file::look(&part.at_base)? {
        Some(there) if there.is_symlink() => {
            let text = fs_err::read_link(&part.at_base)?;
            if copy.is_none() && text == Path::new(&part.text()) {
                bail!(
                    "{} is a link to {}, but {} does not exist",
                    part.at_base.display(),
                    text.display(),
                    part.to.display()
                );
            }
            if copy.is_none() || !leads_right(trees, part)? {
                bail!(
                    "{} is a link to {}, not to {} of the skeleton",
                    part.at_base.display(),
                    text.display(),
                    name
                );
            }
            return if aside { clear(split) } else { Ok(()) };
        }
        Some(there) if !there.is_dir() => {
            bail!("{}: {}, not a directory", part.at_base.display(), file::kind(&there))
        }
        Some(_) if aside => bail!(
            "both {} and {} are there; remove the one that is not needed",
            part.at_base.display(),
            part.aside.display()
        ),
        Some(_) => Some(part.at_base.clone()),
        None if aside => Some(part.aside.clone()),
        None => None,
    };

    if let Some(parent) = Path::new(name).parent().filter(|p| !p.as_os_str().is_empty()) {
        let (from, to) = (trees.base.join(parent), trees.skeleton.join(parent));
        if file::look(&to)?.is_none() {
            copies.push(LikeDirectory { from, to });
        }
    }
    let mut moves = Plan::default();
    match (&source, &copy) {
        (Some(source), None) => copy_whole(source, part, &mut moves),
        (None, None) => match mode_of_missing(name) {
            Some(mode) => moves.push(EmptyDirectory { path: part.to.clone(), mode }),
            None => {
                bail!("{name} is neither in {} nor in {}", trees.base.display(), trees.skeleton.display())
            }
        },
        (None, Some(copy)) => check_complete(trees, name, &[copy])?,
        (Some(source), Some(copy)) => match torn::examine(source, copy)? {
            Verdict::Equal => {}
            Verdict::CopyWhole => check_complete(trees, name, &[copy])?,
            Verdict::SourceWhole => {
                split.notes.push(format!(
                    "{}: an unfinished copy; {} is copied again",
                    part.to.display(),
                    source.display()
                ));
                moves.push(Rename { from: part.to.clone(), to: part.torn.clone() });
                split.clear.push(RemoveTree { path: part.torn.clone() });
                copy_whole(source, part, &mut moves);
            }
            Verdict::Torn => {
                check_complete(trees, name, &[source, copy])?;
                split.notes.push(format!(
                    "{name} is torn: a part is in {}, a part in {}; nothing is lost, they are put together",
                    source.display(),
                    part.to.display()
                ));
                moves.push(CopyTree { from: part.to.clone(), to: part.merged.clone() });
                moves.push(Merge { from: source.clone(), into: part.merged.clone() });
                moves.push(Rename { from: part.to.clone(), to: part.torn.clone() });
                moves.push(Rename { from: part.merged.clone(), to: part.to.clone() });
                split.clear.push(RemoveTree { path: part.torn.clone() });
            }
            Verdict::Differ(differences) => {
                for difference in differences.iter().take(TOLD) {
                    report::note(PROGRAM, &format!("{name}/{difference}"));
                }
                if differences.len() > TOLD {
                    report::note(PROGRAM, &format!("... and {} more", differences.len() - TOLD));
                }
                bail!(
                    "{} and {} differ; keep what is right in one of them, move the other away, and run it again",
                    source.display(),
                    copy.display()
                );
            }
        },
    }
    if !moves.is_empty() {
        copies.push(Move { plan: moves, links: vec![part.at_base.clone()] });
    }
    if source.as_ref() == Some(&part.at_base) {
        links.push(SetAside { from: part.at_base.clone(), to: part.aside.clone(), copy: part.to.clone() });
    }
    if source.is_some() {
        clear(split)?;
    }
    links.push(Link { text: part.text(), path: part.at_base.clone() });
    Ok(())
}

fn copy_whole(source: &Path, part: &Part, copies: &mut Plan) {
    copies.push(CopyTree { from: source.to_owned(), to: part.to.clone() });
    copies.push(Verify { source: source.to_owned(), copy: part.to.clone() });
}

/// Whether the link in the base leads a jail to the directory in the skeleton.
fn leads_right(trees: &Trees, part: &Part) -> Result<bool> {
    let mut view = Composed::new(&trees.base)?;
    let point = Path::new("/").join(SKELETON);
    view.mount(&trees.skeleton, &point)?;
    let found = view.look_up(Path::new("/"), Path::new(part.name), Links::Follow)?;
    Ok(matches!(found, Found::Directory(real) if real == point.join(part.name)))
}

/// Fails when a directory that base itself lists is in none of the trees: then
/// something got lost on the way.
fn check_complete(trees: &Trees, name: &str, in_trees: &[&PathBuf]) -> Result<()> {
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
                    "{name}: {} is lost: {} lists it, and it is in none of {}; \
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

/// Makes a directory like another one: owner, mode and times.
struct LikeDirectory {
    from: PathBuf,
    to: PathBuf,
}

impl Action for LikeDirectory {
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
struct EmptyDirectory {
    path: PathBuf,
    mode: u32,
}

impl Action for EmptyDirectory {
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
struct Verify {
    source: PathBuf,
    copy: PathBuf,
}

impl Action for Verify {
    fn shell(&self) -> String {
        shell::line(["/usr/bin/diff".as_ref(), "-r".as_ref(), self.source.as_os_str(), self.copy.as_os_str()])
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        match tree::difference(&self.source, &self.copy)? {
            None => Ok(()),
            Some(what) => {
                bail!("the copy {} is not like {}: {what}", self.copy.display(), self.source.display())
            }
        }
    }
}

/// Completes a tree with what another one has more, and verifies it.
struct Merge {
    from: PathBuf,
    into: PathBuf,
}

impl Action for Merge {
    fn shell(&self) -> String {
        let (from, into) = (shell::quote(&self.from), shell::quote(&self.into));
        format!("/usr/bin/tar -C {from} -cf - . | /usr/bin/tar -C {into} -xkpf -")
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        undo.push(RemoveTree { path: self.into.clone() });
        tree::merge(&self.from, &self.into)?;
        match torn::examine(&self.from, &self.into)? {
            Verdict::Equal | Verdict::CopyWhole => Ok(()),
            _ => bail!("{}: not complete after the merge", self.into.display()),
        }
    }
}

/// What makes the skeleton or a directory of it. It is not taken back while a link of
/// the base leads there, because the link could not be removed: what it stands
/// for may be whole nowhere else.
struct Move {
    plan: Plan,
    /// Where links go that lead into what is made.
    links: Vec<PathBuf>,
}

impl Action for Move {
    fn shell(&self) -> String {
        self.plan.shell()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let mut made = Undo::default();
        let done = self.plan.perform(host, &mut made);
        undo.push(MoveBack { made: RefCell::new(made), links: self.links.clone() });
        done
    }
}

/// Takes back what a [`Move`] did.
struct MoveBack {
    made: RefCell<Undo>,
    links: Vec<PathBuf>,
}

impl Action for MoveBack {
    fn shell(&self) -> String {
        self.made.borrow().commands().join("\n")
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        for link in &self.links {
            if file::look(link)?.is_some_and(|m| m.is_symlink()) {
                bail!("what {} leads to is kept", link.display());
            }
        }
        self.made.borrow_mut().roll_back(host).into_iter().next().map_or(Ok(()), Err)
    }
}

/// Renames an original of the base aside.
struct SetAside {
    from: PathBuf,
    to: PathBuf,
    /// Where what is in it is now.
    copy: PathBuf,
}

impl Action for SetAside {
    fn shell(&self) -> String {
        shell::line(["/bin/mv".as_ref(), self.from.as_os_str(), self.to.as_os_str()])
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        // Before what it was made of goes.
        tree::store(&self.copy)?;
        Rename { from: self.from.clone(), to: self.to.clone() }.perform(host, undo)
    }
}

/// Makes the link that takes the place of a directory.
struct Link {
    text: String,
    path: PathBuf,
}

impl Action for Link {
    fn shell(&self) -> String {
        shell::line(["/bin/ln".as_ref(), "-s".as_ref(), self.text.as_ref(), self.path.as_os_str()])
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        let done = effect::symlink(Path::new(&self.text), &self.path);
        // Over a network it may be done and fail nevertheless.
        let made = || std::fs::read_link(&self.path).is_ok_and(|text| text == Path::new(&self.text));
        if done.is_ok() || made() {
            undo.push(file::Remove { path: self.path.clone() });
        }
        Ok(done?)
    }
}
