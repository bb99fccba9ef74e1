//! Completing a tree from another.

use super::compare::Comparison;
use super::copy::Copier;
use super::{Device, Entry, descend, kind_of, look, names, path_of, times_of};
use crate::system::effect;
use crate::system::tree::flags;
use anyhow::{Context, Result};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;

/// Copies all of the tree `from` that the tree `into` lacks, and leaves alone
/// what is there, even if it differs: what completes a move that was cut short.
/// Directories that get new entries keep their times.
///
/// Names that belong to one file in `from` do so afterwards in `into`: among
/// those copied, and with one that already exists if it is an equal file.
pub fn merge(from: &Path, into: &Path) -> Result<()> {
    let (source, target) = (Entry::top(from)?, Entry::top(into)?);
    let mut nobody = |_| ();
    let mut merger = Merger {
        device: Device::of(&source.stat),
        target_device: Device::of(&target.stat),
        copier: Copier::new(&source, &target, &mut nobody),
        copying: false,
        depth: 0,
    };
    let merged = merger.directory(&source, &target).and_then(|()| {
        merger.copying = true;
        merger.directory(&source, &target)?;
        merger.copier.set_late_flags()
    });
    merged.with_context(|| {
        let path = &merger.copier.path;
        format!("copy {} to {}", from.join(path).display(), into.join(path).display())
    })
}

struct Merger<'a> {
    device: Device,
    target_device: Device,
    copier: Copier<'a>,
    /// The first time round only the files are noted that may get names.
    copying: bool,
    depth: usize,
}

impl Merger<'_> {
    fn directory(&mut self, source: &Entry, target: &Entry) -> io::Result<()> {
        descend(&mut self.depth)?;
        let mut added = false;
        let mut merged = Ok(());
        for name in names(&source.fd)? {
            self.copier.path.push(path_of(&name));
            // On an error the path stays, for the message.
            merged = self.entry(source, target, &name, &mut added);
            if merged.is_err() {
                break;
            }
            self.copier.path.pop();
        }
        if added {
            effect::futimens(&target.fd, &times_of(&target.stat))?;
        }
        self.depth -= 1;
        merged
    }

    fn entry(&mut self, source: &Entry, target: &Entry, name: &CStr, added: &mut bool) -> io::Result<()> {
        let (from, to) = (source.fd.as_fd(), target.fd.as_fd());
        let Some(stat) = look(from, name, self.device)? else { return Ok(()) };
        let there = match look(to, name, self.target_device) {
            Err(e) if e.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
                if !self.copying {
                    return Ok(());
                }
                *added = true;
                self.copier.depth = self.depth;
                return self.copier.entry(from, to, name, true);
            }
            there => there?,
        };
        let Some(there) = there.filter(|there| kind_of(there) == kind_of(&stat)) else { return Ok(()) };
        if kind_of(&stat) == FileType::Directory {
            let open = |directory| Entry::open(directory, name, FileType::Directory);
            let (source, target) = (open(from)?, open(to)?);
            self.device.check(&source.stat)?;
            self.target_device.check(&target.stat)?;
            return self.directory(&source, &target);
        }
        if !self.copying && stat.st_nlink > 1 && self.equal(source, target, name, &stat, &there)? {
            // Names that are missing are to be further ones of this file.
            self.copier.first_names.before(&stat, &self.copier.path);
        }
        Ok(())
    }

    /// Whether a file that is in both trees is the same, and can be given
    /// further names.
    fn equal(
        &self,
        source: &Entry,
        target: &Entry,
        name: &CStr,
        stat: &Stat,
        there: &Stat,
    ) -> io::Result<bool> {
        if flags::flags(there) != 0 || stat.st_size != there.st_size {
            return Ok(false);
        }
        let open = |directory: &Entry| Entry::open(directory.fd.as_fd(), name, kind_of(stat));
        let (left, right) = (open(source)?, open(target)?);
        let mut equal = true;
        let mut visit = |_| {
            equal = false;
            ControlFlow::Break(())
        };
        Comparison::new(&left, &right, &mut visit).pair(&left, &right)?;
        Ok(equal)
    }
}
