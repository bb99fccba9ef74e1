//! jail.conf(5): what jail(8) refuses, what clashes, and what does not do what
//! it seems to.

use super::super::facts::{Configured, EXEC, Facts, SEPARATOR, Where, program, words};
use super::super::finding::*;
use super::host::is_of_jail_conf;
use crate::domain::devfs;
use crate::domain::layout::Layout;
use crate::formats::jailconf::{Command, Error, command_words, export_line};
use crate::types::interface::{IfName, PairName};
use crate::types::jail_name::JailName;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// The programs of the suite that jail.conf(5) runs.
const OURS: [&str; 3] = ["jail-epair-up", "jail-epair-down", "jail-sweep"];

/// Everything about the configuration.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(inventory) = &facts.inventory else { return found };
    let unread: Vec<_> = inventory.unread.iter().filter(|u| is_of_jail_conf(&u.why)).collect();
    for unread in &unread {
        let what = unread.why.trim_start_matches("jail.conf: ");
        let object = unread.path.display().to_string();
        let what = what.strip_prefix(&object).unwrap_or(what).trim_start_matches([':', ' ']).to_owned();
        let advice = "see jail.conf(5)";
        found.push(Finding::new(&CONF_SYNTAX, FindingScope::Host, object, what, advice));
    }
    if unread.is_empty() {
        differences(facts, &mut found);
    }
    for double in inventory.known.config().duplicates() {
        let what = format!("has a second block in {}", double.position());
        let scope = FindingScope::Jail(double.name().to_owned());
        found.push(Finding::new(
            &NAME_DUPLICATE,
            scope,
            format!("jail {}", double.name()),
            what,
            "remove one of the two",
        ));
    }
    for jail in &facts.configured {
        if jail.thin || jail.resources.file.starts_with(inventory.layout.conf_dir()) {
            for error in &jail.resolved.errors {
                let text = error.to_string();
                let what =
                    text.trim_end_matches('.').trim_start_matches(&format!("{}: ", jail.resources.jail));
                let mut finding = about(jail, &CONF_UNRESOLVED, what, correction(jail, error));
                // What the common part gets wrong it gets wrong for all.
                let common = error.position().is_some_and(|at| at.file() != jail.resources.file);
                finding.group = common.then(|| but_for(jail, what));
                found.push(finding);
            }
        }
    }
    clashes(facts, &mut found);
    // Without the common part every jail lacks everything, for one reason.
    let included = inventory.known.includes_conf_dir() == Some(true);
    let orphan =
        |jail: &Configured| !included && jail.resources.file.starts_with(inventory.layout.conf_dir());
    for (jail, name, _) in facts.thin().filter(|(jail, ..)| !orphan(jail)) {
        addresses(facts, jail, &mut found);
        places(facts, &inventory.layout, jail, name, &mut found);
        let own = found.len();
        interfaces(jail, &mut found);
        hooks(jail, name, &mut found);
        commands(facts, jail, &mut found);
        parameters(jail, &mut found);
        devices(facts, jail, &mut found);
        for finding in &mut found[own..] {
            finding.group = Some(but_for(jail, &finding.what));
        }
    }
    found
}

fn about(
    jail: &Configured,
    kind: &'static FindingKind,
    what: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    let name = &jail.resources.jail;
    Finding::new(kind, FindingScope::Jail(name.clone()), format!("jail {name}"), what, advice)
}

/// What to do about a parameter that cannot be resolved: the cause is where the
/// parameter is set, or where a variable that it uses is not.
fn correction(jail: &Configured, error: &Error) -> String {
    let own = &jail.resources.file;
    let place = error.position().map_or(own.as_path(), |at| at.file());
    let Error::NotFound { variable, .. } = error else { return format!("correct {}", place.display()) };
    if place == own {
        return format!("correct {}", own.display());
    }
    let (place, own) = (place.display(), own.display());
    let has = |variable: &str| jail.resolved.var(variable).is_some();
    match variable.as_str() {
        "ip" if has("ip6") => format!(
            "the jail has only IPv6: in {place}, use \"inet6 ${{ip6}} up\" and \"route -6 add default \
             ${{gateway6}}\" instead of the lines with ${{ip}} and ${{gateway}}"
        ),
        "ip6" if has("ip") => format!(
            "the jail has only IPv4: set $ip6 in {own}, or remove the lines with ${{ip6}} and ${{gateway6}} \
             from {place}"
        ),
        _ => format!("set ${variable} in {own}, or correct {place}, which uses it"),
    }
}

