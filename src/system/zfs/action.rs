//! Changes through zfs(8).
//!
//! zfs(8) can have done its work and report failure, when a signal ends it
//! behind the ioctl or a dataset cannot be mounted again, and it exits 0 for a
//! rename or a clone that it could not mount (freebsd-src:
//! sys/contrib/openzfs/lib/libzfs/libzfs_changelist.c, changelist_postfix). So
//! no exit status counts alone: after a failure ZFS is asked whether it was
//! done, and what takes something back first looks whether there is anything to
//! take back.

use super::query::{Property, query_one};
use super::{check_mounted, exists};
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::tool::{Tool, ToolError, Tools};
use crate::system::zfs::Dataset;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Runs zfs(8). An error of a program that may have done its work is passed
/// over when `done` says that it has.
pub fn run(host: &Host, arguments: &[String], done: impl Fn() -> Result<bool>) -> Result<()> {
    let Err(error) = host.tools().run(Tool::Zfs, arguments) else { return Ok(()) };
    if error.may_have_made() && done().unwrap_or(false) {
        return Ok(());
    }
    let busy = error.says("pool or dataset is busy");
    let error = anyhow::Error::new(error);
    Err(if busy { error.context("in use by a process (fstat -f shows which)") } else { error })
}

/// Owned arguments.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The command line of zfs(8), for people.
pub fn command_line(arguments: &[String]) -> String {
    Tools::line(Tool::Zfs, arguments)
}

/// The single value of a property, empty if it is not set.
fn value(host: &Host, name: &str, property: &str) -> Result<Option<String>> {
    Ok(query_one(host.tools(), name, &[property])?.map(|found| found.get(property).to_owned()))
}

/// Mounts a dataset that ought to be mounted and is not, and fails unless it is
/// then where the layout has it.
pub fn ensure_mounted(host: &Host, dataset: &Dataset, mountpoint: &Path) -> Result<()> {
    if check_mounted(host, dataset, mountpoint).is_ok() {
        return Ok(());
    }
    if value(host, dataset.as_str(), "mounted")?.as_deref() == Some("no") {
        let mount = words(&["mount", dataset.as_str()]);
        run(host, &mount, || Ok(value(host, dataset.as_str(), "mounted")?.as_deref() == Some("yes")))?;
    }
    check_mounted(host, dataset, mountpoint)
}

/// Renames a file system.
pub struct RenameDataset {
    /// Its name.
    pub from: Dataset,
    /// Where it is mounted under that name (a real path); `None` if it is not.
    pub from_mountpoint: Option<PathBuf>,
    /// Its new name.
    pub to: Dataset,
    /// Where it must be mounted afterwards (a real path); `None` if that does
    /// not matter.
    pub to_mountpoint: Option<PathBuf>,
}

impl RenameDataset {
    fn arguments(&self) -> Vec<String> {
        words(&["rename", self.from.as_str(), self.to.as_str()])
    }

    /// Whether it has its new name, and that one alone.
    fn is_done(&self, host: &Host) -> Result<bool> {
        Ok(!exists(host.tools(), self.from.as_str())? && exists(host.tools(), self.to.as_str())?)
    }

    fn ensure_mounted(&self, host: &Host) -> Result<()> {
        let Some(mountpoint) = &self.to_mountpoint else { return Ok(()) };
        ensure_mounted(host, &self.to, mountpoint).with_context(|| self.shell())
    }

    fn reversed(&self) -> RenameDataset {
        RenameDataset {
            from: self.to.clone(),
            from_mountpoint: self.to_mountpoint.clone(),
            to: self.from.clone(),
            to_mountpoint: self.from_mountpoint.clone(),
        }
    }
}

impl Action for RenameDataset {
    fn shell(&self) -> String {
        command_line(&self.arguments())
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        // Before anything is known of how it ended: the undo looks itself.
        undo.push(RenameBack(self.reversed()));
        run(host, &self.arguments(), || self.is_done(host))?;
        self.ensure_mounted(host)
    }
}

/// Gives a file system its former name back, if it has lost it.
struct RenameBack(RenameDataset);

