//! One attempt: secrets are read, the request is made, and what came back is judged.

use super::{
    Kind, Notification, Occasion, Receiver, mail, post,
    queue::Outcome,
    render::{Request, render},
    text,
};
use crate::model::UnixMs;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::time;

/// The most characters of an error.
const MAX_ERROR: usize = 500;

/// Brings `batch` to `receiver`; `now` is for what an answer says about time.
pub(super) async fn attempt(receiver: &Receiver, batch: &[Notification], now: UnixMs) -> Outcome {
    let limit = Duration::from_millis(receiver.timeout_ms);
    let sent = AtomicBool::new(false);
    match time::timeout(limit, at_length(receiver, batch, now, &sent)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Retry {
            error: format!(
                "no answer within {}",
                crate::manifest::quantity::duration_text(receiver.timeout_ms)
            ),
            after_ms: None,
            perhaps: sent.load(Ordering::Relaxed),
        },
    }
}

/// `sent` is set when the request may have arrived.
async fn at_length(
    receiver: &Receiver,
    batch: &[Notification],
    now: UnixMs,
    sent: &AtomicBool,
) -> Outcome {
    let later = |error: String| Outcome::Retry {
        error,
        after_ms: None,
        perhaps: false,
    };
    // Files may be on a disk that hangs.
    let closed = receiver.clone();
    let opened = match tokio::task::spawn_blocking(move || closed.opened()).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return later(error.to_string()),
        Err(error) => return later(error.to_string()),
    };
    let mut outcome = once(&opened, batch, now, sent).await;
    // Nobody should be left awake by a trial.
    if let (Kind::Pagerduty { .. }, Outcome::Delivered, Some(trial)) = (
        &opened.kind,
        &outcome,
        batch.iter().find(|n| n.occasion == Occasion::Test),
    ) {
        let over = Notification {
            occasion: Occasion::Resolved,
            ..trial.clone()
        };
        outcome = once(&opened, &[over], now, sent).await;
    }
    harmless(outcome, &opened)
}

async fn once(
    opened: &Receiver,
    batch: &[Notification],
    now: UnixMs,
    sent: &AtomicBool,
) -> Outcome {
    match (render(opened, batch), &opened.kind) {
        (Ok(Request::Post { url, headers, body }), _) => {
            let tls = opened.ca.as_deref();
            post::post(&url, &headers, body, tls, now, sent).await
        }
        (Ok(Request::Mail(bytes)), Kind::Smtp(smtp)) => mail::send(smtp, opened, bytes, sent).await,
        (Ok(Request::Mail(_)), _) => Outcome::Refused {
            error: "only a mail server takes mail".to_owned(),
        },
        (Err(error), _) => Outcome::Refused {
            error: error.to_string(),
        },
    }
}

/// Errors may repeat what a server said: without secrets, in one harmless line.
fn harmless(outcome: Outcome, opened: &Receiver) -> Outcome {
    let clean = |error: String| text::cut(&text::visible(&opened.scrubbed(&error)), MAX_ERROR);
    match outcome {
        Outcome::Delivered => Outcome::Delivered,
        Outcome::Retry {
            error,
            after_ms,
            perhaps,
        } => Outcome::Retry {
            error: clean(error),
            after_ms,
            perhaps,
        },
        Outcome::Refused { error } => Outcome::Refused {
            error: clean(error),
        },
    }
}
