//! The columns of each list, and the rows made of what the controller said.

use super::{
    news::{AlertView, Kind},
    table::{Cell, Column, Row, Tone},
    text::plain,
};
use crate::{
    controller::NumberedEvent,
    fleet::{InstanceView, NodeView, RolloutPhase, WorkloadView},
    http::RolloutView,
    model::{Desired, InstanceState, Presence},
};

const fn column(head: &'static str, max: u16, rank: u8) -> Column {
    Column { head, max, rank }
}

/// The last one takes what room is left.
const NODES: &[Column] = &[
    column("NAME", 32, 0),
    column("STATE", 10, 0),
    column("SINCE", 5, 2),
    column("INST", 7, 1),
    column("CPU", 11, 1),
    column("MEM", 11, 1),
    column("DISK", 11, 3),
    column("TEMP", 6, 4),
    column("ARCH", 8, 5),
    column("LABELS", u16::MAX, 6),
];
const INSTANCES: &[Column] = &[
    column("WORKLOAD", 28, 0),
    column("NODE", 28, 0),
    column("STATE", 12, 0),
    column("RUNTIME", 8, 4),
    column("VERSION", 16, 3),
    column("RESTARTS", 8, 2),
    column("SINCE", 5, 1),
    column("REASON", u16::MAX, 5),
];
const WORKLOADS: &[Column] = &[
    column("NAME", 28, 0),
    column("STATE", 10, 0),
    column("RUNNING", 9, 0),
    column("VERSION", 18, 1),
    column("APPLIED", 7, 2),
    column("ROLLOUT", u16::MAX, 3),
];
const ROLLOUTS: &[Column] = &[
    column("WORKLOAD", 28, 0),
    column("PHASE", 18, 0),
    column("HEALTHY", 9, 0),
    column("FAILED", 6, 3),
    column("FROM", 16, 4),
    column("TO", 16, 1),
    column("STARTED", 7, 2),
    column("REASON", u16::MAX, 5),
];
const ALERTS: &[Column] = &[
    column("SEVERITY", 8, 0),
    column("STATE", 9, 0),
    column("SINCE", 5, 1),
    column("ABOUT", 36, 2),
    column("RULE", 18, 4),
    column("MESSAGE", u16::MAX, 3),
];
const EVENTS: &[Column] = &[
    column("TIME", 8, 1),
    column("EVENT", 28, 0),
    column("MESSAGE", u16::MAX, 2),
];

impl Kind {
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Kind::Nodes => NODES,
            Kind::Instances => INSTANCES,
            Kind::Workloads => WORKLOADS,
            Kind::Rollouts => ROLLOUTS,
            Kind::Alerts => ALERTS,
            Kind::Events => EVENTS,
        }
    }
}

pub(super) fn node(n: &NodeView) -> Row {
    let heard = n.state == Presence::Online;
    let (mut state, mut tone) = match n.state {
        Presence::Online => ("online".to_owned(), Tone::Good),
        Presence::Silent => ("silent".to_owned(), Tone::Warn),
        Presence::Offline => ("offline".to_owned(), Tone::Bad),
    };
    if heard && n.drain.is_some() {
        (state, tone) = ("drained".into(), Tone::Warn);
    } else if heard && n.cordoned {
        (state, tone) = ("cordoned".into(), Tone::Warn);
    }
    // What was measured before it was lost says nothing about now.
    let beat = n.heartbeat.as_ref().filter(|_| heard);
    let running = Some(n.running as u64).filter(|_| heard);
    let labels: Vec<String> = n.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let labels = labels.join(",");
    let arch = n.facts.as_ref().map_or("", |f| f.arch.as_str());
    let cells = vec![
        Cell::Text(plain(n.name.as_str())),
        Cell::State(state, tone),
        Cell::Since(n.since_ms),
        Cell::Ratio(running, n.instances as u64, 0),
        Cell::Percent(beat.map(|h| h.cpu)),
        Cell::Percent(beat.map(|h| h.memory)),
        Cell::Percent(beat.map(|h| h.disk)),
        Cell::Degrees(beat.and_then(|h| h.temperature)),
        Cell::Text(plain(arch)),
        Cell::Text(plain(&labels)),
    ];
    Row {
        node: Some(n.name.clone()),
        cordoned: n.cordoned,
        ..Row::new(n.name.to_string(), cells, &n.reason)
    }
}

