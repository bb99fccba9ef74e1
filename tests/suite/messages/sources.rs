//! The texts of messages, read from the sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A text, as the sources have it: `{...}` is what is put in.
pub struct Template {
    pub text: String,
    /// The files that have it, with lines.
    pub places: String,
}

/// What takes texts that are nothing told by itself: help, effects that are
/// named in a message of their own, words to look for or to join with.
const TAKES_OTHER_TEXTS: [&str; 27] = [
    "flag",
    "long",
    "value",
    "Program",
    "Operand",
    "all",
    "required",
    "optional",
    "join",
    "split",
    "split_once",
    "rsplit_once",
    "replace",
    "starts_with",
    "ends_with",
    "strip_prefix",
    "strip_suffix",
    "trim_start_matches",
    "contains",
    "says",
    "with_context",
    "format_args",
    "errnos",
    "kinds",
    "debug_assert",
    "repeatable",
    "map_or_else",
];

/// Sources that tell nobody anything.
const SILENT: [&str; 8] = [
    "src/system/effect/inject.rs",
    "src/system/kernel/simulated/mod.rs",
    "src/system/kernel/simulated/bridge.rs",
    "src/system/kernel/simulated/state.rs",
    "src/formats/shell.rs",
    "src/formats/diff.rs",
    "src/formats/mtree.rs",
    "src/system/kernel/announced.rs",
];

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Text(String),
    Word(String),
    Mark(char),
}

/// The tokens of a source, with their lines.
fn tokens(source: &str) -> Vec<(Token, usize)> {
    let chars: Vec<char> = source.chars().collect();
    let (mut at, mut line, mut tokens) = (0, 1, Vec::new());
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    while at < chars.len() {
        let start = at;
        match get(at) {
            '/' if get(at + 1) == '/' => at += chars[at..].iter().take_while(|c| **c != '\n').count(),
            'r' | 'b' if is_raw(&chars[at..]) && !(at > 0 && is_word(get(at - 1))) => {
                at += usize::from(get(at) == 'b') + 1;
                let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
                at += hashes + 1;
                let body = at;
                while !(get(at) == '"' && (0..hashes).all(|n| get(at + 1 + n) == '#')) {
                    at += 1;
                }
                tokens.push((Token::Text(chars[body..at].iter().collect()), line));
                at += hashes + 1;
            }
            '"' => {
                at += 1;
                let mut text = String::new();
                while get(at) != '"' {
                    if get(at) == '\\' {
                        at += 1;
                        match get(at) {
                            '\n' => {
                                while get(at + 1).is_whitespace() {
                                    at += 1;
                                }
                            }
                            'n' => text.push('\n'),
                            't' => text.push('\t'),
                            'r' => text.push('\r'),
                            c => text.push(c),
                        }
                    } else {
                        text.push(get(at));
                    }
                    at += 1;
                }
                at += 1;
                tokens.push((Token::Text(text), line));
            }
            '\'' if get(at + 1) == '\\' => {
                at += 3;
                while get(at) != '\'' {
                    at += 1;
                }
                at += 1;
            }
            '\'' if get(at + 2) == '\'' => at += 3,
            c if is_word(c) => {
                while is_word(get(at)) {
                    at += 1;
                }
                tokens.push((Token::Word(chars[start..at].iter().collect()), line));
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push((Token::Mark(c), line));
                }
                at += 1;
            }
        }
        line += chars[start..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_raw(rest: &[char]) -> bool {
    let rest = if rest[0] == 'b' { &rest[1..] } else { rest };
    let after = rest.iter().skip(1).find(|c| **c != '#');
    rest.first() == Some(&'r') && after == Some(&'"')
}

/// The number of tokens from `at` on up to the end of what is in brackets.
fn bracketed(tokens: &[(Token, usize)], at: usize) -> usize {
    let mut depth = 0;
    for (n, (token, _)) in tokens[at..].iter().enumerate() {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') if depth == 1 => return n + 1,
            Token::Mark(')' | ']' | '}') => depth -= 1,
            Token::Mark(';') if depth == 0 => return n + 1,
            _ => {}
        }
    }
    tokens.len() - at
}

/// The tokens without most attributes and what is compiled for tests only.
fn without_tests(tokens: Vec<(Token, usize)>) -> Vec<(Token, usize)> {
    let word = |at: usize, word: &str| matches!(tokens.get(at), Some((Token::Word(w), _)) if w == word);
    let mark = |at: usize, mark: char| matches!(tokens.get(at), Some((Token::Mark(m), _)) if *m == mark);
    let (mut keep, mut at) = (vec![true; tokens.len()], 0);
    while at < tokens.len() {
        let inner = usize::from(mark(at + 1, '!'));
        // thiserror's attribute has the text of an error.
        if !mark(at, '#') || !mark(at + 1 + inner, '[') || word(at + 2, "error") {
            at += 1;
            continue;
        }
        let mut end = at + 1 + inner + bracketed(&tokens, at + 1 + inner);
        if word(at + 2, "cfg") && word(at + 4, "test") {
            while !mark(end, '{') && !mark(end, ';') {
                end += 1;
            }
            end += bracketed(&tokens, end);
        }
        keep[at..end].fill(false);
        at = end;
    }
    tokens.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(token, _)| token).collect()
}

