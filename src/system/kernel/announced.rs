//! The kernel as the tests see it: every request that changes something is an
//! effect that can be made to fail.

use super::{Bridges, Interfaces, Jails, Kernel, Mount, Mounts, Process, Result, RunningJail, VlanFilter};
use crate::system::effect::inject::request;
use crate::types::interface::{IfName, Mtu, VlanId};
use crate::types::mac::Mac;
use std::net::IpAddr;

/// A kernel whose changes are announced.
pub struct Announced<K>(pub K);

impl<K: Interfaces> Interfaces for Announced<K> {
    fn create(&self, name: &str) -> Result<IfName> {
        request("create", name, || self.0.create(name))
    }

    fn destroy(&self, name: &IfName) -> Result<()> {
        request("destroy", name.as_str(), || self.0.destroy(name))
    }

    fn rename(&self, name: &IfName, to: &IfName) -> Result<()> {
        request("rename", name.as_str(), || self.0.rename(name, to))
    }

    fn is_up(&self, name: &IfName) -> Result<bool> {
        self.0.is_up(name)
    }

    fn set_up(&self, name: &IfName, up: bool) -> Result<()> {
        request(super::up_or_down(up), name.as_str(), || self.0.set_up(name, up))
    }

    fn mtu(&self, name: &IfName) -> Result<u32> {
        self.0.mtu(name)
    }

    fn set_mtu(&self, name: &IfName, mtu: Mtu) -> Result<()> {
        request("set mtu of", name.as_str(), || self.0.set_mtu(name, mtu))
    }

    fn set_mac(&self, name: &IfName, mac: Mac) -> Result<()> {
        request("set the address of", name.as_str(), || self.0.set_mac(name, mac))
    }

    fn description(&self, name: &IfName) -> Result<Option<String>> {
        self.0.description(name)
    }

    fn describe(&self, name: &IfName, text: &str) -> Result<()> {
        request("describe", name.as_str(), || self.0.describe(name, text))
    }

    fn join_group(&self, name: &IfName, group: &str) -> Result<()> {
        request("set the group of", name.as_str(), || self.0.join_group(name, group))
    }

    fn group_members(&self, group: &str) -> Result<Vec<IfName>> {
        self.0.group_members(group)
    }

    fn groups(&self, name: &IfName) -> Result<Vec<String>> {
        self.0.groups(name)
    }

    fn addresses(&self) -> Result<Vec<(String, IpAddr)>> {
        self.0.addresses()
    }

    fn ethernet_addresses(&self) -> Result<Vec<(String, Option<[u8; 6]>)>> {
        self.0.ethernet_addresses()
    }
}

impl<K: Bridges> Bridges for Announced<K> {
    fn bridge_members(&self, bridge: &IfName) -> Result<Vec<IfName>> {
        self.0.bridge_members(bridge)
    }

    fn learned(&self, bridge: &IfName) -> Result<Vec<([u8; 6], String)>> {
        self.0.learned(bridge)
    }

    fn add_member(&self, bridge: &IfName, member: &IfName) -> Result<()> {
        request("add member", member.as_str(), || self.0.add_member(bridge, member))
    }

    fn set_private(&self, bridge: &IfName, member: &IfName) -> Result<()> {
        request("make private", member.as_str(), || self.0.set_private(bridge, member))
    }

    fn set_static_address(
        &self,
        bridge: &IfName,
        member: &IfName,
        address: [u8; 6],
        vlan: Option<VlanId>,
    ) -> Result<()> {
        request("set a static address of", member.as_str(), || {
            self.0.set_static_address(bridge, member, address, vlan)
        })
    }

    fn limit_addresses(&self, bridge: &IfName, member: &IfName, limit: u32) -> Result<()> {
        request("limit the addresses of", member.as_str(), || self.0.limit_addresses(bridge, member, limit))
    }

    fn set_untagged(&self, bridge: &IfName, member: &IfName, vlan: VlanId) -> Result<()> {
        request("set the VLAN of", member.as_str(), || self.0.set_untagged(bridge, member, vlan))
    }

    fn vlan_filter(&self, bridge: &IfName) -> Result<VlanFilter> {
        self.0.vlan_filter(bridge)
    }
}

impl<K: Mounts> Mounts for Announced<K> {
    fn mounts(&self) -> Result<Vec<Mount>> {
        self.0.mounts()
    }

    fn unmount(&self, mount: &Mount, force: bool) -> Result<()> {
        let how = if force { "unmount by force" } else { "unmount" };
        request(how, &mount.on.display().to_string(), || self.0.unmount(mount, force))
    }
}

impl<K: Jails> Jails for Announced<K> {
    fn running_jails(&self) -> Result<Vec<RunningJail>> {
        self.0.running_jails()
    }

    fn dying_jails(&self) -> Result<Vec<RunningJail>> {
        self.0.dying_jails()
    }

    fn process(&self, pid: i32) -> Result<Option<Process>> {
        self.0.process(pid)
    }

    fn os_release(&self) -> Result<String> {
        self.0.os_release()
    }

    fn host_uuid(&self) -> Result<Option<String>> {
        self.0.host_uuid()
    }
}

impl<K: Kernel> Kernel for Announced<K> {}
