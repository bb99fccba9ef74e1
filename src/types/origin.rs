//! The name of a skeleton as it once was.

use crate::types::release::Release;
use anyhow::{Result, bail};
use std::fmt;
use std::str::FromStr;

/// A skeleton as it once was: the name of a snapshot without its dataset, or of
/// a copy without its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The release.
    pub release: Release,
    /// The part behind the `@`.
    pub snapshot: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-skeleton@{}", self.release, self.snapshot)
    }
}

impl FromStr for Origin {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Origin> {
        let parts = text.split_once('@').and_then(|(skeleton, name)| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
            let sound = !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain);
            Some((skeleton.strip_suffix("-skeleton")?.parse().ok()?, name)).filter(|_| sound)
        });
        let Some((release, name)) = parts else { bail!("\"{text}\" does not name a skeleton") };
        Ok(Origin { release, snapshot: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["14.5-RELEASE-skeleton@base", "15.0-RC1-skeleton@p3.1"] {
            assert_eq!(good.parse::<Origin>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "base",
            "14.5-RELEASE@base",
            "14.5-RELEASE-skeleton@",
            "x-skeleton@base",
            "14.5-RELEASE-skeleton@../x",
            "14.5-RELEASE-skeleton@a/b",
            "../14.5-RELEASE-skeleton@base",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad:?}");
        }
    }
}
