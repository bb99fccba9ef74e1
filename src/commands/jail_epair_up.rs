//! jail-epair-up(8): the exec.prestart hook.

use crate::commands::common::{self, Common, arguments};
use crate::domain::epair::{self, Addresses, EpairRequest, Isolation};
use crate::system::console;
use crate::system::host::Host;
use crate::system::lock::{Lock, LockId};
use crate::system::syslog::{self, Severity};
use crate::types::interface::{IfName, Mtu, PairName, VlanId};
use crate::types::jail_name::JailName;
use anyhow::Result;
use clap::Parser;
use std::process::ExitCode;

/// Create the epair of a jail and add it to a bridge
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-epair-up", version)]
pub struct JailEpairUp {
    /// Ethernet address of the host's end, or "none" for the kernel's
    #[arg(short = 'M', long, value_name = "mac")]
    pub mac: Option<Addresses>,
    /// Give both ends this MTU instead of the bridge's
    #[arg(short, long, value_name = "mtu")]
    pub mtu: Option<Mtu>,
    /// Make a missing bridge from this interface
    #[arg(short, long, value_name = "uplink")]
    pub uplink: Option<IfName>,
    /// Let the jail use no Ethernet address but its own
    #[arg(long)]
    pub pin: bool,
    /// Keep the jail from other private jails on the bridge
    #[arg(long)]
    pub private: bool,
    /// The VLAN of the jail, on a bridge that filters VLANs
    #[arg(long, value_name = "vlan")]
    pub vlan: Option<VlanId>,
    /// The bridge to join
    #[arg(short, long, value_name = "bridge")]
    pub bridge: IfName,
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
    /// The jail
    #[arg(value_name = "name")]
    pub name: JailName,
    /// The stem of the pair: epair5 for epair5a and epair5b
    #[arg(value_name = "pair")]
    pub pair: PairName,
}

arguments!(JailEpairUp);

const PROGRAM: &str = "jail-epair-up";

/// The program.
pub fn main() -> ExitCode {
    common::run_hook(run)
}

fn run(arguments: &JailEpairUp, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    // An untagged pair seen under this lock is not another run's.
    let _lock = if common.dry_run { None } else { Some(Lock::take(host.root(), LockId::Interfaces)?) };
    let found = epair::look(host, &request(arguments))?;
    for warning in &found.warnings {
        syslog::send(host.root(), PROGRAM, Severity::Warning, warning);
        console::note(PROGRAM, warning);
    }
    common::print_or_do(PROGRAM, host, &found.steps(), common.dry_run, common.json)
}

fn request(arguments: &JailEpairUp) -> EpairRequest {
    EpairRequest {
        bridge: arguments.bridge.clone(),
        jail: arguments.name.clone(),
        pair: arguments.pair.clone(),
        mtu: arguments.mtu,
        addresses: arguments.mac.unwrap_or(Addresses::Derived),
        uplink: arguments.uplink.clone(),
        isolation: Isolation { pin: arguments.pin, private: arguments.private, vlan: arguments.vlan },
    }
}
