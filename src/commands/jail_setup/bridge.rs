//! A bridge with the network card as a member.
//!
//! The host's address moves to the bridge, which interrupts every connection to
//! the host, this very one perhaps. So only rc.conf(5) is changed; the
//! administrator chooses the moment.

use super::facts::{ClonedBridge, Network, NetworkFacts};
use super::finding::{Finding, Part, State};
use crate::domain::host_network::{UplinkKind, is_public};
use crate::domain::rc_conf::{SetVariable, of_interface};
use crate::formats::ifconfig_line::{self, AddressSource, IfconfigLine, NotMovable};
use crate::types::interface::IfName;
use anyhow::{Result, bail};
use std::net::IpAddr;

/// Proposes the bridge, or accepts the one that exists.
pub(super) fn look(s: &NetworkFacts) -> Result<Network> {
    let kernel = s.host.kernel()?;
    if s.kind == UplinkKind::Wireless {
        bail!(
            "{}: a wireless interface cannot be a member of a bridge, because the access point accepts \
             only its own Ethernet address; use -N nat",
            s.uplink
        );
    }
    let mut network = Network::default();
    let present = match s.kind {
        UplinkKind::Bridge => Some(s.uplink.clone()),
        _ => kernel.bridge_of(&s.uplink)?,
    };
    let prepared = s.cloned.iter().find(|c| c.members().contains(&s.uplink.as_str()));
    let bridge = match (&present, prepared) {
        (Some(bridge), _) => bridge.clone(),
        (None, Some(cloned)) => cloned.name.parse()?,
        (None, None) => s.bridge_names()?.0,
    };
    if let Some(given) = s.arguments.bridge.as_ref().filter(|given| **given != bridge) {
        bail!("{} is a member of {bridge}; use that bridge instead of {given}", s.uplink);
    }
    let moves = match &present {
        Some(_) => false,
        None => prepared.is_none() || has_address(s)?,
    };
    match (&present, moves) {
        (Some(_), _) => {
            let members: Vec<String> = s.other_members(&bridge)?.iter().map(ToString::to_string).collect();
            let members = if members.is_empty() { "none".into() } else { members.join(", ") };
            network.report(Part::Network, State::Ok, format!("bridge {bridge} with the member {members}"));
            if !s.cloned.iter().any(|c| c.name == bridge.as_str()) {
                let text = format!(
                    "{bridge} is not in cloned_interfaces of rc.conf; add it, or it will be gone after the next boot"
                );
                network.report(Part::RcConf, State::Todo, text);
            }
        }
        (None, false) => {
            let text = format!("bridge {bridge} with the member {}, from the next boot on", s.uplink);
            network.report(Part::RcConf, State::Ok, text);
            let value = prepared.map_or("", |cloned| &cloned.ifconfig);
            let line = ifconfig_line::split(value).unwrap_or_default();
            network.findings.push(activation(&bridge, &line));
        }
        (None, true) => propose(s, &bridge, prepared, &mut network)?,
    }
    addresses(s, &bridge, &mut network)?;
    Ok(network)
}

/// What is left to the administrator: the moment.
fn activation(bridge: &IfName, line: &IfconfigLine) -> Finding {
    // dhclient(8) sets the default route, which restarting routing would remove.
    let restart = match line.address {
        AddressSource::Dhcp => "service netif restart",
        _ => "service netif restart && service routing restart",
    };
    let text = format!("no jail starts before {bridge} exists: reboot, or run this at the console");
    Finding::new(Part::Network, State::Todo, text).with_lines(vec![restart.into()])
}

/// Whether rc.conf(5) gives the uplink an address.
fn has_address(s: &NetworkFacts) -> Result<bool> {
    let uplink = of_interface(s.uplink.as_str());
    let value = |suffix: &str| s.rc.get(&format!("ifconfig_{uplink}{suffix}"));
    let line = ifconfig_line::split(value("")).unwrap_or_default();
    let own =
        line.address != AddressSource::None || !value("_ipv6").is_empty() || !value("_aliases").is_empty();
    Ok(own || s.aliases()?.names().next().is_some())
}

