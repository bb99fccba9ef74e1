//! Every effect of a run in turn fails, or has the process killed in front of
//! it; then the same command runs again.
//!
//! Needs the feature `inject`, which no installed build has.
#![cfg(all(feature = "inject", not(target_os = "freebsd")))]

mod common;
#[path = "common/listing.rs"]
mod listing;
#[path = "standins/setup.rs"]
mod setup;
#[path = "common/small.rs"]
mod small;

use common::{Sandbox, bin};
use listing::{Times, listing};
use setup::{Stage, Storage};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use thinjail::kernel::simulated::{HOST, Kind};

const SIGKILL: i32 = 9;
const ERRNOS: [&str; 5] = ["ENOSPC", "EROFS", "EIO", "EACCES", "EMFILE"];

/// Runs the commands that `command` makes with the fault at effect 1, 2, ...
/// until one run gets through without meeting it; tells how many met it. `each`
/// sees what each of these left.
fn at_every_effect(
    fault: &str,
    mut command: impl FnMut() -> Command,
    mut each: impl FnMut(usize, &Output),
) -> usize {
    for number in 1.. {
        let output = command().env("THINJAIL_INJECT", format!("{fault}@{number}")).output().unwrap();
        if output.status.success() {
            return number - 1;
        }
        if fault == "kill" {
            assert_eq!(output.status.signal(), Some(SIGKILL), "{fault}@{number}: {output:?}");
        } else {
            assert_eq!(output.status.code(), Some(1), "{fault}@{number}: {output:?}");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
        each(number, &output);
    }
    unreachable!()
}

fn command(host: &Sandbox, line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(common::bin(words.next().unwrap()));
    command.args(words).env_clear().env("THINJAIL_ROOT", host.root());
    command
}

const UPS: [&str; 4] = [
    "jail-epair-up -b igc0bridge web epair5",
    "jail-epair-up -b igc0bridge web web0",
    "jail-epair-up -u em0 -b em0bridge web epair5",
    "jail-epair-up -u em0 -b bridge3 web web0",
];

fn host_with_em0() -> Sandbox {
    let host = Sandbox::new();
    host.plug("em0");
    host
}

fn down_of(up: &str) -> String {
    format!("jail-epair-down {}", up.split("web ").nth(1).map(|p| format!("web {p}")).unwrap())
}

#[test]
fn a_failing_effect_is_undone() {
    for up in UPS {
        for errno in ERRNOS {
            let host = host_with_em0();
            let before = host.present();
            let cases = at_every_effect(
                errno,
                || command(&host, up),
                |number, _| assert_eq!(before, host.present(), "{up}: {errno}@{number}"),
            );
            assert!(cases >= 9, "{up}: only {cases} effects");
        }
    }
}

#[test]
fn killed_then_started_again() {
    for up in UPS {
        // What an undisturbed start and stop leave.
        let host = host_with_em0();
        host.ok(up);
        let whole = summary(&host);
        host.ok(&down_of(up));
        let after = summary(&host);

        let host = host_with_em0();
        let mut number = 0;
        loop {
            number += 1;
            let fault = format!("kill@{number}");
            let output = command(&host, up).env("THINJAIL_INJECT", fault).output().unwrap();
            if output.status.success() {
                break;
            }
            assert_eq!(output.status.signal(), Some(SIGKILL));
            host.ok(up);
            assert_eq!(whole, summary(&host), "{up}: killed before effect {number}");
            host.ok(&down_of(up));
            assert_eq!(after, summary(&host), "{up}: killed before effect {number}");
            // The next round starts without the bridge again.
            host.kernel
                .change(|s| {
                    for bridge in ["em0bridge", "bridge3"] {
                        if s.interface(HOST, bridge).is_some() {
                            s.destroy(HOST, bridge)?;
                        }
                    }
                    Ok(())
                })
                .unwrap();
        }
        assert!(number > 9, "{up}: only {number} effects");
    }
}

/// All interfaces without what changes from one making to the next.
fn summary(host: &Sandbox) -> Vec<String> {
    let state = host.state();
    let mut lines: Vec<String> = state
        .interfaces
        .iter()
        .map(|i| {
            let kind = match &i.kind {
                Kind::Bridge(_, members) => {
                    let of = |id: &u32| state.interfaces.iter().find(|i| i.id == *id).unwrap().name.clone();
                    format!("bridge of {:?}", members.iter().map(of).collect::<Vec<_>>())
                }
                other => format!("{other:?}"),
            };
            // A bridge keeps the address of whatever the kernel counted to.
            let mac = if matches!(i.kind, Kind::Epair(_)) { i.mac } else { [0; 6] };
            format!("{} {kind} up {} mtu {} {mac:?} {:?} {:?}", i.name, i.up, i.mtu, i.description, i.groups)
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn clone_on_directories() {
    let line = "jail-clone -e pg-1 111";
    let stage = |root: &Sandbox| {
        let tools = root.at("tools");
        std::fs::create_dir_all(&tools).unwrap();
        let _ = std::os::unix::fs::symlink(setup::standin(), tools.join("sysrc"));
    };
    let with_tools = |host: &Sandbox| {
        let mut c = command(host, line);
        c.env("THINJAIL_TOOLS", host.at("tools"));
        c
    };
    let undisturbed = Sandbox::with_template();
    stage(&undisturbed);
    assert!(with_tools(&undisturbed).status().unwrap().success());
    let strip = |host: &Sandbox| -> Vec<String> {
        let root = host.root().display().to_string();
        host.present().iter().filter(|l| !l.contains("/var/db")).map(|l| l.replace(&root, "")).collect()
    };
    let whole = strip(&undisturbed);

    // Killed before each effect, each time on a new host, then once more.
    let mut cases = 0;
    for number in 1.. {
        let host = Sandbox::with_template();
        stage(&host);
        let status = with_tools(&host).env("THINJAIL_INJECT", format!("kill@{number}")).status().unwrap();
        if status.success() {
            break;
        }
        assert_eq!(status.signal(), Some(SIGKILL));
        // Once its file is there, the jail exists, whole.
        if !host.at("etc/jail.conf.d/pg-1.conf").exists() {
            let output = with_tools(&host).output().unwrap();
            assert!(output.status.success(), "killed before effect {number}: {output:?}");
        }
        assert_eq!(whole, strip(&host), "killed before effect {number}");
        cases += 1;
    }
    assert!(cases > 15, "only {cases} effects");

    for errno in ERRNOS {
        let host = Sandbox::with_template();
        stage(&host);
        // sysrc(8) leaves an empty file where there was none.
        std::fs::write(host.at("etc/rc.conf"), "").unwrap();
        let before = strip(&host);
        let cases = at_every_effect(
            errno,
            || with_tools(&host),
            |number, _| assert_eq!(before, strip(&host), "{errno}@{number}"),
        );
        assert!(cases > 15, "only {cases} effects");
    }
}

#[test]
fn clone_on_zfs() {
    let new = || {
        let stage = setup::Stage::new();
        stage.pool("zdata");
        for dataset in ["containers", "templates/14.2-RELEASE-base", "templates/14.2-RELEASE-skeleton"] {
            stage.ok("zfs", &["create", "-p", &format!("zdata/jails/{dataset}")]);
        }
        let base = stage.path("/zdata/jails/templates/14.2-RELEASE-base");
        std::fs::create_dir_all(base.join("skeleton")).unwrap();
        std::os::unix::fs::symlink("skeleton/etc", base.join("etc")).unwrap();
        std::os::unix::fs::symlink("skeleton/var", base.join("var")).unwrap();
        stage.write("/zdata/jails/templates/14.2-RELEASE-skeleton/etc/rc.conf", "");
        stage.write("/zdata/jails/templates/14.2-RELEASE-skeleton/var/log/messages", "");
        stage.ok("zfs", &["snapshot", "zdata/jails/templates/14.2-RELEASE-skeleton@base"]);
        let settings = "jail_zfs=\"zdata/jails\"\nbsd_ver=\"14.2\"\njail_net=\"192.168.7.0/24\"\n";
        stage.write("/usr/local/etc/thinjail.conf", settings);
        std::fs::create_dir_all(stage.path("/etc/jail.conf.d")).unwrap();
        stage
    };
    let clone = |stage: &setup::Stage| {
        let mut command = stage.wear(Command::new(common::bin("jail-clone")));
        command.args(["pg-1", "111"]);
        command
    };
    let files = [
        "/zdata/jails/pg-1-nullfs-base",
        "/zdata/jails/pg-1-nullfs-base.fstab",
        "/etc/jail.conf.d/pg-1.conf",
    ];
    let temporary = ["/zdata/jails/.pg-1-nullfs-base.fstab.thinjail", "/etc/jail.conf.d/.pg-1.conf.thinjail"];
    let datasets = |stage: &setup::Stage| {
        stage.ok("zfs", &["list", "-H", "-o", "name,origin", "-r", "zdata/jails/containers"])
    };
    let mut cases = 0;
    for number in 1.. {
        let stage = new();
        let status = clone(&stage).env("THINJAIL_INJECT", format!("kill@{number}")).status().unwrap();
        if status.success() {
            break;
        }
        assert_eq!(status.signal(), Some(SIGKILL));
        if !stage.path(files[2]).exists() {
            let output = clone(&stage).output().unwrap();
            assert!(output.status.success(), "killed before effect {number}: {output:?}");
        }
        assert!(files.iter().all(|f| stage.path(f).exists()), "killed before effect {number}");
        assert!(!temporary.iter().any(|f| stage.path(f).exists()), "killed before effect {number}");
        assert_eq!(datasets(&stage).lines().count(), 2);
        cases += 1;
    }
    assert!(cases > 8, "only {cases} effects");
    for errno in ERRNOS {
        let stage = new();
        at_every_effect(
            errno,
            || clone(&stage),
            |number, _| {
                assert!(!files.iter().chain(&temporary).any(|f| stage.path(f).exists()), "{errno}@{number}");
                assert_eq!(datasets(&stage), "zdata/jails/containers\t-\n", "{errno}@{number}");
            },
        );
    }
}

#[test]
fn fixcerts() {
    let broken = |host: &Sandbox| {
        let certs = host.at("zdata/jails/templates/14.2-RELEASE-skeleton/etc/ssl/certs");
        for n in 1..6 {
            std::os::unix::fs::symlink(
                "../../../usr/share/certs/trusted/A.pem",
                certs.join(format!("0{n}.0")),
            )
            .unwrap();
        }
        let rmt = host.at("zdata/jails/templates/14.2-RELEASE-skeleton/etc/rmt");
        std::os::unix::fs::symlink("../usr/sbin/rmt", rmt).unwrap();
    };
    let undisturbed = Sandbox::with_template();
    broken(&undisturbed);
    undisturbed.ok("skel-fixcerts 14.2");
    let strip = |host: &Sandbox| -> Vec<String> {
        let root = host.root().display().to_string();
        host.present().iter().map(|l| l.replace(&root, "")).collect()
    };
    let whole = strip(&undisturbed);
    let mut cases = 0;
    for number in 1.. {
        let host = Sandbox::with_template();
        broken(&host);
        let fault = format!("kill@{number}");
        let status = command(&host, "skel-fixcerts 14.2").env("THINJAIL_INJECT", fault).status().unwrap();
        if status.success() {
            break;
        }
        assert_eq!(status.signal(), Some(SIGKILL));
        host.ok("skel-fixcerts 14.2");
        assert_eq!(whole, strip(&host), "killed before effect {number}");
        cases += 1;
    }
    assert_eq!(cases, 12);
    for errno in ERRNOS {
        let host = Sandbox::with_template();
        broken(&host);
        let before = host.present();
        let cases = at_every_effect(
            errno,
            || command(&host, "skel-fixcerts 14.2"),
            |number, _| assert_eq!(before, host.present(), "{errno}@{number}"),
        );
        assert_eq!(cases, 12);
    }
}

/// Makes a host.
type Prepare = fn(Storage) -> Stage;

/// The commands that make a template and update it, and destroy a jail, and what
/// prepares a host for each.
const TEMPLATES: [(&str, Prepare); 5] = [
    ("jail-destroy -y web", with_jail),
    ("skel-fetch -f /dist/base.txz 14.2", with_archive),
    ("skel-fetch 14.2", with_server),
    ("skel-split 14.2", small::stage),
    ("skel-update 14.2", with_updates),
];

/// A host with an archive that has the same small base.
fn with_archive(storage: Storage) -> Stage {
    let stage = Stage::bare(storage);
    let dist = stage.path("/dist");
    std::fs::create_dir_all(&dist).unwrap();
    let made = small::archive();
    std::fs::write(dist.join("base.txz"), &made).unwrap();
    std::fs::write(dist.join("MANIFEST"), small::manifest(&made)).unwrap();
    stage.write("/etc/resolv.conf", "nameserver 192.168.7.1\n");
    std::os::unix::fs::symlink("/usr/share/zoneinfo/UTC", stage.path("/etc/localtime")).unwrap();
    stage
}

fn with_server(storage: Storage) -> Stage {
    let stage = with_archive(storage);
    let at = "releases/amd64/amd64/14.2-RELEASE";
    for name in ["base.txz", "MANIFEST"] {
        let contents = std::fs::read(stage.path("/dist").join(name)).unwrap();
        stage.www("download.freebsd.org", &format!("{at}/{name}"), &contents);
    }
    stage
}

fn with_updates(storage: Storage) -> Stage {
    let stage = small::stage(storage);
    let conf = format!("KeyPrint {}\nServerName update.FreeBSD.org\nComponents world\n", "8".repeat(64));
    stage.write("/etc/freebsd-update.conf", &conf);
    small::ok(&stage, "skel-split 14.2");
    let version = b"#!/bin/sh\nUSERLAND_VERSION=\"14.2-RELEASE-p1\"\n";
    let all: [(&str, &[u8]); 3] =
        [("/bin/freebsd-version", version), ("/bin/sh", b"new\n"), ("/etc/services", b"new 1/tcp\n")];
    stage.updates("14.2-RELEASE", 1, &all);
    stage
}

fn on(stage: &Stage, line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = stage.wear(Command::new(bin(words.next().unwrap())));
    command.args(words);
    command
}

/// A host with a jail made by jail-clone, or by hand, that has work in it.
fn with_jail(storage: Storage) -> Stage {
    let stage = small::stage(storage);
    small::ok(&stage, "skel-split 14.2");
    stage.write("/etc/rc.conf", "jail_list=\"db\"\n");
    small::ok(&stage, "jail-clone -e web 10");
    stage.write("/zdata/jails/containers/web/root/work", "much of it\n");
    if storage == Storage::Zfs {
        stage.ok("zfs", &["inherit", "thinjail:jail", "zdata/jails/containers/web"]);
        stage.ok("zfs", &["snapshot", "zdata/jails/containers/web@monday"]);
    }
    stage
}

/// All that a template consists of, and what a run might have left.
fn state(stage: &Stage) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    if stage.path("/zdata").exists() {
        let trees = listing(&stage.path("/zdata"), Times::None);
        all.extend(trees.into_iter().map(|(path, line)| format!("{} {line}", path.display())));
    }
    let columns = "name,origin,mounted,mountpoint,thinjail:release,thinjail:sha256";
    all.push(stage.ok("zfs", &["list", "-H", "-o", columns, "-t", "all"]));
    all.push(stage.ok("mount", &["-t", "nullfs", "-p"]));
    for file in ["/etc/rc.conf", "/etc/jail.conf.d/web.conf"] {
        all.extend(std::fs::read_to_string(stage.path(file)).map(|text| format!("{file}: {text}")));
    }
    all
}

#[test]
fn a_killed_template_program_run_again() {
    for (line, prepare) in TEMPLATES {
        for storage in [Storage::Directory, Storage::Zfs] {
            let whole = prepare(storage);
            small::ok(&whole, line);
            let whole = state(&whole);
            let mut killed = Vec::new();
            let cases = at_every_effect(
                "kill",
                || {
                    killed.push(prepare(storage));
                    on(killed.last().unwrap(), line)
                },
                |_, _| (),
            );
            // The last one got through.
            killed.pop();
            assert!(cases >= 6, "{line}: only {cases} effects");
            for (number, stage) in killed.iter().enumerate() {
                let again = small::run(stage, line);
                let stderr = String::from_utf8_lossy(&again.stderr);
                // It may have been complete.
                assert!(
                    again.status.success() || stderr.contains("there is no jail web"),
                    "{line}: {stderr}"
                );
                let now = state(stage);
                let odd: Vec<_> = now.iter().filter(|l| !whole.contains(l)).collect();
                let lost: Vec<_> = whole.iter().filter(|l| !now.contains(l)).collect();
                assert!(
                    odd.is_empty() && lost.is_empty(),
                    "{line}: kill@{}: {odd:#?}, not {lost:#?}",
                    number + 1
                );
            }
        }
    }
}

#[test]
fn a_failing_template_program_leaves_what_was_there() {
    for (line, prepare) in TEMPLATES {
        for storage in [Storage::Directory, Storage::Zfs] {
            for errno in ["ENOSPC", "EIO"] {
                let mut stage = prepare(storage);
                let mut before = state(&stage);
                let (mut number, mut passed) = (0, 0);
                // A fetch(1) that fails is tried once more, so that some runs
                // get through although they met the fault.
                while passed < 3 {
                    number += 1;
                    let output = on(&stage, line)
                        .env("THINJAIL_INJECT", format!("{errno}@{number}"))
                        .output()
                        .unwrap();
                    let stderr = String::from_utf8_lossy(&output.stderr);
                    let what = format!("{line}: {errno}@{number}: {stderr}");
                    if output.status.success() {
                        passed += 1;
                        stage = prepare(storage);
                        before = state(&stage);
                        continue;
                    }
                    passed = 0;
                    assert_eq!(output.status.code(), Some(1), "{what}");
                    let after = state(&stage);
                    // A program that makes a file large and slow to get keeps it,
                    // and once a template is complete what follows only tidies up.
                    let complete =
                        ["the template is complete", "updated, but", "jail web is gone, but not all of it"]
                            .iter()
                            .any(|text| stderr.contains(text));
                    let keeps = line == "skel-fetch 14.2";
                    if complete || keeps {
                        assert!(keeps || small::run(&stage, line).status.success(), "{what}");
                        if keeps {
                            let templates = stage.path("/zdata/jails/templates");
                            let empty = |d: std::fs::ReadDir| d.count() == 0;
                            assert!(std::fs::read_dir(templates).map_or(true, empty), "{what}");
                        }
                        stage = prepare(storage);
                        before = state(&stage);
                    } else {
                        let odd: Vec<_> = after.iter().filter(|l| !before.contains(l)).collect();
                        let lost: Vec<_> = before.iter().filter(|l| !after.contains(l)).collect();
                        assert!(odd.is_empty() && lost.is_empty(), "{what}: {odd:#?}, not {lost:#?}");
                    }
                }
                assert!(number > 9, "{line}: only {number} effects");
            }
        }
    }
}