impl Action for RenameBack {
    fn shell(&self) -> String {
        self.0.shell()
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let rename = &self.0;
        let has_former_name = exists(host.tools(), rename.to.as_str())?;
        if !has_former_name {
            run(host, &rename.arguments(), || rename.is_done(host))?;
        }
        rename.ensure_mounted(host)
    }
}

/// Destroys a file system or a snapshot, by its full name. Never with -r: what
/// else goes with it is not known to be the jail's.
pub struct DestroyDataset {
    /// Its name.
    pub name: String,
}

impl Action for DestroyDataset {
    fn shell(&self) -> String {
        command_line(&words(&["destroy", &self.name]))
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        run(host, &words(&["destroy", &self.name]), || Ok(!exists(host.tools(), &self.name)?))
    }
}

/// Takes snapshots, by their full names, all in one transaction group.
pub struct TakeSnapshots {
    names: Vec<String>,
}

impl TakeSnapshots {
    /// One.
    pub fn one(name: String) -> TakeSnapshots {
        TakeSnapshots { names: vec![name] }
    }

    /// Two, or none.
    pub fn both(names: [String; 2]) -> TakeSnapshots {
        TakeSnapshots { names: names.into() }
    }

    /// The arguments of zfs(8).
    pub fn arguments(&self) -> Vec<String> {
        std::iter::once("snapshot".to_owned()).chain(self.names.iter().cloned()).collect()
    }

    /// Takes them; the caller takes them back.
    pub fn take(&self, host: &Host) -> Result<()> {
        let taken = || {
            let mut each = self.names.iter().map(|name| exists(host.tools(), name));
            each.try_fold(true, |all, one| Ok(all && one?))
        };
        run(host, &self.arguments(), taken)
    }
}

impl Action for TakeSnapshots {
    fn shell(&self) -> String {
        command_line(&self.arguments())
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        self.take(host)?;
        for name in &self.names {
            undo.push(DestroyIfPresent { name: name.clone() });
        }
        Ok(())
    }
}

/// Destroys a file system or a snapshot that a run of the suite made, if it is
/// there.
pub struct DestroyIfPresent {
    /// Its full name.
    pub name: String,
}

impl Action for DestroyIfPresent {
    fn shell(&self) -> String {
        command_line(&words(&["destroy", &self.name]))
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        match exists(host.tools(), &self.name)? {
            true => DestroyDataset { name: self.name.clone() }.perform(host, undo),
            false => Ok(()),
        }
    }
}

/// Sets a property of a dataset.
pub struct SetProperty {
    /// The dataset.
    pub dataset: Dataset,
    /// The property.
    pub property: String,
    /// Its value.
    pub value: String,
}

impl SetProperty {
    fn arguments(&self) -> Vec<String> {
        words(&["set", &format!("{}={}", self.property, self.value), self.dataset.as_str()])
    }

    fn current(&self, host: &Host) -> Result<Property> {
        let found = query_one(host.tools(), self.dataset.as_str(), &[&self.property])?;
        let property = found.as_ref().and_then(|found| found.all().first().cloned());
        property.with_context(|| format!("{}: dataset does not exist", self.dataset))
    }
}

impl Action for SetProperty {
    fn shell(&self) -> String {
        command_line(&self.arguments())
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let former = self.current(host)?;
        let back = match former.source.as_str() {
            "local" => words(&["set", &format!("{}={}", self.property, former.value), self.dataset.as_str()]),
            "received" => words(&["inherit", "-S", &self.property, self.dataset.as_str()]),
            _ => words(&["inherit", &self.property, self.dataset.as_str()]),
        };
        undo.push(RestoreProperty { set: SetProperty { ..self.clone() }, former, arguments: back });
        let is_set = || {
            let now = self.current(host)?;
            Ok(now.value == self.value && now.source == "local")
        };
        run(host, &self.arguments(), is_set)
    }
}

impl std::clone::Clone for SetProperty {
    fn clone(&self) -> SetProperty {
        SetProperty {
            dataset: self.dataset.clone(),
            property: self.property.clone(),
            value: self.value.clone(),
        }
    }
}

