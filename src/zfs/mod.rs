//! ZFS, through zfs(8): what it says here, what is changed in `action`.

mod action;
mod property;

pub use action::{
    Clone, Create, Destroy, Mount, Rename, SetProperty, Snapshot, Unmount, create_arguments, differences,
    differences_arguments, roll_back,
};
pub use property::own_properties;

use crate::host::Host;
use crate::kernel;
use crate::tool::{Outcome, Tool, Tools};
use anyhow::{Result, bail};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The user property that says whose container a dataset is.
pub const OWNER_PROPERTY: &str = "thinjail:jail";

/// The name of a file system dataset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dataset(String);

/// Why a string names no dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadDataset;

impl fmt::Display for BadDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a dataset is named like zdata/jails: letters, digits, - _ . : in parts joined by /, below 256 bytes")
    }
}

impl std::error::Error for BadDataset {}

impl Dataset {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The dataset `name` below this one.
    pub fn child(&self, name: &str) -> Result<Dataset, BadDataset> {
        format!("{}/{name}", self.0).parse()
    }

    /// The snapshot `name` of this dataset.
    pub fn snapshot(&self, name: &str) -> String {
        format!("{}@{name}", self.0)
    }
}

impl FromStr for Dataset {
    type Err = BadDataset;

    /// freebsd-src: sys/contrib/openzfs/module/zcommon/zfs_namecheck.c, less
    /// the blank that it allows.
    fn from_str(s: &str) -> Result<Self, BadDataset> {
        let part_ok = |part: &str| {
            let word = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(word)
        };
        let ok = s.len() < 256 && s.split('/').all(part_ok) && s.as_bytes()[0].is_ascii_alphabetic();
        if ok { Ok(Dataset(s.to_owned())) } else { Err(BadDataset) }
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const ABSENT: &str = "dataset does not exist";

/// The values of some properties, in order; `None` when the dataset or
/// snapshot does not exist. A user property counts only where it is set, or was
/// received: one inherited from a parent says nothing about this dataset.
pub fn properties<const N: usize>(
    tools: &Tools,
    dataset: &str,
    names: [&str; N],
) -> Result<Option<[String; N]>> {
    let list = names.join(",");
    match tools.ask(Tool::Zfs, &["get", "-H", "-p", "-o", "property,value,source", &list, dataset]) {
        Err(e) if e.says(ABSENT) => Ok(None),
        Err(e) => Err(e.into()),
        Ok(printed) => match values_in(&printed.stdout, names) {
            Ok(values) => Ok(Some(values)),
            Err(name) => bail!("zfs get {name} {dataset}: no value in \"{}\"", printed.stdout.trim()),
        },
    }
}

/// Whether a value is the dataset's own: set on it, or received with it
/// (zfs-receive(8)).
fn is_own(source: &str) -> bool {
    matches!(source, "local" | "received")
}

/// Reads what `zfs get -H -o property,value,source` prints of one dataset. The
/// error is the first name that has no value there.
pub fn values_in<'n, const N: usize>(text: &str, names: [&'n str; N]) -> Result<[String; N], &'n str> {
    let value = |name: &str| {
        let of = |line: &str| {
            let mut fields = line.split('\t');
            let (known, value, source) = (fields.next()?, fields.next()?, fields.next()?);
            let counts = !name.contains(':') || is_own(source);
            (known == name).then(|| if counts { value } else { "-" }.to_owned())
        };
        text.lines().find_map(of)
    };
    if let Some(name) = names.into_iter().find(|name| value(name).is_none()) {
        return Err(name);
    }
    Ok(names.map(|name| value(name).filter(|v| v != "-").unwrap_or_default()))
}

/// The values of some properties, in order, of datasets and of what is up to
/// `depth` levels below them, snapshots being one level below their file
/// system; by name. A dataset that does not exist is left out. Values are those
/// of [`properties`].
pub fn told<const N: usize>(
    tools: &Tools,
    names: [&str; N],
    depth: usize,
    datasets: &[&str],
) -> Result<Vec<(String, [String; N])>> {
    let (list, depth) = (names.join(","), depth.to_string());
    let mut arguments = vec!["get", "-H", "-p", "-d", &depth, "-t", "filesystem,volume,snapshot"];
    arguments.extend(["-o", "name,property,value,source", &list]);
    arguments.extend(datasets);
    let stdout = match tools.ask(Tool::Zfs, &arguments) {
        Ok(printed) => printed.stdout,
        // The others are told nevertheless.
        Err(e) if e.says(ABSENT) => match e.outcome {
            Outcome::Failed { stdout, .. } => stdout,
            Outcome::NotStarted(_) => String::new(),
        },
        Err(e) => return Err(e.into()),
    };
    Ok(told_in(&stdout, names))
}

