//! The jails that jail.conf(5) knows, and what each of them uses.

use crate::domain::devfs;
use crate::domain::layout::Layout;
use crate::formats::jailconf::{Config, Error, Files, Resolved, UnderRoot};
use crate::system::console;
use crate::system::root::Root;
use crate::types::interface::PairName;
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What one jail's configuration lays claim to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JailResources {
    /// The jail.
    pub jail: String,
    /// The file its block stands in.
    pub file: PathBuf,
    /// `$id`.
    pub id: Option<String>,
    /// Every address in its parameters and variables, once, without its gateways.
    pub addresses: Vec<IpAddr>,
    /// The stem of every pair in them, once.
    pub pairs: Vec<String>,
    /// `path`.
    pub path: Option<String>,
    /// `mount.fstab`.
    pub fstab: Option<String>,
    /// `$bridge`.
    pub bridge: Option<String>,
    /// `$isolation`: options of jail-epair-up(8).
    pub isolation: Option<String>,
    /// `$gateway` and `$gateway6`, without a zone.
    pub gateways: [Option<IpAddr>; 2],
    /// The devfs(8) ruleset of its `/dev`, if it has one.
    pub devfs_ruleset: Option<u32>,
    /// Whether exec.start has it get addresses by DHCP or from a router.
    pub gets_addresses: bool,
    /// What could not be resolved, as jail(8) would say it.
    pub errors: Vec<String>,
}

impl JailResources {
    fn of(file: &Path, resolved: &Resolved) -> JailResources {
        let mut resources = JailResources {
            jail: resolved.jail.clone(),
            file: file.to_owned(),
            id: resolved.var("id").map(str::to_owned),
            path: resolved.scalar("path").map(str::to_owned),
            fstab: resolved.scalar("mount.fstab").map(str::to_owned),
            bridge: resolved.var("bridge").map(str::to_owned),
            isolation: resolved.var("isolation").map(str::to_owned),
            gateways: ["gateway", "gateway6"].map(|name| without_zone(resolved.var(name)?).parse().ok()),
            devfs_ruleset: devfs::ruleset(resolved),
            gets_addresses: resolved.get("exec.start").unwrap_or_default().iter().any(|command| {
                ["DHCP", "dhclient", "accept_rtadv"].iter().any(|word| command.contains(word))
            }),
            // jail(8)'s own words, but for the full stop that some of them have.
            errors: resolved.errors.iter().map(|e| e.to_string().trim_end_matches('.').to_owned()).collect(),
            ..JailResources::default()
        };
        for param in &resolved.params {
            for value in &param.values {
                add(&mut resources.addresses, addresses_in(value));
                add(&mut resources.pairs, pairs_in(value));
                if param.name == "vnet.interface" {
                    // The jail's half, whatever the pair is called.
                    add(&mut resources.pairs, value.strip_suffix('b').map(str::to_owned));
                }
            }
        }
        // A gateway is used by many, unless a jail calls itself one.
        let own = ["ip", "ip6"].map(|name| resolved.var(name).and_then(|ip| addresses_in(ip).next()));
        let is_gateway = |a: &IpAddr| resources.gateways.contains(&Some(*a)) && !own.contains(&Some(*a));
        resources.addresses.retain(|address| !is_gateway(address));
        resources
    }
}

/// A link-local address without the interface that it is written with.
fn without_zone(address: &str) -> &str {
    address.split_once('%').map_or(address, |(address, _)| address)
}

/// Adds values that are missing. There are few, so a set is not needed.
fn add<T: PartialEq>(all: &mut Vec<T>, more: impl IntoIterator<Item = T>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

/// The addresses among the words of a value. A command such as
/// `ifconfig epair5b 192.168.7.5/24 up` uses its address as much as `$ip` does.
fn addresses_in(value: &str) -> impl Iterator<Item = IpAddr> + '_ {
    value
        .split(|c: char| !(c.is_ascii_alphanumeric() || ".:".contains(c)))
        .filter_map(|word| word.parse::<IpAddr>().ok())
        .filter(|address| !address.is_unspecified() && !address.is_loopback())
}

/// The stems of the epairN, epairNa and epairNb among the words of a value.
fn pairs_in(value: &str) -> impl Iterator<Item = String> + '_ {
    value.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(|word| {
        let stem = word.strip_suffix(['a', 'b']).unwrap_or(word);
        let pair: PairName = stem.parse().ok()?;
        pair.unit().map(|_| stem.to_owned())
    })
}

/// All jails that are configured on the host.
#[derive(Default)]
pub struct JailConfigs {
    config: Config,
    jails: Vec<JailResources>,
    /// Addresses that every jail mentions, because the common part does.
    common: Vec<IpAddr>,
    /// Whether jail.conf(5) exists and includes the directory of jails' files.
    includes_conf_dir: Option<bool>,
}

