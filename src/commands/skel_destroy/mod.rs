//! What skel-destroy does: the end of a template, with proof that it is one and
//! that nothing uses it; or of what no jail needs of one any longer.

mod dataset;
mod directory;
mod template_parts;
mod unused;
mod users;

use crate::commands::common::{self, Common, arguments};
use crate::domain::layout::Storage;
use crate::domain::settings::{FILE, Settings};
use crate::domain::template;
use crate::system::console;
use crate::system::host::Host;
use crate::system::lock::{Lock, LockMode};
use crate::system::plan::Plan;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use template_parts::{Leftover, TemplateParts};

/// Destroy a template that no jail uses
#[derive(Parser, Clone, Debug)]
#[command(name = "skel-destroy", version)]
pub struct SkelDestroy {
    /// Destroy snapshots that other programs took, too
    #[arg(short, long, conflicts_with = "unused")]
    pub force: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Destroy the snapshots or copies of skeletons that nothing uses
    #[arg(long)]
    pub unused: bool,
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
    /// The release: 14.5, 14.5-RELEASE, 15.0-RC1
    #[arg(value_name = "release", required_unless_present = "unused")]
    pub release: Option<Release>,
}

arguments!(SkelDestroy);

const PROGRAM: &str = "skel-destroy";

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

fn run(arguments: &SkelDestroy, host: &Host) -> Result<ExitCode> {
    match &arguments.release {
        Some(release) if !arguments.unused => destroy(arguments, release, host),
        _ => unused::destroy(arguments, host),
    }
}

/// Destroys a template, after asking.
fn destroy(arguments: &SkelDestroy, release: &Release, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let settings = Settings::load(host.root())?;
    // Not held while the administrator thinks about an answer.
    let take = || Lock::template(host.root(), release, LockMode::Exclusive);
    let early = (arguments.yes && !common.dry_run).then(take).transpose()?;
    let mut found = look(host, &settings, release, arguments.force)?;
    for note in &found.notes {
        console::note(PROGRAM, note);
    }
    if common.dry_run {
        let (mut plan, clear) = steps(found);
        plan.append(clear);
        return common::dry_run(PROGRAM, &plan, common.json);
    }
    let lock = match early {
        Some(lock) => lock,
        None => {
            if !confirm(&found.parts.goes, &format!("Destroy template {release} for good?"))? {
                bail!("aborted");
            }
            let lock = take()?;
            found = look(host, &settings, release, arguments.force)?;
            lock
        }
    };
    let (plan, clear) = steps(found);
    // The zfs(8) of a killed run continues.
    lock.share_with_children().context("lock")?;
    plan.carry_out(host)?;
    // From here no program takes it for a template; what follows must not bring it
    // back.
    match clear.carry_out_all(host).into_iter().next() {
        None => {
            console::report(PROGRAM, &format!("{release}: destroyed"));
            Ok(ExitCode::SUCCESS)
        }
        Some(first) => {
            Err(first
                .context(format!("template {release} is destroyed, but something remains; run it again")))
        }
    }
}

/// What is there of the template.
struct Found {
    parts: TemplateParts,
    leftovers: Vec<Leftover>,
    notes: Vec<String>,
}

/// Looks at the host. Every reason not to destroy the template is found here.
fn look(host: &Host, settings: &Settings, release: &Release, force: bool) -> Result<Found> {
    let (layout, rows) = template_parts::layout(host, settings, release)?;
    let at = |path: PathBuf| host.root().host_path(&path);
    let (base, skeleton) = (at(layout.base(release)), at(layout.skeleton(release)));
    users::check_unused(host, &layout, release, &rows)?;
    for base in [&base, &template::destroying(&base)] {
        template::check_unmounted(host, base, &skeleton)?;
    }
    let mut parts = match layout.storage() {
        Storage::Zfs(top) => dataset::look(host, &layout, top, release, &rows, force)?,
        Storage::Directory => directory::look(host, &layout, release)?,
    };
    if parts.goes.is_empty() {
        bail!("template {release} does not exist: neither base nor skeleton");
    }
    let leftovers = template_parts::leftovers(host, &layout, release)?;
    parts.goes.extend(leftovers.iter().map(|left| format!("{:<10}{}", "leftover", left.shown())));
    let mut notes = Vec::new();
    if settings.bsd_ver.as_ref() == Some(release) {
        notes.push(format!(
            "warning: bsd_ver in {FILE} is {release}; {}",
            match template_parts::newest_other(host, &layout, release)? {
                Some(other) => format!("sysrc -f {FILE} bsd_ver={other}"),
                None => format!("sysrc -f {FILE} -x bsd_ver"),
            }
        ));
    }
    Ok(Found { parts, leftovers, notes })
}

/// The steps up to the point where the template is gone:
///
/// 1. Datasets that do not say which template they belong to are marked: that
///    proves it when base and skeleton are no longer there to prove each other.
/// 2. The base is renamed, which is refused on ZFS while it is in use. From here on
///    no program takes what remains for a template.
/// 3. A skeleton that is a dataset is unmounted, with the same effect. Here the way
///    back ends.
///
/// and those behind it, one after the other until one fails: the skeleton, what
/// killed runs left, and the renamed base last, which shows until then that
/// something remains.
fn steps(found: Found) -> (Plan, Plan) {
    let TemplateParts { plan, mut clear, last, .. } = found.parts;
    for leftover in found.leftovers {
        leftover.remove(&mut clear);
    }
    clear.append(last);
    let mut all = Plan::default();
    if !clear.is_empty() {
        all.push(clear);
    }
    (plan, all)
}

/// Shows what goes and asks, once.
fn confirm(goes: &[String], question: &str) -> Result<bool> {
    let lines: String = goes.iter().map(|line| format!("  {line}\n")).collect();
    console::ask(&format!("{lines}{question}"))
}
