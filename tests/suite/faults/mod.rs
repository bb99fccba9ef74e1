//! Every effect of every program in turn fails, is done and reported as failed,
//! is interrupted, or has the process killed in front of it or behind it. After
//! an error everything is as before; after a kill the same command completes.
//!
//! The table that it prints (`--nocapture`, or `make faults`) counts effects
//! and faults. `THINJAIL_FAULTS=all` tries every fault at every effect of every
//! command line; without it the costly ones get a sample. A part of a command
//! line in `THINJAIL_FAULTS_ONLY` leaves the others out.
//!
//! Needs the feature `inject`, which no installed build has.
#![cfg(all(feature = "inject", not(target_os = "freebsd")))]

use crate::harness::bin;
use crate::harness::rules;
mod cases;
use crate::harness::host;
use crate::harness::pristine;
use crate::harness::state;

use bin::bin;
use cases::{CASES, Case, OnError};
use host::{Host, Storage};
use pristine::Pristine;
use state::{difference, state};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const SIGKILL: i32 = 9;
/// What an effect can fail with.
const ERRNOS: [&str; 7] = ["ENOSPC", "EIO", "EACCES", "EINTR", "EMFILE", "EROFS", "ETIMEDOUT"];

/// A host that can be put back as it was.
struct Scene {
    stage: Host,
    pristine: Pristine,
    log: PathBuf,
    before: Vec<String>,
}

impl Scene {
    fn new(case: &Case, storage: Storage) -> Scene {
        let stage = (case.prepare)(storage);
        cases::plant_foreign(&stage, storage);
        let log = stage.root().with_file_name("log");
        let pristine = Pristine::of(&stage);
        let before = state(&stage);
        Scene { stage, pristine, log, before }
    }

    fn restore(&self) {
        self.pristine.restore(&self.stage);
    }

    fn run(&self, line: &str, fault: &str) -> Output {
        let _ = fs::remove_file(&self.log);
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = Command::new(bin(words[0]));
        command.args(&words[1..]).env_clear();
        let mut command = self.stage.prepare(command);
        // An editor that takes both sides.
        command.env("EDITOR", r"sed -i /^[<|=>]\{7\}/d");
        command.env("THINJAIL_INJECT", fault).env("THINJAIL_INJECT_LOG", &self.log);
        let output = command.output().unwrap();
        rules::hold(words[0], &words[1..], &output.stderr);
        output
    }

    /// The effects of the last run.
    fn effects(&self) -> Vec<String> {
        let text = fs::read(&self.log).unwrap_or_default();
        self.stage.strip(&text).lines().map(str::to_owned).collect()
    }

    fn told(&self, output: &Output) -> String {
        self.stage.strip(&output.stderr)
    }
}

/// An undisturbed run, to hold the others against.
struct Undisturbed {
    effects: Vec<String>,
    whole: Vec<String>,
    told: String,
    /// What the same command says once all is done.
    again: String,
}

fn undisturbed(case: &Case, scene: &Scene) -> Undisturbed {
    let output = scene.run(case.line, "");
    let told = scene.told(&output);
    assert!(output.status.success(), "{}: {told}", case.line);
    let effects = scene.effects();
    let whole = state(&scene.stage);
    // Foreign things are where they were.
    let lost: Vec<_> = scene.before.iter().filter(|l| l.contains("foreign") && !whole.contains(l)).collect();
    assert!(lost.is_empty(), "{}: {lost:#?}", case.line);
    assert!(scene.before.iter().filter(|l| l.contains("foreign")).count() >= 5, "{:#?}", scene.before);
    let again = scene.told(&scene.run(case.line, ""));
    let changed = difference(&whole, &state(&scene.stage));
    assert_eq!(changed, None, "{}: run twice: {again}", case.line);
    scene.restore();
    Undisturbed { effects, whole, told, again }
}

