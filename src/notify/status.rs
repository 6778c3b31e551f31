//! How the delivery to one receiver goes, for the API.

use crate::model::{Name, UnixMs};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the delivery to one receiver goes. Counts are of notifications since the controller
/// started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiverStatus {
    /// Its name in the configuration.
    #[schema(value_type = String)]
    pub name: Name,
    /// `webhook`, `slack`, `discord`, `ntfy`, `pagerduty` or `smtp`.
    pub kind: String,
    /// Brought.
    pub delivered: u64,
    /// Given up: refused for good, or too old.
    pub failed: u64,
    /// Left out because too many waited.
    pub dropped: u64,
    /// Not brought yet.
    pub waiting: u64,
    /// Why the last attempt failed; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When the last attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<UnixMs>,
}
