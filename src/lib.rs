//! The library behind the thinjail programs, in five layers. A module imports from
//! its own layer or from a lower one; `tests/suite/layers.rs` fails otherwise.
//!
//! | layer | contents |
//! |---|---|
//! | [`commands`] | one file or folder a program: its arguments, what it looks at, the steps it takes |
//! | [`domain`] | what a thin-jail host consists of: layout, settings, template, container, fstab, epair |
//! | [`system`] | how the host is reached: kernel, programs, files, locks, plans, terminal |
//! | [`formats`] | texts that are read and written: jail.conf(5), fstab(5), rc.conf(5), MANIFEST, mtree(5) |
//! | [`types`] | values that are right by construction: jail name, interface, address, release, dataset |
//!
//! # One command through the layers
//!
//! `jail-clone web 10`, from the argument to the file in jail.conf.d:
//!
//! 1. `bins/jail-clone.rs` calls [`commands::jail_clone::main`], which passes its
//!    `run` to [`commands::common::run`]. There clap fills the struct
//!    [`commands::jail_clone::JailClone`]. Each argument is read by the `FromStr` of
//!    its type, [`types::jail_name::JailName`] and [`types::address::Id`], so that a
//!    wrong one never gets further.
//! 2. `run` reads [`domain::settings::Settings`] and takes the lock of those who
//!    change jails ([`system::lock::Lock`]).
//! 3. `look` asks the host everything, and holds every reason to refuse:
//!    [`system::zfs::query`] for all datasets at once, [`domain::layout::Layout`] for
//!    every path, [`domain::configured::JailConfigs`] for what other jails use,
//!    [`domain::template`] for the release. It changes nothing. Its result, `Found`, is
//!    a plain value.
//! 4. `steps` turns `Found` into a [`system::plan::Plan`]: clone the skeleton's
//!    snapshot ([`domain::container::CloneContainer`]), make the path, write the fstab, and
//!    last write the jail's block ([`system::file::WriteFile`]). The block is a
//!    [`system::plan::CommitPoint`]: it makes the jail exist.
//! 5. With `-n` the plan prints its commands, and nothing else happens. Otherwise
//!    [`system::plan::Plan::carry_out`] performs each step. A step notes how to undo
//!    it as soon as it is done; when one fails, the notes are carried out in
//!    reverse.
//! 6. Whatever a step does passes through [`system::effect`], where the tests make it
//!    fail, or kill the process, one effect after the other.
//!
//! `docs/architecture.md` has the same as a picture, the invariants with the place
//! where each is kept, and how to add a program.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))] // See system::effect.
#![cfg_attr(not(test), warn(clippy::too_many_lines))] // 80, in clippy.toml.

pub mod commands;
pub mod domain;
pub mod formats;
pub mod system;
pub mod types;
