//! What if_bridge(4) keeps about its members and their Ethernet addresses:
//! flags, limits, VLANs and the address table (freebsd-src:
//! sys/net/if_bridge.c). tests/transcripts/network.txt is the recording.

use super::{HOST, Interface, InterfaceKind, State, refuse};
use crate::system::kernel::{Errno, Result, VlanFilter};
use crate::types::interface::VlanId;
use serde::{Deserialize, Serialize};

/// IFBIF_LEARNING: source addresses of frames become entries.
pub const LEARNING: u32 = 0x1;
/// IFBIF_DISCOVER: frames to unknown addresses are sent there.
pub const DISCOVER: u32 = 0x2;
/// IFBIF_SPAN: gets a copy of every frame; no request sets it.
pub const SPAN: u32 = 0x8;
/// IFBIF_STICKY: learned addresses neither age nor move.
pub const STICKY: u32 = 0x10;
/// IFBIF_PRIVATE: exchanges no frames with other private members.
pub const PRIVATE: u32 = 0x800;
/// The flags of a new member: these and those of the spanning tree, AUTOEDGE
/// and AUTOPTP.
const OF_NEW_MEMBERS: u32 = LEARNING | DISCOVER | 0x40 | 0x100;

/// The highest VLAN id that can be set (DOT1Q_VID_MAX).
const VLAN_MAX: u16 = 4094;

/// How many entries a table has room for (BRIDGE_RTABLE_MAX).
const TABLE_SIZE: usize = 2000;

/// A member of a bridge, as far as the bridge keeps something about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    /// The interface.
    pub interface: u32,
    /// Flags, `IFBIF_*`.
    pub flags: u32,
    /// How many addresses it may have; 0 for any number.
    pub address_limit: u32,
    /// The VLAN of untagged frames; 0 for none.
    pub untagged: u16,
}

/// What an entry of the address table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// IFBAF_DYNAMIC: learned; moves to where its address was last seen.
    Dynamic,
    /// IFBAF_STATIC: set; stays.
    Static,
    /// IFBAF_STICKY: learned, and stays.
    Sticky,
}

/// An entry of the address table of a bridge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AddressEntry {
    /// The bridge.
    pub bridge: u32,
    /// The Ethernet address.
    pub mac: [u8; 6],
    /// The VLAN, 0 where nothing is tagged.
    pub vlan: u16,
    /// The member that leads there.
    pub member: u32,
    /// What it is.
    pub kind: EntryKind,
}

/// The bridges of the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BridgeTables {
    /// net.link.bridge.member_ifaddrs: members may have addresses.
    pub member_addresses: bool,
    /// BridgeTables that filter VLANs.
    filtering: Vec<u32>,
    /// net.link.bridge has none before 15: requests about VLANs are unknown.
    #[serde(default)]
    pub without_vlans: bool,
    /// The VLAN that new members get, of those bridges that have one.
    #[serde(default)]
    defaults: Vec<(u32, u16)>,
    /// Members, of all bridges.
    members: Vec<Member>,
    /// The tables of all bridges, the newest entry last.
    entries: Vec<AddressEntry>,
}

impl Default for BridgeTables {
    fn default() -> BridgeTables {
        BridgeTables {
            member_addresses: true,
            filtering: Vec::new(),
            without_vlans: false,
            defaults: Vec::new(),
            members: Vec::new(),
            entries: Vec::new(),
        }
    }
}

impl BridgeTables {
    /// A new member, with the flags that any has.
    pub(super) fn join(&mut self, bridge: u32, interface: u32) {
        let untagged = self.default_of(bridge);
        self.members.push(Member { interface, flags: OF_NEW_MEMBERS, address_limit: 0, untagged });
    }

    /// A member leaves its bridge, or a bridge goes: with all entries, static
    /// ones too.
    pub(super) fn leave(&mut self, interface: u32) {
        self.members.retain(|m| m.interface != interface);
        self.entries.retain(|e| e.member != interface && e.bridge != interface);
        self.filtering.retain(|f| *f != interface);
        self.defaults.retain(|(of, _)| *of != interface);
    }

