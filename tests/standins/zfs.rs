//! zfs(8) of OpenZFS 2.4, as far as the suite uses it.
//!
//! `zfs standin-init POOL`, which the real program does not have, makes a pool; `zfs standin-fini POOL` takes an empty one
//! away. `zfs standin-received DATASET` makes what was set on a dataset what came with it, as `zfs send -p | zfs recv`
//! does.
//!
//! A test provokes failures with files in `ROOT/var/db/standin/`:
//!
//! | file | effect |
//! |---|---|
//! | `fail-mount` | whatever is made is not mounted |
//! | `not-root` | every change fails as for a user without privileges |
//! | `busy` | lists mountpoints, without the root, that are under a nullfs mount: they cannot be unmounted |
//!
//! Left out on purpose: `destroy -R`, which would take jails with it and is never what the suite wants, volumes,
//! bookmarks, and of streams those of several snapshots and resumed ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};

use crate::Reply;
use crate::getopt::{Bad, Given, getopt};
use crate::host::Host;
use crate::pool::{Pool, Source, Target, now, within};
use crate::props::{self, Kind, NATIVE, calendar};
use crate::stream::Stream;
use crate::tree;

/// Why a command ends early.
enum Stop {
    /// It failed with status 1: what it says.
    Failed(String),
    /// It failed with status 255, which is -1: what it says.
    Negative(String),
    /// It was called wrongly: status 2, what it says, and the usage of the command.
    Usage(String),
    /// The stand-in is at its end.
    Internal(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(cause: anyhow::Error) -> Self {
        Self::Internal(cause)
    }
}

impl From<std::io::Error> for Stop {
    fn from(cause: std::io::Error) -> Self {
        Self::Internal(cause.into())
    }
}

/// What a command comes to: its exit status.
type Done = Result<u8, Stop>;

/// Ends a command with an error.
fn fail<T>(text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(text.into()))
}

/// Makes a failure one with the status that the library's own result gives.
fn negative(stop: Stop) -> Stop {
    match stop {
        Stop::Failed(text) => Stop::Negative(text),
        other => other,
    }
}

/// The state a command works on.
struct Zfs<'a> {
    host: &'a Host,
    pool: Pool,
    reply: &'a mut Reply,
    /// What receive has read; `None` if it was cut off.
    stream: Option<Stream>,
}

/// One command: its name, its options, its usage, and whether it changes anything.
struct Command {
    name: &'static str,
    letters: &'static str,
    usage: &'static str,
    changes: bool,
    run: fn(&mut Zfs, &[Given], &[String]) -> Done,
}

const COMMANDS: &[Command] = &[
    Command { name: "standin-init", letters: "", usage: "standin-init <pool>", changes: true, run: init },
    Command { name: "standin-fini", letters: "", usage: "standin-fini <pool>", changes: true, run: fini },
    Command {
        name: "standin-received",
        letters: "",
        usage: "standin-received <filesystem>",
        changes: true,
        run: received,
    },
    Command { name: "version", letters: "j", usage: "version [-j]", changes: false, run: version },
    Command {
        name: "create",
        letters: "o:puv",
        usage: "create [-Pnpuv] [-o property=value] ... <filesystem>",
        changes: true,
        run: create,
    },
    Command {
        name: "destroy",
        letters: "dfnprRv",
        usage: "destroy [-fnpRrv] <filesystem|volume>\n\
                destroy [-dnpRrv] <filesystem|volume>@<snap>[%<snap>][,...]\n\
                destroy <filesystem|volume>#<bookmark>",
        changes: true,
        run: destroy,
    },
    Command {
        name: "snapshot",
        letters: "ro:",
        usage: "snapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...",
        changes: true,
        run: snapshot,
    },
    Command {
        name: "snap",
        letters: "ro:",
        usage: "snapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...",
        changes: true,
        run: snapshot,
    },
    Command {
        name: "rollback",
        letters: "rRf",
        usage: "rollback [-rRf] <snapshot>",
        changes: true,
        run: rollback,
    },
    Command {
        name: "clone",
        letters: "o:pu",
        usage: "clone [-p] [-o property=value] ... <snapshot> <filesystem|volume>",
        changes: true,
        run: clone,
    },
    Command {
        name: "promote",
        letters: "",
        usage: "promote <clone-filesystem>",
        changes: true,
        run: promote,
    },
    Command {
        name: "rename",
        letters: "fpu",
        usage: "rename [-f] <filesystem|volume|snapshot> <filesystem|volume|snapshot>\n\
                rename -p [-f] <filesystem|volume> <filesystem|volume>\n\
                rename -u [-f] <filesystem> <filesystem>",
        changes: true,
        run: rename,
    },
    Command {
        name: "list",
        letters: "d:Hno:prs:S:t:",
        usage: "list [-Hp] [-j [--json-int]] [-r|-d max] [-o property[,...]] [-s property]...\n\
                \t    [-S property]... [-t type[,...]] [filesystem|volume|snapshot] ...",
        changes: false,
        run: list,
    },
    Command {
        name: "set",
        letters: "u",
        usage: "set [-u] <property=value> ... <filesystem|volume|snapshot> ...",
        changes: true,
        run: set,
    },
    Command {
        name: "get",
        letters: "d:Ho:prs:t:",
        usage: "get [-rHp] [-j [--json-int]] [-d max] [-o \"all\" | field[,...]]\n\
                \t    [-t type[,...]] [-s source[,...]]\n\
                \t    <\"all\" | property[,...]> [filesystem|volume|snapshot|bookmark] ...",
        changes: false,
        run: get,
    },
    Command {
        name: "inherit",
        letters: "rS",
        usage: "inherit [-rS] <property> <filesystem|volume|snapshot> ...",
        changes: true,
        run: inherit,
    },
    Command {
        name: "mount",
        letters: "afvo:",
        usage: "mount [-j]\n\
                mount [-flvO] [-o opts] <-a|-R filesystem|filesystem>",
        changes: true,
        run: mount,
    },
    Command {
        name: "unmount",
        letters: "af",
        usage: "unmount [-fu] <-a | filesystem|mountpoint>",
        changes: true,
        run: unmount,
    },
    Command {
        name: "umount",
        letters: "af",
        usage: "unmount [-fu] <-a | filesystem|mountpoint>",
        changes: true,
        run: unmount,
    },
    Command {
        name: "load-key",
        letters: "",
        usage: "load-key [-rn] [-L <keylocation>] <-a | filesystem|volume>",
        changes: true,
        run: load_key,
    },
    Command {
        name: "unload-key",
        letters: "",
        usage: "unload-key [-r] <-a | filesystem|volume>",
        changes: true,
        run: unload_key,
    },
    Command { name: "hold", letters: "r", usage: "hold [-r] <tag> <snapshot> ...", changes: true, run: hold },
    Command {
        name: "holds",
        letters: "Hpr",
        usage: "holds [-rHp] <snapshot> ...",
        changes: false,
        run: holds,
    },
    Command {
        name: "release",
        letters: "r",
        usage: "release [-r] <tag> <snapshot> ...",
        changes: true,
        run: release,
    },
    Command {
        name: "send",
        letters: "DLPRVcehi:npsvw",
        usage: "send [-DLPbcehnpsVvw] [-i|-I snapshot]\n\
                \t     [-R [-X dataset[,dataset]...]]     <snapshot>",
        changes: false,
        run: send,
    },
    Command {
        name: "receive",
        letters: "FMehno:suvx:",
        usage: "receive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...\n\
                \t    <filesystem|volume|snapshot>",
        changes: true,
        run: receive,
    },
    Command {
        name: "recv",
        letters: "FMehno:suvx:",
        usage: "receive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...\n\
                \t    <filesystem|volume|snapshot>",
        changes: true,
        run: receive,
    },
    Command {
        name: "diff",
        letters: "FHh",
        usage: "diff [-FHth] <snapshot> [snapshot|filesystem]",
        changes: false,
        run: diff,
    },
];

/// What follows every usage message.
const HELP: &str = "
For the property list, run: zfs set|get

For the delegated permission list, run: zfs allow|unallow

