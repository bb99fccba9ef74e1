//! Making a pair, as one transaction.

use super::bridge::{self, Bridge, BridgeState};
use super::{
    Addresses, EpairRequest, GROUP, PairState, check_idle, first_free, interim_tag, is_in_group, present,
    scratch_units,
};
use crate::system::host::Host;
use crate::system::ifconfig::Ifconfig;
use crate::system::kernel::{Errno, Kernel, VlanFilter};
use crate::system::plan::{Action, Plan, Undo};
use crate::types::interface::{IfName, Mtu, PairName, VlanId};
use crate::types::jail_name::JailName;
use crate::types::mac::{Mac, PairMacs};
use anyhow::{Context, Result, bail};

/// What a new pair meets on the host.
pub struct NewPair {
    request: EpairRequest,
    /// Whether an earlier run left a pair of these names.
    replaces: bool,
    /// Pairs that killed runs left under units of their own, before they had their
    /// names.
    interim: Vec<PairName>,
    bridge: Bridge,
    mtu: Mtu,
    /// The addresses, if not the kernel's.
    macs: Option<PairMacs>,
    /// The VLAN that the pair is in, on a bridge that filters them.
    vlan: Option<VlanId>,
    /// What an administrator should know.
    pub warnings: Vec<String>,
}

/// Looks at the host. Every reason not to make the pair is found here.
pub fn look(host: &Host, request: &EpairRequest) -> Result<NewPair> {
    let kernel = host.kernel()?;
    let (jail, pair) = (&request.jail, &request.pair);
    let stem: IfName = pair.stem().parse()?;
    if kernel.exists(&stem)? {
        bail!(
            "pair {pair}: an interface of that name exists; the pair would be {} and {}",
            pair.a(),
            pair.b()
        );
    }
    let replaces = match present(kernel, jail, pair)? {
        PairState::Nothing => false,
        PairState::Foreign(owner) => bail!("pair {pair} of jail {jail}: {owner}"),
        PairState::OfJail | PairState::Untagged => {
            check_idle(host, jail, pair)?;
            true
        }
    };
    let bridge = bridge::look(kernel, request)?;
    let mtu = choose_mtu(request, &bridge)?;
    let interim = match pair.unit() {
        Some(_) => Vec::new(),
        None => interim_pairs(kernel, jail, pair)?,
    };
    let (macs, without_uuid) = choose_macs(kernel, request)?;
    let (vlan, without_vlan) = choose_vlan(kernel, request, &bridge)?;
    let warnings = without_uuid.into_iter().chain(without_vlan).collect();
    Ok(NewPair { request: request.clone(), replaces, interim, bridge, mtu, macs, vlan, warnings })
}

/// The VLAN that the pair will be in, and a warning if it will be in none of a
/// bridge that filters them.
fn choose_vlan(
    kernel: &dyn Kernel,
    request: &EpairRequest,
    bridge: &Bridge,
) -> Result<(Option<VlanId>, Option<String>)> {
    let name = &request.bridge;
    let filter = match &bridge.state {
        // A bridge that is made for an uplink filters nothing.
        BridgeState::Missing { .. } | BridgeState::MissingNamed { .. } => Ok(VlanFilter::Off),
        BridgeState::Ready => kernel.vlan_filter(name),
        BridgeState::Unfinished { present, .. } => kernel.vlan_filter(present),
    };
    match (filter, request.isolation.vlan) {
        (Ok(VlanFilter::On { .. }), Some(vlan)) => Ok((Some(vlan), None)),
        (Ok(VlanFilter::On { default: Some(vlan) }), None) => Ok((Some(vlan), None)),
        (Ok(VlanFilter::On { default: None }), None) => {
            let warning = format!(
                "warning: pair {}: bridge {name} filters VLANs and drops all frames from the pair; add --vlan",
                request.pair
            );
            Ok((None, Some(warning)))
        }
        (Ok(VlanFilter::Off), Some(vlan)) => bail!(
            "vlan {vlan}: bridge {name} does not filter VLANs; enable it with ifconfig {name} vlanfilter"
        ),
        (Ok(VlanFilter::Off), None) => Ok((None, None)),
        // FreeBSD 14 does not know the request.
        (Err(e), Some(vlan)) if e.errno == Errno::EINVAL => bail!(
            "vlan {vlan}: bridges of this kernel cannot filter VLANs (those of FreeBSD 15 can); use a bridge for each VLAN"
        ),
        (Err(e), None) if e.errno == Errno::EINVAL => Ok((None, None)),
        (Err(e), _) => Err(e.into()),
    }
}

