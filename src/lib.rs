//! The library behind the thinjail programs: one module a noun of the domain.
//!
//! A program in `bins/` parses its arguments ([`cli`]), turns them into typed
//! values ([`jail`], [`interface`], [`mac`], [`network`], [`release`]), lets a
//! module of the domain check the host and build a [`plan::Plan`], and either
//! prints that plan as shell commands or carries it out. What touches the
//! system does so in one place each: [`kernel`] (interfaces, mounts, jails),
//! [`tool`] (the base system's programs), [`mod@file`] and [`tree`] (files).

#![cfg_attr(not(test), warn(clippy::disallowed_methods))] // See effect.

pub mod accounts;
pub mod archive;
pub mod claim;
pub mod cli;
pub mod clone;
pub mod complete;
pub mod composed;
pub mod destroy;
pub mod devfs;
pub mod doctor;
pub mod effect;
pub mod epair;
pub mod fetch;
pub mod file;
pub mod fixcerts;
pub mod fstab;
pub mod host;
pub mod ifconfig;
pub mod interface;
pub mod interrupt;
pub mod inventory;
pub mod jail;
pub mod jailconf;
pub mod jails;
pub mod kernel;
pub mod layout;
pub mod links;
pub mod list;
pub mod lock;
pub mod mac;
pub mod manifest;
pub mod mirror;
pub mod mkfstab;
pub mod mtree;
pub mod network;
pub mod origin;
pub mod plan;
pub mod printable;
pub mod progress;
pub mod rcconf;
pub mod rclist;
pub mod rebase;
pub mod release;
pub mod report;
pub mod resolver;
pub mod root;
pub mod service;
pub mod settings;
pub mod shell;
pub mod split;
pub mod sweep;
pub mod syslog;
pub mod template;
pub mod text;
pub mod tool;
pub mod torn;
pub mod tree;
pub mod unpack;
pub mod update;
pub mod userland;
pub mod vis;
pub mod zfs;
