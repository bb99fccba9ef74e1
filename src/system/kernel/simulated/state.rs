//! What the simulated kernel knows, and how each request changes it.

use super::bridge::BridgeTables;
use crate::system::kernel::{Errno, KernelError, Result};
use crate::types::interface::{IF_NAME_MAX, Mtu, UNIT_MAX};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The jid of the host itself.
pub const HOST: i32 = 0;

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InterfaceKind {
    /// A loopback, which cannot be destroyed.
    Loopback,
    /// A physical Ethernet interface.
    Ethernet,
    /// One half of the epair of that unit.
    Epair(u16),
    /// A bridge and the ids of its members.
    Bridge(u16, Vec<u32>),
}

/// One interface.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// Unique as long as the state lives; names are not.
    pub id: u32,
    /// The present name.
    pub name: String,
    /// What it is.
    pub kind: InterfaceKind,
    /// The jid of the vnet it is in.
    pub vnet: i32,
    /// The jid of the vnet it was made in.
    pub home: i32,
    /// IFF_UP.
    pub up: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Description.
    pub description: Option<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Addresses and routes set inside a jail, for show.
    pub addresses: Vec<String>,
    /// Checksums of what is sent that are left to the hardware, for IPv4 and
    /// for IPv6.
    pub transmit_checksums: [bool; 2],
}

/// One jail.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SimulatedJail {
    /// Its id.
    pub jid: i32,
    /// Its name.
    pub name: String,
    /// The path of its root.
    pub path: PathBuf,
    /// Removed, but held by an open connection.
    pub dying: bool,
    /// The mount that is its root, which it holds as long as it is there.
    #[serde(default)]
    pub root: Option<i32>,
}

/// One mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SimulatedMount {
    /// Its id.
    pub fsid: i32,
    /// Type.
    pub kind: String,
    /// What is mounted.
    pub from: PathBuf,
    /// The mount point.
    pub on: PathBuf,
    /// A process sits in it, so that only force unmounts it.
    #[serde(default)]
    pub busy: bool,
}

/// Everything the simulated kernel knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Requests come from root.
    pub privileged: bool,
    /// kern.hostuuid.
    pub host_uuid: String,
    /// kern.osrelease.
    #[serde(default = "os_release")]
    pub os_release: String,
    /// All interfaces, in order of creation.
    pub interfaces: Vec<Interface>,
    /// All jails.
    pub jails: Vec<SimulatedJail>,
    /// All mounts, in order.
    pub mounts: Vec<SimulatedMount>,
    /// What the bridges know of their members and of Ethernet addresses.
    #[serde(default)]
    pub bridges: BridgeTables,
    next: u32,
}

/// The release that was recorded.
fn os_release() -> String {
    "15.1-RELEASE".into()
}

impl Default for State {
    fn default() -> State {
        let mut state = State {
            privileged: true,
            host_uuid: "e541fb31-9cb8-41ff-addc-b3b79fa4614f".into(),
            os_release: os_release(),
            interfaces: Vec::new(),
            jails: Vec::new(),
            mounts: Vec::new(),
            bridges: BridgeTables::default(),
            next: 1,
        };
        state.add("lo0", InterfaceKind::Loopback, HOST, &["lo"]);
        state
    }
}

impl Interface {
    /// Whether it has an address of the network.
    fn has_address(&self) -> bool {
        self.addresses.iter().any(|a| a.starts_with("inet ") || a.starts_with("inet6 "))
    }
}

pub(super) fn refuse<T>(request: &'static str, object: &str, errno: Errno) -> Result<T> {
    Err(KernelError { request, object: object.to_owned(), errno })
}

impl State {
    fn fresh_id(&mut self) -> u32 {
        let id = self.next;
        self.next += 1;
        id
    }

