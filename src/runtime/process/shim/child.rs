//! Starts the program and says how it ended.

use super::super::cgroup::{Cgroup, KILL_LIMIT};
use super::super::directory::InstanceDir;
use super::super::program::{NotStarted, Setting, explain};
use super::super::record::{End, Ending};
use super::limits::{self, Limits};
use super::signals;
use crate::model::LogLimits;
use rustix::process::Pid;
use serde::Deserialize;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;

/// Longest sentence of a program about its own end, bytes.
const MESSAGE_MAX: usize = 600;
/// Longest traceback, bytes.
const DETAIL_MAX: usize = 4096;

/// A program that runs.
#[derive(Debug)]
pub(super) struct Program {
    /// Leader of its own process group.
    pub pid: Pid,
    /// Reading end, not blocking.
    pub stdout: Option<OwnedFd>,
    /// Reading end, not blocking.
    pub stderr: Option<OwnedFd>,
    /// Where it and its offspring are.
    pub cgroup: Option<Cgroup>,
    /// Its limit of memory, bytes.
    pub memory: Option<u64>,
    /// How much of its output is kept.
    pub logs: LogLimits,
    /// It may write down what it failed with.
    pub tells_error: bool,
    /// What works less well than asked for, one sentence each.
    pub warnings: Vec<String>,
}

/// Starts what `instance.json` in `dir` says, in `cgroup` where that can be made.
pub(super) fn start(dir: &InstanceDir, cgroup: Option<PathBuf>) -> Result<Program, NotStarted> {
    let plan = dir.plan().ok_or_else(|| {
        NotStarted::for_good("its instance.json cannot be read; apply the workload again".into())
    })?;
    let setting = Setting::of(dir, &plan)?;
    let mut command = setting.command(&plan, &plan.command)?;
    if plan.python.is_some() {
        let path = dir.make_error_file(&setting.account);
        let path = path.map_err(|error| NotStarted {
            message: format!("its directory cannot be written: {error}"),
            may_pass: true,
        })?;
        command.env("FLEETCTL_ERROR_FILE", path);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);

    let mut cgroup = cgroup
        .and_then(Cgroup::of)
        .filter(|cgroup| cgroup.make().is_ok());
    let (limits, mut warnings) =
        Limits::prepare(&plan.resources, cgroup.as_ref(), &setting.account);
    let identity = setting.identity.clone();
    // SAFETY: between fork and exec only system calls are made and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            signals::reset();
            limits.enter();
            identity.assume()?;
            limits.confine()
        });
    }
    let spawned = command.spawn();
    // With it goes the way into the cgroup, and the environment.
    drop(command);
    let mut child = spawned.map_err(|error| {
        if let Some(cgroup) = &cgroup {
            cgroup.remove(KILL_LIMIT);
        }
        explain(
            &plan,
            plan.command.first().map_or("", String::as_str),
            &error,
        )
    })?;
    let pid = Pid::from_child(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    warnings.extend(limits::refused(&plan.resources, pid));
    if let Some(made) = cgroup.take_if(|cgroup| !cgroup.holds(pid) && !super::has_ended(pid)) {
        made.remove(KILL_LIMIT);
        let limits = &plan.resources;
        if limits.memory.is_some() || limits.pids.is_some() || limits.cpus.is_some() {
            warnings.push(
                "its limits may not be enforced: the system did not let it into its cgroup".into(),
            );
        }
    }
    let program = Program {
        pid,
        stdout: stdout.map(OwnedFd::from),
        stderr: stderr.map(OwnedFd::from),
        cgroup,
        memory: plan.resources.memory,
        logs: plan.logs,
        tells_error: plan.python.is_some(),
        warnings,
    };
    for pipe in [&program.stdout, &program.stderr].into_iter().flatten() {
        let _ = rustix::io::ioctl_fionbio(pipe, true);
    }
    Ok(program)
}

