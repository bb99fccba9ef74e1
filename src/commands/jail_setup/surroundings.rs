//! What both modes of the network look at, and what they come to.

use super::finding::{Finding, Part, State};
use super::{JailSetup, NetworkMode};
use crate::domain::host_network::{self, HostNetwork, UplinkKind, is_public};
use crate::domain::rc_conf::{RcConf, SetVariable, of_interface};
use crate::domain::settings::Settings;
use crate::system::host::Host;
use crate::system::kernel::Errno;
use crate::system::plan::Plan;
use crate::system::tool::Tool;
use crate::types::interface::IfName;
use anyhow::{Result, bail};

/// What the network of the jails needs.
#[derive(Default)]
pub(super) struct Network {
    /// Settings of thinjail.conf(5).
    pub(super) settings: Vec<(&'static str, String)>,
    /// Variables of rc.conf(5) as they are, jail_enable among them.
    pub(super) known: RcConf,
    /// Variables of rc.conf(5), in the order in which they are set.
    pub(super) rc: Vec<SetVariable>,
    /// Files that it needs.
    pub(super) files: Plan,
    /// What is made live at once.
    pub(super) live: Plan,
    pub(super) findings: Vec<Finding>,
    /// What the administrator may do next.
    pub(super) next: Vec<String>,
}

impl Network {
    pub(super) fn find(&mut self, part: Part, state: State, text: impl Into<String>) {
        self.findings.push(Finding::new(part, state, text));
    }

    /// Has a variable of a service set, unless it has that value; the commands are
    /// lines of one finding.
    pub(super) fn set(
        &mut self,
        host: &Host,
        service: &str,
        known: &RcConf,
        name: &str,
        value: Option<&str>,
    ) {
        let is_so = match value {
            Some(value) => known.get(name) == value,
            None => known.get(name).is_empty(),
        };
        if !is_so {
            self.rc.push(SetVariable::new(host, service, name, known, value));
        }
    }
}

/// What both modes look at.
pub(super) struct Surroundings<'a> {
    pub(super) host: &'a Host,
    pub(super) settings: &'a Settings,
    pub(super) arguments: &'a JailSetup,
    pub(super) network: HostNetwork,
    /// The interface that leads outside, a bridge perhaps.
    pub(super) uplink: IfName,
    pub(super) kind: UplinkKind,
    /// Variables of rc.conf(5).
    pub(super) rc: RcConf,
    /// Nodes of sysctl(8).
    sysctls: Vec<(String, String)>,
    /// Whether the host runs: below another root directory there may be any system.
    pub(super) is_live: bool,
    /// Bridges that rc.conf(5) makes.
    pub(super) cloned: Vec<ClonedBridge>,
}

/// A bridge that rc.conf(5) makes at boot.
pub(super) struct ClonedBridge {
    /// The name that it is created with.
    pub(super) unit: String,
    /// The name that it gets.
    pub(super) name: String,
    /// `ifconfig_NAME`.
    pub(super) ifconfig: String,
}

const SYSCTLS: [&str; 5] = [
    "kern.features.vimage",
    "kern.vm_guest",
    "net.inet.ip.forwarding",
    "net.link.bridge.member_ifaddrs",
    "net.link.bridge.inherit_mac",
];

