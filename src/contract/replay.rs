//! Refusal of duplicates and replays.

use super::Seq;
use std::collections::BTreeMap;

/// What a sequence number says about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Newer than all before on its topic.
    Fresh,
    /// The very same message again, as a broker delivers a retained one: no error, no effect.
    Again,
    /// Older than one that was seen, or another message under a number that was used.
    Stale,
    /// The sender uses more topics than anybody needs.
    TooManyTopics,
}

/// Topics of one sender that are remembered.
pub const MAX_TOPICS_PER_SENDER: usize = 2_048;

/// Remembers, per sender and topic, the newest sequence number.
#[derive(Debug, Default)]
pub struct ReplayGuard {
    senders: BTreeMap<String, Sender>,
}

#[derive(Debug, Default)]
struct Sender {
    /// No message of an earlier start is taken, whatever its topic.
    least_start: u64,
    topics: BTreeMap<String, (Seq, u64)>,
}

impl ReplayGuard {
    /// A guard that has seen nothing.
    pub fn new() -> ReplayGuard {
        ReplayGuard::default()
    }

    /// Refuses what `from` sent before its start number `start`: what outlives a restart of the
    /// reader.
    pub fn require_start(&mut self, from: &str, start: u64) {
        let sender = self.senders.entry(from.to_owned()).or_default();
        sender.least_start = sender.least_start.max(start);
    }

    /// Forgets a sender that was removed.
    pub fn forget(&mut self, from: &str) {
        self.senders.remove(from);
    }

    /// Judges a message whose signature was verified, and remembers it when it is fresh.
    pub fn judge(&mut self, from: &str, topic: &str, seq: Seq, payload: &[u8]) -> Freshness {
        let print = fingerprint(payload);
        if !self.senders.contains_key(from) {
            self.senders.insert(from.to_owned(), Sender::default());
        }
        let Some(sender) = self.senders.get_mut(from) else {
            return Freshness::Stale;
        };
        if seq.start < sender.least_start {
            return Freshness::Stale;
        }
        let known = sender.topics.len();
        match sender.topics.get_mut(topic) {
            Some(last) if seq > last.0 => *last = (seq, print),
            Some(last) if *last == (seq, print) => return Freshness::Again,
            Some(_) => return Freshness::Stale,
            None if known >= MAX_TOPICS_PER_SENDER => return Freshness::TooManyTopics,
            None => {
                sender.topics.insert(topic.to_owned(), (seq, print));
            }
        }
        Freshness::Fresh
    }
}

/// FNV-1a, 64 bit. Only tells a repetition from another message that was signed under the same
/// number by mistake; forging is what the signature is for.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seq(start: u64, count: u64) -> Seq {
        Seq { start, count }
    }

    #[test]
    fn only_newer_messages_count() {
        let mut g = ReplayGuard::new();
        assert_eq!(g.judge("n", "t", seq(1, 5), b"a"), Freshness::Fresh);
        assert_eq!(g.judge("n", "t", seq(1, 5), b"a"), Freshness::Again);
        assert_eq!(g.judge("n", "t", seq(1, 5), b"b"), Freshness::Stale);
        assert_eq!(g.judge("n", "t", seq(1, 4), b"a"), Freshness::Stale);
        assert_eq!(g.judge("n", "other", seq(1, 4), b"a"), Freshness::Fresh);
        assert_eq!(g.judge("m", "t", seq(1, 1), b"a"), Freshness::Fresh);
        assert_eq!(g.judge("n", "t", seq(2, 0), b"a"), Freshness::Fresh);
        assert_eq!(g.judge("n", "t", seq(1, 900), b"a"), Freshness::Stale);
    }

    #[test]
    fn an_earlier_start_is_refused_on_every_topic() {
        let mut g = ReplayGuard::new();
        g.require_start("n", 7);
        assert_eq!(g.judge("n", "t", seq(6, 999), b""), Freshness::Stale);
        assert_eq!(g.judge("n", "t", seq(7, 0), b""), Freshness::Fresh);
    }

    #[test]
    fn topics_of_a_sender_are_bounded() {
        let mut g = ReplayGuard::new();
        for i in 0..MAX_TOPICS_PER_SENDER {
            assert_eq!(
                g.judge("n", &format!("t{i}"), seq(1, i as u64), b""),
                Freshness::Fresh
            );
        }
        assert_eq!(
            g.judge("n", "more", seq(1, 1 << 40), b""),
            Freshness::TooManyTopics
        );
        assert_eq!(g.judge("m", "more", seq(1, 1), b""), Freshness::Fresh);
    }

    proptest! {
        #[test]
        fn what_is_accepted_on_a_topic_only_grows(seqs in prop::collection::vec((0u64..4, 0u64..20), 0..60)) {
            let mut g = ReplayGuard::new();
            let mut last = None;
            for (s, c) in seqs {
                let s = seq(s, c);
                if g.judge("n", "t", s, &c.to_le_bytes()) == Freshness::Fresh {
                    prop_assert!(last.is_none_or(|l| s > l));
                    last = Some(s);
                }
            }
        }
    }
}
