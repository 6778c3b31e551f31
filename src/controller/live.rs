//! What is true only now, held in memory and bounded: of each node the last heartbeat, the last
//! value of each metric, an hour of what it measured ([`super::history`]), and the configuration
//! that it says it has.

use super::{
    history::{History, NodeHistory, STEP_MS},
    plain,
};
use crate::{
    contract::{HeartbeatBody, Telemetry},
    fleet::{Reading, ReportedConfig},
    model::{Heartbeat, Metric, Name, NodeConfig, UnixMs, Unmanaged},
};
use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// Values that are kept of one metric.
const MAX_VALUES: usize = 200;
/// Bytes of the name of a value.
const MAX_VALUE_NAME: usize = 128;
/// Nodes whose history is kept: 100 MiB of it at most.
const MAX_HISTORIES: usize = 10_000;

/// What nodes said last.
#[derive(Debug, Default)]
pub struct Live {
    nodes: RwLock<BTreeMap<Name, Told>>,
}

/// What one node said last.
#[derive(Debug, Default)]
struct Told {
    heartbeat: Option<Heartbeat>,
    telemetry: BTreeMap<Metric, Reading>,
    config: Option<ReportedConfig>,
    discovered: Vec<Unmanaged>,
    /// `None` of a node that came when there were too many.
    history: Option<History>,
}

impl Told {
    /// Heartbeats that come later than this after each other mean that one was missed.
    fn heartbeat_silence_ms(&self) -> u64 {
        let config = self.config.as_ref().map(|r| &r.config);
        let interval = config.map_or_else(
            || NodeConfig::default().heartbeat_interval_ms,
            |c| c.heartbeat_interval_ms,
        );
        interval.saturating_mul(2).saturating_add(STEP_MS)
    }

    /// The same of measurements, which are left out while they do not move much.
    fn silence_ms(&self, metric: Metric) -> u64 {
        let config = self.config.as_ref().map(|r| &r.config);
        let metric = config.and_then(|c| c.telemetry.get(&metric).copied());
        let metric = metric.unwrap_or_default();
        let left_out = if metric.change_threshold > 0.0 { 11 } else { 2 };
        let silence = metric.interval_ms.saturating_mul(left_out);
        silence.saturating_add(STEP_MS)
    }
}

/// What one node said last, to be changed.
fn told<'a>(all: &'a mut BTreeMap<Name, Told>, node: &Name) -> &'a mut Told {
    let room = all.len() < MAX_HISTORIES;
    all.entry(node.clone()).or_insert_with(|| Told {
        history: room.then(History::default),
        ..Told::default()
    })
}

impl Live {
    /// Takes a heartbeat; what it leaves out stays as it was.
    pub fn take(&self, node: &Name, body: &HeartbeatBody, now: UnixMs) {
        let mut all = self.write();
        let told = told(&mut all, node);
        let h = told.heartbeat.get_or_insert_default();
        h.heard_ms = now;
        h.uptime_s = body.uptime;
        h.cpu = body.cpu.unwrap_or(h.cpu);
        h.memory = body.memory.unwrap_or(h.memory);
        h.disk = body.disk.unwrap_or(h.disk);
        h.load = body.load.unwrap_or(h.load);
        h.temperature = body.temperature.or(h.temperature);
        h.running = body.running.unwrap_or(h.running);
        h.failed = body.failed.unwrap_or(h.failed);
        h.generation = body.generation.unwrap_or(h.generation);
        if let Some(digest) = &body.state {
            h.state_digest.clone_from(digest);
        }
        let silence_ms = told.heartbeat_silence_ms();
        if let Some(history) = &mut told.history {
            history.heartbeat(body, now, silence_ms);
        }
    }

    /// Takes a measurement, in place of the one before. Values that are no numbers, and those that
    /// are too many, are left out; and so is what was on its way when it was turned off.
    pub fn take_telemetry(&self, node: &Name, metric: Metric, body: Telemetry, now: UnixMs) {
        let values = body
            .values
            .into_iter()
            .filter(|(_, v)| v.is_finite())
            .map(|(name, value)| (plain::text(&name, MAX_VALUE_NAME), value))
            .filter(|(name, _)| !name.is_empty())
            .take(MAX_VALUES)
            .collect();
        let reading = Reading {
            at: body.at,
            heard_ms: now,
            values,
        };
        let mut all = self.write();
        let told = told(&mut all, node);
        let off = |r: &ReportedConfig| !r.config.telemetry.get(&metric).is_some_and(|m| m.enabled);
        if told.config.as_ref().is_some_and(off) {
            return;
        }
        let silence_ms = told.silence_ms(metric);
        if let Some(history) = &mut told.history {
            let before = told.telemetry.get(&metric);
            history.telemetry(metric, before, &reading, silence_ms);
        }
        told.telemetry.insert(metric, reading);
    }

