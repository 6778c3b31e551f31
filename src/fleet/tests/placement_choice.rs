//! Among the nodes that could take it: strategies, preferences, spreading, neighbours, room.

use super::{
    applied, apply, described, every, facts, join, join_with, labelled, name, names, placed,
    presence, refuse, removed, replicas, requires, three,
};
use crate::{
    fleet::{Change, Fleet, Refusal},
    model::{
        Name, NodeFacts, Port, Preference, Presence, Protocol, Requirement, Strategy, Workload,
    },
};

fn reason(fleet: &Fleet, workload: &str, node: &str) -> String {
    fleet.workload(workload).unwrap().reasons[node].clone()
}

fn by(strategy: Strategy, mut workload: Workload) -> Workload {
    workload.placement.strategy = strategy;
    workload
}

fn asking(name: &str, count: u32, mebibytes: u64) -> Workload {
    let mut workload = replicas(name, count);
    workload.resources.memory = Some(mebibytes << 20);
    workload
}

fn prefers(mut workload: Workload, all: &[(&str, i32)]) -> Workload {
    let read = |(text, weight): &(&str, i32)| Preference {
        requirement: Requirement::try_from((*text).to_owned()).unwrap(),
        weight: *weight,
    };
    workload.placement.prefers = all.iter().map(read).collect();
    workload
}

fn publishing(name: &str, address: Option<&str>, host: u16, protocol: Protocol) -> Workload {
    let mut workload = replicas(name, 1);
    workload.ports = vec![Port {
        address: address.map(str::to_owned),
        host,
        container: 80,
        protocol,
    }];
    workload
}

fn of(megabytes: u64, cpus: u32, capabilities: &[(&str, &str)]) -> NodeFacts {
    let mut all = vec![("process", "1")];
    all.extend(capabilities);
    let mut facts = facts(&all);
    facts.memory_total = megabytes << 20;
    facts.cpus = cpus;
    facts
}

/// Changes what the fleet remembers of a node, as its own entries do.
fn with_node(fleet: &mut Fleet, node: &str, change: impl FnOnce(&mut crate::fleet::NodeRecord)) {
    change(fleet.nodes.get_mut(&name(node)).unwrap());
}

fn waits(fleet: &Fleet, workload: &str) -> u32 {
    fleet.workload(workload).unwrap().missing
}

#[test]
fn round_robin_goes_on_after_the_node_that_was_chosen_last() {
    let mut fleet = three();
    let turn = |n: u32| by(Strategy::RoundRobin, replicas("turn", n));
    apply(&mut fleet, applied(&[turn(1)]));
    assert_eq!(placed(&fleet, "turn"), names(&["a"]));
    assert_eq!(
        reason(&fleet, "turn", "a"),
        "its turn: it comes first by name"
    );
    apply(&mut fleet, applied(&[turn(0)]));
    apply(&mut fleet, applied(&[turn(1)]));
    assert_eq!(placed(&fleet, "turn"), names(&["b"]));
    assert_eq!(reason(&fleet, "turn", "b"), "its turn: it comes after a");
    apply(&mut fleet, applied(&[turn(0)]));
    apply(&mut fleet, applied(&[turn(2)]));
    assert_eq!(placed(&fleet, "turn"), names(&["a", "c"]));
    let again = "its turn: after c it begins anew";
    assert_eq!(reason(&fleet, "turn", "a"), again);
    assert_eq!(fleet.workload("turn").unwrap().last_chosen, Some(name("a")));
}

#[test]
fn what_is_special_is_kept_for_those_that_ask_for_it() {
    let mut fleet = Fleet::new();
    join_with(
        &mut fleet,
        "a",
        of(1024, 4, &[("gpu", "1"), ("camera", "1")]),
    );
    join_with(&mut fleet, "b", of(1024, 4, &[("gpu", "1")]));
    join_with(&mut fleet, "c", of(1024, 4, &[]));
    let matching = |w| by(Strategy::CapabilityMatch, w);
    apply(&mut fleet, applied(&[matching(replicas("plain", 2))]));
    assert_eq!(placed(&fleet, "plain"), names(&["b", "c"]));
    let gpu = matching(requires(replicas("gpu", 1), &["gpu"]));
    apply(&mut fleet, applied(&[gpu]));
    assert_eq!(placed(&fleet, "gpu"), names(&["b"]));
    let why = "it has the least that is not asked for: 1 capability or label";
    assert_eq!(reason(&fleet, "gpu", "b"), why);
    // A label is something that could be asked for, too.
    apply(&mut fleet, labelled("c", "rack", Some("1")));
    apply(&mut fleet, labelled("c", "lamp", Some("1")));
    apply(&mut fleet, applied(&[matching(replicas("again", 1))]));
    assert_eq!(placed(&fleet, "again"), names(&["b"]));
}

