//! What identifies a host to others, and must not be the same in a copy of it.

use crate::formats::shell;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::tree::{self, inside};
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, FileType, statat};
use rustix::io::Errno;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Files of a container, by directory and name; one `*` in a name stands for any
/// text. jail-clone(8) lists them, with what they are.
pub const FILES: &[(&str, &str)] = &[
    // sshd(8) makes new keys when it starts (freebsd-src: libexec/rc/rc.d/sshd).
    ("etc/ssh", "ssh_host_*_key"),
    ("etc/ssh", "ssh_host_*_key.pub"),
    ("etc/ssh", "ssh_host_*_key-cert.pub"),
    ("usr/local/etc/ssh", "ssh_host_*_key"),
    ("usr/local/etc/ssh", "ssh_host_*_key.pub"),
    ("usr/local/etc/ssh", "ssh_host_*_key-cert.pub"),
    // rc.d/hostid and rc.d/hostid_save; D-Bus reads the second one as well.
    ("etc", "hostid"),
    ("etc", "machine-id"),
    // Kerberos: the keys of this very host.
    ("etc", "krb5.keytab"),
    ("var/db", "machine-id"),
    // Leases of dhclient(8).
    ("var/db", "dhclient.leases.*"),
    ("var/lib/dbus", "machine-id"),
    ("var/db/dbus", "machine-id"),
    // Leases of dhcpcd, and its identifier.
    ("var/db/dhcpcd", "*.lease"),
    ("var/db/dhcpcd", "*.lease6"),
    ("var/db/dhcpcd", "duid"),
    ("var/db/dhcpcd", "secret"),
    // Seeds of random(4): two hosts must not start from the same.
    ("var/db/entropy", "*"),
    // A queue that is copied is sent twice (sendmail(8), dma(8)).
    ("var/spool/mqueue", "*"),
    ("var/spool/clientmqueue", "*"),
    ("var/spool/dma", "*"),
    // What resolvconf(8) has from the interfaces, and the keys by which
    // local-unbound-control(8) reaches its server.
    ("var/run/resolvconf/interfaces", "*"),
    ("var/unbound", "unbound_server.*"),
    ("var/unbound", "unbound_control.*"),
];

/// Whether a path below the top of a container is such a file.
pub fn is_identity(path: &Path) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return false };
    FILES.iter().any(|(directory, pattern)| parent == Path::new(directory) && matches(pattern, name))
}

/// Whether such a file may be in a directory, so that its time changes with it.
pub fn is_parent(path: &Path) -> bool {
    FILES.iter().any(|(directory, _)| path == Path::new(directory))
}

fn matches(pattern: &str, name: &OsStr) -> bool {
    let name = name.as_bytes();
    match pattern.split_once('*') {
        None => name == pattern.as_bytes(),
        Some((before, after)) => {
            name.len() >= before.len() + after.len()
                && name.starts_with(before.as_bytes())
                && name.ends_with(after.as_bytes())
        }
    }
}

/// Those that a container has, below its top.
pub fn found(container: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for (directory, pattern) in FILES {
        let Some((_, names)) = files(container, directory, pattern)? else { continue };
        let path = |name: &CString| Path::new(directory).join(OsStr::from_bytes(name.to_bytes()));
        all.extend(names.iter().map(path));
    }
    Ok(all)
}

/// Removes them from a container that no jail uses yet. Directories, and what links
/// lead to, remain: the container is what a jail's root has made of it.
pub struct RemoveIdentity {
    /// The container (a real path).
    pub container: PathBuf,
    /// Those that it will have, for people.
    pub expected: Vec<PathBuf>,
}

