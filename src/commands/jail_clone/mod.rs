//! A new jail: container, path, fstab, and last the file in jail.conf.d that
//! makes it exist.

mod container;
mod source;

use crate::commands::common::{self, Common, arguments};
use crate::domain::configured::JailConfigs;
use crate::domain::container::OWNER_PROPERTY;
use crate::domain::fstab::MakeMountPoint;
use crate::domain::layout::{Layout, Storage};
use crate::domain::new_jail::{JailRequest, NewJail, check_configured, complete, resolver_warning};
use crate::domain::owner_lock;
use crate::domain::settings::Settings;
use crate::system::console;
use crate::system::host::Host;
use crate::system::lock::{Lock, LockId, LockMode};
use crate::system::plan::Plan;
use crate::system::signals;
use crate::system::zfs::{self, DatasetProperties, DestroyIfPresent};
use crate::types::address::{Address, Id};
use crate::types::interface::{IfName, VlanId};
use crate::types::jail_name::JailName;
use crate::types::mount::ExtraMount;
use crate::types::release::Release;
use anyhow::{Context, Result};
use clap::{Parser, ValueHint};
use source::Source;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::ExitCode;

/// Make a thin jail from a template, or a copy of a jail
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-clone", version)]
pub struct JailClone {
    /// Add the jail to jail_list, so that it starts at boot
    #[arg(short, long)]
    pub enable: bool,
    /// Get the IPv4 address by DHCP
    #[arg(long, conflicts_with = "v4")]
    pub dhcp: bool,
    /// Get the IPv6 address from a router
    #[arg(long, conflicts_with = "v6")]
    pub slaac: bool,
    /// The IPv6 address, instead of jail_net6 + id
    #[arg(short = '6', long = "ip6", value_name = "address")]
    pub v6: Option<Address<Ipv6Addr>>,
    /// The IPv4 address, instead of jail_net + id
    #[arg(short = 'i', long = "ip", value_name = "address")]
    pub v4: Option<Address<Ipv4Addr>>,
    /// The bridge, instead of the common $bridge
    #[arg(short, long, value_name = "bridge")]
    pub bridge: Option<IfName>,
    /// The default gateway, instead of the common one
    #[arg(short = 'g', long = "gateway", value_name = "gateway")]
    pub gateways: Vec<IpAddr>,
    /// The VLAN, on a bridge that filters VLANs
    #[arg(long, value_name = "vlan")]
    pub vlan: Option<VlanId>,
    /// A further mount.
    #[arg(help = "A further mount: source:target[:options]", short = 'm', long = "mount", value_name = "mount", value_parser = common::mount(), value_hint = ValueHint::AnyPath)]
    pub mounts: Vec<ExtraMount>,
    /// The release, instead of bsd_ver
    #[arg(short, long, value_name = "release")]
    pub release: Option<Release>,
    /// Copy this jail instead of a template
    #[arg(long, value_name = "jail", conflicts_with = "release")]
    pub from: Option<JailName>,
    /// With --from: copy ssh host keys and other files that identify the host
    #[arg(long, requires = "from")]
    pub keep_identity: bool,
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
    /// The new jail
    #[arg(value_name = "name")]
    pub name: JailName,
    /// Its id, the lowest free one by default
    #[arg(value_name = "id")]
    pub id: Option<Id>,
}

arguments!(JailClone);

const PROGRAM: &str = "jail-clone";

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

fn run(arguments: &JailClone, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let settings = Settings::load(host.root())?;
    // From reading what is in use to the file that claims it.
    let lock = if common.dry_run { None } else { Some(Lock::take(host.root(), LockId::Jails)?) };
    // The zfs(8) of a killed run continues, and mounts what it made.
    lock.as_ref().map_or(Ok(()), Lock::share_with_children).context("lock")?;
    // What is copied must not be changed meanwhile.
    let template = |release: &Release| {
        (!common.dry_run).then(|| Lock::template(host.root(), release, LockMode::Shared)).transpose()
    };
    let _template = match settings.release(arguments.release.as_ref()) {
        Ok(release) if arguments.from.is_none() => template(&release)?,
        _ => None,
    };
    let _move = arguments.from.as_ref().map(|jail| lock_source(host, jail)).transpose()?;
    let subject = Subject::find(host, &settings, arguments)?;
    let _template_of_source = match &subject.source {
        Some(source) => template(&source.release)?,
        None => None,
    };
    if let Some(last) = subject.unfinished {
        let mut plan = Plan::default();
        plan.push(last);
        return common::print_or_do(PROGRAM, host, &plan, common.dry_run, common.json);
    }
    if let (Some(source), false) = (&subject.source, common.dry_run) {
        // Without a snapshot, a start would change what is copied.
        if *subject.layout.storage() == Storage::Directory {
            owner_lock::hold(host, &source.jail)?;
        }
        signals::watch().context("watch signals")?;
    }
    let found = look(host, &subject)?;
    let (summary, notes) = (found.jail.summary.clone(), found.jail.notes.clone());
    let (plan, last) = steps(found);
    let code = common::print_or_do(PROGRAM, host, &plan, common.dry_run, common.json)?;
    if !common.dry_run {
        console::report(PROGRAM, &summary);
    }
    for note in &notes {
        console::note(PROGRAM, note);
    }
    if !common.dry_run {
        complete(host, &arguments.name, last)?;
    }
    Ok(code)
}

