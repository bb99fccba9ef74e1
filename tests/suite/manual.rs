//! The manual pages against the programs they are about.
//!
//! Options and arguments are compared with the parsers, both ways; settings
//! with those that are known; messages with the sources; and examples are run.
#![cfg(not(target_os = "freebsd"))] // The examples need the simulated kernel.

#[allow(dead_code)] // Only small archives are made here.
use crate::basetree;
use crate::harness::bin::bin;
use crate::harness::host;

use host::{Host, Storage};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use thinjail::commands;
use thinjail::commands::jail_doctor::finding::KINDS;
use thinjail::domain::settings::{self, Settings};
use thinjail::system::kernel::simulated::Simulated;
use thinjail::system::root::Root;
use thinjail::types::mirror::{Arch, Mirror};

const PROGRAMS: [&str; 17] = [
    "jail-epair-up",
    "jail-epair-down",
    "jail-sweep",
    "jail-mkfstab",
    "jail-setup",
    "jail-clone",
    "jail-destroy",
    "jail-rebase",
    "jail-export",
    "jail-import",
    "jail-list",
    "jail-doctor",
    "skel-fetch",
    "skel-split",
    "skel-fixcerts",
    "skel-update",
    "skel-destroy",
];

/// Commands of the base system that examples use and that are not run here.
const NOT_RUN: [(&str, &str); 2] = [("pkg", "there are no packages"), ("ssh", "there is no other host")];

/// Commands that have a stand-in, besides our programs.
const WITH_STAND_INS: [&str; 4] = ["ifconfig", "service", "sysrc", "zfs"];

/// Those of them that say what everybody knows, so that pages leave it out.
const TALKATIVE: [&str; 2] = ["service", "sysrc"];

/// Commands of any Unix, run with the paths of the example below the sandbox.
const RUN_BELOW_THE_ROOT: [&str; 6] = ["cat", "cd", "diff", "mv", "rm", "rmdir"];

/// Examples whose output the page leaves out.
const OUTPUT_LEFT_OUT: [&str; 7] = [
    "jail-clone -n proxy",
    "jail-list -j",
    "jail-setup -n -N nat",
    "jail-setup -y -N nat",
    "skel-fetch -n -M /zdata/jails/media/14.4-RELEASE-MANIFEST 14.4",
    "zfs diff zdata/jails/templates/14.5-RELEASE-skeleton@base zdata/jails/containers/web",
    "zfs diff zdata/jails/templates/14.5-RELEASE-skeleton@base zdata/jails/templates/14.5-RELEASE-skeleton@p3",
];

