//! The MQTT client session of agents and of the controller.
//!
//! One task polls the client's event loop and does nothing else; another keeps the outbox. Each
//! connect starts from nothing: new event loop, new password, new last will, another address where
//! there are several. What was sent at QoS 1 and not acknowledged is sent again on the next
//! connection, in order; what is retained is not, since its owner announces everything anew.
//!
//! Between tries it waits with full jitter (Brooker, "Exponential Backoff And Jitter", 2015):
//! a random time up to a limit that doubles from 1 s to `reconnect_max`, so that a thousand agents
//! whose broker comes back do not come at once.

/// Bytes of a packet that a client takes. Far above what the contract allows: a foreign broker may
/// keep a message that is too large, and that must cost one refusal, not the connection at every
/// try.
pub const MAX_INCOMING: usize = 16 << 20;

mod endpoint;
mod session;

pub use endpoint::{Endpoint, EndpointError};
pub use session::{
    Login, LoginSource, Outgoing, Publisher, Receipt, SessionEvent, SessionSettings, spawn,
};
