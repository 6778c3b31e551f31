//! Whether one instance that runs also works: when to ask, and what the answers come to.
//!
//! ```text
//!              the first good answer, or up for long enough
//!   starting ──────────────────────────────────────────────► healthy
//!      │                                                     │     ▲
//!      └── so many failures in a row, ──► unhealthy ◄────────┘     │
//!          after the start period            └──── a good answer ──┘
//! ```
//!
//! There are three sources. A check that is asked: one question at a time, every 2 s at most while
//! it is starting, then by its interval. An engine that runs the image's own HEALTHCHECK and tells.
//! And where there is no check, the time that it has been up.
//!
//! An answer that never comes is a failure, 5 s after its time is up. What was found running, after
//! a restart of the agent, is asked at once, and gets a whole row of new chances.

use super::OperationId;
use crate::model::{Health, HealthCheck, HealthStatus, OnUnhealthy};
use crate::runtime::ImageHealth;

/// From one answer to the next question at most, while it is starting.
const STARTING_INTERVAL_MS: u64 = 2_000;
/// From the start to the first question at most.
const FIRST_MS: u64 = 500;
/// An interval is never shorter, whatever is written.
const SHORTEST_INTERVAL_MS: u64 = 100;
/// How long after its time an answer may still come: it is on its way through the agent.
const GRACE_MS: u64 = 5_000;

/// Where the knowledge comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A check that is asked.
    Asked(Health),
    /// The engine tells; `hold_ms`: how long its bad word is not acted upon for what was found.
    Told {
        on_unhealthy: OnUnhealthy,
        hold_ms: u64,
    },
    /// No check: up for so long.
    Uptime { min_ms: u64 },
}

impl Source {
    /// From what the user wrote and what the image has.
    pub(super) fn new(written: Option<&Health>, image: Option<ImageHealth>, min_ms: u64) -> Source {
        match (written, image) {
            (Some(health), _) if health.check == HealthCheck::None => Source::Uptime { min_ms },
            (Some(health), Some(ImageHealth::Told(_))) if health.check == HealthCheck::Image => {
                Source::Told {
                    on_unhealthy: health.on_unhealthy,
                    hold_ms: health.interval_ms.saturating_mul(u64::from(health.retries)),
                }
            }
            (Some(health), _) => Source::Asked(health.clone()),
            (None, Some(ImageHealth::Told(_) | ImageHealth::Session(_))) => Source::Told {
                on_unhealthy: OnUnhealthy::Report,
                hold_ms: 0,
            },
            (None, Some(ImageHealth::Ask { interval_ms })) => Source::Asked(Health {
                interval_ms,
                timeout_ms: 30_000,
                on_unhealthy: OnUnhealthy::Report,
                ..Health::new(HealthCheck::Image)
            }),
            (None, None) => Source::Uptime { min_ms },
        }
    }

    /// What follows when it is unhealthy.
    pub(super) fn on_unhealthy(&self) -> OnUnhealthy {
        match self {
            Source::Asked(health) => health.on_unhealthy,
            Source::Told { on_unhealthy, .. } => *on_unhealthy,
            Source::Uptime { .. } => OnUnhealthy::Report,
        }
    }

    /// The same question is asked, if perhaps at other times.
    fn same_question(&self, other: &Source) -> bool {
        match (self, other) {
            (Source::Asked(a), Source::Asked(b)) => a.check == b.check,
            (Source::Told { .. }, Source::Told { .. }) => true,
            (Source::Uptime { .. }, Source::Uptime { .. }) => true,
            _ => false,
        }
    }
}

/// Since when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Up {
    /// It was started now.
    Started,
    /// It was found running, and has been for so long, as far as is known.
    Found { for_ms: u64 },
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    /// Ask this, with this time for the answer; then call [`Monitor::asked`].
    Ask(HealthCheck, u64),
    /// It has changed.
    Changed(Change),
}

/// A change of health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// It works.
    Healthy,
    /// It does not: one sentence.
    Unhealthy(String),
}

/// The health of one run of one instance. All times are monotonic milliseconds.
#[derive(Debug)]
pub(super) struct Monitor {
    source: Source,
    status: HealthStatus,
    up: Up,
    begun_ms: u64,
    /// Failures in a row that count.
    failures: u32,
    next_ms: u64,
    /// The question that is under way, and when it is given up.
    probe: Option<(OperationId, u64)>,
    /// Why it is unhealthy.
    why: Option<String>,
}

impl Monitor {
    /// Of what runs since `now`.
    pub(super) fn new(source: Source, up: Up, now_ms: u64) -> Monitor {
        let mut monitor = Monitor {
            source,
            status: HealthStatus::Starting,
            up,
            begun_ms: now_ms,
            failures: 0,
            next_ms: now_ms,
            probe: None,
            why: None,
        };
        if let (Up::Started, Source::Asked(health)) = (up, &monitor.source) {
            monitor.next_ms = now_ms + health.interval_ms.min(FIRST_MS);
        }
        monitor
    }

    /// The settings may have changed; they take effect in place.
    pub(super) fn set(&mut self, source: Source, now_ms: u64) {
        if self.source == source {
            return;
        }
        if !self.source.same_question(&source) {
            self.status = HealthStatus::Starting;
            self.why = None;
            self.probe = None;
        }
        self.failures = 0;
        self.next_ms = self.next_ms.min(now_ms + FIRST_MS);
        self.source = source;
    }

    /// How it is, and why where it is unhealthy.
    pub(super) fn status(&self) -> (HealthStatus, Option<&str>) {
        (self.status, self.why.as_deref())
    }

    pub(super) fn on_unhealthy(&self) -> OnUnhealthy {
        self.source.on_unhealthy()
    }

