//! Actions on interfaces: each is one request to the kernel, and one line of
//! ifconfig(8) for people.

use crate::formats::shell;
use crate::system::host::Host;
use crate::system::kernel::{Errno, Kernel};
use crate::system::plan::{Action, Undo};
use crate::types::interface::{IfName, Mtu, VlanId};
use crate::types::mac::Mac;
use anyhow::{Context, Result, bail};

/// A change to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ifconfig {
    /// Makes the pair `epairN`; the second field is the name its host's half
    /// must get.
    Create(String, IfName),
    /// Makes `bridgeN` for an uplink.
    CreateBridge {
        /// The bridge.
        bridge: IfName,
        /// The member it is made for.
        uplink: IfName,
    },
    /// Destroys a cloned interface. One that is gone already is as good.
    Destroy(IfName),
    /// Destroys a bridge made by this run, unless another program joined it.
    DestroyBridge {
        /// The bridge.
        bridge: IfName,
        /// The one member that this run added.
        uplink: IfName,
    },
    /// Renames.
    Rename(IfName, IfName),
    /// Sets the description.
    Describe(IfName, String),
    /// Joins a group.
    JoinGroup(IfName, &'static str),
    /// Sets the MTU.
    SetMtu(IfName, Mtu),
    /// Sets the Ethernet address.
    SetMac(IfName, Mac),
    /// Adds a member to a bridge.
    AddMember {
        /// The bridge.
        bridge: IfName,
        /// The new member.
        member: IfName,
    },
    /// Sets the VLAN of a member's untagged frames.
    SetUntagged {
        /// The bridge, which filters VLANs.
        bridge: IfName,
        /// The member.
        member: IfName,
        /// The VLAN.
        vlan: VlanId,
    },
    /// Keeps a member from other private ones.
    SetPrivate {
        /// The bridge.
        bridge: IfName,
        /// The member.
        member: IfName,
    },
    /// Enters the Ethernet address of a jail's half as static at the host's.
    SetStaticAddress {
        /// The bridge.
        bridge: IfName,
        /// The member: the host's half.
        member: IfName,
        /// The jail's half, whose address it is.
        of: IfName,
        /// That address, if it is known before the pair is made.
        mac: Option<Mac>,
        /// The member's VLAN, on a bridge that filters them.
        vlan: Option<VlanId>,
    },
    /// Limits a member to one Ethernet address.
    LimitAddresses {
        /// The bridge.
        bridge: IfName,
        /// The member.
        member: IfName,
    },
    /// Brings it up.
    Up(IfName),
    /// Brings it down again. One that is gone is as good.
    Down(IfName),
}

use Ifconfig::*;

impl Action for Ifconfig {
    fn shell(&self) -> String {
        let (name, words): (&str, Vec<String>) = match self {
            Create(name, _) => (name, vec!["create".into()]),
            Destroy(name) => (name.as_str(), vec!["destroy".into()]),
            CreateBridge { bridge, .. } => (bridge.as_str(), vec!["create".into()]),
            DestroyBridge { bridge, .. } => (bridge.as_str(), vec!["destroy".into()]),
            Rename(name, to) => (name.as_str(), vec!["name".into(), to.to_string()]),
            Describe(name, text) => (name.as_str(), vec!["description".into(), text.clone()]),
            JoinGroup(name, group) => (name.as_str(), vec!["group".into(), (*group).into()]),
            SetMtu(name, mtu) => (name.as_str(), vec!["mtu".into(), mtu.to_string()]),
            SetMac(name, mac) => (name.as_str(), vec!["ether".into(), mac.to_string()]),
            AddMember { bridge, member } => (bridge.as_str(), vec!["addm".into(), member.to_string()]),
            SetUntagged { bridge, member, vlan } => {
                (bridge.as_str(), vec!["ifuntagged".into(), member.to_string(), vlan.to_string()])
            }
            SetPrivate { bridge, member } => (bridge.as_str(), vec!["private".into(), member.to_string()]),
            SetStaticAddress { bridge, member, of, mac, vlan } => {
                return static_address(bridge, member, of, *mac, *vlan);
            }
            LimitAddresses { bridge, member } => {
                (bridge.as_str(), vec!["ifmaxaddr".into(), member.to_string(), "1".into()])
            }
            Up(name) => (name.as_str(), vec!["up".into()]),
            Down(name) => (name.as_str(), vec!["down".into()]),
        };
        let words = words.iter().map(String::as_str);
        shell::line(["/sbin/ifconfig", name].into_iter().chain(words))
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let kernel = host.kernel()?;
        self.request(kernel, undo)
    }
}

