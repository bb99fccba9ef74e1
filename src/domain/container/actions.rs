//! Making and mounting a container, as steps of a plan.

use super::{OWNER_PROPERTY, check_pristine};
use crate::domain::fstab::MountPoint;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::tool::{Tool, ToolError};
use crate::system::zfs::{
    Dataset, DatasetProperties, DestroyDataset, check_mounted, command_line, ensure_mounted, query_one, run,
    words,
};
use crate::types::jail_name::JailName;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// Clones a snapshot as a jail's container, marked as that jail's.
pub struct CloneContainer {
    /// The snapshot.
    pub snapshot: String,
    /// The container.
    pub container: Dataset,
    /// Whose it is.
    pub jail: JailName,
    /// Further properties it gets.
    pub properties: Vec<(String, String)>,
    /// Where it must be mounted afterwards (a real path).
    pub mountpoint: PathBuf,
}

impl CloneContainer {
    fn arguments(&self) -> Vec<String> {
        // Never -p: it succeeds without a word when something else has the name.
        let mut words = vec!["clone".into(), "-o".into(), format!("{OWNER_PROPERTY}={}", self.jail)];
        for (name, value) in &self.properties {
            words.extend(["-o".into(), format!("{name}={value}")]);
        }
        words.extend([self.snapshot.clone(), self.container.to_string()]);
        words
    }

    /// Whether there is a clone as it was to be made.
    fn is_made(&self, host: &Host) -> Result<bool> {
        let found = query_one(host.tools(), self.container.as_str(), &["origin", OWNER_PROPERTY])?;
        let is_of_jail = |found: &DatasetProperties| found.get(OWNER_PROPERTY) == self.jail.as_str();
        Ok(found.is_some_and(|found| found.get("origin") == self.snapshot && is_of_jail(&found)))
    }
}

impl Action for CloneContainer {
    fn shell(&self) -> String {
        command_line(&self.arguments())
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let done = host.tools().run(Tool::Zfs, &self.arguments());
        if done.as_ref().err().is_none_or(ToolError::may_have_made) {
            undo.push(DestroyClone { container: self.container.clone(), snapshot: self.snapshot.clone() });
        }
        // zfs clone exits 0 for a clone that it could not mount.
        let complaint = match done {
            Err(error) if !(error.may_have_made() && self.is_made(host)?) => return Err(error.into()),
            Err(_) => String::new(),
            Ok(printed) => printed.stderr,
        };
        let mounted = match complaint.is_empty() {
            true => ensure_mounted(host, &self.container, &self.mountpoint),
            // zfs(8) has tried, and said why it cannot be.
            false => check_mounted(host, &self.container, &self.mountpoint),
        };
        mounted.with_context(|| {
            if complaint.is_empty() { self.shell() } else { format!("{}: {complaint}", self.shell()) }
        })
    }
}

/// Destroys a container that this run cloned.
struct DestroyClone {
    container: Dataset,
    /// The snapshot it was cloned from, as proof that it is that clone.
    snapshot: String,
}

impl Action for DestroyClone {
    fn shell(&self) -> String {
        command_line(&words(&["destroy", self.container.as_str()]))
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let Some(found) = query_one(host.tools(), self.container.as_str(), &["origin"])? else {
            return Ok(());
        };
        let origin = found.get("origin");
        if origin != self.snapshot {
            bail!("{} is not a clone of {}", self.container, self.snapshot);
        }
        // Without -r: a clone of this run has neither snapshots nor children.
        DestroyDataset { name: self.container.to_string() }.perform(host, undo)
    }
}

/// Mounts a container that a killed run cloned and did not get to mount.
pub struct MountContainer {
    /// The snapshot it is a clone of, and must not differ from.
    pub snapshot: String,
    /// The container.
    pub container: Dataset,
    /// Where it must be mounted afterwards (a real path).
    pub mountpoint: PathBuf,
    /// What that run may have made in it.
    pub mount_points: Vec<MountPoint>,
}

impl Action for MountContainer {
    fn shell(&self) -> String {
        command_line(&words(&["mount", self.container.as_str()]))
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        undo.push(UnmountBack { dataset: self.container.clone() });
        ensure_mounted(host, &self.container, &self.mountpoint)?;
        check_pristine(host, &self.snapshot, &self.container, &self.mountpoint, &self.mount_points)
    }
}

/// Unmounts a file system that this run mounted.
struct UnmountBack {
    dataset: Dataset,
}

impl Action for UnmountBack {
    fn shell(&self) -> String {
        command_line(&words(&["unmount", self.dataset.as_str()]))
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let mounted = |expected: &str| {
            let found = query_one(host.tools(), self.dataset.as_str(), &["mounted"])?;
            Ok(found.is_none_or(|found| found.get("mounted") == expected))
        };
        if mounted("no")? {
            return Ok(());
        }
        run(host, &words(&["unmount", self.dataset.as_str()]), || mounted("no"))
    }
}
