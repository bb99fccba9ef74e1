//! What jail-destroy does: the reverse of jail-clone, with proof that all of it
//! is that jail's.

use crate::claim;
use crate::cli::JailDestroy;
use crate::epair;
use crate::file;
use crate::fstab;
use crate::host::Host;
use crate::jail::JailName;
use crate::jailconf;
use crate::jails::Known;
use crate::kernel::is_at_or_below;
use crate::layout::{self, Layout, SKELETON, Storage};
use crate::lock::{Guarded, Lock};
use crate::plan::{Action, Plan, Undo};
use crate::rclist;
use crate::service::StopJail;
use crate::settings::Settings;
use crate::sweep;
use crate::template;
use crate::tree::{self, RemoveTree};
use crate::zfs::{self, Dataset};
use crate::{effect, report, shell};
use anyhow::{Context, Result, bail};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const PROGRAM: &str = "jail-destroy";

/// Destroys, after asking.
pub fn run(arguments: &JailDestroy, host: &Host) -> Result<ExitCode> {
    let (common, jail) = (&arguments.common, &arguments.name);
    let settings = Settings::load(host.root())?;
    // The locks are not held while the administrator thinks about an answer. A
    // move that starts between the look and the first change would leave the
    // container that it keeps without a jail.
    let take = || -> Result<(Lock, Lock)> {
        let Some(of_move) = Lock::try_of_move(host.root(), jail)? else {
            claim::check(host, jail)?;
            bail!("jail {jail}: jail-rebase, or a zfs(8) that it started, is still running; try again later");
        };
        Ok((of_move, Lock::take(host.root(), Guarded::Jails)?))
    };
    let early = (arguments.yes && !common.dry_run).then(take).transpose()?;
    let (mut destroy, mut running) = look(host, &settings, arguments)?;
    for note in &destroy.notes {
        report::note(PROGRAM, note);
    }
    if common.dry_run {
        let mut all = Plan::default();
        if running {
            all.push(StopJail { jail: jail.clone() });
        }
        all.append(destroy.plan);
        all.append(destroy.clear);
        return report::dry_run(PROGRAM, &all, common.json);
    }
    let (_of_move, lock) = match early {
        Some(locks) => locks,
        None => {
            if !confirm(jail, running, &destroy.goes)? {
                bail!("nothing is destroyed");
            }
            let locks = take()?;
            (destroy, running) = look(host, &settings, arguments)?;
            locks
        }
    };
    if running {
        StopJail { jail: jail.clone() }.perform(host, &mut Undo::default())?;
        // Its path can be looked at only now.
        (destroy, _) = look(host, &settings, arguments)?;
    }
    // The zfs(8) of a killed run goes on. Not before: what the stop of a jail
    // starts may stay.
    lock.share_with_children().context("lock")?;
    destroy.plan.carry_out(host)?;
    // From here the jail is gone; what follows must not bring it back.
    let failures = destroy.clear.carry_out_all(host);
    match failures.into_iter().next() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Err(first.context(format!("jail {jail} is gone, but not all of it; run it again"))),
    }
}

/// What zfs(8) is asked, once: every start of it costs more than the answer.
const ASKED: [&str; 6] = ["mounted", "mountpoint", "origin", zfs::OWNER_PROPERTY, "clones", "userrefs"];
type Row = (String, [String; ASKED.len()]);

/// What is there of the jail, and whether it runs.
fn look(host: &Host, settings: &Settings, arguments: &JailDestroy) -> Result<(Destroy, bool)> {
    let jail = &arguments.name;
    let mut told = Vec::new();
    if let Some(top) = &settings.jail_zfs {
        let (containers, container) = (top.child("containers")?, Layout::container_dataset(top, jail)?);
        let datasets = [top.as_str(), containers.as_str(), container.as_str()];
        told = zfs::told(host.tools(), ASKED, 1, &datasets)?;
    }
    let layout = &Layout::find_told(host, settings, &told)?;
    claim::check(host, jail)?;
    let running = host.kernel()?.running_jail(jail.as_str())?.is_some();
    if running && !arguments.force {
        bail!("jail {jail} is running; service jail stop {jail}, or give -f");
    }
    if !running {
        sweep::check_unmounted(host, layout, jail)?;
    }
    Ok((plan(host, layout, arguments, &told, running)?, running))
}

