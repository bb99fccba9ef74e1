//! jail-sweep on the simulated kernel.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::bin::bin;
use crate::harness::host::Host;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use thinjail::system::kernel::simulated::HOST;
use thinjail::system::lock::{Lock, LockId};
use thinjail::system::root::Root;

const PATH: &str = "/zdata/jails/web-nullfs-base";
const SWEEP: &str = "jail-sweep web /zdata/jails/web-nullfs-base epair5";

/// What a start of the jail mounts.
fn mount_all(host: &Host) {
    let path = host.path(PATH);
    let (base, container) = (host.path("zdata/base"), host.path("zdata/web"));
    host.kernel()
        .change(|s| {
            s.mount("nullfs", &base, &path)?;
            s.mount("nullfs", &container, &path.join("skeleton"))?;
            s.mount("devfs", Path::new("devfs"), &path.join("dev"))
        })
        .unwrap();
}

fn host() -> Host {
    let host = Host::hooks();
    fs::create_dir_all(host.path(PATH)).unwrap();
    host
}

fn mounts(host: &Host) -> Vec<String> {
    host.state()
        .mounts
        .iter()
        .map(|m| m.on.strip_prefix(host.root()).unwrap().display().to_string())
        .collect()
}

#[test]
fn nothing_to_do_is_success() {
    let host = host();
    let before = host.present();
    assert_eq!(host.ok(SWEEP), "");
    assert_eq!(host.ok("jail-sweep web /zdata/jails/web-nullfs-base"), "");
    assert_eq!(host.ok("jail-sweep web /zdata/jails/web-nullfs-base/"), "");
    assert_eq!(host.ok("jail-sweep web /no/such/path epair5"), "");
    assert_eq!(before, host.present());
}

#[test]
fn clears_mounts_and_pair() {
    let host = host();
    let before = host.present();
    let syslog = host.syslogd();
    mount_all(&host);
    host.ok("jail-epair-up -b igc0bridge web epair5");
    host.ok(SWEEP);
    assert_eq!(syslog.lines(), [""; 0]);
    drop(syslog);
    assert_eq!(before, host.present());
}

#[test]
fn forces_what_a_dying_jail_holds_and_says_so() {
    let host = host();
    mount_all(&host);
    host.ok("jail-epair-up -b igc0bridge web epair5");
    host.kernel()
        .change(|s| {
            let jid = s.create_jail("web", &host.path(PATH))?;
            s.lend("epair5b", jid)?;
            s.remove_jail("web", true)
        })
        .unwrap();
    let syslog = host.syslogd();
    host.ok(SWEEP);
    assert!(mounts(&host).is_empty());
    assert_eq!(host.interfaces(), ["lo0", "igc0", "igc0bridge"]);
    let lines = syslog.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("unmounted by force (Device busy)"), "{lines:?}");
    assert!(lines[0].starts_with("<28>jail-sweep["), "{lines:?}");
}

#[test]
fn stacked_mounts_go_latest_first() {
    let host = host();
    mount_all(&host);
    mount_all_again(&host);
    host.ok(SWEEP);
    assert!(mounts(&host).is_empty());
}

fn mount_all_again(host: &Host) {
    let path = host.path(PATH);
    host.kernel().change(|s| s.mount("nullfs", Path::new("/other"), &path)).unwrap();
}

#[test]
fn a_running_jail_is_left_alone() {
    let host = host();
    mount_all(&host);
    host.ok("jail-epair-up -b igc0bridge web epair5");
    host.kernel().change(|s| s.create_jail("web", &host.path(PATH))).unwrap();
    let before = host.present();
    assert_eq!(host.ok(SWEEP), "");
    assert_eq!(before, host.present());
}

#[test]
fn what_is_not_the_jails_is_left_alone() {
    let host = host();
    // A neighbour whose path begins alike.
    let neighbour = host.path("/zdata/jails/web-nullfs-base2");
    host.kernel().change(|s| s.mount("nullfs", Path::new("/x"), &neighbour)).unwrap();
    host.ok("jail-epair-up -b igc0bridge db epair5");
    let before = host.present();
    let (status, _, stderr) = host.said(SWEEP);
    assert_eq!(status, 0);
    assert!(stderr.contains("belongs to jail db"), "{stderr}");
    assert_eq!(before, host.present());
    // Without a pair: those tagged as the jail's, and no other.
    host.ok("jail-epair-up -b igc0bridge web epair6");
    host.ok("jail-epair-up -b igc0bridge web web0");
    host.ok("jail-sweep web /zdata/jails/web-nullfs-base");
    assert_eq!(before, host.present());
}

