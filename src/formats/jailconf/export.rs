//! The text of `jail -e`.

use super::Resolved;

/// The line `jail -e SEPARATOR` prints for a jail, without the newline.
///
/// After print_jail() and quoted_print() in jail.c. Variables and the jid are
/// left out. The text is for people and for comparing: a comma inside a value
/// and one between two values look alike.
pub fn export_line(jail: &Resolved, separator: &str) -> String {
    let params = jail.params.iter().filter(|param| !param.is_variable && param.name != "jid");
    let params = params.map(|param| {
        let values: Vec<String> = param.values.iter().map(|value| shown(value)).collect();
        match values.as_slice() {
            [] => param.name.clone(),
            values => format!("{}={}", param.name, values.join(",")),
        }
    });
    params.collect::<Vec<_>>().join(separator)
}

/// A value with quotes if it is empty or holds blanks or quotes.
fn shown(value: &str) -> String {
    let quote = if value.is_empty() || value.contains('\'') {
        Some('"')
    } else if value.contains('"') {
        Some('\'')
    } else if value.contains([' ', '\t']) {
        Some('"')
    } else {
        None
    };
    let mut text = String::with_capacity(value.len() + 2);
    text.extend(quote);
    for c in value.chars() {
        if c == '\\' || Some(c) == quote {
            text.push('\\');
        }
        text.push(c);
    }
    text.extend(quote);
    text
}
