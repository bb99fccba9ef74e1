//! The command lines: one struct a program, and how a program starts.
//!
//! They live in the library so that tests can hold the manual pages, README and
//! the completions against them.

use crate::epair::Addresses;
use crate::fstab::Extra;
use crate::host::Host;
use crate::interface::{IfName, Mtu, PairName};
use crate::jail::JailName;
use crate::layout::MOVED;
use crate::mirror::{Arch, Mirror};
use crate::network::{Address, Id};
use crate::printable;
use crate::release::Release;
use crate::report;
use crate::root::Root;
use crate::syslog::{self, Severity};
use crate::text::Side;
use anyhow::{Context, Result};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{ArgGroup, Args, Command, CommandFactory, Parser, ValueHint};
use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A command line in typed form.
pub trait Arguments: Parser {
    /// The host that `-R` or the environment names.
    fn host(&self) -> Result<Host>;

    /// What no declaration of an argument can say: why the whole is invalid.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The command lines of all programs, for tests and completions.
pub fn commands() -> [Command; 13] {
    [
        EpairUp::command(),
        EpairDown::command(),
        Sweep::command(),
        Mkfstab::command(),
        JailClone::command(),
        JailDestroy::command(),
        JailRebase::command(),
        JailList::command(),
        JailDoctor::command(),
        SkelFetch::command(),
        SkelSplit::command(),
        Fixcerts::command(),
        SkelUpdate::command(),
    ]
}

/// The options of every program that does something.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Print the equivalent shell commands and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Report every action on standard error
    #[arg(short, long)]
    pub verbose: bool,
    /// With -n: print the commands as one JSON document
    #[arg(long, requires = "dry_run")]
    pub json: bool,
    #[command(flatten)]
    root: AlternateRoot,
}

/// The options of every program that only prints data.
#[derive(Args, Clone, Debug)]
pub struct CommonOfData {
    /// Print one JSON document
    #[arg(short, long)]
    pub json: bool,
    #[command(flatten)]
    root: AlternateRoot,
}

/// The options of a program that prints data and may change something.
#[derive(Args, Clone, Debug)]
pub struct CommonOfBoth {
    /// Print the equivalent shell commands and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Report every action on standard error
    #[arg(short, long)]
    pub verbose: bool,
    /// Print one JSON document
    #[arg(short, long)]
    pub json: bool,
    #[command(flatten)]
    root: AlternateRoot,
}

#[derive(Args, Clone, Debug)]
struct AlternateRoot {
    /// Work below this alternate root (also THINJAIL_ROOT)
    // Not clap's `env`: an empty variable means none.
    #[arg(short = 'R', long, value_name = "directory", value_hint = ValueHint::DirPath)]
    root: Option<PathBuf>,
}

impl AlternateRoot {
    /// The root that `-R` or the environment names.
    fn open(&self) -> Result<Root> {
        let from_environment =
            || std::env::var_os("THINJAIL_ROOT").filter(|v| !v.is_empty()).map(PathBuf::from);
        match self.root.clone().or_else(from_environment) {
            Some(directory) => Root::alternate(&directory),
            None => Ok(Root::system()),
        }
    }
}

impl Common {
    fn host(&self) -> Result<Host> {
        Ok(Host::new(self.root.open()?, self.verbose))
    }
}

impl CommonOfData {
    fn host(&self) -> Result<Host> {
        Ok(Host::new(self.root.open()?, false))
    }
}

impl CommonOfBoth {
    fn host(&self) -> Result<Host> {
        Ok(Host::new(self.root.open()?, self.verbose))
    }
}

/// Implements [`Arguments`] for programs whose declarations say everything.
macro_rules! arguments {
    ($($program:ty),+ $(,)?) => {
        $(impl Arguments for $program {
            fn host(&self) -> Result<Host> {
                self.common.host()
            }
        })+
    };
}

arguments!(
    EpairUp,
    EpairDown,
    Sweep,
    JailClone,
    JailDestroy,
    JailRebase,
    JailList,
    JailDoctor,
    SkelFetch,
    SkelSplit,
    Fixcerts,
    SkelUpdate,
);

