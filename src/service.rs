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
            let told = printed.stdout.lines().map(str::trim).collect::<Vec<_>>().join(" ");
            bail!("{}: the jail still runs: {told} {}", self.shell(), printed.stderr);
        }
        Ok(())
    }
}
