//! skel-split: a base before and after, on both storages, whole or torn.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::host;
use crate::harness::listing;
use crate::harness::small;

use host::{Host, Storage};
use listing::{Times, listing};
use small::{BASE, SKELETON, stage};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const MOVED: [&str; 6] = ["etc", "var", "root", "tmp", "home", "usr/local"];

/// The whole place where templates are.
fn templates(stage: &Host) -> BTreeMap<PathBuf, String> {
    listing(&stage.path("/zdata/jails/templates"), Times::Files)
}

/// What a jail would see, if its container were the skeleton itself: the moved
/// directories from there, all else from the base.
fn as_a_jail_sees(stage: &Host, times: Times) -> BTreeMap<PathBuf, String> {
    let mut seen = listing(&stage.path(BASE), times);
    seen.retain(|path, _| !path.starts_with("skeleton"));
    for moved in MOVED {
        seen.remove(Path::new(moved));
    }
    let skeleton = listing(&stage.path(SKELETON), times);
    let is_moved = |path: &Path| MOVED.iter().any(|m| path.starts_with(m));
    seen.extend(skeleton.into_iter().filter(|(path, _)| is_moved(path)));
    seen
}

/// Holds a split template against the base as it was.
#[track_caller]
fn check_split(stage: &Host, before: &BTreeMap<PathBuf, String>) {
    let after = as_a_jail_sees(stage, Times::Files);
    for (path, line) in before {
        let now = after.get(path).unwrap_or_else(|| panic!("{} is lost", path.display()));
        let climbing = [
            ("etc/rmt", "../../usr/sbin/rmt"),
            ("etc/ssl/certs/0a.0", "../../../../usr/share/certs/trusted/A.pem"),
        ];
        match climbing.iter().find(|(link, _)| Path::new(link) == path) {
            Some((_, text)) => assert!(now.ends_with(&format!("-> {text}")), "{now}"),
            // A name in each tree is a file in each tree.
            None if path.ends_with(".profile") => {
                assert_eq!(line.split(" = ").next(), now.split(" = ").next(), "{}", path.display());
            }
            None => assert_eq!(line, now, "{}", path.display()),
        }
    }
    for path in after.keys().filter(|p| !before.contains_key(*p)) {
        assert_eq!(path, Path::new("home"), "{} came from nowhere", path.display());
    }
    for (link, text) in
        [("etc", "skeleton/etc"), ("home", "skeleton/home"), ("usr/local", "../skeleton/usr/local")]
    {
        assert_eq!(fs::read_link(stage.path(BASE).join(link)).unwrap(), Path::new(text));
    }
    assert!(fs::read_dir(stage.path(BASE).join("skeleton")).unwrap().next().is_none());
    assert!(stage.path(SKELETON).join("docs").is_dir());
    let leftovers: Vec<_> = templates(stage).into_keys().filter(|p| is_leaving(p)).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

fn is_leaving(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    [".thinjail", ".torn", ".merged", ".thinjail-link"].iter().any(|s| name.ends_with(s))
}

/// The base as a jail would see it before the split.
fn before(stage: &Host) -> BTreeMap<PathBuf, String> {
    listing(&stage.path(BASE), Times::Files)
}

#[test]
fn on_both_storages() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = stage(storage);
        let before = before(&stage);
        let told = stage.ok("skel-split 14.5");
        assert_eq!(told, "14.5-RELEASE: split; next: jail-clone -r 14.5-RELEASE NAME\n");
        check_split(&stage, &before);
        // Times of directories are carried too, where nothing was repaired.
        let var = fs::metadata(stage.path(SKELETON).join("var")).unwrap().modified().unwrap();
        assert_eq!(var.duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos(), 123_456_789);
        if storage == Storage::Zfs {
            let names = stage.tool("zfs", &["list", "-H", "-o", "name", "-t", "snapshot", "-r", "zdata"]);
            assert_eq!(names, "zdata/jails/templates/14.5-RELEASE-skeleton@base\n");
        }
        // Once more is nothing.
        let there = templates(&stage);
        stage.forget_calls();
        assert_eq!(stage.ok("skel-split 14.5"), "14.5-RELEASE: already split\n");
        assert_eq!(there, templates(&stage));
        assert!(stage.calls().iter().all(|call| call.starts_with("zfs get")), "{:?}", stage.calls());
        stage.ok("jail-clone web 10");
        assert!(stage.path("/zdata/jails/containers/web/etc/rc.conf").is_file());
    }
}

