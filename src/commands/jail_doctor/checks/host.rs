//! The host: kernel, bridges, rc.conf(5), settings.

use super::super::facts::{Facts, program};
use super::super::finding::*;
use crate::domain::layout::Layout;
use crate::domain::rc_conf::{self, RcConf};
use crate::domain::settings;
use crate::domain::template;
use crate::system::tool::{Outcome, Tool};
use crate::types::release::Release;
use std::path::Path;

/// What starting a thin jail needs, with a sign that it is there.
const MODULES: [&str; 3] = ["if_epair", "if_bridge", "nullfs"];

/// Whether members of bridges may have addresses (bridge(4), FreeBSD 15).
const MEMBER_IFADDRS: &str = "net.link.bridge.member_ifaddrs";

/// Everything about the host.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for (object, why) in &facts.unchecked {
        found.push(host(&UNCHECKED, object, why, "run jail-doctor as root, or fix the cause in the message"));
    }
    let unread = facts.inventory.iter().flat_map(|i| &i.unread);
    for unread in unread.filter(|u| !is_of_jail_conf(&u.why)) {
        let object = unread.path.display().to_string();
        let what = unread.why.strip_prefix(&format!("{object}: ")).unwrap_or(&unread.why);
        found.push(host(
            &UNCHECKED,
            object,
            what,
            "run jail-doctor as root, or fix the cause in the message",
        ));
    }
    for what in &facts.unsettled {
        found.push(host(&SETTINGS_BAD, settings::FILE, what, "see thinjail.conf(5)"));
    }
    kernel(facts, &mut found);
    bridges(facts, &mut found);
    rc_conf(facts, &mut found);
    if let Some(layout) = facts.layout() {
        files_of_jails(facts, layout, &mut found);
        release(facts, &mut found);
    }
    found
}

/// Whether what could not be read is a file of jail.conf(5).
pub fn is_of_jail_conf(why: &str) -> bool {
    why.starts_with("jail.conf: ")
}

fn host(
    kind: &'static FindingKind,
    object: impl Into<String>,
    what: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    Finding::new(kind, FindingScope::Host, object, what, advice)
}

fn kernel(facts: &Facts, found: &mut Vec<Finding>) {
    if facts.sysctls_known() && facts.sysctl("kern.features.vimage") != Some("1") {
        let advice = "boot a kernel with options VIMAGE; GENERIC has it since FreeBSD 12";
        found.push(host(&NO_VIMAGE, "kern.features.vimage", "the kernel has no VIMAGE", advice));
    }
    for module in MODULES {
        let used = match module {
            "if_epair" => facts.network.interfaces.iter().any(|i| i.is_epair),
            "if_bridge" => !facts.network.bridges.is_empty(),
            _ => facts.mounts.iter().any(|m| m.kind == module),
        };
        if !used && !loadable(facts, module) {
            let advice = format!("kldload {module}; sysrc kld_list+={module} for the next boot");
            found.push(host(&MODULE_MISSING, module, "not loaded, and cannot be loaded", advice));
        }
    }
    let kernel = facts.sysctl("kern.osrelease").and_then(crate::domain::base_version::major_and_minor);
    for template in facts.inventory.iter().flat_map(|i| &i.templates) {
        let base = template.version.as_ref().map_or(&template.release, |v| &v.release);
        if let Some(kernel) = kernel
            && base.version() > kernel
        {
            found.push(Finding::new(
                &KERNEL_OLDER,
                FindingScope::Template(template.release.to_string()),
                base.to_string(),
                format!("newer than the kernel of this host, {}.{}", kernel.0, kernel.1),
                "update the host first",
            ));
        }
    }
}

