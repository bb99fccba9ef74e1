//! jail-list(8): the thin jails of this host.

use std::process::ExitCode;
use thinjail::cli::{self, JailList};
use thinjail::list;

fn main() -> ExitCode {
    cli::run::<JailList>(list::run)
}
