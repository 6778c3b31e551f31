//! Asks the controller, and tells the screen: one request at a time, beside it a stream of events
//! and, while one is looked at, of log lines.
//!
//! ```text
//!             every 2 s (longer where answers take long), or at once after an event
//!  Need ────► round: nodes ─► the list that is looked at ─► alerts ─► instances ──► News ──► screen
//!             │ no answer for 15 s, or none at all: Lost, and tried again each second
//! ```
//!
//! Nodes come in each round, since what they measure makes no event. A list other than that is asked
//! for when it comes into view (alerts and instances, which the head counts, always are), after an
//! event, and now and then; not while nothing has happened.

use super::news::{Action, AlertView, Hello, Kind, Need, News};
use crate::{
    cli::{Failure, client::Client},
    controller::{NodeHistory, NumberedEvent},
    fleet::NodeView,
    http::{Cursor, SessionView, VersionView},
    identity::Role,
    model::{LogLine, Name},
};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(2);
/// However long answers take, less than after which they are called old.
const SLOWEST: Duration = Duration::from_secs(5);
/// A round after an event comes no sooner.
const SOONEST: Duration = Duration::from_millis(300);
/// A list is asked for so often although nothing was heard of it.
const ANYWAY: Duration = Duration::from_secs(10);
/// An answer takes no longer, or the controller is lost.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two tries while it is lost.
const AGAIN: Duration = Duration::from_secs(1);
/// Events that are told of at once.
const TOGETHER: usize = 500;
/// They are gathered for so long.
const GATHER: Duration = Duration::from_millis(100);
/// Lines of a log to begin with.
const TAIL: u32 = 500;

/// Whoever cannot send any more is not listened to any more, and ends.
pub(super) type Told = mpsc::Sender<News>;

/// Talks to the controller until nobody listens.
pub(super) struct Feed {
    pub(super) client: Client,
    pub(super) need: watch::Receiver<Need>,
    pub(super) actions: mpsc::Receiver<Action>,
    pub(super) news: Told,
}

/// Who the controller is, and what one may do.
pub(super) async fn hello(client: &mut Client) -> Result<Hello, Failure> {
    let version: VersionView = patient(client.get("/api/v1/version")).await?;
    let session = match patient(client.get::<SessionView>("/api/v1/session")).await {
        Ok(session) => Some(session),
        // An older controller does not say; then nothing is offered.
        Err(failure) if failure.is_final() => None,
        Err(failure) => return Err(failure),
    };
    Ok(Hello {
        version: super::text::plain(&version.version),
        may_change: session.is_some_and(|s| s.role >= Role::Operator),
    })
}

/// The alerts; `None` from a controller that has none to tell of.
pub(super) async fn alerts(client: &mut Client) -> Result<Option<Vec<AlertView>>, Failure> {
    match pages(client, "/api/v1/alerts", None).await {
        Ok(all) => Ok(Some(all)),
        Err(failure) if failure.is_final() => Ok(None),
        Err(failure) => Err(failure),
    }
}

impl Feed {
    pub(super) async fn run(mut self) {
        let happened = Arc::new(Notify::new());
        let events = Events {
            client: self.client.another(),
            news: self.news.clone(),
            happened: happened.clone(),
            last: 0,
        };
        let events = tokio::spawn(events.run());
        let mut log: Option<(u64, JoinHandle<()>)> = None;
        let mut asked: BTreeMap<Kind, Instant> = BTreeMap::new();
        let mut greeted = true;
        let mut looked = Need::default();
        loop {
            let need = self.need.borrow_and_update().clone();
            self.look_at_log(&need, &mut log);
            if need != looked {
                for kind in &need.kinds {
                    asked.remove(kind);
                }
                looked = need.clone();
            }
            let began = Instant::now();
            let pause = match self.round(&need, &mut asked, &mut greeted).await {
                // A controller that is slow is not to be asked all the time.
                Ok(()) => (began.elapsed() * 4).clamp(EVERY, SLOWEST),
                Err(failure) => {
                    self.client = self.client.another();
                    greeted = false;
                    asked.clear();
                    self.tell(News::Lost(failure.message)).await;
                    AGAIN
                }
            };
            if self.news.is_closed() {
                break;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = happened.notified(), if greeted => {
                    asked.clear();
                    // What happens together is looked at once.
                    sleep(SOONEST).await;
                }
                changed = self.need.changed() => if changed.is_err() { break },
                action = self.actions.recv() => match action {
                    Some(action) => self.act(action, &mut asked).await,
                    None => break,
                },
            }
        }
        events.abort();
        if let Some((_, log)) = log {
            log.abort();
        }
    }

