//! Holds the stand-ins against recordings of the real programs.
//!
//! `tests/transcripts/` has what programs of FreeBSD 15.0 said: `$` a command, `>` a line on standard output, `!` a line
//! on standard error, `=` the exit status. Every command that the stand-ins can play is run again here, and everything
//! it says has to be the same. A command that is not run again is listed below with the reason; one that is neither
//! run nor listed is a failure, and so is an entry of a list that has come to fit nothing.

#[path = "standins/facts.rs"]
mod facts;
#[path = "standins/setup.rs"]
mod setup;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use setup::{PROGRAMS, Stage};

/// Transcripts that are run again.
const REPLAYED: &[&str] =
    &["zfs.txt", "system.txt", "template.txt", "thin-jail.txt", "ifconfig.txt", "jail.txt"];

/// Transcripts in another form, and who answers for them.
const OTHER: &[(&str, &str)] =
    &[("ioctl.txt", "results of system calls, not of commands: the simulated kernel is held against them")];

/// Utilities that do the same on every system. Absolute paths in their arguments go below the root.
const PLAIN: &[&str] = &["cd", "ls", "mkdir"];

/// Programs without a stand-in. A command with one of these and without a program that has a stand-in is not run again.
const ABSENT: &[(&str, &str)] = &[
    ("/usr/bin/time", "measures the recorded machine"),
    ("/zdata/jails/templates/15.0-RELEASE-base/bin/freebsd-version", "a file of a base, not of the host"),
    ("cap_mkdb", "run on a base by its own programs"),
    ("cat", "shows files of the recorded host"),
    ("certctl", "run on a base by its own programs"),
    ("chflags", "file flags are not on Linux"),
    ("chroot", "runs programs of a base"),
    ("cp", "recorded for file flags, which are not on Linux"),
    ("dd", "measures block cloning of a real pool"),
    ("fetch", "has no stand-in yet"),
    ("grep", "shows the log of a recorded jail"),
    ("ifconfig", "interfaces are the kernel's, simulated inside the programs"),
    ("jail", "needs jails"),
    ("jexec", "needs jails"),
    ("jls", "needs jails"),
    ("kldstat", "modules are the kernel's"),
    ("mount", "the mount table is the kernel's, simulated inside the programs"),
    ("pwd_mkdb", "run on a base by its own programs"),
    ("rm", "recorded for file flags and for large files, which are not here"),
    ("rmdir", "clears up after mounts that are not made here"),
    ("service", "needs jails"),
    ("sha256", "of a file of the recorded host"),
    ("su", "needs another user"),
    ("tail", "shows the log of a recorded jail"),
    ("tar", "recorded for file flags, which are not on Linux"),
    ("umount", "the mount table is the kernel's, simulated inside the programs"),
    ("zpool", "pools have no stand-in of their own"),
];

