//! What skel-update does: the next patch level of a template, in one step that
//! can be taken back.
//!
//! Base and skeleton are kept as they are before the first change; on any
//! failure, and on the next run after a kill, they are put back. The update is
//! there for good with the skeleton's next snapshot.

mod check;
mod jails;
mod packages;
mod patches;
mod rebuild;
mod recovery;
mod skeleton;

use crate::commands::common::{self, Common, arguments};
use crate::domain::base_version;
use crate::domain::layout::{Layout, SKELETON, Storage};
use crate::domain::settings::Settings;
use crate::domain::template;
use crate::formats::shell;
use crate::system::console;
use crate::system::host::Host;
use crate::system::lock::{Lock, LockMode};
use crate::system::plan::{Action, Plan, Undo, UndoWith};
use crate::system::signals;
use crate::system::tree::CopyTree;
use crate::system::zfs;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use check::check_host;
use clap::Parser;
use jails::report_jails;
use packages::{UpgradePackages, is_packaged};
use patches::{InstallPatches, WriteConf};
use rebuild::{IfChanged, RemoveCopies, is_script, rebuild_steps};
use recovery::{Checkpoint, DropCheckpoint, Kept, Rollback, ask, plan_recovery};
use skeleton::{MountSkeleton, UnmountSkeleton};
use std::cell::Cell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

/// Bring a template to the next patch level
#[derive(Parser, Clone, Debug)]
#[command(name = "skel-update", version)]
pub struct SkelUpdate {
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// The release: 14.5, 14.5-RELEASE, 15.0-RC1
    #[arg(value_name = "release")]
    pub release: Release,
}

arguments!(SkelUpdate);

const PROGRAM: &str = "skel-update";

/// freebsd-update(8)'s own settings on this host.
const CONF: &str = "/etc/freebsd-update.conf";

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

/// Updates, and reports which jails still have the former one.
fn run(arguments: &SkelUpdate, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let release = &arguments.release;
    let settings = Settings::load(host.root())?;
    let lock =
        if common.dry_run { None } else { Some(Lock::template(host.root(), release, LockMode::Exclusive)?) };
    if let Some(lock) = &lock {
        lock.share_with_children().context("lock")?;
        signals::watch().context("watch signals")?;
    }
    let layout = Layout::find(host, &settings)?;
    let state = State::find(host, &layout, release)?;
    let (recover, takes_back) = plan_recovery(host, &state)?;
    if common.dry_run {
        // What is half done cannot be planned on; it is taken back first.
        let update = if recover.is_empty() { steps(look(host, &layout, state)?) } else { Update::default() };
        let mut all = recover;
        all.append(update.plan);
        all.append(update.clear);
        return common::dry_run(PROGRAM, &all, common.json);
    }
    if takes_back && !arguments.yes {
        ask(host, &state).context("the update that was killed must be rolled back first")?;
    }
    if !recover.is_empty() {
        console::note(PROGRAM, "an earlier run was killed; its update is rolled back first");
        recover.carry_out(host)?;
    }
    let update = steps(look(host, &layout, state.clone())?);
    update.plan.carry_out(host)?;
    let failures = update.clear.carry_out_all(host);
    let version = base_version::of_base(&state.base)?;
    let text = match (&*state.taken.borrow(), state.changed.get()) {
        (Some(snapshot), _) => format!("{release}: updated to {version}, snapshot {snapshot}"),
        (None, true) => format!("{release}: updated to {version}"),
        (None, false) => format!("{release}: {version} is up to date"),
    };
    console::report(PROGRAM, &text);
    if let Err(e) = report_jails(host, &layout, release, state.changed.get()) {
        console::note(PROGRAM, &format!("jails with an older etc: not known: {}", console::line(&e)));
    }
    match failures.into_iter().next() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Err(first.context("updated, but the former state could not be removed")),
    }
}

#[derive(Default)]
struct Update {
    /// The update, all or nothing.
    plan: Plan,
    /// What goes afterwards.
    clear: Plan,
}

/// What the steps of an update know in common.
struct State {
    release: Release,
    base: PathBuf,
    skeleton: PathBuf,
    kept: Kept,
    changed: Cell<bool>,
    taken: std::cell::RefCell<Option<String>>,
}

