//! How an alert begins, goes on and ends.

use super::*;
use crate::model::{Metric, Requirement};

fn firing(id: &str) -> Vec<(String, AlertState)> {
    vec![(id.to_owned(), AlertState::Firing)]
}

#[test]
fn two_bad_samples_fire_and_two_good_ones_end_it() {
    let mut world = World::new(vec![disk()]);
    world.measure("a", ValueOf::Disk, 93.0);
    assert_eq!(world.look(), NOTHING);
    assert_eq!(world.states(), [("disk.a".into(), AlertState::Pending)]);
    world.measure("a", ValueOf::Disk, 93.0);
    assert_eq!(world.look(), ["fired disk.a", "tell ops firing disk.a"]);
    assert_eq!(world.message(), "disk of a is 93 % full (above 90 %)");
    world.measure("a", ValueOf::Disk, 50.0);
    assert_eq!(world.look(), NOTHING);
    assert_eq!(world.states(), firing("disk.a"));
    world.measure("a", ValueOf::Disk, 50.0);
    assert_eq!(
        world.look(),
        ["tell ops resolved disk.a", "resolved disk.a"]
    );
    assert_eq!(world.states(), [("disk.a".into(), AlertState::Resolved)]);
    assert_eq!(world.alerts.count(), 0);
}

#[test]
fn a_good_sample_in_between_begins_the_count_anew() {
    let mut world = World::new(vec![disk()]);
    for value in [93.0, 50.0, 93.0, 50.0, 93.0] {
        world.measure("a", ValueOf::Disk, value);
        assert_eq!(world.look(), NOTHING);
    }
    world.measure("a", ValueOf::Disk, 93.0);
    assert_eq!(world.look()[0], "fired disk.a");
    for value in [50.0, 93.0, 50.0, 93.0, 50.0] {
        world.measure("a", ValueOf::Disk, value);
        assert_eq!(world.look(), NOTHING);
    }
}

#[test]
fn a_value_counts_once_however_often_it_is_looked_at() {
    let mut world = World::new(vec![disk()]);
    world.measure("a", ValueOf::Disk, 93.0);
    for _ in 0..5 {
        assert_eq!(world.look(), NOTHING);
    }
    world.measure("a", ValueOf::Disk, 93.0);
    assert_eq!(world.look()[0], "fired disk.a");
    // One that stops coming says nothing good.
    world.node("a").values.clear();
    for _ in 0..5 {
        assert_eq!(world.look(), NOTHING);
    }
    assert_eq!(world.states(), firing("disk.a"));
}

#[test]
fn on_the_border_nothing_is_said() {
    let mut world = World::new(vec![disk()]);
    for _ in 0..2 {
        world.measure("a", ValueOf::Disk, 91.0);
        world.look();
    }
    for value in [89.9, 90.1, 89.0, 88.5, 90.0] {
        world.measure("a", ValueOf::Disk, value);
        assert_eq!(world.look(), NOTHING);
    }
    assert_eq!(world.states(), firing("disk.a"));
}

#[test]
fn an_alert_ends_with_its_subject_or_its_rule() {
    let mut world = World::new(vec![disk()]);
    for _ in 0..2 {
        world.measure("a", ValueOf::Disk, 93.0);
        world.measure("b", ValueOf::Disk, 94.0);
        world.look();
    }
    world.seen.nodes.remove("a");
    assert_eq!(
        world.look(),
        ["tell ops resolved disk.a", "resolved disk.a"]
    );
    let stored = world.alerts.stored();
    world.alerts = Alerts::new(Vec::new(), vec![name("ops")], 0);
    world.alerts.restore(stored);
    assert_eq!(
        world.look(),
        ["tell ops resolved disk.b", "resolved disk.b"]
    );
}

