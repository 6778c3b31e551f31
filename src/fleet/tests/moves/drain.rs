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
    assert!(
        world
            .refused(reserve(2 << 30, 0.0))
            .contains("bytes of memory")
    );
    assert!(world.refused(reserve(0, f64::NAN)).contains("cores"));
    assert!(world.refused(reserve(0, -1.0)).contains("cores"));
    world.apply(reserve(1 << 29, 0.5));
    assert!(world.refused(reserve(1 << 29, 0.5)).contains("nothing"));
    let view = world.fleet.node_view(&name("a"), None).unwrap();
    assert_eq!((view.reserved.memory, view.load), (1 << 29, 50));
}
