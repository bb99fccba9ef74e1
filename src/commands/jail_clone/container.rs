//! The container of the new jail: a clone of the newest skeleton, or a copy of it.

use crate::domain::container::{
    COPY_SNAPSHOT, CloneContainer, DestroyCopy, MountContainer, OWNER_PROPERTY, check_pristine,
};
use crate::domain::fstab::MountPoint;
use crate::domain::layout::{Layout, Storage};
use crate::domain::new_jail::new_file;
use crate::domain::origin;
use crate::domain::template;
use crate::system::file::{self, WriteFile};
use crate::system::host::Host;
use crate::system::plan::{Action, Plan};
use crate::system::tree::{self, Aspect, CopyTree};
use crate::system::zfs::{self, Dataset, DatasetProperties};
use crate::types::jail_name::JailName;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The container, as it is found and as it is to be made.
pub(super) enum NewContainer {
    /// A copy of the skeleton, under directory storage.
    Copy {
        /// The skeleton.
        skeleton: PathBuf,
        /// Where the skeleton itself is kept as it is now, if it is not yet.
        kept: Option<PathBuf>,
        /// The copy to make, if it does not exist yet.
        container: Option<PathBuf>,
        /// The file that records its origin, if it does not exist yet.
        record: Option<WriteFile>,
    },
    /// A clone.
    Clone(CloneContainer),
    /// A clone that a killed run did not mount.
    Mount(MountContainer),
    /// A clone that a killed run made.
    Present,
}

impl NewContainer {
    /// The steps that make it.
    pub(super) fn steps(self) -> Plan {
        let mut plan = Plan::default();
        match self {
            NewContainer::Copy { skeleton, kept, container, record } => {
                // What jail-rebase(8) starts from, whatever becomes of the skeleton.
                for to in kept.into_iter().chain(container) {
                    plan.push(CopyTree { from: skeleton.clone(), to });
                }
                if let Some(record) = record {
                    plan.push(record);
                }
            }
            NewContainer::Clone(clone) => plan.push(clone),
            NewContainer::Mount(mount) => plan.push(mount),
            NewContainer::Present => {}
        }
        plan
    }
}

/// Looks at the place of the container, and accepts one that a killed run left as
/// it was made, perhaps with some of the mount points.
pub(super) fn look(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    release: &Release,
    rows: &[DatasetProperties],
    mount_points: &[MountPoint],
) -> Result<NewContainer> {
    let container = host.root().host_path(&layout.container(jail));
    match layout.storage() {
        Storage::Directory => look_at_directory(host, layout, jail, release, container, mount_points),
        Storage::Zfs(top) => look_at_dataset(host, layout, jail, release, top, rows, mount_points),
    }
}

fn look_at_directory(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    release: &Release,
    container: PathBuf,
    mount_points: &[MountPoint],
) -> Result<NewContainer> {
    let skeleton = host.root().host_path(&layout.skeleton(release));
    let (origin, fresh) = origin::of_skeleton(host, layout, release)?;
    let kept = fresh.then(|| host.root().host_path(&layout.copy(&origin)));
    if let Some(kept) = &kept {
        file::check_writable_parent(kept)?;
    }
    let is_new = match file::look(&container)? {
        None => {
            file::check_writable_parent(&container)?;
            true
        }
        Some(there) if there.is_dir() => {
            if let Some(what) = difference(&skeleton, &container, mount_points)? {
                bail!(
                    "container {} already exists and is not a pristine copy of the skeleton ({what}); \
                     remove it if it is not needed",
                    container.display()
                );
            }
            false
        }
        Some(there) => bail!("container {}: {} exists", container.display(), file::kind(&there)),
    };
    let record = new_file(&host.root().host_path(&layout.origin(jail)), origin::record(&[&origin]))?;
    Ok(NewContainer::Copy { skeleton, kept, container: is_new.then_some(container), record })
}