    /// Takes the configuration that a node has in effect. What it does not measure any more is
    /// forgotten: an old value must not look like a new one.
    pub fn take_config(&self, node: &Name, config: NodeConfig, now: UnixMs) {
        let mut all = self.write();
        let told = told(&mut all, node);
        told.telemetry
            .retain(|metric, _| config.telemetry.get(metric).is_some_and(|m| m.enabled));
        told.config = Some(ReportedConfig {
            heard_ms: now,
            config,
        });
    }

    /// Takes the containers of others that a node announces.
    pub fn take_discovered(&self, node: &Name, discovered: Vec<Unmanaged>) {
        told(&mut self.write(), node).discovered = discovered;
    }

    /// Containers of others that a node announced last.
    pub fn discovered(&self, node: &str) -> Vec<Unmanaged> {
        let all = self.read();
        all.get(node)
            .map_or_else(Vec::new, |t| t.discovered.clone())
    }

    /// The last heartbeat of a node.
    pub fn get(&self, node: &str) -> Option<Heartbeat> {
        self.read().get(node)?.heartbeat.clone()
    }

    /// The last value of each metric of a node.
    pub fn telemetry(&self, node: &str) -> BTreeMap<Metric, Reading> {
        let all = self.read();
        all.get(node)
            .map_or_else(BTreeMap::new, |t| t.telemetry.clone())
    }

    /// What a node measured from `from` to `to`; of one that said nothing, only nulls.
    pub fn history(&self, node: &str, from: UnixMs, to: UnixMs, now: UnixMs) -> NodeHistory {
        let all = self.read();
        let history = all.get(node).and_then(|t| t.history.as_ref());
        match history {
            Some(history) => history.between(from, to, now),
            None => History::default().between(from, to, now),
        }
    }

    /// The configuration that a node says it has; `None` until it said so.
    pub fn config(&self, node: &str) -> Option<ReportedConfig> {
        self.read().get(node)?.config.clone()
    }

    /// Calls `visit` with the last heartbeat of every node that had one, by name.
    pub fn each_heartbeat(&self, mut visit: impl FnMut(&Name, &Heartbeat)) {
        for (node, told) in self.read().iter() {
            if let Some(heartbeat) = &told.heartbeat {
                visit(node, heartbeat);
            }
        }
    }

    /// Calls `visit` with the last values of every metric of the nodes that `wanted` picks, by
    /// name and metric. Stops when `visit` says `false`.
    pub fn each_reading(
        &self,
        wanted: impl Fn(&Name) -> bool,
        mut visit: impl FnMut(&Name, Metric, &BTreeMap<String, f64>) -> bool,
    ) {
        let all = self.read();
        for (node, told) in all.iter().filter(|(name, _)| wanted(name)) {
            for (metric, reading) in &told.telemetry {
                if !visit(node, *metric, &reading.values) {
                    return;
                }
            }
        }
    }

    /// Calls `visit` with one value of every node that measures it, by name, and when it was heard.
    pub fn each_of(&self, metric: Metric, value: &str, mut visit: impl FnMut(&Name, f64, UnixMs)) {
        for (node, told) in self.read().iter() {
            if let Some(reading) = told.telemetry.get(&metric)
                && let Some(number) = reading.values.get(value)
            {
                visit(node, *number, reading.heard_ms);
            }
        }
    }