/// Shows what goes and asks, once.
fn confirm(jail: &JailName, running: bool, goes: &[String]) -> Result<bool> {
    let mut text = String::new();
    if running {
        text.push_str(&format!("jail {jail} is running, and will be stopped\n"));
    }
    for line in goes {
        text.push_str(&format!("  {line}\n"));
    }
    report::ask(&format!("{text}Destroy jail {jail} for good?"))
}

struct Destroy {
    /// Up to the point where the jail is gone.
    plan: Plan,
    /// What is left then.
    clear: Plan,
    /// What goes, in words.
    goes: Vec<String>,
    notes: Vec<String>,
    /// Marks a container that was made by hand.
    adopt: Option<zfs::SetProperty>,
}

fn plan(
    host: &Host,
    layout: &Layout,
    arguments: &JailDestroy,
    told: &[Row],
    running: bool,
) -> Result<Destroy> {
    let (jail, force) = (&arguments.name, arguments.force);
    let at = |path: PathBuf| host.root().at(&path);
    let known = Known::read(host.root(), layout)?;
    let mut destroy = Destroy {
        plan: Plan::default(),
        clear: Plan::default(),
        goes: Vec::new(),
        notes: Vec::new(),
        adopt: None,
    };

    check_moves(host, layout, jail, told)?;
    let configured = plan_configuration(host, layout, &known, jail, force, &mut destroy)?;
    let mounted = check_fstab(host, layout, jail)?;
    let container = plan_container(host, layout, jail, told, configured && mounted, mounted, &mut destroy)?;
    let fstab = at(layout.fstab(jail));
    if mounted {
        destroy.goes.push(format!("fstab          {}", layout.fstab(jail).display()));
        destroy.plan.push(TakeAway { path: fstab.clone() });
    }
    let path = at(layout.path(jail));
    match file::look(&path)? {
        None => {}
        Some(there) if !there.is_dir() => {
            bail!("{}: {}, not a directory", path.display(), file::kind(&there))
        }
        // A running jail has its base there.
        Some(_) if !running && fs_err::read_dir(&path)?.next().is_some() => {
            bail!(
                "{}: not empty although nothing is mounted on it; look what it is and remove it",
                path.display()
            )
        }
        Some(_) => {
            destroy.goes.push(format!("path           {}", layout.path(jail).display()));
            destroy.plan.push(TakeAwayDirectory { path });
        }
    }
    // Where the way back ends.
    plan_end(host, layout, jail, container, &mut destroy)?;
    for torso in layout.torsos_of(host, jail)? {
        destroy.clear.push(RemoveTree { path: torso });
    }
    let record = at(layout.origin(jail));
    let beside =
        [layout.conf(jail), layout.fstab(jail), layout.origin(jail)].map(|f| file::temp_beside(&at(f)));
    for leaving in beside.into_iter().chain([record]) {
        if file::look(&leaving)?.is_some_and(|m| m.is_file()) {
            destroy.clear.push(file::Remove { path: leaving });
        }
    }
    let listed = rclist::names(host)?;
    if listed.iter().any(|n| n == jail.as_str()) {
        let others = known.claims().iter().any(|c| c.jail != jail.as_str());
        if listed.len() == 1 && others {
            destroy.notes.push(format!(
                "jail_list keeps {jail}, its last name: an empty list would start every jail at boot"
            ));
        } else {
            destroy.goes.push(format!("name           {jail} in jail_list"));
            destroy.clear.push(rclist::Remove::new(host, jail));
        }
    }
    if !running {
        let pairs = epair::down_all(host, jail)?;
        if !pairs.is_empty() {
            destroy.goes.push("pair           left by a start that failed".into());
            destroy.clear.append(pairs);
        }
    }
    if let Some(adopt) = destroy.adopt.take() {
        let mut plan = Plan::default();
        plan.push(adopt);
        plan.append(destroy.plan);
        destroy.plan = plan;
    }
    if destroy.goes.is_empty() && destroy.clear.is_empty() {
        bail!("there is no jail {jail}: no configuration, no container, no fstab");
    }
    Ok(destroy)
}

