//! An hour of what a node measured, in memory: seven series in steps of ten seconds.
//!
//! Pure: time comes in as Unix milliseconds. A step holds the last value that was measured in it.
//! Agents say nothing while nothing changes, so a value that comes soon after the one before fills
//! the steps between; after a longer silence they stay empty, and nobody takes them for measured.
//!
//! A series costs its room from its first value on: 1,440 bytes, and of all seven 10 KiB.

use crate::{
    contract::HeartbeatBody,
    fleet::Reading,
    model::{Metric, UnixMs},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// One step, milliseconds.
pub(super) const STEP_MS: u64 = 10_000;
/// An hour of them.
const STEPS: usize = 360;

/// What a node measured over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeHistory {
    /// From one time to the next, milliseconds.
    pub step_ms: u64,
    /// Where the steps begin, Unix milliseconds on the controller's clock, without a gap.
    pub times: Vec<UnixMs>,
    /// `cpu`, `memory`, `disk` (percent), `temperature` (degrees Celsius), `network_rx`,
    /// `network_tx` (bytes a second), `load`: of each as many values as there are times; null where
    /// nothing was measured.
    pub series: BTreeMap<String, Vec<Option<f32>>>,
}

/// One series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Series {
    Cpu,
    Memory,
    Disk,
    Temperature,
    NetworkRx,
    NetworkTx,
    Load,
}

impl Series {
    const ALL: [Series; 7] = [
        Series::Cpu,
        Series::Memory,
        Series::Disk,
        Series::Temperature,
        Series::NetworkRx,
        Series::NetworkTx,
        Series::Load,
    ];

    fn name(self) -> &'static str {
        match self {
            Series::Cpu => "cpu",
            Series::Memory => "memory",
            Series::Disk => "disk",
            Series::Temperature => "temperature",
            Series::NetworkRx => "network_rx",
            Series::NetworkTx => "network_tx",
            Series::Load => "load",
        }
    }
}

/// What stands in the steps between two values that are near enough to each other.
#[derive(Debug, Clone, Copy)]
enum Between {
    /// The older one: it had not changed noticeably.
    Held,
    /// The newer one: it is the mean of all that time.
    Mean,
}

/// The last hour of one node.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    tracks: [Option<Box<Track>>; Series::ALL.len()],
}

/// The last hour of one series.
#[derive(Debug, Clone)]
struct Track {
    /// The step of the newest value.
    newest: u64,
    /// By step modulo [`STEPS`]; not a number where nothing was measured.
    values: [f32; STEPS],
}

impl History {
    /// Takes a heartbeat. `silence_ms`: a longer one means that something was missed. What it leaves
    /// out is as it was.
    pub(super) fn heartbeat(&mut self, body: &HeartbeatBody, at: UnixMs, silence_ms: u64) {
        for (series, value) in [
            (Series::Cpu, body.cpu),
            (Series::Memory, body.memory),
            (Series::Disk, body.disk),
            (Series::Temperature, body.temperature),
            (Series::Load, body.load),
        ] {
            if let Some(value) = value.or_else(|| self.last(series)) {
                self.record(series, at, value, Between::Held, silence_ms);
            }
        }
    }

    /// Takes a measurement; `before` is the last one of the same metric.
    pub(super) fn telemetry(
        &mut self,
        metric: Metric,
        before: Option<&Reading>,
        now: &Reading,
        silence_ms: u64,
    ) {
        let one = |name: &str| now.values.get(name).map(|v| *v as f32);
        let (series, value) = match metric {
            Metric::Cpu => (Series::Cpu, one("total")),
            Metric::Memory => (Series::Memory, one("percent")),
            Metric::Disk => (Series::Disk, one("percent")),
            Metric::Load => (Series::Load, one("1m")),
            // The hottest sensor, as in heartbeats.
            Metric::Temperature => {
                let hottest = now.values.values().copied().reduce(f64::max);
                (Series::Temperature, hottest.map(|v| v as f32))
            }
            Metric::Network => {
                let rates = before.and_then(|before| rates(before, now));
                if let Some((received, sent)) = rates {
                    let (at, mean) = (now.heard_ms, Between::Mean);
                    self.record(Series::NetworkRx, at, received, mean, silence_ms);
                    self.record(Series::NetworkTx, at, sent, mean, silence_ms);
                }
                return;
            }
            Metric::Throttling | Metric::Uptime | Metric::Instances | Metric::Agent => return,
        };
        if let Some(value) = value {
            self.record(series, now.heard_ms, value, Between::Held, silence_ms);
        }
    }

