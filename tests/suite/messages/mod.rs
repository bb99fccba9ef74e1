//! The messages of the suite: a table of all of them, and what they must be like.
//!
//! `tests/messages/*.cases` provoke them by running the programs; each line that
//! a program says is there as a whole. `tests/messages/not_provoked.tsv` lists
//! the other texts, with the reason. The texts themselves are read from the
//! sources, so whoever adds one has to add it here.
//!
//! A file of cases:
//!
//! ```text
//! == title
//! host zfs                  zfs, directory, bare zfs, bare directory, none or card
//! $ rm etc/jail.conf        makes ready, with sh(1), in the root of the host
//! ! jail-clone web 10       a program is run, with sh(1)
//! status 1                  0 unless given
//! > jail-clone: ...         a line of standard error, without the root
//! | ...                     a line of standard output, if it is compared
//! ```
//!
//! `<n>` stands for a number. `$B`, `$S`, `$C` and `$J` are the base, the
//! skeleton, the containers and the place of the jails. With MESSAGES_WRITE set
//! the lines that a program says are written into the files, to be read by who
//! set it.
#![cfg(not(target_os = "freebsd"))] // The programs run on the simulated kernel.

use crate::harness::host;
mod sources;

use crate::harness::rules;
use host::{Host, Storage};
use sources::{Template, templates};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that is run in a case.
#[derive(Default)]
struct Run {
    line: String,
    status: i32,
    stderr: Vec<String>,
    stdout: Vec<String>,
}

enum Step {
    Ready(String),
    Run(Run),
}

struct Case {
    title: String,
    host: String,
    steps: Vec<Step>,
}

/// Reads a file of cases.
fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        if mark == "==" {
            cases.push(Case { title: rest.into(), host: "zfs".into(), steps: Vec::new() });
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| panic!("{line}: no case yet"));
        match (mark, case.steps.last_mut()) {
            ("host", _) => case.host = rest.into(),
            ("$", _) => case.steps.push(Step::Ready(rest.into())),
            ("!", _) => case.steps.push(Step::Run(Run { line: rest.into(), ..Run::default() })),
            ("status", Some(Step::Run(run))) => run.status = rest.parse().unwrap(),
            (">", Some(Step::Run(run))) => run.stderr.push(rest.into()),
            ("|", Some(Step::Run(run))) => run.stdout.push(rest.into()),
            _ => panic!("{}: {line}: what is this?", case.title),
        }
    }
    cases
}

fn stage(host: &str) -> Host {
    match host {
        "zfs" => Host::zfs(),
        "directory" => Host::directory(),
        "bare zfs" => Host::bare(Storage::Zfs),
        "bare directory" => Host::bare(Storage::Directory),
        "none" => Host::unconfigured(),
        "card" => Host::with_card(),
        other => panic!("{other}: no such host"),
    }
}

/// Runs a line of sh(1) on a host: our programs first, then this system's, then the stand-ins.
fn sh(stage: &Host, line: &str) -> (i32, Vec<u8>, Vec<u8>) {
    let path = [stage.path("/usr/local/sbin"), "/usr/bin".into(), "/bin".into(), stage.tools()];
    let templates = "zdata/jails/templates/14.5-RELEASE";
    let output = stage
        .prepare(Command::new("/bin/sh"))
        .env_clear()
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("THINJAIL_ROOT", stage.root())
        .env("THINJAIL_TOOLS", stage.tools())
        .env("R", stage.root())
        .env("B", format!("{templates}-base"))
        .env("S", format!("{templates}-skeleton"))
        .env("C", "zdata/jails/containers")
        .env("J", "zdata/jails")
        .env("T", stage.tools())
        .env("F", "var/db/standin")
        .env("THINJAIL_INJECT_LOG", effects(stage))
        .current_dir(stage.root())
        .args(["-c", line])
        .output()
        .unwrap();
    (output.status.code().unwrap_or(-1), output.stdout, output.stderr)
}

/// Where the effects of a line's programs are noted.
fn effects(stage: &Host) -> PathBuf {
    stage.root().with_file_name("effects")
}

/// A fault of a line that hit nothing: the effect that it names is not there.
fn unmet(stage: &Host, line: &str) -> Option<String> {
    let (_, fault) = line.split_once("THINJAIL_INJECT=")?;
    let (_, name) = fault.split(' ').next()?.split_once('@')?;
    let name = name.trim_end_matches('+').split('#').next()?;
    let (what, object) = name.split_once(':').unwrap_or((name, ""));
    let log = fs::read_to_string(effects(stage)).unwrap_or_default();
    let hit = |line: &str| line.contains(&what.replace('_', " ")) && line.contains(object);
    (!log.lines().any(hit)).then(|| format!("{line}: no effect is {name:?}"))
}

