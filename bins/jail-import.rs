//! jail-import(8): a jail from an exported one.

fn main() -> std::process::ExitCode {
    thinjail::commands::jail_import::main()
}
