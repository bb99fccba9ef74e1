//! jail-setup on prepared hosts: what it proposes, that a second run changes nothing, and that it refuses what would
//! cut off the host.

#![cfg(not(target_os = "freebsd"))] // The kernel is a simulated one.

use crate::harness::host::Host;
use std::fs;

/// A host with a network card, addresses and a default route.
fn host(addresses: &[&str], routers: &[&str], rc_conf: &str) -> Host {
    let host = Host::with_card();
    for address in addresses {
        let words: Vec<&str> = ["igc0"].into_iter().chain(address.split(' ')).chain(["up"]).collect();
        host.tool("ifconfig", &words);
    }
    for router in routers {
        let family: &[&str] = if router.contains(':') { &["-6"] } else { &[] };
        host.tool("route", &[family, &["add", "default", router]].concat());
    }
    host.write("/etc/rc.conf", rc_conf);
    host
}

/// One on a LAN, as bsdinstall(8) sets it up.
fn lan(rc_conf: &str) -> Host {
    host(&["inet 192.168.1.5/24"], &["192.168.1.1"], rc_conf)
}

const STATIC: &str = "ifconfig_igc0=\"inet 192.168.1.5/24\"\ndefaultrouter=\"192.168.1.1\"\n";
const DHCP: &str = "ifconfig_igc0=\"SYNCDHCP mtu 9000\"\nifconfig_igc0_ipv6=\"inet6 accept_rtadv\"\n";

fn read(host: &Host, path: &str) -> String {
    fs::read_to_string(host.path(path)).unwrap_or_default()
}

/// The files that a set-up writes.
const FILES: [&str; 4] = ["/usr/local/etc/thinjail.conf", "/etc/jail.conf", "/etc/rc.conf", "/etc/pf.conf"];

fn files(host: &Host) -> Vec<String> {
    FILES.iter().map(|file| read(host, file)).collect()
}

/// Runs jail-setup, which has to say each of some lines; then once more, which has to change nothing.
#[track_caller]
fn sets_up(host: &mut Host, options: &[&str], says: &[&str]) -> String {
    let before = files(host);
    host.begin();
    let words = [options, &["-n"]].concat();
    host.ok_with("jail-setup", &words);
    assert_eq!(files(host), before, "-n changes nothing");
    host.nothing_left();
    let said = host.ok_with("jail-setup", &[options, &["-y"]].concat());
    for line in says {
        assert!(said.lines().any(|l| l.trim() == *line), "no line {line:?} in\n{said}");
    }
    let (done, present) = (files(host), host.present());
    let again = host.ok_with("jail-setup", &[options, &["-y"]].concat());
    assert!(again.contains("\nnothing to change") && !again.contains("change:"), "{again}");
    assert_eq!((files(host), host.present()), (done, present), "a second run changes nothing");
    // Without the options too: what was chosen is in the files.
    let again = host.ok_with("jail-setup", &["-y"]);
    assert!(again.contains("\nnothing to change"), "{again}");
    said
}

#[track_caller]
fn refuses(host: &Host, options: &[&str], why: &str) {
    let before = (files(host), host.present());
    for option in ["-n", "-y"] {
        let output = host.run_with("jail-setup", &[options, &[option]].concat());
        let told = host.strip(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(why), "{told}");
    }
    assert_eq!((files(host), host.present()), before);
}

#[test]
fn static_address_and_a_pool() {
    let mut host = lan(&format!(
        "{STATIC}ifconfig_igc0_alias0=\"inet 192.168.1.6/32\"\ncloned_interfaces=\"lo1 bridge0\"\n"
    ));
    host.pool("zroot");
    sets_up(
        &mut host,
        &["-r", "15.1"],
        &[
            "change: storage: dataset zroot/jails, mounted at /zroot/jails",
            "zroot/jails/containers",
            "jail_zfs=\"zroot/jails\"",
            "bsd_ver=\"15.1\"",
            "jail_bridge=\"bridge1\"",
            "jail_net=\"192.168.1.0/24\"",
            "jail_gateway=\"192.168.1.1\"",
            "$bridge  = \"bridge1\";",
            "change: rc.conf: set jail_enable to YES",
            "service netif restart && service routing restart",
            "next: skel-fetch 15.1 && skel-split 15.1 && skel-update 15.1",
        ],
    );
    assert_eq!(
        read(&host, "/etc/rc.conf"),
        "ifconfig_igc0=\"up\"\ndefaultrouter=\"192.168.1.1\"\ncloned_interfaces=\"lo1 bridge0 bridge1\"\n\
         jail_enable=\"YES\"\nifconfig_bridge1=\"inet 192.168.1.5/24 addm igc0\"\n\
         ifconfig_bridge1_alias0=\"inet 192.168.1.6/32\"\n"
    );
    // The live address stays where it is.
    assert!(host.tool("ifconfig", &["igc0"]).contains("192.168.1.5"));
    assert!(!host.tool("ifconfig", &["-l"]).contains("bridge1"));
}

