//! What jail-destroy does: the reverse of jail-clone, with proof that all of it
//! is that jail's.

mod configuration;
mod container;

use crate::commands::common::{self, Common, arguments};
use crate::domain::configured::JailConfigs;
use crate::domain::container::OWNER_PROPERTY;
use crate::domain::epair;
use crate::domain::layout::Layout;
use crate::domain::leftovers;
use crate::domain::owner_lock;
use crate::domain::rc_jail_list;
use crate::domain::service::StopJail;
use crate::domain::settings::Settings;
use crate::system::console;
use crate::system::file;
use crate::system::host::Host;
use crate::system::lock::{Lock, LockId};
use crate::system::plan::{Action, Plan, Undo};
use crate::system::tree::RemoveTree;
use crate::system::zfs;
use crate::types::jail_name::JailName;
use crate::types::sibling_name;
use anyhow::{Context, Result, bail};
use clap::Parser;
use configuration::Block;
use container::FoundContainer;
use std::path::PathBuf;
use std::process::ExitCode;

/// Destroy a thin jail
#[derive(Parser, Clone, Debug)]
#[command(name = "jail-destroy", version)]
pub struct JailDestroy {
    /// Stop it if it runs; cut its block from a file that holds more
    #[arg(short, long)]
    pub force: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// The options of every program.
    #[command(flatten)]
    pub common: Common,
    /// The jail
    #[arg(value_name = "name")]
    pub name: JailName,
}

arguments!(JailDestroy);

const PROGRAM: &str = "jail-destroy";

/// The program.
pub fn main() -> ExitCode {
    common::run(run)
}

/// Destroys, after asking.
fn run(arguments: &JailDestroy, host: &Host) -> Result<ExitCode> {
    let (common, jail) = (&arguments.common, &arguments.name);
    let settings = Settings::load(host.root())?;
    // The locks are not held while the administrator thinks about an answer. A
    // move that starts between the look and the first change would leave the
    // container that it keeps without a jail.
    let take = || -> Result<(Lock, Lock)> {
        let Some(of_move) = Lock::try_of_move(host.root(), jail)? else {
            owner_lock::check(host, jail)?;
            bail!("jail {jail}: jail-rebase, or a zfs(8) that it started, is still running; try again later");
        };
        Ok((of_move, Lock::take(host.root(), LockId::Jails)?))
    };
    let early = (arguments.yes && !common.dry_run).then(take).transpose()?;
    let mut found = look(host, &settings, arguments)?;
    for note in &found.notes {
        console::note(PROGRAM, note);
    }
    if common.dry_run {
        let mut all = Plan::default();
        if found.running {
            all.push(StopJail { jail: jail.clone() });
        }
        let (plan, clear) = steps(found);
        all.append(plan);
        all.append(clear);
        return common::dry_run(PROGRAM, &all, common.json);
    }
    let (_of_move, lock) = match early {
        Some(locks) => locks,
        None => {
            if !confirm(jail, found.running, &found.goes)? {
                bail!("aborted");
            }
            let locks = take()?;
            found = look(host, &settings, arguments)?;
            locks
        }
    };
    if found.running {
        StopJail { jail: jail.clone() }.perform(host, &mut Undo::default())?;
        // Its path can be looked at only now.
        found = look(host, &settings, arguments)?;
    }
    let (plan, clear) = steps(found);
    // The zfs(8) of a killed run continues. Not before: what the stop of a jail
    // starts may stay.
    lock.share_with_children().context("lock")?;
    plan.carry_out(host)?;
    // From here the jail is gone; what follows must not bring it back.
    let failures = clear.carry_out_all(host);
    match failures.into_iter().next() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => {
            Err(first.context(format!("jail {jail} is destroyed, but something remains; run it again")))
        }
    }
}

/// What zfs(8) is asked, once: every start of it costs more than the answer.
const ASKED: [&str; 6] = ["mounted", "mountpoint", "origin", OWNER_PROPERTY, "clones", "userrefs"];