/// What zfs(8) is asked, once: every start of it costs more than the answer.
const ASKED: [&str; 5] = ["mounted", "mountpoint", "origin", OWNER_PROPERTY, "createtxg"];

/// Keeps jail-rebase(8) from a jail while it is copied.
fn lock_source(host: &Host, jail: &JailName) -> Result<Lock> {
    let lock = Lock::try_of_move(host.root(), jail)?;
    lock.with_context(|| format!("jail {jail} is being moved by jail-rebase; try again later"))
}

/// What the new jail is to be.
struct Subject {
    settings: Settings,
    layout: Layout,
    configs: JailConfigs,
    /// What zfs(8) knows of the datasets.
    rows: Vec<DatasetProperties>,
    /// The jail that it is a copy of.
    source: Option<Source>,
    /// The command line, completed by what the source has.
    arguments: JailClone,
    /// What a killed run left to do behind the file of the jail.
    unfinished: Option<DestroyIfPresent>,
}

impl Subject {
    fn find(host: &Host, settings: &Settings, arguments: &JailClone) -> Result<Subject> {
        let jail = &arguments.name;
        let rows = match &settings.jail_zfs {
            Some(top) => {
                let container = Layout::container_dataset(top, jail)?;
                let other = match &arguments.from {
                    // Whether it is mounted.
                    Some(_) => top.child("containers")?,
                    None => Layout::skeleton_dataset(top, &settings.release(arguments.release.as_ref())?)?,
                };
                let datasets = [top.as_str(), other.as_str(), container.as_str()];
                zfs::query(host.tools(), &datasets, 1, &ASKED)?
            }
            None => Vec::new(),
        };
        let layout = Layout::from_properties(host, settings, &rows)?;
        if arguments.from.is_none() {
            settings.release(arguments.release.as_ref())?;
        }
        let configs = JailConfigs::read(host.root(), &layout)?;
        let dataset =
            settings.jail_zfs.as_ref().map(|top| Layout::container_dataset(top, jail)).transpose()?;
        let unfinished = check_configured(&configs, jail, dataset.as_ref(), &rows)?;
        let source = match &arguments.from {
            Some(from) => Some(Source::look(host, &layout, &configs, from)?),
            None => None,
        };
        let arguments = match &source {
            Some(source) => source.complete(arguments)?,
            None => arguments.clone(),
        };
        let settings = settings.clone();
        Ok(Subject { settings, layout, configs, rows, source, arguments, unfinished })
    }
}

/// What a new jail meets on the host.
struct Found {
    container: Plan,
    /// What remains to be done when the jail exists.
    last: Option<DestroyIfPresent>,
    /// Everything else.
    jail: NewJail,
}

/// Looks at the host. Every reason not to make the jail is found here.
fn look(host: &Host, subject: &Subject) -> Result<Found> {
    let Subject { settings, layout, configs, rows, source, arguments, .. } = subject;
    let release = settings.release(arguments.release.as_ref())?;
    let request = arguments.request(release, source.as_ref());
    let (jail, release) = (&request.name, &request.release);
    let at = |path: &Path| host.root().host_path(path);
    // The container has what the skeleton or the source has, even if a killed run made
    // it.
    let tree = source.as_ref().map_or_else(|| at(&layout.skeleton(release)), |s| s.container.clone());
    let mut new = NewJail::look(host, settings, layout, configs, &request, &tree)?;
    let place = at(&layout.container(jail));
    let (mut container, last) = match source {
        Some(source) => {
            let copy = source::look(host, layout, source, jail, rows, &new.missing)?;
            let last = copy.last_step();
            (copy.steps(source.identity(&place, arguments.keep_identity)?), last)
        }
        None => (container::look(host, layout, jail, release, rows, &new.missing)?.steps(), None),
    };
    for point in &new.missing {
        let make = MakeMountPoint { path: place.join(&point.path), is_directory: point.is_directory };
        if !make.is_done()? {
            container.push(make);
        }
    }
    match source {
        Some(source) => {
            new.notes.extend(source.notes.iter().cloned());
            new.summary.push_str(&format!(", a copy of {}", source.jail));
        }
        None => new.notes.extend(resolver_warning(host, layout, jail, release)),
    }
    Ok(Found { container, last, jail: new })
}

/// The steps that make the jail; see [`NewJail::steps`].
fn steps(found: Found) -> (Plan, Option<DestroyIfPresent>) {
    (found.jail.steps(found.container), found.last)
}

impl JailClone {
    fn request(&self, release: Release, source: Option<&Source>) -> JailRequest {
        JailRequest {
            name: self.name.clone(),
            id: self.id,
            release,
            enable: self.enable,
            dhcp: self.dhcp,
            slaac: self.slaac,
            v4: self.v4,
            v6: self.v6,
            bridge: self.bridge.clone(),
            gateways: self.gateways.clone(),
            vlan: self.vlan,
            mounts: self.mounts.clone(),
            statements: source.map_or_else(Vec::new, |source| source.inherited.statements.clone()),
        }
    }
}
