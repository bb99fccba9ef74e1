//! The directories that a base must have, as it says itself in etc/mtree
//! (mtree(5); freebsd-src: etc/mtree/BSD.var.dist).

use std::path::{Path, PathBuf};

/// PATH_MAX (freebsd-src: sys/sys/syslimits.h). No base has a longer path, and a
/// file of nothing but levels would otherwise need memory for the square of
/// their number.
const LONGEST: usize = 1024;

/// The directories of a specification, relative to its top, parents first.
/// What is not understood is passed over: the answer only helps to notice what
/// is missing.
pub fn directories(text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut here = PathBuf::new();
    let mut default = true;
    // A line continues after a backslash at its end.
    let text = text.replace("\\\n", " ");
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(name) = words.next().filter(|w| !w.starts_with('#')) else { continue };
        let mut directory = default;
        for kind in words.filter_map(|w| w.strip_prefix("type=")) {
            directory = kind == "dir";
        }
        match name {
            "/set" => default = directory,
            "/unset" => default = true,
            ".." => drop(here.pop()),
            "." => {}
            _ if !directory => {}
            _ if name.contains('/') => {
                found.extend(Some(plain(Path::new(name))).filter(|p| p.as_os_str().len() <= LONGEST));
            }
            _ => {
                here.push(name);
                if here.as_os_str().len() <= LONGEST {
                    found.push(here.clone());
                }
            }
        }
    }
    found
}

fn plain(path: &Path) -> PathBuf {
    path.components().filter(|c| matches!(c, std::path::Component::Normal(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_specification_of_base() {
        let text = "\
#
/set type=dir uname=root gname=wheel mode=0755 tags=package=runtime
.
    account         mode=0750
    ..
    db
        entropy     uname=operator gname=operator mode=0700 \\
                    tags=package=utilities
        ..
        etcupdate
        ..
    ..
    file type=file
    empty           mode=0555 flags=schg
    ..
..
";
        let names: Vec<String> = directories(text).iter().map(|p| p.display().to_string()).collect();
        assert_eq!(names, ["account", "db", "db/entropy", "db/etcupdate", "empty"]);
        assert_eq!(directories("./var/db type=dir\n./etc/rc type=file\n"), [PathBuf::from("var/db")]);
    }

    #[test]
    fn levels_without_end() {
        let found = directories(&"a\n".repeat(20_000));
        assert_eq!((found.len(), found[511].as_os_str().len()), (512, 1023));
        assert!(directories(&"a/".repeat(1000)).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_too_much(text in "[a/. \\n\\\\#=]*") {
            for path in directories(&text) {
                prop_assert!(path.is_relative());
            }
        }
    }
}
