//! Which containers were ended by us: an exit code of 137 is suspicious only when nobody asked for
//! it, and engines do not always tell an end for want of memory.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// More containers than a node runs; then the knowledge is dropped.
const LIMIT: usize = 1024;

/// Handles of containers that were stopped or removed here, and not started since.
#[derive(Debug, Default)]
pub(crate) struct EndedByUs(Mutex<BTreeSet<String>>);

impl EndedByUs {
    /// Its end is asked for now.
    pub(crate) fn note(&self, handle: &str) {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() >= LIMIT {
            ended.clear();
        }
        ended.insert(handle.to_owned());
    }

    /// It is started again, or gone.
    pub(crate) fn forget(&self, handle: &str) {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ended.remove(handle);
    }

    /// Whether its end was asked for.
    pub(crate) fn has(&self, handle: &str) -> bool {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ended.contains(handle)
    }
}
