//! jail-sweep(8): the exec.prepare and exec.release hook.

fn main() -> std::process::ExitCode {
    thinjail::commands::jail_sweep::main()
}
