//! The command lines: one table and one struct a program, and how a program
//! starts.
//!
//! The tables live in the library so that a test can hold the manual pages
//! against them.

pub mod table;

use crate::epair::{self, Addresses};
use crate::fstab::Extra;
use crate::host::Host;
use crate::interface::{IfName, Mtu, PairName};
use crate::jail::JailName;
use crate::layout::MOVED;
use crate::mirror::{Arch, Mirror};
use crate::network::{Address, Id};
use crate::release::Release;
use crate::report;
use crate::root::Root;
use crate::syslog::{self, Severity};
use crate::text::Side;
use anyhow::{Context, Result};
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::{
    COMMON, COMMON_OF_BOTH, COMMON_OF_DATA, Given, Kind, Operand, Opt, Program, Stop, Words, path, typed,
};

/// A command line in typed form.
pub trait Arguments: Sized {
    /// The table.
    const PROGRAM: &'static Program;

    /// Types what was given.
    fn read(given: &Given) -> Result<Self, Stop>;
}

/// The tables of all programs.
pub const PROGRAMS: [&Program; 13] = [
    EpairUp::PROGRAM,
    EpairDown::PROGRAM,
    Sweep::PROGRAM,
    Mkfstab::PROGRAM,
    JailClone::PROGRAM,
    JailDestroy::PROGRAM,
    JailRebase::PROGRAM,
    JailList::PROGRAM,
    JailDoctor::PROGRAM,
    SkelFetch::PROGRAM,
    SkelSplit::PROGRAM,
    Fixcerts::PROGRAM,
    SkelUpdate::PROGRAM,
];

/// The options of [`table::COMMON`] and [`table::COMMON_OF_DATA`].
#[derive(Clone, Debug)]
pub struct Common {
    /// `-n`
    pub dry_run: bool,
    /// `-v`
    pub verbose: bool,
    /// `--json`, or `-j`
    pub json: bool,
    /// `-R`
    pub root: Option<PathBuf>,
}

impl Common {
    fn read(given: &Given) -> Result<Common, Stop> {
        Ok(Common {
            dry_run: given.has_if_known("dry-run"),
            verbose: given.has_if_known("verbose"),
            json: given.has_if_known("json"),
            root: given.optional("root", path)?,
        })
    }

    /// The root that `-R` or the environment names.
    pub fn root(&self) -> Result<Root> {
        root_of(self.root.clone())
    }

    /// The host below that root.
    pub fn host(&self) -> Result<Host> {
        Ok(Host::new(self.root()?, self.verbose))
    }
}

const NAME: Operand = Operand { name: "name", kind: Kind::Jail, required: true, help: "The jail" };
const PAIR: Operand = Operand {
    name: "pair",
    kind: Kind::Pair,
    required: true,
    help: "The stem of the pair: epair5 for epair5a and epair5b",
};
const RELEASE: Opt =
    Opt::value('r', "release", "release", "The release, instead of bsd_ver").of(Kind::Release);
const MOUNT: Opt = Opt::value('m', "mount", "mount", "A further mount: source:target[:options]")
    .of(Kind::Mount)
    .repeatable();

fn addresses(value: &OsStr) -> Result<Addresses, String> {
    epair::parse_addresses(table::text(value)?).map_err(|e| e.to_string())
}

fn mount(value: &OsStr) -> Result<Extra, String> {
    Extra::parse(value).map_err(|e| e.to_string())
}

/// jail-epair-up(8)
#[derive(Clone, Debug)]
pub struct EpairUp {
    /// What every program has.
    pub common: Common,
    /// `-m`
    pub mtu: Option<Mtu>,
    /// `-M`
    pub mac: Option<Addresses>,
    /// `-u`
    pub uplink: Option<IfName>,
    /// `-b`
    pub bridge: IfName,
    /// `name`
    pub name: JailName,
    /// `pair`
    pub pair: PairName,
}

