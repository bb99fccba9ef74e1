//! The thin jails of a host: everything that is known of them, from every place
//! that knows something.
//!
//! However many jails there are, it takes one zfs(8), one look at the kernel,
//! jail.conf(5), and a few directories. Nothing below a container is looked at:
//! that is the jail's. What cannot be read is unknown and listed in
//! [`Inventory::unread`]; it is not an error, so that any user can list jails.

mod status;

use crate::domain::base_version;
use crate::domain::configured::{JailConfigs, UnreadFile};
use crate::domain::container::OWNER_PROPERTY;
use crate::domain::fstab;
use crate::domain::layout::{self, Layout, Storage};
use crate::domain::settings::Settings;
use crate::domain::template;
use crate::system::console;
use crate::system::host::Host;
use crate::system::zfs::{self, DatasetProperties};
use crate::types::jail_name::JailName;
use crate::types::release::Release;
use anyhow::{Context, Result, anyhow};
pub use status::{
    ContainerDataset, Fstab, JailPart, JailStatus, Presence, SkeletonSnapshot, TemplateAge, TemplateStatus,
};
use std::collections::BinaryHeap;
use std::fs::FileType;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Everything.
pub struct Inventory {
    /// Where everything is.
    pub layout: Layout,
    /// What jail.conf(5) knows, jails of other layouts among them.
    pub known: JailConfigs,
    /// The jails, by name.
    pub jails: Vec<JailStatus>,
    /// The templates that are there and those that jails want, by release.
    pub templates: Vec<TemplateStatus>,
    /// What is among the containers and cannot be a jail's: names of files and
    /// datasets.
    pub strangers: Vec<String>,
    /// What could not be read.
    pub unread: Vec<UnreadFile>,
}

/// The properties of datasets that matter.
const PROPERTIES: [&str; 6] = ["createtxg", "mounted", "mountpoint", "origin", "used", OWNER_PROPERTY];

/// Names in a directory, and what they are.
type Names = Presence<Vec<(String, FileType)>>;

impl Inventory {
    /// Takes stock of a host.
    pub fn read(host: &Host, settings: &Settings) -> Result<Inventory> {
        let mut unread = Vec::new();
        let (layout, datasets) = storage(host, settings, &mut unread)?;
        let (known, of_configuration) = JailConfigs::read_what_can_be(host.root(), &layout);
        // A jail that is in none of the others may be in one of these.
        let all_configured = of_configuration.is_empty();
        unread.extend(of_configuration);
        let mut list = |path: &Path| list(host, path, &mut unread);
        let (top, containers) = (list(layout.dir()), list(&layout.containers()));
        let templates = list(&layout.templates());
        let mut found = Inventory {
            layout,
            known,
            jails: Vec::new(),
            templates: Vec::new(),
            strangers: Vec::new(),
            unread,
        };
        found.name_jails(&top, &containers, &datasets, all_configured);
        found.add_configuration(settings);
        found.add_files(host, &top, &containers);
        found.add_datasets(&datasets);
        found.add_running(host);
        found.add_templates(host, &templates, &datasets);
        Ok(found)
    }

    /// The jail of that name.
    pub fn jail(&self, name: &JailName) -> Option<&JailStatus> {
        self.jails.binary_search_by(|j| j.name.cmp(name)).ok().map(|at| &self.jails[at])
    }

    /// The template of that release.
    pub fn template(&self, release: &Release) -> Option<&TemplateStatus> {
        self.templates.iter().find(|t| t.release == *release)
    }

    /// What of a jail is known not to be there. A path or an fstab that its
    /// configuration has elsewhere is not missed here.
    pub fn missing(&self, jail: &JailStatus) -> Vec<JailPart> {
        let resources = jail.configuration.there();
        let is_ours = |said: Option<&String>, ours: PathBuf| said.is_none_or(|s| Path::new(s) == ours);
        let mut missing = Vec::new();
        if jail.configuration.is_absent() {
            missing.push(JailPart::Configuration);
        }
        let container = match self.layout.storage() {
            Storage::Zfs(_) => jail.dataset.is_absent(),
            Storage::Directory => jail.directory.is_absent(),
        };
        if container {
            missing.push(JailPart::Container);
        }
        let said = resources.and_then(|c| c.path.as_ref());
        if jail.path.is_absent() && is_ours(said, self.layout.path(&jail.name)) {
            missing.push(JailPart::Path);
        }
        let said = resources.and_then(|c| c.fstab.as_ref());
        if jail.fstab.is_absent() && is_ours(said, self.layout.fstab(&jail.name)) {
            missing.push(JailPart::Fstab);
        }
        missing
    }

