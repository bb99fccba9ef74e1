//! rctl(8): rules, where the kernel has resource accounting turned on.
//!
//! `ROOT/var/db/standin/sysctl.conf` with `kern.racct.enable=1` is the tunable.

use anyhow::{Result, bail};

use crate::Reply;
use crate::host::Host;
use crate::simulated::{note, noted};
use crate::sysctl;

/// Where the rules are noted.
const RULES: &str = "rctl";

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    if sysctl::node(host, "kern.racct.enable")? != "1" {
        reply.complain("rctl: RACCT/RCTL present, but disabled; enable using kern.racct.enable=1 tunable");
        return Ok(1);
    }
    let rules = noted(host, RULES).unwrap_or_default();
    match args {
        [] => reply.out.push_str(&rules),
        [option, rule] if option == "-a" => note(host, RULES, &format!("{rules}{rule}\n"))?,
        _ => bail!("rctl: only -a RULE and the list of rules are imitated"),
    }
    Ok(0)
}
