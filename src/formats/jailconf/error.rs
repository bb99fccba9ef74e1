//! Positions, and what can be wrong with a configuration.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub(super) file: Arc<Path>,
    pub(super) line: usize,
    pub(super) offset: usize,
}

impl Position {
    /// The file, named as the command line or the `.include` named it.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The offset in bytes from the start of the file.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

/// `FILE line N`, as jail(8) writes it.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}", self.file.display(), self.line)
    }
}

/// What is wrong with a configuration.
///
/// The text is what jail(8) prints after `jail: `, wherever it has something to
/// say; each variant that has no counterpart there says so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A token that cannot stand where it is.
    Syntax {
        /// The end of the token, which is the line jail(8) names.
        at: Position,
        /// The token, as it stands in the file.
        text: String,
    },
    /// The file ends inside a block or a statement.
    UnexpectedEnd {
        /// The end of the file.
        at: Position,
    },
    /// A comment, string or variable without its end.
    Unterminated {
        /// Where the search for the end was given up.
        at: Position,
        /// `comment`, `string` or `variable`.
        what: &'static str,
    },
    /// A name or value that is not UTF-8. jail(8) does not mind.
    NotUtf8 {
        /// The end of the value.
        at: Position,
    },
    /// A block inside others whose full name is beyond any use
    /// ([`NAME_LIMIT`](super::NAME_LIMIT)). jail(8) continues until its parser's
    /// stack or memory is full.
    NameTooLong {
        /// The start of the block.
        at: Position,
    },
    /// A file name in `.include` that holds a variable.
    IncludeVariable {
        /// The end of the statement.
        at: Position,
    },
    /// Files that include each other more than 32 levels deep.
    IncludeDepth {
        /// The end of the statement that goes one too deep. jail(8) does not
        /// name it.
        at: Position,
    },
    /// A pattern in `.include` that could not be expanded.
    Glob {
        /// The end of the statement.
        at: Position,
        /// The pattern, made absolute as far as the including file is.
        pattern: String,
        /// The cause, which jail(8) does not print.
        cause: String,
    },
    /// A file that cannot be read.
    Read {
        /// The file.
        file: Arc<Path>,
        /// The end of the `.include` that asks for it, if one does.
        at: Option<Position>,
        /// What kind of error it was.
        kind: io::ErrorKind,
        /// The cause in words.
        cause: String,
    },
    /// A reference to a variable or parameter that is not set or has no value.
    NotFound {
        /// The jail.
        jail: String,
        /// The parameter that refers to it.
        param: String,
        /// What is missing.
        variable: String,
        /// Where the parameter is set.
        at: Position,
    },
    /// A variable whose value refers back to it.
    Loop {
        /// The jail.
        jail: String,
        /// The parameter that closes the loop. jail(8) does not name it.
        param: String,
        /// The variable.
        variable: String,
        /// Where the parameter is set.
        at: Position,
    },
    /// A list referred to within a longer string.
    ArrayInline {
        /// The jail.
        jail: String,
        /// The parameter.
        param: String,
        /// The list. jail(8) does not name it.
        variable: String,
        /// Where the parameter is set.
        at: Position,
    },
    /// A variable and a parameter of one name.
    NameClash {
        /// The jail.
        jail: String,
        /// The common name.
        name: String,
        /// Where the second of the two is set.
        at: Position,
    },
    /// A `name` or `jid` that the name of the block or an earlier statement has
    /// set for good.
    Redefined {
        /// The jail.
        jail: String,
        /// The parameter.
        name: String,
        /// Where it is set again.
        at: Position,
    },
    /// Variables that multiply beyond
    /// [`EXPANSION_LIMIT`](super::EXPANSION_LIMIT). jail(8) continues until
    /// memory is full.
    TooLong {
        /// The jail.
        jail: String,
        /// The parameter.
        param: String,
        /// Where it is set.
        at: Position,
    },
    /// A list substituted as a whole: documented, but jail(8) crashes on it
    /// (config.c, `free_var`). Only ever a warning.
    ListSubstituted {
        /// The jail.
        jail: String,
        /// The parameter.
        param: String,
        /// The list.
        variable: String,
        /// Where the parameter is set.
        at: Position,
    },
}

