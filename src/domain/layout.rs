//! The layout: every path and every dataset name, derived in this one place.
//!
//! Paths are those the jails' host sees; where they really lie below an
//! alternate root is [`crate::system::root::Root::host_path`]'s business.

use crate::domain::settings::{FILE, Settings};
use crate::system::file;
use crate::system::host::Host;
use crate::system::tool::ToolError;
use crate::system::zfs::{self, Dataset, DatasetProperties};
use crate::types::jail_name::JailName;
use crate::types::origin::Origin;
use crate::types::release::Release;
use crate::types::sibling_name;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The directories of the base that a skeleton holds; in the base they are
/// links into `skeleton/`.
pub const MOVED: [&str; 6] = ["etc", "var", "root", "tmp", "home", "usr/local"];

/// The name of the skeleton's mount point in the base.
pub const SKELETON: &str = "skeleton";

/// The snapshot of a skeleton that jails are cloned from.
pub const BASE_SNAPSHOT: &str = "base";

/// Behind a jail's name, the container that jail-rebase(8) builds.
pub const WORK: &str = ".rebase";

/// Behind a jail's name and before a release, its container as it was before it
/// was moved to that release.
pub const KEPT: &str = ".before-";

/// What a jail's name is followed by in the name of its path.
pub const PATH_SUFFIX: &str = "-nullfs-base";

/// How the trees are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Datasets below this one; a jail's container is a clone.
    Zfs(Dataset),
    /// Plain directories; a jail's container is a copy.
    Directory,
}

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
    conf_dir: PathBuf,
    storage: Storage,
}

impl Layout {
    /// The layout that the settings describe, on a host where it exists.
    pub fn find(host: &Host, settings: &Settings) -> Result<Layout> {
        Layout::find_with(host, settings, |dataset| {
            let found = zfs::query_one(host.tools(), dataset.as_str(), &["mounted", "mountpoint"])?;
            mountpoint(host, dataset, found.as_ref())
        })
    }

    /// The same, by the properties of some datasets, jail_zfs among them: `mounted`,
    /// `mountpoint` and what else was asked for.
    pub fn from_properties(host: &Host, settings: &Settings, rows: &[DatasetProperties]) -> Result<Layout> {
        Layout::find_with(host, settings, |top| mountpoint(host, top, zfs::find(rows, top.as_str())))
    }

    /// The same; `mountpoint` says where jail_zfs is mounted.
    pub fn find_with(
        host: &Host,
        settings: &Settings,
        mountpoint: impl FnOnce(&Dataset) -> Result<PathBuf>,
    ) -> Result<Layout> {
        let storage = match &settings.jail_zfs {
            Some(dataset) => Storage::Zfs(dataset.clone()),
            None => Storage::Directory,
        };
        let dir = match (&settings.jail_dir, &storage) {
            (Some(dir), _) => dir.clone(),
            (None, Storage::Zfs(dataset)) => mountpoint(dataset)?,
            (None, Storage::Directory) => bail!("neither jail_zfs nor jail_dir is set in {FILE}"),
        };
        let real = host.root().host_path(&dir);
        let resolved = match (real.canonicalize(), &storage) {
            (Ok(resolved), _) => resolved,
            (Err(e), storage) => {
                // A dataset that is not mounted has no files.
                if let Storage::Zfs(top) = storage {
                    zfs::check_mounted(host, top, &real).context("jail_zfs")?;
                }
                return Err(e).with_context(|| format!("jail_dir: {}", dir.display()));
            }
        };
        if resolved != real {
            let name = host.root().strip(&resolved).unwrap_or(resolved);
            bail!("jail_dir: {} contains a symbolic link; set it to {}", dir.display(), name.display());
        }
        Ok(Layout { dir, conf_dir: settings.jail_conf_dir.clone(), storage })
    }

    /// The layout that the settings describe, whether it exists or not; true
    /// when its top has yet to be made.
    pub fn intended(host: &Host, settings: &Settings) -> Result<(Layout, bool)> {
        let there = match (&settings.jail_zfs, &settings.jail_dir) {
            (Some(top), _) => zfs::exists(host.tools(), top.as_str())?,
            (None, Some(dir)) => file::look(&host.root().host_path(dir))?.is_some(),
            (None, None) => true,
        };
        if there {
            return Ok((Layout::find(host, settings)?, false));
        }
        let storage = settings.jail_zfs.clone().map_or(Storage::Directory, Storage::Zfs);
        let dir = match (&settings.jail_dir, &storage) {
            (Some(dir), _) => dir.clone(),
            (None, Storage::Zfs(top)) => below_parent(host, top)?,
            (None, Storage::Directory) => bail!("neither jail_zfs nor jail_dir is set in {FILE}"),
        };
        Ok((Layout::new(&dir, &settings.jail_conf_dir, storage), true))
    }

