//! What skel-fetch does: from nothing to the base of a release.

mod download;

use download::{FetchArchive, FetchManifest, Source, VerifyArchive};
mod unpack;

use crate::commands::common::{self, Common, arguments};
use crate::domain::base_version;
use crate::domain::layout::{Layout, Storage};
use crate::domain::layout_places::{MissingPlace, missing_places};
use crate::domain::settings::Settings;
use crate::domain::template;
use crate::formats::resolv_conf;
use crate::system::console;
use crate::system::file;
use crate::system::host::Host;
use crate::system::lock::{Lock, LockMode};
use crate::system::plan::Plan;
use crate::system::zfs;
use crate::types::mirror::{Arch, Mirror};
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use clap::{Parser, ValueHint};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use unpack::{Base, Unpack};

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
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
    /// The release: 14.5, 14.5-RELEASE, 15.0-RC1
    #[arg(value_name = "release")]
    pub release: Release,
}

arguments!(SkelFetch);

const PROGRAM: &str = "skel-fetch";

/// The set that a base is unpacked from.
pub const SET: &str = "base.txz";

/// Where the port misc/freebsd-release-manifests has its copies, which did not
/// come over the same wire as the archive.
const MANIFESTS: &str = "/usr/local/share/freebsd/MANIFESTS";

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

/// Fetches, verifies and unpacks, unless the base is there.
fn run(arguments: &SkelFetch, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let release = &arguments.release;
    let settings = Settings::load(host.root())?;
    let _lock =
        if common.dry_run { None } else { Some(Lock::template(host.root(), release, LockMode::Exclusive)?) };
    let (layout, new) = Layout::intended(host, &settings)?;
    if !new && is_there(host, &layout, release)? {
        if common.dry_run {
            return common::dry_run(PROGRAM, &Plan::default(), common.json);
        }
        console::report(PROGRAM, &format!("{release}: the base already exists"));
        return Ok(ExitCode::SUCCESS);
    }
    if !new {
        template::check_not_destroyed(host, &layout, release)?;
    }
    let found = look(host, arguments, &layout, new)?;
    for note in found.notes.iter().chain(&resolver_warning(host, &layout, release)) {
        console::note(PROGRAM, note);
    }
    let code = common::print_or_do(PROGRAM, host, &steps(found), common.dry_run, common.json)?;
    if !common.dry_run {
        console::report(PROGRAM, &format!("{release}: base unpacked; next: skel-split {release}"));
    }
    Ok(code)
}

/// A name server of the host that the jails of this base will not reach.
fn resolver_warning(host: &Host, layout: &Layout, release: &Release) -> Option<String> {
    const RESOLV_CONF: &str = "/etc/resolv.conf";
    let servers =
        resolv_conf::loopback_servers(&fs_err::read(host.root().host_path(Path::new(RESOLV_CONF))).ok()?);
    let copy = layout.base(release).join("etc/resolv.conf");
    (!servers.is_empty()).then(|| {
        format!(
            "warning: {RESOLV_CONF} uses the name server {}, which no jail reaches; edit {} before skel-split",
            resolv_conf::listed(&servers),
            copy.display()
        )
    })
}

/// Whether the base of a release is there, whole; an error when something else
/// is in its place.
fn is_there(host: &Host, layout: &Layout, release: &Release) -> Result<bool> {
    let base = host.root().host_path(&layout.base(release));
    let there = file::look(&base)?;
    if let Storage::Zfs(top) = layout.storage() {
        let dataset = Layout::base_dataset(top, release)?;
        if zfs::exists(host.tools(), dataset.as_str())? {
            zfs::check_mounted(host, &dataset, &base)?;
        } else if there.is_none() {
            return Ok(false);
        } else {
            bail!("{}: already exists, but there is no dataset {dataset}", base.display());
        }
    } else if there.is_none() {
        return Ok(false);
    }
    // Ours appears whole or not at all; one made by hand at least says what it is.
    let version = base_version::of_base(&base)
        .with_context(|| format!("{} already exists, but is incomplete; remove it", base.display()))?;
    if version.release != *release {
        bail!("{}: already exists, but contains {version}; move it away", base.display());
    }
    Ok(true)
}

/// What a base meets on the host.
struct Found {
    /// What the layout lacks, in the order in which it is made.
    missing: Vec<MissingPlace>,
    notes: Vec<String>,
    /// Where the files of the release are.
    source: Source,
    /// Whether the MANIFEST has yet to be fetched.
    fetches_manifest: bool,
    verify: VerifyArchive,
    /// Whether that was done already.
    is_verified: bool,
    unpack: Unpack,
}