    /// How old what a jail has of its own is. Under directory storage nothing
    /// says what a container is a copy of.
    pub fn age(&self, jail: &JailStatus) -> TemplateAge {
        let Some((release, origin)) = &jail.origin else { return TemplateAge::Unknown };
        let Some(template) = self.template(release) else { return TemplateAge::Unknown };
        let Some(newest) = template.newest() else { return TemplateAge::Unknown };
        let version = template.version.as_ref().ok();
        let behind = |snapshot: Option<&String>| TemplateAge::Behind {
            snapshot: snapshot.cloned(),
            version: version.cloned(),
        };
        let of_origin = template.snapshots.there().into_iter().flatten().find(|s| s.name == *origin);
        match of_origin {
            None => TemplateAge::Unknown,
            Some(own) if own.created < newest.created => behind(Some(&newest.name)),
            // Updated without a snapshot, which skel-update would have taken.
            Some(_) => match (template::level(origin), version) {
                (Some(level), Some(version)) if level < version.patch => behind(None),
                _ => TemplateAge::Current,
            },
        }
    }

    fn name_jails(
        &mut self,
        top: &Names,
        containers: &Names,
        datasets: &Presence<Vec<DatasetProperties>>,
        all_configured: bool,
    ) {
        let mut names: BinaryHeap<JailName> = BinaryHeap::new();
        for (file, _) in top.there().into_iter().flatten() {
            names.extend(of_path(file).or_else(|| of_fstab(file)));
        }
        let mut held: Vec<String> =
            containers.there().into_iter().flatten().map(|(n, _)| n.clone()).collect();
        for row in datasets.there().into_iter().flatten() {
            held.extend(self.container_of(&row.name).map(str::to_owned));
        }
        for name in held {
            match name.parse() {
                Ok(jail) => names.push(jail),
                Err(_) if layout::is_beside(&name) || self.strangers.contains(&name) => {}
                Err(_) => self.strangers.push(name),
            }
        }
        for resources in self.known.jails() {
            let Ok(name) = resources.jail.parse() else { continue };
            let is =
                |said: &Option<String>, ours: PathBuf| said.as_ref().is_some_and(|s| Path::new(s) == ours);
            if is(&resources.path, self.layout.path(&name)) || is(&resources.fstab, self.layout.fstab(&name))
            {
                names.push(name);
            }
        }
        let mut names = names.into_sorted_vec();
        names.dedup();
        let jail = |name| JailStatus {
            name,
            configuration: if all_configured { Presence::Absent } else { Presence::Unknown },
            addresses: Vec::new(),
            fstab: or_unknown(top),
            path: or_unknown(top),
            directory: or_unknown(containers),
            dataset: or_unknown(datasets),
            running: Presence::Absent,
            origin: None,
        };
        self.jails = names.into_iter().map(jail).collect();
    }

    fn slot(jails: &mut [JailStatus], name: &str) -> Option<usize> {
        jails.binary_search_by(|j| j.name.as_str().cmp(name)).ok()
    }

    fn add_configuration(&mut self, settings: &Settings) {
        let gateways = [settings.jail_gateway.map(IpAddr::from), settings.jail_gateway6.map(IpAddr::from)];
        for resources in self.known.jails() {
            let Some(at) = Inventory::slot(&mut self.jails, &resources.jail) else { continue };
            let jail = &mut self.jails[at];
            if jail.configuration.there().is_none() {
                jail.addresses =
                    self.known.own_addresses(resources).filter(|a| !gateways.contains(&Some(*a))).collect();
                jail.configuration = Presence::Present(resources.clone());
            }
        }
    }

    fn add_files(&mut self, host: &Host, top: &Names, containers: &Names) {
        for (file, kind) in top.there().into_iter().flatten() {
            if let Some(at) = of_path(file).and_then(|n| Inventory::slot(&mut self.jails, n.as_str())) {
                self.jails[at].path = Presence::Present(*kind);
            }
            if let Some(at) = of_fstab(file).and_then(|n| Inventory::slot(&mut self.jails, n.as_str())) {
                self.jails[at].fstab = self.read_fstab(host, &self.layout.dir().join(file), *kind);
            }
        }
        for (file, kind) in containers.there().into_iter().flatten() {
            if let Some(at) = Inventory::slot(&mut self.jails, file) {
                self.jails[at].directory = Presence::Present(*kind);
            }
        }
    }

