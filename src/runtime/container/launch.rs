//! Create, start, and what to do when that does not go straight.
//!
//! The straight way is two calls, create and start: nothing is looked at beforehand. Each way in
//! which a create can fail is answered once and then it is tried again:
//!
//! | answer | then |
//! |---|---|
//! | no such image | fetch it, unless the policy says never |
//! | the name is taken, by ours with the same spec | use that one: an earlier launch was interrupted |
//! | the name is taken, by ours with another spec | remove that one |
//! | the name is taken by a stranger | refuse |
//! | a limit cannot be enforced | leave the limit out and say so |

use super::{
    body::{self, Container, Limits},
    fault::Fault,
    sentence::{About, explain, shortened},
};
use crate::{
    model::{PullPolicy, Run, RuntimeKind},
    runtime::{
        LABEL_NODE, LABEL_SPEC_HASH, LABEL_WORKLOAD, Launch, Launched, Progress, RuntimeError,
        pull::{self, Reference},
    },
};
use bollard::models::{ContainerCreateBody, ContainerCreateResponse};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};
use tokio::sync::mpsc::UnboundedSender;

/// More tries than there are answers to give.
const TRIES: u32 = 8;
/// Names of launches that were prepared and not launched; more than any node runs.
const PREPARED_LIMIT: usize = 1024;

/// The calls that a launch is made of.
pub(crate) trait Engine: Sync {
    /// Which.
    fn kind(&self) -> RuntimeKind;
    /// Launches whose image is fresh already.
    fn prepared(&self) -> &Prepared;
    /// Makes a container.
    fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> impl Future<Output = Result<ContainerCreateResponse, Fault>> + Send;
    /// Starts one; running already is no fault.
    fn start_made(&self, id: &str) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Id and labels of the one that has this name.
    fn named(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<(String, HashMap<String, String>), Fault>> + Send;
    /// Kills and removes one; gone is no fault.
    fn discard(&self, id: &str) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Fetches an image.
    fn fetch(
        &self,
        reference: &Reference,
        progress: &UnboundedSender<Progress>,
    ) -> impl Future<Output = Result<(), RuntimeError>> + Send;
    /// Architecture of an image that is on the node; `None` when it is not there.
    fn image_architecture(
        &self,
        image: &str,
    ) -> impl Future<Output = Result<Option<String>, Fault>> + Send;
    /// The engine's architecture, as Go names it.
    fn architecture(&self) -> impl Future<Output = Result<String, Fault>> + Send;
    /// Forgets an image that was fetched and cannot be used.
    fn forget_image(&self, image: &str) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Launches that were prepared, by container name, so that a launch does not ask the registry
/// again for what its preparation has just fetched.
#[derive(Debug, Default)]
pub(crate) struct Prepared(Mutex<BTreeSet<String>>);

impl Prepared {
    fn put(&self, name: String) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= PREPARED_LIMIT {
            names.clear();
        }
        names.insert(name);
    }

    fn take(&self, name: &str) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name)
    }
}

/// [`crate::runtime::Runtime::prepare`] of both engines.
pub(crate) async fn prepare<E: Engine>(
    engine: &E,
    launch: &Launch,
    progress: &UnboundedSender<Progress>,
) -> Result<(), RuntimeError> {
    let image = Container::of(&launch.workload)?.image;
    match policy(launch) {
        PullPolicy::Always => {
            refresh(engine, image, progress).await?;
            engine.prepared().put(launch.container_name());
        }
        policy => {
            Reference::parse(image)?;
            let there = engine.image_architecture(image).await;
            let there = there.map_err(|fault| explain(&fault, &about(engine, launch)))?;
            match (there, policy) {
                (Some(_), _) => {}
                (None, PullPolicy::Never) => return Err(never(image)),
                (None, _) => fetch(engine, image, progress).await?,
            }
        }
    }
    Ok(())
}

/// [`crate::runtime::Runtime::launch`] of both engines.
pub(crate) async fn launch<E: Engine>(
    engine: &E,
    launch: &Launch,
    progress: &UnboundedSender<Progress>,
) -> Result<Launched, RuntimeError> {
    let image = Container::of(&launch.workload)?.image;
    Reference::parse(image)?;
    let name = launch.container_name();
    let policy = policy(launch);
    let mut warnings = body::warnings(&launch.workload);
    let mut limits = Limits::All;
    let mut fetched = false;
    if policy == PullPolicy::Always && !engine.prepared().take(&name) {
        warnings.extend(refresh(engine, image, progress).await?);
        fetched = true;
    }
    let _ = progress.send(Progress::Starting);
    for _ in 0..TRIES {
        let made = match engine
            .create(&name, body::body(launch, engine.kind(), limits)?)
            .await
        {
            Ok(made) => made,
            Err(fault) if fault.is_missing_image() && !fetched => {
                if policy == PullPolicy::Never {
                    return Err(never(image));
                }
                fetch(engine, image, progress).await?;
                fetched = true;
                let _ = progress.send(Progress::Starting);
                continue;
            }
            Err(fault) if fault.is_name_conflict() => match settle(engine, launch, &name).await? {
                Some(id) => ContainerCreateResponse {
                    id,
                    warnings: Vec::new(),
                },
                None => continue,
            },
            Err(fault) => {
                limits = less(&fault, launch, limits, &mut warnings)
                    .ok_or_else(|| explain(&fault, &about(engine, launch)))?;
                continue;
            }
        };
        match engine.start_made(&made.id).await {
            Ok(()) => {
                warnings.extend(
                    made.warnings
                        .into_iter()
                        .filter(|text| is_worth_saying(text)),
                );
                return Ok(Launched {
                    handle: made.id,
                    pid: None,
                    warnings,
                });
            }
            Err(fault) => {
                // What never ran is of no use to anybody; its name must be free for the next try.
                if let Err(left) = engine.discard(&made.id).await {
                    tracing::debug!(container = made.id, ?left, "container not removed");
                }
                limits = less(&fault, launch, limits, &mut warnings)
                    .ok_or_else(|| explain(&fault, &about(engine, launch)))?;
            }
        }
    }
    Err(RuntimeError::Failed(format!(
        "{} did not get container `{name}` made, the name is taken again and again",
        engine.kind()
    )))
}

