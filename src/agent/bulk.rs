//! Messages that come in masses (output, log lines) wait their turn: they are published only while
//! few wait for the broker. So they never fill the outbox, nothing of them is dropped there, and
//! what matters more (state, results, events) never waits behind megabytes.

use super::sender::Sender;
use crate::{contract::Kind, model::Name, mqtt::Publisher};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::time;

/// Bytes that may wait for the broker when another message of a mass is added.
const BACKLOG: usize = 256 * 1024;
/// How often it is looked whether there is room.
const LOOK: Duration = Duration::from_millis(5);

/// Where one task's masses go.
#[derive(Debug, Clone)]
pub(super) struct Bulk {
    pub(super) sender: Arc<Sender>,
    pub(super) publisher: Publisher,
}

impl Bulk {
    /// Publishes when there is room, which may be a long time while there is no connection.
    /// `false`: the session has ended.
    pub(super) async fn post(
        &self,
        kind: Kind,
        detail: Option<&Name>,
        body: &impl Serialize,
    ) -> bool {
        loop {
            if self.publisher.is_closed() {
                return false;
            }
            if self.publisher.backlog() < BACKLOG
                && self.sender.post(&self.publisher, kind, detail, body)
            {
                return true;
            }
            time::sleep(LOOK).await;
        }
    }
}
