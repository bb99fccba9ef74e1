//! Completion of command lines, once for bash, zsh and fish: what a word may be
//! is read from the parsers in [`crate::commands::common`], and what exists of it from the
//! host. The files in share/completions only pass words on and show what comes
//! back.
//!
//! clap_complete's engine is not used: it offers options that exclude what was
//! given or that were given already, offers one of two spellings, and completes
//! paths as plain text, which bash must quote itself.

use crate::commands::common;
use crate::domain::base_version;
use crate::domain::inventory::Inventory;
use crate::domain::layout::Layout;
use crate::domain::settings::Settings;
use crate::system::console;
use crate::system::host::Host;
use crate::system::root::Root;
use crate::system::tool::Tool;
use crate::types::release::Release;
use anyhow::Result;
use clap::{Arg, ArgAction, Command, ValueHint};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the shell is to offer besides the candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileCompletion {
    /// Nothing.
    None,
    /// Files and directories.
    All,
    /// Files and directories, and no blank behind them: more of the word follows.
    Open,
    /// Directories.
    Directories,
}

impl FileCompletion {
    /// The word that the shells know it by.
    fn as_str(self) -> &'static str {
        match self {
            FileCompletion::None => "none",
            FileCompletion::All => "files",
            FileCompletion::Open => "open",
            FileCompletion::Directories => "directories",
        }
    }
}

/// What may stand in place of the word that is completed.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// What the shell adds.
    pub files: FileCompletion,
    /// The part of the word that stays in front of whatever is offered.
    pub prefix: String,
    /// The rest of the word.
    pub value: String,
    /// Words, without the prefix, and what they mean.
    pub candidates: Vec<(String, String)>,
}

impl Reply {
    fn none() -> Reply {
        Reply {
            files: FileCompletion::None,
            prefix: String::new(),
            value: String::new(),
            candidates: Vec::new(),
        }
    }

    /// The lines that the shells read: what to add, the prefix and the rest of
    /// the word, then a candidate a line; fields are separated by tabs.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\t{}\t{}\n", self.files.as_str(), self.prefix, self.value);
        for (word, help) in &self.candidates {
            text += &format!("{word}\t{help}\n");
        }
        text
    }
}

/// `thinjail-complete words WORD ...` completes the last word of a command line
/// whose words a shell has split, `thinjail-complete line TEXT` the end of one
/// that it has not.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let mut arguments = arguments.skip(1);
    let words = match (arguments.next().as_deref(), arguments.collect::<Vec<_>>()) {
        (Some("words"), words) => words,
        (Some("line"), text) => split(&text.concat()),
        _ => return ExitCode::from(common::USAGE),
    };
    let text = complete(&words, &candidates_on_host).to_text();
    match console::print(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Splits a line as bash does: quotes and backslashes are removed, nothing
/// is expanded. The last word is the one that the cursor is in.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut started, mut quote) = (Vec::new(), String::new(), false, None);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('"'), '\\') if chars.peek().is_some_and(|next| "\"\\$`".contains(*next)) => {
                word.extend(chars.next());
            }
            (Some(_), _) => word.push(c),
            (None, c) if c.is_whitespace() => {
                if started {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            (None, '\'' | '"') => (quote, started) = (Some(c), true),
            (None, '\\') => {
                started = true;
                word.extend(chars.next());
            }
            (None, _) => {
                started = true;
                word.push(c);
            }
        }
    }
    words.push(word);
    words
}

/// What the words before the one that is completed say.
#[derive(Default)]
struct Given<'a> {
    options: Vec<(&'a Arg, String)>,
    operands: Vec<String>,
    /// Whether `--` was there.
    ended: bool,
    /// An option that waits for its value.
    pending: Option<&'a Arg>,
}

