//! The port, and what `make install` and `make uninstall` do, with each make(1)
//! there is.
//!
//! The rules for the port's Makefile are the Porter's Handbook's, chapters
//! "Order of Variables in Port Makefiles" and "Configuring the Makefile", and
//! portfmt(1)'s for its layout.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use thinjail::commands;

/// The Handbook's order, a line a block; only what a port like this one may have.
const BLOCKS: [&[&str]; 8] = [
    &[
        "PORTNAME",
        "DISTVERSIONPREFIX",
        "DISTVERSION",
        "DISTVERSIONSUFFIX",
        "PORTREVISION",
        "PORTEPOCH",
        "CATEGORIES",
        "MASTER_SITES",
        "PKGNAMEPREFIX",
        "PKGNAMESUFFIX",
        "DISTNAME",
        "EXTRACT_SUFX",
        "DISTFILES",
        "DIST_SUBDIR",
        "EXTRACT_ONLY",
    ],
    &["PATCH_SITES", "PATCHFILES", "PATCH_DIST_STRIP"],
    &["MAINTAINER", "COMMENT", "WWW"],
    &["LICENSE", "LICENSE_COMB", "LICENSE_FILE"],
    &["DEPRECATED", "EXPIRATION_DATE", "FORBIDDEN", "BROKEN", "IGNORE", "ONLY_FOR_ARCHS", "NOT_FOR_ARCHS"],
    &["BUILD_DEPENDS", "LIB_DEPENDS", "RUN_DEPENDS", "TEST_DEPENDS"],
    &["USES", "USE_GITHUB", "GH_ACCOUNT", "GH_PROJECT", "GH_TAGNAME"],
    &["CARGO_BUILD_ARGS", "CARGO_FEATURES", "CARGO_TEST_ARGS", "SUB_FILES", "SUB_LIST"],
];

/// What a port must have.
const REQUIRED: [&str; 9] = [
    "PORTNAME",
    "DISTVERSION",
    "CATEGORIES",
    "MAINTAINER",
    "COMMENT",
    "WWW",
    "LICENSE",
    "LICENSE_FILE",
    "USES",
];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(top().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The column behind some text, with tab stops every eight columns.
fn column(text: &str) -> usize {
    text.chars().fold(0, |column, c| if c == '\t' { column / 8 * 8 + 8 } else { column + 1 })
}

/// What is wrong with the variables of a port's Makefile.
fn flaws(makefile: &str) -> Vec<String> {
    let mut flaws = Vec::new();
    let mut flaw = |what: String| flaws.push(what);
    let (variables, rest) = makefile.split_at(makefile.find("\n\ndo-").map_or(makefile.len(), |at| at + 1));
    let mut places = Vec::new();
    let mut names = Vec::new();
    for block in variables.trim_end().split("\n\n") {
        let mut columns = Vec::new();
        let mut longest = 0;
        let mut of_block = None;
        for line in block.lines() {
            let Some((name, value)) =
                line.split_once('=').filter(|(name, _)| !name.contains(char::is_whitespace))
            else {
                // What continues from the line before stands below its value.
                if line.trim_start_matches('\t').starts_with(char::is_whitespace) || !line.starts_with('\t') {
                    flaw(format!("neither a variable nor tabs in front: {line:?}"));
                }
                columns.push(column(&line[..line.len() - line.trim_start().len()]));
                continue;
            };
            let blank = &value[..value.len() - value.trim_start().len()];
            if blank.is_empty() || blank.contains(' ') {
                flaw(format!("{name}: no tab, or blanks, in front of the value"));
            }
            columns.push(column(&format!("{name}={blank}")));
            longest = longest.max(name.len() + 1);
            names.push(name.to_owned());
            let place = BLOCKS.iter().enumerate().find_map(|(number, names)| {
                names.iter().position(|known| *known == name).map(|position| (number, position))
            });
            let Some(place) = place else {
                flaw(format!("{name}: not in the order of variables"));
                continue;
            };
            if *of_block.get_or_insert(place.0) != place.0 {
                flaw(format!("{name}: in a block where it does not belong"));
            }
            places.push(place);
        }
        let stop = (longest / 8 * 8 + 8).max(16);
        if columns.iter().any(|c| *c != stop) {
            flaw(format!("values do not all begin in column {stop}: {columns:?}: {block}"));
        }
    }
    if !places.is_sorted() {
        flaw(format!("not in the Handbook's order: {names:?}"));
    }
    for name in REQUIRED.iter().filter(|name| !names.iter().any(|n| n == *name)) {
        flaw(format!("no {name}"));
    }
    for line in makefile.lines() {
        if line.ends_with([' ', '\t'])
            || column(line) > 80 && !line.contains("://") && !line.starts_with('\t')
        {
            flaw(format!("blanks at the end, or too long: {line:?}"));
        }
    }
    if makefile.contains("\n\n\n") || !rest.ends_with("\n\n.include <bsd.port.mk>\n") {
        flaw("does not end with the .include, or two empty lines".into());
    }
    flaws
}

fn variable<'a>(makefile: &'a str, name: &str) -> &'a str {
    let line = makefile.lines().find_map(|l| l.strip_prefix(name)?.trim_start().strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {name}")).trim()
}

