//! A host with a base that is as small as it can be and still has all that a
//! split or an update meets.

use crate::harness::host::{Host, Storage};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

pub const BASE: &str = "/zdata/jails/templates/14.5-RELEASE-base";
pub const SKELETON: &str = "/zdata/jails/templates/14.5-RELEASE-skeleton";

/// A host with the base of 14.5, as small as it can be and still have all that
/// a split meets.
pub fn stage(storage: Storage) -> Host {
    let stage = Host::bare(storage);
    match storage {
        Storage::Zfs => {
            stage.tool("zfs", &["create", "-p", "zdata/jails/templates/14.5-RELEASE-base"]);
            stage.tool("zfs", &["create", "zdata/jails/containers"]);
        }
        Storage::Directory => {
            fs::create_dir_all(stage.path(BASE)).unwrap();
            fs::create_dir_all(stage.path("/zdata/jails/containers")).unwrap();
        }
    }
    fill(&stage.path(BASE));
    stage.forget_calls();
    stage
}

/// The base of the second release.
pub const NEW_BASE: &str = "/zdata/jails/templates/15.0-RELEASE-base";

/// etc/ntp.conf of the first release.
pub const NTP_CONF: &str = "# ntp\nserver a\n\n# leap\nleapfile /x\n\n# last\nend\n";

/// A host with the releases 14.5 and 15.0, and the jail web on the first.
pub fn two_releases(storage: Storage) -> Host {
    let stage = self::stage(storage);
    let text = |path: &str, text: &str| fs::write(stage.path(path), text).unwrap();
    text(&format!("{BASE}/etc/ntp.conf"), NTP_CONF);
    text(&format!("{BASE}/etc/motd.template"), "Welcome\n");
    text(&format!("{BASE}/etc/old.conf"), "old\n");
    text(&format!("{BASE}/etc/group"), "wheel:*:0:root\n");
    stage.ok("skel-split 14.5");
    stage.ok("jail-clone web 10");
    match storage {
        Storage::Zfs => {
            stage.tool("zfs", &["create", "zdata/jails/templates/15.0-RELEASE-base"]);
        }
        Storage::Directory => fs::create_dir_all(stage.path(NEW_BASE)).unwrap(),
    }
    fill(&stage.path(NEW_BASE));
    text(&format!("{NEW_BASE}/bin/freebsd-version"), "#!/bin/sh\nUSERLAND_VERSION=\"15.0-RELEASE\"\n");
    text(&format!("{NEW_BASE}/etc/ntp.conf"), &NTP_CONF.replace("end\n", "end 15\n"));
    text(&format!("{NEW_BASE}/etc/motd.template"), "Welcome to 15\n");
    text(&format!("{NEW_BASE}/etc/new.conf"), "new\n");
    text(&format!("{NEW_BASE}/etc/group"), "wheel:*:0:root\n_new:*:845:\n");
    stage.ok("skel-split 15.0");
    if storage == Storage::Zfs {
        // Hidden otherwise, where directories can't be.
        stage.tool("zfs", &["set", "snapdir=visible", "zdata/jails/templates"]);
    }
    stage
}

/// The same host with a patch for 14.5 on the server, and the jail moved, which
/// was moved to 15.0 and can go back.
pub fn moved_jail(storage: Storage) -> Host {
    let stage = two_releases(storage);
    stage.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
    stage.write(
        "/etc/freebsd-update.conf",
        "KeyPrint 800651ef4b4c71c27e60786d7b487188970f4b4169cc055784e21eb71d410cc5\n\
         ServerName update.FreeBSD.org\nComponents src world kernel\n",
    );
    let version = b"#!/bin/sh\nUSERLAND_VERSION=\"14.5-RELEASE-p1\"\n";
    stage.updates("14.5-RELEASE", 1, &[("/bin/freebsd-version", version), ("/bin/sh", b"patched\n")]);
    stage.ok("jail-clone moved 20");
    stage.ok("jail-rebase -k theirs moved 15.0");
    stage.write("/zdata/jails/containers/web/etc/mine", "the jail's own\n");
    stage
}

