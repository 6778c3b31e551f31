use super::*;
use crate::fleet::FleetConfig;

#[test]
fn what_may_move_leaves_a_node_that_is_lost_and_not_a_moment_earlier() {
    let mut world = World::of(&["a", "b"]);
    world.apply(applied(&[replicas("web", 1)]));
    world.report_all();
    let home = world.placed("web")[0].clone();
    world.offline(&home);
    assert_eq!(world.fleet.next_deadline(), Some(world.at + LOST_AFTER));
    world.pass(LOST_AFTER - 1);
    assert_eq!(world.placed("web"), std::slice::from_ref(&home));
    let before = world.fleet.node(&home).unwrap().generation;
    let effects = world.pass(1);
    assert_eq!(events(&effects), ["node_lost", "instance_failed_over"]);
    assert_ne!(world.placed("web"), std::slice::from_ref(&home));
    // The lost node is told as well: what waits for it is the newer assignment.
    assert!(effects.contains(&Effect::PublishAssignment(name(&home))));
    assert!(world.fleet.node(&home).unwrap().generation > before);

    let effects = world.online(&home);
    assert_eq!(events(&effects), ["node_online", "node_back"]);
    assert!(world.fleet.assignment(&home).unwrap().instances.is_empty());
    world.settle();
    assert_ne!(world.placed("web"), [home], "nothing moves back by itself");
    world.replays();
}

#[test]
fn a_node_that_returns_in_time_keeps_what_it_has() {
    let mut world = World::of(&["a", "b"]);
    world.apply(applied(&[replicas("web", 1)]));
    let home = world.placed("web")[0].clone();
    world.offline(&home);
    world.pass(LOST_AFTER - 1);
    world.online(&home);
    let effects = world.pass(10 * LOST_AFTER);
    assert_eq!(events(&effects), [""; 0]);
    assert_eq!(world.placed("web"), [home]);
}

#[test]
fn of_a_node_that_is_away_nothing_is_said_to_run() {
    let mut world = World::of(&["a", "b"]);
    world.apply(applied(&[replicas("web", 1)]));
    world.report_all();
    let home = world.placed("web")[0].clone();
    let shown = |world: &World| {
        let view = world.fleet.node_view(&name(&home), None).unwrap();
        (view.running, view.instances)
    };
    assert_eq!(shown(&world), (1, 1));
    world.offline(&home);
    assert_eq!(shown(&world), (0, 1));
    world.pass(LOST_AFTER);
    // It was placed elsewhere: what the node reported last is no instance of its any more.
    assert_eq!(shown(&world), (0, 0));
}

#[test]
fn another_last_will_does_not_make_a_node_less_long_offline() {
    let mut world = World::of(&["a", "b"]);
    world.offline("a");
    world.pass(LOST_AFTER - 1);
    world.offline("a");
    assert_eq!(events(&world.pass(1)), ["node_lost"]);
}

#[test]
fn local_state_and_every_wait_for_their_node_and_say_so() {
    let mut world = World::of(&["a", "b"]);
    world.apply(applied(&[stateful("db"), every("probe")]));
    let home = world.placed("db")[0].clone();
    world.offline(&home);
    world.pass(LOST_AFTER);
    assert_eq!(world.placed("db"), std::slice::from_ref(&home));
    assert_eq!(world.placed("probe"), ["a", "b"]);
    let reason = world.reason("db", &home);
    let command = format!("`fleetctl instance migrate db --from {home} --force`");
    assert!(reason.contains("local state in volume data"), "{reason}");
    assert!(reason.contains(&command), "{reason}");

    // A person gives the state up.
    let refusal = world.refused(migrated("db", &home, None, false));
    assert!(refusal.contains("local state"), "{refusal}");
    let effects = world.apply(migrated("db", &home, None, true));
    assert_eq!(
        events(&effects),
        ["instance_migrated", "local_state_left_behind"]
    );
    assert_ne!(world.placed("db"), [home]);
    world.replays();
}

#[test]
fn what_has_no_other_node_waits_and_goes_as_soon_as_there_is_one() {
    let mut world = World::of(&["a"]);
    world.apply(applied(&[replicas("web", 1)]));
    world.offline("a");
    world.pass(LOST_AFTER);
    assert_eq!(world.placed("web"), ["a"]);
    assert!(
        world
            .reason("web", "a")
            .contains("it waits for another node")
    );
    world.join("b");
    assert_eq!(
        world.placed("web"),
        ["a"],
        "a moment later: others may return too"
    );
    world.pass(10_000);
    assert_eq!(world.placed("web"), ["b"]);
    world.replays();
}

