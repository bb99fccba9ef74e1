//! The stand-ins that get, unpack and update a base. Part of `tests/suite/transcripts.rs`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::basetree::{self, Certificates, Hostile};
use crate::harness::host::{Host, Storage};

const RELEASE: &str = "14.5-RELEASE";
const BASE: &str = "/zdata/jails/templates/14.5-RELEASE-base";
const SKELETON: &str = "/zdata/jails/templates/14.5-RELEASE-skeleton";
/// What a configuration needs so that the links of a split base stay.
const CONFIGURATION: &str = "KeyPrint 0\nServerName update.FreeBSD.org\nComponents world\nBackupKernel no\n\
                             IgnorePaths /etc[|] /var[|] /root[|] /tmp[|] /home[|] /usr/local[|]\n\
                             UpdateIfUnmodified /etc/ /var/ /root/\n";

/// Standard output and standard error of a call, with its status.
fn said(stage: &Host, program: &str, args: &[&str]) -> (String, String, Option<i32>) {
    let output = stage.run_tool(program, args);
    (stage.strip(&output.stdout), stage.strip(&output.stderr), output.status.code())
}

/// A host with a split base of 14.5 and its skeleton mounted in it.
fn split(certificates: Certificates) -> Host {
    let stage = Host::bare(Storage::Directory);
    basetree::split(&stage.path(BASE), &stage.path(SKELETON), certificates).expect("make a base");
    for path in ["bin/freebsd-version", "usr/sbin/certctl"] {
        put(&stage.path(BASE).join(path), &basetree::content(path, RELEASE), 0o555);
    }
    for path in ["etc/master.passwd", "etc/login.conf", "etc/services"] {
        put(&stage.path(SKELETON).join(path), &basetree::content(path, RELEASE), 0o644);
    }
    stage.tool("mount", &["-t", "nullfs", SKELETON, &format!("{BASE}/skeleton")]);
    stage.write("/conf", CONFIGURATION);
    stage
}

fn put(path: &Path, content: &[u8], mode: u32) {
    let _ = fs::remove_file(path);
    fs::write(path, content).expect("write a file");
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("change a mode");
}

/// The arguments of freebsd-update for the base.
fn update<'a>(version: &'a str, command: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["--not-running-from-cron", "--currently-running", version, "-f", "/conf", "-b", BASE];
    args.extend(command);
    args
}

#[test]
fn an_archive_comes_out_as_it_went_in() {
    let stage = Host::bare(Storage::Directory);
    for (certificates, release) in [(Certificates::Links, RELEASE), (Certificates::Files, "15.0-RELEASE")] {
        let (file, place) = (stage.path("/base.txz"), format!("/{release}"));
        basetree::archive(&file, certificates, release).expect("make an archive");
        let line = basetree::manifest(&file);
        let fields: Vec<&str> = line.trim_end().split('\t').collect();
        assert_eq!((fields[0], fields[3], fields[5]), ("base.txz", "base", "on"));
        let listed = stage.tool("tar", &["-tvf", "/base.txz"]);
        assert_eq!(fields[2], listed.lines().count().to_string());
        fs::create_dir(stage.path(&place)).expect("make a directory");
        let (out, err, status) = said(&stage, "tar", &["-xvpf", "/base.txz", "-C", &place]);
        assert_eq!((out.as_str(), status), ("", Some(0)));
        assert!(err.lines().count().to_string() == fields[2] && err.starts_with("x ./\nx ./"));
        let meta = |path: &str| fs::symlink_metadata(stage.path(&place).join(path)).expect(path);
        assert_eq!(meta("tmp").mode() & 0o7777, 0o1777);
        assert_eq!(meta("usr/bin/su").mode() & 0o7777, 0o4555);
        assert_eq!(meta("root").mode() & 0o7777, 0o750);
        assert_eq!(meta("bin/[").ino(), meta("bin/test").ino());
        assert_ne!(meta("bin/[").mtime(), meta("bin/cat").mtime());
        if rustix::process::geteuid().is_root() {
            assert_eq!((meta("var/audit/dist").uid(), meta("var/audit/dist").gid()), (78, 77));
        }
        let is_link = certificates == Certificates::Links;
        assert_eq!(meta("etc/ssl/certs/002c0b4f.0").is_symlink(), is_link);
        assert_eq!(meta("root/.profile").nlink(), if is_link { 2 } else { 1 });
        let version = fs::read_to_string(stage.path(&place).join("bin/freebsd-version")).expect("read");
        assert!(version.contains(&format!("USERLAND_VERSION=\"{release}\"\n")));
    }
}

