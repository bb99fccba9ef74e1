//! sysctl(8): reads a few nodes.
//!
//! `ROOT/var/db/standin/sysctl.conf` holds `name=value` lines that add to the nodes below or change them.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::Reply;
use crate::getopt::getopt;
use crate::host::Host;

/// The nodes of the recorded host that the suite may ask for.
const NODES: &[(&str, &str)] = &[
    ("kern.features.vimage", "1"),
    ("kern.hostuuid", "e541fb31-9cb8-41ff-addc-b3b79fa4614f"),
    ("kern.osreldate", "1500068"),
    ("kern.osrelease", "15.0-RELEASE"),
    ("kern.securelevel", "-1"),
    ("net.link.bridge.member_ifaddrs", "0"),
    ("security.jail.jailed", "0"),
    ("vfs.zfs.bclone_enabled", "1"),
];

/// All nodes.
fn nodes(host: &Host) -> Result<BTreeMap<String, String>> {
    let mut nodes: BTreeMap<String, String> =
        NODES.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    for line in host.state_lines("sysctl.conf")? {
        match line.split_once('=') {
            Some((name, value)) => nodes.insert(name.trim().into(), value.trim().into()),
            None => bail!("sysctl.conf: not name=value: {line}"),
        };
    }
    Ok(nodes)
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
        if word.contains('=') {
            bail!("sysctl {word}: setting is not imitated");
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
