//! A new jail: container, path, fstab, and last the file in jail.conf.d that
//! makes it exist.

mod address;
mod conf_file;
mod container;
mod notes;

use crate::commands::common::{self, Common, arguments};
use crate::domain::configured::{JailConfigs, JailResources};
use crate::domain::container::OWNER_PROPERTY;
use crate::domain::devfs;
use crate::domain::fstab::{self, FstabPlan, JailTrees, MakeMountPoint};
use crate::domain::layout::Layout;
use crate::domain::rc_jail_list::{self, AddToJailList};
use crate::domain::settings::Settings;
use crate::domain::template;
use crate::system::console;
use crate::system::file::{self, MakeDirectory, WriteFile};
use crate::system::host::Host;
use crate::system::lock::{Lock, LockId, LockMode};
use crate::system::plan::{CommitPoint, Plan};
use crate::system::zfs;
use crate::types::address::{Address, Id};
use crate::types::interface::{IfName, VlanId};
use crate::types::jail_name::JailName;
use crate::types::mount::ExtraMount;
use crate::types::release::Release;
use address::{Choice, check_pairs, choose, reserved};
use anyhow::{Context, Result, bail};
use clap::{Parser, ValueHint};
use container::NewContainer;
use notes::notes;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make a thin jail from a template
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
    let mut settings = Settings::load(host.root())?;
    // What assigns the addresses also names the gateway.
    if arguments.dhcp {
        (settings.jail_net, settings.jail_gateway) = (None, None);
    }
    if arguments.slaac {
        (settings.jail_net6, settings.jail_gateway6) = (None, None);
    }
    // From reading what is in use to the file that claims it.
    let lock = if common.dry_run { None } else { Some(Lock::take(host.root(), LockId::Jails)?) };
    // The zfs(8) of a killed run continues, and mounts what it made.
    lock.as_ref().map_or(Ok(()), Lock::share_with_children).context("lock")?;
    // What is copied must not be changed meanwhile.
    let _template = match settings.release(arguments.release.as_ref()) {
        Ok(release) if !common.dry_run => Some(Lock::template(host.root(), &release, LockMode::Shared)?),
        _ => None,
    };
    let found = look(host, &settings, arguments)?;
    let (summary, notes) = (found.summary.clone(), found.notes.clone());
    let code = common::print_or_do(PROGRAM, host, &steps(found), common.dry_run, common.json)?;
    if !common.dry_run {
        console::report(PROGRAM, &summary);
    }
    for note in &notes {
        console::note(PROGRAM, note);
    }
    Ok(code)
}

/// What zfs(8) is asked, once: every start of it costs more than the answer.
const ASKED: [&str; 5] = ["mounted", "mountpoint", "origin", OWNER_PROPERTY, "createtxg"];

/// What a new jail meets on the host.
struct Found {
    container: NewContainer,
    /// Mount points that have yet to be made in it.
    mount_points: Vec<MakeMountPoint>,
    /// The jail's path, if it has yet to be made.
    path: Option<PathBuf>,
    /// Its fstab, if it has yet to be written.
    fstab: Option<WriteFile>,
    /// What adds it to jail_list, if that is asked for and it is not in it.
    enable: Option<AddToJailList>,
    /// The directory of the jails' files, if it has yet to be made.
    conf_dir: Option<PathBuf>,
    /// The file that makes it exist.
    conf: WriteFile,
    /// One line about the new jail.
    summary: String,
    /// What stands in the way of starting it.
    notes: Vec<String>,
}