impl JailConfigs {
    /// Reads jail.conf, what it includes, and every file of the directory of
    /// jails' files, which rc.d/jail uses even when nothing includes them.
    pub fn read(root: &Root, layout: &Layout) -> Result<JailConfigs> {
        let files = UnderRoot { root: root.path().to_owned() };
        JailConfigs::of(&files, root, layout, files_in(root, layout)?)
    }

    /// The same as far as it goes: a file that cannot be read or parsed counts
    /// as an empty one. Returns those files and what is wrong with each.
    pub fn read_what_can_be(root: &Root, layout: &Layout) -> (JailConfigs, Vec<UnreadFile>) {
        let files =
            Forgiving { files: UnderRoot { root: root.path().to_owned() }, unread: RefCell::new(Vec::new()) };
        let others = files_in(root, layout).unwrap_or_else(|e| {
            files.give_up(layout.conf_dir(), console::line(&e));
            Vec::new()
        });
        // An error ends the reading, so it starts again without that file.
        let known = loop {
            match JailConfigs::of(&files, root, layout, others.clone()) {
                Ok(known) => break known,
                Err(e) => {
                    let file =
                        e.downcast_ref::<Error>().and_then(Error::position).map(|at| at.file().to_owned());
                    let again = file.as_ref().is_some_and(|file| !files.gave_up(file));
                    files.give_up(file.as_deref().unwrap_or(layout.jail_conf()), console::line(&e));
                    if !again {
                        break JailConfigs::default();
                    }
                }
            }
        };
        (known, files.unread.into_inner())
    }

    fn of(files: &dyn Files, root: &Root, layout: &Layout, others: Vec<PathBuf>) -> Result<JailConfigs> {
        let main = layout.jail_conf();
        let main_there = root.host_path(main).try_exists().context("jail.conf")?;
        let mut config = if main_there {
            Config::load(files, main).map_err(located).context("jail.conf")?
        } else {
            Config::default()
        };
        let included = config.files().any(|f| f.starts_with(layout.conf_dir()));
        let none = others.is_empty();
        for file in &others {
            config.load_more(files, file).map_err(located).context("jail.conf")?;
        }
        let jails = config.jails().map(|j| JailResources::of(j.file(), &config.resolve(j))).collect();
        // An empty directory shows no file that was included from it.
        let includes_conf_dir =
            main_there.then(|| included || none && mentions(root, main, layout.conf_dir()));
        let mut known = JailConfigs { config, jails, common: Vec::new(), includes_conf_dir };
        // A jail of which nothing is said has what the common part says. The
        // name cannot be that of a jail: it is too long.
        let nobody = "n".repeat(crate::types::jail_name::NAME_MAX + 1);
        let empty = format!("{nobody} {{ }}");
        known.common = known.candidate(&nobody, Path::new("nobody"), empty.as_bytes())?.addresses;
        Ok(known)
    }

    /// The jails.
    pub fn jails(&self) -> &[JailResources] {
        &self.jails
    }

    /// The bytes of a jail's block in its file.
    pub fn block(&self, name: &str) -> Option<std::ops::Range<usize>> {
        self.config.jail(name).map(crate::formats::jailconf::Jail::range)
    }

    /// The configuration that they come from; its jails are those of
    /// [`JailConfigs::jails`], in the same order.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The addresses of a jail that it does not merely mention because the
    /// common part does, as every jail.
    pub fn own_addresses<'a>(&'a self, resources: &'a JailResources) -> impl Iterator<Item = IpAddr> + 'a {
        resources.addresses.iter().copied().filter(|a| !self.common.contains(a))
    }

    /// Whether jail.conf includes the directory of jails' files; `None` when
    /// there is no jail.conf.
    pub fn includes_conf_dir(&self) -> Option<bool> {
        self.includes_conf_dir
    }

    /// The resources of a jail that does not exist yet, if `text` were its file.
    pub fn candidate(&self, name: &str, file: &Path, text: &[u8]) -> Result<JailResources> {
        let mut config = self.config.clone();
        config.parse_more(file, text)?;
        match config.jails().filter(|j| j.name() == name).last() {
            Some(jail) => Ok(JailResources::of(file, &config.resolve(jail))),
            None => bail!("{}: no jail {name} in it", file.display()),
        }
    }

