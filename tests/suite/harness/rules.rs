//! What holds for every line that a program of the suite tells a user.

/// Traces of values that were printed for programmers.
const ARTEFACTS: [&str; 11] = [
    "os error",
    "Some(",
    "Ok(",
    "Err(",
    "Os {",
    "kind: ",
    "\\\"",
    "\\u{",
    "panicked at",
    "RUST_BACKTRACE",
    "{}",
];

/// What is wrong with a line of standard error, if anything is. Without
/// `program` it may be a command, as `-v` tells them.
pub fn flaw(program: Option<&str>, line: &str) -> Option<String> {
    let rest = match program {
        Some(program) => match line.strip_prefix(program).and_then(|rest| rest.strip_prefix(": ")) {
            Some(rest) => rest,
            None => return Some(format!("does not start with \"{program}: \"")),
        },
        None => line,
    };
    if let Some(artefact) = ARTEFACTS.iter().find(|artefact| rest.contains(*artefact)) {
        return Some(format!("has {artefact:?}"));
    }
    if rest.chars().any(char::is_control) {
        return Some("has a control character".into());
    }
    // A command may end as it likes.
    program?;
    if rest.trim() != rest || rest.is_empty() {
        return Some("begins or ends with a blank".into());
    }
    let ellipsis = rest.ends_with("...") || rest.ends_with("..");
    if (rest.ends_with([':', ';', ',']) && !rest.ends_with("\";")) || rest.ends_with('.') && !ellipsis {
        return Some("ends with a mark".into());
    }
    if rest.contains(": : ") || rest.contains(": ; ") || rest.contains("  ") {
        return Some("has an empty part".into());
    }
    let parts: Vec<&str> = rest.split(": ").collect();
    parts.windows(2).find(|w| w[0] == w[1]).map(|w| format!("says {:?} twice", w[0]))
}

/// Holds what a program wrote to standard error against the rules.
#[track_caller]
pub fn hold<S: AsRef<std::ffi::OsStr>>(program: &str, arguments: &[S], stderr: &[u8]) {
    let text = std::str::from_utf8(stderr).unwrap_or_else(|e| panic!("{program}: standard error: {e}"));
    if text.starts_with("error: ") {
        match usage_flaw(program, text) {
            Some(flaw) => panic!("{program}: {flaw}"),
            None => return,
        }
    }
    let verbose = arguments
        .iter()
        .filter_map(|a| a.as_ref().to_str())
        .any(|a| a == "--verbose" || a.starts_with('-') && !a.starts_with("--") && a.contains('v'));
    for line in text.lines() {
        if let Some(flaw) = flaw(Some(program).filter(|_| !verbose), line) {
            panic!("{program}: a line of standard error {flaw}: {line}");
        }
    }
}

/// What is wrong with a usage error, which is as clap prints it: the error, then
/// the usage or what is wrong with a value, then how to continue.
pub fn usage_flaw(program: &str, text: &str) -> Option<String> {
    let usage = text.lines().any(|line| line.starts_with(&format!("Usage: {program}")));
    if !text.ends_with("\nFor more information, try '--help'.\n") {
        return Some(format!("no hint at the help: {text}"));
    }
    if !usage && !text.contains("invalid value") && !text.contains("a value is required") {
        return Some(format!("no usage: {text}"));
    }
    if let Some(artefact) = ARTEFACTS.iter().find(|artefact| text.contains(*artefact)) {
        return Some(format!("has {artefact:?}: {text}"));
    }
    text.contains(|c: char| c.is_control() && c != '\n').then(|| format!("has a control character: {text:?}"))
}
