//! The audit trail: who changed what, from where, with what differs.
//!
//! Only the thread that writes can read the journal, so everything here goes through it page by
//! page, no more than [`READERS`] pages at a time: nobody who reads holds up who changes. The whole
//! trail is never in memory.

use super::{auth::Caller, problem::ApiError};
use crate::{
    controller::Controller,
    identity::Role,
    journal::{AuditLine, ExportEnd, ExportHead, Trail, TrailLine, Verdict, Verifier, json_line},
    support::clock,
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Deserialize;
use std::{io, sync::Arc};
use tokio::sync::{Semaphore, mpsc};
use tracing::warn;
use utoipa::IntoParams;

/// Lines of one page.
const PAGE: u32 = 1_000;
/// Pages that may be asked for at once, by whoever.
const READERS: usize = 2;
/// Bytes that are sent at once.
const CHUNK: usize = 64 << 10;

static READING: Semaphore = Semaphore::const_new(READERS);

/// Which part of the audit trail.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditPart {
    /// Lines before this one; the newest ones unless given.
    #[serde(default)]
    before: u64,
    /// At most so many; 100 unless given, 1,000 at most.
    limit: Option<u32>,
    /// Only of tokens (or addresses) with this in their name.
    who: Option<String>,
    /// Only what has this in its summary or in what differs.
    what: Option<String>,
    /// Only what is about this node.
    node: Option<String>,
    /// Only what is about this workload.
    workload: Option<String>,
}

/// Which lines are wanted.
#[derive(Debug, Default)]
struct Filter {
    who: Option<String>,
    what: Option<String>,
    /// Heads of the parts that say what differs, and the name as a word.
    about: Vec<(String, String)>,
}

impl Filter {
    fn of(part: &AuditPart) -> Filter {
        let lower = |text: &Option<String>| text.as_ref().map(|text| text.to_lowercase());
        let about = [("node", &part.node), ("workload", &part.workload)];
        let about = about.into_iter().filter_map(|(kind, name)| {
            let name = name.as_ref()?;
            Some((format!("{kind} {name}"), name.clone()))
        });
        Filter {
            who: lower(&part.who),
            what: lower(&part.what),
            about: about.collect(),
        }
    }

    fn fits(&self, line: &AuditLine) -> bool {
        let has = |text: &str, wanted: &String| text.to_lowercase().contains(wanted);
        let changes = line.changes.as_deref().unwrap_or_default();
        self.who
            .as_ref()
            .is_none_or(|who| has(&line.by.token, who) || has(&line.by.from, who))
            && self
                .what
                .as_ref()
                .is_none_or(|what| has(&line.what, what) || has(changes, what))
            && self.about.iter().all(|(head, name)| {
                changes.lines().any(|l| l == head) || has_word(&line.what, name)
            })
    }
}

/// `name` stands in `text`, and not as a part of another name.
fn has_word(text: &str, name: &str) -> bool {
    let part = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.');
    // `web@1.2`: what follows an @ is a version.
    text.split(part).any(|word| word == name)
}

#[utoipa::path(get, path = "/api/v1/audit", params(AuditPart), tag = "system",
    responses((status = 200, body = Vec<AuditLine>)))]
pub(super) async fn list(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    part: Result<Query<AuditPart>, QueryRejection>,
) -> Result<Json<Vec<AuditLine>>, ApiError> {
    caller.need(Role::Admin)?;
    let part = part?.0;
    let limit = part.limit.unwrap_or(100).clamp(1, PAGE) as usize;
    let filter = Filter::of(&part);
    let filtered = filter.who.is_some() || filter.what.is_some() || !filter.about.is_empty();
    let mut before = part.before;
    let mut lines = Vec::new();
    while lines.len() < limit {
        let wanted = match filtered {
            true => PAGE,
            false => u32::try_from(limit - lines.len()).unwrap_or(PAGE),
        };
        let reading = READING.acquire().await;
        let page = c.audit(before, wanted).await.map_err(unreadable)?;
        drop(reading);
        lines.extend(page.lines.into_iter().filter(|line| filter.fits(line)));
        match page.more {
            Some(more) if more > 1 => before = more,
            _ => break,
        }
    }
    lines.truncate(limit);
    Ok(Json(lines))
}

