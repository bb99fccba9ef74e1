//! The manual pages against the programs they are about.
//!
//! Options and arguments are compared with the parsers, both ways; settings
//! with those that are known; messages with the sources; and examples are run.
#![cfg(not(target_os = "freebsd"))] // The examples need the simulated kernel.

mod common;

use common::{Sandbox, bin};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use thinjail::cli::{self, table::Program};
use thinjail::settings::{self, Settings};

const PROGRAMS: [&str; 6] =
    ["jail-epair-up", "jail-epair-down", "jail-sweep", "jail-mkfstab", "jail-clone", "skel-fixcerts"];

/// Commands of the base system that examples use and that are not run here.
const NOT_RUN: [(&str, &str); 4] = [
    ("zfs", "there is no pool"),
    ("service", "there are no jails to start"),
    ("sysrc", "there is no rc.conf(5)"),
    ("ifconfig", "the simulated kernel has no ifconfig(8)"),
];

/// Commands of any Unix, run with the paths of the example below the sandbox.
const RUN_BELOW_THE_ROOT: [&str; 4] = ["cat", "cd", "rm", "rmdir"];

/// Examples whose output the page leaves out.
const OUTPUT_LEFT_OUT: [&str; 1] = ["jail-clone -n proxy"];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn table_of(program: &str) -> &'static Program {
    cli::PROGRAMS.into_iter().find(|p| p.name == program).unwrap_or_else(|| panic!("no program {program}"))
}

/// One manual page, in mdoc(7).
struct Page {
    name: String,
    section: char,
    lines: Vec<String>,
}