#[test]
fn the_ports_makefile_is_as_the_handbook_has_it() {
    let makefile = read("share/port/Makefile");
    assert_eq!(flaws(&makefile), Vec::<String>::new());
    let comment = variable(&makefile, "COMMENT");
    assert!(
        comment.len() <= 70 && !comment.ends_with('.') && comment.starts_with(char::is_uppercase),
        "{comment}"
    );
    for name in ["a ", "an ", "the ", "thinjail"] {
        assert!(!comment.to_lowercase().starts_with(name), "{comment}");
    }
    assert_eq!(variable(&makefile, "LICENSE"), "BSD2CLAUSE");
    assert_eq!(variable(&makefile, "LICENSE_FILE"), "${WRKSRC}/LICENSE");
    assert!(read("LICENSE").starts_with("BSD 2-Clause License\n"));
}

#[test]
fn flaws_of_a_ports_makefile_are_seen() {
    let good = read("share/port/Makefile");
    let worse: [(&str, &str); 9] = [
        ("CATEGORIES=\tsysutils\n", ""),
        ("PORTNAME=\tthinjail\nDISTVERSION=\t0.1.0\n", "DISTVERSION=\t0.1.0\nPORTNAME=\tthinjail\n"),
        ("WWW=\t\t", "WWW=\t"),
        ("USES=\t\tcargo", "USES=           cargo"),
        ("\n\nUSES=", "\nUSES="),
        ("\n\nUSES=", "\n\n\nUSES="),
        ("USES=", "USE_ALL=\tyes\nUSES="),
        ("COMMENT=\tHooks", "COMMENT=\tHooks \t"),
        ("\n.include <bsd.port.mk>\n", "\n.include <bsd.port.mk>\n\n"),
    ];
    for (from, to) in worse {
        let makefile = match to.ends_with(" \t") {
            true => good.replace("${WRKSRC}/LICENSE", "${WRKSRC}/LICENSE "),
            false => good.replace(from, to),
        };
        assert_ne!(makefile, good, "{from:?}");
        assert!(!flaws(&makefile).is_empty(), "{from:?} -> {to:?}: nothing seen");
    }
}

#[test]
fn versions_agree() {
    assert_eq!(variable(&read("share/port/Makefile"), "DISTVERSION"), env!("CARGO_PKG_VERSION"));
    assert_eq!(variable(&read("Makefile"), "VERSION"), env!("CARGO_PKG_VERSION"));
}

#[test]
fn makefile_crates_is_that_of_cargo_lock() {
    let lock = read("Cargo.lock");
    let mut crates = Vec::new();
    for package in lock.split("[[package]]\n").skip(1) {
        let field = |name: &str| {
            package
                .lines()
                .find_map(|l| l.strip_prefix(name)?.strip_prefix(" = "))
                .map(|v| v.trim_matches('"'))
        };
        if field("source").is_some() {
            crates.push(format!("{}-{}", field("name").unwrap(), field("version").unwrap()));
        }
    }
    let makefile = read("share/port/Makefile.crates");
    let listed = variable(&makefile, "CARGO_CRATES").to_owned() + "\n" + makefile.split_once('\n').unwrap().1;
    let listed: Vec<&str> = listed.split_whitespace().filter(|word| *word != "\\").collect();
    assert_eq!(listed, crates, "run make crates");
}

