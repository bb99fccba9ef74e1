//! freebsd-update(8): `fetch`, `install` and `updatesready` on a base.
//!
//! The server has, below `ROOT/var/db/standin/updates/RELEASE/`,
//!
//! | file | what it is |
//! |---|---|
//! | `level` | the number of the patch level |
//! | `files/` | what is in it: files, directories and links, by their places in a base |
//! | `old/` | what files were in the release, if it matters that an administrator changed or removed them |
//! | `remove` | the paths of what the update removes |
//! | `kernel-only` | there, it leaves the version in bin/freebsd-version alone |
//! | `unpatched` | the paths of files that are fetched whole although they were only changed |
//! | `eol` | there, the release has passed its end of life: then, or at the time it holds, in seconds |
//!
//! Metadata is that of the file in the base, or in `files/` if it is a new one. The index of the release knows the directories
//! that are links in a split base, so a configuration that does not ignore them does to them what the real program does: it
//! removes the links.
//!
//! | fault | effect |
//! |---|---|
//! | `update-unreachable` | the server can't be reached |
//! | `update-invalid` | the signature of what it says is not valid |
//! | `update-missing` | one of the files to fetch is not there |
//! | `update-break` | an installation fails after that many files, once |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::host::Host;
use crate::mounts::{View, without_root};
use crate::pool::now;
use crate::props::calendar;
use crate::{Reply, certs, databases, pkg, sysctl};

/// The directories of the release that a split turns into links.
const DIRECTORIES: &[(&str, u32)] =
    &[("/etc", 0o755), ("/root", 0o750), ("/tmp", 0o1777), ("/usr/local", 0o755), ("/var", 0o755)];

/// When a release's life ended, if the server tells no time.
const END_OF_LIFE: u64 = 1_700_000_000;

/// What the configuration says.
struct Settings {
    values: BTreeMap<String, Vec<String>>,
}

/// One line of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// `f`, `d`, `L`, or `-` for what is not there.
    kind: char,
    uid: u32,
    gid: u32,
    mode: u32,
    /// Whether it has the flag schg.
    fixed: bool,
    /// Hash of a file, text of a link.
    value: String,
    /// The path of the file that it is a hard link to.
    link: String,
}

/// Lines by path.
type Index = BTreeMap<String, Line>;

impl Line {
    fn absent() -> Self {
        Line { kind: '-', uid: 0, gid: 0, mode: 0, fixed: false, value: String::new(), link: String::new() }
    }

    fn write(&self, path: &str) -> String {
        if self.kind == '-' {
            return format!("{path}|-||||||\n");
        }
        let Line { kind, uid, gid, mode, value, link, .. } = self;
        let flags = if self.fixed { "400000" } else { "0" };
        format!("{path}|{kind}|{uid}|{gid}|{mode:04o}|{flags}|{value}|{link}\n")
    }

    fn read(text: &str) -> Option<(String, Self)> {
        let fields: Vec<&str> = text.split('|').collect();
        let [path, kind, uid, gid, mode, flags, value, link] = fields[..] else { return None };
        let line = Line {
            kind: kind.chars().next()?,
            uid: uid.parse().unwrap_or(0),
            gid: gid.parse().unwrap_or(0),
            mode: u32::from_str_radix(mode, 8).unwrap_or(0),
            fixed: flags == "400000",
            value: value.into(),
            link: link.into(),
        };
        Some((path.into(), line))
    }
}

fn write_index(index: &Index) -> String {
    index.iter().map(|(path, line)| line.write(path)).collect()
}

