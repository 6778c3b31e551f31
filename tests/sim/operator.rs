//! People: they let machines in and take them away, apply good and poisoned versions, and order
//! things at the wrong time. What is refused is fine; what is accepted must hold.

use super::{
    controller::person,
    node::{Ends, Node},
    random::Random,
    world::{Event, NodeId, World},
};
use fleetctl::{
    fleet::{AutoRebalance, Change, FleetConfig, RebalanceBounds, RolloutOrder},
    model::{
        Budget, Desired, Health, HealthCheck, Mount, MountSource, Name, Placement, PlacementMode,
        Port, Restart, RestartPolicy, Run, RunMode, Share, Strategy, Update, Window, Workload,
        WorkloadType,
    },
};
use std::collections::BTreeMap;

const NAMES: [&str; 6] = ["web", "db", "cam", "log", "job", "edge"];
const ZONES: [&str; 3] = ["a", "b", "c"];
const MINUTE: u64 = 60_000;

impl World {
    /// The fleet at the beginning.
    pub fn found(&mut self) {
        self.controller.snapshot_every = self.random.between(10, 200) as usize;
        self.controller_starts();
        let rebalance = self.random.chance(300).then(|| AutoRebalance {
            interval_ms: self.random.between(1, 3) * MINUTE,
            bounds: RebalanceBounds {
                threshold: self.random.between(5, 40) as u8,
                ..RebalanceBounds::default()
            },
        });
        let config = FleetConfig {
            lost_after_ms: self.random.between(1, 4) * MINUTE,
            rebalance,
        };
        let _ = self.change(None, Change::FleetConfigured { config });
        let (from, to) = self.profile.nodes;
        for _ in 0..self.random.between(from, to) {
            self.join();
        }
        self.schedule(2_000, Event::Operator);
        let first = self.profile.fault_every_ms;
        self.schedule(first, Event::Breaks);
    }

    /// Another machine joins.
    fn join(&mut self) {
        let id: NodeId = self.nodes.len();
        let name = name(&format!("pi-{id}"));
        let facts = Node::facts(&name, &mut self.random);
        let node = Node::new(id, name.clone(), facts);
        let key = node.key.clone();
        self.nodes.push(node);
        let enrolled = Change::NodeEnrolled {
            node: name.clone(),
            key,
            token: "t".into(),
            hostname: name.to_string(),
            approve: true,
            http: false,
        };
        if !matches!(self.change(person(), enrolled), Some(Ok(()))) {
            // There is no answer: a person would look, and try again with another one.
            let known = self.controller.journal.load();
            let known = known.is_ok_and(|f| f.node(name.as_str()).is_some());
            self.nodes[id].gone = !known;
            if !known {
                return;
            }
        }
        let zone = self.random.pick(&ZONES).copied().unwrap_or("a");
        let labels = BTreeMap::from([("zone".to_owned(), Some(zone.to_owned()))]);
        let _ = self.change(person(), Change::NodeLabelled { node: name, labels });
        let after = self.random.between(1, 5_000);
        let event = Event::Starts {
            node: id,
            machine: true,
        };
        self.schedule(after, event);
    }

    /// A person does something, and the next time is found at which somebody does.
    pub fn operate(&mut self) {
        if !self.troubled {
            return;
        }
        let every = self.profile.operator_every_ms;
        let next = self.random.between(every / 4, every * 7 / 4);
        self.schedule(next, Event::Operator);
        let Some(fleet) = self.controller.fleet() else {
            return;
        };
        let workloads: Vec<Name> = fleet.workloads().map(|(n, _)| n.clone()).collect();
        let nodes: Vec<Name> = fleet.nodes().map(|(n, _)| n.clone()).collect();
        let workload = self.random.pick(&workloads).cloned();
        let node = self.random.pick(&nodes).cloned();
        let few = (workloads.len() as u64) < self.profile.workloads.min(3);
        let draw = if few { 0 } else { self.random.below(100) };
        let Some((kind, change)) = self.order(draw, workload, node) else {
            return;
        };
        *self.orders.entry(kind).or_default() += 1;
        let summary = change.summary();
        match self.change(person(), change) {
            Some(Ok(())) => {}
            Some(Err(refusal)) => {
                self.log("operator", format_args!("{summary}: refused: {refusal}"));
            }
            None => self.log("operator", format_args!("{summary}: no answer")),
        }
    }

