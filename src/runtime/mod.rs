//! What executes instances: one trait, three runtimes.
//!
//! | module | runs | by |
//! |---|---|---|
//! | [`docker`] | containers | Docker Engine's API |
//! | [`podman`] | containers | libpod, and Podman's Docker-compatible API where libpod falls short |
//! | [`process`] | native processes | a small shim per process, which survives the agent |
//!
//! A runtime decides nothing: the [`crate::supervisor`] says what to do and a runtime does it,
//! once, and says in a sentence for people why it could not. The engine's own restart policy is
//! never used. Everything that a runtime makes carries labels (`io.fleetctl.*`), so that an
//! agent that was killed finds its instances again and touches none of them.

pub(crate) mod cgroup_usage;
mod container;
pub mod docker;
pub(crate) mod files;
mod images;
pub mod podman;
pub mod process;
mod pull;

pub(crate) use images::LENT;
pub use images::{ImageStore, KeptImages, Lent};
pub(crate) use pull::Reference;
pub use pull::{CredentialsError, RegistryCredentials};

use crate::model::{
    AssignedInstance, ExecSpec, HealthStatus, LogLine, LogQuery, LogStream, Name, RuntimeKind,
    TerminalSize, TraceContext, UnixMs, Unmanaged, Workload,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The Docker-compatible API behind an engine's socket, for a look at the engine itself.
///
/// # Errors
/// The path cannot be that of a socket.
pub(crate) fn connect_to_engine(socket: &std::path::Path) -> Result<bollard::Docker, RuntimeError> {
    container::connect(socket).map_err(|_| {
        RuntimeError::Refused(format!("{} cannot be used as a socket", socket.display()))
    })
}

/// Label: the node that made it.
pub const LABEL_NODE: &str = "io.fleetctl.node";
/// Label: the workload.
pub const LABEL_WORKLOAD: &str = "io.fleetctl.workload";
/// Label: the workload's version, as the user wrote it.
pub const LABEL_VERSION: &str = "io.fleetctl.version";
/// Label: [`Workload::spec_hash`].
pub const LABEL_SPEC_HASH: &str = "io.fleetctl.spec-hash";

/// Label: the trace of the request by which a person made it so. It says nothing of what it is.
pub const LABEL_TRACE: &str = "io.fleetctl.trace";
/// Environment variable: that request as a `traceparent`, where the workload has no other.
pub(crate) const ENV_TRACE: &str = "TRACEPARENT";

/// An instance that a runtime knows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Container id, or for a process its instance directory's name.
    pub handle: String,
    /// From its labels.
    pub workload: Name,
    /// From its labels.
    pub version: String,
    /// From its labels.
    pub spec_hash: String,
    /// What it does now.
    pub status: FoundStatus,
    /// Of the image's own HEALTHCHECK, where it has one.
    pub health: Option<ImageHealth>,
}

/// What an engine makes of an image's own HEALTHCHECK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageHealth {
    /// The engine runs it by itself, tells by an event when it changes, and says this now.
    Told(HealthStatus),
    /// Of the agent itself: whether it has a session with the fleet. It tells by an event.
    Session(HealthStatus),
    /// The engine has to be asked each time, with [`Runtime::probe_image`].
    Ask {
        /// As the image says.
        interval_ms: u64,
    },
}

/// What an instance that a runtime knows of does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundStatus {
    /// Made, never started.
    Created,
    /// Runs.
    Running {
        /// Node's clock.
        started_ms: UnixMs,
        /// Pid of its first process, for reading its use of the machine.
        pid: Option<u32>,
    },
    /// Ended.
    Exited(Exit),
}

/// How an instance ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, 128 + n for signal n; `None` when nobody saw it.
    pub code: Option<i32>,
    /// The kernel ended it for want of memory (`Some(true)`), or that is suspected.
    pub out_of_memory: bool,
    /// One sentence where there is more to say than the code.
    pub message: Option<String>,
    /// More than a sentence: the traceback of a Python callable, at most 4 KiB.
    pub detail: Option<String>,
}

/// A runtime's word that something happened to an instance. Hints: the agent looks again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// The stream of events stands (again): list everything, something may have been missed.
    Connected,
    /// Something happened to this instance.
    Changed {
        /// As in [`Found::handle`].
        handle: String,
    },
    /// The runtime cannot be reached; what its instances do is unknown.
    Disconnected {
        /// One sentence.
        reason: String,
    },
}

/// How far a launch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The image is being fetched; percent where it can be told.
    Pulling(Option<u8>),
    /// It is being created and started.
    Starting,
}

/// What a runtime is to launch.
#[derive(Debug, Clone)]
pub struct Launch {
    /// This node.
    pub node: Name,
    /// What.
    pub workload: Arc<Workload>,
    /// [`Workload::spec_hash`], computed once.
    pub spec_hash: String,
    /// The request of a person that it comes from; what is launched is told, and is the same
    /// without.
    pub trace: Option<TraceContext>,
}

impl Launch {
    /// From an assignment.
    pub fn new(node: &Name, assigned: &AssignedInstance) -> Launch {
        Launch {
            node: node.clone(),
            spec_hash: assigned.workload.spec_hash(),
            workload: assigned.workload.clone(),
            trace: assigned.trace,
        }
    }

    /// The name that the engine knows it by: `fleetctl-<workload>-<hash8>`, where the hash covers
    /// node and spec, so that two agents on one engine and two versions of one workload can
    /// stand beside each other.
    pub fn container_name(&self) -> String {
        let both = format!("{}/{}", self.node, self.spec_hash);
        let digest = ring::digest::digest(&ring::digest::SHA256, both.as_bytes());
        let hex: String = digest.as_ref()[..4]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        format!("fleetctl-{}-{hex}", self.workload.name)
    }
}

