//! Variables of rc.conf(5), through sysrc(8), which alone knows where rc.conf is
//! more than a list of assignments; and the files of a service, which override
//! rc.conf(5) and which sysrc(8) does not read by itself.

use crate::formats::rcconf;
use crate::formats::shell;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::tool::{Outcome, Tool, ToolError, Tools};
use anyhow::Result;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The arguments of sysrc(8), with the alternate root in front.
pub fn arguments(host: &Host, words: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    if host.root().is_alternate() {
        all.extend(["-R".to_owned(), host.root().path().display().to_string()]);
    }
    all.extend(words.iter().map(|w| (*w).to_owned()));
    all
}

/// Where rc.d scripts look for files of their service, after rc.conf(5) itself
/// (freebsd-src: libexec/rc/rc.subr, load_rc_config; the second belongs to
/// local_startup of /etc/defaults/rc.conf).
const OF_SERVICES: [&str; 2] = ["/etc/rc.conf.d", "/usr/local/etc/rc.conf.d"];

/// The files that the rc.d script of a service reads after rc.conf(5), in that
/// order: `rc.conf.d/NAME`, or what is in a directory of that name.
fn files_of_service(host: &Host, service: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for directory in OF_SERVICES {
        let file = Path::new(directory).join(service);
        let real = host.root().host_path(&file);
        if real.is_file() {
            files.push(file);
        } else if let Ok(entries) = std::fs::read_dir(&real) {
            // As sh(1) expands `*`.
            let names = entries.filter_map(|e| Some(e.ok()?.file_name()));
            let visible = |name: &OsString| !name.as_encoded_bytes().starts_with(b".");
            let mut names: Vec<OsString> = names.filter(visible).collect();
            names.sort();
            files.extend(names.iter().map(|n| file.join(n)).filter(|f| host.root().host_path(f).is_file()));
        }
    }
    files
}

/// The last of those files that sets a variable, or may: one that is more than
/// assignments and mentions it. It overrides rc.conf(5).
pub fn overriding_file(host: &Host, service: &str, name: &str) -> Option<PathBuf> {
    let sets = |file: &PathBuf| {
        let text = std::fs::read(host.root().host_path(file)).unwrap_or_default();
        match rcconf::parse(&text) {
            Ok(all) => all.iter().any(|a| a.name == name),
            Err(_) => String::from_utf8_lossy(&text).contains(name),
        }
    };
    files_of_service(host, service).into_iter().rfind(sets)
}

/// The value that such a file gives a variable; `None` when no file of the
/// service sets it.
///
/// # Errors
///
/// The file is more than assignments, and sysrc(8) does not read it either.
pub fn overriding_value(host: &Host, service: &str, name: &str) -> Result<Option<String>> {
    let Some(file) = overriding_file(host, service, name) else { return Ok(None) };
    let text = std::fs::read(host.root().host_path(&file)).unwrap_or_default();
    if let Ok(all) = rcconf::parse(&text) {
        return Ok(all.into_iter().rfind(|a| a.name == name).map(|a| a.value));
    }
    // It may use what earlier files set.
    let files = ["/etc/rc.conf", "/etc/rc.conf.local"].map(PathBuf::from);
    let files = files.into_iter().chain(files_of_service(host, service));
    let mut words: Vec<String> = Vec::new();
    for file in files.filter(|f| host.root().host_path(f).is_file()) {
        words.extend(["-f".to_owned(), file.display().to_string()]);
    }
    words.extend(["-i", "-n", name].map(str::to_owned));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let printed = host.tools().ask(Tool::Sysrc, &arguments(host, &words))?;
    Ok(Some(printed.stdout.trim_end_matches('\n').to_owned()))
}

/// The arguments that have sysrc(8) edit the file that sets a variable: `-f`
/// and a file of the service, or none for rc.conf(5).
pub fn place(host: &Host, service: &str, name: &str) -> Vec<String> {
    let file = overriding_file(host, service, name);
    file.map(|f| vec!["-f".to_owned(), f.display().to_string()]).unwrap_or_default()
}

/// A command that sets a variable of a service where it is set already.
pub fn advice(host: &Host, service: &str, name: &str, words: &[&str]) -> String {
    let place = place(host, service, name);
    let all = ["sysrc"].into_iter().chain(place.iter().map(String::as_str)).chain(words.iter().copied());
    shell::line(all.map(OsStr::new))
}

/// Whether a file has a line for a variable at all, be its value empty.
pub fn is_written(host: &Host, service: &str, name: &str) -> bool {
    let start = format!("{name}=");
    let sets = |file: &str| {
        let text = std::fs::read(host.root().host_path(Path::new(file))).unwrap_or_default();
        text.split(|b| *b == b'\n').any(|line| line.trim_ascii_start().starts_with(start.as_bytes()))
    };
    overriding_file(host, service, name).is_some()
        || ["/etc/rc.conf", "/etc/rc.conf.local"].into_iter().any(sets)
}

