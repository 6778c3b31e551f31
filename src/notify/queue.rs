//! What one receiver still has to be told, and when: decisions only, the time comes in.
//!
//! ```text
//!            push                 2 s after the first: take
//!  nothing ────────► waiting ─────────────────────────────► in flight
//!                    ▲  ▲                                   │   │  │
//!                    │  └──── Retry: later, and later ──────┘   │  └─ Refused ────────► failed
//!                    │           (24 h after it was said:       └──── Delivered ──────► delivered
//!                    │            failed)
//!                    └── a newer one of the same alert takes the place of the one that waits;
//!                        firing and resolved both waiting: neither is sent, unless the receiver
//!                        was told of the firing before
//! ```
//!
//! All of a receiver waits together: what cannot be brought now would fail for the others as well.

use super::{Notification, Occasion};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// The most notifications that wait for one receiver; the oldest are left out then.
pub const MAX_WAITING: usize = 1_000;
/// What comes within this time goes as one message.
pub const GROUP_MS: u64 = 2_000;
/// What could not be brought for so long is given up.
pub const GIVE_UP_MS: u64 = 24 * 60 * 60 * 1_000;
/// Before the second attempt; then twice as long each time.
const FIRST_RETRY_MS: u64 = 1_000;
/// The longest between two attempts.
const LAST_RETRY_MS: u64 = 5 * 60 * 1_000;
/// The longest that a receiver may make us wait.
pub const LONGEST_WISH_MS: u64 = 15 * 60 * 1_000;
/// The most alerts of which is remembered that the receiver knows them.
const MAX_TOLD: usize = 4_096;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// It may work later.
    Retry {
        /// Why not now, a sentence without secrets.
        error: String,
        /// The receiver wants to be left alone for so long.
        after_ms: Option<u64>,
        /// It may have arrived all the same.
        perhaps: bool,
    },
    /// It will never work.
    Refused {
        /// Why, a sentence without secrets.
        error: String,
    },
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// [`Queue::take`] now.
    Send,
    /// Nothing before this time.
    At(u64),
    /// Nothing until something is pushed or the flight is over.
    Idle,
}

/// How often something happened to a notification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Brought.
    pub delivered: u64,
    /// Given up.
    pub failed: u64,
    /// Left out because too many waited.
    pub dropped: u64,
}

/// What [`Queue::landed`] decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Landing {
    /// The next attempt is after so long.
    pub retry_in_ms: Option<u64>,
    /// So many were given up.
    pub gave_up: usize,
}

/// As it is kept over a restart. Times are ages, since the clock of a small board may jump.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// In the order of sending.
    #[serde(default)]
    pub waiting: Vec<StoredItem>,
    /// Alerts that the receiver knows to fire; the oldest first.
    #[serde(default)]
    pub told: Vec<String>,
}

/// One that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredItem {
    /// Itself.
    pub notification: Notification,
    /// How long it has waited, milliseconds.
    #[serde(default)]
    pub age_ms: u64,
}

#[derive(Debug, Clone)]
struct Item {
    notification: Notification,
    /// When it came; for one of an earlier process, when that was restored.
    since: u64,
    /// How long it had waited before.
    age_ms: u64,
}

impl Item {
    fn age(&self, now: u64) -> u64 {
        self.age_ms.saturating_add(now.saturating_sub(self.since))
    }

    fn id(&self) -> &str {
        &self.notification.id
    }

    fn is_over(&self) -> bool {
        self.notification.occasion == Occasion::Resolved
    }
}

/// What one receiver still has to be told.
#[derive(Debug, Clone)]
pub struct Queue {
    batch: usize,
    random: u64,
    waiting: VecDeque<Item>,
    flying: Vec<Item>,
    /// Alerts that the receiver knows to fire, with their place in the order of telling.
    told: BTreeMap<String, u64>,
    last_told: u64,
    /// When the first of those came that wait.
    group_from: u64,
    not_before: u64,
    failures: u32,
    hurried: bool,
    counts: Counts,
}