fn read_index(file: &Path) -> Result<Index> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(text.lines().filter_map(Line::read).collect())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A run of the program.
struct Run<'a> {
    host: &'a Host,
    settings: Settings,
    /// The fingerprint of the server's key.
    key: String,
    /// What is said to be running.
    version: String,
    base: String,
    force: bool,
    reply: &'a mut Reply,
}

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let mut words = args.iter();
    let (mut version, mut file, mut base) = (None, None, None);
    let mut given = Settings { values: BTreeMap::new() };
    let (mut force, mut without_terminal) = (false, false);
    let mut commands = Vec::new();
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().context("freebsd-update: an option lacks its argument");
        match word.as_str() {
            "--not-running-from-cron" => without_terminal = true,
            "--currently-running" => version = Some(value()?),
            "-f" => file = Some(value()?),
            "-b" => base = Some(value()?),
            "-F" => force = true,
            "-d" | "-k" | "-s" => {
                let name = match word.as_str() {
                    "-d" => "WorkDir",
                    "-k" => "KeyPrint",
                    _ => "ServerName",
                };
                given.add(name, [value()?.as_str()].into_iter());
            }
            "fetch" | "install" | "updatesready" => commands.push(word.as_str()),
            _ => bail!("freebsd-update: {word}: not imitated"),
        }
    }
    let (Some(version), Some(base)) = (version, base) else {
        bail!("freebsd-update: only with --currently-running and -b imitated");
    };
    let version = if version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        format!("{version}-RELEASE")
    } else {
        version
    };
    let file = file.unwrap_or_else(|| "/etc/freebsd-update.conf".into());
    let Ok(text) = fs::read_to_string(host.real(&file)) else {
        reply.say(format!("File does not exist or is not readable: {file}"));
        return Ok(1);
    };
    let mut settings = Settings { values: BTreeMap::new() };
    for (at, line) in text.lines().enumerate() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(name) = words.next() else { continue };
        if !settings.add(name, words) {
            reply.say(format!("Error processing configuration file, line {}:", at + 1));
            reply.say(format!("==> {line}"));
            return Ok(1);
        }
    }
    // The server's key is the one that the file names.
    let key = settings.value("KeyPrint").unwrap_or_default().to_owned();
    settings.values.extend(given.values);
    if pkg::is_packaged(host, &base)? {
        reply.say("freebsd-update is incompatible with the use of packaged base.  Please see");
        reply.say("https://wiki.freebsd.org/PkgBase for more information.");
        return Ok(1);
    }
    let mut run = Run { host, settings, key, version, base, force, reply };
    let mut fetched = false;
    for command in commands {
        run.components()?;
        let status = match command {
            "fetch" if !without_terminal => {
                run.reply.say("freebsd-update fetch should not be run non-interactively.");
                run.reply.say("Run freebsd-update cron instead.");
                1
            }
            "fetch" => run.fetch()?,
            "install" => match run.install(fetched)? {
                Some(status) => status,
                None => return Ok(0),
            },
            _ => run.updates_ready()?,
        };
        if status != 0 {
            return Ok(status);
        }
        fetched |= command == "fetch";
    }
    Ok(0)
}

impl Settings {
    /// Adds a line of the configuration; false if it is a mistake.
    fn add<'a>(&mut self, name: &str, words: impl Iterator<Item = &'a str>) -> bool {
        let single = [
            "KeyPrint",
            "ServerName",
            "WorkDir",
            "MailTo",
            "AllowAdd",
            "AllowDelete",
            "KeepModifiedMetadata",
            "StrictComponents",
            "BackupKernel",
            "BackupKernelDir",
            "BackupKernelSymbolFiles",
            "CreateBootEnv",
        ];
        let list = ["Components", "IgnorePaths", "IDSIgnorePaths", "UpdateIfUnmodified", "MergeChanges"];
        if list.contains(&name) {
            self.values.entry(name.into()).or_default().extend(words.map(str::to_owned));
            return true;
        }
        if !single.contains(&name) || self.values.contains_key(name) {
            return false;
        }
        self.values.insert(name.into(), words.map(str::to_owned).collect());
        true
    }

    fn list(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.list(name).first().map(String::as_str)
    }

    fn says_no(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value.eq_ignore_ascii_case("no"))
    }
}

