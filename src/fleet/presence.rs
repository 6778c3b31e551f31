//! Who is heard: held in memory only, since a heartbeat changes nothing while it comes.

use super::{Approval, Change, Fleet, NodeRecord};
use crate::{
    model::{Name, Presence as NodePresence},
    planted::{self, Bug},
};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Called offline only because nothing was heard of them: their session may still live.
    quiet: BTreeSet<Name>,
}

impl Presence {
    /// Nobody was heard yet.
    pub fn new(settings: PresenceSettings) -> Presence {
        Presence {
            settings,
            heard: BTreeMap::new(),
            quiet: BTreeSet::new(),
        }
    }

    /// `node` gave a sign of life. The change that follows when it was silent, or offline for no
    /// other reason than that nothing had been heard of it: a broker that was away for long does
    /// not make anybody begin a new session.
    pub fn heard(&mut self, fleet: &Fleet, node: &Name, now: u64) -> Option<Change> {
        match self.heard.get_mut(node) {
            Some(at) => *at = now,
            None => {
                self.heard.insert(node.clone(), now);
            }
        }
        let was_quiet = self.quiet.remove(node);
        let record = fleet.node(node.as_str())?;
        let back = match record.presence {
            NodePresence::Online => false,
            NodePresence::Silent => !planted::is(Bug::StaysSilent),
            NodePresence::Offline => was_quiet && record.approval == Approval::Approved,
        };
        back.then(|| Change::NodePresenceChanged {
            node: node.clone(),
            presence: NodePresence::Online,
            session: record.session,
            reason: String::new(),
        })
    }

    /// A session of `node` has begun: from now on it must be heard.
    pub fn began(&mut self, node: &Name, now: u64) {
        self.heard.insert(node.clone(), now);
        self.quiet.remove(node);
    }

    /// It was removed.
    pub fn forget(&mut self, node: &Name) {
        self.heard.remove(node);
        self.quiet.remove(node);
    }

    /// What follows from nobody having said anything until `now`.
    pub fn due(&mut self, fleet: &Fleet, now: u64) -> Vec<Change> {
        let mut quiet = Vec::new();
        let verdict = |(name, at): (&Name, u64)| {
            let record = fleet.node(name.as_str())?;
            let (presence, session) = (self.verdict(record.presence, at, now)?, record.session);
            if presence == NodePresence::Offline {
                quiet.push(name.clone());
            }
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
        let changes = self.watched(fleet).filter_map(verdict).collect();
        self.quiet.extend(quiet);
        changes
    }

    /// Every node that takes part, and is not given up for lost, was heard since the controller's
    /// start: what the fleet remembers of their presence is true.
    pub fn all_heard(&self, fleet: &Fleet) -> bool {
        let counts = |n: &NodeRecord| n.approval == Approval::Approved && !n.lost;
        fleet
            .nodes()
            .filter(|(_, n)| counts(n))
            .all(|(name, _)| self.heard.contains_key(name))
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