impl Page {
    fn read(file: &str) -> Page {
        let path = top().join("man").join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (name, section) = file.rsplit_once('.').unwrap();
        Page {
            name: name.to_owned(),
            section: section.parse().unwrap(),
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    fn of(program: &str) -> Page {
        Page::read(&format!("{program}.8"))
    }

    fn all() -> Vec<Page> {
        let mut files: Vec<String> = fs::read_dir(top().join("man"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .collect();
        files.sort();
        files.iter().map(|file| Page::read(file)).collect()
    }

    fn file(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }

    /// The lines of what stands under a heading, up to the next one of its kind.
    fn under(&self, heading: &str) -> Vec<&str> {
        let start = self.lines.iter().position(|l| l == heading);
        let start = start.unwrap_or_else(|| panic!("{}: no {heading}", self.file()));
        let next = &heading[..4];
        self.lines[start + 1..]
            .iter()
            .map(String::as_str)
            .take_while(|l| !l.starts_with(".Sh ") && !l.starts_with(next))
            .collect()
    }

    fn headings(&self) -> Vec<&str> {
        self.lines.iter().filter_map(|l| l.strip_prefix(".Sh ")).collect()
    }

    /// The arguments of a macro that stands once in the page.
    fn once(&self, name: &str) -> &str {
        let mut found = self.lines.iter().filter_map(|l| l.strip_prefix(name));
        let first = found.next().unwrap_or_else(|| panic!("{}: no {name}", self.file()));
        assert!(found.next().is_none(), "{}: {name} twice", self.file());
        first.trim()
    }
}

/// An option or argument as a page or a parser has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    /// `n`, `-json`, or empty for an argument.
    flag: String,
    /// The name of the value or argument.
    value: Option<String>,
    required: bool,
    repeated: bool,
}

/// The macros of a SYNOPSIS.
const MACROS: [&str; 7] = ["Nm", "Op", "Oo", "Oc", "Fl", "Ar", "Ns"];

/// The forms of a SYNOPSIS.
fn synopsis(page: &Page) -> Vec<Vec<Item>> {
    let mut forms: Vec<Vec<Item>> = Vec::new();
    let mut enclosed = false;
    for line in page.under(".Sh SYNOPSIS") {
        assert!(line.starts_with('.'), "{}: {line}", page.file());
        let mut words = line[1..].split_whitespace().peekable();
        let mut in_op = false;
        let mut after_flag = false;
        while let Some(word) = words.next() {
            let mut rest = Vec::new();
            while let Some(next) = words.next_if(|w| !MACROS.contains(w)) {
                rest.push(next);
            }
            match word {
                "Nm" => forms.push(Vec::new()),
                "Op" => in_op = true,
                "Oo" => enclosed = true,
                "Oc" => enclosed = false,
                "Ns" if rest == ["..."] => forms.last_mut().unwrap().last_mut().unwrap().repeated = true,
                "Fl" => {
                    for word in rest.iter().filter(|w| **w != "|") {
                        let flags = match word.strip_prefix('-') {
                            Some(_) => vec![(*word).to_owned()],
                            None => word.chars().map(String::from).collect(),
                        };
                        forms.last_mut().unwrap().extend(flags.into_iter().map(|flag| Item {
                            flag,
                            value: None,
                            required: !in_op && !enclosed,
                            repeated: false,
                        }));
                    }
                    after_flag = true;
                }
                "Ar" => {
                    let value = Some(rest.concat());
                    let form = forms.last_mut().unwrap();
                    if after_flag {
                        form.last_mut().unwrap().value = value;
                    } else {
                        let required = !in_op && !enclosed;
                        form.push(Item { flag: String::new(), value, required, repeated: false });
                    }
                }
                _ => panic!("{}: {word} in the SYNOPSIS", page.file()),
            }
        }
    }
    forms
}

/// An option as its description has it: all spellings, and the value's name.
type Described = (Vec<String>, Option<String>);

/// The options and arguments that the DESCRIPTION describes.
fn described(page: &Page) -> Vec<Described> {
    let mut depth = 0;
    let mut items = Vec::new();
    for line in page.under(".Sh DESCRIPTION") {
        match line.split(' ').next().unwrap() {
            ".Bl" => depth += 1,
            ".El" => depth -= 1,
            ".It" if depth == 1 && line.len() > 3 => {
                let (mut spellings, mut values) = (Vec::new(), BTreeSet::new());
                for part in line[3..].split(" ,") {
                    let (flag, value) = match part.trim().split_once("Ar ") {
                        Some((flag, value)) => (flag, Some(value.replace(' ', ""))),
                        None => (part.trim(), None),
                    };
                    if let Some(flag) = flag.trim().strip_prefix("Fl ") {
                        spellings.push(flag.to_owned());
                    } else {
                        assert!(flag.trim().is_empty(), "{}: {line}", page.file());
                    }
                    values.insert(value);
                }
                assert_eq!(values.len(), 1, "{}: one value per option: {line}", page.file());
                items.push((spellings, values.pop_first().unwrap()));
            }
            _ => {}
        }
    }
    items
}

/// The options and arguments of a program, and all their spellings.
fn parsed(program: &str) -> Vec<(Item, Vec<String>)> {
    let table = table_of(program);
    let options = table.options().map(|option| {
        let mut spellings: Vec<String> = option.short.map(String::from).into_iter().collect();
        spellings.push(format!("-{}", option.long));
        let item = Item {
            flag: spellings[0].clone(),
            value: option.value.map(str::to_owned),
            required: option.required,
            repeated: option.repeatable,
        };
        (item, spellings)
    });
    let operands = table.operands.iter().map(|operand| {
        let value = Some(operand.name.replace(' ', ""));
        (Item { flag: String::new(), value, required: operand.required, repeated: false }, Vec::new())
    });
    options.chain(operands).collect()
}

fn sorted(mut items: Vec<Item>) -> Vec<Item> {
    // Arguments keep their order, which means something.
    items.sort_by(|a, b| (a.flag.is_empty(), &a.flag).cmp(&(b.flag.is_empty(), &b.flag)));
    items
}

#[test]
fn the_synopsis_is_what_the_parser_takes() {
    for program in PROGRAMS {
        let forms = synopsis(&Page::of(program));
        let expected: Vec<Item> = parsed(program).into_iter().map(|(item, _)| item).collect();
        let arguments = |of: &[Item]| of.iter().filter(|i| i.flag.is_empty()).cloned().collect::<Vec<_>>();
        // The first form has all that can stand together; what a later one adds
        // excludes something, and what it repeats is the same.
        let mut found = forms[0].clone();
        for form in &forms[1..] {
            let arguments_of_form = arguments(form);
            assert!(
                arguments_of_form.is_empty() || arguments_of_form == arguments(&expected),
                "{program}: arguments of a later form"
            );
            for item in form.iter().filter(|i| !i.flag.is_empty()) {
                match found.iter().find(|f| f.flag == item.flag) {
                    Some(known) => assert_eq!(known.value, item.value, "{program}: -{}", item.flag),
                    None => found.push(Item { required: false, ..item.clone() }),
                }
            }
        }
        assert_eq!(sorted(found), sorted(expected), "{program}: the page (left) and the parser (right)");
    }
}

#[test]
fn the_description_has_every_option_in_the_order_of_the_synopsis() {
    for program in PROGRAMS {
        let page = Page::of(program);
        let known = parsed(program);
        let mut expected: Vec<Described> = Vec::new();
        for item in synopsis(&page).into_iter().flatten() {
            let of_parser = known.iter().find(|(k, _)| k.flag == item.flag && k.value == item.value);
            let Some((_, spellings)) = of_parser else { panic!("{program}: no option or argument {item:?}") };
            let described = (spellings.clone(), item.value);
            if !expected.contains(&described) {
                expected.push(described);
            }
        }
        assert_eq!(described(&page), expected, "{program}: the description (left) and the synopsis (right)");
    }
}

#[test]
fn every_program_has_a_page_that_says_the_same_of_it() {
    assert_eq!(cli::PROGRAMS.map(|p| p.name), PROGRAMS);
    for program in PROGRAMS {
        let (said, about) = (Page::of(program).once(".Nd ").to_owned(), table_of(program).about);
        assert!(said[1..] == about[1..] && said.eq_ignore_ascii_case(about), "{program}: {said} / {about}");
    }
}

#[test]
fn every_setting_is_documented_and_sampled() {
    let page = Page::read("thinjail.conf.5");
    let documented: Vec<&str> =
        page.under(".Sh DESCRIPTION").iter().filter_map(|l| l.strip_prefix(".It Va ")).collect();
    assert_eq!(documented, settings::NAMES);

    let file = top().join("etc/thinjail.conf.sample");
    let sample = fs::read_to_string(&file).unwrap();
    let load = |text: &str| Settings::from_sources(&file, text.as_bytes(), |_| None);
    load(&sample).unwrap();
    for name in settings::NAMES {
        let here = sample.lines().filter(|l| l.trim_start_matches('#').starts_with(&format!("{name}=")));
        assert_eq!(here.count(), 1, "{}: {name}", file.display());
    }
    // What is commented out must be right as well.
    let assigned = |l: &str| settings::NAMES.iter().any(|n| l.starts_with(&format!("#{n}=")));
    let all: Vec<&str> = sample.lines().map(|l| if assigned(l) { &l[1..] } else { l }).collect();
    load(&all.join("\n")).unwrap();
}

#[test]
fn pages_have_the_parts_of_a_page() {
    let months = "January February March April May June July August September October November December";
    let months: Vec<&str> = months.split(' ').collect();
    let pages = Page::all();
    let files: Vec<String> = pages.iter().map(Page::file).collect();
    let mut expected: Vec<String> = PROGRAMS.iter().map(|p| format!("{p}.8")).collect();
    expected.extend(["thinjail.7".into(), "thinjail.conf.5".into()]);
    expected.sort();
    assert_eq!(files, expected);
    for page in &pages {
        let file = page.file();
        let date: Vec<&str> = page.once(".Dd ").split(' ').collect();
        let [month, day, year] = date[..] else { panic!("{file}: .Dd {date:?}") };
        let day: u32 = day.strip_suffix(',').and_then(|d| d.parse().ok()).unwrap_or_default();
        let year: u32 = year.parse().unwrap_or_default();
        assert!(months.contains(&month) && (1..=31).contains(&day) && year >= 2026, "{file}: .Dd {date:?}");
        assert_eq!(page.once(".Dt "), format!("{} {}", page.name.to_uppercase(), page.section), "{file}");
        assert_eq!(page.once(".Os"), "", "{file}");
        assert_eq!(page.under(".Sh NAME")[0], format!(".Nm {}", page.name), "{file}");
        let mut wanted = vec!["NAME", "DESCRIPTION", "FILES", "EXAMPLES", "SEE ALSO", "HISTORY"];
        if page.section == '8' {
            wanted.extend(["SYNOPSIS", "ENVIRONMENT", "EXIT STATUS", "DIAGNOSTICS"]);
        }
        // Neither has a file of its own.
        let without_files = ["jail-epair-down", "jail-sweep"].contains(&page.name.as_str());
        wanted.retain(|heading| *heading != "FILES" || !without_files);
        let headings = page.headings();
        for heading in wanted {
            assert!(headings.contains(&heading), "{file}: no {heading}");
        }
        let history = page.under(".Sh HISTORY").join(" ");
        assert!(history.contains("first appeared in") && history.contains("0.1"), "{file}: {history}");
    }
}

#[test]
fn pages_refer_only_to_what_there_is() {
    let pages = Page::all();
    let files: Vec<String> = pages.iter().map(Page::file).collect();
    for page in &pages {
        for line in page.lines.iter().filter(|l| !l.starts_with(".\\\"")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            for w in words.windows(3).filter(|w| w[0].trim_start_matches('.') == "Xr") {
                let suite = w[1].starts_with("thinjail") || pages.iter().any(|p| p.name == w[1]);
                let file = format!("{}.{}", w[1], w[2]);
                assert!(!suite || files.contains(&file), "{}: .Xr {} {}", page.file(), w[1], w[2]);
            }
            // Programs, wherever they are named.
            for word in line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
                let ours = ["jail-", "skel-"].iter().any(|p| word.len() > p.len() && word.starts_with(p));
                assert!(!ours || PROGRAMS.contains(&word), "{}: {word}: {line}", page.file());
            }
        }
    }
}

#[test]
fn mandoc_has_nothing_to_complain_about() {
    for page in Page::all() {
        let path = top().join("man").join(page.file());
        let run = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&path).output();
        let output = match run {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("mandoc_has_nothing_to_complain_about: skipped, there is no mandoc here");
                return;
            }
            other => other.unwrap(),
        };
        let said = [output.stdout, output.stderr].concat();
        assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }
}

