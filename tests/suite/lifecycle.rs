//! The hooks as jail(8) runs them: starts, stops and failures of a jail made
//! with jail-clone, under the sample jail.conf.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::host;

use host::{Host, Storage};
use std::fs;

const JAIL_CONF: &str = include_str!("../../share/examples/jail.conf");

fn host(storage: Storage) -> Host {
    let stage = Host::on(storage);
    stage.ok_with("jail-clone", &["web", "10"]);
    stage
}

/// What there is besides the files: interfaces, mounts, jails (dying or not).
fn live(stage: &Host) -> Vec<String> {
    let state = stage.state();
    let mut all: Vec<String> = state.interfaces.iter().map(|i| format!("{} in {}", i.name, i.vnet)).collect();
    all.extend(state.mounts.iter().map(|m| m.on.display().to_string()));
    all.extend(state.jails.iter().map(|j| format!("{} dying {}", j.name, j.dying)));
    all
}

#[track_caller]
fn start_and_stop(stage: &Host) {
    stage.tool("jail", &["-c", "web"]);
    let state = stage.state();
    let jail = state.jails.iter().find(|j| j.name == "web" && !j.dying).expect("web runs");
    let b = state.interface(jail.jid, "epair10b").expect("the b half is in the jail");
    assert!(b.up);
    let a = state.interface(0, "epair10a").expect("the a half is on the host");
    assert!(a.up);
    assert_eq!(a.description.as_deref(), Some("jail:web"));
    stage.tool("jail", &["-r", "web"]);
    let now = live(stage);
    assert!(!now.iter().any(|l| l.contains("epair10") || l.contains("nullfs-base")), "{now:?}");
}

#[test]
fn start_and_stop_under_both_storages() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = host(storage);
        start_and_stop(&stage);
        start_and_stop(&stage);
    }
}

/// Every way a start can fail (jail(8) then runs no hook at all), each followed
/// by a good start.
#[test]
fn failed_starts() {
    let conf = |from: &str, to: &str| {
        assert!(JAIL_CONF.contains(from), "{from}");
        JAIL_CONF.replace(from, to)
    };
    let stop = "exec.stop     =";
    for (what, text) in [
        ("a missing mount source", None),
        ("a second prestart", Some(conf(stop, "exec.prestart += \"/usr/bin/false\";\nexec.stop ="))),
        ("vnet.interface", Some(conf("vnet.interface = \"${epair}b\"", "vnet.interface = \"nosuch0\""))),
        ("created", Some(conf(stop, "exec.created = \"/usr/bin/false\";\nexec.stop ="))),
        ("the address", Some(conf("inet ${ip} up", "inet not-an-address up"))),
        ("rc", Some(conf("\"/bin/sh /etc/rc\"", "\"/usr/bin/false\""))),
        ("poststart", Some(conf(stop, "exec.poststart = \"/usr/bin/false\";\nexec.stop ="))),
        ("a missing bridge", Some(conf("\"igc0bridge\"", "\"nobridge\""))),
    ] {
        let stage = host(Storage::Directory);
        let before = live(&stage);
        let fstab = stage.path("/zdata/jails/web-nullfs-base.fstab");
        let good = fs::read(&fstab).unwrap();
        match &text {
            Some(text) => stage.write("/etc/jail.conf", text),
            None => fs::write(
                &fstab,
                [&good[..], b"/nodata /zdata/jails/web-nullfs-base/mnt nullfs rw 0 0\n"].concat(),
            )
            .unwrap(),
        }
        // Twice: what the first left must not change how the second fails.
        let message = || stage.tool_fails("jail", &["-c", "web"]).replace(|c: char| c.is_ascii_digit(), "");
        assert_eq!(message(), message(), "{what}");
        stage.write("/etc/jail.conf", JAIL_CONF);
        fs::write(&fstab, &good).unwrap();
        start_and_stop(&stage);
        assert_eq!(before, live(&stage), "{what}");
    }
}

#[test]
fn stopped_with_an_open_connection() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = host(storage);
        let before = live(&stage);
        for _ in 0..3 {
            stage.tool("jail", &["-c", "web"]);
            stage.fault("held-connection");
            stage.tool_fails("jail", &["-r", "web"]);
            // Dying, but nothing of it is in the way.
            let now = live(&stage);
            assert!(now.iter().any(|l| l == "web dying true"), "{now:?}");
            assert!(!now.iter().any(|l| l.contains("nullfs-base")), "{now:?}");
        }
        stage.tool("jail", &["-c", "web"]);
        stage.tool("jail", &["-r", "web"]);
        stage.tool("jail", &["standin-let-go", "web"]);
        assert_eq!(before, live(&stage));
    }
}

