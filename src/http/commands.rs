//! One command to many nodes, answered line by line as they answer.
//!
//! ```text
//!  {"total":3}                                             who is meant
//!  {"node":"pi-2","ok":false,"message":"…","took_ms":0}    offline ones at once
//!  {"node":"pi-1","progress":"45%"}                            of what takes long, now and then
//!  {"node":"pi-1","ok":true,"took_ms":12.4}                others as they answer, bounded in number
//!  {"done":true,"ok":1,"failed":1,"skipped":1}             skipped: their turn did not come in time
//! ```
//!
//! Who stops listening stops what was not sent yet; what was sent goes on, and is remembered as any
//! other command is.

use super::{auth::Caller, images, problem::ApiError};
use crate::{
    controller::Controller,
    fleet::{Actor, Approval, Fleet},
    identity::Role,
    model::{CommandKind, CommandSpec, Name, Presence, Requirement},
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{State, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet, time};
use utoipa::ToSchema;

/// Commands under way at once, unless asked for otherwise.
const DEFAULT_PARALLEL: u32 = 10;
/// And at most.
const MAX_PARALLEL: u32 = 256;
/// The longest time in which commands are begun; also unless given.
const MAX_TIMEOUT_MS: u64 = 60 * 60 * 1_000;
/// Requirements of a selector.
const MAX_SELECTOR: usize = 64;
/// Lines that wait for the reader.
const QUEUE: usize = 64;

/// A command, and to whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetCommandRequest {
    /// What a node must have, as in `zone=a`; all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selector: Vec<String>,
    /// Only these nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub nodes: Vec<Name>,
    /// Every node is meant; needed where neither a selector nor nodes are given.
    #[serde(default)]
    pub all: bool,
    /// What to do: `ping`, `refresh`, `restart`, `start`, `stop`, `remove` or `image`.
    pub order: CommandSpec,
    /// Commands under way at once: 1 to 256; 10 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// Milliseconds; nodes whose turn has not come by then are skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FleetCommandBegun {
    /// Nodes that are meant.
    pub total: usize,
}

/// How it went on one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeResult {
    /// Which.
    #[schema(value_type = String)]
    pub node: Name,
    /// It worked.
    pub ok: bool,
    /// One sentence where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// From the controller to the agent and back, milliseconds.
    pub took_ms: f64,
    /// Of `image`: bytes that came from the controller, or that were set free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// How far it is on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeProgress {
    /// Which.
    #[schema(value_type = String)]
    pub node: Name,
    /// In a few words.
    pub progress: String,
}

/// The last line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FleetCommandDone {
    /// Always true.
    pub done: bool,
    /// Nodes on which it worked.
    pub ok: usize,
    /// Nodes on which it did not.
    pub failed: usize,
    /// Nodes that were not asked any more.
    pub skipped: usize,
}

#[utoipa::path(post, path = "/api/v1/commands", tag = "nodes", request_body = FleetCommandRequest,
    responses((status = 200, body = NodeResult, content_type = "application/x-ndjson",
               description = "One object a line: first a FleetCommandBegun, then a NodeResult for \
               each node that was asked, last a FleetCommandDone."),
              (status = 404, body = super::ProblemDocument),
              (status = 422, body = super::ProblemDocument)))]
pub(super) async fn command(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    body: Result<Json<FleetCommandRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body?.0;
    let role = match request.order.command.changes_something() {
        true => Role::Operator,
        false => Role::Viewer,
    };
    let by = caller.need(role)?;
    let bounds = Bounds::of(&request)?;
    images::check(&c.fleet(), &request.order)?;
    let targets = Targets::of(&c.fleet(), &request)?;
    let place = c.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::too_many_streams())?;
    let (lines, queue) = mpsc::channel::<Bytes>(QUEUE);
    let sending = Sending {
        controller: c,
        by,
        order: request.order,
        lines,
        tally: FleetCommandDone::default(),
    };
    tokio::spawn(sending.run(targets, bounds));
    let body = stream::unfold((queue, place), |(mut queue, place)| async move {
        let bytes = queue.recv().await?;
        Some((Ok::<_, Infallible>(bytes), (queue, place)))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(body)).into_response())
}

/// How many at once, and for how long.
#[derive(Debug, PartialEq, Eq)]
struct Bounds {
    parallel: usize,
    timeout: Duration,
}

