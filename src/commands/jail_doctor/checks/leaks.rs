//! What runs that failed or were killed have left.

use super::super::facts::Facts;
use super::super::finding::*;
use crate::domain::container::COPY_SNAPSHOT;
use crate::domain::epair::{self, SCRATCH_FIRST};
use crate::domain::inventory::{JailStatus, Presence};
use crate::domain::jail_archive::{EXPORT_SNAPSHOT, is_exporting};
use crate::domain::layout::{Layout, Storage};
use crate::domain::leftovers::{self, Sweep, SweepRequest};
use crate::domain::owner_lock;
use crate::system::file;
use crate::system::host::Host;
use crate::system::kernel::{is_at_or_below, locks};
use crate::system::lock::{self, Lock, LockId};
use crate::system::plan::{Action, Plan, Undo};
use crate::system::tree::RemoveTree;
use crate::system::zfs::{self, DestroyIfPresent};
use crate::types::interface::PairName;
use crate::types::jail_name::JailName;
use crate::types::release::Release;
use crate::types::sibling_name;
use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Everything that was left.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if facts.kernel_known {
        mounts(facts, &mut found);
        pairs(facts, &mut found);
    }
    // What another program is just making looks the same.
    if let Some(layout) = facts.layout()
        && !lock::jails_are_made(facts.host.root())
    {
        temporary(facts, layout, &mut found);
        snapshots(facts, layout, &mut found);
        half_made(facts, &mut found);
    }
    found
}

/// The paths of jails that do not run, by jail.
fn idle_paths(facts: &Facts) -> Vec<(JailName, PathBuf)> {
    let mut all: Vec<(JailName, PathBuf)> = Vec::new();
    for (jail, name, _) in facts.thin() {
        if let Some(path) = &jail.resources.path {
            all.push((name.clone(), PathBuf::from(path)));
        }
    }
    for jail in facts.inventory.iter().flat_map(|i| &i.jails) {
        let path = facts.layout().map(|l| l.path(&jail.name));
        if let Some(path) = path.filter(|p| !all.iter().any(|(n, q)| *n == jail.name || q == p)) {
            all.push((jail.name.clone(), path));
        }
    }
    // A jail that runs under another name may have the path as well.
    let at = |path: &Path| facts.host_path(path).components().collect::<PathBuf>();
    all.retain(|(name, path)| {
        !facts.runs(name.as_str()) && !facts.running.iter().any(|j| j.path == at(path))
    });
    all
}

fn mounts(facts: &Facts, found: &mut Vec<Finding>) {
    for (name, path) in idle_paths(facts) {
        let real: PathBuf = facts.host_path(&path).components().collect();
        let below = facts.mounts.iter().filter(|m| is_at_or_below(&m.on, &real)).count();
        // Another jail(8) has it in hand: it is on its way up or down.
        if below == 0 || owner_lock::check(facts.host, &name).is_err() {
            continue;
        }
        let dying = facts.dying.iter().any(|j| j.name == name.as_str());
        let state = if dying { "is dying" } else { "is not running" };
        let mounts = if below == 1 { "1 file system".into() } else { format!("{below} file systems") };
        let what = format!("{mounts} mounted at or below it, and jail {name} {state}");
        let advice = format!("jail-sweep {name} {}", path.display());
        let finding = Finding::new(
            &MOUNT_LEAKED,
            FindingScope::Jail(name.to_string()),
            path.display().to_string(),
            what,
            advice,
        );
        found.push(with_sweep(facts.host, finding, wanted(&name, &path)));
    }
}

fn wanted(jail: &JailName, path: &Path) -> SweepRequest {
    SweepRequest {
        jail: jail.clone(),
        path: path.to_owned(),
        pair: None,
        kinds: Vec::new(),
        takes_ownership: false,
    }
}

/// Adds what jail-sweep would do, where that is everything.
fn with_sweep(host: &Host, mut finding: Finding, wanted: SweepRequest) -> Finding {
    match leftovers::look(host, &wanted) {
        Ok(Sweep { plan, left, blocked }) if left.is_empty() && blocked.is_empty() => {
            let mut fix = Plan::default();
            fix.push(Again { commands: plan.commands(), wanted });
            finding.fixed_by(fix)
        }
        Ok(Sweep { left, blocked, .. }) => {
            finding.what += &format!("; {}", left.into_iter().chain(blocked).collect::<Vec<_>>().join("; "));
            finding
        }
        Err(e) => {
            finding.what += &format!("; {}", crate::system::console::line(&e));
            finding
        }
    }
}

/// Sweeps by what is there at the moment, which may not be what was found any
/// more.
struct Again {
    wanted: SweepRequest,
    commands: Vec<String>,
}

impl Action for Again {
    fn shell(&self) -> String {
        self.commands.join("\n")
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        leftovers::look(host, &self.wanted)?.plan.perform(host, undo)
    }
}

