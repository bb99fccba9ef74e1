//! Links of a skeleton that climb out of it.
//!
//! A link that was at /etc/x is, after the split, really at /skeleton/etc/x.
//! The kernel resolves a relative link from the real directory, so a text that
//! climbs out of the moved trees misses its target by the depth of `skeleton/`.
//! Links among the moved trees keep their meaning, because `skeleton/` is the
//! common parent of them all.

use crate::domain::jail_view::{JailRootView, LookupResult, Symlinks};
use crate::domain::layout::{MOVED, SKELETON};
use crate::formats::shell;
use crate::system::console;
use crate::system::effect;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::tree;
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, Gid, Stat, Uid, fstat, readlinkat, statat};
use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Where base has links that climb: hashed certificates (certctl(8)), under
/// their names of 13, 14 and 15.
const CERTIFICATES: [&str; 3] = ["etc/ssl/certs", "etc/ssl/untrusted", "etc/ssl/blacklisted"];

/// The one other such link of base.
const RMT: &str = "etc/rmt";

/// Copies of whole trees, whose links dangle by design (etcupdate(8)).
const NOT_OURS: &str = "var/db/etcupdate";

/// Directories below each other that are looked into: a jail's root can nest
/// more of them than a process can have open.
const DEPTH: usize = 200;

/// The name of a new link before it is renamed over the old one.
const TEMPORARY: &CStr = c".thinjail-link";

/// Which links to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkScope {
    /// Certificates and etc/rmt.
    Certificates,
    /// The whole skeleton.
    All,
}

/// The skeleton, by its open top, and the directory of it that was used last:
/// work goes through one directory after the other, and a tree may have more
/// directories than a process may have open files.
#[derive(Clone)]
struct Skeleton {
    path: Rc<Path>,
    top: Rc<OwnedFd>,
    last: Rc<RefCell<Option<OpenDirectory>>>,
}

type OpenDirectory = (PathBuf, Rc<OwnedFd>);

impl Skeleton {
    fn open(path: &Path) -> Result<Skeleton> {
        Ok(Skeleton { path: path.into(), top: Rc::new(tree::open_directory(path)?), last: Rc::default() })
    }

    /// A directory below the top, no link followed on the way.
    fn directory(&self, path: &Path) -> io::Result<Rc<OwnedFd>> {
        if let Some((last, open)) = &*self.last.borrow()
            && last == path
        {
            return Ok(open.clone());
        }
        let mut here = self.top.clone();
        for part in path {
            here = Rc::new(tree::open_directory_at(&*here, &CString::new(part.as_bytes())?)?);
        }
        *self.last.borrow_mut() = Some((path.to_owned(), here.clone()));
        Ok(here)
    }
}

/// A link to be given another text.
#[derive(Clone)]
pub struct RepairLink {
    skeleton: Skeleton,
    /// Path of the link below the skeleton.
    pub path: PathBuf,
    /// Its present text.
    pub old: OsString,
    /// The text it should have.
    pub new: OsString,
}

/// What a look at a skeleton found.
#[derive(Default)]
pub struct Survey {
    /// Links to repair.
    pub repairs: Vec<RepairLink>,
    /// What no change of depth can repair, as path and reason.
    pub findings: Vec<(PathBuf, String)>,
    /// Temporary links that a killed run left.
    leftovers: Vec<RemoveLeftoverLink>,
    /// Links looked at.
    pub seen: usize,
}

struct RemoveLeftoverLink {
    skeleton: Skeleton,
    directory: PathBuf,
}

/// What a relative text leads to, read as if the trees had not been moved.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// It stays within the moved trees.
    Inside,
    /// It leaves them.
    Outside {
        /// Where it leads to, an absolute path.
        target: PathBuf,
        /// The text that leads there from the link's real directory.
        text: OsString,
    },
}

