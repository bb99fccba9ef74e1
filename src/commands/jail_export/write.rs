//! Writing the stream.

use super::PROGRAM;
use crate::domain::jail_archive::{Summed, is_of_host};
use crate::formats::jail_manifest::{ArchiveEnd, END_NAME, JailManifest, NAME};
use crate::formats::printable;
use crate::formats::shell;
use crate::formats::tar::{END, TarEntry, padding};
use crate::system::effect;
use crate::system::file;
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::progress::Progress;
use crate::system::tree::{self, Packed};
use crate::system::{console, signals};
use crate::types::jail_name::JailName;
use crate::types::sibling_name;
use anyhow::{Context, Result};
use std::io::{self, BufWriter, Write, stdout};
use std::path::{Path, PathBuf};

/// Bytes that are written at once.
const BUFFER: usize = 1 << 17;

/// Writes a jail.
pub(super) struct WriteArchive {
    pub(super) jail: JailName,
    pub(super) manifest: JailManifest,
    /// What only the difference from is written.
    pub(super) origin_tree: Option<PathBuf>,
    /// What is written.
    pub(super) tree: PathBuf,
    /// Where; standard output without it.
    pub(super) output: Option<PathBuf>,
}

impl Action for WriteArchive {
    fn shell(&self) -> String {
        let tree = shell::quote(&self.tree);
        let file = self.output.as_ref().map_or("-".into(), shell::quote);
        format!("/usr/bin/tar -C {tree} -cf {file} .")
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let Some(output) = &self.output else {
            return self.write(stdout().lock()).context("standard output");
        };
        let target = host.root().resolve_argument(output);
        let aside = sibling_name::temporary(&target);
        undo.push(file::RemoveFile { path: aside.clone() });
        // It has the secrets of the jail.
        let mut made = file::open_private(&aside)?;
        self.write(&mut made).with_context(|| format!("write {}", target.display()))?;
        effect::fsync(&made, &aside)?;
        effect::rename(&aside, &target)?;
        let parent = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(effect::fsync(tree::open_directory(parent)?, parent)?)
    }
}

impl WriteArchive {
    fn write(&self, out: impl Write) -> Result<()> {
        let mut out = Summed::new(BufWriter::with_capacity(BUFFER, Interruptible(out)));
        let mut progress = Progress::new(format!("export {}", self.jail));
        let mut refused = None;
        // One effect: its parts are many, and none of them is to be repeated.
        let packed = effect::with(format_args!("write the archive of {}", self.jail), || {
            self.entries(&mut out, &mut progress).map_err(|e| {
                let text = io::Error::other(format!("{e:#}"));
                refused = Some(e);
                text
            })
        });
        drop(progress);
        let packed = match (packed, refused) {
            (Ok(packed), _) => packed,
            (Err(_), Some(error)) => return Err(error),
            (Err(error), None) => return Err(error.into()),
        };
        for path in &packed.devices {
            let path = format!("{:?}", printable::line(&path.display().to_string()));
            console::note(PROGRAM, &format!("warning: the device {path} is not exported"));
        }
        for path in &packed.changed {
            let path = format!("{:?}", printable::line(&path.display().to_string()));
            console::note(
                PROGRAM,
                &format!("warning: {path} became shorter while it was read; the rest is filled with zeros"),
            );
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "announced by write")]
    fn entries(&self, out: &mut Summed<BufWriter<impl Write>>, progress: &mut Progress) -> Result<Packed> {
        let text = self.manifest.to_text();
        small(out, NAME, text.as_bytes())?;
        let packed = tree::pack(self.origin_tree.as_deref(), &self.tree, &is_of_host, out, &mut |entries| {
            progress.report(entries, 0);
        })?;
        signals::check()?;
        let end = ArchiveEnd { entries: packed.entries, sha256: out.sum() };
        small(out, END_NAME, end.to_text().as_bytes())?;
        out.write_all(&END)?;
        out.flush()?;
        Ok(packed)
    }
}

/// Passes bytes on until a signal comes: writing may take hours.
struct Interruptible<W>(W);

impl<W: Write> Write for Interruptible<W> {
    #[expect(clippy::disallowed_methods, reason = "announced by write")]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if signals::came() {
            return Err(io::Error::other("a signal came"));
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes a small file as an entry.
#[expect(clippy::disallowed_methods, reason = "announced by write")]
fn small(out: &mut impl Write, name: &str, contents: &[u8]) -> Result<()> {
    let size = contents.len() as u64;
    let header = TarEntry::plain(name, size).to_bytes()?;
    out.write_all(&header)?;
    out.write_all(contents)?;
    Ok(out.write_all(&vec![0; usize::try_from(padding(size))?])?)
}
