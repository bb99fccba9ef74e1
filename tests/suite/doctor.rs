//! jail-doctor on hosts that are well, and on hosts that are not.
#![cfg(not(target_os = "freebsd"))] // The host is a simulated one.

use crate::harness::host;

use host::{Host, RELEASE, Storage};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};
use thinjail::commands::jail_doctor::finding::KINDS;
use thinjail::system::kernel::simulated::{Simulated, State};
use thinjail::system::lock::{Lock, LockId, LockMode};
use thinjail::system::root::Root;

const BASE: &str = "/zdata/jails/templates/14.5-RELEASE-base";
const SKELETON: &str = "/zdata/jails/templates/14.5-RELEASE-skeleton";

/// A host with nothing wrong: some jails run, some do not.
fn healthy(storage: Storage) -> Host {
    let stage = small(storage);
    for (name, id) in [("db", "11"), ("mail", "12")] {
        stage.ok_with("jail-clone", &[name, id]);
    }
    stage.tool("jail", &["-c", "db"]);
    stage.tool("jail", &["-r", "db"]);
    stage
}

/// The same with one jail, which runs.
fn small(storage: Storage) -> Host {
    let stage = Host::on(storage);
    stage.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
    stage.ok_with("jail-clone", &["web", "10"]);
    stage.tool("jail", &["-c", "web"]);
    stage
}

fn run(stage: &Host, words: &[&str]) -> Output {
    stage.run_with("jail-doctor", words)
}

fn document(stage: &Host, words: &[&str]) -> Value {
    let mut all = vec!["-j"];
    all.extend(words);
    let output = run(stage, &all);
    let (told, complaint) = (stage.strip(&output.stdout), stage.strip(&output.stderr));
    assert_eq!(told.lines().count(), 1, "{told}{complaint}");
    let document: Value = serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e}: {told}{complaint}"));
    assert_eq!(complaint, "");
    let found = document["findings"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!found.is_empty())), "{told}");
    document
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}: no text")).to_owned()
}

/// The findings: identifier, and what it is about.
fn findings(stage: &Host, words: &[&str]) -> Vec<(String, String)> {
    let document = document(stage, words);
    let found = document["findings"].as_array().unwrap();
    found.iter().map(|f| (text(&f["id"]), format!("{}: {}", text(&f["object"]), text(&f["what"])))).collect()
}

/// Fails unless the identifiers of the findings are these, however often each.
#[track_caller]
fn expect(stage: &Host, expected: &[&str], about: &str) {
    let found = findings(stage, &[]);
    let ids: BTreeSet<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    let expected: BTreeSet<&str> = expected.iter().copied().collect();
    assert_eq!(ids, expected, "{about}: {found:#?}");
}

/// A jail of its own for a fault, stopped; `more` goes into its block.
fn jail(stage: &Host, name: &str, id: u16, more: &str) {
    stage.ok_with("jail-clone", &[name, &id.to_string()]);
    block(stage, name, &format!("$id = \"{id}\";\n$ip = \"192.168.7.${{id}}/24\";\n{more}"));
}

fn block(stage: &Host, name: &str, text: &str) {
    stage.write(&format!("/etc/jail.conf.d/{name}.conf"), &format!("{name} {{\n{text}\n}}\n"));
}

fn container(name: &str) -> String {
    format!("/zdata/jails/containers/{name}")
}

fn path(name: &str) -> String {
    format!("/zdata/jails/{name}-nullfs-base")
}

fn change(stage: &Host, change: impl FnOnce(&mut State) -> thinjail::system::kernel::Result<()>) {
    Simulated::new(&Root::alternate(&stage.root()).unwrap()).change(change).unwrap();
}

fn add(stage: &Host, file: &str, text: &str) {
    let old = fs::read_to_string(stage.path(file)).unwrap_or_default();
    stage.write(file, &format!("{old}{text}\n"));
}

fn replace(stage: &Host, file: &str, from: &str, to: &str) {
    let old = fs::read_to_string(stage.path(file)).unwrap();
    assert!(old.contains(from), "{file}: {old}");
    stage.write(file, &old.replace(from, to));
}

fn interface<'s>(state: &'s mut State, name: &str) -> &'s mut thinjail::system::kernel::simulated::Interface {
    state.interfaces.iter_mut().find(|i| i.name == name).unwrap()
}

/// Gives the uplink of the bridge an address.
fn addressed_uplink(stage: &Host) {
    change(stage, |state| {
        interface(state, "igc0").addresses.push("inet 192.168.7.3/24".into());
        Ok(())
    });
}

/// A copy of the template under another release.
fn template(stage: &Host, storage: Storage, release: &str) {
    if storage == Storage::Zfs {
        stage.tool("zfs", &["create", &format!("zdata/jails/templates/{release}-skeleton")]);
    }
    for part in ["base", "skeleton"] {
        let of = |release: &str| stage.path(&format!("/zdata/jails/templates/{release}-{part}"));
        fs::create_dir_all(of(release)).unwrap();
        let copied = Command::new("cp").arg("-a").arg(of(RELEASE).join(".")).arg(of(release)).status();
        assert!(copied.unwrap().success());
    }
}

fn link(stage: &Host, text: &str, at: &str) {
    symlink(text, stage.path(at)).unwrap();
}

/// Something that goes wrong.
struct Fault {
    /// What must be found, and nothing else.
    ids: &'static [&'static str],
    /// Where it can happen.
    on: &'static [Storage],
    /// Whether it leaves the rest of the host to be looked at.
    with_others: bool,
    plant: fn(&Host, Storage),
}

const BOTH: &[Storage] = &[Storage::Zfs, Storage::Directory];
const ZFS: &[Storage] = &[Storage::Zfs];
const DIRECTORY: &[Storage] = &[Storage::Directory];

const fn fault(ids: &'static [&'static str], plant: fn(&Host, Storage)) -> Fault {
    Fault { ids, on: BOTH, with_others: true, plant }
}

const fn on(storages: &'static [Storage], fault: Fault) -> Fault {
    Fault { on: storages, ..fault }
}

const fn alone(fault: Fault) -> Fault {
    Fault { with_others: false, ..fault }
}

