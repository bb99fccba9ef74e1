//! The name of a jail, as thinjail accepts it.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A jail name that means the same to jail(8), rc.conf(5), ZFS and the file
/// system: letters, digits, `_` and `-`, not all digits, no leading dash.
///
/// Narrower than what the kernel takes on purpose: a dot would make a child
/// jail (`jail(8)`, "Hierarchical Jails"), digits alone would be a jid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JailName(String);

/// Longest jail name in bytes: `NAME-nullfs-base.fstab` and the temporary file
/// next to it must fit into NAME_MAX (255).
pub const NAME_MAX: usize = 255 - "-nullfs-base.fstab".len() - crate::types::sibling_name::TEMPORARY_OVERHEAD;

/// Why a string is no [`JailName`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadName(&'static str);

impl JailName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The interface description that marks an epair as this jail's.
    pub fn tag(&self) -> String {
        format!("{TAG}{}", self.0)
    }

    /// The jail that an interface description names, if thinjail set it.
    pub fn from_tag(description: &str) -> Option<JailName> {
        description.strip_prefix(TAG)?.parse().ok()
    }
}

const TAG: &str = "jail:";

impl FromStr for JailName {
    type Err = BadName;

    fn from_str(s: &str) -> Result<Self, BadName> {
        let bad = |why| Err(BadName(why));
        if s.is_empty() {
            return bad("a jail name cannot be empty");
        }
        if s.len() > NAME_MAX {
            return bad("a jail name is at most 227 bytes long");
        }
        if s.starts_with('-') {
            return bad("a jail name cannot start with a dash");
        }
        if s == "." || s == ".." {
            return bad("a jail name cannot be . or ..");
        }
        if s.contains('.') {
            return bad("a dot in a jail name makes a child jail (a.b runs inside a); use - or _");
        }
        if !s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return bad("a jail name is made of letters A-Z a-z, digits, _ and -");
        }
        if s.bytes().all(|b| b.is_ascii_digit()) {
            return bad("a jail name of only digits is a jid to jail(8)");
        }
        Ok(JailName(s.to_owned()))
    }
}

impl fmt::Display for JailName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["web", "pg-1", "_x", "1a", "A", &"n".repeat(NAME_MAX)] {
            assert_eq!(good.parse::<JailName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a.b",
            "123",
            "-web",
            "a b",
            "a\tb",
            "a\x01",
            "caf\u{e9}",
            "a*",
            &"n".repeat(NAME_MAX + 1),
            &"n".repeat(256),
        ] {
            assert!(bad.parse::<JailName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn limit_in_the_message_is_the_limit() {
        let text = "n".repeat(NAME_MAX + 1).parse::<JailName>().unwrap_err().to_string();
        assert!(text.contains(&format!("{NAME_MAX} bytes")), "{text}");
    }

    #[test]
    fn tags() {
        let web: JailName = "web".parse().unwrap();
        assert_eq!(web.tag(), "jail:web");
        assert_eq!(JailName::from_tag("jail:web"), Some(web));
        for foreign in ["jail:", "jail:a.b", "web", "uplink", "jail: web"] {
            assert_eq!(JailName::from_tag(foreign), None, "{foreign:?}");
        }
    }
}