fn unreadable(error: String) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error)
}

async fn page_after(c: &Controller, after: u64) -> Result<Trail, String> {
    let _reading = READING.acquire().await;
    c.trail(after, PAGE).await
}

#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "system",
    responses((status = 200, body = Verdict,
               description = "`first_bad` is the first line with which something is wrong. Whoever \
                              can write the journal can also make a whole new trail: compare the \
                              head with one that was noted elsewhere.")))]
pub(super) async fn verify(
    State(c): State<Arc<Controller>>,
    caller: Caller,
) -> Result<Json<Verdict>, ApiError> {
    caller.need(Role::Admin)?;
    let mut page = page_after(&c, 0).await.map_err(unreadable)?;
    let mut verifier = Verifier::new(page.anchor.clone(), None);
    while let Some(last) = page.lines.last().map(|line| line.id) {
        let lines = std::mem::take(&mut page.lines);
        // Hashing takes its time, and this thread has others to serve.
        let looked = tokio::task::spawn_blocking(move || {
            let maps = lines.iter().filter_map(TrailLine::as_map);
            maps.for_each(|line| verifier.take(&line));
            verifier
        });
        verifier = looked.await.map_err(|e| unreadable(e.to_string()))?;
        page = next_page(&c, last).await.map_err(unreadable)?;
    }
    Ok(Json(verifier.finish(&page.head)))
}

/// The lines after `last`, which was read; none when there are no more. The head of that last page
/// is the one of the trail that was read, whatever was added meanwhile.
async fn next_page(c: &Controller, last: u64) -> Result<Trail, String> {
    let page = page_after(c, last).await?;
    if page.anchor.id > last {
        return Err(format!(
            "lines after line {last} were cut away while the trail was read, since so much is \
             changed; try again"
        ));
    }
    Ok(page)
}

#[utoipa::path(get, path = "/api/v1/audit/export", tag = "system",
    responses((status = 200, body = String, content_type = "application/x-ndjson",
               description = "Everything, oldest first, one object a line: first `format`, the \
                              fleet's key and what came before (`anchor`), then the lines, last \
                              their count, the newest line (`head`) and the fleet's signature. \
                              `fleetctl audit verify FILE` looks at it, anywhere.")))]
pub(super) async fn export(
    State(c): State<Arc<Controller>>,
    caller: Caller,
) -> Result<Response, ApiError> {
    caller.need(Role::Admin)?;
    let place = c.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::too_many_streams())?;
    let first = page_after(&c, 0).await.map_err(unreadable)?;
    let (to, from) = mpsc::channel::<io::Result<Bytes>>(4);
    tokio::spawn(async move {
        if let Err(error) = write_all(&c, first, &to).await {
            warn!(error, "an export of the audit trail breaks off");
            // The answer ends without its end.
            let _ = to.send(Err(io::Error::other(error))).await;
        }
        drop(place);
    });
    let body = stream::unfold(from, |mut from| async move {
        let bytes = from.recv().await?;
        Some((bytes, from))
    });
    let head = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"fleetctl-audit.jsonl\"",
        ),
    ];
    Ok((head, Body::from_stream(body)).into_response())
}

async fn write_all(
    c: &Controller,
    first: Trail,
    to: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), String> {
    let key = &c.identity.key;
    let begin = ExportHead::new(&key.public(), clock::unix_ms(), first.anchor.clone());
    let mut text = json_line(&begin);
    let (mut page, mut count) = (first, 0);
    while let Some(last) = page.lines.last().map(|line| line.id) {
        for line in &page.lines {
            text.push_str(&json_line(line));
            count += 1;
            if text.len() >= CHUNK && !give(to, &mut text).await {
                return Ok(());
            }
        }
        page = next_page(c, last).await?;
    }
    text.push_str(&json_line(&ExportEnd::new(key, &begin, count, page.head)));
    give(to, &mut text).await;
    Ok(())
}

/// `false`: nobody reads any more.
async fn give(to: &mpsc::Sender<io::Result<Bytes>>, text: &mut String) -> bool {
    let bytes = Bytes::from(std::mem::take(text));
    to.send(Ok(bytes)).await.is_ok()
}
