//! A kernel for systems without jails: the same requests, the same error
//! numbers in the same situations, on a state that processes share.
//!
//! The state lies in two files below the alternate root, one of which counts:
//! a third file, which also carries the flock(2), says which. A process killed
//! at any moment leaves the one that counts whole.
//! tests/suite/kernel.rs holds this module against a recording of the real thing.

#![allow(clippy::disallowed_methods)] // It is no part of what is tested.

pub mod bridge;
mod state;

use self::state::refuse;
pub use self::state::{HOST, Interface, InterfaceKind, SimulatedJail, SimulatedMount, State};
use super::{
    Bridges, Errno, Interfaces, Jails, Kernel, KernelError, Mount, Mounts, Process, Result, RunningJail,
    VlanFilter,
};
use crate::system::root::Root;
use crate::types::interface::{IfName, Mtu, VlanId};
use crate::types::mac::Mac;
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where the state lies below the alternate root: this is the file that is
/// locked and counts the changes; the state itself is next to it, after an even
/// number of changes in `.0`, after an odd one in `.1`.
pub const STATE: &str = "/var/run/thinjail-simulated";

/// The simulated kernel of one alternate root.
#[derive(Debug)]
pub struct Simulated {
    file: PathBuf,
    opened: RefCell<Option<Opened>>,
}

/// The opened state file and what was last read through it.
#[derive(Debug)]
struct Opened {
    file: File,
    changes: u64,
    state: State,
}

impl Simulated {
    /// The kernel of that root; it starts with nothing but lo0.
    pub fn new(root: &Root) -> Simulated {
        Simulated { file: root.host_path(Path::new(STATE)), opened: RefCell::new(None) }
    }

    /// Changes the state as one step, which is kept only when `change` succeeds.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        self.locked(|opened| {
            let mut state = opened.state.clone();
            Ok(match change(&mut state) {
                Ok(answer) => {
                    self.write(opened, state)?;
                    Ok(answer)
                }
                refused => refused,
            })
        })
    }

    /// A copy of the present state.
    pub fn state(&self) -> Result<State> {
        self.read(|state| Ok(state.clone()))
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> Result<T>) -> Result<T> {
        self.locked(|opened| Ok(read(&opened.state)))
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Opened) -> io::Result<Result<T>>) -> Result<T> {
        let done = (|| {
            let mut slot = self.opened.borrow_mut();
            let opened = match &mut *slot {
                Some(opened) => opened,
                none => none.insert(self.open()?),
            };
            opened.file.lock()?;
            let done = self.refresh(opened).and_then(|()| work(opened));
            opened.file.unlock()?;
            done
        })();
        done.unwrap_or_else(|e: io::Error| {
            let errno = match e.kind() {
                io::ErrorKind::PermissionDenied => Errno::EPERM,
                io::ErrorKind::StorageFull => Errno::ENOSPC,
                io::ErrorKind::ReadOnlyFilesystem => Errno::EROFS,
                _ => Errno::EIO,
            };
            Err(KernelError { request: "simulate", object: self.file.display().to_string(), errno })
        })
    }

    fn open(&self) -> io::Result<Opened> {
        let open = || File::options().create(true).read(true).write(true).truncate(false).open(&self.file);
        let file = match open() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(self.file.parent().unwrap_or(Path::new("/")))?;
                open()?
            }
            other => other?,
        };
        Ok(Opened { file, changes: 0, state: State::default() })
    }

    fn slot(&self, changes: u64) -> PathBuf {
        self.file.with_extension(if changes.is_multiple_of(2) { "0" } else { "1" })
    }

    /// Reads what other processes changed since the last look.
    fn refresh(&self, opened: &mut Opened) -> io::Result<()> {
        let mut count = [0; 8];
        let changes = match opened.file.read_at(&mut count, 0)? {
            8 => u64::from_le_bytes(count),
            _ => 0,
        };
        if changes != opened.changes {
            let text = std::fs::read(self.slot(changes))?;
            // Behind the state may stand the rest of a longer, older one.
            let mut states = serde_json::Deserializer::from_slice(&text).into_iter();
            opened.state = states.next().ok_or(io::ErrorKind::UnexpectedEof)??;
            opened.changes = changes;
        }
        Ok(())
    }

    fn write(&self, opened: &mut Opened, state: State) -> io::Result<()> {
        let changes = opened.changes + 1;
        let mut text = serde_json::to_vec(&state)?;
        text.push(b'\n');
        // Not truncated: on some file systems that costs a write to the disk.
        let slot = File::options().create(true).write(true).truncate(false).open(self.slot(changes))?;
        slot.write_all_at(&text, 0)?;
        opened.file.write_all_at(&changes.to_le_bytes(), 0)?;
        (opened.changes, opened.state) = (changes, state);
        Ok(())
    }

    fn of<T>(&self, request: &'static str, name: &IfName, get: impl Fn(&Interface) -> T) -> Result<T> {
        self.read(|state| Ok(get(&state.interfaces[state.index(request, HOST, name.as_str())?])))
    }
}

