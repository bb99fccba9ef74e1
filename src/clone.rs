//! A new jail: container, path, fstab, and last the file in jail.conf.d that
//! makes it exist.

use crate::devfs;
use crate::epair;
use crate::file::{self, MakeDirectory, WriteFile};
use crate::fstab::{self, Extra, Trees};
use crate::host::Host;
use crate::interface::{IfName, PairName};
use crate::jail::JailName;
use crate::jails::{Claim, Known};
use crate::layout::{Layout, Storage};
use crate::network::{self, Address, Chosen, Id};
use crate::origin;
use crate::plan::{Completing, Plan};
use crate::rclist;
use crate::release::Release;
use crate::resolver;
use crate::settings::Settings;
use crate::template;
use crate::tree::{self, CopyTree};
use crate::zfs::{self, Dataset};
use anyhow::{Context, Result, bail};
use std::fs::Metadata;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// The common jail.conf to start from.
const EXAMPLE: &str = "/usr/local/share/examples/thinjail/jail.conf";

/// What jail-clone is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The new jail.
    pub jail: JailName,
    /// Its id; the lowest free one when none is given.
    pub id: Option<Id>,
    /// Its release; the default one when none is given.
    pub release: Option<Release>,
    /// Its address, if not network + id.
    pub v4: Option<Address<Ipv4Addr>>,
    /// Its IPv6 address, if not network + id.
    pub v6: Option<Address<Ipv6Addr>>,
    /// Further mounts.
    pub mounts: Vec<Extra>,
    /// Add it to jail_list.
    pub enable: bool,
}

/// The plan that makes the jail, and what the administrator should know.
pub struct Clone {
    /// What to do.
    pub plan: Plan,
    /// One line about the new jail.
    pub summary: String,
    /// What stands in the way of starting it.
    pub notes: Vec<String>,
}

/// What zfs(8) is asked, once: every start of it costs more than the answer.
const ASKED: [&str; 5] = ["mounted", "mountpoint", "origin", zfs::OWNER_PROPERTY, "createtxg"];
type Row = (String, [String; ASKED.len()]);

/// Checks everything and plans.
pub fn plan(host: &Host, settings: &Settings, wanted: &Wanted) -> Result<Clone> {
    let jail = &wanted.jail;
    let release = || settings.release(wanted.release.as_ref());
    let told = match &settings.jail_zfs {
        Some(top) => {
            let skeleton = Layout::skeleton_dataset(top, &release()?)?;
            let container = Layout::container_dataset(top, jail)?;
            let datasets = [top.as_str(), skeleton.as_str(), container.as_str()];
            zfs::told(host.tools(), ASKED, 1, &datasets)?
        }
        None => Vec::new(),
    };
    let layout = Layout::find_told(host, settings, &told)?;
    let release = release()?;
    let known = Known::read(host.root(), &layout)?;
    if let Some(there) = known.claims().iter().find(|c| c.jail == jail.as_str()) {
        bail!("jail {jail} is configured already ({})", there.file.display());
    }

    let reserved = reserved(host, settings)?;
    let mut choice = choose(host, settings, &reserved, &known, &layout, wanted)?;
    let conf = layout.conf(jail);
    let candidate = |text: &str| known.candidate(jail.as_str(), &conf, text.as_bytes()).context("jail.conf");
    let mut claim = candidate(&choice.text)?;
    let gateways = gateways(settings, &choice, &claim);
    if !gateways.is_empty() {
        choice.text.insert_str(choice.text.len() - END.len(), &gateways);
        claim = candidate(&choice.text)?;
    }
    known.check(&claim, &reserved)?;
    check_pairs(host, jail, &claim)?;
    check_places(&layout, &known, jail, &claim)?;
    check_devices(host, jail, &claim)?;

    let at = |path: &Path| host.root().at(path);
    let (base, skeleton) = (at(&layout.base(&release)), at(&layout.skeleton(&release)));
    template::check(host, &layout, &release)?;
    template::check_kernel(host, &release, &base)?;
    let mut plan = Plan::default();
    let container = at(&layout.container(jail));
    plan_container(host, &layout, jail, &release, &container, &told, &mut plan)?;

    let path = at(&layout.path(jail));
    match file::look(&path)? {
        None => {
            file::check_writable_parent(&path)?;
            plan.push(MakeDirectory { path });
        }
        Some(there) if there.is_dir() && fs_err::read_dir(&path)?.next().is_none() => {}
        Some(there) if there.is_dir() => {
            bail!("{}: the directory is not empty; look what it is and remove it", path.display())
        }
        Some(there) => bail!("{}: {}, not a directory", path.display(), file::kind(&there)),
    }

    let made = file::look(&container)?.is_some();
    let trees = Trees { base, container: if made { container } else { skeleton } };
    let entries = fstab::plan(host, &layout, jail, &release, &trees, &wanted.mounts)?;
    plan_file(&at(&layout.fstab(jail)), fstab::format(&entries), &mut plan)?;

    let others: Vec<String> = known.claims().iter().map(|c| c.jail.clone()).collect();
    if wanted.enable {
        let present = rclist::names(host)?;
        if !present.iter().any(|n| n == jail.as_str()) {
            plan.push(rclist::Add::new(host, jail, &present, &others));
        }
    }

    let directory = at(layout.conf_dir());
    let conf = at(&conf);
    if file::look(&directory)?.is_none() {
        file::check_writable_parent(&directory)?;
        plan.push(MakeDirectory { path: directory });
    } else {
        file::check_creatable(&conf)?;
    }
    // The last step: this file makes the jail exist.
    plan.push(Completing(WriteFile { path: conf, contents: choice.text.into_bytes() }));
    Ok(Clone { plan, summary: choice.summary, notes: notes(host, &layout, jail, &release, &known, &claim) })
}

