//! The epair of a jail: made as one transaction, found again, destroyed.
//!
//! Ours is what says so: the host's half is described `jail:NAME` and is in the
//! group `thinjail`. Nothing is believed of the jail's half, which the jail's
//! root may rename and describe as it likes.
//!
//! A pair that is not to be called epairN is made under a unit derived from its
//! name and then renamed. The kernel would give any free unit just as well, but
//! then nobody could tell what a run killed between the two steps left behind.

use crate::claim;
use crate::host::Host;
use crate::ifconfig::Ifconfig;
use crate::interface::{IfName, Mtu, PairName, UNIT_MAX};
use crate::jail::JailName;
use crate::kernel::{Errno, Kernel, Refused};
use crate::lock::{Guarded, Lock};
use crate::mac::{Mac, PairMacs};
use crate::plan::{Action, Plan, Undo};
use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};

/// The interface group of all pairs made here.
pub const GROUP: &str = "thinjail";

/// Units tried for an interface that is renamed, from one derived from its
/// name: as many may be taken by others before it can't be made.
const SCRATCH_UNITS: u16 = 16;

/// The lowest unit used for that, above those that administrators number
/// pairs with.
pub(crate) const SCRATCH_FIRST: u16 = 16384;

/// Which addresses a pair gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Derived from host, jail and pair.
    Derived,
    /// Given with `-M`.
    Given(PairMacs),
    /// Those the kernel makes up: `-M none`.
    Kernel,
}

/// What jail-epair-up is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The bridge.
    pub bridge: IfName,
    /// The jail.
    pub jail: JailName,
    /// The pair.
    pub pair: PairName,
    /// The MTU, if not the bridge's.
    pub mtu: Option<Mtu>,
    /// The Ethernet addresses.
    pub addresses: Addresses,
    /// The interface to make a missing bridge from.
    pub uplink: Option<IfName>,
}

/// Description of a pair of `jail` that is still under the name of its unit.
fn interim_tag(jail: &JailName, pair: &PairName) -> String {
    format!("{} {pair}", jail.tag())
}

/// The jail whose pair a description says that an interface is, finished or
/// still under the name of its unit.
fn described_owner(description: &str) -> Option<JailName> {
    match description.split_once(' ') {
        None => JailName::from_tag(description),
        Some((tag, pair)) => JailName::from_tag(tag).filter(|_| pair.parse::<PairName>().is_ok()),
    }
}

/// Whether an interface is in the group of all pairs made here. Its description
/// alone proves nothing: an administrator may describe a pair of his own
/// `jail:dns`.
fn is_in_group(kernel: &dyn Kernel, name: &IfName) -> Result<bool> {
    Ok(kernel.groups(name)?.iter().any(|group| group == GROUP))
}

/// The jail that a host's half of a pair is proved to belong to, by description
/// and group; `None` also when the interface is gone by now.
pub fn owner(kernel: &dyn Kernel, half: &IfName) -> Result<Option<JailName>> {
    let gone = |e: &Refused| e.errno == Errno::ENXIO;
    let description = match kernel.description(half) {
        Err(e) if gone(&e) => return Ok(None),
        other => other?,
    };
    let Some(owner) = description.as_deref().and_then(described_owner) else { return Ok(None) };
    match kernel.groups(half) {
        Err(e) if gone(&e) => Ok(None),
        Err(e) => Err(e.into()),
        Ok(groups) => Ok(Some(owner).filter(|_| groups.iter().any(|group| group == GROUP))),
    }
}

fn scratch_units(driver: &str, name: &str) -> impl Iterator<Item = u16> {
    let hash = Sha256::digest(format!("thinjail {driver} {name}"));
    let spread = UNIT_MAX - SCRATCH_FIRST - SCRATCH_UNITS;
    let first = SCRATCH_FIRST + u16::from_be_bytes([hash[0], hash[1]]) % spread;
    first..first + SCRATCH_UNITS
}

/// What is to be found under the names of a pair.
enum Present {
    Nothing,
    /// Tagged as the jail's.
    Ours,
    /// Untagged, as a run killed between creating and tagging leaves it.
    Untagged,
    /// Somebody else's, with the owner in words.
    Foreign(String),
}

