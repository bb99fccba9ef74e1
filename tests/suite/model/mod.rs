//! Random sequences of operations, by several processes at once, against the
//! simulated host: after each one the host is what a simple model says.
//!
//! `THINJAIL_MODEL_STEPS` and `THINJAIL_MODEL_SEED` ask for more steps and for
//! others; a sequence that fails is printed as short as it can be made.
#![cfg(all(feature = "inject", not(target_os = "freebsd")))]

use crate::harness::bin as common_bin;
mod op;
mod real;
mod world;

use op::{Dice, Op, choose};
use real::{Real, Said};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use world::*;

/// Steps of one host's life.
const LENGTH: u64 = 40;
const STEPS: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: {text:?} is no number")))
}

/// The two ends of a host's life, and what happened in between.
struct Life {
    real: Real,
    world: World,
    templates: BTreeMap<String, Node>,
}

impl Life {
    fn new() -> Life {
        let real = Real::new();
        let world = real.observe(&real.skeleton());
        let templates = real.templates();
        Life { real, world, templates }
    }

    /// One step, on the host and in the model; what is different, if anything.
    fn step(&mut self, op: &Op, counts: &mut Counts) -> Result<(), String> {
        let before = self.world.clone();
        let said = self.real.perform(op, &before);
        let observed = self.real.observe(&before.skeleton);
        for said in &said {
            in_words(said)?;
        }
        let expected = match op {
            Op::Together(ops) => together(ops, &before, &said, &observed, counts),
            Op::Killed(inner, _) | Op::JailKilled(inner, _) | Op::Failing(inner, ..) => {
                disturbed(op, inner, &before, &said[0], &observed, counts)
            }
            _ => alone(op, &before, said.first(), &observed, counts),
        };
        let told: String = said.iter().map(|s| format!("\n  {}{}", s.stdout, s.stderr)).collect();
        self.world = expected.map_err(|why| format!("{why}{told}"))?;
        Ok(())
    }

    /// At the end of all.
    fn end(&self) -> Result<(), String> {
        match self.real.templates() == self.templates {
            true => Ok(()),
            false => Err("the templates were changed".into()),
        }
    }
}

/// What our programs say is for people: one line for a failure, which begins
/// with the program's name.
fn in_words(said: &Said) -> Result<(), String> {
    let lines = said.stderr.lines().count();
    if said.program == "jail" {
        let is_known = |line: &str| {
            line.split(':').next().is_some_and(|p| {
                p.starts_with("jail") || ["mount", "mount_nullfs", "umount", "ifconfig", "route"].contains(&p)
            })
        };
        return match said.stderr.lines().find(|line| !is_known(line)) {
            None => Ok(()),
            Some(line) => Err(format!("a line of nobody's: {line}")),
        };
    }
    let own = format!("{}: ", said.program);
    if !said.killed && said.stderr.lines().any(|line| !line.starts_with(&own)) {
        return Err("a line without the program's name".into());
    }
    let single = ["jail-clone", "jail-destroy", "jail-epair-up", "jail-epair-down"];
    if !said.done && !said.killed && single.contains(&said.program.as_str()) && lines != 1 {
        return Err(format!("failed in {lines} lines"));
    }
    // A doctor's findings are its output.
    if !said.done && !said.killed && said.program != "jail-doctor" && lines == 0 {
        return Err("failed without a word".into());
    }
    Ok(())
}

/// The difference of two worlds in lines.
fn difference(expected: &World, observed: &World) -> Option<String> {
    let (expected, observed) = (expected.lines(), observed.lines());
    if expected == observed {
        return None;
    }
    let missing = expected.iter().filter(|l| !observed.contains(l)).map(|l| format!("\n  - {l}"));
    let more = observed.iter().filter(|l| !expected.contains(l)).map(|l| format!("\n  + {l}"));
    let all: String = missing.chain(more).collect();
    Some(if all.is_empty() { "\n  another order, or another number".into() } else { all })
}

fn is_as_said(verdict: &Verdict, said: &Said) -> bool {
    match verdict {
        Ok(()) => said.done,
        Err(text) => !said.done && said.stderr.contains(text),
    }
}

