//! A template: base and skeleton of a release, and the skeleton's snapshots.

use crate::domain::base_version;
use crate::domain::jail_view::{JailRootView, LookupResult, Symlinks};
use crate::domain::layout::{BASE_SNAPSHOT, Layout, MOVED, SKELETON, Storage};
use crate::system::file;
use crate::system::host::Host;
use crate::system::kernel;
use crate::system::zfs::{self, Dataset, MountProblem};
use crate::types::release::Release;
use crate::types::sibling_name;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// What skel-fetch(8) copies from the host: two hosts with the same release differ in
/// it.
pub const OF_HOST: [&str; 3] = ["etc/resolv.conf", "etc/localtime", "var/db/zoneinfo"];

/// Fails unless the template is there, split, and nobody stopped half-way
/// through making or updating it.
pub fn check(host: &Host, layout: &Layout, release: &Release) -> Result<()> {
    let (base, skeleton) =
        (host.root().host_path(&layout.base(release)), host.root().host_path(&layout.skeleton(release)));
    let Err(error) = check_trees(release, &base, &skeleton) else { return Ok(()) };
    check_not_destroyed(host, layout, release)?;
    // Advice to fetch or split a template that is only not mounted would make
    // the repair harder.
    check_in_place(host, layout, release)?;
    Err(error)
}

/// The user property that names the release of a base, and of a skeleton that is
/// being destroyed.
pub const RELEASE_PROPERTY: &str = "thinjail:release";

const DESTROYING: &str = "destroying";

/// The release whose base a name among the templates has while it is destroyed.
pub fn destroying_release(name: &str) -> Option<Release> {
    name.strip_suffix(DESTROYING)?.strip_suffix("-base.")?.parse().ok()
}

/// Where the base of a template is from the moment its destruction begins to that
/// at which it is complete.
pub fn destroying(base: &Path) -> PathBuf {
    sibling_name::suffixed(base, DESTROYING)
}

/// The dataset of the same.
pub fn destroying_dataset(top: &Dataset, release: &Release) -> Result<Dataset> {
    Ok(format!("{}.{DESTROYING}", Layout::base_dataset(top, release)?).parse()?)
}

/// Fails if a skel-destroy(8) that was killed left something of a template: to be
/// called before a message advises to create a tree that seems to be missing.
pub fn check_not_destroyed(host: &Host, layout: &Layout, release: &Release) -> Result<()> {
    let path = destroying(&host.root().host_path(&layout.base(release)));
    let is_left = match layout.storage() {
        Storage::Zfs(top) => zfs::exists(host.tools(), destroying_dataset(top, release)?.as_str())?,
        Storage::Directory => file::look(&path)?.is_some(),
    };
    if is_left {
        bail!("template {release}: its destruction was interrupted; skel-destroy {release} completes it");
    }
    Ok(())
}

/// Fails while something is mounted in base or skeleton (real paths), or one of
/// them, or a directory in it, is mounted elsewhere by nullfs(5).
pub fn check_unmounted(host: &Host, base: &Path, skeleton: &Path) -> Result<()> {
    let kernel = match host.kernel() {
        Ok(kernel) => kernel,
        // Directory storage works where there are no jails.
        Err(_) if !cfg!(target_os = "freebsd") => return Ok(()),
        Err(e) => return Err(e),
    };
    for mount in kernel.mounts()? {
        for tree in [base, skeleton] {
            if mount.on != *tree && kernel::is_at_or_below(&mount.on, tree) {
                bail!("{} is mounted in the template; umount {}", mount.on.display(), mount.on.display());
            }
            if mount.kind == "nullfs" && kernel::is_at_or_below(&mount.from, tree) {
                bail!(
                    "{} is mounted on {}; stop the jail that runs on it, or umount {}",
                    mount.from.display(),
                    mount.on.display(),
                    mount.on.display()
                );
            }
        }
    }
    Ok(())
}

/// The first dataset of a template that exists and is not mounted in its place.
pub fn misplaced_dataset(host: &Host, layout: &Layout, release: &Release) -> Result<Option<MountProblem>> {
    let Storage::Zfs(top) = layout.storage() else { return Ok(None) };
    let at = |path: &Path| host.root().host_path(path);
    let places = [
        (top.clone(), at(layout.dir())),
        (Layout::base_dataset(top, release)?, at(&layout.base(release))),
        (Layout::skeleton_dataset(top, release)?, at(&layout.skeleton(release))),
    ];
    for (dataset, place) in places {
        if zfs::exists(host.tools(), dataset.as_str())?
            && let Some(misplaced) = zfs::misplaced(host, &dataset, &place)?
        {
            return Ok(Some(misplaced));
        }
    }
    Ok(None)
}