impl Action for RemoveIdentity {
    fn shell(&self) -> String {
        if self.expected.is_empty() {
            return String::new();
        }
        let paths = self.expected.iter().map(|path| self.container.join(path).into_os_string());
        let words = ["/bin/rm", "-f"].map(OsString::from).into_iter().chain(paths).collect::<Vec<_>>();
        shell::line(words.iter())
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        for (directory, pattern) in FILES {
            let Some((open, names)) = files(&self.container, directory, pattern)? else { continue };
            for name in names {
                let path = self.container.join(directory).join(OsStr::from_bytes(name.to_bytes()));
                tree::remove_file_at(&open, &name).with_context(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// The open directory and the names in it that match; `None` if it does not exist, or
/// a link is on the way there.
fn files(container: &Path, directory: &str, pattern: &str) -> io::Result<Option<(OwnedFd, Vec<CString>)>> {
    let directory = match inside::open(container, Path::new(directory)) {
        Err(e)
            if [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::MLINK]
                .map(Some)
                .contains(&Errno::from_io_error(&e)) =>
        {
            return Ok(None);
        }
        open => open?,
    };
    let mut names = tree::names(&directory)?;
    names.retain(|name| matches(pattern, OsStr::from_bytes(name.to_bytes())));
    let mut found = Vec::new();
    for name in names {
        let stat = statat(&directory, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            found.push(name);
        }
    }
    Ok(Some((directory, found)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn patterns() {
        for (path, expected) in [
            ("etc/ssh/ssh_host_ed25519_key", true),
            ("etc/ssh/ssh_host_ed25519_key.pub", true),
            ("etc/ssh/sshd_config", false),
            ("etc/ssh/sub/ssh_host_rsa_key", false),
            ("etc/hostid", true),
            ("hostid", false),
            ("var/db/dhclient.leases.epair10b", true),
            ("var/db/entropy/saved-entropy.1", true),
            ("var/db/entropy", false),
        ] {
            assert_eq!(is_identity(Path::new(path)), expected, "{path}");
        }
        assert!(!matches("ab*bc", OsStr::new("abc")));
    }

    /// The manual page has a line for each directory.
    #[test]
    fn the_page_lists_them() {
        let page = include_str!("../../man/jail-clone.8");
        let mut expected: Vec<&str> = FILES.iter().map(|(directory, _)| *directory).collect();
        expected.dedup();
        let listed: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix(".It Pa ")?.split_once(" Ta ").map(|(path, _)| path))
            .collect();
        assert_eq!(listed, expected);
    }

    #[test]
    fn only_these_go_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (container, outside) = (dir.path().join("web"), dir.path().join("outside"));
        for directory in ["etc/ssh", "var/db/entropy/kept", "usr/local/etc"] {
            fs::create_dir_all(container.join(directory)).unwrap();
        }
        fs::create_dir(&outside).unwrap();
        for file in ["etc/ssh/ssh_host_rsa_key", "etc/ssh/sshd_config", "etc/hostid", "var/db/entropy/1"] {
            fs::write(container.join(file), "x").unwrap();
        }
        fs::write(outside.join("ssh_host_rsa_key"), "x").unwrap();
        symlink(&outside, container.join("usr/local/etc/ssh")).unwrap();
        symlink(outside.join("ssh_host_rsa_key"), container.join("etc/machine-id")).unwrap();
        assert_eq!(found(&container).unwrap().len(), 4);
        let host = Host::new(crate::system::root::Root::alternate(dir.path()).unwrap(), false);
        RemoveIdentity { container: container.clone(), expected: Vec::new() }
            .perform(&host, &mut Undo::default())
            .unwrap();
        let left: Vec<PathBuf> = ["etc/ssh", "etc", "var/db/entropy"]
            .iter()
            .flat_map(|d| fs::read_dir(container.join(d)).unwrap().map(|e| e.unwrap().path()))
            .collect();
        let expected = ["etc/ssh/sshd_config", "etc/ssh", "var/db/entropy/kept"].map(|p| container.join(p));
        assert_eq!(left, expected);
        assert!(outside.join("ssh_host_rsa_key").exists());
    }
}
