//! jail-setup(8): prepares a host for thin jails.

fn main() -> std::process::ExitCode {
    thinjail::commands::jail_setup::main()
}
