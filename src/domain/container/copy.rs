//! Copying a container on ZFS: a stream of what differs from its origin, received
//! as a further clone of that origin (zfs-send(8), "the origin of a clone").

use super::{CloneContainer, OWNER_PROPERTY};
use crate::system::host::Host;
use crate::system::plan::{Action, Undo};
use crate::system::progress::Progress;
use crate::system::tool::{Tool, ToolError, Tools};
use crate::system::zfs::{
    Dataset, TakeSnapshots, command_line, ensure_mounted, exists, find, query, query_one, run, words,
};
use crate::types::jail_name::JailName;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// The snapshot that a container is copied from. The copy has it as well until it is
/// a jail: a container of no jail that has it is unfinished.
pub const COPY_SNAPSHOT: &str = "thinjail-copy";

/// Sends a snapshot of a container and receives it as another jail's.
pub struct CopyContainer {
    /// The container, which has the snapshot [`COPY_SNAPSHOT`].
    pub source: Dataset,
    /// The snapshot that it is a clone of, and that the copy will be a clone of;
    /// without one, the copy shares nothing.
    pub origin: Option<String>,
    /// The copy.
    pub container: Dataset,
    /// Whose it is.
    pub jail: JailName,
    /// Further properties it gets.
    pub properties: Vec<(String, String)>,
    /// Where it must be mounted afterwards (a real path).
    pub mountpoint: PathBuf,
}

impl CopyContainer {
    fn send(&self) -> Vec<String> {
        // As it is on disk: large blocks, embedded and compressed ones.
        let mut words = words(&["send", "-L", "-e", "-c"]);
        if let Some(origin) = &self.origin {
            words.extend(["-i".into(), origin.clone()]);
        }
        words.push(self.source.snapshot(COPY_SNAPSHOT));
        words
    }

    fn receive(&self) -> Vec<String> {
        // Mounted by a step of its own, whose failure has a message.
        let mut words = words(&["receive", "-u", "-o", &format!("{OWNER_PROPERTY}={}", self.jail)]);
        for (name, value) in &self.properties {
            words.extend(["-o".into(), format!("{name}={value}")]);
        }
        words.push(self.container.to_string());
        words
    }

    /// Whether there is a copy as it was to be made: a stream that ended early leaves
    /// none.
    fn is_made(&self, host: &Host) -> Result<bool> {
        let found = query_one(host.tools(), self.container.as_str(), &["origin", OWNER_PROPERTY])?;
        let Some(found) = found else { return Ok(false) };
        let snapshot = query_one(host.tools(), &self.container.snapshot(COPY_SNAPSHOT), &["type"])?;
        let origin = self.origin.as_deref().unwrap_or_default();
        Ok(snapshot.is_some()
            && found.get("origin") == origin
            && found.get(OWNER_PROPERTY) == self.jail.as_str())
    }
}

impl Action for CopyContainer {
    fn shell(&self) -> String {
        let pipe = Tools::pipe_line((Tool::Zfs, &self.send()), (Tool::Zfs, &self.receive()));
        format!("{pipe}\n{}", command_line(&words(&["mount", self.container.as_str()])))
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let mut progress = SendProgress::new(&format!("copy {}", self.source));
        let mut send = self.send();
        if progress.progress.is_shown() {
            send.splice(1..1, words(&["-v", "-P"]));
        }
        let receive = self.receive();
        let done =
            host.tools().pipe((Tool::Zfs, &send), (Tool::Zfs, &receive), &mut |line| progress.line(line));
        drop(progress);
        if done.as_ref().err().is_none_or(ToolError::may_have_made) {
            undo.push(DestroyCopy { container: self.container.clone(), jail: self.jail.clone() });
        }
        match done {
            Err(error) if !(error.may_have_made() && self.is_made(host)?) => return Err(error.into()),
            _ => {}
        }
        ensure_mounted(host, &self.container, &self.mountpoint).with_context(|| self.shell())
    }
}

/// Destroys an unfinished copy, and nothing else.
pub struct DestroyCopy {
    /// The copy.
    pub container: Dataset,
    /// Whose it is.
    pub jail: JailName,
}

impl Action for DestroyCopy {
    fn shell(&self) -> String {
        command_line(&words(&["destroy", "-r", self.container.as_str()]))
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        let container = self.container.as_str();
        let rows = query(host.tools(), &[container], 1, &[OWNER_PROPERTY])?;
        let Some(found) = find(&rows, container) else { return Ok(()) };
        if found.get(OWNER_PROPERTY) != self.jail.as_str() {
            bail!("{container} does not belong to jail {}", self.jail);
        }
        let marker = self.container.snapshot(COPY_SNAPSHOT);
        if let Some(other) = rows.iter().find(|row| row.name != container && row.name != marker) {
            bail!("{} is not part of an unfinished container", other.name);
        }
        // At once: without the snapshot, what remains would not be recognized.
        run(host, &words(&["destroy", "-r", container]), || Ok(!exists(host.tools(), container)?))
    }
}

/// Clones a snapshot as a container that is unfinished until [`COPY_SNAPSHOT`] is
/// destroyed.
pub struct CloneUnfinished(pub CloneContainer);

impl Action for CloneUnfinished {
    fn shell(&self) -> String {
        let marker = TakeSnapshots::one(self.0.container.snapshot(COPY_SNAPSHOT));
        format!("{}\n{}", self.0.shell(), marker.shell())
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let CloneContainer { container, jail, .. } = &self.0;
        let mut of_clone = Undo::default();
        let done = self.0.perform(host, &mut of_clone);
        if !of_clone.commands().is_empty() {
            undo.push(DestroyCopy { container: container.clone(), jail: jail.clone() });
        }
        done?;
        TakeSnapshots::one(container.snapshot(COPY_SNAPSHOT)).take(host)
    }
}

/// What `zfs send -v -P` reports on standard error (freebsd-src:
/// sys/contrib/openzfs/lib/libzfs/libzfs_sendrecv.c): the size once, then the bytes
/// each second.
struct SendProgress {
    progress: Progress,
    total: u64,
}

impl SendProgress {
    fn new(what: &str) -> SendProgress {
        SendProgress { progress: Progress::new(what), total: 0 }
    }

    /// Takes a line; false if it is about progress.
    fn line(&mut self, line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line);
        let fields: Vec<&str> = text.split('\t').collect();
        match fields.as_slice() {
            ["size", size] => self.total = size.parse().unwrap_or(0),
            ["full", ..] | ["incremental", ..] => {}
            [time, sent, _] if is_time(time) => {
                self.progress.report(sent.parse().unwrap_or(0), self.total);
            }
            _ => return true,
        }
        false
    }
}

/// `HH:MM:SS`.
fn is_time(text: &str) -> bool {
    text.split(':').count() == 3 && text.bytes().all(|b| b.is_ascii_digit() || b == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_and_messages() {
        let mut progress = SendProgress { progress: Progress::none(), total: 0 };
        for (line, is_message) in [
            ("incremental\tz/s@base\tz/web@thinjail-copy\t12345", false),
            ("size\t12345", false),
            ("10:41:07\t6000\tz/web@thinjail-copy", false),
            ("warning: cannot send 'z/web@thinjail-copy': signal received", true),
        ] {
            assert_eq!(progress.line(line.as_bytes()), is_message, "{line}");
        }
        assert_eq!(progress.total, 12345);
    }
}
