//! Options as getopt(3) of FreeBSD reads them.
//!
//! It differs from the one of GNU in what matters here: it stops at the first operand. A suite that puts options after
//! operands would work on a lenient stand-in and fail on the real system.

/// One option as given, with its argument if it takes one.
pub type Given = (char, String);

/// Why a command line cannot be read.
pub enum Bad {
    /// An option that does not exist.
    Unknown(char),
    /// An option that lacks its argument.
    Missing(char),
}

/// Splits arguments into options and operands. `letters` is written as for getopt(3): a colon after a letter means that
/// the option takes an argument.
pub fn getopt(args: &[String], letters: &str) -> Result<(Vec<Given>, Vec<String>), Bad> {
    let mut given = Vec::new();
    let mut rest = args.iter();
    while let Some(word) = rest.as_slice().first() {
        let Some(cluster) = word.strip_prefix('-').filter(|text| !text.is_empty()) else {
            break;
        };
        rest.next();
        if cluster == "-" {
            break;
        }
        let mut chars = cluster.chars();
        while let Some(letter) = chars.next() {
            let at = letters.find(letter).filter(|_| letter != ':').ok_or(Bad::Unknown(letter))?;
            if !letters[at + letter.len_utf8()..].starts_with(':') {
                given.push((letter, String::new()));
                continue;
            }
            let value = match chars.as_str() {
                "" => rest.next().ok_or(Bad::Missing(letter))?.clone(),
                attached => attached.to_owned(),
            };
            given.push((letter, value));
            break;
        }
    }
    Ok((given, rest.as_slice().to_vec()))
}
