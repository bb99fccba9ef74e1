//! skel-fetch: archives good and bad, from a server and from a file.
#![cfg(not(target_os = "freebsd"))]

use crate::basetree;
use crate::harness::host;
use crate::harness::listing;
use crate::harness::small;

use basetree::Certificates;
use host::{Host, Storage};
use listing::{Times, listing};
use small::{VERSION, least, manifest, tar};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const TEMPLATES: &str = "/zdata/jails/templates";
const BASE: &str = "/zdata/jails/templates/14.5-RELEASE-base";
const SITE: &str = "download.freebsd.org";
const DIRECTORY: &str = "releases/amd64/amd64/14.5-RELEASE";

/// Puts an archive and its MANIFEST on the server.
fn serve(stage: &Host, archive: &[u8]) {
    stage.www(SITE, &format!("{DIRECTORY}/base.txz"), archive);
    stage.www(SITE, &format!("{DIRECTORY}/MANIFEST"), manifest(archive).as_bytes());
}

/// Puts an archive and its MANIFEST into /dist of the host.
fn put(stage: &Host, archive: &[u8]) {
    fs::create_dir_all(stage.path("/dist")).unwrap();
    fs::write(stage.path("/dist/base.txz"), archive).unwrap();
    fs::write(stage.path("/dist/MANIFEST"), manifest(archive)).unwrap();
}