/// How a command is treated that is not simply run again.
enum Rule {
    /// Not run, for that reason.
    Skip(&'static str),
    /// This is done in its place, for that reason.
    Instead(fn(&Stage), &'static str),
    /// Only this part is run, and has to give that many first lines of standard output; the reason for the rest.
    Part(&'static str, usize, &'static str),
    /// Run, but compared after this change to standard output, for that reason.
    Alike(fn(&str) -> String, &'static str),
}

/// The exceptions: transcript, command, and what becomes of it.
const RULES: &[(&str, &str, Rule)] = &[
    (
        "zfs.txt",
        "zfs get -H -o property,value mounted,mountpoint,origin,written,type zdata/t/containers/dev",
        Rule::Alike(
            no_written,
            "written is 0 in the recording because the pool had not been synced; it is above 0 a moment later",
        ),
    ),
    (
        "zfs.txt",
        "zfs list -H -p -o name,creation,used -t snapshot -r zdata/t",
        Rule::Alike(no_times, "the time is that of the recording"),
    ),
    (
        "zfs.txt",
        "mount -t nullfs /zdata/t/containers/dev /mnt/n",
        Rule::Instead(
            |stage| stage.busy("/zdata/t/containers/dev"),
            "a file tells what is under a nullfs mount",
        ),
    ),
    (
        "zfs.txt",
        "umount /mnt/n",
        Rule::Instead(|stage| stage.mend("busy"), "a file tells what is under a nullfs mount"),
    ),
    (
        "zfs.txt",
        "touch /zdata/t/templates/14.2-RELEASE-skeleton/new; mkdir /zdata/t/templates/14.2-RELEASE-skeleton/d; \
         ln -s a /zdata/t/templates/14.2-RELEASE-skeleton/l; \
         zfs diff -H -F zdata/t/templates/14.2-RELEASE-skeleton@base",
        Rule::Alike(sorted, "the order is that of object numbers on disk"),
    ),
    (
        "system.txt",
        "ls -lod /zdata/jails/templates/15.0-RELEASE-skeleton/var/empty",
        Rule::Skip("file flags are not on Linux"),
    ),
    (
        "template.txt",
        "zfs diff -H -F zdata/jails/templates/15.0-RELEASE-skeleton@base \
         zdata/jails/templates/15.0-RELEASE-skeleton@p1 | grep -v /ssl/ | head; \
         zfs diff -H -F zdata/jails/templates/15.0-RELEASE-skeleton@base \
         zdata/jails/templates/15.0-RELEASE-skeleton@p1 | grep -c /ssl/",
        Rule::Skip(
            "head cuts a list whose order is that of object numbers on disk, and 388 certificates are not here",
        ),
    ),
    (
        "template.txt",
        "sysctl vfs.zfs.bclone_enabled; zpool get -H -o value feature@block_cloning zdata",
        Rule::Part("sysctl vfs.zfs.bclone_enabled", 1, "zpool has no stand-in"),
    ),
    (
        "thin-jail.txt",
        "jexec pg-1 sh -c \"echo local >> /etc/rc.conf; rm /etc/motd.template; mkdir /usr/local/etc; \
         ln -s x /etc/mylink; chmod 600 /etc/hosts\"",
        Rule::Instead(
            live_in_jail,
            "needs a jail; its changes are made from outside, with those of its daemons",
        ),
    ),
    (
        "thin-jail.txt",
        "zfs diff -H -F zdata/jails/templates/15.0-RELEASE-skeleton@base zdata/jails/containers/pg-1",
        Rule::Alike(sorted, "the order is that of object numbers on disk"),
    ),
    (
        "thin-jail.txt",
        "zfs get -H -p -o value written,logicalused zdata/jails/containers/pg-1",
        Rule::Alike(no_sizes, "the sizes are those of a real pool"),
    ),
    (
        "thin-jail.txt",
        "zfs destroy zdata/jails/containers/pg-19; echo $?; jls -d",
        Rule::Part("zfs destroy zdata/jails/containers/pg-19; echo $?", 1, "jls needs jails"),
    ),
];

/// Puts one word for every time in seconds.
fn no_times(out: &str) -> String {
    let time = |word: &str| word.len() == 10 && word.bytes().all(|byte| byte.is_ascii_digit());
    out.split('\t').map(|word| if time(word) { "TIME" } else { word }).collect::<Vec<_>>().join("\t")
}

/// Puts one word for the value of `written`.
fn no_written(out: &str) -> String {
    let hide = |line| if str::starts_with(line, "written\t") { "written\tSIZE" } else { line };
    out.lines().map(hide).collect::<Vec<_>>().join("\n")
}

/// Puts one word for every size, unless it is 0, which would tell that nothing was written.
fn no_sizes(out: &str) -> String {
    let size = |line: &str| line.parse::<u64>().is_ok_and(|size| size > 0);
    out.lines().map(|line| if size(line) { "SIZE\n" } else { "0\n" }).collect()
}

/// Puts the lines in order.
fn sorted(out: &str) -> String {
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// What the recorded jail and its administrator did to its files.
fn live_in_jail(stage: &Stage) {
    let root = stage.path("/zdata/jails/containers/pg-1");
    let touch = |names: &[&str]| {
        for name in names {
            fs::write(root.join(name), "x\n").expect("write a file");
        }
    };
    touch(&["etc/rc.conf", "var/msgs/bounds", "var/spool/lock/clean_var", "var/passing"]);
    fs::remove_file(root.join("var/passing")).expect("remove a file");
    for name in [
        "auth.log",
        "cron",
        "daemon.log",
        "debug.log",
        "devd.log",
        "maillog",
        "messages",
        "security",
        "utx.lastlogin",
        "utx.log",
    ] {
        touch(&[&format!("var/log/{name}")]);
    }
    for name in [
        "clean_var",
        "cron.pid",
        "ld-elf.so.hints",
        "motd",
        "os-release",
        "syslog.pid",
        "syslogd.sockets",
        "utx.active",
    ] {
        touch(&[&format!("var/run/{name}")]);
    }
    for name in ["log", "logpriv"] {
        UnixListener::bind(root.join("var/run").join(name)).expect("make a socket");
    }
    for name in [".ICE-unix", ".X11-unix", ".XIM-unix", ".font-unix"] {
        fs::create_dir(root.join("tmp").join(name)).expect("make a directory");
    }
    fs::remove_file(root.join("etc/motd.template")).expect("remove a file");
    fs::create_dir(root.join("usr/local/etc")).expect("make a directory");
    symlink("x", root.join("etc/mylink")).expect("make a link");
    symlink("../var/run/motd", root.join("etc/motd")).expect("make a link");
    fs::set_permissions(root.join("etc/hosts"), PermissionsExt::from_mode(0o600)).expect("change a mode");
}

/// The state of the host when a recording began.
fn scene(transcript: &str) -> Stage {
    let stage = Stage::new();
    stage.pool("zdata");
    let skeleton = "zdata/jails/templates/15.0-RELEASE-skeleton";
    match transcript {
        // A file where a mountpoint cannot be made.
        "zfs.txt" => stage.write("/dev/null", ""),
        "system.txt" => stage.write("/etc/rc.conf", "jail_enable=\"YES\"\n"),
        "template.txt" => {
            stage.ok("zfs", &["create", "-p", skeleton]);
            stage.ok("zfs", &["snapshot", &format!("{skeleton}@base")]);
        }
        "thin-jail.txt" => {
            // The recording reads a snapshot through .zfs, which the stand-in shows only when asked to.
            stage.ok("zfs", &["set", "snapdir=visible", "zdata"]);
            stage.ok("zfs", &["create", "-p", skeleton]);
            stage.ok("zfs", &["create", "zdata/jails/containers"]);
            for dir in [
                "docs",
                "etc",
                "home",
                "root",
                "tmp",
                "usr/local",
                "var/log",
                "var/msgs",
                "var/run",
                "var/spool/lock",
            ] {
                fs::create_dir_all(stage.path(&format!("/{skeleton}/{dir}"))).expect("make a directory");
            }
            for file in ["etc/hosts", "etc/motd.template", "etc/resolv.conf"] {
                stage.write(&format!("/{skeleton}/{file}"), "as delivered\n");
            }
            stage.ok("zfs", &["snapshot", &format!("{skeleton}@base")]);
            for jail in ["pg-1", "pg-19"] {
                stage.ok(
                    "zfs",
                    &["clone", &format!("{skeleton}@base"), &format!("zdata/jails/containers/{jail}")],
                );
            }
        }
        _ => {}
    }
    stage
}

/// One recorded command.
struct Recorded {
    /// Where it stands, to be found again.
    line: usize,
    command: String,
    out: String,
    err: String,
    status: i32,
}

/// The directory with the transcripts.
fn transcripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

/// Reads a transcript.
fn read(transcript: &str) -> Vec<Recorded> {
    let text = fs::read_to_string(transcripts().join(transcript)).expect("read a transcript");
    let mut all: Vec<Recorded> = Vec::new();
    // Whether a command is still without its status.
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        let mark = line.chars().next().unwrap_or('#');
        let rest = line.get(1..).unwrap_or_default();
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match (mark, all.last_mut()) {
            ('#', _) if !open => {}
            ('$', _) if !open => {
                open = true;
                all.push(Recorded {
                    line: at + 1,
                    command: rest.into(),
                    out: String::new(),
                    err: String::new(),
                    status: 0,
                });
            }
            ('>', Some(recorded)) if open => recorded.out += &format!("{rest}\n"),
            ('!', Some(recorded)) if open => recorded.err += &format!("{rest}\n"),
            ('=', Some(recorded)) if open => {
                open = false;
                recorded.status = rest.parse().expect("a status");
            }
            _ => panic!("{transcript}:{}: out of place: {line}", at + 1),
        }
    }
    assert!(!open, "{transcript}: the last command has no status");
    all
}

/// The programs a shell command starts: the first word of each of its parts.
fn programs(command: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut word = String::new();
    let (mut first, mut quote, mut before) = (true, None, ' ');
    for letter in command.chars().chain([';']) {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            // The ampersand of a redirection separates nothing.
            (None, '&') if before == '>' => {}
            (None, ';' | '|' | '&' | '(' | ')' | ' ') => {
                if first && !word.is_empty() {
                    found.insert(word.clone());
                    first = false;
                }
                word.clear();
                first |= letter != ' ';
            }
            _ => word.push(letter),
        }
        before = letter;
    }
    found
}

/// A command with the absolute paths among its words put below the root. Option values stay: a mountpoint is given to
/// zfs as the host sees it.
fn below(root: &Path, command: &str) -> String {
    let root = root.to_str().expect("a root that is UTF-8");
    let mut text = command.to_owned();
    for top in ["/mnt/", "/zdata/"] {
        text = text.replace(&format!(" {top}"), &format!(" {root}{top}"));
    }
    text
}

/// Runs a command on the stage and says what is different from the recording.
fn replay(stage: &Stage, command: &str, recorded: &Recorded, rule: Option<&Rule>) -> Result<(), String> {
    let mut path = stage.tools().into_os_string();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(below(&stage.root(), command)).env("PATH", path).current_dir(stage.root());
    let output = stage.wear(shell).output().expect("start sh");
    let got = (stage.strip(&output.stdout), stage.strip(&output.stderr), output.status.code());
    let recorded = (recorded.out.clone(), recorded.err.clone(), Some(recorded.status));
    let (got, wanted) = match rule {
        Some(Rule::Alike(change, _)) => {
            ((change(&got.0), got.1, got.2), (change(&recorded.0), recorded.1, recorded.2))
        }
        Some(Rule::Part(_, lines, _)) => {
            let first = recorded.0.split_inclusive('\n').take(*lines).collect();
            (got, (first, String::new(), Some(0)))
        }
        _ => (got, recorded),
    };
    if got == wanted { Ok(()) } else { Err(format!("got {got:#?}\nrecorded {wanted:#?}")) }
}

/// The rule for a command.
fn rule(transcript: &str, command: &str) -> Option<&'static Rule> {
    RULES.iter().find(|(file, line, _)| *file == transcript && *line == command).map(|(_, _, rule)| rule)
}

/// What is done with a command.
enum Verdict {
    Replay,
    Skip,
    Unknown(String),
}

/// Decides on a command without a rule.
fn judge(command: &str) -> Verdict {
    let programs = programs(command);
    let absent = |name: &String| ABSENT.iter().any(|(absent, _)| absent == name);
    let known = |name: &&String| PROGRAMS.contains(&name.as_str()) || PLAIN.contains(&name.as_str());
    if !programs.iter().any(|name| PROGRAMS.contains(&name.as_str())) && programs.iter().any(absent) {
        return Verdict::Skip;
    }
    match programs.iter().find(|name| !known(name)) {
        Some(strange) => Verdict::Unknown(format!("{strange} cannot take part, and no rule says what to do")),
        None => Verdict::Replay,
    }
}

/// Goes through one transcript.
fn follow(transcript: &str) {
    let stage = scene(transcript);
    let mut complaints = Vec::new();
    let (mut replayed, mut skipped) = (0, 0);
    for recorded in read(transcript) {
        let rule = rule(transcript, &recorded.command);
        let verdict = match rule {
            Some(Rule::Skip(_)) => Verdict::Skip,
            Some(Rule::Instead(act, _)) => {
                act(&stage);
                Verdict::Skip
            }
            Some(Rule::Part(..) | Rule::Alike(..)) => Verdict::Replay,
            None => judge(&recorded.command),
        };
        let command = match rule {
            Some(Rule::Part(part, ..)) => part,
            _ => recorded.command.as_str(),
        };
        let result = match verdict {
            Verdict::Skip => {
                skipped += 1;
                continue;
            }
            Verdict::Replay => {
                replayed += 1;
                replay(&stage, command, &recorded, rule)
            }
            Verdict::Unknown(cause) => Err(cause),
        };
        if let Err(cause) = result {
            complaints.push(format!("{transcript}:{}: {}\n{cause}", recorded.line, recorded.command));
        }
    }
    println!("{transcript}: {replayed} run again, {skipped} not");
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

#[test]
fn zfs() {
    follow("zfs.txt");
}

#[test]
fn system() {
    follow("system.txt");
}

#[test]
fn template() {
    follow("template.txt");
}

#[test]
fn thin_jail() {
    follow("thin-jail.txt");
}

#[test]
fn ifconfig() {
    follow("ifconfig.txt");
}

#[test]
fn jail() {
    follow("jail.txt");
}

/// The lists above must not outlive what they were made for.
#[test]
fn every_exception_is_still_needed() {
    let mut files: Vec<String> = fs::read_dir(transcripts())
        .expect("read the directory of transcripts")
        .map(|entry| {
            entry
                .expect("read the directory of transcripts")
                .file_name()
                .into_string()
                .expect("a name that is UTF-8")
        })
        .collect();
    files.sort();
    let mut listed: Vec<&str> = REPLAYED.iter().copied().chain(OTHER.iter().map(|(file, _)| *file)).collect();
    listed.sort_unstable();
    assert_eq!(files, listed, "a transcript that is not listed, or a listed one that is gone");

    let mut commands = BTreeSet::new();
    let (mut run, mut skipped) = (BTreeSet::new(), BTreeSet::new());
    for transcript in REPLAYED {
        for recorded in read(transcript) {
            match (rule(transcript, &recorded.command), judge(&recorded.command)) {
                (None, Verdict::Replay) => run.extend(programs(&recorded.command)),
                (None, Verdict::Skip) => skipped.extend(programs(&recorded.command)),
                _ => {}
            }
            commands.insert((*transcript, recorded.command));
        }
    }
    for (transcript, command, rule) in RULES {
        let there = commands.iter().any(|(file, line)| file == transcript && line == command);
        assert!(there, "{transcript}: a rule for what is not recorded: {command}");
        let (Rule::Skip(reason)
        | Rule::Instead(_, reason)
        | Rule::Part(_, _, reason)
        | Rule::Alike(_, reason)) = rule;
        assert!(!reason.is_empty(), "{transcript}: a rule without a reason: {command}");
    }
    for program in PROGRAMS.iter().chain(PLAIN) {
        assert!(run.contains(*program), "{program} is listed, but no command needs it");
    }
    for (program, reason) in ABSENT {
        assert!(skipped.contains(*program), "{program} is listed, but no command needs it");
        assert!(!reason.is_empty(), "{program}: no reason");
    }
}

#[test]
fn programs_are_found_in_a_command() {
    let found = |command| programs(command).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(found("zfs destroy a; echo $?; jls -d"), "echo jls zfs");
    assert_eq!(found("jail -e '|' 2>&1 | head -1"), "head jail");
    assert_eq!(found("(cd /x && sleep 25 & ) ; sh -c \"a; b\""), "cd sh sleep");
}
