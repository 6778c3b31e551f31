//! Events as they happen: Server-Sent Events (WHATWG HTML, 9.2).

use super::{auth::Caller, problem::ApiError};
use crate::{
    controller::{Controller, NumberedEvent},
    identity::Role,
};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::sync::broadcast::error::RecvError;
use utoipa::IntoParams;

/// Which events.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventPart {
    /// Begin after this event; also by the header `Last-Event-ID`. Without either: with what is
    /// kept (the last 1,000).
    since: Option<u64>,
    /// Go on with new events; true unless given.
    follow: Option<bool>,
}

#[utoipa::path(get, path = "/api/v1/events", params(EventPart), tag = "system",
    responses((status = 200, body = String, content_type = "text/event-stream",
               description = "`data` is a NumberedEvent as JSON, `id` its number.")))]
pub(super) async fn events(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    headers: HeaderMap,
    part: Result<Query<EventPart>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    caller.need(Role::Viewer)?;
    let part = part?.0;
    let place = c.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::too_many_streams())?;
    let resumed = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok()?.parse().ok());
    let (kept, live) = c.events.since(resumed.or(part.since).unwrap_or(0));
    let follow = part.follow.unwrap_or(true);
    // A reader that does not keep up is cut off; it comes back with the last id that it has.
    let live = stream::unfold((live, follow), |(mut live, follow)| async move {
        if !follow {
            return None;
        }
        match live.recv().await {
            Ok(event) => Some((event, (live, follow))),
            Err(RecvError::Lagged(_) | RecvError::Closed) => None,
        }
    });
    let all = stream::iter(kept).chain(live).map(move |e: NumberedEvent| {
        let _held = &place;
        let data = serde_json::to_string(&e).unwrap_or_default();
        Ok(Event::default().id(e.id.to_string()).data(data))
    });
    Ok(Sse::new(all).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
