//! Every program against every state that an administrator can bring datasets
//! into. The rows are in tests/states/table.txt: state, program, and what it said;
//! STATES_WRITE=1 writes them again.
//!
//! Whatever refuses has changed nothing, and what its message tells to do is done
//! and helps.
#![cfg(all(feature = "inject", not(target_os = "freebsd")))]

use crate::harness::bin;
use crate::harness::host;
use crate::harness::pristine;
use crate::harness::rules;
use crate::harness::small;
use crate::harness::state;

use bin::bin;
use host::{Host, Storage};
use pristine::Pristine;
use state::{difference, state};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use thinjail::system::kernel::simulated::State;

const WEB: &str = "zdata/jails/containers/web";
const BASE: &str = "zdata/jails/templates/14.5-RELEASE-base";
const SKELETON: &str = "zdata/jails/templates/14.5-RELEASE-skeleton";

/// What is tried. The jail `moved` was moved from 14.5 to 15.0.
const PROGRAMS: [&str; 13] = [
    "jail-list",
    "jail-doctor",
    "jail-doctor -x",
    "jail-clone new 30",
    "jail-destroy -y web",
    "jail-mkfstab web",
    "jail-rebase -k theirs web 15.0",
    "jail-rebase -y --commit moved",
    "jail-rebase -y --revert moved",
    "skel-fixcerts -a 14.5",
    "skel-split 14.5",
    "skel-update -y 14.5",
    "jail-sweep web /zdata/jails/web-nullfs-base",
];

type Make = fn(&Host);

fn zfs(stage: &Host, line: &str) {
    stage.tool("zfs", &line.split(' ').collect::<Vec<_>>());
}

macro_rules! zfs {
    ($($line:expr),*) => { |stage: &Host| { $(zfs(stage, &format!($line));)* } };
}

/// The states, each with what brings it about.
const STATES: &[(&str, Make)] = &[
    ("nothing special", |_| ()),
    ("container promoted", zfs!("snapshot {WEB}@mine", "promote {WEB}")),
    (
        "skeleton is a clone of what was promoted",
        zfs!("clone {SKELETON}@base zdata/other", "promote zdata/other"),
    ),
    ("container read-only", zfs!("set readonly=on {WEB}")),
    ("base read-only", zfs!("set readonly=on {BASE}")),
    ("skeleton read-only", zfs!("set readonly=on {SKELETON}")),
    ("all read-only from above", zfs!("set readonly=on zdata/jails")),
    ("key of jail_zfs not loaded", |stage| {
        zfs(stage, "set encryption=on zdata/jails");
        unmount_below(stage, "zdata/jails");
        zfs(stage, "unload-key zdata/jails");
    }),
    ("key of the templates not loaded", |stage| {
        zfs(stage, "set encryption=on zdata/jails/templates");
        unmount_below(stage, "zdata/jails/templates");
        zfs(stage, "unload-key zdata/jails/templates");
    }),
    ("key of the containers not loaded", |stage| {
        zfs(stage, "set encryption=on zdata/jails/containers");
        unmount_below(stage, "zdata/jails/containers");
        zfs(stage, "unload-key zdata/jails/containers");
    }),
    ("encrypted, and the key is loaded", zfs!("set encryption=on zdata/jails")),
    ("container has a child", zfs!("create {WEB}/data")),
    ("container has a child that is not mounted", zfs!("create -o canmount=off {WEB}/data")),
    ("container has a child given to the jail", zfs!("create -u -o jailed=on {WEB}/data")),
    ("container has a child elsewhere", zfs!("create -o mountpoint=/zdata/data {WEB}/data")),
    ("container with legacy mountpoint", zfs!("set mountpoint=legacy {WEB}")),
    ("container without mountpoint", zfs!("set mountpoint=none {WEB}")),
    ("container mounted elsewhere", zfs!("set mountpoint=/zdata/elsewhere {WEB}")),
    ("container with its own mountpoint", zfs!("set -u mountpoint=/zdata/jails/containers/web {WEB}")),
    ("container with canmount=noauto", zfs!("set canmount=noauto {WEB}")),
    ("container with canmount=noauto, not mounted", zfs!("set canmount=noauto {WEB}", "unmount {WEB}")),
    ("container with canmount=off", zfs!("set canmount=off {WEB}")),
    ("container given to a jail", zfs!("set jailed=on {WEB}")),
    ("container not mounted", zfs!("unmount {WEB}")),
    ("base not mounted", zfs!("unmount {BASE}")),
    ("skeleton not mounted", zfs!("unmount {SKELETON}")),
    ("base with canmount=off", zfs!("set canmount=off {BASE}")),
    ("base with legacy mountpoint", zfs!("set mountpoint=legacy {BASE}")),
    ("base hidden by what was mounted above it later", |stage| {
        let templates = stage.path("/zdata/jails/templates");
        let root = thinjail::system::root::Root::alternate(&stage.root()).unwrap();
        let kernel = thinjail::system::kernel::simulated::Simulated::new(&root);
        // The table of mounts has those of ZFS only where they matter.
        for release in ["14.5", "15.0"] {
            let base = format!("{release}-RELEASE-base");
            let dataset = format!("zdata/jails/templates/{base}");
            let mount = |state: &mut State| state.mount("zfs", Path::new(&dataset), &templates.join(&base));
            kernel.change(mount).unwrap();
        }
        fs::rename(&templates, stage.path("/zdata/hidden")).unwrap();
        fs::create_dir(&templates).unwrap();
        kernel.change(|state| state.mount("zfs", Path::new("zdata/new"), &templates)).unwrap();
    }),
    ("jail_zfs not mounted", |stage| unmount_below(stage, "zdata/jails")),
    ("snapshot of the container held", zfs!("snapshot {WEB}@kept", "hold backup {WEB}@kept")),
    ("snapshot of the skeleton held", zfs!("hold backup {SKELETON}@base")),
    ("snapshot of what was moved held", |stage| {
        let kept = kept(stage);
        zfs(stage, &format!("snapshot {kept}@daily zdata/jails/containers/moved@daily"));
        zfs(stage, &format!("hold backup {kept}@daily zdata/jails/containers/moved@daily"));
    }),
    ("received", |stage| {
        for dataset in ["web", "moved"] {
            zfs(stage, &format!("set quota=none recordsize=16K my:note=x zdata/jails/containers/{dataset}"));
            zfs(stage, &format!("standin-received zdata/jails/containers/{dataset}"));
        }
        zfs(stage, &format!("standin-received {}", kept(stage)));
    }),
    (
        "container with properties of its own",
        zfs!("set quota=none refquota=1G compression=off my:note=x {WEB}"),
    ),
    ("snapshots of everything taken periodically", zfs!("snapshot -r zdata/jails@hourly")),
    ("a clone of the container's snapshot", zfs!("snapshot {WEB}@dev", "clone {WEB}@dev zdata/dev")),
    ("the container's mark removed", zfs!("inherit thinjail:jail {WEB}")),
    ("the container marked as another jail's", zfs!("set thinjail:jail=db {WEB}")),
    ("a dataset of somebody else's among the containers", zfs!("create zdata/jails/containers/data")),
    ("the container renamed", zfs!("rename {WEB} zdata/jails/containers/web2")),
    ("the container destroyed", zfs!("destroy {WEB}")),
    ("a later snapshot of the skeleton by hand", zfs!("snapshot {SKELETON}@p1")),
];

