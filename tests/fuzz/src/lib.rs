//! What is asked of each parser for any input at all: that it neither panics
//! nor takes its time, and where there is a way back, that what was read is
//! written and read again as the same.
//!
//! libFuzzer calls these (targets/), and so does tests/suite/fuzz_corpus.rs with all
//! that libFuzzer found worth keeping.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::{Debug, Display};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use thinjail::commands;
use thinjail::commands::common::{self, Arguments, parse_from};
use thinjail::commands::jail_doctor::facts;
use thinjail::domain::base_version::Version;
use thinjail::domain::epair;
use thinjail::domain::fstab;
use thinjail::domain::layout::{Layout, MOVED, Storage};
use thinjail::domain::links::{self, Reading};
use thinjail::domain::settings::Settings;
use thinjail::domain::template;
use thinjail::formats::jail_manifest::{ArchiveEnd, JailManifest};
use thinjail::formats::jailconf::{self, Config, Files, command_words, export_line, glob_match};
use thinjail::formats::manifest;
use thinjail::formats::mtree;
use thinjail::formats::rcconf;
use thinjail::formats::shell;
use thinjail::formats::tar::{END, TarEntry, TarReader, padding};
use thinjail::formats::vis;
use thinjail::system::archive::Listing;
use thinjail::system::tree::{CONTAINER, Unpacker};
use thinjail::system::zfs::{self, Dataset};
use thinjail::types::address::{self, Address, Id};
use thinjail::types::interface::{IfName, Mtu, PairName};
use thinjail::types::jail_name::JailName;
use thinjail::types::mac::{Mac, PairMacs};
use thinjail::types::mirror::{Arch, Mirror};
use thinjail::types::mount::ExtraMount;
use thinjail::types::release::Release;

/// What takes the input.
pub type Target = fn(&[u8]);

/// Everything that is fuzzed, by the name of its corpus and of its program.
pub const TARGETS: [(&str, Target); 14] = [
    ("archive", archive),
    ("arguments", arguments),
    ("facts", facts),
    ("fstab", fstab),
    ("jailconf", jailconf),
    ("links", links),
    ("manifest", manifest),
    ("mtree", mtree),
    ("names", names),
    ("quoting", quoting),
    ("settings", settings),
    ("tar", tar),
    ("unpack", unpack),
    ("zfs", zfs),
];

/// Runs the target of that name.
pub fn run(name: &str, input: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of that name");
    target(input);
}

/// The listing of an archive: what passes stays below the top, and nothing is
/// unpacked or linked through a link.
fn archive(input: &[u8]) {
    let mut listing = Listing::default();
    for line in input.split(|b| *b == b'\n') {
        if listing.line(line).is_err() {
            return;
        }
        let name = after_words(line, 8);
        let name = name.split(|b| *b == b'\n').next().unwrap_or_default();
        if line[0] == b'-' || line[0] == b'd' {
            assert!(stays_below(name), "{:?}", String::from_utf8_lossy(line));
        }
    }
    let _ = listing.finish();
}

/// What stands behind so many words and one blank.
fn after_words(line: &[u8], words: usize) -> &[u8] {
    let mut at = 0;
    for _ in 0..words {
        at += line[at..].iter().take_while(|b| **b == b' ').count();
        at += line[at..].iter().take_while(|b| **b != b' ').count();
    }
    line.get(at + 1..).unwrap_or_default()
}

fn stays_below(name: &[u8]) -> bool {
    let mut depth = 0_i64;
    let mut parts = name.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".");
    let mut below = |part: &[u8]| {
        depth += if part == b".." { -1 } else { 1 };
        depth >= 0
    };
    name.first().is_some_and(|b| *b != b'/') && parts.all(&mut below)
}

