//! The container of a jail that goes, with the proof that it is the jail's.

use crate::domain::container::{OWNER_PROPERTY, own_snapshots_in};
use crate::domain::layout::{self, Layout, Storage};
use crate::domain::template;
use crate::system::file;
use crate::system::host::Host;
use crate::system::plan::Plan;
use crate::system::tree::{self, RemoveTree};
use crate::system::zfs::{self, Dataset, DatasetProperties};
use crate::types::jail_name::JailName;
use crate::types::sibling_name;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// The container as it is found.
pub(super) enum FoundContainer {
    /// A dataset.
    Dataset {
        dataset: Dataset,
        mounted: bool,
        /// Where it is mounted, a real path.
        mountpoint: PathBuf,
        /// Its snapshots, full names.
        snapshots: Vec<String>,
        /// Marks one that was made by hand: that proves it next time, when the
        /// configuration is gone.
        adopt: Option<zfs::SetProperty>,
    },
    /// A directory, and whether a killed run left another one under its temporary
    /// name.
    Directory { path: PathBuf, has_aside: bool },
    /// Only what a killed run left under its temporary name, a real path.
    Aside(PathBuf),
    /// Nothing.
    Absent,
}

/// Fails while something is kept of a move to another release.
pub(super) fn check_moves(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    rows: &[DatasetProperties],
) -> Result<()> {
    let containers = match layout.storage() {
        Storage::Zfs(top) => {
            let names = rows.iter().map(|row| row.name.as_str());
            layout::containers_among(names, &top.child("containers")?, jail)
        }
        Storage::Directory => layout.containers_of(host, jail)?,
    };
    for name in containers {
        if name != jail.as_str() {
            bail!(
                "{name} is the former container of jail {jail}; jail-rebase --commit {jail} destroys it, \
                 jail-rebase --revert {jail} returns to it"
            );
        }
    }
    Ok(())
}

/// Looks at the container, and fails unless it is this jail's. `agreed`: both
/// configuration and fstab say so; `mounted`: the fstab does.
pub(super) fn look(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    rows: &[DatasetProperties],
    agreed: bool,
    mounted: bool,
) -> Result<FoundContainer> {
    let container = host.root().host_path(&layout.container(jail));
    match layout.storage() {
        Storage::Zfs(top) => look_at_dataset(host, layout, jail, top, rows, agreed, container),
        Storage::Directory => look_at_directory(host, layout, jail, mounted, container),
    }
}

fn look_at_dataset(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    top: &Dataset,
    rows: &[DatasetProperties],
    agreed: bool,
    mountpoint: PathBuf,
) -> Result<FoundContainer> {
    let dataset = Layout::container_dataset(top, jail)?;
    let Some(found) = zfs::find(rows, dataset.as_str()) else {
        if file::look(&mountpoint)?.is_some() && fs_err::read_dir(&mountpoint)?.next().is_some() {
            bail!("{}: not a dataset, but a directory that is not empty", mountpoint.display());
        }
        return Ok(FoundContainer::Absent);
    };
    let (origin, owner) = (found.get("origin"), found.get(OWNER_PROPERTY));
    if !owner.is_empty() && owner != jail.as_str() {
        bail!("dataset {dataset} belongs to jail {owner} ({}={owner})", OWNER_PROPERTY);
    }
    let of_template = origin
        .strip_prefix(top.as_str())
        .and_then(|rest| rest.strip_prefix("/templates/"))
        .is_some_and(|rest| rest.contains("-skeleton@"));
    if !of_template {
        template::check_not_promoted(host, layout, &dataset, origin)?;
        let origin = if origin.is_empty() { "nothing" } else { origin };
        bail!("dataset {dataset} is a clone of {origin}, not of a skeleton; not a thinjail container");
    }
    // A clone made by hand bears no mark, but then all else must agree.
    if owner.is_empty() && !agreed {
        bail!(
            "dataset {dataset}: cannot verify that it belongs to jail {jail}: it has no {}, and the \
             configuration or the fstab is missing; if it belongs to the jail: zfs set {}={jail} {dataset}",
            OWNER_PROPERTY,
            OWNER_PROPERTY
        );
    }
    let adopt = owner.is_empty().then(|| zfs::SetProperty {
        dataset: dataset.clone(),
        property: OWNER_PROPERTY.to_owned(),
        value: jail.to_string(),
    });
    let snapshots = own_snapshots_in(rows, &dataset)?;
    Ok(FoundContainer::Dataset { dataset, mounted: found.is_mounted(), mountpoint, snapshots, adopt })
}

