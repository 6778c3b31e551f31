//! Whatever happens: once faults stop, everything is as assigned within bounded time, and rests.

use super::{
    after, checked,
    engine::{Fault, Verb},
    workload,
    world::{World, name},
};
use crate::{
    model::{
        AssignedInstance, DependsOn, Desired, Guard, Hook,
        InstanceState::{Running, Stopped},
        MissedRun, Overlap, RestartPolicy, RunMode,
        RuntimeKind::{self, Docker, Podman},
        Schedule, TrialState, Workload,
    },
    runtime::FoundStatus,
    supervisor::{Input, LocalOrder},
};
use proptest::prelude::*;
use std::sync::Arc;

const NAMES: [&str; 3] = ["a", "b", "c"];
/// What differs between workloads, and changes in place: how they run, what they depend on,
/// whether they are asked for their health. What is assigned last has nothing of it, so that it
/// can be said how it ends.
fn special(workload: &mut Workload, version: u8) {
    match (workload.name.as_str(), version) {
        ("a", 1) => {
            workload.mode = RunMode::Schedule(Schedule {
                cron: "*/5 * * * * *".into(),
                overlap: Overlap::Replace,
                missed: MissedRun::RunOnce,
                ..Schedule::default()
            });
        }
        ("b", 1) => workload.mode = RunMode::NTimes { max_runs: 2 },
        ("b", 2) => *workload = after(workload.clone(), "a", DependsOn::Started),
        ("c", 1) => {
            *workload = checked(workload.clone());
            workload.timeout_ms = Some(3_600_000_000);
        }
        ("c", 2) => {
            workload.before_stop = Some(Hook {
                command: vec!["flush".into()],
                timeout_ms: 100,
            });
        }
        _ => {}
    }
}

/// Longer than the longest delays of everything that is tried again.
const SETTLED_MS: u64 = 1_500_000;

/// How one is assigned.
#[derive(Debug, Clone)]
struct Given {
    version: u8,
    stopped: bool,
    restart_count: u64,
    policy: u8,
    /// Version that it goes back to.
    fallback: Option<u8>,
    /// Version that is fetched ahead.
    next: Option<u8>,
}

/// With as many restarts as `restarts` says; `None`: not assigned.
fn given(restarts: std::ops::Range<u64>) -> impl Strategy<Value = Option<Given>> {
    let version = || prop::option::weighted(0.4, 0u8..3);
    let what = (
        0u8..3,
        prop::bool::weighted(0.2),
        restarts,
        0u8..3,
        version(),
        version(),
    );
    let given = what.prop_map(
        |(version, stopped, restart_count, policy, fallback, next)| Given {
            version,
            stopped,
            restart_count,
            policy,
            fallback,
            next,
        },
    );
    prop::option::weighted(0.8, given)
}

#[derive(Debug, Clone)]
enum Event {
    Assign([Option<Given>; 3]),
    Exit(usize, i32),
    Vanish(usize),
    ShortLife(usize, Option<u64>),
    Lose(bool),
    Regain(bool),
    NoImage(u8, bool),
    Fail(usize, u32, bool),
    Takes(u64),
    /// How long the answer to a look is under way.
    Looks(u64),
    Kill(bool),
    Order(usize, u8),
    /// What health checks of one answer: nothing, no, or yes.
    Health(usize, u8),
    /// The wall clock is set to another time.
    Jump(i64),
    /// Inputs that nobody waits for.
    Stray(u64, bool),
    Plant(usize, bool, bool),
    List,
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let one = || given(0..3);
    let who = 0usize..3;
    prop_oneof![
        4 => [one(), one(), one()].prop_map(Event::Assign),
        3 => (who.clone(), 0i32..3).prop_map(|(w, c)| Event::Exit(w, c)),
        1 => who.clone().prop_map(Event::Vanish),
        1 => (who.clone(), prop::option::of(0u64..5_000)).prop_map(|(w, l)| Event::ShortLife(w, l)),
        1 => any::<bool>().prop_map(Event::Lose),
        2 => any::<bool>().prop_map(Event::Regain),
        1 => (0u8..3, any::<bool>()).prop_map(|(v, there)| Event::NoImage(v, there)),
        2 => (0usize..5, 1u32..4, any::<bool>()).prop_map(|(v, n, lost)| Event::Fail(v, n, lost)),
        1 => (1u64..3_000).prop_map(Event::Takes),
        2 => (0u64..3_000).prop_map(Event::Looks),
        2 => any::<bool>().prop_map(Event::Kill),
        2 => (who.clone(), 0u8..4).prop_map(|(w, o)| Event::Order(w, o)),
        2 => (who.clone(), 0u8..3).prop_map(|(w, h)| Event::Health(w, h)),
        1 => (-400_000_000_000i64..400_000_000_000).prop_map(Event::Jump),
        1 => (0u64..50, any::<bool>()).prop_map(|(id, well)| Event::Stray(id, well)),
        1 => (who, any::<bool>(), any::<bool>()).prop_map(|(w, e, r)| Event::Plant(w, e, r)),
        1 => Just(Event::List),
        6 => (0u64..4_000).prop_map(Event::Wait),
    ]
}

