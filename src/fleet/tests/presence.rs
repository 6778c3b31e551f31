//! Who is heard.

use super::{apply, enrolled, join, name, presence, refuse, three};
use crate::{
    fleet::{Change, Fleet, Presence, PresenceSettings, Refusal},
    model::{Name, Presence as State},
};

const SETTINGS: PresenceSettings = PresenceSettings {
    silent_after_ms: 15_000,
    offline_after_ms: 120_000,
    start_grace_ms: 30_000,
};

/// A fleet with its presence, and the clock since the controller's start.
struct Watch {
    fleet: Fleet,
    presence: Presence,
}

impl Watch {
    fn new(fleet: Fleet) -> Watch {
        let presence = Presence::new(SETTINGS);
        Watch { fleet, presence }
    }

    fn hear(&mut self, node: &str, now: u64) -> Option<Change> {
        let change = self.presence.heard(&self.fleet, &name(node), now);
        if let Some(change) = change.clone() {
            apply(&mut self.fleet, change);
        }
        change
    }

    /// Carries out what is due; who became what.
    fn due(&mut self, now: u64) -> Vec<(Name, State)> {
        let changes = self.presence.due(&self.fleet, now);
        let mut became = Vec::new();
        for change in changes {
            if let Change::NodePresenceChanged { node, presence, .. } = &change {
                became.push((node.clone(), *presence));
            }
            apply(&mut self.fleet, change);
        }
        became
    }

    fn state(&self, node: &str) -> State {
        self.fleet.node(node).unwrap().presence
    }
}

#[test]
fn a_node_that_says_nothing_becomes_silent_and_then_offline() {
    let mut watch = Watch::new(three());
    for node in ["a", "b", "c"] {
        assert_eq!(watch.hear(node, 40_000), None);
    }
    watch.hear("b", 50_000);
    assert!(watch.due(54_999).is_empty());
    assert_eq!(watch.presence.next_deadline(&watch.fleet), Some(55_000));
    let silent = |node| (name(node), State::Silent);
    assert_eq!(watch.due(55_000), [silent("a"), silent("c")]);
    assert!(watch.due(55_000).is_empty());
    assert_eq!(watch.presence.next_deadline(&watch.fleet), Some(65_000));
    watch.hear("b", 64_000);
    watch.hear("b", 155_000);
    let offline = |node| (name(node), State::Offline);
    assert!(watch.due(159_999).is_empty());
    assert_eq!(watch.due(160_000), [offline("a"), offline("c")]);
    let reason = &watch.fleet.node("a").unwrap().presence_reason;
    assert_eq!(reason, "nothing was heard of it for 120 s");
    assert_eq!(watch.state("b"), State::Online);
}

#[test]
fn nobody_is_declared_anything_before_the_grace_after_a_start_is_over() {
    let mut watch = Watch::new(three());
    assert!(watch.due(29_999).is_empty());
    assert_eq!(watch.presence.next_deadline(&watch.fleet), Some(30_000));
    watch.hear("b", 29_000);
    let silent = [(name("a"), State::Silent), (name("c"), State::Silent)];
    assert_eq!(watch.due(30_000), silent);
}

#[test]
fn a_silent_node_that_is_heard_again_is_online_in_the_same_session() {
    let mut watch = Watch::new(three());
    watch.hear("a", 31_000);
    watch.due(60_000);
    assert_eq!(watch.state("a"), State::Silent);
    let session = watch.fleet.node("a").unwrap().session;
    assert!(watch.hear("a", 61_000).is_some());
    assert_eq!(watch.state("a"), State::Online);
    assert_eq!(watch.fleet.node("a").unwrap().session, session);
    assert_eq!(watch.fleet.node("a").unwrap().presence_reason, "");
    assert_eq!(watch.hear("a", 62_000), None);
}

#[test]
fn a_node_that_is_offline_only_for_not_being_heard_comes_back_when_it_is() {
    let mut watch = Watch::new(three());
    watch.due(200_000);
    assert_eq!(watch.state("a"), State::Offline);
    assert!(watch.hear("a", 201_000).is_some());
    assert_eq!(watch.state("a"), State::Online);
}

#[test]
fn a_node_whose_session_ended_needs_a_new_session_to_be_online() {
    let mut watch = Watch::new(three());
    watch.hear("a", 1_000);
    apply(&mut watch.fleet, presence("a", State::Offline));
    assert_eq!(watch.hear("a", 2_000), None);
    assert_eq!(watch.state("a"), State::Offline);
    // Nor is anything due for it.
    let due = watch.due(500_000);
    assert!(due.iter().all(|(node, _)| node.as_str() != "a"), "{due:?}");
}

#[test]
fn who_is_revoked_or_unknown_or_forgotten_does_not_come_back_by_being_heard() {
    let mut watch = Watch::new(three());
    watch.due(200_000);
    let node = name("a");
    apply(&mut watch.fleet, Change::NodeRevoked { node });
    assert_eq!(watch.hear("a", 201_000), None);
    assert_eq!(watch.hear("nobody", 201_000), None);
    let node = name("b");
    apply(&mut watch.fleet, Change::NodeRemoved { node });
    watch.presence.forget(&name("b"));
    apply(&mut watch.fleet, enrolled("b", "another", true));
    assert_eq!(watch.hear("b", 202_000), None);
    join(&mut watch.fleet, "d");
    watch.hear("d", 300_000);
    assert!(watch.due(310_000).is_empty());
}

#[test]
fn everybody_was_heard_once_each_member_was() {
    let mut watch = Watch::new(three());
    for node in ["a", "b"] {
        watch.hear(node, 1_000);
    }
    assert!(!watch.presence.all_heard(&watch.fleet));
    watch.hear("c", 1_000);
    assert!(watch.presence.all_heard(&watch.fleet));
    assert!(Presence::new(SETTINGS).all_heard(&Fleet::new()));
}

#[test]
fn a_node_that_left_says_so_though_it_was_never_heard() {
    let mut fleet = Fleet::new();
    let mut http_node = enrolled("plc-1", "key", true);
    if let Change::NodeEnrolled { http, .. } = &mut http_node {
        *http = true;
    }
    apply(&mut fleet, http_node);
    let session = fleet.node("plc-1").unwrap().session;
    let leaves = Change::NodePresenceChanged {
        node: name("plc-1"),
        presence: State::Offline,
        session,
        reason: "it left".into(),
    };
    apply(&mut fleet, leaves.clone());
    let record = fleet.node("plc-1").unwrap();
    assert_eq!(record.presence, State::Offline);
    assert_eq!(record.presence_reason, "it left");
    // Once is enough: nothing is written a second time.
    assert_eq!(refuse(&mut fleet, leaves), Refusal::Unchanged);
}
