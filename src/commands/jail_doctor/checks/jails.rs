//! The jails: containers, fstabs, mounts, certificates, Ethernet addresses.

use super::super::facts::{Configured, Facts, Network};
use super::super::finding::*;
use super::templates::{TemplateTrees, links_of};
use crate::domain::fstab::{self, BASE_WRITABLE as RW};
use crate::domain::inventory::{Inventory, JailStatus, Presence, TemplateAge};
use crate::domain::layout::{Layout, MOVED, Storage};
use crate::domain::links::{self, LinkScope};
use crate::domain::template;
use crate::system::console;
use crate::system::tree::inside;
use crate::system::zfs::{self, MountProblem};
use crate::types::jail_name::JailName;
use crate::types::mac::PairMacs;
use rustix::fs::FileType;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// Files that programs of the host read in a container, or write.
const READ_BY_THE_HOST: [&str; 8] = [
    "etc/rc.conf",
    "etc/resolv.conf",
    "etc/master.passwd",
    "etc/ssl/certs",
    "etc/ssl/untrusted",
    "var/db",
    "var/empty",
    "var/run",
];

/// What no administrator changes, and every update may.
const OF_THE_SYSTEM: [&str; 4] = ["etc/rc", "etc/rc.subr", "etc/network.subr", "etc/defaults/rc.conf"];

/// Everything about jails.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(inventory) = &facts.inventory else { return found };
    let shipped = RefCell::default();
    for (jail, name, known) in facts.thin() {
        let one = One { facts, inventory, layout: &inventory.layout, jail, name, known, shipped: &shipped };
        one.container(&mut found);
        one.path(&mut found);
        let base = one.fstab(&mut found);
        let container = facts.host_path(&one.layout.container(name));
        if std::fs::symlink_metadata(&container).is_ok_and(|m| m.is_dir()) {
            one.hostile(&container, &mut found);
            if let Some(base) = &base {
                one.certificates(&container, base, &mut found);
            }
            one.age(&container, &mut found);
        }
    }
    if facts.kernel_known {
        let mut expected: Vec<(String, [PairMac; 2])> = Vec::new();
        for jail in &facts.configured {
            expected.extend(expected_macs(facts, jail));
        }
        macs(&facts.network, &expected, &mut found);
    }
    found
}

/// One jail and what is known of it.
struct One<'a> {
    facts: &'a Facts<'a>,
    inventory: &'a Inventory,
    layout: &'a Layout,
    jail: &'a Configured,
    name: &'a JailName,
    known: Option<&'a JailStatus>,
    shipped: &'a RefCell<BTreeMap<PathBuf, Rc<Shipped>>>,
}

/// The certificates that a base brings, read once for all jails on it.
#[derive(Default)]
struct Shipped {
    trusted: BTreeSet<[u8; 32]>,
    distrusted: BTreeSet<[u8; 32]>,
}

/// The certificates in the regular files of a directory, by their checksums: a
/// file that claims to be one may be long.
fn bodies(tree: &Path, path: &str) -> BTreeSet<[u8; 32]> {
    inside::find_in_files(tree, Path::new(path), digest).into_iter().collect()
}