/// Whether a line of an index begins with what a regular expression of the configuration says. Of those only the simplest are
/// known: letters, one of several in brackets, and a character after a backslash.
fn begins(line: &str, expression: &str) -> Result<bool> {
    let mut text = line.chars();
    let mut letters = expression.chars();
    while let Some(letter) = letters.next() {
        let good: Vec<char> = match letter {
            '[' => letters.by_ref().take_while(|letter| *letter != ']').collect(),
            '\\' => letters.next().into_iter().collect(),
            '.' => {
                if text.next().is_none() {
                    return Ok(false);
                }
                continue;
            }
            '*' | '+' | '?' | '(' | ')' | '{' | '|' | '^' | '$' => {
                bail!("freebsd-update.conf: {expression}: such expressions are not imitated")
            }
            plain => vec![plain],
        };
        if good.is_empty() || good[0] == '^' || good.contains(&'-') {
            bail!("freebsd-update.conf: {expression}: such expressions are not imitated");
        }
        if !text.next().is_some_and(|found| good.contains(&found)) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Run<'_> {
    /// Says which components are left out.
    fn components(&mut self) -> Result<()> {
        for component in self.settings.list("Components") {
            let copyright = format!("{}/usr/src/COPYRIGHT", without_root(self.host, &self.base));
            if component == "src" && databases::view(self.host)?.look(&copyright, true).is_err() {
                self.reply.say("src component not installed, skipped");
            }
        }
        Ok(())
    }

    /// The working directory, or else what is wrong with it is said.
    fn workdir(&mut self) -> Option<PathBuf> {
        let name = self.settings.value("WorkDir").unwrap_or("/var/db/freebsd-update");
        let place = self.host.real(name);
        if place.is_dir() {
            return Some(place);
        }
        self.reply.say(format!("freebsd-update: Directory does not exist or is not writable: {name}"));
        None
    }

    /// Where it is noted what is to be installed.
    fn pending(&self, workdir: &Path, what: &str) -> PathBuf {
        // By the spelling, whatever it leads to; but the alternate root is not part of it.
        let base = self.host.inside(&self.base).unwrap_or_else(|| self.base.clone());
        workdir.join(format!("{}-{what}", sha256(format!("{base}\n").as_bytes())))
    }

    /// The release without its patch level, and the level.
    fn running(&self) -> (String, u64) {
        match self.version.rsplit_once("-p") {
            Some((release, level)) => (release.into(), level.parse().unwrap_or(0)),
            None => (self.version.clone(), 0),
        }
    }

    fn fetch(&mut self) -> Result<u8> {
        let Some(server) = self.settings.value("ServerName").map(str::to_owned) else {
            self.reply
                .say("freebsd-update: SERVERNAME must be given via command line or configuration file.");
            return Ok(1);
        };
        let Some(print) = self.settings.value("KeyPrint").map(str::to_owned) else {
            self.reply.say("freebsd-update: Key must be given via -k option or configuration file.");
            return Ok(1);
        };
        let Some(workdir) = self.workdir() else { return Ok(1) };
        fs::set_permissions(&workdir, Permissions::from_mode(0o700))?;
        let (release, level) = self.running();
        if !["-RELEASE", "-BETA", "-RC", "-ALPHA"].iter().any(|kind| release.contains(kind)) {
            self.reply.say(format!(
                "freebsd-update: Cannot upgrade from a version that is not a release\n\
                 (including alpha, beta and release candidates)\n\
                 using freebsd-update. Instead, FreeBSD can be directly\n\
                 upgraded by source or upgraded to a RELEASE/RELENG version\n\
                 prior to running freebsd-update.\nCurrently running: {release}"
            ));
            return Ok(1);
        }
        if self.pending(&workdir, "install").join("kerneldone").exists() && !self.force {
            self.reply.say("You have a partially completed upgrade pending");
            self.reply.say("Run 'freebsd-update [options] install' first.");
            self.reply.say("Run 'freebsd-update [options] fetch -F' to proceed anyway.");
            return Ok(1);
        }
        let stored = workdir.join("files");
        fs::create_dir_all(&stored)?;
        let updates = self.host.state("updates").join(&release);
        let reachable = updates.is_dir() && !self.host.flag("update-unreachable");
        self.reply.say(format!("Looking up {server} mirrors... none found."));
        let known = lines(&workdir.join("pub.ssl"))?;
        if known.first() != Some(&print) {
            self.reply.out += &format!("Fetching public key from {server}... ");
            let _ = fs::remove_file(workdir.join("pub.ssl"));
            if !reachable || print != self.key {
                return self
                    .no_mirrors(&release, if reachable { "key has incorrect hash." } else { "failed." });
            }
            fs::write(workdir.join("pub.ssl"), format!("{print}\n"))?;
            self.reply.say("done.");
        }
        self.reply.out += &format!("Fetching metadata signature for {release} from {server}... ");
        if !reachable {
            return self.no_mirrors(&release, "failed.");
        }
        if self.host.flag("update-invalid") {
            return self.no_mirrors(&release, "invalid signature.");
        }
        self.reply.say("done.");
        let text = fs::read_to_string(updates.join("level")).context("updates: level")?;
        let newest: u64 = text.trim().parse().context("updates: level")?;
        let seen = fs::read_to_string(workdir.join("tag")).unwrap_or_default();
        let seen = seen.strip_prefix(&format!("{release}|")).and_then(|seen| seen.trim().parse().ok());
        let older = if newest < level {
            Some(format!(" appear older than what\nwe are currently running ({})!", self.version))
        } else {
            seen.filter(|seen: &u64| newest < *seen)
                .map(|seen| format!(" are older than the\nmost recently seen updates ({release}-p{seen})."))
        };
        if let Some(older) = older {
            self.reply.say(format!("\nFiles on mirror ({release}-p{newest}){older}"));
            self.reply.say("Cowardly refusing to proceed any further.");
            return Ok(1);
        }
        self.reply.say("Fetching metadata index... done.");
        let mut view = databases::view(self.host)?;
        let mut contents = HashMap::new();
        let (mut old, mut new) = self.indices(&mut view, &updates, &release, newest, &mut contents)?;
        self.metadata(&workdir, &release, newest)?;
        fs::write(workdir.join("tag"), format!("{release}|{newest}\n"))?;
        for expression in self.settings.list("IgnorePaths") {
            for index in [&mut old, &mut new] {
                let mut ignored = Vec::new();
                for (path, line) in &*index {
                    if begins(&line.write(path), expression)? {
                        ignored.push(path.clone());
                    }
                }
                ignored.iter().for_each(|path| drop(index.remove(path)));
            }
        }
        let mut present = self.inspect(&view, &old, &new)?;
        self.reply.say("Inspecting system... done.");
        let modified = self.unmodified(&mut old, &mut present, &mut new)?;
        let unpatched: BTreeSet<String> = lines(&updates.join("unpatched"))?.into_iter().collect();
        present.retain(|_, line| line.kind != '-');
        if self.settings.says_no("AllowAdd") || self.settings.says_no("AllowDelete") {
            bail!("freebsd-update.conf: AllowAdd and AllowDelete are not imitated");
        }
        if !self.settings.says_no("KeepModifiedMetadata") {
            for (path, line) in &present {
                let metadata = |line: &Line| (line.kind, line.uid, line.gid, line.mode, line.fixed);
                if old.get(path).is_some_and(|old| metadata(old) == metadata(line)) {
                    continue;
                }
                if let Some(new) = new.get_mut(path).filter(|new| new.kind == line.kind) {
                    (new.uid, new.gid, new.mode, new.fixed) = (line.uid, line.gid, line.mode, line.fixed);
                }
            }
        }
        let same: Vec<String> = present
            .iter()
            .filter(|(path, line)| new.get(*path) == Some(line))
            .map(|(p, _)| p.clone())
            .collect();
        for path in same {
            present.remove(&path);
            new.remove(&path);
        }
        self.reply.say("Preparing to download files... done.");
        if !self.download(&stored, &old, &present, &new, &unpatched, &contents)? {
            return Ok(1);
        }
        self.manifest(&workdir, &release, newest, present, new, &modified)?;
        let end = lines(&updates.join("eol"))?;
        if updates.join("eol").exists() {
            let end = end.first().and_then(|line| line.parse().ok()).unwrap_or(END_OF_LIFE);
            if end < now() {
                self.reply.say(format!(
                    "\nWARNING: FreeBSD {} HAS PASSED ITS END-OF-LIFE DATE.\n\
                     Any security issues discovered after {}\nwill not have been corrected.",
                    self.version,
                    date(end)
                ));
                return Ok(1);
            }
        }
        Ok(0)
    }

    /// Says that no server is left.
    fn no_mirrors(&mut self, release: &str, why: &str) -> Result<u8> {
        self.reply.say(format!(
            "{why}\nNo mirrors remaining, giving up.\n\n\
             This may be because upgrading from this platform (amd64)\n\
             or release ({release}) is unsupported by freebsd-update. Only\n\
             platforms with Tier 1 support can be upgraded by freebsd-update.\n\
             See https://www.freebsd.org/platforms/ for more info.\n\n\
             If unsupported, FreeBSD must be upgraded by source."
        ));
        Ok(1)
    }

    /// What the release has and what the update has, as far as they differ, and the directories of every release.
    fn indices(
        &self,
        view: &mut View,
        updates: &Path,
        release: &str,
        level: u64,
        contents: &mut HashMap<String, Vec<u8>>,
    ) -> Result<(Index, Index)> {
        let (mut old, mut new) = (Index::new(), Index::new());
        for (path, mode) in DIRECTORIES {
            let line = Line { kind: 'd', mode: *mode, ..Line::absent() };
            old.insert((*path).into(), line.clone());
            new.insert((*path).into(), line);
        }
        let top = updates.join("files");
        let mut todo = vec![top.clone()];
        let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
        while let Some(directory) = todo.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten() {
                let path = entry?.path();
                let inside = path.strip_prefix(&top)?.to_str().context("updates: a name is not UTF-8")?;
                found.insert(format!("/{inside}"), path.clone());
                if path.is_dir() && !path.is_symlink() {
                    todo.push(path);
                }
            }
        }
        let version = "/bin/freebsd-version";
        if !found.contains_key(version) && !updates.join("kernel-only").exists() {
            found.insert(version.into(), PathBuf::new());
        }
        for (path, source) in &found {
            let there = self.line(view, path, None)?;
            if path == version && source.as_os_str().is_empty() {
                let Ok(real) = view.real(&self.inside(path)) else { continue };
                if there.kind != 'f' {
                    continue;
                }
                let text = fs::read_to_string(&real).context("bin/freebsd-version")?;
                // The release is what was there at first, whatever is there now.
                let with = |version: &str| {
                    let line = |line: &str| match line.starts_with("USERLAND_VERSION=") {
                        true => format!("USERLAND_VERSION=\"{version}\"\n"),
                        false => format!("{line}\n"),
                    };
                    text.lines().map(line).collect::<String>().into_bytes()
                };
                let (was, is) = (with(release), with(&format!("{release}-p{level}")));
                old.insert(path.clone(), Line { value: sha256(&was), ..there.clone() });
                new.insert(path.clone(), Line { value: sha256(&is), ..there });
                contents.insert(sha256(&is), is);
                continue;
            }
            let meta = fs::symlink_metadata(source)?;
            let mode = meta.mode() & 0o7777;
            let made = Line { mode, ..Line::absent() };
            let before = updates.join("old").join(&path[1..]);
            let kind = match meta.file_type() {
                kind if kind.is_dir() => 'd',
                kind if kind.is_symlink() => 'L',
                _ => 'f',
            };
            let value = match kind {
                'f' => {
                    let content = fs::read(source)?;
                    let hash = sha256(&content);
                    contents.insert(hash.clone(), content);
                    hash
                }
                'L' => fs::read_link(source)?.to_string_lossy().into_owned(),
                _ => String::new(),
            };
            let known = there.kind == kind;
            let line = if known { there.clone() } else { made };
            let mode = if kind == 'L' { 0o755 } else { line.mode };
            new.insert(path.clone(), Line { kind, mode, value, ..line.clone() });
            let was = match () {
                () if before.is_file() => Line { kind: 'f', value: sha256(&fs::read(&before)?), ..line },
                // What is there is taken for what was shipped.
                () if there.kind != '-' => there,
                () => Line::absent(),
            };
            // A directory above something new is none of the update's business if it is there.
            if kind == 'd' && was.kind == 'd' {
                new.insert(path.clone(), was.clone());
            }
            old.insert(path.clone(), was);
        }
        for path in lines(&updates.join("remove"))? {
            let path = format!("/{}", path.trim_start_matches('/'));
            let there = self.line(view, &path, None)?;
            new.remove(&path);
            old.insert(path, there);
        }
        // Of two names of a file the later is a hard link to the earlier.
        self.hard_links(view, &mut old)?;
        self.hard_links(view, &mut new)?;
        Ok((old, new))
    }

    /// A path of the base as a path of the host.
    fn inside(&self, path: &str) -> String {
        format!("{}{path}", without_root(self.host, &self.base).trim_end_matches('/'))
    }

    /// What is in the base now. `links` are the files met before.
    fn line(&self, view: &View, path: &str, links: Option<&mut HashMap<(u64, u64), String>>) -> Result<Line> {
        let full = self.inside(path);
        let (Ok(target), Ok(own)) = (view.real(&full), view.own(&full)) else { return Ok(Line::absent()) };
        let (Ok(_), Ok(meta)) = (fs::metadata(&target), fs::symlink_metadata(&own)) else {
            return Ok(Line::absent());
        };
        // A directory that something is mounted on.
        let meta = if meta.is_dir() { fs::symlink_metadata(&target)? } else { meta };
        let mut line = Line {
            kind: 'f',
            uid: meta.uid(),
            gid: meta.gid(),
            mode: meta.mode() & 0o7777,
            fixed: is_fixed(&own),
            value: String::new(),
            link: String::new(),
        };
        match meta.file_type() {
            kind if kind.is_symlink() => {
                let text = fs::read_link(&own)?.as_os_str().as_bytes().to_vec();
                (line.kind, line.mode) = ('L', 0o755);
                line.value = String::from_utf8_lossy(&text).into_owned();
            }
            kind if kind.is_dir() => line.kind = 'd',
            kind if kind.is_file() => {
                line.value = sha256(&fs::read(&own)?);
                if let Some(links) = links.filter(|_| meta.nlink() > 1) {
                    let first = links.entry((meta.dev(), meta.ino())).or_insert_with(|| path.to_owned());
                    if first != path {
                        line.link = first.clone();
                    }
                }
            }
            _ => bail!("freebsd-update: Unknown file type: {full}"),
        }
        Ok(line)
    }

    /// Finds out which files of an index are one file in the base.
    fn hard_links(&self, view: &View, index: &mut Index) -> Result<()> {
        let mut links = HashMap::new();
        for (path, line) in index {
            if line.kind == 'f' {
                line.link = self.line(view, path, Some(&mut links))?.link;
            }
        }
        Ok(())
    }

    /// Gets the indices, if they are not the ones it has.
    fn metadata(&mut self, workdir: &Path, release: &str, level: u64) -> Result<()> {
        let name = |index| sha256(format!("{index} {release} {level}").as_bytes());
        let names: BTreeSet<String> = ["INDEX-NEW", "INDEX-OLD"].into_iter().map(name).collect();
        let known = lines(&workdir.join("tINDEX.present"))?;
        let missing = names.iter().filter(|name| !workdir.join("files").join(name).exists()).count();
        if missing > 0 && !known.is_empty() {
            let progress = progress(missing);
            self.reply.say(format!("Fetching {missing} metadata patches.{progress}done."));
            self.reply.say("Applying metadata patches... done.");
        } else if missing > 0 {
            self.reply.say(format!("Fetching {missing} metadata files... done."));
        }
        for name in known.iter().filter(|name| !names.contains(*name)) {
            let _ = fs::remove_file(workdir.join("files").join(name));
        }
        for name in &names {
            fs::write(workdir.join("files").join(name), "an index\n")?;
        }
        fs::write(workdir.join("tINDEX.present"), names.into_iter().collect::<Vec<_>>().join("\n") + "\n")?;
        Ok(())
    }

    /// Looks at the base.
    fn inspect(&self, view: &View, old: &Index, new: &Index) -> Result<Index> {
        let mut links = HashMap::new();
        let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        paths.into_iter().map(|path| Ok((path.clone(), self.line(view, path, Some(&mut links))?))).collect()
    }

    /// Leaves alone what the administrator changed, and what was removed. Gives the paths of what was changed.
    fn unmodified(&self, old: &mut Index, present: &mut Index, new: &mut Index) -> Result<Vec<String>> {
        let mut left = BTreeSet::new();
        let mut modified = Vec::new();
        let value = |line: &Line| (line.kind, line.value.clone());
        for (path, line) in &*present {
            let same = |index: &Index| index.get(path).is_some_and(|other| value(other) == value(line));
            for expression in self.settings.list("UpdateIfUnmodified") {
                if begins(&line.write(path), expression)? && !same(old) && !same(new) {
                    left.insert(path.clone());
                    if line.kind != '-' {
                        modified.push(path.clone());
                    }
                    break;
                }
            }
            if line.kind == '-' && old.get(path) != Some(line) {
                left.insert(path.clone());
            }
        }
        for index in [old, present, new] {
            index.retain(|path, _| !left.contains(path));
        }
        Ok(modified)
    }

    /// Gets what is to be installed. False if that failed.
    fn download(
        &mut self,
        stored: &Path,
        old: &Index,
        present: &Index,
        new: &Index,
        unpatched: &BTreeSet<String>,
        contents: &HashMap<String, Vec<u8>>,
    ) -> Result<bool> {
        let missing = self.host.flag("update-missing");
        let wanted: BTreeSet<(&str, &str)> = new
            .iter()
            .filter(|(_, line)| line.kind == 'f' && !stored.join(&line.value).exists())
            .map(|(path, line)| (line.value.as_str(), path.as_str()))
            .collect();
        let (mut patches, mut files) = (BTreeSet::new(), BTreeSet::new());
        for (hash, path) in wanted {
            let is_same = old.get(path).zip(present.get(path)).is_some_and(|(a, b)| a.value == b.value);
            if is_same && !patches.contains(hash) {
                patches.insert(hash);
                if unpatched.contains(path) {
                    files.insert(hash);
                }
            } else if !patches.contains(hash) {
                files.insert(hash);
            }
            let Some(content) = contents.get(hash) else {
                // Only the metadata changes; the file is there.
                continue;
            };
            if !missing {
                fs::write(stored.join(hash), content)?;
            }
        }
        if !patches.is_empty() {
            let count = patches.len();
            self.reply.say(format!("Fetching {count} patches.{}done.", progress(count)));
            self.reply.say("Applying patches... done.");
        }
        if !files.is_empty() {
            let end = if missing { "failed." } else { "done." };
            self.reply.say(format!("Fetching {} files... {}{end}", files.len(), progress(files.len())));
        }
        Ok(files.is_empty() || !missing)
    }

    /// Says what is to be done, and notes it.
    fn manifest(
        &mut self,
        workdir: &Path,
        release: &str,
        level: u64,
        present: Index,
        new: Index,
        modified: &[String],
    ) -> Result<()> {
        let pending = self.pending(workdir, "install");
        if let Ok(directory) = fs::read_link(&pending) {
            fs::remove_dir_all(workdir.join(directory))?;
            fs::remove_file(&pending)?;
        }
        let mut list = |title: &str, paths: Vec<&String>| {
            if !paths.is_empty() {
                self.reply.say(title);
                paths.iter().for_each(|path| self.reply.say(path));
            }
        };
        list(
            "The following files are affected by updates. No changes have\n\
             been downloaded, however, because the files have been modified\nlocally:",
            modified.iter().collect(),
        );
        if present.is_empty() && new.is_empty() {
            self.reply.say(format!("\nNo updates needed to update system to {release}-p{level}."));
            return Ok(());
        }
        for (what, paths) in [
            ("removed", present.keys().filter(|path| !new.contains_key(*path)).collect::<Vec<_>>()),
            ("added", new.keys().filter(|path| !present.contains_key(*path)).collect()),
            ("updated", new.keys().filter(|path| present.contains_key(*path)).collect()),
        ] {
            list(
                &format!("The following files will be {what} as part of updating to\n{release}-p{level}:"),
                paths,
            );
        }
        let name = format!("install.{:06}", std::process::id() % 1_000_000);
        let directory = workdir.join(&name);
        DirBuilder::new().mode(0o700).recursive(true).create(&directory)?;
        fs::write(directory.join("INDEX-OLD"), write_index(&present))?;
        fs::write(directory.join("INDEX-NEW"), write_index(&new))?;
        symlink(name, pending)?;
        Ok(())
    }

    fn updates_ready(&mut self) -> Result<u8> {
        let Some(workdir) = self.workdir() else { return Ok(1) };
        if self.pending(&workdir, "install").is_symlink() {
            self.reply.say("There are updates available to install.");
            self.reply.say("Run 'freebsd-update [options] install' to proceed.");
            return Ok(0);
        }
        self.reply.say("No updates are available to install.");
        Ok(2)
    }

    /// Installs what was fetched. None ends the program with status 0.
    fn install(&mut self, fetched: bool) -> Result<Option<u8>> {
        let level = sysctl::node(self.host, "kern.securelevel")?;
        if level.parse::<i32>().is_ok_and(|level| level > 0) {
            self.reply.say("Updates cannot be installed when the system securelevel\nis greater than zero.");
            return Ok(Some(1));
        }
        let Some(workdir) = self.workdir() else { return Ok(Some(1)) };
        let pending = self.pending(&workdir, "install");
        if !pending.is_symlink() {
            self.reply.say("No updates are available to install.");
            if fetched {
                return Ok(None);
            }
            self.reply.say("Run 'freebsd-update [options] fetch' first.");
            return Ok(Some(2));
        }
        if !pending.join("INDEX-OLD").exists() || !pending.join("INDEX-NEW").exists() {
            self.reply.say("Update manifest is corrupt -- this should never happen.");
            self.reply.say("Re-run 'freebsd-update [options] fetch'.");
            return Ok(Some(1));
        }
        self.reply.out += "Installing updates...";
        let (old, new) = (read_index(&pending.join("INDEX-OLD"))?, read_index(&pending.join("INDEX-NEW"))?);
        let stored = workdir.join("files");
        if new.values().any(|line| line.kind == 'f' && !stored.join(&line.value).exists()) {
            self.reply.say("Update files missing -- this should never happen.");
            self.reply.say("Re-run 'freebsd-update [options] fetch'.");
            return Ok(Some(1));
        }
        if !pending.join("kerneldone").exists() {
            self.backup_kernel()?;
            fs::write(pending.join("kerneldone"), "")?;
        }
        // An installation that was interrupted later continues from there.
        if !pending.join("worlddone").exists() && !self.world(&old, &new, &stored)? {
            return Ok(Some(1));
        }
        fs::write(pending.join("worlddone"), "")?;
        let rollback = self.pending(&workdir, "rollback");
        if let Ok(directory) = fs::read_link(&rollback) {
            fs::remove_dir_all(workdir.join(directory))?;
            fs::remove_file(&rollback)?;
        }
        for done in ["kerneldone", "worlddone"] {
            fs::remove_file(pending.join(done))?;
        }
        fs::rename(&pending, rollback)?;
        self.reply.say(" done.");
        Ok(Some(0))
    }

    /// Installs what is not the kernel's. False if that failed.
    fn world(&mut self, old: &Index, new: &Index, stored: &Path) -> Result<bool> {
        let mut left = match lines(&self.host.state("update-break"))?.first() {
            Some(line) => Some(line.parse().context("update-break: not a number of files")?),
            None => None,
        };
        let directories = |line: &Line| line.kind == 'd';
        let library = |path: &str| path.contains("/lib/") && path.contains(".so.");
        let early = |path: &str| path.starts_with("/libexec/ld-elf") || library(path);
        for pass in [0, 1, 2] {
            for (path, line) in new {
                let turn = match () {
                    () if directories(line) => 0,
                    () if early(path) => 1,
                    () => 2,
                };
                if turn == pass && !self.put(path, line, stored, &mut left)? {
                    return Ok(false);
                }
            }
        }
        for (path, line) in new.iter().filter(|(_, line)| line.fixed) {
            if let Ok(own) = databases::view(self.host)?.own(&self.inside(path)) {
                set_fixed(&own, line.fixed);
            }
        }
        // Directories of the update are no match for what else had those names.
        for (path, line) in old.iter().rev() {
            let again = new.get(path).is_some_and(|new| directories(new) == directories(line));
            if again || early(path) && !directories(line) && new.contains_key(path) {
                continue;
            }
            let view = databases::view(self.host)?;
            let Ok(own) = view.own(&self.inside(path)) else { continue };
            match line.kind {
                'd' => drop(fs::remove_dir(&own)),
                'f' if own.is_file() => fs::remove_file(&own)?,
                'L' if own.is_symlink() => fs::remove_file(&own)?,
                _ => {}
            }
        }
        self.rebuild()?;
        Ok(true)
    }

    /// Makes a copy of the kernel, which a base for jails does not have.
    fn backup_kernel(&mut self) -> Result<()> {
        if self.settings.says_no("BackupKernel") {
            return Ok(());
        }
        let view = databases::view(self.host)?;
        let directory = self.settings.value("BackupKernelDir").unwrap_or("/boot/kernel.old");
        if let Ok(place) = view.real(&self.inside(directory)) {
            fs::create_dir_all(&place)?;
            fs::write(place.join(".freebsd-update"), "")?;
        }
        if view.look(&self.inside("/boot/kernel"), true).is_err() {
            for what in ["mtree", "cd"] {
                self.reply.complain(format!("{what}: {}//boot/kernel: No such file or directory", self.base));
            }
        }
        Ok(())
    }

    /// Installs one thing. False if that failed.
    fn put(&mut self, path: &str, line: &Line, stored: &Path, left: &mut Option<u64>) -> Result<bool> {
        let full = format!("{}{path}", self.base);
        let view = databases::view(self.host)?;
        if let Some(left) = left.as_mut() {
            if *left == 0 {
                fs::remove_file(self.host.state("update-break"))?;
                self.reply.complain(format!("install: {full}: No space left on device"));
                return Ok(false);
            }
            *left -= u64::from(line.kind != 'd');
        }
        let own = match view.own(&self.inside(path)) {
            Ok(own) => own,
            // The loop that installs continues after an error.
            Err(cause) => {
                self.reply.complain(format!("install: {full}: {cause}"));
                return Ok(true);
            }
        };
        match line.kind {
            'd' => {
                // Through a link, if there is one to a directory.
                let place = view.real(&self.inside(path)).unwrap_or(own);
                if !place.is_dir() {
                    fs::create_dir_all(&place)?;
                }
                own_by(&place, line);
                fs::set_permissions(&place, Permissions::from_mode(line.mode))?;
            }
            'f' if line.link.is_empty() => {
                let content = fs::read(stored.join(&line.value))?;
                let _ = fs::remove_file(&own);
                if let Err(cause) = fs::write(&own, content) {
                    let cause = crate::host::reason(&cause);
                    self.reply.complain(format!("install: {full}: {cause}"));
                    return Ok(true);
                }
                own_by(&own, line);
                fs::set_permissions(&own, Permissions::from_mode(line.mode))?;
            }
            'f' => {
                let Ok(first) = view.own(&self.inside(&line.link)) else { return Ok(true) };
                let _ = fs::remove_file(&own);
                fs::hard_link(first, &own).with_context(|| full)?;
            }
            'L' => {
                let _ = fs::remove_file(&own);
                symlink(&line.value, &own).with_context(|| full)?;
            }
            _ => {}
        }
        Ok(true)
    }

    /// Builds what is made from other files.
    fn rebuild(&mut self) -> Result<()> {
        let base = self.base.clone();
        let note = |program: &str, args: &[String]| self.host.note_call(program, args);
        note("certctl", &["rehash".into()])?;
        certs::rehash(self.host, &base, self.reply)?;
        let args = ["-d".into(), format!("{base}/etc"), "-p".into(), format!("{base}/etc/master.passwd")];
        note("pwd_mkdb", &args)?;
        databases::pwd_mkdb(self.host, &args, self.reply)?;
        let args = [format!("{base}/etc/login.conf")];
        note("cap_mkdb", &args)?;
        databases::cap_mkdb(self.host, &args, self.reply)?;
        Ok(())
    }
}

