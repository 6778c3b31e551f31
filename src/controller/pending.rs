//! Commands that were sent and whose result (log lines, output) somebody waits for.
//!
//! Nothing here waits: a reader that does not keep up loses its stream, never the controller its
//! memory, nor another reader its turn.

use crate::{
    contract::{CommandResult, Logs, Stream},
    model::{CommandOutcome, Name},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{mpsc, oneshot};

/// Commands that may be under way at once.
const MAX_PENDING: usize = 10_000;

/// Too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_PENDING} commands are under way; try again when some have ended")]
pub struct PendingError;

/// What comes of a program that a node runs for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecNews {
    /// It wrote something.
    Output(Stream),
    /// It was given the input of this number; or it was not, since it does not run any more.
    Answered {
        /// Of the input.
        n: u64,
        /// It was given it.
        ok: bool,
    },
}

/// Who waits for what. A command is answered only by the node that it was sent to.
#[derive(Debug, Default)]
pub struct Pending {
    commands: Mutex<BTreeMap<String, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    node: Name,
    result: Option<oneshot::Sender<CommandOutcome>>,
    feed: Feed,
}

/// What comes beside the result.
#[derive(Debug)]
enum Feed {
    /// Nothing, or nobody takes it any more.
    None,
    Lines(mpsc::Sender<Logs>),
    Exec(mpsc::Sender<ExecNews>),
    /// How far it is, in a few words.
    Progress(mpsc::Sender<String>),
}

impl Pending {
    /// Waits for the result of `id`, and for its log lines where `lines` is given; with lines it
    /// must be [`Pending::forget`]ten, since they may come after the result.
    ///
    /// # Errors
    /// [`PendingError`].
    pub fn expect(
        &self,
        id: &str,
        node: &Name,
        lines: Option<mpsc::Sender<Logs>>,
    ) -> Result<oneshot::Receiver<CommandOutcome>, PendingError> {
        self.add(id, node, lines.map_or(Feed::None, Feed::Lines))
    }

    /// Waits for the result of an `exec`, for its output, and for the answers to its input, whose
    /// ids are `{id}.{n}`. It must be [`Pending::forget`]ten.
    ///
    /// # Errors
    /// [`PendingError`].
    pub fn expect_exec(
        &self,
        id: &str,
        node: &Name,
        news: mpsc::Sender<ExecNews>,
    ) -> Result<oneshot::Receiver<CommandOutcome>, PendingError> {
        self.add(id, node, Feed::Exec(news))
    }

    /// Waits for the result of `id`, and hears how far it is. It must be [`Pending::forget`]ten.
    ///
    /// # Errors
    /// [`PendingError`].
    pub fn expect_long(
        &self,
        id: &str,
        node: &Name,
        progress: mpsc::Sender<String>,
    ) -> Result<oneshot::Receiver<CommandOutcome>, PendingError> {
        self.add(id, node, Feed::Progress(progress))
    }