#[test]
fn a_dry_run_changes_nothing_and_tells_all() {
    let stage = stage(Storage::Zfs);
    let before = templates(&stage);
    let told = stage.ok("skel-split -n -d src 14.5");
    assert_eq!(before, templates(&stage));
    let root = stage.root().display().to_string();
    for line in [
        "/sbin/zfs create zdata/jails/templates/14.5-RELEASE-skeleton",
        &format!("/bin/mkdir -m 755 {root}{SKELETON}/src"),
        &format!("/bin/ln -s ../skeleton/usr/local {root}{BASE}/usr/local"),
        &format!("/usr/local/sbin/skel-fixcerts -a -b {root}{BASE} {root}{SKELETON}"),
        "/sbin/zfs snapshot zdata/jails/templates/14.5-RELEASE-skeleton@base",
    ] {
        assert!(told.lines().any(|l| l == line), "no {line:?} in {told}");
    }
    stage.ok("skel-split 14.5");
    assert_eq!(stage.ok("skel-split -n 14.5"), "");
}

#[test]
fn kept_originals_and_further_directories() {
    let stage = stage(Storage::Directory);
    let before = before(&stage);
    stage.ok("skel-split -k -d src -d obj 14.5");
    for name in ["src", "obj", "docs"] {
        assert!(stage.path(SKELETON).join(name).is_dir(), "{name}");
    }
    for moved in MOVED.into_iter().filter(|m| *m != "home") {
        let kept = listing(&stage.path(BASE).join(format!("{moved}.orig")), Times::All);
        let original = before.iter().filter_map(|(p, l)| Some((p.strip_prefix(moved).ok()?, l)));
        for (path, line) in original.filter(|(p, _)| !p.as_os_str().is_empty()) {
            if !line.starts_with("dir") && !line.contains(" = ") {
                assert_eq!(kept.get(path), Some(line), "{moved}: {}", path.display());
            }
        }
    }
    assert_eq!(stage.ok("skel-split -k 14.5"), "14.5-RELEASE: already split\n");
}

/// `mv` of a directory to another file system, as mv(1) does it, up to where
/// `stop` says.
fn mv(stage: &Host, name: &str, stop: Stop) {
    let (from, to) = (stage.path(BASE).join(name), stage.path(SKELETON).join(name));
    fs::create_dir_all(stage.path(SKELETON)).unwrap();
    let copied = Command::new("cp").args(["-a", "--no-preserve=links"]).arg(&from).arg(&to).status().unwrap();
    assert!(copied.success());
    match stop {
        Stop::Copying => {
            fs::remove_dir_all(to.join("db")).unwrap();
            fs::remove_file(to.join("log/messages")).unwrap();
        }
        Stop::InTheMiddleOfAFile => {
            fs::remove_dir_all(to.join("log")).unwrap();
            let file = fs::File::create(to.join("db/locate.database")).unwrap();
            file.set_len(0).unwrap();
        }
        Stop::Removing => {
            // As far as the immutable directory.
            fs::remove_dir_all(from.join("db")).unwrap();
            fs::remove_dir_all(from.join("log")).unwrap();
        }
        Stop::Done => fs::remove_dir_all(&from).unwrap(),
    }
}

#[derive(Clone, Copy, Debug)]
enum Stop {
    Copying,
    InTheMiddleOfAFile,
    Removing,
    Done,
}

