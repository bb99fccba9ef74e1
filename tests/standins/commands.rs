//! Programs started in a jail or by jail(8).
//!
//! On the host they are really started, with the paths of the base system leading to the stand-ins and all others below
//! the root. In a jail, which has no processes, the few that a start needs are played.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use thinjail::system::kernel::simulated::{Interface, Simulated};

use crate::host::Host;
use crate::jail::noted_params;
use crate::simulated::{kernel, noted, running};
use crate::{Reply, ifconfig, route};

/// Set, it makes what is played in a jail print a line.
const VERBOSE: &str = "THINJAIL_STANDIN_VERBOSE";

/// The directories of the base system's programs.
const BASE: &[&str] = &["/bin", "/sbin", "/usr/bin", "/usr/sbin"];

/// Where the machine's own programs may be taken from: what is alike on every system.
const MACHINE: &[&str] = &["/bin", "/usr/bin"];

/// The directory with the stand-ins.
pub fn tools() -> Result<PathBuf> {
    let tools = std::env::var_os("THINJAIL_TOOLS").context("THINJAIL_TOOLS is not set")?;
    Ok(tools.into())
}

/// The file to start for a program of the host, if there is one.
pub fn program(host: &Host, word: &str) -> Result<Option<PathBuf>> {
    let path = Path::new(word);
    let file = path.file_name().unwrap_or_default();
    let is_in =
        |directories: &[&str]| path.parent().is_some_and(|p| directories.iter().any(|d| p == Path::new(d)));
    let mut places = Vec::new();
    if !word.contains('/') {
        places.extend([tools()?.join(file), host.path("/usr/local/sbin").join(file)]);
        places.extend(MACHINE.iter().map(|directory| Path::new(directory).join(file)));
    } else if path.is_absolute() {
        if is_in(BASE) {
            places.push(tools()?.join(file));
        }
        places.push(host.path(word));
        if is_in(MACHINE) {
            places.push(path.into());
        }
    }
    Ok(places.into_iter().find(|place| place.exists()))
}

/// A command for sh(1) with the absolute paths of programs replaced by those of the files to start.
pub fn shell_text(host: &Host, text: &str) -> Result<String> {
    let mut replaced = String::new();
    let is_end = |c: char| c.is_whitespace() || "\"'();&|<>`$".contains(c);
    for word in text.split_inclusive(is_end) {
        let bare = word.trim_end_matches(is_end);
        match program(host, bare)? {
            Some(file) if bare.starts_with('/') => {
                replaced.push_str(&file.to_string_lossy());
                replaced.push_str(&word[bare.len()..]);
            }
            _ => replaced.push_str(word),
        }
    }
    Ok(replaced)
}

/// Plays a program in a jail. None if the jail has no such program.
pub fn in_jail(kernel: &Simulated, jid: i32, words: &[&str], reply: &mut Reply) -> Result<Option<u8>> {
    let Some((program, args)) = words.split_first() else { return Ok(Some(0)) };
    let path = Path::new(program);
    let in_base = path.parent().is_some_and(|p| p == Path::new("") || BASE.iter().any(|d| p == Path::new(d)));
    let name = path.file_name().and_then(|name| name.to_str()).filter(|_| in_base);
    let mut tell = |line: String| {
        if std::env::var_os(VERBOSE).is_some() {
            reply.say(line);
        }
    };
    Ok(match (name, args) {
        (Some("ifconfig"), _) => Some(ifconfig::in_vnet(kernel, jid, args, reply)?),
        (Some("route"), _) => Some(route::in_vnet(kernel, jid, args, reply)?),
        (Some("sh"), ["/etc/rc"]) => {
            tell(format!("jail {jid}: /etc/rc"));
            Some(0)
        }
        (Some("sh"), ["/etc/rc.shutdown", ..]) => {
            tell(format!("jail {jid}: /etc/rc.shutdown"));
            Some(0)
        }
        // rc(8) of the jail gets an address at once.
        (Some("sysrc"), [variable]) => {
            let (name, value) =
                variable.split_once('=').context("sysrc in a jail: only NAME=VALUE is imitated")?;
            let interface = name.trim_start_matches("ifconfig_").trim_end_matches("_ipv6");
            let address = match value {
                "SYNCDHCP" => "inet 192.168.7.230/24",
                "inet6 accept_rtadv" => "inet6 2001:db8:7::e6/64",
                other => bail!("sysrc in a jail: {other} is not imitated"),
            };
            reply.say(format!("{name}:  -> {value}"));
            kernel.change(|state| {
                let is_it = |i: &&mut Interface| i.vnet == jid && i.name == interface;
                if let Some(there) = state.interfaces.iter_mut().find(is_it) {
                    there.up = true;
                    there.addresses.push(address.into());
                }
                Ok(())
            })?;
            Some(0)
        }
        (Some("tcpdrop"), ["-a"]) => Some(0),
        (Some("true"), _) => Some(0),
        (Some("false"), _) => Some(1),
        _ => None,
    })
}

/// Runs jexec(8).
pub fn jexec(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let [jail, command @ ..] = words.as_slice() else { bail!("jexec: no jail") };
    if jail.starts_with('-') || command.is_empty() {
        bail!("jexec: only JAIL COMMAND is imitated");
    }
    let kernel = kernel(host)?;
    let Some(jid) = running(&kernel.state()?, jail).map(|jail| jail.jid) else {
        reply.complain(format!("jexec: jail \"{jail}\" not found"));
        return Ok(1);
    };
    if command == ["sysctl", "-n", "security.jail.env"] {
        let params = noted(host, &noted_params(jid)).unwrap_or_default();
        params.lines().filter_map(|line| line.strip_prefix("env.")).for_each(|line| reply.say(line));
        return Ok(0);
    }
    let status = in_jail(&kernel, jid, command, reply)?;
    if status.is_none() {
        reply.complain(format!("jexec: execvp: {}: No such file or directory", command[0]));
    }
    Ok(status.unwrap_or(1))
}
