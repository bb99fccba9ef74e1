//! A jail as one stream.

mod write;

use crate::commands::common::{self, Arguments, Common};
use crate::domain::base_version;
use crate::domain::configured::JailConfigs;
use crate::domain::container::{check_has_no_children, own_properties};
use crate::domain::jail_archive::{EXPORT_SNAPSHOT, is_exporting, template_digest};
use crate::domain::layout::{Layout, Storage};
use crate::domain::settings::Settings;
use crate::domain::{fstab, origin, owner_lock};
use crate::formats::jail_manifest::JailManifest;
use crate::system::console;
use crate::system::host::Host;
use crate::system::lock::Lock;
use crate::system::plan::Plan;
use crate::system::signals;
use crate::system::zfs::{self, Dataset, DestroyIfPresent, TakeSnapshots};
use crate::types::jail_name::JailName;
use anyhow::{Context, Result, bail};
use clap::{Parser, ValueHint};
use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use write::WriteArchive;

/// Write a jail as one stream
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-export", version)]
pub struct JailExport {
    /// Export a running jail without ZFS, whose files may change meanwhile
    #[arg(short, long)]
    pub force: bool,
    /// Write all of the container, not only what differs from its template
    #[arg(long)]
    pub full: bool,
    /// The file, instead of standard output
    #[arg(short, long, value_name = "file", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
    /// The jail
    #[arg(value_name = "name")]
    pub name: JailName,
}

impl Arguments for JailExport {
    fn host(&self) -> Result<Host> {
        self.common.host()
    }
}

const PROGRAM: &str = "jail-export";

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

fn run(arguments: &JailExport, host: &Host) -> Result<ExitCode> {
    let (common, jail) = (&arguments.common, &arguments.name);
    let settings = Settings::load(host.root())?;
    let layout = Layout::find(host, &settings)?;
    if cfg!(target_os = "freebsd") && !rustix::process::geteuid().is_root() {
        bail!("this must run as root: it reads files of all owners");
    }
    let lock = Lock::try_of_move(host.root(), jail)?;
    if lock.is_none() && !common.dry_run {
        bail!("jail {jail} is being moved or copied by another program; try again later");
    }
    let found = look(host, &layout, arguments)?;
    // Without a snapshot, a start would change what is read.
    if found.snapshot.is_none() && !found.is_running && !common.dry_run {
        owner_lock::hold(host, jail)?;
    }
    for note in &found.notes {
        console::note(PROGRAM, note);
    }
    if arguments.output.is_none() && !common.dry_run && stdout().is_terminal() {
        bail!("standard output is a terminal; use -o, or redirect it");
    }
    if !common.dry_run {
        signals::watch().context("watch signals")?;
    }
    common::print_or_do(PROGRAM, host, &steps(found), common.dry_run, common.json)
}

/// The jail, and what is exported of it.
struct Found {
    is_running: bool,
    /// The snapshot that is read, and those that killed runs left.
    snapshot: Option<TakenSnapshot>,
    archive: WriteArchive,
    notes: Vec<String>,
}

struct TakenSnapshot {
    name: String,
    stale: Vec<String>,
}

