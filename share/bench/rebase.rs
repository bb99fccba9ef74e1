//! jail-rebase of a container against rsync(1) of the same tree, and how its
//! time and memory grow with what the jail has of its own.

use super::basetree::{self, Certificates};
use super::{fresh, median, peak, row, timed};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Measures and prints the rows.
pub fn run(built: &Path) {
    let mut first = None;
    for own in [10_000, 30_000, 100_000] {
        moved(built, own, &mut first);
    }
}

fn template(root: &Path, release: &str) {
    let at = |what: &str| root.join(format!("zdata/jails/templates/{release}-RELEASE-{what}"));
    basetree::split(&at("base"), &at("skeleton"), Certificates::Links).expect("template");
    let version = at("base").join("bin/freebsd-version");
    let _ = fs::remove_file(&version);
    fs::write(version, format!("USERLAND_VERSION=\"{release}-RELEASE\"\n")).expect("version");
    fs::write(at("skeleton").join("etc/motd.template"), release).expect("template");
}

fn moved(built: &Path, own: usize, first: &mut Option<f64>) {
    let dir = fresh();
    let root = dir.path().join("root");
    for directory in ["etc/jail.conf.d", "usr/local/etc", "var/run", "zdata/jails/containers"] {
        fs::create_dir_all(root.join(directory)).expect("host");
    }
    let settings = "jail_dir=\"/zdata/jails\"\njail_net=\"10.0.0.0/16\"\n";
    fs::write(root.join("usr/local/etc/thinjail.conf"), settings).expect("settings");
    for release in ["14.2", "14.3"] {
        template(&root, release);
    }
    let ours = |line: &str| {
        let mut words = line.split(' ');
        let mut command = Command::new(built.join(words.next().unwrap_or_default()));
        command.args(words).env("THINJAIL_ROOT", &root);
        command
    };
    timed(&mut ours("jail-clone -r 14.2 web 10"));
    let container = root.join("zdata/jails/containers/web");
    for entry in 0..own {
        let directory = container.join(format!("usr/local/share/d{}", entry / 100));
        if entry % 100 == 0 {
            fs::create_dir_all(&directory).expect("tree");
        }
        fs::write(directory.join(format!("a file {entry}")), entry.to_string()).expect("tree");
    }
    let copy = dir.path().join("copy");
    let (mut times, mut theirs) = (Vec::new(), Vec::new());
    let rsync = || {
        let mut command = Command::new("rsync");
        command.arg("-a").arg(&container).arg(&copy);
        command
    };
    let there = Command::new("rsync").arg("--version").output().is_ok();
    let back = || timed(&mut ours("jail-rebase -y --revert web"));
    for _ in 0..3 {
        times.push(timed(&mut ours("jail-rebase web 14.3")));
        back();
        if there {
            theirs.push(timed(&mut rsync()));
            fs::remove_dir_all(&copy).expect("remove");
        }
    }
    let memory = peak(&ours("jail-rebase web 14.3"));
    back();
    let time = median(times);
    if there {
        let theirs = median(theirs);
        let ratio = time.as_secs_f64() / theirs.as_secs_f64();
        row(&format!("jail-rebase : rsync -a, {own} entries"), time, theirs, &format!("{ratio:.2}"), &memory);
        println!("{:<54}{:>43}", "  (rsync itself)", peak(&rsync()));
    } else {
        println!("jail-rebase : rsync -a: left out, there is no rsync");
    }
    let per_entry = time.as_secs_f64() / own as f64;
    let against = *first.get_or_insert(per_entry);
    let linear = Duration::from_secs_f64(against * own as f64);
    row(
        &format!("jail-rebase, {own} : linear"),
        time,
        linear,
        &format!("{:.2}", per_entry / against),
        &memory,
    );
}