impl<'a> Given<'a> {
    fn read(command: &'a Command, words: &[String]) -> Given<'a> {
        let mut given = Given::default();
        for word in words {
            if let Some(option) = given.pending.take() {
                given.options.push((option, word.clone()));
            } else if given.ended || word == "-" || !word.starts_with('-') {
                given.operands.push(word.clone());
            } else if word == "--" {
                given.ended = true;
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v)));
                let Some(option) = by_long(command, name) else { continue };
                given.note(option, value);
            } else if let Some((options, value)) = cluster(command, &word[1..]) {
                let (last, flags) = match options.split_last() {
                    Some((last, flags)) if takes_value(last) => (Some(*last), flags),
                    _ => (None, &options[..]),
                };
                given.options.extend(flags.iter().map(|flag| (*flag, String::new())));
                if let Some(last) = last {
                    let value = &word[1 + value..];
                    let value = value.strip_prefix('=').unwrap_or(value);
                    given.note(last, Some(value).filter(|v| !v.is_empty()));
                }
            }
        }
        given
    }

    fn note(&mut self, option: &'a Arg, value: Option<&str>) {
        match value {
            None if takes_value(option) => self.pending = Some(option),
            value => self.options.push((option, value.unwrap_or_default().to_owned())),
        }
    }

    fn has(&self, id: &clap::Id) -> bool {
        self.options.iter().any(|(option, _)| option.get_id() == id)
    }

    /// Whether an argument can still be given.
    fn admits(&self, command: &Command, argument: &Arg) -> bool {
        let ends = |option: &Arg| matches!(option.get_action(), ArgAction::Help | ArgAction::Version);
        let repeats = matches!(argument.get_action(), ArgAction::Append);
        let excludes = |a: &Arg, b: &Arg| {
            command.get_arg_conflicts_with(a).iter().any(|other| other.get_id() == b.get_id())
        };
        (repeats || !self.has(argument.get_id()))
            && !excluded(command, self, argument)
            && !self
                .options
                .iter()
                .any(|(option, _)| ends(option) || excludes(option, argument) || excludes(argument, option))
    }

    /// The value of an option, as it was given last.
    fn value(&self, id: &str) -> Option<&str> {
        self.options.iter().rev().find(|(option, _)| option.get_id() == id).map(|(_, value)| value.as_str())
    }
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values()
}

fn by_long<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|a| a.get_long() == Some(name))
}

/// The options of a cluster such as `nvR/directory`, and where the value of the
/// last one begins; `None` if one is unknown.
fn cluster<'a>(command: &'a Command, letters: &str) -> Option<(Vec<&'a Arg>, usize)> {
    let mut options = Vec::new();
    for (at, letter) in letters.char_indices() {
        let option = command.get_arguments().find(|a| a.get_short() == Some(letter))?;
        options.push(option);
        if takes_value(option) {
            return Some((options, at + letter.len_utf8()));
        }
    }
    Some((options, letters.len()))
}

/// What exists on a host of a kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordKind {
    /// Jails.
    Jail,
    /// Releases that have a template.
    Release,
    /// Releases that can be had.
    Archive,
    /// Bridges.
    Bridge,
    /// Interfaces.
    Interface,
    /// Stems of pairs.
    Pair,
    /// The path of a jail.
    JailPath,
}

/// What there is of a kind on the host below that root; for a path, of which
/// jail.
type Candidates<'a> = &'a dyn Fn(WordKind, Option<&str>, &str) -> Vec<String>;

/// Completes the last of some words; the first names the program.
pub fn complete(words: &[String], on_host: Candidates) -> Reply {
    let Some(program) = words.first().and_then(|word| word.rsplit('/').next()) else { return Reply::none() };
    let found = super::all().into_iter().find(|command| command.get_name() == program);
    let (Some(mut command), Some((current, before))) = (found, words[1..].split_last()) else {
        return Reply::none();
    };
    command.build();
    let command = &command;
    let given = Given::read(command, before);
    if let Some(option) = given.pending {
        return value(command, &given, option, String::new(), current, on_host);
    }
    if !given.ended && current.starts_with("--") && current.contains('=') {
        let (name, rest) = current.split_once('=').unwrap_or_default();
        return match by_long(command, &name[2..]) {
            Some(option) if takes_value(option) => {
                value(command, &given, option, format!("{name}="), rest, on_host)
            }
            _ => Reply::none(),
        };
    }
    if !given.ended && current.len() > 1 && current.starts_with('-') && !current.starts_with("--") {
        return match cluster(command, &current[1..]) {
            Some((options, at))
                if options.last().is_some_and(|o| takes_value(o)) && at + 1 < current.len() =>
            {
                let option = options[options.len() - 1];
                value(command, &given, option, current[..=at].to_owned(), &current[at + 1..], on_host)
            }
            // Complete as it is.
            Some(_) => Reply { candidates: vec![(current.clone(), String::new())], ..Reply::none() },
            None => Reply::none(),
        };
    }
    if !given.ended && current.starts_with('-') {
        return options(command, &given, current);
    }
    operand(command, &given, current, on_host)
}

/// The options that can still be given, in all their spellings.
fn options(command: &Command, given: &Given, current: &str) -> Reply {
    let mut candidates = Vec::new();
    for option in command.get_arguments().filter(|a| !a.is_positional()) {
        if !given.admits(command, option) {
            continue;
        }
        let help = option.get_help().map(ToString::to_string).unwrap_or_default();
        let short = option.get_short().map(|short| format!("-{short}"));
        let spellings = short.into_iter().chain(option.get_long().map(|long| format!("--{long}")));
        candidates.extend(spellings.filter(|s| s.starts_with(current)).map(|s| (s, help.clone())));
    }
    Reply { candidates, ..Reply::none() }
}

