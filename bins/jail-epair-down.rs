//! jail-epair-down(8): the exec.poststop hook.

use std::process::ExitCode;
use thinjail::cli::{self, EpairDown};
use thinjail::{epair, report};

fn main() -> ExitCode {
    cli::run_hook::<EpairDown>(|arguments, host| {
        let common = &arguments.common;
        let plan = epair::down(host, &arguments.name, &arguments.pair)?;
        report::print_or_do("jail-epair-down", host, &plan, common.dry_run, common.json)
    })
}