pub(super) fn instance(i: &InstanceView) -> Row {
    let tone = match i.state {
        InstanceState::Unknown | InstanceState::Stopped => Tone::Dim,
        state if state.is_well() => Tone::Good,
        state if state.is_bad() => Tone::Bad,
        _ => Tone::Warn,
    };
    let state = match (i.state, i.progress) {
        (InstanceState::Pulling, Some(percent)) => format!("pulling {percent}%"),
        (state, _) => state.to_string(),
    };
    let reason = match (&i.moving, i.reason.as_str()) {
        (Some(moving), "") => moving.as_str(),
        (_, reason) => reason,
    };
    let on = i.node.as_ref().map_or("-", |n| n.as_str());
    let cells = vec![
        Cell::Text(plain(i.workload.as_str())),
        Cell::Text(plain(on)),
        Cell::State(state, tone),
        Cell::Text(plain(&i.runtime)),
        Cell::Text(plain(&i.version)),
        Cell::Number(u64::from(i.restarts)),
        Cell::Since(i.since_ms),
        Cell::Text(plain(reason)),
    ];
    Row {
        node: i.node.clone(),
        workload: Some(i.workload.clone()),
        ..Row::new(format!("{}@{on}", i.workload), cells, "")
    }
}

/// `scheduled`: how many of its instances wait for their time.
pub(super) fn workload(w: &WorkloadView, scheduled: usize) -> Row {
    // As counted at another moment than the workload.
    let scheduled = scheduled.min(w.running);
    let running = w.running - scheduled;
    let stopped = w.desired == Desired::Stopped;
    let (state, tone) = match () {
        () if stopped => ("stopped", Tone::Dim),
        () if w.running >= w.wanted && running == 0 && scheduled > 0 => ("scheduled", Tone::Plain),
        () if w.running >= w.wanted => ("running", Tone::Good),
        () if w.missing > 0 => ("waiting", Tone::Warn),
        () => ("partly", Tone::Warn),
    };
    let rollout = w.rollout.as_ref().map_or(String::new(), |r| {
        let phase = crate::cli::rollout::phase_text(r.phase);
        format!("{phase} {}/{} {}", r.healthy, r.nodes, r.reason)
    });
    let cells = vec![
        Cell::Text(plain(w.name.as_str())),
        Cell::State(state.into(), tone),
        Cell::Ratio(Some(running as u64), w.wanted as u64, scheduled as u64),
        Cell::Text(plain(&w.version)),
        Cell::Since(w.applied_ms),
        Cell::Text(plain(&rollout)),
    ];
    Row {
        workload: Some(w.name.clone()),
        ..Row::new(w.name.to_string(), cells, "")
    }
}

pub(super) fn rollout(r: &RolloutView) -> Row {
    let phase = crate::cli::rollout::phase_text(r.rollout.phase);
    let tone = match r.rollout.phase {
        _ if r.active && r.rollout.paused => Tone::Warn,
        RolloutPhase::Succeeded => Tone::Good,
        RolloutPhase::RolledBack | RolloutPhase::RollingBack | RolloutPhase::Failed => Tone::Bad,
        RolloutPhase::Aborted | RolloutPhase::Superseded => Tone::Dim,
        _ => Tone::Warn,
    };
    let phase = match r.active && r.rollout.paused {
        true => format!("{phase}, held"),
        false => phase.to_owned(),
    };
    let cells = vec![
        Cell::Text(plain(r.workload.as_str())),
        Cell::State(phase, tone),
        Cell::Ratio(Some(r.healthy as u64), r.nodes as u64, 0),
        Cell::Number(r.failed as u64),
        Cell::Text(plain(&r.from_version)),
        Cell::Text(plain(&r.version)),
        Cell::Since(r.rollout.started_ms),
        Cell::Text(plain(&r.rollout.reason)),
    ];
    Row {
        workload: Some(r.workload.clone()),
        ..Row::new(r.workload.to_string(), cells, "")
    }
}

pub(super) fn alert(a: &AlertView) -> Row {
    let tone = match (a.state.as_str(), a.severity.as_str()) {
        ("resolved" | "silenced", _) => Tone::Dim,
        (_, "critical") => Tone::Bad,
        (_, "warning") => Tone::Warn,
        _ => Tone::Plain,
    };
    let about: Vec<&str> = [&a.subject.workload, &a.subject.node]
        .into_iter()
        .flatten()
        .map(|n| n.as_str())
        .collect();
    let cells = vec![
        Cell::Severity(plain(&a.severity), tone),
        Cell::State(plain(&a.state), tone),
        Cell::Since(a.since_ms),
        Cell::Text(plain(&about.join(" on "))),
        Cell::Text(plain(&a.rule)),
        Cell::Text(plain(&a.message)),
    ];
    Row {
        node: a.subject.node.clone(),
        workload: a.subject.workload.clone(),
        ..Row::new(a.id.clone(), cells, "")
    }
}

