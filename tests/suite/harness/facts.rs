//! Behaviour of the stand-ins that no transcript shows: from the facts known of ZFS and from the sources of the real
//! programs. Part of `tests/suite/transcripts.rs`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::harness::host::{Host, Storage};

const SKELETON: &str = "zdata/jails/templates/14.5-RELEASE-skeleton";

/// A pool with a skeleton that has a few files and a snapshot.
fn stage() -> Host {
    let stage = Host::new();
    stage.pool("zdata");
    stage.tool("zfs", &["create", "-p", SKELETON]);
    stage.tool("zfs", &["create", "zdata/jails/containers"]);
    for file in ["etc/passwd", "etc/hosts", "etc/rc.d/cron", "var/log/messages"] {
        stage.write(&format!("/{SKELETON}/{file}"), "as delivered\n");
    }
    stage.tool("zfs", &["snapshot", &format!("{SKELETON}@base")]);
    stage
}

/// The same with a clone, `web`.
fn cloned() -> Host {
    let stage = stage();
    stage.tool("zfs", &["clone", &format!("{SKELETON}@base"), "zdata/jails/containers/web"]);
    stage
}

fn diff(stage: &Host) -> Vec<String> {
    let text =
        stage.tool("zfs", &["diff", "-H", "-F", &format!("{SKELETON}@base"), "zdata/jails/containers/web"]);
    text.lines().map(|line| line.replace("/zdata/jails/containers/web", "")).collect()
}

#[test]
fn a_root_is_needed() {
    let stage = Host::new();
    for root in [None, Some("/"), Some("relative")] {
        let mut command = stage.tool_command("zfs");
        command.arg("list").env_remove("THINJAIL_ROOT");
        if let Some(root) = root {
            command.env("THINJAIL_ROOT", root);
        }
        let output = command.output().expect("start zfs");
        assert_eq!(output.status.code(), Some(70), "{root:?}");
    }
}

#[test]
fn calls_are_noted() {
    let stage = Host::new();
    stage.pool("zdata");
    stage.run_tool("zfs", &["create", "zdata/bad name"]);
    stage.run_tool("sysctl", &["-n", "kern.hostuuid"]);
    assert_eq!(
        stage.calls(),
        ["zfs standin-init zdata", "zfs create 'zdata/bad name'", "sysctl -n kern.hostuuid"]
    );
}

#[test]
fn a_clone_is_a_faithful_copy() {
    let stage = Host::new();
    stage.pool("zdata");
    stage.tool("zfs", &["create", "zdata/a"]);
    let origin = stage.path("/zdata/a");
    stage.write("/zdata/a/dir/file", "text");
    fs::hard_link(origin.join("dir/file"), origin.join("other")).expect("link");
    symlink("../../etc/x", origin.join("dir/link")).expect("link");
    fs::set_permissions(origin.join("dir/file"), PermissionsExt::from_mode(0o4751)).expect("chmod");
    fs::set_permissions(origin.join("dir"), PermissionsExt::from_mode(0o555)).expect("chmod");
    stage.tool("zfs", &["snapshot", "zdata/a@s"]);
    stage.tool("zfs", &["clone", "zdata/a@s", "zdata/b"]);
    let copy = stage.path("/zdata/b");
    for name in ["", "dir", "dir/file", "dir/link", "other"] {
        let meta = |dir: &std::path::Path| fs::symlink_metadata(dir.join(name)).expect(name);
        let look = |meta: fs::Metadata| {
            (meta.mode(), meta.nlink(), meta.mtime(), meta.mtime_nsec(), meta.uid(), meta.gid(), meta.len())
        };
        assert_eq!(look(meta(&origin)), look(meta(&copy)), "{name}");
    }
    assert_eq!(fs::read_link(copy.join("dir/link")).expect("readlink").as_os_str(), "../../etc/x");
    // Read-only directories are no obstacle to a destruction.
    stage.tool("zfs", &["destroy", "zdata/b"]);
    stage.tool("zfs", &["destroy", "-r", "zdata/a"]);
    assert!(!origin.exists() && !copy.exists());
}

