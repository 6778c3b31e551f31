//! The queue of spans, and the task that sends them. Whoever makes a span never waits for it.
//!
//! ```text
//!  span ends ─► queue (2,048; full: dropped, counted) ─► batch (512, or 5 s) ─► POST
//!                                                          ▲                     │ 429, 502–504,
//!                                                          └── 1 s, 2 s, … 8 s ──┘ no answer: 5 tries
//! ```
//!
//! A batch that is refused, or not taken in five tries, is dropped and counted. At the end what is
//! left is sent once, for at most [`FLUSH`].

use super::{
    Headers, HeadersError, OtlpEndpoint, Resource, Span, Tracer, encode,
    post::{Answer, Post},
};
use crate::support::{Counted, clock};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{self, Instant},
};
use tracing::warn;

/// Spans that wait.
const QUEUE: usize = 2_048;
/// Spans of one request.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(5);
/// Tries of one batch.
const TRIES: u32 = 5;
/// The longest wait between two, whatever the other side asks for.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// What is left at the end is sent within this.
const FLUSH: Duration = Duration::from_secs(2);

/// Spans on their way out.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<Span>,
    dropped: AtomicU64,
}

impl Queue {
    pub(super) fn put(&self, span: Span) {
        if self.spans.try_send(span).is_err() {
            self.lose(1);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lose(&self, spans: usize) {
        let lost = u64::try_from(spans).unwrap_or(u64::MAX);
        self.dropped.fetch_add(lost, Ordering::Relaxed);
    }
}

/// The task that sends; to be [stopped](Exporter::stop).
#[derive(Debug)]
pub struct Exporter {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Sends what is left, for at most two seconds.
    pub async fn stop(self) {
        self.stop_within(FLUSH).await;
    }

    /// The same with less patience.
    pub async fn stop_within(self, limit: Duration) {
        let _ = self.stop.send(());
        let abort = self.task.abort_handle();
        if time::timeout(limit.min(FLUSH), self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// Begins to send spans to `endpoint`, with the headers of a file; without an endpoint nothing is
/// begun. To be called within a tokio runtime.
///
/// # Errors
/// The file cannot be used.
pub fn start(
    endpoint: Option<&OtlpEndpoint>,
    headers_file: Option<&Path>,
    resource: Resource,
) -> Result<(Tracer, Option<Exporter>), HeadersError> {
    let Some(endpoint) = endpoint else {
        return Ok((Tracer::off(), None));
    };
    let headers = match headers_file {
        Some(path) => Headers::read(path)?,
        None => Headers::default(),
    };
    let (spans, queue) = mpsc::channel(QUEUE);
    let shared = Arc::new(Queue {
        spans,
        dropped: AtomicU64::new(0),
    });
    let (stop, stopped) = oneshot::channel();
    let sending = Sending {
        post: Post::new(endpoint.clone(), headers),
        resource,
        queue,
        // Not the sender: the task ends with the last tracer.
        shared: shared.clone(),
        said: Counted::default(),
    };
    let task = tokio::spawn(sending.run(stopped));
    Ok((Tracer(Some(shared)), Some(Exporter { stop, task })))
}

struct Sending {
    post: Post,
    resource: Resource,
    queue: mpsc::Receiver<Span>,
    shared: Arc<Queue>,
    said: Counted,
}

impl Sending {
    /// Until it is told to stop.
    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut batch = Vec::new();
        loop {
            if self.gather(&mut batch, &mut stop).await {
                break;
            }
            let delivered = tokio::select! {
                biased;
                _ = &mut stop => false,
                () = self.deliver(&batch) => true,
            };
            if !delivered {
                break;
            }
            batch.clear();
        }
        while let Ok(span) = self.queue.try_recv() {
            batch.push(span);
        }
        for part in batch.chunks(BATCH) {
            let body = encode(&self.resource, part);
            if self.post.send(body).await != Answer::Taken {
                self.shared.lose(part.len());
            }
        }
    }

    /// Waits for spans, and a while for more; `true`: it is to stop.
    async fn gather(&mut self, batch: &mut Vec<Span>, stop: &mut oneshot::Receiver<()>) -> bool {
        let mut until = None;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            let over = async {
                match until {
                    Some(until) => time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = &mut *stop => return true,
                taken = self.queue.recv_many(batch, room) => if taken == 0 {
                    return true;
                },
                () = over => return false,
            }
            until = until.or_else(|| Some(Instant::now() + GATHER));
        }
        false
    }

    /// Sends a batch, again where that may help.
    async fn deliver(&mut self, batch: &[Span]) {
        let body = encode(&self.resource, batch);
        let mut why = String::new();
        for attempt in 0..TRIES {
            match self.post.send(body.clone()).await {
                Answer::Taken => return,
                Answer::Refused(reason) => {
                    why = reason;
                    break;
                }
                Answer::Later { after, reason } => {
                    why = reason;
                    if attempt + 1 < TRIES {
                        time::sleep(wait(attempt, after, clock::seed())).await;
                    }
                }
            }
        }
        self.shared.lose(batch.len());
        let (dropped, endpoint) = (self.shared.dropped(), self.post.endpoint().as_str());
        self.said.count("dropped", clock::mono_ms(), || {
            warn!(
                endpoint,
                why, dropped, "spans were not taken, and are dropped"
            );
        });
    }
}

/// Before the next try: what was asked for, or 1, 2, 4, 8 s with a jitter of a quarter.
fn wait(attempt: u32, after: Option<Duration>, seed: u64) -> Duration {
    let own = Duration::from_secs(1 << attempt.min(3));
    let jitter = own / 4 * u32::try_from(seed % 100).unwrap_or(0) / 100;
    after.unwrap_or(own + jitter).min(MAX_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::TraceContext, trace::SpanKind};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    fn resource() -> Resource {
        Resource {
            service: "fleetctl-agent",
            host: "pi".into(),
        }
    }

    async fn sink() -> (TcpListener, OtlpEndpoint) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, OtlpEndpoint::parse(&url).unwrap())
    }

    fn end_one(tracer: &Tracer, name: &'static str) {
        let parent: TraceContext = crate::trace::fresh();
        drop(tracer.begin(Some(parent), SpanKind::Internal, name));
    }

    #[test]
    fn waits_grow_are_bounded_and_listen_to_the_other_side() {
        let secs = |n| Duration::from_secs(n);
        for attempt in 0..10 {
            let own = secs(1 << attempt.min(3));
            for seed in [0, 50, 99] {
                let waited = wait(attempt, None, seed);
                assert!(waited >= own && waited < own + own / 4, "{waited:?}");
            }
        }
        assert_eq!(wait(0, Some(secs(3)), 7), secs(3));
        assert_eq!(wait(0, Some(secs(3_600)), 7), MAX_WAIT);
    }

    #[tokio::test]
    async fn without_an_endpoint_there_is_no_queue_and_no_task() {
        let (tracer, exporter) = start(None, None, resource()).unwrap();
        assert!(!tracer.is_on() && exporter.is_none());
    }

    #[tokio::test]
    async fn what_is_left_at_the_end_is_sent() {
        let (listener, endpoint) = sink().await;
        let (tracer, exporter) = start(Some(&endpoint), None, resource()).unwrap();
        end_one(&tracer, "last");
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            let mut part = [0; 4096];
            while !String::from_utf8_lossy(&text).contains("\"last\"") {
                let n = stream.read(&mut part).await.unwrap();
                assert!(n > 0, "it broke off");
                text.extend_from_slice(&part[..n]);
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(text).unwrap()
        });
        exporter.unwrap().stop().await;
        let request = serving.await.unwrap();
        assert!(request.starts_with("POST /v1/traces HTTP/1.1"), "{request}");
        assert!(request.contains("content-type: application/json"));
        assert_eq!(tracer.dropped(), 0);
    }

    #[tokio::test]
    async fn a_sink_that_hangs_costs_spans_and_nobody_waits_for_it() {
        // Nobody accepts: the kernel takes the connection, and no answer ever comes.
        let (_listener, endpoint) = sink().await;
        let (tracer, exporter) = start(Some(&endpoint), None, resource()).unwrap();
        for _ in 0..(QUEUE + BATCH + 100) {
            end_one(&tracer, "many");
        }
        assert!(tracer.dropped() >= 100, "{}", tracer.dropped());
        let begun = std::time::Instant::now();
        exporter
            .unwrap()
            .stop_within(Duration::from_millis(100))
            .await;
        assert!(begun.elapsed() < FLUSH);
    }
}
