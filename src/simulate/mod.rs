//! A fleet without hardware: many nodes in one process, over real MQTT.
//!
//! Try fleetctl before boards are bought, see how many nodes a controller carries, look at what a
//! rollout does when a tenth of the fleet is away. Each simulated node is the agent that runs on
//! boards: it makes its key, joins with a token, keeps a session, signs, supervises, reports.
//! Only two things are made up: its runtime, which says that it runs things, and its machine.
//!
//! ```text
//!                    ┌── Weather: cut off, frozen, crashed ──┐
//!  Profile ► Simulation                                      ▼
//!                    ├── VirtualNode ─ agent ─ session ─┐  (one connection each)
//!                    ├── VirtualNode ─ agent ─ session ─┼──► broker ─ controller
//!                    └── …              │               ┘
//!                            FakeRuntime┘    ──► Tally ──► Progress, Report
//! ```
//!
//! A run goes through: start (spread over the ramp), weather, calm (nothing goes wrong any more,
//! and everybody comes back), settled or not, report, stop (agents say good-bye).
//!
//! | module | one idea |
//! |---|---|
//! | [`profile`] | what is asked for, and how it is read |
//! | [`node`] | a node: made-up machine, how it does, its agent's task |
//! | [`runtime`] | the engine that runs nothing |
//! | [`weather`] | what goes wrong by intention |
//! | [`tally`], [`report`] | what is counted, and what is told of it |
//! | [`room`], [`dice`] | handles, directory, a dead port; chance |

mod dice;
mod node;
mod profile;
mod report;
mod room;
mod runtime;
mod tally;
mod weather;

pub(crate) use profile::{Board, MAX_NODES, Profile, Rate, Share, Span, Spread};
pub(crate) use report::{Progress, Report, Verdict};
pub(crate) use room::RoomError;
pub(crate) use tally::Summary;

use crate::{
    config::JoinToken,
    model::{Name, RuntimeKind},
    support::Shutdown,
};
use dice::Dice;
use node::VirtualNode;
use report::ProcessUse;
use room::{Nowhere, StateDir};
use runtime::{FakeRuntime, Manner};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tally::Tally;
use tokio::{task::JoinSet, time};
use weather::Weather;

/// What each node can run.
const KINDS: [RuntimeKind; 2] = [RuntimeKind::Docker, RuntimeKind::Process];

/// A fleet that is simulated.
pub(crate) struct Simulation {
    profile: Arc<Profile>,
    nodes: Arc<[Arc<VirtualNode>]>,
    tally: Arc<Tally>,
    agents: JoinSet<()>,
    weather: Option<tokio::task::JoinHandle<()>>,
    calm: Shutdown,
    stop: Shutdown,
    state: StateDir,
    began: Instant,
    _nowhere: Nowhere,
}

impl Simulation {
    /// Starts it on the current runtime; the nodes begin one after the other, within the ramp.
    ///
    /// # Errors
    /// There is no room for it on this machine.
    pub(crate) fn start(profile: Profile, token: &JoinToken) -> Result<Simulation, RoomError> {
        room::raise_handles(profile.nodes)?;
        let nowhere = Nowhere::take()?;
        let state = StateDir::open(profile.state.as_deref(), profile.nodes)?;
        let profile = Arc::new(profile);
        let tally = Arc::new(Tally::default());
        let nodes: Vec<Arc<VirtualNode>> = (0..profile.nodes)
            .filter_map(|index| Some(Arc::new(virtual_node(&profile, index, &tally)?)))
            .collect();
        let nodes: Arc<[Arc<VirtualNode>]> = nodes.into();
        let (calm, stop) = (Shutdown::new(), Shutdown::new());
        let place: Arc<Path> = state.path().into();
        let mut agents = JoinSet::new();
        let steps = u64::from(profile.nodes.saturating_sub(1)).max(1);
        for (index, node) in nodes.iter().enumerate() {
            let after = Duration::from_millis(profile.ramp_ms * index as u64 / steps);
            let (node, place, token) = (node.clone(), place.clone(), token.clone());
            let (stop, dead) = (stop.clone(), nowhere.endpoint.clone());
            agents.spawn(async move {
                tokio::select! {
                    () = stop.wait() => return,
                    () = time::sleep(after) => {}
                }
                node.run(place, token, dead, stop).await;
            });
        }
        let weather = Weather::new(profile.clone(), nodes.clone(), tally.clone());
        Ok(Simulation {
            weather: Some(tokio::spawn(weather.run(calm.clone()))),
            profile,
            nodes,
            tally,
            agents,
            calm,
            stop,
            state,
            began: Instant::now(),
            _nowhere: nowhere,
        })
    }