/// The settings that follow from the network of the host.
fn addresses(s: &NetworkFacts, bridge: &IfName, network: &mut Network) -> Result<()> {
    network.settings.push(("jail_bridge", bridge.to_string()));
    let interfaces = [s.uplink.as_str(), bridge.as_str()];
    let given = s.arguments.network;
    let mut any = false;
    for v6 in [false, true] {
        let (net_name, gateway_name) =
            if v6 { ("jail_net6", "jail_gateway6") } else { ("jail_net", "jail_gateway") };
        let connected = s.network.connected(v6, &interfaces);
        if let Some(net) = s.settings.value(net_name)
            && given.is_none_or(|net| net.addr().is_ipv6() != v6)
        {
            any = true;
            if let Some(here) = connected.filter(|here| here.to_string() != net) {
                let text = format!("{net_name} {net} is not the network of {}, {here}", s.uplink);
                network.report(Part::Settings, State::Warning, text);
            }
            continue;
        }
        let given = given.filter(|net| net.addr().is_ipv6() == v6);
        // A prefix that the router announces may change; it is used only where there
        // is no IPv4.
        if v6 && given.is_none() && any && !is_static_v6(s) {
            continue;
        }
        let Some(net) = given.or(connected) else { continue };
        any = true;
        network.settings.push((net_name, net.to_string()));
        let router = s.network.router(v6, &interfaces).filter(|router| is_router_of(*router, &net));
        if let Some(router) = router.filter(|_| s.settings.value(gateway_name).is_none()) {
            network.settings.push((gateway_name, router.to_string()));
        }
    }
    if !any {
        bail!("{}: no network is connected to it; name the network of the jails with -a", s.uplink);
    }
    if s.settings.jail_ids.is_none() && network.settings.iter().any(|(name, _)| *name == "jail_net") {
        let text = "jail-clone chooses the lowest free address, which a DHCP server may assign, too; \
                    leave its range out, such as with";
        let command = format!("sysrc -f {} jail_ids=200-250", crate::domain::settings::FILE);
        network.findings.push(Finding::new(Part::Settings, State::Warning, text).with_lines(vec![command]));
    }
    Ok(())
}

fn is_router_of(router: IpAddr, net: &ipnet::IpNet) -> bool {
    let link_local = matches!(router, IpAddr::V6(v6) if v6.is_unicast_link_local());
    link_local || net.contains(&router)
}

/// Whether rc.conf(5) gives the uplink a fixed IPv6 address.
fn is_static_v6(s: &NetworkFacts) -> bool {
    let value = s.rc.get(&format!("ifconfig_{}_ipv6", of_interface(s.uplink.as_str()))).to_owned();
    value
        .split_whitespace()
        .any(|word| word.split('/').next().unwrap_or_default().parse::<std::net::Ipv6Addr>().is_ok())
}

