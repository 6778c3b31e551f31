//! [`ImageStore`](crate::runtime::ImageStore) of both engines, through the part of the API that they
//! share.

use super::{CALL_LIMIT, START_LIMIT, connect, fault::Fault, launch::Engine, limited, plain};
use crate::{
    model::NodeImage,
    runtime::{ImageStore, LENT, Lent, Progress, RuntimeError, pull::Reference},
};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptions, RemoveImageOptions, TagImageOptionsBuilder,
};
use futures_util::{FutureExt, future::BoxFuture};
use std::{collections::BTreeMap, path::Path};
use tokio::sync::mpsc::UnboundedSender;

/// Images of one engine that are told.
const MAX_IMAGES: usize = 10_000;

impl<E: Engine + Send> ImageStore for E {
    fn take<'a>(
        &'a self,
        lent: &'a Lent,
        reference: &'a str,
        progress: UnboundedSender<Progress>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        async move { take(self, lent, reference, &progress).await }.boxed()
    }

    fn images(&self) -> BoxFuture<'_, Result<Vec<NodeImage>, RuntimeError>> {
        images(self).boxed()
    }

    fn forget<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>> {
        async move {
            let forgotten = forget(self.socket(), image).await;
            forgotten.map_err(|fault| plain(self.kind(), "", fault))
        }
        .boxed()
    }
}

pub(crate) async fn take<E: Engine>(
    engine: &E,
    lent: &Lent,
    reference: &str,
    progress: &UnboundedSender<Progress>,
) -> Result<(), RuntimeError> {
    let said = |fault: Fault| plain(engine.kind(), "", fault);
    lent.fits(reference, &engine.architecture().await.map_err(said)?)?;
    sweep(engine).await;
    let source = Reference::parse(&lent.reference)?;
    let wanted = Reference::parse(reference)?;
    let named = async {
        let fetched = engine.fetch(&source, progress).await;
        fetched.map_err(|error| from_here(error, engine, &source, &wanted))?;
        tag(engine.socket(), source.full(), &wanted)
            .await
            .map_err(said)
    };
    let outcome = named.await;
    if let Err(fault) = forget(engine.socket(), source.full()).await
        && outcome.is_ok()
    {
        tracing::warn!(
            image = source.full(),
            ?fault,
            "the name of the way here stays"
        );
    }
    outcome
}

/// What went wrong, without the names that only the way had.
fn from_here<E: Engine>(
    error: RuntimeError,
    engine: &E,
    source: &Reference,
    wanted: &Reference,
) -> RuntimeError {
    let RuntimeError::Image(text) = error else {
        return error;
    };
    let text = text.replace(source.written(), wanted.written());
    if text.contains("connection refused") || text.contains("cannot be reached") {
        return RuntimeError::Image(format!(
            "{} cannot reach this agent at {}, where it would get `{}`: does the agent run in a \
             container without the network of its host? ({text})",
            engine.kind(),
            source.registry(),
            wanted.written()
        ));
    }
    RuntimeError::Image(text)
}

async fn tag(socket: &Path, source: &str, wanted: &Reference) -> Result<(), Fault> {
    let full = wanted.full();
    // Behind the last colon is a tag, unless that colon belongs to a port.
    let (repository, tag) = match full.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (full, "latest"),
    };
    let options = TagImageOptionsBuilder::new()
        .repo(repository)
        .tag(tag)
        .build();
    let docker = connect(socket)?;
    limited(CALL_LIMIT, docker.tag_image(source, Some(options))).await
}

pub(crate) async fn forget(socket: &Path, image: &str) -> Result<(), Fault> {
    let docker = connect(socket)?;
    let call = docker.remove_image(image, None::<RemoveImageOptions>, None);
    limited(START_LIMIT, call).await.map(drop)
}

/// Names of the way that an agent left which was killed in the middle.
async fn sweep<E: Engine>(engine: &E) {
    let Ok(all) = images(engine).await else {
        return;
    };
    let names = all.iter().flat_map(|image| &image.references);
    for left in names.filter(|name| is_lent(name)) {
        if let Err(fault) = forget(engine.socket(), left).await {
            tracing::debug!(image = left, ?fault, "a name that was left behind stays");
        }
    }
}

/// Whether it has a name only while it is fetched from an agent.
fn is_lent(reference: &str) -> bool {
    let path = reference.strip_prefix("127.0.0.1:");
    path.and_then(|rest| rest.split_once('/'))
        .is_some_and(|(_, name)| name.starts_with(LENT))
}

pub(crate) async fn images<E: Engine>(engine: &E) -> Result<Vec<NodeImage>, RuntimeError> {
    let said = |fault: Fault| plain(engine.kind(), "", fault);
    let listed = async {
        let docker = connect(engine.socket())?;
        let call = docker.list_images(None::<ListImagesOptions>);
        let images = limited(CALL_LIMIT, call).await?;
        let every = ListContainersOptionsBuilder::new().all(true).build();
        let containers = limited(CALL_LIMIT, docker.list_containers(Some(every))).await?;
        Ok((images, containers))
    };
    let (images, containers) = listed.await.map_err(said)?;
    let mut uses: BTreeMap<String, u32> = BTreeMap::new();
    for container in containers {
        if let Some(id) = container.image_id {
            *uses.entry(digits(&id).to_owned()).or_default() += 1;
        }
    }
    let told = images.into_iter().take(MAX_IMAGES).map(|image| NodeImage {
        engine: engine.kind(),
        references: image
            .repo_tags
            .iter()
            .filter(|name| *name != "<none>:<none>")
            .map(|name| full(name))
            .collect(),
        size: u64::try_from(image.size).unwrap_or_default(),
        created_s: u64::try_from(image.created).unwrap_or_default(),
        containers: uses.get(digits(&image.id)).copied().unwrap_or_default(),
        id: format!("sha256:{}", digits(&image.id)),
    });
    Ok(told.collect())
}

/// Podman leaves the algorithm out.
fn digits(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

fn full(name: &str) -> String {
    match Reference::parse(name) {
        Ok(reference) => reference.full().to_owned(),
        Err(_) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_way_are_told_from_those_of_people() {
        assert!(is_lent("127.0.0.1:40123/fleetctl-lent-5f:1"));
        for theirs in [
            "docker.io/library/fleetctl-lent-5f:1",
            "127.0.0.1:5000/app:1",
            "127.0.0.1:5000",
        ] {
            assert!(!is_lent(theirs), "{theirs}");
        }
    }

    #[test]
    fn both_engines_names_are_told_in_full() {
        assert_eq!(full("app:1"), "docker.io/library/app:1");
        assert_eq!(full("localhost/app:1"), "localhost/app:1");
        assert_eq!(digits("sha256:ab"), digits("ab"));
    }
}
