//! The kernel: interfaces, the mount table, jails.
//!
//! Hooks talk to it directly instead of starting ifconfig(8), umount(8) and
//! jls(8): one process does a whole transaction, errors are numbers instead of
//! text, and a hook costs little more than starting a process. Two
//! implementations of the same small traits: `freebsd` makes the system calls,
//! `simulated` (on any other system) behaves alike on a state file below the
//! alternate root, so that every hook runs for real, process and all.

#[cfg(feature = "inject")]
pub mod announced;
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)] // The one module that talks to the kernel.
pub mod freebsd;
pub mod locks;
#[cfg(any(target_os = "freebsd", test))]
#[cfg_attr(not(target_os = "freebsd"), allow(dead_code, reason = "only its numbers and sizes are looked at"))]
mod requests;
#[cfg(not(target_os = "freebsd"))]
pub mod simulated;

pub use crate::types::errno::{Errno, KernelError, Result};

use crate::system::root::Root;
use crate::types::interface::{IfName, Mtu, VlanId};
use crate::types::mac::Mac;
use std::ffi::CStr;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Network interfaces of the host's vnet (freebsd-src: sys/net/if.c,
/// if_clone.c, if_epair.c). Errors are those of
/// transcripts/ioctl.txt.
pub trait Interfaces {
    /// Makes a cloned interface: `epair5`, `bridge7`, or a driver's name alone
    /// for the lowest free unit. Gives the name the kernel chose: `epair5a`.
    fn create(&self, name: &str) -> Result<IfName>;
    /// Destroys a cloned interface; either half of an epair takes both away,
    /// wherever the other is, and out of their bridges.
    fn destroy(&self, name: &IfName) -> Result<()>;
    /// Renames an interface.
    fn rename(&self, name: &IfName, to: &IfName) -> Result<()>;
    /// Whether the interface is up; ENXIO when it does not exist.
    fn is_up(&self, name: &IfName) -> Result<bool>;
    /// Sets or clears IFF_UP.
    fn set_up(&self, name: &IfName, up: bool) -> Result<()>;
    /// The MTU in bytes.
    fn mtu(&self, name: &IfName) -> Result<u32>;
    /// Sets the MTU; EOPNOTSUPP on a bridge member.
    fn set_mtu(&self, name: &IfName, mtu: Mtu) -> Result<()>;
    /// Sets the Ethernet address.
    fn set_mac(&self, name: &IfName, mac: Mac) -> Result<()>;
    /// The description, if one is set.
    fn description(&self, name: &IfName) -> Result<Option<String>>;
    /// Sets the description.
    fn describe(&self, name: &IfName, text: &str) -> Result<()>;
    /// Puts the interface into a group; EEXIST when it is there.
    fn join_group(&self, name: &IfName, group: &str) -> Result<()>;
    /// The members of a group; ENOENT when there is no such group.
    fn group_members(&self, group: &str) -> Result<Vec<IfName>>;
    /// The groups that the interface is in.
    fn groups(&self, name: &IfName) -> Result<Vec<String>>;
    /// The addresses of all interfaces of the host, each with its interface;
    /// loopback and link-local ones are left out.
    fn addresses(&self) -> Result<Vec<(String, IpAddr)>>;
    /// Every interface of the host's vnet with its Ethernet address, if it has
    /// one.
    fn ethernet_addresses(&self) -> Result<Vec<(String, Option<[u8; 6]>)>>;
    /// Whether there is such an interface in the host's vnet.
    fn exists(&self, name: &IfName) -> Result<bool> {
        match self.is_up(name) {
            Ok(_) => Ok(true),
            Err(e) if e.errno == Errno::ENXIO => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// Bridges of the host's vnet (freebsd-src: sys/net/if_bridge.c).
pub trait Bridges: Interfaces {
    /// The members of a bridge, span ports among them; ENXIO when there is no
    /// such interface, EINVAL when it is no bridge.
    fn bridge_members(&self, bridge: &IfName) -> Result<Vec<IfName>>;
    /// The Ethernet addresses that a bridge has learned, each with the member
    /// that leads to it.
    fn learned(&self, bridge: &IfName) -> Result<Vec<([u8; 6], String)>>;
    /// Adds a member; the first one gives the bridge its MTU, any other gets
    /// the bridge's.
    fn add_member(&self, bridge: &IfName, member: &IfName) -> Result<()>;
    /// Makes a member private: it exchanges no frames with other private members.
    fn set_private(&self, bridge: &IfName, member: &IfName) -> Result<()>;
    /// Enters an Ethernet address of a member as static: frames to it go to this
    /// member, whichever host sends from it. The VLAN is the member's on a bridge that
    /// filters VLANs. An address that is static at another member stays there.
    fn set_static_address(
        &self,
        bridge: &IfName,
        member: &IfName,
        address: [u8; 6],
        vlan: Option<VlanId>,
    ) -> Result<()>;
    /// Limits how many Ethernet addresses a member may have; frames from others are
    /// dropped.
    fn limit_addresses(&self, bridge: &IfName, member: &IfName, limit: u32) -> Result<()>;
    /// Sets the VLAN of a member's untagged frames (FreeBSD 15 and later).
    fn set_untagged(&self, bridge: &IfName, member: &IfName, vlan: VlanId) -> Result<()>;
    /// How a bridge handles VLANs; EINVAL if the kernel's bridges cannot filter them
    /// (FreeBSD 14).
    fn vlan_filter(&self, bridge: &IfName) -> Result<VlanFilter>;

    /// The bridge that `name` is a member of, if any.
    fn bridge_of(&self, name: &IfName) -> Result<Option<IfName>> {
        let bridges = match self.group_members("bridge") {
            Err(e) if e.errno == Errno::ENOENT => return Ok(None),
            other => other?,
        };
        for bridge in bridges {
            match self.bridge_members(&bridge) {
                Ok(members) if members.contains(name) => return Ok(Some(bridge)),
                Ok(_) => {}
                // It may have gone meanwhile.
                Err(e) if e.errno == Errno::ENXIO => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }
}

/// How a bridge handles VLANs (bridge(4)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VlanFilter {
    /// It ignores them.
    Off,
    /// It filters them.
    On {
        /// The VLAN that new members get for their untagged frames.
        default: Option<VlanId>,
    },
}

/// One mounted file system, as getfsstat(2) reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The file system's id, which names exactly this mount even when others
    /// are stacked on the same point.
    pub fsid: [i32; 2],
    /// The type: `nullfs`, `devfs`, `zfs`.
    pub kind: String,
    /// What is mounted.
    pub from: PathBuf,
    /// The mount point.
    pub on: PathBuf,
}

impl Mount {
    /// Whether it is a snapshot that ZFS mounted by itself below `.zfs` when
    /// it was used. It is unmounted automatically with the file system, which it
    /// keeps from nothing: not from being renamed, unmounted or destroyed.
    fn is_snapshot(&self) -> bool {
        self.kind == "zfs" && self.on.parent().is_some_and(|place| place.ends_with(".zfs/snapshot"))
    }
}

/// The mount table.
pub trait Mounts {
    /// All mounts, in the order they were made, but for the snapshots that ZFS
    /// mounts by itself; mount(8) passes over them too.
    fn mounts(&self) -> Result<Vec<Mount>>;
    /// Unmounts one, by its id; by force with MNT_FORCE.
    fn unmount(&self, mount: &Mount, force: bool) -> Result<()>;
}

/// A jail that runs, or one that is dying, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningJail {
    /// The jail's id.
    pub jid: i32,
    /// Its name.
    pub name: String,
    /// The path of its root.
    pub path: PathBuf,
}

/// A process, distinguished from a later one of the same id by its start time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// The name of the program.
    pub command: String,
    /// When it started, in a unit of the system's own.
    pub started: i64,
}

/// Jails and what identifies the host.
pub trait Jails {
    /// The jails that run, by jail_get(2) without JAIL_DYING.
    fn running_jails(&self) -> Result<Vec<RunningJail>>;
    /// The jails that were removed and are not gone yet.
    fn dying_jails(&self) -> Result<Vec<RunningJail>>;
    /// The running jail of that name.
    fn running_jail(&self, name: &str) -> Result<Option<RunningJail>> {
        Ok(self.running_jails()?.into_iter().find(|j| j.name == name))
    }
    /// The process with that id, if it exists.
    fn process(&self, pid: i32) -> Result<Option<Process>>;
    /// kern.osrelease, such as `15.0-RELEASE-p3`.
    fn os_release(&self) -> Result<String>;
    /// kern.hostuuid; `None` when the host has none or all zeros.
    fn host_uuid(&self) -> Result<Option<String>>;
}

/// Creates an interface. Without its module there is no cloner for it, which is
/// EINVAL; GENERIC has neither of the two built in. Then the module is loaded
/// and creation tried once more, no matter who loaded it.
#[cfg_attr(not(target_os = "freebsd"), allow(dead_code, reason = "the simulated kernel has no modules"))]
fn create_with_module(
    name: &str,
    create: impl Fn() -> Result<IfName>,
    load: impl FnOnce(&'static CStr) -> Result<()>,
) -> Result<IfName> {
    match create() {
        Err(e) if e.errno == Errno::EINVAL => {
            let module = match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
                "epair" => c"if_epair",
                "bridge" => c"if_bridge",
                _ => return Err(e),
            };
            load(module)?;
            create()
        }
        other => other,
    }
}

/// All of the kernel that the suite uses.
pub trait Kernel: Interfaces + Bridges + Mounts + Jails {}

/// The kernel this program runs on, or its stand-in below an alternate root.
#[cfg(target_os = "freebsd")]
pub fn open(_root: &Root) -> anyhow::Result<Box<dyn Kernel>> {
    let kernel = freebsd::FreeBsd::open()?;
    #[cfg(feature = "inject")]
    let kernel = announced::Announced(kernel);
    Ok(Box::new(kernel))
}

/// The kernel this program runs on, or its stand-in below an alternate root.
#[cfg(not(target_os = "freebsd"))]
pub fn open(root: &Root) -> anyhow::Result<Box<dyn Kernel>> {
    if !root.is_alternate() {
        anyhow::bail!(
            "this system does not support jails; use -R to simulate them in another root directory"
        );
    }
    let kernel = simulated::Simulated::new(root);
    #[cfg(feature = "inject")]
    let kernel = announced::Announced(kernel);
    Ok(Box::new(kernel))
}

fn up_or_down(up: bool) -> &'static str {
    if up { "bring up" } else { "bring down" }
}