/// A text without what is a jail's own: its pair, its addresses, its name.
fn but_for(jail: &Configured, what: &str) -> String {
    let mut text = what.to_owned();
    for pair in &jail.resources.pairs {
        text = text.replace(pair.as_str(), "\u{1}");
    }
    for address in own_addresses(jail) {
        text = text.replace(&address.to_string(), "\u{2}");
    }
    text.replace(&jail.resources.jail, "\u{3}")
}

/// jail(8)'s own reading against ours, jail by jail.
fn differences(facts: &Facts, found: &mut Vec<Finding>) {
    let advice = "report it, with both lines";
    let lines = match &facts.exported {
        None => return,
        Some(Err(why)) => {
            let what = format!("jail -e cannot read it: {why}");
            found.push(Finding::new(&CONF_DIFFERS, FindingScope::Host, "/etc/jail.conf", what, advice));
            return;
        }
        Some(Ok(lines)) => lines,
    };
    let theirs: Vec<&str> = lines.lines().collect();
    for jail in &facts.configured {
        let ours = export_line(&jail.resolved, SEPARATOR);
        // Values with line breaks are on several lines; a jail of a file that
        // is not included is in none.
        let named =
            |line: &&&str| line.split(SEPARATOR).any(|p| p == format!("name={}", jail.resources.jail));
        let Some(line) = theirs.iter().find(named).filter(|_| !ours.contains('\n')) else { continue };
        // What could not be resolved is printed in part.
        if jail.resources.errors.is_empty() && **line != *ours {
            let differs =
                line.split(SEPARATOR).zip(ours.split(SEPARATOR)).find(|(theirs, ours)| theirs != ours);
            let (theirs, ours) = differs.unwrap_or((line, &ours));
            // Whole lines, where one has no part that the other lacks.
            let [theirs, ours] = [theirs, ours].map(|text| text.replace(SEPARATOR, " "));
            let what = format!("jail -e has {theirs} where {ours} is expected");
            found.push(about(jail, &CONF_DIFFERS, what, advice));
        }
    }
}

/// Jails that want the same thing.
fn clashes(facts: &Facts, found: &mut Vec<Finding>) {
    let mut ids: BTreeMap<&str, &Configured> = BTreeMap::new();
    let mut ips: BTreeMap<IpAddr, &Configured> = BTreeMap::new();
    let mut pairs: BTreeMap<&str, &Configured> = BTreeMap::new();
    let mut paths: BTreeMap<&Path, &Configured> = BTreeMap::new();
    for jail in &facts.configured {
        let other = |other: &Configured| {
            format!("jail {} ({})", other.resources.jail, other.resources.file.display())
        };
        // The same block of a jail that has two.
        let differs = |o: &&Configured| o.resources.jail != jail.resources.jail;
        let same_id =
            jail.resources.id.as_deref().and_then(|id| ids.insert(id, jail).filter(differs).map(|o| (id, o)));
        if let Some((id, first)) = same_id {
            let what = format!("id {id} is also used by {}", other(first));
            found.push(about(jail, &ID_DUPLICATE, what, "give it its own $id"));
        }
        for address in own_addresses(jail) {
            if let Some(first) = ips.insert(address, jail).filter(differs) {
                let what = format!("address {address} is also used by {}", other(first));
                // One cause is reported once.
                if same_id.is_none_or(|(_, o)| o.resources.jail != first.resources.jail) {
                    found.push(about(jail, &IP_DUPLICATE, what, "give it its own address"));
                }
            }
        }
        for pair in &jail.resources.pairs {
            if let Some(first) = pairs.insert(pair, jail).filter(differs)
                && same_id.is_none_or(|(_, o)| o.resources.jail != first.resources.jail)
            {
                let what = format!("pair {pair} is also used by {}", other(first));
                found.push(about(jail, &PAIR_DUPLICATE, what, "give it its own pair"));
            }
        }
        if let Some(path) = &jail.resources.path
            && let Some(first) = paths.insert(Path::new(path), jail).filter(differs)
            && (jail.thin || first.thin)
        {
            let what = format!("path {path} is also used by {}", other(first));
            found.push(about(jail, &PATH_DUPLICATE, what, "give it its own path"));
        }
    }
}

