//! ZFS, through zfs(8).

use crate::host::Host;
use crate::jail::JailName;
use crate::plan::{Action, Undo};
use crate::tool::{Outcome, Tool, ToolError, Tools};
use anyhow::{Context, Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};
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
/// snapshot does not exist. A user property counts only where it is set: one
/// inherited from a parent says nothing about this dataset.
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

/// Reads what `zfs get -H -o property,value,source` prints of one dataset. The
/// error is the first name that has no value there.
pub fn values_in<'n, const N: usize>(text: &str, names: [&'n str; N]) -> Result<[String; N], &'n str> {
    let value = |name: &str| {
        let of = |line: &str| {
            let mut fields = line.split('\t');
            let (known, value, source) = (fields.next()?, fields.next()?, fields.next()?);
            let counts = !name.contains(':') || source == "local";
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
        let counts = value != "-" && (!property.contains(':') || source == "local");
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

/// The properties that somebody has set on a dataset itself, such as a quota;
/// whose it is is not among them.
pub fn local_properties(host: &Host, dataset: &Dataset) -> Result<Vec<(String, String)>> {
    let arguments = ["get", "-H", "-p", "-s", "local", "-o", "property,value", "all", dataset.as_str()];
    let printed = host.tools().ask(Tool::Zfs, &arguments)?;
    let pair = |line: &str| line.split_once('\t').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(printed.stdout.lines().filter_map(pair).filter(|(name, _)| name != OWNER_PROPERTY).collect())
}

/// The snapshots of a container; fails if anything hangs on it that would not
/// go with it.
pub fn own_snapshots(host: &Host, dataset: &Dataset) -> Result<Vec<String>> {
    let told = told(host.tools(), ["clones"], 1, &[dataset.as_str()])?;
    own_snapshots_in(told.iter().map(|(name, [clones])| (name.as_str(), clones.as_str())), dataset)
}

/// The same, by the names and clones of what is one level below the container
/// and of others.
pub fn own_snapshots_in<'a>(
    told: impl Iterator<Item = (&'a str, &'a str)>,
    dataset: &Dataset,
) -> Result<Vec<String>> {
    let mut snapshots = Vec::new();
    for (name, clones) in told {
        match name.strip_prefix(dataset.as_str()) {
            Some(below) if below.starts_with('/') => {
                bail!("dataset {name} is inside of {dataset}; destroy it first, if nobody needs it")
            }
            Some(snapshot) if snapshot.starts_with('@') => {}
            _ => continue,
        }
        if let Some(clone) = clones.split(',').find(|c| !c.is_empty()) {
            bail!("{clone} is cloned from {name}; destroy or promote that first");
        }
        snapshots.push(name.to_owned());
    }
    Ok(snapshots)
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

/// The arguments that create a dataset.
pub fn create_arguments(dataset: &str, properties: &[(String, String)]) -> Vec<String> {
    let mut words = vec!["create".to_owned()];
    for (name, value) in properties {
        words.extend(["-o".to_owned(), format!("{name}={value}")]);
    }
    words.push(dataset.to_owned());
    words
}

/// Creates a file system.
pub struct Create {
    /// Its name.
    pub dataset: Dataset,
    /// Properties it gets.
    pub properties: Vec<(String, String)>,
    /// Where it must be mounted afterwards (a real path).
    pub mountpoint: PathBuf,
}

impl Action for Create {
    fn shell(&self) -> String {
        Tools::line(Tool::Zfs, &create_arguments(self.dataset.as_str(), &self.properties))
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let done = host.tools().run(Tool::Zfs, &create_arguments(self.dataset.as_str(), &self.properties));
        // It fails when it made the dataset and could not mount it.
        if done.as_ref().err().is_none_or(ToolError::may_have_made) {
            undo.push(DestroyCreated(self.dataset.clone()));
        }
        done?;
        check_mounted(host, &self.dataset, &self.mountpoint)
    }
}

/// A zfs(8) command, and the one that takes it back.
pub struct Command {
    arguments: Vec<String>,
    inverse: Option<Vec<String>>,
}

impl Command {
    /// A command that can't be taken back.
    pub fn new(arguments: &[&str]) -> Command {
        Command { arguments: arguments.iter().map(|a| (*a).to_owned()).collect(), inverse: None }
    }

    /// The same, but this takes it back.
    pub fn taken_back_by(self, arguments: &[&str]) -> Command {
        Command { inverse: Some(Command::new(arguments).arguments), ..self }
    }

    /// Takes a snapshot, by its full name.
    pub fn snapshot(name: &str) -> Command {
        Command::new(&["snapshot", name]).taken_back_by(&["destroy", name])
    }
}

impl Action for Command {
    fn shell(&self) -> String {
        Tools::line(Tool::Zfs, &self.arguments)
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let done = host.tools().run(Tool::Zfs, &self.arguments);
        let done_by_half = |e: &ToolError| match &self.arguments[..] {
            [command, name] if command == "snapshot" && e.may_have_made() => {
                exists(host.tools(), name).unwrap_or(false)
            }
            _ => false,
        };
        if let Some(inverse) = &self.inverse
            && done.as_ref().err().is_none_or(done_by_half)
        {
            undo.push(Command { arguments: inverse.clone(), inverse: None });
        }
        done.map(drop).map_err(|e| {
            let busy = e.says("pool or dataset is busy");
            let error = anyhow::Error::new(e);
            if busy { error.context("somebody works in it (fstat -f shows who)") } else { error }
        })
    }
}

/// Destroys a file system that this run created; it may have been renamed
/// since, and then it is what the run was for.
struct DestroyCreated(Dataset);

impl Action for DestroyCreated {
    fn shell(&self) -> String {
        Tools::line(Tool::Zfs, &["destroy", self.0.as_str()])
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        if exists(host.tools(), self.0.as_str())? {
            host.tools().run(Tool::Zfs, &["destroy", self.0.as_str()])?;
        }
        Ok(())
    }
}

/// Clones a snapshot as a jail's container, marked as that jail's.
pub struct Clone {
    /// The snapshot.
    pub snapshot: String,
    /// The container.
    pub container: Dataset,
    /// Whose it is.
    pub jail: JailName,
    /// Further properties it gets.
    pub properties: Vec<(String, String)>,
    /// Where it must be mounted afterwards (a real path).
    pub mountpoint: PathBuf,
}

impl Clone {
    fn arguments(&self) -> Vec<String> {
        // Never -p: it succeeds without a word when something else has the name.
        let mut words = vec!["clone".into(), "-o".into(), format!("{OWNER_PROPERTY}={}", self.jail)];
        for (name, value) in &self.properties {
            words.extend(["-o".into(), format!("{name}={value}")]);
        }
        words.extend([self.snapshot.clone(), self.container.to_string()]);
        words
    }
}

impl Action for Clone {
    fn shell(&self) -> String {
        Tools::line(Tool::Zfs, &self.arguments())
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let done = host.tools().run(Tool::Zfs, &self.arguments());
        if done.as_ref().err().is_none_or(ToolError::may_have_made) {
            undo.push(Destroy { container: self.container.clone(), snapshot: self.snapshot.clone() });
        }
        let printed = done?;
        // zfs clone exits 0 for a clone that it could not mount.
        check_mounted(host, &self.container, &self.mountpoint).with_context(|| {
            if printed.stderr.is_empty() {
                self.shell()
            } else {
                format!("{}: {}", self.shell(), printed.stderr)
            }
        })
    }
}

/// Mounts a container that a killed run cloned and did not get to mount.
pub struct Mount {
    /// The snapshot it is a clone of, and must not differ from.
    pub snapshot: String,
    /// The container.
    pub container: Dataset,
    /// Where it must be mounted afterwards (a real path).
    pub mountpoint: PathBuf,
}

impl Action for Mount {
    fn shell(&self) -> String {
        Tools::line(Tool::Zfs, &["mount", self.container.as_str()])
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        host.tools().run(Tool::Zfs, &["mount", self.container.as_str()])?;
        undo.push(Command::new(&["unmount", self.container.as_str()]));
        check_mounted(host, &self.container, &self.mountpoint)?;
        check_pristine(host, &self.snapshot, &self.container)
    }
}

/// Fails unless the dataset is mounted where the layout has it.
pub fn check_mounted(host: &Host, dataset: &Dataset, expected: &Path) -> Result<()> {
    let Some([mounted, mountpoint]) = properties(host.tools(), dataset.as_str(), ["mounted", "mountpoint"])?
    else {
        bail!("{dataset}: dataset does not exist");
    };
    if mounted != "yes" {
        bail!("{dataset} is not mounted; zfs mount {dataset}");
    }
    if Path::new(&mountpoint) != expected {
        bail!("{dataset} is mounted at {mountpoint}, not at {}", expected.display());
    }
    Ok(())
}

/// Destroys a container that this run cloned.
pub struct Destroy {
    /// The container.
    pub container: Dataset,
    /// The snapshot it was cloned from, as proof that it is that clone.
    pub snapshot: String,
}

impl Action for Destroy {
    fn shell(&self) -> String {
        Tools::line(Tool::Zfs, &["destroy", self.container.as_str()])
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let Some([origin]) = properties(host.tools(), self.container.as_str(), ["origin"])? else {
            return Ok(());
        };
        if origin != self.snapshot {
            bail!("{} is not a clone of {}", self.container, self.snapshot);
        }
        // Without -r: a clone of this run has neither snapshots nor children.
        host.tools().run(Tool::Zfs, &["destroy", self.container.as_str()])?;
        Ok(())
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