/// Faults, each planted so that others can be next to it.
const FAULTS: &[Fault] = &[
    // The host.
    fault(&["no-vimage"], |s, _| add(s, "/var/db/standin/sysctl.conf", "kern.features.vimage=0")),
    fault(&["kernel-older"], |s, _| add(s, "/var/db/standin/sysctl.conf", "kern.osrelease=14.1-RELEASE-p2")),
    fault(&["bridge-missing"], |s, _| {
        replace(s, "/usr/local/etc/thinjail.conf", "\"igc0bridge\"", "\"igc9bridge\"");
    }),
    fault(&["bridge-down"], |s, _| {
        change(s, |state| {
            state.plug("igc5");
            state.create("bridge5")?;
            state.add_member("bridge5", "igc5")
        });
        jail(s, "down", 20, "$bridge = \"bridge5\";");
    }),
    fault(&["bridge-no-uplink"], |s, _| {
        change(s, |state| {
            state.create("bridge6")?;
            interface(state, "bridge6").up = true;
            Ok(())
        });
        jail(s, "lonely", 21, "$bridge = \"bridge6\";");
    }),
    fault(&["member-addressed"], |s, _| addressed_uplink(s)),
    alone(fault(&["member-refused"], |s, _| {
        addressed_uplink(s);
        s.tool("sysctl", &["net.link.bridge.member_ifaddrs=0"]);
    })),
    // As from FreeBSD 16 on.
    alone(fault(&["member-refused"], |s, _| {
        addressed_uplink(s);
        s.write(
            "/var/db/standin/sysctl.conf",
            "-net.link.bridge.member_ifaddrs\nkern.osrelease=16.0-RELEASE\n",
        );
    })),
    // As on FreeBSD 14.
    alone(fault(&["member-addressed"], |s, _| {
        addressed_uplink(s);
        s.write(
            "/var/db/standin/sysctl.conf",
            "-net.link.bridge.member_ifaddrs\nkern.osrelease=14.6-RELEASE\n",
        );
    })),
    // The bridge is not there yet.
    alone(fault(&["member-refused"], |s, _| {
        replace(
            s,
            "/etc/jail.conf",
            "jail-epair-up ${isolation} -b ${bridge}",
            "jail-epair-up ${isolation} -b ${bridge} -u igc1",
        );
        jail(s, "first", 22, "$bridge = \"bridge7\";");
        jail(s, "second", 23, "$bridge = \"bridge7\";");
        change(s, |state| {
            state.plug("igc1");
            interface(state, "igc1").addresses.push("inet 192.168.7.3/24".into());
            Ok(())
        });
        s.tool("sysctl", &["net.link.bridge.member_ifaddrs=0"]);
    })),
    fault(&["mtu-mismatch"], |s, _| {
        change(s, |state| {
            interface(state, "igc0").mtu = 9000;
            Ok(())
        });
    }),
    fault(&["ifconfig-default"], |s, _| add(s, "/etc/rc.conf", "ifconfig_DEFAULT=\"SYNCDHCP\"")),
    fault(&["jail-not-enabled"], |s, _| add(s, "/etc/rc.conf", "jail_enable=\"NO\"")),
    fault(&["jail-list-unknown"], |s, _| add(s, "/etc/rc.conf", "jail_list=\"web ghost\"")),
    fault(&["include-rule"], |s, _| s.write("/etc/rc.d/jail", "#!/bin/sh\n")),
    fault(&["release-missing"], |s, _| replace(s, "/usr/local/etc/thinjail.conf", RELEASE, "14.9-RELEASE")),
    alone(fault(&["settings-bad"], |s, _| add(s, "/usr/local/etc/thinjail.conf", "jail_zsf=\"x\""))),
    alone(fault(&["conf-not-included"], |s, _| replace(s, "/etc/jail.conf", ".include", "# .include"))),
    alone(fault(&["include-rule"], |s, _| {
        replace(s, "/etc/jail.conf", ".include \"/etc/jail", ".include \"jail");
    })),
    alone(fault(&["unchecked"], |s, _| fs::remove_file(s.tools().join("sysctl")).unwrap())),
    alone(fault(&["module-missing"], |s, _| {
        s.tool("jail", &["-r", "web"]);
        s.write("/var/db/standin/modules", "if_bridge\nif_epair\n");
        s.write("/boot/kernel/if_epair.ko", "");
    })),
    // Leavings.
    fault(&["mount-leaked"], |s, _| {
        jail(s, "leaky", 30, "");
        let (base, on) = (s.path(BASE), s.path(&path("leaky")));
        change(s, |state| state.mount("nullfs", &base, &on));
    }),
    fault(&["pair-leaked"], |s, _| {
        jail(s, "pair", 31, "");
        s.ok_with("jail-epair-up", &["-b", "igc0bridge", "pair", "epair31"]);
    }),
    fault(&["pair-untagged"], |s, _| {
        jail(s, "untagged", 32, "");
        change(s, |state| state.create("epair32").map(drop));
    }),
    fault(&["temp-left"], |s, _| s.write("/etc/jail.conf.d/.new.conf.thinjail", "new {")),
    on(
        ZFS,
        fault(&["snapshot-left"], |s, _| {
            s.tool("zfs", &["snapshot", "zdata/jails/containers/web@thinjail-export-99999999"]);
        }),
    ),
    on(
        ZFS,
        fault(&["snapshot-left"], |s, _| {
            s.tool("zfs", &["snapshot", "zdata/jails/containers/web@thinjail-copy"]);
        }),
    ),
    fault(&["clone-half-made"], |s, _| fs::create_dir(s.path(&path("half"))).unwrap()),
    // The configuration.
    alone(fault(&["conf-syntax"], |s, _| s.write("/etc/jail.conf.d/broken.conf", "broken { path = ; }\n"))),
    fault(&["conf-unresolved"], |s, _| {
        jail(s, "bad", 40, "");
        block(s, "bad", "$id = \"40\";");
    }),
    fault(&["conf-differs"], |s, _| {
        let script = "#!/bin/sh\nprintf 'name=web\\tpath=/elsewhere\\n'\n";
        fs::remove_file(s.tools().join("jail")).unwrap();
        fs::write(s.tools().join("jail"), script).unwrap();
        fs::set_permissions(s.tools().join("jail"), PermissionsExt::from_mode(0o755)).unwrap();
    }),
    fault(&["name-duplicate"], |s, _| {
        jail(s, "twice", 41, "");
        let first = fs::read_to_string(s.path("/etc/jail.conf.d/twice.conf")).unwrap();
        s.write("/etc/jail.conf.d/twice2.conf", &first);
    }),
    fault(&["id-duplicate"], |s, _| {
        jail(s, "id", 42, "");
        block(s, "id", "$id = \"10\"; $ip = \"192.168.7.${id}/24\";");
    }),
    fault(&["ip-duplicate"], |s, _| jail(s, "ip", 43, "$ip = \"192.168.7.10/24\";")),
    fault(&["pair-duplicate"], |s, _| jail(s, "epair", 44, "$epair = \"epair10\";")),
    fault(&["path-duplicate", "path-differs"], |s, _| {
        jail(s, "place", 45, &format!("path = \"{}\";", path("web")));
    }),
    fault(&["ip-outside"], |s, _| jail(s, "outside", 46, "$ip = \"10.1.2.3/24\";")),
    fault(&["ip-gateway"], |s, _| jail(s, "gateway", 47, "$ip = \"192.168.7.101/24\";")),
    fault(&["ip-host"], |s, _| {
        jail(s, "host", 48, "");
        change(s, |state| {
            interface(state, "igc0bridge").addresses.push("inet 192.168.7.48/24".into());
            Ok(())
        });
    }),
    fault(&["no-vnet"], |s, _| jail(s, "novnet", 49, "novnet;")),
    fault(&["interface-differs"], |s, _| jail(s, "other", 50, "vnet.interface = \"epair99b\";")),
    fault(&["interface-name", "interface-name"], |s, _| {
        jail(s, "long", 83, "$epair = \"fifteen_letters\"; $note = \"\";");
    }),
    fault(&["path-differs"], |s, _| {
        jail(
            s,
            "moved",
            51,
            "path = \"/zdata/jails/elsewhere\"; mount.fstab = \"/zdata/jails/moved-nullfs-base.fstab\";",
        );
        fs::create_dir(s.path("/zdata/jails/elsewhere")).unwrap();
    }),
    fault(&["fstab-missing"], |s, _| {
        jail(s, "nofstab", 52, "");
        fs::remove_file(s.path("/zdata/jails/nofstab-nullfs-base.fstab")).unwrap();
    }),
    fault(&["network-late"], |s, _| {
        jail(
            s,
            "late",
            53,
            "exec.start = \"/bin/sh /etc/rc\"; exec.start += \"/sbin/ifconfig ${epair}b inet ${ip} up\";",
        );
    }),
    fault(&["hook-missing-prepare"], |s, _| jail(s, "noprepare", 54, "exec.prepare = \"\";")),
    fault(&["hook-missing-prestart"], |s, _| jail(s, "noprestart", 55, "exec.prestart = \"\";")),
    fault(&["hook-missing-poststop"], |s, _| jail(s, "nopoststop", 56, "exec.poststop = \"\";")),
    fault(&["hook-missing-release"], |s, _| jail(s, "norelease", 57, "exec.release = \"\";")),
    fault(&["hook-create"], |s, _| {
        jail(s, "create", 58, "exec.prestart = \"/sbin/ifconfig ${epair} create\";");
    }),
    fault(&["hook-relative"], |s, _| {
        jail(s, "relative", 59, "exec.poststop = \"jail-epair-down ${name} ${epair}\";");
    }),
    fault(&["hook-program"], |s, _| jail(s, "program", 60, "exec.poststart = \"/usr/local/bin/nothing x\";")),
    fault(&["devfs-ruleset"], |s, _| jail(s, "open", 87, "devfs_ruleset = 77;")),
    // An earlier start has made it, without a rule.
    fault(&["devfs-ruleset"], |s, _| {
        add(s, "/var/db/standin/devfs.rules", "78");
        jail(s, "opened", 88, "devfs_ruleset = 78;");
    }),
    fault(&["devfs-ruleset"], |s, _| jail(s, "wide", 89, "devfs_ruleset = 0;")),
    fault(&["hook-shell"], |s, _| {
        jail(
            s,
            "shell",
            61,
            "exec.poststop = \"/usr/local/sbin/jail-epair-down ${name} ${epair} >/dev/null\";",
        );
    }),
    fault(&["parameter-useless"], |s, _| jail(s, "useless", 62, "interface = \"igc0\"; allow.mount;")),
    // Templates.
    fault(&["split-incomplete"], |s, _| {
        fs::create_dir_all(s.path("/zdata/jails/templates/13.4-RELEASE-base/etc")).unwrap();
    }),
    fault(&["destroy-incomplete"], |s, storage| {
        let left = "zdata/jails/templates/13.3-RELEASE-base.destroying";
        match storage {
            Storage::Zfs => {
                s.tool("zfs", &["create", "-o", "thinjail:release=13.3-RELEASE", left]);
            }
            Storage::Directory => fs::create_dir(s.path(&format!("/{left}"))).unwrap(),
        }
    }),
    on(
        DIRECTORY,
        fault(&["link-dangling"], |s, _| {
            s.write(&format!("{BASE}/usr/sbin/rmt"), "");
            link(s, "../usr/sbin/rmt", &format!("{SKELETON}/etc/rmt"));
        }),
    ),
    on(
        ZFS,
        fault(&["link-dangling", "skeleton-newer"], |s, _| {
            s.write(&format!("{BASE}/usr/sbin/rmt"), "");
            link(s, "../usr/sbin/rmt", &format!("{SKELETON}/etc/rmt"));
        }),
    ),
    on(ZFS, fault(&["snapshot-missing"], |s, storage| template(s, storage, "14.1-RELEASE"))),
    on(ZFS, fault(&["skeleton-newer"], |s, _| s.write(&format!("{SKELETON}/etc/new.conf"), "x"))),
    fault(&["base-writable"], |s, _| {
        fs::set_permissions(s.path(BASE), PermissionsExt::from_mode(0o777)).unwrap();
    }),
    // The jails.
    fault(&["base-writable"], |s, _| {
        jail(s, "rw", 70, "");
        replace(s, &format!("{}.fstab", path("rw")), "nullfs ro", "nullfs rw");
    }),
    fault(&["container-missing", "fstab-wrong"], |s, storage| {
        jail(s, "gone", 71, "");
        match storage {
            Storage::Zfs => drop(s.tool("zfs", &["destroy", "zdata/jails/containers/gone"])),
            Storage::Directory => fs::remove_dir_all(s.path(&container("gone"))).unwrap(),
        }
    }),
    on(
        ZFS,
        fault(&["container-foreign"], |s, _| {
            jail(s, "foreign", 72, "");
            s.tool("zfs", &["set", "thinjail:jail=somebody", "zdata/jails/containers/foreign"]);
        }),
    ),
    on(
        ZFS,
        fault(&["container-untagged"], |s, _| {
            jail(s, "unmarked", 73, "");
            s.tool("zfs", &["inherit", "thinjail:jail", "zdata/jails/containers/unmarked"]);
        }),
    ),
    on(
        ZFS,
        fault(&["dataset-unmounted"], |s, _| {
            jail(s, "unmounted", 74, "");
            s.tool("zfs", &["unmount", "zdata/jails/containers/unmounted"]);
        }),
    ),
    fault(&["path-missing"], |s, _| {
        jail(s, "nopath", 75, "");
        fs::remove_dir(s.path(&path("nopath"))).unwrap();
    }),
    fault(&["path-occupied"], |s, _| {
        jail(s, "full", 76, "");
        s.write(&format!("{}/core", path("full")), "x");
    }),
    fault(&["mount-source"], |s, _| {
        jail(s, "shares", 84, "");
        let line =
            format!("{}/usr/local /zdata/jails/shares-nullfs-base/mnt nullfs ro 0 0\n", container("web"));
        add(s, "/zdata/jails/shares-nullfs-base.fstab", &line);
    }),
    fault(&["fstab-wrong"], |s, _| {
        jail(s, "fstab", 77, "");
        add(s, &format!("{}.fstab", path("fstab")), &format!("/nowhere {}/mnt nullfs ro 0 0", path("fstab")));
    }),
    fault(&["mounts-differ"], |s, _| {
        fs::create_dir(s.path("/srv")).unwrap();
        add(s, &format!("{}.fstab", path("web")), &format!("/srv {}/mnt nullfs ro 0 0", path("web")));
    }),
    fault(&["hostile-link"], |s, _| {
        jail(s, "hostile", 78, "");
        fs::remove_dir(s.path(&container("hostile")).join("tmp")).unwrap();
        link(s, "/", &format!("{}/tmp", container("hostile")));
    }),
    fault(&["certs-dangling"], |s, _| {
        jail(s, "certs", 79, "");
        let at = format!("{}/etc/ssl/certs/0b.0", container("certs"));
        link(s, "../../../usr/share/certs/trusted/A.pem", &at);
    }),
    fault(&["certs-stale"], |s, _| {
        jail(s, "stale", 80, "");
        let pem = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        let certs = format!("{}/etc/ssl/certs", container("stale"));
        fs::remove_file(s.path(&certs).join("0a.0")).unwrap();
        s.write(&format!("{certs}/0c.0"), &pem("T0xE"));
        s.write(&format!("{BASE}/usr/share/certs/trusted/B.pem"), &pem("TkVX"));
    }),
    on(
        ZFS,
        fault(&["etc-behind"], |s, _| {
            s.tool("zfs", &["snapshot", "zdata/jails/templates/14.5-RELEASE-skeleton@p1"]).clear();
        }),
    ),
    on(
        DIRECTORY,
        fault(&["etc-behind"], |s, _| {
            jail(s, "behind", 81, "");
            s.write(&format!("{SKELETON}/etc/rc"), "new");
            s.write(&format!("{}/etc/rc", container("behind")), "old");
        }),
    ),
    fault(&["resolver-loopback"], |s, _| {
        jail(s, "resolver", 82, "");
        s.write(&format!("{}/etc/resolv.conf", container("resolver")), "nameserver 127.0.0.1\n");
    }),
    fault(&["mac-duplicate"], |s, _| {
        change(s, |state| {
            let mac = interface(state, "epair10b").mac;
            // As of a jail that is not pinned.
            state.delete_address("igc0bridge", mac, 0)?;
            state.receive("igc0bridge", "igc0", mac).map(drop)
        });
    }),
];