/// The texts of all sources, as messages: `{...}` is `%s`.
fn messages() -> String {
    fn collect(directory: &Path, text: &mut String) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, text);
            } else if path.extension().is_some_and(|e| e == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut source = String::new();
    collect(&top().join("src"), &mut source);
    let mut text = String::new();
    let mut rest = source.as_str();
    while let Some(at) = rest.find(['{', '\\']) {
        text.push_str(&rest[..at]);
        let (what, after) = rest[at..].split_at(1);
        rest = after;
        match after.find('}') {
            Some(end) if what == "{" && !after[..end].contains([' ', '{', '\n']) => {
                text.push_str("%s");
                rest = &after[end + 1..];
            }
            // A line of a message that goes on in the next one.
            _ if what == "\\" && after.starts_with('\n') => rest = after.trim_start(),
            _ if what == "\\" => {}
            _ => text.push('{'),
        }
    }
    text + rest
}

#[test]
fn messages_are_quoted_as_they_are() {
    let messages = messages();
    for page in Page::all().iter().filter(|p| p.headings().contains(&"DIAGNOSTICS")) {
        let mut quoted = 0;
        for message in page.under(".Sh DIAGNOSTICS").iter().filter_map(|l| l.strip_prefix(".It ")) {
            quoted += 1;
            // Contexts are joined with ": " and proposals with "; ".
            for part in message.split("%s").flat_map(|p| p.split(": ")).flat_map(|p| p.split("; ")) {
                assert!(messages.contains(part), "{}: {message:?}: no message has {part:?}", page.file());
            }
        }
        assert!(quoted > 0, "{}", page.file());
    }
}