impl Bounds {
    fn of(request: &FleetCommandRequest) -> Result<Bounds, ApiError> {
        let unfit = |detail: String| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        let parallel = request.max_parallel.unwrap_or(DEFAULT_PARALLEL);
        if !(1..=MAX_PARALLEL).contains(&parallel) {
            return Err(unfit(format!(
                "`max_parallel` must be from 1 to {MAX_PARALLEL}"
            )));
        }
        let timeout = request.timeout_ms.unwrap_or(MAX_TIMEOUT_MS);
        if !(1..=MAX_TIMEOUT_MS).contains(&timeout) {
            return Err(unfit(format!(
                "`timeout_ms` must be from 1 to {MAX_TIMEOUT_MS}"
            )));
        }
        use CommandKind::{Image, Ping, Refresh, Remove, Restart, Start, Stop};
        let verb = request.order.command.as_str();
        match (request.order.command, &request.order.workload) {
            (Start | Stop | Remove, None) => Err(unfit(format!("`{verb}` needs a workload"))),
            (Ping | Refresh | Restart | Start | Stop | Remove | Image, _) => Ok(Bounds {
                parallel: parallel as usize,
                timeout: Duration::from_millis(timeout),
            }),
            _ => Err(unfit(format!(
                "`{verb}` goes to one node at a time; many take ping, refresh, restart, start, \
                 stop, remove and image"
            ))),
        }
    }
}

/// Who is meant.
#[derive(Debug, Default, PartialEq, Eq)]
struct Targets {
    /// Their turn comes.
    heard: Vec<Name>,
    /// Why bother to wait.
    offline: Vec<Name>,
}

impl Targets {
    fn of(fleet: &Fleet, request: &FleetCommandRequest) -> Result<Targets, ApiError> {
        let unfit = |detail: String| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        if request.selector.is_empty() && request.nodes.is_empty() && !request.all {
            let detail = "which nodes? give a `selector`, `nodes`, or `all`";
            return Err(unfit(detail.into()));
        }
        if request.selector.len() > MAX_SELECTOR {
            return Err(unfit(format!(
                "a selector has at most {MAX_SELECTOR} requirements"
            )));
        }
        if let Some(unknown) = request.nodes.iter().find(|n| !is_member(fleet, n)) {
            return Err(ApiError::not_found("node", unknown.as_str()));
        }
        let wanted: Result<Vec<Requirement>, String> = request
            .selector
            .iter()
            .map(|text| Requirement::try_from(text.clone()))
            .collect();
        let wanted = wanted.map_err(unfit)?;
        let named: std::collections::BTreeSet<&Name> = request.nodes.iter().collect();
        let mut targets = Targets::default();
        for (name, node) in fleet.nodes() {
            let is_meant = node.approval == Approval::Approved
                && (named.is_empty() || named.contains(name))
                && (wanted.is_empty() || {
                    let properties = node.properties();
                    wanted.iter().all(|r| r.is_met_by(&properties))
                });
            match node.presence {
                _ if !is_meant => {}
                Presence::Offline => targets.offline.push(name.clone()),
                _ => targets.heard.push(name.clone()),
            }
        }
        Ok(targets)
    }
}

fn is_member(fleet: &Fleet, node: &Name) -> bool {
    let record = fleet.node(node.as_str());
    record.is_some_and(|n| n.approval == Approval::Approved)
}

/// Nobody listens any more.
struct Gone;

/// Sends, a bounded number at a time.
struct Sending {
    controller: Arc<Controller>,
    by: Actor,
    order: CommandSpec,
    lines: mpsc::Sender<Bytes>,
    tally: FleetCommandDone,
}

impl Sending {
    async fn run(mut self, targets: Targets, bounds: Bounds) {
        let deadline = time::Instant::now() + bounds.timeout;
        // What was sent is waited for, so that its answer finds somebody; nothing more is sent.
        let mut under_way = JoinSet::new();
        let _ = self.all(targets, &bounds, deadline, &mut under_way).await;
        while under_way.join_next().await.is_some() {}
    }