/// The ending, with what there is to say beyond its number. `machine_kills`: the kernel has
/// killed something on this machine for want of memory while the program ran.
pub(super) fn ending(
    dir: &InstanceDir,
    program: &Program,
    end: End,
    machine_kills: bool,
) -> Ending {
    let killed = end == End::Signal(libc::SIGKILL);
    let out_of_memory = match program
        .cgroup
        .as_ref()
        .and_then(Cgroup::out_of_memory_kills)
    {
        Some(kills) => kills > 0 && end != End::Code(0),
        None => killed && machine_kills,
    };
    let mut ending = Ending::now(end, last_words(end, program.memory, out_of_memory));
    ending.out_of_memory = out_of_memory;
    if program.tells_error
        && matches!(end, End::Code(code) if code != 0)
        && let Some(error) = dir.error().as_deref().and_then(PythonError::parse)
    {
        ending.message = Some(error.sentence());
        ending.detail = error.detail();
    }
    ending
}

/// What a callable failed with, as the bootstrap writes it.
#[derive(Debug, Deserialize)]
struct PythonError {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    traceback: String,
}

impl PythonError {
    /// `None` for anything else: the program may write there what it wants.
    fn parse(bytes: &[u8]) -> Option<PythonError> {
        serde_json::from_slice(bytes).ok()
    }

    fn sentence(&self) -> String {
        let mut sentence = if self.message.is_empty() {
            self.kind.clone()
        } else {
            format!("{}: {}", self.kind, self.message)
        };
        sentence.truncate(sentence.floor_char_boundary(MESSAGE_MAX));
        // One line, whatever the exception says.
        sentence.replace(['\n', '\r'], " ")
    }

    /// The end of the traceback, where it says what happened.
    fn detail(&self) -> Option<String> {
        let from = self.traceback.len().saturating_sub(DETAIL_MAX);
        let tail = &self.traceback[self.traceback.ceil_char_boundary(from)..];
        (!tail.is_empty()).then(|| tail.to_owned())
    }
}

fn last_words(end: End, memory: Option<u64>, out_of_memory: bool) -> Option<String> {
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
    let hint = match memory {
        Some(bytes) if out_of_memory => {
            format!(
                "; it needs more than its memory limit of {} MiB",
                bytes >> 20
            )
        }
        Some(bytes) if [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS].contains(&signal) => {
            format!("; its memory limit of {} MiB may be too small", bytes >> 20)
        }
        _ => String::new(),
    };
    Some(format!("ended by signal {signal} ({name}){hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_callable_is_bounded_and_one_line() {
        let long = "ß".repeat(10_000);
        let text = serde_json::json!({"type": "E", "message": format!("a\nb{long}"),
            "traceback": format!("{long}end")});
        let error = PythonError::parse(text.to_string().as_bytes()).expect("an error");
        let sentence = error.sentence();
        assert!(
            sentence.starts_with("E: a b") && sentence.len() <= MESSAGE_MAX,
            "{sentence}"
        );
        let detail = error.detail().expect("a traceback");
        assert!(detail.ends_with("ßend") && detail.len() <= DETAIL_MAX);
        for other in [&b""[..], b"{}", b"[1]", b"\xff", b"{\"type\":1}"] {
            assert!(PythonError::parse(other).is_none(), "{other:?}");
        }
        let bare = PythonError::parse(b"{\"type\":\"E\"}").expect("an error");
        assert_eq!((bare.sentence().as_str(), bare.detail()), ("E", None));
    }

    #[test]
    fn an_end_for_want_of_memory_names_the_limit() {
        let kill = End::Signal(libc::SIGKILL);
        let says = |end, memory, oom| last_words(end, memory, oom).unwrap_or_default();
        assert_eq!(says(kill, None, false), "ended by signal 9 (SIGKILL)");
        assert!(says(kill, Some(64 << 20), true).ends_with("its memory limit of 64 MiB"));
        assert!(says(End::Signal(libc::SIGSEGV), Some(1 << 20), false).ends_with("too small"));
        assert_eq!(says(End::Code(1), Some(1), true), "");
    }
}