fn in_templates(stage: &Host) -> Vec<String> {
    let Ok(all) = fs::read_dir(stage.path(TEMPLATES)) else { return Vec::new() };
    all.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn in_media(stage: &Host) -> Vec<String> {
    let mut all: Vec<_> = fs::read_dir(stage.path("/zdata/jails/media"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    all.sort();
    all
}

#[test]
fn a_resolver_that_no_jail_reaches() {
    let stage = Host::bare(Storage::Directory);
    serve(&stage, &tar(&least()));
    stage.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions edns0\n");
    for arguments in [&["-n", "14.5"][..], &["14.5"]] {
        let output = stage.run_with("skel-fetch", arguments);
        let told = stage.strip(&output.stderr);
        assert!(output.status.success(), "{told}");
        let expected = format!(
            "skel-fetch: warning: /etc/resolv.conf uses the name server 127.0.0.1, which no jail reaches; edit {BASE}/etc/resolv.conf before skel-split\n"
        );
        assert_eq!(told, expected);
    }
    assert!(stage.path(BASE).join("etc/resolv.conf").is_file());
}

#[test]
fn from_a_server_to_a_base() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = Host::bare(storage);
        serve(&stage, &tar(&least()));
        stage.write("/etc/resolv.conf", "nameserver 192.168.7.1\n");
        symlink("/usr/share/zoneinfo/Asia/Shanghai", stage.path("/etc/localtime")).unwrap();
        stage.write("/var/db/zoneinfo", "Asia/Shanghai\n");
        let told = stage.ok("skel-fetch 14.5");
        assert_eq!(told, "14.5-RELEASE: base unpacked; next: skel-split 14.5-RELEASE\n");
        let base = stage.path(BASE);
        assert_eq!(fs::read_to_string(base.join("bin/freebsd-version")).unwrap(), VERSION);
        assert_eq!(fs::read_to_string(base.join("etc/resolv.conf")).unwrap(), "nameserver 192.168.7.1\n");
        assert_eq!(fs::read_to_string(base.join("var/db/zoneinfo")).unwrap(), "Asia/Shanghai\n");
        let zone = fs::read_link(base.join("etc/localtime")).unwrap();
        assert_eq!(zone, Path::new("/usr/share/zoneinfo/Asia/Shanghai"));
        assert_eq!(in_media(&stage), ["14.5-RELEASE-MANIFEST", "14.5-RELEASE-base.txz"]);
        let record = match storage {
            Storage::Directory => fs::read_to_string(stage.path(&format!("{BASE}.origin"))).unwrap(),
            Storage::Zfs => {
                let names = "thinjail:release,thinjail:sha256,thinjail:fetched,origin";
                let dataset = "zdata/jails/templates/14.5-RELEASE-base";
                stage.tool("zfs", &["get", "-H", "-o", "property,value", names, dataset])
            }
        };
        let sum = manifest(&tar(&least())).split('\t').nth(1).unwrap().to_owned();
        for part in ["14.5-RELEASE", sum.as_str()] {
            assert!(record.contains(part), "{record}");
        }
        assert!(stage.path("/zdata/jails/containers").is_dir());

        let there = listing(&stage.path("/zdata"), Times::All);
        stage.forget_calls();
        assert_eq!(stage.ok("skel-fetch 14.5"), "14.5-RELEASE: the base already exists\n");
        assert_eq!(stage.ok("skel-fetch -n 14.5"), "");
        let nothing = "{\"commands\":[],\"program\":\"skel-fetch\"}\n";
        assert_eq!(stage.ok("skel-fetch -n --json 14.5"), nothing);
        assert_eq!(there, listing(&stage.path("/zdata"), Times::All));
        assert!(stage.calls().iter().all(|call| call.starts_with("zfs get")), "{:?}", stage.calls());
        stage.ok("skel-split 14.5");
        stage.ok("jail-clone web 10");
    }
}

/// A whole base of the real size, in xz, and what a jail sees before and after
/// the split: every entry.
#[test]
fn a_whole_base_before_and_after_the_split() {
    for (storage, certificates) in [
        (Storage::Directory, Certificates::Links),
        (Storage::Directory, Certificates::Files),
        (Storage::Zfs, Certificates::Links),
    ] {
        let stage = Host::bare(storage);
        let archive = stage.path("/base.txz");
        basetree::archive(&archive, certificates, "14.5-RELEASE").unwrap();
        fs::write(stage.path("/MANIFEST"), manifest(&fs::read(&archive).unwrap())).unwrap();
        stage.ok("skel-fetch -f /base.txz 14.5");
        let base = stage.path(BASE);
        let before = listing(&base, Times::Files);
        assert!(before.len() >= 6_880, "{}", before.len());
        stage.ok("skel-split 14.5");

        let skeleton = stage.path("/zdata/jails/templates/14.5-RELEASE-skeleton");
        let (below, moved) = (listing(&base, Times::Files), listing(&skeleton, Times::Files));
        let mut view = thinjail::domain::jail_view::JailRootView::new(&base).unwrap();
        view.mount(&skeleton, Path::new("/skeleton")).unwrap();
        let (mut repaired, mut checked) = (0, 0);
        for (path, line) in &before {
            let is_moved = thinjail::domain::layout::MOVED.iter().any(|m| path.starts_with(m));
            let now = if is_moved { moved.get(path) } else { below.get(path) };
            let now = now.unwrap_or_else(|| panic!("{} is lost", path.display()));
            checked += 1;
            // A file with names in both trees is one in each.
            let split = |l: &str| l.split(" = ").next().unwrap().to_owned();
            if split(line) == split(now) {
                continue;
            }
            // A link may have another text if it leads where the old one led.
            let target = |l: &str| l.split(" -> ").nth(1).map(str::to_owned);
            let (Some(old), Some(_)) = (target(line), target(now)) else {
                panic!("{}: {line} became {now}", path.display());
            };
            repaired += 1;
            let led = fs::canonicalize(skeleton.join(path)).err();
            assert!(led.is_some(), "seen from the host it leads nowhere");
            let found =
                view.look_up(Path::new("/"), path, thinjail::domain::jail_view::Symlinks::Follow).unwrap();
            let plain: std::path::PathBuf = plain(&Path::new("/").join(path).parent().unwrap().join(old));
            match found {
                thinjail::domain::jail_view::LookupResult::File(real)
                | thinjail::domain::jail_view::LookupResult::Directory(real) => {
                    assert_eq!(real, plain, "{}", path.display());
                }
                other => panic!("{}: {other:?}", path.display()),
            }
        }
        assert_eq!(checked, before.len());
        assert_eq!(repaired, if certificates == Certificates::Links { 193 } else { 1 });
    }
}

/// A path with `..` worked out.
fn plain(path: &Path) -> std::path::PathBuf {
    let mut out = std::path::PathBuf::from("/");
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(out.pop()),
            std::path::Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    out
}

#[test]
fn other_places_and_architectures() {
    let stage = Host::bare(Storage::Directory);
    let archive = tar(&least());
    let version = VERSION.replace("14.5-RELEASE", "15.0-RC1");
    let mut of_rc = least();
    of_rc[2] = (b'0', "./bin/freebsd-version", "", version.len() as u64, &version);
    let of_rc = tar(&of_rc);
    for (site, directory, archive) in [
        ("mirror.example.org", "FreeBSD/releases/arm64/aarch64/14.5-RELEASE", &archive),
        ("mirror.example.org", "FreeBSD/releases/amd64/amd64/15.0-RC1", &of_rc),
        ("old.example.org", "x/14.1-RELEASE", &archive),
    ] {
        stage.www(site, &format!("{directory}/base.txz"), archive);
        stage.www(site, &format!("{directory}/MANIFEST"), manifest(archive).as_bytes());
    }
    stage.ok("skel-fetch -a arm64 -m http://mirror.example.org/FreeBSD/ 14.5");
    stage.ok("skel-fetch -m https://mirror.example.org/FreeBSD 15.0-RC1");
    assert_eq!(
        in_media(&stage),
        [
            "14.5-RELEASE-arm64-MANIFEST",
            "14.5-RELEASE-arm64-base.txz",
            "15.0-RC1-MANIFEST",
            "15.0-RC1-base.txz"
        ]
    );
    // The directory itself, and a base of another release in it.
    let told = stage.fails("skel-fetch -m http://old.example.org/x/14.1-RELEASE 14.1");
    assert!(told.contains("contains 14.5-RELEASE, not 14.1-RELEASE"), "{told}");
    let told = stage.fails("skel-fetch 13.2");
    assert!(
        told.contains("MANIFEST from https://download.freebsd.org/releases/amd64/amd64/13.2-RELEASE"),
        "{told}"
    );
    serve(&stage, &archive);
    let told = stage.fails("skel-fetch 13.2");
    assert!(told.contains("13.2-RELEASE: not on the mirror: /usr/bin/fetch"), "{told}");
    stage.www("ftp-archive.freebsd.org", "index.html", b"");
    let told = stage.fails("skel-fetch 13.2");
    assert!(
        told.contains("13.2-RELEASE: neither on the mirror nor in the archive http://ftp-archive"),
        "{told}"
    );
    // A mirror that was chosen is not left.
    let told = stage.fails("skel-fetch -m https://download.freebsd.org 13.2");
    assert!(
        told.contains("13.2-RELEASE: the mirror does not have it") && told.contains("Not Found"),
        "{told}"
    );
}

/// What is gone from the mirror is fetched from the archive, the MANIFEST or the archive alone.
#[test]
fn old_releases_come_from_the_archive() {
    let archive = tar(&least());
    for has_manifest in [false, true] {
        let stage = Host::bare(Storage::Directory);
        stage.www("download.freebsd.org", "index.html", b"");
        let at = "pub/FreeBSD-Archive/old-releases/amd64/14.5-RELEASE";
        stage.www("ftp-archive.freebsd.org", &format!("{at}/base.txz"), &archive);
        let manifest = small::manifest(&archive);
        stage.www("ftp-archive.freebsd.org", &format!("{at}/MANIFEST"), manifest.as_bytes());
        if has_manifest {
            stage.write("/usr/local/share/freebsd/MANIFESTS/amd64-amd64-14.5-RELEASE", &manifest);
        }
        let output = stage.run("skel-fetch 14.5");
        let told = stage.strip(&output.stderr);
        assert!(output.status.success(), "{told}");
        let warning = "skel-fetch: warning: 14.5-RELEASE is past its end of life and receives no patches; \
                       fetching it from the archive, http://ftp-archive.freebsd.org/pub/";
        assert_eq!(told.matches(warning).count(), 1, "{told}");
        assert!(stage.path("/zdata/jails/templates/14.5-RELEASE-base/bin/freebsd-version").exists());
        stage.nothing_left();
    }
}

#[test]
fn the_manifest_of_the_port_is_preferred() {
    let stage = Host::bare(Storage::Directory);
    let archive = tar(&least());
    serve(&stage, &archive);
    // A server that was broken into has its own MANIFEST.
    stage.www(SITE, &format!("{DIRECTORY}/base.txz"), &tar(&least()[..3]));
    stage.www(SITE, &format!("{DIRECTORY}/MANIFEST"), manifest(&tar(&least()[..3])).as_bytes());
    let port = "/usr/local/share/freebsd/MANIFESTS/amd64-amd64-14.5-RELEASE";
    stage.write(port, &manifest(&archive));
    let told = stage.fails("skel-fetch 14.5");
    assert!(told.starts_with(&format!("skel-fetch: verifying with {port}\n")), "{told}");
    assert!(told.contains("wrong checksum") && told.contains("base.txz.bad"), "{told}");
    assert_eq!(in_media(&stage), ["14.5-RELEASE-base.txz.bad"]);
    serve(&stage, &archive);
    stage.ok("skel-fetch 14.5");
}

#[test]
fn a_download_that_breaks_goes_on() {
    let stage = Host::bare(Storage::Directory);
    let mut entries = least();
    let long = "x".repeat(20_000);
    entries.push((b'0', "./etc/long", "", 20_000, &long));
    let archive = tar(&entries);
    serve(&stage, &archive);
    // Once: the second attempt continues.
    stage.fault_with("fetch-break", "7000");
    stage.ok("skel-fetch 14.5");

    // Every time: the part stays, and the next run continues with it.
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = Host::bare(storage);
        serve(&stage, &archive);
        stage.fault_with("fetch-break-always", "7000");
        let told = stage.fails("skel-fetch 14.5");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(!told.contains("not undone"), "{told}");
        assert_eq!(in_media(&stage), ["14.5-RELEASE-MANIFEST", "14.5-RELEASE-base.txz.part"]);
        assert!(in_templates(&stage).is_empty());
        stage.clear_fault("fetch-break-always");
        stage.ok("skel-fetch 14.5");
        assert_eq!(in_media(&stage), ["14.5-RELEASE-MANIFEST", "14.5-RELEASE-base.txz"]);
    }

    // Nobody there.
    let stage = Host::bare(Storage::Directory);
    stage.fault("fetch-unreachable");
    let told = stage.fails("skel-fetch 14.5");
    assert!(told.contains("MANIFEST from https://download.freebsd.org"), "{told}");
    assert!(!stage.path("/zdata/jails").exists());
}