    /// Where a dataset would be mounted if nothing were said about it.
    /// `None` where it would not be mounted.
    pub fn default_dir(host: &Host, top: &Dataset) -> Result<Option<PathBuf>> {
        match below_parent(host, top) {
            Ok(dir) => Ok(Some(dir)),
            // Not to know is something else.
            Err(e) if e.is::<ToolError>() => Err(e),
            Err(_) => Ok(None),
        }
    }

    /// A layout in a directory, for tests and for what needs no storage.
    pub fn new(dir: &Path, conf_dir: &Path, storage: Storage) -> Layout {
        Layout { dir: dir.to_owned(), conf_dir: conf_dir.to_owned(), storage }
    }

    /// How the trees are kept.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The directory that holds everything.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the archives are.
    pub fn media(&self) -> PathBuf {
        self.dir.join("media")
    }

    /// Where all templates are.
    pub fn templates(&self) -> PathBuf {
        self.dir.join("templates")
    }

    /// What is known of where a base came from, for directory storage.
    pub fn record(&self, release: &Release) -> PathBuf {
        self.dir.join(format!("templates/{release}-base.origin"))
    }

    /// The read-only userland of a release.
    pub fn base(&self, release: &Release) -> PathBuf {
        self.dir.join(format!("templates/{release}-base"))
    }

    /// The release whose base a path is.
    pub fn release_of(&self, base: &Path) -> Option<Release> {
        // As paths: an fstab may have a slash at the end.
        let name = base.strip_prefix(self.templates()).ok()?.to_str()?;
        name.trim_end_matches('/').strip_suffix("-base")?.parse().ok()
    }

    /// The release whose skeleton a dataset is.
    pub fn skeleton_release(&self, dataset: &str) -> Option<Release> {
        let Storage::Zfs(top) = &self.storage else { return None };
        let name = dataset.strip_prefix(top.as_str())?.strip_prefix("/templates/")?;
        name.strip_suffix("-skeleton")?.parse().ok()
    }

    /// The skeleton of a release.
    pub fn skeleton(&self, release: &Release) -> PathBuf {
        self.dir.join(format!("templates/{release}-skeleton"))
    }

    /// Where directory storage keeps a skeleton as it once was.
    pub fn copy(&self, origin: &Origin) -> PathBuf {
        self.dir.join(format!("templates/{origin}"))
    }

    /// Where directory storage notes what a jail's container is a clone of.
    pub fn origin(&self, jail: &JailName) -> PathBuf {
        self.dir.join(format!("containers/{jail}.origin"))
    }

    /// Where all containers are.
    pub fn containers(&self) -> PathBuf {
        self.dir.join("containers")
    }

    /// A jail's container.
    pub fn container(&self, jail: &JailName) -> PathBuf {
        self.dir.join("containers").join(jail.as_str())
    }

    /// The names of a jail's containers: its own, and what jail-rebase(8) builds
    /// and keeps next to it.
    pub fn containers_of(&self, host: &Host, jail: &JailName) -> Result<Vec<String>> {
        if let Storage::Zfs(top) = &self.storage {
            let containers = top.child("containers")?;
            let rows = zfs::query(host.tools(), &[containers.as_str()], 1, &["type"])?;
            return Ok(containers_among(rows.iter().map(|row| row.name.as_str()), &containers, jail));
        }
        let mut names = Vec::new();
        for entry in fs_err::read_dir(host.root().host_path(&self.containers()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let name = entry.file_name().into_string().ok();
                names.extend(name.filter(|name| is_container_of(name, jail)));
            }
        }
        Ok(names)
    }

    /// Trees next to a jail's containers that a killed jail-rebase(8) left half
    /// made or half removed, real paths; ZFS leaves none.
    pub fn partial_trees(&self, host: &Host, jail: &JailName) -> Result<Vec<PathBuf>> {
        let mut partial = Vec::new();
        if self.storage == Storage::Directory {
            for entry in fs_err::read_dir(host.root().host_path(&self.containers()))? {
                let entry = entry?;
                let name = entry.file_name().into_string().unwrap_or_default();
                let rest = name.strip_prefix('.').and_then(|n| n.strip_prefix(jail.as_str()));
                let of_move = rest.is_some_and(|r| r.starts_with(WORK) || r.starts_with(KEPT));
                if of_move && sibling_name::is_temporary(&name) && entry.file_type()?.is_dir() {
                    partial.push(entry.path());
                }
            }
        }
        Ok(partial)
    }

