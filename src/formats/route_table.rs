//! The routing table, as `netstat -rn --libxo json` prints it.

use ipnet::IpNet;
use serde_json::Value;
use std::net::IpAddr;

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads, the default route being 0.0.0.0/0 or ::/0.
    pub destination: IpNet,
    /// The router, if it is not a directly connected network.
    pub gateway: Option<IpAddr>,
    /// The interface that it leads through.
    pub interface: String,
}

impl Route {
    /// Whether it is the default route.
    pub fn is_default(&self) -> bool {
        self.destination.prefix_len() == 0
    }

    /// Whether it leads to a network that is directly connected.
    pub fn is_connected(&self) -> bool {
        self.gateway.is_none() && !self.is_default() && !self.is_host()
    }

    /// Whether it leads to a single address.
    pub fn is_host(&self) -> bool {
        self.destination.prefix_len() == self.destination.max_prefix_len()
    }
}

/// Reads all routes; what is not an IP route is passed over.
///
/// # Errors
///
/// The text is not the JSON of netstat(1).
pub fn parse(text: &str) -> Result<Vec<Route>, serde_json::Error> {
    let document: Value = serde_json::from_str(text)?;
    let families = &document["statistics"]["route-information"]["route-table"]["rt-family"];
    let mut routes = Vec::new();
    for family in families.as_array().into_iter().flatten() {
        let is_v6 = family["address-family"] == "Internet6";
        routes.extend(family["rt-entry"].as_array().into_iter().flatten().filter_map(|e| route(e, is_v6)));
    }
    Ok(routes)
}

fn route(entry: &Value, is_v6: bool) -> Option<Route> {
    let destination = entry["destination"].as_str()?;
    let gateway = entry["gateway"].as_str().and_then(|g| without_zone(g).parse().ok());
    let interface = entry["interface-name"].as_str()?.trim().to_owned();
    Some(Route { destination: network(destination, is_v6)?, gateway, interface })
}

/// An address or network; a zone is `fe80::%igc0/64` or `fe80::1%igc0`.
fn network(text: &str, is_v6: bool) -> Option<IpNet> {
    if text == "default" {
        return if is_v6 { "::/0" } else { "0.0.0.0/0" }.parse().ok();
    }
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = without_zone(address).parse().ok()?;
    let whole = if address.is_ipv6() { 128 } else { 32 };
    IpNet::new(address, prefix.unwrap_or(whole)).ok().map(|net| net.trunc())
}

fn without_zone(address: &str) -> &str {
    address.split_once('%').map_or(address, |(address, _)| address)
}

/// The first of some networks that shares no address with any route but those
/// through one interface and the default route.
pub fn first_free<'n>(networks: &'n [IpNet], routes: &[Route], except: Option<&str>) -> Option<&'n IpNet> {
    networks.iter().find(|net| clash(net, routes, except).is_none())
}

/// The route that shares addresses with a network, if there is one.
pub fn clash<'r>(network: &IpNet, routes: &'r [Route], except: Option<&str>) -> Option<&'r Route> {
    // The host's own addresses lead to itself; their networks have routes too.
    let is_own = |r: &&Route| r.is_host() && r.interface.starts_with("lo");
    let others = routes.iter().filter(|r| !r.is_default() && Some(r.interface.as_str()) != except);
    others.filter(|r| !is_own(r)).find(|r| {
        let other = &r.destination;
        other.contains(&network.network()) || network.contains(&other.network())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &str = r#"{"__version": "1","statistics":{"route-information":{"route-table":{"rt-family":[
        {"address-family":"Internet","rt-entry":[
            {"destination":"default","gateway":"192.168.1.1","flags":"UGS","interface-name":"igc0"},
            {"destination":"10.7.0.0/16","gateway":"192.168.1.2","flags":"UGS","interface-name":"igc0"},
            {"destination":"127.0.0.1","gateway":"link#2","flags":"UH","interface-name":"lo0"},
            {"destination":"192.168.1.0/24","gateway":"link#1","flags":"U","interface-name":"igc0"}]},
        {"address-family":"Internet6","rt-entry":[
            {"destination":"default","gateway":"fe80::1%igc0","flags":"UG","interface-name":"igc0"},
            {"destination":"fe80::%igc0/64","gateway":"link#1","flags":"U","interface-name":"igc0"}]}]}}}}"#;

    #[test]
    fn a_table() {
        let routes = parse(TABLE).unwrap();
        assert_eq!(routes.len(), 6);
        let defaults: Vec<_> = routes.iter().filter(|r| r.is_default()).map(|r| r.gateway.unwrap()).collect();
        assert_eq!(defaults, ["192.168.1.1".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
        let connected: Vec<_> = routes.iter().filter(|r| r.is_connected()).map(|r| r.destination).collect();
        assert_eq!(connected, ["192.168.1.0/24".parse::<IpNet>().unwrap(), "fe80::/64".parse().unwrap()]);
        let nets: Vec<IpNet> =
            ["10.7.0.0/24", "192.168.0.0/16", "10.8.0.0/24"].iter().map(|n| n.parse().unwrap()).collect();
        assert_eq!(first_free(&nets, &routes, None), Some(&nets[2]));
        assert_eq!(first_free(&nets, &routes, Some("igc0")), Some(&nets[0]));
        assert_eq!(clash(&nets[1], &routes, None).unwrap().destination, "192.168.1.0/24".parse().unwrap());
        assert!(parse("").is_err() && parse("{}").unwrap().is_empty());
    }

    /// Recorded on FreeBSD 15.0, without some routes.
    #[test]
    fn what_netstat_prints() {
        let text = r#"{"statistics": {"route-information": {"route-table": {"rt-family": [{"address-family":"Internet", "rt-entry": [{"destination":"default","gateway":"10.0.2.2","flags":"UGS", "flags_pretty": ["up","gateway","static"],"weight":1,"nhop-kidx":4,"interface-name":"vtnet0"}, {"destination":"10.0.2.0/24","gateway":"link#1","flags":"U", "flags_pretty": ["up"],"weight":1,"nhop-kidx":2,"interface-name":"vtnet0"}, {"destination":"10.0.2.15","gateway":"link#2","flags":"UHS", "flags_pretty": ["up","host","static"],"weight":1,"nhop-kidx":3,"interface-name":"lo0"}]}, {"address-family":"Internet6", "rt-entry": [{"destination":"::/96","gateway":"link#2","flags":"URS", "flags_pretty": ["up","reject","static"],"weight":1,"nhop-kidx":4,"interface-name":"lo0"}, {"destination":"::ffff:0.0.0.0/96","gateway":"link#2","flags":"URS","interface-name":"lo0"}, {"destination":"fe80::%lo0/64","gateway":"link#2","flags":"U", "flags_pretty": ["up"],"weight":1,"nhop-kidx":3,"interface-name":"lo0"}, {"destination":"fe80::1%lo0","gateway":"link#2","flags":"UHS","interface-name":"lo0"}]}]}}}}
"#;
        let routes = parse(text).unwrap();
        assert_eq!(routes.len(), 7);
        assert_eq!(routes[0].gateway, "10.0.2.2".parse().ok());
        assert_eq!((routes[1].is_connected(), routes[2].is_host()), (true, true));
    }

    proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = parse(&text);
            let _ = network(&text, false);
        }
    }
}
