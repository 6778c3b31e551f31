//! Commands that were sent and whose result (or log lines) somebody waits for.

use crate::{
    contract::{CommandResult, Logs},
    model::{CommandOutcome, LogLine, Name},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tokio::sync::{mpsc, oneshot};

/// Commands that may be under way at once.
const MAX_PENDING: usize = 10_000;

/// Too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_PENDING} commands are under way; try again when some have ended")]
pub struct PendingError;

/// Who waits for what. A command is answered only by the node that it was sent to.
#[derive(Debug, Default)]
pub struct Pending {
    commands: Mutex<BTreeMap<String, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    node: Name,
    result: Option<oneshot::Sender<CommandOutcome>>,
    lines: Option<mpsc::Sender<Vec<LogLine>>>,
}

impl Pending {
    /// Waits for the result of `id`, and for its log lines where `lines` is given.
    ///
    /// # Errors
    /// [`PendingError`].
    pub fn expect(
        &self,
        id: &str,
        node: &Name,
        lines: Option<mpsc::Sender<Vec<LogLine>>>,
    ) -> Result<oneshot::Receiver<CommandOutcome>, PendingError> {
        let (result, receiver) = oneshot::channel();
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        if commands.len() >= MAX_PENDING {
            return Err(PendingError);
        }
        let waiting = Waiting {
            node: node.clone(),
            result: Some(result),
            lines,
        };
        commands.insert(id.to_owned(), waiting);
        Ok(receiver)
    }

    /// Nobody waits for it any more.
    pub fn forget(&self, id: &str) {
        self.commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    /// A node's result has come.
    pub fn finish(&self, node: &Name, result: &CommandResult) {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        if commands.get(&result.id).is_none_or(|w| w.node != *node) {
            return;
        }
        // The result goes before the end of the lines, so that who reads both knows why they end.
        if let Some(mut waiting) = commands.remove(&result.id)
            && let Some(sender) = waiting.result.take()
        {
            let _ = sender.send(result.outcome.clone());
        }
    }

    /// Log lines have come. A reader that does not keep up loses the stream, never the controller
    /// its memory; it asks again from its cursor.
    pub fn lines(&self, node: &Name, logs: Logs) {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = commands.get_mut(&logs.command) else {
            return;
        };
        if waiting.node != *node {
            return;
        }
        if let Some(lines) = &waiting.lines
            && lines.try_send(logs.lines).is_err()
        {
            waiting.lines = None;
        }
    }
}
