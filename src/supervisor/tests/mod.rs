//! Tests of the supervisor over engines in memory and virtual time.
//!
//! | module | about |
//! |---|---|
//! | [`engine`], [`perform`], [`world`] | the harness |
//! | [`lifecycle`] | each arrow of the diagram in the module's doc |
//! | [`again`] | restart policies, delays, restarts that a person asked for |
//! | [`replace`] | another spec is wanted |
//! | [`adopt`] | what is found: after a restart of the agent, leftovers, strangers |
//! | [`kill`] | the agent killed before every single action |
//! | [`lost`] | engines that go away and come back |
//! | [`order`] | orders to this node alone |
//! | [`schedule`], [`counted_runs`] | runs by the clock, and so many times |
//! | [`checks`] | health, and runs that take too long |
//! | [`depends`] | who waits for whom |
//! | [`beside`] | hooks, reloads, last words |
//! | [`trial`], [`trial_kill`], [`trial_ahead`] | guarded changes, and what is fetched for them ahead |
//! | [`random`] | whatever happens, it converges once faults stop |

mod adopt;
mod again;
mod beside;
mod checks;
mod counted_runs;
mod depends;
mod engine;
mod kill;
mod late;
mod lifecycle;
mod lost;
mod order;
mod perform;
mod random;
mod replace;
mod schedule;
mod trial;
mod trial_ahead;
mod trial_kill;
mod unstored;
mod world;

use crate::model::{
    AssignedInstance, Desired, Guard, Health, HealthCheck, Restart, RestartPolicy, Run, RunMode,
    Schedule, TrialState, Workload,
};
use std::sync::Arc;

/// A container workload whose version decides its image.
fn workload(name: &str, version: &str) -> Workload {
    let run = Run::Container {
        image: format!("registry.example/{name}:{version}"),
        command: Vec::new(),
        pull: Default::default(),
        engine: None,
        user: None,
        working_dir: None,
        network: None,
        options: Default::default(),
    };
    Workload {
        version: version.to_owned(),
        restart: Restart {
            policy: RestartPolicy::Always,
            delay_ms: 1_000,
            max_delay_ms: 20_000,
        },
        ..Workload::new(world::name(name), run)
    }
}

/// One that runs by the clock.
fn scheduled(version: &str, schedule: &Schedule) -> Workload {
    Workload {
        mode: RunMode::Schedule(schedule.clone()),
        ..workload("web", version)
    }
}

/// Every full hour; the world begins at one.
fn hourly() -> Schedule {
    Schedule {
        cron: "0 * * * *".into(),
        ..Schedule::default()
    }
}

/// One that runs so many times.
fn counted(max_runs: u32) -> Workload {
    Workload {
        mode: RunMode::NTimes { max_runs },
        ..workload("web", "1")
    }
}

/// Asked every 10 s; three failures in a row are too many.
fn checked(mut workload: Workload) -> Workload {
    workload.health = Some(Health {
        interval_ms: 10_000,
        timeout_ms: 1_000,
        ..Health::new(HealthCheck::Tcp("127.0.0.1:80".into()))
    });
    workload
}

/// It depends on another one.
fn after(mut workload: Workload, other: &str, condition: crate::model::DependsOn) -> Workload {
    workload.depends_on.insert(world::name(other), condition);
    workload
}

fn with_policy(mut workload: Workload, policy: RestartPolicy) -> Workload {
    workload.restart.policy = policy;
    workload
}

fn run(workload: Workload) -> AssignedInstance {
    AssignedInstance {
        workload: Arc::new(workload),
        desired: Desired::Running,
        restart_count: 0,
        guard: None,
        next: None,
        trace: None,
    }
}

/// On trial: five seconds healthy within a minute, else back to `fallback`.
fn guarded(workload: Workload, fallback: Workload) -> AssignedInstance {
    AssignedInstance {
        guard: Some(Box::new(Guard {
            fallback: Arc::new(fallback),
            min_healthy_time_ms: 5_000,
            healthy_deadline_ms: 60_000,
        })),
        ..run(workload)
    }
}

/// How the trial of `web` stands.
fn trial(world: &world::World) -> Option<TrialState> {
    world.observed("web")?.trial.map(|t| t.state)
}

fn stopped(workload: Workload) -> AssignedInstance {
    AssignedInstance {
        desired: Desired::Stopped,
        ..run(workload)
    }
}

fn restarted(workload: Workload, restart_count: u64) -> AssignedInstance {
    AssignedInstance {
        restart_count,
        ..run(workload)
    }
}

/// A world in which `web` 1 runs by `policy`, and the length of its list of operations.
fn running_web(policy: RestartPolicy) -> (world::World, usize) {
    let mut world = world::World::new();
    world.assign(vec![run(with_policy(workload("web", "1"), policy))]);
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    let mark = world.asked.len();
    (world, mark)
}
