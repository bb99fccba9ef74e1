//! devfs(8): the rulesets of the recorded host.
//!
//! `ROOT/var/db/standin/devfs.rules` adds to them: `N` makes ruleset N, without a rule, and `N RULE` adds a rule to it;
//! `-N` takes it away, as if it had not been loaded.
//! A ruleset that a devfs is mounted with exists from then on, without a rule, as devfs_ruleset_use() makes it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::Reply;
use crate::host::Host;
use crate::simulated::{kernel, noted};

/// The rules that /etc/defaults/devfs.rules gives to rulesets 1 to 5.
const DEFAULTS: &[(u16, &[&str])] = &[
    (1, &["hide"]),
    (
        2,
        &[
            "path null unhide",
            "path zero unhide",
            "path crypto unhide",
            "path random unhide",
            "path urandom unhide",
        ],
    ),
    (
        3,
        &[
            "path 'ptyp*' unhide",
            "path 'ptyq*' unhide",
            "path ptmx unhide",
            "path pts unhide",
            "path 'pts/*' unhide",
            "path fd unhide",
            "path 'fd/*' unhide",
            "path stdin unhide",
            "path stdout unhide",
            "path stderr unhide",
        ],
    ),
    (4, &["include 1", "include 2", "include 3", "path fuse unhide", "path zfs unhide"]),
    (5, &["include 1", "include 2", "include 3", "include 4", "path pf unhide"]),
];

/// The file with further rulesets.
const RULES: &str = "devfs.rules";

/// All rulesets by number, each with its rules.
fn rulesets(host: &Host) -> Result<BTreeMap<u16, Vec<String>>> {
    let own = |rules: &&[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect();
    let mut sets: BTreeMap<u16, Vec<String>> =
        DEFAULTS.iter().map(|(number, rules)| (*number, own(rules))).collect();
    for line in host.state_lines(RULES)? {
        if let Some(number) = line.strip_prefix('-') {
            let number = number.parse().with_context(|| format!("{RULES}: not a number: {line}"))?;
            sets.remove(&number);
            continue;
        }
        let (number, rule) = line.split_once(' ').unwrap_or((&line, ""));
        let number = number.parse().with_context(|| format!("{RULES}: not a number: {line}"))?;
        let rules = sets.entry(number).or_default();
        rules.extend((!rule.is_empty()).then(|| rule.to_owned()));
    }
    for number in mounted(host)? {
        sets.entry(number).or_default();
    }
    Ok(sets)
}

/// The numbers of the rulesets that a devfs was mounted with.
fn mounted(host: &Host) -> Result<Vec<u16>> {
    let state = kernel(host)?.state()?;
    let options = state.mounts.iter().filter(|mount| mount.kind == "devfs");
    let options = options.filter_map(|mount| noted(host, &format!("mount-{}", mount.fsid)));
    let number =
        |options: String| options.split([',', ' ']).find_map(|o| o.split_once("ruleset=")?.1.parse().ok());
    Ok(options.filter_map(number).collect())
}

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let sets = rulesets(host)?;
    match words.as_slice() {
        ["rule", "showsets"] => sets.keys().for_each(|number| reply.say(number.to_string())),
        ["rule", "-s", number, "show"] => {
            let Ok(number) = number.parse() else { bail!("devfs: {number}: not a number of a ruleset") };
            // An absent ruleset is an empty one, and stays absent.
            for (at, rule) in sets.get(&number).into_iter().flatten().enumerate() {
                reply.say(format!("{} {rule}", (at + 1) * 100));
            }
        }
        _ => bail!("devfs: only rule -s N show and rule showsets are imitated"),
    }
    Ok(0)
}
