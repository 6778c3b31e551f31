//! What has nothing to do with a fault and must not notice it.

use crate::e2e::harness::{
    Agent, Engine, Fleet,
    manifests::{container, sleeping},
    native::Native,
};

/// A process, and in engines a container, that must stay the very same ones.
#[derive(Debug)]
pub(super) struct Bystander {
    process: Native,
    containers: Vec<(&'static str, String, String)>,
}

const PROCESS: &str = "bystander";

/// The name of the container in an engine.
fn in_engine(engine: &str) -> String {
    format!("bystander-{engine}")
}

impl Bystander {
    /// A process.
    #[track_caller]
    pub(super) fn start(fleet: &Fleet, agent: &Agent) -> Bystander {
        Bystander::with(fleet, agent, &[])
    }

    /// A process, and a container in each of `engines`; `process` is not one.
    #[track_caller]
    pub(super) fn with(fleet: &Fleet, agent: &Agent, engines: &[&'static str]) -> Bystander {
        let engines: Vec<&'static str> = engines
            .iter()
            .copied()
            .filter(|e| *e != "process")
            .collect();
        let mut text = sleeping(PROCESS);
        for engine in &engines {
            text += &container(&in_engine(engine), engine, "1");
        }
        fleet.apply_wait(&text).done();
        let standing = |engine: &&'static str| {
            let id = agent.container(&in_engine(engine));
            let began = began(engine, &id);
            (*engine, id, began)
        };
        Bystander {
            process: agent.process(PROCESS),
            containers: engines.iter().map(standing).collect(),
        }
    }

    /// It is as it was, and the fleet knows it.
    #[track_caller]
    pub(super) fn is_untouched(&self, fleet: &Fleet, agent: &Agent) {
        assert_eq!(agent.process(PROCESS), self.process, "the process");
        let mut names = vec![PROCESS.to_owned()];
        for (engine, id, before) in &self.containers {
            let name = in_engine(engine);
            assert_eq!(&agent.container(&name), id, "the container in {engine}");
            assert_eq!(&began(engine, id), before, "its start in {engine}");
            names.push(name);
        }
        for name in names {
            let shown = fleet.wait_running(&name);
            assert_eq!(shown["restarts"], 0, "{shown}");
        }
    }
}

/// When its engine started it.
pub(super) fn began(engine: &str, id: &str) -> String {
    let told = Engine::named(engine).inspect(id);
    let at = told["State"]["StartedAt"].as_str();
    at.expect("a time").to_owned()
}
