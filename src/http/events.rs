//! Events as they happen: Server-Sent Events (WHATWG HTML, 9.2).
//!
//! ```text
//!  what is kept (1,000) ─► pump ─► 16 events ─► connection
//!        ▲                   │
//!        └── read again ◄────┘ behind the channel of new ones
//! ```
//!
//! The numbers of events have no gap while the controller runs, and each is the `id` of its event,
//! so a reader that was cut off goes on after the last one it has (`Last-Event-ID`), and sees by the
//! numbers when more than is kept has happened meanwhile. A reader that is slow is read for from what
//! is kept; one that falls behind that is cut off, and so is one that takes nothing for half a
//! minute. So is one whose token or session has ended, within a second. Nothing is buffered for it beside what is kept anyway.

use super::{
    auth::{Caller, Remote},
    problem::ApiError,
};
use crate::{
    controller::{Controller, EventLog, NumberedEvent},
    identity::Role,
};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderName},
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time,
};
use utoipa::IntoParams;

/// Events on their way to one reader.
const ON_THE_WAY: usize = 16;
/// A reader that takes nothing for so long is cut off.
const STALLED: Duration = Duration::from_secs(30);
/// How often it is looked at whether the reader may still read, where nothing happens.
const LOOK: Duration = Duration::from_secs(1);
/// After so long a browser connects again.
const RETRY: Duration = Duration::from_secs(1);

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
               description = "`data` is a NumberedEvent as JSON, `id` its number. Numbers have no \
                              gap while the controller runs: a reader that sees one has missed \
                              something. A reader that falls far behind is cut off, and goes on \
                              with the header `Last-Event-ID`."),
              (status = 503, body = super::ProblemDocument)))]
pub(super) async fn events(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    remote: Remote,
    headers: HeaderMap,
    part: Result<Query<EventPart>, QueryRejection>,
) -> Result<impl IntoResponse, ApiError> {
    caller.need(Role::Viewer)?;
    let part = part?.0;
    let place = c.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::too_many_streams())?;
    let resumed = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok()?.trim().parse().ok());
    let after = resumed.or(part.since).unwrap_or(0);
    let follow = part.follow.unwrap_or(true);
    let (to, from) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(async move {
        let pump = Pump {
            log: &c.events,
            last: after,
            to,
            stalled: STALLED,
        };
        let end = pump.run(follow, || caller.is_still_let_in(&c)).await;
        if end == Err(Cut::Stalled) {
            remote.cut.notify_one();
        }
        drop(place);
    });
    let first = stream::once(async { Event::default().retry(RETRY) });
    let events = stream::unfold(from, |mut from| async move {
        let event = from.recv().await?;
        Some((as_sent(&event), from))
    });
    let all = first.chain(events).map(Ok::<_, Infallible>);
    let sse = Sse::new(all).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)));
    // Some proxies collect an answer before they pass it on.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, sse))
}

fn as_sent(event: &NumberedEvent) -> Event {
    let data = serde_json::to_string(event).unwrap_or_default();
    Event::default().id(event.id.to_string()).data(data)
}

/// Why a reader gets no more, though there is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// It has gone.
    Gone,
    /// It does not take what it is given.
    Stalled,
    /// More than is kept has happened since what it took last.
    Behind,
    /// Its token or session has ended.
    Refused,
}

/// Brings events to one reader.
struct Pump<'a> {
    log: &'a EventLog,
    /// The last one that it was given.
    last: u64,
    to: mpsc::Sender<NumberedEvent>,
    stalled: Duration,
}