/// Looks at the host. Every reason not to fetch or unpack is found here; what is on
/// the host already is verified.
fn look(host: &Host, arguments: &SkelFetch, layout: &Layout, new: bool) -> Result<Found> {
    let release = &arguments.release;
    let missing = missing_places(host, layout, new)?;
    let mut notes = Vec::new();
    let ours = Arch::of_host();
    let arch = match (arguments.arch, &ours) {
        (Some(arch), _) => arch,
        (None, Ok(ours)) => *ours,
        (None, Err(why)) => bail!("{why}; use -a"),
    };
    let stem = match ours {
        Ok(ours) if ours == arch => release.to_string(),
        _ => format!("{release}-{}", arch.machine()),
    };
    let media = host.root().host_path(&layout.media());
    let archive = match &arguments.file {
        Some(file) => host.root().resolve_argument(file),
        None => media.join(format!("{stem}-{SET}")),
    };
    let downloads = arguments.file.is_none() && file::look(&archive)?.is_none();
    if !downloads && !std::fs::metadata(&archive).with_context(|| archive.display().to_string())?.is_file() {
        bail!("{}: not a regular file", archive.display());
    }
    let directory = arguments.mirror.clone().unwrap_or_default().directory(release, arch);
    // A mirror that was chosen is not left for another one.
    let old = arguments.mirror.is_none().then(|| Mirror::archive(release, arch));
    let source = Source::new(directory, old.filter(|_| !release.is_snapshot()), release.clone());
    let local = local_manifest(host, arguments, &archive, release, arch, &mut notes)?;
    let fetches_manifest = local.is_none();
    if fetches_manifest && arguments.file.is_some() {
        bail!(
            "{}: no MANIFEST to verify it with, neither next to it nor in {MANIFESTS}; use -M",
            archive.display()
        );
    }
    let manifest = local.unwrap_or_else(|| media.join(format!("{stem}-MANIFEST")));
    let set = Rc::new(RefCell::new(None));
    let verify = VerifyArchive {
        archive: archive.clone(),
        manifest: manifest.clone(),
        set: set.clone(),
        downloads,
        // Only what was fetched is ours to rename, and only when it counts.
        sets_aside: arguments.file.is_none() && !arguments.common.dry_run,
    };
    // Nothing will replace archive or MANIFEST.
    let is_local = arguments.file.is_some() || arguments.manifest.is_some() || !manifest.starts_with(&media);
    let has_manifest = file::look(&manifest)?.is_some();
    let is_verified = has_manifest && !downloads && is_local;
    if is_verified {
        verify.judge(host)?;
    } else if has_manifest && arguments.manifest.is_some() {
        verify.read_manifest()?;
    }
    let unpack = Unpack {
        archive,
        manifest,
        set,
        release: release.clone(),
        base: match layout.storage() {
            Storage::Directory => Base::Directory { record: host.root().host_path(&layout.record(release)) },
            Storage::Zfs(top) => Base::Dataset(Layout::base_dataset(top, release)?),
        },
        to: host.root().host_path(&layout.base(release)),
    };
    Ok(Found { missing, notes, source, fetches_manifest, verify, is_verified, unpack })
}

/// The steps that bring the base:
///
/// 1. The places of the layout that are missing. They stay if something was fetched.
/// 2. The MANIFEST, and then the archive, which continues where an earlier run
///    stopped.
/// 3. The archive is verified, and gets its name only then.
/// 4. It is unpacked next to its place and renamed, so that a base is whole or not
///    there.
fn steps(found: Found) -> Plan {
    let mut plan = Plan::default();
    for place in found.missing {
        plan.push(place.make());
    }
    let Found { source, verify, .. } = found;
    let source = Rc::new(source);
    if found.fetches_manifest {
        let to = verify.manifest.clone();
        plan.push(FetchManifest { source: source.clone(), to });
    }
    if !found.is_verified {
        if verify.downloads {
            plan.push(FetchArchive { source, part: verify.part() });
        }
        plan.push(verify);
    }
    plan.push(found.unpack);
    plan
}

/// The MANIFEST to verify with, when it need not be fetched.
fn local_manifest(
    host: &Host,
    arguments: &SkelFetch,
    archive: &Path,
    release: &Release,
    arch: Arch,
    notes: &mut Vec<String>,
) -> Result<Option<PathBuf>> {
    if let Some(given) = &arguments.manifest {
        let manifest = host.root().resolve_argument(given);
        std::fs::metadata(&manifest).with_context(|| manifest.display().to_string())?;
        return Ok(Some(manifest));
    }
    let name = format!("{}-{}-{release}", arch.machine(), arch.processor());
    let port = host.root().host_path(&Path::new(MANIFESTS).join(name));
    if file::look(&port)?.is_some() {
        notes.push(format!("verifying with {}", port.display()));
        return Ok(Some(port));
    }
    if arguments.file.is_some() {
        let beside = archive.with_file_name("MANIFEST");
        return Ok(file::look(&beside)?.is_some().then_some(beside));
    }
    Ok(None)
}
