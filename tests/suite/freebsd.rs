//! The cases that run on a FreeBSD host (tests/freebsd), here on the simulated one: the same script with the same
//! assertions, so that it cannot rot unseen where there is no such host.
//!
//! What only a real kernel can show says so by itself and is skipped by name.
#![cfg(not(target_os = "freebsd"))]

use crate::basetree;
use crate::harness::host;

use basetree::Certificates;
use host::{Host, RELEASE};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

/// A host, and the archive of a release.
fn host() -> Host {
    let mut stage = Host::unconfigured();
    basetree::archive(&stage.standin_file("base.txz"), Certificates::Links, RELEASE)
        .expect("make an archive");
    fs::create_dir_all(stage.path("/tmp")).expect("make a directory");
    stage.begin();
    stage
}

/// Runs the script with these arguments.
fn run(stage: &Host, arguments: &[&str]) -> (Output, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/freebsd/run");
    let mut command = Command::new("/bin/sh");
    command.arg(script).args(arguments).env_clear();
    command.env("PATH", format!("{}:/usr/bin:/bin", stage.tools().display()));
    command.env("TMPDIR", stage.root().parent().expect("a directory above the root"));
    command
        .env("PROGRAMS", "/usr/local/sbin")
        .env("RELEASE", RELEASE)
        .env("BASE_TXZ", stage.standin_file("base.txz"));
    let output = stage.prepare(command).output().expect("run the script");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output, text)
}

/// The names of the cases with such a result.
fn named(text: &str, is_one: impl Fn(&str) -> bool) -> Vec<&str> {
    let lines = text.lines().filter(|line| line.starts_with("ok ") || line.starts_with("not ok "));
    let chosen = lines.filter(|line| is_one(line));
    chosen
        .map(|line| line.split(" - ").nth(1).and_then(|rest| rest.split(':').next()).unwrap_or(line))
        .collect()
}

#[test]
fn every_case_that_needs_no_real_kernel() {
    let stage = host();
    let (output, text) = run(&stage, &[]);
    assert!(output.status.success(), "{text}");
    let skipped = named(&text, |line| line.contains("# SKIP"));
    let wanted = [
        "split_flags",
        "ping",
        "inside",
        "trust",
        "destroy_busy",
        "doctor_macs",
        "rebase_busy",
        "rebase_killed",
        "fail_rc",
        "pin",
        "private",
        "vlan",
        "nat",
        "slaac",
        "last_process",
        "host_process",
        "jib_pair",
        "no_remount",
        "hangup",
        "received",
        "encrypted",
        "hidden",
        "kill_up",
        "kill_down",
        "kill_jail",
        "kill_clone",
    ];
    assert_eq!(skipped, wanted, "{text}");
    let passed = named(&text, |line| line.starts_with("ok ") && !line.contains("# SKIP")).len();
    assert_eq!(text.lines().next(), Some(format!("1..{}", passed + skipped.len()).as_str()), "{text}");
    assert_eq!(text.lines().last(), Some("# 65 passed, 0 failed, 26 skipped"), "{text}");
    stage.nothing_left();
}

#[test]
fn a_program_that_does_nothing_is_found_out() {
    for (program, case) in [
        ("jail-epair-down", "each_hook"),
        ("jail-epair-up", "start_stop"),
        ("jail-sweep", "removed"),
        ("jail-mkfstab", "fail_fstab"),
        ("jail-clone", "clone"),
        ("jail-destroy", "destroy"),
        ("jail-rebase", "rebase"),
        ("jail-export", "export"),
        ("jail-import", "export"),
        ("jail-list", "list"),
        ("jail-doctor", "doctor"),
        ("jail-setup", "setup"),
        ("skel-fetch", "fetch"),
        ("skel-split", "split"),
        ("skel-fixcerts", "fixcerts"),
        ("skel-destroy", "destroy_template"),
    ] {
        let stage = host();
        let file = stage.path("/usr/local/sbin").join(program);
        fs::remove_file(&file).expect("remove a program");
        symlink("/bin/true", &file).expect("put another in its place");
        let (output, text) = run(&stage, &["-k", &format!("^{case}$")]);
        assert_eq!(output.status.code(), Some(1), "{program}: {text}");
        assert_eq!(named(&text, |line| line.starts_with("not ok ")), [case], "{program}: {text}");
        // Even then nothing stays.
        assert!(text.ends_with("# 1 passed, 1 failed, 0 skipped\n"), "{program}: {text}");
        stage.nothing_left();
    }
}

#[test]
fn what_the_host_has_already_is_not_touched() {
    for file in
        ["/etc/jail.conf", "/etc/jail.conf.d/web.conf", "/usr/local/etc/thinjail.conf", "/etc/rc.conf.d/jail"]
    {
        let stage = host();
        stage.write(file, "# somebody's\n");
        let (output, text) = run(&stage, &[]);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.starts_with("Bail out! ") && text.contains(file), "{text}");
        assert_eq!(fs::read_to_string(stage.path(file)).unwrap(), "# somebody's\n");
        stage.nothing_left();
    }
    for interface in ["epair201", "tjw0"] {
        let stage = host();
        stage.tool("ifconfig", &["epair201", "create"]);
        if interface == "tjw0" {
            stage.tool("ifconfig", &["epair201a", "name", "tjw0a"]);
            stage.tool("ifconfig", &["epair201b", "name", "tjw0b"]);
        }
        let (output, text) = run(&stage, &[]);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.starts_with(&format!("Bail out! there is an interface {interface}")), "{text}");
        stage.tool("ifconfig", &[&format!("{interface}a"), "destroy"]);
        stage.nothing_left();
    }
}
