//! The thin jails of a host: everything that is known of them, from every place
//! that knows something.
//!
//! However many jails there are, it takes one zfs(8), one look at the kernel,
//! jail.conf(5), and a few directories. Nothing below a container is looked at:
//! that is the jail's. What cannot be read is unknown and told in
//! [`Inventory::unread`]; it is no failure, so that anybody may look.

use crate::fstab::{self, Entry, Finding};
use crate::host::Host;
use crate::jail::JailName;
use crate::jails::{Claim, Known, Unread};
use crate::kernel::RunningJail;
use crate::layout::{self, Layout, Storage};
use crate::release::Release;
use crate::report;
use crate::settings::Settings;
use crate::template;
use crate::userland::{self, Version};
use crate::zfs::{self, Dataset};
use anyhow::{Context, Result, anyhow};
use std::collections::BinaryHeap;
use std::fs::FileType;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What is known of something that may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// It is there.
    There(T),
    /// It is not.
    Absent,
    /// Where it would be could not be read.
    Unknown,
}

impl<T> Seen<T> {
    /// It, if it is known to be there.
    pub fn there(&self) -> Option<&T> {
        match self {
            Seen::There(it) => Some(it),
            _ => None,
        }
    }

    /// Whether it is known not to be there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Seen::Absent)
    }
}

/// The dataset of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub dataset: Dataset,
    /// The full name of the snapshot it is a clone of.
    pub origin: Option<String>,
    /// Whose it is by [`zfs::OWNER_PROPERTY`], set on this dataset itself.
    pub owner: Option<String>,
    /// Whether it is mounted.
    pub mounted: bool,
    /// Where it is or would be mounted: a real path, or `none` or `legacy`.
    pub mountpoint: String,
    /// The bytes it takes beyond what it shares with its origin.
    pub used: Option<u64>,
}

/// The fstab of a jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fstab {
    /// The mounts, each with its line.
    pub entries: Vec<(usize, Entry)>,
    /// What jail(8) would choke on.
    pub findings: Vec<Finding>,
    /// The release whose base the first line mounts, if it is one of the
    /// layout's.
    pub release: Option<Release>,
}

/// One jail. It is known by any one of these.
#[derive(Clone, Debug)]
pub struct Jail {
    /// Its name.
    pub name: JailName,
    /// Its block in jail.conf(5), the first one if there are more.
    pub configuration: Seen<Claim>,
    /// Its own addresses, without those that the common part of the
    /// configuration mentions and without the gateways.
    pub addresses: Vec<IpAddr>,
    /// Its fstab in the layout.
    pub fstab: Seen<Fstab>,
    /// What is at its path in the layout.
    pub path: Seen<FileType>,
    /// What is at the place of its container.
    pub directory: Seen<FileType>,
    /// The dataset of its container; absent under directory storage.
    pub dataset: Seen<Held>,
    /// The jail that runs under its name; a dying one is none.
    pub running: Seen<RunningJail>,
    /// The release and the name of the snapshot that its container is a clone
    /// of, if that is one of a skeleton of the layout.
    pub origin: Option<(Release, String)>,
}

impl Jail {
    /// The release it stands on: that of its container, or else of its fstab.
    pub fn release(&self) -> Option<&Release> {
        let of_fstab = || self.fstab.there().and_then(|f| f.release.as_ref());
        self.origin.as_ref().map(|(release, _)| release).or_else(of_fstab)
    }

    /// Whether its dataset is marked as its own.
    pub fn is_marked(&self) -> bool {
        self.dataset.there().is_some_and(|d| d.owner.as_deref() == Some(self.name.as_str()))
    }
}

/// A part of a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its block in jail.conf(5).
    Configuration,
    /// Its container.
    Container,
    /// Its path.
    Path,
    /// Its fstab.
    Fstab,
}

