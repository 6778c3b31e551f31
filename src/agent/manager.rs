//! What an agent's loop tells the service manager; see [`crate::support::service`].

use super::AgentEnd;
use crate::support::service::{self, Watchdog};
use std::time::Duration;
use tokio::time::Instant;

/// Between two lines of status, at least: a busy agent has better things to do.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// The service manager, as one loop sees it; nobody for an agent that is simulated.
pub(super) struct Manager {
    listens: bool,
    watchdog: Watchdog,
    said: String,
    say_next: Instant,
    /// Something may have changed since, which is to be said at `say_next`.
    waits: bool,
}

impl Manager {
    /// `real`: this agent is the process that the manager knows.
    pub(super) fn of(real: bool) -> Manager {
        let listens = real && service::is_watched();
        Manager {
            watchdog: match listens {
                true => Watchdog::of_this_process(),
                false => Watchdog::off(),
            },
            listens,
            said: String::new(),
            say_next: Instant::now(),
            waits: false,
        }
    }

    pub(super) fn ready(&self) {
        if self.listens {
            service::ready();
        }
    }

    /// A line of status, where it is another one than the last.
    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        let now = Instant::now();
        self.waits = self.listens && now < self.say_next;
        if !self.listens || self.waits {
            return;
        }
        let line = line();
        if line != self.said {
            service::status(&line);
            self.said = line;
            self.say_next = now + STATUS_EVERY;
        }
    }

    /// Until the loop has to show that it goes round (it has, then), or has something to say.
    pub(super) async fn due(&mut self) {
        let (waits, say_next) = (self.waits, self.say_next);
        tokio::select! {
            () = self.watchdog.due() => {}
            () = tokio::time::sleep_until(say_next), if waits => {}
        }
    }

    /// Does what a reload is.
    pub(super) fn reload(&self, work: impl FnOnce()) {
        if self.listens {
            service::reloading();
        }
        work();
        self.ready();
    }

    /// Nothing is said of an end that the manager does not see, since the process stays.
    pub(super) fn stopping(&self, end: &AgentEnd) {
        if self.listens && *end == AgentEnd::Stopped {
            service::stopping();
        }
    }
}
