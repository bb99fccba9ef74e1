//! Jails as rc.d/jail starts and stops them.

use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::tool::{Tool, Tools};
use crate::types::jail_name::JailName;
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
            let output = printed.stdout.lines().chain(printed.stderr.lines()).map(str::trim);
            let output = output.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
            let output = output.trim_end_matches([':', '.']);
            let output = if output.is_empty() { String::new() } else { format!(": {output}") };
            bail!("{}: the jail is still running{output}", self.shell());
        }
        Ok(())
    }
}
