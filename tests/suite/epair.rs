//! jail-epair-up and jail-epair-down on the simulated kernel.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::bin::bin;
use crate::harness::host::Host;
use std::collections::HashSet;
use thinjail::system::kernel::simulated::{HOST, InterfaceKind, bridge};

const UP: &str = "jail-epair-up -b igc0bridge web epair5";
const DOWN: &str = "jail-epair-down web epair5";

fn members(host: &Host, bridge: &str) -> Vec<String> {
    let state = host.state();
    match &state.interface(HOST, bridge).unwrap().kind {
        InterfaceKind::Bridge(_, ids) => {
            state.interfaces.iter().filter(|i| ids.contains(&i.id)).map(|i| i.name.clone()).collect()
        }
        other => panic!("{bridge} is {other:?}"),
    }
}

#[test]
fn up_and_down() {
    let host = Host::hooks();
    assert_eq!(host.ok(UP), "");
    let state = host.state();
    let (a, b) = (state.interface(HOST, "epair5a").unwrap(), state.interface(HOST, "epair5b").unwrap());
    assert_eq!(a.description.as_deref(), Some("jail:web"));
    assert_eq!(b.description, None);
    assert!(a.groups.iter().any(|g| g == "thinjail"));
    assert!(a.up && !b.up);
    assert_ne!(a.mac, b.mac);
    assert_eq!((a.mac[0] & 3, b.mac[0] & 3), (2, 2));
    assert_eq!(members(&host, "igc0bridge"), ["igc0", "epair5a"]);

    let macs = (a.mac, b.mac);
    host.ok(DOWN);
    host.nothing_left();
    host.ok(DOWN);
    // The same addresses the next time.
    host.ok(UP);
    let state = host.state();
    let again = |n: &str| state.interface(HOST, n).unwrap().mac;
    assert_eq!((again("epair5a"), again("epair5b")), macs);
    host.ok(DOWN);
    host.nothing_left();
}

#[test]
fn options() {
    let host = Host::hooks();
    host.ok("jail-epair-up -M 02:00:00:00:00:ff -b igc0bridge web epair5");
    let mac = |n: &str| host.state().interface(HOST, n).unwrap().mac;
    assert_eq!(mac("epair5a"), [2, 0, 0, 0, 0, 0xff]);
    assert_eq!(mac("epair5b"), [2, 0, 0, 0, 1, 0]);
    host.ok(DOWN);
    host.ok("jail-epair-up -M none -b igc0bridge web epair5");
    assert_eq!(mac("epair5a")[..3], [0x58, 0x9c, 0xfc]);
    host.ok(DOWN);
    host.ok("jail-epair-up -m 1500 -b igc0bridge web epair5");
    host.ok(DOWN);
    host.refuses(1, "jail-epair-up -m 9000 -b igc0bridge web epair5");
    host.nothing_left();
}

#[test]
fn both_ends_get_the_bridge_mtu() {
    let host = Host::hooks();
    host.kernel().change(|s| s.set_mtu("igc0bridge", 9000)).unwrap();
    host.ok(UP);
    for name in ["igc0bridge", "igc0", "epair5a", "epair5b"] {
        assert_eq!(host.state().interface(HOST, name).unwrap().mtu, 9000, "{name}");
    }
    host.ok(DOWN);
    // A bridge without members would take the MTU of the first one.
    host.kernel()
        .change(|s| {
            s.create("bridge7")?;
            s.set_mtu("bridge7", 4000)
        })
        .unwrap();
    host.ok("jail-epair-up -b bridge7 web epair5");
    for name in ["bridge7", "epair5a", "epair5b"] {
        assert_eq!(host.state().interface(HOST, name).unwrap().mtu, 4000, "{name}");
    }
}

/// Whether the bridge takes a frame with that source from the member, as when the jail's root sends it.
fn sends(host: &Host, member: &str, source: [u8; 6]) -> bool {
    host.kernel().change(|s| s.receive("igc0bridge", member, source)).unwrap()
}

