//! Families of alerts and of their delivery.

use super::text::{Text, Type};
use crate::{alert::AlertState, controller::Controller, notify::Severity};

/// Writes them.
pub(super) fn write(c: &Controller, text: &mut Text) {
    let counts = c.alert_counts();
    let help = "Alerts, by severity and state; none that is over.";
    let mut family = text.family(Type::Gauge, "fleetctl_alerts", help);
    for (severity, word) in [
        (Severity::Info, "info"),
        (Severity::Warning, "warning"),
        (Severity::Critical, "critical"),
    ] {
        let states = AlertState::ALL.into_iter();
        for state in states.filter(|s| *s != AlertState::Resolved) {
            let count = counts.get(&(severity, state)).copied().unwrap_or(0);
            let labels = [("severity", word), ("state", state.as_str())];
            family.sample(&labels, count as f64);
        }
    }
    let receivers = c.alerts.receivers();
    let help = "Notifications, by receiver and what came of them.";
    let mut family = text.family(Type::Counter, "fleetctl_notifications_total", help);
    for r in &receivers {
        for (outcome, count) in [
            ("delivered", r.delivered),
            ("failed", r.failed),
            ("dropped", r.dropped),
        ] {
            let labels = [("receiver", r.name.as_str()), ("outcome", outcome)];
            family.sample(&labels, count as f64);
        }
    }
    let help = "Notifications that were not brought yet.";
    let mut family = text.family(Type::Gauge, "fleetctl_notifications_waiting", help);
    for r in &receivers {
        family.sample(&[("receiver", r.name.as_str())], r.waiting as f64);
    }
}