/// The addresses that a jail is given, and not those that it talks to.
fn own_addresses(jail: &Configured) -> Vec<IpAddr> {
    let mut all = Vec::new();
    let mut add = |word: &str| {
        let word = word.rsplit('|').next().unwrap_or_default();
        let word = word.split('/').next().unwrap_or_default();
        if let Ok(address) = word.parse::<IpAddr>()
            && !address.is_loopback()
            && !address.is_unspecified()
            && !all.contains(&address)
        {
            all.push(address);
        }
    };
    for variable in ["ip", "ip4", "ip6"] {
        if let Some(value) = jail.resolved.var(variable) {
            add(value);
        }
    }
    for parameter in ["ip4.addr", "ip6.addr"] {
        jail.resolved.get(parameter).unwrap_or_default().iter().for_each(|value| add(value));
    }
    for parameter in ["exec.created", "exec.start", "exec.poststart"] {
        for words in jail.words(parameter).iter().filter(|w| program(&w[0]) == "ifconfig") {
            // ifconfig INTERFACE ADDRESS, or behind a word.
            words.get(2).into_iter().for_each(|word| add(word));
            for pair in words.windows(2).filter(|w| matches!(w[0].as_str(), "inet" | "inet6" | "alias")) {
                add(&pair[1]);
            }
        }
    }
    all
}

fn addresses(facts: &Facts, jail: &Configured, found: &mut Vec<Finding>) {
    let settings = &facts.settings;
    let gateways = [settings.jail_gateway.map(IpAddr::from), settings.jail_gateway6.map(IpAddr::from)];
    // A jail of another network has its gateway there.
    let elsewhere = jail.resources.gateways.map(|gateway| match gateway {
        Some(IpAddr::V4(v4)) => settings.jail_net.is_some_and(|net| !net.contains(&v4)),
        Some(IpAddr::V6(v6)) => {
            !v6.is_unicast_link_local() && settings.jail_net6.is_some_and(|net| !net.contains(&v6))
        }
        None => false,
    });
    for address in own_addresses(jail) {
        let inside = elsewhere[usize::from(address.is_ipv6())]
            || match address {
                IpAddr::V4(v4) => settings.jail_net.is_none_or(|net| net.contains(&v4)),
                IpAddr::V6(v6) => {
                    v6.is_unicast_link_local() || settings.jail_net6.is_none_or(|net| net.contains(&v6))
                }
            };
        if !inside {
            let what = format!("address {address} is outside the network of jail_net and jail_net6");
            found.push(about(jail, &IP_OUTSIDE, what, "correct $ip, or jail_net in thinjail.conf"));
        }
        if gateways.contains(&Some(address)) {
            let what = format!("address {address} is the gateway");
            found.push(about(jail, &IP_GATEWAY, what, "give it another address"));
        } else if let Some((interface, _)) = facts.network.addresses.iter().find(|(_, a)| *a == address) {
            let what = format!("address {address} belongs to this host, on {interface}");
            found.push(about(jail, &IP_HOST, what, "give it another address"));
        }
    }
}

/// Where its path and its fstab are.
fn places(facts: &Facts, layout: &Layout, jail: &Configured, name: &JailName, found: &mut Vec<Finding>) {
    let resources = &jail.resources;
    match &resources.path {
        Some(path) if Path::new(path) != layout.path(name) => {
            let what = format!("path is {path}, not {}", layout.path(name).display());
            found.push(about(jail, &PATH_DIFFERS, what, "name path and container after the jail"));
        }
        _ => {}
    }
    match &resources.fstab {
        None if resources.errors.is_empty() => {
            let advice = format!("mount.fstab = \"{}\";", layout.fstab(name).display());
            found.push(about(jail, &FSTAB_MISSING, "no mount.fstab", advice));
        }
        None => {}
        Some(path) if !facts.host_path(Path::new(path)).is_file() => {
            let advice = format!("jail-mkfstab {name}");
            found.push(about(jail, &FSTAB_MISSING, format!("mount.fstab: {path}: no such file"), advice));
        }
        Some(path) if Path::new(path) != layout.fstab(name) => {
            let what = format!("mount.fstab is {path}, not {}", layout.fstab(name).display());
            found.push(about(jail, &PATH_DIFFERS, what, "name it after the path: ${path}.fstab"));
        }
        Some(_) => {}
    }
}

