//! Names of files and directories next to another one: where it is prepared, and
//! what is kept of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Bytes that the temporary name adds to the target's.
pub const TEMPORARY_OVERHEAD: usize = ".".len() + ".".len() + SUFFIX.len();
const SUFFIX: &str = "thinjail";

/// The name under which a file is prepared next to its target: always the same,
/// so that the next run finds what a killed one left, and never matched by the
/// `*.conf` of an `.include`.
pub fn temporary(target: &Path) -> PathBuf {
    hidden(target, SUFFIX)
}

/// Whether a name is one of those that [`temporary`] gives.
pub fn is_temporary(name: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(SUFFIX)?.strip_suffix('.'));
    inner.is_some_and(|inner| !inner.is_empty())
}

/// `.NAME.SUFFIX` next to NAME.
pub fn hidden(target: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".");
    name.push(suffix);
    target.with_file_name(name)
}

/// `NAME.SUFFIX` next to NAME.
pub fn suffixed(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let web = Path::new("/j/web.conf");
        assert_eq!(temporary(web), Path::new("/j/.web.conf.thinjail"));
        assert_eq!(hidden(web, "before"), Path::new("/j/.web.conf.before"));
        assert_eq!(suffixed(web, "part"), Path::new("/j/web.conf.part"));
        for (name, expected) in [
            (".web.conf.thinjail", true),
            (".x.thinjail", true),
            ("..thinjail", false),
            (".thinjail", false),
            ("web.thinjail", false),
            (".xthinjail", false),
        ] {
            assert_eq!(is_temporary(name), expected, "{name}");
        }
        assert_eq!(TEMPORARY_OVERHEAD, temporary(web).as_os_str().len() - web.as_os_str().len());
    }
}
