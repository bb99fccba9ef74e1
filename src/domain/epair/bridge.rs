//! The bridge that a pair joins, made for an uplink where it is missing.

use super::EpairRequest;
use super::{GROUP, first_free, scratch_units};
use crate::system::host::Host;
use crate::system::ifconfig::Ifconfig;
use crate::system::kernel::{Errno, Kernel};
use crate::system::plan::{Action, Plan, Undo};
use crate::types::interface::IfName;
use anyhow::{Context, Result, bail};

/// A bridge as it is found.
pub(super) enum BridgeState {
    /// It is used as it is.
    Ready,
    /// It is a bridge, perhaps under an interim name, that is not finished yet.
    Unfinished {
        /// The name it has.
        present: IfName,
        /// The uplink it is to have.
        uplink: IfName,
        /// Whether it has it.
        has_uplink: bool,
    },
    /// It does not exist, and its name is one that the kernel gives.
    Missing {
        /// The uplink it is to have.
        uplink: IfName,
    },
    /// It does not exist, and has to be renamed after it was made.
    MissingNamed {
        /// The uplink it is to have.
        uplink: IfName,
    },
}

/// What is known of the bridge that a pair joins.
pub(super) struct Bridge {
    pub(super) state: BridgeState,
    /// Its MTU in bytes, or the one that it will have.
    pub(super) mtu: u32,
    /// Whether it has members, or will have.
    pub(super) has_members: bool,
}

/// Looks at the bridge. Fails unless it can be joined, or made where `-u` allows.
pub(super) fn look(kernel: &dyn Kernel, request: &EpairRequest) -> Result<Bridge> {
    let bridge = &request.bridge;
    match kernel.bridge_members(bridge) {
        Ok(members) => look_at_present(kernel, request, &members),
        Err(e) if e.errno == Errno::ENXIO => {
            let Some(uplink) = &request.uplink else {
                bail!(
                    "bridge {bridge} does not exist; create it (ifconfig bridge create name {bridge}, or reboot if rc.conf has it), or name its uplink with -u"
                );
            };
            let mtu = check_uplink(kernel, request, uplink)?;
            let state = match bridge.driver_and_unit() {
                Some(("bridge", _)) => BridgeState::Missing { uplink: uplink.clone() },
                _ => match left_bridge(kernel, bridge)? {
                    Some(present) => BridgeState::Unfinished {
                        present,
                        uplink: uplink.clone(),
                        has_uplink: kernel.bridge_of(uplink)?.is_some(),
                    },
                    None => BridgeState::MissingNamed { uplink: uplink.clone() },
                },
            };
            Ok(Bridge { state, mtu, has_members: true })
        }
        Err(e) if e.errno == Errno::EINVAL => bail!("{bridge} is not a bridge"),
        Err(e) => Err(e.into()),
    }
}

fn look_at_present(kernel: &dyn Kernel, request: &EpairRequest, members: &[IfName]) -> Result<Bridge> {
    let bridge = &request.bridge;
    let ready = || -> Result<Bridge> {
        let mtu = kernel.mtu(bridge)?;
        Ok(Bridge { state: BridgeState::Ready, mtu, has_members: !members.is_empty() })
    };
    let Some(uplink) = &request.uplink else { return ready() };
    // A run killed before it was done left the tag, or nothing at all.
    let unfinished = match kernel.description(bridge)? {
        Some(text) if text == bridge_tag(bridge) => {
            !members.contains(uplink) || !kernel.is_up(bridge)? || !kernel.is_up(uplink)?
        }
        Some(_) => false,
        None => members.is_empty() && !kernel.is_up(bridge)?,
    };
    if !unfinished {
        return ready();
    }
    let mtu = check_uplink(kernel, request, uplink)?;
    let has_uplink = kernel.bridge_of(uplink)?.is_some();
    let state = BridgeState::Unfinished { present: bridge.clone(), uplink: uplink.clone(), has_uplink };
    Ok(Bridge { state, mtu, has_members: true })
}