/// The member that frames to an address go to.
fn leads_to(host: &Host, mac: [u8; 6]) -> Option<String> {
    let state = host.state();
    let bridge = state.interface(HOST, "igc0bridge").unwrap().id;
    let entry = state.bridges.table(bridge).find(|e| e.mac == mac)?;
    state.interfaces.iter().find(|i| i.id == entry.member).map(|i| i.name.clone())
}

#[test]
fn a_pinned_jail_has_one_address() {
    for (macs, vlan) in [("", ""), ("-M none", ""), ("", "--vlan 20"), ("-M none", "--vlan 20")] {
        let host = Host::hooks();
        if !vlan.is_empty() {
            host.kernel().change(|s| s.filter_vlans("igc0bridge", true)).unwrap();
        }
        for (jail, pair) in [("web", "epair5"), ("db", "epair6")] {
            let options: Vec<_> = [macs, vlan].into_iter().filter(|option| !option.is_empty()).collect();
            let options = ["--pin"].into_iter().chain(options).collect::<Vec<_>>().join(" ");
            assert_eq!(host.ok(&format!("jail-epair-up {options} -b igc0bridge {jail} {pair}")), "");
        }
        let mac = |n: &str| host.state().interface(HOST, n).unwrap().mac;
        let (own, neighbor) = (mac("epair5b"), mac("epair6b"));
        assert!(sends(&host, "epair5a", own), "{macs} {vlan}");
        assert!(sends(&host, "epair6a", neighbor));
        // What the neighbor's address is used for stays with the neighbor, and no other is accepted.
        sends(&host, "epair5a", neighbor);
        assert_eq!(leads_to(&host, neighbor).as_deref(), Some("epair6a"));
        assert!(!sends(&host, "epair5a", [2, 0, 0, 0, 0, 0x99]));
        for (jail, pair) in [("web", "epair5"), ("db", "epair6")] {
            host.ok(&format!("jail-epair-down {jail} {pair}"));
        }
        assert_eq!(leads_to(&host, neighbor), None);
        host.nothing_left();
    }
}

#[test]
fn private_jails_and_vlans() {
    let host = Host::hooks();
    host.ok("jail-epair-up --private -b igc0bridge web epair5");
    let flags = |host: &Host, name: &str| {
        let state = host.state();
        state.bridges.member(state.interface(HOST, name).unwrap().id).unwrap().flags
    };
    // Besides those that every member has.
    assert_eq!(flags(&host, "epair5a"), flags(&host, "igc0") | bridge::PRIVATE);
    host.ok(DOWN);
    assert!(host.fails("jail-epair-up --vlan 20 -b igc0bridge web epair5").contains("does not filter VLANs"));
    assert!(host.fails("jail-epair-up --vlan 20 -u igc0 -b new0 web epair5").contains("use that bridge"));
    host.kernel().change(|s| s.filter_vlans("igc0bridge", true)).unwrap();
    let untagged = |host: &Host| {
        let state = host.state();
        state.bridges.member(state.interface(HOST, "epair5a").unwrap().id).unwrap().untagged
    };
    host.ok("jail-epair-up --vlan 20 -b igc0bridge web epair5");
    assert_eq!(untagged(&host), 20);
    host.ok(DOWN);
    host.kernel().change(|s| s.set_default_untagged("igc0bridge", 7)).unwrap();
    host.ok("jail-epair-up --pin -b igc0bridge web epair5");
    assert_eq!(untagged(&host), 7);
    let own = host.state().interface(HOST, "epair5b").unwrap().mac;
    assert!(sends(&host, "epair5a", own), "pinned in the default VLAN");
    host.ok(DOWN);
    host.nothing_left();
}

#[test]
fn renamed_pairs() {
    let host = Host::hooks();
    host.ok("jail-epair-up -b igc0bridge web web0");
    let state = host.state();
    assert_eq!(state.interface(HOST, "web0a").unwrap().description.as_deref(), Some("jail:web"));
    assert!(state.interface(HOST, "web0b").is_some());
    host.ok("jail-epair-up -b igc0bridge web web1");
    host.ok("jail-epair-down web web0");
    host.ok("jail-epair-down web web1");
    host.nothing_left();
}