impl One<'_> {
    fn about(
        &self,
        kind: &'static FindingKind,
        object: &Path,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        Finding::new(
            kind,
            FindingScope::Jail(self.name.to_string()),
            object.display().to_string(),
            what,
            advice,
        )
    }

    fn container(&self, found: &mut Vec<Finding>) {
        let (name, object) = (self.name, self.layout.container(self.name));
        let Some(known) = self.known else { return };
        let gone = |what: String| {
            let advice = format!(
                "jail-clone creates a new one after you remove {}",
                self.jail.resources.file.display()
            );
            self.about(&CONTAINER_MISSING, &object, what, advice)
        };
        match (self.layout.storage(), &known.dataset) {
            (Storage::Zfs(_), Presence::Present(held)) => {
                let place = self.facts.host_path(&object);
                let covered = zfs::covering_mount(&self.facts.mounts, &held.dataset, &place).is_some();
                let misplaced = match !held.mounted || covered {
                    true => zfs::misplaced(self.facts.host, &held.dataset, &place).ok().flatten(),
                    false => None,
                };
                if let Some(MountProblem { problem, advice }) = misplaced {
                    found.push(self.about(&DATASET_UNMOUNTED, &object, problem, advice));
                } else if Path::new(&held.mountpoint) != self.facts.host_path(&object) {
                    let at = self.facts.shown(Path::new(&held.mountpoint));
                    let what = format!("{} is mounted at {at}", held.dataset);
                    let advice = format!("zfs inherit mountpoint {}", held.dataset);
                    found.push(self.about(&DATASET_UNMOUNTED, &object, what, advice));
                }
                let origin = held.origin.as_deref().unwrap_or("no snapshot");
                match &held.owner {
                    Some(owner) if owner != name.as_str() => {
                        let what = format!("{} belongs to jail {owner}", held.dataset);
                        let advice = format!("zfs get thinjail:jail,origin {} shows its owner", held.dataset);
                        found.push(self.about(&CONTAINER_FOREIGN, &object, what, advice));
                    }
                    _ if known.origin.is_none() => {
                        let what = format!("{} is a clone of {origin}, not of a skeleton", held.dataset);
                        let promoted = template::promoted_away(
                            self.facts.host,
                            self.layout,
                            &held.dataset,
                            held.origin.as_deref().unwrap_or_default(),
                        );
                        let advice = match promoted {
                            Ok(Some((skeleton, _))) => {
                                format!("zfs promote {skeleton} moves the snapshots back to the skeleton")
                            }
                            _ => "move it away, or create the jail again".into(),
                        };
                        found.push(self.about(&CONTAINER_FOREIGN, &object, what, advice));
                    }
                    Some(_) => {}
                    None => {
                        let what = format!("{} is not marked as belonging to jail {name}", held.dataset);
                        let advice = format!("zfs set thinjail:jail={name} {}, if it is", held.dataset);
                        found.push(self.about(&CONTAINER_UNTAGGED, &object, what, advice));
                    }
                }
            }
            (Storage::Zfs(top), Presence::Absent) => {
                found.push(gone(format!("no dataset {top}/containers/{name}")));
            }
            (Storage::Directory, _) => match &known.directory {
                Presence::Absent => found.push(gone("no such directory".into())),
                Presence::Present(kind) if !kind.is_dir() => {
                    let what = if kind.is_symlink() { "a symbolic link" } else { "not a directory" };
                    let advice = "replace it with the directory";
                    found.push(self.about(&CONTAINER_FOREIGN, &object, what, advice));
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn path(&self, found: &mut Vec<Finding>) {
        let Some(path) = self.jail.resources.path.as_deref().map(Path::new) else { return };
        let real = self.facts.host_path(path);
        match std::fs::symlink_metadata(&real) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                found.push(self.about(
                    &PATH_MISSING,
                    path,
                    "no such directory",
                    format!("mkdir {}", path.display()),
                ));
            }
            Ok(there) if !there.is_dir() => {
                let what = if there.is_symlink() { "a symbolic link" } else { "not a directory" };
                found.push(self.about(&PATH_MISSING, path, what, "replace it with an empty directory"));
            }
            Ok(_) => {
                // What is mounted there hides what is below it.
                let mounted = self.facts.mounts.iter().any(|m| m.on == real);
                let entries = || std::fs::read_dir(&real).ok()?.next();
                if !mounted && !self.jail.running && entries().is_some() {
                    let advice = format!("remove the files: ls -la {}", path.display());
                    found.push(self.about(
                        &PATH_OCCUPIED,
                        path,
                        "not empty, with nothing mounted on it",
                        advice,
                    ));
                }
            }
            Err(_) => {}
        }
    }

    /// Checks the fstab; gives the real path of the base that it mounts.
    fn fstab(&self, found: &mut Vec<Finding>) -> Option<PathBuf> {
        let path = Path::new(self.jail.resources.fstab.as_deref()?);
        let real = self.facts.host_path(path);
        if !real.is_file() {
            return None;
        }
        let advice = format!("jail-mkfstab -c {} lists all errors", self.name);
        let text = match std::fs::read(&real) {
            Ok(text) => text,
            Err(e) => {
                found.push(self.about(
                    &UNCHECKED,
                    path,
                    console::line(&e.into()),
                    "run jail-doctor as root, or fix the cause in the message",
                ));
                return None;
            }
        };
        // It is compared with the paths of the layout.
        let ours = self.jail.resources.path.as_deref().map(Path::new) == Some(&self.layout.path(self.name));
        match fstab::check(self.facts.host, self.layout, self.name, &text) {
            _ if !ours => {}
            Err(e) => found.push(self.about(&FSTAB_WRONG, path, console::line(&e), advice)),
            Ok(findings) => {
                for one in findings {
                    if one.what == RW {
                        let advice = "replace rw with ro";
                        found.push(self.about(&BASE_WRITABLE, path, one.to_string(), advice));
                    } else if one.what.contains(fstab::OF_A_JAIL) {
                        let advice = "move the data out of the container, and mount it from there";
                        found.push(self.about(&MOUNT_SOURCE, path, one.to_string(), advice));
                    } else {
                        found.push(self.about(&FSTAB_WRONG, path, one.to_string(), advice.clone()));
                    }
                }
            }
        }
        let entries = fstab::parse(&text).0;
        if self.jail.running && ours {
            self.mounts(path, &entries, found);
        }
        let base = self.facts.host_path(&entries.first()?.1.source);
        let plain = |m: std::fs::Metadata| m.is_dir();
        std::fs::symlink_metadata(&base).is_ok_and(plain).then_some(base)
    }

    /// What a running jail has mounted against what it will have next time.
    fn mounts(&self, object: &Path, entries: &[(usize, fstab::FstabEntry)], found: &mut Vec<Finding>) {
        let plain = |path: &Path| self.facts.host_path(path).components().collect::<PathBuf>();
        let root = plain(&self.layout.path(self.name));
        let mut said: Vec<PathBuf> = Vec::new();
        let mut differ: Vec<String> = Vec::new();
        let lines = self.jail.resolved.get("mount").unwrap_or_default().join("\n");
        let more = fstab::parse(lines.as_bytes()).0;
        said.extend(more.iter().map(|(_, entry)| plain(&entry.target)));
        for (line, entry) in entries {
            let on = plain(&entry.target);
            if entry.target.components().any(|c| c == Component::ParentDir) || !on.starts_with(&root) {
                continue;
            }
            let from = plain(&entry.source);
            // Stacked, the last one is what is seen.
            match self.facts.mounts.iter().rfind(|m| m.on == on) {
                None => differ.push(format!("line {line} is not mounted")),
                Some(m) if entry.kind == "nullfs" && m.kind == "nullfs" && m.from != from => {
                    let (has, wants) = (self.facts.shown(&m.from), entry.source.display());
                    differ.push(format!("line {line} has {wants}, and {has} is mounted"));
                }
                _ => {}
            }
            said.push(on);
        }
        let foreign = self.facts.mounts.iter().filter(|m| m.kind == "nullfs" && m.on.starts_with(&root));
        // What it may mount itself is its own affair.
        let may_mount = self.jail.resolved.bool("allow.mount.nullfs") == Some(true);
        for mount in foreign.filter(|m| !may_mount && !said.contains(&m.on)) {
            differ.push(format!("{} is mounted, but is not in the file", self.facts.shown(&mount.on)));
        }
        if !differ.is_empty() {
            let advice = format!("service jail restart {}", self.name);
            found.push(self.about(&MOUNTS_DIFFER, object, differ.join("; "), advice));
        }
    }

    /// What the jail's root may have put in the way of the host.
    fn hostile(&self, container: &Path, found: &mut Vec<Finding>) {
        let object = self.layout.container(self.name);
        let mut reported: BTreeSet<PathBuf> = BTreeSet::new();
        let release = self.known.and_then(|k| k.release());
        let skeleton = release.map(|release| self.facts.host_path(&self.layout.skeleton(release)));
        for path in MOVED.iter().chain(&READ_BY_THE_HOST) {
            let Some((odd, kind)) = inside::odd(container, Path::new(path)) else { continue };
            // resolvconf(8) and others link files; directories are not linked.
            let directory = MOVED.iter().chain(&[
                "usr",
                "etc/ssl",
                "etc/ssl/certs",
                "etc/ssl/untrusted",
                "var/db",
                "var/empty",
            ]);
            let expected = directory.clone().any(|d| Path::new(d) == odd);
            // A link that the template has came with it.
            let came = |skeleton: &Path| {
                let text = inside::link(container, &odd);
                text.is_some() && text == inside::link(skeleton, &odd)
            };
            if kind == FileType::Symlink && (!expected || skeleton.as_deref().is_some_and(came))
                || !reported.insert(odd.clone())
            {
                continue;
            }
            let what = match kind {
                FileType::Symlink => "a symbolic link instead of a directory",
                FileType::Fifo => "a FIFO, which blocks a program that opens it",
                FileType::Socket => "a socket",
                _ => "a device",
            };
            let advice = format!(
                "inspect it with ls -l {}, and do not follow it on the host",
                object.join(&odd).display()
            );
            found.push(self.about(&HOSTILE_LINK, &object.join(&odd), what, advice));
        }
    }

    fn certificates(&self, container: &Path, base: &Path, found: &mut Vec<Finding>) {
        let object = self.layout.container(self.name);
        match links::survey(container, base, LinkScope::Certificates) {
            Ok(survey) => {
                let trees = TemplateTrees { base, tree: container, scope: LinkScope::Certificates };
                let scope = FindingScope::Jail(self.name.to_string());
                let shown = object.display().to_string();
                let advice = format!("skel-fixcerts {shown}");
                found.extend(links_of(survey, &CERTS_DANGLING, &trees, &scope, &shown, &advice));
            }
            Err(e) => {
                let advice = "run jail-doctor as root, or fix the cause in the message";
                found.push(self.about(&UNCHECKED, &object, console::line(&e), advice));
            }
        }
        let copies = bodies(container, "etc/ssl/certs");
        // Links always have what the base has.
        if copies.is_empty() {
            return;
        }
        let shipped = self.shipped(base);
        let untrusted_here = bodies(container, "etc/ssl/untrusted");
        let has_links = inside::open(container, Path::new("etc/ssl/certs"))
            .ok()
            .and_then(|d| crate::system::tree::names(&d).ok())
            .is_some_and(|names| {
                names.iter().any(|n| {
                    let path = Path::new("etc/ssl/certs").join(std::ffi::OsStr::new(&*n.to_string_lossy()));
                    inside::kind(container, &path) == Some(FileType::Symlink)
                })
            });
        let revoked = copies.iter().filter(|c| shipped.distrusted.contains(*c)).count();
        let absent =
            shipped.trusted.iter().filter(|c| !copies.contains(*c) && !untrusted_here.contains(*c)).count();
        // A mixture of links and copies: what is a link is not absent.
        let absent = if has_links { 0 } else { absent };
        if revoked + absent > 0 {
            let what =
                format!("copies of certificates: {absent} of the base missing, {revoked} distrusted by it");
            let advice = format!("jexec {} certctl rehash", self.name);
            found.push(self.about(&CERTS_STALE, &object.join("etc/ssl/certs"), what, advice));
        }
    }

    fn shipped(&self, base: &Path) -> Rc<Shipped> {
        let mut all = self.shipped.borrow_mut();
        let read = || Shipped {
            trusted: bodies(base, "usr/share/certs/trusted"),
            distrusted: bodies(base, "usr/share/certs/untrusted"),
        };
        all.entry(base.to_owned()).or_insert_with(|| Rc::new(read())).clone()
    }

    /// Whether the base has left the container's etc behind.
    fn age(&self, container: &Path, found: &mut Vec<Finding>) {
        let Some(known) = self.known else { return };
        let object = self.layout.container(self.name).join("etc");
        let of_fstab = known.fstab.there().and_then(|f| f.release.as_ref());
        let advice = || {
            let to = of_fstab.or(known.release()).map(ToString::to_string);
            let rebase = format!("{} {}", self.name, to.unwrap_or_default());
            format!("jail-rebase -n {rebase} shows the changes, jail-rebase {rebase} merges them")
        };
        if let (Some((origin, _)), Some(base)) = (&known.origin, of_fstab)
            && origin != base
        {
            let what = format!("of {origin}, but the base is of {base}");
            found.push(self.about(&ETC_BEHIND, &object, what, advice()));
            return;
        }
        match self.inventory.age(known) {
            TemplateAge::Behind { snapshot, version } => {
                let newest = snapshot.map(|s| format!("snapshot {s}"));
                let newest = newest.or(version.map(|v| v.to_string())).unwrap_or_default();
                let own = known.origin.as_ref().map(|(_, s)| s.as_str()).unwrap_or_default();
                let what = format!("cloned from snapshot {own}, but the template has {newest}");
                found.push(self.about(&ETC_BEHIND, &object, what, advice()));
            }
            TemplateAge::Current => {}
            TemplateAge::Unknown => {
                let Some(release) = known.release() else { return };
                let skeleton = self.facts.host_path(&self.layout.skeleton(release));
                let differs = |path: &&&str| {
                    let read = |tree: &Path| inside::read(tree, Path::new(path));
                    matches!((read(container), read(&skeleton)), (Some(own), Some(new)) if own != new)
                };
                if let Some(path) = OF_THE_SYSTEM.iter().find(differs) {
                    let what = format!("{path} is not that of the skeleton of {release}");
                    found.push(self.about(&ETC_BEHIND, &object, what, advice()));
                }
            }
        }
    }
}

/// The checksum of the certificate in a file, without the text around it and
/// line breaks.
fn digest(text: &[u8]) -> Option<[u8; 32]> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(text);
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let body: Vec<u8> = body.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    Some(Sha256::digest(body).into())
}