/// Addresses that no jail may have, although any jail may mention them: the
/// gateways and the host's own.
fn reserved(host: &Host, settings: &Settings) -> Result<Vec<IpAddr>> {
    let mut all: Vec<IpAddr> = settings.jail_gateway.map(IpAddr::from).into_iter().collect();
    all.extend(settings.jail_gateway6.map(IpAddr::from));
    all.extend(host.kernel()?.addresses()?.into_iter().map(|(_, address)| address));
    Ok(all)
}

/// The id and the addresses of the new jail.
struct Choice {
    text: String,
    summary: String,
    /// Whether it has an address of IPv4, and of IPv6.
    families: [bool; 2],
}

/// What the block of a jail ends with.
const END: &str = "}\n";

/// The gateways for the jail's own block: those of the settings where the common
/// part of jail.conf(5) has another one, which is in another network then.
fn gateways(settings: &Settings, choice: &Choice, claim: &Claim) -> String {
    let wanted = [settings.jail_gateway.map(IpAddr::from), settings.jail_gateway6.map(IpAddr::from)];
    let mut text = String::new();
    for (at, name) in ["gateway", "gateway6"].into_iter().enumerate() {
        let common = claim.gateways[at].as_deref().and_then(|value| value.parse::<IpAddr>().ok());
        if let (Some(wanted), Some(common)) = (wanted[at], common)
            && choice.families[at]
            && wanted != common
        {
            text.push_str(&format!("${name} = \"{wanted}\";\n"));
        }
    }
    text
}

