//! A plan: the actions of a run, in order, as data.
//!
//! A dry run prints the very actions that would be carried out; there is no
//! second copy of the logic. Carrying out is one transaction: each action that
//! changed something leaves its inverse behind, and when one fails, what this
//! run did is undone in reverse, past failing undo steps, and the first cause
//! is reported.

use crate::system::console;
use crate::system::host::Host;
use crate::system::signals;
use anyhow::Result;
use std::cell::RefCell;
use std::rc::Rc;

/// One thing to do.
pub trait Action {
    /// The equivalent command for sh(1), ready to be pasted: one line, or a few.
    fn shell(&self) -> String;

    /// Does it. Whatever was done, entirely or in part, is noted in `undo` at
    /// the moment it is done.
    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()>;
}

/// The step that completes something: if it cannot be undone, what it depends on
/// is not undone either.
pub struct CommitPoint<A>(pub A);

impl<A: Action> Action for CommitPoint<A> {
    fn shell(&self) -> String {
        self.0.shell()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let mut made = Undo::default();
        let done = self.0.perform(host, &mut made);
        undo.0.extend(made.0.into_iter().map(|step| UndoStep { is_barrier: true, ..step }));
        done
    }
}

/// Whether a step may be undone, asked when the time comes. An error says why what
/// the step made is kept.
pub type MayUndo = Rc<dyn Fn() -> Result<bool>>;

/// A plan that is undone as one, and only if it may be by then.
pub struct UndoIf {
    /// What to do.
    pub plan: Plan,
    /// Whether it may be undone.
    pub may_undo: MayUndo,
}

impl Action for UndoIf {
    fn shell(&self) -> String {
        self.plan.shell()
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let mut made = Undo::default();
        let done = self.plan.perform(host, &mut made);
        undo.push(ConditionalUndo { made: RefCell::new(made), may_undo: self.may_undo.clone() });
        done
    }
}

/// Undoes what an [`UndoIf`] did.
struct ConditionalUndo {
    made: RefCell<Undo>,
    may_undo: MayUndo,
}

impl Action for ConditionalUndo {
    fn shell(&self) -> String {
        self.made.borrow().commands().join("\n")
    }

    fn perform(&self, host: &Host, _undo: &mut Undo) -> Result<()> {
        match (self.may_undo)()? {
            true => self.made.borrow_mut().roll_back(host).into_iter().next().map_or(Ok(()), Err),
            false => Ok(()),
        }
    }
}

/// Does nothing: from here on this action undoes the run, instead of what was noted
/// until now.
pub struct UndoWith<A>(pub A);

impl<A: Action + Clone + 'static> Action for UndoWith<A> {
    fn shell(&self) -> String {
        String::new()
    }

    fn perform(&self, _host: &Host, undo: &mut Undo) -> Result<()> {
        undo.0.clear();
        undo.push(self.0.clone());
        Ok(())
    }
}

/// An action that undoes something.
struct UndoStep {
    action: Box<dyn Action>,
    /// What was done before it stays if it fails.
    is_barrier: bool,
}

/// What was done so far, as the actions that take it back.
#[derive(Default)]
pub struct Undo(Vec<UndoStep>);

impl Undo {
    /// Notes how to take back what was just done.
    pub fn push(&mut self, inverse: impl Action + 'static) {
        self.0.push(UndoStep { action: Box::new(inverse), is_barrier: false });
    }

    /// What would take everything back, as shell commands.
    pub fn commands(&self) -> Vec<String> {
        self.0.iter().rev().map(|step| step.action.shell()).collect()
    }

    /// Undoes everything, latest first, and continues after failures except those of
    /// a step that holds the rest; gives them.
    pub fn roll_back(&mut self, host: &Host) -> Vec<anyhow::Error> {
        let mut failures = Vec::new();
        while let Some(UndoStep { action, is_barrier }) = self.0.pop() {
            report(host, "undo: ", action.as_ref());
            // What an undo step does is not undone again.
            if let Err(e) = action.perform(host, &mut Undo::default()) {
                failures.push(e);
                if is_barrier {
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
            report(host, "", action.as_ref());
            let done = signals::check().and_then(|()| action.perform(host, &mut undo));
            // A program that was interrupted prints its own message.
            let done = done.map_err(|e| signals::check().err().unwrap_or(e));
            if let Err(cause) = done {
                signals::undo();
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
            report(host, "", action.as_ref());
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

fn report(host: &Host, prefix: &str, action: &dyn Action) {
    if host.verbose() {
        for line in action.shell().lines() {
            console::complain(&format!("{prefix}{line}"));
        }
    }
}

/// A failed run whose undoing failed as well.
#[derive(Debug, thiserror::Error)]
#[error("{cause:#} (undo failed: {})", .left.join("; "))]
struct Incomplete {
    cause: anyhow::Error,
    left: Vec<String>,
}
