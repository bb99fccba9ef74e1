//! Jails as rc.d/jail starts and stops them.

use crate::host::Host;
use crate::jail::JailName;
use crate::plan::{Action, Undo};
use crate::tool::{Tool, Tools};
use anyhow::{Result, bail};

/// Stops the jail as rc.d/jail does, and makes sure of it.
#[derive(Clone)]
pub struct StopJail {
    /// Which.
    pub jail: JailName,
}

impl StopJail {
    fn arguments(&self) -> [&str; 3] {
        ["jail", "onestop", self.jail.as_str()]
    }
}

impl Action for StopJail {
    fn shell(&self) -> String {
        Tools::line(Tool::Service, &self.arguments())
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let printed = host.tools().run(Tool::Service, &self.arguments())?;
        // It succeeds when a jail could not be stopped.
        if host.kernel()?.running_jail(self.jail.as_str())?.is_some() {
            let told = printed.stdout.lines().chain(printed.stderr.lines()).map(str::trim);
            let told = told.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
            let told = told.trim_end_matches([':', '.']);
            let told = if told.is_empty() { String::new() } else { format!(": {told}") };
            bail!("{}: the jail still runs{told}", self.shell());
        }
        Ok(())
    }
}
