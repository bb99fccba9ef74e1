//! jail.conf(5) against a corpus.
//!
//! Each directory below tests/jailconf is an alternate root: etc/jail.conf and
//! what it includes. `export` is what `jail -e '|'` prints for it; `errors` what
//! it prints on standard error, without `jail: `, and for an `error-` directory
//! only the first complaint. `article` and `hooks` give the lines recorded on a
//! FreeBSD 15.0 host. The expectations of the others follow from the sources of
//! usr.sbin/jail and were compared with their output, built on another system;
//! for `lists` with the crash described in the module's documentation mended.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use thinjail::formats::jailconf::{Command, Config, Error, UnderRoot, command_words, cut, export_line};

const JAIL_CONF: &str = "/etc/jail.conf";

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jailconf")
}

fn root(case: &str) -> UnderRoot {
    UnderRoot { root: corpus().join(case) }
}

fn load(case: &str) -> Config {
    Config::load(&root(case), Path::new(JAIL_CONF)).unwrap()
}

/// Standard output and standard error of `jail -e '|'`.
fn export(files: &UnderRoot) -> (String, String) {
    match Config::load(files, Path::new(JAIL_CONF)) {
        Err(error) => (String::new(), format!("{error}\n")),
        Ok(config) => {
            let (mut out, mut err) = (String::new(), String::new());
            for jail in config.jails() {
                let resolved = config.resolve(jail);
                out += &format!("{}\n", export_line(&resolved, "|"));
                for error in &resolved.errors {
                    err += &format!("{error}\n");
                }
            }
            (out, err)
        }
    }
}

#[test]
fn the_corpus_is_read_as_jail_reads_it() {
    let mut cases = 0;
    for entry in fs::read_dir(corpus()).unwrap() {
        let root = entry.unwrap().path();
        let expected = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
        let (out, err) = export(&UnderRoot { root: root.clone() });
        assert_eq!(out, expected("export"), "export of {}", root.display());
        assert_eq!(err, expected("errors"), "errors of {}", root.display());
        cases += 1;
    }
    assert!(cases > 30, "only {cases} cases found");
}

#[test]
fn the_recorded_lines_are_reproduced() {
    // transcripts/jail.txt, FreeBSD 15.0.
    let recorded = [
        concat!(
            "name=dev|devfs_ruleset=5|exec.start=\"/bin/sh /etc/rc\",",
            "\"ifconfig epair253b 192.168.7.253/24 up\",\"route add default 192.168.7.101\"|",
            "exec.stop=\"/bin/sh /etc/rc.shutdown\"|",
            "exec.consolelog=/var/log/jail_console_dev.log|allow.raw_sockets|exec.clean|",
            "mount.devfs|allow.mount|allow.mount.devfs|enforce_statfs=1|host.hostname=dev|",
            "path=/zdata/jails/dev-nullfs-base|interface=igc0bridge|vnet|",
            "vnet.interface=epair253b|exec.prestart=\"ifconfig epair253 create up\",",
            "\"ifconfig epair253a up descr jail:dev\",\"ifconfig igc0bridge addm epair253a up\"|",
            "exec.poststop=\"ifconfig igc0bridge deletem epair253a\",",
            "\"ifconfig epair253a destroy\"|mount.fstab=/zdata/jails/dev-nullfs-base.fstab",
        ),
        concat!(
            "name=web|exec.clean|mount.devfs|enforce_statfs=1|persist|",
            "path=/zdata/jails/web-nullfs-base|",
            "mount.fstab=/zdata/jails/web-nullfs-base.fstab|vnet|vnet.interface=epair30b|",
            "exec.prestart=\"/tmp/j/hook prestart web epair30\"|",
            "exec.created=\"/tmp/j/hook created web\"|",
            "exec.start=\"/sbin/ifconfig epair30b inet 192.168.7.30/24 up\",",
            "\"/sbin/route add default 192.168.7.101\"|",
            "exec.poststart=\"/tmp/j/hook poststart web\"|",
            "exec.prestop=\"/tmp/j/hook prestop web\"|",
            "exec.poststop=\"/tmp/j/hook poststop web\"|",
            "exec.release=\"/tmp/j/hook release web\"",
        ),
    ];
    for (case, line) in ["article", "hooks"].into_iter().zip(recorded) {
        let config = load(case);
        let jail = config.jails().next().unwrap();
        assert_eq!(export_line(&config.resolve(jail), "|"), line, "{case}");
    }
}

#[test]
fn positions_lead_back_to_the_files() {
    let config = load("include");
    let files: Vec<_> = config.files().map(|f| f.display().to_string()).collect();
    assert_eq!(
        files,
        [
            "/etc/jail.conf",
            "/etc/jail.conf.d/a.conf",
            "/etc/jail.conf.d/b.conf",
            "/etc/plain.conf",
            "/etc/deep/more",
            "/etc/once.conf",
            "/etc/inside.conf",
        ]
    );
    let kid = config.jail("web.kid").unwrap();
    assert_eq!(kid.position().to_string(), "/etc/inside.conf line 2");
    let text = fs::read(corpus().join("include/etc/inside.conf")).unwrap();
    assert_eq!(&text[kid.range()], b"kid { inside += kid; }");
    let resolved = config.resolve(kid);
    let more = resolved.params.iter().find(|p| p.name == "more").unwrap();
    assert_eq!(more.position.to_string(), "/etc/deep/more line 1");
}

