//! Makes a split template from the list of a real base: `basetree BASE SKELETON`; or an archive of it before it is split:
//! `basetree --archive FILE RELEASE`, which prints the line for MANIFEST.

#[path = "../bench/basetree.rs"]
mod basetree;

use basetree::Certificates;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let made = match arguments.as_slice() {
        [archive, file, release] if archive == "--archive" => {
            let release = release.to_string_lossy();
            // FreeBSD 15 has copies of the certificates where those before it have links.
            let files =
                release.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|m: u32| m >= 15);
            let certificates = if files { Certificates::Files } else { Certificates::Links };
            basetree::archive(file.as_ref(), certificates, &release)
                .map(|()| print!("{}", basetree::manifest(file.as_ref())))
        }
        [base, skeleton] => basetree::split(base.as_ref(), skeleton.as_ref(), Certificates::Links),
        _ => {
            eprintln!("usage: basetree base skeleton\n       basetree --archive file release");
            return ExitCode::from(2);
        }
    };
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("basetree: {e}");
            ExitCode::FAILURE
        }
    }
}
