//! Addresses of jails: the network they come from and how an id picks one.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use thiserror::Error;

/// A jail's id: `$id` in jail.conf. It picks the address and is the unit of the
/// epair as well, hence at most 32767.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u16);

/// Why an id, an address or a network is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadAddress(String);

fn bad<T>(why: impl Into<String>) -> Result<T, BadAddress> {
    Err(BadAddress(why.into()))
}

impl Id {
    /// The highest id.
    pub const MAX: u16 = crate::types::interface::UNIT_MAX;

    /// An id from 1 to [`Id::MAX`].
    pub fn new(number: u16) -> Option<Id> {
        (1..=Id::MAX).contains(&number).then_some(Id(number))
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl FromStr for Id {
    type Err = BadAddress;

    fn from_str(s: &str) -> Result<Self, BadAddress> {
        let id = s.parse().ok().and_then(Id::new).filter(|id| id.to_string() == s);
        id.ok_or_else(|| {
            BadAddress("an id is a number from 1 to 32767 (it is the unit of the epair too)".into())
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Ids in ranges: `10-99`, `200-250,300`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdRanges(Vec<(Id, Id)>);

impl IdRanges {
    /// The ids, in the order of the ranges.
    pub fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        self.0.iter().flat_map(|(first, last)| (first.0..=last.0).filter_map(Id::new))
    }
}

impl FromStr for IdRanges {
    type Err = BadAddress;

    fn from_str(s: &str) -> Result<Self, BadAddress> {
        let range = |text: &str| -> Result<(Id, Id), BadAddress> {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let (first, last) = (first.trim().parse::<Id>()?, last.trim().parse::<Id>()?);
            if first > last {
                return bad(format!("{text}: the first id is higher than the last"));
            }
            Ok((first, last))
        };
        Ok(IdRanges(s.split(',').map(range).collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for IdRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// An address with an optional prefix length, as `-i` and `-6` take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<A> {
    /// The address.
    pub address: A,
    /// The prefix length, if given.
    pub prefix: Option<u8>,
}

impl<A: FromStr> Address<A> {
    fn parse(s: &str, max: u8, kind: &str) -> Result<Self, BadAddress> {
        let (text, prefix) = match s.split_once('/') {
            Some((text, digits)) => {
                let plain =
                    !digits.is_empty() && digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit());
                match digits.parse::<u8>().ok().filter(|p| plain && *p >= 1 && *p <= max) {
                    Some(prefix) => (text, Some(prefix)),
                    None => return bad(format!("the prefix length is a number from 1 to {max}")),
                }
            }
            None => (s, None),
        };
        match text.parse() {
            Ok(address) => Ok(Address { address, prefix }),
            Err(_) => bad(format!("not an {kind} address")),
        }
    }
}

impl FromStr for Address<Ipv4Addr> {
    type Err = BadAddress;

    fn from_str(s: &str) -> Result<Self, BadAddress> {
        Address::parse(s, 32, "IPv4")
    }
}

impl FromStr for Address<Ipv6Addr> {
    type Err = BadAddress;

    fn from_str(s: &str) -> Result<Self, BadAddress> {
        Address::parse(s, 128, "IPv6")
    }
}

/// A jail's address and how jail.conf is to spell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The address with its prefix length.
    pub net: IpNet,
    /// The text, which may contain `${id}`.
    pub text: String,
}

impl Chosen {
    /// The address alone.
    pub fn address(&self) -> IpAddr {
        self.net.addr()
    }
}

/// `network + id`, spelled with `${id}` in a /24, written out in any other.
pub fn v4_of_id(network: Ipv4Net, id: Id) -> Result<Chosen, BadAddress> {
    let host = u32::from(id.0);
    let address = u32::from(network.network()).checked_add(host).map(Ipv4Addr::from);
    let Some(address) = address.filter(|a| network.contains(a)) else {
        return bad(format!("its address is outside the network {network}"));
    };
    check_v4_host(network, address)?;
    let net = Ipv4Net::new_assert(address, network.prefix_len());
    let text = if network.prefix_len() == 24 {
        let [a, b, c, _] = address.octets();
        format!("{a}.{b}.{c}.${{id}}/24")
    } else {
        net.to_string()
    };
    Ok(Chosen { net: net.into(), text })
}

/// The same for IPv6. Up to a /112 the decimal digits of the id are the last
/// group (`fd00:7::${id}/64`, so that .211 and ::211 are the same jail), split
/// by fours when there are more than four; in a longer prefix it is network + id.
pub fn v6_of_id(network: Ipv6Net, id: Id) -> Result<Chosen, BadAddress> {
    let prefix = network.prefix_len();
    let base = u128::from(network.network());
    let digits = u128::from_str_radix(&id.to_string(), 16).unwrap_or(0);
    let address = if prefix <= 112 { base.checked_add(digits) } else { base.checked_add(u128::from(id.0)) };
    let Some(address) = address.map(Ipv6Addr::from).filter(|a| network.contains(a)) else {
        return bad(format!("its address is outside the network {network}"));
    };
    let net = Ipv6Net::new_assert(address, prefix);
    let base_text = network.network().to_string();
    let text = match base_text.strip_suffix("::") {
        Some(head) if prefix <= 112 && id.0 <= 9999 => format!("{head}::${{id}}/{prefix}"),
        _ => net.to_string(),
    };
    Ok(Chosen { net: net.into(), text })
}

fn check_v4_host(network: Ipv4Net, address: Ipv4Addr) -> Result<(), BadAddress> {
    if network.prefix_len() <= 30 {
        if address == network.network() {
            return bad(format!("{address} is the address of the network {network} itself"));
        }
        if address == network.broadcast() {
            return bad(format!("{address} is the broadcast address of {network}"));
        }
    }
    Ok(())
}

/// The address given with `-i`, completed and checked against `jail_net`.
pub fn v4_given(given: Address<Ipv4Addr>, network: Option<Ipv4Net>) -> Result<Chosen, BadAddress> {
    let address = given.address;
    let prefix = match (given.prefix, network) {
        (_, Some(network)) if !network.contains(&address) => {
            return bad(format!("{address} is outside the network {network} (jail_net)"));
        }
        (Some(prefix), Some(network)) if prefix != network.prefix_len() => {
            return bad(format!("/{prefix} is not the prefix of the network {network} (jail_net)"));
        }
        (Some(prefix), _) => prefix,
        (None, Some(network)) => network.prefix_len(),
        (None, None) => return bad(format!("{address} needs a prefix length: {address}/24")),
    };
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback() {
        return bad(format!("{address} cannot be the address of a jail"));
    }
    let net = Ipv4Net::new_assert(address, prefix);
    check_v4_host(net.trunc(), address)?;
    Ok(Chosen { net: net.into(), text: net.to_string() })
}

/// The address given with `-6`, completed and checked against `jail_net6`.
pub fn v6_given(given: Address<Ipv6Addr>, network: Option<Ipv6Net>) -> Result<Chosen, BadAddress> {
    let address = given.address;
    let prefix = match (given.prefix, network) {
        (_, Some(network)) if !network.contains(&address) => {
            return bad(format!("{address} is outside the network {network} (jail_net6)"));
        }
        (Some(prefix), Some(network)) if prefix != network.prefix_len() => {
            return bad(format!("/{prefix} is not the prefix of the network {network} (jail_net6)"));
        }
        (Some(prefix), _) => prefix,
        (None, Some(network)) => network.prefix_len(),
        (None, None) => return bad(format!("{address} needs a prefix length: {address}/64")),
    };
    // ifconfig(8) would want a zone with it, and every interface makes its own.
    if address.is_unicast_link_local() {
        return bad(format!("{address} is a link-local address; the jail's interface creates its own"));
    }
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return bad(format!("{address} cannot be the address of a jail"));
    }
    let net = Ipv6Net::new_assert(address, prefix);
    Ok(Chosen { net: net.into(), text: net.to_string() })
}

/// The id that belongs to an address in a network, where one does.
pub fn id_of_v4(network: Ipv4Net, address: Ipv4Addr) -> Option<Id> {
    let host = u32::from(address).checked_sub(u32::from(network.network()))?;
    network.contains(&address).then_some(())?;
    Id::new(u16::try_from(host).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: u16) -> Id {
        Id::new(n).unwrap()
    }

    fn v4(net: &str, n: u16) -> Result<String, String> {
        v4_of_id(net.parse().unwrap(), id(n)).map(|c| c.text).map_err(|e| e.to_string())
    }

    fn v6(net: &str, n: u16) -> String {
        v6_of_id(net.parse().unwrap(), id(n)).unwrap().text
    }

    #[test]
    fn ids() {
        for bad in ["", "0", "00", "01", "+1", "-1", "32768", "65536", "99999999999999999999", "1a", " 1"] {
            assert!(bad.parse::<Id>().is_err(), "{bad:?}");
        }
        assert_eq!("111".parse::<Id>().unwrap(), id(111));
        assert_eq!("32767".parse::<Id>().unwrap(), id(32767));
    }

    #[test]
    fn ranges() {
        let ranges: IdRanges = "10-12, 300,7-7".parse().unwrap();
        assert_eq!(ranges.ids().map(Id::number).collect::<Vec<_>>(), [10, 11, 12, 300, 7]);
        assert_eq!(ranges.to_string(), "10-12,300,7");
        for bad in ["", "0-5", "9-8", "1-", "-1", "1,,2", "1-2-3", "a", "1-40000"] {
            assert!(bad.parse::<IdRanges>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn v4_by_id() {
        assert_eq!(v4("192.168.7.0/24", 111).unwrap(), "192.168.7.${id}/24");
        assert_eq!(v4("10.1.0.0/16", 300).unwrap(), "10.1.1.44/16");
        assert_eq!(v4("192.168.7.128/25", 5).unwrap(), "192.168.7.133/25");
        assert!(v4("192.168.7.0/24", 255).unwrap_err().contains("broadcast"));
        assert!(v4("192.168.7.0/24", 256).unwrap_err().contains("outside"));
        assert!(v4("192.168.7.128/25", 127).unwrap_err().contains("broadcast"));
        assert!(v4("255.255.255.0/24", 300).unwrap_err().contains("outside"));
    }

    #[test]
    fn v6_by_id() {
        assert_eq!(v6("fd00:7::/64", 211), "fd00:7::${id}/64");
        assert_eq!(v6("fd00:7::/64", 12345), "fd00:7::1:2345/64");
        assert_eq!(v6("fd00:7::100/120", 5), "fd00:7::105/120");
        assert_eq!(v6("fd00:7:1:2:3:4:5:0/112", 9), "fd00:7:1:2:3:4:5:9/112");
    }

    #[test]
    fn given() {
        let net = Some("192.168.7.0/24".parse().unwrap());
        let of = |s: &str, net| v4_given(s.parse::<Address<Ipv4Addr>>().unwrap(), net);
        assert_eq!(of("192.168.7.50", net).unwrap().text, "192.168.7.50/24");
        assert_eq!(of("10.0.0.1/8", None).unwrap().text, "10.0.0.1/8");
        for (address, net) in [
            ("192.168.8.50", net),
            ("192.168.7.50/16", net),
            ("192.168.7.0", net),
            ("192.168.7.255", net),
            ("10.0.0.1", None),
            ("127.0.0.1/8", None),
            ("224.0.0.1/4", None),
        ] {
            assert!(of(address, net).is_err(), "{address}");
        }
        for bad in
            ["fd00::1", "1.2.3", "1.2.3.4/", "1.2.3.4/0", "1.2.3.4/33", "1.2.3.4/+8", "1.2.3.4/24/24", ""]
        {
            assert!(bad.parse::<Address<Ipv4Addr>>().is_err(), "{bad:?}");
        }
        assert!("1.2.3.4".parse::<Address<Ipv6Addr>>().is_err());
    }

    proptest! {
        #[test]
        fn no_two_ids_share_an_address(prefix in 8u8..=30, a in 1u16..=32767, b in 1u16..=32767) {
            prop_assume!(a != b);
            let net = Ipv4Net::new(Ipv4Addr::new(10, 0, 0, 0), prefix).unwrap();
            if let (Ok(x), Ok(y)) = (v4_of_id(net, id(a)), v4_of_id(net, id(b))) {
                prop_assert_ne!(x.net, y.net);
                prop_assert!(IpNet::from(net).contains(&x.address()));
                prop_assert_eq!(x.text.replace("${id}", &a.to_string()), x.net.to_string());
            }
            for prefix in [64, 96, 112] {
                let net = Ipv6Net::new("fd00:7::".parse().unwrap(), prefix).unwrap();
                if let (Ok(x), Ok(y)) = (v6_of_id(net, id(a)), v6_of_id(net, id(b))) {
                    prop_assert_ne!(x.net, y.net);
                    let spelled: Ipv6Net = x.text.replace("${id}", &a.to_string()).parse().unwrap();
                    prop_assert_eq!(IpNet::from(spelled), x.net);
                }
            }
        }
    }
}