#[test]
fn a_listing_is_that_of_bsdtar() {
    let stage = Host::new();
    let mut tar = basetree::Tar::default();
    let old = basetree::Meta { time: 1_000_000_000, ..basetree::Meta::new(0o4555) };
    tar.directory("./", basetree::Meta::new(0o1777));
    tar.file("./a b\\c\nd\u{e9}", b"12345", old);
    tar.hard_link("./h", "./a", basetree::Meta { user: ("auditdistd", 78), group: ("", 77), ..old });
    tar.link("./l", "../x", basetree::Meta::new(0o755));
    tar.device("./n", 13, 2, basetree::Meta { user: ("", 78), ..basetree::Meta::new(0o600) });
    tar.finish_plain(&stage.path("/a.tar")).expect("make an archive");
    let year = "Nov  7  2024";
    assert_eq!(
        stage.tool("tar", &["-tvf", "/a.tar"]),
        format!(
            "drwxrwxrwt  0 root   wheel       0 {year} ./\n\
             -r-sr-xr-x  0 root   wheel       5 Sep  9  2001 ./a b\\\\c\\nd\\303\\251\n\
             hr-sr-xr-x  0 auditdistd 77          0 Sep  9  2001 ./h link to ./a\n\
             lrwxr-xr-x  0 root       wheel       0 {year} ./l -> ../x\n\
             crw-------  0 78         wheel    13,2 {year} ./n\n"
        )
    );
}

#[test]
fn hostile_archives_do_no_harm() {
    for what in Hostile::ALL {
        let stage = Host::new();
        basetree::hostile(&stage.path("/base.txz"), RELEASE, *what).expect("make an archive");
        fs::create_dir_all(stage.path("/a/b")).expect("make a directory");
        let (listed, complaint, status) = said(&stage, "tar", &["-tvf", "/base.txz"]);
        let delayed = "tar: Error exit delayed from previous errors.\n";
        let broken =
            matches!(what, Hostile::Truncated | Hostile::NoEnd | Hostile::Oversized | Hostile::Noise);
        assert_eq!(status, Some(i32::from(broken)), "{what:?}: {listed}{complaint}");
        let (_, complaint, status) = said(&stage, "tar", &["-xpf", "/base.txz", "-C", "/a/b"]);
        let wanted = match what {
            Hostile::Above => "../escaped: Path contains '..': Unknown error: -1\n",
            Hostile::Absolute | Hostile::HardLinkAbsolute => "tar: Removing leading '/' from member names\n",
            Hostile::ThroughLink | Hostile::ThroughRelativeLink => {
                "./trap/escaped: Cannot extract through symlink trap/escaped: No error: 0\n"
            }
            Hostile::HardLinkAbove => "./stolen: Path contains '..': Unknown error: -1\n",
            Hostile::HardLinkThroughLink => {
                "./stolen: Cannot extract through symlink trap/passwd: No error: 0\n"
            }
            Hostile::Noise => "tar: Error opening archive: Unrecognized archive format\n",
            // What comes last is not handed on, even if only the end mark is missing.
            Hostile::NoEnd | Hostile::Truncated => {
                "./boot/kernel: Truncated tar archive detected while reading data: Unknown error: -1\n"
            }
            Hostile::Oversized => {
                "./var/huge: Truncated tar archive detected while reading data: Unknown error: -1\n"
            }
            Hostile::Device if status != Some(0) => {
                assert!(complaint.starts_with("./dev/mem: Can't create 'dev/mem': "), "{complaint}");
                continue;
            }
            _ => "",
        };
        let bad = status != Some(0);
        let wanted =
            if bad && *what != Hostile::Noise { format!("{wanted}{delayed}") } else { wanted.into() };
        assert_eq!(complaint, wanted, "{what:?}");
        assert!(!stage.path("/a/escaped").exists() && !stage.path("/a/x").exists(), "{what:?}");
        assert!(!Path::new("/tmp/escaped").exists(), "{what:?}");
    }
}