For further help on a command or topic, run: zfs help [<topic>]
";

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let Some((name, args)) = args.split_first() else {
        reply.complain("missing command");
        return Ok(usage(reply, COMMANDS));
    };
    let name = match name.as_str() {
        "--version" | "-V" => "version",
        other => other,
    };
    let Some(at) = COMMANDS.iter().position(|command| command.name == name) else {
        reply.complain(format!("unrecognized command '{name}'"));
        return Ok(usage(reply, COMMANDS));
    };
    let command = &COMMANDS[at];
    // The sender wants the lock as well.
    let stream = if matches!(name, "receive" | "recv") { Stream::read()? } else { None };
    let _lock = host.lock()?;
    let mut zfs = Zfs { host, pool: Pool::load(host)?, reply, stream };
    let done = match getopt(args, command.letters) {
        Ok((options, operands)) => (command.run)(&mut zfs, &options, &operands),
        Err(Bad::Unknown(letter)) => Err(Stop::Usage(format!("invalid option '{letter}'"))),
        Err(Bad::Missing(letter)) => Err(Stop::Usage(format!("missing argument for '{letter}'"))),
    };
    // A command that failed half way has done the first half, so the records are written all the same.
    if command.changes {
        zfs.pool.show_snapshots(host)?;
        zfs.pool.save(host)?;
    }
    match done {
        Ok(status) => Ok(status),
        Err(Stop::Failed(text)) => {
            reply.complain(text);
            Ok(1)
        }
        Err(Stop::Negative(text)) => {
            reply.complain(text);
            Ok(255)
        }
        Err(Stop::Usage(text)) => {
            reply.complain(text);
            Ok(usage(reply, &COMMANDS[at..=at]))
        }
        Err(Stop::Internal(cause)) => Err(cause),
    }
}

/// Prints how commands are used, to standard error, and gives the status for it.
fn usage(reply: &mut Reply, commands: &[Command]) -> u8 {
    reply.complain("usage:");
    let whole = commands.len() > 1;
    if whole {
        reply.complain("\tzfs command args ...\nwhere 'command' is one of the following:\n");
    }
    for command in commands {
        for line in command.usage.lines() {
            reply.complain(format!("\t{line}"));
        }
    }
    reply.err.push_str(HELP);
    2
}

/// Whether an option was given.
fn given(options: &[Given], letter: char) -> bool {
    options.iter().any(|(found, _)| *found == letter)
}

/// The last argument given to an option.
fn argument(options: &[Given], letter: char) -> Option<&str> {
    options.iter().rev().find(|(found, _)| *found == letter).map(|(_, value)| value.as_str())
}

/// Checks the number of operands, with the words the real program has for too few and too many.
fn operands(words: &[String], names: &[&str], most: usize) -> Result<(), Stop> {
    if let Some(missing) = names.get(words.len()) {
        return Err(Stop::Usage(format!("missing {missing} argument")));
    }
    if words.len() > most {
        return Err(Stop::Usage("too many arguments".into()));
    }
    Ok(())
}

/// What sort of name is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Fs,
    Snap,
    Any,
}

/// Says what is wrong with a name, in the words of libzfs.
fn flaw(name: &str, sort: Sort) -> Option<String> {
    let some = |text: &str| Some(text.to_owned());
    if name.len() >= 256 {
        return some("name is too long");
    }
    if name.starts_with('/') {
        return some("leading slash in name");
    }
    let mut parts = name.splitn(2, '@');
    let fs = parts.next().unwrap_or_default();
    let snapshot = parts.next();
    for component in fs.split('/').chain(snapshot) {
        let bad = |letter: &char| !letter.is_ascii_alphanumeric() && !"-_.: ".contains(*letter);
        if component.is_empty() {
            return some(if name.ends_with('/') {
                "trailing slash in name"
            } else {
                "empty component or misplaced '@' or '#' delimiter in name"
            });
        }
        if component.contains('@') {
            return some("multiple '@' and/or '#' delimiters in name");
        }
        if let Some(letter) = component.chars().find(bad) {
            return Some(format!("invalid character '{letter}' in name"));
        }
        match component {
            "." => return some("self reference, '.' is found in name"),
            ".." => return some("parent reference, '..' is found in name"),
            _ => {}
        }
    }
    match (sort, snapshot) {
        (Sort::Fs, Some(_)) => some("snapshot delimiter '@' is not expected here"),
        (Sort::Snap, None) => some("missing '@' delimiter in snapshot name"),
        _ => None,
    }
}

/// The part of a dataset name before the last slash.
fn parent(name: &str) -> Option<&str> {
    name.rsplit_once('/').map(|(parent, _)| parent)
}

/// The pool of a dataset or snapshot.
fn pool_of(name: &str) -> &str {
    name.split(['/', '@']).next().unwrap_or(name)
}

impl Zfs<'_> {
    /// Opens what a name stands for.
    fn open(&self, name: &str, sort: Sort) -> Result<Target, Stop> {
        if let Some(flaw) = flaw(name, sort) {
            return fail(format!("cannot open '{name}': {flaw}"));
        }
        match self.pool.find(name) {
            Some(target) => Ok(target),
            None => fail(format!("cannot open '{name}': dataset does not exist")),
        }
    }

    /// Opens a file system.
    fn open_fs(&self, name: &str) -> Result<String, Stop> {
        self.open(name, Sort::Fs)?;
        Ok(name.into())
    }

    /// Opens a snapshot: the file system it belongs to, and its number.
    fn open_snapshot(&self, name: &str) -> Result<(String, u64), Stop> {
        match self.open(name, Sort::Snap)? {
            Target::Snap(fs, id) => Ok((fs, id)),
            Target::Fs(_) => fail(format!("cannot open '{name}': dataset does not exist")),
        }
    }

    /// Opens a dataset by name or by a path that lies in it, as list and get allow.
    fn open_any(&self, name: &str) -> Result<Target, Stop> {
        if !name.starts_with('/') && !name.starts_with("./") {
            return self.open(name, Sort::Any);
        }
        match self.pool.by_path(self.host, name) {
            Some(name) => Ok(Target::Fs(name)),
            None => fail(format!("cannot open '{name}': not a ZFS filesystem")),
        }
    }

    /// Fails if the test plays a user without privileges.
    fn permit(&self, what: &str) -> Result<(), Stop> {
        if self.host.flag("not-root") {
            return fail(format!("{what}: permission denied"));
        }
        Ok(())
    }

    /// Reads `-o property=value` options of a dataset that is to be made.
    fn properties(
        &self,
        what: &str,
        options: &[Given],
        snapshot: bool,
    ) -> Result<BTreeMap<String, String>, Stop> {
        let mut local = BTreeMap::new();
        for (_, text) in options.iter().filter(|(letter, _)| *letter == 'o') {
            let Some((name, value)) = text.split_once('=') else {
                return Err(Stop::Usage("missing '=' for property=value argument".into()));
            };
            let name = self.settable(what, name, value, snapshot)?;
            if local.insert(name.clone(), value.to_owned()).is_some() {
                return fail(format!("property '{name}' specified multiple times"));
            }
        }
        Ok(local)
    }

    /// Checks that a property can be set to a value, and gives its full name.
    fn settable(&self, what: &str, name: &str, value: &str, snapshot: bool) -> Result<String, Stop> {
        if props::is_user(name) {
            if value.len() >= 8192 {
                return fail(format!("{what}: property value is too long"));
            }
            return Ok(name.into());
        }
        let Some(native) = props::native(name) else {
            return fail(format!("{what}: invalid property '{name}'"));
        };
        let name = native.name;
        if snapshot {
            return fail(format!("{what}: this property can not be modified for snapshots"));
        }
        if native.kind == Kind::ReadOnly {
            return fail(format!("{what}: '{name}' is readonly"));
        }
        if !native.values.is_empty() && !native.values.contains(&value) {
            return fail(format!("{what}: '{name}' must be one of '{}'", native.values.join(" | ")));
        }
        if value == "0" && ["quota", "refquota"].contains(&name) {
            return fail(format!("{what}: use 'none' to disable quota/refquota"));
        }
        if name == "mountpoint" && !value.starts_with('/') && value != "none" && value != "legacy" {
            return fail(format!("{what}: 'mountpoint' must be an absolute path, 'none', or 'legacy'"));
        }
        Ok(name.into())
    }

    /// Checks that there is a place for a new dataset.
    fn parent_of_new(&self, name: &str) -> Result<(), Stop> {
        let what = format!("cannot create '{name}'");
        if let Some(flaw) = flaw(name, Sort::Fs) {
            return fail(format!("{what}: {flaw}"));
        }
        let Some(parent) = parent(name) else {
            return fail(format!("{what}: missing dataset name"));
        };
        let pool = pool_of(name);
        if !self.pool.datasets.contains_key(pool) {
            return fail(format!("{what}: no such pool '{pool}'"));
        }
        if !self.pool.datasets.contains_key(parent) {
            return fail(format!("{what}: parent does not exist"));
        }
        Ok(())
    }

    /// Makes the datasets above a new one that are missing.
    fn ancestors(&mut self, name: &str) -> Result<(), Stop> {
        let cuts: Vec<usize> = name.match_indices('/').map(|(at, _)| at).collect();
        for cut in cuts {
            let above = &name[..cut];
            if self.pool.datasets.contains_key(above) {
                continue;
            }
            self.parent_of_new(above)?;
            self.permit(&format!("cannot create '{above}'"))?;
            self.pool.add(self.host, above, BTreeMap::new())?;
            self.mount_new(above)?;
        }
        Ok(())
    }

    /// Mounts what was just made, if it is of the sort that is mounted. Says so if it cannot be.
    fn mount_new(&mut self, name: &str) -> Result<bool, Stop> {
        if !self.pool.mountable(name) {
            return Ok(true);
        }
        match self.pool.mount(self.host, name)? {
            Ok(()) => Ok(true),
            Err(text) => {
                self.reply.complain(text);
                self.reply.complain("filesystem successfully created, but not mounted");
                Ok(false)
            }
        }
    }

    /// Unmounts a dataset and those below it.
    fn unmount(&mut self, name: &str) -> Result<(), Stop> {
        match self.pool.unmount(self.host, name)? {
            Ok(()) => Ok(()),
            Err(text) => fail(text),
        }
    }

    /// Does something that moves mountpoints: unmounts before and mounts again after it, as libzfs does. `renamed`
    /// gives the name a dataset has afterwards. What zfs has to say of those that it could not mount again is the
    /// result.
    fn moving(
        &mut self,
        family: &[String],
        renamed: impl Fn(&str) -> String,
        act: impl FnOnce(&mut Self) -> Result<(), Stop>,
    ) -> Result<Vec<String>, Stop> {
        let mounted: BTreeSet<String> = family
            .iter()
            .filter(|name| self.pool.datasets.get(*name).is_some_and(|dataset| dataset.mounted.is_some()))
            .cloned()
            .collect();
        let old: Vec<(String, Source)> =
            mounted.iter().map(|name| self.pool.setting(name, "mountpoint")).collect();
        // Some may be mounted elsewhere than below the first.
        for name in &mounted {
            self.unmount(name)?;
        }
        // An inherited mountpoint is not kept once nothing is mounted there. Deepest first.
        for (mountpoint, source) in old.iter().rev() {
            if !matches!(source, Source::Local) {
                let _ = fs::remove_dir(self.host.path(mountpoint));
            }
        }
        act(self)?;
        let mut said = Vec::new();
        for name in mounted.iter().map(|name| renamed(name)) {
            let unmounted = self.pool.datasets.get(&name).is_some_and(|dataset| dataset.mounted.is_none());
            if !unmounted || !self.pool.mountable(&name) {
                continue;
            }
            if let Err(text) = self.pool.mount(self.host, &name)? {
                said.push(text);
            }
        }
        Ok(said)
    }
}

