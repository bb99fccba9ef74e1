//! What share/completions ask: the words that may follow on a command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    thinjail::commands::thinjail_complete::run(
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()),
    )
}
