//! jail-epair-down(8): the exec.poststop hook.

use crate::commands::common::{self, Common, arguments};
use crate::domain::epair;
use crate::system::host::Host;
use crate::types::interface::PairName;
use crate::types::jail_name::JailName;
use anyhow::Result;
use clap::Parser;
use std::process::ExitCode;

/// Destroy a jail's epair
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-epair-down", version)]
pub struct JailEpairDown {
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

arguments!(JailEpairDown);

const PROGRAM: &str = "jail-epair-down";

/// The program.
pub fn main() -> ExitCode {
    common::run_hook(run)
}

fn run(arguments: &JailEpairDown, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let plan = epair::down(host, &arguments.name, &arguments.pair)?;
    common::print_or_do(PROGRAM, host, &plan, common.dry_run, common.json)
}