impl Queue {
    /// An empty one. At most `batch` go as one message; `seed` makes the jitter.
    pub fn new(batch: usize, seed: u64) -> Queue {
        Queue {
            batch: batch.clamp(1, MAX_WAITING),
            random: seed,
            waiting: VecDeque::new(),
            flying: Vec::new(),
            told: BTreeMap::new(),
            last_told: 0,
            group_from: 0,
            not_before: 0,
            failures: 0,
            hurried: false,
            counts: Counts::default(),
        }
    }

    /// Something new to tell. Returns what was left out for it.
    pub fn push(&mut self, now: u64, notification: Notification) -> Option<Notification> {
        if self.waiting.is_empty() {
            self.group_from = now;
        }
        let item = Item {
            notification,
            since: now,
            age_ms: 0,
        };
        if let Some(place) = self.place(item.id()) {
            self.supersede(place, item);
            return None;
        }
        let mut dropped = None;
        if self.waiting.len() + self.flying.len() >= MAX_WAITING {
            // While all of them are in flight, it is the new one that finds no place.
            self.counts.dropped += 1;
            dropped = self.waiting.pop_front().map(|item| item.notification);
            if dropped.is_none() {
                return Some(item.notification);
            }
        }
        self.waiting.push_back(item);
        dropped
    }

    /// What is to be done.
    pub fn next(&self, now: u64) -> Next {
        if self.waiting.is_empty() || !self.flying.is_empty() {
            return Next::Idle;
        }
        let together = if self.hurried || self.waiting.len() >= self.batch {
            0
        } else {
            self.group_from.saturating_add(GROUP_MS)
        };
        let at = together.max(self.not_before);
        if at <= now { Next::Send } else { Next::At(at) }
    }

    /// The next message: what is to be told now. Until [`Queue::landed`] there is no other.
    pub fn take(&mut self, now: u64) -> Vec<Notification> {
        if self.next(now) != Next::Send {
            return Vec::new();
        }
        let count = self.batch.min(self.waiting.len());
        self.flying = self.waiting.drain(..count).collect();
        self.flying
            .iter()
            .map(|item| item.notification.clone())
            .collect()
    }

    /// The attempt is over.
    pub fn landed(&mut self, now: u64, outcome: &Outcome) -> Landing {
        let flying = std::mem::take(&mut self.flying);
        let count = flying.len();
        match outcome {
            Outcome::Delivered => {
                self.calm();
                self.counts.delivered += count as u64;
                flying.iter().for_each(|item| self.tell(item));
                Landing::default()
            }
            Outcome::Refused { .. } => {
                self.calm();
                self.give_up(&flying);
                Landing {
                    retry_in_ms: None,
                    gave_up: count,
                }
            }
            Outcome::Retry {
                after_ms, perhaps, ..
            } => {
                if *perhaps {
                    let begun = flying.iter().filter(|item| !item.is_over());
                    begun.for_each(|item| self.tell(item));
                }
                let (old, still): (Vec<Item>, Vec<Item>) = flying
                    .into_iter()
                    .partition(|item| item.age(now) >= GIVE_UP_MS);
                self.give_up(&old);
                self.put_back(still);
                let delay = self.delay_ms(*after_ms);
                self.not_before = now.saturating_add(delay);
                Landing {
                    retry_in_ms: (!self.waiting.is_empty()).then_some(delay),
                    gave_up: old.len(),
                }
            }
        }
    }

