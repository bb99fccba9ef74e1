//! jail-destroy(8): destroy a thin jail.

fn main() -> std::process::ExitCode {
    thinjail::commands::jail_destroy::main()
}
