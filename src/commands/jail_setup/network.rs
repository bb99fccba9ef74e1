//! How jails reach the network.

use super::surroundings::{Network, Surroundings};
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
    let surroundings = Surroundings::look(host, settings, arguments)?;
    if surroundings.sysctl("kern.features.vimage") == Some("0") {
        bail!("the kernel has no VIMAGE, so a jail cannot have its own network; boot GENERIC");
    }
    let mode = surroundings.mode()?;
    surroundings.check_mode(mode)?;
    let network = match mode {
        NetworkMode::Bridge => bridge::look(&surroundings)?,
        NetworkMode::Nat => nat::look(&surroundings)?,
    };
    Ok(Network { known: surroundings.rc, ..network })
}
