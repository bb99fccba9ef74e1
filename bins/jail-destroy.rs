//! jail-destroy(8): destroy a thin jail.

use std::process::ExitCode;
use thinjail::cli::{self, JailDestroy};
use thinjail::destroy;

fn main() -> ExitCode {
    cli::run::<JailDestroy>(destroy::run)
}
