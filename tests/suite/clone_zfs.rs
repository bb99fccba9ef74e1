//! jail-clone on ZFS, with the stand-in for zfs(8) that agrees with recordings.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::bin::bin;
use crate::harness::host;

use host::Host;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

const CONTAINER: &str = "zdata/jails/containers/pg-1";
const SNAPSHOT: &str = "zdata/jails/templates/14.5-RELEASE-skeleton@base";
const SETTINGS: &str = "jail_zfs=\"zdata/jails\"\nbsd_ver=\"14.5\"\njail_net=\"192.168.7.0/24\"\n";

/// A pool with a small split template.
fn stage() -> Host {
    let stage = Host::new();
    stage.pool("zdata");
    for dataset in ["containers", "templates/14.5-RELEASE-base", "templates/14.5-RELEASE-skeleton"] {
        stage.tool("zfs", &["create", "-p", &format!("zdata/jails/{dataset}")]);
    }
    let base = stage.path("/zdata/jails/templates/14.5-RELEASE-base");
    fs::create_dir_all(base.join("skeleton")).unwrap();
    symlink("skeleton/etc", base.join("etc")).unwrap();
    symlink("skeleton/var", base.join("var")).unwrap();
    stage.write("/zdata/jails/templates/14.5-RELEASE-skeleton/etc/rc.conf", "");
    stage.write("/zdata/jails/templates/14.5-RELEASE-skeleton/var/log/messages", "");
    stage.tool("zfs", &["snapshot", SNAPSHOT]);
    stage.write("/usr/local/etc/thinjail.conf", SETTINGS);
    fs::create_dir_all(stage.path("/etc/jail.conf.d")).unwrap();
    stage.forget_calls();
    stage
}

fn run(stage: &Host, line: &str) -> Output {
    let mut words = line.split(' ');
    let program = bin(words.next().unwrap());
    stage.prepare(Command::new(program)).args(words).output().unwrap()
}