#[test]
fn a_clone_can_exist_and_be_of_another_snapshot() {
    let stage = cloned();
    stage.tool("zfs", &["create", "zdata/jails/containers/plain"]);
    stage.tool("zfs", &["clone", "-p", &format!("{SKELETON}@base"), "zdata/jails/containers/plain"]);
    assert_eq!(stage.tool("zfs", &["get", "-Hovalue", "origin", "zdata/jails/containers/plain"]), "-\n");
}

#[test]
fn mounting_alone_is_written() {
    let stage = cloned();
    let written = stage.tool("zfs", &["get", "-Hpo", "value", "written", "zdata/jails/containers/web"]);
    assert_ne!(written, "0\n");
    assert_eq!(diff(&stage), [""; 0]);
}

#[test]
fn diff_compares_objects() {
    let stage = cloned();
    let web = stage.path("/zdata/jails/containers/web");
    // Replaced by rename, as editors and pwd_mkdb do.
    fs::write(web.join("etc/passwd.new"), "as delivered\n").expect("write");
    fs::rename(web.join("etc/passwd.new"), web.join("etc/passwd")).expect("rename");
    // Moved, in a directory and with one: what is below the directory is not mentioned.
    fs::rename(web.join("etc/hosts"), web.join("etc/hosts.old")).expect("rename");
    fs::rename(web.join("var/log"), web.join("var/newlog")).expect("rename");
    // One more link.
    fs::hard_link(web.join("etc/rc.d/cron"), web.join("cron")).expect("link");
    fs::write(web.join("a b\\\u{e4}"), "").expect("write");
    let mut lines = diff(&stage);
    lines.sort();
    assert_eq!(
        lines,
        [
            "+\tF\t/a\\0040b\\0134\\0303\\0244",
            "+\tF\t/etc/passwd",
            "-\tF\t/etc/passwd",
            "M\t/\t/",
            "M\t/\t/etc",
            "M\t/\t/var",
            "M\tF\t/etc/rc.d/cron\t(+1)",
            "R\t/\t/var/log\t/var/newlog",
            "R\tF\t/etc/hosts\t/etc/hosts.old",
        ]
    );
}

#[test]
fn diff_notices_a_change_right_after_a_clone() {
    for _ in 0..10 {
        let stage = cloned();
        // Same size, in place.
        let hosts = stage.path("/zdata/jails/containers/web/etc/hosts");
        fs::write(&hosts, "AS DELIVERED\n").expect("write");
        assert_eq!(diff(&stage), ["M\tF\t/etc/hosts"]);
    }
}

#[test]
fn diff_needs_a_common_past() {
    let stage = cloned();
    stage.tool("zfs", &["create", "zdata/alien"]);
    stage.tool_fails("zfs", &["diff", &format!("{SKELETON}@base"), "zdata/alien"]);
}

#[test]
fn rollback_brings_content_back() {
    let stage = cloned();
    let file = format!("/{SKELETON}/etc/hosts");
    stage.write(&file, "changed\n");
    // Under a nullfs mount as well.
    stage.busy(&format!("/{SKELETON}"));
    stage.tool("zfs", &["rollback", &format!("{SKELETON}@base")]);
    assert_eq!(fs::read_to_string(stage.path(&file)).expect("read"), "as delivered\n");
    assert_eq!(stage.tool("zfs", &["diff", &format!("{SKELETON}@base")]), "");
}

#[test]
fn rename_moves_mountpoints() {
    let stage = cloned();
    stage.tool("zfs", &["rename", "zdata/jails", "zdata/prisons"]);
    assert!(!stage.path("/zdata/jails").exists());
    assert!(stage.path("/zdata/prisons/containers/web/etc/hosts").is_file());
    assert_eq!(
        stage.tool("zfs", &["get", "-H", "-o", "value", "origin", "zdata/prisons/containers/web"]),
        "zdata/prisons/templates/14.5-RELEASE-skeleton@base\n"
    );
    assert_eq!(
        stage.tool_fails("zfs", &["rename", "zdata/prisons/containers/web", "zdata/prisons/templates"]),
        "cannot rename 'zdata/prisons/containers/web': dataset already exists\n"
    );
    stage.busy("/zdata/prisons/containers/web");
    assert_eq!(
        stage.tool_fails("zfs", &["rename", "zdata/prisons/containers/web", "zdata/web"]),
        "cannot unmount '/zdata/prisons/containers/web': pool or dataset is busy\n"
    );
}