#[test]
fn a_wrong_checksum_is_set_aside_in_media_and_left_elsewhere() {
    let stage = Host::bare(Storage::Directory);
    let archive = tar(&least());
    serve(&stage, &archive);
    stage.www(SITE, &format!("{DIRECTORY}/base.txz"), &tar(&least()[..4]));
    let told = stage.fails("skel-fetch 14.5");
    assert!(
        told.contains("; renamed to /zdata/jails/media/14.5-RELEASE-base.txz.bad; run the command again"),
        "{told}"
    );
    assert!(told.contains("wrong checksum: SHA-256 "), "{told}");
    assert_eq!(in_media(&stage), ["14.5-RELEASE-MANIFEST", "14.5-RELEASE-base.txz.bad"]);
    assert!(in_templates(&stage).is_empty());

    let stage = Host::bare(Storage::Directory);
    put(&stage, &archive);
    fs::write(stage.path("/dist/base.txz"), tar(&least()[..4])).unwrap();
    let told = stage.fails("skel-fetch -f /dist/base.txz 14.5");
    assert!(told.contains("wrong checksum"), "{told}");
    assert!(stage.path("/dist/base.txz").is_file());
    // Judged before anything was made.
    assert!(!stage.path("/zdata/jails").exists());
}

#[test]
fn a_manifest_that_does_not_help() {
    let stage = Host::bare(Storage::Directory);
    put(&stage, &tar(&least()));
    let sum = "0".repeat(64);
    for (text, expected) in [
        (format!("src.txz\t{sum}\t1\tsrc\t\"\"\toff\n"), "MANIFEST: base.txz is not listed"),
        (String::new(), "MANIFEST: base.txz is not listed"),
        ("base.txz\n".to_owned(), "MANIFEST: line 1: fewer than three fields"),
    ] {
        stage.write("/dist/MANIFEST", &text);
        let told = stage.fails("skel-fetch -f /dist/base.txz 14.5");
        assert!(told.contains(expected), "{told}");
    }
    fs::remove_file(stage.path("/dist/MANIFEST")).unwrap();
    let told = stage.fails("skel-fetch -f /dist/base.txz 14.5");
    assert!(told.contains("no MANIFEST to verify it with, neither next to it nor"), "{told}");
    let told = stage.fails("skel-fetch -f /dist/nosuch.txz 14.5");
    assert!(told.contains("/dist/nosuch.txz: No such file"), "{told}");
    assert!(!stage.path("/zdata/jails").exists());
    stage.write("/elsewhere", &manifest(&tar(&least())));
    stage.ok("skel-fetch -M /elsewhere -f /dist/base.txz 14.5");
}