    fn default_of(&self, bridge: u32) -> u16 {
        self.defaults.iter().find(|(of, _)| *of == bridge).map_or(0, |(_, vlan)| *vlan)
    }

    /// What is kept about a member.
    pub fn member(&self, interface: u32) -> Option<&Member> {
        self.members.iter().find(|m| m.interface == interface)
    }

    /// Whether a bridge filters VLANs.
    pub fn filters(&self, bridge: u32) -> bool {
        self.filtering.contains(&bridge)
    }

    /// The address table of a bridge.
    pub fn table(&self, bridge: u32) -> impl Iterator<Item = &AddressEntry> {
        self.entries.iter().filter(move |e| e.bridge == bridge)
    }

    /// `_bridge_rtupdate`: an address was seen at a member, or is `set` there.
    fn update(&mut self, new: AddressEntry, set: bool) -> std::result::Result<(), Errno> {
        if new.mac[0] & 1 == 1 || new.mac == [0; 6] || new.vlan > VLAN_MAX {
            return Err(Errno::EINVAL);
        }
        let is_it = |e: &&mut AddressEntry| e.bridge == new.bridge && e.mac == new.mac && e.vlan == new.vlan;
        if let Some(known) = self.entries.iter_mut().find(is_it) {
            if known.kind == EntryKind::Dynamic {
                known.member = new.member;
            }
            if set {
                known.kind = new.kind;
            }
            return Ok(());
        }
        let of_member = self.entries.iter().filter(|e| e.member == new.member).count();
        let (flags, limit) = self.member(new.member).map_or((0, 0), |m| (m.flags, m.address_limit));
        if self.table(new.bridge).count() >= TABLE_SIZE || limit > 0 && of_member >= limit as usize {
            return Err(Errno::ENOSPC);
        }
        let kind = match new.kind {
            EntryKind::Dynamic if flags & STICKY != 0 => EntryKind::Sticky,
            kind => kind,
        };
        self.entries.push(AddressEntry { kind, ..new });
        Ok(())
    }
}

impl State {
    /// The id of a bridge and what is kept about a member, for a request about
    /// that member.
    fn member_of(&mut self, request: &'static str, bridge: &str, member: &str) -> Result<(u32, &mut Member)> {
        self.privilege(request, member)?;
        let (id, members) = self.bridge(request, bridge)?;
        let found = self.interface(HOST, member).map(|i| i.id).filter(|id| members.contains(id));
        let kept = found.and_then(|found| self.bridges.members.iter_mut().find(|m| m.interface == found));
        kept.map_or_else(|| refuse(request, member, Errno::ENOENT), |kept| Ok((id, kept)))
    }

    /// The id of a bridge, and its members.
    fn bridge(&self, request: &'static str, bridge: &str) -> Result<(u32, Vec<u32>)> {
        match &self.interfaces[self.index(request, HOST, bridge)?] {
            Interface { id, kind: InterfaceKind::Bridge(_, members), .. } => Ok((*id, members.clone())),
            _ => refuse(request, bridge, Errno::EINVAL),
        }
    }

    /// BRDGGIFFLGS: the flags of a member.
    pub fn member_flags(&mut self, bridge: &str, member: &str) -> Result<u32> {
        Ok(self.member_of("get flags of member", bridge, member)?.1.flags)
    }

    /// BRDGGFLAGS and BRDGGDEFPVID.
    pub fn vlan_filter(&self, bridge: &str) -> Result<VlanFilter> {
        const REQUEST: &str = "get VLANs of";
        let (id, _) = self.bridge(REQUEST, bridge)?;
        if self.bridges.without_vlans {
            return refuse(REQUEST, bridge, Errno::EINVAL);
        }
        if !self.bridges.filters(id) {
            return Ok(VlanFilter::Off);
        }
        Ok(VlanFilter::On { default: VlanId::new(self.bridges.default_of(id)) })
    }

    /// BRDGSDEFPVID: the VLAN that new members get; 0 for none.
    pub fn set_default_untagged(&mut self, bridge: &str, vlan: u16) -> Result<()> {
        const REQUEST: &str = "set default VLAN of";
        self.privilege(REQUEST, bridge)?;
        let (id, _) = self.bridge(REQUEST, bridge)?;
        if self.bridges.without_vlans || vlan > VLAN_MAX {
            return refuse(REQUEST, bridge, Errno::EINVAL);
        }
        self.bridges.defaults.retain(|(of, _)| *of != id);
        self.bridges.defaults.extend((vlan > 0).then_some((id, vlan)));
        Ok(())
    }

