//! What jail-doctor does: gather facts, hold them against what a host of thin
//! jails should be, tell what is wrong, and mend what can be mended safely.
//!
//! A check is a function from facts to findings. Those about trees read them as
//! they go, since a tree is too much to gather: always from an open directory
//! downwards, no link followed, nothing opened that could block, and never more
//! than a bounded part of a file.

pub mod facts;
pub mod finding;
mod configuration;
mod host;
mod leaks;

use facts::Facts;
use finding::Finding;

/// Everything that is wrong, the worst first.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut found = host::check(facts);
    found.extend(leaks::check(facts));
    found.extend(configuration::check(facts));
    finding::sort(&mut found);
    found
}
