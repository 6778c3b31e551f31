//! What goes on by itself: rollouts, moves, lost nodes. Decided upon whenever something is
//! reported, and when [`Fleet::next_deadline`] has come.

use super::{Effect, Fleet, Refusal, rollout::News};
use crate::{
    model::{Name, UnixMs},
    planted::{self, Bug},
};
use std::collections::BTreeSet;

impl Fleet {
    /// Decides anew for the rollouts and moves of `names`.
    pub(super) fn advance(&mut self, names: &BTreeSet<Name>, at: UnixMs) -> Vec<Effect> {
        self.advance_for(names, News::All, at)
    }

    fn advance_for(&mut self, names: &BTreeSet<Name>, news: News<'_>, at: UnixMs) -> Vec<Effect> {
        let mut touched = BTreeSet::new();
        let mut effects = self.advance_all(names, news, at, &mut touched);
        effects.extend(self.reassign(&touched));
        effects
    }

    /// The same, for somebody who has more to tell the nodes that it touches.
    pub(super) fn advance_all(
        &mut self,
        names: &BTreeSet<Name>,
        news: News<'_>,
        at: UnixMs,
        touched: &mut BTreeSet<Name>,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for name in names {
            effects.extend(self.advance_rollout(name, news, at, touched));
            effects.extend(self.advance_moves(name, at, touched));
            let goes_on = self.workloads.get(name).is_some_and(|w| w.goes_on());
            if goes_on {
                self.active.insert(name.clone());
            } else if self.active.remove(name) {
                // What waited for it to end may leave its node now.
                self.arm_retry(at);
            }
        }
        effects
    }

    /// The same for what is on one node, or may be.
    pub(super) fn advance_on(&mut self, node: &Name, at: UnixMs) -> Vec<Effect> {
        let concerned = |name: &&Name| {
            self.workloads.get(*name).is_some_and(|w| {
                w.placed.contains(node)
                    || w.moves.contains_key(node)
                    || w.rollout
                        .as_ref()
                        .is_some_and(|r| r.steps.contains_key(node))
            })
        };
        let names = self.active.iter().filter(concerned).cloned().collect();
        self.advance_for(&names, News::Of(node), at)
    }

    /// When [`super::Change::TimePassed`] is due, on the controller's clock.
    pub fn next_deadline(&self) -> Option<UnixMs> {
        let active = self.active.iter();
        active
            .flat_map(|name| [self.rollout_deadline(name), self.moves_deadline(name)])
            .filter(|_| !planted::is(Bug::ForgetsDeadlines))
            .chain([self.nodes_deadline()])
            .flatten()
            .min()
    }

    pub(super) fn time_passed(&mut self, at: UnixMs) -> Result<Vec<Effect>, Refusal> {
        if self.next_deadline().is_none_or(|due| due > at) {
            return Err(Refusal::Unchanged);
        }
        let mut effects = self.nodes_in_time(at);
        let names = self.active.clone();
        effects.extend(self.advance_for(&names, News::Time, at));
        Ok(effects)
    }
}
