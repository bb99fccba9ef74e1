//! Name servers that jails do not reach.

use super::super::facts::Facts;
use super::super::finding::*;
use crate::formats::resolv_conf::{listed, loopback_servers, runs_resolver};
use crate::system::lock;
use crate::system::tree::inside;
use std::path::Path;

const RESOLV_CONF: &str = "etc/resolv.conf";

/// The resolv.conf(5) of every jail with vnet, and of every template.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(inventory) = &facts.inventory else { return found };
    let layout = &inventory.layout;
    for (jail, name, _) in facts.thin() {
        // Without a network stack of its own it has the host's loopback.
        if jail.resolved.bool("vnet") == Some(true) || jail.resolved.scalar("vnet") == Some("new") {
            let advice = "enter one that the jail can reach, or enable local_unbound in the jail";
            let scope = FindingScope::Jail(name.to_string());
            found.extend(tree(facts, &layout.container(name), scope, advice));
        }
    }
    for template in &inventory.templates {
        let release = &template.release;
        if !lock::template_is_changed(facts.host.root(), release) {
            let advice = "enter one that jails can reach; new jails get the file with the next snapshot";
            let scope = FindingScope::Template(release.to_string());
            found.extend(tree(facts, &layout.skeleton(release), scope, advice));
        }
    }
    found
}

fn tree(facts: &Facts, tree: &Path, scope: FindingScope, advice: &str) -> Option<Finding> {
    let read = |path: &str| inside::read(&facts.host_path(tree), Path::new(path));
    let servers = loopback_servers(&read(RESOLV_CONF)?);
    if servers.is_empty() || runs_resolver(read) {
        return None;
    }
    let object = tree.join(RESOLV_CONF).display().to_string();
    let what = format!("uses the name server {}, but rc.conf enables none here", listed(&servers));
    Some(Finding::new(&RESOLVER_LOOPBACK, scope, object, what, advice))
}
