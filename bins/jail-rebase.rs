//! jail-rebase(8): move a thin jail to another release.

use std::process::ExitCode;
use thinjail::cli::{self, JailRebase};
use thinjail::rebase;

fn main() -> ExitCode {
    cli::run::<JailRebase>(rebase::run)
}
