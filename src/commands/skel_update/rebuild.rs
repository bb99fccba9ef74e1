//! What is made from files that an update brings: links, databases, certificates.

use super::{PROGRAM, State};
use crate::domain::links::RepairLinks;
use crate::formats::shell;
use crate::system::effect;
use crate::system::file;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::tool::{Tool, Tools};
use anyhow::Result;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A step that is only needed when the update changed something.
pub(super) struct IfChanged {
    pub(super) state: Rc<State>,
    pub(super) step: Box<dyn Action>,
}

impl Action for IfChanged {
    fn shell(&self) -> String {
        self.step.shell()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        if self.state.changed.get() { self.step.perform(host, undo) } else { Ok(()) }
    }
}

/// A program that rebuilds something; its effect goes with the whole update.
pub(super) struct RebuildDatabases {
    tool: Tool,
    arguments: Vec<OsString>,
}

impl Action for RebuildDatabases {
    fn shell(&self) -> String {
        Tools::line(self.tool, &self.arguments)
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        host.tools().run(self.tool, &self.arguments)?;
        Ok(())
    }
}

/// What has to follow an update, in this order: certificates are hashed again
/// first, because certctl(8) of 13 and 14 makes links, which are then repaired.
pub(super) fn rebuild_steps(host: &Host, state: &Rc<State>) -> Result<Vec<Box<dyn Action>>> {
    let mut steps: Vec<Box<dyn Action>> = Vec::new();
    let base = &state.base;
    let certctl = base.join("usr/sbin/certctl");
    if file::look(&certctl)?.is_some() {
        let rehash = ["-D".into(), base.clone().into_os_string(), "rehash".into()];
        // One that is a script is the base's own: it makes links, as jails on
        // that base expect them. From 15 on it is a program, for its own kernel.
        let (tool, mut arguments) = if is_script(&certctl)? {
            (Tool::Sh, vec![certctl.into_os_string()])
        } else {
            (Tool::Certctl, vec![])
        };
        arguments.extend(rehash);
        if tool == Tool::Sh || host.tools().program(tool).exists() {
            steps.push(Box::new(RebuildDatabases { tool, arguments }));
        }
    }
    steps.push(Box::new(RepairLinks {
        program: PROGRAM,
        base: base.clone(),
        skeleton: state.skeleton.clone(),
    }));
    let etc = |name: &str| base.join("etc").join(name).into_os_string();
    let databases: [(&str, Tool, Vec<OsString>); 3] = [
        (
            "etc/master.passwd",
            Tool::PwdMkdb,
            vec!["-d".into(), base.join("etc").into(), "-p".into(), etc("master.passwd")],
        ),
        ("etc/login.conf", Tool::CapMkdb, vec![etc("login.conf")]),
        (
            "etc/services",
            Tool::ServicesMkdb,
            vec!["-q".into(), "-o".into(), base.join("var/db/services.db").into(), etc("services")],
        ),
    ];
    for (source, tool, arguments) in databases {
        if file::look(&state.skeleton.join(source))?.is_some() {
            steps.push(Box::new(RebuildDatabases { tool, arguments }));
        }
    }
    Ok(steps)
}

/// Removes the copies of certificates that certctl(8) of 15 made in a base of
/// 13 or 14, whose own makes links: freebsd-update(8) runs the host's. Jails on
/// that base would keep them, a bundle among them, when they are out of date.
pub(super) struct RemoveCopies {
    base: PathBuf,
    skeleton: PathBuf,
    /// Those that existed before.
    before: Vec<PathBuf>,
}

impl RemoveCopies {
    pub(super) fn new(state: &State) -> Result<RemoveCopies> {
        let before = certificate_files(&state.skeleton)?;
        Ok(RemoveCopies { base: state.base.clone(), skeleton: state.skeleton.clone(), before })
    }
}

/// Regular files where certctl(8) puts certificates.
pub(super) fn certificate_files(skeleton: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let ssl = skeleton.join("etc/ssl");
    for directory in ["certs", "untrusted", "blacklisted"] {
        let directory = ssl.join(directory);
        if !file::look(&directory)?.is_some_and(|m| m.is_dir()) {
            continue;
        }
        for entry in fs_err::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
    }
    let bundle = ssl.join("cert.pem");
    if file::look(&bundle)?.is_some_and(|m| m.is_file()) {
        files.push(bundle);
    }
    Ok(files)
}

impl Action for RemoveCopies {
    fn shell(&self) -> String {
        let ssl = shell::quote(self.skeleton.join("etc/ssl"));
        let certificates = "\\( -name '*.[0-9]' -o -name cert.pem \\)";
        // What the update brought: its freebsd-version(1) came just before.
        let version = shell::quote(self.base.join("bin/freebsd-version"));
        format!("/usr/bin/find {ssl} -type f {certificates} -newer {version} -delete")
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        for file in certificate_files(&self.skeleton)?.iter().filter(|f| !self.before.contains(f)) {
            effect::remove_file(file)?;
        }
        Ok(())
    }
}

pub(super) fn is_script(path: &Path) -> Result<bool> {
    use std::io::Read;
    let mut start = Vec::new();
    if file::look(path)?.is_none() {
        return Ok(false);
    }
    fs_err::File::open(path)?.take(2).read_to_end(&mut start)?;
    Ok(start == b"#!")
}