#[test]
fn the_best_fit_leaves_large_nodes_free_for_what_is_large() {
    let mut fleet = Fleet::new();
    join_with(&mut fleet, "large", of(4096, 4, &[]));
    join_with(&mut fleet, "small", of(512, 4, &[]));
    join_with(&mut fleet, "silent", of(0, 0, &[]));
    let fit = |w| by(Strategy::ResourceOptimal, w);
    apply(&mut fleet, applied(&[fit(asking("one", 1, 300))]));
    assert_eq!(placed(&fleet, "one"), names(&["small"]));
    let why = "best fit: 212 MiB and 4 cpus would be left of it";
    assert_eq!(reason(&fleet, "one", "small"), why);
    apply(&mut fleet, applied(&[fit(asking("two", 1, 300))]));
    assert_eq!(placed(&fleet, "two"), names(&["large"]));
    let full = "it has 212 MiB left of 512 MiB, 300 MiB are asked for";
    assert_eq!(reason(&fleet, "two", "small"), full);
    // A node that did not say what it has comes last.
    apply(&mut fleet, applied(&[fit(asking("three", 2, 300))]));
    assert_eq!(placed(&fleet, "three"), names(&["large", "silent"]));
}

#[test]
fn preferences_come_before_the_strategy_and_may_be_negative() {
    let mut fleet = three();
    apply(&mut fleet, labelled("c", "ssd", Some("1")));
    apply(&mut fleet, labelled("a", "old", Some("1")));
    apply(
        &mut fleet,
        applied(&[replicas("load", 3), requires(replicas("more", 1), &["ssd"])]),
    );
    let web = prefers(replicas("web", 1), &[("ssd", 50), ("old", -20)]);
    apply(&mut fleet, applied(&[web]));
    assert_eq!(placed(&fleet, "web"), names(&["c"]));
    let why = "preferred by +50 (`ssd` +50); least loaded: it has 2 instances";
    assert_eq!(reason(&fleet, "web", "c"), why);
    let shy = prefers(replicas("shy", 2), &[("old", -20)]);
    apply(&mut fleet, applied(&[shy]));
    assert_eq!(placed(&fleet, "shy"), names(&["b", "c"]));
    // Weights add up.
    let torn = prefers(
        replicas("torn", 1),
        &[("ssd", 50), ("!old", -60), ("process", 7)],
    );
    apply(&mut fleet, applied(&[torn]));
    assert_eq!(placed(&fleet, "torn"), names(&["a"]));
}

/// `a1`, `a2`, `a3` in zone a, `b1` in zone b, `x` in none.
fn zones() -> Fleet {
    let mut fleet = Fleet::new();
    for (node, zone) in [
        ("a1", Some("a")),
        ("a2", Some("a")),
        ("a3", Some("a")),
        ("b1", Some("b")),
        ("x", None),
    ] {
        join(&mut fleet, node);
        if zone.is_some() {
            apply(&mut fleet, labelled(node, "zone", zone));
        }
    }
    fleet
}

fn spread(name: &str, count: u32) -> Workload {
    let mut workload = replicas(name, count);
    workload.placement.spread = Some("zone".into());
    workload
}

#[test]
fn replicas_are_spread_over_the_values_of_a_label_and_shrink_evenly() {
    let mut fleet = zones();
    apply(&mut fleet, applied(&[spread("web", 3)]));
    // Nodes without the label count as one value.
    assert_eq!(placed(&fleet, "web"), names(&["a1", "b1", "x"]));
    apply(&mut fleet, applied(&[spread("web", 4)]));
    assert_eq!(placed(&fleet, "web"), names(&["a1", "a2", "b1", "x"]));
    let why = reason(&fleet, "web", "a2");
    assert!(
        why.starts_with("zone=a has 1 of 4 replicas, what has no zone has 1, zone=b has 1; "),
        "{why}"
    );
    assert_eq!(
        reason(&fleet, "web", "a3"),
        "enough others were chosen (zone=a has 2 of 4 replicas, what has no zone has 1, zone=b has 1)"
    );
    // The value that has the most gives one away first.
    apply(&mut fleet, applied(&[spread("web", 3)]));
    assert_eq!(placed(&fleet, "web"), names(&["a1", "b1", "x"]));
    apply(&mut fleet, applied(&[spread("web", 9)]));
    assert_eq!(placed(&fleet, "web").len(), 5);
    assert_eq!(waits(&fleet, "web"), 4);
}

