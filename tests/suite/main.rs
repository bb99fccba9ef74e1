//! The tests of the whole: one module a program, and one for each thing that holds
//! for all of them. tests/README says how to add a case.

#![allow(clippy::too_many_lines)] // Tables of cases.

#[path = "../../share/bench/basetree.rs"]
#[allow(dead_code)] // The benchmarks use the rest.
mod basetree;
mod clone;
mod clone_from;
mod clone_zfs;
mod completions;
mod destroy;
mod doctor;
mod epair;
mod export;
mod faults;
mod fetch;
mod fixcerts;
mod freebsd;
mod fuzz_corpus;
mod harness;
mod hostile;
mod jailconf;
mod kernel;
mod layers;
mod lifecycle;
mod list;
mod manual;
mod messages;
mod mkfstab;
mod model;
mod pairs;
mod port;
mod readme;
mod rebase;
mod setup;
mod skel_destroy;
mod split;
mod states;
mod sweep;
mod transcripts;
mod tree;
mod update;
