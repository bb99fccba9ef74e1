//! kldstat(8): whether a module is there.
//!
//! `ROOT/var/db/standin/modules` lists those that are, in place of the ones below.

use anyhow::{Result, bail};

use crate::Reply;
use crate::host::Host;

/// The modules of the recorded host that the suite may ask for.
const MODULES: &[&str] = &["if_bridge", "if_epair", "nullfs", "zfs"];

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (quiet, name) = match words.as_slice() {
        ["-q", "-m", name] => (true, *name),
        ["-m", name] => (false, *name),
        _ => bail!("kldstat: only [-q] -m NAME is imitated"),
    };
    let listed = host.state_lines("modules")?;
    let found = if listed.is_empty() { MODULES.contains(&name) } else { listed.iter().any(|l| l == name) };
    match (found, quiet) {
        (true, false) => {
            reply.say("Id  Refs Name");
            reply.say(format!("{:>3}    1 {name}", 1));
        }
        (false, false) => {
            reply.complain(format!("kldstat: can't find module {name}: No such file or directory"))
        }
        _ => {}
    }
    Ok(u8::from(!found))
}
