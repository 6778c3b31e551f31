use super::*;
use crate::{
    fleet::{AutoRebalance, FleetConfig, RebalanceBounds, RebalancePlan},
    model::Run,
};
use proptest::prelude::*;

/// Takes so many parts of ten of a node's memory.
fn sized(text: &str, tenths: u64) -> Workload {
    let mut workload = replicas(text, 1);
    workload.resources.memory = Some((1 << 30) / 10 * tenths);
    workload
}

/// All of them on `a`, with free nodes beside it.
fn uneven(all: &[Workload], free: &[&str]) -> World {
    let mut world = World::of(&["a"]);
    world.apply(applied(all));
    for node in free {
        world.join(node);
    }
    world.report_all();
    world
}

fn plan(world: &World, bounds: &RebalanceBounds) -> RebalancePlan {
    world.fleet.plan_rebalance(bounds, world.at)
}

#[test]
fn an_uneven_fleet_becomes_even_by_the_moves_of_a_plan() {
    let all: Vec<Workload> = (0..8).map(|n| sized(&format!("w{n}"), 1)).collect();
    let mut world = uneven(&all, &["b", "c"]);
    let plan = plan(&world, &RebalanceBounds::default());
    assert_eq!(plan.before, (79, 0));
    assert!(plan.after.0 - plan.after.1 <= 20, "{:?}", plan.after);
    assert_eq!(plan.version, world.fleet.version());
    let first = &plan.moves[0];
    assert!(
        first.why.starts_with("a is 79% full and b 0%"),
        "{}",
        first.why
    );
    assert!(
        first.cost.contains("both run for a while"),
        "{}",
        first.cost
    );
    world.apply(Change::Rebalanced {
        moves: plan.moves.clone(),
    });
    assert_eq!(world.moves(), plan.moves.len());
    world.settle();
    let load = |n: &str| world.fleet.node_view(&name(n), None).unwrap().load;
    let loads = ["a", "b", "c"].map(load);
    let after = (*loads.iter().max().unwrap(), *loads.iter().min().unwrap());
    assert_eq!(after, plan.after);
    // The same plan cannot be made twice.
    let refusal = world.refused(Change::Rebalanced { moves: plan.moves });
    assert!(refusal.contains("plan anew"), "{refusal}");
    world.replays();
}

#[test]
fn a_plan_that_is_handed_in_must_still_be_what_would_be_planned() {
    let all: Vec<Workload> = (0..8).map(|n| sized(&format!("w{n}"), 1)).collect();
    let mut world = uneven(&all, &["b", "c"]);
    let bounds = RebalanceBounds {
        threshold: 5,
        ..RebalanceBounds::default()
    };
    let agreed = plan(&world, &bounds);
    let check = |world: &World, plan: &RebalancePlan| world.fleet.check_rebalance(plan);
    let said = |world: &World, plan: &RebalancePlan| match check(world, plan) {
        Err(Refusal::Conflict(said)) => said,
        other => panic!("{other:?}"),
    };
    assert_eq!(check(&world, &agreed), Ok(()));
    // A part of it is fine, and so is a fleet in which nothing of it has changed.
    let part = RebalancePlan {
        moves: agreed.moves[1..].to_vec(),
        ..agreed.clone()
    };
    assert_eq!(check(&world, &part), Ok(()));
    world.apply(applied(&[replicas("idle", 0)]));
    assert!(world.fleet.version() > agreed.version);
    assert_eq!(check(&world, &agreed), Ok(()));

    // Nodes have filled up since: the moves could be made, and would make it worse.
    let mut full = World::of(&[]);
    full.fleet = world.fleet.clone();
    let mut heavy = sized("heavy", 6);
    heavy.placement.mode = PlacementMode::Any { replicas: 2 };
    full.apply(applied(&[heavy]));
    assert!(said(&full, &agreed).contains("look at a new one"));

    // What is not there, what is named twice, and what is of no version of this fleet.
    let with = |change: &dyn Fn(&mut RebalancePlan)| {
        let mut plan = agreed.clone();
        change(&mut plan);
        plan
    };
    let unknown = with(&|p| p.moves[0].workload = name("nothing"));
    assert!(said(&world, &unknown).contains("there is no workload nothing"));
    let unknown = with(&|p| p.moves[0].from = name("nowhere"));
    assert!(said(&world, &unknown).contains("there is no node nowhere"));
    let unknown = with(&|p| p.moves[0].to = name("nowhere"));
    assert!(said(&world, &unknown).contains("there is no node nowhere"));
    let early = with(&|p| p.version += 1_000);
    assert!(said(&world, &early).contains("has only come to"));
    let twice = with(&|p| p.moves.push(p.moves[0].clone()));
    let refusal = check(&world, &twice).unwrap_err();
    assert!(matches!(refusal, Refusal::Invalid(_)), "{refusal:?}");
    assert!(refusal.to_string().contains("from or to a twice"));
    let nowhere = with(&|p| p.moves[0].to = p.moves[0].from.clone());
    let refusal = check(&world, &nowhere).unwrap_err();
    assert!(matches!(refusal, Refusal::Invalid(_)), "{refusal:?}");
    assert!(refusal.to_string().contains("from a to a, where it is"));
    let many = with(&|p| p.moves = vec![p.moves[0].clone(); 1_001]);
    let refusal = check(&world, &many).unwrap_err();
    assert!(refusal.to_string().contains("at most 1000 moves"));
}

/// An instance of this image, on nodes that run containers.
fn imaged(text: &str, image: &str, tenths: u64) -> Workload {
    let mut workload = sized(text, tenths);
    workload.run = Run::Container {
        image: image.into(),
        command: Vec::new(),
        pull: Default::default(),
        engine: None,
        user: None,
        working_dir: None,
        network: None,
        options: Box::default(),
    };
    workload
}

