//! Making events.

use super::{Effect, FleetEvent};
use crate::model::{Name, UnixMs};

/// An event under construction.
pub(super) fn emit(at: UnixMs, event: &str, message: String) -> FleetEvent {
    FleetEvent {
        at,
        event: event.to_owned(),
        node: None,
        workload: None,
        message,
    }
}

impl FleetEvent {
    pub(super) fn about_node(mut self, node: &Name) -> Self {
        self.node = Some(node.clone());
        self
    }

    pub(super) fn about_workload(mut self, workload: &Name) -> Self {
        self.workload = Some(workload.clone());
        self
    }

    pub(super) fn effect(self) -> Effect {
        Effect::Emit(self)
    }
}
