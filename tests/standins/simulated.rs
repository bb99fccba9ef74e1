//! The simulated kernel as the stand-ins reach it, and what they keep next to it.

use std::fs;

use anyhow::{Context, Result};
use thinjail::system::kernel::simulated::{Simulated, SimulatedJail, State};
use thinjail::system::root::Root;

use crate::host::{Host, replace};

/// The alternate root as the library sees it: without links in its own name, as the paths in the state are.
pub fn root(host: &Host) -> Result<Root> {
    Root::alternate(&host.path("/"))
}

/// The kernel of that root.
pub fn kernel(host: &Host) -> Result<Simulated> {
    Ok(Simulated::new(&root(host)?))
}

/// The running jail of a name or an id.
pub fn running<'a>(state: &'a State, name: &str) -> Option<&'a SimulatedJail> {
    let is_named = |jail: &&SimulatedJail| jail.name == name || jail.jid.to_string() == name;
    state.jails.iter().filter(|jail| !jail.dying).find(is_named)
}

/// Notes what the simulated kernel has no place for: the options of a mount, the name of a jail's host.
pub fn note(host: &Host, about: &str, text: &str) -> Result<()> {
    let file = host.state("notes").join(about);
    fs::create_dir_all(host.state("notes")).context("make the directory of notes")?;
    replace(&file, text)
}

/// What was noted.
pub fn noted(host: &Host, about: &str) -> Option<String> {
    fs::read_to_string(host.state("notes").join(about)).ok()
}
