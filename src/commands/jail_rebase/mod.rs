//! jail-rebase(8): builds a jail's container again, as a clone of another
//! skeleton, with what the jail made of its own.
//!
//! The new container is built next to the old one, which nothing touches, and
//! the two change places at the end. Applying the changes in the old container
//! would move less where blocks cannot be shared; but then its origin, which is
//! the ancestor of the next move, would be the wrong one for ever, and could
//! never be destroyed. With ZFS on one pool copy_file_range(2) shares blocks, so
//! that data is not copied at all.

mod build;
mod edit;
mod keeping;
mod merged;
mod moving;
mod place;
mod policy;
mod preview;

use crate::commands::common::{self, Common, arguments};
use crate::domain::fstab;
use crate::domain::layout::Layout;
use crate::domain::leftovers;
use crate::domain::origin;
use crate::domain::owner_lock;
use crate::domain::service::StopJail;
use crate::domain::settings::Settings;
use crate::formats::diff::Side;
use crate::system::console;
use crate::system::file;
use crate::system::host::Host;
use crate::system::lock::Lock;
use crate::system::plan::{CommitPoint, Plan};
use crate::system::signals;
use crate::system::tree::RemoveTree;
use crate::system::zfs;
use crate::types::jail_name::JailName;
use crate::types::release::Release;
use crate::types::sibling_name;
use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Parser};
use place::{Container, Places};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What jail-rebase is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebasing<'a> {
    /// Move the jail.
    To(&'a Release),
    /// Discard what it was before.
    Commit,
    /// Go back to what it was before.
    Revert,
}

/// Move a jail to another release, merging its /etc
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-rebase", version)]
// clap would have the release in front of the name.
#[command(override_usage = "jail-rebase [OPTIONS] <name> <release|--commit|--revert>")]
#[command(group = ArgGroup::new("what").required(true).args(["release", "commit", "revert"]))]
pub struct JailRebase {
    /// Stop the jail if it runs
    #[arg(short, long)]
    pub force: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Decide conflicts: ours, as the jail has it, or theirs
    #[arg(short, long, value_name = "side", hide_possible_values = true)]
    pub keep: Option<Side>,
    /// Edit the texts that conflict
    #[arg(long, conflicts_with = "dry_run")]
    pub edit: bool,
    /// Discard what the jail was before
    #[arg(long, conflicts_with_all = ["edit", "keep"])]
    commit: bool,
    /// Go back to what the jail was before
    #[arg(long, conflicts_with_all = ["edit", "keep"])]
    revert: bool,
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
    /// The jail
    #[arg(value_name = "name")]
    pub name: JailName,
    /// The release; not with --commit and --revert
    #[arg(value_name = "release")]
    release: Option<Release>,
}

impl JailRebase {
    /// What is to be done: the parser admits exactly one of the three.
    pub fn what(&self) -> Rebasing<'_> {
        match &self.release {
            Some(release) => Rebasing::To(release),
            None if self.commit => Rebasing::Commit,
            None => Rebasing::Revert,
        }
    }
}

arguments!(JailRebase);

const PROGRAM: &str = "jail-rebase";

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