/// Command lines: the first byte is the program, NULs end the words.
fn arguments(input: &[u8]) {
    let Some((program, words)) = input.split_first() else { return };
    let words: Vec<OsString> = words.split(|b| *b == 0).map(|w| OsString::from_vec(w.to_vec())).collect();
    match program % 13 {
        0 => read::<commands::jail_epair_up::JailEpairUp>(words),
        1 => read::<commands::jail_epair_down::JailEpairDown>(words),
        2 => read::<commands::jail_sweep::JailSweep>(words),
        3 => read::<commands::jail_mkfstab::JailMkfstab>(words),
        4 => read::<commands::jail_clone::JailClone>(words),
        5 => read::<commands::jail_list::JailList>(words),
        6 => read::<commands::jail_doctor::JailDoctor>(words),
        7 => read::<commands::skel_fixcerts::SkelFixcerts>(words),
        8 => read::<commands::jail_destroy::JailDestroy>(words),
        9 => read::<commands::skel_fetch::SkelFetch>(words),
        10 => read::<commands::skel_split::SkelSplit>(words),
        11 => read::<commands::skel_update::SkelUpdate>(words),
        _ => read::<commands::jail_rebase::JailRebase>(words),
    }
}

/// A usage error is one line in words for syslog.
fn assert_summary(error: &clap::Error, words: &[OsString]) {
    let line = common::summary(error);
    assert!(!line.is_empty() && !line.starts_with(' '), "{line:?}");
    assert!(!line.chars().any(char::is_control), "{line:?}");
    // Traces of values that were printed for programmers, unless they were given. A
    // line has one space for white space of any kind.
    let one_line = |w: &OsString| w.to_string_lossy().split_whitespace().collect::<Vec<_>>().join(" ");
    let words: Vec<String> = words.iter().map(one_line).collect();
    for artefact in ["os error", "Some(", "Err(", "Os {", "kind: ", "\\\"", "\\u{", ": : "] {
        let given = |w: &String| w.contains(artefact.trim_matches([':', ' ']));
        assert!(!line.contains(artefact) || words.iter().any(given), "{line:?}");
    }
}

fn read<P: Arguments>(words: Vec<OsString>) {
    let read =
        |words: &[OsString]| parse_from::<P>(std::iter::once("program".into()).chain(words.iter().cloned()));
    match read(&words) {
        Err(error) if error.use_stderr() => assert_summary(&error, &words),
        Err(_) => {
            let is_option = |w: &OsString| matches!(w.as_bytes(), [b'-', rest @ ..] if rest != b"-");
            assert!(words.iter().any(is_option), "{words:?}");
        }
        Ok(_) => {
            // One more of what is there once at most is a mistake, or one of many.
            let mut more = words;
            more.push("--no-such-option".into());
            let ended = more.iter().any(|w| w == "--");
            assert!(ended || read(&more).is_err());
        }
    }
}

/// What sysrc(8), `jail -e` and commands in jail.conf(5) say.
fn facts(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let read = thinjail::domain::rc_conf::assignments(text);
    let written: String = read.iter().map(|(name, value)| format!("{name}=\"{value}\"\n")).collect();
    assert_eq!(thinjail::domain::rc_conf::assignments(&written), read);
    for word in facts::words(text) {
        assert!(!word.is_empty() && !facts::program(&word).contains('/'));
    }
    if let jailconf::Command::Exec { argv, .. } = command_words(text) {
        assert_eq!(command_words(&argv.join(" ")), jailconf::Command::Exec { argv, background: false });
    }
}

/// fstab(5), and the argument of -m.
fn fstab(input: &[u8]) {
    let lines = 1 + input.iter().filter(|b| **b == b'\n').count();
    let (entries, findings) = fstab::parse(input);
    let told = entries.iter().map(|(line, _)| *line).chain(findings.iter().map(|f| f.line));
    assert!(told.into_iter().all(|line| (1..=lines).contains(&line)));
    assert!(entries.is_sorted_by_key(|(line, _)| *line));
    let entries: Vec<fstab::FstabEntry> = entries.into_iter().map(|(_, entry)| entry).collect();
    let (again, findings) = fstab::parse(&fstab::format(&entries));
    assert!(findings.is_empty(), "{findings:?}");
    let again: Vec<fstab::FstabEntry> = again.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(again, entries);
    extra(OsStr::from_bytes(input));
}

