//! Who is told, when, and who is not.

use super::*;

/// `disk.a` is about to fire at the next look.
fn nearly(rule: Rule) -> World {
    let mut world = World::new(vec![rule]);
    world.measure("a", ValueOf::Disk, 93.0);
    assert_eq!(world.look(), NOTHING);
    world.measure("a", ValueOf::Disk, 93.0);
    world
}

/// It fires at once, and stays so.
fn fired(rule: Rule) -> World {
    let mut world = nearly(rule);
    assert_eq!(world.look(), ["fired disk.a", "tell ops firing disk.a"]);
    world
}

#[test]
fn what_still_fires_is_told_again_after_a_while() {
    let mut world = fired(Rule {
        repeat_ms: Some(60_000),
        ..disk()
    });
    let said: Vec<Vec<String>> = (0..8).map(|_| world.look()).collect();
    let told: Vec<usize> = (0..8).filter(|n| !said[*n].is_empty()).collect();
    assert_eq!(told, [3, 7]);
    assert_eq!(said[3], ["tell ops repeated disk.a"]);
    let mut world = fired(Rule {
        repeat_ms: Some(0),
        ..disk()
    });
    world.now += 365 * 86_400_000;
    assert_eq!(world.look(), NOTHING);
}

#[test]
fn others_are_told_once_when_nobody_cares() {
    let mut world = fired(Rule {
        escalate_after_ms: Some(30_000),
        escalate_to: vec![name("boss")],
        ..disk()
    });
    assert_eq!(world.look(), NOTHING);
    assert_eq!(world.look(), ["tell boss escalated disk.a"]);
    let shown = world.alerts.views(&world.seen.silences, world.now);
    assert_eq!(shown[0].escalated_ms, Some(world.now));
    assert_eq!(world.look(), NOTHING);
    world.seen.nodes.remove("a");
    assert_eq!(
        world.look()[0],
        "tell boss,ops resolved disk.a",
        "whoever was told"
    );
}

#[test]
fn of_what_else_is_wrong_with_a_lost_node_nobody_is_told_again_until_it_is_heard() {
    let loud = |rule: Rule| Rule {
        repeat_ms: Some(60_000),
        escalate_after_ms: Some(45_000),
        escalate_to: vec![name("boss")],
        ..rule
    };
    let when = Condition::NodeLost { after_ms: 0 };
    let lost = Rule::new("node_lost", Severity::Critical, when);
    let failed = Rule::new("failed", Severity::Warning, Condition::Failed);
    let mut world = World::new(vec![loud(disk()), loud(failed), loud(lost)]);
    world.instance("web", InstanceState::Failed, 0);
    for _ in 0..2 {
        world.measure("a", ValueOf::Disk, 93.0);
        world.look();
    }
    world.node("a").presence = Presence::Offline;
    let mut said = Vec::new();
    for _ in 0..12 {
        said.extend(world.look());
    }
    let (of_the_loss, others): (Vec<String>, Vec<String>) =
        said.into_iter().partition(|s| s.ends_with(" node_lost.a"));
    assert!(others.is_empty(), "{others:?}");
    assert!(of_the_loss.contains(&"tell boss escalated node_lost.a".to_owned()));
    assert!(
        of_the_loss
            .iter()
            .any(|s| s.contains(" repeated node_lost.a"))
    );
    let states: Vec<AlertState> = world.states().into_iter().map(|(_, s)| s).collect();
    assert_eq!(
        states,
        [AlertState::Firing; 3],
        "all are in the list as they were"
    );
    // It is heard, and still so: now it is told.
    world.node("a").presence = Presence::Online;
    let mut said = Vec::new();
    for _ in 0..3 {
        world.measure("a", ValueOf::Disk, 93.0);
        said.extend(world.look());
    }
    for expected in [
        "tell ops repeated disk.a",
        "tell boss escalated failed.web.a",
    ] {
        assert!(said.contains(&expected.to_owned()), "{expected}: {said:?}");
    }
}

#[test]
fn the_worst_is_listed_first_and_what_is_over_by_its_time() {
    let urgent = Rule {
        name: "urgent".into(),
        severity: Severity::Critical,
        ..disk()
    };
    let mut world = World::new(vec![urgent, disk()]);
    for node in ["a", "b"] {
        for _ in 0..2 {
            world.measure(node, ValueOf::Disk, 93.0);
            world.look();
        }
    }
    let ids = |world: &World| {
        let all = world.states().into_iter();
        all.map(|(id, _)| id).collect::<Vec<String>>()
    };
    assert_eq!(ids(&world), ["urgent.b", "urgent.a", "disk.b", "disk.a"]);
    world.silence("node=b", world.now + 1_000_000);
    assert_eq!(ids(&world), ["urgent.a", "disk.a", "urgent.b", "disk.b"]);
    let views = world.alerts.rule_views(&world.seen.silences, world.now);
    let rule = views.iter().find(|r| r.name == "disk").unwrap();
    assert_eq!((rule.firing, rule.silenced), (1, 1), "counted apart");
    assert_eq!(rule.condition, "disk above 90 %");
    world.seen.nodes.clear();
    world.look();
    assert_eq!(ids(&world), ["disk.b", "urgent.b", "disk.a", "urgent.a"]);
}