/// Whether a module is loaded, or would be when it is needed.
fn loadable(facts: &Facts, module: &str) -> bool {
    let loaded = match facts.host.tools().ask(Tool::Kldstat, &["-q", "-m", module]) {
        Ok(_) => true,
        // No such program: nothing can be said.
        Err(e) => matches!(e.outcome, Outcome::NotStarted(_)),
    };
    let secured = facts.sysctl("kern.securelevel").and_then(|l| l.parse::<i32>().ok()).is_some_and(|l| l > 0);
    let there = || {
        let file =
            |directory: &str| facts.host_path(Path::new(directory)).join(format!("{module}.ko")).is_file();
        !secured && (file("/boot/kernel") || file("/boot/modules"))
    };
    loaded || there()
}

/// Whether rc.conf(5) has an interface that does not exist yet.
fn is_in_rc_conf(facts: &Facts, name: &str) -> bool {
    let variable = format!("ifconfig_{}", rc_conf::of_interface(name));
    // A name of the configuration can be anything.
    let is_plain = variable.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_plain
        && RcConf::read(facts.host, &[(&variable, "netif")]).is_ok_and(|rc| !rc.get(&variable).is_empty())
}

fn bridges(facts: &Facts, found: &mut Vec<Finding>) {
    let network = &facts.network;
    if facts.kernel_known {
        for (name, wanted_by) in wanted(facts) {
            let Some(bridge) = network.bridge(&name) else {
                let what = if network.has(&name) { "no bridge" } else { "no such interface" };
                let advice = if is_in_rc_conf(facts, &name) {
                    format!("rc.conf creates {name} at the next boot; jail-setup prints how to do it now")
                } else {
                    format!(
                        "ifconfig bridge create name {name}, ifconfig {name} addm UPLINK up, and cloned_interfaces in rc.conf; or -u UPLINK for jail-epair-up"
                    )
                };
                found.push(host(&BRIDGE_MISSING, name, format!("{what} ({wanted_by})"), advice));
                continue;
            };
            if !bridge.up {
                found.push(host(&BRIDGE_DOWN, &name, "the bridge is down", format!("ifconfig {name} up")));
            }
            let addressed = network.addresses.iter().any(|(interface, _)| *interface == name);
            if !addressed && bridge.members.iter().all(|(m, _)| network.is_epair(m)) {
                let what = "has neither an uplink nor an address";
                found.push(host(&BRIDGE_NO_UPLINK, &name, what, format!("ifconfig {name} addm UPLINK")));
            }
        }
    }
    for bridge in &network.bridges {
        for (member, mtu) in &bridge.members {
            if *mtu != bridge.mtu {
                let what = format!("MTU {mtu} in the bridge {} with {}", bridge.name, bridge.mtu);
                let advice = format!("ifconfig {} mtu N sets all of them", bridge.name);
                found.push(host(&MTU_MISMATCH, member, what, advice));
            }
            let what = format!("and is a member of {}", bridge.name);
            addressed(facts, member, &bridge.name, &what, found);
        }
    }
    // A bridge that a hook would make has no members yet.
    for (name, bridge, uplink) in uplinks(facts) {
        let missing = facts.kernel_known && network.bridge(&bridge).is_none();
        if missing && refuses_addresses(facts) {
            let what = format!("and a hook of jail {name} adds it to {bridge}");
            addressed(facts, &uplink, &bridge, &what, found);
        }
    }
}

/// Whether the kernel refuses members of bridges that have an address:
/// FreeBSD 15 by a node of sysctl(8), later releases always, earlier ones
/// never (freebsd-src: sys/net/if_bridge.c).
fn refuses_addresses(facts: &Facts) -> bool {
    let release = || facts.sysctl("kern.osrelease").and_then(crate::domain::base_version::major_and_minor);
    match facts.sysctl(MEMBER_IFADDRS) {
        Some(value) => value == "0",
        None => facts.sysctls_known() && release().is_some_and(|(major, _)| major >= 16),
    }
}

