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
    Found, Launch, Launched, Progress, Runtime, RuntimeError, RuntimeEvent,
    container::{
        CALL_LIMIT, connect,
        fault::Fault,
        launch::{self, Engine, Prepared},
        limited, plain, stop_seconds,
        watch::{self, Happenings, Watched},
    },
};
use crate::{
    model::{LogLine, LogQuery, Name, RuntimeKind},
    runtime::LABEL_NODE,
};
use bollard::query_parameters::{
    EventsOptionsBuilder, ListContainersOptionsBuilder, StopContainerOptionsBuilder,
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::{Semaphore, mpsc};

const KIND: RuntimeKind = RuntimeKind::Docker;

/// Docker Engine behind a socket.
#[derive(Debug)]
pub struct Docker {
    socket: PathBuf,
    credentials: Arc<RegistryCredentials>,
    pulls: Arc<Semaphore>,
    prepared: Prepared,
}

impl Docker {
    /// No I/O: that the engine answers is for [`Runtime::version`] to tell. `pulls` has as many
    /// permits as images may be fetched at a time, over all runtimes of the node.
    pub fn new(
        socket: PathBuf,
        credentials: Arc<RegistryCredentials>,
        pulls: Arc<Semaphore>,
    ) -> Docker {
        Docker {
            socket,
            credentials,
            pulls,
            prepared: Prepared::default(),
        }
    }

    async fn listed(&self, node: &Name) -> Result<Vec<Found>, Fault> {
        let docker = connect(&self.socket)?;
        let filters = HashMap::from([("label", vec![format!("{LABEL_NODE}={node}")])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let summaries = limited(CALL_LIMIT, docker.list_containers(Some(options))).await?;
        let mut all = Vec::with_capacity(summaries.len());
        // A summary has neither pid nor exit code; an inspect costs 0.3 ms.
        for id in summaries.into_iter().filter_map(|summary| summary.id) {
            match self.looked_at(&id).await {
                Ok(found) => all.extend(found),
                // It went away in between.
                Err(fault) if fault.is_missing_container() => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(all)
    }
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
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("label", vec![LABEL_NODE.to_owned()]),
        ]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let stream = docker.events(Some(options)).filter_map(|event| {
            let happening = match event {
                Ok(event) => {
                    let action = event.action.unwrap_or_default();
                    let id = event.actor.and_then(|actor| actor.id);
                    id.filter(|_| watch::changes_something(&action)).map(Ok)
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
            let seconds = stop_seconds(timeout_ms);
            let limit = Duration::from_secs(u64::from(seconds)) + CALL_LIMIT;
            let options = StopContainerOptionsBuilder::new().t(seconds as i32).build();
            let stopped = async {
                let docker = connect(&self.socket)?;
                limited(limit, docker.stop_container(handle, Some(options))).await
            };
            match stopped.await {
                Err(fault) if fault.is_missing_container() || fault.is_unchanged() => Ok(()),
                outcome => outcome.map_err(|f| plain(KIND, handle, f)),
            }
        }
        .boxed()
    }

    fn remove<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>> {
        async move {
            self.discard(handle)
                .await
                .map_err(|f| plain(KIND, handle, f))
        }
        .boxed()
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

    fn watch(&self, events: mpsc::Sender<RuntimeEvent>) -> BoxFuture<'_, ()> {
        watch::watch(self, events).boxed()
    }
}
