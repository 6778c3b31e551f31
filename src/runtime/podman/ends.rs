//! The ends of first processes, noticed at once.
//!
//! Podman's own word, the event `died`, comes from the process that cleans up after a container,
//! a tenth of a second or more after its end. That is longer than a start takes. The kernel tells
//! at once who waits for a process by a descriptor:
//!
//! ```text
//! started ──► look ──┐
//!                    ▼
//! listed ──► pid ──► wait for the process ──► look until Podman knows too ──► Changed
//! ```
//!
//! Only looking makes Podman notice (see [`super::look`]); afterwards its lists are right as well,
//! and the container can be started again: what has not been cleaned up by then is used again, and
//! the cleanup that comes later leaves a container alone that runs.
//!
//! This makes things faster and nothing else. Events go on as they are, and where a process cannot
//! be waited for (an old kernel, no descriptors left, an engine whose pids are not those of this
//! process) they are all there is.

use super::{Podman, look};
use crate::runtime::{RuntimeEvent, process::readable::readable};
use futures_util::{
    StreamExt,
    future::{AbortHandle, abortable},
    stream::FuturesUnordered,
};
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::sleep,
};

/// Most containers that are waited for, a descriptor each; more than a node runs.
const WATCHED_LIMIT: usize = 1_000;
/// How often Podman is asked whether it knows. It does with the first or second time; on a board
/// that is busy with other things it may take longer.
const LOOKS: u32 = 11;
/// Between the first looks; each of the later ones waits twice as long as the one before.
const FIRST_DELAY: Duration = Duration::from_millis(5);
/// Looks without a longer delay.
const QUICK_LOOKS: u32 = 3;
/// Looks at the same time, when many end at once.
const LOOKS_AT_ONCE: usize = 4;

/// A container's id and the pid of its first process; `None`: it has just been started, and Podman
/// is still to be asked. The event `start` is as late as the others are.
type Runs = (String, Option<u32>);

/// Takes the word that a container runs to who waits for its end, while somebody does.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<Option<mpsc::Sender<Runs>>>);

impl Ends {
    /// Podman says that this container runs and that this is its first process.
    pub(super) fn note(&self, handle: &str, pid: u32) {
        self.tell((handle.to_owned(), Some(pid)));
    }

    /// It has been started just now.
    pub(super) fn note_start(&self, handle: &str) {
        self.tell((handle.to_owned(), None));
    }

    fn tell(&self, runs: Runs) {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen.as_ref() {
            // When there are too many, the events of the others have to do.
            let _ = seen.try_send(runs);
        }
    }

    fn open(&self) -> mpsc::Receiver<Runs> {
        let (sender, receiver) = mpsc::channel(WATCHED_LIMIT);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }
}

/// What there is to tell after an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Something happened to the container.
    Changed,
    /// Nothing: whoever asked for the end tells it.
    AskedFor,
    /// Nothing that is known here; it is not waited for that pid again.
    Unknown,
}

/// Sends [`RuntimeEvent::Changed`] when a container of those that are noted ends, until `events`
/// has no receiver.
pub(super) async fn watch(podman: &Podman, events: mpsc::Sender<RuntimeEvent>) {
    let mut seen = podman.ends.open();
    let turns = Semaphore::new(LOOKS_AT_ONCE);
    let mut watched: HashMap<String, (Option<u32>, AbortHandle)> = HashMap::new();
    let mut waits = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = events.closed() => return,
            Some((handle, pid)) = seen.recv() => {
                let before = watched.get(&handle);
                if before.is_some_and(|(known, _)| pid.is_some() && *known == pid)
                    || (before.is_none() && watched.len() >= WATCHED_LIMIT)
                {
                    continue;
                }
                let waiting = end_of(podman, &turns, handle.clone(), pid);
                let (waiting, abort) = abortable(waiting);
                waits.push(waiting);
                if let Some((_, before)) = watched.insert(handle, (pid, abort)) {
                    before.abort();
                }
            }
            Some(ended) = waits.next(), if !waits.is_empty() => {
                // Else its container has another pid by now.
                let Ok((handle, end)) = ended else { continue };
                if end == End::Unknown {
                    continue;
                }
                watched.remove(&handle);
                if end == End::Changed
                    && events.send(RuntimeEvent::Changed { handle }).await.is_err()
                {
                    return;
                }
            }
        }
    }
}

/// Waits until the process has ended and Podman knows it.
async fn end_of(
    podman: &Podman,
    turns: &Semaphore,
    handle: String,
    pid: Option<u32>,
) -> (String, End) {
    let look = async || {
        let _turn = turns.acquire().await;
        look::at(&podman.socket, &handle).await
    };
    let pid = match pid {
        Some(pid) => Some(pid),
        None => match look().await {
            Ok(look) => look.pid(),
            Err(_) => return (handle, End::Unknown),
        },
    };
    if let Some(pid) = pid
        && !process_ends(pid).await
    {
        return (handle, End::Unknown);
    }
    // A stop waits for the end itself, and returns too early when it finds it noticed by another.
    if podman.ended_by_us.has(&handle) {
        return (handle, End::AskedFor);
    }
    let Some(pid) = pid else {
        return (handle, End::Changed);
    };
    for turn in 0..LOOKS {
        if turn > 0 {
            sleep(delay_before(turn)).await;
        }
        match look().await {
            Ok(look) if look.pid() == Some(pid) => {}
            // Ended, started again, gone, or the engine is away: all worth another look.
            _ => return (handle, End::Changed),
        }
    }
    tracing::debug!(handle, pid, "a process has ended whose container runs");
    (handle, End::Unknown)
}

