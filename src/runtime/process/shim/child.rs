//! Starts the program: its user, its limits, its environment, and sentences for what goes wrong.

use super::super::directory::InstanceDir;
use super::super::record::{End, Plan};
use super::account::Account;
use super::signals;
use crate::model::Resources;
use rustix::process::{Pid, Resource, Rlimit, geteuid, getpriority_process, getrlimit};
use rustix::process::{setpriority_process, setrlimit};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where programs are looked for unless the workload says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that runs.
#[derive(Debug)]
pub(super) struct Program {
    /// Leader of its own process group.
    pub pid: Pid,
    /// Reading end, not blocking.
    pub stdout: Option<OwnedFd>,
    /// Reading end, not blocking.
    pub stderr: Option<OwnedFd>,
    /// What it was given.
    pub resources: Resources,
    /// What works less well than asked for, one sentence each.
    pub warnings: Vec<String>,
}

/// Why it does not run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotStarted {
    /// One sentence for a person.
    pub message: String,
    /// Trying again without a change may help.
    pub may_pass: bool,
}

impl NotStarted {
    fn for_good(message: String) -> NotStarted {
        NotStarted {
            message,
            may_pass: false,
        }
    }
}

/// Starts what `instance.json` in `dir` says.
pub(super) fn start(dir: &InstanceDir) -> Result<Program, NotStarted> {
    let plan = dir.plan().ok_or_else(|| {
        NotStarted::for_good("its instance.json cannot be read; apply the workload again".into())
    })?;
    let account = Account::find(plan.user.as_deref()).map_err(NotStarted::for_good)?;
    let become_account = may_become(&account)?;
    let place = working_dir(dir, &plan, become_account.then_some(&account))?;
    let mut command = command(&plan, &account)?;
    command.current_dir(&place);

    let groups = become_account.then(|| account.groups.clone());
    let nice = plan.resources.nice;
    let memory = plan.resources.memory;
    let (uid, gid) = (account.uid, account.gid);
    // SAFETY: between fork and exec only system calls are made and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            signals::reset();
            if let Some(nice) = nice {
                // Where this is not allowed it is a warning, see below.
                let _ = setpriority_process(None, nice);
            }
            if let Some(groups) = &groups {
                check(libc::setgroups(groups.len(), groups.as_ptr()))?;
                check(libc::setgid(gid))?;
                check(libc::setuid(uid))?;
            }
            if let Some(memory) = memory {
                limit_memory(memory)?;
            }
            Ok(())
        });
    }
    let mut child = command.spawn().map_err(|error| explain(&plan, &error))?;
    let pid = Pid::from_child(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let program = Program {
        pid,
        stdout: stdout.map(OwnedFd::from),
        stderr: stderr.map(OwnedFd::from),
        warnings: warnings(&plan.resources, pid),
        resources: plan.resources,
    };
    for pipe in [&program.stdout, &program.stderr].into_iter().flatten() {
        let _ = rustix::io::ioctl_fionbio(pipe, true);
    }
    Ok(program)
}

/// What there is to say about an end beyond its number.
pub(super) fn last_words(end: End, resources: &Resources) -> Option<String> {
    let End::Signal(signal) = end else {
        return None;
    };
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGTERM => "SIGTERM",
        _ => "see signal(7)",
    };
    let hint = match resources.memory {
        Some(bytes) if [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS].contains(&signal) => {
            format!("; its memory limit of {} MiB may be too small", bytes >> 20)
        }
        _ => String::new(),
    };
    Some(format!("ended by signal {signal} ({name}){hint}"))
}

/// Whether the account is another one than the agent's.
fn may_become(account: &Account) -> Result<bool, NotStarted> {
    let me = geteuid();
    if me.is_root() {
        // As root also where it stays root: its groups become its own and not the agent's.
        Ok(true)
    } else if me.as_raw() == account.uid {
        Ok(false)
    } else {
        Err(NotStarted::for_good(format!(
            "it cannot run as user `{}` because the agent does not run as root; start the agent \
             as root or leave the user out",
            account.name
        )))
    }
}

