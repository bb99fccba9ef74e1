//! What skel-split does: the writable directories of a base become a skeleton,
//! and links take their places.
//!
//! In the order that loses nothing: all of them are copied and compared first;
//! then each original is renamed aside and a link made; then links that climb
//! out are repaired and the snapshot is taken; and only then the originals go.
//! So each directory is whole in at least one place at every moment, a failing
//! run can go back, and a killed one is gone on with.

mod part;
mod steps;

use part::Trees;
use steps::undone_without_links;
pub mod interrupted;

use crate::commands::common::{self, Common, arguments};
use crate::domain::base_version;
use crate::domain::layout::{BASE_SNAPSHOT, Layout, MOVED, SKELETON, Storage};
use crate::domain::links::RepairLinks;
use crate::domain::links::{self, LinkScope};
use crate::domain::settings::Settings;
use crate::domain::template;
use crate::system::console;
use crate::system::file::{self, MakeDirectory};
use crate::system::host::Host;
use crate::system::lock::{Lock, LockMode};
use crate::system::plan::Plan;
use crate::system::zfs::{self, Dataset};
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Move the writable directories of a base into its skeleton
#[derive(Parser, Clone, Debug)]
#[command(name = "skel-split", version)]
pub struct SkelSplit {
    /// Keep the originals in the base, as NAME.orig
    #[arg(short, long)]
    pub keep: bool,
    /// A further directory for host trees, besides docs
    #[arg(short = 'd', long = "directory", value_name = "name", value_parser = directory)]
    pub directories: Vec<PathBuf>,
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
    /// The release: 14.5, 14.5-RELEASE, 15.0-RC1
    #[arg(value_name = "release")]
    pub release: Release,
}

/// A directory of the skeleton that is not one of those that are moved.
fn directory(name: &str) -> Result<PathBuf, String> {
    let sound = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0', '\n']);
    let moved = MOVED.iter().any(|m| m.split('/').next() == Some(name));
    if !sound || moved || name.starts_with('.') {
        return Err(
            "a directory is one plain name, like docs or src, and none of those that are moved".into()
        );
    }
    Ok(name.into())
}

arguments!(SkelSplit);

const PROGRAM: &str = "skel-split";

/// The directory for host trees that every skeleton has.
const DOCS: &str = "docs";

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

/// Splits, or continues with a split.
fn run(arguments: &SkelSplit, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let release = &arguments.release;
    let settings = Settings::load(host.root())?;
    let _lock =
        if common.dry_run { None } else { Some(Lock::template(host.root(), release, LockMode::Exclusive)?) };
    let layout = Layout::find(host, &settings)?;
    let found = look(host, &layout, arguments)?;
    for note in &found.notes {
        console::note(PROGRAM, note);
    }
    let (mut plan, clear) = steps(found);
    if common.dry_run {
        plan.append(clear);
        return common::dry_run(PROGRAM, &plan, common.json);
    }
    let nothing = plan.is_empty() && clear.is_empty();
    plan.carry_out(host)?;
    // From here the template is complete, and what goes is not needed.
    let failures = clear.carry_out_all(host);
    let text = match nothing {
        true => format!("{release}: already split"),
        false => format!("{release}: split; next: jail-clone -r {release} NAME"),
    };
    console::report(PROGRAM, &text);
    match failures.into_iter().next() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Err(first.context("the template is complete, but an original could not be removed")),
    }
}

/// What a split meets on the host.
struct Found {
    trees: Trees,
    skeleton: SkeletonState,
    /// What is left to do for each directory that is moved.
    parts: Vec<part::Steps>,
    /// Plain directories that the skeleton lacks.
    directories: Vec<PathBuf>,
    /// The mount point of the skeleton, if the base lacks it.
    point: Option<PathBuf>,
    /// Whether links of the skeleton have to be repaired.
    repairs: bool,
    /// The snapshot that ends a split, if it has yet to be taken.
    snapshot: Option<String>,
    notes: Vec<String>,
}