fn instances(all: &[Option<Given>; 3], plain: bool) -> Vec<AssignedInstance> {
    let one = |(name, given): (&&str, &Option<Given>)| {
        let given = given.as_ref()?;
        let of = |version: u8| {
            let mut workload = workload(name, &version.to_string());
            workload.restart.policy = [
                RestartPolicy::Always,
                RestartPolicy::OnFailure,
                RestartPolicy::Never,
            ][usize::from(given.policy)];
            if !plain {
                special(&mut workload, version);
            }
            Arc::new(workload)
        };
        let guard = |version| Guard {
            fallback: of(version),
            min_healthy_time_ms: 5_000,
            healthy_deadline_ms: 60_000,
        };
        Some(AssignedInstance {
            workload: of(given.version),
            desired: if given.stopped {
                Desired::Stopped
            } else {
                Desired::Running
            },
            restart_count: given.restart_count,
            guard: given.fallback.map(|version| Box::new(guard(version))),
            next: given.next.map(of),
            trace: None,
        })
    };
    NAMES.iter().zip(all).filter_map(one).collect()
}

/// What is to run in the end: the agent may have found out that it does not work.
fn wanted_in_the_end(world: &World, assigned: &AssignedInstance) -> Arc<Workload> {
    let observed = world.observed(assigned.workload.name.as_str());
    let trial = observed.and_then(|o| o.trial);
    match (trial, &assigned.guard) {
        (Some(trial), Some(guard)) if trial.state == TrialState::Failed => guard.fallback.clone(),
        _ => assigned.workload.clone(),
    }
}

fn engine(podman: bool) -> RuntimeKind {
    if podman { Podman } else { Docker }
}

