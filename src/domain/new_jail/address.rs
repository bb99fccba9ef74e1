//! The id and the addresses of the new jail.

use super::JailRequest;
use super::block::JailBlock;
use crate::domain::configured::{JailConfigs, JailResources};
use crate::domain::epair;
use crate::domain::layout::Layout;
use crate::domain::settings::Settings;
use crate::system::host::Host;
use crate::types::address::{self, Chosen, Id};
use crate::types::interface::{IfName, PairName, VlanId};
use crate::types::jail_name::JailName;
use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use std::net::IpAddr;

/// Addresses that no jail may have, although any jail may mention them: the
/// gateways and the host's own.
pub(super) fn reserved(host: &Host, settings: &Settings) -> Result<Vec<IpAddr>> {
    let mut all: Vec<IpAddr> = settings.jail_gateway.map(IpAddr::from).into_iter().collect();
    all.extend(settings.jail_gateway6.map(IpAddr::from));
    all.extend(host.kernel()?.addresses()?.into_iter().map(|(_, address)| address));
    Ok(all)
}

/// The id and the addresses of the new jail.
pub(super) struct Choice {
    /// Its block, without what depends on the common part of jail.conf(5).
    pub(super) block: JailBlock,
    /// Its networks, for IPv4 and IPv6.
    networks: [Option<IpNet>; 2],
    /// One line about it.
    pub(super) summary: String,
}

impl Choice {
    /// Gives the block the bridge, the gateways and the options of the pair where
    /// the common part of jail.conf(5) has others. True if there are any.
    pub(super) fn add_network(
        &mut self,
        settings: &Settings,
        common: &JailResources,
        has_common: bool,
        arguments: &JailRequest,
    ) -> Result<bool> {
        let gateways = gateways(arguments)?;
        let of_settings = [settings.jail_gateway.map(IpAddr::from), settings.jail_gateway6.map(IpAddr::from)];
        for (at, given) in gateways.into_iter().enumerate() {
            if let Some(gateway) = given {
                self.check_gateway(gateway, self.networks[at])?;
            }
            let Some(wanted) = given.or(of_settings[at]).filter(|_| self.block.addresses[at].is_some())
            else {
                continue;
            };
            let differs = common.gateways[at].map_or(given.is_some(), |gateway| gateway != wanted);
            self.block.gateways[at] = differs.then(|| with_zone(wanted, common));
        }
        if let Some(bridge) = &arguments.bridge {
            if has_common && common.bridge.is_none() {
                bail!("-b: jail.conf does not set $bridge, so its hooks would not use {bridge}");
            }
            self.block.bridge = Some(bridge.clone()).filter(|b| common.bridge.as_deref() != Some(b.as_str()));
        }
        if let Some(vlan) = arguments.vlan {
            if has_common && common.isolation.is_none() {
                bail!(
                    "--vlan: jail.conf does not set $isolation, so its hooks would not use VLAN {vlan}; \
                     {} shows how",
                    super::notes::EXAMPLE
                );
            }
            self.block.isolation = Some(with_vlan(common.isolation.as_deref().unwrap_or("--pin"), vlan));
        }
        let block = &self.block;
        Ok(block.bridge.is_some() || block.isolation.is_some() || block.gateways.iter().any(Option::is_some))
    }

    /// Has the jail get addresses by DHCP or from a router. Its own exec.start takes
    /// the place of the common one, which sets addresses that it does not have; rc(8)
    /// of the jail reads what sysrc(8) sets there.
    pub(super) fn get_addresses(&mut self, common: &JailResources, arguments: &JailRequest) {
        let mut start = Vec::new();
        let has_gateway = |at: usize| self.block.gateways[at].is_some() || common.gateways[at].is_some();
        if arguments.dhcp {
            // Without SYNC, devd(8) would start dhclient(8), and no jail runs it.
            start.push("/usr/sbin/sysrc ifconfig_${epair}b=SYNCDHCP".to_owned());
        } else if self.block.addresses[0].is_some() {
            start.push("/sbin/ifconfig ${epair}b inet ${ip} up".to_owned());
            start.extend(has_gateway(0).then(|| "/sbin/route add default ${gateway}".to_owned()));
        }
        if arguments.slaac {
            start.push("/usr/sbin/sysrc 'ifconfig_${epair}b_ipv6=inet6 accept_rtadv'".to_owned());
        } else if self.block.addresses[1].is_some() {
            start.push("/sbin/ifconfig ${epair}b inet6 ${ip6} up".to_owned());
            start.extend(has_gateway(1).then(|| "/sbin/route -6 add default ${gateway6}".to_owned()));
        }
        start.push("/bin/sh /etc/rc".to_owned());
        self.block.start = start;
    }