fn look(host: &Host, layout: &Layout, arguments: &JailExport) -> Result<Found> {
    let jail = &arguments.name;
    let configs = JailConfigs::read(host.root(), layout)?;
    let Some(resources) = configs.jails().iter().find(|c| c.jail == jail.as_str()) else {
        bail!("jail {jail} does not exist: no configuration");
    };
    owner_lock::check(host, jail)?;
    let is_running = host.kernel()?.running_jail(jail.as_str())?.is_some();
    let at = |path: PathBuf| host.root().host_path(&path);
    let (release, mounts) = fstab::of_jail(host, layout, jail)?;
    let container = at(layout.container(jail));
    let mut notes = Vec::new();
    let origin = origin::of_jail(host, layout, jail)?;
    let origin_tree = match &origin {
        _ if arguments.full => None,
        Some(origin) => Some(origin::tree_of(host, layout, origin)?),
        None => {
            notes.push(format!("warning: jail {jail}: its template is unknown, so all of it is exported"));
            None
        }
    };
    let text = fs_err::read(at(resources.file.clone()))?;
    let block =
        configs.block(jail.as_str()).and_then(|range| text.get(range)).context("jail.conf changed")?;
    let mut manifest = JailManifest {
        name: jail.to_string(),
        id: resources.id.clone(),
        addresses: resources.addresses.iter().map(ToString::to_string).collect(),
        release: release.to_string(),
        // Where it does not say what it is, its name does.
        version: base_version::of_base(&at(layout.base(&release)))
            .map_or_else(|_| release.to_string(), |version| version.to_string()),
        origin: origin.as_ref().map(ToString::to_string),
        template_digest: origin_tree.as_deref().map(template_digest).transpose()?,
        mounts: mounts
            .iter()
            .map(|m| {
                let text = |path: &Path| path.display().to_string();
                [text(&m.source), text(&m.target), m.kind.clone(), m.options.join(",")]
            })
            .collect(),
        block: String::from_utf8(block.to_vec())?,
        ..JailManifest::default()
    };
    let (snapshot, tree) = match layout.storage() {
        Storage::Zfs(top) => {
            let dataset = Layout::container_dataset(top, jail)?;
            zfs::check_mounted(host, &dataset, &container)?;
            check_has_no_children(host, &dataset)?;
            manifest.properties = own_properties(host, &dataset)?;
            manifest.origin_guid = guid_of_origin(host, &dataset)?;
            let snapshot = look_at_snapshots(host, &dataset)?;
            let name = snapshot.name.rsplit('@').next().unwrap_or_default().to_owned();
            (Some(snapshot), container.join(".zfs/snapshot").join(name))
        }
        Storage::Directory if is_running && !arguments.force => bail!(
            "jail {jail} is running, and without ZFS its files may change while they are read; service jail stop \
             {jail}, or use -f"
        ),
        Storage::Directory => (None, container),
    };
    let archive =
        WriteArchive { jail: jail.clone(), manifest, origin_tree, tree, output: arguments.output.clone() };
    Ok(Found { is_running, snapshot, archive, notes })
}

/// The guid of the snapshot that a container is a clone of.
fn guid_of_origin(host: &Host, dataset: &Dataset) -> Result<Option<String>> {
    let found = zfs::query_one(host.tools(), dataset.as_str(), &["origin"])?;
    let origin = found.as_ref().map_or("", |found| found.get("origin"));
    if origin.is_empty() {
        return Ok(None);
    }
    Ok(zfs::query_one(host.tools(), origin, &["guid"])?.map(|found| found.get("guid").to_owned()))
}

fn look_at_snapshots(host: &Host, dataset: &Dataset) -> Result<TakenSnapshot> {
    let mut stale = Vec::new();
    for full in zfs::snapshots(host, dataset)? {
        let is_export = full.rsplit('@').next().is_some_and(|name| name.starts_with(EXPORT_SNAPSHOT));
        if is_export && !is_exporting(host, &full)? {
            stale.push(full);
        }
    }
    let pid = rustix::process::getpid().as_raw_nonzero();
    Ok(TakenSnapshot { name: dataset.snapshot(&format!("{EXPORT_SNAPSHOT}{pid}")), stale })
}

/// The steps: with ZFS, the container is read as it is at one point in time.
fn steps(found: Found) -> Plan {
    let mut plan = Plan::default();
    let Some(TakenSnapshot { name, stale }) = found.snapshot else {
        plan.push(found.archive);
        return plan;
    };
    stale.into_iter().for_each(|name| plan.push(DestroyIfPresent { name }));
    plan.push(TakeSnapshots::one(name.clone()));
    plan.push(found.archive);
    plan.push(DestroyIfPresent { name });
    plan
}
