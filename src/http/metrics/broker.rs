//! Families of a broker, embedded or by itself: the same names in both.

use super::text::{Text, Type};
use crate::broker::Counters;

/// Writes what a broker counted.
pub(super) fn write(counters: &Counters, text: &mut Text) {
    // All of them by name: a new count does not compile until it has a family.
    let Counters {
        accepted,
        refused_full,
        refused_protocol,
        refused_identifier,
        refused_unavailable,
        refused_credentials,
        refused_not_authorized,
        tls_failures,
        connect_failures,
        publishes_in,
        publishes_out,
        bytes_in,
        bytes_out,
        dropped,
        overruns,
        denied_publishes,
        denied_subscriptions,
        throttled,
        protocol_errors,
        keep_alive_timeouts,
        write_timeouts,
        takeovers,
        wills,
        retained_refused,
        connections,
        sessions,
        subscriptions,
        retained,
        retained_bytes,
        queued_bytes,
    } = *counters;
    for (name, help, value) in [
        (
            "fleetctl_broker_connections",
            "Network connections that are open now, admitted or not.",
            connections,
        ),
        (
            "fleetctl_broker_sessions",
            "Sessions now, those of absent clients included.",
            sessions,
        ),
        (
            "fleetctl_broker_subscriptions",
            "Subscriptions now.",
            subscriptions,
        ),
        (
            "fleetctl_broker_retained_messages",
            "Retained messages now.",
            retained,
        ),
        (
            "fleetctl_broker_retained_bytes",
            "Bytes that the retained messages take.",
            retained_bytes,
        ),
        (
            "fleetctl_broker_queued_bytes",
            "Bytes that wait in the queues of all sessions.",
            queued_bytes,
        ),
    ] {
        text.gauge(name, help, value as f64);
    }
    for (name, help, value) in [
        (
            "fleetctl_broker_connections_accepted_total",
            "Clients admitted.",
            accepted,
        ),
        (
            "fleetctl_broker_messages_received_total",
            "Messages taken from clients, wills included.",
            publishes_in,
        ),
        (
            "fleetctl_broker_messages_sent_total",
            "Messages written to clients, repeats included.",
            publishes_out,
        ),
        (
            "fleetctl_broker_received_bytes_total",
            "Bytes of the bodies of messages taken from clients.",
            bytes_in,
        ),
        (
            "fleetctl_broker_sent_bytes_total",
            "Bytes of the bodies of messages written to clients.",
            bytes_out,
        ),
        (
            "fleetctl_broker_messages_dropped_total",
            "Messages for one client that were not kept: its queue was full, or it was absent.",
            dropped,
        ),
        (
            "fleetctl_broker_throttled_total",
            "How often a client had to wait because it published too fast.",
            throttled,
        ),
        (
            "fleetctl_broker_wills_total",
            "Last wills published.",
            wills,
        ),
        (
            "fleetctl_broker_retained_refused_total",
            "Retained messages that were passed on and not kept: the store is full.",
            retained_refused,
        ),
    ] {
        text.counter(name, help, value);
    }
    labelled(
        text,
        "fleetctl_broker_connections_refused_total",
        "Connections that did not become a session.",
        "reason",
        &[
            ("full", refused_full),
            ("protocol", refused_protocol),
            ("identifier", refused_identifier),
            ("unavailable", refused_unavailable),
            ("credentials", refused_credentials),
            ("not_authorized", refused_not_authorized),
            ("tls", tls_failures),
            ("connect", connect_failures),
        ],
    );
    labelled(
        text,
        "fleetctl_broker_connections_closed_total",
        "Connections that the broker closed.",
        "reason",
        &[
            ("overrun", overruns),
            ("protocol", protocol_errors),
            ("keep_alive", keep_alive_timeouts),
            ("write", write_timeouts),
            ("takeover", takeovers),
        ],
    );
    labelled(
        text,
        "fleetctl_broker_denied_total",
        "What a client asked for without the right to it.",
        "what",
        &[
            ("publish", denied_publishes),
            ("subscribe", denied_subscriptions),
        ],
    );
}

fn labelled(text: &mut Text, name: &'static str, help: &str, label: &str, counts: &[(&str, u64)]) {
    let mut family = text.family(Type::Counter, name, help);
    for (value, count) in counts {
        family.sample(&[(label, value)], *count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_a_counter_and_what_is_now_is_a_gauge() {
        let counters = Counters {
            accepted: 3,
            connections: 2,
            tls_failures: 5,
            denied_publishes: 7,
            ..Counters::default()
        };
        let mut text = Text::default();
        write(&counters, &mut text);
        let text = text.done();
        for line in [
            "# TYPE fleetctl_broker_connections gauge\nfleetctl_broker_connections 2\n",
            "fleetctl_broker_connections_accepted_total 3\n",
            "fleetctl_broker_connections_refused_total{reason=\"tls\"} 5\n",
            "fleetctl_broker_denied_total{what=\"publish\"} 7\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        for kind in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        }
    }
}