    fn add(&mut self, name: &str, kind: InterfaceKind, vnet: i32, groups: &[&str]) -> u32 {
        let id = self.fresh_id();
        let [_, _, hi, lo] = id.to_be_bytes();
        let mtu = if kind == InterfaceKind::Loopback { 16384 } else { 1500 };
        self.interfaces.push(Interface {
            id,
            name: name.to_owned(),
            kind,
            vnet,
            home: vnet,
            up: false,
            mtu,
            mac: [0x58, 0x9c, 0xfc, 0x10, hi, lo],
            description: None,
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            addresses: Vec::new(),
            transmit_checksums: [true; 2],
        });
        id
    }

    /// Adds a physical interface, as a driver does when it finds one.
    pub fn plug(&mut self, name: &str) {
        self.add(name, InterfaceKind::Ethernet, HOST, &[]);
    }

    /// The interface of that name in one vnet.
    pub fn interface(&self, vnet: i32, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.vnet == vnet && i.name == name)
    }

    pub(super) fn index(&self, request: &'static str, vnet: i32, name: &str) -> Result<usize> {
        let found = self.interfaces.iter().position(|i| i.vnet == vnet && i.name == name);
        found.map_or_else(|| refuse(request, name, Errno::ENXIO), Ok)
    }

    pub(super) fn privilege(&self, request: &'static str, object: &str) -> Result<()> {
        if self.privileged { Ok(()) } else { refuse(request, object, Errno::EPERM) }
    }

    fn bridge_holding(&self, id: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|i| matches!(&i.kind, InterfaceKind::Bridge(_, m) if m.contains(&id)))
    }

    fn leave_bridges(&mut self, id: u32) {
        for interface in &mut self.interfaces {
            if let InterfaceKind::Bridge(_, members) = &mut interface.kind {
                members.retain(|m| *m != id);
            }
        }
        self.bridges.leave(id);
    }

    /// SIOCIFCREATE2.
    pub fn create(&mut self, name: &str) -> Result<String> {
        const REQUEST: &str = "create";
        self.privilege(REQUEST, name)?;
        let driver = name.trim_end_matches(|c: char| c.is_ascii_digit());
        if driver != "epair" && driver != "bridge" {
            return refuse(REQUEST, name, Errno::EINVAL);
        }
        let in_use: Vec<u16> = self
            .interfaces
            .iter()
            .filter_map(|i| match i.kind {
                InterfaceKind::Epair(unit) if driver == "epair" => Some(unit),
                InterfaceKind::Bridge(unit, _) if driver == "bridge" => Some(unit),
                _ => None,
            })
            .collect();
        let digits = &name[driver.len()..];
        let unit = if digits.is_empty() {
            match (0..=UNIT_MAX).find(|u| !in_use.contains(u)) {
                Some(unit) => unit,
                None => return refuse(REQUEST, name, Errno::ENOSPC),
            }
        } else {
            match digits.parse::<u64>() {
                Ok(n) if n.to_string() != digits => return refuse(REQUEST, name, Errno::EINVAL),
                Ok(n) => match u16::try_from(n).ok().filter(|u| *u <= UNIT_MAX) {
                    Some(unit) => unit,
                    None => return refuse(REQUEST, name, Errno::ENOSPC),
                },
                Err(_) => return refuse(REQUEST, name, Errno::EINVAL),
            }
        };
        let taken = |state: &State, name: &str| state.interface(HOST, name).is_some();
        if driver == "bridge" {
            let made = format!("bridge{unit}");
            if in_use.contains(&unit) || taken(self, &made) {
                return refuse(REQUEST, name, Errno::EEXIST);
            }
            self.add(&made, InterfaceKind::Bridge(unit, Vec::new()), HOST, &["bridge"]);
            return Ok(made);
        }
        let (a, b) = (format!("epair{unit}a"), format!("epair{unit}b"));
        if in_use.contains(&unit) || taken(self, &a) || taken(self, &b) {
            return refuse(REQUEST, name, Errno::EEXIST);
        }
        self.add(&a, InterfaceKind::Epair(unit), HOST, &["epair"]);
        self.add(&b, InterfaceKind::Epair(unit), HOST, &["epair"]);
        Ok(a)
    }

    /// SIOCIFDESTROY.
    pub fn destroy(&mut self, vnet: i32, name: &str) -> Result<()> {
        const REQUEST: &str = "destroy";
        self.privilege(REQUEST, name)?;
        let at = self.index(REQUEST, vnet, name)?;
        let doomed: Vec<u32> = match self.interfaces[at].kind {
            InterfaceKind::Loopback | InterfaceKind::Ethernet => return refuse(REQUEST, name, Errno::EINVAL),
            InterfaceKind::Bridge(..) => vec![self.interfaces[at].id],
            InterfaceKind::Epair(unit) => self
                .interfaces
                .iter()
                .filter(|i| i.kind == InterfaceKind::Epair(unit))
                .map(|i| i.id)
                .collect(),
        };
        for id in doomed {
            self.leave_bridges(id);
            self.interfaces.retain(|i| i.id != id);
        }
        Ok(())
    }

    /// SIOCSIFNAME.
    pub fn rename(&mut self, vnet: i32, name: &str, to: &str) -> Result<()> {
        const REQUEST: &str = "rename";
        self.privilege(REQUEST, name)?;
        let at = self.index(REQUEST, vnet, name)?;
        if to.len() > IF_NAME_MAX {
            return refuse(REQUEST, name, Errno::ENAMETOOLONG);
        }
        if self.interface(vnet, to).is_some() {
            return refuse(REQUEST, name, Errno::EEXIST);
        }
        self.interfaces[at].name = to.to_owned();
        Ok(())
    }

    /// SIOCSIFMTU.
    pub fn set_mtu(&mut self, name: &str, mtu: u32) -> Result<()> {
        const REQUEST: &str = "set mtu of";
        self.privilege(REQUEST, name)?;
        let at = self.index(REQUEST, HOST, name)?;
        if Mtu::new(mtu).is_none() {
            return refuse(REQUEST, name, Errno::EINVAL);
        }
        if self.bridge_holding(self.interfaces[at].id).is_some() {
            return refuse(REQUEST, name, Errno::EOPNOTSUPP);
        }
        self.interfaces[at].mtu = mtu;
        if let InterfaceKind::Bridge(_, members) = self.interfaces[at].kind.clone() {
            for interface in &mut self.interfaces {
                if members.contains(&interface.id) {
                    interface.mtu = mtu;
                }
            }
        }
        Ok(())
    }

    /// SIOCSIFDESCR.
    pub fn describe(&mut self, vnet: i32, name: &str, text: &str) -> Result<()> {
        const REQUEST: &str = "describe";
        self.privilege(REQUEST, name)?;
        let at = self.index(REQUEST, vnet, name)?;
        // net.ifdescr_maxlen counts the NUL.
        if text.len() + 1 > 1024 {
            return refuse(REQUEST, name, Errno::ENAMETOOLONG);
        }
        self.interfaces[at].description = (!text.is_empty()).then(|| text.to_owned());
        Ok(())
    }

    /// SIOCAIFGROUP.
    pub fn join_group(&mut self, name: &str, group: &str) -> Result<()> {
        const REQUEST: &str = "set group of";
        self.privilege(REQUEST, name)?;
        if group.ends_with(|c: char| c.is_ascii_digit()) {
            return refuse(REQUEST, name, Errno::EINVAL);
        }
        let at = self.index(REQUEST, HOST, name)?;
        if self.interfaces[at].groups.iter().any(|g| g == group) {
            return refuse(REQUEST, name, Errno::EEXIST);
        }
        self.interfaces[at].groups.push(group.to_owned());
        Ok(())
    }

    /// BRDGADD.
    pub fn add_member(&mut self, bridge: &str, member: &str) -> Result<()> {
        const REQUEST: &str = "add member";
        self.privilege(REQUEST, member)?;
        let Some(at) = self.interfaces.iter().position(|i| i.vnet == HOST && i.name == bridge) else {
            return refuse(REQUEST, bridge, Errno::ENXIO);
        };
        let InterfaceKind::Bridge(_, members) = self.interfaces[at].kind.clone() else {
            return refuse(REQUEST, bridge, Errno::EINVAL);
        };
        let Some(new) = self.interfaces.iter().position(|i| i.vnet == HOST && i.name == member) else {
            return refuse(REQUEST, member, Errno::ENOENT);
        };
        let id = self.interfaces[new].id;
        if members.contains(&id) {
            return refuse(REQUEST, member, Errno::EEXIST);
        }
        if self.bridge_holding(id).is_some() {
            return refuse(REQUEST, member, Errno::EBUSY);
        }
        if !matches!(self.interfaces[new].kind, InterfaceKind::Epair(_) | InterfaceKind::Ethernet) {
            return refuse(REQUEST, member, Errno::EINVAL);
        }
        if !self.bridges.member_addresses && self.interfaces[new].has_address() {
            return refuse(REQUEST, member, Errno::EINVAL);
        }
        if members.is_empty() {
            self.interfaces[at].mtu = self.interfaces[new].mtu;
        } else {
            self.interfaces[new].mtu = self.interfaces[at].mtu;
        }
        if let InterfaceKind::Bridge(_, members) = &mut self.interfaces[at].kind {
            members.push(id);
        }
        self.bridges.join(self.interfaces[at].id, id);
        Ok(())
    }

    /// SIOCAIFADDR and SIOCAIFADDR_IN6: adds an address, spelled as ifconfig(8)
    /// takes it. With net.link.bridge.member_ifaddrs=0 no member gets one.
    pub fn add_address(&mut self, vnet: i32, name: &str, address: &str) -> Result<()> {
        const REQUEST: &str = "add address to";
        self.privilege(REQUEST, name)?;
        let at = self.index(REQUEST, vnet, name)?;
        if !self.bridges.member_addresses && self.bridge_holding(self.interfaces[at].id).is_some() {
            return refuse(REQUEST, name, Errno::EINVAL);
        }
        let interface = &mut self.interfaces[at];
        if !interface.addresses.iter().any(|known| known == address) {
            interface.addresses.push(address.to_owned());
        }
        // The driver comes up with its first address.
        interface.up = true;
        Ok(())
    }

    /// SIOCSIFCAP of an epair: checksums of what is sent, for IPv4 or for IPv6.
    /// Both halves always have the same.
    pub fn set_transmit_checksum(&mut self, vnet: i32, name: &str, ipv6: bool, on: bool) -> Result<()> {
        const REQUEST: &str = "set capabilities of";
        self.privilege(REQUEST, name)?;
        let at = self.index(REQUEST, vnet, name)?;
        let kind = self.interfaces[at].kind.clone();
        let InterfaceKind::Epair(_) = kind else { return refuse(REQUEST, name, Errno::EINVAL) };
        for half in self.interfaces.iter_mut().filter(|i| i.kind == kind) {
            half.transmit_checksums[usize::from(ipv6)] = on;
        }
        Ok(())
    }

    /// BRDGDEL.
    pub fn delete_member(&mut self, bridge: &str, member: &str) -> Result<()> {
        const REQUEST: &str = "delete member";
        self.privilege(REQUEST, member)?;
        let at = self.index(REQUEST, HOST, bridge)?;
        let id = self.interface(HOST, member).map(|i| i.id);
        match (&mut self.interfaces[at].kind, id) {
            (InterfaceKind::Bridge(_, members), Some(id)) if members.contains(&id) => {
                members.retain(|m| *m != id);
                self.bridges.leave(id);
                Ok(())
            }
            (InterfaceKind::Bridge(..), _) => refuse(REQUEST, member, Errno::ENOENT),
            _ => refuse(REQUEST, bridge, Errno::EINVAL),
        }
    }

    /// SIOCSIFVNET: lends an interface to a jail's vnet.
    pub fn lend(&mut self, name: &str, jid: i32) -> Result<()> {
        const REQUEST: &str = "move";
        self.privilege(REQUEST, name)?;
        if !self.jails.iter().any(|j| j.jid == jid && !j.dying) {
            return refuse(REQUEST, name, Errno::ENXIO);
        }
        let at = self.index(REQUEST, HOST, name)?;
        if self.interface(jid, name).is_some() {
            return refuse(REQUEST, name, Errno::EEXIST);
        }
        self.leave_bridges(self.interfaces[at].id);
        let interface = &mut self.interfaces[at];
        (interface.vnet, interface.up) = (jid, false);
        interface.addresses.clear();
        Ok(())
    }

    /// SIOCSIFRVNET: takes an interface back from a jail.
    pub fn take_back(&mut self, name: &str, jid: i32) -> Result<()> {
        const REQUEST: &str = "take back";
        self.privilege(REQUEST, name)?;
        let at = self.index(REQUEST, jid, name)?;
        let interface = &mut self.interfaces[at];
        (interface.vnet, interface.up) = (HOST, false);
        interface.addresses.clear();
        Ok(())
    }

    /// jail_set(2) with JAIL_CREATE.
    pub fn create_jail(&mut self, name: &str, path: &Path) -> Result<i32> {
        const REQUEST: &str = "create jail";
        self.privilege(REQUEST, name)?;
        if self.jails.iter().any(|j| j.name == name && !j.dying) {
            return refuse(REQUEST, name, Errno::EEXIST);
        }
        let jid = self.fresh_id() as i32;
        let root = self.mounts.iter().rev().find(|m| m.on == path).map(|m| m.fsid);
        self.jails.push(SimulatedJail { jid, name: name.into(), path: path.into(), dying: false, root });
        self.add("lo0", InterfaceKind::Loopback, jid, &["lo"]);
        Ok(jid)
    }

    /// jail_remove(2). A jail `held` by an open connection stays dying, with
    /// its interfaces and its hold on the root's mount, until [`State::let_go`].
    pub fn remove_jail(&mut self, name: &str, held: bool) -> Result<()> {
        const REQUEST: &str = "remove jail";
        self.privilege(REQUEST, name)?;
        let Some(jail) = self.jails.iter_mut().find(|j| j.name == name && !j.dying) else {
            return refuse(REQUEST, name, Errno::EINVAL);
        };
        jail.dying = true;
        let jid = jail.jid;
        if !held {
            self.let_go(jid);
        }
        Ok(())
    }

    /// The last reference to a dying jail goes: lent interfaces return.
    pub fn let_go(&mut self, jid: i32) {
        self.jails.retain(|j| j.jid != jid);
        self.interfaces.retain(|i| i.home != jid);
        for interface in self.interfaces.iter_mut().filter(|i| i.vnet == jid) {
            (interface.vnet, interface.up) = (HOST, false);
            interface.addresses.clear();
        }
    }

    /// mount(2).
    pub fn mount(&mut self, kind: &str, from: &Path, on: &Path) -> Result<()> {
        const REQUEST: &str = "mount";
        let object = on.display().to_string();
        self.privilege(REQUEST, &object)?;
        let top = self.mounts.iter().rev().find(|m| m.on == on);
        if kind == "nullfs" && top.is_some_and(|m| m.from == from && m.kind == kind) {
            return refuse(REQUEST, &object, Errno::EDEADLK);
        }
        let fsid = self.fresh_id() as i32;
        self.mounts.push(SimulatedMount {
            fsid,
            kind: kind.into(),
            from: from.into(),
            on: on.into(),
            busy: false,
        });
        Ok(())
    }

    /// unmount(2) by file system id.
    pub fn unmount(&mut self, fsid: i32, force: bool) -> Result<()> {
        const REQUEST: &str = "unmount";
        let Some(at) = self.mounts.iter().position(|m| m.fsid == fsid) else {
            return refuse(REQUEST, &fsid.to_string(), Errno::ENOENT);
        };
        let mount = &self.mounts[at];
        let object = mount.on.display().to_string();
        self.privilege(REQUEST, &object)?;
        let covered = self.mounts[at + 1..].iter().any(|m| m.on.starts_with(&mount.on));
        let a_root = self.jails.iter().any(|j| j.root == Some(fsid));
        // By force it goes even with something mounted in it.
        if (covered || mount.busy || a_root) && !force {
            return refuse(REQUEST, &object, Errno::EBUSY);
        }
        self.mounts.remove(at);
        Ok(())
    }
}