#[test]
fn other_types_need_to_be_named() {
    let host = host();
    let data = host.path(PATH).join("skeleton/data");
    mount_all(&host);
    host.kernel().change(|s| s.mount("nfs", Path::new("server:/data"), &data)).unwrap();
    let error = host.said(SWEEP);
    assert_eq!(error.0, 1);
    assert!(error.2.contains("nfs, left mounted; -t nfs unmounts it"), "{}", error.2);
    assert!(error.2.contains("web-nullfs-base: still mounted, because of"), "{}", error.2);
    assert_eq!(
        mounts(&host),
        [
            "zdata/jails/web-nullfs-base",
            "zdata/jails/web-nullfs-base/skeleton",
            "zdata/jails/web-nullfs-base/skeleton/data"
        ]
    );
    host.ok("jail-sweep -t nfs web /zdata/jails/web-nullfs-base");
    assert!(mounts(&host).is_empty());
}

#[test]
fn paths_that_are_refused() {
    let host = host();
    mount_all(&host);
    host.kernel().change(|s| s.mount("zfs", Path::new("zdata/thick"), &host.path("zdata/thick"))).unwrap();
    for (kind, on) in [("devfs", "dev"), ("tmpfs", "ram"), ("nullfs", "ram/below")] {
        fs::create_dir_all(host.path(on)).unwrap();
        host.kernel().change(|s| s.mount(kind, Path::new(kind), &host.path(on))).unwrap();
    }
    fs::create_dir_all(host.path("zdata/thick")).unwrap();
    symlink(host.path(PATH), host.path("zdata/link")).unwrap();
    symlink("/", host.path("zdata/jails/evil")).unwrap();
    for (path, expect) in [
        ("/", "this is the root directory of the host"),
        ("//", "this is the root directory of the host"),
        ("zdata/jails/web-nullfs-base", "not an absolute path"),
        ("/zdata/jails/../jails/web-nullfs-base", "without . and .."),
        ("/zdata/link", "contains a symbolic link; set path to /zdata/jails/web-nullfs-base"),
        ("/zdata/jails/evil", "contains a symbolic link"),
        ("/zdata/thick", "where zdata/thick (zfs) is mounted"),
        ("/dev", "where devfs (devfs) is mounted"),
        ("/ram", "where tmpfs (tmpfs) is mounted"),
        ("/zdata", "not the empty directory of a thin jail, and no base is mounted there"),
    ] {
        let error = host.refuses(1, &format!("jail-sweep web {path}"));
        assert!(error.contains(expect), "{path}: {error}");
    }
    // A directory above the paths of jails that run.
    host.kernel().change(|s| s.create_jail("db", &host.path("zdata/jails/db-nullfs-base"))).unwrap();
    let error = host.refuses(1, "jail-sweep web /zdata/jails");
    assert!(error.contains("jail db runs at"), "{error}");
    // And a directory inside of one.
    fs::create_dir_all(host.path("zdata/jails/db-nullfs-base/skeleton")).unwrap();
    let error = host.refuses(1, "jail-sweep web /zdata/jails/db-nullfs-base/skeleton");
    assert!(error.contains("jail db runs at"), "{error}");
}

#[test]
fn goes_on_past_an_obstacle() {
    let host = host();
    mount_all(&host);
    host.drop_privilege();
    let (status, _, stderr) = host.said(SWEEP);
    assert_eq!(status, 1);
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
    assert!(stderr.contains("Operation not permitted"), "{stderr}");
}

#[test]
fn dry_run() {
    let host = host();
    mount_all(&host);
    host.ok("jail-epair-up -b igc0bridge web epair5");
    let before = host.present();
    let printed = host.ok("jail-sweep -n web /zdata/jails/web-nullfs-base epair5");
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 4, "{printed}");
    assert!(
        lines[0].starts_with("/sbin/umount ") && lines[0].contains("/dev || /sbin/umount -f"),
        "{printed}"
    );
    assert_eq!(lines[3], "/sbin/ifconfig epair5a destroy");
    assert_eq!(before, host.present());
    assert_eq!(host.state().interface(HOST, "epair5a").unwrap().description.as_deref(), Some("jail:web"));
}

/// A process that the system takes for jail(8), until it is dropped.
struct OtherJail(std::process::Child);

impl OtherJail {
    fn start(host: &Host) -> OtherJail {
        let program = host.path("tmp/jail");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        // cat(1) waits for its input as long as it is needed.
        let cat = ["/bin/cat", "/usr/bin/cat"].into_iter().find(|p| Path::new(p).exists()).unwrap();
        symlink(cat, &program).unwrap();
        let child = std::process::Command::new(&program)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        OtherJail(child)
    }