fn extra(argument: &OsStr) {
    let Ok(extra) = ExtraMount::parse(argument) else { return };
    assert!(extra.target.is_absolute() && extra.target.components().all(|c| c != Component::ParentDir));
    assert!(matches!(extra.options[0].as_str(), "ro" | "rw"));
    let mut written = Vec::new();
    for path in [&extra.source, &extra.target] {
        for b in path.as_os_str().as_bytes() {
            if matches!(b, b':' | b'\\') {
                written.push(b'\\');
            }
            written.push(*b);
        }
        written.push(b':');
    }
    written.extend(format!("type={},", extra.kind).bytes());
    for b in extra.options.join(",").bytes() {
        if b == b':' {
            written.push(b'\\');
        }
        written.push(b);
    }
    assert_eq!(ExtraMount::parse(OsStr::from_bytes(&written)), Ok(extra));
}

/// Files that exist only here.
struct InMemory(BTreeMap<PathBuf, Vec<u8>>);

impl Files for InMemory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.0.keys().filter(|path| glob_match(pattern, path)).cloned().collect())
    }
}

/// How many jails or sets are looked at one by one.
const SOME: usize = 16;

/// How many parameters, each of which is looked for among all.
const MANY: usize = 100;

/// jail.conf(5): the files are separated by a byte that can stand in none but
/// in a comment. The first is /etc/jail.conf, the others are /etc/1 and so on.
fn jailconf(input: &[u8]) {
    let main = Path::new("/etc/jail.conf");
    let names = (1..).map(|n| PathBuf::from(format!("/etc/{n}")));
    let names = std::iter::once(main.to_owned()).chain(names);
    // Few, or files that include all others would be read 8 to the 32nd times.
    let texts = input.splitn(4, |b| *b == 0xff).map(<[u8]>::to_vec);
    let files = InMemory(names.zip(texts).collect());
    let includes = files.0.values().map(|t| t.windows(8).filter(|w| w == b".include").count()).sum::<usize>();
    if includes <= 4 {
        match Config::load(&files, main) {
            Ok(config) => every_jail(&config),
            Err(e) => assert!(!e.to_string().is_empty()),
        }
    }
    let text = &files.0[main];
    let mut config = Config::default();
    if config.parse_more(main, text).is_err() {
        assert!(config.is_empty());
        return;
    }
    every_jail(&config);
    for jail in config.jails().take(SOME) {
        // Without its block all is as it was, but for that jail and those in it.
        let rest = jailconf::cut(text, jail.range());
        let mut others = Config::default();
        others.parse_more(main, &rest).expect("what is left when a block is cut out");
        let outside = |other: &&jailconf::Jail| {
            other.range().end <= jail.range().start
                || jail.range().end <= other.range().start
                || other.range().start < jail.range().start
        };
        let expected: Vec<&str> = config.jails().filter(outside).map(jailconf::Jail::name).collect();
        let found: Vec<&str> = others.jails().map(jailconf::Jail::name).collect();
        assert_eq!(found, expected);
    }
}

fn every_jail(config: &Config) {
    let mut written = String::new();
    for jail in config.jails().take(SOME) {
        let resolved = config.resolve(jail);
        export_line(&resolved, "\t");
        for param in resolved.params.iter().take(MANY) {
            param.values.iter().for_each(|value| drop(facts::words(value)));
            resolved.bool(&param.name);
        }
        // As its own file, with everything settled, it says the same.
        let block = format!("{} {{", jailconf::quote(jail.name()));
        written += &block;
        let plain =
            resolved.params.iter().filter(|p| !p.is_bad && !matches!(p.name.as_str(), "name" | "jid"));
        for param in plain.clone() {
            let values: Vec<String> = param.values.iter().map(|v| jailconf::quote(v)).collect();
            let dollar = if param.is_variable { "$" } else { "" };
            let name = match dollar {
                "" => jailconf::quote(&param.name),
                _ => format!("${{{}}}", param.name.replace('\\', "\\\\")),
            };
            // A variable's name has a syntax of its own.
            if param.is_variable && !param.name.bytes().all(|b| b.is_ascii_alphanumeric()) {
                continue;
            }
            let sign = if values.is_empty() { "" } else { " = " };
            written += &format!("{name}{sign}{};", values.join(", "));
        }
        written += "}\n";
        if resolved.errors.is_empty() && !jail.name().contains('.') {
            let mut alone = Config::default();
            alone.parse_more(Path::new("w"), written.as_bytes()).expect("what was written");
            let again =
                alone.jails().last().map(|jail| alone.resolve(jail)).expect("the jail that was written");
            assert_eq!(again.jail, jail.name());
            for param in plain.filter(|p| !p.is_variable).take(MANY) {
                assert_eq!(again.get(&param.name), Some(param.values.as_slice()), "{written}");
            }
        }
        written.clear();
    }
}