fn init(zfs: &mut Zfs, _: &[Given], words: &[String]) -> Done {
    operands(words, &["pool"], 1)?;
    let name = &words[0];
    if let Some(flaw) = flaw(name, Sort::Fs) {
        return fail(format!("cannot create '{name}': {flaw}"));
    }
    if name.contains('/') || zfs.pool.datasets.contains_key(name) {
        return fail(format!("cannot create '{name}': pool already exists"));
    }
    zfs.pool.add(zfs.host, name, BTreeMap::new())?;
    Ok(u8::from(!zfs.mount_new(name)?))
}

fn fini(zfs: &mut Zfs, _: &[Given], words: &[String]) -> Done {
    operands(words, &["pool"], 1)?;
    let name = &words[0];
    if !zfs.pool.datasets.contains_key(name) {
        return fail(format!("cannot open '{name}': no such pool"));
    }
    if zfs.pool.family(name).len() > 1 {
        return fail(format!("cannot destroy '{name}': pool is not empty"));
    }
    if let Err(flaw) = zfs.pool.unmount(zfs.host, name)? {
        return fail(flaw);
    }
    zfs.pool.drop_dataset(zfs.host, name)?;
    Ok(0)
}

fn received(zfs: &mut Zfs, _: &[Given], words: &[String]) -> Done {
    operands(words, &["filesystem"], 1)?;
    let name = zfs.open_fs(&words[0])?;
    let dataset = zfs.pool.dataset_mut(&name)?;
    dataset.received.append(&mut dataset.local);
    Ok(0)
}

fn send(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    operands(words, &["snapshot"], 1)?;
    if ['R', 'h', 's', 'b'].iter().any(|letter| given(options, *letter)) && zfs.pool.find(&words[0]).is_some()
    {
        return Err(Stop::Internal(anyhow::anyhow!("zfs send: an option that the stand-in does not have")));
    }
    let name = &words[0];
    let what = format!("cannot send '{name}'");
    let (fs, id) = zfs.open_snapshot(name)?;
    let from = match argument(options, 'i') {
        None => None,
        Some(from) => {
            let full = if from.contains('/') || !from.starts_with('@') {
                from.to_owned()
            } else {
                format!("{fs}{from}")
            };
            let Ok((source, source_id)) = zfs.open_snapshot(&full) else {
                return fail(format!("{what}: incremental source ({from}) does not exist"));
            };
            let origin = zfs.pool.dataset(&fs)?.origin;
            if source != fs && origin != Some(source_id) || source == fs && source_id >= id {
                return fail(format!("{what}: not an earlier snapshot from the same fs"));
            }
            Some((source_id, full, source != fs))
        }
    };
    if zfs.pool.is_locked(&fs) && !given(options, 'w') {
        return fail(format!("warning: {what}: dataset key must be loaded"));
    }
    let bytes = tree::space(&zfs.pool.snapshot_manifest(zfs.host, id)?, None);
    if given(options, 'v') || given(options, 'P') {
        let first = match (&from, given(options, 'P')) {
            (None, true) => format!("full\t{name}\t{bytes}\nsize\t{bytes}"),
            (Some((_, from, _)), true) => format!("incremental\t{from}\t{name}\t{bytes}\nsize\t{bytes}"),
            (None, false) => format!("full send of {name} estimated size is {bytes}"),
            (Some((_, from, _)), false) => format!("send from {from} to {name} estimated size is {bytes}"),
        };
        if given(options, 'n') {
            zfs.reply.say(first);
        } else {
            zfs.reply.complain(first);
        }
    }
    if given(options, 'n') {
        return Ok(0);
    }
    let properties = match given(options, 'p') {
        true => {
            let dataset = zfs.pool.dataset(&fs)?;
            dataset.received.iter().chain(&dataset.local).map(|(n, v)| (n.clone(), v.clone())).collect()
        }
        false => BTreeMap::new(),
    };
    let from = from.map(|(id, _, is_clone)| (id, is_clone));
    zfs.reply.out = Stream::of(zfs.host, &zfs.pool, id, from, properties)?.to_text();
    Ok(0)
}