    fn check_gateway(&self, gateway: IpAddr, network: Option<IpNet>) -> Result<()> {
        let Some(network) = network else {
            bail!("gateway {gateway}: the jail has no address of that family; add one with -i or -6");
        };
        if !is_in(gateway, network) {
            bail!("gateway {gateway} is outside the jail's network {}", network.trunc());
        }
        Ok(())
    }
}

/// The gateways given with -g, for IPv4 and IPv6.
fn gateways(arguments: &JailRequest) -> Result<[Option<IpAddr>; 2]> {
    let mut given = [None, None];
    for gateway in &arguments.gateways {
        let of_kind = &mut given[usize::from(gateway.is_ipv6())];
        if let Some(first) = of_kind.replace(*gateway) {
            bail!(
                "-g: {first} and {gateway} are of the same address family; a jail has one default gateway per family"
            );
        }
    }
    Ok(given)
}

/// Whether a jail in a network reaches a gateway directly; a link-local one is in
/// every network.
fn is_in(gateway: IpAddr, network: IpNet) -> bool {
    let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
    link_local || network.contains(&gateway)
}

/// The options of the pair with this VLAN instead of another one.
fn with_vlan(options: &str, vlan: VlanId) -> String {
    let mut words = options.split_whitespace();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "--vlan" => _ = words.next(),
            word if word.starts_with("--vlan=") => {}
            word => kept.push(word.to_owned()),
        }
    }
    kept.extend(["--vlan".into(), vlan.to_string()]);
    kept.join(" ")
}

/// A gateway as route(8) needs it: a link-local address with the interface that
/// leads there, the jail's own.
fn with_zone(gateway: IpAddr, resources: &JailResources) -> String {
    match (gateway, resources.pairs.first()) {
        (IpAddr::V6(v6), Some(pair)) if v6.is_unicast_link_local() => format!("{v6}%{pair}b"),
        _ => gateway.to_string(),
    }
}

pub(super) fn choose(
    host: &Host,
    settings: &Settings,
    reserved: &[IpAddr],
    known: &JailConfigs,
    layout: &Layout,
    arguments: &JailRequest,
) -> Result<Choice> {
    let [gateway4, gateway6] = gateways(arguments)?;
    // A gateway of another network says that the address is of that network too.
    let net4 = settings.jail_net.filter(|net| gateway4.is_none_or(|g| is_in(g, IpNet::from(*net))));
    let net6 = settings.jail_net6.filter(|net| gateway6.is_none_or(|g| is_in(g, IpNet::from(*net))));
    let given4 = arguments.v4.map(|a| address::v4_given(a, net4)).transpose().context("-i")?;
    let given6 = arguments.v6.map(|a| address::v6_given(a, net6)).transpose().context("-6")?;
    let check = |address: IpAddr| {
        if settings.jail_gateway.map(IpAddr::from) == Some(address)
            || settings.jail_gateway6.map(IpAddr::from) == Some(address)
            || arguments.gateways.contains(&address)
        {
            bail!("address {address} is the gateway; choose another");
        }
        if let Some(other) = known.jails().iter().find(|c| c.gateways.contains(&Some(address))) {
            bail!("address {address} is the gateway of jail {}; choose another", other.jail);
        }
        if reserved.contains(&address) {
            bail!("address {address} belongs to this host; choose another");
        }
        Ok(())
    };
    for chosen in [&given4, &given6].into_iter().flatten() {
        let address = chosen.address();
        check(address)?;
        if let Some(other) = known.jails().iter().find(|c| c.addresses.contains(&address)) {
            bail!("address {address} is used by jail {} ({})", other.jail, other.file.display());
        }
    }
    let of_id = |id: Id| -> Result<(Option<Chosen>, Option<Chosen>)> {
        let v4 = match (&given4, settings.jail_net) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(net)) => Some(address::v4_of_id(net, id)?),
            (None, None) => None,
        };
        let v6 = match (&given6, settings.jail_net6) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(net)) => Some(address::v6_of_id(net, id)?),
            (None, None) => None,
        };
        let chosen = [v4.as_ref(), v6.as_ref()];
        for address in chosen.into_iter().flatten().map(Chosen::address) {
            check(address)?;
        }
        Ok((v4, v6))
    };
    let gets = arguments.dhcp || arguments.slaac;
    if !gets
        && given4.is_none()
        && given6.is_none()
        && settings.jail_net.is_none()
        && settings.jail_net6.is_none()
    {
        bail!("no address: use -i or -6, or set jail_net in {}", crate::domain::settings::FILE);
    }
    // A given address says which id was meant, where one fits.
    let of_address = || match (arguments.v4, settings.jail_net) {
        (Some(v4), Some(net)) => address::id_of_v4(net, v4.address)
            .filter(|id| !known.jails().iter().any(|c| c.id.as_deref() == Some(id.to_string().as_str()))),
        _ => None,
    };
    let id = match arguments.id.or_else(of_address) {
        Some(id) => id,
        None => {
            let ids = candidates(settings, given4.is_some(), given6.is_some());
            lowest_free(host, settings, known, layout, arguments, ids, |id| of_id(id).ok(), reserved)?
        }
    };
    let (v4, v6) = of_id(id).with_context(|| format!("id {id}"))?;
    let mut summary = format!("{}: id {id}", arguments.name);
    let addresses = [("ip", &v4), ("ip6", &v6)].map(|(name, chosen)| {
        let chosen = chosen.as_ref()?;
        summary.push_str(&format!(", {}", chosen.net));
        // A given address that is the id's own is written the same way.
        let usual = of_id_text(settings, name, id).filter(|c| c.net == chosen.net);
        Some(usual.map_or_else(|| chosen.text.clone(), |usual| usual.text))
    });
    for (_, how) in [(arguments.dhcp, "DHCP"), (arguments.slaac, "SLAAC")].iter().filter(|(is, _)| *is) {
        summary.push_str(&format!(", {how}"));
    }
    let networks = [&v4, &v6].map(|chosen| chosen.as_ref().map(|chosen| chosen.net));
    let block = JailBlock { addresses, ..JailBlock::new(arguments.name.clone(), id) };
    Ok(Choice { block, networks, summary })
}

