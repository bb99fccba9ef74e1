//! jail-list on both storages: what it finds, what it makes of it, what it
//! starts for it.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::bin::bin;
use crate::harness::host;

use host::Host;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use thinjail::domain::inventory::{Inventory, JailPart, Presence};
use thinjail::domain::settings::Settings;
use thinjail::system::root::Root;

const SKELETON: &str = "zdata/jails/templates/14.5-RELEASE-skeleton";

/// The document, which is the only thing printed.
#[track_caller]
fn document(stage: &Host) -> Value {
    let output = stage.run_with("jail-list", &["-j"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["program"], "jail-list");
    document
}

/// One jail of it.
#[track_caller]
fn object<'a>(document: &'a Value, name: &str) -> &'a Value {
    let jails = document["jails"].as_array().unwrap();
    jails.iter().find(|j| j["name"] == name).unwrap_or_else(|| panic!("no {name}: {document}"))
}

/// The table, with the sizes replaced by a word: they are the pool's affair.
fn sizes_out(table: &str) -> String {
    let is_size =
        |word: &&str| word.ends_with(['B', 'K', 'M']) && word.starts_with(|c: char| c.is_ascii_digit());
    let line = |line: &str| {
        let words = line.split_whitespace().map(|w| if is_size(&w) { "SOME" } else { w });
        words.collect::<Vec<_>>().join(" ") + "\n"
    };
    table.lines().map(line).collect()
}

/// A base that says what it is.
fn version(stage: &Host, version: &str) {
    let script = format!("/zdata/jails/templates/{}-base/bin/freebsd-version", host::RELEASE);
    stage.write(&script, &format!("#!/bin/sh\nUSERLAND_VERSION=\"{version}\"\n"));
}

fn inventory(stage: &Host) -> Inventory {
    let host = thinjail::system::host::Host::new(Root::alternate(&stage.root()).unwrap(), false);
    let text = fs::read(stage.path("/usr/local/etc/thinjail.conf")).unwrap();
    // The environment of the test has no stand-ins.
    let mut settings = Settings::from_sources("t".as_ref(), &text, |_| None).unwrap();
    settings.jail_zfs = None;
    settings.jail_dir = Some("/zdata/jails".into());
    Inventory::read(&host, &settings).unwrap()
}

#[test]
fn running_stopped_and_behind() {
    let stage = Host::zfs();
    stage.ok_with("jail-clone", &["web", "10"]);
    stage.ok_with("jail-clone", &["db", "11"]);
    stage.tool("jail", &["-c", "web"]);
    let jid = stage.state().jails[0].jid;
    let table = stage.ok_with("jail-list", &[]);
    assert_eq!(
        sizes_out(&table),
        format!(
            "NAME RELEASE ID ADDRESSES JID SIZE BASE\n\
             db 14.5-RELEASE@base 11 192.168.7.11 - SOME current\n\
             web 14.5-RELEASE@base 10 192.168.7.10 {jid} SOME current\n"
        )
    );
    // The template is updated, and a daily snapshot is nobody's base.
    stage.tool("zfs", &["snapshot", &format!("{SKELETON}@p3")]);
    stage.tool("zfs", &["snapshot", &format!("{SKELETON}@daily")]);
    version(&stage, "14.5-RELEASE-p3");
    stage.ok_with("jail-clone", &["-6", "fd00:7::5/64", "new", "12"]);
    stage.forget_calls();
    let found = document(&stage);
    assert_eq!(stage.calls().len(), 1, "{:?}", stage.calls());
    let size = &object(&found, "web")["size"];
    assert!(size.as_u64().is_some(), "{size}");
    assert_eq!(
        object(&found, "web"),
        &json!({
            "name": "web", "release": "14.5-RELEASE", "snapshot": "base", "id": 10, "addresses": ["192.168.7.10"],
            "running": true, "jid": jid, "size": size, "base": "behind", "newest": "p3",
            "version": "14.5-RELEASE-p3", "missing": [], "errors": [], "file": "/etc/jail.conf.d/web.conf",
            "container": "zdata/jails/containers/web", "origin": format!("{SKELETON}@base"), "owner": "web",
        })
    );
    let new = object(&found, "new");
    assert_eq!((&new["snapshot"], &new["base"]), (&json!("p3"), &json!("current")));
    assert_eq!(new["addresses"], json!(["192.168.7.12", "fd00:7::5"]));
    assert_eq!((&new["running"], &new["jid"]), (&json!(false), &Value::Null));
    assert_eq!(found["unread"], json!([]));
    let table = stage.ok_with("jail-list", &[]);
    assert!(sizes_out(&table).contains("web 14.5-RELEASE@base 10 192.168.7.10 "), "{table}");
    assert!(table.contains("  behind @p3\n"), "{table}");
    // A base that was patched past its snapshots.
    version(&stage, "14.5-RELEASE-p4");
    assert_eq!(object(&document(&stage), "new")["base"], "behind");
    assert!(stage.ok_with("jail-list", &[]).contains("  behind 14.5-RELEASE-p4\n"));
    // A dying jail does not run.
    stage.fault("held-connection");
    stage.run_tool("jail", &["-r", "web"]);
    assert!(stage.state().jails.iter().any(|j| j.dying));
    assert_eq!(object(&document(&stage), "web")["running"], false);
}