/// Fails while something is kept of a move to another release.
fn check_moves(host: &Host, layout: &Layout, jail: &JailName, told: &[Row]) -> Result<()> {
    let containers = match layout.storage() {
        Storage::Zfs(top) => {
            let names = told.iter().map(|(name, _)| name.as_str());
            layout::containers_among(names, &top.child("containers")?, jail)
        }
        Storage::Directory => layout.containers_of(host, jail)?,
    };
    for name in containers {
        if name != jail.as_str() {
            bail!(
                "{name} is kept of a move of jail {jail} by jail-rebase; jail-rebase --commit {jail} lets go of it, \
                 jail-rebase --revert {jail} goes back to it"
            );
        }
    }
    Ok(())
}

/// Plans the block in jail.conf(5); true if there is one.
fn plan_configuration(
    host: &Host,
    layout: &Layout,
    known: &Known,
    jail: &JailName,
    force: bool,
    destroy: &mut Destroy,
) -> Result<bool> {
    let mut claims = known.claims().iter().filter(|c| c.jail == jail.as_str());
    let Some(claim) = claims.next() else { return Ok(false) };
    if let Some(other) = claims.next() {
        bail!(
            "jail {jail} is configured twice, in {} and {}; remove the one that is wrong",
            claim.file.display(),
            other.file.display()
        );
    }
    if let Some(child) = known.claims().iter().find(|c| c.jail.starts_with(&format!("{jail}."))) {
        bail!("jail {} is configured inside of it; destroy that one first", child.jail);
    }
    for (name, value, ours) in
        [("path", &claim.path, layout.path(jail)), ("mount.fstab", &claim.fstab, layout.fstab(jail))]
    {
        if let Some(value) = value
            && Path::new(value).components().ne(ours.components())
        {
            bail!(
                "{}: {name} of jail {jail} is {value}, not {}; it is no jail of ours",
                claim.file.display(),
                ours.display()
            );
        }
    }
    let range = known.block(jail.as_str()).context("jail.conf")?;
    let real = host.root().at(&claim.file);
    let text = fs_err::read(&real)?;
    let rest = jailconf::cut(&text, range);
    let mut others = jailconf::Config::default();
    let alone = others.parse_more(&claim.file, &rest).is_ok() && others.is_empty();
    let own_file = claim.file == layout.conf(jail);
    if alone && own_file {
        destroy.goes.push(format!("configuration  {}", claim.file.display()));
        destroy.plan.push(TakeAway { path: real });
    } else if force {
        destroy.goes.push(format!("configuration  the block {jail} of {}", claim.file.display()));
        destroy.plan.push(file::Rewrite { path: real, old: text, new: rest });
    } else {
        if own_file {
            bail!(
                "{}: it holds more than jail {jail}; with -f only its block goes, and the rest stays",
                claim.file.display()
            );
        }
        bail!("{}: it is no file of its own for jail {jail}; with -f its block goes", claim.file.display());
    }
    Ok(true)
}