#[test]
fn removed_behind_its_back() {
    let stage = host(Storage::Directory);
    let before = live(&stage);
    stage.tool("jail", &["-c", "web"]);
    stage.tool("jail", &["-R", "web"]);
    assert_ne!(before, live(&stage));
    start_and_stop(&stage);
    // Or without another start.
    stage.tool("jail", &["-c", "web"]);
    stage.tool("jail", &["-R", "web"]);
    stage.ok_with("jail-sweep", &["web", "/zdata/jails/web-nullfs-base"]);
    assert_eq!(before, live(&stage));
}

#[test]
fn the_pair_destroyed_from_inside() {
    let stage = host(Storage::Directory);
    let before = live(&stage);
    stage.tool("jail", &["-c", "web"]);
    stage.tool("jexec", &["web", "ifconfig", "epair10b", "destroy"]);
    stage.tool("jail", &["-r", "web"]);
    assert_eq!(before, live(&stage));
    start_and_stop(&stage);
}

#[test]
fn jail_root_renames_its_half_to_fool_the_host() {
    let stage = host(Storage::Directory);
    stage.ok_with("jail-clone", &["db", "11"]);
    stage.tool("jail", &["-c", "web"]);
    // A name and a description that look like the other jail's.
    stage.tool("jexec", &["web", "ifconfig", "epair10b", "name", "epair11b"]);
    stage.tool("jail", &["-R", "web"]);
    let error = stage.tool_fails("jail", &["-c", "db"]);
    assert!(error.contains("epair11b exists without epair11a"), "{error}");
    // Starting the culprit again, or sweeping it, clears the way.
    stage.ok_with("jail-sweep", &["web", "/zdata/jails/web-nullfs-base", "epair10"]);
    stage.tool("jail", &["-c", "db"]);
    stage.tool("jail", &["-r", "db"]);
    start_and_stop(&stage);
}

#[test]
fn both_families() {
    let stage = Host::directory();
    let settings = fs::read_to_string(stage.path("/usr/local/etc/thinjail.conf")).unwrap();
    stage.write("/usr/local/etc/thinjail.conf", &format!("{settings}\njail_net6=\"fd00:7::/64\"\n"));
    stage.write("/etc/jail.conf", include_str!("../../share/examples/jail.conf.ipv6"));
    stage.ok_with("jail-clone", &["web", "10"]);
    stage.tool("jail", &["-c", "web"]);
    let shown = stage.tool("jexec", &["web", "ifconfig", "epair10b"]);
    assert!(shown.contains("192.168.7.10") && shown.contains("fd00:7::10"), "{shown}");
    stage.tool("jail", &["-r", "web"]);
}

#[test]
fn ipv6_alone() {
    let stage = Host::directory();
    let network =
        "jail_net=\"\"\njail_gateway=\"\"\njail_net6=\"fd00:7::/64\"\njail_gateway6=\"fd00:7::101\"\n";
    let settings = fs::read_to_string(stage.path("/usr/local/etc/thinjail.conf")).unwrap();
    stage.write("/usr/local/etc/thinjail.conf", &format!("{settings}\n{network}"));
    stage.write("/etc/jail.conf", include_str!("../../share/examples/jail.conf.ipv6-only"));
    stage.ok_with("jail-clone", &["web", "10"]);
    stage.tool("jail", &["-c", "web"]);
    let shown = stage.tool("jexec", &["web", "ifconfig", "epair10b"]);
    assert!(!shown.contains("inet ") && shown.contains("fd00:7::10"), "{shown}");
    stage.tool("jail", &["-r", "web"]);
    stage.ok_with("jail-destroy", &["-y", "web"]);
    stage.nothing_left();
}

