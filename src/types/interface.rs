//! Names of interfaces and of epairs.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Longest interface name in bytes: IFNAMSIZ less the NUL
/// (freebsd-src: sys/net/if.h).
pub const IF_NAME_MAX: usize = 15;

/// Highest unit a cloned interface can have: IF_MAXUNIT
/// (freebsd-src: sys/net/if_var.h).
pub const UNIT_MAX: u16 = 0x7fff;

/// Why a string names no interface or no pair.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadInterface(String);

fn bad<T>(why: impl Into<String>) -> Result<T, BadInterface> {
    Err(BadInterface(why.into()))
}

/// The name of one interface: 1 to 15 bytes, visible ASCII without `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName(String);

impl IfName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Splits `bridge7` into driver and unit. `None` when the name does not end
    /// in a unit as the kernel writes one (no leading zero, at most
    /// [`UNIT_MAX`]).
    pub fn driver_and_unit(&self) -> Option<(&str, u16)> {
        split_unit(&self.0)
    }
}

fn split_unit(name: &str) -> Option<(&str, u16)> {
    let driver = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[driver.len()..];
    let unit: u16 = digits.parse().ok()?;
    (!driver.is_empty() && unit <= UNIT_MAX && unit.to_string() == digits).then_some((driver, unit))
}

impl FromStr for IfName {
    type Err = BadInterface;

    fn from_str(s: &str) -> Result<Self, BadInterface> {
        if s.is_empty() {
            return bad("an interface name cannot be empty");
        }
        if s.len() > IF_NAME_MAX {
            return bad("an interface name is at most 15 bytes long");
        }
        if s.starts_with('-') || !s.bytes().all(|b| b.is_ascii_graphic() && b != b'/') {
            return bad("an interface name is made of visible ASCII characters without /, no leading dash");
        }
        Ok(IfName(s.to_owned()))
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The stem of an epair: `epair253` for epair253a and epair253b, `web0` for a
/// pair renamed to web0a and web0b. Both names fit into [`IF_NAME_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairName {
    stem: String,
    unit: Option<u16>,
}

/// Cloners of the base system whose names a pair must not borrow: `lo0` asks
/// for a loopback, not for a pair (freebsd-src: sys/net, sys/netgraph).
const OTHER_DRIVERS: &[&str] = &[
    "bridge", "disc", "edsc", "enc", "faith", "gif", "gre", "ipsec", "lagg", "lo", "me", "ovpn", "pflog",
    "pfsync", "stf", "tap", "tun", "vlan", "vmnet", "vxlan", "wg",
];

impl PairName {
    /// The stem as text.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// The host's half, the bridge member.
    pub fn a(&self) -> IfName {
        IfName(format!("{}a", self.stem))
    }

    /// The jail's half.
    pub fn b(&self) -> IfName {
        IfName(format!("{}b", self.stem))
    }

    /// The unit asked for when the stem is `epairN`; `None` for any other stem,
    /// whose halves are renamed.
    pub fn unit(&self) -> Option<u16> {
        self.unit
    }

    /// The pair of one unit under the names the kernel gives it.
    pub fn of_unit(unit: u16) -> PairName {
        PairName { stem: format!("epair{unit}"), unit: Some(unit) }
    }
}

impl FromStr for PairName {
    type Err = BadInterface;

    fn from_str(s: &str) -> Result<Self, BadInterface> {
        if s.is_empty() {
            return bad("the name of a pair cannot be empty");
        }
        if s.len() + 1 > IF_NAME_MAX {
            return bad("the name of a pair is at most 14 bytes long, to leave room for the suffix a or b");
        }
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || b == b'.';
        if !s.starts_with(|c: char| c.is_ascii_alphabetic()) || !s.bytes().all(word) {
            return bad("the name of a pair starts with a letter, followed by letters, digits, _ - and .");
        }
        if let Some(rest) = s.strip_prefix("epair") {
            let digits = rest.trim_end_matches(['a', 'b']);
            if rest.len() == digits.len() + 1 && digits.bytes().all(|b| b.is_ascii_digit()) {
                return bad(format!("{s} is one end of an epair; give the name of the pair: epair{digits}"));
            }
            if rest.is_empty() {
                return bad("epair has no unit number: epair0 to epair32767");
            }
            if rest.bytes().all(|b| b.is_ascii_digit()) {
                return match split_unit(s) {
                    Some((_, unit)) => Ok(PairName::of_unit(unit)),
                    None if rest.starts_with('0') => bad("the unit of an epair has no leading zero"),
                    None => bad("the unit of an epair is at most 32767"),
                };
            }
        }
        if let Some((driver, _)) = split_unit(s)
            && OTHER_DRIVERS.contains(&driver)
        {
            return bad(format!("{s} is the name of a {driver}(4) interface, not of an epair"));
        }
        Ok(PairName { stem: s.to_owned(), unit: None })
    }
}

impl fmt::Display for PairName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stem)
    }
}

