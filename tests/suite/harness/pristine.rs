//! A host that can be put back as it was.

use crate::harness::host::Host;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A copy of everything below the root of a host.
pub struct Pristine(PathBuf);

impl Pristine {
    /// Copies a host as it is now.
    pub fn of(stage: &Host) -> Pristine {
        let place = stage.root().with_file_name("pristine");
        copy(&stage.root(), &place);
        Pristine(place)
    }

    /// Puts the host back.
    pub fn restore(&self, stage: &Host) {
        fs::remove_dir_all(stage.root()).unwrap();
        copy(&self.0, &stage.root());
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}