#[test]
fn nodes_that_return_within_a_moment_keep_what_they_have() {
    let mut world = World::of(&["a", "b", "c"]);
    let all: Vec<Workload> = (0..9).map(|n| replicas(&format!("w{n}"), 1)).collect();
    world.apply(applied(&all));
    let before: Vec<Vec<String>> = all.iter().map(|w| world.placed(w.name.as_str())).collect();
    for node in ["a", "b", "c"] {
        world.offline(node);
    }
    world.pass(2 * LOST_AFTER);
    for node in ["a", "b", "c"] {
        world.online(node);
        world.pass(1_000);
    }
    world.pass(60_000);
    let after: Vec<Vec<String>> = all.iter().map(|w| world.placed(w.name.as_str())).collect();
    assert_eq!(after, before);
}

#[test]
fn where_lost_after_is_zero_nothing_is_ever_lost() {
    let mut world = World::of(&["a", "b"]);
    world.apply(Change::FleetConfigured {
        config: FleetConfig {
            lost_after_ms: 0,
            rebalance: None,
        },
    });
    world.offline("a");
    assert_eq!(world.fleet.next_deadline(), None);
    assert!(world.refused(Change::TimePassed {}).contains("nothing"));
}

#[test]
fn a_node_that_never_came_is_not_lost() {
    let mut world = World::of(&["a"]);
    world.apply(enrolled("b", "key-b", true));
    assert_eq!(world.fleet.next_deadline(), None);
}

#[test]
fn of_nodes_that_are_lost_together_none_takes_over_from_another() {
    let mut world = World::of(&["a", "b", "c"]);
    world.apply(applied(&[replicas("web", 2)]));
    for node in world.placed("web") {
        world.offline(&node);
    }
    world.pass(LOST_AFTER);
    // One found room on the third node, the other waits where it was.
    let placed = world.placed("web");
    let heard = |n: &&String| world.fleet.node(n).unwrap().presence == Presence::Online;
    assert_eq!(placed.iter().filter(heard).count(), 1, "{placed:?}");
    assert_eq!(placed.len(), 2);
}

#[test]
fn a_node_that_flaps_twenty_times_gets_nothing_new_until_it_has_held_still() {
    let mut world = World::of(&["a", "b"]);
    let mut seen = Vec::new();
    for _ in 0..20 {
        world.offline("a");
        world.pass(1_000);
        let effects = world.online("a");
        seen.extend(events(&effects).into_iter().map(str::to_owned));
        world.pass(1_000);
    }
    let damped = seen.iter().filter(|e| *e == "node_damped").count();
    assert_eq!(damped, 1);
    assert!(world.fleet.node("a").unwrap().flaps.damped);
    world.apply(applied(&[replicas("web", 2)]));
    assert_eq!(world.placed("web"), ["b"], "{}", world.reason("web", "a"));
    let view = world.fleet.node_view(&name("a"), None).unwrap();
    assert!(view.damped);

    let effects = world.pass(20 * 60_000);
    assert_eq!(events(&effects), ["node_undamped"]);
    assert_eq!(world.placed("web"), ["a", "b"]);
    world.replays();
}

#[test]
fn a_node_that_is_removed_says_whose_state_went_with_it() {
    let mut world = World::of(&["a", "b"]);
    world.apply(applied(&[stateful("db")]));
    let home = world.placed("db")[0].clone();
    let effects = world.apply(Change::NodeRemoved { node: name(&home) });
    let said = effects.iter().find_map(|e| match e {
        Effect::Emit(event) => Some(event.message.clone()),
        _ => None,
    });
    let said = said.unwrap();
    assert!(said.contains("db had local state there"), "{said}");
    assert_ne!(world.placed("db"), [home]);
    world.replays();
}

#[test]
fn a_lost_node_ends_the_moves_that_it_is_part_of() {
    for lost in ["from", "to"] {
        for w in [replicas("web", 1), shared("web")] {
            let mut world = World::of(&["a", "b"]);
            let new_first = w.volumes.is_empty();
            world.apply(applied(&[w]));
            world.report_all();
            let from = world.placed("web")[0].clone();
            world.apply(migrated("web", &from, None, false));
            let to = world.fleet.workload("web").unwrap().moves[from.as_str()]
                .to
                .to_string();
            let (gone, stays) = match lost {
                "from" => (&from, &to),
                _ => (&to, &from),
            };
            world.offline(gone);
            // Long before the move itself would be given up.
            world.pass(LOST_AFTER);
            assert_eq!(world.moves(), 0, "{lost}, new first: {new_first}");
            assert_eq!(world.placed("web"), std::slice::from_ref(stays));
            assert_eq!(world.assigned("web"), std::slice::from_ref(stays));
            world.replays();
        }
    }
}
