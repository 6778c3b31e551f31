//! Telling people: what [`crate::alert`] found is brought to receivers (webhooks, e-mail).
//!
//! ```text
//! Notification ─► Notifier::send ─► Queue ─► render ─► Request ─► post (HTTP) or mail (SMTP)
//!                                     ▲ pure    pure                 │
//!                                     └────────── Outcome ◄──────────┘
//! ```
//!
//! | file | what |
//! |---|---|
//! | `receiver`, `secret` | who is told, as the configuration says it |
//! | `text`, `render` | PURE: what is said, escaped for each service |
//! | [`queue`] | PURE: what waits, goes together, is tried again or given up |
//! | `notifier`, `outbox` | the tasks, and the file that outlives them |
//! | `flood` | PURE: how often something is logged |
//! | `deliver`, `post`, `mail`, `trust`, `bounded` | one attempt: HTTP, SMTP, TLS, and its bounds |
//!
//! Nothing here can hold up the controller: [`Notifier::send`] only puts into a bounded queue,
//! and every receiver has a task of its own.

mod bounded;
mod deliver;
mod flood;
mod mail;
mod notifier;
mod outbox;
mod post;
pub mod queue;
mod receiver;
mod render;
mod secret;
mod status;
mod text;
mod trust;

pub use mail::address_flaw;
pub use notifier::Notifier;
pub use post::url_flaw;
pub use receiver::{Kind, MailTls, Receiver, Smtp};
pub use render::{RenderError, Request, SIGNATURE, render};
pub use secret::{HIDDEN, MAX_SECRET, Secret, SecretError};
pub use status::ReceiverStatus;

use crate::model::{Name, UnixMs};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How bad something is.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Should be looked at.
    #[default]
    Warning,
    /// Must be looked at now.
    Critical,
}

/// Why a notification is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// An alert has begun.
    Firing,
    /// It still fires, and was told a while ago.
    Repeated,
    /// It still fires, and nobody has silenced it: told to the next ones.
    Escalated,
    /// It is over.
    Resolved,
    /// Somebody tries a receiver.
    Test,
}

/// One thing to tell one receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notification {
    /// Of the alert: rule and subject, the same for all notifications of it.
    pub id: String,
    /// Which rule.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// Why it is sent.
    pub occasion: Occasion,
    /// About which node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub node: Option<Name>,
    /// About which workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub workload: Option<Name>,
    /// One sentence; may hold anything that a node says: not to be trusted as markup.
    pub message: String,
    /// When it began.
    pub since_ms: UnixMs,
    /// When this was said.
    pub at_ms: UnixMs,
}