#[test]
fn too_many_leave_the_nodes_that_cannot_be_heard_first_then_the_closed_then_the_full() {
    let mut fleet = three();
    for node in ["d", "e"] {
        join(&mut fleet, node);
    }
    apply(&mut fleet, applied(&[replicas("web", 5)]));
    let mut on_c = replicas("other", 1);
    on_c.placement.nodes = vec![name("c")];
    apply(&mut fleet, applied(&[on_c]));
    apply(&mut fleet, presence("a", Presence::Offline));
    with_node(&mut fleet, "b", |n| n.cordoned = true);
    for (count, left) in [
        (4, &["b", "c", "d", "e"][..]),
        (3, &["c", "d", "e"]),
        (2, &["d", "e"]),
        (1, &["d"]),
    ] {
        apply(&mut fleet, applied(&[replicas("web", count)]));
        assert_eq!(placed(&fleet, "web"), names(left), "{count}");
    }
}

#[test]
fn a_closed_node_keeps_what_it_has_and_gets_nothing_new() {
    let mut fleet = three();
    apply(&mut fleet, applied(&[every("old"), replicas("one", 1)]));
    with_node(&mut fleet, "a", |n| n.cordoned = true);
    with_node(&mut fleet, "b", |n| n.lost = true);
    with_node(&mut fleet, "c", |n| n.flaps.damped = true);
    apply(&mut fleet, applied(&[replicas("new", 1), every("all")]));
    assert_eq!(waits(&fleet, "new"), 1);
    assert_eq!(placed(&fleet, "old").len(), 3);
    assert_eq!(placed(&fleet, "one"), names(&["a"]));
    let cordoned = "it is cordoned: `fleetctl node uncordon` lets it take something again";
    assert_eq!(reason(&fleet, "new", "a"), cordoned);
    assert_eq!(
        reason(&fleet, "new", "b"),
        "it is lost: it was not heard for too long"
    );
    let damped = "it has come and gone too often lately: it is to hold still first";
    assert_eq!(reason(&fleet, "new", "c"), damped);
    // What goes everywhere asks only whether a person has closed it.
    assert_eq!(placed(&fleet, "all"), names(&["b", "c"]));
    assert_eq!(reason(&fleet, "all", "a"), cordoned);
    with_node(&mut fleet, "a", |n| n.cordoned = false);
    fleet.reconsider(&name("a"));
    assert_eq!(placed(&fleet, "new"), names(&["a"]));
    assert_eq!(placed(&fleet, "all").len(), 3);
}

#[test]
fn no_node_is_given_more_than_it_has_and_what_it_has_stays() {
    let mut fleet = Fleet::new();
    join_with(&mut fleet, "a", of(1024, 2, &[]));
    with_node(&mut fleet, "a", |n| n.reserved.memory = 212 << 20);
    apply(&mut fleet, applied(&[asking("first", 1, 800)]));
    apply(&mut fleet, applied(&[asking("second", 1, 64)]));
    assert_eq!(waits(&fleet, "second"), 1);
    let full = "it has 12 MiB left of 1 GiB, 64 MiB are asked for";
    assert_eq!(reason(&fleet, "second", "a"), full);
    // It fits as soon as it asks for less, or what was there goes.
    apply(&mut fleet, applied(&[asking("third", 1, 12)]));
    assert_eq!(placed(&fleet, "third"), names(&["a"]));
    apply(&mut fleet, removed(&["first"]));
    assert_eq!(placed(&fleet, "second"), names(&["a"]));
    // A node that has become smaller keeps what it has.
    apply(&mut fleet, described("a", of(64, 2, &[])));
    assert_eq!(placed(&fleet, "second"), names(&["a"]));
    let mut busy = replicas("busy", 1);
    busy.resources.cpus = Some(1.75);
    let mut idle = replicas("idle", 1);
    idle.resources.cpus = Some(0.5);
    apply(&mut fleet, applied(&[busy]));
    apply(&mut fleet, applied(&[idle]));
    assert_eq!(placed(&fleet, "busy"), names(&["a"]));
    let full = "it has 0.25 left of 2 cpus, 0.5 are asked for";
    assert_eq!(reason(&fleet, "idle", "a"), full);
    // Who says nothing is not counted.
    apply(&mut fleet, applied(&[replicas("quiet", 1)]));
    assert_eq!(placed(&fleet, "quiet"), names(&["a"]));
}

