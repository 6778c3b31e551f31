//! Settings of all nodes and of one.

use super::{apply, enrolled, name, names, refuse, three, touched};
use crate::{
    fleet::{Change, Fleet, Refusal},
    model::{Metric, MetricConfig, NodeConfig, NodeFacts},
};

fn every(ms: u64) -> NodeConfig {
    NodeConfig {
        heartbeat_interval_ms: ms,
        ..NodeConfig::default()
    }
}

fn configured(node: &str, config: Option<NodeConfig>) -> Change {
    Change::NodeConfigured {
        node: name(node),
        config,
    }
}

fn beat(fleet: &Fleet, node: &str) -> u64 {
    let assignment = fleet.assignment(node).expect("a member");
    let wanted = fleet.config_of(node).expect("a member");
    assert_eq!(assignment.cfg, *wanted);
    wanted.heartbeat_interval_ms
}

#[test]
fn a_node_has_its_own_settings_until_they_are_taken_away() {
    let mut fleet = three();
    let before = super::generations(&fleet);
    let effects = apply(&mut fleet, configured("b", Some(every(3_000))));
    assert_eq!(touched(&fleet, &before, &effects), names(&["b"]));
    assert_eq!((beat(&fleet, "a"), beat(&fleet, "b")), (12_000, 3_000));

    let node_config = every(5_000);
    apply(&mut fleet, Change::Configured { node_config });
    assert_eq!((beat(&fleet, "a"), beat(&fleet, "b")), (5_000, 3_000));

    apply(&mut fleet, configured("b", None));
    assert_eq!(beat(&fleet, "b"), 5_000);
}

#[test]
fn what_changes_nothing_or_cannot_be_is_refused() {
    let mut fleet = three();
    apply(&mut fleet, enrolled("pending", "key", false));
    let own = || configured("a", Some(every(3_000)));
    assert_eq!(
        refuse(&mut fleet, configured("a", None)),
        Refusal::Unchanged
    );
    apply(&mut fleet, own());
    assert_eq!(refuse(&mut fleet, own()), Refusal::Unchanged);
    for node in ["pending", "nobody"] {
        let refusal = refuse(&mut fleet, configured(node, Some(every(3_000))));
        assert!(matches!(refusal, Refusal::NotFound { .. }), "{refusal}");
    }
    let refusal = refuse(&mut fleet, configured("a", Some(every(10))));
    assert!(matches!(refusal, Refusal::Invalid(_)), "{refusal}");
}

#[test]
fn settings_go_with_their_node() {
    let mut fleet = three();
    apply(&mut fleet, configured("a", Some(every(3_000))));
    apply(&mut fleet, Change::NodeRemoved { node: name("a") });
    super::apply(&mut fleet, enrolled("a", "another key", true));
    assert_eq!(beat(&fleet, "a"), 12_000);
}

#[test]
fn an_agent_is_told_of_a_metric_once_it_knows_it() {
    let mut fleet = three();
    let node_config = NodeConfig {
        telemetry: [Metric::Cpu, Metric::Agent]
            .map(|m| (m, MetricConfig::default()))
            .into(),
        ..NodeConfig::default()
    };
    apply(&mut fleet, Change::Configured { node_config });
    let told = |fleet: &Fleet, node: &str| -> Vec<Metric> {
        let assignment = fleet.assignment(node).expect("a member");
        assignment.cfg.telemetry.into_keys().collect()
    };
    let mut describe = |features: u32| {
        let before = super::generations(&fleet);
        let facts = NodeFacts {
            features,
            ..super::facts(&[])
        };
        let effects = apply(&mut fleet, super::described("a", facts));
        (touched(&fleet, &before, &effects), told(&fleet, "a"))
    };
    assert_eq!(describe(3).1, [Metric::Cpu]);
    let all = vec![Metric::Cpu, Metric::Agent];
    assert_eq!(describe(4), (names(&["a"]), all));
    assert_eq!(describe(3), (names(&["a"]), vec![Metric::Cpu]));
    assert_eq!(describe(2), (names(&[]), vec![Metric::Cpu]));
}
