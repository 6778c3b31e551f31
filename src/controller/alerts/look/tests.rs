//! What a look at a fleet says, and how long one takes.

use super::*;
use crate::{
    alert::{Alerts, Limit, Transition, built_in},
    contract::{HeartbeatBody, Seq, Telemetry},
    fleet::{Change, Entry},
    model::{PlacementMode, Presence, Requirement, Run, RuntimeKind, Workload},
    notify::Severity,
};
use std::time::{Duration, Instant};

const NOW: u64 = 1_800_000_000_000;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn apply(fleet: &mut Fleet, change: Change) {
    let entry = Entry {
        at_ms: NOW,
        by: None,
        change,
    };
    fleet.apply(&entry).unwrap();
}

fn workload(text: &str) -> Workload {
    let run = Run::Process {
        command: vec!["/bin/true".into()],
        user: None,
        working_dir: None,
    };
    let mut workload = Workload::new(name(text), run);
    workload.placement.mode = PlacementMode::Every;
    workload
}

fn observed(workload: &str, state: InstanceState) -> ObservedInstance {
    ObservedInstance {
        workload: name(workload),
        version: "1".into(),
        spec_hash: "x".into(),
        state,
        runtime: RuntimeKind::Process,
        restarts: 3,
        reason: Some("it ended with exit code 1".into()),
        warnings: Vec::new(),
        exit_code: Some(1),
        handle: None,
        since_ms: 0,
        progress: None,
        health: None,
        runs: None,
        next_run_ms: None,
        last_error: None,
        last_output: Vec::new(),
        trial: None,
        fetched: None,
    }
}

/// Nodes `n0`, `n1`, …, each with instances `w0`, `w1`, ….
fn fleet(nodes: usize, workloads: usize, state: InstanceState) -> Fleet {
    let mut fleet = Fleet::new();
    for n in 0..nodes {
        let node = name(&format!("n{n}"));
        apply(
            &mut fleet,
            Change::NodeEnrolled {
                node: node.clone(),
                key: format!("key{n}"),
                token: "t".into(),
                hostname: String::new(),
                approve: true,
                http: false,
            },
        );
        apply(
            &mut fleet,
            Change::NodePresenceChanged {
                node: node.clone(),
                presence: Presence::Online,
                session: Seq { start: 1, count: 1 },
                reason: String::new(),
            },
        );
    }
    let all: Vec<Workload> = (0..workloads).map(|w| workload(&format!("w{w}"))).collect();
    apply(
        &mut fleet,
        Change::WorkloadsApplied {
            workloads: all,
            removed: Vec::new(),
        },
    );
    let instances = || (0..workloads).map(|w| observed(&format!("w{w}"), state));
    for n in 0..nodes {
        apply(
            &mut fleet,
            Change::StateReported {
                node: name(&format!("n{n}")),
                generation: 1,
                instances: instances().collect(),
                engines: Vec::new(),
            },
        );
    }
    fleet
}

fn all_rules() -> Vec<Rule> {
    let telemetry = Condition::Telemetry {
        metric: Metric::Load,
        value: "1m".into(),
        limit: Limit::Above(4.0),
    };
    let mut lab = Rule::new("lab", Severity::Info, Condition::Cpu(Limit::Above(50.0)));
    let requirement = Requirement::try_from("zone!=lab".to_owned()).unwrap();
    lab.nodes.push(requirement);
    let own = [Rule::new("load", Severity::Info, telemetry), lab];
    built_in().into_iter().chain(own).collect()
}

#[test]
fn a_look_has_what_the_rules_ask_for_and_no_more() {
    let mut fleet = fleet(2, 2, InstanceState::CrashLoop);
    apply(
        &mut fleet,
        Change::WorkloadsRemoved {
            workloads: vec![name("w1")],
        },
    );
    let live = Live::default();
    let body = HeartbeatBody {
        disk: Some(93.0),
        ..HeartbeatBody::default()
    };
    live.take(&name("n0"), &body, 7);
    for (key, value) in [("1m", 5.0), ("5m", 1.0)] {
        let values = BTreeMap::from([(key.to_owned(), value), ("1m".to_owned(), 5.0)]);
        live.take_telemetry(&name("n0"), Metric::Load, Telemetry { at: 1, values }, 9);
    }
    let asked = Asked::by(&all_rules());
    let mut seen = of_fleet(&fleet, &asked);
    of_live(&live, &asked, &mut seen.nodes);
    let node = &seen.nodes["n0"];
    assert_eq!(node.heard_ms, 7);
    let disk = node.values[&ValueOf::Disk];
    assert_eq!((disk.value, disk.heard_ms), (93.0, 7));
    let load = node.values[&ValueOf::Telemetry(Metric::Load, "1m".into())];
    assert_eq!((load.value, load.heard_ms), (5.0, 9));
    assert_eq!(node.values.len(), 4, "no temperature: {:?}", node.values);
    let own: Vec<&Name> = node.instances.keys().collect();
    assert_eq!(own, [&name("w0")], "what was removed is of no concern");
    let crash = &node.instances["w0"];
    assert_eq!((crash.exit_code, crash.restarts), (Some(1), 3));
    assert!(seen.nodes["n1"].values.is_empty(), "it said nothing");

    let journal = [Rule::new("journal", Severity::Info, Condition::Journal)];
    let seen = of_fleet(&fleet, &Asked::by(&journal));
    assert!(seen.nodes["n0"].instances.is_empty(), "nobody asked");
}

/// Printed with `--no-capture`; the bound is that of a build for tests, which is many times slower
/// than a release.
#[test]
fn a_round_over_ten_thousand_nodes_is_quick() {
    let (nodes, workloads) = (10_000, 5);
    let small = fleet(100, workloads, InstanceState::Running);
    // Enrolling that many takes long, and a look does not care how they came.
    let template = of_fleet(&small, &Asked::by(&all_rules()));
    let began = Instant::now();
    for _ in 0..100 {
        std::hint::black_box(of_fleet(&small, &Asked::by(&all_rules())));
    }
    let copying = began.elapsed();
    let node = template.nodes["n0"].clone();
    let mut seen = template.clone();
    let live = Live::default();
    for n in 0..nodes {
        let name = name(&format!("n{n}"));
        live.take(&name, &HeartbeatBody::default(), 5);
        seen.nodes.insert(name, node.clone());
    }
    let asked = Asked::by(&all_rules());
    let began = Instant::now();
    of_live(&live, &asked, &mut seen.nodes);
    let filling = began.elapsed();
    let mut alerts = Alerts::new(all_rules(), Vec::new(), 0);
    let began = Instant::now();
    let said = alerts.observe(NOW, &seen);
    let well = began.elapsed();
    assert!(said.is_empty(), "{said:?}");
    // All at once: the worst that there is.
    for node in seen.nodes.values_mut() {
        node.presence = Presence::Offline;
    }
    alerts.observe(NOW + 1, &seen);
    let began = Instant::now();
    let said = alerts.observe(NOW + 2, &seen);
    let lost = began.elapsed();
    let fired = said.iter().filter(|t| matches!(t, Transition::Fired(_)));
    assert_eq!(fired.count(), nodes);
    eprintln!(
        "{nodes} nodes, {} instances: copying {copying:?}, filling {filling:?}, counting {well:?}; \
         when all are lost {lost:?}",
        nodes * workloads
    );
    let round = copying + filling + well;
    assert!(round < Duration::from_secs(2), "{round:?}");
}