#[test]
fn dhcp_with_ipv6_of_a_router() {
    let mut host = lan(DHCP);
    let said = sets_up(
        &mut host,
        &["-b", "igc0bridge"],
        &["change: storage: directory /usr/local/jails", "jail_dir=\"/usr/local/jails\""],
    );
    assert!(said.contains("net.link.bridge.inherit_mac=1 in /boot/loader.conf"), "{said}");
    assert!(!read(&host, FILES[0]).contains("jail_net6"), "a prefix of the router is not for good");
    assert_eq!(
        read(&host, "/etc/rc.conf"),
        "ifconfig_igc0=\"up mtu 9000\"\njail_enable=\"YES\"\nifconfig_bridge0_name=\"igc0bridge\"\n\
         ifconfig_igc0bridge=\"addm igc0 SYNCDHCP\"\ncloned_interfaces=\"bridge0\"\n\
         ifconfig_igc0bridge_ipv6=\"inet6 accept_rtadv auto_linklocal\"\n"
    );
}

/// The line that takes a bridge back brings rc.conf(5) back.
#[test]
fn a_bridge_is_taken_back() {
    let host = lan(STATIC);
    let said = host.ok_with("jail-setup", &["-y"]);
    let line =
        said.lines().skip_while(|line| *line != "to take bridge0 back, run this and reboot:").nth(1).unwrap();
    for command in line.trim().split("; ") {
        let words = command.replace("'", "");
        let words: Vec<&str> = words.split(' ').collect();
        let words: Vec<String> = match words.as_slice() {
            ["/usr/sbin/sysrc", "-x", name] => vec!["-x".into(), (*name).into()],
            ["/usr/sbin/sysrc", rest @ ..] => vec![rest.join(" ")],
            other => panic!("{other:?}"),
        };
        host.tool("sysrc", &words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert_eq!(read(&host, "/etc/rc.conf"), format!("{STATIC}jail_enable=\"YES\"\n"));
}

#[test]
fn both_families_and_ipv6_alone() {
    let mut both = host(
        &["inet 192.168.1.5/24", "inet6 2001:db8:7::5/64"],
        &["192.168.1.1", "2001:db8:7::1"],
        &format!(
            "{STATIC}ifconfig_igc0_ipv6=\"inet6 2001:db8:7::5 prefixlen 64\"\nipv6_defaultrouter=\"fe80::1%igc0\"\n"
        ),
    );
    sets_up(&mut both, &[], &["jail_net6=\"2001:db8:7::/64\"", "jail_gateway6=\"2001:db8:7::1\""]);
    let rc = read(&both, "/etc/rc.conf");
    assert!(rc.contains("ipv6_defaultrouter=\"fe80::1%bridge0\""), "{rc}");
    assert!(rc.contains("ifconfig_bridge0_ipv6=\"inet6 2001:db8:7::5 prefixlen 64 auto_linklocal\""), "{rc}");
    assert!(!rc.contains("ifconfig_igc0_ipv6"), "{rc}");
    let conf = read(&both, "/etc/jail.conf");
    assert!(conf.contains("inet ${ip} up") && conf.contains("inet6 ${ip6}"), "{conf}");

    let mut six = host(
        &["inet6 2001:db8:7::5/64", "inet6 fe80::5/64"],
        &["fe80::1"],
        "ifconfig_igc0=\"up\"\nifconfig_igc0_ipv6=\"inet6 accept_rtadv\"\n",
    );
    sets_up(&mut six, &[], &["jail_net6=\"2001:db8:7::/64\"", "jail_gateway6=\"fe80::1\""]);
    let conf = read(&six, "/etc/jail.conf");
    assert!(!conf.contains("${ip}") && conf.contains("inet6 ${ip6} up"), "{conf}");
    assert!(conf.contains("$gateway6 = \"fe80::1%${epair}b\";"), "{conf}");
}

#[test]
fn nat_is_made_live() {
    for storage in ["directory", "zfs"] {
        let mut host = host(&["inet 203.0.113.9/24"], &["203.0.113.1"], "ifconfig_igc0=\"DHCP\"\n");
        // 203.0.113.0/24 is for documentation and counts as no public address.
        let options: &[&str] =
            if storage == "zfs" { &["-N", "nat", "-b", "jailbridge"] } else { &["-N", "nat"] };
        let bridge = if storage == "zfs" { "jailbridge" } else { "bridge0" };
        if storage == "zfs" {
            host.pool("tank");
        }
        let said = sets_up(
            &mut host,
            options,
            &["jail_net=\"10.7.0.0/24\"", "jail_gateway=\"10.7.0.1\"", "change: pf.conf: start pf"],
        );
        assert!(!said.contains("reboot"), "{said}");
        let shown = host.tool("ifconfig", &[bridge]);
        assert!(shown.contains("inet 10.7.0.1 ") && shown.contains("<UP"), "{shown}");
        assert_eq!(host.tool("sysctl", &["-n", "net.inet.ip.forwarding"]), "1\n");
        assert_eq!(host.tool("pfctl", &["-s", "Running"]), "Enabled\n");
        let pf = read(&host, "/etc/pf.conf");
        assert!(pf.contains("\next = \"igc0\"\njails = \"10.7.0.0/24\"\n"), "{pf}");
        let rc = read(&host, "/etc/rc.conf");
        assert!(rc.starts_with("ifconfig_igc0=\"DHCP\"\n"), "the uplink is left alone: {rc}");
        assert!(rc.contains(&format!("ifconfig_{bridge}=\"inet 10.7.0.1/24 up\"\n")), "{rc}");
        assert!(rc.contains("gateway_enable=\"YES\"\npf_enable=\"YES\"\n"), "{rc}");
    }
}

#[test]
fn what_the_host_has_decides_the_mode() {
    // A public address.
    let public = || host(&["inet 8.8.4.9/24"], &["8.8.4.1"], "ifconfig_igc0=\"DHCP\"\n");
    sets_up(&mut public(), &[], &["jail_net=\"10.7.0.0/24\""]);
    let said = sets_up(&mut public(), &["-N", "bridge"], &["jail_net=\"8.8.4.0/24\""]);
    assert!(said.contains("8.8.4.9 is a public address; many such networks"), "{said}");
    // Wi-Fi.
    let mut wireless = lan("wlans_iwm0=\"wlan0\"\nifconfig_igc0=\"WPA SYNCDHCP\"\n");
    wireless.tool("ifconfig", &["igc0", "group", "wlan"]);
    refuses(&wireless, &["-N", "bridge"], "igc0: a wireless interface cannot be a member of a bridge");
    sets_up(&mut wireless, &[], &["jail_net=\"10.7.0.0/24\""]);
    // A virtual machine.
    let mut guest = lan(DHCP);
    guest.fault_with("sysctl.conf", "kern.vm_guest=kvm\nnet.link.bridge.member_ifaddrs=0\n");
    let said = sets_up(&mut guest, &[], &["jail_bridge=\"bridge0\""]);
    assert!(said.contains("this host is a virtual machine (kvm); many"), "{said}");
    assert!(said.contains("net.link.bridge.member_ifaddrs is 0"), "{said}");
}

#[test]
fn networks_that_are_taken() {
    let host_with_routes = || {
        let host = lan(STATIC);
        host.fault_with("routes", "10.7.0.0/16 192.168.1.2 igc0\n10.8.0.0/24 link#9 tun0\n");
        host
    };
    sets_up(
        &mut host_with_routes(),
        &["-N", "nat"],
        &["jail_net=\"10.9.0.0/24\"", "jail_gateway=\"10.9.0.1\""],
    );
    refuses(
        &host_with_routes(),
        &["-N", "nat", "-a", "10.7.5.0/24"],
        "network 10.7.5.0/24 overlaps with 10.7.0.0/16, which this host reaches through igc0",
    );
    // A network of the settings is named there.
    let host = host_with_routes();
    host.write("/usr/local/etc/thinjail.conf", "jail_net=\"192.168.1.0/24\"\n");
    refuses(
        &host,
        &["-N", "nat"],
        "through igc0; remove jail_net and jail_gateway from /usr/local/etc/thinjail.conf",
    );
    host.write("/usr/local/etc/thinjail.conf", "jail_net=\"10.3.0.0/24\"\n");
    let said = host.ok_with("jail-setup", &["-y"]);
    assert!(
        said.contains(
            "warning: thinjail.conf: jail_net 10.3.0.0/24 is not the network of igc0, 192.168.1.0/24\n"
        ),
        "{said}"
    );
    let mut host = host_with_routes();
    sets_up(&mut host, &["-N", "nat", "-a", "172.20.0.0/24"], &["jail_gateway=\"172.20.0.1\""]);
    refuses(&host, &["-a", "172.21.0.0/24"], "jail_net is already set to 172.20.0.0/24");
}

#[test]
fn bridges_that_exist() {
    // With the uplink and a pair of some jail; the address is where it belongs.
    let mut bridged = Host::unconfigured();
    bridged.tool("route", &["add", "default", "192.168.7.1"]);
    bridged.write(
        "/etc/rc.conf",
        "jail_enable=\"YES\"\ncloned_interfaces=\"bridge0\"\nifconfig_bridge0_name=\"igc0bridge\"\n\
         ifconfig_igc0bridge=\"inet 192.168.7.101/24 addm igc0\"\nifconfig_igc0=\"up\"\n",
    );
    refuses(&bridged, &["-b", "bridge9"], "igc0bridge is a member of igc0bridge; use that bridge");
    sets_up(
        &mut bridged,
        &[],
        &[
            "ok: network: bridge igc0bridge with the member igc0",
            "ok: rc.conf: jail_enable is YES",
            "jail_net=\"192.168.7.0/24\"",
        ],
    );
    // One that nothing makes at the next boot.
    let mut lost = Host::unconfigured();
    lost.tool("route", &["add", "default", "192.168.7.1"]);
    let said = sets_up(&mut lost, &["-u", "igc0"], &[]);
    assert!(said.contains("todo: rc.conf: igc0bridge is not in cloned_interfaces"), "{said}");
    // NAT behind a bridge that exists.
    let mut nat = Host::unconfigured();
    nat.tool("route", &["add", "default", "192.168.7.1"]);
    let said = sets_up(&mut nat, &["-N", "nat"], &["jail_bridge=\"bridge1\""]);
    assert!(said.contains("NAT from 10.7.0.0/24 to igc0bridge"), "{said}");
}

#[test]
fn pools_and_datasets() {
    let two = lan(STATIC);
    two.pool("tank");
    two.pool("zroot");
    refuses(&two, &[], "this host has several pools (tank, zroot); choose one, such as -d tank/jails");
    let mut two = two;
    sets_up(&mut two, &["-d", "zroot/jails"], &["jail_zfs=\"zroot/jails\""]);
    refuses(
        &two,
        &["-d", "tank/jails"],
        "jail_zfs is already set to zroot/jails in /usr/local/etc/thinjail.conf",
    );
    refuses(&two, &["-D", "/jails"], "-D: jail_zfs is already set to zroot/jails");

    let none = lan(STATIC);
    refuses(&none, &["-d", "nopool/jails"], "nopool does not exist");
    let mut none = none;
    sets_up(&mut none, &["-D", "/var/jails"], &["jail_dir=\"/var/jails\"", "/var/jails/media"]);
    refuses(&none, &["-d", "zroot/jails"], "-d: jail_dir is already set to /var/jails");

    // Jails of another tool.
    let mut taken = lan(STATIC);
    taken.pool("zroot");
    taken.tool("zfs", &["create", "-p", "zroot/jails/other"]);
    sets_up(&mut taken, &[], &["jail_zfs=\"zroot/thinjail\""]);
    // A pool that is mounted nowhere.
    let mut unmounted = lan(STATIC);
    unmounted.pool("zroot");
    unmounted.tool("zfs", &["set", "mountpoint=none", "zroot"]);
    sets_up(&mut unmounted, &[], &["jail_zfs=\"zroot/jails\"", "jail_dir=\"/usr/local/jails\""]);
    assert_eq!(unmounted.tool("zfs", &["get", "-H", "-o", "value", "mounted", "zroot/jails/media"]), "yes\n");
}

#[test]
fn a_jail_conf_of_other_jails_is_left_alone() {
    let foreign = "# mine\nexec.start = \"/bin/sh /etc/rc\";\nold { path = \"/jails/old\"; exec.prestart = \"/bin/true\"; }\n";
    let host = lan(STATIC);
    host.write("/etc/jail.conf", foreign);
    let said = host.ok_with("jail-setup", &["-y"]);
    assert!(
        said.contains("todo: jail.conf: /etc/jail.conf exists and is left as it is; add these lines before its first jail; they also apply to the jails in it (old)"),
        "{said}"
    );
    for line in [
        "path          = \"${jails}/${name}-nullfs-base\";",
        "vnet;",
        ".include \"/etc/jail.conf.d/*.conf\";",
    ] {
        assert!(said.lines().any(|l| l.trim() == line), "{line}: {said}");
    }
    assert!(!said.contains("exec.start    ="), "what is there is not repeated: {said}");
    assert_eq!(read(&host, "/etc/jail.conf"), foreign);
    // With these lines there is nothing to add.
    let lines: Vec<&str> = said
        .lines()
        .skip_while(|line| !line.starts_with("todo: jail.conf"))
        .skip(1)
        .take_while(|line| line.starts_with("    "))
        .map(str::trim)
        .collect();
    host.write("/etc/jail.conf", &format!("{}\n{foreign}", lines.join("\n")));
    let again = host.ok_with("jail-setup", &["-y"]);
    assert!(again.contains("ok: jail.conf: /etc/jail.conf has what thin jails need"), "{again}");
    let elsewhere = lines.join("\n").replace("${jails}/${name}-nullfs-base", "/elsewhere/${name}");
    host.write("/etc/jail.conf", &elsewhere);
    let again = host.ok_with("jail-setup", &["-y"]);
    assert!(again.contains("sets path to another place"), "{again}");
    // A jail.conf(5) that cannot be read is no base for advice.
    host.write("/etc/jail.conf", "web {\n");
    refuses(&host, &[], "jail.conf: ");
}

#[test]
fn rules_of_pf_that_exist() {
    let nat = || lan(STATIC);
    let line = "nat on igc0 inet from 10.7.0.0/24 to any -> (igc0)";
    // Good ones without NAT: the place is named, and nothing is loaded.
    let host = nat();
    host.fault("pf.loaded");
    let rules = "set skip on lo0\nblock in\npass out\n";
    host.write("/etc/pf.conf", rules);
    let said = host.ok_with("jail-setup", &["-y", "-N", "nat"]);
    assert!(
        said.contains("todo: pf.conf: /etc/pf.conf exists; add this line before line 2, and load it\n"),
        "{said}"
    );
    assert!(said.contains(line) && said.contains("sysrc pf_enable=YES; service pf start"), "{said}");
    assert_eq!(
        (read(&host, "/etc/pf.conf"), host.tool_fails("pfctl", &["-s", "Running"])),
        (rules.into(), String::new())
    );
    assert!(!read(&host, "/etc/rc.conf").contains("pf_enable"));
    // With it, but never started: that is the administrator's decision.
    host.write("/etc/pf.conf", &format!("set skip on lo0\n{line}\nblock in\npass out\n"));
    let said = host.ok_with("jail-setup", &["-y"]);
    assert!(said.contains("todo: pf.conf: pf is not enabled; check the rules, and enable it"), "{said}");
    host.tool("sysrc", &["pf_enable=YES"]);
    let said = host.ok_with("jail-setup", &["-y"]);
    assert!(said.contains("change: pf.conf: start pf"), "{said}");
    assert!(host.ok_with("jail-setup", &["-y"]).ends_with("nothing to change\n"));
    // Those of a run that was killed before it came to start it.
    let host = nat();
    host.ok_with("jail-setup", &["-y", "-N", "nat"]);
    host.tool("sysrc", &["pf_enable=NO"]);
    host.clear_fault("pf.running");
    host.clear_fault("pf.loaded");
    let said = host.ok_with("jail-setup", &["-y"]);
    assert!(said.contains("change: rc.conf: set pf_enable to YES\nchange: pf.conf: start pf\n"), "{said}");
    // Without the module pfctl(8) reads nothing.
    let host = nat();
    host.write("/etc/pf.conf", "block in\n");
    let said = host.ok_with("jail-setup", &["-y", "-N", "nat"]);
    assert!(
        said.contains("add this line before line 1 (not checked, because pf is not loaded), and load it"),
        "{said}"
    );
    // Rules of another file.
    let host = nat();
    host.fault("pf.running");
    let said = host.ok_with("jail-setup", &["-y", "-N", "nat"]);
    assert!(
        said.contains("todo: pf.conf: pf is running with other rules; load those of /etc/pf.conf\n"),
        "{said}"
    );
    // Broken ones.
    let host = nat();
    host.fault("pf.loaded");
    host.write("/etc/pf.conf", "pass\nnonsense\n");
    let said = host.ok_with("jail-setup", &["-y", "-N", "nat"]);
    assert!(
        said.contains("todo: pf.conf: /etc/pf.conf has errors (") && said.contains(":2: syntax error"),
        "{said}"
    );
    // Another firewall.
    let host = lan(&format!("{STATIC}firewall_enable=\"YES\"\n"));
    let said = host.ok_with("jail-setup", &["-y", "-N", "nat"]);
    assert!(said.contains("todo: pf.conf: this host uses ipfw"), "{said}");
    assert_eq!(read(&host, "/etc/pf.conf"), "");
}

#[test]
fn what_would_cut_off_the_host_is_refused() {
    let by_hand = lan("");
    refuses(&by_hand, &[], "igc0: rc.conf does not set its address (ifconfig_igc0)");
    let vlans = lan(&format!("{STATIC}vlans_igc0=\"101\"\n"));
    refuses(&vlans, &[], "igc0 carries VLANs (vlans_igc0 in rc.conf)");
    let carp = lan("ifconfig_igc0=\"inet 192.168.1.5/24 vhid 3\"\n");
    refuses(&carp, &[], "igc0: ifconfig_igc0 in rc.conf: \"vhid\" cannot be moved to a bridge");
    let nowhere = Host::with_card();
    refuses(&nowhere, &[], "this host has no default route; name the network card with -u");
    refuses(&nowhere, &["-u", "em7"], "em7: no such interface");
    refuses(
        &nowhere,
        &["-u", "igc0"],
        "igc0: no network is connected to it; name the network of the jails with -a",
    );
    let old = lan(STATIC);
    old.fault_with("sysctl.conf", "kern.features.vimage=0\n");
    refuses(&old, &[], "the kernel has no VIMAGE");
    let asks = lan(STATIC);
    let output = asks.run_with("jail-setup", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(asks.strip(&output.stderr).contains("standard input is not a terminal; use -y"));
}

/// A host that is set up in one mode is not turned into the other one.
#[test]
fn the_mode_is_not_changed() {
    let why = "bridge0 is set up for ";
    // Before the boot, and after it.
    let mut bridged = lan(STATIC);
    sets_up(&mut bridged, &[], &["jail_bridge=\"bridge0\""]);
    refuses(&bridged, &["-N", "nat"], why);
    bridged.tool("ifconfig", &["igc0", "inet", "192.168.1.5", "-alias"]);
    bridged.tool("ifconfig", &["bridge0", "create", "addm", "igc0", "up"]);
    bridged.tool("ifconfig", &["bridge0", "inet", "192.168.1.5/24"]);
    refuses(&bridged, &["-N", "nat"], why);
    refuses(&bridged, &["-N", "nat", "-u", "igc0"], why);
    refuses(&bridged, &["-N", "nat", "-u", "bridge0"], why);
    let mut nat = lan(STATIC);
    sets_up(&mut nat, &["-N", "nat"], &["jail_net=\"10.7.0.0/24\""]);
    refuses(&nat, &["-N", "bridge"], why);
}

/// Nothing can be fetched for a host that runs no release.
#[test]
fn a_development_version() {
    let host = lan(STATIC);
    let change = |state: &mut thinjail::system::kernel::simulated::State| {
        state.os_release = "16.0-CURRENT".into();
        Ok(())
    };
    host.kernel().change(change).unwrap();
    let said = host.ok_with("jail-setup", &["-y"]);
    assert!(said.contains("\nthen: jail-clone -e -r RELEASE NAME && service jail start NAME\n"), "{said}");
    assert!(!read(&host, FILES[0]).contains("bsd_ver"));
}

/// An interface that leads somewhere does not become the bridge of NAT, and no variable of another bridge is
/// overwritten.
#[test]
fn interfaces_that_are_used_for_something_else() {
    let host = lan(STATIC);
    host.tool("ifconfig", &["standin-plug", "igc1"]);
    refuses(&host, &["-N", "nat", "-b", "igc1"], "igc1 is not a bridge; choose another name with -b");
    host.tool("ifconfig", &["bridge4", "create", "addm", "igc1"]);
    refuses(&host, &["-N", "nat", "-b", "bridge4"], "bridge4 has the member igc1; choose another bridge");
    let used =
        lan(&format!("{STATIC}cloned_interfaces=\"bridge7\"\nifconfig_bridge7=\"inet 10.1.0.1/24\"\n"));
    let why =
        "ifconfig_bridge7 is already set in rc.conf, to inet 10.1.0.1/24; choose another bridge with -b";
    refuses(&used, &["-N", "nat", "-b", "bridge7"], why);
    refuses(&used, &["-N", "bridge", "-b", "bridge7"], why);
    // Its own bridge, without an address yet, is used.
    let mut own = lan(STATIC);
    own.tool("ifconfig", &["bridge4", "create"]);
    sets_up(&mut own, &["-N", "nat", "-b", "bridge4"], &["jail_bridge=\"bridge4\""]);
}

/// A bridge that is there from the next boot on.
#[test]
fn jail_doctor_knows_a_bridge_of_the_next_boot() {
    let host = lan(STATIC);
    host.ok_with("jail-setup", &["-y"]);
    let output = host.run_with("jail-doctor", &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    let advice = "fix: rc.conf creates bridge0 at the next boot; jail-setup prints how to do it now";
    assert!(said.contains("[bridge-missing]") && said.contains(advice), "{said}");
}

/// Half of everything is there.
#[test]
fn a_half_prepared_host_is_completed() {
    let mut host = lan(&format!("jail_enable=\"YES\"\n{STATIC}"));
    host.pool("zdata");
    host.tool("zfs", &["create", "-p", "zdata/jails/templates"]);
    host.write("/usr/local/etc/thinjail.conf", "# mine\njail_zfs=\"zdata/jails\"\njail_ids=\"50-99\"");
    let said = sets_up(
        &mut host,
        &[],
        &["ok: rc.conf: jail_enable is YES", "zdata/jails/media", "zdata/jails/containers"],
    );
    assert!(!said.contains("    zdata/jails\n") && !said.contains("    zdata/jails/templates\n"), "{said}");
    assert!(!said.contains("set jail_ids"), "{said}");
    let conf = read(&host, "/usr/local/etc/thinjail.conf");
    assert!(conf.starts_with("# mine\njail_zfs=\"zdata/jails\"\njail_ids=\"50-99\"\nbsd_ver="), "{conf}");
    // The machine's view of it.
    let output = host.ok_with("jail-setup", &["-n", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(document["commands"], serde_json::json!([]));
    let states: Vec<&str> =
        document["findings"].as_array().unwrap().iter().map(|f| f["state"].as_str().unwrap()).collect();
    // The boot is left to the administrator.
    assert_eq!(states, ["ok", "ok", "ok", "ok", "ok", "todo"], "{document}");
}

/// From nothing to a running jail, on hosts of both kinds.
#[test]
fn from_nothing_to_a_running_jail() {
    for options in [&["-y"][..], &["-y", "-N", "nat"]] {
        let mut host = lan(STATIC);
        host.pool("zroot");
        host.ok_with("jail-setup", options);
        if options.len() == 1 {
            // What rc(8) does at the next boot.
            host.tool("ifconfig", &["igc0", "inet", "192.168.1.5", "-alias"]);
            host.tool("ifconfig", &["bridge0", "create", "addm", "igc0", "up"]);
            host.tool("ifconfig", &["bridge0", "inet", "192.168.1.5/24"]);
        }
        host.template_in("/zroot/jails", "15.1-RELEASE");
        host.tool("zfs", &["snapshot", "zroot/jails/templates/15.1-RELEASE-skeleton@base"]);
        host.begin();
        host.ok_with("jail-clone", &["-e", "web", "10"]);
        host.tool("service", &["jail", "start", "web"]);
        let shown = host.tool("jexec", &["web", "ifconfig", "epair10b"]);
        let address = if options.len() == 1 { "inet 192.168.1.10 " } else { "inet 10.7.0.10 " };
        assert!(shown.contains(address), "{shown}");
        assert_eq!(host.ok_with("jail-doctor", &[]), "");
        host.tool("service", &["jail", "stop", "web"]);
        host.ok_with("jail-destroy", &["-y", "web"]);
        host.nothing_left();
    }
}
