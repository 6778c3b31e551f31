//! Why a node cannot run a workload.
//!
//! What holds for ever is looked at first (it is not among `nodes`, a requirement, the runtime),
//! then who else is there, then what may pass by itself (it is closed, away, full). What runs on a
//! node already is asked only for what its own specification demands: it is never driven out for
//! want of room, by a neighbour that came later, or by an engine that is away for a moment.

use super::{Candidate, Closed, Wish, amount, cores};
use crate::{
    contract::MAX_INSTANCES,
    fleet::WorkloadRecord,
    model::{CAN_UPGRADE, Name, Port, Presence, Requirement, Run, RuntimeKind},
};
use std::{borrow::Cow, fmt, ops::ControlFlow};

/// Bytes of specs in one assignment: what the contract allows for a message, less what the
/// envelope and each instance's other fields take.
pub(in crate::fleet) const MAX_ASSIGNED: usize = 768 * 1024;

/// Why a node cannot run a workload. `Display` is a sentence about the node.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::fleet) enum Obstacle<'a> {
    NotListed,
    Instances,
    Message,
    Undescribed,
    OldAgent,
    Unknown(&'a str),
    Unmet(&'a Requirement, Option<Cow<'a, str>>),
    NoProcess,
    NoUpgrade,
    NoBinary(&'a str),
    NoEngine(RuntimeKind),
    NoEngineAtAll,
    Without(&'a Name),
    Apart(&'a Name),
    Shunned(&'a Name),
    Closed(Closed),
    Unheard(Presence),
    Port(&'a Port, &'a Name),
    Memory { free: u64, of: u64, asked: u64 },
    Cpu { free: u64, of: u64, asked: u64 },
}

impl fmt::Display for Obstacle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::NotListed => f.write_str("it is not among `nodes`"),
            Obstacle::Instances => {
                write!(f, "it has {MAX_INSTANCES} instances, which is the most")
            }
            Obstacle::Message => {
                f.write_str("its assignment would become too large for one message")
            }
            Obstacle::Undescribed => f.write_str("it has not said yet what it is"),
            Obstacle::OldAgent => {
                f.write_str("its agent is too old for this workload: upgrade fleetctl there")
            }
            Obstacle::Unknown(name) => match name.strip_prefix("label.") {
                Some(label) => {
                    write!(
                        f,
                        "it has no label `{label}`, which `{{{{ {name} }}}}` needs"
                    )
                }
                None => write!(f, "`{{{{ {name} }}}}` is not known of it"),
            },
            Obstacle::Unmet(r, Some(has)) if !r.value.is_empty() => {
                write!(f, "it has {}={has}, `{r}` is required", r.key)
            }
            Obstacle::Unmet(r, _) => write!(f, "it does not meet `{r}`"),
            Obstacle::NoProcess => f.write_str("it does not run native processes"),
            Obstacle::NoUpgrade => {
                f.write_str("its agent cannot put another release in its own place")
            }
            Obstacle::NoBinary(arch) => write!(
                f,
                "there is no binary for {arch} of this release: `fleetctl upgrade push` adds one"
            ),
            Obstacle::NoEngine(kind) => write!(f, "it has no {kind}"),
            Obstacle::NoEngineAtAll => f.write_str("it has neither Docker nor Podman"),
            Obstacle::Without(other) => {
                write!(f, "{other} is not on it, and must be on the same node")
            }
            Obstacle::Apart(other) => {
                write!(f, "{other} is on it, and must not be on the same node")
            }
            Obstacle::Shunned(other) => {
                write!(f, "{other} is on it, and does not want this one beside it")
            }
            Obstacle::Closed(Closed::Cordoned) => {
                f.write_str("it is cordoned: `fleetctl node uncordon` lets it take something again")
            }
            Obstacle::Closed(Closed::Draining) => f.write_str("it is being drained"),
            Obstacle::Closed(Closed::Damped) => {
                f.write_str("it has come and gone too often lately: it is to hold still first")
            }
            Obstacle::Closed(Closed::Lost) => {
                f.write_str("it is lost: it was not heard for too long")
            }
            Obstacle::Unheard(presence) => write!(f, "it is {presence}"),
            Obstacle::Port(port, other) => {
                write!(
                    f,
                    "port {}/{} is taken by {other}",
                    port.host, port.protocol
                )
            }
            Obstacle::Memory { free, of, asked } => write!(
                f,
                "it has {} left of {}, {} are asked for",
                amount(*free),
                amount(*of),
                amount(*asked)
            ),
            Obstacle::Cpu { free, of, asked } => write!(
                f,
                "it has {} left of {} cpus, {} are asked for",
                cores(*free),
                cores(*of),
                cores(*asked)
            ),
        }
    }
}

impl Obstacle<'_> {
    /// It ends by itself before long. `comes_back`: who is offline is heard again, or counts as
    /// lost.
    pub(in crate::fleet) fn passes(&self, comes_back: bool) -> bool {
        match self {
            Obstacle::Closed(Closed::Damped) | Obstacle::Unheard(Presence::Silent) => true,
            Obstacle::Unheard(_) => comes_back,
            _ => false,
        }
    }

    /// What obstacles are counted by: the same words for all nodes that have the same one.
    pub(in crate::fleet) fn kind(&self) -> String {
        match self {
            Obstacle::Unmet(r, _) => format!("does not meet `{r}`"),
            Obstacle::Unknown(name) => format!("`{{{{ {name} }}}}` is not known"),
            Obstacle::NoProcess | Obstacle::NoEngine(_) | Obstacle::NoEngineAtAll => {
                "lacks the runtime".into()
            }
            Obstacle::NoUpgrade => "cannot upgrade itself".into(),
            Obstacle::NoBinary(arch) => format!("no binary for {arch}"),
            Obstacle::NotListed => "not among `nodes`".into(),
            Obstacle::Instances | Obstacle::Message => "full".into(),
            Obstacle::Undescribed => "has not said what it is".into(),
            Obstacle::OldAgent => "agent too old".into(),
            Obstacle::Without(other) => format!("without {other}"),
            Obstacle::Apart(other) | Obstacle::Shunned(other) => format!("apart from {other}"),
            Obstacle::Closed(Closed::Cordoned) => "cordoned".into(),
            Obstacle::Closed(Closed::Draining) => "draining".into(),
            Obstacle::Closed(Closed::Damped) => "comes and goes".into(),
            Obstacle::Closed(Closed::Lost) => "lost".into(),
            Obstacle::Unheard(presence) => presence.to_string(),
            Obstacle::Port(port, _) => format!("port {}/{} taken", port.host, port.protocol),
            Obstacle::Memory { .. } => "not enough memory".into(),
            Obstacle::Cpu { .. } => "not enough cpus".into(),
        }
    }
}