fn choose(
    host: &Host,
    settings: &Settings,
    reserved: &[IpAddr],
    known: &Known,
    layout: &Layout,
    wanted: &Wanted,
) -> Result<Choice> {
    let given4 = wanted.v4.map(|a| network::v4_given(a, settings.jail_net)).transpose().context("-i")?;
    let given6 = wanted.v6.map(|a| network::v6_given(a, settings.jail_net6)).transpose().context("-6")?;
    let check = |address: IpAddr| {
        if settings.jail_gateway.map(IpAddr::from) == Some(address)
            || settings.jail_gateway6.map(IpAddr::from) == Some(address)
        {
            bail!("address {address} is that of the gateway; choose another");
        }
        if reserved.contains(&address) {
            bail!("address {address} is that of this host; choose another");
        }
        Ok(())
    };
    for chosen in [&given4, &given6].into_iter().flatten() {
        let address = chosen.address();
        check(address)?;
        if let Some(other) = known.claims().iter().find(|c| c.addresses.contains(&address)) {
            bail!("address {address} is that of jail {} ({})", other.jail, other.file.display());
        }
    }
    let of_id = |id: Id| -> Result<(Option<Chosen>, Option<Chosen>)> {
        let v4 = match (&given4, settings.jail_net) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(net)) => Some(network::v4_of_id(net, id)?),
            (None, None) => None,
        };
        let v6 = match (&given6, settings.jail_net6) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(net)) => Some(network::v6_of_id(net, id)?),
            (None, None) => None,
        };
        let chosen = [v4.as_ref(), v6.as_ref()];
        for address in chosen.into_iter().flatten().map(Chosen::address) {
            check(address)?;
        }
        Ok((v4, v6))
    };
    if given4.is_none() && given6.is_none() && settings.jail_net.is_none() && settings.jail_net6.is_none() {
        bail!("no address: give -i or -6, or set jail_net in {}", crate::settings::FILE);
    }
    // A given address says which id was meant, where one fits.
    let of_address = || match (wanted.v4, settings.jail_net) {
        (Some(v4), Some(net)) => network::id_of_v4(net, v4.address)
            .filter(|id| !known.claims().iter().any(|c| c.id.as_deref() == Some(id.to_string().as_str()))),
        _ => None,
    };
    let id = match wanted.id.or_else(of_address) {
        Some(id) => id,
        None => lowest_free(host, known, layout, wanted, |id| of_id(id).ok(), reserved)?,
    };
    let (v4, v6) = of_id(id).with_context(|| format!("id {id}"))?;
    let mut text = format!("{} {{\n$id = \"{id}\";\n", wanted.jail);
    let mut summary = format!("{}: id {id}", wanted.jail);
    for (name, chosen) in [("ip", &v4), ("ip6", &v6)] {
        if let Some(chosen) = chosen {
            // A given address that is the id's own is written the same way.
            let usual = of_id_text(settings, name, id).filter(|c| c.net == chosen.net);
            let spelled = usual.as_ref().map_or(&chosen.text, |c| &c.text);
            text.push_str(&format!("${name} = \"{spelled}\";\n"));
            summary.push_str(&format!(", {}", chosen.net));
        }
    }
    text.push_str(END);
    Ok(Choice { text, summary, families: [v4.is_some(), v6.is_some()] })
}

fn of_id_text(settings: &Settings, name: &str, id: Id) -> Option<Chosen> {
    match name {
        "ip" => network::v4_of_id(settings.jail_net?, id).ok(),
        _ => network::v6_of_id(settings.jail_net6?, id).ok(),
    }
}

/// Fails if the jail could not be started because of the names of its pairs:
/// they are too long for an interface, or another owner has them on this host.
fn check_pairs(host: &Host, jail: &JailName, claim: &Claim) -> Result<()> {
    for name in &claim.pairs {
        // What else a half may be called is the administrator's business.
        let half = |end: char| format!("{name}{end}").parse::<IfName>();
        half('b').with_context(|| format!("vnet.interface {name}b of jail {jail}"))?;
        let Ok(pair) = name.parse::<PairName>() else { continue };
        if let Some(owner) = epair::foreign_owner(host, jail, &pair)? {
            bail!("pair {pair} of jail {jail} is not free: {owner}; choose another id");
        }
    }
    Ok(())
}

/// Fails if jail.conf(5) and the layout disagree about where the jail is.
fn check_places(layout: &Layout, known: &Known, jail: &JailName, claim: &Claim) -> Result<()> {
    // There is no jail.conf(5) yet.
    if known.includes_conf_dir().is_none() {
        return Ok(());
    }
    let main = layout.jail_conf().display();
    for (name, value, ours) in
        [("path", &claim.path, layout.path(jail)), ("mount.fstab", &claim.fstab, layout.fstab(jail))]
    {
        if let Some(value) = value.as_ref().filter(|value| Path::new(value) != ours) {
            bail!(
                "{main} sets {name} of jail {jail} to {value}, but {} implies {}; change one of them",
                crate::settings::FILE,
                ours.display()
            );
        }
    }
    Ok(())
}

/// Fails if the jail would see all devices of the host.
fn check_devices(host: &Host, jail: &JailName, claim: &Claim) -> Result<()> {
    let Some(ruleset) = claim.devfs_ruleset else { return Ok(()) };
    match devfs::problem(host, ruleset)? {
        Some(problem) => {
            bail!("jail {jail} would see every device of the host: {problem}; {}", devfs::advice(ruleset))
        }
        None => Ok(()),
    }
}

