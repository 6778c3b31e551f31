//! Log lines of a workload's instances, as JSON lines.
//!
//! One reader for each instance ([`super::log_reader`]); what follows also takes in instances that
//! come later, on other nodes. Lines of different instances are in no order.

use super::{
    auth::Caller,
    log_reader::{LogWish, Reader, notice},
    problem::ApiError,
    workloads::named,
};
use crate::{
    controller::Controller,
    identity::Role,
    model::{LogStream, Name, shown},
};
use axum::{
    body::{Body, Bytes},
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Deserialize;
use std::{collections::BTreeSet, convert::Infallible, sync::Arc};
use tokio::sync::mpsc;
use utoipa::IntoParams;

/// Which lines.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LogPart {
    /// Only of this node.
    node: Option<String>,
    /// The last so many lines of each instance; at most 10,000.
    tail: Option<u32>,
    /// Only lines after this time (Unix nanoseconds on the node's clock; a line's `cursor`).
    since: Option<u64>,
    /// Only lines before this time; not together with `follow`.
    until: Option<u64>,
    /// Only `stdout` or `stderr`.
    #[param(value_type = Option<String>)]
    stream: Option<LogStream>,
    /// Go on with new lines.
    #[serde(default)]
    follow: bool,
}

#[utoipa::path(get, path = "/api/v1/workloads/{workload}/logs", tag = "workloads",
    params(("workload" = String, Path), LogPart),
    responses((status = 200, body = String, content_type = "application/x-ndjson",
               description = "One object a line: `node` and either `line`, or `notice` (this \
               node's lines have to be waited for), or `error` (there are no more of this node).")))]
pub(super) async fn logs(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(workload): Path<String>,
    part: Result<Query<LogPart>, QueryRejection>,
) -> Result<Response, ApiError> {
    caller.need(Role::Viewer)?;
    let part = part?.0;
    if part.follow && part.until.is_some() {
        let detail = "follow goes on for ever and until ends: only one of the two can be had";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
    }
    let workload = named("workload", &workload)?;
    let place = c.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::too_many_streams())?;
    let nodes = nodes(&c, &workload, part.node.as_deref())?;
    let (lines, queue) = mpsc::channel::<Bytes>(64);
    tokio::spawn(read_all(c, workload, part, nodes, lines));
    let body = stream::unfold((queue, place), |(mut queue, place)| async move {
        let bytes = queue.recv().await?;
        Some((Ok::<_, Infallible>(bytes), (queue, place)))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(body)).into_response())
}

fn nodes(c: &Controller, workload: &Name, only: Option<&str>) -> Result<BTreeSet<Name>, ApiError> {
    let nodes = placed(c, workload, only);
    let nodes = nodes.ok_or_else(|| ApiError::not_found("workload", workload.as_str()))?;
    match (nodes.is_empty(), only) {
        (false, _) => Ok(nodes),
        (true, Some(node)) => {
            let detail = format!("{workload} is not on {}", shown(node));
            Err(ApiError::new(StatusCode::NOT_FOUND, detail))
        }
        (true, None) => {
            let detail = format!("{workload} runs nowhere: no node can take it");
            Err(ApiError::new(StatusCode::CONFLICT, detail))
        }
    }
}

/// Where it is placed; `None` when there is no such workload.
fn placed(c: &Controller, workload: &Name, only: Option<&str>) -> Option<BTreeSet<Name>> {
    let fleet = c.fleet();
    let placed = &fleet.workload(workload.as_str())?.placed;
    let wanted = |n: &&Name| only.is_none_or(|o| n.as_str() == o);
    Some(placed.iter().filter(wanted).cloned().collect())
}

/// A reader for each instance. Where it follows, also for those that come, until nobody listens or
/// the workload is gone.
async fn read_all(
    c: Arc<Controller>,
    workload: Name,
    part: LogPart,
    mut nodes: BTreeSet<Name>,
    lines: mpsc::Sender<Bytes>,
) {
    let mut changed = c.changed.subscribe();
    let mut known = BTreeSet::new();
    let mut tail = part.tail;
    loop {
        for node in &nodes {
            if !known.insert(node.clone()) {
                continue;
            }
            let wish = LogWish {
                tail,
                since: part.since,
                until: part.until,
                stream: part.stream,
                follow: part.follow,
            };
            let (c, workload, node) = (c.clone(), workload.clone(), node.clone());
            let reader = Reader::new(c, workload, node, wish, lines.clone());
            tokio::spawn(reader.run());
        }
        if !part.follow {
            return;
        }
        // An instance that comes later is new as a whole.
        tail = None;
        tokio::select! {
            () = lines.closed() => return,
            _ = changed.changed() => {}
        }
        match placed(&c, &workload, part.node.as_deref()) {
            Some(now) => nodes = now,
            None => {
                for node in &known {
                    let text = format!("{workload} was removed");
                    let _ = lines.send(notice(node, &text)).await;
                }
                return;
            }
        }
    }
}