#[test]
fn half_made_jails() {
    let stage = Host::zfs();
    for (name, id) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")] {
        stage.ok_with("jail-clone", &[name, id]);
    }
    // As jail-clone leaves it when it is killed before its last step.
    fs::remove_file(stage.path("/etc/jail.conf.d/a.conf")).unwrap();
    fs::remove_file(stage.path("/zdata/jails/b-nullfs-base.fstab")).unwrap();
    fs::remove_dir(stage.path("/zdata/jails/c-nullfs-base")).unwrap();
    stage.tool("zfs", &["destroy", "zdata/jails/containers/d"]);
    // Only one piece of each.
    stage.write("/zdata/jails/e-nullfs-base.fstab", "# nothing\n");
    fs::create_dir(stage.path("/zdata/jails/f-nullfs-base")).unwrap();
    stage.write("/etc/jail.conf.d/g.conf", "g {\n$id = \"7\";\n$ip = \"192.168.7.7/24\";\n}\n");
    stage.tool("zfs", &["clone", &format!("{SKELETON}@base"), "zdata/jails/containers/h"]);
    // These are of another layout, or nobody's.
    stage.write(
        "/etc/jail.conf.d/thick.conf",
        "thick {\n$id = \"9\";\npath = \"/usr/jails/thick\";\nmount.fstab = \"\";\n}\n",
    );
    fs::create_dir(stage.path("/zdata/jails/a.b-nullfs-base")).unwrap();
    stage.tool("zfs", &["create", "zdata/jails/containers/h/data"]);
    stage.tool("zfs", &["snapshot", "zdata/jails/containers/a@daily"]);
    assert_eq!(
        sizes_out(&stage.ok_with("jail-list", &[])),
        "NAME RELEASE ID ADDRESSES JID SIZE BASE\n\
         a 14.5-RELEASE@base - - - SOME incomplete: no configuration\n\
         b 14.5-RELEASE@base 2 192.168.7.2 - SOME incomplete: no fstab\n\
         c 14.5-RELEASE@base 3 192.168.7.3 - SOME incomplete: no path\n\
         d 14.5-RELEASE 4 192.168.7.4 - - incomplete: no container\n\
         e - - - - - incomplete: no configuration, no container, no path\n\
         f - - - - - incomplete: no configuration, no container, no fstab\n\
         g - 7 192.168.7.7 - - incomplete: no container, no path, no fstab\n\
         h 14.5-RELEASE@base - - - SOME incomplete: no configuration, no path, no fstab\n"
    );
    let found = document(&stage);
    assert_eq!(object(&found, "e")["missing"], json!(["configuration", "container", "path"]));
    assert_eq!(object(&found, "d")["container"], Value::Null);
    assert_eq!(object(&found, "a")["addresses"], Value::Null);
    assert_eq!(object(&found, "h")["owner"], Value::Null);
}

