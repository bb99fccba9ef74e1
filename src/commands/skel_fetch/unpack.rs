//! A base from its archive: unpacked aside, made ready, and put in its place by
//! one rename.

use super::download::sum_in;
use crate::domain::base_version;
use crate::domain::template::{OF_HOST, RELEASE_PROPERTY};
use crate::formats::manifest::{self, Set};
use crate::formats::shell;
use crate::system::effect;
use crate::system::file;
use crate::system::host::Host;
use crate::system::plan::{Action, CommitPoint, Undo};
use crate::system::progress::Progress;
use crate::system::tool::{Stream, Tool, Tools};
use crate::system::tree::{self, RemoveTree};
use crate::system::zfs::{self, Dataset};
use crate::types::release::Release;
use crate::types::sibling_name;
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

// User properties that say what a base was unpacked from, with RELEASE_PROPERTY.
const SUM_PROPERTY: &str = "thinjail:sha256";
const DATE_PROPERTY: &str = "thinjail:fetched";

/// How a base is kept.
pub enum Base {
    /// As a directory, with a file next to it that says where it came from.
    Directory {
        /// That file.
        record: PathBuf,
    },
    /// As a dataset.
    Dataset(Dataset),
}

/// Unpacks a verified archive.
pub struct Unpack {
    /// The archive.
    pub archive: PathBuf,
    /// The MANIFEST that has its checksum.
    pub manifest: PathBuf,
    /// The set it is, once it is verified.
    pub set: Rc<RefCell<Option<Set>>>,
    /// The release it must be of.
    pub release: Release,
    /// How it is kept.
    pub base: Base,
    /// Where it goes (a real path).
    pub to: PathBuf,
}

impl Unpack {
    /// Where it is unpacked.
    fn aside(&self) -> PathBuf {
        match &self.base {
            Base::Directory { .. } => sibling_name::temporary(&self.to),
            Base::Dataset(_) => sibling_name::suffixed(&self.to, UNPACKING),
        }
    }

    fn extract(&self, aside: &Path, verbose: bool) -> [OsString; 4] {
        let how = if verbose { "-xvpf" } else { "-xpf" };
        [how.into(), self.archive.clone().into(), "-C".into(), aside.into()]
    }

    fn properties(&self) -> Vec<(String, String)> {
        let set = self.set.borrow();
        let sum = set.as_ref().map_or_else(|| TO_COME.to_owned(), |s| manifest::to_hex(&s.sha256));
        vec![
            (RELEASE_PROPERTY.into(), self.release.to_string()),
            (SUM_PROPERTY.into(), sum),
            (DATE_PROPERTY.into(), today()),
        ]
    }

    fn record(&self) -> String {
        let lines = self.properties().into_iter().map(|(name, value)| {
            let name = name.rsplit(':').next().unwrap_or_default().to_owned();
            format!("{name}=\"{value}\"\n")
        });
        lines.collect()
    }

    /// Fills the directory `aside`.
    fn fill(&self, host: &Host, aside: &Path) -> Result<()> {
        let entries = self.set.borrow().as_ref().map_or(0, |s| s.entries);
        let mut progress = Progress::new("unpack the base");
        if progress.is_shown() {
            let arguments = self.extract(aside, true);
            let mut done = 0;
            host.tools().follow(Tool::Tar, &arguments, Stream::Stderr, &mut |_| {
                done += 1;
                progress.report(done, entries);
            })?;
        } else {
            host.tools().run(Tool::Tar, &self.extract(aside, false))?;
        }
        let version = base_version::of_base(aside).with_context(|| self.archive.display().to_string())?;
        if version.release != self.release {
            bail!("{}: contains {version}, not {}", self.archive.display(), self.release);
        }
        take_over(host, aside)
    }
}

const UNPACKING: &str = "unpacking";

/// In place of a checksum that stands in a MANIFEST still to be fetched.
const TO_COME: &str = "@SHA256@";