#[test]
fn every_block_can_be_cut_out() {
    for case in ["nested", "wildcards", "comments", "manual", "duplicates"] {
        let text = fs::read(corpus().join(case).join("etc/jail.conf")).unwrap();
        let config = load(case);
        for jail in config.jails() {
            let rest = cut(&text, jail.range());
            let mut less = Config::default();
            less.parse_more(Path::new(JAIL_CONF), &rest).unwrap();
            // Blocks inside the block go with it.
            let inside =
                |range: &Range<usize>| jail.range().start <= range.start && range.end <= jail.range().end;
            let others: Vec<_> =
                config.jails().filter(|other| !inside(&other.range())).map(|other| other.name()).collect();
            let left: Vec<_> = less.jails().map(|other| other.name()).collect();
            assert_eq!(left, others, "{case} without {}", jail.name());
        }
    }
}

#[test]
fn values_are_found_by_name() {
    let config = load("article");
    let dev = config.resolve(config.jail("dev").unwrap());
    assert_eq!(dev.errors, []);
    assert_eq!(dev.var("id"), Some("253"));
    assert_eq!(dev.var("epair"), Some("epair253"));
    assert_eq!(dev.var("path"), None);
    assert_eq!(dev.get("epair"), None);
    assert_eq!(dev.scalar("path"), Some("/zdata/jails/dev-nullfs-base"));
    assert_eq!(dev.get("exec.start").unwrap().len(), 3);
    assert_eq!(dev.get("vnet"), Some(&[][..]));
    assert_eq!(dev.bool("vnet"), Some(true));
    assert_eq!(dev.bool("persist"), None);
    let words = command_words(&dev.get("exec.prestart").unwrap()[0]);
    let argv = ["ifconfig", "epair253", "create", "up"].map(str::to_owned);
    assert_eq!(words, Command::Exec { argv: argv.into(), background: false });

    let config = load("booleans");
    let one = config.resolve(config.jail("one").unwrap());
    for (name, expected) in [
        ("allow.mount", Some(false)),
        ("allow.nomount", Some(false)),
        ("allow.chflags", Some(true)),
        ("persist", Some(false)),
        ("mount.devfs", Some(false)),
        ("vnet", None),
    ] {
        assert_eq!(one.bool(name), expected, "{name}");
    }
}

#[test]
fn one_bad_parameter_does_not_hide_the_others() {
    let config = load("variables");
    let six = config.resolve(config.jail("six").unwrap());
    assert_eq!(six.get("s"), Some(&["fine".to_owned()][..]));
    assert_eq!(six.get("r"), None);
    // Whatever used the bad one is bad as well, without a word of its own.
    assert_eq!(six.get("t"), None);
    let about: Vec<_> = six.errors.iter().filter_map(Error::param).collect();
    assert_eq!(about, ["x", "q", "r"]);
    assert!(matches!(
        six.errors.last(),
        Some(Error::NotFound { variable, at, .. }) if variable == "nope" && at.line() == 10
    ));
}

#[test]
fn a_substituted_list_is_a_warning() {
    let config = load("lists");
    let whole = config.resolve(config.jail("whole").unwrap());
    assert_eq!(whole.errors, []);
    assert_eq!(whole.get("ip4.addr").unwrap().len(), 2);
    assert!(matches!(whole.warnings.as_slice(), [Error::ListSubstituted { .. }]));
}

#[test]
fn duplicates_are_two_jails() {
    let config = load("duplicates");
    let lines: Vec<_> =
        config.duplicates().iter().map(|jail| (jail.name(), jail.position().line())).collect();
    assert_eq!(lines, [("web", 3)]);
    assert_eq!(config.jail("web").unwrap().position().line(), 1);
}

#[test]
fn more_files_join_the_configuration() {
    let files = root("article");
    let mut config = load("article");
    let dev = Path::new("/etc/jail.conf.d/dev.conf");
    config.load_more(&files, dev).unwrap();
    assert_eq!(config.duplicates().len(), 0, "read twice");

    let candidate = b"web { $id = 10; }\n";
    let name = Path::new("/etc/jail.conf.d/web.conf");
    config.parse_more(name, candidate).unwrap();
    let web = config.resolve(config.jail("web").unwrap());
    assert_eq!(web.errors, []);
    assert_eq!(web.scalar("vnet.interface"), Some("epair10b"));

    let before = config.jails().count();
    let error = config.parse_more(name, b"a { }\nb {").unwrap_err();
    assert_eq!(error.to_string(), "/etc/jail.conf.d/web.conf: unexpected EOF");
    assert_eq!(config.jails().count(), before);
    let error = config.parse_more(name, b".include \"dev.conf\";").unwrap_err();
    assert!(matches!(error, Error::Read { at: Some(_), .. }));
    let error = config.load_more(&files, Path::new("/etc/none.conf")).unwrap_err();
    assert_eq!(error.to_string(), "/etc/none.conf: No such file or directory");
}
