//! Tests of the supervisor over engines in memory and virtual time.
//!
//! | module | about |
//! |---|---|
//! | [`engine`], [`world`] | the harness |
//! | [`lifecycle`] | each arrow of the diagram in the module's doc |
//! | [`again`] | restart policies, delays, restarts that a person asked for |
//! | [`replace`] | another spec is wanted |
//! | [`adopt`] | what is found: after a restart of the agent, leftovers, strangers |
//! | [`kill`] | the agent killed before every single action |
//! | [`lost`] | engines that go away and come back |
//! | [`order`] | orders to this node alone |
//! | [`random`] | whatever happens, it converges once faults stop |

mod adopt;
mod again;
mod engine;
mod kill;
mod lifecycle;
mod lost;
mod order;
mod random;
mod replace;
mod world;

use crate::model::{
    AssignedInstance, Desired, Placement, Resources, Restart, RestartPolicy, Run, Workload,
    WorkloadType,
};
use std::{collections::BTreeMap, sync::Arc};

/// A container workload whose version decides its image.
fn workload(name: &str, version: &str) -> Workload {
    Workload {
        name: world::name(name),
        kind: WorkloadType::Service,
        version: version.to_owned(),
        run: Run::Container {
            image: format!("registry.example/{name}:{version}"),
            command: Vec::new(),
            pull: Default::default(),
            engine: None,
            user: None,
            working_dir: None,
            network: None,
        },
        env: BTreeMap::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        devices: Vec::new(),
        resources: Resources::default(),
        placement: Placement::default(),
        restart: Restart {
            policy: RestartPolicy::Always,
            delay_ms: 1_000,
            max_delay_ms: 20_000,
        },
        stop_timeout_ms: 10_000,
    }
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
    }
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
