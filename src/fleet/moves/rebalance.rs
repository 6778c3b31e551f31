//! Moves that make the load more even: planned without changing anything, then made as moves.
//!
//! From the fullest node to the emptiest, as long as they differ by more than the threshold. Each
//! planned move makes the fuller of its two nodes less full than the fuller was before, so that
//! planning ends and never makes it worse. What is not known to work well where it is, or was moved
//! lately, stays.

use super::{MoveWhy, PlannedMove, RebalanceBounds, RebalancePlan, room::Room, stays::old_first};
use crate::{
    fleet::{Approval, Effect, Fleet, Refusal, WorkloadRecord},
    model::{HealthStatus, Name, Presence, Run, TraceContext, UnixMs},
};
use std::collections::{BTreeMap, BTreeSet};

/// Moves of one plan, whatever its bounds say.
const MAX_MOVES: usize = 1_000;
/// Sentences about what stays.
const MAX_KEPT: usize = 20;
/// Emptier nodes that are asked whether they could take one instance.
const MAX_ASKED: usize = 16;

impl Fleet {
    /// These moves are to be made.
    pub(in crate::fleet) fn rebalance(
        &mut self,
        moves: &[PlannedMove],
        trace: Option<TraceContext>,
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        if moves.len() > MAX_MOVES {
            let message = format!("a fleet is rebalanced by at most {MAX_MOVES} moves at once");
            return Err(Refusal::Invalid(message));
        }
        let mut touched = BTreeSet::new();
        let mut effects = Vec::new();
        let mut begun = 0;
        let mut first = None;
        for m in moves {
            if let Some(reason) = self.outdated(m) {
                first.get_or_insert(reason);
                continue;
            }
            let why = MoveWhy::Rebalanced;
            effects.extend(self.begin_move(&m.workload, &m.from, &m.to, why, at, &mut touched));
            self.moved_by(&m.workload, &m.to, trace);
            begun += 1;
        }
        if begun == 0 {
            let reason = first.unwrap_or_else(|| "there is nothing to move".into());
            return Err(Refusal::Conflict(format!(
                "none of these moves can be made any more ({reason}): plan anew"
            )));
        }
        effects.extend(self.reassign(&touched));
        Ok(effects)
    }

    /// Refuses a plan that somebody hands in, where it is not what would be planned now. Its
    /// version alone says too much: it grows with each report of a node.
    ///
    /// # Errors
    /// A [`Refusal`], which says what is wrong with it.
    pub fn check_rebalance(&self, plan: &RebalancePlan) -> Result<(), Refusal> {
        if plan.moves.len() > MAX_MOVES {
            let message = format!("a fleet is rebalanced by at most {MAX_MOVES} moves at once");
            return Err(Refusal::Invalid(message));
        }
        let mut ends = BTreeSet::new();
        for PlannedMove {
            workload, from, to, ..
        } in &plan.moves
        {
            if from == to {
                return Err(Refusal::Invalid(format!(
                    "this plan moves {workload} from {from} to {from}, where it is: name another \
                     node"
                )));
            }
            for node in [from, to] {
                if !ends.insert((workload, node)) {
                    return Err(Refusal::Invalid(format!(
                        "this plan moves {workload} from or to {node} twice: name each instance \
                         once"
                    )));
                }
            }
        }
        let stale = |reason: String| {
            Refusal::Conflict(format!(
                "this plan does not hold any more ({reason}): look at a new one"
            ))
        };
        let (made, now) = (plan.version, self.version);
        if made > now {
            return Err(stale(format!(
                "it is of version {made} of the fleet, which has only come to {now}"
            )));
        }
        if let Some(reason) = plan.moves.iter().find_map(|m| self.outdated(m)) {
            return Err(stale(reason));
        }
        if made < now {
            let bounds = plan.bounds.clone().unwrap_or_default();
            let fresh = self.plan_rebalance(&bounds, 0);
            let fresh: BTreeSet<_> = fresh.moves.iter().map(ends_of).collect();
            let gone = plan.moves.iter().find(|m| !fresh.contains(&ends_of(m)));
            if let Some(m) = gone {
                return Err(stale(format!(
                    "it is of version {made} of the fleet, and at version {now} {} would not go \
                     from {} to {}",
                    m.workload, m.from, m.to
                )));
            }
        }
        Ok(())
    }

