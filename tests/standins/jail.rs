//! jail(8): starts and stops the jails of jail.conf(5) on the simulated kernel.
//!
//! The order of the steps, what a failure undoes and what it leaves are those of usr.sbin/jail (jail.c, command.c) and
//! of the recordings. Hooks on the host are really executed; what runs in a jail is played. Only VNET jails are
//! imitated.
//!
//! `jail standin-let-go NAME` closes what holds the dying jails of that name.
//!
//! Below `ROOT/var/db/standin/`:
//!
//! | file | what it does |
//! |---|---|
//! | `held-connection` | an open connection holds the next jail that is removed, so that it stays dying; a name in the file makes it the next jail of that name. The file goes with the jail, or with `tcpdrop -a` in its exec.stop |
//! | `kill-jail` | two lines, the name of a jail and a number: the process is killed in front of that step of what it does with the jail. The file goes with it |

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command as Process;

use anyhow::{Context, Result, bail};
use thinjail::formats::jailconf::{
    Command, Config, Resolved, UnderRoot, command_words, export_line, quote_literal,
};
use thinjail::formats::vis;
use thinjail::system::kernel::Errno;
use thinjail::system::kernel::simulated::Simulated;

use crate::Reply;
use crate::commands::{in_jail, program, shell_text, tools};
use crate::getopt::getopt;
use crate::host::{Host, reason};
use crate::mounts::View;
use crate::simulated::{kernel, note, root, running};
use crate::{ifconfig, mounts};

/// What login.conf(5) makes PATH for root.
const PATH: &str = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/root/bin";

/// What is done with each jail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Start,
    Stop,
    Restart,
    /// Stop, and clear up after a jail that does not run.
    Cleanup,
    /// Remove, without any other step.
    Remove,
}

/// How much is said on success.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notes {
    All,
    None,
    /// The id of a new jail, and nothing else.
    Id,
}

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    if let [word, name] = args
        && word == "standin-let-go"
    {
        return let_go(host, name);
    }
    let Ok((options, names)) = getopt(args, "Cce:f:ip:qRr") else {
        bail!("jail: only -c, -e, -f, -i, -p, -q, -r, -rc, -rC and -R are imitated");
    };
    let given = |letter| options.iter().any(|(found, _)| *found == letter);
    let value = |letter| options.iter().rev().find(|(found, _)| *found == letter).map(|(_, v)| v.as_str());
    let kernel = kernel(host)?;
    let notes = match (given('i'), given('q')) {
        (true, _) => Notes::Id,
        (_, true) => Notes::None,
        _ => Notes::All,
    };
    let operation = match (given('c'), given('r'), given('R'), given('C')) {
        (true, false, false, false) => Some(Operation::Start),
        (false, true, false, false) => Some(Operation::Stop),
        (true, true, false, false) => Some(Operation::Restart),
        (false, true, false, true) => Some(Operation::Cleanup),
        (false, _, true, false) => Some(Operation::Remove),
        (false, false, false, false) if given('e') => None,
        _ => bail!("jail: one of -c, -r, -rc, -rC, -R and -e is needed"),
    };
    if operation == Some(Operation::Remove) {
        let mut status = 0;
        for name in &names {
            status |= remove_only(host, &kernel, name, reply)?;
        }
        return Ok(status);
    }

    // A jail of the command line alone, of which nothing is said.
    if operation == Some(Operation::Start) && names.first().is_some_and(|word| word.contains('=')) {
        return create_given(host, &kernel, &names, reply);
    }
    let file = value('f').unwrap_or("/etc/jail.conf");
    let file = host.inside(file).unwrap_or_else(|| file.into());
    let files = UnderRoot { root: root(host)?.path().to_owned() };
    let config = match Config::load(&files, Path::new(&file)) {
        Ok(config) => config,
        Err(cause) => {
            reply.complain(format!("jail: {cause}"));
            return Ok(1);
        }
    };
    let resolved: Vec<Resolved> = config.jails().map(|jail| config.resolve(jail)).collect();
    // Faults of other jails are told as well.
    for error in resolved.iter().flat_map(|jail| &jail.errors) {
        reply.complain(format!("jail: {error}"));
    }
    let Some(operation) = operation else {
        for jail in &resolved {
            reply.say(export_line(jail, value('e').unwrap_or_default()));
        }
        return Ok(resolved.iter().any(|jail| !jail.errors.is_empty()).into());
    };
    let all = names.is_empty() || names.iter().any(|name| name == "*");
    let names = if all { resolved.iter().map(|jail| jail.jail.clone()).collect() } else { names };
    let mut status = 0;
    for name in &names {
        status |= match resolved.iter().find(|jail| jail.jail == *name) {
            Some(jail) if jail.errors.is_empty() => {
                let mut run = Run::new(host, &kernel, jail, notes, reply)?;
                u8::from(!run.perform(operation)?)
            }
            Some(_) => 1,
            None if operation == Operation::Start => not_found(name, reply),
            None => remove_only(host, &kernel, name, reply)?,
        };
    }
    Ok(status)
}

