//! What jail-rebase does: a jail's container anew, as a clone of another
//! skeleton, with what the jail made of its own.
//!
//! The new container is built beside the old one, which nothing touches, and
//! the two change places at the end. Applying the changes in the old container
//! would move less where blocks can't be shared; but then its origin, which is
//! the ancestor of the next move, would be the wrong one for ever, and could
//! never be destroyed. With ZFS on one pool copy_file_range(2) shares blocks, so
//! that data is not copied at all.

mod build;
mod edit;
mod merged;
mod place;
mod policy;
mod tell;

use crate::claim;
use crate::cli::{JailRebase, Rebasing};
use crate::file;
use crate::fstab::{self, Trees};
use crate::host::Host;
use crate::jail::JailName;
use crate::layout::{Layout, Storage};
use crate::lock::{Lock, Use};
use crate::origin::{self, Origin};
use crate::plan::{Completing, Plan};
use crate::progress::Progress;
use crate::release::Release;
use crate::service::StopJail;
use crate::settings::Settings;
use crate::sweep;
use crate::tool::Tool;
use crate::tree::{CopyTree, RemoveTree, threeway::Tops};
use crate::{interrupt, report, template, zfs};
use anyhow::{Context, Result, bail};
use merged::Merged;
use place::{Container, Places};
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

const PROGRAM: &str = "jail-rebase";

/// Moves, commits or reverts.
pub fn run(arguments: &JailRebase, host: &Host) -> Result<ExitCode> {
    let (common, jail) = (&arguments.common, &arguments.name);
    let settings = Settings::load(host.root())?;
    let layout = Layout::find(host, &settings)?;
    if cfg!(target_os = "freebsd") && !rustix::process::geteuid().is_root() {
        bail!("this needs root: files of all owners are made");
    }
    let running = host.kernel()?.running_jail(jail.as_str())?.is_some();
    // One that runs may still have to be stopped, and its hooks would be refused.
    if common.dry_run || running {
        claim::check(host, jail)?;
    } else {
        claim::hold(host, jail)?;
    }
    let lock = if common.dry_run { None } else { Some(Lock::of_move(host.root(), jail)?) };
    if let Some(lock) = &lock {
        lock.share_with_children().context("lock")?;
    }
    // What is kept of it is not what it runs on.
    let idle = arguments.what() == Rebasing::Commit;
    if running && !idle && !arguments.force {
        bail!("jail {jail} is running; service jail stop {jail}, or give -f");
    }
    if !running && !idle {
        sweep::check_unmounted(host, &layout, jail)?;
    }
    let places = Places::find(host, &layout, jail)?;
    let stop = (running && !idle).then(|| StopJail { jail: jail.clone() });
    let job = Job { host, layout: &layout, arguments, stop };
    match arguments.what() {
        Rebasing::To(release) => job.move_to(places, release),
        Rebasing::Commit => job.commit(&places),
        Rebasing::Revert => job.revert(&places),
    }
}

/// A run.
struct Job<'a> {
    host: &'a Host,
    layout: &'a Layout,
    arguments: &'a JailRebase,
    /// Stops the jail, if it runs.
    stop: Option<StopJail>,
}

