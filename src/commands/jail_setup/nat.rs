//! A bridge without a network card: the jails share the address of the host.
//!
//! None of this touches the connection through which the administrator works, so
//! it is made live at once.

use super::facts::{Network, NetworkFacts};
use super::finding::{Finding, Part, State};
use crate::domain::host_network::{self, UplinkKind, private_networks};
use crate::domain::rc_conf::{SetVariable, of_interface};
use crate::domain::settings::FILE;
use crate::formats::route_table::{self, Route};
use crate::formats::shell;
use crate::system::file::{self, WriteFile};
use crate::system::host::Host;
use crate::system::ifconfig::Ifconfig;
use crate::system::kernel::Errno;
use crate::system::plan::{Action, CommitPoint, Undo};
use crate::system::tool::{Outcome, Tool, ToolError, Tools};
use crate::types::interface::IfName;
use anyhow::{Context, Result, bail};
use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// The example that a new pf.conf(5) is made from.
const EXAMPLE: &str = include_str!("../../../share/examples/pf.conf");

const PF_CONF: &str = "/etc/pf.conf";

const FORWARDING: &str = "net.inet.ip.forwarding";

/// Proposes bridge, forwarding and NAT.
pub(super) fn look(s: &NetworkFacts) -> Result<Network> {
    let mut network = Network::default();
    let (bridge, unit) = s.bridge_names()?;
    if bridge == s.uplink {
        bail!("{bridge} leads outside; choose another bridge with -b");
    }
    check_bridge(s, &bridge)?;
    if s.network.default_route(false).is_none() {
        bail!("this host has no IPv4 default route, so there is no address to share; use -N bridge");
    }
    let net = choose_network(s, &bridge)?;
    let address =
        s.settings.jail_gateway.or_else(|| net.hosts().next()).context("no address in the network")?;
    if !net.contains(&address) {
        bail!("jail_gateway {address} is outside the network {net}");
    }
    network.settings.push(("jail_bridge", bridge.to_string()));
    network.settings.push(("jail_net", net.to_string()));
    network.settings.push(("jail_gateway", address.to_string()));
    rc_conf(s, &bridge, &unit, net, address, &mut network)?;
    if s.is_live {
        live_bridge(s, &bridge, &unit, net, address, &mut network)?;
    }
    firewall(s, net, &mut network)?;
    Ok(network)
}

/// Fails if an interface of that name leads somewhere: it would get the address of
/// the gateway.
fn check_bridge(s: &NetworkFacts, bridge: &IfName) -> Result<()> {
    let kernel = s.host.kernel()?;
    if !kernel.exists(bridge)? {
        return Ok(());
    }
    if host_network::kind(kernel, bridge)? != UplinkKind::Bridge {
        bail!("{bridge} is not a bridge; choose another name with -b");
    }
    match s.other_members(bridge)?.first() {
        Some(member) => bail!("{bridge} has the member {member}; choose another bridge with -b"),
        None => Ok(()),
    }
}

/// The network of the jails: no address of it is on any route of the host.
fn choose_network(s: &NetworkFacts, bridge: &IfName) -> Result<Ipv4Net> {
    let given = match s.arguments.network {
        Some(IpNet::V6(net)) => bail!("-a {net}: NAT needs an IPv4 network"),
        Some(IpNet::V4(net)) => Some((net, "choose another with -a".to_owned())),
        None => s.settings.jail_net.map(|net| (net, format!("remove jail_net and jail_gateway from {FILE}"))),
    };
    let routes: &[Route] = &s.network.routes;
    if let Some((net, advice)) = given {
        if !(8..=29).contains(&net.prefix_len()) {
            bail!("{net}: a network of jails has a prefix length from 8 to 29");
        }
        if let Some(route) = route_table::clash(&net.into(), routes, Some(bridge.as_str())) {
            bail!(
                "network {net} overlaps with {}, which this host reaches through {}; {advice}",
                route.destination,
                route.interface
            );
        }
        return Ok(net);
    }
    let all = private_networks();
    match route_table::first_free(&all, routes, Some(bridge.as_str())) {
        Some(IpNet::V4(net)) => Ok(*net),
        _ => bail!("this host has routes to all private networks; choose one with -a"),
    }
}

