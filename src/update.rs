//! What skel-update does: the next patch level of a template, in one step that
//! can be taken back.
//!
//! Base and skeleton are kept as they are before the first change; on any
//! failure, and on the next run after a kill, they are put back. The update is
//! there for good with the skeleton's next snapshot.

use crate::cli::SkelUpdate;
use crate::file;
use crate::fixcerts::RepairLinks;
use crate::fstab;
use crate::host::Host;
use crate::jail::JailName;
use crate::kernel::{self, Mount};
use crate::layout::{Layout, MOVED, SKELETON, Storage};
use crate::lock::{Lock, Use};
use crate::mirror::Arch;
use crate::plan::{Action, Plan, Undo};
use crate::release::Release;
use crate::settings::Settings;
use crate::template::{self, BEFORE_UPDATE as BEFORE};
use crate::tool::{Outcome, Tool, ToolError, Tools};
use crate::tree::{self, CopyTree, RemoveTree};
use crate::userland::{self, Version};
use crate::zfs::{self, Dataset};
use crate::{effect, interrupt, report, shell};
use anyhow::{Context, Result, anyhow, bail};
use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

const PROGRAM: &str = "skel-update";

/// freebsd-update(8)'s own settings on this host.
const CONF: &str = "/etc/freebsd-update.conf";

/// Runs of `freebsd-update install` that one update may take: old shared
/// libraries are only removed by a further one.
const INSTALLS: usize = 3;

