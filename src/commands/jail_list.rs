//! What jail-list prints.

use crate::commands::common::{self, CommonOfData, arguments};
use crate::domain::inventory::{Inventory, JailStatus, Presence, TemplateAge};
use crate::domain::layout::Storage;
use crate::domain::settings::Settings;
use crate::formats::printable;
use crate::system::console;
use crate::system::host::Host;
use crate::system::tool::Tool;
use anyhow::Result;
use clap::Parser;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::process::ExitCode;

/// List the thin jails of this host
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-list", version)]
pub struct JailList {
    /// The options of every program.
    #[command(flatten)]
    pub common: CommonOfData,
}

arguments!(JailList);

const PROGRAM: &str = "jail-list";

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

/// Lists the jails.
fn run(arguments: &JailList, host: &Host) -> Result<ExitCode> {
    let settings = Settings::load(host.root())?;
    let mut inventory = Inventory::read(host, &settings)?;
    add_live_addresses(host, &mut inventory);
    match arguments.common.json {
        true => console::print_json(&document(&inventory))?,
        false => console::print_text(&table(&inventory))?,
    }
    if let Some((first, rest)) = inventory.unread.split_first() {
        let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
        console::note(PROGRAM, &format!("warning: cannot read everything: {}{more}", first.why));
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks running jails for addresses that no configuration says: those of DHCP and
/// of routers, and those that rc(8) of a jail sets.
fn add_live_addresses(host: &Host, inventory: &mut Inventory) {
    for jail in &mut inventory.jails {
        let (Presence::Present(running), Presence::Present(resources)) = (&jail.running, &jail.configuration)
        else {
            continue;
        };
        if !resources.gets_addresses && !jail.addresses.is_empty() {
            continue;
        }
        // A jail that has just stopped has none.
        if let Ok(printed) = host.tools().ask(Tool::Ifconfig, &["-j", &running.jid.to_string()]) {
            for address in addresses_in(&printed.stdout) {
                if !jail.addresses.contains(&address) {
                    jail.addresses.push(address);
                }
            }
        }
    }
}

/// The addresses in what ifconfig(8) prints, without those of the loopback and
/// those of one link.
fn addresses_in(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some("inet" | "inet6"), Some(word)) = (words.next(), words.next())
            && let Ok(address) = word.parse::<IpAddr>()
        {
            let local = match address {
                IpAddr::V4(v4) => v4.is_loopback(),
                IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
            };
            if !local {
                found.push(address);
            }
        }
    }
    found
}

/// Shown for what does not exist.
const NONE: &str = "-";
/// What could not be read.
const UNKNOWN: &str = "?";

const COLUMNS: [&str; 7] = ["NAME", "RELEASE", "ID", "ADDRESSES", "JID", "SIZE", "BASE"];
/// Those that are numbers.
const TO_THE_RIGHT: [&str; 3] = ["ID", "JID", "SIZE"];

