//! ifconfig(8): the interfaces of the simulated kernel.
//!
//! `ifconfig standin-init UPLINK BRIDGE [ADDRESS/PREFIX]` makes a host with that physical interface in that bridge;
//! `ifconfig standin-plug CARD` makes only the interface; `ifconfig standin-without-vlans` gives a host the bridges of
//! FreeBSD 14.
//!
//! Where the real program adds `(extended error ...)` to a refusal of the bridge, this one does not: the text depends
//! on how the kernel was built.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};
use ipnet::{Ipv4Net, Ipv6Net};
use thinjail::system::kernel::simulated::bridge::{
    AddressEntry, DISCOVER, EntryKind, LEARNING, PRIVATE, STICKY,
};
use thinjail::system::kernel::simulated::{HOST, Interface, InterfaceKind, Simulated, State};
use thinjail::system::kernel::{Errno, KernelError};
use thinjail::types::interface::{IF_NAME_MAX, Mtu};

use crate::Reply;
use crate::host::Host;
use crate::simulated::{kernel, running};

/// What follows `ifconfig: ` when something is refused.
type Refusable<T> = std::result::Result<T, String>;

/// The flags of a member that have a word of their own.
const MEMBER_FLAGS: &[(&str, u32)] =
    &[("private", PRIVATE), ("sticky", STICKY), ("learn", LEARNING), ("discover", DISCOVER)];

/// Flags of a member as they are shown, in that order (IFBIFBITS).
const SHOWN_FLAGS: &[(u32, &str)] = &[
    (LEARNING, "LEARNING"),
    (DISCOVER, "DISCOVER"),
    (STICKY, "STICKY"),
    (PRIVATE, "PRIVATE"),
    (0x40, "AUTOEDGE"),
    (0x100, "AUTOPTP"),
];

/// The words that remove an address.
const REMOVAL: &[&str] = &["-alias", "delete", "remove"];

/// The words about members and addresses of a bridge.
const BRIDGE_WORDS: &[&str] = &[
    "static",
    "deladdr",
    "ifmaxaddr",
    "ifuntagged",
    "-ifuntagged",
    "vlanfilter",
    "-vlanfilter",
    "defuntagged",
    "flush",
    "flushall",
    "private",
    "-private",
    "sticky",
    "-sticky",
    "learn",
    "-learn",
    "discover",
    "-discover",
];

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let kernel = kernel(host)?;
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (vnet, words) = match words.as_slice() {
        ["standin-init", uplink, bridge, address @ ..] => {
            init(&kernel, uplink, bridge, address)?;
            return Ok(0);
        }
        ["standin-plug", card] => {
            kernel.change(|state| {
                state.plug(card);
                Ok(())
            })?;
            return Ok(0);
        }
        // The bridges of FreeBSD 14.
        ["standin-without-vlans"] => {
            kernel.change(|state| {
                state.bridges.without_vlans = true;
                Ok(())
            })?;
            return Ok(0);
        }
        ["-j", jail, rest @ ..] => match by_name_or_id(&kernel.state()?, jail) {
            Some(jid) => (jid, rest),
            None => {
                reply.complain("ifconfig: jail not found: No such file or directory");
                return Ok(1);
            }
        },
        all => (HOST, all),
    };
    in_vnet(&kernel, vnet, words, reply)
}

/// The id of a running jail, by its name or its id.
fn by_name_or_id(state: &State, jail: &str) -> Option<i32> {
    let by_id = || state.jails.iter().find(|j| !j.dying && j.jid.to_string() == jail).map(|j| j.jid);
    running(state, jail).map(|jail| jail.jid).or_else(by_id)
}

