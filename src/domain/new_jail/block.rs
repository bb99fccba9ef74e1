//! The file in jail.conf.d that makes the jail exist.

use crate::formats::jailconf::{quote_literal, quote_with_variables};
use crate::types::address::Id;
use crate::types::interface::IfName;
use crate::types::jail_name::JailName;

/// The block of a new jail.
#[derive(Clone, Debug)]
pub(super) struct JailBlock {
    /// The jail.
    pub(super) jail: JailName,
    /// `$id`.
    pub(super) id: Id,
    /// `$ip` and `$ip6` as they are written, perhaps with `${id}` in them.
    pub(super) addresses: [Option<String>; 2],
    /// `$bridge`, where the common part has another one.
    pub(super) bridge: Option<IfName>,
    /// `$gateway` and `$gateway6`, where the common part has another one, with the
    /// zone of a link-local address.
    pub(super) gateways: [Option<String>; 2],
    /// `$isolation`, where the common part has another one.
    pub(super) isolation: Option<String>,
    /// `devfs_ruleset`, where the common part has another one.
    pub(super) devfs_ruleset: Option<u32>,
    /// `exec.start`, instead of that of the common part; none to keep it.
    pub(super) start: Vec<String>,
    /// Further statements, as the block of another jail has them.
    pub(super) statements: Vec<String>,
}

impl JailBlock {
    /// A block with nothing but an id.
    pub(super) fn new(jail: JailName, id: Id) -> JailBlock {
        JailBlock {
            jail,
            id,
            addresses: [None, None],
            bridge: None,
            gateways: [None, None],
            isolation: None,
            devfs_ruleset: None,
            start: Vec::new(),
            statements: Vec::new(),
        }
    }

    /// The text of the file, indented as jail.conf(5) has it.
    pub(super) fn to_text(&self) -> String {
        let mut lines = vec![format!("$id = {};", quote_literal(&self.id.to_string()))];
        for (name, address) in ["ip", "ip6"].into_iter().zip(&self.addresses) {
            lines.extend(address.as_ref().map(|a| format!("${name} = {};", quote_with_variables(a))));
        }
        let [gateway, gateway6] = &self.gateways;
        let bridge = self.bridge.as_ref().map(ToString::to_string);
        let others = [("bridge", &bridge), ("gateway", gateway), ("gateway6", gateway6)];
        for (name, value) in others.into_iter().chain([("isolation", &self.isolation)]) {
            lines.extend(value.as_ref().map(|value| format!("${name} = {};", quote_literal(value))));
        }
        lines.extend(self.devfs_ruleset.map(|ruleset| format!("devfs_ruleset = {ruleset};")));
        for (at, command) in self.start.iter().enumerate() {
            let operator = if at == 0 { "=" } else { "+=" };
            lines.push(format!("exec.start {operator} {};", quote_with_variables(command)));
        }
        lines.extend(self.statements.iter().cloned());
        format!("{} {{\n\t{}\n}}\n", self.jail, lines.join("\n\t"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_byte_for_byte() {
        let mut block = JailBlock::new("pg-1".parse().unwrap(), "5".parse().unwrap());
        block.addresses[0] = Some("192.168.7.${id}/24".into());
        assert_eq!(block.to_text(), "pg-1 {\n\t$id = \"5\";\n\t$ip = \"192.168.7.${id}/24\";\n}\n");
        block.addresses[1] = Some("fd00:7::5/64".into());
        block.bridge = "vlan20bridge".parse().ok();
        block.gateways = [Some("192.168.7.1".into()), Some("fe80::1%epair5b".into())];
        block.isolation = Some("--pin --vlan 20".into());
        assert_eq!(
            block.to_text(),
            "pg-1 {\n\t$id = \"5\";\n\t$ip = \"192.168.7.${id}/24\";\n\t$ip6 = \"fd00:7::5/64\";\n\
             \t$bridge = \"vlan20bridge\";\n\t$gateway = \"192.168.7.1\";\n\
             \t$gateway6 = \"fe80::1%epair5b\";\n\t$isolation = \"--pin --vlan 20\";\n}\n"
        );
    }
}
