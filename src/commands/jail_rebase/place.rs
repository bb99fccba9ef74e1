//! Where the trees of a jail that is being moved are.

use crate::domain::container::{OWNER_PROPERTY, own_snapshots};
use crate::domain::layout::{KEPT, Layout, Storage, WORK};
use crate::domain::origin;
use crate::domain::template;
use crate::system::file;
use crate::system::host::Host;
use crate::system::plan::{CommitPoint, Plan};
use crate::system::tree::RemoveTree;
use crate::system::zfs::{self, Dataset};
use crate::types::jail_name::JailName;
use crate::types::origin::Origin;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// A container: the jail's, the one that is being built, or the one kept.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its name among the containers.
    pub name: String,
    /// Its tree, a real path.
    pub path: PathBuf,
    /// Its dataset, with ZFS.
    pub dataset: Option<Dataset>,
}

impl Container {
    fn named(host: &Host, layout: &Layout, name: String) -> Result<Container> {
        let dataset = match layout.storage() {
            Storage::Directory => None,
            Storage::Zfs(top) => {
                let child = top.child(&format!("containers/{name}"));
                Some(child.with_context(|| format!("{name}: the name of its dataset would be too long"))?)
            }
        };
        let path = host.root().host_path(&layout.containers().join(&name));
        Ok(Container { name, path, dataset })
    }

    /// Whether it is there.
    pub fn exists(&self, host: &Host) -> Result<bool> {
        match &self.dataset {
            Some(dataset) => zfs::exists(host.tools(), dataset.as_str()),
            None => Ok(file::look(&self.path)?.is_some()),
        }
    }

    /// Fails unless it is the jail's and a clone of a skeleton.
    pub fn check(&self, host: &Host, layout: &Layout, jail: &JailName) -> Result<()> {
        let Some(dataset) = &self.dataset else {
            return match file::look(&self.path)? {
                Some(there) if !there.is_dir() => {
                    bail!("{}: {}, not a directory", self.path.display(), file::kind(&there))
                }
                _ => Ok(()),
            };
        };
        let asked = ["origin", OWNER_PROPERTY];
        let Some(found) = zfs::query_one(host.tools(), dataset.as_str(), &asked)? else { return Ok(()) };
        let (origin, owner) = (found.get("origin"), found.get(OWNER_PROPERTY));
        if owner != jail.as_str() {
            let whose = if owner.is_empty() {
                format!("has no {OWNER_PROPERTY} property")
            } else {
                format!("belongs to jail {owner}")
            };
            bail!(
                "dataset {dataset} {whose}; if it is the container of jail {jail}: zfs set {}={jail} {dataset}",
                OWNER_PROPERTY
            );
        }
        if origin::of_snapshot(layout, origin).is_none() {
            template::check_not_promoted(host, layout, dataset, origin)?;
            let origin = if origin.is_empty() { "nothing" } else { origin };
            bail!("dataset {dataset} is a clone of {origin}, not of a skeleton: its release is unknown");
        }
        Ok(())
    }

    /// Plans to rename it, which keeps it mounted.
    pub fn rename(&self, to: &Container, plan: &mut Plan) {
        self.plan_rename(to, [true; 2], plan);
    }

    /// Plans to rename it on its way to being destroyed; `mounted` is whether it
    /// is mounted now.
    pub fn set_aside(&self, to: &Container, mounted: bool, plan: &mut Plan) {
        self.plan_rename(to, [mounted, false], plan);
    }

    fn plan_rename(&self, to: &Container, [before, afterwards]: [bool; 2], plan: &mut Plan) {
        let to_path = to.path.clone();
        // If a container cannot be given its name back, the other one and the
        // record stay as well: then the same command finishes the move.
        match (&self.dataset, &to.dataset) {
            (Some(from), Some(to)) => plan.push(CommitPoint(zfs::RenameDataset {
                from: from.clone(),
                from_mountpoint: before.then(|| self.path.clone()),
                to: to.clone(),
                to_mountpoint: afterwards.then_some(to_path),
            })),
            _ => plan.push(CommitPoint(file::RenameFile { from: self.path.clone(), to: to_path })),
        }
    }

    /// Whether it is mounted, or a directory.
    pub fn is_mounted(&self, host: &Host) -> Result<bool> {
        let Some(dataset) = &self.dataset else { return Ok(true) };
        let found = zfs::query_one(host.tools(), dataset.as_str(), &["mounted"])?;
        Ok(found.is_some_and(|found| found.is_mounted()))
    }