/// The texts of links: the first byte is the directory.
fn links(input: &[u8]) {
    let Some((directory, text)) = input.split_first() else { return };
    const DIRECTORIES: [&str; 8] =
        ["etc", "etc/ssl/certs", "usr/local", "usr/local/a/b", "var/db", "root", "home/a", "tmp/x/y/z"];
    let directory = DIRECTORIES[usize::from(directory % 8)];
    if text.is_empty() || text[0] == b'/' || text.contains(&0) {
        return;
    }
    let lexical = |from: &str, text: &[u8]| {
        let mut here = PathBuf::from(from);
        for part in text.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(here.pop()),
                name => here.push(OsStr::from_bytes(name)),
            }
        }
        here
    };
    let meant = lexical(&format!("/{directory}"), text);
    match links::read_text(Path::new(directory), text) {
        Reading::Inside => {
            // It ends in a moved tree, or it never left by climbing alone.
            let real = lexical(&format!("/skeleton/{directory}"), text);
            let inside = MOVED.iter().any(|m| meant.starts_with(Path::new("/").join(m)));
            assert!(inside || !real.starts_with("/skeleton"), "{meant:?} {real:?}");
        }
        Reading::Outside { target, text } => {
            assert_eq!(target, meant);
            assert_eq!(lexical(&format!("/skeleton/{directory}"), text.as_bytes()), meant);
            assert!(!MOVED.iter().any(|m| meant.starts_with(Path::new("/").join(m))), "{meant:?}");
        }
    }
}

fn manifest(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(sets) = manifest::parse(text) else { return };
    let line = |s: &manifest::Set| {
        format!("{}\t{}\t{}\tx\t\"y\"\ton\n", s.name, manifest::to_hex(&s.sha256), s.entries)
    };
    let written: String = sets.iter().map(line).collect();
    assert_eq!(manifest::parse(&written).expect("what was written"), sets);
    for set in sets.into_iter().take(SOME) {
        assert!(!set.name.contains('/'));
        assert_eq!(manifest::find(text, &set.name).expect("a set that is there"), set);
    }
}

fn mtree(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let found = mtree::directories(text);
    assert!(found.len() <= 1 + text.lines().count());
    for path in found {
        assert!(path.components().all(|c| matches!(c, Component::Normal(_))), "{path:?}");
        assert!(path.as_os_str().len() <= 1024);
    }
}

