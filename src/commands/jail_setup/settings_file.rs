//! thinjail.conf(5): what is chosen is written where nothing is set yet.

use super::finding::{Finding, Part, State};
use crate::domain::settings::{self, Settings};
use crate::formats::rcconf;
use crate::system::file::{self, MakeDirectory, ReplaceText, WriteFile};
use crate::system::host::Host;
use crate::system::plan::Plan;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// What a new file begins with.
const HEADER: &str = "# Settings of the thinjail programs, in rc.conf(5) syntax; see thinjail.conf(5).\n";

/// Fails if a setting has another value.
pub(super) fn check(settings: &Settings, name: &str, value: &str) -> Result<()> {
    match settings.value(name) {
        Some(known) if known != value => {
            let file = settings::FILE;
            bail!("{name} is already set to {known} in {file}; change it there if {value} is what you want")
        }
        _ => Ok(()),
    }
}

/// The file, and what is added to it.
pub(super) struct SettingsFile {
    path: PathBuf,
    /// Its text; `None` if it does not exist.
    old: Option<Vec<u8>>,
    new: Vec<(&'static str, String)>,
}

impl SettingsFile {
    /// Reads the file as it is.
    pub(super) fn look(host: &Host) -> Result<SettingsFile> {
        let path = host.root().host_path(Path::new(settings::FILE));
        let old = match file::look(&path)? {
            Some(_) => Some(fs_err::read(&path)?),
            None => None,
        };
        Ok(SettingsFile { path, old, new: Vec::new() })
    }

    /// Notes what was chosen. What is set already is kept; that must be the same.
    pub(super) fn set_all(&mut self, settings: &Settings, chosen: Vec<(&'static str, String)>) -> Result<()> {
        for (name, value) in chosen {
            match settings.value(name) {
                None => self.new.push((name, value)),
                Some(_) => check(settings, name, &value)?,
            }
        }
        Ok(())
    }

    /// The text of the file with what is added.
    fn text(&self) -> Vec<u8> {
        let mut text = self.old.clone().unwrap_or_else(|| HEADER.into());
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text.extend(self.lines().iter().flat_map(|line| format!("{line}\n").into_bytes()));
        text
    }

    fn lines(&self) -> Vec<String> {
        self.new.iter().map(|(name, value)| format!("{name}={}", rcconf::quote(value))).collect()
    }

    /// The settings as they will be.
    pub(super) fn intended(&self) -> Result<Settings> {
        let path = Path::new(settings::FILE);
        Settings::from_sources(path, &self.text(), |name| std::env::var(name).ok()).context("new settings")
    }

    pub(super) fn finding(&self) -> Finding {
        let file = settings::FILE;
        if self.new.is_empty() {
            return Finding::new(Part::Settings, State::Ok, format!("{file} has all settings"));
        }
        let what = if self.old.is_some() { "add to" } else { "create" };
        Finding::new(Part::Settings, State::Change, format!("{what} {file}")).with_lines(self.lines())
    }

    pub(super) fn steps(self) -> Plan {
        let mut plan = Plan::default();
        if self.new.is_empty() {
            return plan;
        }
        let (text, path) = (self.text(), self.path);
        match self.old {
            Some(old) => plan.push(ReplaceText { path, old, new: text }),
            None => {
                if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
                    plan.push(MakeDirectory { path: parent.to_owned() });
                }
                plan.push(WriteFile { path, contents: text });
            }
        }
        plan
    }
}
