//! What Docker and Podman have in common.
//!
//! | module | what |
//! |---|---|
//! | [`body`] | a [`Launch`](super::Launch) as the body of the engine's create call |
//! | [`limits`] | which limits are asked for, and what follows when one is refused |
//! | [`placed`] | files of workloads on the node |
//! | [`networks`] | networks that workloads bring with them |
//! | [`launch`] | create, start, and what to do when that does not go straight |
//! | [`exec`] | one more program in a container, and its end |
//! | [`foreign`], [`adopted`] | containers of others: told, taken over, written down |
//! | [`calls`] | single calls in Docker's words |
//! | [`fault`] | what an engine answered when it did not do it |
//! | [`sentence`] | a fault as a sentence for people |
//! | [`found`] | an engine's container as [`Found`](super::Found) |
//! | [`ended_by_us`] | which ends were asked for here |
//! | [`pids`] | which process a container's first one is, for reading its use of the machine |
//! | [`images`] | images: from the agent's own registry, told, taken away |
//! | [`line`] | an engine's log lines as [`LogLine`](crate::model::LogLine) |
//! | [`watch`] | the stream of events, for ever |
//!
//! Docker's API is spoken with `bollard`; Podman has the same API, not complete and not without
//! faults, beside its own one. Nothing here decides anything: that is the supervisor's.

pub(crate) mod adopted;
pub(crate) mod body;
pub(crate) mod calls;
pub(crate) mod ended_by_us;
pub(crate) mod exec;
pub(crate) mod fault;
pub(crate) mod foreign;
pub(crate) mod found;
pub(crate) mod images;
pub(crate) mod launch;
pub(crate) mod limits;
pub(crate) mod line;
pub(crate) mod networks;
pub(crate) mod pids;
pub(crate) mod placed;
pub(crate) mod sentence;
pub(crate) mod watch;

use crate::model::RuntimeKind;
use fault::Fault;
use std::{path::Path, time::Duration};

/// Time limit of every call that is not known to take long.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Time limit of creating, starting and removing: a small board with a slow card takes seconds for
/// what a server does in a fraction of one.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);
/// The longest time that a stop is given, whatever was asked for.
pub(crate) const STOP_LIMIT_MS: u64 = 60 * 60 * 1000;

/// Docker's API on `socket`. No I/O but a look whether the socket exists; every call makes a
/// connection of its own.
pub(crate) fn connect(socket: &Path) -> Result<bollard::Docker, Fault> {
    let path = socket.to_str().ok_or_else(|| {
        Fault::Unreachable(format!(
            "the socket's path {} is not UTF-8",
            socket.display()
        ))
    })?;
    // Beyond every limit of ours: those tell hanging from slow, and name the call.
    let timeout_s = STOP_LIMIT_MS / 1000 + 60;
    Ok(bollard::Docker::connect_with_unix(
        path,
        timeout_s,
        bollard::API_DEFAULT_VERSION,
    )?)
}

/// Runs a call for at most `limit`.
pub(crate) async fn limited<T, E: Into<Fault>>(
    limit: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(limit, call).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_) => Err(Fault::Unreachable(format!(
            "it did not answer for {} s",
            limit.as_secs()
        ))),
    }
}

/// Whole seconds for the engines' stop timeout, rounded up, at most [`STOP_LIMIT_MS`].
pub(crate) fn stop_seconds(timeout_ms: u64) -> u32 {
    timeout_ms.min(STOP_LIMIT_MS).div_ceil(1000) as u32
}

/// A fault for which there is nothing but the engine's own words to say.
pub(crate) fn plain(kind: RuntimeKind, handle: &str, fault: Fault) -> super::RuntimeError {
    sentence::explain(
        &fault,
        &sentence::About {
            kind,
            handle,
            image: "",
            program: None,
        },
    )
}
