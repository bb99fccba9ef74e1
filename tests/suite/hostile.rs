//! Everything that walks or reads a tree that a jail's root can write, on trees
//! that were prepared for it: nothing outside is opened, read or changed, nothing
//! hangs, and errors are lines. HOSTILE_SEEDS=5000 tries more of them.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::bin;
use crate::harness::host;
use crate::harness::hostile;
use crate::harness::small;

use bin::bin;
use host::{Host, Storage};
use hostile::{Random, Sentinels, Tree, in_time, run, seeds};
use std::ffi::OsString;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use thinjail::commands::skel_split::interrupted;
use thinjail::system::tree;

const CONTAINER: &str = "/zdata/jails/containers/web";

fn scratch() -> tempfile::TempDir {
    let memory = || Some(PathBuf::from("/dev/shm")).filter(|place| place.is_dir());
    let place =
        std::env::var_os("TMPDIR").map(PathBuf::from).or_else(memory).unwrap_or_else(std::env::temp_dir);
    tempfile::Builder::new().prefix("thinjail-hostile").tempdir_in(place).unwrap()
}

/// Fails unless nothing is left in a directory but the sentinels.
#[track_caller]
fn only_sentinels(directory: &Path) {
    let left: Vec<_> = fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["outside"]);
}

fn differences(one: &Path, other: &Path) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    tree::compare(one, other, &mut |found| {
        all.push(found.to_string());
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

#[test]
fn copied_compared_completed_and_removed() {
    let (mut shallow, mut deep) = (0, 0);
    let dir = scratch();
    let sentinels = Sentinels::make(dir.path());
    for seed in seeds(70) {
        let tree = Tree::make(&dir.path().join("tree"), seed, &sentinels);
        let (from, to) = (tree.top.clone(), dir.path().join("copy"));
        let (one, other) = (from.clone(), to.clone());
        let copied = in_time(&format!("copy {seed}"), move || tree::copy(&one, &other));
        sentinels.untouched();
        match copied {
            Err(e) => {
                let text = format!("{e:#}");
                assert!(tree.deep && text.contains("more than 256 levels"), "{seed}: {text}");
                deep += 1;
            }
            Ok(()) => {
                shallow += 1;
                assert_eq!(differences(&from, &to).unwrap(), Vec::<String>::new(), "{seed}");
                // Something is missing, and completed.
                let mut names: Vec<_> = fs::read_dir(&to).unwrap().map(|e| e.unwrap().path()).collect();
                names.sort();
                let lost = Random::new(seed).one(&names).clone();
                match fs::symlink_metadata(&lost).unwrap().is_dir() {
                    true => tree::remove(&lost).unwrap(),
                    false => fs::remove_file(&lost).unwrap(),
                }
                let (one, other) = (from.clone(), to.clone());
                in_time(&format!("merge {seed}"), move || tree::merge(&one, &other)).unwrap();
                let left = differences(&from, &to).unwrap();
                assert!(left.iter().all(|d| d == ".: different modification time"), "{seed}: {left:?}");
                let verdict = interrupted::examine(&from, &to).unwrap();
                assert_eq!(verdict, interrupted::Verdict::Equal, "{seed}");
            }
        }
        for top in [from, to] {
            in_time(&format!("remove {seed}"), move || tree::remove(&top)).unwrap();
        }
        sentinels.untouched();
        only_sentinels(dir.path());
    }
    assert!(shallow > deep, "{shallow} {deep}");
}

/// A directory becomes a link at the very moment.
#[test]
fn trees_that_change_meanwhile() {
    let dir = scratch();
    let sentinels = Sentinels::make(dir.path());
    for seed in seeds(70) {
        let tree = Tree::make(&dir.path().join("tree"), seed, &sentinels);
        let race = tree.race();
        let (top, to) = (tree.top.clone(), dir.path().join("copy"));
        let (one, other) = (top.clone(), to.clone());
        // Whether it succeeds is chance.
        in_time(&format!("race {seed}"), move || {
            let told = [
                tree::copy(&one, &other),
                tree::compare(&one, &other, &mut |_| ControlFlow::Continue(())),
                tree::merge(&one, &other),
                tree::compare(&one, &one, &mut |_| ControlFlow::Continue(())),
                tree::remove(&one),
            ];
            for error in told.into_iter().filter_map(Result::err) {
                assert!(!thinjail::system::console::line(&error).chars().any(char::is_control));
            }
        });
        race.end();
        sentinels.untouched();
        for top in [top, to] {
            in_time(&format!("remove {seed}"), move || tree::remove(&top)).unwrap();
        }
        sentinels.untouched();
        only_sentinels(dir.path());
    }
}

/// A host with a template and the jail web, and what lies outside.
struct Watched {
    stage: Host,
    sentinels: Sentinels,
}

impl Watched {
    fn new() -> Watched {
        let stage = small::stage(Storage::Directory);
        stage.ok("skel-split 14.5");
        stage.ok("jail-clone web 10");
        fs::create_dir(stage.path("/source")).unwrap();
        let sentinels = Sentinels::make(&stage.root());
        Watched { stage, sentinels }
    }

    fn container(&self) -> PathBuf {
        self.stage.path(CONTAINER)
    }

    fn run(&self, program: &str, arguments: &[OsString]) -> Output {
        let mut command = self.stage.prepare(Command::new(bin(program)));
        command.args(arguments);
        run(command)
    }

    fn line(&self, line: &str) -> Output {
        let mut words = line.split(' ');
        let program = words.next().unwrap();
        self.run(program, &words.map(OsString::from).collect::<Vec<_>>())
    }

    /// A target of jail-mkfstab that was prepared. What is written must lead
    /// through no link.
    fn mount_on(&self, path: &Path, seed: u64) {
        let mut argument = b"/source:/".to_vec();
        for b in path.as_os_str().as_encoded_bytes() {
            if matches!(b, b':' | b'\\') {
                argument.push(b'\\');
            }
            argument.push(*b);
        }
        let words = ["-o".into(), "-".into(), "-m".into(), OsString::from_vec(argument), "web".into()];
        let output = self.run("jail-mkfstab", &words);
        if !output.status.success() {
            return;
        }
        let (entries, findings) = thinjail::domain::fstab::parse(&output.stdout);
        assert!(entries.len() == 3 && findings.is_empty(), "{seed}: {output:?}");
        let top = Path::new("/zdata/jails/web-nullfs-base");
        let below = entries[2].1.target.strip_prefix(top).unwrap().to_owned();
        let Ok(below) = below.strip_prefix("skeleton") else { return };
        let mut real = self.container();
        for part in below {
            real.push(part);
            let kind = fs::symlink_metadata(&real).unwrap().file_type();
            assert!(!kind.is_symlink(), "{seed}: {}", real.display());
        }
        assert!(real.is_dir(), "{seed}: {}", real.display());
    }

    /// Removes the container in a way of its own, and makes the jail again.
    fn again(&self, seed: u64) {
        let output = self.line("jail-destroy -y web");
        assert!(output.status.success(), "{seed}: {output:?}");
        assert!(fs::symlink_metadata(self.container()).is_err(), "{seed}");
        self.stage.ok("jail-clone web 10");
    }
}

#[test]
fn every_program_on_a_container() {
    let host = Watched::new();
    for seed in seeds(25) {
        let tree = Tree::make(&host.container(), seed, &host.sentinels);
        let mut random = Random::new(!seed);
        host.line("jail-list");
        host.line("jail-list -j");
        host.line("jail-doctor web");
        host.line("jail-doctor -j");
        host.sentinels.untouched();
        for _ in 0..3 {
            host.mount_on(&tree.some_path(&mut random), seed);
        }
        host.mount_on(Path::new("etc/ssl/certs"), seed);
        host.sentinels.untouched();
        for line in ["-c", "-a -n", "-a -c", "", "-a"] {
            host.line(&format!("skel-fixcerts {line} {CONTAINER}").replace("  ", " "));
        }
        host.line("jail-doctor -x");
        host.sentinels.untouched();
        host.again(seed);
        host.sentinels.untouched();
    }
}

#[test]
fn every_program_on_a_container_that_changes() {
    let host = Watched::new();
    for seed in seeds(25) {
        let tree = Tree::make(&host.container(), seed, &host.sentinels);
        let race = tree.race();
        host.line("jail-doctor web");
        host.line("jail-list");
        host.line(&format!("skel-fixcerts -c -a {CONTAINER}"));
        host.line(&format!("skel-fixcerts -a {CONTAINER}"));
        host.line(&format!("skel-fixcerts {CONTAINER}"));
        host.line("jail-doctor -x");
        let destroyed = host.line("jail-destroy -y web");
        race.end();
        host.sentinels.untouched();
        if !destroyed.status.success() {
            let again = host.line("jail-destroy -y web");
            assert!(again.status.success(), "{seed}: {destroyed:?} {again:?}");
        }
        host.stage.ok("jail-clone web 10");
        host.sentinels.untouched();
    }
}

/// A second release to move the jail to.
fn next_release(host: &Watched) {
    let base = host.stage.path("/zdata/jails/templates/15.0-RELEASE-base");
    fs::create_dir(&base).unwrap();
    small::fill(&base);
    fs::write(base.join("bin/freebsd-version"), "#!/bin/sh\nUSERLAND_VERSION=\"15.0-RELEASE\"\n").unwrap();
    fs::write(base.join("etc/new.conf"), "new\n").unwrap();
    fs::write(base.join("etc/rc.conf"), "hostname=\"y\"\n").unwrap();
    host.stage.ok("skel-split 15.0");
}

/// A move fails with a line for each conflict and one more, or does all of it.
fn moved(host: &Watched, seed: u64) -> bool {
    host.line("jail-rebase -n web 15.0");
    host.line("jail-rebase -n --json -k theirs web 15.0");
    host.line("jail-rebase web 15.0");
    host.sentinels.untouched();
    host.line("jail-rebase -y --revert web");
    let output = host.line("jail-rebase -k ours web 15.0");
    host.sentinels.untouched();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        assert!(told.lines().count() == 1 && !told.contains("panicked"), "{seed}: {told}");
    }
    output.status.success()
}

#[test]
fn a_container_that_is_moved() {
    let host = Watched::new();
    next_release(&host);
    let mut done = 0;
    for seed in seeds(25) {
        let tree = Tree::make(&host.container(), seed, &host.sentinels);
        let rc_conf = host.container().join("etc/rc.conf");
        let _ = fs::remove_file(&rc_conf);
        match seed % 3 {
            // Unless its directory is none in this tree.
            0 => drop(std::os::unix::fs::symlink(host.sentinels.top(), &rc_conf)),
            1 => drop(rustix::fs::mkfifoat(rustix::fs::CWD, &rc_conf, rustix::fs::Mode::RWXU)),
            _ => drop(fs::write(&rc_conf, "mine\n")),
        }
        let was = host.stage.path("/was");
        let copied = tree::copy(&host.container(), &was);
        if moved(&host, seed) {
            assert!(copied.is_ok() && !tree.deep, "{seed}");
            done += 1;
            // What is only the jail's is as it was.
            for own in ["usr/local", "home", "root"] {
                let [was, is] = [was.join(own), host.container().join(own)];
                let directories = [&was, &is].map(|p| fs::symlink_metadata(p).is_ok_and(|m| m.is_dir()));
                assert_eq!(directories[0], directories[1], "{seed}");
                if directories[0] {
                    let mut found = differences(&was, &is).unwrap();
                    found.retain(|d| !d.ends_with(": different modification time"));
                    assert_eq!(found, [""; 0], "{seed}");
                }
            }
            assert_eq!(fs::read_to_string(host.container().join("etc/new.conf")).unwrap(), "new\n");
            let back = host.line("jail-rebase -y --revert web");
            assert!(back.status.success(), "{seed}: {back:?}");
            assert_eq!(differences(&was, &host.container()).unwrap(), [""; 0], "{seed}");
        }
        in_time("remove", move || tree::remove(&was)).unwrap();
        host.again(seed);
        host.sentinels.untouched();
    }
    assert!(done > 10, "{done}");
}

#[test]
fn a_container_that_changes_while_it_is_moved() {
    let host = Watched::new();
    next_release(&host);
    for seed in seeds(25) {
        let tree = Tree::make(&host.container(), seed, &host.sentinels);
        let race = tree.race();
        moved(&host, seed);
        race.end();
        host.sentinels.untouched();
        host.line("jail-rebase -y --revert web");
        host.again(seed);
        host.sentinels.untouched();
    }
}

/// A skeleton and a base are nobody's but the administrator's. Still nothing
/// but an error comes of such ones.
#[test]
fn templates_that_are_no_better() {
    for seed in seeds(10) {
        let host = Watched::new();
        let base = host.stage.path(small::BASE);
        Tree::make(&host.stage.path(small::SKELETON), seed, &host.sentinels);
        let cloned = host.line("jail-clone db 11");
        let copy = host.stage.path("/zdata/jails/containers/db");
        if cloned.status.success() {
            assert_eq!(differences(&host.stage.path(small::SKELETON), &copy).unwrap(), Vec::<String>::new());
            assert!(host.line("jail-destroy -y db").status.success());
        }
        assert!(fs::symlink_metadata(copy).is_err(), "{seed}");
        host.line("skel-fixcerts -a 14.5");
        host.line("jail-doctor -x");
        host.sentinels.untouched();
        // Torn: what was moved is in both.
        fs::remove_file(base.join("var")).unwrap();
        fs::create_dir(base.join("var")).unwrap();
        Tree::make(&base.join("var"), seed + 1, &host.sentinels);
        host.line("skel-split -n 14.5");
        host.line("skel-split 14.5");
        host.sentinels.untouched();
        for top in [base, host.stage.path(small::SKELETON), host.container()] {
            in_time("remove", move || tree::remove(&top)).unwrap();
        }
        host.sentinels.untouched();
    }
}

/// Every directory and file below a tree, open and locked, as root in a jail
/// that sees it may hold them.
fn hold_all(top: &Path) -> Vec<fs::File> {
    let (mut held, mut left) = (Vec::new(), vec![top.to_owned()]);
    while let Some(path) = left.pop() {
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        if kind.is_dir() || kind.is_file() {
            let file = fs::File::open(&path).unwrap();
            // A hard link is locked already.
            let _ = file.try_lock();
            held.push(file);
        }
    }
    held
}

/// Locks that the jail holds, and FIFOs in place of files that are read, keep no
/// program of the host waiting.
#[test]
fn nothing_waits_for_a_jail() {
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = small::two_releases(storage);
        let web = stage.path(CONTAINER);
        for file in ["etc/resolv.conf", "etc/rc.conf", "etc/rc.conf.local", "etc/ntp.conf", "bin"] {
            let path = web.join(file);
            let _ = fs::remove_file(&path);
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        }
        let held = hold_all(&web);
        assert!(held.len() > 20, "{}", held.len());
        for line in [
            "skel-fixcerts /zdata/jails/containers/web",
            "skel-fixcerts -a -c /zdata/jails/containers/web",
            "jail-list",
            "jail-doctor",
            "jail-doctor -x",
            "jail-mkfstab -c web",
            "jail-mkfstab -o - web",
            "jail-sweep web /zdata/jails/web-nullfs-base",
            "jail-clone web 10",
            "jail-rebase -n web 15.0",
            "jail-rebase -k ours web 15.0",
            "jail-rebase -y --revert web",
            "jail-rebase -k theirs web 15.0",
            "jail-rebase -y --commit web",
            "jail-destroy -n web",
            "jail-destroy -y web",
        ] {
            let mut words = line.split(' ');
            let mut command = stage.prepare(Command::new(bin(words.next().unwrap())));
            command.args(words);
            run(command);
        }
        drop(held);
        assert!(!web.exists(), "jail-destroy -y web");
        stage.nothing_left();
    }
}