#[test]
fn an_interrupted_mv_of_var() {
    for stop in [Stop::Copying, Stop::InTheMiddleOfAFile, Stop::Removing, Stop::Done] {
        let stage = stage(Storage::Directory);
        let mut before = before(&stage);
        // mv(1) makes two files of two names.
        for line in before.values_mut().filter(|l| l.contains("= var/")) {
            if matches!(stop, Stop::Removing | Stop::Done) {
                *line = line.split(" = ").next().unwrap().to_owned();
            }
        }
        mv(&stage, "var", stop);
        stage.ok("skel-split 14.5");
        check_split(&stage, &before);
    }
}

/// Both trees torn: a part is only here, a part only there.
#[test]
fn both_trees_torn() {
    let stage = stage(Storage::Directory);
    let mut before = before(&stage);
    for line in before.values_mut().filter(|l| l.contains("= var/")) {
        *line = line.split(" = ").next().unwrap().to_owned();
    }
    mv(&stage, "var", Stop::Removing);
    // Brought back by hand, in part, and then lost there.
    let (base, skeleton) = (stage.path(BASE).join("var"), stage.path(SKELETON).join("var"));
    let copied = Command::new("cp").arg("-a").arg(skeleton.join("log")).arg(&base).status().unwrap();
    assert!(copied.success());
    fs::remove_dir_all(skeleton.join("log")).unwrap();
    let output = stage.run("skel-split 14.5");
    let stderr = stage.strip(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("var is split between "), "{stderr}");
    check_split(&stage, &before);
}

#[test]
fn what_is_lost_or_unlike_is_told_and_left_alone() {
    // Something that base lists is in neither.
    let stage = stage(Storage::Directory);
    mv(&stage, "var", Stop::Removing);
    fs::remove_dir_all(stage.path(SKELETON).join("var/db/entropy")).unwrap();
    let there = templates(&stage);
    let told = stage.fails("skel-split 14.5");
    assert!(told.contains("var: var/db/entropy is missing: BSD.var.dist lists it"), "{told}");
    assert_eq!(there, templates(&stage));

    // Both have it, and not alike.
    let stage = small::stage(Storage::Directory);
    mv(&stage, "var", Stop::Removing);
    fs::create_dir(stage.path(BASE).join("var/log")).unwrap();
    stage.write(&format!("{BASE}/var/log/messages"), "another log\n");
    let there = templates(&stage);
    let told = stage.fails("skel-split 14.5");
    assert!(told.contains("skel-split: var/log/messages: different size"), "{told}");
    assert!(told.lines().last().unwrap().contains("differ; keep the right version in one of them"), "{told}");
    assert_eq!(there, templates(&stage));

    // What looks like the beginning of a copy has a shorter file, and not the beginning of the right one.
    let stage = small::stage(Storage::Directory);
    stage.write(&format!("{SKELETON}/etc/rc.conf"), "other");
    let there = templates(&stage);
    let told = stage.fails("skel-split 14.5");
    assert!(told.contains("skel-split: etc/rc.conf: different size"), "{told}");
    assert_eq!(there, templates(&stage));

    // Neither has it.
    let stage = small::stage(Storage::Directory);
    fs::remove_dir_all(stage.path(BASE).join("etc")).unwrap();
    let told = stage.fails("skel-split 14.5");
    assert!(told.contains("etc is neither in /zdata/jails/templates/14.5-RELEASE-base nor in "), "{told}");
}

