//! One seed, and many.

use super::world::{Profile, Violation, World};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// What came of one seed.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    pub steps: u64,
    pub entries: usize,
    /// Virtual.
    pub ms: u64,
    pub nodes: usize,
    pub faults: BTreeMap<&'static str, u64>,
    pub orders: BTreeMap<&'static str, u64>,
    pub log: (u64, u64),
    pub violation: Option<Violation>,
    pub last_lines: Vec<String>,
    /// As in [`Profile::crash_at`].
    pub crash_at: Option<(usize, bool)>,
}

impl Outcome {
    /// What somebody needs who looks into it.
    pub fn story(&self) -> String {
        let mut text = String::new();
        let (rule, message) = self
            .violation
            .as_ref()
            .map_or(("", ""), |v| (v.rule, v.message.as_str()));
        let _ = writeln!(text, "{}", self.last_lines.join("\n"));
        let _ = writeln!(
            text,
            "seed {}: `{rule}` does not hold: {message}",
            self.seed
        );
        if let Some((at, after)) = self.crash_at {
            let when = if after { "after" } else { "before" };
            let _ = writeln!(text, "the controller crashed {when} entry {at} was written");
        }
        let _ = writeln!(
            text,
            "again, with the whole log: make sim SEED={}",
            self.seed
        );
        text
    }
}

/// Few nodes, much trouble: for many seeds.
pub fn small() -> Profile {
    Profile {
        nodes: (3, 8),
        workloads: 5,
        faults_for_ms: 10 * 60_000,
        operator_every_ms: 20_000,
        fault_every_ms: 12_000,
        crash_at: None,
    }
}

/// Hundreds of nodes.
pub fn big() -> Profile {
    Profile {
        nodes: (200, 300),
        workloads: 6,
        faults_for_ms: 10 * 60_000,
        operator_every_ms: 30_000,
        fault_every_ms: 1_500,
        crash_at: None,
    }
}

/// Simulates one seed from its first event to its rest.
pub fn simulate(seed: u64, profile: Profile, aloud: bool) -> Outcome {
    let (until, crash_at) = (profile.faults_for_ms, profile.crash_at);
    let mut world = World::new(seed, profile, aloud);
    let whole = catch_unwind(AssertUnwindSafe(|| {
        world.found();
        if world.run_until(until) {
            world.settle();
        }
    }));
    if let Err(panic) = whole {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
        world.violate("nothing panics", text.unwrap_or_default());
    }
    Outcome {
        seed,
        crash_at,
        steps: world.steps,
        entries: world.controller.journal.len(),
        ms: world.now,
        nodes: world.nodes.len(),
        log: world.log_digest(),
        last_lines: world.last_lines(),
        faults: world.faults,
        orders: world.orders,
        violation: world.violation,
    }
}

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Total {
    pub seeds: u64,
    nodes: u64,
    steps: u64,
    entries: u64,
    ms: u64,
    faults: BTreeMap<&'static str, u64>,
    orders: BTreeMap<&'static str, u64>,
    pub failed: Vec<Outcome>,
}

impl Total {
    fn take(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.nodes += outcome.nodes as u64;
        self.steps += outcome.steps;
        self.entries += outcome.entries as u64;
        self.ms += outcome.ms;
        for (kind, count) in &outcome.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (kind, count) in &outcome.orders {
            *self.orders.entry(kind).or_default() += count;
        }
        if outcome.violation.is_some() {
            self.failed.push(outcome);
        }
    }

    pub fn report(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{} seeds, {} nodes, {} steps, {} entries, {} h of virtual time, {} failed",
            self.seeds,
            self.nodes,
            self.steps,
            self.entries,
            self.ms / 3_600_000,
            self.failed.len()
        );
        for (what, counts) in [("faults", &self.faults), ("orders", &self.orders)] {
            let all: Vec<String> = counts.iter().map(|(k, n)| format!("{k} {n}")).collect();
            let _ = writeln!(text, "{what}: {}", all.join(", "));
        }
        let mut rules: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for outcome in &self.failed {
            if let Some(violation) = &outcome.violation {
                rules.entry(violation.rule).or_default().push(outcome.seed);
            }
        }
        for (rule, seeds) in rules {
            let _ = writeln!(text, "`{rule}` does not hold in seeds {seeds:?}");
        }
        text
    }
}

/// Simulates seeds on all processors; stops after some failures.
pub fn simulate_many(seeds: std::ops::Range<u64>, profile: &Profile) -> Total {
    let count = seeds.end.saturating_sub(seeds.start);
    simulate_all(count, |n| (seeds.start + n, profile.clone()))
}

/// Simulates so many, each with a seed and a profile of its own.
pub fn simulate_all(count: u64, which: impl Fn(u64) -> (u64, Profile) + Sync) -> Total {
    let next = AtomicU64::new(0);
    let enough = AtomicBool::new(false);
    let total = Mutex::new(Total::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    let (seed, profile) = which(n);
                    let outcome = simulate(seed, profile, false);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    total.take(outcome);
                    enough.store(total.failed.len() >= 10, Ordering::Relaxed);
                }
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    total.failed.sort_by_key(|o| o.seed);
    total
}
