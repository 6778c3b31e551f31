//! The controller: a shell around [`crate::fleet`].
//!
//! ```text
//!  HTTP ───────┐ ask            ┌─ journal (SQLite): one commit per batch
//!  MQTT inbox ─┼─► queue ─► core thread ─► Fleet::apply ─► effects ─► MQTT, events, answers
//!  deadlines ──┘                └─ readers see the fleet between batches only
//! ```
//!
//! One thread, the core, owns the writing: it takes what waits (up to 256 inputs), applies it,
//! commits it in one transaction, and only then releases effects and answers. Until then nobody
//! sees the change. When the commit fails the fleet is loaded anew from the journal, who asked is
//! told why, and everything that runs goes on.
//!
//! Heartbeats, pings and log lines do not pass the journal: see [`live`], [`history`] and
//! [`pending`]. Nodes that cannot speak MQTT come in over HTTP: see [`http_nodes`].

mod alerts;
mod core;
mod events;
mod first;
mod history;
mod http_nodes;
mod inbox;
mod live;
mod local;
mod meter;
mod neighbours;
mod outbox;
mod pending;
mod plain;
mod run;
mod state;
mod time;

pub use alerts::AlertBoard;
pub use events::{EventLog, NumberedEvent};
pub use history::NodeHistory;
pub use live::Live;
pub use meter::{CommandEnd, Meter};
pub(crate) use neighbours::tell_the_network;
pub use pending::{ExecNews, Pending, PendingError};
pub use run::{ControllerError, run};
pub(crate) use run::{broker_listeners, machine_names};
pub use state::{AskError, Controller, Input};
