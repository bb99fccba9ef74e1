//! Text that is safe to print on a terminal. Names of files, values of parameters
//! and output of other programs may contain any byte, and many of them are chosen
//! by a jail's root.
//!
//! Characters that control a terminal or reorder a line are written as vis(3)
//! writes them, in octal, byte by byte: `\033`, `\302\233`.

use serde_json::Value;

/// Whether a character does something to a terminal instead of being shown
/// there: the control characters of ASCII and of ISO 6429 (C1, U+0080 to
/// U+009F), and those of Unicode that turn the direction of writing.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text for one line: no line break, no tab.
pub fn line(text: &str) -> String {
    escape(text, |_| false)
}

/// Text of several lines: line breaks and tabs stay.
pub fn text(text: &str) -> String {
    escape(text, |c| matches!(c, '\n' | '\t'))
}

/// Several lines of bytes that need not be UTF-8, such as the contents of a
/// file. What is not UTF-8 is escaped too.
pub fn bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(&text(chunk.valid()));
        octal(&mut out, chunk.invalid());
    }
    out
}

/// A JSON document on one line. Its strings stay what they are for the program
/// that reads them.
pub fn json(document: &Value) -> String {
    let mut out = String::new();
    for c in document.to_string().chars() {
        match c {
            // All of them are in the basic plane.
            c if is_unsafe(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn escape(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) && !stays(c) {
            octal(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(c);
        }
    }
    out
}

fn octal(out: &mut String, bytes: &[u8]) {
    for b in bytes {
        out.push_str(&format!("\\{b:03o}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_controls_a_terminal_is_spelled_out() {
        assert_eq!(line("a\x1b[2J\tb\u{9b}c\u{202e}d\u{7f}"), r"a\033[2J\011b\302\233c\342\200\256d\177");
        assert_eq!(text("a\tb\nc\rd"), "a\tb\nc\\015d");
        assert_eq!(bytes(b"\xc3\xa4\xff\x9b\n"), "ä\\377\\233\n");
        assert_eq!(line("Größe: 文 und '\\'"), "Größe: 文 und '\\'");
        assert_eq!(json(&serde_json::json!({ "a": "\u{9b}\x1b" })), r#"{"a":"\u009b\u001b"}"#);
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(any in any::<String>(), raw in any::<Vec<u8>>()) {
            prop_assert!(!line(&any).chars().any(is_unsafe));
            for shown in [text(&any), bytes(&raw)] {
                prop_assert!(!shown.chars().any(|c| is_unsafe(c) && !"\n\t".contains(c)));
            }
            let document = json(&Value::String(any.clone()));
            prop_assert!(!document.chars().any(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<Value>(&document).unwrap(), Value::String(any));
        }
    }
}