#[test]
fn a_broken_transfer_is_taken_up_again() {
    let stage = Host::new();
    stage.www("download.freebsd.org", "/r/base.txz", &[7; 5000]);
    let url = "https://download.freebsd.org/r/base.txz";
    let args = ["-q", "-R", "-r", "-o", "/base.txz", url];
    assert_eq!(stage.tool("fetch", &["-s", url]), "5000\n");
    stage.fault_with("fetch-break", "1234");
    let broken = "fetch: /base.txz appears to be truncated: 1234/5000 bytes\n";
    assert_eq!(stage.tool_fails("fetch", &args), broken);
    stage.fault_with("fetch-break-always", "3000");
    assert_eq!(stage.tool_fails("fetch", &args), broken.replace("1234", "4234"));
    stage.clear_fault("fetch-break-always");
    stage.tool("fetch", &args);
    assert_eq!(fs::read(stage.path("/base.txz")).expect("read"), [7; 5000]);
    // Nothing to do, and then something else on the server.
    stage.tool("fetch", &args);
    stage.www("download.freebsd.org", "/r/base.txz", &[8; 4000]);
    let longer = format!("fetch: {url}: Protocol error\n");
    assert_eq!(stage.tool_fails("fetch", &args), longer);
    stage.tool("fetch", &["-q", "-o", "/base.txz", url]);
    assert_eq!(fs::read(stage.path("/base.txz")).expect("read"), [8; 4000]);
    // A partial file that fetch did not leave itself has a time of its own.
    fs::write(stage.path("/base.txz"), [8; 100]).expect("write");
    let time = "fetch: /base.txz: local modification time does not match remote\n";
    assert_eq!(stage.tool_fails("fetch", &args), time);
    stage.tool("fetch", &["-q", "-F", "-R", "-r", "-o", "/base.txz", url]);
    assert_eq!(fs::read(stage.path("/base.txz")).expect("read"), [8; 4000]);
    assert_eq!(stage.tool_fails("fetch", &["-s", "https://nowhere/x"]), "fetch: Host does not resolve\n");
    let missing = format!("{url}x");
    assert_eq!(
        stage.tool_fails("fetch", &["-q", "-o", "/x", &missing]),
        format!("fetch: {missing}: Not Found\n")
    );
    stage.fault("fetch-no-ranges");
    fs::remove_file(stage.path("/base.txz")).expect("remove");
    stage.fault_with("fetch-break", "10");
    stage.tool_fails("fetch", &args);
    stage.tool("fetch", &args);
    assert_eq!(fs::read(stage.path("/base.txz")).expect("read"), [8; 4000]);
}