/// Updates, and tells who is still on what was before.
pub fn run(arguments: &SkelUpdate, host: &Host) -> Result<ExitCode> {
    let common = &arguments.common;
    let release = &arguments.release;
    let settings = Settings::load(host.root())?;
    let lock = if common.dry_run { None } else { Some(Lock::template(host.root(), release, Use::Change)?) };
    if let Some(lock) = &lock {
        lock.share_with_children().context("lock")?;
        interrupt::watch().context("watch signals")?;
    }
    let layout = Layout::find(host, &settings)?;
    let state = State::find(host, &layout, release)?;
    let (recover, takes_back) = plan_recovery(host, &state)?;
    if common.dry_run {
        // What is half done can't be planned on; it is taken back first.
        let update = if recover.is_empty() { plan(host, &layout, state)? } else { Update::default() };
        let mut all = recover;
        all.append(update.plan);
        all.append(update.clear);
        return report::dry_run(PROGRAM, &all, common.json);
    }
    if takes_back && !arguments.yes {
        ask(host, &state).context("the update that was killed must be rolled back first")?;
    }
    if !recover.is_empty() {
        report::note(PROGRAM, "an earlier run was killed; its update is taken back first");
        recover.carry_out(host)?;
    }
    let update = plan(host, &layout, state.clone())?;
    update.plan.carry_out(host)?;
    let failures = update.clear.carry_out_all(host);
    let version = userland::of_base(&state.base)?;
    let text = match (&*state.taken.borrow(), state.changed.get()) {
        (Some(snapshot), _) => format!("{release}: updated to {version}, snapshot {snapshot}"),
        (None, true) => format!("{release}: updated to {version}"),
        (None, false) => format!("{release}: {version} is up to date"),
    };
    report::tell(PROGRAM, &text);
    if let Err(e) = tell_jails(host, &layout, release, state.changed.get()) {
        report::note(PROGRAM, &format!("jails with an older etc: not known: {}", report::line(&e)));
    }
    match failures.into_iter().next() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Err(first.context("updated, but what it was before could not be removed")),
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

/// How base and skeleton are kept as they were.
enum Kept {
    Snapshots { base: Dataset, skeleton: Dataset },
    Copies,
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
            base: host.root().at(&layout.base(release)),
            skeleton: host.root().at(&layout.skeleton(release)),
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

fn plan(host: &Host, layout: &Layout, state: Rc<State>) -> Result<Update> {
    let release = &state.release;
    template::check(host, layout, release)?;
    let version = userland::of_base(&state.base)?;
    if version.release != *release {
        bail!("{}: it holds {version}, not {release}", state.base.display());
    }
    let packaged = is_packaged(host, &state)?;
    check_host(host, &state, packaged)?;

    let mut plan = Plan::default();
    let mut clear = Plan::default();
    match &state.kept {
        Kept::Snapshots { .. } => {
            plan.push(Keep(state.clone()));
            clear.push(Forget(state.clone()));
        }
        Kept::Copies => {
            // The base last: with it the copies are complete.
            for tree in [&state.skeleton, &state.base] {
                plan.push(CopyTree { from: tree.clone(), to: template::before_update(tree) });
            }
            plan.push(PutBackOnFailure(state.clone()));
            clear.push(Forget(state.clone()));
        }
    }
    plan.push(MountSkeleton(state.clone()));
    if packaged {
        plan.push(UpgradePackages(state.clone()));
    } else {
        let conf = state.base.with_file_name(format!(".{release}-update.conf"));
        plan.push(WriteConf { path: conf.clone() });
        plan.push(Install { state: state.clone(), conf });
    }
    let mut steps = rebuild_steps(host, &state)?;
    if is_script(&state.base.join("usr/sbin/certctl"))? {
        steps.insert(0, Box::new(RemoveCopies::new(&state)?));
    }
    for step in steps {
        plan.push(IfChanged { state: state.clone(), step });
    }
    plan.push(UnmountSkeleton(state.clone()));
    if let Kept::Snapshots { .. } = &state.kept {
        plan.push(TakeSnapshot(state.clone()));
    }
    Ok(Update { plan, clear })
}

/// The database of packages, below the skeleton.
const PACKAGES: &str = "var/db/pkg/local.sqlite";
/// Whoever owns this file owns the base (freebsd-src:
/// usr.sbin/freebsd-update/freebsd-update.sh, check_pkgbase).
const OF_EVERY_BASE: &str = "/usr/bin/uname";

/// Whether the base is made of packages. One package of somebody else's in it
/// does not make it one that freebsd-update(8) no longer serves.
fn is_packaged(host: &Host, state: &State) -> Result<bool> {
    let database = state.skeleton.join(PACKAGES);
    if !file::look(&database)?.is_some_and(|m| m.is_file()) {
        return Ok(false);
    }
    if !host.tools().program(Tool::Pkg).exists() {
        // A path stands in the database as it is.
        let contents = fs_err::read(&database)?;
        let registered = contents.windows(OF_EVERY_BASE.len()).any(|at| at == OF_EVERY_BASE.as_bytes());
        if registered {
            bail!("{}: its base is made of packages, and pkg(8) is not installed", state.base.display());
        }
        return Ok(false);
    }
    let mut directory = OsString::from("PKG_DBDIR=");
    directory.push(database.parent().unwrap_or(&state.skeleton));
    let which =
        ["-o".as_ref(), directory.as_os_str(), "which".as_ref(), "-q".as_ref(), OF_EVERY_BASE.as_ref()];
    match host.tools().ask(Tool::Pkg, &which) {
        Ok(_) => Ok(true),
        // Without -q it would say that it knows no such file. One that was ended
        // by a signal has said nothing either.
        Err(ToolError { outcome: Outcome::Failed { status, stderr, .. }, .. })
            if status.code() == Some(1) && stderr.is_empty() =>
        {
            Ok(false)
        }
        Err(e) => Err(e.into()),
    }
}

/// Fails before anything is touched if updates can't work here.
fn check_host(host: &Host, state: &State, packaged: bool) -> Result<()> {
    if cfg!(target_os = "freebsd") && !rustix::process::geteuid().is_root() {
        bail!("this needs root: file systems are mounted, and files of all owners replaced");
    }
    if !packaged {
        if state.release.is_snapshot() {
            bail!("{}: there are no binary updates for it; build a newer base", state.release);
        }
        if !host.tools().program(Tool::FreebsdUpdate).exists() {
            bail!("freebsd-update(8) is not installed");
        }
        let conf = host.root().at(Path::new(CONF));
        if file::look(&conf)?.is_none() {
            bail!("{}: does not exist; freebsd-update(8) finds no server without it", conf.display());
        }
    }
    check_processor(&state.base)?;
    // freebsd-update(8) does not quote it.
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-".contains(b);
    if !state.base.as_os_str().as_encoded_bytes().iter().all(plain) {
        bail!("{}: freebsd-update(8) can't work below a path with such characters", state.base.display());
    }
    let level = host.tools().ask(Tool::Sysctl, &["-n", "kern.securelevel"])?;
    if level.stdout.trim().parse::<i32>().is_ok_and(|level| level > 0) {
        bail!("kern.securelevel is above 0: immutable files of the base can't be replaced");
    }
    if let Kept::Snapshots { base, skeleton } = &state.kept {
        for (dataset, path) in [(base, &state.base), (skeleton, &state.skeleton)] {
            zfs::check_mounted(host, dataset, path)?;
            let readonly = zfs::properties(host.tools(), dataset.as_str(), ["readonly"])?;
            if readonly.is_some_and(|[value]| value == "on") {
                bail!("{dataset} is read-only; zfs set readonly=off {dataset}");
            }
        }
    }
    for mount in host.kernel()?.mounts()? {
        if mount.kind == "nullfs" && mount.from == state.skeleton && mount.on != state.point() {
            bail!(
                "the skeleton is mounted on {}; who uses it there would see every step of the update: umount it",
                mount.on.display()
            );
        }
        if kernel::is_at_or_below(&mount.on, &state.base)
            && mount.on != state.base
            && !is_our_mount(state, &mount)
        {
            bail!("{} is mounted in the base; umount {}", mount.on.display(), mount.on.display());
        }
        // Trees that are exchanged would be pulled away under a jail.
        if matches!(state.kept, Kept::Copies) && mount.kind == "nullfs" && mount.from == state.base {
            bail!(
                "a jail runs on this base at {}; without ZFS it can't be updated under running jails: stop them",
                mount.on.display()
            );
        }
    }
    Ok(())
}

/// freebsd-update(8) brings what the host's processor runs, whatever is there.
fn check_processor(base: &Path) -> Result<()> {
    use std::io::Read;
    let shell = base.join("bin/sh");
    if !file::look(&shell)?.is_some_and(|m| m.is_file()) {
        return Ok(());
    }
    let mut header = Vec::new();
    fs_err::File::open(&shell)?.take(20).read_to_end(&mut header)?;
    let ours = Arch::of_host()?;
    // Little-endian on both.
    if header.starts_with(b"\x7fELF") && header.len() == 20 && header[18..20] != [ours.elf_machine(), 0] {
        bail!(
            "{}: the base is not for {}, and can only be updated on a host of its own kind",
            base.display(),
            ours.machine()
        );
    }
    Ok(())
}

fn is_our_mount(state: &State, mount: &Mount) -> bool {
    mount.on == state.point() && mount.from == state.skeleton && mount.kind == "nullfs"
}

/// Lines of differences that are shown.
const SHOWN: usize = 20;

/// Shows what a recovery would take back, edits of the administrator's that
/// came since among it, and asks.
fn ask(host: &Host, state: &State) -> Result<()> {
    let (base, skeleton) = (&state.base, &state.skeleton);
    let mut any = false;
    let mut show = |lines: Vec<String>, all: String| {
        any |= !lines.is_empty();
        for line in lines.iter().take(SHOWN) {
            report::note(PROGRAM, &format!("changed: {}", line.replace('\t', " ")));
        }
        if lines.len() > SHOWN {
            report::note(PROGRAM, &format!("and {} more: {all}", lines.len() - SHOWN));
        }
    };
    match &state.kept {
        Kept::Snapshots { base: of_base, skeleton: of_skeleton } => {
            for (dataset, path) in [(of_base, base), (of_skeleton, skeleton)] {
                if zfs::exists(host.tools(), &dataset.snapshot(BEFORE))? {
                    zfs::check_mounted(host, dataset, path)?;
                    let all = Tools::line(Tool::Zfs, &zfs::differences_arguments(dataset, BEFORE));
                    show(zfs::differences(host, dataset, BEFORE)?, all);
                }
            }
        }
        Kept::Copies => {
            for tree in [base, skeleton] {
                let before = template::before_update(tree);
                if file::look(&before)?.is_some() && file::look(tree)?.is_some() {
                    let mut lines = Vec::new();
                    tree::compare(&before, tree, &mut |found| {
                        if !found.is_directory_time() {
                            let line = format!("{} {}", sign(found.what), tree.join(&found.path).display());
                            // Mode, owner and contents of one entry.
                            if lines.last() != Some(&line) {
                                lines.push(line);
                            }
                        }
                        ControlFlow::Continue(())
                    })?;
                    show(
                        lines,
                        shell::line([
                            "/usr/bin/diff".as_ref(),
                            "-r".as_ref(),
                            before.as_os_str(),
                            tree.as_os_str(),
                        ]),
                    );
                }
            }
        }
    }
    let question = format!("Roll back template {}, and lose all changes listed above?", state.release);
    if any && !report::ask(&question)? {
        bail!("aborted");
    }
    Ok(())
}

/// A letter for a difference, as zfs-diff(8) has it.
fn sign(what: tree::What) -> char {
    match what {
        tree::What::OnlySecond => '+',
        tree::What::OnlyFirst => '-',
        _ => 'M',
    }
}

/// What to do first after a run that was killed, and whether that changes base
/// and skeleton.
fn plan_recovery(host: &Host, state: &Rc<State>) -> Result<(Plan, bool)> {
    let mut takes_back = false;
    let mut recover = Plan::default();
    if host.kernel()?.mounts()?.iter().any(|m| is_our_mount(state, m)) {
        // The lock is ours, so nobody is at work with it.
        recover.push(UnmountSkeleton(state.clone()));
    }
    match &state.kept {
        Kept::Snapshots { base, skeleton } => {
            let exists = |dataset: &Dataset| zfs::exists(host.tools(), &dataset.snapshot(BEFORE));
            if exists(base)? || exists(skeleton)? {
                let all = zfs::snapshots(host, skeleton)?;
                let before = all.iter().position(|s| *s == skeleton.snapshot(BEFORE));
                if before.is_some_and(|at| all[at..].iter().any(|s| template::is_ours(s))) {
                    // The update was complete; only its traces were left.
                    recover.push(Forget(state.clone()));
                } else {
                    recover.push(PutBack(state.clone()));
                    takes_back = true;
                }
            }
        }
        Kept::Copies => {
            let there = |tree: &Path| Ok::<_, anyhow::Error>(file::look(tree)?.is_some());
            if there(&template::before_update(&state.base))? {
                recover.push(PutBack(state.clone()));
                takes_back = true;
            } else if there(&template::before_update(&state.skeleton))? || there(&failed(&state.base))? {
                recover.push(Forget(state.clone()));
            }
        }
    }
    Ok((recover, takes_back))
}

/// Where a tree that failed to be updated waits for its removal.
fn failed(tree: &Path) -> PathBuf {
    let name = tree.file_name().unwrap_or_default().to_string_lossy().into_owned();
    tree.with_file_name(format!(".{name}.failed"))
}

/// Keeps base and skeleton as they are, both at one instant.
struct Keep(Rc<State>);

impl Keep {
    fn arguments(&self) -> Vec<String> {
        match &self.0.kept {
            Kept::Snapshots { base, skeleton } => {
                vec!["snapshot".into(), base.snapshot(BEFORE), skeleton.snapshot(BEFORE)]
            }
            Kept::Copies => Vec::new(),
        }
    }
}

impl Action for Keep {
    fn shell(&self) -> String {
        Tools::line(Tool::Zfs, &self.arguments())
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let Kept::Snapshots { base, skeleton } = &self.0.kept else { return Ok(()) };
        // Both or none: zfs(8) takes them in one transaction group.
        zfs::Snapshot::both([base, skeleton].map(|dataset| dataset.snapshot(BEFORE))).take(host)?;
        undo.push(PutBack(self.0.clone()));
        Ok(())
    }
}

/// From here on a failure puts the copies back.
struct PutBackOnFailure(Rc<State>);

impl Action for PutBackOnFailure {
    fn shell(&self) -> String {
        String::new()
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        // Should it fail, the copies must not be removed: they are all there is.
        undo.supersede(PutBack(self.0.clone()));
        Ok(())
    }
}

/// Puts base and skeleton back as they were, and forgets that.
struct PutBack(Rc<State>);

impl Action for PutBack {
    fn shell(&self) -> String {
        let state = &self.0;
        let mut lines = Vec::new();
        match &state.kept {
            Kept::Snapshots { base, skeleton } => {
                for dataset in [base, skeleton] {
                    lines.push(Tools::line(Tool::Zfs, &["rollback", &dataset.snapshot(BEFORE)]));
                }
                lines.push(Forget(state.clone()).shell());
            }
            Kept::Copies => {
                for tree in [&state.skeleton, &state.base] {
                    let (before, failed) = (template::before_update(tree), failed(tree));
                    lines.push(shell::line(["/bin/mv".as_ref(), tree.as_os_str(), failed.as_os_str()]));
                    lines.push(shell::line(["/bin/mv".as_ref(), before.as_os_str(), tree.as_os_str()]));
                    lines.push(RemoveTree { path: failed }.shell());
                }
            }
        }
        lines.join("\n")
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let state = &self.0;
        match &state.kept {
            Kept::Snapshots { base, skeleton } => {
                for (dataset, tree) in [(base, &state.base), (skeleton, &state.skeleton)] {
                    put_back(host, dataset, tree)?;
                }
                Forget(state.clone()).perform(host, &mut Undo::default())
            }
            Kept::Copies => {
                // The base last: as long as its copy is there, this is not done.
                for tree in [&state.skeleton, &state.base] {
                    let (before, failed) = (template::before_update(tree), failed(tree));
                    if file::look(&before)?.is_none() {
                        continue;
                    }
                    let here = file::look(tree)?.is_some();
                    if here && file::look(&failed)?.is_some() {
                        tree::remove(&failed)?;
                    }
                    let rename = |from: &Path, to: &Path| -> Result<()> { Ok(effect::rename(from, to)?) };
                    if here {
                        rename(tree, &failed)?;
                    }
                    rename(&before, tree)?;
                }
                for tree in [&state.skeleton, &state.base] {
                    tree::remove(&failed(tree))?;
                }
                Ok(())
            }
        }
    }
}

/// Puts a file system back as it was before the update.
fn put_back(host: &Host, dataset: &Dataset, tree: &Path) -> Result<()> {
    let before = dataset.snapshot(BEFORE);
    if !zfs::exists(host.tools(), &before)? {
        return Ok(());
    }
    let newer = || -> Result<bool> { Ok(zfs::snapshots(host, dataset)?.last() != Some(&before)) };
    if !newer()? {
        match zfs::roll_back(host, dataset, BEFORE) {
            // One may have been taken in between.
            Err(_) if newer()? => {}
            result => return result,
        }
    }
    // ZFS does not roll back past later snapshots, and those that other programs
    // took must not be destroyed.
    let kept = tree.join(".zfs/snapshot").join(BEFORE);
    tree::restore(&kept, tree).with_context(|| format!("{dataset} has later snapshots than {before}"))
}

/// Removes what the update could have gone back to.
struct Forget(Rc<State>);

impl Action for Forget {
    fn shell(&self) -> String {
        let state = &self.0;
        let lines = match &state.kept {
            Kept::Snapshots { base, skeleton } => {
                [base, skeleton].map(|d| Tools::line(Tool::Zfs, &["destroy", &d.snapshot(BEFORE)]))
            }
            Kept::Copies => [&state.base, &state.skeleton]
                .map(|tree| RemoveTree { path: template::before_update(tree) }.shell()),
        };
        lines.join("\n")
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let state = &self.0;
        match &state.kept {
            Kept::Snapshots { base, skeleton } => {
                for before in [base, skeleton].map(|dataset| dataset.snapshot(BEFORE)) {
                    if zfs::exists(host.tools(), &before)? {
                        zfs::Destroy { name: before }.perform(host, &mut Undo::default())?;
                    }
                }
            }
            Kept::Copies => {
                // In one step it is settled; what follows only makes room.
                let before = template::before_update(&state.base);
                if file::look(&before)?.is_some() {
                    tree::remove(&failed(&state.base))?;
                    effect::rename(&before, &failed(&state.base))?;
                }
                tree::remove(&template::before_update(&state.skeleton))?;
                for tree in [&state.skeleton, &state.base] {
                    tree::remove(&failed(tree))?;
                }
            }
        }
        Ok(())
    }
}

/// Mounts the skeleton where the links of the base lead.
struct MountSkeleton(Rc<State>);

impl MountSkeleton {
    fn arguments(&self) -> [OsString; 4] {
        ["-t".into(), "nullfs".into(), self.0.skeleton.clone().into(), self.0.point().into()]
    }
}

impl Action for MountSkeleton {
    fn shell(&self) -> String {
        Tools::line(Tool::Mount, &self.arguments())
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        host.tools().run(Tool::Mount, &self.arguments())?;
        undo.push(UnmountSkeleton(self.0.clone()));
        // Without it freebsd-update(8) takes all of etc for missing, and says nothing.
        if !host.kernel()?.mounts()?.iter().any(|m| is_our_mount(&self.0, m)) {
            bail!("{} is not mounted although mount(8) did not fail", self.0.point().display());
        }
        Ok(())
    }
}

/// Unmounts it again, by force if something clings to it.
struct UnmountSkeleton(Rc<State>);

impl Action for UnmountSkeleton {
    fn shell(&self) -> String {
        Tools::line(Tool::Umount, &[self.0.point()])
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        // The latest first: they may be stacked.
        for mount in host.kernel()?.mounts()?.iter().rev().filter(|m| is_our_mount(&self.0, m)) {
            let kernel = host.kernel()?;
            let gone = || Ok(!kernel.mounts()?.iter().any(|m| m.fsid == mount.fsid));
            let failed = |_| if gone()? { Ok(()) } else { kernel.unmount(mount, true) };
            kernel.unmount(mount, false).or_else(failed)?;
        }
        Ok(())
    }
}

/// Settings for freebsd-update(8) that suit a split base.
struct WriteConf {
    path: PathBuf,
}

/// This host's settings, with what a base of jails needs changed: no kernel and
/// no copy of one, and hands off the links in place of the moved directories,
/// whose modes it would give to the directories behind them.
fn conf_for_base(text: &str) -> String {
    let mut lines = String::new();
    let mut components = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        match words.next() {
            Some("Components") => {
                components.extend(words.filter(|c| *c == "world" || c.starts_with("world/")))
            }
            Some("BackupKernel" | "StrictComponents") => {}
            _ => {
                lines.push_str(line);
                lines.push('\n');
            }
        }
    }
    if components.is_empty() {
        components.push("world");
    }
    // An extended regular expression that the line of a path in the index
    // begins with, read by sh(1) without -r.
    let moved: Vec<String> = MOVED.iter().map(|m| format!("/{m}[|]")).collect();
    format!("{lines}Components {}\nBackupKernel no\nIgnorePaths {}\n", components.join(" "), moved.join(" "))
}

impl Action for WriteConf {
    fn shell(&self) -> String {
        let moved: Vec<String> = MOVED.iter().map(|m| format!("/{m}[|]")).collect();
        let added = format!("Components world\nBackupKernel no\nIgnorePaths {}\n", moved.join(" "));
        format!(
            "{{ /usr/bin/grep -Ev '^ *(Components|BackupKernel|StrictComponents)[ \t]' {CONF}; {}; }} > {}",
            shell::print(added.as_bytes()),
            shell::quote(&self.path)
        )
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let text = fs_err::read_to_string(host.root().at(Path::new(CONF)))?;
        undo.push(file::Remove { path: self.path.clone() });
        file::write(&self.path, conf_for_base(&text).as_bytes())
    }
}

/// Fetches and installs updates with freebsd-update(8).
struct Install {
    state: Rc<State>,
    conf: PathBuf,
}

impl Install {
    /// The directory is spelled alike each time: its state is kept by that.
    fn arguments(&self, version: &str, command: &str) -> Vec<OsString> {
        let words: [&OsStr; 9] = [
            "--not-running-from-cron".as_ref(),
            "--currently-running".as_ref(),
            version.as_ref(),
            "-f".as_ref(),
            self.conf.as_os_str(),
            "-b".as_ref(),
            self.state.base.as_os_str(),
            "-F".as_ref(),
            command.as_ref(),
        ];
        // -F: what was prepared for a state that was taken back counts no more.
        words.into_iter().filter(|w| *w != "-F" || command == "fetch").map(OsStr::to_owned).collect()
    }

    /// True when something was installed.
    fn install(&self, host: &Host, version: &Version) -> Result<bool> {
        let arguments = self.arguments(&version.to_string(), "install");
        match host.tools().run(Tool::FreebsdUpdate, &arguments) {
            Ok(printed) => Ok(!printed.stdout.contains(NOTHING_READY)),
            // With status 2, when the fetch before found nothing.
            Err(e) if printed(&e).contains(NOTHING_READY) => Ok(false),
            Err(e) => Err(told(e)),
        }
    }
}

const NOTHING_READY: &str = "No updates are available to install.";
const PAST_ITS_END: &str = "HAS PASSED ITS END-OF-LIFE DATE";

fn printed(error: &ToolError) -> &str {
    match &error.outcome {
        Outcome::Failed { stdout, .. } => stdout,
        Outcome::NotStarted(_) => "",
    }
}

/// A line whose words are one blank apart.
fn in_one_blank(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// freebsd-update(8) says on standard output why it fails.
fn told(error: ToolError) -> anyhow::Error {
    let lines: Vec<String> = printed(&error).lines().map(in_one_blank).filter(|l| !l.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    match &error.outcome {
        Outcome::Failed { stderr, .. } if !stderr.is_empty() => error.into(),
        _ if last.is_empty() => error.into(),
        _ => anyhow!("{}: {last}", error.command),
    }
}

impl Action for Install {
    fn shell(&self) -> String {
        let script = shell::quote(self.state.base.join("bin/freebsd-version"));
        let version = format!("\"$({script} -u)\"");
        ["fetch", "install"]
            .map(|command| {
                let line = Tools::line(Tool::FreebsdUpdate, &self.arguments("@VERSION@", command));
                format!("PAGER=/bin/cat {}", line.replace("@VERSION@", &version))
            })
            .join("\n")
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let version = userland::of_base(&self.state.base)?;
        let fetched = {
            let _progress = crate::progress::Progress::new("look for updates");
            host.tools().run(Tool::FreebsdUpdate, &self.arguments(&version.to_string(), "fetch"))
        };
        match fetched {
            Ok(_) => {}
            Err(e) if printed(&e).contains(PAST_ITS_END) => {
                report::note(
                    PROGRAM,
                    &format!("{} has passed its end of life: these are its last updates", self.state.release),
                );
            }
            Err(e) => return Err(told(e)),
        }
        let _progress = crate::progress::Progress::new("install updates");
        for _ in 0..INSTALLS {
            if !self.install(host, &version)? {
                break;
            }
            self.state.changed.set(true);
        }
        file::Remove { path: self.conf.clone() }.perform(host, &mut Undo::default())
    }
}

/// Upgrades a base that is made of packages.
struct UpgradePackages(Rc<State>);

impl UpgradePackages {
    fn arguments(&self, command: &[&str]) -> Vec<OsString> {
        let root = ["-r".into(), self.0.base.clone().into_os_string()];
        // The base may be newer or older than what runs here.
        let options = ["-o".into(), "IGNORE_OSVERSION=yes".into()];
        root.into_iter().chain(options).chain(command.iter().map(OsString::from)).collect()
    }
}

/// The repository of base (freebsd-src: usr.sbin/pkg/FreeBSD.conf).
const BASE_REPOSITORY: [&str; 2] = ["-r", "FreeBSD-base"];
const UP_TO_DATE: &str = "Your packages are up to date.";

impl Action for UpgradePackages {
    fn shell(&self) -> String {
        let [r, name] = BASE_REPOSITORY;
        [&["update", "-f", r, name][..], &["upgrade", "-y", r, name][..]]
            .map(|command| Tools::line(Tool::Pkg, &self.arguments(command)))
            .join("\n")
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let [r, name] = BASE_REPOSITORY;
        let run = |command: &[&str]| host.tools().run(Tool::Pkg, &self.arguments(command)).map_err(told);
        run(&["update", "-f", r, name])?;
        let upgraded = run(&["upgrade", "-y", r, name])?;
        if !upgraded.stdout.contains(UP_TO_DATE) {
            self.0.changed.set(true);
        }
        Ok(())
    }
}

/// A step that is only needed when the update changed something.
struct IfChanged {
    state: Rc<State>,
    step: Box<dyn Action>,
}

impl Action for IfChanged {
    fn shell(&self) -> String {
        self.step.shell()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        if self.state.changed.get() { self.step.perform(host, undo) } else { Ok(()) }
    }
}

/// A program that rebuilds something; its effect goes with the whole update.
struct Rebuild {
    tool: Tool,
    arguments: Vec<OsString>,
}

impl Action for Rebuild {
    fn shell(&self) -> String {
        Tools::line(self.tool, &self.arguments)
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        host.tools().run(self.tool, &self.arguments)?;
        Ok(())
    }
}

/// What has to follow an update, in this order: certificates are hashed anew
/// first, because certctl(8) of 13 and 14 makes links, which are then repaired.
fn rebuild_steps(host: &Host, state: &Rc<State>) -> Result<Vec<Box<dyn Action>>> {
    let mut steps: Vec<Box<dyn Action>> = Vec::new();
    let base = &state.base;
    let certctl = base.join("usr/sbin/certctl");
    if file::look(&certctl)?.is_some() {
        let rehash = ["-D".into(), base.clone().into_os_string(), "rehash".into()];
        // One that is a script is the base's own: it makes links, as jails on
        // that base expect them. From 15 on it is a program, for its own kernel.
        let (tool, mut arguments) = if is_script(&certctl)? {
            (Tool::Sh, vec![certctl.into_os_string()])
        } else {
            (Tool::Certctl, vec![])
        };
        arguments.extend(rehash);
        if tool == Tool::Sh || host.tools().program(tool).exists() {
            steps.push(Box::new(Rebuild { tool, arguments }));
        }
    }
    steps.push(Box::new(RepairLinks {
        program: PROGRAM,
        base: base.clone(),
        skeleton: state.skeleton.clone(),
    }));
    let etc = |name: &str| base.join("etc").join(name).into_os_string();
    let databases: [(&str, Tool, Vec<OsString>); 3] = [
        (
            "etc/master.passwd",
            Tool::PwdMkdb,
            vec!["-d".into(), base.join("etc").into(), "-p".into(), etc("master.passwd")],
        ),
        ("etc/login.conf", Tool::CapMkdb, vec![etc("login.conf")]),
        (
            "etc/services",
            Tool::ServicesMkdb,
            vec!["-q".into(), "-o".into(), base.join("var/db/services.db").into(), etc("services")],
        ),
    ];
    for (source, tool, arguments) in databases {
        if file::look(&state.skeleton.join(source))?.is_some() {
            steps.push(Box::new(Rebuild { tool, arguments }));
        }
    }
    Ok(steps)
}

/// Removes the copies of certificates that certctl(8) of 15 made in a base of
/// 13 or 14, whose own makes links: freebsd-update(8) runs the host's. Jails on
/// that base would keep them, a bundle among them, when they are out of date.
struct RemoveCopies {
    base: PathBuf,
    skeleton: PathBuf,
    /// Those that were there before, by whoever put them there.
    before: Vec<PathBuf>,
}

impl RemoveCopies {
    fn new(state: &State) -> Result<RemoveCopies> {
        let before = certificate_files(&state.skeleton)?;
        Ok(RemoveCopies { base: state.base.clone(), skeleton: state.skeleton.clone(), before })
    }
}

/// Regular files where certctl(8) puts certificates.
fn certificate_files(skeleton: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let ssl = skeleton.join("etc/ssl");
    for directory in ["certs", "untrusted", "blacklisted"] {
        let directory = ssl.join(directory);
        if !file::look(&directory)?.is_some_and(|m| m.is_dir()) {
            continue;
        }
        for entry in fs_err::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
    }
    let bundle = ssl.join("cert.pem");
    if file::look(&bundle)?.is_some_and(|m| m.is_file()) {
        files.push(bundle);
    }
    Ok(files)
}

impl Action for RemoveCopies {
    fn shell(&self) -> String {
        let ssl = shell::quote(self.skeleton.join("etc/ssl"));
        let certificates = "\\( -name '*.[0-9]' -o -name cert.pem \\)";
        // What the update brought: its freebsd-version(1) came just before.
        let version = shell::quote(self.base.join("bin/freebsd-version"));
        format!("/usr/bin/find {ssl} -type f {certificates} -newer {version} -delete")
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        for file in certificate_files(&self.skeleton)?.iter().filter(|f| !self.before.contains(f)) {
            effect::remove_file(file)?;
        }
        Ok(())
    }
}

fn is_script(path: &Path) -> Result<bool> {
    use std::io::Read;
    let mut start = Vec::new();
    if file::look(path)?.is_none() {
        return Ok(false);
    }
    fs_err::File::open(path)?.take(2).read_to_end(&mut start)?;
    Ok(start == b"#!")
}

/// Takes the skeleton's next snapshot: with it the update is there for good.
struct TakeSnapshot(Rc<State>);

impl Action for TakeSnapshot {
    fn shell(&self) -> String {
        let Kept::Snapshots { skeleton, .. } = &self.0.kept else { return String::new() };
        let script = shell::quote(self.0.base.join("bin/freebsd-version"));
        format!("/sbin/zfs snapshot {skeleton}@\"p$({script} -u | /usr/bin/sed -n 's/.*-p//p')\"")
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let state = &self.0;
        let Kept::Snapshots { skeleton, .. } = &state.kept else { return Ok(()) };
        let level = userland::of_base(&state.base)?.patch;
        let taken = template::snapshots(host, skeleton)?;
        let Some(name) = template::next_name(&taken, level, state.changed.get()) else { return Ok(()) };
        let snapshot = skeleton.snapshot(&name);
        zfs::Snapshot::one(snapshot.clone()).perform(host, undo)?;
        *state.taken.borrow_mut() = Some(snapshot);
        Ok(())
    }
}

/// Tells which jails don't have what the skeleton now has.
fn tell_jails(host: &Host, layout: &Layout, release: &Release, changed: bool) -> Result<()> {
    let jails = match layout.storage() {
        Storage::Zfs(top) => {
            let skeleton = Layout::skeleton_dataset(top, release)?;
            let mut snapshots = template::snapshots(host, &skeleton)?;
            snapshots.pop();
            let mut jails = Vec::new();
            for snapshot in &snapshots {
                for clone in zfs::clones(host, snapshot)? {
                    let name = clone.rsplit('/').next().unwrap_or_default();
                    let of = snapshot.rsplit('@').next().unwrap_or_default();
                    // What jail-rebase builds and keeps is no jail.
                    if name.parse::<JailName>().is_ok() {
                        jails.push(format!("{name} (@{of})"));
                    }
                }
            }
            jails
        }
        Storage::Directory if changed => jails_on(host, layout, release)?,
        Storage::Directory => Vec::new(),
    };
    if !jails.is_empty() {
        let jails = jails.join(", ");
        report::note(
            PROGRAM,
            &format!(
                "jails with an older etc than their base: {jails}; jail-rebase NAME {release} merges what is new"
            ),
        );
    }
    Ok(())
}

/// The jails whose fstab mounts the base.
fn jails_on(host: &Host, layout: &Layout, release: &Release) -> Result<Vec<String>> {
    let mut jails = Vec::new();
    let base = layout.base(release);
    for entry in fs_err::read_dir(host.root().at(&layout.containers()))? {
        let name = entry?.file_name();
        let Some(jail) = name.to_str().and_then(|n| n.parse::<JailName>().ok()) else { continue };
        let Ok(text) = std::fs::read(host.root().at(&layout.fstab(&jail))) else { continue };
        if fstab::parse(&text).0.first().is_some_and(|(_, first)| first.source == base) {
            jails.push(jail.to_string());
        }
    }
    jails.sort_unstable();
    Ok(jails)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_for_a_base() {
        let stock = "KeyPrint 80\nServerName update.FreeBSD.org\nComponents src world kernel\n# Components x\n\
                     BackupKernel yes\nIgnorePaths /boot/x\n";
        assert_eq!(
            conf_for_base(stock),
            "KeyPrint 80\nServerName update.FreeBSD.org\n# Components x\nIgnorePaths /boot/x\n\
             Components world\nBackupKernel no\n\
             IgnorePaths /etc[|] /var[|] /root[|] /tmp[|] /home[|] /usr/local[|]\n"
        );
        assert!(conf_for_base("Components world/base kernel\n").starts_with("Components world/base\n"));
    }
}
