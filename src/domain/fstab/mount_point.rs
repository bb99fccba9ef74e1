//! Mount points that are made in a new container.

use crate::formats::shell;
use crate::system::effect;
use crate::system::file::{self, RemoveDirectory, RemoveFile};
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use anyhow::Result;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A mount point that does not exist in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// The target of the mount, as it was given.
    pub target: PathBuf,
    /// The mount point, or a parent of it, below the container.
    pub path: PathBuf,
    /// Whether it is a directory; otherwise it is an empty file.
    pub is_directory: bool,
}

impl MountPoint {
    /// Whether it is in the container as [`MakeMountPoint`] makes it.
    pub fn is_made(&self, container: &Path) -> Result<bool> {
        is_made(&container.join(&self.path), self.is_directory)
    }
}

fn is_made(path: &Path, is_directory: bool) -> Result<bool> {
    Ok(match file::look(path)? {
        Some(found) if is_directory => found.is_dir(),
        Some(found) => found.is_file() && found.len() == 0,
        None => false,
    })
}

/// Makes a mount point, with the owner of its parent.
pub struct MakeMountPoint {
    /// Where.
    pub path: PathBuf,
    /// Whether it is a directory; otherwise it is an empty file.
    pub is_directory: bool,
}

impl MakeMountPoint {
    fn mode(&self) -> u32 {
        if self.is_directory { 0o755 } else { 0o644 }
    }

    fn parent(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

impl Action for MakeMountPoint {
    fn shell(&self) -> String {
        let make = if self.is_directory {
            shell::line(["/bin/mkdir".as_ref(), "-m".as_ref(), "755".as_ref(), self.path.as_os_str()])
        } else {
            let line = ["/usr/bin/install", "-m", "644", "/dev/null"].map(AsRef::as_ref);
            shell::line(line.into_iter().chain([self.path.as_os_str()]))
        };
        let owner = format!("$(/usr/bin/stat -f %u:%g {})", shell::quote(self.parent()));
        format!("{make}\n/usr/sbin/chown {owner} {}", shell::quote(&self.path))
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        let parent = fs_err::symlink_metadata(self.parent())?;
        // A killed run made it in a container that was not mounted yet.
        if is_made(&self.path, self.is_directory)? {
            return Ok(());
        }
        if self.is_directory {
            effect::create_dir(&self.path, self.mode())?;
            undo.push(RemoveDirectory { path: self.path.clone() });
        } else {
            file::create_empty(&self.path, self.mode())?;
            undo.push(RemoveFile { path: self.path.clone() });
        }
        // Whatever the umask.
        effect::chmod(&self.path, self.mode())?;
        let own = fs_err::symlink_metadata(&self.path)?;
        if (own.uid(), own.gid()) != (parent.uid(), parent.gid()) {
            effect::chown(&self.path, (parent.uid(), parent.gid()))?;
        }
        Ok(())
    }
}