/// Looks at the host. Every reason not to make the jail is found here.
fn look(host: &Host, settings: &Settings, arguments: &JailClone) -> Result<Found> {
    let jail = &arguments.name;
    let release = || settings.release(arguments.release.as_ref());
    let rows = match &settings.jail_zfs {
        Some(top) => {
            let skeleton = Layout::skeleton_dataset(top, &release()?)?;
            let container = Layout::container_dataset(top, jail)?;
            let datasets = [top.as_str(), skeleton.as_str(), container.as_str()];
            zfs::query(host.tools(), &datasets, 1, &ASKED)?
        }
        None => Vec::new(),
    };
    let layout = Layout::from_properties(host, settings, &rows)?;
    let release = release()?;
    let configs = JailConfigs::read(host.root(), &layout)?;
    if let Some(there) = configs.jails().iter().find(|c| c.jail == jail.as_str()) {
        bail!("jail {jail} is already configured ({})", there.file.display());
    }
    let (choice, resources) = choose_resources(host, settings, &configs, &layout, arguments)?;
    check_places(&layout, &configs, jail, &resources)?;
    check_devices(host, jail, &resources)?;

    let at = |path: &Path| host.root().host_path(path);
    let (base, skeleton) = (at(&layout.base(&release)), at(&layout.skeleton(&release)));
    template::check(host, &layout, &release)?;
    template::check_kernel(host, &release, &base)?;
    let path = look_at_path(at(&layout.path(jail)))?;
    // The container is a clone of the skeleton, even if a killed run made it.
    let trees = JailTrees { base, container: skeleton };
    let FstabPlan { entries, missing } =
        fstab::plan(host, &layout, jail, &release, &trees, &arguments.mounts)?;
    let container = container::look(host, &layout, jail, &release, &rows, &missing)?;
    let place = at(&layout.container(jail));
    let mut mount_points = Vec::new();
    for point in missing {
        let make = MakeMountPoint { path: place.join(point.path), is_directory: point.is_directory };
        if !make.is_done()? {
            mount_points.push(make);
        }
    }
    let fstab = new_file(&at(&layout.fstab(jail)), fstab::format(&entries))?;
    let enable = if arguments.enable { look_at_jail_list(host, &configs, jail)? } else { None };
    let directory = at(layout.conf_dir());
    let conf = WriteFile { path: at(&layout.conf(jail)), contents: choice.block.to_text().into_bytes() };
    let conf_dir = match file::look(&directory)? {
        None => {
            file::check_writable_parent(&directory)?;
            Some(directory)
        }
        Some(_) => {
            file::check_creatable(&conf.path)?;
            None
        }
    };
    let notes = notes(host, &layout, jail, &release, &configs, &resources);
    let summary = choice.summary;
    Ok(Found { container, mount_points, path, fstab, enable, conf_dir, conf, summary, notes })
}

/// The steps that make the jail:
///
/// 1. The container, which takes the longest and fails the most, and in it the
///    mount points of further mounts.
/// 2. The path and the fstab, which nothing looks at as long as no jail is
///    configured.
/// 3. jail_list, so that a jail that exists is in it.
/// 4. The file in jail.conf.d. It makes the jail exist, so it is last, and what it
///    depends on stays if it cannot be removed again.
fn steps(found: Found) -> Plan {
    let mut plan = found.container.steps();
    found.mount_points.into_iter().for_each(|point| plan.push(point));
    if let Some(path) = found.path {
        plan.push(MakeDirectory { path });
    }
    if let Some(fstab) = found.fstab {
        plan.push(fstab);
    }
    if let Some(enable) = found.enable {
        plan.push(enable);
    }
    if let Some(path) = found.conf_dir {
        plan.push(MakeDirectory { path });
    }
    plan.push(CommitPoint(found.conf));
    plan
}

/// The id, the addresses and all else that the configuration will use, none of it
/// another jail's.
fn choose_resources(
    host: &Host,
    settings: &Settings,
    configs: &JailConfigs,
    layout: &Layout,
    arguments: &JailClone,
) -> Result<(Choice, JailResources)> {
    let jail = &arguments.name;
    let reserved = reserved(host, settings)?;
    let mut choice = choose(host, settings, &reserved, configs, layout, arguments)?;
    let conf = layout.conf(jail);
    let candidate = |choice: &Choice| {
        let text = choice.block.to_text();
        configs.candidate(jail.as_str(), &conf, text.as_bytes()).context("jail.conf")
    };
    let mut resources = candidate(&choice)?;
    let has_common = configs.includes_conf_dir().is_some();
    let mut differs = choice.add_network(settings, &resources, has_common, arguments)?;
    if arguments.dhcp || arguments.slaac {
        choice.get_addresses(&resources, arguments);
        if arguments.dhcp {
            choice.block.devfs_ruleset = dhcp_ruleset(host, resources.devfs_ruleset)?;
        }
        differs = true;
    }
    if differs {
        resources = candidate(&choice)?;
    }
    configs.check(&resources, &reserved)?;
    check_pairs(host, jail, &resources)?;
    Ok((choice, resources))
}