/// A member, or an uplink that is to be one, with an address of the host.
fn addressed(facts: &Facts, member: &str, bridge: &str, what: &str, found: &mut Vec<Finding>) {
    let of_member = facts.network.addresses.iter().find(|(interface, _)| interface == member);
    let Some((_, address)) = of_member else { return };
    // The same uplink may be that of many jails.
    if found.iter().any(|f| f.object == member && f.kind.id == MEMBER_REFUSED.id) {
        return;
    }
    let (kind, why) = match (refuses_addresses(facts), facts.sysctl(MEMBER_IFADDRS)) {
        (false, _) => (&MEMBER_ADDRESSED, String::new()),
        (true, Some(value)) => (&MEMBER_REFUSED, format!("; {MEMBER_IFADDRS} is {value}")),
        (true, None) => (&MEMBER_REFUSED, "; this kernel has no setting that allows it".to_owned()),
    };
    let what = format!("has the address {address} {what}{why}");
    let advice = format!("move the address to {bridge}: ifconfig_{bridge} in rc.conf");
    found.push(host(kind, member, what, advice));
}

/// The bridges that hooks make from an uplink: the jail, the bridge and the
/// uplink.
fn uplinks(facts: &Facts) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for (jail, name, _) in facts.thin() {
        for words in jail.words("exec.prestart").iter().filter(|w| program(&w[0]) == "jail-epair-up") {
            if let (Some(bridge), Some(uplink)) = (option(words, "-b"), option(words, "-u")) {
                all.push((name.to_string(), bridge.to_owned(), uplink.to_owned()));
            }
        }
    }
    all
}

/// The value of an option among the words of a command.
fn option<'w>(words: &'w [String], letter: &str) -> Option<&'w str> {
    words.iter().position(|w| w == letter).and_then(|at| words.get(at + 1)).map(String::as_str)
}

/// The bridges that must exist, and what needs them.
fn wanted(facts: &Facts) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    if let Some(bridge) = &facts.settings.jail_bridge {
        all.push((bridge.to_string(), "jail_bridge".into()));
    }
    for (jail, name, _) in facts.thin() {
        for words in jail.words("exec.prestart") {
            if program(&words[0]) != "jail-epair-up" {
                continue;
            }
            // With an uplink it is made when it is missing.
            if let Some(bridge) = option(&words, "-b").filter(|_| option(&words, "-u").is_none())
                && !all.iter().any(|(known, _)| known == bridge)
            {
                all.push((bridge.to_owned(), format!("jail {name}")));
            }
        }
    }
    all
}

fn rc_conf(facts: &Facts, found: &mut Vec<Finding>) {
    let thin: Vec<&str> = facts.thin().map(|(_, name, _)| name.as_str()).collect();
    if facts.rc("jail_enable").is_some_and(|value| !rc_conf::is_yes(value)) && !thin.is_empty() {
        found.push(host(
            &JAIL_NOT_ENABLED,
            "jail_enable",
            "not YES in rc.conf",
            facts.sysrc("jail_enable", &["jail_enable=YES"]),
        ));
    }
    let known = facts.inventory.as_ref().is_some_and(|i| !i.unread.iter().any(|u| is_of_jail_conf(&u.why)));
    for name in facts.rc("jail_list").unwrap_or_default().split_whitespace().filter(|_| known) {
        let own = facts.host_path(Path::new(&format!("/etc/jail.{name}.conf"))).is_file();
        if !own && !facts.configured.iter().any(|c| c.resources.jail == name) {
            let what = format!("contains {name}, which is not configured");
            found.push(host(
                &JAIL_LIST_UNKNOWN,
                "jail_list",
                what,
                facts.sysrc("jail_list", &[&format!("jail_list-={name}")]),
            ));
        }
    }
    if let Some(value) = facts.rc("ifconfig_DEFAULT").filter(|v| !v.is_empty()) {
        let what = format!("\"{value}\" in rc.conf");
        let command = facts.sysrc("ifconfig_DEFAULT", &["-x", "ifconfig_DEFAULT"]);
        let advice = format!("{command}, and add a line for each interface that needs one");
        found.push(host(&IFCONFIG_DEFAULT, "ifconfig_DEFAULT", what, advice));
    }
}