#[test]
fn a_port_of_a_node_is_given_away_once() {
    let mut fleet = three();
    let mut web = publishing("web", None, 8080, Protocol::Tcp);
    web.placement.nodes = vec![name("a")];
    apply(&mut fleet, applied(&[web]));
    let on_a = |mut w: Workload| {
        w.placement.nodes = vec![name("a")];
        w
    };
    let cases = [
        (publishing("same", None, 8080, Protocol::Tcp), false),
        (
            publishing("local", Some("127.0.0.1"), 8080, Protocol::Tcp),
            false,
        ),
        (publishing("udp", None, 8080, Protocol::Udp), true),
        (publishing("other", None, 8081, Protocol::Tcp), true),
        (
            publishing("one", Some("127.0.0.1"), 9000, Protocol::Tcp),
            true,
        ),
        (
            publishing("two", Some("10.0.0.1"), 9000, Protocol::Tcp),
            true,
        ),
        (
            publishing("three", Some("0.0.0.0"), 9000, Protocol::Tcp),
            false,
        ),
    ];
    for (workload, fits) in cases {
        let name = workload.name.to_string();
        apply(&mut fleet, applied(&[on_a(workload)]));
        assert_eq!(placed(&fleet, &name).is_empty(), !fits, "{name}");
    }
    assert_eq!(reason(&fleet, "same", "a"), "port 8080/tcp is taken by web");
    // More replicas than there are nodes with the port.
    let mut many = publishing("many", None, 8080, Protocol::Tcp);
    many.placement.mode = crate::model::PlacementMode::Any { replicas: 3 };
    apply(&mut fleet, applied(&[many]));
    assert_eq!(placed(&fleet, "many"), names(&["b", "c"]));
    assert_eq!(waits(&fleet, "many"), 1);
    apply(&mut fleet, removed(&["web"]));
    // By name, `local` comes first.
    assert_eq!(placed(&fleet, "local"), names(&["a"]));
    assert_eq!(waits(&fleet, "many"), 1);
}

#[test]
fn what_must_be_together_is_and_follows() {
    let mut fleet = three();
    let with = |name_: &str, other: &str| {
        let mut w = replicas(name_, 1);
        w.placement.with = vec![name(other)];
        w
    };
    apply(&mut fleet, applied(&[with("web", "zdb")]));
    assert_eq!(waits(&fleet, "web"), 1);
    assert_eq!(
        reason(&fleet, "web", "a"),
        "zdb is not on it, and must be on the same node"
    );
    let zdb = requires(replicas("zdb", 1), &["ssd"]);
    apply(&mut fleet, applied(&[zdb]));
    apply(&mut fleet, labelled("b", "ssd", Some("1")));
    assert_eq!(placed(&fleet, "zdb"), names(&["b"]));
    assert_eq!(placed(&fleet, "web"), names(&["b"]));
    // It goes where the other one goes.
    apply(&mut fleet, labelled("c", "ssd", Some("1")));
    apply(&mut fleet, labelled("b", "ssd", None));
    assert_eq!(placed(&fleet, "zdb"), names(&["c"]));
    assert_eq!(placed(&fleet, "web"), names(&["c"]));
    // Two that want each other.
    apply(
        &mut fleet,
        applied(&[with("one", "two"), with("two", "one")]),
    );
    assert_eq!(placed(&fleet, "one"), placed(&fleet, "two"));
    assert_eq!(waits(&fleet, "one") + waits(&fleet, "two"), 0);
    apply(&mut fleet, removed(&["zdb"]));
    assert_eq!(waits(&fleet, "web"), 1);
}

