//! The jail that `--from` names: what of it the new jail gets.

use super::{JailClone, container};
use crate::domain::configured::JailConfigs;
use crate::domain::container::{
    COPY_SNAPSHOT, CopyContainer, DestroyCopy, OWNER_PROPERTY, check_has_no_children, own_properties,
};
use crate::domain::fstab::{self, MountPoint};
use crate::domain::identity::{self, RemoveIdentity};
use crate::domain::layout::{Layout, Storage};
use crate::domain::new_jail::{InheritedBlock, new_file};
use crate::domain::origin;
use crate::domain::template;
use crate::system::file::{self, WriteFile};
use crate::system::host::Host;
use crate::system::plan::Plan;
use crate::system::tree::{self, Aspect, CopyTree, Difference};
use crate::system::zfs::{self, Dataset, DatasetProperties, DestroyIfPresent, TakeSnapshots};
use crate::types::jail_name::JailName;
use crate::types::mount::ExtraMount;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// A jail that is copied.
pub(super) struct Source {
    /// Its name.
    pub(super) jail: JailName,
    /// The release whose base it mounts.
    pub(super) release: Release,
    /// Its container, a real path.
    pub(super) container: PathBuf,
    /// What it mounts besides base and container.
    mounts: Vec<ExtraMount>,
    /// What of its block the new one has as well.
    pub(super) inherited: InheritedBlock,
    /// What is not copied, or is shared.
    pub(super) notes: Vec<String>,
}

impl Source {
    /// Looks at the jail.
    pub(super) fn look(
        host: &Host,
        layout: &Layout,
        configs: &JailConfigs,
        jail: &JailName,
    ) -> Result<Source> {
        let Some(resources) = configs.jails().iter().find(|c| c.jail == jail.as_str()) else {
            bail!("jail {jail} does not exist: no configuration");
        };
        let (release, mounts) = fstab::of_jail(host, layout, jail)?;
        let mut source = Source {
            jail: jail.clone(),
            release,
            container: host.root().host_path(&layout.container(jail)),
            mounts: Vec::new(),
            inherited: InheritedBlock::default(),
            notes: Vec::new(),
        };
        if *layout.storage() == Storage::Directory && host.kernel()?.running_jail(jail.as_str())?.is_some() {
            bail!(
                "jail {jail} is running, and without ZFS a copy would not be consistent; service jail stop {jail}"
            );
        }
        source.look_at_mounts(layout, mounts);
        let text = fs_err::read(host.root().host_path(&resources.file))?;
        let block = configs.block(jail.as_str()).and_then(|range| text.get(range));
        let block = block.with_context(|| format!("{}: changed", resources.file.display()))?;
        let mut own = vec![jail.to_string()];
        own.extend(configs.own_addresses(resources).map(|address| address.to_string()));
        own.extend(resources.pairs.iter().flat_map(|pair| ["", "a", "b"].map(|end| format!("{pair}{end}"))));
        source.inherited = InheritedBlock::parse(block, jail.as_str(), &own).context("jail.conf")?;
        for (word, statement) in &source.inherited.own {
            let statement = statement.trim_end_matches(';');
            source.notes.push(format!(
                "warning: this statement of jail {jail} is not copied, because {word} is in it: {statement}"
            ));
        }
        Ok(source)
    }

    /// What takes the files that identify the jail out of a copy.
    pub(super) fn identity(&self, copy: &Path, is_kept: bool) -> Result<Option<RemoveIdentity>> {
        if is_kept {
            return Ok(None);
        }
        let expected = identity::found(&self.container)?;
        Ok(Some(RemoveIdentity { container: copy.to_owned(), expected }))
    }

