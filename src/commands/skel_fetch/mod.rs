//! What skel-fetch does: from nothing to the base of a release.

mod unpack;

use crate::commands::common::{self, Common, arguments};
use crate::domain::base_version;
use crate::domain::layout::{Layout, Storage};
use crate::domain::settings::Settings;
use crate::formats::manifest;
use crate::formats::resolv_conf;
use crate::formats::shell;
use crate::system::archive;
use crate::system::console;
use crate::system::effect;
use crate::system::file::{self, MakeDirectory};
use crate::system::host::Host;
use crate::system::lock::{Lock, LockMode};
use crate::system::plan::{Action, Plan, Undo, UndoIf};
use crate::system::progress::Progress;
use crate::system::tool::{Tool, Tools};
use crate::system::zfs::{self, Dataset};
use crate::types::mirror::{Arch, Mirror};
use crate::types::release::Release;
use crate::types::sibling_name;
use anyhow::{Context, Result, bail};
use clap::{Parser, ValueHint};
use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
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
    /// The release: 14.2, 14.2-RELEASE, 15.0-RC1
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
        if !common.dry_run {
            console::tell(PROGRAM, &format!("{release}: the base is there already"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let fetch = plan(host, arguments, &layout, new)?;
    for note in fetch.notes.iter().chain(&resolver_warning(host, &layout, release)) {
        console::note(PROGRAM, note);
    }
    let code = common::print_or_do(PROGRAM, host, &fetch.plan, common.dry_run, common.json)?;
    if !common.dry_run {
        console::tell(
            PROGRAM,
            &format!("{release}: base unpacked; skel-split {release} makes a template of it"),
        );
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
            "warning: {RESOLV_CONF} names the name server {}, which no jail reaches; edit {} before skel-split",
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
            bail!("{}: there already, but no dataset {dataset}", base.display());
        }
    } else if there.is_none() {
        return Ok(false);
    }
    // Ours appears whole or not at all; one made by hand at least says what it is.
    let version = base_version::of_base(&base)
        .with_context(|| format!("{} is there already, but not whole; remove it", base.display()))?;
    if version.release != *release {
        bail!("{}: there already, but it holds {version}; move it away", base.display());
    }
    Ok(true)
}

struct Fetch {
    plan: Plan,
    notes: Vec<String>,
}

fn plan(host: &Host, arguments: &SkelFetch, layout: &Layout, new: bool) -> Result<Fetch> {
    let release = &arguments.release;
    let mut plan = Plan::default();
    let mut notes = Vec::new();
    plan_directories(host, layout, new, &mut plan)?;

    let ours = Arch::of_host();
    let arch = match (arguments.arch, &ours) {
        (Some(arch), _) => arch,
        (None, Ok(ours)) => *ours,
        (None, Err(why)) => bail!("{why}; give one with -a"),
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
    let mirror = arguments.mirror.clone().unwrap_or_default();
    let url = mirror.directory(release, arch);

    let manifest = match local_manifest(host, arguments, &archive, release, arch, &mut notes)? {
        Some(manifest) => manifest,
        None if arguments.file.is_some() => bail!(
            "{}: no MANIFEST to verify it with: neither beside it nor in {MANIFESTS}; name one with -M",
            archive.display()
        ),
        None => {
            let to = media.join(format!("{stem}-MANIFEST"));
            plan.push(FetchManifest {
                url: format!("{url}/MANIFEST"),
                to: to.clone(),
                mirror: mirror.clone(),
            });
            to
        }
    };
    let set = Rc::new(RefCell::new(None));
    let accept = VerifyArchive {
        archive: archive.clone(),
        manifest: manifest.clone(),
        media: media.clone(),
        set: set.clone(),
        downloads,
        // Only what was fetched is ours to rename, and only when it counts.
        sets_aside: arguments.file.is_none() && !arguments.common.dry_run,
    };
    if file::look(&accept.manifest)?.is_some() && !downloads && plan_is_local(&accept, arguments) {
        // All of it is here: judge it before anything is changed.
        accept.judge(host)?;
    } else {
        if file::look(&accept.manifest)?.is_some() && arguments.manifest.is_some() {
            accept.read_manifest()?;
        }
        if downloads {
            plan.push(FetchArchive { url: format!("{url}/{SET}"), part: accept.part(), mirror });
        }
        plan.push(accept);
    }
    plan.push(Unpack {
        archive,
        manifest,
        set,
        release: release.clone(),
        base: match layout.storage() {
            Storage::Directory => Base::Directory { record: host.root().host_path(&layout.record(release)) },
            Storage::Zfs(top) => Base::Dataset(Layout::base_dataset(top, release)?),
        },
        to: host.root().host_path(&layout.base(release)),
    });
    Ok(Fetch { plan, notes })
}

/// Whether archive and MANIFEST are both files that nothing will replace.
fn plan_is_local(accept: &VerifyArchive, arguments: &SkelFetch) -> bool {
    arguments.file.is_some() || arguments.manifest.is_some() || !accept.manifest.starts_with(&accept.media)
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

/// Plans what the layout needs and the host has not.
fn plan_directories(host: &Host, layout: &Layout, new: bool, plan: &mut Plan) -> Result<()> {
    let at = |path: &Path| host.root().host_path(path);
    let containers = layout.containers();
    let needed = [("media", layout.media()), ("templates", layout.templates()), ("containers", containers)];
    match layout.storage() {
        Storage::Directory => {
            if new {
                let missing: Vec<&Path> = layout.dir().ancestors().take_while(|d| !at(d).exists()).collect();
                for directory in missing.into_iter().rev() {
                    plan.push(undone_if_empty(at(directory), MakeDirectory { path: at(directory) }));
                }
            }
            for (_, directory) in needed {
                if new || file::look(&at(&directory))?.is_none() {
                    plan.push(undone_if_empty(at(&directory), MakeDirectory { path: at(&directory) }));
                }
            }
        }
        Storage::Zfs(top) => {
            if new {
                let mut properties = Vec::new();
                // Elsewhere than its parent would have it.
                if Layout::default_dir(host, top)?.is_none_or(|d| d != layout.dir()) {
                    properties.push(("mountpoint".into(), layout.dir().display().to_string()));
                }
                plan_dataset(top.clone(), properties, at(layout.dir()), plan)?;
            }
            for (name, directory) in needed {
                let dataset = top.child(name)?;
                if new || !zfs::exists(host.tools(), dataset.as_str())? {
                    plan_dataset(dataset, Vec::new(), at(&directory), plan)?;
                }
            }
        }
    }
    Ok(())
}

/// Plans a dataset; what lies at its mount point would be hidden by it.
fn plan_dataset(
    dataset: Dataset,
    properties: Vec<(String, String)>,
    mountpoint: PathBuf,
    plan: &mut Plan,
) -> Result<()> {
    if let Some(there) = file::look(&mountpoint)? {
        let empty = there.is_dir() && fs_err::read_dir(&mountpoint)?.next().is_none();
        if !empty {
            bail!(
                "{}: {} is there, but no dataset {dataset}; move it away, or set jail_zfs to what it is in",
                mountpoint.display(),
                file::kind(&there)
            );
        }
    }
    plan.push(undone_if_empty(mountpoint.clone(), zfs::CreateDataset { dataset, properties, mountpoint }));
    Ok(())
}

/// Makes a directory or dataset of the layout. A failing run removes it only if
/// it is empty: what was fetched so far is worth keeping.
fn undone_if_empty(path: PathBuf, make: impl Action + 'static) -> UndoIf {
    let mut plan = Plan::default();
    plan.push(make);
    let may_undo = move || -> Result<bool> {
        Ok(file::look(&path)?.is_none() || fs_err::read_dir(&path)?.next().is_none())
    };
    UndoIf { plan, may_undo: Rc::new(may_undo) }
}

/// Fetches the MANIFEST of a release.
struct FetchManifest {
    url: String,
    to: PathBuf,
    mirror: Mirror,
}

impl FetchManifest {
    fn arguments(&self, to: &Path) -> [OsString; 4] {
        ["-q".into(), "-o".into(), to.into(), self.url.clone().into()]
    }
}

impl Action for FetchManifest {
    fn shell(&self) -> String {
        Tools::line(Tool::Fetch, &self.arguments(&self.to))
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        // Aside: a failing fetch must not take the place of an older one.
        let aside = sibling_name::temporary(&self.to);
        // Nor must an earlier one be taken for what came now.
        if file::look(&aside)?.is_some() {
            effect::remove_file(&aside)?;
        }
        let fetched = retry(|| host.tools().run(Tool::Fetch, &self.arguments(&aside)))
            .map_err(|e| self.mirror.explain(e))
            .and_then(|_| manifest::parse(&fs_err::read_to_string(&aside)?))
            .with_context(|| format!("MANIFEST from {}", self.url));
        if let Err(e) = fetched {
            let _ = effect::remove_file(&aside);
            return Err(e);
        }
        Ok(effect::rename(&aside, &self.to)?)
    }
}

/// Once more after a failure: connections break.
fn retry<T, E>(mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    attempt().or_else(|_| attempt())
}

/// How long a download may make no progress. fetch(1) itself waits for ever
/// once a transfer has begun: its -T covers only what comes before.
const STALLED: Duration = Duration::from_secs(120);

/// Fetches the archive, going on with a part that is there.
struct FetchArchive {
    url: String,
    part: PathBuf,
    mirror: Mirror,
}

impl FetchArchive {
    fn arguments(&self) -> Vec<OsString> {
        // -F: a part that a killed fetch(1) left has not got the server's time yet.
        let how = ["-F", "-R", "-r", "-o"].map(OsString::from);
        how.into_iter().chain([self.part.clone().into(), self.url.clone().into()]).collect()
    }

    fn size(&self) -> Result<u64> {
        Ok(file::look(&self.part)?.map_or(0, |m| m.len()))
    }
}

impl Action for FetchArchive {
    fn shell(&self) -> String {
        Tools::line(Tool::Fetch, &self.arguments())
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let tools = host.tools();
        let answer = retry(|| tools.ask(Tool::Fetch, &["-s", self.url.as_str()]))
            .map_err(|e| self.mirror.explain(e))?;
        // A server need not know.
        let expected: Option<u64> = answer.stdout.trim().parse().ok();
        if expected.is_some_and(|e| self.size().is_ok_and(|s| s > e)) {
            effect::remove_file(&self.part)?;
        }
        // The part stays, whatever happens: the next attempt goes on with it. A
        // connection that breaks is not always an error to fetch(1).
        let mut attempts = 0;
        while expected != Some(self.size()?) && attempts < 2 {
            attempts += 1;
            let mut arguments = self.arguments();
            if !Progress::wanted() {
                arguments.insert(0, "-q".into());
            }
            let fetched = tools.run_growing(Tool::Fetch, &arguments, &self.part, STALLED);
            match fetched {
                Ok(()) if expected.is_none() => break,
                Err(e) if attempts == 2 => return Err(self.mirror.explain(e)),
                _ => {}
            }
        }
        let size = self.size()?;
        if let Some(expected) = expected
            && size != expected
        {
            bail!("{}: {size} bytes came, not {expected}; run it again to go on", self.url);
        }
        Ok(())
    }
}

/// Verifies an archive; one that was fetched gets its name only then.
struct VerifyArchive {
    archive: PathBuf,
    manifest: PathBuf,
    media: PathBuf,
    set: Rc<RefCell<Option<manifest::Set>>>,
    downloads: bool,
    sets_aside: bool,
}

impl VerifyArchive {
    /// Where the archive is while it is being fetched.
    fn part(&self) -> PathBuf {
        sibling_name::suffixed(&self.archive, "part")
    }

    fn read_manifest(&self) -> Result<manifest::Set> {
        let text = fs_err::read_to_string(&self.manifest)?;
        let set = manifest::find(&text, SET).with_context(|| self.manifest.display().to_string())?;
        *self.set.borrow_mut() = Some(set.clone());
        Ok(set)
    }

    fn judge(&self, host: &Host) -> Result<()> {
        let set = self.read_manifest()?;
        let path = if self.downloads { self.part() } else { self.archive.clone() };
        let verified = archive::check_sum(&path, &set, &mut Progress::new(format!("verify {SET}")));
        if let Err(e) = verified {
            if !self.sets_aside {
                return Err(e);
            }
            let bad = sibling_name::suffixed(&self.archive, "bad");
            effect::rename(&path, &bad)?;
            bail!("{e:#}; it is set aside as {}; run it again to fetch it anew", bad.display());
        }
        archive::check(host.tools(), &path, set.entries, &mut Progress::new(format!("check {SET}")))?;
        if self.downloads {
            effect::rename(&path, &self.archive)?;
        }
        Ok(())
    }
}

/// What sh(1) puts in place of the checksum that a MANIFEST to come will have.
pub fn sum_in(manifest: &Path) -> String {
    let program = shell::quote(format!("$1 == \"{SET}\" {{print $2}}"));
    format!("\"$(/usr/bin/awk {program} {})\"", shell::quote(manifest))
}

impl Action for VerifyArchive {
    fn shell(&self) -> String {
        let sum = match &*self.set.borrow() {
            Some(set) => manifest::to_hex(&set.sha256),
            None => sum_in(&self.manifest),
        };
        if self.downloads {
            let (part, archive) = (self.part(), &self.archive);
            let rename = shell::line(["/bin/mv".as_ref(), part.as_os_str(), archive.as_os_str()]);
            format!("/sbin/sha256 -c {sum} {}\n{rename}", shell::quote(&part))
        } else {
            format!("/sbin/sha256 -c {sum} {}", shell::quote(&self.archive))
        }
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        self.judge(host)
    }
}
