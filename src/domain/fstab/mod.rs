//! A jail's fstab: what jail(8) mounts before it starts the jail.
//!
//! jail(8) reads the file itself and is stricter than mount(8): every component
//! of a mount point below the jail's path must exist and must be no link, and
//! `path` is compared as text (freebsd-src: usr.sbin/jail/command.c,
//! check_path; config.c). The file written here is valid for getfsent(3) as well, which
//! wants `ro` or `rw` first among the options.

mod check;
mod mount_point;
mod of_jail;

pub use crate::formats::fstab::{FstabEntry, FstabProblem, format, parse};
pub use crate::types::mount::ExtraMount;
pub use check::{BASE_WRITABLE, check};
pub use mount_point::{MakeMountPoint, MountPoint};
pub use of_jail::of_jail;

use crate::domain::jail_view::{JailRootView, LookupResult, Symlinks};
use crate::domain::layout::{Layout, PATH_SUFFIX, SKELETON};
use crate::formats::vis;
use crate::system::file;
use crate::system::host::Host;
use crate::system::kernel::Mount;
use crate::types::jail_name::JailName;
use crate::types::release::Release;
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The two lines of the recipe: the base, read-only, and the container at
/// `skeleton`.
pub fn recipe(layout: &Layout, jail: &JailName, release: &Release) -> [FstabEntry; 2] {
    let path = layout.path(jail);
    // The trailing slash is the recipe's own.
    let mut root = path.clone().into_os_string();
    root.push("/");
    let entry = |source, target, option: &str| FstabEntry {
        source,
        target,
        kind: "nullfs".into(),
        options: vec![option.into()],
    };
    [entry(layout.base(release), root.into(), "ro"), entry(layout.container(jail), path.join(SKELETON), "rw")]
}

/// Where mount.devfs of jail.conf(5) mounts what a jail's devices are in.
const DEVICES: &str = "/dev";

/// The trees a jail is composed of, real paths.
pub struct JailTrees {
    /// The base.
    pub base: PathBuf,
    /// The container, or the skeleton that it will be a clone of.
    pub container: PathBuf,
}

/// The entries of a new jail's fstab, and what has to be made in its container to
/// mount them on.
pub struct FstabPlan {
    /// The recipe's entries and the extra ones.
    pub entries: Vec<FstabEntry>,
    /// Mount points that do not exist, each after its parent.
    pub missing: Vec<MountPoint>,
}

/// All entries of a jail's fstab: the recipe's and the extra ones, checked
/// against the trees they are for.
pub fn plan(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    release: &Release,
    trees: &JailTrees,
    extras: &[ExtraMount],
) -> Result<FstabPlan> {
    let path = layout.path(jail);
    let mut view = JailRootView::new(&trees.base).context("base")?;
    let point = Path::new("/").join(SKELETON);
    match view.look_up(Path::new("/"), &point, Symlinks::Stop)? {
        LookupResult::Directory(_) => {}
        _ => bail!(
            "base: {}: does not contain the directory {SKELETON}; is the template split?",
            trees.base.display()
        ),
    }
    view.mount(&trees.container, &point).context("container")?;
    let mut entries = recipe(layout, jail, release).to_vec();
    let mut missing = Vec::new();
    for extra in extras {
        let (source, wanted) = (&extra.source, extra.target.display());
        let real_source = host.root().host_path(source);
        let source_kind = if extra.kind == "nullfs" {
            check_source(host, layout, source)?;
            let metadata = std::fs::metadata(&real_source)
                .with_context(|| format!("mount source {}", source.display()))?;
            if !metadata.is_dir() && !metadata.is_file() {
                bail!(
                    "mount source {}: {}, not a file or directory",
                    source.display(),
                    file::kind(&metadata)
                );
            }
            Some(metadata.is_dir())
        } else {
            None
        };
        let (seen, is_directory, exists) = match target_in(&view, &extra.target)
            .with_context(|| format!("mount target {wanted} of jail {jail}"))?
        {
            Target::Directory(seen) => (seen, true, true),
            Target::File(seen) => (seen, false, true),
            Target::Missing { parent, rest } => {
                let is_directory = source_kind.unwrap_or(true);
                let seen = parent.join(&rest);
                let Ok(below) = parent.strip_prefix(&point) else {
                    bail!(
                        "mount target {wanted} of jail {jail}: {}: no such directory in the base, which all jails share; create it there first",
                        seen.display()
                    );
                };
                add_missing(&mut missing, &extra.target, below, &rest, is_directory);
                (seen, is_directory, false)
            }
        };
        match source_kind {
            Some(true) if !is_directory => {
                bail!("mount target {wanted}: not a directory, but the source is one")
            }
            Some(false) if is_directory => {
                bail!("mount target {wanted}: a directory, but the source is a file")
            }
            _ => {}
        }
        let target = path.join(seen.strip_prefix("/").unwrap_or(&seen));
        if seen.starts_with(DEVICES) {
            bail!(
                "mount target {wanted}: the devfs on {DEVICES} of jail {jail} would hide the mount; choose another target"
            );
        }
        if seen == Path::new("/") || entries.iter().any(|e| same_path(&e.target, &target)) {
            bail!("mount target {wanted}: a file system is already mounted there");
        }
        if extra.kind == "nullfs" && is_directory && exists {
            let tree = real_source.canonicalize().context("mount source")?;
            view.mount(&tree, &seen).context("mount source")?;
        }
        entries.push(FstabEntry {
            source: source.clone(),
            target,
            kind: extra.kind.clone(),
            options: extra.options.clone(),
        });
    }
    Ok(FstabPlan { entries, missing })
}

