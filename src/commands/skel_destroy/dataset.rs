//! A template on ZFS: two datasets, with the proof that they are one.

use super::template_parts::{TemplateParts, UNPACKING, is_linked};
use crate::domain::layout::Layout;
use crate::domain::template::{self, BEFORE_UPDATE, RELEASE_PROPERTY};
use crate::system::host::Host;
use crate::system::plan::{CommitPoint, Plan};
use crate::system::tool::Tool;
use crate::system::zfs::{self, Dataset, DatasetProperties, SetProperty, UnmountDataset};
use crate::types::release::Release;
use anyhow::{Result, bail};
use std::path::PathBuf;

/// A dataset of a template.
struct Part<'r> {
    dataset: Dataset,
    row: &'r DatasetProperties,
    /// Its snapshots, full names, oldest first.
    snapshots: Vec<String>,
}

impl Part<'_> {
    fn is_marked(&self, release: &Release) -> bool {
        self.row.get(RELEASE_PROPERTY) == release.as_str()
    }

    /// What marks it, unless it is marked.
    fn mark(&self, release: &Release, plan: &mut Plan) {
        if !self.is_marked(release) {
            plan.push(SetProperty {
                dataset: self.dataset.clone(),
                property: RELEASE_PROPERTY.to_owned(),
                value: release.to_string(),
            });
        }
    }

    fn shown(&self) -> String {
        match self.snapshots.len() {
            0 => self.dataset.to_string(),
            1 => format!("{} with 1 snapshot", self.dataset),
            n => format!("{} with {n} snapshots", self.dataset),
        }
    }

    /// The steps that destroy it. Never with -r, never with -R.
    fn destroy(self, plan: &mut Plan) {
        for name in self.snapshots.into_iter().chain([self.dataset.to_string()]) {
            plan.push(zfs::DestroyDataset { name });
        }
    }

    fn check_proven(&self, release: &Release, is_proven: bool) -> Result<()> {
        let dataset = &self.dataset;
        match self.row.get(RELEASE_PROPERTY) {
            "" if is_proven => Ok(()),
            "" => bail!(
                "dataset {dataset}: cannot verify that it belongs to template {release}: it has no \
                 {RELEASE_PROPERTY}, and base and skeleton are not linked as skel-split links them; if it \
                 belongs to the template: zfs set {RELEASE_PROPERTY}={release} {dataset}"
            ),
            other if other == release.as_str() => Ok(()),
            other => bail!("dataset {dataset} belongs to template {other} ({RELEASE_PROPERTY}={other})"),
        }
    }
}

