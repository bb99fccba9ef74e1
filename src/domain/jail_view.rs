//! The tree as a jail sees it: the base at `/`, the container at `/skeleton`,
//! further trees where fstab mounts them.
//!
//! Names are looked up one component at a time, relative to open directories,
//! in the composed view: nothing leads out to the host's own tree, whatever a
//! link says. That is also the only view in which a link of a thin jail can be
//! judged; seen from the host nearly all of them look dangling.

use crate::system::tree;
use anyhow::Result;
use rustix::fs::{AtFlags, FileType, readlinkat, statat};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// MAXSYMLINKS (freebsd-src: sys/sys/param.h).
const MAX_LINKS: usize = 32;

/// PATH_MAX (freebsd-src: sys/sys/syslimits.h). What lies deeper has no name that
/// a program could use; the way there would be looked up level by level, again
/// and again, for each of as many links as a jail's root likes to make.
const LONGEST: usize = 1024;

/// Directories kept open; a tree has far fewer that links point to.
const CACHED: usize = 128;

/// What to do on meeting a symbolic link, the last component included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symlinks {
    /// Go where it points, as the kernel does.
    Follow,
    /// Stop at it, as jail(8) does with mount points.
    Stop,
}

/// What a look-up found.
#[derive(Debug)]
pub enum LookupResult {
    /// A directory, at this link-free path of the composed view.
    Directory(PathBuf),
    /// Another file, at this path.
    File(PathBuf),
    /// A symbolic link at this path ([`Symlinks::Stop`] only).
    Link(PathBuf),
    /// Nothing at this path.
    Missing(PathBuf),
    /// Something that is no directory at this path, with more path to go.
    NotDirectory(PathBuf),
    /// More links than the kernel follows.
    TooManyLinks,
}

/// The composed view.
pub struct JailRootView {
    /// Mount points, as link-free absolute paths of the view, in the order they
    /// were mounted, and the trees mounted there. The first is `/`.
    mounts: Vec<(PathBuf, Rc<OwnedFd>)>,
    open: RefCell<HashMap<PathBuf, Rc<OwnedFd>>>,
}

impl JailRootView {
    /// A view of one tree, `base`, at `/`.
    pub fn new(base: &Path) -> Result<JailRootView> {
        let base = Rc::new(tree::open_directory(base)?);
        Ok(JailRootView { mounts: vec![(PathBuf::from("/"), base)], open: RefCell::default() })
    }

    /// Mounts a further tree at a link-free absolute path of the view.
    pub fn mount(&mut self, tree: &Path, point: &Path) -> Result<()> {
        self.mounts.push((point.to_owned(), Rc::new(tree::open_directory(tree)?)));
        self.open.borrow_mut().clear();
        Ok(())
    }