#[test]
fn an_update_goes_through_the_mounted_skeleton() {
    let stage = split(Certificates::Files);
    let services = fs::read(stage.path(SKELETON).join("etc/services")).expect("read");
    let updates = stage.updates(
        RELEASE,
        1,
        &[("usr/bin/true", b"true p1\n"), ("etc/services", b"x\t1/tcp\n"), ("etc/motd.template", b"p1\n")],
    );
    put(&stage.path(SKELETON).join("etc/motd.template"), b"mine\n", 0o644);
    fs::create_dir_all(updates.join("old/etc")).expect("make a directory");
    fs::write(updates.join("old/etc/motd.template"), "stock\n").expect("write");
    fs::write(updates.join("old/etc/services"), services).expect("write");
    fs::write(updates.join("remove"), "usr/bin/false\n").expect("write");
    let fetch = |version| said(&stage, "freebsd-update", &update(version, &["-F", "fetch"]));
    let (out, err, status) = fetch(RELEASE);
    assert_eq!((err.as_str(), status), ("", Some(0)), "{out}");
    assert!(out.ends_with(
        "locally:\n/etc/motd.template\n\
         The following files will be removed as part of updating to\n14.5-RELEASE-p1:\n/usr/bin/false\n\
         The following files will be updated as part of updating to\n14.5-RELEASE-p1:\n\
         /bin/freebsd-version\n/etc/services\n/usr/bin/true\n"
    ));
    // In the middle, and then the rest.
    stage.fault_with("update-break", "2");
    let (out, _, status) = said(&stage, "freebsd-update", &update(RELEASE, &["install"]));
    assert_eq!((out.as_str(), status), ("Installing updates...", Some(1)));
    assert_eq!(stage.tool("freebsd-update", &update(RELEASE, &["install"])), "Installing updates... done.\n");
    assert!(!stage.path(BASE).join("usr/bin/false").exists());
    let in_skeleton = |path: &str| fs::read_to_string(stage.path(SKELETON).join(path)).expect(path);
    assert_eq!(
        (in_skeleton("etc/services").as_str(), in_skeleton("etc/motd.template").as_str()),
        ("x\t1/tcp\n", "mine\n")
    );
    assert!(in_skeleton("etc/spwd.db").starts_with("spwd.db of\nroot:"));
    assert!(in_skeleton("etc/ssl/cert.pem").contains("GlobalSign_Root_R46"));
    let version = fs::read_to_string(stage.path(BASE).join("bin/freebsd-version")).expect("read");
    assert!(version.contains("\"14.5-RELEASE-p1\""));
    let (out, _, status) = fetch("14.5-RELEASE-p1");
    assert!(out.ends_with("\nNo updates needed to update system to 14.5-RELEASE-p1.\n"), "{out}");
    assert_eq!(status, Some(0));
    let (out, _, status) = said(&stage, "freebsd-update", &update(RELEASE, &["install"]));
    assert!(out.starts_with("No updates are available to install.\n"));
    assert_eq!(status, Some(2));
    // The end of the release's life is a failure after everything is there.
    stage.updates(RELEASE, 2, &[]);
    fs::write(updates.join("eol"), "").expect("write");
    let (out, _, status) = fetch("14.5-RELEASE-p1");
    assert!(out.ends_with("after Tue Nov 14 22:13:20 UTC 2023\nwill not have been corrected.\n"), "{out}");
    assert_eq!(status, Some(1));
    stage.tool("freebsd-update", &update("14.5-RELEASE-p1", &["install"]));
    stage.fault("update-unreachable");
    let (out, _, status) = fetch("14.5-RELEASE-p2");
    assert!(out.contains("update.FreeBSD.org... failed.\nNo mirrors remaining, giving up.\n"));
    assert_eq!(status, Some(1));
}

#[test]
fn the_stock_configuration_removes_the_links() {
    let stage = split(Certificates::Files);
    stage.updates(RELEASE, 1, &[]);
    stage.write(
        "/conf",
        "KeyPrint 0\nServerName update.FreeBSD.org\nComponents src world kernel\nIgnorePaths\n",
    );
    stage.tool("freebsd-update", &update(RELEASE, &["fetch"]));
    let (_, err, status) = said(&stage, "freebsd-update", &update(RELEASE, &["install"]));
    assert_eq!(status, Some(0));
    assert!(err.contains("pwd_mkdb: ") && err.contains("cap_mkdb: file argument: "), "{err}");
    let base = stage.path(BASE);
    for gone in ["root", "tmp", "var", "usr/local"] {
        assert!(fs::symlink_metadata(base.join(gone)).is_err(), "{gone}");
    }
    assert!(base.join("home").is_symlink() && base.join("etc/ssl/certs").is_dir());
    assert!(!base.join("etc").is_symlink());
}