/// Makes the interfaces of a simulated host.
fn init(kernel: &Simulated, uplink: &str, bridge: &str, address: &[&str]) -> Result<()> {
    kernel.change(|state| {
        state.plug(uplink);
        let made = state.create("bridge")?;
        state.rename(HOST, &made, bridge)?;
        state.add_member(bridge, uplink)?;
        for interface in &mut state.interfaces {
            interface.up = true;
            if interface.name == bridge {
                interface.addresses.extend(address.iter().map(|address| format!("inet {address}")));
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// Runs the program in one vnet, the words being those after the options that choose it.
pub fn in_vnet(kernel: &Simulated, vnet: i32, words: &[&str], reply: &mut Reply) -> Result<u8> {
    let state = kernel.state()?;
    let result = match words {
        ["-l"] => {
            let names: Vec<&str> = visible(&state, vnet).iter().map(|i| i.name.as_str()).collect();
            reply.say(names.join(" "));
            Ok(())
        }
        ["-g", group] => {
            list_group(&state, vnet, group, reply);
            Ok(())
        }
        [] | ["-a"] => {
            visible(&state, vnet).into_iter().for_each(|interface| show(&state, interface, reply));
            Ok(())
        }
        [option, ..] if option.starts_with('-') => bail!("ifconfig {option}: not imitated"),
        [name] => match state.interface(vnet, name) {
            Some(interface) => {
                show(&state, interface, reply);
                Ok(())
            }
            None => Err(absent(name)),
        },
        [name, "addr"] => match state.interface(vnet, name) {
            Some(interface) => {
                show_table(&state, interface, reply);
                Ok(())
            }
            None => Err(absent(name)),
        },
        [name, words @ ..] => Session::new(kernel, vnet, name).configure(words, reply),
    };
    Ok(match result {
        Ok(()) => 0,
        Err(text) => {
            reply.complain(format!("ifconfig: {text}"));
            1
        }
    })
}

fn absent(name: &str) -> String {
    format!("interface {name} does not exist")
}

/// The interfaces of a vnet: its own, then those lent to it.
fn visible(state: &State, vnet: i32) -> Vec<&Interface> {
    let mut found: Vec<&Interface> = state.interfaces.iter().filter(|i| i.vnet == vnet).collect();
    found.sort_by_key(|interface| interface.home != vnet);
    found
}

/// The members of a group, of an epair the b half first, as they come into the kernel's list. An absent group is an
/// empty one.
fn list_group(state: &State, vnet: i32, group: &str, reply: &mut Reply) {
    let mut members = visible(state, vnet);
    members.retain(|interface| interface.groups.iter().any(|name| name == group));
    let pair = |x: &&Interface, y: &&Interface| matches!(x.kind, InterfaceKind::Epair(_)) && x.kind == y.kind;
    members.chunk_by_mut(pair).for_each(<[_]>::reverse);
    members.iter().for_each(|interface| reply.say(&interface.name));
}

/// One command line about one interface.
struct Session<'a> {
    kernel: &'a Simulated,
    vnet: i32,
    name: String,
    /// Whether the name is new and thus told at the end, even of a run that failed.
    tell: bool,
}

impl<'a> Session<'a> {
    fn new(kernel: &'a Simulated, vnet: i32, name: &str) -> Self {
        Session { kernel, vnet, name: name.into(), tell: false }
    }

    fn configure(mut self, words: &[&str], reply: &mut Reply) -> Refusable<()> {
        let result = self.apply(words);
        if self.tell {
            reply.say(&self.name);
        }
        result
    }

    /// Makes one request to the kernel; `what` comes before the cause if it is refused.
    fn ask<T>(
        &self,
        what: &str,
        request: impl FnOnce(&mut State) -> std::result::Result<T, KernelError>,
    ) -> Refusable<T> {
        self.kernel.change(request).map_err(|refused| format!("{what}: {}", refused.errno))
    }

    /// Changes the interface as only root may.
    fn edit(&self, what: &str, change: impl FnOnce(&mut Interface)) -> Refusable<()> {
        self.ask(what, |state| {
            let refused = |errno| KernelError { request: "change", object: self.name.clone(), errno };
            if !state.privileged {
                return Err(refused(Errno::EPERM));
            }
            let is_it = |i: &&mut Interface| i.vnet == self.vnet && i.name == self.name;
            state.interfaces.iter_mut().find(is_it).map(change).ok_or_else(|| refused(Errno::ENXIO))
        })
    }

    fn exists(&self) -> Refusable<bool> {
        let state = self.kernel.state().map_err(|refused| refused.to_string())?;
        Ok(state.interface(self.vnet, &self.name).is_some())
    }

    fn apply(&mut self, words: &[&str]) -> Refusable<()> {
        let words = match words {
            ["create" | "plumb", rest @ ..] => {
                self.create()?;
                rest
            }
            // The interface is somewhere else, so it is no error that it is not here.
            ["-vnet", jail, ..] => {
                let jid = self.jid(jail)?;
                let what = format!("SIOCSIFRVNET({jid}, {})", self.name);
                return self.ask(&what, |state| state.take_back(&self.name, jid));
            }
            _ if !self.exists()? => return Err(absent(&self.name)),
            words => words,
        };
        // An address of the link is a family of its own, next to which no other word has a meaning.
        if words.len() > 2 && words.contains(&"ether") {
            return Err("ether: bad value".into());
        }
        let mut rest = words;
        while !rest.is_empty() {
            rest = self.step(rest)?;
        }
        Ok(())
    }

    fn create(&mut self) -> Refusable<()> {
        let name = self.name.clone();
        if name.len() > IF_NAME_MAX {
            return Err(format!("{name}: cloning name too long"));
        }
        if self.vnet != HOST {
            return Err("standin: making interfaces in a jail is not imitated".into());
        }
        let there = format!("interface {name} already exists");
        if self.exists()? {
            return Err(there);
        }
        self.name =
            self.kernel.change(|state| state.create(&name)).map_err(|refused| match refused.errno {
                Errno::EEXIST => there,
                errno => format!("SIOCIFCREATE2 ({name}): {errno}"),
            })?;
        self.tell = self.name != name;
        Ok(())
    }

    /// The id for the name of a jail; digits are taken as they stand.
    fn jid(&self, jail: &str) -> Refusable<i32> {
        let state = self.kernel.state().map_err(|refused| refused.to_string())?;
        let found = running(&state, jail).map(|jail| jail.jid);
        found.or_else(|| jail.parse().ok()).ok_or_else(|| format!("jail \"{jail}\" not found"))
    }

    /// Does what the first words say and gives the others.
    fn step<'w>(&mut self, words: &'w [&'w str]) -> Refusable<&'w [&'w str]> {
        let name = self.name.clone();
        let in_host = self.vnet == HOST;
        let rest = match words {
            ["up", rest @ ..] => {
                self.edit("ioctl SIOCSIFFLAGS (set flags)", |i| i.up = true)?;
                rest
            }
            ["down", rest @ ..] => {
                self.edit("ioctl SIOCSIFFLAGS (set flags)", |i| i.up = false)?;
                rest
            }
            ["destroy", ..] => {
                self.ask("SIOCIFDESTROY", |state| state.destroy(self.vnet, &name))?;
                // Nothing is left to apply further words to.
                &[]
            }
            ["mtu", mtu, rest @ ..] => {
                const WHAT: &str = "ioctl SIOCSIFMTU (set mtu)";
                let bytes = mtu.parse().map_err(|_| format!("{mtu}: bad value"))?;
                if in_host {
                    self.ask(WHAT, |state| state.set_mtu(&name, bytes))?;
                } else if Mtu::new(bytes).is_none() {
                    return Err(format!("{WHAT}: {}", Errno::EINVAL));
                } else {
                    self.edit(WHAT, |i| i.mtu = bytes)?;
                }
                rest
            }
            ["ether" | "lladdr" | "link", mac, rest @ ..] => {
                let bytes = ether(mac).ok_or("ether: bad value")?;
                self.edit("ioctl (set lladdr)", |i| i.mac = bytes)?;
                rest
            }
            ["name", new, rest @ ..] => {
                self.ask("ioctl SIOCSIFNAME (set name)", |state| state.rename(self.vnet, &name, new))?;
                self.name = (*new).into();
                self.tell = true;
                rest
            }
            ["description" | "descr", text, rest @ ..] => {
                self.ask("ioctl SIOCSIFDESCR (set descr)", |state| state.describe(self.vnet, &name, text))?;
                rest
            }
            ["-description" | "-descr", rest @ ..] => {
                self.ask("ioctl SIOCSIFDESCR (set descr)", |state| state.describe(self.vnet, &name, ""))?;
                rest
            }
            ["group", group, rest @ ..] => {
                if group.ends_with(|c: char| c.is_ascii_digit()) {
                    return Err("setifgroup: group names may not end in a digit".into());
                }
                // To be in the group already is as good.
                self.edit(" SIOCAIFGROUP", |i| {
                    if !i.groups.iter().any(|known| known == group) {
                        i.groups.push((*group).into());
                    }
                })?;
                rest
            }
            ["-group", group, rest @ ..] => {
                self.edit(" SIOCDIFGROUP", |i| i.groups.retain(|known| known != group))?;
                rest
            }
            [word @ ("txcsum" | "-txcsum" | "txcsum6" | "-txcsum6"), rest @ ..] => {
                let (on, ipv6) = (!word.starts_with('-'), word.ends_with('6'));
                self.ask("ioctl (SIOCSIFCAP)", |state| {
                    state.set_transmit_checksum(self.vnet, &name, ipv6, on)
                })?;
                rest
            }
            ["addm", member, rest @ ..] => {
                self.ask(&format!("BRDGADD {member}"), |state| state.add_member(&name, member))?;
                rest
            }
            ["deletem", member, rest @ ..] => {
                self.ask(&format!("BRDGDEL {member}"), |state| state.delete_member(&name, member))?;
                rest
            }
            [word, ..] if BRIDGE_WORDS.contains(word) => self.bridge(words)?,
            ["vnet", jail, ..] => {
                let jid = self.jid(jail)?;
                let state = self.kernel.state().map_err(|refused| refused.to_string())?;
                if running(&state, jail).is_none() {
                    return Err(format!("jail {jid} not found"));
                }
                self.ask("SIOCSIFVNET", |state| state.lend(&name, jid))?;
                // It is not here any longer.
                &[]
            }
            ["inet6", address, rest @ ..] => self.address(&inet6(address, rest)?, rest)?,
            ["inet", address, rest @ ..] | [address, rest @ ..] => {
                self.address(&inet(address, rest)?, rest)?
            }
            [] => &[],
        };
        Ok(rest)
    }

    /// Does what the first words say about members and addresses of a bridge, and gives the others.
    fn bridge<'w>(&self, words: &'w [&'w str]) -> Refusable<&'w [&'w str]> {
        let bridge = &self.name;
        let mac = |word: &str| ether(word).ok_or_else(|| format!("{word}: invalid address"));
        let number = |word: &str| word.parse::<u16>().map_err(|_| format!("invalid value: {word}"));
        Ok(match words {
            ["static", member, address, "vlan", vlan, rest @ ..] => {
                let (mac, vlan) = (mac(address)?, number(vlan)?);
                self.ask(&format!("BRDGSADDR {member}"), |s| s.set_address(bridge, member, mac, vlan))?;
                rest
            }
            ["static", member, address, rest @ ..] => {
                let mac = mac(address)?;
                self.ask(&format!("BRDGSADDR {member}"), |s| s.set_address(bridge, member, mac, 0))?;
                rest
            }
            ["deladdr", address, "vlan", vlan, rest @ ..] => {
                let (mac, vlan) = (mac(address)?, number(vlan)?);
                self.ask(&format!("BRDGDADDR {address}"), |s| s.delete_address(bridge, mac, vlan))?;
                rest
            }
            ["deladdr", address, rest @ ..] => {
                let mac = mac(address)?;
                self.ask(&format!("BRDGDADDR {address}"), |s| s.delete_address(bridge, mac, 0))?;
                rest
            }
            ["ifmaxaddr", member, limit, rest @ ..] => {
                let limit = number(limit)?;
                self.ask(&format!("BRDGSIFAMAX {member}"), |s| {
                    s.limit_addresses(bridge, member, limit.into())
                })?;
                rest
            }
            ["ifuntagged", member, vlan, rest @ ..] => {
                let vlan = number(vlan)?;
                self.ask(&format!("BRDGSIFPVID {member}"), |s| s.set_untagged(bridge, member, vlan))?;
                rest
            }
            ["-ifuntagged", member, rest @ ..] => {
                self.ask(&format!("BRDGSIFPVID {member}"), |s| s.set_untagged(bridge, member, 0))?;
                rest
            }
            [word @ ("vlanfilter" | "-vlanfilter"), rest @ ..] => {
                let on = !word.starts_with('-');
                self.ask("BRDGSFLAGS", |s| s.filter_vlans(bridge, on))?;
                rest
            }
            ["defuntagged", vlan, rest @ ..] => {
                let vlan = number(vlan)?;
                self.ask("BRDGSDEFPVID", |s| s.set_default_untagged(bridge, vlan))?;
                rest
            }
            [word @ ("flush" | "flushall"), rest @ ..] => {
                self.ask("BRDGFLUSH", |s| s.flush(bridge, *word == "flushall"))?;
                rest
            }
            [word, member, rest @ ..] => {
                let name = word.trim_start_matches('-');
                let Some((_, flag)) = MEMBER_FLAGS.iter().find(|(known, _)| *known == name) else {
                    return Err(format!("{word}: bad value"));
                };
                let state = self.kernel.state().map_err(|refused| refused.to_string())?;
                let flags = state.interface(self.vnet, member).and_then(|i| state.bridges.member(i.id));
                let flags = flags.map_or(0, |kept| kept.flags);
                let flags = if *word == name { flags | flag } else { flags & !flag };
                self.ask(&format!("BRDGGIFFLGS {member}"), |s| s.set_member_flags(bridge, member, flags))?;
                rest
            }
            words => return Err(format!("'{}' requires an argument", words[0])),
        })
    }

    /// Adds an address or takes it away, as the words behind it say.
    fn address<'w>(&self, address: &str, mut rest: &'w [&'w str]) -> Refusable<&'w [&'w str]> {
        let mut remove = false;
        loop {
            rest = match rest {
                ["alias" | "add", rest @ ..] => rest,
                [word, rest @ ..] if REMOVAL.contains(word) => {
                    remove = true;
                    rest
                }
                ["netmask" | "prefixlen" | "broadcast", _, rest @ ..] => rest,
                _ => break,
            };
        }
        if remove {
            self.edit("ioctl (SIOCDIFADDR)", |i| {
                let is_it = |known: &String| {
                    known.strip_prefix(address).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                i.addresses.retain(|known| !is_it(known));
            })?;
        } else {
            self.ask("ioctl (SIOCAIFADDR)", |state| state.add_address(self.vnet, &self.name, address))?;
        }
        Ok(rest)
    }
}

/// `inet ADDRESS/PREFIX` of an address and the words behind it.
fn inet(address: &str, rest: &[&str]) -> Refusable<String> {
    let bad = || format!("{address}: bad value");
    let word = |name| rest.iter().position(|word| *word == name).and_then(|at| rest.get(at + 1));
    if let Ok(net) = address.parse::<Ipv4Net>() {
        return Ok(format!("inet {net}"));
    }
    let plain: Ipv4Addr = address.parse().map_err(|_| bad())?;
    let Some(mask) = word("netmask") else {
        // One that is removed needs no mask.
        if rest.iter().any(|word| REMOVAL.contains(word)) {
            return Ok(format!("inet {plain}"));
        }
        return Err("ERROR: setting interface address without mask is no longer supported.".into());
    };
    let mask = match mask.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).map(Ipv4Addr::from).ok(),
        None => mask.parse().ok(),
    };
    let net = mask.and_then(|mask| Ipv4Net::with_netmask(plain, mask).ok()).ok_or_else(bad)?;
    Ok(format!("inet {net}"))
}

/// `inet6 ADDRESS/PREFIX` of an address and the words behind it.
fn inet6(address: &str, rest: &[&str]) -> Refusable<String> {
    let bad = || format!("{address}: bad value");
    if let Ok(net) = address.parse::<Ipv6Net>() {
        return Ok(format!("inet6 {net}"));
    }
    let plain: Ipv6Addr = address.parse().map_err(|_| bad())?;
    let length = rest.iter().position(|word| *word == "prefixlen").and_then(|at| rest.get(at + 1));
    let length = length.map_or(Ok(64), |length| length.parse()).map_err(|_| bad())?;
    let net = Ipv6Net::new(plain, length).map_err(|_| bad())?;
    Ok(format!("inet6 {net}"))
}

/// Reads an Ethernet address as link_addr(3) does: one hexadecimal digit will do for a byte, and any address is good.
fn ether(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() <= 2)).collect();
    bytes?.try_into().ok()
}

fn colons(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// Prints one interface.
fn show(state: &State, interface: &Interface, reply: &mut Reply) {
    let in_bridge = state
        .interfaces
        .iter()
        .any(|i| matches!(&i.kind, InterfaceKind::Bridge(_, m) if m.contains(&interface.id)));
    let bridge = matches!(interface.kind, InterfaceKind::Bridge(..));
    let loopback = interface.kind == InterfaceKind::Loopback;
    // A bridge runs when it is up; the others run always.
    let runs = !bridge || interface.up;
    let flags = [
        (0x1, "UP", interface.up),
        (0x2, "BROADCAST", !loopback),
        (0x8, "LOOPBACK", loopback),
        (0x40, "RUNNING", runs),
        (0x100, "PROMISC", in_bridge),
        (0x800, "SIMPLEX", !loopback),
        (0x8000, "MULTICAST", true),
        (0x0100_0000, "LOWER_UP", runs),
    ];
    let set = flags.into_iter().filter(|(_, _, set)| *set);
    let bits: u32 = set.clone().map(|(bit, ..)| bit).sum();
    let words: Vec<&str> = set.map(|(_, word, _)| word).collect();
    let (name, mtu) = (&interface.name, interface.mtu);
    reply.say(format!("{name}: flags={bits:x}<{}> metric 0 mtu {mtu}", words.join(",")));
    if let Some(text) = &interface.description {
        reply.say(format!("\tdescription: {text}"));
    }
    reply.say(match interface.kind {
        InterfaceKind::Bridge(..) => "\toptions=10<VLAN_HWTAGGING>",
        InterfaceKind::Loopback => "\toptions=680003<RXCSUM,TXCSUM,LINKSTATE,RXCSUM_IPV6,TXCSUM_IPV6>",
        InterfaceKind::Epair(_) | InterfaceKind::Ethernet => match interface.transmit_checksums {
            [true, true] => "\toptions=60000b<RXCSUM,TXCSUM,VLAN_MTU,RXCSUM_IPV6,TXCSUM_IPV6>",
            [true, false] => "\toptions=20000b<RXCSUM,TXCSUM,VLAN_MTU,RXCSUM_IPV6>",
            [false, true] => "\toptions=600009<RXCSUM,VLAN_MTU,RXCSUM_IPV6,TXCSUM_IPV6>",
            [false, false] => "\toptions=200009<RXCSUM,VLAN_MTU,RXCSUM_IPV6>",
        },
    });
    if !loopback {
        reply.say(format!("\tether {}", colons(interface.mac)));
        let [_, _, high, low] = interface.id.to_be_bytes();
        let made_with = [0x58, 0x9c, 0xfc, 0x10, high, low];
        if interface.mac != made_with {
            reply.say(format!("\thwaddr {}", colons(made_with)));
        }
    }
    let has_inet6 = show_addresses(interface, reply);
    if let InterfaceKind::Bridge(_, members) = &interface.kind {
        show_bridge(state, interface, members, reply);
    }
    if !interface.groups.is_empty() {
        reply.say(format!("\tgroups: {}", interface.groups.join(" ")));
    }
    if !bridge && !loopback {
        reply.say("\tmedia: Ethernet 10Gbase-T (10Gbase-T <full-duplex>)");
        reply.say("\tstatus: active");
    }
    reply.say(match (bridge || loopback, has_inet6) {
        (true, false) => "\tnd6 options=9<PERFORMNUD,IFDISABLED>",
        (true, true) => "\tnd6 options=1<PERFORMNUD>",
        (false, false) => "\tnd6 options=29<PERFORMNUD,IFDISABLED,AUTO_LINKLOCAL>",
        (false, true) => "\tnd6 options=21<PERFORMNUD,AUTO_LINKLOCAL>",
    });
}

/// Prints the addresses; gives whether IPv6 is among them, which also brings a link-local one.
fn show_addresses(interface: &Interface, reply: &mut Reply) -> bool {
    let mut has_inet6 = false;
    for address in &interface.addresses {
        match address.split_once(' ') {
            Some(("inet", net)) => {
                if let Ok(net) = net.parse::<Ipv4Net>() {
                    let mask = u32::from(net.netmask());
                    let (address, broadcast) = (net.addr(), net.broadcast());
                    reply.say(format!("\tinet {address} netmask {mask:#010x} broadcast {broadcast}"));
                }
            }
            Some(("inet6", net)) => {
                if let Ok(net) = net.parse::<Ipv6Net>() {
                    has_inet6 = true;
                    reply.say(format!("\tinet6 {} prefixlen {}", net.addr(), net.prefix_len()));
                }
            }
            // A route.
            _ => {}
        }
    }
    if has_inet6 {
        let [a, b, c, d, e, f] = interface.mac;
        let id = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        let address = Ipv6Addr::from(0xfe80 << 112 | u128::from(id));
        let (name, scope) = (&interface.name, interface.id);
        reply.say(format!("\tinet6 {address}%{name} prefixlen 64 scopeid {scope:#x}"));
    }
    has_inet6
}

fn show_bridge(state: &State, bridge: &Interface, members: &[u32], reply: &mut Reply) {
    let priority = if bridge.up { 32768 } else { 0 };
    reply.say("\tid 00:00:00:00:00:00 priority 32768 hellotime 2 fwddelay 15");
    reply.say("\tmaxage 20 holdcnt 6 proto rstp maxaddr 2000 timeout 1200");
    reply.say(format!("\troot id 00:00:00:00:00:00 priority {priority} ifcost 0 port 0"));
    let filters = state.bridges.filters(bridge.id);
    reply.say(if filters { "\tbridge flags=1<VLANFILTER>" } else { "\tbridge flags=0<>" });
    // The newest first.
    for id in members.iter().rev() {
        let found = (state.interfaces.iter().find(|i| i.id == *id), state.bridges.member(*id));
        let (Some(member), Some(kept)) = found else { continue };
        let set = SHOWN_FLAGS.iter().filter(|(bit, _)| kept.flags & bit != 0);
        let words: Vec<&str> = set.map(|(_, word)| *word).collect();
        reply.say(format!("\tmember: {} flags={:x}<{}>", member.name, kept.flags, words.join(",")));
        let limit = match kept.address_limit {
            0 => String::new(),
            limit => format!("ifmaxaddr {limit} "),
        };
        let vlan = if kept.untagged == 0 { String::new() } else { format!(" untagged {}", kept.untagged) };
        let port = format!("port {id} priority 128 path cost 2000 vlan protocol 802.1q");
        reply.say(format!("\t        {limit}{port}{vlan}"));
    }
}

/// Prints the address table of a bridge.
fn show_table(state: &State, bridge: &Interface, reply: &mut Reply) {
    for AddressEntry { mac, vlan, member, kind, .. } in state.bridges.table(bridge.id) {
        let member = state.interfaces.iter().find(|i| i.id == *member).map_or("", |i| i.name.as_str());
        // Learned a moment ago: nothing here takes as long as to age.
        let (expires, flags) = match kind {
            EntryKind::Dynamic => (1200, "0<>"),
            EntryKind::Static => (0, "1<STATIC>"),
            EntryKind::Sticky => (0, "2<STICKY>"),
        };
        reply.say(format!("{} Vlan{vlan} {member} {expires} flags={flags}", colons(*mac)));
    }
}
