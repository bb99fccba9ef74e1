//! jail-clone, under directory storage and with the stand-in for zfs(8).
#![cfg(not(target_os = "freebsd"))]

use crate::harness::bin::bin;
use crate::harness::host::{Host, SETTINGS, Storage};
use crate::harness::small;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

const FSTAB: &str = "zdata/jails/pg-1-nullfs-base.fstab";
const CONF: &str = "etc/jail.conf.d/pg-1.conf";

/// What jail-clone says when there is no common jail.conf yet.
const NO_JAIL_CONF: &str = "jail-clone: /etc/jail.conf does not exist; copy it from";

fn clone_ok(host: &Host, line: &str) -> String {
    let (status, stdout, stderr) = host.said(line);
    assert_eq!(status, 0, "{line}: {stderr}");
    assert!(stderr.lines().all(|l| l.starts_with(NO_JAIL_CONF)), "{line}: {stderr}");
    stdout
}

#[test]
fn the_recipe_byte_for_byte() {
    let host = Host::hooks_with_template();
    assert_eq!(clone_ok(&host, "jail-clone pg-1 111"), "pg-1: id 111, 192.168.7.111/24\n");
    assert_eq!(
        host.read(FSTAB),
        "/zdata/jails/templates/14.5-RELEASE-base /zdata/jails/pg-1-nullfs-base/ nullfs ro 0 0\n\
         /zdata/jails/containers/pg-1 /zdata/jails/pg-1-nullfs-base/skeleton nullfs rw 0 0\n"
    );
    assert_eq!(host.read(CONF), "pg-1 {\n\t$id = \"111\";\n\t$ip = \"192.168.7.${id}/24\";\n}\n");
    for file in [FSTAB, CONF] {
        assert_eq!(fs::metadata(host.path(file)).unwrap().mode() & 0o7777, 0o644, "{file}");
    }
    assert_eq!(fs::metadata(host.path("zdata/jails/pg-1-nullfs-base")).unwrap().mode() & 0o7777, 0o755);
    let link = host.path("zdata/jails/containers/pg-1/etc/ssl/certs/0a.0");
    assert_eq!(fs::read_link(link).unwrap().to_str().unwrap(), "../../../../usr/share/certs/trusted/A.pem");
    let error = host.refuses(1, "jail-clone pg-1 112");
    assert!(error.contains("jail pg-1 is already configured (/etc/jail.conf.d/pg-1.conf)"), "{error}");
}

