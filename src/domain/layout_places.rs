//! The directories or datasets of a layout, made where they are missing.

use crate::domain::layout::{Layout, Storage};
use crate::system::file::{self, MakeDirectory};
use crate::system::host::Host;
use crate::system::plan::{Plan, UndoIf};
use crate::system::zfs::{self, Dataset};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A directory or dataset that the layout lacks.
pub enum MissingPlace {
    /// A directory.
    Directory(PathBuf),
    /// A dataset.
    Dataset {
        /// Its name.
        dataset: Dataset,
        /// Properties it gets.
        properties: Vec<(String, String)>,
        /// Where it must be mounted afterwards (a real path).
        mountpoint: PathBuf,
    },
}

impl MissingPlace {
    /// The dataset, or the directory.
    pub fn name(&self) -> String {
        match self {
            MissingPlace::Directory(path) => path.display().to_string(),
            MissingPlace::Dataset { dataset, .. } => dataset.to_string(),
        }
    }

    /// The step that makes it. A failing run removes it only if it is empty: what was
    /// fetched so far is worth keeping.
    pub fn make(self) -> UndoIf {
        let mut plan = Plan::default();
        let path = match self {
            MissingPlace::Directory(path) => {
                plan.push(MakeDirectory { path: path.clone() });
                path
            }
            MissingPlace::Dataset { dataset, properties, mountpoint } => {
                plan.push(zfs::CreateDataset { dataset, properties, mountpoint: mountpoint.clone() });
                mountpoint
            }
        };
        let may_undo = move || -> Result<bool> {
            Ok(file::look(&path)?.is_none() || fs_err::read_dir(&path)?.next().is_none())
        };
        UndoIf { plan, may_undo: Rc::new(may_undo) }
    }
}

/// What the layout needs and the host does not have.
pub fn missing_places(host: &Host, layout: &Layout, new: bool) -> Result<Vec<MissingPlace>> {
    let at = |path: &Path| host.root().host_path(path);
    let needed =
        [("media", layout.media()), ("templates", layout.templates()), ("containers", layout.containers())];
    let mut missing = Vec::new();
    match layout.storage() {
        Storage::Directory => {
            if new {
                let above: Vec<&Path> = layout.dir().ancestors().take_while(|d| !at(d).exists()).collect();
                missing.extend(above.into_iter().rev().map(|d| MissingPlace::Directory(at(d))));
            }
            for (_, directory) in needed {
                if new || file::look(&at(&directory))?.is_none() {
                    missing.push(MissingPlace::Directory(at(&directory)));
                }
            }
        }
        Storage::Zfs(top) => {
            if new {
                let mut properties = Vec::new();
                // Elsewhere than its parent would have it.
                if Layout::default_dir(host, top)?.is_none_or(|d| d != layout.dir()) {
                    properties.push(("mountpoint".into(), layout.dir().display().to_string()));
                }
                missing.push(missing_dataset(top.clone(), properties, at(layout.dir()))?);
            }
            for (name, directory) in needed {
                let dataset = top.child(name)?;
                if new || !zfs::exists(host.tools(), dataset.as_str())? {
                    missing.push(missing_dataset(dataset, Vec::new(), at(&directory))?);
                }
            }
        }
    }
    Ok(missing)
}

/// A dataset to be made. What lies at its mount point would be hidden by it.
fn missing_dataset(
    dataset: Dataset,
    properties: Vec<(String, String)>,
    mountpoint: PathBuf,
) -> Result<MissingPlace> {
    if let Some(there) = file::look(&mountpoint)? {
        let empty = there.is_dir() && fs_err::read_dir(&mountpoint)?.next().is_none();
        if !empty {
            bail!(
                "{}: {} exists, but there is no dataset {dataset}; move it away, or set jail_zfs to the dataset that contains it",
                mountpoint.display(),
                file::kind(&there)
            );
        }
    }
    Ok(MissingPlace::Dataset { dataset, properties, mountpoint })
}
