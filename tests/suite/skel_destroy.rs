//! skel-destroy: a template that nothing uses, what of one nothing uses, and
//! nothing else.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::host;
use crate::harness::small;
use crate::harness::state;

use host::{Host, Storage};
use small::{BASE, NEW_BASE, SKELETON};
use state::{difference, state};
use std::fs;
use std::path::Path;

const NEW: &str = "zdata/jails/templates/15.0-RELEASE";
const OLD: &str = "zdata/jails/templates/14.5-RELEASE";
const BOTH: [Storage; 2] = [Storage::Directory, Storage::Zfs];

/// All names in the directory of the templates, and all datasets and snapshots.
fn names(stage: &Host) -> Vec<String> {
    let entries = fs::read_dir(stage.path("/zdata/jails/templates")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let listed = stage.tool("zfs", &["list", "-H", "-o", "name", "-t", "all"]);
    names.extend(listed.lines().map(str::to_owned));
    names
}

fn zfs(stage: &Host, line: &str) -> String {
    stage.tool("zfs", &line.split(' ').collect::<Vec<_>>())
}

/// Fails unless a command is refused with that text and changes nothing.
#[track_caller]
fn refused(stage: &Host, line: &str, expected: &str) {
    let before = state(stage);
    let told = stage.fails(line);
    assert!(told.contains(expected), "{line}: {told}");
    assert_eq!(difference(&before, &state(stage)), None, "{line}");
}

#[test]
fn nothing_of_a_template_is_left() {
    for storage in BOTH {
        let stage = small::two_releases(storage);
        stage.write("/zdata/jails/media/15.0-RELEASE-base.txz", "an archive");
        stage.ok("jail-clone -r 15.0 new 11");
        stage.ok("jail-destroy -y new");
        stage.write("/zdata/jails/templates/.15.0-RELEASE-update.conf", "");
        fs::create_dir(stage.path("/zdata/jails/templates/.15.0-RELEASE-skeleton.failed")).unwrap();
        stage.forget_calls();
        assert_eq!(stage.ok("skel-destroy -y 15.0"), "15.0-RELEASE: destroyed\n");
        assert!(!stage.calls().iter().any(|c| c.starts_with("zfs destroy -")), "{:?}", stage.calls());
        let left: Vec<String> = names(&stage).into_iter().filter(|name| name.contains("15.0")).collect();
        assert_eq!(left, [""; 0], "{storage:?}");
        assert!(stage.path("/zdata/jails/media/15.0-RELEASE-base.txz").exists());
        // The other one works as before.
        stage.ok("jail-clone db 12");
        let told = stage.fails("jail-clone -r 15.0 new 13");
        assert!(told.contains("no base of 15.0-RELEASE: "), "{told}");
        refused(
            &stage,
            "skel-destroy -y 15.0",
            "template 15.0-RELEASE does not exist: neither base nor skeleton",
        );
        for jail in ["web", "db"] {
            stage.ok(&format!("jail-destroy -y {jail}"));
        }
        stage.ok("skel-destroy -y 14.5");
        let left: Vec<String> = names(&stage).into_iter().filter(|name| name.contains("14.5")).collect();
        assert_eq!(left, [""; 0], "{storage:?}");
    }
}

#[test]
fn a_dry_run_prints_the_commands_and_changes_nothing() {
    let stage = small::two_releases(Storage::Zfs);
    let before = state(&stage);
    let expected = format!(
        "/sbin/zfs set thinjail:release=15.0-RELEASE {NEW}-base\n\
         /sbin/zfs set thinjail:release=15.0-RELEASE {NEW}-skeleton\n\
         /sbin/zfs rename {NEW}-base {NEW}-base.destroying\n\
         /sbin/zfs unmount {NEW}-skeleton\n\
         /sbin/zfs destroy {NEW}-skeleton@base\n\
         /sbin/zfs destroy {NEW}-skeleton\n\
         /sbin/zfs destroy {NEW}-base.destroying\n"
    );
    assert_eq!(stage.ok("skel-destroy -n 15.0"), expected);
    let document: serde_json::Value = serde_json::from_str(&stage.ok("skel-destroy -n --json 15.0")).unwrap();
    let commands: Vec<&str> =
        document["commands"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert_eq!(commands.join("\n") + "\n", expected);
    assert_eq!(difference(&before, &state(&stage)), None);
    let stage = small::two_releases(Storage::Directory);
    let expected = format!(
        "/bin/mv /{NEW}-base /{NEW}-base.destroying\n\
         /bin/chflags -R noschg /{NEW}-skeleton && /bin/rm -rf /{NEW}-skeleton\n\
         /bin/chflags -R noschg /{NEW}-base.destroying && /bin/rm -rf /{NEW}-base.destroying\n"
    );
    let told = stage.ok("skel-destroy -n 15.0");
    assert_eq!(told.replace(stage.root().to_str().unwrap(), ""), expected);
}

/// Whoever uses it is named.
#[test]
fn a_template_that_is_used_stays() {
    for storage in BOTH {
        let stage = small::two_releases(storage);
        stage.ok("jail-clone db 12");
        refused(&stage, "skel-destroy -y 14.5", "template 14.5-RELEASE is used by jail db, jail web;");
        stage.ok("jail-destroy -y db");
        // The former container needs the old release, the jail the new one.
        stage.ok("jail-rebase -k theirs web 15.0");
        refused(
            &stage,
            "skel-destroy -y 14.5",
            "is used by web.before-15.0-RELEASE (former container of jail web; jail-rebase --commit web); \
             jail-rebase or jail-destroy",
        );
        refused(&stage, "skel-destroy -y 15.0", "template 15.0-RELEASE is used by jail web;");
        stage.ok("jail-rebase -y --commit web");
        stage.ok("skel-destroy -y 14.5");
        refused(&stage, "skel-destroy -y 15.0", "template 15.0-RELEASE is used by jail web;");
        // An fstab that mounts it is enough.
        let fstab = fs::read_to_string(stage.path("/zdata/jails/web-nullfs-base.fstab")).unwrap();
        stage.ok("jail-destroy -y web");
        stage.write("/srv/own.fstab", &fstab);
        stage.write("/etc/jail.conf.d/own.conf", "own { mount.fstab = \"/srv/own.fstab\"; }\n");
        refused(&stage, "skel-destroy -y 15.0", "template 15.0-RELEASE is used by jail own;");
        fs::remove_file(stage.path("/etc/jail.conf.d/own.conf")).unwrap();
        stage.write("/zdata/jails/gone-nullfs-base.fstab", &fstab);
        refused(&stage, "skel-destroy -y 15.0", "template 15.0-RELEASE is used by jail gone;");
        fs::remove_file(stage.path("/zdata/jails/gone-nullfs-base.fstab")).unwrap();
        stage.ok("skel-destroy -y 15.0");
    }
}

#[test]
fn what_is_mounted_or_locked_stays() {
    use thinjail::system::lock::{Lock, LockMode};
    use thinjail::system::root::Root;
    for storage in BOTH {
        let stage = small::two_releases(storage);
        fs::create_dir_all(stage.path("/mnt")).unwrap();
        for tree in ["base", "skeleton", "skeleton/etc"] {
            stage.tool("mount", &["-t", "nullfs", &format!("/{NEW}-{tree}"), "/mnt"]);
            refused(&stage, "skel-destroy -y 15.0", "is mounted on /mnt; stop the jail that runs on it");
            stage.tool("umount", &["/mnt"]);
        }
        let point = format!("/{NEW}-base/skeleton");
        stage.tool("mount", &["-t", "nullfs", "/etc", &point]);
        refused(&stage, "skel-destroy -y 15.0", "is mounted in the template; umount ");
        stage.tool("umount", &[&point]);
        let root = Root::alternate(&stage.root()).unwrap();
        for mode in [LockMode::Shared, LockMode::Exclusive] {
            let lock = Lock::template(&root, &"15.0".parse().unwrap(), mode).unwrap();
            refused(&stage, "skel-destroy -y 15.0", "template 15.0-RELEASE is locked by another program");
            drop(lock);
        }
        refused(&stage, "skel-destroy 15.0", "standard input is not a terminal; use -y");
        stage.ok("skel-destroy -y 15.0");
    }
}

#[test]
fn what_would_go_with_the_datasets_is_refused() {
    let stage = small::two_releases(Storage::Zfs);
    let skeleton = format!("{NEW}-skeleton");
    for (make, expected, unmake) in [
        (
            format!("hold backup {skeleton}@base"),
            format!("snapshot {skeleton}@base is held by backup; zfs release backup {skeleton}@base"),
            format!("release backup {skeleton}@base"),
        ),
        (
            format!("clone {skeleton}@base zdata/copy"),
            "template 15.0-RELEASE is used by zdata/copy;".into(),
            "destroy zdata/copy".into(),
        ),
        (
            format!("create {NEW}-base/inner"),
            format!("dataset {NEW}-base/inner is below {NEW}-base; zfs rename it"),
            format!("destroy {NEW}-base/inner"),
        ),
        (
            format!("create {skeleton}/inner"),
            format!("dataset {skeleton}/inner is below {skeleton}; zfs rename it"),
            format!("destroy {skeleton}/inner"),
        ),
        (
            format!("snapshot {skeleton}@monday"),
            format!("{skeleton}@monday: not taken by thinjail; -f destroys these snapshots too"),
            format!("destroy {skeleton}@monday"),
        ),
        (
            format!("set thinjail:release=14.5-RELEASE {skeleton}"),
            format!("dataset {skeleton} belongs to template 14.5-RELEASE (thinjail:release=14.5-RELEASE)"),
            format!("inherit thinjail:release {skeleton}"),
        ),
        (
            format!("set mountpoint=/{skeleton} {skeleton}"),
            format!("dataset {skeleton} sets mountpoint=/{skeleton} itself; zfs inherit mountpoint"),
            format!("inherit mountpoint {skeleton}"),
        ),
        (
            format!("unmount {skeleton}"),
            format!("{skeleton} is not mounted; zfs mount {skeleton}"),
            format!("mount {skeleton}"),
        ),
    ] {
        zfs(&stage, &make);
        // A pool below an alternate root shows its mount points with the root.
        let before = state(&stage);
        let told = stage.fails("skel-destroy -y 15.0");
        assert!(told.replace(stage.root().to_str().unwrap(), "").contains(&expected), "{make}: {told}");
        assert_eq!(difference(&before, &state(&stage)), None, "{make}");
        zfs(&stage, &unmake);
    }
    zfs(&stage, &format!("clone {skeleton}@base zdata/copy"));
    zfs(&stage, "promote zdata/copy");
    refused(&stage, "skel-destroy -y 15.0", "which was promoted; zfs promote");
    zfs(&stage, &format!("promote {skeleton}"));
    zfs(&stage, "destroy zdata/copy");
    zfs(&stage, &format!("snapshot {skeleton}@monday"));
    zfs(&stage, &format!("snapshot {NEW}-base@monday"));
    stage.ok("skel-destroy -fy 15.0");
    assert!(!names(&stage).iter().any(|name| name.contains("15.0")), "{:?}", names(&stage));
}

/// Only what is proved to be a template goes.
#[test]
fn what_is_not_proved_to_be_a_template_stays() {
    let stage = small::two_releases(Storage::Zfs);
    zfs(&stage, "create zdata/jails/templates/13.4-RELEASE-base");
    zfs(&stage, "create zdata/jails/templates/13.4-RELEASE-skeleton");
    stage.write("/zdata/jails/templates/13.4-RELEASE-base/precious", "x");
    refused(
        &stage,
        "skel-destroy -fy 13.4",
        "dataset zdata/jails/templates/13.4-RELEASE-base: cannot verify that it belongs to template",
    );
    zfs(&stage, "set thinjail:release=13.4-RELEASE zdata/jails/templates/13.4-RELEASE-base");
    refused(
        &stage,
        "skel-destroy -fy 13.4",
        "dataset zdata/jails/templates/13.4-RELEASE-skeleton: cannot verify that it belongs to template",
    );
    zfs(&stage, "set thinjail:release=13.4-RELEASE zdata/jails/templates/13.4-RELEASE-skeleton");
    stage.ok("skel-destroy -y 13.4");
    // The name of what is being destroyed proves nothing.
    zfs(&stage, "create zdata/jails/templates/13.4-RELEASE-base.destroying");
    refused(&stage, "skel-destroy -y 13.4", "13.4-RELEASE-base.destroying: cannot verify");

    let stage = small::two_releases(Storage::Directory);
    let place = "/zdata/jails/templates/13.4-RELEASE";
    stage.write(&format!("{place}-base/precious"), "x");
    refused(&stage, "skel-destroy -fy 13.4", "13.4-RELEASE-base: cannot verify that it belongs");
    stage.write(&format!("{place}-base.origin"), "release=\"13.3-RELEASE\"\n");
    refused(&stage, "skel-destroy -fy 13.4", "13.4-RELEASE-base: cannot verify that it belongs");
    stage.write(&format!("{place}-base.origin"), "release=\"13.4-RELEASE\"\n");
    stage.write(&format!("{place}-skeleton/precious"), "x");
    refused(&stage, "skel-destroy -fy 13.4", "13.4-RELEASE-skeleton: cannot verify that it belongs");
    fs::remove_dir_all(stage.path(&format!("{place}-skeleton"))).unwrap();
    stage.ok("skel-destroy -y 13.4");
    stage.write(&format!("{place}-base"), "x");
    refused(&stage, "skel-destroy -fy 13.4", "13.4-RELEASE-base: a regular file, not a directory");
}

/// Every program says so, and which command completes it.
#[test]
fn half_a_destruction_is_no_template() {
    for storage in BOTH {
        let stage = small::two_releases(storage);
        match storage {
            Storage::Zfs => {
                zfs(&stage, &format!("set thinjail:release=15.0-RELEASE {NEW}-base"));
                zfs(&stage, &format!("rename {NEW}-base {NEW}-base.destroying"));
            }
            Storage::Directory => {
                let base = stage.path(NEW_BASE);
                fs::rename(&base, base.with_file_name("15.0-RELEASE-base.destroying")).unwrap();
            }
        }
        let expected = "template 15.0-RELEASE: its destruction was interrupted; skel-destroy 15.0-RELEASE";
        for line in
            ["jail-clone -r 15.0 new 11", "skel-fetch 15.0", "skel-split 15.0", "jail-rebase web 15.0"]
        {
            refused(&stage, line, expected);
        }
        let findings = stage.run("jail-doctor");
        let told = String::from_utf8_lossy(&findings.stdout);
        assert!(told.contains("[destroy-incomplete]") && told.contains("fix: skel-destroy 15.0"), "{told}");
        assert!(!told.contains("split-incomplete"), "{told}");
        if storage == Storage::Zfs {
            // The skeleton was not marked yet.
            refused(&stage, "skel-destroy -y 15.0", "15.0-RELEASE-skeleton: cannot verify");
            zfs(&stage, &format!("set thinjail:release=15.0-RELEASE {NEW}-skeleton"));
            // After a reboot nothing may be mounted.
            zfs(&stage, &format!("unmount {NEW}-base.destroying"));
            refused(&stage, "skel-fetch 15.0", expected);
        }
        stage.ok("skel-destroy -y 15.0");
        assert!(!names(&stage).iter().any(|name| name.contains("15.0")), "{:?}", names(&stage));
        assert_eq!(String::from_utf8_lossy(&stage.run("jail-doctor").stdout).matches("15.0").count(), 0);
    }
}

#[test]
fn the_default_release_is_a_warning() {
    for storage in BOTH {
        let stage = small::two_releases(storage);
        stage.ok("jail-rebase -k theirs web 15.0");
        stage.ok("jail-rebase -y --commit web");
        let output = stage.run("skel-destroy -y 14.5");
        let told = stage.strip(&output.stderr);
        assert!(output.status.success(), "{told}");
        let expected = "skel-destroy: warning: bsd_ver in /usr/local/etc/thinjail.conf is 14.5-RELEASE; \
                        sysrc -f /usr/local/etc/thinjail.conf bsd_ver=15.0-RELEASE\n";
        assert_eq!(told, expected);
    }
}

/// A snapshot that a container is a clone of stays: jail-rebase merges from it.
#[test]
fn only_what_nothing_uses_is_unused() {
    let stage = small::two_releases(Storage::Zfs);
    assert_eq!(stage.ok("skel-destroy -y --unused"), "nothing is unused\n");
    let skeleton = format!("{OLD}-skeleton");
    for name in ["p1", "p2", "monday", "p3"] {
        stage.write(&format!("{SKELETON}/etc/{name}"), name);
        zfs(&stage, &format!("snapshot {skeleton}@{name}"));
    }
    zfs(&stage, &format!("hold backup {skeleton}@p2"));
    let output = stage.run("skel-destroy -n --unused");
    assert_eq!(stage.strip(&output.stdout), format!("/sbin/zfs destroy {skeleton}@p1\n"));
    assert!(stage.strip(&output.stderr).contains("kept: snapshot "), "{output:?}");
    refused(&stage, "skel-destroy --unused", "standard input is not a terminal; use -y");
    assert_eq!(stage.ok("skel-destroy -y --unused 14.5"), format!("destroyed: {skeleton}@p1\n"));
    zfs(&stage, &format!("release backup {skeleton}@p2"));
    // The jail moves; now nothing is made of @base.
    stage.ok("jail-rebase -k theirs web 14.5");
    assert_eq!(stage.ok("skel-destroy -y --unused"), format!("destroyed: {skeleton}@p2\n"));
    stage.ok("jail-rebase -y --commit web");
    assert_eq!(stage.ok("skel-destroy -y --unused"), format!("destroyed: {skeleton}@base\n"));
    let left: Vec<String> =
        names(&stage).into_iter().filter(|n| n.contains(&format!("{skeleton}@"))).collect();
    assert_eq!(left, [format!("{skeleton}@monday"), format!("{skeleton}@p3")]);
    stage.ok("jail-clone db 12");
    refused(&stage, "skel-destroy -y --unused 13.4", "template 13.4-RELEASE does not exist");
}

#[test]
fn only_copies_without_a_record_are_unused() {
    let stage = small::two_releases(Storage::Directory);
    let copy = |n: &str| format!("/zdata/jails/templates/14.5-RELEASE-skeleton@base{n}");
    assert_eq!(stage.ok("skel-destroy -y --unused"), "nothing is unused\n");
    stage.write(&format!("{SKELETON}/etc/more"), "1");
    stage.ok("jail-clone db 12");
    stage.write(&format!("{SKELETON}/etc/more"), "22");
    stage.ok("jail-clone mail 13");
    assert!(stage.path(&copy(".2")).exists());
    stage.ok("jail-destroy -y db");
    // The copy of the jail that goes is not needed; that of the skeleton is current.
    stage.ok("jail-destroy -y mail");
    let temporary = "/zdata/jails/templates/.14.5-RELEASE-skeleton@base.1.thinjail";
    fs::create_dir(stage.path(temporary)).unwrap();
    let told = String::from_utf8_lossy(&stage.run("jail-doctor").stdout).into_owned();
    assert!(told.contains("fix: skel-destroy --unused removes it"), "{told}");
    let told = stage.ok("skel-destroy -y --unused");
    assert!(told.contains(&copy(".1")) && told.contains(temporary), "{told}");
    assert_eq!(["", ".1", ".2"].map(|n| stage.path(&copy(n)).exists()), [true, false, true]);
    assert!(!stage.path(temporary).exists());
    // The current one is found behind the gap, which the next one fills.
    stage.ok("jail-clone mail 13");
    assert!(!stage.path(&copy(".1")).exists() && !stage.path(&copy(".3")).exists());
    assert_eq!(
        fs::read_to_string(stage.path("/zdata/jails/containers/mail.origin")).unwrap(),
        "14.5-RELEASE-skeleton@base.2\n"
    );
    stage.ok("jail-destroy -y mail");
    // What is behind the jail is kept as well, and its merge works.
    stage.ok("jail-rebase -k theirs web 15.0");
    assert_eq!(stage.ok("skel-destroy -y --unused"), "nothing is unused\n");
    stage.ok("jail-rebase -y --commit web");
    stage.ok("skel-destroy -y --unused");
    assert_eq!(["", ".1", ".2"].map(|n| stage.path(&copy(n)).exists()), [false, false, true]);
    // A container without a record may be of the first copy.
    stage.ok("jail-clone old 14");
    fs::rename(stage.path(&copy(".2")), stage.path(&copy(""))).unwrap();
    stage.write(&format!("{SKELETON}/etc/more"), "333");
    fs::remove_file(stage.path("/zdata/jails/containers/old.origin")).unwrap();
    assert_eq!(stage.ok("skel-destroy -y --unused"), "nothing is unused\n");
    stage.write("/zdata/jails/containers/old.origin", "noise\n");
    refused(&stage, "skel-destroy -y --unused", "does not name a skeleton");
    refused(&stage, "skel-destroy -y 14.5", "does not name a skeleton");
}

/// Links in the trees lead nowhere else.
#[test]
fn links_in_a_template_are_not_followed() {
    let stage = small::two_releases(Storage::Directory);
    stage.write("/outside/file", "x");
    std::os::unix::fs::symlink(stage.path("/outside"), stage.path(&format!("/{NEW}-skeleton/etc/out")))
        .unwrap();
    stage.ok("skel-destroy -y 15.0");
    assert!(stage.path("/outside/file").exists());
    assert!(Path::new(&stage.path(BASE)).exists());
}