fn pairs(facts: &Facts, found: &mut Vec<Finding>) {
    let Ok(kernel) = facts.host.kernel() else { return };
    for (half, interface) in facts.network.hosts_halves() {
        match interface.description.as_deref() {
            Some(_) => {
                // An administrator may describe a pair of his own the same way.
                let Ok(Some(owner)) = epair::owner(kernel, &half) else { continue };
                if facts.runs(owner.as_str()) {
                    continue;
                }
                if owner_lock::check(facts.host, &owner).is_err() {
                    continue;
                }
                let what = format!("the pair of jail {owner}, which is not running");
                let advice = format!("ifconfig {half} destroy; the next start of the jail does it as well");
                let finding = Finding::new(
                    &PAIR_LEAKED,
                    FindingScope::Jail(owner.to_string()),
                    half.as_str(),
                    what,
                    advice,
                );
                found.push(match epair::down_all(facts.host, &owner) {
                    Ok(fix) => finding.fixed_by(fix),
                    Err(_) => finding,
                });
            }
            None => {
                let stem = half.as_str().strip_suffix('a').unwrap_or_default();
                let Ok(pair) = stem.parse::<PairName>() else { continue };
                let claimed = facts.configured.iter().find(|c| c.resources.pairs.iter().any(|p| p == stem));
                // An epair of another program may look the same.
                let ours =
                    claimed.is_some_and(|c| !c.running) || pair.unit().is_some_and(|u| u >= SCRATCH_FIRST);
                let untouched = || {
                    [&pair.a(), &pair.b()]
                        .iter()
                        .all(|half| matches!(epair::mark_of_use(kernel, half), Ok(None)))
                };
                if !ours || !facts.network.has(pair.b().as_str()) || !untouched() {
                    continue;
                }
                let whose = claimed.map(|c| format!(" of jail {}", c.resources.jail)).unwrap_or_default();
                let scope =
                    claimed.map_or(FindingScope::Host, |c| FindingScope::Jail(c.resources.jail.clone()));
                let what = format!("a pair{whose} that was created, but has no description");
                let advice = format!("ifconfig {half} destroy, unless another program is about to use it");
                found.push(Finding::new(&PAIR_UNTAGGED, scope, half.as_str(), what, advice));
            }
        }
    }
}

/// The directories in which programs prepare files, and what else is there.
fn temporary(facts: &Facts, layout: &Layout, found: &mut Vec<Finding>) {
    let containers = layout.containers();
    for directory in [layout.dir(), layout.conf_dir(), &containers, &layout.templates()] {
        for entry in std::fs::read_dir(facts.host_path(directory)).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_ours = path.file_name().and_then(|n| n.to_str()).is_some_and(sibling_name::is_temporary);
            let Ok(kind) = entry.file_type() else { continue };
            if !is_ours || !(kind.is_dir() || kind.is_file()) || in_use(&path) {
                continue;
            }
            let template = directory == layout.templates();
            if *directory == containers
                && jail_of(&path).is_some_and(|j| lock::jail_is_moved(facts.host.root(), &j))
            {
                continue;
            }
            if template && release_of(&path).is_some_and(|r| lock::template_is_changed(facts.host.root(), &r))
            {
                continue;
            }
            let (kind, advice) = match (kind.is_dir(), template) {
                (false, _) => ("file", format!("rm {}", path.display())),
                (true, true) if is_copy(&path) => {
                    ("tree", "skel-destroy --unused removes it, and so does the next jail-clone".to_owned())
                }
                (true, true) => ("tree", "run skel-fetch or skel-split again for that release".to_owned()),
                (true, false) => ("tree", "run jail-clone again for that jail, or remove it".to_owned()),
            };
            let what = format!("a temporary {kind} of an interrupted run");
            let finding = Finding::new(&TEMP_LEFT, FindingScope::Host, facts.shown(&path), what, advice);
            let mut fix = Plan::default();
            // What templates are made of may be hours of work.
            found.push(if template {
                finding
            } else {
                fix.push(RemoveTemporary { path });
                finding.fixed_by(fix)
            });
        }
    }
}

/// The snapshots that copies and exports of jails took. One of a container that no jail
/// uses shows that it is unfinished.
fn snapshots(facts: &Facts, layout: &Layout, found: &mut Vec<Finding>) {
    let (Storage::Zfs(top), Some(inventory)) = (layout.storage(), &facts.inventory) else { return };
    let Ok(containers) = top.child("containers") else { return };
    let Ok(rows) = zfs::query(facts.host.tools(), &[containers.as_str()], 2, &["type"]) else { return };
    for full in rows.into_iter().map(|row| row.name) {
        let Some((dataset, name)) = full.split_once('@') else { continue };
        let jail = dataset.rsplit('/').next().and_then(|name| name.parse::<JailName>().ok());
        let is_configured = jail
            .as_ref()
            .and_then(|jail| inventory.jail(jail))
            .is_some_and(|jail| !jail.configuration.is_absent());
        let is_left = match name {
            COPY_SNAPSHOT => is_configured,
            name => name.starts_with(EXPORT_SNAPSHOT) && is_exporting(facts.host, &full).is_ok_and(|is| !is),
        };
        let Some(jail) = jail.filter(|_| is_left) else { continue };
        let mut fix = Plan::default();
        fix.push(DestroyIfPresent { name: full.clone() });
        let what = "a snapshot of a copy or an export that was interrupted";
        let scope = FindingScope::Jail(jail.to_string());
        let advice = format!("zfs destroy {full}");
        found.push(Finding::new(&SNAPSHOT_LEFT, scope, full, what.to_owned(), advice).fixed_by(fix));
    }
}

