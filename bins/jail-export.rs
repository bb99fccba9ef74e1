//! jail-export(8): a jail as one stream.

fn main() -> std::process::ExitCode {
    thinjail::commands::jail_export::main()
}