#[test]
fn a_lost_node_is_told_after_the_grace_and_what_is_on_it_stays_as_it_was() {
    let rules = ["node_lost", "disk", "unhealthy"];
    let built_in = built_in().into_iter();
    let mut world = World::new(
        built_in
            .filter(|r| rules.contains(&r.name.as_str()))
            .collect(),
    );
    world.instance("web", InstanceState::Unhealthy, 0);
    world.look();
    assert_eq!(world.look()[0], "fired unhealthy.web.a");
    assert_eq!(world.message(), "web on a is unhealthy: it does not answer");
    let (presence_ms, now) = (world.now, world.now);
    let node = world.node("a");
    node.presence = Presence::Offline;
    node.presence_ms = presence_ms;
    node.heard_ms = now - 5_000;
    node.reason = "its connection was lost".into();
    world.seen.is_early = true;
    for _ in 0..3 {
        assert_eq!(world.look(), NOTHING);
    }
    world.seen.is_early = false;
    assert_eq!(world.look(), NOTHING);
    assert_eq!(
        world.look(),
        ["fired node_lost.a", "tell ops firing node_lost.a"]
    );
    let all = world.alerts.views(&world.seen.silences, world.now);
    let lost = all.iter().find(|a| a.id == "node_lost.a").unwrap();
    assert_eq!(
        lost.message,
        "a has not been heard for 80 s (its connection was lost)"
    );
    // Whatever is said of it now, from wherever.
    for _ in 0..3 {
        world.measure("a", ValueOf::Disk, 99.0);
        world.instance("web", InstanceState::Running, 0);
        assert_eq!(world.look(), NOTHING);
    }
    assert_eq!(world.alerts.count(), 2);
    let node = world.node("a");
    node.presence = Presence::Online;
    node.values.clear();
    world.look();
    let over = world.look();
    assert!(
        over.contains(&"resolved node_lost.a".to_owned()),
        "{over:?}"
    );
    let later = [world.look(), world.look()].concat();
    assert!(
        over.iter()
            .chain(&later)
            .any(|s| s == "resolved unhealthy.web.a"),
        "{over:?} {later:?}"
    );
}

#[test]
fn a_node_must_be_offline_for_as_long_as_the_rule_says() {
    let when = Condition::NodeLost { after_ms: 60_000 };
    let mut world = World::new(vec![Rule::new("gone", Severity::Info, when)]);
    world.node("a").presence = Presence::Silent;
    for _ in 0..10 {
        assert_eq!(world.look(), NOTHING);
    }
    let now = world.now;
    world.node("a").presence = Presence::Offline;
    world.node("a").presence_ms = now;
    for _ in 0..4 {
        assert_eq!(world.look(), NOTHING);
    }
    assert_eq!(world.look(), ["fired gone.a", "tell ops firing gone.a"]);
}

#[test]
fn between_two_ends_of_a_crash_loop_it_is_not_well() {
    let rule = Rule::new("crashloop", Severity::Warning, Condition::Crashloop);
    let mut world = World::new(vec![rule]);
    world.instance("web", InstanceState::CrashLoop, 3);
    world.look();
    world.instance("web", InstanceState::Starting, 4);
    assert_eq!(world.look(), NOTHING, "on its way is no sample");
    world.instance("web", InstanceState::CrashLoop, 4);
    assert_eq!(world.look()[0], "fired crashloop.web.a");
    assert_eq!(
        world.message(),
        "web on a restarts over and over: exit code 1"
    );
    for restarts in 5..15 {
        world.instance("web", InstanceState::Running, restarts);
        assert_eq!(world.look(), NOTHING);
    }
    world.look();
    assert_eq!(world.look()[1], "resolved crashloop.web.a");
}

#[test]
fn an_instance_that_failed_is_told_until_it_is_removed() {
    let rule = Rule::new("failed", Severity::Warning, Condition::Failed);
    let mut world = World::new(vec![rule]);
    world.instance("web", InstanceState::Failed, 0);
    world.look();
    world.look();
    assert_eq!(world.message(), "web on a has failed: it does not answer");
    world.node("a").instances.clear();
    assert_eq!(world.look()[1], "resolved failed.web.a");
}