fn happen(world: &mut World, event: &Event, n: usize) {
    match event {
        Event::Assign(all) => world.assign(instances(all, false)),
        Event::Exit(who, code) => world.exit(NAMES[*who], *code),
        Event::Vanish(who) => world.vanish(NAMES[*who]),
        Event::ShortLife(who, life) => {
            world.lives.remove(NAMES[*who]);
            world
                .lives
                .extend(life.map(|ms| (name(NAMES[*who]), (ms, 1))));
        }
        Event::Lose(podman) => world.lose(engine(*podman)),
        Event::Regain(podman) => world.regain(engine(*podman)),
        Event::NoImage(version, there) => {
            for engine in world.engines.values_mut() {
                engine.no_image.remove(&version.to_string());
                engine
                    .no_image
                    .extend((!there).then(|| version.to_string()));
            }
        }
        Event::Fail(verb, times, lost) => {
            let fault = if *lost {
                Fault::LosesTheAnswer
            } else {
                Fault::Refuses
            };
            world
                .docker()
                .faults
                .insert(Verb::ALL[*verb], (*times, fault));
        }
        Event::Looks(ms) => world.look_takes_ms = *ms,
        Event::Takes(ms) => world.takes_ms = *ms,
        Event::Kill(done) => world.kill(*done),
        Event::Order(who, order) => {
            let orders = [
                LocalOrder::Start,
                LocalOrder::Stop,
                LocalOrder::Restart,
                LocalOrder::Remove,
            ];
            let order = orders[usize::from(*order)];
            world.order(&format!("order-{n}"), NAMES[*who], order);
        }
        Event::Health(who, answer) => {
            let answers = [None, Some(Err("no".to_owned())), Some(Ok(()))];
            let answer = answers[usize::from(*answer)].clone();
            world.health.insert(name(NAMES[*who]), answer);
        }
        Event::Jump(by_ms) => world.jump(*by_ms),
        Event::Stray(id, well) => {
            let result = well.then_some(()).ok_or("no".to_owned());
            world.step(Input::Probed { probe: *id, result });
            world.step(Input::LastOutput {
                runtime: Docker,
                handle: format!("docker-{id}"),
                lines: vec!["x".repeat(1_000); 20],
            });
        }
        Event::Plant(who, podman, runs) => {
            let status = if *runs {
                FoundStatus::Running {
                    started_ms: 0,
                    pid: None,
                }
            } else {
                FoundStatus::Created
            };
            let engine = world.engines.get_mut(&engine(*podman)).unwrap();
            engine.plant(&name(NAMES[*who]), "planted", "planted", status);
        }
        Event::List => world.list(),
        Event::Wait(ms) => world.wait(*ms),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn once_faults_stop_everything_is_as_assigned_and_rests(
        events in prop::collection::vec(event(), 1..60),
        last in [
            given(3..5),
            given(3..5),
            given(3..5),
        ],
    ) {
        let mut world = World::with(&[Docker, Podman]);
        // Only what was put there by hand, or is done by an agent that is dead, runs twice.
        let strangers = |e: &Event| matches!(e, Event::Plant(..) | Event::Kill(true) | Event::Lose(_));
        world.lenient = events.iter().any(strangers);
        for (n, event) in events.iter().enumerate() {
            happen(&mut world, event, n);
        }
        // Faults stop.
        world.lives.clear();
        for kind in [Docker, Podman] {
            let engine = world.engines.get_mut(&kind).unwrap();
            engine.faults.clear();
            engine.no_image.clear();
            world.regain(kind);
        }
        world.takes_ms = 10;
        world.health.clear();
        let wanted = instances(&last, true);
        world.assign(wanted.clone());
        world.wait(SETTLED_MS);
        // Programs that ended by themselves by their short life are over; nothing moves any more.
        let (asked, reports) = (world.asked.len(), world.reports);
        world.wait(600_000);
        prop_assert_eq!(world.asked.len(), asked, "{:#?}", &world.asked[asked..]);
        prop_assert_eq!(world.reports, reports);
        for name in NAMES {
            let Some(i) = wanted.iter().find(|i| i.workload.name.as_str() == name) else {
                prop_assert!(world.is_gone(name), "{} is still there", name);
                continue;
            };
            let workload = wanted_in_the_end(&world, i);
            if i.desired == Desired::Stopped {
                prop_assert_eq!(world.state(name), Some(Stopped));
            } else if i.workload.restart.policy == RestartPolicy::Always {
                prop_assert_eq!(world.state(name), Some(Running));
                prop_assert!(world.runs(name, &workload.version), "{:#?}", world.engines);
            } else {
                let all: Vec<_> = world.engines.values().flat_map(|e| &e.instances)
                    .filter(|f| f.workload.as_str() == name).collect();
                prop_assert_eq!(all.len(), 1, "{:#?}", all);
                prop_assert_eq!(&all[0].spec_hash, &workload.spec_hash());
            }
            let observed = world.observed(name);
            let trial = observed.as_ref().and_then(|o| o.trial.as_ref()).map(|t| t.state);
            // What is kept stopped is not judged; all others are, by the time that has passed.
            let open = trial == Some(TrialState::Running) && i.desired == Desired::Running;
            prop_assert!(!open, "{}: {:?}", name, observed);
            let to_fetch = i.next.as_ref().map(|next| next.spec_hash());
            let to_fetch = to_fetch.filter(|hash| *hash != workload.spec_hash());
            let fetched = observed.and_then(|o| o.fetched);
            prop_assert!(to_fetch.is_none() || fetched == to_fetch, "{}: {:?}", name, fetched);
        }
    }
}
