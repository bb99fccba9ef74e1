//! skel-update: the next patch level, or nothing at all.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::host;
use crate::harness::listing;
use crate::harness::small;

use host::{Host, Storage};
use listing::{Times, listing};
use small::{BASE, SKELETON};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const RELEASE: &str = "14.5-RELEASE";
const CONF: &str = "KeyPrint 800651ef4b4c71c27e60786d7b487188970f4b4169cc055784e21eb71d410cc5\n\
                    ServerName update.FreeBSD.org\nComponents src world kernel\nUpdateIfUnmodified /etc/ /var/ /root/\n";
const DATASET: &str = "zdata/jails/templates/14.5-RELEASE-skeleton";

/// A host with a split template of 14.5 and a jail on it.
fn stage(storage: Storage) -> Host {
    let stage = small::stage(storage);
    stage.write("/etc/freebsd-update.conf", CONF);
    stage.ok("skel-split 14.5");
    stage.ok("jail-clone old 10");
    stage.forget_calls();
    stage
}

/// The server has this patch level: a new sh, a new certificate, a changed and
/// a new file in etc.
fn patch(stage: &Host, level: u32) {
    let version = format!("#!/bin/sh\nUSERLAND_VERSION=\"{RELEASE}-p{level}\"\n");
    let services = format!("domain 53/udp\np{level} {level}/tcp\n");
    let all: [(&str, &[u8]); 5] = [
        ("/bin/freebsd-version", version.as_bytes()),
        ("/bin/sh", b"a new sh\n"),
        ("/etc/services", services.as_bytes()),
        ("/etc/new.conf", b"new\n"),
        ("/usr/share/certs/trusted/B.pem", b"another certificate\n"),
    ];
    stage.updates(RELEASE, level, &all);
}

fn templates(stage: &Host) -> BTreeMap<PathBuf, String> {
    listing(&stage.path("/zdata/jails/templates"), Times::Files)
}

fn snapshots(stage: &Host) -> Vec<String> {
    let all = stage.tool("zfs", &["list", "-H", "-o", "name", "-t", "snapshot", "-r", "zdata"]);
    all.lines().map(|l| l.rsplit('/').next().unwrap().to_owned()).collect()
}

/// Nothing is mounted, kept or left by an update.
#[track_caller]
fn check_tidy(stage: &Host) {
    assert!(stage.tool("mount", &["-t", "nullfs", "-p"]).is_empty());
    for path in templates(stage).keys() {
        let name = path.file_name().unwrap().to_string_lossy();
        let left = [".before", ".failed", ".conf.thinjail", "-update.conf", ".thinjail", ".thinjail-link"];
        assert!(!left.iter().any(|l| name.ends_with(l)), "{}", path.display());
    }
    if stage.tool("zfs", &["list", "-H", "-o", "name"]).contains("zdata") {
        assert!(!snapshots(stage).iter().any(|s| s.ends_with("@thinjail-update")), "{:?}", snapshots(stage));
    }
}

