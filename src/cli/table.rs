//! A command line as a table: what can be given, and from it the parser, the
//! usage and the one-line mistakes. A test holds the manual pages against the
//! same tables.
//!
//! lexopt tells options from operands. It has no dependencies, and with all of
//! this it makes some twelve kilobytes of a program; a parser that does
//! everything makes ten times that, in hooks that run at every start of a jail.

use crate::report;
use anyhow::Context;
use lexopt::Arg;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

/// Width of the terminal that the usage is made for.
const COLUMNS: usize = 80;

/// What a value or an operand is, for those who help to type it. The parser has
/// no use for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that only the caller knows.
    Text,
    /// A jail that there is.
    Jail,
    /// A release that has a template.
    Release,
    /// The same, as what a jail is moved to.
    Destination,
    /// A release that can be had.
    Archive,
    /// A release that has a template, or a directory.
    ReleaseOrDirectory,
    /// A bridge.
    Bridge,
    /// Any network interface.
    Interface,
    /// The stem of a pair.
    Pair,
    /// The path of the jail that the operand before it names.
    JailPath,
    /// A file or directory, and behind a colon what follows.
    Mount,
    /// Any file.
    File,
    /// Any directory.
    Directory,
    /// One of few words.
    Word(Words),
}

/// Which words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Those of [`crate::text::Side`].
    Side,
    /// Those of [`crate::mirror::Arch`].
    Arch,
    /// The one that stands for no address of ours.
    Mac,
}

impl Words {
    /// All of them.
    pub fn all(self) -> &'static [&'static str] {
        match self {
            Words::Side => &["ours", "theirs"],
            Words::Arch => &["amd64", "arm64"],
            Words::Mac => &["none"],
        }
    }
}

impl Kind {
    /// The long names of the options beside which there can be no such operand.
    pub fn not_with(self) -> &'static [&'static str] {
        if self == Kind::Destination { &["commit", "revert"] } else { &[] }
    }
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// `n` for `-n`.
    pub short: Option<char>,
    /// `dry-run` for `--dry-run`; also what a program asks [`Given`] for.
    pub long: &'static str,
    /// What its value is called, if it takes one.
    pub value: Option<&'static str>,
    /// What its value is.
    pub kind: Kind,
    /// Whether there is no default.
    pub required: bool,
    /// Whether it may be given more than once.
    pub repeatable: bool,
    /// The long name of an option that this one is nothing without.
    pub requires: Option<&'static str>,
    /// The long names of options that make no sense beside this one.
    pub conflicts: &'static [&'static str],
    /// One line for the usage.
    pub help: &'static str,
}

impl Opt {
    /// An option without a value.
    pub const fn flag(short: char, long: &'static str, help: &'static str) -> Opt {
        Opt { short: Some(short), ..Opt::long(long, help) }
    }

    /// An option without a value and without a short spelling.
    pub const fn long(long: &'static str, help: &'static str) -> Opt {
        Opt {
            short: None,
            long,
            value: None,
            kind: Kind::Text,
            required: false,
            repeatable: false,
            requires: None,
            conflicts: &[],
            help,
        }
    }

    /// An option with a value.
    pub const fn value(short: char, long: &'static str, value: &'static str, help: &'static str) -> Opt {
        Opt { value: Some(value), ..Opt::flag(short, long, help) }
    }

    /// The same, with a value of this kind.
    pub const fn of(self, kind: Kind) -> Opt {
        Opt { kind, ..self }
    }

    /// The same, but it must be given.
    pub const fn required(self) -> Opt {
        Opt { required: true, ..self }
    }

    /// The same, but it may be given more than once.
    pub const fn repeatable(self) -> Opt {
        Opt { repeatable: true, ..self }
    }

    /// The same, but only beside the option with that long name.
    pub const fn requires(self, long: &'static str) -> Opt {
        Opt { requires: Some(long), ..self }
    }

