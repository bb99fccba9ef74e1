//! What zfs-get(8) reports, asked for in one place.

use crate::system::tool::{Outcome, Tool, Tools};
use anyhow::{Result, bail};

const ABSENT: &str = "dataset does not exist";

/// The properties of a dataset or snapshot that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetProperties {
    /// The full name.
    pub name: String,
    properties: Vec<Property>,
}

/// One property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its value, numbers with all digits; `-` if it is not set.
    pub value: String,
    /// Where the value comes from: `local`, `received`, `inherited from NAME`,
    /// `default`, or `-`.
    pub source: String,
}

impl Property {
    /// Whether the value is the dataset's own: set on it, or received with it
    /// (zfs-receive(8)).
    pub fn is_own(&self) -> bool {
        matches!(self.source.as_str(), "local" | "received")
    }
}

impl DatasetProperties {
    /// The value of a property, empty if it is not set. A user property counts
    /// only where it is set, or was received: one inherited from a parent says
    /// nothing about this dataset.
    pub fn get(&self, property: &str) -> &str {
        let found = self.properties.iter().find(|p| p.name == property);
        let counts = |p: &&Property| p.value != "-" && (!p.name.contains(':') || p.is_own());
        found.filter(counts).map_or("", |p| &p.value)
    }

    /// Whether it is mounted; `mounted` was asked for.
    pub fn is_mounted(&self) -> bool {
        self.get("mounted") == "yes"
    }

    /// All properties, in the order of zfs-get(8).
    pub fn all(&self) -> &[Property] {
        &self.properties
    }
}

/// The one of that name.
pub fn find<'p>(all: &'p [DatasetProperties], name: &str) -> Option<&'p DatasetProperties> {
    all.iter().find(|dataset| dataset.name == name)
}

/// The properties of one dataset or snapshot; `None` when it does not exist.
///
/// # Errors
///
/// When zfs(8) fails, or says nothing of a property.
pub fn query_one(tools: &Tools, dataset: &str, properties: &[&str]) -> Result<Option<DatasetProperties>> {
    let list = properties.join(",");
    let arguments = ["get", "-H", "-p", "-o", "name,property,value,source", &list, dataset];
    let printed = match tools.ask(Tool::Zfs, &arguments) {
        Err(e) if e.says(ABSENT) => return Ok(None),
        other => other?,
    };
    let found = parse(&printed.stdout).into_iter().next();
    let has = |name: &str| found.iter().flat_map(|f| &f.properties).any(|p| p.name == name);
    match properties.iter().find(|name| **name != "all" && !has(name)) {
        Some(name) => bail!("zfs get {name} {dataset}: no value in \"{}\"", printed.stdout.trim()),
        None => Ok(found),
    }
}

/// The properties of datasets and of what is up to `depth` levels below them,
/// snapshots being one level below their file system, all from one zfs(8). A
/// dataset that does not exist is left out.
///
/// # Errors
///
/// When zfs(8) fails.
pub fn query(
    tools: &Tools,
    datasets: &[&str],
    depth: usize,
    properties: &[&str],
) -> Result<Vec<DatasetProperties>> {
    let (list, depth) = (properties.join(","), depth.to_string());
    let mut arguments = vec!["get", "-H", "-p", "-d", &depth, "-t", "filesystem,volume,snapshot"];
    arguments.extend(["-o", "name,property,value,source", &list]);
    arguments.extend(datasets);
    match tools.ask(Tool::Zfs, &arguments) {
        Ok(printed) => Ok(parse(&printed.stdout)),
        // It reports the others nevertheless.
        Err(e) if e.says(ABSENT) => match e.outcome {
            Outcome::Failed { stdout, .. } => Ok(parse(&stdout)),
            Outcome::NotStarted(_) => Ok(Vec::new()),
        },
        Err(e) => Err(e.into()),
    }
}

/// Reads what `zfs get -H -o name,property,value,source` prints. Other lines are
/// passed over.
pub fn parse(text: &str) -> Vec<DatasetProperties> {
    let mut all: Vec<DatasetProperties> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('\t').map(str::to_owned);
        let (Some(dataset), Some(name), Some(value), Some(source)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if all.last().is_none_or(|last| last.name != dataset) {
            all.push(DatasetProperties { name: dataset, properties: Vec::new() });
        }
        if let Some(last) = all.last_mut() {
            last.properties.push(Property { name, value, source });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_where_they_come_from() {
        let text = "z/a\tmounted\tyes\t-\nz/a\tthinjail:jail\tweb\tlocal\nz/a\torigin\t-\t-\n\
                    noise\nz/b\tthinjail:jail\tweb\tinherited from z\nz/b\tmounted\tno\t-\n\
                    z/c\tthinjail:jail\tdb\treceived\n";
        let all = parse(text);
        assert_eq!(all.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["z/a", "z/b", "z/c"]);
        let of = |name: &str| find(&all, name).unwrap();
        assert_eq!([of("z/a").is_mounted(), of("z/b").is_mounted()], [true, false]);
        assert_eq!(["z/a", "z/b", "z/c"].map(|name| of(name).get("thinjail:jail")), ["web", "", "db"]);
        assert_eq!((of("z/a").get("origin"), of("z/a").get("unknown")), ("", ""));
        assert!(find(&all, "z").is_none());
    }
}
