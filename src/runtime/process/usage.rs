//! What an instance uses of the machine: by its cgroup where that counts, else by adding up its
//! processes.
//!
//! All that a program has started are descendants of its shim, also orphans, since the shim takes
//! those over. The shim itself is not counted, but it knows the time of the children that it
//! waited for.

use super::directory::InstanceDir;
use super::process_id::{Stat, children};
use super::record::State;
use crate::runtime::Usage;

/// Most processes of one instance that are added up.
const PROCESSES_MAX: usize = 1000;

/// `None` when it does not run.
pub(super) fn usage(dir: &InstanceDir) -> Option<Usage> {
    let state = dir.state().filter(State::is_live)?;
    if let Some(usage) = state.cgroup().and_then(|cgroup| cgroup.usage()) {
        return Some(usage);
    }
    descendants(state.shim.pid)
}

fn descendants(shim: i32) -> Option<Usage> {
    let mut ticks = Stat::of(shim)?.children_time;
    let mut pages = 0_u64;
    let mut waiting = children(shim);
    let mut seen = 0;
    while let Some(pid) = waiting.pop() {
        let Some(stat) = Stat::of(pid) else { continue };
        ticks = ticks
            .saturating_add(stat.own_time)
            .saturating_add(stat.children_time);
        pages = pages.saturating_add(stat.pages);
        seen += 1;
        if seen + waiting.len() < PROCESSES_MAX {
            waiting.extend(children(pid));
            waiting.truncate(PROCESSES_MAX);
        }
    }
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let page = rustix::param::page_size() as u64;
    Some(Usage {
        cpu_us: ticks.saturating_mul(1_000_000 / per_second),
        memory: pages.saturating_mul(page),
    })
}
