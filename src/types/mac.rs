//! Ethernet addresses, given or derived.

use crate::types::interface::PairName;
use crate::types::jail_name::JailName;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A unicast, locally administered Ethernet address (IEEE 802: bit 0 of the
/// first byte clear, bit 1 set), the only kind thinjail assigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

/// Why a string is no usable address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadMac(String);

/// The two addresses of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairMacs {
    /// Of the host's half.
    pub a: Mac,
    /// Of the jail's half.
    pub b: Mac,
}

impl Mac {
    /// The six bytes, in the order of transmission.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }

    fn end_of(host_uuid: &str, jail: &JailName, pair: &PairName, end: char) -> Mac {
        // NUL cannot occur in any part, so no two inputs run together.
        let mut hash = Sha256::new();
        for part in ["thinjail", host_uuid, jail.as_str(), pair.stem()] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hash.update([end as u8]);
        let d = hash.finalize();
        Mac([d[0] & 0xfc | 0x02, d[1], d[2], d[3], d[4], d[5]])
    }
}

impl PairMacs {
    /// Addresses that stay the same whenever this jail's pair is made on this
    /// host, and differ between hosts, jails, pairs and ends: 46 bits of a
    /// SHA-256. The kernel's own have 16 (freebsd-src: sys/net/if_ethersubr.c,
    /// ether_gen_addr) or change each time (before 15.0).
    pub fn derive(host_uuid: &str, jail: &JailName, pair: &PairName) -> PairMacs {
        PairMacs { a: Mac::end_of(host_uuid, jail, pair, 'a'), b: Mac::end_of(host_uuid, jail, pair, 'b') }
    }

    /// `base` for the a end and the next address for the b end.
    pub fn from_base(base: Mac) -> Result<PairMacs, BadMac> {
        let mut next = base.0;
        for byte in next.iter_mut().skip(1).rev() {
            let (value, carry) = byte.overflowing_add(1);
            *byte = value;
            if !carry {
                return Ok(PairMacs { a: base, b: Mac(next) });
            }
        }
        Err(BadMac(format!("{base} has no next address for the b end")))
    }
}

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(s: &str) -> Result<Self, BadMac> {
        let shape = || BadMac("an Ethernet address is six hexadecimal bytes: 02:11:22:33:44:55".into());
        let mut bytes = [0; 6];
        let mut parts = s.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(shape)?;
            if part.is_empty() || part.len() > 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(shape());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| shape())?;
        }
        if parts.next().is_some() {
            return Err(shape());
        }
        if bytes[0] & 3 != 2 {
            let mut near = bytes;
            near[0] = near[0] & 0xfc | 2;
            let kind = if bytes[0] & 1 != 0 { "a multicast" } else { "a globally administered" };
            return Err(BadMac(format!("{} is {kind} address; use, for example, {}", Mac(bytes), Mac(near))));
        }
        Ok(Mac(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const UUID: &str = "e541fb31-9cb8-41ff-addc-b3b79fa4614f";

    fn derived(uuid: &str, jail: &str, pair: &str) -> PairMacs {
        PairMacs::derive(uuid, &jail.parse().unwrap(), &pair.parse().unwrap())
    }

    #[test]
    fn never_changes_between_versions() {
        // A changed address loses DHCP leases and ARP entries: these two values
        // are a promise to every host that runs jails today.
        let m = derived(UUID, "web", "epair10");
        assert_eq!((m.a.to_string(), m.b.to_string()), (PIN_A.into(), PIN_B.into()));
    }
    const PIN_A: &str = "76:35:f7:30:74:1c";
    const PIN_B: &str = "62:ad:ee:4f:5d:af";

    #[test]
    fn no_two_alike() {
        let mut seen = HashSet::new();
        for host in 0..10 {
            for jail in 0..100 {
                for pair in 0..10 {
                    let m = derived(&format!("{UUID}{host}"), &format!("j{jail}"), &format!("epair{pair}"));
                    assert!(seen.insert(m.a) && seen.insert(m.b));
                }
            }
        }
        // At least 40 bits vary: every bit but the two fixed ones was seen both ways.
        let (ones, zeros) = seen.iter().fold((0u64, 0u64), |(o, z), m| {
            let v = m.bytes().iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
            (o | v, z | !v)
        });
        assert_eq!((ones & zeros & 0xffff_ffff_ffff).count_ones(), 46);
    }

    #[test]
    fn bases() {
        let of = |s: &str| PairMacs::from_base(s.parse().unwrap());
        assert_eq!(of("02:aa:bb:cc:dd:0a").unwrap().b.to_string(), "02:aa:bb:cc:dd:0b");
        assert_eq!(of("02:aa:bb:cc:ff:ff").unwrap().b.to_string(), "02:aa:bb:cd:00:00");
        assert!(of("02:ff:ff:ff:ff:ff").is_err());
    }

    #[test]
    fn refused() {
        for s in [
            "",
            "02:11:22:33:44",
            "02:11:22:33:44:55:66",
            "02-11-22-33-44-55",
            "02:11:22:33:44:gg",
            "02:11:22:33:44:+5",
        ] {
            assert!(s.parse::<Mac>().is_err(), "{s:?}");
        }
        let multicast = "03:11:22:33:44:55".parse::<Mac>().unwrap_err().to_string();
        assert!(multicast.contains("use, for example, 02:11:22:33:44:55"), "{multicast}");
        assert!("58:9c:fc:10:90:df".parse::<Mac>().unwrap_err().to_string().contains("5a:9c:fc"));
        assert_eq!("2:1:2:3:4:5".parse::<Mac>().unwrap().to_string(), "02:01:02:03:04:05");
    }

    proptest! {
        #[test]
        fn text_round_trip(bytes: [u8; 6]) {
            let m = Mac([bytes[0] & 0xfc | 2, bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]]);
            prop_assert_eq!(m.to_string().parse::<Mac>().unwrap(), m);
            if let Ok(pair) = PairMacs::from_base(m) {
                prop_assert_ne!(pair.a, pair.b);
                prop_assert_eq!(pair.b.bytes()[0] & 3, 2);
            }
        }
    }
}