    fn add(
        &self,
        id: &str,
        node: &Name,
        feed: Feed,
    ) -> Result<oneshot::Receiver<CommandOutcome>, PendingError> {
        let (result, receiver) = oneshot::channel();
        let mut commands = self.locked();
        if commands.len() >= MAX_PENDING {
            return Err(PendingError);
        }
        let waiting = Waiting {
            node: node.clone(),
            result: Some(result),
            feed,
        };
        commands.insert(id.to_owned(), waiting);
        Ok(receiver)
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Waiting>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody waits for it any more.
    pub fn forget(&self, id: &str) {
        self.locked().remove(id);
    }

    /// A node's result has come.
    pub fn finish(&self, node: &Name, result: &CommandResult) {
        let mut commands = self.locked();
        if let Some(waiting) = commands.get_mut(&result.id) {
            if waiting.node != *node {
                return;
            }
            if let Some(progress) = &result.outcome.progress {
                if let Feed::Progress(sender) = &waiting.feed {
                    // One that is left out is followed by another.
                    let _ = sender.try_send(progress.clone());
                }
                return;
            }
            if let Some(sender) = waiting.result.take() {
                let _ = sender.send(result.outcome.clone());
            }
            if matches!(waiting.feed, Feed::None) {
                commands.remove(&result.id);
            }
            return;
        }
        if let Some((session, n)) = input_of(&result.id) {
            let ok = result.outcome.ok;
            news(&mut commands, node, session, ExecNews::Answered { n, ok });
        }
    }

    /// Log lines have come.
    pub fn lines(&self, node: &Name, logs: Logs) {
        let mut commands = self.locked();
        let waiting = commands.get_mut(&logs.command);
        let Some(waiting) = waiting.filter(|w| w.node == *node) else {
            return;
        };
        if let Feed::Lines(lines) = &waiting.feed
            && lines.try_send(logs).is_err()
        {
            waiting.feed = Feed::None;
        }
    }

    /// Output of a program has come.
    pub fn output(&self, node: &Name, stream: Stream) {
        let session = stream.command.clone();
        let mut commands = self.locked();
        news(&mut commands, node, &session, ExecNews::Output(stream));
    }
}

/// The session and number of an input, from its id.
fn input_of(id: &str) -> Option<(&str, u64)> {
    let (session, n) = id.rsplit_once('.')?;
    Some((session, n.parse().ok()?))
}

fn news(commands: &mut BTreeMap<String, Waiting>, node: &Name, session: &str, what: ExecNews) {
    let waiting = commands.get_mut(session);
    if let Some(waiting) = waiting.filter(|w| w.node == *node)
        && let Feed::Exec(sender) = &waiting.feed
        && sender.try_send(what).is_err()
    {
        waiting.feed = Feed::None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LogStream;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn result(id: &str) -> CommandResult {
        CommandResult {
            id: id.into(),
            outcome: CommandOutcome::done(),
        }
    }

    fn logs(n: u64) -> Logs {
        Logs {
            command: "a".into(),
            n,
            lines: Vec::new(),
        }
    }

    #[test]
    fn a_command_is_answered_only_by_its_node() {
        let pending = Pending::default();
        let mut waits = pending.expect("a", &name("pi-1"), None).unwrap();
        pending.finish(&name("pi-2"), &result("a"));
        assert!(waits.try_recv().is_err());
        pending.finish(&name("pi-1"), &result("a"));
        assert_eq!(waits.try_recv(), Ok(CommandOutcome::done()));
        assert!(pending.locked().is_empty());
    }

    #[test]
    fn lines_may_come_after_the_result_and_a_slow_reader_loses_its_stream() {
        let pending = Pending::default();
        let (lines, mut queue) = mpsc::channel(2);
        let mut waits = pending.expect("a", &name("pi-1"), Some(lines)).unwrap();
        pending.lines(&name("pi-1"), logs(0));
        pending.lines(&name("pi-2"), logs(9));
        pending.finish(&name("pi-1"), &result("a"));
        assert!(waits.try_recv().is_ok());
        pending.lines(&name("pi-1"), logs(1));
        pending.lines(&name("pi-1"), logs(2));
        pending.lines(&name("pi-1"), logs(3));
        assert_eq!(queue.try_recv().unwrap().n, 0);
        assert_eq!(queue.try_recv().unwrap().n, 1);
        let end = queue.try_recv();
        assert_eq!(end, Err(mpsc::error::TryRecvError::Disconnected));
        pending.forget("a");
        assert!(pending.locked().is_empty());
    }

    #[test]
    fn a_long_command_says_how_far_it_is_before_it_ends() {
        let pending = Pending::default();
        let (progress, mut told) = mpsc::channel(1);
        let mut waits = pending.expect_long("a", &name("pi-1"), progress).unwrap();
        let going_on = |text: &str| CommandResult {
            id: "a".into(),
            outcome: CommandOutcome::going_on(text),
        };
        pending.finish(&name("pi-1"), &going_on("1%"));
        pending.finish(&name("pi-2"), &going_on("77%"));
        pending.finish(&name("pi-1"), &going_on("one too many for who reads"));
        assert!(waits.try_recv().is_err());
        assert_eq!(told.try_recv().as_deref(), Ok("1%"));
        assert!(told.try_recv().is_err());
        pending.finish(&name("pi-1"), &result("a"));
        assert_eq!(waits.try_recv(), Ok(CommandOutcome::done()));
        // Somebody who does not listen to it is not answered by it.
        let mut waits = pending.expect("a", &name("pi-1"), None).unwrap();
        pending.finish(&name("pi-1"), &going_on("2%"));
        assert!(waits.try_recv().is_err());
    }

    #[test]
    fn an_exec_hears_of_its_output_and_its_input() {
        let pending = Pending::default();
        let (news, mut queue) = mpsc::channel(8);
        let node = name("pi-1");
        let _waits = pending.expect_exec("a", &node, news).unwrap();
        let output = Stream {
            command: "a".into(),
            n: 0,
            stream: LogStream::Stdout,
            data: String::new(),
        };
        pending.output(&node, output.clone());
        pending.finish(&node, &result("a.7"));
        pending.finish(&node, &result("b.7"));
        pending.finish(&node, &result("a.x"));
        pending.finish(&name("pi-2"), &result("a.8"));
        assert_eq!(queue.try_recv(), Ok(ExecNews::Output(output)));
        let answered = ExecNews::Answered { n: 7, ok: true };
        assert_eq!(queue.try_recv(), Ok(answered));
        assert!(queue.try_recv().is_err());
    }

    #[test]
    fn commands_under_way_are_bounded() {
        let pending = Pending::default();
        for i in 0..MAX_PENDING {
            pending.expect(&i.to_string(), &name("n"), None).unwrap();
        }
        let more = pending.expect("more", &name("n"), None);
        assert_eq!(more.unwrap_err(), PendingError);
    }
}
