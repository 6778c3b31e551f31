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
//! | a network has just been taken away | make it again, once |
//!
//! A workload that takes over a container which is there already ([`super::foreign::adopt`]) is
//! made only where that is not so.

use super::{
    adopted::Adopted,
    body::{self, Container},
    calls,
    fault::Fault,
    foreign::{
        Listed,
        adopt::{self, Outcome},
    },
    images,
    limits::{self, Limits},
    networks::{self, Networks},
    placed::Placed,
    plain,
    sentence::{About, explain},
};
use crate::{
    model::{PullPolicy, Run, RuntimeKind},
    runtime::{
        KeptImages, LABEL_NODE, LABEL_SPEC_HASH, LABEL_WORKLOAD, Launch, Launched, Progress,
        RuntimeError,
        pull::{self, Reference},
    },
};
use bollard::models::{ContainerCreateBody, ContainerCreateResponse};
use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::{Mutex, PoisonError},
};
use tokio::sync::mpsc::UnboundedSender;

/// More tries than there are answers to give.
const TRIES: u32 = 16;
/// Names of launches that were prepared and not launched; more than any node runs.
const PREPARED_LIMIT: usize = 1024;

/// A container as far as one must know whose it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    /// Its id.
    pub(crate) id: String,
    /// Its name, without a slash in front.
    pub(crate) name: String,
    /// Its labels.
    pub(crate) labels: HashMap<String, String>,
    /// It was started once, and may have ended since.
    pub(crate) has_run: bool,
}