/// Fails if a dataset of a template exists and is not mounted in its place: to be
/// called before a message advises to create a tree that seems to be missing.
pub fn check_in_place(host: &Host, layout: &Layout, release: &Release) -> Result<()> {
    match misplaced_dataset(host, layout, release)? {
        Some(MountProblem { problem, advice }) => bail!("template {release}: {problem}; {advice}"),
        None => Ok(()),
    }
}

/// The skeleton whose snapshots zfs-promote(8) has moved to a clone of it, and
/// its origin. `dataset` is that clone, or another clone, whose `origin` is then
/// a snapshot of that one.
pub fn promoted_away(
    host: &Host,
    layout: &Layout,
    dataset: &Dataset,
    origin: &str,
) -> Result<Option<(String, String)>> {
    let holder = origin.split('@').next().filter(|holder| !holder.is_empty());
    let holder = holder.unwrap_or(dataset.as_str());
    let Storage::Zfs(top) = layout.storage() else { return Ok(None) };
    let templates = format!("{top}/templates");
    let rows = zfs::query(host.tools(), &[&templates], 1, &["origin"])?;
    let held = |origin: &str| origin.split('@').next() == Some(holder);
    Ok(rows
        .into_iter()
        .find(|row| layout.skeleton_release(&row.name).is_some() && held(row.get("origin")))
        .map(|row| (row.name.clone(), row.get("origin").to_owned())))
}

/// Fails if zfs-promote(8) has moved the snapshots of a skeleton away; `dataset`
/// and `origin` as for [`promoted_away`].
pub fn check_not_promoted(host: &Host, layout: &Layout, dataset: &Dataset, origin: &str) -> Result<()> {
    match promoted_away(host, layout, dataset, origin)? {
        Some((skeleton, origin)) => {
            bail!("{skeleton} is a clone of {origin}, which was promoted; zfs promote {skeleton}")
        }
        None => Ok(()),
    }
}

/// Fails if the snapshots of this skeleton were moved to one of its clones.
pub fn check_has_snapshots(host: &Host, layout: &Layout, skeleton: &Dataset) -> Result<()> {
    let found = zfs::query_one(host.tools(), skeleton.as_str(), &["origin"])?;
    match found.as_ref().map_or("", |found| found.get("origin")) {
        "" => Ok(()),
        origin => check_not_promoted(host, layout, skeleton, origin),
    }
}

fn check_trees(release: &Release, base: &Path, skeleton: &Path) -> Result<()> {
    for (what, path, program) in [("base", base, "skel-fetch"), ("skeleton", skeleton, "skel-split")] {
        match file::look(path)? {
            Some(there) if there.is_dir() => {}
            Some(there) => {
                bail!("{what} of {release}: {}: {}, not a directory", path.display(), file::kind(&there))
            }
            None => {
                bail!("no {what} of {release}: {} does not exist; run {program} {release}", path.display())
            }
        }
    }
    let mut view = JailRootView::new(base).context("base")?;
    let point = Path::new("/").join(SKELETON);
    view.mount(skeleton, &point).context("skeleton")?;
    for moved in MOVED {
        let original = base.join(moved);
        let split = match file::look(&original)? {
            Some(there) if there.is_symlink() => true,
            // Without its own copies of these two, a jail cannot start.
            _ if matches!(moved, "etc" | "var") => false,
            _ => continue,
        };
        let found = view.look_up(Path::new("/"), Path::new(moved), Symlinks::Follow)?;
        if !split || !matches!(&found, LookupResult::Directory(real) if *real == point.join(moved)) {
            bail!(
                "template {release}: {} is not a symbolic link to {SKELETON}/{moved} of {}; run skel-split {release}",
                original.display(),
                skeleton.display()
            );
        }
        if file::look(&sibling_name::temporary(&original))?.is_some() {
            bail!("template {release}: its split was interrupted; run skel-split {release} to finish it");
        }
    }
    if file::look(&before_update(base))?.is_some() {
        bail!(
            "template {release}: its update was interrupted; skel-update {release} rolls it back and starts again"
        );
    }
    Ok(())
}

/// Fails if this host's kernel is older than the template: it does not run the
/// programs of a later release.
pub fn check_kernel(host: &Host, release: &Release, base: &Path) -> Result<()> {
    // Where it does not say what it is, its name does.
    let installed = base_version::of_base(base).map_or_else(|_| release.clone(), |version| version.release);
    let Some(kernel) = base_version::major_and_minor(&host.kernel()?.os_release()?) else { return Ok(()) };
    if installed.version() > kernel {
        bail!(
            "{installed} is newer than this host's kernel, {}.{}; update the host first",
            kernel.0,
            kernel.1
        );
    }
    Ok(())
}

/// The snapshot of base and skeleton that an update can go back to.
pub const BEFORE_UPDATE: &str = "thinjail-update";

