//! Which answers are kept when there are more than anybody honest gives, and in which order they
//! are tried.
//!
//! Nobody can be told from a liar before a connection, so a liar must not gain by saying more than
//! others: who answers more often than others loses answers first, and answers go in rounds, one of
//! each sender. Among equals a number decides that is another one at each look and that nobody
//! outside knows: no name, address or speed keeps an answer out of look after look.

use super::Found;
use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    net::Ipv4Addr,
};

/// Answers that are kept.
const MAX_FOUND: usize = 64;
/// Of one sender: whoever answers for many is not believed more than others.
const MAX_PER_SENDER: usize = 4;

/// The answers of one look.
#[derive(Debug)]
pub(super) struct Kept {
    /// What decides among equals.
    turn: u64,
    found: Vec<Found>,
}

impl Kept {
    pub(super) fn new(turn: u64) -> Kept {
        Kept {
            turn,
            found: Vec::new(),
        }
    }

    /// Keeps an answer; what is too many then goes.
    pub(super) fn take(&mut self, new: Found) {
        if self.found.contains(&new) {
            return;
        }
        let sender = new.address;
        self.found.push(new);
        if self.of(sender) > MAX_PER_SENDER {
            self.drop_one(sender);
        }
        if self.found.len() > MAX_FOUND
            && let Some(most) = self.loudest()
        {
            self.drop_one(most);
        }
    }

    fn of(&self, sender: Ipv4Addr) -> usize {
        self.found.iter().filter(|f| f.address == sender).count()
    }

    /// Whoever has the most answers here.
    fn loudest(&self) -> Option<Ipv4Addr> {
        let mut counts: BTreeMap<Ipv4Addr, usize> = BTreeMap::new();
        for one in &self.found {
            *counts.entry(one.address).or_default() += 1;
        }
        let all = counts.into_iter();
        let most = all.max_by_key(|(sender, n)| (*n, rank(self.turn, sender), *sender));
        most.map(|(sender, _)| sender)
    }

    fn drop_one(&mut self, sender: Ipv4Addr) {
        let all = self.found.iter().enumerate();
        let last = all
            .filter(|(_, f)| f.address == sender)
            .max_by_key(|(_, f)| rank(self.turn, f));
        if let Some((at, _)) = last {
            self.found.swap_remove(at);
        }
    }

    /// By name, as people read it.
    pub(super) fn by_name(mut self) -> Vec<Found> {
        self.found.sort();
        self.found
    }

    /// One of each sender, then a second of each that has one, and so on.
    pub(super) fn in_turn(self) -> Vec<Found> {
        let turn = self.turn;
        let mut found = self.found;
        found.sort_by_cached_key(|f| rank(turn, f));
        let mut rounds: BTreeMap<Ipv4Addr, usize> = BTreeMap::new();
        let mut placed: Vec<(usize, u64, Found)> = Vec::new();
        for one in found {
            let round = rounds.entry(one.address).or_default();
            placed.push((*round, rank(turn, &one.address), one));
            *round += 1;
        }
        placed.sort();
        placed.into_iter().map(|(_, _, one)| one).collect()
    }
}

/// A place among others, another one at each look.
fn rank(turn: u64, of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    turn.hash(&mut hasher);
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, sender: u32, port: u16) -> Found {
        Found {
            name: name.into(),
            address: Ipv4Addr::from_bits(sender),
            other: None,
            port,
            fleet: "f".into(),
            version: "1".into(),
            tls: true,
        }
    }

    const REAL: u32 = 0xff00_0001;

    fn is_real(one: &Found) -> bool {
        one.address == Ipv4Addr::from_bits(REAL)
    }

    /// Liars that are quicker, louder, and come first by name and address; then the real one.
    fn lies(turn: u64, senders: u32, names: u32) -> Kept {
        let mut kept = Kept::new(turn);
        for sender in 0..senders {
            for n in 0..names {
                kept.take(found(&format!("!evil{n}"), sender, 1));
            }
        }
        kept.take(found("lab", REAL, 8883));
        kept
    }

    #[test]
    fn a_sender_of_thousands_of_answers_is_taken_for_a_few() {
        let kept = lies(7, 1, 5_000);
        assert_eq!(kept.found.len(), MAX_PER_SENDER + 1);
        let many = lies(7, 5_000, 1).found.len();
        assert_eq!(many, MAX_FOUND);
    }

    #[test]
    fn twenty_liars_with_four_names_each_do_not_push_the_real_one_out_of_the_first_round() {
        for turn in 0..200 {
            let all = lies(turn, 20, 4).in_turn();
            assert_eq!(all.len(), MAX_FOUND);
            let at = all.iter().position(is_real).expect("kept");
            assert!(at <= 20, "turn {turn}: it is number {at}");
            let mut first: Vec<Ipv4Addr> = all[..21].iter().map(|f| f.address).collect();
            first.sort();
            first.dedup();
            assert_eq!(first.len(), 21, "one of each sender before a second of any");
        }
    }

    #[test]
    fn the_order_turns_from_look_to_look_so_that_each_answer_comes_first_some_day() {
        let first = |turn| lies(turn, 20, 4).in_turn().into_iter().next();
        let real = (0..1_000).filter(|turn| first(*turn).is_some_and(|f| is_real(&f)));
        let real = real.count();
        assert!((10..200).contains(&real), "{real} of 1000 looks");
        assert_eq!(lies(3, 20, 4).in_turn(), lies(3, 20, 4).in_turn());
    }

    #[test]
    fn more_liars_than_answers_are_kept_do_not_keep_the_real_one_out_of_every_look() {
        let seen = (0..200).filter(|turn| lies(*turn, 253, 1).found.iter().any(is_real));
        let seen = seen.count();
        assert!((20..100).contains(&seen), "{seen} of 200 looks");
        // Nor with its own address on the lies.
        let seen = (0..200).filter(|turn| {
            let mut kept = Kept::new(*turn);
            for port in 1..20 {
                kept.take(found("!evil", REAL, port));
            }
            kept.take(found("lab", REAL, 8883));
            kept.found.iter().any(|f| f.port == 8883)
        });
        let seen = seen.count();
        assert!((15..90).contains(&seen), "{seen} of 200 looks");
    }
}