impl<'a> Surroundings<'a> {
    pub(super) fn look(
        host: &'a Host,
        settings: &'a Settings,
        arguments: &'a JailSetup,
    ) -> Result<Surroundings<'a>> {
        let network = HostNetwork::look(host)?;
        let uplink = match &arguments.uplink {
            Some(uplink) => uplink.clone(),
            None => network.uplink()?,
        };
        let kind = host_network::kind(host.kernel()?, &uplink)?;
        let words: Vec<&str> = ["-i", "-e"].into_iter().chain(SYSCTLS).collect();
        let printed = host.tools().ask(Tool::Sysctl, &words)?;
        let sysctls = printed.stdout.lines().filter_map(|l| l.split_once('='));
        let sysctls: Vec<_> = sysctls.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let rc = read_rc(host, &uplink)?;
        let cloned = cloned_bridges(host, &rc)?;
        let is_live = !host.tools().are_of_another_system();
        Ok(Surroundings { host, settings, arguments, network, uplink, kind, rc, sysctls, is_live, cloned })
    }

    pub(super) fn sysctl(&self, name: &str) -> Option<&str> {
        self.sysctls.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The mode: as the options, an earlier run, or the host say.
    pub(super) fn mode(&self) -> Result<NetworkMode> {
        if let Some(mode) = self.arguments.mode {
            return Ok(mode);
        }
        let of_bridge = |name: &IfName| self.cloned.iter().find(|c| c.name == name.as_str());
        if let Some(cloned) = self.settings.jail_bridge.as_ref().and_then(of_bridge)
            && !cloned.ifconfig.is_empty()
        {
            let has_member = cloned.ifconfig.split_whitespace().any(|word| word == "addm");
            return Ok(if has_member { NetworkMode::Bridge } else { NetworkMode::Nat });
        }
        if self.host.kernel()?.bridge_of(&self.uplink)?.is_some() {
            return Ok(NetworkMode::Bridge);
        }
        // Of a run that was killed before it came to that.
        if let (Some(_), Some(net)) = (&self.settings.jail_bridge, self.settings.jail_net) {
            let here = self.network.connected(false, &[self.uplink.as_str()]);
            return Ok(if here == Some(net.into()) { NetworkMode::Bridge } else { NetworkMode::Nat });
        }
        let address = self.network.v4_of(self.uplink.as_str());
        let is_alone = address.is_some() && self.network.connected(false, &[self.uplink.as_str()]).is_none();
        Ok(match self.kind {
            UplinkKind::Bridge => NetworkMode::Bridge,
            UplinkKind::Wireless => NetworkMode::Nat,
            UplinkKind::Wired if is_alone || address.is_some_and(is_public) => NetworkMode::Nat,
            UplinkKind::Wired => NetworkMode::Bridge,
        })
    }

    /// Fails if the settings are those of the other mode: rc.conf(5) of a bridge with
    /// the uplink and that of NAT exclude each other, and jails depend on both.
    pub(super) fn check_mode(&self, mode: NetworkMode) -> Result<()> {
        let (Some(bridge), Some(net)) = (&self.settings.jail_bridge, self.settings.jail_net) else {
            return Ok(());
        };
        let value = self.cloned.iter().find(|c| c.name == bridge.as_str()).map_or("", |c| &c.ifconfig);
        let is_member = self.host.kernel()?.bridge_of(&self.uplink)?.as_ref() == Some(bridge);
        let has_uplink = is_member || *bridge == self.uplink || value.split_whitespace().any(|w| w == "addm");
        let here = self.network.connected(false, &[self.uplink.as_str(), bridge.as_str()]);
        let is_nat = !has_uplink && !value.is_empty();
        let set_up = match mode {
            NetworkMode::Nat if has_uplink || here == Some(net.into()) && !is_nat => "a bridge",
            NetworkMode::Bridge if is_nat => "NAT",
            _ => return Ok(()),
        };
        bail!(
            "{bridge} and jail_net {net} are set up for {set_up}; to change the mode, first remove {bridge} from \
             rc.conf, and jail_bridge, jail_net and jail_gateway from {}",
            crate::domain::settings::FILE
        )
    }

    /// The name of the bridge, and the one to create it with: as the options, the
    /// settings or rc.conf(5) say, else the first that is free.
    pub(super) fn bridge_names(&self) -> Result<(IfName, IfName)> {
        let given = self.arguments.bridge.as_ref().or(self.settings.jail_bridge.as_ref());
        if let Some(name) = given {
            if let Some(cloned) = self.cloned.iter().find(|c| c.name == name.as_str()) {
                return Ok((name.clone(), cloned.unit.parse()?));
            }
            if matches!(name.driver_and_unit(), Some(("bridge", _))) {
                return Ok((name.clone(), name.clone()));
            }
        }
        let kernel = self.host.kernel()?;
        // A bridge under another name has a unit that nothing shows. Units are given
        // from 0 on, so it is below the number of bridges.
        let bridges = match kernel.group_members("bridge") {
            Err(e) if e.errno == Errno::ENOENT => Vec::new(),
            other => other?,
        };
        let is_renamed = |b: &IfName| {
            !matches!(b.driver_and_unit(), Some(("bridge", _)))
                && !self.cloned.iter().any(|c| c.name == b.as_str())
        };
        let first = if bridges.iter().any(is_renamed) { bridges.len() as u16 } else { 0 };
        for unit in first..=crate::types::interface::UNIT_MAX {
            let name: IfName = format!("bridge{unit}").parse()?;
            if !self.cloned.iter().any(|c| c.unit == name.as_str()) && !kernel.exists(&name)? {
                return Ok((given.cloned().unwrap_or_else(|| name.clone()), name));
            }
        }
        bail!("no unit of bridge(4) is free")
    }
}

