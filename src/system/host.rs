//! The host a program works on.

use crate::system::kernel::{self, Kernel};
use crate::system::root::Root;
use crate::system::tool::Tools;
use anyhow::Result;
use std::cell::OnceCell;

/// Root directory, programs and kernel, opened when first used: a program that
/// only touches files needs no kernel.
pub struct Host {
    root: Root,
    tools: Tools,
    verbose: bool,
    kernel: OnceCell<Box<dyn Kernel>>,
}

impl Host {
    /// A host below `root`; `verbose` has every action reported on standard error.
    pub fn new(root: Root, verbose: bool) -> Host {
        let tools = Tools::new(&root);
        Host { root, tools, verbose, kernel: OnceCell::new() }
    }

    /// The root directory.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The base system's programs.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Whether `-v` was given.
    pub fn verbose(&self) -> bool {
        self.verbose
    }

    /// The kernel.
    pub fn kernel(&self) -> Result<&dyn Kernel> {
        if let Some(kernel) = self.kernel.get() {
            return Ok(kernel.as_ref());
        }
        let kernel = kernel::open(&self.root)?;
        Ok(self.kernel.get_or_init(|| kernel).as_ref())
    }
}
