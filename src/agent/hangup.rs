//! SIGHUP: look at everything anew, as daemons do; never the end of the agent.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears SIGHUP.
pub(super) struct Hangup(Option<Signal>);

impl Hangup {
    /// From now on it is no longer what ends the process.
    pub(super) fn listen() -> Hangup {
        match signal(SignalKind::hangup()) {
            Ok(signal) => Hangup(Some(signal)),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP cannot be caught");
                Hangup(None)
            }
        }
    }

    /// Until the next one.
    pub(super) async fn next(&mut self) {
        let heard = match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if heard.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
