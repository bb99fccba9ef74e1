//! Who uses a template: containers, kept containers, fstabs.

use crate::domain::configured::JailConfigs;
use crate::domain::fstab;
use crate::domain::layout::{self, KEPT, Layout, Storage};
use crate::system::file;
use crate::system::host::Host;
use crate::system::kernel::is_at_or_below;
use crate::system::zfs::DatasetProperties;
use crate::types::jail_name::JailName;
use crate::types::origin::Origin;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Fails, with their names, while jails or other datasets use a template.
pub(super) fn check_unused(
    host: &Host,
    layout: &Layout,
    release: &Release,
    rows: &[DatasetProperties],
) -> Result<()> {
    let mut users = BTreeSet::new();
    match layout.storage() {
        Storage::Zfs(top) => {
            let containers = format!("{top}/containers/");
            for clone in rows.iter().flat_map(|row| row.get("clones").split(',')) {
                if !clone.is_empty() {
                    users.insert(clone.strip_prefix(&containers).map_or_else(|| clone.to_owned(), container));
                }
            }
        }
        Storage::Directory => {
            for record in records(host, layout)? {
                users.extend(record.users_of(release));
            }
        }
    }
    users.extend(mounting(host, layout, release)?.into_iter().map(|jail| format!("jail {jail}")));
    if users.is_empty() {
        return Ok(());
    }
    let shown = users.into_iter().collect::<Vec<_>>().join(", ");
    bail!("template {release} is used by {shown}; jail-rebase or jail-destroy these jails first")
}

/// A container, in words, by its name among the containers.
fn container(name: &str) -> String {
    match name.split_once(KEPT) {
        Some((jail, _)) => format!("{name} (former container of jail {jail}; jail-rebase --commit {jail})"),
        None => format!("jail {name}"),
    }
}

/// The file that says what a jail's containers are copies of.
pub(super) struct OriginRecord {
    jail: JailName,
    origins: Vec<Origin>,
    /// The former container that is kept.
    kept: Option<String>,
}

impl OriginRecord {
    /// What the record says of all containers of the jail.
    pub(super) fn origins(&self) -> &[Origin] {
        &self.origins
    }

    fn users_of(&self, release: &Release) -> Vec<String> {
        let last = self.origins.len().saturating_sub(1);
        let named = |(at, origin): (usize, &Origin)| {
            let name = match &self.kept {
                Some(kept) if at < last => kept.as_str(),
                _ => self.jail.as_str(),
            };
            (origin.release == *release).then(|| container(name))
        };
        self.origins.iter().enumerate().filter_map(named).collect()
    }
}

/// All origin records of directory storage. One that cannot be read may name
/// anything, so it is an error.
pub(super) fn records(host: &Host, layout: &Layout) -> Result<Vec<OriginRecord>> {
    let directory = host.root().host_path(&layout.containers());
    let mut records = Vec::new();
    if file::look(&directory)?.is_none() {
        return Ok(records);
    }
    for entry in fs_err::read_dir(&directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(jail) = name.strip_suffix(".origin").and_then(|jail| jail.parse::<JailName>().ok()) else {
            continue;
        };
        if !file::look(&path)?.is_some_and(|there| there.is_file()) {
            bail!("{}: not a regular file", path.display());
        }
        let text = fs_err::read_to_string(&path)?;
        let origins = text.lines().map(str::parse).collect::<Result<_>>();
        let origins = origins.with_context(|| path.display().to_string())?;
        let kept = layout.containers_of(host, &jail)?.into_iter().find(|name| name.contains(KEPT));
        records.push(OriginRecord { jail, origins, kept });
    }
    Ok(records)
}

/// Whether some container of directory storage, by its record, is of unknown
/// origin and may be of a release: it was made before origins were recorded.
pub(super) fn has_unrecorded(host: &Host, layout: &Layout, release: &Release) -> Result<bool> {
    let directory = host.root().host_path(&layout.containers());
    if file::look(&directory)?.is_none() {
        return Ok(false);
    }
    for entry in fs_err::read_dir(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(jail) = name.to_str().and_then(|name| name.parse::<JailName>().ok()) else { continue };
        if !entry.file_type()?.is_dir()
            || file::look(&host.root().host_path(&layout.origin(&jail)))?.is_some()
        {
            continue;
        }
        let file = host.root().host_path(&layout.fstab(&jail));
        if file::look(&file)?.is_none() || mounts(&file, layout, release)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The jails whose fstab, in the layout or where their configuration has it,
/// mounts base or skeleton of a release.
fn mounting(host: &Host, layout: &Layout, release: &Release) -> Result<BTreeSet<String>> {
    let mut jails = BTreeSet::new();
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for entry in fs_err::read_dir(host.root().host_path(layout.dir()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let jail = name.strip_suffix(".fstab").and_then(|name| name.strip_suffix(layout::PATH_SUFFIX));
        if let Some(jail) = jail {
            files.push((jail.to_owned(), path));
        }
    }
    for resources in JailConfigs::read(host.root(), layout)?.jails() {
        if let Some(fstab) = &resources.fstab {
            files.push((resources.jail.clone(), host.root().host_path(Path::new(fstab))));
        }
    }
    for (jail, path) in files {
        if mounts(&path, layout, release)? {
            jails.insert(jail);
        }
    }
    Ok(jails)
}

/// Whether an fstab, a real path, mounts base or skeleton of a release.
fn mounts(path: &Path, layout: &Layout, release: &Release) -> Result<bool> {
    match std::fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        // Opening a FIFO would wait for its writer.
        Ok(there) if !there.is_file() => bail!("{}: not a regular file", path.display()),
        _ => {}
    }
    let (entries, _) = fstab::parse(&fs_err::read(path)?);
    let (base, skeleton) = (layout.base(release), layout.skeleton(release));
    let is_of = |source: &Path| {
        let source: PathBuf = source.components().collect();
        is_at_or_below(&source, &base) || is_at_or_below(&source, &skeleton)
    };
    Ok(entries.iter().any(|(_, entry)| is_of(&entry.source)))
}