#[test]
fn the_next_patch_level() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = stage(storage);
        patch(&stage, 1);
        if storage == Storage::Zfs {
            // No jail, but what jail-rebase keeps of one.
            let kept = "zdata/jails/containers/old.before-15.0-RELEASE";
            stage.tool("zfs", &["clone", &format!("{DATASET}@base"), kept]);
        }
        let output = stage.run("skel-update 14.5");
        let (told, noted) = (stage.strip(&output.stdout), stage.strip(&output.stderr));
        assert!(output.status.success(), "{noted}");
        check_tidy(&stage);
        let (base, skeleton) = (stage.path(BASE), stage.path(SKELETON));
        match storage {
            Storage::Directory => {
                assert_eq!(told, "14.5-RELEASE: updated to 14.5-RELEASE-p1\n");
                assert!(
                    noted.contains(
                        "jails with an older etc than their base: old; next: jail-rebase NAME 14.5-RELEASE\n"
                    ),
                    "{noted}"
                );
            }
            Storage::Zfs => {
                assert_eq!(
                    told,
                    format!("14.5-RELEASE: updated to 14.5-RELEASE-p1, snapshot {DATASET}@p1\n")
                );
                assert!(noted.contains("jails with an older etc than their base: old (@base); next: jail-rebase NAME 14.5-RELEASE\n"), "{noted}");
                assert_eq!(snapshots(&stage), ["14.5-RELEASE-skeleton@base", "14.5-RELEASE-skeleton@p1"]);
            }
        }
        assert_eq!(fs::read_to_string(base.join("bin/sh")).unwrap(), "a new sh\n");
        assert_eq!(fs::read_to_string(skeleton.join("etc/new.conf")).unwrap(), "new\n");
        assert!(fs::read_to_string(skeleton.join("etc/services")).unwrap().contains("p1 1/tcp"));
        for link in ["etc", "var", "root", "tmp", "home", "usr/local"] {
            assert!(base.join(link).is_symlink(), "{link}");
        }
        // Databases and certificates followed.
        assert!(skeleton.join("etc/pwd.db").is_file() && skeleton.join("etc/login.conf.db").is_file());
        assert!(fs::read_to_string(skeleton.join("var/db/services.db")).unwrap().contains("p1 1/tcp"));
        let mut certificates = 0;
        for entry in fs::read_dir(skeleton.join("etc/ssl/certs")).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_link(&path).unwrap_or_else(|_| panic!("{} is no link", path.display()));
            assert!(text.starts_with("../../../../usr/share/certs"), "{}", text.display());
            certificates += 1;
        }
        assert_eq!(certificates, 2);

        // A jail that is made now has it, one from before has not.
        stage.ok("jail-clone new 11");
        let services = |jail: &str| {
            fs::read_to_string(stage.path(&format!("/zdata/jails/containers/{jail}/etc/services"))).unwrap()
        };
        assert!(services("new").contains("p1") && !services("old").contains("p1"));

        // Up to date.
        let there = templates(&stage);
        assert_eq!(stage.ok("skel-update 14.5"), "14.5-RELEASE: 14.5-RELEASE-p1 is up to date\n");
        assert_eq!(there, templates(&stage));
        check_tidy(&stage);

        // And the one after it.
        patch(&stage, 3);
        stage.ok("skel-update 14.5");
        if storage == Storage::Zfs {
            assert_eq!(snapshots(&stage)[2], "14.5-RELEASE-skeleton@p3");
        }
    }
}

#[test]
fn what_an_administrator_changed_stays() {
    let stage = stage(Storage::Zfs);
    patch(&stage, 1);
    let old = stage.standin_file("updates").join(RELEASE).join("old/etc");
    fs::create_dir_all(&old).unwrap();
    fs::write(old.join("services"), "domain 53/udp\n").unwrap();
    stage.write(&format!("{SKELETON}/etc/services"), "mine\n");
    stage.ok("skel-update 14.5");
    assert_eq!(fs::read_to_string(stage.path(SKELETON).join("etc/services")).unwrap(), "mine\n");
}

#[test]
fn a_failure_is_taken_back_whole() {
    for storage in [Storage::Directory, Storage::Zfs] {
        // Two files come into the base, further ones into the skeleton.
        for (fault, after) in
            [("update-unreachable", "0"), ("update-break", "1"), ("update-break", "2"), ("update-break", "4")]
        {
            let stage = stage(storage);
            patch(&stage, 1);
            let before = templates(&stage);
            stage.fault_with(fault, after);
            let told = stage.fails("skel-update 14.5");
            assert!(told.contains("/usr/sbin/freebsd-update"), "{told}");
            assert_eq!(told.lines().count(), 1, "{told}");
            assert_eq!(before, templates(&stage), "{fault} {after}");
            check_tidy(&stage);
            stage.clear_fault(fault);
            stage.ok("skel-update 14.5");
        }
    }
}

/// Past its end of life freebsd-update fails, with the updates ready.
#[test]
fn the_last_updates_of_a_release() {
    let stage = stage(Storage::Zfs);
    patch(&stage, 1);
    fs::write(stage.standin_file("updates").join(RELEASE).join("eol"), "").unwrap();
    let output = stage.run("skel-update 14.5");
    let noted = stage.strip(&output.stderr);
    assert!(output.status.success(), "{noted}");
    assert!(noted.contains("14.5-RELEASE has passed its end of life: these are its last updates"), "{noted}");
    assert_eq!(fs::read_to_string(stage.path(BASE).join("bin/sh")).unwrap(), "a new sh\n");
}

#[test]
fn a_base_made_of_packages() {
    let stage = stage(Storage::Zfs);
    patch(&stage, 1);
    stage.write(&format!("{SKELETON}/var/db/pkg/local.sqlite"), "SQLite format 3 /usr/bin/uname");
    let told = stage.fails("skel-update 14.5");
    assert!(told.contains("its base is made of packages, and pkg(8) is not installed"), "{told}");
    stage.packages();
    stage.forget_calls();
    stage.ok("skel-update 14.5");
    assert!(stage.calls().iter().any(|c| c.starts_with("pkg -r ") && c.contains(" upgrade -y ")));
    assert!(!stage.calls().iter().any(|c| c.starts_with("freebsd-update ")));
    assert_eq!(snapshots(&stage), ["14.5-RELEASE-skeleton@base", "14.5-RELEASE-skeleton@p1"]);
    check_tidy(&stage);
    stage.ok("skel-update 14.5");
}