/// Make a jail's epair and add it to a bridge
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-epair-up", version)]
pub struct EpairUp {
    /// Ethernet address of the host's end, or "none" for the kernel's
    #[arg(short = 'M', long, value_name = "mac")]
    pub mac: Option<Addresses>,
    /// Give both ends this MTU instead of the bridge's
    #[arg(short, long, value_name = "mtu")]
    pub mtu: Option<Mtu>,
    /// Make a missing bridge from this interface
    #[arg(short, long, value_name = "uplink")]
    pub uplink: Option<IfName>,
    /// The bridge to join
    #[arg(short, long, value_name = "bridge")]
    pub bridge: IfName,
    /// What it shares with others.
    #[command(flatten)]
    pub common: Common,
    /// The jail
    #[arg(value_name = "name")]
    pub name: JailName,
    /// The stem of the pair: epair5 for epair5a and epair5b
    #[arg(value_name = "pair")]
    pub pair: PairName,
}

/// Destroy a jail's epair
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-epair-down", version)]
pub struct EpairDown {
    /// What it shares with others.
    #[command(flatten)]
    pub common: Common,
    /// The jail
    #[arg(value_name = "name")]
    pub name: JailName,
    /// The stem of the pair: epair5 for epair5a and epair5b
    #[arg(value_name = "pair")]
    pub pair: PairName,
}

/// Clear what an earlier run of a jail left
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-sweep", version)]
pub struct Sweep {
    /// Unmount file systems of this type too
    #[arg(short = 't', long = "type", value_name = "type")]
    pub kinds: Vec<String>,
    /// What it shares with others.
    #[command(flatten)]
    pub common: Common,
    /// The jail
    #[arg(value_name = "name")]
    pub name: JailName,
    /// The jail's path
    #[arg(value_name = "path")]
    pub path: PathBuf,
    /// The stem of its pair; all pairs tagged as the jail's without it
    #[arg(value_name = "pair")]
    pub pair: Option<PairName>,
}

/// Write or check a jail's fstab
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-mkfstab", version)]
pub struct Mkfstab {
    /// Check the file that is there, and report everything wrong with it
    #[arg(short, long, conflicts_with_all = ["dry_run", "json", "mounts", "release"])]
    pub check: bool,
    /// A further mount.
    #[arg(help = "A further mount: source:target[:options]", short = 'm', long = "mount", value_name = "mount", value_parser = mount(), value_hint = ValueHint::AnyPath)]
    pub mounts: Vec<Extra>,
    /// The file, instead of the jail's own; - for standard output
    #[arg(short, long, value_name = "file", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// The release, instead of bsd_ver
    #[arg(short, long, value_name = "release")]
    pub release: Option<Release>,
    /// What it shares with others.
    #[command(flatten)]
    pub common: Common,
    /// The jail
    #[arg(value_name = "name")]
    pub name: JailName,
}

impl Arguments for Mkfstab {
    fn host(&self) -> Result<Host> {
        self.common.host()
    }

    fn check(&self) -> Result<(), String> {
        if self.check && self.output.as_deref() == Some(Path::new("-")) {
            return Err("the argument '--check' checks a file; '--output -' names none".into());
        }
        Ok(())
    }
}

/// Make a thin jail from a template
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-clone", version)]
pub struct JailClone {
    /// Add the jail to jail_list, so that it starts at boot
    #[arg(short, long)]
    pub enable: bool,
    /// The IPv6 address, instead of jail_net6 + id
    #[arg(short = '6', long = "ip6", value_name = "address")]
    pub v6: Option<Address<Ipv6Addr>>,
    /// The IPv4 address, instead of jail_net + id
    #[arg(short = 'i', long = "ip", value_name = "address")]
    pub v4: Option<Address<Ipv4Addr>>,
    /// A further mount.
    #[arg(help = "A further mount: source:target[:options]", short = 'm', long = "mount", value_name = "mount", value_parser = mount(), value_hint = ValueHint::AnyPath)]
    pub mounts: Vec<Extra>,
    /// The release, instead of bsd_ver
    #[arg(short, long, value_name = "release")]
    pub release: Option<Release>,
    /// What it shares with others.
    #[command(flatten)]
    pub common: Common,
    /// The new jail
    #[arg(value_name = "name")]
    pub name: JailName,
    /// Its id, the lowest free one by default
    #[arg(value_name = "id")]
    pub id: Option<Id>,
}

