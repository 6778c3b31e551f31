//! The embedded broker, from outside: raw sockets against a running one.
//!
//! | module | shows |
//! |---|---|
//! | `oasis` | the normative statements of MQTT 3.1.1 that apply to a server |
//! | `killers` | what stops a stock `rumqttd` does not stop this broker |
//! | `admission` | credentials, rights, disconnecting, TLS |
//! | `sessions` | takeover, wills, kept sessions |
//! | `retained` | retained messages, complete and in order |
//! | `bounds` | slow readers, fast publishers, large and malformed packets |

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod admission;
mod bounds;
mod client;
mod killers;
mod oasis;
mod retained;
mod sessions;
