//! A node without a machine: what [`crate::simulate`] gives an agent in place of runtimes, facts
//! and sensors. Everything else is the agent that runs on boards: joining, session, supervisor,
//! signatures, reports.
//!
//! ```text
//!                    ┌──── its while is over ────┐
//!                    ▼                           │
//!  Fate:  Well ── the link breaks ──► CutOff ────┤   nobody says good-bye: the last will speaks;
//!          │                                     │   workloads go on, it dials in vain
//!          └──── the agent hangs ───► Frozen ────┘   connected and silent: nothing is decided
//! ```

use super::{heartbeat::Vitals, machine::Values};
use crate::{
    model::{Assignment, EngineFact, Metric, NodeFacts, ObservedInstance},
    mqtt::{Endpoint, Login, LoginSource},
    runtime::Runtime,
};
use std::sync::Arc;
use tokio::sync::watch;

/// What a simulated node has instead of a machine, and whom it tells how it does.
pub(crate) trait Body: Send + Sync {
    /// What the node is.
    fn facts(&self, engines: &[EngineFact]) -> NodeFacts;
    /// What a heartbeat says of the machine.
    fn vitals(&self) -> Vitals;
    /// What telemetry says of it.
    fn measure(&self, metric: Metric) -> Values;
    /// Something happened, for the report of the simulation.
    fn noted(&self, note: Note<'_>);
}

/// What the simulation wants to know of a node.
#[derive(Debug)]
pub(crate) enum Note<'a> {
    /// A session stands.
    Connected,
    /// It does not any more.
    Disconnected,
    /// A message was sent.
    Sent,
    /// A message came.
    Received,
    /// An assignment came and is in effect.
    Assigned(&'a Assignment),
    /// Something has changed in what is observed.
    Observed(&'a [ObservedInstance]),
}

/// What happens to a simulated node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fate {
    /// Nothing.
    #[default]
    Well,
    /// Its connection is broken, and no other can be made.
    CutOff,
    /// Its agent hangs.
    Frozen,
}

/// A node that is simulated. Cheap to clone: the same node after a restart of its agent.
#[derive(Clone)]
pub(crate) struct Simulated {
    /// What executes its instances.
    pub(crate) runtimes: Vec<Arc<dyn Runtime>>,
    /// Its machine.
    pub(crate) body: Arc<dyn Body>,
    /// What happens to it.
    pub(crate) fate: watch::Receiver<Fate>,
    /// Where nobody listens: what it dials while it is cut off.
    pub(crate) nowhere: Endpoint,
}

/// Until the fate of the node changes; for ever where it has none.
pub(super) async fn next_fate(simulated: &mut Option<Simulated>) -> Fate {
    if let Some(node) = simulated
        && node.fate.changed().await.is_ok()
    {
        return *node.fate.borrow_and_update();
    }
    std::future::pending().await
}

/// Until the agent hangs no longer; what happens to it then.
pub(super) async fn thawed(simulated: &mut Option<Simulated>) -> Fate {
    let Some(node) = simulated else {
        return Fate::Well;
    };
    match node.fate.wait_for(|fate| *fate != Fate::Frozen).await {
        Ok(fate) => *fate,
        Err(_) => Fate::Well,
    }
}

/// A login that leads nowhere while the node is cut off.
pub(super) struct Cable<L> {
    login: L,
    fate: watch::Receiver<Fate>,
    nowhere: Endpoint,
}

impl<L> Cable<L> {
    /// Between a node and its broker.
    pub(super) fn new(login: L, node: &Simulated) -> Cable<L> {
        Cable {
            login,
            fate: node.fate.clone(),
            nowhere: node.nowhere.clone(),
        }
    }
}

impl<L: LoginSource> LoginSource for Cable<L> {
    fn next(&mut self, attempt: u32) -> Result<Login, String> {
        let mut login = self.login.next(attempt)?;
        if *self.fate.borrow() == Fate::CutOff {
            login.endpoint = self.nowhere.clone();
            login.tls = None;
        }
        Ok(login)
    }
}
