//! pfctl(8): reads rules without loading them, and says whether pf runs.
//!
//! `ROOT/var/db/standin/pf.running` exists while it runs, and `pf.loaded` while only the module is loaded; without it
//! pfctl does not even read rules. Of the grammar of pf.conf(5) this knows macros, comments,
//! continued lines, the first word of each rule and the order of the kinds of rules.

use std::io::Read;

use anyhow::{Context, Result, bail};

use crate::Reply;
use crate::host::Host;

/// First words and the place of their kind in the order.
const KINDS: &[(&str, u8)] = &[
    ("set", 0),
    ("table", 0),
    ("scrub", 2),
    ("altq", 3),
    ("queue", 3),
    ("nat", 4),
    ("rdr", 4),
    ("binat", 4),
    ("nat-anchor", 4),
    ("rdr-anchor", 4),
    ("pass", 5),
    ("block", 5),
    ("antispoof", 5),
    ("match", 5),
    ("anchor", 5),
    ("load", 5),
];

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        _ if !host.flag("pf.loaded") && !host.flag("pf.running") => {
            reply.complain(match words.as_slice() {
                ["-s", ..] => "pfctl: /dev/pf: No such file or directory",
                _ => "pfctl: Failed to open netlink: Bad file descriptor",
            });
            Ok(1)
        }
        ["-s", "Running"] => {
            let runs = host.flag("pf.running");
            reply.say(if runs { "Enabled" } else { "Disabled" });
            Ok(u8::from(!runs))
        }
        ["-nvf", file] => {
            let mut text = String::new();
            match *file {
                "-" => std::io::stdin().read_to_string(&mut text).context("standard input")?,
                file => {
                    text = std::fs::read_to_string(host.real(file)).context("rules")?;
                    text.len()
                }
            };
            Ok(check(&text, if *file == "-" { "stdin" } else { file }, reply))
        }
        _ => bail!("pfctl: only -s Running and -nvf FILE are imitated"),
    }
}

/// Reads rules, and prints them as they would be loaded.
fn check(text: &str, file: &str, reply: &mut Reply) -> u8 {
    let mut macros: Vec<(String, String)> = Vec::new();
    let (mut highest, mut status) = (0, 0);
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let number = at + 1;
        let mut line = line.split('#').next().unwrap_or_default().trim().to_owned();
        while let Some(head) = line.strip_suffix('\\') {
            let next = lines.next().map_or("", |(_, next)| next);
            line = format!("{head} {}", next.split('#').next().unwrap_or_default().trim());
        }
        if line.is_empty() {
            continue;
        }
        if let Some((name, value)) = line.split_once('=')
            && name.trim().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            let value = value.trim().trim_matches('"').to_owned();
            reply.say(format!("{} = \"{value}\"", name.trim()));
            macros.push((name.trim().to_owned(), value));
            continue;
        }
        for (name, value) in &macros {
            line = line.replace(&format!("${name}"), value);
        }
        let first = line.split_whitespace().next().unwrap_or_default();
        let Some((_, kind)) = KINDS.iter().find(|(word, _)| *word == first).filter(|_| !line.contains('$'))
        else {
            reply.complain(format!("{file}:{number}: syntax error"));
            status = 1;
            continue;
        };
        if *kind < highest {
            reply.complain(format!(
                "{file}:{number}: Rules must be in order: options, ethernet, normalization, queueing, translation, \
                 filtering"
            ));
            status = 1;
            continue;
        }
        highest = *kind;
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        reply.say(match words.as_str() {
            "pass" => "pass all flags S/SA keep state".into(),
            "set skip on lo0" => "set skip on { lo0 }".into(),
            nat if first == "nat" => format!("{nat} round-robin"),
            other => other.to_owned(),
        });
    }
    // Of rules with a mistake nothing is shown.
    if status != 0 {
        reply.out.clear();
    }
    status
}