/// Looks at the datasets, and fails unless they are the template's and can go.
pub(super) fn look(
    host: &Host,
    layout: &Layout,
    top: &Dataset,
    release: &Release,
    rows: &[DatasetProperties],
    force: bool,
) -> Result<TemplateParts> {
    let part = |dataset: Dataset| part(host, dataset, rows, force);
    let base = part(Layout::base_dataset(top, release)?)?;
    let skeleton = part(Layout::skeleton_dataset(top, release)?)?;
    let destroying = part(template::destroying_dataset(top, release)?)?;
    let unpacking = part(format!("{}.{UNPACKING}", Layout::base_dataset(top, release)?).parse()?)?;
    if let (Some(base), Some(destroying)) = (&base, &destroying) {
        bail!("both {} and {} exist; remove the one that is not needed", base.dataset, destroying.dataset);
    }
    let at = |path: PathBuf| host.root().host_path(&path);
    let (base_place, skeleton_place) = (at(layout.base(release)), at(layout.skeleton(release)));
    if let Some(skeleton) = &skeleton {
        template::check_has_snapshots(host, layout, &skeleton.dataset)?;
    }
    // What an earlier run has begun with is marked, and need not be mounted.
    if destroying.is_none() {
        for (part, place) in [(&base, &base_place), (&skeleton, &skeleton_place)] {
            part.as_ref().map_or(Ok(()), |part| zfs::check_mounted(host, &part.dataset, place))?;
        }
    }
    let is_whole = base.is_some() && template::check(host, layout, release).is_ok();
    let is_base = is_whole || base.as_ref().is_some_and(|base| base.is_marked(release));
    let is_skeleton = is_whole || is_base && is_linked(&base_place)?;
    for (part, is_proven) in
        [(&base, is_base), (&skeleton, is_skeleton), (&destroying, false), (&unpacking, false)]
    {
        part.as_ref().map_or(Ok(()), |part| part.check_proven(release, is_proven))?;
    }
    let mut parts = TemplateParts::default();
    if let Some(base) = base {
        parts.goes("base", &base.shown());
        base.mark(release, &mut parts.plan);
        skeleton.iter().for_each(|skeleton| skeleton.mark(release, &mut parts.plan));
        let to = template::destroying_dataset(top, release)?;
        // What proves it must not go while it has that name.
        parts.plan.push(CommitPoint(zfs::RenameDataset {
            from: base.dataset.clone(),
            from_mountpoint: Some(base_place.clone()),
            to: to.clone(),
            to_mountpoint: Some(template::destroying(&base_place)),
        }));
        let snapshots =
            base.snapshots.iter().map(|full| full.replacen(base.dataset.as_str(), to.as_str(), 1)).collect();
        Part { dataset: to, snapshots, row: base.row }.destroy(&mut parts.last);
    }
    if let Some(skeleton) = skeleton {
        parts.goes("skeleton", &skeleton.shown());
        if skeleton.row.is_mounted() {
            let dataset = skeleton.dataset.clone();
            parts.plan.push(UnmountDataset { dataset, mountpoint: skeleton_place });
        }
        skeleton.destroy(&mut parts.clear);
    }
    if let Some(unpacking) = unpacking {
        parts.goes("leftover", &unpacking.shown());
        unpacking.destroy(&mut parts.clear);
    }
    if let Some(destroying) = destroying {
        parts.goes("base", &destroying.shown());
        destroying.destroy(&mut parts.last);
    }
    Ok(parts)
}

/// A dataset, if it exists; fails if something hangs on it that would not go with
/// it, or must not.
fn part<'r>(
    host: &Host,
    dataset: Dataset,
    rows: &'r [DatasetProperties],
    force: bool,
) -> Result<Option<Part<'r>>> {
    let Some(row) = zfs::find(rows, dataset.as_str()) else { return Ok(None) };
    if row.get("type") != "filesystem" {
        bail!("{dataset} is a {}, not a file system; move it away", row.get("type"));
    }
    // It would stay where it is when it is renamed.
    if let Some(own) = row.all().iter().find(|p| p.name == "mountpoint" && p.is_own()) {
        bail!("dataset {dataset} sets mountpoint={} itself; zfs inherit mountpoint {dataset}", own.value);
    }
    let mut found: Vec<&DatasetProperties> = Vec::new();
    for row in rows {
        match row.name.strip_prefix(dataset.as_str()) {
            Some(below) if below.starts_with('/') => bail!(
                "dataset {} is below {dataset}; zfs rename it to another place, or zfs destroy it if its \
                 data is not needed",
                row.name
            ),
            Some(snapshot) if snapshot.starts_with('@') => found.push(row),
            _ => {}
        }
    }
    found.sort_by_key(|row| row.get("createtxg").parse::<u64>().ok());
    let snapshots: Vec<String> = found.iter().map(|row| row.name.clone()).collect();
    for row in found {
        check_not_held(host, row)?;
    }
    let is_own = |full: &&String| template::is_ours(full) || full.ends_with(&format!("@{BEFORE_UPDATE}"));
    let foreign: Vec<&str> = snapshots.iter().filter(|full| !is_own(full)).map(String::as_str).collect();
    if !foreign.is_empty() && !force {
        bail!("{}: not taken by thinjail; -f destroys these snapshots too", foreign.join(", "));
    }
    Ok(Some(Part { dataset, row, snapshots }))
}

/// Fails if a snapshot is held (zfs-hold(8)): zfs destroy -n does not notice it.
pub(super) fn check_not_held(host: &Host, row: &DatasetProperties) -> Result<()> {
    if matches!(row.get("userrefs"), "" | "0") {
        return Ok(());
    }
    let name = row.name.as_str();
    let printed = host.tools().ask(Tool::Zfs, &["holds", "-H", name])?;
    let tag = printed.stdout.lines().next().and_then(|line| line.split('\t').nth(1)).unwrap_or("TAG");
    bail!("snapshot {name} is held by {tag}; zfs release {tag} {name}")
}
