//! The words of `ifconfig_IF` in rc.conf(5): those that are the address of an
//! interface, and those that are about the interface itself.

use thiserror::Error;

/// A value taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IfconfigLine {
    /// How the interface gets its IPv4 address.
    pub address: AddressSource,
    /// Words about the interface itself, such as `mtu 9000`.
    pub link: Vec<String>,
}

/// How an interface gets an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AddressSource {
    /// It has none.
    #[default]
    None,
    /// By DHCP.
    Dhcp,
    /// These words for ifconfig(8) set it.
    Static(Vec<String>),
}

/// Why the address cannot be moved to another interface.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotMovable {
    /// A wireless interface.
    #[error("\"{0}\" is about a wireless network")]
    Wireless(String),
    /// A word whose effect depends on the interface.
    #[error("\"{0}\" cannot be moved to a bridge")]
    Word(String),
}

/// Takes the value of `ifconfig_IF` apart.
pub fn split(value: &str) -> Result<IfconfigLine, NotMovable> {
    let mut line = IfconfigLine::default();
    let mut address = Vec::new();
    let mut words = value.split_whitespace().map(str::to_owned).peekable();
    while let Some(word) = words.next() {
        match word.to_ascii_uppercase().as_str() {
            "DHCP" | "SYNCDHCP" | "NOSYNCDHCP" => {
                line.address = AddressSource::Dhcp;
                continue;
            }
            "NOAUTO" | "UP" => continue,
            "WPA" | "HOSTAP" => return Err(NotMovable::Wireless(word)),
            "AUTOBRIDGE" => return Err(NotMovable::Word(word)),
            _ => {}
        }
        match word.as_str() {
            "inet" | "alias" => address.push(word),
            "netmask" | "broadcast" => {
                address.push(word);
                address.extend(words.next());
            }
            "vhid" | "vlan" | "vlandev" | "ssid" | "bssid" | "tunnel" | "laggport" | "laggproto" => {
                return Err(NotMovable::Word(word));
            }
            _ if is_address(&word) => address.push(word),
            _ => line.link.push(word),
        }
    }
    if !address.is_empty() {
        line.address = AddressSource::Static(address);
    }
    Ok(line)
}

/// Whether a word is an IPv4 address, perhaps with a prefix length. A number alone
/// is the argument of another word.
fn is_address(word: &str) -> bool {
    let address = word.split_once('/').map_or(word, |(address, _)| address);
    address.parse::<std::net::Ipv4Addr>().is_ok()
}

impl IfconfigLine {
    /// The value for a bridge that takes the address over, with its member.
    pub fn for_bridge(&self, member: &str) -> String {
        match &self.address {
            AddressSource::None => format!("addm {member} up"),
            AddressSource::Dhcp => format!("addm {member} SYNCDHCP"),
            AddressSource::Static(words) => format!("{} addm {member}", words.join(" ")),
        }
    }

    /// The value that remains for the member.
    pub fn for_member(&self) -> String {
        [&["up".to_owned()], self.link.as_slice()].concat().join(" ")
    }
}

/// The value of `ifconfig_IF_ipv6` for a bridge, which has no link-local address
/// by itself.
pub fn ipv6_for_bridge(value: &str) -> String {
    match value.split_whitespace().any(|word| word == "auto_linklocal") {
        true => value.trim().to_owned(),
        false => format!("{} auto_linklocal", value.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_of_rc_conf() {
        for (value, bridge, member) in [
            ("DHCP", "addm igc0 SYNCDHCP", "up"),
            ("SYNCDHCP mtu 9000", "addm igc0 SYNCDHCP", "up mtu 9000"),
            ("inet 192.168.7.2/24", "inet 192.168.7.2/24 addm igc0", "up"),
            (
                "192.168.7.2 netmask 255.255.255.0 -tso",
                "192.168.7.2 netmask 255.255.255.0 addm igc0",
                "up -tso",
            ),
            (
                "inet 192.168.7.2 netmask 0xffffff00 broadcast 192.168.7.255 media 1000baseT up",
                "inet 192.168.7.2 netmask 0xffffff00 broadcast 192.168.7.255 addm igc0",
                "up media 1000baseT",
            ),
            ("up", "addm igc0 up", "up"),
            ("", "addm igc0 up", "up"),
        ] {
            let line = split(value).unwrap();
            assert_eq!(
                (line.for_bridge("igc0"), line.for_member()),
                (bridge.into(), member.into()),
                "{value}"
            );
        }
        assert!(matches!(split("WPA SYNCDHCP"), Err(NotMovable::Wireless(_))));
        assert!(matches!(split("inet 10.0.0.1/24 vhid 5"), Err(NotMovable::Word(_))));
        assert_eq!(ipv6_for_bridge("inet6 accept_rtadv"), "inet6 accept_rtadv auto_linklocal");
        assert_eq!(ipv6_for_bridge("inet6 auto_linklocal accept_rtadv"), "inet6 auto_linklocal accept_rtadv");
    }

    proptest! {
        /// No word is lost: each is an address, about the interface, or what rc(8) itself reads.
        #[test]
        fn every_word_goes_somewhere(
            words in prop::collection::vec("[a-z0-9./]{1,12}|inet|netmask 0x[0-9a-f]{8}|DHCP|up", 0..8)
        ) {
            let value = words.join(" ");
            if let Ok(line) = split(&value) {
                let address = match &line.address {
                    AddressSource::Static(words) => words.clone(),
                    _ => Vec::new(),
                };
                let rc = ["dhcp", "syncdhcp", "nosyncdhcp", "noauto", "up"];
                let kept = value.split_whitespace().filter(|word| !rc.contains(&word.to_lowercase().as_str()));
                let all = [address, line.link.clone()].concat();
                prop_assert_eq!(kept.count(), all.len(), "{:?}", line);
            }
        }
    }
}
