//! jail-export and jail-import: from one host to another, under both storages.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::bin::bin;
use crate::harness::host::{Host, Storage};
use crate::harness::hostile::{Sentinels, Tree};
use crate::harness::listing::{Times, listing};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use thinjail::formats::jail_manifest::ArchiveEnd;
use thinjail::formats::tar::{BLOCK, END, TarEntry, TarKind, TarReader};

const BOTH: [Storage; 2] = [Storage::Directory, Storage::Zfs];
const WEB: &str = "/zdata/jails/containers/web";

/// A host with a template, and nothing else.
fn target(storage: Storage) -> Host {
    let mut host = Host::on(storage);
    host.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
    fs::create_dir_all(host.path("/tmp")).unwrap();
    same_times(&host, storage);
    host.begin();
    host
}

const SKELETON: &str = "/zdata/jails/templates/14.5-RELEASE-skeleton";
const BASE_SNAPSHOT: &str = "zdata/jails/templates/14.5-RELEASE-skeleton@base";

/// Gives the template the times that it has on every host: those of the archive that it
/// was unpacked from.
fn same_times(host: &Host, storage: Storage) {
    fn set(path: &Path) {
        if !path.is_symlink() && path.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| set(&entry.unwrap().path()));
        }
        let time = rustix::fs::Timespec { tv_sec: 1_700_000_000, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
    }
    set(&host.path(SKELETON));
    snapshot_again(host, storage);
}

/// Takes the snapshot of the template again.
fn snapshot_again(host: &Host, storage: Storage) {
    if storage == Storage::Zfs {
        // Hidden otherwise, where directories can't be.
        host.tool("zfs", &["set", "snapdir=visible", "zdata/jails/templates"]);
        host.tool("zfs", &["destroy", BASE_SNAPSHOT]);
        host.tool("zfs", &["snapshot", BASE_SNAPSHOT]);
    }
}

