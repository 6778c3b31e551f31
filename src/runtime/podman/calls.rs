//! Single calls to Podman, and fetching.

use super::{KIND, Podman, look};
use crate::{
    model::{Name, RuntimeKind},
    runtime::{
        Found, FoundStatus, KeptImages, LABEL_NODE, Progress, RuntimeError,
        container::{
            CALL_LIMIT, START_LIMIT,
            adopted::Adopted,
            calls as compat, connect,
            fault::Fault,
            foreign::{LABEL_DISCOVER, Listed},
            found::{Ended, exited, found, running},
            launch::{Engine, Named, Prepared},
            limited,
            networks::Networks,
            placed::Placed,
            sentence::explain_pull,
        },
        pull::{self, Credential, Reference},
    },
};
use bollard::{
    models::{ContainerCreateBody, ContainerCreateResponse},
    query_parameters::CreateContainerOptionsBuilder,
};
use podman_api::{
    models::ListContainer,
    opts::{ContainerDeleteOpts, ContainerListFilter, ContainerListOpts, PullOpts, RegistryAuth},
};
use std::{collections::BTreeSet, path::Path, time::Duration};
use tokio::{sync::mpsc::UnboundedSender, time::sleep};

impl Podman {
    /// Everything of `node`, also what ended and what was taken over.
    pub(super) async fn listed_of(&self, node: &Name) -> Result<Vec<Found>, Fault> {
        let before = self.placed.before_listing();
        let ours = ContainerListFilter::LabelKeyVal(LABEL_NODE.to_owned(), node.to_string());
        let (mut all, names) = self.listed(ours).await?;
        for record in self.adopted.of(node) {
            let one = ContainerListFilter::Id(record.id.as_str().into());
            let (found, names) = self.listed(one).await?;
            if names.is_empty() {
                self.adopted.forget(&record.id).await;
            }
            all.extend(found.into_iter().filter(|found| found.handle == record.id));
        }
        self.placed.sweep(before, &names).await;
        Ok(all)
    }

    /// Everything that `filter` matches and that is ours, also what ended; and the names of all
    /// that it matches.
    pub(super) async fn listed(
        &self,
        filter: ContainerListFilter,
    ) -> Result<(Vec<Found>, BTreeSet<String>), Fault> {
        let options = ContainerListOpts::builder()
            .all(true)
            .filter([filter])
            .build();
        let containers = self.libpod.containers();
        let listed = limited(CALL_LIMIT, containers.list(&options)).await?;
        let names = listed.iter().flat_map(|one| one.names.iter().flatten());
        let names: BTreeSet<String> = names.cloned().collect();
        let mut all = Vec::with_capacity(listed.len());
        for container in listed {
            let Some(id) = container.id.clone() else {
                continue;
            };
            let Some(status) = self.status_of(&id, &container).await? else {
                continue;
            };
            let pid = match status {
                FoundStatus::Running { pid, .. } => pid,
                _ => None,
            };
            let labels = container.labels.unwrap_or_default();
            let Some(mut found) = found(&id, &labels, &self.adopted, status, None) else {
                continue;
            };
            if let Some(pid) = pid {
                self.pids.note(&id, pid);
                self.ends.note(&id, pid);
            }
            found.health = match self.healthchecks.of(&self.libpod, &id).await {
                Err(fault) if fault.is_missing_container() => continue,
                health => health?,
            };
            all.push(found);
        }
        Ok((all, names))
    }

    /// `None` when it is going away.
    async fn status_of(
        &self,
        id: &str,
        container: &ListContainer,
    ) -> Result<Option<FoundStatus>, Fault> {
        Ok(match container.state.as_deref().unwrap_or_default() {
            "created" | "configured" | "initialized" => Some(FoundStatus::Created),
            status if look::is_running(status) => {
                let started_s = container.started_at.and_then(|s| u64::try_from(s).ok());
                Some(running(
                    started_s.map(|s| s.saturating_mul(1000)),
                    container.pid,
                ))
            }
            "exited" | "stopped" => match self.ended(id, container.exit_code).await {
                Err(fault) if fault.is_missing_container() => None,
                outcome => Some(outcome?),
            },
            _ => None,
        })
    }

