//! Starts the child on trial and waits for its end. One thread and no async runtime, since the
//! child dies with the thread that started it, and a board has to hold both for a while.

use super::{
    decide::{Ending, How},
    record::OnTrial,
    strays,
};
use crate::{
    runtime::process::Signals,
    support::{service, without_escapes},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
};
use std::{
    collections::VecDeque,
    io::{Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{self, ChildStderr, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tracing::{info, warn};

/// Lines that are kept of what the child wrote, and bytes of each.
const LAST_LINES: usize = 10;
const LINE_BYTES: usize = 256;
/// The guard waits longer than the child has to judge itself: half as long again, within these.
const SLACK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// How long a child that was asked to stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at everything.
const TICK: Duration = Duration::from_millis(500);
/// Pieces of output that are read before something else is looked at.
const PIECES: usize = 64;

/// What the guard asks about the child by its process number.
pub(super) struct Child<'a> {
    /// What it was told of itself in [`super::marker::VARIABLE`].
    pub marker: &'a dyn Fn(u32) -> Option<String>,
    /// Asked when it has ended: the record does not call it current, so that nothing of it is to
    /// stay.
    pub given_up: &'a dyn Fn() -> bool,
}

/// Starts what `command` starts and waits until it has ended; never longer than the trial's limit
/// and some slack. What is left of one that is given up is killed.
pub(super) fn watch(mut command: Command, trial: &OnTrial, about: &Child<'_>) -> Ending {
    let begun = Instant::now();
    let not_started = |error: std::io::Error| Ending {
        how: How::NotStarted(error.to_string()),
        after_ms: 0,
        last_lines: Vec::new(),
    };
    // Before the child is there: its end, and what is asked meanwhile, are read as signals.
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return not_started(error),
    };
    // A group of its own: a terminal's Ctrl-C comes to the guard, which passes it on once.
    service::hide_from(&mut command)
        .process_group(0)
        .stderr(Stdio::piped());
    let mut child = match Signals::spare(&mut command).spawn() {
        Ok(child) => child,
        Err(error) => return not_started(error),
    };
    let version = &trial.edition.version;
    info!(
        version,
        pid = child.id(),
        "waits as guard of another version"
    );
    service::ready();
    service::status(&format!("tries version {version}"));
    let limit = Duration::from_millis(trial.limit_ms);
    let limit = limit + (limit / 2).clamp(SLACK.0, SLACK.1);
    let mut words = Words::of(child.stderr.take());
    let clear = |child: Pid| {
        if (about.given_up)() {
            let number = child.as_raw_pid().unsigned_abs();
            strays::kill(child, (about.marker)(number).as_deref());
        }
    };
    let (how, after) = attend(&mut child, &signals, &mut words, begun, limit, &clear);
    words.pump();
    words.line_ends();
    signals.release();
    Ending {
        how,
        after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
        last_lines: words.last.into(),
    }
}

fn attend(
    child: &mut process::Child,
    signals: &Signals,
    words: &mut Words,
    begun: Instant,
    limit: Duration,
    clear: &dyn Fn(Pid),
) -> (How, Duration) {
    let watchdog = service::watchdog_interval();
    let tick = watchdog.map_or(TICK, |every| every.min(TICK));
    let pid = Pid::from_child(child);
    let mut asked: Option<Instant> = None;
    let mut timed_out = false;
    loop {
        if watchdog.is_some() {
            service::alive();
        }
        wait_for(signals, words, tick);
        for number in signals.take() {
            let signal = match number {
                libc::SIGTERM | libc::SIGINT => Signal::TERM,
                libc::SIGHUP => Signal::HUP,
                _ => continue,
            };
            if signal == Signal::TERM {
                asked.get_or_insert_with(Instant::now);
            }
            // Its status has not been asked for, so that the number is still its own.
            let _ = kill_process(pid, signal);
        }
        words.pump();
        let ended = strays::has_ended(pid);
        if ended {
            // Before its status is asked for: then its number, and its group's, are free.
            clear(pid);
        }
        let status = if ended { child.try_wait() } else { Ok(None) };
        match status {
            Ok(None) => {}
            Ok(Some(status)) => {
                let how = match (asked, timed_out) {
                    (Some(_), _) => How::Asked,
                    (None, true) => How::TimedOut,
                    (None, false) => how_ended(status),
                };
                return (how, begun.elapsed());
            }
            Err(error) => return (How::NotStarted(error.to_string()), begun.elapsed()),
        }
        let overdue = asked.map_or(begun.elapsed() > limit, |at| at.elapsed() > STOP_LIMIT);
        if overdue && !timed_out {
            timed_out = true;
            warn!("kills the version on trial: its time is up");
            // It alone, until it has ended: then what it started goes as well.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn how_ended(status: ExitStatus) -> How {
    match (status.code(), status.signal()) {
        (Some(code), _) => How::Exit(code),
        (None, signal) => How::Signal(signal.unwrap_or(0)),
    }
}

/// Until there is a signal or some output, at most so long.
fn wait_for(signals: &Signals, words: &Words, limit: Duration) {
    let limit = Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(1),
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    let mut descriptors = vec![PollFd::new(signals, PollFlags::IN)];
    if let Some(pipe) = &words.pipe {
        descriptors.push(PollFd::new(pipe, PollFlags::IN));
    }
    let _ = poll(&mut descriptors, Some(&limit));
}

/// What the child writes: passed on, and its last lines kept.
struct Words {
    pipe: Option<ChildStderr>,
    last: VecDeque<String>,
    line: Vec<u8>,
}

impl Words {
    fn of(pipe: Option<ChildStderr>) -> Words {
        // Where it cannot be made so it would be waited for: then it is rather not read.
        let pipe = pipe.filter(|pipe| rustix::io::ioctl_fionbio(pipe, true).is_ok());
        Words {
            pipe,
            last: VecDeque::new(),
            line: Vec::new(),
        }
    }

    /// Reads what is there.
    fn pump(&mut self) {
        let mut piece = [0; 4096];
        for _ in 0..PIECES {
            let Some(pipe) = &mut self.pipe else {
                return;
            };
            match pipe.read(&mut piece) {
                Ok(0) => self.pipe = None,
                Ok(n) => self.take(&piece[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let _ = std::io::stderr().write_all(bytes);
        for byte in bytes {
            if *byte == b'\n' {
                self.line_ends();
            } else if self.line.len() < LINE_BYTES {
                self.line.push(*byte);
            }
        }
    }

    fn line_ends(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = without_escapes(&String::from_utf8_lossy(&line)).into_owned();
        if text.trim().is_empty() {
            return;
        }
        if self.last.len() >= LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(text);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{marker::VARIABLE, record::Edition},
        *,
    };
    use std::{cell::Cell, fs, path::Path};

    /// A release that starts something in its group, something in a session of its own, and
    /// something as shims are started; then it ends. Their numbers are in files.
    const FORKS: &str = "sleep 300 & echo $! > group; \
        setsid sh -c 'echo $$ > session; exec sleep 300' & \
        env -i setsid sh -c 'echo $$ > shim; exec sleep 300' & \
        while [ ! -s session ] || [ ! -s shim ]; do sleep 0.01; done; exit 3";

    fn number(dir: &Path, name: &str) -> Pid {
        let text = fs::read_to_string(dir.join(name)).unwrap();
        Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }

    fn runs(pid: Pid) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
        stat.is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
    }

    fn soon(what: impl Fn() -> bool) -> bool {
        let begun = Instant::now();
        while !what() {
            if begun.elapsed() > Duration::from_secs(10) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// How it ended, and what of it runs then: of its group, of its session, as a shim.
    fn watched(given_up: bool) -> (How, [Pid; 3], tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        // As the launcher does it, which knows its own number.
        let launcher = format!("{VARIABLE}=\"trial $$ x\" exec sh -c \"$FORKS\"");
        command
            .args(["-c", &launcher])
            .env("FORKS", FORKS)
            .current_dir(dir.path());
        let trial = OnTrial {
            edition: Edition::default(),
            limit_ms: 60_000,
            tries: 1,
        };
        let asked = Cell::new(0);
        let ending = watch(
            command,
            &trial,
            &Child {
                marker: &|pid| Some(format!("trial {pid} x")),
                given_up: &|| {
                    asked.set(asked.get() + 1);
                    given_up
                },
            },
        );
        assert_eq!(asked.get(), 1);
        let pids = ["group", "session", "shim"].map(|name| number(dir.path(), name));
        (ending.how, pids, dir)
    }

    #[test]
    fn one_on_trial_can_be_asked_to_end_like_any_other_program() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "grep SigBlk /proc/self/status >&2; kill -TERM $$; sleep 300",
        ]);
        let trial = OnTrial {
            edition: Edition::default(),
            limit_ms: 60_000,
            tries: 1,
        };
        let about = Child {
            marker: &|_| None,
            given_up: &|| true,
        };
        let ending = watch(command, &trial, &about);
        let said = ending.last_lines.join("\n");
        assert!(said.ends_with("0000000000000000"), "{said}");
        assert_eq!(ending.how, How::Signal(15), "{said}");
    }

    #[test]
    fn what_a_bad_release_forked_ends_with_it_and_shims_do_not() {
        let (how, [group, session, shim], _dir) = watched(true);
        assert_eq!(how, How::Exit(3));
        assert!(soon(|| !runs(group)), "what was in its group");
        assert!(soon(|| !runs(session)), "what left its group");
        assert!(runs(shim), "shims of workloads stay");
        let _ = kill_process(shim, Signal::KILL);
    }

    #[test]
    fn what_a_release_that_is_current_now_has_started_stays() {
        let (_, pids, _dir) = watched(false);
        for pid in pids {
            assert!(runs(pid));
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    #[test]
    fn the_last_lines_are_kept_and_bounded() {
        let mut words = Words::of(None);
        for n in 0..20 {
            words.take(format!("line {n} {}\n\n", "ü".repeat(400)).as_bytes());
        }
        words.take(b"\x1b[31mno end of line");
        words.line_ends();
        assert_eq!(words.last.len(), LAST_LINES);
        assert_eq!(words.last.back().unwrap(), "no end of line");
        assert!(words.last.front().unwrap().starts_with("line 11 ü"));
        assert!(words.last.iter().all(|l| l.len() <= LINE_BYTES + 3));
    }
}
