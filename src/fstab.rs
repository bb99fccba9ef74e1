//! A jail's fstab: what jail(8) mounts before it starts the jail.
//!
//! jail(8) reads the file itself and is stricter than mount(8): every component
//! of a mount point below the jail's path must exist and must be no link, and
//! `path` is compared as text (freebsd-src: usr.sbin/jail/command.c,
//! check_path; config.c). The file written here suits getfsent(3) as well, which
//! wants `ro` or `rw` first among the options.

use crate::composed::{Composed, Found, Links};
use crate::host::Host;
use crate::jail::JailName;
use crate::kernel::Mount;
use crate::layout::{Layout, PATH_SUFFIX, SKELETON};
use crate::release::Release;
use crate::{file, report, vis};
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is mounted.
    pub source: PathBuf,
    /// The mount point, spelled with the jail's path.
    pub target: PathBuf,
    /// The file system type.
    pub kind: String,
    /// The options, `ro` or `rw` first.
    pub options: Vec<String>,
}

impl Entry {
    fn line(&self) -> Vec<u8> {
        let mut line = vis::encode(self.source.as_os_str());
        line.push(b' ');
        line.extend(vis::encode(self.target.as_os_str()));
        line.extend(format!(" {}", self.kind).bytes());
        // Read as it was: further fields would be taken for the options.
        if !self.options.is_empty() {
            line.extend(format!(" {} 0 0", self.options.join(",")).bytes());
        }
        line.push(b'\n');
        line
    }
}

/// A line of an fstab that is no mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The line, from 1; 0 for what concerns the whole file.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.what),
            line => write!(f, "line {line}: {}", self.what),
        }
    }
}

/// Reads an fstab as jail(8) does. Gives the mounts with their line numbers,
/// and what it would choke on.
pub fn parse(text: &[u8]) -> (Vec<(usize, Entry)>, Vec<Finding>) {
    let mut entries = Vec::new();
    let mut findings = Vec::new();
    for (number, line) in text.split(|b| *b == b'\n').enumerate() {
        let number = number + 1;
        // A comment may start anywhere in a line.
        let line = line.split(|b| *b == b'#').next().unwrap_or_default();
        let fields: Vec<&[u8]> =
            line.split(|b| *b == b' ' || *b == b'\t').filter(|f| !f.is_empty()).collect();
        if fields.is_empty() {
            continue;
        }
        let mut find = |what: &str| findings.push(Finding { line: number, what: what.to_owned() });
        if line.contains(&0) {
            find("a NUL, where to jail(8) the line ends");
            continue;
        }
        if fields.len() < 3 {
            find("missing information: device, mount point and type are needed");
            continue;
        }
        let (Some(source), Some(target)) = (vis::decode(fields[0]), vis::decode(fields[1])) else {
            find("fstab parse error: bad escape (blanks are written \\040)");
            continue;
        };
        let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        let options =
            fields.get(3).map(|f| text(f).split(',').map(str::to_owned).collect()).unwrap_or_default();
        entries.push((
            number,
            Entry { source: source.into(), target: target.into(), kind: text(fields[2]), options },
        ));
    }
    (entries, findings)
}

/// The text of an fstab.
pub fn format(entries: &[Entry]) -> Vec<u8> {
    entries.iter().flat_map(Entry::line).collect()
}

/// The two lines of the recipe: the base, read-only, and the container at
/// `skeleton`.
pub fn recipe(layout: &Layout, jail: &JailName, release: &Release) -> [Entry; 2] {
    let path = layout.path(jail);
    // The trailing slash is the recipe's own.
    let mut root = path.clone().into_os_string();
    root.push("/");
    let entry = |source, target, option: &str| Entry {
        source,
        target,
        kind: "nullfs".into(),
        options: vec![option.into()],
    };
    [entry(layout.base(release), root.into(), "ro"), entry(layout.container(jail), path.join(SKELETON), "rw")]
}

/// Where mount.devfs of jail.conf(5) mounts what a jail's devices are in.
const DEVICES: &str = "/dev";

/// A further mount as `-m` gives it: `source:target[:options]`. A colon or a
/// backslash within a part is written with a backslash in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    /// What is mounted: a path of the host, or a word for types that want one.
    pub source: PathBuf,
    /// Where the jail is to see it.
    pub target: PathBuf,
    /// The file system type, nullfs unless `type=` says another.
    pub kind: String,
    /// The options, `ro` or `rw` first.
    pub options: Vec<String>,
}