fn name_of(text: &str) -> Result<IfName> {
    text.parse().or_else(|_| refuse("read the name of", text, Errno::EINVAL))
}

impl Interfaces for Simulated {
    fn create(&self, name: &str) -> Result<IfName> {
        name_of(&self.change(|s| s.create(name))?)
    }

    fn destroy(&self, name: &IfName) -> Result<()> {
        self.change(|s| s.destroy(HOST, name.as_str()))
    }

    fn rename(&self, name: &IfName, to: &IfName) -> Result<()> {
        self.change(|s| s.rename(HOST, name.as_str(), to.as_str()))
    }

    fn is_up(&self, name: &IfName) -> Result<bool> {
        self.of("look at", name, |i| i.up)
    }

    fn set_up(&self, name: &IfName, up: bool) -> Result<()> {
        let request = super::up_or_down(up);
        self.change(|s| {
            s.privilege(request, name.as_str())?;
            let at = s.index(request, HOST, name.as_str())?;
            s.interfaces[at].up = up;
            Ok(())
        })
    }

    fn mtu(&self, name: &IfName) -> Result<u32> {
        self.of("get mtu of", name, |i| i.mtu)
    }

    fn set_mtu(&self, name: &IfName, mtu: Mtu) -> Result<()> {
        self.change(|s| s.set_mtu(name.as_str(), mtu.bytes()))
    }

    fn set_mac(&self, name: &IfName, mac: Mac) -> Result<()> {
        const REQUEST: &str = "set address of";
        self.change(|s| {
            s.privilege(REQUEST, name.as_str())?;
            let at = s.index(REQUEST, HOST, name.as_str())?;
            s.interfaces[at].mac = mac.bytes();
            Ok(())
        })
    }

    fn description(&self, name: &IfName) -> Result<Option<String>> {
        self.of("get description of", name, |i| i.description.clone())
    }

    fn describe(&self, name: &IfName, text: &str) -> Result<()> {
        self.change(|s| s.describe(HOST, name.as_str(), text))
    }

    fn join_group(&self, name: &IfName, group: &str) -> Result<()> {
        self.change(|s| s.join_group(name.as_str(), group))
    }

    fn group_members(&self, group: &str) -> Result<Vec<IfName>> {
        let state = self.state()?;
        let in_group = |i: &&Interface| i.vnet == HOST && i.groups.iter().any(|g| g == group);
        let mut found: Vec<&Interface> = state.interfaces.iter().filter(in_group).collect();
        // The kernel puts the b half of an epair into the group first.
        let pair =
            |x: &&Interface, y: &&Interface| matches!(x.kind, InterfaceKind::Epair(_)) && x.kind == y.kind;
        found.chunk_by_mut(pair).for_each(<[_]>::reverse);
        let members: Vec<_> = found.iter().map(|i| name_of(&i.name)).collect();
        if members.is_empty() {
            return refuse("list group", group, Errno::ENOENT);
        }
        members.into_iter().collect()
    }

    fn groups(&self, name: &IfName) -> Result<Vec<String>> {
        self.of("list groups of", name, |i| i.groups.clone())
    }

    fn addresses(&self) -> Result<Vec<(String, IpAddr)>> {
        let state = self.state()?;
        let host = state.interfaces.iter().filter(|i| i.vnet == HOST);
        // Kept as words of ifconfig(8), perhaps with a prefix length.
        let words = host.flat_map(|i| i.addresses.iter().map(move |a| (&i.name, a)));
        let words = words.flat_map(|(name, a)| a.split([' ', '/']).map(move |w| (name.clone(), w)));
        let all = words.filter_map(|(name, word)| Some((name, word.parse().ok()?)));
        Ok(all.filter(|(_, address)| super::is_of_the_network(address)).collect())
    }

    fn ethernet_addresses(&self) -> Result<Vec<(String, Option<[u8; 6]>)>> {
        let host = self.state()?.interfaces.into_iter().filter(|i| i.vnet == HOST);
        Ok(host.map(|i| (i.name, (i.kind != InterfaceKind::Loopback).then_some(i.mac))).collect())
    }
}

