//! Engines that go away and come back, and answers that get lost.

use super::{
    engine::{Fault, Verb},
    run, running_web, workload,
    world::World,
};
use crate::model::{
    InstanceState::{Running, Unknown},
    RestartPolicy::Always,
    Run,
    RuntimeKind::{self, Docker, Podman, Process},
};

#[test]
fn instances_of_an_engine_that_is_away_are_unknown_and_untouched() {
    let (mut world, mark) = running_web(Always);
    world.lose(Docker);
    let observed = world.observed("web").unwrap();
    assert_eq!(observed.state, Unknown);
    assert_eq!(observed.reason.as_deref(), Some("connection refused"));
    world.assign(vec![run(workload("web", "2")), run(workload("db", "1"))]);
    world.wait(300_000);
    assert_eq!(world.state("db"), Some(Unknown));
    assert!(world.asked_since(mark).is_empty());
    world.assign(vec![run(workload("web", "1"))]);
    world.regain(Docker);
    world.wait(130_000);
    assert!(world.runs("web", "1"));
    assert!(world.asked_since(mark).is_empty());
}

#[test]
fn what_ended_while_the_engine_was_away_is_started_again() {
    let (mut world, mark) = running_web(Always);
    world.wait(10_000);
    world.lose(Docker);
    world.exit("web", 1);
    world.wait(100_000);
    assert_eq!(world.state("web"), Some(Unknown));
    world.regain(Docker);
    world.until("web runs", 1_500, |w| w.runs("web", "1"));
    assert_eq!(world.asked_since(mark), ["start web"]);
}

#[test]
fn what_is_gone_when_the_engine_is_back_is_made_again() {
    let (mut world, mark) = running_web(Always);
    world.lose(Docker);
    world.vanish("web");
    world.wait(10_000);
    world.regain(Docker);
    world.until("web runs", 1_500, |w| w.runs("web", "1"));
    assert_eq!(world.asked_since(mark), ["launch web"]);
}

#[test]
fn a_launch_that_the_engine_dies_of_is_carried_out_once_when_it_is_back() {
    let mut world = World::new();
    world.assign(vec![run(workload("web", "1"))]);
    world.engines.get_mut(&Docker).unwrap().up = false;
    world.wait(200_000);
    assert_eq!(world.state("web"), Some(Unknown));
    assert_eq!(world.asked_since(0), ["launch web"]);
    world.regain(Docker);
    world.until("web runs", 1_500, |w| w.runs("web", "1"));
    assert_eq!(world.begun("web"), 1);
}

#[test]
fn an_answer_that_got_lost_makes_nothing_happen_twice() {
    for verb in Verb::ALL {
        let mut world = World::new();
        let fault = (1, Fault::LosesTheAnswer);
        world.docker().faults.insert(verb, fault);
        world.assign(vec![run(workload("web", "1"))]);
        world.until("web runs", 60_000, |w| w.runs("web", "1"));
        world.assign(vec![run(workload("web", "2"))]);
        world.until("web 2 runs", 60_000, |w| w.runs("web", "2"));
        assert_eq!(world.begun("web"), 2, "{verb:?}");
        world.exit("web", 1);
        world.until("web 2 runs again", 60_000, |w| w.begun("web") == 3);
        world.wait(130_000);
        assert!(world.runs("web", "2"), "{verb:?}");
        assert_eq!(world.begun("web"), 3, "{verb:?}");
        assert_eq!(
            world.docker().faults[&verb].0,
            0,
            "{verb:?} was never asked"
        );
        world.assign(vec![]);
        world.until("web is gone", 60_000, |w| w.is_gone("web"));
    }
}

#[test]
fn another_engine_goes_on_as_if_nothing_were() {
    let mut world = World::with(&[Docker, Podman, Process]);
    let on = |name: &str, kind: RuntimeKind| {
        let mut workload = workload(name, "1");
        match &mut workload.run {
            Run::Container { engine, .. } if kind != Process => *engine = Some(kind),
            run => {
                *run = Run::Process {
                    command: vec!["/bin/true".into()],
                    user: None,
                    working_dir: None,
                };
            }
        }
        crate::supervisor::tests::run(workload)
    };
    let all = vec![on("a", Docker), on("b", Podman), on("c", Process)];
    world.assign(all);
    world.until("all run", 1_000, |w| {
        ["a", "b", "c"].iter().all(|n| w.runs(n, "1"))
    });
    for (name, kind) in [("a", Docker), ("b", Podman), ("c", Process)] {
        assert_eq!(world.observed(name).unwrap().runtime, kind);
    }
    world.lose(Docker);
    world.exit("b", 1);
    world.exit("c", 1);
    world.until("they run again", 2_000, |w| {
        w.state("b") == Some(Running) && w.state("c") == Some(Running) && w.begun("c") == 2
    });
    assert_eq!(world.state("a"), Some(Unknown));
}
