//! Containers by Podman.
//!
//! Two APIs on one socket. Podman's own one (libpod, by `podman-api`) is used wherever it can be:
//! list, inspect, start, remove, logs, events, images, health checks. Its copy of Docker's (by
//! `bollard`) is used for what both engines share and for creating and stopping, because `podman-api` misspells `no_new_privileges`, ignores the
//! configuration of logs, and ignores the timeout of a stop.
//!
//! | file | what |
//! |---|---|
//! | this one | [`Podman`] and its part of the [`Runtime`] trait |
//! | [`calls`] | single calls to the engine, and fetching |
//! | [`ends`] | when a container ends: its process tells it sooner than Podman does |
//! | [`health`] | the image's HEALTHCHECK, which Podman runs when it is asked to |
//! | [`logs`] | log lines: from the file where it can be read, from the API otherwise |
//! | [`k8s_file`] | the format of that file |
//! | [`look`] | a close look at one container, which makes Podman look as well |
//!
//! Podman 4.3 and later; `podman-api` asks for version 4.3.1 of libpod, which all of them speak.

mod calls;
mod ends;
mod health;
mod k8s_file;
mod logs;
mod look;

pub use super::pull::{CredentialsError, RegistryCredentials};

use super::{
    ExecFeed, ExecOutput, Found, ImageStore, KeptImages, Launch, Launched, Progress, Runtime,
    RuntimeError, RuntimeEvent, Usage,
    container::{
        CALL_LIMIT,
        adopted::Adopted,
        connect,
        ended_by_us::EndedByUs,
        exec,
        fault::Fault,
        foreign,
        launch::{self, Engine, Prepared},
        limited,
        networks::Networks,
        pids::Pids,
        placed::Placed,
        plain,
        watch::{self, Happenings, Watched},
    },
};
use crate::{
    model::{ExecSpec, LogLine, LogQuery, Name, RuntimeKind, Unmanaged},
    runtime::LABEL_NODE,
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use podman_api::{
    Podman as Libpod,
    opts::{ContainerListFilter, EventsOpts},
};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::{Semaphore, mpsc};

const KIND: RuntimeKind = RuntimeKind::Podman;

/// Podman behind a socket.
#[derive(Debug)]
pub struct Podman {
    socket: PathBuf,
    libpod: Libpod,
    events: EventsOpts,
    credentials: Arc<RegistryCredentials>,
    pulls: Arc<Semaphore>,
    prepared: Prepared,
    placed: Placed,
    adopted: Adopted,
    networks: Networks,
    pids: Pids,
    ends: ends::Ends,
    healthchecks: health::Healthchecks,
    ended_by_us: EndedByUs,
    kept: Option<Arc<dyn KeptImages>>,
}

impl Podman {
    /// No I/O: that the engine answers is for [`Runtime::version`] to tell. `pulls` has as many
    /// permits as images may be fetched at a time, over all runtimes of the node. `place` is a
    /// directory of the agent's for this engine alone.
    pub fn new(
        socket: PathBuf,
        credentials: Arc<RegistryCredentials>,
        pulls: Arc<Semaphore>,
        place: PathBuf,
    ) -> Podman {
        let events = EventsOpts::builder()
            .stream(true)
            // Podman 4.3 matches no label without a value, so labels are looked at here.
            .filters([("type".to_owned(), vec!["container".to_owned()])])
            .build();
        Podman {
            libpod: Libpod::unix(&socket),
            socket,
            events,
            credentials,
            pulls,
            prepared: Prepared::default(),
            placed: Placed::new(&place),
            adopted: Adopted::new(&place),
            networks: Networks::default(),
            pids: Pids::default(),
            ends: ends::Ends::default(),
            healthchecks: health::Healthchecks::default(),
            ended_by_us: EndedByUs::default(),
            kept: None,
        }
    }

    /// Images that no registry gives are looked for there.
    #[must_use]
    pub fn with_kept(self, kept: Option<Arc<dyn KeptImages>>) -> Podman {
        Podman { kept, ..self }
    }
}

impl Watched for Podman {
    fn kind(&self) -> RuntimeKind {
        KIND
    }

    async fn answers(&self) -> Result<(), Fault> {
        // libpod's ping wants headers that not every version sends.
        let compat = connect(&self.socket)?;
        limited(CALL_LIMIT, compat.ping()).await.map(drop)
    }

    fn happenings(&self) -> Result<Happenings<'_>, Fault> {
        let stream = self.libpod.events(&self.events).filter_map(|event| {
            let happening = match event {
                Ok(event)
                    if watch::changes_something(&event.action)
                        && (event.actor.attributes.contains_key(LABEL_NODE)
                            || self.adopted.has(&event.actor.id)) =>
                {
                    Some(Ok(event.actor.id))
                }
                Ok(_) => None,
                Err(error) => Some(Err(Fault::from(error))),
            };
            std::future::ready(happening)
        });
        Ok(stream.boxed())
    }
}