    /// The same, but never beside those options.
    pub const fn conflicts(self, longs: &'static [&'static str]) -> Opt {
        Opt { conflicts: longs, ..self }
    }

    /// `-n`, or `--json` where there is nothing shorter.
    fn spelling(&self) -> String {
        self.short.map_or_else(|| format!("--{}", self.long), |short| format!("-{short}"))
    }

    /// `-n`, `-b bridge`.
    fn with_value(&self) -> String {
        let spelling = self.spelling();
        self.value.map_or(spelling.clone(), |value| format!("{spelling} {value}"))
    }
}

/// An argument that is no option; its place tells which.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// What it is called; also what a program asks [`Given`] for. `name ...` may
    /// be given any number of times.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Whether it must be given. Those that need not be are the last ones.
    pub required: bool,
    /// One line for the usage.
    pub help: &'static str,
}

/// `-n`
pub const DRY_RUN: Opt = Opt::flag('n', "dry-run", "Print the equivalent shell commands and change nothing");
/// `-v`
pub const VERBOSE: Opt = Opt::flag('v', "verbose", "Report every action on standard error");
/// `--json` of a program whose output are its commands.
pub const JSON_OF_COMMANDS: Opt =
    Opt::long("json", "With -n: print the commands as one JSON document").requires("dry-run");
/// `-j` of a program whose output is data.
pub const JSON: Opt = Opt::flag('j', "json", "Print one JSON document");
/// `-R`
pub const ROOT: Opt =
    Opt::value('R', "root", "directory", "Work below this alternate root (also THINJAIL_ROOT)")
        .of(Kind::Directory);
/// `-h`
pub const HELP: Opt = Opt::flag('h', "help", "Print the usage");
/// `-V`
pub const VERSION: Opt = Opt::flag('V', "version", "Print the version");

impl Operand {
    /// Whether it may be given more than once; the last one may.
    pub fn repeats(&self) -> bool {
        self.name.ends_with(" ...")
    }
}

/// The options of every program that does something.
pub const COMMON: [Opt; 6] = [DRY_RUN, VERBOSE, JSON_OF_COMMANDS, ROOT, HELP, VERSION];

/// The options of every program that only tells something.
pub const COMMON_OF_DATA: [Opt; 4] = [JSON, ROOT, HELP, VERSION];

/// The options of every program that tells something and may do something.
pub const COMMON_OF_BOTH: [Opt; 6] = [DRY_RUN, VERBOSE, JSON, ROOT, HELP, VERSION];

/// The command line of a program.
#[derive(Debug)]
pub struct Program {
    /// The name of the program.
    pub name: &'static str,
    /// What it does, on one line.
    pub about: &'static str,
    /// Its own options, in the order of its manual page.
    pub own: &'static [Opt],
    /// Those that it shares with its kind: [`COMMON`] or [`COMMON_OF_DATA`].
    pub common: &'static [Opt],
    /// Its operands.
    pub operands: &'static [Operand],
}

/// Why there is no work to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// `-h` was given.
    Help,
    /// `-V` was given.
    Version,
    /// The command line makes no sense.
    Mistake(String),
}

fn mistake<T>(text: String) -> Result<T, Stop> {
    Err(Stop::Mistake(text))
}

impl Program {
    /// All options: its own ones and those that it shares.
    pub fn options(&self) -> impl Iterator<Item = &Opt> {
        self.own.iter().chain(self.common)
    }

    fn option(&self, long: &str) -> Option<&Opt> {
        self.options().find(|o| o.long == long)
    }