/// The skeleton as it is found.
enum SkeletonState {
    Present,
    NoDirectory(PathBuf),
    NoDataset(Dataset, PathBuf),
}

/// Looks at the host. Every reason not to split is found here.
fn look(host: &Host, layout: &Layout, arguments: &SkelSplit) -> Result<Found> {
    let release = &arguments.release;
    let at = |path: PathBuf| host.root().host_path(&path);
    let trees = Trees { base: at(layout.base(release)), skeleton: at(layout.skeleton(release)) };
    check_base(host, layout, &trees.base, release)?;
    let (skeleton, snapshot) = look_at_skeleton(host, layout, release, &trees)?;
    let mut notes = Vec::new();
    let mut parts = Vec::new();
    for name in MOVED {
        let part = trees.part(name);
        let found = part::look(&trees, &part, arguments.keep)?;
        let mut steps = part::steps(&part, &found, arguments.keep);
        notes.append(&mut steps.notes);
        parts.push(steps);
    }
    let taken = snapshot.as_ref().filter(|s| s.exists);
    // A template that was made by hand may lack it, which does no harm.
    let docs = Some(Path::new(DOCS)).filter(|_| taken.is_none());
    let mut directories = Vec::new();
    for name in arguments.directories.iter().map(|d| d.as_path()).chain(docs) {
        let Some(missing) = missing_directory(&trees.skeleton, name)? else { continue };
        directories.push(missing);
        if let Some(taken) = taken {
            notes.push(format!("{}: jails that are cloned from {} lack it", name.display(), taken.name));
        }
    }
    let point = trees.base.join(SKELETON);
    let point = match file::look(&point)? {
        None => Some(point),
        Some(there) if there.is_dir() => None,
        Some(there) => bail!("{}: {}, not a mount point", point.display(), file::kind(&there)),
    };
    let incomplete = parts.iter().any(|steps| !steps.copies.is_empty());
    let changes = incomplete
        || !directories.is_empty()
        || point.is_some()
        || !matches!(skeleton, SkeletonState::Present)
        || parts.iter().any(|steps| !steps.links.is_empty());
    if changes {
        // What is to be moved must not be in use.
        template::check_unmounted(host, &trees.base, &trees.skeleton)?;
    }
    let repairs = changes || needs_repair(&trees, taken.is_some(), &mut notes)?;
    if let Some(taken) = taken {
        if incomplete {
            bail!(
                "{} exists, but the skeleton is not complete; if no jail was cloned from it: zfs destroy {}",
                taken.name,
                taken.name
            );
        }
        if repairs && !changes {
            notes.push(format!(
                "symbolic links in {} do not reach the base; skel-fixcerts repairs them in the skeleton and in each jail, and the next snapshot will contain the repaired links",
                taken.name
            ));
        }
    }
    let repairs = repairs && (changes || taken.is_none());
    let snapshot = snapshot.filter(|s| !s.exists).map(|s| s.name);
    Ok(Found { trees, skeleton, parts, directories, point, repairs, snapshot, notes })
}

/// Whether links of a skeleton that is complete otherwise have to be repaired.
fn needs_repair(trees: &Trees, is_taken: bool, notes: &mut Vec<String>) -> Result<bool> {
    let survey = links::survey(&trees.skeleton, &trees.base, LinkScope::All)?;
    for (path, what) in &survey.findings {
        notes.push(format!("{}: {what}", path.display()));
    }
    // What a killed run left matters as long as it is not in the snapshot.
    Ok(!survey.repairs.is_empty() || !is_taken && survey.leftovers() > 0)
}

