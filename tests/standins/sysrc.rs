//! sysrc(8): reads and edits files in the syntax of rc.conf(5).
//!
//! As in the real program values come out of sh(1), which runs the files, and edits are made line by line, so that
//! comments and everything else stay as they are.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use crate::Reply;
use crate::getopt::getopt;
use crate::host::{Host, replace};

/// Stands in for `/etc/defaults/rc.conf`, which sysrc reads first, where a test did not put one. A variable that is
/// listed there is never unknown, only empty.
const DEFAULTS: &str = "
hostname=
rc_debug=NO
cloned_interfaces=
defaultrouter=NO
gateway_enable=NO
ipv6_gateway_enable=NO
jail_enable=NO
jail_confwarn=YES
jail_parallel_start=NO
jail_list=
jail_reverse_stop=NO
rc_conf_files='/etc/rc.conf /etc/rc.conf.local'
zfs_enable=NO
";

/// Gives variables the way `f_sysrc_get` does: `$1` and on are the files, `$NAMES` the variables. Each ends with a NUL, and
/// begins with `=` if it is set at all.
const ASK: &str = r#"
for file; do if [ -r "$file" ]; then . "$file"; fi; done >/dev/null 2>&1
for NAME in $NAMES; do
    eval "if [ -n \"\${$NAME+set}\" ]; then printf '=%s\\0' \"\${$NAME}\"; else printf '\\0'; fi" 2>/dev/null
done
"#;

/// Texts that sh(1) found to be right.
static CHECKED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// What the options say.
#[derive(Default)]
struct Flags {
    check: bool,
    delete: bool,
    equals: bool,
    ignore: bool,
    no_name: bool,
    no_value: bool,
    quiet: bool,
    verbose: bool,
    files: Vec<PathBuf>,
}

/// How an operand with a value changes a variable.
enum Mode {
    Assign,
    Append,
    Remove,
}

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let Ok((options, words)) = getopt(args, "aAcdDeEf:Fhij:lLnNqR:s:vxX") else {
        return Ok(usage(reply));
    };
    let mut flags = Flags::default();
    let mut chroot = false;
    let mut files = Vec::new();
    for (letter, value) in options {
        match letter {
            'c' => flags.check = true,
            'e' => flags.equals = true,
            'f' => files.push(value),
            'i' => flags.ignore = true,
            'n' => flags.no_name = true,
            'N' => flags.no_value = true,
            'q' => (flags.quiet, flags.verbose) = (true, false),
            'R' => {
                // The suite knows one root only; anything else is a mistake in it.
                if host.inside(value.trim_end_matches('/')).as_deref() != Some("/") {
                    bail!("sysrc -R {value}: not the root of the simulated host");
                }
                chroot = true;
            }
            'v' => (flags.quiet, flags.verbose) = (false, true),
            'x' => flags.delete = true,
            'h' => return Ok(usage(reply)),
            other => bail!("sysrc -{other} is not imitated"),
        }
    }
    let real = |path: String| match host.inside(&path) {
        // With -R the real program goes there first, so that the path is one inside.
        Some(inside) if !chroot => host.path(&inside),
        _ => host.path(&path),
    };
    flags.files = match files.as_slice() {
        [] => ["/etc/rc.conf", "/etc/rc.conf.local"].map(|file| host.path(file)).into(),
        _ => files.into_iter().map(real).collect(),
    };
    if words.is_empty() {
        return Ok(usage(reply));
    }
    for word in &words {
        let name = name_and_mode(word).0;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !name.bytes().all(good) || name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
            reply.complain(format!("sysrc: {name}: name contains characters not allowed in shell"));
            return Ok(1);
        }
    }
    let _lock = host.lock()?;
    let mut status = 0;
    // What only asks needs one shell for all of it.
    let names: Vec<&str> = words.iter().map(|word| name_and_mode(word).0).collect();
    let asks = !flags.delete && words.iter().all(|word| name_and_mode(word).1.is_none());
    let known = if asks { read_all(host, &flags, &names)? } else { Vec::new() };
    for (at, word) in words.iter().enumerate() {
        let old = match known.get(at) {
            Some(old) => old.clone(),
            None => read(host, &flags, names[at])?,
        };
        if !one(host, &flags, word, old, reply)? {
            status = 1;
        }
    }
    Ok(status)
}

