//! What the screen is told, and what it asks for: the border between the pure model and whoever
//! talks to the controller.

use crate::{
    controller::{NodeHistory, NumberedEvent},
    fleet::{InstanceView, NodeView, WorkloadView},
    http::RolloutView,
    model::{LogLine, Name, UnixMs},
};
use serde::{Deserialize, Serialize};

/// One of the lists that a controller has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Nodes,
    Instances,
    Workloads,
    Rollouts,
    Alerts,
    Events,
}

impl Kind {
    /// In the order of their keys, 1 to 6.
    pub(super) const ALL: [Kind; 6] = [
        Kind::Nodes,
        Kind::Instances,
        Kind::Workloads,
        Kind::Rollouts,
        Kind::Alerts,
        Kind::Events,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Kind::Nodes => "Nodes",
            Kind::Instances => "Instances",
            Kind::Workloads => "Workloads",
            Kind::Rollouts => "Rollouts",
            Kind::Alerts => "Alerts",
            Kind::Events => "Events",
        }
    }

    /// Its number among all.
    pub(super) fn number(self) -> usize {
        Kind::ALL.iter().position(|k| *k == self).unwrap_or(0)
    }
}

/// An alert; read leniently, since a controller of another version may say more or less.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct AlertView {
    pub(super) id: String,
    pub(super) rule: String,
    pub(super) severity: String,
    pub(super) subject: Subject,
    pub(super) message: String,
    pub(super) state: String,
    pub(super) since_ms: UnixMs,
}

/// What an alert is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Subject {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) workload: Option<Name>,
}

/// Whom one is connected to, and as whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hello {
    /// Version of the controller.
    pub(super) version: String,
    /// The role may change something.
    pub(super) may_change: bool,
}

/// Something that came.
#[derive(Debug)]
pub(super) enum News {
    Hello(Hello),
    /// An answer came: the controller is there.
    Heard,
    Nodes(Vec<NodeView>),
    Instances(Vec<InstanceView>),
    Workloads(Vec<WorkloadView>),
    Rollouts(Vec<RolloutView>),
    /// `None`: this controller knows no alerts.
    Alerts(Option<Vec<AlertView>>),
    Events(Vec<NumberedEvent>),
    /// Of one node. `None`: there is no such node any more.
    Node(Name, Option<Box<(NodeView, NodeHistory)>>),
    /// Lines of the log with this number.
    Log(u64, Vec<LogLine>),
    /// Something about its lines, such as that there are no more.
    LogNote(u64, String),
    /// The controller does not answer, or refuses: why.
    Lost(String),
    /// How an action ended.
    Done(Result<String, String>),
}

/// What is looked at, so that only that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Need {
    /// Beside nodes, which are always.
    pub(super) kinds: Vec<Kind>,
    pub(super) node: Option<Name>,
    /// Of which instance the log is shown: workload, node, and the number of this look at it.
    pub(super) log: Option<(Name, Name, u64)>,
}

/// Something to be done, once confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action {
    /// As a question without its mark: `restart web on all its nodes`.
    pub(super) what: String,
    /// What is said when it is done.
    pub(super) done: String,
    /// Where it is ordered by `POST`.
    pub(super) path: String,
    /// The body.
    pub(super) body: Option<serde_json::Value>,
}

/// What a key leads to outside of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L: something else has written over the screen.
    Repaint,
    Act(Action),
}

/// A key, whatever terminal it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Ctrl(char),
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Esc,
    Tab,
    BackTab,
    Backspace,
}
