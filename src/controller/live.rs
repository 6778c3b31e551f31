//! What is true only now: the last heartbeat of each node. Held in memory, one per node.

use crate::{
    contract::HeartbeatBody,
    model::{Heartbeat, Name, UnixMs},
};
use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

/// The last heartbeats.
#[derive(Debug, Default)]
pub struct Live {
    heartbeats: RwLock<BTreeMap<Name, Heartbeat>>,
}

impl Live {
    /// Takes a heartbeat; what it leaves out stays as it was.
    pub fn take(&self, node: &Name, body: &HeartbeatBody, now: UnixMs) {
        let mut all = self
            .heartbeats
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let h = all.entry(node.clone()).or_default();
        h.heard_ms = now;
        h.uptime_s = body.uptime;
        h.cpu = body.cpu.unwrap_or(h.cpu);
        h.memory = body.memory.unwrap_or(h.memory);
        h.disk = body.disk.unwrap_or(h.disk);
        h.load = body.load.unwrap_or(h.load);
        h.temperature = body.temperature.or(h.temperature);
        h.running = body.running.unwrap_or(h.running);
        h.failed = body.failed.unwrap_or(h.failed);
        h.generation = body.generation.unwrap_or(h.generation);
        if let Some(digest) = &body.state {
            h.state_digest.clone_from(digest);
        }
    }

    /// The last one of a node.
    pub fn get(&self, node: &str) -> Option<Heartbeat> {
        self.heartbeats
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(node)
            .cloned()
    }

    /// A node was removed.
    pub fn forget(&self, node: &str) {
        self.heartbeats
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(node);
    }
}
