//! The shell around a node's supervisor: carries out what it decides, and brings it what comes of
//! that. Whatever is asked of the engine takes time, and may fail, or work and not be answered.

use super::{
    engine::{Ending, Engine},
    node::{Ends, Node},
    world::{Event, How, NodeId, World},
};
use fleetctl::{
    model::{Assignment, Name, RuntimeKind},
    runtime::{Found, RuntimeError},
    supervisor::{Action, Input, OpOutcome},
};

/// Inputs at one instant after which it can only be a loop that never rests.
const BUSY: u32 = 2_000;

impl World {
    /// Asks the engine for everything that it has.
    pub fn list(&mut self, node: NodeId) {
        let look = self.nodes[node].look_takes_ms;
        let takes = self.random.below(look + 1);
        let n = &mut self.nodes[node];
        let Some(supervisor) = &mut n.supervisor else {
            return;
        };
        let as_of = supervisor.begin_look();
        let runtime = RuntimeKind::Docker;
        let agent = n.agent;
        let heard = !n.engine.down;
        if n.engine_heard != heard {
            n.engine_heard = heard;
            n.wants_report = true;
        }
        let input = if heard {
            let found = n.engine.instances().to_vec();
            Input::Listed {
                runtime,
                as_of,
                found,
            }
        } else {
            let reason = "connection refused".into();
            Input::RuntimeLost { runtime, reason }
        };
        if !heard && !std::mem::replace(&mut n.asks_again, true) {
            self.schedule(3_000, Event::AskAgain { node, agent });
        }
        self.answer(node, agent, input, takes);
    }

    fn answer(&mut self, node: NodeId, agent: u64, input: Input, after_ms: u64) {
        if after_ms == 0 {
            self.step(node, input);
        } else {
            self.schedule(after_ms, Event::Answer { node, agent, input });
        }
    }

    /// An engine that did not answer is asked again.
    pub fn ask_again(&mut self, node: NodeId, agent: u64) {
        self.nodes[node].asks_again = false;
        if self.nodes[node].lives_as(agent) {
            self.list(node);
        }
    }

    /// Looks at one instance.
    pub fn look(&mut self, node: NodeId, agent: u64, handle: String) {
        let look = self.nodes[node].look_takes_ms;
        let takes = self.random.below(look + 1);
        let n = &mut self.nodes[node];
        if !n.lives_as(agent) || n.engine.down {
            return;
        }
        let Some(supervisor) = &mut n.supervisor else {
            return;
        };
        let as_of = supervisor.begin_look();
        let runtime = RuntimeKind::Docker;
        let input = match n.engine.get(&handle).cloned() {
            Some(found) => Input::Observed {
                runtime,
                as_of,
                found,
            },
            None => Input::Gone { runtime, handle },
        };
        self.answer(node, agent, input, takes);
    }

    /// Gives the supervisor an input and carries out what it decides.
    pub fn step(&mut self, node: NodeId, input: Input) {
        let now = self.now;
        let n = &mut self.nodes[node];
        n.busy = match n.busy {
            (at, times) if at == now => (at, times + 1),
            _ => (now, 0),
        };
        if n.busy.1 > BUSY {
            let message = format!("{} never rests: {input:?}", n.name);
            return self.violate("everything rests", message);
        }
        if let Input::Assigned(assignment) = &input
            && n.supervisor
                .as_ref()
                .is_some_and(|s| s.generation() <= assignment.generation)
        {
            n.forget_runs(assignment);
        }
        let clocks = n.clocks(now);
        let Some(supervisor) = &mut n.supervisor else {
            return;
        };
        let actions = supervisor.step(clocks, input);
        for action in actions {
            if let Some((left, ends)) = self.nodes[node].fuse {
                if left == 0 {
                    let back = self.random.between(1_000, 120_000);
                    return self.dies(node, ends, back);
                }
                self.nodes[node].fuse = Some((left - 1, ends));
            }
            let begins = matches!(action, Action::Launch { .. } | Action::Start { .. });
            self.carry_out(node, action);
            if begins && std::mem::take(&mut self.nodes[node].dies_after_launch) {
                let back = self.random.between(1_000, 20_000);
                return self.dies(node, Ends::Killed, back);
            }
        }
        self.arrange(node);
    }

    fn carry_out(&mut self, node: NodeId, action: Action) {
        let now = self.now;
        let n = &mut self.nodes[node];
        let agent = n.agent;
        match action {
            Action::Report => n.wants_report = true,
            Action::Remember(memory) => n.disk.memory = memory,
            Action::Probe { probe, handle, .. } => {
                let result = n.engine.probe(&handle, now);
                let input = Input::Probed { probe, result };
                self.schedule(5, Event::Answer { node, agent, input });
            }
            Action::FetchLastOutput { runtime, handle } => {
                let lines = vec![format!("last words of {handle}")];
                let input = Input::LastOutput {
                    runtime,
                    handle,
                    lines,
                };
                self.schedule(5, Event::Answer { node, agent, input });
            }
            Action::Inspect { handle, .. } => {
                let event = Event::Changed {
                    node,
                    agent,
                    handle,
                };
                self.schedule(1, event);
            }
            // Told too late, as it may be: the operation ends as it does.
            Action::Cancel { .. } | Action::Answer { .. } => {}
            Action::Tell {
                event,
                workload,
                message,
            } => self.log_node(node, format_args!("{workload} {event}: {message}")),
            operation => self.begin_operation(node, operation),
        }
    }

