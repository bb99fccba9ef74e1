//! The snapshots or copies of skeletons that no container is made of.
//!
//! jail-rebase(8) merges three ways: what a container was made of must stay for as
//! long as the container does.

use super::dataset::check_not_held;
use super::template_parts::{self, Leftover};
use super::{PROGRAM, SkelDestroy, confirm, directory, users};
use crate::commands::common;
use crate::domain::layout::{BASE_SNAPSHOT, Layout, Storage};
use crate::domain::origin;
use crate::domain::settings::Settings;
use crate::domain::template;
use crate::system::console;
use crate::system::file::{self, RenameFile};
use crate::system::host::Host;
use crate::system::lock::{Lock, LockMode};
use crate::system::plan::{Action, Plan, Undo};
use crate::system::tree::RemoveTree;
use crate::system::zfs::{self, Dataset};
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::ExitCode;

/// Destroys what is unused of one template or of all, after asking.
pub(super) fn destroy(arguments: &SkelDestroy, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let settings = Settings::load(host.root())?;
    let layout = Layout::find(host, &settings)?;
    let releases = releases(host, &layout, arguments.release.as_ref())?;
    // Not held while the administrator thinks about an answer.
    let take = || -> Result<Vec<Lock>> {
        releases.iter().map(|release| Lock::template(host.root(), release, LockMode::Exclusive)).collect()
    };
    let early = (arguments.yes && !common.dry_run).then(take).transpose()?;
    let mut found = look(host, &layout, &releases)?;
    for note in &found.notes {
        console::note(PROGRAM, note);
    }
    if common.dry_run {
        return common::dry_run(PROGRAM, &found.plan, common.json);
    }
    if found.goes.is_empty() {
        console::report(PROGRAM, "nothing is unused");
        return Ok(ExitCode::SUCCESS);
    }
    let locks = match early {
        Some(locks) => locks,
        None => {
            if !confirm(&found.goes, "Destroy them for good?")? {
                bail!("aborted");
            }
            let locks = take()?;
            found = look(host, &layout, &releases)?;
            locks
        }
    };
    // The zfs(8) of a killed run continues.
    locks.iter().try_for_each(Lock::share_with_children).context("lock")?;
    match found.plan.carry_out_all(host).into_iter().next() {
        None => {
            console::report(PROGRAM, &format!("destroyed: {}", found.names.join(", ")));
            Ok(ExitCode::SUCCESS)
        }
        Some(first) => Err(first.context("not everything that is unused could be destroyed")),
    }
}

/// The releases to look at: that one, or all that have a skeleton or copies of one.
fn releases(host: &Host, layout: &Layout, one: Option<&Release>) -> Result<Vec<Release>> {
    let mut releases: Vec<Release> = Vec::new();
    for (name, _) in template_parts::names(host, layout)? {
        let visible = name.strip_prefix('.').unwrap_or(&name);
        let Some((release, _)) = visible.split_once("-skeleton") else { continue };
        match release.parse::<Release>() {
            Ok(release) if !releases.contains(&release) => releases.push(release),
            _ => {}
        }
    }
    if let Some(one) = one {
        if !releases.contains(one) {
            bail!("template {one} does not exist: neither base nor skeleton");
        }
        releases = vec![one.clone()];
    }
    Ok(releases)
}

/// What is unused.
#[derive(Default)]
struct Unused {
    /// What goes, in words.
    goes: Vec<String>,
    /// Its names.
    names: Vec<String>,
    notes: Vec<String>,
    plan: Plan,
}

impl Unused {
    fn push(&mut self, what: &str, name: String, action: impl Action + 'static) {
        self.goes.push(format!("{what:<10}{name}"));
        self.names.push(name);
        self.plan.push(action);
    }
}

fn look(host: &Host, layout: &Layout, releases: &[Release]) -> Result<Unused> {
    let mut found = Unused::default();
    for release in releases {
        match layout.storage() {
            Storage::Zfs(top) => {
                look_at_snapshots(host, &Layout::skeleton_dataset(top, release)?, &mut found)?;
            }
            Storage::Directory => look_at_copies(host, layout, release, &mut found)?,
        }
    }
    Ok(found)
}

/// The snapshots without clones. The newest is what new jails are cloned from.
fn look_at_snapshots(host: &Host, skeleton: &Dataset, found: &mut Unused) -> Result<()> {
    let asked = ["createtxg", "clones", "userrefs"];
    let mut rows = zfs::query(host.tools(), &[skeleton.as_str()], 1, &asked)?;
    rows.retain(|row| {
        row.name.strip_prefix(skeleton.as_str()).is_some_and(|rest| rest.starts_with('@'))
            && template::is_ours(&row.name)
    });
    rows.sort_by_key(|row| row.get("createtxg").parse::<u64>().ok());
    rows.pop();
    for row in rows.iter().filter(|row| row.get("clones").is_empty()) {
        match check_not_held(host, row) {
            Err(e) => found.notes.push(format!("kept: {}", console::line(&e))),
            Ok(()) => {
                let name = row.name.clone();
                found.push("snapshot", name.clone(), zfs::DestroyDataset { name });
            }
        }
    }
    Ok(())
}

/// The copies that no record names. One that is as the skeleton is now is what the
/// next jail is recorded to be a copy of.
fn look_at_copies(host: &Host, layout: &Layout, release: &Release, found: &mut Unused) -> Result<()> {
    let mut kept = Vec::new();
    for record in users::records(host, layout)? {
        kept.extend(record.origins().iter().filter(|origin| origin.release == *release).cloned());
    }
    if file::look(&host.root().host_path(&layout.skeleton(release)))?.is_some() {
        kept.push(origin::of_skeleton(host, layout, release)?.0);
    }
    // What jail-rebase(8) takes for the origin of a container without a record.
    let first = users::has_unrecorded(host, layout, release)?;
    for (origin, path) in directory::copies(host, layout)? {
        let is_first = first && origin.snapshot == BASE_SNAPSHOT;
        if origin.release == *release && !is_first && !kept.contains(&origin) {
            found.push("copy", layout.copy(&origin).display().to_string(), RemoveCopy { path });
        }
    }
    for left in template_parts::leftovers(host, layout, release)? {
        if let Leftover::Tree(path) = left
            && path.file_name().is_some_and(|name| name.to_string_lossy().contains("-skeleton@"))
        {
            found.push("leftover", path.display().to_string(), RemoveTree { path });
        }
    }
    Ok(())
}

/// Removes a copy, which under its own name is never half a copy.
struct RemoveCopy {
    path: PathBuf,
}

impl RemoveCopy {
    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        let aside = template_parts::aside(&self.path);
        plan.push(RenameFile { from: self.path.clone(), to: aside.clone() });
        plan.push(RemoveTree { path: aside });
        plan
    }
}

impl Action for RemoveCopy {
    fn shell(&self) -> String {
        self.plan().shell()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        // What an earlier run that was killed left under that name.
        RemoveTree { path: template_parts::aside(&self.path) }.perform(host, undo)?;
        self.plan().perform(host, undo)
    }
}
