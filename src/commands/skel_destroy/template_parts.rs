//! What a template consists of, whatever it is kept in.

use crate::domain::layout::{Layout, MOVED, SKELETON};
use crate::domain::settings::Settings;
use crate::domain::template::{self, RELEASE_PROPERTY};
use crate::formats::rcconf;
use crate::system::file::{self, RemoveFile};
use crate::system::host::Host;
use crate::system::plan::Plan;
use crate::system::tree::RemoveTree;
use crate::system::zfs::{self, DatasetProperties};
use crate::types::release::Release;
use crate::types::sibling_name;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// A template as it is found, and how it goes.
#[derive(Default)]
pub(super) struct TemplateParts {
    /// What goes, in words.
    pub(super) goes: Vec<String>,
    /// The steps after which it is no template any longer, which can be undone.
    pub(super) plan: Plan,
    /// Those that destroy it.
    pub(super) clear: Plan,
    /// Those that destroy what shows that something remains.
    pub(super) last: Plan,
}

impl TemplateParts {
    pub(super) fn goes(&mut self, what: &str, shown: &str) {
        self.goes.push(format!("{what:<10}{shown}"));
    }
}

/// What zfs(8) is asked, once: every start of it costs more than the answer.
const ASKED: [&str; 8] =
    ["type", "mounted", "mountpoint", "origin", "createtxg", "clones", "userrefs", RELEASE_PROPERTY];

/// Behind the name of a base, the dataset that skel-fetch(8) unpacks it in.
pub(super) const UNPACKING: &str = "unpacking";

/// The layout, and the properties of the datasets and snapshots of a template.
pub(super) fn layout(
    host: &Host,
    settings: &Settings,
    release: &Release,
) -> Result<(Layout, Vec<DatasetProperties>)> {
    let mut rows = Vec::new();
    if let Some(top) = &settings.jail_zfs {
        let base = Layout::base_dataset(top, release)?;
        let unpacking = format!("{base}.{UNPACKING}");
        let (skeleton, destroying) =
            (Layout::skeleton_dataset(top, release)?, template::destroying_dataset(top, release)?);
        let datasets =
            [top.as_str(), base.as_str(), skeleton.as_str(), destroying.as_str(), unpacking.as_str()];
        rows = zfs::query(host.tools(), &datasets, 1, &ASKED)?;
    }
    Ok((Layout::from_properties(host, settings, &rows)?, rows))
}