/// Reads `text` in the directory `directory` of the unsplit tree (`etc/ssl`).
pub fn read_text(directory: &Path, text: &[u8]) -> Reading {
    let mut here: Vec<&[u8]> = directory.iter().map(OsStr::as_bytes).collect();
    let inside = |here: &[&[u8]]| {
        MOVED.iter().any(|tree| {
            let tree: Vec<&[u8]> = tree.split('/').map(str::as_bytes).collect();
            here.starts_with(&tree)
        })
    };
    // The byte behind the last `..` of the first climb out of the moved trees,
    // and the directory that was reached there.
    let mut climb: Option<(usize, Vec<&[u8]>)> = None;
    let mut climbing = true;
    let mut at = 0;
    for part in text.split(|b| *b == b'/') {
        let end = at + part.len();
        match part {
            b"" | b"." => {}
            b".." => {
                here.pop();
                if !inside(&here) && climbing {
                    climb = Some((end, here.clone()));
                }
            }
            name => {
                here.push(name);
                climbing &= climb.is_none();
            }
        }
        at = end + 1;
    }
    let Some((cut, reached)) = climb.filter(|_| !inside(&here)) else { return Reading::Inside };
    let mut target = PathBuf::from("/");
    target.extend(here.iter().map(|part| OsStr::from_bytes(part)));
    // Where the climb ends the moved link stands at /skeleton/REACHED: from
    // there up to /, and down to REACHED again.
    let mut new = text[..cut].to_vec();
    for _ in 0..=reached.len() {
        new.extend(b"/..");
    }
    for part in &reached {
        new.push(b'/');
        new.extend(*part);
    }
    new.extend(&text[cut..]);
    Reading::Outside { target, text: OsString::from_vec(new) }
}

/// Looks at the links of the skeleton or container at `skeleton` as a jail on
/// the base at `base` sees them. Both are real paths.
pub fn survey(skeleton: &Path, base: &Path, scope: LinkScope) -> Result<Survey> {
    let mut view = JailRootView::new(base)?;
    let point = Path::new("/").join(SKELETON);
    view.mount(skeleton, &point)?;
    let opened = Skeleton::open(skeleton)?;
    let top = opened.top.clone();
    let mut surveyor = Surveyor { view, skeleton, opened, survey: Survey::default() };
    match scope {
        LinkScope::Certificates => {
            for path in CERTIFICATES {
                if let Some(directory) = surveyor.descend(&top, Path::new(path))? {
                    surveyor.directory(&directory, &mut PathBuf::from(path), true, false)?;
                }
            }
            let rmt = Path::new(RMT);
            let (parent, name) = (rmt.parent().unwrap_or(rmt), c"rmt");
            let opened = surveyor.descend(&top, parent)?;
            // Its directory is not listed, so look for what a killed run left.
            let left = opened.as_ref().is_some_and(|d| {
                let stat = statat(&**d, TEMPORARY, AtFlags::SYMLINK_NOFOLLOW);
                stat.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Symlink)
            });
            if left {
                let (skeleton, directory) = (surveyor.opened.clone(), parent.to_owned());
                surveyor.survey.leftovers.push(RemoveLeftoverLink { skeleton, directory });
            }
            if let Some(directory) = opened
                && let Ok(stat) = statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW)
            {
                surveyor.entry(&directory, rmt, name, &stat, true)?;
            }
        }
        LinkScope::All => surveyor.directory(&top, &mut PathBuf::new(), false, true)?,
    }
    Ok(surveyor.survey)
}

struct Surveyor<'a> {
    view: JailRootView,
    skeleton: &'a Path,
    opened: Skeleton,
    survey: Survey,
}