    /// What there is to do now. Call again until it is `None`.
    pub(super) fn task(&mut self, now_ms: u64, image: Option<ImageHealth>) -> Option<Task> {
        match self.source.clone() {
            Source::Uptime { .. } => {
                let is_up = self.deadline_of_uptime().is_some_and(|at| at <= now_ms);
                is_up.then(|| self.turns(Change::Healthy)).flatten()
            }
            Source::Told { hold_ms, .. } => self.told(image, hold_ms, now_ms),
            Source::Asked(health) => {
                if let Some((id, gives_up_ms)) = self.probe {
                    if now_ms < gives_up_ms {
                        return None;
                    }
                    let change = self.answered(id, Err("it did not answer".to_owned()), now_ms);
                    return change.map(Task::Changed);
                }
                (self.next_ms <= now_ms).then_some(Task::Ask(health.check, health.timeout_ms))
            }
        }
    }

    /// It waits for the answer to this question.
    pub(super) fn owns(&self, id: OperationId) -> bool {
        self.probe.is_some_and(|(asked, _)| asked == id)
    }

    /// There is somebody to ask or to hear; else only time tells.
    pub(super) fn is_checked(&self) -> bool {
        !matches!(self.source, Source::Uptime { .. })
    }

    /// The question has gone out.
    pub(super) fn asked(&mut self, id: OperationId, now_ms: u64) {
        let timeout_ms = match &self.source {
            Source::Asked(health) => health.timeout_ms,
            _ => 0,
        };
        let gives_up = now_ms.saturating_add(timeout_ms).saturating_add(GRACE_MS);
        self.probe = Some((id, gives_up));
    }

    /// An answer; one to a question that was given up has no effect.
    pub(super) fn answered(
        &mut self,
        id: OperationId,
        result: Result<(), String>,
        now_ms: u64,
    ) -> Option<Change> {
        let Source::Asked(health) = &self.source else {
            return None;
        };
        if self.probe.is_none_or(|(asked, _)| asked != id) {
            return None;
        }
        let (retries, start_period) = (health.retries.max(1), health.start_period_ms);
        let interval = health.interval_ms.max(SHORTEST_INTERVAL_MS);
        self.probe = None;
        let change = match result {
            Ok(()) => {
                self.failures = 0;
                self.turn(Change::Healthy)
            }
            Err(_) if now_ms.saturating_sub(self.begun_ms) < start_period => None,
            Err(message) => {
                self.failures = self.failures.saturating_add(1);
                let enough = self.failures >= retries;
                enough
                    .then(|| self.turn(Change::Unhealthy(message)))
                    .flatten()
            }
        };
        let pause = match self.status {
            HealthStatus::Starting => interval.min(STARTING_INTERVAL_MS),
            _ => interval,
        };
        self.next_ms = now_ms.saturating_add(pause);
        change
    }

    /// It cannot be asked for a while, as its engine is away: what was asked has no answer, and the
    /// row of failures begins anew.
    pub(super) fn pause(&mut self, now_ms: u64) {
        self.probe = None;
        self.failures = 0;
        self.next_ms = now_ms;
    }

    /// When [`Monitor::task`] has something to do.
    pub(super) fn deadline(&self) -> Option<u64> {
        match (&self.source, self.probe) {
            (Source::Uptime { .. }, _) => self.deadline_of_uptime(),
            (Source::Told { hold_ms, .. }, _) => match self.up {
                // When the bad word that was found counts at last.
                Up::Found { .. } if self.status == HealthStatus::Starting => {
                    Some(self.begun_ms.saturating_add(*hold_ms))
                }
                _ => None,
            },
            (Source::Asked(_), Some((_, gives_up_ms))) => Some(gives_up_ms),
            (Source::Asked(_), None) => Some(self.next_ms),
        }
    }

    fn deadline_of_uptime(&self) -> Option<u64> {
        let (Source::Uptime { min_ms }, HealthStatus::Starting) = (&self.source, self.status)
        else {
            return None;
        };
        let before = match self.up {
            Up::Started => 0,
            Up::Found { for_ms } => for_ms,
        };
        Some(self.begun_ms.saturating_add(min_ms.saturating_sub(before)))
    }

    fn told(&mut self, image: Option<ImageHealth>, hold_ms: u64, now_ms: u64) -> Option<Task> {
        let (status, why) = match image? {
            ImageHealth::Told(status) => (
                status,
                "the image's own health check says that it does not work",
            ),
            ImageHealth::Session(status) => (status, "it has lost its session with the fleet"),
            ImageHealth::Ask { .. } => return None,
        };
        match status {
            HealthStatus::Starting => None,
            HealthStatus::Healthy => self.turns(Change::Healthy),
            HealthStatus::Unhealthy => {
                let found = matches!(self.up, Up::Found { .. });
                if found
                    && self.status == HealthStatus::Starting
                    && now_ms < self.begun_ms.saturating_add(hold_ms)
                {
                    return None;
                }
                self.turns(Change::Unhealthy(why.to_owned()))
            }
        }
    }

    fn turns(&mut self, change: Change) -> Option<Task> {
        self.turn(change).map(Task::Changed)
    }

    /// `None` when it is no change.
    fn turn(&mut self, change: Change) -> Option<Change> {
        let (status, why) = match &change {
            Change::Healthy => (HealthStatus::Healthy, None),
            Change::Unhealthy(message) => (HealthStatus::Unhealthy, Some(message.clone())),
        };
        let before = std::mem::replace(&mut self.status, status);
        if before == status {
            // The first sentence stays: each one that differs would be told to the controller.
            return None;
        }
        self.why = why;
        Some(change)
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