impl Bridge {
    /// The steps that make or finish it. The description comes first: with it the
    /// next run knows what a killed one left.
    pub(super) fn steps(&self, bridge: &IfName) -> Plan {
        let mut plan = Plan::default();
        match &self.state {
            BridgeState::Ready => {}
            BridgeState::Unfinished { present, uplink, has_uplink } => {
                finish(present, bridge, uplink, *has_uplink, &mut plan);
                if present != bridge {
                    plan.push(Ifconfig::Rename(present.clone(), bridge.clone()));
                }
            }
            BridgeState::Missing { uplink } => {
                plan.push(Ifconfig::CreateBridge { bridge: bridge.clone(), uplink: uplink.clone() });
                finish(bridge, bridge, uplink, false, &mut plan);
            }
            BridgeState::MissingNamed { uplink } => {
                plan.push(CreateRenamedBridge { bridge: bridge.clone(), uplink: uplink.clone() });
            }
        }
        plan
    }
}

/// Tags a bridge, adds its uplink and brings both up.
fn finish(present: &IfName, bridge: &IfName, uplink: &IfName, has_uplink: bool, plan: &mut Plan) {
    plan.push(Ifconfig::Describe(present.clone(), bridge_tag(bridge)));
    if !has_uplink {
        plan.push(Ifconfig::AddMember { bridge: present.clone(), member: uplink.clone() });
    }
    plan.push(Ifconfig::Up(uplink.clone()));
    plan.push(Ifconfig::Up(present.clone()));
}

/// Description of a bridge that was made for an uplink.
fn bridge_tag(bridge: &IfName) -> String {
    format!("{GROUP}:{bridge}")
}

/// Fails unless `uplink` can become a member. Gives its MTU, which the new
/// bridge takes over.
fn check_uplink(kernel: &dyn Kernel, request: &EpairRequest, uplink: &IfName) -> Result<u32> {
    let mtu = kernel.mtu(uplink).with_context(|| format!("uplink {uplink}"))?;
    if let Some(other) = kernel.bridge_of(uplink)?
        && kernel.description(&other)?.as_deref() != Some(&bridge_tag(&request.bridge))
    {
        bail!("uplink {uplink} is already a member of bridge {other}; use that bridge with -b");
    }
    if request.mtu.is_some_and(|m| m.bytes() != mtu) {
        bail!("mtu: the bridge gets the MTU of its uplink {uplink}, {mtu}");
    }
    Ok(mtu)
}

fn scratch_bridges(bridge: &IfName) -> impl Iterator<Item = IfName> {
    scratch_units("bridge", bridge.as_str()).filter_map(|unit| format!("bridge{unit}").parse().ok())
}

/// The bridgeN that a killed run left when it was to become `bridge`.
fn left_bridge(kernel: &dyn Kernel, bridge: &IfName) -> Result<Option<IfName>> {
    for scratch in scratch_bridges(bridge) {
        let members = match kernel.bridge_members(&scratch) {
            // Only the unit that would be used next can have been left untagged.
            Err(e) if e.errno == Errno::ENXIO => return Ok(None),
            Err(_) => continue,
            Ok(members) => members,
        };
        let left = match kernel.description(&scratch)? {
            Some(text) => text == bridge_tag(bridge),
            None => members.is_empty() && !kernel.is_up(&scratch)?,
        };
        if left {
            return Ok(Some(scratch));
        }
    }
    Ok(None)
}

/// Makes a bridge for an uplink under the first free unit of some. The name
/// comes last: under it there is never half a bridge.
struct CreateRenamedBridge {
    bridge: IfName,
    uplink: IfName,
}

impl CreateRenamedBridge {
    fn create(&self, scratch: &IfName) -> Ifconfig {
        Ifconfig::CreateBridge { bridge: scratch.clone(), uplink: self.uplink.clone() }
    }

    fn finish(&self, scratch: &IfName) -> [Ifconfig; 5] {
        [
            Ifconfig::Describe(scratch.clone(), bridge_tag(&self.bridge)),
            Ifconfig::AddMember { bridge: scratch.clone(), member: self.uplink.clone() },
            Ifconfig::Up(self.uplink.clone()),
            Ifconfig::Up(scratch.clone()),
            Ifconfig::Rename(scratch.clone(), self.bridge.clone()),
        ]
    }
}

impl Action for CreateRenamedBridge {
    fn shell(&self) -> String {
        let Some(scratch) = scratch_bridges(&self.bridge).next() else { return String::new() };
        let lines =
            std::iter::once(self.create(&scratch)).chain(self.finish(&scratch)).map(|step| step.shell());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let scratch = first_free(host, undo, scratch_bridges(&self.bridge), |b| self.create(b))
            .with_context(|| format!("bridge {}", self.bridge))?;
        self.finish(&scratch).iter().try_for_each(|step| step.perform(host, undo))
    }
}