impl Surveyor<'_> {
    /// Opens a directory of the skeleton; `None` if it does not exist. A link on
    /// the way is a finding and is not followed.
    fn descend(&mut self, top: &Rc<OwnedFd>, path: &Path) -> Result<Option<Rc<OwnedFd>>> {
        let mut here = top.clone();
        let mut walked = PathBuf::new();
        for part in path {
            walked.push(part);
            let name = CString::new(part.as_bytes())?;
            let open = || -> io::Result<Option<OwnedFd>> {
                match statat(&*here, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(rustix::io::Errno::NOENT) => Ok(None),
                    Err(e) => Err(e.into()),
                    Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                        tree::open_directory_at(&*here, &name).map(Some)
                    }
                    Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
                }
            };
            here = match open() {
                Ok(Some(next)) => Rc::new(next),
                Ok(None) => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                    self.survey
                        .findings
                        .push((walked, "not a directory (a symbolic link here is not followed)".into()));
                    return Ok(None);
                }
                Err(e) => {
                    return Err(e).with_context(|| format!("open {}", self.skeleton.join(walked).display()));
                }
            };
        }
        Ok(Some(here))
    }

    fn directory(
        &mut self,
        directory: &Rc<OwnedFd>,
        path: &mut PathBuf,
        certificates: bool,
        recurse: bool,
    ) -> Result<()> {
        let names = tree::names(&**directory)
            .with_context(|| format!("read {}", self.skeleton.join(&path).display()))?;
        for name in names {
            // ZFS shows its snapshots there, if asked to.
            if path.as_os_str().is_empty() && *name == *c".zfs" {
                continue;
            }
            path.push(OsStr::from_bytes(name.to_bytes()));
            let stat = match statat(&**directory, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // A running jail may remove its files meanwhile.
                Err(rustix::io::Errno::NOENT) => {
                    path.pop();
                    continue;
                }
                Err(e) => {
                    return Err(io::Error::from(e))
                        .with_context(|| format!("look at {}", self.skeleton.join(&path).display()));
                }
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink if *name == TEMPORARY => self.survey.leftovers.push(RemoveLeftoverLink {
                    skeleton: self.opened.clone(),
                    directory: path.parent().unwrap_or(Path::new("")).to_owned(),
                }),
                FileType::Symlink => self.entry(directory, path, &name, &stat, certificates)?,
                FileType::Directory if recurse && path.components().count() > DEPTH => {
                    self.survey.findings.push((path.clone(), "too deep a directory, not looked into".into()));
                }
                FileType::Directory if recurse && path != Path::new(NOT_OURS) => {
                    let sub = tree::open_directory_at(&**directory, &name)
                        .with_context(|| format!("open {}", self.skeleton.join(&path).display()))?;
                    self.directory(&Rc::new(sub), path, false, true)?;
                }
                _ => {}
            }
            path.pop();
        }
        Ok(())
    }

    /// Judges one link. In the certificate directories any dangling link is a
    /// finding; elsewhere only one that climbs out: os-release and its like
    /// have targets that are made at boot.
    fn entry(
        &mut self,
        directory: &Rc<OwnedFd>,
        path: &Path,
        name: &CStr,
        stat: &Stat,
        all: bool,
    ) -> Result<()> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(());
        }
        self.survey.seen += 1;
        let real = || self.skeleton.join(path);
        let old = readlinkat(&**directory, name, Vec::new())
            .map_err(io::Error::from)
            .with_context(|| format!("read {}", real().display()))?;
        let parent = path.parent().unwrap_or(Path::new(""));
        let here = Path::new("/").join(SKELETON).join(parent);
        let text = OsString::from_vec(old.into_bytes());
        if self.resolves(&here, Path::new(&text))? {
            return Ok(());
        }
        let reading =
            if Path::new(&text).is_absolute() { Reading::Inside } else { read_text(parent, text.as_bytes()) };
        let repaired = match &reading {
            Reading::Outside { target, text } if self.resolves(Path::new("/"), target)? => {
                self.resolves(&here, Path::new(text))?.then(|| text.clone())
            }
            _ => None,
        };
        match repaired {
            Some(new) => self.survey.repairs.push(RepairLink {
                skeleton: self.opened.clone(),
                path: path.to_owned(),
                old: text,
                new,
            }),
            None if all || reading != Reading::Inside => {
                let what = format!("dangling symbolic link to {}", text.display().to_string().escape_debug());
                self.survey.findings.push((path.to_owned(), what));
            }
            None => {}
        }
        Ok(())
    }

    fn resolves(&self, from: &Path, name: &Path) -> Result<bool> {
        let found = self.view.look_up(from, name, Symlinks::Follow);
        let found = found.with_context(|| format!("look up {}", name.display()))?;
        Ok(matches!(found, LookupResult::Directory(_) | LookupResult::File(_)))
    }
}

