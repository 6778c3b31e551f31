//! A directory of manifests as the one who says what a node must run.
//!
//! ```text
//! files ── read ──► Reading ──► Directory::take ──► instances, problems, what is left out
//! (I/O, beside)                 (pure)               └► an assignment of the next generation
//! ```
//!
//! | module | its one idea |
//! |---|---|
//! | `read` | the files of the directory, as text and as workloads |
//! | `here` | what this node is, and so whether and how a workload runs on it |
//! | `watch` | that something changed, and that it has come to rest |
//!
//! A file that cannot be read takes nothing away: what it said when it was last right goes on,
//! and the other files take effect. Right after a start nobody knows what a broken file said
//! before; then everything that ran and stands in no other file goes on until it is mended. A
//! directory that is not there at all changes nothing either.

mod here;
mod read;
#[cfg(test)]
mod tests;
mod watch;

pub use here::Here;
pub(super) use read::{Reading, read};
pub(super) use watch::{Debounce, watch};

use crate::{
    contract::MAX_INSTANCES,
    manifest::{Flaw, Problem},
    model::{AssignedInstance, Assignment, Desired, Name, Workload, cycle},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What is remembered of the files.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// What each file gave when it was last right, as it runs here, by the file's name.
    good: BTreeMap<String, Vec<Arc<Workload>>>,
    /// What ran before this start: nobody knows out of which file. Empty once every file was
    /// right at the same time.
    earlier: Vec<Arc<Workload>>,
    /// Which directory it was that last had manifests in it.
    identity: Option<(u64, u64)>,
}

/// What the directory wants.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// What must run, ordered by name; `None`: what ran so far.
    pub instances: Option<Vec<AssignedInstance>>,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// Workloads that do not run on this node, and why.
    pub left_out: BTreeMap<Name, String>,
    /// Workloads that go on as they were because of a broken file.
    pub kept: BTreeSet<Name>,
}

/// One workload that is to run, and the file that it is written in; `None`: not known any more.
type Chosen = BTreeMap<Name, (Option<String>, Arc<Workload>)>;

impl Directory {
    /// After a start: `assignment` is what ran before it.
    pub(super) fn new(assignment: Option<&Assignment>) -> Directory {
        let instances = assignment.iter().flat_map(|a| &a.instances);
        Directory {
            good: BTreeMap::new(),
            earlier: instances.map(|i| i.workload.clone()).collect(),
            identity: None,
        }
    }

    /// Takes what was read; what must run on this node now.
    pub(super) fn take(&mut self, reading: Reading, here: &Here) -> Taken {
        let mut taken = Taken {
            problems: reading.problems,
            ..Taken::default()
        };
        if !reading.there {
            return taken;
        }
        // Another directory in its place, with nothing in it: a stick that is not there, or a
        // synchronisation that has just begun.
        let runs = !self.good.is_empty() || !self.earlier.is_empty();
        if reading.files.is_empty() && runs && reading.identity != self.identity {
            let flaw = Flaw::new("the directory is another one than before, and has no manifest");
            let flaw = flaw.hint("what ran goes on until there is one in it again");
            taken
                .problems
                .push(Problem::without_place("directory", flaw));
            return taken;
        }
        self.identity = reading.identity;
        let mut chosen = Chosen::new();
        let mut defined: BTreeMap<Name, String> = BTreeMap::new();
        let mut broken: Vec<String> = Vec::new();
        let mut right: Vec<String> = Vec::new();
        for file in reading.files {
            let manifests = match file.read {
                Ok(manifests) => manifests,
                Err(problems) => {
                    taken.problems.extend(problems.0);
                    broken.push(file.name);
                    continue;
                }
            };
            for manifest in manifests {
                let name = manifest.workload.name.clone();
                if let Some(first) = defined.get(&name) {
                    let flaw =
                        Flaw::new(format!("workload `{name}` is already defined in {first}"));
                    let flaw = flaw.hint("the first one counts; give one of the two another name");
                    taken.problems.push(match &file.source {
                        Some(source) => source.problem(manifest.span, flaw),
                        None => Problem::without_place(file.name.clone(), flaw),
                    });
                    continue;
                }
                defined.insert(name.clone(), file.name.clone());
                match here.take(&manifest.workload) {
                    Ok(workload) => {
                        chosen.insert(name, (Some(file.name.clone()), Arc::new(workload)));
                    }
                    Err(reason) => {
                        taken.left_out.insert(name, reason);
                    }
                }
            }
            right.push(file.name);
        }
        self.keep(&broken, &defined, &mut chosen, &mut taken);
        self.break_cycles(&mut chosen, &mut taken);
        while chosen.len() > MAX_INSTANCES {
            if let Some((name, _)) = chosen.pop_last() {
                let reason = format!("a node runs at most {MAX_INSTANCES} workloads");
                taken.left_out.insert(name, reason);
            }
        }
        self.remember(right, &broken, &chosen);
        let instances = chosen.into_values().map(|(_, workload)| running(workload));
        taken.instances = Some(instances.collect());
        taken
    }