    /// What is known of the time from `from` to `to`, both included; an hour at most, and nothing
    /// that is to come.
    pub(super) fn between(&self, from: UnixMs, to: UnixMs, now: UnixMs) -> NodeHistory {
        let last = to.min(now) / STEP_MS;
        let earliest = (now / STEP_MS).saturating_sub(STEPS as u64 - 1);
        let steps = (from / STEP_MS).max(earliest)..=last;
        let of = |series: Series| {
            let track = self.tracks[series as usize].as_ref();
            let values = steps.clone().map(|step| track.and_then(|t| t.at(step)));
            (series.name().to_owned(), values.collect())
        };
        NodeHistory {
            step_ms: STEP_MS,
            times: steps.clone().map(|step| step * STEP_MS).collect(),
            series: Series::ALL.into_iter().map(of).collect(),
        }
    }

    fn last(&self, series: Series) -> Option<f32> {
        let track = self.tracks[series as usize].as_ref()?;
        track.at(track.newest)
    }

    fn record(&mut self, series: Series, at: UnixMs, value: f32, fill: Between, silence_ms: u64) {
        if !value.is_finite() {
            return;
        }
        let step = at / STEP_MS;
        let track = self.tracks[series as usize].get_or_insert_with(|| {
            Box::new(Track {
                newest: step,
                values: [f32::NAN; STEPS],
            })
        });
        track.put(step, value, fill, silence_ms / STEP_MS);
    }

    /// Bytes that it takes.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        let tracks = self.tracks.iter().flatten().count();
        size_of::<History>() + tracks * size_of::<Track>()
    }
}

impl Track {
    fn at(&self, step: u64) -> Option<f32> {
        let kept = step <= self.newest && self.newest - step < STEPS as u64;
        let value = self.values[slot(step)];
        (kept && !value.is_nan()).then_some(value)
    }

    fn put(&mut self, step: u64, value: f32, fill: Between, silence: u64) {
        if step < self.newest {
            // The clock was set back: what stands ahead of it would come true again, wrongly.
            for ahead in (step + 1..=self.newest).take(STEPS) {
                self.values[slot(ahead)] = f32::NAN;
            }
        } else if step - self.newest > 1 {
            let between = match fill {
                _ if step - self.newest > silence => f32::NAN,
                Between::Held => self.values[slot(self.newest)],
                Between::Mean => value,
            };
            for missed in (self.newest + 1..step).rev().take(STEPS) {
                self.values[slot(missed)] = between;
            }
        }
        self.newest = step;
        self.values[slot(step)] = value;
    }
}

fn slot(step: u64) -> usize {
    // Smaller than `STEPS`.
    (step % STEPS as u64) as usize
}