fn working_dir(
    dir: &InstanceDir,
    plan: &Plan,
    owner: Option<&Account>,
) -> Result<PathBuf, NotStarted> {
    let Some(place) = &plan.working_dir else {
        let work = dir.work();
        let _ = std::fs::create_dir(&work);
        if let Some(owner) = owner {
            let _ = std::os::unix::fs::chown(&work, Some(owner.uid), Some(owner.gid));
        }
        return Ok(work);
    };
    match std::fs::metadata(place) {
        Ok(found) if found.is_dir() => Ok(PathBuf::from(place)),
        Ok(_) => Err(NotStarted::for_good(format!(
            "working directory `{place}` is not a directory"
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(NotStarted::for_good(
            format!("working directory `{place}` does not exist on this node"),
        )),
        Err(error) => Err(NotStarted::for_good(format!(
            "working directory `{place}` cannot be entered: {error}"
        ))),
    }
}

fn command(plan: &Plan, account: &Account) -> Result<Command, NotStarted> {
    let Some((program, arguments)) = plan.command.split_first() else {
        return Err(NotStarted::for_good(
            "its command is empty; name the program to run".into(),
        ));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", &account.home)
        .env("USER", &account.name)
        .env("LOGNAME", &account.name)
        .env("SHELL", &account.shell)
        .envs(&plan.env)
        .env("FLEETCTL_NODE", plan.node.as_str())
        .env("FLEETCTL_WORKLOAD", plan.workload.as_str())
        .env("FLEETCTL_VERSION", &plan.version)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    Ok(command)
}

/// Limits the address space, never above a limit that the agent itself is under.
fn limit_memory(bytes: u64) -> io::Result<()> {
    let hard = getrlimit(Resource::As).maximum;
    let limit = Some(hard.map_or(bytes, |hard| hard.min(bytes)));
    Ok(setrlimit(
        Resource::As,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )?)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn warnings(resources: &Resources, pid: Pid) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(cpus) = resources.cpus {
        warnings.push(format!(
            "the limit of {cpus} cpus is not enforced: native processes have no such limit here; \
             use `nice`, or run it as a container"
        ));
    }
    if let Some(nice) = resources.nice
        && getpriority_process(Some(pid)).is_ok_and(|now| now != nice)
    {
        warnings.push(format!(
            "niceness {nice} is not in effect: only root may lower it; start the agent as root"
        ));
    }
    warnings
}

/// A sentence for what the kernel said.
fn explain(plan: &Plan, error: &io::Error) -> NotStarted {
    let program = plan.command.first().map(String::as_str).unwrap_or_default();
    let has_path = program.contains('/');
    let message = match error.raw_os_error() {
        Some(libc::ENOENT) if has_path && Path::new(program).exists() => format!(
            "`{program}` needs an interpreter or a loader that does not exist on this node (see \
             its first line, or what it was built for)"
        ),
        Some(libc::ENOENT) if has_path => format!("`{program}` does not exist on this node"),
        Some(libc::ENOENT) => {
            format!("`{program}` does not exist on this node (not found in PATH)")
        }
        Some(libc::EACCES) => match &plan.user {
            Some(user) => format!("`{program}` is not executable by user `{user}`"),
            None => format!("`{program}` is not executable"),
        },
        Some(libc::ENOEXEC) => format!(
            "`{program}` is not a program for this node: it was built for another architecture, \
             or is a script without a first line that names its interpreter"
        ),
        Some(libc::EPERM) => format!(
            "`{program}` may not be started as asked for: the system does not let the agent \
             change to its user and groups"
        ),
        _ => format!("`{program}` cannot be started: {error}"),
    };
    let passing = [
        libc::EAGAIN,
        libc::ENOMEM,
        libc::EMFILE,
        libc::ENFILE,
        libc::ETXTBSY,
    ];
    NotStarted {
        message,
        may_pass: error.raw_os_error().is_some_and(|n| passing.contains(&n)),
    }
}
