//! The completions in share/completions: that they offer what the parsers take,
//! and that bash, zsh and fish make of it what they should.
//!
//! A shell that is not there is left out, and the test says so; with CI=true in the
//! environment it must be there.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::bin;
use crate::harness::host;

use bin::bin;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction};
use host::{Host, Storage};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use thinjail::commands;
use thinjail::domain::settings::Settings;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/share/completions");

/// Where a shell is.
fn which(shell: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|d| d.join(shell)).find(|file| file.is_file());
    if found.is_none() {
        let needed = std::env::var_os("CI").is_some_and(|v| v == "true");
        assert!(!needed, "{shell} is not installed");
        eprintln!("skipped: {shell} is not installed");
    }
    found
}

/// A host with three jails, and a user on it.
struct User {
    stage: Host,
    home: TempDir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    /// bash on a terminal, with a Tab; tells the words of the line.
    Terminal,
}

/// Those that tell what they offer.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

impl User {
    fn new(storage: Storage) -> User {
        let stage = Host::on(storage);
        for (name, id) in [("db", "10"), ("web", "11"), ("wiki", "12")] {
            stage.ok_with("jail-clone", &[name, id]);
        }
        stage.tool("ifconfig", &["epair253", "create"]);
        let home = tempfile::Builder::new().prefix("thinjail-").tempdir().unwrap();
        let vendor = home.path().join("share/fish/vendor_completions.d");
        for directory in [&vendor, &home.path().join("bin"), &home.path().join("work")] {
            fs::create_dir_all(directory).unwrap();
        }
        for tool in ["ifconfig", "zfs", "freebsd-version"] {
            symlink(stage.tools().join(tool), home.path().join("bin").join(tool)).unwrap();
        }
        fs::create_dir_all(stage.path("/usr/local/libexec")).unwrap();
        symlink(bin("thinjail-complete"), stage.path("/usr/local/libexec/thinjail-complete")).unwrap();
        for program in commands::all() {
            let link = vendor.join(format!("{}.fish", program.get_name()));
            symlink(Path::new(HERE).join("thinjail.fish"), link).unwrap();
        }
        User { stage, home }
    }

    /// A shell that has nothing of this machine but its programs.
    fn start(&self, shell: &Path) -> Command {
        let path = [&self.home.path().join("bin"), &self.stage.path("/usr/local/sbin")];
        let path = path.map(|p| p.display().to_string()).join(":");
        let mut command = self.stage.prepare(Command::new(shell));
        command.env_clear().current_dir(self.home.path().join("work"));
        command
            .env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap_or_default()))
            .env("HOME", self.home.path())
            .env("XDG_DATA_DIRS", self.home.path().join("share"))
            .env("TERM", "dumb")
            .env("LC_ALL", "C.UTF-8");
        self.stage.prepare(command)
    }

    /// What a shell offers for each of the lines; `None` without the shell.
    #[track_caller]
    fn complete(&self, shell: Shell, lines: &[String]) -> Option<Vec<BTreeSet<String>>> {
        self.complete_with(shell, lines, |command| command)
    }

    #[track_caller]
    fn complete_with(
        &self,
        shell: Shell,
        lines: &[String],
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Option<Vec<BTreeSet<String>>> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/completions");
        let program = match shell {
            Shell::Bash => which("bash")?,
            Shell::Zsh => which("zsh")?,
            Shell::Fish => which("fish")?,
            Shell::Terminal => which("bash").and(which("zsh"))?,
        };
        let mut command = self.start(&program);
        match shell {
            Shell::Bash => command
                .args(["--norc", "--noprofile"])
                .arg(scripts.join("bash.sh"))
                .arg(Path::new(HERE).join("thinjail.bash")),
            Shell::Zsh => command.arg("-f").arg(scripts.join("zsh.zsh")).arg(HERE),
            Shell::Fish => command.arg(scripts.join("fish.fish")),
            Shell::Terminal => {
                command.arg("-f").arg(scripts.join("terminal.zsh")).arg(Path::new(HERE).join("thinjail.bash"))
            }
        };
        let output = change(command.args(lines)).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaint.is_empty(), "{shell:?}: {complaint}{text}");
        let mut answers = vec![BTreeSet::new()];
        for line in text.lines().filter(|line| !line.is_empty()) {
            let bare = match shell {
                Shell::Bash => line,
                // The help stands behind it.
                Shell::Fish => line.split('\t').next().unwrap(),
                _ if line == "." => line,
                _ => {
                    let bare = line.strip_prefix('<').and_then(|l| l.strip_suffix('>'));
                    bare.unwrap_or_else(|| panic!("{shell:?}: on the terminal: {line:?}"))
                }
            };
            match bare {
                "." => answers.push(BTreeSet::new()),
                _ => _ = answers.last_mut().unwrap().insert(bare.to_owned()),
            }
        }
        assert_eq!(answers.pop(), Some(BTreeSet::new()), "{shell:?}: {text}");
        assert_eq!(answers.len(), lines.len(), "{shell:?}: {text}");
        Some(answers)
    }

    /// Fails unless all shells offer exactly that.
    #[track_caller]
    fn offers(&self, cases: &[(&str, &[&str])]) {
        let lines: Vec<String> = cases.iter().map(|(line, _)| (*line).to_owned()).collect();
        for shell in SHELLS {
            for ((line, expected), found) in
                cases.iter().zip(self.complete(shell, &lines).into_iter().flatten())
            {
                let expected: BTreeSet<String> = expected.iter().map(|w| (*w).to_owned()).collect();
                assert_eq!(found, expected, "{shell:?}: {line}");
            }
        }
    }

    /// Ends it: completing has changed nothing, and the jails go.
    #[track_caller]
    fn leave(self) {
        let work = fs::read_dir(self.home.path().join("work")).unwrap();
        assert_eq!(work.count(), 0, "something was run");
        for name in ["db", "web", "wiki"] {
            self.stage.ok_with("jail-destroy", &["-y", name]);
        }
        self.stage.tool("ifconfig", &["epair253a", "destroy"]);
        self.stage.nothing_left();
    }
}