impl Error {
    pub(super) fn read(file: Arc<Path>, at: Option<Position>, error: &io::Error) -> Error {
        Error::Read { file, at, kind: error.kind(), cause: cause(error) }
    }

    /// Where the error is, if it is in a file that could be read.
    pub fn position(&self) -> Option<&Position> {
        match self {
            Error::Syntax { at, .. }
            | Error::UnexpectedEnd { at }
            | Error::Unterminated { at, .. }
            | Error::NotUtf8 { at }
            | Error::NameTooLong { at }
            | Error::IncludeVariable { at }
            | Error::IncludeDepth { at }
            | Error::Glob { at, .. }
            | Error::NotFound { at, .. }
            | Error::Loop { at, .. }
            | Error::ArrayInline { at, .. }
            | Error::NameClash { at, .. }
            | Error::Redefined { at, .. }
            | Error::TooLong { at, .. }
            | Error::ListSubstituted { at, .. } => Some(at),
            Error::Read { at, .. } => at.as_ref(),
        }
    }

    /// The parameter or variable an error of [`Resolved`](super::Resolved) is
    /// about.
    pub fn param(&self) -> Option<&str> {
        match self {
            Error::NotFound { param, .. }
            | Error::Loop { param, .. }
            | Error::ArrayInline { param, .. }
            | Error::TooLong { param, .. }
            | Error::ListSubstituted { param, .. } => Some(param),
            Error::NameClash { name, .. } | Error::Redefined { name, .. } => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Syntax { at, text } => write!(f, "{at}: {text}: syntax error"),
            Error::UnexpectedEnd { at } => write!(f, "{}: unexpected EOF", at.file.display()),
            Error::Unterminated { at, what } => write!(f, "{at}: unterminated {what}"),
            Error::NotUtf8 { at } => write!(f, "{at}: not UTF-8"),
            Error::NameTooLong { at } => write!(f, "{at}: jail name too long"),
            Error::IncludeVariable { at } => {
                write!(f, "{at}: variables not permitted in '.include' filename")
            }
            Error::IncludeDepth { .. } => f.write_str("maximum include depth exceeded"),
            Error::Glob { pattern, .. } => write!(f, "{pattern}: filename glob failed"),
            Error::Read { file, cause, .. } => write!(f, "{}: {cause}", file.display()),
            Error::NotFound { jail, param, variable, .. } => {
                write!(f, "{jail}: {param}: variable \"{variable}\" not found")
            }
            Error::Loop { jail, variable, .. } => write!(f, "{jail}: {variable}: variable loop"),
            Error::ArrayInline { jail, param, .. } => {
                write!(f, "{jail}: {param}: array cannot be substituted inline")
            }
            Error::NameClash { jail, name, .. } => {
                write!(f, "{jail}: variable \"${name}\" cannot have the same name as a parameter.")
            }
            Error::Redefined { jail, name, .. } => {
                write!(f, "{jail}: cannot redefine parameter \"{name}\".")
            }
            Error::TooLong { jail, param, .. } => write!(f, "{jail}: {param}: value too long"),
            Error::ListSubstituted { jail, param, variable, .. } => {
                write!(f, "{jail}: {param}: jail(8) crashes on the list \"{variable}\" as a value")
            }
        }
    }
}

impl std::error::Error for Error {}

/// The words of strerror(3), without the number Rust adds: the text is compared
/// with and printed next to that of jail(8).
fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), error.kind()) {
        (None, io::ErrorKind::NotFound) => "No such file or directory".to_owned(),
        (None, io::ErrorKind::PermissionDenied) => "Permission denied".to_owned(),
        _ => match text.split_once(" (os error ") {
            Some((words, _)) => words.to_owned(),
            None => text,
        },
    }
}