impl Arguments for EpairUp {
    const PROGRAM: &'static Program = &Program {
        name: "jail-epair-up",
        about: "Make a jail's epair and add it to a bridge",
        own: &[
            Opt::value('M', "mac", "mac", "Ethernet address of the host's end, or \"none\" for the kernel's")
                .of(Kind::Word(Words::Mac)),
            Opt::value('m', "mtu", "mtu", "Give both ends this MTU instead of the bridge's"),
            Opt::value('u', "uplink", "uplink", "Make a missing bridge from this interface")
                .of(Kind::Interface),
            Opt::value('b', "bridge", "bridge", "The bridge to join").of(Kind::Bridge).required(),
        ],
        common: &COMMON,
        operands: &[NAME, PAIR],
    };

    fn read(given: &Given) -> Result<EpairUp, Stop> {
        Ok(EpairUp {
            common: Common::read(given)?,
            mtu: given.optional("mtu", typed)?,
            mac: given.optional("mac", addresses)?,
            uplink: given.optional("uplink", typed)?,
            bridge: given.required("bridge", typed)?,
            name: given.required("name", typed)?,
            pair: given.required("pair", typed)?,
        })
    }
}

/// jail-epair-down(8)
#[derive(Clone, Debug)]
pub struct EpairDown {
    /// What every program has.
    pub common: Common,
    /// `name`
    pub name: JailName,
    /// `pair`
    pub pair: PairName,
}

impl Arguments for EpairDown {
    const PROGRAM: &'static Program = &Program {
        name: "jail-epair-down",
        about: "Destroy a jail's epair",
        own: &[],
        common: &COMMON,
        operands: &[NAME, PAIR],
    };

    fn read(given: &Given) -> Result<EpairDown, Stop> {
        Ok(EpairDown {
            common: Common::read(given)?,
            name: given.required("name", typed)?,
            pair: given.required("pair", typed)?,
        })
    }
}

/// jail-sweep(8)
#[derive(Clone, Debug)]
pub struct Sweep {
    /// What every program has.
    pub common: Common,
    /// `-t`
    pub kinds: Vec<String>,
    /// `name`
    pub name: JailName,
    /// `path`
    pub path: PathBuf,
    /// `pair`
    pub pair: Option<PairName>,
}

impl Arguments for Sweep {
    const PROGRAM: &'static Program = &Program {
        name: "jail-sweep",
        about: "Clear what an earlier run of a jail left",
        own: &[Opt::value('t', "type", "type", "Unmount file systems of this type too").repeatable()],
        common: &COMMON,
        operands: &[
            NAME,
            Operand { name: "path", kind: Kind::JailPath, required: true, help: "The jail's path" },
            Operand {
                name: "pair",
                kind: Kind::Pair,
                required: false,
                help: "The stem of its pair; all pairs tagged as the jail's without it",
            },
        ],
    };

    fn read(given: &Given) -> Result<Sweep, Stop> {
        Ok(Sweep {
            common: Common::read(given)?,
            kinds: given.all("type", typed)?,
            name: given.required("name", typed)?,
            path: given.required("path", path)?,
            pair: given.optional("pair", typed)?,
        })
    }
}

/// jail-mkfstab(8)
#[derive(Clone, Debug)]
pub struct Mkfstab {
    /// What every program has.
    pub common: Common,
    /// `-c`
    pub check: bool,
    /// `-o`
    pub output: Option<PathBuf>,
    /// `-r`
    pub release: Option<Release>,
    /// `-m`
    pub mounts: Vec<Extra>,
    /// `name`
    pub name: JailName,
}

impl Arguments for Mkfstab {
    const PROGRAM: &'static Program = &Program {
        name: "jail-mkfstab",
        about: "Write or check a jail's fstab",
        own: &[
            Opt::flag('c', "check", "Check the file that is there, and report everything wrong with it")
                .conflicts(&["dry-run", "json", "mount", "release"]),
            MOUNT,
            Opt::value('o', "output", "file", "The file, instead of the jail's own; - for standard output")
                .of(Kind::File),
            RELEASE,
        ],
        common: &COMMON,
        operands: &[NAME],
    };

    fn read(given: &Given) -> Result<Mkfstab, Stop> {
        let check = given.has("check");
        let output = given.optional("output", path)?;
        if check && output.as_deref() == Some(Path::new("-")) {
            return Err(Stop::Mistake("-c checks a file; -o - names none".into()));
        }
        Ok(Mkfstab {
            common: Common::read(given)?,
            check,
            output,
            release: given.optional("release", typed)?,
            mounts: given.all("mount", mount)?,
            name: given.required("name", typed)?,
        })
    }
}

