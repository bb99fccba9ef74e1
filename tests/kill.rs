//! Every effect of a run in turn fails, or has the process killed in front of
//! it; then the same command runs again.
//!
//! Needs the feature `inject`, which no installed build has.
#![cfg(all(feature = "inject", not(target_os = "freebsd")))]

mod common;
#[path = "standins/setup.rs"]
mod setup;

use common::Sandbox;
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