/// One package in a base of sets does not keep its security patches away.
#[test]
fn a_base_with_a_package_in_it() {
    for installed in [false, true] {
        let stage = stage(Storage::Zfs);
        patch(&stage, 1);
        stage.write(&format!("{SKELETON}/var/db/pkg/local.sqlite"), "SQLite format 3 /usr/local/bin/tmux");
        if installed {
            stage.packages();
            stage.clear_fault("pkgbase");
        }
        stage.forget_calls();
        stage.ok("skel-update 14.5");
        assert!(stage.calls().iter().any(|c| c.starts_with("freebsd-update ")));
        assert_eq!(fs::read_to_string(stage.path(BASE).join("bin/sh")).unwrap(), "a new sh\n");
        check_tidy(&stage);
    }
}

#[test]
fn refused_before_anything_is_touched() {
    for (storage, expected, prepare) in [
        (
            Storage::Zfs,
            "/etc/freebsd-update.conf: does not exist",
            Box::new(|stage: &Host| fs::remove_file(stage.path("/etc/freebsd-update.conf")).unwrap())
                as Box<dyn Fn(&Host)>,
        ),
        (
            Storage::Zfs,
            "is read-only; zfs set readonly=off",
            Box::new(|stage| {
                stage.tool("zfs", &["set", "readonly=on", "zdata/jails/templates/14.5-RELEASE-base"]);
            }),
        ),
        (
            Storage::Zfs,
            "the skeleton is mounted on /mnt, where every step",
            Box::new(|stage| {
                fs::create_dir_all(stage.path("/mnt")).unwrap();
                stage.tool("mount", &["-t", "nullfs", SKELETON, "/mnt"]);
            }),
        ),
        (
            Storage::Zfs,
            "is mounted in the base; umount",
            Box::new(|stage| {
                fs::create_dir_all(stage.path("/src")).unwrap();
                stage.tool("mount", &["-t", "nullfs", "/src", &format!("{BASE}/dev")]);
            }),
        ),
        (
            Storage::Directory,
            "without ZFS, it cannot be updated under running jails; stop them",
            Box::new(|stage| {
                stage.tool("jail", &["-c", "old"]);
            }),
        ),
        (
            Storage::Zfs,
            "etc is not a symbolic link to skeleton/etc",
            Box::new(|stage| {
                fs::remove_file(stage.path(BASE).join("etc")).unwrap();
                fs::create_dir(stage.path(BASE).join("etc")).unwrap();
            }),
        ),
    ] {
        let stage = stage(storage);
        patch(&stage, 1);
        prepare(&stage);
        let before = templates(&stage);
        let told = stage.fails("skel-update 14.5");
        assert!(told.contains(expected), "{told:?}, not {expected:?}");
        assert_eq!(before, templates(&stage));
        assert!(!stage.calls().iter().any(|c| c.starts_with("freebsd-update ")));
    }
    let stage = stage(Storage::Zfs);
    let told = stage.fails("skel-update 15.0");
    assert!(told.contains("run skel-fetch 15.0-RELEASE"), "{told}");
}

/// Jails may run meanwhile: they see nothing of the mount.
#[test]
fn under_a_running_jail() {
    let stage = stage(Storage::Zfs);
    patch(&stage, 1);
    stage.tool("jail", &["-c", "old"]);
    let before = stage.tool("mount", &["-t", "nullfs", "-p"]);
    stage.ok("skel-update 14.5");
    assert_eq!(before, stage.tool("mount", &["-t", "nullfs", "-p"]));
    stage.tool("jail", &["-r", "old"]);
}