fn operand(command: &Command, given: &Given, current: &str, on_host: Candidates) -> Reply {
    let positionals: Vec<&Arg> = command.get_positionals().collect();
    let many = |a: &&&Arg| matches!(a.get_action(), ArgAction::Append);
    let at = given.operands.len();
    let Some(argument) = positionals.get(at).or(positionals.last().filter(many)) else {
        return Reply::none();
    };
    let ends =
        |(option, _): &(&Arg, String)| matches!(option.get_action(), ArgAction::Help | ArgAction::Version);
    if given.options.iter().any(ends) || excluded(command, given, argument) {
        return Reply::none();
    }
    let mut reply = value(command, given, argument, String::new(), current, on_host);
    if many(&argument) {
        reply.candidates.retain(|(word, _)| !given.operands.contains(word));
    }
    reply
}

/// Whether an option was given that stands for an argument: one of a required
/// group is enough.
fn excluded(command: &Command, given: &Given, argument: &Arg) -> bool {
    let of_group = |group: &&clap::ArgGroup| group.get_args().any(|id| id == argument.get_id());
    command.get_groups().filter(of_group).any(|group| {
        let is_given = |id: &clap::Id| id != argument.get_id() && given.has(id);
        group.is_required_set() && group.get_args().any(is_given)
    })
}

/// What the value of an argument may be.
fn value(
    command: &Command,
    given: &Given,
    argument: &Arg,
    prefix: String,
    current: &str,
    on_host: Candidates,
) -> Reply {
    let possible = argument.get_possible_values();
    let (files, kind) = kind_of(command.get_name(), argument);
    let mut words: Vec<String> = possible.iter().map(|v| v.get_name().to_owned()).collect();
    if argument.get_id() == "mac" {
        words.push("none".into());
    }
    if let Some(kind) = kind {
        let of_jail = given.operands.first().map(String::as_str).unwrap_or_default();
        words = on_host(kind, given.value("root"), of_jail);
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let is_path = |b: u8| is_word(b) || kind == WordKind::JailPath && b"/+".contains(&b);
        // What a shell would have to quote is not offered.
        words.retain(|word| !word.is_empty() && !word.starts_with('-') && word.bytes().all(is_path));
    }
    // What is behind a colon of a mount is in the jail.
    let files =
        if files == FileCompletion::Open && current.contains(':') { FileCompletion::None } else { files };
    let candidates =
        words.into_iter().filter(|word| word.starts_with(current)).map(|word| (word, String::new()));
    Reply { files, prefix, value: current.to_owned(), candidates: candidates.collect() }
}

/// What the value of an argument is: a file, or a thing of the host. The names
/// of values are those of the manual pages.
fn kind_of(program: &str, argument: &Arg) -> (FileCompletion, Option<WordKind>) {
    let name = argument.get_value_names().unwrap_or_default().first().map_or("", |name| name.as_str());
    let files = match argument.get_value_hint() {
        ValueHint::FilePath => FileCompletion::All,
        ValueHint::AnyPath => FileCompletion::Open,
        ValueHint::DirPath => FileCompletion::Directories,
        _ => FileCompletion::None,
    };
    let kind = match (name, argument.is_positional()) {
        ("name", true) if program != "jail-clone" => Some(WordKind::Jail),
        ("release", true) if program == "skel-fetch" => Some(WordKind::Archive),
        (text, _) if text.starts_with("release") => Some(WordKind::Release),
        ("bridge", _) => Some(WordKind::Bridge),
        ("uplink", _) => Some(WordKind::Interface),
        ("pair", _) => Some(WordKind::Pair),
        ("path", true) => Some(WordKind::JailPath),
        _ => None,
    };
    (files, kind)
}

/// Asks the host; what cannot be found out is not offered.
fn candidates_on_host(kind: WordKind, root: Option<&str>, jail: &str) -> Vec<String> {
    ask(kind, root, jail).unwrap_or_default()
}

