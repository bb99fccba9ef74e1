//! jail-destroy: all of a jail, nothing else, and only with proof.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::host;
use crate::harness::listing;
use crate::harness::small;

use host::{Host, Storage};
use listing::{Times, listing};

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const WEB: &str = "zdata/jails/containers/web";

/// A host with the jails web and db.
fn stage(storage: Storage) -> Host {
    let stage = small::stage(storage);
    stage.ok("skel-split 14.5");
    stage.ok("jail-clone db 11");
    stage
}

/// All that jails consist of, as text.
fn state(stage: &Host) -> Vec<String> {
    let mut all = Vec::new();
    for tree in ["/zdata", "/etc", "/var/log"] {
        let real = stage.path(tree);
        if real.exists() {
            let trees = listing(&real, Times::None);
            all.extend(trees.into_iter().map(|(path, line)| format!("{tree}/{} {line}", path.display())));
        }
    }
    all.push(stage.tool("zfs", &["list", "-H", "-o", "name,origin,thinjail:jail", "-t", "all"]));
    all.push(stage.tool("mount", &["-p"]));
    all
}

#[test]
fn the_reverse_of_jail_clone() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = stage(storage);
        stage.write("/etc/rc.conf", "jail_enable=\"YES\"\njail_list=\"db\"\n");
        let before = state(&stage);
        stage.ok("jail-clone -e web 10");
        stage.write("/var/log/jail_console_web.log", "what it said\n");
        let mut expected = before.clone();
        expected.push("/var/log/jail_console_web.log file 644 0:0 \"what it said\\n\"".into());
        stage.ok("jail-destroy -y web");
        let after: Vec<String> = state(&stage);
        let odd: Vec<_> = after.iter().filter(|l| !expected.contains(l)).collect();
        let lost: Vec<_> = before.iter().filter(|l| !after.contains(l)).collect();
        assert!(lost.is_empty() && odd.len() <= 1, "{odd:?} {lost:?}");
        assert!(odd.iter().all(|l| l.starts_with("/var/log/jail_console_web.log ")), "{odd:?}");
        let told = stage.fails("jail-destroy -y web");
        assert!(told.contains("jail web does not exist: no configuration, container or fstab"), "{told}");
        assert!(!stage.calls().iter().any(|c| c.starts_with("zfs destroy -")), "{:?}", stage.calls());
    }
}

/// Starting zfs(8) or sysrc(8) costs more than what they do: nothing is asked
/// twice, however many snapshots there are.
#[test]
fn nothing_is_asked_twice() {
    let asked = |snapshots: usize| {
        let stage = stage(Storage::Zfs);
        stage.ok("jail-clone web 10");
        for n in 0..snapshots {
            stage.tool("zfs", &["snapshot", &format!("{WEB}@{n}")]);
        }
        stage.forget_calls();
        stage.ok("jail-destroy -y web");
        let mut calls = stage.calls();
        let all = calls.len();
        calls.sort();
        calls.dedup();
        assert_eq!(calls.len(), all, "{calls:?}");
        calls.retain(|c| !c.starts_with("zfs destroy "));
        calls.iter().map(|c| c.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    for snapshots in [0, 3] {
        assert_eq!(asked(snapshots), ["sysrc -R", "zfs get", "zfs unmount"]);
    }
}

#[test]
fn a_running_jail_is_stopped_only_by_force() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = stage(storage);
        let before = state(&stage);
        stage.ok("jail-clone web 10");
        stage.tool("jail", &["-c", "web"]);
        let told = stage.fails("jail-destroy -y web");
        assert!(told.contains("jail web is running; service jail stop web, or use -f"), "{told}");
        let told = stage.ok("jail-destroy -nf web");
        assert!(told.starts_with("/usr/sbin/service jail onestop web\n"), "{told}");
        assert!(stage.state().jails.iter().any(|j| j.name == "web"));
        stage.ok("jail-destroy -fy web");
        // Its console log is kept.
        let mut after = state(&stage);
        after.retain(|line| !line.starts_with("/var/log/jail_console_web.log "));
        let odd: Vec<_> = after.iter().filter(|l| !before.contains(l)).collect();
        assert!(odd.is_empty(), "{odd:?}");
        assert_eq!(stage.tool("ifconfig", &["-l"]).trim(), "lo0 igc0 igc0bridge");
    }
}