/// What a text is an argument of.
fn taker(tokens: &[(Token, usize)], at: usize) -> String {
    let mut depth = 0;
    for n in (0..at).rev() {
        match &tokens[n].0 {
            Token::Mark(')' | ']' | '}') => depth += 1,
            Token::Mark('(' | '[' | '{') if depth == 0 => {
                let word = |at: Option<usize>| match at.and_then(|at| tokens.get(at)) {
                    Some((Token::Word(word), _)) => Some(word.clone()),
                    _ => None,
                };
                return word(n.checked_sub(1)).or_else(|| word(n.checked_sub(2))).unwrap_or_default();
            }
            Token::Mark('(' | '[' | '{') => depth -= 1,
            _ => {}
        }
    }
    String::new()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// The words of a text, without what is put in.
fn words(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('{', Some('{')) | ('}', Some('}')) => {
                rest.next();
                pieces.last_mut().unwrap().push(c);
            }
            ('{', _) => {
                while rest.next().is_some_and(|c| c != '}') {}
                pieces.push(String::new());
            }
            _ => pieces.last_mut().unwrap().push(c),
        }
    }
    pieces
}

/// The longest run of words of a text.
pub fn longest_words(text: &str) -> Option<String> {
    words(text).into_iter().map(|p| p.trim().to_owned()).max_by_key(String::len)
}

/// Whether a line has a text with something put in.
pub fn fits(text: &str, line: &str) -> bool {
    let mut pieces = words(text);
    let trimmed = pieces.last().map(|p| p.trim_end().trim_end_matches('.').to_owned()).unwrap_or_default();
    *pieces.last_mut().unwrap() = trimmed;
    let mut rest = line;
    for (n, piece) in pieces.iter().enumerate().filter(|(_, p)| !p.is_empty()) {
        match rest.find(piece.as_str()) {
            // Something must be put in where something can be.
            Some(at) if n == 0 || at > 0 || n + 1 == pieces.len() => rest = &rest[at + piece.len()..],
            Some(_) => return false,
            None => return false,
        }
    }
    true
}

/// All texts of several words that the sources of these directories tell.
pub fn templates(src: &Path, bins: &Path) -> Vec<Template> {
    let mut files = Vec::new();
    collect(src, &mut files);
    collect(bins, &mut files);
    files.sort();
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let name = file.strip_prefix(src.parent().unwrap()).unwrap().display().to_string();
        if SILENT.contains(&name.as_str()) {
            continue;
        }
        let tokens = without_tests(tokens(&fs::read_to_string(&file).unwrap()));
        for (at, (token, line)) in tokens.iter().enumerate() {
            let Token::Text(text) = token else { continue };
            let pieces = words(text);
            let letters = |piece: &String| piece.chars().filter(|c| c.is_ascii_alphabetic()).count();
            let told = text.trim().contains(' ') && pieces.iter().map(letters).sum::<usize>() >= 4;
            if told && !TAKES_OTHER_TEXTS.contains(&taker(&tokens, at).as_str()) {
                all.entry(text.replace('\n', "\\n").replace('\t', "\\t"))
                    .or_default()
                    .push(format!("{name}:{line}"));
            }
        }
    }
    all.into_iter().map(|(text, places)| Template { text, places: places.join(", ") }).collect()
}
