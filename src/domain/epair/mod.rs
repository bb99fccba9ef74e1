//! The epair of a jail: made as one transaction, found again, destroyed.
//!
//! Ours is what says so: the host's half is described `jail:NAME` and is in the
//! group `thinjail`. Nothing is believed of the jail's half, which the jail's
//! root may rename and describe as it likes.
//!
//! A pair that is not to be called epairN is made under a unit derived from its
//! name and then renamed. The kernel would give any free unit just as well, but
//! then the leftovers of a run killed between the two steps could not be recognized.

mod bridge;
mod down;
mod up;

pub use down::{down, down_all};
pub use up::{NewPair, look};

use crate::domain::owner_lock;
use crate::system::host::Host;
use crate::system::ifconfig::Ifconfig;
use crate::system::kernel::{Errno, Kernel, KernelError};
use crate::system::plan::{Action, Undo};
use crate::types::interface::{IfName, Mtu, PairName, UNIT_MAX, VlanId};
use crate::types::jail_name::JailName;
use crate::types::mac::{Mac, PairMacs};
use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};

/// The interface group of all pairs made here.
pub const GROUP: &str = "thinjail";

/// Units tried for an interface that is renamed, from one derived from its
/// name: so many can be taken by others before the creation fails.
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

impl std::str::FromStr for Addresses {
    type Err = crate::types::mac::BadMac;

    /// Reads the argument of `-M`.
    fn from_str(text: &str) -> Result<Addresses, crate::types::mac::BadMac> {
        match text {
            "none" => Ok(Addresses::Kernel),
            _ => Ok(Addresses::Given(PairMacs::from_base(text.parse::<Mac>()?)?)),
        }
    }
}

/// What jail-epair-up is asked for.
#[derive(Clone, Debug)]
pub struct EpairRequest {
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
    /// What the jail can reach.
    pub isolation: Isolation,
}

/// How the bridge keeps a jail from its neighbors (bridge(4)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Isolation {
    /// The jail can use no Ethernet address but that of its interface.
    pub pin: bool,
    /// The jail exchanges no frames with other private jails.
    pub private: bool,
    /// The VLAN that the jail is in.
    pub vlan: Option<VlanId>,
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
    let gone = |e: &KernelError| e.errno == Errno::ENXIO;
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
enum PairState {
    Nothing,
    /// Tagged as the jail's.
    OfJail,
    /// Untagged, as a run killed between creating and tagging leaves it.
    Untagged,
    /// Another owner's, with the owner in words.
    Foreign(String),
}

fn is_epair(kernel: &dyn Kernel, name: &IfName) -> Result<bool> {
    match kernel.group_members("epair") {
        Ok(members) => Ok(members.contains(name)),
        Err(e) if e.errno == Errno::ENOENT => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// A sign that another program or an administrator uses an interface: a description,
/// an address, a bridge, a group, or that it is up. A new pair shows none of them.
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

fn present(kernel: &dyn Kernel, jail: &JailName, pair: &PairName) -> Result<PairState> {
    let (a, b) = (pair.a(), pair.b());
    let b_there = kernel.exists(&b)?;
    if !kernel.exists(&a)? {
        return Ok(match b_there {
            false => PairState::Nothing,
            true => PairState::Foreign(format!("{b} exists without {a}")),
        });
    }
    if !is_epair(kernel, &a)? {
        return Ok(PairState::Foreign(format!("{a} is not an epair")));
    }
    if let Some(text) = kernel.description(&a)? {
        let proved = is_in_group(kernel, &a)?;
        return Ok(match described_owner(&text) {
            Some(owner) if proved && owner == *jail => PairState::OfJail,
            Some(owner) if proved => PairState::Foreign(format!("{a} belongs to jail {owner}")),
            Some(owner) => PairState::Foreign(format!(
                "{a} has the description \"{text}\", but is not in the group {GROUP}; if it belongs to \
                 jail {owner} and can be destroyed: ifconfig {a} group {GROUP}"
            )),
            None => PairState::Foreign(format!("{a} has the description \"{text}\"")),
        });
    }
    // Without a tag it is ours only in the very state in which a run killed
    // between creating and tagging leaves it.
    if !b_there {
        return Ok(PairState::Foreign(format!(
            "{a} has no description and its other end is not on the host"
        )));
    }
    for half in [&a, &b] {
        if let Some(mark) = mark_of_use(kernel, half)? {
            return Ok(PairState::Foreign(format!(
                "{half} is {mark}, but no description assigns it to this jail"
            )));
        }
    }
    Ok(PairState::Untagged)
}

/// Whose the interfaces are that have the names of a pair, in words, unless a
/// start of the jail would make it or replace it.
pub fn foreign_owner(host: &Host, jail: &JailName, pair: &PairName) -> Result<Option<String>> {
    Ok(match present(host.kernel()?, jail, pair)? {
        PairState::Foreign(owner) => Some(owner),
        PairState::Nothing | PairState::OfJail | PairState::Untagged => None,
    })
}

/// Fails when the jail runs or is being started: its pair is not a leftover then.
fn check_idle(host: &Host, jail: &JailName, pair: &PairName) -> Result<()> {
    if let Some(running) = host.kernel()?.running_jail(jail.as_str())? {
        bail!("pair {pair} is in use by jail {jail}, which is running (jid {})", running.jid);
    }
    owner_lock::check(host, jail).with_context(|| format!("pair {pair}"))
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
            Err(e) if e.downcast_ref::<KernelError>().is_some_and(|r| r.errno == Errno::EEXIST) => {
                last = Some(e)
            }
            Err(e) => return Err(e),
        }
    }
    Err(last.unwrap_or_else(|| anyhow!("no unit to try")).context("no free unit to make it under"))
}