/// Reads what `zfs get -H -o name,property,value,source` prints. Other lines are
/// passed over.
pub fn told_in<const N: usize>(text: &str, names: [&str; N]) -> Vec<(String, [String; N])> {
    let mut all: Vec<(String, [String; N])> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        let (Some(dataset), Some(property), Some(value), Some(source)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Some(at) = names.iter().position(|n| *n == property) else { continue };
        if all.last().is_none_or(|(last, _)| last != dataset) {
            all.push((dataset.to_owned(), std::array::from_fn(|_| String::new())));
        }
        let counts = value != "-" && (!property.contains(':') || is_own(source));
        if let Some((_, values)) = all.last_mut().filter(|_| counts) {
            values[at] = value.to_owned();
        }
    }
    all
}

/// Whether a dataset or snapshot exists.
pub fn exists(tools: &Tools, name: &str) -> Result<bool> {
    Ok(properties(tools, name, ["type"])?.is_some())
}

/// The snapshots of a dataset, full names, oldest first.
pub fn snapshots(host: &Host, dataset: &Dataset) -> Result<Vec<String>> {
    let arguments =
        ["list", "-H", "-d", "1", "-t", "snapshot", "-o", "name", "-s", "createtxg", dataset.as_str()];
    let printed = host.tools().ask(Tool::Zfs, &arguments)?;
    Ok(printed.stdout.lines().map(str::to_owned).collect())
}

/// The clones of a snapshot.
pub fn clones(host: &Host, snapshot: &str) -> Result<Vec<String>> {
    let [clones] = properties(host.tools(), snapshot, ["clones"])?.unwrap_or_default();
    Ok(clones.split(',').filter(|c| !c.is_empty()).map(str::to_owned).collect())
}

/// The snapshots of a container; fails if anything hangs on it that would not
/// go with it, or is held (zfs-hold(8)).
pub fn own_snapshots(host: &Host, dataset: &Dataset) -> Result<Vec<String>> {
    let rows = told(host.tools(), ["clones", "userrefs"], 1, &[dataset.as_str()])?;
    let rows = rows.iter().map(|(name, [clones, holds])| (name.as_str(), clones.as_str(), holds.as_str()));
    own_snapshots_in(rows, dataset)
}

/// The same, by the names, clones and numbers of holds of what is one level
/// below the container, and of others.
pub fn own_snapshots_in<'a>(
    rows: impl Iterator<Item = (&'a str, &'a str, &'a str)>,
    dataset: &Dataset,
) -> Result<Vec<String>> {
    let mut snapshots = Vec::new();
    for (name, clones, holds) in rows {
        match name.strip_prefix(dataset.as_str()) {
            Some(below) if below.starts_with('/') => bail!(child(name, dataset)),
            Some(snapshot) if snapshot.starts_with('@') => {}
            _ => continue,
        }
        if let Some(clone) = clones.split(',').find(|c| !c.is_empty()) {
            bail!("{clone} is cloned from {name}; destroy or promote that first");
        }
        // zfs destroy -n does not notice them.
        if !matches!(holds, "" | "0") {
            bail!(
                "snapshot {name} is held; zfs holds {name} shows the tags, zfs release TAG {name} frees it"
            );
        }
        snapshots.push(name.to_owned());
    }
    Ok(snapshots)
}

/// What is said of a dataset below a container, which nothing here takes along.
fn child(name: &str, container: &Dataset) -> String {
    format!(
        "dataset {name} is below {container} and belongs to the jail; zfs rename it to a place outside first, \
         or zfs destroy it if its data is not needed"
    )
}

/// Fails if a dataset is placed or used by what is set on it, or has others
/// below it: another one in its place would not be the same.
pub fn check_movable(host: &Host, dataset: &Dataset) -> Result<()> {
    let below = told(host.tools(), ["type"], 1, &[dataset.as_str()])?;
    let is_below = |name: &str| name.strip_prefix(dataset.as_str()).is_some_and(|rest| rest.starts_with('/'));
    if let Some((name, _)) = below.iter().find(|(name, _)| is_below(name)) {
        bail!(child(name, dataset));
    }
    let list = "mountpoint,canmount,jailed,readonly";
    let arguments = ["get", "-H", "-p", "-o", "property,value,source", list, dataset.as_str()];
    let printed = host.tools().ask(Tool::Zfs, &arguments)?;
    for line in printed.stdout.lines() {
        let mut fields = line.split('\t');
        let (Some(name), Some(value), Some(source)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let harmless = matches!((name, value), ("canmount", "on") | ("jailed" | "readonly", "off"));
        if !harmless && is_own(source) {
            bail!("dataset {dataset} sets {name}={value} itself; zfs inherit {name} {dataset}");
        }
        if let Some(above) =
            source.strip_prefix("inherited from ").filter(|_| name != "mountpoint" && !harmless)
        {
            bail!("dataset {dataset} has {name}={value} from {above}; zfs inherit {name} {above}");
        }
    }
    Ok(())
}

/// Fails when a clone differs from its snapshot. Only zfs diff tells: `written`
/// is above 0 as soon as a clone was mounted.
pub fn check_pristine(host: &Host, snapshot: &str, clone: &Dataset) -> Result<()> {
    let printed = host.tools().ask(Tool::Zfs, &["diff", "-H", "-F", snapshot, clone.as_str()])?;
    if let Some(first) = printed.stdout.lines().next() {
        let first = first.split('\t').nth(2).unwrap_or(first);
        bail!(
            "dataset {clone} is there already and was changed ({} entries, {first} among them); \
             zfs destroy it if nobody needs it",
            printed.stdout.lines().count()
        );
    }
    Ok(())
}

/// Why a dataset is not mounted where the layout expects it, and the command that
/// mounts it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// Such as `zdata/jails is not mounted`.
    pub problem: String,
    /// Such as `zfs mount zdata/jails`.
    pub advice: String,
}

