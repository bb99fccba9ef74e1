//! A jail's fstab as it is, checked as jail(8) would meet it.

use super::{Target, check_source, same_path, target_in, text_below};
use crate::domain::jail_view::{JailRootView, LookupResult, Symlinks};
use crate::domain::layout::{Layout, SKELETON};
use crate::formats::fstab::{FstabEntry, FstabProblem, parse};
use crate::system::console;
use crate::system::host::Host;
use crate::types::jail_name::JailName;
use anyhow::{Context, Result};
use std::io;
use std::path::{Component, Path, PathBuf};

/// What [`check`] says of a base that is not read-only.
pub const BASE_WRITABLE: &str = "the base is mounted rw: every jail could change it";

/// Checks an existing fstab as jail(8) would meet it: everything wrong with it,
/// not only the first.
pub fn check(host: &Host, layout: &Layout, jail: &JailName, text: &[u8]) -> Result<Vec<FstabProblem>> {
    let (entries, problems) = parse(text);
    let path = layout.path(jail);
    let mut check = Check { host, layout, jail, path, view: None, targets: Vec::new(), problems };
    if entries.is_empty() {
        check.problem(0, "contains no mounts".into());
    }
    for (index, (line, entry)) in entries.iter().enumerate() {
        check.entry(index, *line, entry)?;
    }
    if entries.len() == 1 {
        check.problem(0, "only one mount: the line of the container is missing".into());
    }
    check.problems.sort_by_key(|f| f.line);
    Ok(check.problems)
}

/// What is known of the lines so far.
struct Check<'a> {
    host: &'a Host,
    layout: &'a Layout,
    jail: &'a JailName,
    path: PathBuf,
    /// The root of the jail as the lines so far make it; `None` without a base.
    view: Option<JailRootView>,
    /// The mount points so far.
    targets: Vec<&'a Path>,
    problems: Vec<FstabProblem>,
}

impl<'a> Check<'a> {
    fn problem(&mut self, line: usize, what: String) {
        self.problems.push(FstabProblem { line, what });
    }

    fn entry(&mut self, index: usize, line: usize, entry: &'a FstabEntry) -> Result<()> {
        self.options(line, entry);
        let source = match entry.kind == "nullfs" {
            true => self.source(index, line, entry),
            false => None,
        };
        let Some(inside) = self.mount_point(line, &entry.target) else { return Ok(()) };
        match index {
            0 => return self.base(line, entry, &inside, source.as_deref()),
            1 => self.container(line, entry, &inside),
            _ => {}
        }
        self.mount(line, entry, &inside, source.as_deref())
    }

    fn options(&mut self, line: usize, entry: &FstabEntry) {
        match entry.options.first().map(String::as_str) {
            Some("ro" | "rw") => {}
            Some(first) => self
                .problem(line, format!("the options start with {first}; getfsent(3) expects ro or rw first")),
            None => self.problem(line, "no options; getfsent(3) expects ro or rw".into()),
        }
    }

    /// The source of a nullfs(5) mount, a real path, if it is a directory.
    fn source(&mut self, index: usize, line: usize, entry: &FstabEntry) -> Option<PathBuf> {
        let (source, shown) = (&entry.source, entry.source.display());
        let real = self.host.root().host_path(source);
        // The second line has the container itself, whose place is the host's.
        let is_container = index == 1;
        let leads_elsewhere = real.canonicalize().is_ok_and(|resolved| !same_path(&resolved, &real));
        if is_container && leads_elsewhere {
            self.problem(line, format!("mount source {shown}: contains a symbolic link"));
            return None;
        }
        if !is_container && let Err(e) = check_source(self.host, self.layout, source) {
            self.problem(line, console::line(&e));
            return None;
        }
        if !source.is_absolute() {
            self.problem(line, format!("source {shown} is not an absolute path"));
            return None;
        }
        match std::fs::metadata(&real) {
            Ok(metadata) => metadata.is_dir().then_some(real),
            Err(e) => {
                self.problem(line, format!("source {shown}: {}", reason(&e)));
                None
            }
        }
    }

