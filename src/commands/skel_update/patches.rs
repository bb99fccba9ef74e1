//! Patches from freebsd-update(8).

use super::{CONF, PROGRAM, State};
use crate::domain::base_version::{self, Version};
use crate::domain::layout::MOVED;
use crate::formats::shell;
use crate::system::console;
use crate::system::file;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::tool::{Outcome, Tool, ToolError, Tools};
use anyhow::{Result, anyhow};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Runs of `freebsd-update install` that one update may take: old shared
/// libraries are only removed by a further one.
pub(super) const INSTALLS: usize = 3;

/// Settings for freebsd-update(8) for a split base.
pub(super) struct WriteConf {
    pub(super) path: PathBuf,
}

/// This host's settings, with what a base of jails needs changed: no kernel and
/// no copy of one, and hands off the links in place of the moved directories,
/// whose modes it would give to the directories behind them.
pub(super) fn conf_for_base(text: &str) -> String {
    let mut lines = String::new();
    let mut components = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        match words.next() {
            Some("Components") => {
                components.extend(words.filter(|c| *c == "world" || c.starts_with("world/")))
            }
            Some("BackupKernel" | "StrictComponents") => {}
            _ => {
                lines.push_str(line);
                lines.push('\n');
            }
        }
    }
    if components.is_empty() {
        components.push("world");
    }
    // An extended regular expression that the line of a path in the index
    // begins with, read by sh(1) without -r.
    let moved: Vec<String> = MOVED.iter().map(|m| format!("/{m}[|]")).collect();
    format!("{lines}Components {}\nBackupKernel no\nIgnorePaths {}\n", components.join(" "), moved.join(" "))
}

impl Action for WriteConf {
    fn shell(&self) -> String {
        let moved: Vec<String> = MOVED.iter().map(|m| format!("/{m}[|]")).collect();
        let added = format!("Components world\nBackupKernel no\nIgnorePaths {}\n", moved.join(" "));
        format!(
            "{{ /usr/bin/grep -Ev '^ *(Components|BackupKernel|StrictComponents)[ \t]' {CONF}; {}; }} > {}",
            shell::print(added.as_bytes()),
            shell::quote(&self.path)
        )
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let text = fs_err::read_to_string(host.root().host_path(Path::new(CONF)))?;
        undo.push(file::RemoveFile { path: self.path.clone() });
        file::write(&self.path, conf_for_base(&text).as_bytes())
    }
}

/// Fetches and installs updates with freebsd-update(8).
pub(super) struct InstallPatches {
    pub(super) state: Rc<State>,
    pub(super) conf: PathBuf,
}

impl InstallPatches {
    /// The directory is spelled alike each time: its state is kept by that.
    fn arguments(&self, version: &str, command: &str) -> Vec<OsString> {
        let words: [&OsStr; 9] = [
            "--not-running-from-cron".as_ref(),
            "--currently-running".as_ref(),
            version.as_ref(),
            "-f".as_ref(),
            self.conf.as_os_str(),
            "-b".as_ref(),
            self.state.base.as_os_str(),
            "-F".as_ref(),
            command.as_ref(),
        ];
        // -F: what was prepared for a state that was taken back counts no more.
        words.into_iter().filter(|w| *w != "-F" || command == "fetch").map(OsStr::to_owned).collect()
    }

    /// True when something was installed.
    fn install(&self, host: &Host, version: &Version) -> Result<bool> {
        let arguments = self.arguments(&version.to_string(), "install");
        match host.tools().run(Tool::FreebsdUpdate, &arguments) {
            Ok(printed) => Ok(!printed.stdout.contains(NOTHING_READY)),
            // With status 2, when the fetch before found nothing.
            Err(e) if printed(&e).contains(NOTHING_READY) => Ok(false),
            Err(e) => Err(tool_failure(e)),
        }
    }
}

pub(super) const NOTHING_READY: &str = "No updates are available to install.";

pub(super) const PAST_ITS_END: &str = "HAS PASSED ITS END-OF-LIFE DATE";

pub(super) fn printed(error: &ToolError) -> &str {
    match &error.outcome {
        Outcome::Failed { stdout, .. } => stdout,
        Outcome::NotStarted(_) => "",
    }
}

/// A line whose words are one blank apart.
pub(super) fn in_one_blank(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// freebsd-update(8) says on standard output why it fails.
pub(super) fn tool_failure(error: ToolError) -> anyhow::Error {
    let lines: Vec<String> = printed(&error).lines().map(in_one_blank).filter(|l| !l.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    match &error.outcome {
        Outcome::Failed { stderr, .. } if !stderr.is_empty() => error.into(),
        _ if last.is_empty() => error.into(),
        _ => anyhow!("{}: {last}", error.command),
    }
}

impl Action for InstallPatches {
    fn shell(&self) -> String {
        let script = shell::quote(self.state.base.join("bin/freebsd-version"));
        let version = format!("\"$({script} -u)\"");
        ["fetch", "install"]
            .map(|command| {
                let line = Tools::line(Tool::FreebsdUpdate, &self.arguments("@VERSION@", command));
                format!("PAGER=/bin/cat {}", line.replace("@VERSION@", &version))
            })
            .join("\n")
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let version = base_version::of_base(&self.state.base)?;
        let fetched = {
            let _progress = crate::system::progress::Progress::new("look for updates");
            host.tools().run(Tool::FreebsdUpdate, &self.arguments(&version.to_string(), "fetch"))
        };
        match fetched {
            Ok(_) => {}
            Err(e) if printed(&e).contains(PAST_ITS_END) => {
                console::note(
                    PROGRAM,
                    &format!(
                        "warning: {} has passed its end of life: these are its last updates",
                        self.state.release
                    ),
                );
            }
            Err(e) => return Err(tool_failure(e)),
        }
        let _progress = crate::system::progress::Progress::new("install updates");
        for _ in 0..INSTALLS {
            if !self.install(host, &version)? {
                break;
            }
            self.state.changed.set(true);
        }
        file::RemoveFile { path: self.conf.clone() }.perform(host, &mut Undo::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_for_a_base() {
        let stock = "KeyPrint 80\nServerName update.FreeBSD.org\nComponents src world kernel\n# Components x\n\
                     BackupKernel yes\nIgnorePaths /boot/x\n";
        assert_eq!(
            conf_for_base(stock),
            "KeyPrint 80\nServerName update.FreeBSD.org\n# Components x\nIgnorePaths /boot/x\n\
             Components world\nBackupKernel no\n\
             IgnorePaths /etc[|] /var[|] /root[|] /tmp[|] /home[|] /usr/local[|]\n"
        );
        assert!(conf_for_base("Components world/base kernel\n").starts_with("Components world/base\n"));
    }
}
