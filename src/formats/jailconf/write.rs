//! Writing values, and taking a block out of a file.

use std::ops::Range;

/// A value or name as it must be written in jail.conf(5) to read back verbatim:
/// bare if it consists of letters, digits, dots, dashes and underscores only, as
/// jail.conf(5) advises, otherwise as [`quote_literal`] writes it.
pub fn quote(text: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !text.is_empty() && text.bytes().all(bare) { text.to_owned() } else { quote_literal(text) }
}

/// A value in double quotes that reads back verbatim.
///
/// Double quotes with `\$` rather than single quotes, so that what the suite
/// writes has one form, whatever the value. A NUL is written as an escape, but
/// no jail.conf(5) can hold one: the value ends there when it is read.
pub fn quote_literal(text: &str) -> String {
    quoted(text, true)
}

/// A value in double quotes in which `$name` and `${name}` stand for variables.
/// All else reads back verbatim.
pub fn quote_with_variables(text: &str) -> String {
    quoted(text, false)
}

fn quoted(text: &str, verbatim: bool) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '\\' | '"' => quoted.extend(['\\', c]),
            '$' if verbatim => quoted.push_str("\\$"),
            // A line break is legal, but hides where the value ends; and people
            // must be able to see the others.
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // Three digits, or the next character might become one of them.
            '\0'..='\x1f' | '\x7f' => quoted.push_str(&format!("\\{:03o}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A file without one block, every other byte as it was.
///
/// Lines that hold nothing but the block and blanks go with it; if anything
/// shares a line with it, a comment even, only the block itself is removed. A
/// range beyond the text removes nothing: the file is not the one the range is
/// of.
pub fn cut(text: &[u8], block: Range<usize>) -> Vec<u8> {
    let (Some(before), Some(_), Some(after)) =
        (text.get(..block.start), text.get(block.clone()), text.get(block.end..))
    else {
        return text.to_vec();
    };
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r');
    let indent = before.iter().rev().take_while(|b| blank(b)).count();
    let trail = after.iter().take_while(|b| blank(b)).count();
    let before_line = before.split_at(before.len() - indent).0;
    let after_line = after.split_at(trail).1;
    let starts_line = before_line.last().is_none_or(|&b| b == b'\n');
    match after_line.split_first() {
        None if starts_line => before_line.to_vec(),
        Some((b'\n', after_line)) if starts_line => [before_line, after_line].concat(),
        _ => [before, after].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        for (text, expected) in [
            ("web", "web"),
            ("192.168.7.10", "192.168.7.10"),
            ("", r#""""#),
            ("/zdata/jails", r#""/zdata/jails""#),
            ("a b", r#""a b""#),
            ("$5", r#""\$5""#),
            (r#"a"b\c'd"#, r#""a\"b\\c'd""#),
            ("a\n\t\r", r#""a\n\t\r""#),
            ("\u{1b}1", r#""\0331""#),
        ] {
            assert_eq!(quote(text), expected);
        }
        assert_eq!(quote_with_variables("${a}\"$b"), r#""${a}\"$b""#);
    }

    #[test]
    fn cutting() {
        for (text, block, expected) in [
            ("a;\nw { }\nb;\n", "w { }", "a;\nb;\n"),
            ("a;\n  w {\n  }  \nb;\n", "w {\n  }", "a;\nb;\n"),
            ("a;\nw { }", "w { }", "a;\n"),
            ("a; w { } b;\n", "w { }", "a;  b;\n"),
            ("w { } # web\nb;\n", "w { }", " # web\nb;\n"),
            ("w { }\r\nb;\r\n", "w { }", "b;\r\n"),
        ] {
            let start = text.find(block).unwrap();
            let rest = cut(text.as_bytes(), start..start + block.len());
            assert_eq!(String::from_utf8(rest).unwrap(), expected);
        }
        assert_eq!(cut(b"abc", 2..4), b"abc");
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = 2..1;
        assert_eq!(cut(b"abc", reversed), b"abc");
    }
}