impl Runtime for Podman {
    fn kind(&self) -> RuntimeKind {
        KIND
    }

    fn version(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        async move {
            let version = limited(CALL_LIMIT, self.libpod.version()).await;
            Ok(version
                .map_err(|f| plain(KIND, "", f))?
                .version
                .unwrap_or_default())
        }
        .boxed()
    }

    fn list<'a>(&'a self, node: &'a Name) -> BoxFuture<'a, Result<Vec<Found>, RuntimeError>> {
        async move { self.listed_of(node).await.map_err(|f| plain(KIND, "", f)) }.boxed()
    }

    fn inspect<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Found, RuntimeError>> {
        async move {
            // A list of one: what it says of a container is the same as in a list of all.
            let one = ContainerListFilter::Id(handle.into());
            let (found, _) = self.listed(one).await.map_err(|f| plain(KIND, handle, f))?;
            let mut exact = found.into_iter().filter(|found| found.handle == handle);
            exact
                .next()
                .ok_or_else(|| RuntimeError::NotFound(handle.to_owned()))
        }
        .boxed()
    }

    fn prepare<'a>(
        &'a self,
        launch: &'a Launch,
        progress: mpsc::UnboundedSender<Progress>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        async move { launch::prepare(self, launch, &progress).await }.boxed()
    }

    fn launch<'a>(
        &'a self,
        launch: &'a Launch,
        progress: mpsc::UnboundedSender<Progress>,
    ) -> BoxFuture<'a, Result<Launched, RuntimeError>> {
        async move { launch::launch(self, launch, &progress).await }.boxed()
    }

    fn start<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Launched, RuntimeError>> {
        async move {
            self.start_made(handle)
                .await
                .map_err(|f| plain(KIND, handle, f))?;
            Ok(Launched {
                handle: handle.to_owned(),
                pid: None,
                warnings: Vec::new(),
            })
        }
        .boxed()
    }

    fn stop<'a>(
        &'a self,
        handle: &'a str,
        timeout_ms: u64,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        async move {
            let ended = self.end(handle, timeout_ms).await;
            ended.map_err(|f| plain(KIND, handle, f))
        }
        .boxed()
    }

    fn remove<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>> {
        launch::remove(self, handle).boxed()
    }

    fn logs<'a>(
        &'a self,
        handle: &'a str,
        query: &'a LogQuery,
        lines: mpsc::Sender<LogLine>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        async move {
            logs::send(&self.libpod, handle, query, lines)
                .await
                .map_err(|f| plain(KIND, handle, f))
        }
        .boxed()
    }

    fn exec<'a>(
        &'a self,
        handle: &'a str,
        exec: &'a ExecSpec,
        output: mpsc::Sender<ExecOutput>,
        feed: Option<mpsc::Receiver<ExecFeed>>,
    ) -> BoxFuture<'a, Result<i32, RuntimeError>> {
        exec::run(&self.socket, KIND, handle, exec, output, feed).boxed()
    }

    fn probe_image<'a>(
        &'a self,
        handle: &'a str,
        timeout_ms: u64,
    ) -> BoxFuture<'a, Result<(), String>> {
        health::probe(&self.libpod, handle, timeout_ms).boxed()
    }

    fn reload<'a>(
        &'a self,
        handle: &'a str,
        launch: &'a Launch,
    ) -> BoxFuture<'a, Result<bool, RuntimeError>> {
        launch::reload(self, handle, launch).boxed()
    }

    fn usage<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Option<Usage>> {
        async move {
            if let Some(usage) = self.pids.usage(handle) {
                return Some(usage);
            }
            // Looking at it notes its pid.
            self.inspect(handle).await.ok()?;
            self.pids.usage(handle)
        }
        .boxed()
    }

    fn unmanaged(&self, whole: bool) -> BoxFuture<'_, Result<Vec<Unmanaged>, RuntimeError>> {
        foreign::unmanaged(self, whole).boxed()
    }

    fn image_store(&self) -> Option<&dyn ImageStore> {
        Some(self)
    }

    fn watch(&self, events: mpsc::Sender<RuntimeEvent>) -> BoxFuture<'_, ()> {
        async move {
            let ends = ends::watch(self, events.clone());
            tokio::join!(watch::watch(self, events), ends);
        }
        .boxed()
    }
}