/// Fetches and checks that the image is of this node's kind.
async fn fetch<E: Engine>(
    engine: &E,
    image: &str,
    progress: &UnboundedSender<Progress>,
) -> Result<(), RuntimeError> {
    let reference = Reference::parse(image)?;
    tracing::info!(runtime = %engine.kind(), image, "fetching image");
    engine.fetch(&reference, progress).await?;
    let (Ok(Some(of_image)), Ok(of_node)) = (
        engine.image_architecture(reference.full()).await,
        engine.architecture().await,
    ) else {
        // Nobody knows; the start will tell.
        return Ok(());
    };
    if pull::runs(&of_node, &of_image) {
        return Ok(());
    }
    // Else the next try would find it on the node and start it.
    if let Err(fault) = engine.forget_image(reference.full()).await {
        tracing::debug!(image, ?fault, "image of another architecture not removed");
    }
    Err(pull::wrong_architecture(
        engine.kind(),
        image,
        &of_image,
        &of_node,
    ))
}

/// For [`PullPolicy::Always`]: when the registry does not give it, what is on the node is used,
/// with a warning.
async fn refresh<E: Engine>(
    engine: &E,
    image: &str,
    progress: &UnboundedSender<Progress>,
) -> Result<Option<String>, RuntimeError> {
    let error = match fetch(engine, image, progress).await {
        Ok(()) => return Ok(None),
        Err(error @ RuntimeError::Image(_)) => error,
        Err(error) => return Err(error),
    };
    match engine.image_architecture(image).await {
        Ok(Some(_)) => Ok(Some(format!(
            "the image on this node is used, because {error}"
        ))),
        _ => Err(error),
    }
}

/// What to do about a name that is taken: `Some` is to be used, `None` means create again.
async fn settle<E: Engine>(
    engine: &E,
    launch: &Launch,
    name: &str,
) -> Result<Option<String>, RuntimeError> {
    let of = |fault: Fault| explain(&fault, &about(engine, launch));
    let (id, labels) = match engine.named(name).await {
        Ok(found) => found,
        Err(fault) if fault.is_missing_container() => return Ok(None),
        Err(fault) => return Err(of(fault)),
    };
    let is = |key: &str, value: &str| labels.get(key).is_some_and(|label| label == value);
    if !is(LABEL_NODE, launch.node.as_str()) || !is(LABEL_WORKLOAD, launch.workload.name.as_str()) {
        return Err(RuntimeError::Refused(format!(
            "a container that fleetctl did not make has the name `{name}`; remove it with `{} rm \
             {name}`",
            engine.kind()
        )));
    }
    if is(LABEL_SPEC_HASH, &launch.spec_hash) {
        return Ok(Some(id));
    }
    engine.discard(&id).await.map_err(of)?;
    Ok(None)
}

/// The next weaker limits, with a warning, when it was the limits that were refused.
fn less(
    fault: &Fault,
    launch: &Launch,
    limits: Limits,
    warnings: &mut Vec<String>,
) -> Option<Limits> {
    if limits == Limits::None || !body::has_limits(&launch.workload) || !fault.refuses_limit() {
        return None;
    }
    if limits == Limits::All && fault.refuses_swap_limit() {
        return Some(Limits::WithoutSwap);
    }
    let Fault::Said { text, .. } = fault else {
        return None;
    };
    warnings.push(format!(
        "its limits of memory and processors are not enforced on this node: {}",
        shortened(text)
    ));
    Some(Limits::None)
}

/// Nobody asked for a limit of swap by itself, so nobody misses it.
fn is_worth_saying(warning: &str) -> bool {
    !warning.contains("swap limit")
}

fn policy(launch: &Launch) -> PullPolicy {
    match &launch.workload.run {
        Run::Container { pull, .. } => *pull,
        Run::Process { .. } => PullPolicy::Never,
    }
}

fn never(image: &str) -> RuntimeError {
    RuntimeError::Image(format!(
        "image `{image}` is not on this node, and its pull policy is `never`"
    ))
}

fn about<'a, E: Engine>(engine: &E, launch: &'a Launch) -> About<'a> {
    let (image, program) = match Container::of(&launch.workload) {
        Ok(container) => (
            container.image,
            container.command.first().map(String::as_str),
        ),
        Err(_) => ("", None),
    };
    About {
        kind: engine.kind(),
        handle: "",
        image,
        program,
    }
}