#[test]
fn descriptions_fit_a_terminal() {
    for file in ["share/port/pkg-descr", "share/port/pkg-message"] {
        for line in read(file).lines() {
            assert!(column(line) <= 80 && !line.ends_with([' ', '\t']), "{file}: {line}");
        }
    }
    // UCL: an array of objects, each with its text; see pkg-message in the Handbook.
    let message = read("share/port/pkg-message");
    assert!(message.starts_with("[\n{ type: ") && message.ends_with("}\n]\n"));
    assert_eq!(message.matches("<<EOM\n").count(), message.matches("\nEOM\n").count());
    assert_eq!(message.matches("{ type: ").count(), message.matches("<<EOM\n").count());
}

/// The makes of this machine. make(1) of FreeBSD is called bmake elsewhere.
fn makes() -> Vec<&'static str> {
    let found = |make: &&str| {
        let run = Command::new(make).args(["-f", "/dev/null", "-n"]).output();
        run.is_ok_and(|run| run.status.code().is_some())
    };
    let makes: Vec<&str> = ["make", "gmake", "bmake"].into_iter().filter(found).collect();
    assert!(!makes.is_empty(), "there is no make(1)");
    makes
}

/// A place to install into, with blanks in its name, and programs to install.
struct Host {
    directory: TempDir,
}

impl Host {
    fn new() -> Host {
        let directory = TempDir::with_prefix("thin jail ").unwrap();
        let built = directory.path().join("what was built");
        fs::create_dir(&built).unwrap();
        let programs = commands::all();
        for name in programs.iter().map(clap::Command::get_name).chain(["thinjail-complete"]) {
            fs::write(built.join(name), name).unwrap();
            fs::set_permissions(built.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        Host { directory }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("the root")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join("usr/local").join(path)
    }

    fn make(&self, make: &str, target: &str) {
        let run = Command::new(make)
            .current_dir(top())
            .args(["-j4", target])
            .arg(format!("DESTDIR={}", self.root().display()))
            .arg(format!("BUILT={}", self.directory.path().join("what was built").display()))
            .env_remove("MAKEFLAGS")
            .env_remove("MFLAGS")
            .env_remove("MAKELEVEL")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success() && said.is_empty(), "{make} {target}: {said}");
    }

    /// All that is there but directories: path and mode, or what a link says.
    fn listing(&self) -> BTreeMap<String, String> {
        fn collect(root: &Path, directory: &Path, all: &mut BTreeMap<String, String>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let meta = fs::symlink_metadata(&path).unwrap();
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                if meta.is_dir() {
                    collect(root, &path, all);
                } else if meta.is_symlink() {
                    let text = fs::read_link(&path).unwrap();
                    assert!(fs::metadata(&path).unwrap().is_file(), "{name}: dangling");
                    all.insert(name, format!("-> {}", text.display()));
                } else {
                    all.insert(name, format!("{:o}", meta.permissions().mode() & 0o7777));
                }
            }
        }
        let mut all = BTreeMap::new();
        if self.root().exists() {
            collect(&self.root().join("usr/local"), &self.root().join("usr/local"), &mut all);
        }
        all
    }
}

/// The files of pkg-plist as `make install` writes them: pages are compressed
/// by the ports framework, not by us.
fn plist() -> Vec<String> {
    let file = |line: &str| {
        let path = line
            .strip_prefix("@sample ")
            .unwrap_or(line)
            .replace("%%EXAMPLESDIR%%", "share/examples/thinjail");
        assert!(!path.contains(['@', '%', ' ']), "pkg-plist: {line}");
        // jail-setup writes thinjail.conf; the sample in its place would be taken for the administrator's settings.
        let becomes_live = path.ends_with(".sample") && path != "etc/thinjail.conf.sample";
        assert_eq!(line.starts_with("@sample "), becomes_live, "pkg-plist: {line}");
        match path.starts_with("share/man/") {
            true => path.strip_suffix(".gz").unwrap_or_else(|| panic!("{line}: not compressed")).to_owned(),
            false => path,
        }
    };
    read("share/port/pkg-plist").lines().map(file).collect()
}