/// A command of an example, with the output that the page shows.
#[derive(Debug)]
struct Example {
    command: String,
    output: String,
}

/// The literal blocks of some lines, as the reader sees them.
fn blocks(lines: &[&str]) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut open = false;
    for line in lines {
        if line.starts_with(".Bd -literal") {
            blocks.push(Vec::new());
            open = true;
        } else if *line == ".Ed" {
            open = false;
        } else if open {
            let text = line.replace("\\e", "\\").replace("\\&", "");
            blocks.last_mut().unwrap().push(text);
        }
    }
    blocks
}

/// The commands of a block that follow `prompt`; lines that end in a backslash
/// are joined with the next.
fn commands(block: &[String], prompt: &str) -> Vec<Example> {
    let mut lines: Vec<String> = Vec::new();
    for line in block {
        match lines.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push_str(line.trim_start());
            }
            _ => lines.push(line.clone()),
        }
    }
    let mut examples: Vec<Example> = Vec::new();
    for line in lines {
        match (line.strip_prefix(prompt), examples.last_mut()) {
            (Some(command), _) => examples.push(Example { command: command.into(), output: String::new() }),
            (None, Some(example)) => {
                example.output.push_str(&line);
                example.output.push('\n');
            }
            (None, None) => {}
        }
    }
    examples
}