/// The model's word is all there is to it.
fn alone(
    op: &Op,
    before: &World,
    said: Option<&Said>,
    observed: &World,
    counts: &mut Counts,
) -> Result<World, String> {
    let mut after = before.clone();
    let verdict = op.expect(&mut after);
    if let Some(difference) = difference(&after, observed) {
        return Err(format!("expected {verdict:?} and other than it is:{difference}"));
    }
    let free = match op {
        Op::Doctor => true,
        Op::List => {
            list(before, said)?;
            true
        }
        Op::Dry(inner) => match **inner {
            Op::Doctor | Op::Sweep(..) => true,
            // What the stop will leave is not known before.
            Op::Destroy(jail, _) => before.running(jail).is_some(),
            _ => false,
        },
        _ => false,
    };
    if let Some(said) = said
        && !free
        && !is_as_said(&verdict, said)
    {
        return Err(format!("expected {verdict:?}"));
    }
    let changed = after.lines() != before.lines();
    counts.note(op, said.is_none_or(|s| s.done) && (changed || verdict.is_ok()), changed);
    Ok(after)
}

/// What jail-list tells is what there is.
fn list(world: &World, said: Option<&Said>) -> Result<(), String> {
    let Some(blocks) = world.blocks() else { return Ok(()) };
    let text = said.map(|s| s.stdout.as_str()).unwrap_or_default();
    let document: serde_json::Value = serde_json::from_str(text).map_err(|e| format!("{e}: {text}"))?;
    let listed: BTreeMap<&str, bool> = document["jails"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|j| Some((j["name"].as_str()?, j["running"].as_bool()?)))
        .collect();
    for jail in JAILS {
        let part = [path(jail), fstab(jail), container(jail)].iter().any(|p| world.files.contains_key(p));
        let there = blocks.iter().any(|b| b.name == jail) || part;
        let running = world.running(jail).is_some();
        if there && listed.get(jail) != Some(&running) {
            return Err(format!("jail {jail}: running {running}, but {:?}", listed.get(jail)));
        }
    }
    Ok(())
}

/// All orders of some things.
fn orders(n: usize) -> Vec<Vec<usize>> {
    match n {
        0 => vec![Vec::new()],
        _ => orders(n - 1)
            .into_iter()
            .flat_map(|order| {
                (0..n).map(move |at| {
                    let mut order = order.clone();
                    order.insert(at, n - 1);
                    order
                })
            })
            .collect(),
    }
}

/// What happens at once comes out as if it had happened in some order.
fn together(
    ops: &[Op],
    before: &World,
    said: &[Said],
    observed: &World,
    counts: &mut Counts,
) -> Result<World, String> {
    let jails: BTreeSet<&str> = ops.iter().filter_map(Op::jail).collect();
    let one_jail = ops.iter().filter(|o| o.jail().is_some()).count() > jails.len()
        || ops.contains(&Op::Doctor) && !jails.is_empty();
    let mut tried = Vec::new();
    let mut worlds = Vec::new();
    let ways = orders(ops.len()).into_iter().flat_map(|order| {
        [(false, false), (true, false), (false, true), (true, true)].map(|skipped| (order.clone(), skipped))
    });
    for (order, (may_be_skipped, jails_are_made)) in ways {
        let mut after = before.clone();
        let mut verdicts: Vec<(usize, Verdict)> = Vec::new();
        for at in order {
            // Who comes while another jail(8) owns the jail does nothing; a second
            // start of a jail that runs at that moment stumbles over its root.
            let refused =
                ["is being started, stopped or moved by another jail(8)", "Resource deadlock avoided"];
            let refused = refused.iter().any(|text| said[at].stderr.contains(text));
            if one_jail && refused && may_be_skipped {
                continue;
            }
            // So does the doctor, with that jail.
            if ops[at] == Op::Doctor {
                let in_hand: Vec<&str> = jails.iter().copied().filter(|_| may_be_skipped).collect();
                after.doctor_but(&in_hand, jails_are_made);
                verdicts.push((at, Ok(())));
                continue;
            }
            verdicts.push((at, ops[at].expect(&mut after)));
        }
        // Mounts of several jails come in between each other's.
        let sorted = |mut w: World| {
            w.mounts.sort_by(|a, b| (&a.on, a.id).cmp(&(&b.on, b.id)));
            w
        };
        let difference = difference(&sorted(after.clone()), &sorted(observed.clone()));
        // Who meets whom in one jail, and where, is told in many ways.
        let words = one_jail
            || verdicts.iter().all(|(at, verdict)| {
                matches!(ops[*at], Op::Doctor | Op::List) || is_as_said(verdict, &said[*at])
            });
        if difference.is_none() && words {
            counts.note_together(ops, after.lines() != before.lines());
            return Ok(observed.clone());
        }
        tried.push(format!("\nin the order {verdicts:?}:{}", difference.unwrap_or_default()));
        worlds.push(after);
    }
    // jail(8) starts and stops one jail at a time only by luck.
    let jail_races = ops
        .iter()
        .filter(|o| {
            matches!(o, Op::Start(..) | Op::Stop(..) | Op::Restart(_) | Op::Cleanup(_) | Op::Remove(..))
        })
        .count();
    let stops = ops.iter().any(|o| {
        matches!(o, Op::Stop(..) | Op::Restart(_) | Op::Cleanup(_) | Op::Remove(..) | Op::Destroy(..))
    });
    // And two jails that were given one pair get it hook by hook.
    let mut units: Vec<(u16, &str)> = jails.iter().filter_map(|j| Some((before.block(j)?.id, *j))).collect();
    units.extend(ops.iter().filter_map(|op| Some((op.unit()?, op.jail()?))));
    let contended = units.iter().any(|(unit, jail)| units.iter().any(|(u, j)| u == unit && j != jail));
    if one_jail && jail_races > 0 && stops || contended {
        let all: Vec<&str> = jails.into_iter().collect();
        torn(before, &worlds, observed, &all, ops)?;
        counts.note_together(ops, true);
        return Ok(observed.clone());
    }
    Err(format!("no order of them comes to this:{}", tried.concat()))
}

