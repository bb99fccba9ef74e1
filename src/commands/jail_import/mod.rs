//! A jail from the stream that jail-export wrote, on this host or another.

mod container;
mod contents;

use crate::commands::common::{self, Common, arguments};
use crate::domain::configured::JailConfigs;
use crate::domain::container::OWNER_PROPERTY;
use crate::domain::jail_archive::Summed;
use crate::domain::layout::Layout;
use crate::domain::new_jail::{InheritedBlock, JailRequest, NewJail, check_configured, complete};
use crate::domain::settings::Settings;
use crate::domain::template;
use crate::formats::jail_manifest::{JailManifest, LARGEST, NAME};
use crate::formats::printable;
use crate::formats::tar::TarReader;
use crate::system::console;
use crate::system::host::Host;
use crate::system::lock::{Lock, LockId, LockMode};
use crate::system::plan::Plan;
use crate::system::signals;
use crate::system::zfs::{self, DatasetProperties, DestroyIfPresent};
use crate::types::address::{Address, Id};
use crate::types::jail_name::JailName;
use crate::types::mount::ExtraMount;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use clap::{Parser, ValueHint};
use contents::Contents;
use std::fs::File;
use std::io::{BufReader, IsTerminal, Read, stdin};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make a jail from an exported one
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-import", version)]
pub struct JailImport {
    /// Add the jail to jail_list, so that it starts at boot
    #[arg(short, long)]
    pub enable: bool,
    /// Apply the mounts and statements that the archive contains
    #[arg(long)]
    pub trust: bool,
    /// The IPv4 address, instead of the one that it had
    #[arg(short = 'i', long = "ip", value_name = "address")]
    pub v4: Option<Address<Ipv4Addr>>,
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
    /// The archive, - for standard input
    #[arg(value_name = "file", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// The new jail, instead of the name that it had
    #[arg(value_name = "name")]
    pub name: Option<JailName>,
    /// Its id, instead of the one that it had
    #[arg(value_name = "id")]
    pub id: Option<Id>,
}

arguments!(JailImport);

const PROGRAM: &str = "jail-import";

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

/// An archive that is being read.
pub(super) type Archive = TarReader<Summed<BufReader<Box<dyn Read>>>>;

fn run(arguments: &JailImport, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    if cfg!(target_os = "freebsd") && !rustix::process::geteuid().is_root() && !common.dry_run {
        bail!("this must run as root: it creates files of all owners");
    }
    let settings = Settings::load(host.root())?;
    let mut archive = open(host, arguments)?;
    let manifest = read_manifest(&mut archive).context("archive")?;
    let lock = if common.dry_run { None } else { Some(Lock::take(host.root(), LockId::Jails)?) };
    lock.as_ref().map_or(Ok(()), Lock::share_with_children).context("lock")?;
    let release: Release = manifest.release.parse().context("archive: release")?;
    let _template = match common.dry_run {
        false => Some(Lock::template(host.root(), &release, LockMode::Shared)?),
        true => None,
    };
    let name = || manifest.name.parse::<JailName>().context("archive: name");
    let jail = arguments.name.clone().map_or_else(name, Ok)?;
    let found = match look(host, &settings, arguments, manifest, archive, &jail)? {
        Looked::New(found) => found,
        Looked::Unfinished(last) => {
            let mut plan = Plan::default();
            plan.push(last);
            return common::print_or_do(PROGRAM, host, &plan, common.dry_run, common.json);
        }
    };
    let (summary, notes) = (found.jail.summary.clone(), found.jail.notes.clone());
    let (plan, last) = (found.jail.steps(found.container.plan), found.container.last);
    if !common.dry_run {
        signals::watch().context("watch signals")?;
    }
    let code = common::print_or_do(PROGRAM, host, &plan, common.dry_run, common.json)?;
    if !common.dry_run {
        console::report(PROGRAM, &summary);
    }
    for note in &notes {
        console::note(PROGRAM, &printable::line(note));
    }
    if !common.dry_run {
        complete(host, &jail, last)?;
    }
    Ok(code)
}

/// Opens the archive.
fn open(host: &Host, arguments: &JailImport) -> Result<Archive> {
    let from: Box<dyn Read> = match arguments.file.as_deref().filter(|file| *file != Path::new("-")) {
        Some(file) => {
            let file = host.root().resolve_argument(file);
            Box::new(File::open(&file).with_context(|| format!("open {}", file.display()))?)
        }
        None if stdin().is_terminal() => bail!("standard input is a terminal; name a file, or redirect it"),
        None => Box::new(stdin()),
    };
    Ok(TarReader::new(Summed::new(BufReader::with_capacity(1 << 17, from))))
}

/// Reads the first entry.
fn read_manifest(archive: &mut Archive) -> Result<JailManifest> {
    let first = archive.next_entry()?;
    if first.is_none_or(|first| first.path != Path::new(NAME)) {
        bail!("not written by jail-export: it does not begin with {NAME}");
    }
    let text = archive.read_all(LARGEST).context(NAME)?;
    JailManifest::parse(&text).context(NAME)
}

/// What is to be done.
enum Looked {
    /// A new jail.
    New(Box<Found>),
    /// What a killed run left behind the file of the jail.
    Unfinished(DestroyIfPresent),
}

/// What the import meets on the host.
struct Found {
    container: container::NewContainer,
    jail: NewJail,
}

/// What zfs(8) is asked.
const ASKED: [&str; 5] = ["mounted", "mountpoint", "origin", OWNER_PROPERTY, "guid"];

