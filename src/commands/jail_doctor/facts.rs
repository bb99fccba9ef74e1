//! What the checks look at, gathered once: one look at the kernel, one
//! sysctl(8), one sysrc(8), one `jail -e`, and what the inventory takes.

use crate::domain::configured::JailResources;
use crate::domain::devfs;
use crate::domain::inventory::{Inventory, JailStatus};
use crate::domain::layout::Layout;
use crate::domain::rc_conf::{self, assignments};
use crate::domain::settings::Settings;
use crate::formats::jailconf::{Command, Resolved, command_words};
use crate::system::console;
use crate::system::host::Host;
use crate::system::kernel::{Errno, Kernel, Mount, RunningJail};
use crate::system::tool::{Outcome, Tool, ToolError};
use crate::types::interface::IfName;
use crate::types::jail_name::JailName;
use anyhow::Result;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// One interface of the host.
#[derive(Clone, Debug, Default)]
pub struct InterfaceFacts {
    /// Its name.
    pub name: String,
    /// Its Ethernet address.
    pub mac: Option<[u8; 6]>,
    /// Whether it is half of a pair.
    pub is_epair: bool,
    /// Its description, asked for halves of pairs only.
    pub description: Option<String>,
}

/// One bridge.
#[derive(Clone, Debug, Default)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub up: bool,
    /// Its MTU.
    pub mtu: u32,
    /// Its members with their MTUs.
    pub members: Vec<(String, u32)>,
    /// What it has learned: address and member.
    pub learned: Vec<([u8; 6], String)>,
}

/// The network of the host.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// All interfaces.
    pub interfaces: Vec<InterfaceFacts>,
    /// All bridges.
    pub bridges: Vec<Bridge>,
    /// All addresses, each with its interface.
    pub addresses: Vec<(String, IpAddr)>,
    /// kern.hostuuid.
    pub host_uuid: Option<String>,
}

/// When a command of jail.conf(5) runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// On the host.
    Host,
    /// In the jail.
    Jail,
}

/// The exec parameters in the order in which jail(8) gets to them.
pub const EXEC: [(&str, Where); 9] = [
    ("exec.prepare", Where::Host),
    ("exec.prestart", Where::Host),
    ("exec.created", Where::Host),
    ("exec.start", Where::Jail),
    ("exec.poststart", Where::Host),
    ("exec.prestop", Where::Host),
    ("exec.stop", Where::Jail),
    ("exec.poststop", Where::Host),
    ("exec.release", Where::Host),
];

/// A jail of jail.conf(5).
pub struct Configured {
    /// What it lays claim to.
    pub resources: JailResources,
    /// Its parameters.
    pub resolved: Resolved,
    /// Its name, if it is one that the suite takes.
    pub name: Option<JailName>,
    /// Whether it is one of this layout; others are none of our business, but
    /// for what both want.
    pub thin: bool,
    /// Whether it runs.
    pub running: bool,
}

impl Configured {
    /// The commands of one exec parameter, as they stand there.
    pub fn commands(&self, parameter: &str) -> &[String] {
        self.resolved.get(parameter).unwrap_or_default()
    }

    /// The words of those commands, those for sh(1) taken apart at blanks.
    pub fn words(&self, parameter: &str) -> Vec<Vec<String>> {
        self.commands(parameter).iter().map(|c| words(c)).filter(|w| !w.is_empty()).collect()
    }
}

/// The words of a command.
pub fn words(command: &str) -> Vec<String> {
    match command_words(command) {
        Command::Nothing => Vec::new(),
        Command::Exec { argv, .. } => argv,
        Command::Shell(text) => {
            let words = text.split([' ', '\t', ';', '&', '|', '(', ')', '\'', '"']);
            words.filter(|w| !w.is_empty()).map(str::to_owned).collect()
        }
    }
}

/// The last part of a program's path.
pub fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or_default()
}