/// The jails in columns, under a heading.
pub fn table(inventory: &Inventory) -> String {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(inventory.jails.iter().map(|jail| row(inventory, jail)));
    let widths: [usize; COLUMNS.len()] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default());
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, width), column) in row.iter().zip(widths).zip(COLUMNS) {
            match TO_THE_RIGHT.contains(&column) {
                true => line += &format!("{cell:>width$}  "),
                false => line += &format!("{cell:width$}  "),
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn row(inventory: &Inventory, jail: &JailStatus) -> [String; COLUMNS.len()] {
    let or = |text: Option<String>, otherwise: &str| text.unwrap_or_else(|| otherwise.to_owned());
    let release = match &jail.origin {
        Some((release, snapshot)) => format!("{release}@{snapshot}"),
        None => {
            let unknown =
                matches!(jail.dataset, Presence::Unknown) || matches!(jail.fstab, Presence::Unknown);
            or(jail.release().map(ToString::to_string), if unknown { UNKNOWN } else { NONE })
        }
    };
    let (id, addresses) = match &jail.configuration {
        Presence::Present(resources) => {
            let addresses: Vec<String> = jail.addresses.iter().map(ToString::to_string).collect();
            let addresses = Some(addresses.join(",")).filter(|a| !a.is_empty());
            (or(resources.id.as_deref().and_then(word), NONE), or(addresses, NONE))
        }
        Presence::Absent => (NONE.into(), NONE.into()),
        Presence::Unknown => (UNKNOWN.into(), UNKNOWN.into()),
    };
    let jid = match &jail.running {
        Presence::Present(running) => running.jid.to_string(),
        Presence::Absent => NONE.into(),
        Presence::Unknown => UNKNOWN.into(),
    };
    let size = match &jail.dataset {
        Presence::Present(held) => or(held.used.map(human), UNKNOWN),
        Presence::Absent => NONE.into(),
        Presence::Unknown => UNKNOWN.into(),
    };
    [jail.name.to_string(), release, id, addresses, jid, size, base(inventory, jail)]
}

/// One word of what is there, whatever it is.
fn word(text: &str) -> Option<String> {
    let text: String = text.chars().map(|c| if c.is_whitespace() { '?' } else { c }).collect();
    let text = printable::line(&text);
    (!text.is_empty()).then_some(text)
}

/// Whether the jail is whole, and if so how it compares with its base.
fn base(inventory: &Inventory, jail: &JailStatus) -> String {
    let missing: Vec<String> =
        inventory.missing(jail).into_iter().map(|part| format!("no {}", part.as_str())).collect();
    if !missing.is_empty() {
        return format!("incomplete: {}", missing.join(", "));
    }
    match inventory.age(jail) {
        TemplateAge::Current => "current".into(),
        TemplateAge::Behind { snapshot: Some(snapshot), .. } => format!("behind @{snapshot}"),
        TemplateAge::Behind { version: Some(version), .. } => format!("behind {version}"),
        TemplateAge::Behind { .. } => "behind".into(),
        TemplateAge::Unknown => NONE.into(),
    }
}

/// A number of bytes as du -h prints it (freebsd-src:
/// lib/libutil/humanize_number.c, with HN_DECIMAL, five characters).
fn human(bytes: u64) -> String {
    const UNITS: &[u8] = b"BKMGTPE";
    /// From here on the decimal would be rounded up to 10.0.
    const CUT: u64 = 973;
    let (mut whole, mut rest, mut unit, mut inexact) = (bytes, 0, 0, false);
    while whole >= 1000 || whole == 999 && (rest >= CUT || inexact) {
        inexact |= rest > 0;
        rest = whole % 1024;
        whole /= 1024;
        unit += 1;
    }
    let letter = char::from(UNITS[unit]);
    if unit > 0 && (whole < 9 || whole == 9 && rest < CUT) {
        let tenths = (rest * 10 + 512) / 1024;
        return format!("{}.{}{letter}", whole + tenths / 10, tenths % 10);
    }
    format!("{}{letter}", whole + (rest + 512) / 1024)
}

/// The jails as one JSON document. The names of the members are in the manual
/// page and stay.
pub fn document(inventory: &Inventory) -> Value {
    let jails: Vec<Value> = inventory.jails.iter().map(|jail| object(inventory, jail)).collect();
    let unread: Vec<&str> = inventory.unread.iter().map(|u| u.why.as_str()).collect();
    json!({ "program": PROGRAM, "jails": jails, "unread": unread })
}

fn object(inventory: &Inventory, jail: &JailStatus) -> Value {
    let resources = jail.configuration.there();
    let held = jail.dataset.there();
    let id = resources.and_then(|c| c.id.as_deref()).map(|id| match id.parse::<u32>() {
        Ok(number) => json!(number),
        Err(_) => json!(id),
    });
    let addresses = || Value::from(jail.addresses.iter().map(ToString::to_string).collect::<Vec<String>>());
    let running = match &jail.running {
        Presence::Present(_) => Some(true),
        Presence::Absent => Some(false),
        Presence::Unknown => None,
    };
    let container = match inventory.layout.storage() {
        Storage::Zfs(_) => held.map(|h| h.dataset.to_string()),
        Storage::Directory => {
            jail.directory.there().map(|_| inventory.layout.container(&jail.name).display().to_string())
        }
    };
    let base = match inventory.age(jail) {
        TemplateAge::Current => Some("current"),
        TemplateAge::Behind { .. } => Some("behind"),
        TemplateAge::Unknown => None,
    };
    let template = jail.release().and_then(|release| inventory.template(release));
    let version = template.and_then(|t| t.version.as_ref().ok()).map(ToString::to_string);
    let missing: Vec<&str> = inventory.missing(jail).into_iter().map(|part| part.as_str()).collect();
    json!({
        "name": jail.name.as_str(),
        "release": jail.release().map(|r| r.as_str()),
        "snapshot": jail.origin.as_ref().map(|(_, snapshot)| snapshot),
        "id": id,
        "addresses": resources.map(|_| addresses()),
        "running": running,
        "jid": jail.running.there().map(|r| r.jid),
        "size": held.and_then(|h| h.used),
        "base": base,
        "newest": template.and_then(|t| t.newest()).map(|s| &s.name),
        "version": version,
        "missing": missing,
        "errors": resources.map(|c| &c.errors),
        "file": resources.map(|c| c.file.display().to_string()),
        "container": container,
        "origin": held.and_then(|h| h.origin.as_ref()),
        "owner": held.and_then(|h| h.owner.as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::configured::{JailConfigs, JailResources};
    use crate::domain::inventory::{ContainerDataset, Fstab, SkeletonSnapshot, TemplateStatus};
    use crate::domain::layout::Layout;
    use crate::system::kernel::RunningJail;
    use proptest::prelude::*;
    use std::fs::FileType;
    use std::path::Path;

    #[test]
    fn as_du_prints_it() {
        for (bytes, expected) in [
            (0, "0B"),
            (1, "1B"),
            (999, "999B"),
            (1000, "1.0K"),
            (1536, "1.5K"),
            (81_408, "80K"),
            (10_000, "9.8K"),
            (10_188, "9.9K"),
            (10_189, "10K"),
            (1_022_000, "998K"),
            (1_023_999, "1.0M"),
            (1_258_291, "1.2M"),
            (5_905_580_032, "5.5G"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(human(bytes), expected, "{bytes}");
        }
    }

    fn directory() -> FileType {
        std::fs::metadata("/").unwrap().file_type()
    }

    fn seen<T: std::fmt::Debug>(it: impl Strategy<Value = T>) -> impl Strategy<Value = Presence<T>> {
        (it, 0..4).prop_map(|(it, what)| match what {
            0 => Presence::Absent,
            1 => Presence::Unknown,
            _ => Presence::Present(it),
        })
    }

    fn resources() -> impl Strategy<Value = JailResources> {
        let id = prop::option::of(prop_oneof![any::<u32>().prop_map(|n| n.to_string()), any::<String>()]);
        (id, prop::option::of("/[a-z]{0,9}"), prop::collection::vec(any::<String>(), 0..2))
            .prop_map(|(id, path, errors)| JailResources { id, path, errors, ..JailResources::default() })
    }

    fn held() -> impl Strategy<Value = ContainerDataset> {
        (prop::option::of(any::<String>()), prop::option::of(any::<u64>())).prop_map(|(owner, used)| {
            ContainerDataset {
                dataset: "z/j/containers/x".parse().unwrap(),
                origin: owner.clone(),
                owner,
                mounted: true,
                mountpoint: String::new(),
                used,
            }
        })
    }

    fn jail() -> impl Strategy<Value = JailStatus> {
        let release = || prop::sample::select(vec!["14.5", "15.0-RC1"]).prop_map(|r| r.parse().unwrap());
        let origin = prop::option::of((release(), prop::sample::select(vec!["base", "p1", "mine"])));
        let fstab = release().prop_map(|release| Fstab {
            entries: Vec::new(),
            findings: Vec::new(),
            release: Some(release),
        });
        let running = any::<i32>().prop_map(|jid| RunningJail {
            jid,
            name: String::new(),
            path: Path::new("/").to_owned(),
        });
        (
            "[a-z][a-zA-Z0-9_-]{0,30}",
            seen(resources()),
            prop::collection::vec(any::<std::net::IpAddr>(), 0..4),
            (seen(fstab), seen(Just(directory())), seen(Just(directory()))),
            (seen(held()), seen(running), origin),
        )
            .prop_map(
                |(name, configuration, addresses, (fstab, path, directory), (dataset, running, origin))| {
                    JailStatus {
                        name: name.parse().unwrap(),
                        configuration,
                        addresses,
                        fstab,
                        path,
                        directory,
                        dataset,
                        running,
                        origin: origin.map(|(release, snapshot)| (release, snapshot.to_owned())),
                    }
                },
            )
    }

    fn inventory(jails: Vec<JailStatus>) -> Inventory {
        let storage = Storage::Zfs("z/j".parse().unwrap());
        let snapshots = [("base", 3), ("p1", 5), ("mine", 7)];
        let snapshots = snapshots.map(|(name, created)| SkeletonSnapshot { name: name.into(), created });
        let template = TemplateStatus {
            release: "14.5".parse().unwrap(),
            base: Presence::Present(directory()),
            skeleton: Presence::Present(directory()),
            version: "14.5-RELEASE-p1".parse().map_err(|_| String::new()),
            snapshots: Presence::Present(snapshots.to_vec()),
            is_destroying: false,
        };
        Inventory {
            layout: Layout::new(Path::new("/z/j"), Path::new("/etc/jail.conf.d"), storage),
            known: JailConfigs::default(),
            jails,
            templates: vec![template],
            strangers: Vec::new(),
            unread: Vec::new(),
        }
    }

    #[test]
    fn older_or_not() {
        let age = |snapshot: &str, version: &str| {
            let mut inventory = inventory(Vec::new());
            inventory.templates[0].version = version.parse().map_err(|_| String::new());
            let jail = JailStatus {
                name: "web".parse().unwrap(),
                configuration: Presence::Absent,
                addresses: Vec::new(),
                fstab: Presence::Absent,
                path: Presence::Absent,
                directory: Presence::Absent,
                dataset: Presence::Absent,
                running: Presence::Absent,
                origin: Some(("14.5".parse().unwrap(), snapshot.into())),
            };
            inventory.age(&jail)
        };
        let version = |text: &str| text.parse().ok();
        let p1 = TemplateAge::Behind { snapshot: Some("p1".into()), version: version("14.5-RELEASE-p1") };
        assert_eq!(age("base", "14.5-RELEASE-p1"), p1);
        assert_eq!(age("p1", "14.5-RELEASE-p1"), TemplateAge::Current);
        assert_eq!(age("p1", "none"), TemplateAge::Current);
        // Newer than that of the jail, whatever took it.
        assert_eq!(age("mine", "14.5-RELEASE-p1"), TemplateAge::Current);
        assert_eq!(age("gone", "14.5-RELEASE-p1"), TemplateAge::Unknown);
        let p2 = TemplateAge::Behind { snapshot: None, version: version("14.5-RELEASE-p2") };
        assert_eq!(age("p1", "14.5-RELEASE-p2"), p2);
    }

    proptest! {
        #[test]
        fn any_jails_make_columns_and_a_document(jails in prop::collection::vec(jail(), 0..6)) {
            let inventory = inventory(jails);
            let text = table(&inventory);
            let lines: Vec<Vec<char>> = text.lines().map(|l| l.chars().collect()).collect();
            prop_assert_eq!(lines.len(), inventory.jails.len() + 1);
            // Every column starts or ends where its heading does.
            let heading: String = lines[0].iter().collect();
            for name in COLUMNS {
                let start = heading.find(name).unwrap();
                let edge = if TO_THE_RIGHT.contains(&name) { start + name.len() - 1 } else { start };
                for line in &lines {
                    prop_assert!(line[edge] != ' ', "{name}:\n{text}");
                    let beyond = if edge == start { edge.wrapping_sub(1) } else { edge + 1 };
                    prop_assert!(line.get(beyond).is_none_or(|c| *c == ' '), "{name}:\n{text}");
                }
            }
            for (line, jail) in lines[1..].iter().zip(&inventory.jails) {
                let line: String = line.iter().collect();
                let words: Vec<&str> = line.split_whitespace().collect();
                prop_assert!(words.len() >= COLUMNS.len(), "{line}");
                prop_assert_eq!(words[0], jail.name.as_str());
            }
            let printed = document(&inventory).to_string();
            let read: Value = serde_json::from_str(&printed).unwrap();
            prop_assert!(!printed.contains('\n'));
            for (object, jail) in read["jails"].as_array().unwrap().iter().zip(&inventory.jails) {
                prop_assert_eq!(&object["name"], jail.name.as_str());
                prop_assert_eq!(object.as_object().unwrap().len(), 17);
                let jid = jail.running.there().map(|r| r.jid);
                prop_assert_eq!(&object["jid"], &json!(jid));
                prop_assert!(object["missing"].is_array());
            }
        }
    }
}