/// Checks that a dataset is mounted where the layout expects it, and not hidden
/// there.
pub fn misplaced(host: &Host, dataset: &Dataset, expected: &Path) -> Result<Option<Misplaced>> {
    let asked = ["mounted", "mountpoint", "canmount", "jailed", "keystatus", "encryptionroot", "type"];
    let Some([mounted, mountpoint, canmount, jailed, key, root, kind]) =
        properties(host.tools(), dataset.as_str(), asked)?
    else {
        bail!("{dataset}: dataset does not exist");
    };
    let misplaced = |problem: String, advice: String| Ok(Some(Misplaced { problem, advice }));
    if kind == "volume" {
        return misplaced(format!("{dataset} is a volume, not a file system"), "move it away".into());
    }
    if mounted != "yes" {
        let because = |why: &str| format!("{dataset} is not mounted: {why}");
        return if key == "unavailable" {
            let problem = because(&format!("the key of {root} is not loaded"));
            misplaced(problem, format!("zfs load-key {root}; zfs mount -a"))
        } else if matches!(mountpoint.as_str(), "none" | "legacy") {
            let above = dataset.as_str().rsplit_once('/').map(|(above, _)| above);
            let inherits = above.map_or(Ok(false), |above| is_mounted(host, above))?;
            let place = host.root().strip(expected).unwrap_or_else(|| expected.to_owned());
            let advice = match inherits {
                true => format!("zfs inherit mountpoint {dataset}"),
                false => format!("zfs set mountpoint={} {dataset}", place.display()),
            };
            misplaced(because(&format!("its mountpoint is {mountpoint}")), advice)
        } else if canmount == "off" {
            misplaced(because("canmount is off"), format!("zfs set canmount=on {dataset}"))
        } else if jailed == "on" {
            misplaced(because("jailed is on"), format!("zfs set jailed=off {dataset}; zfs mount -a"))
        } else {
            misplaced(format!("{dataset} is not mounted"), format!("zfs mount {dataset}"))
        };
    }
    if Path::new(&mountpoint) != expected {
        let problem = format!("{dataset} is mounted at {mountpoint}, not at {}", expected.display());
        return misplaced(problem, format!("zfs inherit mountpoint {dataset}"));
    }
    let mounts = host.kernel()?.mounts()?;
    let Some(cover) = covering_mount(&mounts, dataset, expected) else { return Ok(None) };
    let problem = format!(
        "{dataset} is hidden by {}, which is mounted on {}",
        cover.from.display(),
        cover.on.display()
    );
    misplaced(problem, format!("zfs unmount {dataset}; zfs mount {dataset}"))
}

fn is_mounted(host: &Host, dataset: &str) -> Result<bool> {
    Ok(properties(host.tools(), dataset, ["mounted"])?.is_some_and(|[mounted]| mounted == "yes"))
}

/// What was mounted on the mount point of a dataset, or above it, after the
/// dataset.
pub fn covering_mount<'m>(
    mounts: &'m [kernel::Mount],
    dataset: &Dataset,
    place: &Path,
) -> Option<&'m kernel::Mount> {
    let own = mounts.iter().position(|m| m.from == Path::new(dataset.as_str()) && m.on == place)?;
    mounts[own + 1..].iter().find(|m| kernel::is_at_or_below(place, &m.on))
}

/// Fails unless a dataset is mounted where the layout expects it, and not hidden
/// there.
pub fn check_mounted(host: &Host, dataset: &Dataset, expected: &Path) -> Result<()> {
    match misplaced(host, dataset, expected)? {
        None => Ok(()),
        Some(Misplaced { problem, advice }) => bail!("{problem}; {advice}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["zdata", "zdata/jails", "z/a-b_c.d:e", &format!("z/{}", "a".repeat(253))] {
            assert_eq!(good.parse::<Dataset>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/zdata",
            "zdata/",
            "zdata//j",
            "zdata/../x",
            "zdata@s",
            "z#b",
            "z a",
            "-z",
            "1z",
            "z/%x",
            &"a".repeat(256),
        ] {
            assert!(bad.parse::<Dataset>().is_err(), "{bad:?}");
        }
        let z: Dataset = "zdata".parse().unwrap();
        assert!(z.child("a/b").is_ok());
        assert!(z.child("").is_err());
    }
}
