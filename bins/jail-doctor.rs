//! jail-doctor(8): what is wrong with a host of thin jails.

use std::process::ExitCode;
use thinjail::cli::{self, JailDoctor};
use thinjail::doctor;

fn main() -> ExitCode {
    cli::run::<JailDoctor>(doctor::run)
}
