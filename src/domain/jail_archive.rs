//! A jail as one stream: a tar(5) archive with the manifest first, then the container,
//! and last how many entries there were and a checksum of every byte before.

use crate::domain::template::OF_HOST;
use crate::system::host::Host;
use anyhow::Result;
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use std::path::Path;

/// The snapshot of a container that is being exported, before the id of the process.
pub const EXPORT_SNAPSHOT: &str = "thinjail-export-";

/// Whether a path is one that two hosts with the same template differ in.
pub fn is_of_host(path: &Path) -> bool {
    OF_HOST.iter().any(|of_host| path.starts_with(of_host))
}

/// A number for the contents of a template's skeleton, the same on every host that made
/// it of the same release and patch level.
pub fn template_digest(tree: &Path) -> Result<String> {
    Ok(hex(&crate::system::tree::digest(tree, &is_of_host)?))
}

/// Digits of a checksum.
pub fn hex(sum: &[u8]) -> String {
    sum.iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether the program that took a snapshot for an export still runs.
pub fn is_exporting(host: &Host, snapshot: &str) -> Result<bool> {
    let pid = snapshot.rsplit('@').next().and_then(|name| name.strip_prefix(EXPORT_SNAPSHOT));
    let Some(pid) = pid.and_then(|pid| pid.parse().ok()) else { return Ok(false) };
    Ok(host.kernel()?.process(pid)?.is_some_and(|process| process.command == "jail-export"))
}

/// Passes bytes on and sums them up.
pub struct Summed<T> {
    inner: T,
    sum: Sha256,
}

impl<T> Summed<T> {
    /// Sums up all that goes through from now on.
    pub fn new(inner: T) -> Summed<T> {
        Summed { inner, sum: Sha256::new() }
    }

    /// The checksum of all bytes until now, as 64 digits.
    pub fn sum(&self) -> String {
        hex(&self.sum.clone().finalize())
    }

    /// What the bytes go to or come from.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<W: Write> Write for Summed<W> {
    #[expect(clippy::disallowed_methods, reason = "announced by the caller")]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sum.update(&buffer[..read]);
        Ok(read)
    }
}