    async fn all(
        &mut self,
        targets: Targets,
        bounds: &Bounds,
        deadline: time::Instant,
        under_way: &mut JoinSet<NodeResult>,
    ) -> Result<(), Gone> {
        let Targets { heard, offline } = targets;
        let total = heard.len() + offline.len();
        self.line(&FleetCommandBegun { total }).await?;
        for node in offline {
            let result = self.ask(node).await;
            self.result(result).await?;
        }
        let mut waiting = heard.into_iter();
        loop {
            while under_way.len() < bounds.parallel && time::Instant::now() < deadline {
                let Some(node) = waiting.next() else {
                    break;
                };
                under_way.spawn(self.ask(node));
            }
            tokio::select! {
                ended = under_way.join_next() => match ended {
                    Some(Ok(result)) => self.result(result).await?,
                    Some(Err(_)) => self.tally.failed += 1,
                    None => break,
                },
                () = self.lines.closed() => return Err(Gone),
            }
        }
        self.tally.skipped = waiting.len();
        self.tally.done = true;
        self.line(&self.tally).await
    }

    /// Asks one node; it does not wait for its turn.
    fn ask(&self, node: Name) -> impl Future<Output = NodeResult> + Send + 'static {
        let (c, by, order) = (self.controller.clone(), self.by.clone(), self.order.clone());
        let lines = self.lines.clone();
        async move {
            let sent = Instant::now();
            let answered = match order.command {
                CommandKind::Image => {
                    let (told, steps) = mpsc::channel(QUEUE);
                    let ordered = c.long_command(Some(by), &node, order, told);
                    tokio::join!(ordered, pass_on(&node, steps, &lines)).0
                }
                _ => c.command(Some(by), &node, order).await,
            };
            let (ok, message, bytes) = match answered {
                Ok(outcome) => (outcome.ok, outcome.message, outcome.bytes),
                Err(error) => (false, Some(error.to_string()), None),
            };
            let took_ms = (sent.elapsed().as_secs_f64() * 100_000.0).round() / 100.0;
            NodeResult {
                node,
                ok,
                message,
                took_ms,
                bytes,
            }
        }
    }

    async fn result(&mut self, result: NodeResult) -> Result<(), Gone> {
        match result.ok {
            true => self.tally.ok += 1,
            false => self.tally.failed += 1,
        }
        self.line(&result).await
    }

    async fn line(&self, what: &impl Serialize) -> Result<(), Gone> {
        let mut text = serde_json::to_vec(what).map_err(|_| Gone)?;
        text.push(b'\n');
        self.lines.send(text.into()).await.map_err(|_| Gone)
    }
}

/// How far a node is, until it is done or nobody listens.
async fn pass_on(node: &Name, mut steps: mpsc::Receiver<String>, lines: &mpsc::Sender<Bytes>) {
    while let Some(progress) = steps.recv().await {
        let node = node.clone();
        let Ok(mut text) = serde_json::to_vec(&NodeProgress { node, progress }) else {
            return;
        };
        text.push(b'\n');
        if lines.send(text.into()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn request(more: Value) -> FleetCommandRequest {
        let mut all = json!({"order": {"command": "ping"}});
        for (key, value) in more.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn how_many_at_once_and_for_how_long_is_bounded() {
        let usual = Bounds::of(&request(json!({"all": true}))).unwrap();
        assert_eq!(usual.parallel, 10);
        let most = request(json!({"max_parallel": 256, "timeout_ms": 1_000}));
        let most = Bounds::of(&most).unwrap();
        assert_eq!((most.parallel, most.timeout), (256, Duration::from_secs(1)));
        for wrong in [
            json!({"max_parallel": 0}),
            json!({"max_parallel": 257}),
            json!({"timeout_ms": 0}),
            json!({"timeout_ms": MAX_TIMEOUT_MS + 1}),
            json!({"order": {"command": "stop"}}),
            json!({"order": {"command": "logs"}}),
            json!({"order": {"command": "exec"}}),
            json!({"order": {"command": "images"}}),
        ] {
            assert!(Bounds::of(&request(wrong.clone())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nobody_is_meant_by_accident() {
        let fleet = Fleet::new();
        for wrong in [
            json!({}),
            json!({"selector": ["zo ne=a"]}),
            json!({"nodes": ["pi-1"]}),
            json!({"selector": vec!["a"; MAX_SELECTOR + 1]}),
        ] {
            assert!(
                Targets::of(&fleet, &request(wrong.clone())).is_err(),
                "{wrong}"
            );
        }
        let all = Targets::of(&fleet, &request(json!({"all": true})));
        assert_eq!(all.unwrap(), Targets::default());
    }
}
