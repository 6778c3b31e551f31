//! The agent as a workload of its own: the runtime of kind `agent`, and what the node's loop does
//! for it.
//!
//! ```text
//!  supervisor ── prepare ──► fetched by hash into upgrade/bin     (the old one goes on)
//!             ── stop, remove ──► nothing: the process stays
//!             ── launch ──► is it what runs? ── yes ─► noted, launched
//!                            │ no
//!                            ├─ it failed before ─► refused, with the reason
//!                            ├─ damaged, another version, another processor ─► refused
//!                            └─ recorded as on trial ─► the agent ends, and begins anew as its guard
//! ```
//!
//! In the child on trial everything is the other way round: whatever else is to be launched is for
//! the old one to launch, so that it hands over. It is healthy as soon as a broker of the fleet has
//! acknowledged a report of its state. Once the supervisor has let its trial pass, it writes that
//! down and hands over as well; see [`crate::upgrade`]. One that is healthy and is not wanted any
//! more, since another one was ordered meanwhile, has not failed: its trial is dropped, and ordered
//! again, or gone back to, it is tried as if for the first time.

mod check;
mod judge;
mod runtime;

pub(super) use runtime::OwnRuntime;

use super::{AgentEnd, blobs::NodeBlobs, node::Node};
use crate::{
    model::{AGENT_WORKLOAD, Digest, HealthStatus, healthy_limit_ms},
    mqtt::Receipt,
    runtime::Runtime,
    support::clock,
    upgrade::{
        Standing,
        place::{may_execute, may_write},
        record::{Edition, Record, SUPERSEDED},
    },
};
use judge::Outcome;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

/// How long a child on trial may take that has no guarded change which says it.
const DEFAULT_LIMIT_MS: u64 = 5 * 60_000;

/// What the runtime and the node's loop share.
pub(super) struct Own {
    pub(super) standing: Standing,
    record: Mutex<Record>,
    /// The program that is being fetched.
    fetching: Mutex<Option<Digest>>,
    started_ms: u64,
    shown: Mutex<Shown>,
    /// Health, and a number that grows with every change of anything.
    word: watch::Sender<(HealthStatus, u64)>,
    /// Of the child on trial: the controller had decided for it when it last decided anything.
    settled: AtomicBool,
    /// Of the session that stands; what was acknowledged in an earlier one says nothing.
    session: AtomicU64,
}

/// What a listing says of the one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Running,
    /// It was told to stop, which does nothing to the process.
    Stopped,
    /// It was removed, which does neither.
    Gone,
}

/// Why the loop does not end for a trial.
#[derive(Debug)]
pub(super) enum NotNow {
    /// What is assigned is not on the disk yet; in a moment it is.
    Unstored,
    /// One sentence.
    Failed(String),
}

/// Something that only the loop can do.
pub(super) enum Wish {
    /// End, and begin anew as the guard of this. An answer: why not.
    Try {
        edition: Edition,
        installed: Digest,
        refused: oneshot::Sender<NotNow>,
    },
    /// This is the child on trial, and something else is wanted. An answer: why not yet.
    Back { refused: oneshot::Sender<NotNow> },
}

/// The loop's side.
pub(super) struct Upgrade {
    own: Arc<Own>,
    wishes: mpsc::Receiver<Wish>,
}

/// Of an agent that can put another one in its place; `None`: it cannot.
pub(super) fn of(
    standing: Option<Standing>,
    blobs: &NodeBlobs,
) -> Option<(Upgrade, Arc<dyn Runtime>)> {
    let standing = standing?;
    let programs = standing.place.programs();
    if !may_execute(&programs) {
        warn!(
            dir = %programs.display(),
            "this agent cannot be upgraded by the fleet: nothing can be executed there (its file \
             system is mounted noexec)"
        );
        return None;
    }
    if !may_write(&programs) {
        warn!(
            dir = %programs.display(),
            "this agent cannot be upgraded by the fleet: its file system is read-only"
        );
        return None;
    }
    // A path that is no text could not be told to the next program.
    standing.installed.to_str()?;
    let record = standing.place.record().ok().flatten().unwrap_or_default();
    let own = Arc::new(Own {
        standing,
        record: Mutex::new(record),
        fetching: Mutex::default(),
        started_ms: clock::unix_ms(),
        shown: Mutex::new(Shown::Running),
        word: watch::Sender::new((HealthStatus::Starting, 0)),
        settled: AtomicBool::new(false),
        session: AtomicU64::new(0),
    });
    let (to_loop, wishes) = mpsc::channel(4);
    let runtime = OwnRuntime::new(own.clone(), blobs.clone(), to_loop);
    Some((Upgrade { own, wishes }, Arc::new(runtime)))
}

