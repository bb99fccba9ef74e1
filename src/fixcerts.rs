//! What skel-fixcerts does with the links of a tree.

use crate::cli::Fixcerts;
use crate::file;
use crate::fstab;
use crate::host::Host;
use crate::jail::JailName;
use crate::layout::Layout;
use crate::links::{self, Scope};
use crate::lock::Lock;
use crate::plan::{Action, Undo};
use crate::release::Release;
use crate::settings::Settings;
use crate::template;
use crate::{report, shell};
use anyhow::{Result, bail};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const PROGRAM: &str = "skel-fixcerts";

/// Where it is installed.
pub const PATH: &str = "/usr/local/sbin/skel-fixcerts";

/// Surveys, and repairs unless asked only to report.
pub fn run(arguments: &Fixcerts, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let (skeleton, base) = trees(arguments, host)?;
    let scope = if arguments.all { Scope::All } else { Scope::Certificates };
    // Two runs at once would each take the other's temporary link for a leaving.
    let _lock = match common.dry_run || arguments.check {
        true => None,
        false => Lock::of_links(host.root(), &skeleton)?,
    };
    let survey = links::survey(&skeleton, &base, scope)?;
    if arguments.check {
        for repair in &survey.repairs {
            complain(PROGRAM, &repair.path, &format!("link to {} misses the base", repair.old.display()));
        }
    }
    let (wrong, repairs) = (!survey.repairs.is_empty(), survey.repairs.len());
    let (plan, findings) = survey.into_plan();
    if common.dry_run {
        report::dry_run(PROGRAM, &plan, common.json)?;
    } else if !arguments.check {
        plan.carry_out(host)?;
        if wrong {
            let links = if repairs == 1 { "link" } else { "links" };
            report::tell(PROGRAM, &format!("{}: {repairs} {links} repaired", skeleton.display()));
        }
    }
    for (path, what) in &findings {
        complain(PROGRAM, path, what);
    }
    let failed = !findings.is_empty() || arguments.check && wrong;
    Ok(if failed { ExitCode::from(report::FAILED) } else { ExitCode::SUCCESS })
}

/// Tells on one line, whatever the names hold.
pub fn complain(program: &str, path: &Path, what: &str) {
    report::note(program, &format!("{}: {what}", path.display()));
}

/// The skeleton and the base it belongs to, as real paths.
fn trees(arguments: &Fixcerts, host: &Host) -> Result<(PathBuf, PathBuf)> {
    let given_base =
        arguments.base.as_ref().map(|b| if b.is_absolute() { host.root().at(b) } else { b.clone() });
    let text = arguments.what.to_str().unwrap_or_default();
    if let Ok(release) = text.parse::<Release>() {
        let layout = Layout::find(host, &Settings::load(host.root())?)?;
        let skeleton = host.root().at(&layout.skeleton(&release));
        let base = given_base.unwrap_or_else(|| host.root().at(&layout.base(&release)));
        if [&skeleton, &base].iter().any(|tree| !matches!(file::look(tree), Ok(Some(_)))) {
            template::check_in_place(host, &layout, &release)?;
        }
        if file::look(&skeleton)?.is_none() {
            bail!("{release}: no template of that release: {} does not exist", skeleton.display());
        }
        return Ok((skeleton, base));
    }
    let given = &arguments.what;
    let directory = if given.is_absolute() { host.root().at(given) } else { given.clone() };
    let Some(there) = file::look(&directory)? else {
        bail!("{}: no such directory, and not a release like 14.2-RELEASE", directory.display());
    };
    if !there.is_dir() {
        bail!("{}: {}, not a directory", directory.display(), file::kind(&there));
    }
    let base = match given_base {
        Some(base) => base,
        None => base_of(&directory, host)?,
    };
    Ok((directory, base))
}

/// The base of a skeleton by its name, of a container by its jail's fstab.
fn base_of(directory: &Path, host: &Host) -> Result<PathBuf> {
    let real = fs_err::canonicalize(directory)?;
    let name = real.file_name().unwrap_or_default().as_bytes();
    if let Some(release) = name.strip_suffix(b"-skeleton") {
        let base = [release, b"-base"].concat();
        let base = real.with_file_name(std::ffi::OsStr::from_bytes(&base));
        if file::look(&base)?.is_some_and(|m| m.is_dir()) {
            return Ok(base);
        }
    }
    let in_containers = real.parent().and_then(Path::file_name).is_some_and(|p| p == "containers");
    let jail: Option<JailName> = std::str::from_utf8(name).ok().and_then(|n| n.parse().ok());
    if let (true, Some(jail), Some(top)) = (in_containers, jail, real.parent().and_then(Path::parent)) {
        let fstab = top.join(format!("{jail}-nullfs-base.fstab"));
        if let Ok(text) = std::fs::read(&fstab)
            && let Some((_, first)) = fstab::parse(&text).0.first()
        {
            return Ok(host.root().at(&first.source));
        }
    }
    bail!("{}: which base it belongs to can't be told; name it with -b", directory.display())
}

/// Repairs all links of a skeleton that climb out of it, as a step of a
/// program that makes or changes a template.
pub struct RepairLinks {
    /// The program whose step it is.
    pub program: &'static str,
    /// The base (a real path).
    pub base: PathBuf,
    /// The skeleton (a real path).
    pub skeleton: PathBuf,
}

impl Action for RepairLinks {
    fn shell(&self) -> String {
        let words = [PATH, "-a", "-b"].map(std::ffi::OsStr::new);
        shell::line(words.into_iter().chain([self.base.as_os_str(), self.skeleton.as_os_str()]))
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let (plan, findings) = links::survey(&self.skeleton, &self.base, Scope::All)?.into_plan();
        for (path, what) in findings {
            complain(self.program, &path, &what);
        }
        plan.perform(host, undo)
    }
}
