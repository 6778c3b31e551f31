//! Whatever is seen, in whatever order.

use super::*;
use proptest::prelude::*;

/// Something happens between two looks.
#[derive(Debug, Clone)]
enum Step {
    Disk(u8, f64),
    Presence(u8, Presence),
    Instance(u8, InstanceState, u32),
    Gone(u8),
    Silence(u8, u64),
    Early(bool),
    /// The controller starts again.
    Restart,
}

fn node_of(n: u8) -> Name {
    name(["a", "b", "c"][usize::from(n % 3)])
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let presence = prop::sample::select(vec![
        Presence::Online,
        Presence::Online,
        Presence::Silent,
        Presence::Offline,
    ]);
    let state = prop::sample::select(vec![
        InstanceState::Running,
        InstanceState::CrashLoop,
        InstanceState::Failed,
        InstanceState::Unhealthy,
        InstanceState::Starting,
        InstanceState::Unknown,
    ]);
    let step = prop_oneof![
        4 => (any::<u8>(), prop::sample::select(vec![50.0, 89.0, 95.0])).prop_map(|(n, v)| Step::Disk(n, v)),
        2 => (any::<u8>(), presence).prop_map(|(n, p)| Step::Presence(n, p)),
        3 => (any::<u8>(), state, 0u32..3).prop_map(|(n, s, r)| Step::Instance(n, s, r)),
        1 => any::<u8>().prop_map(Step::Gone),
        1 => (any::<u8>(), 0u64..10).prop_map(|(n, t)| Step::Silence(n, t)),
        1 => any::<bool>().prop_map(Step::Early),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..120)
}

fn rules(samples: u32) -> Vec<Rule> {
    let all = built_in().into_iter();
    all.map(|rule| Rule { samples, ..rule }).collect()
}

impl World {
    fn take(&mut self, step: &Step, samples: u32) {
        let now = self.now;
        let node = |n: &u8| node_of(*n);
        match step {
            Step::Disk(n, value) => {
                let measured = Measured {
                    value: *value,
                    heard_ms: now,
                };
                let node = self.seen.nodes.entry(node(n)).or_insert_with(online);
                node.values.insert(ValueOf::Disk, measured);
            }
            Step::Presence(n, presence) => {
                let node = self.seen.nodes.entry(node(n)).or_insert_with(online);
                (node.presence, node.presence_ms) = (*presence, now);
            }
            Step::Instance(n, state, restarts) => {
                let node = self.seen.nodes.entry(node(n)).or_insert_with(online);
                let instance = InstanceSeen {
                    state: *state,
                    restarts: *restarts,
                    exit_code: None,
                    reason: String::new(),
                };
                node.instances.insert(name("web"), instance);
            }
            Step::Gone(n) => {
                self.seen.nodes.remove(&node(n));
            }
            Step::Silence(n, looks) => {
                self.silence(&format!("node={}", node(n)), now + looks * STEP);
            }
            Step::Early(early) => self.seen.is_early = *early,
            Step::Restart => {
                let stored = self.alerts.stored();
                self.alerts = Alerts::new(rules(samples), vec![name("ops")], 60_000);
                self.alerts.restore(stored);
            }
        }
    }

    /// Which alerts are bad by what is seen now, without regard to how often.
    fn is_bad(&self, id: &str) -> bool {
        self.seen.nodes.iter().any(|(node, n)| {
            let disk = n.values.get(&ValueOf::Disk).is_some_and(|m| m.value > 90.0);
            let lost = n.presence == Presence::Offline;
            let web = n.instances.get("web").map(|i| i.state);
            let is = |state| web == Some(state);
            [
                (format!("disk.{node}"), disk),
                (format!("node_lost.{node}"), lost),
                (
                    format!("crashloop.web.{node}"),
                    is(InstanceState::CrashLoop),
                ),
                (
                    format!("unhealthy.web.{node}"),
                    is(InstanceState::Unhealthy),
                ),
                (format!("failed.web.{node}"), is(InstanceState::Failed)),
            ]
            .into_iter()
            .any(|(other, bad)| bad && other == id)
        })
    }
}

proptest! {
    #[test]
    fn nothing_fires_too_early_or_ends_twice_and_silence_is_silence(
        steps in steps(),
        samples in 1u32..4,
    ) {
        let mut world = World::new(rules(samples));
        // By id: looks in a row at which it was bad; and whether it fires.
        let mut bad: BTreeMap<String, u32> = BTreeMap::new();
        let mut fires: BTreeMap<String, bool> = BTreeMap::new();
        let mut told: BTreeMap<String, bool> = BTreeMap::new();
        let kinds = ["disk", "node_lost", "crashloop.web", "unhealthy.web", "failed.web"];
        let ids: Vec<String> = ["a", "b", "c"]
            .iter()
            .flat_map(|n| kinds.map(|k| format!("{k}.{n}")))
            .collect();
        for step in &steps {
            world.take(step, samples);
            for id in &ids {
                if world.is_bad(id) {
                    *bad.entry(id.clone()).or_default() += 1;
                }
            }
            let before = world.said.len();
            world.look();
            for transition in &world.said[before..] {
                match transition {
                    Transition::Fired(n) => {
                        let seen = bad.get(&n.id).copied().unwrap_or(0);
                        prop_assert!(seen >= samples, "{} after {seen} of {samples}", n.id);
                        prop_assert_eq!(fires.insert(n.id.clone(), true).unwrap_or(false), false);
                    }
                    Transition::Resolved(n) => {
                        prop_assert_eq!(fires.insert(n.id.clone(), false), Some(true));
                        told.remove(&n.id);
                        bad.remove(&n.id);
                    }
                    Transition::Notify { to, notification: n } => {
                        prop_assert!(!to.is_empty());
                        let silences = &world.seen.silences;
                        let node = n.node.as_ref().map_or("", |n| n.as_str());
                        let silence = silences.get(&format!("node={node}"));
                        use crate::notify::Occasion::{Firing, Resolved};
                        // Who was told of it is told its end all the same.
                        let silent = silence.is_some_and(|s| s.until_ms > world.now);
                        prop_assert!(!silent || n.occasion == Resolved);
                        if n.occasion == Firing {
                            prop_assert_eq!(told.insert(n.id.clone(), true), None, "told twice");
                        } else if n.occasion == Resolved {
                            prop_assert!(told.contains_key(&n.id), "of what nobody knew");
                        }
                    }
                    Transition::Full { .. } => prop_assert!(false, "there is room"),
                }
            }
            // What does not fire, and was good (or went) in between, begins anew.
            let states = world.states();
            for id in &ids {
                let alive = states.iter().any(|(a, s)| a == id && *s != AlertState::Resolved);
                if !alive {
                    bad.remove(id);
                }
            }
            prop_assert!(world.alerts.count() <= ids.len());
        }
        // What still fires is what the list says.
        let firing: Vec<String> = world
            .states()
            .into_iter()
            .filter(|(_, s)| matches!(s, AlertState::Firing | AlertState::Silenced))
            .map(|(id, _)| id)
            .collect();
        for (id, fires) in fires {
            prop_assert_eq!(firing.contains(&id), fires, "{}", id);
        }
    }

    #[test]
    fn the_same_looks_say_the_same(steps in steps()) {
        let run = || {
            let mut world = World::new(rules(2));
            for step in &steps {
                world.take(step, 2);
                world.look();
            }
            (world.said, world.alerts)
        };
        prop_assert_eq!(run(), run());
    }
}