impl State {
    fn find(host: &Host, layout: &Layout, release: &Release) -> Result<Rc<State>> {
        let kept = match layout.storage() {
            Storage::Directory => Kept::Copies,
            Storage::Zfs(top) => Kept::Snapshots {
                base: Layout::base_dataset(top, release)?,
                skeleton: Layout::skeleton_dataset(top, release)?,
            },
        };
        Ok(Rc::new(State {
            release: release.clone(),
            base: host.root().host_path(&layout.base(release)),
            skeleton: host.root().host_path(&layout.skeleton(release)),
            kept,
            changed: Cell::new(false),
            taken: std::cell::RefCell::new(None),
        }))
    }

    /// Where the skeleton is mounted meanwhile.
    fn point(&self) -> PathBuf {
        self.base.join(SKELETON)
    }
}

/// What an update meets on the host.
struct Found {
    state: Rc<State>,
    /// Whether the base is made of packages.
    packaged: bool,
    /// What is made again from files that an update brings.
    rebuild: Vec<Box<dyn Action>>,
}

/// Looks at the host. Every reason not to update is found here.
fn look(host: &Host, layout: &Layout, state: Rc<State>) -> Result<Found> {
    let release = &state.release;
    template::check(host, layout, release)?;
    let version = base_version::of_base(&state.base)?;
    if version.release != *release {
        bail!("{}: contains {version}, not {release}", state.base.display());
    }
    let packaged = is_packaged(host, &state)?;
    check_host(host, &state, packaged)?;
    let mut rebuild = rebuild_steps(host, &state)?;
    if is_script(&state.base.join("usr/sbin/certctl"))? {
        rebuild.insert(0, Box::new(RemoveCopies::new(&state)?));
    }
    Ok(Found { state, packaged, rebuild })
}

/// The steps of an update:
///
/// 1. Base and skeleton are kept as they are. From here on a failure brings them
///    back.
/// 2. The skeleton is mounted where the links of the base lead, so that the update
///    sees one tree.
/// 3. The update itself.
/// 4. What is made from files that it brought, if it brought any.
/// 5. The skeleton is unmounted and gets its next snapshot. With it the update is
///    there for good.
fn steps(found: Found) -> Update {
    let Found { state, packaged, rebuild } = found;
    let (mut plan, mut clear) = (Plan::default(), Plan::default());
    match &state.kept {
        Kept::Snapshots { .. } => plan.push(Checkpoint(state.clone())),
        Kept::Copies => {
            // The base last: with it the copies are complete.
            for tree in [&state.skeleton, &state.base] {
                plan.push(CopyTree { from: tree.clone(), to: template::before_update(tree) });
            }
            // Should the update fail, the copies must not be removed: they are all there is.
            plan.push(UndoWith(Rollback(state.clone())));
        }
    }
    clear.push(DropCheckpoint(state.clone()));
    plan.push(MountSkeleton(state.clone()));
    if packaged {
        plan.push(UpgradePackages(state.clone()));
    } else {
        let conf = state.base.with_file_name(format!(".{}-update.conf", state.release));
        plan.push(WriteConf { path: conf.clone() });
        plan.push(InstallPatches { state: state.clone(), conf });
    }
    for step in rebuild {
        plan.push(IfChanged { state: state.clone(), step });
    }
    plan.push(UnmountSkeleton(state.clone()));
    if let Kept::Snapshots { .. } = &state.kept {
        plan.push(TakeSkeletonSnapshot(state.clone()));
    }
    Update { plan, clear }
}

/// Takes the skeleton's next snapshot: with it the update is there for good.
struct TakeSkeletonSnapshot(Rc<State>);

impl Action for TakeSkeletonSnapshot {
    fn shell(&self) -> String {
        let Kept::Snapshots { skeleton, .. } = &self.0.kept else { return String::new() };
        let script = shell::quote(self.0.base.join("bin/freebsd-version"));
        format!("/sbin/zfs snapshot {skeleton}@\"p$({script} -u | /usr/bin/sed -n 's/.*-p//p')\"")
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let state = &self.0;
        let Kept::Snapshots { skeleton, .. } = &state.kept else { return Ok(()) };
        let level = base_version::of_base(&state.base)?.patch;
        let taken = template::snapshots(host, skeleton)?;
        let Some(name) = template::next_name(&taken, level, state.changed.get()) else { return Ok(()) };
        let snapshot = skeleton.snapshot(&name);
        zfs::TakeSnapshots::one(snapshot.clone()).perform(host, undo)?;
        *state.taken.borrow_mut() = Some(snapshot);
        Ok(())
    }
}
