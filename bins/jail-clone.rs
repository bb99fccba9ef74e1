//! jail-clone(8): a new jail.

use anyhow::Context;
use std::process::ExitCode;
use thinjail::cli::{self, JailClone};
use thinjail::clone::{self, Wanted};
use thinjail::lock::{Guarded, Lock, Use};
use thinjail::report;
use thinjail::settings::Settings;

fn main() -> ExitCode {
    cli::run::<JailClone>(|arguments, host| {
        let common = &arguments.common;
        let settings = Settings::load(host.root())?;
        let wanted = Wanted {
            jail: arguments.name.clone(),
            id: arguments.id,
            release: arguments.release.clone(),
            v4: arguments.v4,
            v6: arguments.v6,
            mounts: arguments.mounts.clone(),
            enable: arguments.enable,
        };
        // From reading what is in use to the file that claims it.
        let lock = if common.dry_run { None } else { Some(Lock::take(host.root(), Guarded::Jails)?) };
        // The zfs(8) of a killed run goes on, and mounts what it made.
        lock.as_ref().map_or(Ok(()), Lock::share_with_children).context("lock")?;
        // What is copied must not be changed meanwhile.
        let _template = match settings.release(wanted.release.as_ref()) {
            Ok(release) if !common.dry_run => Some(Lock::template(host.root(), &release, Use::Read)?),
            _ => None,
        };
        let clone = clone::plan(host, &settings, &wanted)?;
        let code = report::print_or_do("jail-clone", host, &clone.plan, common.dry_run, common.json)?;
        if !common.dry_run {
            report::tell("jail-clone", &clone.summary);
        }
        for note in &clone.notes {
            report::note("jail-clone", note);
        }
        Ok(code)
    })
}
