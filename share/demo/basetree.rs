//! Makes a split template from the list of a real base: `basetree BASE SKELETON`.

#[path = "../bench/basetree.rs"]
mod basetree;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(base), Some(skeleton)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: basetree base skeleton");
        return ExitCode::from(2);
    };
    match basetree::split(base.as_ref(), skeleton.as_ref(), basetree::Certificates::Links) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("basetree: {e}");
            ExitCode::FAILURE
        }
    }
}
