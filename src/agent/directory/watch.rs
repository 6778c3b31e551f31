//! That something changed in a directory, and that it has come to rest.

use super::read::{is_manifest, may_be_beside};
use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};
use std::{
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
    time,
};

/// How long until a directory that cannot be watched is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Quiet for so long, it has come to rest.
const QUIET_MS: u64 = 200;
/// What never comes to rest is looked at all the same.
const LONGEST_MS: u64 = 2_000;

/// Gathers changes: an editor, a copy of twenty files or a checkout is one change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::agent) struct Debounce {
    /// Milliseconds of the first and of the last change that wait.
    waiting: Option<(u64, u64)>,
}

impl Debounce {
    /// Something changed at `now`, monotonic milliseconds.
    pub(in crate::agent) fn note(&mut self, now: u64) {
        let first = self.waiting.map_or(now, |(first, _)| first);
        self.waiting = Some((first, now));
    }

    /// When [`Debounce::take`] is worth calling.
    pub(in crate::agent) fn due_ms(&self) -> Option<u64> {
        let (first, last) = self.waiting?;
        Some((last + QUIET_MS).min(first + LONGEST_MS))
    }

    /// It is time; then nothing waits any more.
    pub(in crate::agent) fn take(&mut self, now: u64) -> bool {
        let due = self.due_ms().is_some_and(|due| now >= due);
        if due {
            self.waiting = None;
        }
        due
    }
}

/// Watches `dir` for ever, also when it goes and comes back. Says when something may have changed,
/// first of all when it begins to watch; words that nobody has taken yet are one.
pub(in crate::agent) fn watch(dir: PathBuf) -> mpsc::Receiver<()> {
    let (changes, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut told = false;
        while !changes.is_closed() {
            match attach(&dir) {
                Ok(watched) => {
                    told = false;
                    let _ = changes.try_send(());
                    pass_on(&watched, &changes).await;
                    // Gone, or another one by now: who reads it is told which.
                    let _ = changes.try_send(());
                }
                Err(error) if !told => {
                    told = true;
                    let dir = dir.display().to_string();
                    tracing::warn!(
                        dir,
                        %error,
                        "directory cannot be watched, it is tried again every two seconds"
                    );
                }
                Err(_) => {}
            }
            tokio::select! {
                () = changes.closed() => {}
                () = time::sleep(RETRY) => {}
            }
        }
    });
    receiver
}

fn attach(dir: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let watched = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::CLOSE_WRITE
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    inotify::add_watch(&watched, dir, flags)?;
    // SAFETY: an `OwnedFd` is open until it is dropped, which `AsyncFd` does itself, and always
    // gives the same descriptor.
    let registered = unsafe { AsyncFd::register_with_interest(watched, Interest::READABLE) };
    Ok(registered?)
}

/// Until the directory is gone, or nobody listens any more.
async fn pass_on(watched: &AsyncFd<OwnedFd>, changes: &mpsc::Sender<()>) {
    loop {
        let ready = tokio::select! {
            ready = watched.readable() => ready,
            () = changes.closed() => return,
        };
        let Ok(mut ready) = ready else {
            return;
        };
        match ready.try_io(|fd| drain(fd.get_ref())) {
            // Not readable after all.
            Err(_) => {}
            Ok(Ok(Heard::Change)) => {
                let _ = changes.try_send(());
            }
            Ok(Ok(Heard::Nothing)) => {}
            Ok(Ok(Heard::Gone) | Err(_)) => return,
        }
    }
}

/// What the waiting events say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    /// Nothing about a manifest or what it takes in.
    Nothing,
    /// Something about one of them.
    Change,
    /// The directory is not there any more, or at another place.
    Gone,
}

/// Takes every event that waits.
fn drain(fd: &OwnedFd) -> io::Result<Heard> {
    let mut buffer = [MaybeUninit::uninit(); 4_096];
    let mut events = inotify::Reader::new(fd, &mut buffer);
    let mut heard = None;
    loop {
        match events.next() {
            Ok(event) => {
                let name = event.file_name().map(|n| n.to_string_lossy());
                let this = classify(event.events(), name.as_deref());
                heard = heard.max(Some(this));
            }
            Err(Errno::WOULDBLOCK) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    heard.ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

fn classify(flags: ReadFlags, name: Option<&str>) -> Heard {
    let gone =
        ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED;
    if flags.intersects(gone) {
        Heard::Gone
    } else if flags.contains(ReadFlags::QUEUE_OVERFLOW)
        || name.is_some_and(|name| is_manifest(name) || may_be_beside(name))
    {
        Heard::Change
    } else {
        Heard::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn changes_that_follow_each_other_are_one() {
        let mut d = Debounce::default();
        assert_eq!(d.due_ms(), None);
        assert!(!d.take(10_000));
        d.note(1_000);
        d.note(1_150);
        assert!(!d.take(1_300), "it is not at rest yet");
        assert!(d.take(1_350));
        assert_eq!(d.due_ms(), None);
    }

    #[test]
    fn what_never_rests_is_looked_at_all_the_same() {
        let mut d = Debounce::default();
        for now in (1_000..3_000).step_by(100) {
            d.note(now);
            assert!(!d.take(now), "{now}");
        }
        assert!(d.take(3_000));
    }

    #[test]
    fn only_what_is_about_a_manifest_counts() {
        let write = ReadFlags::CLOSE_WRITE;
        for (flags, name, expected) in [
            (write, Some("a.toml"), Heard::Change),
            (ReadFlags::MOVED_TO, Some("a.yml"), Heard::Change),
            (write, Some(".a.toml.swp"), Heard::Nothing),
            (write, Some(".a.toml"), Heard::Nothing),
            (write, Some("a.toml~"), Heard::Nothing),
            (write, Some("app.conf"), Heard::Change),
            (write, Some(".env"), Heard::Change),
            (write, Some("app.conf.swp"), Heard::Nothing),
            (write, Some("app.conf.tmp"), Heard::Nothing),
            (ReadFlags::ATTRIB, None, Heard::Nothing),
            (ReadFlags::QUEUE_OVERFLOW, None, Heard::Change),
            (ReadFlags::DELETE_SELF, None, Heard::Gone),
            (ReadFlags::IGNORED, None, Heard::Gone),
        ] {
            assert_eq!(classify(flags, name), expected, "{flags:?} {name:?}");
        }
    }

    #[tokio::test]
    async fn a_directory_that_comes_later_is_watched_then() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("workloads");
        let mut changes = watch(dir.clone());
        fs::create_dir(&dir).unwrap();
        let patience = Duration::from_secs(20);
        let heard = time::timeout(patience, changes.recv()).await;
        assert_eq!(heard, Ok(Some(())), "it does not begin to watch");
        fs::write(dir.join("a.toml"), "x").unwrap();
        let heard = time::timeout(patience, changes.recv()).await;
        assert_eq!(heard, Ok(Some(())), "it does not see the file");
    }
}