#[test]
fn renamed_pairs_whose_units_clash() {
    // Units are derived from names: among so many, several are the same.
    let host = Host::hooks();
    host.kernel()
        .change(|s| {
            // Units taken by pairs under other names show only on creating.
            for unit in 16384..=32767 {
                if unit % 16 != 3 {
                    continue;
                }
                s.create(&format!("epair{unit}"))?;
                s.rename(HOST, &format!("epair{unit}a"), &format!("x{unit}a"))?;
                s.rename(HOST, &format!("epair{unit}b"), &format!("x{unit}b"))?;
            }
            Ok(())
        })
        .unwrap();
    for n in 0..24 {
        host.ok(&format!("jail-epair-up -b igc0bridge web n{n}_"));
        host.ok(&format!("jail-epair-down web n{n}_"));
    }
}

#[test]
fn leftovers_are_replaced() {
    let host = Host::hooks();
    // Tagged, as a failed start leaves it.
    host.ok(UP);
    host.ok(UP);
    host.ok(DOWN);
    // Untagged, as a run killed right after creating leaves it.
    host.kernel().change(|s| s.create("epair5")).unwrap();
    host.ok(UP);
    host.ok(DOWN);
    // In the group and not described, as one killed a step later leaves it.
    host.kernel()
        .change(|s| {
            s.create("epair5")?;
            s.join_group("epair5a", "thinjail")
        })
        .unwrap();
    host.ok(UP);
    host.ok(DOWN);
    // That is for jail-epair-up to judge, under its lock.
    host.kernel().change(|s| s.create("epair5")).unwrap();
    let error = host.refuses(1, DOWN);
    assert!(error.contains("epair5a has no description"), "{error}");
    host.ok(UP);
    host.ok(DOWN);
    host.nothing_left();
}

#[test]
fn foreign_pairs_are_refused_by_name() {
    for (what, expect) in [
        ("tag", "epair5a belongs to jail db"),
        ("no group", "epair5a has the description \"jail:web\", but is not in the group thinjail"),
        ("odd tag", "epair5a has the description \"jail:web x y\""),
        ("words", "epair5a has the description \"uplink\""),
        ("up", "epair5a is up"),
        ("member", "epair5a is a member of igc0bridge"),
        ("group", "epair5b is in the group private"),
        ("address", "epair5b is addressed 10.0.0.1"),
        ("lent", "its other end is not on the host"),
        ("b described", "epair5b is described"),
        ("not a pair", "epair5a is not an epair"),
        ("b only", "epair5b exists without epair5a"),
    ] {
        let host = Host::hooks();
        host.kernel()
            .change(|s| {
                s.create("epair5")?;
                match what {
                    "tag" => {
                        s.join_group("epair5a", "thinjail")?;
                        s.describe(HOST, "epair5a", "jail:db")
                    }
                    "no group" => s.describe(HOST, "epair5a", "jail:web"),
                    "odd tag" => {
                        s.join_group("epair5a", "thinjail")?;
                        s.describe(HOST, "epair5a", "jail:web x y")
                    }
                    "words" => s.describe(HOST, "epair5a", "uplink"),
                    "member" => s.add_member("igc0bridge", "epair5a"),
                    "group" => s.join_group("epair5b", "private"),
                    "address" => {
                        let b = s.interfaces.iter_mut().find(|i| i.name == "epair5b").unwrap();
                        b.addresses.push("inet 10.0.0.1/24".into());
                        Ok(())
                    }
                    "b described" => s.describe(HOST, "epair5b", "jail:web"),
                    "up" => {
                        s.interfaces.iter_mut().find(|i| i.name == "epair5a").unwrap().up = true;
                        Ok(())
                    }
                    "lent" => {
                        let jid = s.create_jail("db", std::path::Path::new("/db"))?;
                        s.lend("epair5b", jid)
                    }
                    "not a pair" => {
                        s.destroy(HOST, "epair5a")?;
                        s.create("bridge3")?;
                        s.rename(HOST, "bridge3", "epair5a")?;
                        s.describe(HOST, "epair5a", "jail:web")
                    }
                    "b only" => s.rename(HOST, "epair5a", "other"),
                    _ => unreachable!(),
                }
            })
            .unwrap();
        let syslog = host.syslogd();
        let before = host.present();
        for command in [UP, DOWN] {
            if what == "b only" && command == DOWN {
                continue;
            }
            let (status, _, stderr) = host.said(command);
            assert_eq!(status, 1, "{what}: {command}");
            assert!(stderr.contains(expect), "{what}: {command}: {stderr}");
            let lines = syslog.lines();
            assert!(lines.len() == 1 && lines[0].contains(expect), "{lines:?}");
            assert_eq!(before, host.present(), "{what}: {command}");
        }
    }
}