#[test]
fn what_must_be_apart_is_in_both_directions() {
    let mut fleet = three();
    let mut web = replicas("web", 2);
    web.placement.apart = vec![name("db")];
    apply(&mut fleet, applied(&[web]));
    assert_eq!(placed(&fleet, "web"), names(&["a", "b"]));
    apply(&mut fleet, applied(&[replicas("db", 2)]));
    assert_eq!(placed(&fleet, "db"), names(&["c"]));
    assert_eq!(waits(&fleet, "db"), 1);
    let why = "web is on it, and does not want this one beside it";
    assert_eq!(reason(&fleet, "db", "a"), why);
    let mut web = replicas("web", 3);
    web.placement.apart = vec![name("db")];
    apply(&mut fleet, applied(&[web]));
    assert_eq!(waits(&fleet, "web"), 1);
    let why = "db is on it, and must not be on the same node";
    assert_eq!(reason(&fleet, "web", "c"), why);
    apply(&mut fleet, removed(&["web"]));
    assert_eq!(placed(&fleet, "db").len(), 2);
}

#[test]
fn contradicting_constraints_wait_with_a_reason_per_node_and_end_when_a_node_appears() {
    let mut fleet = three();
    apply(&mut fleet, labelled("a", "zone", Some("lab")));
    let web = requires(replicas("web", 1), &["zone=lab", "zone!=lab"]);
    apply(&mut fleet, applied(&[web]));
    assert_eq!(waits(&fleet, "web"), 1);
    assert_eq!(
        reason(&fleet, "web", "a"),
        "it has zone=lab, `zone!=lab` is required"
    );
    assert_eq!(reason(&fleet, "web", "b"), "it does not meet `zone=lab`");
    let big = requires(
        replicas("big", 1),
        &["memory>=2GiB", "cpus>=4", "kernel>=6.1", "agent>=0.1"],
    );
    apply(&mut fleet, applied(&[big]));
    assert_eq!(
        reason(&fleet, "big", "a"),
        "it has memory=1073741824, `memory>=2GiB` is required"
    );
    let mut facts = of(2048, 4, &[]);
    facts.kernel = "6.6.51+rpt-rpi-v8".into();
    facts.agent_version = "0.2.0".into();
    join_with(&mut fleet, "d", facts);
    assert_eq!(placed(&fleet, "big"), names(&["d"]));
}

#[test]
fn a_label_that_goes_takes_the_instance_with_it_and_another_node_gets_it() {
    let mut fleet = three();
    for node in ["a", "b"] {
        apply(&mut fleet, labelled(node, "zone", Some("lab")));
    }
    apply(
        &mut fleet,
        applied(&[requires(replicas("web", 1), &["zone=lab"])]),
    );
    assert_eq!(placed(&fleet, "web"), names(&["a"]));
    apply(&mut fleet, labelled("a", "zone", None));
    assert_eq!(placed(&fleet, "web"), names(&["b"]));
    apply(&mut fleet, labelled("b", "zone", None));
    assert_eq!(placed(&fleet, "web"), names(&[]));
    assert_eq!(waits(&fleet, "web"), 1);
}

#[test]
fn the_best_target_is_one_more_node_and_else_every_obstacle_is_named() {
    let mut fleet = zones();
    apply(&mut fleet, applied(&[spread("web", 3)]));
    let none = std::collections::BTreeSet::new();
    let (node, why) = fleet.best_target(&name("web"), &none).unwrap();
    assert_eq!(node, name("a2"));
    assert!(why.starts_with("zone=a has 1 of 3 replicas"), "{why}");
    // What is to leave counts no more: its zone is the one that has the fewest.
    let leaving = names(&["a1"]);
    let (node, _) = fleet.best_target(&name("web"), &leaving).unwrap();
    assert_eq!(node, name("a2"));
    let most = names(&["a1", "a2", "a3"]);
    assert_eq!(
        fleet.best_target(&name("web"), &most),
        Err(Default::default())
    );
    apply(&mut fleet, presence("a2", Presence::Offline));
    apply(&mut fleet, presence("a3", Presence::Silent));
    let obstacles = fleet.best_target(&name("web"), &leaving).unwrap_err();
    let all: Vec<(&str, &str)> = obstacles
        .iter()
        .map(|(n, o)| (n.as_str(), o.as_str()))
        .collect();
    assert_eq!(all, [("a2", "it is offline"), ("a3", "it is silent")]);
    assert_eq!(
        fleet.obstacle_on(&name("web"), &name("a2")).as_deref(),
        Some("it is offline")
    );
}

