//! jail_list of rc.conf(5), through sysrc(8), which alone knows where
//! rc.conf is more than a list of assignments; and the files of a service,
//! which override rc.conf(5) and which sysrc(8) does not read by itself.

use crate::formats::rcconf;
use crate::formats::shell;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::tool::{Tool, Tools};
use crate::types::jail_name::JailName;
use anyhow::Result;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

pub(crate) fn arguments(host: &Host, words: &[&str]) -> Vec<String> {
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

/// The service that starts jails.
const SERVICE: &str = "jail";

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
pub(crate) fn overriding_file(host: &Host, service: &str, name: &str) -> Option<PathBuf> {
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
pub(crate) fn overriding_value(host: &Host, service: &str, name: &str) -> Result<Option<String>> {
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
pub(crate) fn place(host: &Host, service: &str, name: &str) -> Vec<String> {
    let file = overriding_file(host, service, name);
    file.map(|f| vec!["-f".to_owned(), f.display().to_string()]).unwrap_or_default()
}

/// A command that sets a variable of a service where it is set already.
pub(crate) fn advice(host: &Host, service: &str, name: &str, words: &[&str]) -> String {
    let place = place(host, service, name);
    let all = ["sysrc"].into_iter().chain(place.iter().map(String::as_str)).chain(words.iter().copied());
    shell::line(all.map(OsStr::new))
}

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

/// Whether a file has a line for jail_list at all.
fn is_set(host: &Host) -> bool {
    let sets = |file: &str| {
        let text = std::fs::read(host.root().host_path(Path::new(file))).unwrap_or_default();
        text.split(|b| *b == b'\n').any(|line| line.trim_ascii_start().starts_with(b"jail_list="))
    };
    overriding_file(host, SERVICE, "jail_list").is_some()
        || ["/etc/rc.conf", "/etc/rc.conf.local"].into_iter().any(sets)
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
            let inverse = if is_set(host) { vec!["jail_list="] } else { vec!["-x", "jail_list"] };
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