#[track_caller]
fn ok(stage: &Host, line: &str) -> String {
    let output = run(stage, line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fails(stage: &Host, line: &str) -> String {
    let output = run(stage, line);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

/// No trace of the jail but, where it is expected, its container.
#[track_caller]
fn nothing_left(stage: &Host) {
    for path in
        ["/zdata/jails/pg-1-nullfs-base", "/zdata/jails/pg-1-nullfs-base.fstab", "/etc/jail.conf.d/pg-1.conf"]
    {
        assert!(!stage.path(path).exists(), "{path}");
    }
    let datasets = stage.tool("zfs", &["list", "-H", "-o", "name", "-r", "zdata/jails/containers"]);
    assert_eq!(datasets, "zdata/jails/containers\n");
}

fn property(stage: &Host, name: &str) -> String {
    stage.tool("zfs", &["get", "-H", "-o", "value", name, CONTAINER]).trim().to_owned()
}

#[test]
fn a_clone_marked_as_the_jails() {
    let stage = stage();
    assert_eq!(ok(&stage, "jail-clone pg-1 111"), "pg-1: id 111, 192.168.7.111/24\n");
    assert_eq!(property(&stage, "origin"), SNAPSHOT);
    assert_eq!(property(&stage, "thinjail:jail"), "pg-1");
    assert!(stage.path("/zdata/jails/containers/pg-1/etc/rc.conf").exists());
    let fstab = fs::read_to_string(stage.path("/zdata/jails/pg-1-nullfs-base.fstab")).unwrap();
    assert_eq!(
        fstab,
        "/zdata/jails/templates/14.5-RELEASE-base /zdata/jails/pg-1-nullfs-base/ nullfs ro 0 0\n\
         /zdata/jails/containers/pg-1 /zdata/jails/pg-1-nullfs-base/skeleton nullfs rw 0 0\n"
    );
    let calls = stage.calls();
    assert!(calls.iter().any(|c| c.contains("clone -o thinjail:jail=pg-1")), "{calls:?}");
    assert!(!calls.iter().any(|c| c.contains("clone -p")), "{calls:?}");
}

/// Starting zfs(8) costs more than what it does: one question before, and one
/// whether it is mounted.
#[test]
fn few_questions() {
    let stage = stage();
    ok(&stage, "jail-clone pg-1 111");
    let calls = stage.calls();
    let commands: Vec<_> = calls.iter().map(|c| c.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(commands, ["zfs get", "zfs clone", "zfs get"], "{calls:?}");
}

/// Killed while zfs(8) makes a clone, which continues: nobody may take the clone
/// for finished, or for left unmounted, before it is.
#[test]
fn killed_before_zfs_is_done() {
    let (stage, zfs) = (
        stage(),
        "#!/bin/sh\nif [ $1 = WHAT ] && rm \"${0%/*}/armed\" 2>/dev/null; then\n\
        kill -9 $PPID\nread go <\"${0%/*}/go\"\nfi\nexec \"${0%/*}/real/zfs\" \"$@\"\n",
    );
    let at = |name: &str| stage.tools().join(name);
    fs::create_dir(at("real")).unwrap();
    fs::rename(at("zfs"), at("real/zfs")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("go"), rustix::fs::Mode::RWXU).unwrap();
    let lock = stage.path("/var/run/thinjail-jails.lock");
    for (what, line) in [("clone", "jail-clone pg-1 111"), ("unmount", "jail-destroy -y pg-1")] {
        fs::write(at("zfs"), zfs.replace("WHAT", what)).unwrap();
        fs::set_permissions(at("zfs"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("armed"), "").unwrap();
        assert_eq!(run(&stage, line).status.signal(), Some(9), "{line}");
        let held = fs::File::open(&lock).unwrap().try_lock();
        assert!(matches!(held, Err(fs::TryLockError::WouldBlock)), "{line}: {held:?}");
        fs::write(at("go"), "\n").unwrap();
        // Waits for it.
        ok(&stage, line);
    }
    nothing_left(&stage);
}

#[test]
fn a_clone_that_did_not_mount_is_a_failure() {
    let stage = stage();
    stage.fault("fail-mount");
    let error = fails(&stage, "jail-clone pg-1 111");
    assert!(error.contains("is not mounted"), "{error}");
    nothing_left(&stage);
    stage.clear_fault("fail-mount");
    ok(&stage, "jail-clone pg-1 111");
}

#[test]
fn leftovers_and_strangers() {
    let stage = stage();
    // As a killed run leaves it: the same command finishes.
    ok(&stage, "jail-clone pg-1 111");
    fs::remove_file(stage.path("/etc/jail.conf.d/pg-1.conf")).unwrap();
    stage.forget_calls();
    ok(&stage, "jail-clone pg-1 111");
    assert!(!stage.calls().iter().any(|c| c.contains(" clone ")), "{:?}", stage.calls());
    // Changed since.
    fs::remove_file(stage.path("/etc/jail.conf.d/pg-1.conf")).unwrap();
    stage.write("/zdata/jails/containers/pg-1/etc/mine", "m");
    let error = fails(&stage, "jail-clone pg-1 111");
    assert!(error.contains("was changed"), "{error}");
    assert!(stage.path("/zdata/jails/containers/pg-1/etc/mine").exists());
    // Made, but not mounted any longer.
    stage.tool("zfs", &["destroy", CONTAINER]);
    ok(&stage, "jail-clone pg-1 111");
    fs::remove_file(stage.path("/etc/jail.conf.d/pg-1.conf")).unwrap();
    stage.tool("zfs", &["unmount", CONTAINER]);
    ok(&stage, "jail-clone pg-1 111");
    assert_eq!(property(&stage, "mounted"), "yes");
    fs::remove_file(stage.path("/etc/jail.conf.d/pg-1.conf")).unwrap();
    // Not ours: a property that is merely inherited proves nothing.
    stage.tool("zfs", &["destroy", CONTAINER]);
    stage.tool("zfs", &["set", "thinjail:jail=pg-1", "zdata/jails/containers"]);
    stage.tool("zfs", &["clone", SNAPSHOT, CONTAINER]);
    let error = fails(&stage, "jail-clone pg-1 111");
    assert!(error.contains("belongs to no known jail"), "{error}");
    stage.tool("zfs", &["inherit", "thinjail:jail", "zdata/jails/containers"]);
    // Not ours, or of another origin.
    stage.tool("zfs", &["destroy", CONTAINER]);
    stage.tool("zfs", &["clone", SNAPSHOT, CONTAINER]);
    let error = fails(&stage, "jail-clone pg-1 111");
    assert!(error.contains("belongs to no known jail"), "{error}");
    stage.tool("zfs", &["destroy", CONTAINER]);
    stage.tool("zfs", &["create", "-o", "thinjail:jail=pg-1", CONTAINER]);
    let error = fails(&stage, "jail-clone pg-1 111");
    assert!(error.contains("but is a clone of nothing,"), "{error}");
}

#[test]
fn missing_pieces() {
    let stage = stage();
    let error = fails(&stage, "jail-clone -r 15.0 pg-1");
    assert!(error.contains("no base of 15.0-RELEASE"), "{error}");
    stage.write("/usr/local/etc/thinjail.conf", &SETTINGS.replace("zdata/jails", "zdata/nope"));
    let error = fails(&stage, "jail-clone pg-1");
    assert!(error.contains("zdata/nope: dataset does not exist"), "{error}");
    stage.write("/usr/local/etc/thinjail.conf", SETTINGS);
    stage.tool("zfs", &["destroy", SNAPSHOT]);
    let error = fails(&stage, "jail-clone pg-1");
    assert!(error.contains("-skeleton has no snapshot; run skel-split 14.5-RELEASE"), "{error}");
    nothing_left(&stage);
}

#[test]
fn not_root() {
    let stage = stage();
    stage.fault("not-root");
    let error = fails(&stage, "jail-clone pg-1 111");
    assert!(error.contains("permission denied"), "{error}");
    nothing_left(&stage);
}

#[test]
fn jail_list() {
    let stage = stage();
    ok(&stage, "jail-clone -e pg-1 111");
    let list = || stage.tool("sysrc", &["-n", "jail_list"]).trim().to_owned();
    assert_eq!(list(), "pg-1");
    ok(&stage, "jail-clone -e pg-2");
    assert_eq!(list(), "pg-1 pg-2");
    // Once, even when a killed run has added it already.
    fs::remove_file(stage.path("/etc/jail.conf.d/pg-2.conf")).unwrap();
    ok(&stage, "jail-clone -e pg-2");
    assert_eq!(list(), "pg-1 pg-2");
    // An empty list starts every jail, and must go on doing so.
    stage.tool("sysrc", &["jail_list="]);
    ok(&stage, "jail-clone -e pg-3");
    assert_eq!(list(), "pg-1 pg-2 pg-3");
}
