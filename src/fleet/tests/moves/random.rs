//! Whatever happens: [`World::check`] holds after every entry, every move ends in time, nothing
//! spins, and the same entries give the same fleet.

use super::*;
use crate::fleet::{AutoRebalance, FleetConfig, RebalanceBounds};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Event {
    Apply(Box<Workload>),
    Remove(String),
    Offline(String),
    Online(String),
    Gone(String),
    Back(String),
    Report(String, u8),
    Pass(u64),
    Order(Box<Change>),
    Rebalance,
    Automatic(bool),
}

fn node() -> impl Strategy<Value = String> {
    (0u8..5).prop_map(|n| format!("n{n}"))
}

fn some() -> impl Strategy<Value = String> {
    (0u8..5).prop_map(|n| format!("w{n}"))
}

fn workload() -> impl Strategy<Value = Workload> {
    (some(), 0u32..4, 0u8..6, 0u8..3).prop_map(|(text, wanted, kind, version)| {
        let mut workload = replicas(&text, wanted);
        workload.version = version.to_string();
        workload.resources.memory = Some(1 << 27);
        match kind {
            0 => workload.volumes = vec![volume(false)],
            1 => workload.volumes = vec![volume(true)],
            2 => workload = every(&text),
            3 => workload.placement.nodes = vec![name("n0"), name("n1")],
            _ => {}
        }
        workload
    })
}

fn event() -> impl Strategy<Value = Event> {
    let pass = prop_oneof![
        0u64..20_000,
        Just(LOST_AFTER),
        Just(DEADLINE),
        0u64..3_600_000
    ];
    let order = prop_oneof![
        (some(), node(), prop::option::of(node()), any::<bool>())
            .prop_map(|(w, from, to, force)| migrated(&w, &from, to.as_deref(), force)),
        (node(), prop::option::of(any::<bool>())).prop_map(|(n, force)| drained(&n, force)),
        (node(), any::<bool>()).prop_map(|(n, cordon)| cordoned(&n, cordon)),
    ];
    prop_oneof![
        4 => workload().prop_map(|w| Event::Apply(Box::new(w))),
        1 => some().prop_map(Event::Remove),
        3 => node().prop_map(Event::Offline),
        3 => node().prop_map(Event::Online),
        1 => node().prop_map(Event::Gone),
        1 => node().prop_map(Event::Back),
        8 => (node(), 0u8..5).prop_map(|(n, how)| Event::Report(n, how)),
        6 => pass.prop_map(Event::Pass),
        6 => order.prop_map(|c| Event::Order(Box::new(c))),
        1 => Just(Event::Rebalance),
        1 => any::<bool>().prop_map(Event::Automatic),
    ]
}

impl World {
    fn happens(&mut self, event: Event) {
        let known = |world: &World, n: &str| world.fleet.node(n).is_some();
        match event {
            Event::Apply(w) => drop(self.try_apply(applied(&[*w]))),
            Event::Remove(w) => drop(self.try_apply(super::super::removed(&[&w]))),
            Event::Offline(n) if known(self, &n) => drop(self.offline(&n)),
            Event::Online(n) if known(self, &n) => drop(self.online(&n)),
            Event::Gone(n) => drop(self.try_apply(Change::NodeRemoved { node: name(&n) })),
            Event::Back(n) if !known(self, &n) => self.anew(&n),
            Event::Report(n, how) if known(self, &n) => {
                let states = [
                    InstanceState::Running,
                    InstanceState::Running,
                    InstanceState::CrashLoop,
                    InstanceState::Failed,
                    InstanceState::Starting,
                ];
                self.report_as(&n, |o| o.state = states[usize::from(how)]);
            }
            Event::Pass(ms) => drop(self.pass(ms)),
            Event::Order(change) => drop(self.try_apply(*change)),
            Event::Rebalance => {
                let plan = self
                    .fleet
                    .plan_rebalance(&RebalanceBounds::default(), self.at);
                let moves = plan.moves;
                let planned = !moves.is_empty();
                let made = self.try_apply(Change::Rebalanced { moves }).is_ok();
                assert_eq!(made, planned, "a plan that was just made can be made");
            }
            Event::Automatic(on) => {
                let auto = AutoRebalance {
                    interval_ms: 300_000,
                    bounds: RebalanceBounds::default(),
                };
                let config = FleetConfig {
                    lost_after_ms: LOST_AFTER,
                    rebalance: on.then_some(auto),
                };
                let _ = self.try_apply(Change::FleetConfigured { config });
            }
            _ => {}
        }
    }

    /// A removed node joins again, with another key.
    fn anew(&mut self, node: &str) {
        self.sessions += 1;
        let key = format!("key-{node}-{}", self.sessions);
        self.apply(enrolled(node, &key, true));
        self.apply(described(node, facts(&[("process", "1")])));
        self.presence(node, Presence::Online);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn moves_end_copies_are_bounded_and_replays_agree(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::of(&["n0", "n1", "n2", "n3", "n4"]);
        for event in events {
            world.happens(event);
            for (name, w) in world.fleet.workloads() {
                for (from, m) in &w.moves {
                    let age = world.at - m.since_ms;
                    prop_assert!(age <= DEADLINE + HEALTHY, "{} from {}: {:?}", name, from, m);
                }
            }
            // Nothing is due now that was not done: a clock that is asked too early is refused.
            if world.fleet.next_deadline().is_none_or(|due| due > world.at) {
                let early = world.try_apply(Change::TimePassed {});
                prop_assert!(early.is_err());
            }
        }
        world.replays();

        // Once all nodes are there, work, and nobody orders anything, all comes to rest.
        for n in 0..5 {
            let node = format!("n{n}");
            match world.fleet.node(&node) {
                Some(_) => drop(world.online(&node)),
                None => world.anew(&node),
            }
        }
        for _ in 0..40 {
            world.report_all();
            world.pass(60_000);
        }
        let version = world.fleet.version();
        let automatic = world.fleet.next_deadline().is_some();
        world.pass(3_600_000);
        prop_assert_eq!(world.moves(), 0);
        // Looking at the balance now and then is all that is left, where it is asked for.
        let most = if automatic { 20 } else { 0 };
        prop_assert!(world.fleet.version() - version <= most);
        world.replays();
    }
}