/// jail-clone(8)
#[derive(Clone, Debug)]
pub struct JailClone {
    /// What every program has.
    pub common: Common,
    /// `-e`
    pub enable: bool,
    /// `-r`
    pub release: Option<Release>,
    /// `-i`
    pub v4: Option<Address<Ipv4Addr>>,
    /// `-6`
    pub v6: Option<Address<Ipv6Addr>>,
    /// `-m`
    pub mounts: Vec<Extra>,
    /// `name`
    pub name: JailName,
    /// `id`
    pub id: Option<Id>,
}

impl Arguments for JailClone {
    const PROGRAM: &'static Program = &Program {
        name: "jail-clone",
        about: "Make a thin jail from a template",
        own: &[
            Opt::flag('e', "enable", "Add the jail to jail_list, so that it starts at boot"),
            Opt::value('6', "ip6", "address", "The IPv6 address, instead of jail_net6 + id"),
            Opt::value('i', "ip", "address", "The IPv4 address, instead of jail_net + id"),
            MOUNT,
            RELEASE,
        ],
        common: &COMMON,
        operands: &[
            Operand { kind: Kind::Text, help: "The new jail", ..NAME },
            Operand {
                name: "id",
                kind: Kind::Text,
                required: false,
                help: "Its id, the lowest free one by default",
            },
        ],
    };

    fn read(given: &Given) -> Result<JailClone, Stop> {
        Ok(JailClone {
            common: Common::read(given)?,
            enable: given.has("enable"),
            release: given.optional("release", typed)?,
            v4: given.optional("ip", typed)?,
            v6: given.optional("ip6", typed)?,
            mounts: given.all("mount", mount)?,
            name: given.required("name", typed)?,
            id: given.optional("id", typed)?,
        })
    }
}

/// jail-list(8)
#[derive(Clone, Debug)]
pub struct JailList {
    /// What every program has that only tells something.
    pub common: Common,
}

impl Arguments for JailList {
    const PROGRAM: &'static Program = &Program {
        name: "jail-list",
        about: "List the thin jails of this host",
        own: &[],
        common: &COMMON_OF_DATA,
        operands: &[],
    };

    fn read(given: &Given) -> Result<JailList, Stop> {
        Ok(JailList { common: Common::read(given)? })
    }
}

/// jail-doctor(8)
#[derive(Clone, Debug)]
pub struct JailDoctor {
    /// What every program has, with `-j` for its findings.
    pub common: Common,
    /// `-x`
    pub mend: bool,
    /// `name ...`
    pub names: Vec<JailName>,
}

impl Arguments for JailDoctor {
    const PROGRAM: &'static Program = &Program {
        name: "jail-doctor",
        about: "Find what is wrong with a host of thin jails",
        own: &[Opt::flag('x', "fix", "Mend what can be mended without any risk")],
        common: &COMMON_OF_BOTH,
        operands: &[Operand {
            name: "name ...",
            kind: Kind::Jail,
            required: false,
            help: "Tell only what matters to these jails",
        }],
    };

    fn read(given: &Given) -> Result<JailDoctor, Stop> {
        Ok(JailDoctor {
            common: Common::read(given)?,
            mend: given.has("fix"),
            names: given.all("name ...", typed)?,
        })
    }
}

/// skel-fixcerts(8)
#[derive(Clone, Debug)]
pub struct Fixcerts {
    /// What every program has.
    pub common: Common,
    /// `-a`
    pub all: bool,
    /// `-c`
    pub check: bool,
    /// `-b`
    pub base: Option<PathBuf>,
    /// `release` or `directory`
    pub what: PathBuf,
}

impl Arguments for Fixcerts {
    const PROGRAM: &'static Program = &Program {
        name: "skel-fixcerts",
        about: "Repair links that climb out of a skeleton",
        own: &[
            Opt::flag('a', "all", "Look at the whole skeleton, not only at certificates and etc/rmt"),
            Opt::flag('c', "check", "Report what is wrong and repair nothing")
                .conflicts(&["dry-run", "json"]),
            Opt::value('b', "base", "base", "The base that the links point into, when a directory is given")
                .of(Kind::Directory),
        ],
        common: &COMMON,
        operands: &[Operand {
            name: "release | directory",
            kind: Kind::ReleaseOrDirectory,
            required: true,
            help: "A release, or the directory of a skeleton or container",
        }],
    };

    fn read(given: &Given) -> Result<Fixcerts, Stop> {
        Ok(Fixcerts {
            common: Common::read(given)?,
            all: given.has("all"),
            check: given.has("check"),
            base: given.optional("base", path)?,
            what: given.required("release | directory", path)?,
        })
    }
}

