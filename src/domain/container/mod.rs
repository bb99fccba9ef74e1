//! The container of a jail on ZFS: a clone of a skeleton's snapshot, marked as the
//! jail's.

mod actions;
mod copy;
mod properties;

pub use actions::{CloneContainer, MountContainer};
pub use copy::{COPY_SNAPSHOT, CloneUnfinished, CopyContainer, DestroyCopy};
pub use properties::own_properties;

use crate::domain::fstab::MountPoint;
use crate::formats::zfs_diff::{self, ZfsChange, ZfsDifference};
use crate::system::host::Host;
use crate::system::tool::Tool;
use crate::system::zfs::{Dataset, DatasetProperties, Property, query, query_one};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// The user property that says whose container a dataset is.
pub const OWNER_PROPERTY: &str = "thinjail:jail";

/// The snapshots of a container; fails if anything hangs on it that would not
/// go with it, or is held (zfs-hold(8)).
pub fn own_snapshots(host: &Host, dataset: &Dataset) -> Result<Vec<String>> {
    let rows = query(host.tools(), &[dataset.as_str()], 1, &["clones", "userrefs"])?;
    own_snapshots_in(&rows, dataset)
}

/// The same, by `clones` and `userrefs` of what is one level below the container,
/// and of others.
pub fn own_snapshots_in(rows: &[DatasetProperties], dataset: &Dataset) -> Result<Vec<String>> {
    let mut snapshots = Vec::new();
    for row in rows {
        let name = row.name.as_str();
        match name.strip_prefix(dataset.as_str()) {
            Some(below) if below.starts_with('/') => bail!(child(name, dataset)),
            Some(snapshot) if snapshot.starts_with('@') => {}
            _ => continue,
        }
        if let Some(clone) = row.get("clones").split(',').find(|c| !c.is_empty()) {
            bail!("{clone} is a clone of {name}; destroy or promote it first");
        }
        // zfs destroy -n does not notice them.
        if !matches!(row.get("userrefs"), "" | "0") {
            bail!(
                "snapshot {name} is held; zfs holds {name} shows the tags, zfs release TAG {name} frees it"
            );
        }
        snapshots.push(name.to_owned());
    }
    Ok(snapshots)
}

/// What is said of a dataset below a container, which nothing here takes along.
fn child(name: &str, container: &Dataset) -> String {
    format!(
        "dataset {name} is below the container {container}; zfs rename it to another place, \
         or zfs destroy it if its data is not needed"
    )
}

/// Fails if a dataset has others below it.
pub fn check_has_no_children(host: &Host, dataset: &Dataset) -> Result<()> {
    let below = query(host.tools(), &[dataset.as_str()], 1, &["type"])?;
    let is_below = |name: &str| name.strip_prefix(dataset.as_str()).is_some_and(|rest| rest.starts_with('/'));
    match below.iter().find(|found| is_below(&found.name)) {
        Some(found) => bail!(child(&found.name, dataset)),
        None => Ok(()),
    }
}

/// Fails if a dataset is placed or used by what is set on it, or has others
/// below it: another one in its place would not be the same.
pub fn check_movable(host: &Host, dataset: &Dataset) -> Result<()> {
    check_has_no_children(host, dataset)?;
    let asked = ["mountpoint", "canmount", "jailed", "readonly"];
    let found = query_one(host.tools(), dataset.as_str(), &asked)?;
    for Property { name, value, source } in found.iter().flat_map(DatasetProperties::all) {
        let harmless =
            matches!((name.as_str(), value.as_str()), ("canmount", "on") | ("jailed" | "readonly", "off"));
        if !harmless && matches!(source.as_str(), "local" | "received") {
            bail!("dataset {dataset} sets {name}={value} itself; zfs inherit {name} {dataset}");
        }
        if let Some(above) =
            source.strip_prefix("inherited from ").filter(|_| name != "mountpoint" && !harmless)
        {
            bail!("dataset {dataset} has {name}={value} from {above}; zfs inherit {name} {above}");
        }
    }
    Ok(())
}

/// Fails when a clone, mounted at `place`, differs from its snapshot in more than
/// empty mount points. Only zfs-diff(8) shows that: `written` is above 0 as soon as
/// a clone was mounted.
pub fn check_pristine(
    host: &Host,
    snapshot: &str,
    clone: &Dataset,
    place: &Path,
    mount_points: &[MountPoint],
) -> Result<()> {
    let mut made: Vec<PathBuf> = Vec::new();
    for point in mount_points {
        if point.is_made(place)? {
            made.push(place.join(&point.path));
        }
    }
    let printed = host.tools().ask(Tool::Zfs, &["diff", "-H", "-F", snapshot, clone.as_str()])?;
    // What was made and removed again changed the time of its directory.
    let parents: Vec<PathBuf> = mount_points
        .iter()
        .filter_map(|point| place.join(&point.path).parent().map(Path::to_owned))
        .collect();
    let expected = |found: &ZfsDifference| match found.change {
        ZfsChange::Added => made.contains(&found.path),
        ZfsChange::Modified => parents.contains(&found.path),
        _ => false,
    };
    let differences = zfs_diff::parse(&printed.stdout);
    let changes: Vec<&Path> =
        differences.iter().filter(|found| !expected(found)).map(|found| found.path.as_path()).collect();
    if let Some(first) = changes.first() {
        let first = first.display();
        bail!(
            "dataset {clone} already exists and was changed ({} entries, {first} among them); \
             zfs destroy it if it is not needed",
            changes.len()
        );
    }
    Ok(())
}