fn rollout(to: u64, failed: bool) -> RolloutSeen {
    RolloutSeen {
        to,
        version: format!("1.{to}.0"),
        failed,
        back: failed,
        reason: "on a, health check: it does not answer".into(),
    }
}

#[test]
fn a_failed_rollout_is_told_until_another_takes_its_place() {
    let rule = Rule::new(
        "rollout_failed",
        Severity::Warning,
        Condition::RolloutFailed,
    );
    let mut world = World::new(vec![rule]);
    let web = name("web");
    world.seen.rollouts.insert(web.clone(), rollout(3, true));
    world.look();
    assert_eq!(world.look()[0], "fired rollout_failed.web");
    assert_eq!(
        world.message(),
        "the rollout of web to 1.3.0 was rolled back: on a, health check: it does not answer"
    );
    for _ in 0..3 {
        assert_eq!(world.look(), NOTHING);
    }
    world.seen.rollouts.insert(web.clone(), rollout(4, false));
    assert_eq!(world.look()[1], "resolved rollout_failed.web");
    // One that fails as well is another alert.
    world.seen.rollouts.insert(web.clone(), rollout(5, true));
    world.look();
    assert_eq!(world.look()[0], "fired rollout_failed.web");
    world.seen.rollouts.insert(web, rollout(6, true));
    assert_eq!(world.look()[1], "resolved rollout_failed.web");
    assert_eq!(world.look()[0], "fired rollout_failed.web");
}

#[test]
fn a_certificate_and_the_journal_are_the_controllers_own() {
    let when = Condition::Certificate {
        before_ms: 14 * 86_400_000,
    };
    let rules = vec![
        Rule::new("certificate", Severity::Warning, when),
        Rule::new("journal", Severity::Critical, Condition::Journal),
    ];
    let mut world = World::new(rules);
    world.seen.certificates = vec![CertificateSeen {
        name: name("broker-ca"),
        title: "the CA of the external broker",
        not_after_ms: START + 15 * 86_400_000,
    }];
    assert_eq!(world.look(), NOTHING);
    world.look();
    world.now += 86_400_000;
    world.seen.journal.trouble = Some("no space left".into());
    world.look();
    let said = world.look();
    assert_eq!(said[0], "fired certificate.broker-ca");
    assert_eq!(said[1], "fired journal");
    let views = world.alerts.views(&world.seen.silences, world.now);
    let messages: Vec<&str> = views.iter().map(|v| v.message.as_str()).collect();
    assert!(
        messages.contains(&"the CA of the external broker ends in 13 days"),
        "{messages:?}"
    );
    assert!(
        messages.contains(&"the controller cannot keep what happens: no space left"),
        "{messages:?}"
    );
    world.seen.journal.trouble = None;
    world.look();
    assert_eq!(world.look()[1], "resolved journal");
}

#[test]
fn a_rule_is_about_the_nodes_and_workloads_that_it_names() {
    let mut lab = disk();
    lab.nodes = vec![Requirement::try_from("zone=lab".to_owned()).unwrap()];
    let mut failed = Rule::new("failed", Severity::Warning, Condition::Failed);
    failed.workloads = vec![name("web")];
    let mut world = World::new(vec![lab, failed]);
    world
        .node("b")
        .properties
        .insert("zone".into(), "lab".into());
    world.instance("web", InstanceState::Failed, 0);
    world.instance("db", InstanceState::Failed, 0);
    for _ in 0..2 {
        world.measure("a", ValueOf::Disk, 93.0);
        world.measure("b", ValueOf::Disk, 93.0);
        world.look();
    }
    let ids: Vec<String> = world.states().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["disk.b", "failed.web.a"]);
    world.node("b").properties.clear();
    assert_eq!(
        world.look()[1],
        "resolved disk.b",
        "it is not in the lab any more"
    );
}

