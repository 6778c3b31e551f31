//! Telemetry: measures what `cfg` asks for and publishes it on `telemetry/{node}/{metric}`.
//!
//! One task beside the agent's own, since a sensor or an engine may be slow. It is told what is
//! wanted through a `watch` channel and sleeps without a timer while nothing is: with telemetry
//! off, or without a connection. Messages have QoS 0, so nothing waits for a connection either.

mod own;
mod schedule;

pub(super) use own::Own;

use super::{
    machine::{Machine, Roots, Values, bound},
    sender::Sender,
    shipping::Place,
    simulated,
};
use crate::{
    contract::{Kind, Telemetry as Body},
    model::{Metric, MetricConfig, Name},
    mqtt::Publisher,
    support::clock,
};
use schedule::{Schedule, until};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{self, Instant},
};

/// Instances that are measured: two values each.
const MAX_INSTANCES: usize = super::machine::MAX_VALUES / 2;
/// What is new is measured so much later, so that readers hear of the settings first.
const SETTLE_MS: u64 = 200;
/// For asking all runtimes what their instances use.
const USAGE_PATIENCE: Duration = Duration::from_secs(5);

/// What the task is told.
#[derive(Clone, Default)]
struct Wanted {
    metrics: BTreeMap<Metric, MetricConfig>,
    instances: Vec<Place>,
    /// Counts sessions; `None` without a connection.
    session: Option<u64>,
}

/// The agent's side of the task; dropped, the task ends.
pub(super) struct Telemetry {
    wanted: watch::Sender<Wanted>,
    sessions: u64,
    /// What the agent itself does.
    pub(super) own: Arc<Own>,
}

impl Telemetry {
    /// Starts the task, which waits to be told something.
    /// `body`: of a simulated node, asked instead of the machine.
    pub(super) fn new(
        data_dir: PathBuf,
        body: Option<Arc<dyn simulated::Body>>,
        sender: Arc<Sender>,
        publisher: Publisher,
    ) -> Telemetry {
        let (wanted, receiver) = watch::channel(Wanted::default());
        let own = Arc::new(Own::default());
        let task = Task {
            machine: Machine::new(Roots::default(), data_dir),
            body,
            instances: Instances::default(),
            own: own.clone(),
            schedule: Schedule::default(),
            sender,
            publisher,
        };
        tokio::spawn(task.run(receiver));
        Telemetry {
            wanted,
            sessions: 0,
            own,
        }
    }

    /// The settings in effect.
    pub(super) fn configure(&self, metrics: &BTreeMap<Metric, MetricConfig>) {
        self.wanted.send_if_modified(|w| {
            let differs = w.metrics != *metrics;
            if differs {
                w.metrics.clone_from(metrics);
            }
            differs
        });
    }

    /// A session began (`true`) or ended.
    pub(super) fn connected(&mut self, connected: bool) {
        self.sessions += 1;
        if connected {
            self.own.connected();
        }
        let session = connected.then_some(self.sessions);
        self.wanted.send_modify(|w| w.session = session);
    }

    /// The instances that run. Does not wake the task: they are looked at when it is time.
    pub(super) fn instances(&self, running: &[Place]) {
        self.wanted.send_if_modified(|w| {
            if w.instances != running {
                w.instances = running.to_vec();
            }
            false
        });
    }
}

struct Task {
    machine: Machine,
    body: Option<Arc<dyn simulated::Body>>,
    instances: Instances,
    own: Arc<Own>,
    schedule: Schedule,
    sender: Arc<Sender>,
    publisher: Publisher,
}

impl Task {
    async fn run(mut self, mut wanted: watch::Receiver<Wanted>) {
        let mut session = None;
        loop {
            let now = clock::mono_ms();
            {
                let w = wanted.borrow_and_update();
                self.schedule.configure(&w.metrics, now + SETTLE_MS);
                if w.session.is_some() && w.session != session {
                    self.schedule.begin_session(now + SETTLE_MS);
                }
                session = w.session;
            }
            let due = self.schedule.next_due().filter(|_| session.is_some());
            let Some(due) = due else {
                if wanted.changed().await.is_err() {
                    return;
                }
                continue;
            };
            tokio::select! {
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = time::sleep(until(due, now)) => {
                    let running = wanted.borrow().instances.clone();
                    self.measure_what_is_due(&running).await;
                }
            }
        }
    }