impl Part {
    /// What it is called.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Configuration => "configuration",
            Part::Container => "container",
            Part::Path => "path",
            Part::Fstab => "fstab",
        }
    }
}

/// A snapshot of a skeleton.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The part behind the `@`.
    pub name: String,
    /// Rises with age: the transaction group it was taken in.
    pub created: u64,
}

/// A template, or part of one.
#[derive(Clone, Debug)]
pub struct Template {
    /// Its release.
    pub release: Release,
    /// What is at the place of its base.
    pub base: Seen<FileType>,
    /// What is at the place of its skeleton.
    pub skeleton: Seen<FileType>,
    /// What the base says of itself, or why it does not.
    pub version: Result<Version, String>,
    /// The snapshots of the skeleton, oldest first, those of others among them;
    /// none under directory storage.
    pub snapshots: Seen<Vec<Snapshot>>,
}

impl Template {
    /// The snapshot that new jails are cloned from.
    pub fn newest(&self) -> Option<&Snapshot> {
        self.snapshots.there()?.iter().rfind(|s| template::is_ours(&s.name))
    }
}

/// How what a jail has of its own compares with the base it runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Age {
    /// It was made of the newest.
    Current,
    /// The template has been updated since.
    Behind {
        /// The newest snapshot, by its name; `None` when the update of the base
        /// took none.
        snapshot: Option<String>,
        /// What the base says of itself.
        version: Option<Version>,
    },
    /// Nothing tells.
    Unknown,
}