/// Gives a property its former value, from where it came.
struct RestoreProperty {
    set: SetProperty,
    former: Property,
    arguments: Vec<String>,
}

impl RestoreProperty {
    fn is_done(&self, host: &Host) -> Result<bool> {
        let now = self.set.current(host)?;
        Ok(now.value == self.former.value && now.is_own() == self.former.is_own())
    }
}

impl Action for RestoreProperty {
    fn shell(&self) -> String {
        command_line(&self.arguments)
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        if self.is_done(host)? {
            return Ok(());
        }
        run(host, &self.arguments, || self.is_done(host))
    }
}

/// Unmounts a file system.
pub struct UnmountDataset {
    /// The dataset.
    pub dataset: Dataset,
    /// Where it is mounted (a real path).
    pub mountpoint: PathBuf,
}

impl Action for UnmountDataset {
    fn shell(&self) -> String {
        command_line(&words(&["unmount", self.dataset.as_str()]))
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let unmounted = || Ok(value(host, self.dataset.as_str(), "mounted")?.as_deref() == Some("no"));
        undo.push(MountBack { dataset: self.dataset.clone(), mountpoint: self.mountpoint.clone() });
        run(host, &words(&["unmount", self.dataset.as_str()]), unmounted)
    }
}

/// Mounts a file system that this run unmounted.
struct MountBack {
    dataset: Dataset,
    mountpoint: PathBuf,
}

impl Action for MountBack {
    fn shell(&self) -> String {
        command_line(&words(&["mount", self.dataset.as_str()]))
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        ensure_mounted(host, &self.dataset, &self.mountpoint)
    }
}

/// The arguments that create a dataset.
pub fn create_arguments(dataset: &str, properties: &[(String, String)]) -> Vec<String> {
    let mut words = vec!["create".to_owned()];
    for (name, value) in properties {
        words.extend(["-o".to_owned(), format!("{name}={value}")]);
    }
    words.push(dataset.to_owned());
    words
}

/// Creates a file system.
pub struct CreateDataset {
    /// Its name.
    pub dataset: Dataset,
    /// Properties it gets.
    pub properties: Vec<(String, String)>,
    /// Where it must be mounted afterwards (a real path).
    pub mountpoint: PathBuf,
}

impl Action for CreateDataset {
    fn shell(&self) -> String {
        command_line(&create_arguments(self.dataset.as_str(), &self.properties))
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let done = host.tools().run(Tool::Zfs, &create_arguments(self.dataset.as_str(), &self.properties));
        // It fails when it made the dataset and could not mount it.
        if done.as_ref().err().is_none_or(ToolError::may_have_made) {
            // It may have been renamed since, and then it is what the run was for.
            undo.push(DestroyIfPresent { name: self.dataset.to_string() });
        }
        match done {
            Err(error) if !(error.may_have_made() && exists(host.tools(), self.dataset.as_str())?) => {
                Err(error.into())
            }
            // Why it could not be mounted is known by now; that it is not counts.
            Err(error) => ensure_mounted(host, &self.dataset, &self.mountpoint).map_err(|_| error.into()),
            Ok(_) => ensure_mounted(host, &self.dataset, &self.mountpoint),
        }
    }
}

/// Rolls a file system back to the snapshot of that name, its latest.
pub fn roll_back(host: &Host, dataset: &Dataset, name: &str) -> Result<()> {
    let arguments = words(&["rollback", &dataset.snapshot(name)]);
    run(host, &arguments, || Ok(differences(host, dataset, name)?.is_empty()))
}

/// What is different from the snapshot of that name, as zfs-diff(8) has it.
pub fn differences(host: &Host, dataset: &Dataset, name: &str) -> Result<Vec<String>> {
    let printed = host.tools().ask(Tool::Zfs, &differences_arguments(dataset, name))?;
    Ok(printed.stdout.lines().map(str::to_owned).collect())
}

/// The command for [`differences`].
pub fn differences_arguments(dataset: &Dataset, name: &str) -> [String; 5] {
    ["diff".into(), "-H".into(), "-F".into(), dataset.snapshot(name), dataset.to_string()]
}