#[test]
fn each_certctl_writes_its_own_sort_of_certificates() {
    let stage = split(Certificates::Links);
    let link = stage.path(SKELETON).join("etc/ssl/certs/002c0b4f.0");
    let script = format!("{BASE}/usr/sbin/certctl");
    let out = stage.tool("sh", &[&script, "-D", BASE, "rehash"]);
    assert!(out.starts_with(&format!("Scanning {BASE}/usr/share/certs/untrusted for certificates...\n")));
    let text = fs::read_link(&link).expect("read a link");
    assert_eq!(text.as_os_str(), "../../../../usr/share/certs/trusted/GlobalSign_Root_R46.pem");
    stage.tool("certctl", &["-D", BASE, "rehash"]);
    assert_eq!(fs::symlink_metadata(&link).expect("look").mode() & 0o7777, 0o444);
    assert_eq!(fs::read_dir(link.parent().expect("parent")).expect("list").count(), 150);
    stage.tool("umount", &[&format!("{BASE}/skeleton")]);
    assert_eq!(
        stage.tool_fails("certctl", &["-D", BASE, "rehash"]),
        format!("certctl: mkdir {BASE}/etc: File exists\n")
    );
    assert_eq!(stage.tool("sh", &["-c", "echo other"]), "other\n");
    assert_eq!(stage.run_tool("sh", &[&stage.path("/conf").display().to_string()]).status.code(), Some(70));
}

#[test]
fn a_base_from_packages_is_upgraded_by_pkg() {
    let stage = split(Certificates::Files);
    let upgrade = ["-r", BASE, "-o", "IGNORE_OSVERSION=yes", "upgrade", "-y", "-r", "FreeBSD-base"];
    assert!(!stage.tools().join("pkg").exists());
    stage.packages();
    stage.updates(RELEASE, 3, &[("etc/services", b"p3\n")]);
    assert_eq!(said(&stage, "freebsd-update", &update(RELEASE, &["fetch"])).2, Some(1));
    stage.tool("pkg", &["-N", "-r", BASE]);
    assert_eq!(stage.tool("pkg", &["-r", BASE, "which", "-q", "/usr/bin/uname"]), "FreeBSD-runtime-15.0\n");
    stage.tool("pkg", &["-r", BASE, "-o", "IGNORE_OSVERSION=yes", "update", "-f", "-r", "FreeBSD-base"]);
    assert!(stage.tool("pkg", &upgrade).contains("Number of packages to be upgraded: 1\n"));
    assert_eq!(fs::read_to_string(stage.path(SKELETON).join("etc/services")).expect("read"), "p3\n");
    assert!(stage.tool("pkg", &upgrade).ends_with("Your packages are up to date.\n"));
}

#[test]
fn a_snapshot_carries_file_flags() {
    let stage = Host::new();
    stage.pool("zdata");
    stage.tool("zfs", &["create", "zdata/a"]);
    basetree::small(RELEASE).finish(&stage.path("/base.txz")).expect("make an archive");
    stage.tool("tar", &["-xpf", "/base.txz", "-C", "/zdata/a"]);
    symlink("x", stage.path("/zdata/a/link")).expect("make a link");
    stage.tool("zfs", &["snapshot", "zdata/a@s"]);
    stage.tool("zfs", &["clone", "zdata/a@s", "zdata/b"]);
    let flags = |path: &str| {
        let mut value = [0; 16];
        let read = rustix::fs::lgetxattr(stage.path(path), "user.freebsd.flags", &mut value[..]);
        read.map(|length| String::from_utf8_lossy(&value[..length]).into_owned()).ok()
    };
    for path in ["var/empty", "lib/libc.so.7", "bin/sh"] {
        assert_eq!(flags(&format!("/zdata/a/{path}")), flags(&format!("/zdata/b/{path}")), "{path}");
    }
}
