//! skel-destroy(8): destroy a template, or what no jail needs of one.

fn main() -> std::process::ExitCode {
    thinjail::commands::skel_destroy::main()
}