fn lowest_free(
    host: &Host,
    known: &Known,
    layout: &Layout,
    wanted: &Wanted,
    of_id: impl Fn(Id) -> Option<(Option<Chosen>, Option<Chosen>)>,
    reserved: &[IpAddr],
) -> Result<Id> {
    let conf = layout.conf(&wanted.jail);
    for id in (1..=Id::MAX).filter_map(Id::new) {
        let Some((v4, v6)) = of_id(id) else { continue };
        let number = id.to_string();
        let taken = |c: &Claim| {
            c.id.as_deref() == Some(number.as_str())
                || c.pairs.contains(&format!("epair{number}"))
                || [&v4, &v6].into_iter().flatten().any(|a| c.addresses.contains(&a.address()))
        };
        if known.claims().iter().any(taken) {
            continue;
        }
        // What the common part makes of the id may clash in other ways too.
        let text = format!("{} {{\n$id = \"{id}\";\n}}\n", wanted.jail);
        let claim = known.candidate(wanted.jail.as_str(), &conf, text.as_bytes()).context("jail.conf")?;
        if known.check(&claim, reserved).is_ok() && check_pairs(host, &wanted.jail, &claim).is_ok() {
            return Ok(id);
        }
    }
    bail!("no free id: every address of the network is in use")
}

/// Plans the container, or accepts one that a killed run left as it was made.
fn plan_container(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    release: &Release,
    container: &Path,
    told: &[Row],
    plan: &mut Plan,
) -> Result<()> {
    match layout.storage() {
        Storage::Directory => {
            let skeleton = host.root().at(&layout.skeleton(release));
            // What jail-rebase(8) starts from, whatever becomes of the skeleton.
            let (origin, fresh) = origin::of_skeleton(host, layout, release)?;
            let copy = host.root().at(&layout.copy(&origin));
            if fresh {
                file::check_writable_parent(&copy)?;
                plan.push(CopyTree { from: skeleton.clone(), to: copy });
            }
            match file::look(container)? {
                None => {
                    file::check_writable_parent(container)?;
                    plan.push(CopyTree { from: skeleton, to: container.to_owned() });
                }
                Some(there) if there.is_dir() => {
                    if let Some(what) = tree::difference(&skeleton, container)? {
                        bail!(
                            "container {} is there already and is no pristine copy of the skeleton ({what}); \
                             remove it if nobody needs it",
                            container.display()
                        );
                    }
                }
                Some(there) => bail!("container {}: {} is there", container.display(), file::kind(&there)),
            }
            plan_file(&host.root().at(&layout.origin(jail)), origin::record(&[&origin]), plan)
        }
        Storage::Zfs(top) => {
            let skeleton = Layout::skeleton_dataset(top, release)?;
            let of = |dataset: &Dataset| told.iter().find(|(name, _)| name == dataset.as_str());
            let snapshot = match newest_snapshot(release, &skeleton, told) {
                Ok(snapshot) => snapshot,
                Err(e) => {
                    template::check_has_snapshots(host, layout, &skeleton)?;
                    return Err(e);
                }
            };
            let (parent, dataset) = (top.child("containers")?, Layout::container_dataset(top, jail)?);
            match of(&dataset) {
                None => {
                    match of(&parent) {
                        None => bail!("{parent} does not exist; zfs create {parent}"),
                        // A clone would not be mounted either.
                        Some((_, [mounted, ..])) if mounted != "yes" => {
                            zfs::check_mounted(host, &parent, &host.root().at(&layout.containers()))?;
                        }
                        Some(_) => {}
                    }
                    if let Some(there) = file::look(container)? {
                        let empty = there.is_dir() && fs_err::read_dir(container)?.next().is_none();
                        if !empty {
                            bail!(
                                "container {}: {} is there, but no dataset {dataset}",
                                container.display(),
                                file::kind(&there)
                            );
                        }
                    }
                    plan.push(zfs::Clone {
                        snapshot,
                        container: dataset,
                        jail: jail.clone(),
                        properties: Vec::new(),
                        mountpoint: container.to_owned(),
                    });
                    Ok(())
                }
                Some((_, [mounted, _, origin, owner, _])) => {
                    if owner != jail.as_str() {
                        let whose = if owner.is_empty() {
                            "nobody's that is known".into()
                        } else {
                            format!("jail {owner}'s")
                        };
                        bail!(
                            "dataset {dataset} is there already, {whose}; zfs get {},origin {dataset} shows \
                             what it is",
                            zfs::OWNER_PROPERTY
                        );
                    }
                    if *origin != snapshot {
                        let origin = if origin.is_empty() { "nothing" } else { origin };
                        bail!(
                            "dataset {dataset} is there already, but a clone of {origin}, not of {snapshot}; \
                             zfs destroy it if nobody needs it"
                        );
                    }
                    if mounted == "yes" {
                        zfs::check_mounted(host, &dataset, container).context("left by an earlier run")?;
                        zfs::check_pristine(host, &snapshot, &dataset)?;
                    } else {
                        plan.push(zfs::Mount {
                            snapshot,
                            container: dataset,
                            mountpoint: container.to_owned(),
                        });
                    }
                    Ok(())
                }
            }
        }
    }
}

