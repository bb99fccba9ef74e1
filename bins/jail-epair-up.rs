//! jail-epair-up(8): the exec.prestart hook.

fn main() -> std::process::ExitCode {
    thinjail::commands::jail_epair_up::main()
}