fn rc_conf(
    s: &NetworkFacts,
    bridge: &IfName,
    unit: &IfName,
    net: Ipv4Net,
    address: Ipv4Addr,
    network: &mut Network,
) -> Result<()> {
    let (name, target) =
        (format!("ifconfig_{unit}_name"), format!("ifconfig_{}", of_interface(bridge.as_str())));
    let rc = &s.with_interfaces(&[name.clone(), target.clone()])?;
    if !s.cloned.iter().any(|c| c.unit == unit.as_str()) {
        // The name first: with it the next run knows the unit.
        if unit != bridge {
            network.set(s.host, "netif", rc, &name, Some(bridge.as_str()));
        }
        let clones = format!("{} {unit}", rc.get("cloned_interfaces"));
        network.set(s.host, "netif", rc, "cloned_interfaces", Some(clones.trim()));
    }
    let is_address = |word: &str| word.split('/').next().is_some_and(|word| word.parse() == Ok(address));
    if !rc.get(&target).split_whitespace().any(is_address) {
        let value = format!("inet {address}/{} up", net.prefix_len());
        s.check_unused(rc, &target, &value)?;
        network.set(s.host, "netif", rc, &target, Some(&value));
    }
    if !rc.is_yes("gateway_enable") {
        network.set(s.host, "routing", rc, "gateway_enable", Some("YES"));
    }
    let what = format!("bridge {bridge} with the address {address}/{}, forwarding", net.prefix_len());
    let commands: Vec<String> = network.rc.iter().map(SetVariable::command).collect();
    let state = if commands.is_empty() { State::Ok } else { State::Change };
    network.findings.push(Finding::new(Part::RcConf, state, what).with_lines(commands));
    Ok(())
}

/// The bridge and its address, now.
fn live_bridge(
    s: &NetworkFacts,
    bridge: &IfName,
    unit: &IfName,
    net: Ipv4Net,
    address: Ipv4Addr,
    network: &mut Network,
) -> Result<()> {
    let kernel = s.host.kernel()?;
    let exists = kernel.exists(bridge)?;
    if !exists {
        // A killed run may have made it, and not renamed it yet.
        let is_made = unit != bridge && kernel.exists(unit)?;
        // Without the variables of a bridge that remains, the next run would take it
        // for another one's.
        let create = CreateBridge { unit: unit.clone(), name: bridge.clone(), is_made };
        network.live.push(CommitPoint(create));
    }
    let has = |(name, there): &(String, IpAddr)| name == bridge.as_str() && *there == IpAddr::V4(address);
    if !s.network.addresses.iter().any(has) {
        network.live.push(AddAddress {
            interface: bridge.clone(),
            net: Ipv4Net::new_assert(address, net.prefix_len()),
        });
    }
    if !exists || !kernel.is_up(bridge)? {
        network.live.push(Ifconfig::Up(bridge.clone()));
    }
    if s.sysctl(FORWARDING) != Some("1") {
        let old = s.sysctl(FORWARDING).unwrap_or("0").into();
        network.live.push(SetSysctl { name: FORWARDING, value: "1".into(), old });
    }
    let text = format!("bridge {bridge} with the address {address}, and forwarding");
    let state = if network.live.is_empty() { State::Ok } else { State::Change };
    network.findings.push(Finding::new(Part::Network, state, text));
    Ok(())
}