/// Looks at the host. Every reason not to destroy the jail is found here.
fn look(host: &Host, settings: &Settings, arguments: &JailDestroy) -> Result<Found> {
    let jail = &arguments.name;
    let mut rows = Vec::new();
    if let Some(top) = &settings.jail_zfs {
        let (containers, container) = (top.child("containers")?, Layout::container_dataset(top, jail)?);
        let datasets = [top.as_str(), containers.as_str(), container.as_str()];
        rows = zfs::query(host.tools(), &datasets, 1, &ASKED)?;
    }
    let layout = &Layout::from_properties(host, settings, &rows)?;
    owner_lock::check(host, jail)?;
    let running = host.kernel()?.running_jail(jail.as_str())?.is_some();
    if running && !arguments.force {
        bail!("jail {jail} is running; service jail stop {jail}, or use -f");
    }
    if !running {
        leftovers::check_unmounted(host, layout, jail)?;
    }
    let configs = JailConfigs::read(host.root(), layout)?;
    container::check_moves(host, layout, jail, &rows)?;
    let block = configuration::look_at_block(host, layout, &configs, jail, arguments.force)?;
    let mounted = configuration::check_fstab(host, layout, jail)?;
    let container = container::look(host, layout, jail, &rows, block.is_some() && mounted, mounted)?;
    let fstab = mounted.then(|| host.root().host_path(&layout.fstab(jail)));
    let path = look_at_path(host.root().host_path(&layout.path(jail)), running)?;
    let mut found = Found {
        goes: Vec::new(),
        notes: Vec::new(),
        running,
        block: None,
        container,
        fstab,
        path,
        leftovers: leftovers_of(host, layout, jail)?,
        unlist: None,
        pairs: Plan::default(),
    };
    let mut goes = |what: &str, shown: String| found.goes.push(format!("{what:<15}{shown}"));
    if let Some((block, shown)) = block {
        goes("configuration", shown);
        found.block = Some(block);
    }
    if let Some(shown) = found.container.shown(layout, jail) {
        goes("container", shown);
    }
    if found.fstab.is_some() {
        goes("fstab", layout.fstab(jail).display().to_string());
    }
    if found.path.is_some() {
        goes("path", layout.path(jail).display().to_string());
    }
    let listed = rc_jail_list::names(host)?;
    if listed.iter().any(|n| n == jail.as_str()) {
        let others = configs.jails().iter().any(|c| c.jail != jail.as_str());
        if listed.len() == 1 && others {
            found.notes.push(format!(
                "warning: jail_list still contains {jail}: an empty list would start all jails at boot"
            ));
        } else {
            goes("name", format!("{jail} in jail_list"));
            found.unlist = Some(rc_jail_list::RemoveFromJailList::new(host, jail));
        }
    }
    if !running {
        found.pairs = epair::down_all(host, jail)?;
        if !found.pairs.is_empty() {
            goes("pair", "left by a start that failed".into());
        }
    }
    if found.goes.is_empty() && found.leftovers.is_empty() {
        bail!("jail {jail} does not exist: no configuration, container or fstab");
    }
    Ok(found)
}

/// The jail's path, if it is there. A running jail has its base on it.
fn look_at_path(path: PathBuf, running: bool) -> Result<Option<PathBuf>> {
    match file::look(&path)? {
        None => Ok(None),
        Some(there) if !there.is_dir() => {
            bail!("{}: {}, not a directory", path.display(), file::kind(&there))
        }
        Some(_) if !running && fs_err::read_dir(&path)?.next().is_some() => {
            bail!(
                "{}: not empty although nothing is mounted on it; find out what it is and remove it",
                path.display()
            )
        }
        Some(_) => Ok(Some(path)),
    }
}

/// What killed runs left of the jail, and the note of its origin.
fn leftovers_of(host: &Host, layout: &Layout, jail: &JailName) -> Result<Vec<Leftover>> {
    let trees = layout.partial_trees(host, jail)?.into_iter();
    let mut all: Vec<Leftover> = trees.map(|path| Leftover::Tree(RemoveTree { path })).collect();
    let at = |path: PathBuf| host.root().host_path(&path);
    let [conf, fstab, record] = [layout.conf(jail), layout.fstab(jail), layout.origin(jail)].map(at);
    for path in [&conf, &fstab, &record].map(|file| sibling_name::temporary(file)).into_iter().chain([record])
    {
        if file::look(&path)?.is_some_and(|m| m.is_file()) {
            all.push(Leftover::File(file::RemoveFile { path }));
        }
    }
    Ok(all)
}

/// The steps up to the point where the jail is gone:
///
/// 1. A container made by hand is marked as the jail's: that proves it when the
///    rest is gone already.
/// 2. The configuration goes first, so that nothing starts the jail meanwhile.
/// 3. A directory is taken out of use while the fstab still proves whose it is;
///    then go the fstab and the path.
/// 4. A dataset is unmounted, which is refused while it is in use. Here the way
///    back ends.
///
/// and those behind it, each of which is tried: the container, what killed runs
/// left, the name in jail_list, pairs.
fn steps(found: Found) -> (Plan, Plan) {
    let (mut plan, mut clear) = (Plan::default(), Plan::default());
    if let Some(adopt) = found.container.adopt() {
        plan.push(adopt.clone());
    }
    match found.block {
        Some(Block::File(path)) => plan.push(file::RemoveWithRestore { path }),
        Some(Block::Cut(cut)) => plan.push(cut),
        None => {}
    }
    found.container.set_aside(&mut plan);
    if let Some(path) = found.fstab {
        plan.push(file::RemoveWithRestore { path });
    }
    if let Some(path) = found.path {
        plan.push(file::RemoveDirectory { path });
    }
    found.container.unmount(&mut plan);
    found.container.remove(&mut clear);
    for leftover in found.leftovers {
        match leftover {
            Leftover::Tree(remove) => clear.push(remove),
            Leftover::File(remove) => clear.push(remove),
        }
    }
    if let Some(unlist) = found.unlist {
        clear.push(unlist);
    }
    clear.append(found.pairs);
    (plan, clear)
}

/// What a killed run left.
enum Leftover {
    Tree(RemoveTree),
    File(file::RemoveFile),
}

/// What is there of the jail.
struct Found {
    /// What goes, in words.
    goes: Vec<String>,
    notes: Vec<String>,
    running: bool,
    block: Option<Block>,
    container: FoundContainer,
    /// Its fstab and its path, real paths.
    fstab: Option<PathBuf>,
    path: Option<PathBuf>,
    leftovers: Vec<Leftover>,
    /// What removes it from jail_list.
    unlist: Option<rc_jail_list::RemoveFromJailList>,
    /// What destroys the pairs that a failed start left.
    pairs: Plan,
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
    console::ask(&format!("{text}Destroy jail {jail} for good?"))
}