impl Pump<'_> {
    /// `Ok` when there is no more, because only what is kept was asked for.
    async fn run(mut self, follow: bool, let_in: impl Fn() -> bool) -> Result<(), Cut> {
        let (kept, mut live) = self.log.since(self.last);
        self.give(kept).await?;
        if !follow {
            return Ok(());
        }
        let mut look = time::interval(LOOK);
        loop {
            let event = tokio::select! {
                () = self.to.closed() => return Err(Cut::Gone),
                _ = look.tick() => match let_in() {
                    true => continue,
                    false => return Err(Cut::Refused),
                },
                event = live.recv() => event,
            };
            if !let_in() {
                return Err(Cut::Refused);
            }
            match event {
                Ok(event) => self.give(vec![event]).await?,
                Err(RecvError::Lagged(_)) => {
                    let (kept, again) = self.log.since(self.last);
                    if kept.first().is_none_or(|e| e.id != self.last + 1) {
                        return Err(Cut::Behind);
                    }
                    live = again;
                    self.give(kept).await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn give(&mut self, events: Vec<NumberedEvent>) -> Result<(), Cut> {
        for event in events {
            let id = event.id;
            match time::timeout(self.stalled, self.to.send(event)).await {
                Ok(Ok(())) => self.last = id,
                Ok(Err(_)) => return Err(Cut::Gone),
                Err(_) => return Err(Cut::Stalled),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::FleetEvent;

    fn publish(log: &EventLog, count: u64) {
        for at in 0..count {
            log.publish(FleetEvent {
                at,
                event: "tested".into(),
                node: None,
                workload: None,
                message: String::new(),
            });
        }
    }

    /// A reader that begins after `last`, and how it ended.
    fn reader(
        log: &Arc<EventLog>,
        last: u64,
        stalled: Duration,
    ) -> (
        mpsc::Receiver<NumberedEvent>,
        tokio::task::JoinHandle<Result<(), Cut>>,
    ) {
        let (to, from) = mpsc::channel(ON_THE_WAY);
        let log = log.clone();
        let pump = async move {
            let log = &*log;
            Pump {
                log,
                last,
                to,
                stalled,
            }
            .run(true, || true)
            .await
        };
        (from, tokio::spawn(pump))
    }

    async fn take(from: &mut mpsc::Receiver<NumberedEvent>, count: usize) -> Vec<u64> {
        let mut ids = Vec::new();
        while ids.len() < count
            && let Some(event) = from.recv().await
        {
            ids.push(event.id);
        }
        ids
    }

    #[tokio::test]
    async fn a_reader_that_comes_back_goes_on_where_it_was() {
        let log = Arc::new(EventLog::new(100));
        publish(&log, 10);
        let (mut from, pump) = reader(&log, 0, STALLED);
        assert_eq!(take(&mut from, 4).await, [101, 102, 103, 104]);
        drop(from);
        assert_eq!(pump.await.unwrap(), Err(Cut::Gone));
        let (mut from, _pump) = reader(&log, 104, STALLED);
        publish(&log, 2);
        assert_eq!(take(&mut from, 8).await, Vec::from_iter(105..=112));
    }

    #[tokio::test]
    async fn a_reader_that_is_a_little_slow_misses_nothing() {
        let log = Arc::new(EventLog::new(0));
        publish(&log, 1);
        let (mut from, _pump) = reader(&log, 0, STALLED);
        assert_eq!(take(&mut from, 1).await, [1]);
        // More than the channel of new ones holds, at once.
        for _ in 0..3 {
            publish(&log, 900);
            let taken = take(&mut from, 900).await;
            assert!(taken.windows(2).all(|w| w[1] == w[0] + 1), "{taken:?}");
            assert_eq!(taken.len(), 900);
        }
    }

    #[tokio::test]
    async fn a_reader_that_is_far_behind_is_cut_off_and_can_go_on() {
        let log = Arc::new(EventLog::new(0));
        publish(&log, 1);
        let (mut from, pump) = reader(&log, 0, STALLED);
        assert_eq!(take(&mut from, 1).await, [1]);
        // As ten thousand a second, while it takes nothing.
        publish(&log, 10_000);
        let rest = take(&mut from, usize::MAX).await;
        assert!(rest.len() <= ON_THE_WAY + 1, "{} were buffered", rest.len());
        assert_eq!(rest, Vec::from_iter(2..2 + rest.len() as u64), "in order");
        assert_eq!(pump.await.unwrap(), Err(Cut::Behind));
        let last = rest.last().copied().unwrap_or(1);
        let (mut from, _pump) = reader(&log, last, STALLED);
        let kept = take(&mut from, 1_000).await;
        assert_eq!(kept, Vec::from_iter(9_002..=10_001), "the newest are kept");
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_cut_off() {
        let log = Arc::new(EventLog::new(0));
        publish(&log, 100);
        let (mut from, pump) = reader(&log, 0, Duration::from_millis(1));
        assert_eq!(pump.await.unwrap(), Err(Cut::Stalled));
        assert_eq!(take(&mut from, usize::MAX).await.len(), ON_THE_WAY);
    }

    #[tokio::test]
    async fn a_token_that_ends_while_events_are_read_lets_no_further_one_through() {
        let log = Arc::new(EventLog::new(0));
        let let_in = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let (to, mut from) = mpsc::channel(ON_THE_WAY);
        let (of_pump, may) = (log.clone(), let_in.clone());
        let pump = tokio::spawn(async move {
            let pump = Pump {
                log: &of_pump,
                last: 0,
                to,
                stalled: STALLED,
            };
            let may = || may.load(std::sync::atomic::Ordering::SeqCst);
            pump.run(true, may).await
        });
        publish(&log, 1);
        assert_eq!(take(&mut from, 1).await, [1]);
        let_in.store(false, std::sync::atomic::Ordering::SeqCst);
        publish(&log, 1);
        let began = std::time::Instant::now();
        assert!(from.recv().await.is_none());
        assert_eq!(pump.await.unwrap(), Err(Cut::Refused));
        assert!(began.elapsed() < 2 * LOOK, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_reader_whose_token_was_revoked_gets_nothing_more() {
        let log = EventLog::new(0);
        let (to, mut from) = mpsc::channel(ON_THE_WAY);
        let pump = Pump {
            log: &log,
            last: 0,
            to,
            stalled: STALLED,
        };
        assert_eq!(pump.run(true, || false).await, Err(Cut::Refused));
        assert!(from.recv().await.is_none());
    }
}