impl Survey {
    /// Temporary links that a killed run left.
    pub fn leftovers(&self) -> usize {
        self.leftovers.len()
    }

    /// The repairs, and the removal of what a killed run left, as actions.
    pub fn into_plan(self) -> (crate::system::plan::Plan, Vec<(PathBuf, String)>) {
        let mut plan = crate::system::plan::Plan::default();
        for leftover in self.leftovers {
            plan.push(leftover);
        }
        for repair in self.repairs {
            plan.push(repair);
        }
        (plan, self.findings)
    }
}

impl RemoveLeftoverLink {
    fn path(&self) -> PathBuf {
        let name = OsStr::from_bytes(TEMPORARY.to_bytes());
        self.skeleton.path.join(&self.directory).join(name)
    }
}

impl Action for RemoveLeftoverLink {
    fn shell(&self) -> String {
        shell::line(["/bin/rm".as_ref(), self.path().as_os_str()])
    }

    fn perform(&self, _host: &Host, _undo: &mut Undo) -> Result<()> {
        let remove =
            || effect::unlinkat(&*self.skeleton.directory(&self.directory)?, TEMPORARY, AtFlags::empty());
        remove().map_err(|e: io::Error| e).with_context(|| format!("remove {}", self.path().display()))
    }
}

impl Action for RepairLink {
    fn shell(&self) -> String {
        let (text, link) = (self.new.as_os_str(), self.skeleton.path.join(&self.path));
        shell::line(["/bin/ln".as_ref(), "-shf".as_ref(), "--".as_ref(), text, link.as_os_str()])
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        self.replace()
            .with_context(|| format!("repair {}", self.skeleton.path.join(&self.path).display()))?;
        undo.push(RepairLink { old: self.new.clone(), new: self.old.clone(), ..self.clone() });
        Ok(())
    }
}