#[test]
fn mountpoints_are_inherited_from_the_parent_of_the_target() {
    let stage = stage();
    stage.tool("zfs", &["set", "mountpoint=/srv/jails", "zdata/jails/containers"]);
    stage.tool("zfs", &["clone", &format!("{SKELETON}@base"), "zdata/jails/containers/web"]);
    assert_eq!(
        stage.tool("zfs", &["get", "-H", "-o", "value,source", "mountpoint", "zdata/jails/containers/web"]),
        "/srv/jails/web\tinherited from zdata/jails/containers\n"
    );
    assert!(stage.path("/srv/jails/web/etc/hosts").is_file());
    stage.tool("zfs", &["set", "mountpoint=none", "zdata/jails/containers"]);
    assert_eq!(
        stage.tool("zfs", &["get", "-H", "-o", "value", "mounted,mountpoint", "zdata/jails/containers/web"]),
        "no\nnone\n"
    );
    assert!(!stage.path("/srv/jails/web").exists());
    stage.tool("zfs", &["inherit", "mountpoint", "zdata/jails/containers"]);
    stage.tool("zfs", &["mount", "-a"]);
    assert!(stage.path("/zdata/jails/containers/web/etc/hosts").is_file());
}

#[test]
fn unmounting_keeps_content_and_a_mount_hides_it() {
    let stage = cloned();
    let hosts = "/zdata/jails/containers/web/etc/hosts";
    stage.tool("zfs", &["unmount", "zdata/jails/containers/web"]);
    assert!(!stage.path(hosts).exists());
    stage.write(hosts, "beneath\n");
    stage.tool("zfs", &["mount", "zdata/jails/containers/web"]);
    assert_eq!(fs::read_to_string(stage.path(hosts)).expect("read"), "as delivered\n");
    stage.tool("zfs", &["unmount", "zdata/jails/containers"]);
    stage.tool("zfs", &["mount", "-a"]);
    stage.tool("zfs", &["unmount", stage.path("/zdata/jails/containers/web").to_str().expect("UTF-8")]);
    assert_eq!(fs::read_to_string(stage.path(hosts)).expect("read"), "beneath\n");
}

#[test]
fn a_snapshot_of_a_parent_has_mountpoints_only() {
    let stage = cloned();
    stage.tool("zfs", &["snapshot", "zdata/jails/containers@s"]);
    stage.tool("zfs", &["clone", "zdata/jails/containers@s", "zdata/copy"]);
    let web = stage.path("/zdata/copy/web");
    assert!(web.is_dir());
    assert_eq!(fs::read_dir(web).expect("read").count(), 0);
}