/// Why a string is no [`Extra`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadExtra(String);

impl fmt::Display for BadExtra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadExtra {}

impl FromStr for Extra {
    type Err = BadExtra;

    fn from_str(s: &str) -> Result<Self, BadExtra> {
        Extra::parse(OsStr::new(s))
    }
}

impl Extra {
    /// Reads the argument of `-m`, whose paths may be any bytes.
    pub fn parse(argument: &OsStr) -> Result<Extra, BadExtra> {
        let bad = |why: &str| Err(BadExtra(why.to_owned()));
        let mut parts = vec![Vec::new()];
        let mut bytes = argument.as_bytes().iter().copied();
        while let Some(b) = bytes.next() {
            match b {
                b'\\' => match bytes.next() {
                    Some(b @ (b':' | b'\\')) => parts.last_mut().map(|p| p.push(b)).unwrap_or_default(),
                    _ => return bad("a backslash stands in front of a colon or a backslash"),
                },
                b':' => parts.push(Vec::new()),
                b => parts.last_mut().map(|p| p.push(b)).unwrap_or_default(),
            }
        }
        let mut parts = parts.into_iter();
        let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
            return bad("a mount is written source:target[:options]");
        };
        let options = parts.next().unwrap_or_default();
        if parts.next().is_some() {
            return bad("a mount has three parts at most; a colon in a path is written \\:");
        }
        let Ok(options) = String::from_utf8(options) else { return bad("the options are not UTF-8") };
        let mut kind = String::from("nullfs");
        let mut access = None;
        let mut rest = Vec::new();
        for option in options.split(',').filter(|o| !o.is_empty()) {
            let plain = option.bytes().all(|b| b.is_ascii_graphic() && !b"#\\\"'".contains(&b));
            match option.split_once('=') {
                _ if !plain => return bad("an option has no blanks, quotes, # or backslash"),
                Some(("type", name))
                    if name.bytes().all(|b| b.is_ascii_alphanumeric()) && !name.is_empty() =>
                {
                    kind = name.to_owned();
                }
                Some(("type", _)) => return bad("type= names a file system, such as nullfs or tmpfs"),
                None if option == "ro" || option == "rw" => {
                    if access.is_some_and(|a| a != option) {
                        return bad("both ro and rw");
                    }
                    access = Some(option);
                }
                _ => rest.push(option.to_owned()),
            }
        }
        let mut all = vec![access.unwrap_or("rw").to_owned()];
        all.append(&mut rest);
        let (source, target) =
            (PathBuf::from(OsString::from_vec(source)), PathBuf::from(OsString::from_vec(target)));
        if source.as_os_str().is_empty() || kind == "nullfs" && !is_plain(&source) {
            return bad("the source is an absolute path without . and ..");
        }
        if !is_plain(&target) {
            return bad("the target is an absolute path in the jail without . and ..");
        }
        Ok(Extra { source, target, kind, options: all })
    }
}

/// Absolute, without `.`, `..` and empty parts.
fn is_plain(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let rest = match bytes.strip_prefix(b"/") {
        Some(rest) => rest.strip_suffix(b"/").unwrap_or(rest),
        None => return false,
    };
    rest.is_empty() || rest.split(|b| *b == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

/// The trees a jail is composed of, real paths.
pub struct Trees {
    /// The base.
    pub base: PathBuf,
    /// The container, or the skeleton that it will be a clone of.
    pub container: PathBuf,
}

/// All entries of a jail's fstab: the recipe's and the extra ones, checked
/// against the trees they are for.
pub fn plan(
    host: &Host,
    layout: &Layout,
    jail: &JailName,
    release: &Release,
    trees: &Trees,
    extras: &[Extra],
) -> Result<Vec<Entry>> {
    let path = layout.path(jail);
    let mut view = Composed::new(&trees.base).context("base")?;
    let point = Path::new("/").join(SKELETON);
    match view.look_up(Path::new("/"), &point, Links::Stop)? {
        Found::Directory(_) => {}
        _ => bail!("base: {}: no directory {SKELETON} in it; is the template split?", trees.base.display()),
    }
    view.mount(&trees.container, &point).context("container")?;
    let mut entries = recipe(layout, jail, release).to_vec();
    for extra in extras {
        let (source, wanted) = (&extra.source, extra.target.display());
        let real_source = host.root().at(source);
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
        let (seen, is_directory) = target_in(&view, &extra.target)
            .with_context(|| format!("mount target {wanted} of jail {jail}"))?;
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
                "mount target {wanted}: {DEVICES} of jail {jail} is its devfs, which would hide it; choose another"
            );
        }
        if seen == Path::new("/") || entries.iter().any(|e| same_path(&e.target, &target)) {
            bail!("mount target {wanted}: something is mounted there already");
        }
        if extra.kind == "nullfs" && is_directory {
            let tree = real_source.canonicalize().context("mount source")?;
            view.mount(&tree, &seen).context("mount source")?;
        }
        entries.push(Entry {
            source: source.clone(),
            target,
            kind: extra.kind.clone(),
            options: extra.options.clone(),
        });
    }
    Ok(entries)
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
        bail!("no mounts in it");
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
    trees: &Trees,
    entries: &[(usize, Entry)],
) -> Result<()> {
    let mut view = Composed::new(&trees.base).context("base")?;
    view.mount(&trees.container, &Path::new("/").join(SKELETON)).context("container")?;
    let path = layout.path(jail);
    for (line, entry) in entries.iter().skip(2) {
        let Some(below) = text_below(&path, &entry.target) else { continue };
        let inside = Path::new("/").join(below);
        match view.look_up(Path::new("/"), &inside, Links::Stop)? {
            Found::Directory(seen) => {
                let source = host.root().at(&entry.source);
                if entry.kind == "nullfs" && source.is_dir() {
                    view.mount(&source.canonicalize()?, &seen)?;
                }
            }
            Found::File(_) => {}
            _ => bail!("line {line}: there would be no {} to mount on", inside.display()),
        }
    }
    Ok(())
}