#[test]
fn refused_before_anything_is_touched() {
    let told = |prepare: &dyn Fn(&Host), line: &str| {
        let stage = stage(Storage::Zfs);
        prepare(&stage);
        let there = templates(&stage);
        let told = stage.fails(line);
        assert_eq!(there, templates(&stage), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        told
    };
    let at = |stage: &Host, path: &str| stage.path(BASE).join(path);
    for (expected, prepare) in [
        (
            "home is a symbolic link to usr/home, not to home of the skeleton",
            Box::new(|stage: &Host| symlink("usr/home", at(stage, "home")).unwrap()) as Box<dyn Fn(&Host)>,
        ),
        (
            "tmp: a regular file",
            Box::new(|stage: &Host| {
                fs::remove_dir(at(stage, "tmp")).unwrap();
                fs::write(at(stage, "tmp"), "").unwrap();
            }),
        ),
        (
            "skeleton: a regular file, not a mount point",
            Box::new(|stage: &Host| {
                fs::write(at(stage, "skeleton"), "").unwrap();
            }),
        ),
        (
            "contains 14.1-RELEASE",
            Box::new(|stage: &Host| {
                fs::write(at(stage, "bin/freebsd-version"), "USERLAND_VERSION=\"14.1-RELEASE\"\n").unwrap();
            }),
        ),
        (
            "not a FreeBSD base: no bin/freebsd-version",
            Box::new(|stage: &Host| {
                fs::remove_file(at(stage, "bin/freebsd-version")).unwrap();
            }),
        ),
        (
            "stop the jail that runs on it",
            Box::new(|stage: &Host| {
                fs::create_dir_all(stage.path("/mnt")).unwrap();
                stage.tool("mount", &["-t", "nullfs", "-o", "ro", BASE, "/mnt"]);
            }),
        ),
        (
            "both /zdata/jails/templates/14.5-RELEASE-base/tmp and ",
            Box::new(|stage: &Host| {
                fs::create_dir(at(stage, ".tmp.thinjail")).unwrap();
            }),
        ),
        (
            "if no jail was cloned from it: zfs destroy",
            Box::new(|stage: &Host| {
                stage.tool("zfs", &["create", "zdata/jails/templates/14.5-RELEASE-skeleton"]);
                stage.tool("zfs", &["snapshot", "zdata/jails/templates/14.5-RELEASE-skeleton@base"]);
            }),
        ),
        (
            "already exists, but there is no dataset",
            Box::new(|stage: &Host| {
                stage.write(&format!("{SKELETON}/x"), "");
            }),
        ),
    ] {
        let told = told(&*prepare, "skel-split 14.5");
        assert!(told.contains(expected), "{told:?}, not {expected:?}");
    }
    let absent = told(&|_| (), "skel-split 15.0");
    assert!(
        absent.contains("no base of 15.0-RELEASE: ") && absent.contains("run skel-fetch 15.0-RELEASE"),
        "{absent}"
    );
}

/// The recipe followed by hand up to some point is gone on with.
#[test]
fn a_split_begun_by_hand() {
    let stage = stage(Storage::Zfs);
    let before = before(&stage);
    stage.tool("zfs", &["create", "zdata/jails/templates/14.5-RELEASE-skeleton"]);
    let (base, skeleton) = (stage.path(BASE), stage.path(SKELETON));
    for name in ["etc", "root"] {
        let copied = Command::new("cp").arg("-a").arg(base.join(name)).arg(&skeleton).status().unwrap();
        assert!(copied.success());
        fs::remove_dir_all(base.join(name)).unwrap();
    }
    symlink("skeleton/etc", base.join("etc")).unwrap();
    fs::create_dir(base.join("skeleton")).unwrap();
    stage.ok("skel-split 14.5");
    check_split(&stage, &before);
}

/// A template made by hand, its links never repaired, jails on it already.
#[test]
fn a_finished_one_with_dangling_links_is_told_of() {
    let stage = stage(Storage::Zfs);
    stage.ok("skel-split 14.5");
    let link = stage.path(SKELETON).join("etc/ssl/certs/0a.0");
    fs::remove_file(&link).unwrap();
    symlink("../../../usr/share/certs/trusted/A.pem", &link).unwrap();
    let output = stage.run("skel-split 14.5");
    assert!(output.status.success());
    let told = stage.strip(&output.stderr);
    assert!(
        told.contains(
            "symbolic links in zdata/jails/templates/14.5-RELEASE-skeleton@base do not reach the base"
        ),
        "{told}"
    );
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("../../../usr/share/certs/trusted/A.pem"));
}
