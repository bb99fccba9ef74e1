//! netstat(1): the routing table of the host, from the addresses of its interfaces and the default routes that
//! route(8) keeps among them.
//!
//! `ROOT/var/db/standin/routes` adds lines: DESTINATION GATEWAY INTERFACE.

use anyhow::{Result, bail};
use ipnet::IpNet;
use thinjail::system::kernel::simulated::{HOST, State};

use crate::Reply;
use crate::host::Host;
use crate::simulated::kernel;

/// A route: destination, gateway, interface.
type Route = (String, String, String);

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    if args != ["-rn", "--libxo", "json"] {
        bail!("netstat: only -rn --libxo json is imitated");
    }
    let state = kernel(host)?.state()?;
    let mut families = [routes(&state, false), routes(&state, true)];
    for line in host.state_lines("routes")? {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [destination, gateway, interface] = words.as_slice() else { bail!("routes: {line}") };
        let family = usize::from(destination.contains(':'));
        families[family].push(((*destination).into(), (*gateway).into(), (*interface).into()));
    }
    let family = |name: &str, routes: &[Route]| {
        let entry = |(destination, gateway, interface): &Route| {
            format!(
                "{{\"destination\":\"{destination}\",\"gateway\":\"{gateway}\",\"flags\":\"U\",\
                 \"interface-name\":\"{interface}\"}}"
            )
        };
        let entries: Vec<String> = routes.iter().map(entry).collect();
        format!("{{\"address-family\":\"{name}\",\"rt-entry\":[{}]}}", entries.join(","))
    };
    reply.say(format!(
        "{{\"__version\": \"1\",\"statistics\":{{\"route-information\":{{\"route-table\":{{\"rt-family\":[{},{}]}}}}}}}}",
        family("Internet", &families[0]),
        family("Internet6", &families[1])
    ));
    Ok(0)
}

/// The routes of one address family.
fn routes(state: &State, v6: bool) -> Vec<Route> {
    let kind = if v6 { "inet6" } else { "inet" };
    let mut routes = Vec::new();
    for (number, interface) in state.interfaces.iter().enumerate().filter(|(_, i)| i.vnet == HOST) {
        let name = &interface.name;
        for address in &interface.addresses {
            if let Some(gateway) = address.strip_prefix(&format!("{kind}-default=")) {
                routes.insert(0, ("default".into(), gateway.into(), name.clone()));
            } else if let Some(net) = address.strip_prefix(&format!("{kind} "))
                && let Ok(net) = net.parse::<IpNet>()
            {
                let link = format!("link#{}", number + 1);
                if net.prefix_len() < net.max_prefix_len() {
                    routes.push((net.trunc().to_string(), link, name.clone()));
                }
                routes.push((net.addr().to_string(), format!("link#{}", number + 1), "lo0".into()));
            }
        }
    }
    routes
}