/// Starts a jail whose parameters are all on the command line.
fn create_given(host: &Host, kernel: &Simulated, params: &[String], reply: &mut Reply) -> Result<u8> {
    let name = params.iter().find_map(|param| param.strip_prefix("name=")).context("jail: no name")?;
    let mut text = format!("{name} {{\n");
    for param in params.iter().filter(|param| !param.starts_with("name=")) {
        match param.split_once('=') {
            Some((param, value)) => text += &format!("{param} = {};\n", quote_literal(value)),
            None => text += &format!("{param};\n"),
        }
    }
    text += "}\n";
    let mut config = Config::default();
    config.parse_more(Path::new("command line"), text.as_bytes())?;
    let resolved = config.jails().next().map(|jail| config.resolve(jail)).context("jail: no jail")?;
    // It may share the interfaces of the host, which nothing in it is asked about.
    let mut run = Run::of(host, kernel, &resolved, Notes::None, reply)?;
    Ok(u8::from(!run.perform(Operation::Start)?))
}

/// The parameters of a running jail that jls(8) and sysctl(8) show, as `name=value` lines.
pub fn noted_params(jid: i32) -> String {
    format!("params-{jid}")
}

fn not_found(name: &str, reply: &mut Reply) -> u8 {
    reply.complain(format!("jail: \"{name}\" not found"));
    1
}

fn let_go(host: &Host, name: &str) -> Result<u8> {
    kernel(host)?.change(|state| {
        let dying = state.jails.iter().filter(|jail| jail.dying && jail.name == name);
        for jid in dying.map(|jail| jail.jid).collect::<Vec<_>>() {
            state.let_go(jid);
        }
        Ok(())
    })?;
    Ok(0)
}

/// Removes a jail that no configuration is known of, without a word.
fn remove_only(host: &Host, kernel: &Simulated, name: &str, reply: &mut Reply) -> Result<u8> {
    if running(&kernel.state()?, name).is_none() {
        return Ok(not_found(name, reply));
    }
    let held = take_connection(host, name)?;
    kernel.change(|state| state.remove_jail(name, held))?;
    Ok(0)
}

/// Whether an open connection holds the jail. There is one at most, so it is not asked for again.
fn take_connection(host: &Host, name: &str) -> Result<bool> {
    const FILE: &str = "held-connection";
    let names = host.state_lines(FILE)?;
    let held = host.flag(FILE) && (names.is_empty() || names.iter().any(|line| line == name));
    if held {
        fs::remove_file(host.state(FILE)).context("close the connection")?;
    }
    Ok(held)
}

/// One line of mount.fstab or `mount`.
#[derive(Clone)]
struct Line {
    param: &'static str,
    text: String,
}

/// What a step of a start did, to be undone if a later one fails.
enum Done {
    Line(Line),
    /// A file system of the jail's own: the parameter and its place below the path.
    Special(&'static str, &'static str),
    Created,
    Lent(String),
}