fn usage(reply: &mut Reply) -> u8 {
    reply.complain("Usage: sysrc [OPTIONS] {name[[+|-]=value] ... | -a | -A | -l | -L [name ...]}");
    reply.complain("Try `sysrc --help' for more information.");
    1
}

/// Takes an operand apart.
fn name_and_mode(word: &str) -> (&str, Option<(Mode, &str)>) {
    let Some((name, value)) = word.split_once('=') else {
        return (word, None);
    };
    if let Some(name) = name.strip_suffix('+') {
        (name, Some((Mode::Append, value)))
    } else if let Some(name) = name.strip_suffix('-') {
        (name, Some((Mode::Remove, value)))
    } else {
        (name, Some((Mode::Assign, value)))
    }
}

/// Does what one operand asks for. False if that failed.
fn one(host: &Host, flags: &Flags, word: &str, old: Option<String>, reply: &mut Reply) -> Result<bool> {
    let (name, change) = name_and_mode(word);
    let separator = if flags.equals && !flags.no_name { "=\"" } else { ": " };
    let quote = if flags.equals && !flags.no_name { "\"" } else { "" };
    let label = if flags.no_name { String::new() } else { format!("{name}{separator}") };
    // f_sysrc_find(): where the last assignment is, else the first file.
    let sets = |file: &&PathBuf| {
        text(file).is_ok_and(|text| text.lines().any(|line| assigned(line, name).is_some()))
    };
    let file = flags.files.iter().rfind(sets).unwrap_or(&flags.files[0]);
    let place = if flags.verbose { format!("{}: ", file.display()) } else { String::new() };
    let Some((mode, value)) = change else {
        let Some(old) = old else {
            if !flags.ignore && !flags.quiet {
                reply.complain(format!("sysrc: unknown variable '{name}'"));
            }
            return Ok(false);
        };
        if flags.check {
        } else if flags.delete {
            delete(file, name)?;
        } else if flags.no_value {
            reply.say(format!("{place}{name}"));
        } else {
            reply.say(format!("{place}{label}{old}{quote}"));
        }
        return Ok(true);
    };
    if flags.delete {
        delete(file, name)?;
        return Ok(true);
    }
    let known = old.is_some();
    let old = old.unwrap_or_default();
    let new = match mode {
        Mode::Assign => value.to_owned(),
        Mode::Append => append(&old, value),
        Mode::Remove => take_out(&old, value),
    };
    if flags.check {
        return Ok(known && old == new);
    }
    write(file, name, &new)?;
    if flags.no_value {
        reply.say(format!("{place}{name}"));
    } else {
        let after = read(host, flags, name)?.unwrap_or_default();
        let (before, arrow) =
            if quote.is_empty() { (old, " -> ".into()) } else { (format!("{old}\" #"), " -> \"".to_owned()) };
        reply.say(format!("{place}{label}{before}{arrow}{after}{quote}"));
    }
    Ok(true)
}

/// The value of a variable, none if it is not set anywhere.
fn read(host: &Host, flags: &Flags, name: &str) -> Result<Option<String>> {
    Ok(read_all(host, flags, &[name])?.pop().flatten())
}