/// The next wish; never, where nothing can be wished for.
pub(super) async fn next_wish(upgrade: &mut Option<Upgrade>) -> Wish {
    match upgrade {
        Some(upgrade) => match upgrade.wishes.recv().await {
            Some(wish) => wish,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

impl Own {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On the disk first.
    fn store(&self, next: Record) -> Result<(), String> {
        let mut record = self.record();
        if *record != next {
            let stored = self.standing.place.store(&next, self.at_hand());
            stored.map_err(|error| crate::support::chain(&error))?;
            *record = next;
        } else {
            // What was fetched and refused has changed no record.
            self.standing.place.prune(&record, self.at_hand());
        }
        Ok(())
    }

    /// Programs that are of use to this process, whatever the record says: its own, from which shims
    /// are started, and the one that is being fetched.
    fn at_hand(&self) -> impl Iterator<Item = Digest> + use<> {
        let fetching = *self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.standing.program.digest();
        own.into_iter().chain(fetching)
    }

    /// That program is being fetched, until what is returned goes.
    fn fetching(&self, digest: Digest) -> Fetching<'_> {
        *self.fetching.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
        Fetching(self)
    }

    fn show(&self, shown: Shown) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        self.word.send_modify(|(_, count)| *count += 1);
    }

    fn shown(&self) -> Shown {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, health: HealthStatus) {
        self.word.send_if_modified(|(now, count)| {
            let other = *now != health;
            *now = health;
            *count += u64::from(other);
            other
        });
    }

    /// What this process is there for; `None`: nobody in the fleet has wished for it, or it is not
    /// what should run.
    fn edition(&self) -> Option<Edition> {
        let record = self.record();
        let edition = match &record.trial {
            Some(trial) if self.standing.on_trial => &trial.edition,
            _ => &record.current,
        };
        let is_me = edition.program == self.standing.program && !edition.spec_hash.is_empty();
        is_me.then(|| edition.clone())
    }
}

/// See [`Own::fetching`].
struct Fetching<'a>(&'a Own);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        let fetching = &self.0.fetching;
        *fetching.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Upgrade {
    /// A session stands.
    pub(super) fn connected(&self) {
        self.own.session.fetch_add(1, Ordering::Relaxed);
    }

    /// It does not any more. What has proved itself is not called unhealthy for a line that broke.
    pub(super) fn disconnected(&self) {
        self.own.session.fetch_add(1, Ordering::Relaxed);
        if self.own.standing.on_trial && self.own.word.borrow().0 == HealthStatus::Healthy {
            self.own.turn(HealthStatus::Unhealthy);
        }
    }

    /// For a report of the state in this session; `None`: nobody waits for one.
    pub(super) fn receipt(&self) -> Option<Receipt> {
        if self.own.word.borrow().0 == HealthStatus::Healthy {
            return None;
        }
        let own = self.own.clone();
        let session = own.session.load(Ordering::Relaxed);
        Some(Receipt::new(move || {
            if own.session.load(Ordering::Relaxed) == session {
                own.turn(HealthStatus::Healthy);
            }
        }))
    }
}

