//! A jail that is about to exist: what it will be called and use, none of it another
//! jail's, and the files that make it exist.

mod address;
mod block;
mod inherited;
mod notes;

use crate::domain::configured::{JailConfigs, JailResources};
use crate::domain::container::COPY_SNAPSHOT;
use crate::domain::devfs;
use crate::domain::fstab::{self, FstabPlan, JailTrees, MountPoint};
use crate::domain::layout::Layout;
use crate::domain::rc_jail_list::{self, AddToJailList};
use crate::domain::settings::Settings;
use crate::domain::template;
use crate::system::file::{self, MakeDirectory, WriteFile};
use crate::system::host::Host;
use crate::system::plan::{CommitPoint, Plan};
use crate::system::zfs::{self, Dataset, DatasetProperties, DestroyIfPresent};
use crate::types::address::{Address, Id};
use crate::types::interface::{IfName, VlanId};
use crate::types::jail_name::JailName;
use crate::types::mount::ExtraMount;
use crate::types::release::Release;
use address::{Choice, check_pairs, choose, reserved};
use anyhow::{Context, Result, bail};
pub use inherited::InheritedBlock;
use notes::notes;
pub use notes::resolver_warning;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// What the new jail is to be.
#[derive(Clone, Debug)]
pub struct JailRequest {
    /// Its name.
    pub name: JailName,
    /// Its id, if it is given.
    pub id: Option<Id>,
    /// The release that it is of.
    pub release: Release,
    /// Whether it is added to jail_list.
    pub enable: bool,
    /// Whether it gets its IPv4 address by DHCP.
    pub dhcp: bool,
    /// Whether it gets its IPv6 address from a router.
    pub slaac: bool,
    /// Its IPv4 address, if it is given.
    pub v4: Option<Address<Ipv4Addr>>,
    /// Its IPv6 address, if it is given.
    pub v6: Option<Address<Ipv6Addr>>,
    /// Its bridge, if it is given.
    pub bridge: Option<IfName>,
    /// Its gateways, if they are given.
    pub gateways: Vec<IpAddr>,
    /// Its VLAN.
    pub vlan: Option<VlanId>,
    /// What it mounts besides base and container.
    pub mounts: Vec<ExtraMount>,
    /// Further statements of its block.
    pub statements: Vec<String>,
}

/// What a new jail meets on the host, but for its container.
pub struct NewJail {
    /// Mount points that its container lacks.
    pub missing: Vec<MountPoint>,
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
    pub summary: String,
    /// What stands in the way of starting it.
    pub notes: Vec<String>,
}

impl NewJail {
    /// Looks at the host. Every reason not to make the jail that does not lie in its
    /// container is found here. `tree` has what the container will have.
    pub fn look(
        host: &Host,
        settings: &Settings,
        layout: &Layout,
        configs: &JailConfigs,
        request: &JailRequest,
        tree: &Path,
    ) -> Result<NewJail> {
        let (jail, release) = (&request.name, &request.release);
        let mut settings = settings.clone();
        // What assigns the addresses also names the gateway.
        if request.dhcp {
            (settings.jail_net, settings.jail_gateway) = (None, None);
        }
        if request.slaac {
            (settings.jail_net6, settings.jail_gateway6) = (None, None);
        }
        let (choice, resources) = choose_resources(host, &settings, layout, configs, request)?;
        check_places(layout, configs, jail, &resources)?;
        check_devices(host, jail, &resources)?;
        let at = |path: &Path| host.root().host_path(path);
        let base = at(&layout.base(release));
        template::check(host, layout, release)?;
        template::check_kernel(host, release, &base)?;
        let path = look_at_path(at(&layout.path(jail)))?;
        let trees = JailTrees { base, container: tree.to_owned() };
        let FstabPlan { entries, missing } =
            fstab::plan(host, layout, jail, release, &trees, &request.mounts)?;
        let fstab = new_file(&at(&layout.fstab(jail)), fstab::format(&entries))?;
        let enable = if request.enable { look_at_jail_list(host, configs, jail)? } else { None };
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
        let notes = notes(layout, jail, configs, &resources);
        Ok(NewJail { missing, path, fstab, enable, conf_dir, conf, summary: choice.summary, notes })
    }