    /// BRDGSIFFLGS: replaces the flags of a member.
    pub fn set_member_flags(&mut self, bridge: &str, member: &str, flags: u32) -> Result<()> {
        const REQUEST: &str = "set flags of member";
        let (_, kept) = self.member_of(REQUEST, bridge, member)?;
        if flags & SPAN != 0 {
            return refuse(REQUEST, member, Errno::EINVAL);
        }
        kept.flags = flags;
        Ok(())
    }

    /// BRDGSIFAMAX: limits the addresses of a member; 0 lifts the limit.
    pub fn limit_addresses(&mut self, bridge: &str, member: &str, limit: u32) -> Result<()> {
        self.member_of("limit addresses of", bridge, member)?.1.address_limit = limit;
        Ok(())
    }

    /// BRDGSIFPVID: the VLAN of a member's untagged frames; 0 for none.
    pub fn set_untagged(&mut self, bridge: &str, member: &str, vlan: u16) -> Result<()> {
        const REQUEST: &str = "set VLAN of";
        if self.bridges.without_vlans {
            return refuse(REQUEST, member, Errno::EINVAL);
        }
        let (_, kept) = self.member_of(REQUEST, bridge, member)?;
        if vlan > VLAN_MAX {
            return refuse(REQUEST, member, Errno::EINVAL);
        }
        kept.untagged = vlan;
        Ok(())
    }

    /// BRDGSADDR: sets a static entry.
    pub fn set_address(&mut self, bridge: &str, member: &str, mac: [u8; 6], vlan: u16) -> Result<()> {
        const REQUEST: &str = "set address at";
        let (id, kept) = self.member_of(REQUEST, bridge, member)?;
        let new = AddressEntry { bridge: id, mac, vlan, member: kept.interface, kind: EntryKind::Static };
        self.bridges.update(new, true).or_else(|errno| refuse(REQUEST, member, errno))
    }

    /// BRDGDADDR: removes an entry.
    pub fn delete_address(&mut self, bridge: &str, mac: [u8; 6], vlan: u16) -> Result<()> {
        const REQUEST: &str = "delete address of";
        self.privilege(REQUEST, bridge)?;
        let (id, _) = self.bridge(REQUEST, bridge)?;
        let before = self.bridges.entries.len();
        self.bridges.entries.retain(|e| (e.bridge, e.mac, e.vlan) != (id, mac, vlan));
        if self.bridges.entries.len() == before {
            return refuse(REQUEST, bridge, Errno::ENOENT);
        }
        Ok(())
    }

    /// BRDGFLUSH: drops the dynamic entries, or all of them.
    pub fn flush(&mut self, bridge: &str, all: bool) -> Result<()> {
        const REQUEST: &str = "flush";
        self.privilege(REQUEST, bridge)?;
        let (id, _) = self.bridge(REQUEST, bridge)?;
        self.bridges.entries.retain(|e| e.bridge != id || !all && e.kind != EntryKind::Dynamic);
        Ok(())
    }

    /// BRDGSFLAGS: has the bridge filter VLANs.
    pub fn filter_vlans(&mut self, bridge: &str, on: bool) -> Result<()> {
        const REQUEST: &str = "set flags of";
        self.privilege(REQUEST, bridge)?;
        if self.bridges.without_vlans {
            return refuse(REQUEST, bridge, Errno::EINVAL);
        }
        let (id, _) = self.bridge(REQUEST, bridge)?;
        self.bridges.filtering.retain(|f| *f != id);
        self.bridges.filtering.extend(on.then_some(id));
        Ok(())
    }