#[test]
fn bad_archives_leave_nothing() {
    let long = "x".repeat(4_000);
    for (extra, expected) in [
        (vec![(b'0', "../x", "", 1, "x")], "leads out of the tree"),
        (vec![(b'0', "./a/../../x", "", 1, "x")], "leads out of the tree"),
        (vec![(b'0', "/tmp/x", "", 1, "x")], "is not below the top of the tree"),
        (
            vec![(b'2', "./d", "/tmp", 0, ""), (b'0', "./d/x", "", 1, "x")],
            "an entry leads through the symbolic link d",
        ),
        (vec![(b'2', "./l", "../../tmp", 0, "")], "l: symbolic link to ../../tmp, outside of the tree"),
        (vec![(b'1', "./h", "/etc/passwd", 0, "")], "hard link to \"/etc/passwd\" is not below"),
        (vec![(b'1', "./h", "../../etc/passwd", 0, "")], "leads out of the tree"),
        (
            vec![(b'2', "./d", "/etc", 0, ""), (b'1', "./h", "d/passwd", 0, "")],
            "an entry leads through the symbolic link d",
        ),
        (vec![(b'3', "./dev-null", "", 0, "")], "a device, which no base holds"),
        (vec![(b'6', "./fifo", "", 0, "")], "neither file, directory nor link"),
        (vec![(b'0', "./bomb", "", 8_589_934_591, "")], "more than 4 GB"),
        (vec![(b'0', "./cut", "", 40_000, long.as_str())], "tar"),
    ] {
        for storage in [Storage::Directory, Storage::Zfs] {
            let stage = Host::bare(storage);
            let mut entries = least();
            entries.extend(extra.iter().copied());
            let mut archive = tar(&entries);
            if expected == "tar" {
                archive.truncate(archive.len() - 1024);
            }
            put(&stage, &archive);
            let told = stage.fails("skel-fetch -f /dist/base.txz 14.5");
            assert!(told.contains(expected), "{told:?}, not {expected:?}");
            assert_eq!(told.lines().count(), 1, "{told}");
            assert!(in_templates(&stage).is_empty(), "{:?}", in_templates(&stage));
            assert!(!stage.path("/tmp").exists());

            // The same from a server: then media is there, and nothing else.
            let stage = Host::bare(storage);
            serve(&stage, &archive);
            let told = stage.fails("skel-fetch 14.5");
            assert!(told.contains(expected), "{told:?}, not {expected:?}");
            assert!(in_templates(&stage).is_empty(), "{:?}", in_templates(&stage));
        }
    }
    let stage = Host::bare(Storage::Directory);
    put(&stage, b"this is no archive");
    let told = stage.fails("skel-fetch -f /dist/base.txz 14.5");
    assert!(told.contains("/usr/bin/tar -tvf /dist/base.txz: "), "{told}");
}