/// A killed program leaves something between what was and what was to be; one
/// that fails takes back what it did.
fn disturbed(
    how: &Op,
    op: &Op,
    before: &World,
    said: &Said,
    observed: &World,
    counts: &mut Counts,
) -> Result<World, String> {
    let mut after = before.clone();
    let verdict = op.expect(&mut after);
    let free = matches!(op, Op::Doctor | Op::List) && !said.killed;
    if (free || is_as_said(&verdict, said)) && difference(&after, observed).is_none() {
        counts.note(how, false, false);
        return Ok(after);
    }
    let errors = ["No space left on device", "Input/output error", "Permission denied"];
    let met = match how {
        Op::Failing(..) => free || errors.iter().any(|e| said.stderr.contains(e)),
        // Of a stop through service(8) only the end is seen.
        _ => said.killed || said.stderr.contains("exited on signal 9") || matches!(op, Op::Destroy(..)),
    };
    if !met {
        let difference = difference(&after, observed).unwrap_or_default();
        return Err(format!("not disturbed, but expected {verdict:?}{difference}"));
    }
    let all_back = match op {
        Op::Clone(..) => true,
        Op::Destroy(jail, _) => {
            before.running(jail).is_none() && !said.stderr.contains("is destroyed, but something remains")
        }
        _ => false,
    };
    if matches!(how, Op::Failing(..)) && all_back {
        let mut prepared = before.clone();
        // What an earlier run left half-done may be gone.
        prepared.files.retain(|path, _| observed.files.contains_key(path) || !is_prepared(path));
        if let Some(difference) = difference(&prepared, observed) {
            return Err(format!("failed, and not taken back:{difference}"));
        }
    }
    let all: Vec<&str> = op.jail().map_or(JAILS.to_vec(), |jail| vec![jail]);
    torn(before, &[after], observed, &all, std::slice::from_ref(op))?;
    counts.note(how, true, difference(before, observed).is_some());
    Ok(observed.clone())
}

/// Whether a path is one under which something is prepared.
fn is_prepared(path: &str) -> bool {
    JAILS.iter().any(|jail| temporary(jail).iter().any(|top| is_below(path, top)))
}

