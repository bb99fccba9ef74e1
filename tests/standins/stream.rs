//! `zfs send` and `zfs receive` of the stand-in for zfs(8).
//!
//! A stream is one line of JSON, which names the directory with the files of the snapshot, and an end mark: a receiver
//! copies from there, also one of another simulated host. A stream without the mark was cut off.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::host::{Host, replace};
use crate::pool::{Pool, Snapshot, aside, manifest_path, now};
use crate::tree::{self, Mounts};
use std::collections::BTreeMap;

/// What ends a stream.
const END: &str = "end of the stream\n";

/// A stream as it is received.
pub struct Stream {
    /// The name of the snapshot behind the `@`.
    pub snapshot: String,
    /// What it is known by wherever it is received.
    guid: u64,
    /// The guid of the snapshot that it starts from.
    pub from: Option<u64>,
    /// Whether it makes a clone of that one.
    pub is_clone: bool,
    /// What is set on the dataset.
    pub properties: BTreeMap<String, String>,
    files: PathBuf,
    manifest: PathBuf,
}

impl Stream {
    /// The stream of a snapshot.
    pub fn of(
        host: &Host,
        pool: &Pool,
        snapshot: u64,
        from: Option<(u64, bool)>,
        properties: BTreeMap<String, String>,
    ) -> Result<Stream> {
        let found = pool.snapshots.get(&snapshot).context("no such snapshot")?;
        let guid = |id: u64| pool.snapshots.get(&id).map(|s| s.guid);
        let absolute = |path: PathBuf| std::path::absolute(path).context("path of a snapshot");
        Ok(Stream {
            snapshot: found.name.clone(),
            guid: found.guid,
            from: from.and_then(|(id, _)| guid(id)),
            is_clone: from.is_some_and(|(_, is_clone)| is_clone),
            properties,
            files: absolute(aside(host, "snapshots", snapshot))?,
            manifest: absolute(manifest_path(host, snapshot))?,
        })
    }

    /// The bytes.
    pub fn to_text(&self) -> String {
        let fields = json!({
            "stream": "of the stand-in for zfs(8)",
            "snapshot": self.snapshot,
            "guid": self.guid,
            "from": self.from,
            "clone": self.is_clone,
            "properties": self.properties,
            "files": self.files,
            "manifest": self.manifest,
        });
        format!("{fields}\n{END}")
    }

    /// Reads one from standard input; `None` if it was cut off.
    pub fn read() -> Result<Option<Stream>> {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        let Some(line) = text.strip_suffix(END) else { return Ok(None) };
        let value: Value = serde_json::from_str(line).context("a stream of another program")?;
        let text =
            |name: &str| value[name].as_str().map(str::to_owned).with_context(|| format!("stream: {name}"));
        let properties = value["properties"].as_object().into_iter().flatten();
        Ok(Some(Stream {
            snapshot: text("snapshot")?,
            guid: value["guid"].as_u64().context("stream: guid")?,
            from: value["from"].as_u64(),
            is_clone: value["clone"] == true,
            properties: properties
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            files: text("files")?.into(),
            manifest: text("manifest")?.into(),
        }))
    }

    /// Gives a new or unmounted dataset the snapshot and its files.
    pub fn put(&self, host: &Host, pool: &mut Pool, dataset: &str) -> Result<()> {
        let text = fs::read_to_string(&self.manifest)?;
        // The numbers of files are those of the other host: none may come again here.
        let manifest = tree::manifest_from_json(&serde_json::from_str(&text)?)?;
        pool.raise(manifest.values().map(|node| node.object.max(node.stamp)).max().unwrap_or(0));
        let id = pool.number();
        fs::create_dir_all(host.state("snapshots"))?;
        tree::copy(&self.files, &aside(host, "snapshots", id), &Mounts::new())?;
        replace(&manifest_path(host, id), &text)?;
        let snapshot = Snapshot {
            dataset: pool.dataset(dataset)?.id,
            name: self.snapshot.clone(),
            creation: now(),
            txg: id,
            guid: self.guid,
            holds: BTreeMap::new(),
            local: BTreeMap::new(),
        };
        pool.snapshots.insert(id, snapshot);
        pool.fill(host, dataset, id)
    }
}