/// All that is one word: of it, written, the same comes out again.
fn names(input: &[u8]) {
    extra(OsStr::from_bytes(input));
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = <Arch as clap::ValueEnum>::from_str(text, false);
    if let Some(name) = again::<IfName>(text, |n| Some(n.to_string())) {
        assert!(name.as_str().len() <= 15 && !name.as_str().starts_with('-'));
        if let Some((driver, unit)) = name.driver_and_unit() {
            assert_eq!(format!("{driver}{unit}"), text);
        }
    }
    if let Some(pair) = again::<PairName>(text, |p| Some(p.to_string())) {
        for half in [pair.a(), pair.b()] {
            assert_eq!(half.as_str().parse(), Ok(half));
        }
        assert!(pair.unit().is_none_or(|unit| PairName::of_unit(unit) == pair));
    }
    again::<Mtu>(text, |m| Some(m.to_string()));
    if let Some(mac) = again::<Mac>(text, |m| Some(m.to_string())) {
        assert_eq!(mac.bytes()[0] & 3, 2);
        if let Ok(pair) = PairMacs::from_base(mac) {
            assert!(pair.a != pair.b && pair.b.bytes()[0] & 3 == 2);
        }
    }
    let _ = text.parse::<epair::Addresses>();
    if let Some(jail) = again::<JailName>(text, |j| Some(j.to_string())) {
        assert_eq!(JailName::from_tag(&jail.tag()), Some(jail));
    }
    if let Some(tagged) = JailName::from_tag(text) {
        assert_eq!(tagged.tag(), text);
    }
    again::<Release>(text, |r| Some(r.to_string()));
    again::<Version>(text, |v| Some(v.to_string()));
    again::<Mirror>(text, |m| {
        let url = m.directory(&"14.5-RELEASE".parse().ok()?, Arch::Amd64);
        assert!(url.bytes().all(|b| b.is_ascii_graphic()) && !url.starts_with('-'));
        None
    });
    let id = again::<Id>(text, |id| Some(id.to_string()));
    let v4 = text.parse::<Address<Ipv4Addr>>().ok();
    let v6 = text.parse::<Address<Ipv6Addr>>().ok();
    for network in ["192.168.7.0/24", "10.0.0.0/8", "192.0.2.252/31", "0.0.0.0/0"] {
        let network: ipnet::Ipv4Net = network.parse().expect("a network");
        let of_id = id.and_then(|id| address::v4_of_id(network, id).ok());
        if let (Some(chosen), Some(id)) = (&of_id, id) {
            assert_eq!(chosen.text.replace("${id}", &id.to_string()), chosen.net.to_string());
        }
        let given = v4.and_then(|a| address::v4_given(a, Some(network)).ok());
        for chosen in of_id.into_iter().chain(given) {
            assert!(network.contains(
                &ipnet::IpNet::from(network).trunc().addr().to_string().parse::<Ipv4Addr>().expect("one")
            ));
            assert!(ipnet::IpNet::from(network).contains(&chosen.address()));
        }
    }
    for network in ["fd00:7::/64", "fd00::/120", "::/0"] {
        let network: ipnet::Ipv6Net = network.parse().expect("a network");
        let of_id = id.and_then(|id| address::v6_of_id(network, id).ok());
        if let (Some(chosen), Some(id)) = (&of_id, id) {
            let text = chosen.text.replace("${id}", &id.to_string());
            assert_eq!(text.parse(), Ok(chosen.net));
        }
        let given = v6.and_then(|a| address::v6_given(a, Some(network)).ok());
        for chosen in of_id.into_iter().chain(given) {
            assert!(ipnet::IpNet::from(network).contains(&chosen.address()));
        }
    }
    if let Some(dataset) = again::<Dataset>(text, |d| Some(d.to_string())) {
        let storage = Storage::Zfs("zdata/jails".parse().expect("a dataset"));
        let layout = Layout::new(Path::new("/zdata/jails"), Path::new("/etc/jail.conf.d"), storage);
        if let Some(release) = layout.skeleton_release(dataset.as_str()) {
            let top = "zdata/jails".parse().expect("a dataset");
            assert_eq!(Layout::skeleton_dataset(&top, &release).expect("a dataset"), dataset);
        }
    }
    assert!(template::level(text).is_none() || template::is_ours(text));
}

/// Parses, writes and parses again.
fn again<T: FromStr<Err: Display> + PartialEq + Debug>(
    text: &str,
    write: impl FnOnce(&T) -> Option<String>,
) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            if let Some(written) = write(&value) {
                assert_eq!(written.parse::<T>().ok().as_ref(), Some(&value), "{written:?}");
            }
            Some(value)
        }
        Err(why) => {
            assert!(!why.to_string().is_empty() && !why.to_string().contains('\n'));
            None
        }
    }
}