    async fn tell(&self, news: News) {
        // Whoever does not listen any more is noticed by the loop.
        let _ = self.news.send(news).await;
    }

    async fn round(
        &mut self,
        need: &Need,
        asked: &mut BTreeMap<Kind, Instant>,
        greeted: &mut bool,
    ) -> Result<(), Failure> {
        if !*greeted {
            let hello = hello(&mut self.client).await?;
            self.tell(News::Hello(hello)).await;
            *greeted = true;
        }
        if let Some(node) = &need.node {
            let view = self.node(node).await?;
            self.tell(News::Node(node.clone(), view)).await;
        }
        let due = |asked: &BTreeMap<Kind, Instant>, kind: &Kind| {
            asked.get(kind).is_none_or(|at| at.elapsed() >= ANYWAY)
        };
        // The line above all lists counts instances; what of a workload waits for its time is
        // known by them.
        let first = Some(Kind::Instances).filter(|_| need.kinds.contains(&Kind::Workloads));
        let always = [Kind::Nodes, Kind::Alerts, Kind::Instances];
        let kinds = need.kinds.iter().copied();
        for kind in first.into_iter().chain(kinds).chain(always) {
            if kind != Kind::Nodes && !due(asked, &kind) {
                continue;
            }
            if kind == Kind::Nodes && asked.get(&kind).is_some_and(|at| at.elapsed() < EVERY / 2) {
                continue;
            }
            self.list(kind).await?;
            asked.insert(kind, Instant::now());
        }
        Ok(())
    }

    async fn list(&mut self, kind: Kind) -> Result<(), Failure> {
        let (client, heard) = (&mut self.client, Some(&self.news));
        let news = match kind {
            Kind::Nodes => News::Nodes(pages(client, "/api/v1/nodes", heard).await?),
            Kind::Instances => News::Instances(patient(client.get("/api/v1/instances")).await?),
            Kind::Workloads => News::Workloads(pages(client, "/api/v1/workloads", heard).await?),
            Kind::Rollouts => News::Rollouts(pages(client, "/api/v1/rollouts", heard).await?),
            Kind::Alerts => News::Alerts(alerts(client).await?),
            // They come by themselves.
            Kind::Events => return Ok(()),
        };
        self.tell(news).await;
        Ok(())
    }

    async fn node(&mut self, node: &Name) -> Result<Option<Box<(NodeView, NodeHistory)>>, Failure> {
        let path = format!("/api/v1/nodes/{node}");
        let view = match patient(self.client.get(&path)).await {
            Ok(view) => view,
            Err(failure) if failure.is_final() => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let path = format!("{path}/history");
        let history = match patient(self.client.get(&path)).await {
            Ok(history) => history,
            // An older controller keeps none.
            Err(failure) if failure.is_final() => NodeHistory::default(),
            Err(failure) => return Err(failure),
        };
        Ok(Some(Box::new((view, history))))
    }

    async fn act(&mut self, action: Action, asked: &mut BTreeMap<Kind, Instant>) {
        let Action {
            path, body, done, ..
        } = action;
        let post = hyper::Method::POST;
        let ordered = patient(self.client.order(post, &path, body.as_ref())).await;
        asked.clear();
        let how = ordered.map(|()| done).map_err(|f| f.message);
        self.tell(News::Done(how)).await;
    }

    /// Follows the log that is looked at, and no other.
    fn look_at_log(&self, need: &Need, log: &mut Option<(u64, JoinHandle<()>)>) {
        let wanted = need.log.as_ref().map(|(.., number)| *number);
        if log.as_ref().map(|(number, _)| *number) == wanted {
            return;
        }
        if let Some((_, task)) = log.take() {
            task.abort();
        }
        if let Some((workload, node, number)) = need.log.clone() {
            let follow = LogLines {
                client: self.client.another(),
                news: self.news.clone(),
                workload,
                node,
                number,
                cursor: Cursor::new(None, true),
            };
            *log = Some((number, tokio::spawn(follow.run())));
        }
    }
}

/// An answer, or a failure when it takes too long.
async fn patient<T>(asking: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::new(format!(
            "it has not answered for {} s",
            PATIENCE.as_secs()
        ))),
    }
}

