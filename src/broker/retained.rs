//! The retained messages: the last one of each topic, in the order of topics, in memory. No I/O.
//!
//! After a restart of the broker they are gone; agents and the controller publish theirs again
//! whenever they connect. The store is bounded in number and bytes and refuses when full: losing
//! an old message silently would be worse than telling that a new one was not kept.

use super::filter;
use super::packet::Qos;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Bytes of bookkeeping per message, roughly.
const OVERHEAD: usize = 160;

/// The last retained message of each topic.
#[derive(Debug)]
pub struct RetainedStore {
    messages: BTreeMap<Bytes, Retained>,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
}

/// One retained message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// Never empty.
    pub payload: Bytes,
    /// As published.
    pub qos: Qos,
    /// Its place in the order of all messages.
    pub seq: u64,
}

/// What [`RetainedStore::set`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The message is the topic's last one now.
    Stored,
    /// The payload was empty: the topic has none now.
    Removed,
    /// There is no room; the topic's earlier message is gone too, since it is outdated.
    Refused,
}

/// A part of the store.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// Messages that match, in the order of topics.
    pub found: Vec<(Bytes, Retained)>,
    /// Where to go on; `None` at the end.
    pub after: Option<Bytes>,
}

/// How much of the store one [`Page`] may look at, so that nobody waits long for the lock.
#[derive(Debug, Clone, Copy)]
pub struct PageLimits {
    /// Messages found.
    pub messages: usize,
    /// Payload bytes found; passed by at most one message.
    pub bytes: usize,
    /// Messages looked at.
    pub looked_at: usize,
}

impl RetainedStore {
    /// An empty store with these bounds.
    pub fn new(max_messages: usize, max_bytes: usize) -> RetainedStore {
        RetainedStore {
            messages: BTreeMap::new(),
            bytes: 0,
            max_messages,
            max_bytes,
        }
    }

    /// Keeps a copy of a message, or forgets the topic's if the payload is empty.
    pub fn set(&mut self, topic: &[u8], payload: &[u8], qos: Qos, seq: u64) -> Kept {
        if let Some(old) = self.messages.get(topic) {
            self.bytes -= weight(topic, &old.payload);
            // Replacing in place keeps the topic's allocation.
            let fits = self.bytes + weight(topic, payload) <= self.max_bytes;
            if payload.is_empty() || !fits {
                self.messages.remove(topic);
                return if payload.is_empty() {
                    Kept::Removed
                } else {
                    Kept::Refused
                };
            }
        } else if payload.is_empty() {
            return Kept::Removed;
        } else if self.messages.len() >= self.max_messages
            || self.bytes + weight(topic, payload) > self.max_bytes
        {
            return Kept::Refused;
        }
        self.bytes += weight(topic, payload);
        // A copy of its own: the message that came in shares a buffer with its neighbours.
        let retained = Retained {
            payload: Bytes::copy_from_slice(payload),
            qos,
            seq,
        };
        match self.messages.get_mut(topic) {
            Some(place) => *place = retained,
            None => {
                self.messages
                    .insert(Bytes::copy_from_slice(topic), retained);
            }
        }
        Kept::Stored
    }

    /// The next messages after `after` whose topic matches `filter` and that are not younger than
    /// `as_of`.
    pub fn page(
        &self,
        filter: &str,
        after: Option<&Bytes>,
        as_of: u64,
        limits: PageLimits,
    ) -> Page {
        let prefix = filter::literal_prefix(filter).as_bytes();
        let start = match after {
            Some(topic) => Bound::Excluded(&topic[..]),
            None => Bound::Included(prefix),
        };
        let mut page = Page {
            found: Vec::new(),
            after: None,
        };
        let mut bytes = 0;
        let range = self.messages.range::<[u8], _>((start, Bound::Unbounded));
        for (looked_at, (topic, retained)) in range.enumerate() {
            // Without wildcards the first topic is the only one that can match.
            if !topic.starts_with(prefix) || (looked_at > 0 && !filter::is_wild(filter)) {
                return Page {
                    after: None,
                    ..page
                };
            }
            let matches = std::str::from_utf8(topic).is_ok_and(|t| filter::matches(filter, t));
            if matches && retained.seq <= as_of {
                bytes += retained.payload.len();
                page.found.push((topic.clone(), retained.clone()));
            }
            if page.found.len() >= limits.messages
                || bytes >= limits.bytes
                || looked_at + 1 >= limits.looked_at
            {
                page.after = Some(topic.clone());
                return page;
            }
        }
        page
    }

