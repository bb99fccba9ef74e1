//! The simulated pools: datasets, snapshots, and where their files lie.
//!
//! A mounted dataset **is** the directory at its mountpoint; an unmounted one lies in `unmounted/`, a snapshot in
//! `snapshots/`, and what a mount hides in `covered/`, each by number, so that renaming moves no files. The records are
//! one JSON file, replaced by rename after the files are in place.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, DirBuilder};
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::host::{Host, reason, replace};
use crate::props::{self, Kind, calendar, nice};
use crate::tree::{self, Manifest, Mounts};

/// What an empty dataset takes.
const EMPTY: u64 = 98_304;
/// What mounting writes: `written` of a clone that was only mounted is above 0, so it cannot tell whether anything
/// was changed.
const MOUNTING: u64 = 1_536;
/// The size of every simulated pool.
const CAPACITY: u64 = 5_905_580_032;

/// A file system.
#[derive(Default)]
pub struct Dataset {
    /// Number, unique over datasets and snapshots, rising with age: the transaction group it was made in, so to speak.
    pub id: u64,
    /// Seconds since the epoch.
    pub creation: u64,
    /// The snapshot it is a clone of.
    pub origin: Option<u64>,
    /// Where it is mounted, as seen on the simulated host.
    pub mounted: Option<String>,
    /// What was set on it.
    pub local: BTreeMap<String, String>,
    /// What came with it when it was received.
    pub received: BTreeMap<String, String>,
    /// Whether it is the root of an encryption whose key is not loaded.
    pub locked: bool,
}

/// A snapshot.
pub struct Snapshot {
    /// The number of the dataset it belongs to.
    pub dataset: u64,
    /// The part after the `@`.
    pub name: String,
    /// Seconds since the epoch.
    pub creation: u64,
    /// The transaction group it was taken in: the number of the first that was taken in it.
    pub txg: u64,
    /// What it is known by wherever it is received.
    pub guid: u64,
    /// Tags, and when they were put on.
    pub holds: BTreeMap<String, u64>,
    /// What was set on it.
    pub local: BTreeMap<String, String>,
}

/// A dataset or a snapshot, by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A file system.
    Fs(String),
    /// A snapshot: the file system it belongs to, and its number.
    Snap(String, u64),
}

/// Where a value comes from.
pub enum Source {
    /// Not a thing that is set.
    None,
    /// No one set it.
    Default,
    /// Set here.
    Local,
    /// Came with the stream that this was received from.
    Received,
    /// Set on that ancestor.
    Inherited(String),
}

/// Everything known of the pools.
#[derive(Default)]
pub struct Pool {
    /// The last number given out.
    next: u64,
    /// File systems by name.
    pub datasets: BTreeMap<String, Dataset>,
    /// Snapshots by number.
    pub snapshots: BTreeMap<u64, Snapshot>,
}

/// The time now, in seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

/// Whether `name` is `above` or lies below it.
pub fn within(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || above == "/")
}

