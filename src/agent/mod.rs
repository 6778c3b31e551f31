//! The agent: a shell around [`crate::supervisor`].
//!
//! One task owns the supervisor and turns everything that happens into its inputs: messages of
//! the controller, events of runtimes, outcomes of operations, the passing of time. Everything
//! slow runs beside it and reports back through one bounded queue.
//!
//! Start: read the last assignment from disk, begin to run it, and only then look for the network.
//! What runs already is found by its labels and left alone.

mod commands;
mod engines;
mod enroll;
mod facts;
mod heartbeat;
mod inbox;
mod logs;
mod node;
mod report;
mod sender;
mod store;

pub use enroll::JoinError;
pub use facts::addresses;
pub use store::StoreError;

use crate::{config::AgentConfig, support::Shutdown};

/// Why an agent ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentEnd {
    /// It was asked to stop.
    Stopped,
    /// It was ordered to start anew.
    Restart,
}

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It may not join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Its key.
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
    /// The file with registry credentials.
    #[error(transparent)]
    Credentials(#[from] crate::runtime::CredentialsError),
    /// TLS could not be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// Runs an agent until it is asked to stop.
///
/// # Errors
/// Only what it cannot run without: its data directory, its key, and, the first time, the fleet's
/// consent. A controller, a broker or an engine that is away is waited for.
pub async fn run(config: AgentConfig, shutdown: Shutdown) -> Result<AgentEnd, AgentError> {
    let store = store::Store::open(&config.common.data_dir)?;
    let member = match enroll::membership(&config, &store, &shutdown).await? {
        Some(member) => member,
        None => return Ok(AgentEnd::Stopped),
    };
    node::Node::start(config, store, member)?
        .run(shutdown)
        .await
}
