//! Families of the controller's own work: its journal, its core, its API, what it says and hears.

use super::text::{Text, Type};
use crate::{controller::Controller, support::clock};
use std::sync::{PoisonError, atomic::Ordering};

/// Writes them.
pub(super) fn write(c: &Controller, text: &mut Text) {
    journal(c, text);
    let help = "Inputs that wait for the core thread.";
    text.gauge(
        "fleetctl_core_queue_length",
        help,
        c.waiting_inputs() as f64,
    );
    let help = "Inputs that may wait for the core thread.";
    let capacity = c.input_capacity().unwrap_or(0);
    text.gauge("fleetctl_core_queue_capacity", help, capacity as f64);
    c.requests.write(text);
    let help = "Streams of events, log lines, output and commands that are open.";
    text.gauge("fleetctl_http_streams", help, c.open_streams() as f64);
    let help = "Sessions of browsers that are signed in.";
    let sessions = c.sessions.open(clock::unix_ms());
    text.gauge("fleetctl_http_sessions", help, sessions as f64);
    let help = "Events published.";
    text.counter(
        "fleetctl_events_published_total",
        help,
        c.events.published(),
    );
    let traffic = &c.blobs.traffic;
    let help = "Bytes of binaries and layers that operators pushed, since the start.";
    let bytes = traffic.received.load(Ordering::Relaxed);
    text.counter("fleetctl_blob_received_bytes_total", help, bytes);
    let help = "Bytes of binaries and layers that were sent, to nodes above all, since the start.";
    let bytes = traffic.sent.load(Ordering::Relaxed);
    text.counter("fleetctl_blob_sent_bytes_total", help, bytes);
    let help = "1 when the controller is connected to its broker.";
    let connected = u8::from(c.connected.load(Ordering::Relaxed));
    text.gauge("fleetctl_broker_connected", help, f64::from(connected));
    messages(c, text);
}

fn journal(c: &Controller, text: &mut Text) {
    let meter = &c.meter;
    let help = "Time that the journal took to make entries durable, by commit.";
    text.family(
        Type::Histogram,
        "fleetctl_journal_commit_duration_seconds",
        help,
    )
    .durations(&[], &meter.commits.read());
    text.counter(
        "fleetctl_journal_entries_total",
        "Entries that the journal kept.",
        meter.committed(),
    );
    text.counter(
        "fleetctl_journal_commit_failures_total",
        "Commits that the journal could not keep; their changes were refused.",
        meter.commit_failures(),
    );
    text.gauge(
        "fleetctl_journal_entries_since_snapshot",
        "Entries that a start would have to read beside the snapshot.",
        meter.since_snapshot() as f64,
    );
    if let Some(at) = meter.snapshot_ms() {
        text.gauge(
            "fleetctl_journal_snapshot_timestamp_seconds",
            "When the last snapshot was taken; absent until the first one since the start.",
            at as f64 / 1_000.0,
        );
    }
}

fn messages(c: &Controller, text: &mut Text) {
    let help = "Messages that came from nodes, by kind; some of them are refused.";
    let mut family = text.family(Type::Counter, "fleetctl_messages_received_total", help);
    for (kind, count) in c.meter.received().filter(|(kind, _)| kind.from_agent()) {
        family.sample(&[("kind", kind.as_str())], count as f64);
    }
    let help = "Bytes of the messages that came from nodes.";
    let bytes = c.meter.received_bytes();
    text.counter("fleetctl_messages_received_bytes_total", help, bytes);
    let help = "Messages refused, by why.";
    let mut family = text.family(Type::Counter, "fleetctl_messages_refused_total", help);
    let refused = c.refused.lock().unwrap_or_else(PoisonError::into_inner);
    for (kind, count) in refused.iter() {
        family.sample(&[("kind", kind)], count as f64);
    }
    drop(refused);
    let help = "Commands to nodes that people gave, by how they ended.";
    let mut family = text.family(Type::Counter, "fleetctl_commands_total", help);
    for (end, count) in c.meter.commands() {
        family.sample(&[("outcome", end.as_str())], count as f64);
    }
}
