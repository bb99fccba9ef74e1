//! jail-clone --from: a copy of a jail, under both storages.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::host::{Host, Storage};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const BOTH: [Storage; 2] = [Storage::Directory, Storage::Zfs];
const SNAPSHOT: &str = "zdata/jails/templates/14.5-RELEASE-skeleton@base";

/// A host with the jail web, in which something was done, and a directory to share.
fn with_web(storage: Storage) -> Host {
    let mut host = Host::on(storage);
    host.write("/data/www/index.html", "hello\n");
    host.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
    host.begin();
    host.ok("jail-clone -m /data/www:/mnt web 10");
    for (file, text) in [
        ("etc/mine", "mine\n"),
        ("etc/ssh/ssh_host_ed25519_key", "secret\n"),
        ("etc/ssh/ssh_host_ed25519_key.pub", "public\n"),
        ("etc/ssh/sshd_config", "config\n"),
        ("etc/hostid", "1234\n"),
        ("var/db/dhclient.leases.epair10b", "lease\n"),
        ("var/spool/clientmqueue/qf1", "mail\n"),
    ] {
        host.write(&format!("/zdata/jails/containers/web/{file}"), text);
    }
    host
}

fn reads(host: &Host, path: &str) -> Option<String> {
    fs::read_to_string(host.path(path)).ok()
}

/// The files of a copy: its own, and none that identify the source.
#[test]
fn a_copy_is_another_host() {
    for storage in BOTH {
        let host = with_web(storage);
        let (status, stdout, stderr) = host.said("jail-clone --from web web2");
        assert_eq!((status, stdout.as_str()), (0, "web2: id 1, 192.168.7.1/24, a copy of web\n"), "{stderr}");
        assert_eq!(stderr, "jail-clone: warning: /data/www is mounted read-write in both jails, on /mnt\n");
        let of_copy = |file: &str| reads(&host, &format!("/zdata/jails/containers/web2/{file}"));
        assert_eq!(of_copy("etc/mine").as_deref(), Some("mine\n"));
        assert_eq!(of_copy("etc/ssh/sshd_config").as_deref(), Some("config\n"));
        for file in [
            "etc/ssh/ssh_host_ed25519_key",
            "etc/ssh/ssh_host_ed25519_key.pub",
            "etc/hostid",
            "var/db/dhclient.leases.epair10b",
            "var/spool/clientmqueue/qf1",
        ] {
            assert_eq!(of_copy(file), None, "{file}");
            assert!(reads(&host, &format!("/zdata/jails/containers/web/{file}")).is_some(), "{file}");
        }
        let fstab = reads(&host, "/zdata/jails/web2-nullfs-base.fstab").unwrap();
        assert!(fstab.contains("/data/www /zdata/jails/web2-nullfs-base/mnt nullfs rw 0 0\n"), "{fstab}");
        host.ok("jail-doctor");
        if storage == Storage::Zfs {
            let of = |name: &str, property: &str| {
                host.tool("zfs", &["get", "-H", "-o", "value", property, name]).trim().to_owned()
            };
            assert_eq!(of("zdata/jails/containers/web2", "origin"), SNAPSHOT);
            assert_eq!(of("zdata/jails/containers/web2", "thinjail:jail"), "web2");
            let snapshots = host.tool("zfs", &["list", "-H", "-o", "name", "-t", "snapshot"]);
            assert_eq!(snapshots, format!("{SNAPSHOT}\n"));
        }
        // The source can go, and the copy is a jail like any other.
        host.ok("jail-destroy -y web");
        host.tool("jail", &["-c", "-f", "/etc/jail.conf", "web2"]);
        host.tool("jail", &["-r", "-f", "/etc/jail.conf", "web2"]);
        host.ok("jail-destroy -y web2");
        host.nothing_left();
    }
}

#[test]
fn the_identity_is_kept_when_asked_for() {
    for storage in BOTH {
        let host = with_web(storage);
        host.said("jail-clone --from web --keep-identity web2");
        let key = reads(&host, "/zdata/jails/containers/web2/etc/ssh/ssh_host_ed25519_key");
        assert_eq!(key.as_deref(), Some("secret\n"));
    }
}

