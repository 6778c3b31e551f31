//! The audit trail: who changed what, from where, with what differs.
//!
//! Only the thread that writes can read the journal, so everything here goes through it page by
//! page, no more than [`READERS`] pages at a time: nobody who reads holds up who changes. The whole
//! trail is never in memory.

use super::{auth::Caller, problem::ApiError};
use crate::{
    controller::Controller,
    identity::Role,
    journal::{
        AuditLine, AuditPage, ExportEnd, ExportHead, Fault, Link, Trail, TrailLine, Verdict,
        Verifier, fault_of, json_line,
    },
    support::clock,
    trace,
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
    /// Only what belongs to this trace: its id, or a whole `traceparent`.
    trace: Option<String>,
}

/// Which lines are wanted.
#[derive(Debug, Default)]
struct Filter {
    who: Option<String>,
    what: Option<String>,
    /// Heads of the parts that say what differs, and the name as a word.
    about: Vec<(String, String)>,
    /// 32 hex digits.
    trace: Option<String>,
}

impl Filter {
    fn of(part: &AuditPart) -> Result<Filter, String> {
        let lower = |text: &Option<String>| text.as_ref().map(|text| text.to_lowercase());
        let about = [("node", &part.node), ("workload", &part.workload)];
        let about = about.into_iter().filter_map(|(kind, name)| {
            let name = name.as_ref()?;
            Some((format!("{kind} {name}"), name.clone()))
        });
        Ok(Filter {
            who: lower(&part.who),
            what: lower(&part.what),
            about: about.collect(),
            trace: part.trace.as_deref().map(trace::id_of).transpose()?,
        })
    }

    fn is_any(&self) -> bool {
        let texts = [&self.who, &self.what, &self.trace];
        texts.into_iter().any(Option::is_some) || !self.about.is_empty()
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
            && self.trace.as_ref().is_none_or(|wanted| {
                let own = line.by.trace.as_ref();
                own.is_some_and(|own| own.trace_id() == *wanted)
            })
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
    let filter = Filter::of(&part).map_err(|e| ApiError::new(StatusCode::BAD_REQUEST, e))?;
    let filter = filter.is_any().then(|| Arc::new(filter));
    let mut before = part.before;
    let mut end = None;
    let mut lines = Vec::new();
    while lines.len() < limit {
        let wanted = match filter.is_some() {
            true => PAGE,
            false => u32::try_from(limit - lines.len()).unwrap_or(PAGE),
        };
        let reading = READING.acquire().await;
        let page = c.audit(before, wanted).await.map_err(unreadable)?;
        drop(reading);
        let more = page.more;
        if before == 0 {
            end = Some(page.head.clone());
        }
        let (expected, filter) = (end.take(), filter.clone());
        end = page.expects();
        // There should be older ones.
        if page.lines.is_empty()
            && filter.is_none()
            && let Some(fault) = page.faults(expected.as_ref()).into_iter().next()
            && let Some(oldest) = lines.last_mut()
        {
            let oldest: &mut AuditLine = oldest;
            oldest.fault.get_or_insert(fault.what);
        }
        // Hashing takes its time, and this thread has others to serve.
        let looked = tokio::task::spawn_blocking(move || match filter {
            Some(filter) => fitting(page, &filter),
            None => judged(page, expected.as_ref()),
        });
        lines.extend(looked.await.map_err(|e| unreadable(e.to_string()))?);
        match more {
            Some(more) if more > 1 => before = more,
            _ => break,
        }
    }
    lines.truncate(limit);
    Ok(Json(lines))
}

/// All lines, and what is wrong with them.
fn judged(page: AuditPage, expected: Option<&Link>) -> Vec<AuditLine> {
    let faults = page.faults(expected);
    page.shown(&faults)
}

/// Those that are wanted, and what is wrong with each by itself: what came between is not looked at.
fn fitting(page: AuditPage, filter: &Filter) -> Vec<AuditLine> {
    let shown = page.lines.into_iter().filter_map(|line| {
        let kept = line.shown()?;
        filter.fits(&kept).then(|| AuditLine {
            fault: fault_of(&line).map(|Fault { what, .. }| what),
            ..kept
        })
    });
    shown.collect()
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
        verifier = taken(verifier, lines).await.map_err(unreadable)?;
        page = next_page(&c, last).await.map_err(unreadable)?;
    }
    Ok(Json(verifier.finish(&page.head)))
}

/// `verifier`, once it has looked at these. Hashing takes its time, and this thread has others to
/// serve.
async fn taken(mut verifier: Verifier, lines: Vec<TrailLine>) -> Result<Verifier, String> {
    let looked = tokio::task::spawn_blocking(move || {
        let maps = lines.iter().filter_map(TrailLine::as_map);
        maps.for_each(|line| verifier.take(&line));
        verifier
    });
    looked.await.map_err(|e| e.to_string())
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
    let mut verifier = Verifier::new(first.anchor.clone(), None);
    let mut page = first;
    while let Some(last) = page.lines.last().map(|line| line.id) {
        for line in &page.lines {
            text.push_str(&json_line(line));
            if text.len() >= CHUNK && !give(to, &mut text).await {
                return Ok(());
            }
        }
        verifier = taken(verifier, page.lines).await?;
        page = next_page(c, last).await?;
    }
    // The fleet signs no trail as if it were whole when it is not.
    let found = verifier.finish(&page.head);
    if let Some(fault) = found.faults.first() {
        warn!(%fault, "an audit trail that is not whole was exported");
    }
    text.push_str(&json_line(&ExportEnd::new(key, &begin, &found)));
    give(to, &mut text).await;
    Ok(())
}

/// `false`: nobody reads any more.
async fn give(to: &mpsc::Sender<io::Result<Bytes>>, text: &mut String) -> bool {
    let bytes = Bytes::from(std::mem::take(text));
    to.send(Ok(bytes)).await.is_ok()
}
