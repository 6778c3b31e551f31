//! What the broker counts. The edge adds to a [`Meter`] (atomics, no lock); a [`Counters`] is one
//! reading of it, in plain numbers, for `/metrics` and for tests.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The running counts; every part of the edge adds to them.
        #[derive(Debug, Default)]
        pub(crate) struct Meter {
            $($(#[$doc])* pub(crate) $name: Count,)*
        }

        /// One reading of what the broker counted since it started.
        #[derive(Debug, Default, Clone, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
            /// Network connections that are open now, admitted or not.
            pub connections: u64,
            /// Sessions now, those of absent clients included.
            pub sessions: u64,
            /// Subscriptions now.
            pub subscriptions: u64,
            /// Retained messages now.
            pub retained: u64,
            /// Bytes that the retained messages take, topics and bookkeeping included.
            pub retained_bytes: u64,
            /// Bytes that wait in the queues of all sessions.
            pub queued_bytes: u64,
        }

        impl Meter {
            /// Reads every count; the values of the moment (connections, sessions, …) are zero
            /// until whoever knows them fills them in.
            pub(crate) fn read(&self) -> Counters {
                Counters { $($name: self.$name.get(),)* ..Counters::default() }
            }
        }
    };
}

counters! {
    /// Clients admitted (CONNACK 0).
    accepted,
    /// Connections closed because the limit of connections was reached.
    refused_full,
    /// CONNACK 1: not MQTT 3.1.1.
    refused_protocol,
    /// CONNACK 2: the client id is not acceptable.
    refused_identifier,
    /// CONNACK 3: the gatekeeper could not decide.
    refused_unavailable,
    /// CONNACK 4: wrong credentials.
    refused_credentials,
    /// CONNACK 5: known, but not allowed (also a will, or a client id of another principal).
    refused_not_authorized,
    /// TLS handshakes that failed or took too long.
    tls_failures,
    /// Connections that sent no CONNECT in time, or something else first.
    connect_failures,
    /// Messages taken from clients, wills included.
    publishes_in,
    /// Messages written to clients, repeats included.
    publishes_out,
    /// Payload bytes taken from clients.
    bytes_in,
    /// Payload bytes written to clients.
    bytes_out,
    /// Messages for one client that were not kept: queue full, or QoS 0 for an absent client.
    dropped,
    /// Connections closed because a QoS 1 message found the queue full.
    overruns,
    /// Publishes, wills included, without the right to the topic.
    denied_publishes,
    /// Subscriptions answered with 0x80.
    denied_subscriptions,
    /// How often a client had to wait because it published faster than its rate.
    throttled,
    /// Connections closed because of a packet that MQTT 3.1.1 or the limits forbid.
    protocol_errors,
    /// Connections closed because nothing came for 1.5 times the keep-alive.
    keep_alive_timeouts,
    /// Connections closed because the client did not take what was written.
    write_timeouts,
    /// Connections closed because the same client id connected again.
    takeovers,
    /// Wills published.
    wills,
    /// Retained messages that were passed on but not kept, because the store is full.
    retained_refused,
}

/// One count, which only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// One more.
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// `n` more.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_holds_what_was_counted() {
        let meter = Meter::default();
        meter.accepted.one();
        meter.bytes_in.add(41);
        meter.bytes_in.one();
        let counters = meter.read();
        assert_eq!(
            (counters.accepted, counters.bytes_in, counters.dropped),
            (1, 42, 0)
        );
    }
}
