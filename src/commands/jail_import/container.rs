//! The container of the imported jail.

use super::contents::Contents;
use super::snapshots_of;
use crate::domain::container::{
    COPY_SNAPSHOT, CloneContainer, CloneUnfinished, DestroyCopy, OWNER_PROPERTY, check_pristine,
};
use crate::domain::fstab::MakeMountPoint;
use crate::domain::jail_archive::template_digest;
use crate::domain::layout::{Layout, Storage};
use crate::domain::new_jail::new_file;
use crate::domain::{origin, template};
use crate::formats::jail_manifest::JailManifest;
use crate::formats::shell;
use crate::system::effect;
use crate::system::file::{self, WriteFile};
use crate::system::host::Host;
use crate::system::plan::{Action, Plan, Undo};
use crate::system::tree::{self, CopyTree, RemoveCopy, RemoveTree};
use crate::system::zfs::{self, Dataset, DatasetProperties, DestroyIfPresent};
use crate::types::jail_name::JailName;
use crate::types::origin::Origin;
use crate::types::release::Release;
use crate::types::sibling_name;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// How the container is made.
pub(super) struct NewContainer {
    /// The steps.
    pub(super) plan: Plan,
    /// What remains to be done when the jail exists.
    pub(super) last: Option<DestroyIfPresent>,
}

/// Looks at the place of the container, and for the template that the archive is the
/// difference from.
pub(super) fn look(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    release: &Release,
    manifest: &JailManifest,
    contents: Contents,
    rows: &[DatasetProperties],
) -> Result<NewContainer> {
    match layout.storage() {
        Storage::Directory => look_at_directory(host, layout, jail, release, manifest, contents),
        Storage::Zfs(top) => look_at_dataset(host, layout, jail, (release, top), manifest, contents, rows),
    }
}

/// What is said when no template is the one that the archive is the difference from.
fn no_template<T>(release: &Release, manifest: &JailManifest) -> Result<T> {
    bail!(
        "template {release} has other contents than that of the exporting host, {}; update both to the same patch \
         level with skel-update, or use jail-export --full",
        manifest.version
    )
}

fn look_at_directory(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    release: &Release,
    manifest: &JailManifest,
    contents: Contents,
) -> Result<NewContainer> {
    let at = |path: PathBuf| host.root().host_path(&path);
    let container = at(layout.container(jail));
    match file::look(&container)? {
        None => file::check_writable_parent(&container)?,
        // It is compared with what the archive has.
        Some(there) if there.is_dir() => {}
        Some(there) => bail!("container {}: {} exists", container.display(), file::kind(&there)),
    }
    let skeleton = at(layout.skeleton(release));
    let (newest, is_fresh) = origin::of_skeleton(host, layout, release)?;
    let mut plan = Plan::default();
    let (origin, tree) = match &manifest.template_digest {
        None => (newest.clone(), skeleton.clone()),
        Some(digest) if template_digest(&skeleton)? == *digest => (newest.clone(), skeleton.clone()),
        Some(digest) => match older_copy(host, layout, release, digest)? {
            Some(origin) => (origin.clone(), at(layout.copy(&origin))),
            None => return no_template(release, manifest),
        },
    };
    if origin == newest && is_fresh {
        // What jail-rebase(8) starts from, whatever becomes of the skeleton.
        plan.push(CopyTree { from: skeleton, to: at(layout.copy(&origin)) });
    }
    let record = new_file(&at(layout.origin(jail)), origin::record(&[&origin]))?;
    plan.push(UnpackAside { template: tree, container, contents });
    record.into_iter().for_each(|record: WriteFile| plan.push(record));
    Ok(NewContainer { plan, last: None })
}

/// The copy of a skeleton as it once was that has these contents.
fn older_copy(host: &Host, layout: &Layout, release: &Release, digest: &str) -> Result<Option<Origin>> {
    let templates = host.root().host_path(&layout.templates());
    for entry in fs_err::read_dir(&templates)? {
        let name = entry?.file_name();
        let Some(origin) = name.to_str().and_then(|name| name.parse::<Origin>().ok()) else { continue };
        if origin.release == *release && template_digest(&templates.join(&name))? == digest {
            return Ok(Some(origin));
        }
    }
    Ok(None)
}

/// Makes a tree next to its place, and then puts it there.
struct UnpackAside {
    template: PathBuf,
    container: PathBuf,
    contents: Contents,
}

impl UnpackAside {
    fn make(&self, aside: &Path) -> Result<()> {
        if self.contents.is_difference {
            tree::copy(&self.template, aside)?;
        } else {
            effect::create_dir(aside, 0o700)?;
        }
        self.contents.unpack(aside)?;
        make_mount_points(aside, &self.contents)?;
        tree::store(aside)
    }
}

impl Action for UnpackAside {
    fn shell(&self) -> String {
        let container = shell::quote(&self.container);
        format!("/bin/mkdir {container} && /usr/bin/tar -C {container} --strip-components 1 -xpf -")
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        let aside = sibling_name::temporary(&self.container);
        // What a killed run left.
        tree::remove(&aside)?;
        undo.push(RemoveTree { path: aside.clone() });
        self.make(&aside)?;
        if file::look(&self.container)?.is_some() {
            // A killed run can have been here before.
            if let Some(what) = tree::difference(&aside, &self.container)? {
                bail!(
                    "container {} already exists and is not what the archive has ({what}); remove it if it is not \
                     needed",
                    self.container.display()
                );
            }
            return tree::remove(&aside);
        }
        let parent = self.container.parent().unwrap_or(Path::new("/"));
        tree::rename_tree(&aside, &self.container)?;
        undo.push(RemoveCopy { path: self.container.clone() });
        Ok(effect::fsync(tree::open_directory(parent)?, parent)?)
    }
}

