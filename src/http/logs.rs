//! Log lines of a workload's instances, as JSON lines.

use super::{auth::Caller, problem::ApiError, workloads::named};
use crate::{
    contract::Seq,
    controller::Controller,
    identity::{Role, random_id},
    model::{CommandKind, CommandOutcome, CommandSpec, LogLine, LogQuery, Name, Presence},
};
use axum::{
    body::{Body, Bytes},
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time};
use utoipa::IntoParams;

/// A follow lease: asked for again when two thirds of it are over.
const LEASE: Duration = Duration::from_secs(30);
/// Leases in a row that may fail before a follower is told.
const MAX_TRIES: u32 = 20;
/// How long to wait for a node that does not answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Which lines.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
pub(super) struct LogPart {
    /// Only of this node.
    node: Option<String>,
    /// The last so many lines of each instance.
    tail: Option<u32>,
    /// Only lines after this cursor (Unix nanoseconds on the node's clock).
    since: Option<u64>,
    /// Go on with new lines.
    #[serde(default)]
    follow: bool,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Line<'a> {
    node: &'a Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<&'a LogLine>,
    /// Why this node's lines end here.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[utoipa::path(get, path = "/api/v1/workloads/{workload}/logs", tag = "workloads",
    params(("workload" = String, Path), LogPart),
    responses((status = 200, body = String, content_type = "application/x-ndjson",
               description = "One object a line: `node` and either `line` or `error`.")))]
pub(super) async fn logs(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(workload): Path<String>,
    part: Result<Query<LogPart>, QueryRejection>,
) -> Result<Response, ApiError> {
    caller.need(Role::Viewer)?;
    let part = part?.0;
    let workload = named("workload", &workload)?;
    let place = c.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::too_many_streams())?;
    let nodes = nodes(&c, &workload, part.node.as_deref())?;
    let (lines, queue) = mpsc::channel::<Bytes>(64);
    for node in nodes {
        let reader = Reader {
            controller: c.clone(),
            workload: workload.clone(),
            node,
            part: part.clone(),
            lines: lines.clone(),
            cursor: None,
            tries: 0,
        };
        tokio::spawn(reader.run());
    }
    drop(lines);
    let body = stream::unfold((queue, place), |(mut queue, place)| async move {
        let bytes = queue.recv().await?;
        Some((Ok::<_, Infallible>(bytes), (queue, place)))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(body)).into_response())
}

fn nodes(c: &Controller, workload: &Name, only: Option<&str>) -> Result<Vec<Name>, ApiError> {
    let fleet = c.fleet();
    let record = fleet.workload(workload.as_str());
    let record = record.ok_or_else(|| ApiError::not_found("workload", workload.as_str()))?;
    let nodes: Vec<Name> = record
        .placed
        .iter()
        .filter(|n| only.is_none_or(|o| n.as_str() == o))
        .cloned()
        .collect();
    match (nodes.is_empty(), only) {
        (false, _) => Ok(nodes),
        (true, Some(node)) => {
            let detail = format!("{workload} is not on {node}");
            Err(ApiError::new(StatusCode::NOT_FOUND, detail))
        }
        (true, None) => {
            let detail = format!("{workload} runs nowhere: no node can take it");
            Err(ApiError::new(StatusCode::CONFLICT, detail))
        }
    }
}

/// Follows one instance.
struct Reader {
    controller: Arc<Controller>,
    workload: Name,
    node: Name,
    part: LogPart,
    lines: mpsc::Sender<Bytes>,
    /// Last line that was passed on.
    cursor: Option<u64>,
    /// Leases in a row that failed.
    tries: u32,
}