/// A dataset and all below it, the deepest first.
fn unmount_below(stage: &Host, top: &str) {
    let all = stage.tool("zfs", &["list", "-H", "-o", "name,mounted", "-r", top]);
    for line in all.lines().collect::<Vec<_>>().into_iter().rev() {
        if let Some(dataset) = line.strip_suffix("\tyes") {
            zfs(stage, &format!("unmount {dataset}"));
        }
    }
}

/// What is kept of the jail that was moved.
fn kept(stage: &Host) -> String {
    let all = stage.tool("zfs", &["list", "-H", "-o", "name", "-r", "zdata/jails/containers"]);
    all.lines().find(|name| name.contains("moved.before-")).unwrap().to_owned()
}

/// A host in one of the states, which can be put back into it.
struct Scene {
    stage: Host,
    pristine: Pristine,
}

impl Scene {
    fn new() -> Scene {
        let stage = small::moved_jail(Storage::Zfs);
        let pristine = Pristine::of(&stage);
        Scene { stage, pristine }
    }

    fn restore(&self, make: Make) {
        self.pristine.restore(&self.stage);
        make(&self.stage);
    }

    fn run(&self, line: &str) -> Output {
        let mut words = line.split(' ');
        let mut command = self.stage.prepare(Command::new(bin(words.next().unwrap())));
        command.args(words);
        let output = command.output().unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        rules::hold(words[0], &words[1..], &output.stderr);
        output
    }

    fn told(&self, output: &Output) -> Vec<String> {
        let both = [self.stage.strip(&output.stderr), self.stage.strip(&output.stdout)].concat();
        both.lines().map(str::to_owned).collect()
    }
}

/// What a doctor found, and what to do. That these skeletons are newer than
/// their snapshots is how the host is made.
fn findings(told: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for lines in told.chunks(3) {
        if !lines[0].contains("[skeleton-newer]") {
            all.push(lines[0].clone());
            all.extend(lines.get(2).cloned());
        }
    }
    all
}