/// What came of a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launched {
    /// As in [`Found::handle`].
    pub handle: String,
    /// Pid of its first process where the runtime told it at once.
    pub pid: Option<u32>,
    /// What works less well than asked for, one sentence each.
    pub warnings: Vec<String>,
}

/// What a program that was run beside an instance wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// With a terminal everything is standard output.
    pub stream: LogStream,
    /// At most 16 KiB.
    pub data: Bytes,
}

/// What such a program is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecFeed {
    /// For its standard input.
    Data(Bytes),
    /// Its standard input ends.
    End,
    /// Its terminal has another size.
    Resize(TerminalSize),
}

/// What an instance uses of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since it started, microseconds.
    pub cpu_us: u64,
    /// Bytes of memory, caches that can be dropped left out as far as they are known.
    pub memory: u64,
}

/// Why a runtime could not do it. `Display` is one sentence that a person understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The runtime itself cannot be reached, hangs, or is not there.
    #[error("{runtime} cannot be reached: {message}")]
    Unreachable {
        /// Which.
        runtime: RuntimeKind,
        /// Why.
        message: String,
    },
    /// The image is not on the node and could not be fetched.
    #[error("{0}")]
    Image(String),
    /// Trying again without a change will not help: a missing command, a bad option.
    #[error("{0}")]
    Refused(String),
    /// Something that may pass: a port that is taken, no space, an engine that is busy.
    #[error("{0}")]
    Failed(String),
    /// There is no such instance.
    #[error("there is no instance `{0}` any more")]
    NotFound(String),
}

/// One kind of runtime on this node.
///
/// All calls may be made at the same time. Each has its own time limit inside, so that an engine
/// that hangs costs one instance its turn and nobody else anything; they end with
/// [`RuntimeError::Unreachable`] then.
pub trait Runtime: Send + Sync {
    /// Which.
    fn kind(&self) -> RuntimeKind;

    /// The engine's version, as proof that it answers.
    fn version(&self) -> BoxFuture<'_, Result<String, RuntimeError>>;

    /// Everything on this node that carries our labels for `node`, also what ended.
    fn list<'a>(&'a self, node: &'a Name) -> BoxFuture<'a, Result<Vec<Found>, RuntimeError>>;

    /// One of them. `NotFound` when it is gone.
    fn inspect<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Found, RuntimeError>>;

    /// Fetches what a launch needs (the image), so that a replacement does not begin before it
    /// can succeed.
    fn prepare<'a>(
        &'a self,
        launch: &'a Launch,
        progress: mpsc::UnboundedSender<Progress>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Creates and starts it. An instance of the same name and spec that was created by an
    /// interrupted launch is started, not an error; a leftover of that name with another spec is
    /// removed first. Where the image is missing it is fetched.
    fn launch<'a>(
        &'a self,
        launch: &'a Launch,
        progress: mpsc::UnboundedSender<Progress>,
    ) -> BoxFuture<'a, Result<Launched, RuntimeError>>;

    /// Starts one that ended (or was created and never started). Already running is no error.
    fn start<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Launched, RuntimeError>>;

    /// SIGTERM, and SIGKILL after `timeout_ms`. Already stopped or gone is no error.
    fn stop<'a>(
        &'a self,
        handle: &'a str,
        timeout_ms: u64,
    ) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Removes it, killing it where it still runs. Gone is no error. Named volumes stay.
    fn remove<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Sends the lines that `query` asks for into `lines`, oldest first; with `follow_ms` goes
    /// on with new ones until then, until the receiver is gone, or until the instance is gone.
    fn logs<'a>(
        &'a self,
        handle: &'a str,
        query: &'a LogQuery,
        lines: mpsc::Sender<LogLine>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Runs one more program beside it (in the container; beside a process with its user,
    /// directory and environment) and gives its exit code, 128 + n for signal n. `output` gets what
    /// it writes, and slows it down where it is full. Dropping the future kills the program.
    /// `feed` is closed or `None`: its standard input is empty.
    fn exec<'a>(
        &'a self,
        handle: &'a str,
        exec: &'a ExecSpec,
        output: mpsc::Sender<ExecOutput>,
        feed: Option<mpsc::Receiver<ExecFeed>>,
    ) -> BoxFuture<'a, Result<i32, RuntimeError>>;

    /// Runs the image's own HEALTHCHECK once; `Err` says what it said.
    fn probe_image<'a>(
        &'a self,
        handle: &'a str,
        timeout_ms: u64,
    ) -> BoxFuture<'a, Result<(), String>>;

    /// Places the files of `launch` anew and, where one of them changed, sends the signal that
    /// the workload names. Whether one changed.
    fn reload<'a>(
        &'a self,
        handle: &'a str,
        launch: &'a Launch,
    ) -> BoxFuture<'a, Result<bool, RuntimeError>>;

    /// What it uses of the machine; `None` where that cannot be told.
    fn usage<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Option<Usage>>;

    /// Containers that are not ours. `whole`: with the workload that would take each over; else
    /// only those with the label `fleetctl.discover=true`.
    fn unmanaged<'a>(&'a self, whole: bool) -> BoxFuture<'a, Result<Vec<Unmanaged>, RuntimeError>>;

    /// Its images; `None` of one that has no such thing.
    fn image_store(&self) -> Option<&dyn ImageStore> {
        None
    }

    /// Sends events for ever, and reconnects by itself (0.2 s → 10 s, with jitter). Ends only
    /// when the receiver is gone.
    fn watch(&self, events: mpsc::Sender<RuntimeEvent>) -> BoxFuture<'_, ()>;
}
