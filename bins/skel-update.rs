//! skel-update(8): bring a template to the next patch level.

use std::process::ExitCode;
use thinjail::cli::{self, SkelUpdate};
use thinjail::update;

fn main() -> ExitCode {
    cli::run::<SkelUpdate>(update::run)
}