    /// From now on nothing waits for others to go with it.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Attempts that failed since the last that did not.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How many are not brought yet.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.flying.len()
    }

    /// Everything is brought.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// As it is kept over a restart: what is in flight waits again then.
    pub fn stored(&self, now: u64) -> Stored {
        let all = self.flying.iter().chain(&self.waiting);
        let mut told: Vec<(&String, &u64)> = self.told.iter().collect();
        told.sort_by_key(|(_, order)| **order);
        Stored {
            waiting: all
                .map(|item| StoredItem {
                    notification: item.notification.clone(),
                    age_ms: item.age(now),
                })
                .collect(),
            told: told.into_iter().map(|(id, _)| id.clone()).collect(),
        }
    }

    /// Takes up what an earlier process left.
    pub fn restore(&mut self, now: u64, stored: Stored) {
        for id in stored.told {
            self.remember(&id);
        }
        self.group_from = now;
        for item in stored.waiting.into_iter().take(MAX_WAITING) {
            let item = Item {
                notification: item.notification,
                since: now,
                age_ms: item.age_ms,
            };
            match self.place(item.id()) {
                _ if item.age_ms >= GIVE_UP_MS => self.counts.failed += 1,
                // Of what was in flight, nobody knows whether it arrived: its end is told.
                Some(place) => self.waiting[place] = item,
                None => self.waiting.push_back(item),
            }
        }
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.waiting.iter().position(|item| item.id() == id)
    }

    /// `newer` takes the place of the one at `place`, of the same alert.
    fn supersede(&mut self, place: usize, mut newer: Item) {
        let in_flight = self.flying.iter().any(|item| item.id() == newer.id());
        let known = in_flight || self.told.contains_key(newer.id());
        let Some(older) = self.waiting.get_mut(place) else {
            return;
        };
        if newer.is_over() && !older.is_over() && !known {
            self.waiting.remove(place);
            return;
        }
        // A receiver that was never told of the beginning is told of that.
        let (before, after) = (older.notification.occasion, newer.notification.occasion);
        if after == Occasion::Repeated && before != Occasion::Resolved {
            newer.notification.occasion = before;
        }
        *older = newer;
    }

    /// What flew in vain waits again, before the others; where each goes alone, behind them, so
    /// that one that always fails does not stand in the way.
    fn put_back(&mut self, mut items: Vec<Item>) {
        if self.batch > 1 {
            items.reverse();
        }
        for item in items {
            match self.place(item.id()) {
                Some(place) => {
                    let newer = std::mem::replace(&mut self.waiting[place], item);
                    self.supersede(place, newer);
                }
                None if self.batch > 1 => self.waiting.push_front(item),
                None => self.waiting.push_back(item),
            }
        }
    }

    fn calm(&mut self) {
        self.failures = 0;
        self.not_before = 0;
    }

    fn tell(&mut self, item: &Item) {
        match item.notification.occasion {
            Occasion::Resolved => {
                self.told.remove(item.id());
            }
            Occasion::Test => {}
            _ => self.remember(item.id()),
        }
    }

    fn remember(&mut self, id: &str) {
        self.last_told += 1;
        self.told.insert(id.to_owned(), self.last_told);
        if self.told.len() > MAX_TOLD {
            let first = self.told.iter().min_by_key(|(_, order)| **order);
            if let Some(id) = first.map(|(id, _)| id.clone()) {
                self.told.remove(&id);
            }
        }
    }

    /// These are not brought; nor is the end of what the receiver never heard of.
    fn give_up(&mut self, items: &[Item]) {
        self.counts.failed += items.len() as u64;
        for item in items.iter().filter(|item| !item.is_over()) {
            if let Some(place) = self.place(item.id())
                && self.waiting[place].is_over()
                && !self.told.contains_key(item.id())
            {
                self.waiting.remove(place);
            }
        }
    }

    /// 1 s, 2 s, 4 s … 5 min, each up to a quarter shorter; or what the receiver wants.
    fn delay_ms(&mut self, wish: Option<u64>) -> u64 {
        let base = FIRST_RETRY_MS
            .checked_shl(self.failures.min(20))
            .unwrap_or(LAST_RETRY_MS)
            .min(LAST_RETRY_MS);
        self.failures = self.failures.saturating_add(1);
        let delay = base - splitmix(&mut self.random) % (base / 4 + 1);
        delay.max(wish.unwrap_or(0).min(LONGEST_WISH_MS))
    }
}

/// The next number of a small generator (SplitMix64).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
