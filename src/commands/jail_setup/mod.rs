//! What jail-setup does: it looks at a host, proposes what thin jails need, asks,
//! and does it as one plan. A second run finds all of it and changes nothing.

mod bridge;
mod facts;
mod finding;
mod jail_conf;
mod nat;
mod network;
mod settings_file;
mod storage;

use crate::commands::common::{self, Arguments, Common};
use crate::domain::base_version::Version;
use crate::domain::layout::{Layout, Storage};
use crate::domain::layout_places::{MissingPlace, missing_places};
use crate::domain::rc_conf::SetVariable;
use crate::domain::settings::{self, Settings};
use crate::system::console;
use crate::system::file::WriteFile;
use crate::system::host::Host;
use crate::system::lock::{Lock, LockId};
use crate::system::plan::{CommitPoint, Plan};
use crate::system::zfs::Dataset;
use crate::types::interface::IfName;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum, ValueHint};
use facts::Network;
use finding::{Finding, Part, State};
use ipnet::IpNet;
use settings_file::SettingsFile;
use std::path::PathBuf;
use std::process::ExitCode;

/// Prepare a host for thin jails
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-setup", version)]
pub struct JailSetup {
    /// The dataset of templates and containers
    #[arg(short, long, value_name = "dataset", conflicts_with = "directory")]
    pub dataset: Option<Dataset>,
    /// Directory storage, in this directory
    #[arg(short = 'D', long, value_name = "directory", value_parser = directory, value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// Bridge the network card, or use NAT
    #[arg(short = 'N', long, value_name = "mode")]
    pub mode: Option<NetworkMode>,
    /// The network card, instead of that of the default route
    #[arg(short, long, value_name = "uplink")]
    pub uplink: Option<IfName>,
    /// The bridge of the jails
    #[arg(short, long, value_name = "bridge")]
    pub bridge: Option<IfName>,
    /// The network of the jails
    #[arg(short = 'a', long, value_name = "network", value_parser = network_of)]
    pub network: Option<IpNet>,
    /// The release of new jails
    #[arg(short, long, value_name = "release")]
    pub release: Option<Release>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
}

/// How jails reach the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NetworkMode {
    /// The network card is a member of their bridge.
    Bridge,
    /// They share the address of the host.
    Nat,
}

fn directory(text: &str) -> Result<PathBuf> {
    settings::directory(text)?.ok_or_else(|| anyhow::anyhow!("a directory cannot be empty"))
}

fn network_of(text: &str) -> Result<IpNet> {
    let net: IpNet = text
        .parse()
        .map_err(|_| anyhow::anyhow!("\"{text}\" is not a network like 10.7.0.0/24 or fd00:7::/64"))?;
    if net.addr() != net.network() {
        bail!("{text} has host bits set; use the network address, {}", net.trunc());
    }
    Ok(net)
}

impl Arguments for JailSetup {
    fn host(&self) -> Result<Host> {
        self.common.host()
    }

    fn check(&self) -> Result<(), String> {
        if self.mode == Some(NetworkMode::Nat) && self.network.is_some_and(|net| net.addr().is_ipv6()) {
            return Err("the argument '--mode nat' needs an IPv4 network".into());
        }
        Ok(())
    }
}

const PROGRAM: &str = "jail-setup";

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

fn run(arguments: &JailSetup, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    // Not held while the administrator thinks about an answer.
    let take = || Lock::take(host.root(), LockId::Jails);
    let early = (arguments.yes && !common.dry_run).then(take).transpose()?;
    let mut choices = Choices { pool: None };
    let found = loop {
        match look(host, arguments, &choices)? {
            LookResult::Found(found) => break *found,
            LookResult::SeveralPools(pools) if common.dry_run || arguments.yes => {
                return Err(storage::several(&pools));
            }
            LookResult::SeveralPools(pools) => choices.pool = Some(storage::ask(&pools)?),
        }
    };
    if common.dry_run {
        return dry_run(found, common.json);
    }
    let text = found.text();
    console::print_text(&text).context("standard output")?;
    if !found.changes() {
        let left = if found.has_todo() {
            "nothing to change, except for the todo lines"
        } else {
            "nothing to change"
        };
        console::report(PROGRAM, left);
        return Ok(ExitCode::SUCCESS);
    }
    let (found, _lock) = match early {
        Some(lock) => (found, lock),
        None => {
            if !console::ask("Make these changes?")? {
                bail!("aborted");
            }
            let lock = take()?;
            match look(host, arguments, &choices)? {
                // Another program may have changed something meanwhile.
                LookResult::Found(again) if again.text() == text => (*again, lock),
                _ => bail!("the host changed in the meantime; run jail-setup again"),
            }
        }
    };
    let next = found.next.clone();
    steps(found).carry_out(host)?;
    next.iter().for_each(|line| console::report(PROGRAM, line));
    Ok(ExitCode::SUCCESS)
}

/// Prints commands, and what no command does.
fn dry_run(found: Found, json: bool) -> Result<ExitCode> {
    let findings = found.findings.clone();
    let plan = steps(found);
    if json {
        let findings: Vec<_> = findings.iter().map(Finding::to_json).collect();
        let document =
            serde_json::json!({ "program": PROGRAM, "findings": findings, "commands": plan.commands() });
        console::print_json(&document)?;
        return Ok(ExitCode::SUCCESS);
    }
    for finding in findings.iter().filter(|f| matches!(f.state, State::Todo | State::Warning)) {
        console::note(PROGRAM, &finding.to_line());
    }
    common::dry_run(PROGRAM, &plan, false)
}

