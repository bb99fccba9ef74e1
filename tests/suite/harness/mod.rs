//! What the tests have in common: a host to try the programs on, and oracles.

pub mod bases;
pub mod bin;
pub mod facts;
pub mod host;
pub mod hostile;
pub mod listing;
pub mod pristine;
pub mod rules;
pub mod small;
pub mod state;
