//! jail-epair-up(8): the exec.prestart hook.

use std::process::ExitCode;
use thinjail::cli::{self, EpairUp};
use thinjail::epair::{self, Addresses, Wanted};
use thinjail::lock::{Guarded, Lock};
use thinjail::report;
use thinjail::syslog::{self, Severity};

fn main() -> ExitCode {
    cli::run_hook::<EpairUp>(|arguments, host| {
        let common = &arguments.common;
        let wanted = Wanted {
            bridge: arguments.bridge.clone(),
            jail: arguments.name.clone(),
            pair: arguments.pair.clone(),
            mtu: arguments.mtu,
            addresses: arguments.mac.unwrap_or(Addresses::Derived),
            uplink: arguments.uplink.clone(),
        };
        // Whoever sees an untagged pair under this lock sees no other run's.
        let _lock = if common.dry_run { None } else { Some(Lock::take(host.root(), Guarded::Interfaces)?) };
        let (plan, warning) = epair::up(host, &wanted)?;
        if let Some(warning) = warning {
            syslog::send(host.root(), "jail-epair-up", Severity::Warning, &warning);
            report::note("jail-epair-up", &warning);
        }
        report::print_or_do("jail-epair-up", host, &plan, common.dry_run, common.json)
    })
}
