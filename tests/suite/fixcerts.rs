//! skel-fixcerts on the tree of a whole base.

use crate::basetree;
use crate::harness::bin::bin;

use basetree::Certificates;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

struct Trees {
    dir: tempfile::TempDir,
}

impl Trees {
    fn new(certificates: Certificates) -> Trees {
        let dir = tempfile::tempdir_in(crate::harness::scratch()).unwrap();
        let trees = Trees { dir };
        basetree::split(&trees.base(), &trees.skeleton(), certificates).unwrap();
        trees
    }

    fn base(&self) -> PathBuf {
        self.dir.path().join("14.5-RELEASE-base")
    }

    fn skeleton(&self) -> PathBuf {
        self.dir.path().join("14.5-RELEASE-skeleton")
    }

    fn run(&self, options: &[&str]) -> Output {
        let mut command = std::process::Command::new(bin("skel-fixcerts"));
        command.env_clear().args(options).arg(self.skeleton()).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, options: &[&str]) -> String {
        let output = self.run(options);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn fails(&self, options: &[&str]) -> String {
        let output = self.run(options);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Every file of the skeleton with all that must not change by accident.
    fn present(&self) -> BTreeMap<PathBuf, String> {
        let mut all = BTreeMap::new();
        collect(&self.skeleton(), &mut all);
        all
    }

    fn text(&self, path: &str) -> String {
        fs::read_link(self.skeleton().join(path)).unwrap().to_str().unwrap().to_owned()
    }
}

fn collect(directory: &Path, all: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let m = fs::symlink_metadata(&path).unwrap();
        let link = m.is_symlink().then(|| fs::read_link(&path).unwrap());
        let what =
            format!("{link:?} {:o} {} {} {}.{}", m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec());
        all.insert(path.clone(), what);
        if m.is_dir() {
            collect(&path, all);
        }
    }
}

#[test]
fn all_links_of_freebsd_14() {
    let trees = Trees::new(Certificates::Links);
    let before = trees.present();
    let report = trees.fails(&["-c"]);
    assert_eq!(report.lines().count(), 193, "{report}");
    assert_eq!(before, trees.present());
    assert!(trees.ok(&[]).ends_with(": 193 links repaired\n"));
    for (path, text) in basetree::certificate_links() {
        assert_eq!(trees.text(path), format!("../{text}"));
        // Seen from the jail: base at /, so what is below it must be there.
        assert!(trees.base().join(text.trim_start_matches("../")).exists(), "{path}");
    }
    assert_eq!(trees.text("etc/rmt"), "../../usr/sbin/rmt");
    // Nothing but the texts changed: no owner, no time, no other file.
    let after = trees.present();
    assert_eq!(before.len(), after.len());
    let unchanged =
        |what: &str| what.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or(what.to_owned());
    for (path, what) in &before {
        assert_eq!(unchanged(what), unchanged(&after[path]), "{}", path.display());
    }
    assert_eq!(before.iter().filter(|(path, what)| after[*path] != **what).count(), 193);
    // Again: nothing to do, not even a rewritten link.
    assert_eq!(trees.ok(&[]), "");
    assert_eq!(trees.ok(&["-a"]), "");
    assert_eq!(trees.ok(&["-c"]), "");
    assert_eq!(after, trees.present());
}

#[test]
fn regular_files_of_freebsd_15() {
    let trees = Trees::new(Certificates::Files);
    let before = trees.present();
    // etc/rmt is the one link of 15.0 that climbs.
    assert!(trees.ok(&[]).ends_with(": 1 link repaired\n"));
    let mut after = trees.present();
    let rmt = trees.skeleton().join("etc/rmt");
    assert_ne!(before[&rmt], after[&rmt]);
    after.insert(rmt.clone(), before[&rmt].clone());
    assert_eq!(before, after);
    assert_eq!(trees.ok(&[]), "");
}

#[test]
fn the_whole_skeleton() {
    let trees = Trees::new(Certificates::Files);
    let local = trees.skeleton().join("usr/local");
    fs::create_dir_all(local.join("share/certs")).unwrap();
    fs::create_dir_all(local.join("etc")).unwrap();
    fs::write(local.join("share/certs/mine.pem"), "m").unwrap();
    let certs = trees.skeleton().join("etc/ssl/certs");
    symlink("../../../usr/local/share/certs/mine.pem", certs.join("deadbeef.0")).unwrap();
    symlink("../../share/misc/termcap", local.join("etc/termcap")).unwrap();
    symlink("../bin/none", local.join("etc/inside")).unwrap();
    let copies = trees.skeleton().join("var/db/etcupdate/current/etc");
    fs::create_dir_all(&copies).unwrap();
    symlink("../usr/sbin/rmt", copies.join("rmt")).unwrap();
    trees.ok(&[]);
    assert_eq!(trees.text("usr/local/etc/termcap"), "../../share/misc/termcap");
    trees.ok(&["-a"]);
    // From usr/local up to /, and down to usr again.
    assert_eq!(trees.text("usr/local/etc/termcap"), "../../../../usr/share/misc/termcap");
    assert_eq!(trees.text("etc/ssl/certs/deadbeef.0"), "../../../usr/local/share/certs/mine.pem");
    assert_eq!(trees.text("usr/local/etc/inside"), "../bin/none");
    assert_eq!(trees.text("var/db/etcupdate/current/etc/rmt"), "../usr/sbin/rmt");
    assert_eq!(trees.text("etc/os-release"), "../var/run/os-release");
    assert_eq!(trees.ok(&["-a"]), "");
}

#[test]
fn danglers_are_listed() {
    let trees = Trees::new(Certificates::Links);
    let certs = trees.skeleton().join("etc/ssl/certs");
    symlink("../../../usr/share/certs/trusted/Gone.pem", certs.join("ffffffff.0")).unwrap();
    symlink("/no/such/file", certs.join("ffffffff.1")).unwrap();
    let report = trees.fails(&[]);
    assert_eq!(
        report,
        "skel-fixcerts: etc/ssl/certs/ffffffff.0: dangling symbolic link to ../../../usr/share/certs/trusted/Gone.pem\n\
         skel-fixcerts: etc/ssl/certs/ffffffff.1: dangling symbolic link to /no/such/file\n"
    );
    // All the others are repaired, these are as they were.
    assert!(trees.text("etc/ssl/certs/002c0b4f.0").starts_with("../../../../usr"));
    assert_eq!(trees.text("etc/ssl/certs/ffffffff.0"), "../../../usr/share/certs/trusted/Gone.pem");
}

#[test]
fn names_of_every_kind() {
    let trees = Trees::new(Certificates::Files);
    let certs = trees.skeleton().join("etc/ssl/certs");
    let target = trees.base().join("usr/share/certs/trusted");
    for name in [&b"two words"[..], b"new\nline", b"-n", b"--", b"\xff\xfe", b"'quote\""] {
        let name = OsStr::from_bytes(name);
        fs::write(target.join(name), "").unwrap();
        symlink(Path::new("../../../usr/share/certs/trusted").join(name), certs.join(name)).unwrap();
    }
    assert!(trees.ok(&[]).ends_with(": 7 links repaired\n"));
    for entry in fs::read_dir(&certs).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_symlink() {
            assert!(fs::read_link(&path).unwrap().starts_with("../../../../usr"), "{path:?}");
        }
    }
    assert_eq!(trees.ok(&[]), "");
}