/// List the thin jails of this host
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-list", version)]
pub struct JailList {
    /// What it shares with others.
    #[command(flatten)]
    pub common: CommonOfData,
}

/// Find what is wrong with a host of thin jails
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-doctor", version)]
pub struct JailDoctor {
    /// Fix what can be fixed without any risk
    #[arg(short = 'x', long)]
    pub fix: bool,
    /// What it shares with others.
    #[command(flatten)]
    pub common: CommonOfBoth,
    /// Report only what matters to these jails
    #[arg(value_name = "name")]
    pub names: Vec<JailName>,
}

/// Repair links that climb out of a skeleton
#[derive(Parser, Clone, Debug)]
#[command(name = "skel-fixcerts", version)]
pub struct Fixcerts {
    /// Look at the whole skeleton, not only at certificates and etc/rmt
    #[arg(short, long)]
    pub all: bool,
    /// Report what is wrong and repair nothing
    #[arg(short, long, conflicts_with_all = ["dry_run", "json"])]
    pub check: bool,
    /// The base that the links point into, when a directory is given
    #[arg(short, long, value_name = "base", value_hint = ValueHint::DirPath)]
    pub base: Option<PathBuf>,
    /// What it shares with others.
    #[command(flatten)]
    pub common: Common,
    /// A release, or the directory of a skeleton or container
    #[arg(value_name = "release | directory", value_hint = ValueHint::DirPath)]
    pub what: PathBuf,
}

/// Destroy a thin jail
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-destroy", version)]
pub struct JailDestroy {
    /// Stop it if it runs; cut its block from a file that holds more
    #[arg(short, long)]
    pub force: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// What it shares with others.
    #[command(flatten)]
    pub common: Common,
    /// The jail
    #[arg(value_name = "name")]
    pub name: JailName,
}

/// What jail-rebase is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebasing<'a> {
    /// Move the jail.
    To(&'a Release),
    /// Discard what it was before.
    Commit,
    /// Go back to what it was before.
    Revert,
}

/// Move a jail to another release, merging its /etc
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-rebase", version)]
// clap would have the release in front of the name.
#[command(override_usage = "jail-rebase [OPTIONS] <name> <release|--commit|--revert>")]
#[command(group = ArgGroup::new("what").required(true).args(["release", "commit", "revert"]))]
pub struct JailRebase {
    /// Stop the jail if it runs
    #[arg(short, long)]
    pub force: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Decide conflicts: ours, as the jail has it, or theirs
    #[arg(short, long, value_name = "side", hide_possible_values = true)]
    pub keep: Option<Side>,
    /// Edit the texts that conflict
    #[arg(long, conflicts_with = "dry_run")]
    pub edit: bool,
    /// Discard what the jail was before
    #[arg(long, conflicts_with_all = ["edit", "keep"])]
    commit: bool,
    /// Go back to what the jail was before
    #[arg(long, conflicts_with_all = ["edit", "keep"])]
    revert: bool,
    /// What it shares with others.
    #[command(flatten)]
    pub common: Common,
    /// The jail
    #[arg(value_name = "name")]
    pub name: JailName,
    /// The release; not with --commit and --revert
    #[arg(value_name = "release")]
    release: Option<Release>,
}

impl JailRebase {
    /// What is to be done: the parser admits exactly one of the three.
    pub fn what(&self) -> Rebasing<'_> {
        match &self.release {
            Some(release) => Rebasing::To(release),
            None if self.commit => Rebasing::Commit,
            None => Rebasing::Revert,
        }
    }
}

/// Get, verify and unpack the base of a release
#[derive(Parser, Clone, Debug)]
#[command(name = "skel-fetch", version)]
pub struct SkelFetch {
    /// The architecture, instead of this host's: amd64, arm64
    #[arg(short, long, value_name = "arch", hide_possible_values = true)]
    pub arch: Option<Arch>,
    /// This archive, instead of fetching one
    #[arg(short, long, value_name = "file", value_hint = ValueHint::FilePath, conflicts_with = "mirror")]
    pub file: Option<PathBuf>,
    /// The URL of a mirror, or of the release's directory
    #[arg(short, long, value_name = "mirror")]
    pub mirror: Option<Mirror>,
    /// The MANIFEST to verify with
    #[arg(short = 'M', long, value_name = "manifest", value_hint = ValueHint::FilePath)]
    pub manifest: Option<PathBuf>,
    /// What it shares with others.
    #[command(flatten)]
    pub common: Common,
    /// The release: 14.2, 14.2-RELEASE, 15.0-RC1
    #[arg(value_name = "release")]
    pub release: Release,
}

