//! The checks, by what they look at.

pub mod configuration;
pub mod host;
pub mod jails;
pub mod leaks;
pub mod resolver;
pub mod templates;
