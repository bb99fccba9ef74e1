//! The jail that `--from` names: what of it the new jail gets.

use super::{JailClone, container};
use crate::domain::configured::{JailConfigs, JailResources};
use crate::domain::container::{
    COPY_SNAPSHOT, CopyContainer, DestroyCopy, OWNER_PROPERTY, check_has_no_children, own_properties,
};
use crate::domain::fstab::MountPoint;
use crate::domain::identity::{self, RemoveIdentity};
use crate::domain::layout::{Layout, SKELETON, Storage};
use crate::domain::new_jail::new_file;
use crate::domain::origin;
use crate::domain::template;
use crate::formats::fstab;
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
    /// Statements of its block that the new one has as well.
    pub(super) statements: Vec<String>,
    /// What is not copied, or is shared.
    pub(super) notes: Vec<String>,
    /// What its block says of the network, as options say it.
    bridge: Option<String>,
    gateways: Vec<String>,
    gets: [bool; 2],
}

/// What jail-clone(8) writes itself, from options.
const CHOSEN: [&str; 7] = ["$id", "$ip", "$ip6", "$bridge", "$gateway", "$gateway6", "vnet.interface"];

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
        let mut source = Source {
            jail: jail.clone(),
            release: release_of(host, layout, jail)?,
            container: host.root().host_path(&layout.container(jail)),
            mounts: Vec::new(),
            statements: Vec::new(),
            notes: Vec::new(),
            bridge: None,
            gateways: Vec::new(),
            gets: [false; 2],
        };
        if *layout.storage() == Storage::Directory && host.kernel()?.running_jail(jail.as_str())?.is_some() {
            bail!(
                "jail {jail} is running, and without ZFS a copy would not be consistent; service jail stop {jail}"
            );
        }
        source.look_at_mounts(host, layout)?;
        let text = fs_err::read(host.root().host_path(&resources.file))?;
        source.look_at_block(configs, resources, &text)?;
        let own = |name: &str, value: &Option<String>| value.clone().filter(|_| source.sets(configs, name));
        let gateways = ["gateway", "gateway6"].into_iter().zip(&resources.gateways);
        let gateways: Vec<String> = gateways
            .filter_map(|(name, value)| own(&format!("${name}"), &value.map(|g| g.to_string())))
            .collect();
        let bridge = own("$bridge", &resources.bridge);
        (source.bridge, source.gateways) = (bridge, gateways);
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

    /// Whether its own block sets a parameter.
    fn sets(&self, configs: &JailConfigs, name: &str) -> bool {
        let jail = configs.config().jail(self.jail.as_str());
        jail.is_some_and(|jail| jail.own_statements().any(|(own, _)| own == name))
    }

    /// The command line with what it leaves to the source.
    pub(super) fn complete(&self, arguments: &JailClone) -> Result<JailClone> {
        let mut all = arguments.clone();
        all.release = Some(self.release.clone());
        if all.bridge.is_none() {
            all.bridge = self.bridge.as_ref().map(|bridge| bridge.parse()).transpose().context("$bridge")?;
        }
        if all.gateways.is_empty() {
            all.gateways =
                self.gateways.iter().map(|g| g.parse()).collect::<Result<_, _>>().context("$gateway")?;
        }
        all.dhcp |= self.gets[0] && all.v4.is_none();
        all.slaac |= self.gets[1] && all.v6.is_none();
        let mounts = self.mounts.iter().filter(|m| !all.mounts.iter().any(|given| given.target == m.target));
        all.mounts = mounts.cloned().chain(arguments.mounts.iter().cloned()).collect();
        Ok(all)
    }

    /// Its further mounts. One that leads into the source would tie the copy to it.
    fn look_at_mounts(&mut self, host: &Host, layout: &Layout) -> Result<()> {
        let (file, path) = (layout.fstab(&self.jail), layout.path(&self.jail));
        let text = fs_err::read(host.root().host_path(&file))?;
        let (entries, problems) = fstab::parse(&text);
        if let Some(problem) = problems.first() {
            bail!("{}: {problem}", file.display());
        }
        for (line, entry) in entries.into_iter().skip(2) {
            let Ok(target) = entry.target.strip_prefix(&path) else {
                bail!(
                    "{}: line {line}: {} is outside the jail's path",
                    file.display(),
                    entry.target.display()
                );
            };
            let target = Path::new("/").join(target);
            let own = [path.clone(), layout.container(&self.jail)];
            if entry.kind == "nullfs" && own.iter().any(|tree| entry.source.starts_with(tree)) {
                self.notes.push(format!(
                    "warning: the mount on {} is not copied: its source {} belongs to jail {}",
                    target.display(),
                    entry.source.display(),
                    self.jail
                ));
                continue;
            }
            if entry.kind == "nullfs" && !entry.options.iter().any(|option| option == "ro") {
                self.notes.push(format!(
                    "warning: {} is mounted read-write in both jails, on {}",
                    entry.source.display(),
                    target.display()
                ));
            }
            self.mounts.push(ExtraMount {
                source: entry.source,
                target,
                kind: entry.kind,
                options: entry.options,
            });
        }
        Ok(())
    }

    /// The statements of its block. Those that name the jail would be wrong in the copy.
    fn look_at_block(&mut self, configs: &JailConfigs, resources: &JailResources, text: &[u8]) -> Result<()> {
        let Some(block) = configs.config().jail(self.jail.as_str()) else { return Ok(()) };
        let all: Vec<(String, String)> = block
            .own_statements()
            .map(|(name, range)| {
                let statement =
                    text.get(range).with_context(|| format!("{}: changed", block.file().display()))?;
                Ok((name, String::from_utf8(statement.to_vec())?))
            })
            .collect::<Result<_>>()?;
        let of_start = || all.iter().filter(|(name, _)| name == "exec.start").map(|(_, text)| text);
        self.gets = ["SYNCDHCP", "accept_rtadv"].map(|word| of_start().any(|text| text.contains(word)));
        let gets = self.gets.contains(&true);
        let mut own = vec![self.jail.to_string()];
        own.extend(configs.own_addresses(resources).map(|address| address.to_string()));
        own.extend(resources.pairs.iter().flat_map(|pair| ["", "a", "b"].map(|end| format!("{pair}{end}"))));
        for (name, text) in all {
            if CHOSEN.contains(&name.as_str())
                || gets && ["exec.start", "devfs_ruleset"].contains(&name.as_str())
            {
                continue;
            }
            if let Some(own) = own.iter().find(|own| names(&text, own)) {
                let jail = &self.jail;
                self.notes.push(format!(
                    "warning: this statement of jail {jail} is not copied, because {own} is in it: {text}"
                ));
                continue;
            }
            self.statements.push(text);
        }
        Ok(())
    }
}

/// Whether a text has the name as a word of its own.
fn names(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part))
}

/// The release whose base a jail mounts.
fn release_of(host: &Host, layout: &Layout, jail: &JailName) -> Result<Release> {
    let file = layout.fstab(jail);
    let text = fs_err::read(host.root().host_path(&file))?;
    let (entries, _) = fstab::parse(&text);
    let second = |e: &fstab::FstabEntry| {
        e.source == layout.container(jail) && e.target == layout.path(jail).join(SKELETON)
    };
    if !entries.get(1).is_some_and(|(_, entry)| second(entry)) {
        bail!("{}: the second line does not mount the container of jail {jail}", file.display());
    }
    let base = entries.first().and_then(|(_, first)| layout.release_of(&first.source));
    base.with_context(|| format!("{}: the first line does not mount the base of a release", file.display()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_words() {
        for (text, expected) in [
            ("host.hostname = \"web.example.org\";", true),
            ("depend = db, web;", true),
            ("host.hostname = \"webmail\";", false),
            ("allow.web_x;", false),
            ("exec.start = \"/web/start\";", true),
            ("x = \"my-web\";", false),
        ] {
            assert_eq!(names(text, "web"), expected, "{text}");
        }
    }
}
