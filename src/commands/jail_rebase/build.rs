//! Building the new container, in a place that nothing else uses.

use super::merged::MergedTree;
use super::policy::{DATABASES, DatabaseRule};
use crate::domain::fstab::{self, JailTrees};
use crate::domain::layout::Layout;
use crate::domain::leftovers;
use crate::domain::links::{self, LinkScope};
use crate::formats::shell;
use crate::system::effect;
use crate::system::file;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::progress::Progress;
use crate::system::tool::{Tool, Tools};
use crate::system::tree::{self, threeway};
use crate::types::jail_name::JailName;
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Makes the merged tree of the release's.
pub struct MergeTrees {
    pub ours: PathBuf,
    pub work: PathBuf,
    pub merged: Rc<RefCell<MergedTree>>,
}

impl Action for MergeTrees {
    fn shell(&self) -> String {
        format!("# merge {} into {}", shell::quote(&self.ours), shell::quote(&self.work))
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        let merged = self.merged.borrow();
        let databases = merged.databases(&self.work, &self.ours)?;
        let mut progress = Progress::new(format!("copy what {} has", self.ours.display()));
        tree::apply(merged.found(), &self.ours, &self.work, &mut |entries| progress.report(entries, 0))?;
        tree::apply(&databases, &self.ours, &self.work, &mut |_| ())
    }
}

/// Rebuilds the databases whose texts were merged.
///
/// The programs that do it run on copies of those texts in a directory of the
/// host's own: in the container they would write through whatever links the
/// jail's root left where they put their temporary files.
pub struct BuildDatabases {
    pub jail: JailName,
    pub work: PathBuf,
    pub merged: Rc<RefCell<MergedTree>>,
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The command that makes a database in `directory`.
fn arguments(tool: Tool, directory: &Path, source: &str) -> Vec<OsString> {
    let text = directory.join(base_name(source)).into_os_string();
    match tool {
        Tool::PwdMkdb => vec!["-p".into(), "-d".into(), directory.into(), text],
        Tool::ServicesMkdb => {
            vec!["-q".into(), "-o".into(), directory.join("services.db").into(), text]
        }
        _ => vec![text],
    }
}

impl BuildDatabases {
    fn directory(&self, host: &Host) -> PathBuf {
        private(host, &self.jail)
    }

    fn make(&self, host: &Host, directory: &Path) -> Result<()> {
        for database in &DATABASES {
            let Some(tool) = database.tool else { continue };
            if self.merged.borrow().made(database.source) != DatabaseRule::Rebuilt {
                continue;
            }
            let text =
                threeway::contents(&self.work, Path::new(database.source), crate::formats::diff::LARGEST)?;
            let text = text.with_context(|| format!("{}: does not exist", database.source))?;
            let copy = directory.join(base_name(database.source));
            file::write_private(&copy, &text)?;
            host.tools().run(tool, &arguments(tool, directory, database.source))?;
            for made in database.files {
                let from = directory.join(base_name(made));
                tree::put(&from, &self.work, Path::new(made))?;
            }
        }
        Ok(())
    }
}

impl Action for BuildDatabases {
    fn shell(&self) -> String {
        let directory = Path::new("/var/run").join(name(&self.jail));
        let mut lines = Vec::new();
        for database in &DATABASES {
            if let Some(tool) = database.tool
                && self.merged.borrow().made(database.source) == DatabaseRule::Rebuilt
            {
                lines.push(Tools::line(tool, &arguments(tool, &directory, database.source)));
            }
        }
        lines.join("\n")
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let merged =
            |d: &super::policy::Database| self.merged.borrow().made(d.source) == DatabaseRule::Rebuilt;
        if !DATABASES.iter().any(|d| d.tool.is_some() && merged(d)) {
            return Ok(());
        }
        let directory = self.directory(host);
        // What a killed run left.
        tree::remove(&directory)?;
        make_private(&directory)?;
        let made = self.make(host, &directory);
        let removed = tree::remove(&directory);
        made.and(removed)
    }
}

fn name(jail: &JailName) -> String {
    format!("thinjail-rebase-{jail}")
}

/// A directory that is only the host's root's.
pub fn private(host: &Host, jail: &JailName) -> PathBuf {
    host.root().host_path(&Path::new("/var/run").join(name(jail)))
}

/// Makes such a directory.
pub fn make_private(directory: &Path) -> Result<()> {
    Ok(effect::create_dir(directory, 0o700)?)
}

/// Repairs the links to certificates for the new base.
pub struct RepairCopiedLinks {
    pub base: PathBuf,
    pub work: PathBuf,
}

impl Action for RepairCopiedLinks {
    fn shell(&self) -> String {
        let words = [links::FIXCERTS, "-b"].map(std::ffi::OsStr::new);
        shell::line(words.into_iter().chain([self.base.as_os_str(), self.work.as_os_str()]))
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let (plan, findings) = links::survey(&self.work, &self.base, LinkScope::Certificates)?.into_plan();
        for (path, what) in findings {
            links::warn(super::PROGRAM, &path, &what);
        }
        plan.perform(host, &mut Undo::default())
    }
}

/// Fails if the jail's further mounts would have no place any longer.
pub struct CheckMounts {
    pub layout: Layout,
    pub jail: JailName,
    pub fstab: Vec<u8>,
    pub trees: JailTrees,
}

impl Action for CheckMounts {
    fn shell(&self) -> String {
        String::new()
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let (entries, _) = fstab::parse(&self.fstab);
        fstab::check_targets(host, &self.layout, &self.jail, &self.trees, &entries)
            .with_context(|| self.layout.fstab(&self.jail).display().to_string())
    }
}

/// Has everything stored before it counts.
pub struct StoreOnDisk {
    pub path: PathBuf,
}

impl Action for StoreOnDisk {
    fn shell(&self) -> String {
        "/bin/sync".into()
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        tree::store(&self.path)
    }
}

/// Fails if the jail was started in the meantime without its hooks.
pub struct CheckStopped {
    pub layout: Layout,
    pub jail: JailName,
}

impl Action for CheckStopped {
    fn shell(&self) -> String {
        String::new()
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        if host.kernel()?.running_jail(self.jail.as_str())?.is_some() {
            bail!("jail {} was started in the meantime; its changes since then would be lost", self.jail);
        }
        leftovers::check_unmounted(host, &self.layout, &self.jail)
    }
}
