//! ZFS, through zfs(8): what it says here, what is changed in `action`.

mod action;
mod query;

pub use crate::types::dataset::Dataset;
pub use action::{
    CreateDataset, DestroyDataset, DestroyIfPresent, RenameDataset, SetProperty, TakeSnapshots,
    UnmountDataset, command_line, create_arguments, differences, differences_arguments, ensure_mounted,
    roll_back, run, words,
};
pub use query::{DatasetProperties, Property, find, parse, query, query_one};

use crate::system::host::Host;
use crate::system::kernel;
use crate::system::tool::{Tool, Tools};
use anyhow::{Result, bail};
use std::path::Path;

/// Whether a dataset or snapshot exists.
pub fn exists(tools: &Tools, name: &str) -> Result<bool> {
    Ok(query_one(tools, name, &["type"])?.is_some())
}

/// The snapshots of a dataset, full names, oldest first.
pub fn snapshots(host: &Host, dataset: &Dataset) -> Result<Vec<String>> {
    let arguments =
        ["list", "-H", "-d", "1", "-t", "snapshot", "-o", "name", "-s", "createtxg", dataset.as_str()];
    let printed = host.tools().ask(Tool::Zfs, &arguments)?;
    Ok(printed.stdout.lines().map(str::to_owned).collect())
}

/// The clones of a snapshot.
pub fn clones(host: &Host, snapshot: &str) -> Result<Vec<String>> {
    let found = query_one(host.tools(), snapshot, &["clones"])?;
    let clones = found.as_ref().map_or("", |found| found.get("clones"));
    Ok(clones.split(',').filter(|c| !c.is_empty()).map(str::to_owned).collect())
}

/// Why a dataset is not mounted where the layout expects it, and the command that
/// mounts it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountProblem {
    /// Such as `zdata/jails is not mounted`.
    pub problem: String,
    /// Such as `zfs mount zdata/jails`.
    pub advice: String,
}

/// Checks that a dataset is mounted where the layout expects it, and not hidden
/// there.
pub fn misplaced(host: &Host, dataset: &Dataset, expected: &Path) -> Result<Option<MountProblem>> {
    let asked = ["mounted", "mountpoint", "canmount", "jailed", "keystatus", "encryptionroot", "type"];
    let Some(found) = query_one(host.tools(), dataset.as_str(), &asked)? else {
        bail!("{dataset}: dataset does not exist");
    };
    let mountpoint = found.get("mountpoint");
    let misplaced = |problem: String, advice: String| Ok(Some(MountProblem { problem, advice }));
    if found.get("type") == "volume" {
        return misplaced(format!("{dataset} is a volume, not a file system"), "move it away".into());
    }
    if !found.is_mounted() {
        let because = |why: &str| format!("{dataset} is not mounted: {why}");
        return if found.get("keystatus") == "unavailable" {
            let root = found.get("encryptionroot");
            let problem = because(&format!("the key of {root} is not loaded"));
            misplaced(problem, format!("zfs load-key {root}; zfs mount -a"))
        } else if matches!(mountpoint, "none" | "legacy") {
            let above = dataset.as_str().rsplit_once('/').map(|(above, _)| above);
            let inherits = above.map_or(Ok(false), |above| is_mounted(host, above))?;
            let place = host.root().strip(expected).unwrap_or_else(|| expected.to_owned());
            let advice = match inherits {
                true => format!("zfs inherit mountpoint {dataset}"),
                false => format!("zfs set mountpoint={} {dataset}", place.display()),
            };
            misplaced(because(&format!("its mountpoint is {mountpoint}")), advice)
        } else if found.get("canmount") == "off" {
            misplaced(because("canmount is off"), format!("zfs set canmount=on {dataset}"))
        } else if found.get("jailed") == "on" {
            misplaced(because("jailed is on"), format!("zfs set jailed=off {dataset}; zfs mount -a"))
        } else {
            misplaced(format!("{dataset} is not mounted"), format!("zfs mount {dataset}"))
        };
    }
    if Path::new(mountpoint) != expected {
        let problem = format!("{dataset} is mounted at {mountpoint}, not at {}", expected.display());
        return misplaced(problem, format!("zfs inherit mountpoint {dataset}"));
    }
    let mounts = host.kernel()?.mounts()?;
    let Some(cover) = covering_mount(&mounts, dataset, expected) else { return Ok(None) };
    let problem = format!(
        "{dataset} is hidden by {}, which is mounted on {}",
        cover.from.display(),
        cover.on.display()
    );
    misplaced(problem, format!("zfs unmount {dataset}; zfs mount {dataset}"))
}

fn is_mounted(host: &Host, dataset: &str) -> Result<bool> {
    Ok(query_one(host.tools(), dataset, &["mounted"])?.is_some_and(|found| found.is_mounted()))
}

/// What was mounted on the mount point of a dataset, or above it, after the
/// dataset.
pub fn covering_mount<'m>(
    mounts: &'m [kernel::Mount],
    dataset: &Dataset,
    place: &Path,
) -> Option<&'m kernel::Mount> {
    let own = mounts.iter().position(|m| m.from == Path::new(dataset.as_str()) && m.on == place)?;
    mounts[own + 1..].iter().find(|m| kernel::is_at_or_below(place, &m.on))
}

/// Fails unless a dataset is mounted where the layout expects it, and not hidden
/// there.
pub fn check_mounted(host: &Host, dataset: &Dataset, expected: &Path) -> Result<()> {
    match misplaced(host, dataset, expected)? {
        None => Ok(()),
        Some(MountProblem { problem, advice }) => bail!("{problem}; {advice}"),
    }
}