fn delay_before(turn: u32) -> Duration {
    FIRST_DELAY * (1 << turn.saturating_sub(QUICK_LOOKS).min(LOOKS))
}

/// Waits for its end; `false` when that cannot be waited for.
async fn process_ends(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    let opened = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => readable(fd),
        // It has ended since it was listed, or Podman has not noticed yet.
        Err(Errno::SRCH) => return true,
        Err(error) => Err(error.into()),
    };
    match opened {
        Ok(process) => process.readable().await.is_ok(),
        Err(error) => {
            tracing::debug!(pid = pid.as_raw_nonzero(), %error, "a process cannot be waited for");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::RegistryCredentials;
    use std::{
        process::{Child, Command},
        sync::Arc,
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
        time::timeout,
    };

    const PATIENCE: Duration = Duration::from_secs(30);

    fn program() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    fn podman(dir: &std::path::Path) -> Podman {
        Podman::new(
            dir.join("podman.sock"),
            Arc::new(RegistryCredentials::default()),
            Arc::new(Semaphore::new(1)),
            dir.join("place"),
        )
    }

    /// Until somebody watches and has taken all that was noted.
    async fn until_watched(podman: &Podman) {
        let has_all = |seen: &mpsc::Sender<Runs>| seen.capacity() == WATCHED_LIMIT;
        while !podman.ends.0.lock().unwrap().as_ref().is_some_and(has_all) {
            tokio::task::yield_now().await;
        }
    }

    /// Answers the first `running` looks with "runs as `pid`", and the rest with "ended".
    async fn answer(listener: UnixListener, pid: u32, running: u32) {
        for n in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let (status, pid) = if n < running {
                ("running", pid)
            } else {
                ("stopped", 0)
            };
            let body = format!(r#"{{"State": {{"Status": "{status}", "Pid": {pid}}}}}"#);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_end_is_told_once_podman_knows_it() {
        for running in [0, 3] {
            let dir = tempfile::tempdir().unwrap();
            let podman = podman(dir.path());
            let listener = UnixListener::bind(&podman.socket).unwrap();
            let mut program = program();
            let pid = program.id();
            let (sender, mut receiver) = mpsc::channel(1);
            let doing = async {
                until_watched(&podman).await;
                podman.ends.note("a", pid);
                program.kill().unwrap();
                program.wait().unwrap();
                receiver.recv().await
            };
            let told = tokio::select! {
                told = timeout(PATIENCE, doing) => told.unwrap(),
                () = watch(&podman, sender) => panic!("it ended while somebody listens"),
                () = answer(listener, pid, running) => panic!("it answers for ever"),
            };
            let handle = "a".to_owned();
            assert_eq!(told, Some(RuntimeEvent::Changed { handle }));
        }
    }

    #[tokio::test]
    async fn an_end_that_was_asked_for_or_is_not_known_is_not_told() {
        for (noted, running, asked_for, expected) in [
            (true, 0, false, End::Changed),
            (true, 0, true, End::AskedFor),
            (true, u32::MAX, false, End::Unknown),
            // Just started: the first look tells the pid, or that it has ended already.
            (false, 0, false, End::Changed),
            (false, 0, true, End::AskedFor),
            (false, 2, false, End::Changed),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let podman = podman(dir.path());
            let listener = UnixListener::bind(&podman.socket).unwrap();
            let mut program = program();
            let pid = program.id();
            program.kill().unwrap();
            program.wait().unwrap();
            if asked_for {
                podman.ended_by_us.note("a");
            }
            let turns = Semaphore::new(1);
            let noted = noted.then_some(pid);
            let ending = end_of(&podman, &turns, "a".to_owned(), noted);
            let (_, end) = tokio::select! {
                ended = timeout(PATIENCE, ending) => ended.unwrap(),
                () = answer(listener, pid, running) => panic!("it answers for ever"),
            };
            assert_eq!(end, expected);
        }
    }

    #[tokio::test]
    async fn another_pid_takes_the_place_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let podman = podman(dir.path());
        let (mut first, mut second) = (program(), program());
        let (sender, mut receiver) = mpsc::channel(4);
        let doing = async {
            until_watched(&podman).await;
            podman.ends.note("a", first.id());
            podman.ends.note("a", second.id());
            podman.ends.note("b", first.id());
            until_watched(&podman).await;
            first.kill().unwrap();
            first.wait().unwrap();
            // Nobody answers at the socket, which is worth another look.
            let event = receiver.recv().await;
            let of = |handle: &str| {
                Some(RuntimeEvent::Changed {
                    handle: handle.to_owned(),
                })
            };
            assert_eq!(event, of("b"));
            second.kill().unwrap();
            second.wait().unwrap();
            assert_eq!(receiver.recv().await, of("a"));
            assert!(receiver.try_recv().is_err());
        };
        tokio::select! {
            done = timeout(PATIENCE, doing) => done.unwrap(),
            () = watch(&podman, sender) => panic!("it ended while somebody listens"),
        }
    }

    #[test]
    fn the_looks_end_soon() {
        let all: Duration = (1..LOOKS).map(delay_before).sum();
        assert_eq!(delay_before(1), FIRST_DELAY);
        assert_eq!(all, Duration::from_millis(1_285));
    }
}