/// The file systems that jail(8) mounts without an fstab: parameter and place, in the order of a start.
const SPECIAL: &[(&str, &str)] =
    &[("mount.devfs", "/dev"), ("mount.fdescfs", "/dev/fd"), ("mount.procfs", "/proc")];

/// What jail(8) and the kernel know as parameters, by the first component of the name.
const FAMILIES: &[&str] = &[
    "allow",
    "children",
    "command",
    "cpuset",
    "depend",
    "devfs_ruleset",
    "enforce_statfs",
    "env",
    "exec",
    "host",
    "interface",
    "ip4",
    "ip6",
    "ip_hostname",
    "jid",
    "linux",
    "meta",
    "mount",
    "name",
    "osreldate",
    "osrelease",
    "parent",
    "path",
    "persist",
    "securelevel",
    "stop",
    "sysvmsg",
    "sysvsem",
    "sysvshm",
    "vnet",
    "zfs",
];

/// One jail on its way up or down. Steps give whether they succeeded; what is wrong has then been told.
struct Run<'a> {
    host: &'a Host,
    kernel: &'a Simulated,
    jail: &'a Resolved,
    name: &'a str,
    path: &'a str,
    notes: Notes,
    reply: &'a mut Reply,
    /// Known to hooks as JID, also after the jail is gone.
    jid: Option<i32>,
    /// Which jid the jail had before a restart: that of 15.0 hands vnet.interface to it, which is nobody then.
    former: Option<i32>,
    lines: Vec<Line>,
    /// Programs started and system calls made.
    steps: u32,
}