/// Moves, commits or reverts.
fn run(arguments: &JailRebase, host: &Host) -> Result<ExitCode> {
    let (common, jail) = (&arguments.common, &arguments.name);
    let settings = Settings::load(host.root())?;
    let layout = Layout::find(host, &settings)?;
    if cfg!(target_os = "freebsd") && !rustix::process::geteuid().is_root() {
        bail!("this must run as root: it creates files of all owners");
    }
    let running = host.kernel()?.running_jail(jail.as_str())?.is_some();
    // One that runs may still have to be stopped, and its hooks would be refused.
    if common.dry_run || running {
        owner_lock::check(host, jail)?;
    } else {
        owner_lock::hold(host, jail)?;
    }
    let lock = if common.dry_run { None } else { Some(Lock::of_move(host.root(), jail)?) };
    if let Some(lock) = &lock {
        lock.share_with_children().context("lock")?;
    }
    // What is kept of it is not what it runs on.
    let idle = arguments.what() == Rebasing::Commit;
    if running && !idle && !arguments.force {
        bail!("jail {jail} is running; service jail stop {jail}, or use -f");
    }
    if !running && !idle {
        leftovers::check_unmounted(host, &layout, jail)?;
    }
    let places = Places::find(host, &layout, jail)?;
    let stop = (running && !idle).then(|| StopJail { jail: jail.clone() });
    let job = Job { host, layout: &layout, arguments, stop };
    match arguments.what() {
        Rebasing::To(release) => job.move_to(&places, release),
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
        owner_lock::hold(self.host, self.jail())?;
        leftovers::check_unmounted(self.host, self.layout, self.jail())
    }

    /// Carries out what is to be done wholly or not at all. Only from here on a
    /// signal is waited out: an editor has its own use for ^C.
    fn carry_out(&self, plan: &Plan) -> Result<()> {
        signals::watch().context("watch signals")?;
        plan.carry_out(self.host)
    }

    /// A plan behind the step that stops the jail.
    fn with_stop(&self, plan: Plan) -> Plan {
        let mut all = Plan::default();
        if let Some(stop) = &self.stop {
            all.push(stop.clone());
        }
        all.append(plan);
        all
    }

    fn dry_run(&self, plan: Plan) -> Result<ExitCode> {
        common::dry_run(PROGRAM, &self.with_stop(plan), self.arguments.common.json)
    }

    /// Asks for confirmation, once, unless -y was given.
    fn confirm(&self, question: &str) -> Result<()> {
        if self.arguments.yes {
            return Ok(());
        }
        if console::ask(question)? { Ok(()) } else { bail!("nothing is changed") }
    }

    /// The fstab of the jail, and the release whose base it mounts.
    fn fstab(&self) -> Result<(PathBuf, Vec<u8>, Release)> {
        let file = self.layout.fstab(self.jail());
        let real = self.host.root().host_path(&file);
        let Some(there) = file::look(&real)? else {
            bail!("{}: does not exist; is {} a thin jail?", file.display(), self.jail());
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
            plan.push(file::ReplaceText { path, old, new });
        }
        Ok(())
    }

    /// The text of the jail's fstab for another release, and the sources in the
    /// template of this one that the other does not have.
    fn moved_fstab(&self, text: &[u8], from: &Release, to: &Release) -> Result<(Vec<u8>, Vec<PathBuf>)> {
        let exists = |source: &Path| self.host.root().host_path(source).symlink_metadata().is_ok();
        fstab::with_release(text, self.layout, [from, to], exists)
            .with_context(|| self.layout.fstab(self.jail()).display().to_string())
    }

    fn check_mounted(&self, container: &Container) -> Result<()> {
        match &container.dataset {
            Some(dataset) => zfs::check_mounted(self.host, dataset, &container.path),
            None => Ok(()),
        }
    }

    /// The following steps cannot be undone; as many as possible are done.
    fn end(&self, clear: &Plan, what: &str) -> Result<ExitCode> {
        match clear.carry_out_all(self.host).into_iter().next() {
            None => Ok(ExitCode::SUCCESS),
            Some(first) => {
                Err(first.context(format!("{what} is not completely removed; run the command again")))
            }
        }
    }

    /// Plans to remove what a killed run left next to the jail's containers.
    fn plan_clearing(&self, places: &Places, plan: &mut Plan) -> Result<()> {
        if places.work.exists(self.host)? {
            places.work.destroy(self.host, plan)?;
        }
        places.leftovers.iter().for_each(|path| plan.push(RemoveTree { path: path.clone() }));
        for file in [places.record.clone(), self.host.root().host_path(&self.layout.fstab(self.jail()))] {
            let aside = sibling_name::temporary(&file);
            if file::look(&aside)?.is_some_and(|there| there.is_file()) {
                plan.push(file::RemoveFile { path: aside });
            }
        }
        Ok(())
    }

    /// Removes what a killed run left.
    fn clear_away(&self, places: &Places) -> Result<ExitCode> {
        let mut clear = Plan::default();
        self.plan_clearing(places, &mut clear).with_context(|| {
            format!("{} is not completely removed; run the command again", places.work.name)
        })?;
        // Killed behind the last step of going back.
        if places.kept.is_none() {
            self.plan_record(places, &mut clear)?;
        }
        if self.arguments.common.dry_run {
            return common::dry_run(PROGRAM, &clear, self.arguments.common.json);
        }
        self.end(&clear, &places.work.name)
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
            // The list must not omit anything that exists.
            plan.push(CommitPoint(file::ReplaceText { path: places.record.clone(), old, new }));
        }
        Ok(())
    }
}
