//! The escapes of fstab(5): vis(3) octal, as jail(8) and getfsent(3) read them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Encodes a path for an fstab field. `#` is encoded too because jail(8) sees
/// a comment in it anywhere (freebsd-src: usr.sbin/jail/config.c).
pub fn encode(path: &OsStr) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for b in path.as_bytes() {
        if b.is_ascii_graphic() && !matches!(b, b'\\' | b'#' | b'"') || *b >= 0x80 {
            out.push(*b);
        } else {
            out.extend(format!("\\{b:03o}").bytes());
        }
    }
    out
}

/// Decodes a field as strunvis(3) does. `None` for an escape that it refuses.
pub fn decode(field: &[u8]) -> Option<OsString> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field.iter().copied().peekable();
    while let Some(b) = rest.next() {
        if b != b'\\' {
            out.push(b);
            continue;
        }
        out.push(match rest.next()? {
            first @ b'0'..=b'7' => {
                let mut value = u32::from(first - b'0');
                for _ in 0..2 {
                    match rest.peek() {
                        Some(digit @ b'0'..=b'7') => {
                            value = value * 8 + u32::from(digit - b'0');
                            rest.next();
                        }
                        _ => break,
                    }
                }
                u8::try_from(value).ok().filter(|b| *b != 0)?
            }
            b'x' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let value = digit(rest.next())? * 16 + digit(rest.next())?;
                u8::try_from(value).ok().filter(|b| *b != 0)?
            }
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b's' => b' ',
            b'a' => 7,
            b'b' => 8,
            b'v' => 11,
            b'f' => 12,
            b'E' => 27,
            same @ (b'\\' | b'#' | b'"') => same,
            _ => return None,
        });
    }
    Some(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_documented_escapes() {
        assert_eq!(encode(OsStr::new("/a b\t#c\\")), br"/a\040b\011\043c\134");
        assert_eq!(decode(br"/a\040b\011\043c\134").unwrap(), "/a b\t#c\\");
        assert_eq!(decode(br"\sx").unwrap(), " x");
        for bad in [&br"\"[..], br"\q", br"\000", br"\777", br"\x4"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(bytes in proptest::collection::vec(1u8.., 0..40)) {
            let path = OsString::from_vec(bytes);
            let field = encode(&path);
            prop_assert!(field.iter().all(|b| !b.is_ascii_whitespace() && *b != b'#'));
            prop_assert_eq!(decode(&field).unwrap(), path);
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
