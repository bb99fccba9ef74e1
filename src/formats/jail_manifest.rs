//! The first entry of an exported jail: what it is, as JSON.

use serde_json::{Value, json};
use thiserror::Error;

/// The name of the entry.
pub const NAME: &str = "thinjail.json";

/// The name of the last entry, which says what was written before it.
pub const END_NAME: &str = "thinjail.end";

/// The format that is written, and the only one that is read.
const FORMAT: u64 = 1;

/// The largest manifest, in bytes.
pub const LARGEST: u64 = 1 << 20;

/// A jail as it was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JailManifest {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Option<String>,
    /// Its addresses, with prefix lengths, as far as they are fixed.
    pub addresses: Vec<String>,
    /// The release whose base it mounts.
    pub release: String,
    /// The version of that base, such as `14.5-RELEASE-p3`.
    pub version: String,
    /// What its container is a clone of, such as `14.5-RELEASE-skeleton@p3`.
    pub origin: Option<String>,
    /// The guid of that snapshot, under ZFS.
    pub origin_guid: Option<String>,
    /// A number for the contents of that snapshot; without it, the archive has all of
    /// the container instead of the difference.
    pub template_digest: Option<String>,
    /// What it mounts besides base and container: source, target, type, options.
    pub mounts: Vec<[String; 4]>,
    /// Properties that are set on its dataset.
    pub properties: Vec<(String, String)>,
    /// Its block of jail.conf(5).
    pub block: String,
}

/// Why a manifest cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadManifest {
    /// It is no JSON, or has no such member.
    #[error("no {0} in it")]
    Member(&'static str),
    /// It is not JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// Another format.
    #[error("format {0}, which this version does not know")]
    Format(String),
}

impl JailManifest {
    /// The text.
    pub fn to_text(&self) -> String {
        let properties: serde_json::Map<String, Value> =
            self.properties.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let mounts: Vec<Value> = self
            .mounts
            .iter()
            .map(|[source, target, kind, options]| {
                json!({ "source": source, "target": target, "type": kind, "options": options })
            })
            .collect();
        let document = json!({
            "thinjail": env!("CARGO_PKG_VERSION"),
            "format": FORMAT,
            "name": self.name,
            "id": self.id,
            "addresses": self.addresses,
            "release": self.release,
            "version": self.version,
            "origin": self.origin,
            "origin_guid": self.origin_guid,
            "contents": if self.template_digest.is_some() { "difference" } else { "full" },
            "template_digest": self.template_digest,
            "mounts": mounts,
            "properties": properties,
            "block": self.block,
        });
        format!("{document:#}\n")
    }

    /// Reads the text.
    ///
    /// # Errors
    ///
    /// Text that is no manifest, or one of another format.
    pub fn parse(text: &[u8]) -> Result<JailManifest, BadManifest> {
        let value: Value = serde_json::from_slice(text).map_err(|e| BadManifest::Syntax(e.to_string()))?;
        if value["format"] != FORMAT {
            return Err(BadManifest::Format(value["format"].to_string()));
        }
        let text = |name: &'static str| match &value[name] {
            Value::String(text) => Ok(text.clone()),
            _ => Err(BadManifest::Member(name)),
        };
        let optional = |name: &'static str| match &value[name] {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(BadManifest::Member(name)),
        };
        let list = |name: &'static str| value[name].as_array().ok_or(BadManifest::Member(name));
        let string = |value: &Value, name| value.as_str().map(str::to_owned).ok_or(BadManifest::Member(name));
        let addresses =
            list("addresses")?.iter().map(|a| string(a, "addresses")).collect::<Result<_, _>>()?;
        let mounts = list("mounts")?
            .iter()
            .map(|mount| {
                let part = |name: &str| string(&mount[name], "mounts");
                Ok([part("source")?, part("target")?, part("type")?, part("options")?])
            })
            .collect::<Result<_, BadManifest>>()?;
        let properties = value["properties"].as_object().ok_or(BadManifest::Member("properties"))?;
        let properties = properties
            .iter()
            .map(|(name, value)| Ok((name.clone(), string(value, "properties")?)))
            .collect::<Result<_, BadManifest>>()?;
        let manifest = JailManifest {
            name: text("name")?,
            id: optional("id")?,
            addresses,
            release: text("release")?,
            version: text("version")?,
            origin: optional("origin")?,
            origin_guid: optional("origin_guid")?,
            template_digest: optional("template_digest")?,
            mounts,
            properties,
            block: text("block")?,
        };
        match (value["contents"].as_str(), &manifest.template_digest) {
            (Some("difference"), Some(_)) | (Some("full"), None) => Ok(manifest),
            _ => Err(BadManifest::Member("contents")),
        }
    }
}

/// What the last entry says: how many entries are before it, and the SHA-256 of all
/// bytes before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveEnd {
    /// How many entries.
    pub entries: u64,
    /// The checksum, as 64 digits.
    pub sha256: String,
}

impl ArchiveEnd {
    /// The text.
    pub fn to_text(&self) -> String {
        format!("{}\n", json!({ "entries": self.entries, "sha256": self.sha256 }))
    }

    /// Reads the text; `None` if it is something else.
    pub fn parse(text: &[u8]) -> Option<ArchiveEnd> {
        let value: Value = serde_json::from_slice(text).ok()?;
        Some(ArchiveEnd { entries: value["entries"].as_u64()?, sha256: value["sha256"].as_str()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifest() -> JailManifest {
        JailManifest {
            name: "web".into(),
            id: Some("10".into()),
            addresses: vec!["192.168.7.10/24".into()],
            release: "14.5-RELEASE".into(),
            version: "14.5-RELEASE-p3".into(),
            origin: Some("14.5-RELEASE-skeleton@p3".into()),
            origin_guid: None,
            template_digest: Some("12ab".into()),
            mounts: vec![["/a b".into(), "/mnt".into(), "nullfs".into(), "ro".into()]],
            properties: vec![("compression".into(), "zstd".into())],
            block: "web {\n\t$id = \"10\";\n}\n".into(),
        }
    }

    #[test]
    fn there_and_back() {
        let text = manifest().to_text();
        assert_eq!(JailManifest::parse(text.as_bytes()), Ok(manifest()));
        let full = JailManifest { template_digest: None, ..manifest() };
        assert_eq!(JailManifest::parse(full.to_text().as_bytes()), Ok(full));
        let end = ArchiveEnd { entries: 9, sha256: "ab".into() };
        assert_eq!(ArchiveEnd::parse(end.to_text().as_bytes()), Some(end));
    }

    #[test]
    fn what_is_refused() {
        let text = manifest().to_text();
        for (from, to, expected) in [
            ("\"format\": 1", "\"format\": 2", "format 2, which this version does not know"),
            ("\"name\": \"web\"", "\"name\": 7", "no name in it"),
            ("\"difference\"", "\"full\"", "no contents in it"),
            ("\"type\": \"nullfs\"", "\"type\": null", "no mounts in it"),
            ("\"addresses\": [", "\"addresses\": [7,", "no addresses in it"),
        ] {
            assert!(text.contains(from), "{from}");
            let error = JailManifest::parse(text.replace(from, to).as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        assert!(JailManifest::parse(b"{").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = JailManifest::parse(text.as_bytes());
            let _ = ArchiveEnd::parse(text.as_bytes());
        }
    }
}