impl Node {
    /// The runtime wants something.
    pub(super) fn wished(&mut self, wish: Wish) {
        let Some(upgrade) = &self.upgrade else {
            return;
        };
        let own = upgrade.own.clone();
        match wish {
            Wish::Try {
                edition,
                installed,
                refused,
            } => {
                if !self.is_stored() {
                    let _ = refused.send(NotNow::Unstored);
                    return;
                }
                let limit_ms = self.limit_ms(&edition.spec_hash);
                let version = edition.version.clone();
                let next = own.record().to_try(edition, limit_ms, installed);
                match own.store(next) {
                    Ok(()) => {
                        info!(
                            version,
                            limit_ms, "begins anew as the guard of another version"
                        );
                        self.end = Some(AgentEnd::Restart);
                    }
                    Err(why) => {
                        let _ = refused.send(NotNow::Failed(why));
                    }
                }
            }
            Wish::Back { refused } => {
                let record = own.record().clone();
                let offered = record.trial.as_ref().map(|t| t.edition.spec_hash.clone());
                let trials = &self.core.memory.supervisor.trials;
                let known = trials.get(AGENT_WORKLOAD);
                let known = known.filter(|t| Some(&t.spec_hash) == offered.as_ref());
                match known.and_then(|t| t.reason.clone()) {
                    Some(why) => {
                        let next = record.failed(why.clone(), Vec::new());
                        self.hand_over(&own, next, &why);
                    }
                    None if self.is_stored() => {
                        self.hand_over(&own, record.superseded(), SUPERSEDED);
                    }
                    None => {
                        let _ = refused.send(NotNow::Unstored);
                    }
                }
            }
        }
    }

    /// What is assigned is on the disk: the next start wants it as well.
    fn is_stored(&self) -> bool {
        let latest = self.core.latest.as_ref();
        latest.is_none_or(|a| a.generation <= self.core.stored_generation)
    }

    /// The child on trial goes, and the version before goes on with this record.
    fn hand_over(&mut self, own: &Own, next: Record, why: &str) {
        info!(why, "hands over to the version before");
        // Where it cannot be written down the guard finds a child that has ended.
        if let Err(error) = own.store(next) {
            warn!(error, "the record of upgrades cannot be kept");
        }
        self.end = Some(AgentEnd::HandOver);
    }

    /// How long the trial of that spec may take.
    fn limit_ms(&self, spec_hash: &str) -> u64 {
        let assigned = self.core.latest.iter().flat_map(|a| &a.instances);
        let mut own = assigned.filter(|i| i.workload.name.as_str() == AGENT_WORKLOAD);
        let offered = own.find(|i| i.workload.spec_hash() == spec_hash);
        let guard = offered.and_then(|i| Some((&i.workload, i.guard.as_ref()?)));
        guard.map_or(DEFAULT_LIMIT_MS, |(workload, guard)| {
            healthy_limit_ms(
                workload,
                guard.min_healthy_time_ms,
                guard.healthy_deadline_ms,
            )
        })
    }

    /// Where this is a child on trial that has passed: it writes that down and hands over to its
    /// guard, which becomes what it is.
    pub(super) fn look_at_trial(&mut self) {
        let Some(upgrade) = self.upgrade.as_ref().filter(|u| u.own.standing.on_trial) else {
            return;
        };
        if self.end.is_some() {
            return;
        }
        let own = upgrade.own.clone();
        let Some(tried) = own.edition() else {
            return;
        };
        let latest = self.core.latest.as_ref();
        if let Some(settled) = latest.and_then(|a| judge::is_settled(a, &tried)) {
            own.settled.store(settled, Ordering::Relaxed);
        }
        match judge::outcome(latest, &self.core.observed(), &tried) {
            Outcome::Passed => {}
            Outcome::Unwanted if own.settled.load(Ordering::Relaxed) => {
                // It is no instance any more, but still what the fleet wanted last.
                if own.word.borrow().0 != HealthStatus::Healthy {
                    return;
                }
            }
            Outcome::Unwanted if self.is_stored() => {
                let next = own.record().superseded();
                let why = "the fleet does not decide any more what runs here";
                return self.hand_over(&own, next, why);
            }
            Outcome::Unwanted | Outcome::Open => return,
        }
        let next = own.record().confirmed();
        match next.map(|next| own.store(next)) {
            Some(Ok(())) => {
                info!(
                    version = tried.version,
                    "is healthy, and takes the place of its guard"
                );
                self.end = Some(AgentEnd::HandOver);
            }
            Some(Err(error)) => {
                warn!(error, "that it is healthy cannot be kept; tried again");
            }
            None => {}
        }
    }
}