    /// The list does not say why.
    async fn ended(&self, id: &str, code: Option<i32>) -> Result<FoundStatus, Fault> {
        if code == Some(0) {
            return Ok(exited(Ended {
                code: Some(0),
                ..Ended::default()
            }));
        }
        let look = look::at(&self.socket, id).await?;
        let (limit, state) = (look.memory_limit(), look.state);
        let (told, code) = (state.out_of_memory, state.exit_code.or(code));
        Ok(exited(Ended {
            code: code.map(i64::from),
            out_of_memory: told,
            error: state.error.as_deref(),
            memory_limit: limit,
            by_us: self.ended_by_us.has(id),
        }))
    }
}

impl Engine for Podman {
    fn kind(&self) -> RuntimeKind {
        KIND
    }

    fn socket(&self) -> &Path {
        &self.socket
    }

    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn placed(&self) -> &Placed {
        &self.placed
    }

    fn adopted(&self) -> &Adopted {
        &self.adopted
    }

    fn networks(&self) -> &Networks {
        &self.networks
    }

    async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<ContainerCreateResponse, Fault> {
        let compat = connect(&self.socket)?;
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        limited(START_LIMIT, compat.create_container(Some(options), body)).await
    }

    async fn start_made(&self, id: &str) -> Result<(), Fault> {
        self.ended_by_us.forget(id);
        match limited(START_LIMIT, self.libpod.containers().get(id).start(None)).await {
            Err(fault) if fault.is_unchanged() => Ok(()),
            outcome => {
                if outcome.is_ok() {
                    self.ends.note_start(id);
                }
                outcome
            }
        }
    }

    async fn named(&self, name: &str) -> Result<Named, Fault> {
        let container = self.libpod.containers().get(name);
        let inspected = limited(CALL_LIMIT, container.inspect()).await?;
        let started = inspected.state.and_then(|state| state.started_at);
        Ok(Named {
            // What was never started has a time in the year 1.
            has_run: started.is_some_and(|at| at.timestamp() > 0),
            id: inspected.id.unwrap_or_else(|| name.to_owned()),
            name: inspected.name.unwrap_or_default(),
            labels: inspected
                .config
                .and_then(|config| config.labels)
                .unwrap_or_default(),
        })
    }

    async fn end(&self, id: &str, timeout_ms: u64) -> Result<(), Fault> {
        self.ended_by_us.note(id);
        compat::stop(&self.socket, id, timeout_ms).await
    }

    async fn all_listed(&self, announced: bool) -> Result<Vec<Listed>, Fault> {
        let mut options = ContainerListOpts::builder().all(true);
        if announced {
            let label =
                ContainerListFilter::LabelKeyVal(LABEL_DISCOVER.to_owned(), "true".to_owned());
            options = options.filter([label]);
        }
        let options = options.build();
        let containers = self.libpod.containers();
        let listed = limited(CALL_LIMIT, containers.list(&options)).await?;
        let listed = listed
            .into_iter()
            // What holds a pod together is nobody's workload.
            .filter(|one| one.is_infra != Some(true))
            .filter_map(|one| {
                Some(Listed {
                    id: one.id?,
                    name: one.names?.into_iter().next()?,
                    image: one.image.unwrap_or_default(),
                    running: one.state.as_deref() == Some("running"),
                    labels: one.labels.unwrap_or_default(),
                    pod: one.pod_name.or(one.pod).filter(|pod| !pod.is_empty()),
                })
            });
        Ok(listed.collect())
    }

