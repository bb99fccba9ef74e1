//! Mount points that are made in a new container.

use crate::formats::shell;
use crate::system::effect;
use crate::system::file::{self, RemoveDirectory, RemoveFile};
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use anyhow::Result;
use std::fs::Metadata;
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
    /// Whether nothing is left to do. A killed run may have made it and not set its
    /// mode or owner.
    pub fn is_done(&self) -> Result<bool> {
        if !is_made(&self.path, self.is_directory)? {
            return Ok(false);
        }
        let (own, parent) = (fs_err::symlink_metadata(&self.path)?, self.parent()?);
        Ok(own.mode() & 0o7777 == self.mode() && owner(&own) == owner(&parent))
    }

    fn mode(&self) -> u32 {
        if self.is_directory { 0o755 } else { 0o644 }
    }

    fn parent(&self) -> Result<Metadata> {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        Ok(fs_err::symlink_metadata(parent)?)
    }
}

fn owner(metadata: &Metadata) -> (u32, u32) {
    (metadata.uid(), metadata.gid())
}

impl Action for MakeMountPoint {
    fn shell(&self) -> String {
        let parent = shell::quote(self.path.parent().unwrap_or(Path::new("/")));
        let owner = |format| format!("$(/usr/bin/stat -f {format} {parent})");
        let what = if self.is_directory { "-d -m 755" } else { "-m 644" };
        let source = if self.is_directory { "" } else { "/dev/null " };
        let path = shell::quote(&self.path);
        format!("/usr/bin/install {what} -o {} -g {} {source}{path}", owner("%u"), owner("%g"))
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        self.make_noting(undo)
    }
}

impl MakeMountPoint {
    /// Makes it, in a tree that is removed as a whole when something fails.
    pub fn make(&self) -> Result<()> {
        self.make_noting(&mut Undo::default())
    }

    fn make_noting(&self, undo: &mut Undo) -> Result<()> {
        // The container may have been mounted only now, with what a killed run made.
        if !is_made(&self.path, self.is_directory)? {
            if self.is_directory {
                effect::create_dir(&self.path, self.mode())?;
                undo.push(RemoveDirectory { path: self.path.clone() });
            } else {
                file::create_empty(&self.path, self.mode())?;
                undo.push(RemoveFile { path: self.path.clone() });
            }
        }
        // The umask applied to the mode.
        effect::chmod(&self.path, self.mode())?;
        let (own, parent) = (fs_err::symlink_metadata(&self.path)?, self.parent()?);
        if owner(&own) != owner(&parent) {
            effect::chown(&self.path, owner(&parent))?;
        }
        Ok(())
    }
}