#[test]
fn a_running_jails_pair_is_refused() {
    let host = Host::hooks();
    host.ok(UP);
    host.kernel()
        .change(|s| {
            let jid = s.create_jail("web", std::path::Path::new("/web"))?;
            s.lend("epair5b", jid)
        })
        .unwrap();
    for command in [UP, DOWN] {
        let error = host.refuses(1, command);
        assert!(error.contains("in use by jail web, which is running"), "{error}");
    }
    // Dying is not running: a new start takes over.
    host.kernel().change(|s| s.remove_jail("web", true)).unwrap();
    host.ok(UP);
    host.ok(DOWN);
}

#[test]
fn down_while_the_b_half_is_in_a_dying_jail() {
    let host = Host::hooks();
    host.ok(UP);
    host.kernel()
        .change(|s| {
            let jid = s.create_jail("web", std::path::Path::new("/web"))?;
            s.lend("epair5b", jid)?;
            s.remove_jail("web", true)
        })
        .unwrap();
    host.ok(DOWN);
    assert_eq!(host.interfaces(), ["lo0", "igc0", "igc0bridge"]);
}

#[test]
fn bridges() {
    let host = Host::hooks();
    let error = host.refuses(1, "jail-epair-up -b nobridge web epair5");
    assert!(error.contains("bridge nobridge does not exist"), "{error}");
    let error = host.refuses(1, "jail-epair-up -b igc0 web epair5");
    assert!(error.contains("igc0 is not a bridge"), "{error}");
    let error = host.refuses(1, "jail-epair-up -b lo0 web epair5");
    assert!(error.contains("lo0 is not a bridge"), "{error}");
    let error = host.refuses(1, "jail-epair-up -u igc0 -b newbridge web epair5");
    assert!(error.contains("igc0 is already a member of bridge igc0bridge"), "{error}");
    let error = host.refuses(1, "jail-epair-up -u absent -b newbridge web epair5");
    assert!(error.contains("uplink absent"), "{error}");
    host.plug("em0");
    for bridge in ["em0bridge", "bridge3"] {
        host.ok(&format!("jail-epair-up -u em0 -b {bridge} web epair5"));
        assert_eq!(members(&host, bridge), ["em0", "epair5a"]);
        assert!(host.state().interface(HOST, bridge).unwrap().up);
        assert!(host.state().interface(HOST, "em0").unwrap().up);
        host.ok(&format!("jail-epair-up -u em0 -b {bridge} db epair6"));
        host.ok(DOWN);
        host.ok("jail-epair-down db epair6");
        assert_eq!(members(&host, bridge), ["em0"]);
        host.kernel().change(|s| s.destroy(HOST, bridge)).unwrap();
    }
}

#[test]
fn dry_run_prints_what_would_be_done() {
    let host = Host::hooks();
    let printed = host.ok("jail-epair-up -n -M 02:00:00:00:00:01 -b igc0bridge web epair5");
    let expect = "/sbin/ifconfig epair5 create\n\
                  /sbin/ifconfig epair5a group thinjail\n\
                  /sbin/ifconfig epair5a description jail:web\n\
                  /sbin/ifconfig epair5a mtu 1500\n\
                  /sbin/ifconfig epair5b mtu 1500\n\
                  /sbin/ifconfig epair5a ether 02:00:00:00:00:01\n\
                  /sbin/ifconfig epair5b ether 02:00:00:00:00:02\n\
                  /sbin/ifconfig igc0bridge addm epair5a\n\
                  /sbin/ifconfig epair5a up\n";
    assert_eq!(printed, expect);
    host.nothing_left();
    let json = host.ok("jail-epair-up -n --json -M none -b igc0bridge web epair5");
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["commands"].as_array().unwrap().len(), 7);
    host.ok(UP);
    assert_eq!(host.ok("jail-epair-down -n web epair5"), "/sbin/ifconfig epair5a destroy\n");
    assert!(
        host.ok("jail-epair-up -n -b igc0bridge web epair5").starts_with("/sbin/ifconfig epair5a destroy\n")
    );
    host.ok(DOWN);
    host.nothing_left();
}

