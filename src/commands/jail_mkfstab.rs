//! What jail-mkfstab does with an fstab.

use crate::commands::common::{self, Arguments, Common, FAILED};
use crate::domain::fstab::{self, JailTrees};
use crate::domain::layout::{Layout, Storage};
use crate::domain::origin;
use crate::domain::settings::Settings;
use crate::domain::template;
use crate::formats::shell;
use crate::system::console;
use crate::system::file::{self, WriteFile};
use crate::system::host::Host;
use crate::system::lock::{Lock, LockId};
use crate::system::plan::{Action, Plan, Undo};
use crate::system::zfs;
use crate::types::jail_name::JailName;
use crate::types::mount::ExtraMount;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use clap::{Parser, ValueHint};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write or check a jail's fstab
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-mkfstab", version)]
pub struct JailMkfstab {
    /// Check the file that is there, and report everything wrong with it
    #[arg(short, long, conflicts_with_all = ["dry_run", "json", "mounts", "release"])]
    pub check: bool,
    /// A further mount.
    #[arg(help = "A further mount: source:target[:options]", short = 'm', long = "mount", value_name = "mount", value_parser = common::mount(), value_hint = ValueHint::AnyPath)]
    pub mounts: Vec<ExtraMount>,
    /// The file, instead of the jail's own; - for standard output
    #[arg(short, long, value_name = "file", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// The release, instead of bsd_ver
    #[arg(short, long, value_name = "release")]
    pub release: Option<Release>,
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
    /// The jail
    #[arg(value_name = "name")]
    pub name: JailName,
}

impl Arguments for JailMkfstab {
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

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

/// Writes or checks.
fn run(arguments: &JailMkfstab, host: &Host) -> Result<ExitCode> {
    let settings = Settings::load(host.root())?;
    let layout = Layout::find(host, &settings)?;
    let own = host.root().host_path(&layout.fstab(&arguments.name));
    let to_stdout = arguments.output.as_deref() == Some(Path::new("-"));
    let target = match &arguments.output {
        Some(file) if file.is_absolute() => host.root().host_path(file),
        Some(file) => file.clone(),
        None => own,
    };
    if arguments.check {
        return check(arguments, host, &layout, &target);
    }
    // Two runs at once would each find nothing there.
    let _lock = match arguments.common.dry_run || to_stdout {
        true => None,
        false => Some(Lock::take(host.root(), LockId::Jails)?),
    };
    let release = release_of(host, &layout, &settings, arguments)?;
    let container = host.root().host_path(&layout.container(&arguments.name));
    if file::look(&container)?.is_none() {
        if let Storage::Zfs(top) = layout.storage() {
            let dataset = Layout::container_dataset(top, &arguments.name)?;
            if zfs::exists(host.tools(), dataset.as_str())? {
                zfs::check_mounted(host, &dataset, &container)?;
            }
        }
        bail!("container {}: no such directory; is {} a thinjail jail?", container.display(), arguments.name);
    }
    let trees = JailTrees { base: host.root().host_path(&layout.base(&release)), container };
    if file::look(&trees.base)?.is_none() {
        template::check_in_place(host, &layout, &release)?;
    }
    let plan = fstab::plan(host, &layout, &arguments.name, &release, &trees, &arguments.mounts)?;
    if let Some(missing) = plan.missing.first() {
        bail!(
            "mount target {} of jail {}: {}: no such directory; create it first",
            missing.target.display(),
            arguments.name,
            layout.container(&arguments.name).join(&missing.path).display()
        );
    }
    let entries = plan.entries;
    let contents = fstab::format(&entries);
    let common = &arguments.common;
    let mut plan = Plan::default();
    if to_stdout {
        plan.push(PrintFstab(contents));
    } else {
        plan_target(target, contents, &mut plan)?;
    }
    common::print_or_do("jail-mkfstab", host, &plan, common.dry_run, common.json)
}

/// The release whose base the jail mounts: that of its container, whatever
/// bsd_ver is by now.
fn release_of(host: &Host, layout: &Layout, settings: &Settings, arguments: &JailMkfstab) -> Result<Release> {
    let (name, given) = (&arguments.name, arguments.release.as_ref());
    match origin::of_jail(host, layout, name)? {
        Some(origin) => match given {
            Some(other) if *other != origin.release => bail!(
                "jail {name}: its container is a clone of {origin}; jail-rebase {name} {other} moves it to {other}"
            ),
            _ => Ok(origin.release),
        },
        None => settings.release(given),
    }
}

/// Prints the file instead of writing it.
struct PrintFstab(Vec<u8>);

impl Action for PrintFstab {
    fn shell(&self) -> String {
        shell::print(&self.0)
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        console::print(&self.0).context("standard output")
    }
}

fn plan_target(target: PathBuf, contents: Vec<u8>, plan: &mut Plan) -> Result<()> {
    match file::look(&target)? {
        Some(there) if there.is_file() => {
            if fs_err::read(&target)? != contents {
                bail!(
                    "{}: already exists with different lines; move it away to have it written again",
                    target.display()
                );
            }
        }
        _ => {
            file::check_creatable(&target)?;
            plan.push(WriteFile { path: target, contents });
        }
    }
    Ok(())
}

fn check(arguments: &JailMkfstab, host: &Host, layout: &Layout, target: &Path) -> Result<ExitCode> {
    let text = std::fs::read(target).with_context(|| format!("fstab {}", target.display()))?;
    let findings = fstab::check(host, layout, &arguments.name, &text)?;
    for finding in &findings {
        console::note("jail-mkfstab", &format!("{}: {finding}", target.display()));
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
