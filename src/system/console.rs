//! Standard output, standard error and the terminal: one line a message, and nothing that controls a terminal.

use crate::formats::printable;
use crate::system::effect;
use anyhow::{Result, bail};
use std::io::{self, BufRead, IsTerminal, Write};

/// An error on one line, outermost first, with what to do if something can be
/// done.
pub fn line(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = without_number(&cause.to_string());
        // Wrappers that already end in their source's text would say it twice,
        // and so would those whose source begins with theirs.
        parts.pop_if(|last| text.strip_prefix(&**last).is_some_and(|rest| rest.starts_with(": ")));
        if !parts.last().is_some_and(|last| last.ends_with(&text)) {
            parts.push(text);
        }
    }
    let mut text: String = parts.join(": ").split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
    // The words of other programs may be a sentence.
    if !text.ends_with("..") && text.ends_with('.') {
        text.pop();
    }
    // A file name may hold anything; the message stays one line.
    text = printable::line(&text);
    if lacks_privilege(error) && !rustix::process::geteuid().is_root() {
        text.push_str(" (must be run as root)");
    }
    text
}

/// Removes "(os error 2)", which the standard library appends to the words that
/// say the same.
fn without_number(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => words.push_str(rest),
            _ => words.push_str(&format!(" (os error {part}")),
        }
    }
    words
}

fn lacks_privilege(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let kernel = cause.downcast_ref::<crate::types::errno::KernelError>().map(|r| r.errno);
        io == Some(io::ErrorKind::PermissionDenied) || kernel == Some(crate::types::errno::Errno::EPERM)
    })
}

/// Prints a notice or a warning on standard error.
pub fn note(program: &str, text: &str) {
    complain(&format!("{program}: {}", printable::line(&without_number(text))));
}

/// Prints to standard output; a reader that went away is no error.
pub fn print(text: &[u8]) -> io::Result<()> {
    match effect::print(text) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints lines for people; nothing in them controls a terminal.
pub fn print_text(text: &str) -> io::Result<()> {
    print(printable::text(text).as_bytes())
}

/// Prints a JSON document on one line.
pub fn print_json(document: &serde_json::Value) -> io::Result<()> {
    print(format!("{}\n", printable::json(document)).as_bytes())
}

/// Reports what was done, on a line of standard output. If that cannot be
/// written, the work is done all the same.
pub fn report(program: &str, text: &str) {
    if let Err(e) = print_text(&format!("{}\n", printable::line(text))) {
        note(program, &format!("standard output: {e}"));
    }
}

/// One line to standard error. A failure is ignored: a transaction must not end
/// halfway because standard error is closed.
#[expect(clippy::disallowed_methods, reason = "its failure cannot be reported")]
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable::text(text));
}

/// Asks on the terminal, once; whether the answer is yes.
pub fn ask(text: &str) -> Result<bool> {
    if !can_ask() {
        bail!("standard input is not a terminal; use -y");
    }
    Ok(matches!(question(&format!("{text} [y/N]"))?.as_str(), "y" | "Y" | "yes"))
}

/// Whether standard input is a terminal, so that a question can be answered.
pub fn can_ask() -> bool {
    io::stdin().is_terminal()
}

/// Asks on the terminal; the answer, without blanks around it.
#[expect(clippy::disallowed_methods, reason = "a question is no effect")]
pub fn question(text: &str) -> Result<String> {
    io::stderr().write_all(format!("{} ", printable::line(text)).as_bytes())?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn one_line_outermost_first() {
        let cause = io::Error::from_raw_os_error(2);
        let words = without_number(&cause.to_string());
        let error = anyhow::Error::new(cause).context("open /x\ny").context("settings");
        assert_eq!(line(&error), format!("settings: open /x y: {words}"));
        assert!(!words.contains("os error"), "{words}");
        let twice = anyhow::anyhow!("remove /x: gone").context("remove /x").context("fix");
        assert_eq!(line(&twice), "fix: remove /x: gone");
        assert_eq!(without_number("a (os error 39): b (os error 2); c (os error x)"), "a: b; c (os error x)");
        let result: Result<(), io::Error> = Err(io::ErrorKind::NotFound.into());
        let error = result.context("a\tb").unwrap_err();
        assert!(line(&error).starts_with("a\\011b: "), "{}", line(&error));
    }
}