/// Whether a temporary tree was or was to be a copy of a skeleton as it once was.
fn is_copy(temporary: &Path) -> bool {
    temporary.file_name().is_some_and(|name| name.to_string_lossy().contains("-skeleton@"))
}

/// The release whose base or skeleton was to take the place of a temporary
/// tree.
fn release_of(temporary: &Path) -> Option<Release> {
    let name = temporary.file_name()?.to_str()?.strip_prefix('.')?;
    name.split_once("-base").or_else(|| name.split_once("-skeleton"))?.0.parse().ok()
}

/// The jail whose container was to be in the place of a temporary tree, or
/// next to it.
fn jail_of(temporary: &Path) -> Option<JailName> {
    let name = temporary.file_name()?.to_str()?.strip_prefix('.')?;
    name.split('.').next()?.parse().ok()
}

/// Whether a program that lives is working on it: it holds a lock then.
fn in_use(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => locks::is_locked(&File::from(fd), locks::Mode::Exclusive).unwrap_or(true),
        // It may be in place by now.
        Err(e) => e == rustix::io::Errno::NOENT,
    }
}

/// Removes what a killed run prepared.
struct RemoveTemporary {
    path: PathBuf,
}

impl RemoveTemporary {
    fn action(&self) -> Result<Box<dyn Action>> {
        let path = self.path.clone();
        Ok(match file::look(&self.path)?.is_some_and(|m| m.is_dir()) {
            true => Box::new(RemoveTree { path }),
            false => Box::new(file::RemoveFile { path }),
        })
    }
}

impl Action for RemoveTemporary {
    fn shell(&self) -> String {
        self.action().map(|a| a.shell()).unwrap_or_default()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        // Every program that prepares something here holds this lock, and
        // jail-rebase the one of its jail.
        let _lock = Lock::take(host.root(), LockId::Jails)?;
        let moved = jail_of(&self.path).map(|jail| Lock::try_of_move(host.root(), &jail)).transpose()?;
        if matches!(moved, Some(None)) {
            return Ok(());
        }
        if file::look(&self.path)?.is_none() || in_use(&self.path) {
            return Ok(());
        }
        self.action()?.perform(host, undo).with_context(|| format!("remove {}", self.path.display()))
    }
}

fn half_made(facts: &Facts, found: &mut Vec<Finding>) {
    let Some(inventory) = &facts.inventory else { return };
    for jail in &inventory.jails {
        if !jail.configuration.is_absent() || jail.running.there().is_some() {
            continue;
        }
        let parts = parts(jail);
        let what = format!("no configuration, but {}", parts.join(", "));
        let name = &jail.name;
        let held = jail.dataset.there();
        let advice = match held.map(|held| (held, held.owner.as_deref())) {
            // Renamed by hand: it may be the only copy of a whole jail.
            Some((held, Some(owner))) if owner != name.as_str() => {
                let place = held.dataset.as_str().rsplit_once('/').map_or("", |(above, _)| above);
                format!("its thinjail:jail is {owner}: zfs rename {} {place}/{owner}", held.dataset)
            }
            // A volume, a partially received dataset, or anything else.
            Some((held, None)) if jail.origin.is_none() => format!(
                "it is not a clone of a skeleton and has no thinjail:jail property: zfs get all {} shows more",
                held.dataset
            ),
            _ => {
                format!("jail-clone {name} completes the jail; jail-destroy {name} removes its parts")
            }
        };
        found.push(Finding::new(
            &CLONE_HALF_MADE,
            FindingScope::Jail(name.to_string()),
            format!("jail {name}"),
            what,
            advice,
        ));
    }
}

fn parts(jail: &JailStatus) -> Vec<String> {
    let mut parts = Vec::new();
    match &jail.dataset {
        Presence::Present(held) => parts.push(format!("the dataset {}", held.dataset)),
        _ if jail.directory.there().is_some() => parts.push("a container".into()),
        _ => {}
    }
    if jail.path.there().is_some() {
        parts.push("a path".into());
    }
    if jail.fstab.there().is_some() {
        parts.push("an fstab".into());
    }
    parts
}
