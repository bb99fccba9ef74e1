//! Name servers in resolv.conf(5) that a jail with vnet does not reach: those
//! on the loopback interface, of which it has one of its own.

use std::net::IpAddr;

/// More name servers than these are not used (resolver(5), MAXNS).
const MOST: usize = 3;

/// Services that answer on the loopback interface, as `NAME_enable` of
/// rc.conf(5) has them: local_unbound of base, and the usual ports.
const RESOLVERS: [&str; 11] = [
    "local_unbound",
    "unbound",
    "named",
    "dnsmasq",
    "dnscrypt_proxy",
    "kresd",
    "pdns_recursor",
    "dnsdist",
    "stubby",
    "coredns",
    "blocky",
];

/// The files of a jail in which such a service may be enabled: the last that
/// sets the variable counts. Behind them come the services' own.
const RC_CONF: [&str; 2] = ["etc/rc.conf", "etc/rc.conf.local"];

/// The name servers of a resolv.conf(5) that are on the loopback interface; the
/// unspecified address means the same.
pub fn loopback_servers(resolv_conf: &[u8]) -> Vec<IpAddr> {
    let text = String::from_utf8_lossy(resolv_conf);
    // The keyword starts the line.
    let servers = text.lines().filter_map(|line| {
        let rest = line.strip_prefix("nameserver")?;
        let address = rest.starts_with([' ', '\t']).then(|| rest.split_whitespace().next())??;
        address.split('%').next()?.parse::<IpAddr>().ok()
    });
    servers.take(MOST).filter(|a| a.is_loopback() || a.is_unspecified()).collect()
}

/// Whether a tree has such a service enabled; `read` reads a file of it.
pub fn runs_resolver(read: impl Fn(&str) -> Option<Vec<u8>>) -> bool {
    let of_all: Vec<Vec<u8>> = RC_CONF.iter().filter_map(|file| read(file)).collect();
    RESOLVERS.iter().any(|service| {
        let own = ["etc/rc.conf.d", "usr/local/etc/rc.conf.d"].map(|dir| read(&format!("{dir}/{service}")));
        let files = of_all.iter().chain(own.iter().flatten());
        files.filter_map(|text| enabled(text, service)).next_back().unwrap_or(false)
    })
}

/// What a file says about `NAME_enable`, by its last line for that: it may be
/// more than assignments, and is not run.
fn enabled(text: &[u8], service: &str) -> Option<bool> {
    let text = String::from_utf8_lossy(text);
    let assigned = |line: &str| {
        let value = line.trim_start().strip_prefix(service)?.strip_prefix("_enable=")?;
        let value = value.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'', ';']);
        Some(["yes", "true", "on", "1"].iter().any(|yes| value.eq_ignore_ascii_case(yes)))
    };
    text.lines().filter_map(assigned).next_back()
}

/// The addresses for a message.
pub fn listed(servers: &[IpAddr]) -> String {
    servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_of_the_jail_itself() {
        let servers = |text: &str| listed(&loopback_servers(text.as_bytes()));
        for (text, expected) in [
            ("nameserver 127.0.0.1\n", "127.0.0.1"),
            ("nameserver\t127.8.0.53 \nnameserver ::1\n", "127.8.0.53, ::1"),
            ("search x\nnameserver ::1%lo0\n", "::1"),
            ("nameserver 0.0.0.0", "0.0.0.0"),
            ("nameserver 192.168.7.1\nnameserver 127.0.0.1", "127.0.0.1"),
            ("nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver ::1", ""),
            ("# nameserver 127.0.0.1\n nameserver 127.0.0.1\nnameserver127.0.0.1\nnameserver x", ""),
            ("nameserver fe80::1%igc0\nnameserver 192.168.7.1", ""),
            ("", ""),
        ] {
            assert_eq!(servers(text), expected, "{text:?}");
        }
    }

    #[test]
    fn whether_a_resolver_runs() {
        let runs = |files: &[(&str, &str)]| {
            let find = |name: &str| files.iter().find(|(file, _)| *file == name);
            runs_resolver(|name| find(name).map(|(_, text)| text.as_bytes().to_vec()))
        };
        assert!(runs(&[("etc/rc.conf", "local_unbound_enable=\"YES\"\n")]));
        assert!(runs(&[("etc/rc.conf", "sshd_enable=NO\n  named_enable='on' # ours\n")]));
        assert!(runs(&[("etc/rc.conf", "unbound_enable=NO"), ("etc/rc.conf.local", "unbound_enable=yes")]));
        assert!(runs(&[("usr/local/etc/rc.conf.d/dnsmasq", "dnsmasq_enable=1")]));
        assert!(!runs(&[("etc/rc.conf", "named_enable=YES"), ("etc/rc.conf.d/named", "named_enable=NO")]));
        assert!(!runs(&[("etc/rc.conf", "#named_enable=YES\nsshd_enable=YES\nnamed_enable=YESNO\n")]));
        assert!(!runs(&[]));
    }
}