/// Move the writable directories of a base into its skeleton
#[derive(Parser, Clone, Debug)]
#[command(name = "skel-split", version)]
pub struct SkelSplit {
    /// Keep the originals in the base, as NAME.orig
    #[arg(short, long)]
    pub keep: bool,
    /// A further directory for host trees, besides docs
    #[arg(short = 'd', long = "directory", value_name = "name", value_parser = directory)]
    pub directories: Vec<PathBuf>,
    /// What it shares with others.
    #[command(flatten)]
    pub common: Common,
    /// The release: 14.2, 14.2-RELEASE, 15.0-RC1
    #[arg(value_name = "release")]
    pub release: Release,
}

/// Bring a template to the next patch level
#[derive(Parser, Clone, Debug)]
#[command(name = "skel-update", version)]
pub struct SkelUpdate {
    /// What it shares with others.
    #[command(flatten)]
    pub common: Common,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// The release: 14.2, 14.2-RELEASE, 15.0-RC1
    #[arg(value_name = "release")]
    pub release: Release,
}

/// A mount, whose paths may be any bytes.
fn mount() -> impl TypedValueParser<Value = Extra> {
    OsStringValueParser::new().try_map(|value| Extra::parse(&value))
}

/// A directory of the skeleton that is not one of those that are moved.
fn directory(name: &str) -> Result<PathBuf, String> {
    let sound = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0', '\n']);
    let moved = MOVED.iter().any(|m| m.split('/').next() == Some(name));
    if !sound || moved || name.starts_with('.') {
        return Err(
            "a directory is one plain name, like docs or src, and none of those that are moved".into()
        );
    }
    Ok(name.into())
}

/// Reads a command line; its first word is the name of the program.
pub fn parse_from<P: Arguments>(words: impl IntoIterator<Item = OsString>) -> Result<P, clap::Error> {
    let arguments = P::try_parse_from(words)?;
    arguments.check().map_err(|why| P::command().error(ErrorKind::ArgumentConflict, why))?;
    Ok(arguments)
}

/// Prints what clap has to say: help and version on standard output, a usage
/// error on standard error with exit status 2.
fn stop(program: &str, error: &clap::Error) -> ExitCode {
    // Line breaks are clap's own or in what it quotes; each line is one.
    let text: String = error.to_string().lines().map(|line| printable::line(line) + "\n").collect();
    if error.use_stderr() {
        report::complain(text.trim_end());
        return ExitCode::from(report::USAGE);
    }
    report::end(program, report::print_text(&text).context("standard output").map(|()| ExitCode::SUCCESS))
}

/// A usage error on one line, without the hints behind it, for syslog(3).
pub fn summary(error: &clap::Error) -> String {
    let text = printable::text(&error.to_string());
    let text = text.split("\n\n").next().unwrap_or_default();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.strip_prefix("error: ").unwrap_or(&words).to_owned()
}

/// The name of a program.
fn name_of<P: Arguments>() -> String {
    P::command().get_name().to_owned()
}

/// Runs an administrator's program.
pub fn run<P: Arguments>(work: fn(&P, &Host) -> Result<ExitCode>) -> ExitCode {
    match parse_from::<P>(std::env::args_os()) {
        Ok(arguments) => {
            let done = arguments.host().and_then(|host| work(&arguments, &host));
            done.unwrap_or_else(|error| report::end(&name_of::<P>(), Err(error)))
        }
        Err(error) => stop(&name_of::<P>(), &error),
    }
}

