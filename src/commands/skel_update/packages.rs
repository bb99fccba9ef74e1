//! A base that is made of packages, and their upgrade with pkg(8).

use super::State;
use super::patches::tool_failure;
use crate::system::file;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::tool::{Outcome, Tool, ToolError, Tools};
use anyhow::{Result, bail};
use std::ffi::OsString;
use std::rc::Rc;

/// The database of packages, below the skeleton.
pub(super) const PACKAGES: &str = "var/db/pkg/local.sqlite";

/// The package that owns this file owns the base (freebsd-src:
/// usr.sbin/freebsd-update/freebsd-update.sh, check_pkgbase).
pub(super) const OF_EVERY_BASE: &str = "/usr/bin/uname";

/// Whether the base is made of packages. One package of another origin in it
/// does not make it one that freebsd-update(8) no longer serves.
pub(super) fn is_packaged(host: &Host, state: &State) -> Result<bool> {
    let database = state.skeleton.join(PACKAGES);
    if !file::look(&database)?.is_some_and(|m| m.is_file()) {
        return Ok(false);
    }
    if !host.tools().program(Tool::Pkg).exists() {
        // A path stands in the database as it is.
        let contents = fs_err::read(&database)?;
        let registered = contents.windows(OF_EVERY_BASE.len()).any(|at| at == OF_EVERY_BASE.as_bytes());
        if registered {
            bail!("{}: its base is made of packages, and pkg(8) is not installed", state.base.display());
        }
        return Ok(false);
    }
    let mut directory = OsString::from("PKG_DBDIR=");
    directory.push(database.parent().unwrap_or(&state.skeleton));
    let which =
        ["-o".as_ref(), directory.as_os_str(), "which".as_ref(), "-q".as_ref(), OF_EVERY_BASE.as_ref()];
    match host.tools().ask(Tool::Pkg, &which) {
        Ok(_) => Ok(true),
        // Without -q it would say that it knows no such file. One that was ended
        // by a signal has said nothing either.
        Err(ToolError { outcome: Outcome::Failed { status, stderr, .. }, .. })
            if status.code() == Some(1) && stderr.is_empty() =>
        {
            Ok(false)
        }
        Err(e) => Err(e.into()),
    }
}

/// Upgrades a base that is made of packages.
pub(super) struct UpgradePackages(pub(super) Rc<State>);

impl UpgradePackages {
    fn arguments(&self, command: &[&str]) -> Vec<OsString> {
        let root = ["-r".into(), self.0.base.clone().into_os_string()];
        // The base may be newer or older than what runs here.
        let options = ["-o".into(), "IGNORE_OSVERSION=yes".into()];
        root.into_iter().chain(options).chain(command.iter().map(OsString::from)).collect()
    }
}

/// The repository of base (freebsd-src: usr.sbin/pkg/FreeBSD.conf).
pub(super) const BASE_REPOSITORY: [&str; 2] = ["-r", "FreeBSD-base"];

pub(super) const UP_TO_DATE: &str = "Your packages are up to date.";

impl Action for UpgradePackages {
    fn shell(&self) -> String {
        let [r, name] = BASE_REPOSITORY;
        [&["update", "-f", r, name][..], &["upgrade", "-y", r, name][..]]
            .map(|command| Tools::line(Tool::Pkg, &self.arguments(command)))
            .join("\n")
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let [r, name] = BASE_REPOSITORY;
        let run =
            |command: &[&str]| host.tools().run(Tool::Pkg, &self.arguments(command)).map_err(tool_failure);
        run(&["update", "-f", r, name])?;
        let upgraded = run(&["upgrade", "-y", r, name])?;
        if !upgraded.stdout.contains(UP_TO_DATE) {
            self.0.changed.set(true);
        }
        Ok(())
    }
}