/// The ids to choose from. Where a network's gateway is not known, its first
/// address is left to it, as that is the usual one.
fn candidates(settings: &Settings, given4: bool, given6: bool) -> Vec<Id> {
    if let Some(ranges) = &settings.jail_ids {
        return ranges.ids().collect();
    }
    let unknown4 = !given4 && settings.jail_net.is_some() && settings.jail_gateway.is_none();
    let unknown6 = !given6 && settings.jail_net6.is_some() && settings.jail_gateway6.is_none();
    let first = if unknown4 || unknown6 { 2 } else { 1 };
    (first..=Id::MAX).filter_map(Id::new).collect()
}

pub(super) fn of_id_text(settings: &Settings, name: &str, id: Id) -> Option<Chosen> {
    match name {
        "ip" => address::v4_of_id(settings.jail_net?, id).ok(),
        _ => address::v6_of_id(settings.jail_net6?, id).ok(),
    }
}

/// Fails if the jail could not be started because of the names of its pairs:
/// they are too long for an interface, or another owner has them on this host.
pub(super) fn check_pairs(host: &Host, jail: &JailName, resources: &JailResources) -> Result<()> {
    for name in &resources.pairs {
        // What else a half may be called is the administrator's business.
        let half = |end: char| format!("{name}{end}").parse::<IfName>();
        half('b').with_context(|| format!("vnet.interface {name}b of jail {jail}"))?;
        let Ok(pair) = name.parse::<PairName>() else { continue };
        if let Some(owner) = epair::foreign_owner(host, jail, &pair)? {
            bail!("pair {pair} of jail {jail} is not free: {owner}; choose another id");
        }
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "all that an id may clash with")]
fn lowest_free(
    host: &Host,
    settings: &Settings,
    known: &JailConfigs,
    layout: &Layout,
    arguments: &JailRequest,
    ids: Vec<Id>,
    of_id: impl Fn(Id) -> Option<(Option<Chosen>, Option<Chosen>)>,
    reserved: &[IpAddr],
) -> Result<Id> {
    let conf = layout.conf(&arguments.name);
    for id in ids {
        let Some((v4, v6)) = of_id(id) else { continue };
        let number = id.to_string();
        let taken = |c: &JailResources| {
            c.id.as_deref() == Some(number.as_str())
                || c.pairs.contains(&format!("epair{number}"))
                || [&v4, &v6].into_iter().flatten().any(|a| c.addresses.contains(&a.address()))
        };
        if known.jails().iter().any(taken) {
            continue;
        }
        // What the common part makes of the id may clash in other ways too.
        let text = JailBlock::new(arguments.name.clone(), id).to_text();
        let resources =
            known.candidate(arguments.name.as_str(), &conf, text.as_bytes()).context("jail.conf")?;
        if known.check(&resources, reserved).is_ok() && check_pairs(host, &arguments.name, &resources).is_ok()
        {
            return Ok(id);
        }
    }
    match &settings.jail_ids {
        Some(ranges) => bail!("no free id: all of jail_ids ({ranges}) are in use or outside the network"),
        None => bail!("no free id: every address of the network is in use"),
    }
}
