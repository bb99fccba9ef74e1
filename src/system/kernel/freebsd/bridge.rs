//! Requests to bridges, which SIOCSDRVSPEC and SIOCGDRVSPEC carry (freebsd-src:
//! sys/net/if_bridge.c, sys/net/if_bridgevar.h).

use super::{FreeBsd, name_field, name_from, text_of};
use crate::system::kernel::requests::*;
use crate::system::kernel::{Bridges, Result, VlanFilter};
use crate::types::interface::{IfName, VlanId};
use std::ffi::c_ulong;
use std::mem::{size_of, zeroed};
use std::ptr;

const BRDGADD: c_ulong = 0;
const BRDGGIFFLGS: c_ulong = 2;
const BRDGSIFFLGS: c_ulong = 3;
const BRDGGIFS: c_ulong = 6;
const BRDGRTS: c_ulong = 7;
const BRDGSADDR: c_ulong = 8;
const BRDGSIFAMAX: c_ulong = 30;
const BRDGSIFPVID: c_ulong = 31;
const BRDGGFLAGS: c_ulong = 34;
const BRDGGDEFPVID: c_ulong = 36;
const IFBIF_PRIVATE: u32 = 0x800;
const IFBAF_STATIC: u8 = 1;
const IFBRF_VLANFILTER: u32 = 1;

impl FreeBsd {
    /// A request to a bridge that changes something about `object`.
    fn set_of_bridge<T>(
        &self,
        command: c_ulong,
        request: &'static str,
        bridge: &IfName,
        object: &IfName,
        argument: &mut T,
    ) -> Result<()> {
        self.ioctl(SIOCSDRVSPEC, request, object.as_str(), &mut drive(bridge, command, argument))
    }

    /// A request to a bridge that asks something about `object`.
    fn get_of_bridge<T>(
        &self,
        command: c_ulong,
        request: &'static str,
        bridge: &IfName,
        object: &IfName,
        argument: &mut T,
    ) -> Result<()> {
        self.ioctl(SIOCGDRVSPEC, request, object.as_str(), &mut drive(bridge, command, argument))
    }
}

/// What SIOCSDRVSPEC and SIOCGDRVSPEC of a bridge pass; it points to the argument.
fn drive<T>(bridge: &IfName, command: c_ulong, argument: &mut T) -> IfDrv {
    IfDrv {
        name: name_field(bridge.as_str()),
        command,
        length: size_of::<T>(),
        data: ptr::from_mut(argument).cast(),
    }
}

impl Bridges for FreeBsd {
    fn bridge_members(&self, bridge: &IfName) -> Result<Vec<IfName>> {
        const REQUEST: &str = "list members of";
        let mut room = 0;
        loop {
            let mut requests: Vec<IfBReq> = vec![IfBReq::default(); room];
            let mut list = IfBIfConf {
                length: (room * size_of::<IfBReq>()) as u32,
                requests: if room == 0 { ptr::null_mut() } else { requests.as_mut_ptr() },
            };
            self.get_of_bridge(BRDGGIFS, REQUEST, bridge, bridge, &mut list)?;
            let got = list.length as usize / size_of::<IfBReq>();
            if room == 0 && got == 0 {
                return Ok(Vec::new());
            }
            // A full buffer may have cut the list off.
            if got < room {
                requests.truncate(got);
                return Ok(requests.iter().filter_map(|r| name_from(&r.name)).collect());
            }
            room = room.max(got) + 8;
        }
    }

    fn learned(&self, bridge: &IfName) -> Result<Vec<([u8; 6], String)>> {
        let mut room = 128;
        loop {
            // SAFETY: an ifbareq of zeros is one without a name.
            let mut requests: Vec<IfBaReq> = vec![unsafe { zeroed() }; room];
            let mut list =
                IfBaConf { length: (room * size_of::<IfBaReq>()) as u32, requests: requests.as_mut_ptr() };
            self.get_of_bridge(BRDGRTS, "list addresses of", bridge, bridge, &mut list)?;
            let got = list.length as usize / size_of::<IfBaReq>();
            // A full buffer may have cut the list off.
            if got < room {
                requests.truncate(got);
                let text = |name: &[u8; 16]| String::from_utf8_lossy(text_of(name)).into_owned();
                return Ok(requests.iter().map(|r| (r.address, text(&r.name))).collect());
            }
            room *= 2;
        }
    }

    fn add_member(&self, bridge: &IfName, member: &IfName) -> Result<()> {
        self.set_of_bridge(BRDGADD, "add member", bridge, member, &mut member_request(member))
    }

    fn set_private(&self, bridge: &IfName, member: &IfName) -> Result<()> {
        const REQUEST: &str = "make private";
        let mut request = member_request(member);
        self.get_of_bridge(BRDGGIFFLGS, REQUEST, bridge, member, &mut request)?;
        // BRDGSIFFLGS replaces all flags.
        request.flags |= IFBIF_PRIVATE;
        self.set_of_bridge(BRDGSIFFLGS, REQUEST, bridge, member, &mut request)
    }

    fn set_static_address(
        &self,
        bridge: &IfName,
        member: &IfName,
        address: [u8; 6],
        vlan: Option<VlanId>,
    ) -> Result<()> {
        let mut request = IfBaReq {
            name: name_field(member.as_str()),
            expire: 0,
            flags: IFBAF_STATIC,
            address,
            vlan: vlan.map_or(0, VlanId::number),
        };
        self.set_of_bridge(BRDGSADDR, "set static address of", bridge, member, &mut request)
    }

    fn limit_addresses(&self, bridge: &IfName, member: &IfName, limit: u32) -> Result<()> {
        let mut request = IfBReq { address_limit: limit, ..member_request(member) };
        self.set_of_bridge(BRDGSIFAMAX, "limit addresses of", bridge, member, &mut request)
    }

    fn set_untagged(&self, bridge: &IfName, member: &IfName, vlan: VlanId) -> Result<()> {
        let mut request = IfBReq { pvid: vlan.number(), ..member_request(member) };
        self.set_of_bridge(BRDGSIFPVID, "set VLAN of", bridge, member, &mut request)
    }

    fn vlan_filter(&self, bridge: &IfName) -> Result<VlanFilter> {
        const REQUEST: &str = "get VLANs of";
        let mut flags = IfBrParam::default();
        self.get_of_bridge(BRDGGFLAGS, REQUEST, bridge, bridge, &mut flags)?;
        if flags.value & IFBRF_VLANFILTER == 0 {
            return Ok(VlanFilter::Off);
        }
        let mut default = IfBrParam::default();
        self.get_of_bridge(BRDGGDEFPVID, REQUEST, bridge, bridge, &mut default)?;
        // ifbrp_defpvid is the first two bytes of the union.
        let [low, high, ..] = default.value.to_ne_bytes();
        Ok(VlanFilter::On { default: VlanId::new(u16::from_ne_bytes([low, high])) })
    }
}

fn member_request(member: &IfName) -> IfBReq {
    IfBReq { name: name_field(member.as_str()), ..IfBReq::default() }
}
