//! A move to another release.

use super::merged::MergedTree;
use super::place::{Container, Places};
use super::{Job, PROGRAM, build, edit, preview};
use crate::domain::container::{CloneContainer, check_movable, own_properties};
use crate::domain::fstab::{self, JailTrees};
use crate::domain::layout::{Layout, Storage};
use crate::domain::origin;
use crate::domain::template;
use crate::system::console;
use crate::system::file;
use crate::system::lock::{Lock, LockMode};
use crate::system::plan::Plan;
use crate::system::progress::Progress;
use crate::system::tool::Tool;
use crate::system::tree::CopyTree;
use crate::system::tree::threeway::TreeRoots;
use crate::system::zfs;
use crate::types::origin::Origin;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

/// What a move met.
struct Move {
    /// The text of the jail's fstab.
    fstab: Vec<u8>,
    /// The release whose base it mounts.
    now: Release,
    /// What the container is a clone of, and what it will be.
    from: Origin,
    to: Origin,
    /// Whether directory storage has yet to copy the skeleton.
    fresh: bool,
    /// Where the container is kept.
    keep: Container,
    /// The three trees, real paths.
    ancestor: PathBuf,
    theirs: PathBuf,
    ours: PathBuf,
    /// Further mounts of the template that the release does not have.
    missing_sources: Vec<PathBuf>,
}

impl Move {
    fn tops(&self) -> TreeRoots<'_> {
        TreeRoots { ancestor: &self.ancestor, theirs: &self.theirs, ours: &self.ours }
    }
}