const RELEASE_OPERAND: Operand = Operand {
    name: "release",
    kind: Kind::Release,
    required: true,
    help: "The release: 14.2, 14.2-RELEASE, 15.0-RC1",
};

/// jail-destroy(8)
#[derive(Clone, Debug)]
pub struct JailDestroy {
    /// What every program has.
    pub common: Common,
    /// `-f`
    pub force: bool,
    /// `-y`
    pub yes: bool,
    /// `name`
    pub name: JailName,
}

impl Arguments for JailDestroy {
    const PROGRAM: &'static Program = &Program {
        name: "jail-destroy",
        about: "Destroy a thin jail",
        common: &COMMON,
        own: &[
            Opt::flag('f', "force", "Stop it if it runs; cut its block from a file that holds more"),
            Opt::flag('y', "yes", "Don't ask"),
        ],
        operands: &[NAME],
    };

    fn read(given: &Given) -> Result<JailDestroy, Stop> {
        Ok(JailDestroy {
            common: Common::read(given)?,
            force: given.has("force"),
            yes: given.has("yes"),
            name: given.required("name", typed)?,
        })
    }
}

/// What jail-rebase is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebasing {
    /// Move the jail.
    To(Release),
    /// Let go of what it was before.
    Commit,
    /// Go back to what it was before.
    Revert,
}

/// jail-rebase(8)
#[derive(Clone, Debug)]
pub struct JailRebase {
    /// What every program has.
    pub common: Common,
    /// `--edit`
    pub edit: bool,
    /// `-f`
    pub force: bool,
    /// `-k`
    pub keep: Option<Side>,
    /// `-y`
    pub yes: bool,
    /// `name`
    pub name: JailName,
    /// `release`, `--commit` or `--revert`
    pub what: Rebasing,
}

impl Arguments for JailRebase {
    const PROGRAM: &'static Program = &Program {
        name: "jail-rebase",
        about: "Move a jail to another release, merging its /etc",
        common: &COMMON,
        own: &[
            Opt::flag('f', "force", "Stop the jail if it runs"),
            Opt::flag('y', "yes", "Don't ask"),
            Opt::value('k', "keep", "side", "Decide conflicts: ours, as the jail has it, or theirs")
                .of(Kind::Word(Words::Side)),
            Opt::long("edit", "Edit the texts that conflict").conflicts(&["dry-run"]),
            Opt::long("commit", "Let go of what the jail was before").conflicts(&["edit", "keep", "revert"]),
            Opt::long("revert", "Go back to what the jail was before").conflicts(&["edit", "keep"]),
        ],
        operands: &[
            NAME,
            Operand {
                name: "release",
                kind: Kind::Destination,
                required: false,
                help: "The release; not with --commit and --revert",
            },
        ],
    };

    fn read(given: &Given) -> Result<JailRebase, Stop> {
        let release: Option<Release> = given.optional("release", typed)?;
        let what = match (release, given.has("commit"), given.has("revert")) {
            (Some(release), false, false) => Rebasing::To(release),
            (None, true, _) => Rebasing::Commit,
            (None, _, true) => Rebasing::Revert,
            (None, ..) => return Err(Stop::Mistake("missing release".into())),
            (Some(_), true, _) => return Err(Stop::Mistake("--commit takes no release".into())),
            (Some(_), ..) => return Err(Stop::Mistake("--revert takes no release".into())),
        };
        Ok(JailRebase {
            common: Common::read(given)?,
            edit: given.has("edit"),
            force: given.has("force"),
            keep: given.optional("keep", typed)?,
            yes: given.has("yes"),
            name: given.required("name", typed)?,
            what,
        })
    }
}

