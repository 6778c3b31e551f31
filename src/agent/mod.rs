//! The agent: a shell around [`crate::supervisor`].
//!
//! One task owns the supervisor and turns everything that happens into its inputs: messages of
//! the controller, events of runtimes, outcomes of operations, the passing of time. Everything
//! slow runs beside it and reports back through one bounded queue. `core` is what runs workloads;
//! `node` joins it to a fleet, `standalone` to a directory of manifests.
//!
//! Start: read the last assignment from disk, begin to run it, and only then look for the network.
//! What runs already is found by its labels and left alone.

pub(crate) mod blobs;
mod bulk;
mod commands;
mod core;
mod directory;
mod engines;
mod enroll;
mod exec;
mod facts;
mod finder;
mod first_boot;
mod hangup;
mod heartbeat;
mod images;
mod inbox;
mod local;
mod logs;
mod machine;
mod manager;
mod node;
mod probe;
mod report;
mod scratch;
mod sender;
mod shipping;
mod simulated;
mod standalone;
mod status_line;
mod store;
mod telemetry;
mod traced;
mod upgrade;

pub use directory::Here;
pub(crate) use enroll::BrokerAddress;
pub use enroll::JoinError;
pub use facts::addresses;
pub(crate) use heartbeat::Vitals;
pub use local::{AgentKind, LocalLine, LocalStatus};
pub(crate) use machine::Values;
pub(crate) use simulated::{Body, Fate, Note, Simulated};
pub use standalone::StandaloneError;
pub use store::StoreError;

use crate::{
    config::AgentConfig,
    support::{Shutdown, service},
    upgrade::Standing,
};
use first_boot::FirstBoot;

/// Why an agent ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentEnd {
    /// It was asked to stop.
    Stopped,
    /// It was ordered to start anew.
    Restart,
    /// It was on trial, and what becomes of it is in the record of upgrades: its guard goes on.
    HandOver,
}

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot run without a controller.
    #[error(transparent)]
    Standalone(#[from] StandaloneError),
    /// It may not join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Its key.
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
    /// The file with registry credentials.
    #[error(transparent)]
    Credentials(#[from] crate::runtime::CredentialsError),
    /// The headers of its spans.
    #[error(transparent)]
    Headers(#[from] crate::trace::HeadersError),
    /// TLS could not be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// The brokers of the fleet that the machine with this data directory has joined; `None`: none.
///
/// # Errors
/// One sentence, where what it has joined cannot be read.
pub(crate) fn brokers_on_disk(
    data_dir: &std::path::Path,
) -> Result<Option<Vec<BrokerAddress>>, String> {
    let path = data_dir.join("fleet.json");
    let text = crate::identity::read_optional(&path).map_err(|e| crate::support::chain(&e))?;
    let Some(text) = text else {
        return Ok(None);
    };
    let member: store::Membership = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    enroll::addresses(&member)
        .map(Some)
        .map_err(|e| e.to_string())
}

/// Runs an agent until it is asked to stop. `own`: it is a process of its own, which can put another
/// release of fleetctl in its place.
///
/// # Errors
/// Only what it cannot run without: its data directory, its key, and, the first time, the fleet's
/// consent. A controller, a broker or an engine that is away is waited for.
pub async fn run(
    mut config: AgentConfig,
    own: Option<Standing>,
    shutdown: Shutdown,
) -> Result<AgentEnd, AgentError> {
    let store = store::Store::open(&config.common.data_dir)?;
    if let Some(dir) = config.standalone.clone() {
        return standalone::run(config, &dir, store, shutdown).await;
    }
    let mut boot = FirstBoot::take_in(&mut config, &store);
    if config.own_process && store.membership()?.is_none() {
        // There is nothing to run yet, and the network may be away for long.
        service::ready();
        service::status("joining the fleet");
    }
    let joining = enroll::membership(&config, &store, &boot, &shutdown).await;
    let member = match joining {
        Ok(Some(member)) => member,
        Ok(None) => return Ok(AgentEnd::Stopped),
        Err(error) => {
            boot.refused(&crate::support::chain(&error));
            return Err(error);
        }
    };
    boot.joined(&store);
    // A directory of manifests begins no traces, so only here.
    let (tracer, exporter) = crate::trace::start(
        config.otlp.endpoint.as_ref(),
        config.otlp.headers_file.as_deref(),
        crate::trace::Resource {
            service: "fleetctl-agent",
            host: config.name.to_string(),
        },
    )?;
    let mut node = node::Node::start(config, store, member, own, None)?;
    node.core.traces.tracer = tracer;
    let end = node.run(shutdown).await;
    if let Some(exporter) = exporter {
        exporter.stop().await;
    }
    end
}

/// Runs the agent of a node that is simulated, until it is asked to stop.
///
/// # Errors
/// As [`run`].
pub(crate) async fn run_simulated(
    config: AgentConfig,
    node: Simulated,
    shutdown: Shutdown,
) -> Result<AgentEnd, AgentError> {
    let store = store::Store::open_scratch(&config.common.data_dir)?;
    let Some(member) = enroll::membership(&config, &store, &FirstBoot::none(), &shutdown).await?
    else {
        return Ok(AgentEnd::Stopped);
    };
    node::Node::start(config, store, member, None, Some(node))?
        .run(shutdown)
        .await
}