#[test]
fn never_out_of_the_tree() {
    // etc/ssl of a container is a link to somebody else's tree.
    let trees = Trees::new(Certificates::Links);
    let other = trees.dir.path().join("other");
    fs::create_dir_all(other.join("certs")).unwrap();
    symlink("../../../usr/share/certs/trusted/GlobalSign_Root_R46.pem", other.join("certs/x.0")).unwrap();
    fs::remove_dir_all(trees.skeleton().join("etc/ssl")).unwrap();
    symlink("../../other", trees.skeleton().join("etc/ssl")).unwrap();
    let report = trees.fails(&[]);
    assert!(report.contains("etc/ssl: not a directory (a symbolic link here is not followed)"), "{report}");
    let text = fs::read_link(other.join("certs/x.0")).unwrap();
    assert_eq!(text.to_str().unwrap(), "../../../usr/share/certs/trusted/GlobalSign_Root_R46.pem");
    // The rest was done.
    assert_eq!(trees.text("etc/rmt"), "../../usr/sbin/rmt");
}

#[test]
fn a_killed_runs_temporary_link_goes() {
    let trees = Trees::new(Certificates::Links);
    let leaving = trees.skeleton().join("etc/ssl/certs/.thinjail-link");
    symlink("x", &leaving).unwrap();
    trees.ok(&[]);
    assert!(fs::symlink_metadata(leaving).is_err());
}

#[test]
fn which_base() {
    let trees = Trees::new(Certificates::Links);
    let elsewhere = trees.dir.path().join("elsewhere");
    fs::rename(trees.base(), &elsewhere).unwrap();
    let error = trees.fails(&[]);
    assert!(error.contains("use -b") && error.lines().count() == 1, "{error}");
    trees.ok(&["-b", elsewhere.to_str().unwrap()]);
    let output = std::process::Command::new(bin("skel-fixcerts")).arg("/no/such").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such directory"), "{output:?}");
}

#[test]
fn dry_run_prints_commands_that_do_the_same() {
    let trees = Trees::new(Certificates::Links);
    let before = trees.present();
    let printed = trees.ok(&["-n"]);
    assert_eq!(printed.lines().count(), 193);
    assert_eq!(before, trees.present());
    let first = printed.lines().next().unwrap();
    assert!(first.starts_with("/bin/ln -shf -- ../../../../usr/share/certs/"), "{first}");
    // GNU ln(1) says -n where FreeBSD's says -h.
    let script = printed.replace("-shf", "-snf");
    assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
    assert_eq!(trees.ok(&[]), "");
}

#[test]
fn hostile_texts_and_depths() {
    let trees = Trees::new(Certificates::Links);
    let certs = trees.skeleton().join("etc/ssl/certs");
    symlink("n".repeat(300), certs.join("long")).unwrap();
    let mut deep = trees.skeleton().join("tmp");
    for _ in 0..400 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    let report = trees.fails(&["-a"]);
    assert!(report.contains("etc/ssl/certs/long: dangling link") || !report.contains("look up"), "{report}");
    assert!(report.contains("too deep a directory, not looked into"), "{report}");
    assert!(trees.text("etc/ssl/certs/002c0b4f.0").starts_with("../../../../usr"));
}