/// How an error about a mount source begins to say that a jail controls it.
pub const OF_A_JAIL: &str = "a jail's root decides what is there";

/// Fails when a source is in a container, or seen through the path of a jail:
/// mount_nullfs(8) resolves it at every start, and the container's root can have
/// put a link to anything in its place by then.
fn check_source(host: &Host, layout: &Layout, source: &Path) -> Result<()> {
    let spelled: PathBuf = host.root().at(source).components().collect();
    let resolved = spelled.canonicalize().unwrap_or_else(|_| spelled.clone());
    let containers = host.root().at(&layout.containers());
    let top = host.root().at(layout.dir());
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
            "mount source {}: {OF_A_JAIL}; make a dataset or directory of its own outside of {} and mount that",
            source.display(),
            layout.dir().display()
        );
    }
    Ok(())
}

/// Fails if one of the mounts behind the recipe's two has a source that a jail
/// controls.
pub fn check_sources(host: &Host, layout: &Layout, entries: &[(usize, Entry)]) -> Result<()> {
    entries.iter().skip(2).filter(|(_, entry)| entry.kind == "nullfs").try_for_each(|(line, entry)| {
        check_source(host, layout, &entry.source).with_context(|| format!("line {line}"))
    })
}

/// Where a target of the jail really is, spelled without links, and whether it
/// is a directory. The base's own links (`/usr/local`) are followed; links of
/// the container belong to the jail's root and are not.
fn target_in(view: &Composed, target: &Path) -> Result<(PathBuf, bool)> {
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
        match view.look_up(&here, Path::new(&part), Links::Stop)? {
            Found::Directory(path) => here = path,
            Found::File(path) if rest.is_empty() => return Ok((path, false)),
            Found::Link(path) if path.starts_with(&skeleton) => {
                bail!("{}: a symbolic link in the container, which is not followed", path.display())
            }
            Found::Link(path) => match view.look_up(&here, Path::new(&part), Links::Follow)? {
                Found::Directory(real) => here = real,
                Found::File(real) if rest.is_empty() => return Ok((real, false)),
                _ => bail!("{}: a link of the base that leads nowhere", path.display()),
            },
            Found::Missing(path) => bail!("{}: no such directory; make it first", path.display()),
            Found::File(path) | Found::NotDirectory(path) => bail!("{}: not a directory", path.display()),
            Found::TooManyLinks => bail!("too many levels of symbolic links"),
        }
    }
    Ok((here, true))
}

/// Equal but for slashes at the end and doubled ones.
fn same_path(a: &Path, b: &Path) -> bool {
    a.components().eq(b.components())
}

/// What [`check`] says of a base that is not read-only.
pub const BASE_WRITABLE: &str = "the base is mounted rw: every jail could change it";