/// The steps of a split:
///
/// 1. The skeleton is made if it is missing.
/// 2. All directories are copied into it and verified, before anything of the base
///    changes.
/// 3. Each original is renamed aside and its link takes its place.
/// 4. The links inside of the skeleton are repaired: they were made for another
///    depth.
/// 5. The snapshot is taken. Jails are cloned from it, so everything is in it.
///
/// and those behind it, each of which is tried: the originals go.
fn steps(found: Found) -> (Plan, Plan) {
    let Found { trees, skeleton, parts, directories, point, repairs, snapshot, .. } = found;
    let (mut plan, mut clear) = (Plan::default(), Plan::default());
    match skeleton {
        SkeletonState::Present => {}
        SkeletonState::NoDirectory(path) => plan.push(MakeDirectory { path }),
        SkeletonState::NoDataset(dataset, mountpoint) => {
            let mut make = Plan::default();
            make.push(zfs::CreateDataset { dataset, properties: Vec::new(), mountpoint });
            let links = MOVED.map(|name| trees.part(name).at_base).to_vec();
            plan.push(undone_without_links(make, links));
        }
    }
    let mut links = Plan::default();
    for steps in parts {
        plan.append(steps.copies);
        links.append(steps.links);
        clear.append(steps.clear);
    }
    directories.into_iter().for_each(|path| plan.push(MakeDirectory { path }));
    plan.append(links);
    if let Some(path) = point {
        plan.push(MakeDirectory { path });
    }
    if repairs {
        plan.push(RepairLinks { program: PROGRAM, base: trees.base, skeleton: trees.skeleton });
    }
    if let Some(name) = snapshot {
        plan.push(zfs::TakeSnapshots::one(name));
    }
    (plan, clear)
}

/// The skeleton, and the snapshot of it under ZFS.
fn look_at_skeleton(
    host: &Host,
    layout: &Layout,
    release: &Release,
    trees: &Trees,
) -> Result<(SkeletonState, Option<Taken>)> {
    let there = file::look(&trees.skeleton)?;
    if let Some(there) = &there
        && !there.is_dir()
    {
        bail!("{}: {}, not a directory", trees.skeleton.display(), file::kind(there));
    }
    let Storage::Zfs(top) = layout.storage() else {
        if there.is_some() {
            return Ok((SkeletonState::Present, None));
        }
        file::check_writable_parent(&trees.skeleton)?;
        return Ok((SkeletonState::NoDirectory(trees.skeleton.clone()), None));
    };
    let base = Layout::base_dataset(top, release)?;
    zfs::check_mounted(host, &base, &trees.base).context("base")?;
    let dataset = Layout::skeleton_dataset(top, release)?;
    let name = dataset.snapshot(BASE_SNAPSHOT);
    if zfs::exists(host.tools(), dataset.as_str())? {
        zfs::check_mounted(host, &dataset, &trees.skeleton).context("skeleton")?;
        let exists = zfs::exists(host.tools(), &name)?;
        return Ok((SkeletonState::Present, Some(Taken { name, exists })));
    }
    if there.is_some() && fs_err::read_dir(&trees.skeleton)?.next().is_some() {
        bail!("{}: already exists, but there is no dataset {dataset}", trees.skeleton.display());
    }
    let state = SkeletonState::NoDataset(dataset, trees.skeleton.clone());
    Ok((state, Some(Taken { name, exists: false })))
}

/// A plain directory of the skeleton, if it is missing.
fn missing_directory(skeleton: &Path, name: &Path) -> Result<Option<PathBuf>> {
    let path = skeleton.join(name);
    match file::look(&path)? {
        None => Ok(Some(path)),
        Some(there) if there.is_dir() => Ok(None),
        Some(there) => bail!("{}: {}, not a directory", path.display(), file::kind(&there)),
    }
}

fn check_base(host: &Host, layout: &Layout, base: &Path, release: &Release) -> Result<()> {
    match file::look(base)? {
        Some(there) if there.is_dir() => {}
        Some(there) => bail!("{}: {}, not a directory", base.display(), file::kind(&there)),
        None => {
            template::check_not_destroyed(host, layout, release)?;
            template::check_in_place(host, layout, release)?;
            bail!("no base of {release}: {} does not exist; run skel-fetch {release}", base.display())
        }
    }
    let version = match base_version::of_base(base) {
        Ok(version) => version,
        Err(e) => {
            template::check_in_place(host, layout, release)?;
            return Err(e);
        }
    };
    if version.release != *release {
        bail!("{}: contains {version}, not {release}", base.display());
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
