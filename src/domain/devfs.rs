//! Rulesets of devfs(8), which decide what devices a jail sees.
//!
//! A ruleset that does not exist hides nothing: mounting a devfs with its
//! number makes it, without a rule (freebsd-src: sys/fs/devfs/devfs_rule.c,
//! devfs_ruleset_use), and the jail has the host's memory and disks.

use crate::formats::jailconf::Resolved;
use crate::system::host::Host;
use crate::system::tool::{Outcome, Tool, ToolError};
use std::io;

/// What jail(8) takes when there is no devfs_ruleset (freebsd-src:
/// usr.sbin/jail/command.c).
const DEFAULT: u32 = 4;

/// The last ruleset that /etc/defaults/devfs.rules of 15.0 defines.
const LAST_OF_BASE: u32 = 5;

/// The ruleset of a jail's devfs; `None` if jail(8) mounts none, or would not
/// take the number.
pub fn ruleset(jail: &Resolved) -> Option<u32> {
    if jail.bool("mount.devfs") != Some(true) {
        return None;
    }
    jail.scalar("devfs_ruleset").map_or(Some(DEFAULT), |text| text.parse().ok())
}

/// Why a ruleset hides nothing, in words; `None` if it has rules.
pub fn problem(host: &Host, ruleset: u32) -> Result<Option<String>, ToolError> {
    if ruleset == 0 {
        return Ok(Some("devfs_ruleset 0 hides nothing".into()));
    }
    if host.tools().are_of_another_system() {
        return Ok(None);
    }
    let ask = |words: &[&str]| host.tools().ask(Tool::Devfs, words);
    let number = ruleset.to_string();
    // Not `show` first: it prints nothing for a ruleset that does not exist.
    let existing = match ask(&["rule", "showsets"]) {
        // A system without devfs(8) is not FreeBSD.
        Err(ToolError { outcome: Outcome::NotStarted(e), .. }) if e.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        printed => printed?.stdout,
    };
    if !existing.split_whitespace().any(|known| known == number) {
        return Ok(Some(format!("devfs_ruleset {number} does not exist")));
    }
    // Mounting a devfs with a wrong number creates the ruleset, without a rule.
    let rules = ask(&["rule", "-s", &number, "show"])?;
    Ok(rules.stdout.trim().is_empty().then(|| format!("devfs_ruleset {number} has no rules")))
}

/// The example of a ruleset that shows bpf(4).
pub const EXAMPLE: &str = "/usr/local/share/examples/thinjail/devfs.rules";

/// The ruleset that the example defines.
const OF_EXAMPLE: u32 = 50;

/// The rulesets that show bpf(4), in ascending order.
pub fn with_bpf(host: &Host) -> Result<Vec<u32>, ToolError> {
    if host.tools().are_of_another_system() {
        return Ok(vec![OF_EXAMPLE]);
    }
    let ask = |words: &[&str]| host.tools().ask(Tool::Devfs, words);
    let existing = ask(&["rule", "showsets"])?.stdout;
    let mut found = Vec::new();
    for number in existing.split_whitespace() {
        let Ok(ruleset) = number.parse::<u32>() else { continue };
        // Those of the base system show none.
        if ruleset > LAST_OF_BASE && shows_bpf(&ask(&["rule", "-s", number, "show"])?.stdout) {
            found.push(ruleset);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether one of the rules is `path 'bpf*' unhide`.
fn shows_bpf(rules: &str) -> bool {
    rules.lines().any(|rule| {
        let words: Vec<&str> = rule.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        words.windows(2).any(|pair| pair[0] == "path" && pair[1].starts_with("bpf"))
            && words.contains(&"unhide")
    })
}

/// How to fix it.
pub fn advice(ruleset: u32) -> String {
    match ruleset {
        0 => "set devfs_ruleset to 5, which is for jails with vnet".into(),
        1..=LAST_OF_BASE => {
            "service devfs restart loads it; devfs_load_rulesets=\"YES\" in rc.conf does at boot".into()
        }
        _ => format!(
            "define {ruleset} in /etc/devfs.rules and run service devfs restart, or set devfs_ruleset to 5"
        ),
    }
}
