//! Heartbeats: small, and smaller still when nothing has changed.

use super::{facts, simulated::Body};
use crate::contract::HeartbeatBody;
use std::{path::PathBuf, sync::Arc};
use sysinfo::{Components, MemoryRefreshKind, System};

/// Every so many heartbeats all fields are sent.
const FULL_EVERY: u32 = 10;

/// Measures the machine and remembers what was sent.
pub(super) struct Pulse {
    system: Option<System>,
    sensors: Option<Components>,
    data_dir: PathBuf,
    /// Of a simulated node: asked instead of the machine.
    body: Option<Arc<dyn Body>>,
    sent: HeartbeatBody,
    since_full: u32,
}

/// What a heartbeat says of the machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Vitals {
    pub(crate) cpu: Option<f32>,
    pub(crate) memory: Option<f32>,
    pub(crate) disk: Option<f32>,
    pub(crate) load: Option<f32>,
    pub(crate) temperature: Option<f32>,
    pub(crate) uptime: u64,
}

/// What the agent knows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) running: u32,
    pub(super) failed: u32,
    pub(super) generation: u64,
    pub(super) state_digest: String,
}

impl Pulse {
    pub(super) fn new(data_dir: PathBuf) -> Pulse {
        Pulse {
            system: System::new().ok(),
            sensors: None,
            data_dir,
            body: None,
            sent: HeartbeatBody::default(),
            since_full: 0,
        }
    }

    /// Of a simulated node.
    pub(super) fn simulated(body: Arc<dyn Body>) -> Pulse {
        Pulse {
            system: None,
            sensors: None,
            data_dir: PathBuf::new(),
            body: Some(body),
            sent: HeartbeatBody::default(),
            since_full: 0,
        }
    }

    /// A session has begun: its first heartbeat has all fields.
    pub(super) fn begin_session(&mut self) {
        self.sent = HeartbeatBody::default();
        self.since_full = 0;
    }

    /// Looks at the machine.
    fn look(&mut self) -> Vitals {
        if let Some(body) = &self.body {
            return body.vitals();
        }
        let (cpu, memory) = self.system.as_mut().map_or((None, None), |system| {
            system.refresh_cpu_usage();
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            let memory = 100.0 * system.used_memory() as f32 / system.total_memory().max(1) as f32;
            (
                Some(system.global_cpu_usage().round()),
                Some(memory.round()),
            )
        });
        let disk =
            facts::disk(&self.data_dir).map(|(t, used)| 100.0 * used as f32 / t.max(1) as f32);
        Vitals {
            cpu,
            memory,
            disk: disk.map(f32::round),
            load: System::load_average()
                .ok()
                .map(|l| (l.one as f32 * 10.0).round() / 10.0),
            temperature: self.temperature().map(f32::round),
            uptime: System::uptime().unwrap_or(0),
        }
    }

    /// The next heartbeat.
    pub(super) fn beat(&mut self, work: &Work) -> HeartbeatBody {
        let Vitals {
            cpu,
            memory,
            disk,
            load,
            temperature,
            uptime,
        } = self.look();
        let now = HeartbeatBody {
            cpu,
            memory,
            disk,
            load,
            temperature,
            uptime,
            running: Some(work.running),
            failed: Some(work.failed),
            generation: Some(work.generation),
            state: Some(work.state_digest.clone()),
        };
        if self.since_full.is_multiple_of(FULL_EVERY) {
            self.since_full = 1;
            self.sent = now.clone();
            return now;
        }
        self.since_full += 1;
        let sent = &mut self.sent;
        HeartbeatBody {
            cpu: moved(&mut sent.cpu, now.cpu, 5.0),
            memory: moved(&mut sent.memory, now.memory, 2.0),
            disk: moved(&mut sent.disk, now.disk, 1.0),
            load: moved(&mut sent.load, now.load, 0.5),
            temperature: moved(&mut sent.temperature, now.temperature, 2.0),
            uptime: now.uptime,
            running: changed(&mut sent.running, now.running),
            failed: changed(&mut sent.failed, now.failed),
            generation: changed(&mut sent.generation, now.generation),
            state: changed(&mut sent.state, now.state),
        }
    }

    /// The hottest sensor.
    fn temperature(&mut self) -> Option<f32> {
        match &mut self.sensors {
            Some(sensors) => sensors.refresh(false),
            none => *none = Components::new_with_refreshed_list().ok(),
        }
        let all = self
            .sensors
            .iter()
            .flat_map(|s| s.iter())
            .filter_map(|c| c.temperature());
        all.filter(|t| t.is_finite()).reduce(f32::max)
    }
}

/// `now`, when it is at least `step` away from what was sent.
fn moved(sent: &mut Option<f32>, now: Option<f32>, step: f32) -> Option<f32> {
    let same = match (*sent, now) {
        (Some(a), Some(b)) => (a - b).abs() < step,
        (_, None) => true,
        (None, Some(_)) => false,
    };
    if same {
        return None;
    }
    *sent = now;
    now
}

/// `now`, when it is not what was sent.
fn changed<T: PartialEq + Clone>(sent: &mut Option<T>, now: Option<T>) -> Option<T> {
    if *sent == now {
        return None;
    }
    sent.clone_from(&now);
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_moved_is_left_out() {
        let mut pulse = Pulse::new("/".into());
        let work = Work {
            running: 1,
            failed: 0,
            generation: 3,
            state_digest: "abc".into(),
        };
        let first = pulse.beat(&work);
        assert_eq!((first.running, first.generation), (Some(1), Some(3)));
        assert!(first.memory.is_some() && first.disk.is_some());
        let second = pulse.beat(&work);
        assert_eq!(
            (second.running, second.generation, second.state),
            (None, None, None)
        );
        let third = pulse.beat(&Work {
            running: 2,
            ..work.clone()
        });
        assert_eq!(third.running, Some(2));
        for _ in 3..10 {
            assert_eq!(pulse.beat(&work).generation, None);
        }
        assert_eq!(pulse.beat(&work).generation, Some(3));
    }
}
