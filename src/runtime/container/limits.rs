//! Limits, and which of them a node cannot enforce.
//!
//! A limit that the engine or the kernel refuses is left out and said so: a board without a
//! memory cgroup still runs its workloads. Where the complaint tells which limit it is about, only
//! that one goes; else all do, since what never starts is worth less than a limit.

use super::{fault::Fault, sentence::shortened};
use crate::model::{Resources, Workload};

/// One kind of limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// No swap on top of the memory, which many small boards' kernels cannot count.
    Swap,
    /// Memory.
    Memory,
    /// Processors.
    Cpus,
    /// Processes and threads.
    Pids,
    /// Open files of one process.
    OpenFiles,
    /// What is added when the kernel looks for a victim.
    OomScore,
}

impl Limit {
    const ALL: [Limit; 6] = [
        Limit::Swap,
        Limit::Memory,
        Limit::Cpus,
        Limit::Pids,
        Limit::OpenFiles,
        Limit::OomScore,
    ];

    /// As people say it.
    fn as_str(self) -> &'static str {
        match self {
            Limit::Swap => "swap",
            Limit::Memory => "memory",
            Limit::Cpus => "processors",
            Limit::Pids => "processes",
            Limit::OpenFiles => "open files",
            Limit::OomScore => "its OOM score",
        }
    }

    /// Words in a refusal that are about this one, in lower case. They are Docker's own checks,
    /// and what runc and crun say about files of cgroups.
    fn words(self) -> &'static [&'static str] {
        match self {
            Limit::Swap => &["memsw", "memory.swap", "swap limit", "memoryswap"],
            Limit::Memory => &[
                "memory limit",
                "minimum memory",
                "memory.max",
                "memory.limit_in_bytes",
                "controller `memory`",
            ],
            Limit::Cpus => &[
                "range of cpus",
                "nanocpus",
                "cpu cfs",
                "cpu quota",
                "cpu.max",
                "cpu.cfs",
                "controller `cpu`",
            ],
            Limit::Pids => &["pids.max", "pids limit", "pidslimit", "controller `pids`"],
            Limit::OpenFiles => &["rlimit", "ulimit"],
            Limit::OomScore => &["oom_score_adj", "oomscoreadj", "oom score", "oom-score-adj"],
        }
    }
}

/// Which of a workload's limits are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    left_out: [bool; Limit::ALL.len()],
}

impl Limits {
    /// All of them.
    pub(crate) fn all() -> Limits {
        Limits {
            left_out: [false; Limit::ALL.len()],
        }
    }

    /// It is asked for.
    pub(crate) fn has(self, limit: Limit) -> bool {
        !self.left_out[limit as usize]
    }

    /// Without this one; without a limit of memory there is none of swap either.
    pub(crate) fn without(mut self, limit: Limit) -> Limits {
        self.left_out[limit as usize] = true;
        if limit == Limit::Memory {
            self.left_out[Limit::Swap as usize] = true;
        }
        self
    }

    /// Those that the workload has and that are still asked for.
    fn in_force(self, workload: &Workload) -> Vec<Limit> {
        let asked = |limit: &Limit| self.has(*limit) && is_set(&workload.resources, *limit);
        Limit::ALL.into_iter().filter(asked).collect()
    }
}

fn is_set(resources: &Resources, limit: Limit) -> bool {
    match limit {
        Limit::Swap | Limit::Memory => resources.memory.is_some(),
        Limit::Cpus => resources.cpus.is_some(),
        Limit::Pids => resources.pids.is_some(),
        Limit::OpenFiles => resources.open_files.is_some(),
        Limit::OomScore => resources.oom_score.is_some(),
    }
}