/// What can be fixed without risk.
const MENDED: [&str; 6] =
    ["mount-leaked", "pair-leaked", "temp-left", "snapshot-left", "link-dangling", "certs-dangling"];

#[test]
fn nothing_is_wrong_with_a_healthy_host() {
    for storage in [Storage::Zfs, Storage::Directory] {
        let stage = healthy(storage);
        assert_eq!(findings(&stage, &[]), []);
        for words in [&[][..], &["-x"], &["-n"], &["-nx"], &["web", "db"]] {
            let output = run(&stage, words);
            assert!(output.status.success(), "{words:?}: {output:?}");
            assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{words:?}: {output:?}");
        }
    }
}

#[test]
fn every_fault_is_found_and_nothing_else() {
    let wrong = std::sync::Mutex::new(Vec::new());
    // Half of them on each of two threads: every one has a host of its own.
    let each = |half: usize| {
        for (number, fault) in FAULTS.iter().enumerate().filter(|(n, _)| n % 2 == half) {
            // The other storage is that of the test below.
            let storage = fault.on[number / 2 % fault.on.len()];
            let stage = small(storage);
            (fault.plant)(&stage, storage);
            let found = findings(&stage, &[]);
            let ids: BTreeSet<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
            if ids != fault.ids.iter().copied().collect() {
                wrong.lock().unwrap().push(format!("{:?}: {found:#?}", fault.ids));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| each(0));
        scope.spawn(|| each(1));
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_faults_together_are_found_and_those_that_can_be_are_fixed() {
    for storage in [Storage::Zfs, Storage::Directory] {
        let stage = healthy(storage);
        let faults = || FAULTS.iter().filter(|f| f.with_others && f.on.contains(&storage));
        // The host itself is planted last: jail-clone wants it in order.
        let (host, rest): (Vec<&Fault>, Vec<&Fault>) = faults().partition(|f| {
            [
                "release-missing",
                "conf-differs",
                "bridge-missing",
                "link-dangling",
                "skeleton-newer",
                "etc-behind",
            ]
            .contains(&f.ids[0])
        });
        let is_link = |f: &&&Fault| f.ids[0] == "etc-behind";
        for fault in rest.iter().chain(host.iter().filter(is_link)).chain(host.iter().filter(|f| !is_link(f)))
        {
            (fault.plant)(&stage, storage);
        }
        let mut expected: BTreeSet<&str> = faults().flat_map(|f| f.ids.iter().copied()).collect();
        assert!(expected.len() >= 30, "{}", expected.len());
        let all: Vec<&str> = expected.iter().copied().collect();
        expect(&stage, &all, "all of them");

        let before = stage.present();
        let planned = run(&stage, &["-n", "-x"]);
        assert_eq!(planned.status.code(), Some(1));
        assert_eq!(stage.present(), before, "-n changes nothing");
        let planned = stage.strip(&planned.stdout);
        assert!(planned.contains("/sbin/umount /zdata/jails/leaky-nullfs-base"), "{planned}");
        assert!(planned.contains("/sbin/ifconfig epair31a destroy"), "{planned}");
        assert!(planned.contains("/usr/local/sbin/skel-fixcerts -a -b "), "{planned}");
        let lines: BTreeSet<&str> = planned.lines().collect();
        assert_eq!(lines.len(), planned.lines().count(), "{planned}");

        let output = run(&stage, &["-x"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        let told = stage.strip(&output.stdout);
        // A snapshot is left on ZFS alone.
        for id in MENDED.iter().copied().filter(|id| all.contains(id)) {
            let line = |l: &str| l.starts_with("fixed: ") && l.ends_with(&format!("[{id}]"));
            assert!(told.lines().any(line), "{id}: {told}");
            expected.remove(id);
        }
        let left: Vec<&str> = expected.iter().copied().collect();
        expect(&stage, &left, "what cannot be fixed");
        let again = run(&stage, &["-x"]);
        assert!(!stage.strip(&again.stdout).contains("fixed: "), "{again:?}");
    }
}

#[test]
fn every_identifier_is_planted() {
    let planted: BTreeSet<&str> = FAULTS.iter().flat_map(|f| f.ids.iter().copied()).collect();
    let all: BTreeSet<&str> = KINDS.iter().map(|k| k.id).collect();
    let missing: Vec<&&str> = all.difference(&planted).collect();
    // Flags are FreeBSD's, and a jail that there is not must be asked for.
    assert_eq!(missing, [&"jail-unknown", &"schg-missing"]);
}

#[test]
fn with_names_only_what_matters_to_them() {
    let stage = small(Storage::Directory);
    jail(&stage, "db", 11, "exec.prepare = \"\";");
    jail(&stage, "mail", 12, "exec.release = \"\";");
    add(&stage, "/etc/rc.conf", "jail_enable=\"NO\"");
    fs::create_dir_all(stage.path("/zdata/jails/templates/13.4-RELEASE-base")).unwrap();
    let ids = |words: &[&str]| findings(&stage, words).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(
        ids(&[]),
        ["split-incomplete", "jail-not-enabled", "hook-missing-prepare", "hook-missing-release"]
    );
    assert_eq!(ids(&["db"]), ["jail-not-enabled", "hook-missing-prepare"]);
    assert_eq!(ids(&["web"]), ["jail-not-enabled"]);
    assert_eq!(ids(&["web", "nosuch"]), ["jail-unknown", "jail-not-enabled"]);
    let output = run(&stage, &["a.b"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn the_snapshot_that_is_proposed_is_what_new_jails_get() {
    let stage = small(Storage::Zfs);
    stage.write(&format!("{SKELETON}/etc/new.conf"), "x");
    let found = &document(&stage, &[])["findings"];
    let advice = text(&found[0]["advice"]);
    assert_eq!((text(&found[0]["id"]).as_str(), found.as_array().unwrap().len()), ("skeleton-newer", 1));
    let (_, command) = advice.split_once("zfs snapshot ").expect(&advice);
    stage.tool("zfs", &["snapshot", command]);
    // The jail that was there before does not have it.
    expect(&stage, &["etc-behind"], command);
    stage.ok_with("jail-clone", &["db", "11"]);
    assert_eq!(fs::read_to_string(stage.path(&format!("{}/etc/new.conf", container("db")))).unwrap(), "x");
    stage.tool("jail", &["-r", "web"]);
    for name in ["web", "db"] {
        stage.ok_with("jail-destroy", &["-y", name]);
    }
    stage.nothing_left();
}

#[test]
fn people_and_programs_are_told_the_same() {
    let stage = small(Storage::Directory);
    jail(&stage, "db", 11, "exec.prepare = \"\";");
    stage.write("/etc/jail.conf.d/.x.conf.thinjail", "");
    let output = run(&stage, &[]);
    assert_eq!(output.status.code(), Some(1));
    let told = stage.strip(&output.stdout);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 6, "{told}");
    assert!(
        lines[0].starts_with("warning: /etc/jail.conf.d/.x.conf.thinjail: ")
            && lines[0].ends_with(" [temp-left]")
    );
    assert!(
        lines[3].starts_with("warning: jail db: ") && lines[3].ends_with(" [hook-missing-prepare]"),
        "{told}"
    );
    assert!([1, 2, 4, 5].iter().all(|n| lines[*n].starts_with("    ")), "{told}");

    let document = document(&stage, &["-n", "-x"]);
    assert_eq!(text(&document["program"]), "jail-doctor");
    let [first, second] = document["findings"].as_array().unwrap().as_slice() else { panic!("{document}") };
    for (finding, line) in [(first, 0), (second, 3)] {
        let said = |name: &str| text(&finding[name]);
        let line_of = format!("{}: {}: {} [{}]", said("severity"), said("object"), said("what"), said("id"));
        assert_eq!(line_of, lines[line]);
        assert_eq!(format!("    {}", said("why")), lines[line + 1]);
        assert_eq!(format!("    fix: {}", said("advice")), lines[line + 2]);
    }
    assert_eq!((&first["fixable"], &second["fixable"]), (&Value::Bool(true), &Value::Bool(false)));
    assert_eq!((&first["jail"], text(&second["jail"])), (&Value::Null, "db".into()));
    assert_eq!(document["commands"].as_array().unwrap().len(), 1, "{document}");
    assert_eq!(document["fixed"].as_array().unwrap().len(), 0);
    assert!(stage.path("/etc/jail.conf.d/.x.conf.thinjail").exists());
}

#[test]
fn hostile_containers_do_no_harm() {
    let stage = small(Storage::Directory);
    stage.write("/etc/ssl/certs/host", "the host's");
    for (name, id) in [("fifo", 20), ("linked", 21), ("deep", 22)] {
        jail(&stage, name, id, "");
    }
    let at = |name: &str, path: &str| stage.path(&container(name)).join(path);
    let fifo = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    fs::remove_file(at("fifo", "etc/rc.conf")).unwrap();
    fifo(&at("fifo", "etc/rc.conf"));
    fifo(&at("fifo", "etc/rc"));
    fifo(&at("fifo", "etc/ssl/certs/pipe"));
    stage.write(&format!("{SKELETON}/etc/rc"), "");
    fs::remove_dir_all(at("linked", "etc")).unwrap();
    link(&stage, stage.path("/etc").to_str().unwrap(), &format!("{}/etc", container("linked")));
    fs::remove_dir_all(at("linked", "var")).unwrap();
    link(&stage, "/", &format!("{}/var", container("linked")));
    let deep =
        rustix::fs::open(at("deep", "etc/ssl/certs"), rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
    let mut here = deep.unwrap();
    for _ in 0..10_000 {
        rustix::fs::mkdirat(&here, "d", rustix::fs::Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, "d", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    }
    let huge = fs::File::create(at("deep", "etc/ssl/certs/huge")).unwrap();
    huge.set_len(1 << 40).unwrap();

    for words in [&[][..], &["-x"]] {
        let found = findings(&stage, words);
        let objects: BTreeSet<&str> =
            found.iter().map(|(_, what)| what.split(": ").next().unwrap()).collect();
        assert!(found.iter().all(|(id, _)| id == "hostile-link"), "{found:#?}");
        let expected =
            ["fifo/etc/rc.conf", "linked/etc", "linked/var"].map(|p| format!("/zdata/jails/containers/{p}"));
        assert_eq!(objects, expected.iter().map(String::as_str).collect(), "{found:#?}");
    }
    assert_eq!(fs::read_to_string(stage.path("/etc/ssl/certs/host")).unwrap(), "the host's");
    thinjail::system::tree::remove(&at("deep", "etc/ssl/certs/d")).unwrap();
}

#[test]
fn the_periodic_script_is_off_until_somebody_turns_it_on() {
    let stage = small(Storage::Directory);
    let script = "/usr/local/etc/periodic/weekly/500.thinjail-doctor";
    fs::create_dir_all(stage.path(script).parent().unwrap()).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/periodic/weekly/500.thinjail-doctor");
    fs::copy(source, stage.path(script)).unwrap();
    let run = |enable: &str, flags: &str| {
        let mut command = stage.prepare(Command::new("/bin/sh"));
        command.arg(stage.path(script));
        command.env("weekly_thinjail_doctor_enable", enable).env("weekly_thinjail_doctor_flags", flags);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), stage.strip(&output.stdout))
    };
    stage.write("/etc/jail.conf.d/.x.conf.thinjail", "");
    assert_eq!(run("NO", ""), (0, String::new()));
    let (status, told) = run("YES", "");
    assert!(
        status == 3 && told.starts_with("\nThin jails:\nwarning: ") && told.contains("[temp-left]"),
        "{told}"
    );
    let (status, told) = run("yes", "-x");
    assert!(status == 0 && told.contains("fixed: "), "{told}");
    assert_eq!(run("YES", ""), (0, "\nThin jails:\n".into()));
}

#[test]
fn what_somebody_is_at_work_on_is_not_wrong() {
    let stage = small(Storage::Directory);
    let root = Root::alternate(&stage.root()).unwrap();
    fs::create_dir(stage.path("/zdata/jails/containers/.new.thinjail")).unwrap();
    fs::create_dir(stage.path(&container("new"))).unwrap();
    fs::create_dir(stage.path("/zdata/jails/templates/.13.4-RELEASE-base.thinjail")).unwrap();
    fs::create_dir(stage.path("/zdata/jails/templates/13.4-RELEASE-skeleton")).unwrap();
    let ids = || findings(&stage, &[]).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(), ["split-incomplete", "temp-left", "temp-left", "clone-half-made"]);
    let jails = Lock::take(&root, LockId::Jails).unwrap();
    assert_eq!(ids(), ["split-incomplete"]);
    let template = Lock::template(&root, &"13.4".parse().unwrap(), LockMode::Exclusive).unwrap();
    assert_eq!(ids(), [""; 0]);
    drop(jails);
    assert_eq!(ids(), ["temp-left", "clone-half-made"]);
    drop(template);
    // What templates are made of stays, and so does what may be somebody's.
    assert_eq!(run(&stage, &["-x"]).status.code(), Some(1));
    assert_eq!(ids(), ["split-incomplete", "temp-left", "clone-half-made"]);
}

#[test]
fn a_jail_that_is_dying_is_swept() {
    let stage = small(Storage::Zfs);
    stage.fault("held-connection");
    // As jail(8) leaves it without the hook.
    replace(&stage, "/etc/jail.conf", "exec.release", "# exec.release");
    stage.run_tool("jail", &["-r", "web"]);
    let found = findings(&stage, &[]);
    let leaked = found.iter().find(|(id, _)| id == "mount-leaked").unwrap_or_else(|| panic!("{found:?}"));
    assert!(leaked.1.contains("jail web is dying"), "{leaked:?}");
    run(&stage, &["-x"]);
    assert!(!findings(&stage, &[]).iter().any(|(id, _)| id == "mount-leaked"));
    stage.tool("jail", &["-c", "web"]);
}

#[test]
fn links_that_a_template_has_are_not_hostile() {
    let stage = Host::directory();
    stage.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
    // As 13 has it.
    fs::create_dir_all(stage.path(&format!("{SKELETON}/usr/home"))).unwrap();
    fs::remove_dir(stage.path(&format!("{SKELETON}/home"))).unwrap();
    link(&stage, "usr/home", &format!("{SKELETON}/home"));
    fs::remove_file(stage.path(&format!("{BASE}/home"))).unwrap();
    stage.ok_with("jail-clone", &["web", "10"]);
    assert_eq!(findings(&stage, &[]), []);
    fs::remove_file(stage.path(&container("web")).join("home")).unwrap();
    link(&stage, "/usr/home", &format!("{}/home", container("web")));
    assert_eq!(findings(&stage, &[]).len(), 1);
}

#[test]
fn what_is_wrong_in_the_common_part_is_told_once() {
    let stage = small(Storage::Directory);
    for id in 11..18 {
        jail(&stage, &format!("j{id}"), id, "");
    }
    add(&stage, "/etc/jail.conf", "exec.release = \"\";");
    replace(&stage, "/etc/jail.conf", "/bin/sh /etc/rc\"", "/sbin/route get ${ip}\"");
    replace(
        &stage,
        "/etc/jail.conf",
        "= \"/sbin/ifconfig ${epair}b inet",
        "= \"/bin/sh /etc/rc\"; exec.start += \"/sbin/ifconfig ${epair}b inet",
    );
    assert_eq!(findings(&stage, &[]).len(), 16);
    let told = stage.strip(&run(&stage, &[]).stdout);
    let first: Vec<&str> = told.lines().filter(|l| !l.starts_with(' ')).collect();
    assert_eq!(first.len(), 2, "{told}");
    assert!(
        first.iter().all(|l| l.starts_with("warning: jail j11, jail j12, jail j13, jail j14 and 4 more: ")),
        "{told}"
    );
}

/// rc.d/jail reads files of its own after rc.conf(5), and so do all programs that ask for jail_list.
#[test]
fn files_of_services_override_rc_conf() {
    let places: [&[&str]; 4] = [
        &["/etc/rc.conf.d/jail"],
        &["/etc/rc.conf.d/jail/10-list"],
        &["/usr/local/etc/rc.conf.d/jail"],
        // The last one counts.
        &["/usr/local/etc/rc.conf.d/jail/b", "/usr/local/etc/rc.conf.d/jail/a", "/etc/rc.conf.d/jail"],
    ];
    for (place, script) in places.into_iter().flat_map(|place| [(place, false), (place, true)]) {
        let stage = small(Storage::Directory);
        stage.write("/etc/rc.conf", "jail_enable=\"NO\"\njail_list=\"ghost\"\n");
        let (file, earlier) = place.split_first().unwrap();
        for file in earlier {
            stage.write(file, "jail_enable=\"NO\"\njail_list=\"ghost\"\n");
        }
        // Not read: a directory within, and what `*` leaves out.
        if file.contains("jail/") {
            stage.write(&format!("{file}.d/x"), "jail_enable=\"NO\"\n");
            stage.write(&file.replace("jail/", "jail/.z"), "jail_enable=\"NO\"\n");
        }
        let list = if script { "jail_list=\"$(echo web)\"" } else { "jail_list=\"web\"" };
        stage.write(file, &format!("jail_enable=\"YES\"\n{list}\n"));
        assert_eq!(findings(&stage, &[]), [], "{place:?}");

        stage.ok_with("jail-clone", &["-e", "db", "11"]);
        let text = |file: &str| fs::read_to_string(stage.path(file)).unwrap();
        assert!(text(file).ends_with("jail_list=\"web db\"\n"), "{place:?}: {}", text(file));
        assert_eq!(text("/etc/rc.conf"), "jail_enable=\"NO\"\njail_list=\"ghost\"\n");
        assert_eq!(findings(&stage, &[]), [], "{place:?}");
        stage.ok_with("jail-destroy", &["-y", "db"]);
        assert!(text(file).ends_with("jail_list=\"web\"\n"), "{place:?}: {}", text(file));

        stage.write(file, "jail_enable=\"NO\"\njail_list=\"web gone\"\n");
        let document = document(&stage, &[]);
        let advice: Vec<String> =
            document["findings"].as_array().unwrap().iter().map(|f| text_of(f, "advice")).collect();
        let expected = ["jail_enable=YES", "jail_list-=gone"].map(|words| format!("sysrc -f {file} {words}"));
        assert_eq!(advice, expected, "{place:?}");
        stage.tool("jail", &["-r", "web"]);
        stage.ok_with("jail-destroy", &["-y", "web"]);
        stage.nothing_left();
    }
    let stage = small(Storage::Directory);
    stage.write("/etc/rc.conf", "jail_enable=\"YES\"\nifconfig_DEFAULT=\"DHCP\"\n");
    stage.write("/etc/rc.conf.d/netif", "ifconfig_DEFAULT=\"\"\n");
    assert_eq!(findings(&stage, &[]), []);
    // An empty list there means all jails, as anywhere.
    stage.write("/etc/rc.conf", "jail_enable=\"YES\"\njail_list=\"ghost\"\n");
    stage.write("/etc/rc.conf.d/jail", "jail_list=\"\"\n");
    stage.ok_with("jail-clone", &["-e", "db", "11"]);
    let list = fs::read_to_string(stage.path("/etc/rc.conf.d/jail")).unwrap();
    assert_eq!(list, "jail_list=\"web db\"\n");
}

fn text_of(finding: &Value, name: &str) -> String {
    text(&finding[name])
}

/// One installation that is missing is one finding, and so is one other program that two hooks run.
#[test]
fn programs_that_one_installation_brings_are_one_finding() {
    let stage = small(Storage::Directory);
    for program in ["jail-epair-up", "jail-epair-down", "jail-sweep"] {
        fs::remove_file(stage.path("/usr/local/sbin").join(program)).unwrap();
    }
    let all = "exec.prepare, exec.prestart, exec.poststop, exec.release: /usr/local/sbin/jail-epair-down, \
               /usr/local/sbin/jail-epair-up, /usr/local/sbin/jail-sweep: no such programs";
    let ours = |jail: &str| ("hook-program".to_owned(), format!("jail {jail}: {all}"));
    assert_eq!(findings(&stage, &[]), [ours("web")]);
    let hooks = "exec.prepare += \"/opt/x a\"; exec.poststart = \"/opt/x b\", \"/opt/y\";";
    jail(&stage, "db", 11, hooks);
    let other = |what: &str| ("hook-program".to_owned(), format!("jail db: {what}: no such program"));
    let expected = [
        other("exec.prepare, exec.poststart: /opt/x"),
        ours("db"),
        other("exec.poststart: /opt/y"),
        ours("web"),
    ];
    let found: BTreeSet<_> = findings(&stage, &[]).into_iter().collect();
    assert_eq!(found, expected.into_iter().collect());
    let told = stage.strip(&run(&stage, &[]).stdout);
    let first: Vec<&str> = told.lines().filter(|l| l.contains("/usr/local/sbin/jail-sweep")).collect();
    assert_eq!(first, [format!("error: jail db, jail web: {all} [hook-program]")], "{told}");
}

/// The advice leads to a jail that starts, and where the cause is.
#[test]
fn a_jail_of_one_family_in_a_common_part_for_another() {
    const OWN: &str = "/etc/jail.conf.d/web.conf";
    let host = |common: &str, settings: &str| {
        let stage = Host::directory();
        stage.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
        stage.write("/etc/jail.conf", common);
        add(&stage, "/usr/local/etc/thinjail.conf", settings);
        // The note is about the jail that does not start.
        stage.run_with("jail-clone", &["web", "10"]);
        stage.run_with("jail-clone", &["db", "11"]);
        stage
    };
    let advice = |stage: &Host, jail: &str| {
        let document = document(stage, &[jail]);
        let found = document["findings"].as_array().unwrap();
        let ids: BTreeSet<String> = found.iter().map(|f| text_of(f, "id")).collect();
        assert_eq!(ids, BTreeSet::from(["conf-unresolved".to_owned()]), "{found:#?}");
        text_of(&found[0], "advice")
    };
    let v4 = include_str!("../../share/examples/jail.conf");
    let stage = host(
        v4,
        "jail_net=\"\"\njail_gateway=\"\"\njail_net6=\"fd00:7::/64\"\njail_gateway6=\"fd00:7::101\"\n",
    );
    let told = advice(&stage, "web");
    assert!(told.contains("/etc/jail.conf") && !told.contains(OWN), "{told}");
    let printed = stage.strip(&run(&stage, &[]).stdout);
    assert_eq!(printed.lines().filter(|l| l.ends_with("[conf-unresolved]")).count(), 1, "{printed}");
    let quoted: Vec<&str> = told.split('"').collect();
    let [_, inet6, _, route, _] = quoted.as_slice() else { panic!("{told}") };
    replace(&stage, "/etc/jail.conf", "inet ${ip} up", inet6);
    replace(&stage, "/etc/jail.conf", "route add default ${gateway}", route);
    replace(&stage, "/etc/jail.conf", "$gateway = \"192.168.7.101\"", "$gateway6 = \"fd00:7::101\"");
    stage.tool("jail", &["-c", "web"]);
    assert_eq!(findings(&stage, &[]), []);

    let stage = host(include_str!("../../share/examples/jail.conf.ipv6"), "");
    let told = advice(&stage, "web");
    assert!(told.contains(&format!("set $ip6 in {OWN}")), "{told}");
    add(&stage, OWN, "");
    replace(&stage, OWN, "$id", "$ip6 = \"fd00:7::10/64\"; $id");
    stage.tool("jail", &["-c", "web"]);
    assert_eq!(findings(&stage, &["web"]), []);

    // Of other variables it says where they are used.
    let stage = host(&v4.replace("${gateway}", "${way}"), "");
    let told = advice(&stage, "web");
    assert_eq!(told, format!("set $way in {OWN}, or correct /etc/jail.conf, which uses it"));
    let stage = host(v4, "");
    replace(&stage, OWN, "$id", "$note = \"${nothing}\"; $id");
    assert_eq!(advice(&stage, "web"), format!("correct {OWN}"));
}

/// The name servers of a host with a resolver of its own are copied into a template and its jails.
#[test]
fn a_resolver_on_the_hosts_loopback_is_noticed_everywhere() {
    for storage in [Storage::Zfs, Storage::Directory] {
        let stage = Host::on(storage);
        stage.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
        stage.write(&format!("{SKELETON}/etc/resolv.conf"), "search example.org\nnameserver ::1\n");
        if storage == Storage::Zfs {
            stage.tool("zfs", &["snapshot", "zdata/jails/templates/14.5-RELEASE-skeleton@p0.1"]);
        }
        for words in [&["-n", "web", "10"][..], &["web", "10"]] {
            let output = stage.run_with("jail-clone", words);
            let told = stage.strip(&output.stderr);
            assert!(output.status.success(), "{told}");
            assert_eq!(
                told,
                "jail-clone: warning: jail web: its resolv.conf uses the name server ::1, but nothing in the jail listens there; edit /zdata/jails/containers/web/etc/resolv.conf\n"
            );
        }
        let of = |tree: &str| {
            let what = "uses the name server ::1, but rc.conf enables none here";
            ("resolver-loopback".to_owned(), format!("{tree}/etc/resolv.conf: {what}"))
        };
        assert_eq!(findings(&stage, &[]), [of(&container("web")), of(SKELETON)]);
        assert_eq!(findings(&stage, &["web"]), [of(&container("web")), of(SKELETON)]);
        // Nothing is read through what the jail's root puts there.
        stage.write("/etc/rc.conf.mine", "local_unbound_enable=YES\n");
        let own = format!("{}/etc/rc.conf.local", container("web"));
        link(&stage, stage.path("/etc/rc.conf.mine").to_str().unwrap(), &own);
        assert_eq!(findings(&stage, &["web"])[0], of(&container("web")));
        fs::remove_file(stage.path(&own)).unwrap();
        stage.write(&own, "local_unbound_enable=\"YES\"\n");
        assert_eq!(findings(&stage, &[]), [of(SKELETON)]);
        if storage == Storage::Directory {
            stage.write(&format!("{SKELETON}/etc/rc.conf"), "named_enable=YES\n");
            assert_eq!(findings(&stage, &[]), []);
            let output = stage.run_with("jail-clone", &["db", "11"]);
            assert_eq!(stage.strip(&output.stderr), "");
            stage.ok_with("jail-destroy", &["-y", "db"]);
        }
        stage.ok_with("jail-destroy", &["-y", "web"]);
        stage.nothing_left();
    }
}