/// The same in xz and with whatever else an archive may hold.
#[test]
fn every_hostile_archive() {
    for kind in basetree::Hostile::ALL {
        for storage in [Storage::Directory, Storage::Zfs] {
            let stage = Host::bare(storage);
            fs::create_dir_all(stage.path("/dist")).unwrap();
            basetree::hostile(&stage.path("/dist/base.txz"), "14.5-RELEASE", *kind).unwrap();
            fs::write(
                stage.path("/dist/MANIFEST"),
                manifest(&fs::read(stage.path("/dist/base.txz")).unwrap()),
            )
            .unwrap();
            let output = stage.run("skel-fetch -f /dist/base.txz 14.5");
            let told = stage.strip(&output.stderr);
            // These hold nothing that is not below the top, and all of it.
            let odd = matches!(kind, basetree::Hostile::Newline | basetree::Hostile::NoEnd);
            if output.status.success() {
                assert!(odd, "{kind:?}: accepted");
            } else {
                assert_eq!(told.lines().count(), 1, "{kind:?}: {told}");
                assert!(in_templates(&stage).is_empty(), "{kind:?}: {:?}", in_templates(&stage));
            }
            assert!(!stage.path("/tmp").exists() && !Path::new("/tmp/escaped").exists(), "{kind:?}");
        }
    }
}

