//! jail-rebase(8): move a thin jail to another release.

fn main() -> std::process::ExitCode {
    thinjail::commands::jail_rebase::main()
}
