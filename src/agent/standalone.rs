//! An agent without a fleet: [`Core`] and a directory of manifests.
//!
//! The directory is read at the start, whenever something in it changes (and has come to rest for
//! 200 ms), at SIGHUP, and when somebody asks by the local socket. What comes of it is an
//! assignment like a controller's: stored, so that a power cut in the middle of an edit starts
//! what ran, with a generation that grows when something changed, and obeyed by the same
//! supervisor. So what did not change is not touched.
//!
//! `down` gives the supervisor an assignment in which everything is to be stopped, waits until it
//! is, and ends the agent. That assignment is not stored: the next start runs everything again.

use super::{
    AgentEnd, AgentError,
    core::{Core, LIST_EVERY, Said},
    directory::{Debounce, Directory, Here, Reading, Taken, read, watch},
    hangup::Hangup,
    local::{AgentKind, Context, Local, LocalRequest, Own, Server},
    manager::Manager,
    store::Store,
};
use crate::{
    config::AgentConfig,
    manifest::Problem,
    model::{Assignment, Desired, InstanceState, Name, NodeConfig, ObservedInstance},
    supervisor::Input,
    support::{Shutdown, clock},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};
use tracing::{info, warn};

/// Requests for a reading that wait for one; more are told to try again.
const MAX_RELOADS: usize = 64;

/// After so long every runtime has been listed, or cannot be.
const KNOWN: Duration = Duration::from_secs(10);