    /// The command line with what it leaves to the source.
    pub(super) fn complete(&self, arguments: &JailClone) -> Result<JailClone> {
        let mut all = arguments.clone();
        all.release = Some(self.release.clone());
        if all.bridge.is_none() {
            all.bridge =
                self.inherited.bridge.as_ref().map(|bridge| bridge.parse()).transpose().context("$bridge")?;
        }
        if all.gateways.is_empty() {
            all.gateways = self
                .inherited
                .gateways
                .iter()
                .map(|g| g.parse())
                .collect::<Result<_, _>>()
                .context("$gateway")?;
        }
        all.dhcp |= self.inherited.gets[0] && all.v4.is_none();
        all.slaac |= self.inherited.gets[1] && all.v6.is_none();
        let mounts = self.mounts.iter().filter(|m| !all.mounts.iter().any(|given| given.target == m.target));
        all.mounts = mounts.cloned().chain(arguments.mounts.iter().cloned()).collect();
        Ok(all)
    }

    /// Its further mounts. One that leads into the source would tie the copy to it.
    fn look_at_mounts(&mut self, layout: &Layout, mounts: Vec<ExtraMount>) {
        let own = [layout.path(&self.jail), layout.container(&self.jail)];
        for mount in mounts {
            let (source, target) = (mount.source.display(), mount.target.display());
            if mount.kind == "nullfs" && own.iter().any(|tree| mount.source.starts_with(tree)) {
                self.notes.push(format!(
                    "warning: the mount on {target} is not copied: its source {source} belongs to jail {}",
                    self.jail
                ));
                continue;
            }
            if mount.kind == "nullfs" && !mount.options.iter().any(|option| option == "ro") {
                self.notes
                    .push(format!("warning: {source} is mounted read-write in both jails, on {target}"));
            }
            self.mounts.push(mount);
        }
    }
}

/// The container of the new jail, as it is found and as it is to be made.
pub(super) enum NewCopy {
    /// A copy of the directory.
    Directory {
        from: PathBuf,
        /// Where, if it does not exist yet.
        container: PathBuf,
        is_new: bool,
        /// The file that records its origin, if it does not exist yet.
        record: Option<WriteFile>,
    },
    /// A clone of the same origin.
    Dataset {
        /// Whether a killed run left a snapshot of the source.
        has_snapshot: bool,
        /// What a killed run left of the copy.
        unfinished: Option<DestroyCopy>,
        copy: CopyContainer,
    },
}

impl NewCopy {
    /// The steps that make it, without what is left to remove afterwards.
    pub(super) fn steps(self, identity: Option<RemoveIdentity>) -> Plan {
        let mut plan = Plan::default();
        match self {
            NewCopy::Directory { from, container, is_new, record } => {
                if is_new {
                    plan.push(CopyTree { from, to: container });
                }
                record.into_iter().for_each(|record| plan.push(record));
            }
            NewCopy::Dataset { has_snapshot, unfinished, copy } => {
                unfinished.into_iter().for_each(|copy| plan.push(copy));
                let name = copy.source.snapshot(COPY_SNAPSHOT);
                if has_snapshot {
                    plan.push(DestroyIfPresent { name: name.clone() });
                }
                plan.push(TakeSnapshots::one(name.clone()));
                plan.push(copy);
                plan.push(DestroyIfPresent { name });
            }
        }
        identity.into_iter().for_each(|remove| plan.push(remove));
        plan
    }

    /// The snapshot that has to go when the jail exists.
    pub(super) fn last_step(&self) -> Option<DestroyIfPresent> {
        match self {
            NewCopy::Dataset { copy, .. } => {
                Some(DestroyIfPresent { name: copy.container.snapshot(COPY_SNAPSHOT) })
            }
            NewCopy::Directory { .. } => None,
        }
    }
}

/// Looks at the place of the container.
pub(super) fn look(
    host: &Host,
    layout: &Layout,
    source: &Source,
    jail: &JailName,
    rows: &[DatasetProperties],
    mount_points: &[MountPoint],
) -> Result<NewCopy> {
    match layout.storage() {
        Storage::Directory => look_at_directory(host, layout, source, jail, mount_points),
        Storage::Zfs(top) => look_at_dataset(host, layout, source, jail, top, rows),
    }
}

