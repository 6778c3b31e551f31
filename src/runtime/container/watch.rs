//! The stream of events, for ever.
//!
//! ```text
//!           open, nothing refused          the stream ends
//! (start) ───────────────────► standing ───────────────────► lost ──┐
//!    │            Connected       │           Disconnected    ▲  │  │ wait 0.2 s → 10 s
//!    │                            └─ Changed …                │  └──┘ try again
//!    └────────────────────────────────────────────────────────┘
//! ```
//!
//! Events are hints. What happened while the stream was away is never told; `Connected` means
//! "list everything".

use super::fault::Fault;
use crate::{model::RuntimeKind, runtime::RuntimeEvent};
use futures_util::{StreamExt, stream::BoxStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// A refusal comes within this; the APIs do not say that a stream stands.
const REFUSAL_LIMIT: Duration = Duration::from_millis(300);
/// A connection that stood for so long was a good one: the next delay is short again.
const GOOD: Duration = Duration::from_secs(10);

/// The handles of instances to which something happened; ends when the connection does.
pub(crate) type Happenings<'a> = BoxStream<'a, Result<String, Fault>>;

/// What an engine has to know to be watched.
pub(crate) trait Watched: Sync {
    /// Which.
    fn kind(&self) -> RuntimeKind;
    /// Asks the engine something short, so that one that hangs is not taken for a quiet one.
    fn answers(&self) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Asks for the events of everything that is ours.
    fn happenings(&self) -> Result<Happenings<'_>, Fault>;
}

/// Those actions, for engines that can pick them.
pub(crate) const ACTIONS: [&str; 12] = [
    "start",
    "die",
    "died",
    "stop",
    "kill",
    "oom",
    "destroy",
    "remove",
    "health_status",
    "pause",
    "unpause",
    "cleanup",
];

/// True for the actions after which an instance may look different. Docker and Podman, in that
/// order, say `die` and `died`, `destroy` and `remove`; an action may have a detail behind a
/// colon, as in `health_status: healthy`.
pub(crate) fn changes_something(action: &str) -> bool {
    let action = action.split(':').next().unwrap_or(action);
    ACTIONS.contains(&action)
}

/// Sends events until the receiver is gone.
pub(crate) async fn watch<W: Watched>(watched: &W, events: mpsc::Sender<RuntimeEvent>) {
    let mut told_lost = false;
    let mut delay = FIRST_DELAY;
    loop {
        let began = Instant::now();
        let ended = tokio::select! {
            () = events.closed() => return,
            ended = one_connection(watched, &events, &mut told_lost) => ended,
        };
        let Some(reason) = ended else { return };
        if began.elapsed() >= GOOD {
            delay = FIRST_DELAY;
        }
        tracing::debug!(runtime = %watched.kind(), %reason, "event stream lost");
        if !told_lost {
            told_lost = true;
            if events
                .send(RuntimeEvent::Disconnected { reason })
                .await
                .is_err()
            {
                return;
            }
        }
        tokio::select! {
            () = events.closed() => return,
            () = sleep(with_jitter(delay)) => {}
        }
        delay = (delay * 2).min(LONGEST_DELAY);
    }
}

/// Why it ended; `None` when the receiver is gone.
async fn one_connection<W: Watched>(
    watched: &W,
    events: &mpsc::Sender<RuntimeEvent>,
    told_lost: &mut bool,
) -> Option<String> {
    if let Err(fault) = watched.answers().await {
        return Some(reason(watched.kind(), fault));
    }
    let mut stream = match watched.happenings() {
        Ok(stream) => stream,
        Err(fault) => return Some(reason(watched.kind(), fault)),
    };
    let mut next = timeout(REFUSAL_LIMIT, stream.next()).await.ok();
    if !matches!(next, Some(None | Some(Err(_)))) {
        *told_lost = false;
        events.send(RuntimeEvent::Connected).await.ok()?;
    }
    loop {
        let item = match next.take() {
            Some(item) => item,
            None => stream.next().await,
        };
        match item {
            Some(Ok(handle)) => events.send(RuntimeEvent::Changed { handle }).await.ok()?,
            Some(Err(fault)) => return Some(reason(watched.kind(), fault)),
            None => return Some(format!("{} closed the stream of events", watched.kind())),
        }
    }
}

fn reason(kind: RuntimeKind, fault: Fault) -> String {
    super::plain(kind, "", fault).to_string()
}

/// Between half of `delay` and all of it. The clock's nanoseconds differ from board to board,
/// which is all that is wanted of chance here.
fn with_jitter(delay: Duration) -> Duration {
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.subsec_nanos());
    delay / 2 + (delay / 2) * (nanos / 1_000 % 1_000) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, stream};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Refuses twice, then gives one event per connection.
    struct Flaky(AtomicU32);

    impl Watched for Flaky {
        fn kind(&self) -> RuntimeKind {
            RuntimeKind::Docker
        }

        fn answers(&self) -> impl Future<Output = Result<(), Fault>> + Send {
            let silent = self.0.fetch_add(1, Ordering::Relaxed) < 2;
            async move {
                if silent {
                    Err(Fault::Unreachable("nobody".to_owned()))
                } else {
                    Ok(())
                }
            }
        }

        fn happenings(&self) -> Result<Happenings<'_>, Fault> {
            Ok(stream::once(async { Ok("abc".to_owned()) }).boxed())
        }
    }

    #[tokio::test]
    async fn a_loss_is_told_once_and_a_return_each_time() {
        let (sender, mut receiver) = mpsc::channel(1);
        let flaky = Flaky(AtomicU32::new(0));
        let mut seen = Vec::new();
        let watching = watch(&flaky, sender).fuse();
        tokio::pin!(watching);
        while seen.len() < 5 {
            tokio::select! {
                () = &mut watching => panic!("it ended while somebody listens"),
                event = receiver.recv() => seen.push(event.unwrap()),
            }
        }
        assert!(
            matches!(&seen[0], RuntimeEvent::Disconnected { reason } if reason.contains("nobody"))
        );
        assert_eq!(seen[1], RuntimeEvent::Connected);
        assert_eq!(
            seen[2],
            RuntimeEvent::Changed {
                handle: "abc".to_owned()
            }
        );
        assert!(matches!(&seen[3], RuntimeEvent::Disconnected { .. }));
        assert_eq!(seen[4], RuntimeEvent::Connected);
        drop(receiver);
        watching.await;
    }

    #[test]
    fn actions_of_both_engines_are_known() {
        for action in [
            "die",
            "died",
            "start",
            "health_status: unhealthy",
            "remove",
            "destroy",
        ] {
            assert!(changes_something(action), "{action}");
        }
        for action in ["create", "exec_start: /bin/sh", "attach", "init", "top"] {
            assert!(!changes_something(action), "{action}");
        }
    }

    #[test]
    fn jitter_stays_within_bounds() {
        let delay = with_jitter(Duration::from_secs(2));
        assert!(delay >= Duration::from_secs(1) && delay <= Duration::from_secs(2));
    }
}
