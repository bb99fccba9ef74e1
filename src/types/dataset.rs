//! The name of a ZFS dataset.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The name of a file system dataset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dataset(String);

/// Why a string names no dataset.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "a dataset is named like zdata/jails: letters, digits, - _ . : in parts joined by /, below 256 bytes"
)]
pub struct BadDataset;

impl Dataset {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The dataset `name` below this one.
    pub fn child(&self, name: &str) -> Result<Dataset, BadDataset> {
        format!("{}/{name}", self.0).parse()
    }

    /// The snapshot `name` of this dataset.
    pub fn snapshot(&self, name: &str) -> String {
        format!("{}@{name}", self.0)
    }
}

impl FromStr for Dataset {
    type Err = BadDataset;

    /// freebsd-src: sys/contrib/openzfs/module/zcommon/zfs_namecheck.c, less
    /// the blank that it allows.
    fn from_str(s: &str) -> Result<Self, BadDataset> {
        let part_ok = |part: &str| {
            let word = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(word)
        };
        let ok = s.len() < 256 && s.split('/').all(part_ok) && s.as_bytes()[0].is_ascii_alphabetic();
        if ok { Ok(Dataset(s.to_owned())) } else { Err(BadDataset) }
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["zdata", "zdata/jails", "z/a-b_c.d:e", &format!("z/{}", "a".repeat(253))] {
            assert_eq!(good.parse::<Dataset>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/zdata",
            "zdata/",
            "zdata//j",
            "zdata/../x",
            "zdata@s",
            "z#b",
            "z a",
            "-z",
            "1z",
            "z/%x",
            &"a".repeat(256),
        ] {
            assert!(bad.parse::<Dataset>().is_err(), "{bad:?}");
        }
        let z: Dataset = "zdata".parse().unwrap();
        assert!(z.child("a/b").is_ok());
        assert!(z.child("").is_err());
    }
}