pub fn fill(base: &Path) {
    for directory in [
        "bin",
        "etc/mtree",
        "etc/ssl/certs",
        "etc/ssl/untrusted",
        "usr/sbin",
        "usr/share/certs/trusted",
        "usr/share/certs/untrusted",
        "usr/local/etc",
        "var/db/entropy",
        "var/log",
        "var/empty",
        "root",
        "tmp",
        "dev",
    ] {
        fs::create_dir_all(base.join(directory)).unwrap();
    }
    let write = |path: &str, text: &str| fs::write(base.join(path), text).unwrap();
    write("bin/freebsd-version", "#!/bin/sh\nUSERLAND_VERSION=\"14.5-RELEASE\"\n");
    write("etc/rc.conf", "hostname=\"x\"\n");
    write("etc/master.passwd", "root:*:0:0::0:0:Charlie &:/root:/bin/sh\n");
    let dist = "/set type=dir uname=root gname=wheel mode=0755\n.\n    db\n        entropy\n        ..\n    ..\n\
                \x20   empty mode=0555 flags=schg\n    ..\n    log\n    ..\n..\n";
    write("etc/mtree/BSD.var.dist", dist);
    let dist = "/set type=dir uname=root gname=wheel mode=0755\n.\n    etc\n        mtree\n        ..\n    ..\n\
                \x20   root mode=0750\n    ..\n    tmp mode=01777\n    ..\n..\n";
    write("etc/mtree/BSD.root.dist", dist);
    write("etc/login.conf", "default:\\\n\t:path=/bin:\n");
    write("etc/services", "domain 53/udp\n");
    write("usr/sbin/rmt", "rmt");
    // As 14 has it: a script that makes links.
    write("usr/sbin/certctl", "#!/bin/sh\n");
    write("usr/share/certs/trusted/A.pem", "a certificate\n");
    write("root/.profile", "PATH=/bin\n");
    write("var/log/messages", "");
    write("var/db/locate.database", "x");
    fs::hard_link(base.join("root/.profile"), base.join(".profile")).unwrap();
    fs::hard_link(base.join("var/db/locate.database"), base.join("var/db/locate.again")).unwrap();
    symlink("../usr/sbin/rmt", base.join("etc/rmt")).unwrap();
    symlink("../../../usr/share/certs/trusted/A.pem", base.join("etc/ssl/certs/0a.0")).unwrap();
    symlink("../var/run/os-release", base.join("etc/os-release")).unwrap();
    symlink("/usr/share/misc/termcap", base.join("etc/termcap")).unwrap();
    for (path, mode) in [
        ("tmp", 0o1777),
        ("root", 0o750),
        ("var/empty", 0o555),
        ("etc/master.passwd", 0o600),
        ("var/db/entropy", 0o700),
    ] {
        fs::set_permissions(base.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    // Times that a copy made now would not have.
    for path in ["etc/rc.conf", "var/log/messages", "var/db", "var", "tmp", "root", "etc"] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_700_000_000, 123_456_789);
        let times = fs::FileTimes::new().set_modified(time);
        fs::File::open(base.join(path)).unwrap().set_times(times).unwrap();
    }
}

/// An entry of an archive: type flag of ustar, name, target, declared size, data.
pub type Entry<'a> = (u8, &'a str, &'a str, u64, &'a str);

/// A tar archive. Compression is tar(1)'s own affair: it finds out.
pub fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (kind, name, target, size, data) in entries {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, if *kind == b'5' { "0000755" } else { "0000644" });
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{size:011o}"));
        put(136, "14701000000");
        put(148, "        ");
        put(156, std::str::from_utf8(&[*kind]).unwrap());
        put(157, target);
        put(257, "ustar\x0000");
        put(265, "root");
        put(297, "wheel");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend(header);
        archive.extend(data.as_bytes());
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

pub const VERSION: &str = "USERLAND_VERSION=\"14.5-RELEASE\"\n";

/// The least that passes for a base.
pub fn least<'a>() -> Vec<Entry<'a>> {
    vec![
        (b'5', "./", "", 0, ""),
        (b'5', "./bin/", "", 0, ""),
        (b'0', "./bin/freebsd-version", "", VERSION.len() as u64, VERSION),
        (b'5', "./etc/", "", 0, ""),
        (b'5', "./var/", "", 0, ""),
        (b'5', "./var/db/", "", 0, ""),
        (b'5', "./usr/", "", 0, ""),
        (b'2', "./etc/termcap", "/usr/share/misc/termcap", 0, ""),
    ]
}

pub fn manifest(archive: &[u8]) -> String {
    let sum: String = Sha256::digest(archive).iter().map(|b| format!("{b:02x}")).collect();
    format!("base.txz\t{sum}\t7\tbase\t\"Base system (MANDATORY)\"\ton\n")
}

/// An archive of such a base.
pub fn archive() -> Vec<u8> {
    tar(&least())
}
