use super::*;
use crate::fleet::DrainView;

fn view(world: &World, node: &str) -> DrainView {
    let view = world.fleet.node_view(&name(node), None).unwrap();
    view.drain.expect("it is drained")
}

#[test]
fn a_cordoned_node_keeps_what_it_has_and_gets_nothing_new() {
    let mut world = World::of(&["a"]);
    world.apply(applied(&[replicas("web", 1)]));
    assert_eq!(events(&world.apply(cordoned("a", true))), ["node_cordoned"]);
    assert!(world.refused(cordoned("a", true)).contains("nothing"));
    world.apply(applied(&[replicas("new", 1)]));
    assert_eq!(world.placed("web"), ["a"]);
    assert_eq!(world.placed("new"), [""; 0]);
    world.apply(cordoned("a", false));
    assert_eq!(world.placed("new"), ["a"]);
    world.replays();
}

#[test]
fn a_drain_empties_a_node_a_few_at_a_time_and_says_when_it_is_done() {
    let mut world = World::of(&["a"]);
    let all: Vec<Workload> = (0..10).map(|n| replicas(&format!("w{n}"), 1)).collect();
    world.apply(applied(&all));
    world.join("b");
    world.report_all();
    world.apply(drained("a", Some(false)));
    let now = view(&world, "a");
    assert_eq!((now.total, now.left, now.moving), (10, 10, 4));
    assert_eq!(now.blocked, []);
    let mut most = 0;
    let mut seen = Vec::new();
    for _ in 0..20 {
        most = most.max(world.moves());
        let mut effects = world.report_all();
        effects.extend(world.pass(HEALTHY));
        seen.extend(events(&effects).into_iter().map(str::to_owned));
    }
    assert_eq!(most, 4);
    assert_eq!(seen.iter().filter(|e| *e == "node_drained").count(), 1);
    let now = view(&world, "a");
    assert_eq!((now.total, now.left, now.moving), (10, 0, 0));
    assert!(now.done_ms.is_some());
    assert!(world.fleet.assignment("a").unwrap().instances.is_empty());
    world.replays();
}

#[test]
fn of_one_workload_one_instance_leaves_at_a_time() {
    let mut world = World::of(&["a", "b"]);
    world.apply(applied(&[replicas("web", 2)]));
    world.join("c");
    world.join("d");
    world.report_all();
    world.apply(drained("a", Some(false)));
    world.apply(drained("b", Some(false)));
    assert_eq!(world.moves(), 1);
    world.settle();
    world.pass(60_000);
    world.settle();
    assert_eq!(world.placed("web"), ["c", "d"]);
    assert!(view(&world, "b").done_ms.is_some());
    world.replays();
}

#[test]
fn what_holds_a_drain_up_is_named() {
    let mut world = World::of(&["a"]);
    let mut pinned = replicas("pinned", 1);
    pinned.placement.nodes = vec![name("a")];
    let special = requires(replicas("special", 1), &["arch=mips"]);
    world.apply(super::super::labelled("a", "arch", Some("mips")));
    world.apply(applied(&[
        stateful("db"),
        every("probe"),
        pinned,
        special,
        replicas("web", 1),
    ]));
    world.join("b");
    world.report_all();
    world.apply(drained("a", Some(false)));
    world.settle();
    let now = view(&world, "a");
    assert_eq!((now.total, now.left, now.moving), (4, 3, 0));
    let of = |w: &str| {
        let found = now.blocked.iter().find(|b| b.workload.as_str() == w);
        found.map(|b| b.reason.clone()).unwrap_or_default()
    };
    assert!(
        of("db").contains("local state in volume data"),
        "{}",
        of("db")
    );
    assert!(
        of("pinned").contains("b (it is not among `nodes`)"),
        "{}",
        of("pinned")
    );
    assert!(of("special").contains("arch"), "{}", of("special"));
    assert_eq!(now.blocked.len(), 3);
    assert_eq!(
        world.placed("probe"),
        ["a", "b"],
        "what is on every node stays"
    );

    // By force, what has local state goes too; and what has a node now.
    world.apply(super::super::labelled("b", "arch", Some("mips")));
    world.apply(drained("a", Some(true)));
    world.settle();
    world.pass(60_000);
    world.settle();
    assert_eq!(world.placed("db"), ["b"]);
    assert_eq!(world.placed("special"), ["b"]);
    assert_eq!(view(&world, "a").left, 1);
    world.replays();
}