    /// Why a planned move cannot be made any more.
    fn outdated(&self, m: &PlannedMove) -> Option<String> {
        let PlannedMove {
            workload, from, to, ..
        } = m;
        let w = self.workloads.get(workload);
        if w.is_none() {
            return Some(format!("there is no workload {workload}"));
        }
        if !self.nodes.contains_key(from) {
            return Some(format!("there is no node {from}"));
        }
        if w.is_none_or(|w| !w.placed.contains(from)) {
            return Some(format!("{workload} is not on {from}"));
        }
        if w.is_some_and(|w| w.placed.contains(to) || w.moves_at(to)) {
            return Some(format!("{workload} is on {to} already"));
        }
        if !self.nodes.contains_key(to) {
            return Some(format!("there is no node {to}"));
        }
        self.held(workload, from, false)
            .or_else(|| self.gap(workload, from))
            .or_else(|| {
                let obstacle = self.obstacle_on(workload, to)?;
                Some(format!("{to} cannot take {workload}: {obstacle}"))
            })
    }

    /// Moves that would make the load more even.
    pub fn plan_rebalance(&self, bounds: &RebalanceBounds, _at: UnixMs) -> RebalancePlan {
        let mut planning = Planning::of(self, bounds);
        let before = planning.extremes();
        while planning.moves.len() < planning.max_moves && planning.plan_one() {}
        RebalancePlan {
            version: self.version,
            bounds: Some(bounds.clone()),
            before,
            after: planning.extremes(),
            moves: planning.moves,
            kept: planning.kept.into_iter().take(MAX_KEPT).collect(),
        }
    }

    /// Why an instance is not moved to make the load more even; that of what is in nobody's way.
    fn rests(&self, name: &Name, w: &WorkloadRecord, node: &Name, most: usize) -> Option<String> {
        if let Some(reason) = self.held(name, node, false) {
            return Some(reason);
        }
        if w.moves.len() >= most {
            return Some(format!("enough instances of {name} are on their way"));
        }
        let record = self.nodes.get(node)?;
        if record.moved.contains_key(name) {
            return Some(format!("{name} came to {node} a short time ago"));
        }
        let works = record.observed.get(name).is_some_and(|o| {
            let healthy = matches!(o.health, None | Some(HealthStatus::Healthy));
            o.state.is_well()
                && healthy
                && o.spec_hash == self.spec_hash_on(w, node.as_str(), record)
        });
        if !works {
            return Some(format!("{name} is not known to work on {node}"));
        }
        self.gap(name, node)
    }
}

fn ends_of(m: &PlannedMove) -> (&Name, &Name, &Name) {
    (&m.workload, &m.from, &m.to)
}

/// A plan while it is made.
struct Planning<'a> {
    fleet: &'a Fleet,
    /// How full each node that can be heard would be.
    rooms: BTreeMap<&'a Name, Room>,
    /// Nodes from which nothing more can be moved.
    exhausted: BTreeSet<&'a Name>,
    threshold: u64,
    max_moves: usize,
    max_per_workload: usize,
    per_workload: BTreeMap<&'a Name, usize>,
    moves: Vec<PlannedMove>,
    /// Where something of a workload would be.
    taken: BTreeSet<(&'a Name, &'a Name)>,
    kept: Vec<String>,
}