    /// The steps that make the jail:
    ///
    /// 1. The container, which takes the longest and fails the most, with the mount
    ///    points of further mounts.
    /// 2. The path and the fstab, which nothing looks at as long as no jail is
    ///    configured.
    /// 3. jail_list, so that a jail that exists is in it.
    /// 4. The file in jail.conf.d. It makes the jail exist, so it is last, and what it
    ///    depends on stays if it cannot be removed again.
    pub fn steps(self, container: Plan) -> Plan {
        let mut plan = container;
        if let Some(path) = self.path {
            plan.push(MakeDirectory { path });
        }
        if let Some(fstab) = self.fstab {
            plan.push(fstab);
        }
        if let Some(enable) = self.enable {
            plan.push(enable);
        }
        if let Some(path) = self.conf_dir {
            plan.push(MakeDirectory { path });
        }
        plan.push(CommitPoint(self.conf));
        plan
    }
}

/// The last step for a jail whose container was unfinished until it was configured: the
/// snapshot by which that is recognized goes.
pub fn complete(host: &Host, jail: &JailName, last: Option<DestroyIfPresent>) -> Result<()> {
    let mut plan = Plan::default();
    last.into_iter().for_each(|last| plan.push(last));
    match plan.carry_out_all(host).into_iter().next() {
        None => Ok(()),
        Some(first) => {
            Err(first.context(format!("jail {jail} is made, but something remains; run it again")))
        }
    }
}

/// The snapshot that a killed run did not destroy behind the file of the jail: the same
/// command completes it. Fails if the jail is configured without that.
pub fn check_configured(
    configs: &JailConfigs,
    jail: &JailName,
    dataset: Option<&Dataset>,
    rows: &[DatasetProperties],
) -> Result<Option<DestroyIfPresent>> {
    let Err(error) = check_not_configured(configs, jail) else { return Ok(None) };
    let marker = dataset.map(|dataset| dataset.snapshot(COPY_SNAPSHOT));
    match marker.filter(|marker| zfs::find(rows, marker).is_some()) {
        Some(name) => Ok(Some(DestroyIfPresent { name })),
        None => Err(error),
    }
}

/// Fails if a jail of that name is configured.
fn check_not_configured(configs: &JailConfigs, jail: &JailName) -> Result<()> {
    match configs.jails().iter().find(|c| c.jail == jail.as_str()) {
        Some(there) => bail!("jail {jail} is already configured ({})", there.file.display()),
        None => Ok(()),
    }
}

/// The id, the addresses and all else that the configuration will use, none of it
/// another jail's.
fn choose_resources(
    host: &Host,
    settings: &Settings,
    layout: &Layout,
    configs: &JailConfigs,
    request: &JailRequest,
) -> Result<(Choice, JailResources)> {
    let jail = &request.name;
    let reserved = reserved(host, settings)?;
    let mut choice = choose(host, settings, &reserved, configs, layout, request)?;
    choice.block.statements.clone_from(&request.statements);
    let conf = layout.conf(jail);
    let candidate = |choice: &Choice| {
        let text = choice.block.to_text();
        configs.candidate(jail.as_str(), &conf, text.as_bytes()).context("jail.conf")
    };
    let mut resources = candidate(&choice)?;
    let has_common = configs.includes_conf_dir().is_some();
    let mut differs = choice.add_network(settings, &resources, has_common, request)?;
    if request.dhcp || request.slaac {
        choice.get_addresses(&resources, request);
        if request.dhcp {
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
pub fn new_file(path: &Path, contents: Vec<u8>) -> Result<Option<WriteFile>> {
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