fn look(
    host: &Host,
    settings: &Settings,
    arguments: &JailImport,
    manifest: JailManifest,
    archive: Archive,
    jail: &JailName,
) -> Result<Looked> {
    let release: Release = manifest.release.parse().context("archive: release")?;
    let rows = match &settings.jail_zfs {
        Some(top) => {
            let container = Layout::container_dataset(top, jail)?;
            let (containers, skeleton) = (top.child("containers")?, Layout::skeleton_dataset(top, &release)?);
            let datasets = [top.as_str(), container.as_str(), containers.as_str(), skeleton.as_str()];
            zfs::query(host.tools(), &datasets, 1, &ASKED)?
        }
        None => Vec::new(),
    };
    let layout = Layout::from_properties(host, settings, &rows)?;
    let configs = JailConfigs::read(host.root(), &layout)?;
    let dataset = settings.jail_zfs.as_ref().map(|top| Layout::container_dataset(top, jail)).transpose()?;
    if let Some(last) = check_configured(&configs, jail, dataset.as_ref(), &rows)? {
        return Ok(Looked::Unfinished(last));
    }
    template::check(host, &layout, &release)?;
    let (request, notes) = request(arguments, &manifest, jail.clone(), release.clone())?;
    let skeleton = host.root().host_path(&layout.skeleton(&release));
    let mut new = choose(host, settings, &layout, &configs, request, &manifest, &skeleton)?;
    new.notes.extend(notes);
    new.summary.push_str(&format!(", imported {}", printable::line(&manifest.name)));
    let missing = new.missing.clone();
    let contents = Contents::new(archive, &manifest, missing);
    let container = container::look(host, &layout, jail, &release, &manifest, contents, &rows)?;
    Ok(Looked::New(Box::new(Found { container, jail: new })))
}

/// The new jail with the id and the address that it had, or with other ones where these
/// are taken.
fn choose(
    host: &Host,
    settings: &Settings,
    layout: &Layout,
    configs: &JailConfigs,
    request: JailRequest,
    manifest: &JailManifest,
    skeleton: &Path,
) -> Result<NewJail> {
    let look = |request: &JailRequest| NewJail::look(host, settings, layout, configs, request, skeleton);
    if request.id.is_some() || request.v4.is_some() || request.dhcp {
        return look(&request);
    }
    let id = manifest.id.as_ref().and_then(|id| id.parse::<Id>().ok());
    let address = manifest.addresses.iter().find_map(|a| a.parse::<Ipv4Addr>().ok());
    let is_here = |address: &Ipv4Addr| settings.jail_net.is_some_and(|net| net.contains(address));
    let v4 = address.filter(is_here).map(|address| Address { address, prefix: None });
    let before = JailRequest { id, v4, ..request.clone() };
    let Err(error) = look(&before) else { return look(&before) };
    let mut new = look(&request).map_err(|_| error)?;
    new.notes.push(format!("jail {}: its id or address is in use here; it has another one", request.name));
    Ok(new)
}

/// What the jail is to be. What an archive says is not done without being asked for: its
/// statements run commands on this host, and its mounts show files of this host.
fn request(
    arguments: &JailImport,
    manifest: &JailManifest,
    name: JailName,
    release: Release,
) -> Result<(JailRequest, Vec<String>)> {
    let mut own = vec![manifest.name.clone()];
    own.extend(manifest.addresses.iter().cloned());
    own.extend(manifest.id.iter().flat_map(|id| ["", "a", "b"].map(|end| format!("epair{id}{end}"))));
    let inherited = InheritedBlock::parse(manifest.block.as_bytes(), &manifest.name, &own)
        .context("archive: block of jail.conf")?;
    let mut notes = Vec::new();
    let own = inherited.own.iter().map(|(_, statement)| statement);
    let untrusted = inherited.statements.iter().filter(|_| !arguments.trust);
    for statement in own.chain(untrusted) {
        let statement = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        let statement = statement.trim_end_matches(';');
        notes.push(format!("warning: this statement of the archive is not applied: {statement}"));
    }
    let network = inherited.bridge.iter().map(|b| format!("$bridge = {b}"));
    let network = network.chain(inherited.gateways.iter().map(|g| format!("gateway {g}")));
    notes.extend(network.map(|what| format!("warning: {what} of the archive is not applied")));
    let mut mounts = Vec::new();
    for [source, target, kind, options] in &manifest.mounts {
        let text = format!("{source}:{target}:type={kind},{options}");
        if arguments.trust {
            mounts.push(text.parse::<ExtraMount>().with_context(|| format!("archive: mount {text}"))?);
        } else {
            notes.push(format!("warning: this mount of the archive is not applied: {text}"));
        }
    }
    if !arguments.trust && !notes.is_empty() {
        notes.push("next: add what you trust, or destroy the jail and import it with --trust".into());
    }
    let request = JailRequest {
        name,
        id: arguments.id,
        release,
        enable: arguments.enable,
        dhcp: inherited.gets[0] && arguments.v4.is_none(),
        slaac: inherited.gets[1],
        v4: arguments.v4,
        v6: None,
        bridge: None,
        gateways: Vec::<IpAddr>::new(),
        vlan: None,
        mounts,
        statements: if arguments.trust { inherited.statements } else { Vec::new() },
    };
    Ok((request, notes))
}

/// The snapshots of a skeleton among what zfs(8) said.
pub(super) fn snapshots_of<'r>(
    rows: &'r [DatasetProperties],
    skeleton: &str,
) -> impl Iterator<Item = &'r DatasetProperties> {
    let prefix = format!("{skeleton}@");
    rows.iter().filter(move |row| row.name.starts_with(&prefix))
}