/// vnet, and the interface that is moved into it.
fn interfaces(jail: &Configured, found: &mut Vec<Finding>) {
    let resolved = &jail.resolved;
    let vnet = resolved.bool("vnet") == Some(true) || resolved.scalar("vnet") == Some("new");
    if !vnet {
        found.push(about(jail, &NO_VNET, "no vnet", "vnet; and vnet.interface = ...;"));
    }
    for parameter in ["ip4.addr", "ip6.addr"] {
        if vnet && resolved.get(parameter).is_some() {
            let what = format!("{parameter} with vnet: jail(8) refuses both together");
            found.push(about(jail, &CONF_UNRESOLVED, what, "remove it; exec.start sets the address"));
        }
    }
    names_of_interfaces(jail, found);
    let made: Option<PairName> = jail.words("exec.prestart").iter().find_map(|words| {
        let ours = program(&words[0]) == "jail-epair-up";
        ours.then(|| words.last()?.parse().ok()).flatten()
    });
    if let (Some(made), Some(moved)) = (made, resolved.get("vnet.interface"))
        && !moved.is_empty()
        && !moved.iter().any(|m| *m == made.b().as_str())
    {
        let what = format!("vnet.interface is {}, but exec.prestart creates {}", moved.join(", "), made.b());
        found.push(about(jail, &INTERFACE_DIFFERS, what, format!("vnet.interface = \"{}\";", made.b())));
    }
}

/// Names that no interface can have, which is noticed at the start otherwise.
fn names_of_interfaces(jail: &Configured, found: &mut Vec<Finding>) {
    let mut find = |parameter: &str, why: String| {
        let advice = "a shorter $epair or $bridge, in the jail's block or in the common part";
        found.push(about(jail, &INTERFACE_NAME, format!("{parameter}: {why}"), advice));
    };
    for name in jail.resolved.get("vnet.interface").into_iter().flatten() {
        if let Err(e) = name.parse::<IfName>() {
            find("vnet.interface", format!("{name}: {e}"));
        }
    }
    for words in jail.words("exec.prestart").iter().filter(|w| program(&w[0]) == "jail-epair-up") {
        let bridge = words.iter().position(|word| word == "-b").and_then(|at| words.get(at + 1));
        if let Some((bridge, Err(e))) = bridge.map(|bridge| (bridge, bridge.parse::<IfName>())) {
            find("exec.prestart", format!("{bridge}: {e}"));
        }
        if let Some((pair, Err(e))) = words.last().map(|pair| (pair, pair.parse::<PairName>())) {
            find("exec.prestart", format!("{pair}: {e}"));
        }
    }
}