#[test]
fn whose_it_is_the_dataset_itself_says() {
    let stage = Host::zfs();
    stage.tool("zfs", &["create", "zdata/other"]);
    stage.tool("zfs", &["snapshot", "zdata/other@s"]);
    stage.tool("zfs", &["clone", "zdata/other@s", "zdata/jails/containers/strange"]);
    stage.tool("zfs", &["create", "zdata/jails/containers/plain"]);
    stage.tool("zfs", &["create", "zdata/jails/containers/a.b"]);
    stage.ok_with("jail-clone", &["web", "10"]);
    stage.ok_with("jail-clone", &["db", "11"]);
    // Inherited: it says nothing about what is below.
    stage.tool("zfs", &["set", "thinjail:jail=plain", "zdata/jails/containers"]);
    stage.tool("zfs", &["set", "thinjail:jail=other", "zdata/jails/containers/db"]);
    let found = document(&stage);
    let names: Vec<&Value> = found["jails"].as_array().unwrap().iter().map(|j| &j["name"]).collect();
    assert_eq!(names, ["db", "plain", "strange", "web"]);
    for (name, owner, origin) in [
        ("web", json!("web"), json!(format!("{SKELETON}@base"))),
        ("db", json!("other"), json!(format!("{SKELETON}@base"))),
        ("plain", Value::Null, Value::Null),
        ("strange", Value::Null, json!("zdata/other@s")),
    ] {
        let jail = object(&found, name);
        assert_eq!((&jail["owner"], &jail["origin"]), (&owner, &origin), "{name}");
        let is_ours = origin.as_str().is_some_and(|o| o.starts_with(SKELETON));
        assert_eq!(jail["base"], if is_ours { json!("current") } else { Value::Null }, "{name}");
        assert_eq!(jail["release"].is_null(), !is_ours, "{name}");
    }
}

#[test]
fn the_pool_tells_where_everything_is() {
    let stage = Host::zfs();
    stage.ok_with("jail-clone", &["web", "10"]);
    stage.tool("zfs", &["set", "mountpoint=/elsewhere", "zdata/jails"]);
    stage.forget_calls();
    // Everything moved along.
    assert_eq!(object(&document(&stage), "web")["missing"], json!([]));
    assert_eq!(stage.calls().len(), 1, "{:?}", stage.calls());
    stage.tool("zfs", &["unmount", "zdata/jails/containers/web"]);
    stage.tool("zfs", &["destroy", "-r", "zdata/jails/containers"]);
    // Neither is there, which is said of one of the operands.
    stage.tool("zfs", &["destroy", "-r", "zdata/jails/templates"]);
    let web = document(&stage)["jails"][0].clone();
    assert_eq!((&web["missing"], &web["version"]), (&json!(["container"]), &Value::Null));
    stage.tool("zfs", &["unmount", "zdata/jails"]);
    let output = stage.run_with("jail-list", &[]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (output.status.code(), &*error),
        (Some(1), "jail-list: jail_zfs: zdata/jails is not mounted; zfs mount zdata/jails\n")
    );
    stage.tool("zfs", &["destroy", "zdata/jails"]);
    let output = stage.run_with("jail-list", &[]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("zdata/jails: dataset does not exist"), "{error}");
}