    /// Plans its end: snapshots that were taken of it go with it.
    pub fn destroy(&self, host: &Host, plan: &mut Plan) -> Result<usize> {
        let snapshots = match &self.dataset {
            Some(dataset) => own_snapshots(host, dataset)?,
            None => Vec::new(),
        };
        for snapshot in &snapshots {
            plan.push(zfs::DestroyDataset { name: snapshot.clone() });
        }
        self.destroy_alone(plan);
        Ok(snapshots.len())
    }

    /// Plans its end, if it has no snapshots.
    pub fn destroy_alone(&self, plan: &mut Plan) {
        match &self.dataset {
            // Never with -r, never with -R.
            Some(dataset) => plan.push(zfs::DestroyDataset { name: dataset.to_string() }),
            None => plan.push(RemoveTree { path: self.path.clone() }),
        }
    }
}

/// All of them.
pub struct Places {
    /// The jail's.
    pub jail: Container,
    /// Where the new one is built.
    pub work: Container,
    /// The former one, and the release that the jail was moved to.
    pub kept: Option<(Container, Release)>,
    /// Trees that a killed run left half made or half removed.
    pub leftovers: Vec<PathBuf>,
    /// Where directory storage notes what they are clones of.
    pub record: PathBuf,
}

impl Places {
    /// Looks what is there.
    pub fn find(host: &Host, layout: &Layout, jail: &JailName) -> Result<Places> {
        let named = |name| Container::named(host, layout, name);
        let mut kept = None;
        for name in layout.containers_of(host, jail)? {
            let Some(release) = name.strip_prefix(jail.as_str()).and_then(|n| n.strip_prefix(KEPT)) else {
                continue;
            };
            let Ok(release) = release.parse::<Release>() else { continue };
            if let Some((other, _)) = kept.replace((named(name.clone())?, release)) {
                bail!("both {} and {name} exist; remove the one that is not needed", other.name);
            }
        }
        let places = Places {
            jail: named(jail.to_string())?,
            work: named(format!("{jail}{WORK}"))?,
            kept,
            leftovers: layout.partial_trees(host, jail)?,
            record: host.root().host_path(&layout.origin(jail)),
        };
        for container in [Some(&places.jail), Some(&places.work), places.kept.as_ref().map(|(k, _)| k)] {
            container.map_or(Ok(()), |container| container.check(host, layout, jail))?;
        }
        Ok(places)
    }

    /// Where the jail's container is kept when it is moved to a release.
    pub fn keep(&self, host: &Host, layout: &Layout, release: &Release) -> Result<Container> {
        Container::named(host, layout, format!("{}{KEPT}{release}", self.jail.name))
    }

    /// What the container is a clone of.
    pub fn origin(
        &self,
        host: &Host,
        layout: &Layout,
        container: &Container,
        now: &Release,
    ) -> Result<Origin> {
        if let Some(dataset) = &container.dataset {
            let found = zfs::query_one(host.tools(), dataset.as_str(), &["origin"])?;
            let origin = found.and_then(|found| origin::of_snapshot(layout, found.get("origin")));
            return origin.with_context(|| format!("dataset {dataset}: what it is a clone of is unknown"));
        }
        let is_later = container.name == self.jail.name && self.kept.is_some();
        if let Some(origin) = origin::recorded(&self.record, is_later)? {
            return Ok(origin);
        }
        // Made before such notes were taken.
        let (skeleton, _) = origin::of_skeleton(host, layout, now)?;
        let first = Origin { snapshot: crate::domain::layout::BASE_SNAPSHOT.into(), ..skeleton.clone() };
        let there = file::look(&host.root().host_path(&layout.copy(&first)))?.is_some();
        Ok(if there { first } else { skeleton })
    }

    /// Fails while a move is half done.
    pub fn check_whole(&self, host: &Host) -> Result<()> {
        let name = &self.jail.name;
        match &self.kept {
            Some((_, release)) if !self.jail.exists(host)? => bail!(
                "jail {name}: its move was interrupted; jail-rebase {name} {release} completes it, \
                 jail-rebase --revert {name} undoes it"
            ),
            _ => Ok(()),
        }
    }
}