fn look_at_directory(
    host: &Host,
    layout: &Layout,
    source: &Source,
    jail: &JailName,
    mount_points: &[MountPoint],
) -> Result<NewCopy> {
    let container = host.root().host_path(&layout.container(jail));
    let is_new = match file::look(&container)? {
        None => {
            file::check_writable_parent(&container)?;
            true
        }
        Some(there) if there.is_dir() => {
            if let Some(what) = difference(&source.container, &container, mount_points)? {
                bail!(
                    "container {} already exists and is not a copy of that of jail {} ({what}); \
                     remove it if it is not needed",
                    container.display(),
                    source.jail
                );
            }
            false
        }
        Some(there) => bail!("container {}: {} exists", container.display(), file::kind(&there)),
    };
    let record = match origin::of_jail(host, layout, &source.jail)? {
        Some(origin) => new_file(&host.root().host_path(&layout.origin(jail)), origin::record(&[&origin]))?,
        None => None,
    };
    Ok(NewCopy::Directory { from: source.container.clone(), container, is_new, record })
}

/// The first difference between the source and its copy, other than what the copy
/// does not keep and empty mount points.
fn difference(source: &Path, container: &Path, mount_points: &[MountPoint]) -> Result<Option<String>> {
    let of_mount_point = |path: &Path| mount_points.iter().any(|point| point.path == path);
    let has_changed = |found: &Difference| match found.what {
        Aspect::OnlyFirst => !identity::is_identity(&found.path),
        Aspect::OnlySecond => !of_mount_point(&found.path),
        Aspect::HardLinks => !identity::is_identity(&found.path),
        _ => {
            let of_point = mount_points.iter().any(|point| point.path.parent() == Some(&found.path));
            !(found.is_directory_time() && (identity::is_parent(&found.path) || of_point))
        }
    };
    let mut first = None;
    tree::compare(source, container, &mut |found| {
        if has_changed(&found) {
            first = Some(found.to_string());
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(first)
}

fn look_at_dataset(
    host: &Host,
    layout: &Layout,
    source: &Source,
    jail: &JailName,
    top: &Dataset,
    rows: &[DatasetProperties],
) -> Result<NewCopy> {
    let (from, to) = (Layout::container_dataset(top, &source.jail)?, Layout::container_dataset(top, jail)?);
    zfs::check_mounted(host, &from, &source.container)?;
    // What is below it would be missing in the copy.
    check_has_no_children(host, &from)?;
    let found = zfs::query_one(host.tools(), from.as_str(), &["origin", OWNER_PROPERTY])?;
    let found = found.with_context(|| format!("{from}: dataset does not exist"))?;
    let origin = found.get("origin");
    template::check_not_promoted(host, layout, &from, origin)?;
    let unfinished = match zfs::find(rows, to.as_str()) {
        None => {
            container::check_free(
                host,
                layout,
                top,
                &to,
                &host.root().host_path(&layout.container(jail)),
                rows,
            )?;
            None
        }
        Some(found) => {
            let owner = found.get(OWNER_PROPERTY);
            let is_unfinished = zfs::find(rows, &to.snapshot(COPY_SNAPSHOT)).is_some();
            let extra = rows.iter().find(|row| {
                row.name.strip_prefix(to.as_str()).is_some_and(|rest| rest.starts_with(['/', '@']))
                    && row.name != to.snapshot(COPY_SNAPSHOT)
            });
            if owner != jail.as_str() || !is_unfinished || extra.is_some() {
                bail!(
                    "dataset {to} already exists; zfs get {OWNER_PROPERTY},origin {to} shows more, zfs destroy \
                     it if it is not needed"
                );
            }
            Some(DestroyCopy { container: to.clone(), jail: jail.clone() })
        }
    };
    let has_snapshot = zfs::exists(host.tools(), &from.snapshot(COPY_SNAPSHOT))?;
    let copy = CopyContainer {
        source: from.clone(),
        origin: Some(origin.to_owned()).filter(|origin| !origin.is_empty()),
        container: to,
        jail: jail.clone(),
        properties: own_properties(host, &from)?,
        mountpoint: host.root().host_path(&layout.container(jail)),
    };
    Ok(NewCopy::Dataset { has_snapshot, unfinished, copy })
}
