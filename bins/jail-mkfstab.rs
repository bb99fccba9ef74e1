//! jail-mkfstab(8): write or check a jail's fstab.

fn main() -> std::process::ExitCode {
    thinjail::commands::jail_mkfstab::main()
}