    /// A node was removed.
    pub fn forget(&self, node: &str) {
        self.write().remove(node);
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Name, Told>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Name, Told>> {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MetricConfig;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn values(count: usize) -> Telemetry {
        Telemetry {
            at: 1,
            values: (0..count).map(|n| (format!("v{n:04}"), 1.0)).collect(),
        }
    }

    #[test]
    fn a_measurement_is_bounded_plain_and_replaces_the_one_before() {
        let live = Live::default();
        let pi = name("pi");
        let mut body = values(1_000);
        body.values.insert("\u{1b}[31m".into(), 2.0);
        body.values.insert("\u{1b}[31m\u{7}red".into(), 2.0);
        body.values.insert("0".into(), f64::INFINITY);
        live.take_telemetry(&pi, Metric::Cpu, body, 5);
        let told = live.telemetry("pi");
        let cpu = &told[&Metric::Cpu].values;
        assert_eq!(cpu.len(), MAX_VALUES);
        assert!(cpu.contains_key(" red") && !cpu.contains_key("0"));
        assert!(!cpu.contains_key(""));
        live.take_telemetry(&pi, Metric::Cpu, values(1), 9);
        let told = live.telemetry("pi");
        assert_eq!(told[&Metric::Cpu].heard_ms, 9);
        assert_eq!(told[&Metric::Cpu].values.len(), 1);
        live.forget("pi");
        assert!(live.telemetry("pi").is_empty());
    }

    #[test]
    fn what_is_not_measured_any_more_is_forgotten() {
        let live = Live::default();
        let pi = name("pi");
        for metric in [Metric::Cpu, Metric::Load] {
            live.take_telemetry(&pi, metric, values(1), 5);
        }
        let mut config = NodeConfig::default();
        config
            .telemetry
            .insert(Metric::Cpu, MetricConfig::default());
        live.take_config(&pi, config.clone(), 7);
        live.take_telemetry(&pi, Metric::Load, values(1), 8);
        let left: Vec<Metric> = live.telemetry("pi").into_keys().collect();
        assert_eq!(left, [Metric::Cpu]);
        let heard = live.config("pi").unwrap();
        assert_eq!((heard.heard_ms, heard.config), (7, config));
        assert_eq!(live.get("pi"), None, "it sent no heartbeat");
    }

    fn cpu_of(live: &Live, node: &str, now: UnixMs) -> Vec<Option<f32>> {
        let told = live.history(node, now, now, now);
        told.series["cpu"].clone()
    }

    #[test]
    fn a_nodes_hour_is_kept_until_it_is_removed() {
        let live = Live::default();
        let (pi, at) = (name("pi"), 36_000_000);
        let body = HeartbeatBody {
            cpu: Some(12.5),
            ..HeartbeatBody::default()
        };
        live.take(&pi, &body, at);
        assert_eq!(cpu_of(&live, "pi", at), [Some(12.5)]);
        // Heartbeats every minute are no silence, where the node was told to be so slow.
        let config = NodeConfig {
            heartbeat_interval_ms: 60_000,
            ..NodeConfig::default()
        };
        live.take_config(&pi, config, at);
        live.take(&pi, &body, at + 60_000);
        assert_eq!(cpu_of(&live, "pi", at + 30_000), [Some(12.5)]);
        assert_eq!(cpu_of(&live, "nobody", at), [None]);
        live.forget("pi");
        assert_eq!(cpu_of(&live, "pi", at + 60_000), [None]);
    }

    #[test]
    fn only_so_many_nodes_have_a_history() {
        let live = Live::default();
        let body = HeartbeatBody {
            cpu: Some(1.0),
            ..HeartbeatBody::default()
        };
        for n in 0..=MAX_HISTORIES {
            live.take_discovered(&name(&format!("n{n}")), Vec::new());
        }
        for n in [0, MAX_HISTORIES - 1, MAX_HISTORIES] {
            live.take(&name(&format!("n{n}")), &body, 36_000_000);
        }
        let last = format!("n{}", MAX_HISTORIES - 1);
        assert_eq!(cpu_of(&live, &last, 36_000_000), [Some(1.0)]);
        let late = format!("n{MAX_HISTORIES}");
        assert_eq!(cpu_of(&live, &late, 36_000_000), [None]);
        assert!(live.get(&late).is_some(), "it is heard all the same");
    }

    #[test]
    fn readings_and_heartbeats_are_visited_in_order_until_somebody_has_enough() {
        let live = Live::default();
        for node in ["c", "a", "b"] {
            live.take_telemetry(&name(node), Metric::Load, values(3), 5);
            live.take_telemetry(&name(node), Metric::Cpu, values(2), 5);
        }
        let seen = |most: usize| {
            let mut seen = Vec::new();
            let online = |n: &Name| n.as_str() != "b";
            live.each_reading(online, |node, metric, values| {
                seen.push((node.to_string(), metric, values.len()));
                seen.len() < most
            });
            seen
        };
        let all = ["a", "c"].map(|n| [(n.into(), Metric::Cpu, 2), (n.into(), Metric::Load, 3)]);
        assert_eq!(seen(10), all.concat());
        assert_eq!(seen(1), all.concat()[..1]);
        let mut beats = Vec::new();
        live.take(&name("c"), &HeartbeatBody::default(), 9);
        live.each_heartbeat(|node, h| beats.push((node.to_string(), h.heard_ms)));
        assert_eq!(beats, [("c".to_owned(), 9)]);
    }
}