    fn order(
        &mut self,
        draw: u64,
        workload: Option<Name>,
        node: Option<Name>,
    ) -> Option<(&'static str, Change)> {
        let flip = self.random.chance(500);
        let order = match draw {
            0..40 => ("apply", self.applied()?),
            40..44 => {
                let workloads = vec![workload?];
                ("remove", Change::WorkloadsRemoved { workloads })
            }
            44..50 => {
                let workload = workload.filter(|w| w.as_str() != "job")?;
                let desired = match flip {
                    true => Desired::Stopped,
                    false => Desired::Running,
                };
                (
                    "start or stop",
                    Change::WorkloadDesired { workload, desired },
                )
            }
            50..53 => {
                let workload = workload.filter(|w| w.as_str() != "job")?;
                ("restart", Change::WorkloadRestarted { workload })
            }
            53..58 => {
                let cordoned = flip;
                let node = node?;
                ("cordon", Change::NodeCordoned { node, cordoned })
            }
            58..64 => {
                let force = self.random.chance(300);
                let drain = flip.then_some(force);
                ("drain", Change::NodeDrained { node: node?, drain })
            }
            64..72 => {
                let workload = workload?;
                let placed = &self.controller.fleet()?.workload(workload.as_str())?.placed;
                let placed: Vec<Name> = placed.iter().cloned().collect();
                let from = self.random.pick(&placed).cloned()?;
                let change = Change::InstanceMigrated {
                    workload,
                    from,
                    to: node.filter(|_| flip),
                    force: self.random.chance(200),
                };
                ("migrate", change)
            }
            72..76 => {
                let bounds = RebalanceBounds {
                    threshold: 5,
                    ..RebalanceBounds::default()
                };
                let plan = self
                    .controller
                    .fleet()?
                    .plan_rebalance(&bounds, self.wall());
                ("rebalance", Change::Rebalanced { moves: plan.moves })
            }
            76..88 => {
                let order = match self.random.below(6) {
                    0 => RolloutOrder::Pause,
                    1 | 2 => RolloutOrder::Resume,
                    3 => RolloutOrder::Promote,
                    4 => RolloutOrder::Abort,
                    _ => RolloutOrder::Rollback { to: None },
                };
                let workload = workload?;
                ("rollout order", Change::RolloutOrdered { workload, order })
            }
            88..93 => {
                let zone = self.random.pick(&ZONES)?;
                let labels = BTreeMap::from([("zone".to_owned(), flip.then(|| zone.to_string()))]);
                (
                    "label",
                    Change::NodeLabelled {
                        node: node?,
                        labels,
                    },
                )
            }
            93..96 => {
                let least = self.profile.nodes.0 as usize;
                let node = node?;
                if self.nodes.iter().filter(|n| !n.gone).count() <= least {
                    return None;
                }
                ("remove node", Change::NodeRemoved { node })
            }
            _ => {
                let most = self.profile.nodes.1 as usize + 2;
                if self.nodes.iter().filter(|n| !n.gone).count() < most {
                    *self.orders.entry("join").or_default() += 1;
                    self.join();
                }
                return None;
            }
        };
        Some(order)
    }

    /// A removed node: nobody hears it any more. It is switched off.
    pub fn cleared(&mut self, name: &Name) {
        let Some(node) = self.node_called(name) else {
            return;
        };
        self.broker.forget(node);
        self.dies(node, Ends::PowerCut, 0);
        self.nodes[node].gone = true;
    }

    /// A new workload, or another version or shape of one that there is.
    fn applied(&mut self) -> Option<Change> {
        let names = &NAMES[..(self.profile.workloads as usize).min(NAMES.len())];
        let wanted = name(self.random.pick(names).copied()?);
        self.versions += 1;
        let version = self.versions;
        let before = self.controller.fleet()?.workload(wanted.as_str());
        let before = before.map(|w| (*w.spec).clone());
        let workload = match before {
            None => fresh(wanted, version, &mut self.random),
            Some(before) => changed(before, version, &mut self.random),
        };
        let workloads = vec![workload];
        let removed = Vec::new();
        Some(Change::WorkloadsApplied { workloads, removed })
    }

