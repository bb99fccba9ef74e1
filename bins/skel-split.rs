//! skel-split(8): move the writable directories of a base into its skeleton.

fn main() -> std::process::ExitCode {
    thinjail::commands::skel_split::main()
}