/// The faults that a case is tried with, each with the effect that meets it
/// first.
fn faults(case: &Case, effects: &[String]) -> Vec<(usize, String)> {
    let all = std::env::var("THINJAIL_FAULTS").is_ok_and(|v| v == "all") || effects.len() <= case.cheap;
    let mut faults = Vec::new();
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, effect) in effects.iter().enumerate() {
        let number = at + 1;
        let is_program = effect.starts_with('/');
        let mut add = |text: String| faults.push((number, text));
        // What is done to each entry of a tree is done alike.
        let class = effect.split(' ').next().unwrap();
        let seen = classes.entry(class).or_default();
        *seen += 1;
        if !all && !is_program && *seen > 8 && !(*seen).is_multiple_of(7) {
            continue;
        }
        add(format!("kill@{number}"));
        // Behind one effect is in front of the next: only all of them try both.
        if all || number == effects.len() {
            add(format!("kill-after@{number}"));
        }
        let mut errors: Vec<String> = ERRNOS.map(str::to_owned).to_vec();
        if is_program {
            errors.push("hangup".into());
        }
        let late: Vec<String> = ["EIO", "ENOSPC", "hangup"].iter().map(|e| format!("late-{e}")).collect();
        if all {
            errors.extend(late);
            errors.iter().for_each(|e| add(format!("{e}@{number}")));
            add(format!("ENOSPC@{number}+"));
            add(format!("EROFS@{number}+"));
            for after in 1..=3 {
                add(format!("EIO@{number},EACCES@{}", number + after));
                add(format!("EIO@{number},kill@{}", number + after));
            }
        } else {
            add(format!("{}@{number}", errors[at % errors.len()]));
            match at % 5 {
                0 => add(format!("ENOSPC@{number}+")),
                1 => add(format!("EIO@{number},EACCES@{}", number + 1 + at / 5 % 4)),
                2 => add(format!("EIO@{number},kill@{}", number + 1 + at / 5 % 4)),
                _ => add(format!("{}@{number}", late[at / 5 % late.len()])),
            }
        }
    }
    faults
}

/// How a fault ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    /// All is as before.
    Undone,
    /// The same command completes.
    Completed,
    /// It got through in spite of it.
    Passed,
}

/// Whether one line on standard error says what went wrong with what. Lines of
/// an undisturbed run don't count.
fn check_told(case: &Case, told: &str, usual: &str, single: bool) -> Result<(), String> {
    let program = case.line.split(' ').next().unwrap();
    let lines: Vec<&str> = told.lines().filter(|l| !usual.lines().any(|u| u == *l)).collect();
    if lines.is_empty() || single && lines.len() != 1 {
        return Err(format!("not one line: {told:?}"));
    }
    let line = lines.last().unwrap();
    let parts: Vec<&str> = line.splitn(3, ": ").collect();
    if parts.len() != 3 || parts[0] != program || parts.iter().any(|p| p.trim().is_empty()) {
        return Err(format!("not program: what: cause: {line:?}"));
    }
    let objects = ["/", "epair", "bridge", "zdata", "em0", "web0", "standard output"];
    if !objects.iter().any(|o| line[program.len()..].contains(o)) {
        return Err(format!("no object: {line:?}"));
    }
    Ok(())
}

/// The same command once more, which completes or says what does.
fn once_more(case: &Case, scene: &Scene, calm: &Undisturbed) -> Result<(), String> {
    let output = scene.run(case.line, "");
    let mut told = scene.told(&output);
    if !output.status.success() && told != calm.again {
        // It says which command removes the leftovers.
        if told.lines().count() != 1 {
            return Err(format!("again: {told:?}"));
        }
        let Some(command) = case.remedies.iter().find(|r| told.contains(**r)) else {
            return Err(format!("again: {told:?}"));
        };
        let mut words = command.split(' ');
        let program = words.next().unwrap();
        let words: Vec<&str> = words.collect();
        let done = match program {
            "zfs" => scene.stage.run_tool(program, &words),
            _ => scene.run(command, ""),
        };
        if !done.status.success() {
            return Err(format!("{command}: {}", scene.told(&done)));
        }
        let output = scene.run(case.line, "");
        told = scene.told(&output);
        if !output.status.success() {
            return Err(format!("again after {command}: {told:?}"));
        }
    }
    let now = state(&scene.stage);
    let temporary = |l: &&String| !calm.whole.contains(l) && l.contains(".thinjail file");
    if now.iter().any(|l| temporary(&l)) && calm.whole.len() < now.len() {
        // Of what it undid and did not come to finish. It is told of.
        scene.run("jail-doctor -x", "");
    }
    difference(&calm.whole, &state(&scene.stage)).map_or(Ok(()), |d| Err(format!("again: {told:?}: {d}")))
}

/// Tries one fault and puts the scene back.
fn try_fault(case: &Case, scene: &Scene, calm: &Undisturbed, fault: &str) -> Result<Held, String> {
    let output = scene.run(case.line, fault);
    let told = scene.told(&output);
    let now = state(&scene.stage);
    let killed = output.status.signal() == Some(SIGKILL);
    let plain = !killed && !fault.starts_with("late-") && !fault.contains([',', '+']);
    let checked = (|| {
        let lost: Vec<_> =
            scene.before.iter().filter(|l| l.contains("foreign") && !now.contains(l)).collect();
        if !lost.is_empty() {
            return Err(format!("foreign: {lost:#?}"));
        }
        if fault.starts_with("kill") && !killed {
            return Err(format!("{}, not killed", output.status));
        }
        if killed {
            // What follows tells.
        } else if output.status.success() {
            return match difference(&calm.whole, &now) {
                None => Ok(Held::Passed),
                Some(d) => Err(format!("succeeds: {told:?}: {d}")),
            };
        } else {
            if output.status.code() != Some(1) {
                return Err(format!("{}", output.status));
            }
            if case.tells {
                let single = plain && case.on_error != OnError::GoesOn;
                check_told(case, &told, &calm.told, single)?;
            }
            match difference(&scene.before, &now) {
                None => return Ok(Held::Undone),
                // Up to the point of no return.
                Some(d) if plain && case.on_error == OnError::Undoes => {
                    if !case.beyond.iter().any(|text| told.contains(text)) {
                        return Err(format!("{told:?}: {d}"));
                    }
                }
                Some(_) => {}
            }
        }
        (case.after)(case, scene, calm).map(|()| Held::Completed)
    })();
    let undone = checked == Ok(Held::Undone);
    if !undone {
        scene.restore();
    }
    checked
}

