//! The alternate root of `-R`: every path of the suite lies below it.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The directory that plays the part of `/`. `/` itself when there is no `-R`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The system's own root.
    pub fn system() -> Root {
        Root(PathBuf::from("/"))
    }

    /// An alternate root; it must exist. Links in its own name are resolved
    /// once, here, so that paths below it compare with what the kernel reports.
    pub fn alternate(directory: &Path) -> Result<Root> {
        let real =
            directory.canonicalize().with_context(|| format!("alternate root: {}", directory.display()))?;
        if !real.is_dir() {
            bail!("alternate root: {}: not a directory", real.display());
        }
        Ok(Root(real))
    }

    /// True when there is an alternate root.
    pub fn is_alternate(&self) -> bool {
        self.0 != Path::new("/")
    }

    /// The root's own path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the path `path` of the suite really lies.
    pub fn host_path(&self, path: &Path) -> PathBuf {
        if !self.is_alternate() {
            return path.to_owned();
        }
        let bytes = path.as_os_str().as_bytes();
        let skip = bytes.iter().take_while(|b| **b == b'/').count();
        self.0.join(OsStr::from_bytes(&bytes[skip..]))
    }

    /// Where a path that was given on the command line lies: below the root if
    /// it is absolute, else where the caller is.
    pub fn resolve_argument(&self, path: &Path) -> PathBuf {
        if path.is_absolute() { self.host_path(path) } else { path.to_owned() }
    }

    /// The suite's path of what really lies at `real`, if that is below the root.
    pub fn strip(&self, real: &Path) -> Option<PathBuf> {
        real.strip_prefix(&self.0).ok().map(|p| Path::new("/").join(p))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let root = Root(PathBuf::from("/tmp/r"));
        assert_eq!(root.host_path(Path::new("/etc/jail.conf")), Path::new("/tmp/r/etc/jail.conf"));
        assert_eq!(root.host_path(Path::new("//etc")), Path::new("/tmp/r/etc"));
        assert_eq!(root.strip(Path::new("/tmp/r/etc")).unwrap(), Path::new("/etc"));
        assert_eq!(root.strip(Path::new("/tmp/rx")), None);
        assert_eq!(Root::system().host_path(Path::new("/etc")), Path::new("/etc"));
        assert_eq!(Root::system().strip(Path::new("/etc")).unwrap(), Path::new("/etc"));
    }
}
