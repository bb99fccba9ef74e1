//! jail-sweep(8): the exec.prepare and exec.release hook.

use std::process::ExitCode;
use thinjail::cli::{self, Sweep};
use thinjail::report;
use thinjail::sweep::{self, Wanted};
use thinjail::syslog::{self, Severity};

const PROGRAM: &str = "jail-sweep";

fn main() -> ExitCode {
    cli::run_hook::<Sweep>(|arguments, host| {
        let common = &arguments.common;
        let wanted = Wanted {
            jail: arguments.name.clone(),
            path: arguments.path.clone(),
            pair: arguments.pair.clone(),
            kinds: arguments.kinds.clone(),
            claim: !common.dry_run,
        };
        let sweep = sweep::look(host, &wanted)?;
        for left in &sweep.left {
            report::note(PROGRAM, left);
            if !common.dry_run {
                syslog::send(host.root(), PROGRAM, Severity::Warning, left);
            }
        }
        if common.dry_run {
            return report::dry_run(PROGRAM, &sweep.plan, common.json);
        }
        let mut failures = sweep.plan.carry_out_all(host);
        failures.extend(sweep.blocked.into_iter().map(anyhow::Error::msg));
        let mut failures = failures.into_iter();
        let Some(first) = failures.next() else { return Ok(ExitCode::SUCCESS) };
        for failure in failures {
            let line = report::line(&failure);
            syslog::send(host.root(), PROGRAM, Severity::Error, &line);
            report::note(PROGRAM, &line);
        }
        Err(first)
    })
}
