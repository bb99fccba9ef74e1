//! The container of a jail on ZFS: a clone of a skeleton's snapshot, marked as the
//! jail's.

mod actions;
mod properties;

pub use actions::{CloneContainer, MountContainer};
pub use properties::own_properties;

use crate::system::host::Host;
use crate::system::tool::Tool;
use crate::system::zfs::{Dataset, DatasetProperties, Property, query, query_one};
use anyhow::{Result, bail};

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
            bail!("{clone} is cloned from {name}; destroy or promote that first");
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
        "dataset {name} is below {container} and belongs to the jail; zfs rename it to a place outside first, \
         or zfs destroy it if its data is not needed"
    )
}

/// Fails if a dataset is placed or used by what is set on it, or has others
/// below it: another one in its place would not be the same.
pub fn check_movable(host: &Host, dataset: &Dataset) -> Result<()> {
    let below = query(host.tools(), &[dataset.as_str()], 1, &["type"])?;
    let is_below = |name: &str| name.strip_prefix(dataset.as_str()).is_some_and(|rest| rest.starts_with('/'));
    if let Some(found) = below.iter().find(|found| is_below(&found.name)) {
        bail!(child(&found.name, dataset));
    }
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

/// Fails when a clone differs from its snapshot. Only zfs diff tells: `written`
/// is above 0 as soon as a clone was mounted.
pub fn check_pristine(host: &Host, snapshot: &str, clone: &Dataset) -> Result<()> {
    let printed = host.tools().ask(Tool::Zfs, &["diff", "-H", "-F", snapshot, clone.as_str()])?;
    if let Some(first) = printed.stdout.lines().next() {
        let first = first.split('\t').nth(2).unwrap_or(first);
        bail!(
            "dataset {clone} already exists and was changed ({} entries, {first} among them); \
             zfs destroy it if it is not needed",
            printed.stdout.lines().count()
        );
    }
    Ok(())
}