impl<'a> Run<'a> {
    fn new(
        host: &'a Host,
        kernel: &'a Simulated,
        jail: &'a Resolved,
        notes: Notes,
        reply: &'a mut Reply,
    ) -> Result<Run<'a>> {
        let name = &jail.jail;
        if jail.bool("vnet").is_none() && jail.scalar("vnet") != Some("new") {
            bail!("jail {name}: only jails with vnet are imitated");
        }
        Run::of(host, kernel, jail, notes, reply)
    }

    fn of(
        host: &'a Host,
        kernel: &'a Simulated,
        jail: &'a Resolved,
        notes: Notes,
        reply: &'a mut Reply,
    ) -> Result<Run<'a>> {
        let name = &jail.jail;
        let path = jail.scalar("path").with_context(|| format!("jail {name}: no path"))?;
        let jid = running(&kernel.state()?, name).map(|jail| jail.jid);
        Ok(Run {
            host,
            kernel,
            jail,
            name,
            path,
            notes,
            reply,
            jid,
            former: None,
            lines: Vec::new(),
            steps: 0,
        })
    }

    fn perform(&mut self, operation: Operation) -> Result<bool> {
        // Before anything else, whatever is asked for.
        if !self.read_lines() {
            return Ok(false);
        }
        match (operation, self.jid) {
            (Operation::Start, Some(_)) => {
                self.reply.complain(format!("jail: \"{}\" already exists", self.name));
                Ok(false)
            }
            (Operation::Start, None) | (Operation::Restart, None) => self.start(),
            (Operation::Restart, Some(jid)) => {
                self.former = Some(jid);
                Ok(self.stop()? && self.start()?)
            }
            (Operation::Cleanup, None) => self.clear_up(),
            (Operation::Stop, None) => Ok(not_found(self.name, self.reply) == 0),
            (_, Some(_)) => self.stop(),
            (Operation::Remove, None) => bail!("a removal needs no configuration"),
        }
    }

    /// Comes before each step: here the process may be killed.
    fn step(&mut self) -> Result<()> {
        const FILE: &str = "kill-jail";
        self.steps += 1;
        if let [name, number] = self.host.state_lines(FILE)?.as_slice()
            && name == self.name
            && *number == self.steps.to_string()
        {
            fs::remove_file(self.host.state(FILE)).context("forget who is to be killed")?;
            self.reply.flush();
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
        }
        Ok(())
    }

    fn warn(&mut self, text: impl AsRef<str>) {
        self.reply.complain(format!("jail: {}: {}", self.name, text.as_ref()));
    }

    fn values(&self, param: &str) -> &'a [String] {
        self.jail.get(param).unwrap_or_default()
    }

    fn is_set(&self, param: &str) -> bool {
        self.jail.bool(param) == Some(true)
    }

    /// Collects the lines of `mount` and those of the fstab files.
    fn read_lines(&mut self) -> bool {
        let own = self.values("mount").iter();
        self.lines = own.map(|text| Line { param: "mount", text: text.clone() }).collect();
        let mut complete = true;
        for file in self.values("mount.fstab").iter().filter(|file| !file.is_empty()) {
            let text = match fs::read_to_string(self.host.path(file)) {
                Ok(text) => text,
                Err(cause) => {
                    self.warn(format!("mount.fstab: {file}: {}", reason(&cause)));
                    complete = false;
                    continue;
                }
            };
            // A comment may begin anywhere in a line.
            let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
            let lines = lines.filter(|line| !line.trim_matches([' ', '\t']).is_empty());
            self.lines.extend(lines.map(|line| Line { param: "mount.fstab", text: line.into() }));
        }
        complete
    }

    fn start(&mut self) -> Result<bool> {
        self.jid = None;
        // Before any command is run.
        let is_known = |name: &str| {
            let family = name.split('.').next().unwrap_or_default();
            FAMILIES.contains(&family) || FAMILIES.contains(&family.strip_prefix("no").unwrap_or_default())
        };
        if let Some(unknown) = self.jail.params.iter().find(|p| !p.is_variable && !is_known(&p.name)) {
            self.warn(format!("unknown parameter: {}", unknown.name));
            return Ok(false);
        }
        let mut done = Vec::new();
        if self.go_up(&mut done)? {
            return Ok(true);
        }
        // No hook of any kind takes part in this, and no failure ends it.
        for step in done.into_iter().rev() {
            match step {
                Done::Line(line) => self.unmount_line(&line)?,
                Done::Special(param, place) => self.unmount_special(param, place)?,
                Done::Created => {
                    self.remove()?;
                    true
                }
                Done::Lent(interface) => {
                    let jid = self.jid.unwrap_or_default().to_string();
                    self.tool(&["/sbin/ifconfig", &interface, "-vnet", &jid])?
                }
            };
        }
        Ok(false)
    }

    fn go_up(&mut self, done: &mut Vec<Done>) -> Result<bool> {
        if !self.hooks("exec.prepare")? {
            return Ok(false);
        }
        for line in self.lines.clone() {
            if !self.mount_line(&line)? {
                return Ok(false);
            }
            done.push(Done::Line(line));
        }
        for (param, place) in SPECIAL {
            if self.is_set(param) {
                if !self.mount_special(param, place)? {
                    return Ok(false);
                }
                done.push(Done::Special(param, place));
            }
        }
        if !self.hooks("exec.prestart")? || !self.create()? {
            return Ok(false);
        }
        done.push(Done::Created);
        if !self.hooks("exec.created")? {
            return Ok(false);
        }
        for interface in self.values("vnet.interface") {
            let jid = self.former.or(self.jid).unwrap_or_default().to_string();
            if !self.tool(&["/sbin/ifconfig", interface, "vnet", &jid])? {
                return Ok(false);
            }
            done.push(Done::Lent(interface.clone()));
        }
        Ok(self.played("exec.start")? && self.hooks("exec.poststart")?)
    }

    fn create(&mut self) -> Result<bool> {
        self.step()?;
        // The one value that is looked at here as the kernel does.
        if self.jail.scalar("enforce_statfs").is_some_and(|level| !["0", "1", "2"].contains(&level)) {
            self.warn(format!("jail_set: {}", Errno::EINVAL));
            return Ok(false);
        }
        let view = View::new(self.host, &self.kernel.state()?)?;
        if !self.path.starts_with('/') {
            self.warn(format!("path {}: not an absolute pathname", self.path));
            return Ok(false);
        }
        let place = match view.look(self.path, true) {
            Ok(place) if place.is_directory() => place,
            Ok(_) => {
                self.warn(format!("path {}: Not a directory", self.path));
                return Ok(false);
            }
            Err(cause) => {
                self.warn(format!("path {}: {cause}", self.path));
                return Ok(false);
            }
        };
        match self.kernel.change(|state| state.create_jail(self.name, &place.name)) {
            Ok(jid) => {
                note(
                    self.host,
                    &format!("jail-{jid}"),
                    self.jail.scalar("host.hostname").unwrap_or_default(),
                )?;
                let shown = |name: &str| {
                    name == "devfs_ruleset" || name.starts_with("meta.") || name.starts_with("env.")
                };
                let params = self.jail.params.iter().filter(|p| !p.is_variable && shown(&p.name));
                let lines: String = params.map(|p| format!("{}={}\n", p.name, p.values.join(","))).collect();
                note(self.host, &noted_params(jid), &lines)?;
                self.jid = Some(jid);
                match self.notes {
                    Notes::All => self.reply.say(format!("{}: created", self.name)),
                    Notes::None => {}
                    Notes::Id => self.reply.say(jid.to_string()),
                }
                Ok(true)
            }
            Err(refused) => {
                self.warn(format!("jail_set: {}", refused.errno));
                Ok(false)
            }
        }
    }

    fn stop(&mut self) -> Result<bool> {
        if !self.hooks("exec.prestop")? || !self.played("exec.stop")? {
            return Ok(false);
        }
        self.remove()?;
        self.clear_up()
    }

    /// jail_remove(2), whose errors jail(8) does not look at.
    fn remove(&mut self) -> Result<()> {
        self.step()?;
        let held = take_connection(self.host, self.name)?;
        let _ = self.kernel.change(|state| state.remove_jail(self.name, held));
        if self.notes == Notes::All {
            self.reply.say(format!("{}: removed", self.name));
        }
        Ok(())
    }

    /// What follows a removal: every step is tried.
    fn clear_up(&mut self) -> Result<bool> {
        let mut fine = self.hooks("exec.poststop")?;
        for (param, place) in SPECIAL.iter().rev() {
            if self.is_set(param) {
                fine &= self.unmount_special(param, place)?;
            }
        }
        for line in self.lines.clone().iter().rev() {
            fine &= self.unmount_line(line)?;
        }
        Ok(self.hooks("exec.release")? && fine)
    }

    fn mount_line(&mut self, line: &Line) -> Result<bool> {
        let Some((from, on, kind, options)) = self.fields(line) else { return Ok(false) };
        if !self.check_path(line.param, &on, None)? {
            return Ok(false);
        }
        let mut command = vec!["/sbin/mount", "-t", &kind];
        if let Some(options) = &options {
            command.extend(["-o", options]);
        }
        command.extend([from.as_str(), &on]);
        self.tool(&command)
    }

    fn unmount_line(&mut self, line: &Line) -> Result<bool> {
        let Some((_, on, kind, _)) = self.fields(line) else { return Ok(false) };
        Ok(self.check_path(line.param, &on, Some(&kind))?
            && self.tool(&["/sbin/umount", "-t", &kind, &on])?)
    }

    /// Source, mount point, type and options of a line.
    fn fields(&mut self, line: &Line) -> Option<(String, String, String, Option<String>)> {
        let fields: Vec<&str> = line.text.split([' ', '\t']).filter(|field| !field.is_empty()).collect();
        let [from, on, kind, rest @ ..] = fields.as_slice() else {
            self.warn(format!("{}: {}: missing information", line.param, line.text));
            return None;
        };
        let path = |field: &str| vis::decode(field.as_bytes())?.into_string().ok();
        let (Some(from), Some(on)) = (path(from), path(on)) else {
            self.warn(format!("{}: {}: fstab parse error", line.param, line.text));
            return None;
        };
        Some((from, on, (*kind).into(), rest.first().map(|options| (*options).into())))
    }

    fn mount_special(&mut self, param: &str, place: &str) -> Result<bool> {
        let on = format!("{}{place}", self.path);
        if !self.check_path(param, &on, None)? {
            return Ok(false);
        }
        let kind = param.trim_start_matches("mount.");
        let ruleset = format!("-oruleset={}", self.jail.scalar("devfs_ruleset").unwrap_or("4"));
        let mut command = vec!["/sbin/mount", "-t", kind];
        if kind == "devfs" {
            command.push(&ruleset);
        }
        command.extend([".", &on]);
        self.tool(&command)
    }

    fn unmount_special(&mut self, param: &str, place: &str) -> Result<bool> {
        let on = format!("{}{place}", self.path);
        let kind = param.trim_start_matches("mount.");
        Ok(self.check_path(param, &on, Some(kind))? && self.tool(&["/sbin/umount", &on])?)
    }

    /// check_path() in command.c: below the jail's path, which is compared as text, every component must be there and
    /// be no link; what is to be unmounted must be a mount of that type.
    fn check_path(&mut self, param: &str, on: &str, unmounted: Option<&str>) -> Result<bool> {
        if !on.starts_with('/') {
            self.warn(format!("{param}: {on}: not an absolute pathname"));
            return Ok(false);
        }
        let view = View::new(self.host, &self.kernel.state()?)?;
        let mut prefixes = Vec::new();
        if let Some(below) = on.strip_prefix(self.path).filter(|below| below.starts_with('/')) {
            let start = on.len() - below.len() + 1;
            prefixes.extend(on[start..].match_indices('/').map(|(at, _)| &on[..start + at]));
            prefixes.push(on);
        }
        for prefix in prefixes {
            match view.look(prefix, false) {
                Ok(place) if place.is_link => {
                    self.warn(format!("{param}: {prefix} is a symbolic link"));
                    return Ok(false);
                }
                Ok(_) => {}
                Err(cause) => {
                    self.warn(format!("{param}: {prefix}: {cause}"));
                    return Ok(false);
                }
            }
        }
        let Some(kind) = unmounted else { return Ok(true) };
        let trouble = match view.look(on, true) {
            Err(cause) => cause.to_owned(),
            Ok(place) => match view.top(&place.name) {
                None => "not a mount point".into(),
                Some(mount) if mount.kind != kind => format!("not a {kind} mount"),
                Some(_) => return Ok(true),
            },
        };
        self.warn(format!("{param}: {on}: {trouble}"));
        Ok(false)
    }

    /// Runs one of the programs that jail(8) itself uses.
    fn tool(&mut self, command: &[&str]) -> Result<bool> {
        self.step()?;
        let args: Vec<String> = command.iter().skip(1).map(|word| (*word).to_owned()).collect();
        let name = command.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        self.host.note_call(name, &args)?;
        let tool = match name {
            "mount" => mounts::mount,
            "umount" => mounts::umount,
            "ifconfig" => ifconfig::run,
            _ => bail!("{name}: not a program that jail uses"),
        };
        let fine = tool(self.host, &args, self.reply)? == 0;
        if !fine {
            self.warn(format!("{}: failed", command.join(" ")));
        }
        Ok(fine)
    }

    /// Runs the commands of a parameter on the host, up to the first that fails.
    fn hooks(&mut self, param: &str) -> Result<bool> {
        for text in self.values(param) {
            if !self.hook(text)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn hook(&mut self, text: &str) -> Result<bool> {
        self.step()?;
        let (word, mut process, background) = match command_words(text) {
            Command::Nothing => return Ok(true),
            Command::Shell(text) => {
                let mut process = Process::new("/bin/sh");
                process.arg("-c").arg(shell_text(self.host, &text)?);
                ("/bin/sh".to_owned(), process, false)
            }
            Command::Exec { argv, background } => {
                let word = argv.first().cloned().unwrap_or_default();
                let Some(file) = program(self.host, &word)? else {
                    self.warn(format!("exec {word}: No such file or directory"));
                    self.warn(format!("{text}: failed"));
                    return Ok(false);
                };
                let mut process = Process::new(file);
                process.args(&argv[1..]);
                (word, process, background)
            }
        };
        self.dress(&mut process)?;
        // What was said so far comes before what the command says.
        self.reply.flush();
        let child = process.spawn();
        let status = match child {
            Ok(_) if background => return Ok(true),
            Ok(mut child) => child.wait().with_context(|| format!("wait for {text}"))?,
            Err(cause) => {
                self.warn(format!("exec {word}: {}", reason(&cause)));
                self.warn(format!("{text}: failed"));
                return Ok(false);
            }
        };
        if let Some(signal) = status.signal() {
            self.warn(format!("{text}: exited on signal {signal}"));
        } else if !status.success() {
            self.warn(format!("{text}: failed"));
        }
        Ok(status.success())
    }

    /// The environment of a hook. What belongs to the tests always stays, and stand-ins come before everything else.
    fn dress(&self, process: &mut Process) -> Result<()> {
        let mut path = std::env::join_paths([tools()?, self.host.path("/usr/local/sbin")])?;
        path.push(":");
        if self.is_set("exec.clean") {
            process.env_clear();
            let kept = |name: &std::ffi::OsString| {
                name == "TERM" || name.as_os_str().as_bytes().starts_with(b"THINJAIL_")
            };
            process.envs(std::env::vars_os().filter(|(name, _)| kept(name)));
            process.env("HOME", "/root").env("USER", "root").env("SHELL", "/bin/sh");
            path.push(PATH);
        } else {
            path.push(std::env::var_os("PATH").unwrap_or_default());
        }
        process.env("PATH", path).env("JNAME", self.name).env("JPATH", self.path);
        match self.jid {
            Some(jid) => process.env("JID", jid.to_string()),
            None => process.env_remove("JID"),
        };
        Ok(())
    }

    /// Plays the commands of a parameter in the jail, up to the first that fails.
    fn played(&mut self, param: &str) -> Result<bool> {
        for text in self.values(param) {
            let argv = match command_words(text) {
                Command::Nothing => continue,
                Command::Exec { argv, .. } => argv,
                // Of the shell's grammar only quotes are imitated.
                Command::Shell(line) if !line.contains(|c| "!\"$&()*;<>?[\\]`{|}~".contains(c)) => {
                    quoted_words(&line)
                }
                Command::Shell(_) => {
                    self.warn("standin: commands for the shell of a jail are not imitated");
                    self.warn(format!("{text}: failed"));
                    return Ok(false);
                }
            };
            self.step()?;
            let words: Vec<&str> = argv.iter().map(String::as_str).collect();
            let mut said = Reply::default();
            let status = in_jail(self.kernel, self.jid.unwrap_or_default(), &words, &mut said)?;
            let absent = status.is_none();
            if !self.log(said)? {
                return Ok(false);
            }
            if absent {
                self.warn(format!("exec {}: No such file or directory", words[0]));
            }
            if status != Some(0) {
                self.warn(format!("{text}: failed"));
                return Ok(false);
            }
            if words[0].ends_with("tcpdrop") {
                take_connection(self.host, self.name)?;
            }
        }
        Ok(true)
    }

    /// Passes on what was said in the jail: to exec.consolelog, if there is one.
    fn log(&mut self, said: Reply) -> Result<bool> {
        let Some(file) = self.jail.scalar("exec.consolelog") else {
            self.reply.out.push_str(&said.out);
            self.reply.err.push_str(&said.err);
            return Ok(true);
        };
        let text = said.out + &said.err;
        let log = OpenOptions::new().append(true).create(true).open(self.host.path(file));
        match log.and_then(|mut log| log.write_all(text.as_bytes())) {
            Ok(()) => Ok(true),
            Err(cause) => {
                self.warn(format!("open {file}: {}", reason(&cause)));
                Ok(false)
            }
        }
    }
}

/// Words, of which those in single quotes may have blanks.
fn quoted_words(line: &str) -> Vec<String> {
    let (mut words, mut open) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '\'' => open = !open,
            ' ' if !open => words.push(String::new()),
            c => words.last_mut().expect("there is one").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
