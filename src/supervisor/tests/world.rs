//! A supervisor between engines in memory, a disk and a virtual clock: what the agent's shell
//! does, without anything real. Deterministic; an agent can be killed before any single action.

use super::{
    engine::{Engine, Fault, running},
    perform::{nothing_runs_twice, parts, perform},
};
use crate::{
    model::{
        AssignedInstance, Assignment, InstanceState, Name, NodeConfig, ObservedInstance,
        RuntimeKind,
    },
    runtime::RuntimeError,
    supervisor::{Action, Input, LocalOrder, Memory, Now, OpOutcome, Supervisor},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Everything is listed again so often, as the agent does.
const LIST_EVERY_MS: u64 = 60_000;
/// What the wall clock shows when a world begins: a full hour, in 2027.
pub(super) const BEGINNING_MS: u64 = 500_000 * 3_600_000;
/// Inputs at one instant after which it can only be a loop that never rests.
const BUSY: u32 = 500;

/// Something that comes later.
#[derive(Debug)]
pub(super) enum Later {
    /// An operation takes effect, and is answered if the agent that asked still lives.
    Effect(u64, Action),
    /// An engine's event: look at this one.
    Changed(RuntimeKind, String),
    /// A program ends by itself, if it is still the one that began then.
    Ends(RuntimeKind, String, u32, i32),
    /// A health check, or the last lines of an instance, for the agent that asked.
    Answers(u64, Input),
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) supervisor: Supervisor,
    pub(super) engines: BTreeMap<RuntimeKind, Engine>,
    /// What is on the disk.
    pub(super) assignment: Option<Assignment>,
    pub(super) memory: Memory,
    /// Nothing can be written to it.
    pub(super) disk_is_full: bool,
    /// How often that was tried.
    pub(super) refused: u32,
    /// How often the disk was written.
    pub(super) remembered: u32,
    /// What the wall clock shows at the virtual time 0.
    pub(super) wall_ms: u64,
    /// What health checks answer, by workload: `Ok` where nothing is said, `None`: nothing ever.
    pub(super) health: BTreeMap<Name, Option<Result<(), String>>>,
    /// Health checks that were asked: when, and of which workload.
    pub(super) probes: Vec<(u64, String)>,
    /// The last lines of everything that ends.
    pub(super) output: Vec<String>,
    /// Nobody answers what they are.
    pub(super) output_is_lost: bool,
    /// How often last lines were fetched.
    pub(super) fetched: u32,
    /// Hooks that were run before a stop, and whether they fail.
    pub(super) hooks: Vec<String>,
    pub(super) hooks_fail: bool,
    /// How long an operation takes.
    pub(super) takes_ms: u64,
    /// How long the answer to a look is under way.
    pub(super) look_takes_ms: u64,
    /// Programs that end by themselves: after how long, and with which code.
    pub(super) lives: BTreeMap<Name, (u64, i32)>,
    /// The same, of one version.
    pub(super) version_lives: BTreeMap<(Name, String), (u64, i32)>,
    /// Operations that were asked for, as in `launch web`.
    pub(super) asked: Vec<(u64, String)>,
    pub(super) told: Vec<(&'static str, String)>,
    pub(super) answers: BTreeMap<String, Result<(), String>>,
    pub(super) reports: u32,
    /// Operations that were to be given up.
    pub(super) cancelled: Vec<u64>,
    /// The agent dies before the action (or input) after so many; what is in flight then is
    /// carried out all the same, or not.
    pub(super) fuse: Option<(u32, bool)>,
    /// Two instances of one workload may run at once: a test put them there.
    pub(super) lenient: bool,
    later: BTreeMap<(u64, u64), Later>,
    order: u64,
    pub(super) agents: u64,
    next_list: u64,
    busy: (u64, u32),
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn fresh(memory: Memory, kinds: &BTreeSet<RuntimeKind>) -> Supervisor {
    Supervisor::new(name("pi"), kinds, memory, 7)
}

impl World {
    /// An agent that has just started with Docker, which has nothing yet.
    pub(super) fn new() -> World {
        World::with(&[RuntimeKind::Docker])
    }

    pub(super) fn with(kinds: &[RuntimeKind]) -> World {
        let mut world = World::unlisted(kinds);
        world.list();
        world
    }

    /// The same, before any engine has told what it has.
    pub(super) fn unlisted(kinds: &[RuntimeKind]) -> World {
        let kinds: BTreeSet<RuntimeKind> = kinds.iter().copied().collect();
        World {
            now: 1_000,
            supervisor: fresh(Memory::default(), &kinds),
            engines: kinds.into_iter().map(|k| (k, Engine::new(k))).collect(),
            assignment: None,
            memory: Memory::default(),
            disk_is_full: false,
            refused: 0,
            remembered: 0,
            wall_ms: BEGINNING_MS - 1_000,
            health: BTreeMap::new(),
            probes: Vec::new(),
            output: Vec::new(),
            output_is_lost: false,
            fetched: 0,
            hooks: Vec::new(),
            hooks_fail: false,
            takes_ms: 10,
            look_takes_ms: 0,
            lives: BTreeMap::new(),
            version_lives: BTreeMap::new(),
            asked: Vec::new(),
            told: Vec::new(),
            answers: BTreeMap::new(),
            reports: 0,
            cancelled: Vec::new(),
            fuse: None,
            lenient: false,
            later: BTreeMap::new(),
            order: 0,
            agents: 1,
            next_list: 1_000 + LIST_EVERY_MS,
            busy: (0, 0),
        }
    }

    pub(super) fn docker(&mut self) -> &mut Engine {
        self.engines.get_mut(&RuntimeKind::Docker).unwrap()
    }

    // What happens to it.

    /// The controller assigns exactly these.
    pub(super) fn assign(&mut self, instances: Vec<AssignedInstance>) {
        let before = self.assignment.as_ref().map_or(0, |a| a.generation);
        let assignment = Assignment {
            generation: before + 1,
            instances,
            cfg: NodeConfig::default(),
        };
        self.assignment = Some(assignment.clone());
        self.step(Input::Assigned(assignment));
    }

    pub(super) fn order(&mut self, id: &str, workload: &str, order: LocalOrder) {
        let (id, workload) = (id.to_owned(), name(workload));
        self.step(Input::Ordered {
            id,
            workload,
            order,
        });
    }

    /// The running program of a workload ends.
    pub(super) fn exit(&mut self, workload: &str, code: i32) {
        let workload = name(workload);
        let mut ended = Vec::new();
        for engine in self.engines.values_mut() {
            let handles: Vec<String> = engine.of(&workload).map(|f| f.handle.clone()).collect();
            for handle in handles {
                engine.end(&handle, code);
                ended.push((engine.kind, handle));
            }
        }
        for (kind, handle) in ended {
            self.changed(kind, handle);
        }
    }

    /// Everything of one workload is removed behind the agent's back.
    pub(super) fn vanish(&mut self, workload: &str) {
        let workload = name(workload);
        let mut gone = Vec::new();
        for engine in self.engines.values_mut() {
            gone.extend(
                engine
                    .of(&workload)
                    .map(|f| (engine.kind, f.handle.clone())),
            );
            engine.instances.retain(|f| f.workload != workload);
        }
        for (kind, handle) in gone {
            self.changed(kind, handle);
        }
    }

    /// The wall clock is set to another time, so many milliseconds away.
    pub(super) fn jump(&mut self, by_ms: i64) {
        self.wall_ms = self.wall_ms.saturating_add_signed(by_ms);
    }

    pub(super) fn lose(&mut self, kind: RuntimeKind) {
        self.engines.get_mut(&kind).unwrap().up = false;
        let reason = "connection refused".to_owned();
        self.step(Input::RuntimeLost {
            runtime: kind,
            reason,
        });
    }

    pub(super) fn regain(&mut self, kind: RuntimeKind) {
        self.engines.get_mut(&kind).unwrap().up = true;
        self.list_one(kind);
    }

    /// The agent is killed, and starts again over what is on its disk and in its engines.
    pub(super) fn kill(&mut self, in_flight_is_done: bool) {
        self.fuse = None;
        self.agents += 1;
        if !in_flight_is_done {
            self.later.retain(|_, l| !matches!(l, Later::Effect(..)));
        }
        let kinds = self.engines.keys().copied().collect();
        self.supervisor = fresh(self.memory.clone(), &kinds);
        if let Some(assignment) = self.assignment.clone() {
            self.step(Input::Assigned(assignment));
        }
        self.list();
    }

    pub(super) fn list(&mut self) {
        for kind in self.engines.keys().copied().collect::<Vec<_>>() {
            self.list_one(kind);
        }
    }

    pub(super) fn list_one(&mut self, kind: RuntimeKind) {
        let as_of = self.supervisor.begin_look();
        let engine = &self.engines[&kind];
        let input = if engine.up {
            Input::Listed {
                runtime: kind,
                as_of,
                found: engine.instances.clone(),
            }
        } else {
            Input::RuntimeLost {
                runtime: kind,
                reason: "connection refused".into(),
            }
        };
        self.answered(input);
    }

    // How it is.

    pub(super) fn observed(&self, workload: &str) -> Option<ObservedInstance> {
        let all = self.supervisor.observed_instances();
        all.into_iter().find(|o| o.workload.as_str() == workload)
    }

    pub(super) fn state(&self, workload: &str) -> Option<InstanceState> {
        self.observed(workload).map(|o| o.state)
    }

    /// Times that a program of the workload began, on all engines.
    pub(super) fn begun(&self, workload: &str) -> u32 {
        let begun = self.engines.values().filter_map(|e| e.begun.get(workload));
        begun.sum()
    }

    /// The one instance of a workload that runs has this version, nothing else is there of it,
    /// and the supervisor says so.
    pub(super) fn runs(&self, workload: &str, version: &str) -> bool {
        let workload = name(workload);
        let all: Vec<_> = self
            .engines
            .values()
            .flat_map(|e| e.of(&workload))
            .collect();
        let one = matches!(all.as_slice(), [one] if running(one) && one.version == version);
        one && self.rests() && self.state(workload.as_str()) == Some(InstanceState::Running)
    }

    pub(super) fn is_gone(&self, workload: &str) -> bool {
        let workload = name(workload);
        let there = self.engines.values().any(|e| e.of(&workload).count() > 0);
        !there && self.rests() && self.state(workload.as_str()).is_none()
    }

    /// No operation is under way.
    pub(super) fn rests(&self) -> bool {
        !self.later.values().any(|l| matches!(l, Later::Effect(..)))
    }

    /// Operations asked for since `mark`, a length of `asked`.
    pub(super) fn asked_since(&self, mark: usize) -> Vec<&str> {
        self.asked[mark..].iter().map(|(_, a)| a.as_str()).collect()
    }

    // Time.

    /// Runs until `condition` holds; panics when it does not within `limit_ms` of virtual time.
    pub(super) fn until(&mut self, what: &str, limit_ms: u64, condition: impl Fn(&World) -> bool) {
        let deadline = self.now + limit_ms;
        while !condition(self) {
            assert!(
                self.advance(deadline),
                "not within {limit_ms} ms: {what}\n{:#?}\n{:#?}",
                self.supervisor.observed_instances(),
                self.asked
            );
        }
    }

    /// Lets so much virtual time go by.
    pub(super) fn wait(&mut self, ms: u64) {
        let deadline = self.now + ms;
        while self.advance(deadline) {}
    }

    /// To the next thing that happens, at most to `deadline`; `false` when that has come.
    fn advance(&mut self, deadline: u64) -> bool {
        let later = self.later.keys().next().map(|(at, _)| *at);
        let tick = self.supervisor.next_deadline();
        let candidates = [later, tick, Some(self.next_list)];
        let next = candidates.into_iter().flatten().min().unwrap_or(deadline);
        if next > deadline {
            self.now = deadline;
            return false;
        }
        self.now = self.now.max(next);
        if later == Some(next) {
            if let Some((_, what)) = self.later.pop_first() {
                self.happens(what);
            }
        } else if tick == Some(next) {
            self.step(Input::Tick);
        } else {
            self.next_list = self.now + LIST_EVERY_MS;
            self.list();
        }
        true
    }

    pub(super) fn schedule(&mut self, after_ms: u64, what: Later) {
        self.order += 1;
        self.later.insert((self.now + after_ms, self.order), what);
    }

    fn changed(&mut self, kind: RuntimeKind, handle: String) {
        self.schedule(1, Later::Changed(kind, handle));
    }

    fn happens(&mut self, what: Later) {
        match what {
            Later::Effect(agent, action) => self.effect(agent, action),
            Later::Changed(kind, handle) => self.look(kind, handle),
            Later::Answers(agent, input) => {
                if agent == self.agents {
                    self.step(input);
                }
            }
            Later::Ends(kind, handle, begun, code) => {
                let engine = self.engines.get_mut(&kind).unwrap();
                let workload = engine.get(&handle).map(|f| f.workload.clone());
                let same = |w: &Name| engine.begun.get(w) == Some(&begun);
                if workload.as_ref().is_some_and(same) {
                    engine.end(&handle, code);
                    self.changed(kind, handle);
                }
            }
        }
    }

    fn look(&mut self, kind: RuntimeKind, handle: String) {
        let as_of = self.supervisor.begin_look();
        let engine = &self.engines[&kind];
        if !engine.up {
            return;
        }
        let input = match engine.get(&handle).cloned() {
            Some(found) => Input::Observed {
                runtime: kind,
                as_of,
                found,
            },
            None => Input::Gone {
                runtime: kind,
                handle,
            },
        };
        self.answered(input);
    }

    /// What a look has seen comes to the agent that looked.
    fn answered(&mut self, input: Input) {
        match self.look_takes_ms {
            0 => self.step(input),
            after => self.schedule(after, Later::Answers(self.agents, input)),
        }
    }

    // The shell.

    pub(super) fn step(&mut self, input: Input) {
        self.busy = match self.busy {
            (at, n) if at == self.now => (at, n + 1),
            _ => (self.now, 0),
        };
        assert!(self.busy.1 < BUSY, "never rests: {:#?}", self.asked.last());
        if self.dies() {
            return;
        }
        let now = Now {
            mono_ms: self.now,
            unix_ms: self.wall_ms + self.now,
        };
        let mut actions = VecDeque::from(self.supervisor.step(now, input));
        while let Some(action) = actions.pop_front() {
            if self.dies() {
                return;
            }
            if self.disk_is_full && matches!(action, Action::Remember(_)) {
                actions = self.not_remembered(actions);
                continue;
            }
            self.carry_out(action);
        }
    }

    fn dies(&mut self) -> bool {
        match self.fuse {
            None => false,
            Some((0, done)) => {
                self.kill(done);
                true
            }
            Some((left, done)) => {
                self.fuse = Some((left - 1, done));
                false
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Report => self.reports += 1,
            Action::Remember(memory) => {
                assert_ne!(memory, self.memory, "the disk was written for nothing");
                self.memory = memory;
                self.remembered += 1;
            }
            Action::Probe {
                probe,
                runtime,
                handle,
                ..
            } => self.probe(probe, runtime, &handle),
            Action::FetchLastOutput { runtime, handle } => {
                self.fetched += 1;
                let lines = self.output.clone();
                let input = Input::LastOutput {
                    runtime,
                    handle,
                    lines,
                };
                if !self.output_is_lost {
                    self.schedule(5, Later::Answers(self.agents, input));
                }
            }
            Action::Inspect { runtime, handle } => self.changed(runtime, handle),
            // Told too late, as it may be: the operation ends as it does.
            Action::Cancel { operation } => self.cancelled.push(operation),
            Action::Tell { event, message, .. } => self.told.push((event, message)),
            Action::Answer { id, result } => {
                let before = self.answers.insert(id.clone(), result);
                assert_eq!(before, None, "{id} was answered twice");
            }
            operation => {
                let (verb, _, _, what) = parts(&operation);
                let what = self.workload_of(&operation).unwrap_or(what);
                let word = format!("{verb:?}").to_lowercase();
                self.asked.push((self.now, format!("{word} {what}")));
                self.schedule(self.takes_ms, Later::Effect(self.agents, operation));
            }
        }
    }

    fn probe(&mut self, probe: u64, runtime: RuntimeKind, handle: &str) {
        let found = self.engines[&runtime].get(handle);
        let workload = found.map(|f| f.workload.clone());
        let result = workload.as_ref().map_or(Some(Err("gone".into())), |w| {
            let answer = self.health.get(w).cloned();
            answer.unwrap_or(Some(Ok(())))
        });
        self.probes
            .extend(workload.map(|w| (self.now, w.to_string())));
        if let Some(result) = result {
            let input = Input::Probed { probe, result };
            self.schedule(5, Later::Answers(self.agents, input));
        }
    }

    /// Of what an operation is, by the engines' word.
    fn workload_of(&self, operation: &Action) -> Option<String> {
        let (_, _, kind, handle) = parts(operation);
        let found = self.engines.get(&kind)?.get(&handle)?;
        Some(found.workload.to_string())
    }

    fn effect(&mut self, agent: u64, action: Action) {
        let (verb, id, kind, target) = parts(&action);
        let engine = self.engines.get_mut(&kind).unwrap();
        let fault = engine.fault(verb);
        if let Action::Stop {
            before: Some(hook), ..
        } = &action
        {
            self.hooks.push(hook.command.join(" "));
        }
        let outcome = if !engine.up {
            OpOutcome::Failed(engine.unreachable())
        } else if fault == Some(Fault::Refuses) {
            OpOutcome::Failed(RuntimeError::Failed(format!("no room to {verb:?}")))
        } else {
            let done = match (perform(engine, &action), &action) {
                (
                    OpOutcome::Done,
                    Action::Stop {
                        before: Some(_), ..
                    },
                ) if self.hooks_fail => OpOutcome::DoneBut("it did not want to".into()),
                (done, _) => done,
            };
            if fault == Some(Fault::LosesTheAnswer) {
                OpOutcome::Failed(engine.unreachable())
            } else {
                done
            }
        };
        let touched: Vec<(Name, String)> = engine
            .instances
            .iter()
            .filter(|f| f.handle == target || f.workload.as_str() == target)
            .map(|f| (f.workload.clone(), f.handle.clone()))
            .collect();
        for (workload, handle) in touched {
            self.began(kind, &workload, &handle);
            self.changed(kind, handle);
        }
        if !self.lenient {
            nothing_runs_twice(self.engines.values(), &self.asked);
        }
        if agent == self.agents {
            let lost = matches!(outcome, OpOutcome::Failed(RuntimeError::Unreachable { .. }));
            self.step(Input::Finished {
                operation: id,
                outcome,
            });
            // As the agent does: where the engine answers after all, the listing says so.
            if lost {
                self.list_one(kind);
            }
        }
    }

    /// A program that ends by itself is set on its way when it begins.
    fn began(&mut self, kind: RuntimeKind, workload: &Name, handle: &str) {
        let engine = &self.engines[&kind];
        let begun = engine.begun.get(workload).copied().unwrap_or(0);
        let Some(found) = engine.get(handle).filter(|f| running(f)) else {
            return;
        };
        let of_version = (workload.clone(), found.version.clone());
        let life = self.version_lives.get(&of_version);
        if let Some((after, code)) = life.or(self.lives.get(workload)).copied() {
            self.schedule(after, Later::Ends(kind, handle.to_owned(), begun, code));
        }
    }
}
