//! Families of the fleet: nodes, instances, workloads and rollouts. They are collected while the
//! fleet is held, as numbers and names, and written after that.

use super::text::{Text, Type};
use crate::{
    fleet::{Approval, Fleet, RolloutPhase},
    model::{Desired, HealthStatus, InstanceState, Name, ObservedInstance, Presence},
};
use std::collections::{BTreeMap, HashMap};

/// Workloads that have families of their own, by name; there are rarely more than a hundred.
const MAX_WORKLOADS: usize = 1_000;

/// What was collected.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Nodes that take part, by name.
    pub(super) nodes: Vec<NodeFacts>,
    by_presence: BTreeMap<&'static str, u64>,
    instances: BTreeMap<InstanceState, u64>,
    workloads: Vec<WorkloadFacts>,
    all_workloads: usize,
    rollouts: BTreeMap<&'static str, u64>,
    open_commands: usize,
    entries: u64,
}

/// A node that takes part.
#[derive(Debug)]
pub(super) struct NodeFacts {
    pub(super) name: Name,
    pub(super) online: bool,
    /// Its instances, where it can be heard.
    pub(super) instances: Vec<(InstanceState, u32)>,
}

#[derive(Debug)]
struct WorkloadFacts {
    name: Name,
    counts: Counts,
    rollout: Option<RolloutPhase>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    desired: u64,
    running: u64,
    healthy: u64,
}

/// As in the API.
fn word(phase: RolloutPhase) -> &'static str {
    match phase {
        RolloutPhase::Canary => "canary",
        RolloutPhase::AwaitingPromotion => "awaiting_promotion",
        RolloutPhase::Rolling => "rolling",
        RolloutPhase::Succeeded => "succeeded",
        RolloutPhase::RollingBack => "rolling_back",
        RolloutPhase::RolledBack => "rolled_back",
        RolloutPhase::Failed => "failed",
        RolloutPhase::Aborted => "aborted",
        RolloutPhase::Superseded => "superseded",
    }
}

fn add(states: &mut Vec<(InstanceState, u32)>, state: InstanceState) {
    match states.iter_mut().find(|(s, _)| *s == state) {
        Some((_, count)) => *count += 1,
        None => states.push((state, 1)),
    }
}

fn is_healthy(o: &ObservedInstance) -> bool {
    o.state.is_well() && o.health.is_none_or(|h| h == HealthStatus::Healthy)
}

impl Collected {
    /// Of the fleet, with the nodes that `wanted` picks.
    pub(super) fn of(fleet: &Fleet, wanted: impl Fn(&Name) -> bool) -> Collected {
        let mut all = Collected {
            by_presence: ["online", "silent", "offline"].map(|p| (p, 0)).into(),
            all_workloads: fleet.workloads().count(),
            open_commands: fleet
                .commands()
                .filter(|(_, c)| c.outcome.is_none())
                .count(),
            entries: fleet.version(),
            ..Collected::default()
        };
        let mut counts: HashMap<&Name, Counts> = HashMap::new();
        for (name, n) in fleet.nodes() {
            *all.by_presence.entry(n.presence.as_str()).or_default() += 1;
            let online = n.presence == Presence::Online;
            let mut states = Vec::new();
            for workload in &n.placed {
                let observed = n.observed.get(workload);
                add(
                    &mut states,
                    match observed {
                        Some(o) if online => o.state,
                        Some(_) => InstanceState::Unknown,
                        None => InstanceState::Pending,
                    },
                );
                if let Some(o) = observed.filter(|_| online) {
                    let counts = counts.entry(workload).or_default();
                    counts.running += u64::from(o.state.is_well());
                    counts.healthy += u64::from(is_healthy(o));
                }
            }
            let left = n.observed.iter().filter(|(w, _)| !n.placed.contains(*w));
            for (_, o) in left {
                let known = online && n.approval != Approval::Revoked;
                add(
                    &mut states,
                    if known {
                        o.state
                    } else {
                        InstanceState::Unknown
                    },
                );
            }
            for (state, count) in &states {
                *all.instances.entry(*state).or_default() += u64::from(*count);
            }
            if n.approval == Approval::Approved && wanted(name) {
                all.nodes.push(NodeFacts {
                    name: name.clone(),
                    online,
                    instances: if online { states } else { Vec::new() },
                });
            }
        }
        for (name, w) in fleet.workloads() {
            let missing = u64::from(w.missing);
            if missing > 0 {
                *all.instances.entry(InstanceState::Pending).or_default() += missing;
            }
            let rollout = w.rollout.as_ref().map(|r| r.phase);
            if let Some(phase) = rollout {
                *all.rollouts.entry(word(phase)).or_default() += 1;
            }
            if all.workloads.len() < MAX_WORKLOADS {
                let mut counts = counts.get(name).copied().unwrap_or_default();
                if w.desired == Desired::Running {
                    counts.desired = w.placed.len() as u64 + missing;
                }
                all.workloads.push(WorkloadFacts {
                    name: name.clone(),
                    counts,
                    rollout,
                });
            }
        }
        all
    }

