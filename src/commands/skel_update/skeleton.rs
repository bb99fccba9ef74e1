//! The skeleton, mounted where the links of the base lead.

use super::State;
use crate::system::host::Host;
use crate::system::kernel::Mount;
use crate::system::plan::{Action, Undo};
use crate::system::tool::{Tool, Tools};
use anyhow::{Result, bail};
use std::ffi::OsString;
use std::rc::Rc;

pub(super) fn is_our_mount(state: &State, mount: &Mount) -> bool {
    mount.on == state.point() && mount.from == state.skeleton && mount.kind == "nullfs"
}

/// Mounts the skeleton where the links of the base lead.
pub(super) struct MountSkeleton(pub(super) Rc<State>);

impl MountSkeleton {
    fn arguments(&self) -> [OsString; 4] {
        ["-t".into(), "nullfs".into(), self.0.skeleton.clone().into(), self.0.point().into()]
    }
}

impl Action for MountSkeleton {
    fn shell(&self) -> String {
        Tools::line(Tool::Mount, &self.arguments())
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        host.tools().run(Tool::Mount, &self.arguments())?;
        undo.push(UnmountSkeleton(self.0.clone()));
        // Without it freebsd-update(8) takes all of etc for missing, and says nothing.
        if !host.kernel()?.mounts()?.iter().any(|m| is_our_mount(&self.0, m)) {
            bail!("{} is not mounted although mount(8) did not fail", self.0.point().display());
        }
        Ok(())
    }
}

/// Unmounts it again, by force if something clings to it.
pub(super) struct UnmountSkeleton(pub(super) Rc<State>);

impl Action for UnmountSkeleton {
    fn shell(&self) -> String {
        Tools::line(Tool::Umount, &[self.0.point()])
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        // The latest first: they may be stacked.
        for mount in host.kernel()?.mounts()?.iter().rev().filter(|m| is_our_mount(&self.0, m)) {
            let kernel = host.kernel()?;
            let gone = || Ok(!kernel.mounts()?.iter().any(|m| m.fsid == mount.fsid));
            let failed = |_| if gone()? { Ok(()) } else { kernel.unmount(mount, true) };
            kernel.unmount(mount, false).or_else(failed)?;
        }
        Ok(())
    }
}