impl Pool {
    /// Reads the records; there are none at first.
    pub fn load(host: &Host) -> Result<Self> {
        let text = match fs::read_to_string(host.state("zfs.json")) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(cause) => return Err(cause).context("read zfs.json"),
        };
        let value: Value = serde_json::from_str(&text).context("zfs.json")?;
        let mut pool = Self { next: number(&value["next"])?, ..Self::default() };
        for (name, fields) in map(&value["datasets"])? {
            let dataset = Dataset {
                id: number(&fields["id"])?,
                creation: number(&fields["creation"])?,
                origin: fields["origin"].as_u64(),
                mounted: fields["mounted"].as_str().map(str::to_owned),
                local: strings(&fields["local"])?,
                received: strings(&fields["received"])?,
                locked: fields["locked"].as_bool().unwrap_or_default(),
            };
            pool.datasets.insert(name.clone(), dataset);
        }
        for (id, fields) in map(&value["snapshots"])? {
            let mut holds = BTreeMap::new();
            for (tag, time) in map(&fields["holds"])? {
                holds.insert(tag.clone(), number(time)?);
            }
            let snapshot = Snapshot {
                dataset: number(&fields["dataset"])?,
                name: fields["name"].as_str().context("zfs.json: name")?.into(),
                creation: number(&fields["creation"])?,
                txg: number(&fields["txg"])?,
                guid: number(&fields["guid"])?,
                holds,
                local: strings(&fields["local"])?,
            };
            pool.snapshots.insert(id.parse()?, snapshot);
        }
        Ok(pool)
    }

    /// Writes the records.
    pub fn save(&self, host: &Host) -> Result<()> {
        let datasets: serde_json::Map<_, _> = self
            .datasets
            .iter()
            .map(|(name, dataset)| {
                let fields = json!({
                    "id": dataset.id,
                    "creation": dataset.creation,
                    "origin": dataset.origin,
                    "mounted": dataset.mounted,
                    "local": dataset.local,
                    "received": dataset.received,
                    "locked": dataset.locked,
                });
                (name.clone(), fields)
            })
            .collect();
        let snapshots: serde_json::Map<_, _> = self
            .snapshots
            .iter()
            .map(|(id, snapshot)| {
                let fields = json!({
                    "dataset": snapshot.dataset,
                    "name": snapshot.name,
                    "creation": snapshot.creation,
                    "txg": snapshot.txg,
                    "guid": snapshot.guid,
                    "holds": snapshot.holds,
                    "local": snapshot.local,
                });
                (id.to_string(), fields)
            })
            .collect();
        let value = json!({ "next": self.next, "datasets": datasets, "snapshots": snapshots });
        replace(&host.state("zfs.json"), &format!("{value:#}\n"))
    }

    /// Gives out no number up to that one any longer.
    pub fn raise(&mut self, number: u64) {
        self.next = self.next.max(number);
    }

    /// Gives out a number.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The dataset of that name.
    pub fn dataset(&self, name: &str) -> Result<&Dataset> {
        self.datasets.get(name).with_context(|| format!("no dataset {name}"))
    }

    /// The dataset of that name, to change it.
    pub fn dataset_mut(&mut self, name: &str) -> Result<&mut Dataset> {
        self.datasets.get_mut(name).with_context(|| format!("no dataset {name}"))
    }

    /// The name of the dataset with that number.
    pub fn name_of(&self, id: u64) -> Option<&str> {
        self.datasets.iter().find(|(_, dataset)| dataset.id == id).map(|(name, _)| name.as_str())
    }

    /// The full name of a snapshot.
    pub fn snapshot_name(&self, id: u64) -> Option<String> {
        let snapshot = self.snapshots.get(&id)?;
        Some(format!("{}@{}", self.name_of(snapshot.dataset)?, snapshot.name))
    }

    /// The name of a target.
    pub fn target_name(&self, target: &Target) -> String {
        match target {
            Target::Fs(name) => name.clone(),
            Target::Snap(_, id) => self.snapshot_name(*id).unwrap_or_default(),
        }
    }

    /// Looks a name up.
    pub fn find(&self, name: &str) -> Option<Target> {
        let Some((fs, snapshot)) = name.split_once('@') else {
            return self.datasets.contains_key(name).then(|| Target::Fs(name.into()));
        };
        let dataset = self.datasets.get(fs)?;
        self.snapshots_of(dataset.id)
            .find(|(_, found)| found.name == snapshot)
            .map(|(id, _)| Target::Snap(fs.into(), id))
    }

    /// The snapshots of a dataset, oldest first.
    pub fn snapshots_of(&self, dataset: u64) -> impl DoubleEndedIterator<Item = (u64, &Snapshot)> {
        self.snapshots
            .iter()
            .filter(move |(_, snapshot)| snapshot.dataset == dataset)
            .map(|(id, snapshot)| (*id, snapshot))
    }

    /// The clones of a snapshot. In no useful order: the real one is that of a hash table, and the recordings have it
    /// backwards.
    pub fn clones(&self, snapshot: u64) -> Vec<String> {
        self.datasets
            .iter()
            .rev()
            .filter(|(_, dataset)| dataset.origin == Some(snapshot))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The direct children, in the order of [`Pool::clones`].
    pub fn children(&self, name: &str) -> Vec<String> {
        let prefix = format!("{name}/");
        self.datasets
            .keys()
            .rev()
            .filter(|other| other.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/')))
            .cloned()
            .collect()
    }

    /// A dataset and all below it, parents first.
    pub fn family(&self, name: &str) -> Vec<String> {
        self.datasets.keys().filter(|other| within(other, name)).cloned().collect()
    }

    /// Everything that goes away with a dataset, in the order libzfs goes through it: children, then snapshots, each
    /// after what hangs on it. Clones elsewhere are among it, and some names come twice.
    pub fn dependents(&self, target: &Target) -> Vec<Target> {
        let mut all = Vec::new();
        self.gather(target, &mut Vec::new(), &mut all);
        all.pop();
        all
    }

    fn gather(&self, target: &Target, above: &mut Vec<String>, all: &mut Vec<Target>) {
        match target {
            Target::Snap(_, id) => {
                for clone in self.clones(*id) {
                    self.gather(&Target::Fs(clone), above, all);
                }
            }
            Target::Fs(name) => {
                // A clone can lie below the dataset it comes from.
                if above.contains(name) {
                    return;
                }
                above.push(name.clone());
                for child in self.children(name) {
                    self.gather(&Target::Fs(child), above, all);
                }
                let id = self.datasets.get(name).map_or(0, |dataset| dataset.id);
                for (snapshot, _) in self.snapshots_of(id) {
                    self.gather(&Target::Snap(name.clone(), snapshot), above, all);
                }
                above.pop();
            }
        }
        all.push(target.clone());
    }

    /// A property that can be set, and where its value comes from. `mountpoint` comes without the root.
    pub fn setting(&self, name: &str, property: &str) -> (String, Source) {
        let native = props::native(property);
        let mut place = name;
        loop {
            let dataset = self.datasets.get(place);
            let local = dataset.and_then(|dataset| dataset.local.get(property));
            let received = dataset.and_then(|dataset| dataset.received.get(property));
            if let Some(value) = local.or(received) {
                let below = &name[place.len()..];
                let value = match value.as_str() {
                    "none" | "legacy" => value.clone(),
                    path if property == "mountpoint" => {
                        format!("{}{below}", path.trim_end_matches('/'))
                    }
                    _ => value.clone(),
                };
                let value = if value.is_empty() && property == "mountpoint" { "/".into() } else { value };
                let source = match place == name {
                    true if local.is_some() => Source::Local,
                    true => Source::Received,
                    false => Source::Inherited(place.into()),
                };
                return (value, source);
            }
            match place.rfind('/') {
                Some(cut) if native.is_none_or(|native| native.kind == Kind::Inherited) => {
                    place = &place[..cut];
                }
                _ => break,
            }
        }
        match native {
            Some(_) if property == "mountpoint" => (format!("/{name}"), Source::Default),
            Some(native) => (native.default.into(), Source::Default),
            None => ("-".into(), Source::None),
        }
    }

    /// The value of any property as printed, and its source. `exact` asks for plain numbers.
    pub fn value(
        &mut self,
        host: &Host,
        target: &Target,
        property: &str,
        exact: bool,
    ) -> Result<(String, Source)> {
        let size = |bytes: u64| {
            if exact { bytes.to_string() } else { nice(bytes) }
        };
        let time = |seconds: u64| {
            if exact { seconds.to_string() } else { calendar(seconds) }
        };
        let reported = |value: String| Ok((value, Source::None));
        match target {
            Target::Snap(name, id) => {
                let snapshot = self.snapshots.get(id).context("no such snapshot")?;
                match property {
                    "type" => reported("snapshot".into()),
                    "creation" => reported(time(snapshot.creation)),
                    "createtxg" => reported(snapshot.txg.to_string()),
                    "guid" => reported(snapshot.guid.to_string()),
                    "userrefs" => reported(snapshot.holds.len().to_string()),
                    "clones" => reported(match self.clones(*id) {
                        none if none.is_empty() => "-".into(),
                        clones => clones.join(","),
                    }),
                    "used" | "written" => reported(size(0)),
                    "referenced" | "logicalreferenced" => {
                        let manifest = self.snapshot_manifest(host, *id)?;
                        reported(size(EMPTY + tree::space(&manifest, None)))
                    }
                    _ if props::is_user(property) => match snapshot.local.get(property) {
                        Some(value) => Ok((value.clone(), Source::Local)),
                        None => Ok(match self.setting(name, property) {
                            (value, Source::Local | Source::Received) => {
                                (value, Source::Inherited(name.clone()))
                            }
                            other => other,
                        }),
                    },
                    _ => reported("-".into()),
                }
            }
            Target::Fs(name) => {
                let dataset = self.dataset(name)?;
                match property {
                    "type" => reported("filesystem".into()),
                    "creation" => reported(time(dataset.creation)),
                    "createtxg" | "guid" => reported(dataset.id.to_string()),
                    "mounted" => reported(yes(dataset.mounted.is_some())),
                    "origin" => {
                        let origin = dataset.origin.and_then(|id| self.snapshot_name(id));
                        reported(origin.unwrap_or_else(|| "-".into()))
                    }
                    "available" => reported(size(CAPACITY - self.used(host, name)?)),
                    "used" | "logicalused" => reported(size(self.used(host, name)?)),
                    "written" => reported(size(self.written(host, name)?)),
                    "referenced" | "logicalreferenced" => {
                        let (manifest, _) = self.survey(host, name)?;
                        reported(size(EMPTY + tree::space(&manifest, None)))
                    }
                    "usedbysnapshots" => reported(size(0)),
                    "clones" | "userrefs" => reported("-".into()),
                    "encryptionroot" => reported(self.encryption_root(name).unwrap_or_else(|| "-".into())),
                    "keystatus" => reported(match self.encryption_root(name) {
                        None => "-".into(),
                        Some(_) if self.is_locked(name) => "unavailable".into(),
                        Some(_) => "available".into(),
                    }),
                    "mountpoint" => {
                        let (value, source) = self.setting(name, property);
                        match value.as_str() {
                            "none" | "legacy" => Ok((value, source)),
                            path => Ok((host.shown(path), source)),
                        }
                    }
                    _ => match self.setting(name, property) {
                        (value, source) if exact && value == "none" && props::SPACE.contains(&property) => {
                            Ok((value.replace("none", "0"), source))
                        }
                        (value, source) if exact && property == "recordsize" => {
                            let kib = value.strip_suffix('K').and_then(|number| number.parse::<u64>().ok());
                            Ok((kib.map_or(value, |kib| (kib * 1024).to_string()), source))
                        }
                        other => Ok(other),
                    },
                }
            }
        }
    }

    /// What a dataset wrote since its last snapshot, or since it was cloned.
    fn written(&mut self, host: &Host, name: &str) -> Result<u64> {
        let (manifest, _) = self.survey(host, name)?;
        let dataset = self.dataset(name)?;
        let mounting = dataset.mounted.as_ref().map_or(0, |_| MOUNTING);
        let last = self.snapshots_of(dataset.id).next_back().map(|(id, _)| id);
        match last.or(dataset.origin) {
            Some(id) => {
                let before = self.snapshot_manifest(host, id)?;
                Ok(mounting + tree::space(&manifest, Some(&before)))
            }
            None => Ok(EMPTY + tree::space(&manifest, None)),
        }
    }

    /// What a dataset and those below it take.
    fn used(&mut self, host: &Host, name: &str) -> Result<u64> {
        let mut sum = 0;
        for name in self.family(name) {
            sum += if self.dataset(&name)?.origin.is_some() {
                self.written(host, &name)?
            } else {
                let (manifest, _) = self.survey(host, &name)?;
                EMPTY + tree::space(&manifest, None)
            };
        }
        Ok(sum.min(CAPACITY))
    }

    /// Where the files of a dataset are now.
    pub fn place(&self, host: &Host, name: &str) -> Result<PathBuf> {
        let dataset = self.dataset(name)?;
        Ok(match &dataset.mounted {
            Some(mountpoint) => host.path(mountpoint),
            None => aside(host, "unmounted", dataset.id),
        })
    }

    /// All mountpoints.
    pub fn mounts(&self, host: &Host) -> Mounts {
        self.datasets
            .values()
            .filter_map(|dataset| dataset.mounted.as_ref())
            .map(|mountpoint| host.path(mountpoint))
            .collect()
    }

    /// What is in a dataset now.
    pub fn survey(&mut self, host: &Host, name: &str) -> Result<(Manifest, tree::Known)> {
        let place = self.place(host, name)?;
        let mounts = self.mounts(host);
        let objects = aside(host, "objects", self.dataset(name)?.id);
        let known = match fs::read_to_string(&objects) {
            Ok(text) => tree::known_from_json(&serde_json::from_str(&text)?)?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => tree::Known::new(),
            Err(cause) => return Err(cause).context("read the object table"),
        };
        tree::survey(&place, &mounts, &known, &mut self.next)
    }

    /// Keeps how to know the files of a dataset again.
    fn remember(&self, host: &Host, name: &str, known: &tree::Known) -> Result<()> {
        let path = aside(host, "objects", self.dataset(name)?.id);
        fs::create_dir_all(host.state("objects"))?;
        replace(&path, &tree::known_to_json(known).to_string())
    }

    /// What is in a snapshot.
    pub fn snapshot_manifest(&self, host: &Host, id: u64) -> Result<Manifest> {
        let path = manifest_path(host, id);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        tree::manifest_from_json(&serde_json::from_str(&text)?)
    }

    /// Makes an empty, unmounted dataset.
    pub fn add(&mut self, host: &Host, name: &str, local: BTreeMap<String, String>) -> Result<()> {
        let id = self.number();
        fs::create_dir_all(host.state("unmounted"))?;
        DirBuilder::new()
            .mode(0o755)
            .create(aside(host, "unmounted", id))
            .with_context(|| format!("make {name}"))?;
        let dataset = Dataset { id, creation: now(), local, ..Dataset::default() };
        self.datasets.insert(name.into(), dataset);
        Ok(())
    }

    /// Makes an unmounted dataset with the content of a snapshot.
    pub fn add_clone(
        &mut self,
        host: &Host,
        name: &str,
        origin: u64,
        local: BTreeMap<String, String>,
    ) -> Result<()> {
        let id = self.number();
        let dataset = Dataset { id, creation: now(), origin: Some(origin), local, ..Dataset::default() };
        self.datasets.insert(name.into(), dataset);
        self.fill(host, name, origin)
    }

    /// Gives an unmounted dataset the content of a snapshot.
    pub fn fill(&mut self, host: &Host, name: &str, from: u64) -> Result<()> {
        fs::create_dir_all(host.state("unmounted"))?;
        let place = aside(host, "unmounted", self.dataset(name)?.id);
        tree::remove(&place)?;
        tree::copy(&aside(host, "snapshots", from), &place, &Mounts::new())?;
        let known = tree::adopt(&place, &self.snapshot_manifest(host, from)?)?;
        self.remember(host, name, &known)?;
        tree::settle(&place, &host.state("clock"))
    }

    /// Takes a snapshot, in the same transaction group as others that are taken at once. Gives the number of the group.
    pub fn add_snapshot(
        &mut self,
        host: &Host,
        fs_name: &str,
        name: &str,
        local: BTreeMap<String, String>,
        with: Option<u64>,
    ) -> Result<u64> {
        let (manifest, known) = self.survey(host, fs_name)?;
        let id = self.number();
        fs::create_dir_all(host.state("snapshots"))?;
        let place = self.place(host, fs_name)?;
        tree::copy(&place, &aside(host, "snapshots", id), &self.mounts(host))?;
        let text = tree::manifest_to_json(&manifest).to_string();
        replace(&manifest_path(host, id), &text)?;
        self.remember(host, fs_name, &known)?;
        tree::settle(&place, &host.state("clock"))?;
        let snapshot = Snapshot {
            dataset: self.dataset(fs_name)?.id,
            name: name.into(),
            creation: now(),
            txg: with.unwrap_or(id),
            guid: guid(host, id),
            holds: BTreeMap::new(),
            local,
        };
        self.snapshots.insert(id, snapshot);
        Ok(with.unwrap_or(id))
    }

    /// Removes a snapshot that nothing depends on.
    pub fn drop_snapshot(&mut self, host: &Host, id: u64) -> Result<()> {
        tree::remove(&aside(host, "snapshots", id))?;
        tree::remove(&manifest_path(host, id))?;
        self.snapshots.remove(&id);
        Ok(())
    }

    /// Removes an unmounted dataset that nothing depends on, and its mountpoint if that is empty and was made by
    /// inheritance.
    pub fn drop_dataset(&mut self, host: &Host, name: &str) -> Result<()> {
        let (mountpoint, source) = self.setting(name, "mountpoint");
        let id = self.dataset(name)?.id;
        tree::remove(&aside(host, "unmounted", id))?;
        tree::remove(&aside(host, "objects", id))?;
        self.datasets.remove(name);
        if mountpoint.starts_with('/') && !matches!(source, Source::Local) {
            // Not empty, or never made: both are fine.
            let _ = fs::remove_dir(host.path(&mountpoint));
        }
        Ok(())
    }

    /// The dataset whose key another one is encrypted with.
    pub fn encryption_root(&self, name: &str) -> Option<String> {
        match self.setting(name, "encryption") {
            (value, _) if value == "off" => None,
            (_, Source::Inherited(root)) => Some(root),
            _ => Some(name.into()),
        }
    }

    /// Whether the key of a dataset is not loaded.
    pub fn is_locked(&self, name: &str) -> bool {
        let root = self.encryption_root(name);
        root.is_some_and(|root| self.datasets.get(&root).is_some_and(|dataset| dataset.locked))
    }

    /// Whether a dataset is to be mounted without being asked to.
    pub fn mountable(&self, name: &str) -> bool {
        let setting = |property| self.setting(name, property).0;
        setting("canmount") == "on" && setting("mountpoint").starts_with('/') && setting("jailed") == "off"
    }

    /// Mounts a dataset that is mountable and not mounted. The inner error is what zfs has to say.
    pub fn mount(&mut self, host: &Host, name: &str) -> Result<Result<(), String>> {
        let (mountpoint, _) = self.setting(name, "mountpoint");
        let shown = host.shown(&mountpoint);
        let place = host.path(&mountpoint);
        let cannot =
            |cause: &str| Ok(Err(format!("cannot mount '{shown}': failed to create mountpoint: {cause}")));
        if self.is_locked(name) {
            return Ok(Err(format!("cannot mount '{shown}': encryption key not loaded")));
        }
        if host.flag("fail-mount") {
            return cannot("Not a directory");
        }
        let is_full = || fs::read_dir(&place).is_ok_and(|mut names| names.next().is_some());
        if self.setting(name, "overlay").0 == "off" && is_full() {
            return Ok(Err(format!("cannot mount '{shown}': directory is not empty")));
        }
        if let Err(cause) = fs::create_dir_all(&place) {
            // A file in the place of the last component is no failure to make it.
            if place.is_file() {
                return Ok(Err(format!("cannot mount '{name}': Not a directory")));
            }
            return cannot(&reason(&cause));
        }
        let parent = place.parent().context("mountpoint without a parent")?;
        let id = self.dataset(name)?.id;
        tree::unseen(parent, || {
            // FreeBSD mounts over a directory that is not empty and hides what is in it.
            if fs::read_dir(&place)?.next().is_some() {
                fs::create_dir_all(host.state("covered"))?;
                fs::rename(&place, aside(host, "covered", id))?;
            }
            fs::rename(aside(host, "unmounted", id), &place).with_context(|| format!("mount {name}"))
        })?;
        self.dataset_mut(name)?.mounted = Some(mountpoint);
        Ok(Ok(()))
    }

    /// Unmounts a dataset and everything mounted below it, unless some of it is in use. The inner error is what zfs has
    /// to say.
    pub fn unmount(&mut self, host: &Host, name: &str) -> Result<Result<(), String>> {
        for (mountpoint, _) in self.mounted_below(name)? {
            if self.busy(host, &mountpoint)? {
                return Ok(Err(format!(
                    "cannot unmount '{}': pool or dataset is busy",
                    host.shown(&mountpoint)
                )));
            }
        }
        self.detach(host, name)?;
        Ok(Ok(()))
    }

    /// Unmounts a dataset and everything mounted below it, in use or not. Gives their names in the order to mount
    /// them again.
    pub fn detach(&mut self, host: &Host, name: &str) -> Result<Vec<String>> {
        let mut detached = Vec::new();
        for (mountpoint, name) in self.mounted_below(name)? {
            let id = self.dataset(&name)?.id;
            let place = host.path(&mountpoint);
            let parent = place.parent().context("mountpoint without a parent")?;
            tree::unseen(parent, || -> Result<()> {
                fs::create_dir_all(host.state("unmounted"))?;
                fs::rename(&place, aside(host, "unmounted", id))
                    .with_context(|| format!("unmount {name}"))?;
                let covered = aside(host, "covered", id);
                if covered.exists() {
                    fs::rename(covered, &place)?;
                } else {
                    DirBuilder::new().mode(0o755).create(&place)?;
                }
                Ok(())
            })?;
            self.dataset_mut(&name)?.mounted = None;
            detached.insert(0, name);
        }
        Ok(detached)
    }

    /// A mounted dataset and everything mounted below it, the deepest first: mountpoints and names.
    fn mounted_below(&self, name: &str) -> Result<Vec<(String, String)>> {
        let Some(top) = &self.dataset(name)?.mounted else {
            return Ok(Vec::new());
        };
        let mut below: Vec<(String, String)> = self
            .datasets
            .iter()
            .filter_map(|(name, dataset)| Some((dataset.mounted.clone()?, name.clone())))
            .filter(|(mountpoint, _)| within(mountpoint, top))
            .collect();
        below.sort_by(|a, b| b.cmp(a));
        Ok(below)
    }

    /// Whether a mounted file system is in use: a nullfs mount above it, which the simulated kernel knows of or a test
    /// writes into `busy`, or the current directory of the caller, which is ours as well.
    fn busy(&self, host: &Host, mountpoint: &str) -> Result<bool> {
        let listed = host.state_lines("busy")?.iter().any(|line| line.trim_end_matches('/') == mountpoint);
        #[cfg(not(target_os = "freebsd"))]
        let listed = listed || crate::mounts::is_source(host, mountpoint)?;
        let place = fs::canonicalize(host.path(mountpoint)).ok();
        let here = env::current_dir().ok();
        let inside = here.zip(place).is_some_and(|(here, place)| here.starts_with(place));
        Ok(listed || inside)
    }

    /// Brings the `.zfs/snapshot` directories in line with `snapdir=visible`.
    ///
    /// The real directory is there whatever the property says, only not listed; a directory cannot be hidden here, so
    /// a test that wants to read through it has to make it visible, and its tree walks have to pass it by, as they
    /// must on a host where it is visible.
    pub fn show_snapshots(&self, host: &Host) -> Result<()> {
        for (name, dataset) in &self.datasets {
            let Some(mountpoint) = &dataset.mounted else {
                continue;
            };
            let root = host.path(mountpoint);
            let shown = root.join(tree::CONTROL).join("snapshot");
            if self.setting(name, "snapdir").0 != "visible" {
                if root.join(tree::CONTROL).exists() {
                    tree::unseen(&root, || tree::remove(&root.join(tree::CONTROL)))?;
                }
                continue;
            }
            let wanted: BTreeMap<&str, u64> =
                self.snapshots_of(dataset.id).map(|(id, snapshot)| (snapshot.name.as_str(), id)).collect();
            tree::unseen(&root, || Ok(fs::create_dir_all(&shown)?))?;
            // Made again each time: a snapshot of the same name may be another one by now.
            for entry in fs::read_dir(&shown)? {
                tree::remove(&entry?.path())?;
            }
            for (snapshot, id) in wanted {
                let from = aside(host, "snapshots", id);
                tree::copy(&from, &shown.join(snapshot), &Mounts::new())?;
            }
        }
        Ok(())
    }

    /// Finds the dataset a path lies in.
    pub fn by_path(&self, host: &Host, path: &str) -> Option<String> {
        let real = fs::canonicalize(path).ok()?;
        self.datasets
            .iter()
            .filter_map(|(name, dataset)| Some((dataset.mounted.as_ref()?, name)))
            .filter(|(mountpoint, _)| {
                fs::canonicalize(host.path(mountpoint)).is_ok_and(|place| real.starts_with(place))
            })
            .max_by_key(|(mountpoint, _)| mountpoint.len())
            .map(|(_, name)| name.clone())
    }
}

/// What no other snapshot has, on this host or on another.
fn guid(host: &Host, id: u64) -> u64 {
    let mut hash = std::hash::DefaultHasher::new();
    (host.state("snapshots"), id).hash(&mut hash);
    // As a number that JSON keeps.
    hash.finish() >> 11
}

/// A directory or file kept by number.
pub fn aside(host: &Host, what: &str, id: u64) -> PathBuf {
    host.state(what).join(id.to_string())
}

/// Where the list of a snapshot's files is kept.
pub fn manifest_path(host: &Host, id: u64) -> PathBuf {
    host.state("snapshots").join(format!("{id}.json"))
}

fn yes(flag: bool) -> String {
    if flag { "yes" } else { "no" }.into()
}

fn number(value: &Value) -> Result<u64> {
    value.as_u64().context("zfs.json: not a number")
}

fn map(value: &Value) -> Result<&serde_json::Map<String, Value>> {
    value.as_object().context("zfs.json: not an object")
}

fn strings(value: &Value) -> Result<BTreeMap<String, String>> {
    map(value)?
        .iter()
        .map(|(key, value)| match value.as_str() {
            Some(text) => Ok((key.clone(), text.to_owned())),
            None => bail!("zfs.json: {key}: not a string"),
        })
        .collect()
}