    /// Sorts out the arguments behind the program's name. Options may stand
    /// before and behind operands; `--` ends them.
    pub fn parse(&'static self, arguments: Vec<OsString>) -> Result<Given, Stop> {
        let mut given = Given { program: self, values: Vec::new() };
        let mut operands = Vec::new();
        let mut lexer = lexopt::Parser::from_args(arguments);
        loop {
            let (found, spelling) = match lexer.next() {
                Ok(None) => break,
                Ok(Some(Arg::Value(operand))) => {
                    operands.push(operand);
                    continue;
                }
                Ok(Some(Arg::Short(short))) => {
                    (self.options().find(|o| o.short == Some(short)), format!("-{short}"))
                }
                Ok(Some(Arg::Long(long))) => (self.option(long), format!("--{long}")),
                Err(lexopt::Error::UnexpectedValue { option, value }) => {
                    return mistake(format!("option {option} takes no value, but has '{}'", value.display()));
                }
                Err(other) => return mistake(other.to_string()),
            };
            let Some(option) = found else { return mistake(format!("unknown option {spelling}")) };
            let value = match option.value {
                Some(_) => lexer.value().ok(),
                None => Some(OsString::new()),
            };
            let Some(value) = value else {
                return mistake(format!("missing value for {}", option.with_value()));
            };
            match option.long {
                "help" => return Err(Stop::Help),
                "version" => return Err(Stop::Version),
                long if given.has(long) && !option.repeatable => {
                    return mistake(format!("option {} is given twice", option.spelling()));
                }
                long => given.values.push((long, value)),
            }
        }
        self.check_options(&given)?;
        let mut operands = operands.into_iter();
        for known in self.operands {
            if known.repeats() {
                given.values.extend(operands.by_ref().map(|operand| (known.name, operand)));
                break;
            }
            match operands.next() {
                Some(operand) => given.values.push((known.name, operand)),
                None if known.required => return mistake(format!("missing {}", known.name)),
                None => break,
            }
        }
        match operands.next() {
            Some(extra) => mistake(format!("extra operand '{}'", extra.display())),
            None => Ok(given),
        }
    }

    fn check_options(&self, given: &Given) -> Result<(), Stop> {
        for option in self.options() {
            if !given.has(option.long) {
                if option.required {
                    return mistake(format!("missing option {}", option.with_value()));
                }
                continue;
            }
            if let Some(other) = option.conflicts.iter().find(|other| given.has(other)) {
                let other = self.spelling_of(other);
                return mistake(format!("options {} and {other} exclude each other", option.spelling()));
            }
            if let Some(other) = option.requires.filter(|other| !given.has(other)) {
                let other = self.spelling_of(other);
                return mistake(format!("option {} needs {other}", option.spelling()));
            }
        }
        Ok(())
    }

    fn spelling_of(&self, long: &str) -> String {
        self.option(long).map(Opt::spelling).unwrap_or_default()
    }

    /// How a message calls an option or an operand.
    fn called(&self, name: &str) -> String {
        self.option(name).map_or_else(|| name.to_owned(), Opt::with_value)
    }

    /// The command line in short, and what each part of it means.
    pub fn usage(&self) -> String {
        // In place, because a sort would be five kilobytes in every program.
        let mut flags: Vec<char> = Vec::new();
        for flag in self.options().filter(|o| o.value.is_none()).filter_map(|o| o.short) {
            let order = |c: char| (c.to_ascii_lowercase(), c.is_ascii_uppercase());
            flags.insert(flags.partition_point(|f| order(*f) < order(flag)), flag);
        }
        let mut words = vec![format!("[-{}]", String::from_iter(flags))];
        // Those of all programs first, and what must be given last.
        let others = || self.common.iter().chain(self.own).filter(|o| o.value.is_some() || o.short.is_none());
        words.extend(others().filter(|o| !o.required).map(|option| {
            let dots = if option.repeatable { " ..." } else { "" };
            format!("[{}]{dots}", option.with_value())
        }));
        words.extend(others().filter(|o| o.required).map(Opt::with_value));
        words.extend(self.operands.iter().map(|operand| match operand.required {
            true => operand.name.to_owned(),
            false => format!("[{}]", operand.name),
        }));
        let mut text = format!("usage: {}", self.name);
        let indent = text.len() + 1;
        fill(&mut text, words.iter().map(String::as_str), indent);

        let mut items: Vec<(String, String)> =
            self.operands.iter().map(|o| (o.name.to_owned(), o.help.to_owned())).collect();
        items.extend(self.options().map(|option| {
            let short = option.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
            let value = option.value.map(|value| format!(" {value}")).unwrap_or_default();
            let others: Vec<String> = option.conflicts.iter().map(|long| self.spelling_of(long)).collect();
            let not_with = match others.is_empty() {
                true => String::new(),
                false => format!(" (not with {})", others.join(", ")),
            };
            (format!("{short}--{}{value}", option.long), format!("{}{not_with}", option.help))
        }));
        let width = items.iter().map(|(item, _)| item.len()).max().unwrap_or_default();
        text += &format!("\n\n{}\n\n", self.about);
        for (item, help) in items {
            text += &format!("  {item:width$} ");
            fill(&mut text, help.split(' '), width + 4);
            text.push('\n');
        }
        text
    }
}

