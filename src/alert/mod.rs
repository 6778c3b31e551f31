//! What is wrong in the fleet, and whom to tell: pure, deterministic, time comes in as data.
//!
//! The shell looks at the fleet every so often and makes an [`Observation`] of it. Each [`Rule`]
//! says what of it is bad; [`Alerts::observe`] counts, for each rule and each [`Subject`] (a node,
//! a workload on a node, a certificate, …), how often in a row:
//!
//! ```text
//!             a bad sample                `samples` bad ones in a row
//!       ok ───────────────────► pending ───────────────────────────────► firing
//!        ▲                         │                                       │
//!        ├───── a good sample ◄────┘                                       │
//!        │                                                                 │
//!        └───────────── resolved ◄── `samples` good ones in a row ─────────┤
//!                                 ◄── the subject is gone, or its rule ────┘
//! ```
//!
//! What is not known is no sample: it neither counts nor begins the count anew. A measured value is
//! a sample only once, when it was measured: a node that falls silent at 95 % is not measured again
//! and again. Of a value that must not exceed a limit, good is only what is a little below it. While
//! a node is lost, nothing is known of what is on it.
//!
//! That somebody silenced an alert is no state of it: it goes on as it would, and nobody is told.
//! Once the silence is over, those are told who were not. Its end is told to those who know of it.
//!
//! Everything is bounded: see [`MAX_ALIVE`] and [`MAX_RESOLVED`].

mod condition;
mod ending;
mod engine;
mod judge;
mod observation;
mod rule;
mod sentence;
mod silence;
mod stored;
mod subject;
#[cfg(test)]
mod tests;
mod view;

pub use condition::{Condition, Limit};
pub use engine::{Alerts, MAX_ALIVE, MAX_RESOLVED, Transition};
pub use observation::{
    CertificateSeen, InstanceSeen, JournalSeen, Measured, NodeSeen, Observation, RolloutSeen,
    ValueOf,
};
pub use rule::{MAX_SAMPLES, Rule, built_in, is_rule_name};
pub use silence::{MAX_COMMENT, Matcher, Silence, SilenceView};
pub use stored::StoredAlerts;
pub use subject::Subject;
pub use view::{AlertPlace, AlertState, AlertView, RuleView, SilencedBy};