#[test]
fn bad_arguments() {
    let host = Host::hooks();
    let long = "n".repeat(256);
    for name in ["", "..", "a/b", "a.b", "123", &long, "a\tb", "caf\u{e9}"] {
        host.refuses_with(2, "jail-epair-up", &["-b", "igc0bridge", name, "epair5"]);
        host.refuses_with(2, "jail-epair-down", &["--", name, "epair5"]);
    }
    host.refuses_with(2, "jail-epair-up", &["-b", "igc0bridge", "--", "-web", "epair5"]);
    for pair in ["fifteen_bytes_x", "sixteen_bytes_xx", "epair32768", "epair05", "lo0", "epair5a", ""] {
        host.refuses_with(2, "jail-epair-up", &["-b", "igc0bridge", "web", pair]);
    }
    for mac in ["03:00:00:00:00:01", "00:11:22:33:44:55", "x", "02:ff:ff:ff:ff:ff"] {
        host.refuses_with(2, "jail-epair-up", &["-M", mac, "-b", "igc0bridge", "web", "epair5"]);
    }
    for mtu in ["71", "65536", "-1", "x"] {
        host.refuses_with(2, "jail-epair-up", &["-m", mtu, "-b", "igc0bridge", "web", "epair5"]);
    }
    host.refuses(2, "jail-epair-up web epair5");
    host.refuses(2, "jail-epair-up --no-such-option -b igc0bridge web epair5");
    host.nothing_left();
}

#[test]
fn a_mistake_in_a_hook_line_is_logged() {
    let host = Host::hooks();
    let syslog = host.syslogd();
    host.refuses(2, "jail-epair-up -b igc0bridge web epair99999");
    let lines = syslog.lines();
    assert!(lines.len() == 1 && lines[0].contains("epair99999"), "{lines:?}");
}

#[test]
fn not_root() {
    let host = Host::hooks();
    host.drop_privilege();
    let error = host.refuses(1, UP);
    assert!(error.contains("Operation not permitted"), "{error}");
    // Looking needs no privilege.
    host.ok("jail-epair-up -n -b igc0bridge web epair5");
}

#[test]
fn two_hundred_at_once() {
    let host = Host::hooks();
    host.plug("em0");
    let start = |program: &str, arguments: Vec<String>| {
        std::process::Command::new(bin(program))
            .args(arguments)
            .env_clear()
            .env("THINJAIL_ROOT", host.root())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let all = |program: &str, options: &[&str]| {
        let children: Vec<_> = (0..200)
            .map(|n| {
                // A third of the pairs are renamed ones.
                let pair = if n % 3 == 0 { format!("p{n}_") } else { format!("epair{n}") };
                let mut arguments: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
                arguments.extend([format!("j{n}"), pair]);
                start(program, arguments)
            })
            .collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    };
    all("jail-epair-up", &["-u", "em0", "-b", "em0bridge"]);
    let state = host.state();
    let bridges = state.interfaces.iter().filter(|i| matches!(i.kind, InterfaceKind::Bridge(..))).count();
    assert_eq!(bridges, 2, "igc0bridge and one em0bridge");
    assert_eq!(members(&host, "em0bridge").len(), 201);
    let macs: HashSet<_> = state
        .interfaces
        .iter()
        .filter(|i| matches!(i.kind, InterfaceKind::Epair(_)))
        .map(|i| i.mac)
        .collect();
    assert_eq!(macs.len(), 400);
    all("jail-epair-down", &[]);
    assert_eq!(host.interfaces(), ["lo0", "igc0", "igc0bridge", "em0", "em0bridge"]);
}