/// The program that a line runs, behind variables that are set for it.
fn program_of(line: &str) -> &str {
    let mut words = line.split_whitespace().filter(|w| !w.contains('=') || w.starts_with('-'));
    words.find(|w| w.starts_with("jail-") || w.starts_with("skel-")).unwrap_or_default()
}

/// Numbers that differ from run to run, such as that of a process.
fn steady(stage: &Host, text: &[u8]) -> Vec<String> {
    let text = stage.strip(text);
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) =
        ["process ", "have ", "needs ", "and "].iter().filter_map(|w| Some(rest.find(w)? + w.len())).min()
    {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let varies = before.ends_with("process ") || digits > 6;
        if digits > 0 && varies {
            out.push_str("<n>");
        } else {
            out.push_str(&after[..digits]);
        }
        rest = &after[digits..];
    }
    out.push_str(rest);
    out.lines().map(str::to_owned).collect()
}

/// Runs a case; gives it as it went, and what is wrong with it.
fn play(case: &Case) -> (String, Vec<String>, Vec<(String, String)>) {
    let (mut text, mut flaws, mut said) = (format!("== {}\n", case.title), Vec::new(), Vec::new());
    if case.host != "zfs" {
        text += &format!("host {}\n", case.host);
    }
    let stage = stage(&case.host);
    for step in &case.steps {
        let run = match step {
            Step::Ready(line) => {
                text += &format!("$ {line}\n");
                let (status, stdout, stderr) = sh(&stage, line);
                if status != 0 {
                    let told = [stdout, stderr].concat();
                    flaws.push(format!("{}: $ {line}: {}", case.title, stage.strip(&told)));
                }
                continue;
            }
            Step::Run(run) => run,
        };
        let _ = fs::remove_file(effects(&stage));
        let (status, stdout, stderr) = sh(&stage, &run.line);
        flaws.extend(unmet(&stage, &run.line));
        let (stdout, stderr) = (steady(&stage, &stdout), steady(&stage, &stderr));
        text += &format!("! {}\n", run.line);
        if status != 0 {
            text += &format!("status {status}\n");
        }
        text.extend(stderr.iter().map(|l| format!("> {l}").trim_end().to_owned() + "\n"));
        if !run.stdout.is_empty() {
            text.extend(stdout.iter().map(|l| format!("| {l}\n")));
        }
        let program = program_of(&run.line).to_owned();
        if stderr.first().is_some_and(|line| line.starts_with("error: ")) {
            // A usage error is as clap prints it.
            if let Some(flaw) = rules::usage_flaw(&program, &(stderr.join("\n") + "\n")) {
                flaws.push(format!("{}: ! {}: {flaw}", case.title, run.line));
            }
        } else {
            for line in &stderr {
                if let Some(flaw) = rules::flaw(Some(&program), line) {
                    flaws.push(format!("{}: a line {flaw}: {line}", case.title));
                }
            }
        }
        let differs =
            (status, &stderr) != (run.status, &run.stderr) || !run.stdout.is_empty() && stdout != run.stdout;
        if differs {
            flaws.push(format!(
                "{}: ! {}\nexpected {} {:#?} {:#?}\ngot {status} {stderr:#?} {stdout:#?}",
                case.title, run.line, run.status, run.stderr, run.stdout
            ));
        }
        // Of what clap says of a command line, only what is wrong with a value is a text of ours.
        let is_text = |line: &String| {
            stderr[0] == *line && line.contains("invalid value") || !stderr[0].starts_with("error: ")
        };
        said.extend(stderr.iter().filter(|l| is_text(l)).map(|l| (program.clone(), l.clone())));
        if !run.stdout.is_empty() {
            said.extend(stdout.into_iter().map(|l| (program.clone(), l)));
        }
    }
    (text + "\n", flaws, said)
}

fn files() -> Vec<PathBuf> {
    let all = fs::read_dir(top().join("tests/messages")).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<PathBuf> = all.filter(|p| p.extension().is_some_and(|e| e == "cases")).collect();
    all.sort();
    all
}

