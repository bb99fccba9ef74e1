//! What jail-doctor does: gather facts, hold them against what a host of thin
//! jails should be, report what is wrong, and fix what can be fixed safely.
//!
//! A check is a function from facts to findings. Those about trees read them as
//! they go, since a tree is too much to gather: always from an open directory
//! downwards, no link followed, nothing opened that could block, and never more
//! than a bounded part of a file.

mod checks;
pub mod facts;
pub mod finding;

use crate::commands::common::{self, CommonOfBoth, FAILED, arguments};
use crate::formats::printable;
use crate::system::console;
use crate::system::host::Host;
use crate::types::jail_name::JailName;
use anyhow::Result;
use checks::{configuration, host, jails, leaks, resolver, templates};
use clap::Parser;
use facts::Facts;
use finding::{Finding, FindingScope, JAIL_UNKNOWN};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Find what is wrong with a host of thin jails
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-doctor", version)]
pub struct JailDoctor {
    /// Fix what can be fixed without any risk
    #[arg(short = 'x', long)]
    pub fix: bool,
    /// The options of every program.
    #[command(flatten)]
    pub common: CommonOfBoth,
    /// Report only what matters to these jails
    #[arg(value_name = "name")]
    pub names: Vec<JailName>,
}

arguments!(JailDoctor);

const PROGRAM: &str = "jail-doctor";

/// Everything that is wrong, the worst first.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let checks =
        [host::check, leaks::check, configuration::check, templates::check, jails::check, resolver::check];
    let mut found: Vec<Finding> = checks.iter().flat_map(|check| check(facts)).collect();
    finding::sort(&mut found);
    found
}

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

/// Examines, fixes and reports.
fn run(arguments: &JailDoctor, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let facts = Facts::gather(host);
    let mut found = examine(&facts);
    if !arguments.names.is_empty() {
        found.retain(|finding| matters(finding, &facts, &arguments.names));
        let unknown = arguments.names.iter().filter(|name| !is_known(&facts, name));
        found.extend(unknown.map(unknown_jail));
        finding::sort(&mut found);
    }
    let status = |nothing: bool| if nothing { ExitCode::SUCCESS } else { ExitCode::from(FAILED) };
    if arguments.fix && common.dry_run {
        let commands = commands(&found);
        if common.json {
            print_findings(&found, &commands, &[])?;
        } else {
            console::print_text(&commands.iter().map(|c| format!("{c}\n")).collect::<String>())?;
        }
        return Ok(status(found.is_empty()));
    }
    let mut fixed = Vec::new();
    if arguments.fix {
        let (done, left) = fix(host, found);
        (fixed, found) = (done, left);
    }
    if common.json {
        print_findings(&found, &[], &fixed)?;
    } else {
        let mut text = String::new();
        for finding in &fixed {
            let line = format!("fixed: {}: {} [{}]", finding.object, finding.what, finding.kind.id);
            text += &format!("{}\n", printable::line(&line));
        }
        text += &finding::text(&found);
        console::print_text(&text)?;
    }
    Ok(status(found.is_empty()))
}

/// Whether a finding says anything about some jails: it is about one of them,
/// about the template that it stands on, or about the host.
fn matters(finding: &Finding, facts: &Facts, names: &[JailName]) -> bool {
    match &finding.scope {
        FindingScope::Host => true,
        FindingScope::Jail(jail) => names.iter().any(|name| name.as_str() == jail),
        FindingScope::Template(release) => names.iter().any(|name| {
            let jail = facts.inventory.as_ref().and_then(|i| i.jail(name));
            jail.and_then(|j| j.release()).is_some_and(|r| r.as_str() == release)
        }),
    }
}

fn is_known(facts: &Facts, name: &JailName) -> bool {
    facts.configured.iter().any(|c| c.resources.jail == name.as_str())
        || facts.inventory.as_ref().is_none_or(|i| i.jail(name).is_some())
}

fn unknown_jail(name: &JailName) -> Finding {
    let (object, advice) = (format!("jail {name}"), "jail-list lists the jails");
    Finding::new(
        &JAIL_UNKNOWN,
        FindingScope::Jail(name.to_string()),
        object,
        "neither configured nor in the layout",
        advice,
    )
}

/// Applies the fixes; returns what was fixed, and what remains.
fn fix(host: &Host, found: Vec<Finding>) -> (Vec<Finding>, Vec<Finding>) {
    let (mut fixed, mut left) = (Vec::new(), Vec::new());
    for mut finding in found {
        let Some(plan) = finding.fix.take() else {
            left.push(finding);
            continue;
        };
        let failures = plan.carry_out_all(host);
        if failures.is_empty() {
            fixed.push(finding);
            continue;
        }
        for failure in failures {
            let line = format!("{}: not fixed: {}", finding.object, console::line(&failure));
            console::note(PROGRAM, &line);
        }
        left.push(finding);
    }
    (fixed, left)
}

/// The commands of all fixes, each once.
fn commands(found: &[Finding]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for command in found.iter().filter_map(|f| f.fix.as_ref()).flat_map(|plan| plan.commands()) {
        if !all.contains(&command) {
            all.push(command);
        }
    }
    all
}

fn print_findings(found: &[Finding], commands: &[String], fixed: &[Finding]) -> Result<()> {
    let all = |findings: &[Finding]| findings.iter().map(Finding::json).collect::<Vec<Value>>();
    let document = json!({
        "program": PROGRAM,
        "findings": all(found),
        "fixed": all(fixed),
        "commands": commands,
    });
    Ok(console::print_json(&document)?)
}
