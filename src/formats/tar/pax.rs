//! The records of an extended header (pax interchange format, tar(5)).

use super::{TarError, bad};

/// Names and values, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records(pub Vec<(String, Vec<u8>)>);

impl Records {
    pub fn add(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.to_owned(), value.to_vec()));
    }

    /// The records as the data of an extended header.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in &self.0 {
            // The length counts its own digits.
            let rest = 1 + name.len() + 1 + value.len() + 1;
            let mut length = rest + 1;
            while rest + length.to_string().len() != length {
                length = rest + length.to_string().len();
            }
            body.extend(format!("{length} {name}=").into_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        body
    }

    pub fn parse(mut body: &[u8]) -> Result<Records, TarError> {
        let mut records = Records::default();
        while !body.is_empty() {
            let blank = body.iter().take(20).position(|b| *b == b' ');
            let length = blank.and_then(|at| std::str::from_utf8(&body[..at]).ok()?.parse::<usize>().ok());
            let (Some(blank), Some(length)) = (blank, length) else {
                return bad("an extended header with a record without length");
            };
            let record = body.get(blank + 1..length).and_then(|record| record.strip_suffix(b"\n"));
            let equals = record.and_then(|record| record.iter().position(|b| *b == b'='));
            let (Some(record), Some(equals)) = (record, equals) else {
                return bad("an extended header with a record that is cut off");
            };
            let Ok(name) = std::str::from_utf8(&record[..equals]) else {
                return bad("an extended header with a name that is not text");
            };
            // The later one would count.
            if records.0.iter().any(|(known, _)| known == name) {
                return bad(format!("an extended header with two records {name}"));
            }
            records.add(name, &record[equals + 1..]);
            body = &body[length..];
        }
        Ok(records)
    }
}

/// A time, in seconds with nine decimals at most.
pub(super) fn time((seconds, nanoseconds): (i64, u32)) -> String {
    // The nanoseconds count upwards, and a negative time is written as one number.
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let (sign, total) = if total < 0 { ("-", -total) } else { ("", total) };
    format!("{sign}{}.{:09}", total / 1_000_000_000, total % 1_000_000_000)
}

pub(super) fn parse_time(text: &str) -> Option<(i64, u32)> {
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if seconds.is_empty() || !plain(seconds) || !plain(fraction) || fraction.len() > 9 {
        return None;
    }
    let total = i128::from(seconds.parse::<i64>().ok()?) * 1_000_000_000
        + i128::from(format!("{fraction:0<9}").parse::<u32>().ok()?);
    let total = if is_negative { -total } else { total };
    let (seconds, nanoseconds) = (total.div_euclid(1_000_000_000), total.rem_euclid(1_000_000_000));
    Some((i64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?))
}
