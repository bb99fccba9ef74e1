//! jail-doctor(8): what is wrong with a host of thin jails.

fn main() -> std::process::ExitCode {
    thinjail::commands::jail_doctor::main()
}
