//! The facts about the network that both modes look at, and what follows from them.

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
    pub(super) fn report(&mut self, part: Part, state: State, text: impl Into<String>) {
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

/// The host's network, and what the settings, the options and rc.conf(5) say of it.
pub(super) struct NetworkFacts<'a> {
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

impl ClonedBridge {
    /// The members that rc.conf(5) adds.
    pub(super) fn members(&self) -> Vec<&str> {
        let words: Vec<&str> = self.ifconfig.split_whitespace().collect();
        words.windows(2).filter(|pair| pair[0] == "addm").map(|pair| pair[1]).collect()
    }
}

const SYSCTLS: [&str; 5] = [
    "kern.features.vimage",
    "kern.vm_guest",
    "net.inet.ip.forwarding",
    "net.link.bridge.member_ifaddrs",
    "net.link.bridge.inherit_mac",
];

impl<'a> NetworkFacts<'a> {
    pub(super) fn look(
        host: &'a Host,
        settings: &'a Settings,
        arguments: &'a JailSetup,
    ) -> Result<NetworkFacts<'a>> {
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
        Ok(NetworkFacts { host, settings, arguments, network, uplink, kind, rc, sysctls, is_live, cloned })
    }

    pub(super) fn sysctl(&self, name: &str) -> Option<&str> {
        self.sysctls.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The mode: that of the options, of what is set up already, or one that suits
    /// the host.
    ///
    /// # Errors
    ///
    /// The options name another mode than the one that is set up: rc.conf(5) of the
    /// two exclude each other, and jails depend on it.
    pub(super) fn mode(&self) -> Result<NetworkMode> {
        match (self.arguments.mode, self.mode_set_up()?) {
            (Some(mode), Some((bridge, set_up))) if mode != set_up => {
                let name = match set_up {
                    NetworkMode::Bridge => "bridge",
                    NetworkMode::Nat => "nat",
                };
                bail!(
                    "{bridge} is set up for -N {name}; to change the mode, first remove {bridge} from rc.conf, and \
                     jail_bridge, jail_net and jail_gateway from {}",
                    crate::domain::settings::FILE
                )
            }
            (Some(mode), _) | (None, Some((_, mode))) => Ok(mode),
            (None, None) => self.suitable_mode(),
        }
    }

    /// The bridge of the settings, with the mode that it is set up for.
    fn mode_set_up(&self) -> Result<Option<(&IfName, NetworkMode)>> {
        let Some(bridge) = &self.settings.jail_bridge else { return Ok(None) };
        let cloned = self.cloned.iter().find(|c| c.name == bridge.as_str() && !c.ifconfig.is_empty());
        let has_uplink =
            *bridge == self.uplink || self.host.kernel()?.bridge_of(&self.uplink)?.as_ref() == Some(bridge);
        Ok(match cloned {
            _ if has_uplink => Some((bridge, NetworkMode::Bridge)),
            Some(cloned) if cloned.members().is_empty() => Some((bridge, NetworkMode::Nat)),
            Some(_) => Some((bridge, NetworkMode::Bridge)),
            None => None,
        })
    }

    /// The mode that suits the host.
    fn suitable_mode(&self) -> Result<NetworkMode> {
        let uplink = [self.uplink.as_str()];
        let address = self.network.v4_of(self.uplink.as_str());
        let connected = self.network.connected(false, &uplink);
        // Of a run that was killed before it came to rc.conf(5).
        if let (Some(_), Some(net)) = (&self.settings.jail_bridge, self.settings.jail_net) {
            return Ok(if connected == Some(net.into()) { NetworkMode::Bridge } else { NetworkMode::Nat });
        }
        let is_bridged =
            self.kind == UplinkKind::Bridge || self.host.kernel()?.bridge_of(&self.uplink)?.is_some();
        let is_alone = address.is_some() && connected.is_none() || address.is_some_and(is_public);
        Ok(match self.kind {
            _ if is_bridged => NetworkMode::Bridge,
            UplinkKind::Wireless => NetworkMode::Nat,
            _ if is_alone => NetworkMode::Nat,
            _ => NetworkMode::Bridge,
        })
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

impl NetworkFacts<'_> {
    /// Variables of rc.conf(5) about interfaces, with those that are known.
    pub(super) fn with_interfaces(&self, names: &[String]) -> Result<RcConf> {
        let names: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "netif")).collect();
        let mut rc = self.rc.clone();
        rc.extend(RcConf::read(self.host, &names)?);
        Ok(rc)
    }

    /// Fails if `ifconfig_BRIDGE` has another value: it is used for something else.
    pub(super) fn check_unused(&self, rc: &RcConf, name: &str, value: &str) -> Result<()> {
        match rc.get(name) {
            known if known.is_empty() || known == value => Ok(()),
            known => bail!("{name} is already set in rc.conf, to {known}; choose another bridge with -b"),
        }
    }

    /// The members of a bridge that are no halves of epairs.
    pub(super) fn other_members(&self, bridge: &IfName) -> Result<Vec<IfName>> {
        let kernel = self.host.kernel()?;
        let mut members = Vec::new();
        for member in kernel.bridge_members(bridge)? {
            if !kernel.groups(&member)?.iter().any(|group| group == "epair") {
                members.push(member);
            }
        }
        Ok(members)
    }

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
