//! What jail-doctor does: gather facts, hold them against what a host of thin
//! jails should be, tell what is wrong, and mend what can be mended safely.
//!
//! A check is a function from facts to findings. Those about trees read them as
//! they go, since a tree is too much to gather: always from an open directory
//! downwards, no link followed, nothing opened that could block, and never more
//! than a bounded part of a file.

pub mod facts;
pub mod finding;
mod host;

use facts::Facts;
use finding::{Finding, Scope};

/// Everything that is wrong, the worst first.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut found = host::check(facts);
    finding::sort(&mut found);
    found
}