/// Whether `path` is `top` or lies below it.
pub fn is_at_or_below(path: &Path, top: &Path) -> bool {
    path.starts_with(top)
}

/// Whether another interface could take the address by mistake.
fn is_of_the_network(address: &IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !local && !address.is_loopback() && !address.is_unspecified()
}

fn usable_uuid(text: &str) -> Option<String> {
    let text = text.trim();
    let zero = text.bytes().all(|b| b == b'0' || b == b'-');
    (!text.is_empty() && !zero).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The module is loaded once, no matter who was faster, and creation is tried
    /// again.
    #[test]
    fn a_missing_cloner_is_loaded_and_tried_again() {
        let einval = || KernelError { request: "create", object: "epair".into(), errno: Errno::EINVAL };
        for present in [false, true] {
            let (tries, loads) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
            let create = || {
                tries.set(tries.get() + 1);
                if tries.get() == 1 { Err(einval()) } else { Ok("epair0a".parse().unwrap()) }
            };
            // Both answers of kldload(2) are success here: EEXIST is another's load.
            let load = |module: &'static CStr| {
                loads.set(loads.get() + 1);
                assert_eq!(module, if present { c"if_epair" } else { c"if_bridge" });
                Ok(())
            };
            let name = if present { "epair" } else { "bridge7" };
            assert!(create_with_module(name, create, load).is_ok());
            assert_eq!((tries.get(), loads.get()), (2, 1));
        }
        let never = |_: &'static CStr| panic!("nothing to load");
        assert_eq!(create_with_module("vlan0", || Err(einval()), never).unwrap_err().errno, Errno::EINVAL);
        let exists = || Err(KernelError { errno: Errno::EEXIST, ..einval() });
        assert_eq!(create_with_module("epair5", exists, never).unwrap_err().errno, Errno::EEXIST);
        let failing = |_: &'static CStr| {
            Err(KernelError { request: "load", object: "if_epair".into(), errno: Errno::ENOENT })
        };
        assert_eq!(create_with_module("epair5", || Err(einval()), failing).unwrap_err().errno, Errno::ENOENT);
    }
}
