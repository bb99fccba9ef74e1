//! The settings of thinjail.conf(5).

use crate::formats::rcconf;
use crate::system::root::Root;
use crate::system::zfs::Dataset;
use crate::types::address::IdRanges;
use crate::types::interface::IfName;
use crate::types::release::Release;
use anyhow::{Result, anyhow, bail};
use ipnet::{Ipv4Net, Ipv6Net};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where the settings are.
pub const FILE: &str = "/usr/local/etc/thinjail.conf";

/// Every variable, in the order of the manual page.
pub const NAMES: [&str; 10] = [
    "jail_zfs",
    "jail_dir",
    "bsd_ver",
    "jail_bridge",
    "jail_net",
    "jail_gateway",
    "jail_net6",
    "jail_gateway6",
    "jail_ids",
    "jail_conf_dir",
];

/// The settings, typed. `None` where one is unset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The dataset that holds everything; `None` for directory storage.
    pub jail_zfs: Option<Dataset>,
    /// The directory that holds everything; by default where the dataset is
    /// mounted.
    pub jail_dir: Option<PathBuf>,
    /// The release used when no `-r` is given.
    pub bsd_ver: Option<Release>,
    /// The bridge.
    pub jail_bridge: Option<IfName>,
    /// The network that `id` picks an address from.
    pub jail_net: Option<Ipv4Net>,
    /// The default gateway.
    pub jail_gateway: Option<Ipv4Addr>,
    /// The IPv6 network.
    pub jail_net6: Option<Ipv6Net>,
    /// The IPv6 default gateway.
    pub jail_gateway6: Option<Ipv6Addr>,
    /// The ids that jail-clone may choose; `None` for all of the network.
    pub jail_ids: Option<IdRanges>,
    /// Where each jail's own configuration goes.
    pub jail_conf_dir: PathBuf,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            jail_zfs: None,
            jail_dir: None,
            bsd_ver: None,
            jail_bridge: None,
            jail_net: None,
            jail_gateway: None,
            jail_net6: None,
            jail_gateway6: None,
            jail_ids: None,
            jail_conf_dir: PathBuf::from("/etc/jail.conf.d"),
        }
    }
}

impl Settings {
    /// Reads file and environment. A missing file is an empty one.
    pub fn load(root: &Root) -> Result<Settings> {
        let file = root.host_path(Path::new(FILE));
        let text = match fs_err::read(&file) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(anyhow::Error::new(e).context("settings")),
        };
        if let Some(name) = NAMES.iter().find(|n| std::env::var_os(n).is_some_and(|v| v.to_str().is_none())) {
            bail!("settings: environment: {name}: the value is not UTF-8");
        }
        Settings::from_sources(&file, &text, |name| std::env::var(name).ok())
    }

    /// The settings of a file's text, overridden by an environment.
    pub fn from_sources(
        file: &Path,
        text: &[u8],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings> {
        let mut settings = Settings::default();
        let assignments = rcconf::parse(text)
            .map_err(|e| anyhow!("settings: {}: line {}: {}", file.display(), e.line, e.what))?;
        for a in assignments {
            // What the environment overrides is still checked.
            settings
                .set(&a.name, &a.value)
                .map_err(|why| anyhow!("settings: {}: line {}: {}: {why}", file.display(), a.line, a.name))?;
        }
        for name in NAMES {
            if let Some(value) = environment(name) {
                settings.set(name, &value).map_err(|why| anyhow!("settings: environment: {name}: {why}"))?;
            }
        }
        settings.check().map_err(|e| e.context(format!("settings: {}", file.display())))?;
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "jail_zfs" => {
                self.jail_zfs = if value.eq_ignore_ascii_case("none") { None } else { optional(value)? };
            }
            "jail_dir" => self.jail_dir = directory(value)?,
            "bsd_ver" => self.bsd_ver = optional(value)?,
            "jail_bridge" => self.jail_bridge = optional(value)?,
            "jail_net" => self.jail_net = network(value, |n: &Ipv4Net| n.addr() == n.network())?,
            "jail_gateway" => self.jail_gateway = address(value)?,
            "jail_net6" => self.jail_net6 = network(value, |n: &Ipv6Net| n.addr() == n.network())?,
            "jail_gateway6" => self.jail_gateway6 = address(value)?,
            "jail_ids" => self.jail_ids = optional(value)?,
            "jail_conf_dir" => {
                self.jail_conf_dir = directory(value)?.unwrap_or_else(|| Settings::default().jail_conf_dir);
            }
            _ => bail!("unknown setting; thinjail.conf(5) lists them: {}", NAMES.join(", ")),
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if let (Some(net), Some(gateway)) = (self.jail_net, self.jail_gateway)
            && !net.contains(&gateway)
        {
            bail!("jail_gateway: {gateway} is outside the network {net} (jail_net)");
        }
        if let (Some(net), Some(gateway)) = (self.jail_net6, self.jail_gateway6) {
            // A link-local gateway is the usual one for routers that announce themselves.
            if !net.contains(&gateway) && !gateway.is_unicast_link_local() {
                bail!("jail_gateway6: {gateway} is outside the network {net} (jail_net6)");
            }
        }
        Ok(())
    }

    /// The value of a setting as it is written in the file; `None` where it is unset.
    pub fn value(&self, name: &str) -> Option<String> {
        fn text<T: ToString>(value: &Option<T>) -> Option<String> {
            value.as_ref().map(T::to_string)
        }
        match name {
            "jail_zfs" => text(&self.jail_zfs),
            "jail_dir" => self.jail_dir.as_ref().map(|dir| dir.display().to_string()),
            "bsd_ver" => self.bsd_ver.as_ref().map(Release::version_text),
            "jail_bridge" => text(&self.jail_bridge),
            "jail_net" => text(&self.jail_net),
            "jail_gateway" => text(&self.jail_gateway),
            "jail_net6" => text(&self.jail_net6),
            "jail_gateway6" => text(&self.jail_gateway6),
            _ => None,
        }
    }

    /// The release to use: the one given, or the default.
    pub fn release(&self, given: Option<&Release>) -> Result<Release> {
        match given.or(self.bsd_ver.as_ref()) {
            Some(release) => Ok(release.clone()),
            None => bail!("no release: use -r, or set bsd_ver in {FILE}"),
        }
    }
}