/// What rc.conf(5) says of the uplink, of bridges and of routing.
fn read_rc(host: &Host, uplink: &IfName) -> Result<RcConf> {
    let uplink = of_interface(uplink.as_str());
    let mut names: Vec<(String, &str)> = Vec::new();
    for name in ["cloned_interfaces", "autobridge_interfaces", "ifconfig_DEFAULT"] {
        names.push((name.into(), "netif"));
    }
    for (name, service) in [
        ("jail_enable", "jail"),
        ("gateway_enable", "routing"),
        ("ipv6_defaultrouter", "routing"),
        ("pf_enable", "pf"),
        ("pf_rules", "pf"),
        ("firewall_enable", "ipfw"),
    ] {
        names.push((name.into(), service));
    }
    for suffix in ["", "_ipv6", "_aliases"] {
        names.push((format!("ifconfig_{uplink}{suffix}"), "netif"));
    }
    names.push((format!("vlans_{uplink}"), "netif"));
    let names: Vec<(&str, &str)> = names.iter().map(|(name, service)| (name.as_str(), *service)).collect();
    RcConf::read(host, &names)
}

impl Surroundings<'_> {
    /// The variables with further addresses of the uplink; rc(8) stops at the first
    /// number that is not set.
    pub(super) fn aliases(&self) -> Result<RcConf> {
        let uplink = of_interface(self.uplink.as_str());
        let mut all = RcConf::default();
        for n in 0.. {
            let name = format!("ifconfig_{uplink}_alias{n}");
            let read = RcConf::read(self.host, &[(name.as_str(), "netif")])?;
            if read.get(&name).is_empty() {
                break;
            }
            all.extend(read);
        }
        Ok(all)
    }
}

fn cloned_bridges(host: &Host, rc: &RcConf) -> Result<Vec<ClonedBridge>> {
    let units = rc.get("cloned_interfaces").split_whitespace();
    let units: Vec<&str> = units
        .map(|word| word.split(':').next().unwrap_or_default())
        .filter(|word| word.strip_prefix("bridge").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())))
        .collect();
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let renames: Vec<String> = units.iter().map(|unit| format!("ifconfig_{unit}_name")).collect();
    let asked: Vec<(&str, &str)> = renames.iter().map(|name| (name.as_str(), "netif")).collect();
    let renamed = RcConf::read(host, &asked)?;
    let names: Vec<&str> = units
        .iter()
        .zip(&renames)
        .map(|(unit, rename)| Some(renamed.get(rename)).filter(|name| !name.is_empty()).unwrap_or(unit))
        .collect();
    let lines: Vec<String> = names.iter().map(|name| format!("ifconfig_{}", of_interface(name))).collect();
    let asked: Vec<(&str, &str)> = lines.iter().map(|line| (line.as_str(), "netif")).collect();
    let values = RcConf::read(host, &asked)?;
    let all = units.iter().zip(&names).zip(&lines);
    Ok(all
        .map(|((unit, name), line)| ClonedBridge {
            unit: (*unit).to_owned(),
            name: (*name).to_owned(),
            ifconfig: values.get(line).to_owned(),
        })
        .collect())
}
