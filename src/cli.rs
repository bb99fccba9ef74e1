//! The command lines: one struct a program, and how a program starts.
//!
//! The structs live in the library so that a test can hold the manual pages
//! against them.

use crate::epair::{self, Addresses};
use crate::fstab::Extra;
use crate::host::Host;
use crate::interface::{IfName, Mtu, PairName};
use crate::jail::JailName;
use crate::network::{Address, Id};
use crate::release::Release;
use crate::report;
use crate::root::Root;
use anyhow::{Context, Result};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser};
use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;

/// Options that every program has.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Print the equivalent shell commands and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Tell every action on standard error
    #[arg(short, long)]
    pub verbose: bool,
    /// With -n: print the commands as one JSON document
    #[arg(long, requires = "dry_run")]
    pub json: bool,
    /// Work below this alternate root (also THINJAIL_ROOT)
    #[arg(short = 'R', long, value_name = "DIRECTORY")]
    pub root: Option<PathBuf>,
}

impl Common {
    /// The root that `-R` or the environment names.
    pub fn root(&self) -> Result<Root> {
        let from_environment =
            || std::env::var_os("THINJAIL_ROOT").filter(|v| !v.is_empty()).map(PathBuf::from);
        match self.root.clone().or_else(from_environment) {
            Some(directory) => Root::alternate(&directory),
            None => Ok(Root::system()),
        }
    }

    /// The host below that root.
    pub fn host(&self) -> Result<Host> {
        Ok(Host::new(self.root()?, self.verbose))
    }
}

fn addresses() -> impl TypedValueParser<Value = Addresses> {
    clap::builder::StringValueParser::new().try_map(|text| epair::parse_addresses(&text))
}

fn extra() -> impl TypedValueParser<Value = Extra> {
    OsStringValueParser::new().try_map(|text: OsString| Extra::parse(&text))
}

/// jail-epair-up(8)
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-epair-up", version, about = "Make a jail's epair and add it to a bridge")]
pub struct EpairUp {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    /// Give both ends this MTU instead of the bridge's
    #[arg(short, long, value_name = "MTU")]
    pub mtu: Option<Mtu>,
    /// Ethernet address of the host's end, or "none" for the kernel's
    #[arg(short = 'M', long, value_name = "MAC", value_parser = addresses())]
    pub mac: Option<Addresses>,
    /// Make a missing bridge from this interface
    #[arg(short, long, value_name = "UPLINK")]
    pub uplink: Option<IfName>,
    /// The bridge to join
    #[arg(short, long, value_name = "BRIDGE")]
    pub bridge: IfName,
    /// The jail
    pub name: JailName,
    /// The stem of the pair: epair5 for epair5a and epair5b
    pub pair: PairName,
}

/// jail-epair-down(8)
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-epair-down", version, about = "Destroy a jail's epair")]
pub struct EpairDown {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    /// The jail
    pub name: JailName,
    /// The stem of the pair: epair5 for epair5a and epair5b
    pub pair: PairName,
}

/// jail-sweep(8)
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-sweep", version, about = "Clear what an earlier run of a jail left")]
pub struct Sweep {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    /// Unmount file systems of this type too
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    pub kinds: Vec<String>,
    /// The jail
    pub name: JailName,
    /// The jail's path
    pub path: PathBuf,
    /// The stem of its pair; all pairs tagged as the jail's without it
    pub pair: Option<PairName>,
}

/// jail-mkfstab(8)
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-mkfstab", version, about = "Write or check a jail's fstab")]
pub struct Mkfstab {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    /// Check the file that is there, and report everything wrong with it
    #[arg(short, long, conflicts_with_all = ["release", "mounts", "dry_run"])]
    pub check: bool,
    /// The file, instead of the jail's own; - for standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The release, instead of bsd_ver
    #[arg(short, long, value_name = "RELEASE")]
    pub release: Option<Release>,
    /// A further mount: source:target[:options]
    #[arg(short = 'm', long = "mount", value_name = "MOUNT", value_parser = extra())]
    pub mounts: Vec<Extra>,
    /// The jail
    pub name: JailName,
}

/// jail-clone(8)
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-clone", version, about = "Make a thin jail from a template")]
pub struct JailClone {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    /// Add the jail to jail_list, so that it starts at boot
    #[arg(short, long)]
    pub enable: bool,
    /// The release, instead of bsd_ver
    #[arg(short, long, value_name = "RELEASE")]
    pub release: Option<Release>,
    /// The IPv4 address, instead of jail_net + id
    #[arg(short = 'i', long = "ip", value_name = "ADDRESS")]
    pub v4: Option<Address<Ipv4Addr>>,
    /// The IPv6 address, instead of jail_net6 + id
    #[arg(short = '6', long = "ip6", value_name = "ADDRESS")]
    pub v6: Option<Address<Ipv6Addr>>,
    /// A further mount: source:target[:options]
    #[arg(short = 'm', long = "mount", value_name = "MOUNT", value_parser = extra())]
    pub mounts: Vec<Extra>,
    /// The new jail
    pub name: JailName,
    /// Its id, the lowest free one by default
    pub id: Option<Id>,
}

/// skel-fixcerts(8)
#[derive(Parser, Clone, Debug)]
#[command(name = "skel-fixcerts", version, about = "Repair links that climb out of a skeleton")]
pub struct Fixcerts {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    /// Look at the whole skeleton, not only at certificates and etc/rmt
    #[arg(short, long)]
    pub all: bool,
    /// Report what is wrong and repair nothing
    #[arg(short, long, conflicts_with = "dry_run")]
    pub check: bool,
    /// The base that the links point into, when a directory is given
    #[arg(short, long, value_name = "BASE")]
    pub base: Option<PathBuf>,
    /// A release, or the directory of a skeleton or container
    #[arg(value_name = "RELEASE|DIRECTORY")]
    pub what: PathBuf,
}

/// Reads the command line of a program. On a mistake it is told on one line,
/// and the exit status is 2.
pub fn parse<P: Parser>() -> Result<P, ExitCode> {
    let command = P::command();
    let name = command.get_name().to_owned();
    let matches = command.try_get_matches_from(std::env::args_os());
    matches.and_then(|m| P::from_arg_matches(&m)).map_err(|e| complain(&name, &e))
}

fn complain(name: &str, e: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = report::print(&e.to_string());
        return ExitCode::SUCCESS;
    }
    let text = e.to_string();
    // Up to the first blank line stands the mistake itself, perhaps as a list.
    let mistake: Vec<&str> = text.lines().take_while(|l| !l.is_empty()).map(str::trim).collect();
    let mistake = mistake.join(" ");
    let mistake: String =
        mistake.trim_start_matches("error: ").chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    eprintln!("{name}: {mistake} ({name} -h tells the usage)");
    ExitCode::from(report::USAGE)
}

/// Runs an administrator's program.
pub fn run<P: Parser>(common: fn(&P) -> &Common, work: fn(&P, &Host) -> Result<ExitCode>) -> ExitCode {
    let arguments = match parse::<P>() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let host = common(&arguments).host();
    report::end(P::command().get_name(), host.and_then(|host| work(&arguments, &host)))
}

/// Runs a hook: failures go to syslog too.
pub fn run_hook<P: Parser>(common: fn(&P) -> &Common, work: fn(&P, &Host) -> Result<ExitCode>) -> ExitCode {
    let arguments = match parse::<P>() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let program = P::command().get_name().to_owned();
    match common(&arguments).host().context("start") {
        Ok(host) => report::end_hook(&program, host.root(), work(&arguments, &host)),
        Err(e) => report::end_hook(&program, &Root::system(), Err(e)),
    }
}
