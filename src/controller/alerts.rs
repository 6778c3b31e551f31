//! Alerts: the shell around [`crate::alert`].
//!
//! ```text
//!  every interval:  fleet, live, identity ─► Observation ─► Alerts::observe ─► alerts.json
//!                     (copied out, locks released)              │                ▲
//!                                            events, receivers ◄┘ outbox written ┘
//! ```
//!
//! Who is to be told is handed over to [`crate::notify`], which writes it to its own file; only
//! then is it written down here that they were told. A controller that is killed between hands
//! over again: somebody may be told twice, but nobody never. Delivery is at least once too.

mod file;
mod look;

use super::Controller;
use crate::{
    alert::{AlertState, AlertView, Alerts, Condition, RuleView, Transition},
    config::AlertsConfig,
    fleet::FleetEvent,
    model::{Name, UnixMs},
    notify::{Notification, Notifier, ReceiverStatus, Severity},
    support::{Shutdown, clock},
};
use look::Asked;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

/// What waits to be brought to receivers, in the data directory.
const OUTBOX: &str = "notifications.json";

/// The alerts of this controller, and who is told.
#[derive(Debug)]
pub struct AlertBoard {
    alerts: Mutex<Alerts>,
    notifier: Notifier,
    receivers: BTreeSet<Name>,
    /// What the rules need of a look.
    asked: Asked,
    enabled: bool,
    interval: Duration,
    path: PathBuf,
    /// Why the journal could not keep the last entry.
    trouble: Mutex<Option<String>>,
}

impl AlertBoard {
    /// Reads what was kept in `dir`, and starts a task for each receiver. Within a runtime.
    pub(super) fn open(config: &AlertsConfig, dir: &Path) -> AlertBoard {
        let mut alerts = Alerts::new(
            config.rules.clone(),
            config.notify.clone(),
            config.repeat_ms,
        );
        let path = dir.join(file::NAME);
        if config.enabled {
            alerts.restore(file::read(&path));
        }
        AlertBoard {
            asked: Asked::by(alerts.rules()),
            alerts: Mutex::new(alerts),
            notifier: Notifier::start(config.receivers.clone(), Some(dir.join(OUTBOX))),
            receivers: config.receivers.keys().cloned().collect(),
            enabled: config.enabled,
            interval: Duration::from_millis(config.interval_ms),
            path,
            trouble: Mutex::default(),
        }
    }

    /// The journal could keep what happened, or (`Some`: why) could not.
    pub(super) fn note_journal(&self, trouble: Option<String>) {
        *lock(&self.trouble) = trouble;
    }

    /// How the delivery to each receiver goes.
    pub fn receivers(&self) -> Vec<ReceiverStatus> {
        self.notifier.status()
    }

    /// There is a receiver of this name.
    pub fn has_receiver(&self, name: &str) -> bool {
        self.receivers.contains(name)
    }

    /// Tries a receiver, now.
    ///
    /// # Errors
    /// Why it does not work, a sentence.
    pub async fn try_receiver(&self, name: &Name) -> Result<(), String> {
        self.notifier.test(name).await
    }

    /// There is a rule of this name, also one that is turned off.
    pub fn has_rule(&self, name: &str) -> bool {
        self.alerts().rules().iter().any(|r| r.name == name)
    }

    fn alerts(&self) -> MutexGuard<'_, Alerts> {
        lock(&self.alerts)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Controller {
    /// Every alert, those that fire first, of these the worst first, then the newest.
    pub fn alert_views(&self) -> Vec<AlertView> {
        let silences = self.fleet().silences().clone();
        self.alerts.alerts().views(&silences, clock::unix_ms())
    }

    /// All rules, also those that are turned off.
    pub fn alert_rules(&self) -> Vec<RuleView> {
        let silences = self.fleet().silences().clone();
        let (mut views, asked) = {
            let alerts = self.alerts.alerts();
            let asked: Vec<Condition> = alerts.rules().iter().map(|r| r.when.clone()).collect();
            (alerts.rule_views(&silences, clock::unix_ms()), asked)
        };
        for (view, when) in views.iter_mut().zip(asked) {
            if let Condition::Telemetry { metric, value, .. } = when {
                let mut measured = false;
                self.live.each_of(metric, &value, |_, _, _| measured = true);
                if !measured {
                    view.note = format!("no node measures `{metric} {value}`");
                }
            }
        }
        views
    }

    /// How many alerts there are of each severity and state; none that is over.
    pub fn alert_counts(&self) -> BTreeMap<(Severity, AlertState), usize> {
        let silences = self.fleet().silences().clone();
        self.alerts.alerts().counts(&silences, clock::unix_ms())
    }

    /// One round: looks, counts, keeps, tells.
    fn look_for_alerts(&self, is_early: bool) {
        let now = clock::unix_ms();
        let board = &self.alerts;
        let trouble = lock(&board.trouble).clone();
        let mut seen = look::look(self, &board.asked);
        seen.is_early = is_early;
        seen.journal.trouble = trouble;
        let (transitions, to_keep) = {
            let mut alerts = board.alerts();
            let transitions = alerts.observe(now, &seen);
            let to_keep = alerts.take_changed().then(|| alerts.stored());
            (transitions, to_keep)
        };
        for transition in transitions {
            self.release_alert(transition, now);
        }
        let Some(stored) = to_keep else { return };
        // Whoever was told according to this file must be told, also after a kill in this moment.
        if !board.notifier.kept() {
            board.alerts().set_changed();
        } else if let Err(error) = file::write(&board.path, &stored) {
            warn!(%error, "firing alerts cannot be kept; tried again");
            board.alerts().set_changed();
        }
    }

    fn release_alert(&self, transition: Transition, now: UnixMs) {
        let event = match transition {
            Transition::Notify { to, notification } => {
                // Who was told before a restart may be no receiver any more.
                for receiver in to.iter().filter(|r| self.alerts.receivers.contains(*r)) {
                    self.alerts.notifier.send(receiver, notification.clone());
                }
                return;
            }
            Transition::Fired(n) => event("alert_firing", n.message.clone(), Some(n), now),
            Transition::Resolved(n) => event("alert_resolved", n.message.clone(), Some(n), now),
            Transition::Full { dropped } => {
                let message = format!(
                    "there are more alerts than the controller keeps: {dropped} are left out until \
                     others are over"
                );
                event("alerts_left_out", message, None, now)
            }
        };
        info!(event = event.event, message = event.message, "fleet");
        self.events.publish(event);
    }
}

fn event(name: &str, message: String, about: Option<Notification>, at: UnixMs) -> FleetEvent {
    let (node, workload) = about.map_or((None, None), |n| (n.node, n.workload));
    FleetEvent {
        at,
        event: name.to_owned(),
        node,
        workload,
        message,
    }
}

/// Looks every so often, until the controller stops; then what can still be told is told.
pub(super) async fn watch(controller: Arc<Controller>, start_grace: Duration, shutdown: Shutdown) {
    let board = &controller.alerts;
    let started = Instant::now();
    let mut ticks = tokio::time::interval(board.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.wait() => break,
            _ = ticks.tick(), if board.enabled => {}
        }
        let is_early = started.elapsed() < start_grace;
        let c = controller.clone();
        // It copies the fleet and may write a file: nothing for a thread that serves others.
        let round = tokio::task::spawn_blocking(move || c.look_for_alerts(is_early));
        if let Err(error) = round.await {
            warn!(%error, "looking for alerts failed");
        }
    }
    board.notifier.stop().await;
}