/// The snapshot of the skeleton that the jail is to be a clone of.
fn newest_snapshot(release: &Release, skeleton: &Dataset, told: &[Row]) -> Result<String> {
    if !told.iter().any(|(name, _)| name == skeleton.as_str()) {
        bail!("{skeleton}: dataset does not exist");
    }
    let of_skeleton =
        |name: &str| name.strip_prefix(skeleton.as_str()).is_some_and(|rest| rest.starts_with('@'));
    let mut snapshots: Vec<&Row> = told.iter().filter(|(name, _)| of_skeleton(name)).collect();
    snapshots.sort_by_key(|(_, [.., taken])| taken.parse::<u64>().ok());
    template::newest_of(snapshots.into_iter().map(|(name, _)| name.clone()).collect(), release, skeleton)
}

/// Plans a new file; one with these very contents was left by a killed run.
fn plan_file(path: &Path, contents: Vec<u8>, plan: &mut Plan) -> Result<()> {
    match file::look(path)? {
        Some(there) if there.is_file() && fs_err::read(path)? == contents => Ok(()),
        Some(there) if there.is_file() => {
            bail!("{}: there already, with other contents; remove it if no jail uses it", path.display())
        }
        _ => {
            file::check_creatable(path)?;
            plan.push(WriteFile { path: path.to_owned(), contents });
            Ok(())
        }
    }
}

/// A name server in the template that the jail will not reach.
fn resolver_warning(host: &Host, layout: &Layout, jail: &JailName, release: &Release) -> Option<String> {
    const RESOLV_CONF: &str = "etc/resolv.conf";
    let skeleton = host.root().at(&layout.skeleton(release));
    let read = |path: &str| {
        let file = skeleton.join(path);
        file::look(&file).ok().flatten().filter(Metadata::is_file).and_then(|_| fs_err::read(file).ok())
    };
    let servers = resolver::loopback_servers(&read(RESOLV_CONF)?);
    if servers.is_empty() || resolver::runs_resolver(read) {
        return None;
    }
    Some(format!(
        "warning: jail {jail}: its resolv.conf names the name server {}, and nothing in the jail listens there; \
         edit {}",
        resolver::listed(&servers),
        layout.container(jail).join(RESOLV_CONF).display()
    ))
}

/// What will keep jail(8) from starting the jail as it was made.
fn notes(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    release: &Release,
    known: &Known,
    claim: &Claim,
) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(resolver_warning(host, layout, jail, release));
    let (main, directory) = (layout.jail_conf().display(), layout.conf_dir().display());
    match known.includes_conf_dir() {
        None => notes.push(format!("{main} does not exist yet; {EXAMPLE} is a start")),
        Some(false) => {
            notes.push(format!("{main} does not include {directory}: .include \"{directory}/*.conf\";"))
        }
        Some(true) => {}
    }
    if known.includes_conf_dir().is_some() {
        notes.extend(claim.errors.iter().cloned());
        for (name, value, ours) in
            [("path", &claim.path, layout.path(jail)), ("mount.fstab", &claim.fstab, layout.fstab(jail))]
        {
            match value {
                Some(_) => {}
                None => notes.push(format!("{main}: no {name}; it should be {}", ours.display())),
            }
        }
    }
    notes
}