    fn read_fstab(&mut self, host: &Host, path: &Path, kind: FileType) -> Presence<Fstab> {
        // Opening a FIFO would wait for its writer.
        let text = match kind.is_file() {
            true => std::fs::read(host.root().host_path(path)).map_err(anyhow::Error::from),
            false => Err(anyhow!("not a regular file")),
        };
        match text {
            Ok(text) => {
                let (entries, findings) = fstab::parse(&text);
                let release = entries.first().and_then(|(_, first)| self.layout.release_of(&first.source));
                Presence::Present(Fstab { entries, findings, release })
            }
            Err(e) => {
                self.report(path, e);
                Presence::Unknown
            }
        }
    }

    fn add_datasets(&mut self, datasets: &Presence<Vec<DatasetProperties>>) {
        for row in datasets.there().into_iter().flatten() {
            let Some(at) = self.container_of(&row.name).and_then(|n| Inventory::slot(&mut self.jails, n))
            else {
                continue;
            };
            let Ok(dataset) = row.name.parse() else { continue };
            let some = |property: &str| Some(row.get(property).to_owned()).filter(|t| !t.is_empty());
            self.jails[at].origin = self.origin(row.get("origin"));
            self.jails[at].dataset = Presence::Present(ContainerDataset {
                dataset,
                origin: some("origin"),
                owner: some(OWNER_PROPERTY),
                mounted: row.is_mounted(),
                mountpoint: row.get("mountpoint").to_owned(),
                used: row.get("used").parse().ok(),
            });
        }
    }

    fn add_running(&mut self, host: &Host) {
        let running = host.kernel().and_then(|kernel| Ok(kernel.running_jails()?));
        match running {
            Err(e) => {
                for jail in &mut self.jails {
                    jail.running = Presence::Unknown;
                }
                let why = console::line(&e.context("running jails"));
                self.unread.push(UnreadFile { path: PathBuf::new(), why });
            }
            Ok(running) => {
                for one in running {
                    // Below an alternate root are other jails than the system's.
                    let here = !host.root().is_alternate() || one.path.starts_with(host.root().path());
                    if let Some(at) = Inventory::slot(&mut self.jails, &one.name).filter(|_| here) {
                        self.jails[at].running = Presence::Present(one);
                    }
                }
            }
        }
    }

    fn add_templates(&mut self, host: &Host, names: &Names, datasets: &Presence<Vec<DatasetProperties>>) {
        let mut releases: Vec<Release> = Vec::new();
        let of_files = names.there().into_iter().flatten().filter_map(|(name, _)| {
            let whole = name.strip_suffix("-base").or_else(|| name.strip_suffix("-skeleton"));
            whole.and_then(|release| release.parse().ok()).or_else(|| template::destroying_release(name))
        });
        let of_jails = self.jails.iter().filter_map(|j| j.release().cloned());
        let skeleton_of = |layout: &Layout, full: &str| layout.skeleton_release(full.split('@').next()?);
        let of_datasets =
            datasets.there().into_iter().flatten().filter_map(|row| skeleton_of(&self.layout, &row.name));
        let destroying = self.destroying(names, datasets);
        for release in of_files.chain(of_jails).chain(of_datasets).chain(destroying.iter().cloned()) {
            // In place, because a sort would be kilobytes in every program.
            let order = |r: &Release| (r.version(), r.as_str().to_owned());
            let at = releases.partition_point(|r| order(r) < order(&release));
            if releases.get(at) != Some(&release) {
                releases.insert(at, release);
            }
        }
        for release in releases {
            let at = |path: PathBuf| match names {
                Presence::Present(names) => {
                    let name = path.file_name().unwrap_or_default();
                    match names.iter().find(|(n, _)| name == n.as_str()) {
                        Some((_, kind)) => Presence::Present(*kind),
                        None => Presence::Absent,
                    }
                }
                other => or_unknown(other),
            };
            let (base, skeleton) = (at(self.layout.base(&release)), at(self.layout.skeleton(&release)));
            let version = base_version::of_base(&host.root().host_path(&self.layout.base(&release)));
            let version = version.map_err(|e| {
                let text = console::line(&e);
                if refused(&e) {
                    self.report(&self.layout.base(&release), e);
                }
                text
            });
            let snapshots = match datasets {
                Presence::Present(rows) => Presence::Present(self.snapshots(&release, rows)),
                other => or_unknown(other),
            };
            let is_destroying = destroying.contains(&release);
            self.templates.push(TemplateStatus {
                release,
                base,
                skeleton,
                version,
                snapshots,
                is_destroying,
            });
        }
    }