    /// Fails when the candidate has its name, id, an address or a pair from a
    /// jail that is there. `shared` are addresses every jail may mention.
    pub fn check(&self, candidate: &JailResources, shared: &[IpAddr]) -> Result<()> {
        for other in &self.jails {
            let whose = format!("jail {} ({})", other.jail, other.file.display());
            if other.jail == candidate.jail {
                bail!("{whose} is already configured");
            }
            if candidate.id.is_some() && other.id == candidate.id {
                bail!("id {} is used by {whose}", other.id.as_deref().unwrap_or_default());
            }
            let mut both = candidate.addresses.iter().filter(|a| other.addresses.contains(a));
            // Values of the common part belong to no single jail.
            if let Some(address) = both.find(|a| !shared.contains(a) && !self.common.contains(a)) {
                bail!("address {address} is used by {whose}");
            }
            if let Some(pair) = candidate.pairs.iter().find(|p| other.pairs.contains(p)) {
                bail!("pair {pair} is used by {whose}");
            }
        }
        Ok(())
    }
}

/// An error with its place where jail(8)'s words for it lack one.
fn located(error: Error) -> anyhow::Error {
    match (&error, error.position().map(ToString::to_string)) {
        (Error::IncludeDepth { .. } | Error::Glob { .. }, Some(at)) => anyhow::Error::new(error).context(at),
        _ => error.into(),
    }
}

/// The files in the directory of jails' files.
fn files_in(root: &Root, layout: &Layout) -> Result<Vec<PathBuf>> {
    let mut others = Vec::new();
    match std::fs::read_dir(root.host_path(layout.conf_dir())) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).with_context(|| layout.conf_dir().display().to_string()),
        Ok(entries) => {
            for entry in entries {
                let name = entry.with_context(|| layout.conf_dir().display().to_string())?.file_name();
                let hidden = name.as_encoded_bytes().starts_with(b".");
                if Path::new(&name).extension() == Some(OsStr::new("conf")) && !hidden {
                    others.push(layout.conf_dir().join(name));
                }
            }
        }
    }
    // With a heap: a sort for slices costs kilobytes in each program.
    Ok(std::collections::BinaryHeap::from(others).into_sorted_vec())
}

/// Something that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadFile {
    /// The file or dataset, as the host names it; empty if it is neither.
    pub path: PathBuf,
    /// One line that names it too.
    pub why: String,
}

/// Files of which those that cannot be read are empty.
struct Forgiving {
    files: UnderRoot,
    unread: RefCell<Vec<UnreadFile>>,
}

impl Forgiving {
    fn gave_up(&self, path: &Path) -> bool {
        self.unread.borrow().iter().any(|u| u.path == path)
    }

    fn give_up(&self, path: &Path, why: String) {
        if !self.gave_up(path) {
            self.unread.borrow_mut().push(UnreadFile { path: path.to_owned(), why });
        }
    }
}

impl Files for Forgiving {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if self.gave_up(path) {
            return Ok(Vec::new());
        }
        self.files.read(path).or_else(|e| {
            let error = anyhow::Error::new(e).context(path.display().to_string()).context("jail.conf");
            self.give_up(path, console::line(&error));
            Ok(Vec::new())
        })
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        self.files.glob(pattern)
    }
}

/// Whether some line of jail.conf includes from the directory, as rc.d/jail
/// looks for it (freebsd-src: libexec/rc/rc.d/jail).
fn mentions(root: &Root, main: &Path, directory: &Path) -> bool {
    let text = std::fs::read(root.host_path(main)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let directory = format!("{}/", directory.display());
    text.lines().map(str::trim_start).any(|l| l.starts_with(".include") && l.contains(&directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let found: Vec<_> = addresses_in("ifconfig epair5b inet 192.168.7.5/24 up").collect();
        assert_eq!(found, ["192.168.7.5".parse::<IpAddr>().unwrap()]);
        assert_eq!(addresses_in("fd00:7::5/64,::1,0.0.0.0").count(), 1);
        let found: Vec<_> = pairs_in("epair5a epair6b epair7 xepair8 epair09 epair5ab").collect();
        assert_eq!(found, ["epair5", "epair6", "epair7"]);
    }

    #[test]
    fn what_is_common_hides_nothing() {
        let resources = |jail: &str, addresses: &[&str]| JailResources {
            jail: jail.into(),
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            ..JailResources::default()
        };
        let server = "192.168.7.2";
        let jails = vec![resources("a", &[server, "192.168.7.5"]), resources("b", &[server, "192.168.7.6"])];
        let common = vec![server.parse().unwrap()];
        let known = JailConfigs { config: Config::default(), jails, common, includes_conf_dir: None };
        known.check(&resources("c", &[server, "192.168.7.7"]), &[]).unwrap();
        let error = known.check(&resources("c", &[server, "192.168.7.6"]), &[]).unwrap_err().to_string();
        assert!(error.starts_with("address 192.168.7.6 is used by jail b"), "{error}");
        known.check(&resources("c", &["192.168.7.6"]), &["192.168.7.6".parse().unwrap()]).unwrap();
    }
}
