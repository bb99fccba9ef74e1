//! The MANIFEST of a release: which sets it has and what they hash to
//! (freebsd-src: release/scripts/make-manifest.sh).

use anyhow::{Result, bail};
use std::collections::HashSet;

/// A set of a release, such as `base.txz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The name of the archive.
    pub name: String,
    /// SHA-256 of the archive.
    pub sha256: [u8; 32],
    /// How many entries the archive has.
    pub entries: u64,
}

/// Reads a MANIFEST: one line a set, TAB-separated fields, of which the first
/// three matter here.
pub fn parse(text: &str) -> Result<Vec<Set>> {
    let mut sets: Vec<Set> = Vec::new();
    let mut names = HashSet::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut fields = line.split('\t');
        let (Some(name), Some(sum), Some(count)) = (fields.next(), fields.next(), fields.next()) else {
            bail!("line {}: fewer than three fields, separated by tabs", number + 1);
        };
        if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
            bail!("line {}: \"{name}\" is not the name of a set", number + 1);
        }
        let Some(sha256) = from_hex(sum) else {
            bail!("line {}: \"{sum}\" is not a SHA-256 checksum in hexadecimal", number + 1);
        };
        let Ok(entries) = count.parse() else {
            bail!("line {}: \"{count}\" is not a number of files", number + 1);
        };
        if !names.insert(name) {
            bail!("line {}: {name} is listed twice", number + 1);
        }
        sets.push(Set { name: name.to_owned(), sha256, entries });
    }
    Ok(sets)
}

/// The set of that name; one that is not listed is an error, never let through.
pub fn find(text: &str, name: &str) -> Result<Set> {
    match parse(text)?.into_iter().find(|s| s.name == name) {
        Some(set) => Ok(set),
        None => bail!("{name} is not listed"),
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let lower = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    if digits.len() != 64 || !digits.iter().all(lower) {
        return None;
    }
    let mut sum = [0; 32];
    for (byte, at) in sum.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(sum)
}

/// A checksum as 64 digits.
pub fn to_hex(sum: &[u8; 32]) -> String {
    sum.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SUM: &str = "70221e26b6caa1ab6c82a0b1dedabf73c7e875fd8f03eada441f03812d947094";

    #[test]
    fn the_recorded_one() {
        let text = format!("base.txz\t{SUM}\t6891\tbase\t\"Base system (MANDATORY)\"\ton\n");
        let set = find(&text, "base.txz").unwrap();
        assert_eq!((set.entries, to_hex(&set.sha256).as_str()), (6891, SUM));
        assert_eq!(find(&text, "src.txz").unwrap_err().to_string(), "src.txz is not listed");
    }

    #[test]
    fn flaws() {
        for (text, expected) in [
            ("base.txz 12 3\n".to_owned(), "line 1: fewer than three fields"),
            (format!("\nbase.txz\t{}\t1\n", SUM.to_uppercase()), "line 2: \"70221E"),
            (format!("base.txz\t{}\t1\n", &SUM[1..]), "line 1: \"0221e"),
            (format!("../x\t{SUM}\t1\n"), "line 1: \"../x\" is not the name of a set"),
            (format!("base.txz\t{SUM}\tmany\n"), "line 1: \"many\" is not a number"),
            (format!("a\t{SUM}\t1\na\t{SUM}\t1\n"), "line 2: a is listed twice"),
        ] {
            let message = parse(&text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message:?}, not {expected:?}");
        }
        assert!(parse("").unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_too_much(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn sums_there_and_back(sum in any::<[u8; 32]>()) {
            prop_assert_eq!(from_hex(&to_hex(&sum)), Some(sum));
        }
    }
}
