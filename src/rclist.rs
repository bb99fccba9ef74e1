//! jail_list of rc.conf(5), through sysrc(8).

use crate::host::Host;
use crate::jail::JailName;
use crate::plan::{Action, Undo};
use crate::tool::{Tool, Tools};
use anyhow::Result;
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
    let printed = host.tools().ask(Tool::Sysrc, &arguments(host, &["-i", "-n", "jail_list"]))?;
    Ok(printed.stdout.split_whitespace().map(str::to_owned).collect())
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
