//! jail-rebase: a jail on another release, with all that it made of its own.
#![cfg(not(target_os = "freebsd"))]

#[path = "common/bin.rs"]
mod bin;
#[path = "common/listing.rs"]
mod listing;
#[path = "standins/setup.rs"]
mod setup;
#[path = "common/small.rs"]
mod small;

use bin::bin;
use listing::{Times, listing};
use setup::{Stage, Storage};
use small::{fails, ok, run};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const OLD: &str = "/zdata/jails/templates/14.2-RELEASE-base";
const NEW: &str = "/zdata/jails/templates/15.0-RELEASE-base";
const WEB: &str = "/zdata/jails/containers/web";
const STORAGES: [Storage; 2] = [Storage::Directory, Storage::Zfs];

/// A host with the releases 14.2 and 15.0, and the jail web on the first.
fn stage(storage: Storage) -> Stage {
    let stage = small::stage(storage);
    text(&stage, &format!("{OLD}/etc/ntp.conf"), "# ntp\nserver a\n\n# leap\nleapfile /x\n\n# end\nend\n");
    text(&stage, &format!("{OLD}/etc/motd.template"), "Welcome\n");
    text(&stage, &format!("{OLD}/etc/old.conf"), "old\n");
    text(&stage, &format!("{OLD}/etc/group"), "wheel:*:0:root\n");
    ok(&stage, "skel-split 14.2");
    ok(&stage, "jail-clone web 10");
    match storage {
        Storage::Zfs => {
            stage.ok("zfs", &["create", "zdata/jails/templates/15.0-RELEASE-base"]);
        }
        Storage::Directory => fs::create_dir_all(stage.path(NEW)).unwrap(),
    }
    small::fill(&stage.path(NEW));
    text(&stage, &format!("{NEW}/bin/freebsd-version"), "#!/bin/sh\nUSERLAND_VERSION=\"15.0-RELEASE\"\n");
    text(&stage, &format!("{NEW}/etc/ntp.conf"), "# ntp\nserver a\n\n# leap\nleapfile /x\n\n# end\nend 15\n");
    text(&stage, &format!("{NEW}/etc/motd.template"), "Welcome to 15\n");
    text(&stage, &format!("{NEW}/etc/new.conf"), "new\n");
    text(&stage, &format!("{NEW}/etc/group"), "wheel:*:0:root\n_new:*:845:\n");
    ok(&stage, "skel-split 15.0");
    if storage == Storage::Zfs {
        // Hidden otherwise, where directories can't be.
        stage.ok("zfs", &["set", "snapdir=visible", "zdata/jails/templates"]);
    }
    stage
}

fn text(stage: &Stage, path: &str, text: &str) {
    fs::write(stage.path(path), text).unwrap();
}

fn read(stage: &Stage, path: &str) -> String {
    fs::read_to_string(stage.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn tree(stage: &Stage, path: &str) -> BTreeMap<PathBuf, String> {
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
            "# ntp\nserver b\n\n# leap\nleapfile /x\n\n# end\nend\n",
        );
        text(&stage, &format!("{WEB}/usr/local/etc/app.conf"), "app\n");
        text(&stage, &format!("{WEB}/etc/rc.conf"), "sshd_enable=\"YES\"\n");
        let before = tree(&stage, WEB);
        let fstab = read(&stage, "/zdata/jails/web-nullfs-base.fstab");
        let told = ok(&stage, "jail-rebase web 15.0");
        assert!(told.contains("14.2-RELEASE-skeleton@base -> 15.0-RELEASE-skeleton@base"), "{told}");
        let now = |file: &str| read(&stage, &format!("{WEB}/{file}"));
        assert_eq!(now("etc/ntp.conf"), "# ntp\nserver b\n\n# leap\nleapfile /x\n\n# end\nend 15\n");
        assert_eq!(now("etc/motd.template"), "Welcome to 15\n");
        assert_eq!(now("etc/new.conf"), "new\n");
        assert_eq!(now("usr/local/etc/app.conf"), "app\n");
        assert_eq!(now("etc/rc.conf"), "sshd_enable=\"YES\"\n");
        assert!(!stage.path(&format!("{WEB}/etc/old.conf")).exists());
        assert_eq!(read(&stage, "/zdata/jails/web-nullfs-base.fstab"), fstab.replace("14.2", "15.0"));
        assert_eq!(tree(&stage, &format!("{WEB}.before-15.0-RELEASE")), before);
        ok(&stage, "jail-rebase -y --revert web");
        assert_eq!(tree(&stage, WEB), before);
        assert_eq!(read(&stage, "/zdata/jails/web-nullfs-base.fstab"), fstab);
        ok(&stage, "jail-rebase web 15.0");
        ok(&stage, "jail-rebase -y --commit web");
        ok(&stage, "jail-destroy -y web");
    }
}
