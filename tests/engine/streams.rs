//! Log lines and events.

use super::{
    fixture::{Fixture, PATIENCE},
    on_both_engines,
};
use fleetctl::{
    model::{LogQuery, LogStream},
    runtime::RuntimeEvent,
};
use tokio::{sync::mpsc, time::timeout};

on_both_engines!(
    lines_come_with_stream_order_and_cursor,
    who_goes_on_from_a_cursor_misses_nothing,
    lines_can_be_followed,
    following_ends_in_time,
    events_tell_of_changes,
);

async fn lines_come_with_stream_order_and_cursor(fixture: &Fixture) {
    // A moment between the lines orders the two streams.
    let command = "echo one; sleep 0.1; echo two >&2; sleep 0.1; printf '\\377three\\n'";
    let launched = fixture.launch(&fixture.shell(command)).await;
    fixture.exit(&launched.handle).await;

    let all = fixture.logs(&launched.handle, LogQuery::default()).await;
    let seen: Vec<(LogStream, &str)> = all
        .iter()
        .map(|line| (line.stream, line.text.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (LogStream::Stdout, "one"),
            (LogStream::Stderr, "two"),
            (LogStream::Stdout, "\u{fffd}three"),
        ]
    );
    assert!(all.is_sorted_by(|a, b| a.time_ns < b.time_ns), "{all:?}");

    let last = LogQuery {
        tail: Some(1),
        ..LogQuery::default()
    };
    assert_eq!(fixture.logs(&launched.handle, last).await, all[2..]);
    let since = LogQuery {
        since_ns: Some(all[0].time_ns),
        ..LogQuery::default()
    };
    assert_eq!(fixture.logs(&launched.handle, since).await, all[1..]);
    let nothing = LogQuery {
        since_ns: Some(all[2].time_ns),
        ..LogQuery::default()
    };
    assert!(fixture.logs(&launched.handle, nothing).await.is_empty());
    fixture.clean().await;
}

async fn who_goes_on_from_a_cursor_misses_nothing(fixture: &Fixture) {
    // More lines than a query gets that counts them.
    let launched = fixture.launch(&fixture.shell("seq 1 12000")).await;
    fixture.exit(&launched.handle).await;
    let all = fixture.logs(&launched.handle, LogQuery::default()).await;
    assert_eq!(all.len(), 12_000);
    // Also from a cursor within lines that were written at once.
    for at in [0, 1, 11_000] {
        let since = LogQuery {
            since_ns: Some(all[at].time_ns),
            stream: Some(LogStream::Stdout),
            ..LogQuery::default()
        };
        let rest = fixture.logs(&launched.handle, since).await;
        assert!(rest == all[at + 1..], "{} of {}", rest.len(), 11_999 - at);
    }
    let last = LogQuery {
        tail: Some(2),
        stream: Some(LogStream::Stdout),
        ..LogQuery::default()
    };
    assert_eq!(fixture.logs(&launched.handle, last).await, all[11_998..]);
    fixture.clean().await;
}

async fn lines_can_be_followed(fixture: &Fixture) {
    let command = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.1; done";
    let launched = fixture.launch(&fixture.shell(command)).await;
    let (sender, mut receiver) = mpsc::channel(4);
    let query = LogQuery {
        follow_ms: Some(600_000),
        ..LogQuery::default()
    };
    let reading = async {
        for n in 1..=5 {
            let line: fleetctl::model::LogLine = receiver.recv().await.unwrap();
            assert_eq!(line.text, format!("line {n}"));
        }
        // Following ends with its reader.
        drop(receiver);
    };
    let both = async {
        tokio::join!(
            fixture.runtime.logs(&launched.handle, &query, sender),
            reading
        )
    };
    let (outcome, ()) = timeout(PATIENCE, both).await.unwrap();
    outcome.unwrap();
    fixture.clean().await;
}

async fn following_ends_in_time(fixture: &Fixture) {
    let launched = fixture.launch(&fixture.shell("sleep 600")).await;
    let query = LogQuery {
        follow_ms: Some(300),
        ..LogQuery::default()
    };
    let lines = timeout(PATIENCE, fixture.logs(&launched.handle, query))
        .await
        .unwrap();
    assert!(lines.is_empty(), "{lines:?}");
    fixture.clean().await;
}

async fn events_tell_of_changes(fixture: &Fixture) {
    let (sender, mut receiver) = mpsc::channel(64);
    let doing = async {
        assert_eq!(receiver.recv().await, Some(RuntimeEvent::Connected));
        let launched = fixture.launch(&fixture.shell("sleep 600")).await;
        let changed = RuntimeEvent::Changed {
            handle: launched.handle.clone(),
        };
        wait_for(&mut receiver, &changed).await;
        fixture.runtime.stop(&launched.handle, 0).await.unwrap();
        fixture.exit(&launched.handle).await;
        wait_for(&mut receiver, &changed).await;
        fixture.runtime.remove(&launched.handle).await.unwrap();
        wait_for(&mut receiver, &changed).await;
        drop(receiver);
    };
    let watched = async { tokio::join!(fixture.runtime.watch(sender), doing) };
    timeout(PATIENCE, watched).await.unwrap();
}

/// Other tests' events come on the same stream.
async fn wait_for(receiver: &mut mpsc::Receiver<RuntimeEvent>, wanted: &RuntimeEvent) {
    while receiver.recv().await.unwrap() != *wanted {}
}