    async fn measure_what_is_due(&mut self, running: &[Place]) {
        for metric in self.schedule.due(clock::mono_ms()) {
            let values = match metric {
                Metric::Instances => self.instances.measure(running).await,
                // All simulated agents are one process.
                Metric::Agent if self.body.is_none() => self.own.measure(),
                _ => match self.measure(metric).await {
                    Some(values) => values,
                    None => continue,
                },
            };
            if values.is_empty() && !self.schedule.has_sent(metric) {
                // A share of time needs two readings, and this may have been the first.
                if matches!(metric, Metric::Cpu | Metric::Instances) {
                    self.schedule.again_soon(metric, clock::mono_ms());
                }
                continue;
            }
            if self.schedule.is_news(metric, &values) && self.publish(metric, &values) {
                self.schedule.sent(metric, values);
            }
        }
    }

    /// Off the runtime's threads: some sensors take most of a second. `None` when the process ends.
    async fn measure(&mut self, metric: Metric) -> Option<Values> {
        if let Some(body) = &self.body {
            return Some(body.measure(metric));
        }
        if !matches!(metric, Metric::Temperature | Metric::Throttling) {
            return Some(self.machine.measure(metric));
        }
        let mut machine = Machine::new(self.machine.roots().clone(), PathBuf::new());
        tokio::task::spawn_blocking(move || machine.measure(metric))
            .await
            .ok()
    }

    fn publish(&self, metric: Metric, values: &Values) -> bool {
        let Ok(detail) = metric.as_str().parse::<Name>() else {
            return false;
        };
        let body = Body {
            at: clock::unix_ms(),
            values: values.clone(),
        };
        self.sender
            .post(&self.publisher, Kind::Telemetry, Some(&detail), &body)
    }
}

/// What instances use: of each `web.cpu`, percent of one core, and `web.memory`, bytes.
#[derive(Default)]
struct Instances {
    /// By instance: which one it was, its processor time in microseconds, and when.
    last: BTreeMap<Name, (String, u64, Instant)>,
    begun: bool,
}

impl Instances {
    async fn measure(&mut self, running: &[Place]) -> Values {
        let mut values = Values::new();
        let mut now = BTreeMap::new();
        let deadline = Instant::now() + USAGE_PATIENCE;
        for place in running.iter().take(MAX_INSTANCES) {
            // An engine that hangs costs the others of this round, and nothing else.
            let asked = time::timeout_at(deadline, place.runtime.usage(&place.handle)).await;
            let Ok(usage) = asked else {
                break;
            };
            let Some(usage) = usage else {
                continue;
            };
            let at = Instant::now();
            let name = &place.instance;
            let before = self.last.get(name).filter(|(h, ..)| *h == place.handle);
            let used = before.and_then(|(_, cpu_us, then)| {
                share(*cpu_us, usage.cpu_us, at.duration_since(*then))
            });
            if let Some(used) = used {
                values.insert(format!("{name}.cpu"), used);
            }
            values.insert(format!("{name}.memory"), usage.memory as f64);
            now.insert(name.clone(), (place.handle.clone(), usage.cpu_us, at));
        }
        self.last = now;
        if std::mem::replace(&mut self.begun, true) {
            bound(&mut values);
            return values;
        }
        // The share of a processor needs two readings: the first one only begins.
        Values::new()
    }
}

/// Percent of one core, to a tenth; `None` when it cannot be told: it was started again, or no
/// time has passed.
fn share(before_us: u64, now_us: u64, passed: Duration) -> Option<f64> {
    let used = now_us.checked_sub(before_us)?;
    let passed = passed.as_micros();
    (passed > 0).then(|| (1_000.0 * used as f64 / passed as f64).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_a_core() {
        let second = Duration::from_secs(1);
        for (before, now, passed, expected) in [
            (0, 500_000, second, Some(50.0)),
            (1_000_000, 3_500_000, second, Some(250.0)),
            (7, 7, second, Some(0.0)),
            (8, 7, second, None),
            (0, 7, Duration::ZERO, None),
            (0, 1_234, second, Some(0.1)),
        ] {
            assert_eq!(share(before, now, passed), expected, "{before} {now}");
        }
    }
}
