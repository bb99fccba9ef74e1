//! The file in jail.conf.d that makes the jail exist.

use crate::formats::jailconf::{quote_literal, quote_with_variables};
use crate::types::address::Id;
use crate::types::jail_name::JailName;
use std::net::IpAddr;

/// The block of a new jail.
#[derive(Clone, Debug)]
pub(super) struct JailBlock {
    /// The jail.
    pub(super) jail: JailName,
    /// `$id`.
    pub(super) id: Id,
    /// `$ip` and `$ip6` as they are written, perhaps with `${id}` in them.
    pub(super) addresses: [Option<String>; 2],
    /// `$gateway` and `$gateway6`, where the common part has another one.
    pub(super) gateways: [Option<IpAddr>; 2],
}

impl JailBlock {
    /// The text of the file.
    pub(super) fn to_text(&self) -> String {
        let mut lines = vec![format!("$id = {};", quote_literal(&self.id.to_string()))];
        for (name, address) in ["ip", "ip6"].into_iter().zip(&self.addresses) {
            lines.extend(address.as_ref().map(|a| format!("${name} = {};", quote_with_variables(a))));
        }
        for (name, gateway) in ["gateway", "gateway6"].into_iter().zip(&self.gateways) {
            lines.extend(gateway.map(|g| format!("${name} = {};", quote_literal(&g.to_string()))));
        }
        format!("{} {{\n{}\n}}\n", self.jail, lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_byte_for_byte() {
        let mut block = JailBlock {
            jail: "pg-1".parse().unwrap(),
            id: "5".parse().unwrap(),
            addresses: [Some("192.168.7.${id}/24".into()), None],
            gateways: [None, None],
        };
        assert_eq!(block.to_text(), "pg-1 {\n$id = \"5\";\n$ip = \"192.168.7.${id}/24\";\n}\n");
        block.addresses[1] = Some("fd00:7::5/64".into());
        block.gateways = [Some("192.168.7.1".parse().unwrap()), Some("fd00:7::1".parse().unwrap())];
        assert_eq!(
            block.to_text(),
            "pg-1 {\n$id = \"5\";\n$ip = \"192.168.7.${id}/24\";\n$ip6 = \"fd00:7::5/64\";\n\
             $gateway = \"192.168.7.1\";\n$gateway6 = \"fd00:7::1\";\n}\n"
        );
    }
}