/// What to ask for the next time, when it was a limit that was refused; a warning goes with it.
/// Each time there is less, so this ends.
pub(crate) fn less(
    fault: &Fault,
    workload: &Workload,
    limits: Limits,
    warnings: &mut Vec<String>,
) -> Option<Limits> {
    let Fault::Said { text, .. } = fault else {
        return None;
    };
    let in_force = limits.in_force(workload);
    let words = fault.words();
    let about = |limit: &&Limit| limit.words().iter().any(|word| words.contains(word));
    let is_other = ["oom-killed", "device", "exec:"]
        .iter()
        .any(|word| words.contains(word));
    let named = in_force.iter().find(about).copied();
    if is_other || in_force.is_empty() || (named.is_none() && !fault.refuses_some_limit()) {
        return None;
    }
    // Nobody asked for a limit of swap by itself, so nobody misses it.
    if named == Some(Limit::Swap) {
        return Some(limits.without(Limit::Swap));
    }
    let gone = named.map_or(in_force, |limit| vec![limit]);
    let names: Vec<&str> = gone
        .iter()
        .filter(|limit| **limit != Limit::Swap)
        .map(|limit| limit.as_str())
        .collect();
    warnings.push(format!(
        "its limit of {} is not enforced on this node: {}",
        names.join(", "),
        shortened(text)
    ));
    Some(gone.into_iter().fold(limits, Limits::without))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PullPolicy, Run};

    fn limited() -> Workload {
        let run = Run::Container {
            image: "x".to_owned(),
            command: Vec::new(),
            pull: PullPolicy::Missing,
            engine: None,
            user: None,
            working_dir: None,
            network: None,
            options: Box::default(),
        };
        let mut workload = Workload::new("x".parse().unwrap(), run);
        workload.resources = Resources {
            memory: Some(64 << 20),
            cpus: Some(0.5),
            pids: Some(10),
            open_files: Some(10),
            oom_score: Some(-500),
            ..Resources::default()
        };
        workload
    }

    #[test]
    fn exactly_what_was_complained_about_is_left_out() {
        let cases: [(&str, &[Limit]); 8] = [
            (
                "Minimum memory limit allowed is 6MB",
                &[Limit::Memory, Limit::Swap],
            ),
            (
                "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
                &[Limit::Cpus],
            ),
            (
                "runc: unable to start container process: error setting cgroup config for \
                 procHooks process: openat2 /sys/fs/cgroup/x/memory.max: no such file",
                &[Limit::Memory, Limit::Swap],
            ),
            (
                "failed to write 67108864: openat2 /x/memory.memsw.limit_in_bytes: no such file",
                &[Limit::Swap],
            ),
            (
                "crun: the requested cgroup controller `pids` is not available: OCI runtime error",
                &[Limit::Pids],
            ),
            (
                "error setting rlimit type 7: operation not permitted",
                &[Limit::OpenFiles],
            ),
            (
                "write /proc/self/oom_score_adj: permission denied",
                &[Limit::OomScore],
            ),
            ("error setting cgroup config: it is broken", &Limit::ALL),
        ];
        for (text, gone) in cases {
            let mut warnings = Vec::new();
            let left = less(&Fault::said(text), &limited(), Limits::all(), &mut warnings);
            let left = left.unwrap_or_else(|| panic!("{text}"));
            for limit in Limit::ALL {
                assert_eq!(left.has(limit), !gone.contains(&limit), "{limit:?}: {text}");
            }
            assert_eq!(warnings.is_empty(), gone == [Limit::Swap], "{text}");
        }
    }

    #[test]
    fn other_refusals_are_none_of_limits() {
        let mut warnings = Vec::new();
        for text in [
            "container init was OOM-killed (memory limit too low?)",
            "no space left on device",
            "exec: \"/bin/memory.max\": stat /bin/memory.max: no such file or directory",
            "port is already allocated",
        ] {
            let left = less(&Fault::said(text), &limited(), Limits::all(), &mut warnings);
            assert_eq!(left, None, "{text}");
        }
        assert!(warnings.is_empty());
    }

    #[test]
    fn an_engine_that_only_complains_is_given_up() {
        let mut limits = Limits::all();
        let mut warnings = Vec::new();
        let fault = Fault::said("error setting cgroup config for memory.max and pids.max");
        let mut tries = 0;
        while let Some(left) = less(&fault, &limited(), limits, &mut warnings) {
            assert_ne!(left, limits);
            limits = left;
            tries += 1;
        }
        assert!(tries <= Limit::ALL.len());
    }
}