/// The sentences of the ends in the last look.
fn ends(world: &mut World) -> Vec<String> {
    let before = world.said.len();
    world.look();
    let said = world.said[before..].iter();
    let ends = said.filter_map(|t| match t {
        Transition::Resolved(n) => Some(n.message.clone()),
        _ => None,
    });
    ends.collect()
}

#[test]
fn an_end_is_told_by_a_sentence_of_its_own() {
    let rules = ["node_lost", "disk", "failed", "rollout_failed"];
    let rules: Vec<Rule> = built_in()
        .into_iter()
        .filter(|r| rules.contains(&r.name.as_str()))
        .collect();
    let mut world = World::new(rules);
    let bad = |world: &mut World| {
        world.seen.workloads.extend([name("web"), name("db")]);
        let failed = world.node("a");
        failed.presence = Presence::Online;
        for workload in ["web", "db"] {
            world.instance(workload, InstanceState::Failed, 0);
        }
        world.seen.rollouts.insert(name("web"), rollout(3, true));
        world.node("b").presence = Presence::Offline;
        for _ in 0..2 {
            world.measure("a", ValueOf::Disk, 93.0);
            world.look();
        }
        assert_eq!(world.alerts.count(), 5);
    };
    bad(&mut world);
    world.instance("web", InstanceState::Running, 0);
    world.instance("db", InstanceState::Stopped, 0);
    world.seen.rollouts.insert(name("web"), rollout(4, true));
    world.node("b").presence = Presence::Online;
    world.measure("a", ValueOf::Disk, 60.0);
    let mut said = ends(&mut world);
    world.measure("a", ValueOf::Disk, 60.0);
    said.extend(ends(&mut world));
    said.sort();
    assert_eq!(
        said,
        [
            "another rollout of web took its place, to 1.4.0",
            "b is heard again",
            "db on a is stopped",
            "disk of a is 60 % full again (below 90 %)",
            "web on a is well again",
        ]
    );

    let mut world = World::new(world.alerts.rules().to_vec());
    bad(&mut world);
    world.node("a").instances.clear();
    world.seen.workloads.remove("web");
    world.seen.rollouts.clear();
    world.seen.nodes.remove("b");
    let mut said = ends(&mut world);
    said.sort();
    assert_eq!(
        said,
        [
            "b is no node of the fleet any more",
            "db is not on a any more",
            "web was removed",
            "web was removed",
        ]
    );
    let stored = world.alerts.stored();
    world.alerts = Alerts::new(Vec::new(), Vec::new(), 0);
    world.alerts.restore(stored);
    assert_eq!(
        ends(&mut world),
        ["the rule `disk` is off or gone: it does not look at a any more"]
    );
}

#[test]
fn a_limit_is_said_as_it_is_configured_and_the_value_so_that_it_is_beyond_it() {
    let when = Condition::Telemetry {
        metric: Metric::Load,
        value: "1m".into(),
        limit: Limit::Above(0.01),
    };
    let mut world = World::new(vec![Rule::new("busy", Severity::Info, when)]);
    let which = ValueOf::Telemetry(Metric::Load, "1m".into());
    for _ in 0..2 {
        world.measure("a", which.clone(), 0.0123);
        world.look();
    }
    assert_eq!(world.message(), "load 1m of a is 0.012 (above 0.01)");
    world.measure("a", which.clone(), 0.0);
    assert!(ends(&mut world).is_empty());
    world.measure("a", which, 0.0);
    assert_eq!(ends(&mut world), ["load 1m of a is 0 again (below 0.01)"]);
}

#[test]
fn telemetry_can_be_too_low() {
    let when = Condition::Telemetry {
        metric: Metric::Memory,
        value: "available".into(),
        limit: Limit::Below(100.0),
    };
    let mut world = World::new(vec![Rule::new("tight", Severity::Info, when)]);
    for _ in 0..2 {
        let which = ValueOf::Telemetry(Metric::Memory, "available".into());
        world.measure("a", which, 12.5);
        world.look();
    }
    assert_eq!(world.message(), "memory available of a is 12.5 (below 100)");
}