#[test]
fn what_zfs_does_not_tell_is_unknown() {
    let stage = Host::zfs();
    stage.ok_with("jail-clone", &["web", "10"]);
    let settings = stage.path("/usr/local/etc/thinjail.conf");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}jail_dir=/zdata/jails\n")).unwrap();
    fs::remove_file(stage.tools().join("zfs")).unwrap();
    let output = stage.run_with("jail-list", &[]);
    let (stdout, stderr) = (stage.strip(&output.stdout), stage.strip(&output.stderr));
    assert_eq!(
        sizes_out(&stdout),
        "NAME RELEASE ID ADDRESSES JID SIZE BASE\nweb 14.5-RELEASE 10 192.168.7.10 - ? -\n"
    );
    assert!(output.status.success() && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.starts_with("jail-list: warning: cannot read everything: /sbin/zfs get "), "{stderr}");
    let output = stage.run_with("jail-list", &["-j"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let web = object(&found, "web");
    for unknown in ["size", "base", "owner", "container"] {
        assert_eq!(web[unknown], Value::Null, "{unknown}");
    }
    assert_eq!(web["missing"], json!([]));
    assert_eq!(found["unread"].as_array().unwrap().len(), 1);
}

#[test]
fn directories() {
    let host = Host::hooks_with_template();
    assert_eq!(host.ok("jail-list"), "NAME  RELEASE  ID  ADDRESSES  JID  SIZE  BASE\n");
    assert_eq!(host.ok("jail-list -j"), "{\"jails\":[],\"program\":\"jail-list\",\"unread\":[]}\n");
    let conf = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/share/examples/jail.conf")).unwrap();
    host.write("etc/jail.conf", &conf);
    host.ok("jail-clone web 10");
    host.ok("jail-clone database 211");
    let path = fs::canonicalize(host.path("zdata/jails/web-nullfs-base")).unwrap();
    let jid = host.kernel().change(|s| s.create_jail("web", &path)).unwrap();
    // Somebody's of the same name, outside of this root.
    host.kernel().change(|s| s.create_jail("database", "/usr/jails/database".as_ref())).unwrap();
    assert_eq!(
        host.ok("jail-list"),
        format!(
            "NAME      RELEASE        ID  ADDRESSES      JID  SIZE  BASE\n\
             database  14.5-RELEASE  211  192.168.7.211    -     -  -\n\
             web       14.5-RELEASE   10  192.168.7.10   {jid:>3}     -  -\n"
        )
    );
    let found: Value = serde_json::from_str(&host.ok("jail-list --json")).unwrap();
    assert_eq!(
        object(&found, "web"),
        &json!({
            "name": "web", "release": "14.5-RELEASE", "snapshot": null, "id": 10, "addresses": ["192.168.7.10"],
            "running": true, "jid": jid, "size": null, "base": null, "newest": null,
            "version": null, "missing": [], "errors": [], "file": "/etc/jail.conf.d/web.conf",
            "container": "/zdata/jails/containers/web", "origin": null, "owner": null,
        })
    );
    // Whatever there is instead of an fstab, nobody waits for it.
    let fstab = host.path("zdata/jails/web-nullfs-base.fstab");
    fs::remove_file(&fstab).unwrap();
    symlink("/dev/zero", &fstab).unwrap();
    let (status, stdout, stderr) = host.said("jail-list");
    assert_eq!((status, stdout.lines().count()), (0, 3));
    assert_eq!(
        stderr,
        "jail-list: warning: cannot read everything: /zdata/jails/web-nullfs-base.fstab: not a regular file\n"
    );
    assert!(stdout.contains("web       ?              10  "), "{stdout}");
    // A kernel that does not answer.
    let kernel = host.path("var/run/thinjail-simulated");
    let aside = kernel.with_file_name("aside");
    fs::rename(&kernel, &aside).unwrap();
    fs::create_dir(&kernel).unwrap();
    let (status, stdout, stderr) = host.said("jail-list");
    assert!(
        status == 0 && stdout.contains("database  14.5-RELEASE  211  192.168.7.211    ?     -  -\n"),
        "{stdout}"
    );
    assert!(stderr.ends_with("not a regular file (and 1 more)\n"), "{stderr}");
    let (_, stdout, _) = host.said("jail-list -j");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(object(&found, "web")["running"], Value::Null);
    assert!(found["unread"][1].as_str().unwrap().starts_with("running jails: "), "{found}");
    fs::remove_dir(&kernel).unwrap();
    fs::rename(&aside, &kernel).unwrap();
    for wrong in ["jail-list -n", "jail-list -v", "jail-list web", "jail-list -jj"] {
        host.refuses(2, wrong);
    }
    host.write("usr/local/etc/thinjail.conf", "");
    assert!(host.refuses(1, "jail-list").contains("neither jail_zfs nor jail_dir is set"));
}

#[test]
fn configuration_that_cannot_be_read() {
    let host = Host::hooks_with_template();
    let conf = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/share/examples/jail.conf")).unwrap();
    host.write("etc/jail.conf", &conf);
    for (name, id) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        host.ok(&format!("jail-clone {name} {id}"));
    }
    // One is no configuration, one is no file; the others are read.
    host.write("etc/jail.conf.d/b.conf", "b {\n$id = \"2\"\n}\n");
    fs::remove_file(host.path("etc/jail.conf.d/c.conf")).unwrap();
    fs::create_dir(host.path("etc/jail.conf.d/c.conf")).unwrap();
    host.write("etc/jail.conf.d/d.conf", "d {\n}\n");
    let (status, stdout, stderr) = host.said("jail-list");
    assert_eq!(
        (status, &*stdout),
        (
            0,
            "NAME  RELEASE       ID  ADDRESSES    JID  SIZE  BASE\n\
             a     14.5-RELEASE   1  192.168.7.1    -     -  -\n\
             b     14.5-RELEASE   ?  ?              -     -  -\n\
             c     14.5-RELEASE   ?  ?              -     -  -\n\
             d     14.5-RELEASE   -  -              -     -  -\n"
        )
    );
    assert!(
        stderr.starts_with("jail-list: warning: cannot read everything: jail.conf: /etc/jail.conf.d/"),
        "{stderr}"
    );
    assert!(stderr.ends_with(" (and 1 more)\n"), "{stderr}");
    let (_, stdout, _) = host.said("jail-list -j");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(found["unread"].as_array().unwrap().len(), 2, "{found}");
    let errors = object(&found, "d")["errors"].as_array().unwrap();
    assert!(errors.iter().any(|e| e.as_str().unwrap().contains("variable \"id\" not found")), "{errors:?}");
    assert_eq!(object(&found, "b")["errors"], Value::Null);
    // The common part is what is broken: what the jails say themselves is known.
    host.write("etc/jail.conf", "} {\n");
    let (status, stdout, stderr) = host.said("jail-list");
    assert_eq!(status, 0, "{stderr}");
    assert!(stdout.contains("a     14.5-RELEASE   1  192.168.7.1  "), "{stdout}");
    assert!(stderr.contains("/etc/jail.conf line 1: "), "{stderr}");
}