/// A start that fails leaves the pair; that goes too.
#[test]
fn the_pair_of_a_failed_start() {
    let stage = stage(Storage::Directory);
    stage.ok("jail-clone web 10");
    let conf = fs::read_to_string(stage.path("/etc/jail.conf")).unwrap();
    stage.write("/etc/jail.conf", &conf.replace("/bin/sh /etc/rc\"", "/usr/bin/false\""));
    stage.tool_fails("jail", &["-c", "web"]);
    assert!(stage.tool("ifconfig", &["-l"]).contains("epair10a"));
    stage.ok("jail-destroy -y web");
    assert_eq!(stage.tool("ifconfig", &["-l"]).trim(), "lo0 igc0 igc0bridge");
}

/// Asking needs somebody to ask.
#[test]
fn not_without_an_answer() {
    let stage = stage(Storage::Directory);
    stage.ok("jail-clone web 10");
    let before = state(&stage);
    let told = stage.fails("jail-destroy web");
    assert!(told.contains("standard input is not a terminal; use -y"), "{told}");
    assert_eq!(before, state(&stage));
    let told = stage.ok("jail-destroy -n web");
    assert!(told.contains("/etc/jail.conf.d/web.conf\n"), "{told}");
    assert_eq!(before, state(&stage));
}

#[test]
fn refused_with_nothing_changed() {
    type Prepare = Box<dyn Fn(&Host)>;
    type Make = fn() -> Prepare;
    let on_zfs: Vec<(&str, Prepare)> = vec![
        (
            "dataset zdata/jails/containers/web belongs to jail db",
            Box::new(|s| {
                s.tool("zfs", &["set", "thinjail:jail=db", WEB]);
            }),
        ),
        (
            "is a clone of zdata/jails/containers/web@mine; destroy or promote it first",
            Box::new(|s| {
                s.tool("zfs", &["snapshot", &format!("{WEB}@mine")]);
                s.tool("zfs", &["clone", &format!("{WEB}@mine"), "zdata/copy"]);
            }),
        ),
        (
            "dataset zdata/jails/containers/web/inner is below",
            Box::new(|s| {
                s.tool("zfs", &["create", &format!("{WEB}/inner")]);
            }),
        ),
        (
            "is a clone of nothing, not of a skeleton",
            Box::new(|s| {
                s.tool("zfs", &["destroy", WEB]);
                s.tool("zfs", &["create", "-o", "thinjail:jail=web", WEB]);
            }),
        ),
        (
            "cannot verify that it belongs to jail web",
            Box::new(|s| {
                s.tool("zfs", &["inherit", "thinjail:jail", WEB]);
                fs::remove_file(s.path("/etc/jail.conf.d/web.conf")).unwrap();
            }),
        ),
        (
            "is still mounted on /zdata/jails/web-nullfs-base after a failed stop",
            Box::new(|s| {
                s.tool(
                    "mount",
                    &[
                        "-t",
                        "nullfs",
                        "/zdata/jails/templates/14.5-RELEASE-base",
                        "/zdata/jails/web-nullfs-base",
                    ],
                );
            }),
        ),
        (
            "is mounted on /mnt; umount /mnt",
            Box::new(|s| {
                fs::create_dir_all(s.path("/mnt")).unwrap();
                s.tool("mount", &["-t", "nullfs", "/zdata/jails/containers/web", "/mnt"]);
            }),
        ),
    ];
    let anywhere: Vec<(&str, Make)> = vec![
        ("contains more than jail web; -f removes only its block", || {
            Box::new(|s| {
                let text = fs::read_to_string(s.path("/etc/jail.conf.d/web.conf")).unwrap();
                s.write("/etc/jail.conf.d/web.conf", &format!("{text}other {{ path = \"/x\"; }}\n"));
            })
        }),
        ("path of jail web is /elsewhere, not /zdata/jails/web-nullfs-base", || {
            Box::new(|s| {
                let text = fs::read_to_string(s.path("/etc/jail.conf.d/web.conf")).unwrap();
                s.write("/etc/jail.conf.d/web.conf", &text.replace("$id", "path = \"/elsewhere\";\n$id"));
            })
        }),
        ("jail web is configured twice, in ", || {
            Box::new(|s| {
                s.write("/etc/jail.conf.d/zzz.conf", "web { $id = \"99\"; }\n");
            })
        }),
        ("/zdata/jails/containers/db is mounted on /zdata/jails/web-nullfs-base/skeleton", || {
            Box::new(|s| {
                let file = "/zdata/jails/web-nullfs-base.fstab";
                let text = fs::read_to_string(s.path(file)).unwrap();
                s.write(file, &text.replace("containers/web", "containers/db"));
            })
        }),
        ("no line mounts a file system on /zdata/jails/web-nullfs-base/skeleton", || {
            Box::new(|s| {
                s.write("/zdata/jails/web-nullfs-base.fstab", "/a /b nullfs ro 0 0\n");
            })
        }),
        ("a line mounts a file system on /etc, outside of /zdata/jails/web-nullfs-base", || {
            Box::new(|s| {
                let file = "/zdata/jails/web-nullfs-base.fstab";
                let text = fs::read_to_string(s.path(file)).unwrap();
                s.write(file, &format!("{text}/tmp /etc nullfs rw 0 0\n"));
            })
        }),
        ("web-nullfs-base: not empty although nothing is mounted on it", || {
            Box::new(|s| {
                s.write("/zdata/jails/web-nullfs-base/x", "");
            })
        }),
    ];
    let mut cases: Vec<(Storage, &str, Prepare)> = Vec::new();
    for (expected, make) in anywhere {
        cases.push((Storage::Zfs, expected, make()));
        cases.push((Storage::Directory, expected, make()));
    }
    cases.extend(on_zfs.into_iter().map(|(expected, prepare)| (Storage::Zfs, expected, prepare)));
    cases.push((
        Storage::Directory,
        "no fstab shows that it belongs to jail web, and it was changed",
        Box::new(|s| {
            fs::remove_file(s.path("/zdata/jails/web-nullfs-base.fstab")).unwrap();
            fs::remove_file(s.path("/etc/jail.conf.d/web.conf")).unwrap();
            s.write("/zdata/jails/containers/web/root/work", "much of it\n");
        }),
    ));
    cases.push((
        Storage::Directory,
        "web: a symbolic link",
        Box::new(|s| {
            fs::remove_dir_all(s.path("/zdata/jails/containers/web")).unwrap();
            symlink("db", s.path("/zdata/jails/containers/web")).unwrap();
        }),
    ));
    for (storage, expected, prepare) in cases {
        let stage = stage(storage);
        stage.ok("jail-clone web 10");
        prepare(&stage);
        let before = state(&stage);
        let told = stage.fails("jail-destroy -y web");
        assert!(told.contains(expected), "{told:?}, not {expected:?}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert_eq!(before, state(&stage), "{expected}");
    }
}

/// With -f the block is cut out, and the rest stays byte for byte.
#[test]
fn one_block_of_a_file() {
    let stage = stage(Storage::Zfs);
    stage.ok("jail-clone web 10");
    let web = fs::read_to_string(stage.path("/etc/jail.conf.d/web.conf")).unwrap();
    let (head, tail) = ("# my jails\nallow.raw_sockets;\n", "other { $id = \"70\"; } // and that\n");
    stage.write("/etc/jail.conf.d/web.conf", &format!("{head}{web}{tail}"));
    stage.ok("jail-destroy -fy web");
    assert_eq!(fs::read_to_string(stage.path("/etc/jail.conf.d/web.conf")).unwrap(), format!("{head}{tail}"));
    assert!(!stage.tool("zfs", &["list", "-H", "-o", "name"]).contains(WEB));

    // A block of jail.conf itself, and a comment that is nobody's.
    stage.ok("jail-clone two 12");
    let two = fs::read_to_string(stage.path("/etc/jail.conf.d/two.conf")).unwrap();
    fs::remove_file(stage.path("/etc/jail.conf.d/two.conf")).unwrap();
    let main = fs::read_to_string(stage.path("/etc/jail.conf")).unwrap();
    stage.write("/etc/jail.conf", &format!("{main}{two}"));
    stage.ok("jail-destroy -fy two");
    assert_eq!(fs::read_to_string(stage.path("/etc/jail.conf")).unwrap(), main);
}

/// A jail made by hand bears no mark; what agrees is enough.
/// A run killed while it wrote the rest leaves that prepared, and the next one
/// uses it up.
#[test]
fn a_rest_that_was_prepared_already() {
    let stage = stage(Storage::Directory);
    stage.ok("jail-clone web 10");
    let conf = stage.path("/etc/jail.conf.d/web.conf");
    let text = fs::read_to_string(&conf).unwrap();
    let rest = "two {\n$id = \"20\";\n$ip = \"192.168.7.20/24\";\n}\n";
    fs::write(&conf, format!("{text}{rest}")).unwrap();
    stage.write("/etc/jail.conf.d/.web.conf.thinjail", "two {");
    stage.ok("jail-destroy -fy web");
    assert_eq!(fs::read_to_string(&conf).unwrap(), rest);
    stage.nothing_left();
}

#[test]
fn made_by_hand() {
    let stage = stage(Storage::Zfs);
    let before = state(&stage);
    stage.ok("jail-clone web 10");
    stage.tool("zfs", &["inherit", "thinjail:jail", WEB]);
    stage.tool("zfs", &["snapshot", &format!("{WEB}@monday")]);
    stage.ok("jail-destroy -y web");
    assert_eq!(before, state(&stage));
}

#[test]
fn the_last_name_in_jail_list_stays() {
    let stage = stage(Storage::Directory);
    stage.write("/etc/rc.conf", "jail_list=\"web\"\n");
    stage.ok("jail-clone web 10");
    let output = stage.run("jail-destroy -y web");
    let told = stage.strip(&output.stderr);
    assert!(output.status.success() && told.contains("jail_list still contains web"), "{told}");
    assert_eq!(fs::read_to_string(stage.path("/etc/rc.conf")).unwrap(), "jail_list=\"web\"\n");
}

/// sysrc(8) is asked only where rc.conf is more than assignments, and the answer
/// is the same.
#[test]
fn jail_list_as_it_is_written() {
    const FILES: &str = "rc_conf_files=\"/etc/rc.conf /etc/rc.conf.local\"\n";
    const LIST: &str = "jail_list=\"\"\t\t# Space separated list of names of jails\n";
    let stage = stage(Storage::Directory);
    stage.ok("jail-clone web 10");
    let listed = |defaults: &str, rc: &str, local: &str| {
        stage.write("/etc/defaults/rc.conf", defaults);
        stage.write("/etc/rc.conf", rc);
        stage.write("/etc/rc.conf.local", local);
        stage.forget_calls();
        let plan = stage.ok("jail-destroy -n web");
        (plan.contains("jail_list-=web"), !stage.calls().is_empty())
    };
    let shipped = format!("jail_enable=\"NO\"\n{LIST}{FILES}");
    let plain = [
        ("", "", false),
        ("jail_enable=\"YES\"\n# jail_list=\"web\"\n", "", false),
        ("jail_list=\"db web\"\n", "", true),
        ("jail_list=\"db\tweb\"", "", true),
        ("jail_list=db\\ web;x=1\n", "", true),
        ("jail_list='db\nweb'\n", "hostname=h\n", true),
        ("jail_list=\"webdb\"\n", "", false),
        ("jail_list=\"web\"\njail_list=\"db\"\n", "", false),
        ("jail_list=\"web\"\n", "jail_list=db\n", false),
        ("jail_list=\"db\"\n", "  jail_list=\"db w\"\"eb\"\n", true),
        ("jail_list=\"db \\\nweb\"\n", "", true),
    ];
    for (rc, local, expected) in plain {
        assert_eq!(listed(&shipped, rc, local), (expected, false), "{rc:?} {local:?}");
        // The shell thinks so too.
        let otherwise = shipped.replace('"', "'");
        assert_eq!(listed(&otherwise, rc, local), (expected, true), "{rc:?} {local:?}");
    }
    stage.write("/etc/mine", "jail_list='db web'\n");
    let mine = stage.path("/etc/mine").display().to_string();
    let more = [
        ("name=web\njail_list=\"db ${name}\"\n".to_owned(), true),
        ("jail_list=\"db\"\njail_list=\"${jail_list} web\"\n".into(), true),
        ("jail_list=`echo db web`\n".into(), true),
        ("jail_list=db\n[ -z \"\" ] && jail_list='db web'\n".into(), true),
        ("export jail_list='db web'\n".into(), true),
        (format!(". {mine}\n"), true),
        ("jail_list=web\nif true; then jail_list=db; fi\n".into(), false),
    ];
    for (rc, expected) in more {
        assert_eq!(listed(&shipped, &rc, ""), (expected, true), "{rc:?}");
    }
    // Nor where not everything is as it comes.
    for defaults in [
        shipped.replace(FILES, "rc_conf_files=\"/etc/rc.conf\"\n"),
        format!("{shipped}jail_list=\"web\"\n"),
        format!("{shipped}rc_conf_files=\"$rc_conf_files /etc/rc.conf.mine\"\n"),
        FILES.to_owned(),
    ] {
        assert!(listed(&defaults, "jail_list=db\n", "").1, "{defaults:?}");
    }
    assert!(listed(&shipped, "rc_conf_files=\"/etc/rc.conf.mine\"\n", "").1);
    stage.write("/etc/defaults/vendor.conf", "");
    assert!(listed(&shipped, "jail_list=db\n", "").1);
}

/// What the root of a jail can have done to its container.
#[test]
fn a_hostile_container() {
    let stage = stage(Storage::Directory);
    stage.ok("jail-clone web 10");
    let before = {
        let other = self::stage(Storage::Directory);
        state(&other)
    };
    let container = stage.path("/zdata/jails/containers/web");
    let outside = stage.path("/precious");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "precious\n").unwrap();
    symlink("/", container.join("root/all")).unwrap();
    symlink(&outside, container.join("root/out")).unwrap();
    symlink("../db", container.join("db")).unwrap();
    fs::remove_dir_all(container.join("tmp")).unwrap();
    symlink(&outside, container.join("tmp")).unwrap();
    fs::hard_link(outside.join("file"), container.join("root/hard")).unwrap();
    let fifo = Command::new("mkfifo").arg(container.join("etc/fifo")).status().unwrap();
    assert!(fifo.success());
    // Deeper than any path can name.
    use rustix::fs::{Mode, OFlags};
    let mut here = rustix::fs::open(container.join("var"), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..10_000 {
        rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let closed: PathBuf = container.join("var/db");
    Command::new("chmod").arg("000").arg(&closed).status().unwrap();
    stage.ok("jail-destroy -y web");
    assert!(!container.exists());
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "precious\n");
    let after = state(&stage);
    let odd: Vec<_> = after.iter().filter(|l| !before.contains(l)).collect();
    assert!(odd.is_empty(), "{odd:?}");
    assert!(Path::new("/etc/passwd").is_file());
}
