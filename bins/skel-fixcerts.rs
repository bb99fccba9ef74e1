//! skel-fixcerts(8): repair links that climb out of a skeleton.

use std::process::ExitCode;
use thinjail::cli::{self, Fixcerts};
use thinjail::fixcerts;

fn main() -> ExitCode {
    cli::run::<Fixcerts>(fixcerts::run)
}
