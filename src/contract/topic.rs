//! Topics: the kind first, the node second.

use crate::model::Name;
use std::sync::Arc;

/// What a topic carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // the table in the module's doc says what each is
pub enum Kind {
    Metadata,
    Status,
    State,
    Cfg,
    Heartbeat,
    Telemetry,
    Logs,
    Stream,
    Result,
    Event,
    Assignment,
    Command,
    Enroll,
    Welcome,
    Access,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 15] = [
        Kind::Metadata,
        Kind::Status,
        Kind::State,
        Kind::Cfg,
        Kind::Heartbeat,
        Kind::Telemetry,
        Kind::Logs,
        Kind::Stream,
        Kind::Result,
        Kind::Event,
        Kind::Assignment,
        Kind::Command,
        Kind::Enroll,
        Kind::Welcome,
        Kind::Access,
    ];

    /// The word in the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Metadata => "metadata",
            Kind::Status => "status",
            Kind::State => "state",
            Kind::Cfg => "cfg",
            Kind::Heartbeat => "heartbeat",
            Kind::Telemetry => "telemetry",
            Kind::Logs => "logs",
            Kind::Stream => "stream",
            Kind::Result => "result",
            Kind::Event => "event",
            Kind::Assignment => "assignment",
            Kind::Command => "command",
            Kind::Enroll => "enroll",
            Kind::Welcome => "welcome",
            Kind::Access => "access",
        }
    }

    /// An agent sends it (the controller sends the others).
    pub fn from_agent(self) -> bool {
        !matches!(
            self,
            Kind::Assignment | Kind::Command | Kind::Welcome | Kind::Access
        )
    }

    /// It is kept by the broker for whoever subscribes later.
    pub fn retained(self) -> bool {
        use Kind::*;
        matches!(self, Metadata | Status | State | Cfg | Assignment | Access)
    }

    /// 0 or 1.
    pub fn qos(self) -> u8 {
        if matches!(self, Kind::Heartbeat | Kind::Telemetry) {
            0
        } else {
            1
        }
    }

    /// Bytes that a reader takes of it: much less than a message may have, where much less is
    /// plenty, since what is taken is kept.
    pub fn max_payload(self) -> usize {
        use Kind::*;
        match self {
            Heartbeat | Status | Enroll | Welcome => 8 * 1024,
            Cfg | Event | Telemetry => 16 * 1024,
            Metadata | Stream => 64 * 1024,
            Result => 256 * 1024,
            State | Logs | Assignment | Command | Access => super::MAX_PAYLOAD,
        }
    }

    /// The topic has a third level: the metric or the instance.
    fn has_detail(self) -> bool {
        matches!(self, Kind::Telemetry | Kind::Logs | Kind::Stream)
    }
}

/// A topic taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// What it carries.
    pub kind: Kind,
    /// Whose; `None` only for [`Kind::Access`].
    pub node: Option<Name>,
    /// The metric or instance of `telemetry` and `logs`.
    pub detail: Option<Name>,
}

/// Makes and reads the topics below one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    prefix: Arc<str>,
}

impl Topics {
    /// `prefix` without a slash at its end; empty gives the bare topics.
    pub fn new(prefix: &str) -> Topics {
        Topics {
            prefix: prefix.into(),
        }
    }

    /// The prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn below(&self, rest: std::fmt::Arguments<'_>) -> String {
        if self.prefix.is_empty() {
            rest.to_string()
        } else {
            format!("{}/{rest}", self.prefix)
        }
    }

    /// `{p}/{kind}/{node}`.
    pub fn of(&self, kind: Kind, node: &Name) -> String {
        self.below(format_args!("{}/{node}", kind.as_str()))
    }

    /// `{p}/{kind}/{node}/{detail}`.
    pub fn detailed(&self, kind: Kind, node: &Name, detail: &Name) -> String {
        self.below(format_args!("{}/{node}/{detail}", kind.as_str()))
    }

    /// `{p}/access`.
    pub fn access(&self) -> String {
        self.below(format_args!("access"))
    }

    /// A filter for `kind` of every node.
    pub fn every(&self, kind: Kind) -> String {
        let tail = if kind.has_detail() { "+/+" } else { "+" };
        self.below(format_args!("{}/{tail}", kind.as_str()))
    }

    /// A filter for `kind` of one node.
    pub fn filter(&self, kind: Kind, node: &Name) -> String {
        let tail = if kind.has_detail() { "/+" } else { "" };
        self.below(format_args!("{}/{node}{tail}", kind.as_str()))
    }

    /// `None` for a topic that is not of the contract.
    pub fn parse(&self, topic: &str) -> Option<Topic> {
        let rest = match &*self.prefix {
            "" => topic,
            prefix => topic.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        let mut levels = rest.split('/');
        let word = levels.next()?;
        let kind = Kind::ALL.into_iter().find(|k| k.as_str() == word)?;
        let node = levels.next().map(str::parse).transpose().ok()?;
        let detail = levels.next().map(str::parse).transpose().ok()?;
        let complete = node.is_some() != (kind == Kind::Access)
            && detail.is_some() == kind.has_detail()
            && levels.next().is_none();
        complete.then_some(Topic { kind, node, detail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_as_they_are_made() {
        let (n, d): (Name, Name) = ("pi-1".parse().unwrap(), "web".parse().unwrap());
        for prefix in ["fleet", "", "site/a"] {
            let topics = Topics::new(prefix);
            for kind in Kind::ALL {
                let text = match kind {
                    Kind::Access => topics.access(),
                    k if k.has_detail() => topics.detailed(k, &n, &d),
                    k => topics.of(k, &n),
                };
                let back = topics.parse(&text).unwrap_or_else(|| panic!("{text}"));
                assert_eq!(back.kind, kind);
                assert_eq!(back.node.is_some(), kind != Kind::Access);
            }
        }
    }

    #[test]
    fn other_topics_are_not_ours() {
        let topics = Topics::new("fleet");
        for t in [
            "",
            "fleet",
            "fleet/",
            "fleet/status",
            "fleet/status/",
            "fleet/status/A",
            "fleet/x/n",
            "fleet/status/n/x",
            "fleet/logs/n",
            "fleet/logs/n/",
            "other/status/n",
            "fleet/access/n",
            "fleetx/status/n",
            "fleet//status/n",
            "fleet/logs/n/a/b",
        ] {
            assert_eq!(topics.parse(t), None, "{t}");
        }
    }
}