/// pf.conf(5) and pf(4) itself.
fn firewall(s: &NetworkFacts, net: Ipv4Net, network: &mut Network) -> Result<()> {
    let ext = s.uplink.as_str();
    let rule = format!("nat on {ext} inet from {net} to any -> ({ext})");
    if s.rc.is_yes("firewall_enable") {
        let text = format!("this host uses ipfw (firewall_enable); add NAT from {net} to {ext} to its rules");
        network.report(Part::Firewall, State::Todo, text);
        return Ok(());
    }
    let path = match s.rc.get("pf_rules") {
        "" => PF_CONF,
        path => path,
    };
    let file = s.host.root().host_path(Path::new(path));
    let ours = with_macros(EXAMPLE, &[("ext", ext), ("jails", &net.to_string())]);
    if file::look(&file)?.is_none() {
        let text = format!("create {path} with NAT from {net} to {ext}, and enable pf");
        network.report(Part::Firewall, State::Change, text);
        network.files.push(WriteFile { path: file, contents: ours.into_bytes() });
        enable(s, network);
        if s.is_live && is_running(s.host) {
            let text = format!("pf is running with other rules; load those of {path}");
            let lines = vec!["service pf reload".into()];
            network.findings.push(Finding::new(Part::Firewall, State::Todo, text).with_lines(lines));
        }
        return Ok(());
    }
    let old = fs_err::read(&file)?;
    let has_nat = match check_rules(s.host, &old)? {
        Rules::Valid(rules) => match check_rules(s.host, format!("{rule}\n").as_bytes())? {
            Rules::Valid(wanted) => rules.lines().any(|line| line.trim() == wanted.trim()),
            _ => false,
        },
        Rules::Invalid(why) => {
            let text = format!("{path} has errors ({why}); correct it, and run jail-setup again");
            network.report(Part::Firewall, State::Todo, text);
            return Ok(());
        }
        Rules::Unknown => false,
    };
    if !has_nat && old != ours.as_bytes() {
        return add_rule(s, path, &old, rule, network);
    }
    network.report(Part::Firewall, State::Ok, format!("{path} has NAT from {net} to {ext}"));
    // Rules that an administrator never enabled are not enabled for him.
    if s.rc.is_yes("pf_enable") || old == ours.as_bytes() {
        enable(s, network);
    } else {
        let lines = vec!["sysrc pf_enable=YES".into(), "service pf start".into()];
        network.findings.push(
            Finding::new(Part::Firewall, State::Todo, "pf is not enabled; check the rules, and enable it")
                .with_lines(lines),
        );
    }
    Ok(())
}

/// Asks for the rule in a file that exists.
fn add_rule(s: &NetworkFacts, path: &str, old: &[u8], rule: String, network: &mut Network) -> Result<()> {
    let (at, place) = place_for(old);
    let together = [&old[..at], rule.as_bytes(), b"\n", &old[at..]].concat();
    let remark = match check_rules(s.host, &together)? {
        Rules::Valid(_) => String::new(),
        Rules::Invalid(why) => format!(" (pfctl does not accept it there: {why})"),
        Rules::Unknown => " (not checked, because pf is not loaded)".into(),
    };
    let reload = match s.rc.is_yes("pf_enable") {
        true => "service pf reload",
        false => "sysrc pf_enable=YES; service pf start",
    };
    let text = format!("{path} exists; add this line {place}{remark}, and load it");
    let lines = vec![rule, reload.into()];
    network.findings.push(Finding::new(Part::Firewall, State::Todo, text).with_lines(lines));
    Ok(())
}

/// Has pf started at boot, and now.
fn enable(s: &NetworkFacts, network: &mut Network) {
    if !s.rc.is_yes("pf_enable") {
        let variable = SetVariable::new(s.host, "pf", "pf_enable", &s.rc, Some("YES"));
        network.rc.push(variable);
        network.report(Part::RcConf, State::Change, "set pf_enable to YES");
    }
    if s.is_live && !is_running(s.host) {
        network.live.push(StartPf);
        network.report(Part::Firewall, State::Change, "start pf");
    }
}

/// Whether pf filters. Its status cannot be asked for while the module is not loaded.
fn is_running(host: &Host) -> bool {
    host.tools().ask(Tool::Pfctl, &["-s", "Running"]).is_ok()
}