/// The host that the examples of a page are run on.
fn host_for(page: &Page) -> Sandbox {
    let host = Sandbox::with_template();
    host.write("etc/jail.conf", &fs::read_to_string(top().join("share/examples/jail.conf")).unwrap());
    let (template, link) =
        ("zdata/jails/templates/14.2-RELEASE", std::os::unix::fs::symlink::<&str, PathBuf>);
    match page.file().as_str() {
        "jail-epair-up.8" => host
            .kernel
            .change(|s| {
                s.plug("igc1");
                Ok(())
            })
            .unwrap(),
        "jail-epair-down.8" => assert_eq!(host.ok("jail-epair-up -b igc0bridge web epair10"), ""),
        "jail-sweep.8" => {
            host.ok("jail-clone web 10");
            host.ok("jail-epair-up -b igc0bridge web epair10");
            let root = fs::canonicalize(host.root()).unwrap();
            let path = root.join("zdata/jails/web-nullfs-base");
            host.kernel
                .change(|s| {
                    s.mount("nullfs", &root.join(format!("{template}-base")), &path)?;
                    s.mount("nullfs", &root.join("zdata/jails/containers/web"), &path.join("skeleton"))?;
                    s.mount("devfs", Path::new("devfs"), &path.join("dev"))
                })
                .unwrap();
        }
        "jail-mkfstab.8" => {
            host.ok("jail-clone web 10");
            fs::create_dir_all(host.at("srv/www")).unwrap();
            fs::create_dir_all(host.at("srv/a:b")).unwrap();
        }
        "jail-clone.8" => {
            host.template("15.0-RELEASE");
            fs::create_dir_all(host.at("srv/www")).unwrap();
        }
        "skel-fixcerts.8" => {
            host.write(&format!("{template}-base/usr/share/certs/trusted/Root.pem"), "");
            let certificate = host.at(&format!("{template}-skeleton/etc/ssl/certs/0a775a30.0"));
            link("../../../usr/share/certs/trusted/Root.pem", certificate).unwrap();
            let rmt = host.at(&format!("{template}-skeleton/etc/rmt"));
            fs::create_dir_all(host.at("zdata/skeleton/etc")).unwrap();
            link("../../usr/sbin/rmt", host.at("zdata/skeleton/etc/rmt")).unwrap();
            link("../usr/sbin/rmt", rmt).unwrap();
            host.ok("jail-clone web 10");
        }
        "thinjail.7" => {
            host.ok("jail-clone web 10");
        }
        "thinjail.conf.5" => {}
        other => panic!("{other}: which host are its examples for?"),
    }
    // jail-clone -e asks sysrc(8) for jail_list.
    host.write("tools/sysrc", "#!/bin/sh\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(host.at("tools/sysrc"), mode).unwrap();
    host
}

/// Runs a line of sh(1) on a host, with our programs in its path.
fn shell(host: &Sandbox, script: &str) -> Output {
    let mut path: Vec<PathBuf> = PROGRAMS.iter().map(|p| bin(p).parent().unwrap().to_owned()).collect();
    path.dedup();
    path.extend(["/usr/bin".into(), "/bin".into()]);
    Command::new("sh")
        .args(["-c", script])
        .env_clear()
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("THINJAIL_ROOT", host.root())
        .env("THINJAIL_TOOLS", host.at("tools"))
        .current_dir(host.root())
        .output()
        .unwrap()
}

/// What was printed, as it would be without an alternate root.
fn printed(host: &Sandbox, bytes: &[u8]) -> String {
    let root = fs::canonicalize(host.root()).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap().replace(root.to_str().unwrap(), "")
}

/// The program that a command line runs, behind variables set for it.
fn program_of(command: &str) -> &str {
    command.split_whitespace().find(|word| !word.contains('=')).unwrap_or_default()
}

#[test]
fn examples_do_what_the_pages_say() {
    let mut left_out: BTreeSet<&str> = NOT_RUN.iter().map(|(name, _)| *name).collect();
    left_out.extend(OUTPUT_LEFT_OUT);
    let jail_conf = fs::read_to_string(top().join("share/examples/jail.conf")).unwrap();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let jail_conf: Vec<String> = jail_conf.lines().map(words).collect();
    for page in Page::all() {
        let host = host_for(&page);
        let mut run = 0;
        for block in blocks(&page.under(".Sh EXAMPLES")) {
            let examples = commands(&block, "# ");
            if examples.is_empty() && page.section == '5' {
                let text = block.join("\n");
                Settings::from_sources(Path::new("example"), text.as_bytes(), |_| None).unwrap();
            } else if examples.is_empty() {
                for line in &block {
                    assert!(jail_conf.contains(&words(line)), "{}: not in jail.conf: {line}", page.file());
                }
            }
            for Example { command, output } in examples {
                let (file, program) = (page.file(), program_of(&command));
                if let Some((name, _)) = NOT_RUN.iter().find(|(name, _)| *name == program) {
                    left_out.remove(name);
                    continue;
                }
                let line = if RUN_BELOW_THE_ROOT.contains(&program) {
                    command.replace(" /", &format!(" {}/", host.root().display()))
                } else {
                    assert!(
                        PROGRAMS.contains(&program),
                        "{file}: {command}: neither run nor listed as not run"
                    );
                    command.clone()
                };
                let ran = shell(&host, &line);
                let (stdout, stderr) = (printed(&host, &ran.stdout), printed(&host, &ran.stderr));
                assert!(ran.status.success(), "{file}: {command}: {}: {stdout}{stderr}", ran.status);
                assert_eq!(stderr, "", "{file}: {command}: standard error");
                if left_out.remove(&*command) {
                    assert_ne!(stdout, "", "{file}: {command}: there is nothing to leave out");
                } else {
                    assert_eq!(stdout, output, "{file}: {command}: printed (left), in the page (right)");
                }
                run += usize::from(PROGRAMS.contains(&program));
            }
        }
        assert!(run > 0, "{}: no example of our programs", page.file());
    }
    assert!(left_out.is_empty(), "listed here, but in no page: {left_out:?}");
}

#[test]
fn thinjail_7_explains_the_jail_conf_that_is_installed() {
    let page = Page::read("thinjail.7");
    let section = page.under(".Sh THE COMMON JAIL.CONF");
    let shown: Vec<String> = blocks(&section).remove(0).into_iter().filter(|l| !l.is_empty()).collect();
    let file = fs::read_to_string(top().join("share/examples/jail.conf")).unwrap();
    let installed: Vec<&str> = file.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    assert_eq!(shown, installed);
    let explained: String =
        section.iter().filter(|l| l.starts_with(".It Va ")).map(|l| format!("{l} ")).collect();
    for line in installed {
        let name = line.split([' ', ';']).next().unwrap();
        assert!(explained.replace("\\&", "").contains(&format!(" {name} ")), "{name} is not explained");
    }
}

/// Makes an archive with the contents of base.txz that matter to a split.
fn archive(host: &Sandbox) {
    for directory in ["usr/local", "var/empty", "var/run", "root", "tmp", "etc/ssl/certs"] {
        fs::create_dir_all(host.at(&format!("release/{directory}"))).unwrap();
    }
    host.write("release/usr/share/certs/trusted/Root.pem", "");
    host.write("release/usr/sbin/rmt", "");
    for (text, path) in [
        ("../usr/sbin/rmt", "etc/rmt"),
        ("../var/run/os-release", "etc/os-release"),
        ("../../../usr/share/certs/trusted/Root.pem", "etc/ssl/certs/0a775a30.0"),
    ] {
        std::os::unix::fs::symlink(text, host.at(&format!("release/{path}"))).unwrap();
    }
    for name in [".profile", ".cshrc"] {
        host.write(&format!("release/root/{name}"), "of root\n");
        fs::hard_link(host.at(&format!("release/root/{name}")), host.at(&format!("release/{name}"))).unwrap();
    }
    let status =
        Command::new("tar").args(["-cf", "base.txz", "-C", "release", "."]).current_dir(host.root()).status();
    assert!(status.unwrap().success());
}

/// What FreeBSD has and this system has not, for the template of thinjail(7).
const STAND_INS: &str = r#"set -e
zfs() {
    case $1 in
    create) mkdir -p "$THINJAIL_ROOT/$2" ;;
    snapshot) test -d "$THINJAIL_ROOT/${2%@base}" && echo "snapshot $2" ;;
    *) return 2 ;;
    esac
}
chflags() { test "$1" = noschg && test -d "$2"; }
sha256() { test "$1" = -q && sha256sum "$2" | cut -d ' ' -f 1; }
fetch() {
    for last; do :; done
    case $last in
    */MANIFEST) printf 'base.txz\t%s\t1\tbase\t"Base"\ton\n' "$(sha256 -q "$THINJAIL_ROOT/base.txz")" ;;
    */base.txz) cp "$THINJAIL_ROOT/base.txz" "$2" ;;
    *) return 1 ;;
    esac
}
"#;

