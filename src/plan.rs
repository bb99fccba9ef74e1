//! A plan: the actions of a run, in order, as data.
//!
//! A dry run prints the very actions that would be carried out; there is no
//! second copy of the logic. Carrying out is one transaction: each action that
//! changed something leaves its inverse behind, and when one fails, what this
//! run did is undone in reverse, past failing undo steps, and the first cause
//! is reported.

use crate::host::Host;
use crate::{interrupt, report};
use anyhow::Result;

/// One thing to do.
pub trait Action {
    /// The equivalent command for sh(1), ready to be pasted: one line, or a few.
    fn shell(&self) -> String;

    /// Does it. Whatever was done, entirely or in part, is noted in `undo` at
    /// the moment it is done.
    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()>;

    /// As a step of undoing: whether what was done before it stays when it
    /// fails.
    fn holds(&self) -> bool {
        false
    }
}

/// The step that completes something. When it can't be taken back, what it
/// stands on is not taken away under it.
pub struct Completing<A>(pub A);

impl<A: Action> Action for Completing<A> {
    fn shell(&self) -> String {
        self.0.shell()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let mut made = Undo::default();
        let done = self.0.perform(host, &mut made);
        undo.0.extend(made.0.into_iter().map(|action| Box::new(Holding(action)) as Box<dyn Action>));
        done
    }
}

struct Holding(Box<dyn Action>);

impl Action for Holding {
    fn shell(&self) -> String {
        self.0.shell()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        self.0.perform(host, undo)
    }

    fn holds(&self) -> bool {
        true
    }
}

/// What was done so far, as the actions that take it back.
#[derive(Default)]
pub struct Undo(Vec<Box<dyn Action>>);

impl Undo {
    /// Notes how to take back what was just done.
    pub fn push(&mut self, inverse: impl Action + 'static) {
        self.0.push(Box::new(inverse));
    }

    /// What would take everything back, as shell commands.
    pub fn commands(&self) -> Vec<String> {
        self.0.iter().rev().map(|action| action.shell()).collect()
    }

    /// Notes what takes everything back that was done so far, in place of what
    /// was noted for it.
    pub fn supersede(&mut self, inverse: impl Action + 'static) {
        self.0.clear();
        self.push(inverse);
    }

    /// Takes everything back, latest first, going on past failures but those of
    /// a step that holds the rest; gives them.
    pub fn roll_back(&mut self, host: &Host) -> Vec<anyhow::Error> {
        let mut failures = Vec::new();
        while let Some(action) = self.0.pop() {
            tell(host, "undo: ", action.as_ref());
            // What an undo step does is not undone again.
            if let Err(e) = action.perform(host, &mut Undo::default()) {
                failures.push(e);
                if action.holds() {
                    break;
                }
            }
        }
        failures
    }
}

/// The actions of a run, in order.
#[derive(Default)]
pub struct Plan(Vec<Box<dyn Action>>);

impl Plan {
    /// Appends an action.
    pub fn push(&mut self, action: impl Action + 'static) {
        self.0.push(Box::new(action));
    }

    /// Appends another plan.
    pub fn append(&mut self, mut other: Plan) {
        self.0.append(&mut other.0);
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The plan as shell commands, one a line.
    pub fn commands(&self) -> Vec<String> {
        self.0.iter().flat_map(|a| a.shell().lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// Carries the plan out, all or nothing.
    pub fn carry_out(&self, host: &Host) -> Result<()> {
        let mut undo = Undo::default();
        for action in &self.0 {
            tell(host, "", action.as_ref());
            let done = interrupt::check().and_then(|()| action.perform(host, &mut undo));
            // A program that was told to stop fails in its own words.
            let done = done.map_err(|e| interrupt::check().err().unwrap_or(e));
            if let Err(cause) = done {
                interrupt::undo();
                let failures = undo.roll_back(host);
                return Err(if failures.is_empty() {
                    cause
                } else {
                    Incomplete { cause, left: failures.iter().map(|e| format!("{e:#}")).collect() }.into()
                });
            }
        }
        Ok(())
    }

    /// Carries out as much as possible: every action is tried, failures are
    /// collected. For clearing away, where one obstacle must not keep the rest.
    pub fn carry_out_all(&self, host: &Host) -> Vec<anyhow::Error> {
        let mut failures = Vec::new();
        for action in &self.0 {
            tell(host, "", action.as_ref());
            failures.extend(action.perform(host, &mut Undo::default()).err());
        }
        failures
    }
}

/// A plan is an action of another one: what its actions did is undone with the
/// rest.
impl Action for Plan {
    fn shell(&self) -> String {
        self.commands().join("\n")
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        self.0.iter().try_for_each(|action| action.perform(host, undo))
    }
}

fn tell(host: &Host, prefix: &str, action: &dyn Action) {
    if host.verbose() {
        for line in action.shell().lines() {
            report::complain(&format!("{prefix}{line}"));
        }
    }
}

/// A failed run whose undoing failed as well.
#[derive(Debug)]
struct Incomplete {
    cause: anyhow::Error,
    left: Vec<String>,
}

impl std::fmt::Display for Incomplete {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#} (and not undone: {})", self.cause, self.left.join("; "))
    }
}

impl std::error::Error for Incomplete {}