/// Variables of rc.conf(5), as the rc.d scripts that use them see them.
#[derive(Clone, Debug, Default)]
pub struct RcConf {
    /// The variables that were read, whether they are set or not.
    read: Vec<String>,
    values: Vec<(String, String)>,
}

impl RcConf {
    /// Reads some variables, each with the service that uses it. One that is not set
    /// anywhere is missing in the result.
    pub fn read(host: &Host, variables: &[(&str, &str)]) -> Result<RcConf> {
        let words: Vec<&str> =
            ["-i", "-e"].into_iter().chain(variables.iter().map(|(name, _)| *name)).collect();
        let printed = match host.tools().ask(Tool::Sysrc, &arguments(host, &words)) {
            Ok(printed) => printed.stdout,
            // For a variable that is not set it fails without a message.
            Err(ToolError { outcome: Outcome::Failed { stdout, stderr, .. }, .. }) if stderr.is_empty() => {
                stdout
            }
            Err(e) => return Err(e.into()),
        };
        let mut all = assignments(&printed);
        for (name, service) in variables {
            if let Some(value) = overriding_value(host, service, name)? {
                all.retain(|(known, _)| known != name);
                all.push(((*name).to_owned(), value));
            }
        }
        Ok(RcConf { read: variables.iter().map(|(name, _)| (*name).to_owned()).collect(), values: all })
    }

    /// Adds variables that were read later.
    pub fn extend(&mut self, more: RcConf) {
        self.read.extend(more.read);
        self.values.extend(more.values);
    }

    /// The names of those that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|(name, _)| name.as_str())
    }

    /// The value of a variable, empty if it is not set. To ask for one that was not
    /// read is a mistake in the program.
    pub fn get(&self, name: &str) -> &str {
        debug_assert!(self.read.iter().any(|read| read == name), "{name} was not read");
        self.values.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Whether a variable is on, as checkyesno of rc.subr(8) reads it.
    pub fn is_yes(&self, name: &str) -> bool {
        is_yes(self.get(name))
    }
}

/// Whether a value means yes to rc.subr(8).
pub fn is_yes(value: &str) -> bool {
    ["yes", "true", "on", "1"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// `name="value"` lines, as sysrc(8) prints them.
pub fn assignments(text: &str) -> Vec<(String, String)> {
    let one = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        Some((name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(one).collect()
}

/// The name of an interface as it is part of the name of a variable (freebsd-src:
/// libexec/rc/network.subr, get_if_var).
pub fn of_interface(interface: &str) -> String {
    interface.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Sets one variable of rc.conf(5), or removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetVariable {
    service: String,
    name: String,
    /// `None` removes it.
    value: Option<String>,
    /// What it was.
    old: Option<String>,
    /// `-f` and the file of the service that sets it.
    place: Vec<String>,
}

impl SetVariable {
    /// Gives a variable of a service a value; `None` removes it.
    pub fn new(host: &Host, service: &str, name: &str, known: &RcConf, value: Option<&str>) -> SetVariable {
        // Removing the line brings the default back.
        let old = is_written(host, service, name).then(|| known.get(name).to_owned());
        SetVariable {
            service: service.to_owned(),
            name: name.to_owned(),
            value: value.map(str::to_owned),
            old,
            place: place(host, service, name),
        }
    }

    /// The command that sets it.
    pub fn command(&self) -> String {
        Tools::line(Tool::Sysrc, &self.words())
    }

    /// The command that sets it back.
    pub fn inverse_command(&self) -> String {
        self.inverse().command()
    }

    fn inverse(&self) -> SetVariable {
        SetVariable { value: self.old.clone(), old: self.value.clone(), ..self.clone() }
    }

    fn words(&self) -> Vec<String> {
        let mut words = self.place.clone();
        words.extend(match &self.value {
            Some(value) => vec![format!("{}={value}", self.name)],
            None => vec!["-x".into(), self.name.clone()],
        });
        words
    }
}

impl Action for SetVariable {
    fn shell(&self) -> String {
        self.command()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        // sysrc(8) refuses to remove what is not there.
        if self.value.is_none() && !is_written(host, &self.service, &self.name) {
            return Ok(());
        }
        let words = self.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = host.tools().run(Tool::Sysrc, &arguments(host, &words));
        // It may have edited the file and failed.
        if done.as_ref().err().is_none_or(|e| matches!(e.outcome, Outcome::Failed { .. })) {
            undo.push(self.inverse());
        }
        done?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sysrc_prints() {
        let text = "jail_enable=\"YES\"\njail_list=\"a b\"\nifconfig_DEFAULT=\"x=\"y\"\"\n";
        let names = ["jail_enable", "jail_list", "ifconfig_DEFAULT", "gateway_enable"];
        let rc = RcConf { read: names.map(str::to_owned).to_vec(), values: assignments(text) };
        assert_eq!(names.map(|name| rc.get(name)), ["YES", "a b", "x=\"y\"", ""]);
        assert!(rc.is_yes("jail_enable") && !rc.is_yes("jail_list") && !rc.is_yes("gateway_enable"));
        assert_eq!(of_interface("igc0.101"), "igc0_101");
    }
}
