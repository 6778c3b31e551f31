//! What breaks, by chance, and heals by itself after a while.

use super::{
    node::Ends,
    world::{Event, How, NodeId, World},
};

/// Something that is broken until it is healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The link of a node is cut.
    Cut(NodeId),
    /// The engine of a node does not answer.
    EngineDown(NodeId),
    /// A node cannot fetch images.
    NoRegistry(NodeId),
    /// The engine of a node is slow.
    Slow(NodeId),
}

impl World {
    /// Something breaks, and the next time is found at which something does.
    pub fn break_something(&mut self) {
        if !self.troubled {
            return;
        }
        let every = self.profile.fault_every_ms;
        let next = self.random.between(every / 4, every * 7 / 4);
        self.schedule(next, Event::Breaks);
        let there: Vec<NodeId> = (0..self.nodes.len())
            .filter(|n| !self.nodes[*n].gone)
            .collect();
        let Some(node) = self.random.pick(&there).copied() else {
            return;
        };
        let name = self.nodes[node].name.clone();
        let long = self.random.between(1_000, 240_000);
        match self.random.below(16) {
            0 | 1 => self.break_controller(),
            2 | 3 if !self.nodes[node].cut => {
                self.fault("partition", format_args!("{name} for {long} ms"));
                self.cut(node);
                self.schedule(long, Event::Heals(Fault::Cut(node)));
            }
            4 => {
                let off = self.random.between(500, 60_000);
                self.fault("agent killed", format_args!("{name} for {off} ms"));
                self.dies(node, Ends::Killed, off);
            }
            5 => {
                self.fault("power cut", format_args!("{name} for {long} ms"));
                self.dies(node, Ends::PowerCut, long);
            }
            6 => {
                let how = Ends::Killed;
                self.fault("end after a launch", format_args!("{name}: {how:?}"));
                self.nodes[node].dies_after_launch = true;
            }
            7 => {
                let left = self.random.below(12) as u32;
                let ends = match self.random.chance(500) {
                    true => Ends::Killed,
                    false => Ends::PowerCut,
                };
                self.fault(
                    "end between actions",
                    format_args!("{name}: {ends:?} after {left}"),
                );
                self.nodes[node].fuse = Some((left, ends));
            }
            8 => {
                self.fault("engine down", format_args!("{name} for {long} ms"));
                self.nodes[node].engine.down = true;
                self.list(node);
                self.schedule(long, Event::Heals(Fault::EngineDown(node)));
            }
            9 | 10 => {
                let how = match self.random.chance(500) {
                    true => (How::Refused, "operation refused"),
                    false => (How::AnswerLost, "answer lost"),
                };
                let times = self.random.between(1, 3) as u32;
                self.fault(how.1, format_args!("{name}, {times} times"));
                self.nodes[node].goes_wrong = (times, Some(how.0));
            }
            11 => {
                self.fault("registry unreachable", format_args!("{name} for {long} ms"));
                self.nodes[node].engine.no_registry = true;
                self.schedule(long, Event::Heals(Fault::NoRegistry(node)));
            }
            12 => {
                let by = self.random.between(0, 400_000_000_000) as i64 - 200_000_000_000;
                self.fault("clock jump", format_args!("{name} by {by} ms"));
                self.nodes[node].clock = by;
            }
            13 | 14 => self.replay_assignment(node),
            _ => {
                self.fault("slow engine", format_args!("{name} for {long} ms"));
                let (takes, looks) = (self.random.below(20_000), self.random.below(3_000));
                self.nodes[node].takes_ms = takes;
                self.nodes[node].look_takes_ms = looks;
                self.schedule(long, Event::Heals(Fault::Slow(node)));
            }
        }
    }

    fn break_controller(&mut self) {
        if !self.controller.runs() {
            return;
        }
        match self.random.below(3) {
            0 => {
                let off = self.random.between(500, 120_000);
                self.fault("controller crash", format_args!("for {off} ms"));
                self.controller_crashes(off);
            }
            1 => {
                self.fault(
                    "controller crash",
                    format_args!("before an entry is written"),
                );
                self.controller.fuse = Some(None);
            }
            _ => {
                let out = self.random.below(3) as usize;
                self.fault("controller crash", format_args!("after {out} effects"));
                self.controller.fuse = Some(Some(out));
            }
        }
    }

    /// Somebody plays an older, genuine message again.
    pub fn replay_assignment(&mut self, node: NodeId) {
        let which = self.random.next();
        let session = self.nodes[node].session;
        let old = self.broker.old_of(node, which).cloned();
        if let Some((session, old)) = session.zip(old) {
            let generation = old.assignment.generation;
            let name = self.nodes[node].name.clone();
            self.fault("old assignment", format_args!("{generation} to {name}"));
            let at = self.now + 1;
            self.deliver(node, session, old, at);
        }
    }

    pub fn heal(&mut self, fault: Fault) {
        match fault {
            Fault::Cut(node) if self.nodes[node].cut => self.mend(node),
            Fault::Cut(_) => {}
            Fault::EngineDown(node) => self.nodes[node].engine.down = false,
            Fault::NoRegistry(node) => self.nodes[node].engine.no_registry = false,
            Fault::Slow(node) => {
                self.nodes[node].takes_ms = 300;
                self.nodes[node].look_takes_ms = 20;
            }
        }
    }

    /// Nothing breaks any more, and everything that is broken is made whole.
    pub fn heal_everything(&mut self) {
        self.troubled = false;
        self.controller.fuse = None;
        self.profile.crash_at = None;
        self.controller_starts();
        for node in 0..self.nodes.len() {
            if self.nodes[node].gone {
                continue;
            }
            for fault in [
                Fault::Cut(node),
                Fault::EngineDown(node),
                Fault::NoRegistry(node),
                Fault::Slow(node),
            ] {
                self.heal(fault);
            }
            let n = &mut self.nodes[node];
            n.goes_wrong = (0, None);
            n.fuse = None;
            n.dies_after_launch = false;
            n.clock = 0;
            if n.supervisor.is_none() {
                self.starts(node, false);
            }
        }
    }
}
