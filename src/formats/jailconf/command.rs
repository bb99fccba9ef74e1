//! How jail(8) runs one string of exec.start and its like.

/// What becomes of a command string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing but blanks: skipped.
    Nothing,
    /// Run as it is, the first word being the program.
    Exec {
        /// Program and arguments.
        argv: Vec<String>,
        /// Whether it is started and left alone: neither waited for nor its
        /// status looked at.
        background: bool,
    },
    /// Run as `/bin/sh -c` with this text.
    Shell(String),
}

/// Returns how jail(8) runs a command string, after run_command() in command.c.
///
/// A string with any of ``! " $ & ' ( ) * ; < > ? [ \ ] ` { | } ~`` goes to the
/// shell. Any other is split at blanks, without a thought of quotes. If the
/// first such character is an `&` that ends the string, it is dropped, the rest
/// is split, and the command is run in the background.
///
/// Variables have been substituted before: what is looked at is a value of
/// [`Resolved`](super::Resolved).
pub fn command_words(command: &str) -> Command {
    let special = command.find(|c| "!\"$&'()*;<>?[\\]`{|}~".contains(c));
    let (text, background) = match special.map(|at| command.split_at(at)) {
        None => (command, false),
        Some((text, "&")) => (text, true),
        Some(_) => return Command::Shell(command.to_owned()),
    };
    let blanks = [' ', '\t', '\x0c', '\x0b', '\r', '\n'];
    let words = text.split(blanks).filter(|word| !word.is_empty());
    let argv: Vec<String> = words.map(str::to_owned).collect();
    if argv.is_empty() { Command::Nothing } else { Command::Exec { argv, background } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(words: &[&str], background: bool) -> Command {
        Command::Exec { argv: words.iter().map(|&word| word.to_owned()).collect(), background }
    }

    #[test]
    fn commands() {
        for (text, expected) in [
            ("", Command::Nothing),
            (" \t\x0b\x0c\r\n", Command::Nothing),
            ("&", Command::Nothing),
            ("/bin/sh /etc/rc", exec(&["/bin/sh", "/etc/rc"], false)),
            ("  a\tb\n c ", exec(&["a", "b", "c"], false)),
            ("X=1 a #b %c", exec(&["X=1", "a", "#b", "%c"], false)),
            ("a b &", exec(&["a", "b"], true)),
            ("a b&", exec(&["a", "b"], true)),
            ("a & ", Command::Shell("a & ".to_owned())),
            ("a &&", Command::Shell("a &&".to_owned())),
            ("a; b &", Command::Shell("a; b &".to_owned())),
            ("echo 'a b'", Command::Shell("echo 'a b'".to_owned())),
        ] {
            assert_eq!(command_words(text), expected, "{text:?}");
        }
        for special in "!\"$&'()*;<>?[\\]`{|}~".chars() {
            let text = format!("a {special} b");
            assert_eq!(command_words(&text), Command::Shell(text.clone()));
        }
    }
}
