//! The id and the addresses of the new jail.

use super::JailClone;
use super::conf_file::JailBlock;
use crate::domain::configured::{JailConfigs, JailResources};
use crate::domain::epair;
use crate::domain::layout::Layout;
use crate::domain::settings::Settings;
use crate::system::host::Host;
use crate::types::address::{self, Chosen, Id};
use crate::types::interface::{IfName, PairName};
use crate::types::jail_name::JailName;
use anyhow::{Context, Result, bail};
use std::net::IpAddr;

/// Addresses that no jail may have, although any jail may mention them: the
/// gateways and the host's own.
pub(super) fn reserved(host: &Host, settings: &Settings) -> Result<Vec<IpAddr>> {
    let mut all: Vec<IpAddr> = settings.jail_gateway.map(IpAddr::from).into_iter().collect();
    all.extend(settings.jail_gateway6.map(IpAddr::from));
    all.extend(host.kernel()?.addresses()?.into_iter().map(|(_, address)| address));
    Ok(all)
}

/// The id and the addresses of the new jail.
pub(super) struct Choice {
    /// Its block, without gateways.
    pub(super) block: JailBlock,
    /// One line about it.
    pub(super) summary: String,
}

impl Choice {
    /// Gives the block the gateways of the settings where the common part of
    /// jail.conf(5) has another one, which is in another network then. True if
    /// there are any.
    pub(super) fn add_gateways(&mut self, settings: &Settings, resources: &JailResources) -> bool {
        let wanted = [settings.jail_gateway.map(IpAddr::from), settings.jail_gateway6.map(IpAddr::from)];
        for (at, wanted) in wanted.into_iter().enumerate() {
            let common = resources.gateways[at].as_deref().and_then(|value| value.parse::<IpAddr>().ok());
            let differs = wanted.is_some() && common.is_some() && wanted != common;
            self.block.gateways[at] = wanted.filter(|_| differs && self.block.addresses[at].is_some());
        }
        self.block.gateways.iter().any(Option::is_some)
    }
}

pub(super) fn choose(
    host: &Host,
    settings: &Settings,
    reserved: &[IpAddr],
    known: &JailConfigs,
    layout: &Layout,
    arguments: &JailClone,
) -> Result<Choice> {
    let given4 = arguments.v4.map(|a| address::v4_given(a, settings.jail_net)).transpose().context("-i")?;
    let given6 = arguments.v6.map(|a| address::v6_given(a, settings.jail_net6)).transpose().context("-6")?;
    let check = |address: IpAddr| {
        if settings.jail_gateway.map(IpAddr::from) == Some(address)
            || settings.jail_gateway6.map(IpAddr::from) == Some(address)
        {
            bail!("address {address} is the gateway; choose another");
        }
        if reserved.contains(&address) {
            bail!("address {address} belongs to this host; choose another");
        }
        Ok(())
    };
    for chosen in [&given4, &given6].into_iter().flatten() {
        let address = chosen.address();
        check(address)?;
        if let Some(other) = known.jails().iter().find(|c| c.addresses.contains(&address)) {
            bail!("address {address} is used by jail {} ({})", other.jail, other.file.display());
        }
    }
    let of_id = |id: Id| -> Result<(Option<Chosen>, Option<Chosen>)> {
        let v4 = match (&given4, settings.jail_net) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(net)) => Some(address::v4_of_id(net, id)?),
            (None, None) => None,
        };
        let v6 = match (&given6, settings.jail_net6) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(net)) => Some(address::v6_of_id(net, id)?),
            (None, None) => None,
        };
        let chosen = [v4.as_ref(), v6.as_ref()];
        for address in chosen.into_iter().flatten().map(Chosen::address) {
            check(address)?;
        }
        Ok((v4, v6))
    };
    if given4.is_none() && given6.is_none() && settings.jail_net.is_none() && settings.jail_net6.is_none() {
        bail!("no address: use -i or -6, or set jail_net in {}", crate::domain::settings::FILE);
    }
    // A given address says which id was meant, where one fits.
    let of_address = || match (arguments.v4, settings.jail_net) {
        (Some(v4), Some(net)) => address::id_of_v4(net, v4.address)
            .filter(|id| !known.jails().iter().any(|c| c.id.as_deref() == Some(id.to_string().as_str()))),
        _ => None,
    };
    let id = match arguments.id.or_else(of_address) {
        Some(id) => id,
        None => lowest_free(host, known, layout, arguments, |id| of_id(id).ok(), reserved)?,
    };
    let (v4, v6) = of_id(id).with_context(|| format!("id {id}"))?;
    let mut summary = format!("{}: id {id}", arguments.name);
    let addresses = [("ip", &v4), ("ip6", &v6)].map(|(name, chosen)| {
        let chosen = chosen.as_ref()?;
        summary.push_str(&format!(", {}", chosen.net));
        // A given address that is the id's own is written the same way.
        let usual = of_id_text(settings, name, id).filter(|c| c.net == chosen.net);
        Some(usual.map_or_else(|| chosen.text.clone(), |usual| usual.text))
    });
    let block = JailBlock { jail: arguments.name.clone(), id, addresses, gateways: [None, None] };
    Ok(Choice { block, summary })
}

pub(super) fn of_id_text(settings: &Settings, name: &str, id: Id) -> Option<Chosen> {
    match name {
        "ip" => address::v4_of_id(settings.jail_net?, id).ok(),
        _ => address::v6_of_id(settings.jail_net6?, id).ok(),
    }
}

/// Fails if the jail could not be started because of the names of its pairs:
/// they are too long for an interface, or another owner has them on this host.
pub(super) fn check_pairs(host: &Host, jail: &JailName, resources: &JailResources) -> Result<()> {
    for name in &resources.pairs {
        // What else a half may be called is the administrator's business.
        let half = |end: char| format!("{name}{end}").parse::<IfName>();
        half('b').with_context(|| format!("vnet.interface {name}b of jail {jail}"))?;
        let Ok(pair) = name.parse::<PairName>() else { continue };
        if let Some(owner) = epair::foreign_owner(host, jail, &pair)? {
            bail!("pair {pair} of jail {jail} is not free: {owner}; choose another id");
        }
    }
    Ok(())
}

pub(super) fn lowest_free(
    host: &Host,
    known: &JailConfigs,
    layout: &Layout,
    arguments: &JailClone,
    of_id: impl Fn(Id) -> Option<(Option<Chosen>, Option<Chosen>)>,
    reserved: &[IpAddr],
) -> Result<Id> {
    let conf = layout.conf(&arguments.name);
    for id in (1..=Id::MAX).filter_map(Id::new) {
        let Some((v4, v6)) = of_id(id) else { continue };
        let number = id.to_string();
        let taken = |c: &JailResources| {
            c.id.as_deref() == Some(number.as_str())
                || c.pairs.contains(&format!("epair{number}"))
                || [&v4, &v6].into_iter().flatten().any(|a| c.addresses.contains(&a.address()))
        };
        if known.jails().iter().any(taken) {
            continue;
        }
        // What the common part makes of the id may clash in other ways too.
        let block =
            JailBlock { jail: arguments.name.clone(), id, addresses: [None, None], gateways: [None, None] };
        let text = block.to_text();
        let resources =
            known.candidate(arguments.name.as_str(), &conf, text.as_bytes()).context("jail.conf")?;
        if known.check(&resources, reserved).is_ok() && check_pairs(host, &arguments.name, &resources).is_ok()
        {
            return Ok(id);
        }
    }
    bail!("no free id: every address of the network is in use")
}
