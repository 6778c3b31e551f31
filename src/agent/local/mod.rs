//! Control of an agent by who is on its own machine, with or without a fleet.
//!
//! A Unix socket in the data directory speaks HTTP/1.1; whoever may open it (its mode is 0600) may
//! do everything there.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`LocalStatus`] |
//! | `POST /v1/workloads/{name}/start`, `stop`, `restart` | 204 when it is so |
//! | `GET /v1/workloads/{name}/logs?tail&since&until&stream&follow` | one [`LocalLine`] a line |
//! | `POST /v1/reload` | 204 when the directory of manifests was read anew |
//! | `POST /v1/down` | 204 when everything has stopped |
//!
//! What does not work is a problem document (RFC 9457), as in the API of the controller.
//!
//! ```text
//! socket ─ server ─ routes ── LocalRequest ──► the agent's loop ── Local::handle ──► Core
//!                     ▲                                                               │
//!                     └────────── oneshot ◄── Local::said ◄── Said::Answer ◄──────────┘
//! ```
//!
//! The loop answers nothing itself and waits for nothing: an order waits in [`Local`] until the
//! supervisor has answered it.

mod routes;
mod server;
mod view;

pub(super) use server::Server;
pub use view::{AgentKind, LocalLine, LocalStatus};

use super::core::{Core, Said};
use crate::{
    manifest::Problem,
    model::{AssignedInstance, Name},
    runtime::Runtime,
    supervisor::{Input, LocalOrder},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::oneshot;

/// Requests that wait for the supervisor at the same time.
const MAX_WAITING: usize = 64;

/// Whom to tell how something ended; `Err` is one sentence.
pub(super) type Reply = oneshot::Sender<Result<(), String>>;

/// What somebody on this machine wants of the agent.
pub(super) enum LocalRequest {
    /// How everything is.
    Status(oneshot::Sender<LocalStatus>),
    /// Start, stop or restart one workload.
    Order(Name, LocalOrder, Reply),
    /// Where an instance is, for reading what it wrote.
    Locate(Name, oneshot::Sender<Result<Located, String>>),
    /// Read the directory of manifests anew.
    Reload(Reply),
    /// Stop everything.
    Down(Reply),
}

/// An instance and who runs it.
pub(super) struct Located {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) handle: String,
}

/// What only the agent's loop can do.
pub(super) enum Own {
    /// Read the directory anew, then answer.
    Reload(Reply),
    /// Stop everything and end, then answer.
    Down(Reply),
}

/// What the loop knows beside its [`Core`].
pub(super) struct Context<'a> {
    pub(super) kind: AgentKind,
    /// There is a session with the fleet; `None` without a fleet.
    pub(super) connected: Option<bool>,
    /// The directory of manifests.
    pub(super) dir: Option<String>,
    /// What is wrong with it.
    pub(super) problems: &'a [Problem],
    /// Workloads of it that do not run here, and why.
    pub(super) left_out: &'a BTreeMap<Name, String>,
    /// Workloads that go on as they were because of what is wrong.
    pub(super) kept: &'a BTreeSet<Name>,
}

/// Requests that wait for the supervisor.
#[derive(Default)]
pub(super) struct Local {
    /// Of which request each order is a part.
    orders: BTreeMap<String, u64>,
    waiting: BTreeMap<u64, Waiting>,
    count: u64,
}

struct Waiting {
    /// Orders that have not been answered.
    left: usize,
    failed: Vec<String>,
    reply: Reply,
}

impl Local {
    /// Takes a request; what is left for the loop to do itself. Afterwards the loop passes on what
    /// the core has said, as always.
    pub(super) fn handle(
        &mut self,
        request: LocalRequest,
        core: &mut Core,
        context: &Context<'_>,
    ) -> Option<Own> {
        self.forget_those_who_left();
        match request {
            LocalRequest::Status(reply) => {
                let _ = reply.send(status(core, context));
            }
            LocalRequest::Locate(workload, reply) => {
                let _ = reply.send(locate(core, &workload));
            }
            LocalRequest::Order(workload, _, reply) if is_agent(core, &workload) => {
                let _ = reply.send(Err(format!(
                    "{workload} is the agent itself: `fleetctl upgrade` changes it, and the \
                     machine's service manager stops and starts it"
                )));
            }
            LocalRequest::Order(workload, order, reply) => {
                self.order(vec![workload], order, reply, core);
            }
            LocalRequest::Reload(reply) if context.kind == AgentKind::Standalone => {
                return Some(Own::Reload(reply));
            }
            LocalRequest::Reload(reply) => {
                let _ = reply.send(Err(
                    "this node belongs to a fleet, whose controller says what it runs: use \
                     `fleetctl apply`"
                        .to_owned(),
                ));
            }
            LocalRequest::Down(reply) if context.kind == AgentKind::Standalone => {
                return Some(Own::Down(reply));
            }
            LocalRequest::Down(reply) => {
                let assigned = core.latest.as_ref().map(|a| a.instances.as_slice());
                let mut all = dependents_first(assigned.unwrap_or_default());
                all.retain(|workload| !is_agent(core, workload));
                self.order(all, LocalOrder::Stop, reply, core);
            }
        }
        None
    }

    /// Takes what the core said; `true` when it was the answer to an order given here, which
    /// nobody else has to be told.
    pub(super) fn said(&mut self, said: &Said) -> bool {
        let Said::Answer { id, outcome } = said else {
            return false;
        };
        let Some(request) = self.orders.remove(id) else {
            return false;
        };
        if let Some(waiting) = self.waiting.get_mut(&request) {
            waiting.left = waiting.left.saturating_sub(1);
            if !outcome.ok {
                waiting.failed.extend(outcome.message.clone());
            }
            if waiting.left == 0
                && let Some(done) = self.waiting.remove(&request)
            {
                let _ = done.reply.send(match done.failed.is_empty() {
                    true => Ok(()),
                    false => Err(done.failed.join("; ")),
                });
            }
        }
        true
    }