/// Hooks that do not exist.
fn hooks(jail: &Configured, name: &JailName, found: &mut Vec<Finding>) {
    let runs = |parameter: &str, programs: &[&str]| {
        jail.words(parameter).iter().flatten().any(|word| programs.contains(&program(word)))
    };
    // What could not be resolved is missing too, and already reported.
    if !jail.resources.errors.is_empty() {
        return;
    }
    let pair = jail.resources.pairs.first().map_or("PAIR", String::as_str);
    let path = jail.resources.path.as_deref().unwrap_or("PATH");
    let sweep =
        |parameter: &str| format!("{parameter} = \"/usr/local/sbin/jail-sweep {name} {path} {pair}\";");
    let mut missing = |kind, what: &str, advice: String| found.push(about(jail, kind, what, advice));
    if !runs("exec.prepare", &["jail-sweep"]) {
        missing(
            &HOOK_MISSING_PREPARE,
            "no exec.prepare removes the leftovers of an earlier run",
            sweep("exec.prepare"),
        );
    }
    if jail.resolved.get("vnet.interface").is_some()
        && !runs("exec.prestart", &["jail-epair-up", "jib", "jng", "create"])
        && !runs("exec.prepare", &["jail-epair-up", "jib", "jng", "create"])
    {
        let advice = format!("exec.prestart = \"/usr/local/sbin/jail-epair-up -b BRIDGE {name} {pair}\";");
        missing(&HOOK_MISSING_PRESTART, "no exec.prestart creates the pair", advice);
    }
    let down = ["jail-epair-down", "destroy", "jib", "jng"];
    if jail.resolved.get("vnet.interface").is_some()
        && !runs("exec.poststop", &down)
        && !runs("exec.release", &down)
    {
        let advice = format!("exec.poststop = \"/usr/local/sbin/jail-epair-down {name} {pair}\";");
        missing(&HOOK_MISSING_POSTSTOP, "no exec.poststop destroys the pair", advice);
    }
    if !runs("exec.release", &["jail-sweep"]) {
        missing(
            &HOOK_MISSING_RELEASE,
            "no exec.release unmounts what is still mounted",
            sweep("exec.release"),
        );
    }
    for parameter in ["exec.prepare", "exec.prestart"] {
        let creates = |words: &Vec<String>| {
            program(&words[0]) == "ifconfig"
                && words.iter().any(|w| w == "create")
                && words.iter().any(|w| w.starts_with("epair"))
        };
        if let Some(words) = jail.words(parameter).iter().find(|w| creates(w)) {
            let what = format!("{parameter}: {}", words.join(" "));
            let advice = format!("{parameter} = \"/usr/local/sbin/jail-epair-up -b BRIDGE {name} {pair}\";");
            found.push(about(jail, &HOOK_CREATE, what, advice));
        }
    }
}

/// How the commands are written, and in which order.
fn commands(facts: &Facts, jail: &Configured, found: &mut Vec<Finding>) {
    let mut missing: Vec<(&str, String)> = Vec::new();
    for (parameter, place) in EXEC {
        for command in jail.commands(parameter) {
            let Some(first) = words(command).into_iter().next() else { continue };
            let shown = format!("{parameter}: {command}");
            if place == Where::Host {
                if !first.contains('/') {
                    let advice =
                        format!("write its absolute path, such as /usr/local/sbin/{first} or /sbin/{first}");
                    found.push(about(jail, &HOOK_RELATIVE, shown.clone(), advice));
                } else if matches!(command_words(command), Command::Exec { .. }) && !is_there(facts, &first) {
                    missing.push((parameter, first.clone()));
                }
            }
            if needless_shell(command) {
                let advice = "write it without quotes, redirections and other special characters of sh(1); see jail.conf(5)";
                found.push(about(jail, &HOOK_SHELL, shown, advice));
            }
        }
    }
    no_programs(jail, &missing, found);
    let start = jail.words("exec.start");
    let rc = start.iter().position(|words| words.iter().any(|w| w == "/etc/rc"));
    let network = |words: &Vec<String>| words.iter().any(|w| matches!(program(w), "ifconfig" | "route"));
    if let Some(rc) = rc
        && let Some(late) = start.iter().skip(rc + 1).find(|w| network(w))
    {
        let what = format!("exec.start: {} comes after /etc/rc", late.join(" "));
        let advice = "put every ifconfig and route line above the one with /etc/rc";
        found.push(about(jail, &NETWORK_LATE, what, advice));
    }
}

/// Hooks without a program, each with its parameter: one finding for the
/// programs of the suite, which one installation brings, and one for each other.
fn no_programs(jail: &Configured, missing: &[(&str, String)], found: &mut Vec<Finding>) {
    let mut push = |of: &[&(&str, String)], advice: &str| {
        let mut parameters: Vec<&str> = of.iter().map(|(parameter, _)| *parameter).collect();
        let mut programs: Vec<&str> = of.iter().map(|(_, first)| first.as_str()).collect();
        parameters.dedup();
        programs.sort_unstable();
        programs.dedup();
        let no = if programs.len() == 1 { "no such program" } else { "no such programs" };
        let what = format!("{}: {}: {no}", parameters.join(", "), programs.join(", "));
        found.push(about(jail, &HOOK_PROGRAM, what, advice));
    };
    let (ours, others): (Vec<_>, Vec<_>) =
        missing.iter().partition(|(_, first)| OURS.contains(&program(first)));
    match ours.as_slice() {
        [] => {}
        [_] => push(&ours, "install thinjail, or correct the path"),
        _ => push(&ours, "install thinjail, or correct the paths"),
    }
    let mut reported: Vec<&str> = Vec::new();
    for (_, first) in &others {
        if !reported.contains(&first.as_str()) {
            reported.push(first);
            let same: Vec<_> = others.iter().copied().filter(|(_, other)| other == first).collect();
            push(&same, "install it, or correct the path");
        }
    }
}