impl RepairLink {
    fn replace(&self) -> Result<()> {
        let directory = self.skeleton.directory(self.path.parent().unwrap_or(Path::new("")))?;
        let directory: BorrowedFd = directory.as_fd();
        let name = CString::new(self.path.file_name().unwrap_or_default().as_bytes())?;
        let stat = statat(directory, &*name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)?;
        let present = readlinkat(directory, &*name, Vec::new()).map_err(io::Error::from)?;
        if present.as_bytes() != self.old.as_bytes() {
            bail!("another program changed it in the meantime; run it again");
        }
        let times = fstat(directory).map_err(io::Error::from)?;
        let text = CString::new(self.new.as_bytes())?;
        effect::symlinkat(&text, directory, TEMPORARY)?;
        let in_place = (|| -> io::Result<()> {
            let made = statat(directory, TEMPORARY, AtFlags::SYMLINK_NOFOLLOW)?;
            if (made.st_uid, made.st_gid) != (stat.st_uid, stat.st_gid) {
                let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
                effect::chownat(directory, TEMPORARY, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            crate::system::tree::flags::set_link_mode(directory, TEMPORARY, tree::permissions_of(&stat))?;
            effect::utimensat(directory, TEMPORARY, &tree::times_of(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
            effect::renameat(directory, TEMPORARY, directory, &name)
        })();
        if let Err(e) = in_place {
            let _ = effect::unlinkat(directory, TEMPORARY, AtFlags::empty());
            return Err(e.into());
        }
        // The directory's contents mean the same as before; only its owner may
        // say so, and nothing depends on it.
        let _ = effect::futimens(directory, &tree::times_of(&times));
        Ok(())
    }
}

/// Where skel-fixcerts(8) is installed.
pub const FIXCERTS: &str = "/usr/local/sbin/skel-fixcerts";

/// Repairs all links of a skeleton that climb out of it, as a step of a
/// program that makes or changes a template.
pub struct RepairLinks {
    /// The program whose step it is.
    pub program: &'static str,
    /// The base (a real path).
    pub base: PathBuf,
    /// The skeleton (a real path).
    pub skeleton: PathBuf,
}

impl Action for RepairLinks {
    fn shell(&self) -> String {
        let words = [FIXCERTS, "-a", "-b"].map(std::ffi::OsStr::new);
        shell::line(words.into_iter().chain([self.base.as_os_str(), self.skeleton.as_os_str()]))
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let (plan, findings) = survey(&self.skeleton, &self.base, LinkScope::All)?.into_plan();
        for (path, what) in findings {
            warn(self.program, &path, &what);
        }
        plan.perform(host, undo)
    }
}

/// Describes it on one line, whatever the names contain.
pub fn warn(program: &str, path: &Path, what: &str) {
    console::note(program, &format!("{}: {what}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(directory: &str, text: &str) -> Option<(String, String)> {
        match read_text(Path::new(directory), text.as_bytes()) {
            Reading::Inside => None,
            Reading::Outside { target, text } => {
                Some((target.to_str().unwrap().into(), text.into_string().unwrap()))
            }
        }
    }

    fn outside(target: &str, text: &str) -> Option<(String, String)> {
        Some((target.into(), text.into()))
    }

    #[test]
    fn the_links_of_base() {
        assert_eq!(
            read("etc/ssl/certs", "../../../usr/share/certs/trusted/a.pem"),
            outside("/usr/share/certs/trusted/a.pem", "../../../../usr/share/certs/trusted/a.pem")
        );
        assert_eq!(read("etc", "../usr/sbin/rmt"), outside("/usr/sbin/rmt", "../../usr/sbin/rmt"));
        assert_eq!(read("etc", "../var/run/os-release"), None);
        assert_eq!(read("etc", "../var/unbound"), None);
        assert_eq!(read("etc", "mail/aliases"), None);
        assert_eq!(read("etc/ssl/certs", "../../../usr/local/share/certs/a.pem"), None);
        assert_eq!(read("usr/local/bin", "../lib/x"), None);
    }

    #[test]
    fn other_ways_to_climb() {
        // Packages: from usr/local to usr.
        assert_eq!(
            read("usr/local/etc", "../../share/zoneinfo"),
            outside("/usr/share/zoneinfo", "../../../../usr/share/zoneinfo")
        );
        assert_eq!(
            read("usr/local/etc", "../../../usr/share/x"),
            outside("/usr/share/x", "../../../../usr/share/x")
        );
        assert_eq!(read("etc/ssl", "certs/../../../usr/x"), outside("/usr/x", "certs/../../../../usr/x"));
        assert_eq!(read("etc/ssl", ".//../..//usr/x"), outside("/usr/x", ".//../../..//usr/x"));
        assert_eq!(read("etc", "../usr/../usr/x"), outside("/usr/x", "../../usr/../usr/x"));
        assert_eq!(read("etc", "../../../usr/x"), outside("/usr/x", "../../../../usr/x"));
        assert_eq!(read("etc", "../usr/../etc/x"), None);
        assert_eq!(read("etc", ".."), outside("/", "../.."));
    }

    /// Where a text leads, lexically, from an absolute directory.
    fn lexical(from: &str, text: &str) -> PathBuf {
        let mut here = PathBuf::from(from);
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    here.pop();
                }
                name => here.push(name),
            }
        }
        here
    }

    proptest! {
        #[test]
        fn the_new_text_leads_to_the_old_target(
            directory in prop_oneof![Just("etc"), Just("etc/ssl/certs"), Just("usr/local"), Just("usr/local/a/b"), Just("var/db")],
            text in proptest::collection::vec(prop_oneof![3 => Just(".."), 1 => Just("."), 1 => Just("usr"), 1 => Just("share"), 1 => Just("local"), 1 => Just("etc"), 1 => Just("")], 1..9),
        ) {
            let text = format!("x/{}", text.join("/"));
            let text = text.strip_prefix("x/").filter(|t| !t.starts_with('/') && !t.is_empty()).unwrap_or(&text);
            if let Some((target, new)) = read(directory, text) {
                prop_assert_eq!(lexical(&format!("/{directory}"), text), PathBuf::from(&target));
                prop_assert_eq!(lexical(&format!("/skeleton/{directory}"), &new), PathBuf::from(&target));
            }
        }
    }
}