#[test]
fn of_what_is_silenced_nobody_is_told_until_the_silence_is_over() {
    let mut world = nearly(Rule {
        escalate_after_ms: Some(15_000),
        escalate_to: vec![name("boss")],
        repeat_ms: Some(60_000),
        ..disk()
    });
    let until = world.now + 10 * STEP;
    world.silence("rule=disk,node=a", until);
    assert_eq!(world.look(), ["fired disk.a"], "it fires all the same");
    assert_eq!(world.states(), [("disk.a".into(), AlertState::Silenced)]);
    while world.now + STEP < until {
        assert_eq!(world.look(), NOTHING);
    }
    let after = world.look();
    assert_eq!(
        after,
        ["tell ops firing disk.a", "tell boss escalated disk.a"]
    );
    assert_eq!(world.states(), [("disk.a".into(), AlertState::Firing)]);
}

#[test]
fn who_was_told_of_it_is_told_its_end_though_it_is_silenced() {
    let mut world = fired(disk());
    let until = world.now + 10 * STEP;
    world.silence("disk.a", until);
    let shown = world.alerts.views(&world.seen.silences, world.now);
    let by = shown[0].silenced.as_ref().unwrap();
    assert_eq!(
        (by.until_ms, by.comment.as_str(), by.by.as_str()),
        (until, "quiet", "ann")
    );
    world.seen.nodes.remove("a");
    assert_eq!(
        world.look(),
        ["tell ops resolved disk.a", "resolved disk.a"]
    );
}

#[test]
fn of_what_began_and_ended_while_it_was_silenced_nobody_is_told() {
    let mut world = nearly(disk());
    world.silence("disk.a", world.now + 10 * STEP);
    assert_eq!(world.look(), ["fired disk.a"]);
    world.seen.nodes.remove("a");
    assert_eq!(world.look(), ["resolved disk.a"]);
}

#[test]
fn a_rule_can_tell_others_or_nobody() {
    let mut world = nearly(Rule {
        notify: Some(vec![name("boss")]),
        ..disk()
    });
    assert_eq!(world.look(), ["fired disk.a", "tell boss firing disk.a"]);
    let mut world = nearly(Rule {
        notify: Some(Vec::new()),
        ..disk()
    });
    assert_eq!(world.look(), ["fired disk.a"]);
    world.seen.nodes.remove("a");
    assert_eq!(world.look(), ["resolved disk.a"]);
}

#[test]
fn after_a_restart_nobody_is_told_twice() {
    let mut world = fired(disk());
    assert!(world.alerts.take_changed());
    assert!(!world.alerts.take_changed());
    let text = serde_json::to_string(&world.alerts.stored()).unwrap();
    world.alerts = Alerts::new(vec![disk()], vec![name("ops")], 3_600_000);
    world.alerts.restore(serde_json::from_str(&text).unwrap());
    assert_eq!(world.states(), [("disk.a".into(), AlertState::Firing)]);
    world.node("a").values.clear();
    for _ in 0..3 {
        assert_eq!(world.look(), NOTHING);
    }
    assert!(
        !world.alerts.take_changed(),
        "nothing is written while nothing changes"
    );
    for _ in 0..2 {
        world.measure("a", ValueOf::Disk, 93.0);
        assert_eq!(world.look(), NOTHING);
    }
    for _ in 0..2 {
        world.measure("a", ValueOf::Disk, 3.0);
        world.look();
    }
    let last = world
        .said
        .iter()
        .rev()
        .take(2)
        .map(short)
        .collect::<Vec<_>>();
    assert_eq!(last, ["resolved disk.a", "tell ops resolved disk.a"]);
}

#[test]
fn of_too_many_alerts_the_newest_are_left_out_and_that_is_said_once() {
    let mut world = World::new(vec![Rule {
        samples: 1,
        notify: Some(Vec::new()),
        ..disk()
    }]);
    for n in 0..MAX_ALIVE + 5 {
        world.seen.nodes.insert(name(&format!("n{n}")), online());
    }
    let full = |world: &mut World| {
        let at = world.now + 1;
        for node in world.seen.nodes.values_mut() {
            let measured = Measured {
                value: 93.0,
                heard_ms: at,
            };
            node.values.insert(ValueOf::Disk, measured);
        }
        let said = world.look();
        let full = said.into_iter().filter(|s| s.starts_with("full"));
        full.collect::<Vec<String>>()
    };
    assert_eq!(full(&mut world), ["full 7"]);
    assert_eq!(world.alerts.count(), MAX_ALIVE);
    assert_eq!(full(&mut world), NOTHING, "once");
    let gone: Vec<Name> = world
        .seen
        .nodes
        .keys()
        .take(MAX_ALIVE - 100)
        .cloned()
        .collect();
    for node in gone {
        world.seen.nodes.remove(&node);
    }
    assert_eq!(full(&mut world), NOTHING);
    assert_eq!(world.alerts.count(), 107);
    let all = world.alerts.views(&world.seen.silences, world.now);
    let over = all
        .iter()
        .filter(|a| a.state == AlertState::Resolved)
        .count();
    assert_eq!(over, MAX_RESOLVED);
}
