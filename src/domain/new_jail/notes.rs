//! What keeps jail(8) from starting the jail as it was made.

use crate::domain::configured::{JailConfigs, JailResources};
use crate::domain::layout::Layout;
use crate::formats::resolv_conf;
use crate::system::file;
use crate::system::host::Host;
use crate::types::jail_name::JailName;
use crate::types::release::Release;
use std::fs::Metadata;

/// The common jail.conf to start from.
pub(super) const EXAMPLE: &str = "/usr/local/share/examples/thinjail/jail.conf";

/// A name server in the template that the jail will not reach.
pub fn resolver_warning(host: &Host, layout: &Layout, jail: &JailName, release: &Release) -> Option<String> {
    const RESOLV_CONF: &str = "etc/resolv.conf";
    let skeleton = host.root().host_path(&layout.skeleton(release));
    let read = |path: &str| {
        let file = skeleton.join(path);
        file::look(&file).ok().flatten().filter(Metadata::is_file).and_then(|_| fs_err::read(file).ok())
    };
    let servers = resolv_conf::loopback_servers(&read(RESOLV_CONF)?);
    if servers.is_empty() || resolv_conf::runs_resolver(read) {
        return None;
    }
    Some(format!(
        "warning: jail {jail}: its resolv.conf uses the name server {}, but nothing in the jail listens there; edit {}",
        resolv_conf::listed(&servers),
        layout.container(jail).join(RESOLV_CONF).display()
    ))
}

/// What will keep jail(8) from starting the jail as it was made.
pub(super) fn notes(
    layout: &Layout,
    jail: &JailName,
    known: &JailConfigs,
    resources: &JailResources,
) -> Vec<String> {
    let mut notes = Vec::new();
    let (main, directory) = (layout.jail_conf().display(), layout.conf_dir().display());
    match known.includes_conf_dir() {
        None => notes.push(format!("{main} does not exist; copy it from {EXAMPLE}")),
        Some(false) => {
            notes.push(format!("{main} does not include {directory}; add: .include \"{directory}/*.conf\";"))
        }
        Some(true) => {}
    }
    if known.includes_conf_dir().is_some() {
        notes.extend(resources.errors.iter().cloned());
        for (name, value, ours) in [
            ("path", &resources.path, layout.path(jail)),
            ("mount.fstab", &resources.fstab, layout.fstab(jail)),
        ] {
            match value {
                Some(_) => {}
                None => notes.push(format!("{main}: {name} is not set; set it to {}", ours.display())),
            }
        }
    }
    notes
}