/// Adds words to the last line, and further lines behind `indent` blanks.
fn fill<'a>(text: &mut String, words: impl Iterator<Item = &'a str>, indent: usize) {
    let mut column = text.len() - text.rfind('\n').map_or(0, |at| at + 1);
    for word in words {
        if column + 1 + word.len() < COLUMNS || column < indent {
            text.push(' ');
            column += 1;
        } else {
            *text += &format!("\n{:indent$}", "");
            column = indent;
        }
        *text += word;
        column += word.len();
    }
}

impl Stop {
    /// Prints the usage or the version, or tells the mistake on one line; gives
    /// the exit status.
    pub fn tell(&self, program: &Program) -> ExitCode {
        let name = program.name;
        let text = match self {
            Stop::Help => program.usage(),
            Stop::Version => format!("{name} {}\n", env!("CARGO_PKG_VERSION")),
            Stop::Mistake(text) => {
                report::note(name, &one_line(name, text));
                return ExitCode::from(report::USAGE);
            }
        };
        report::end(
            name,
            report::print(text.as_bytes()).context("standard output").map(|()| ExitCode::SUCCESS),
        )
    }
}

/// A mistake may quote any argument; the message stays one line.
pub fn one_line(name: &str, mistake: &str) -> String {
    let mistake: String = mistake.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("{mistake} ({name} -h tells the usage)")
}

/// How a type is read from an argument. The error says what is wrong with it.
pub type Read<T> = fn(&OsStr) -> Result<T, String>;

/// What a command line gave, by the names of the table.
#[derive(Debug)]
pub struct Given {
    program: &'static Program,
    values: Vec<(&'static str, OsString)>,
}

impl Given {
    fn values(&self, name: &str) -> impl Iterator<Item = &OsStr> {
        let known = self.program.operands.iter().any(|o| o.name == name);
        debug_assert!(known || self.program.option(name).is_some(), "{name} is not in the table");
        self.values.iter().filter(move |(n, _)| *n == name).map(|(_, value)| value.as_os_str())
    }

    fn read<T>(&self, name: &str, value: &OsStr, read: Read<T>) -> Result<T, Stop> {
        read(value).or_else(|why| {
            let (value, what) = (value.display(), self.program.called(name));
            mistake(format!("invalid value '{value}' for {what}: {why}"))
        })
    }

    /// Whether the program has such an option and it was given.
    pub fn has_if_known(&self, name: &str) -> bool {
        self.program.option(name).is_some() && self.has(name)
    }

    /// Whether it was given.
    pub fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// What need not be given.
    pub fn optional<T>(&self, name: &str, read: Read<T>) -> Result<Option<T>, Stop> {
        self.values(name).next().map(|value| self.read(name, value, read)).transpose()
    }

    /// What must be given.
    pub fn required<T>(&self, name: &str, read: Read<T>) -> Result<T, Stop> {
        match self.values(name).next() {
            Some(value) => self.read(name, value, read),
            None => mistake(format!("missing {}", self.program.called(name))),
        }
    }