impl Job<'_> {
    pub(super) fn move_to(&self, places: &Places, release: &Release) -> Result<ExitCode> {
        let (host, jail, arguments) = (self.host, self.jail(), self.arguments);
        let _lock = Lock::template(host.root(), release, LockMode::Shared)?;
        if !places.jail.exists(host)? {
            return self.complete(places, release);
        }
        let Some(found) = self.look(places, release)? else { return self.clear_away(places) };
        let mut merged = {
            let _progress = Progress::new(format!("compare {jail} with {} and {}", found.from, found.to));
            MergedTree::find(found.tops())?
        };
        self.check_space(&places.jail, &found.theirs, found.fresh)?;
        if !arguments.edit {
            merged.decide(arguments.keep);
        }
        let merged = Rc::new(RefCell::new(merged));
        let plan = self.plan_move(places, &found, merged.clone())?;
        if arguments.common.dry_run {
            let commands = self.with_stop(plan).commands();
            let [from, to] = [&found.from, &found.to];
            return preview::plan(
                jail,
                [from, to],
                found.tops(),
                &merged.borrow(),
                &commands,
                &arguments.common,
            );
        }
        if arguments.edit {
            let mut merged = merged.borrow_mut();
            edit::edit(host, jail, &mut merged)?;
            // What is no text.
            merged.decide(arguments.keep);
        }
        self.check_decided(&found, &merged.borrow())?;
        if self.stop.is_some() {
            self.stop()?;
            let again = self.compare_again(&found, &merged.borrow())?;
            merged.replace(again);
        }
        self.carry_out(&plan)?;
        self.report_move(&found, &merged.borrow());
        Ok(ExitCode::SUCCESS)
    }

    /// What a move meets, with every reason against it; `None` if the jail is there
    /// already.
    fn look(&self, places: &Places, release: &Release) -> Result<Option<Move>> {
        let (host, layout, jail) = (self.host, self.layout, self.jail());
        let (_, fstab, now) = self.fstab()?;
        let of_fstab = || layout.fstab(jail).display().to_string();
        fstab::check_sources(host, layout, &fstab::parse(&fstab).0).with_context(of_fstab)?;
        let mut missing_sources = Vec::new();
        if now != *release {
            fstab::check_no_source_in(&fstab, layout, release).with_context(of_fstab)?;
            (_, missing_sources) = self.moved_fstab(&fstab, &now, release)?;
        }
        let at = |path: PathBuf| host.root().host_path(&path);
        let (base, skeleton) = (at(layout.base(release)), at(layout.skeleton(release)));
        template::check(host, layout, release)?;
        template::check_kernel(host, release, &base)?;
        let from = places.origin(host, layout, &places.jail, &now)?;
        let (to, fresh) = self.newest(release, &skeleton)?;
        let there = from == to && now == *release && !fresh;
        if let Some((kept, to)) = places.kept.as_ref().filter(|(_, to)| !there || to != release) {
            bail!(
                "jail {jail} was already moved to {to}, and {} is kept: jail-rebase --commit {jail} destroys it, \
                 jail-rebase --revert {jail} returns to it",
                kept.name
            );
        }
        if there {
            console::report(PROGRAM, &format!("{jail}: already at {from}"));
            return Ok(None);
        }
        if let Some(dataset) = &places.jail.dataset {
            check_movable(host, dataset)?;
        }
        self.check_mounted(&places.jail)?;
        let keep = places.keep(host, layout, release)?;
        let ancestor = origin::tree_of(host, layout, &from)?;
        let theirs = if fresh { skeleton } else { origin::tree_of(host, layout, &to)? };
        let ours = places.jail.path.clone();
        Ok(Some(Move { fstab, now, from, to, fresh, keep, ancestor, theirs, ours, missing_sources }))
    }

    /// Fails while there are conflicts, and shows each.
    fn check_decided(&self, found: &Move, merged: &MergedTree) -> Result<()> {
        let conflicts = preview::conflicts(merged, found.tops());
        if conflicts.is_empty() {
            return Ok(());
        }
        for line in &conflicts {
            console::note(PROGRAM, line);
        }
        let n = merged.conflicts().count();
        bail!(
            "jail {}: {n} conflict{}; nothing is changed: decide with -k ours or -k theirs, or --edit \
             (-n shows everything)",
            self.jail(),
            if n == 1 { "" } else { "s" }
        );
    }

    /// The comparison of a jail that was stopped since: what it changed meanwhile
    /// counts too.
    fn compare_again(&self, found: &Move, before: &MergedTree) -> Result<MergedTree> {
        let mut merged = MergedTree::find(found.tops())?;
        merged.take_edits(before)?;
        merged.decide(self.arguments.keep);
        if let Some(first) = merged.conflicts().next() {
            bail!("{}: in conflict since the jail was stopped; run the command again", first.path.display());
        }
        Ok(merged)
    }

    fn report_move(&self, found: &Move, merged: &MergedTree) {
        let (jail, Move { from, to, now, .. }) = (self.jail(), found);
        console::report(PROGRAM, &format!("{jail}: {from} -> {to}: {}", merged.summary()));
        for note in preview::remains(jail, [now, &to.release], [&found.keep.path, &found.ours], merged) {
            console::note(PROGRAM, &note);
        }
        let release = &to.release;
        for source in &found.missing_sources {
            console::note(
                PROGRAM,
                &format!(
                    "warning: its fstab still mounts {}, which {release} does not have",
                    source.display()
                ),
            );
        }
    }

    /// What the jail would be a clone of, and whether that has yet to be made.
    fn newest(&self, release: &Release, skeleton: &Path) -> Result<(Origin, bool)> {
        let Storage::Zfs(top) = self.layout.storage() else {
            return origin::of_skeleton(self.host, self.layout, release);
        };
        let dataset = Layout::skeleton_dataset(top, release)?;
        let newest = match template::newest_snapshot(self.host, release, &dataset) {
            Ok(newest) => newest,
            Err(e) => {
                template::check_has_snapshots(self.host, self.layout, &dataset)?;
                return Err(e);
            }
        };
        zfs::check_mounted(self.host, &dataset, skeleton)?;
        let snapshot = newest.rsplit('@').next().unwrap_or_default().to_owned();
        Ok((Origin { release: release.clone(), snapshot }, false))
    }

    /// Fails if a plain copy of what the jail has would not fit. With ZFS it is
    /// none where blocks are shared.
    fn check_space(&self, container: &Container, theirs: &Path, fresh: bool) -> Result<()> {
        let (need, free) = match &container.dataset {
            Some(dataset) => {
                let shares = self.host.tools().ask(Tool::Sysctl, &["-n", "vfs.zfs.bclone_enabled"]);
                if shares.is_ok_and(|printed| printed.stdout.trim() == "1") {
                    return Ok(());
                }
                let found = zfs::query_one(self.host.tools(), dataset.as_str(), &["used", "available"])?;
                let Some(found) = found else { return Ok(()) };
                let bytes = |property: &str| found.get(property).parse::<u64>();
                (bytes("used").unwrap_or(0), bytes("available").unwrap_or(u64::MAX))
            }
            None => {
                let statvfs = rustix::fs::statvfs(&container.path).map_err(io::Error::from)?;
                let copies = if fresh { 2 } else { 1 };
                let need =
                    crate::system::tree::size(&container.path)? + copies * crate::system::tree::size(theirs)?;
                (need, statvfs.f_bavail.saturating_mul(statvfs.f_frsize))
            }
        };
        if need > free {
            bail!("{}: a copy needs {need} bytes, and {free} are free", container.path.display());
        }
        Ok(())
    }

    /// Everything up to the new container in the old one's place.
    fn plan_move(&self, places: &Places, found: &Move, merged: Rc<RefCell<MergedTree>>) -> Result<Plan> {
        let Move { from, to, .. } = found;
        let (host, layout, jail) = (self.host, self.layout, self.jail());
        let at = |path: PathBuf| host.root().host_path(&path);
        let (base, skeleton) = (at(layout.base(&to.release)), at(layout.skeleton(&to.release)));
        let mut plan = Plan::default();
        // A killed run got no further than building.
        self.plan_clearing(places, &mut plan)?;
        match (layout.storage(), &places.work.dataset, &places.jail.dataset) {
            (Storage::Zfs(top), Some(work), Some(old)) => plan.push(CloneContainer {
                snapshot: Layout::skeleton_dataset(top, &to.release)?.snapshot(&to.snapshot),
                container: work.clone(),
                jail: jail.clone(),
                properties: own_properties(host, old)?,
                mountpoint: places.work.path.clone(),
            }),
            _ => {
                let copy = at(layout.copy(to));
                if found.fresh {
                    plan.push(CopyTree { from: skeleton, to: copy.clone() });
                }
                plan.push(CopyTree { from: copy, to: places.work.path.clone() });
            }
        }
        plan.push(build::MergeTrees {
            ours: places.jail.path.clone(),
            work: places.work.path.clone(),
            merged: merged.clone(),
        });
        plan.push(build::BuildDatabases { jail: jail.clone(), work: places.work.path.clone(), merged });
        plan.push(build::RepairCopiedLinks { base: base.clone(), work: places.work.path.clone() });
        let trees = JailTrees { base, container: places.work.path.clone() };
        plan.push(build::CheckMounts {
            layout: layout.clone(),
            jail: jail.clone(),
            fstab: found.fstab.clone(),
            trees,
        });
        if places.jail.dataset.is_none() {
            let (old, new) = (file::look(&places.record)?, origin::record(&[from, to]));
            match old {
                None => plan.push(file::WriteFile { path: places.record.clone(), contents: new }),
                Some(_) => {
                    let old = fs_err::read(&places.record)?;
                    plan.push(file::ReplaceText { path: places.record.clone(), old, new });
                }
            }
        }
        plan.push(build::StoreOnDisk { path: places.work.path.clone() });
        plan.push(build::CheckStopped { layout: layout.clone(), jail: jail.clone() });
        // A run that is killed from here on leaves a jail without a container, and
        // never one that starts with the wrong base.
        places.jail.rename(&found.keep, &mut plan);
        self.plan_fstab(&to.release, &mut plan)?;
        places.work.rename(&places.jail, &mut plan);
        Ok(plan)
    }

    /// Completes a move that was killed while the containers changed places.
    fn complete(&self, places: &Places, release: &Release) -> Result<ExitCode> {
        let (host, jail) = (self.host, self.jail());
        let Some((_, to)) = &places.kept else {
            bail!("jail {jail} has no container: {} does not exist", places.jail.path.display());
        };
        if to != release {
            bail!(
                "jail {jail}: its move to {to} was interrupted; jail-rebase {jail} {to} completes it, \
                 jail-rebase --revert {jail} undoes it"
            );
        }
        if !places.work.exists(host)? {
            bail!(
                "jail {jail}: {} no longer exists; jail-rebase --revert {jail} returns to the former container",
                places.work.path.display()
            );
        }
        let mut plan = Plan::default();
        self.plan_fstab(release, &mut plan)?;
        places.work.rename(&places.jail, &mut plan);
        if self.arguments.common.dry_run {
            return self.dry_run(plan);
        }
        self.carry_out(&plan)?;
        console::report(PROGRAM, &format!("{jail}: the move to {release} that was interrupted is complete"));
        Ok(ExitCode::SUCCESS)
    }
}