#[test]
fn what_is_there_and_no_base_is_left_alone() {
    let stage = Host::bare(Storage::Directory);
    put(&stage, &tar(&least()));
    stage.write(&format!("{BASE}/bin/sh"), "half of one");
    let told = stage.fails("skel-fetch -f /dist/base.txz 14.5");
    assert!(told.contains("already exists, but is incomplete; remove it"), "{told}");
    stage.write(&format!("{BASE}/bin/freebsd-version"), "USERLAND_VERSION=\"14.1-RELEASE-p2\"\n");
    let told = stage.fails("skel-fetch -f /dist/base.txz 14.5");
    assert!(told.contains("already exists, but contains 14.1-RELEASE-p2"), "{told}");

    let stage = Host::bare(Storage::Zfs);
    put(&stage, &tar(&least()));
    stage.tool("zfs", &["create", "zdata/jails"]);
    stage.write("/zdata/jails/templates/mine/x", "");
    let told = stage.fails("skel-fetch -f /dist/base.txz 14.5");
    assert!(told.contains("but there is no dataset zdata/jails/templates; move it away"), "{told}");
    assert!(stage.path("/zdata/jails/templates/mine/x").exists());
    // Somebody's dataset under the name that is used while unpacking.
    let stage = Host::bare(Storage::Zfs);
    put(&stage, &tar(&least()));
    stage.tool("zfs", &["create", "-p", "zdata/jails/templates/14.5-RELEASE-base.unpacking"]);
    let told = stage.fails("skel-fetch -f /dist/base.txz 14.5");
    assert!(told.contains("14.5-RELEASE-base.unpacking exists and was not left by skel-fetch"), "{told}");
}

