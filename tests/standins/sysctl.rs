//! sysctl(8): reads a few nodes, and sets those that something obeys.
//!
//! `ROOT/var/db/standin/sysctl.conf` holds `name=value` lines that add to the nodes below or change them,
//! and `-name` lines that remove some.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::Reply;
use crate::getopt::getopt;
use crate::host::Host;
#[cfg(not(target_os = "freebsd"))]
use crate::host::replace;
#[cfg(not(target_os = "freebsd"))]
use crate::simulated::kernel;

/// The nodes of the recorded host that the suite may ask for.
const NODES: &[(&str, &str)] = &[
    ("kern.features.vimage", "1"),
    ("kern.hostuuid", "e541fb31-9cb8-41ff-addc-b3b79fa4614f"),
    ("kern.osreldate", "1500068"),
    ("kern.osrelease", "15.1-RELEASE"),
    ("kern.racct.enable", "0"),
    ("kern.securelevel", "-1"),
    ("kern.vm_guest", "none"),
    (FORWARDING, "0"),
    ("net.link.bridge.inherit_mac", "0"),
    (MEMBER_ADDRESSES, "1"),
    ("net.link.bridge.pfil_member", "0"),
    ("net.link.ether.inet.log_arp_movements", "1"),
    ("security.jail.jailed", "0"),
    ("vfs.zfs.bclone_enabled", "1"),
];

/// Whether packets are forwarded.
const FORWARDING: &str = "net.inet.ip.forwarding";

/// Whether members of bridges may have addresses.
const MEMBER_ADDRESSES: &str = "net.link.bridge.member_ifaddrs";

/// All nodes.
fn nodes(host: &Host) -> Result<BTreeMap<String, String>> {
    let mut nodes: BTreeMap<String, String> =
        NODES.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    #[cfg(not(target_os = "freebsd"))]
    nodes.insert("kern.osrelease".into(), kernel(host)?.state()?.os_release);
    #[cfg(not(target_os = "freebsd"))]
    if !kernel(host)?.state()?.bridges.member_addresses {
        nodes.insert(MEMBER_ADDRESSES.into(), "0".into());
    }
    for line in host.state_lines("sysctl.conf")? {
        match line.split_once('=') {
            Some((name, value)) => nodes.insert(name.trim().into(), value.trim().into()),
            // Later releases may not have it any longer.
            None if line.starts_with('-') => nodes.remove(line[1..].trim()),
            None => bail!("sysctl.conf: not name=value: {line}"),
        };
    }
    Ok(nodes)
}

/// Sets a node.
#[cfg(not(target_os = "freebsd"))]
fn set(host: &Host, name: &str, value: &str) -> Result<()> {
    if name == FORWARDING {
        let mut lines = host.state_lines("sysctl.conf")?;
        lines.retain(|line| !line.starts_with(FORWARDING));
        if value != "0" {
            lines.push(format!("{name}={value}"));
        }
        if lines.is_empty() {
            let _ = std::fs::remove_file(host.state("sysctl.conf"));
            return Ok(());
        }
        return replace(&host.state("sysctl.conf"), &(lines.join("\n") + "\n"));
    }
    if name != MEMBER_ADDRESSES {
        bail!("sysctl {name}: setting is not imitated");
    }
    let allowed = value != "0";
    kernel(host)?.change(|state| {
        state.bridges.member_addresses = allowed;
        Ok(())
    })?;
    Ok(())
}

/// On FreeBSD no kernel is simulated.
#[cfg(target_os = "freebsd")]
fn set(_: &Host, name: &str, _: &str) -> Result<()> {
    bail!("sysctl {name}: setting is not imitated")
}

/// One node, empty if there is no such thing.
#[cfg(not(target_os = "freebsd"))]
pub fn node(host: &Host, name: &str) -> Result<String> {
    Ok(nodes(host)?.remove(name).unwrap_or_default())
}

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let Ok((options, words)) = getopt(args, "inqe") else {
        bail!("sysctl: only -e, -i, -n and -q are imitated");
    };
    let given = |letter| options.iter().any(|(found, _)| *found == letter);
    let nodes = nodes(host)?;
    let mut status = 0;
    for word in words {
        if let Some((name, value)) = word.split_once('=') {
            let old = nodes.get(name).cloned().unwrap_or_default();
            set(host, name, value)?;
            reply.say(format!("{name}: {old} -> {value}"));
            continue;
        }
        match nodes.get(&word) {
            Some(value) if given('n') => reply.say(value),
            Some(value) if given('e') => reply.say(format!("{word}={value}")),
            Some(value) => reply.say(format!("{word}: {value}")),
            None if given('i') => {}
            None => {
                if !given('q') {
                    reply.complain(format!("sysctl: unknown oid '{word}'"));
                }
                status = 1;
            }
        }
    }
    Ok(status)
}