fn receive(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    operands(words, &["snapshot"], 1)?;
    let name = words[0].split('@').next().unwrap_or_default().to_owned();
    // What it would do is not known here, and no test may pass by that.
    if ['n', 'e', 'F', 'M', 'h', 's'].iter().any(|letter| given(options, *letter)) {
        return Err(Stop::Internal(anyhow::anyhow!(
            "zfs receive: an option that the stand-in does not have"
        )));
    }
    let Some(stream) = zfs.stream.take() else {
        return fail("cannot receive new filesystem stream: incomplete stream");
    };
    let kind = if stream.from.is_some() && !stream.is_clone { "incremental" } else { "new filesystem" };
    let what = format!("cannot receive {kind} stream");
    if let Some(flaw) = flaw(&name, Sort::Fs) {
        return fail(format!("{what}: {flaw}"));
    }
    let full = format!("{name}@{}", stream.snapshot);
    let exists = zfs.pool.datasets.contains_key(&name);
    if exists && kind != "incremental" {
        return fail(format!("{what}: destination '{name}' exists\nmust specify -F to overwrite it"));
    }
    match parent(&name) {
        Some(above) if !zfs.pool.datasets.contains_key(above) => {
            return fail(format!("cannot receive: destination '{above}' does not exist"));
        }
        None => return fail(format!("{what}: missing dataset name")),
        Some(_) => {}
    }
    zfs.permit(&what)?;
    // By what it is known by, wherever in the pool it is.
    let base = stream.from.and_then(|guid| {
        let of_pool =
            |id: u64| zfs.pool.snapshot_name(id).is_some_and(|full| pool_of(&full) == pool_of(&name));
        zfs.pool.snapshots.iter().find(|(id, s)| s.guid == guid && of_pool(**id)).map(|(id, _)| *id)
    });
    let mut local = zfs.properties(&format!("cannot receive {kind} stream"), options, false)?;
    if stream.is_clone {
        let Some(origin) = base else {
            return fail(format!("cannot receive: local origin for clone {full} does not exist"));
        };
        zfs.pool.add_clone(zfs.host, &name, origin, BTreeMap::new())?;
    } else if stream.from.is_some() {
        let id = zfs.pool.datasets.get(&name).map(|dataset| dataset.id);
        let last = id.and_then(|id| zfs.pool.snapshots_of(id).next_back().map(|(id, _)| id));
        let guid = last.and_then(|id| zfs.pool.snapshots.get(&id)).map(|snapshot| snapshot.guid);
        if !exists || guid.is_none() || guid != stream.from {
            return fail(format!(
                "{what}: most recent snapshot of {name} does not\nmatch incremental source"
            ));
        }
        zfs.unmount(&name)?;
    } else {
        zfs.pool.add(zfs.host, &name, BTreeMap::new())?;
    }
    stream.put(zfs.host, &mut zfs.pool, &name)?;
    let dataset = zfs.pool.dataset_mut(&name)?;
    let excluded: Vec<&str> = options.iter().filter(|(l, _)| *l == 'x').map(|(_, v)| v.as_str()).collect();
    let kept = stream.properties.iter().filter(|(property, _)| !excluded.contains(&property.as_str()));
    dataset.received.extend(kept.map(|(property, value)| (property.clone(), value.clone())));
    dataset.local.append(&mut local);
    if !given(options, 'u') {
        zfs.mount_new(&name)?;
    }
    Ok(0)
}

/// The root of an encryption, as load-key and unload-key want it.
fn encryption_root(zfs: &Zfs, what: &str, words: &[String]) -> Result<String, Stop> {
    operands(words, &["dataset"], 1)?;
    let name = zfs.open_fs(&words[0])?;
    match zfs.pool.encryption_root(&name) {
        Some(root) if root == name => Ok(root),
        Some(root) => fail(format!("{what}: Keys must be loaded for encryption root of '{name}' ({root})."))
            .map_err(negative),
        None => fail(format!("{what}: '{name}' is not encrypted.")).map_err(negative),
    }
}

fn load_key(zfs: &mut Zfs, _: &[Given], words: &[String]) -> Done {
    let root = encryption_root(zfs, "Key load error", words)?;
    if !zfs.pool.is_locked(&root) {
        return Err(Stop::Negative(format!("Key load error: Key already loaded for '{root}'.")));
    }
    zfs.pool.dataset_mut(&root)?.locked = false;
    Ok(0)
}

fn unload_key(zfs: &mut Zfs, _: &[Given], words: &[String]) -> Done {
    let root = encryption_root(zfs, "Key unload error", words)?;
    if zfs.pool.is_locked(&root) {
        return Err(Stop::Negative(format!("Key unload error: Key already unloaded for '{root}'.")));
    }
    for name in zfs.pool.family(&root) {
        let uses = zfs.pool.encryption_root(&name).is_some_and(|its| its == root);
        if uses && zfs.pool.dataset(&name)?.mounted.is_some() {
            return Err(Stop::Negative(format!("Key unload error: '{root}' is busy.")));
        }
    }
    zfs.pool.dataset_mut(&root)?.locked = true;
    Ok(0)
}

fn version(zfs: &mut Zfs, _: &[Given], _: &[String]) -> Done {
    zfs.reply.say("zfs-2.4.0-rc4-FreeBSD");
    zfs.reply.say("zfs-kmod-2.4.0-rc4-FreeBSD");
    Ok(0)
}

fn create(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    operands(words, &["filesystem"], 1)?;
    let name = &words[0];
    let what = format!("cannot create '{name}'");
    let local = zfs.properties(&what, options, false)?;
    if given(options, 'p') && flaw(name, Sort::Fs).is_none() {
        if zfs.pool.datasets.contains_key(name) {
            return Ok(0);
        }
        zfs.ancestors(name)?;
    }
    if zfs.pool.datasets.contains_key(name) {
        return fail(format!("{what}: dataset already exists"));
    }
    zfs.parent_of_new(name)?;
    zfs.permit(&what)?;
    if parent(name).is_some_and(|above| zfs.pool.is_locked(above)) {
        return fail(format!("{what}: encryption root's key is not loaded or provided"));
    }
    zfs.pool.add(zfs.host, name, local)?;
    // One that could not be mounted is there all the same, which is a success.
    if !given(options, 'u') {
        zfs.mount_new(name)?;
    }
    Ok(0)
}

fn clone(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    operands(words, &["source dataset", "target dataset"], 2)?;
    let (origin, name) = (&words[0], &words[1]);
    let what = format!("cannot create '{name}'");
    let local = zfs.properties(&what, options, false)?;
    let (_, snapshot) = zfs.open_snapshot(origin)?;
    if given(options, 'p') && flaw(name, Sort::Fs).is_none() {
        // Whatever it is a clone of, or if it is no clone at all.
        if zfs.pool.datasets.contains_key(name) {
            return Ok(0);
        }
        zfs.ancestors(name)?;
    }
    zfs.parent_of_new(name)?;
    if zfs.pool.datasets.contains_key(name) {
        return fail(format!("{what}: dataset already exists"));
    }
    if pool_of(origin) != pool_of(name) {
        return fail(format!("{what}: source and target pools differ"));
    }
    zfs.permit(&what)?;
    zfs.pool.add_clone(zfs.host, name, snapshot, local)?;
    if !given(options, 'u') {
        zfs.mount_new(name)?;
    }
    Ok(0)
}

fn snapshot(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    operands(words, &["snapshot"], usize::MAX)?;
    let local = zfs.properties("cannot create snapshots ", options, true)?;
    let mut wanted = Vec::new();
    for word in words {
        let Some((fs, name)) = word.split_once('@') else {
            return Err(Stop::Usage(format!("cannot open '{word}': missing '@' delimiter in snapshot name")));
        };
        if let Err(stop) = zfs.open_fs(fs) {
            // The real program takes this for a mistake of usage.
            return Err(match stop {
                Stop::Failed(text) => Stop::Usage(text),
                other => other,
            });
        }
        let all = if given(options, 'r') { zfs.pool.family(fs) } else { vec![fs.to_owned()] };
        wanted.extend(all.into_iter().map(|fs| (fs, name.to_owned())));
    }
    // All or none.
    let mut bad = Vec::new();
    for (fs, name) in &wanted {
        let full = format!("{fs}@{name}");
        if let Some(flaw) = flaw(&full, Sort::Snap) {
            bad.push(format!("cannot create snapshot '{full}': {flaw}"));
        } else if zfs.pool.find(&full).is_some() {
            bad.push(format!("cannot create snapshot '{full}': dataset already exists"));
        }
    }
    if !bad.is_empty() {
        if wanted.len() > 1 {
            bad.push("no snapshots were created".into());
        }
        return fail(bad.join("\n"));
    }
    // The blank before the colon is the real program's.
    zfs.permit("cannot create snapshots ")?;
    let mut first = None;
    for (fs, name) in wanted {
        first = Some(zfs.pool.add_snapshot(zfs.host, &fs, &name, local.clone(), first)?);
    }
    Ok(0)
}

fn destroy(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    operands(words, &["dataset"], 1)?;
    if given(options, 'R') {
        return Err(Stop::Internal(anyhow::anyhow!(
            "zfs destroy -R destroys clones elsewhere; nothing here may ask for it"
        )));
    }
    if words[0].contains('@') {
        destroy_snapshots(zfs, options, &words[0])
    } else {
        destroy_fs(zfs, options, &words[0])
    }
}

