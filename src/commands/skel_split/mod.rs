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
use crate::system::kernel;
use crate::system::lock::{Lock, LockMode};
use crate::system::plan::Plan;
use crate::system::zfs;
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
    /// The release: 14.2, 14.2-RELEASE, 15.0-RC1
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

/// Splits, or goes on with a split.
fn run(arguments: &SkelSplit, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let release = &arguments.release;
    let settings = Settings::load(host.root())?;
    let _lock =
        if common.dry_run { None } else { Some(Lock::template(host.root(), release, LockMode::Exclusive)?) };
    let layout = Layout::find(host, &settings)?;
    let split = plan(host, &layout, arguments)?;
    for note in &split.notes {
        console::note(PROGRAM, note);
    }
    if common.dry_run {
        let mut all = split.plan;
        all.append(split.clear);
        return common::dry_run(PROGRAM, &all, common.json);
    }
    let nothing = split.plan.is_empty() && split.clear.is_empty();
    split.plan.carry_out(host)?;
    // From here the template is complete, and what goes is not needed.
    let failures = split.clear.carry_out_all(host);
    let text = match nothing {
        true => format!("{release}: split already"),
        false => format!("{release}: split; jail-clone -r {release} makes jails of it"),
    };
    console::tell(PROGRAM, &text);
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

fn plan(host: &Host, layout: &Layout, arguments: &SkelSplit) -> Result<Split> {
    let release = &arguments.release;
    let at = |path: PathBuf| host.root().host_path(&path);
    let trees = Trees { base: at(layout.base(release)), skeleton: at(layout.skeleton(release)) };
    check_base(host, layout, &trees.base, release)?;
    let mut split = Split { plan: Plan::default(), clear: Plan::default(), notes: Vec::new() };

    let snapshot = plan_skeleton(host, layout, release, &trees, &mut split.plan)?;
    let mut copies = Plan::default();
    let mut links = Plan::default();
    for name in MOVED {
        let part = trees.part(name);
        let found = part::look(&trees, &part, arguments.keep)?;
        let steps = part::steps(&part, &found, arguments.keep);
        copies.append(steps.copies);
        links.append(steps.links);
        split.clear.append(steps.clear);
        split.notes.extend(steps.notes);
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
        let survey = links::survey(&trees.skeleton, &trees.base, LinkScope::All)?;
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
        split.plan.push(zfs::TakeSnapshots::one(taken.name.clone()));
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
    let version = match base_version::of_base(base) {
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
            made.push(zfs::CreateDataset {
                dataset,
                properties: Vec::new(),
                mountpoint: trees.skeleton.clone(),
            });
            plan.push(undone_without_links(made, MOVED.map(|name| trees.part(name).at_base).to_vec()));
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
