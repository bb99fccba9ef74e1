//! The simulated host: a directory that plays the root of the file system.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// Where everything the stand-ins keep lies, below the root.
const STATE: &str = "var/db/standin";

/// The alternate root, and what lies below it.
pub struct Host {
    root: String,
}

impl Host {
    /// The host named by `THINJAIL_ROOT`.
    ///
    /// No root, or the real one, is refused: a stand-in that was started by mistake must not touch the machine.
    pub fn from_env() -> Result<Self> {
        let Some(root) = env::var_os("THINJAIL_ROOT") else {
            bail!("THINJAIL_ROOT is not set");
        };
        let Ok(root) = root.into_string() else {
            bail!("THINJAIL_ROOT is not UTF-8");
        };
        let root = root.trim_end_matches('/');
        if !root.starts_with('/') {
            bail!("THINJAIL_ROOT is not an absolute path, or is the real root");
        }
        if !Path::new(root).is_dir() {
            bail!("THINJAIL_ROOT: {root}: not a directory");
        }
        Ok(Self { root: root.into() })
    }

    /// The real place of an absolute path of the simulated host.
    pub fn path(&self, inside: &str) -> PathBuf {
        Path::new(&self.root).join(inside.trim_start_matches('/'))
    }

    /// An absolute path of the simulated host as its programs print it: with the root before it, as zfs prints
    /// mountpoints of a pool imported with an alternate root.
    pub fn shown(&self, inside: &str) -> String {
        if inside == "/" { self.root.clone() } else { format!("{}{inside}", self.root) }
    }

    /// The reverse of [`Host::shown`]: none if the path is not below the root.
    pub fn inside(&self, shown: &str) -> Option<String> {
        match shown.strip_prefix(&self.root)? {
            "" => Some("/".into()),
            rest if rest.starts_with('/') => Some(rest.into()),
            _ => None,
        }
    }

    /// The real place of a path given as an argument: with the root before it, as the suite spells paths when it starts a
    /// program, or as seen on the simulated host.
    pub fn real(&self, given: &str) -> PathBuf {
        if given.starts_with('/') && self.inside(given).is_none() { self.path(given) } else { given.into() }
    }

    /// A file or directory of the stand-ins' own.
    pub fn state(&self, name: &str) -> PathBuf {
        Path::new(&self.root).join(STATE).join(name)
    }

    /// Whether a test asked for a fault by putting a file there.
    pub fn flag(&self, name: &str) -> bool {
        self.state(name).exists()
    }

    /// The lines of a file of the stand-ins' own; an absent file has none.
    pub fn state_lines(&self, name: &str) -> Result<Vec<String>> {
        match fs::read_to_string(self.state(name)) {
            Ok(text) => Ok(text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
                .collect()),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(cause) => Err(cause).with_context(|| format!("read {name}")),
        }
    }

    /// Appends one line to `calls`. A single write in append mode, so that stand-ins running at the same time do not
    /// mix their lines.
    pub fn note_call(&self, program: &str, args: &[String]) -> Result<()> {
        let mut line = quote(program);
        for arg in args {
            line.push(' ');
            line.push_str(&quote(arg));
        }
        line.push('\n');
        let path = self.state("calls");
        fs::create_dir_all(self.state("")).context("make the state directory")?;
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .with_context(|| format!("note the call in {}", path.display()))
    }

    /// Holds off every other stand-in until the file is dropped.
    pub fn lock(&self) -> Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.state("lock"))
            .context("open the lock")?;
        flock(&file, FlockOperation::LockExclusive).context("take the lock")?;
        Ok(file)
    }
}

/// Puts a file in place by rename, so that it is never seen half written. A mode and owner the old one had are kept.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}", std::process::id()));
    let partial = PathBuf::from(partial);
    let write = || -> io::Result<()> {
        fs::write(&partial, text)?;
        if let Ok(old) = fs::metadata(path) {
            fs::set_permissions(&partial, old.permissions())?;
        }
        fs::rename(&partial, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// A word as a shell would take it back: bare where that is safe, else in single quotes.
fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_^".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The text of an error number without the number, as the C library's programs print it.
pub fn reason(cause: &io::Error) -> String {
    let mut text = cause.to_string();
    if let Some(end) = text.find(" (os error") {
        text.truncate(end);
    }
    text
}