impl Reader {
    async fn run(mut self) {
        loop {
            let ended = self.lease().await;
            // Right after an agent's start its instances are not known yet.
            if let (Err(_), true, true) = (&ended, self.part.follow, self.cursor.is_some())
                && !self.lines.is_closed()
                && self.tries < MAX_TRIES
            {
                self.tries += 1;
                time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            match ended {
                Err(error) => {
                    let error = Line {
                        node: &self.node,
                        line: None,
                        error: Some(&error),
                    };
                    let _ = self.lines.send(encode(&error)).await;
                    return;
                }
                Ok(()) if !self.part.follow || self.lines.is_closed() => return,
                Ok(()) => {}
            }
        }
    }

    /// One command: everything that is kept, or what comes until the lease is over.
    async fn lease(&mut self) -> Result<(), String> {
        let c = self.controller.clone();
        // Who follows waits for a node that comes back; who only reads is told.
        let begun = self.cursor.is_some() && self.part.follow;
        let mut changed = c.changed.subscribe();
        let session = loop {
            match self.session() {
                Some(session) => break session,
                None if !begun => return Err(format!("{} is not online", self.node)),
                None => tokio::select! {
                    _ = changed.changed() => {}
                    () = self.lines.closed() => return Ok(()),
                },
            }
        };
        let id = random_id().map_err(|e| e.to_string())?;
        let (batches, mut queue) = mpsc::channel::<Vec<LogLine>>(64);
        let result = c
            .pending
            .expect(&id, &self.node, Some(batches))
            .map_err(|e| e.to_string())?;
        let first = self.cursor.is_none();
        let query = LogQuery {
            tail: self.part.tail.filter(|_| first),
            since_ns: self.cursor.or(self.part.since),
            follow_ms: self.part.follow.then_some(LEASE.as_millis() as u64),
        };
        let order = CommandSpec {
            command: CommandKind::Logs,
            workload: Some(self.workload.clone()),
            logs: Some(query),
        };
        c.outbox.command(&id, &self.node, order);
        let outcome = self.pump(&mut queue, result, session).await;
        c.pending.forget(&id);
        outcome
    }

    async fn pump(
        &mut self,
        queue: &mut mpsc::Receiver<Vec<LogLine>>,
        mut result: tokio::sync::oneshot::Receiver<CommandOutcome>,
        session: Seq,
    ) -> Result<(), String> {
        let mut changed = self.controller.changed.subscribe();
        let patience = if self.part.follow {
            LEASE + ANSWER
        } else {
            ANSWER
        };
        let mut quiet = Box::pin(time::sleep(patience));
        loop {
            tokio::select! {
                batch = queue.recv() => match batch {
                    Some(batch) => {
                        quiet.as_mut().reset(time::Instant::now() + patience);
                        if !self.pass_on(&batch).await {
                            return Ok(());
                        }
                    }
                    // The lines end with the result, or because this reader was too slow.
                    None => return match result.try_recv() {
                        Ok(outcome) => ended(outcome),
                        Err(_) => Err("the reader did not keep up; ask again".into()),
                    },
                },
                // The agent was restarted, or is gone: what it had been asked is forgotten there.
                _ = changed.changed(), if self.part.follow => {
                    if self.session() != Some(session) {
                        return Ok(());
                    }
                }
                () = &mut quiet => return Err(format!("{} does not answer", self.node)),
                () = self.lines.closed() => return Ok(()),
            }
        }
    }

    /// The node's session, while it is online.
    fn session(&self) -> Option<Seq> {
        let fleet = self.controller.fleet();
        let node = fleet.node(self.node.as_str())?;
        (node.presence == Presence::Online).then_some(node.session)
    }

    async fn pass_on(&mut self, batch: &[LogLine]) -> bool {
        self.tries = 0;
        let mut bytes = Vec::new();
        for line in batch {
            self.cursor = Some(self.cursor.unwrap_or(0).max(line.time_ns));
            let line = Line {
                node: &self.node,
                line: Some(line),
                error: None,
            };
            bytes.extend_from_slice(&encode(&line));
        }
        self.lines.send(bytes.into()).await.is_ok()
    }
}

fn ended(outcome: CommandOutcome) -> Result<(), String> {
    if outcome.ok {
        Ok(())
    } else {
        Err(outcome.message.unwrap_or_default())
    }
}

fn encode(line: &Line<'_>) -> Bytes {
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}