    /// The names of the nodes that have been in the fleet.
    pub(crate) fn joined(&self) -> Vec<Name> {
        let joined = self.nodes.iter().filter(|n| n.has_joined());
        joined.map(|n| n.name.clone()).collect()
    }

    /// How it stands.
    pub(crate) fn progress(&self) -> Progress {
        Progress::of(self.nodes.iter().map(|n| n.condition()), &self.tally)
    }

    /// Since when it goes on.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Nothing goes wrong any more, and everybody comes back.
    pub(crate) async fn calm(&mut self) {
        self.calm.trigger();
        if let Some(weather) = self.weather.take() {
            let _ = weather.await;
        }
    }

    /// Everything that is to be told; to be called before [`Simulation::stop`].
    pub(crate) fn report(&self, controller: Verdict, settled: bool) -> Report {
        let stands = self.progress();
        let tally = &self.tally;
        Report {
            nodes: stands.nodes,
            joined: stands.joined,
            connected: stands.connected,
            joined_in: tally.joined_in.summary(),
            reconnects: tally.reconnects.get(),
            assignments: tally.assignments.get(),
            running_in: tally.running_in.summary(),
            instances_wanted: stands.wanted,
            instances_running: stands.well,
            heartbeats: tally.heartbeats.get(),
            messages_sent: tally.sent.get(),
            messages_received: tally.received.get(),
            faults: tally.faults.get(),
            troubles: stands.troubles,
            took_s: (self.age().as_secs_f64() * 10.0).round() / 10.0,
            process: ProcessUse::now(),
            converged: settled && controller.converged != Some(false),
            controller,
            seed: self.profile.seed,
        }
    }

    /// All agents say good-bye and end.
    pub(crate) async fn stop(&mut self) {
        self.calm().await;
        self.stop.trigger();
        while self.agents.join_next().await.is_some() {}
    }

    /// What the nodes keep stays; where.
    pub(crate) fn keep(&mut self) -> &Path {
        self.state.keep();
        self.state.path()
    }
}

/// `None` when its name is none, which is refused where the prefix is read.
fn virtual_node(profile: &Profile, index: u32, tally: &Arc<Tally>) -> Option<VirtualNode> {
    let name = profile.name(index).parse().ok()?;
    let manner = Manner {
        start_time: profile.start_time,
        fail: profile.fail,
        poison: profile.poison.clone(),
    };
    let engine = |(which, kind): (usize, RuntimeKind)| {
        let number = u64::from(index) * KINDS.len() as u64 + which as u64;
        let dice = Dice::new(profile.seed, number);
        FakeRuntime::new(kind, manner.clone(), tally.clone(), dice)
    };
    let runtimes = KINDS.into_iter().enumerate().map(engine).collect();
    let (index, tally) = (index as usize, tally.clone());
    Some(VirtualNode::new(name, index, profile, runtimes, tally))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes to which nothing happens.
    pub(super) fn profile(nodes: u32) -> Profile {
        let span = |ms| Span {
            from_ms: ms,
            to_ms: ms,
        };
        Profile {
            nodes,
            prefix: "sim".to_owned(),
            boards: Vec::new(),
            labels: Vec::new(),
            ramp_ms: 0,
            start_time: span(1),
            fail: Share::default(),
            crash: Rate::default(),
            churn: Rate::default(),
            freeze: Rate::default(),
            away: span(1_000),
            poison: None,
            seed: 1,
            state: None,
        }
    }

    #[tokio::test]
    async fn nodes_that_cannot_join_are_told_with_the_reason() {
        let token = JoinToken::parse("not-a-token").unwrap();
        let mut simulation = Simulation::start(profile(3), &token).unwrap();
        let place = simulation.state.path().to_owned();
        while simulation.progress().troubles.is_empty() {
            tokio::task::yield_now().await;
        }
        let stands = simulation.progress();
        assert_eq!((stands.nodes, stands.joined, stands.connected), (3, 0, 0));
        assert!(stands.troubles[0].contains("token"), "{stands:?}");
        assert!(simulation.joined().is_empty());
        simulation.stop().await;
        let report = simulation.report(Verdict::default(), stands.is_settled());
        assert!(!report.converged);
        drop(simulation);
        assert!(!place.exists());
    }
}
