//! skel-fetch(8): get, verify and unpack the base of a release.

fn main() -> std::process::ExitCode {
    thinjail::commands::skel_fetch::main()
}