    /// An untagged frame from `source` arrives at a member, as when something
    /// behind it sends. Gives whether the bridge takes it: not without a VLAN
    /// on a filtering bridge, and not beyond the limit of the member.
    pub fn receive(&mut self, bridge: &str, member: &str, source: [u8; 6]) -> Result<bool> {
        let (id, kept) = self.member_of("receive from", bridge, member)?;
        let kept = kept.clone();
        if self.bridges.filters(id) && kept.untagged == 0 {
            return Ok(false);
        }
        let seen = AddressEntry {
            bridge: id,
            mac: source,
            vlan: kept.untagged,
            member: kept.interface,
            kind: EntryKind::Dynamic,
        };
        let learned = kept.flags & LEARNING == 0 || self.bridges.update(seen, false).is_ok();
        Ok(learned || kept.address_limit == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let mut state = State::default();
        state.create("bridge0").unwrap();
        for unit in 1..=2 {
            state.create(&format!("epair{unit}")).unwrap();
            state.add_member("bridge0", &format!("epair{unit}a")).unwrap();
        }
        state
    }

    fn errno<T: std::fmt::Debug>(result: Result<T>) -> Errno {
        result.unwrap_err().errno
    }

    #[test]
    fn requests_are_refused_as_the_kernel_refuses_them() {
        let mut state = state();
        let mac = [2, 0, 0, 0, 0, 1];
        assert_eq!(errno(state.set_address("bridge0", "epair1b", mac, 0)), Errno::ENOENT);
        assert_eq!(errno(state.set_address("bridge9", "epair1a", mac, 0)), Errno::ENXIO);
        assert_eq!(errno(state.set_address("epair1a", "epair2a", mac, 0)), Errno::EINVAL);
        assert_eq!(errno(state.set_address("bridge0", "epair1a", [1; 6], 0)), Errno::EINVAL);
        assert_eq!(errno(state.set_address("bridge0", "epair1a", [0; 6], 0)), Errno::EINVAL);
        assert_eq!(errno(state.set_member_flags("bridge0", "epair1a", SPAN)), Errno::EINVAL);
        assert_eq!(errno(state.set_untagged("bridge0", "epair1a", 4095)), Errno::EINVAL);
        assert_eq!(errno(state.limit_addresses("bridge0", "lo0", 1)), Errno::ENOENT);
        assert_eq!(errno(state.delete_address("bridge0", mac, 0)), Errno::ENOENT);
        state.limit_addresses("bridge0", "epair1a", 1).unwrap();
        state.set_address("bridge0", "epair1a", mac, 0).unwrap();
        assert_eq!(errno(state.set_address("bridge0", "epair1a", [2; 6], 0)), Errno::ENOSPC);
        state.privileged = false;
        assert_eq!(errno(state.flush("bridge0", true)), Errno::EPERM);
    }

    #[test]
    fn what_a_neighbor_can_take_over() {
        let mut state = state();
        let (own, neighbor) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let leads = |state: &State| {
            let entry = state.bridges.entries.iter().find(|e| e.mac == neighbor).expect("an entry");
            state.interfaces.iter().find(|i| i.id == entry.member).expect("a member").name.clone()
        };
        assert!(state.receive("bridge0", "epair2a", neighbor).unwrap());
        assert!(state.receive("bridge0", "epair1a", neighbor).unwrap());
        assert_eq!(leads(&state), "epair1a");
        state.flush("bridge0", false).unwrap();
        for (member, mac) in [("epair1a", own), ("epair2a", neighbor)] {
            state.set_address("bridge0", member, mac, 0).unwrap();
            state.limit_addresses("bridge0", member, 1).unwrap();
        }
        // It is forwarded, but the entry stays; an unused address is not learned.
        state.receive("bridge0", "epair1a", neighbor).unwrap();
        assert_eq!(leads(&state), "epair2a");
        assert!(!state.receive("bridge0", "epair1a", [2; 6]).unwrap());
        // On a filtering bridge the entry is that of another VLAN.
        state.filter_vlans("bridge0", true).unwrap();
        assert!(!state.receive("bridge0", "epair3a", own).is_ok_and(|taken| taken));
        assert!(!state.receive("bridge0", "epair1a", own).unwrap(), "no VLAN");
        state.set_untagged("bridge0", "epair1a", 20).unwrap();
        assert!(!state.receive("bridge0", "epair1a", own).unwrap(), "the limit drops it");
    }
}
