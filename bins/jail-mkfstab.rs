//! jail-mkfstab(8): write or check a jail's fstab.

use std::process::ExitCode;
use thinjail::cli::{self, Mkfstab};
use thinjail::mkfstab;

fn main() -> ExitCode {
    cli::run::<Mkfstab>(mkfstab::run)
}