impl Bridges for Simulated {
    fn bridge_members(&self, bridge: &IfName) -> Result<Vec<IfName>> {
        const REQUEST: &str = "list members of";
        let state = self.state()?;
        match &state.interfaces[state.index(REQUEST, HOST, bridge.as_str())?].kind {
            InterfaceKind::Bridge(_, members) => state
                .interfaces
                .iter()
                .filter(|i| members.contains(&i.id))
                .map(|i| name_of(&i.name))
                .collect(),
            _ => refuse(REQUEST, bridge.as_str(), Errno::EINVAL),
        }
    }

    fn learned(&self, bridge: &IfName) -> Result<Vec<([u8; 6], String)>> {
        const REQUEST: &str = "list addresses of";
        let state = self.state()?;
        let of_bridge = &state.interfaces[state.index(REQUEST, HOST, bridge.as_str())?];
        if !matches!(of_bridge.kind, InterfaceKind::Bridge(..)) {
            return refuse(REQUEST, bridge.as_str(), Errno::EINVAL);
        }
        let name = |id| state.interfaces.iter().find(|i| i.id == id).map(|i| i.name.clone());
        let table = state.bridges.table(of_bridge.id);
        Ok(table.filter_map(|entry| Some((entry.mac, name(entry.member)?))).collect())
    }

    fn add_member(&self, bridge: &IfName, member: &IfName) -> Result<()> {
        self.change(|s| s.add_member(bridge.as_str(), member.as_str()))
    }

    fn set_private(&self, bridge: &IfName, member: &IfName) -> Result<()> {
        self.change(|s| {
            let flags = s.member_flags(bridge.as_str(), member.as_str())?;
            s.set_member_flags(bridge.as_str(), member.as_str(), flags | bridge::PRIVATE)
        })
    }

    fn set_static_address(
        &self,
        bridge: &IfName,
        member: &IfName,
        address: [u8; 6],
        vlan: Option<VlanId>,
    ) -> Result<()> {
        let vlan = vlan.map_or(0, VlanId::number);
        self.change(|s| s.set_address(bridge.as_str(), member.as_str(), address, vlan))
    }

    fn limit_addresses(&self, bridge: &IfName, member: &IfName, limit: u32) -> Result<()> {
        self.change(|s| s.limit_addresses(bridge.as_str(), member.as_str(), limit))
    }

    fn set_untagged(&self, bridge: &IfName, member: &IfName, vlan: VlanId) -> Result<()> {
        self.change(|s| s.set_untagged(bridge.as_str(), member.as_str(), vlan.number()))
    }

    fn vlan_filter(&self, bridge: &IfName) -> Result<VlanFilter> {
        self.read(|s| s.vlan_filter(bridge.as_str()))
    }
}

impl Mounts for Simulated {
    fn mounts(&self) -> Result<Vec<Mount>> {
        let one = |m: SimulatedMount| Mount { fsid: [m.fsid, 0], kind: m.kind, from: m.from, on: m.on };
        Ok(self.state()?.mounts.into_iter().map(one).filter(|mount| !mount.is_snapshot()).collect())
    }

    fn unmount(&self, mount: &Mount, force: bool) -> Result<()> {
        self.change(|s| s.unmount(mount.fsid[0], force))
    }
}

impl Jails for Simulated {
    fn running_jails(&self) -> Result<Vec<RunningJail>> {
        let one = |j: SimulatedJail| RunningJail { jid: j.jid, name: j.name, path: j.path };
        Ok(self.state()?.jails.into_iter().filter(|j| !j.dying).map(one).collect())
    }

    fn dying_jails(&self) -> Result<Vec<RunningJail>> {
        let one = |j: SimulatedJail| RunningJail { jid: j.jid, name: j.name, path: j.path };
        Ok(self.state()?.jails.into_iter().filter(|j| j.dying).map(one).collect())
    }

    /// The host's own process table: processes are not simulated.
    fn process(&self, pid: i32) -> Result<Option<Process>> {
        // proc(5): the name stands in parentheses and may contain any byte; the
        // start time is the 20th field behind it.
        let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else { return Ok(None) };
        let stat = String::from_utf8_lossy(&stat);
        let Some((head, tail)) = stat.rsplit_once(')') else { return Ok(None) };
        let command = head.split_once('(').map(|(_, name)| name.to_owned()).unwrap_or_default();
        let started = tail.split_whitespace().nth(19).and_then(|field| field.parse().ok()).unwrap_or(0);
        Ok(Some(Process { pid, command, started }))
    }

    fn os_release(&self) -> Result<String> {
        Ok(self.state()?.os_release)
    }

    fn host_uuid(&self) -> Result<Option<String>> {
        Ok(super::usable_uuid(&self.state()?.host_uuid))
    }
}

impl Kernel for Simulated {}
