//! rc.conf(5) syntax: assignments as sh(1) reads them, parsed and never run.

use thiserror::Error;

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The line it starts on, from 1.
    pub line: usize,
    /// The variable.
    pub name: String,
    /// The value, quotes removed.
    pub value: String,
}

/// A text that is more than assignments.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// Reads all assignments in order. Expansions (`$x`, `$(...)`, backquotes) and
/// commands are refused: the file is data.
pub fn parse(text: &[u8]) -> Result<Vec<Assignment>, SyntaxError> {
    let mut reader = Reader { text, at: 0, line: 1 };
    let mut assignments = Vec::new();
    while reader.skip_blank() {
        assignments.push(reader.assignment()?);
    }
    Ok(assignments)
}

/// A value in quotes that sh(1) and [`parse`] read back.
pub fn quote(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let b = self.peek()?;
        self.at += 1;
        if b == b'\n' {
            self.line += 1;
        }
        Some(b)
    }

    fn error<T>(&self, what: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError { line: self.line, what: what.into() })
    }

    /// Skips blanks, separators and comments; false at the end.
    fn skip_blank(&mut self) -> bool {
        while let Some(b) = self.peek() {
            match b {
                b' ' | b'\t' | b'\n' | b'\r' | b';' => {
                    self.next();
                }
                b'#' => while !matches!(self.next(), None | Some(b'\n')) {},
                b'\\' if self.text.get(self.at + 1) == Some(&b'\n') => {
                    self.next();
                    self.next();
                }
                _ => return true,
            }
        }
        false
    }

    fn assignment(&mut self) -> Result<Assignment, SyntaxError> {
        let line = self.line;
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') {
            self.next();
        }
        let name = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
        if name.is_empty() || name.as_bytes()[0].is_ascii_digit() || self.peek() != Some(b'=') {
            let rest: Vec<u8> =
                self.text[start..].iter().copied().take_while(|b| *b != b'\n').take(40).collect();
            return self
                .error(format!("not an assignment: {}", String::from_utf8_lossy(&rest).escape_debug()));
        }
        self.next();
        let bytes = self.value()?;
        match String::from_utf8(bytes) {
            Ok(value) => Ok(Assignment { line, name, value }),
            Err(_) => self.error(format!("{name}: the value is not UTF-8")),
        }
    }

    fn value(&mut self) -> Result<Vec<u8>, SyntaxError> {
        let mut value = Vec::new();
        while let Some(b) = self.peek() {
            match b {
                b' ' | b'\t' | b'\n' | b'\r' | b';' => break,
                b'"' | b'\'' => self.quoted(b, &mut value)?,
                b'\\' => {
                    self.next();
                    match self.next() {
                        None => return self.error("backslash at the end of the file"),
                        Some(b'\n') => {}
                        Some(b) => value.push(b),
                    }
                }
                b'$' | b'`' => return self.error(NO_EXPANSIONS),
                b'&' | b'|' | b'<' | b'>' | b'(' | b')' => {
                    return self.error(format!("'{}' outside quotes", char::from(b)));
                }
                _ => {
                    self.next();
                    value.push(b);
                }
            }
        }
        Ok(value)
    }

    /// Reads up to the closing quote. Only double quotes know escapes, and would
    /// know expansions.
    fn quoted(&mut self, quote: u8, value: &mut Vec<u8>) -> Result<(), SyntaxError> {
        let opened = self.line;
        self.next();
        while let Some(b) = self.next() {
            match b {
                _ if b == quote => return Ok(()),
                _ if quote == b'\'' => value.push(b),
                b'$' | b'`' => return self.error(NO_EXPANSIONS),
                b'\\' => match self.next() {
                    Some(b @ (b'"' | b'\\' | b'$' | b'`')) => value.push(b),
                    Some(b'\n') | None => {}
                    Some(b) => value.extend([b'\\', b]),
                },
                _ => value.push(b),
            }
        }
        self.line = opened;
        self.error(format!("the quotation mark {} is not closed", char::from(quote)))
    }
}

const NO_EXPANSIONS: &str = "expansions are not supported; write the value itself";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        parse(text.as_bytes()).unwrap().into_iter().map(|a| (a.line, a.name, a.value)).collect()
    }

    #[test]
    fn what_sysrc_and_people_write() {
        let text = "# comment\njail_zfs=\"zdata/jails\"  # where\nbsd_ver='14.5'\n\njail_net6=\"\" jail_gateway6=\"\"\nx=a\\ b\"c\"'d'; y=\n";
        let expect = [
            (2, "jail_zfs", "zdata/jails"),
            (3, "bsd_ver", "14.5"),
            (5, "jail_net6", ""),
            (5, "jail_gateway6", ""),
            (6, "x", "a bcd"),
            (6, "y", ""),
        ];
        assert_eq!(pairs(text), expect.map(|(l, n, v)| (l, n.to_owned(), v.to_owned())));
        assert_eq!(pairs("a=\"x\\\"y\\n\""), [(1, "a".into(), "x\"y\\n".into())]);
        assert_eq!(pairs("a=\"two\nlines\"\nb=1").last().unwrap().0, 3);
        assert!(pairs("").is_empty());
    }

    #[test]
    fn what_is_refused_and_where() {
        for (text, line) in [
            ("a=$(id)", 1),
            ("\na=\"$(id)\"", 2),
            ("a=`id`", 1),
            ("a=\"${b}\"", 1),
            ("a=1\nb=\"open\nc=2\n", 2),
            ("a='open", 1),
            ("export a=1", 1),
            (". /etc/rc.conf", 1),
            ("a =1", 1),
            ("1a=1", 1),
            ("a=1 && b=2", 1),
            ("a=(1)", 1),
            ("a=1\\", 1),
        ] {
            let e = parse(text.as_bytes()).expect_err(text);
            assert_eq!(e.line, line, "{text:?}: {e}");
        }
        assert!(parse(b"a=\xff").is_err());
    }

    proptest! {
        #[test]
        fn single_quotes_hold_anything(value in "[^'\\x00]{0,30}") {
            let text = format!("a='{value}'\n");
            let got = parse(text.as_bytes()).unwrap();
            prop_assert_eq!(&got[0].value, &value);
        }

        #[test]
        fn what_was_quoted_is_read_back(value in "[^\\x00]{0,30}") {
            let got = parse(format!("a={}\n", quote(&value)).as_bytes()).unwrap();
            prop_assert_eq!(&got[0].value, &value);
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = parse(&text);
        }
    }
}
