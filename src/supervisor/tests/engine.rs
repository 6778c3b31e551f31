//! A container engine that is held in memory: it does what it is told, or fails as it is told.

use crate::{
    model::{Name, RuntimeKind},
    runtime::{Exit, Found, FoundStatus, ImageHealth, Launch, Launched, RuntimeError},
};
use std::collections::{BTreeMap, BTreeSet};

/// What an engine can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    Launch,
    Prepare,
    Start,
    Stop,
    Remove,
    Reload,
}

impl Verb {
    /// Those that every workload sees; a reload is for few.
    pub(super) const ALL: [Verb; 5] = [
        Verb::Launch,
        Verb::Prepare,
        Verb::Start,
        Verb::Stop,
        Verb::Remove,
    ];
}

/// How the next operations of a verb go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not done, and says so.
    Refuses,
    /// It is done, but the answer is lost.
    LosesTheAnswer,
}

/// One engine.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) kind: RuntimeKind,
    /// It answers.
    pub(super) up: bool,
    pub(super) instances: Vec<Found>,
    /// Versions whose image is nowhere.
    pub(super) no_image: BTreeSet<String>,
    /// Versions that cannot be started, however often it is tried.
    pub(super) refused: BTreeSet<String>,
    /// How many of the next operations of a verb go wrong, and how.
    pub(super) faults: BTreeMap<Verb, (u32, Fault)>,
    /// How often a program began, by workload.
    pub(super) begun: BTreeMap<Name, u32>,
    /// Exit code of a program that is stopped.
    pub(super) stop_code: i32,
    /// What images have of a HEALTHCHECK, by workload.
    pub(super) image_health: BTreeMap<Name, ImageHealth>,
    made: u32,
}

impl Engine {
    pub(super) fn new(kind: RuntimeKind) -> Engine {
        Engine {
            kind,
            up: true,
            instances: Vec::new(),
            no_image: BTreeSet::new(),
            refused: BTreeSet::new(),
            faults: BTreeMap::new(),
            begun: BTreeMap::new(),
            stop_code: 143,
            image_health: BTreeMap::new(),
            made: 0,
        }
    }

    /// What a caller hears when the engine does not answer.
    pub(super) fn unreachable(&self) -> RuntimeError {
        RuntimeError::Unreachable {
            runtime: self.kind,
            message: "connection refused".into(),
        }
    }

    /// Takes one of the faults that were asked for.
    pub(super) fn fault(&mut self, verb: Verb) -> Option<Fault> {
        let (left, fault) = self.faults.get_mut(&verb).filter(|(left, _)| *left > 0)?;
        *left -= 1;
        Some(*fault)
    }

    pub(super) fn get(&self, handle: &str) -> Option<&Found> {
        self.instances.iter().find(|f| f.handle == handle)
    }

    fn get_mut(&mut self, handle: &str) -> Option<&mut Found> {
        self.instances.iter_mut().find(|f| f.handle == handle)
    }

    pub(super) fn of<'a>(&'a self, workload: &'a Name) -> impl Iterator<Item = &'a Found> {
        self.instances
            .iter()
            .filter(move |f| f.workload == *workload)
    }

    /// Puts an instance there that nobody of this test launched.
    pub(super) fn plant(
        &mut self,
        workload: &Name,
        version: &str,
        hash: &str,
        status: FoundStatus,
    ) -> String {
        self.made += 1;
        let handle = format!("{}-{}", self.kind, self.made);
        self.instances.push(Found {
            handle: handle.clone(),
            workload: workload.clone(),
            version: version.to_owned(),
            spec_hash: hash.to_owned(),
            status,
            health: self.image_health.get(workload).copied(),
        });
        handle
    }

    pub(super) fn prepare(&self, launch: &Launch) -> Result<(), RuntimeError> {
        if self.no_image.contains(&launch.workload.version) {
            let message = format!("there is no image for {}", launch.workload.version);
            return Err(RuntimeError::Image(message));
        }
        Ok(())
    }

    pub(super) fn launch(&mut self, launch: &Launch) -> Result<Launched, RuntimeError> {
        self.prepare(launch)?;
        let name = &launch.workload.name;
        let same = self.of(name).find(|f| f.spec_hash == launch.spec_hash);
        let handle = match same.map(|f| f.handle.clone()) {
            Some(handle) => handle,
            None => {
                let (version, hash) = (&launch.workload.version, &launch.spec_hash);
                self.plant(name, version, hash, FoundStatus::Created)
            }
        };
        self.start(&handle)
    }

    pub(super) fn start(&mut self, handle: &str) -> Result<Launched, RuntimeError> {
        let found = self.get(handle);
        if let Some(found) = found.filter(|f| self.refused.contains(&f.version)) {
            let message = format!("{} has no such command", found.version);
            return Err(RuntimeError::Refused(message));
        }
        let Some(found) = self.get_mut(handle) else {
            return Err(RuntimeError::NotFound(handle.to_owned()));
        };
        if !running(found) {
            found.status = FoundStatus::Running {
                started_ms: 1,
                pid: None,
            };
            let name = found.workload.clone();
            *self.begun.entry(name).or_default() += 1;
        }
        Ok(Launched {
            handle: handle.to_owned(),
            pid: None,
            warnings: Vec::new(),
        })
    }

    pub(super) fn stop(&mut self, handle: &str) {
        let code = self.stop_code;
        self.end(handle, code);
    }

    /// The program ends; no effect when it does not run.
    pub(super) fn end(&mut self, handle: &str, code: i32) {
        if let Some(found) = self.get_mut(handle).filter(|f| running(f)) {
            found.status = FoundStatus::Exited(Exit {
                code: Some(code),
                ..Exit::default()
            });
        }
    }

    pub(super) fn remove(&mut self, handle: &str) {
        self.instances.retain(|f| f.handle != handle);
    }
}

pub(super) fn running(found: &Found) -> bool {
    matches!(found.status, FoundStatus::Running { .. })
}
