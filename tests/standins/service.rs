//! service(8): `service jail start NAME ...`, `stop` and `restart`, as rc.d/jail does them, and `status`;
//! `service pf start` and `onestop`.
//!
//! What jail(8) prints is shown only where the real script shows it, and the status says nothing.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::commands::tools;
use crate::host::Host;
use crate::simulated::{kernel, running};
use crate::{Reply, jls};

/// What can be asked of rc.d/jail; that status is named twice is its own doing.
const VERBS: &[&str] = &[
    "start",
    "stop",
    "restart",
    "rcvar",
    "enable",
    "disable",
    "delete",
    "enabled",
    "describe",
    "extracommands",
    "config",
    "console",
    "status",
    "status",
    "poll",
];

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (steps, names): (&[bool], _) = match words.as_slice() {
        ["jail", "start" | "onestart", names @ ..] => (&[true], names),
        ["jail", "stop" | "onestop", names @ ..] => (&[false], names),
        ["jail", "restart" | "onerestart", names @ ..] => (&[false, true], names),
        ["pf", "start"] => return pf_start(host, reply),
        ["pf", "onestop"] => {
            let _ = std::fs::remove_file(host.state("pf.running"));
            reply.say("Disabling pf.");
            return Ok(0);
        }
        // Whatever names are given.
        ["jail", "status", ..] => return jls::run(host, &["-N".into()], reply),
        ["jail", verb, ..] if !VERBS.contains(verb) => {
            let verbs = VERBS.join("|");
            reply.complain(format!("/etc/rc.d/jail: unknown directive '{verb}'."));
            reply.complain(format!("Usage: /etc/rc.d/jail [fast|force|one|quiet]({verbs})"));
            return Ok(1);
        }
        _ => bail!(
            "service: only jail start, jail stop, jail restart, jail status, pf start and pf onestop are imitated"
        ),
    };
    for start in steps {
        let all = if names.is_empty() { all(host, *start)? } else { Vec::new() };
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        step(host, *start, if names.is_empty() { &all } else { names }, reply)?;
    }
    Ok(0)
}

/// rc.d/pf with `start`.
fn pf_start(host: &Host, reply: &mut Reply) -> Result<u8> {
    let enabled = Command::new(tools()?.join("sysrc")).args(["-n", "-i", "pf_enable"]).output();
    let enabled = String::from_utf8_lossy(&enabled.context("start sysrc")?.stdout).trim().to_owned();
    if enabled != "YES" {
        reply.say(
            "Cannot 'start' pf. Set pf_enable to YES in /etc/rc.conf or use 'onestart' instead of 'start'.",
        );
        return Ok(0);
    }
    if !host.path("/etc/pf.conf").is_file() {
        reply.complain("/etc/rc.d/pf: WARNING: /etc/pf.conf is not readable.");
        return Ok(1);
    }
    std::fs::write(host.state("pf.loaded"), "").context("load pf")?;
    let rules = Command::new(tools()?.join("pfctl")).args(["-nvf", "/etc/pf.conf"]).output();
    if !rules.context("start pfctl")?.status.success() {
        reply.complain("/etc/rc.d/pf: WARNING: Unable to load /etc/pf.conf.");
    }
    std::fs::write(host.state("pf.running"), "").context("start pf")?;
    reply.say("Enabling pf.");
    Ok(0)
}

/// What is meant without names, as jail_list is empty: all jails of jail.conf(5), or all that run.
fn all(host: &Host, start: bool) -> Result<Vec<String>> {
    if !start {
        let state = kernel(host)?.state()?;
        return Ok(state.jails.iter().filter(|jail| !jail.dying).map(|jail| jail.name.clone()).collect());
    }
    let listed = Command::new(tools()?.join("jail")).args(["-e", "|"]).output().context("start jail")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    Ok(listed.lines().filter_map(|l| l.split('|').next()?.strip_prefix("name=").map(str::to_owned)).collect())
}

/// Starts or stops.
fn step(host: &Host, start: bool, names: &[&str], reply: &mut Reply) -> Result<()> {
    let is_running = |name: &str| -> Result<bool> { Ok(running(&kernel(host)?.state()?, name).is_some()) };
    reply.out.push_str(if start { "Starting jails:" } else { "Stopping jails:" });
    for name in names {
        if !start && !is_running(name)? {
            continue;
        }
        if !start {
            reply.out.push_str(&format!(" {name}"));
        }
        let mut jail = Command::new(tools()?.join("jail"));
        jail.args(if start { ["-i", "-c"] } else { ["-q", "-r"] }).arg(name);
        let output = jail.output().context("start jail")?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match (start, output.status.success()) {
            (true, true) => reply.out.push_str(&format!(" {name}")),
            (true, false) => reply.out.push_str(&format!(" cannot start jail  \"{name}\": \n{said}")),
            // A complaint about a jail that is gone is not shown.
            (false, _) if is_running(name)? => reply.out.push_str(&said),
            (false, _) => {}
        }
    }
    reply.out.push_str(".\n");
    Ok(())
}