impl Job<'_> {
    fn jail(&self) -> &JailName {
        &self.arguments.name
    }

    /// Stops the jail if it runs, now that all that can be checked is.
    fn stop(&self) -> Result<()> {
        let Some(stop) = &self.stop else { return Ok(()) };
        let mut plan = Plan::default();
        plan.push(stop.clone());
        plan.carry_out(self.host)?;
        claim::hold(self.host, self.jail())?;
        sweep::check_unmounted(self.host, self.layout, self.jail())
    }

    /// Carries out what is to be done wholly or not at all. Only from here on a
    /// signal is waited out: an editor has its own use for ^C.
    fn carry_out(&self, plan: &Plan) -> Result<()> {
        interrupt::watch().context("watch signals")?;
        plan.carry_out(self.host)
    }

    fn dry_run(&self, plan: Plan) -> Result<ExitCode> {
        let mut all = Plan::default();
        if let Some(stop) = &self.stop {
            all.push(stop.clone());
        }
        all.append(plan);
        report::dry_run(PROGRAM, &all, self.arguments.common.json)
    }

    /// Asks, once, unless told not to.
    fn confirm(&self, question: &str) -> Result<()> {
        if self.arguments.yes {
            return Ok(());
        }
        if report::ask(question)? { Ok(()) } else { bail!("nothing is changed") }
    }

    /// The fstab of the jail, and the release whose base it mounts.
    fn fstab(&self) -> Result<(PathBuf, Vec<u8>, Release)> {
        let file = self.layout.fstab(self.jail());
        let real = self.host.root().at(&file);
        let Some(there) = file::look(&real)? else {
            bail!("{}: not there; is {} a thin jail?", file.display(), self.jail());
        };
        if !there.is_file() {
            bail!("{}: {}, not a regular file", real.display(), file::kind(&there));
        }
        let text = fs_err::read(&real)?;
        let (entries, _) = fstab::parse(&text);
        let base = entries.first().and_then(|(_, first)| self.layout.release_of(&first.source));
        let base = base.with_context(|| format!("{}: its first line mounts no base", file.display()))?;
        Ok((real, text, base))
    }

    /// Plans the jail's fstab with the base of another release.
    fn plan_fstab(&self, release: &Release, plan: &mut Plan) -> Result<()> {
        let (path, old, now) = self.fstab()?;
        if now != *release {
            let (new, _) = self.moved_fstab(&old, &now, release)?;
            plan.push(file::Rewrite { path, old, new });
        }
        Ok(())
    }

    /// The text of the jail's fstab for another release, and the sources in the
    /// template of this one that the other does not have.
    fn moved_fstab(&self, text: &[u8], from: &Release, to: &Release) -> Result<(Vec<u8>, Vec<PathBuf>)> {
        let exists = |source: &Path| self.host.root().at(source).symlink_metadata().is_ok();
        fstab::with_release(text, self.layout, [from, to], exists)
            .with_context(|| self.layout.fstab(self.jail()).display().to_string())
    }

    fn move_to(&self, places: Places, release: &Release) -> Result<ExitCode> {
        let (host, layout, jail) = (self.host, self.layout, self.jail());
        let _lock = Lock::template(host.root(), release, Use::Read)?;
        if !places.jail.exists(host)? {
            return self.complete(&places, release);
        }
        let (_, text, now) = self.fstab()?;
        fstab::check_sources(host, layout, &fstab::parse(&text).0)
            .with_context(|| layout.fstab(jail).display().to_string())?;
        let mut missing_sources = Vec::new();
        if now != *release {
            fstab::check_no_source_in(&text, layout, release)
                .with_context(|| layout.fstab(jail).display().to_string())?;
            (_, missing_sources) = self.moved_fstab(&text, &now, release)?;
        }
        let at = |path: PathBuf| host.root().at(&path);
        let (base, skeleton) = (at(layout.base(release)), at(layout.skeleton(release)));
        template::check(host, layout, release)?;
        template::check_kernel(host, release, &base)?;
        let from = places.origin(host, layout, &places.jail, &now)?;
        let (to, fresh) = self.newest(release, &skeleton)?;
        let there = from == to && now == *release && !fresh;
        if let Some((kept, to)) = places.kept.as_ref().filter(|(_, to)| !there || to != release) {
            bail!(
                "jail {jail} was moved to {to} already, and {} is kept: jail-rebase --commit {jail} lets go of it, \
                 jail-rebase --revert {jail} goes back to it",
                kept.name
            );
        }
        if there {
            report::tell(PROGRAM, &format!("{jail}: {from} is what it is a clone of already"));
            return self.clear_away(&places);
        }
        if let Some(dataset) = &places.jail.dataset {
            zfs::check_movable(host, dataset)?;
        }
        self.check_mounted(&places.jail)?;
        let keep = places.keep(host, layout, release)?;
        let ancestor = place::tree_of(host, layout, &from)?;
        let theirs = if fresh { skeleton.clone() } else { place::tree_of(host, layout, &to)? };
        let tops = Tops { ancestor: &ancestor, theirs: &theirs, ours: &places.jail.path };
        let mut merged = {
            let _progress = Progress::new(format!("compare {jail} with {from} and {to}"));
            Merged::find(tops)?
        };
        self.check_space(&places.jail, &theirs, fresh)?;
        if !self.arguments.edit {
            merged.decide(self.arguments.keep);
        }
        let built = Rc::new(RefCell::new(merged));
        let plan = self.plan_move(&places, &keep, [&from, &to], fresh, &text, built.clone())?;
        if self.arguments.common.dry_run {
            let commands = {
                let mut all = Plan::default();
                if let Some(stop) = &self.stop {
                    all.push(stop.clone());
                }
                all.append(plan);
                all.commands()
            };
            return tell::plan(jail, [&from, &to], tops, &built.borrow(), &commands, &self.arguments.common);
        }
        if self.arguments.edit {
            let mut merged = built.borrow_mut();
            edit::edit(host, jail, &mut merged)?;
            // What is no text.
            merged.decide(self.arguments.keep);
        }
        let conflicts = tell::conflicts(&built.borrow(), tops);
        if !conflicts.is_empty() {
            for line in &conflicts {
                report::note(PROGRAM, line);
            }
            let n = built.borrow().conflicts().count();
            bail!(
                "jail {jail}: {n} conflict{}; nothing is changed: decide with -k ours or -k theirs, or --edit \
                 (-n shows everything)",
                if n == 1 { "" } else { "s" }
            );
        }
        if self.stop.is_some() {
            // What it changed while it was compared counts too.
            self.stop()?;
            let mut anew = Merged::find(tops)?;
            anew.take_edits(&built.borrow())?;
            anew.decide(self.arguments.keep);
            if let Some(first) = anew.conflicts().next() {
                bail!("{}: it conflicts since the jail was stopped; run it again", first.path.display());
            }
            *built.borrow_mut() = anew;
        }
        self.carry_out(&plan)?;
        report::tell(PROGRAM, &format!("{jail}: {from} -> {to}: {}", built.borrow().summary()));
        for note in tell::remains(jail, [&now, release], [&keep.path, &places.jail.path], &built.borrow()) {
            report::note(PROGRAM, &note);
        }
        for source in missing_sources {
            report::note(
                PROGRAM,
                &format!(
                    "warning: its fstab still mounts {}, which {release} does not have",
                    source.display()
                ),
            );
        }
        Ok(ExitCode::SUCCESS)
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

    fn check_mounted(&self, container: &Container) -> Result<()> {
        match &container.dataset {
            Some(dataset) => zfs::check_mounted(self.host, dataset, &container.path),
            None => Ok(()),
        }
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
                let found = zfs::properties(self.host.tools(), dataset.as_str(), ["used", "available"])?;
                let Some([used, available]) = found else { return Ok(()) };
                (used.parse::<u64>().unwrap_or(0), available.parse::<u64>().unwrap_or(u64::MAX))
            }
            None => {
                let statvfs = rustix::fs::statvfs(&container.path).map_err(io::Error::from)?;
                let copies = if fresh { 2 } else { 1 };
                let need = crate::tree::size(&container.path)? + copies * crate::tree::size(theirs)?;
                (need, statvfs.f_bavail.saturating_mul(statvfs.f_frsize))
            }
        };
        if need > free {
            bail!("{}: a copy needs {need} bytes, and {free} are free", container.path.display());
        }
        Ok(())
    }

    /// Everything up to the new container in the old one's place.
    fn plan_move(
        &self,
        places: &Places,
        keep: &Container,
        [from, to]: [&Origin; 2],
        fresh: bool,
        fstab: &[u8],
        merged: Rc<RefCell<Merged>>,
    ) -> Result<Plan> {
        let (host, layout, jail) = (self.host, self.layout, self.jail());
        let at = |path: PathBuf| host.root().at(&path);
        let (base, skeleton) = (at(layout.base(&to.release)), at(layout.skeleton(&to.release)));
        let mut plan = Plan::default();
        // A killed run got no further than building.
        self.plan_clearing(places, &mut plan)?;
        match (layout.storage(), &places.work.dataset, &places.jail.dataset) {
            (Storage::Zfs(top), Some(work), Some(old)) => plan.push(zfs::Clone {
                snapshot: Layout::skeleton_dataset(top, &to.release)?.snapshot(&to.snapshot),
                container: work.clone(),
                jail: jail.clone(),
                properties: zfs::own_properties(host, old)?,
                mountpoint: places.work.path.clone(),
            }),
            _ => {
                let copy = at(layout.copy(to));
                if fresh {
                    plan.push(CopyTree { from: skeleton, to: copy.clone() });
                }
                plan.push(CopyTree { from: copy, to: places.work.path.clone() });
            }
        }
        plan.push(build::Merge {
            ours: places.jail.path.clone(),
            work: places.work.path.clone(),
            merged: merged.clone(),
        });
        plan.push(build::Databases { jail: jail.clone(), work: places.work.path.clone(), merged });
        plan.push(build::Links { base: base.clone(), work: places.work.path.clone() });
        let trees = Trees { base, container: places.work.path.clone() };
        plan.push(build::CheckMounts {
            layout: layout.clone(),
            jail: jail.clone(),
            fstab: fstab.to_owned(),
            trees,
        });
        if places.jail.dataset.is_none() {
            let (old, new) = (file::look(&places.record)?, origin::record(&[from, to]));
            match old {
                None => plan.push(file::WriteFile { path: places.record.clone(), contents: new }),
                Some(_) => {
                    let old = fs_err::read(&places.record)?;
                    plan.push(file::Rewrite { path: places.record.clone(), old, new });
                }
            }
        }
        plan.push(build::Sync { path: places.work.path.clone() });
        plan.push(build::CheckStopped { layout: layout.clone(), jail: jail.clone() });
        // Whoever is killed from here on leaves a jail without a container, and
        // never one that starts with the wrong base.
        places.jail.rename(keep, &mut plan);
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
                 jail-rebase --revert {jail} takes it back"
            );
        }
        if !places.work.exists(host)? {
            bail!(
                "jail {jail}: {} is gone; jail-rebase --revert {jail} goes back",
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
        report::tell(PROGRAM, &format!("{jail}: the move to {release} that was interrupted is complete"));
        Ok(ExitCode::SUCCESS)
    }

    fn commit(&self, places: &Places) -> Result<ExitCode> {
        let (host, jail) = (self.host, self.jail());
        places.check_whole(host)?;
        let (mut plan, mut clear) = (Plan::default(), Plan::default());
        let Some((kept, to)) = &places.kept else {
            if places.leavings.is_empty() {
                bail!("jail {jail}: nothing is kept of a move; there is nothing to commit");
            }
            return self.clear_away(places);
        };
        self.check_agreement(places, to)?;
        let mut snapshots = 0;
        if kept.dataset.is_none() {
            // First of all: a record of one line tells that there is no way back,
            // because part of the former container may be gone.
            if let Some(origin) = origin::recorded(&places.record, true)? {
                let (old, new) = (fs_err::read(&places.record)?, origin::record(&[&origin]));
                if old != new {
                    plan.push(file::Rewrite { path: places.record.clone(), old, new });
                }
            }
            let aside = file::temp_beside(&kept.path);
            clear.push(file::Rename { from: kept.path.clone(), to: aside.clone() });
            clear.push(RemoveTree { path: aside });
        } else {
            snapshots = kept.destroy(host, &mut clear)?;
        }
        if self.arguments.common.dry_run {
            plan.append(clear);
            return report::dry_run(PROGRAM, &plan, self.arguments.common.json);
        }
        let with = if snapshots > 0 { format!(" with its {snapshots} snapshots") } else { String::new() };
        self.confirm(&format!(
            "Destroy {}{with}, which jail {jail} was before its move to {to}?",
            kept.name
        ))?;
        self.carry_out(&plan)?;
        self.end(&clear, &kept.name)
    }

    /// Fails unless the jail is what its move to a release made of it: without
    /// that, what is kept is the only way back.
    fn check_agreement(&self, places: &Places, to: &Release) -> Result<()> {
        let jail = self.jail();
        let (_, _, base) = self.fstab()?;
        let origin = places.origin(self.host, self.layout, &places.jail, &base)?;
        if base != *to || origin.release != *to {
            bail!(
                "jail {jail}: it was moved to {to}, but its fstab mounts the base of {base} and its container is \
                 a clone of {origin}; jail-rebase --revert {jail} goes back, then move it again"
            );
        }
        self.check_mounted(&places.jail)
    }

    /// What follows can't be taken back; as much as possible of it is done.
    fn end(&self, clear: &Plan, what: &str) -> Result<ExitCode> {
        match clear.carry_out_all(self.host).into_iter().next() {
            None => Ok(ExitCode::SUCCESS),
            Some(first) => Err(first.context(format!("{what} is not wholly gone; run it again"))),
        }
    }

    /// Plans to remove what a killed run left beside the jail's containers.
    fn plan_clearing(&self, places: &Places, plan: &mut Plan) -> Result<()> {
        if places.work.exists(self.host)? {
            places.work.destroy(self.host, plan)?;
        }
        places.leavings.iter().for_each(|path| plan.push(RemoveTree { path: path.clone() }));
        for file in [places.record.clone(), self.host.root().at(&self.layout.fstab(self.jail()))] {
            let aside = file::temp_beside(&file);
            if file::look(&aside)?.is_some_and(|there| there.is_file()) {
                plan.push(file::Remove { path: aside });
            }
        }
        Ok(())
    }

    /// Removes what a killed run left.
    fn clear_away(&self, places: &Places) -> Result<ExitCode> {
        let mut clear = Plan::default();
        self.plan_clearing(places, &mut clear)
            .with_context(|| format!("{} is not wholly gone; run it again", places.work.name))?;
        // Killed behind the last step of going back.
        if places.kept.is_none() {
            self.plan_record(places, &mut clear)?;
        }
        if self.arguments.common.dry_run {
            return report::dry_run(PROGRAM, &clear, self.arguments.common.json);
        }
        self.end(&clear, &places.work.name)
    }

    fn revert(&self, places: &Places) -> Result<ExitCode> {
        let (host, jail) = (self.host, self.jail());
        let built = places.work.exists(host)?;
        let Some((kept, to)) = &places.kept else {
            let mut record = Plan::default();
            self.plan_record(places, &mut record)?;
            if !built && places.leavings.is_empty() && record.is_empty() {
                bail!("jail {jail}: nothing is kept of a move; there is nothing to go back to");
            }
            // It was killed before anything of the jail was touched.
            return self.clear_away(places);
        };
        if kept.dataset.is_none() && origin::is_committed(&places.record)? {
            bail!(
                "jail {jail}: there is no way back from a commit that was interrupted; \
                 jail-rebase --commit {jail} finishes it"
            );
        }
        let mut plan = Plan::default();
        let moved = places.jail.exists(host)?;
        if moved && built {
            // Of a run that was killed at its end.
            places.work.destroy(host, &mut plan)?;
        }
        let former = places.origin(host, self.layout, kept, to)?;
        self.check_mounted(kept)?;
        let base = host.root().at(&self.layout.base(&former.release));
        if !file::look(&base)?.is_some_and(|there| there.is_dir()) {
            template::check_in_place(host, self.layout, &former.release)?;
            bail!("{}: the base of {former} is missing; there is nothing to go back to", base.display());
        }
        if moved {
            places.jail.set_aside(&places.work, places.jail.is_mounted(host)?, &mut plan);
        }
        self.plan_fstab(&former.release, &mut plan)?;
        kept.rename(&places.jail, &mut plan);
        if kept.dataset.is_none() {
            self.plan_record(places, &mut plan)?;
        }
        // What goes then has the snapshots that the jail has now.
        let ends = if moved { &places.jail } else { &places.work };
        let snapshots = match &ends.dataset {
            Some(dataset) if moved || built => zfs::own_snapshots(host, dataset)?,
            _ => Vec::new(),
        };
        if self.arguments.common.dry_run {
            if let Some(work) = &places.work.dataset {
                for name in snapshots.iter().filter_map(|s| s.split('@').nth(1)) {
                    plan.push(zfs::Destroy { name: work.snapshot(name) });
                }
            }
            if moved || built {
                places.work.destroy_alone(&mut plan);
            }
            return self.dry_run(plan);
        }
        if moved {
            let with = match snapshots.len() {
                0 => String::new(),
                n => format!(" with its {n} snapshots"),
            };
            self.confirm(&format!(
                "Go back to what jail {jail} was before its move to {to}, and destroy what it is now{with}?"
            ))?;
        }
        self.stop()?;
        self.carry_out(&plan)?;
        report::tell(PROGRAM, &format!("{jail}: back to {former}"));
        self.clear_away(places)
    }

    /// Plans the record of directory storage without the move that was taken
    /// back: what the jail is a clone of, and nothing else.
    fn plan_record(&self, places: &Places, plan: &mut Plan) -> Result<()> {
        if places.jail.dataset.is_some() {
            return Ok(());
        }
        let Some(first) = origin::recorded(&places.record, false)? else { return Ok(()) };
        let (old, new) = (fs_err::read(&places.record)?, origin::record(&[&first]));
        if old != new {
            // What it tells must not be less than what is there.
            plan.push(Completing(file::Rewrite { path: places.record.clone(), old, new }));
        }
        Ok(())
    }
}