impl<'a> Planning<'a> {
    fn of(fleet: &'a Fleet, bounds: &RebalanceBounds) -> Planning<'a> {
        let heard = fleet.nodes.iter().filter(|(_, n)| {
            n.approval == Approval::Approved && n.presence == Presence::Online && n.facts.is_some()
        });
        let rooms = heard.filter_map(|(name, _)| Some((name, fleet.room(name)?)));
        Planning {
            fleet,
            rooms: rooms.collect(),
            exhausted: BTreeSet::new(),
            threshold: u64::from(bounds.threshold) * 100,
            max_moves: (bounds.max_moves as usize).min(MAX_MOVES),
            max_per_workload: bounds.max_per_workload as usize,
            per_workload: BTreeMap::new(),
            moves: Vec::new(),
            taken: BTreeSet::new(),
            kept: Vec::new(),
        }
    }

    /// Load of the fullest and of the emptiest node.
    fn extremes(&self) -> (u8, u8) {
        let loads = || self.rooms.values().map(Room::percent);
        (loads().max().unwrap_or(0), loads().min().unwrap_or(0))
    }

    /// Plans one more move, or finds out that a node has none; false: there is nothing more to do.
    fn plan_one(&mut self) -> bool {
        let may_leave = self
            .rooms
            .iter()
            .filter(|(n, _)| !self.exhausted.contains(*n));
        // Of equally full ones the first name.
        let fullest = may_leave.max_by_key(|(n, room)| (room.load(), std::cmp::Reverse(**n)));
        let Some((&from, &room)) = fullest else {
            return false;
        };
        let mut emptier: Vec<(u64, &'a Name)> = self
            .rooms
            .iter()
            .filter(|(_, to)| room.load().saturating_sub(to.load()) > self.threshold)
            .map(|(&n, to)| (to.load(), n))
            .collect();
        if emptier.is_empty() {
            return false;
        }
        emptier.sort();
        match self.best_move(from, room, &emptier) {
            Some((workload, to)) => self.note(workload, from, to),
            None => {
                self.exhausted.insert(from);
            }
        }
        true
    }

    /// The move from `from` after which the fuller of the two nodes is the least full.
    fn best_move(
        &mut self,
        from: &'a Name,
        room: Room,
        emptier: &[(u64, &'a Name)],
    ) -> Option<(&'a Name, &'a Name)> {
        let fleet = self.fleet;
        let mut found: Vec<(u64, &'a Name, &'a Name)> = Vec::new();
        for name in &fleet.nodes.get(from)?.placed {
            let Some(w) = fleet.workloads.get(name) else {
                continue;
            };
            let planned = self.per_workload.get(name).copied().unwrap_or(0);
            if self.taken.contains(&(name, from)) {
                continue;
            }
            let most = self.max_per_workload.saturating_sub(planned);
            if let Some(reason) = fleet.rests(name, w, from, most) {
                if self.kept.len() < MAX_KEPT && !self.kept.contains(&reason) {
                    self.kept.push(reason);
                }
                continue;
            }
            for (_, to) in emptier.iter().take(MAX_ASKED) {
                let Some(there) = self.rooms.get(to) else {
                    continue;
                };
                let (left, filled) = (room.without(&w.spec), there.with(&w.spec));
                let fuller = left.load().max(filled.load());
                let fits = filled.holds() && !w.placed.contains(*to);
                if fits && fuller < room.load() && !self.taken.contains(&(name, to)) {
                    found.push((fuller, name, to));
                }
            }
        }
        found.sort();
        let good = found.into_iter().find(|(_, name, to)| {
            fleet.suits_as_well(name, from, to) && fleet.obstacle_on(name, to).is_none()
        });
        if good.is_none() && self.kept.len() < MAX_KEPT {
            let nothing = fleet.nodes.get(from).map(Room::empty);
            self.kept.push(match nothing {
                Some(empty) if empty.load() == room.load() => {
                    format!("what is reserved of {from} fills it, whatever is moved")
                }
                _ => format!("nothing else of {from} can go to a node that is emptier"),
            });
        }
        good.map(|(_, name, to)| (name, to))
    }

    fn note(&mut self, workload: &'a Name, from: &'a Name, to: &'a Name) {
        let Some(w) = self.fleet.workloads.get(workload) else {
            return;
        };
        let (Some(old), Some(new)) = (self.rooms.get(from), self.rooms.get(to)) else {
            return;
        };
        let (left, filled) = (old.without(&w.spec), new.with(&w.spec));
        let why = format!(
            "{from} is {}% full and {to} {}%; then {}% and {}%",
            old.percent(),
            new.percent(),
            left.percent(),
            filled.percent()
        );
        let halt = match old_first(&w.spec) {
            true => "it stands still while it moves, since a port or a volume can be used once",
            false => "the new one is healthy before the old one stops: both run for a while",
        };
        let fetch = match &w.spec.run {
            Run::Container { image, .. } if !self.fleet.has_image(to, image) => {
                format!("; {to} needs {image}")
            }
            _ => String::new(),
        };
        self.rooms.insert(from, left);
        self.rooms.insert(to, filled);
        *self.per_workload.entry(workload).or_default() += 1;
        self.taken.insert((workload, from));
        self.taken.insert((workload, to));
        self.moves.push(PlannedMove {
            workload: workload.clone(),
            from: from.clone(),
            to: to.clone(),
            why,
            cost: format!("{halt}{fetch}"),
        });
    }
}

impl Fleet {
    /// Something that is there is made of this image.
    fn has_image(&self, node: &Name, wanted: &str) -> bool {
        let placed = self.nodes.get(node).into_iter().flat_map(|n| &n.placed);
        let mut specs = placed.filter_map(|w| self.workloads.get(w));
        specs.any(|w| matches!(&w.spec.run, Run::Container { image, .. } if image == wanted))
    }

    /// What is preferred, and what replicas are spread over, is not given up for an even load.
    fn suits_as_well(&self, workload: &Name, from: &Name, to: &Name) -> bool {
        let found = |node: &Name| Some(self.nodes.get(node)?.properties());
        let (Some(w), Some(old), Some(new)) =
            (self.workloads.get(workload), found(from), found(to))
        else {
            return false;
        };
        let placement = &w.spec.placement;
        let met = |p: &BTreeMap<String, String>| -> i64 {
            let met = placement
                .prefers
                .iter()
                .filter(|q| q.requirement.is_met_by(p));
            met.map(|q| i64::from(q.weight)).sum()
        };
        let spread = placement.spread.as_ref();
        spread.is_none_or(|key| old.get(key) == new.get(key)) && met(&new) >= met(&old)
    }
}