/// The texts that no case provokes, and why.
fn not_provoked() -> BTreeMap<String, String> {
    let text = fs::read_to_string(top().join("tests/messages/not_provoked.tsv")).unwrap();
    let mut all = BTreeMap::new();
    for line in text.lines().filter(|l| !l.is_empty() && (!l.starts_with('#') || l.contains('\t'))) {
        let (template, why) = line.split_once('\t').unwrap_or_else(|| panic!("{line}: no reason"));
        assert!(why.len() > 10, "{line}: no reason");
        // Where another test is named, it is there, and has the text.
        for file in why.split([' ', ',', ':']).filter(|w| w.starts_with("tests/") || w.starts_with("src/")) {
            assert!(top().join(file).exists(), "{line}: no {file}");
        }
        if let Some(file) = why.strip_prefix("asserted in ") {
            let text = fs::read_to_string(top().join(file)).unwrap().replace("\\\"", "\"");
            let text = text.split("\\\n").map(str::trim_start).collect::<String>();
            assert!(sources::longest_words(template).is_some_and(|w| text.contains(&w)), "{line}: not there");
        }
        assert!(all.insert(template.to_owned(), why.to_owned()).is_none(), "{template}: twice");
    }
    all
}

/// The texts that a page has under DIAGNOSTICS.
fn diagnostics(page: &str) -> Vec<String> {
    let text = fs::read_to_string(top().join("man").join(page)).unwrap();
    let lines = text.lines().skip_while(|l| *l != ".Sh DIAGNOSTICS").skip(1);
    let quoted = lines.take_while(|l| !l.starts_with(".Sh ")).filter_map(|l| l.strip_prefix(".It "));
    quoted.map(|text| text.replace("%s", "{}").replace("\\&", "").replace("\\-", "-")).collect()
}

/// The programs whose lines no page explains.
fn unexplained(said: &[(String, String)]) -> Vec<String> {
    let common = [diagnostics("thinjail.conf.5"), diagnostics("thinjail.7")].concat();
    let mut own: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut flaws = Vec::new();
    for (program, line) in said.iter().filter(|(program, line)| line.starts_with(&format!("{program}: "))) {
        let own = own.entry(program).or_insert_with(|| diagnostics(&format!("{program}.8")));
        if !own.iter().chain(&common).any(|text| sources::fits(text, line)) {
            flaws.push(format!("{program}.8: DIAGNOSTICS has no word of: {line}"));
        }
    }
    flaws.sort();
    flaws.dedup();
    flaws
}

#[test]
fn every_message_is_in_the_table_and_says_what_it_should() {
    let (mut flaws, mut said, mut runs) = (Vec::new(), Vec::new(), 0);
    let parts: Vec<(PathBuf, Vec<Case>)> =
        files().into_iter().map(|f| (f.clone(), cases(&fs::read_to_string(&f).unwrap()))).collect();
    let threads: Vec<_> = parts
        .into_iter()
        .map(|(file, cases)| {
            std::thread::spawn(move || {
                let played: Vec<_> = cases.iter().map(play).collect();
                let runs: usize =
                    cases.iter().flat_map(|c| &c.steps).filter(|s| matches!(s, Step::Run(_))).count();
                (file, played, runs)
            })
        })
        .collect();
    for thread in threads {
        let (file, played, count) = thread.join().unwrap();
        runs += count;
        let mut text = String::new();
        for (case, wrong, lines) in played {
            text += &case;
            flaws.extend(wrong);
            said.extend(lines);
        }
        if std::env::var_os("MESSAGES_WRITE").is_some() {
            fs::write(&file, text.trim_end().to_owned() + "\n").unwrap();
        }
    }
    let (templates, known) = (templates(&top().join("src"), &top().join("bins")), not_provoked());
    let lines: BTreeSet<&str> = said.iter().map(|(_, line)| line.as_str()).collect();
    let (mut provoked, mut listed) = (0, 0);
    for Template { text, places } in &templates {
        let seen = lines.iter().any(|line| sources::fits(text, line));
        match (seen, known.get(text)) {
            (true, None) => provoked += 1,
            (false, Some(_)) => listed += 1,
            (true, Some(_)) => flaws.push(format!("{places}: {text:?} is provoked; it need not be listed")),
            (false, None) => flaws.push(format!("{places}: {text:?} is not in the table")),
        }
    }
    for text in known.keys().filter(|text| !templates.iter().any(|t| t.text == **text)) {
        flaws.push(format!("not_provoked.tsv: {text:?} is in no source"));
    }
    flaws.extend(unexplained(&said));
    eprintln!("{provoked} texts provoked in {runs} runs, {listed} listed with a reason");
    assert!(flaws.is_empty(), "{} flaws:\n{}", flaws.len(), flaws.join("\n"));
}
