//! Getting and verifying the archive and its MANIFEST.

use super::SET;
use crate::formats::manifest;
use crate::formats::shell;
use crate::system::archive;
use crate::system::console;
use crate::system::effect;
use crate::system::file;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::progress::Progress;
use crate::system::tool::{Tool, Tools};
use crate::types::release::Release;
use crate::types::sibling_name;
use crate::types::tool_error::ToolError;
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// The directory on a server that holds the files of a release.
pub(super) struct Source {
    directory: RefCell<String>,
    /// Where they are if they are gone from there.
    archive: RefCell<Option<String>>,
    release: Release,
}

impl Source {
    /// A directory, and the one to turn to.
    pub(super) fn new(directory: String, archive: Option<String>, release: Release) -> Source {
        Source { directory: RefCell::new(directory), archive: RefCell::new(archive), release }
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.directory.borrow())
    }

    /// Asks for a file; if it is gone, asks the archive, for this file and all that
    /// follow.
    fn ask<T>(&self, name: &str, attempt: impl Fn(&str) -> Result<T, ToolError>) -> Result<T> {
        let error = match retry(|| attempt(&self.url(name))) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if !error.says("Not Found") {
            return Err(error.into());
        }
        let Some(archive) = self.archive.take() else {
            return Err(
                anyhow::Error::new(error).context(format!("{}: the mirror does not have it", self.release))
            );
        };
        let answer = retry(|| attempt(&format!("{archive}/{name}"))).map_err(|second| {
            // What the archive lacks was never released.
            let text = match second.says("Not Found") {
                true => format!("{}: neither on the mirror nor in the archive {archive}", self.release),
                false => format!("{}: not on the mirror", self.release),
            };
            anyhow::Error::new(second).context(text)
        })?;
        let text = format!(
            "warning: {} is past its end of life and receives no patches; fetching it from the archive, {archive}, \
             without encryption",
            self.release
        );
        console::note(super::PROGRAM, &text);
        self.directory.replace(archive);
        Ok(answer)
    }
}

/// Fetches the MANIFEST of a release.
pub(super) struct FetchManifest {
    pub(super) source: Rc<Source>,
    pub(super) to: PathBuf,
}

const MANIFEST: &str = "MANIFEST";

fn manifest_arguments(url: &str, to: &Path) -> [OsString; 4] {
    ["-q".into(), "-o".into(), to.into(), url.into()]
}

impl Action for FetchManifest {
    fn shell(&self) -> String {
        Tools::line(Tool::Fetch, &manifest_arguments(&self.source.url(MANIFEST), &self.to))
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        // Aside: a failing fetch must not take the place of an older one.
        let aside = sibling_name::temporary(&self.to);
        // Nor must an earlier one be taken for what came now.
        if file::look(&aside)?.is_some() {
            effect::remove_file(&aside)?;
        }
        let fetch = |url: &str| host.tools().run(Tool::Fetch, &manifest_arguments(url, &aside));
        let fetched = self
            .source
            .ask(MANIFEST, fetch)
            .and_then(|_| manifest::parse(&fs_err::read_to_string(&aside)?))
            .with_context(|| format!("MANIFEST from {}", self.source.url(MANIFEST)));
        if let Err(e) = fetched {
            let _ = effect::remove_file(&aside);
            return Err(e);
        }
        Ok(effect::rename(&aside, &self.to)?)
    }
}

/// How long a download may make no progress. fetch(1) itself waits for ever
/// once a transfer has begun: its -T covers only what comes before.
pub(super) const STALLED: Duration = Duration::from_secs(120);

/// Once more after a failure: connections break.
pub(super) fn retry<T, E>(mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    attempt().or_else(|_| attempt())
}

/// Fetches the archive, and continues a partial download.
pub(super) struct FetchArchive {
    pub(super) source: Rc<Source>,
    pub(super) part: PathBuf,
}

impl FetchArchive {
    fn arguments(&self) -> Vec<OsString> {
        // -F: a part that a killed fetch(1) left has not got the server's time yet.
        let how = ["-F", "-R", "-r", "-o"].map(OsString::from);
        how.into_iter().chain([self.part.clone().into(), self.source.url(SET).into()]).collect()
    }

