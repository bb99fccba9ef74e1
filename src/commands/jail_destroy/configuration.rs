//! The configuration of a jail that goes: its block, its fstab.

use crate::domain::configured::JailConfigs;
use crate::domain::fstab;
use crate::domain::layout::{Layout, SKELETON};
use crate::formats::jailconf;
use crate::system::file;
use crate::system::host::Host;
use crate::system::kernel::is_at_or_below;
use crate::types::jail_name::JailName;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The block of a jail, as it is to be removed.
pub(super) enum Block {
    /// With its file, which holds nothing else.
    File(PathBuf),
    /// Out of a file that holds more.
    Cut(file::ReplaceText),
}

/// Looks at the block in jail.conf(5), and fails unless it may be removed. Gives
/// what goes, in words, too.
pub(super) fn look_at_block(
    host: &Host,
    layout: &Layout,
    configs: &JailConfigs,
    jail: &JailName,
    force: bool,
) -> Result<Option<(Block, String)>> {
    let mut all = configs.jails().iter().filter(|c| c.jail == jail.as_str());
    let Some(found) = all.next() else { return Ok(None) };
    let shown = found.file.display();
    if let Some(other) = all.next() {
        bail!(
            "jail {jail} is configured twice, in {shown} and {}; remove the wrong one",
            other.file.display()
        );
    }
    if let Some(child) = configs.jails().iter().find(|c| c.jail.starts_with(&format!("{jail}."))) {
        bail!("jail {} is a child of jail {jail}; destroy the child first", child.jail);
    }
    for (name, value, ours) in
        [("path", &found.path, layout.path(jail)), ("mount.fstab", &found.fstab, layout.fstab(jail))]
    {
        if let Some(value) = value
            && Path::new(value).components().ne(ours.components())
        {
            bail!("{shown}: {name} of jail {jail} is {value}, not {}; not a thinjail jail", ours.display());
        }
    }
    let range = configs.block(jail.as_str()).context("jail.conf")?;
    let path = host.root().host_path(&found.file);
    let old = fs_err::read(&path)?;
    let new = jailconf::cut(&old, range);
    let mut others = jailconf::Config::default();
    let alone = others.parse_more(&found.file, &new).is_ok() && others.is_empty();
    let own_file = found.file == layout.conf(jail);
    match (alone && own_file, force) {
        (true, _) => Ok(Some((Block::File(path), shown.to_string()))),
        (false, true) => {
            let cut = Block::Cut(file::ReplaceText { path, old, new });
            Ok(Some((cut, format!("the block {jail} of {shown}"))))
        }
        (false, false) if own_file => {
            bail!("{shown}: contains more than jail {jail}; -f removes only its block")
        }
        (false, false) => {
            bail!("{shown}: not named after jail {jail}; -f removes only the block of the jail")
        }
    }
}

/// Whether there is an fstab; fails unless it is this jail's.
pub(super) fn check_fstab(host: &Host, layout: &Layout, jail: &JailName) -> Result<bool> {
    let file = layout.fstab(jail);
    let real = host.root().host_path(&file);
    match file::look(&real)? {
        None => return Ok(false),
        Some(there) if !there.is_file() => {
            bail!("{}: {}, not a regular file", real.display(), file::kind(&there))
        }
        Some(_) => {}
    }
    let (entries, _) = fstab::parse(&fs_err::read(&real)?);
    let (path, container) = (layout.path(jail), layout.container(jail));
    let same = |a: &Path, b: &Path| a.components().eq(b.components());
    let skeleton = path.join(SKELETON);
    let Some((_, entry)) = entries.iter().find(|(_, e)| same(&e.target, &skeleton)) else {
        bail!(
            "{}: no line mounts a file system on {}; not the fstab of jail {jail}",
            file.display(),
            skeleton.display()
        );
    };
    if !same(&entry.source, &container) {
        bail!(
            "{}: {} is mounted on {}, not {}; jail {jail} does not own it",
            file.display(),
            entry.source.display(),
            skeleton.display(),
            container.display()
        );
    }
    if let Some((_, other)) = entries.iter().find(|(_, e)| !is_at_or_below(&e.target, &path)) {
        bail!(
            "{}: a line mounts a file system on {}, outside of {}",
            file.display(),
            other.target.display(),
            path.display()
        );
    }
    Ok(true)
}
