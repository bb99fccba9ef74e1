//! What a base says of itself: its release and patch level.

use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The version of a userland: `14.5-RELEASE-p3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The release.
    pub release: Release,
    /// The patch level, 0 for a release as it came out.
    pub patch: u32,
}

/// Where a base keeps its version (freebsd-src: bin/freebsd-version).
const SCRIPT: &str = "bin/freebsd-version";

/// More than the script has, in bytes.
const LONGEST: u64 = 1 << 16;

impl FromStr for Version {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Version> {
        let (release, patch) = match text.rsplit_once("-p") {
            Some((release, patch)) if patch.bytes().all(|b| b.is_ascii_digit()) => (
                release,
                patch.parse().ok().with_context(|| format!("version \"{text}\": no such patch level"))?,
            ),
            _ => (text, 0),
        };
        let release = release.parse().with_context(|| format!("version \"{text}\""))?;
        Ok(Version { release, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.release)?;
        if self.patch > 0 {
            write!(f, "-p{}", self.patch)?;
        }
        Ok(())
    }
}

/// The version of the base at `base`, read from its freebsd-version(1), which
/// is not run: it is for this host's kernel perhaps, and perhaps not.
pub fn of_base(base: &Path) -> Result<Version> {
    let script = base.join(SCRIPT);
    let there = crate::system::file::look(&script)?;
    if !there.is_some_and(|m| m.is_file() && m.len() < LONGEST) {
        bail!("{}: not a FreeBSD base: no {SCRIPT}", base.display());
    }
    let text = fs_err::read(&script)?;
    let text = String::from_utf8_lossy(&text);
    let value = text.lines().find_map(|l| l.strip_prefix("USERLAND_VERSION="));
    let value = value.with_context(|| format!("{}: no USERLAND_VERSION", script.display()))?;
    value.trim().trim_matches('"').parse().with_context(|| script.display().to_string())
}

/// `15.0-RELEASE-p3` as major and minor version.
pub fn major_and_minor(osrelease: &str) -> Option<(u32, u32)> {
    let (major, minor) = osrelease.split('-').next()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, release, patch) in [
            ("14.5-RELEASE", "14.5-RELEASE", 0),
            ("15.0-RELEASE-p3", "15.0-RELEASE", 3),
            ("15.0-RC1", "15.0-RC1", 0),
        ] {
            let version: Version = text.parse().unwrap();
            assert_eq!((version.release.as_str(), version.patch), (release, patch));
            assert_eq!(version.to_string(), text);
        }
        for bad in ["", "-p1", "14.5-RELEASE-p", "14.5-RELEASE-p99999999999", "latest"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_base_tells() {
        let dir = tempfile::tempdir().unwrap();
        assert!(of_base(dir.path()).is_err());
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        let script = "#!/bin/sh\n#\nset -e\nUSERLAND_VERSION=\"15.0-RELEASE-p1\"\n";
        std::fs::write(dir.path().join(SCRIPT), script).unwrap();
        assert_eq!(of_base(dir.path()).unwrap().to_string(), "15.0-RELEASE-p1");
    }

    #[test]
    fn versions_of_kernels() {
        assert_eq!(major_and_minor("15.0-RELEASE-p3"), Some((15, 0)));
        assert_eq!(major_and_minor("14.5-STABLE"), Some((14, 5)));
        assert_eq!(major_and_minor("x"), None);
    }
}
