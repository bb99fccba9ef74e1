//! What can be wrong: every identifier with its severity and why it matters,
//! in one table, and a finding, which is one of them with the thing it is about.

use crate::formats::printable;
use crate::system::plan::Plan;
use serde_json::{Value, json};

/// How bad it is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingSeverity {
    /// Jails do not start, do not work, or get in each other's way.
    Error,
    /// It works today, and will hurt on another day.
    Warning,
}

impl FindingSeverity {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            FindingSeverity::Error => "error",
            FindingSeverity::Warning => "warning",
        }
    }
}

/// One thing that can be wrong.
#[derive(Debug)]
pub struct FindingKind {
    /// The stable identifier.
    pub id: &'static str,
    /// How bad it is.
    pub severity: FindingSeverity,
    /// Why it matters, in one sentence.
    pub why: &'static str,
}

macro_rules! kinds {
    ($($name:ident $id:literal $severity:ident $why:literal)*) => {
        $(#[doc = $why] pub static $name: FindingKind = FindingKind { id: $id, severity: FindingSeverity::$severity, why: $why };)*

        /// Every kind, in the order of the manual page.
        pub static KINDS: &[&FindingKind] = &[$(&$name),*];
    };
}

kinds! {
    // The host.
    UNCHECKED "unchecked" Warning "A part that could not be checked can have problems too."
    SETTINGS_BAD "settings-bad" Error "Without the settings, thinjail does not know where the jails are stored."
    NO_VIMAGE "no-vimage" Error "Without VIMAGE in the kernel, jails cannot have their own network stack."
    MODULE_MISSING "module-missing" Error "Jails need this module to start, and it cannot be loaded."
    KERNEL_OLDER "kernel-older" Error "Programs of a newer release can fail on an older kernel."
    BRIDGE_MISSING "bridge-missing" Error "Jails on this bridge do not start."
    BRIDGE_DOWN "bridge-down" Error "A bridge that is down forwards nothing."
    BRIDGE_NO_UPLINK "bridge-no-uplink" Warning "Jails on a bridge without uplink and address reach only each other."
    MEMBER_ADDRESSED "member-addressed" Warning "FreeBSD 15 can be configured to refuse such members, and FreeBSD 16 always refuses them."
    MEMBER_REFUSED "member-refused" Error "The kernel does not add it to a bridge, so no jail behind it reaches the network."
    MTU_MISMATCH "mtu-mismatch" Warning "Frames that are larger than the smallest MTU on their way are dropped silently."
    IFCONFIG_DEFAULT "ifconfig-default" Warning "devd(8) configures every new interface with it, including the host's end of each epair."
    JAIL_NOT_ENABLED "jail-not-enabled" Warning "Jails do not start at boot."
    JAIL_LIST_UNKNOWN "jail-list-unknown" Warning "rc.d/jail reports an error at every boot, and the intended jail does not start."
    INCLUDE_RULE "include-rule" Error "service(8) starts the jail from its own file alone, without the common part of jail.conf."
    CONF_NOT_INCLUDED "conf-not-included" Error "jail(8) does not read the file of the jail with the common part."
    RELEASE_MISSING "release-missing" Error "New jails are cloned from it unless another release is given."
    // Leftovers.
    MOUNT_LEAKED "mount-leaked" Error "The next start of the jail fails with \"Resource deadlock avoided\"."
    PAIR_LEAKED "pair-leaked" Warning "A failed start left it; without jail-epair-up, the jail cannot start again."
    PAIR_UNTAGGED "pair-untagged" Warning "A killed run left it before it was described."
    TEMP_LEFT "temp-left" Warning "A killed run left it; it is never used."
    SNAPSHOT_LEFT "snapshot-left" Warning "A killed run left it; it keeps the space of files that were deleted since."
    CLONE_HALF_MADE "clone-half-made" Warning "Parts of a jail exist without a configuration."
    // The configuration.
    CONF_SYNTAX "conf-syntax" Error "jail(8) cannot start or stop any jail with this configuration."
    CONF_UNRESOLVED "conf-unresolved" Error "jail(8) refuses to start the jail."
    CONF_DIFFERS "conf-differs" Warning "jail(8) reads the configuration differently than jail-doctor, so other findings can be wrong too."
    NAME_DUPLICATE "name-duplicate" Error "It is undefined which of the two jails starts."
    ID_DUPLICATE "id-duplicate" Error "The epair or the address that is derived from the id is used twice."
    IP_DUPLICATE "ip-duplicate" Error "Packets reach one jail or the other at random."
    PAIR_DUPLICATE "pair-duplicate" Error "Only the first of the two jails starts."
    PATH_DUPLICATE "path-duplicate" Error "The second jail is mounted over the first one."
    IP_OUTSIDE "ip-outside" Warning "The jail reaches neither the gateway nor the other jails directly."
    IP_GATEWAY "ip-gateway" Error "The jail answers instead of the gateway, so no jail reaches the network."
    IP_HOST "ip-host" Error "The host and the jail answer for the same address."
    NO_VNET "no-vnet" Error "Without vnet, the jail shares the network stack of the host, and its hooks fail."
    INTERFACE_DIFFERS "interface-differs" Error "The jail needs an interface other than the one that its hook creates."
    INTERFACE_NAME "interface-name" Error "An interface cannot have this name, so the jail does not start."
    PATH_DIFFERS "path-differs" Warning "The programs of thinjail do not find the parts of this jail."
    FSTAB_MISSING "fstab-missing" Error "Without it, the jail has neither base nor container and cannot start or stop."
    NETWORK_LATE "network-late" Warning "Services start before the jail has an address, and some never use it later."
    HOOK_MISSING_PREPARE "hook-missing-prepare" Warning "Leftovers of an earlier run can prevent the jail from starting."
    HOOK_MISSING_PRESTART "hook-missing-prestart" Error "The epair that the jail needs is not created."
    HOOK_MISSING_POSTSTOP "hook-missing-poststop" Warning "The epair remains when the jail stops."
    HOOK_MISSING_RELEASE "hook-missing-release" Warning "A jail stopped with an open connection leaves its root mounted."
    HOOK_CREATE "hook-create" Warning "After a failed start, the epair exists and the jail cannot start again."
    HOOK_RELATIVE "hook-relative" Warning "The program is searched for in PATH, which does not include /usr/local in service(8)."
    HOOK_PROGRAM "hook-program" Error "The program does not exist, so the command fails."
    DEVFS_RULESET "devfs-ruleset" Error "/dev of the jail has every device of the host, including its memory and disks."
    HOOK_SHELL "hook-shell" Warning "The command is unnecessarily parsed by sh(1)."
    PARAMETER_USELESS "parameter-useless" Warning "It has no effect or a harmful one."
    // Templates.
    SPLIT_INCOMPLETE "split-incomplete" Error "Jails cannot be cloned from the template, and existing ones may not start."
    DESTROY_INCOMPLETE "destroy-incomplete" Warning "An interrupted run left it; no jail can be cloned from it."
    DATASET_UNMOUNTED "dataset-unmounted" Error "Its mount point is an empty directory."
    LINK_DANGLING "link-dangling" Warning "New jails have the same links, and verified connections fail without certificates."
    SNAPSHOT_MISSING "snapshot-missing" Error "Jails are cloned from a snapshot."
    SKELETON_NEWER "skeleton-newer" Warning "New jails do not get the changes since the snapshot."
    SCHG_MISSING "schg-missing" Warning "FreeBSD protects the file from accidental changes."
    BASE_WRITABLE "base-writable" Error "A user who changes the base changes all jails on it."
    // The jails.
    CONTAINER_MISSING "container-missing" Error "The jail cannot start without its container."
    CONTAINER_FOREIGN "container-foreign" Error "It does not provably belong to the jail, so thinjail does not change it."
    CONTAINER_UNTAGGED "container-untagged" Warning "Its owner is unknown, so thinjail does not destroy it."
    PATH_MISSING "path-missing" Error "The base of the jail cannot be mounted."
    PATH_OCCUPIED "path-occupied" Warning "The files are hidden while the jail is running, and prevent its destruction."
    MOUNT_SOURCE "mount-source" Error "Root in that jail can replace it with a symbolic link to any directory on the host."
    FSTAB_WRONG "fstab-wrong" Error "jail(8) fails at the first wrong line."
    MOUNTS_DIFFER "mounts-differ" Warning "The jail uses the mounts from the time it was started."
    HOSTILE_LINK "hostile-link" Warning "Programs on the host expect another type of file there."
    CERTS_DANGLING "certs-dangling" Error "Verified connections fail, and distrusted certificates are trusted again."
    CERTS_STALE "certs-stale" Warning "The jail trusts withdrawn certificates, or does not trust new ones."
    ETC_BEHIND "etc-behind" Warning "The scripts and defaults of the jail are older than the programs of its base."
    RESOLVER_LOOPBACK "resolver-loopback" Warning "A vnet jail has its own loopback interface, so it cannot resolve names."
    MAC_DUPLICATE "mac-duplicate" Error "Two interfaces with the same address in one network are not reliably reachable."
    JAIL_UNKNOWN "jail-unknown" Error "No jail with this name exists."
}

/// What a finding is about; with names only those are shown that matter to
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingScope {
    /// The host, and so every jail.
    Host,
    /// The template of a release.
    Template(String),
    /// One jail, by its name.
    Jail(String),
}

/// One thing that is wrong.
pub struct Finding {
    /// What kind of thing.
    pub kind: &'static FindingKind,
    /// What it is about.
    pub scope: FindingScope,
    /// The thing: a path, an interface, a jail.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub advice: String,
    /// The fix without risk, if one exists.
    pub fix: Option<Plan>,
    /// What it says but for the name, pair and addresses of its jail: findings
    /// that are alike in this have one cause, in the common part.
    pub group: Option<String>,
}

impl Finding {
    /// A finding that only the administrator can fix.
    pub fn new(
        kind: &'static FindingKind,
        scope: FindingScope,
        object: impl Into<String>,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        Finding {
            kind,
            scope,
            object: object.into(),
            what: what.into(),
            advice: advice.into(),
            fix: None,
            group: None,
        }
    }

    /// The same with a fix.
    pub fn fixed_by(mut self, plan: Plan) -> Finding {
        self.fix = Some(plan);
        self
    }

    /// For people: what and which on the first line, why and fix below it.
    pub fn text(&self) -> String {
        self.text_of(&self.object)
    }

    fn text_of(&self, object: &str) -> String {
        let FindingKind { id, severity, why } = self.kind;
        let first = format!("{}: {object}: {} [{id}]", severity.word(), self.what);
        format!("{}\n    {why}\n    fix: {}\n", printable::line(&first), printable::line(&self.advice))
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "id": self.kind.id,
            "severity": self.kind.severity.word(),
            "object": self.object,
            "what": self.what,
            "why": self.kind.why,
            "advice": self.advice,
            "jail": match &self.scope { FindingScope::Jail(name) => Some(name), _ => None },
            "fixable": self.fix.is_some(),
        })
    }
}