/// The programs of the base system are where they are; below an alternate
/// root there may be none of them.
fn is_there(facts: &Facts, program: &str) -> bool {
    let path = Path::new(program);
    let of_base = ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/rescue"].iter().any(|d| path.starts_with(d));
    !path.is_absolute() || of_base && facts.host.root().is_alternate() || facts.host_path(path).exists()
}

/// Whether a command goes to sh(1) although nothing in it needs that. What the
/// hooks of the suite say is meant to be seen.
fn needless_shell(command: &str) -> bool {
    let Command::Shell(text) = command_words(command) else { return false };
    let ours = words(&text).iter().any(|word| OURS.contains(&program(word)));
    // Quotes around what has no blanks, and nothing else.
    let mut quoted = false;
    let mut needed = false;
    for c in text.trim_end_matches([';', ' ']).chars() {
        match c {
            '\'' | '"' => quoted = !quoted,
            ' ' | '\t' => needed |= quoted,
            c => needed |= "!$&()*;<>?[\\]`{|}~".contains(c),
        }
    }
    ours || !needed
}

/// What the jail sees in /dev.
fn devices(facts: &Facts, jail: &Configured, found: &mut Vec<Finding>) {
    let Some(ruleset) = jail.resources.devfs_ruleset else { return };
    if let Some((_, problem)) = facts.open_rulesets.iter().find(|(open, _)| *open == ruleset) {
        found.push(about(jail, &DEVFS_RULESET, problem.as_str(), devfs::advice(ruleset)));
    }
}

/// Parameters without effect.
fn parameters(jail: &Configured, found: &mut Vec<Finding>) {
    let resolved = &jail.resolved;
    let mut useless = |what: String, advice: &str| found.push(about(jail, &PARAMETER_USELESS, what, advice));
    let addressed = ["ip4.addr", "ip6.addr"].iter().any(|p| resolved.get(p).is_some());
    if let Some(interface) = resolved.scalar("interface")
        && !addressed
    {
        useless(
            format!("interface = {interface}: has an effect only with ip4.addr and ip6.addr"),
            "remove it",
        );
    }
    let on: Vec<&str> = resolved
        .params
        .iter()
        .filter(|p| !p.is_variable && (p.name == "allow.mount" || p.name.starts_with("allow.mount.")))
        .filter(|p| resolved.bool(&p.name) == Some(true))
        .map(|p| p.name.as_str())
        .collect();
    let for_df = ["allow.mount", "allow.mount.devfs", "allow.mount.nullfs"];
    if !on.is_empty() && on.iter().all(|name| for_df.contains(name)) {
        let statfs = resolved.scalar("enforce_statfs").and_then(|v| v.parse::<u32>().ok()).unwrap_or(2);
        let effect = if statfs < 2 {
            "root in the jail can mount file systems; df(1) needs only enforce_statfs"
        } else {
            "has no effect without enforce_statfs below 2"
        };
        useless(format!("{}: {effect}", on.join(", ")), "remove it; enforce_statfs = 1 shows all mounts");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shells_for_nothing() {
        for yes in [
            "/sbin/ifconfig 'epair5a' up",
            "/usr/local/sbin/jail-sweep web /p > /dev/null",
            "/sbin/route add default \"10.0.0.1\";",
        ] {
            assert!(needless_shell(yes), "{yes}");
        }
        for no in ["/sbin/ifconfig a up", "echo a > b", "logger 'a b'", "a && b", "daemon &", "echo $HOME"] {
            assert!(!needless_shell(no), "{no}");
        }
    }

    proptest! {
        #[test]
        fn no_command_makes_it_panic(command in "\\PC{0,40}") {
            let _ = (needless_shell(&command), words(&command));
        }
    }
}