/// Names and texts that a jail's root chose come out spelled, whatever reads
/// them: no escape sequence, no C1 control, nothing that turns a line around.
#[test]
fn nothing_that_is_printed_controls_a_terminal() {
    const EVIL: &str = "a\x1b[2Jb\u{9b}2Jc\u{202e}d\x7fe\u{85}f\rg\nh";
    let mut shown = 0;
    for storage in [Storage::Directory, Storage::Zfs] {
        let stage = small::two_releases(storage);
        let web = stage.path(CONTAINER);
        for directory in ["etc", "etc/ssl/certs", "usr/local", "root"] {
            fs::create_dir_all(web.join(directory)).unwrap();
            fs::write(web.join(directory).join(EVIL), EVIL).unwrap();
        }
        std::os::unix::fs::symlink(EVIL, web.join("etc/ssl/certs/0a1b2c3d.0")).unwrap();
        std::os::unix::fs::symlink(EVIL, web.join("etc").join(format!("link {EVIL}"))).unwrap();
        for file in ["etc/rc.conf", "etc/resolv.conf", "etc/hosts", "etc/master.passwd", "etc/group"] {
            fs::write(web.join(file), format!("{EVIL}\nnameserver {EVIL}\n{EVIL}=\"{EVIL}\n")).unwrap();
        }
        // The administrator's own files may hold such bytes too.
        let conf = stage.path("/etc/jail.conf.d/odd.conf");
        fs::write(
            conf,
            format!("odd {{ host.hostname = \"{EVIL}\"; path = \"/{EVIL}\"; $id = \"{EVIL}\"; }}\n"),
        )
        .unwrap();
        for line in [
            "jail-list",
            "jail-list --json",
            "jail-doctor",
            "jail-doctor --json",
            "jail-doctor -x",
            "skel-fixcerts -a -c /zdata/jails/containers/web",
            "skel-fixcerts -a -n /zdata/jails/containers/web",
            "jail-rebase -n web 15.0",
            "jail-rebase -n --json web 15.0",
            "jail-rebase -n -v -k theirs web 15.0",
            "jail-rebase -k ours web 15.0",
            "jail-rebase -y --commit web",
            "jail-destroy -n web",
        ] {
            let mut words = line.split(' ');
            let mut command = stage.prepare(Command::new(bin(words.next().unwrap())));
            command.args(words);
            shown += spelled(line, &run(command));
        }
        for (program, arguments) in [
            ("jail-clone", [EVIL, "10"]),
            ("jail-list", [EVIL, EVIL]),
            ("jail-rebase", ["web", EVIL]),
            ("skel-fixcerts", ["-c", EVIL]),
            ("skel-fetch", ["-U", EVIL]),
        ] {
            let mut command = stage.prepare(Command::new(bin(program)));
            shown += spelled(program, &command.args(arguments).output().unwrap());
        }
    }
    assert!(shown > 25, "{shown} of the texts were shown at all");
}

/// Fails unless all that was printed can be shown; how often EVIL was in it.
#[track_caller]
fn spelled(what: &str, output: &Output) -> usize {
    let mut times = 0;
    for text in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(text).unwrap_or_else(|e| panic!("{what}: {e}"));
        // Spelled out here too: what is printed must not be its own judge.
        let bad = |c: &char| c.is_control() && !"\n\t".contains(*c) || ('\u{202a}'..='\u{202e}').contains(c);
        assert_eq!(text.chars().find(bad), None, "{what}: {text:?}");
        times += text.matches(r"\033[2Jb").count() + text.matches(r"\u001b[2Jb").count();
    }
    times
}