#[test]
fn why_tells_of_every_node_and_counts_the_reasons() {
    let mut fleet = zones();
    for n in 0..80 {
        join(&mut fleet, &format!("n-{n}"));
    }
    apply(&mut fleet, presence("x", Presence::Offline));
    let web = requires(spread("web", 6), &["zone"]);
    apply(&mut fleet, applied(&[web]));
    let record = fleet.workload("web").unwrap();
    // Of what was passed over, so much is kept as is of use.
    assert_eq!(
        (record.placed.len(), record.missing, record.reasons.len()),
        (4, 2, 4 + 64)
    );
    let why = fleet.why("web").unwrap();
    assert_eq!(why.nodes.len(), 85);
    assert_eq!((why.replicas, why.missing), (Some(6), 2));
    assert_eq!(why.version, fleet.version());
    assert_eq!(why.counts["runs it"], 4);
    assert_eq!(why.counts["does not meet `zone`"], 81);
    let a1 = why.nodes.iter().find(|n| n.node == name("a1")).unwrap();
    assert!(a1.placed && a1.reason.contains("least loaded"));
    assert_eq!(a1.score.spread.as_deref(), Some("a"));
    assert_eq!(a1.score.instances, 1);
    assert_eq!(fleet.why("nobody"), None);
    let text = serde_json::to_string(&why).unwrap();
    assert_eq!(
        serde_json::from_str::<crate::fleet::Why>(&text).unwrap(),
        why
    );
}

#[test]
fn a_plan_says_how_a_change_is_rolled_out() {
    let mut fleet = Fleet::new();
    for n in 0..9 {
        join(&mut fleet, &format!("n-{n}"));
    }
    apply(&mut fleet, applied(&[every("web")]));
    let plan = |change: &dyn Fn(&mut Workload)| {
        let mut web = every("web");
        web.version = "2".into();
        change(&mut web);
        fleet.plan(&[web], false).changed[0]
            .rollout
            .clone()
            .unwrap()
    };
    assert_eq!(
        plan(&|_| {}),
        "all 9 nodes at once: write [update] to go in batches"
    );
    let guarded = |w: &mut Workload| {
        w.update = Some(crate::model::Update {
            canary: 1,
            max_parallel: crate::model::Share::Percent(20),
            ..Default::default()
        });
    };
    assert_eq!(
        plan(&guarded),
        "1 canary, then 20% of 9 at a time; rolls back by itself"
    );
    let careful = |w: &mut Workload| {
        guarded(w);
        let update = w.update.as_mut().unwrap();
        update.auto_promote = false;
        update.auto_rollback = false;
        update.sequence = Some("zone".into());
    };
    assert_eq!(
        plan(&careful),
        "1 canary, then it waits for `fleetctl rollout promote`, then 20% of 9 at a time, one \
         zone after the other; stops at the first failure"
    );
    // Nothing is replaced.
    let mut web = every("web");
    web.tags.push("x".into());
    assert_eq!(fleet.plan(&[web], false).changed[0].rollout, None);
}

#[test]
fn what_is_refused_is_planned_nowhere() {
    let mut fleet = three();
    let mut big = every("big");
    big.env.insert("X".into(), "x".repeat(200_000));
    let plan = fleet.plan(std::slice::from_ref(&big), false);
    assert_eq!(plan.added[0].nodes, []);
    let change = Change::WorkloadsApplied {
        workloads: vec![big],
        removed: Vec::new(),
    };
    assert!(matches!(refuse(&mut fleet, change), Refusal::Invalid(_)));
}

#[test]
fn a_plan_knows_that_what_goes_makes_room() {
    let mut fleet = Fleet::new();
    join_with(&mut fleet, "a", of(1024, 2, &[]));
    apply(&mut fleet, applied(&[asking("old", 1, 1000)]));
    let plan = fleet.plan(&[asking("new", 1, 1000)], true);
    assert_eq!(plan.removed, [name("old")]);
    let placed: Vec<&Name> = plan.added[0]
        .nodes
        .iter()
        .filter(|n| n.placed)
        .map(|n| &n.node)
        .collect();
    assert_eq!(placed, [&name("a")]);
    assert_eq!(
        fleet.plan(&[asking("new", 1, 1000)], false).added[0].missing,
        1
    );
}
