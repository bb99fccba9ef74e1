//! What a new jail gets from the block of another one.

use crate::formats::jailconf::Config;
use anyhow::{Context, Result};
use std::path::Path;

/// What jail-clone(8) writes itself.
const CHOSEN: [&str; 7] = ["$id", "$ip", "$ip6", "$bridge", "$gateway", "$gateway6", "vnet.interface"];

/// The statements of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InheritedBlock {
    /// Those that mean the same for another jail.
    pub statements: Vec<String>,
    /// Those that contain the name, an address or an epair of the jail: which it is, and
    /// the statement.
    pub own: Vec<(String, String)>,
    /// Whether it gets its addresses by DHCP, and from a router.
    pub gets: [bool; 2],
    /// `$bridge`, if the block sets it.
    pub bridge: Option<String>,
    /// `$gateway` and `$gateway6`, if the block sets them.
    pub gateways: Vec<String>,
}

impl InheritedBlock {
    /// Takes a block apart. `own` are the words that are the jail's alone.
    pub fn parse(text: &[u8], jail: &str, own: &[String]) -> Result<InheritedBlock> {
        let mut config = Config::default();
        config.parse_more(Path::new("block"), text)?;
        let mut inherited = InheritedBlock::default();
        let Some(block) = config.jail(jail) else { return Ok(inherited) };
        let resolved = config.resolve(block);
        let all: Vec<(String, String)> = block
            .own_statements()
            .map(|(name, range)| {
                let statement = text.get(range).context("a statement outside of the text")?;
                Ok((name, String::from_utf8(statement.to_vec())?))
            })
            .collect::<Result<_>>()?;
        let of_start = || all.iter().filter(|(name, _)| name == "exec.start").map(|(_, text)| text);
        inherited.gets = ["SYNCDHCP", "accept_rtadv"].map(|word| of_start().any(|text| text.contains(word)));
        let gets = inherited.gets.contains(&true);
        let sets = |name: &str| all.iter().any(|(set, _)| set == name);
        let value = |name: &str| resolved.var(name).filter(|_| sets(&format!("${name}"))).map(str::to_owned);
        inherited.gateways = ["gateway", "gateway6"].into_iter().filter_map(&value).collect();
        inherited.bridge = value("bridge");
        for (name, text) in &all {
            let of_dhcp = gets && ["exec.start", "devfs_ruleset"].contains(&name.as_str());
            if CHOSEN.contains(&name.as_str()) || of_dhcp {
                continue;
            }
            match own.iter().find(|own| has_word(text, own)) {
                Some(own) => inherited.own.push((own.clone(), text.clone())),
                None => inherited.statements.push(text.clone()),
            }
        }
        Ok(inherited)
    }
}

/// Whether a text has the word, by itself.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (text, expected) in [
            ("host.hostname = \"web.example.org\";", true),
            ("depend = db, web;", true),
            ("host.hostname = \"webmail\";", false),
            ("allow.web_x;", false),
            ("exec.start = \"/web/start\";", true),
            ("x = \"my-web\";", false),
        ] {
            assert_eq!(has_word(text, "web"), expected, "{text}");
        }
    }

    #[test]
    fn a_block_taken_apart() {
        let text =
            b"web {\n\t$id = \"10\";\n\t$ip = \"10.0.0.10/24\";\n\t$bridge = \"dmz\";\n\tallow.mlock;\n\
                     \thost.hostname = \"web.example\";\n}\n";
        let found = InheritedBlock::parse(text, "web", &["web".into()]).unwrap();
        assert_eq!(found.statements, ["allow.mlock;"]);
        assert_eq!(found.own, [("web".into(), "host.hostname = \"web.example\";".into())]);
        assert_eq!((found.bridge.as_deref(), found.gets), (Some("dmz"), [false; 2]));
        let text =
            b"web { $id = 1; devfs_ruleset = 7; exec.start = \"/usr/sbin/sysrc ifconfig_x=SYNCDHCP\"; }";
        let found = InheritedBlock::parse(text, "web", &[]).unwrap();
        assert_eq!((found.statements, found.gets), (Vec::new(), [true, false]));
    }
}