#[test]
fn directory_storage_copies_faithfully() {
    let host = Host::hooks_with_template();
    let skeleton = host.path("zdata/jails/templates/14.5-RELEASE-skeleton");
    fs::write(skeleton.join("etc/secret"), "s").unwrap();
    fs::set_permissions(skeleton.join("etc/secret"), fs::Permissions::from_mode(0o4600)).unwrap();
    fs::hard_link(skeleton.join("etc/secret"), skeleton.join("var/secret")).unwrap();
    fs::set_permissions(skeleton.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(skeleton.join("var/empty"), fs::Permissions::from_mode(0o555)).unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(86_400, 123_456_789);
    fs::File::options()
        .write(true)
        .open(skeleton.join("etc/rc.conf"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    clone_ok(&host, "jail-clone pg-1 111");
    let container = host.path("zdata/jails/containers/pg-1");
    assert_eq!(thinjail::system::tree::difference(&skeleton, &container).unwrap(), None);
    let (one, two) = (
        fs::metadata(container.join("etc/secret")).unwrap(),
        fs::metadata(container.join("var/secret")).unwrap(),
    );
    assert_eq!((one.ino(), one.nlink(), one.mode() & 0o7777), (two.ino(), 2, 0o4600));
    assert_eq!(fs::metadata(container.join("etc/rc.conf")).unwrap().modified().unwrap(), long_ago);
    assert_eq!(fs::metadata(container.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
}

#[test]
fn ids() {
    let host = Host::hooks_with_template();
    host.write(
        "etc/jail.conf",
        "$epair = \"epair${id}\";\nvnet.interface = \"${epair}b\";\nexec.start = \"route add default 192.168.7.101\";\n\
         path = \"/zdata/jails/${name}-nullfs-base\"; mount.fstab = \"${path}.fstab\";\n\
         one { $id = 1; $ip = \"192.168.7.${id}/24\"; }\n\
         old { $id = 900; exec.prestart = \"ifconfig epair3 create\"; exec.start += \"ifconfig epair3b 192.168.7.2/24 up\"; }\n\
         .include \"/etc/jail.conf.d/*.conf\";\n",
    );
    // 1 is an id, 2 an address, 3 a pair.
    assert_eq!(host.ok("jail-clone a"), "a: id 4, 192.168.7.4/24\n");
    assert_eq!(host.ok("jail-clone b"), "b: id 5, 192.168.7.5/24\n");
    for (id, expect) in [
        ("1", "id 1 is used by jail one (/etc/jail.conf)"),
        ("2", "address 192.168.7.2 is used by jail old (/etc/jail.conf)"),
        ("3", "pair epair3 is used by jail old (/etc/jail.conf)"),
        ("4", "id 4 is used by jail a (/etc/jail.conf.d/a.conf)"),
        ("101", "192.168.7.101 is the gateway"),
        ("255", "255 is the broadcast address"),
        ("300", "outside the network 192.168.7.0/24"),
    ] {
        let error = host.refuses(1, &format!("jail-clone c {id}"));
        assert!(error.contains(expect), "{id}: {error}");
    }
    for id in ["0", "01", "32768", "99999999999999999999", "x"] {
        host.refuses(2, &format!("jail-clone c {id}"));
    }
    let error = host.refuses(1, "jail-clone one 20");
    assert!(error.contains("jail one is already configured (/etc/jail.conf)"), "{error}");
    let error = host.refuses(1, "jail-clone -i 192.168.7.4 c");
    assert!(error.contains("is used by jail a"), "{error}");
}

#[test]
fn addresses() {
    let host = Host::hooks_with_template();
    clone_ok(&host, "jail-clone -i 192.168.7.50 a");
    assert_eq!(
        host.read("etc/jail.conf.d/a.conf"),
        "a {\n\t$id = \"50\";\n\t$ip = \"192.168.7.${id}/24\";\n}\n"
    );
    clone_ok(&host, "jail-clone -i 192.168.7.60/24 b 7");
    assert_eq!(host.read("etc/jail.conf.d/b.conf"), "b {\n\t$id = \"7\";\n\t$ip = \"192.168.7.60/24\";\n}\n");
    clone_ok(&host, "jail-clone -6 fd00:7::9/64 c 9");
    assert_eq!(
        host.read("etc/jail.conf.d/c.conf"),
        "c {\n\t$id = \"9\";\n\t$ip = \"192.168.7.${id}/24\";\n\t$ip6 = \"fd00:7::9/64\";\n}\n"
    );
    for (arguments, status, expect) in [
        ("-i 192.168.8.1", 1, "outside the network 192.168.7.0/24"),
        ("-i 192.168.7.101", 1, "192.168.7.101 is the gateway"),
        ("-i 192.168.7.255", 1, "broadcast"),
        ("-i 192.168.7.0", 1, "of the network 192.168.7.0/24 itself"),
        ("-i fd00::1", 2, "not an IPv4 address"),
        ("-6 192.168.7.9", 2, "not an IPv6 address"),
        ("-6 fd00:7::9", 1, "needs a prefix length"),
        ("-i 192.168.7.9/33", 2, "prefix length"),
        ("-i 192.168.7.50", 1, "is used by jail a"),
        ("-6 fd00:7::9/64", 1, "address fd00:7::9 is used by jail c"),
    ] {
        let error = host.refuses(status, &format!("jail-clone {arguments} d"));
        assert!(error.contains(expect), "{arguments}: {error}");
    }
    // Networks that are no /24 have the address written out.
    host.write("usr/local/etc/thinjail.conf", &SETTINGS.replace("192.168.7.0/24", "192.168.0.0/16"));
    clone_ok(&host, "jail-clone d 300");
    assert_eq!(
        host.read("etc/jail.conf.d/d.conf"),
        "d {\n\t$id = \"300\";\n\t$ip = \"192.168.1.44/16\";\n}\n"
    );
    // Both families from the settings.
    let settings = format!("{}jail_net6=\"fd00:7::/64\"\njail_gateway6=\"fd00:7::101\"\n", SETTINGS);
    host.write("usr/local/etc/thinjail.conf", &settings);
    clone_ok(&host, "jail-clone e 211");
    assert_eq!(
        host.read("etc/jail.conf.d/e.conf"),
        "e {\n\t$id = \"211\";\n\t$ip = \"192.168.7.${id}/24\";\n\t$ip6 = \"fd00:7::${id}/64\";\n}\n"
    );
}

#[test]
fn what_the_common_part_says_is_nobodys() {
    // The gateway stands in jail.conf only.
    let host = Host::hooks_with_template();
    host.write("usr/local/etc/thinjail.conf", &SETTINGS.replace("jail_gateway=", "#"));
    host.write(
        "etc/jail.conf",
        "$gateway = \"192.168.7.101\";\nexec.start = \"route add default ${gateway}\";\n\
         path = \"/zdata/jails/${name}-nullfs-base\"; mount.fstab = \"${path}.fstab\";\n\
         .include \"/etc/jail.conf.d/*.conf\";\n",
    );
    // thinjail.conf does not say which it is, so the first address is left to it.
    for n in 2..5 {
        assert_eq!(host.ok(&format!("jail-clone j{n}")), format!("j{n}: id {n}, 192.168.7.{n}/24\n"));
    }
}

#[test]
fn special_files_and_links_are_copied() {
    let host = Host::hooks_with_template();
    let skeleton = host.path("zdata/jails/templates/14.5-RELEASE-skeleton");
    let fifo = skeleton.join("var/fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    clone_ok(&host, "jail-clone pg-1 111");
    let container = host.path("zdata/jails/containers/pg-1");
    assert_eq!(thinjail::system::tree::difference(&skeleton, &container).unwrap(), None);
}

#[test]
fn the_hosts_own_addresses() {
    let host = Host::hooks_with_template();
    host.kernel()
        .change(|s| {
            let bridge = s.interfaces.iter_mut().find(|i| i.name == "igc0bridge").unwrap();
            bridge.addresses = vec!["inet 192.168.7.1/24".into(), "inet6 fd00:7::2/64".into()];
            Ok(())
        })
        .unwrap();
    let error = host.refuses(1, "jail-clone a 1");
    assert!(error.contains("192.168.7.1 belongs to this host"), "{error}");
    assert_eq!(clone_ok(&host, "jail-clone a"), "a: id 2, 192.168.7.2/24\n");
}

#[test]
fn a_template_must_be_whole() {
    let host = Host::hooks_with_template();
    let base = host.path("zdata/jails/templates/14.5-RELEASE-base");
    for (moved, text) in
        [("etc", "/nowhere"), ("etc", "skeleton/var"), ("usr/local", "skeleton/usr/local"), ("var", "")]
    {
        let text_before = fs::read_link(base.join(moved)).unwrap();
        fs::remove_file(base.join(moved)).unwrap();
        if !text.is_empty() {
            symlink(text, base.join(moved)).unwrap();
        }
        let error = host.refuses(1, "jail-clone web");
        assert!(
            error.contains(&format!("{moved} is not a symbolic link to skeleton/{moved}")),
            "{moved} -> {text}: {error}"
        );
        let _ = fs::remove_file(base.join(moved));
        symlink(text_before, base.join(moved)).unwrap();
    }
    host.refuses(1, "jail-clone -r 15.0 web");
    clone_ok(&host, "jail-clone web");
}

#[test]
fn extra_mounts() {
    let host = Host::hooks_with_template();
    fs::create_dir_all(host.path("data/w w w")).unwrap();
    let output = host
        .command("jail-clone")
        .args(["-m", "/data/w w w:/usr/local/www:ro", "pg-1", "111"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let third = "/data/w\\040w\\040w /zdata/jails/pg-1-nullfs-base/skeleton/usr/local/www nullfs ro 0 0\n";
    assert!(host.read(FSTAB).ends_with(third), "{}", host.read(FSTAB));
    let error = host.refuses(1, "jail-clone -m /nodata:/usr/local/www db");
    assert!(error.contains("nodata"), "{error}");
}

/// Mount points that the container lacks are made in it, and nothing else.
#[test]
fn missing_mount_points() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let host = small::stage(storage);
        host.ok("skel-split 14.5");
        fs::create_dir_all(host.path("data")).unwrap();
        host.write("key", "secret");
        let words = [
            ["-m", "/data:/usr/local/a/b"],
            ["-m", "/data:/usr/local/a/ä c"],
            ["-m", "/key:/root/keys/one"],
            ["-m", "/data:/var/cache/new:ro"],
        ]
        .concat();
        let clone = || host.run_with("jail-clone", &[&words[..], &["web", "111"]].concat());
        let output = clone();
        assert!(output.status.success(), "{output:?}");
        let container = host.path("zdata/jails/containers/web");
        for (made, is_directory, mode) in [
            ("usr/local/a", true, 0o755),
            ("usr/local/a/b", true, 0o755),
            ("usr/local/a/ä c", true, 0o755),
            ("root/keys", true, 0o755),
            ("root/keys/one", false, 0o644),
            ("var/cache/new", true, 0o755),
        ] {
            let metadata =
                fs::symlink_metadata(container.join(made)).unwrap_or_else(|e| panic!("{made}: {e}"));
            assert_eq!((metadata.is_dir(), metadata.mode() & 0o7777), (is_directory, mode), "{made}");
            assert!(is_directory || metadata.len() == 0);
        }
        let line = "/data /zdata/jails/web-nullfs-base/skeleton/usr/local/a/b nullfs rw 0 0\n";
        assert!(host.read("zdata/jails/web-nullfs-base.fstab").contains(line));
        host.ok("jail-mkfstab -c web");
        // A run that was killed before the last step left them; the same command completes it.
        let conf = host.path("etc/jail.conf.d/web.conf");
        let whole = host.present();
        fs::remove_file(&conf).unwrap();
        fs::remove_dir(container.join("var/cache/new")).unwrap();
        // One was made and has not got its mode yet.
        let half = container.join("usr/local/a/b");
        fs::set_permissions(&half, fs::Permissions::from_mode(0o700)).unwrap();
        let output = clone();
        assert!(output.status.success(), "{storage:?} {output:?}");
        assert_eq!(whole, host.present());
        assert_eq!(fs::metadata(&half).unwrap().mode() & 0o7777, 0o755);
        // But not if something is in them.
        fs::remove_file(&conf).unwrap();
        fs::write(container.join("root/keys/one"), "x").unwrap();
        let output = clone();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("not a pristine copy") || error.contains("was changed"), "{error}");
        // All jails share the base.
        let error = host.refuses(1, "jail-clone -m /data:/usr/libexec/none db");
        assert!(
            error.contains("/usr/libexec/none: no such directory in the base, which all jails share"),
            "{error}"
        );
        assert!(!host.path("zdata/jails/containers/db").exists());
        host.ok("jail-destroy -y web");
        assert!(!container.exists());
        host.nothing_left();
    }
}

/// A host with the programs of the base system and a template.
fn small_with_template() -> Host {
    let host = small::stage(Storage::Directory);
    host.ok("skel-split 14.5");
    host
}

/// Destroys jails and fails if anything of them is left.
fn destroy_all(host: &Host, jails: &[&str]) {
    for jail in jails {
        host.ok_with("jail-destroy", &["-y", jail]);
    }
    let left = host.present();
    let left: Vec<&String> =
        left.iter().filter(|line| jails.iter().any(|jail| line.contains(&format!("/{jail}")))).collect();
    assert!(left.is_empty(), "{left:#?}");
}

/// A bridge, gateways and a VLAN of the jail's own, where the common part has others.
#[test]
fn the_network_of_one_jail() {
    let host = small_with_template();
    let example =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/share/examples/jail.conf")).unwrap();
    host.write("etc/jail.conf", &example);
    let conf = |name: &str| host.read(&format!("etc/jail.conf.d/{name}.conf"));
    // What the common part has is not repeated.
    host.ok("jail-clone -b igc0bridge -g 192.168.7.101 same 20");
    assert_eq!(conf("same"), "same {\n\t$id = \"20\";\n\t$ip = \"192.168.7.${id}/24\";\n}\n");
    host.ok("jail-clone -b dmz -g 10.9.0.1 -i 10.9.0.7/16 --vlan 30 other 21");
    assert_eq!(
        conf("other"),
        "other {\n\t$id = \"21\";\n\t$ip = \"10.9.0.7/16\";\n\t$bridge = \"dmz\";\n\
         \t$gateway = \"10.9.0.1\";\n\t$isolation = \"--pin --vlan 30\";\n}\n"
    );
    host.ok("jail-clone -g fe80::1 -6 2001:db8::5/64 six 22");
    assert!(conf("six").contains("$gateway6 = \"fe80::1%epair22b\";"), "{}", conf("six"));
    // A link-local gateway is in every network, so the address takes the prefix length of jail_net6.
    host.write("usr/local/etc/thinjail.conf", &format!("{SETTINGS}jail_net6=\"fd00:7::/64\"\n"));
    host.ok("jail-clone -g fe80::1 -6 fd00:7::9 seven 23");
    assert!(conf("seven").contains("$ip6 = \"fd00:7::9/64\";"), "{}", conf("seven"));
    // A VLAN takes the place of that of the common part.
    let vlans = example.replace("\"--pin\"", "\"--vlan 10 --pin --vlan=11\"");
    host.write("etc/jail.conf", &vlans);
    host.ok("jail-clone --vlan 12 tagged 24");
    assert!(conf("tagged").contains("$isolation = \"--pin --vlan 12\";"), "{}", conf("tagged"));
    host.write("etc/jail.conf", &example);
    host.write("usr/local/etc/thinjail.conf", SETTINGS);
    for (words, why) in [
        ("-g 10.9.0.1 wrong 30", "gateway 10.9.0.1 is outside the jail's network 192.168.7.0/24"),
        (
            "-g 2001:db8::1 wrong 30",
            "gateway 2001:db8::1: the jail has no address of that family; add one with -i or -6",
        ),
        (
            "-g 192.168.7.1 -g 192.168.7.2 wrong 30",
            "-g: 192.168.7.1 and 192.168.7.2 are of the same address family",
        ),
        ("-i 192.168.7.30 -g 192.168.7.30 wrong 30", "address 192.168.7.30 is the gateway; choose another"),
        (
            "-g 10.9.0.2 -i 10.9.0.1/16 wrong 30",
            "address 10.9.0.1 is the gateway of jail other; choose another",
        ),
    ] {
        let error = host.refuses(1, &format!("jail-clone {words}"));
        assert!(error.contains(why), "{words}: {error}");
    }
    // Hooks that do not use the variables would not do what was asked for.
    let hooks = "exec.prestart = \"/usr/local/sbin/jail-epair-up -b igc0bridge ${name} epair${id}\";\n";
    host.write(
        "etc/jail.conf",
        &format!(
            "path = \"/zdata/jails/${{name}}-nullfs-base\"; mount.fstab = \"${{path}}.fstab\";\n{hooks}\
             .include \"/etc/jail.conf.d/*.conf\";\n"
        ),
    );
    for (words, why) in [
        ("-b dmz wrong 30", "-b: jail.conf does not set $bridge, so its hooks would not use dmz"),
        (
            "--vlan 30 wrong 30",
            "--vlan: jail.conf does not set $isolation, so its hooks would not use VLAN 30",
        ),
    ] {
        let error = host.refuses(1, &format!("jail-clone {words}"));
        assert!(error.contains(why), "{words}: {error}");
    }
    destroy_all(&host, &["same", "other", "six", "seven", "tagged"]);
}

/// The ids that jail-clone chooses by itself.
#[test]
fn ids_to_choose_from() {
    let host = small_with_template();
    host.write("usr/local/etc/thinjail.conf", &format!("{SETTINGS}jail_ids=\"200-201,250\"\n"));
    for (name, id) in [("a", 200), ("b", 201), ("c", 250)] {
        let said = host.said(&format!("jail-clone {name}")).1;
        assert_eq!(said, format!("{name}: id {id}, 192.168.7.{id}/24\n"));
    }
    let error = host.refuses(1, "jail-clone d");
    assert!(error.contains("no free id: all of jail_ids"), "{error}");
    // It is a bound for the choice, not for what is asked for.
    assert_eq!(host.said("jail-clone d 5").1, "d: id 5, 192.168.7.5/24\n");
    destroy_all(&host, &["a", "b", "c", "d"]);
}

#[test]
fn leftovers_and_strangers() {
    let host = Host::hooks_with_template();
    let skeleton = host.path("zdata/jails/templates/14.5-RELEASE-skeleton");
    let container = host.path("zdata/jails/containers/pg-1");
    // Everything but the last step, as a killed run leaves it.
    clone_ok(&host, "jail-clone pg-1 111");
    let whole = host.present();
    fs::remove_file(host.path(CONF)).unwrap();
    fs::write(host.path("etc/jail.conf.d/.pg-1.conf.thinjail"), "half").unwrap();
    clone_ok(&host, "jail-clone pg-1 111");
    assert_eq!(whole, host.present());
    // A container that was used is not taken over.
    fs::remove_file(host.path(CONF)).unwrap();
    fs::write(container.join("etc/mine"), "m").unwrap();
    let error = host.refuses(1, "jail-clone pg-1 111");
    assert!(error.contains("not a pristine copy of the skeleton"), "{error}");
    fs::remove_dir_all(&container).unwrap();
    thinjail::system::tree::copy(&skeleton, &container).unwrap();
    // A foreign fstab, a path in use.
    fs::write(host.path(FSTAB), "other\n").unwrap();
    let error = host.refuses(1, "jail-clone pg-1 111");
    assert!(error.contains("already exists with different contents"), "{error}");
    fs::remove_file(host.path(FSTAB)).unwrap();
    for what in ["link", "directory"] {
        match what {
            "link" => symlink("/etc/passwd", host.path(FSTAB)).unwrap(),
            _ => fs::create_dir(host.path(FSTAB)).unwrap(),
        }
        let error = host.refuses(1, "jail-clone pg-1 111");
        assert!(error.contains("already exists"), "{error}");
        fs::remove_dir(host.path(FSTAB)).or_else(|_| fs::remove_file(host.path(FSTAB))).unwrap();
    }
    fs::write(host.path("zdata/jails/pg-1-nullfs-base/file"), "").unwrap();
    let error = host.refuses(1, "jail-clone pg-1 111");
    assert!(error.contains("the directory is not empty"), "{error}");
    fs::remove_file(host.path("zdata/jails/pg-1-nullfs-base/file")).unwrap();
    symlink("/etc/passwd", host.path(CONF)).unwrap();
    host.refuses(1, "jail-clone pg-1 111");
    fs::remove_file(host.path(CONF)).unwrap();
    clone_ok(&host, "jail-clone pg-1 111");
    assert_eq!(whole, host.present());
}

#[test]
fn templates_and_settings() {
    let host = Host::hooks();
    let error = host.refuses(1, "jail-clone web");
    assert!(
        error.contains("no base of 14.5-RELEASE") && error.contains("run skel-fetch 14.5-RELEASE"),
        "{error}"
    );
    let host = Host::hooks_with_template();
    let error = host.refuses(1, "jail-clone -r 15.0 web");
    assert!(error.contains("no base of 15.0-RELEASE"), "{error}");
    host.refuses(2, "jail-clone -r latest web");
    for (text, expect) in [
        ("jail_zsf=1\n", "line 1: jail_zsf: unknown setting"),
        ("jail_dir=$(pwd)\n", "line 1: expansions are not supported"),
        ("a b c\n", "line 1: not an assignment"),
        ("", "neither jail_zfs nor jail_dir is set"),
        ("jail_dir=/nowhere\n", "nowhere"),
    ] {
        host.write("usr/local/etc/thinjail.conf", text);
        let error = host.refuses(1, "jail-clone web");
        assert!(error.contains(expect), "{text:?}: {error}");
    }
    host.write(
        "usr/local/etc/thinjail.conf",
        "jail_dir=/zdata/link\nbsd_ver=14.5\njail_net=192.168.7.0/24\n",
    );
    symlink("jails", host.path("zdata/link")).unwrap();
    let error = host.refuses(1, "jail-clone web");
    assert!(error.contains("contains a symbolic link; set it to /zdata/jails"), "{error}");
    host.write("usr/local/etc/thinjail.conf", SETTINGS);
    fs::remove_file(host.path("zdata/jails/templates/14.5-RELEASE-base/etc")).unwrap();
    fs::create_dir(host.path("zdata/jails/templates/14.5-RELEASE-base/etc")).unwrap();
    let error = host.refuses(1, "jail-clone web");
    assert!(error.contains("etc is not a symbolic link to skeleton/etc"), "{error}");
}

#[test]
fn broken_jail_conf_is_named() {
    let host = Host::hooks_with_template();
    host.write("etc/jail.conf", "path = \"/x\";\n.include \"/etc/jail.conf.d/*.conf\";\n");
    host.write("etc/jail.conf.d/bad.conf", "bad {\n  path = ;;\n}\n");
    let error = host.refuses(1, "jail-clone web");
    assert!(error.contains("/etc/jail.conf.d/bad.conf line 2"), "{error}");
}

#[test]
fn dry_run_changes_nothing_and_prints_all() {
    let host = Host::hooks_with_template();
    let (status, stdout, _) = host.said("jail-clone -n pg-1 111");
    assert_eq!(status, 0);
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{stdout}");
    assert!(lines[0].contains("14.5-RELEASE-skeleton@base") && lines[1].contains("tar -C"), "{stdout}");
    assert!(lines[5].starts_with("printf 'pg-1 {\\n\\t$id = \"111\";\\n"), "{stdout}");
    host.nothing_left();
    // What is printed, pasted, does the same.
    for line in &lines[1..] {
        let status = std::process::Command::new("bash").args(["-c", line]).status().unwrap();
        assert!(status.success(), "{line}");
    }
    assert_eq!(host.read(CONF), "pg-1 {\n\t$id = \"111\";\n\t$ip = \"192.168.7.${id}/24\";\n}\n");
}

#[test]
fn two_at_once_get_two_ids() {
    let host = Host::hooks_with_template();
    let children: Vec<_> = (0..8)
        .map(|n| {
            std::process::Command::new(bin("jail-clone"))
                .arg(format!("j{n}"))
                .env_clear()
                .env("THINJAIL_ROOT", host.root())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut ids: Vec<String> = children
        .into_iter()
        .map(|child| {
            let o = child.wait_with_output().unwrap();
            assert!(o.status.success(), "{o:?}");
            String::from_utf8(o.stdout).unwrap().split(' ').nth(2).unwrap().to_owned()
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 8);
}

#[test]
fn a_closed_standard_error_or_output_breaks_no_transaction() {
    for (out, err) in [("/dev/full", "/dev/null"), ("/dev/null", "/dev/full"), ("/dev/full", "/dev/full")] {
        if !std::path::Path::new("/dev/full").exists() {
            return;
        }
        let host = Host::hooks_with_template();
        let open = |path: &str| fs::File::options().write(true).open(path).unwrap();
        let status = std::process::Command::new(bin("jail-clone"))
            .args(["-v", "pg-1", "111"])
            .env_clear()
            .env("THINJAIL_ROOT", host.root())
            .stdout(open(out))
            .stderr(open(err))
            .status()
            .unwrap();
        assert!(status.success(), "{out} {err}");
        assert!(host.path(CONF).exists());
    }
}

/// A jail in another network has that network's gateway, where the common part
/// has another one; a jail of the common network has no line for it.
#[test]
fn the_gateway_of_another_network() {
    let host = Host::hooks_with_template();
    host.write("etc/jail.conf", "$gateway = \"192.168.7.101\";\n.include \"/etc/jail.conf.d/*.conf\";\n");
    host.said("jail-clone pg-1 111");
    assert!(!host.read(CONF).contains("gateway"), "{}", host.read(CONF));
    let mut command = host.command("jail-clone");
    command.args(["lab", "30"]).env("jail_net", "10.1.0.0/16").env("jail_gateway", "10.1.0.1");
    assert!(command.output().unwrap().status.success());
    assert_eq!(
        host.read("etc/jail.conf.d/lab.conf"),
        "lab {\n\t$id = \"30\";\n\t$ip = \"10.1.0.30/16\";\n\t$gateway = \"10.1.0.1\";\n}\n"
    );
}