/// A host with the jail web, in which much was changed.
fn source(storage: Storage) -> Host {
    let host = target(storage);
    if storage == Storage::Zfs {
        // Hidden otherwise, where directories can't be.
        host.tool("zfs", &["set", "snapdir=visible", "zdata/jails"]);
    }
    host.ok("jail-clone web 10");
    let web = host.path(WEB);
    fs::write(web.join("etc/mine"), "mine\n").unwrap();
    fs::write(web.join("etc/rc.conf"), "sshd_enable=\"YES\"\n").unwrap();
    fs::set_permissions(web.join("etc/mine"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::hard_link(web.join("etc/mine"), web.join("root/again")).unwrap();
    fs::create_dir_all(web.join("usr/local/share/a/b")).unwrap();
    fs::set_permissions(web.join("usr/local/share/a"), fs::Permissions::from_mode(0o555)).unwrap();
    symlink("../../nowhere", web.join("usr/local/share/link")).unwrap();
    fs::write(web.join("usr/local/share").join("long".repeat(40)), "long\n").unwrap();
    let sparse = fs::File::create(web.join("root/sparse")).unwrap();
    sparse.set_len(5_000_000).unwrap();
    (&sparse).write_all(b"begin").unwrap();
    host
}

/// One after the other, as `jail-export web | jail-import` on two hosts.
fn transfer(from: &Host, export: &str, to: &Host, import: &str) -> (String, String) {
    let mut words = export.split(' ');
    let mut exporter = from.prepare(Command::new(bin(words.next().unwrap())));
    let output = exporter.args(words).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{export}: {}", String::from_utf8_lossy(&output.stderr));
    let (status, stdout, stderr) = run_with(to, import, &output.stdout);
    assert_eq!(status, Some(0), "{import}: {stderr}");
    (stdout, stderr)
}

fn run_with(host: &Host, line: &str, input: &[u8]) -> (Option<i32>, String, String) {
    let mut words = line.split(' ');
    let mut command = host.prepare(Command::new(bin(words.next().unwrap())));
    let mut child = command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    let input = input.to_vec();
    // The program may end without reading it.
    let writer = std::thread::spawn(move || drop(to.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn exported(host: &Host, options: &[&str]) -> Vec<u8> {
    let output = host.run_with("jail-export", options);
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[track_caller]
fn same(a: &Host, b: &Host, there: &str) {
    let (left, right) = (listing(&a.path(WEB), Times::All), listing(&b.path(there), Times::All));
    // Devices and sockets mean nothing on another host.
    let is_left_out = |path: &Path| {
        let kind = fs::symlink_metadata(a.path(WEB).join(path)).unwrap().file_type();
        kind.is_char_device() || kind.is_block_device() || kind.is_socket()
    };
    let is_control = |path: &Path| path.starts_with(".zfs");
    for (path, line) in left.iter().filter(|(path, _)| !is_control(path) && !is_left_out(path)) {
        // A file whose other names are outside of the tree has one name there.
        let own = format!(" = {}", path.display());
        let is_alone = line.ends_with(&own) && left.values().filter(|l| l.ends_with(&own)).count() == 1;
        let line = if is_alone { line.strip_suffix(&own).unwrap() } else { line };
        assert_eq!(right.get(path).map(String::as_str), Some(line), "{}", path.display());
    }
    let extra: Vec<_> = right.keys().filter(|path| !left.contains_key(*path) && !is_control(path)).collect();
    assert!(extra.is_empty(), "{extra:?}");
}

/// From every storage to every storage, the difference and everything.
#[test]
fn every_entry_arrives() {
    for from in BOTH {
        let source = source(from);
        for to in BOTH {
            for option in ["", "--full "] {
                let target = target(to);
                let said = transfer(&source, &format!("jail-export {option}web"), &target, "jail-import");
                assert_eq!(said.0, "web: id 10, 192.168.7.10/24, imported web\n", "{from:?} {to:?} {option}");
                assert_eq!(said.1, "");
                same(&source, &target, WEB);
                // A jail like any other.
                target.ok("jail-doctor");
                target.tool("jail", &["-c", "-f", "/etc/jail.conf", "web"]);
                target.tool("jail", &["-r", "-f", "/etc/jail.conf", "web"]);
                target.ok("jail-destroy -y web");
                fs::remove_dir_all(target.path("/zdata/jails/templates/14.5-RELEASE-skeleton@base")).ok();
                target.nothing_left();
            }
        }
        // Nothing of the export remains.
        if from == Storage::Zfs {
            let snapshots = source.tool("zfs", &["list", "-H", "-o", "name", "-t", "snapshot"]);
            assert!(!snapshots.contains("thinjail-export"), "{snapshots}");
        }
    }
}

/// What the harness can think of in a tree, devices and sockets excepted.
#[test]
fn trees_of_all_kinds_arrive() {
    for seed in crate::harness::hostile::seeds(12) {
        let source = target(Storage::Directory);
        source.ok("jail-clone web 10");
        let outside = tempfile::tempdir_in(source.path("/")).unwrap();
        let sentinels = Sentinels::make(outside.path());
        Tree::make(&source.path(WEB), seed, &sentinels);
        for option in ["", "--full "] {
            let target = target(Storage::Directory);
            let bytes = {
                let words: Vec<&str> = format!("{option}web").leak().split_whitespace().collect();
                let output = source.run_with("jail-export", &words);
                if !output.status.success() {
                    // Deeper than any program can name.
                    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
                    assert!(stderr.contains("levels of directories"), "{seed}: {stderr}");
                    continue;
                }
                output.stdout
            };
            let (status, _, stderr) = run_with(&target, "jail-import", &bytes);
            if status != Some(0) {
                assert!(
                    stderr.contains("a path of") || stderr.contains("bytes"),
                    "{seed} {option}: {stderr}"
                );
                continue;
            }
            same(&source, &target, WEB);
        }
        sentinels.untouched();
    }
}

#[test]
fn a_fresh_jail_is_small() {
    let host = target(Storage::Directory);
    host.ok("jail-clone web 10");
    assert!(exported(&host, &["web"]).len() < 50_000);
}

/// Other names, ids and addresses.
#[test]
fn another_name_or_id() {
    let host = source(Storage::Directory);
    host.ok("jail-export -o /tmp/web.tar web");
    assert_eq!(host.ok("jail-import /tmp/web.tar web2 12"), "web2: id 12, 192.168.7.12/24, imported web\n");
    let (status, stdout, stderr) = host.said("jail-import /tmp/web.tar web3");
    assert_eq!((status, stdout.as_str()), (0, "web3: id 1, 192.168.7.1/24, imported web\n"), "{stderr}");
    assert_eq!(stderr, "jail-import: jail web3: its id or address is in use here; it has another one\n");
    assert_eq!(
        host.ok("jail-import -i 192.168.7.77 /tmp/web.tar web4"),
        "web4: id 77, 192.168.7.77/24, imported web\n"
    );
    let error = host.refuses(1, "jail-import /tmp/web.tar");
    assert!(error.contains("jail web is already configured"), "{error}");
}

/// Statements run commands on the host, and mounts show its files.
#[test]
fn what_an_archive_says_is_not_done_unasked() {
    let host = target(Storage::Directory);
    host.write("/data/file", "x\n");
    host.ok("jail-clone -m /data:/mnt:ro web 10");
    let conf = host.read("etc/jail.conf.d/web.conf").replace("}\n", "\texec.prestart += \"/evil\";\n}\n");
    host.write("/etc/jail.conf.d/web.conf", &conf);
    host.ok("jail-export -o /tmp/web.tar web");
    host.ok("jail-destroy -y web");
    let (status, _, stderr) = host.said("jail-import /tmp/web.tar");
    assert_eq!(status, 0, "{stderr}");
    assert_eq!(
        stderr,
        "jail-import: warning: this statement of the archive is not applied: exec.prestart += \"/evil\"\n\
         jail-import: warning: this mount of the archive is not applied: /data:/mnt:type=nullfs,ro\n\
         jail-import: next: add what you trust, or destroy the jail and import it with --trust\n"
    );
    assert!(!host.read("etc/jail.conf.d/web.conf").contains("evil"));
    assert!(!host.read("zdata/jails/web-nullfs-base.fstab").contains("/mnt"));
    host.ok("jail-destroy -y web");
    host.ok("jail-import --trust /tmp/web.tar");
    assert_eq!(host.read("etc/jail.conf.d/web.conf"), conf);
    assert!(host.read("zdata/jails/web-nullfs-base.fstab").contains("/web-nullfs-base/mnt nullfs ro"));
}

/// Another patch level, or a template that an administrator changed.
#[test]
fn templates_that_differ() {
    for storage in BOTH {
        let source = source(Storage::Directory);
        let bytes = exported(&source, &["web"]);
        let other = target(storage);
        other.write("/zdata/jails/templates/14.5-RELEASE-skeleton/etc/motd", "patched\n");
        snapshot_again(&other, storage);
        let (status, _, stderr) = run_with(&other, "jail-import", &bytes);
        assert_eq!(status, Some(1));
        assert!(
            stderr.contains("template 14.5-RELEASE has other contents than that of the exporting host")
                && stderr.contains("or use jail-export --full"),
            "{stderr}"
        );
        other.nothing_left();
        // What skel-fetch copies from the host does not count.
        let host = target(storage);
        host.write("/zdata/jails/templates/14.5-RELEASE-skeleton/etc/resolv.conf", "nameserver 9.9.9.9\n");
        snapshot_again(&host, storage);
        let (status, _, stderr) = run_with(&host, "jail-import", &bytes);
        assert_eq!(status, Some(0), "{stderr}");
    }
}

#[test]
fn a_running_jail() {
    for storage in BOTH {
        let host = source(storage);
        host.tool("jail", &["-c", "-f", "/etc/jail.conf", "web"]);
        match storage {
            Storage::Zfs => drop(exported(&host, &["web"])),
            Storage::Directory => {
                let error = host.refuses(1, "jail-export -o /tmp/x web");
                assert!(
                    error.contains("jail web is running, and without ZFS its files may change"),
                    "{error}"
                );
                exported(&host, &["-f", "web"]);
            }
        }
    }
}

/// tar(1) lists and unpacks it.
#[test]
fn any_tar_reads_it() {
    let host = source(Storage::Directory);
    host.ok("jail-export -o /tmp/web.tar web");
    let output =
        Command::new("tar").args(["-tf", host.path("/tmp/web.tar").to_str().unwrap()]).output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(names.starts_with("thinjail.json\n") && names.ends_with("thinjail.end\n"), "{names}");
    assert!(names.contains("container/etc/mine\n") && !names.contains("container/etc/ssl"), "{names}");
    let mode = fs::metadata(host.path("/tmp/web.tar")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

/// Cut off anywhere, or with one byte changed: nothing is left of it.
#[test]
fn damaged_archives() {
    for storage in BOTH {
        let source = source(Storage::Directory);
        let bytes = exported(&source, &["web"]);
        let target = target(storage);
        let mut damaged = Vec::new();
        for part in 1..12 {
            damaged.push(bytes[..bytes.len() * part / 12].to_vec());
            let mut changed = bytes.clone();
            changed[bytes.len() * part / 12 + 7] ^= 1;
            damaged.push(changed);
        }
        damaged.push([&bytes[..], b"more"].concat());
        for (at, bytes) in damaged.iter().enumerate() {
            let (status, _, stderr) = run_with(&target, "jail-import", bytes);
            assert_eq!((status, stderr.lines().count()), (Some(1), 1), "{at}: {stderr}");
            target.nothing_left();
        }
    }
}

/// An archive of these entries, with data of `x`, and with an end that is right.
fn crafted(manifest: &[u8], entries: &[TarEntry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let put = |bytes: &mut Vec<u8>, entry: &TarEntry, data: &[u8]| {
        bytes.extend(entry.to_bytes().unwrap());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    };
    put(&mut bytes, &TarEntry::plain("thinjail.json", manifest.len() as u64), manifest);
    for entry in entries {
        put(&mut bytes, entry, &vec![b'x'; entry.data() as usize]);
    }
    let sum = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    let end = ArchiveEnd { entries: entries.len() as u64, sha256: sum }.to_text();
    put(&mut bytes, &TarEntry::plain("thinjail.end", end.len() as u64), end.as_bytes());
    bytes.extend(END);
    bytes
}

fn entry(path: &str, kind: TarKind) -> TarEntry {
    TarEntry { kind, mode: 0o644, ..TarEntry::plain(path, 0) }
}

/// Archives that somebody made for the purpose: each is refused in one line, nothing of
/// it is left, and nothing outside is touched.
#[test]
fn hostile_archives() {
    let host = source(Storage::Directory);
    let manifest = {
        let bytes = exported(&host, &["--full", "web"]);
        let mut reader = TarReader::new(&bytes[..]);
        reader.next_entry().unwrap();
        String::from_utf8(reader.read_all(1 << 20).unwrap()).unwrap()
    };
    let file = |path: &str| entry(path, TarKind::File(1));
    let directory = |path: &str| entry(path, TarKind::Directory);
    let top = || directory("container");
    let link = |path: &str, text: &str| entry(path, TarKind::Symlink(text.into()));
    let hard = |path: &str, to: &str| entry(path, TarKind::HardLink(to.into()));
    let deep = |levels: usize| format!("container{}", "/d".repeat(levels));
    let levels: Vec<TarEntry> = (0..300).map(|levels| directory(&deep(levels))).collect();
    let flagged = TarEntry { flags: "schg,what".into(), ..file("container/x") };
    let refused: Vec<(Vec<TarEntry>, &str)> = vec![
        (vec![top(), file("container/../x")], "not a path below the top of the tree"),
        (vec![top(), file("container/./x")], "not a path below the top of the tree"),
        (vec![top(), file("container/a//x")], "not a path below the top of the tree"),
        (vec![top(), file("/etc/x")], "not an entry that jail-export writes"),
        (vec![top(), file("etc/x")], "not an entry that jail-export writes"),
        (vec![top(), file("containers/x")], "not an entry that jail-export writes"),
        (vec![top(), file("removed/etc/rc.conf")], "not an entry that jail-export writes"),
        (vec![top(), link("container/a", "/outside"), file("container/a/file")], "a is not a directory"),
        (vec![top(), link("container/a", "/outside"), directory("container/a")], "a second time"),
        (
            vec![top(), file("container/a"), file("container/a")],
            "a second time, or not in the order of names",
        ),
        (
            vec![top(), file("container/b"), file("container/a")],
            "a second time, or not in the order of names",
        ),
        (vec![top(), top()], "not the first entry"),
        (vec![file("container/b"), top()], "not the first entry"),
        (vec![file("container")], "not the first entry, or not a directory"),
        (vec![top(), file("container/a/b")], "a is not a directory"),
        (vec![top(), hard("container/a", "/outside/file")], "a hard link to /outside/file"),
        (vec![top(), hard("container/a", "container/../../outside/file")], "a hard link to"),
        (vec![top(), hard("container/a", "container/b")], "a hard link to container/b"),
        (vec![top(), directory("container/a"), hard("container/b", "container/a")], "a directory"),
        (
            vec![top(), link("container/a", "/outside"), hard("container/b", "container/a/file")],
            "a hard link to container/a/file",
        ),
        (levels, "more than 256 levels of directories"),
        (vec![top(), flagged], "unknown flags schg,what"),
        (vec![top(), file(&format!("container/{}", "n".repeat(300)))], "a name of 300 bytes"),
    ];
    host.ok("jail-destroy -y web");
    let outside = tempfile::tempdir_in(host.path("/")).unwrap();
    let sentinels = Sentinels::make(outside.path());
    let try_one = |bytes: &[u8], expected: &str| {
        let (status, _, stderr) = run_with(&host, "jail-import", bytes);
        assert_eq!((status, stderr.lines().count()), (Some(1), 1), "{expected}: {stderr}");
        assert!(stderr.contains(expected), "{expected}: {stderr}");
        assert!(!host.path(WEB).exists() && !host.path("/zdata/jails/containers/.web.thinjail").exists());
        assert!(!host.path("/etc/jail.conf.d/web.conf").exists());
    };
    for (entries, expected) in &refused {
        try_one(&crafted(manifest.as_bytes(), entries), expected);
    }
    let replaced = |from: &str, to: &str| {
        assert!(manifest.contains(from), "{from}");
        crafted(manifest.replace(from, to).as_bytes(), &[top()])
    };
    for (from, to, expected) in [
        ("\"name\": \"web\"", "\"name\": \"../web\"", "archive: name: "),
        ("\"release\": \"14.5-RELEASE\"", "\"release\": \"../14.5\"", "archive: release: "),
        ("\"release\": \"14.5-RELEASE\"", "\"release\": \"13.9-RELEASE\"", "13.9-RELEASE"),
        ("\"format\": 1", "\"format\": 9", "format 9, which this version does not know"),
        ("\"block\": \"web {", "\"block\": \"web { { {", "archive: block of jail.conf: "),
        ("\"mounts\": []", "\"mounts\": [{}]", "no mounts in it"),
    ] {
        try_one(&replaced(from, to), expected);
    }
    let with = |kind: u8| {
        let mut bytes = crafted(manifest.as_bytes(), &[top(), file("container/x")]);
        let at = bytes.windows(11).position(|w| w == b"container/x").unwrap();
        bytes[at + 156] = kind;
        let header = &bytes[at..at + BLOCK];
        let blank = |at: usize| (148..156).contains(&at);
        let sum: u64 =
            header.iter().enumerate().map(|(i, b)| if blank(i) { 32 } else { u64::from(*b) }).sum();
        bytes[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes
    };
    try_one(&with(b'3'), "container/x: a device");
    try_one(&with(b'4'), "container/x: a device");
    try_one(&with(b'7'), "container/x: an entry of type '7'");
    try_one(&with(b'L'), "container/x: an entry of type 'L'");
    let mut more = crafted(manifest.as_bytes(), &[top()]);
    more.truncate(more.len() - END.len());
    let twice = [&more[..], &more[..]].concat();
    try_one(&twice, "an entry follows its end");
    try_one(b"", "archive: ends early");
    try_one(&[0; 4096], "not written by jail-export");
    try_one(&vec![b'x'; 4096], "not a POSIX tar archive");
    sentinels.untouched();
}