/// Removes snapshots of one dataset: `fs@a` or `fs@a,b`.
fn destroy_snapshots(zfs: &mut Zfs, options: &[Given], word: &str) -> Done {
    let (fs, names) = word.split_once('@').unwrap_or((word, ""));
    zfs.open_fs(fs)?;
    let family = if given(options, 'r') { zfs.pool.family(fs) } else { vec![fs.to_owned()] };
    let mut doomed = Vec::new();
    for name in names.split(',') {
        for fs in &family {
            if let Some(Target::Snap(_, id)) = zfs.pool.find(&format!("{fs}@{name}")) {
                doomed.push((format!("{fs}@{name}"), id));
            }
        }
    }
    if doomed.is_empty() {
        return fail("could not find any snapshots to destroy; check snapshot names.");
    }
    for (full, id) in &doomed {
        let clones = zfs.pool.clones(*id);
        if !clones.is_empty() {
            return fail(format!(
                "cannot destroy '{full}': snapshot has dependent clones\n\
                 use '-R' to destroy the following datasets:\n{}",
                clones.join("\n")
            ));
        }
    }
    if announce(zfs, options, doomed.iter().map(|(full, _)| full.as_str())) {
        return Ok(0);
    }
    for (full, id) in &doomed {
        unheld(zfs, full, *id)?;
    }
    zfs.permit(&format!("cannot destroy snapshot {}", doomed[0].0))?;
    for (_, id) in doomed {
        zfs.pool.drop_snapshot(zfs.host, id)?;
    }
    Ok(0)
}

/// Fails if a snapshot is held.
fn unheld(zfs: &Zfs, full: &str, id: u64) -> Result<(), Stop> {
    let held = zfs.pool.snapshots.get(&id).is_some_and(|snapshot| !snapshot.holds.is_empty());
    if held {
        return fail(format!(
            "cannot destroy snapshot {full}: it's being held. Run 'zfs holds -r {full}' to see holders."
        ));
    }
    Ok(())
}

/// Says what `-v` and `-n` want to know of a destruction; true if it is not to be carried out.
fn announce<'a>(zfs: &mut Zfs, options: &[Given], names: impl Iterator<Item = &'a str>) -> bool {
    let dry = given(options, 'n');
    if given(options, 'v') {
        for name in names {
            let line = match (given(options, 'p'), dry) {
                (true, _) => format!("destroy\t{name}"),
                (false, true) => format!("would destroy {name}"),
                (false, false) => format!("will destroy {name}"),
            };
            zfs.reply.say(line);
        }
    }
    dry
}

/// Removes a file system, with `-r` everything below it.
fn destroy_fs(zfs: &mut Zfs, options: &[Given], name: &str) -> Done {
    zfs.open_fs(name)?;
    let recurse = given(options, 'r');
    if parent(name).is_none() {
        return fail(format!(
            "cannot destroy '{name}': operation does not apply to pools\n\
             use 'zfs destroy -r {name}' to destroy all datasets in the pool\n\
             use 'zpool destroy {name}' to destroy the pool itself"
        ));
    }
    let dependents = zfs.pool.dependents(&Target::Fs(name.into()));
    let names: Vec<String> = dependents.iter().map(|target| zfs.pool.target_name(target)).collect();
    let (inside, outside): (Vec<_>, Vec<_>) = names
        .iter()
        .map(String::as_str)
        .partition(|other| within(other.split('@').next().unwrap_or(other), name));
    if !recurse && !inside.is_empty() {
        return fail(format!(
            "cannot destroy '{name}': filesystem has children\n\
             use '-r' to destroy the following datasets:\n{}",
            inside.join("\n")
        ));
    }
    if !outside.is_empty() {
        return fail(format!(
            "cannot destroy '{name}': filesystem has dependent clones\n\
             use '-R' to destroy the following datasets:\n{}",
            outside.join("\n")
        ));
    }
    // Some come twice.
    let mut unique: Vec<&str> = Vec::new();
    for other in names.iter().map(String::as_str).chain([name]) {
        if !unique.contains(&other) {
            unique.push(other);
        }
    }
    if announce(zfs, options, unique.into_iter()) {
        return Ok(0);
    }
    zfs.permit(&format!("cannot destroy '{name}'"))?;
    // One after the other: a busy one in the middle leaves the rest, as on a real host.
    for target in dependents.iter().chain([&Target::Fs(name.into())]) {
        match target {
            Target::Snap(_, id) => {
                if let Some(full) = zfs.pool.snapshot_name(*id) {
                    unheld(zfs, &full, *id)?;
                    zfs.pool.drop_snapshot(zfs.host, *id)?;
                }
            }
            Target::Fs(name) => {
                if zfs.pool.datasets.contains_key(name) {
                    zfs.unmount(name)?;
                    zfs.pool.drop_dataset(zfs.host, name)?;
                }
            }
        }
    }
    Ok(0)
}

fn rollback(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    operands(words, &["dataset"], 1)?;
    let full = &words[0];
    let (fs, id) = zfs.open_snapshot(full)?;
    let dataset = zfs.pool.dataset(&fs)?.id;
    let newer: Vec<(u64, String)> = zfs
        .pool
        .snapshots_of(dataset)
        .filter(|(other, _)| *other > id)
        .map(|(other, snapshot)| (other, format!("{fs}@{}", snapshot.name)))
        .collect();
    let what = format!("cannot rollback to '{full}'");
    if !given(options, 'r') && !given(options, 'R') && !newer.is_empty() {
        let names: Vec<&str> = newer.iter().map(|(_, name)| name.as_str()).collect();
        return fail(format!(
            "{what}: more recent snapshots or bookmarks exist\n\
             use '-r' to force deletion of the following snapshots and bookmarks:\n{}",
            names.join("\n")
        ));
    }
    let clones: Vec<String> = newer.iter().flat_map(|(other, _)| zfs.pool.clones(*other)).collect();
    if !clones.is_empty() {
        return fail(format!(
            "{what}: clones of previous snapshots exist\n\
             use '-R' to force deletion of the following clones and dependents:\n{}",
            clones.join("\n")
        ));
    }
    zfs.permit(&format!("cannot rollback '{fs}'"))?;
    for (other, name) in newer {
        unheld(zfs, &name, other)?;
        zfs.pool.drop_snapshot(zfs.host, other)?;
    }
    // The real one changes the mounted file system, in use or not. Here the directory is replaced.
    let mounted = zfs.pool.detach(zfs.host, &fs)?;
    zfs.pool.fill(zfs.host, &fs, id)?;
    for name in mounted {
        if let Err(text) = zfs.pool.mount(zfs.host, &name)? {
            return fail(text);
        }
    }
    Ok(0)
}

fn promote(zfs: &mut Zfs, _: &[Given], words: &[String]) -> Done {
    operands(words, &["clone filesystem"], 1)?;
    let name = zfs.open_fs(&words[0])?;
    let what = format!("cannot promote '{name}'");
    let clone = zfs.pool.dataset(&name)?;
    let clone_id = clone.id;
    let Some(origin) = clone.origin else {
        return fail(format!("{what}: not a cloned filesystem"));
    };
    let parent_id = zfs.pool.snapshots.get(&origin).context("origin without a snapshot")?.dataset;
    let parent = zfs.pool.name_of(parent_id).context("snapshot without a dataset")?.to_owned();
    let moved: Vec<u64> =
        zfs.pool.snapshots_of(parent_id).map(|(id, _)| id).filter(|id| *id <= origin).collect();
    let taken: BTreeSet<String> =
        zfs.pool.snapshots_of(clone_id).map(|(_, snapshot)| snapshot.name.clone()).collect();
    for id in &moved {
        let name = &zfs.pool.snapshots[id].name;
        if taken.contains(name) {
            return fail(format!("{what}: conflicting snapshot '{name}' from parent '{parent}'"));
        }
    }
    zfs.permit(&what)?;
    for id in moved {
        if let Some(snapshot) = zfs.pool.snapshots.get_mut(&id) {
            snapshot.dataset = clone_id;
        }
    }
    let above = zfs.pool.dataset(&parent)?.origin;
    zfs.pool.dataset_mut(&name)?.origin = above;
    zfs.pool.dataset_mut(&parent)?.origin = Some(origin);
    Ok(0)
}

fn rename(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    operands(words, &["source dataset", "target dataset"], 2)?;
    let (from, to) = (&words[0], &words[1]);
    let target = zfs.open(from, Sort::Any)?;
    let fs = match target {
        Target::Snap(fs, id) => return rename_snapshot(zfs, &fs, id, from, to),
        Target::Fs(fs) => fs,
    };
    if given(options, 'p') {
        zfs.ancestors(to)?;
    }
    zfs.parent_of_new(to)?;
    if pool_of(from) != pool_of(to) {
        return fail(format!("cannot rename to '{to}': datasets must be within same pool"));
    }
    if within(to, from) {
        return fail(format!(
            "cannot rename to '{to}': New dataset name cannot be a descendant of current dataset name"
        ));
    }
    let what = format!("cannot rename '{from}'");
    if zfs.pool.datasets.contains_key(to) {
        return fail(format!("{what}: dataset already exists"));
    }
    if zfs.pool.encryption_root(&fs).is_some_and(|root| root != fs && !within(to, &root)) {
        return fail(format!("{what}: cannot move encrypted child outside of its encryption root"));
    }
    zfs.permit(&what)?;
    let family = zfs.pool.family(&fs);
    let renamed = |name: &str| format!("{to}{}", &name[fs.len()..]);
    let act = |zfs: &mut Zfs| {
        for name in &family {
            if let Some(dataset) = zfs.pool.datasets.remove(name) {
                zfs.pool.datasets.insert(renamed(name), dataset);
            }
        }
        Ok(())
    };
    if given(options, 'u') {
        act(zfs)?;
    } else {
        // It is renamed, which is a success.
        let said = zfs.moving(&family, renamed, act)?;
        said.into_iter().for_each(|text| zfs.reply.complain(text));
    }
    Ok(0)
}

