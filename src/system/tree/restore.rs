//! Making a tree what another one is, entry by entry, in place.

use super::apply::apply;
use super::threeway::{self, MergePolicy, MergeRule, TreeRoots};
use crate::formats::diff::MergedText;
use anyhow::Result;
use std::path::Path;

/// Makes the tree `into` what the tree `from` is. What is the same stays as it
/// is, so that those who use it notice nothing; what differs is replaced under
/// its name, never written to.
pub fn restore(from: &Path, into: &Path) -> Result<()> {
    // Of three trees of which two are alike, the third is what comes out.
    let found = threeway::compare(TreeRoots { ancestor: into, theirs: into, ours: from }, &Plain)?;
    apply(&found, from, into, &mut |_| ())
}

/// No entry is peculiar.
struct Plain;

impl MergePolicy for Plain {
    fn rule(&self, _path: &Path) -> MergeRule {
        MergeRule::Merge
    }

    fn merge(&self, _path: &Path, _ancestor: &[u8], _ours: &[u8], _theirs: &[u8]) -> Option<MergedText> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn every_kind_of_difference_goes() {
        let dir = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| dir.path().join(name));
        for top in [&old, &new] {
            for sub in ["same", "gone/deep", "was a directory"] {
                fs::create_dir_all(top.join(sub)).unwrap();
            }
            fs::write(top.join("same/file"), "same").unwrap();
            fs::write(top.join("text"), "old").unwrap();
            fs::write(top.join("mode"), "mode").unwrap();
            fs::write(top.join("gone/deep/file"), "back again").unwrap();
            symlink("old", top.join("link")).unwrap();
        }
        crate::system::tree::remove(&new).unwrap();
        crate::system::tree::copy(&old, &new).unwrap();
        let kept = fs::metadata(new.join("same/file")).unwrap().ino();
        fs::write(new.join("text"), "new").unwrap();
        fs::set_permissions(new.join("mode"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::remove_dir_all(new.join("gone")).unwrap();
        fs::remove_dir(new.join("was a directory")).unwrap();
        fs::write(new.join("was a directory"), "a file").unwrap();
        fs::remove_file(new.join("link")).unwrap();
        symlink("new", new.join("link")).unwrap();
        fs::create_dir(new.join("added")).unwrap();
        fs::write(new.join("added/file"), "added").unwrap();
        restore(&old, &new).unwrap();
        assert_eq!(crate::system::tree::difference(&old, &new).unwrap(), None);
        assert_eq!(fs::metadata(new.join("same/file")).unwrap().ino(), kept);
        restore(&old, &new).unwrap();
    }
}
