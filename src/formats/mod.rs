//! Texts that are read and written: pure functions between bytes and values.

pub mod diff;
pub mod file_flags;
pub mod fstab;
pub mod ifconfig_line;
pub mod jail_manifest;
pub mod jailconf;
pub mod manifest;
pub mod mtree;
pub mod passwd;
pub mod printable;
pub mod rcconf;
pub mod resolv_conf;
pub mod route_table;
pub mod shell;
pub mod tar;
pub mod vis;
pub mod zfs_diff;
