//! jail_list of rc.conf(5), through sysrc(8), which alone can tell it where
//! rc.conf is more than a list of assignments.

use crate::host::Host;
use crate::jail::JailName;
use crate::plan::{Action, Undo};
use crate::rcconf;
use crate::tool::{Tool, Tools};
use anyhow::Result;
use std::io;
use std::path::Path;

pub(crate) fn arguments(host: &Host, words: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    if host.root().is_alternate() {
        all.extend(["-R".to_owned(), host.root().path().display().to_string()]);
    }
    all.extend(words.iter().map(|w| (*w).to_owned()));
    all
}

/// The names in jail_list. Empty means to rc.d/jail that every jail of
/// jail.conf starts.
pub fn names(host: &Host) -> Result<Vec<String>> {
    let list = match as_written(host) {
        Some(list) => list,
        None => host.tools().ask(Tool::Sysrc, &arguments(host, &["-i", "-n", "jail_list"]))?.stdout,
    };
    Ok(list.split_whitespace().map(str::to_owned).collect())
}

/// jail_list as the files say it, where what the shell would make of them is
/// plain. sysrc(8) takes as long as ten times zfs(8).
fn as_written(host: &Host) -> Option<String> {
    let read = |file: &str| std::fs::read(host.root().at(Path::new(file)));
    let defaults = String::from_utf8(read("/etc/defaults/rc.conf").ok()?).ok()?;
    let shipped = |name: &str, lines: &[&str]| {
        let set = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        let bare = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
        defaults.lines().map(str::trim_start).filter(set).map(bare).eq(lines.iter().copied())
    };
    let plain = shipped("rc_conf_files", &["rc_conf_files=\"/etc/rc.conf /etc/rc.conf.local\""])
        && shipped("jail_list", &["jail_list=\"\""])
        && !host.root().at(Path::new("/etc/defaults/vendor.conf")).exists();
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

/// Whether rc.conf has a line for jail_list at all.
fn is_set(host: &Host) -> bool {
    let text = std::fs::read(host.root().at(Path::new("/etc/rc.conf"))).unwrap_or_default();
    text.split(|b| *b == b'\n').any(|line| line.trim_ascii_start().starts_with(b"jail_list="))
}

/// Adds names to jail_list; sysrc(8) adds each only once.
pub struct Add {
    /// The names, in order.
    pub names: Vec<String>,
    command: String,
    arguments: Vec<String>,
    inverse: Vec<String>,
}

impl Add {
    /// Adds a jail. To an empty list, which means all of `others`, those are
    /// added too: otherwise they would not start at the next boot any more.
    pub fn new(host: &Host, jail: &JailName, present: &[String], others: &[String]) -> Add {
        let mut names = if present.is_empty() { others.to_vec() } else { Vec::new() };
        names.push(jail.to_string());
        let removal = format!("jail_list-={jail}");
        let (arguments, inverse) = if present.is_empty() {
            // Never -x for a list with names in it: that may be another file's.
            let inverse = if is_set(host) { vec!["jail_list="] } else { vec!["-x", "jail_list"] };
            (format!("jail_list={}", names.join(" ")), inverse)
        } else {
            (format!("jail_list+={jail}"), vec![removal.as_str()])
        };
        let (arguments, inverse) = (self::arguments(host, &[&arguments]), self::arguments(host, &inverse));
        Add { names, command: Tools::line(Tool::Sysrc, &arguments), arguments, inverse }
    }
}

impl Action for Add {
    fn shell(&self) -> String {
        self.command.clone()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        host.tools().run(Tool::Sysrc, &self.arguments)?;
        undo.push(Run(self.inverse.clone()));
        Ok(())
    }
}

struct Run(Vec<String>);

impl Action for Run {
    fn shell(&self) -> String {
        Tools::line(Tool::Sysrc, &self.0)
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        host.tools().run(Tool::Sysrc, &self.0)?;
        Ok(())
    }
}

/// Removes a jail's name.
pub struct Remove(Vec<String>);

impl Remove {
    /// Removes `jail`.
    pub fn new(host: &Host, jail: &JailName) -> Remove {
        Remove(arguments(host, &[&format!("jail_list-={jail}")]))
    }
}

impl Action for Remove {
    fn shell(&self) -> String {
        Tools::line(Tool::Sysrc, &self.0)
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        host.tools().run(Tool::Sysrc, &self.0)?;
        Ok(())
    }
}
