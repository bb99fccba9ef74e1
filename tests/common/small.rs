//! A host with a base that is as small as it can be and still has all that a
//! split or an update meets.
#![allow(dead_code)] // Each test crate uses a part of it.

use crate::bin;
use crate::setup::{Stage, Storage};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

pub const BASE: &str = "/zdata/jails/templates/14.2-RELEASE-base";
pub const SKELETON: &str = "/zdata/jails/templates/14.2-RELEASE-skeleton";

/// A host with the base of 14.2, as small as it can be and still have all that
/// a split meets.
pub fn stage(storage: Storage) -> Stage {
    let stage = Stage::bare(storage);
    match storage {
        Storage::Zfs => {
            stage.ok("zfs", &["create", "-p", "zdata/jails/templates/14.2-RELEASE-base"]);
            stage.ok("zfs", &["create", "zdata/jails/containers"]);
        }
        Storage::Directory => {
            fs::create_dir_all(stage.path(BASE)).unwrap();
            fs::create_dir_all(stage.path("/zdata/jails/containers")).unwrap();
        }
    }
    fill(&stage.path(BASE));
    stage.forget_calls();
    stage
}

pub fn fill(base: &Path) {
    for directory in [
        "bin",
        "etc/mtree",
        "etc/ssl/certs",
        "usr/sbin",
        "usr/share/certs/trusted",
        "usr/local/etc",
        "var/db/entropy",
        "var/log",
        "var/empty",
        "root",
        "tmp",
        "dev",
    ] {
        fs::create_dir_all(base.join(directory)).unwrap();
    }
    let write = |path: &str, text: &str| fs::write(base.join(path), text).unwrap();
    write("bin/freebsd-version", "#!/bin/sh\nUSERLAND_VERSION=\"14.2-RELEASE\"\n");
    write("etc/rc.conf", "hostname=\"x\"\n");
    write("etc/master.passwd", "root:*:0:0::0:0:Charlie &:/root:/bin/sh\n");
    let dist = "/set type=dir uname=root gname=wheel mode=0755\n.\n    db\n        entropy\n        ..\n    ..\n\
                \x20   empty mode=0555 flags=schg\n    ..\n    log\n    ..\n..\n";
    write("etc/mtree/BSD.var.dist", dist);
    let dist = "/set type=dir uname=root gname=wheel mode=0755\n.\n    etc\n        mtree\n        ..\n    ..\n\
                \x20   root mode=0750\n    ..\n    tmp mode=01777\n    ..\n..\n";
    write("etc/mtree/BSD.root.dist", dist);
    write("usr/sbin/rmt", "rmt");
    write("usr/share/certs/trusted/A.pem", "a certificate\n");
    write("root/.profile", "PATH=/bin\n");
    write("var/log/messages", "");
    write("var/db/locate.database", "x");
    fs::hard_link(base.join("root/.profile"), base.join(".profile")).unwrap();
    fs::hard_link(base.join("var/db/locate.database"), base.join("var/db/locate.again")).unwrap();
    symlink("../usr/sbin/rmt", base.join("etc/rmt")).unwrap();
    symlink("../../../usr/share/certs/trusted/A.pem", base.join("etc/ssl/certs/0a.0")).unwrap();
    symlink("../var/run/os-release", base.join("etc/os-release")).unwrap();
    symlink("/usr/share/misc/termcap", base.join("etc/termcap")).unwrap();
    for (path, mode) in [
        ("tmp", 0o1777),
        ("root", 0o750),
        ("var/empty", 0o555),
        ("etc/master.passwd", 0o600),
        ("var/db/entropy", 0o700),
    ] {
        fs::set_permissions(base.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    // Times that a copy made now would not have.
    for path in ["etc/rc.conf", "var/log/messages", "var/db", "var", "tmp", "root", "etc"] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_700_000_000, 123_456_789);
        let times = fs::FileTimes::new().set_modified(time);
        fs::File::open(base.join(path)).unwrap().set_times(times).unwrap();
    }
}

pub fn run(stage: &Stage, line: &str) -> Output {
    let mut words = line.split(' ');
    let program = bin::bin(words.next().unwrap());
    stage.wear(Command::new(program)).args(words).output().unwrap()
}

#[track_caller]
pub fn ok(stage: &Stage, line: &str) -> String {
    let output = run(stage, line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub fn fails(stage: &Stage, line: &str) -> String {
    let output = run(stage, line);
    let stderr = stage.strip(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{line}: {stderr}");
    stderr
}