/// The devfs ruleset for a jail that runs dhclient(8), unless that of the common
/// part shows bpf(4).
fn dhcp_ruleset(host: &Host, common: Option<u32>) -> Result<Option<u32>> {
    let rulesets = devfs::with_bpf(host)?;
    match (common, rulesets.first()) {
        (Some(common), _) if rulesets.contains(&common) => Ok(None),
        (_, Some(ruleset)) => Ok(Some(*ruleset)),
        (_, None) => bail!(
            "--dhcp: no devfs ruleset shows bpf(4), which dhclient(8) needs; append {} to /etc/devfs.rules, and \
             run service devfs restart",
            devfs::EXAMPLE
        ),
    }
}

/// The jail's path, unless it is there and empty.
fn look_at_path(path: PathBuf) -> Result<Option<PathBuf>> {
    match file::look(&path)? {
        None => {
            file::check_writable_parent(&path)?;
            Ok(Some(path))
        }
        Some(there) if there.is_dir() && fs_err::read_dir(&path)?.next().is_none() => Ok(None),
        Some(there) if there.is_dir() => {
            bail!("{}: the directory is not empty; find out what it is and remove it", path.display())
        }
        Some(there) => bail!("{}: {}, not a directory", path.display(), file::kind(&there)),
    }
}

fn look_at_jail_list(host: &Host, configs: &JailConfigs, jail: &JailName) -> Result<Option<AddToJailList>> {
    let present = rc_jail_list::names(host)?;
    if present.iter().any(|n| n == jail.as_str()) {
        return Ok(None);
    }
    let others: Vec<String> = configs.jails().iter().map(|c| c.jail.clone()).collect();
    Ok(Some(AddToJailList::new(host, jail, &present, &others)))
}

/// Fails if jail.conf(5) and the layout disagree about where the jail is.
fn check_places(
    layout: &Layout,
    known: &JailConfigs,
    jail: &JailName,
    resources: &JailResources,
) -> Result<()> {
    // There is no jail.conf(5) yet.
    if known.includes_conf_dir().is_none() {
        return Ok(());
    }
    let main = layout.jail_conf().display();
    for (name, value, ours) in
        [("path", &resources.path, layout.path(jail)), ("mount.fstab", &resources.fstab, layout.fstab(jail))]
    {
        if let Some(value) = value.as_ref().filter(|value| Path::new(value) != ours) {
            bail!(
                "{main} sets {name} of jail {jail} to {value}, but {} implies {}; change one of them",
                crate::domain::settings::FILE,
                ours.display()
            );
        }
    }
    Ok(())
}

/// Fails if the jail would see all devices of the host.
fn check_devices(host: &Host, jail: &JailName, resources: &JailResources) -> Result<()> {
    let Some(ruleset) = resources.devfs_ruleset else { return Ok(()) };
    match devfs::problem(host, ruleset)? {
        Some(problem) => {
            bail!("jail {jail} would see every device of the host: {problem}; {}", devfs::advice(ruleset))
        }
        None => Ok(()),
    }
}

/// A file that has yet to be written; one with these very contents was left by a
/// killed run.
fn new_file(path: &Path, contents: Vec<u8>) -> Result<Option<WriteFile>> {
    match file::look(path)? {
        Some(there) if there.is_file() && fs_err::read(path)? == contents => Ok(None),
        Some(there) if there.is_file() => {
            bail!("{}: already exists with different contents; remove it if no jail uses it", path.display())
        }
        _ => {
            file::check_creatable(path)?;
            Ok(Some(WriteFile { path: path.to_owned(), contents }))
        }
    }
}