/// Everything.
pub struct Facts<'a> {
    /// The host.
    pub host: &'a Host,
    /// The settings.
    pub settings: Settings,
    /// What is known of templates and jails; `None` when not even the layout is.
    pub inventory: Option<Inventory>,
    /// Every jail of jail.conf(5).
    pub configured: Vec<Configured>,
    /// The network.
    pub network: Network,
    /// The mount table.
    pub mounts: Vec<Mount>,
    /// The jails that run, those of other roots among them.
    pub running: Vec<RunningJail>,
    /// Those that are dying.
    pub dying: Vec<RunningJail>,
    /// Whether interfaces, mounts and jails are known.
    pub kernel_known: bool,
    /// Nodes of sysctl(8).
    sysctls: Vec<(String, String)>,
    /// Variables of rc.conf(5); `None` when they are not known.
    rc: Option<Vec<(String, String)>>,
    /// What `jail -e` prints, one line a jail.
    pub exported: Option<Result<String, String>>,
    /// The devfs(8) rulesets of thin jails that hide nothing, and why.
    pub open_rulesets: Vec<(u32, String)>,
    /// What could not be looked at, and why.
    pub unchecked: Vec<(String, String)>,
    /// What is wrong with the settings.
    pub unsettled: Vec<String>,
}

/// What is asked of sysctl(8).
const SYSCTLS: [&str; 4] =
    ["kern.features.vimage", "kern.osrelease", "kern.securelevel", "net.link.bridge.member_ifaddrs"];

/// What is asked of sysrc(8).
const RC: [&str; 3] = ["jail_enable", "jail_list", "ifconfig_DEFAULT"];

/// The services that read those variables, and so files of their own.
const RC_SERVICES: [(&str, &str); 3] =
    [("jail_enable", "jail"), ("jail_list", "jail"), ("ifconfig_DEFAULT", "netif")];

/// What `jail -e` puts between parameters.
pub const SEPARATOR: &str = "\t";

