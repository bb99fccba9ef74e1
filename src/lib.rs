//! The library behind the thinjail programs, in five layers.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))] // See system::effect.

pub mod commands;
pub mod domain;
pub mod formats;
pub mod system;
pub mod types;