/// Whether there is an fstab; fails unless it is this jail's.
fn check_fstab(host: &Host, layout: &Layout, jail: &JailName) -> Result<bool> {
    let file = layout.fstab(jail);
    let real = host.root().at(&file);
    match file::look(&real)? {
        None => return Ok(false),
        Some(there) if !there.is_file() => {
            bail!("{}: {}, not a regular file", real.display(), file::kind(&there))
        }
        Some(_) => {}
    }
    let (entries, _) = fstab::parse(&fs_err::read(&real)?);
    let (path, container) = (layout.path(jail), layout.container(jail));
    let same = |a: &Path, b: &Path| a.components().eq(b.components());
    let skeleton = path.join(SKELETON);
    let Some((_, entry)) = entries.iter().find(|(_, e)| same(&e.target, &skeleton)) else {
        bail!(
            "{}: nothing of it is mounted on {}; it is not jail {jail}'s",
            file.display(),
            skeleton.display()
        );
    };
    if !same(&entry.source, &container) {
        bail!(
            "{}: {} is mounted on {}, not {}; jail {jail} does not own it",
            file.display(),
            entry.source.display(),
            skeleton.display(),
            container.display()
        );
    }
    if let Some((_, other)) = entries.iter().find(|(_, e)| !is_at_or_below(&e.target, &path)) {
        bail!("{}: it mounts on {}, outside of {}", file.display(), other.target.display(), path.display());
    }
    Ok(true)
}

/// A container on ZFS.
struct Container {
    dataset: Dataset,
    mounted: bool,
    /// Its snapshots, full names.
    snapshots: Vec<String>,
}

/// Checks that the container is this jail's. `agreed`: both configuration and
/// fstab say so; `mounted`: the fstab does.
fn plan_container(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    told: &[Row],
    agreed: bool,
    mounted: bool,
    destroy: &mut Destroy,
) -> Result<Option<Container>> {
    let container = host.root().at(&layout.container(jail));
    let there = file::look(&container)?;
    match layout.storage() {
        Storage::Zfs(top) => {
            let dataset = Layout::container_dataset(top, jail)?;
            let of_it = told.iter().find(|(name, _)| name == dataset.as_str());
            let Some((_, [is_mounted, _, origin, owner, ..])) = of_it else {
                if there.is_some() && fs_err::read_dir(&container)?.next().is_some() {
                    bail!("{}: no dataset, but a directory with something in it", container.display());
                }
                return Ok(None);
            };
            if !owner.is_empty() && owner != jail.as_str() {
                bail!("dataset {dataset} is jail {owner}'s ({}={owner})", zfs::OWNER_PROPERTY);
            }
            let of_template = origin
                .strip_prefix(top.as_str())
                .and_then(|rest| rest.strip_prefix("/templates/"))
                .is_some_and(|rest| rest.contains("-skeleton@"));
            if !of_template {
                template::check_not_promoted(host, layout, &dataset, origin)?;
                let origin = if origin.is_empty() { "nothing" } else { origin };
                bail!(
                    "dataset {dataset} is a clone of {origin}, not of a skeleton; it is no container of ours"
                );
            }
            // A clone made by hand bears no mark, but then all else must agree.
            if owner.is_empty() && !agreed {
                bail!(
                    "dataset {dataset}: nothing says that it is jail {jail}'s: no {}, and configuration and \
                     fstab are not both there; if it is: zfs set {}={jail} {dataset}",
                    zfs::OWNER_PROPERTY,
                    zfs::OWNER_PROPERTY
                );
            }
            if owner.is_empty() {
                // What proves it next time, when the configuration is gone.
                destroy.adopt = Some(zfs::SetProperty {
                    dataset: dataset.clone(),
                    property: zfs::OWNER_PROPERTY.to_owned(),
                    value: jail.to_string(),
                });
            }
            let rows = told.iter();
            let rows =
                rows.map(|(name, [.., clones, holds])| (name.as_str(), clones.as_str(), holds.as_str()));
            let snapshots = zfs::own_snapshots_in(rows, &dataset)?;
            let with = match snapshots.len() {
                0 => String::new(),
                1 => " with 1 snapshot".into(),
                n => format!(" with {n} snapshots"),
            };
            destroy.goes.push(format!("container      {dataset}{with}"));
            Ok(Some(Container { dataset, mounted: is_mounted == "yes", snapshots }))
        }
        Storage::Directory => {
            let aside = file::temp_beside(&container);
            match there {
                None => {
                    if file::look(&aside)?.is_some() {
                        destroy.goes.push(format!("container      {}", aside.display()));
                    }
                    return Ok(None);
                }
                Some(there) if !there.is_dir() => {
                    bail!("{}: {}, not a directory", container.display(), file::kind(&there))
                }
                Some(_) => {}
            }
            if !mounted && !is_pristine(host, layout, &container)? {
                bail!(
                    "{}: no fstab says that it is jail {jail}'s, and it was changed since it was copied; \
                     if it is: jail-mkfstab {jail}; remove it if nobody needs it",
                    container.display()
                );
            }
            destroy.goes.push(format!("container      {}", layout.container(jail).display()));
            if file::look(&aside)?.is_some() {
                // A copy that a killed jail-clone did not finish.
                destroy.plan.push(RemoveTree { path: aside.clone() });
            }
            // One rename, and nobody takes it for a container any more. Before
            // the fstab goes, which is what proves whose it is.
            destroy.plan.push(file::Rename { from: container, to: aside });
            Ok(None)
        }
    }
}