    /// The releases whose destruction was begun.
    fn destroying(&self, names: &Names, datasets: &Presence<Vec<DatasetProperties>>) -> Vec<Release> {
        let of_files = names.there().into_iter().flatten().map(|(name, _)| name.as_str());
        let of_dataset = |full: &'_ str| {
            let Storage::Zfs(top) = self.layout.storage() else { return None };
            let name = full.strip_prefix(top.as_str())?.strip_prefix("/templates/")?;
            template::destroying_release(name)
        };
        let of_datasets = datasets.there().into_iter().flatten().filter_map(|row| of_dataset(&row.name));
        of_files.filter_map(template::destroying_release).chain(of_datasets).collect()
    }

    /// The snapshots of a skeleton, oldest first.
    fn snapshots(&self, release: &Release, rows: &[DatasetProperties]) -> Vec<SkeletonSnapshot> {
        let mut snapshots: Vec<SkeletonSnapshot> = Vec::new();
        for row in rows {
            let Some((dataset, name)) = row.name.split_once('@') else { continue };
            if self.layout.skeleton_release(dataset).as_ref() == Some(release) {
                let created = row.get("createtxg").parse().unwrap_or_default();
                let at = snapshots.partition_point(|s| s.created <= created);
                snapshots.insert(at, SkeletonSnapshot { name: name.to_owned(), created });
            }
        }
        snapshots
    }

    /// The name of the container that a dataset is.
    fn container_of<'a>(&self, dataset: &'a str) -> Option<&'a str> {
        let Storage::Zfs(top) = self.layout.storage() else { return None };
        let name = dataset.strip_prefix(top.as_str())?.strip_prefix("/containers/")?;
        (!name.contains(['/', '@'])).then_some(name)
    }

    fn origin(&self, snapshot: &str) -> Option<(Release, String)> {
        let (dataset, name) = snapshot.split_once('@')?;
        Some((self.layout.skeleton_release(dataset)?, name.to_owned()))
    }

    fn report(&mut self, path: &Path, error: anyhow::Error) {
        let why = console::line(&error.context(path.display().to_string()));
        self.unread.push(UnreadFile { path: path.to_owned(), why });
    }
}

/// Absent in what could be read.
fn or_unknown<T, U>(place: &Presence<T>) -> Presence<U> {
    if matches!(place, Presence::Unknown) { Presence::Unknown } else { Presence::Absent }
}

fn refused(error: &anyhow::Error) -> bool {
    let kind =
        |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::PermissionDenied))
}

/// The jail whose path a name would be.
fn of_path(name: &str) -> Option<JailName> {
    name.strip_suffix(layout::PATH_SUFFIX)?.parse().ok()
}

/// The jail whose fstab a name would be.
fn of_fstab(name: &str) -> Option<JailName> {
    of_path(name.strip_suffix(".fstab")?)
}

/// The layout, and what zfs(8) says of the datasets that matter: those two
/// levels deep, which are the containers but not what is below them, and the
/// snapshots of templates.
fn storage(
    host: &Host,
    settings: &Settings,
    unread: &mut Vec<UnreadFile>,
) -> Result<(Layout, Presence<Vec<DatasetProperties>>)> {
    let Some(top) = &settings.jail_zfs else { return Ok((Layout::find(host, settings)?, Presence::Absent)) };
    let templates = top.child("templates")?;
    let answer = zfs::query(host.tools(), &[top.as_str(), templates.as_str()], 2, &PROPERTIES);
    let mut report = |why: String| unread.push(UnreadFile { path: top.as_str().into(), why });
    let rows = match answer {
        Ok(rows) => rows,
        Err(e) if settings.jail_dir.is_some() => {
            report(console::line(&e));
            return Ok((Layout::find(host, settings)?, Presence::Unknown));
        }
        Err(e) => return Err(e),
    };
    let of_top = zfs::find(&rows, top.as_str());
    let there = of_top.is_some();
    let layout = Layout::from_properties(host, settings, &rows)?;
    if !there {
        report(format!("jail_zfs: {top}: dataset does not exist"));
        return Ok((layout, Presence::Unknown));
    }
    Ok((layout, Presence::Present(rows)))
}

/// What is in a directory of the layout; names that are no text are left out,
/// for no jail has one.
fn list(host: &Host, path: &Path, unread: &mut Vec<UnreadFile>) -> Names {
    let entries = || -> io::Result<Vec<(String, FileType)>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(host.root().host_path(path))? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push((name, entry.file_type()?));
            }
        }
        Ok(names)
    };
    match entries() {
        Ok(names) => Presence::Present(names),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Presence::Absent,
        Err(e) => {
            let error = Err::<(), _>(e).with_context(|| path.display().to_string());
            let why = error.err().map(|e| console::line(&e)).unwrap_or_default();
            unread.push(UnreadFile { path: path.to_owned(), why });
            Presence::Unknown
        }
    }
}
