//! skel-split(8): move the writable directories of a base into its skeleton.

use std::process::ExitCode;
use thinjail::cli::{self, SkelSplit};
use thinjail::split;

fn main() -> ExitCode {
    cli::run::<SkelSplit>(split::run)
}