/// Checks an existing fstab as jail(8) would meet it: everything wrong with it,
/// not only the first.
pub fn check(host: &Host, layout: &Layout, jail: &JailName, text: &[u8]) -> Result<Vec<Finding>> {
    let path = &layout.path(jail);
    let (entries, mut findings) = parse(text);
    let mut find = |line: usize, what: String| findings.push(Finding { line, what });
    let mut view: Option<Composed> = None;
    let mut targets: Vec<&Path> = Vec::new();
    if entries.is_empty() {
        find(0, "no mounts in it".into());
    }
    for (index, (line, entry)) in entries.iter().enumerate() {
        let (line, target) = (*line, entry.target.as_path());
        let shown = target.display();
        match entry.options.first().map(String::as_str) {
            Some("ro" | "rw") => {}
            Some(first) => {
                find(line, format!("the options start with {first}; getfsent(3) wants ro or rw first"))
            }
            None => find(line, "no options; getfsent(3) wants ro or rw".into()),
        }
        let mut source = None;
        if entry.kind == "nullfs" {
            let real = host.root().at(&entry.source);
            // The second line has the container itself, whose place is the host's.
            let is_container = index == 1;
            let leads_elsewhere = real.canonicalize().is_ok_and(|resolved| !same_path(&resolved, &real));
            let check = || check_source(host, layout, &entry.source).err();
            if is_container && leads_elsewhere {
                find(line, format!("mount source {}: leads through a link", entry.source.display()));
            } else if let Some(e) = (!is_container).then(check).flatten() {
                find(line, report::line(&e));
            } else if !entry.source.is_absolute() {
                find(line, format!("source {} is not an absolute path", entry.source.display()));
            } else {
                match std::fs::metadata(&real) {
                    Ok(metadata) if metadata.is_dir() => source = Some(real),
                    Ok(_) => {}
                    Err(e) => find(line, format!("source {}: {}", entry.source.display(), reason(&e))),
                }
            }
        }
        if !target.is_absolute() {
            find(line, format!("mount point {shown}: not an absolute pathname"));
            continue;
        }
        let spelled = text_below(path, target);
        let Some(below) = spelled else {
            match target.strip_prefix(path) {
                Ok(_) => find(
                    line,
                    format!("mount point {shown}: spell it with the jail's path, {}", path.display()),
                ),
                Err(_) => {
                    find(line, format!("mount point {shown} is outside the jail's path {}", path.display()))
                }
            }
            continue;
        };
        if below.components().any(|c| matches!(c, Component::ParentDir)) {
            find(line, format!("mount point {shown}: .. leads out of the jail"));
            continue;
        }
        if targets.iter().any(|t| same_path(t, target)) {
            find(line, format!("mount point {shown} is there twice"));
        }
        targets.push(target);
        let inside = Path::new("/").join(below);
        if index == 0 {
            if inside != Path::new("/") {
                find(line, format!("the first line mounts the base on {}, the jail's path", path.display()));
            } else if entry.options.first().is_some_and(|o| o == "rw") {
                find(line, BASE_WRITABLE.into());
            }
            if let Some(source) = &source {
                view = Some(Composed::new(source).context("base")?);
            }
            continue;
        }
        if index == 1 && !same_path(&entry.source, &layout.container(jail)) {
            let (got, own) = (entry.source.display(), layout.container(jail));
            find(line, format!("{got} is mounted as the container of {jail}, which is {}", own.display()));
        }
        if index == 1 && inside != Path::new("/").join(SKELETON) {
            find(line, format!("the second line mounts the container on {}/{SKELETON}", path.display()));
        }
        let Some(view) = &mut view else { continue };
        match view.look_up(Path::new("/"), &inside, Links::Stop)? {
            Found::Directory(seen) => {
                let mounted = source.as_ref().map(|s| view.mount(&s.canonicalize()?, &seen));
                if let Some(Err(e)) = mounted {
                    find(line, format!("source {}: {}", entry.source.display(), report::line(&e)));
                } else if source.is_none()
                    && entry.kind == "nullfs"
                    && host.root().at(&entry.source).is_file()
                {
                    find(line, format!("mount point {shown}: a directory, but the source is a file"));
                }
            }
            Found::File(_) if source.is_none() => {}
            Found::File(_) => {
                find(line, format!("mount point {shown}: not a directory, but the source is one"))
            }
            Found::Link(at) => {
                let at = path.join(at.strip_prefix("/").unwrap_or(&at));
                let meant = target_in(view, &inside).ok().map(|(real, _)| {
                    format!("; write {}", path.join(real.strip_prefix("/").unwrap_or(&real)).display())
                });
                find(line, format!("{} is a symbolic link{}", at.display(), meant.unwrap_or_default()));
            }
            Found::Missing(at) | Found::NotDirectory(at) => {
                let at = path.join(at.strip_prefix("/").unwrap_or(&at));
                find(line, format!("{}: no such directory", at.display()));
            }
            Found::TooManyLinks => find(line, format!("mount point {shown}: too many links")),
        }
    }
    if entries.len() == 1 {
        find(0, "only one mount: the container's line is missing".into());
    }
    findings.sort_by_key(|f| f.line);
    Ok(findings)
}

