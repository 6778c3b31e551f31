//! Which sessions want a topic: the index of all subscriptions.
//!
//! A filter without wildcards lives in one hash map, so that dispatching `fleet/assignment/n1`
//! costs one look-up however many nodes there are. A filter with wildcards lives in a tree of
//! levels. Both forget what is no longer wanted.

use super::filter;
use super::packet::Qos;
use std::collections::HashMap;

/// A session's number.
pub type Key = u64;

/// All subscriptions of all sessions.
#[derive(Debug, Default)]
pub struct SubscriptionIndex {
    exact: HashMap<Box<str>, Vec<(Key, Qos)>>,
    wild: Level,
    count: usize,
}

/// One level of the tree of filters with wildcards.
#[derive(Debug, Default)]
struct Level {
    children: HashMap<Box<str>, Level>,
    any: Option<Box<Level>>,
    /// Filters that end here.
    here: Vec<(Key, Qos)>,
    /// Filters that end here with `#`.
    below: Vec<(Key, Qos)>,
}

impl SubscriptionIndex {
    /// Adds a subscription, or changes the QoS of an existing one.
    pub fn insert(&mut self, filter: &str, key: Key, qos: Qos) {
        let added = if filter::is_wild(filter) {
            let mut level = &mut self.wild;
            let mut below = false;
            for name in filter.split('/') {
                match name {
                    "#" => below = true,
                    "+" => level = level.any.get_or_insert_default().as_mut(),
                    name => level = level.children.entry(name.into()).or_default(),
                }
            }
            put(
                if below {
                    &mut level.below
                } else {
                    &mut level.here
                },
                key,
                qos,
            )
        } else {
            put(self.exact.entry(filter.into()).or_default(), key, qos)
        };
        self.count += usize::from(added);
    }

    /// Removes a subscription; nothing happens when there is none.
    pub fn remove(&mut self, filter: &str, key: Key) {
        let removed = if filter::is_wild(filter) {
            self.wild.remove(&mut filter.split('/'), key)
        } else if let Some(subscribers) = self.exact.get_mut(filter) {
            let removed = take(subscribers, key);
            if subscribers.is_empty() {
                self.exact.remove(filter);
            }
            removed
        } else {
            false
        };
        self.count -= usize::from(removed);
    }

    /// Who wants `topic`: each session once, with the highest QoS of its filters that match.
    pub fn matching(&self, topic: &str) -> Vec<(Key, Qos)> {
        let mut found = match self.exact.get(topic) {
            Some(subscribers) => subscribers.clone(),
            None => Vec::new(),
        };
        if !self.wild.is_empty() {
            self.wild
                .collect(topic.split('/'), !topic.starts_with('$'), &mut found);
        }
        if found.len() > 1 {
            found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
            found.dedup_by_key(|entry| entry.0);
        }
        found
    }

    /// How many subscriptions there are.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Level {
    fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.any.is_none()
            && self.here.is_empty()
            && self.below.is_empty()
    }

    /// Removes a key and, on the way back, every level that nobody needs any more.
    fn remove(&mut self, names: &mut std::str::Split<'_, char>, key: Key) -> bool {
        match names.next() {
            None => take(&mut self.here, key),
            Some("#") => take(&mut self.below, key),
            Some("+") => {
                let Some(next) = &mut self.any else {
                    return false;
                };
                let removed = next.remove(names, key);
                if next.is_empty() {
                    self.any = None;
                }
                removed
            }
            Some(name) => {
                let Some(next) = self.children.get_mut(name) else {
                    return false;
                };
                let removed = next.remove(names, key);
                if next.is_empty() {
                    self.children.remove(name);
                }
                removed
            }
        }
    }

    /// `wildcards`: whether wildcards count on this level (not on the first one of a `$` topic).
    fn collect(
        &self,
        mut names: std::str::Split<'_, char>,
        wildcards: bool,
        found: &mut Vec<(Key, Qos)>,
    ) {
        if wildcards {
            found.extend_from_slice(&self.below);
        }
        let Some(name) = names.next() else {
            found.extend_from_slice(&self.here);
            return;
        };
        if let Some(next) = self.children.get(name) {
            next.collect(names.clone(), true, found);
        }
        if wildcards && let Some(next) = &self.any {
            next.collect(names, true, found);
        }
    }
}

/// Returns whether the key is new.
fn put(subscribers: &mut Vec<(Key, Qos)>, key: Key, qos: Qos) -> bool {
    match subscribers.iter_mut().find(|entry| entry.0 == key) {
        Some(entry) => {
            entry.1 = qos;
            false
        }
        None => {
            subscribers.push((key, qos));
            true
        }
    }
}

/// Returns whether the key was there.
fn take(subscribers: &mut Vec<(Key, Qos)>, key: Key) -> bool {
    match subscribers.iter().position(|entry| entry.0 == key) {
        Some(at) => {
            subscribers.swap_remove(at);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Qos::{AtLeastOnce, AtMostOnce};
    use proptest::prelude::*;

    #[test]
    fn a_session_is_found_once_with_its_highest_qos() {
        let mut index = SubscriptionIndex::default();
        index.insert("a/b", 1, AtMostOnce);
        index.insert("a/+", 1, AtLeastOnce);
        index.insert("#", 1, AtMostOnce);
        index.insert("a/#", 2, AtMostOnce);
        assert_eq!(
            index.matching("a/b"),
            vec![(1, AtLeastOnce), (2, AtMostOnce)]
        );
        assert_eq!(index.matching("a"), vec![(1, AtMostOnce), (2, AtMostOnce)]);
        assert_eq!(index.matching("$SYS/b"), vec![]);
        assert_eq!(index.count(), 4);
    }

    #[test]
    fn subscribing_again_changes_the_qos() {
        let mut index = SubscriptionIndex::default();
        index.insert("a/+", 7, AtMostOnce);
        index.insert("a/+", 7, AtLeastOnce);
        assert_eq!(index.matching("a/x"), vec![(7, AtLeastOnce)]);
        assert_eq!(index.count(), 1);
    }

    #[test]
    fn nothing_stays_behind() {
        let mut index = SubscriptionIndex::default();
        let filters = ["a/b/c", "a/+/c", "+/+/#", "#", "a/#"];
        for filter in filters {
            index.insert(filter, 1, AtMostOnce);
        }
        for filter in filters {
            index.remove(filter, 1);
            index.remove(filter, 1);
        }
        assert_eq!(index.count(), 0);
        assert!(index.exact.is_empty());
        assert!(index.wild.is_empty());
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(
            filters in prop::collection::vec("(\\$?[ab+]/){0,3}[ab+#]", 1..8),
            topic in "\\$?([ab]/){0,3}[ab]",
        ) {
            let filters: Vec<_> =
                filters.into_iter().filter(|one| filter::valid_filter(one, 64)).collect();
            let mut index = SubscriptionIndex::default();
            for (key, one) in filters.iter().enumerate() {
                index.insert(one, key as u64, AtMostOnce);
            }
            let expected: Vec<_> = filters
                .iter()
                .enumerate()
                .filter(|(_, one)| filter::matches(one, &topic))
                .map(|(key, _)| (key as u64, AtMostOnce))
                .collect();
            prop_assert_eq!(index.matching(&topic), expected);
        }
    }
}