#[test]
fn a_dry_run_changes_nothing_and_tells_all() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = Host::bare(storage);
        serve(&stage, &tar(&least()));
        let told = stage.ok("skel-fetch -n 14.5");
        assert!(!stage.path("/zdata/jails").exists());
        let root = stage.root().display().to_string();
        let url = format!("https://{SITE}/{DIRECTORY}");
        let media = format!("{root}/zdata/jails/media/14.5-RELEASE");
        for line in [
            format!("/usr/bin/fetch -q -o {media}-MANIFEST {url}/MANIFEST"),
            format!("/usr/bin/fetch -F -R -r -o {media}-base.txz.part {url}/base.txz"),
            format!("/bin/mv {media}-base.txz.part {media}-base.txz"),
        ] {
            assert!(told.lines().any(|l| l == line), "no {line:?} in {told}");
        }
        assert!(told.contains("/sbin/sha256 -c \"$(/usr/bin/awk '$1 == \"base.txz\" {print $2}' "), "{told}");
        assert!(stage.run("skel-fetch -n --json 14.5").stdout.starts_with(b"{\"commands\":["));
    }
}

#[test]
fn a_dry_run_verifies_what_is_there() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = Host::bare(storage);
        let (good, mut bad) = (tar(&least()), tar(&least()));
        *bad.last_mut().unwrap() ^= 1;
        match storage {
            Storage::Zfs => _ = stage.tool("zfs", &["create", "-p", "zdata/jails/media"]),
            Storage::Directory => fs::create_dir_all(stage.path("/zdata/jails/media")).unwrap(),
        }
        let archive = stage.path("/zdata/jails/media/14.5-RELEASE-base.txz");
        fs::write(&archive, &bad).unwrap();
        // As somebody brought it, and as one that is fetched is called.
        for named in ["/zdata/jails/media/MANIFEST", "/zdata/jails/media/14.5-RELEASE-MANIFEST"] {
            fs::write(stage.path(named), manifest(&good)).unwrap();
            let line = format!("skel-fetch -n -M {named} 14.5");
            assert!(stage.fails(&line).contains("wrong checksum"), "{line}");
            assert!(archive.exists(), "{line}: it was set aside");
        }
        fs::write(&archive, &good).unwrap();
        let named = "/zdata/jails/media/14.5-RELEASE-MANIFEST";
        stage.ok(&format!("skel-fetch -n -M {named} 14.5"));
        assert_eq!(in_templates(&stage), Vec::<String>::new());
        stage.ok(&format!("skel-fetch -M {named} 14.5"));
        assert!(stage.path(BASE).join("bin/freebsd-version").exists());
    }
}

#[test]
fn a_dry_run_without_the_manifest_can_be_pasted() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = Host::bare(storage);
        let archive = tar(&least());
        serve(&stage, &archive);
        let told = String::from_utf8(stage.run("skel-fetch -n 14.5").stdout).unwrap();
        assert!(!told.contains("unknown") && !told.contains("@SHA256@"), "{told}");
        // The line that notes the checksum, once the MANIFEST has come.
        let media = stage.path("/zdata/jails/media");
        fs::create_dir_all(&media).unwrap();
        fs::write(media.join("14.5-RELEASE-MANIFEST"), manifest(&archive)).unwrap();
        let line = told.lines().find(|l| l.contains("sha256=")).unwrap_or_else(|| panic!("{told}"));
        let line = match storage {
            Storage::Directory => line.rsplit_once(" > ").unwrap().0.to_owned(),
            Storage::Zfs => line.replacen("/sbin/zfs", "echo", 1),
        };
        let line = line.replace("/usr/bin/awk", "awk");
        let output = std::process::Command::new("/bin/sh").args(["-c", &line]).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap().replace('"', "");
        let sum = manifest(&archive).split('\t').nth(1).unwrap().to_owned();
        assert!(printed.contains(&format!("sha256={sum}")), "{line}: {printed}");
    }
}