#[test]
fn a_drain_that_is_ended_begins_no_further_moves() {
    for end in [drained("a", None), cordoned("a", false)] {
        let mut world = World::of(&["a"]);
        let all: Vec<Workload> = (0..6).map(|n| replicas(&format!("w{n}"), 1)).collect();
        world.apply(applied(&all));
        world.join("b");
        world.report_all();
        world.apply(drained("a", Some(false)));
        world.apply(end);
        world.settle();
        let stayed = all
            .iter()
            .filter(|w| world.placed(w.name.as_str()) == ["a"]);
        assert_eq!(stayed.count(), 2);
        assert!(world.refused(drained("a", None)).contains("nothing"));
        world.replays();
    }
}

#[test]
fn an_empty_node_is_drained_at_once() {
    let mut world = World::of(&["a"]);
    let effects = world.apply(drained("a", Some(false)));
    assert_eq!(events(&effects), ["node_draining", "node_drained"]);
    assert!(world.refused(drained("a", Some(false))).contains("nothing"));
}

#[test]
fn a_node_that_never_works_is_not_tried_again_and_again() {
    let mut world = World::of(&["a"]);
    world.apply(applied(&[replicas("web", 1)]));
    world.join("b");
    world.report("a");
    world.apply(drained("a", Some(false)));
    // Three hours; the other node never says a word of it.
    let effects = world.pass(3 * 3_600_000);
    let tried = events(&effects)
        .iter()
        .filter(|e| **e == "instance_migrating")
        .count();
    assert!((2..20).contains(&tried), "{tried}");
    assert!(world.placed("web").contains(&"a".to_owned()));
    world.replays();
}

#[test]
fn a_reservation_must_be_possible() {
    let mut world = World::of(&["a"]);
    let reserve = |memory, cpus| Change::NodeReserved {
        node: name("a"),
        reserved: crate::fleet::Reserved { memory, cpus },
    };
    assert_eq!(
        world.refused(reserve(2 << 30, 0.0)),
        "a has 1 GiB of memory: 2 GiB cannot be reserved"
    );
    assert!(world.refused(reserve(0, f64::NAN)).contains("cores"));
    assert!(world.refused(reserve(0, -1.0)).contains("cores"));
    world.apply(reserve(1 << 29, 0.5));
    assert!(world.refused(reserve(1 << 29, 0.5)).contains("nothing"));
    let view = world.fleet.node_view(&name("a"), None).unwrap();
    assert_eq!((view.reserved.memory, view.load), (1 << 29, 50));
}

/// A workload with more replicas than two other nodes carry, all of which are up.
fn crowded() -> World {
    let mut world = World::of(&["a", "b", "c"]);
    world.apply(applied(&[replicas("web", 3)]));
    world.report_all();
    world
}

fn missing(world: &World, workload: &str) -> u32 {
    world.fleet.workload(workload).unwrap().missing
}

#[test]
fn a_replica_that_no_other_node_can_take_stops_and_waits() {
    let mut world = crowded();
    let effects = world.apply(drained("a", Some(false)));
    // It is empty when it has said so, and not while it is still stopping something.
    assert_eq!(events(&effects), ["node_draining", "instance_waits"]);
    let now = view(&world, "a");
    assert_eq!((now.left, now.moving, now.done_ms), (1, 1, None));
    assert_eq!(now.under_way[0].reason, "a is stopping it");
    let effects = world.report("a");
    assert_eq!(events(&effects), ["instance_removed", "node_drained"]);
    assert_eq!(world.placed("web"), ["b", "c"]);
    assert_eq!(missing(&world, "web"), 1);
    assert!(world.fleet.assignment("a").unwrap().instances.is_empty());
    assert_eq!(view(&world, "a").blocked, []);
    let all = world.fleet.instances();
    let waits = all.iter().find(|i| i.node.is_none()).unwrap();
    assert_eq!(
        waits.reason,
        "1 instance waits: no further node can take it (a is drained): \
         `fleetctl workload why web` says why"
    );
    // It is placed as soon as a node can take it: a new one, or the same one again.
    let mut again = World::of(&[]);
    again.fleet = world.fleet.clone();
    again.at = world.at;
    again.apply(drained("a", None));
    assert_eq!(again.placed("web"), ["a", "b", "c"]);
    world.join("d");
    assert_eq!(world.placed("web"), ["b", "c", "d"]);
    world.replays();
}