/// Gives a file away, which only root can do.
fn own_by(path: &Path, line: &Line) {
    let _ = chown(path, Some(line.uid), Some(line.gid));
}

/// Whether a file has the flag schg.
#[cfg(target_os = "linux")]
fn is_fixed(path: &Path) -> bool {
    let mut value = [0; 64];
    rustix::fs::lgetxattr(path, "user.freebsd.flags", &mut value[..])
        .is_ok_and(|length| value[..length].split(|byte| *byte == b',').any(|flag| flag == b"schg"))
}

/// Sets the flag schg.
#[cfg(target_os = "linux")]
fn set_fixed(path: &Path, fixed: bool) {
    if fixed {
        let _ = rustix::fs::lsetxattr(path, "user.freebsd.flags", b"schg", rustix::fs::XattrFlags::empty());
    }
}

#[cfg(not(target_os = "linux"))]
fn is_fixed(_: &Path) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn set_fixed(_: &Path, _: bool) {}

/// The lines of a file, none if it is not there.
fn lines(file: &Path) -> Result<Vec<String>> {
    match fs::read_to_string(file) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => {
            let text = other.with_context(|| file.display().to_string())?;
            Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
        }
    }
}

/// What is shown while that many files come in.
fn progress(count: usize) -> String {
    let mark = |number: usize| match number {
        _ if number.is_multiple_of(10) => number.to_string(),
        _ if number.is_multiple_of(2) => ".".into(),
        _ => String::new(),
    };
    (1..=count).map(mark).collect::<String>() + " "
}

/// A time as date(1) shows it, in UTC.
fn date(seconds: u64) -> String {
    let text = calendar(seconds);
    let words: Vec<&str> = text.split_whitespace().collect();
    let [weekday, month, day, hour, year] = words[..] else { return text };
    format!("{weekday} {month} {day:>2} {hour:0>5}:{:02} UTC {year}", seconds % 60)
}
