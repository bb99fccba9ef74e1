//! What skel-fixcerts does with the links of a tree.

use crate::commands::common::{self, Common, FAILED, arguments};
use crate::domain::fstab;
use crate::domain::layout::Layout;
use crate::domain::links::{self, LinkScope};
use crate::domain::settings::Settings;
use crate::domain::template;
use crate::system::console;
use crate::system::file;
use crate::system::host::Host;
use crate::system::lock::Lock;
use crate::types::jail_name::JailName;
use crate::types::release::Release;
use anyhow::{Result, bail};
use clap::{Parser, ValueHint};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Repair links that climb out of a skeleton
#[derive(Parser, Clone, Debug)]
#[command(name = "skel-fixcerts", version)]
pub struct SkelFixcerts {
    /// Look at the whole skeleton, not only at certificates and etc/rmt
    #[arg(short, long)]
    pub all: bool,
    /// Report what is wrong and repair nothing
    #[arg(short, long, conflicts_with_all = ["dry_run", "json"])]
    pub check: bool,
    /// The base that the links point into, when a directory is given
    #[arg(short, long, value_name = "base", value_hint = ValueHint::DirPath)]
    pub base: Option<PathBuf>,
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
    /// A release, or the directory of a skeleton or container
    #[arg(value_name = "release | directory", value_hint = ValueHint::DirPath)]
    pub what: PathBuf,
}

arguments!(SkelFixcerts);

const PROGRAM: &str = "skel-fixcerts";

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

/// Surveys, and repairs unless asked only to report.
fn run(arguments: &SkelFixcerts, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let (skeleton, base) = trees(arguments, host)?;
    let scope = if arguments.all { LinkScope::All } else { LinkScope::Certificates };
    // Two runs at once would each take the other's temporary link for a leftover.
    let _lock = match common.dry_run || arguments.check {
        true => None,
        false => Lock::of_links(host.root(), &skeleton)?,
    };
    let survey = links::survey(&skeleton, &base, scope)?;
    if arguments.check {
        for repair in &survey.repairs {
            links::warn(
                PROGRAM,
                &repair.path,
                &format!("symbolic link to {} does not reach the base", repair.old.display()),
            );
        }
    }
    let (wrong, repairs) = (!survey.repairs.is_empty(), survey.repairs.len());
    let (plan, findings) = survey.into_plan();
    if common.dry_run {
        common::dry_run(PROGRAM, &plan, common.json)?;
    } else if !arguments.check {
        plan.carry_out(host)?;
        if wrong {
            let links = if repairs == 1 { "link" } else { "links" };
            console::report(PROGRAM, &format!("{}: {repairs} {links} repaired", skeleton.display()));
        }
    }
    for (path, what) in &findings {
        links::warn(PROGRAM, path, what);
    }
    let failed = !findings.is_empty() || arguments.check && wrong;
    Ok(if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// The skeleton and the base it belongs to, as real paths.
fn trees(arguments: &SkelFixcerts, host: &Host) -> Result<(PathBuf, PathBuf)> {
    let given_base =
        arguments.base.as_ref().map(|b| if b.is_absolute() { host.root().host_path(b) } else { b.clone() });
    let text = arguments.what.to_str().unwrap_or_default();
    if let Ok(release) = text.parse::<Release>() {
        let layout = Layout::find(host, &Settings::load(host.root())?)?;
        let skeleton = host.root().host_path(&layout.skeleton(&release));
        let base = given_base.unwrap_or_else(|| host.root().host_path(&layout.base(&release)));
        if [&skeleton, &base].iter().any(|tree| !matches!(file::look(tree), Ok(Some(_)))) {
            template::check_in_place(host, &layout, &release)?;
        }
        if file::look(&skeleton)?.is_none() {
            bail!("{release}: no template of that release: {} does not exist", skeleton.display());
        }
        return Ok((skeleton, base));
    }
    let given = &arguments.what;
    let directory = if given.is_absolute() { host.root().host_path(given) } else { given.clone() };
    let Some(there) = file::look(&directory)? else {
        bail!("{}: no such directory, and not a release such as 14.5-RELEASE", directory.display());
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
            return Ok(host.root().host_path(&first.source));
        }
    }
    bail!("{}: cannot determine its base; use -b", directory.display())
}
