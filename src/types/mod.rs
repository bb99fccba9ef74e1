//! Values that are right by construction. They know nothing of files, programs or the kernel.

pub mod address;
pub mod dataset;
pub mod errno;
pub mod interface;
pub mod jail_name;
pub mod mac;
pub mod mirror;
pub mod mount;
pub mod origin;
pub mod release;
pub mod sibling_name;
pub mod tool_error;