/// Adds the mount point and its parents that do not exist, each once.
fn add_missing(missing: &mut Vec<MountPoint>, target: &Path, below: &Path, rest: &Path, is_directory: bool) {
    let mut path = below.to_owned();
    let mut parts = rest.components().peekable();
    while let Some(part) = parts.next() {
        path.push(part);
        if !missing.iter().any(|known| known.path == path) {
            let is_directory = is_directory || parts.peek().is_some();
            missing.push(MountPoint { target: target.to_owned(), path: path.clone(), is_directory });
        }
    }
}

/// The text of an fstab for another release: the base of its first entry, and
/// further sources in the template, are those of that release. Nothing else is
/// changed. A source that does not exist there, by `exists`, keeps its path and is
/// listed in the second part of the result.
pub fn with_release(
    text: &[u8],
    layout: &Layout,
    [from, to]: [&Release; 2],
    exists: impl Fn(&Path) -> bool,
) -> Result<(Vec<u8>, Vec<PathBuf>)> {
    let (entries, _) = parse(text);
    if entries.is_empty() {
        bail!("contains no mounts");
    }
    let mut lines: Vec<Vec<u8>> = text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let mut left = Vec::new();
    for (at, (line, entry)) in entries.iter().enumerate() {
        let trees = [[layout.base(from), layout.base(to)], [layout.skeleton(from), layout.skeleton(to)]];
        let within = |tree: &Path| entry.source.strip_prefix(tree).ok().map(Path::to_owned);
        let Some(source) = trees.iter().find_map(|[old, new]| Some(new.join(within(old)?))) else { continue };
        // As it was found, without a slash behind it.
        let source: PathBuf = source.components().collect();
        if at > 0 && !exists(&source) {
            left.push(entry.source.clone());
            continue;
        }
        let Some(of_entry) = lines.get_mut(line - 1) else { bail!("no line {line} in it") };
        let blank = |b: &u8| matches!(b, b' ' | b'\t');
        let start = of_entry.iter().position(|b| !blank(b)).unwrap_or(0);
        let end = start + of_entry[start..].iter().position(blank).unwrap_or(0);
        of_entry.splice(start..end, vis::encode(source.as_os_str()));
    }
    Ok((lines.concat(), left))
}

/// Fails if a further mount already has its source in the template of a release:
/// --revert could not distinguish it from one that the move changed.
pub fn check_no_source_in(text: &[u8], layout: &Layout, release: &Release) -> Result<()> {
    for (line, entry) in parse(text).0.iter().skip(1) {
        if [layout.base(release), layout.skeleton(release)].iter().any(|tree| entry.source.starts_with(tree))
        {
            bail!(
                "line {line}: {} is in the template of {release}; remove the line before the move, and add it afterwards",
                entry.source.display()
            );
        }
    }
    Ok(())
}

/// Fails if the mounts behind the recipe's two have no place in these trees.
pub fn check_targets(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    trees: &JailTrees,
    entries: &[(usize, FstabEntry)],
) -> Result<()> {
    let mut view = JailRootView::new(&trees.base).context("base")?;
    view.mount(&trees.container, &Path::new("/").join(SKELETON)).context("container")?;
    let path = layout.path(jail);
    for (line, entry) in entries.iter().skip(2) {
        let Some(below) = text_below(&path, &entry.target) else { continue };
        let inside = Path::new("/").join(below);
        match view.look_up(Path::new("/"), &inside, Symlinks::Stop)? {
            LookupResult::Directory(seen) => {
                let source = host.root().host_path(&entry.source);
                if entry.kind == "nullfs" && source.is_dir() {
                    view.mount(&source.canonicalize()?, &seen)?;
                }
            }
            LookupResult::File(_) => {}
            _ => bail!("line {line}: the mount point {} would not exist", inside.display()),
        }
    }
    Ok(())
}

/// How an error about a mount source begins to say that a jail controls it.
pub const OF_A_JAIL: &str = "root in a jail can change it";