#[test]
fn the_plist_is_what_is_installed_and_all_of_it_goes_again() {
    let files = plist();
    assert!(files.is_sorted_by(|a, b| a < b), "pkg-plist is not sorted, or has something twice");
    let mut before: Option<BTreeMap<String, String>> = None;
    for make in makes() {
        let stage = Host::new();
        stage.make(make, "install");
        let installed = stage.listing();
        assert_eq!(
            files,
            installed.keys().cloned().collect::<Vec<_>>(),
            "pkg-plist (left), {make} install (right)"
        );
        if let Some(before) = before.replace(installed.clone()) {
            assert_eq!(before, installed, "{make} installs something else");
        }
        // Once more is the same.
        stage.make(make, "install");
        assert_eq!(stage.listing(), installed);
        stage.make(make, "uninstall");
        assert_eq!(stage.listing(), BTreeMap::new(), "left by {make} uninstall");
        for directory in ["share/examples/thinjail", "share/zsh", "share/fish", "share/bash-completion"] {
            assert!(!stage.at(directory).exists(), "{make} uninstall leaves {directory}");
        }
        // And once more is no error.
        stage.make(make, "uninstall");
    }
}

#[test]
fn what_the_administrator_has_stays() {
    for make in makes() {
        let stage = Host::new();
        for directory in ["etc/newsyslog.conf.d", "share/zsh/site-functions", "share/examples"] {
            fs::create_dir_all(stage.at(directory)).unwrap();
        }
        let mode = |path: &str| fs::metadata(stage.at(path)).unwrap().permissions().mode() & 0o7777;
        fs::set_permissions(stage.at("etc"), fs::Permissions::from_mode(0o750)).unwrap();
        let own =
            ["etc/thinjail.conf", "etc/newsyslog.conf.d/thinjail.conf", "share/zsh/site-functions/_mine"];
        for file in own {
            fs::write(stage.at(file), "mine").unwrap();
        }
        symlink("/nowhere", stage.at("share/examples/mine")).unwrap();
        stage.make(make, "install");
        fs::write(stage.at("share/examples/thinjail/jail.conf.d/mine.conf"), "mine").unwrap();
        assert_eq!(mode("etc"), 0o750, "{make}");
        stage.make(make, "uninstall");
        for file in own.into_iter().chain(["share/examples/thinjail/jail.conf.d/mine.conf"]) {
            assert_eq!(fs::read_to_string(stage.at(file)).unwrap(), "mine", "{make}: {file}");
        }
        assert!(fs::symlink_metadata(stage.at("share/examples/mine")).unwrap().is_symlink());
        assert_eq!(mode("etc"), 0o750, "{make}");
        // Nothing but what was there before.
        let count = |at: &Path| fs::read_dir(at).unwrap().count();
        assert_eq!(count(&stage.at("etc/newsyslog.conf.d")), 1);
        assert_eq!(count(&stage.at("share/examples/thinjail/jail.conf.d")), 1);
        assert_eq!(count(&stage.at("sbin")), 0);
    }
}

#[test]
fn what_is_not_built_is_not_installed() {
    for make in makes() {
        let stage = Host::new();
        fs::remove_file(stage.directory.path().join("what was built/skel-update")).unwrap();
        let run = Command::new(make)
            .current_dir(top())
            .arg("install")
            .arg(format!("DESTDIR={}", stage.root().display()))
            .arg(format!("BUILT={}", stage.directory.path().join("what was built").display()))
            .output()
            .unwrap();
        assert!(!run.status.success(), "{make}");
        assert!(
            String::from_utf8_lossy(&run.stderr).starts_with("skel-update is not built; run make first\n")
        );
        assert!(!stage.root().exists(), "{make}: something is installed");
    }
}