#[cfg(test)]
thread_local! {
    /// How often a node was looked at: what a decision costs, without a clock.
    pub(in crate::fleet) static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Why a node cannot run it, `None` when it can. `kept`: it runs there already.
pub(in crate::fleet) fn obstacle<'a>(
    wish: &Wish<'a>,
    node: &Candidate<'a>,
    kept: bool,
) -> Option<Obstacle<'a>> {
    #[cfg(test)]
    LOOKS.set(LOOKS.get() + 1);
    let mut first = None;
    let _ = each(wish, node, kept, &mut |found| {
        first = Some(found);
        ControlFlow::Break(())
    });
    first
}

/// All that is in the way where it does not run yet.
pub(super) fn obstacles<'a>(wish: &Wish<'a>, node: &Candidate<'a>) -> Vec<Obstacle<'a>> {
    let mut all = Vec::new();
    let _ = each(wish, node, false, &mut |found| {
        all.push(found);
        ControlFlow::Continue(())
    });
    all
}

/// Says them one by one, until nobody wants to hear more.
fn each<'a>(
    wish: &Wish<'a>,
    node: &Candidate<'a>,
    kept: bool,
    found: &mut impl FnMut(Obstacle<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let placement = &wish.workload.placement;
    if !placement.nodes.is_empty() && !placement.nodes.contains(node.name) {
        found(Obstacle::NotListed)?;
    }
    let taken = &node.taken;
    if !kept && taken.instances >= MAX_INSTANCES {
        found(Obstacle::Instances)?;
    }
    if !kept && taken.bytes.saturating_add(wish.bytes) > MAX_ASSIGNED {
        found(Obstacle::Message)?;
    }
    let Some(facts) = node.facts else {
        // Nothing else is known of it.
        return found(Obstacle::Undescribed);
    };
    if wish.features > facts.features.max(1) {
        found(Obstacle::OldAgent)?;
    }
    for name in wish.names.iter().filter(|n| !node.knows(n)) {
        found(Obstacle::Unknown(name))?;
    }
    // An engine that is away for a moment takes nothing from a node that runs it already.
    let engine = |key: &str| matches!(key, "docker" | "podman" | "process");
    for r in &placement.requires {
        if kept && engine(&r.key) {
            continue;
        }
        let has = node.property(&r.key);
        if !r.holds(has.as_deref()) {
            found(Obstacle::Unmet(r, has))?;
        }
    }
    // Whether there is a program for it changes with the release, not with the moment.
    let missing = missing_runtime(&wish.workload.run, node);
    if let Some(missing) = missing.filter(|m| !kept || matches!(m, Obstacle::NoBinary(_))) {
        found(missing)?;
    }
    if let Some(neighbour) = neighbour(wish, node, kept) {
        found(neighbour)?;
    }
    if kept {
        return ControlFlow::Continue(());
    }
    passing(wish, node, found)
}

