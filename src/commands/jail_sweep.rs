//! jail-sweep(8): the exec.prepare and exec.release hook.

use crate::commands::common::{self, Common, arguments};
use crate::domain::leftovers::{self, SweepRequest};
use crate::system::console;
use crate::system::host::Host;
use crate::system::syslog::{self, Severity};
use crate::types::interface::PairName;
use crate::types::jail_name::JailName;
use anyhow::Result;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Clear what an earlier run of a jail left
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-sweep", version)]
pub struct JailSweep {
    /// Unmount file systems of this type too
    #[arg(short = 't', long = "type", value_name = "type")]
    pub kinds: Vec<String>,
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
    /// The jail
    #[arg(value_name = "name")]
    pub name: JailName,
    /// The jail's path
    #[arg(value_name = "path")]
    pub path: PathBuf,
    /// The stem of its pair; all pairs tagged as the jail's without it
    #[arg(value_name = "pair")]
    pub pair: Option<PairName>,
}

arguments!(JailSweep);

const PROGRAM: &str = "jail-sweep";

/// The program.
pub fn main() -> ExitCode {
    common::run_hook(run)
}

fn run(arguments: &JailSweep, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let sweep = leftovers::look(host, &request(arguments))?;
    for left in &sweep.left {
        console::note(PROGRAM, left);
        if !common.dry_run {
            syslog::send(host.root(), PROGRAM, Severity::Warning, left);
        }
    }
    if common.dry_run {
        return common::dry_run(PROGRAM, &sweep.plan, common.json);
    }
    let mut failures = sweep.plan.carry_out_all(host);
    failures.extend(sweep.blocked.into_iter().map(anyhow::Error::msg));
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(ExitCode::SUCCESS) };
    for failure in failures {
        let line = console::line(&failure);
        syslog::send(host.root(), PROGRAM, Severity::Error, &line);
        console::note(PROGRAM, &line);
    }
    Err(first)
}

fn request(arguments: &JailSweep) -> SweepRequest {
    SweepRequest {
        jail: arguments.name.clone(),
        path: arguments.path.clone(),
        pair: arguments.pair.clone(),
        kinds: arguments.kinds.clone(),
        takes_ownership: !arguments.common.dry_run,
    }
}