    /// Looks a name up, starting in the link-free directory `from` of the view
    /// unless it is absolute.
    pub fn look_up(&self, from: &Path, name: &Path, links: Symlinks) -> io::Result<LookupResult> {
        // The components still to go, next one last.
        let mut todo: Vec<OsString> = Vec::new();
        push_components(&mut todo, name);
        let mut here = if name.is_absolute() { PathBuf::from("/") } else { from.to_owned() };
        let mut followed = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&part);
            if next.as_os_str().len() > LONGEST {
                return Ok(LookupResult::Missing(next));
            }
            let Some(kind) = self.kind(&here, &next, &part)? else { return Ok(LookupResult::Missing(next)) };
            match kind {
                FileType::Directory => here = next,
                FileType::Symlink if links == Symlinks::Stop => return Ok(LookupResult::Link(next)),
                FileType::Symlink => {
                    followed += 1;
                    if followed > MAX_LINKS {
                        return Ok(LookupResult::TooManyLinks);
                    }
                    let text = readlinkat(&*self.directory(&here)?, &part, Vec::new())?;
                    let text = PathBuf::from(OsString::from_vec(text.into_bytes()));
                    if text.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    push_components(&mut todo, &text);
                }
                _ if todo.is_empty() => return Ok(LookupResult::File(next)),
                _ => return Ok(LookupResult::NotDirectory(next)),
            }
        }
        Ok(LookupResult::Directory(here))
    }

    fn mounted_at(&self, path: &Path) -> Option<Rc<OwnedFd>> {
        self.mounts.iter().rev().find(|(point, _)| point == path).map(|(_, tree)| tree.clone())
    }

    fn kind(&self, here: &Path, next: &Path, part: &OsStr) -> io::Result<Option<FileType>> {
        // Also spares the system calls for what was walked before.
        if self.open.borrow().contains_key(next) || self.mounted_at(next).is_some() {
            return Ok(Some(FileType::Directory));
        }
        match statat(&*self.directory(here)?, part, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            // A text longer than any name leads nowhere either.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NAMETOOLONG) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// An open directory of the view, by its link-free path.
    fn directory(&self, path: &Path) -> io::Result<Rc<OwnedFd>> {
        if let Some(tree) = self.mounted_at(path) {
            return Ok(tree);
        }
        if let Some(open) = self.open.borrow().get(path) {
            return Ok(open.clone());
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let directory = tree::open_directory_at(&*self.directory(parent)?, &CString::new(name.as_bytes())?)?;
        let directory = Rc::new(directory);
        let mut open = self.open.borrow_mut();
        if open.len() >= CACHED {
            open.clear();
        }
        open.insert(path.to_owned(), directory.clone());
        Ok(directory)
    }
}

fn push_components(todo: &mut Vec<OsString>, name: &Path) {
    let named = name.components().rev().filter_map(|c| match c {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    todo.extend(named);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn view() -> (tempfile::TempDir, JailRootView) {
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        fs::create_dir_all(at("base/usr/share/certs")).unwrap();
        fs::create_dir_all(at("base/skeleton")).unwrap();
        fs::create_dir_all(at("container/etc/ssl")).unwrap();
        fs::create_dir_all(at("container/usr/local/www")).unwrap();
        fs::write(at("base/usr/share/certs/a.pem"), "a").unwrap();
        symlink("skeleton/etc", at("base/etc")).unwrap();
        symlink("../skeleton/usr/local", at("base/usr/local")).unwrap();
        symlink("/", at("container/etc/slash")).unwrap();
        symlink("loop", at("container/etc/loop")).unwrap();
        let mut view = JailRootView::new(&at("base")).unwrap();
        view.mount(&at("container"), Path::new("/skeleton")).unwrap();
        (dir, view)
    }

    fn found(view: &JailRootView, from: &str, name: &str) -> String {
        format!("{:?}", view.look_up(Path::new(from), Path::new(name), Symlinks::Follow).unwrap())
    }

    #[test]
    fn as_the_jail_sees_it() {
        let (_dir, view) = view();
        let file = "File(\"/usr/share/certs/a.pem\")";
        assert_eq!(found(&view, "/", "/usr/share/certs/a.pem"), file);
        assert_eq!(found(&view, "/skeleton/etc/ssl", "../../../usr/share/certs/a.pem"), file);
        assert_eq!(found(&view, "/skeleton/etc/ssl", "../../../../../usr/share/certs/a.pem"), file);
        assert_eq!(
            found(&view, "/skeleton/etc/ssl", "../../usr/local/www"),
            "Directory(\"/skeleton/usr/local/www\")"
        );
        assert_eq!(found(&view, "/", "/etc/ssl"), "Directory(\"/skeleton/etc/ssl\")");
        assert_eq!(found(&view, "/", "usr/local/www/../.."), "Directory(\"/skeleton/usr\")");
        assert_eq!(found(&view, "/", "etc/slash/usr/share/certs/a.pem"), file);
        assert_eq!(found(&view, "/skeleton/etc/ssl", "../../usr/share"), "Missing(\"/skeleton/usr/share\")");
        assert_eq!(found(&view, "/", "usr/share/certs/a.pem/x"), "NotDirectory(\"/usr/share/certs/a.pem\")");
        assert_eq!(found(&view, "/", "etc/loop"), "TooManyLinks");
    }

    /// Links in a chain of directories, each leading further down it.
    #[test]
    fn deeper_than_any_name() {
        use rustix::fs::{Mode, OFlags, mkdirat, openat, symlinkat};
        let (dir, view) = view();
        let top = dir.path().join("container/etc");
        let mut here = crate::system::tree::open_directory(&top).unwrap();
        for level in 0..1_600 {
            if level % 500 == 0 {
                symlinkat("d/".repeat(500) + "link", &here, "link").unwrap();
            }
            mkdirat(&here, "d", Mode::RWXU).unwrap();
            here = openat(&here, "d", OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        }
        let output = found(&view, "/", "etc/link");
        assert!(output.starts_with("Missing(\"/skeleton/etc/d/d/") && output.len() < 1050, "{output}");
        crate::system::tree::remove(&top.join("d")).unwrap();
    }

    #[test]
    fn stops_at_links() {
        let (_dir, view) = view();
        let stop = |name: &str| {
            format!("{:?}", view.look_up(Path::new("/"), Path::new(name), Symlinks::Stop).unwrap())
        };
        assert_eq!(stop("/usr/local/www"), "Link(\"/usr/local\")");
        assert_eq!(stop("/skeleton/usr/local/www"), "Directory(\"/skeleton/usr/local/www\")");
    }
}