/// Fails unless all that differs is some jails' and between what was there
/// before and what would be there after.
fn torn(
    before: &World,
    afters: &[World],
    observed: &World,
    jails: &[&str],
    ops: &[Op],
) -> Result<(), String> {
    let all = || std::iter::once(before).chain(afters);
    // What is nobody's of these jails.
    let blocks = jails.iter().flat_map(|j| all().filter_map(|w| w.block(j)));
    let units: BTreeSet<u16> = blocks.map(|b| b.id).chain(ops.iter().filter_map(Op::unit)).collect();
    let is_theirs = |path: &str| {
        jails.iter().any(|j| {
            let own = [self::path(j), fstab(j), container(j), origin(j), conf(j)];
            own.iter().chain(&temporary(j)).any(|top| is_below(path, top))
        })
    };
    let foreign = |w: &World| {
        let mut w = w.clone();
        w.files.retain(|path, _| !is_theirs(path));
        w.mounts.retain(|m| !jails.iter().any(|j| is_below(&m.on, &path(j))));
        w.jails.retain(|j| !jails.contains(&j.name.as_str()));
        w.pairs.retain(|unit, pair| {
            let tagged = jails.iter().any(|j| pair.described == Some(format!("jail:{j}")));
            !units.contains(unit) && !tagged
        });
        w
    };
    if let Some(difference) = difference(&foreign(before), &foreign(observed)) {
        return Err(format!("somebody else's things are not as they were:{difference}"));
    }
    for jail in jails {
        // Files are those of before or of after; a container may be under way.
        for (path, node) in observed.below("/").filter(|(path, _)| is_theirs(path)) {
            if !is_prepared(path) && !all().any(|w| w.files.get(path) == Some(node)) {
                return Err(format!("{path}: {node:?} is neither old nor new"));
            }
        }
        let gone = before.files.iter().find(|(path, node)| {
            is_theirs(path)
                && !is_prepared(path)
                && all().all(|w| w.files.get(*path) == Some(*node))
                && !observed.files.contains_key(*path)
        });
        if let Some((path, _)) = gone {
            return Err(format!("{path} is gone"));
        }
        // The file in jail.conf.d makes a jail exist: all else is there first, and goes later.
        let whole = |w: &World| {
            let parts = [path(jail), fstab(jail), container(jail)];
            parts.map(|top| w.below(&top).map(|(p, n)| (p.clone(), n.clone())).collect::<Vec<_>>())
        };
        let configured = |w: &World| w.files.contains_key(&conf(jail));
        if configured(observed) && !all().any(|w| configured(w) && whole(w) == whole(observed)) {
            return Err(format!("jail {jail} is configured and not whole"));
        }
        // Mounts that a start makes, or that were there; what is of another type stays.
        let own = |m: &Mount| {
            let path = path(jail);
            let recipe = [(BASE.to_owned(), path.clone()), (container(jail), format!("{path}/skeleton"))];
            m.kind == "nullfs" && recipe.contains(&(m.from.clone(), m.on.clone()))
                || m.kind == "devfs" && m.on == format!("{path}/dev")
        };
        let same = |m: &Mount, n: &Mount| (&m.kind, &m.from, &m.on) == (&n.kind, &n.from, &n.on);
        for mount in observed.mounts_below(&path(jail)) {
            if !own(mount) && !before.mounts.iter().any(|m| same(m, mount)) {
                return Err(format!("{mount:?} was not there before"));
            }
        }
        for mount in before.mounts_below(&path(jail)).filter(|m| m.kind == "nfs") {
            if !observed.mounts.iter().any(|m| same(m, mount)) {
                return Err(format!("{mount:?} is somebody else's, and gone"));
            }
        }
        if observed.jails.iter().filter(|j| j.name == *jail && !j.dying).count() > 1 {
            return Err(format!("jail {jail} runs twice"));
        }
        for (unit, pair) in &before.pairs {
            if jails.iter().all(|j| before.whose(*unit, j) == Whose::Foreign)
                && !before.jails.iter().any(|j| j.jid == pair.b)
                && observed.pairs.get(unit) != Some(pair)
            {
                return Err(format!("pair {unit} is somebody else's, and not as it was"));
            }
        }
        for unit in observed.pairs.keys().filter(|u| !before.pairs.contains_key(u)) {
            if jails.iter().all(|j| observed.whose(*unit, j) == Whose::Foreign) {
                return Err(format!("pair {unit} is there and nobody's"));
            }
        }
    }
    Ok(())
}

/// How often each thing was done: in all, with success, with a change.
#[derive(Default)]
struct Counts(BTreeMap<String, [u64; 3]>);

impl Counts {
    fn note(&mut self, op: &Op, done: bool, changed: bool) {
        let count = self.0.entry(op.kind()).or_default();
        count[0] += 1;
        count[1] += u64::from(done);
        count[2] += u64::from(changed);
    }

    /// The operations of which several ran at once.
    fn note_together(&mut self, ops: &[Op], changed: bool) {
        self.note(&Op::Together(ops.to_vec()), true, changed);
        for op in ops {
            let count = self.0.entry(format!("  at the same time: {}", op.word())).or_default();
            (count[0], count[1]) = (count[0] + 1, count[1] + 1);
        }
    }