    /// How many messages there are.
    pub fn count(&self) -> usize {
        self.messages.len()
    }

    /// The bytes that they take, bookkeeping included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn weight(topic: &[u8], payload: &[u8]) -> usize {
    OVERHEAD + topic.len() + payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: PageLimits = PageLimits {
        messages: usize::MAX,
        bytes: usize::MAX,
        looked_at: usize::MAX,
    };

    fn store(topics: &[&str]) -> RetainedStore {
        let mut store = RetainedStore::new(1000, 1 << 20);
        for (seq, topic) in topics.iter().enumerate() {
            assert_eq!(
                store.set(topic.as_bytes(), b"x", Qos::AtMostOnce, seq as u64),
                Kept::Stored
            );
        }
        store
    }

    fn topics(page: &Page) -> Vec<&str> {
        page.found
            .iter()
            .map(|(topic, _)| std::str::from_utf8(topic).unwrap())
            .collect()
    }

    #[test]
    fn pages_hold_what_matches() {
        let store = store(&["a", "a/b", "a/b/c", "a/c", "ab", "b", "b/c"]);
        let find = |filter| store.page(filter, None, 99, ALL);
        assert_eq!(topics(&find("a/#")), ["a", "a/b", "a/b/c", "a/c"]);
        assert_eq!(topics(&find("a/+")), ["a/b", "a/c"]);
        assert_eq!(topics(&find("+/c")), ["a/c", "b/c"]);
        assert_eq!(topics(&find("a/b")), ["a/b"]);
        assert_eq!(topics(&find("a/x")), Vec::<&str>::new());
        assert_eq!(topics(&find("#")).len(), 7);
        assert_eq!(find("#").after, None);
        assert_eq!(topics(&store.page("#", None, 1, ALL)), ["a", "a/b"]);
    }

    #[test]
    fn pages_follow_each_other_without_gaps() {
        let names: Vec<String> = (0..100).map(|n| format!("k/{n:03}")).collect();
        let store = store(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let limits = PageLimits {
            messages: 7,
            bytes: usize::MAX,
            looked_at: 11,
        };
        let (mut seen, mut after) = (Vec::new(), None);
        for _ in 0..100 {
            let page = store.page("k/+", after.as_ref(), 99, limits);
            seen.extend(topics(&page).into_iter().map(str::to_owned));
            after = page.after;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, names);
    }

    #[test]
    fn an_empty_payload_forgets_and_everything_is_accounted_for() {
        let mut store = store(&["a", "b"]);
        assert_eq!(
            store.set(b"a", b"longer", Qos::AtLeastOnce, 9),
            Kept::Stored
        );
        assert_eq!(store.page("a", None, 9, ALL).found[0].1.payload, "longer");
        assert_eq!(store.set(b"a", b"", Qos::AtLeastOnce, 10), Kept::Removed);
        assert_eq!(store.set(b"a", b"", Qos::AtLeastOnce, 11), Kept::Removed);
        assert_eq!(store.set(b"b", b"", Qos::AtLeastOnce, 12), Kept::Removed);
        assert_eq!((store.count(), store.bytes()), (0, 0));
    }

    #[test]
    fn a_full_store_refuses() {
        let mut store = RetainedStore::new(1, 1000);
        assert_eq!(store.set(b"a", b"x", Qos::AtMostOnce, 1), Kept::Stored);
        assert_eq!(store.set(b"b", b"x", Qos::AtMostOnce, 2), Kept::Refused);
        assert_eq!(store.set(b"a", b"y", Qos::AtMostOnce, 3), Kept::Stored);
        assert_eq!(
            store.set(b"a", &[0; 2000], Qos::AtMostOnce, 4),
            Kept::Refused
        );
        assert_eq!((store.count(), store.bytes()), (0, 0));
    }
}