/// What pfctl(8) makes of rules.
enum Rules {
    /// The rules as it would load them.
    Valid(String),
    /// Its message.
    Invalid(String),
    /// It reads nothing while the module is not loaded.
    Unknown,
}

/// Has pfctl(8) read rules, without loading them.
fn check_rules(host: &Host, rules: &[u8]) -> Result<Rules, ToolError> {
    match host.tools().ask_with_input(Tool::Pfctl, &["-nvf", "-"], rules) {
        Ok(printed) => Ok(Rules::Valid(printed.stdout)),
        Err(e) if e.says("netlink") || e.says("/dev/pf") => Ok(Rules::Unknown),
        Err(ToolError { outcome: Outcome::Failed { stderr, .. }, .. }) if !stderr.is_empty() => {
            Ok(Rules::Invalid(stderr))
        }
        Err(e) => Err(e),
    }
}

/// Where a translation rule goes: before the first filter rule, which have to come
/// last. Its offset, and the place in words.
fn place_for(text: &[u8]) -> (usize, String) {
    const FILTERS: [&str; 7] = ["pass", "block", "antispoof", "match", "anchor", "load", "dummynet-anchor"];
    let (mut at, mut continued) = (0, false);
    for (number, line) in text.split_inclusive(|b| *b == b'\n').enumerate() {
        let words = String::from_utf8_lossy(line);
        let first = words.split_whitespace().next().unwrap_or_default();
        if !continued && FILTERS.contains(&first) {
            return (at, format!("before line {}", number + 1));
        }
        continued = words.trim_end().ends_with('\\');
        at += line.len();
    }
    // A last line without its end would run into the new one.
    if text.last().is_some_and(|last| *last != b'\n') {
        return (0, "at the beginning".into());
    }
    (text.len(), "at the end".into())
}

