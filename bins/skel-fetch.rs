//! skel-fetch(8): get, verify and unpack the base of a release.

use std::process::ExitCode;
use thinjail::cli::{self, SkelFetch};
use thinjail::fetch;

fn main() -> ExitCode {
    cli::run::<SkelFetch>(fetch::run)
}