/// Runs a copy of jail-list as somebody who is not root, if need be as nobody.
fn not_as_root(stage: &Host, args: &[&str]) -> Output {
    let copy = stage.path("/jail-list");
    // By another process: one that is forked meanwhile would hold a file that is
    // open for writing here, and nobody could start it.
    assert!(Command::new("cp").arg(bin("jail-list")).arg(&copy).status().unwrap().success());
    let mut command = stage.prepare(Command::new(&copy));
    if rustix::process::geteuid().is_root() {
        // He has to come that far, and into the kernel, which is a file here.
        open(stage.root().parent().unwrap(), 0o755);
        for file in fs::read_dir(stage.path("/var/run")).unwrap() {
            open(&file.unwrap().path(), 0o666);
        }
        command.uid(65534).gid(65534);
    }
    command.args(args).output().unwrap()
}

fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn without_root() {
    let stage = Host::directory();
    stage.ok_with("jail-clone", &["web", "10"]);
    stage.ok_with("jail-clone", &["db", "11"]);
    stage.tool("jail", &["-c", "db"]);
    let jid = stage.state().jails[0].jid;
    let expected = format!(
        "NAME RELEASE ID ADDRESSES JID SIZE BASE\n\
         db 14.5-RELEASE 11 192.168.7.11 {jid} - -\n\
         web 14.5-RELEASE 10 192.168.7.10 - - -\n"
    );
    let output = not_as_root(&stage, &[]);
    assert_eq!(sizes_out(&stage.strip(&output.stdout)), expected);
    assert_eq!(stage.strip(&output.stderr), "");
    for closed in ["etc/jail.conf.d/web.conf", "zdata/jails/web-nullfs-base.fstab", "zdata/jails/containers"]
    {
        open(&stage.path(closed), 0);
    }
    let output = not_as_root(&stage, &[]);
    assert!(output.status.success());
    assert_eq!(
        sizes_out(&stage.strip(&output.stdout)),
        expected.replace("web 14.5-RELEASE 10 192.168.7.10", "web ? ? ?")
    );
    assert_eq!(
        stage.strip(&output.stderr),
        "jail-list: warning: cannot read everything: jail.conf: /etc/jail.conf.d/web.conf: Permission denied (must be run as root) (and 2 more)\n"
    );
    let found: Value = serde_json::from_slice(&not_as_root(&stage, &["-j"]).stdout).unwrap();
    assert_eq!(found["unread"].as_array().unwrap().len(), 3);
    let web = object(&found, "web");
    for unknown in ["id", "addresses", "file", "container", "release"] {
        assert_eq!(web[unknown], Value::Null, "{unknown}");
    }
    assert_eq!((&web["missing"], &web["running"]), (&json!([]), &json!(false)));
    // Nothing of it, not even the names.
    open(&stage.path("zdata/jails"), 0);
    let output = not_as_root(&stage, &[]);
    open(&stage.path("zdata/jails"), 0o755);
    open(&stage.path("zdata/jails/containers"), 0o755);
    assert!(output.status.success(), "{}", stage.strip(&output.stderr));
    assert_eq!(
        sizes_out(&stage.strip(&output.stdout)),
        format!("NAME RELEASE ID ADDRESSES JID SIZE BASE\ndb ? 11 192.168.7.11 {jid} - -\n")
    );
}