/// By DHCP and from a router: the jail's rc.conf(5) says so, and jail-list shows what the jail got.
#[test]
fn addresses_from_the_network() {
    let stage = Host::directory();
    stage.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
    let refused = stage.run_with("jail-clone", &["--dhcp", "web", "10"]);
    let told = stage.strip(&refused.stderr);
    assert!(
        told.contains("--dhcp: no devfs ruleset shows bpf(4)")
            && told.contains("examples/thinjail/devfs.rules"),
        "{told}"
    );
    stage.fault_with("devfs.rules", "50 include 5\n50 path 'bpf*' unhide\n");
    assert_eq!(stage.ok_with("jail-clone", &["--dhcp", "web", "10"]), "web: id 10, DHCP\n");
    assert_eq!(stage.ok_with("jail-clone", &["--slaac", "db", "11"]), "db: id 11, 192.168.7.11/24, SLAAC\n");
    assert_eq!(stage.ok_with("jail-clone", &["--dhcp", "--slaac", "mail"]), "mail: id 1, DHCP, SLAAC\n");
    assert_eq!(
        fs::read_to_string(stage.path("/etc/jail.conf.d/web.conf")).unwrap(),
        "web {\n\t$id = \"10\";\n\tdevfs_ruleset = 50;\n\
         \texec.start = \"/usr/sbin/sysrc ifconfig_${epair}b=SYNCDHCP\";\n\
         \texec.start += \"/bin/sh /etc/rc\";\n}\n"
    );
    assert_eq!(
        fs::read_to_string(stage.path("/etc/jail.conf.d/db.conf")).unwrap(),
        "db {\n\t$id = \"11\";\n\t$ip = \"192.168.7.${id}/24\";\n\
         \texec.start = \"/sbin/ifconfig ${epair}b inet ${ip} up\";\n\
         \texec.start += \"/sbin/route add default ${gateway}\";\n\
         \texec.start += \"/usr/sbin/sysrc 'ifconfig_${epair}b_ipv6=inet6 accept_rtadv'\";\n\
         \texec.start += \"/bin/sh /etc/rc\";\n}\n"
    );
    let addresses = |jail: &str| {
        let listed = stage.ok_with("jail-list", &[]);
        let line = listed.lines().find(|line| line.starts_with(jail)).unwrap().to_owned();
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    assert_eq!((addresses("web"), addresses("db")), ("-".into(), "192.168.7.11".into()));
    for jail in ["web", "db", "mail"] {
        stage.tool("jail", &["-c", jail]);
    }
    assert_eq!(addresses("web"), "192.168.7.230");
    assert_eq!(addresses("db"), "192.168.7.11,2001:db8:7::e6");
    assert_eq!(stage.ok_with("jail-doctor", &[]), "");
    for jail in ["web", "db", "mail"] {
        stage.tool("jail", &["-r", jail]);
        stage.ok_with("jail-destroy", &["-y", jail]);
    }
    stage.nothing_left();
}

#[test]
fn the_jail_process_that_starts_is_noted() {
    let stage = host(Storage::Directory);
    stage.tool("jail", &["-c", "web"]);
    let note = fs::read_to_string(stage.path("/var/run/thinjail-web.claim")).unwrap();
    assert_eq!(note.split_whitespace().count(), 2, "{note:?}");
    // That process has ended, so the next one may.
    stage.tool("jail", &["-r", "web"]);
    stage.tool("jail", &["-c", "web"]);
    stage.tool("service", &["jail", "restart", "web"]);
    stage.tool("jail", &["-r", "web"]);
}

/// jail(8) of 15.0 hands vnet.interface to the jid that the jail had before, so no restart of its own succeeds.
#[test]
fn restarted_by_jail_alone() {
    let stage = host(Storage::Directory);
    let before = live(&stage);
    stage.tool("jail", &["-c", "web"]);
    let jid = stage.tool("jls", &["-j", "web", "jid"]);
    let error = stage.tool_fails("jail", &["-rc", "web"]);
    assert!(error.contains(&format!("ifconfig: jail {} not found", jid.trim())), "{error}");
    start_and_stop(&stage);
    assert_eq!(before, live(&stage));
}

/// The sample needs no shell for any of its lines.
#[test]
fn hook_lines_are_executed_without_a_shell() {
    use thinjail::formats::jailconf::{Command, Config, UnderRoot, command_words};
    let stage = host(Storage::Directory);
    let files = UnderRoot { root: stage.root() };
    let config = Config::load(&files, "/etc/jail.conf".as_ref()).unwrap();
    let jail = config.resolve(config.jail("web").unwrap());
    assert_eq!(jail.errors, []);
    let mut lines = 0;
    for param in jail
        .params
        .iter()
        .filter(|p| p.name.starts_with("exec.") && p.name != "exec.consolelog" && p.name != "exec.clean")
    {
        for value in &param.values {
            assert!(matches!(command_words(value), Command::Exec { background: false, .. }), "{value}");
            assert!(value.starts_with('/'), "{value}");
            lines += 1;
        }
    }
    assert_eq!(lines, 8);
}
