//! What the fstab of a jail mounts.

use super::parse;
use crate::domain::layout::{Layout, SKELETON};
use crate::system::host::Host;
use crate::types::jail_name::JailName;
use crate::types::mount::ExtraMount;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use std::path::Path;

/// The release whose base a jail mounts, and what it mounts besides base and
/// container, with targets as the jail sees them.
///
/// # Errors
///
/// An fstab that is not that of the jail.
pub fn of_jail(host: &Host, layout: &Layout, jail: &JailName) -> Result<(Release, Vec<ExtraMount>)> {
    let (file, path) = (layout.fstab(jail), layout.path(jail));
    let text = fs_err::read(host.root().host_path(&file))?;
    let (entries, problems) = parse(&text);
    if let Some(problem) = problems.first() {
        bail!("{}: line {}: {}", file.display(), problem.line, problem.what);
    }
    let mut entries = entries.into_iter();
    let base = entries.next().and_then(|(_, first)| layout.release_of(&first.source));
    let release = base.with_context(|| {
        format!("{}: the first line does not mount the base of a release", file.display())
    })?;
    let container = entries.next().is_some_and(|(_, second)| {
        second.source == layout.container(jail) && second.target == path.join(SKELETON)
    });
    if !container {
        bail!("{}: the second line does not mount the container of jail {jail}", file.display());
    }
    let mut mounts = Vec::new();
    for (line, entry) in entries {
        let Ok(target) = entry.target.strip_prefix(&path) else {
            bail!("{}: line {line}: {} is outside the jail's path", file.display(), entry.target.display());
        };
        mounts.push(ExtraMount {
            source: entry.source,
            target: Path::new("/").join(target),
            kind: entry.kind,
            options: entry.options,
        });
    }
    Ok((release, mounts))
}