    fn size(&self) -> Result<u64> {
        Ok(file::look(&self.part)?.map_or(0, |m| m.len()))
    }
}

impl Action for FetchArchive {
    fn shell(&self) -> String {
        Tools::line(Tool::Fetch, &self.arguments())
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let tools = host.tools();
        let answer = self.source.ask(SET, |url| tools.ask(Tool::Fetch, &["-s", url]))?;
        // A server need not know.
        let expected: Option<u64> = answer.stdout.trim().parse().ok();
        if expected.is_some_and(|e| self.size().is_ok_and(|s| s > e)) {
            effect::remove_file(&self.part)?;
        }
        // The part stays, whatever happens: the next attempt continues with it. A
        // connection that breaks is not always an error to fetch(1).
        let mut attempts = 0;
        while expected != Some(self.size()?) && attempts < 2 {
            attempts += 1;
            let mut arguments = self.arguments();
            if !Progress::wanted() {
                arguments.insert(0, "-q".into());
            }
            let fetched = tools.run_growing(Tool::Fetch, &arguments, &self.part, STALLED);
            match fetched {
                Ok(()) if expected.is_none() => break,
                Err(e) if attempts == 2 => return Err(e.into()),
                _ => {}
            }
        }
        let size = self.size()?;
        if let Some(expected) = expected
            && size != expected
        {
            bail!("{}: {size} bytes came, not {expected}; run it again to continue", self.source.url(SET));
        }
        Ok(())
    }
}

/// Verifies an archive; one that was fetched gets its name only then.
pub(super) struct VerifyArchive {
    pub(super) archive: PathBuf,
    pub(super) manifest: PathBuf,
    pub(super) set: Rc<RefCell<Option<manifest::Set>>>,
    pub(super) downloads: bool,
    pub(super) sets_aside: bool,
}

impl VerifyArchive {
    /// Where the archive is while it is being fetched.
    pub(super) fn part(&self) -> PathBuf {
        sibling_name::suffixed(&self.archive, "part")
    }

    pub(super) fn read_manifest(&self) -> Result<manifest::Set> {
        let text = fs_err::read_to_string(&self.manifest)?;
        let set = manifest::find(&text, SET).with_context(|| self.manifest.display().to_string())?;
        *self.set.borrow_mut() = Some(set.clone());
        Ok(set)
    }

    pub(super) fn judge(&self, host: &Host) -> Result<()> {
        let set = self.read_manifest()?;
        let path = if self.downloads { self.part() } else { self.archive.clone() };
        let verified = archive::check_sum(&path, &set, &mut Progress::new(format!("verify {SET}")));
        if let Err(e) = verified {
            if !self.sets_aside {
                return Err(e);
            }
            let bad = sibling_name::suffixed(&self.archive, "bad");
            effect::rename(&path, &bad)?;
            bail!("{e:#}; renamed to {}; run the command again to download it again", bad.display());
        }
        archive::check(host.tools(), &path, set.entries, &mut Progress::new(format!("check {SET}")))?;
        if self.downloads {
            effect::rename(&path, &self.archive)?;
        }
        Ok(())
    }
}

/// What sh(1) puts in place of the checksum that a MANIFEST to come will have.
pub fn sum_in(manifest: &Path) -> String {
    let program = shell::quote(format!("$1 == \"{SET}\" {{print $2}}"));
    format!("\"$(/usr/bin/awk {program} {})\"", shell::quote(manifest))
}

impl Action for VerifyArchive {
    fn shell(&self) -> String {
        let sum = match &*self.set.borrow() {
            Some(set) => manifest::to_hex(&set.sha256),
            None => sum_in(&self.manifest),
        };
        if self.downloads {
            let (part, archive) = (self.part(), &self.archive);
            let rename = shell::line(["/bin/mv".as_ref(), part.as_os_str(), archive.as_os_str()]);
            format!("/sbin/sha256 -c {sum} {}\n{rename}", shell::quote(&part))
        } else {
            format!("/sbin/sha256 -c {sum} {}", shell::quote(&self.archive))
        }
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        self.judge(host)
    }
}