/// Makes the mount points that neither the template nor the archive has.
fn make_mount_points(container: &Path, contents: &Contents) -> Result<()> {
    for point in &contents.mount_points {
        let path = container.join(&point.path);
        if file::look(&path)?.is_none() {
            let make = MakeMountPoint { path, is_directory: point.is_directory };
            make.make().with_context(|| format!("mount target {}", point.target.display()))?;
        }
    }
    Ok(())
}

fn look_at_dataset(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    (release, top): (&Release, &Dataset),
    manifest: &JailManifest,
    contents: Contents,
    rows: &[DatasetProperties],
) -> Result<NewContainer> {
    let skeleton = Layout::skeleton_dataset(top, release)?;
    let container = Layout::container_dataset(top, jail)?;
    let mountpoint = host.root().host_path(&layout.container(jail));
    let mut plan = Plan::default();
    match zfs::find(rows, container.as_str()) {
        None if file::look(&mountpoint)?.is_some_and(|there| {
            !there.is_dir() || fs_err::read_dir(&mountpoint).is_ok_and(|mut all| all.next().is_some())
        }) =>
        {
            bail!("container {}: exists, but there is no dataset {container}", mountpoint.display());
        }
        None => {}
        Some(found) => {
            let is_unfinished = zfs::find(rows, &container.snapshot(COPY_SNAPSHOT)).is_some();
            let own = |row: &&DatasetProperties| {
                row.name.strip_prefix(container.as_str()).is_some_and(|rest| rest.starts_with(['/', '@']))
                    && row.name != container.snapshot(COPY_SNAPSHOT)
            };
            let origin = found.get("origin").to_owned();
            // A killed run can have cloned it, and no more.
            let is_new =
                || found.is_mounted() && check_pristine(host, &origin, &container, &mountpoint, &[]).is_ok();
            let is_ours = found.get(OWNER_PROPERTY) == jail.as_str() && !rows.iter().any(|row| own(&row));
            if !is_ours || !is_unfinished && !is_new() {
                bail!(
                    "dataset {container} already exists; zfs get {OWNER_PROPERTY},origin {container} shows more, \
                     zfs destroy it if it is not needed"
                );
            }
            plan.push(DestroyCopy { container: container.clone(), jail: jail.clone() });
        }
    }
    let newest = template::newest_snapshot(host, release, &skeleton)?;
    let snapshot = match &manifest.template_digest {
        None => newest,
        Some(digest) => match same_snapshot(host, layout, release, (&skeleton, digest), manifest, rows)? {
            Some(snapshot) => snapshot,
            None => return no_template(release, manifest),
        },
    };
    plan.push(CloneUnfinished(CloneContainer {
        snapshot,
        container: container.clone(),
        jail: jail.clone(),
        properties: manifest.properties.iter().filter(|(name, _)| is_harmless(name)).cloned().collect(),
        mountpoint: mountpoint.clone(),
    }));
    let marker = container.snapshot(COPY_SNAPSHOT);
    plan.push(UnpackOver { container: mountpoint, contents });
    Ok(NewContainer { plan, last: Some(DestroyIfPresent { name: marker }) })
}

/// Properties that say how data is kept. Others, such as `mountpoint` and `sharenfs`,
/// would let an archive change this host.
fn is_harmless(name: &str) -> bool {
    const OF_DATA: [&str; 14] = [
        "atime",
        "checksum",
        "compression",
        "copies",
        "logbias",
        "primarycache",
        "quota",
        "recordsize",
        "redundant_metadata",
        "refquota",
        "refreservation",
        "reservation",
        "secondarycache",
        "sync",
    ];
    OF_DATA.contains(&name)
}

/// The snapshot of the skeleton that has the contents of the exporter's: the same one,
/// received, or one of the same release and patch level.
fn same_snapshot(
    host: &Host,
    layout: &Layout,
    release: &Release,
    (skeleton, digest): (&Dataset, &str),
    manifest: &JailManifest,
    rows: &[DatasetProperties],
) -> Result<Option<String>> {
    let guid = manifest.origin_guid.as_deref();
    let mut all: Vec<&DatasetProperties> =
        snapshots_of(rows, skeleton.as_str()).filter(|row| template::is_ours(&row.name)).collect();
    if let Some(same) = all.iter().find(|row| guid.is_some() && guid == Some(row.get("guid"))) {
        return Ok(Some(same.name.clone()));
    }
    // The one of that name first.
    let named = manifest.origin.as_deref().and_then(|origin| origin.split('@').next_back());
    all.sort_by_key(|row| row.name.split('@').next_back() != named);
    for row in all {
        let snapshot = row.name.split('@').next_back().unwrap_or_default().to_owned();
        let tree = origin::tree_of(host, layout, &Origin { release: release.clone(), snapshot })?;
        if template_digest(&tree)? == digest {
            return Ok(Some(row.name.clone()));
        }
    }
    Ok(None)
}

/// Puts the files of the archive into a clone of the template.
struct UnpackOver {
    container: PathBuf,
    contents: Contents,
}

impl Action for UnpackOver {
    fn shell(&self) -> String {
        let container = shell::quote(&self.container);
        format!("/usr/bin/tar -C {container} --strip-components 1 -xpf -")
    }

    // The clone is destroyed as a whole.
    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        if !self.contents.is_difference {
            tree::empty(&self.container)?;
        }
        self.contents.unpack(&self.container)?;
        make_mount_points(&self.container, &self.contents)
    }
}
