//! Who is heard: held in memory only, since a heartbeat changes nothing while it comes.

use super::{Change, Fleet};
use crate::model::{Name, Presence as NodePresence};
use std::collections::BTreeMap;

/// After how long a node counts as what. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceSettings {
    /// Without anything heard: silent.
    pub silent_after_ms: u64,
    /// Without anything heard: offline.
    pub offline_after_ms: u64,
    /// After a start of the controller: before, nobody is declared anything for want of a sign.
    pub start_grace_ms: u64,
}

/// When each node was heard last, in milliseconds since the controller's start (monotonic).
#[derive(Debug)]
pub struct Presence {
    settings: PresenceSettings,
    heard: BTreeMap<Name, u64>,
}

impl Presence {
    /// Nobody was heard yet.
    pub fn new(settings: PresenceSettings) -> Presence {
        Presence {
            settings,
            heard: BTreeMap::new(),
        }
    }

    /// `node` gave a sign of life. The change that follows when it was silent.
    pub fn heard(&mut self, fleet: &Fleet, node: &Name, now: u64) -> Option<Change> {
        match self.heard.get_mut(node) {
            Some(at) => *at = now,
            None => {
                self.heard.insert(node.clone(), now);
            }
        }
        let record = fleet.node(node.as_str())?;
        (record.presence == NodePresence::Silent).then(|| Change::NodePresenceChanged {
            node: node.clone(),
            presence: NodePresence::Online,
            session: record.session,
            reason: String::new(),
        })
    }

    /// It was removed.
    pub fn forget(&mut self, node: &Name) {
        self.heard.remove(node);
    }

    /// What follows from nobody having said anything until `now`.
    pub fn due(&self, fleet: &Fleet, now: u64) -> Vec<Change> {
        let verdict = |(name, at): (&Name, u64)| {
            let record = fleet.node(name.as_str())?;
            let (presence, session) = (self.verdict(record.presence, at, now)?, record.session);
            let reason = format!(
                "nothing was heard of it for {} s",
                now.saturating_sub(at) / 1000
            );
            Some(Change::NodePresenceChanged {
                node: name.clone(),
                presence,
                session,
                reason,
            })
        };
        self.watched(fleet).filter_map(verdict).collect()
    }

    /// When [`Presence::due`] is worth asking again.
    pub fn next_deadline(&self, fleet: &Fleet) -> Option<u64> {
        self.watched(fleet)
            .filter_map(|(name, at)| {
                let limit = match fleet.node(name.as_str())?.presence {
                    NodePresence::Online => self.settings.silent_after_ms,
                    NodePresence::Silent => self.settings.offline_after_ms,
                    NodePresence::Offline => return None,
                };
                Some((at + limit).max(self.settings.start_grace_ms))
            })
            .min()
    }

    /// Nodes that are not offline, and when they were heard; not since the start: then.
    fn watched<'a>(&'a self, fleet: &'a Fleet) -> impl Iterator<Item = (&'a Name, u64)> {
        fleet
            .nodes()
            .filter(|(_, n)| n.presence != NodePresence::Offline)
            .map(|(name, _)| (name, self.heard.get(name).copied().unwrap_or(0)))
    }

    fn verdict(&self, is: NodePresence, heard: u64, now: u64) -> Option<NodePresence> {
        let quiet = now.saturating_sub(heard);
        if now < self.settings.start_grace_ms {
            None
        } else if is != NodePresence::Offline && quiet >= self.settings.offline_after_ms {
            Some(NodePresence::Offline)
        } else if is == NodePresence::Online && quiet >= self.settings.silent_after_ms {
            Some(NodePresence::Silent)
        } else {
            None
        }
    }
}
