//! jail-clone(8): a new jail.

fn main() -> std::process::ExitCode {
    thinjail::commands::jail_clone::main()
}
