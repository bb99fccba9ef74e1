//! How jails reach the network.

use super::facts::{Network, NetworkFacts};
use super::{JailSetup, NetworkMode, bridge, nat, settings_file};
use crate::domain::settings::Settings;
use crate::system::host::Host;
use anyhow::{Result, bail};

/// Looks at the network, and proposes.
pub(super) fn look(host: &Host, settings: &Settings, arguments: &JailSetup) -> Result<Network> {
    if let Some(net) = arguments.network {
        let name = if net.addr().is_ipv6() { "jail_net6" } else { "jail_net" };
        settings_file::check(settings, name, &net.to_string())?;
    }
    if let Some(bridge) = &arguments.bridge {
        settings_file::check(settings, "jail_bridge", bridge.as_str())?;
    }
    let facts = NetworkFacts::look(host, settings, arguments)?;
    if facts.sysctl("kern.features.vimage") == Some("0") {
        bail!("the kernel has no VIMAGE, so a jail cannot have its own network; boot GENERIC");
    }
    let network = match facts.mode()? {
        NetworkMode::Bridge => bridge::look(&facts)?,
        NetworkMode::Nat => nat::look(&facts)?,
    };
    Ok(Network { known: facts.rc, ..network })
}