fn choose_mtu(request: &EpairRequest, bridge: &Bridge) -> Result<Mtu> {
    let (name, of_bridge) = (&request.bridge, bridge.mtu);
    match request.mtu {
        Some(mtu) if bridge.has_members && mtu.bytes() != of_bridge => bail!(
            "mtu {mtu}: bridge {name} and its members have the MTU {of_bridge}; change it with ifconfig {name} mtu {mtu}"
        ),
        // A bridge without members takes the MTU of the first: with -m that is asked for.
        Some(mtu) => Ok(mtu),
        None => Mtu::new(of_bridge)
            .with_context(|| format!("bridge {name}: its MTU of {of_bridge} is not valid for an epair")),
    }
}

/// The Ethernet addresses, and a warning if they are not as they were asked for.
fn choose_macs(kernel: &dyn Kernel, request: &EpairRequest) -> Result<(Option<PairMacs>, Option<String>)> {
    let (jail, pair) = (&request.jail, &request.pair);
    match request.addresses {
        Addresses::Kernel => Ok((None, None)),
        Addresses::Given(macs) => {
            check_macs(kernel, pair, &macs)?;
            Ok((Some(macs), None))
        }
        Addresses::Derived => Ok(match kernel.host_uuid()? {
            Some(uuid) => (Some(PairMacs::derive(&uuid, jail, pair)), None),
            None => {
                let warning = format!(
                    "warning: pair {pair}: kern.hostuuid is not set; the epair keeps the addresses assigned by the kernel"
                );
                (None, Some(warning))
            }
        }),
    }
}

impl NewPair {
    /// The steps that make the pair:
    ///
    /// 1. What an earlier run left under its names is destroyed.
    /// 2. The bridge is made or finished: without one the pair is of no use.
    /// 3. The pair is created, put into the group and described, in this order. Once
    ///    it is described it is proved to be the jail's, whatever happens next.
    /// 4. MTU and Ethernet addresses are set before it joins the bridge, which would
    ///    refuse or change them.
    /// 5. It joins the bridge. What keeps the jail from its neighbors is set before
    ///    the pair comes up, so that no frame passes without it.
    pub fn steps(&self) -> Plan {
        let EpairRequest { jail, pair, bridge, .. } = &self.request;
        let (a, b) = (pair.a(), pair.b());
        let mut plan = Plan::default();
        if self.replaces {
            plan.push(Ifconfig::Destroy(a.clone()));
        }
        plan.append(self.bridge.steps(bridge));
        match pair.unit() {
            Some(_) => {
                plan.push(Ifconfig::Create(pair.stem().into(), a.clone()));
                plan.push(Ifconfig::JoinGroup(a.clone(), GROUP));
                plan.push(Ifconfig::Describe(a.clone(), jail.tag()));
            }
            None => {
                self.interim.iter().for_each(|left| plan.push(Ifconfig::Destroy(left.a())));
                let units = scratch_units("epair", pair.stem()).collect();
                plan.push(CreateRenamedPair { units, pair: pair.clone(), jail: jail.clone() });
            }
        }
        plan.push(Ifconfig::SetMtu(a.clone(), self.mtu));
        plan.push(Ifconfig::SetMtu(b.clone(), self.mtu));
        if let Some(PairMacs { a: mac_a, b: mac_b }) = self.macs {
            plan.push(Ifconfig::SetMac(a.clone(), mac_a));
            plan.push(Ifconfig::SetMac(b, mac_b));
        }
        plan.push(Ifconfig::AddMember { bridge: bridge.clone(), member: a.clone() });
        self.isolate(&mut plan);
        plan.push(Ifconfig::Up(a));
        plan
    }

