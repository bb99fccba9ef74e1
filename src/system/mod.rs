//! How the host is reached: kernel, programs, files, locks, terminal. Every effect passes through here.

pub mod archive;
pub mod console;
pub mod effect;
pub mod file;
pub mod host;
pub mod ifconfig;
pub mod kernel;
pub mod lock;
pub mod plan;
pub mod progress;
pub mod root;
pub mod signals;
pub mod syslog;
pub mod tool;
pub mod tree;
pub mod zfs;