#[test]
fn what_is_on_a_node_already_need_not_be_fetched_for_a_move() {
    let docker = |node: &str| described(node, facts(&[("process", "1"), ("docker", "27")]));
    for (other, fetched) in [("x:2", true), ("x:1", false)] {
        let mut world = World::of(&["a"]);
        world.apply(docker("a"));
        let all = ["w0", "w1", "w2"].map(|w| imaged(w, "x:1", 2));
        world.apply(applied(&all));
        world.join("b");
        world.apply(docker("b"));
        world.apply(applied(&[imaged("there", other, 1)]));
        assert_eq!(world.placed("there"), ["b"]);
        world.report_all();
        let plan = plan(&world, &RebalanceBounds::default());
        let cost = &plan.moves[0].cost;
        assert_eq!(cost.contains("b needs x:1"), fetched, "{cost}");
    }
}

#[test]
fn a_node_that_is_full_of_what_is_reserved_is_said_to_be() {
    let mut world = uneven(&[sized("w0", 1)], &["b"]);
    let mut four = facts(&[("process", "1")]);
    four.cpus = 4;
    world.apply(described("a", four));
    let reserved = crate::fleet::Reserved {
        memory: 0,
        cpus: 3.0,
    };
    world.apply(Change::NodeReserved {
        node: name("a"),
        reserved,
    });
    let plan = plan(&world, &RebalanceBounds::default());
    assert_eq!(plan.moves, []);
    assert_eq!(
        plan.kept,
        ["what is reserved of a fills it, whatever is moved"]
    );
}

#[test]
fn an_even_fleet_is_left_alone() {
    let world = uneven(&[sized("w0", 1)], &["b"]);
    let plan = plan(&world, &RebalanceBounds::default());
    assert_eq!(plan.moves, []);
    assert_eq!(plan.before, plan.after);
}

#[test]
fn what_must_stay_stays_and_the_plan_says_why() {
    let mut db = stateful("db");
    db.resources.memory = Some(1 << 29);
    let mut sick = sized("sick", 3);
    sick.version = "2".into();
    let mut world = uneven(&[db, sick], &["b"]);
    world.report_as("a", |o| {
        if o.workload.as_str() == "sick" {
            o.state = InstanceState::CrashLoop;
        }
    });
    let plan = plan(&world, &RebalanceBounds::default());
    assert_eq!(plan.moves, []);
    let kept = plan.kept.join("\n");
    assert!(kept.contains("db has local state in volume data"), "{kept}");
    assert!(kept.contains("sick is not known to work on a"), "{kept}");
}

#[test]
fn the_bounds_are_kept() {
    let all: Vec<Workload> = (0..8).map(|n| sized(&format!("w{n}"), 1)).collect();
    let world = uneven(&all, &["b", "c"]);
    for (bounds, most) in [
        (
            RebalanceBounds {
                max_moves: 2,
                ..RebalanceBounds::default()
            },
            2,
        ),
        (
            RebalanceBounds {
                max_moves: 0,
                ..RebalanceBounds::default()
            },
            0,
        ),
        (
            RebalanceBounds {
                max_per_workload: 0,
                ..RebalanceBounds::default()
            },
            0,
        ),
        (
            RebalanceBounds {
                threshold: 100,
                ..RebalanceBounds::default()
            },
            0,
        ),
    ] {
        assert_eq!(plan(&world, &bounds).moves.len(), most, "{bounds:?}");
    }
}

#[test]
fn what_was_moved_lately_is_left_alone_for_a_while() {
    let mut world = uneven(&[sized("big", 6), sized("small", 1)], &["b"]);
    world.apply(migrated("small", "a", Some("b"), false));
    world.settle();
    world.apply(migrated("big", "a", Some("b"), false));
    world.settle();
    assert_eq!(plan(&world, &RebalanceBounds::default()).moves, []);
    world.pass(10 * 60_000);
    assert_eq!(plan(&world, &RebalanceBounds::default()).moves.len(), 1);
}

#[test]
fn it_happens_by_itself_where_that_is_configured() {
    let all: Vec<Workload> = (0..8).map(|n| sized(&format!("w{n}"), 1)).collect();
    let mut world = uneven(&all, &["b", "c"]);
    let effects = world.pass(3_600_000);
    assert_eq!(events(&effects), [""; 0], "nobody asked for it");
    world.apply(Change::FleetConfigured {
        config: FleetConfig {
            lost_after_ms: LOST_AFTER,
            rebalance: Some(AutoRebalance {
                interval_ms: 600_000,
                bounds: RebalanceBounds::default(),
            }),
        },
    });
    world.pass(0);
    assert!(world.moves() > 0);
    world.settle();
    let before = world.fleet.version();
    world.pass(6_000_000);
    assert_eq!(world.moves(), 0, "it is even now");
    assert!(world.fleet.version() - before < 40);
    world.replays();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_plan_ends_and_never_makes_it_worse(
        sizes in prop::collection::vec(0u64..4, 1..20),
        threshold in 0u8..60,
        max_moves in 0u32..30,
    ) {
        let all: Vec<Workload> = sizes.iter().enumerate().map(|(n, tenths)| {
            let mut w = sized(&format!("w{n}"), *tenths);
            w.resources.memory = w.resources.memory.filter(|m| *m > 0);
            w
        }).collect();
        let world = uneven(&all, &["b", "c", "d"]);
        let bounds = RebalanceBounds { threshold, max_moves, max_per_workload: 1 };
        let plan = plan(&world, &bounds);
        prop_assert!(plan.moves.len() <= max_moves as usize);
        prop_assert!(plan.after.0 <= plan.before.0);
        prop_assert!(plan.after.1 >= plan.before.1);
    }
}