/// Everything that is quoted comes back as it was.
fn quoting(input: &[u8]) {
    let _ = vis::decode(input);
    if input.contains(&0) {
        return;
    }
    let word = OsStr::from_bytes(input);
    let field = vis::encode(word);
    assert!(!field.iter().any(|b| b.is_ascii_whitespace() || *b == b'#'));
    assert_eq!(vis::decode(&field).as_deref(), Some(word));
    if let Some(decoded) = vis::decode(input) {
        assert_eq!(vis::decode(&vis::encode(&decoded)), Some(decoded));
    }
    let quoted = shell::quote(word);
    assert!(!quoted.chars().any(char::is_control), "{quoted:?}");
    assert_eq!(unquoted(quoted.as_bytes()), input);
    let printed = shell::print(input);
    let format = printed.strip_prefix("printf ").expect("a call of printf(1)");
    assert_eq!(formatted(&unquoted(format.as_bytes())), input);
    let Ok(text) = std::str::from_utf8(input) else { return };
    let value = |written: &str| {
        let mut config = Config::default();
        config.parse_more(Path::new("f"), format!("j {{ p = {written}; }}").as_bytes()).expect("a value");
        let jail = config.resolve(config.jail("j").expect("a jail"));
        assert_eq!(jail.errors, []);
        jail.get("p").expect("a parameter").to_vec()
    };
    assert_eq!(value(&jailconf::quote(text)), [text]);
    assert_eq!(value(&jailconf::quote_literal(text)), [text]);
    if !text.contains('$') {
        assert_eq!(value(&jailconf::quote_with_variables(text)), [text]);
    }
}

/// One word as sh(1) reads it, of what [`shell::quote`] uses.
fn unquoted(quoted: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = quoted.iter().copied().peekable();
    while let Some(b) = rest.next() {
        match b {
            b'\'' => out.extend(rest.by_ref().take_while(|b| *b != b'\'')),
            b'\\' => out.extend(rest.next()),
            b'$' if rest.peek() == Some(&b'\'') => {
                rest.next();
                loop {
                    match rest.next().expect("a closing quote") {
                        b'\'' => break,
                        b'\\' => match rest.next().expect("what is escaped") {
                            b'n' => out.push(b'\n'),
                            b't' => out.push(b'\t'),
                            digit @ b'0'..=b'3' => out.push(octal(digit, &mut rest)),
                            same @ (b'\'' | b'\\') => out.push(same),
                            other => panic!("an escape that sh(1) does not know: {other}"),
                        },
                        b => out.push(b),
                    }
                }
            }
            b if b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b) => out.push(b),
            other => panic!("{other} outside of quotes"),
        }
    }
    out
}

fn octal(first: u8, rest: &mut impl Iterator<Item = u8>) -> u8 {
    let mut digit = || rest.next().expect("three digits") - b'0';
    (first - b'0') * 64 + digit() * 8 + digit()
}

/// What printf(1) makes of a format without conversions.
fn formatted(format: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = format.iter().copied();
    while let Some(b) = rest.next() {
        out.push(match b {
            b'%' => rest.next().filter(|b| *b == b'%').expect("no conversion"),
            b'\\' => match rest.next().expect("what is escaped") {
                b'n' => b'\n',
                b't' => b'\t',
                b'\\' => b'\\',
                digit => octal(digit, &mut rest),
            },
            b => b,
        });
    }
    out
}

/// thinjail.conf(5), and the syntax that it has in common with rc.conf(5).
fn settings(input: &[u8]) {
    let lines = 1 + input.iter().filter(|b| **b == b'\n').count();
    match rcconf::parse(input) {
        Err(e) => assert!((1..=lines).contains(&e.line) && !e.what.is_empty(), "{e}"),
        Ok(read) => {
            assert!(read.is_sorted_by_key(|a| a.line));
            let quoted =
                |a: &rcconf::Assignment| format!("{}='{}'\n", a.name, a.value.replace('\'', "'\\''"));
            let written: String = read.iter().map(quoted).collect();
            let again = rcconf::parse(written.as_bytes()).expect("what was written");
            let plain =
                |all: Vec<rcconf::Assignment>| all.into_iter().map(|a| (a.name, a.value)).collect::<Vec<_>>();
            assert_eq!(plain(again), plain(read));
        }
    }
    let file = Path::new("/t.conf");
    let read = |text: &[u8]| Settings::from_sources(file, text, |_| None);
    match read(input) {
        Err(e) => assert!(format!("{e:#}").starts_with("settings: /t.conf: ")),
        Ok(settings) => {
            let mut written = String::new();
            let mut write = |name: &str, value: Option<String>| {
                written += &format!("{name}='{}'\n", value.unwrap_or_default().replace('\'', "'\\''"));
            };
            let path = |p: &Path| p.to_str().expect("a path that is text").to_owned();
            write("jail_zfs", settings.jail_zfs.as_ref().map(ToString::to_string));
            write("jail_dir", settings.jail_dir.as_deref().map(path));
            write("bsd_ver", settings.bsd_ver.as_ref().map(ToString::to_string));
            write("jail_bridge", settings.jail_bridge.as_ref().map(ToString::to_string));
            write("jail_net", settings.jail_net.map(|n| n.to_string()));
            write("jail_gateway", settings.jail_gateway.map(|n| n.to_string()));
            write("jail_net6", settings.jail_net6.map(|n| n.to_string()));
            write("jail_gateway6", settings.jail_gateway6.map(|n| n.to_string()));
            write("jail_conf_dir", Some(path(&settings.jail_conf_dir)));
            assert_eq!(read(written.as_bytes()).expect("what was written"), settings);
        }
    }
}