/// An agent cannot run without a controller.
#[derive(Debug, thiserror::Error)]
pub enum StandaloneError {
    /// Two would say what it runs.
    #[error(
        "the node {node} with its data in {path} belongs to a fleet, and its controller says what \
         it runs; give the standalone agent a --data-dir of its own, or delete fleet.json there to \
         leave the fleet"
    )]
    Joined {
        /// Its name in the fleet.
        node: Name,
        /// The data directory.
        path: String,
    },
    /// A mistyped name is said at once; later a directory that is away is waited for.
    #[error("{path} is not a directory of manifests: {reason}; name one with --dir")]
    NoDirectory {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Runs the manifests in `dir` until it is asked to stop; then they go on.
///
/// # Errors
/// A data directory that cannot be used or has joined a fleet, or a `dir` that is not there when
/// nothing has ever run.
pub(super) async fn run(
    config: AgentConfig,
    dir: &Path,
    store: Store,
    shutdown: Shutdown,
) -> Result<AgentEnd, AgentError> {
    let path = || store.dir().display().to_string();
    if let Some(member) = store.membership()? {
        let (node, path) = (member.node, path());
        return Err(StandaloneError::Joined { node, path }.into());
    }
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let core = Core::new(&config, store, config.name.clone())?;
    if core.latest.is_none()
        && let Err(error) = std::fs::read_dir(&dir)
    {
        let (path, reason) = (dir.display().to_string(), error.to_string());
        return Err(StandaloneError::NoDirectory { path, reason }.into());
    }
    Standalone::new(config, dir, core).run(shutdown).await
}

/// A reading, and the node as it was then: a camera may have been plugged in.
/// `None`: it broke off.
type Look = Option<(Reading, Here)>;

/// Everything is being stopped.
struct Down {
    /// Who waits for it.
    reply: super::local::Reply,
    since: Instant,
}

struct Standalone {
    config: AgentConfig,
    dir: PathBuf,
    core: Core,
    directory: Directory,
    local: Local,
    server: Server,
    /// Changes that have not come to rest.
    debounce: Debounce,
    looks: mpsc::Receiver<Look>,
    looking: mpsc::Sender<Look>,
    /// A reading is under way, and whether another one must follow it.
    under_way: bool,
    again: bool,
    /// Who waits for the reading under way, and who for the one after it.
    asked: Vec<super::local::Reply>,
    asked_again: Vec<super::local::Reply>,
    /// Of the last reading.
    problems: Vec<Problem>,
    left_out: BTreeMap<Name, String>,
    kept: BTreeSet<Name>,
    /// Everything is being stopped.
    down: Option<Down>,
    end: Option<AgentEnd>,
}

impl Standalone {
    fn new(config: AgentConfig, dir: PathBuf, core: Core) -> Standalone {
        let (looking, looks) = mpsc::channel(1);
        let server = Server::start(config.local_socket.as_deref());
        Standalone {
            directory: Directory::new(core.latest.as_ref()),
            config,
            dir,
            core,
            local: Local::default(),
            server,
            debounce: Debounce::default(),
            looks,
            looking,
            under_way: false,
            again: false,
            asked: Vec::new(),
            asked_again: Vec::new(),
            problems: Vec::new(),
            left_out: BTreeMap::new(),
            kept: BTreeSet::new(),
            down: None,
            end: None,
        }
    }

    async fn run(mut self, shutdown: Shutdown) -> Result<AgentEnd, AgentError> {
        info!(
            node = %self.core.node,
            dir = %self.dir.display(),
            "without a controller, the directory says what runs"
        );
        let mut hangup = Hangup::listen();
        // Before anything that runtimes say is taken: what the directory does not have any more is
        // not to be started.
        let first = self.begin_look().await;
        self.looked(first);
        let mut changes = watch(self.dir.clone());
        let mut listing = time::interval_at(Instant::now() + LIST_EVERY, LIST_EVERY);
        let mut manager = Manager::of(self.config.own_process);
        manager.ready();
        let end = loop {
            let wake = self.next_wake();
            manager.say(|| self.in_a_line());
            tokio::select! {
                () = manager.due() => {}
                () = shutdown.wait() => self.end = Some(AgentEnd::Stopped),
                Some(reply) = self.core.replies.recv() => self.core.reply(reply),
                Some(stored) = self.core.stored.recv() => self.core.assignment_stored(stored),
                Some(request) = self.server.requests.recv() => self.request(request),
                Some(look) = self.looks.recv() => self.looked(look),
                Some(()) = changes.recv() => self.debounce.note(clock::mono_ms()),
                () = hangup.next() => manager.reload(|| self.look()),
                _ = listing.tick() => self.core.list_everything(),
                () = time::sleep_until(wake) => self.woken(),
            }
            self.pass_on();
            self.all_down();
            if let Some(end) = self.end.take() {
                break end;
            }
        };
        info!("agent stops");
        manager.stopping(&end);
        self.server.finish().await;
        Ok(end)
    }

    /// How it is, for who asks the service manager.
    fn in_a_line(&self) -> String {
        let observed = self.core.observed();
        let running = observed.iter().filter(|o| o.state.is_up()).count();
        let problems = match self.problems.len() {
            0 => String::new(),
            problems => format!(", {problems} problems in the directory"),
        };
        format!("standalone, {running} running{problems}")
    }

    fn next_wake(&self) -> Instant {
        let now_ms = clock::mono_ms();
        let at = |ms: u64| Instant::now() + Duration::from_millis(ms.saturating_sub(now_ms));
        let read = self.debounce.due_ms().map(at);
        let sure = self.down.as_ref().map(|down| down.since + KNOWN);
        // Only while it is to come: afterwards everything that happens is looked at anyway.
        let sure = sure.filter(|sure| *sure > Instant::now());
        let all = [self.core.deadline(), read, sure].into_iter().flatten();
        all.min()
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600))
    }

    fn woken(&mut self) {
        self.core.step(Input::Tick);
        if self.debounce.take(clock::mono_ms()) {
            self.look();
        }
    }

    /// Begins to read the directory, beside the loop; one reading at a time.
    fn look(&mut self) {
        if self.under_way {
            self.again = true;
            return;
        }
        self.under_way = true;
        let (look, looking) = (self.begin_look(), self.looking.clone());
        tokio::spawn(async move { drop(looking.send(look.await).await) });
    }

    fn begin_look(&self) -> impl Future<Output = Look> + use<> {
        let (dir, config) = (self.dir.clone(), self.config.clone());
        let reading = tokio::task::spawn_blocking(move || (read(&dir), Here::of(&config)));
        async move { reading.await.ok() }
    }

    fn looked(&mut self, look: Look) {
        self.under_way = false;
        let answer = match look {
            Some((reading, here)) => {
                if self.down.is_none() {
                    let taken = self.directory.take(reading, &here);
                    self.obey(taken);
                }
                Ok(())
            }
            None => Err("reading the directory broke off".to_owned()),
        };
        for reply in self.asked.drain(..) {
            let _ = reply.send(answer.clone());
        }
        self.asked.append(&mut self.asked_again);
        if std::mem::take(&mut self.again) {
            self.look();
        }
    }

    /// Says what is wrong, and runs what is right where that is something new.
    fn obey(&mut self, taken: Taken) {
        if self.problems != taken.problems {
            taken.problems.iter().for_each(log);
        }
        if self.left_out != taken.left_out {
            for (workload, reason) in &taken.left_out {
                info!(%workload, reason, "workload is left out");
            }
        }
        self.problems = taken.problems;
        self.left_out = taken.left_out;
        self.kept = taken.kept;
        let Some(instances) = taken.instances else {
            return;
        };
        let latest = self.core.latest.as_ref();
        if latest.is_some_and(|a| a.instances == instances) {
            return;
        }
        let generation = self.core.supervisor.generation();
        self.core.assign(Assignment {
            generation: generation + 1,
            instances,
            cfg: NodeConfig::default(),
        });
    }

    fn request(&mut self, request: LocalRequest) {
        let context = Context {
            kind: AgentKind::Standalone,
            connected: None,
            dir: Some(self.dir.display().to_string()),
            problems: &self.problems,
            left_out: &self.left_out,
            kept: &self.kept,
        };
        match self.local.handle(request, &mut self.core, &context) {
            None => {}
            Some(Own::Reload(reply)) if self.down.is_some() => {
                let _ = reply.send(Err("everything is being stopped".to_owned()));
            }
            Some(Own::Reload(reply)) => self.reload(reply),
            Some(Own::Down(reply)) if self.down.is_some() => {
                let _ = reply.send(Err("everything is being stopped already".to_owned()));
            }
            Some(Own::Down(reply)) => self.begin_down(reply),
        }
    }

    fn reload(&mut self, reply: super::local::Reply) {
        // A reading that is under way may have seen the directory before the change.
        let waiting = match self.under_way {
            true => &mut self.asked_again,
            false => &mut self.asked,
        };
        waiting.retain(|reply| !reply.is_closed());
        if waiting.len() >= MAX_RELOADS {
            let _ = reply.send(Err("too many wait for it; try again".to_owned()));
            return;
        }
        waiting.push(reply);
        self.look();
    }

    fn begin_down(&mut self, reply: super::local::Reply) {
        info!("everything is to stop, then the agent ends");
        let mut instances = self
            .core
            .latest
            .as_ref()
            .map_or_else(Vec::new, |a| a.instances.clone());
        for instance in &mut instances {
            instance.desired = Desired::Stopped;
        }
        let since = Instant::now();
        self.down = Some(Down { reply, since });
        let generation = self.core.supervisor.generation() + 1;
        // Not stored: the next start is to run what is stored.
        self.core.step(Input::Assigned(Assignment {
            generation,
            instances,
            cfg: NodeConfig::default(),
        }));
    }

    /// Ends the agent once everything has stopped. What is pending may be there all the same,
    /// right after a start, until its runtime has been listed.
    fn all_down(&mut self) {
        let Some(down) = &self.down else {
            return;
        };
        let pending = |o: &ObservedInstance| o.state == InstanceState::Pending;
        let known = down.since.elapsed() >= KNOWN || !self.core.observed().iter().any(pending);
        if known && self.core.supervisor.all_stopped() {
            if let Some(down) = self.down.take() {
                let _ = down.reply.send(Ok(()));
            }
            self.end = Some(AgentEnd::Stopped);
        }
    }

    /// There is nobody to tell but who waits at the socket; the core has logged the rest.
    fn pass_on(&mut self) {
        let said: Vec<Said> = std::mem::take(&mut self.core.said);
        for said in &said {
            self.local.said(said);
        }
    }
}

fn log(problem: &Problem) {
    let place = match problem.line {
        0 => problem.file.clone(),
        line => format!("{}:{line}:{}", problem.file, problem.column),
    };
    let hint = problem.hint.as_deref();
    warn!(place, hint, "{}", problem.message);
}
