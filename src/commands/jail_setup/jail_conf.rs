//! The common jail.conf(5): the example with the values of this host, or what an
//! existing one lacks of it.

use super::finding::{Finding, Part, State};
use crate::domain::configured::JailConfigs;
use crate::domain::layout::Layout;
use crate::domain::settings::Settings;
use crate::formats::jailconf::{Config, Resolved, quote_literal};
use crate::system::file::{self, WriteFile};
use crate::system::host::Host;
use crate::types::jail_name::NAME_MAX;
use anyhow::{Context, Result};
use std::path::Path;

/// With IPv4, with both address families, with IPv6.
const EXAMPLES: [&str; 3] = [
    include_str!("../../../share/examples/jail.conf"),
    include_str!("../../../share/examples/jail.conf.ipv6"),
    include_str!("../../../share/examples/jail.conf.ipv6-only"),
];

/// What follows for jail.conf(5).
pub(super) struct JailConf {
    pub(super) write: Option<WriteFile>,
    pub(super) findings: Vec<Finding>,
}

/// Looks at jail.conf(5).
pub(super) fn look(host: &Host, layout: &Layout, settings: &Settings) -> Result<JailConf> {
    let text = example(layout, settings);
    let (path, shown) = (host.root().host_path(layout.jail_conf()), layout.jail_conf().display());
    if file::look(&path)?.is_none() {
        file::check_creatable(&path)?;
        let lines = text.lines().filter(|line| line.starts_with('$')).map(str::to_owned).collect();
        let finding = Finding::new(Part::JailConf, State::Change, format!("create {shown} from the example"));
        return Ok(JailConf {
            write: Some(WriteFile { path, contents: text.into_bytes() }),
            findings: vec![finding.with_lines(lines)],
        });
    }
    let configs = JailConfigs::read(host.root(), layout)?;
    let findings = compare(layout, &configs, &text)?;
    Ok(JailConf { write: None, findings })
}

/// The example for the address families of the jails, with the values of this host.
fn example(layout: &Layout, settings: &Settings) -> String {
    let text = match (settings.jail_net, settings.jail_net6) {
        (_, None) => EXAMPLES[0],
        (Some(_), Some(_)) => EXAMPLES[1],
        (None, Some(_)) => EXAMPLES[2],
    };
    let value = |name: &str| match name {
        "$bridge" => settings.value("jail_bridge"),
        "$gateway" => settings.value("jail_gateway"),
        // route(8) needs the interface of a link-local address.
        "$gateway6" => settings.jail_gateway6.map(|gateway| match gateway.is_unicast_link_local() {
            true => format!("{gateway}%${{epair}}b"),
            false => gateway.to_string(),
        }),
        "$jails" => Some(layout.dir().display().to_string()),
        _ => None,
    };
    let is_unset = |name: &str| matches!(name, "$gateway" | "$gateway6") && value(name).is_none();
    let without = |line: &str| {
        ["$gateway", "$gateway6"].iter().any(|name| {
            is_unset(name)
                && (line.split_whitespace().next() == Some(name)
                    || line.contains(&format!("${{{}}}", &name[1..])))
        })
    };
    // Without a known router the jails have no default route.
    let lines = text.lines().filter(|line| !without(line)).map(|line| {
        let name = line.split_whitespace().next().unwrap_or_default();
        match value(name) {
            Some(value) => format!("{name:<8} = {};\n", quote_with_epair(&value)),
            None => format!("{line}\n"),
        }
    });
    lines.collect()
}

/// A value in quotes, in which only `${epair}` stands for a variable.
fn quote_with_epair(value: &str) -> String {
    match value.strip_suffix("${epair}b") {
        Some(rest) => format!("{}${{epair}}b\"", quote_literal(rest).trim_end_matches('"')),
        None => quote_literal(value),
    }
}

