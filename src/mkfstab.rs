//! What jail-mkfstab does with an fstab.

use crate::cli::Mkfstab;
use crate::file::{self, WriteFile};
use crate::fstab::{self, Trees};
use crate::host::Host;
use crate::layout::{Layout, Storage};
use crate::lock::{Guarded, Lock};
use crate::origin;
use crate::plan::{Action, Plan, Undo};
use crate::release::Release;
use crate::report;
use crate::settings::Settings;
use crate::shell;
use crate::{template, zfs};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Writes or checks.
pub fn run(arguments: &Mkfstab, host: &Host) -> Result<ExitCode> {
    let settings = Settings::load(host.root())?;
    let layout = Layout::find(host, &settings)?;
    let own = host.root().at(&layout.fstab(&arguments.name));
    let to_stdout = arguments.output.as_deref() == Some(Path::new("-"));
    let target = match &arguments.output {
        Some(file) if file.is_absolute() => host.root().at(file),
        Some(file) => file.clone(),
        None => own,
    };
    if arguments.check {
        return check(arguments, host, &layout, &target);
    }
    // Two runs at once would each find nothing there.
    let _lock = match arguments.common.dry_run || to_stdout {
        true => None,
        false => Some(Lock::take(host.root(), Guarded::Jails)?),
    };
    let release = release_of(host, &layout, &settings, arguments)?;
    let container = host.root().at(&layout.container(&arguments.name));
    if file::look(&container)?.is_none() {
        if let Storage::Zfs(top) = layout.storage() {
            let dataset = Layout::container_dataset(top, &arguments.name)?;
            if zfs::exists(host.tools(), dataset.as_str())? {
                zfs::check_mounted(host, &dataset, &container)?;
            }
        }
        bail!("container {}: no such directory; is {} a thinjail jail?", container.display(), arguments.name);
    }
    let trees = Trees { base: host.root().at(&layout.base(&release)), container };
    if file::look(&trees.base)?.is_none() {
        template::check_in_place(host, &layout, &release)?;
    }
    let entries = fstab::plan(host, &layout, &arguments.name, &release, &trees, &arguments.mounts)?;
    let contents = fstab::format(&entries);
    let common = &arguments.common;
    let mut plan = Plan::default();
    if to_stdout {
        plan.push(Print(contents));
    } else {
        plan_target(target, contents, &mut plan)?;
    }
    report::print_or_do("jail-mkfstab", host, &plan, common.dry_run, common.json)
}

/// The release whose base the jail mounts: that of its container, whatever
/// bsd_ver is by now.
fn release_of(host: &Host, layout: &Layout, settings: &Settings, arguments: &Mkfstab) -> Result<Release> {
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
struct Print(Vec<u8>);

impl Action for Print {
    fn shell(&self) -> String {
        shell::print(&self.0)
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        report::print(&self.0).context("standard output")
    }
}

fn plan_target(target: PathBuf, contents: Vec<u8>, plan: &mut Plan) -> Result<()> {
    match file::look(&target)? {
        Some(there) if there.is_file() => {
            if fs_err::read(&target)? != contents {
                bail!(
                    "{}: there already, with other lines; move it away to have it written anew",
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

fn check(arguments: &Mkfstab, host: &Host, layout: &Layout, target: &Path) -> Result<ExitCode> {
    let text = std::fs::read(target).with_context(|| format!("fstab {}", target.display()))?;
    let findings = fstab::check(host, layout, &arguments.name, &text)?;
    for finding in &findings {
        report::note("jail-mkfstab", &format!("{}: {finding}", target.display()));
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(report::FAILED) })
}