fn rename_snapshot(zfs: &mut Zfs, fs: &str, id: u64, from: &str, to: &str) -> Done {
    let full = match to.strip_prefix('@') {
        Some(name) => format!("{fs}@{name}"),
        None if to.contains('@') => to.to_owned(),
        None => format!("{fs}@{to}"),
    };
    let what = format!("cannot rename to '{full}'");
    if let Some(flaw) = flaw(&full, Sort::Snap) {
        return fail(format!("{what}: {flaw}"));
    }
    let Some((_, name)) = full.split_once('@').filter(|(owner, _)| *owner == fs) else {
        return fail(format!("{what}: snapshots must be part of same dataset"));
    };
    if zfs.pool.find(&full).is_some() {
        return fail(format!("cannot rename '{from}': dataset already exists"));
    }
    zfs.permit(&format!("cannot rename '{from}'"))?;
    if let Some(snapshot) = zfs.pool.snapshots.get_mut(&id) {
        snapshot.name = name.into();
    }
    Ok(0)
}

fn set(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    let settings: Vec<&String> = words.iter().take_while(|word| word.contains('=')).collect();
    if settings.is_empty() {
        return Err(Stop::Usage("missing property=value argument(s)".into()));
    }
    let names = &words[settings.len()..];
    operands(names, &["dataset"], usize::MAX)?;
    for name in names {
        let target = zfs.open(name, Sort::Any)?;
        let what = format!("cannot set property for '{name}'");
        for setting in &settings {
            let (property, value) = setting.split_once('=').unwrap_or((setting, ""));
            let snapshot = matches!(target, Target::Snap(..));
            let property = zfs.settable(&what, property, value, snapshot).map_err(negative)?;
            zfs.permit(&what).map_err(negative)?;
            change(zfs, &target, &property, Some(value), given(options, 'u'), true)?;
        }
    }
    Ok(0)
}

fn inherit(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    operands(words, &["property", "dataset"], usize::MAX)?;
    let property = match props::native(&words[0]) {
        Some(native) if native.kind == Kind::ReadOnly => {
            return fail(format!("{} property is read-only", native.name));
        }
        Some(native) => native.name.to_owned(),
        None if props::is_user(&words[0]) => words[0].clone(),
        None => return Err(Stop::Usage(format!("invalid property '{}'", words[0]))),
    };
    for name in &words[1..] {
        let target = zfs.open(name, Sort::Any)?;
        zfs.permit(&format!("cannot inherit {property} for '{name}'"))?;
        let targets = match target {
            Target::Fs(name) if given(options, 'r') => {
                zfs.pool.family(&name).into_iter().map(Target::Fs).collect()
            }
            other => vec![other],
        };
        for target in targets {
            change(zfs, &target, &property, None, false, given(options, 'S'))?;
        }
    }
    Ok(0)
}

/// Sets a property or takes the setting away, and moves the mounts that depend on it unless told not to.
fn change(
    zfs: &mut Zfs,
    target: &Target,
    property: &str,
    value: Option<&str>,
    stay: bool,
    keeps_received: bool,
) -> Result<(), Stop> {
    let put = |local: &mut BTreeMap<String, String>| match value {
        Some(value) => drop(local.insert(property.into(), value.into())),
        None => drop(local.remove(property)),
    };
    // Taken back to what came with it, or to what is above it.
    let back = value.is_none() && !keeps_received;
    match target {
        Target::Snap(_, id) => {
            if let Some(snapshot) = zfs.pool.snapshots.get_mut(id) {
                put(&mut snapshot.local);
            }
            Ok(())
        }
        Target::Fs(name) => {
            let act = |zfs: &mut Zfs| {
                let dataset = zfs.pool.dataset_mut(name)?;
                put(&mut dataset.local);
                if back {
                    dataset.received.remove(property);
                }
                Ok(())
            };
            if stay || !["mountpoint", "canmount", "jailed"].contains(&property) {
                return act(zfs);
            }
            // Noauto is about the next time only.
            if property == "canmount" && value == Some("noauto") {
                return act(zfs);
            }
            let family = match property {
                "canmount" => vec![name.clone()],
                _ => zfs.pool.family(name),
            };
            let said = zfs.moving(&family, str::to_owned, act)?;
            if !said.is_empty() {
                return fail(said.join("\n"));
            }
            // A dataset that was not mounted is, if the new setting lets it.
            let dataset = zfs.pool.dataset(name)?;
            if dataset.mounted.is_none()
                && zfs.pool.mountable(name)
                && let Err(text) = zfs.pool.mount(zfs.host, name)?
            {
                return fail(text);
            }
            Ok(())
        }
    }
}

fn mount(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    if words.is_empty() && !given(options, 'a') {
        for (name, dataset) in &zfs.pool.datasets {
            if let Some(mountpoint) = &dataset.mounted {
                zfs.reply.say(format!("{name:<30}  {}", zfs.host.shown(mountpoint)));
            }
        }
        return Ok(0);
    }
    let names = if given(options, 'a') {
        operands(words, &[], 0)?;
        let mountable = |name: &&String| zfs.pool.mountable(name);
        zfs.pool
            .datasets
            .iter()
            .filter(|(_, dataset)| dataset.mounted.is_none())
            .map(|(name, _)| name)
            .filter(mountable)
            .cloned()
            .collect()
    } else {
        operands(words, &["filesystem"], 1)?;
        vec![zfs.open_fs(&words[0])?]
    };
    let mut status = 0;
    for name in names {
        let what = format!("cannot mount '{name}'");
        if zfs.pool.dataset(&name)?.mounted.is_some() {
            return fail(format!("{what}: filesystem already mounted"));
        }
        if zfs.pool.setting(&name, "canmount").0 == "off" {
            return fail(format!("{what}: 'canmount' property is set to 'off'"));
        }
        match zfs.pool.setting(&name, "mountpoint").0.as_str() {
            "legacy" => {
                return fail(format!("{what}: legacy mountpoint\nuse mount(8) to mount this filesystem"));
            }
            "none" => return fail(format!("{what}: no mountpoint set")),
            _ => {}
        }
        if zfs.host.flag("not-root") {
            return fail(format!("{what}: Insufficient privileges"));
        }
        if zfs.pool.is_locked(&name) {
            return fail(format!("{what}: encryption key not loaded"));
        }
        if let Err(text) = zfs.pool.mount(zfs.host, &name)? {
            zfs.reply.complain(text);
            status = 1;
        }
    }
    Ok(status)
}

fn unmount(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    let mut names = Vec::new();
    if given(options, 'a') {
        operands(words, &[], 0)?;
        names.extend(zfs.pool.datasets.keys().rev().cloned());
    } else {
        operands(words, &["filesystem"], 1)?;
        let word = &words[0];
        let name = match zfs.host.inside(word) {
            Some(path) => {
                let found = zfs
                    .pool
                    .datasets
                    .iter()
                    .find(|(_, dataset)| dataset.mounted.as_deref() == Some(path.trim_end_matches('/')));
                match found {
                    Some((name, _)) => name.clone(),
                    None => {
                        return fail(format!("cannot unmount '{word}': not a mountpoint"));
                    }
                }
            }
            None => zfs.open_fs(word)?,
        };
        if zfs.pool.dataset(&name)?.mounted.is_none() {
            return fail(format!("cannot unmount '{name}': not currently mounted"));
        }
        names.push(name);
    }
    for name in names {
        if let Some(mountpoint) = zfs.pool.dataset(&name)?.mounted.clone() {
            let shown = zfs.host.shown(&mountpoint);
            zfs.permit(&format!("cannot unmount '{shown}'"))?;
        }
        zfs.unmount(&name)?;
    }
    Ok(0)
}