#[test]
fn the_last_working_replica_of_a_workload_is_not_stopped_for_a_drain() {
    let mut world = crowded();
    for node in ["b", "c"] {
        world.report_as(node, |o| o.state = InstanceState::CrashLoop);
    }
    world.apply(drained("a", Some(false)));
    let now = view(&world, "a");
    assert_eq!((now.left, now.blocked.len()), (1, 1));
    let blocker = &now.blocked[0];
    assert!(!blocker.lasting, "it passes: {blocker:?}");
    assert!(blocker.reason.contains("another one of it is up"));
    // As soon as another one works, it stops, without anybody asking again.
    world.report("b");
    world.pass(10_000);
    assert_eq!(world.placed("web"), ["b", "c"]);
    world.report("a");
    assert!(view(&world, "a").done_ms.is_some());

    // Nodes that are emptied too carry nothing.
    world.apply(drained("b", Some(false)));
    world.report("c");
    world.pass(10_000);
    assert_eq!(world.placed("web"), ["c"]);
    world.apply(drained("c", Some(false)));
    world.pass(60_000);
    assert_eq!(world.placed("web"), ["c"], "the last one stays");
    assert!(view(&world, "c").blocked[0].lasting);
    world.replays();
}

#[test]
fn a_node_that_is_away_for_a_moment_is_waited_for_before_a_replica_stops() {
    let mut world = crowded();
    world.join("d");
    world.offline("d");
    world.apply(drained("a", Some(false)));
    assert_eq!(world.placed("web"), ["a", "b", "c"]);
    let now = view(&world, "a");
    assert!(!now.blocked[0].lasting, "{now:?}");
    // The truest obstacle comes first, and none of it blames a move that never was.
    assert_eq!(
        now.blocked[0].reason,
        "no other node can take it: d (it is offline); b and c (it runs there already)"
    );
    world.online("d");
    world.settle();
    world.pass(60_000);
    world.settle();
    assert_eq!(world.placed("web"), ["b", "c", "d"]);
    assert_eq!(missing(&world, "web"), 0);
    world.replays();
}

#[test]
fn a_node_that_has_it_is_not_said_to_have_failed() {
    let mut world = World::of(&["a", "b"]);
    world.apply(applied(&[replicas("web", 1)]));
    world.report_all();
    world.apply(migrated("web", "a", Some("b"), false));
    world.settle();
    world.apply(applied(&[replicas("web", 2)]));
    world.report_all();
    let refusal = world.refused(migrated("web", "a", None, false));
    assert_eq!(
        refusal,
        "no other node can take it: b (it runs there already)"
    );
}

#[test]
fn a_drain_names_what_stays_and_what_the_moves_wait_for() {
    let mut world = World::of(&["a"]);
    world.apply(applied(&[every("probe"), replicas("web", 1), shared("db")]));
    world.join("b");
    world.report_all();
    world.apply(drained("a", Some(false)));
    let now = view(&world, "a");
    assert_eq!(now.staying, [name("probe")]);
    let waits = |world: &World, w: &str| {
        let now = view(world, "a");
        let found = now.under_way.iter().find(|u| u.workload.as_str() == w);
        found.map(|u| u.reason.clone()).unwrap_or_default()
    };
    let said = waits(&world, "web");
    assert!(
        said.starts_with("it goes to b: b has not reported its assignment yet"),
        "{said}"
    );
    let said = waits(&world, "db");
    assert!(
        said.starts_with("it goes to b: a is to stop it before it starts on b"),
        "{said}"
    );
    world.report_as("b", |o| {
        o.health = Some(HealthStatus::Starting);
        o.reason = Some("its check says no".into());
    });
    let said = waits(&world, "web");
    assert!(
        said.starts_with("it goes to b: it is not healthy on b yet (running, starting"),
        "{said}"
    );
    assert!(said.ends_with("its check says no)"), "{said}");
    let all = world.fleet.instances();
    let at = |node: &str| {
        let own = |i: &&crate::fleet::InstanceView| {
            i.workload.as_str() == "web" && i.node == Some(name(node))
        };
        all.iter().find(own).unwrap().moving.clone().unwrap()
    };
    assert_eq!(at("a"), said);
    assert!(at("b").starts_with("it comes from a: "), "{}", at("b"));
    world.report("b");
    assert!(waits(&world, "web").contains("is to stay so for 10 s"));
    world.offline("b");
    assert!(waits(&world, "web").contains("b is offline and says nothing"));
}