/// What a killed run left is taken back whatever stands in the way of an
/// update, and no jail is made of it meanwhile.
#[test]
fn half_done_by_a_killed_run() {
    let stage = stage(Storage::Zfs);
    patch(&stage, 1);
    let before = templates(&stage);
    let base = "zdata/jails/templates/14.5-RELEASE-base@thinjail-update";
    stage.tool("zfs", &["snapshot", base, &format!("{DATASET}@thinjail-update")]);
    stage.tool("mount", &["-t", "nullfs", SKELETON, &format!("{BASE}/skeleton")]);
    stage.write(&format!("{BASE}/bin/sh"), "half\n");
    let told = stage.fails("jail-clone web 12");
    assert!(told.contains("its update was interrupted; skel-update 14.5-RELEASE rolls it back"), "{told}");
    fs::rename(stage.path("/etc/freebsd-update.conf"), stage.path("/etc/away")).unwrap();
    // What an administrator changed since is not taken back unasked.
    stage.write(&format!("{SKELETON}/etc/mine.conf"), "written after the crash\n");
    let half = templates(&stage);
    let told = stage.fails("skel-update 14.5");
    assert!(told.contains("standard input is not a terminal; use -y"), "{told}");
    for changed in ["14.5-RELEASE-base/bin/sh", "14.5-RELEASE-skeleton/etc/mine.conf"] {
        assert!(told.contains(changed), "{told}");
    }
    assert_eq!(half, templates(&stage));
    let told = stage.fails("skel-update -y 14.5");
    assert!(
        told.contains("an earlier run was killed") && told.contains("freebsd-update.conf: does not exist"),
        "{told}"
    );
    assert_eq!(before, templates(&stage));
    check_tidy(&stage);
    // A snapshot that something else took of the half-done state is in nobody's
    // way, and not ours to destroy.
    stage.tool("zfs", &["set", "snapdir=visible", "zdata"]);
    stage.tool("zfs", &["snapshot", base, &format!("{DATASET}@thinjail-update")]);
    stage.write(&format!("{BASE}/bin/sh"), "half\n");
    stage.write(&format!("{SKELETON}/etc/half"), "");
    let hourly = ["zdata/jails/templates/14.5-RELEASE-base@hourly", &format!("{DATASET}@hourly")];
    stage.tool("zfs", &["snapshot", hourly[0], hourly[1]]);
    let told = stage.fails("skel-update -y 14.5");
    assert!(told.contains("freebsd-update.conf: does not exist"), "{told}");
    stage.tool("zfs", &["set", "snapdir=hidden", "zdata"]);
    assert_eq!(before, templates(&stage));
    for snapshot in hourly {
        stage.tool("zfs", &["list", snapshot]);
        stage.tool("zfs", &["destroy", snapshot]);
    }
    fs::rename(stage.path("/etc/away"), stage.path("/etc/freebsd-update.conf")).unwrap();
    stage.ok("skel-update 14.5");
    check_tidy(&stage);
}

/// A base for another processor would get files for this one.
#[test]
fn a_base_of_another_architecture() {
    let stage = stage(Storage::Directory);
    let mut header = b"\x7fELF\x02\x01\x01\x09".to_vec();
    header.extend([0; 8]);
    header.extend([2, 0, if cfg!(target_arch = "aarch64") { 62 } else { 183 }, 0]);
    fs::write(stage.path(BASE).join("bin/sh"), header).unwrap();
    patch(&stage, 1);
    let told = stage.fails("skel-update 14.5");
    assert!(told.contains("can only be updated on a host of its own architecture"), "{told}");
}

/// Somebody working on the template keeps others away.
#[test]
fn one_at_a_time() {
    let stage = stage(Storage::Zfs);
    let lock = fs::File::create(stage.path("/var/run/thinjail-template-14.5-RELEASE.lock")).unwrap();
    lock.lock().unwrap();
    for line in ["skel-update 14.5", "skel-split 14.5", "skel-fetch 14.5", "jail-clone web 12"] {
        let told = stage.fails(line);
        assert!(
            told.contains("template 14.5-RELEASE is locked by another program; try again later"),
            "{told}"
        );
    }
}

#[test]
fn a_dry_run_changes_nothing_and_tells_all() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = stage(storage);
        patch(&stage, 1);
        let before = templates(&stage);
        let told = stage.ok("skel-update -n 14.5");
        assert_eq!(before, templates(&stage));
        assert!(!stage.calls().iter().any(|c| c.starts_with("freebsd-update ")));
        let root = stage.root().display().to_string();
        for part in [
            format!("/sbin/mount -t nullfs {root}{SKELETON} {root}{BASE}/skeleton\n"),
            format!(
                "PAGER=/bin/cat /usr/sbin/freebsd-update --not-running-from-cron --currently-running \"$({root}{BASE}/bin/freebsd-version -u)\" "
            ),
            format!(" -b {root}{BASE} -F fetch\n"),
            format!("/bin/sh {root}{BASE}/usr/sbin/certctl -D {root}{BASE} rehash\n"),
            format!("/sbin/umount {root}{BASE}/skeleton\n"),
        ] {
            assert!(told.contains(&part), "no {part:?} in {told}");
        }
        if storage == Storage::Zfs {
            let before = format!(
                "/sbin/zfs snapshot zdata/jails/templates/14.5-RELEASE-base@thinjail-update {DATASET}@thinjail-update\n"
            );
            assert!(told.contains(&before), "{told}");
        }
        assert!(!told.lines().any(str::is_empty), "{told}");
    }
    assert!(Path::new(BASE).is_absolute());
}