/// The commands that a message tells to give, if it does.
fn advice(told: &[String]) -> Vec<String> {
    let line = told.iter().rev().find(|line| line.contains("; ")).cloned().unwrap_or_default();
    let is_command = |part: &&str| ["zfs ", "jail-", "skel-"].iter().any(|start| part.starts_with(start));
    let mut commands: Vec<String> =
        line.split("; ").skip(1).map(str::trim).filter(is_command).map(str::to_owned).collect();
    for command in &mut commands {
        // What the administrator has to decide is decided here.
        if let Some((_, release)) = command.split_once(", zfs release TAG ") {
            *command = format!("zfs release backup {}", release.trim_end_matches(" frees it"));
        } else if let Some((_, destroy)) = command.split_once(", or zfs destroy it") {
            let dataset = line.split("dataset ").nth(1).and_then(|l| l.split(' ').next()).unwrap();
            assert!(destroy.contains("not needed"), "{line}");
            *command = format!("zfs destroy {dataset}");
        }
    }
    commands.retain(|command| !command.starts_with("zfs destroy it"));
    commands
}

/// One program in one state: lines for the table, and what is wrong.
fn one(scene: &Scene, name: &str, make: Make, line: &str) -> (Vec<String>, Vec<String>) {
    let (mut rows, mut flaws) = (Vec::new(), Vec::new());
    scene.restore(make);
    let before = state(&scene.stage);
    let output = scene.run(line);
    let mut told = scene.told(&output);
    let looks = ["jail-list", "jail-doctor"].contains(&line);
    let changed = difference(&before, &state(&scene.stage));
    let refused = output.status.code() == Some(1);
    if !matches!(output.status.code(), Some(0 | 1)) {
        flaws.push(format!("{name}: {line}: {}", output.status));
    }
    if let Some(changed) = changed.filter(|_| looks || refused && !line.starts_with("jail-doctor")) {
        flaws.push(format!("{name}: {line}: {told:?}: {changed}"));
    }
    let outcome = if refused { "refused" } else { "done" };
    // What the doctor finds is reported once, with its cure.
    if line == "jail-doctor -x" {
        told.clear();
    } else if line == "jail-doctor" {
        told = findings(&told);
    } else if line == "jail-list" {
        told.retain(|l| l.starts_with("web ") || l.starts_with("jail-list"));
    } else if !refused {
        told.retain(|l| l.starts_with(line.split(' ').next().unwrap()));
    }
    rows.push(format!("  {line}: {outcome}"));
    rows.extend(told.iter().map(|l| format!("    {l}")));
    if !refused || line.starts_with("jail-doctor") {
        return (rows, flaws);
    }
    // What it says helps, or leads to what does.
    for _ in 0..4 {
        let commands = advice(&told);
        // What is hidden here is really gone from its place.
        if commands.is_empty() || name.contains("hidden") {
            break;
        }
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            let done = match words[0] {
                "zfs" => scene.stage.run_tool("zfs", &words[1..]),
                _ => scene.run(&command),
            };
            if !done.status.success() {
                flaws.push(format!("{name}: {line}: {command}: {}", scene.told(&done).join("; ")));
            }
        }
        let output = scene.run(line);
        told = scene.told(&output);
        if output.status.success() {
            rows.push("    then done".into());
            break;
        }
        rows.extend(told.iter().map(|l| format!("    then {l}")));
    }
    (rows, flaws)
}

#[test]
fn every_state_and_every_program() {
    let next = AtomicUsize::new(0);
    // Rows for the table and flaws, by state.
    type Results = BTreeMap<usize, (Vec<String>, Vec<String>)>;
    let all: Mutex<Results> = Mutex::new(BTreeMap::new());
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get()).min(8);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let scene = Scene::new();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((name, make)) = STATES.get(at) else { break };
                    let (mut rows, mut flaws) = (vec![format!("{name}:")], Vec::new());
                    for line in PROGRAMS {
                        let (more, wrong) = one(&scene, name, *make, line);
                        rows.extend(more);
                        flaws.extend(wrong);
                    }
                    all.lock().unwrap().insert(at, (rows, flaws));
                }
            });
        }
    });
    let all = all.into_inner().unwrap();
    let table: String =
        all.values().flat_map(|(rows, _)| rows.iter().map(|row| format!("{}\n", row.trim_end()))).collect();
    let refused = table.lines().filter(|line| line.ends_with(": refused")).count();
    println!("{} states, {} programs, {refused} refusals", STATES.len(), PROGRAMS.len());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/states/table.txt");
    if std::env::var_os("STATES_WRITE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &table).unwrap();
    }
    let flaws: Vec<&String> = all.values().flat_map(|(_, flaws)| flaws).collect();
    assert!(
        flaws.is_empty(),
        "{} flaws:\n{}",
        flaws.len(),
        flaws.iter().map(|f| format!("{f}\n")).collect::<String>()
    );
    let written = fs::read_to_string(&file).unwrap();
    let differs = table.lines().zip(written.lines()).find(|(now, then)| now != then);
    assert!(
        table == written,
        "STATES_WRITE=1 writes the table anew; the first row that differs: {differs:#?}"
    );
}
