//! Where templates and containers are kept.

use super::JailSetup;
use crate::domain::settings::{FILE, Settings};
use crate::system::console;
use crate::system::file;
use crate::system::host::Host;
use crate::system::tool::{Outcome, Tool, ToolError};
use crate::system::zfs::{self, Dataset};
use anyhow::{Result, anyhow, bail};
use std::io;
use std::path::Path;

/// The directory for hosts without a pool (hier(7): local data).
const DIRECTORY: &str = "/usr/local/jails";

/// The name of the dataset in a pool.
const NAME: &str = "jails";

/// Its name where that one is taken.
const OTHER_NAME: &str = "thinjail";

/// The settings of the storage, or what has to be chosen first.
pub(super) enum Choice {
    Settings(Vec<(&'static str, String)>),
    SeveralPools(Vec<String>),
}

/// Chooses: what the settings say, what the options say, a dataset in the only
/// pool, or a directory.
pub(super) fn choose(
    host: &Host,
    settings: &Settings,
    arguments: &JailSetup,
    pool: Option<&str>,
) -> Result<Choice> {
    if let Some(dataset) = &arguments.dataset {
        check_directory(settings, "-d")?;
        return dataset_of(host, dataset);
    }
    if let Some(directory) = &arguments.directory {
        if let Some(dataset) = &settings.jail_zfs {
            bail!(
                "-D: jail_zfs is already set to {dataset} in {FILE}; remove it there if directories are what you want"
            );
        }
        return Ok(Choice::Settings(vec![("jail_dir", directory.display().to_string())]));
    }
    if settings.jail_zfs.is_some() || settings.jail_dir.is_some() {
        return Ok(Choice::Settings(Vec::new()));
    }
    let pools = match pool {
        Some(pool) => vec![pool.to_owned()],
        None => pools(host)?,
    };
    match pools.as_slice() {
        [] => Ok(Choice::Settings(vec![("jail_dir", DIRECTORY.into())])),
        [pool] => {
            let dataset = unused_dataset(host, &pool.parse()?)?;
            dataset_of(host, &dataset)
        }
        _ => Ok(Choice::SeveralPools(pools)),
    }
}

fn check_directory(settings: &Settings, option: &str) -> Result<()> {
    match (&settings.jail_zfs, &settings.jail_dir) {
        (None, Some(directory)) => bail!(
            "{option}: jail_dir is already set to {} in {FILE}; remove it there if a dataset is what you want",
            directory.display()
        ),
        _ => Ok(()),
    }
}

/// The settings for a dataset. One that would not be mounted gets a directory.
fn dataset_of(host: &Host, dataset: &Dataset) -> Result<Choice> {
    let mut chosen = vec![("jail_zfs", dataset.to_string())];
    let above = dataset.as_str().rsplit_once('/').map(|(above, _)| above);
    if let Some(above) = above
        && !zfs::exists(host.tools(), dataset.as_str())?
        && let Some(found) = zfs::query_one(host.tools(), above, &["mountpoint"])?
        && matches!(found.get("mountpoint"), "none" | "legacy")
    {
        chosen.push(("jail_dir", DIRECTORY.into()));
    }
    Ok(Choice::Settings(chosen))
}

/// A dataset in the pool that is not used for something else.
fn unused_dataset(host: &Host, pool: &Dataset) -> Result<Dataset> {
    let dataset = pool.child(NAME)?;
    let rows = zfs::query(host.tools(), &[dataset.as_str()], 1, &["mounted", "mountpoint"])?;
    let Some(top) = zfs::find(&rows, dataset.as_str()) else { return Ok(dataset) };
    let ours = ["media", "templates", "containers"]
        .iter()
        .any(|name| dataset.child(name).is_ok_and(|child| zfs::find(&rows, child.as_str()).is_some()));
    let place = Path::new(top.get("mountpoint"));
    let is_empty = rows.len() == 1
        && (!top.is_mounted() || file::look(place)?.is_some() && fs_err::read_dir(place)?.next().is_none());
    if ours || is_empty { Ok(dataset) } else { Ok(pool.child(OTHER_NAME)?) }
}

/// The pools of the host.
fn pools(host: &Host) -> Result<Vec<String>> {
    let arguments = ["list", "-H", "-d", "0", "-t", "filesystem", "-o", "name"];
    match host.tools().ask(Tool::Zfs, &arguments) {
        Ok(printed) => Ok(printed.stdout.lines().map(str::to_owned).collect()),
        // A host without the module, or without zfs(8) at all.
        Err(e) if e.says("ZFS") => Ok(Vec::new()),
        Err(ToolError { outcome: Outcome::NotStarted(e), .. }) if e.kind() == io::ErrorKind::NotFound => {
            Ok(Vec::new())
        }
        Err(e) => Err(e.into()),
    }
}

/// The error that asks for a pool.
pub(super) fn several(pools: &[String]) -> anyhow::Error {
    let pool = pools.first().map_or("POOL", String::as_str);
    anyhow!("this host has several pools ({}); choose one, such as -d {pool}/{NAME}", pools.join(", "))
}

/// Asks which pool.
pub(super) fn ask(pools: &[String]) -> Result<String> {
    if !console::can_ask() {
        return Err(several(pools));
    }
    let answer = console::question(&format!("Pool of the jails ({})?", pools.join(", ")))?;
    match pools.iter().find(|pool| **pool == answer) {
        Some(pool) => Ok(pool.clone()),
        None => bail!("{answer} is not one of the pools {}", pools.join(", ")),
    }
}
