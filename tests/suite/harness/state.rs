//! All that a host consists of, as lines of text.

use crate::harness::host::Host;
use crate::harness::listing::{Times, listing};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use thinjail::system::kernel::simulated::InterfaceKind;

/// What the Ethernet addresses begin with that the kernel makes.
const KERNELS_OWN: [u8; 4] = [0x58, 0x9c, 0xfc, 0x10];

/// Files with owners, modes and contents, datasets with what is set on them,
/// snapshots with their files, interfaces, mounts and jails. Left out is what
/// changes with the time, and locks.
pub fn state(stage: &Host) -> Vec<String> {
    let mut all = Vec::new();
    for top in ["dist", "etc", "tmp", "usr", "var/run", "zdata"] {
        let real = stage.root().join(top);
        if real.exists() {
            for (path, line) in listing(&real, Times::None) {
                all.push(format!("/{top}/{} {line}", path.display()));
            }
        }
    }
    all.retain(|line| !line.starts_with("/var/run/thinjail-"));
    pools(stage, &mut all);
    for name in ["pf.running", "sysctl.conf"] {
        all.extend(std::fs::read_to_string(stage.standin_file(name)).map(|text| format!("{name} {text:?}")));
    }
    let kernel = stage.state();
    for i in &kernel.interfaces {
        let kind = match &i.kind {
            InterfaceKind::Bridge(_, members) => {
                let of = |id: &u32| kernel.interfaces.iter().find(|i| i.id == *id).unwrap().name.clone();
                let mut members: Vec<_> = members.iter().map(of).collect();
                members.sort();
                format!("bridge of {members:?}")
            }
            other => format!("{other:?}"),
        };
        // Those that the kernel gives change from one making to the next.
        let mac = if i.mac.starts_with(&KERNELS_OWN) { [0; 6] } else { i.mac };
        let said = (&i.description, &i.groups, &i.addresses);
        all.push(format!(
            "interface {} {kind} vnet {} up {} mtu {} {mac:?} {said:?}",
            i.name, i.vnet, i.up, i.mtu
        ));
    }
    for m in &kernel.mounts {
        all.push(format!("mount {} {} on {} busy {}", m.kind, m.from.display(), m.on.display(), m.busy));
    }
    for j in &kernel.jails {
        all.push(format!("jail {} at {} dying {}", j.name, j.path.display(), j.dying));
    }
    all.sort();
    let root = stage.root().display().to_string();
    for line in &mut all {
        *line = undated(&line.replace(&root, ""));
        // The order of variables means nothing, and undoing may change it.
        if line.starts_with("/etc/rc.conf file") {
            let mut parts: Vec<&str> = line.trim_end_matches('"').split("\\n").collect();
            parts.sort_unstable();
            *line = parts.join("\\n");
        }
    }
    all
}

/// Without the day on which a base was fetched.
fn undated(line: &str) -> String {
    match line.split_once("fetched=") {
        Some((before, after)) => {
            format!("{before}fetched={}", after.trim_start_matches(['\\', '"']).get(10..).unwrap_or(""))
        }
        None => line.to_owned(),
    }
}

fn pools(stage: &Host, all: &mut Vec<String>) {
    let Ok(text) = fs::read(stage.standin_file("zfs.json")) else { return };
    let pool: Value = serde_json::from_slice(&text).unwrap();
    let fields = |name: &str| pool[name].as_object().unwrap();
    let names: BTreeMap<u64, &String> =
        fields("datasets").iter().map(|(name, set)| (set["id"].as_u64().unwrap(), name)).collect();
    let snapshot = |id: u64| {
        let snapshot = &pool["snapshots"][id.to_string()];
        let of = names[&snapshot["dataset"].as_u64().unwrap()];
        format!("{of}@{}", snapshot["name"].as_str().unwrap())
    };
    let local = |set: &Value| {
        let set = set["local"].as_object().unwrap().iter();
        set.map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect::<Vec<_>>().join(" ")
    };
    for (name, set) in fields("datasets") {
        let origin = set["origin"].as_u64().map(snapshot);
        all.push(format!("dataset {name} of {origin:?} mounted {} {}", set["mounted"], local(set)));
    }
    for (id, set) in fields("snapshots") {
        let name = snapshot(id.parse().unwrap());
        all.push(format!("snapshot {name} holds {} {}", set["holds"], local(set)));
        for (path, line) in listing(&stage.standin_file("snapshots").join(id), Times::None) {
            all.push(format!("snapshot {name} {} {line}", path.display()));
        }
    }
}

/// What is there and should not be, and the other way round.
pub fn difference(expected: &[String], now: &[String]) -> Option<String> {
    if expected == now {
        return None;
    }
    let odd: Vec<_> = now.iter().filter(|l| !expected.contains(l)).take(8).collect();
    let lost: Vec<_> = expected.iter().filter(|l| !now.contains(l)).take(8).collect();
    Some(format!("odd {odd:?}, lost {lost:?}"))
}