    fn add(&mut self, other: Counts) {
        for (kind, counts) in other.0 {
            let sum = self.0.entry(kind).or_default();
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
}

/// A life from a seed; the operations until something is wrong, and what is.
fn live(seed: u64, counts: &mut Counts, steps: &mut u64) -> Result<(), (Vec<Op>, String)> {
    let mut dice = Dice::new(seed);
    let mut life = Life::new();
    let mut done: Vec<Op> = Vec::new();
    for _ in 0..LENGTH {
        let op = choose(&mut dice, &life.world, done.last());
        done.push(op.clone());
        life.step(&op, counts).map_err(|why| (done.clone(), why))?;
        *steps += 1;
    }
    life.end().map_err(|why| (done, why))
}

/// The same operations once more, on a new host.
fn again(ops: &[Op]) -> Option<(usize, String)> {
    let mut life = Life::new();
    for (at, op) in ops.iter().enumerate() {
        if let Err(why) = life.step(op, &mut Counts::default()) {
            return Some((at, why));
        }
    }
    life.end().err().map(|why| (ops.len() - 1, why))
}

/// The shortest sequence that still fails, and how it does.
fn shrink(mut ops: Vec<Op>, mut why: String) -> (Vec<Op>, String) {
    // Races are lost now and then only.
    let tries = if ops.iter().any(|o| matches!(o, Op::Together(_))) { 5 } else { 1 };
    let fails = |ops: &[Op]| (0..tries).find_map(|_| again(ops));
    let mut size = ops.len().next_power_of_two();
    while size >= 1 {
        let mut at = 0;
        while at < ops.len() {
            let mut fewer = ops.clone();
            fewer.drain(at..(at + size).min(ops.len()));
            match fails(&fewer) {
                Some((last, new)) => {
                    fewer.truncate(last + 1);
                    (ops, why) = (fewer, new);
                }
                None => at += size,
            }
        }
        size /= 2;
    }
    // And each as simple as it can be.
    for at in 0..ops.len() {
        let simpler: Vec<Op> = match &ops[at] {
            Op::Together(all) => all.clone(),
            Op::Killed(op, _) | Op::Failing(op, ..) | Op::JailKilled(op, _) | Op::Dry(op) => {
                vec![(**op).clone()]
            }
            Op::Start(jail, Some(_)) => vec![Op::Start(jail, None)],
            _ => Vec::new(),
        };
        for op in simpler {
            let mut other = ops.clone();
            other[at] = op;
            if let Some((_, new)) = fails(&other) {
                (ops, why) = (other, new);
                break;
            }
        }
    }
    (ops, why)
}

#[test]
fn the_host_is_as_the_model_says() {
    let steps = number("THINJAIL_MODEL_STEPS").unwrap_or(STEPS);
    let seed = number("THINJAIL_MODEL_SEED").unwrap_or(1);
    let lives = steps.div_ceil(LENGTH);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (total, held) = (Mutex::new(Counts::default()), AtomicU64::new(0));
    let failure = Mutex::new(None);
    let start = Instant::now();
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut counts = Counts::default();
                loop {
                    let life = next.fetch_add(1, Ordering::Relaxed);
                    if life >= lives || stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let mut done = 0;
                    let own = Dice::new(seed.wrapping_add(life)).next();
                    let result = live(own, &mut counts, &mut done);
                    held.fetch_add(done, Ordering::Relaxed);
                    if let Err((ops, why)) = result {
                        stop.store(true, Ordering::Relaxed);
                        failure.lock().unwrap().get_or_insert((seed.wrapping_add(life), ops, why));
                    }
                }
                total.lock().unwrap().add(counts);
            });
        }
    });
    let (held, total) = (held.into_inner(), total.into_inner().unwrap());
    if let Some((seed, ops, why)) = failure.into_inner().unwrap() {
        let long = ops.len();
        eprintln!("after {held} steps: {why}\nmaking it shorter");
        let (ops, why) = shrink(ops, why);
        let lines: String = ops.iter().map(|op| format!("    {op:?},\n")).collect();
        panic!(
            "{why}\n\n{} operations of {long} (THINJAIL_MODEL_SEED={seed} THINJAIL_MODEL_STEPS={LENGTH}):\n{lines}",
            ops.len()
        );
    }
    println!("{held} steps held in {} s, seed {seed}", start.elapsed().as_secs());
    println!("{:>8} {:>8} {:>8}", "times", "done", "changed");
    for (kind, [times, done, changed]) in &total.0 {
        println!("{times:8} {done:8} {changed:8}  {kind}");
    }
    // Each of them really took place: what changes something did, and every fault was met.
    let idle = ["Dry", "List", "Stop Refused", "Start, failing at", "  at the", "Together"];
    let faults = ["Killed", "Failing", "jail(8) killed"];
    let begins = |kind: &str, words: &[&str]| words.iter().any(|word| kind.starts_with(word));
    let never = |kind: &String| match total.0.get(kind) {
        None => true,
        Some([_, done, _]) if begins(kind, &faults) => *done == 0,
        Some([.., changed]) => *changed == 0 && !begins(kind, &idle),
    };
    let never: Vec<String> = op::kinds().into_iter().filter(never).collect();
    assert!(held < STEPS || never.is_empty(), "never done: {never:?}");
}
