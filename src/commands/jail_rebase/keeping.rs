//! What a move keeps: discarded by --commit, brought back by --revert.

use super::place::Places;
use super::{Job, PROGRAM};
use crate::commands::common;
use crate::domain::container::own_snapshots;
use crate::domain::origin;
use crate::domain::template;
use crate::system::console;
use crate::system::file;
use crate::system::plan::Plan;
use crate::system::tree::RemoveTree;
use crate::system::zfs;
use crate::types::release::Release;
use crate::types::sibling_name;
use anyhow::{Result, bail};
use std::process::ExitCode;

impl Job<'_> {
    pub(super) fn commit(&self, places: &Places) -> Result<ExitCode> {
        let (host, jail) = (self.host, self.jail());
        places.check_whole(host)?;
        let (mut plan, mut clear) = (Plan::default(), Plan::default());
        let Some((kept, to)) = &places.kept else {
            if places.leftovers.is_empty() {
                bail!("jail {jail}: no move to commit");
            }
            return self.clear_away(places);
        };
        self.check_agreement(places, to)?;
        let mut snapshots = 0;
        if kept.dataset.is_none() {
            // First of all: a record of one line says that there is no way back,
            // because part of the former container may be gone.
            if let Some(origin) = origin::recorded(&places.record, true)? {
                let (old, new) = (fs_err::read(&places.record)?, origin::record(&[&origin]));
                if old != new {
                    plan.push(file::ReplaceText { path: places.record.clone(), old, new });
                }
            }
            let aside = sibling_name::temporary(&kept.path);
            clear.push(file::RenameFile { from: kept.path.clone(), to: aside.clone() });
            clear.push(RemoveTree { path: aside });
        } else {
            snapshots = kept.destroy(host, &mut clear)?;
        }
        if self.arguments.common.dry_run {
            plan.append(clear);
            return common::dry_run(PROGRAM, &plan, self.arguments.common.json);
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
                 a clone of {origin}; run jail-rebase --revert {jail}, then move it again"
            );
        }
        self.check_mounted(&places.jail)
    }

    pub(super) fn revert(&self, places: &Places) -> Result<ExitCode> {
        let (host, jail) = (self.host, self.jail());
        let built = places.work.exists(host)?;
        let Some((kept, to)) = &places.kept else {
            let mut record = Plan::default();
            self.plan_record(places, &mut record)?;
            if !built && places.leftovers.is_empty() && record.is_empty() {
                bail!("jail {jail}: no move to revert");
            }
            // It was killed before anything of the jail was touched.
            return self.clear_away(places);
        };
        if kept.dataset.is_none() && origin::is_committed(&places.record)? {
            bail!(
                "jail {jail}: an interrupted commit cannot be reverted; \
                 jail-rebase --commit {jail} completes it"
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
        let base = host.root().host_path(&self.layout.base(&former.release));
        if !file::look(&base)?.is_some_and(|there| there.is_dir()) {
            template::check_in_place(host, self.layout, &former.release)?;
            bail!("{}: the base of {former} is missing; the jail cannot return to it", base.display());
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
            Some(dataset) if moved || built => own_snapshots(host, dataset)?,
            _ => Vec::new(),
        };
        if self.arguments.common.dry_run {
            if let Some(work) = &places.work.dataset {
                for name in snapshots.iter().filter_map(|s| s.split('@').nth(1)) {
                    plan.push(zfs::DestroyDataset { name: work.snapshot(name) });
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
                "Return to the container of jail {jail} from before its move to {to}, and destroy the current one{with}?"
            ))?;
        }
        self.stop()?;
        self.carry_out(&plan)?;
        console::report(PROGRAM, &format!("{jail}: back to {former}"));
        self.clear_away(places)
    }
}
