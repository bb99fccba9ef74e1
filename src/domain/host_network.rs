//! The network of the host: its routes, its addresses, and the interface that
//! leads outside.

use crate::formats::route_table::{self, Route};
use crate::system::host::Host;
use crate::system::kernel::{Errno, Kernel};
use crate::system::tool::Tool;
use crate::types::interface::IfName;
use anyhow::{Context, Result, bail};
use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr};

/// What is known of the host's network.
#[derive(Clone, Debug, Default)]
pub struct HostNetwork {
    /// All routes of the host.
    pub routes: Vec<Route>,
    /// The addresses of all interfaces.
    pub addresses: Vec<(String, IpAddr)>,
}

/// What kind of interface one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UplinkKind {
    /// A network card, or what looks like one.
    Wired,
    /// A wireless station, which a bridge cannot use: the access point accepts the
    /// one Ethernet address of the station only.
    Wireless,
    /// A bridge.
    Bridge,
}

impl HostNetwork {
    /// Looks at routes and addresses.
    pub fn look(host: &Host) -> Result<HostNetwork> {
        let printed = host.tools().ask(Tool::Netstat, &["-rn", "--libxo", "json"])?;
        let routes = route_table::parse(&printed.stdout).context("netstat")?;
        Ok(HostNetwork { routes, addresses: host.kernel()?.addresses()? })
    }

    /// The default route of an address family.
    pub fn default_route(&self, v6: bool) -> Option<&Route> {
        self.routes.iter().find(|r| r.is_default() && r.destination.network().is_ipv6() == v6)
    }

    /// The interface that leads outside: that of the default route.
    pub fn uplink(&self) -> Result<IfName> {
        let Some(route) = self.default_route(false).or_else(|| self.default_route(true)) else {
            bail!("this host has no default route; name the network card with -u");
        };
        Ok(route.interface.parse()?)
    }

    /// The router of an address family, if the default route leads through one of
    /// these interfaces.
    pub fn router(&self, v6: bool, interfaces: &[&str]) -> Option<IpAddr> {
        self.default_route(v6).filter(|r| interfaces.contains(&r.interface.as_str()))?.gateway
    }

    /// The network that is connected to one of these interfaces: that of the router,
    /// or the first.
    pub fn connected(&self, v6: bool, interfaces: &[&str]) -> Option<IpNet> {
        let router = self.router(v6, interfaces);
        let of_family = |r: &&Route| {
            let address = r.destination.network();
            let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
            address.is_ipv6() == v6 && !link_local
        };
        let there = |r: &&Route| r.is_connected() && interfaces.contains(&r.interface.as_str());
        let all = || self.routes.iter().filter(there).filter(of_family).map(|r| r.destination);
        all().find(|net| router.is_some_and(|router| net.contains(&router))).or_else(|| all().next())
    }

    /// The first IPv4 address of an interface.
    pub fn v4_of(&self, interface: &str) -> Option<Ipv4Addr> {
        self.addresses.iter().filter(|(name, _)| name == interface).find_map(|(_, address)| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        })
    }
}

/// What kind of interface one is.
///
/// # Errors
///
/// There is no such interface.
pub fn kind(kernel: &dyn Kernel, name: &IfName) -> Result<UplinkKind> {
    let groups = match kernel.groups(name) {
        Err(e) if e.errno == Errno::ENXIO => bail!("{name}: no such interface"),
        other => other?,
    };
    let is_in = |group: &str| groups.iter().any(|g| g == group);
    // wlan0 may have been renamed.
    Ok(if is_in("wlan") || name.as_str().starts_with("wlan") {
        UplinkKind::Wireless
    } else if is_in("bridge") {
        UplinkKind::Bridge
    } else {
        UplinkKind::Wired
    })
}

/// Whether an address is one of the public Internet: a router at home has none for
/// each of its hosts, and a rented server often has just one.
pub fn is_public(address: Ipv4Addr) -> bool {
    // 100.64.0.0/10 is the network of carriers (RFC 6598).
    let carrier = address.octets()[0] == 100 && (64..128).contains(&address.octets()[1]);
    !(address.is_private() || carrier || address.is_link_local() || address.is_documentation())
}

/// Networks for jails behind NAT, in the order in which they are tried (RFC 1918).
pub fn private_networks() -> Vec<IpNet> {
    let of = |a, b, c| IpNet::from(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), 24));
    let tens = (7..=250).map(|n| of(10, n, 0));
    let others = (16..=31).map(|n| of(172, n, 7)).chain((0..=255).map(|n| of(192, 168, n)));
    tens.chain(others).collect()
}