/// An MTU in bytes, within IF_MINMTU and IF_MAXMTU (freebsd-src: sys/net/if.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mtu(u32);

impl Mtu {
    /// Checks the range 72 to 65535.
    pub fn new(bytes: u32) -> Option<Mtu> {
        (72..=65535).contains(&bytes).then_some(Mtu(bytes))
    }

    /// The MTU in bytes.
    pub fn bytes(self) -> u32 {
        self.0
    }
}

impl FromStr for Mtu {
    type Err = BadInterface;

    fn from_str(s: &str) -> Result<Self, BadInterface> {
        let mtu = s.parse().ok().and_then(Mtu::new);
        mtu.ok_or_else(|| BadInterface("an MTU is a number of bytes between 72 and 65535".into()))
    }
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A VLAN ID that a port can have: 1 to 4094 (freebsd-src: sys/net/if_vlan_var.h,
/// DOT1Q_VID_MIN and DOT1Q_VID_MAX).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VlanId(u16);

impl VlanId {
    /// Checks the range.
    pub fn new(id: u16) -> Option<VlanId> {
        (1..=4094).contains(&id).then_some(VlanId(id))
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl FromStr for VlanId {
    type Err = BadInterface;

    fn from_str(s: &str) -> Result<Self, BadInterface> {
        let digits = s.bytes().all(|b| b.is_ascii_digit());
        let id = s.parse().ok().filter(|_| digits).and_then(VlanId::new);
        id.ok_or_else(|| BadInterface("a VLAN ID is a number from 1 to 4094".into()))
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(s: &str) -> Result<PairName, BadInterface> {
        s.parse()
    }

    #[test]
    fn pairs() {
        assert_eq!(pair("epair253").unwrap().unit(), Some(253));
        assert_eq!(pair("epair0").unwrap().unit(), Some(0));
        assert_eq!(pair("epair32767").unwrap().unit(), Some(32767));
        assert_eq!(pair("web0").unwrap().unit(), None);
        assert_eq!(pair("epairs").unwrap().unit(), None);
        assert_eq!(pair("fourteen_bytes").unwrap().a().as_str(), "fourteen_bytesa");
        for refused in [
            "",
            "epair",
            "epair32768",
            "epair99999999999",
            "epair05",
            "epair5a",
            "epair5b",
            "lo0",
            "bridge7",
            "fifteen_bytes_x",
            "sixteen_bytes_xx",
            "0web",
            "-web",
            "a b",
            "a/b",
            "caf\u{e9}",
        ] {
            assert!(pair(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn vlans() {
        for (text, number) in [("1", Some(1)), ("020", Some(20)), ("4094", Some(4094))] {
            assert_eq!(text.parse::<VlanId>().ok().map(VlanId::number), number);
        }
        for refused in ["", "0", "4095", "65537", "+5", "-1", "a", "1 "] {
            assert!(refused.parse::<VlanId>().is_err(), "{refused:?}");
        }
    }

    #[test]
    fn units() {
        let unit = |s: &str| s.parse::<IfName>().unwrap().driver_and_unit().map(|(d, u)| (d.to_owned(), u));
        assert_eq!(unit("bridge7"), Some(("bridge".into(), 7)));
        assert_eq!(unit("igc0bridge"), None);
        assert_eq!(unit("bridge07"), None);
        assert_eq!(unit("bridge40000"), None);
        assert_eq!(unit("7"), None);
    }

    proptest! {
        #[test]
        fn a_pair_has_two_valid_names(s in "\\PC{0,20}") {
            if let Ok(p) = pair(&s) {
                prop_assert!(p.a().as_str().parse::<IfName>().is_ok());
                prop_assert!(p.b().as_str().parse::<IfName>().is_ok());
                prop_assert_ne!(p.a(), p.b());
                prop_assert_eq!(pair(p.stem()).unwrap(), p);
            }
        }
    }
}