    /// What the broken files said before goes on, where no other file says something else.
    fn keep(
        &self,
        broken: &[String],
        defined: &BTreeMap<Name, String>,
        chosen: &mut Chosen,
        taken: &mut Taken,
    ) {
        let unknown = broken.iter().any(|file| !self.good.contains_key(file));
        let known = broken.iter().flat_map(|file| {
            let before = self.good.get(file).into_iter().flatten();
            before.map(move |workload| (Some(file.clone()), workload))
        });
        let earlier = self.earlier.iter().filter(|_| unknown).map(|w| (None, w));
        for (file, workload) in known.chain(earlier) {
            let name = &workload.name;
            if !defined.contains_key(name) && !chosen.contains_key(name) {
                taken.kept.insert(name.clone());
                chosen.insert(name.clone(), (file, workload.clone()));
            }
        }
    }

    /// Workloads of several files that wait for each other stay what they were: none of them
    /// would ever start.
    fn break_cycles(&self, chosen: &mut Chosen, taken: &mut Taken) {
        let before: BTreeMap<&Name, &Arc<Workload>> = self
            .earlier
            .iter()
            .chain(self.good.values().flatten())
            .map(|workload| (&workload.name, workload))
            .collect();
        let mut returned: BTreeSet<Name> = BTreeSet::new();
        // Each round brings back or takes out at least one more, so this ends.
        while let Some(names) = cycle(&graph(chosen)) {
            let way: Vec<&str> = names.iter().map(Name::as_str).collect();
            let file = names.first().and_then(|name| chosen.get(name)?.0.clone());
            let flaw = Flaw::new(format!(
                "the workloads wait for each other: {}",
                way.join(" → ")
            ));
            let flaw = flaw.hint("remove one of them from the `depends_on` of another");
            taken
                .problems
                .push(Problem::without_place(file.unwrap_or_default(), flaw));
            let go_back = names.iter().any(|name| !returned.contains(name));
            for name in names {
                let again = !returned.insert(name.clone());
                if again && go_back {
                    continue;
                }
                let old = before.get(&name).filter(|_| go_back);
                match (old, chosen.get_mut(&name)) {
                    (Some(workload), Some(slot)) => {
                        slot.1 = (*workload).clone();
                        taken.kept.insert(name);
                    }
                    (_, None) => {}
                    (None, Some(_)) => {
                        chosen.remove(&name);
                        taken.kept.remove(&name);
                        let reason = "it waits for itself by way of others".to_owned();
                        taken.left_out.insert(name, reason);
                    }
                }
            }
        }
    }

    fn remember(&mut self, right: Vec<String>, broken: &[String], chosen: &Chosen) {
        let mut good: BTreeMap<String, Vec<Arc<Workload>>> =
            right.into_iter().map(|file| (file, Vec::new())).collect();
        for file in broken {
            if let Some(before) = self.good.remove(file) {
                good.insert(file.clone(), before);
            }
        }
        for (file, workload) in chosen.values() {
            let Some(file) = file.as_ref().filter(|file| !broken.contains(file)) else {
                continue;
            };
            if let Some(of_file) = good.get_mut(file) {
                of_file.push(workload.clone());
            }
        }
        if broken.iter().all(|file| good.contains_key(file)) {
            self.earlier.clear();
        }
        self.good = good;
    }
}

fn running(workload: Arc<Workload>) -> AssignedInstance {
    AssignedInstance {
        workload,
        desired: Desired::Running,
        restart_count: 0,
        guard: None,
        next: None,
        trace: None,
    }
}

fn graph(chosen: &Chosen) -> BTreeMap<Name, Vec<Name>> {
    let with_order = chosen.values().filter(|(_, w)| !w.depends_on.is_empty());
    with_order
        .map(|(_, w)| (w.name.clone(), w.depends_on.keys().cloned().collect()))
        .collect()
}