/// All of them for people; what jails have in common is reported once.
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for (at, finding) in findings.iter().enumerate() {
        let alike = |f: &&Finding| f.kind.id == finding.kind.id && f.group == finding.group;
        if finding.group.is_some() && findings[..at].iter().any(|f| alike(&f)) {
            continue;
        }
        let others = findings[at + 1..].iter().filter(|f| finding.group.is_some() && alike(f));
        let mut objects = vec![finding.object.as_str()];
        objects.extend(others.map(|f| f.object.as_str()));
        let more = objects.len().saturating_sub(NAMED);
        objects.truncate(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        text += &finding.text_of(&format!("{}{more}", objects.join(", ")));
    }
    text
}

/// How many jails are named that have the same wrong.
const NAMED: usize = 4;

/// The worst first, then in the order of the table, then by what they are about.
pub fn sort(findings: &mut [Finding]) {
    let place = |kind: &FindingKind| KINDS.iter().position(|k| k.id == kind.id);
    findings.sort_by(|a, b| {
        let key = |f: &Finding| (f.kind.severity, place(f.kind));
        key(a).cmp(&key(b)).then_with(|| (&a.object, &a.what).cmp(&(&b.object, &b.what)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_sound() {
        let mut ids = BTreeSet::new();
        for kind in KINDS {
            assert!(ids.insert(kind.id), "{} twice", kind.id);
            assert!(kind.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", kind.id);
            assert!(kind.why.ends_with('.') && kind.why.len() < 110, "{}: {}", kind.id, kind.why);
        }
    }

    #[test]
    fn the_worst_comes_first_and_stays_on_its_lines() {
        let of = |kind, object: &str| Finding::new(kind, FindingScope::Host, object, "a\nb", "c\td");
        let mut all =
            [of(&TEMP_LEFT, "z"), of(&NO_VIMAGE, "y"), of(&MTU_MISMATCH, "b"), of(&MTU_MISMATCH, "a")];
        sort(&mut all);
        let order: Vec<_> = all.iter().map(|f| (f.kind.id, f.object.as_str())).collect();
        assert_eq!(
            order,
            [("no-vimage", "y"), ("mtu-mismatch", "a"), ("mtu-mismatch", "b"), ("temp-left", "z")]
        );
        let text = all[0].text();
        assert!(text.starts_with("error: y: a\\012b [no-vimage]\n    "), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
        assert_eq!(all[0].json()["id"], "no-vimage");
    }
}