#[test]
fn a_template_made_as_thinjail_7_says_is_one() {
    let host = Sandbox::new();
    archive(&host);
    for file in ["etc/resolv.conf", "etc/localtime"] {
        host.write(file, "of the host\n");
    }
    let page = Page::read("thinjail.7");
    let of =
        |heading| blocks(&page.under(heading)).iter().flat_map(|b| commands(b, "# ")).collect::<Vec<_>>();
    let storage = of(".Ss Storage").into_iter().filter(|e| program_of(&e.command) == "zfs");
    let root = host.root().display();
    let mut script = STAND_INS.to_owned();
    for example in storage.chain(of(".Ss Template")) {
        let line = example.command.replace(" /zdata", &format!(" {root}/zdata"));
        script += &format!("{}\n", line.replace(" /etc/", &format!(" {root}/etc/")));
    }
    let ran = shell(&host, &script);
    let (stdout, stderr) = (printed(&host, &ran.stdout), printed(&host, &ran.stderr));
    assert!(ran.status.success() && stderr.is_empty(), "{script}\n{stdout}{stderr}");
    let told: Vec<&str> = stdout.lines().collect();
    let skeleton = "zdata/jails/templates/14.2-RELEASE-skeleton";
    assert_eq!(told.len(), 4, "{stdout}");
    assert_eq!(told[0], told[1], "the two checksums");
    assert_eq!(told[2], format!("/{skeleton}: 2 links repaired"));
    assert_eq!(told[3], format!("snapshot {skeleton}@base"));

    let base = "zdata/jails/templates/14.2-RELEASE-base";
    for (link, text) in [
        ("etc", "skeleton/etc"),
        ("home", "skeleton/home"),
        ("root", "skeleton/root"),
        ("tmp", "skeleton/tmp"),
        ("var", "skeleton/var"),
        ("usr/local", "../skeleton/usr/local"),
        (".profile", "root/.profile"),
        (".cshrc", "root/.cshrc"),
    ] {
        assert_eq!(fs::read_link(host.at(&format!("{base}/{link}"))).unwrap(), Path::new(text));
    }
    for directory in ["etc", "home", "root", "tmp", "usr/local", "var/empty"] {
        assert!(host.at(&format!("{skeleton}/{directory}")).is_dir(), "{directory}");
    }
    assert_eq!(host.read(&format!("{skeleton}/root/.profile")), "of root\n");
    assert_eq!(host.read(&format!("{skeleton}/etc/resolv.conf")), "of the host\n");
    host.ok("skel-fixcerts -a -c 14.2");
    host.write("etc/jail.conf", &fs::read_to_string(top().join("share/examples/jail.conf")).unwrap());
    assert_eq!(host.ok("jail-clone web 10"), "web: id 10, 192.168.7.10/24\n");
    host.ok("jail-mkfstab -c web");
}

#[test]
fn trying_it_elsewhere_goes_as_thinjail_7_says() {
    let host = Sandbox::new();
    fs::create_dir(host.at("tmp")).unwrap();
    fs::create_dir(host.at("tmp/try")).unwrap();
    let page = Page::read("thinjail.7");
    let mut script = String::from("set -e\n");
    let mut expected = String::new();
    let block = blocks(&page.under(".Sh TRYING IT WITHOUT FREEBSD")).remove(0);
    for Example { command, output } in commands(&block, "$ ") {
        script += &format!("{}\n", command.replace("/tmp/try", &host.at("tmp/try").display().to_string()));
        expected += &output;
    }
    let ran = shell(&host, &script);
    assert!(ran.status.success(), "{script}{}", printed(&host, &ran.stderr));
    assert_eq!(printed(&host, &ran.stdout), expected);
    assert!(host.at("tmp/try/zdata/jails/containers/web/etc").is_dir());
    let etc = host.at("tmp/try/zdata/jails/templates/14.2-RELEASE-base/etc");
    assert_eq!(fs::read_link(etc).unwrap(), Path::new("skeleton/etc"));
}
