//! What goes wrong by intention: one task looks a few times a second how many nodes and instances
//! it is to meet, and chooses them by chance.
//!
//! ```text
//!  Well ── churn ──► CutOff ──┐
//!    │                        ├── its while is over, or all is to be calm ──► Well
//!    └──── freeze ─► Frozen ──┘
//! ```

use super::{dice::Dice, node::VirtualNode, profile::Profile, tally::Tally};
use crate::{agent::Fate, support::Shutdown};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::{self, MissedTickBehavior};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Choices that are made anew, where the one that was chosen is away already.
const TRIES: usize = 16;

/// Makes things go wrong.
pub(super) struct Weather {
    profile: Arc<Profile>,
    nodes: Arc<[Arc<VirtualNode>]>,
    tally: Arc<Tally>,
    dice: Dice,
    /// Nodes that are away, and until when.
    away: BTreeMap<usize, Instant>,
}

impl Weather {
    pub(super) fn new(
        profile: Arc<Profile>,
        nodes: Arc<[Arc<VirtualNode>]>,
        tally: Arc<Tally>,
    ) -> Weather {
        let dice = Dice::new(profile.seed, u64::MAX);
        Weather {
            profile,
            nodes,
            tally,
            dice,
            away: BTreeMap::new(),
        }
    }

    /// Until all is to be calm; every node is well then.
    pub(super) async fn run(mut self, calm: Shutdown) {
        let mut looks = time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        loop {
            tokio::select! {
                () = calm.wait() => break,
                _ = looks.tick() => {}
            }
            let now = Instant::now();
            self.look(now, now.duration_since(last));
            last = now;
        }
        self.tally.calm.store(true, Ordering::Relaxed);
        for at in std::mem::take(&mut self.away).into_keys() {
            self.nodes[at].fate.send_replace(Fate::Well);
        }
    }

    /// What happens within `passed`.
    fn look(&mut self, now: Instant, passed: Duration) {
        let back: Vec<usize> = self.due(now);
        for at in back {
            self.away.remove(&at);
            self.nodes[at].fate.send_replace(Fate::Well);
        }
        let ms = passed.as_secs_f64() * 1_000.0;
        let here = self.nodes.len() - self.away.len();
        let Profile { churn, freeze, .. } = *self.profile;
        let cut_off = self.dice.about(churn.expected(here, ms));
        let frozen = self.dice.about(freeze.expected(here, ms));
        for (fate, count) in [(Fate::CutOff, cut_off), (Fate::Frozen, frozen)] {
            for _ in 0..count {
                self.strike(now, fate);
            }
        }
        self.crash(ms);
    }

    fn due(&self, now: Instant) -> Vec<usize> {
        let over = self.away.iter().filter(|(_, until)| **until <= now);
        over.map(|(at, _)| *at).collect()
    }

    /// One node meets `fate`; one that never was in the fleet cannot leave it.
    fn strike(&mut self, now: Instant, fate: Fate) {
        for _ in 0..TRIES {
            let at = self.dice.below(self.nodes.len() as u64) as usize;
            if self.away.contains_key(&at) || !self.nodes[at].has_joined() {
                continue;
            }
            let until = now + self.dice.within(self.profile.away);
            self.away.insert(at, until);
            self.nodes[at].fate.send_replace(fate);
            match fate {
                Fate::Frozen => self.tally.faults.frozen.add(),
                _ => self.tally.faults.cut_off.add(),
            }
            return;
        }
    }

    /// Some of all instances end: each is as likely as any other.
    fn crash(&mut self, ms: f64) {
        if self.profile.crash == Default::default() {
            return;
        }
        let runtimes = || self.nodes.iter().flat_map(|n| &n.runtimes);
        let running: usize = runtimes().map(|r| r.running()).sum();
        for _ in 0..self.dice.about(self.profile.crash.expected(running, ms)) {
            let mut nth = self.dice.below(running as u64) as usize;
            for runtime in self.nodes.iter().flat_map(|n| &n.runtimes) {
                let here = runtime.running();
                if nth < here {
                    runtime.crash(nth);
                    break;
                }
                nth -= here;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::{Body, Note},
        simulate::{
            profile::{Rate, Span},
            tests::profile,
        },
    };

    fn weather(churn: &str, freeze: &str) -> Weather {
        let mut profile = profile(100);
        profile.churn = Rate::parse(churn).unwrap();
        profile.freeze = Rate::parse(freeze).unwrap();
        profile.away = Span::parse("10s").unwrap();
        let profile = Arc::new(profile);
        let tally = Arc::new(Tally::default());
        let node = |index: usize| {
            let name = profile.name(index as u32).parse().unwrap();
            let node = VirtualNode::new(name, index, &profile, Vec::new(), tally.clone());
            node.noted(Note::Connected);
            Arc::new(node)
        };
        let nodes: Vec<Arc<VirtualNode>> = (0..100).map(node).collect();
        Weather::new(profile.clone(), nodes.into(), tally)
    }

    fn fates(weather: &Weather, fate: Fate) -> usize {
        let nodes = weather.nodes.iter();
        nodes.filter(|n| *n.fate.borrow() == fate).count()
    }

    #[test]
    fn nodes_go_and_come_back_when_their_while_is_over() {
        let mut weather = weather("10%/min", "5%/min");
        let begin = Instant::now();
        weather.look(begin, Duration::from_secs(60));
        assert_eq!(fates(&weather, Fate::CutOff), 10);
        assert_eq!(fates(&weather, Fate::Frozen), 5);
        let told = weather.tally.faults.get();
        assert_eq!((told.cut_off, told.frozen), (10, 5));
        weather.look(begin + Duration::from_secs(9), Duration::ZERO);
        assert_eq!(fates(&weather, Fate::Well), 85);
        weather.look(begin + Duration::from_secs(10), Duration::ZERO);
        assert_eq!(fates(&weather, Fate::Well), 100);
    }

    #[test]
    fn nobody_is_struck_who_is_away_or_not_in_the_fleet() {
        let mut weather = weather("100%/s", "0%/s");
        let begin = Instant::now();
        weather.look(begin, Duration::from_secs(1));
        weather.look(begin, Duration::from_secs(1));
        let struck = weather.tally.faults.get().cut_off;
        assert_eq!(struck, fates(&weather, Fate::CutOff) as u64);
    }

    #[tokio::test]
    async fn when_all_is_to_be_calm_everybody_comes_back() {
        let mut weather = weather("50%/min", "10%/min");
        weather.look(Instant::now(), Duration::from_secs(60));
        let (nodes, tally) = (weather.nodes.clone(), weather.tally.clone());
        assert!(nodes.iter().any(|n| *n.fate.borrow() != Fate::Well));
        let calm = Shutdown::new();
        calm.trigger();
        weather.run(calm).await;
        assert!(tally.is_calm());
        assert!(nodes.iter().all(|n| *n.fate.borrow() == Fate::Well));
    }
}