    /// The mount point as the jail sees it.
    fn mount_point(&mut self, line: usize, target: &'a Path) -> Option<PathBuf> {
        let (shown, path) = (target.display(), self.path.clone());
        if !target.is_absolute() {
            self.problem(line, format!("mount point {shown}: not an absolute pathname"));
            return None;
        }
        let Some(below) = text_below(&path, target) else {
            let path_is_meant = target.starts_with(&path);
            let path = path.display();
            self.problem(
                line,
                match path_is_meant {
                    true => format!("mount point {shown}: write it with the path of the jail, {path}"),
                    false => format!("mount point {shown} is outside the jail's path {path}"),
                },
            );
            return None;
        };
        if below.components().any(|c| matches!(c, Component::ParentDir)) {
            self.problem(line, format!("mount point {shown}: .. leads out of the jail"));
            return None;
        }
        if self.targets.iter().any(|t| same_path(t, target)) {
            self.problem(line, format!("mount point {shown} is listed twice"));
        }
        self.targets.push(target);
        Some(Path::new("/").join(below))
    }

    /// The first line: the base on the jail's path, read-only.
    fn base(&mut self, line: usize, entry: &FstabEntry, inside: &Path, source: Option<&Path>) -> Result<()> {
        if inside != Path::new("/") {
            let path = self.path.display();
            self.problem(line, format!("the first line mounts the base on {path}, the jail's path"));
        } else if entry.options.first().is_some_and(|o| o == "rw") {
            self.problem(line, BASE_WRITABLE.into());
        }
        self.view = source.map(JailRootView::new).transpose().context("base")?;
        Ok(())
    }

    /// The second line: the jail's own container at skeleton.
    fn container(&mut self, line: usize, entry: &FstabEntry, inside: &Path) {
        let own = self.layout.container(self.jail);
        if !same_path(&entry.source, &own) {
            let (source, jail, own) = (entry.source.display(), self.jail, own.display());
            self.problem(line, format!("{source} is mounted as the container of {jail}, which is {own}"));
        }
        if inside != Path::new("/").join(SKELETON) {
            let path = self.path.display();
            self.problem(line, format!("the second line mounts the container on {path}/{SKELETON}"));
        }
    }

    /// Mounts in the view what a line mounts, if it can.
    fn mount(&mut self, line: usize, entry: &FstabEntry, inside: &Path, source: Option<&Path>) -> Result<()> {
        let (shown, below_path) = (entry.target.display(), |at: &Path| {
            self.path.join(at.strip_prefix("/").unwrap_or(at)).display().to_string()
        });
        let Some(view) = &mut self.view else { return Ok(()) };
        let is_file = || entry.kind == "nullfs" && self.host.root().host_path(&entry.source).is_file();
        let what = match view.look_up(Path::new("/"), inside, Symlinks::Stop)? {
            LookupResult::Directory(seen) => {
                match source.map(|s| view.mount(&s.canonicalize()?, &seen)).transpose() {
                    Err(e) => format!("source {}: {}", entry.source.display(), console::line(&e)),
                    Ok(None) if is_file() => {
                        format!("mount point {shown}: a directory, but the source is a file")
                    }
                    Ok(_) => return Ok(()),
                }
            }
            LookupResult::File(_) if source.is_none() => return Ok(()),
            LookupResult::File(_) => format!("mount point {shown}: not a directory, but the source is one"),
            LookupResult::Link(at) => {
                let meant = match target_in(view, inside) {
                    Ok(Target::Directory(real) | Target::File(real)) => Some(below_path(&real)),
                    Ok(Target::Missing { .. }) | Err(_) => None,
                };
                let advice = meant.map(|path| format!("; write {path}")).unwrap_or_default();
                format!("{} is a symbolic link{advice}", below_path(&at))
            }
            LookupResult::Missing(at) | LookupResult::NotDirectory(at) => {
                format!("{}: no such directory", below_path(&at))
            }
            LookupResult::TooManyLinks => format!("mount point {shown}: too many links"),
        };
        self.problem(line, what);
        Ok(())
    }
}

fn reason(e: &io::Error) -> String {
    if e.kind() == io::ErrorKind::NotFound { "no such file or directory".into() } else { e.to_string() }
}