/// What the administrator added to the block comes along, unless it is about the
/// source itself.
#[test]
fn the_block_is_copied() {
    let host = Host::on(Storage::Directory);
    host.ok("jail-clone web 10");
    let block = "web {\n\t$id = \"10\";\n\t$ip = \"192.168.7.${id}/24\";\n\tallow.mlock;\n\
                 \tsysvshm = new; # for the database\n\thost.hostname = \"web.example.org\";\n\
                 \texec.poststart = \"/root/log ${name}\";\n\texec.prestart += \"/sbin/ifconfig epair10a mtu 1400\";\n\
                 \t$gateway = \"192.168.7.9\";\n}\n";
    host.write("/etc/jail.conf.d/web.conf", block);
    let (status, _, stderr) = host.said("jail-clone --from web db 11");
    assert_eq!(status, 0, "{stderr}");
    assert_eq!(
        host.read("etc/jail.conf.d/db.conf"),
        "db {\n\t$id = \"11\";\n\t$ip = \"192.168.7.${id}/24\";\n\t$gateway = \"192.168.7.9\";\n\tallow.mlock;\n\
         \tsysvshm = new;\n\texec.poststart = \"/root/log ${name}\";\n}\n"
    );
    assert_eq!(
        stderr,
        "jail-clone: warning: this statement of jail web is not copied, because web is in it: \
         host.hostname = \"web.example.org\"\n\
         jail-clone: warning: this statement of jail web is not copied, because epair10a is in it: \
         exec.prestart += \"/sbin/ifconfig epair10a mtu 1400\"\n"
    );
    // A jail that gets its address has a copy that gets one as well.
    host.fault_with("devfs.rules", "50 include 5\n50 path 'bpf*' unhide\n");
    host.ok("jail-clone --dhcp --slaac auto 12");
    host.ok("jail-clone --from auto auto2 13");
    let of = |jail: &str| host.read(&format!("etc/jail.conf.d/{jail}.conf"));
    assert_eq!(of("auto2"), of("auto").replace("auto {", "auto2 {").replace("\"12\"", "\"13\""));
}

#[test]
fn a_running_jail() {
    for storage in BOTH {
        let host = with_web(storage);
        host.tool("jail", &["-c", "-f", "/etc/jail.conf", "web"]);
        match storage {
            Storage::Zfs => {
                assert_eq!(host.said("jail-clone --from web web2").0, 0);
            }
            Storage::Directory => {
                let error = host.refuses(1, "jail-clone --from web web2");
                assert!(
                    error.contains("web is running, and without ZFS a copy would not be consistent"),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn what_cannot_be_copied() {
    let host = with_web(Storage::Zfs);
    let refuses = |line: &str, expected: &str| {
        let error = host.refuses(1, line);
        assert!(error.contains(expected), "{line}: {error}");
    };
    refuses("jail-clone --from nojail web2", "jail nojail does not exist: no configuration");
    refuses("jail-clone --from web web", "jail web is already configured");
    host.tool("zfs", &["create", "zdata/jails/containers/web/data"]);
    refuses("jail-clone --from web web2", "dataset zdata/jails/containers/web/data is below the container");
    host.tool("zfs", &["destroy", "zdata/jails/containers/web/data"]);
    // A dataset of that name that is no unfinished copy.
    host.tool("zfs", &["clone", "-o", "thinjail:jail=web2", SNAPSHOT, "zdata/jails/containers/web2"]);
    refuses("jail-clone --from web web2", "dataset zdata/jails/containers/web2 already exists");
    host.refuses(2, "jail-clone --from web -r 14.5 web2");
    host.refuses(2, "jail-clone --keep-identity web2");
}

/// A mount from the source's own files would tie the copy to it.
#[test]
fn mounts_of_the_source_itself() {
    let host = with_web(Storage::Directory);
    let line = "/zdata/jails/containers/web/var/www /zdata/jails/web-nullfs-base/media nullfs ro 0 0\n";
    let fstab = "/zdata/jails/web-nullfs-base.fstab";
    host.write(fstab, &format!("{}{line}", host.read(fstab)));
    let (status, _, stderr) = host.said("jail-clone --from web web2");
    assert_eq!(status, 0, "{stderr}");
    assert!(stderr.contains("warning: the mount on /media is not copied: its source"), "{stderr}");
    assert!(!host.read("zdata/jails/web2-nullfs-base.fstab").contains("/media"));
}

/// Links that root in the source made lead the copy nowhere.
#[test]
fn links_of_the_source_are_not_followed() {
    for storage in BOTH {
        let host = with_web(storage);
        host.write("/outside/ssh_host_rsa_key", "the host's own\n");
        let web = host.path("/zdata/jails/containers/web");
        fs::create_dir_all(web.join("usr/local/etc")).unwrap();
        symlink(host.path("/outside"), web.join("usr/local/etc/ssh")).unwrap();
        assert_eq!(host.said("jail-clone --from web web2").0, 0);
        assert_eq!(reads(&host, "/outside/ssh_host_rsa_key").as_deref(), Some("the host's own\n"));
        let link = host.path("/zdata/jails/containers/web2/usr/local/etc/ssh");
        assert_eq!(fs::read_link(link).unwrap(), Path::new(&host.path("/outside")));
    }
}
