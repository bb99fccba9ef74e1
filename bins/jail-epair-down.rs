//! jail-epair-down(8): the exec.poststop hook.

fn main() -> std::process::ExitCode {
    thinjail::commands::jail_epair_down::main()
}