impl<'a> Facts<'a> {
    /// Looks at everything.
    pub fn gather(host: &'a Host) -> Facts<'a> {
        let mut facts = Facts {
            host,
            settings: Settings::default(),
            inventory: None,
            configured: Vec::new(),
            network: Network::default(),
            mounts: Vec::new(),
            running: Vec::new(),
            dying: Vec::new(),
            kernel_known: false,
            sysctls: Vec::new(),
            rc: None,
            exported: None,
            open_rulesets: Vec::new(),
            unchecked: Vec::new(),
            unsettled: Vec::new(),
        };
        match Settings::load(host.root()) {
            Ok(settings) => facts.settings = settings,
            Err(e) => facts.unsettled.push(console::line(&e)),
        }
        if facts.unsettled.is_empty() {
            match Inventory::read(host, &facts.settings) {
                Ok(inventory) => facts.inventory = Some(inventory),
                Err(e) => facts.unsettled.push(console::line(&e)),
            }
        }
        match facts.kernel() {
            Ok(()) => facts.kernel_known = true,
            Err(e) => facts.unchecked.push(("the kernel".into(), console::line(&e))),
        }
        facts.ask();
        facts.resolve();
        facts.look_at_rulesets();
        facts
    }

    fn kernel(&mut self) -> Result<()> {
        let kernel = self.host.kernel()?;
        self.running = kernel.running_jails()?;
        self.dying = kernel.dying_jails()?;
        self.mounts = kernel.mounts()?;
        self.network = network(kernel)?;
        Ok(())
    }

    fn ask(&mut self) {
        let tools = self.host.tools();
        let mut arguments = vec!["-i", "-e"];
        arguments.extend(SYSCTLS);
        match tools.ask(Tool::Sysctl, &arguments) {
            Ok(printed) => {
                let pairs = printed.stdout.lines().filter_map(|l| l.split_once('='));
                self.sysctls = pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            }
            Err(e) => self.unchecked.push(("sysctl".into(), console::line(&e.into()))),
        }
        let mut arguments = vec!["-i", "-e"];
        arguments.extend(RC);
        match tools.ask(Tool::Sysrc, &rc_conf::arguments(self.host, &arguments)) {
            Ok(printed) => self.rc = Some(assignments(&printed.stdout)),
            // For a variable that is not set it fails without a word.
            Err(ToolError { outcome: Outcome::Failed { stdout, stderr, .. }, .. }) if stderr.is_empty() => {
                self.rc = Some(assignments(&stdout));
            }
            Err(e) => self.unchecked.push(("rc.conf".into(), console::line(&e.into()))),
        }
        self.override_rc();
        let main = self.host.root().host_path(Path::new("/etc/jail.conf"));
        // It would take what is included from the system itself.
        let misled = self.host.root().is_alternate() && tools.program(Tool::Jail) == Tool::Jail.path();
        if !main.is_file() || misled {
            return;
        }
        let arguments = ["-e".into(), SEPARATOR.into(), "-f".into(), main.into_os_string()];
        match tools.ask::<std::ffi::OsString>(Tool::Jail, &arguments) {
            Ok(printed) => self.exported = Some(Ok(printed.stdout)),
            Err(e) => match e.outcome {
                // A jail that cannot be started does not keep it from printing.
                Outcome::Failed { stdout, .. } if !stdout.is_empty() => self.exported = Some(Ok(stdout)),
                Outcome::Failed { stderr, .. } => self.exported = Some(Err(stderr)),
                // Not where jail(8) is missing, which is no FreeBSD.
                Outcome::NotStarted(_) => {}
            },
        }
    }

    /// Puts what files of services set in the place of what rc.conf(5) sets.
    fn override_rc(&mut self) {
        for (name, service) in RC_SERVICES {
            match (rc_conf::overriding_value(self.host, service, name), &mut self.rc) {
                (Ok(Some(value)), Some(rc)) => {
                    rc.retain(|(known, _)| known != name);
                    rc.push((name.to_owned(), value));
                }
                (Ok(_), _) => {}
                (Err(e), _) => {
                    let file = rc_conf::overriding_file(self.host, service, name).unwrap_or_default();
                    self.unchecked.push((file.display().to_string(), console::line(&e)));
                }
            }
        }
    }

    /// The command that changes a variable of rc.conf(5) where it is set.
    pub fn sysrc(&self, name: &str, words: &[&str]) -> String {
        let service = RC_SERVICES.iter().find(|(known, _)| *known == name).map_or("", |(_, s)| s);
        rc_conf::advice(self.host, service, name, words)
    }

    fn resolve(&mut self) {
        let Some(inventory) = &self.inventory else { return };
        let config = inventory.known.config();
        let dir = inventory.layout.dir();
        for (resources, jail) in inventory.known.jails().iter().zip(config.jails()) {
            let resolved = config.resolve(jail);
            let name: Option<JailName> = resources.jail.parse().ok();
            let held = name.as_ref().and_then(|n| inventory.jail(n));
            let has_container = held.is_some_and(|j| {
                j.directory.there().is_some() || j.dataset.there().is_some() || j.fstab.there().is_some()
            });
            let below = |path: &Option<String>| path.as_ref().is_some_and(|p| Path::new(p).starts_with(dir));
            let thin = name.is_some() && (has_container || below(&resources.path) || below(&resources.fstab));
            // Below an alternate root are other jails than the system's.
            let here =
                |path: &Path| !self.host.root().is_alternate() || path.starts_with(self.host.root().path());
            let running = self.running.iter().any(|r| r.name == resources.jail && here(&r.path));
            self.configured.push(Configured { resources: resources.clone(), resolved, name, thin, running });
        }
    }

    fn look_at_rulesets(&mut self) {
        let of_jails = self.configured.iter().filter(|c| c.thin).filter_map(|c| c.resources.devfs_ruleset);
        let rulesets: BTreeSet<u32> = of_jails.collect();
        for ruleset in rulesets {
            match devfs::problem(self.host, ruleset) {
                Ok(problem) => self.open_rulesets.extend(problem.map(|problem| (ruleset, problem))),
                Err(e) => {
                    self.unchecked.push(("devfs".into(), console::line(&e.into())));
                    return;
                }
            }
        }
    }

    /// Where everything is.
    pub fn layout(&self) -> Option<&Layout> {
        self.inventory.as_ref().map(|i| &i.layout)
    }

    /// The real place of a path of the host.
    pub fn host_path(&self, path: &Path) -> PathBuf {
        self.host.root().host_path(path)
    }

    /// A path for people: as the host has it.
    pub fn shown(&self, real: &Path) -> String {
        self.host.root().strip(real).unwrap_or_else(|| real.to_owned()).display().to_string()
    }

    /// A node of sysctl(8), if it is there.
    pub fn sysctl(&self, name: &str) -> Option<&str> {
        value(&self.sysctls, name)
    }

    /// Whether sysctl(8) answered.
    pub fn sysctls_known(&self) -> bool {
        !self.sysctls.is_empty()
    }

    /// A variable of rc.conf(5); `None` only when nothing is known of it.
    pub fn rc(&self, name: &str) -> Option<&str> {
        Some(value(self.rc.as_ref()?, name).unwrap_or_default())
    }

    /// The thin jails that are configured, with what else is known of each.
    pub fn thin(&self) -> impl Iterator<Item = (&Configured, &JailName, Option<&JailStatus>)> {
        self.configured.iter().filter(|c| c.thin).filter_map(|c| {
            let name = c.name.as_ref()?;
            Some((c, name, self.inventory.as_ref().and_then(|i| i.jail(name))))
        })
    }

    /// Whether a jail of that name runs.
    pub fn runs(&self, name: &str) -> bool {
        self.running.iter().any(|j| j.name == name)
    }
}

fn value<'v>(all: &'v [(String, String)], name: &str) -> Option<&'v str> {
    all.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// What may vanish between two looks.
