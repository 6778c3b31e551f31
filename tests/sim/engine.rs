//! A container engine in memory: does what it is told, late, or not, or without saying so.

use super::program::Program;
use fleetctl::{
    model::{Name, RuntimeKind},
    runtime::{Exit, Found, FoundStatus, Launch, Launched, RuntimeError},
    supervisor::{Action, OpOutcome},
};
use std::collections::BTreeMap;

/// One run of a program.
#[derive(Debug, Clone, Copy)]
struct Begun {
    /// Tells runs of one instance apart.
    number: u64,
    /// Virtual time.
    at: u64,
}

#[derive(Debug, Default)]
pub struct Engine {
    /// It does not answer.
    pub down: bool,
    /// The registry cannot be reached from here.
    pub no_registry: bool,
    instances: Vec<Found>,
    begun: BTreeMap<String, Begun>,
    /// Programs begun by workload, since the workload was assigned.
    pub begun_of: BTreeMap<Name, u32>,
    images: std::collections::BTreeSet<String>,
    made: u64,
}

/// A program that will end by itself.
#[derive(Debug, Clone)]
pub struct Ending {
    pub after_ms: u64,
    pub handle: String,
    pub number: u64,
    pub code: i32,
}

impl Engine {
    pub fn instances(&self) -> &[Found] {
        &self.instances
    }

    pub fn get(&self, handle: &str) -> Option<&Found> {
        self.instances.iter().find(|f| f.handle == handle)
    }

    /// What runs of a workload.
    pub fn running<'a>(&'a self, workload: &'a str) -> impl Iterator<Item = &'a Found> {
        let of = move |f: &&Found| f.workload.as_str() == workload && is_running(f);
        self.instances.iter().filter(of)
    }

    pub fn unreachable() -> RuntimeError {
        RuntimeError::Unreachable {
            runtime: RuntimeKind::Docker,
            message: "connection refused".into(),
        }
    }

    /// Carries an operation out; `wall`: the node's clock.
    pub fn perform(&mut self, action: &Action, now: u64, wall: u64) -> OpOutcome {
        let outcome = match action {
            Action::Launch { launch, .. } => return self.launch(launch, now, wall),
            Action::Start { handle, .. } => return self.start(handle, now, wall),
            Action::Prepare { launch, .. } => self.fetch(&image(launch)),
            Action::Stop { handle, .. } => {
                self.end(handle, None, 143);
                Ok(())
            }
            Action::Remove { handle, .. } => {
                self.instances.retain(|f| f.handle != *handle);
                self.begun.remove(handle);
                Ok(())
            }
            _ => Ok(()),
        };
        outcome.map_or_else(OpOutcome::Failed, |()| OpOutcome::Done)
    }

    fn fetch(&mut self, image: &str) -> Result<(), RuntimeError> {
        if self.no_registry && !self.images.contains(image) {
            return Err(RuntimeError::Image(format!("cannot fetch {image}")));
        }
        self.images.insert(image.to_owned());
        Ok(())
    }

    fn launch(&mut self, launch: &Launch, now: u64, wall: u64) -> OpOutcome {
        if let Err(error) = self.fetch(&image(launch)) {
            return OpOutcome::Failed(error);
        }
        let same =
            |f: &&Found| f.workload == launch.workload.name && f.spec_hash == launch.spec_hash;
        let handle = match self.instances.iter().find(same) {
            // As both engines' launch does.
            Some(found) if found.status != FoundStatus::Created => {
                return OpOutcome::Launched(Launched {
                    handle: found.handle.clone(),
                    pid: None,
                    warnings: Vec::new(),
                });
            }
            Some(found) => found.handle.clone(),
            None => {
                self.made += 1;
                let handle = format!("{}-{}", launch.workload.name, self.made);
                self.instances.push(Found {
                    handle: handle.clone(),
                    workload: launch.workload.name.clone(),
                    version: launch.workload.version.clone(),
                    spec_hash: launch.spec_hash.clone(),
                    status: FoundStatus::Created,
                    health: None,
                });
                handle
            }
        };
        self.start(&handle, now, wall)
    }

    fn start(&mut self, handle: &str, now: u64, wall: u64) -> OpOutcome {
        let Some(found) = self.instances.iter_mut().find(|f| f.handle == handle) else {
            return OpOutcome::Failed(RuntimeError::NotFound(handle.to_owned()));
        };
        if !is_running(found) {
            found.status = FoundStatus::Running {
                started_ms: wall,
                pid: None,
            };
            self.made += 1;
            let number = self.made;
            *self.begun_of.entry(found.workload.clone()).or_default() += 1;
            self.begun
                .insert(handle.to_owned(), Begun { number, at: now });
        }
        OpOutcome::Launched(Launched {
            handle: handle.to_owned(),
            pid: None,
            warnings: Vec::new(),
        })
    }

    /// Programs that began at `now` and end by themselves.
    pub fn endings(&self, now: u64) -> Vec<Ending> {
        let ending = |f: &Found| {
            let begun = self.begun.get(&f.handle).filter(|b| b.at == now)?;
            let (after_ms, code) = Program::of(&f.version).ends(&f.version)?;
            Some(Ending {
                after_ms,
                handle: f.handle.clone(),
                number: begun.number,
                code,
            })
        };
        let running = self.instances.iter().filter(|f| is_running(f));
        running.filter_map(ending).collect()
    }

    /// A program ends, where it still runs, and (`Some`) is still the run of that number.
    pub fn end(&mut self, handle: &str, number: Option<u64>, code: i32) -> bool {
        let begun = self.begun.get(handle).map(|b| b.number);
        if number.is_some_and(|n| begun != Some(n)) {
            return false;
        }
        let found = self.instances.iter_mut().find(|f| f.handle == handle);
        let Some(found) = found.filter(|f| is_running(f)) else {
            return false;
        };
        found.status = FoundStatus::Exited(Exit {
            code: Some(code),
            ..Exit::default()
        });
        true
    }

    /// The power fails: nothing runs any more, everything that was made is still there.
    pub fn power_cut(&mut self) {
        for found in self.instances.iter_mut().filter(|f| is_running(f)) {
            found.status = FoundStatus::Exited(Exit {
                code: Some(255),
                ..Exit::default()
            });
        }
        self.down = false;
    }

    /// What a health check of an instance hears.
    pub fn probe(&self, handle: &str, now: u64) -> Result<(), String> {
        if self.down {
            return Err("no answer in time".to_owned());
        }
        let found = self.get(handle).filter(|f| is_running(f));
        let begun = self.begun.get(handle);
        match found.zip(begun) {
            Some((found, begun)) => Program::of(&found.version).answers(now - begun.at),
            None => Err("connection refused".to_owned()),
        }
    }
}

fn image(launch: &Launch) -> String {
    format!("{}:{}", launch.workload.name, launch.workload.version)
}

pub fn is_running(found: &Found) -> bool {
    matches!(found.status, FoundStatus::Running { .. })
}