/// Bytes a second, received and sent, over all interfaces that lead out of the machine. What goes
/// through a bridge or a tunnel goes through one of these too. `None` without two readings that can
/// be compared.
fn rates(before: &Reading, now: &Reading) -> Option<(f32, f32)> {
    let ms = now.heard_ms.checked_sub(before.heard_ms)?;
    if ms < 500 {
        return None;
    }
    let inner = ["br", "cni", "docker", "podman", "tap", "tun", "virbr", "wg"];
    let mut compared = false;
    let mut more = |what: &str| -> f64 {
        let interfaces = now.values.iter().filter_map(|(name, count)| {
            let interface = name.strip_suffix(what)?;
            let own = !inner.iter().any(|prefix| interface.starts_with(prefix));
            own.then_some((name, count))
        });
        let mut sum = 0.0;
        for (name, count) in interfaces {
            // A counter that is smaller has begun anew, and an interface that is new did nothing yet.
            if let Some(more) = before.values.get(name).map(|b| count - b)
                && more >= 0.0
            {
                compared = true;
                sum += more;
            }
        }
        sum
    };
    let (received, sent) = (more(".received"), more(".sent"));
    let a_second = |bytes: f64| (bytes * 1_000.0 / ms as f64) as f32;
    compared.then(|| (a_second(received), a_second(sent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const SILENCE: u64 = 30_000;

    fn reading(at: u64, values: &[(&str, f64)]) -> Reading {
        Reading {
            at: 0,
            heard_ms: at,
            values: values.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect(),
        }
    }

    fn cpu(value: f32) -> HeartbeatBody {
        HeartbeatBody {
            cpu: Some(value),
            ..Default::default()
        }
    }

    fn shown(history: &History, series: &str, from: u64, now: u64) -> Vec<Option<f32>> {
        history.between(from, now, now).series[series].clone()
    }

    #[test]
    fn an_hour_of_everything_takes_less_than_20_kib() {
        let mut history = History::default();
        assert!(history.bytes() < 100, "nothing is nearly free");
        let all = HeartbeatBody {
            cpu: Some(1.0),
            memory: Some(2.0),
            disk: Some(3.0),
            load: Some(4.0),
            temperature: Some(5.0),
            ..Default::default()
        };
        for second in 0..2 * 3_600 {
            let at = second * 1_000;
            history.heartbeat(&all, at, SILENCE);
            let bytes = second as f64;
            let before = reading(at, &[("eth0.received", bytes), ("eth0.sent", bytes)]);
            let now = reading(at + 999, &[("eth0.received", bytes), ("eth0.sent", bytes)]);
            history.telemetry(Metric::Network, Some(&before), &now, SILENCE);
        }
        assert!(history.bytes() <= 20 << 10, "{} bytes", history.bytes());
        let told = history.between(0, u64::MAX, 2 * HOUR - 1);
        assert_eq!(told.times.len(), STEPS);
        assert_eq!(told.times[0], HOUR);
        for (name, values) in &told.series {
            assert_eq!(values.len(), STEPS, "{name}");
            assert!(values.iter().all(Option::is_some), "{name}");
        }
    }

    #[test]
    fn what_is_not_said_again_is_held_and_a_silence_is_a_gap() {
        let mut history = History::default();
        history.heartbeat(&cpu(10.0), HOUR, SILENCE);
        // It left out what had not changed.
        history.heartbeat(&HeartbeatBody::default(), HOUR + 20_000, SILENCE);
        history.heartbeat(&cpu(30.0), HOUR + 70_000, SILENCE);
        let (ten, thirty) = (Some(10.0), Some(30.0));
        assert_eq!(
            shown(&history, "cpu", HOUR - 10_000, HOUR + 85_000),
            [None, ten, ten, ten, None, None, None, None, thirty, None]
        );
        let memory = shown(&history, "memory", HOUR, HOUR + 20_000);
        assert_eq!(memory, [None; 3], "it was never measured");
    }

    #[test]
    fn the_network_is_shown_as_bytes_a_second() {
        let mut history = History::default();
        let first = reading(
            HOUR,
            &[
                ("eth0.received", 1_000.0),
                ("eth0.sent", 9_000.0),
                ("docker0.received", 1.0),
                ("wlan0.sent", 10.0),
            ],
        );
        let second = reading(
            HOUR + 20_000,
            &[
                ("eth0.received", 41_000.0),
                ("eth0.receive_errors", 5e9),
                ("eth0.sent", 100.0),
                ("docker0.received", 1e9),
                ("wlan0.received", 1e9),
                ("wlan0.sent", 2_010.0),
            ],
        );
        history.telemetry(Metric::Network, None, &first, SILENCE);
        history.telemetry(Metric::Network, Some(&first), &second, SILENCE);
        let at = HOUR + 20_000;
        assert_eq!(shown(&history, "network_rx", at, at), [Some(2_000.0)]);
        assert_eq!(shown(&history, "network_tx", at, at), [Some(100.0)]);
        // The next one is the mean of all the time since.
        let third = reading(HOUR + 40_000, &[("eth0.received", 61_000.0)]);
        history.telemetry(Metric::Network, Some(&second), &third, SILENCE);
        let since = shown(&history, "network_rx", at, HOUR + 40_000);
        assert_eq!(since, [Some(2_000.0), Some(1_000.0), Some(1_000.0)]);
    }

    #[test]
    fn telemetry_fills_the_same_series_as_heartbeats() {
        let mut history = History::default();
        for (metric, values, series, expected) in [
            (Metric::Cpu, [("total", 20.0), ("0", 90.0)], "cpu", 20.0),
            (
                Metric::Memory,
                [("percent", 75.0), ("used", 9.0)],
                "memory",
                75.0,
            ),
            (
                Metric::Disk,
                [("percent", 50.0), ("used", 9.0)],
                "disk",
                50.0,
            ),
            (Metric::Load, [("1m", 1.5), ("5m", 9.0)], "load", 1.5),
            (
                Metric::Temperature,
                [("a", 40.0), ("b", 60.0)],
                "temperature",
                60.0,
            ),
        ] {
            history.telemetry(metric, None, &reading(HOUR, &values), SILENCE);
            assert_eq!(shown(&history, series, HOUR, HOUR), [Some(expected)]);
        }
        let infinite = [("total", 1e300)];
        history.telemetry(Metric::Cpu, None, &reading(HOUR, &infinite), SILENCE);
        assert_eq!(shown(&history, "cpu", HOUR, HOUR), [Some(20.0)]);
    }

    #[test]
    fn a_clock_that_jumps_leaves_nothing_that_was_not_measured() {
        let mut history = History::default();
        for step in 0..400 {
            history.heartbeat(&cpu(1.0), 10 * HOUR + step * STEP_MS, SILENCE);
        }
        // Back by a day, by a little, and forward by a year.
        for (at, expected) in [(5 * HOUR, 1), (5 * HOUR - 60_000, 1), (9_000 * HOUR, 1)] {
            history.heartbeat(&cpu(2.0), at, SILENCE);
            let told = shown(&history, "cpu", 0, at);
            let values: Vec<f32> = told.into_iter().flatten().collect();
            assert_eq!(values, vec![2.0; expected]);
        }
        assert_eq!(history.between(0, u64::MAX, u64::MAX).times.len(), STEPS);
        assert!(history.between(HOUR, 0, 9_000 * HOUR).times.is_empty());
        assert!(history.between(u64::MAX, u64::MAX, HOUR).times.is_empty());
    }
}