type PairMac = (String, [u8; 6]);

/// The addresses that jail-epair-up would give the pair of a jail.
fn expected_macs(facts: &Facts, jail: &Configured) -> Option<(String, [PairMac; 2])> {
    let name = jail.name.as_ref()?;
    let up = jail
        .words("exec.prestart")
        .into_iter()
        .find(|words| super::super::facts::program(&words[0]) == "jail-epair-up")?;
    // With -M they are others.
    if up.iter().any(|w| w.starts_with("-M") || w.starts_with("--mac")) {
        return None;
    }
    let pair = up.last()?.parse().ok()?;
    let macs = PairMacs::derive(facts.network.host_uuid.as_deref()?, name, &pair);
    let [a, b] = [(pair.a(), macs.a), (pair.b(), macs.b)].map(|(half, mac)| (half.to_string(), mac.bytes()));
    Some((name.to_string(), [a, b]))
}

fn shown(mac: [u8; 6]) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}

/// Addresses that two have: interfaces of this host, what its bridges have
/// learned, and what the pairs of jails will get.
fn macs(network: &Network, expected: &[(String, [PairMac; 2])], found: &mut Vec<Finding>) {
    let advice = "jail-epair-up -M gives a pair its own addresses; if two hosts have the same kern.hostuuid, correct one";
    let mut report = |mac: [u8; 6], one: &str, other: &str, scope: FindingScope| {
        let what = format!("{} is also the address of {other}", shown(mac));
        found.push(Finding::new(&MAC_DUPLICATE, scope, one, what, advice));
    };
    let mut seen: BTreeMap<[u8; 6], &str> = BTreeMap::new();
    for interface in &network.interfaces {
        let Some(mac) = interface.mac else { continue };
        // A bridge has that of a member, a VLAN that of its parent: only pairs count.
        if let Some(other) = seen.insert(mac, &interface.name)
            && (interface.is_epair || network.is_epair(other))
        {
            report(mac, &interface.name, other, FindingScope::Host);
        }
    }
    let mut own: BTreeMap<[u8; 6], (&str, &str)> = BTreeMap::new();
    for (jail, halves) in expected {
        for (half, mac) in halves {
            if let Some((other, whose)) = own.insert(*mac, (half, jail))
                && whose != jail
            {
                report(*mac, half, other, FindingScope::Jail(jail.clone()));
            }
        }
    }
    for bridge in &network.bridges {
        for (mac, member) in &bridge.learned {
            // Behind the host's half of a pair is the jail's.
            if let Some((half, jail)) = own.get(mac)
                && member.strip_suffix('a') != half.strip_suffix(['a', 'b'])
            {
                let other = format!("something behind {member} of {}", bridge.name);
                report(*mac, half, &other, FindingScope::Jail((*jail).to_owned()));
            } else if let Some(name) = seen.get(mac).filter(|n| network.is_epair(n) && *n != member)
                && name.strip_suffix(['a', 'b']) != member.strip_suffix('a')
            {
                report(
                    *mac,
                    name,
                    &format!("something behind {member} of {}", bridge.name),
                    FindingScope::Host,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::jail_doctor::facts::{Bridge, InterfaceFacts};

    #[test]
    fn certificates() {
        let text = b"Subject: x\n-----BEGIN CERTIFICATE-----\nQU\nJD\n-----END CERTIFICATE-----\ny";
        assert_eq!(digest(text), Some(Sha256::digest(b"QUJD").into()));
        for none in [&b""[..], b"-----END CERTIFICATE----------BEGIN CERTIFICATE-----", b"\xff"] {
            assert_eq!(digest(none), None);
        }
    }

    #[test]
    fn addresses_that_two_have() {
        let mac = |n: u8| [2, 0, 0, 0, 0, n];
        let interface = |name: &str, n: u8, is_epair| InterfaceFacts {
            name: name.into(),
            mac: Some(mac(n)),
            is_epair,
            description: None,
        };
        let learned = |n: u8, member: &str| (mac(n), member.to_owned());
        let network = Network {
            interfaces: vec![
                interface("igc0", 1, false),
                interface("vlan5", 1, false),
                interface("epair5a", 5, true),
                interface("epair6a", 5, true),
                interface("epair7a", 7, true),
            ],
            bridges: vec![Bridge {
                name: "b".into(),
                learned: vec![learned(17, "epair7a"), learned(18, "igc0"), learned(7, "igc0")],
                ..Bridge::default()
            }],
            ..Network::default()
        };
        let pair = |jail: &str, stem: &str, a: u8, b: u8| {
            (jail.to_owned(), [(format!("{stem}a"), mac(a)), (format!("{stem}b"), mac(b))])
        };
        let expected = [pair("seven", "epair7", 70, 17), pair("eight", "epair8", 80, 18)];
        let mut found = Vec::new();
        macs(&network, &expected, &mut found);
        let mut reported: Vec<String> = found.iter().map(|f| format!("{}: {}", f.object, f.what)).collect();
        reported.sort();
        assert_eq!(
            reported,
            [
                "epair6a: 02:00:00:00:00:05 is also the address of epair5a",
                "epair7a: 02:00:00:00:00:07 is also the address of something behind igc0 of b",
                "epair8b: 02:00:00:00:00:12 is also the address of something behind igc0 of b",
            ]
        );
    }
}