/// What the administrator chose when asked.
struct Choices {
    pool: Option<String>,
}

/// What looking at the host comes to.
enum LookResult {
    Found(Box<Found>),
    /// The administrator has to choose.
    SeveralPools(Vec<String>),
}

/// What a set-up meets on the host.
struct Found {
    findings: Vec<Finding>,
    places: Vec<MissingPlace>,
    settings: SettingsFile,
    jail_conf: Option<WriteFile>,
    rc: Vec<SetVariable>,
    network: Network,
    /// What the administrator may do next.
    next: Vec<String>,
}

impl Found {
    fn changes(&self) -> bool {
        self.findings.iter().any(|f| f.state == State::Change)
    }

    fn has_todo(&self) -> bool {
        self.findings.iter().any(|f| f.state == State::Todo)
    }

    fn text(&self) -> String {
        self.findings.iter().map(Finding::to_text).collect()
    }
}

/// Looks at the host. Every reason not to set it up is found here.
fn look(host: &Host, arguments: &JailSetup, choices: &Choices) -> Result<LookResult> {
    let settings = Settings::load(host.root())?;
    let mut file = SettingsFile::look(host)?;
    let mut findings = Vec::new();
    match storage::choose(host, &settings, arguments, choices.pool.as_deref())? {
        storage::Choice::Settings(chosen) => file.set_all(&settings, chosen)?,
        storage::Choice::SeveralPools(pools) => return Ok(LookResult::SeveralPools(pools)),
    }
    let release = match &arguments.release {
        Some(release) => Some(release.clone()),
        None if settings.bsd_ver.is_none() => release_of_host(host)?,
        None => None,
    };
    file.set_all(&settings, release.iter().map(|release| ("bsd_ver", release.version_text())).collect())?;
    let network = network::look(host, &settings, arguments)?;
    file.set_all(&settings, network.settings.clone())?;
    let intended = file.intended()?;
    let (layout, is_new) = Layout::intended(host, &intended)?;
    let places = missing_places(host, &layout, is_new)?;
    findings.push(storage_finding(&layout, &places));
    findings.push(file.finding());
    let jail_conf = jail_conf::look(host, &layout, &intended)?;
    findings.extend(jail_conf.findings);
    let known = &network.known;
    let mut rc = Vec::new();
    if known.is_yes("jail_enable") {
        findings.push(Finding::new(Part::RcConf, State::Ok, "jail_enable is YES"));
    } else {
        rc.push(SetVariable::new(host, "jail", "jail_enable", known, Some("YES")));
        findings.push(Finding::new(Part::RcConf, State::Change, "set jail_enable to YES"));
    }
    findings.extend(network.findings.iter().cloned());
    let has_todo = findings.iter().any(|f| f.state == State::Todo);
    let next = next(&intended, &network, has_todo);
    Ok(LookResult::Found(Box::new(Found {
        findings,
        places,
        settings: file,
        jail_conf: jail_conf.write,
        rc,
        network,
        next,
    })))
}

fn storage_finding(layout: &Layout, places: &[MissingPlace]) -> Finding {
    let what = match layout.storage() {
        Storage::Zfs(top) => format!("dataset {top}, mounted at {}", layout.dir().display()),
        Storage::Directory => format!("directory {}", layout.dir().display()),
    };
    match places {
        [] => Finding::new(Part::Storage, State::Ok, what),
        some => {
            let lines = some.iter().map(MissingPlace::name).collect();
            Finding::new(Part::Storage, State::Change, what).with_lines(lines)
        }
    }
}

/// The steps of a set-up. Each completes what a killed run left:
///
/// 1. thinjail.conf, which holds what was chosen: the next run chooses the same.
/// 2. The places of the layout.
/// 3. jail.conf and rc.conf; the uplink loses its address in rc.conf last, when the
///    bridge has it there.
/// 4. What is made live at once: the bridge of NAT, its address, forwarding, pf.
fn steps(found: Found) -> Plan {
    let mut plan = Plan::default();
    plan.append(found.settings.steps());
    found.places.into_iter().for_each(|place| plan.push(place.make()));
    if let Some(write) = found.jail_conf {
        plan.push(write);
    }
    plan.append(found.network.files);
    // The variables of a bridge depend on each other, from the first one on.
    found.rc.into_iter().chain(found.network.rc).for_each(|variable| plan.push(CommitPoint(variable)));
    plan.append(found.network.live);
    plan
}

/// What leads from here to a running jail.
fn next(settings: &Settings, network: &Network, has_todo: bool) -> Vec<String> {
    let mut lines = network.next.clone();
    lines.extend(has_todo.then(|| "first: do what the todo lines say".to_owned()));
    let (release, option) = match &settings.bsd_ver {
        Some(release) => (release.version_text(), ""),
        None => ("RELEASE".into(), " -r RELEASE"),
    };
    lines.push(format!("next: skel-fetch {release} && skel-split {release} && skel-update {release}"));
    lines.push(format!("then: jail-clone -e{option} NAME && service jail start NAME"));
    lines
}

/// The release of the host, if it is one that can be fetched.
fn release_of_host(host: &Host) -> Result<Option<Release>> {
    let version: Version = host.kernel()?.os_release()?.parse()?;
    Ok(Some(version.release).filter(|release| !release.is_snapshot()))
}