/// Whether a container is a copy of some skeleton and nothing more: what a
/// killed jail-clone leaves, and nobody can miss.
fn is_pristine(host: &Host, layout: &Layout, container: &Path) -> Result<bool> {
    for entry in fs_err::read_dir(host.root().at(&layout.templates()))? {
        let path = entry?.path();
        let is_skeleton = path.to_string_lossy().ends_with("-skeleton");
        if is_skeleton && tree::difference(&path, container)?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Plans the container's end.
fn plan_end(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    container: Option<Container>,
    destroy: &mut Destroy,
) -> Result<()> {
    match layout.storage() {
        Storage::Zfs(_) => {
            let Some(Container { dataset, mounted, snapshots }) = container else { return Ok(()) };
            if mounted {
                // Whoever works in it is met here, where all can be taken back.
                let mountpoint = host.root().at(&layout.container(jail));
                destroy.plan.push(zfs::Unmount { dataset: dataset.clone(), mountpoint });
            }
            let mut clear = Plan::default();
            for snapshot in snapshots {
                clear.push(zfs::Destroy { name: snapshot });
            }
            // Never with -r, never with -R.
            clear.push(zfs::Destroy { name: dataset.to_string() });
            destroy.clear.push(clear);
        }
        Storage::Directory => {
            let container = host.root().at(&layout.container(jail));
            let aside = file::temp_beside(&container);
            if file::look(&container)?.is_some() || file::look(&aside)?.is_some() {
                destroy.clear.push(RemoveTree { path: aside });
            }
        }
    }
    Ok(())
}

/// Removes a file, to be put back if the rest fails.
struct TakeAway {
    path: PathBuf,
}

impl Action for TakeAway {
    fn shell(&self) -> String {
        shell::line(["/bin/rm".as_ref(), self.path.as_os_str()])
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        let contents = fs_err::read(&self.path)?;
        let there = fs_err::symlink_metadata(&self.path)?;
        let (mode, owner) = (there.mode(), (there.uid(), there.gid()));
        // Over a network it may be removed and fail nevertheless.
        undo.push(Restore { path: self.path.clone(), contents, mode, owner });
        Ok(effect::remove_file(&self.path)?)
    }
}

struct Restore {
    path: PathBuf,
    contents: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
}

impl Action for Restore {
    fn shell(&self) -> String {
        format!("{} > {}", shell::print(&self.contents), shell::quote(&self.path))
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        if file::look(&self.path)?.is_some() {
            return Ok(());
        }
        file::write(&self.path, &self.contents)?;
        effect::chown(&self.path, self.owner)?;
        Ok(effect::chmod(&self.path, self.mode)?)
    }
}

/// Removes the jail's path, an empty directory.
struct TakeAwayDirectory {
    path: PathBuf,
}

impl Action for TakeAwayDirectory {
    fn shell(&self) -> String {
        file::RemoveDirectory { path: self.path.clone() }.shell()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        file::RemoveDirectory { path: self.path.clone() }.perform(host, undo)?;
        undo.push(file::MakeDirectory { path: self.path.clone() });
        Ok(())
    }
}