    /// What may be given more than once, in order.
    pub fn all<T>(&self, name: &str, read: Read<T>) -> Result<Vec<T>, Stop> {
        self.values(name).map(|value| self.read(name, value, read)).collect()
    }
}

/// Reads text.
pub fn text(value: &OsStr) -> Result<&str, String> {
    value.to_str().ok_or_else(|| "it is not UTF-8".to_owned())
}

/// Reads what has a [`FromStr`].
pub fn typed<T: FromStr<Err: Display>>(value: &OsStr) -> Result<T, String> {
    text(value)?.parse().map_err(|e: T::Err| e.to_string())
}

/// Reads a path, which may be any bytes.
pub fn path(value: &OsStr) -> Result<PathBuf, String> {
    if value.is_empty() { Err("a path can't be empty".to_owned()) } else { Ok(value.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    static TRY: Program = Program {
        name: "try",
        about: "Try the tables",
        own: &[
            Opt::flag('a', "all", "All of it, and so many words about it that no line can hold them all"),
            Opt::flag('c', "check", "Check").conflicts(&["dry-run", "json"]),
            Opt::value('m', "more", "what", "More").repeatable(),
            Opt::value('u', "unit", "number", "The unit"),
            Opt::value('b', "bridge", "name", "The bridge").required(),
        ],
        common: &COMMON,
        operands: &[
            Operand { name: "first", kind: Kind::Text, required: true, help: "The first" },
            Operand { name: "second", kind: Kind::Text, required: false, help: "The second" },
        ],
    };

    fn parse(words: &[&str]) -> Result<Vec<(&'static str, String)>, Stop> {
        let given = TRY.parse(words.iter().map(OsString::from).collect())?;
        Ok(given.values.into_iter().map(|(name, value)| (name, value.into_string().unwrap())).collect())
    }

    #[test]
    fn spellings_and_places() {
        for (words, expected) in [
            (&["-b", "x", "f"][..], &[("bridge", "x"), ("first", "f")][..]),
            (&["-bx", "f", "s"], &[("bridge", "x"), ("first", "f"), ("second", "s")]),
            (&["--bridge", "x", "f"], &[("bridge", "x"), ("first", "f")]),
            (&["--bridge=x=y", "f"], &[("bridge", "x=y"), ("first", "f")]),
            (&["--bridge=", "f"], &[("bridge", ""), ("first", "f")]),
            // Behind an operand too, up to --.
            (&["f", "-b", "x"], &[("bridge", "x"), ("first", "f")]),
            (&["-bx", "--", "-a", "--"], &[("bridge", "x"), ("first", "-a"), ("second", "--")]),
            (&["-b", "x", "f", "--", "-n"], &[("bridge", "x"), ("first", "f"), ("second", "-n")]),
            (&["-", "-b-"], &[("bridge", "-"), ("first", "-")]),
            (&["-anb", "x", "f"], &[("all", ""), ("dry-run", ""), ("bridge", "x"), ("first", "f")]),
            (
                &["-nvabx", "f"],
                &[("dry-run", ""), ("verbose", ""), ("all", ""), ("bridge", "x"), ("first", "f")],
            ),
            (
                &["-m1", "-m", "2", "-bx", "f"],
                &[("more", "1"), ("more", "2"), ("bridge", "x"), ("first", "f")],
            ),
            // A value is whatever follows, as in getopt(3).
            (&["-b", "-n", "f"], &[("bridge", "-n"), ("first", "f")]),
            (
                &["-n", "--json", "-bx", "f"],
                &[("dry-run", ""), ("json", ""), ("bridge", "x"), ("first", "f")],
            ),
        ] {
            let expected: Vec<_> = expected.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
            assert_eq!(parse(words), Ok(expected), "{words:?}");
        }
    }

    #[test]
    fn mistakes() {
        for (words, expected) in [
            (&[][..], "missing option -b name"),
            (&["-b"], "missing value for -b name"),
            (&["f", "--unit"], "missing value for -u number"),
            (&["-bx"], "missing first"),
            (&["-bx", "f", "s", "t"], "extra operand 't'"),
            (&["-x"], "unknown option -x"),
            (&["-anx"], "unknown option -x"),
            (&["-\u{e9}"], "unknown option -\u{e9}"),
            (&["--al"], "unknown option --al"),
            (&["--"], "missing option -b name"),
            (&["-aa"], "option -a is given twice"),
            (&["-a", "--all"], "option -a is given twice"),
            (&["-bx", "--bridge=y", "f"], "option -b is given twice"),
            (&["-n", "--json", "--json"], "option --json is given twice"),
            (&["--all=x"], "option --all takes no value, but has 'x'"),
            (&["-a=x"], "option -a takes no value, but has 'x'"),
            (&["-n", "-c", "-bx", "f"], "options -c and -n exclude each other"),
            (&["--json", "-c", "-bx", "f"], "options -c and --json exclude each other"),
            (&["--json", "-bx", "f"], "option --json needs -n"),
        ] {
            assert_eq!(parse(words), Err(Stop::Mistake(expected.into())), "{words:?}");
        }
        assert_eq!(parse(&["-n", "-h", "-x"]), Err(Stop::Help));
        assert_eq!(parse(&["a", "b", "c", "--help"]), Err(Stop::Help));
        assert_eq!(parse(&["-nVh"]), Err(Stop::Version));
    }

    #[test]
    fn values_are_typed() {
        let given = |words: &[&[u8]]| {
            TRY.parse(words.iter().map(|w| OsString::from_vec(w.to_vec())).collect()).unwrap()
        };
        let some = given(&[b"-u7", b"-m1", b"-m2", b"-bx", b"f"]);
        assert_eq!(some.optional("unit", typed), Ok(Some(7_u8)));
        assert_eq!(some.required("unit", typed), Ok(7_u8));
        assert_eq!(some.all("more", typed), Ok(vec![1_u8, 2]));
        assert_eq!(some.optional("second", path), Ok(None));
        let missing = Stop::Mistake("missing second".into());
        assert_eq!(some.required("second", path), Err(missing));
        let raw = given(&[b"-u", b"-m\xff", b"-b", b"", b"\xff"]);
        assert_eq!(raw.required("first", path).map(|p| p.into_os_string().into_vec()), Ok(b"\xff".to_vec()));
        for (name, expected) in [
            ("first", "invalid value '\u{fffd}' for first: it is not UTF-8"),
            ("unit", "invalid value '-m\u{fffd}' for -u number: it is not UTF-8"),
            ("bridge", "invalid value '' for -b name: cannot parse integer from empty string"),
        ] {
            assert_eq!(raw.required::<u8>(name, typed), Err(Stop::Mistake(expected.into())));
        }
        let expected = Stop::Mistake("invalid value '' for -b name: a path can't be empty".into());
        assert_eq!(raw.required("bridge", path), Err(expected));
        let line = one_line("try", "invalid value 'a\n\u{1b}[1m\u{9b}b'");
        assert_eq!(line, "invalid value 'a??[1m?b' (try -h tells the usage)");
    }

    #[test]
    fn usage() {
        let expected = "\
usage: try [-achnvV] [--json] [-R directory] [-m what] ... [-u number] -b name
           first [second]

Try the tables

  first                 The first
  second                The second
  -a, --all             All of it, and so many words about it that no line can
                        hold them all
  -c, --check           Check (not with -n, --json)
  -m, --more what       More
  -u, --unit number     The unit
  -b, --bridge name     The bridge
  -n, --dry-run         Print the equivalent shell commands and change nothing
  -v, --verbose         Report every action on standard error
      --json            With -n: print the commands as one JSON document
  -R, --root directory  Work below this alternate root (also THINJAIL_ROOT)
  -h, --help            Print the usage
  -V, --version         Print the version
";
        assert_eq!(TRY.usage(), expected);
    }
}