fn look_at_directory(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    mounted: bool,
    path: PathBuf,
) -> Result<FoundContainer> {
    let aside = sibling_name::temporary(&path);
    let has_aside = file::look(&aside)?.is_some();
    match file::look(&path)? {
        None if has_aside => return Ok(FoundContainer::Aside(aside)),
        None => return Ok(FoundContainer::Absent),
        Some(there) if !there.is_dir() => {
            bail!("{}: {}, not a directory", path.display(), file::kind(&there))
        }
        Some(_) => {}
    }
    if !mounted && !is_pristine(host, layout, &path)? {
        bail!(
            "{}: no fstab shows that it belongs to jail {jail}, and it was changed after it was copied; \
             if it belongs to the jail: jail-mkfstab {jail}; otherwise remove it",
            path.display()
        );
    }
    Ok(FoundContainer::Directory { path, has_aside })
}

/// Whether a container is a copy of some skeleton and nothing more: what a
/// killed jail-clone leaves, and no one uses.
fn is_pristine(host: &Host, layout: &Layout, container: &Path) -> Result<bool> {
    for entry in fs_err::read_dir(host.root().host_path(&layout.templates()))? {
        let path = entry?.path();
        let is_skeleton = path.to_string_lossy().ends_with("-skeleton");
        if is_skeleton && tree::difference(&path, container)?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl FoundContainer {
    /// What goes, in words.
    pub(super) fn shown(&self, layout: &Layout, jail: &JailName) -> Option<String> {
        Some(match self {
            FoundContainer::Absent => return None,
            FoundContainer::Aside(aside) => aside.display().to_string(),
            FoundContainer::Directory { .. } => layout.container(jail).display().to_string(),
            FoundContainer::Dataset { dataset, snapshots, .. } => match snapshots.len() {
                0 => dataset.to_string(),
                1 => format!("{dataset} with 1 snapshot"),
                n => format!("{dataset} with {n} snapshots"),
            },
        })
    }

    /// What proves that it is the jail's while the rest goes.
    pub(super) fn adopt(&self) -> Option<&zfs::SetProperty> {
        match self {
            FoundContainer::Dataset { adopt, .. } => adopt.as_ref(),
            _ => None,
        }
    }

    /// The steps that take a directory out of use: one rename, and no program takes it
    /// for a container any longer. Before the fstab goes, which is what proves whose
    /// it is.
    pub(super) fn set_aside(&self, plan: &mut Plan) {
        if let FoundContainer::Directory { path, has_aside } = self {
            let aside = sibling_name::temporary(path);
            if *has_aside {
                // A copy that a killed jail-clone did not finish.
                plan.push(RemoveTree { path: aside.clone() });
            }
            plan.push(file::RenameFile { from: path.clone(), to: aside });
        }
    }

    /// The last step that can be undone: it fails if a process works in the dataset.
    pub(super) fn unmount(&self, plan: &mut Plan) {
        if let FoundContainer::Dataset { dataset, mounted: true, mountpoint, .. } = self {
            plan.push(zfs::UnmountDataset { dataset: dataset.clone(), mountpoint: mountpoint.clone() });
        }
    }

    /// The steps that cannot be undone.
    pub(super) fn remove(self, clear: &mut Plan) {
        match self {
            FoundContainer::Absent => {}
            FoundContainer::Aside(path) => clear.push(RemoveTree { path }),
            FoundContainer::Directory { path, .. } => {
                clear.push(RemoveTree { path: sibling_name::temporary(&path) });
            }
            FoundContainer::Dataset { dataset, snapshots, .. } => {
                // Never with -r, never with -R. One after the other, or none.
                let mut all = Plan::default();
                for name in snapshots.into_iter().chain([dataset.to_string()]) {
                    all.push(zfs::DestroyDataset { name });
                }
                clear.push(all);
            }
        }
    }
}