struct Row {
    line: String,
    storage: &'static str,
    effects: usize,
    faults: usize,
    held: BTreeMap<Held, usize>,
    seconds: f64,
    violations: Vec<String>,
}

fn run_case(case: &Case, storage: Storage) -> Row {
    let started = std::time::Instant::now();
    let scene = Scene::new(case, storage);
    let calm = undisturbed(case, &scene);
    let mut row = Row {
        line: case.line.to_owned(),
        storage: if storage == Storage::Zfs { "zfs" } else { "directory" },
        effects: calm.effects.len(),
        faults: 0,
        held: BTreeMap::new(),
        seconds: 0.0,
        violations: Vec::new(),
    };
    for (number, fault) in faults(case, &calm.effects) {
        row.faults += 1;
        match try_fault(case, &scene, &calm, &fault) {
            Ok(held) => *row.held.entry(held).or_default() += 1,
            Err(what) => row.violations.push(format!(
                "{} ({}): {fault} at {:?}: {what}",
                case.line,
                row.storage,
                calm.effects[number - 1]
            )),
        }
    }
    row.seconds = started.elapsed().as_secs_f64();
    row
}

#[test]
fn every_effect_of_every_program() {
    let only = std::env::var("THINJAIL_FAULTS_ONLY").unwrap_or_default();
    let all: Vec<(&Case, Storage)> = CASES
        .iter()
        .filter(|case| case.line.contains(&only))
        .flat_map(|case| case.on.iter().map(move |storage| (case, *storage)))
        .collect();
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some((case, storage)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = run_case(case, *storage);
                    println!(
                        "done: {} on {}, {} faults, {} did not hold, {:.1} s",
                        row.line,
                        row.storage,
                        row.faults,
                        row.violations.len(),
                        row.seconds
                    );
                    let at = CASES.iter().position(|c| std::ptr::eq(c, *case)).unwrap();
                    rows.lock().unwrap().insert((at, row.storage), row);
                }
            });
        }
    });
    let rows: Vec<Row> = rows.into_inner().unwrap().into_values().collect();
    println!(
        "{:54} {:9} {:>7} {:>6} {:>6} {:>9} {:>6}",
        "", "", "effects", "faults", "undone", "completed", "passed"
    );
    let mut programs: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut effects, mut faults, mut sum) = (0, 0, BTreeMap::new());
    for row in &rows {
        let held = |h| row.held.get(&h).copied().unwrap_or(0);
        println!(
            "{:54} {:9} {:7} {:6} {:6} {:9} {:6}  {:5.1} s{}",
            row.line,
            row.storage,
            row.effects,
            row.faults,
            held(Held::Undone),
            held(Held::Completed),
            held(Held::Passed),
            row.seconds,
            if row.violations.is_empty() {
                String::new()
            } else {
                format!("  {} DID NOT HOLD", row.violations.len())
            },
        );
        *programs.entry(row.line.split(' ').next().unwrap()).or_default() += row.faults;
        effects += row.effects;
        faults += row.faults;
        row.held.iter().for_each(|(h, n)| *sum.entry(*h).or_insert(0) += n);
    }
    let held = |h| sum.get(&h).copied().unwrap_or(0);
    println!(
        "{:54} {:9} {:7} {:6} {:6} {:9} {:6}",
        "all",
        "",
        effects,
        faults,
        held(Held::Undone),
        held(Held::Completed),
        held(Held::Passed)
    );
    let whole = std::env::var("THINJAIL_FAULTS").is_ok_and(|v| v == "all");
    println!("{}", if whole { "every fault at every effect" } else { "a sample; make faults tries all" });
    let violations: Vec<&String> = rows.iter().flat_map(|row| &row.violations).collect();
    let shown: Vec<_> = violations.iter().take(400).map(|v| format!("{v}\n")).collect();
    assert!(violations.is_empty(), "{} did not hold:\n{}", violations.len(), shown.concat());
    if only.is_empty() {
        for program in cases::PROGRAMS {
            assert!(programs.get(program).is_some_and(|faults| *faults > 20), "{program}: {programs:?}");
        }
    }
}