fn is_epair(kernel: &dyn Kernel, name: &IfName) -> Result<bool> {
    match kernel.group_members("epair") {
        Ok(members) => Ok(members.contains(name)),
        Err(e) if e.errno == Errno::ENOENT => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Whether somebody gave an interface a description, brought it up, put it into
/// a bridge or a group or gave it an address: a pair just made has none of these.
pub(crate) fn mark_of_use(kernel: &dyn Kernel, name: &IfName) -> Result<Option<String>> {
    if let Some(text) = kernel.description(name)? {
        return Ok(Some(format!("described \"{text}\"")));
    }
    if kernel.is_up(name)? {
        return Ok(Some("up".into()));
    }
    if let Some(bridge) = kernel.bridge_of(name)? {
        return Ok(Some(format!("a member of {bridge}")));
    }
    // A new interface is in the groups of its driver and of all interfaces.
    // Ours comes before the description.
    let of_new = ["epair", "all", GROUP];
    if let Some(group) = kernel.groups(name)?.iter().find(|g| !of_new.contains(&g.as_str())) {
        return Ok(Some(format!("in the group {group}")));
    }
    let addresses = kernel.addresses()?;
    let own = addresses.iter().find(|(interface, _)| interface == name.as_str());
    Ok(own.map(|(_, address)| format!("addressed {address}")))
}

fn present(kernel: &dyn Kernel, jail: &JailName, pair: &PairName) -> Result<Present> {
    let (a, b) = (pair.a(), pair.b());
    let b_there = kernel.exists(&b)?;
    if !kernel.exists(&a)? {
        return Ok(match b_there {
            false => Present::Nothing,
            true => Present::Foreign(format!("{b} is there without {a}")),
        });
    }
    if !is_epair(kernel, &a)? {
        return Ok(Present::Foreign(format!("{a} is not an epair")));
    }
    if let Some(text) = kernel.description(&a)? {
        let proved = is_in_group(kernel, &a)?;
        return Ok(match described_owner(&text) {
            Some(owner) if proved && owner == *jail => Present::Ours,
            Some(owner) if proved => Present::Foreign(format!("{a} belongs to jail {owner}")),
            Some(owner) => Present::Foreign(format!(
                "{a} is described \"{text}\", but is not in the group {GROUP}; if it is a pair of jail {owner}'s \
                 that may be destroyed: ifconfig {a} group {GROUP}"
            )),
            None => Present::Foreign(format!("{a} is described \"{text}\"")),
        });
    }
    // Without a tag it is ours only in the very state in which a run killed
    // between creating and tagging leaves it.
    if !b_there {
        return Ok(Present::Foreign(format!("{a} has no description and its other half is not on the host")));
    }
    for half in [&a, &b] {
        if let Some(mark) = mark_of_use(kernel, half)? {
            return Ok(Present::Foreign(format!("{half} is {mark}, but not described as this jail's")));
        }
    }
    Ok(Present::Untagged)
}

/// Whose the interfaces are that have the names of a pair, in words, unless a
/// start of the jail would make it or replace it.
pub fn foreign_owner(host: &Host, jail: &JailName, pair: &PairName) -> Result<Option<String>> {
    Ok(match present(host.kernel()?, jail, pair)? {
        Present::Foreign(owner) => Some(owner),
        Present::Nothing | Present::Ours | Present::Untagged => None,
    })
}

/// Fails when the jail runs or is being started: its pair is no leaving then.
fn check_idle(host: &Host, jail: &JailName, pair: &PairName) -> Result<()> {
    if let Some(running) = host.kernel()?.running_jail(jail.as_str())? {
        bail!("pair {pair} is in use by jail {jail}, which runs (jid {})", running.jid);
    }
    claim::check(host, jail).with_context(|| format!("pair {pair}"))
}

/// The plan that makes the pair. Everything that can be checked is checked.
pub fn up(host: &Host, wanted: &Wanted) -> Result<(Plan, Option<String>)> {
    let kernel = host.kernel()?;
    let (jail, pair) = (&wanted.jail, &wanted.pair);
    let mut plan = Plan::default();

    let stem: IfName = pair.stem().parse()?;
    if kernel.exists(&stem)? {
        bail!(
            "pair {pair}: an interface of that very name is there; the pair would be {} and {}",
            pair.a(),
            pair.b()
        );
    }
    match present(kernel, jail, pair)? {
        Present::Nothing => {}
        Present::Foreign(owner) => bail!("pair {pair} of jail {jail}: not ours: {owner}"),
        Present::Ours | Present::Untagged => {
            check_idle(host, jail, pair)?;
            plan.push(Ifconfig::Destroy(pair.a()));
        }
    }

    let (bridge_mtu, has_members) = plan_bridge(kernel, wanted, &mut plan)?;
    let mtu = match wanted.mtu {
        Some(mtu) if has_members && mtu.bytes() != bridge_mtu => bail!(
            "mtu {mtu}: bridge {} has {bridge_mtu}, and its members share it; change it with ifconfig {} mtu {mtu}",
            wanted.bridge,
            wanted.bridge
        ),
        // A bridge without members takes the MTU of the first: with -m that is asked for.
        Some(mtu) => mtu,
        None => Mtu::new(bridge_mtu).with_context(|| {
            format!("bridge {}: its MTU of {bridge_mtu} does not suit an epair", wanted.bridge)
        })?,
    };

    let (a, b) = (pair.a(), pair.b());
    match pair.unit() {
        Some(_) => {
            plan.push(Ifconfig::Create(pair.stem().into(), a.clone()));
            // Described, it is proved to be the jail's: the group comes first.
            plan.push(Ifconfig::JoinGroup(a.clone(), GROUP));
            plan.push(Ifconfig::Describe(a.clone(), jail.tag()));
        }
        None => plan_renamed(kernel, jail, pair, &mut plan)?,
    }
    plan.push(Ifconfig::SetMtu(a.clone(), mtu));
    plan.push(Ifconfig::SetMtu(b.clone(), mtu));
    let mut warning = None;
    let macs = match wanted.addresses {
        Addresses::Kernel => None,
        Addresses::Given(macs) => {
            check_macs(kernel, pair, &macs)?;
            Some(macs)
        }
        Addresses::Derived => {
            let uuid = kernel.host_uuid()?;
            if uuid.is_none() {
                warning = Some(format!(
                    "pair {pair}: kern.hostuuid is not set, so the kernel's own addresses stay"
                ));
            }
            uuid.map(|uuid| PairMacs::derive(&uuid, jail, pair))
        }
    };
    if let Some(PairMacs { a: mac_a, b: mac_b }) = macs {
        plan.push(Ifconfig::SetMac(a.clone(), mac_a));
        plan.push(Ifconfig::SetMac(b, mac_b));
    }
    plan.push(Ifconfig::AddMember { bridge: wanted.bridge.clone(), member: a.clone() });
    plan.push(Ifconfig::Up(a));
    Ok((plan, warning))
}

/// Fails when another interface of the host has one of the addresses.
fn check_macs(kernel: &dyn Kernel, pair: &PairName, macs: &PairMacs) -> Result<()> {
    let halves = [pair.a(), pair.b()];
    for (name, bytes) in kernel.ethernet_addresses()? {
        let of = |mac: &&Mac| bytes == Some(mac.bytes());
        if let Some(mac) = [&macs.a, &macs.b].into_iter().find(of)
            && !halves.iter().any(|half| half.as_str() == name)
        {
            bail!("mac {mac}: interface {name} has it already; choose another");
        }
    }
    Ok(())
}

/// Plans a pair under a unit of its own that is then given its names.
fn plan_renamed(kernel: &dyn Kernel, jail: &JailName, pair: &PairName, plan: &mut Plan) -> Result<()> {
    let interim = interim_tag(jail, pair);
    let units: Vec<u16> = scratch_units("epair", pair.stem()).collect();
    let mut may_be_next = true;
    for unit in &units {
        let scratch = PairName::of_unit(*unit);
        let left = match kernel.description(&scratch.a()) {
            Ok(Some(text)) => text == interim && is_in_group(kernel, &scratch.a())?,
            // Only the unit that would be used next can have been left untagged.
            Ok(None) => may_be_next && matches!(present(kernel, jail, &scratch)?, Present::Untagged),
            Err(e) if e.errno == Errno::ENXIO => {
                may_be_next = false;
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        if left {
            plan.push(Ifconfig::Destroy(scratch.a()));
            may_be_next = false;
        }
    }
    plan.push(Renamed { units, pair: pair.clone(), jail: jail.clone() });
    Ok(())
}

/// Makes a pair under the first free unit of some and gives it its names. A
/// unit may be taken by a pair under any other name, which only creating tells.
struct Renamed {
    units: Vec<u16>,
    pair: PairName,
    jail: JailName,
}

impl Renamed {
    fn naming(&self, scratch: &PairName) -> [Ifconfig; 5] {
        let (pair, jail) = (&self.pair, &self.jail);
        [
            Ifconfig::JoinGroup(scratch.a(), GROUP),
            Ifconfig::Describe(scratch.a(), interim_tag(jail, pair)),
            Ifconfig::Rename(scratch.a(), pair.a()),
            Ifconfig::Rename(scratch.b(), pair.b()),
            Ifconfig::Describe(pair.a(), jail.tag()),
        ]
    }
}

impl Action for Renamed {
    fn shell(&self) -> String {
        let Some(scratch) = self.units.first().copied().map(PairName::of_unit) else { return String::new() };
        let create = Ifconfig::Create(scratch.stem().into(), scratch.a());
        let lines = std::iter::once(create).chain(self.naming(&scratch)).map(|step| step.shell());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let pairs = self.units.iter().copied().map(PairName::of_unit);
        let scratch = first_free(host, undo, pairs, |p| Ifconfig::Create(p.stem().into(), p.a()))
            .with_context(|| format!("pair {}", self.pair))?;
        self.naming(&scratch).iter().try_for_each(|step| step.perform(host, undo))?;
        // Should it go back to its first name and stay there, the next run must
        // know it by that.
        undo.push(Ifconfig::Describe(self.pair.a(), interim_tag(&self.jail, &self.pair)));
        Ok(())
    }
}

/// Creates the first of some interfaces whose unit is free.
fn first_free<T>(
    host: &Host,
    undo: &mut Undo,
    candidates: impl Iterator<Item = T>,
    create: impl Fn(&T) -> Ifconfig,
) -> Result<T> {
    let mut last = None;
    for candidate in candidates {
        match create(&candidate).perform(host, undo) {
            Ok(()) => return Ok(candidate),
            Err(e) if e.downcast_ref::<Refused>().is_some_and(|r| r.errno == Errno::EEXIST) => last = Some(e),
            Err(e) => return Err(e),
        }
    }
    Err(last.unwrap_or_else(|| anyhow!("no unit to try")).context("no free unit to make it under"))
}

/// Description of a bridge that was made for an uplink.
fn bridge_tag(bridge: &IfName) -> String {
    format!("{GROUP}:{bridge}")
}

/// Looks at the bridge, plans to make or to finish it where `-u` allows. Gives
/// its MTU and whether it has members.
fn plan_bridge(kernel: &dyn Kernel, wanted: &Wanted, plan: &mut Plan) -> Result<(u32, bool)> {
    let bridge = &wanted.bridge;
    match kernel.bridge_members(bridge) {
        Ok(members) => {
            let as_it_is = |members: &[IfName]| Ok((kernel.mtu(bridge)?, !members.is_empty()));
            let Some(uplink) = &wanted.uplink else { return as_it_is(&members) };
            // A run killed before it was done left our tag, or nothing at all.
            let unfinished = match kernel.description(bridge)? {
                Some(text) if text == bridge_tag(bridge) => {
                    !members.contains(uplink) || !kernel.is_up(bridge)? || !kernel.is_up(uplink)?
                }
                Some(_) => false,
                None => members.is_empty() && !kernel.is_up(bridge)?,
            };
            if !unfinished {
                return as_it_is(&members);
            }
            let mtu = check_uplink(kernel, wanted, uplink)?;
            plan_uplink(kernel, bridge, bridge, uplink, plan)?;
            Ok((mtu, true))
        }
        Err(e) if e.errno == Errno::ENXIO => {
            let Some(uplink) = &wanted.uplink else {
                bail!(
                    "bridge {bridge} does not exist; make it (ifconfig bridge create name {bridge}), or give its uplink with -u"
                );
            };
            let mtu = check_uplink(kernel, wanted, uplink)?;
            match bridge.driver_and_unit() {
                Some(("bridge", _)) => {
                    plan.push(Ifconfig::CreateBridge { bridge: bridge.clone(), uplink: uplink.clone() });
                    plan_uplink(kernel, bridge, bridge, uplink, plan)?;
                }
                _ => match left_bridge(kernel, bridge)? {
                    Some(left) => {
                        plan_uplink(kernel, &left, bridge, uplink, plan)?;
                        plan.push(Ifconfig::Rename(left, bridge.clone()));
                    }
                    None => plan.push(RenamedBridge { bridge: bridge.clone(), uplink: uplink.clone() }),
                },
            }
            Ok((mtu, true))
        }
        Err(e) if e.errno == Errno::EINVAL => bail!("{bridge} is not a bridge"),
        Err(e) => Err(e.into()),
    }
}

/// Fails unless `uplink` can become a member. Gives its MTU, which the new
/// bridge takes over.
fn check_uplink(kernel: &dyn Kernel, wanted: &Wanted, uplink: &IfName) -> Result<u32> {
    let mtu = kernel.mtu(uplink).with_context(|| format!("uplink {uplink}"))?;
    if let Some(other) = kernel.bridge_of(uplink)?
        && kernel.description(&other)?.as_deref() != Some(&bridge_tag(&wanted.bridge))
    {
        bail!("uplink {uplink} is a member of bridge {other} already; use that one with -b");
    }
    if wanted.mtu.is_some_and(|m| m.bytes() != mtu) {
        bail!("mtu: the bridge will have that of its uplink {uplink}, {mtu}");
    }
    Ok(mtu)
}

/// Tags a bridge made as `present`, adds its uplink and brings both up.
fn plan_uplink(
    kernel: &dyn Kernel,
    present: &IfName,
    bridge: &IfName,
    uplink: &IfName,
    plan: &mut Plan,
) -> Result<()> {
    plan.push(Ifconfig::Describe(present.clone(), bridge_tag(bridge)));
    if kernel.bridge_of(uplink)?.is_none() {
        plan.push(Ifconfig::AddMember { bridge: present.clone(), member: uplink.clone() });
    }
    plan.push(Ifconfig::Up(uplink.clone()));
    plan.push(Ifconfig::Up(present.clone()));
    Ok(())
}

fn scratch_bridges(bridge: &IfName) -> impl Iterator<Item = IfName> {
    scratch_units("bridge", bridge.as_str()).filter_map(|unit| format!("bridge{unit}").parse().ok())
}

/// The bridgeN that a killed run left when it was to become `bridge`.
fn left_bridge(kernel: &dyn Kernel, bridge: &IfName) -> Result<Option<IfName>> {
    for scratch in scratch_bridges(bridge) {
        let members = match kernel.bridge_members(&scratch) {
            // Only the unit that would be used next can have been left untagged.
            Err(e) if e.errno == Errno::ENXIO => return Ok(None),
            Err(_) => continue,
            Ok(members) => members,
        };
        let left = match kernel.description(&scratch)? {
            Some(text) => text == bridge_tag(bridge),
            None => members.is_empty() && !kernel.is_up(&scratch)?,
        };
        if left {
            return Ok(Some(scratch));
        }
    }
    Ok(None)
}

/// Makes a bridge for an uplink under the first free unit of some. The name
/// comes last: under it there is never half a bridge.
struct RenamedBridge {
    bridge: IfName,
    uplink: IfName,
}

impl RenamedBridge {
    fn create(&self, scratch: &IfName) -> Ifconfig {
        Ifconfig::CreateBridge { bridge: scratch.clone(), uplink: self.uplink.clone() }
    }

    fn finish(&self, scratch: &IfName) -> [Ifconfig; 5] {
        [
            Ifconfig::Describe(scratch.clone(), bridge_tag(&self.bridge)),
            Ifconfig::AddMember { bridge: scratch.clone(), member: self.uplink.clone() },
            Ifconfig::Up(self.uplink.clone()),
            Ifconfig::Up(scratch.clone()),
            Ifconfig::Rename(scratch.clone(), self.bridge.clone()),
        ]
    }
}

impl Action for RenamedBridge {
    fn shell(&self) -> String {
        let Some(scratch) = scratch_bridges(&self.bridge).next() else { return String::new() };
        let lines =
            std::iter::once(self.create(&scratch)).chain(self.finish(&scratch)).map(|step| step.shell());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let scratch = first_free(host, undo, scratch_bridges(&self.bridge), |b| self.create(b))
            .with_context(|| format!("bridge {}", self.bridge))?;
        self.finish(&scratch).iter().try_for_each(|step| step.perform(host, undo))
    }
}

/// The plan that destroys the pair. Nothing there is success, a foreign pair is
/// an error that names its owner.
pub fn down(host: &Host, jail: &JailName, pair: &PairName) -> Result<Plan> {
    Down::plan(host, jail, Some(pair))
}

/// The plan that destroys whatever pair of the jail is left, by their tags.
pub fn down_all(host: &Host, jail: &JailName) -> Result<Plan> {
    Down::plan(host, jail, None)
}

/// Destroys what is there at the moment, under the lock of those who make
/// pairs: since somebody looked, a start of the jail may have put a new pair in
/// the place of the one that was seen.
struct Down {
    jail: JailName,
    /// One pair, or every one that is tagged.
    pair: Option<PairName>,
    /// What was there when it was planned.
    seen: Plan,
}

impl Down {
    fn plan(host: &Host, jail: &JailName, pair: Option<&PairName>) -> Result<Plan> {
        let down = Down { jail: jail.clone(), pair: pair.cloned(), seen: Plan::default() };
        let seen = down.look(host)?;
        let mut plan = Plan::default();
        if !seen.is_empty() {
            plan.push(Down { seen, ..down });
        }
        Ok(plan)
    }

    fn look(&self, host: &Host) -> Result<Plan> {
        match &self.pair {
            Some(pair) => look_for(host, &self.jail, pair),
            None => look_for_all(host, &self.jail),
        }
    }
}

impl Action for Down {
    fn shell(&self) -> String {
        self.seen.shell()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let _lock = Lock::take(host.root(), Guarded::Interfaces)?;
        // Of a jail that is there or on its way up, nothing is left over.
        claim::check(host, &self.jail)?;
        if host.kernel()?.running_jail(self.jail.as_str())?.is_some() {
            return Ok(());
        }
        self.look(host)?.perform(host, undo)
    }
}

fn look_for(host: &Host, jail: &JailName, pair: &PairName) -> Result<Plan> {
    let kernel = host.kernel()?;
    let mut plan = Plan::default();
    match present(kernel, jail, pair)? {
        Present::Nothing => {}
        Present::Ours => {
            check_idle(host, jail, pair)?;
            plan.push(Ifconfig::Destroy(pair.a()));
        }
        // Only jail-epair-up, under its lock, can tell it from one that another
        // run is just making.
        Present::Untagged => bail!(
            "pair {pair} of jail {jail}: left alone: {} has no description; the jail's next start replaces it",
            pair.a()
        ),
        Present::Foreign(owner) => bail!("pair {pair} of jail {jail}: left alone: not ours: {owner}"),
    }
    Ok(plan)
}

fn look_for_all(host: &Host, jail: &JailName) -> Result<Plan> {
    let kernel = host.kernel()?;
    let mut plan = Plan::default();
    let members = match kernel.group_members("epair") {
        Err(e) if e.errno == Errno::ENOENT => Vec::new(),
        other => other?,
    };
    for member in members {
        // Only the host's half: the jail's may carry any description.
        if !member.as_str().ends_with('a') {
            continue;
        }
        if owner(kernel, &member)?.as_ref() == Some(jail) {
            plan.push(Ifconfig::Destroy(member));
        }
    }
    Ok(plan)
}

impl std::str::FromStr for Addresses {
    type Err = crate::mac::BadMac;

    /// Reads the argument of `-M`.
    fn from_str(text: &str) -> Result<Addresses, crate::mac::BadMac> {
        match text {
            "none" => Ok(Addresses::Kernel),
            _ => Ok(Addresses::Given(PairMacs::from_base(text.parse::<Mac>()?)?)),
        }
    }
}