    fn order(&mut self, workloads: Vec<Name>, order: LocalOrder, reply: Reply, core: &mut Core) {
        if workloads.is_empty() {
            let _ = reply.send(Ok(()));
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            let message = format!("{MAX_WAITING} orders wait already; try again when some ended");
            let _ = reply.send(Err(message));
            return;
        }
        self.count += 1;
        let request = self.count;
        let waiting = Waiting {
            left: workloads.len(),
            failed: Vec::new(),
            reply,
        };
        self.waiting.insert(request, waiting);
        for workload in workloads {
            // No command of a controller has a blank in its id.
            let id = format!("local {request} {workload}");
            self.orders.insert(id.clone(), request);
            core.step(Input::Ordered {
                id,
                workload,
                order,
            });
        }
    }

    /// Who has gone away, or waited too long, is not answered any more.
    fn forget_those_who_left(&mut self) {
        self.waiting.retain(|_, w| !w.reply.is_closed());
        let waiting = &self.waiting;
        // The answers of these still come, and are for nobody else.
        if self.orders.len() > MAX_WAITING * 16 {
            self.orders
                .retain(|_, request| waiting.contains_key(request));
        }
    }
}

/// It is the agent, which takes orders and is not given them.
fn is_agent(core: &Core, workload: &Name) -> bool {
    let observed = core.observed();
    let mut all = observed.iter();
    all.any(|o| o.workload == *workload && o.runtime == crate::model::RuntimeKind::Agent)
}

fn status(core: &Core, context: &Context<'_>) -> LocalStatus {
    LocalStatus {
        node: core.node.clone(),
        version: crate::support::release::version().to_owned(),
        kind: context.kind,
        connected: context.connected,
        generation: core.supervisor.generation(),
        dir: context.dir.clone(),
        instances: core.observed(),
        problems: context.problems.to_vec(),
        left_out: context.left_out.clone(),
        kept: context.kept.clone(),
    }
}

fn locate(core: &Core, workload: &Name) -> Result<Located, String> {
    let known = core.observed().iter().any(|o| o.workload == *workload);
    let place = core.supervisor.locate(workload.as_str());
    match place.and_then(|(kind, handle)| Some((core.engines.get(kind)?, handle))) {
        Some((runtime, handle)) => Ok(Located { runtime, handle }),
        None if known => Err(format!("{workload} has not been started yet")),
        None => Err(format!("{workload} is not on {}", core.node)),
    }
}

/// Names of all, each before those that it depends on: the order in which they are told to stop.
pub(super) fn dependents_first(instances: &[AssignedInstance]) -> Vec<Name> {
    let mut left: BTreeMap<&Name, &AssignedInstance> =
        instances.iter().map(|i| (&i.workload.name, i)).collect();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let needed: BTreeSet<&Name> = left
            .values()
            .flat_map(|i| i.workload.depends_on.keys())
            .collect();
        let mut free: Vec<&Name> = left
            .keys()
            .copied()
            .filter(|name| !needed.contains(name))
            .collect();
        // A circle is refused where manifests are read; should there be one, it has no order.
        if free.is_empty() {
            free = left.keys().copied().collect();
        }
        for name in free {
            left.remove(name);
            ordered.push(name.clone());
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CommandOutcome, DependsOn, Desired, Run, Workload};

    fn instance(name: &str, needs: &[&str]) -> AssignedInstance {
        let run = Run::Process {
            command: vec!["/bin/true".into()],
            user: None,
            working_dir: None,
        };
        let mut workload = Workload::new(name.parse().unwrap(), run);
        for need in needs {
            workload
                .depends_on
                .insert(need.parse().unwrap(), DependsOn::Started);
        }
        AssignedInstance {
            workload: Arc::new(workload),
            desired: Desired::Running,
            restart_count: 0,
            guard: None,
            next: None,
            trace: None,
        }
    }

    #[test]
    fn who_depends_on_another_stops_before_it() {
        let all = [
            instance("a-db", &[]),
            instance("b-api", &["a-db"]),
            instance("c-web", &["b-api", "a-db"]),
            instance("d-alone", &["elsewhere"]),
        ];
        let names = dependents_first(&all);
        let names: Vec<&str> = names.iter().map(Name::as_str).collect();
        assert_eq!(names, ["c-web", "d-alone", "b-api", "a-db"]);
        let circle = [instance("x", &["y"]), instance("y", &["x"])];
        assert_eq!(dependents_first(&circle).len(), 2);
    }

    fn answer(id: &str, outcome: CommandOutcome) -> Said {
        Said::Answer {
            id: id.to_owned(),
            outcome,
        }
    }

    #[test]
    fn a_request_of_several_orders_ends_with_the_last_of_them() {
        let mut local = Local::default();
        let (reply, mut ended) = oneshot::channel();
        let waiting = Waiting {
            left: 2,
            failed: Vec::new(),
            reply,
        };
        local.waiting.insert(1, waiting);
        local.orders.insert("local 1 a".into(), 1);
        local.orders.insert("local 1 b".into(), 1);
        assert!(!local.said(&answer("of the controller", CommandOutcome::done())));
        assert!(local.said(&answer("local 1 a", CommandOutcome::failed("no a"))));
        assert!(ended.try_recv().is_err(), "one is still to come");
        assert!(local.said(&answer("local 1 b", CommandOutcome::done())));
        assert_eq!(ended.try_recv(), Ok(Err("no a".to_owned())));
        assert!(local.waiting.is_empty() && local.orders.is_empty());
    }
}