/// The snapshots hold, holds and release work on.
fn held(zfs: &Zfs, options: &[Given], words: &[String]) -> Result<Vec<(String, u64)>, Stop> {
    let mut found = Vec::new();
    for word in words {
        let (fs, id) = zfs.open_snapshot(word)?;
        if !given(options, 'r') {
            found.push((word.clone(), id));
            continue;
        }
        let name = word.split_once('@').map_or("", |(_, name)| name);
        for fs in zfs.pool.family(&fs) {
            let full = format!("{fs}@{name}");
            if let Some(Target::Snap(_, id)) = zfs.pool.find(&full) {
                found.push((full, id));
            }
        }
    }
    Ok(found)
}

fn hold(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    operands(words, &["tag", "snapshot"], usize::MAX)?;
    let (tag, rest) = (&words[0], &words[1..]);
    if tag.starts_with('.') {
        return fail("tag may not start with '.'".to_string());
    }
    for (full, id) in held(zfs, options, rest)? {
        let what = format!("cannot hold snapshot '{full}'");
        zfs.permit(&what)?;
        let Some(snapshot) = zfs.pool.snapshots.get_mut(&id) else {
            continue;
        };
        if snapshot.holds.insert(tag.clone(), now()).is_some() {
            return fail(format!("{what}: tag already exists on this dataset"));
        }
    }
    Ok(0)
}

fn release(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    operands(words, &["tag", "snapshot"], usize::MAX)?;
    let (tag, rest) = (&words[0], &words[1..]);
    for (full, id) in held(zfs, options, rest)? {
        let what = format!("cannot release hold from snapshot '{full}'");
        zfs.permit(&what)?;
        let Some(snapshot) = zfs.pool.snapshots.get_mut(&id) else {
            continue;
        };
        if snapshot.holds.remove(tag).is_none() {
            return fail(format!("{what}: no such tag on this dataset"));
        }
    }
    Ok(0)
}

fn holds(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    operands(words, &["snapshot"], usize::MAX)?;
    let mut rows = Vec::new();
    for (full, id) in held(zfs, options, words)? {
        let Some(snapshot) = zfs.pool.snapshots.get(&id) else {
            continue;
        };
        for (tag, time) in &snapshot.holds {
            let time = if given(options, 'p') { time.to_string() } else { calendar(*time) };
            rows.push(vec![full.clone(), tag.clone(), time]);
        }
    }
    let columns = [("NAME", false), ("TAG", false), ("TIMESTAMP", false)];
    table(zfs.reply, given(options, 'H'), &columns, rows);
    Ok(0)
}

fn diff(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    if words.is_empty() {
        return Err(Stop::Usage("must provide at least one snapshot name".into()));
    }
    operands(words, &[], 2)?;
    let (fs, from) = zfs.open_snapshot(&words[0])?;
    let to = match words.get(1) {
        Some(word) if word.starts_with('@') => zfs.open(&format!("{fs}{word}"), Sort::Any)?,
        Some(word) => zfs.open(word, Sort::Any)?,
        None => Target::Fs(fs),
    };
    if !descends(zfs, from, &to)? {
        return fail("Unable to obtain diffs: Not an earlier snapshot from the same fs");
    }
    let old = zfs.pool.snapshot_manifest(zfs.host, from)?;
    let (name, new) = match &to {
        Target::Snap(name, id) => (name, zfs.pool.snapshot_manifest(zfs.host, *id)?),
        Target::Fs(name) => (name, zfs.pool.survey(zfs.host, name)?.0),
    };
    let Some(mountpoint) = zfs.pool.dataset(name)?.mounted.clone() else {
        return fail("Unable to obtain diffs: Cannot diff an unmounted snapshot");
    };
    let prefix = zfs.host.shown(&mountpoint);
    let path = |inside: &[u8]| format!("{prefix}/{}", escape(inside));
    for change in tree::diff(&old, &new) {
        let mut line = format!("{}\t", change.sign);
        if given(options, 'F') {
            line.push(change.kind);
            line.push('\t');
        }
        line.push_str(&path(&change.path));
        if let Some(renamed) = &change.renamed {
            line.push_str(if given(options, 'H') { "\t" } else { " -> " });
            line.push_str(&path(renamed));
        }
        if change.links != 0 {
            line.push_str(&format!("\t({:+})", change.links));
        }
        zfs.reply.say(line);
    }
    Ok(0)
}

/// A path as zfs diff prints it: blanks, backslashes and everything outside ASCII as four octal digits.
fn escape(path: &[u8]) -> String {
    path.iter()
        .map(|byte| match byte {
            b'\\' => "\\0134".into(),
            0x21..=0x7e => char::from(*byte).to_string(),
            other => format!("\\{other:04o}"),
        })
        .collect()
}

/// Whether a dataset or snapshot has a snapshot in its past.
fn descends(zfs: &Zfs, from: u64, to: &Target) -> Result<bool, Stop> {
    let (mut name, mut until) = match to {
        Target::Fs(name) => (name.clone(), u64::MAX),
        Target::Snap(name, id) => (name.clone(), *id),
    };
    loop {
        let dataset = zfs.pool.dataset(&name)?;
        let own = zfs.pool.snapshots.get(&from).is_some_and(|snapshot| snapshot.dataset == dataset.id);
        if own {
            return Ok(from < until || matches!(to, Target::Snap(_, id) if *id == from));
        }
        let Some(origin) = dataset.origin else {
            return Ok(false);
        };
        let owner = zfs.pool.snapshots.get(&origin).map_or(0, |snapshot| snapshot.dataset);
        name = zfs.pool.name_of(owner).context("origin without a dataset")?.into();
        // The origin itself is part of the past.
        until = origin + 1;
    }
}

/// What `-t`, `-r` and `-d` choose.
struct Choice {
    fs: bool,
    snapshots: bool,
    depth: usize,
    limit: Option<usize>,
    /// Given as such, so that a file system may stand for what is below it.
    explicit: bool,
}

impl Choice {
    fn read(options: &[Given], all: bool) -> Result<Self, Stop> {
        let mut choice = Self { fs: true, snapshots: all, depth: 0, limit: None, explicit: false };
        if let Some(types) = argument(options, 't') {
            (choice.fs, choice.snapshots, choice.explicit) = (false, false, true);
            for name in types.split(',') {
                match name {
                    "filesystem" | "fs" => choice.fs = true,
                    "snapshot" | "snap" => choice.snapshots = true,
                    "all" => (choice.fs, choice.snapshots) = (true, true),
                    "volume" | "vol" | "bookmark" => {}
                    _ => return Err(Stop::Usage(format!("invalid type '{name}'"))),
                }
            }
        }
        if let Some(depth) = argument(options, 'd') {
            match depth.parse() {
                Ok(depth) => (choice.depth, choice.limit) = (depth, Some(depth)),
                Err(_) => return Err(Stop::Usage(format!("'{depth}' is not an integer"))),
            }
        }
        if given(options, 'r') {
            choice.depth = usize::MAX;
        }
        Ok(choice)
    }

    /// Adds what an operand stands for.
    fn gather(&self, pool: &Pool, target: &Target, found: &mut Vec<Target>) {
        let Target::Fs(top) = target else {
            found.push(target.clone());
            return;
        };
        for name in pool.family(top) {
            let depth = name[top.len()..].matches('/').count();
            if depth > self.depth {
                continue;
            }
            if self.fs {
                found.push(Target::Fs(name.clone()));
            }
            // A snapshot is one level below its file system.
            if self.snapshots && depth < self.depth {
                let id = pool.datasets.get(&name).map_or(0, |dataset| dataset.id);
                found.extend(pool.snapshots_of(id).map(|(id, _)| Target::Snap(name.clone(), id)));
            }
        }
    }
}

/// Puts targets into the order of zfs list: by name, snapshots after their file system and by age.
fn arrange(found: &mut Vec<Target>) {
    found.sort_by_key(|target| match target {
        Target::Fs(name) => (name.clone(), 0),
        Target::Snap(name, id) => (name.clone(), *id),
    });
    found.dedup();
}

