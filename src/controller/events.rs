//! What happened lately: for `fleetctl events` and Server-Sent Events.

use crate::fleet::FleetEvent;
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};
use tokio::sync::broadcast;
use utoipa::ToSchema;

/// Events that are kept for who comes later or reconnects.
const KEPT: usize = 1_000;

/// An event with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NumberedEvent {
    /// Grows, also over a restart of the controller.
    pub id: u64,
    /// What happened.
    pub event: FleetEvent,
}

/// The last events, and a channel for new ones.
#[derive(Debug)]
pub struct EventLog {
    kept: Mutex<(u64, VecDeque<NumberedEvent>)>,
    live: broadcast::Sender<NumberedEvent>,
    /// Numbers begin above it.
    begin: u64,
}

impl EventLog {
    /// Empty; numbers begin above `start_ms`, so that they grow over a restart.
    pub fn new(start_ms: u64) -> EventLog {
        let kept = Mutex::new((start_ms, VecDeque::new()));
        EventLog {
            kept,
            live: broadcast::Sender::new(256),
            begin: start_ms,
        }
    }

    /// How many there were since the start.
    pub fn published(&self) -> u64 {
        let guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        guard.0.saturating_sub(self.begin)
    }

    /// Tells everybody.
    pub fn publish(&self, event: FleetEvent) {
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, kept) = &mut *guard;
        *next += 1;
        let event = NumberedEvent { id: *next, event };
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        // Nobody listening is no error.
        let _ = self.live.send(event);
    }

    /// The kept events after `id`, oldest first, and a receiver for the ones that follow: none is
    /// missed in between.
    pub fn since(&self, id: u64) -> (Vec<NumberedEvent>, broadcast::Receiver<NumberedEvent>) {
        let guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = guard.1.iter().filter(|e| e.id > id).cloned().collect();
        (kept, self.live.subscribe())
    }
}