fn missing_runtime<'a>(run: &Run, node: &Candidate<'a>) -> Option<Obstacle<'a>> {
    let has = |kind: RuntimeKind| node.has(kind.as_str());
    match run {
        Run::Process { .. } | Run::Python { .. } => {
            (!has(RuntimeKind::Process)).then_some(Obstacle::NoProcess)
        }
        Run::Agent { binaries } if node.has(CAN_UPGRADE) => {
            let arch = node.arch();
            let lacks = !binaries.is_empty() && !binaries.contains_key(arch);
            lacks.then_some(Obstacle::NoBinary(arch))
        }
        Run::Agent { .. } => Some(Obstacle::NoUpgrade),
        Run::Container {
            engine: Some(kind), ..
        } => (!has(*kind)).then_some(Obstacle::NoEngine(*kind)),
        Run::Container { engine: None, .. } => {
            let none = !has(RuntimeKind::Docker) && !has(RuntimeKind::Podman);
            none.then_some(Obstacle::NoEngineAtAll)
        }
    }
}

/// Who must be there and is not, or the other way round.
fn neighbour<'a>(wish: &Wish<'a>, node: &Candidate<'a>, kept: bool) -> Option<Obstacle<'a>> {
    let others = node.others?;
    let placement = &wish.workload.placement;
    let name = &wish.workload.name;
    for other in &placement.with {
        let there = match kept {
            true => others.placed.contains(other),
            false => others.stays(other, node.name),
        };
        // Of two that want each other, one has to be the first.
        let waits_for_us =
            |w: &WorkloadRecord| w.placed.is_empty() && w.spec.placement.with.contains(name);
        if !there && !others.workloads.get(other).is_some_and(waits_for_us) {
            return Some(Obstacle::Without(other));
        }
    }
    let there = |other: &&Name| others.placed.contains(*other) && *other != name;
    if let Some(other) = placement.apart.iter().find(there) {
        return Some(Obstacle::Apart(other));
    }
    if kept {
        return None;
    }
    let shunning = wish.shunned.iter().copied();
    shunning
        .filter(|n| *n != name)
        .find(|n| others.placed.contains(*n))
        .map(Obstacle::Shunned)
}

/// What may pass by itself.
fn passing<'a>(
    wish: &Wish<'a>,
    node: &Candidate<'a>,
    found: &mut impl FnMut(Obstacle<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    // What is pinned has no other node to go to.
    let bound = wish.every || !wish.workload.placement.nodes.is_empty();
    // The agent is there anyway, whoever wants nothing new on the node.
    let agent = matches!(wish.workload.run, Run::Agent { .. });
    if !agent
        && let Some(closed) = node.closed
        && (!bound || closed.by_person())
    {
        found(Obstacle::Closed(closed))?;
    }
    if !wish.every && node.presence != Presence::Online {
        found(Obstacle::Unheard(node.presence))?;
    }
    if wish.memory > 0
        && let Some(free) = node.free_memory()
        && wish.memory > free
    {
        found(Obstacle::Memory {
            free,
            of: node.facts.map_or(0, |f| f.memory_total),
            asked: wish.memory,
        })?;
    }
    if wish.cpu > 0
        && let Some(free) = node.free_cpu()
        && wish.cpu > free
    {
        found(Obstacle::Cpu {
            free,
            of: node.facts.map_or(0, |f| u64::from(f.cpus) * 1_000),
            asked: wish.cpu,
        })?;
    }
    taken_port(wish, node).map_or(ControlFlow::Continue(()), found)
}

/// A port on the node that another workload has published there. What uses the node's own network
/// publishes nothing, and is not known to take any.
fn taken_port<'a>(wish: &Wish<'a>, node: &Candidate<'a>) -> Option<Obstacle<'a>> {
    let ours = published(wish.workload);
    if ours.is_empty() {
        return None;
    }
    for (name, record) in node.others?.records() {
        if *name == wish.workload.name {
            continue;
        }
        for theirs in published(&record.spec) {
            if let Some(port) = ours.iter().find(|p| overlap(p, theirs)) {
                return Some(Obstacle::Port(port, name));
            }
        }
    }
    None
}

fn published(workload: &crate::model::Workload) -> &[Port] {
    match &workload.run {
        Run::Container { network, .. } if network.as_deref() == Some("host") => &[],
        _ => &workload.ports,
    }
}

fn overlap(one: &Port, other: &Port) -> bool {
    let all = |p: &Port| match p.address.as_deref() {
        None => true,
        Some(address) => matches!(address, "0.0.0.0" | "::" | "[::]"),
    };
    one.host == other.host
        && one.protocol == other.protocol
        && (all(one) || all(other) || one.address == other.address)
}