/// skel-fetch(8)
#[derive(Clone, Debug)]
pub struct SkelFetch {
    /// What every program has.
    pub common: Common,
    /// `-a`
    pub arch: Option<Arch>,
    /// `-f`
    pub file: Option<PathBuf>,
    /// `-m`
    pub mirror: Option<Mirror>,
    /// `-M`
    pub manifest: Option<PathBuf>,
    /// `release`
    pub release: Release,
}

impl Arguments for SkelFetch {
    const PROGRAM: &'static Program = &Program {
        name: "skel-fetch",
        about: "Get, verify and unpack the base of a release",
        own: &[
            Opt::value('a', "arch", "arch", "The architecture, instead of this host's: amd64, arm64")
                .of(Kind::Word(Words::Arch)),
            Opt::value('f', "file", "file", "This archive, instead of fetching one")
                .of(Kind::File)
                .conflicts(&["mirror"]),
            Opt::value('m', "mirror", "mirror", "The URL of a mirror, or of the release's directory"),
            Opt::value('M', "manifest", "manifest", "The MANIFEST to verify with").of(Kind::File),
        ],
        common: &COMMON,
        operands: &[Operand { kind: Kind::Archive, ..RELEASE_OPERAND }],
    };

    fn read(given: &Given) -> Result<SkelFetch, Stop> {
        Ok(SkelFetch {
            common: Common::read(given)?,
            arch: given.optional("arch", typed)?,
            file: given.optional("file", path)?,
            mirror: given.optional("mirror", typed)?,
            manifest: given.optional("manifest", path)?,
            release: given.required("release", typed)?,
        })
    }
}

/// skel-split(8)
#[derive(Clone, Debug)]
pub struct SkelSplit {
    /// What every program has.
    pub common: Common,
    /// `-d`
    pub directories: Vec<PathBuf>,
    /// `-k`
    pub keep: bool,
    /// `release`
    pub release: Release,
}

impl Arguments for SkelSplit {
    const PROGRAM: &'static Program = &Program {
        name: "skel-split",
        about: "Move the writable directories of a base into its skeleton",
        own: &[
            Opt::flag('k', "keep", "Keep the originals in the base, as NAME.orig"),
            Opt::value('d', "directory", "name", "A further directory for host trees, besides docs")
                .repeatable(),
        ],
        common: &COMMON,
        operands: &[RELEASE_OPERAND],
    };

    fn read(given: &Given) -> Result<SkelSplit, Stop> {
        Ok(SkelSplit {
            common: Common::read(given)?,
            directories: given.all("directory", directory)?,
            keep: given.has("keep"),
            release: given.required("release", typed)?,
        })
    }
}

/// A directory of the skeleton that is not one of those that are moved.
fn directory(value: &OsStr) -> Result<PathBuf, String> {
    let name = table::text(value)?;
    let sound = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0', '\n']);
    let moved = MOVED.iter().any(|m| m.split('/').next() == Some(name));
    if !sound || moved || name.starts_with('.') {
        return Err(
            "a directory is one plain name, like docs or src, and none of those that are moved".into()
        );
    }
    Ok(name.into())
}

/// skel-update(8)
#[derive(Clone, Debug)]
pub struct SkelUpdate {
    /// What every program has.
    pub common: Common,
    /// `release`
    pub release: Release,
}

impl Arguments for SkelUpdate {
    const PROGRAM: &'static Program = &Program {
        name: "skel-update",
        about: "Bring a template to the next patch level",
        own: &[],
        common: &COMMON,
        operands: &[RELEASE_OPERAND],
    };

    fn read(given: &Given) -> Result<SkelUpdate, Stop> {
        Ok(SkelUpdate { common: Common::read(given)?, release: given.required("release", typed)? })
    }
}

fn root_of(given: Option<PathBuf>) -> Result<Root> {
    let from_environment = || std::env::var_os("THINJAIL_ROOT").filter(|v| !v.is_empty()).map(PathBuf::from);
    match given.or_else(from_environment) {
        Some(directory) => Root::alternate(&directory),
        None => Ok(Root::system()),
    }
}

/// Reads the command line of a program. On a mistake it is told on one line,
/// and the exit status is 2.
pub fn parse<P: Arguments>() -> Result<P, ExitCode> {
    read::<P>().map_err(|stop| stop.tell(P::PROGRAM))
}

