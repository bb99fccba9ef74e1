//! jail_list of rc.conf(5).

use crate::domain::rc_conf::{arguments, is_written, overriding_value, place};
use crate::formats::rcconf;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::tool::{Tool, Tools};
use crate::types::jail_name::JailName;
use anyhow::Result;
use std::io;
use std::path::Path;

/// The service that starts jails.
const SERVICE: &str = "jail";

/// The arguments to edit jail_list.
fn edit(host: &Host, words: &[&str]) -> Vec<String> {
    let place = place(host, SERVICE, "jail_list");
    let words: Vec<&str> = place.iter().map(String::as_str).chain(words.iter().copied()).collect();
    arguments(host, &words)
}

/// The names in jail_list. Empty means to rc.d/jail that every jail of
/// jail.conf starts.
pub fn names(host: &Host) -> Result<Vec<String>> {
    let overriding = overriding_value(host, SERVICE, "jail_list")?;
    let list = match overriding.or_else(|| as_written(host)) {
        Some(list) => list,
        None => host.tools().ask(Tool::Sysrc, &arguments(host, &["-i", "-n", "jail_list"]))?.stdout,
    };
    Ok(list.split_whitespace().map(str::to_owned).collect())
}

/// jail_list as the files say it, where what the shell would make of them is
/// plain. sysrc(8) takes as long as ten times zfs(8).
fn as_written(host: &Host) -> Option<String> {
    let read = |file: &str| std::fs::read(host.root().host_path(Path::new(file)));
    let defaults = String::from_utf8(read("/etc/defaults/rc.conf").ok()?).ok()?;
    let shipped = |name: &str, lines: &[&str]| {
        let set = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        let bare = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
        defaults.lines().map(str::trim_start).filter(set).map(bare).eq(lines.iter().copied())
    };
    let plain = shipped("rc_conf_files", &["rc_conf_files=\"/etc/rc.conf /etc/rc.conf.local\""])
        && shipped("jail_list", &["jail_list=\"\""])
        && !host.root().host_path(Path::new("/etc/defaults/vendor.conf")).exists();
    let mut list = plain.then(String::new)?;
    for file in ["/etc/rc.conf", "/etc/rc.conf.local"] {
        let text = match read(file) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => return None,
        };
        for assignment in rcconf::parse(&text).ok()? {
            match assignment.name.as_str() {
                "jail_list" => list = assignment.value,
                "rc_conf_files" => return None,
                _ => {}
            }
        }
    }
    Some(list)
}

/// Adds names to jail_list; sysrc(8) adds each only once.
pub struct AddToJailList {
    /// The names, in order.
    pub names: Vec<String>,
    command: String,
    arguments: Vec<String>,
    inverse: Vec<String>,
}

impl AddToJailList {
    /// Adds a jail. To an empty list, which means all of `others`, those are
    /// added too: otherwise they would not start at the next boot any longer.
    pub fn new(host: &Host, jail: &JailName, present: &[String], others: &[String]) -> AddToJailList {
        let mut names = if present.is_empty() { others.to_vec() } else { Vec::new() };
        names.push(jail.to_string());
        let removal = format!("jail_list-={jail}");
        let (arguments, inverse) = if present.is_empty() {
            // Never -x for a list with names in it: that may be another file's.
            let inverse = if is_written(host, SERVICE, "jail_list") {
                vec!["jail_list="]
            } else {
                vec!["-x", "jail_list"]
            };
            (format!("jail_list={}", names.join(" ")), inverse)
        } else {
            (format!("jail_list+={jail}"), vec![removal.as_str()])
        };
        let (arguments, inverse) = (edit(host, &[&arguments]), edit(host, &inverse));
        AddToJailList { names, command: Tools::line(Tool::Sysrc, &arguments), arguments, inverse }
    }
}

impl Action for AddToJailList {
    fn shell(&self) -> String {
        self.command.clone()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        host.tools().run(Tool::Sysrc, &self.arguments)?;
        undo.push(RunSysrc(self.inverse.clone()));
        Ok(())
    }
}

struct RunSysrc(Vec<String>);

impl Action for RunSysrc {
    fn shell(&self) -> String {
        Tools::line(Tool::Sysrc, &self.0)
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        host.tools().run(Tool::Sysrc, &self.0)?;
        Ok(())
    }
}

/// Removes a jail's name.
pub struct RemoveFromJailList(Vec<String>);

impl RemoveFromJailList {
    /// Removes `jail`.
    pub fn new(host: &Host, jail: &JailName) -> RemoveFromJailList {
        RemoveFromJailList(edit(host, &[&format!("jail_list-={jail}")]))
    }
}

impl Action for RemoveFromJailList {
    fn shell(&self) -> String {
        Tools::line(Tool::Sysrc, &self.0)
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        host.tools().run(Tool::Sysrc, &self.0)?;
        Ok(())
    }
}
