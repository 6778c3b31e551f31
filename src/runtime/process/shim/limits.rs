//! What a program may use: by its cgroup where there is one, else by rlimits, else not at all,
//! and then the state says so.

use super::super::account::Account;
use super::super::cgroup::{Cgroup, Enforced};
use crate::model::Resources;
use rustix::process::setpriority_process;
use rustix::process::{Pid, Resource, Rlimit, getpriority_process, getrlimit, setrlimit};
use std::io;
use std::os::fd::OwnedFd;

/// Everything that a program does to itself between fork and exec, made ready before.
#[derive(Debug)]
pub(super) struct Limits {
    /// The way into the cgroup.
    door: Option<OwnedFd>,
    nice: Option<i32>,
    /// What is written to `oom_score_adj`.
    oom_score: Option<String>,
    address_space: Option<u64>,
    processes: Option<u64>,
    open_files: Option<u64>,
}

impl Limits {
    /// Sets what the cgroup enforces, and prepares the rest for a program that runs as `account`.
    /// Also what cannot be enforced, a sentence each.
    pub fn prepare(
        resources: &Resources,
        cgroup: Option<&Cgroup>,
        account: &Account,
    ) -> (Limits, Vec<String>) {
        let door = cgroup.and_then(|cgroup| cgroup.door().ok());
        let enforced = match (&door, cgroup) {
            (Some(_), Some(cgroup)) => cgroup.limit(resources),
            _ => Enforced::default(),
        };
        let mut warnings = Vec::new();
        if let Some(cpus) = resources.cpus.filter(|_| !enforced.cpus) {
            warnings.push(format!(
                "the limit of {cpus} cpus is not enforced: this node has no cgroup controller \
                 for native processes; use `nice`, or run it as a container"
            ));
        }
        let mut processes = None;
        if let Some(pids) = resources.pids.filter(|_| !enforced.pids) {
            if account.uid == 0 {
                warnings.push(format!(
                    "the limit of {pids} processes is not enforced: this node has no cgroup \
                     controller for native processes, and root has no other limit; give it a `user`"
                ));
            } else {
                processes = Some(u64::from(pids));
                warnings.push(format!(
                    "the limit of {pids} processes counts all processes of user `{}`: this node \
                     has no cgroup controller for native processes",
                    account.name
                ));
            }
        }
        let open_files = resources.open_files.map(u64::from);
        if let Some(wanted) = open_files {
            let allowed = raise_open_files(wanted);
            if allowed < wanted {
                warnings.push(format!(
                    "the limit of {wanted} open files is {allowed} in effect: the system allows \
                     the agent no more"
                ));
            }
        }
        let limits = Limits {
            door: door.map(OwnedFd::from),
            nice: resources.nice,
            oom_score: resources.oom_score.map(|score| score.to_string()),
            // A program reserves far more address space than it uses: worse than a cgroup.
            address_space: resources.memory.filter(|_| !enforced.memory),
            processes,
            open_files,
        };
        (limits, warnings)
    }

    /// Before the program becomes who it is to be. Makes only system calls.
    pub fn enter(&self) {
        // None of these is worth not starting it; what failed is seen from outside.
        if let Some(door) = &self.door {
            let _ = rustix::io::write(door, b"0");
        }
        if let Some(nice) = self.nice {
            let _ = setpriority_process(None, nice);
        }
        if let Some(score) = &self.oom_score {
            // SAFETY: a path that ends with NUL, and a descriptor that is used here alone.
            unsafe {
                let fd = libc::open(
                    c"/proc/self/oom_score_adj".as_ptr(),
                    libc::O_WRONLY | libc::O_CLOEXEC,
                );
                if fd >= 0 {
                    libc::write(fd, score.as_ptr().cast(), score.len());
                    libc::close(fd);
                }
            }
        }
    }

    /// After that, since one of them counts by user. Makes only system calls.
    pub fn confine(&self) -> io::Result<()> {
        if let Some(bytes) = self.address_space {
            lower(Resource::As, bytes)?;
        }
        if let Some(files) = self.open_files {
            lower(Resource::Nofile, files)?;
        }
        if let Some(processes) = self.processes {
            lower(Resource::Nproc, processes)?;
        }
        Ok(())
    }
}

/// What a running program was refused, a sentence each.
pub(super) fn refused(resources: &Resources, pid: Pid) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(nice) = resources.nice
        && getpriority_process(Some(pid)).is_ok_and(|now| now != nice)
    {
        warnings.push(format!(
            "niceness {nice} is not in effect: only root may lower it; start the agent as root"
        ));
    }
    if let Some(score) = resources.oom_score {
        let path = format!("/proc/{}/oom_score_adj", pid.as_raw_pid());
        let now = std::fs::read_to_string(path).ok();
        if now.is_some_and(|now| now.trim().parse() != Ok(score)) {
            warnings.push(format!(
                "oom_score {score} is not in effect: only root may lower it; start the agent as \
                 root"
            ));
        }
    }
    warnings
}

/// Never above a limit that the agent itself is under.
fn lower(resource: Resource, wanted: u64) -> io::Result<()> {
    let hard = getrlimit(resource).maximum;
    let limit = Some(hard.map_or(wanted, |hard| hard.min(wanted)));
    Ok(setrlimit(
        resource,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )?)
}

/// Lets the program have more than the shim has, where that is allowed; what it can have.
fn raise_open_files(wanted: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    let Some(hard) = now.maximum.filter(|hard| *hard < wanted) else {
        return wanted;
    };
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: now.current,
            maximum: Some(wanted),
        },
    );
    if raised.is_ok() { wanted } else { hard }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(uid: u32) -> Account {
        Account {
            uid,
            gid: uid,
            groups: vec![uid],
            name: "pi".into(),
            home: "/".into(),
            shell: "/bin/sh".into(),
        }
    }

    #[test]
    fn what_no_cgroup_enforces_falls_back_or_is_told() {
        let resources = Resources {
            memory: Some(1 << 30),
            cpus: Some(0.5),
            pids: Some(20),
            oom_score: Some(-5),
            ..Resources::default()
        };
        let (limits, warnings) = Limits::prepare(&resources, None, &account(0));
        assert_eq!(limits.address_space, Some(1 << 30));
        assert_eq!(limits.processes, None);
        assert_eq!(limits.oom_score.as_deref(), Some("-5"));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(
            warnings[0].contains("0.5 cpus is not enforced"),
            "{warnings:?}"
        );
        assert!(
            warnings[1].contains("20 processes is not enforced"),
            "{warnings:?}"
        );
        let (limits, warnings) = Limits::prepare(&resources, None, &account(1000));
        assert_eq!(limits.processes, Some(20));
        assert!(
            warnings[1].contains("all processes of user `pi`"),
            "{warnings:?}"
        );
    }

    #[test]
    fn what_a_cgroup_enforces_needs_nothing_else() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().join("w-x");
        std::fs::create_dir(&path).expect("a directory");
        for file in ["cgroup.procs", "memory.max", "pids.max", "cpu.max"] {
            std::fs::write(path.join(file), "").expect("a file");
        }
        let cgroup = Cgroup::of(path).expect("one of ours");
        let resources = Resources {
            memory: Some(1 << 30),
            cpus: Some(0.5),
            pids: Some(20),
            ..Resources::default()
        };
        let (limits, warnings) = Limits::prepare(&resources, Some(&cgroup), &account(0));
        assert_eq!((limits.address_space, limits.processes), (None, None));
        assert_eq!(warnings, [""; 0]);
    }
}