/// The variables of rc.conf(5) that make the bridge and move the address of the
/// uplink to it.
fn propose(
    s: &NetworkFacts,
    bridge: &IfName,
    prepared: Option<&ClonedBridge>,
    network: &mut Network,
) -> Result<()> {
    let unit = match prepared {
        Some(cloned) => cloned.unit.parse()?,
        None => s.bridge_names()?.1,
    };
    let (uplink, to) = (of_interface(s.uplink.as_str()), of_interface(bridge.as_str()));
    if !s.rc.get(&format!("vlans_{uplink}")).is_empty() {
        bail!(
            "{} carries VLANs (vlans_{uplink} in rc.conf), which a bridge would take from them; \
             bridge one of the VLAN interfaces instead, with -u",
            s.uplink
        );
    }
    let (own, default) = (format!("ifconfig_{uplink}"), "ifconfig_DEFAULT");
    let value = if s.rc.get(&own).is_empty() { s.rc.get(default) } else { s.rc.get(&own) };
    let line = ifconfig_line::split(value).map_err(|why| not_movable(s, &own, why))?;
    let v6 = format!("ifconfig_{uplink}_ipv6");
    if prepared.is_none()
        && line.address == AddressSource::None
        && s.rc.get(&v6).is_empty()
        && s.network.v4_of(s.uplink.as_str()).is_some()
    {
        bail!(
            "{}: rc.conf does not set its address ({own}), so it cannot be moved to a bridge; set it first",
            s.uplink
        );
    }
    let aliases = s.aliases()?;
    let mut moved: Vec<&str> = aliases.names().collect();
    let all = format!("ifconfig_{uplink}_aliases");
    moved.extend((!s.rc.get(&all).is_empty()).then_some(all.as_str()));
    let (name, target) = (format!("ifconfig_{unit}_name"), format!("ifconfig_{to}"));
    let suffix = |name: &str| name.rsplit('_').next().unwrap_or_default().to_owned();
    let mut names = vec![name.clone(), target.clone(), format!("{target}_ipv6")];
    names.extend(moved.iter().map(|name| format!("{target}_{}", suffix(name))));
    let mut rc = s.with_interfaces(&names)?;
    rc.extend(aliases.clone());
    let rc = &rc;
    if prepared.is_none() {
        let value = line.for_bridge(s.uplink.as_str());
        s.check_unused(rc, &target, &value)?;
        // The name first: with it the next run knows the unit.
        if unit != *bridge {
            network.set(s.host, "netif", rc, &name, Some(bridge.as_str()));
        }
        network.set(s.host, "netif", rc, &target, Some(&value));
        let clones = format!("{} {unit}", rc.get("cloned_interfaces"));
        if !rc.get("cloned_interfaces").split_whitespace().any(|word| word == unit.as_str()) {
            network.set(s.host, "netif", rc, "cloned_interfaces", Some(clones.trim()));
        }
    }
    if !rc.get(&v6).is_empty() {
        let value = ifconfig_line::ipv6_for_bridge(rc.get(&v6));
        network.set(s.host, "netif", rc, &format!("{target}_ipv6"), Some(&value));
    }
    for name in &moved {
        network.set(s.host, "netif", rc, &format!("{target}_{}", suffix(name)), Some(rc.get(name)));
    }
    let router = rc.get("ipv6_defaultrouter");
    if let Some(address) = router.strip_suffix(&format!("%{}", s.uplink)) {
        let value = format!("{address}%{bridge}");
        network.set(s.host, "routing", rc, "ipv6_defaultrouter", Some(&value));
    }
    // Last: until then the host keeps its address where it is.
    for name in moved {
        network.set(s.host, "netif", rc, name, None);
    }
    network.set(s.host, "netif", rc, &v6, None);
    network.set(s.host, "netif", rc, &own, Some(&line.for_member()));
    warnings(s, bridge, &line, network);
    let commands = network.rc.iter().map(SetVariable::command).collect();
    let text = format!("bridge {bridge} with the member {}, from the next boot on", s.uplink);
    network.findings.push(Finding::new(Part::RcConf, State::Change, text).with_lines(commands));
    let back: Vec<String> = network.rc.iter().rev().map(SetVariable::inverse_command).collect();
    network.findings.push(activation(bridge, &line));
    network.next.push(format!("to take {bridge} back, run this and reboot:"));
    network.next.push(format!("    {}", back.join("; ")));
    Ok(())
}

fn not_movable(s: &NetworkFacts, variable: &str, why: NotMovable) -> anyhow::Error {
    let advice = match &why {
        NotMovable::Wireless(_) => "; use -N nat",
        NotMovable::Word(_) => "; make the bridge by hand, or use -N nat",
    };
    anyhow::anyhow!("{}: {variable} in rc.conf: {why}{advice}", s.uplink)
}

/// What may go wrong, before it does.
fn warnings(s: &NetworkFacts, bridge: &IfName, line: &IfconfigLine, network: &mut Network) {
    let uplink = &s.uplink;
    if line.address == AddressSource::Dhcp && s.sysctl("net.link.bridge.inherit_mac") != Some("1") {
        network.report(Part::Network, State::Warning, format!(
            "the DHCP server sees the Ethernet address of {bridge} instead of that of {uplink}, and may assign \
             another address to this host; net.link.bridge.inherit_mac=1 in /boot/loader.conf keeps it"
        ));
    }
    let guest = s.sysctl("kern.vm_guest").filter(|guest| *guest != "none");
    let public = s.network.v4_of(uplink.as_str()).filter(|address| is_public(*address));
    if guest.is_some() || public.is_some() {
        let why = match (guest, public) {
            (Some(guest), _) => format!("this host is a virtual machine ({guest})"),
            (None, address) => {
                format!("{} is a public address", address.map(|a| a.to_string()).unwrap_or_default())
            }
        };
        network.report(Part::Network, State::Warning, format!(
            "{why}; many such networks accept only the Ethernet address of {uplink}, and the jails would reach \
             nothing: then use -N nat"
        ));
    }
    if s.sysctl("net.link.bridge.member_ifaddrs") == Some("0") {
        network.report(Part::Network, State::Warning, format!(
            "net.link.bridge.member_ifaddrs is 0: as a member of {bridge}, {uplink} can have no address of its own"
        ));
    }
}