/// Only src/system/effect/mod.rs may call what changes the system; clippy.toml says so to
/// clippy, and these are the places that are excused from it.
#[test]
fn no_effect_escapes() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lib = fs::read_to_string(top.join("src/lib.rs")).unwrap();
    assert!(lib.contains("#![cfg_attr(not(test), warn(clippy::disallowed_methods))]"));
    let lint = fs::read_to_string(top.join("Makefile")).unwrap();
    assert!(lint.contains("clippy --locked --all-targets --features inject -- -D warnings"));
    let (mut excused, mut files) = (Vec::new(), vec![top.join("src"), top.join("bins")]);
    while let Some(file) = files.pop() {
        if file.is_dir() {
            files.extend(fs::read_dir(&file).unwrap().map(|e| e.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(top).unwrap().display().to_string();
        let times = text.matches("(clippy::disallowed_methods").count();
        excused.extend(std::iter::repeat_n(name.clone(), times));
        // Programs leave all of it to the library, where clippy looks.
        let own = ["std::fs", "fs_err", "rustix", "std::process::Command"];
        assert!(!name.starts_with("bins/") || !own.iter().any(|o| text.contains(o)), "{name}");
        // What is written to was opened by effect.
        let code = text.split("#[cfg(test)]").next().unwrap();
        let opens = ["WRONLY", "RDWR", "OFlags::CREATE", "OFlags::TRUNC", "OFlags::APPEND"];
        let may =
            ["src/system/effect/mod.rs", "src/system/lock.rs", "src/system/file.rs"].contains(&name.as_str());
        assert!(may || !opens.iter().any(|o| code.contains(o)), "{name} opens a file for writing");
    }
    excused.sort();
    let expected = [
        // The stream of a jail is one effect, whose parts these write.
        "src/commands/jail_export/write.rs",
        "src/commands/jail_export/write.rs",
        "src/commands/jail_export/write.rs",
        "src/domain/jail_archive.rs",
        "src/lib.rs",
        "src/system/console.rs",
        "src/system/console.rs",
        "src/system/effect/mod.rs",
        "src/system/kernel/simulated/mod.rs",
        "src/system/lock.rs",
        "src/system/progress.rs",
        "src/system/signals.rs",
        "src/system/tool.rs",
        "src/system/tool.rs",
        "src/system/tool.rs",
        "src/system/tool.rs",
        "src/system/tree/attributes.rs",
        "src/system/tree/flags.rs",
        "src/system/tree/pack.rs",
        "src/system/tree/store.rs",
        "src/system/tree/unpack.rs",
    ];
    assert_eq!(excused, expected);
}

/// A run that only looks, or whose checks fail, does nothing but look.
#[test]
fn looking_changes_nothing() {
    let looks = |effect: &str| {
        let asks = [
            "/sbin/zfs get",
            "/sbin/zfs list",
            "/sbin/zfs diff",
            "/usr/bin/tar -t",
            "/sbin/sysctl -n",
            "/sbin/devfs rule",
            "/usr/local/sbin/pkg -o",
            "/usr/bin/netstat -rn",
            "/sbin/pfctl -nvf",
            "/sbin/pfctl -s",
        ];
        let locks = effect.starts_with("open /var/run/thinjail-") && effect.ends_with(".lock");
        // jail-rebase notes that it owns the jail before it looks.
        let claims = effect.starts_with("open /var/run/thinjail-") && effect.ends_with(".claim");
        locks
            || claims
            || ["lock", "print", "write"].contains(&effect)
            || asks.iter().any(|a| effect.starts_with(a))
            || effect.starts_with("/usr/sbin/sysrc") && (effect.contains(" -n ") || effect.contains(" -e "))
            || ["/sbin/kldstat", "/usr/sbin/jail -e", "/usr/sbin/jail -f"]
                .iter()
                .any(|a| effect.starts_with(a))
            || effect.starts_with("/sbin/sysctl")
            || effect.starts_with("/usr/bin/fetch -s")
    };
    for case in CASES {
        for storage in case.on {
            let scene = Scene::new(case, *storage);
            let (program, rest) = case.line.split_once(' ').unwrap();
            let mut lines = vec![format!("{program} -n {rest}")];
            lines.extend(case.refused.iter().map(|l| (*l).to_owned()));
            for line in lines {
                let output = scene.run(&line, "");
                let refused = case.refused.contains(&line.as_str());
                let told = scene.told(&output);
                assert!(!refused || output.status.code() == Some(1), "{line}: {told}");
                let odd: Vec<_> = scene.effects().into_iter().filter(|e| !looks(e)).collect();
                assert!(odd.is_empty(), "{line}: {odd:#?}");
                assert_eq!(difference(&scene.before, &state(&scene.stage)), None, "{line}: {told}");
            }
        }
    }
}
