//! Conflicts decided in an editor.

use super::build::{make_private, private};
use super::merged::MergedTree;
use crate::system::effect;
use crate::system::file;
use crate::system::host::Host;
use crate::system::tree;
use crate::types::jail_name::JailName;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Opens the editor on every text that conflicts, and takes what becomes of it.
pub fn edit(host: &Host, jail: &JailName, merged: &mut MergedTree) -> Result<()> {
    let texts: Vec<(PathBuf, crate::formats::diff::TextConflict)> = merged
        .conflicts()
        .filter_map(|found| Some((found.path.clone(), found.conflict.as_ref()?.text.clone()?)))
        .collect();
    if texts.is_empty() {
        return Ok(());
    }
    let directory = private(host, jail);
    // What a killed run left.
    tree::remove(&directory)?;
    make_private(&directory)?;
    let edited = texts.iter().enumerate().try_for_each(|(number, (path, conflict))| -> Result<()> {
        let text = one(&directory, number, path, conflict.marked())?;
        if conflict.is_marked(&text) {
            bail!("{}: conflict markers remain in it; nothing is changed", path.display());
        }
        merged.edit(path, text);
        Ok(())
    });
    let removed = tree::remove(&directory);
    edited.and(removed)
}

fn one(directory: &Path, number: usize, path: &Path, marked: &[u8]) -> Result<Vec<u8>> {
    // With its own name at the end, by which editors recognize the syntax.
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = path.to_string_lossy().chars().map(plain).collect();
    let tail = name.len().saturating_sub(200);
    let text = directory.join(format!("{number}.{}", &name[tail..]));
    file::write_private(&text, marked)?;
    let mut command = Command::new("/bin/sh");
    // An editor may be a command with options, as with crontab(1) and vipw(8).
    command.args(["-c", "exec ${VISUAL:-${EDITOR:-vi}} \"$1\"", "sh"]).arg(&text);
    let status = effect::run(&mut command).context("the editor")?;
    if !status.success() {
        let how = status.code().map_or("by a signal".to_owned(), |code| format!("with status {code}"));
        bail!("{}: the editor exited {how}; nothing is changed", path.display());
    }
    Ok(fs_err::read(&text)?)
}