    /// Not all workloads have families.
    pub(super) fn is_cut(&self) -> bool {
        self.workloads.len() < self.all_workloads
    }

    /// Writes everything but the nodes' own families.
    pub(super) fn write(&self, text: &mut Text) {
        let mut family = text.family(Type::Gauge, "fleetctl_nodes", "Nodes, by state.");
        for (state, count) in &self.by_presence {
            family.sample(&[("state", state)], *count as f64);
        }
        let help = "Instances, by state; unknown where the node cannot be heard.";
        let mut family = text.family(Type::Gauge, "fleetctl_instances", help);
        for (state, count) in &self.instances {
            family.sample(&[("state", state.as_str())], *count as f64);
        }
        let help = "Workloads.";
        text.gauge("fleetctl_workloads", help, self.all_workloads as f64);
        let help = "Entries of the journal in the fleet's state, since the fleet began.";
        text.counter("fleetctl_entries_total", help, self.entries);
        let help = "Commands that change something and whose result is open.";
        text.gauge("fleetctl_commands_open", help, self.open_commands as f64);
        type Pick = fn(&Counts) -> u64;
        let picks: [(&str, &str, Pick); 3] = [
            (
                "fleetctl_workload_desired_instances",
                "Instances that are wanted; none of a workload that is stopped.",
                |c| c.desired,
            ),
            (
                "fleetctl_workload_running_instances",
                "Instances that run, wait for their time or are done, on nodes that are heard.",
                |c| c.running,
            ),
            (
                "fleetctl_workload_healthy_instances",
                "Of the running instances, those whose health check answers well, or that have none.",
                |c| c.healthy,
            ),
        ];
        for (name, help, pick) in picks {
            let mut family = text.family(Type::Gauge, name, help);
            for w in &self.workloads {
                family.sample(&[("workload", w.name.as_str())], pick(&w.counts) as f64);
            }
        }
        let help = "Rollouts, the last one of each workload, by phase.";
        let mut family = text.family(Type::Gauge, "fleetctl_rollouts", help);
        for (phase, count) in &self.rollouts {
            family.sample(&[("phase", phase)], *count as f64);
        }
        let help = "1 in the phase in which the last rollout of a workload is.";
        let mut family = text.family(Type::Gauge, "fleetctl_workload_rollout", help);
        for w in &self.workloads {
            if let Some(phase) = w.rollout {
                let labels = [("workload", w.name.as_str()), ("phase", word(phase))];
                family.sample(&labels, 1.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fleet::{Change, Entry},
        model::{PlacementMode, Run, Workload},
    };

    #[test]
    fn phases_are_called_as_in_the_api() {
        for phase in [
            RolloutPhase::Canary,
            RolloutPhase::AwaitingPromotion,
            RolloutPhase::Rolling,
            RolloutPhase::Succeeded,
            RolloutPhase::RollingBack,
            RolloutPhase::RolledBack,
            RolloutPhase::Failed,
            RolloutPhase::Aborted,
            RolloutPhase::Superseded,
        ] {
            assert_eq!(serde_json::to_value(phase).unwrap(), word(phase));
        }
    }

    #[test]
    fn an_empty_fleet_has_its_families() {
        let mut text = Text::default();
        Collected::of(&Fleet::new(), |_| true).write(&mut text);
        let text = text.done();
        for line in [
            "fleetctl_nodes{state=\"offline\"} 0\n",
            "fleetctl_workloads 0\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    /// A fleet of so many nodes that run five workloads each, in all kinds of states.
    fn large(nodes: usize) -> Fleet {
        let names: Vec<String> = (0..nodes).map(|n| format!("n{n:05}")).collect();
        let workloads: Vec<Workload> = (0..5)
            .map(|n| {
                let run = Run::Process {
                    command: vec!["/bin/true".into()],
                    user: None,
                    working_dir: None,
                };
                let mut w = Workload::new(format!("w{n}").parse().unwrap(), run);
                w.placement.mode = PlacementMode::Every;
                w
            })
            .collect();
        let mut fleet = Fleet::new();
        let change = Change::WorkloadsApplied {
            workloads,
            removed: Vec::new(),
        };
        let entry = Entry {
            at_ms: 1,
            by: None,
            change,
        };
        fleet.apply(&entry).unwrap();
        let states = ["running", "crashloop", "completed", "unhealthy"];
        let mut json = serde_json::to_value(&fleet).unwrap();
        for (at, name) in names.iter().enumerate() {
            let observed = |n: usize| {
                let o = serde_json::json!({
                    "workload": format!("w{n}"), "state": states[(at + n) % 4],
                    "runtime": "process", "version": "1", "spec_hash": "", "restarts": 0,
                    "since_ms": 0, "health": (n == 0).then_some("starting"),
                });
                (format!("w{n}"), o)
            };
            // `w4` has not been seen yet, and `w9` is left over.
            let all: serde_json::Map<_, _> = [0, 1, 2, 3, 9].map(observed).into_iter().collect();
            let presence = ["online", "online", "offline"][at % 3];
            let approval = ["approved", "revoked"][usize::from(at % 7 == 6)];
            let placed: Vec<String> = (0..5).map(|n| format!("w{n}")).collect();
            json["nodes"][name] = serde_json::json!({
                "key": name, "approval": approval,
                "token": "", "hostname": "", "joined_ms": 0, "labels": {}, "facts": null,
                "presence": presence, "presence_reason": "",
                "presence_ms": 0, "session": [1, 1], "generation": 1, "placed": placed,
                "observed": all, "observed_generation": 1, "engines": [], "observed_ms": 0,
            });
        }
        for n in 0..5 {
            let w = &mut json["workloads"][format!("w{n}")];
            w["placed"] = names.clone().into();
            w["missing"] = n.into();
        }
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn instances_are_counted_as_the_api_lists_them() {
        let fleet = large(40);
        let mut listed: BTreeMap<InstanceState, u64> = BTreeMap::new();
        for i in fleet.instances() {
            *listed.entry(i.state).or_default() += u64::from(i.count);
        }
        let all = Collected::of(&fleet, |_| true);
        assert_eq!(all.instances, listed);
        assert!(listed.len() > 4, "{listed:?}");
        let w0 = &all.workloads[0].counts;
        assert_eq!(
            (w0.desired, w0.healthy),
            (40, 0),
            "its health is `starting`"
        );
        let w2 = &all.workloads[2].counts;
        assert_eq!((w2.desired, w2.running), (42, w2.healthy));
        // Only who takes part has families, and only who is heard has states.
        assert_eq!(all.nodes.len(), 40 - 40 / 7);
        assert!(all.nodes.iter().all(|n| n.online != n.instances.is_empty()));
        assert!(Collected::of(&fleet, |_| false).nodes.is_empty());
    }

    #[test]
    fn ten_thousand_nodes_are_collected_fast() {
        let fleet = large(10_000);
        let begun = std::time::Instant::now();
        let all = Collected::of(&fleet, |_| true);
        let took = begun.elapsed();
        println!("10,000 nodes, 60,000 instances: {took:?}");
        assert_eq!(all.nodes.len(), 10_000 - 10_000 / 7);
        // An unoptimized build on a busy machine; a release takes a tenth.
        assert!(took.as_millis() < 2_000, "{took:?}");
    }
}