/// What an existing configuration lacks of the example.
fn compare(layout: &Layout, configs: &JailConfigs, text: &str) -> Result<Vec<Finding>> {
    let shown = layout.jail_conf().display();
    // The name cannot be that of a jail: it is too long.
    let name = "n".repeat(NAME_MAX + 1);
    let block = format!("{name} {{ $id = \"1\"; $ip = \"192.0.2.1/24\"; $ip6 = \"2001:db8::1/64\"; }}\n");
    let resolve = |mut config: Config, text: &str| -> Result<Resolved> {
        config.parse_more(Path::new("candidate"), text.as_bytes())?;
        let jail = config.jails().filter(|jail| jail.name() == name).last().context("no jail")?;
        Ok(config.resolve(jail))
    };
    let is_include = |line: &str| line.trim_start().starts_with(".include");
    let without_include: String =
        text.lines().filter(|line| !is_include(line)).map(|line| format!("{line}\n")).collect();
    let wanted = resolve(Config::default(), &format!("{without_include}{block}"))?;
    let present = resolve(configs.config().clone(), &block)?;
    let mut findings = Vec::new();
    for name in ["path", "mount.fstab"] {
        if let (Some(wanted), Some(present)) = (wanted.scalar(name), present.scalar(name))
            && wanted != present
        {
            let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
            let text = format!("{shown} sets {name} to another place; thin jails need this line");
            let lines = line.map(str::to_owned).into_iter().collect();
            findings.push(Finding::new(Part::JailConf, State::Todo, text).with_lines(lines));
        }
    }
    let mut lines = Vec::new();
    for line in text.lines() {
        if is_include(line) {
            if configs.includes_conf_dir() != Some(true) {
                lines.push(format!(".include \"{}/*.conf\";", layout.conf_dir().display()));
            }
            continue;
        }
        lines.extend(missing(line, &present));
    }
    if lines.is_empty() && findings.is_empty() {
        return Ok(vec![Finding::new(
            Part::JailConf,
            State::Ok,
            format!("{shown} has what thin jails need"),
        )]);
    }
    if !lines.is_empty() {
        let others: Vec<&str> = configs.jails().iter().map(|jail| jail.jail.as_str()).collect();
        let whom = match others.as_slice() {
            [] => String::new(),
            some => format!("; they also apply to the jails in it ({})", some.join(", ")),
        };
        let text =
            format!("{shown} exists and is left as it is; add these lines before its first jail{whom}");
        findings.push(Finding::new(Part::JailConf, State::Todo, text).with_lines(lines));
    }
    Ok(findings)
}

/// A line of the example that the configuration lacks; a hook is added to others.
fn missing(line: &str, present: &Resolved) -> Option<String> {
    let name =
        line.split([' ', '\t', ';']).next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
    if let Some(variable) = name.strip_prefix('$') {
        return present.var(variable).is_none().then(|| line.to_owned());
    }
    let values = present.get(name);
    let program = ["jail-sweep", "jail-epair-up", "jail-epair-down"].into_iter().find(|p| line.contains(p));
    match (values, program) {
        (None, _) => Some(line.to_owned()),
        (Some(values), Some(program)) => {
            let has = values.iter().any(|value| value.contains(program));
            let added = || match line.contains("+=") {
                true => line.to_owned(),
                false => line.replacen(" =", " +=", 1),
            };
            (!has).then(added)
        }
        (Some(_), None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::layout::Storage;

    /// The example with these settings, as jail.conf(5) reads it for a jail.
    fn resolved(settings: &str, directory: &str) -> (String, Resolved) {
        let settings = Settings::from_sources(Path::new("t"), settings.as_bytes(), |_| None).unwrap();
        let layout = Layout::new(Path::new(directory), Path::new("/etc/jail.conf.d"), Storage::Directory);
        let text = example(&layout, &settings);
        let jail = "web { $id = 5; $ip = \"10.0.0.5/24\"; $ip6 = \"fd00::5/64\"; }";
        let text = text.replace(".include \"/etc/jail.conf.d/*.conf\";", jail);
        let mut config = Config::default();
        config.parse_more(Path::new("t"), text.as_bytes()).unwrap();
        let resolved = config.resolve(config.jail("web").unwrap());
        assert_eq!(resolved.errors, [], "{text}");
        (text, resolved)
    }

    #[test]
    fn values_of_the_host() {
        let v4 = "jail_bridge=b0\njail_net=10.0.0.0/24\njail_gateway=10.0.0.1\n";
        let (_, web) = resolved(v4, "/a b/$x\"y\\z");
        assert_eq!(web.scalar("path"), Some("/a b/$x\"y\\z/web-nullfs-base"));
        assert_eq!((web.var("bridge"), web.var("gateway")), (Some("b0"), Some("10.0.0.1")));
        let starts = |web: &Resolved| web.get("exec.start").unwrap().join("\n");
        assert!(starts(&web).contains("inet 10.0.0.5/24 up\n/sbin/route add default 10.0.0.1\n"));
        // Without a router there is no route, in any of the three.
        let (text, web) = resolved("jail_bridge=b0\njail_net=10.0.0.0/24\n", "/j");
        assert!(!text.contains("gateway") && !starts(&web).contains("route"), "{text}");
        let (text, web) = resolved("jail_net6=fd00::/64\n", "/j");
        assert!(
            !text.contains("gateway")
                && starts(&web).starts_with("/sbin/ifconfig epair5b inet6 fd00::5/64 up\n")
        );
        let both = format!("{v4}jail_net6=fd00::/64\njail_gateway6=fe80::1\n");
        let (_, web) = resolved(&both, "/j");
        assert!(
            starts(&web).contains("inet 10.0.0.5/24 up\n") && starts(&web).contains("inet6 fd00::5/64\n")
        );
        assert!(starts(&web).contains("route -6 add default fe80::1%epair5b\n"), "{}", starts(&web));
    }
}