/// Fails when a source is in a container, or seen through the path of a jail:
/// mount_nullfs(8) resolves it at every start, and the container's root can have
/// put a link to anything in its place by then.
fn check_source(host: &Host, layout: &Layout, source: &Path) -> Result<()> {
    let spelled: PathBuf = host.root().host_path(source).components().collect();
    let resolved = spelled.canonicalize().unwrap_or_else(|_| spelled.clone());
    let containers = host.root().host_path(&layout.containers());
    let top = host.root().host_path(layout.dir());
    let is_of_a_jail = |path: &Path| {
        let below_top = path.strip_prefix(&top).ok().and_then(|rest| rest.components().next());
        let first = below_top.and_then(|part| part.as_os_str().to_str());
        path.starts_with(&containers) || first.is_some_and(|name| name.ends_with(PATH_SUFFIX))
    };
    // Containers may be mounted in other places as well.
    let mounts = match host.kernel() {
        Ok(kernel) => kernel.mounts()?,
        // A system without jails, where a tree is prepared for another host.
        Err(_) => Vec::new(),
    };
    let of_container = |m: &Mount| m.kind == "nullfs" && m.from.starts_with(&containers);
    let aliases: Vec<PathBuf> = mounts.into_iter().filter(of_container).map(|m| m.on).collect();
    let is_alias = |path: &Path| aliases.iter().any(|on| path.starts_with(on));
    if [&spelled, &resolved].iter().any(|path| is_of_a_jail(path) || is_alias(path)) {
        bail!(
            "mount source {}: {OF_A_JAIL}; use a dataset or directory outside of {}",
            source.display(),
            layout.dir().display()
        );
    }
    Ok(())
}

/// Fails if one of the mounts behind the recipe's two has a source that a jail
/// controls.
pub fn check_sources(host: &Host, layout: &Layout, entries: &[(usize, FstabEntry)]) -> Result<()> {
    entries.iter().skip(2).filter(|(_, entry)| entry.kind == "nullfs").try_for_each(|(line, entry)| {
        check_source(host, layout, &entry.source).with_context(|| format!("line {line}"))
    })
}

/// What there is at a mount target, spelled without links.
enum Target {
    /// A directory.
    Directory(PathBuf),
    /// Another file.
    File(PathBuf),
    /// Nothing.
    Missing {
        /// The last directory on the way that exists.
        parent: PathBuf,
        /// What does not exist below it.
        rest: PathBuf,
    },
}

/// Where a target of the jail really is, spelled without links. The base's own
/// links (`/usr/local`) are followed; links of the container belong to the jail's
/// root and are not.
fn target_in(view: &JailRootView, target: &Path) -> Result<Target> {
    let skeleton = Path::new("/").join(SKELETON);
    let mut here = PathBuf::from("/");
    let mut rest: Vec<OsString> = target
        .components()
        .filter_map(|c| match c {
            Component::Normal(part) => Some(part.to_owned()),
            _ => None,
        })
        .collect();
    rest.reverse();
    while let Some(part) = rest.pop() {
        match view.look_up(&here, Path::new(&part), Symlinks::Stop)? {
            LookupResult::Directory(path) => here = path,
            LookupResult::File(path) if rest.is_empty() => return Ok(Target::File(path)),
            LookupResult::Link(path) if path.starts_with(&skeleton) => {
                bail!("{}: a symbolic link in the container, which is not followed", path.display())
            }
            LookupResult::Link(path) => match view.look_up(&here, Path::new(&part), Symlinks::Follow)? {
                LookupResult::Directory(real) => here = real,
                LookupResult::File(real) if rest.is_empty() => return Ok(Target::File(real)),
                _ => bail!("{}: a dangling symbolic link in the base", path.display()),
            },
            LookupResult::Missing(_) => {
                let rest = std::iter::once(part).chain(rest.into_iter().rev()).collect();
                return Ok(Target::Missing { parent: here, rest });
            }
            LookupResult::File(path) | LookupResult::NotDirectory(path) => {
                bail!("{}: not a directory", path.display())
            }
            LookupResult::TooManyLinks => bail!("too many levels of symbolic links"),
        }
    }
    Ok(Target::Directory(here))
}

/// Equal but for slashes at the end and doubled ones.
fn same_path(a: &Path, b: &Path) -> bool {
    a.components().eq(b.components())
}

/// What of `target` lies below `path`, compared as text, the way jail(8) does.
fn text_below<'a>(path: &Path, target: &'a Path) -> Option<&'a Path> {
    let rest = target.as_os_str().as_bytes().strip_prefix(path.as_os_str().as_bytes())?;
    match rest.first() {
        None => Some(Path::new("")),
        Some(b'/') => {
            let rest = &rest[rest.iter().take_while(|b| **b == b'/').count()..];
            Some(Path::new(OsStr::from_bytes(rest)))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::layout::Storage;

    #[test]
    fn the_recipe_byte_for_byte() {
        let layout =
            Layout::new(Path::new("/zdata/jails"), Path::new("/etc/jail.conf.d"), Storage::Directory);
        let lines = recipe(&layout, &"pg-1".parse().unwrap(), &"14.5".parse().unwrap());
        let expect = "/zdata/jails/templates/14.5-RELEASE-base /zdata/jails/pg-1-nullfs-base/ nullfs ro 0 0\n\
                      /zdata/jails/containers/pg-1 /zdata/jails/pg-1-nullfs-base/skeleton nullfs rw 0 0\n";
        assert_eq!(String::from_utf8(format(&lines)).unwrap(), expect);
    }
}
