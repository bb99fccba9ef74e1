//! Destroying the pair of a jail, or whatever pair is left of it.

use super::{PairState, check_idle, owner, present};
use crate::domain::owner_lock;
use crate::system::host::Host;
use crate::system::ifconfig::Ifconfig;
use crate::system::kernel::Errno;
use crate::system::lock::{Lock, LockId};
use crate::system::plan::{Action, Plan, Undo};
use crate::types::interface::PairName;
use crate::types::jail_name::JailName;
use anyhow::{Result, bail};

/// The plan that destroys the pair. Nothing there is success, a foreign pair is
/// an error that names its owner.
pub fn down(host: &Host, jail: &JailName, pair: &PairName) -> Result<Plan> {
    DestroyPairs::plan(host, jail, Some(pair))
}

/// The plan that destroys whatever pair of the jail is left, by their tags.
pub fn down_all(host: &Host, jail: &JailName) -> Result<Plan> {
    DestroyPairs::plan(host, jail, None)
}

/// Destroys what is there at the moment, under the lock of those who make
/// pairs: since the check, a start of the jail may have put a new pair in
/// the place of the one that was seen.
pub(super) struct DestroyPairs {
    jail: JailName,
    /// One pair, or every one that is tagged.
    pair: Option<PairName>,
    /// What was there when it was planned.
    seen: Plan,
}

impl DestroyPairs {
    fn plan(host: &Host, jail: &JailName, pair: Option<&PairName>) -> Result<Plan> {
        let down = DestroyPairs { jail: jail.clone(), pair: pair.cloned(), seen: Plan::default() };
        let seen = down.look(host)?;
        let mut plan = Plan::default();
        if !seen.is_empty() {
            plan.push(DestroyPairs { seen, ..down });
        }
        Ok(plan)
    }

    fn look(&self, host: &Host) -> Result<Plan> {
        match &self.pair {
            Some(pair) => look_for(host, &self.jail, pair),
            None => look_for_all(host, &self.jail),
        }
    }
}

impl Action for DestroyPairs {
    fn shell(&self) -> String {
        self.seen.shell()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let _lock = Lock::take(host.root(), LockId::Interfaces)?;
        // Of a jail that is there or on its way up, nothing is left over.
        owner_lock::check(host, &self.jail)?;
        if host.kernel()?.running_jail(self.jail.as_str())?.is_some() {
            return Ok(());
        }
        self.look(host)?.perform(host, undo)
    }
}

pub(super) fn look_for(host: &Host, jail: &JailName, pair: &PairName) -> Result<Plan> {
    let kernel = host.kernel()?;
    let mut plan = Plan::default();
    match present(kernel, jail, pair)? {
        PairState::Nothing => {}
        PairState::OfJail => {
            check_idle(host, jail, pair)?;
            plan.push(Ifconfig::Destroy(pair.a()));
        }
        // Only jail-epair-up, under its lock, can distinguish it from one that another
        // run is just making.
        PairState::Untagged => bail!(
            "pair {pair} of jail {jail}: not destroyed: {} has no description; the jail's next start replaces it",
            pair.a()
        ),
        PairState::Foreign(owner) => bail!("pair {pair} of jail {jail}: not destroyed: {owner}"),
    }
    Ok(plan)
}

pub(super) fn look_for_all(host: &Host, jail: &JailName) -> Result<Plan> {
    let kernel = host.kernel()?;
    let mut plan = Plan::default();
    let members = match kernel.group_members("epair") {
        Err(e) if e.errno == Errno::ENOENT => Vec::new(),
        other => other?,
    };
    for member in members {
        // Only the host's half: the jail's may carry any description.
        if !member.as_str().ends_with('a') {
            continue;
        }
        if owner(kernel, &member)?.as_ref() == Some(jail) {
            plan.push(Ifconfig::Destroy(member));
        }
    }
    Ok(plan)
}