fn ask(kind: WordKind, root: Option<&str>, jail: &str) -> Result<Vec<String>> {
    let from_environment = || std::env::var_os("THINJAIL_ROOT").filter(|v| !v.is_empty()).map(PathBuf::from);
    let root = match root.map(expand_home).or_else(from_environment) {
        Some(directory) => Root::alternate(&directory)?,
        None => Root::system(),
    };
    let host = Host::new(root, false);
    let layout = || Layout::find(&host, &Settings::load(host.root())?);
    let names = |members: Vec<crate::types::interface::IfName>| members.into_iter().map(|n| n.to_string());
    Ok(match kind {
        WordKind::Jail => {
            let inventory = Inventory::read(&host, &Settings::load(host.root())?)?;
            inventory.jails.into_iter().map(|jail| jail.name.to_string()).collect()
        }
        WordKind::Release => {
            releases(&host.root().host_path(&layout()?.templates()), &["-base", "-skeleton"])
        }
        WordKind::Archive => {
            let media = layout().map(|layout| host.root().host_path(&layout.media()));
            let endings = ["-amd64-base.txz", "-arm64-base.txz", "-base.txz"];
            let mut found = media.map(|media| releases(&media, &endings)).unwrap_or_default();
            found.extend(own_release(&host).filter(|own| !found.contains(own)));
            found
        }
        WordKind::Bridge => names(host.kernel()?.group_members("bridge")?).collect(),
        WordKind::Interface => {
            host.kernel()?.ethernet_addresses()?.into_iter().map(|(name, _)| name).collect()
        }
        // The other half may be in a jail.
        WordKind::Pair => names(host.kernel()?.group_members("epair")?)
            .filter_map(|name| name.strip_suffix('a').map(str::to_owned))
            .collect(),
        WordKind::JailPath => vec![layout()?.path(&jail.parse()?).display().to_string()],
    })
}

fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.into(),
    }
}

/// The releases that names in a directory begin with, by one of some endings.
fn releases(directory: &Path, endings: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let release = endings.iter().find_map(|ending| name.strip_suffix(ending));
        // Only what is spelled as the suite spells it.
        let release = release.filter(|text| text.parse::<Release>().is_ok_and(|r| r.as_str() == *text));
        if let Some(release) = release
            && !found.iter().any(|f| f == release)
        {
            found.push(release.to_owned());
        }
    }
    found.sort();
    found
}

/// The release that the host runs.
fn own_release(host: &Host) -> Option<String> {
    let installed = base_version::of_base(host.root().path()).ok().map(|v| v.release.to_string());
    installed.or_else(|| {
        let printed = host.tools().ask(Tool::Sysctl, &["-n", "kern.osrelease"]).ok()?;
        let text = printed.stdout.trim();
        let release = text.split("-p").next()?.parse::<Release>().ok()?;
        Some(release.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(line: &str) -> Reply {
        let on_host = |kind: WordKind, root: Option<&str>, jail: &str| {
            vec![format!("{kind:?}"), format!("{}{jail}", root.unwrap_or_default()), "has blank".into()]
        };
        complete(&split(line), &on_host)
    }

    fn words(line: &str) -> Vec<String> {
        reply(line).candidates.into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn lines_are_split_as_bash_does() {
        assert_eq!(split("a 'b c' \"d\\\"e\" f\\ g 'h"), ["a", "b c", "d\"e", "f g", "h"]);
        assert_eq!(split("a  b "), ["a", "b", ""]);
        assert_eq!(split(""), [""]);
        assert_eq!(split("a \"x\\y\""), ["a", "x\\y"]);
    }

    #[test]
    fn values_of_options() {
        assert_eq!(reply("jail-epair-up --bridge=B").prefix, "--bridge=");
        assert_eq!(words("jail-epair-up --bridge=B"), ["Bridge"]);
        assert_eq!(
            (reply("jail-epair-up -nbB").prefix, words("jail-epair-up -nbB")),
            ("-nb".into(), vec!["Bridge".into()])
        );
        assert_eq!(words("jail-epair-up -b B"), ["Bridge"]);
        assert_eq!(words("jail-rebase -k "), ["ours", "theirs"]);
        assert_eq!(reply("jail-clone -m /a").files, FileCompletion::Open);
        assert_eq!(reply("jail-clone -m /a:/b").files, FileCompletion::None);
        assert_eq!(reply("skel-fixcerts ").files, FileCompletion::Directories);
        assert_eq!(words("/usr/local/sbin/skel-fixcerts R"), ["Release"]);
    }

    #[test]
    fn options_that_can_still_be_given() {
        assert!(words("jail-rebase --com").contains(&"--commit".into()));
        assert_eq!(words("jail-rebase --revert --com"), Vec::<String>::new());
        assert_eq!(words("jail-clone -n -n"), ["-n"]);
        assert_eq!(words("jail-clone -h --dr"), Vec::<String>::new());
        assert_eq!(words("jail-clone -- -"), Vec::<String>::new());
        assert_eq!(words("no-such-program -"), Vec::<String>::new());
    }

    #[test]
    fn operands() {
        assert_eq!(words("jail-doctor Jail J"), Vec::<String>::new());
        assert_eq!(words("jail-destroy J"), ["Jail"]);
        assert_eq!(words("jail-rebase --commit web R"), Vec::<String>::new());
        assert_eq!(words("jail-sweep web J"), ["JailPath"]);
        assert_eq!(words("jail-sweep -R /r web /"), ["/rweb"]);
        assert_eq!(words("jail-clone "), Vec::<String>::new());
    }
}
