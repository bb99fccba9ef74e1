//! jail-rebase: a jail on another release, with all that it made of its own.
#![cfg(not(target_os = "freebsd"))]

use crate::basetree;
use crate::harness::bin;
use crate::harness::host;
use crate::harness::listing;
use crate::harness::small;

use bin::bin;
use host::{Host, Storage};
use listing::{Times, listing};
use small::{NEW_BASE as NEW, NTP_CONF as WORDS, two_releases as stage};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use thinjail::system::kernel::simulated::Simulated;
use thinjail::system::root::Root;

const WEB: &str = "/zdata/jails/containers/web";
const STORAGES: [Storage; 2] = [Storage::Directory, Storage::Zfs];

fn text(stage: &Host, path: &str, text: &str) {
    fs::write(stage.path(path), text).unwrap();
}

fn read(stage: &Host, path: &str) -> String {
    fs::read_to_string(stage.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn tree(stage: &Host, path: &str) -> BTreeMap<PathBuf, String> {
    let mut all = listing(&stage.path(path), Times::Files);
    all.retain(|path, _| !path.starts_with(".zfs"));
    all
}

#[test]
fn there_and_back() {
    for storage in STORAGES {
        let stage = stage(storage);
        text(
            &stage,
            &format!("{WEB}/etc/ntp.conf"),
            "# ntp\nserver b\n\n# leap\nleapfile /x\n\n# last\nend\n",
        );
        text(&stage, &format!("{WEB}/usr/local/etc/app.conf"), "app\n");
        text(&stage, &format!("{WEB}/etc/rc.conf"), "sshd_enable=\"YES\"\n");
        let before = tree(&stage, WEB);
        let fstab = read(&stage, "/zdata/jails/web-nullfs-base.fstab");
        let told = stage.ok("jail-rebase web 15.0");
        assert!(told.contains("14.5-RELEASE-skeleton@base -> 15.0-RELEASE-skeleton@base"), "{told}");
        let now = |file: &str| read(&stage, &format!("{WEB}/{file}"));
        assert_eq!(now("etc/ntp.conf"), "# ntp\nserver b\n\n# leap\nleapfile /x\n\n# last\nend 15\n");
        assert_eq!(now("etc/motd.template"), "Welcome to 15\n");
        assert_eq!(now("etc/new.conf"), "new\n");
        assert_eq!(now("usr/local/etc/app.conf"), "app\n");
        assert_eq!(now("etc/rc.conf"), "sshd_enable=\"YES\"\n");
        assert!(!stage.path(&format!("{WEB}/etc/old.conf")).exists());
        assert_eq!(read(&stage, "/zdata/jails/web-nullfs-base.fstab"), fstab.replace("14.5", "15.0"));
        assert_eq!(tree(&stage, &format!("{WEB}.before-15.0-RELEASE")), before);
        stage.ok("jail-rebase -y --revert web");
        assert_eq!(tree(&stage, WEB), before);
        assert_eq!(read(&stage, "/zdata/jails/web-nullfs-base.fstab"), fstab);
        stage.ok("jail-rebase web 15.0");
        stage.ok("jail-rebase -y --commit web");
        stage.ok("jail-destroy -y web");
        stage.nothing_left();
    }
}

/// All that a move may touch, but for what the jail's own tree is.
fn surroundings(stage: &Host) -> Vec<String> {
    let mut all = Vec::new();
    for place in ["/zdata", "/etc", "/var/run"] {
        let trees = listing(&stage.path(place), Times::None);
        let lines = trees.into_iter().map(|(path, line)| (format!("{place}/{}", path.display()), line));
        all.extend(
            lines.filter(|(path, _)| !path.contains("/.zfs")).map(|(path, line)| format!("{path} {line}")),
        );
    }
    // Locks and claims stay.
    all.retain(|line| !line.contains("/var/run/thinjail-"));
    all.push(stage.tool("zfs", &["list", "-H", "-o", "name,origin,thinjail:jail,quota", "-t", "all"]));
    all.push(stage.tool("mount", &["-p"]));
    all
}

/// Fails with what differs alone.
#[track_caller]
fn same(now: &[String], before: &[String], when: &str) {
    let new: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
    let gone: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
    assert!(new.is_empty() && gone.is_empty(), "{when}\nnew: {new:#?}\ngone: {gone:#?}");
}

fn lines(tree: BTreeMap<PathBuf, String>) -> Vec<String> {
    tree.into_iter().map(|(path, line)| format!("{} {line}", path.display())).collect()
}

#[test]
fn a_jail_that_changed_nothing_is_the_new_skeleton() {
    for storage in STORAGES {
        let stage = stage(storage);
        stage.ok("jail-rebase web 15.0");
        let all = |path: &str| {
            let mut all = listing(&stage.path(path), Times::All);
            all.retain(|path, _| !path.starts_with(".zfs"));
            all
        };
        assert_eq!(all(WEB), all("/zdata/jails/templates/15.0-RELEASE-skeleton"));
        stage.ok("jail-rebase -y --commit web");
        if storage == Storage::Zfs {
            let origin =
                stage.tool("zfs", &["get", "-H", "-o", "value", "origin", "zdata/jails/containers/web"]);
            assert_eq!(origin, "zdata/jails/templates/15.0-RELEASE-skeleton@base\n");
        }
        let gone = fs::read_dir(stage.path("/zdata/jails/containers")).unwrap();
        let names: BTreeSet<_> = gone.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.iter().all(|name| ["web", "web.origin"].contains(&name.as_str())), "{names:?}");
        stage.nothing_left();
    }
}

#[test]
fn to_what_it_is_already() {
    for storage in STORAGES {
        let stage = stage(storage);
        text(&stage, &format!("{WEB}/etc/ntp.conf"), "changed\n");
        let before = (surroundings(&stage), tree(&stage, WEB));
        let told = stage.ok("jail-rebase web 14.5");
        assert_eq!(told, "web: already at 14.5-RELEASE-skeleton@base\n");
        assert_eq!((surroundings(&stage), tree(&stage, WEB)), before);
        stage.nothing_left();
    }
}

/// A patch level of the same release: the base is the same one, etc is newer.
#[test]
fn to_a_later_patch_level() {
    for storage in STORAGES {
        let stage = stage(storage);
        let skeleton = "/zdata/jails/templates/14.5-RELEASE-skeleton";
        text(&stage, &format!("{WEB}/etc/ntp.conf"), &WORDS.replace("server a", "server b"));
        text(&stage, &format!("{skeleton}/etc/ntp.conf"), &WORDS.replace("end\n", "end p1\n"));
        if storage == Storage::Zfs {
            stage.tool("zfs", &["snapshot", "zdata/jails/templates/14.5-RELEASE-skeleton@p1"]);
        }
        let fstab = read(&stage, "/zdata/jails/web-nullfs-base.fstab");
        stage.ok("jail-rebase web 14.5");
        let expect = WORDS.replace("server a", "server b").replace("end\n", "end p1\n");
        assert_eq!(read(&stage, &format!("{WEB}/etc/ntp.conf")), expect);
        assert_eq!(read(&stage, "/zdata/jails/web-nullfs-base.fstab"), fstab);
        // And on from there: the ancestor of the next move is that level.
        stage.ok("jail-rebase -y --commit web");
        let told = stage.ok("jail-rebase web 14.5");
        assert!(told.starts_with("web: already at 14.5-RELEASE-skeleton@"), "{told}");
        text(&stage, &format!("{skeleton}/etc/motd.template"), "again\n");
        if storage == Storage::Zfs {
            stage.tool("zfs", &["snapshot", "zdata/jails/templates/14.5-RELEASE-skeleton@p2"]);
        }
        let told = stage.ok("jail-rebase web 14.5");
        assert!(told.contains(": 1 from the release, 1 kept of the jail's own, 0 merged\n"), "{told}");
        assert_eq!(read(&stage, &format!("{WEB}/etc/motd.template")), "again\n");
        stage.nothing_left();
    }
}

/// The jail's changes that both conflict with 15.0 and don't.
fn conflicts(stage: &Host) {
    let put = |file: &str, words: &str| text(stage, &format!("{WEB}/{file}"), words);
    put("etc/ntp.conf", &WORDS.replace("end\n", "end of mine\n").replace("server a", "server b"));
    put("etc/new.conf", "mine\n");
    put("etc/old.conf", "mine\n");
    fs::remove_file(stage.path(&format!("{WEB}/etc/motd.template"))).unwrap();
}

#[test]
fn conflicts_are_told_and_decided() {
    for storage in STORAGES {
        let stage = stage(storage);
        conflicts(&stage);
        let before = (surroundings(&stage), tree(&stage, WEB));
        let told = stage.fails("jail-rebase web 15.0");
        let lines: Vec<&str> = told.lines().collect();
        let expect = [
            ("etc/motd.template", "removed by the jail, changed by the release"),
            ("etc/new.conf", "both added it, and they differ"),
            ("etc/ntp.conf", "both changed the same lines, in one place"),
            ("etc/old.conf", "removed by the release, changed by the jail"),
        ];
        assert_eq!(lines.len(), expect.len() + 1, "{told}");
        for (line, (file, why)) in lines.iter().zip(expect) {
            let (what, versions) = line.split_once(" (").unwrap();
            assert_eq!(what, format!("jail-rebase: conflict: {file}: {why}"));
            for version in versions.trim_end_matches(')').split(", ") {
                let (side, path) = version.split_once(' ').unwrap();
                assert!(["ancestor", "theirs", "ours"].contains(&side) && path.ends_with(file), "{line}");
            }
        }
        assert_eq!(
            lines[4],
            "jail-rebase: jail web: 4 conflicts; nothing is changed: decide with -k ours or -k theirs, or --edit \
             (-n shows everything)"
        );
        assert_eq!((surroundings(&stage), tree(&stage, WEB)), before);

        let has = |file: &str| fs::read_to_string(stage.path(&format!("{WEB}/{file}"))).ok();
        let told = stage.ok("jail-rebase -k ours web 15.0");
        assert!(told.contains(", 4 decided\n"), "{told}");
        let mine = WORDS.replace("end\n", "end of mine\n").replace("server a", "server b");
        assert_eq!(has("etc/ntp.conf"), Some(mine));
        assert_eq!(has("etc/new.conf").as_deref(), Some("mine\n"));
        assert_eq!(has("etc/old.conf").as_deref(), Some("mine\n"));
        assert_eq!(has("etc/motd.template"), None);
        stage.ok("jail-rebase -y --revert web");
        assert_eq!(tree(&stage, WEB), before.1);

        stage.ok("jail-rebase -k theirs web 15.0");
        // What does not conflict is merged all the same.
        assert_eq!(
            has("etc/ntp.conf"),
            Some(WORDS.replace("end\n", "end 15\n").replace("server a", "server b"))
        );
        assert_eq!(has("etc/new.conf").as_deref(), Some("new\n"));
        assert_eq!(has("etc/old.conf"), None);
        assert_eq!(has("etc/motd.template").as_deref(), Some("Welcome to 15\n"));
        stage.nothing_left();
    }
}

fn edited(stage: &Host, line: &str, editor: &str) -> Output {
    let mut words = line.split(' ');
    let mut command = stage.prepare(Command::new(bin(words.next().unwrap())));
    command.args(words).env_remove("VISUAL").env("EDITOR", editor).output().unwrap()
}

#[test]
fn conflicts_are_edited() {
    for storage in STORAGES {
        let stage = stage(storage);
        let mine = WORDS.replace("end\n", "end of mine\n");
        text(&stage, &format!("{WEB}/etc/ntp.conf"), &mine);
        let before = (surroundings(&stage), tree(&stage, WEB));
        let told = edited(&stage, "jail-rebase --edit web 15.0", "true");
        let stderr = String::from_utf8(told.stderr).unwrap();
        assert_eq!(stderr, "jail-rebase: etc/ntp.conf: conflict markers remain in it; nothing is changed\n");
        let told = edited(&stage, "jail-rebase --edit web 15.0", "false");
        let stderr = String::from_utf8(told.stderr).unwrap();
        assert!(stderr.starts_with("jail-rebase: etc/ntp.conf: the editor exited with "), "{stderr}");
        assert_eq!((surroundings(&stage), tree(&stage, WEB)), before);
        // Both lines are wanted. A jail can't be started meanwhile.
        let script = stage.path("/editor");
        let start = format!(
            "THINJAIL_ROOT={} {} web /zdata/jails/web-nullfs-base 2>\"$0.told\"",
            stage.root().display(),
            bin("jail-sweep").display()
        );
        fs::write(
            &script,
            format!("cp \"$1\" \"$0.saw\"\nsed -i '/^[<|=>]\\{{7\\}}/d;/^end$/d' \"$1\"\n{start}\n:\n"),
        )
        .unwrap();
        let told = edited(&stage, "jail-rebase --edit web 15.0", &format!("sh {}", script.display()));
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        let saw = read(&stage, "/editor.saw");
        assert!(saw.ends_with(
            "<<<<<<< ours\nend of mine\n||||||| original\nend\n=======\nend 15\n>>>>>>> theirs\n"
        ));
        assert_eq!(
            read(&stage, &format!("{WEB}/etc/ntp.conf")),
            WORDS.replace("end\n", "end of mine\nend 15\n")
        );
        let told = read(&stage, "/editor.told");
        assert!(told.starts_with("jail-sweep: jail web is in use by jail-rebase, process "), "{told}");
        assert!(!stage.path("/var/run/thinjail-rebase-web").exists());
        stage.nothing_left();
    }
}

#[test]
fn a_dry_run_shows_it_and_changes_nothing() {
    for storage in STORAGES {
        let stage = stage(storage);
        conflicts(&stage);
        let before = (surroundings(&stage), tree(&stage, WEB));
        let output = stage.run("jail-rebase -n web 15.0");
        let told = stage.strip(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("\nM conflict etc/ntp.conf\n"), "{told}");
        let told = stage.ok("jail-rebase -n -k theirs web 15.0");
        let diff = "--- a/etc/ntp.conf\n+++ b/etc/ntp.conf\n@@ -5,4 +5,4 @@\n leapfile /x\n\n # last\n-end of mine\n+end 15\n";
        assert!(told.contains(diff), "{told}");
        for line in ["M decided  etc/ntp.conf", "- decided  etc/old.conf", "+ decided  etc/motd.template"] {
            assert!(told.lines().any(|l| l == line), "{told}");
        }
        assert!(told.contains("--- a/etc/new.conf\n+++ b/etc/new.conf\n"), "{told}");
        assert!(told.contains("--- a/etc/old.conf\n+++ /dev/null\n"), "{told}");
        assert!(told.contains("--- /dev/null\n+++ b/etc/motd.template\n"), "{told}");
        let told = stage.ok("jail-rebase -n --json -k theirs web 15.0");
        let document: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(document["to"], "15.0-RELEASE-skeleton@base");
        let commands = document["commands"].as_array().unwrap();
        assert!(commands.iter().any(|c| c.as_str().unwrap().contains("web.before-15.0-RELEASE")), "{told}");
        assert_eq!((surroundings(&stage), tree(&stage, WEB)), before);
        stage.nothing_left();
    }
}

#[test]
fn users_of_both_sides_survive() {
    for storage in STORAGES {
        let stage = stage(storage);
        let old = read(&stage, &format!("{WEB}/etc/master.passwd"));
        let skeleton = "/zdata/jails/templates/15.0-RELEASE-skeleton";
        let theirs = format!("{old}_new:*:845:845::0:0:New:/nonexistent:/usr/sbin/nologin\n");
        text(&stage, &format!("{skeleton}/etc/master.passwd"), &theirs);
        if storage == Storage::Zfs {
            stage.tool("zfs", &["snapshot", "zdata/jails/templates/15.0-RELEASE-skeleton@p1"]);
        }
        let bob = "bob:$6$x:1001:1001::0:0:Bob:/home/bob:/bin/sh\n";
        text(&stage, &format!("{WEB}/etc/master.passwd"), &format!("{old}{bob}"));
        text(&stage, &format!("{WEB}/etc/group"), "wheel:*:0:root,bob\nbob:*:1001:\n");
        // Where a program that ran in the jail's tree would write.
        let victim = stage.path("/victim");
        fs::write(&victim, "untouched").unwrap();
        for name in ["pwd.db.tmp", "spwd.db.tmp", "passwd", "pwd.db", "master.passwd.tmp"] {
            let path = stage.path(&format!("{WEB}/etc/{name}"));
            let _ = fs::remove_file(&path);
            symlink(&victim, &path).unwrap();
        }
        stage.forget_calls();
        stage.ok("jail-rebase web 15.0");
        assert_eq!(read(&stage, &format!("{WEB}/etc/master.passwd")), format!("{theirs}{bob}"));
        let mode = |file: &str| fs::symlink_metadata(stage.path(&format!("{WEB}/{file}"))).unwrap().mode();
        assert_eq!(mode("etc/master.passwd") & 0o777, 0o600);
        assert_eq!(
            read(&stage, &format!("{WEB}/etc/group")),
            "wheel:*:0:root,bob\n_new:*:845:\nbob:*:1001:\n"
        );
        for made in ["etc/passwd", "etc/pwd.db", "etc/spwd.db"] {
            assert!(fs::symlink_metadata(stage.path(&format!("{WEB}/{made}"))).unwrap().is_file(), "{made}");
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        let calls: Vec<String> = stage.calls().into_iter().filter(|c| c.contains("_mkdb")).collect();
        assert_eq!(calls.len(), 1, "{calls:?}");
        assert!(calls[0].contains("/var/run/thinjail-rebase-web"), "{calls:?}");
        assert!(!stage.path("/var/run/thinjail-rebase-web").exists());
        stage.nothing_left();
    }
}

#[test]
fn what_somebody_set_on_the_dataset_stays() {
    let stage = stage(Storage::Zfs);
    stage.tool("zfs", &["set", "quota=10G", "zdata/jails/containers/web"]);
    stage.ok("jail-rebase web 15.0");
    let get = |name: &str| {
        stage.tool("zfs", &["get", "-H", "-o", "value,source", name, "zdata/jails/containers/web"])
    };
    assert_eq!(get("quota"), "10G\tlocal\n");
    assert_eq!(get("thinjail:jail"), "web\tlocal\n");
}

/// ZFS mounts a snapshot where somebody looks into it, and it stays there.
#[test]
fn snapshots_that_were_looked_at_are_no_mounts() {
    let stage = stage(Storage::Zfs);
    let look = |dataset: &str, snapshot: &str| {
        let (from, on) = (format!("{dataset}@{snapshot}"), format!("/{dataset}/.zfs/snapshot/{snapshot}"));
        let kernel = Simulated::new(&Root::alternate(&stage.root()).unwrap());
        kernel.change(|s| s.mount("zfs", Path::new(&from), &stage.path(&on))).unwrap();
    };
    stage.tool("zfs", &["snapshot", "zdata/jails/containers/web@daily"]);
    look("zdata/jails/containers/web", "daily");
    look("zdata/jails/templates/15.0-RELEASE-skeleton", "base");
    stage.ok("jail-rebase web 15.0");
    stage.ok("jail-rebase -y --commit web");
    stage.tool("zfs", &["snapshot", "zdata/jails/containers/web@daily"]);
    look("zdata/jails/containers/web", "daily");
    stage.ok("jail-destroy -y web");
}

#[test]
fn a_running_jail_is_stopped_only_by_force() {
    for storage in STORAGES {
        let stage = stage(storage);
        stage.tool("jail", &["-c", "web"]);
        let told = stage.fails("jail-rebase web 15.0");
        assert_eq!(told, "jail-rebase: jail web is running; service jail stop web, or use -f\n");
        stage.ok("jail-rebase -f web 15.0");
        assert!(stage.state().jails.iter().all(|jail| jail.name != "web"));
        // It starts on its new base.
        stage.tool("jail", &["-c", "web"]);
        let mounts = stage.tool("mount", &["-p"]);
        assert!(mounts.contains("templates/15.0-RELEASE-base"), "{mounts}");
        stage.ok("jail-rebase -fy --revert web");
        stage.tool("jail", &["-c", "web"]);
        assert!(stage.tool("mount", &["-p"]).contains("templates/14.5-RELEASE-base"));
        stage.tool("jail", &["-r", "web"]);
        stage.nothing_left();
    }
}

/// What is decided stays decided when all is compared again.
#[test]
fn force_with_conflicts_that_are_decided() {
    for storage in STORAGES {
        let stage = stage(storage);
        conflicts(&stage);
        stage.tool("jail", &["-c", "web"]);
        let told = stage.ok("jail-rebase -f -k ours web 15.0");
        assert!(told.contains(", 4 decided\n"), "{told}");
        assert_eq!(read(&stage, &format!("{WEB}/etc/new.conf")), "mine\n");
        stage.nothing_left();
    }
}

/// The pair goes with the jail that is stopped, although nobody else may touch
/// the jail meanwhile.
#[test]
fn force_leaves_no_pair() {
    let stage = stage(Storage::Directory);
    stage.tool("jail", &["-c", "web"]);
    stage.ok("jail-rebase -f web 15.0");
    stage.ok("jail-rebase -y --commit web");
    stage.nothing_left();
    // Nobody has to stop a jail to let go of what it was.
    stage.ok("jail-rebase web 14.5");
    stage.tool("jail", &["-c", "web"]);
    stage.ok("jail-rebase -y --commit web");
    assert!(stage.state().jails.iter().any(|jail| jail.name == "web"));
    stage.tool("jail", &["-r", "web"]);
    stage.nothing_left();
}

/// A commit that was cut short has removed part of what the jail was.
#[test]
fn no_way_back_from_half_a_commit() {
    let stage = stage(Storage::Directory);
    stage.ok("jail-rebase web 15.0");
    let kept = stage.path(&format!("{WEB}.before-15.0-RELEASE"));
    text(&stage, "/zdata/jails/containers/web.origin", "15.0-RELEASE-skeleton@base\n");
    let told = stage.fails("jail-rebase -y --revert web");
    assert!(told.contains("an interrupted commit cannot be reverted; jail-rebase --commit web completes it"));
    let torso = kept.with_file_name(".web.before-15.0-RELEASE.thinjail");
    fs::rename(&kept, &torso).unwrap();
    fs::remove_dir_all(torso.join("etc")).unwrap();
    stage.ok("jail-rebase -y --commit web");
    assert!(!torso.exists());
    let told = stage.fails("jail-rebase -y --commit web");
    assert!(told.contains("no move to commit"), "{told}");
}

/// Texts are edited, and -k decides what is none.
#[test]
fn edited_and_decided() {
    let stage = stage(Storage::Directory);
    conflicts(&stage);
    let script = stage.path("/editor");
    fs::write(&script, "printf 'both\\n' >\"$1\"\n").unwrap();
    let editor = format!("sh {}", script.display());
    let told = edited(&stage, "jail-rebase --edit web 15.0", &editor);
    assert_eq!(told.status.code(), Some(1));
    let told = edited(&stage, "jail-rebase --edit -k theirs web 15.0", &editor);
    assert!(told.status.success(), "{told:?}");
    assert_eq!(read(&stage, &format!("{WEB}/etc/ntp.conf")), "both\n");
    assert_eq!(read(&stage, &format!("{WEB}/etc/new.conf")), "new\n");
}

/// What is refused, each with nothing changed.
#[test]
fn refusals() {
    type Case = (&'static str, fn(&Host), &'static str, &'static str);
    let cases: [Case; 9] = [
        ("no jail", |_| {}, "jail-rebase db 15.0", "jail db has no container: "),
        ("no release", |_| {}, "jail-rebase web 13.0", "no base of 13.0-RELEASE: "),
        ("nothing kept", |_| {}, "jail-rebase -y --commit web", "no move to commit"),
        ("nothing to go back to", |_| {}, "jail-rebase -y --revert web", "no move to revert"),
        (
            "a later base",
            |stage| {
                let path = format!("{NEW}/bin/freebsd-version");
                text(stage, &path, "#!/bin/sh\nUSERLAND_VERSION=\"99.0-RELEASE\"\n");
            },
            "jail-rebase web 15.0",
            "99.0-RELEASE is newer than this host's kernel, ",
        ),
        (
            "no fstab",
            |stage| fs::remove_file(stage.path("/zdata/jails/web-nullfs-base.fstab")).unwrap(),
            "jail-rebase web 15.0",
            "web-nullfs-base.fstab: does not exist; is web a thin jail?",
        ),
        (
            "a mount that would have no place",
            |stage| {
                let path = "/zdata/jails/web-nullfs-base.fstab";
                let more = "/zdata /zdata/jails/web-nullfs-base/nowhere nullfs ro 0 0\n";
                text(stage, path, &format!("{}{more}", read(stage, path)));
            },
            "jail-rebase web 15.0",
            "line 3: the mount point /nowhere would not exist",
        ),
        (
            "a split that was interrupted",
            |stage| fs::create_dir(stage.path(&format!("{NEW}/.etc.thinjail"))).unwrap(),
            "jail-rebase web 15.0",
            "its split was interrupted; run skel-split 15.0-RELEASE to finish it",
        ),
        (
            "etc is a link",
            |stage| {
                fs::remove_dir_all(stage.path(&format!("{WEB}/etc"))).unwrap();
                symlink("/etc", stage.path(&format!("{WEB}/etc"))).unwrap();
            },
            "jail-rebase -k ours web 15.0",
            "containers/web/etc: not a directory",
        ),
    ];
    for storage in STORAGES {
        for (name, prepare, line, expect) in cases {
            let stage = stage(storage);
            prepare(&stage);
            let before = (surroundings(&stage), tree(&stage, "/zdata/jails/containers"));
            let told = stage.fails(line);
            assert_eq!(told.lines().count(), 1, "{name}: {told}");
            assert!(told.contains(expect), "{name}: {told}");
            assert_eq!((surroundings(&stage), tree(&stage, "/zdata/jails/containers")), before, "{name}");
        }
    }
}

#[test]
fn one_move_at_a_time() {
    for storage in STORAGES {
        let stage = stage(storage);
        stage.ok("jail-rebase web 15.0");
        let told = stage.fails("jail-rebase web 14.5");
        assert!(
            told.contains("jail web was already moved to 15.0-RELEASE, and web.before-15.0-RELEASE is kept")
        );
        let told = stage.fails("jail-destroy -y web");
        assert!(told.contains("web.before-15.0-RELEASE is the former container of jail web"), "{told}");
        let told = stage.fails("jail-rebase --commit web");
        assert!(told.contains("standard input is not a terminal; use -y"), "{told}");
        stage.ok("jail-rebase -y --commit web");
        // Down again is a move like any other.
        stage.ok("jail-rebase web 14.5");
        stage.ok("jail-rebase -y --commit web");
        stage.ok("jail-destroy -y web");
        let left = fs::read_dir(stage.path("/zdata/jails/containers")).unwrap().count();
        assert_eq!(left, 0);
        stage.nothing_left();
    }
}

/// What is the jail's own is not changed by a release, even if the jail never
/// did.
#[test]
fn root_s_files_are_the_jail_s() {
    let stage = stage(Storage::Directory);
    text(&stage, "/zdata/jails/templates/15.0-RELEASE-skeleton/root/.profile", "another\n");
    let before = read(&stage, &format!("{WEB}/root/.profile"));
    stage.ok("jail-rebase web 15.0");
    assert_eq!(read(&stage, &format!("{WEB}/root/.profile")), before);
}

/// A directory that the release has no more goes with what was decided to go.
#[test]
fn no_empty_directory_stays() {
    let stage = stage(Storage::Directory);
    let gone = "/zdata/jails/templates/14.5-RELEASE-skeleton/etc/gone.d";
    fs::create_dir(stage.path(gone)).unwrap();
    text(&stage, &format!("{gone}/x"), "x\n");
    stage.ok("jail-clone old 11");
    let of_old = "/zdata/jails/containers/old/etc/gone.d";
    text(&stage, &format!("{of_old}/x"), "mine\n");
    stage.ok("jail-rebase -k ours old 15.0");
    assert_eq!(read(&stage, &format!("{of_old}/x")), "mine\n");
    stage.ok("jail-rebase -y --revert old");
    stage.ok("jail-rebase -k theirs old 15.0");
    assert!(!stage.path(of_old).exists());
}

/// One that was cloned before directory storage noted origins.
#[test]
fn a_jail_without_a_note_of_its_origin() {
    let stage = stage(Storage::Directory);
    fs::remove_file(stage.path("/zdata/jails/containers/web.origin")).unwrap();
    fs::remove_dir_all(stage.path("/zdata/jails/templates/14.5-RELEASE-skeleton@base")).unwrap();
    text(&stage, &format!("{WEB}/etc/rc.conf"), "mine\n");
    stage.ok("jail-rebase web 15.0");
    assert_eq!(read(&stage, &format!("{WEB}/etc/rc.conf")), "mine\n");
    assert_eq!(read(&stage, &format!("{WEB}/etc/motd.template")), "Welcome to 15\n");
    stage.ok("jail-rebase -y --revert web");
    assert_eq!(read(&stage, "/zdata/jails/containers/web.origin"), "14.5-RELEASE-skeleton@base\n");
}

/// How many effects a run has that nothing disturbs.
#[cfg(feature = "inject")]
fn effects(stage: &Host, line: &str) -> usize {
    let log = stage.path("/effects");
    let _ = fs::remove_file(&log);
    let mut words = line.split(' ');
    let mut command = stage.prepare(Command::new(bin(words.next().unwrap())));
    let output = command.args(words).env("THINJAIL_INJECT_LOG", &log).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    let count = fs::read_to_string(&log).unwrap().lines().count();
    assert!(count > 5, "{count}");
    fs::remove_file(&log).unwrap();
    count
}

/// Every effect in turn is the last one of its process; then the same command,
/// or the way back.
#[cfg(feature = "inject")]
#[test]
fn killed_before_each_effect() {
    use std::os::unix::process::ExitStatusExt;
    let killed = |stage: &Host, line: &str, number: usize| {
        let mut words = line.split(' ');
        let mut command = stage.prepare(Command::new(bin(words.next().unwrap())));
        let output = command.args(words).env("THINJAIL_INJECT", format!("kill@{number}")).output().unwrap();
        let ended = output.status.signal() == Some(9) || output.status.success();
        assert!(ended, "{line} {number}: {output:?}");
        !output.status.success()
    };
    for storage in STORAGES {
        let stage = stage(storage);
        conflicts(&stage);
        text(&stage, &format!("{WEB}/etc/master.passwd"), "root:$6$x:0:0::0:0:Charlie &:/root:/bin/sh\n");
        text(&stage, &format!("{WEB}/usr/local/etc/app.conf"), "app\n");
        let quiet = |line: &str| {
            let output = stage.run(line);
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let state = |stage: &Host| {
            let mut all = listing(&stage.path(WEB), Times::None);
            all.retain(|path, _| !path.starts_with(".zfs"));
            let mut all = lines(all);
            all.push(read(stage, "/zdata/jails/web-nullfs-base.fstab"));
            let record = fs::read_to_string(stage.path("/zdata/jails/containers/web.origin"));
            // In its first line; a second one counts next to what is kept only.
            all.extend(record.ok().and_then(|r| Some(r.lines().next()?.to_owned())));
            // A dataset leaves an empty directory where it was mounted.
            let empty = |p: &PathBuf| p.is_dir() && fs::read_dir(p).unwrap().next().is_none();
            let names =
                fs::read_dir(stage.path("/zdata/jails/containers")).unwrap().map(|e| e.unwrap().path());
            all.extend(names.filter(|p| !empty(p)).map(|p| stage.strip(p.to_str().unwrap().as_bytes())));
            all
        };
        // Once there and back, so that what is kept for ever is there.
        quiet("jail-rebase -k ours web 15.0");
        let moved = state(&stage);
        quiet("jail-rebase -y --revert web");
        let before = state(&stage);
        let mut cases = 0;
        for number in 1.. {
            if !killed(&stage, "jail-rebase -k ours web 15.0", number) {
                quiet("jail-rebase -y --revert web");
                break;
            }
            cases += 1;
            let there = stage.path(WEB).join("etc/rc.conf").exists();
            if there {
                // It is what it was before, or what it is to be, with the base that belongs to it.
                let now = state(&stage);
                let whole = |one: &[String]| one.iter().all(|line| now.contains(line));
                assert!(whole(&before) || whole(&moved), "{number}: {now:#?}");
            }
            if number % 2 == 0 {
                quiet("jail-rebase -k ours web 15.0");
                same(&state(&stage), &moved, &format!("{number} and again"));
                quiet("jail-rebase -y --revert web");
            } else {
                let output = stage.run("jail-rebase -y --revert web");
                let told = String::from_utf8_lossy(&output.stderr).into_owned();
                let nothing = told.contains("no move to revert");
                assert!(output.status.success() || there && nothing, "{number}: {told}");
            }
            same(&state(&stage), &before, &format!("{number} and back"));
        }
        assert!(cases > 10, "{cases}");
        for number in 1.. {
            quiet("jail-rebase -k ours web 15.0");
            let met = killed(&stage, "jail-rebase -y --revert web", number);
            if met {
                let output = stage.run("jail-rebase -y --revert web");
                let told = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success() || told.contains("no move to revert"), "{told}");
            }
            same(&state(&stage), &before, &format!("back {number}"));
            if !met {
                break;
            }
        }
        for number in 1.. {
            quiet("jail-rebase -k ours web 15.0");
            let met = killed(&stage, "jail-rebase -y --commit web", number);
            let now = state(&stage);
            let of_moved: Vec<_> = moved
                .iter()
                .filter(|l| !l.contains("web.before") && !l.contains("-skeleton@"))
                .cloned()
                .collect();
            same(
                &of_moved,
                &now.iter().filter(|l| of_moved.contains(l)).cloned().collect::<Vec<_>>(),
                "commit",
            );
            if met {
                quiet("jail-rebase -y --commit web");
            }
            let now = state(&stage);
            assert!(!now.iter().any(|line| line.contains("web.before")), "{now:?}");
            if !met {
                break;
            }
            // There again, by the other way round.
            quiet("jail-rebase -k ours web 14.5");
            quiet("jail-rebase -y --commit web");
        }
        stage.nothing_left();
    }
}

/// Every effect fails in turn: nothing is changed, and one line says why.
#[cfg(feature = "inject")]
#[test]
fn a_failing_effect_is_undone() {
    for storage in STORAGES {
        let stage = stage(storage);
        conflicts(&stage);
        assert!(stage.run("jail-rebase -k ours web 15.0").status.success());
        assert!(stage.run("jail-rebase -y --revert web").status.success());
        let state = |stage: &Host| {
            let mut all = surroundings(stage);
            all.retain(|line| !line.contains("containers/web.") || line.contains("web.before"));
            all.extend(lines(tree(stage, WEB)));
            all
        };
        let before = state(&stage);
        let count = effects(&stage, "jail-rebase -k ours web 15.0");
        assert!(stage.run("jail-rebase -y --revert web").status.success());
        for number in 1..=count {
            let errno = ["ENOSPC", "EIO", "EACCES", "EROFS", "EMFILE"][number % 5];
            let mut command = stage.prepare(Command::new(bin("jail-rebase")));
            let command = command.args(["-k", "ours", "web", "15.0"]);
            let output = command.env("THINJAIL_INJECT", format!("{errno}@{number}")).output().unwrap();
            if output.status.success() {
                // What it only wanted to know, or the telling at the end.
                assert!(stage.run("jail-rebase -y --revert web").status.success(), "{number}");
                same(&state(&stage), &before, &format!("{errno}@{number}"));
                continue;
            }
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{number}: {stderr}");
            same(&state(&stage), &before, &format!("{errno}@{number}: {stderr}"));
        }
        stage.nothing_left();
    }
}

/// A version of an entry, for the oracle.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    kind: char,
    mode: u32,
    holds: Vec<u8>,
}

fn versions(top: &Path) -> BTreeMap<PathBuf, Version> {
    fn walk(top: &Path, below: &Path, all: &mut BTreeMap<PathBuf, Version>) {
        for entry in fs::read_dir(top.join(below)).unwrap() {
            let path = below.join(entry.unwrap().file_name());
            let real = top.join(&path);
            let meta = fs::symlink_metadata(&real).unwrap();
            let (kind, holds) = match meta.file_type() {
                kind if kind.is_dir() => ('d', Vec::new()),
                kind if kind.is_symlink() => {
                    ('l', fs::read_link(&real).unwrap().into_os_string().into_encoded_bytes())
                }
                _ => ('f', fs::read(&real).unwrap()),
            };
            let mode = if kind == 'l' { 0 } else { meta.mode() & 0o7777 };
            all.insert(path.clone(), Version { kind, mode, holds });
            if kind == 'd' {
                walk(top, &path, all);
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(top, Path::new(""), &mut all);
    all
}

/// What `git merge-file` makes of three texts, conflicts as the jail has them.
fn git_merge(dir: &Path, texts: [&[u8]; 3]) -> Vec<u8> {
    let files = ["a", "t", "o"].map(|name| dir.join(name));
    for (file, text) in files.iter().zip(texts) {
        fs::write(file, text).unwrap();
    }
    let [a, t, o] = &files;
    let output =
        Command::new("git").args(["merge-file", "-p", "-q", "--ours"]).args([o, a, t]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// What there should be at a path of the merged tree, distinguished from any of the
/// suite's own code.
fn expected(dir: &Path, [a, t, o]: [Option<&Version>; 3]) -> Option<Version> {
    if t == o || a == o {
        return t.cloned();
    }
    let (Some(a), Some(t), Some(o)) = (a, t, o) else {
        // Added, removed, or in conflict: as the jail has it.
        return o.cloned();
    };
    if a == t || a.kind != t.kind || a.kind != o.kind {
        return Some(o.clone());
    }
    let mode = if a.mode == o.mode { t.mode } else { o.mode };
    let holds = match () {
        () if a.holds == o.holds => t.holds.clone(),
        () if a.holds == t.holds || t.holds == o.holds => o.holds.clone(),
        () if o.kind != 'f' || [a, t, o].iter().any(|v| v.holds.contains(&0)) => o.holds.clone(),
        () => git_merge(dir, [&a.holds, &t.holds, &o.holds]),
    };
    Some(Version { kind: o.kind, mode, holds })
}

/// Two realistic trees, three hundred changes between them, sixty of the jail's
/// own; the result is what an oracle makes of every entry by itself.
#[test]
fn a_realistic_jail_as_an_oracle_has_it() {
    if Command::new("git").arg("--version").output().is_err() {
        return;
    }
    for storage in STORAGES {
        let stage = Host::bare(storage);
        let make = |release: &str| {
            let name = format!("zdata/jails/templates/{release}-base");
            match storage {
                Storage::Zfs => drop(stage.tool("zfs", &["create", "-p", &name])),
                Storage::Directory => fs::create_dir_all(stage.path(&format!("/{name}"))).unwrap(),
            }
            stage.path(&format!("/{name}"))
        };
        let base = make("14.5-RELEASE");
        match storage {
            Storage::Zfs => drop(stage.tool("zfs", &["create", "zdata/jails/containers"])),
            Storage::Directory => fs::create_dir_all(stage.path("/zdata/jails/containers")).unwrap(),
        }
        // The moved trees of a real base, in a base that is otherwise small.
        let whole = tempfile::tempdir_in(crate::harness::scratch()).unwrap();
        let parts = [whole.path().join("base"), whole.path().join("skeleton")];
        basetree::split(&parts[0], &parts[1], basetree::Certificates::Files).unwrap();
        small::fill(&base);
        let lay = |base: &Path| {
            for (path, version) in versions(&parts[1]) {
                let real = base.join(&path);
                let generated = path.extension().is_some_and(|e| e == "db") || path.ends_with("etc/passwd");
                match version.kind {
                    'd' => fs::create_dir_all(&real).unwrap(),
                    'l' if fs::symlink_metadata(&real).is_err() => {
                        symlink(std::ffi::OsStr::new(std::str::from_utf8(&version.holds).unwrap()), &real)
                            .unwrap();
                    }
                    'l' => {}
                    // Kept as they are where the least base has them already.
                    _ if real.exists() || generated => {}
                    _ => {
                        let lines: Vec<String> =
                            (0..30).map(|n| format!("line {n} of {}\n", path.display())).collect();
                        fs::write(&real, lines.concat()).unwrap();
                        fs::set_permissions(&real, fs::Permissions::from_mode(version.mode & 0o7777))
                            .unwrap();
                    }
                }
            }
        };
        // A jail's etc grows.
        let more = parts[1].join("etc/more");
        fs::create_dir(&more).unwrap();
        (0..260).for_each(|n| fs::write(more.join(format!("{n}.conf")), "").unwrap());
        lay(&base);
        fs::write(base.join("bin/freebsd-version"), "#!/bin/sh\nUSERLAND_VERSION=\"14.5-RELEASE\"\n")
            .unwrap();
        stage.ok("skel-split 14.5");
        stage.ok("jail-clone -r 14.5 web 10");

        // The next release: every file but a few is another one.
        let next = make("15.0-RELEASE");
        small::fill(&next);
        lay(&next);
        fs::write(next.join("bin/freebsd-version"), "#!/bin/sh\nUSERLAND_VERSION=\"15.0-RELEASE\"\n")
            .unwrap();
        let merged_here = |path: &Path| {
            let inside = ["etc", "var"].iter().any(|top| path.starts_with(top));
            let left_out = ["etc/ssl/certs", "etc/ssl/untrusted", "var/db/pkg", "etc/mtree"];
            inside && !left_out.iter().any(|out| path.starts_with(out))
        };
        let by_name =
            ["etc/master.passwd", "etc/group", "etc/login.conf", "etc/services", "etc/mail/aliases"];
        let files: Vec<PathBuf> = versions(&parts[1])
            .into_iter()
            .filter(|(path, v)| {
                v.kind == 'f' && merged_here(path) && !by_name.iter().any(|n| path == Path::new(n))
            })
            .filter(|(path, _)| path.extension().is_none_or(|e| e != "db") && !path.ends_with("etc/passwd"))
            .map(|(path, _)| path)
            .filter(|path| fs::read_to_string(next.join(path)).is_ok_and(|t| t.starts_with("line 0")))
            .collect();
        let edit = |top: &Path, path: &Path, line: usize, by: &str| {
            let text = fs::read_to_string(top.join(path)).unwrap();
            let lines: Vec<String> = text
                .lines()
                .enumerate()
                .map(|(n, l)| if n == line { format!("{by} changed this\n") } else { format!("{l}\n") })
                .collect();
            fs::write(top.join(path), lines.concat()).unwrap();
        };
        for (number, path) in files.iter().enumerate() {
            match number % 12 {
                0 => fs::remove_file(next.join(path)).unwrap(),
                1 => fs::set_permissions(next.join(path), fs::Permissions::from_mode(0o600)).unwrap(),
                2 => {}
                _ => edit(&next, path, number % 30, "the release"),
            }
        }
        for number in 0..40 {
            fs::write(next.join(format!("etc/new{number}")), format!("new {number}\n")).unwrap();
        }
        let _ = fs::remove_file(next.join("etc/termcap"));
        symlink("/usr/share/misc/termcap.db", next.join("etc/termcap")).unwrap();
        stage.ok("skel-split 15.0");
        if storage == Storage::Zfs {
            stage.tool("zfs", &["set", "snapdir=visible", "zdata/jails/templates"]);
        }

        // Sixty changes of the jail's own, of every kind.
        let web = stage.path(WEB);
        let mut own = 0;
        for (number, path) in
            files.iter().enumerate().filter(|(number, _)| number % 4 == 0 || number % 12 == 1)
        {
            if own == 55 {
                break;
            }
            own += 1;
            match number % 7 {
                0 => fs::remove_file(web.join(path)).unwrap(),
                1 => fs::set_permissions(web.join(path), fs::Permissions::from_mode(0o640)).unwrap(),
                2 => fs::write(web.join(path), b"binary\0").unwrap(),
                3 => {
                    fs::remove_file(web.join(path)).unwrap();
                    symlink("/nowhere", web.join(path)).unwrap();
                }
                // The very line, or another one.
                4 => edit(&web, path, number % 30, "the jail"),
                _ => edit(&web, path, (number + 9) % 30, "the jail"),
            }
        }
        assert_eq!(own, 55, "{} files", files.len());
        fs::write(web.join("etc/rc.conf.local"), "x=1\n").unwrap();
        fs::write(web.join("etc/new7"), "the jail's\n").unwrap();
        fs::create_dir(web.join("etc/of-its-own")).unwrap();
        fs::write(web.join("etc/of-its-own/x"), "x\n").unwrap();
        fs::write(web.join("usr/local/etc/app"), "app\n").unwrap();
        fs::write(web.join("root/notes"), "notes\n").unwrap();

        let path_of =
            |release: &str| stage.path(&format!("/zdata/jails/templates/{release}-RELEASE-skeleton"));
        let without_control = |top: &Path| {
            let mut all = versions(top);
            all.retain(|path, _| !path.starts_with(".zfs"));
            all
        };
        let (a, t, o) =
            (without_control(&path_of("14.5")), without_control(&path_of("15.0")), without_control(&web));
        let differ = |x: &BTreeMap<PathBuf, Version>, y: &BTreeMap<PathBuf, Version>| {
            x.iter().filter(|(path, v)| y.get(*path) != Some(v)).count()
        };
        let gone = a.keys().filter(|path| !t.contains_key(*path)).count();
        let fresh = t.keys().filter(|path| !a.contains_key(*path)).count();
        let (theirs, ours) = (differ(&a, &t) - gone, differ(&o, &a));
        assert!(theirs >= 300 && gone >= 30 && fresh >= 40, "{theirs} {gone} {fresh}");
        assert!(ours + differ(&a, &o) >= 60, "{ours}");
        stage.ok("jail-rebase -k ours web 15.0");
        let result = without_control(&web);
        let scratch = tempfile::tempdir_in(crate::harness::scratch()).unwrap();
        let paths: BTreeSet<&PathBuf> = a.keys().chain(t.keys()).chain(o.keys()).collect();
        let mut merged = 0;
        for path in &paths {
            let own = ["usr/local", "home", "root", "var/db/pkg"].iter().any(|own| path.starts_with(own));
            let three = [a.get(*path), t.get(*path), o.get(*path)];
            let expect = if own { three[2].cloned() } else { expected(scratch.path(), three) };
            merged += usize::from(three.iter().all(|v| expect.as_ref() != *v));
            assert_eq!(result.get(*path), expect.as_ref(), "{}: {three:?}", path.display());
        }
        assert!(result.keys().all(|path| paths.contains(path)));
        assert!(merged > 10, "{merged}");
        stage.ok("jail-rebase -y --revert web");
        assert_eq!(without_control(&web), o);
        eprintln!("{theirs} changed, {fresh} added, {gone} removed, {own} of the jail's; {merged} merged");
        stage.nothing_left();
    }
}

/// A further mount from the template follows the jail to the other release and
/// back; what that release does not have is told of.
#[test]
fn mounts_from_the_template_go_along() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = small::two_releases(storage);
        let fstab = stage.path("/zdata/jails/web-nullfs-base.fstab");
        for sub in ["docs", "old"] {
            fs::create_dir_all(
                stage.path(&format!("/zdata/jails/templates/14.5-RELEASE-base/usr/share/{sub}")),
            )
            .unwrap();
            fs::create_dir_all(stage.path(&format!("/zdata/jails/containers/web/{sub}"))).unwrap();
        }
        fs::create_dir_all(stage.path("/zdata/jails/templates/15.0-RELEASE-base/usr/share/docs")).unwrap();
        let line = |release: &str, sub: &str| {
            format!(
                "/zdata/jails/templates/{release}-base/usr/share/{sub} \
                 /zdata/jails/web-nullfs-base/skeleton/{sub} nullfs ro 0 0\n"
            )
        };
        let mut text = fs::read_to_string(&fstab).unwrap();
        text += &(line("14.5-RELEASE", "docs") + &line("14.5-RELEASE", "old"));
        fs::write(&fstab, &text).unwrap();
        let output = stage.run("jail-rebase -k theirs web 15.0");
        let told = stage.strip(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert!(
            told.contains("warning: its fstab still mounts /zdata/jails/templates/14.5-RELEASE-base/usr/share/old, which 15.0"),
            "{told}"
        );
        let moved = fs::read_to_string(&fstab).unwrap();
        assert!(moved.contains(&line("15.0-RELEASE", "docs")), "{moved}");
        assert!(moved.contains(&line("14.5-RELEASE", "old")), "{moved}");
        stage.ok("jail-rebase -y --revert web");
        assert_eq!(fs::read_to_string(&fstab).unwrap(), text);
        // One of the other release would come back as one of this.
        fs::write(
            &fstab,
            format!("{text}{}", line("15.0-RELEASE", "docs").replace("skeleton/docs", "skeleton/old")),
        )
        .unwrap();
        let told = stage.fails("jail-rebase -k theirs web 15.0");
        assert!(told.contains("; remove the line before the move, and add it afterwards"), "{told}");
    }
}
