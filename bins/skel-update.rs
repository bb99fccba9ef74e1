//! skel-update(8): bring a template to the next patch level.

fn main() -> std::process::ExitCode {
    thinjail::commands::skel_update::main()
}
