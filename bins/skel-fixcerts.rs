//! skel-fixcerts(8): repair links that climb out of a skeleton.

fn main() -> std::process::ExitCode {
    thinjail::commands::skel_fixcerts::main()
}