/// All pages of a list, with a limit for each.
async fn pages<T: DeserializeOwned>(
    client: &mut Client,
    path: &str,
    heard: Option<&Told>,
) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let page = patient(client.get::<Listed<T>>(&format!("{path}?after={after}"))).await?;
        all.extend(page.items);
        match page.next.filter(|next| *next != after) {
            Some(next) => after = next,
            None => return Ok(all),
        }
        if let Some(news) = heard {
            let _ = news.send(News::Heard).await;
        }
    }
}

/// A page of a list; its `next` may be left out.
#[derive(Deserialize)]
struct Listed<T> {
    items: Vec<T>,
    #[serde(default)]
    next: Option<String>,
}

/// Everything that happens.
struct Events {
    client: Client,
    news: Told,
    happened: Arc<Notify>,
    last: u64,
}

impl Events {
    async fn run(mut self) {
        while !self.news.is_closed() {
            // That the controller is lost is found out by the rounds.
            let _ = self.read().await;
            self.client = self.client.another();
            sleep(AGAIN).await;
        }
    }

    async fn read(&mut self) -> Result<(), Failure> {
        let path = format!("/api/v1/events?since={}&follow=true", self.last);
        let mut lines = patient(self.client.stream(&path)).await?;
        loop {
            let Some(first) = lines.next().await? else {
                return Ok(());
            };
            let mut all = Vec::new();
            all.extend(event(&first));
            let until = tokio::time::Instant::now() + GATHER;
            while all.len() < TOGETHER {
                match tokio::time::timeout_at(until, lines.next()).await {
                    Ok(Ok(Some(line))) => all.extend(event(&line)),
                    Ok(Ok(None) | Err(_)) | Err(_) => break,
                }
            }
            let Some(last) = all.last() else { continue };
            self.last = last.id;
            self.happened.notify_one();
            if self.news.send(News::Events(all)).await.is_err() {
                return Ok(());
            }
        }
    }
}

fn event(line: &str) -> Option<NumberedEvent> {
    serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()
}

/// The lines of one instance.
struct LogLines {
    client: Client,
    news: Told,
    workload: Name,
    node: Name,
    number: u64,
    cursor: Cursor,
}

/// One line of the answer.
#[derive(Deserialize)]
struct Answer {
    line: Option<LogLine>,
    notice: Option<String>,
    error: Option<String>,
}

impl LogLines {
    async fn run(mut self) {
        let mut first = true;
        loop {
            let ended = match self.read(first).await {
                Ok(()) => "the controller ended the log; trying again".to_owned(),
                Err(failure) => format!("{}; trying again", failure.message),
            };
            first = false;
            let note = News::LogNote(self.number, ended);
            if self.news.send(note).await.is_err() {
                return;
            }
            self.client = self.client.another();
            sleep(AGAIN).await;
        }
    }

    async fn read(&mut self, first: bool) -> Result<(), Failure> {
        let mut path = format!(
            "/api/v1/workloads/{}/logs?follow=true&node={}",
            self.workload, self.node
        );
        match self.cursor.resume().filter(|_| !first) {
            Some(since) => path.push_str(&format!("&since={since}")),
            None => path.push_str(&format!("&tail={TAIL}")),
        }
        let mut lines = patient(self.client.stream(&path)).await?;
        while let Some(text) = lines.next().await? {
            let answer: Answer = serde_json::from_str(&text)?;
            let news = match answer {
                Answer {
                    line: Some(line), ..
                } => {
                    if !self.cursor.take(&line) {
                        continue;
                    }
                    News::Log(self.number, vec![line])
                }
                Answer {
                    notice: Some(text), ..
                }
                | Answer {
                    error: Some(text), ..
                } => News::LogNote(self.number, text),
                _ => continue,
            };
            if self.news.send(news).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}