    /// What the hook of a start that this process runs notes.
    fn claim(&self, host: &Host, jail: &str) {
        use thinjail::system::kernel::Jails;
        let process = host.kernel().process(self.0.id() as i32).unwrap().unwrap();
        assert_eq!(process.command, "jail");
        let note = format!("{} {}\n", process.pid, process.started);
        host.write(&format!("var/run/thinjail-{jail}.claim"), &note);
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn a_jail_in_the_hands_of_another_jail_process_is_left_alone() {
    let host = host();
    mount_all(&host);
    host.ok("jail-epair-up -b igc0bridge web epair5");
    let other = OtherJail::start(&host);
    other.claim(&host, "web");
    for command in
        [SWEEP, "jail-sweep web /zdata/jails/web-nullfs-base", "jail-epair-up -b igc0bridge web epair5"]
    {
        let error = host.refuses(1, command);
        assert!(error.contains("being started, stopped or moved by another jail(8), process"), "{error}");
    }
    // Other jails are nobody's business.
    host.ok("jail-sweep db /zdata/jails/web-nullfs-base2");
    other.end();
    host.ok(SWEEP);
    assert!(mounts(&host).is_empty());
    assert_eq!(host.interfaces(), ["lo0", "igc0", "igc0bridge"]);
}

#[test]
fn notes_of_dead_processes_and_nonsense_bind_nobody() {
    let host = host();
    for note in ["", "x y", "1", "999999999 5", "0 0", "-1 0", "99999999999999 1", "\u{0}"] {
        host.write("var/run/thinjail-web.claim", note);
        mount_all(&host);
        host.ok(SWEEP);
        assert!(mounts(&host).is_empty(), "{note:?}");
    }
}

#[test]
fn a_claim_that_cannot_be_written_keeps_no_jail_from_starting() {
    let host = host();
    fs::create_dir_all(host.path("var/run/thinjail-web.claim")).unwrap();
    mount_all(&host);
    let syslog = host.syslogd();
    // Run by a process of that name, as a hook is.
    let shell = host.path("tmp/jail");
    fs::create_dir_all(shell.parent().unwrap()).unwrap();
    symlink("/bin/sh", &shell).unwrap();
    let status = std::process::Command::new(&shell)
        .args(["-c", "\"$0\" web /zdata/jails/web-nullfs-base; exit $?"])
        .arg(bin("jail-sweep"))
        .env("THINJAIL_ROOT", host.root())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(mounts(&host).is_empty());
    assert!(syslog.lines().iter().any(|l| l.contains("claim ")), "the claim is told to syslog");
}

fn start(host: &Host, line: &str) -> std::process::Child {
    let mut words = line.split(' ');
    let mut command = std::process::Command::new(bin(words.next().unwrap()));
    command.args(words).env_clear().env("THINJAIL_ROOT", host.root()).spawn().unwrap()
}

/// A start that comes between the look at a pair and its end makes another one.
#[cfg(target_os = "linux")]
#[test]
fn a_pair_made_meanwhile_is_left_alone() {
    for line in [SWEEP, "jail-sweep web /zdata/jails/web-nullfs-base", "jail-epair-down web epair5"] {
        let host = host();
        host.ok("jail-epair-up -b igc0bridge web epair5");
        let lock = Lock::take(&Root::alternate(&host.root()).unwrap(), LockId::Interfaces).unwrap();
        let mut child = start(&host, line);
        let pid = child.id().to_string();
        let waits = || {
            let locks = fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(|l| l.contains("->") && l.split(' ').any(|word| word == pid))
        };
        // It has looked when it waits for its turn.
        while !waits() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        host.kernel()
            .change(|s| {
                s.destroy(HOST, "epair5a")?;
                s.create("epair5")?;
                s.join_group("epair5a", "thinjail")?;
                s.describe(HOST, "epair5a", "jail:web")?;
                let jid = s.create_jail("web", &host.path(PATH))?;
                s.lend("epair5b", jid)
            })
            .unwrap_or_else(|e| panic!("{line}: it did not wait: {e}"));
        let before = host.present();
        drop(lock);
        assert!(child.wait().unwrap().success(), "{line}");
        assert_eq!(before, host.present(), "{line}");
    }
}

/// The same with mounts: those of a start that is under way by now, or done.
#[test]
fn mounts_made_meanwhile_are_left_alone() {
    for runs in [false, true] {
        let host = host();
        // Whoever asks for the claim waits until somebody writes it.
        let claim = host.path("var/run/thinjail-web.claim");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &claim, kind, mode, 0).unwrap();
        let mut child = start(&host, "jail-sweep web /zdata/jails/web-nullfs-base");
        let writer = fs::File::options().write(true).open(&claim).unwrap();
        mount_all(&host);
        if runs {
            host.kernel().change(|s| s.create_jail("web", &host.path(PATH))).unwrap();
        }
        drop(writer);
        assert!(child.wait().unwrap().success());
        assert_eq!(mounts(&host).len(), 3, "runs: {runs}");
    }
}