fn spellings(option: &Arg) -> impl Iterator<Item = String> {
    let short = option.get_short().map(|short| format!("-{short}"));
    short.into_iter().chain(option.get_long().map(|long| format!("--{long}")))
}

/// The parsers, with the options that clap adds by itself.
fn parsers() -> impl Iterator<Item = clap::Command> {
    commands::all().into_iter().map(|mut command| {
        command.build();
        command
    })
}

fn options(program: &clap::Command) -> impl Iterator<Item = &Arg> {
    program.get_arguments().filter(|argument| !argument.is_positional())
}

#[test]
fn all_programs_are_completed() {
    for name in ["thinjail.bash", "_thinjail", "thinjail.fish"] {
        let text = fs::read_to_string(Path::new(HERE).join(name)).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        for program in commands::all() {
            assert!(words.contains(&program.get_name()), "{name}: {}", program.get_name());
        }
    }
}

#[test]
fn syntax() {
    for (shell, file) in [("bash", "thinjail.bash"), ("zsh", "_thinjail"), ("fish", "thinjail.fish")] {
        let Some(program) = which(shell) else { continue };
        let output = Command::new(program).arg("-n").arg(Path::new(HERE).join(file)).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn options_are_those_of_the_parsers() {
    let user = User::new(Storage::Directory);
    // All of a program, then what is left of them behind each.
    let mut cases: Vec<(String, BTreeSet<String>)> = Vec::new();
    for program in parsers() {
        let name = program.get_name();
        cases.push((format!("{name} -"), options(&program).flat_map(spellings).collect()));
        for given in options(&program) {
            for spelling in spellings(given) {
                let value = if given.get_action().takes_values() { " v" } else { "" };
                cases.push((format!("{name} {spelling}{value} -"), besides(&program, given)));
            }
        }
    }
    let lines: Vec<String> = cases.iter().map(|(line, _)| line.clone()).collect();
    for shell in SHELLS {
        for ((line, expected), found) in cases.iter().zip(user.complete(shell, &lines).into_iter().flatten())
        {
            assert_eq!(&found, expected, "{shell:?}: {line}");
        }
    }
    user.leave();
}

/// The spellings that the parser takes besides an option: tried, not derived.
fn besides(program: &clap::Command, given: &Arg) -> BTreeSet<String> {
    if matches!(given.get_action(), ArgAction::Help | ArgAction::Version) {
        return BTreeSet::new();
    }
    let words = |option: &Arg| {
        let mut words: Vec<String> = spellings(option).take(1).collect();
        words.extend(sample(option));
        words
    };
    let fits = |other: &&Arg| {
        // They end the parsing before conflicts are looked for.
        if matches!(other.get_action(), ArgAction::Help | ArgAction::Version) {
            return true;
        }
        let line = [vec![program.get_name().to_owned()], words(given), words(other)].concat();
        match program.clone().try_get_matches_from(line) {
            Ok(_) => true,
            Err(e) if e.kind() == ErrorKind::ArgumentConflict => false,
            Err(e) if e.kind() == ErrorKind::MissingRequiredArgument => true,
            Err(e) => panic!("{e}"),
        }
    };
    options(program).filter(fits).flat_map(spellings).collect()
}

/// A value that an option takes.
fn sample(option: &Arg) -> Option<String> {
    if let Some(value) = option.get_possible_values().first() {
        return option.get_action().takes_values().then(|| value.get_name().to_owned());
    }
    let name = option.get_value_names().filter(|_| option.get_action().takes_values())?.first()?.as_str();
    Some(
        match (name, option.get_short()) {
            ("address", Some('6')) => "2001:db8::1",
            ("address", _) => "192.0.2.1",
            ("mac", _) => "none",
            ("mount", _) => "/a:/b",
            ("mtu", _) => "1500",
            ("gateway", _) => "192.0.2.1",
            ("vlan", _) => "20",
            ("directory", _) => "/jails",
            ("network", _) => "10.7.0.0/24",
            ("release", _) => "14.5",
            ("mirror", _) => "https://example.org",
            _ => "docs0",
        }
        .to_owned(),
    )
}

#[test]
fn values_come_from_the_system() {
    let user = User::new(Storage::Directory);
    user.stage.write("/zdata/jails/media/15.1-RELEASE-base.txz", "");
    user.stage.write("/zdata/jails/media/14.3-RELEASE-arm64-base.txz", "");
    user.stage.write("/zdata/jails/media/15.1-RELEASE-MANIFEST", "");
    let own = user.stage.tool("sysctl", &["-n", "kern.osrelease"]);
    let own = own.trim_end().split("-p").next().unwrap();
    user.offers(&[
        ("jail-destroy w", &["web", "wiki"]),
        ("jail-destroy -fy web ", &[]),
        ("jail-destroy web d", &[]),
        ("jail-rebase ", &["db", "web", "wiki"]),
        ("jail-rebase web 1", &["14.5-RELEASE"]),
        ("jail-rebase web 14.5-RELEASE ", &[]),
        ("jail-rebase --revert web ", &[]),
        ("jail-rebase web --commit 1", &[]),
        ("jail-mkfstab d", &["db"]),
        ("jail-doctor ", &["db", "web", "wiki"]),
        ("jail-doctor web ", &["db", "wiki"]),
        ("jail-doctor web db w", &["wiki"]),
        ("jail-clone ", &[]),
        ("jail-clone w", &[]),
        ("jail-clone -r 1", &["14.5-RELEASE"]),
        ("jail-clone --release 1", &["14.5-RELEASE"]),
        ("jail-clone -r 14.5-RELEASE -m /a:/b ", &[]),
        ("jail-clone -i ", &[]),
        ("jail-clone -b ig", &["igc0bridge"]),
        ("jail-clone -g ", &[]),
        ("jail-mkfstab -r ", &["14.5-RELEASE"]),
        ("skel-split ", &["14.5-RELEASE"]),
        ("skel-update 14", &["14.5-RELEASE"]),
        ("skel-update 15", &[]),
        ("skel-destroy ", &["14.5-RELEASE"]),
        ("skel-destroy --unused 1", &["14.5-RELEASE"]),
        ("skel-fixcerts 1", &["14.5-RELEASE"]),
        ("skel-fetch 15", &["15.1-RELEASE"]),
        ("skel-fetch 14.3", &["14.3-RELEASE"]),
        (&format!("skel-fetch {own}"), &[own]),
        ("skel-fetch -a ", &["amd64", "arm64"]),
        ("jail-rebase -k ", &["ours", "theirs"]),
        ("jail-rebase --keep t", &["theirs"]),
        ("jail-epair-up -M n", &["none"]),
        ("jail-epair-up -b ig", &["igc0bridge"]),
        ("jail-epair-up -b igc0bridge w", &["web", "wiki"]),
        ("jail-epair-up -b igc0bridge web ", &["epair253"]),
        ("jail-epair-up -u ig", &["igc0", "igc0bridge"]),
        ("jail-epair-down web e", &["epair253"]),
        ("jail-sweep w", &["web", "wiki"]),
        ("jail-sweep web ", &["/zdata/jails/web-nullfs-base"]),
        ("jail-sweep web /zdata/jails/web-nullfs-base ", &["epair253"]),
        ("jail-list ", &[]),
        ("jail-destroy -- w", &["web", "wiki"]),
        ("jail-destroy -h w", &[]),
    ]);
    // How much of a word a shell replaces differs.
    let lines = ["jail-epair-up --bridge=ig", "jail-epair-up -big", "jail-clone -nr1", "jail-destroy 'we"];
    for (shell, expected) in [
        (Shell::Bash, ["igc0bridge", "-bigc0bridge", "-nr14.5-RELEASE", "web"]),
        (Shell::Zsh, ["igc0bridge", "igc0bridge", "14.5-RELEASE", "web"]),
        (Shell::Fish, ["--bridge=igc0bridge", "-bigc0bridge", "-nr14.5-RELEASE", "web"]),
    ] {
        let found = user.complete(shell, &lines.map(str::to_owned)).into_iter().flatten();
        for ((found, expected), line) in found.zip(expected).zip(lines) {
            assert_eq!(found, BTreeSet::from([expected.to_owned()]), "{shell:?}: {line}");
        }
    }
    user.leave();
}

#[test]
fn files_are_offered_where_they_belong() {
    let user = User::new(Storage::Directory);
    let files = user.home.path().join("files");
    fs::create_dir_all(files.join("base")).unwrap();
    fs::write(files.join("base.txz"), "").unwrap();
    let at = files.display();
    let all: &[&str] = &["base", "base.txz"];
    for (line, expected) in [
        (format!("skel-fetch -f {at}/b"), all),
        (format!("skel-fetch --manifest={at}/b"), all),
        (format!("jail-mkfstab -o {at}/b"), all),
        (format!("jail-clone -m {at}/b"), all),
        (format!("jail-clone -R {at}/b"), &["base"]),
        (format!("skel-fixcerts --base {at}/b"), &["base"]),
        (format!("skel-fixcerts {at}/b"), &["base"]),
        (format!("jail-destroy {at}/b"), &[]),
        (format!("skel-fetch -m {at}/b"), &[]),
    ] {
        // bash leaves it to readline; see bash_on_a_terminal.
        for shell in [Shell::Zsh, Shell::Fish] {
            let Some(found) = user.complete(shell, std::slice::from_ref(&line)) else { continue };
            // How much of the path is told differs.
            let last = |path: &String| path.trim_end_matches('/').rsplit('/').next().unwrap().to_owned();
            let found: BTreeSet<String> = found[0].iter().map(last).collect();
            assert_eq!(found, expected.iter().map(|w| (*w).to_owned()).collect(), "{shell:?}: {line}");
        }
    }
    // What is behind the colon is in the jail.
    let lines = [format!("jail-clone -m {at}/base:/b"), "jail-clone -m /etc:/et".to_owned()];
    let found = user.complete(Shell::Zsh, &lines).into_iter().flatten();
    assert!(found.into_iter().all(|offered| offered.is_empty()));
    user.leave();
}

#[test]
fn what_is_on_zfs_is_found() {
    let user = User::new(Storage::Zfs);
    user.offers(&[
        ("jail-destroy w", &["web", "wiki"]),
        ("jail-clone -r ", &["14.5-RELEASE"]),
        ("jail-sweep db ", &["/zdata/jails/db-nullfs-base"]),
    ]);
    user.leave();
}

#[test]
fn an_alternate_root_is_honoured() {
    let user = User::new(Storage::Directory);
    let root = user.stage.root();
    let root = root.display();
    let lines = [
        format!("jail-destroy -R {root} w"),
        format!("jail-destroy -nR{root} w"),
        format!("jail-destroy --root={root} w"),
        format!("jail-rebase --root {root} -n web 1"),
        format!("jail-sweep -R {root} web "),
        "jail-destroy -R /nonexistent w".to_owned(),
        "jail-clone -R /nonexistent -r ".to_owned(),
        // This machine itself.
        "jail-clone -r ".to_owned(),
    ];
    let web: &[&str] = &["web", "wiki"];
    let expected = [web, web, web, &["14.5-RELEASE"], &["/zdata/jails/web-nullfs-base"], &[], &[], &[]];
    for shell in SHELLS {
        let answers = user.complete_with(shell, &lines, |command| command.env_remove("THINJAIL_ROOT"));
        for ((line, expected), found) in lines.iter().zip(expected).zip(answers.into_iter().flatten()) {
            let expected: BTreeSet<String> = expected.iter().map(|w| (*w).to_owned()).collect();
            assert_eq!(found, expected, "{shell:?}: {line}");
        }
    }
    user.leave();
}

#[test]
fn names_that_could_be_commands_are_left_out() {
    let user = User::new(Storage::Directory);
    let templates = user.stage.path("/zdata/jails/templates");
    for name in [
        &b"$(touch ran)"[..],
        b"`touch ran`",
        b"14.9-RELEASE;touch ran",
        b"14.9-$(touch ran)",
        b"14.9-RELEASE\n14.8-RELEASE",
        b"14.9-RELEASE'\"",
        b"-n",
        b"*",
        b"14.*",
        b"14.9-RELEASE\x1b[31m",
        b"14.9-RELEASE\xff",
        b"14.9-RELEASE ",
        b"~root",
        b"14.9-RELEASE-p1",
    ] {
        for suffix in [&b"-base"[..], b"-skeleton"] {
            fs::create_dir(templates.join(OsStr::from_bytes(&[name, suffix].concat()))).unwrap();
        }
    }
    user.stage.write("/zdata/jails/media/$(touch ran)-base.txz", "");
    user.stage.write("/zdata/jails/media/14.9-RELEASE;touch ran-base.txz", "");
    user.offers(&[
        ("jail-clone -r ", &["14.5-RELEASE"]),
        ("jail-clone -r 14.", &["14.5-RELEASE"]),
        ("skel-split ", &["14.5-RELEASE"]),
        ("skel-fetch 14.9", &[]),
        // What stands on the line is not run either.
        ("jail-sweep $(touch${IFS}ran) ", &[]),
        ("jail-destroy -R $(touch${IFS}ran) w", &[]),
        ("jail-destroy -R `touch${IFS}ran` w", &[]),
        ("jail-destroy $(touch${IFS}ran) w", &[]),
    ]);
    user.leave();
}

#[test]
fn bash_on_a_terminal() {
    let user = User::new(Storage::Directory);
    let files = user.home.path().join("files");
    fs::create_dir_all(files.join("only a directory")).unwrap();
    fs::write(files.join("it's $(touch ran).txz"), "").unwrap();
    let at = files.display();
    let lines = [
        "jail-destroy d".to_owned(),
        "jail-destroy -n d".to_owned(),
        "jail-destroy 'd".to_owned(),
        "jail-epair-up --bridge=ig".to_owned(),
        "jail-epair-up -big".to_owned(),
        "jail-rebase --keep=t".to_owned(),
        "jail-destroy --dr".to_owned(),
        format!("skel-fetch -f {at}/it"),
        format!("skel-fetch --file={at}/it"),
        format!("jail-clone -R {at}/o"),
        format!("jail-clone --root={at}/o"),
        // No directory, so nothing.
        format!("jail-clone -R {at}/it"),
        // What is behind the colon is in the jail.
        "jail-clone -m /etc:/us".to_owned(),
        format!("jail-clone -m {at}/it"),
        // Nothing, and nothing of readline's own.
        "jail-list jail-d".to_owned(),
    ];
    let hostile = format!("{at}/it's $(touch ran).txz");
    let directory = format!("{at}/only a directory/");
    let expected = [
        vec!["jail-destroy", "db"],
        vec!["jail-destroy", "-n", "db"],
        vec!["jail-destroy", "db"],
        vec!["jail-epair-up", "--bridge=igc0bridge"],
        vec!["jail-epair-up", "-bigc0bridge"],
        vec!["jail-rebase", "--keep=theirs"],
        vec!["jail-destroy", "--dry-run"],
        vec!["skel-fetch", "-f", &hostile],
        vec!["skel-fetch", &format!("--file={hostile}")],
        vec!["jail-clone", "-R", &directory],
        vec!["jail-clone", &format!("--root={directory}")],
        vec!["jail-clone", "-R", &format!("{at}/it")],
        vec!["jail-clone", "-m", "/etc:/us"],
        vec!["jail-clone", "-m", &hostile],
        vec!["jail-list", "jail-d"],
    ]
    .map(|words| words.into_iter().map(str::to_owned).collect::<BTreeSet<String>>());
    for ((line, expected), found) in
        lines.iter().zip(expected).zip(user.complete(Shell::Terminal, &lines).into_iter().flatten())
    {
        assert_eq!(found, expected, "{line}");
    }
    user.leave();
}

#[test]
fn bash_as_its_user_likes_it() {
    let user = User::new(Storage::Directory);
    let Some(bash) = which("bash") else { return user.leave() };
    let script = "set -fuC; shopt -s nullglob nocasematch extglob; IFS=e:/-; umask 777; alias read=false
                  source \"$1\"; COMP_WORDBREAKS=' '; COMP_LINE=$2 COMP_POINT=${#2}
                  _thinjail /usr/local/sbin/jail-epair-up; printf '%s\\n' \"${COMPREPLY[@]}\"";
    for (line, expected) in [
        ("jail-epair-up --bridge=i", "--bridge=igc0bridge\n"),
        ("jail-epair-up -b i -- w", "web\nwiki\n"),
        ("jail-epair-up -b 'i j' \"web\" \\e", "epair253\n"),
    ] {
        let file = Path::new(HERE).join("thinjail.bash");
        let output = user.start(&bash).args(["-c", script, "bash"]).arg(file).arg(line).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{line}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    }
    user.leave();
}

#[test]
fn fish_loads_each_program_once() {
    let user = User::new(Storage::Directory);
    let Some(fish) = which("fish") else { return user.leave() };
    let count = |script: &str| {
        let output = user.start(&fish).args(["-c", script]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let once = count("complete -C 'jail-clone -' >/dev/null; complete -c jail-clone | count");
    let programs = commands::all();
    let every: String =
        programs.iter().map(|p| format!("complete -C '{} -' >/dev/null;", p.get_name())).collect();
    assert_eq!(once, count(&format!("{every} complete -c jail-clone | count")));
    assert_eq!(once, "1\n");
    // By hand, all of them.
    let all = count(&format!("source {HERE}/thinjail.fish; complete -c jail-clone | count"));
    assert_eq!(all, once);
    user.leave();
}

#[test]
fn settings_are_read_as_the_programs_read_them() {
    let stage = Host::bare(Storage::Directory);
    for directory in ["a", "b", "with_blank c"] {
        fs::create_dir_all(stage.path(&format!("/{directory}/templates/14.5-RELEASE-base"))).unwrap();
    }
    for (text, environment) in [
        ("jail_dir=/a\n", None),
        ("jail_dir=\"/a\"", None),
        ("jail_dir='/a' # jail_dir=/b\n", None),
        ("# jail_dir=/b\n\n  jail_dir=/a\n", None),
        ("jail_dir=/b\njail_dir=/a\n", None),
        ("jail_dir=/a; jail_dir='/b';bsd_ver=14.5\n", None),
        ("bsd_ver=\"14.5\" jail_dir=\"/a\"\n", None),
        ("jail_dir=/a\n", Some("/b")),
        ("jail_dir=/a\njail_dir=''\n", None),
        ("jail_dir=/a\n", Some("")),
        ("jail_conf_dir=/a\n", None),
        ("jail_zfs=none\n", None),
        ("", None),
        ("jail_dir='/with_blank c'\n", None),
    ] {
        stage.write("/usr/local/etc/thinjail.conf", text);
        let settings = Settings::from_sources("t".as_ref(), text.as_bytes(), |name| {
            environment.filter(|_| name == "jail_dir").map(str::to_owned)
        });
        let expected = settings.unwrap().jail_dir;
        let ask = |words: &[&str]| {
            let mut command = Command::new(bin("thinjail-complete"));
            command.env_clear().envs(environment.map(|value| ("jail_dir", value)));
            command.env("THINJAIL_ROOT", stage.root()).arg("words").args(words);
            let output = command.output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().skip(1).map(|line| line.trim_end().to_owned()).collect::<Vec<_>>()
        };
        let found = ask(&["jail-clone", "-r", ""]);
        assert_eq!(found.join(" "), if expected.is_some() { "14.5-RELEASE" } else { "" }, "{text:?}");
        // What would have to be quoted is not offered.
        let expected = expected.filter(|dir| dir != Path::new("/with_blank c"));
        let expected = expected.map(|dir| format!("{}/web-nullfs-base", dir.display()));
        assert_eq!(ask(&["jail-sweep", "web", ""]).pop(), expected, "{text:?}");
    }
    stage.nothing_left();
}