/// The values of variables, from one shell.
fn read_all(host: &Host, flags: &Flags, names: &[&str]) -> Result<Vec<Option<String>>> {
    let own = host.path("/etc/defaults/rc.conf");
    let stock = host.state("rc.conf.defaults");
    let defaults = if own.exists() {
        own
    } else {
        fs::write(&stock, DEFAULTS).context("write the stock defaults")?;
        stock
    };
    let mut files = vec![defaults];
    files.extend(flags.files.iter().cloned());
    for file in files.iter().filter(|file| file.exists()) {
        // Once for each text: a run asks for many variables.
        let text = fs::read(file).context("rc.conf")?;
        let mut checked = CHECKED.lock().expect("one thread");
        if checked.contains(&text) {
            continue;
        }
        let result = Command::new("/bin/sh").arg("-n").arg(file).output();
        if !result.context("run sh")?.status.success() {
            bail!("sysrc: Exiting due to previous syntax errors");
        }
        checked.push(text);
    }
    let answer = Command::new("/bin/sh")
        .args(["-c", ASK, "sysrc"])
        .args(&files)
        .env_clear()
        .env("NAMES", names.join(" "))
        .stdin(Stdio::null())
        .output()
        .context("run sh")?;
    let text = String::from_utf8(answer.stdout).context("a value that is not UTF-8")?;
    let value = |text: &str| text.strip_prefix('=').map(|value| value.trim_end_matches('\n').to_owned());
    let values: Vec<Option<String>> = text.split_terminator('\0').map(value).collect();
    if values.len() != names.len() {
        bail!("sysrc: {} values for {} variables", values.len(), names.len());
    }
    Ok(values)
}

/// The delimiter of a list: the first character of what is to be added, unless that can be part of a word.
fn delimiter(value: &str) -> char {
    match value.chars().next() {
        Some(first) if !first.is_whitespace() && !first.is_ascii_alphanumeric() && !"./".contains(first) => {
            first
        }
        _ => ' ',
    }
}

/// The words of a list with that delimiter.
fn split(list: &str, delimiter: char) -> Vec<&str> {
    let between = |letter: char| match delimiter {
        ' ' => letter.is_ascii_whitespace(),
        other => letter == other,
    };
    list.split(between).filter(|word| !word.is_empty()).collect()
}

/// Adds the words that are not there yet.
fn append(old: &str, value: &str) -> String {
    let delimiter = delimiter(value);
    let present = split(old, delimiter);
    let mut new = old.to_owned();
    for word in split(value, delimiter) {
        if !present.contains(&word) {
            new.push(delimiter);
            new.push_str(word);
        }
    }
    new.strip_prefix(delimiter).unwrap_or(&new).to_owned()
}

/// Takes words out.
fn take_out(old: &str, value: &str) -> String {
    let delimiter = delimiter(value);
    let gone = split(value, delimiter);
    let kept: Vec<&str> = split(old, delimiter).into_iter().filter(|word| !gone.contains(word)).collect();
    kept.join(&delimiter.to_string())
}

/// What stands after `name=` in a line that assigns to it.
fn assigned<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.trim_start().strip_prefix(name).and_then(|rest| rest.strip_prefix('='))
}

/// The text of a file; an absent one is empty.
fn text(file: &PathBuf) -> Result<String> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(cause) => Err(cause).with_context(|| file.display().to_string()),
    }
}

/// Removes all assignments to a variable.
fn delete(file: &PathBuf, name: &str) -> Result<()> {
    let old = text(file)?;
    let kept: String = old.split_inclusive('\n').filter(|line| assigned(line, name).is_none()).collect();
    if kept == old {
        return Ok(());
    }
    replace(file, &kept)
}

/// Changes the last assignment to a variable, or adds one at the end.
fn write(file: &PathBuf, name: &str, value: &str) -> Result<()> {
    let mut lines: Vec<String> = text(file)?.lines().map(str::to_owned).collect();
    let last = lines.iter().rposition(|line| assigned(line, name).is_some());
    let changed = last.and_then(|at| {
        let old = assigned(&lines[at], name)?;
        let head = &lines[at][..lines[at].len() - old.len()];
        // The quotes stay as they are, and so does what follows the value.
        let (quote, rest) = match old.chars().next() {
            // Not written by sysrc, so it is left alone.
            Some('`' | '$' | '\\') => return None,
            Some(quote @ ('"' | '\'')) => (quote, old[1..].split_once(quote)?.1),
            _ => ('"', &old[old.find(char::is_whitespace).unwrap_or(old.len())..]),
        };
        Some((at, format!("{head}{quote}{value}{quote}{rest}")))
    });
    match changed {
        Some((at, line)) => lines[at] = line,
        None => lines.push(format!("{name}=\"{value}\"")),
    }
    replace(file, &(lines.join("\n") + "\n"))
}
