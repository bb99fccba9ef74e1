//! Where the built programs are.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The built program of that name.
pub fn bin(name: &str) -> PathBuf {
    let path = match name {
        "jail-epair-up" => env!("CARGO_BIN_EXE_jail-epair-up"),
        "jail-epair-down" => env!("CARGO_BIN_EXE_jail-epair-down"),
        "jail-setup" => env!("CARGO_BIN_EXE_jail-setup"),
        "jail-sweep" => env!("CARGO_BIN_EXE_jail-sweep"),
        "jail-mkfstab" => env!("CARGO_BIN_EXE_jail-mkfstab"),
        "jail-rebase" => env!("CARGO_BIN_EXE_jail-rebase"),
        "jail-clone" => env!("CARGO_BIN_EXE_jail-clone"),
        "jail-destroy" => env!("CARGO_BIN_EXE_jail-destroy"),
        "jail-export" => env!("CARGO_BIN_EXE_jail-export"),
        "jail-import" => env!("CARGO_BIN_EXE_jail-import"),
        "jail-list" => env!("CARGO_BIN_EXE_jail-list"),
        "jail-doctor" => env!("CARGO_BIN_EXE_jail-doctor"),
        "skel-destroy" => env!("CARGO_BIN_EXE_skel-destroy"),
        "skel-fetch" => env!("CARGO_BIN_EXE_skel-fetch"),
        "skel-split" => env!("CARGO_BIN_EXE_skel-split"),
        "skel-update" => env!("CARGO_BIN_EXE_skel-update"),
        "skel-fixcerts" => env!("CARGO_BIN_EXE_skel-fixcerts"),
        "thinjail-complete" => env!("CARGO_BIN_EXE_thinjail-complete"),
        _ => panic!("no program {name}"),
    };
    path.into()
}

/// Installs a program that a test then runs. A file that this process itself had open for writing could fail to run
/// with "Text file busy": a child process that another test starts at the same moment inherits the descriptor.
pub fn install_program(from: &Path, to: &Path) {
    let status =
        Command::new("install").args(["-m", "755"]).args([from, to]).status().expect("start install(1)");
    assert!(status.success(), "install {} {}", from.display(), to.display());
}
