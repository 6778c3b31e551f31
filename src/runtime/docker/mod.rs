//! Containers by Docker Engine.
//!
//! | file | what |
//! |---|---|
//! | this one | [`Docker`] and its part of the [`Runtime`] trait |
//! | [`calls`] | single calls to the engine, and fetching |
//! | [`logs`] | log lines |
//!
//! Docker Engine from 20.10 on. Nothing is asked before it is needed and no connection is kept,
//! so that a restarted engine is simply there again.

mod calls;
mod logs;

pub use super::pull::{CredentialsError, RegistryCredentials};

use super::{
    ExecFeed, ExecOutput, Found, ImageHealth, ImageStore, KeptImages, Launch, Launched, Progress,
    Runtime, RuntimeError, RuntimeEvent, Usage,
    container::{
        CALL_LIMIT,
        adopted::Adopted,
        calls as compat, connect,
        ended_by_us::EndedByUs,
        exec,
        fault::Fault,
        foreign,
        found::told_health,
        launch::{self, Engine, Prepared},
        limited,
        networks::Networks,
        pids::Pids,
        placed::Placed,
        plain,
        sentence::shortened,
        watch::{self, Happenings, Watched},
    },
};
use crate::{
    model::{ExecSpec, HealthStatus, LogLine, LogQuery, Name, RuntimeKind, Unmanaged},
    runtime::LABEL_NODE,
};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc};

const KIND: RuntimeKind = RuntimeKind::Docker;

/// Docker Engine behind a socket.
#[derive(Debug)]
pub struct Docker {
    socket: PathBuf,
    credentials: Arc<RegistryCredentials>,
    pulls: Arc<Semaphore>,
    prepared: Prepared,
    placed: Placed,
    adopted: Adopted,
    networks: Networks,
    pids: Pids,
    ended_by_us: EndedByUs,
    kept: Option<Arc<dyn KeptImages>>,
}

impl Docker {
    /// No I/O: that the engine answers is for [`Runtime::version`] to tell. `pulls` has as many
    /// permits as images may be fetched at a time, over all runtimes of the node. `place` is a
    /// directory of the agent's for this engine alone.
    pub fn new(
        socket: PathBuf,
        credentials: Arc<RegistryCredentials>,
        pulls: Arc<Semaphore>,
        place: PathBuf,
    ) -> Docker {
        Docker {
            socket,
            credentials,
            pulls,
            prepared: Prepared::default(),
            placed: Placed::new(&place),
            adopted: Adopted::new(&place),
            networks: Networks::default(),
            pids: Pids::default(),
            ended_by_us: EndedByUs::default(),
            kept: None,
        }
    }

    /// Images that no registry gives are looked for there.
    #[must_use]
    pub fn with_kept(self, kept: Option<Arc<dyn KeptImages>>) -> Docker {
        Docker { kept, ..self }
    }

    async fn listed(&self, node: &Name) -> Result<Vec<Found>, Fault> {
        let docker = connect(&self.socket)?;
        let before = self.placed.before_listing();
        let filters = HashMap::from([("label", vec![format!("{LABEL_NODE}={node}")])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let summaries = limited(CALL_LIMIT, docker.list_containers(Some(options))).await?;
        let names = summaries
            .iter()
            .filter_map(|summary| name_of(summary.names.as_ref()));
        let names: BTreeSet<String> = names.collect();
        let adopted = self.adopted.of(node).into_iter().map(|record| record.id);
        let labelled = summaries.into_iter().filter_map(|summary| summary.id);
        let mut all = Vec::new();
        // A summary has neither pid nor exit code; an inspect costs 0.3 ms.
        for id in labelled.chain(adopted) {
            match self.looked_at(&id).await {
                Ok(found) => all.extend(found),
                // It went away in between.
                Err(fault) if fault.is_missing_container() => self.adopted.forget(&id).await,
                Err(fault) => return Err(fault),
            }
        }
        self.placed.sweep(before, &names).await;
        Ok(all)
    }
}

/// Docker writes a slash in front; a name with more of them is of a link.
fn name_of(names: Option<&Vec<String>>) -> Option<String> {
    let names = names?.iter().filter_map(|name| name.strip_prefix('/'));
    names
        .into_iter()
        .find(|name| !name.contains('/'))
        .map(str::to_owned)
}

impl Watched for Docker {
    fn kind(&self) -> RuntimeKind {
        KIND
    }

    async fn answers(&self) -> Result<(), Fault> {
        let docker = connect(&self.socket)?;
        limited(CALL_LIMIT, docker.ping()).await.map(drop)
    }

    fn happenings(&self) -> Result<Happenings<'_>, Fault> {
        let docker = connect(&self.socket)?;
        // Not by label: containers that were taken over have none of ours.
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("event", watch::ACTIONS.map(str::to_owned).to_vec()),
        ]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let stream = docker.events(Some(options)).filter_map(|event| {
            let happening = match event {
                Ok(event) => {
                    let action = event.action.unwrap_or_default();
                    let actor = event.actor.unwrap_or_default();
                    let labels = actor.attributes.unwrap_or_default();
                    let id = actor.id.filter(|id| {
                        let ours = labels.contains_key(LABEL_NODE) || self.adopted.has(id);
                        ours && watch::changes_something(&action)
                    });
                    id.map(Ok)
                }
                Err(error) => Some(Err(Fault::from(error))),
            };
            std::future::ready(happening)
        });
        Ok(stream.boxed())
    }
}

impl Runtime for Docker {
    fn kind(&self) -> RuntimeKind {
        KIND
    }

    fn version(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        async move {
            let version = self.asked_version().await.map_err(|f| plain(KIND, "", f))?;
            Ok(version.version.unwrap_or_default())
        }
        .boxed()
    }

    fn list<'a>(&'a self, node: &'a Name) -> BoxFuture<'a, Result<Vec<Found>, RuntimeError>> {
        async move { self.listed(node).await.map_err(|f| plain(KIND, "", f)) }.boxed()
    }

    fn inspect<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Found, RuntimeError>> {
        async move {
            let found = self.looked_at(handle).await;
            found
                .map_err(|f| plain(KIND, handle, f))?
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
            logs::send(&self.socket, handle, query, lines)
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
        async move {
            // Docker runs it by itself; what it made of it last is all there is to ask for.
            let limit = Duration::from_millis(timeout_ms).min(CALL_LIMIT);
            let asked = limited(limit, compat::inspect(&self.socket, handle)).await;
            let inspected = asked.map_err(|f| plain(KIND, handle, f).to_string())?;
            let health = inspected.state.and_then(|state| state.health);
            match told_health(health.as_ref()) {
                Some(ImageHealth::Told(HealthStatus::Unhealthy)) => {}
                Some(_) => return Ok(()),
                None => return Err("its image has no HEALTHCHECK".to_owned()),
            }
            let log = health.and_then(|health| health.log).unwrap_or_default();
            let last = log.last().and_then(|last| last.output.as_deref());
            Err(shortened(last.unwrap_or_default()))
        }
        .boxed()
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
        watch::watch(self, events).boxed()
    }
}
