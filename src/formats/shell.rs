//! Quoting for sh(1), so that what a dry run prints can be pasted.

use crate::formats::printable;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// One word for sh(1), always on one line. What controls a terminal and bytes that
/// are not UTF-8 need the `$'...'` form, which sh(1) of FreeBSD knows.
pub fn quote(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(b);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Ok(text) if !text.chars().any(printable::is_unsafe) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let mut out = String::from("$'");
            for b in bytes {
                match b {
                    b'\n' => out.push_str("\\n"),
                    b'\t' => out.push_str("\\t"),
                    b'\'' | b'\\' => out.extend(['\\', char::from(*b)]),
                    b' '..=b'~' => out.push(char::from(*b)),
                    // Three digits, so that a digit may follow.
                    _ => out.push_str(&format!("\\{b:03o}")),
                }
            }
            out.push('\'');
            out
        }
    }
}

/// A whole command line.
pub fn line<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// A command that writes `contents` to standard output, on one line.
pub fn print(contents: &[u8]) -> String {
    let mut format = String::new();
    for (at, b) in contents.iter().enumerate() {
        match b {
            // Not an option of printf(1).
            b'-' if at == 0 => format.push_str("\\055"),
            b'\n' => format.push_str("\\n"),
            b'\t' => format.push_str("\\t"),
            b'\\' => format.push_str("\\\\"),
            b'%' => format.push_str("%%"),
            b' '..=b'~' => format.push(char::from(*b)),
            _ => format.push_str(&format!("\\{b:03o}")),
        }
    }
    format!("printf {}", quote(format))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn echoed(script: &str) -> Vec<u8> {
        // sh(1) of some systems lacks $'...'; FreeBSD's has it, and so has bash.
        let shell = if cfg!(target_os = "freebsd") { "/bin/sh" } else { "bash" };
        Command::new(shell).args(["-c", script]).output().unwrap().stdout
    }

    #[test]
    fn plain_words_stay() {
        assert_eq!(line(["/sbin/ifconfig", "epair5a", "mtu", "1500"]), "/sbin/ifconfig epair5a mtu 1500");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote("a\nb"), r"$'a\nb'");
        assert_eq!(print(b"-a-"), r"printf '\055a-'");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_shell_reads_back_what_was_quoted(bytes in proptest::collection::vec(1u8.., 0..20)) {
            let quoted = quote(OsStr::from_bytes(&bytes));
            prop_assert!(!quoted.contains('\n'));
            prop_assert_eq!(&echoed(&format!("printf %s {quoted}")), &bytes);
            prop_assert_eq!(&echoed(&print(&bytes)), &bytes);
        }
    }
}