    fn begin_operation(&mut self, node: NodeId, action: Action) {
        let n = &mut self.nodes[node];
        let how = match n.goes_wrong {
            (left @ 1.., Some(how)) => {
                n.goes_wrong.0 = left - 1;
                how
            }
            _ => How::Well,
        };
        let (boot, agent, most) = (n.boot, n.agent, n.takes_ms);
        let takes = self.random.between(5, most.max(5));
        let event = Event::Effect {
            node,
            boot,
            agent,
            action,
            how,
        };
        self.schedule(takes, event);
    }

    /// An operation takes effect; it is answered if the agent that asked still lives.
    pub fn effect(&mut self, node: NodeId, (boot, agent): (u64, u64), action: Action, how: How) {
        let now = self.now;
        let n = &mut self.nodes[node];
        let Some((verb, operation)) = parts(&action) else {
            return;
        };
        if n.boot != boot || n.gone {
            return;
        }
        let wall = n.clocks(now).unix_ms;
        let outcome = if n.engine.down {
            OpOutcome::Failed(Engine::unreachable())
        } else if how == How::Refused {
            OpOutcome::Failed(RuntimeError::Failed(format!("no room to {verb}")))
        } else {
            let done = n.engine.perform(&action, now, wall);
            match how {
                How::AnswerLost => OpOutcome::Failed(Engine::unreachable()),
                _ => done,
            }
        };
        let (target, what) = match &action {
            Action::Launch { launch, .. } | Action::Prepare { launch, .. } => {
                let name = launch.workload.name.to_string();
                let what = format!("{name} {}", launch.workload.version);
                (name, what)
            }
            Action::Start { handle, .. }
            | Action::Stop { handle, .. }
            | Action::Remove { handle, .. } => (handle.clone(), handle.clone()),
            _ => Default::default(),
        };
        let endings = n.engine.endings(now);
        let of = |f: &&Found| f.handle == target || f.workload.as_str() == target;
        let touched = n.engine.instances().iter().filter(of);
        let touched: Vec<String> = touched.map(|f| f.handle.clone()).collect();
        let lives = n.lives_as(agent);
        let word = match &outcome {
            OpOutcome::Failed(error) => error.to_string(),
            _ => "done".to_owned(),
        };
        self.log_node(node, format_args!("{verb} {what}: {word}"));
        for ending in endings {
            self.schedule(ending.after_ms, Event::Ends { node, boot, ending });
        }
        self.check_engine(node);
        let current = self.nodes[node].agent;
        for handle in touched {
            let event = Event::Changed {
                node,
                agent: current,
                handle,
            };
            self.schedule(1, event);
        }
        if lives {
            let lost = matches!(
                &outcome,
                OpOutcome::Failed(RuntimeError::Unreachable { .. })
            );
            self.step(node, Input::Finished { operation, outcome });
            // Where the engine answers after all, the listing says so at once.
            if lost && self.nodes[node].lives_as(agent) {
                self.list(node);
            }
        }
    }

    /// A program ends by itself.
    pub fn ends(&mut self, node: NodeId, boot: u64, ending: &Ending) {
        let n = &mut self.nodes[node];
        if n.boot != boot
            || !n
                .engine
                .end(&ending.handle, Some(ending.number), ending.code)
        {
            return;
        }
        let agent = n.agent;
        let (handle, code) = (ending.handle.clone(), ending.code);
        self.log_node(node, format_args!("{handle} ends with {code}"));
        self.schedule(
            1,
            Event::Changed {
                node,
                agent,
                handle,
            },
        );
    }
}

impl Node {
    /// What is not assigned any more begins to count anew when it is assigned again.
    fn forget_runs(&mut self, assignment: &Assignment) {
        let names = |w: &Name| assignment.instances.iter().any(|i| i.workload.name == *w);
        self.engine.begun_of.retain(|w, _| names(w));
    }
}

fn parts(action: &Action) -> Option<(&'static str, u64)> {
    Some(match action {
        Action::Launch { operation, .. } => ("launch", *operation),
        Action::Prepare { operation, .. } => ("prepare", *operation),
        Action::Start { operation, .. } => ("start", *operation),
        Action::Stop { operation, .. } => ("stop", *operation),
        Action::Reload { operation, .. } => ("reload", *operation),
        Action::Remove { operation, .. } => ("remove", *operation),
        _ => return None,
    })
}
