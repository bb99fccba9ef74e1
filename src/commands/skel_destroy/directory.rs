//! A template under directory storage: two trees, copies of one of them, a file.

use super::template_parts::{TemplateParts, is_linked, is_recorded, names};
use crate::domain::layout::Layout;
use crate::domain::template;
use crate::system::file::{self, RemoveFile, RenameFile};
use crate::system::host::Host;
use crate::system::tree::RemoveTree;
use crate::types::origin::Origin;
use crate::types::release::Release;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// Looks at the trees, and fails unless they are the template's.
pub(super) fn look(host: &Host, layout: &Layout, release: &Release) -> Result<TemplateParts> {
    let at = |path: PathBuf| host.root().host_path(&path);
    let (base, skeleton) = (at(layout.base(release)), at(layout.skeleton(release)));
    let (destroying, record) = (template::destroying(&base), at(layout.record(release)));
    let (has_base, has_skeleton) = (is_there(&base)?, is_there(&skeleton)?);
    let has_destroying = is_there(&destroying)?;
    if has_base && has_destroying {
        bail!(
            "both {} and {} exist; remove the one that is not needed",
            base.display(),
            destroying.display()
        );
    }
    // Only this program gives a tree that name, and it does so after these checks.
    if !has_destroying {
        let is_whole = has_base && template::check(host, layout, release).is_ok();
        let is_base = is_whole || has_base && is_recorded(&record, release)?;
        let is_skeleton = is_whole || is_base && is_linked(&base)?;
        for (tree, exists, is_proven) in [(&base, has_base, is_base), (&skeleton, has_skeleton, is_skeleton)]
        {
            if exists && !is_proven {
                bail!(
                    "{}: cannot verify that it belongs to template {release}: base and skeleton are not \
                     linked as skel-split links them; skel-split {release} completes the template",
                    tree.display()
                );
            }
        }
    }
    let mut parts = TemplateParts::default();
    if !(has_base || has_skeleton || has_destroying) {
        return Ok(parts);
    }
    if has_base {
        parts.goes("base", &layout.base(release).display().to_string());
        parts.plan.push(RenameFile { from: base, to: destroying.clone() });
    }
    if has_destroying {
        parts.goes("base", &destroying.display().to_string());
    }
    if has_skeleton {
        parts.goes("skeleton", &layout.skeleton(release).display().to_string());
    }
    for (origin, path) in copies(host, layout)? {
        if origin.release == *release {
            parts.goes("copy", &layout.copy(&origin).display().to_string());
            parts.clear.push(RemoveTree { path });
        }
    }
    if has_skeleton {
        parts.clear.push(RemoveTree { path: skeleton });
    }
    if is_file(&record)? {
        parts.goes("record", &layout.record(release).display().to_string());
        parts.clear.push(RemoveFile { path: record });
    }
    parts.last.push(RemoveTree { path: destroying });
    Ok(parts)
}

/// Whether a tree is there; fails if something else is.
fn is_there(tree: &Path) -> Result<bool> {
    match file::look(tree)? {
        None => Ok(false),
        Some(there) if there.is_dir() => Ok(true),
        Some(there) => bail!("{}: {}, not a directory", tree.display(), file::kind(&there)),
    }
}

fn is_file(path: &Path) -> Result<bool> {
    Ok(file::look(path)?.is_some_and(|there| there.is_file()))
}

/// The copies of skeletons as they once were, with their real paths.
pub(super) fn copies(host: &Host, layout: &Layout) -> Result<Vec<(Origin, PathBuf)>> {
    let mut copies = Vec::new();
    for (name, path) in names(host, layout)? {
        if let Ok(origin) = name.parse::<Origin>()
            && is_there(&path)?
        {
            copies.push((origin, path));
        }
    }
    Ok(copies)
}
