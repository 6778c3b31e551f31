//! Single calls to Docker Engine, and fetching.

use super::{Docker, KIND};
use crate::{
    model::RuntimeKind,
    runtime::{
        Found, FoundStatus, KeptImages, Progress, RuntimeError,
        container::{
            CALL_LIMIT, START_LIMIT,
            adopted::Adopted,
            calls as compat, connect,
            fault::Fault,
            foreign::{LABEL_DISCOVER, Listed},
            found::{Ended, exited, found, running, told_health},
            launch::{Engine, Named, Prepared},
            limited,
            line::rfc3339_ns,
            networks::Networks,
            placed::Placed,
            sentence::explain_pull,
        },
        pull::{self, Credential, LayerProgress, Reference},
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bollard::{
    models::{
        ContainerCreateBody, ContainerCreateResponse, ContainerStateStatusEnum,
        ContainerSummaryStateEnum, SystemVersion,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveImageOptions, StartContainerOptions,
    },
};
use hyper::header::{HeaderName, HeaderValue};
use std::{collections::HashMap, path::Path, time::Duration};
use tokio::{sync::mpsc::UnboundedSender, time::sleep};

impl Docker {
    pub(super) async fn asked_version(&self) -> Result<SystemVersion, Fault> {
        let docker = connect(&self.socket)?;
        limited(CALL_LIMIT, docker.version()).await
    }

    /// `None` when it is not ours, or is going away at this moment.
    pub(super) async fn looked_at(&self, handle: &str) -> Result<Option<Found>, Fault> {
        let inspected = compat::inspect(&self.socket, handle).await?;
        let labels = inspected
            .config
            .and_then(|config| config.labels)
            .unwrap_or_default();
        let state = inspected.state.unwrap_or_default();
        let limit = inspected.host_config.and_then(|host| host.memory);
        use ContainerStateStatusEnum as Is;
        let status = match state.status {
            Some(Is::CREATED) => FoundStatus::Created,
            Some(Is::RUNNING | Is::PAUSED | Is::RESTARTING | Is::STOPPING) => {
                let started_ns = state.started_at.as_deref().and_then(rfc3339_ns);
                running(started_ns.map(|ns| ns / 1_000_000), state.pid)
            }
            Some(Is::EXITED) => exited(Ended {
                code: state.exit_code,
                out_of_memory: state.oom_killed.unwrap_or(false),
                error: state.error.as_deref(),
                memory_limit: limit,
                by_us: self.ended_by_us.has(handle),
            }),
            _ => return Ok(None),
        };
        let id = inspected.id.as_deref().unwrap_or(handle);
        if let FoundStatus::Running { pid: Some(pid), .. } = status {
            self.pids.note(id, pid);
        }
        let health = told_health(state.health.as_ref());
        Ok(found(id, &labels, &self.adopted, status, health))
    }

    async fn pulled(
        &self,
        reference: &Reference,
        credential: Option<&Credential>,
        progress: &UnboundedSender<Progress>,
    ) -> Result<(), Fault> {
        let mut docker = connect(&self.socket)?;
        if let Some(credential) = credential {
            let header = auth_header(reference, credential)?;
            // bollard's own header is in the standard alphabet of base64, which the engine does
            // not take: passwords that give `+` or `/` would be wrong.
            docker = docker.with_request_modifier(move |mut request| {
                let name = HeaderName::from_static("x-registry-auth");
                request.headers_mut().insert(name, header.clone());
                request
            });
        }
        let options = CreateImageOptionsBuilder::new()
            .from_image(reference.full())
            .build();
        let mut layers = LayerProgress::new(progress);
        let steps = Box::pin(docker.create_image(Some(options), None, None));
        let alive = || limited_ping(&self.socket);
        pull::drain(steps, pull::STALL_LIMIT, alive, |step| {
            let detail = step.progress_detail.unwrap_or_default();
            let (id, status) = (step.id.unwrap_or_default(), step.status.unwrap_or_default());
            layers.step(&id, &status, detail.current, detail.total);
            Ok(())
        })
        .await
    }

    async fn is_gone(&self, id: &str) -> Result<bool, Fault> {
        match self.named(id).await {
            Ok(_) => Ok(false),
            Err(fault) if fault.is_missing_container() => Ok(true),
            Err(fault) => Err(fault),
        }
    }
}

/// Whether it still answers at all.
async fn limited_ping(socket: &Path) -> Result<(), Fault> {
    let docker = connect(socket)?;
    limited(CALL_LIMIT, docker.ping()).await.map(drop)
}

/// JSON in the URL-safe alphabet, as Docker's documentation asks for.
fn auth_header(reference: &Reference, credential: &Credential) -> Result<HeaderValue, Fault> {
    let server = match reference.registry() {
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    };
    let json = serde_json::json!({
        "username": credential.user,
        "password": credential.password,
        "serveraddress": server,
    });
    let mut value = HeaderValue::from_str(&URL_SAFE.encode(json.to_string()))
        .map_err(|_| Fault::said("the credentials are too long"))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Engine for Docker {
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
        let docker = connect(&self.socket)?;
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        limited(START_LIMIT, docker.create_container(Some(options), body)).await
    }

    async fn start_made(&self, id: &str) -> Result<(), Fault> {
        self.ended_by_us.forget(id);
        let docker = connect(&self.socket)?;
        let call = docker.start_container(id, None::<StartContainerOptions>);
        match limited(START_LIMIT, call).await {
            Err(fault) if fault.is_unchanged() => Ok(()),
            outcome => outcome,
        }
    }

    async fn named(&self, name: &str) -> Result<Named, Fault> {
        let inspected = compat::inspect(&self.socket, name).await?;
        let written = inspected.name.unwrap_or_default();
        let started = inspected.state.and_then(|state| state.started_at);
        Ok(Named {
            // What was never started has a time in the year 1.
            has_run: started.is_some_and(|at| !at.is_empty() && !at.starts_with("0001-")),
            id: inspected.id.unwrap_or_else(|| name.to_owned()),
            name: written.trim_start_matches('/').to_owned(),
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
        let docker = connect(&self.socket)?;
        let filters = match announced {
            true => HashMap::from([("label", vec![format!("{LABEL_DISCOVER}=true")])]),
            false => HashMap::new(),
        };
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let summaries = limited(CALL_LIMIT, docker.list_containers(Some(options))).await?;
        let listed = summaries.into_iter().filter_map(|summary| {
            Some(Listed {
                name: super::name_of(summary.names.as_ref())?,
                id: summary.id?,
                image: summary.image.unwrap_or_default(),
                running: summary.state == Some(ContainerSummaryStateEnum::RUNNING),
                labels: summary.labels.unwrap_or_default(),
                pod: None,
            })
        });
        Ok(listed.collect())
    }

    async fn discard(&self, id: &str, volumes: bool) -> Result<(), Fault> {
        self.ended_by_us.note(id);
        let docker = connect(&self.socket)?;
        // `v` removes unnamed volumes only; named ones stay.
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(volumes)
            .build();
        let call = docker.remove_container(id, Some(options));
        let outcome = match limited(START_LIMIT, call).await {
            Err(fault) if fault.is_missing_container() => Ok(()),
            Err(fault) if fault.is_being_removed() => {
                let gone = async {
                    while !self.is_gone(id).await? {
                        sleep(Duration::from_millis(50)).await;
                    }
                    Ok::<(), Fault>(())
                };
                limited(CALL_LIMIT, gone).await
            }
            outcome => outcome,
        };
        if outcome.is_ok() {
            self.ended_by_us.forget(id);
        }
        outcome
    }

    async fn fetch(
        &self,
        reference: &Reference,
        progress: &UnboundedSender<Progress>,
    ) -> Result<(), RuntimeError> {
        let _turn = pull::turn(&self.pulls, progress).await?;
        let credential = self.credentials.of(reference.registry());
        self.pulled(reference, credential, progress)
            .await
            .map_err(|f| explain_pull(&f, KIND, reference, credential.is_some()))
    }

    async fn image_architecture(&self, image: &str) -> Result<Option<String>, Fault> {
        let docker = connect(&self.socket)?;
        match limited(CALL_LIMIT, docker.inspect_image(image)).await {
            Ok(inspected) => Ok(Some(inspected.architecture.unwrap_or_default())),
            Err(fault) if fault.is_missing_image() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn architecture(&self) -> Result<String, Fault> {
        Ok(self.asked_version().await?.arch.unwrap_or_default())
    }

    fn kept(&self) -> Option<&dyn KeptImages> {
        self.kept.as_deref()
    }

    async fn forget_image(&self, image: &str) -> Result<(), Fault> {
        let docker = connect(&self.socket)?;
        let call = docker.remove_image(image, None::<RemoveImageOptions>, None);
        limited(START_LIMIT, call).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_survives_every_password() {
        let reference = Reference::parse("r.example/x:1").unwrap();
        let credential = Credential {
            user: "fleet".to_owned(),
            password: "~~~???\"\\ü".to_owned(),
        };
        let header = auth_header(&reference, &credential).unwrap();
        let text = header.to_str().unwrap();
        assert!(!text.contains(['+', '/']), "{text}");
        let json: serde_json::Value =
            serde_json::from_slice(&URL_SAFE.decode(text).unwrap()).unwrap();
        assert_eq!(json["password"], "~~~???\"\\ü");
        assert_eq!(json["serveraddress"], "r.example");
    }
}