    async fn discard(&self, id: &str, volumes: bool) -> Result<(), Fault> {
        self.ended_by_us.note(id);
        let container = self.libpod.containers().get(id);
        // Without a timeout of zero, a program that ignores SIGTERM costs ten seconds. `volumes`
        // removes unnamed volumes only.
        let options = ContainerDeleteOpts::builder()
            .force(true)
            .volumes(volumes)
            .timeout(0)
            .build();
        let outcome = match limited(START_LIMIT, container.delete(&options)).await {
            Err(fault) if fault.is_missing_container() => Ok(()),
            Err(fault) if fault.is_being_removed() => {
                let gone = async {
                    while container.exists().await? {
                        sleep(Duration::from_millis(50)).await;
                    }
                    Ok::<(), podman_api::Error>(())
                };
                limited(CALL_LIMIT, gone).await
            }
            outcome => outcome,
        };
        if outcome.is_ok() {
            self.healthchecks.forget(id);
            self.ended_by_us.forget(id);
        }
        outcome
    }

    async fn fetch(
        &self,
        reference: &Reference,
        progress: &UnboundedSender<Progress>,
    ) -> Result<(), RuntimeError> {
        if reference.is_local_only() {
            return Err(RuntimeError::Image(format!(
                "image `{}` is not on this node, and `localhost/` names no registry",
                reference.written()
            )));
        }
        let _turn = pull::turn(&self.pulls, progress).await?;
        let credential = self.credentials.of(reference.registry());
        let options = pull_options(reference, credential);
        let images = self.libpod.images();
        // A failed pull is a good answer with an error in its last line. Bytes are not told:
        // there is one line when a layer begins.
        pull::drain(
            images.pull(&options),
            pull::LAYER_LIMIT,
            || limited_ping(&self.socket),
            |report| match report.error {
                Some(error) if !error.is_empty() => Err(Fault::said(error)),
                _ => Ok(()),
            },
        )
        .await
        .map_err(|f| explain_pull(&f, KIND, reference, credential.is_some()))
    }

    async fn image_architecture(&self, image: &str) -> Result<Option<String>, Fault> {
        match limited(CALL_LIMIT, self.libpod.images().get(image).inspect()).await {
            Ok(inspected) => Ok(Some(inspected.architecture.unwrap_or_default())),
            Err(fault) if fault.is_missing_image() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn architecture(&self) -> Result<String, Fault> {
        let compat = connect(&self.socket)?;
        Ok(limited(CALL_LIMIT, compat.version())
            .await?
            .arch
            .unwrap_or_default())
    }

    fn kept(&self) -> Option<&dyn KeptImages> {
        self.kept.as_deref()
    }

    async fn forget_image(&self, image: &str) -> Result<(), Fault> {
        limited(START_LIMIT, self.libpod.images().get(image).delete())
            .await
            .map(drop)
    }
}

/// Whether it still answers at all.
async fn limited_ping(socket: &Path) -> Result<(), Fault> {
    let compat = connect(socket)?;
    limited(CALL_LIMIT, compat.ping()).await.map(drop)
}

fn pull_options(reference: &Reference, credential: Option<&Credential>) -> PullOpts {
    let mut options = PullOpts::builder().reference(reference.full());
    if reference.is_loopback() {
        // As Docker does by itself.
        options = options.tls_verify(false);
    }
    if let Some(credential) = credential {
        let auth = RegistryAuth::builder()
            .username(credential.user.as_str())
            .password(credential.password.as_str())
            .server_address(reference.registry())
            .build();
        options.auth(auth);
    }
    options.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_registries_need_no_tls() {
        let near = Reference::parse("127.0.0.1:5000/x:1").unwrap();
        assert!(
            pull_options(&near, None)
                .serialize()
                .unwrap()
                .contains("tlsVerify=false")
        );
        let far = Reference::parse("r.example/x:1").unwrap();
        assert!(
            !pull_options(&far, None)
                .serialize()
                .unwrap()
                .contains("tlsVerify")
        );
    }
}