fn reason(e: &std::io::Error) -> String {
    if e.kind() == std::io::ErrorKind::NotFound { "no such file or directory".into() } else { e.to_string() }
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
    use crate::layout::Storage;
    use proptest::prelude::*;

    #[test]
    fn the_recipe_byte_for_byte() {
        let layout =
            Layout::new(Path::new("/zdata/jails"), Path::new("/etc/jail.conf.d"), Storage::Directory);
        let lines = recipe(&layout, &"pg-1".parse().unwrap(), &"14.2".parse().unwrap());
        let expect = "/zdata/jails/templates/14.2-RELEASE-base /zdata/jails/pg-1-nullfs-base/ nullfs ro 0 0\n\
                      /zdata/jails/containers/pg-1 /zdata/jails/pg-1-nullfs-base/skeleton nullfs rw 0 0\n";
        assert_eq!(String::from_utf8(format(&lines)).unwrap(), expect);
    }

    #[test]
    fn extras() {
        let of = |s: &str| s.parse::<Extra>().map(|e| (e.source, e.target, e.kind, e.options.join(",")));
        let p = PathBuf::from;
        assert_eq!(of("/a:/b").unwrap(), (p("/a"), p("/b"), "nullfs".into(), "rw".into()));
        assert_eq!(of("/a:/b:noatime,ro").unwrap(), (p("/a"), p("/b"), "nullfs".into(), "ro,noatime".into()));
        assert_eq!(
            of("tmpfs:/tmp/x:type=tmpfs,size=1g").unwrap(),
            (p("tmpfs"), p("/tmp/x"), "tmpfs".into(), "rw,size=1g".into())
        );
        assert_eq!(of(r"/a\:b:/c\\d").unwrap().0, p("/a:b"));
        for bad in [
            "",
            "/a",
            "a:/b",
            "/a:b",
            "/a:/b:ro,rw",
            "/a:/b:ro:x",
            r"/a:/b\c",
            "/a:/b/../c",
            "/a/../b:/c",
            "/a:/b:type=",
            "/a:/b:x y",
            "/a://b",
            ":/b",
            "/a:",
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn reads_as_jail_does() {
        let text = b"# comment\n/a\t/p/ nullfs ro 0 0\n\n/b\\040c /p/x nullfs rw # c\n/b /p\n/b\\q /p/y nullfs rw\n/d /p/z nullfs";
        let (entries, findings) = parse(text);
        assert_eq!(entries.iter().map(|(l, _)| *l).collect::<Vec<_>>(), [2, 4, 7]);
        assert_eq!(entries[1].1.source, Path::new("/b c"));
        assert_eq!(entries[1].1.options, ["rw"]);
        assert!(entries[2].1.options.is_empty());
        assert_eq!(findings.iter().map(|f| f.line).collect::<Vec<_>>(), [5, 6]);
    }

    #[test]
    fn no_path_has_a_nul() {
        let (entries, findings) = parse(b"/a\0b /p nullfs rw\n/a /p nullfs rw # \0\n");
        assert_eq!((entries.len(), findings.len(), findings[0].line), (1, 1, 1));
    }

    #[test]
    fn no_options_stay_none() {
        let (entries, _) = parse(b"/d /p/z nullfs\n");
        let written = format(&[entries[0].1.clone()]);
        assert_eq!((written.as_slice(), parse(&written).0), (&b"/d /p/z nullfs\n"[..], entries));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            source in "/[^\\x00]{0,20}",
            target in "/[^\\x00]{0,20}",
            options in proptest::collection::vec("[a-z=0-9]{1,6}", 1..4),
        ) {
            let entry = Entry { source: source.into(), target: target.into(), kind: "nullfs".into(), options };
            let (read, findings) = parse(&format(std::slice::from_ref(&entry)));
            prop_assert!(findings.is_empty());
            prop_assert_eq!(read, vec![(1, entry)]);
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = parse(&text);
        }
    }
}