/// A pf.conf(5) with other values of some macros.
fn with_macros(text: &str, values: &[(&str, &str)]) -> String {
    let line = |line: &str| {
        let name = line.split([' ', '=']).next().unwrap_or_default();
        match values.iter().find(|(known, _)| *known == name && line.contains('=')) {
            // Neither an interface nor a network has a quotation mark.
            Some((_, value)) => format!("{name} = \"{value}\"\n"),
            None => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

/// Creates a bridge, and gives it its name.
struct CreateBridge {
    unit: IfName,
    name: IfName,
    /// It exists, but under the name that it was created with.
    is_made: bool,
}

impl CreateBridge {
    fn rename(&self) -> Option<Ifconfig> {
        (self.unit != self.name).then(|| Ifconfig::Rename(self.unit.clone(), self.name.clone()))
    }
}

impl Action for CreateBridge {
    fn shell(&self) -> String {
        let create = shell::line(["/sbin/ifconfig", self.unit.as_str(), "create"]);
        let lines = (!self.is_made).then_some(create).into_iter().chain(self.rename().map(|r| r.shell()));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        if !self.is_made {
            let kernel = host.kernel()?;
            let made = kernel.create(self.unit.as_str());
            // A request that fails late has created it; EEXIST is somebody else's.
            match &made {
                Err(e) if e.errno == Errno::EEXIST || !kernel.exists(&self.unit)? => {}
                made => undo.push(DestroyCreatedBridge {
                    names: [self.name.clone(), made.as_ref().unwrap_or(&self.unit).clone()],
                }),
            }
            let made = made?;
            if made != self.unit {
                bail!("create {}: the kernel called it {made}", self.unit);
            }
        }
        // Undone with the bridge.
        self.rename().map_or(Ok(()), |rename| rename.perform(host, &mut Undo::default()))
    }
}

/// Destroys a bridge that this run created, whether it was renamed or not.
struct DestroyCreatedBridge {
    names: [IfName; 2],
}

impl Action for DestroyCreatedBridge {
    fn shell(&self) -> String {
        shell::line(["/sbin/ifconfig", self.names[0].as_str(), "destroy"])
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let kernel = host.kernel()?;
        for name in &self.names {
            if kernel.exists(name)? {
                return Ifconfig::Destroy(name.clone()).perform(host, undo);
            }
        }
        Ok(())
    }
}

/// Gives an interface an address.
struct AddAddress {
    interface: IfName,
    net: Ipv4Net,
}

impl AddAddress {
    fn arguments(&self, last: &str) -> Vec<String> {
        [self.interface.as_str(), "inet", &self.net.to_string(), last].map(str::to_owned).to_vec()
    }
}

impl Action for AddAddress {
    fn shell(&self) -> String {
        Tools::line(Tool::Ifconfig, &self.arguments("alias"))
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let done = host.tools().run(Tool::Ifconfig, &self.arguments("alias"));
        if done.as_ref().err().is_none_or(|e| matches!(e.outcome, Outcome::Failed { .. })) {
            undo.push(RemoveAddress { interface: self.interface.clone(), net: self.net });
        }
        done?;
        Ok(())
    }
}

/// Takes it away; one that is gone is as good.
struct RemoveAddress {
    interface: IfName,
    net: Ipv4Net,
}

impl RemoveAddress {
    fn arguments(&self) -> [String; 4] {
        [self.interface.to_string(), "inet".into(), self.net.addr().to_string(), "-alias".into()]
    }
}

impl Action for RemoveAddress {
    fn shell(&self) -> String {
        Tools::line(Tool::Ifconfig, &self.arguments())
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let has = |(name, address): &(String, IpAddr)| {
            name == self.interface.as_str() && *address == IpAddr::V4(self.net.addr())
        };
        if host.kernel()?.addresses()?.iter().any(has) {
            host.tools().run(Tool::Ifconfig, &self.arguments())?;
        }
        Ok(())
    }
}

/// Sets a node of sysctl(8) until the next boot.
struct SetSysctl {
    name: &'static str,
    value: String,
    old: String,
}

impl SetSysctl {
    fn arguments(&self) -> [String; 1] {
        [format!("{}={}", self.name, self.value)]
    }
}

impl Action for SetSysctl {
    fn shell(&self) -> String {
        Tools::line(Tool::Sysctl, &self.arguments())
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        undo.push(SetSysctl { name: self.name, value: self.old.clone(), old: self.value.clone() });
        host.tools().run(Tool::Sysctl, &self.arguments())?;
        Ok(())
    }
}

/// Loads the rules and starts pf.
struct StartPf;

impl Action for StartPf {
    fn shell(&self) -> String {
        Tools::line(Tool::Service, &["pf", "start"])
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        undo.push(StopPf);
        let printed = host.tools().run(Tool::Service, &["pf", "start"])?;
        if !is_running(host) {
            let output: Vec<&str> =
                printed.stdout.lines().chain(printed.stderr.lines()).map(str::trim).collect();
            bail!("{PF_CONF}: service pf start did not start pf: {}", output.join(" "));
        }
        Ok(())
    }
}

struct StopPf;

impl Action for StopPf {
    fn shell(&self) -> String {
        Tools::line(Tool::Service, &["pf", "onestop"])
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        if is_running(host) {
            host.tools().run(Tool::Service, &["pf", "onestop"])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_and_places() {
        let text = with_macros(EXAMPLE, &[("ext", "vtnet0"), ("jails", "10.8.0.0/24")]);
        assert!(text.contains("\next = \"vtnet0\"\njails = \"10.8.0.0/24\"\n"), "{text}");
        assert!(text.contains("\nnat on $ext inet from $jails to any -> ($ext)\n"), "{text}");
        assert_eq!(place_for(b"set skip on lo0\npass\n"), (16, "before line 2".into()));
        assert_eq!(place_for(b"x = \"a \\\npass\"\n"), (15, "at the end".into()));
        assert_eq!(place_for(b""), (0, "at the end".into()));
        assert_eq!(place_for(b"set skip on lo0"), (0, "at the beginning".into()));
    }
}