/// What zfs(8) prints.
fn zfs(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let found = zfs::parse(text);
    assert!(found.windows(2).all(|two| two[0].name != two[1].name));
    let mut written = String::new();
    for dataset in &found {
        for zfs::Property { name, value, source } in dataset.all() {
            written += &format!("{}\t{name}\t{value}\t{source}\n", dataset.name);
        }
        assert!(dataset.get("thinjail:jail").is_empty() || dataset.all().iter().any(zfs::Property::is_own));
    }
    assert_eq!(zfs::parse(&written), found);
    for line in text.lines() {
        assert!(
            template::is_ours(line) || template::level(line.rsplit('@').next().unwrap_or_default()).is_none()
        );
    }
}

/// An exported jail as it is read: what is read can be written, and is read again as
/// the same; and manifests.
fn tar(input: &[u8]) {
    let _ = JailManifest::parse(input);
    let _ = ArchiveEnd::parse(input);
    let mut reader = TarReader::new(input);
    while let Ok(Some(entry)) = reader.next_entry() {
        let Ok(mut bytes) = entry.to_bytes() else { continue };
        let data = entry.data().min(1 << 16);
        if data < entry.data() {
            continue;
        }
        bytes.resize(bytes.len() + data as usize + padding(data) as usize, 0);
        bytes.extend(END);
        let again: Option<TarEntry> = TarReader::new(&bytes[..]).next_entry().expect("what was written");
        assert_eq!(again.as_ref(), Some(&entry));
    }
}

/// An exported jail as it is unpacked: nothing outside of the tree is made or changed.
fn unpack(input: &[u8]) {
    let top = std::env::temp_dir().join(format!("thinjail-fuzz-{}-{:p}", std::process::id(), &input));
    let (tree, outside) = (top.join("tree"), top.join("outside"));
    std::fs::create_dir_all(&tree).expect("a directory");
    std::fs::write(&outside, "outside").expect("a file");
    std::os::unix::fs::symlink("..", tree.join("up")).expect("a link");
    let mut reader = TarReader::new(input);
    if let Ok(mut unpacker) = Unpacker::new(&tree, false) {
        while let Ok(Some(entry)) = reader.next_entry() {
            // A hole costs no input.
            let path = entry.path.clone();
            let is_huge =
                matches!(entry.kind, thinjail::formats::tar::TarKind::Sparse(size, _) if size > 1 << 30);
            // Owners need root, and are not what this is about.
            let entry = TarEntry { uid: own_id(&tree).0, gid: own_id(&tree).1, ..entry };
            let Ok(below) = path.strip_prefix(CONTAINER) else { continue };
            if is_huge || unpacker.put(entry, below, CONTAINER, &mut reader).is_err() {
                break;
            }
        }
        let _ = unpacker.finish();
    }
    let mut names: Vec<_> =
        std::fs::read_dir(&top).expect("a directory").map(|e| e.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["outside", "tree"]);
    assert_eq!(std::fs::read(&outside).expect("a file"), b"outside");
    thinjail::system::tree::remove(&top).expect("what was made can be removed");
}

fn own_id(path: &Path) -> (u32, u32) {
    use std::os::unix::fs::MetadataExt;
    let own = std::fs::symlink_metadata(path).expect("a directory");
    (own.uid(), own.gid())
}
