//! route(8): the default route of a vnet, kept as one word among the addresses of the interface that leads there.

use std::net::IpAddr;

use anyhow::{Result, bail};
use ipnet::IpNet;
use thinjail::system::kernel::simulated::{HOST, Interface, Simulated};

use crate::Reply;
use crate::host::Host;
use crate::simulated::{kernel, running};

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let kernel = kernel(host)?;
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["-j", jail, rest @ ..] => match running(&kernel.state()?, jail) {
            Some(jail) => in_vnet(&kernel, jail.jid, rest, reply),
            None => {
                reply.complain("route: Jail not found");
                Ok(1)
            }
        },
        all => in_vnet(&kernel, HOST, all, reply),
    }
}

/// Runs the program in one vnet.
pub fn in_vnet(kernel: &Simulated, vnet: i32, words: &[&str], reply: &mut Reply) -> Result<u8> {
    let (family, gateway) = match words {
        ["add", "default", gateway] | ["-4", "add", "default", gateway] => ("inet", gateway),
        ["-6" | "-inet6", "add", "default", gateway] | ["add", "-6" | "-inet6", "default", gateway] => {
            ("inet6", gateway)
        }
        _ => bail!("route: only \"add default GATEWAY\" is imitated"),
    };
    let address = gateway.parse::<IpAddr>().ok().filter(|address| address.is_ipv6() == (family == "inet6"));
    let Some(address) = address else {
        reply.complain(format!("route: bad address: {gateway}"));
        // EX_NOHOST.
        return Ok(68);
    };
    let route = format!("{family}-default={gateway}");
    let refused = kernel.change(|state| {
        let mut here = state.interfaces.iter_mut().filter(|i| i.vnet == vnet).collect::<Vec<_>>();
        let kind = format!("{family}-default=");
        if here.iter().any(|i| i.addresses.iter().any(|known| known.starts_with(&kind))) {
            return Ok(Some(("File exists", "route already in table")));
        }
        let leads_there = |i: &&mut &mut Interface| i.up && i.addresses.iter().any(|a| covers(a, address));
        Ok(match here.iter_mut().find(leads_there) {
            Some(interface) => {
                interface.addresses.push(route);
                None
            }
            None => Some(("Network is unreachable", "Network is unreachable")),
        })
    })?;
    Ok(match refused {
        None => {
            reply.say(format!("add net default: gateway {gateway}"));
            0
        }
        Some((errno, cause)) => {
            reply.complain(format!("route: message indicates error: {errno}"));
            reply.say(format!("add net default: gateway {gateway} fib 0: {cause}"));
            1
        }
    })
}

/// Whether the network of an interface's address holds another address.
fn covers(address: &str, other: IpAddr) -> bool {
    let net = address.split_once(' ').and_then(|(_, net)| net.parse::<IpNet>().ok());
    net.is_some_and(|net| net.contains(&other))
}