/// Examples that end with status 1, as something differs.
const DIFFER: [&str; 1] = ["jail-rebase -n web 15.1"];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The parser of a program, with the options that clap adds by itself.
fn parser_of(program: &str) -> clap::Command {
    let found = commands::all().into_iter().find(|command| command.get_name() == program);
    let mut command = found.unwrap_or_else(|| panic!("no program {program}"));
    command.build();
    command
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
            // Beside them is what checks and prints them.
            .filter(|name| name.rsplit_once('.').is_some_and(|(_, ext)| ["5", "7", "8"].contains(&ext)))
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

    /// The lines that are not literal, nor comments.
    fn text(&self) -> impl Iterator<Item = &str> {
        let lines = self.lines.iter().enumerate();
        lines.filter(|(n, l)| !self.is_literal(*n) && !l.starts_with(".\\\"")).map(|(_, l)| l.as_str())
    }

    /// Whether a line, counted from 0, is inside of a literal block.
    fn is_literal(&self, number: usize) -> bool {
        let mut before = self.lines[..number].iter().rev();
        before.find_map(|l| match l.as_str() {
            ".Ed" => Some(false),
            l if l.starts_with(".Bd -literal") => Some(true),
            _ => None,
        }) == Some(true)
            && self.lines[number] != ".Ed"
    }

    /// The line that a message of mandoc(1) is about: `FILE:LINE:COLUMN: ...`.
    fn line_of(&self, message: &str) -> &str {
        let file = self.file() + ":";
        let number = message.split(&file).nth(1).and_then(|rest| rest.split(':').next()?.parse().ok());
        number.and_then(|n: usize| self.lines.get(n.checked_sub(1)?)).map_or("", String::as_str)
    }

    /// Whether a page is referred to in DIAGNOSTICS alone.
    fn only_in_diagnostics(&self, name: &str) -> bool {
        let xr = format!(".Xr {name} ");
        let is = |lines: &[&str]| lines.iter().filter(|l| l.starts_with(&xr)).count();
        let all: Vec<&str> = self.text().collect();
        let diagnostics = self.headings().contains(&"DIAGNOSTICS");
        diagnostics && is(&all) == is(&self.under(".Sh DIAGNOSTICS"))
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
                    let dots = rest.pop_if(|word| *word == "...").is_some();
                    let value = Some(rest.concat());
                    let form = forms.last_mut().unwrap();
                    if after_flag {
                        form.last_mut().unwrap().value = value;
                    } else {
                        let required = !in_op && !enclosed;
                        form.push(Item { flag: String::new(), value, required, repeated: dots });
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
    // The lists that a line is in, and whether each is a table.
    let mut lists = Vec::new();
    let mut items = Vec::new();
    for line in page.under(".Sh DESCRIPTION") {
        match line.split(' ').next().unwrap() {
            ".Bl" => lists.push(line.contains("-column")),
            ".El" => drop(lists.pop()),
            ".It" if lists == [false] && line.len() > 3 => {
                let (mut spellings, mut values) = (Vec::new(), BTreeSet::new());
                for part in line[3..].split(" ,") {
                    let (flag, value) = match part.trim().split_once("Ar ") {
                        Some((flag, value)) => (flag, Some(value.replace(" ...", "").replace(' ', ""))),
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
    let command = parser_of(program);
    let one_of = |argument: &clap::Arg| {
        // An argument of a required group may be missing when another of the group is there.
        let group = |group: &&clap::ArgGroup| {
            group.is_required_set() && group.get_args().any(|id| id == argument.get_id())
        };
        command.get_groups().any(|g| group(&g))
    };
    let item = |argument: &clap::Arg| {
        let mut spellings: Vec<String> = argument.get_short().map(String::from).into_iter().collect();
        spellings.extend(argument.get_long().map(|long| format!("-{long}")));
        let takes_value = argument.get_action().takes_values();
        let name = argument.get_value_names().unwrap_or_default().first().map(|name| name.replace(' ', ""));
        let item = Item {
            flag: spellings.first().cloned().unwrap_or_default(),
            value: name.filter(|_| takes_value),
            required: argument.is_required_set() && !one_of(argument),
            repeated: matches!(argument.get_action(), clap::ArgAction::Append),
        };
        (item, spellings)
    };
    // Arguments behind options, in their order.
    let arguments = command.get_arguments().filter(|a| !a.is_positional());
    arguments.chain(command.get_positionals()).map(item).collect()
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
        // excludes something, and what it repeats is the same. An argument that
        // a later form does without, or has as an option, is not needed by all.
        let mut found = forms[0].clone();
        for form in &forms[1..] {
            let mut of_form = arguments(form).into_iter().peekable();
            if of_form.peek().is_some() {
                for argument in found.iter_mut().filter(|i| i.flag.is_empty()) {
                    let repeated = of_form.next_if(|i| i.value == argument.value);
                    argument.required &= repeated.is_some_and(|i| i.required);
                }
            }
            assert_eq!(of_form.next(), None, "{program}: an argument of a later form");
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
    assert_eq!(commands::all().map(|command| command.get_name().to_owned()), PROGRAMS);
    for program in PROGRAMS {
        let about = parser_of(program).get_about().unwrap().to_string();
        let said = Page::of(program).once(".Nd ").to_owned();
        assert!(said[1..] == about[1..] && said.eq_ignore_ascii_case(&about), "{program}: {said} / {about}");
    }
}

#[test]
fn every_finding_is_documented() {
    let page = Page::of("jail-doctor");
    let start = page.lines.iter().position(|l| l == ".Sh FINDINGS").unwrap();
    let lines = page.lines[start + 1..].iter().take_while(|l| !l.starts_with(".Sh "));
    let documented: Vec<&str> = lines.clone().filter_map(|l| l.strip_prefix(".It Sy ")).collect();
    let known: Vec<String> = KINDS.iter().map(|k| format!("{} Pq {}", k.id, k.severity.word())).collect();
    assert_eq!(documented, known, "the page (left) and the table (right)");
    // With something about each of them.
    let items: Vec<&String> = lines.collect();
    for pair in items.windows(2).filter(|pair| pair[0].starts_with(".It Sy ")) {
        assert!(!pair[1].starts_with(".It ") && pair[1] != ".El", "{}", pair[0]);
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
        let headings = page.headings();
        for heading in wanted {
            assert!(headings.contains(&heading), "{file}: no {heading}");
        }
        let history = page.under(".Sh HISTORY").join(" ");
        assert!(
            history.contains("first appeared in") && (history.contains("0.1") || history.contains("0.2")),
            "{file}: {history}"
        );
    }
}

/// The sections of a page, in the order of mdoc(7). Those of its own come behind
/// the DESCRIPTION.
const ORDER: [&str; 13] = [
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "ENVIRONMENT",
    "FILES",
    "EXIT STATUS",
    "EXAMPLES",
    "DIAGNOSTICS",
    "COMPATIBILITY",
    "SEE ALSO",
    "HISTORY",
    "CAVEATS",
    "BUGS",
];

#[test]
fn sections_have_the_order_of_mdoc() {
    for page in Page::all() {
        let place = |heading: &&str| ORDER.iter().position(|known| known == heading);
        let headings = page.headings();
        let own = |heading: &&str| place(heading).is_none();
        let (first, rest) = headings.split_at(headings.iter().position(own).unwrap_or(headings.len()));
        let after_own = rest.iter().position(|h| !own(h)).map_or(rest, |at| &rest[at..]);
        assert!(!after_own.iter().any(own), "{}: {headings:?}", page.file());
        if !rest.is_empty() {
            assert_eq!(first.last(), Some(&"DESCRIPTION"), "{}: {headings:?}", page.file());
        }
        let standard: Vec<usize> = headings.iter().filter_map(place).collect();
        // Rising, and none twice.
        assert!(standard.is_sorted_by(|a, b| a < b), "{}: {headings:?}", page.file());
    }
}

#[test]
fn see_also_is_sorted_and_complete() {
    let program = |name: &str| PROGRAMS.contains(&name) || name.starts_with("thinjail");
    let mut missing = BTreeSet::new();
    for page in Page::all() {
        let file = page.file();
        let lines = page.under(".Sh SEE ALSO");
        let mut shown: Vec<(&str, &str)> = Vec::new();
        for line in &lines {
            let words: Vec<&str> = line.split(' ').collect();
            let [".Xr", name, section, comma @ ..] = &words[..] else { panic!("{file}: {line}") };
            let last = shown.len() + 1 == lines.len();
            assert_eq!(comma, if last { &[][..] } else { &[","] }, "{file}: {line}");
            shown.push((section, name));
        }
        assert!(shown.is_sorted_by(|a, b| a < b), "{file}: {shown:?}");
        // Whatever of the suite a page speaks of, and itself never.
        for line in page.text() {
            if let Some(rest) = line.split("Xr ").nth(1)
                && let [name, section, ..] = rest.split(' ').collect::<Vec<_>>()[..]
                && program(name)
            {
                assert!(name != page.name, "{file}: {line}");
                let section = section.trim_end_matches(|c: char| !c.is_ascii_digit());
                // thinjail.conf(5) is about all of them.
                let needed = page.section == '8' && !page.only_in_diagnostics(name);
                if needed && !shown.contains(&(section, name)) {
                    missing.insert(format!("{file}: {name}({section})"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not in SEE ALSO: {missing:#?}");
}

/// What readers stumble over, and mandoc(1) does not.
#[test]
fn pages_are_neatly_written() {
    for page in Page::all() {
        let file = page.file();
        let mut wrong = Vec::new();
        let mut before: Option<&str> = None;
        for (number, line) in page.lines.iter().enumerate() {
            let mut say = |what: &str| wrong.push(format!("{file}:{}: {what}: {line}", number + 1));
            if line.ends_with([' ', '\t']) || line.contains('\t') && !page.is_literal(number) {
                say("trailing blank, or tab");
            }
            if !line.is_ascii() {
                say("not ASCII");
            }
            if line.is_empty() && !page.is_literal(number) {
                say("empty line");
            }
            if page.is_literal(number) || line.starts_with(".\\\"") {
                before = None;
                continue;
            }
            if line.len() > 80 && !line.starts_with('.') {
                say("longer than 80 bytes");
            }
            if line.starts_with('.') {
                // A macro's arguments are no part of the sentence.
                before = None;
                continue;
            }
            for word in line.split_whitespace() {
                if before.is_some_and(|b| b.eq_ignore_ascii_case(word)) && word != "%s" {
                    say("a word twice");
                }
                before = Some(word);
            }
            let (words, next) = (line.split_whitespace(), line.split_whitespace().skip(1));
            if words
                .zip(next)
                .any(|(a, b)| a.ends_with(['.', '!', '?']) && b.starts_with(|c: char| c.is_ascii_uppercase()))
            {
                say("a sentence begins inside of a line");
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Lines that a terminal of 80 columns does not hold: those of files and tables,
/// which cannot be broken.
const WIDE: [&str; 4] =
    ["exec.", "/zdata/jails/templates/14.5-RELEASE-base /", "/zdata/jails/containers/", "old   14.5-RELEASE"];

#[test]
fn pages_fit_a_terminal() {
    let mut unused = BTreeSet::from(WIDE);
    let mut wide = Vec::new();
    for page in Page::all() {
        let path = top().join("man").join(page.file());
        let Some(run) = mandoc(&["-T", "ascii", "-O", "width=78"], &path) else { return };
        for line in String::from_utf8(run.stdout).unwrap().lines() {
            // Bold and underlined characters are overstruck.
            let mut shown = String::new();
            for c in line.chars() {
                if c == '\x08' {
                    shown.pop();
                } else {
                    shown.push(c);
                }
            }
            if shown.len() > 80 {
                match WIDE.iter().find(|w| shown.trim_start().starts_with(**w)) {
                    Some(known) => _ = unused.remove(known),
                    None => wide.push(format!("{}: {} columns: {shown}", page.file(), shown.len())),
                }
            }
        }
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));
    assert!(unused.is_empty(), "listed as wide, but in no page: {unused:?}");
}

/// Runs mandoc(1) on a page, if it is there.
fn mandoc(arguments: &[&str], page: &Path) -> Option<Output> {
    match Command::new("mandoc").args(arguments).arg(page).output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            left_out("there is no mandoc(1) here");
            None
        }
        other => Some(other.unwrap()),
    }
}

/// Says that a test can't be made here; with CI=true it has to be.
#[track_caller]
fn left_out(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{why}");
    eprintln!("left out: {why}");
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
                let known = PROGRAMS.contains(&word) || KINDS.iter().any(|k| k.id == word);
                assert!(!ours || known, "{}: {word}: {line}", page.file());
            }
        }
    }
}

#[test]
fn mandoc_has_nothing_to_complain_about() {
    for page in Page::all() {
        let path = top().join("man").join(page.file());
        let Some(run) = mandoc(&["-T", "lint", "-W", "style"], &path) else { return };
        let said = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
        let of_the_page = said.lines().filter(|line| {
            // Which pages are installed here, and whether they are indexed.
            let of_the_host = line.contains("referenced manual not found") || line.contains("mandoc.db");
            // A message is quoted as it is.
            let quoted =
                line.contains("consider using OS macro: Fx") && page.line_of(line).starts_with(".It ");
            !of_the_host && !quoted
        });
        let of_the_page: Vec<&str> = of_the_page.collect();
        assert!(of_the_page.is_empty(), "{}", of_the_page.join("\n"));
    }
}

#[test]
fn words_are_spelled_right_and_wrong_ones_found() {
    let spell = |page: Option<&Path>| {
        let script = top().join("man/spell.sh");
        let output = Command::new("sh").arg(script).args(page).output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (right, said) = spell(None);
    assert!(right, "{said}");
    if said.contains("no aspell(1)") {
        left_out(&said);
        return;
    }
    let dir = tempfile::tempdir_in(crate::harness::scratch()).unwrap();
    let page = dir.path().join("wrong.8");
    let text = ".Nd a naem\n.Pa nopath\n.Bd -literal\nlitteral\n.Ed\nOur favourite jail,\n.Va var_iable .\n";
    fs::write(&page, text).unwrap();
    let (right, said) = spell(Some(&page));
    let found: Vec<&str> = said.lines().filter_map(|l| l.split("  <- ").nth(1)).collect();
    assert!(!right && found == ["favourite", "naem"], "{said}");
    // Words that are not used here, also in two lines, but not in code.
    for (name, text, words) in [
        (
            "page.8",
            "A jail is not there.\nThe program goes\non, and tells.\n",
            vec!["does not exist", "continue", "say"],
        ),
        ("text.md", "It tells `tells`.\n\n    tells\n", vec!["say"]),
        ("plain", "All is well.\n", vec!["nothing is wrong"]),
    ] {
        let page = dir.path().join(name);
        fs::write(&page, text).unwrap();
        let (right, said) = spell(Some(&page));
        let found: Vec<&str> = said.lines().filter_map(|l| l.split(" <- avoid: ").nth(1)).collect();
        assert!(!right && found.len() == words.len(), "{name}: {said}");
        assert!(found.iter().zip(words).all(|(found, word)| found.starts_with(word)), "{name}: {said}");
    }
}

#[test]
fn the_index_leads_to_every_page() {
    let output = Command::new("sh").arg(top().join("man/index.sh")).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let index = String::from_utf8(output.stdout).unwrap();
    for page in Page::all() {
        let (file, name) = (page.file(), format!("{}({})", page.name, page.section));
        let entry = format!("<a href=\"{file}.html\">{name}</a></dt>\n  <dd>{}</dd>", page.once(".Nd "));
        assert!(index.contains(&entry), "{entry}: {index}");
    }
    assert_eq!(index.matches("<dt>").count(), Page::all().len());
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
            // A line of a message that continues in the next one.
            _ if what == "\\" && after.starts_with('\n') => rest = after.trim_start(),
            _ if what == "\\" => {}
            _ => text.push('{'),
        }
    }
    // What fs_err says is printed as it is.
    text + rest + "failed to query raw metadata `%s`\nfailed to read from file `%s`\n"
}

#[test]
fn messages_are_quoted_as_they_are() {
    let messages = messages();
    for page in Page::all().iter().filter(|p| p.headings().contains(&"DIAGNOSTICS")) {
        let mut quoted = 0;
        for message in page.under(".Sh DIAGNOSTICS").iter().filter_map(|l| l.strip_prefix(".It ")) {
            quoted += 1;
            // Contexts are joined with ": " and proposals with "; ".
            // What clap says of a command line.
            for part in message
                .strip_prefix("error: ")
                .unwrap_or(message)
                .split("%s")
                .flat_map(|p| p.split(": "))
                .flat_map(|p| p.split("; "))
            {
                // What stands next to something that is put in may be put in itself.
                let part = part.trim();
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

/// A host that examples are run on.
struct Place(Host);

impl Place {
    fn root(&self) -> PathBuf {
        fs::canonicalize(self.0.root()).unwrap()
    }

    /// Runs a line of sh(1), with our programs in its path.
    fn shell(&self, script: &str) -> Output {
        let mut path: Vec<PathBuf> = PROGRAMS.iter().map(|p| bin(p).parent().unwrap().to_owned()).collect();
        path.dedup();
        if self.0.has_tools() {
            path.push(self.0.tools());
        }
        path.extend(["/usr/bin".into(), "/bin".into()]);
        Command::new("/bin/sh")
            .args(["-c", script])
            .env_clear()
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("THINJAIL_ROOT", self.root())
            .env("THINJAIL_TOOLS", self.0.tools())
            .current_dir(self.root())
            .output()
            .unwrap()
    }

    /// What was printed, as it would be without an alternate root.
    fn printed(&self, bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap().replace(self.root().to_str().unwrap(), "")
    }
}

/// The host that the examples of a page are run on.
fn host_for(page: &Page) -> Host {
    match page.file().as_str() {
        "jail-destroy.8" => stage_with_jails_to_destroy(),
        "jail-list.8" => stage_with_jails(),
        "skel-destroy.8" => stage_with_templates_to_destroy(),
        "jail-doctor.8" => stage_with_faults(),
        "jail-rebase.8" | "skel-fetch.8" | "skel-split.8" | "skel-update.8" => stage_for(page),
        _ => ordinary_stage(page),
    }
}

/// The etc/ntp.conf of a base.
fn ntp_conf(server: &str) -> String {
    format!("# Servers\n{server} iburst\n\n# Who may ask\nrestrict default limited kod nomodify\n")
}

/// Writes the archive of a base.
fn write_base(release: &str, file: &Path) {
    let mut archive = basetree::small(release);
    let (pool, welcome) = match release {
        "15.1-RELEASE" => ("pool 2.freebsd.pool.ntp.org", "Welcome to FreeBSD 15!\n"),
        _ => ("pool 0.freebsd.pool.ntp.org", "Welcome to FreeBSD!\n"),
    };
    archive.file("./etc/ntp.conf", ntp_conf(pool).as_bytes(), basetree::Meta::new(0o644));
    archive.file("./etc/motd.template", welcome.as_bytes(), basetree::Meta::new(0o644));
    archive.file("./usr/sbin/rmt", b"rmt\n", basetree::Meta::new(0o555));
    archive.finish(file).unwrap();
}

/// Puts a release on a server: an archive, and the MANIFEST for it.
fn serve(stage: &Host, mirror: &str, release: &str) {
    let file = stage.path("/base.txz");
    write_base(release, &file);
    let url =
        mirror.parse::<Mirror>().unwrap().directory(&release.parse().unwrap(), Arch::of_host().unwrap());
    let (server, path) = url.split_once("://").unwrap().1.split_once('/').unwrap();
    stage.www(server, &format!("{path}/base.txz"), &fs::read(&file).unwrap());
    stage.www(server, &format!("{path}/MANIFEST"), basetree::manifest(&file).as_bytes());
    fs::remove_file(file).unwrap();
}

const MAIN_SERVER: &str = "https://download.freebsd.org";

fn stage_for(page: &Page) -> Host {
    let stage = Host::bare(Storage::Zfs);
    serve(&stage, MAIN_SERVER, "14.5-RELEASE");
    // An archive that somebody brought, and the MANIFEST for it.
    let brought = |release, archive: &str, manifest: &str| {
        let aside = stage.path("/base.txz");
        write_base(release, &aside);
        stage.write(manifest, &basetree::manifest(&aside));
        fs::create_dir_all(stage.path(archive).parent().unwrap()).unwrap();
        fs::rename(aside, stage.path(archive)).unwrap();
    };
    match page.file().as_str() {
        "jail-rebase.8" => {
            template_with_updates(&stage);
            stage.ok_with("jail-clone", &["web", "10"]);
            stage.ok_with("jail-clone", &["db", "11"]);
            jail_with_work(&stage, "/zdata/jails/containers/web");
            stage.ok_with("skel-update", &["14.5"]);
            serve(&stage, MAIN_SERVER, "15.1-RELEASE");
            // Hidden otherwise; the stand-in can't hide what is there.
            stage.tool("zfs", &["set", "snapdir=visible", "zdata/jails/templates"]);
        }
        "skel-fetch.8" => {
            serve(&stage, "http://ftp.de.freebsd.org/pub/FreeBSD", "15.1-RELEASE");
            let old = "http://ftp-archive.freebsd.org/pub/FreeBSD-Archive/old-releases/amd64/14.0-RELEASE";
            serve(&stage, old, "14.0-RELEASE");
            let medium = "/mnt/usr/freebsd-dist";
            brought("14.3-RELEASE", &format!("{medium}/base.txz"), &format!("{medium}/MANIFEST"));
            stage.tool("zfs", &["create", "-p", "zdata/jails/media"]);
            let media = "/zdata/jails/media/14.4-RELEASE";
            brought("14.4-RELEASE", &format!("{media}-base.txz"), &format!("{media}-MANIFEST"));
        }
        "skel-split.8" => {
            stage.ok_with("skel-fetch", &["14.5"]);
            serve(&stage, MAIN_SERVER, "15.1-RELEASE");
            stage.ok_with("skel-fetch", &["15.1"]);
            split_by_hand(&stage, "15.1-RELEASE");
        }
        "skel-update.8" => {
            template_with_updates(&stage);
            stage.ok_with("jail-clone", &["web", "10"]);
        }
        other => panic!("{other}: which host are its examples for?"),
    }
    stage
}

/// Gives a jail a server of its own for the time, a user and a package.
fn jail_with_work(stage: &Host, container: &str) {
    stage.write(&format!("{container}/etc/ntp.conf"), &ntp_conf("server ntp.example.org"));
    let users = format!("{container}/etc/master.passwd");
    let bob = "bob:*:1001:1001::0:0:Bob:/home/bob:/bin/sh\n";
    stage.write(&users, &(fs::read_to_string(stage.path(&users)).unwrap() + bob));
    stage.write(&format!("{container}/usr/local/etc/nginx/nginx.conf"), "");
    stage.write(&format!("{container}/var/db/pkg/local.sqlite"), "");
}

/// A host with jails in all states.
fn stage_with_jails() -> Host {
    let stage = Host::zfs();
    for (jail, id) in [("web", "10"), ("db", "11"), ("old", "13")] {
        stage.ok_with("jail-clone", &[jail, id]);
    }
    stage.write("/zdata/jails/containers/web/var/log/messages", &"x".repeat(1_234_567));
    stage.tool("jail", &["-c", "web"]);
    stage.tool("zfs", &["snapshot", "zdata/jails/templates/14.5-RELEASE-skeleton@p3"]);
    stage.ok_with("jail-clone", &["mail", "12"]);
    fs::remove_file(stage.path("/zdata/jails/old-nullfs-base.fstab")).unwrap();
    stage
}

/// A host with a jail whose start failed, one that runs, one made by hand, one
/// in jail.conf(5) itself, and the rest of one.
fn stage_with_jails_to_destroy() -> Host {
    let stage = Host::zfs();
    for (jail, id) in [("web", "10"), ("db", "11"), ("mail", "12"), ("old", "13"), ("cache", "14")] {
        stage.ok_with("jail-clone", &[jail, id]);
    }
    stage.ok_with("jail-epair-up", &["-b", "igc0bridge", "web", "epair10"]);
    stage.tool("jail", &["-c", "db"]);
    stage.tool("zfs", &["inherit", "thinjail:jail", "zdata/jails/containers/mail"]);
    stage.tool("zfs", &["snapshot", "zdata/jails/containers/mail@monday"]);
    fs::remove_file(stage.path("/etc/jail.conf.d/old.conf")).unwrap();
    let file = stage.path("/etc/jail.conf.d/cache.conf");
    let common = fs::read_to_string(stage.path("/etc/jail.conf")).unwrap();
    stage.write("/etc/jail.conf", &(common + &fs::read_to_string(&file).unwrap()));
    fs::remove_file(file).unwrap();
    stage
}

/// A host with a template that nothing uses, and one with two patch levels.
fn stage_with_templates_to_destroy() -> Host {
    let stage = Host::bare(Storage::Zfs);
    for release in ["14.5-RELEASE", "15.1-RELEASE"] {
        serve(&stage, MAIN_SERVER, release);
        stage.ok_with("skel-fetch", &[release]);
        stage.ok_with("skel-split", &[release]);
    }
    stage.tool("sysrc", &["-f", "/usr/local/etc/thinjail.conf", "bsd_ver=15.1"]);
    stage.ok_with("jail-clone", &["web", "10"]);
    for name in ["14.5-RELEASE-skeleton@p1", "15.1-RELEASE-skeleton@p1", "15.1-RELEASE-skeleton@p2"] {
        stage.tool("zfs", &["snapshot", &format!("zdata/jails/templates/{name}")]);
    }
    stage
}

/// A host with something wrong.
fn stage_with_faults() -> Host {
    let stage = Host::zfs();
    stage.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
    for (jail, id) in [("db", "11"), ("mail", "12")] {
        stage.ok_with("jail-clone", &[jail, id]);
    }
    stage.ok_with("jail-epair-up", &["-b", "igc0bridge", "db", "epair11"]);
    let mail = "mail {\n$id = \"12\";\n$ip = \"192.168.7.${id}/24\";\n\
                exec.poststop = \"jail-epair-down ${name} ${epair}\";\n}\n";
    stage.write("/etc/jail.conf.d/mail.conf", mail);
    stage
}

/// Splits a base as far as mv(1) gets, which stops at the immutable var/empty.
fn split_by_hand(stage: &Host, release: &str) {
    stage.tool("zfs", &["create", &format!("zdata/jails/templates/{release}-skeleton")]);
    let base = stage.path(&format!("/zdata/jails/templates/{release}-base"));
    let skeleton = stage.path(&format!("/zdata/jails/templates/{release}-skeleton"));
    fs::create_dir(skeleton.join("home")).unwrap();
    fs::create_dir(skeleton.join("usr")).unwrap();
    for moved in ["etc", "root", "tmp", "usr/local"] {
        fs::rename(base.join(moved), skeleton.join(moved)).unwrap();
    }
    for linked in ["etc", "home", "root", "tmp"] {
        symlink(format!("skeleton/{linked}"), base.join(linked)).unwrap();
    }
    symlink("../skeleton/usr/local", base.join("usr/local")).unwrap();
    let copied = Command::new("cp").arg("-a").arg(base.join("var")).arg(skeleton.join("var")).status();
    assert!(copied.unwrap().success());
    for entry in fs::read_dir(base.join("var")).unwrap().map(|e| e.unwrap().path()) {
        if !entry.ends_with("empty") {
            fs::remove_dir_all(entry).unwrap();
        }
    }
}

/// Makes a template, for which patch level 3 has come out since.
fn template_with_updates(stage: &Host) {
    let conf = basetree::content("etc/freebsd-update.conf", "14.5-RELEASE");
    stage.write("/etc/freebsd-update.conf", std::str::from_utf8(&conf).unwrap());
    stage.ok_with("skel-fetch", &["14.5"]);
    stage.ok_with("skel-split", &["14.5"]);
    stage.updates("14.5-RELEASE", 3, &[("bin/sh", b"patched\n"), ("etc/motd.template", b"patched\n")]);
}

/// A host with nothing for jails.
fn stage_on_a_lan() -> Host {
    let stage = Host::with_card();
    stage.pool("zroot");
    stage.tool("ifconfig", &["igc0", "inet", "192.168.1.5/24", "up"]);
    stage.tool("route", &["add", "default", "192.168.1.1"]);
    stage
}

/// A host as most pages mean it, with what its examples take for granted.
fn ordinary_stage(page: &Page) -> Host {
    let storage = if page.file() == "thinjail.7" { Storage::Zfs } else { Storage::Directory };
    if page.file() == "jail-setup.8" {
        return stage_on_a_lan();
    }
    let stage = Host::on(storage);
    stage.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
    let link = |text: &str, at: String| symlink(text, stage.path(&at)).unwrap();
    let template = "/zdata/jails/templates/14.5-RELEASE";
    let kernel = Simulated::new(&Root::alternate(&stage.root()).unwrap());
    match page.file().as_str() {
        "jail-epair-up.8" => kernel
            .change(|s| {
                s.plug("igc1");
                Ok(())
            })
            .unwrap(),
        "jail-epair-down.8" => {
            stage.ok_with("jail-epair-up", &["-b", "igc0bridge", "web", "epair10"]);
        }
        "jail-sweep.8" => {
            stage.ok_with("jail-clone", &["web", "10"]);
            stage.tool("jail", &["-c", "web"]);
            stage.tool("jail", &["-R", "web"]);
        }
        "jail-mkfstab.8" => {
            stage.ok_with("jail-clone", &["web", "10"]);
            fs::create_dir_all(stage.path("/srv/www")).unwrap();
            fs::create_dir_all(stage.path("/srv/a:b")).unwrap();
            fs::create_dir_all(stage.path("/zdata/jails/containers/web/usr/local/www")).unwrap();
        }
        "jail-export.8" | "jail-import.8" => {
            stage.ok_with("jail-clone", &["web", "10"]);
            fs::create_dir_all(stage.path("/tmp")).unwrap();
            if page.file() == "jail-import.8" {
                stage.ok_with("jail-export", &["-o", "/tmp/web.tar", "web"]);
            }
        }
        "jail-clone.8" => {
            fs::create_dir_all(stage.path(&format!("{template}-skeleton/usr/local/www"))).unwrap();
            copy_template(&stage);
            fs::create_dir_all(stage.path("/srv/www")).unwrap();
        }
        "skel-fixcerts.8" => {
            stage.write(&format!("{template}-base/usr/share/certs/trusted/Root.pem"), "");
            stage.write(&format!("{template}-base/usr/sbin/rmt"), "");
            let certificate = format!("{template}-skeleton/etc/ssl/certs/0a775a30.0");
            link("../../../usr/share/certs/trusted/Root.pem", certificate);
            fs::create_dir_all(stage.path("/zdata/skeleton/etc")).unwrap();
            link("../../usr/sbin/rmt", "/zdata/skeleton/etc/rmt".into());
            link("../usr/sbin/rmt", format!("{template}-skeleton/etc/rmt"));
            stage.ok_with("jail-clone", &["web", "10"]);
        }
        "thinjail.7" => {
            stage.ok_with("jail-clone", &["web", "10"]);
            stage.tool("jail", &["-c", "web"]);
            stage.write("/zdata/jails/containers/web/etc/motd", "hello\n");
        }
        "thinjail.conf.5" => copy_template(&stage),
        other => panic!("{other}: which host are its examples for?"),
    }
    stage
}

/// Makes a template of 15.1 out of that of 14.5.
fn copy_template(stage: &Host) {
    for half in ["base", "skeleton"] {
        let [from, to] =
            ["14.5", "15.1"].map(|r| stage.path(&format!("/zdata/jails/templates/{r}-RELEASE-{half}")));
        assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    }
}

/// Whether the jails that service(8) was to start or to stop are as they should
/// be: its status does not tell.
#[track_caller]
fn check_service(place: &Place, command: &str) {
    let Place(stage) = place;
    let words: Vec<&str> = command.split(' ').collect();
    let ["service", "jail", what, names @ ..] = &words[..] else { panic!("{command}") };
    let state = stage.state();
    let runs = |name: &str| state.jails.iter().any(|jail| jail.name == name && !jail.dying);
    for name in names {
        assert_eq!(runs(name), *what != "stop", "{command}: whether {name} runs");
    }
    assert!(!names.is_empty() || state.jails.iter().any(|jail| !jail.dying), "{command}: nothing runs");
}

/// The program that a command line runs, behind variables set for it.
fn program_of(command: &str) -> &str {
    command.split_whitespace().find(|word| !word.contains('=')).unwrap_or_default()
}

#[test]
fn examples_do_what_the_pages_say() {
    let mut left_out: BTreeSet<&str> = NOT_RUN.iter().map(|(name, _)| *name).collect();
    left_out.extend(OUTPUT_LEFT_OUT);
    let mut differ = BTreeSet::from(DIFFER);
    let jail_conf = fs::read_to_string(top().join("share/examples/jail.conf")).unwrap();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let jail_conf: Vec<String> = jail_conf.lines().map(words).collect();
    for page in Page::all() {
        let host = Place(host_for(&page));
        let mut run = 0;
        let mut variables = String::new();
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
                if program.is_empty() {
                    variables += &format!("{command}\n");
                    continue;
                }
                let not_run =
                    NOT_RUN.iter().find(|(name, _)| command.split_whitespace().any(|word| word == *name));
                if let Some((name, _)) = not_run {
                    left_out.remove(name);
                    continue;
                }
                let line = if RUN_BELOW_THE_ROOT.contains(&program) {
                    command.replace(" /", &format!(" {}/", host.root().display()))
                } else {
                    assert!(
                        PROGRAMS.contains(&program) || WITH_STAND_INS.contains(&program),
                        "{file}: {command}: neither run nor listed as not run"
                    );
                    command.clone()
                };
                let ran = host.shell(&format!("{variables}{line}"));
                let (stdout, stderr) = (host.printed(&ran.stdout), host.printed(&ran.stderr));
                // That something was found is no failure.
                let found = program == "jail-doctor" && ran.status.code() == Some(1) && stderr.is_empty();
                let as_shown = match differ.remove(&*command) {
                    true => ran.status.code() == Some(1),
                    false => ran.status.success() || found,
                };
                assert!(as_shown, "{file}: {command}: {}: {stdout}{stderr}", ran.status);
                if program == "service" {
                    check_service(&host, &command);
                }
                if TALKATIVE.contains(&program) && output.is_empty() {
                    assert_eq!(stderr, "", "{file}: {command}: standard error");
                } else if left_out.remove(&*command) {
                    assert_ne!(stdout, "", "{file}: {command}: there is nothing to leave out");
                    assert_eq!(stderr, "", "{file}: {command}: standard error");
                } else {
                    // On a terminal notes come behind.
                    let printed = stdout + &stderr;
                    assert_eq!(printed, output, "{file}: {command}: printed (left), in the page (right)");
                }
                run += usize::from(PROGRAMS.contains(&program));
            }
        }
        assert!(run > 0, "{}: no example of our programs", page.file());
    }
    left_out.extend(differ);
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

/// Makes a host as thinjail(7) says, up to the start of the first jail.
fn host_from_nothing() -> Host {
    let stage = Host::bare(Storage::Zfs);
    serve(&stage, MAIN_SERVER, "14.5-RELEASE");
    let conf = basetree::content("etc/freebsd-update.conf", "14.5-RELEASE");
    stage.write("/etc/freebsd-update.conf", std::str::from_utf8(&conf).unwrap());
    stage.write("/etc/resolv.conf", "of the host\n");
    stage.updates("14.5-RELEASE", 3, &[("bin/sh", b"patched\n")]);
    let sample = fs::read_to_string(top().join("etc/thinjail.conf.sample")).unwrap();
    stage.write("/usr/local/etc/thinjail.conf.sample", &sample.replace("\njail_", "\n#jail_"));
    let jail_conf = fs::read_to_string(top().join("share/examples/jail.conf")).unwrap();
    stage.write("/usr/local/share/examples/thinjail/jail.conf", &jail_conf);
    fs::remove_file(stage.path("/etc/jail.conf")).unwrap();
    stage.write("/etc/rc.conf", "");

    let host = Place(stage);
    for heading in [".Ss Settings", ".Ss Template", ".Ss Common jail.conf", ".Ss The first jail"] {
        follow(&host, &Page::read("thinjail.7").under(heading));
    }
    let Place(stage) = host;
    stage
}

/// Does what the blocks of a section say, each in one shell, and compares what
/// is printed with what the page shows, if it shows anything.
#[track_caller]
fn follow(host: &Place, section: &[&str]) {
    let root = host.root().display().to_string();
    for block in blocks(section) {
        let (mut script, mut expected) = (String::from("set -e\n"), String::new());
        let mut service = None;
        for Example { command, output } in commands(&block, "# ") {
            let below = |words: &[&str]| {
                words.iter().fold(command.clone(), |c, w| c.replace(&format!(" {w}"), &format!(" {root}{w}")))
            };
            // Nor are packages there, or what they bring.
            if command.contains(" -j web ") && ["sysrc", "service"].contains(&program_of(&command)) {
                continue;
            }
            script += &match program_of(&command) {
                "cd" | "cp" => below(&["/usr", "/etc", "/zdata"]),
                // The stand-in knows the files of the root by their full names.
                "sysrc" => {
                    command.replace("-f thinjail.conf", "-f /usr/local/etc/thinjail.conf") + " >/dev/null"
                }
                "service" => {
                    service = Some(command.clone());
                    command + " >/dev/null"
                }
                // There is nobody to ask.
                "jail-rebase" => {
                    command.replace(" --commit", " -y --commit").replace(" --revert", " -y --revert")
                }
                "jail-destroy" => command.replace("jail-destroy", "jail-destroy -y"),
                // Programs that the jail does not have here, but it runs.
                "jexec" => "jls -j web >/dev/null".into(),
                "pkg" => continue,
                _ => command,
            };
            script.push('\n');
            expected += &output;
        }
        let ran = host.shell(&script);
        let (stdout, stderr) = (host.printed(&ran.stdout), host.printed(&ran.stderr));
        assert!(ran.status.success(), "{script}\n{stdout}{stderr}");
        if !expected.is_empty() {
            assert_eq!(stdout + &stderr, expected, "printed (left), in the page (right)");
        }
        if let Some(command) = service {
            check_service(host, &command);
        }
    }
}

#[test]
fn a_host_made_as_thinjail_7_says_has_jails() {
    let page = Page::read("thinjail.7");
    let stage = host_from_nothing();
    let template = stage.path("/zdata/jails/templates/14.5-RELEASE-base");
    let mut shown = 0;
    for line in blocks(&page.under(".Ss Layout")).concat() {
        let mut words = line.split_whitespace();
        if let (Some(link), Some("->"), Some(text)) = (words.next(), words.next(), words.next())
            && !link.starts_with('/')
        {
            assert_eq!(fs::read_link(template.join(link)).unwrap(), Path::new(text), "{line}");
            shown += 1;
        }
    }
    assert_eq!(shown, 2, "links in the picture");
    let container = stage.path("/zdata/jails/containers/web");
    assert_eq!(fs::read_to_string(container.join("etc/resolv.conf")).unwrap(), "of the host\n");
    for directory in ["docs", "home", "root", "tmp", "usr/local", "var/empty"] {
        assert!(container.join(directory).is_dir(), "{directory}");
    }
    stage.ok_with("skel-fixcerts", &["-a", "-c", "14.5"]);
    stage.ok_with("jail-mkfstab", &["-c", "web"]);
    stage.tool("jail", &["-r", "web"]);
}

#[test]
fn a_jail_lives_as_thinjail_7_says() {
    let page = Page::read("thinjail.7");
    let stage = host_from_nothing();
    stage.updates("14.5-RELEASE", 4, &[("bin/sh", b"patched again\n"), ("etc/motd.template", b"patched\n")]);
    serve(&stage, MAIN_SERVER, "15.1-RELEASE");
    stage.updates("15.1-RELEASE", 1, &[("bin/sh", b"patched\n")]);
    // Hidden otherwise; the stand-in can't hide what is there.
    stage.tool("zfs", &["set", "snapdir=visible", "zdata/jails/templates"]);
    let host = Place(stage);
    let Place(stage) = &host;
    let origin = || {
        let origin = stage.tool("zfs", &["get", "-H", "-o", "value", "origin", "zdata/jails/containers/web"]);
        origin.trim().rsplit('/').next().unwrap().to_owned()
    };
    assert_eq!(origin(), "14.5-RELEASE-skeleton@p3");
    follow(&host, &page.under(".Sh STARTING AND STOPPING"));
    follow(&host, &page.under(".Sh UPDATING A TEMPLATE"));
    follow(&host, &page.under(".Ss Patch levels"));
    assert_eq!(origin(), "14.5-RELEASE-skeleton@p3.1");
    let rc_conf = stage.path("/zdata/jails/containers/web/etc/rc.conf");
    assert_eq!(fs::read_to_string(rc_conf).unwrap(), "sshd_enable=\"YES\"\n");

    let upgrading = page.under(".Sh UPGRADING");
    let own = upgrading.iter().take_while(|l| !l.starts_with(".Ss")).copied().collect::<Vec<_>>();
    let back = |l: &&str| l.starts_with("If it does not work, stop it");
    let (there, rest) = own.split_at(own.iter().position(back).unwrap());
    follow(&host, there);
    assert_eq!(origin(), "15.1-RELEASE-skeleton@p1");
    // To go back there must be something to go back to.
    follow(&host, &[".Bd -literal", "# service jail stop web", "# jail-rebase web 14.5", ".Ed"]);
    assert_eq!(origin(), "14.5-RELEASE-skeleton@p3.1");
    follow(&host, rest);
    assert_eq!(origin(), "15.1-RELEASE-skeleton@p1");
    assert!(!stage.path("/zdata/jails/templates/14.5-RELEASE-base/bin").exists());

    follow(&host, &page.under(".Sh DESTROYING A JAIL"));
    stage.nothing_left();
}

#[test]
fn jails_go_on_without_the_suite_as_thinjail_7_says() {
    let page = Page::read("thinjail.7");
    let shown = blocks(&page.under(".Sh LEAVING THINJAIL"));
    let [lines, mtu, pair, mounts] = &shown[..] else { panic!("{shown:#?}") };
    let stage = Host::zfs();
    stage.ok_with("jail-clone", &["web", "10"]);
    // One jail was started by the hooks, and is stopped without.
    stage.tool("jail", &["-c", "web"]);
    let example = fs::read_to_string(stage.path("/etc/jail.conf")).unwrap();
    let without = |lines: &[String]| {
        let ours = |l: &&str| {
            ["prepare", "prestart", "poststop", "release"]
                .iter()
                .any(|h| l.starts_with(&format!("exec.{h} ")))
        };
        let kept: Vec<&str> = example.lines().filter(|l| !ours(l)).collect();
        let (include, others) = kept.split_last().unwrap();
        assert!(include.starts_with(".include "), "{include}");
        format!("{}\n{}\n{include}\n", others.join("\n"), lines.join("\n"))
    };
    stage.write("/etc/jail.conf", &without(lines));
    for program in PROGRAMS {
        fs::remove_file(stage.path("/usr/local/sbin").join(program)).unwrap();
    }
    stage.tool("jail", &["-r", "web"]);
    stage.nothing_left();

    let mtu_of_the_jail = || {
        stage.tool("jail", &["-c", "web"]);
        let state = stage.state();
        let jid = state.jails.iter().find(|j| j.name == "web" && !j.dying).expect("web runs").jid;
        assert!(state.interface(0, "epair10a").unwrap().up);
        state.interface(jid, "epair10b").unwrap().mtu
    };
    assert_eq!(mtu_of_the_jail(), 1500);
    stage.tool("jail", &["-r", "web"]);
    stage.nothing_left();
    stage.tool("ifconfig", &["igc0bridge", "mtu", "9000"]);
    stage.write("/etc/jail.conf", &without(&[&lines[..], mtu].concat()));
    assert_eq!(mtu_of_the_jail(), 9000);
    stage.tool("jail", &["-r", "web"]);
    stage.nothing_left();

    // What is cleared by hand from then on.
    let host = Place(stage);
    let Place(stage) = &host;
    let by_hand = |block: &[String]| {
        for Example { command, .. } in commands(block, "# ") {
            let command = command.replace(" /", &format!(" {}/", host.root().display()));
            let ran = host.shell(&command);
            assert!(ran.status.success(), "{command}: {}", host.printed(&ran.stderr));
        }
    };
    let good = fs::read_to_string(stage.path("/etc/jail.conf")).unwrap();
    stage.write("/etc/jail.conf", &good.replace("inet ${ip} up", "inet nothing up"));
    stage.tool_fails("jail", &["-c", "web"]);
    stage.write("/etc/jail.conf", &good);
    assert!(stage.tool_fails("jail", &["-c", "web"]).contains("interface epair10 already exists"));
    by_hand(pair);
    stage.nothing_left();

    stage.tool("jail", &["-c", "web"]);
    stage.tool("jail", &["-R", "web"]);
    assert!(stage.tool_fails("jail", &["-c", "web"]).contains("Resource deadlock avoided"));
    by_hand(mounts);
    by_hand(pair);
    stage.nothing_left();

    stage.tool("jail", &["-c", "web"]);
    stage.fault("held-connection");
    stage.tool_fails("jail", &["-r", "web"]);
    by_hand(&mounts[mounts.len() - 1..]);
    stage.tool("jail", &["-c", "web"]);
    stage.tool("jail", &["-r", "web"]);
    stage.tool("jail", &["standin-let-go", "web"]);
    stage.nothing_left();
}

#[test]
fn trying_it_elsewhere_goes_as_thinjail_7_says() {
    let host = Host::hooks();
    fs::create_dir(host.path("tmp")).unwrap();
    fs::create_dir(host.path("tmp/try")).unwrap();
    let page = Page::read("thinjail.7");
    let mut script = String::from("set -e\n");
    let mut expected = String::new();
    let block = blocks(&page.under(".Sh TRYING IT WITHOUT FREEBSD")).remove(0);
    for Example { command, output } in commands(&block, "$ ") {
        script += &format!("{}\n", command.replace("/tmp/try", &host.path("tmp/try").display().to_string()));
        expected += &output;
    }
    let place = Place(host);
    let ran = place.shell(&script);
    assert!(ran.status.success(), "{script}{}", place.printed(&ran.stderr));
    assert_eq!(place.printed(&ran.stdout), expected);
    let Place(host) = place;
    assert!(host.path("tmp/try/zdata/jails/containers/web/etc").is_dir());
    let etc = host.path("tmp/try/zdata/jails/templates/14.5-RELEASE-base/etc");
    assert_eq!(fs::read_link(etc).unwrap(), Path::new("skeleton/etc"));
}