    /// What a person does about what did not come right by itself: a version that works, at once.
    pub fn clean_up(&mut self) {
        let Some(fleet) = self.controller.fleet() else {
            return;
        };
        let all: Vec<Workload> = fleet.workloads().map(|(_, w)| (*w.spec).clone()).collect();
        for mut workload in all {
            self.versions += 1;
            set_version(&mut workload, self.versions, "");
            if let Some(update) = &mut workload.update {
                update.auto_promote = true;
                update.max_parallel = Share::Percent(50);
            }
            let (workloads, removed) = (vec![workload], Vec::new());
            let change = Change::WorkloadsApplied { workloads, removed };
            if let Some(Err(refusal)) = self.change(person(), change) {
                self.violate("a person can always apply", refusal.to_string());
            }
        }
    }
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn set_version(workload: &mut Workload, number: u64, suffix: &str) {
    // What counts its runs ends by itself, whatever its version.
    let suffix = match workload.name.as_str() {
        "job" => "-done",
        _ => suffix,
    };
    workload.version = format!("{number}{suffix}");
    let version = workload.version.clone();
    if let Run::Container { image, .. } = &mut workload.run {
        *image = format!("registry.example/{}:{version}", workload.name);
    }
}

/// A workload that there was not before.
fn fresh(name: Name, version: u64, random: &mut Random) -> Workload {
    let run = Run::Container {
        image: String::new(),
        command: Vec::new(),
        pull: Default::default(),
        engine: None,
        user: None,
        working_dir: None,
        network: None,
        options: Default::default(),
    };
    let job = name.as_str() == "job";
    let mut workload = Workload {
        restart: Restart {
            policy: RestartPolicy::Always,
            delay_ms: 1_000,
            max_delay_ms: 20_000,
        },
        min_healthy_time_ms: Some(random.between(1, 10) * 1_000),
        ..Workload::new(name, run)
    };
    if job {
        workload.kind = WorkloadType::Script;
        workload.mode = RunMode::NTimes { max_runs: 2 };
        workload.restart.policy = RestartPolicy::Never;
    } else if random.chance(600) {
        workload.health = Some(Health {
            interval_ms: random.between(2, 10) * 1_000,
            timeout_ms: 1_000,
            retries: 2,
            ..Health::new(HealthCheck::Tcp("127.0.0.1:80".into()))
        });
    }
    if random.chance(200) {
        workload.volumes.push(Mount {
            source: MountSource::Volume("data".into()),
            target: "/data".into(),
            read_only: false,
            movable: random.chance(500),
        });
    }
    if random.chance(200) {
        workload.ports.push(Port {
            address: None,
            host: 8_000 + (random.below(3) as u16),
            container: 80,
            protocol: Default::default(),
        });
    }
    if random.chance(500) {
        workload.resources.memory = Some(random.between(1, 64) << 24);
    }
    workload.placement = placement(random);
    if random.chance(750) {
        workload.update = Some(update(random));
    }
    set_version(&mut workload, version, "");
    workload
}

fn placement(random: &mut Random) -> Placement {
    let mode = match random.chance(300) {
        true => PlacementMode::Every,
        false => PlacementMode::Any {
            replicas: random.between(1, 5) as u32,
        },
    };
    let strategies = [
        Strategy::LeastLoaded,
        Strategy::RoundRobin,
        Strategy::CapabilityMatch,
        Strategy::ResourceOptimal,
    ];
    let requires = match random.below(6) {
        0 => vec!["zone!=c"],
        1 => vec!["!gpu"],
        2 => vec!["memory>=1GiB"],
        _ => Vec::new(),
    };
    Placement {
        mode,
        strategy: strategies[random.below(4) as usize],
        requires: requires
            .into_iter()
            .filter_map(|r| r.to_owned().try_into().ok())
            .collect(),
        spread: random.chance(300).then(|| "zone".to_owned()),
        ..Placement::default()
    }
}

fn update(random: &mut Random) -> Update {
    let max_parallel = match random.chance(500) {
        true => Share::Count(random.between(1, 3) as u32),
        false => Share::Percent([20, 34, 50, 100][random.below(4) as usize]),
    };
    let budget = random.chance(300).then(|| Budget {
        label: "zone".into(),
        max_unavailable: Share::Count(random.between(1, 2) as u32),
    });
    // One node after the other, and only now and then, would take longer than anybody waits here.
    let in_windows = matches!(max_parallel, Share::Percent(_)) && random.chance(300);
    let mut some = |of_all: u64| match in_windows && random.chance(of_all) {
        true => vec![window()],
        false => Vec::new(),
    };
    let (windows, download_windows) = (some(1_000), some(500));
    Update {
        max_parallel,
        canary: random.below(3) as u32,
        auto_promote: random.chance(800),
        min_healthy_time_ms: random.between(5, 40) * 1_000,
        healthy_deadline_ms: random.between(90, 180) * 1_000,
        progress_deadline_ms: random.between(200, 400) * 1_000,
        auto_rollback: random.chance(800),
        sequence: random.chance(200).then(|| "zone".to_owned()),
        budget,
        windows,
        download_windows,
    }
}

/// Open in three of four minutes; [`is_open`] says the same in other words.
fn window() -> Window {
    Window {
        opens: "*/4 * * * *".into(),
        duration_ms: 3 * MINUTE,
        time_zone: None,
    }
}

/// Whether the windows of this simulation are open, by the controller's clock.
pub fn is_open(at_ms: u64) -> bool {
    at_ms % (4 * MINUTE) < 3 * MINUTE
}

/// Another version, or only another shape.
fn changed(mut workload: Workload, version: u64, random: &mut Random) -> Workload {
    match random.below(10) {
        0 => workload.placement = placement(random),
        1 => {
            if let PlacementMode::Any { replicas } = &mut workload.placement.mode {
                *replicas = random.below(6) as u32;
            }
        }
        2 => workload.update = random.chance(800).then(|| update(random)),
        3..6 => {
            let kinds: &[&str] = match workload.health {
                Some(_) => &["-crash", "-never", "-sick"],
                None => &["-crash"],
            };
            let kind = random.pick(kinds).copied().unwrap_or("-crash");
            set_version(&mut workload, version, kind);
        }
        _ => set_version(&mut workload, version, ""),
    }
    workload
}
