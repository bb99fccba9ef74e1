//! What the tests have in common: a host to try the programs on, and oracles.

#![cfg_attr(target_os = "freebsd", allow(dead_code))] // Few tests run there.

#[cfg(not(target_os = "freebsd"))] // The kernel is a simulated one.
pub mod bases;
pub mod bin;
#[cfg(not(target_os = "freebsd"))] // The kernel is a simulated one.
pub mod facts;
#[cfg(not(target_os = "freebsd"))] // The kernel is a simulated one.
pub mod host;
#[cfg(not(target_os = "freebsd"))] // The kernel is a simulated one.
pub mod hostile;
pub mod listing;
#[cfg(not(target_os = "freebsd"))] // The kernel is a simulated one.
pub mod pristine;
pub mod rules;
#[cfg(not(target_os = "freebsd"))] // The kernel is a simulated one.
pub mod small;
#[cfg(not(target_os = "freebsd"))] // The kernel is a simulated one.
pub mod state;

use std::path::PathBuf;

/// Where to work: in memory where the system has such a place, because much is written that nobody will miss. TMPDIR
/// names another.
pub fn scratch() -> PathBuf {
    let memory = || Some(PathBuf::from("/dev/shm")).filter(|place| place.is_dir());
    std::env::var_os("TMPDIR").map(PathBuf::from).or_else(memory).unwrap_or_else(std::env::temp_dir)
}