/// The calls that a launch is made of.
pub(crate) trait Engine: Sync {
    /// Which.
    fn kind(&self) -> RuntimeKind;
    /// Where it speaks Docker's API.
    fn socket(&self) -> &Path;
    /// Launches whose image is fresh already.
    fn prepared(&self) -> &Prepared;
    /// Files of workloads.
    fn placed(&self) -> &Placed;
    /// Containers that were taken over.
    fn adopted(&self) -> &Adopted;
    /// Networks of workloads.
    fn networks(&self) -> &Networks;
    /// Makes a container.
    fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> impl Future<Output = Result<ContainerCreateResponse, Fault>> + Send;
    /// Starts one; running already is no fault.
    fn start_made(&self, id: &str) -> impl Future<Output = Result<(), Fault>> + Send;
    /// The one that has this name or id.
    fn named(&self, name: &str) -> impl Future<Output = Result<Named, Fault>> + Send;
    /// Ends one, with SIGKILL after `timeout_ms`; ended or gone already is no fault.
    fn end(&self, id: &str, timeout_ms: u64) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Kills and removes one; gone is no fault. `volumes`: those without a name go with it.
    fn discard(&self, id: &str, volumes: bool) -> impl Future<Output = Result<(), Fault>> + Send;
    /// All containers, whosoever; `announced`: only those with the label that announces them.
    fn all_listed(
        &self,
        announced: bool,
    ) -> impl Future<Output = Result<Vec<Listed>, Fault>> + Send;
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
    /// Images that the controller keeps.
    fn kept(&self) -> Option<&dyn KeptImages>;
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
    if let Some(theirs) = &launch.workload.adopt {
        match adopt::take_over(engine, launch, theirs, progress).await? {
            Outcome::Taken(launched) => return Ok(launched),
            Outcome::MakeOne(warning) => warnings.extend(warning),
        }
    }
    let mut limits = Limits::all();
    let mut fetched = false;
    if policy == PullPolicy::Always && !engine.prepared().take(&name) {
        warnings.extend(refresh(engine, image, progress).await?);
        fetched = true;
    }
    let _ = progress.send(Progress::Starting);
    engine.placed().place(launch).await?;
    let placed = engine.placed().paths(launch);
    let make_networks = || async {
        let made = networks::make(engine, launch).await;
        made.map_err(|fault| explain(&fault, &about(engine, launch)))
    };
    make_networks().await?;
    let mut networks_made_again = false;
    for _ in 0..TRIES {
        let body = body::body(launch, engine.kind(), limits, &placed)?;
        let made = match engine.create(&name, body).await {
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
                // What an agent that was killed has asked for can come late. It is what was to be
                // launched, and if it has run, then that was its run: the caller sees how it ended.
                Some(there) if there.has_run => {
                    return Ok(Launched {
                        handle: there.id,
                        pid: None,
                        warnings,
                    });
                }
                Some(there) => ContainerCreateResponse {
                    id: there.id,
                    warnings: Vec::new(),
                },
                None => continue,
            },
            Err(fault)
                if fault.is_missing_network()
                    && !networks_made_again
                    && networks::are_made(launch) =>
            {
                networks_made_again = true;
                make_networks().await?;
                continue;
            }
            Err(fault) => {
                limits = limits::less(&fault, &launch.workload, limits, &mut warnings)
                    .ok_or_else(|| explain(&fault, &about(engine, launch)))?;
                continue;
            }
        };
        let begun = async {
            networks::join(engine, launch, &made.id).await?;
            engine.start_made(&made.id).await
        };
        match begun.await {
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
                if let Err(left) = engine.discard(&made.id, true).await {
                    tracing::debug!(container = made.id, ?left, "container not removed");
                }
                if fault.is_missing_network() && !networks_made_again && networks::are_made(launch)
                {
                    networks_made_again = true;
                    make_networks().await?;
                    continue;
                }
                limits = limits::less(&fault, &launch.workload, limits, &mut warnings)
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
    if let Err(error) = engine.fetch(&reference, progress).await {
        // No registry gives it; perhaps somebody pushed it to the controller.
        return from_controller(engine, &reference, error, progress).await;
    }
    let of_image = match engine.image_architecture(reference.full()).await {
        Ok(of_image) => of_image,
        // A stream of progress may end without a word when the engine does.
        Err(fault @ Fault::Unreachable(_)) => return Err(plain(engine.kind(), "", fault)),
        Err(_) => None,
    };
    let (Some(of_image), Ok(of_node)) = (of_image, engine.architecture().await) else {
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

/// Takes an image that no registry gives from the controller; `error` is said where that keeps it
/// neither.
async fn from_controller<E: Engine>(
    engine: &E,
    reference: &Reference,
    error: RuntimeError,
    progress: &UnboundedSender<Progress>,
) -> Result<(), RuntimeError> {
    let (RuntimeError::Image(_), Some(kept)) = (&error, engine.kept()) else {
        return Err(error);
    };
    let image = reference.full();
    let lent = match kept.lend(image).await {
        Ok(Some(lent)) => lent,
        Ok(None) => return Err(error),
        Err(why) => {
            tracing::debug!(image, why, "the controller cannot be asked for an image");
            return Err(error);
        }
    };
    tracing::info!(runtime = %engine.kind(), image, %error, "fetching image from the controller");
    images::take(engine, &lent, image, progress).await
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

/// [`crate::runtime::Runtime::remove`] of both engines.
pub(crate) async fn remove<E: Engine>(engine: &E, handle: &str) -> Result<(), RuntimeError> {
    let said = |fault: Fault| plain(engine.kind(), handle, fault);
    let is_adopted = engine.adopted().has(handle);
    let name = match engine.placed().has_any() {
        // Nobody can tell it any more afterwards.
        true => engine.named(handle).await.ok().map(|there| there.name),
        false => None,
    };
    // Volumes of a container that was taken over are not ours.
    engine.discard(handle, !is_adopted).await.map_err(said)?;
    engine.networks().sweep_later(engine.socket());
    engine.adopted().forget(handle).await;
    if let Some(name) = name {
        engine.placed().remove(&name).await;
    }
    Ok(())
}

/// [`crate::runtime::Runtime::reload`] of both engines.
pub(crate) async fn reload<E: Engine>(
    engine: &E,
    handle: &str,
    launch: &Launch,
) -> Result<bool, RuntimeError> {
    if !engine.placed().place(launch).await? {
        return Ok(false);
    }
    if let Some(signal) = launch.workload.reload {
        let sent = calls::signal(engine.socket(), handle, signal.as_str()).await;
        sent.map_err(|fault| plain(engine.kind(), handle, fault))?;
    }
    Ok(true)
}

/// What to do about a name that is taken: `Some` is to be used, `None` means create again.
async fn settle<E: Engine>(
    engine: &E,
    launch: &Launch,
    name: &str,
) -> Result<Option<Named>, RuntimeError> {
    let of = |fault: Fault| explain(&fault, &about(engine, launch));
    let there = match engine.named(name).await {
        Ok(there) => there,
        Err(fault) if fault.is_missing_container() => return Ok(None),
        Err(fault) => return Err(of(fault)),
    };
    let is = |key: &str, value: &str| there.labels.get(key).is_some_and(|label| label == value);
    if !is(LABEL_NODE, launch.node.as_str()) || !is(LABEL_WORKLOAD, launch.workload.name.as_str()) {
        return Err(RuntimeError::Refused(format!(
            "a container that fleetctl did not make has the name `{name}`; remove it with `{} rm \
             {name}`",
            engine.kind()
        )));
    }
    if is(LABEL_SPEC_HASH, &launch.spec_hash) {
        return Ok(Some(there));
    }
    engine.discard(&there.id, true).await.map_err(of)?;
    Ok(None)
}

/// Nobody asked for a limit of swap by itself, so nobody misses it.
fn is_worth_saying(warning: &str) -> bool {
    !warning.contains("swap limit")
}

fn policy(launch: &Launch) -> PullPolicy {
    match &launch.workload.run {
        Run::Container { pull, .. } => *pull,
        _ => PullPolicy::Never,
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