#[test]
fn faults() {
    let stage = stage();
    let base = format!("{SKELETON}@base");
    stage.fault("not-root");
    for (args, complaint) in [
        (vec!["create", "zdata/x"], "cannot create 'zdata/x': permission denied\n"),
        (vec!["clone", &base, "zdata/x"], "cannot create 'zdata/x': permission denied\n"),
        (vec!["snapshot", "zdata@x"], "cannot create snapshots : permission denied\n"),
        (
            vec!["destroy", "zdata/jails/containers"],
            "cannot destroy 'zdata/jails/containers': permission denied\n",
        ),
        (vec!["create", "zdata/jails"], "cannot create 'zdata/jails': dataset already exists\n"),
    ] {
        assert_eq!(stage.tool_fails("zfs", &args), complaint);
    }
    stage.clear_fault("not-root");

    stage.fault("fail-mount");
    let output = stage.run_tool("zfs", &["clone", &base, "zdata/x"]);
    assert_eq!(output.status.code(), Some(0));
    let complaint = "cannot mount '/zdata/x': failed to create mountpoint: Not a directory\n\
                     filesystem successfully created, but not mounted\n";
    assert_eq!(stage.strip(&output.stderr), complaint);
    // It is there all the same, which is a success, and so for a new dataset.
    let output = stage.run_tool("zfs", &["create", "zdata/y"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stage.strip(&output.stderr), complaint.replace("/x", "/y"));
    stage.clear_fault("fail-mount");
    stage.tool("zfs", &["mount", "zdata/x"]);
    assert!(stage.path("/zdata/x/etc/hosts").is_file());
}

#[test]
fn options_end_at_the_first_operand() {
    let stage = stage();
    let output = stage.run_tool("zfs", &["create", "zdata/x", "-p"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn lists_for_people() {
    let stage = cloned();
    let args = ["list", "-o", "origin,name", "-t", "all", "-r", "zdata/jails/containers"];
    assert_eq!(
        stage.tool("zfs", &args),
        "ORIGIN                                            NAME\n\
         -                                                 zdata/jails/containers\n\
         zdata/jails/templates/14.5-RELEASE-skeleton@base  zdata/jails/containers/web\n"
    );
}

#[test]
fn one_bad_name_does_not_hide_the_others() {
    let stage = stage();
    let output = stage.run_tool("zfs", &["list", "-H", "-o", "name", "zdata/nope", "zdata/jails"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stage.strip(&output.stdout), "zdata/jails\n");
    assert_eq!(stage.strip(&output.stderr), "cannot open 'zdata/nope': dataset does not exist\n");
}

#[test]
fn many_at_once() {
    let stage = stage();
    let base = format!("{SKELETON}@base");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (stage, base) = (&stage, &base);
            scope.spawn(move || {
                stage.tool("zfs", &["clone", base, &format!("zdata/jails/containers/j{number}")])
            });
        }
    });
    let clones = stage.tool("zfs", &["get", "-H", "-o", "value", "clones", &base]);
    assert_eq!(clones.trim_end().split(',').count(), 8);
}

#[test]
fn sysrc_edits_lists() {
    let stage = Host::new();
    stage.write("/etc/rc.conf", "# mine\njail_list='web db' # two\nfoo_args=\"-a,-b\"\n");
    for (args, said) in [
        (vec!["jail_list+=mail"], "jail_list: web db -> web db mail\n"),
        (vec!["jail_list+=web"], "jail_list: web db mail -> web db mail\n"),
        (vec!["jail_list-=db"], "jail_list: web db mail -> web mail\n"),
        (vec!["-n", "jail_list"], "web mail\n"),
        (vec!["foo_args+=,-c"], "foo_args: -a,-b -> -a,-b,-c\n"),
        (vec!["cloned_interfaces+=bridge0"], "cloned_interfaces:  -> bridge0\n"),
        // In the defaults, so empty but not unknown.
        (vec!["-n", "hostname"], "\n"),
        (vec!["-x", "foo_args"], ""),
    ] {
        assert_eq!(stage.tool("sysrc", &args), said, "{args:?}");
    }
    assert_eq!(
        fs::read_to_string(stage.path("/etc/rc.conf")).expect("read"),
        "# mine\njail_list='web mail' # two\ncloned_interfaces=\"bridge0\"\n"
    );
    assert_eq!(stage.tool_fails("sysrc", &["-n", "foo_args"]), "sysrc: unknown variable 'foo_args'\n");
    assert_eq!(stage.tool_fails("sysrc", &["-iq", "foo_args"]), "");
}

#[test]
fn sysrc_works_on_other_files() {
    let stage = Host::new();
    let root = stage.root();
    let root = root.to_str().expect("UTF-8");
    stage.write("/usr/local/etc/thinjail.conf", "jail_zfs=\"zdata/jails\"\n");
    let file = "/usr/local/etc/thinjail.conf";
    assert_eq!(stage.tool("sysrc", &["-R", root, "-f", file, "-n", "jail_zfs"]), "zdata/jails\n");
    assert_eq!(
        stage.tool("sysrc", &["-f", &format!("{root}{file}"), "jail_zfs=NONE"]),
        "jail_zfs: zdata/jails -> NONE\n"
    );
    assert_eq!(stage.run_tool("sysrc", &["-R", "/elsewhere", "jail_zfs"]).status.code(), Some(70));
}

/// The parts of a jail's configuration that say where it is.
const PLACE: &str = "path = /j; mount.fstab = /j.fstab; vnet; exec.clean;";

/// A host with the tree of a jail at `/base`, and `web` configured with these statements.
fn jail(statements: &str) -> Host {
    let stage = Host::new();
    for dir in ["/base/skeleton", "/base/dev", "/own/tmp", "/j"] {
        fs::create_dir_all(stage.path(dir)).expect("make a directory");
    }
    symlink("skeleton/tmp", stage.path("/base/tmp")).expect("make a link");
    stage.write("/j.fstab", "/base /j nullfs ro\n/own /j/skeleton nullfs rw # the jail's\n");
    stage.write("/etc/jail.conf", &format!("web {{ {PLACE} {statements} }}\n"));
    stage
}

/// Standard output and standard error of a call, whatever comes of it, with its status.
fn said(stage: &Host, program: &str, args: &[&str]) -> (String, String, Option<i32>) {
    let output = stage.run_tool(program, args);
    (stage.strip(&output.stdout), stage.strip(&output.stderr), output.status.code())
}

#[test]
fn a_failing_stop_leaves_the_jail_running() {
    let stage = jail("exec.start = '/bin/sh /etc/rc'; exec.stop = /usr/bin/false; exec.poststop = /nosuch;");
    stage.tool("jail", &["-c", "web"]);
    assert_eq!(stage.tool_fails("jail", &["-r", "web"]), "jail: web: /usr/bin/false: failed\n");
    stage.tool("jls", &["-j", "web"]);
    assert_eq!(stage.tool("mount", &["-p"]).lines().count(), 2);
}

#[test]
fn a_failing_poststop_does_not_keep_the_mounts() {
    let stage = jail("exec.poststop = /nosuch; exec.poststop += /usr/bin/true;");
    stage.tool("jail", &["-c", "web"]);
    assert_eq!(
        said(&stage, "jail", &["-r", "web"]),
        (
            "web: removed\n".into(),
            "jail: web: exec /nosuch: No such file or directory\njail: web: /nosuch: failed\n".into(),
            Some(1)
        )
    );
    assert_eq!(stage.tool("mount", &["-p"]), "");
}

#[test]
fn a_restart_does_not_start_after_a_failed_stop() {
    let stage = jail("exec.release = /usr/bin/false;");
    stage.tool("jail", &["-rc", "web"]);
    stage.tool_fails("jail", &["-rc", "web"]);
    stage.tool_fails("jls", &["-j", "web"]);
}

#[test]
fn a_jail_without_its_fstab_is_neither_started_nor_stopped() {
    let stage = jail("exec.prestop = /nosuch;");
    stage.tool("jail", &["-c", "web"]);
    fs::remove_file(stage.path("/j.fstab")).expect("remove a file");
    let missing = "jail: web: mount.fstab: /j.fstab: No such file or directory\n";
    assert_eq!(stage.tool_fails("jail", &["-r", "web"]), missing);
    stage.tool("jail", &["-R", "web"]);
    assert_eq!(stage.tool_fails("jail", &["-c", "web"]), missing);
    assert_eq!(stage.tool("mount", &["-p"]).lines().count(), 2);
}

#[test]
fn mount_points_are_looked_for_in_what_is_mounted() {
    let stage = jail("");
    let lines = "/base /j nullfs ro\n/own /j/skeleton nullfs rw\n";
    for (line, complaint) in [
        // Through the container; the base's own link is refused.
        ("/own /j/skeleton/tmp nullfs rw", ""),
        ("/own /j/tmp nullfs rw", "jail: web: mount.fstab: /j/tmp is a symbolic link\n"),
        ("/own /j/nosuch nullfs rw", "jail: web: mount.fstab: /j/nosuch: No such file or directory\n"),
        ("/own j nullfs rw", "jail: web: mount.fstab: j: not an absolute pathname\n"),
        ("/own\\q /j/dev nullfs rw", "jail: web: mount.fstab: /own\\q /j/dev nullfs rw: fstab parse error\n"),
        (
            "/nosuch /j/dev nullfs rw",
            "mount_nullfs: /nosuch: No such file or directory\n\
             jail: web: /sbin/mount -t nullfs -o rw /nosuch /j/dev: failed\n",
        ),
    ] {
        stage.write("/j.fstab", &format!("{lines}{line}\n"));
        assert_eq!(said(&stage, "jail", &["-q", "-c", "web"]).1, complaint, "{line}");
        stage.run_tool("jail", &["-q", "-r", "web"]);
        assert_eq!(stage.tool("mount", &["-p"]), "", "{line}");
    }
}

#[test]
fn hooks_are_split_at_blanks_or_given_to_the_shell() {
    let stage = jail("");
    // No file system of its own, so that the hooks' files are found.
    stage.write("/j.fstab", "");
    let root = stage.root();
    let root = root.to_str().expect("UTF-8");
    let hooks = format!(
        "exec.prepare = \"echo '${{name}}' \\$JNAME > {root}/shell\"; exec.prestart = \"touch {root}/a=b {root}/c,#d\"; \
         exec.poststart = \"kill -9 \\$\\$\";"
    );
    stage.write("/etc/jail.conf", &format!("web {{ {PLACE} {hooks} }}\n"));
    let (out, err, status) = said(&stage, "jail", &["-c", "web"]);
    assert_eq!(err, "jail: web: kill -9 $$: exited on signal 9\n");
    assert_eq!((out.as_str(), status), ("web: created\nweb: removed\n", Some(1)));
    assert_eq!(fs::read_to_string(stage.path("/shell")).expect("read"), "web web\n");
    assert!(stage.path("/a=b").is_file() && stage.path("/c,#d").is_file());
}

#[test]
fn a_dataset_below_a_jail_is_busy() {
    let stage = cloned();
    fs::create_dir_all(stage.path("/mnt")).expect("make a directory");
    stage.tool("mount", &["-t", "nullfs", "/zdata/jails/containers/web", "/mnt"]);
    assert_eq!(
        stage.tool_fails("zfs", &["destroy", "zdata/jails/containers/web"]),
        "cannot unmount '/zdata/jails/containers/web': pool or dataset is busy\n"
    );
    stage.tool("umount", &["/mnt"]);
    stage.tool("zfs", &["destroy", "zdata/jails/containers/web"]);
}

#[test]
fn default_routes() {
    let stage = jail("vnet.interface = epair1b;");
    stage.tool("ifconfig", &["epair1", "create"]);
    stage.tool("jail", &["-c", "web"]);
    let route = |args: &[&str]| said(&stage, "route", &[&["-j", "web"], args].concat());
    let unreachable = route(&["add", "default", "192.168.7.101"]);
    assert_eq!(unreachable.0, "add net default: gateway 192.168.7.101 fib 0: Network is unreachable\n");
    stage.tool("ifconfig", &["-j", "web", "epair1b", "inet", "192.168.7.5/24"]);
    assert_eq!(stage.tool("route", &["-j", "web", "add", "default", "192.168.7.101"]).lines().count(), 1);
    let again = route(&["add", "default", "192.168.7.101"]);
    assert_eq!(
        (again.0.as_str(), again.2),
        ("add net default: gateway 192.168.7.101 fib 0: route already in table\n", Some(1))
    );
    // The jail is gone, and so is what was set in it.
    stage.tool("jail", &["-r", "web"]);
    assert!(!stage.tool("ifconfig", &["epair1b"]).contains("inet"));
}

/// What every integration test with jails begins with.
#[test]
fn a_jail_lives_on_a_host() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = Host::on(storage);
        stage.ok_with("jail-clone", &["web", "10"]);
        stage.tool("jail", &["-c", "web"]);
        assert_eq!(stage.tool("jexec", &["web", "ifconfig", "-l"]), "lo0 epair10b\n");
        assert_eq!(stage.tool("ifconfig", &["-l"]), "lo0 igc0 igc0bridge epair10a\n");
        stage.tool("jail", &["-r", "web"]);
        stage.nothing_left();
        // An open connection, which the hooks get over.
        stage.tool("jail", &["-c", "web"]);
        stage.fault("held-connection");
        stage.run_tool("jail", &["-r", "web"]);
        stage.tool("jail", &["-c", "web"]);
        stage.tool("jail", &["-r", "web"]);
        stage.tool("jail", &["standin-let-go", "web"]);
        stage.nothing_left();
    }
}