/// Finds what the operands of list and get stand for; without any, everything. The flag says whether all of them
/// exist.
fn choose(zfs: &mut Zfs, choice: &Choice, words: &[String]) -> Result<(Vec<Target>, bool), Stop> {
    let mut found = Vec::new();
    let mut good = true;
    if words.is_empty() {
        // Without -d it goes as deep as there is something.
        let all = Choice { depth: choice.limit.unwrap_or(usize::MAX), ..*choice };
        let pools: Vec<String> =
            zfs.pool.datasets.keys().filter(|name| !name.contains('/')).cloned().collect();
        for pool in pools {
            all.gather(&zfs.pool, &Target::Fs(pool), &mut found);
        }
    }
    for word in words {
        let wrong = match word.contains('@') {
            true => choice.explicit && !choice.snapshots,
            false => choice.explicit && !choice.fs && choice.depth == 0,
        };
        let opened = if wrong && word.contains('@') {
            fail(format!("cannot open '{word}': snapshot delimiter '@' is not expected here"))
        } else if wrong {
            fail(format!("cannot open '{word}': missing '@' delimiter in snapshot name"))
        } else {
            zfs.open_any(word)
        };
        match opened {
            Ok(target) => choice.gather(&zfs.pool, &target, &mut found),
            // The others are still shown.
            Err(Stop::Failed(text)) => {
                zfs.reply.complain(text);
                good = false;
            }
            Err(other) => return Err(other),
        }
    }
    arrange(&mut found);
    Ok((found, good))
}

/// Checks a list of property names and spells them out. `name` counts as one where `with_name` says so.
fn property_list(text: &str, with_name: bool) -> Result<Vec<String>, Stop> {
    text.split(',')
        .map(|word| match props::native(word) {
            Some(native) => Ok(native.name.to_owned()),
            None if props::is_user(word) => Ok(word.to_owned()),
            None if with_name && word == "name" => Ok(word.to_owned()),
            None => Err(Stop::Usage(format!("bad property list: invalid property '{word}'"))),
        })
        .collect()
}

fn list(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    let mut choice = Choice::read(options, false)?;
    // Snapshots named as operands are listed, and those of a file system if only snapshots are asked for.
    if choice.explicit && !choice.fs && choice.depth == 0 && !words.is_empty() {
        choice.depth = 1;
    }
    let fields =
        property_list(argument(options, 'o').unwrap_or("name,used,available,referenced,mountpoint"), true)?;
    let (mut found, good) = choose(zfs, &choice, words)?;
    let exact = given(options, 'p');
    for (letter, property) in options.iter().rev() {
        if !"sS".contains(*letter) {
            continue;
        }
        let property = &property_list(property, true)?[0];
        let mut keyed = Vec::new();
        for target in found {
            let text = match property.as_str() {
                "name" => zfs.pool.target_name(&target),
                _ => zfs.pool.value(zfs.host, &target, property, true)?.0,
            };
            keyed.push(((text.parse().unwrap_or(0_u64), text), target));
        }
        keyed.sort_by(|(a, _), (b, _)| if *letter == 's' { a.cmp(b) } else { b.cmp(a) });
        found = keyed.into_iter().map(|(_, target)| target).collect();
    }
    let mut rows = Vec::new();
    for target in &found {
        let mut row = Vec::new();
        for field in &fields {
            row.push(match field.as_str() {
                "name" => zfs.pool.target_name(target),
                _ => zfs.pool.value(zfs.host, target, field, exact)?.0,
            });
        }
        rows.push(row);
    }
    if rows.is_empty() && good && !given(options, 'H') {
        zfs.reply.complain("no datasets available");
        return Ok(0);
    }
    let heads: Vec<(String, bool)> = fields
        .iter()
        .map(|field| match props::native(field) {
            Some(native) => (native.short.to_uppercase(), native.number),
            None => (field.to_uppercase(), false),
        })
        .collect();
    let columns: Vec<(&str, bool)> = heads.iter().map(|(head, number)| (head.as_str(), *number)).collect();
    if !rows.is_empty() {
        table(zfs.reply, given(options, 'H'), &columns, rows);
    }
    Ok(u8::from(!good))
}

fn get(zfs: &mut Zfs, options: &[Given], words: &[String]) -> Done {
    operands(words, &["property"], usize::MAX)?;
    let choice = Choice::read(options, true)?;
    let all = words[0] == "all";
    let wanted = if all { Vec::new() } else { property_list(&words[0], true)? };
    let fields = match argument(options, 'o') {
        None => vec!["name", "property", "value", "source"],
        Some("all") => vec!["name", "property", "value", "received", "source"],
        Some(list) => list.split(',').collect(),
    };
    let known = ["name", "property", "value", "received", "source"];
    if let Some(field) = fields.iter().find(|field| !known.contains(field)) {
        return Err(Stop::Usage(format!("invalid column name '{field}'")));
    }
    let sources: Option<Vec<&str>> = argument(options, 's').map(|list| list.split(',').collect());
    let (found, good) = choose(zfs, &choice, &words[1..])?;
    let mut rows = Vec::new();
    for target in &found {
        let name = zfs.pool.target_name(target);
        let properties = if all { everything(zfs, target) } else { wanted.clone() };
        for property in properties {
            let (value, source) = match property.as_str() {
                "name" => (name.clone(), Source::None),
                _ => zfs.pool.value(zfs.host, target, &property, given(options, 'p'))?,
            };
            let (kind, source) = match source {
                Source::None => ("none", "-".into()),
                Source::Default => ("default", "default".into()),
                Source::Local => ("local", "local".into()),
                Source::Received => ("received", "received".into()),
                Source::Inherited(from) => ("inherited", format!("inherited from {from}")),
            };
            if sources.as_ref().is_some_and(|list| !list.contains(&kind)) {
                continue;
            }
            let came = match target {
                Target::Fs(name) => zfs.pool.dataset(name)?.received.get(&property).cloned(),
                Target::Snap(..) => None,
            };
            let cell = |field: &&str| match *field {
                "name" => name.clone(),
                "property" => property.clone(),
                "value" => value.clone(),
                "source" => source.clone(),
                _ => came.clone().unwrap_or_else(|| "-".into()),
            };
            rows.push(fields.iter().map(cell).collect());
        }
    }
    let heads: Vec<String> = fields.iter().map(|field| field.to_uppercase()).collect();
    let columns: Vec<(&str, bool)> = heads.iter().map(|head| (head.as_str(), false)).collect();
    if !rows.is_empty() {
        table(zfs.reply, given(options, 'H'), &columns, rows);
    }
    Ok(u8::from(!good))
}

/// The properties of `zfs get all`: those that apply, and the user properties that are set here or above.
fn everything(zfs: &Zfs, target: &Target) -> Vec<String> {
    let (name, snapshot) = match target {
        Target::Fs(name) => (name, None),
        Target::Snap(name, id) => (name, zfs.pool.snapshots.get(id)),
    };
    let applies = |property: &str| match (snapshot, property) {
        (None, "clones" | "userrefs") => false,
        (None, of_keys) if props::OF_KEYS.contains(&of_keys) => zfs.pool.encryption_root(name).is_some(),
        (None, "origin") => zfs.pool.datasets.get(name).is_some_and(|dataset| dataset.origin.is_some()),
        (None, _) => true,
        (Some(_), other) => [
            "type",
            "creation",
            "used",
            "referenced",
            "createtxg",
            "guid",
            "written",
            "logicalreferenced",
            "userrefs",
            "clones",
        ]
        .contains(&other),
    };
    let user: BTreeSet<&String> = zfs
        .pool
        .datasets
        .iter()
        .filter(|(above, _)| within(name, above))
        .flat_map(|(_, dataset)| dataset.local.keys().chain(dataset.received.keys()))
        .chain(snapshot.iter().flat_map(|snapshot| snapshot.local.keys()))
        .filter(|property| props::is_user(property))
        .collect();
    NATIVE
        .iter()
        .map(|native| native.name.to_owned())
        .filter(|property| applies(property))
        .chain(user.into_iter().cloned())
        .collect()
}

/// Prints rows: separated by tabs for scripts, else under headings in columns.
fn table(reply: &mut Reply, script: bool, columns: &[(&str, bool)], rows: Vec<Vec<String>>) {
    if script {
        for row in rows {
            reply.say(row.join("\t"));
        }
        return;
    }
    let heads: Vec<String> = columns.iter().map(|(head, _)| (*head).into()).collect();
    let lines: Vec<Vec<String>> = [heads].into_iter().chain(rows).collect();
    for line in &lines {
        let mut text = String::new();
        for (at, (cell, (_, right))) in line.iter().zip(columns).enumerate() {
            let width = lines.iter().map(|line| line[at].len()).max().unwrap_or(0);
            if at > 0 {
                text.push_str("  ");
            }
            if *right {
                text.push_str(&format!("{cell:>width$}"));
            } else if at + 1 == columns.len() {
                text.push_str(cell);
            } else {
                text.push_str(&format!("{cell:<width$}"));
            }
        }
        reply.say(text);
    }
}