fn look_at_dataset(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    release: &Release,
    top: &Dataset,
    rows: &[DatasetProperties],
    mount_points: &[MountPoint],
) -> Result<NewContainer> {
    let container = host.root().host_path(&layout.container(jail));
    let skeleton = Layout::skeleton_dataset(top, release)?;
    let snapshot = match newest_snapshot(release, &skeleton, rows) {
        Ok(snapshot) => snapshot,
        Err(e) => {
            template::check_has_snapshots(host, layout, &skeleton)?;
            return Err(e);
        }
    };
    let dataset = Layout::container_dataset(top, jail)?;
    let Some(found) = zfs::find(rows, dataset.as_str()) else {
        check_free(host, layout, top, &dataset, &container, rows)?;
        return Ok(NewContainer::Clone(CloneContainer {
            snapshot,
            container: dataset,
            jail: jail.clone(),
            properties: Vec::new(),
            mountpoint: container,
        }));
    };
    let (origin, owner) = (found.get("origin"), found.get(OWNER_PROPERTY));
    if owner != jail.as_str() {
        let whose = if owner.is_empty() {
            "belongs to no known jail".into()
        } else {
            format!("belongs to jail {owner}")
        };
        bail!(
            "dataset {dataset} already exists and {whose}; zfs get {},origin {dataset} shows more",
            OWNER_PROPERTY
        );
    }
    if zfs::find(rows, &dataset.snapshot(COPY_SNAPSHOT)).is_some() {
        bail!(
            "dataset {dataset} is an unfinished copy of another jail; run the same jail-clone --from again, or \
             {}",
            DestroyCopy { container: dataset.clone(), jail: jail.clone() }.shell().replace('\n', "; ")
        );
    }
    if origin != snapshot {
        let origin = if origin.is_empty() { "nothing" } else { origin };
        bail!(
            "dataset {dataset} already exists, but is a clone of {origin}, not of {snapshot}; \
             zfs destroy it if it is not needed"
        );
    }
    if !found.is_mounted() {
        return Ok(NewContainer::Mount(MountContainer {
            snapshot,
            container: dataset,
            mountpoint: container,
            mount_points: mount_points.to_vec(),
        }));
    }
    zfs::check_mounted(host, &dataset, &container).context("left by an earlier run")?;
    check_pristine(host, &snapshot, &dataset, &container, mount_points)?;
    Ok(NewContainer::Present)
}

/// The first difference between the skeleton and its copy, other than empty mount
/// points.
fn difference(skeleton: &Path, container: &Path, mount_points: &[MountPoint]) -> Result<Option<String>> {
    let parents: Vec<&Path> = mount_points.iter().filter_map(|point| point.path.parent()).collect();
    let (mut first, mut failed) = (None, Ok(()));
    tree::compare(skeleton, container, &mut |found| {
        let expected = match found.what {
            Aspect::OnlySecond => only_mount_points(container, &found.path, mount_points),
            _ => Ok(found.is_directory_time() && parents.contains(&found.path.as_path())),
        };
        match expected {
            Ok(true) => return ControlFlow::Continue(()),
            Ok(false) => first = Some(found.to_string()),
            Err(e) => failed = Err(e),
        }
        ControlFlow::Break(())
    })?;
    failed.map(|()| first)
}

/// Whether something in the container is a mount point, with no more below it than
/// further ones.
fn only_mount_points(container: &Path, path: &Path, mount_points: &[MountPoint]) -> Result<bool> {
    let Some(point) = mount_points.iter().find(|point| point.path == path) else { return Ok(false) };
    if !point.is_made(container)? {
        return Ok(false);
    }
    if point.is_directory {
        for entry in fs_err::read_dir(container.join(path))? {
            if !only_mount_points(container, &path.join(entry?.file_name()), mount_points)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Fails unless a clone can be made and mounted at the place of the container.
pub(super) fn check_free(
    host: &Host,
    layout: &Layout,
    top: &Dataset,
    dataset: &Dataset,
    container: &Path,
    rows: &[DatasetProperties],
) -> Result<()> {
    let parent = top.child("containers")?;
    match zfs::find(rows, parent.as_str()) {
        None => bail!("{parent} does not exist; zfs create {parent}"),
        // A clone would not be mounted either.
        Some(found) if !found.is_mounted() => {
            zfs::check_mounted(host, &parent, &host.root().host_path(&layout.containers()))?;
        }
        Some(_) => {}
    }
    let Some(there) = file::look(container)? else { return Ok(()) };
    let empty = there.is_dir() && fs_err::read_dir(container)?.next().is_none();
    if !empty {
        bail!(
            "container {}: {} exists, but there is no dataset {dataset}",
            container.display(),
            file::kind(&there)
        );
    }
    Ok(())
}

/// The snapshot of the skeleton that the jail is to be a clone of.
fn newest_snapshot(release: &Release, skeleton: &Dataset, rows: &[DatasetProperties]) -> Result<String> {
    if zfs::find(rows, skeleton.as_str()).is_none() {
        bail!("{skeleton}: dataset does not exist");
    }
    let of_skeleton =
        |name: &str| name.strip_prefix(skeleton.as_str()).is_some_and(|rest| rest.starts_with('@'));
    let mut snapshots: Vec<&DatasetProperties> = rows.iter().filter(|row| of_skeleton(&row.name)).collect();
    snapshots.sort_by_key(|row| row.get("createtxg").parse::<u64>().ok());
    template::newest_of(snapshots.into_iter().map(|row| row.name.clone()).collect(), release, skeleton)
}