fn optional<T: FromStr>(value: &str) -> Result<Option<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    if value.is_empty() { Ok(None) } else { Ok(Some(value.parse::<T>()?)) }
}

fn address<A: FromStr>(value: &str) -> Result<Option<A>> {
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|_| anyhow!("\"{value}\" is not an address of this family"))
}

fn network<N: FromStr>(value: &str, is_network: impl Fn(&N) -> bool) -> Result<Option<N>> {
    if value.is_empty() {
        return Ok(None);
    }
    match value.parse() {
        Ok(net) if is_network(&net) => Ok(Some(net)),
        Ok(_) => bail!("{value} has host bits set; use the network address"),
        Err(_) => bail!("\"{value}\" is not a network like 192.168.7.0/24 or fd00:7::/64"),
    }
}

/// An absolute path without empty parts; `None` if it is empty.
pub fn directory(value: &str) -> Result<Option<PathBuf>> {
    if value.is_empty() {
        return Ok(None);
    }
    let plain = value.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
    if !value.starts_with('/') || !plain || value.chars().any(char::is_control) {
        bail!("\"{value}\" is not an absolute path without empty parts, . and ..");
    }
    Ok(Some(PathBuf::from(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Settings> {
        let get = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::from_sources(Path::new("/t.conf"), text.as_bytes(), get)
    }

    #[test]
    fn file_environment_default() {
        let text = "jail_zfs=\"zdata/jails\"\njail_net=\"192.168.7.0/24\"\nbsd_ver=\"14.5\"\n";
        let s = load(text, &[("bsd_ver", "15.0"), ("jail_bridge", "igc0bridge")]).unwrap();
        assert_eq!(s.jail_zfs.unwrap().to_string(), "zdata/jails");
        assert_eq!(s.bsd_ver.unwrap().as_str(), "15.0-RELEASE");
        assert_eq!(s.jail_bridge.unwrap().as_str(), "igc0bridge");
        assert_eq!(s.jail_conf_dir, Path::new("/etc/jail.conf.d"));
        for none in ["jail_zfs=\"NONE\"", "jail_zfs=none", "jail_zfs=''", ""] {
            assert_eq!(load(none, &[]).unwrap().jail_zfs, None, "{none}");
        }
        assert_eq!(load(text, &[("jail_zfs", "")]).unwrap().jail_zfs, None);
    }

    #[test]
    fn errors_name_file_line_and_setting() {
        for (text, expect) in [
            ("\njail_zsf=x\n", "/t.conf: line 2: jail_zsf: unknown setting"),
            ("jail_zfs=$(id)\n", "/t.conf: line 1: expansions"),
            ("jail_net=192.168.7.5/24\n", "line 1: jail_net: 192.168.7.5/24 has host bits"),
            ("jail_net=192.168.7.0\n", "line 1: jail_net"),
            ("jail_net=fd00::/64\n", "line 1: jail_net"),
            ("jail_gateway=fd00::1\n", "line 1: jail_gateway"),
            ("bsd_ver=latest\n", "line 1: bsd_ver: a release is written like"),
            ("jail_bridge=much_too_long_a_name\n", "line 1: jail_bridge"),
            ("jail_dir=zdata\n", "line 1: jail_dir"),
            ("jail_dir=/zdata/../etc\n", "line 1: jail_dir"),
            ("jail_zfs=/zdata\n", "line 1: jail_zfs"),
            ("jail_net=10.0.0.0/8\njail_gateway=192.168.1.1\n", "jail_gateway: 192.168.1.1 is outside"),
        ] {
            let e = format!("{:#}", load(text, &[]).expect_err(text));
            assert!(e.contains(expect), "{text:?}: {e}");
        }
        let e = format!("{:#}", load("", &[("jail_net", "x")]).unwrap_err());
        assert!(e.contains("environment: jail_net"), "{e}");
    }
}
