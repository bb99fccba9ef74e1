//! mount(8) and umount(8): the mount table of the simulated kernel.
//!
//! Nothing is really mounted, so what lies at a path of the host is found by a walk that goes over to the source of a
//! mount at each mount point ([`View`]).

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, bail};
use thinjail::system::kernel::simulated::{SimulatedMount, State};

use crate::Reply;
use crate::getopt::getopt;
use crate::host::Host;
use crate::simulated::{kernel, note, noted, root};

/// Links that are followed at most: MAXSYMLINKS.
const MAX_LINKS: usize = 32;

/// The files of the simulated host with its mounts.
pub struct View {
    root: PathBuf,
    mounts: Vec<SimulatedMount>,
}

/// Something in the view.
#[derive(Clone)]
pub struct Place {
    /// Its name without links, below the root, as the mount table spells it.
    pub name: PathBuf,
    /// Where it really is; nowhere within a devfs and its like.
    real: Option<PathBuf>,
    /// Whether it is a symbolic link, which can only be if links were not to be followed.
    pub is_link: bool,
}

impl Place {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.real.as_ref().is_none_or(|real| real.is_dir())
    }
}

impl View {
    /// The view that the present mounts give.
    pub fn new(host: &Host, state: &State) -> Result<View> {
        Ok(View { root: root(host)?.path().to_owned(), mounts: state.mounts.clone() })
    }

    /// The latest mount on a name.
    pub fn top(&self, name: &Path) -> Option<&SimulatedMount> {
        self.mounts.iter().rev().find(|mount| mount.on == name)
    }

    /// What is mounted on a name, or else lies there.
    fn enter(&self, name: PathBuf, real: Option<PathBuf>) -> Place {
        let real = match self.top(&name) {
            Some(mount) if mount.kind == "nullfs" => Some(mount.from.clone()),
            Some(_) => None,
            None => real,
        };
        Place { name, real, is_link: false }
    }

    /// Looks up an absolute path of the host. A link at its end is followed if `follow`. The error is the text of
    /// strerror(3).
    pub fn look(&self, path: &str, follow: bool) -> std::result::Result<Place, &'static str> {
        const MISSING: &str = "No such file or directory";
        let mut todo: Vec<OsString> = Vec::new();
        push(&mut todo, Path::new(path));
        let start = || self.enter(self.root.clone(), Some(self.root.clone()));
        let mut here = start();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if !here.is_directory() {
                return Err("Not a directory");
            }
            if part == ".." {
                // The name has no links, so what was walked before can be walked again.
                let up = here.name.parent().filter(|_| here.name != self.root).unwrap_or(&self.root);
                let up = up.strip_prefix(&self.root).unwrap_or(up).components().rev();
                todo.extend(up.map(|part| part.as_os_str().to_owned()));
                here = start();
                continue;
            }
            let name = here.name.join(&part);
            let Some(real) = here.real.as_ref().map(|real| real.join(&part)) else {
                // Of what a devfs has, only what is mounted on.
                if self.top(&name).is_none() && part != "fd" {
                    return Err(MISSING);
                }
                here = self.enter(name, None);
                continue;
            };
            if self.top(&name).is_some() {
                here = self.enter(name, Some(real));
                continue;
            }
            let Ok(metadata) = fs::symlink_metadata(&real) else { return Err(MISSING) };
            if !metadata.is_symlink() {
                here = self.enter(name, Some(real));
                continue;
            }
            if todo.is_empty() && !follow {
                return Ok(Place { name, real: Some(real), is_link: true });
            }
            links += 1;
            let Ok(text) = fs::read_link(&real).and_then(|text| {
                if links > MAX_LINKS { Err(std::io::ErrorKind::Other.into()) } else { Ok(text) }
            }) else {
                return Err("Too many levels of symbolic links");
            };
            if text.is_absolute() {
                here = start();
            }
            push(&mut todo, &text);
        }
        Ok(here)
    }
}

impl View {
    /// Where an absolute path of the host really lies: through links, and in what is mounted. This is the one way for
    /// stand-ins to what other programs would reach through a mount. The last part need not be there. The error is the text
    /// of strerror(3).
    pub fn real(&self, path: &str) -> std::result::Result<PathBuf, &'static str> {
        const DEVICE: &str = "Operation not supported";
        let missing = match self.look(path, true) {
            Ok(place) => return place.real.ok_or(DEVICE),
            Err(cause) => cause,
        };
        let new = self.own(path)?;
        // A dangling link is there, though what it leads to is not.
        if new.is_symlink() { Err(missing) } else { Ok(new) }
    }

    /// The same, but of a link at the end it is the link.
    pub fn own(&self, path: &str) -> std::result::Result<PathBuf, &'static str> {
        let (parent, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
        let place = self.look(&format!("{parent}/"), true)?;
        if !place.is_directory() {
            return Err("Not a directory");
        }
        place.real.map(|real| real.join(name)).ok_or("Operation not supported")
    }
}

fn push(todo: &mut Vec<OsString>, path: &Path) {
    todo.extend(path.components().rev().filter_map(|component| match component {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    }));
}

/// A path of the host as the user spells it: with the root in front, as other programs print it, or without.
pub fn without_root(host: &Host, path: &str) -> String {
    host.inside(path).unwrap_or_else(|| path.into())
}