/// Runs a hook: failures go to syslog too.
pub fn run_hook<P: Arguments>(work: fn(&P, &Host) -> Result<ExitCode>) -> ExitCode {
    let arguments = match parse_from::<P>(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => {
            let program = name_of::<P>();
            if error.use_stderr() {
                let root = AlternateRoot { root: None }.open().unwrap_or_else(|_| Root::system());
                syslog::send(&root, &program, Severity::Error, &summary(&error));
            }
            return stop(&program, &error);
        }
    };
    let host = match arguments.host().context("start") {
        Ok(host) => host,
        Err(e) => return report::end_hook(&name_of::<P>(), &Root::system(), Err(e)),
    };
    work(&arguments, &host).unwrap_or_else(|error| report::end_hook(&name_of::<P>(), host.root(), Err(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStringExt;

    fn read<P: Arguments>(line: &str) -> Result<P, clap::Error> {
        let words = line.split(' ').filter(|w| !w.is_empty()).map(OsString::from);
        parse_from(std::iter::once("program".into()).chain(words))
    }

    fn mistake<P: Arguments + std::fmt::Debug>(line: &str) -> String {
        let error = read::<P>(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        let text = error.to_string();
        assert!(text.contains("\n\nUsage: ") || text.contains("For more information"), "{line}: {text}");
        summary(&error)
    }

    #[test]
    fn declarations_are_sound() {
        for command in commands() {
            let name = command.get_name().to_owned();
            for argument in command.get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {}: {help:?}", argument.get_id());
            }
            let help = command.clone().render_help().to_string();
            assert!(help.lines().all(|line| line.len() <= 100), "{help}");
            command.debug_assert();
        }
    }

    #[test]
    fn everything_at_once() {
        let up: EpairUp = read("-nv --json -R /r -m 9000 -M none -u igc0 -b igc0bridge web epair5").unwrap();
        let Common { dry_run, verbose, json, root } = &up.common;
        let root = root.root.as_deref();
        assert_eq!((dry_run, verbose, json, root), (&true, &true, &true, Some(Path::new("/r"))));
        assert_eq!((up.mtu, up.mac), ("9000".parse().ok(), Some(Addresses::Kernel)));
        assert_eq!((up.uplink, Ok(up.bridge)), ("igc0".parse().ok(), "igc0bridge".parse()));
        assert_eq!((Ok(up.name), Ok(up.pair)), ("web".parse(), "epair5".parse()));

        let up: EpairUp = read("-b b web epair5").unwrap();
        assert!(up.mtu.is_none() && up.mac.is_none() && up.uplink.is_none() && up.common.root.root.is_none());
        assert!(!up.common.dry_run && !up.common.verbose && !up.common.json);

        let down: EpairDown = read("web epair5 -n").unwrap();
        assert!(down.common.dry_run && !down.common.verbose);
        assert_eq!((Ok(down.name), Ok(down.pair)), ("web".parse(), "epair5".parse()));

        let sweep: Sweep = read("-t zfs -ttmpfs web /j/web epair5").unwrap();
        assert_eq!((sweep.kinds, sweep.path), (vec!["zfs".into(), "tmpfs".into()], "/j/web".into()));
        assert_eq!((Ok(sweep.name), sweep.pair), ("web".parse(), "epair5".parse().ok()));
        assert_eq!(read::<Sweep>("web /j/web").unwrap().pair, None);

        let fstab: Mkfstab = read("-r 14.2 -o - -m /a:/b -m /c:/d:ro web").unwrap();
        assert_eq!((fstab.release, fstab.output), ("14.2".parse().ok(), Some("-".into())));
        assert_eq!(fstab.mounts, ["/a:/b", "/c:/d:ro"].map(|m| m.parse().unwrap()));
        assert!(!fstab.check && fstab.name.as_str() == "web");
        assert!(read::<Mkfstab>("-cv -R /r -o f web").unwrap().check);

        let clone: JailClone = read("-e -6 fd00::5/64 -i 192.168.7.5 -m /a:/b -r 15.0-RC1 web 5").unwrap();
        assert!(clone.enable && clone.mounts == ["/a:/b".parse().unwrap()]);
        assert_eq!((clone.v4, clone.v6), ("192.168.7.5".parse().ok(), "fd00::5/64".parse().ok()));
        assert_eq!((clone.release, clone.id), ("15.0-RC1".parse().ok(), "5".parse().ok()));
        assert_eq!(read::<JailClone>("web").unwrap().id, None);

        let list: JailList = read("-j -R /r").unwrap();
        assert!(list.common.json);
        assert_eq!(list.common.root.root.as_deref(), Some(Path::new("/r")));
        assert!(!read::<JailList>("").unwrap().common.json);

        let doctor: JailDoctor = read("-jnvx -R /r web db").unwrap();
        assert!(doctor.fix && doctor.common.json && doctor.common.dry_run && doctor.common.verbose);
        assert_eq!(doctor.names, ["web", "db"].map(|n| n.parse().unwrap()));
        assert!(read::<JailDoctor>("").unwrap().names.is_empty());

        let certs: Fixcerts = read("-a -c -b /base 14.2").unwrap();
        assert!(certs.all && certs.check);
        assert_eq!((certs.base, certs.what), (Some("/base".into()), "14.2".into()));

        let destroy: JailDestroy = read("-fy web").unwrap();
        assert!(destroy.force && destroy.yes && destroy.name.as_str() == "web");

        let fetch: SkelFetch = read("-a arm64 -f base.txz -M MANIFEST 15.0-RC1").unwrap();
        assert_eq!((fetch.arch, fetch.file), (Some(Arch::Arm64), Some("base.txz".into())));
        assert_eq!((fetch.manifest, fetch.mirror), (Some("MANIFEST".into()), None));
        assert_eq!(fetch.release.as_str(), "15.0-RC1");
        assert_eq!(read::<SkelFetch>("-m http://x 14.2").unwrap().mirror, "http://x".parse().ok());

        let split: SkelSplit = read("-k -d src -d obj 14.2").unwrap();
        assert!(split.keep && split.directories == [Path::new("src"), Path::new("obj")]);
        assert_eq!(read::<SkelUpdate>("14.2").unwrap().release.as_str(), "14.2-RELEASE");
    }

    #[test]
    fn mistakes() {
        for (text, expected) in [
            (mistake::<JailClone>("a.b"), "invalid value 'a.b' for '<name>': a dot in a jail name makes"),
            (mistake::<JailClone>("web 0"), "invalid value '0' for '[id]': an id is a number"),
            (mistake::<JailClone>("-i 1.2.3 web"), "invalid value '1.2.3' for '--ip <address>': "),
            (
                mistake::<JailClone>("-r latest web"),
                "invalid value 'latest' for '--release <release>': a release",
            ),
            (
                mistake::<JailClone>("-m /a web"),
                "invalid value '/a' for '--mount <mount>': a mount is written",
            ),
            (mistake::<EpairUp>("-m 71 -b b web epair5"), "invalid value '71' for '--mtu <mtu>': an MTU is"),
            (mistake::<EpairUp>("-M x -b b web epair5"), "invalid value 'x' for '--mac <mac>': an Ethernet"),
            (
                mistake::<EpairUp>("web epair5"),
                "the following required arguments were not provided: --bridge",
            ),
            (mistake::<EpairUp>("-b b web"), "the following required arguments were not provided: <pair>"),
            (mistake::<Sweep>("web"), "the following required arguments were not provided: <path>"),
            (
                mistake::<Mkfstab>("-c -o - web"),
                "the argument '--check' checks a file; '--output -' names none",
            ),
            (mistake::<Mkfstab>("-c -n web"), "the argument '--check' cannot be used with '--dry-run'"),
            (mistake::<Mkfstab>("-c --json web"), "the argument '--check' cannot be used with '--json'"),
            (mistake::<Mkfstab>("-c -m /a:/b web"), "the argument '--check' cannot be used with '--mount"),
            (mistake::<Mkfstab>("-c -r 14.2 web"), "the argument '--check' cannot be used with '--release"),
            (mistake::<Mkfstab>("--output= web"), "a value is required for '--output <file>' but none was"),
            (mistake::<JailDoctor>("web a.b"), "invalid value 'a.b' for '[name]...': a dot in a jail name"),
            (mistake::<JailList>("-n"), "unexpected argument '-n' found"),
            (mistake::<JailList>("web"), "unexpected argument 'web' found"),
            (mistake::<JailRebase>("web"), "the following required arguments were not provided: <release|"),
            (
                mistake::<JailRebase>("--commit web 14.2"),
                "the argument '--commit' cannot be used with '[release]'",
            ),
            (
                mistake::<JailRebase>("--commit --revert web"),
                "the argument '--commit' cannot be used with '--revert'",
            ),
            (
                mistake::<JailRebase>("--edit -n web 14.2"),
                "the argument '--edit' cannot be used with '--dry-run'",
            ),
            (mistake::<JailRebase>("-k both web 14.2"), "invalid value 'both' for '--keep <side>'"),
            (mistake::<Fixcerts>("-cn 14.2"), "the argument '--check' cannot be used with '--dry-run'"),
            (
                mistake::<Fixcerts>("--json 14.2"),
                "the following required arguments were not provided: --dry-run",
            ),
            (mistake::<Fixcerts>("-c --json 14.2"), "the argument '--check' cannot be used with '--json'"),
            (
                mistake::<Fixcerts>(""),
                "the following required arguments were not provided: <release | directory>",
            ),
            (mistake::<SkelFetch>(""), "the following required arguments were not provided: <release>"),
            (mistake::<SkelFetch>("-a i386 14.2"), "invalid value 'i386' for '--arch <arch>'"),
            (
                mistake::<SkelFetch>("-m here 14.2"),
                "invalid value 'here' for '--mirror <mirror>': a mirror is a URL",
            ),
            (
                mistake::<SkelFetch>("-f x -m http://y 14.2"),
                "the argument '--file <file>' cannot be used with",
            ),
            (
                mistake::<SkelSplit>("-d etc 14.2"),
                "invalid value 'etc' for '--directory <name>': a directory is one",
            ),
            (
                mistake::<SkelSplit>("-d usr 14.2"),
                "invalid value 'usr' for '--directory <name>': a directory is one",
            ),
            (
                mistake::<SkelSplit>("-d ../x 14.2"),
                "invalid value '../x' for '--directory <name>': a directory",
            ),
            (mistake::<SkelUpdate>("14.2 15.0"), "unexpected argument '15.0' found"),
            (mistake::<SkelUpdate>("-n -n 14.2"), "the argument '--dry-run' cannot be used multiple times"),
        ] {
            assert!(text.starts_with(expected), "{text:?}, not {expected:?}");
        }
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for line in ["-h", "--help", "-V", "--version"] {
            let error = read::<JailRebase>(line).unwrap_err();
            assert_eq!((error.exit_code(), error.use_stderr()), (0, false), "{line}");
        }
        let error = read::<EpairUp>("--brigde x web epair5").unwrap_err().to_string();
        assert!(error.contains("'--bridge'"), "a similar argument is named: {error}");
    }

    /// Words that a parser might stumble over.
    fn word() -> impl Strategy<Value = OsString> {
        const SOME: [&str; 20] = [
            "-", "--", "---", "-n", "-c", "-b", "-nvR", "-m=", "-h=", "--json", "--mount", "--root=", "--=",
            "-=", "", "web", "epair5", "/a:/b", "14.2", "10",
        ];
        prop_oneof![
            prop::sample::select(&SOME[..]).prop_map(OsString::from),
            prop::collection::vec(any::<u8>(), 0..6).prop_map(OsString::from_vec),
            "-{0,2}[a-zA-Z6=]{0,4}".prop_map(OsString::from),
        ]
    }

    proptest! {
        #[test]
        fn no_arguments_are_too_much(words in prop::collection::vec(word(), 0..8)) {
            fn read<P: Arguments>(words: &[OsString]) {
                let words = std::iter::once("program".into()).chain(words.iter().cloned());
                if let Err(error) = parse_from::<P>(words) {
                    assert!(!summary(&error).is_empty());
                }
            }
            read::<EpairUp>(&words);
            read::<EpairDown>(&words);
            read::<Sweep>(&words);
            read::<Mkfstab>(&words);
            read::<JailClone>(&words);
            read::<JailList>(&words);
            read::<JailDoctor>(&words);
            read::<Fixcerts>(&words);
            read::<JailDestroy>(&words);
            read::<JailRebase>(&words);
            read::<SkelFetch>(&words);
            read::<SkelSplit>(&words);
            read::<SkelUpdate>(&words);
        }
    }
}