/// Where directory storage keeps a tree as it was before an update.
pub fn before_update(tree: &Path) -> PathBuf {
    sibling_name::hidden(tree, "before")
}

/// The snapshot of a skeleton that new jails are cloned from: the latest of
/// those that skel-split and skel-update take. Fails when a run was killed
/// while updating the template; directory storage shows that to [`check`].
pub fn newest_snapshot(host: &Host, release: &Release, skeleton: &Dataset) -> Result<String> {
    newest_of(zfs::snapshots(host, skeleton)?, release, skeleton)
}

/// The same, of these, which are in the order they were taken.
pub fn newest_of(snapshots: Vec<String>, release: &Release, skeleton: &Dataset) -> Result<String> {
    if snapshots.contains(&skeleton.snapshot(BEFORE_UPDATE)) {
        bail!(
            "template {release}: its update was interrupted; skel-update {release} rolls it back and starts again"
        );
    }
    let newest = snapshots.into_iter().rfind(|full| is_ours(full));
    newest.with_context(|| {
        format!("{skeleton} has no snapshot; run skel-split {release} to complete the template")
    })
}

/// The snapshots of a skeleton that jails are cloned from, oldest first.
pub fn snapshots(host: &Host, skeleton: &Dataset) -> Result<Vec<String>> {
    let mut all = zfs::snapshots(host, skeleton)?;
    all.retain(|full| is_ours(full));
    Ok(all)
}

/// Whether a snapshot, by its full name, is one of those: `base`, and `p3` or
/// `p3.1` for patch levels.
pub fn is_ours(full: &str) -> bool {
    let name = full.rsplit('@').next().unwrap_or_default();
    name == BASE_SNAPSHOT || level_text(name).is_some()
}

/// The patch level that a snapshot is named after; `base` is named after none.
pub fn level(name: &str) -> Option<u32> {
    level_text(name)?.parse().ok()
}

fn level_text(name: &str) -> Option<&str> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = name.strip_prefix('p')?;
    let (level, again) = text.split_once('.').unwrap_or((text, "0"));
    (number(level) && number(again)).then_some(level)
}

/// The name of the next snapshot of a skeleton whose base is of that patch level,
/// if one is due, and never one that is taken.
pub fn next_name(taken: &[String], level: u32, changed: bool) -> Option<String> {
    let is_taken = |name: &str| taken.iter().any(|full| full.rsplit('@').next() == Some(name));
    let plain = format!("p{level}");
    match is_taken(&plain) || level == 0 {
        false => Some(plain),
        true if !changed => None,
        // Level 0 is what @base was taken of.
        true => (1..).map(|n| format!("p{level}.{n}")).find(|name| !is_taken(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_snapshots() {
        for ours in ["base", "p1", "p12", "p3.1"] {
            assert!(is_ours(&format!("z/s@{ours}")), "{ours}");
        }
        for other in ["", "p", "p.", "p1.", "p1x", "daily-p1", "thinjail-update", "base2"] {
            assert!(!is_ours(&format!("z/s@{other}")), "{other}");
        }
        assert_eq!(["p12", "p3.1", "base", "p"].map(level), [Some(12), Some(3), None, None]);
    }

    #[test]
    fn names_while_they_are_destroyed() {
        let release: Release = "14.5".parse().unwrap();
        let place = destroying(Path::new("/j/templates/14.5-RELEASE-base"));
        let name = place.file_name().unwrap().to_str().unwrap();
        assert_eq!(destroying_release(name), Some(release.clone()));
        let dataset = destroying_dataset(&"z/j".parse().unwrap(), &release).unwrap();
        assert_eq!(dataset.as_str(), format!("z/j/templates/{name}"));
        for other in ["14.5-RELEASE-base", "14.5-RELEASE.destroying", "x-base.destroying", ".destroying"] {
            assert_eq!(destroying_release(other), None, "{other}");
        }
    }

    #[test]
    fn snapshots_are_named_after_patch_levels() {
        let taken = |names: &[&str]| names.iter().map(|n| format!("z/s@{n}")).collect::<Vec<_>>();
        assert_eq!(next_name(&taken(&["base"]), 1, true).as_deref(), Some("p1"));
        // Patched by hand, or killed before the snapshot.
        assert_eq!(next_name(&taken(&["base"]), 3, false).as_deref(), Some("p3"));
        assert_eq!(next_name(&taken(&["base", "p3"]), 3, false), None);
        assert_eq!(next_name(&taken(&["base", "p3", "p3.1"]), 3, true).as_deref(), Some("p3.2"));
        assert_eq!(next_name(&taken(&["base"]), 0, false), None);
        assert_eq!(next_name(&taken(&["base"]), 0, true).as_deref(), Some("p0.1"));
    }
}