impl Action for Unpack {
    fn shell(&self) -> String {
        let aside = self.aside();
        let mut lines = Vec::new();
        let unpacking = |d: &Dataset| format!("{d}.{UNPACKING}");
        match &self.base {
            Base::Directory { .. } => lines.push(shell::line(["/bin/mkdir".as_ref(), aside.as_os_str()])),
            Base::Dataset(dataset) => {
                let words = zfs::create_arguments(&unpacking(dataset), &self.properties());
                lines.push(Tools::line(Tool::Zfs, &words).replace(TO_COME, &sum_in(&self.manifest)));
            }
        }
        lines.push(Tools::line(Tool::Tar, &self.extract(&aside, false)));
        for path in OF_HOST {
            let (from, to) = (Path::new("/").join(path), aside.join(path));
            let (from, to) = (shell::quote(from), shell::quote(to));
            let link = if path.ends_with("resolv.conf") { "" } else { "-P " };
            lines.push(format!("test ! -e {from} || /bin/cp {link}{from} {to}"));
        }
        match &self.base {
            Base::Directory { record } => {
                // Within the quotes of printf(1)'s format.
                let sum = format!("'{}'", sum_in(&self.manifest));
                let text = shell::print(self.record().as_bytes()).replace(TO_COME, &sum);
                lines.push(format!("{text} > {}", shell::quote(record)));
                lines.push(shell::line(["/bin/mv".as_ref(), aside.as_os_str(), self.to.as_os_str()]));
            }
            Base::Dataset(dataset) => {
                lines.push(Tools::line(Tool::Zfs, &["rename", &unpacking(dataset), dataset.as_str()]));
            }
        }
        lines.join("\n")
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let aside = self.aside();
        match &self.base {
            Base::Directory { record } => {
                // What a killed run left.
                tree::remove(&aside)?;
                undo.push(RemoveTree { path: aside.clone() });
                effect::create_dir(&aside, 0o777)?;
                self.fill(host, &aside)?;
                tree::store(&aside)?;
                let record = file::WriteFile { path: record.clone(), contents: self.record().into_bytes() };
                record.perform(host, undo)?;
                CommitPoint(file::RenameFile { from: aside, to: self.to.clone() }).perform(host, undo)
            }
            Base::Dataset(dataset) => {
                let unpacking: Dataset = format!("{dataset}.{UNPACKING}").parse()?;
                clear_unpacking(host, &unpacking, &self.release)?;
                let create = zfs::CreateDataset {
                    dataset: unpacking.clone(),
                    properties: self.properties(),
                    mountpoint: aside.clone(),
                };
                create.perform(host, undo)?;
                self.fill(host, &aside)?;
                let rename = zfs::RenameDataset {
                    from: unpacking,
                    from_mountpoint: Some(aside),
                    to: dataset.clone(),
                    to_mountpoint: Some(self.to.clone()),
                };
                CommitPoint(rename).perform(host, undo)
            }
        }
    }
}

/// Destroys what a killed run left, if it is that.
fn clear_unpacking(host: &Host, dataset: &Dataset, release: &Release) -> Result<()> {
    match zfs::query_one(host.tools(), dataset.as_str(), &[RELEASE_PROPERTY])? {
        None => Ok(()),
        Some(found) if found.get(RELEASE_PROPERTY) == release.as_str() => {
            zfs::DestroyDataset { name: dataset.to_string() }.perform(host, &mut Undo::default())
        }
        Some(_) => bail!("{dataset} exists and was not left by skel-fetch ({RELEASE_PROPERTY} is not set)"),
    }
}

/// What a new base takes over from the host, as bsdinstall(8) does for a jail
/// (freebsd-src: usr.sbin/bsdinstall/scripts/jail).
fn take_over(host: &Host, base: &Path) -> Result<()> {
    for path in OF_HOST {
        let from = host.root().host_path(&Path::new("/").join(path));
        let Some(there) = file::look(&from)? else { continue };
        let to = base.join(path);
        take_over_file(&from, &there, &to, base)
            .with_context(|| format!("copy {} to the base", from.display()))?;
    }
    Ok(())
}

fn take_over_file(from: &Path, there: &Metadata, to: &Path, base: &Path) -> Result<()> {
    // The tree is new and vetted, but which of its directories are links is
    // its own affair: nothing is written through one.
    let way = to.parent().unwrap_or(base).ancestors().take_while(|d| *d != base);
    for directory in way {
        if !file::look(directory)?.is_some_and(|m| m.is_dir()) {
            bail!("{}: not a directory", directory.display());
        }
    }
    // A time zone that is a link stays one, and so keeps its name; a link to
    // name servers means nothing in a jail.
    if there.is_symlink() && !to.ends_with("resolv.conf") {
        let text = fs_err::read_link(from)?;
        if file::look(to)?.is_some() {
            effect::remove_file(to)?;
        }
        return Ok(effect::symlink(&text, to)?);
    }
    let contents = match fs_err::read(from) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        contents => contents?,
    };
    file::write(to, &contents)
}

/// Today's date in UTC, as 2026-01-31.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    date((seconds / 86_400) as i64)
}

/// The date of a day counted from 1970-01-01.
fn date(day: i64) -> String {
    // Years that begin in March end with the leap day.
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (day, expected) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (10_956, "1999-12-31"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_780, "2026-11-23"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date(day), expected);
        }
    }
}