    /// All of it goes with the member when the pair is destroyed.
    fn isolate(&self, plan: &mut Plan) {
        let EpairRequest { bridge, pair, isolation, .. } = &self.request;
        let (bridge, member) = (|| bridge.clone(), || pair.a());
        if let Some(vlan) = isolation.vlan {
            plan.push(Ifconfig::SetUntagged { bridge: bridge(), member: member(), vlan });
        }
        if isolation.private {
            plan.push(Ifconfig::SetPrivate { bridge: bridge(), member: member() });
        }
        if isolation.pin {
            plan.push(Ifconfig::SetStaticAddress {
                bridge: bridge(),
                member: member(),
                of: pair.b(),
                mac: self.macs.map(|macs| macs.b),
                vlan: self.vlan,
            });
            plan.push(Ifconfig::LimitAddresses { bridge: bridge(), member: member() });
        }
    }
}

/// Pairs that killed runs left under units of their own.
fn interim_pairs(kernel: &dyn Kernel, jail: &JailName, pair: &PairName) -> Result<Vec<PairName>> {
    let interim = interim_tag(jail, pair);
    let mut found = Vec::new();
    let mut may_be_next = true;
    for unit in scratch_units("epair", pair.stem()) {
        let scratch = PairName::of_unit(unit);
        let left = match kernel.description(&scratch.a()) {
            Ok(Some(text)) => text == interim && is_in_group(kernel, &scratch.a())?,
            // Only the unit that would be used next can have been left untagged.
            Ok(None) => may_be_next && matches!(present(kernel, jail, &scratch)?, PairState::Untagged),
            Err(e) if e.errno == Errno::ENXIO => {
                may_be_next = false;
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        if left {
            found.push(scratch);
            may_be_next = false;
        }
    }
    Ok(found)
}

/// Fails when another interface of the host has one of the addresses.
fn check_macs(kernel: &dyn Kernel, pair: &PairName, macs: &PairMacs) -> Result<()> {
    let halves = [pair.a(), pair.b()];
    for (name, bytes) in kernel.ethernet_addresses()? {
        let of = |mac: &&Mac| bytes == Some(mac.bytes());
        if let Some(mac) = [&macs.a, &macs.b].into_iter().find(of)
            && !halves.iter().any(|half| half.as_str() == name)
        {
            bail!("mac {mac}: already used by interface {name}; choose another");
        }
    }
    Ok(())
}

/// Makes a pair under the first free unit of some and gives it its names. A
/// unit may be taken by a pair under any other name, which only an attempt
/// to create it shows.
struct CreateRenamedPair {
    units: Vec<u16>,
    pair: PairName,
    jail: JailName,
}

impl CreateRenamedPair {
    fn naming(&self, scratch: &PairName) -> [Ifconfig; 5] {
        let (pair, jail) = (&self.pair, &self.jail);
        [
            Ifconfig::JoinGroup(scratch.a(), GROUP),
            Ifconfig::Describe(scratch.a(), interim_tag(jail, pair)),
            Ifconfig::Rename(scratch.a(), pair.a()),
            Ifconfig::Rename(scratch.b(), pair.b()),
            Ifconfig::Describe(pair.a(), jail.tag()),
        ]
    }
}

impl Action for CreateRenamedPair {
    fn shell(&self) -> String {
        let Some(scratch) = self.units.first().copied().map(PairName::of_unit) else { return String::new() };
        let create = Ifconfig::Create(scratch.stem().into(), scratch.a());
        let lines = std::iter::once(create).chain(self.naming(&scratch)).map(|step| step.shell());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let pairs = self.units.iter().copied().map(PairName::of_unit);
        let scratch = first_free(host, undo, pairs, |p| Ifconfig::Create(p.stem().into(), p.a()))
            .with_context(|| format!("pair {}", self.pair))?;
        self.naming(&scratch).iter().try_for_each(|step| step.perform(host, undo))?;
        // Should it go back to its first name and stay there, the next run must
        // know it by that.
        undo.push(Ifconfig::Describe(self.pair.a(), interim_tag(&self.jail, &self.pair)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Isolation;
    use super::*;

    fn found(pair: &str, replaces: bool, state: BridgeState) -> NewPair {
        let request = EpairRequest {
            bridge: "igc0bridge".parse().unwrap(),
            jail: "web".parse().unwrap(),
            pair: pair.parse().unwrap(),
            mtu: None,
            addresses: Addresses::Kernel,
            uplink: None,
            isolation: Isolation::default(),
        };
        let bridge = Bridge { state, mtu: 9000, has_members: true };
        let mtu = choose_mtu(&request, &bridge).unwrap();
        NewPair {
            request,
            replaces,
            interim: Vec::new(),
            bridge,
            mtu,
            macs: None,
            vlan: None,
            warnings: Vec::new(),
        }
    }

    /// The commands, without the directory of ifconfig(8).
    fn commands(found: &NewPair) -> Vec<String> {
        found.steps().commands().iter().map(|line| line.replace("/sbin/ifconfig ", "")).collect()
    }

    #[test]
    fn steps_in_order() {
        let made = ["epair5 create", "epair5a group thinjail", "epair5a description jail:web"];
        let joined = ["epair5a mtu 9000", "epair5b mtu 9000", "igc0bridge addm epair5a", "epair5a up"];
        let plain = commands(&found("epair5", false, BridgeState::Ready));
        assert_eq!(plain, [&made[..], &joined[..]].concat());
        let again = commands(&found("epair5", true, BridgeState::Ready));
        assert_eq!(again, [&["epair5a destroy"], &made[..], &joined[..]].concat());
        let uplink = "igc0".parse().unwrap();
        let present = "igc0bridge".parse().unwrap();
        let state = BridgeState::Unfinished { present, uplink, has_uplink: true };
        let unfinished = commands(&found("epair5", false, state));
        let finish = ["igc0bridge description thinjail:igc0bridge", "igc0 up", "igc0bridge up"];
        assert_eq!(unfinished, [&finish[..], &made[..], &joined[..]].concat());
    }

    /// No frame passes before the pair is kept from its neighbors.
    #[test]
    fn isolated_before_it_is_up() {
        let mut found = found("epair5", false, BridgeState::Ready);
        let vlan = VlanId::new(20);
        found.request.isolation = Isolation { pin: true, private: true, vlan };
        found.vlan = vlan;
        let asked = r#"$(/sbin/ifconfig epair5b ether | /usr/bin/awk '$1 == "ether" { print $2 }')"#;
        let isolated = [
            "igc0bridge addm epair5a".to_owned(),
            "igc0bridge ifuntagged epair5a 20".into(),
            "igc0bridge private epair5a".into(),
            format!("igc0bridge static epair5a {} vlan 20", asked.replace("/sbin/ifconfig ", "")),
            "igc0bridge ifmaxaddr epair5a 1".into(),
            "epair5a up".into(),
        ];
        assert!(commands(&found).ends_with(&isolated), "{:#?}", commands(&found));
        found.macs = PairMacs::from_base("02:11:22:33:44:55".parse().unwrap()).ok();
        found.vlan = None;
        assert!(commands(&found).contains(&"igc0bridge static epair5a 02:11:22:33:44:56".into()));
    }

    #[test]
    fn members_share_the_mtu_of_their_bridge() {
        let mut found = found("epair5", false, BridgeState::Ready);
        found.request.mtu = "1500".parse().ok();
        assert!(choose_mtu(&found.request, &found.bridge).unwrap_err().to_string().contains("have the MTU"));
        found.bridge.has_members = false;
        assert_eq!(choose_mtu(&found.request, &found.bridge).unwrap().bytes(), 1500);
    }
}