/// The line for [`SetStaticAddress`]; an address that only the kernel knows is
/// asked for when the line runs.
fn static_address(
    bridge: &IfName,
    member: &IfName,
    of: &IfName,
    mac: Option<Mac>,
    vlan: Option<VlanId>,
) -> String {
    let mac = match mac {
        Some(mac) => mac.to_string(),
        None => format!("$(/sbin/ifconfig {of} ether | /usr/bin/awk '$1 == \"ether\" {{ print $2 }}')"),
    };
    let vlan = vlan.map(|vlan| format!(" vlan {vlan}")).unwrap_or_default();
    // Names of interfaces and addresses need no quotes.
    format!("/sbin/ifconfig {bridge} static {member} {mac}{vlan}")
}

/// The Ethernet address that an interface has.
fn address_of(kernel: &dyn Kernel, name: &IfName) -> Result<[u8; 6]> {
    let all = kernel.ethernet_addresses()?;
    let found = all.into_iter().find(|(interface, _)| interface == name.as_str());
    found.and_then(|(_, address)| address).with_context(|| format!("{name}: it has no Ethernet address"))
}

impl Ifconfig {
    /// A request about a member of a bridge; all of it goes with the member.
    fn request_of_bridge(&self, kernel: &dyn Kernel) -> Result<()> {
        match self {
            AddMember { bridge, member } => {
                kernel.add_member(bridge, member).with_context(|| format!("bridge {bridge}"))?;
            }
            SetUntagged { bridge, member, vlan } => kernel
                .set_untagged(bridge, member, *vlan)
                .with_context(|| format!("bridge {bridge}: vlan {vlan}"))?,
            SetPrivate { bridge, member } => {
                kernel.set_private(bridge, member).with_context(|| format!("bridge {bridge}"))?;
            }
            SetStaticAddress { bridge, member, of, mac, vlan } => {
                let address = match mac {
                    Some(mac) => mac.bytes(),
                    None => address_of(kernel, of)?,
                };
                kernel
                    .set_static_address(bridge, member, address, *vlan)
                    .with_context(|| format!("bridge {bridge}"))?;
                // The kernel leaves an address where it is static already.
                let learned = kernel.learned(bridge)?;
                let is_here = |(known, at): &([u8; 6], String)| *known == address && at == member.as_str();
                if !learned.iter().any(is_here) {
                    bail!("bridge {bridge}: the Ethernet address of {of} is pinned to another member");
                }
            }
            LimitAddresses { bridge, member } => {
                kernel.limit_addresses(bridge, member, 1).with_context(|| format!("bridge {bridge}"))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn request(&self, kernel: &dyn Kernel, undo: &mut Undo) -> Result<()> {
        match self {
            Create(name, expected) => {
                let made = kernel.create(name).map_err(|e| match e.errno {
                    Errno::EEXIST => anyhow::Error::new(e)
                        .context(format!("{name}: the unit number is in use by a renamed epair")),
                    _ => e.into(),
                })?;
                undo.push(Destroy(made.clone()));
                if made != *expected {
                    bail!("create {name}: the kernel called it {made}");
                }
            }
            CreateBridge { bridge, uplink } => {
                let made = kernel.create(bridge.as_str())?;
                undo.push(DestroyBridge { bridge: made.clone(), uplink: uplink.clone() });
                if made != *bridge {
                    bail!("create {bridge}: the kernel called it {made}");
                }
            }
            Destroy(name) => match kernel.destroy(name) {
                Err(e) if e.errno == Errno::ENXIO => {}
                other => other?,
            },
            DestroyBridge { bridge, uplink } => match kernel.bridge_members(bridge) {
                Err(e) if e.errno == Errno::ENXIO => {}
                Err(e) => return Err(e.into()),
                Ok(members) => {
                    if members.iter().all(|m| m == uplink) {
                        kernel.destroy(bridge)?;
                    }
                }
            },
            Rename(name, to) => {
                kernel.rename(name, to).with_context(|| format!("new name {to}"))?;
                undo.push(Rename(to.clone(), name.clone()));
            }
            Describe(name, text) => kernel.describe(name, text)?,
            JoinGroup(name, group) => match kernel.join_group(name, group) {
                Err(e) if e.errno == Errno::EEXIST => {}
                other => other?,
            },
            SetMtu(name, mtu) => kernel.set_mtu(name, *mtu).with_context(|| format!("mtu {mtu}"))?,
            SetMac(name, mac) => kernel.set_mac(name, *mac).with_context(|| format!("ether {mac}"))?,
            AddMember { .. }
            | SetUntagged { .. }
            | SetPrivate { .. }
            | SetStaticAddress { .. }
            | LimitAddresses { .. } => self.request_of_bridge(kernel)?,
            Up(name) => {
                if !kernel.is_up(name)? {
                    kernel.set_up(name, true)?;
                    undo.push(Down(name.clone()));
                }
            }
            Down(name) => match kernel.set_up(name, false) {
                Err(e) if e.errno == Errno::ENXIO => {}
                other => other?,
            },
        }
        Ok(())
    }
}