fn read<P: Arguments>() -> Result<P, Stop> {
    read_from(std::env::args_os().skip(1).collect())
}

/// Reads the arguments behind a program's name.
pub fn read_from<P: Arguments>(arguments: Vec<OsString>) -> Result<P, Stop> {
    P::read(&P::PROGRAM.parse(arguments)?)
}

/// Runs an administrator's program.
pub fn run<P: Arguments>(common: fn(&P) -> &Common, work: fn(&P, &Host) -> Result<ExitCode>) -> ExitCode {
    let arguments = match parse::<P>() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let host = common(&arguments).host();
    report::end(P::PROGRAM.name, host.and_then(|host| work(&arguments, &host)))
}

/// Runs a hook: failures go to syslog too.
pub fn run_hook<P: Arguments>(
    common: fn(&P) -> &Common,
    work: fn(&P, &Host) -> Result<ExitCode>,
) -> ExitCode {
    let program = P::PROGRAM.name;
    let arguments = match read::<P>() {
        Ok(arguments) => arguments,
        Err(stop) => {
            if let Stop::Mistake(what) = &stop {
                let root = root_of(None).unwrap_or_else(|_| Root::system());
                syslog::send(&root, program, Severity::Error, what);
            }
            return stop.tell(P::PROGRAM);
        }
    };
    match common(&arguments).host().context("start") {
        Ok(host) => report::end_hook(program, host.root(), work(&arguments, &host)),
        Err(e) => report::end_hook(program, &Root::system(), Err(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::os::unix::ffi::OsStringExt;

    fn read<P: Arguments>(line: &str) -> Result<P, Stop> {
        let words = line.split(' ').filter(|w| !w.is_empty()).map(OsString::from).collect();
        P::PROGRAM.parse(words).and_then(|given| P::read(&given))
    }

    fn mistake<P: Arguments + std::fmt::Debug>(line: &str) -> String {
        match read::<P>(line) {
            Err(Stop::Mistake(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn tables_are_sound() {
        for program in PROGRAMS {
            let (mut names, mut shorts) = (BTreeSet::new(), BTreeSet::new());
            for option in program.options() {
                assert!(names.insert(option.long), "{}: --{} twice", program.name, option.long);
                assert!(option.short.is_none_or(|s| shorts.insert(s)), "{}: {option:?}", program.name);
            }
            for other in program.options().flat_map(|o| o.conflicts.iter().copied().chain(o.requires)) {
                assert!(names.contains(other), "{}: there is no --{other}", program.name);
            }
            // Options and operands are asked for by name alike.
            for operand in program.operands {
                assert!(names.insert(operand.name), "{}: {} twice", program.name, operand.name);
            }
            // What helps to type it fits to it.
            for option in program.options().filter(|o| o.value.is_none()) {
                assert_eq!(option.kind, Kind::Text, "{}: --{}", program.name, option.long);
            }
            for other in program.operands.iter().flat_map(|o| o.kind.not_with()) {
                assert!(names.contains(other), "{}: there is no --{other}", program.name);
            }
            assert!(program.operands.is_sorted_by_key(|o| !o.required), "{}", program.name);
            let usage = program.usage();
            assert!(usage.lines().all(|l| l.len() < 80 && l.trim_end() == l), "{usage}");
        }
    }

    #[test]
    fn words_are_those_of_the_types() {
        fn read<T: std::str::FromStr>(words: Words) -> bool {
            words.all().iter().all(|word| word.parse::<T>().is_ok())
        }
        assert!(read::<Side>(Words::Side) && Words::Side.all().len() == 2);
        assert!(read::<Arch>(Words::Arch) && Words::Arch.all().contains(&Arch::Arm64.machine()));
        assert_eq!(addresses(Words::Mac.all()[0].as_ref()), Ok(Addresses::Kernel));
    }

    #[test]
    fn everything_at_once() {
        let up: EpairUp = read("-nv --json -R /r -m 9000 -M none -u igc0 -b igc0bridge web epair5").unwrap();
        let Common { dry_run, verbose, json, root } = &up.common;
        assert_eq!((dry_run, verbose, json, root.as_deref()), (&true, &true, &true, Some(Path::new("/r"))));
        assert_eq!((up.mtu, up.mac), ("9000".parse().ok(), Some(Addresses::Kernel)));
        assert_eq!((up.uplink, Ok(up.bridge)), ("igc0".parse().ok(), "igc0bridge".parse()));
        assert_eq!((Ok(up.name), Ok(up.pair)), ("web".parse(), "epair5".parse()));

        let up: EpairUp = read("-b b web epair5").unwrap();
        assert!(up.mtu.is_none() && up.mac.is_none() && up.uplink.is_none() && up.common.root.is_none());
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
        assert!(list.common.json && !list.common.dry_run && !list.common.verbose);
        assert_eq!(list.common.root.as_deref(), Some(Path::new("/r")));
        assert!(!read::<JailList>("").unwrap().common.json);

        let doctor: JailDoctor = read("-jnvx -R /r web db").unwrap();
        assert!(doctor.mend && doctor.common.json && doctor.common.dry_run && doctor.common.verbose);
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
            (mistake::<JailClone>("a.b"), "invalid value 'a.b' for name: a dot in a jail name makes"),
            (mistake::<JailClone>("web 0"), "invalid value '0' for id: an id is a number"),
            (mistake::<JailClone>("-i 1.2.3 web"), "invalid value '1.2.3' for -i address: "),
            (mistake::<JailClone>("-r latest web"), "invalid value 'latest' for -r release: a release is"),
            (mistake::<JailClone>("-m /a web"), "invalid value '/a' for -m mount: a mount is written"),
            (mistake::<EpairUp>("-m 71 -b b web epair5"), "invalid value '71' for -m mtu: an MTU is"),
            (mistake::<EpairUp>("-M x -b b web epair5"), "invalid value 'x' for -M mac: an Ethernet"),
            (mistake::<EpairUp>("web epair5"), "missing option -b bridge"),
            (mistake::<EpairUp>("-b b web"), "missing pair"),
            (mistake::<Sweep>("web"), "missing path"),
            (mistake::<Mkfstab>("-c -o - web"), "-c checks a file; -o - names none"),
            (mistake::<Mkfstab>("-c -n web"), "options -c and -n exclude each other"),
            (mistake::<Mkfstab>("-c --json web"), "options -c and --json exclude each other"),
            (mistake::<Mkfstab>("-c -m /a:/b web"), "options -c and -m exclude each other"),
            (mistake::<Mkfstab>("-c -r 14.2 web"), "options -c and -r exclude each other"),
            (mistake::<Mkfstab>("--output= web"), "invalid value '' for -o file: a path can't be empty"),
            (mistake::<JailDoctor>("web a.b"), "invalid value 'a.b' for name ...: a dot in a jail name"),
            (mistake::<JailList>("-n"), "unknown option -n"),
            (mistake::<JailList>("web"), "extra operand 'web'"),
            (mistake::<Fixcerts>("-cn 14.2"), "options -c and -n exclude each other"),
            (mistake::<Fixcerts>("--json 14.2"), "option --json needs -n"),
            (mistake::<Fixcerts>("-c --json 14.2"), "options -c and --json exclude each other"),
            (mistake::<Fixcerts>(""), "missing release | directory"),
            (mistake::<SkelFetch>(""), "missing release"),
            (mistake::<SkelFetch>("-a i386 14.2"), "invalid value 'i386' for -a arch: an architecture is"),
            (mistake::<SkelFetch>("-m here 14.2"), "invalid value 'here' for -m mirror: a mirror is a URL"),
            (mistake::<SkelFetch>("-f x -m http://y 14.2"), "options -f and -m exclude each other"),
            (mistake::<SkelSplit>("-d etc 14.2"), "invalid value 'etc' for -d name: a directory is one"),
            (mistake::<SkelSplit>("-d usr 14.2"), "invalid value 'usr' for -d name: a directory is one"),
            (mistake::<SkelSplit>("-d ../x 14.2"), "invalid value '../x' for -d name: a directory is one"),
            (mistake::<SkelUpdate>("14.2 15.0"), "extra operand '15.0'"),
        ] {
            assert!(text.starts_with(expected), "{text:?}, not {expected:?}");
        }
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
                let read = P::PROGRAM.parse(words.to_vec()).and_then(|given| P::read(&given));
                assert_ne!(read.err(), Some(Stop::Mistake(String::new())));
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