    /// A jail's path: the empty directory its base is mounted on.
    pub fn path(&self, jail: &JailName) -> PathBuf {
        self.dir.join(format!("{jail}{PATH_SUFFIX}"))
    }

    /// A jail's fstab.
    pub fn fstab(&self, jail: &JailName) -> PathBuf {
        self.dir.join(format!("{jail}{PATH_SUFFIX}.fstab"))
    }

    /// A jail's own configuration file.
    pub fn conf(&self, jail: &JailName) -> PathBuf {
        self.conf_dir.join(format!("{jail}.conf"))
    }

    /// The directory of the jails' configuration files.
    pub fn conf_dir(&self) -> &Path {
        &self.conf_dir
    }

    /// The common jail.conf(5).
    pub fn jail_conf(&self) -> &'static Path {
        Path::new("/etc/jail.conf")
    }

    /// The dataset of a base.
    pub fn base_dataset(top: &Dataset, release: &Release) -> Result<Dataset> {
        Ok(top.child(&format!("templates/{release}-base"))?)
    }

    /// The dataset of a skeleton.
    pub fn skeleton_dataset(top: &Dataset, release: &Release) -> Result<Dataset> {
        Ok(top.child(&format!("templates/{release}-skeleton"))?)
    }

    /// The dataset of a container.
    pub fn container_dataset(top: &Dataset, jail: &JailName) -> Result<Dataset> {
        top.child(&format!("containers/{jail}"))
            .with_context(|| format!("jail {jail}: the name of its dataset would be too long"))
    }
}

/// The names of a jail's containers, those that [`Layout::containers_of`] finds,
/// among the names of datasets.
pub fn containers_among<'a>(
    datasets: impl Iterator<Item = &'a str>,
    containers: &Dataset,
    jail: &JailName,
) -> Vec<String> {
    let below = |name: &'a str| name.strip_prefix(containers.as_str())?.strip_prefix('/');
    datasets.filter_map(below).filter(|name| is_container_of(name, jail)).map(str::to_owned).collect()
}

fn is_container_of(name: &str, jail: &JailName) -> bool {
    let Some(rest) = name.strip_prefix(jail.as_str()) else { return false };
    rest.is_empty() || rest == WORK || rest.starts_with(KEPT) && !rest.contains('@')
}

/// Whether a name among the containers is that of what stands next to one: the
/// note of its origin, or what a move to another release builds or keeps.
pub fn is_beside(name: &str) -> bool {
    name.split_once('.').is_some_and(|(jail, rest)| {
        let known = rest == "origin" || rest == &WORK[1..] || rest.starts_with(&KEPT[1..]);
        known && jail.parse::<JailName>().is_ok()
    })
}

/// Where a dataset that does not exist yet would be mounted: below its parent.
fn below_parent(host: &Host, dataset: &Dataset) -> Result<PathBuf> {
    let Some((parent, name)) = dataset.as_str().rsplit_once('/') else {
        bail!("jail_zfs: pool {dataset} does not exist; create it with zpool create");
    };
    let parent: Dataset = parent.parse()?;
    match zfs::query_one(host.tools(), parent.as_str(), &["mounted", "mountpoint"])? {
        None => bail!(
            "jail_zfs: {dataset}: {parent} does not exist either; zfs create {parent}, or correct {FILE}"
        ),
        Some(found) if matches!(found.get("mountpoint"), "none" | "legacy") => {
            bail!(
                "jail_zfs: {dataset} does not exist, and {parent} has no mount point; set jail_dir in {FILE}"
            )
        }
        found => Ok(mountpoint(host, &parent, found.as_ref())?.join(name)),
    }
}

/// Where jail_zfs is mounted, as the jails' host sees it, by its properties
/// `mounted` and `mountpoint`.
pub fn mountpoint(host: &Host, dataset: &Dataset, found: Option<&DatasetProperties>) -> Result<PathBuf> {
    let Some(found) = found else {
        bail!("jail_zfs: {dataset}: dataset does not exist; create it with zfs create, or correct {FILE}");
    };
    let mountpoint = found.get("mountpoint");
    if !found.is_mounted() {
        let place = Path::new("/").join(dataset.as_str());
        zfs::check_mounted(host, dataset, &place).context("jail_zfs")?;
    }
    // A pool below an alternate root shows its mount points with the root.
    match host.root().strip(Path::new(mountpoint)) {
        Some(path) => Ok(path),
        None => bail!("jail_zfs: {dataset} is mounted at {mountpoint}, outside the alternate root"),
    }
}
