//! What had to be on the disk first is not: what of the step goes on all the same.
//!
//! Only what the disk lacks is held back. An instance whose own record (its runs, the restarts
//! carried out, an order) is not there is not begun: nobody would know of it after a power cut, and
//! a run would be made twice. All others have nothing to lose, and a full disk does not keep them
//! from starting. Nor does it keep anything from being stopped, or a guarded change from being
//! judged and taken back: the worst is that it is tried again after a power cut.

use super::{Action, Memory, OperationId, Supervisor};
use crate::model::Name;

/// What becomes of the actions behind an [`Action::Remember`] that could not be carried out.
#[derive(Debug)]
#[must_use]
pub struct Unstored {
    /// To be done, in this order.
    pub go_on: Vec<Action>,
    /// Not to be done: these end as failed, each with its sentence.
    pub held_back: Vec<(OperationId, String)>,
}

impl Supervisor {
    /// An [`Action::Remember`] could not be carried out, for `why`; `rest` is what follows it in
    /// the same step. It comes again with the next change, before anything is begun, and with each
    /// listing; not with every step, since a disk that is full is still one that wears out.
    pub fn not_remembered(&mut self, rest: Vec<Action>, why: &str) -> Unstored {
        self.told = None;
        self.unstored = true;
        let mut unstored = Unstored {
            go_on: Vec::new(),
            held_back: Vec::new(),
        };
        for action in rest {
            match begins(&action).filter(|operation| self.lacks_record(*operation)) {
                Some(operation) => unstored.held_back.push((
                    operation,
                    format!("it is not begun, since that cannot be written down: {why}"),
                )),
                None => unstored.go_on.push(action),
            }
        }
        unstored
    }

    /// What the disk did not take is told again where it matters, and from time to time.
    pub(super) fn try_again_to_remember(&mut self, listed: bool, actions: &[Action]) {
        if !self.unstored || !(listed || actions.iter().any(|a| begins(a).is_some())) {
            return;
        }
        // It may have become again what the disk has.
        self.unstored = self.memory != self.stored;
        self.remember |= self.unstored;
    }

    /// What the disk has of the instance that this operation is about is not what it should have.
    fn lacks_record(&self, operation: OperationId) -> bool {
        let is_its = |o: &super::instance::Operation| o.id == operation;
        let mut all = self.instances.iter();
        let found = all.find(|(_, i)| i.operation.as_ref().is_some_and(is_its));
        // What nobody knows is not begun either.
        found.is_none_or(|(name, _)| !same_record(name, &self.stored, &self.memory))
    }
}

/// It begins a program.
fn begins(action: &Action) -> Option<OperationId> {
    match action {
        Action::Launch { operation, .. } | Action::Start { operation, .. } => Some(*operation),
        _ => None,
    }
}

/// Both say the same of this workload.
fn same_record(name: &Name, one: &Memory, other: &Memory) -> bool {
    one.restarts_done.get(name) == other.restarts_done.get(name)
        && one.runs.get(name) == other.runs.get(name)
        && one.held.get(name) == other.held.get(name)
}
