//! Whether what runs also works.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// How it is found out whether an instance works, and what follows when it does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// The question.
    pub check: HealthCheck,
    /// After its start, failures do not count for so long.
    pub start_period_ms: u64,
    /// From one answer to the next question.
    pub interval_ms: u64,
    /// An answer that takes longer is a failure.
    pub timeout_ms: u64,
    /// So many failures in a row make it unhealthy; at least one.
    pub retries: u32,
    /// What follows.
    pub on_unhealthy: OnUnhealthy,
}

impl Health {
    /// A check with the usual times: every 30 s, 5 s for an answer, three failures in a row.
    pub fn new(check: HealthCheck) -> Health {
        Health {
            check,
            start_period_ms: 0,
            interval_ms: 30_000,
            timeout_ms: 5_000,
            retries: 3,
            on_unhealthy: OnUnhealthy::Restart,
        }
    }
}

/// A question that an instance answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthCheck {
    /// `GET` of this address, from the node; 200 to 399 is well. `https` is not verified.
    Http(String),
    /// A connection to `host:port`, from the node.
    Tcp(String),
    /// A command in the container, or beside the process; exit code 0 is well.
    Exec(Vec<String>),
    /// The image's own HEALTHCHECK.
    Image,
    /// None, also where the image has one: it is healthy when it stays up.
    None,
}

/// What follows when an instance is unhealthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnhealthy {
    /// It is stopped and started again, by its restart delays.
    #[default]
    Restart,
    /// It is said, nothing more.
    Report,
}

/// What is known of an instance's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// It has not answered well yet, or not been up for long enough.
    Starting,
    /// It works.
    Healthy,
    /// It failed too often in a row.
    Unhealthy,
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        })
    }
}