/// How rc.d/jail gets from a jail's name to its files (freebsd-src:
/// libexec/rc/rc.d/jail).
fn files_of_jails(facts: &Facts, layout: &Layout, found: &mut Vec<Finding>) {
    let directory = layout.conf_dir();
    let own = |c: &&super::super::facts::Configured| c.resources.file.starts_with(directory);
    let Some(jail) = facts.configured.iter().filter(|c| c.thin).find(own) else { return };
    let main = layout.jail_conf().display().to_string();
    let includes = facts.inventory.as_ref().and_then(|i| i.known.includes_conf_dir());
    if includes != Some(true) {
        let advice = format!(".include \"{}/*.conf\"; in {main}", directory.display());
        let what = format!("does not include {}, where jail {} is", directory.display(), jail.resources.jail);
        found.push(host(&CONF_NOT_INCLUDED, main, what, advice));
        return;
    }
    // Rules 2 and 3 are about this directory and no other.
    if directory != Path::new("/etc/jail.conf.d") {
        return;
    }
    let script = read_some(&facts.host_path(Path::new("/etc/rc.d/jail")));
    let text = read_some(&facts.host_path(layout.jail_conf())).unwrap_or_default();
    let advice = format!("jail -f {main} -c NAME instead of service jail start NAME");
    match script {
        Some(script) if !script.contains("include") => {
            let what = "does not support .include, and reads only jail.conf.d/NAME.conf";
            found.push(host(&INCLUDE_RULE, "/etc/rc.d/jail", what, advice));
        }
        _ if !text.lines().any(is_the_line) => {
            let what = format!("no line begins with .include and {}/", directory.display());
            let advice = format!(".include \"{}/*.conf\"; on a line of its own", directory.display());
            found.push(host(&INCLUDE_RULE, main, what, advice));
        }
        _ => {}
    }
}

/// `^\s*\.include\s*["']?/etc/jail.conf.d/`, as rc.d/jail has it.
fn is_the_line(line: &str) -> bool {
    let Some(rest) = line.trim_start().strip_prefix(".include") else { return false };
    let rest = rest.trim_start();
    rest.strip_prefix(['"', '\'']).unwrap_or(rest).starts_with("/etc/jail.conf.d/")
}

/// A file of the host's, as far as it is one.
fn read_some(path: &Path) -> Option<String> {
    if !path.is_file() {
        return None;
    }
    std::fs::read(path).ok().map(|text| String::from_utf8_lossy(&text).into_owned())
}

fn release(facts: &Facts, found: &mut Vec<Finding>) {
    let (Some(release), Some(inventory)) = (&facts.settings.bsd_ver, &facts.inventory) else { return };
    let there = |release: &Release| {
        inventory.template(release).is_some_and(|t| !t.base.is_absent() || !t.skeleton.is_absent())
    };
    // A template that is only not mounted has a finding of its own.
    let is_misplaced =
        || matches!(template::misplaced_dataset(facts.host, &inventory.layout, release), Ok(Some(_)));
    if !there(release) && !is_misplaced() {
        let others: Vec<&str> = inventory
            .templates
            .iter()
            .map(|t| t.release.as_str())
            .filter(|r| *r != release.as_str())
            .collect();
        let what = match others.as_slice() {
            [] => format!("no template of {release} exists, and none of another release"),
            some => format!("no template of {release} exists, only of {}", some.join(", ")),
        };
        let advice =
            format!("skel-fetch {release} && skel-split {release}, or sysrc -f thinjail.conf bsd_ver=...");
        found.push(host(&RELEASE_MISSING, "bsd_ver", what, advice));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_rc_d_jail() {
        for yes in [
            ".include \"/etc/jail.conf.d/*.conf\";",
            "\t.include '/etc/jail.conf.d/a.conf';",
            ".include/etc/jail.conf.d/x;",
        ] {
            assert!(is_the_line(yes), "{yes}");
        }
        for no in [
            "# .include \"/etc/jail.conf.d/*\";",
            ".include \"jail.conf.d/*.conf\";",
            "x; .include \"/etc/jail.conf.d/*\";",
        ] {
            assert!(!is_the_line(no), "{no}");
        }
    }
}
