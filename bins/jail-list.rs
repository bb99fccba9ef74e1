//! jail-list(8): the thin jails of this host.

fn main() -> std::process::ExitCode {
    thinjail::commands::jail_list::main()
}