/// Whether a symbolic link of a base (a real path) leads to its skeleton.
pub(super) fn is_linked(base: &Path) -> Result<bool> {
    for moved in MOVED {
        let link = base.join(moved);
        if file::look(&link)?.is_some_and(|there| there.is_symlink()) {
            let text = fs_err::read_link(&link)?;
            let mut names = text.components().skip_while(|c| matches!(c, std::path::Component::ParentDir));
            if names.next().is_some_and(|first| first.as_os_str() == SKELETON) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether the record that skel-fetch(8) writes under directory storage (a real
/// path) is of that release.
pub(super) fn is_recorded(record: &Path, release: &Release) -> Result<bool> {
    if !file::look(record)?.is_some_and(|there| there.is_file()) {
        return Ok(false);
    }
    let assignments = rcconf::parse(&fs_err::read(record)?).unwrap_or_default();
    Ok(assignments.iter().any(|a| a.name == "release" && a.value == release.as_str()))
}

/// What killed runs left of a template, next to it.
pub(super) enum Leftover {
    Tree(PathBuf),
    File(PathBuf),
}

impl Leftover {
    pub(super) fn shown(&self) -> String {
        let (Leftover::Tree(path) | Leftover::File(path)) = self;
        path.display().to_string()
    }

    pub(super) fn remove(self, plan: &mut Plan) {
        match self {
            Leftover::Tree(path) => plan.push(RemoveTree { path }),
            Leftover::File(path) => plan.push(RemoveFile { path }),
        }
    }
}

/// What killed runs of all programs left of a template.
pub(super) fn leftovers(host: &Host, layout: &Layout, release: &Release) -> Result<Vec<Leftover>> {
    let mut left = Vec::new();
    for (name, path) in names(host, layout)? {
        let Some(there) = file::look(&path)? else { continue };
        match (is_leftover(&name, release), there.is_dir()) {
            (true, true) => left.push(Leftover::Tree(path)),
            (true, false) if there.is_file() => left.push(Leftover::File(path)),
            _ => {}
        }
    }
    Ok(left)
}

/// Whether a name among the templates is one that only a killed run leaves.
pub(super) fn is_leftover(name: &str, release: &Release) -> bool {
    let of_release =
        name.strip_prefix('.').and_then(|rest| rest.strip_prefix(release.as_str())?.strip_prefix('-'));
    let Some(rest) = of_release else { return false };
    let hidden = |suffix: &str| {
        rest.strip_suffix(suffix).is_some_and(|part| {
            matches!(part, "base" | "skeleton" | "base.origin")
                || part.strip_prefix("skeleton@").is_some_and(|snapshot| !snapshot.is_empty())
        })
    };
    rest == "update.conf" || [".thinjail", ".before", ".failed"].into_iter().any(hidden)
}

/// The names in the directory of the templates, sorted, with their real paths.
pub(super) fn names(host: &Host, layout: &Layout) -> Result<Vec<(String, PathBuf)>> {
    let templates = host.root().host_path(&layout.templates());
    let mut names = Vec::new();
    if file::look(&templates)?.is_some() {
        for entry in fs_err::read_dir(&templates)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push((name, entry.path()));
            }
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The newest other release that has a skeleton.
pub(super) fn newest_other(host: &Host, layout: &Layout, release: &Release) -> Result<Option<Release>> {
    let others = names(host, layout)?.into_iter().filter_map(|(name, _)| {
        let other: Release = name.strip_suffix("-skeleton")?.parse().ok()?;
        (other != *release).then_some(other)
    });
    Ok(others.max_by_key(|other| (other.version(), other.as_str().to_owned())))
}

/// The temporary name that a tree has while it is removed.
pub(super) fn aside(path: &Path) -> PathBuf {
    sibling_name::temporary(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_leftovers() {
        let release: Release = "14.5".parse().unwrap();
        for left in [
            ".14.5-RELEASE-base.thinjail",
            ".14.5-RELEASE-base.before",
            ".14.5-RELEASE-skeleton.failed",
            ".14.5-RELEASE-skeleton@base.1.thinjail",
            ".14.5-RELEASE-base.origin.thinjail",
            ".14.5-RELEASE-update.conf",
        ] {
            assert!(is_leftover(left, &release), "{left}");
        }
        for other in [
            "14.5-RELEASE-base",
            ".14.5-RELEASE-base",
            ".14.5-RELEASE-other.thinjail",
            ".14.5-RELEASE-skeleton@.thinjail",
            ".15.0-RELEASE-base.thinjail",
            ".14.5-RELEASE-p1-base.thinjail",
            "14.5-RELEASE-base.destroying",
        ] {
            assert!(!is_leftover(other, &release), "{other}");
        }
    }

    #[test]
    fn links_and_records() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        assert!(!is_linked(base).unwrap());
        std::os::unix::fs::symlink("elsewhere/var", base.join("var")).unwrap();
        assert!(!is_linked(base).unwrap());
        std::fs::create_dir(base.join("usr")).unwrap();
        std::os::unix::fs::symlink("../skeleton/usr/local", base.join("usr/local")).unwrap();
        assert!(is_linked(base).unwrap());
        let (record, release) = (base.join("record"), "14.5".parse().unwrap());
        assert!(!is_recorded(&record, &release).unwrap());
        for (text, expected) in [
            ("release=\"14.5-RELEASE\"\nsha256=\"x\"\n", true),
            ("release=\"15.0-RELEASE\"\n", false),
            ("noise $(x)\n", false),
        ] {
            std::fs::write(&record, text).unwrap();
            assert_eq!(is_recorded(&record, &release).unwrap(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_left_of_two_templates(name in "\\.?1[45]\\.[0-9]-(RELEASE|RC1)-(base|skeleton)(@[a-z.]{0,6})?\\.(thinjail|before|failed|x)") {
            let releases = ["14.5", "15.0", "14.5-RC1"].map(|r| r.parse::<Release>().unwrap());
            let of: Vec<_> = releases.iter().filter(|r| is_leftover(&name, r)).collect();
            prop_assert!(of.len() <= 1, "{of:?}");
            prop_assert!(of.is_empty() || name.starts_with('.'));
        }
    }
}