/// Everything.
pub struct Inventory {
    /// Where everything is.
    pub layout: Layout,
    /// What jail.conf(5) knows, jails of other layouts among them.
    pub known: Known,
    /// The jails, by name.
    pub jails: Vec<Jail>,
    /// The templates that are there and those that jails want, by release.
    pub templates: Vec<Template>,
    /// What is among the containers and cannot be a jail's: names of files and
    /// datasets.
    pub strangers: Vec<String>,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

/// The properties of datasets that matter, in the order of [`Row`].
const PROPERTIES: [&str; 6] = ["createtxg", "mounted", "mountpoint", "origin", "used", zfs::OWNER_PROPERTY];

type Row = (String, [String; 6]);

/// Names in a directory, and what they are.
type Names = Seen<Vec<(String, FileType)>>;

impl Inventory {
    /// Takes stock of a host.
    pub fn read(host: &Host, settings: &Settings) -> Result<Inventory> {
        let mut unread = Vec::new();
        let (layout, datasets) = storage(host, settings, &mut unread)?;
        let (known, of_configuration) = Known::read_what_can_be(host.root(), &layout);
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
    pub fn jail(&self, name: &JailName) -> Option<&Jail> {
        self.jails.binary_search_by(|j| j.name.cmp(name)).ok().map(|at| &self.jails[at])
    }

    /// The template of that release.
    pub fn template(&self, release: &Release) -> Option<&Template> {
        self.templates.iter().find(|t| t.release == *release)
    }

    /// What of a jail is known not to be there. A path or an fstab that its
    /// configuration has elsewhere is not missed here.
    pub fn missing(&self, jail: &Jail) -> Vec<Part> {
        let claim = jail.configuration.there();
        let is_ours = |said: Option<&String>, ours: PathBuf| said.is_none_or(|s| Path::new(s) == ours);
        let mut missing = Vec::new();
        if jail.configuration.is_absent() {
            missing.push(Part::Configuration);
        }
        let container = match self.layout.storage() {
            Storage::Zfs(_) => jail.dataset.is_absent(),
            Storage::Directory => jail.directory.is_absent(),
        };
        if container {
            missing.push(Part::Container);
        }
        let said = claim.and_then(|c| c.path.as_ref());
        if jail.path.is_absent() && is_ours(said, self.layout.path(&jail.name)) {
            missing.push(Part::Path);
        }
        let said = claim.and_then(|c| c.fstab.as_ref());
        if jail.fstab.is_absent() && is_ours(said, self.layout.fstab(&jail.name)) {
            missing.push(Part::Fstab);
        }
        missing
    }

    /// How old what a jail has of its own is. Under directory storage nothing
    /// tells what a container is a copy of.
    pub fn age(&self, jail: &Jail) -> Age {
        let Some((release, origin)) = &jail.origin else { return Age::Unknown };
        let Some(template) = self.template(release) else { return Age::Unknown };
        let Some(newest) = template.newest() else { return Age::Unknown };
        let version = template.version.as_ref().ok();
        let behind = |snapshot: Option<&String>| Age::Behind {
            snapshot: snapshot.cloned(),
            version: version.cloned(),
        };
        let of_origin = template.snapshots.there().into_iter().flatten().find(|s| s.name == *origin);
        match of_origin {
            None => Age::Unknown,
            Some(own) if own.created < newest.created => behind(Some(&newest.name)),
            // Updated without a snapshot, which skel-update would have taken.
            Some(_) => match (template::level(origin), version) {
                (Some(level), Some(version)) if level < version.patch => behind(None),
                _ => Age::Current,
            },
        }
    }

    fn name_jails(
        &mut self,
        top: &Names,
        containers: &Names,
        datasets: &Seen<Vec<Row>>,
        all_configured: bool,
    ) {
        let mut names: BinaryHeap<JailName> = BinaryHeap::new();
        for (file, _) in top.there().into_iter().flatten() {
            names.extend(of_path(file).or_else(|| of_fstab(file)));
        }
        let mut held: Vec<String> =
            containers.there().into_iter().flatten().map(|(n, _)| n.clone()).collect();
        for (dataset, _) in datasets.there().into_iter().flatten() {
            held.extend(self.container_of(dataset).map(str::to_owned));
        }
        for name in held {
            match name.parse() {
                Ok(jail) => names.push(jail),
                Err(_) if layout::is_beside(&name) || self.strangers.contains(&name) => {}
                Err(_) => self.strangers.push(name),
            }
        }
        for claim in self.known.claims() {
            let Ok(name) = claim.jail.parse() else { continue };
            let is =
                |said: &Option<String>, ours: PathBuf| said.as_ref().is_some_and(|s| Path::new(s) == ours);
            if is(&claim.path, self.layout.path(&name)) || is(&claim.fstab, self.layout.fstab(&name)) {
                names.push(name);
            }
        }
        let mut names = names.into_sorted_vec();
        names.dedup();
        let jail = |name| Jail {
            name,
            configuration: if all_configured { Seen::Absent } else { Seen::Unknown },
            addresses: Vec::new(),
            fstab: or_unknown(top),
            path: or_unknown(top),
            directory: or_unknown(containers),
            dataset: or_unknown(datasets),
            running: Seen::Absent,
            origin: None,
        };
        self.jails = names.into_iter().map(jail).collect();
    }

    fn slot(jails: &mut [Jail], name: &str) -> Option<usize> {
        jails.binary_search_by(|j| j.name.as_str().cmp(name)).ok()
    }

    fn add_configuration(&mut self, settings: &Settings) {
        let gateways = [settings.jail_gateway.map(IpAddr::from), settings.jail_gateway6.map(IpAddr::from)];
        for claim in self.known.claims() {
            let Some(at) = Inventory::slot(&mut self.jails, &claim.jail) else { continue };
            let jail = &mut self.jails[at];
            if jail.configuration.there().is_none() {
                jail.addresses =
                    self.known.own_addresses(claim).filter(|a| !gateways.contains(&Some(*a))).collect();
                jail.configuration = Seen::There(claim.clone());
            }
        }
    }

    fn add_files(&mut self, host: &Host, top: &Names, containers: &Names) {
        for (file, kind) in top.there().into_iter().flatten() {
            if let Some(at) = of_path(file).and_then(|n| Inventory::slot(&mut self.jails, n.as_str())) {
                self.jails[at].path = Seen::There(*kind);
            }
            if let Some(at) = of_fstab(file).and_then(|n| Inventory::slot(&mut self.jails, n.as_str())) {
                self.jails[at].fstab = self.read_fstab(host, &self.layout.dir().join(file), *kind);
            }
        }
        for (file, kind) in containers.there().into_iter().flatten() {
            if let Some(at) = Inventory::slot(&mut self.jails, file) {
                self.jails[at].directory = Seen::There(*kind);
            }
        }
    }

    fn read_fstab(&mut self, host: &Host, path: &Path, kind: FileType) -> Seen<Fstab> {
        // Opening a FIFO would wait for its writer.
        let text = match kind.is_file() {
            true => std::fs::read(host.root().at(path)).map_err(anyhow::Error::from),
            false => Err(anyhow!("not a regular file")),
        };
        match text {
            Ok(text) => {
                let (entries, findings) = fstab::parse(&text);
                let release = entries.first().and_then(|(_, first)| self.layout.release_of(&first.source));
                Seen::There(Fstab { entries, findings, release })
            }
            Err(e) => {
                self.tell(path, e);
                Seen::Unknown
            }
        }
    }

    fn add_datasets(&mut self, datasets: &Seen<Vec<Row>>) {
        for (name, [_, mounted, mountpoint, origin, used, owner]) in datasets.there().into_iter().flatten() {
            let Some(at) = self.container_of(name).and_then(|n| Inventory::slot(&mut self.jails, n)) else {
                continue;
            };
            let Ok(dataset) = name.parse() else { continue };
            let some = |text: &String| Some(text.clone()).filter(|t| !t.is_empty());
            self.jails[at].origin = self.origin(origin);
            self.jails[at].dataset = Seen::There(Held {
                dataset,
                origin: some(origin),
                owner: some(owner),
                mounted: mounted == "yes",
                mountpoint: mountpoint.clone(),
                used: used.parse().ok(),
            });
        }
    }

    fn add_running(&mut self, host: &Host) {
        let running = host.kernel().and_then(|kernel| Ok(kernel.running_jails()?));
        match running {
            Err(e) => {
                for jail in &mut self.jails {
                    jail.running = Seen::Unknown;
                }
                let why = report::line(&e.context("running jails"));
                self.unread.push(Unread { path: PathBuf::new(), why });
            }
            Ok(running) => {
                for one in running {
                    // Below an alternate root are other jails than the system's.
                    let here = !host.root().is_alternate() || one.path.starts_with(host.root().path());
                    if let Some(at) = Inventory::slot(&mut self.jails, &one.name).filter(|_| here) {
                        self.jails[at].running = Seen::There(one);
                    }
                }
            }
        }
    }

    fn add_templates(&mut self, host: &Host, names: &Names, datasets: &Seen<Vec<Row>>) {
        let mut releases: Vec<Release> = Vec::new();
        let of_files = names.there().into_iter().flatten().filter_map(|(name, _)| {
            name.strip_suffix("-base").or_else(|| name.strip_suffix("-skeleton"))?.parse().ok()
        });
        let of_jails = self.jails.iter().filter_map(|j| j.release().cloned());
        let skeleton_of = |layout: &Layout, full: &str| layout.skeleton_release(full.split('@').next()?);
        let of_datasets =
            datasets.there().into_iter().flatten().filter_map(|(name, _)| skeleton_of(&self.layout, name));
        for release in of_files.chain(of_jails).chain(of_datasets) {
            // In place, because a sort would be kilobytes in every program.
            let order = |r: &Release| (r.version(), r.as_str().to_owned());
            let at = releases.partition_point(|r| order(r) < order(&release));
            if releases.get(at) != Some(&release) {
                releases.insert(at, release);
            }
        }
        for release in releases {
            let at = |path: PathBuf| match names {
                Seen::There(names) => {
                    let name = path.file_name().unwrap_or_default();
                    match names.iter().find(|(n, _)| name == n.as_str()) {
                        Some((_, kind)) => Seen::There(*kind),
                        None => Seen::Absent,
                    }
                }
                other => or_unknown(other),
            };
            let (base, skeleton) = (at(self.layout.base(&release)), at(self.layout.skeleton(&release)));
            let version = userland::of_base(&host.root().at(&self.layout.base(&release)));
            let version = version.map_err(|e| {
                let text = report::line(&e);
                if refused(&e) {
                    self.tell(&self.layout.base(&release), e);
                }
                text
            });
            let snapshots = match datasets {
                Seen::There(rows) => Seen::There(self.snapshots(&release, rows)),
                other => or_unknown(other),
            };
            self.templates.push(Template { release, base, skeleton, version, snapshots });
        }
    }

    /// The snapshots of a skeleton, oldest first.
    fn snapshots(&self, release: &Release, rows: &[Row]) -> Vec<Snapshot> {
        let mut snapshots: Vec<Snapshot> = Vec::new();
        for (full, [created, ..]) in rows {
            let Some((dataset, name)) = full.split_once('@') else { continue };
            if self.layout.skeleton_release(dataset).as_ref() == Some(release) {
                let created = created.parse().unwrap_or_default();
                let at = snapshots.partition_point(|s| s.created <= created);
                snapshots.insert(at, Snapshot { name: name.to_owned(), created });
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

    fn tell(&mut self, path: &Path, error: anyhow::Error) {
        let why = report::line(&error.context(path.display().to_string()));
        self.unread.push(Unread { path: path.to_owned(), why });
    }
}

/// Absent in what could be read.
fn or_unknown<T, U>(place: &Seen<T>) -> Seen<U> {
    if matches!(place, Seen::Unknown) { Seen::Unknown } else { Seen::Absent }
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
fn storage(host: &Host, settings: &Settings, unread: &mut Vec<Unread>) -> Result<(Layout, Seen<Vec<Row>>)> {
    let Some(top) = &settings.jail_zfs else { return Ok((Layout::find(host, settings)?, Seen::Absent)) };
    let templates = top.child("templates")?;
    let told = zfs::told(host.tools(), PROPERTIES, 2, &[top.as_str(), templates.as_str()]);
    let mut tell = |why: String| unread.push(Unread { path: top.as_str().into(), why });
    let rows = match told {
        Ok(rows) => rows,
        Err(e) if settings.jail_dir.is_some() => {
            tell(report::line(&e));
            return Ok((Layout::find(host, settings)?, Seen::Unknown));
        }
        Err(e) => return Err(e),
    };
    let of_top = rows.iter().find(|(name, _)| name == top.as_str());
    let of_top = of_top.map(|(_, [_, mounted, mountpoint, ..])| [mounted.clone(), mountpoint.clone()]);
    let there = of_top.is_some();
    let layout = Layout::find_with(host, settings, |top| layout::mountpoint(host, top, of_top))?;
    if !there {
        tell(format!("jail_zfs: {top}: dataset does not exist"));
        return Ok((layout, Seen::Unknown));
    }
    Ok((layout, Seen::There(rows)))
}

/// What is in a directory of the layout; names that are no text are left out,
/// for no jail has one.
fn list(host: &Host, path: &Path, unread: &mut Vec<Unread>) -> Names {
    let entries = || -> io::Result<Vec<(String, FileType)>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(host.root().at(path))? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push((name, entry.file_type()?));
            }
        }
        Ok(names)
    };
    match entries() {
        Ok(names) => Seen::There(names),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Seen::Absent,
        Err(e) => {
            let error = Err::<(), _>(e).with_context(|| path.display().to_string());
            let why = error.err().map(|e| report::line(&e)).unwrap_or_default();
            unread.push(Unread { path: path.to_owned(), why });
            Seen::Unknown
        }
    }
}