fn gone<T: Default>(result: crate::system::kernel::Result<T>) -> crate::system::kernel::Result<T> {
    match result {
        Err(e) if e.errno == Errno::ENXIO || e.errno == Errno::ENOENT => Ok(T::default()),
        other => other,
    }
}

fn network(kernel: &dyn Kernel) -> Result<Network> {
    let mut network =
        Network { addresses: kernel.addresses()?, host_uuid: kernel.host_uuid()?, ..Network::default() };
    let pairs = gone(kernel.group_members("epair"))?;
    for (name, mac) in kernel.ethernet_addresses()? {
        let of_pair = pairs.iter().find(|p| p.as_str() == name);
        let description = match of_pair {
            Some(half) => gone(kernel.description(half))?,
            None => None,
        };
        network.interfaces.push(InterfaceFacts { name, mac, is_epair: of_pair.is_some(), description });
    }
    for bridge in gone(kernel.group_members("bridge"))? {
        let mut members = Vec::new();
        for member in gone(kernel.bridge_members(&bridge))? {
            members.push((member.to_string(), gone(kernel.mtu(&member))?));
        }
        network.bridges.push(Bridge {
            up: gone(kernel.is_up(&bridge))?,
            mtu: gone(kernel.mtu(&bridge))?,
            members,
            learned: gone(kernel.learned(&bridge))?,
            name: bridge.to_string(),
        });
    }
    Ok(network)
}

impl Network {
    /// The bridge of that name.
    pub fn bridge(&self, name: &str) -> Option<&Bridge> {
        self.bridges.iter().find(|b| b.name == name)
    }

    /// Whether there is such an interface.
    pub fn has(&self, name: &str) -> bool {
        self.interfaces.iter().any(|i| i.name == name)
    }

    /// Whether an interface is half of a pair.
    pub fn is_epair(&self, name: &str) -> bool {
        self.interfaces.iter().any(|i| i.name == name && i.is_epair)
    }

    /// The names of the host's halves of pairs.
    pub fn hosts_halves(&self) -> impl Iterator<Item = (IfName, &InterfaceFacts)> {
        let half = |i: &&InterfaceFacts| i.is_epair && i.name.ends_with('a');
        self.interfaces.iter().filter(half).filter_map(|i| Some((i.name.parse().ok()?, i)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_commands() {
        assert_eq!(words("/bin/sh /etc/rc"), ["/bin/sh", "/etc/rc"]);
        assert_eq!(words("ifconfig x 'a b' && y;z"), ["ifconfig", "x", "a", "b", "y", "z"]);
        assert_eq!(program("/sbin/route"), "route");
    }
}