pub(super) fn event(e: &NumberedEvent) -> Row {
    let event = &e.event;
    let cells = vec![
        Cell::Clock(event.at),
        Cell::State(plain(&event.event), tone_of(&event.event)),
        Cell::Text(plain(&event.message)),
    ];
    Row {
        node: event.node.clone(),
        workload: event.workload.clone(),
        ..Row::new(e.id.to_string(), cells, "")
    }
}

/// How a kind of event is to be taken, by its name: new kinds need no list here.
pub(in crate::cli) fn tone_of(event: &str) -> Tone {
    let has = |words: &[&str]| words.iter().any(|w| event.contains(w));
    if has(&["resolved", "recovered"]) {
        Tone::Good
    } else if has(&[
        "fail",
        "offline",
        "lost",
        "crash",
        "refused",
        "damaged",
        "full",
        "revoked",
        "firing",
        "rolled_back",
        "unhealthy",
        "error",
        "not_stored",
        "dropped",
    ]) {
        Tone::Bad
    } else if has(&[
        "silent",
        "stopp",
        "removed",
        "backoff",
        "rolling_back",
        "paused",
        "drain",
        "cordon",
        "aborted",
        "superseded",
        "missed",
        "warn",
        "exited",
        "left",
    ]) {
        Tone::Warn
    } else if has(&[
        "online",
        "running",
        "joined",
        "healthy",
        "succeeded",
        "approved",
        "completed",
    ]) {
        Tone::Good
    } else {
        Tone::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_colour_of_what_it_tells() {
        assert_eq!(tone_of("node_online"), Tone::Good);
        assert_eq!(tone_of("node_offline"), Tone::Bad);
        assert_eq!(tone_of("instance_unhealthy"), Tone::Bad);
        assert_eq!(tone_of("alert_resolved"), Tone::Good);
        assert_eq!(tone_of("node_silent"), Tone::Warn);
        assert_eq!(tone_of("workload_applied"), Tone::Plain);
    }

    #[test]
    fn an_alert_is_read_also_where_a_controller_says_less() {
        let json = r#"{"id":"disk.pi-3","severity":"critical","subject":{"node":"pi-3"},"new":1}"#;
        let alert: AlertView = serde_json::from_str(json).unwrap();
        let row = super::alert(&alert);
        assert_eq!(row.cells[0], Cell::Severity("critical".into(), Tone::Bad));
        assert_eq!(row.node.unwrap().as_str(), "pi-3");
    }

    #[test]
    fn of_a_node_that_is_not_heard_nobody_knows_what_runs() {
        let view = |state: &str| -> NodeView {
            serde_json::from_value(serde_json::json!({
                "name": "pi-1", "state": state, "since_ms": 0, "approval": "approved",
                "labels": {}, "facts": null, "engines": [], "generation": 1,
                "observed_generation": 1, "instances": 2, "running": 1, "key": "",
                "joined_ms": 0, "heartbeat": null,
            }))
            .unwrap()
        };
        assert_eq!(node(&view("online")).cells[3], Cell::Ratio(Some(1), 2, 0));
        for state in ["silent", "offline"] {
            let cell = &node(&view(state)).cells[3];
            assert_eq!(super::super::draw_page::shown(cell, 0).0, "?/2");
        }
    }

    #[test]
    fn a_workload_of_which_all_waits_for_its_time_is_scheduled() {
        let state = |running: usize, wanted: usize, scheduled: usize| {
            let spec = serde_json::json!({
                "name": "job", "type": "service", "version": "1", "stop_timeout_ms": 1_000,
                "run": {"process": {"command": ["/bin/true"]}},
            });
            let view: WorkloadView = serde_json::from_value(serde_json::json!({
                "name": "job", "version": "1", "desired": "running", "wanted": wanted,
                "running": running, "missing": 0, "revision": 1, "applied_ms": 0,
                "spec": spec, "reasons": {},
            }))
            .unwrap();
            let row = workload(&view, scheduled);
            let text = |at: usize| super::super::draw_page::shown(&row.cells[at], 0).0;
            format!("{} {}", text(1), text(2))
        };
        assert_eq!(state(1, 1, 1), "scheduled 0/1");
        assert_eq!(state(2, 2, 1), "running 1/2");
        assert_eq!(state(1, 1, 0), "running 1/1");
        assert_eq!(state(1, 2, 1), "partly 0/2");
        assert_eq!(state(0, 1, 5), "partly 0/1", "as counted at another moment");
    }
}
