//! FreeBSD releases as templates are named after them.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A release such as `14.5-RELEASE` or `15.0-RC1`. `14.5` names `14.5-RELEASE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release(String);

/// Why a string is no release.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a release is written like 15.1, 15.1-RELEASE, 15.1-BETA2 or 15.1-RC1")]
pub struct BadRelease;

impl Release {
    /// The full name: `14.5-RELEASE`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As people write it: `14.5`, and the full name of what is no release.
    pub fn version_text(&self) -> String {
        self.0.strip_suffix("-RELEASE").unwrap_or(&self.0).to_owned()
    }

    /// Whether the mirrors have it among the snapshots instead of the releases
    /// (freebsd-src: usr.sbin/bsdinstall/scripts/mirrorselect).
    pub fn is_snapshot(&self) -> bool {
        ["ALPHA", "CURRENT", "STABLE", "PRERELEASE"].iter().any(|w| self.0.contains(w))
    }

    /// Major and minor version: `(14, 5)`.
    pub fn version(&self) -> (u32, u32) {
        parse(&self.0).map_or((0, 0), |(major, minor, _)| (major, minor))
    }
}

fn parse(s: &str) -> Option<(u32, u32, &str)> {
    let number = |t: &str| {
        let n: u32 = t.parse().ok()?;
        (t.len() <= 3 && n.to_string() == t).then_some(n)
    };
    let (version, branch) = s.split_once('-').unwrap_or((s, "RELEASE"));
    let (major, minor) = version.split_once('.')?;
    Some((number(major)?, number(minor)?, branch))
}

impl FromStr for Release {
    type Err = BadRelease;

    fn from_str(s: &str) -> Result<Self, BadRelease> {
        let (major, minor, branch) = parse(s).ok_or(BadRelease)?;
        let numbered = |word: &str| {
            branch.strip_prefix(word).is_some_and(|n| {
                !n.is_empty() && n.len() <= 2 && !n.starts_with('0') && n.bytes().all(|b| b.is_ascii_digit())
            })
        };
        let known = matches!(branch, "RELEASE" | "STABLE" | "CURRENT" | "PRERELEASE")
            || ["RC", "BETA", "ALPHA"].iter().any(|w| numbered(w));
        if !known || major == 0 {
            return Err(BadRelease);
        }
        Ok(Release(format!("{major}.{minor}-{branch}")))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        for (text, full) in [
            ("14.5", "14.5-RELEASE"),
            ("14.5-RELEASE", "14.5-RELEASE"),
            ("15.0-RC1", "15.0-RC1"),
            ("15.0-BETA2", "15.0-BETA2"),
            ("15.0-STABLE", "15.0-STABLE"),
        ] {
            assert_eq!(text.parse::<Release>().unwrap().as_str(), full);
        }
        assert_eq!("14.5".parse::<Release>().unwrap().version(), (14, 5));
        for bad in [
            "",
            "14",
            "14.5-",
            "14.5-release",
            "14.5-RELEASE-p1",
            "14.5/x",
            "../14.5",
            "14.02",
            "15.0-RC",
            "15.0-RC01",
            "0.1",
            "14.5 ",
        ] {
            assert!(bad.parse::<Release>().is_err(), "{bad:?}");
        }
    }
}