#[test]
fn what_others_ask_of_it() {
    let stage = Host::directory();
    stage.ok_with("jail-clone", &["web", "10"]);
    stage.write("/zdata/jails/containers/a b/x", "");
    stage
        .write("/zdata/jails/lonely-nullfs-base.fstab", "/nowhere /zdata/jails/lonely-nullfs-base/ nullfs\n");
    let found = inventory(&stage);
    let web = found.jail(&"web".parse().unwrap()).unwrap();
    assert_eq!((found.missing(web), web.is_marked()), (vec![], false));
    assert_eq!(web.fstab.there().unwrap().entries.len(), 2);
    assert!(matches!(web.running, Presence::Absent) && web.dataset.is_absent());
    let lonely = found.jail(&"lonely".parse().unwrap()).unwrap();
    assert_eq!(found.missing(lonely), [JailPart::Configuration, JailPart::Container, JailPart::Path]);
    assert_eq!(lonely.release(), None);
    assert_eq!(found.strangers, ["a b"]);
    assert_eq!(found.templates.len(), 1);
    let template = found.template(&"14.5".parse().unwrap()).unwrap();
    assert!(template.base.there().unwrap().is_dir() && template.skeleton.there().unwrap().is_dir());
    assert!(template.version.as_ref().unwrap_err().contains("not a FreeBSD base"), "{template:?}");
    version(&stage, "14.5-RELEASE-p1");
    let found = inventory(&stage);
    assert_eq!(found.templates[0].version.as_ref().unwrap().to_string(), "14.5-RELEASE-p1");
    assert!(found.jail(&"nobody".parse().unwrap()).is_none());
}

#[test]
fn five_hundred_jails() {
    let stage = Host::zfs();
    for n in 1..=500 {
        let name = format!("jail{n:03}");
        let container = format!("zdata/jails/containers/{name}");
        let mark = format!("thinjail:jail={name}");
        stage.tool("zfs", &["clone", "-o", &mark, &format!("{SKELETON}@base"), &container]);
        fs::create_dir(stage.path(&format!("/zdata/jails/{name}-nullfs-base"))).unwrap();
        stage.write(
            &format!("/zdata/jails/{name}-nullfs-base.fstab"),
            &format!(
                "/zdata/jails/templates/14.5-RELEASE-base /zdata/jails/{name}-nullfs-base/ nullfs ro 0 0\n\
                 /zdata/jails/containers/{name} /zdata/jails/{name}-nullfs-base/skeleton nullfs rw 0 0\n"
            ),
        );
        stage.write(
            &format!("/etc/jail.conf.d/{name}.conf"),
            &format!("{name} {{\n$id = \"{n}\";\n$ip = \"10.0.{}.{}/16\";\n}}\n", n / 250, n % 250 + 1),
        );
    }
    stage.forget_calls();
    let start = Instant::now();
    let table = stage.ok_with("jail-list", &[]);
    let ours = start.elapsed();
    let calls = stage.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(calls[0].starts_with("zfs get "), "{calls:?}");
    assert_eq!(table.lines().count(), 501);
    assert!(table.lines().skip(1).all(|l| l.ends_with("  current")), "{table}");
    let start = Instant::now();
    let listed = stage.tool("zfs", &["list", "-H", "-r", "-t", "filesystem,snapshot", "zdata/jails"]);
    let theirs = start.elapsed();
    assert!(listed.lines().count() > 500);
    let mut told = stage.prepare(Command::new(stage.tools().join("zfs")));
    let words: Vec<&str> = calls[0].split(' ').skip(1).collect();
    let start = Instant::now();
    assert!(told.args(words).output().unwrap().status.success());
    let own = start.elapsed();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    eprintln!(
        "500 jails: jail-list {:.0} ms, of which its zfs get {:.0} ms; zfs list {:.0} ms; processes started: {}",
        ms(ours),
        ms(own),
        ms(theirs),
        calls.len()
    );
}