/// A name of the mount table as the host's programs print it.
pub fn shown(host: &Host, name: &Path) -> String {
    without_root(host, &name.display().to_string())
}

/// Whether a mount has its source at or below a path of the host, so that the file system there is in use.
pub fn is_source(host: &Host, path: &str) -> Result<bool> {
    let place = root(host)?.host_path(Path::new(path));
    Ok(kernel(host)?.state()?.mounts.iter().any(|mount| mount.from.starts_with(&place)))
}

/// Runs mount(8).
pub fn mount(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let Ok((options, words)) = getopt(args, "o:pt:") else {
        bail!("mount: only -o, -p and -t are imitated");
    };
    let value = |letter| options.iter().find(|(found, _)| *found == letter).map(|(_, value)| value.as_str());
    let kind = value('t');
    match words.as_slice() {
        [] => {
            list(host, kind, value('p').is_some(), reply)?;
            Ok(0)
        }
        [from, on] => {
            let Some(kind) = kind else { bail!("mount: without -t not imitated") };
            let from = without_root(host, from);
            make(host, kind, &from, &without_root(host, on), value('o').unwrap_or("rw"), reply)
        }
        _ => bail!("mount: only a listing and one mount are imitated"),
    }
}

fn list(host: &Host, kind: Option<&str>, as_fstab: bool, reply: &mut Reply) -> Result<()> {
    // Columns of eight, one blank at least.
    let column = |text: &str| {
        let tabs = match text.len() {
            0..8 => "\t\t\t",
            8..16 => "\t\t",
            16..24 => "\t",
            _ => " ",
        };
        format!("{text}{tabs}")
    };
    for mount in kernel(host)?.state()?.mounts {
        if kind.is_some_and(|kind| kind != mount.kind) {
            continue;
        }
        let (from, on, kind) = (shown(host, &mount.from), shown(host, &mount.on), &mount.kind);
        let noted = noted(host, &format!("mount-{}", mount.fsid)).unwrap_or_default();
        let read_only = noted.split(',').any(|option| option == "ro");
        reply.say(if as_fstab {
            let access = if read_only { "ro" } else { "rw" };
            format!("{}{}{kind}\t{access}\t\t0 0", column(&from), column(&on))
        } else {
            format!("{from} on {on} ({kind}, local{})", if read_only { ", read-only" } else { "" })
        });
    }
    Ok(())
}

fn make(host: &Host, kind: &str, from: &str, on: &str, options: &str, reply: &mut Reply) -> Result<u8> {
    let kernel = kernel(host)?;
    let view = View::new(host, &kernel.state()?)?;
    let place = match view.look(on, true) {
        Ok(place) => place,
        Err(cause) => {
            reply.complain(format!("mount: {on}: {cause}"));
            return Ok(1);
        }
    };
    // devfs and its like have no source, whatever word is given for one.
    let mut source = PathBuf::from(kind);
    let program = if kind == "nullfs" { "mount_nullfs" } else { "mount" };
    if kind == "nullfs" {
        let found = match view.look(from, true) {
            Ok(found) => found,
            Err(cause) => {
                reply.complain(format!("{program}: {from}: {cause}"));
                // EX_USAGE.
                return Ok(64);
            }
        };
        if found.is_directory() != place.is_directory() {
            reply.complain(format!("{program}: {from}: must be same type as {on}"));
            return Ok(64);
        }
        source = found.name;
    }
    let made = kernel.change(|state| {
        state.mount(kind, &source, &place.name)?;
        Ok(state.mounts.last().map(|mount| mount.fsid))
    });
    match made {
        Ok(fsid) => {
            if let Some(fsid) = fsid {
                note(host, &format!("mount-{fsid}"), options)?;
            }
            Ok(0)
        }
        Err(refused) => {
            reply.complain(format!("{program}: {}: {}", shown(host, &place.name), refused.errno));
            Ok(1)
        }
    }
}

/// Runs umount(8).
pub fn umount(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let Ok((options, words)) = getopt(args, "ft:") else {
        bail!("umount: only -f and -t are imitated");
    };
    let kind = options.iter().find(|(letter, _)| *letter == 't').map(|(_, kind)| kind);
    let force = options.iter().any(|(letter, _)| *letter == 'f');
    let kernel = kernel(host)?;
    let mut status = 0;
    for word in words {
        let path = without_root(host, &word);
        let view = View::new(host, &kernel.state()?)?;
        let place = match view.look(&path, true) {
            Ok(place) => place,
            Err(cause) => {
                reply.complain(format!("umount: {path}: statfs: {cause}"));
                reply.complain(format!("umount: {path}: unknown file system"));
                status = 1;
                continue;
            }
        };
        let Some(mount) = view.top(&place.name) else {
            reply.complain(format!("umount: {path}: not a file system root directory"));
            status = 1;
            continue;
        };
        if kind.is_some_and(|kind| *kind != mount.kind) {
            status = 1;
        } else if let Err(refused) = kernel.change(|state| state.unmount(mount.fsid, force)) {
            let on = shown(host, &mount.on);
            reply.complain(format!("umount: unmount of {on} failed: {}", refused.errno));
            status = 1;
        }
    }
    Ok(status)
}
