//! Taking over a container that fleetctl did not make.
//!
//! ```text
//! not there ──────────────────────────────► nothing to do: make one
//! made by fleetctl ───────────────────────► refuse
//! there, nothing differs ─────────────────► write it down; it is not even restarted
//! there, something differs ───────────────► fetch the image, stop and remove it, make one
//! ```
//!
//! Its engine's restart policy is taken away, since the agent restarts it from now on. Volumes of
//! a container that is removed here stay, named or not: their content is not ours.

use super::{described, difference};
use crate::{
    model::Workload,
    runtime::{
        LABEL_NODE, Launch, Launched, Progress, RuntimeError,
        container::{
            adopted::Record,
            calls,
            fault::Fault,
            launch::{self, Engine},
            plain,
        },
    },
};
use tokio::sync::mpsc::UnboundedSender;

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is ours now.
    Taken(Launched),
    /// One must be made. With a warning where one was removed for it.
    MakeOne(Option<String>),
}

/// Takes over what `launch` names, where there is such a container.
pub(crate) async fn take_over<E: Engine>(
    engine: &E,
    launch: &Launch,
    name: &str,
    progress: &UnboundedSender<Progress>,
) -> Result<Outcome, RuntimeError> {
    let said = |fault: Fault| plain(engine.kind(), name, fault);
    // Ours stands already: an earlier launch came so far.
    match engine.named(&launch.container_name()).await {
        Ok(_) => return Ok(Outcome::MakeOne(None)),
        Err(fault) if fault.is_missing_container() => {}
        Err(fault) => return Err(said(fault)),
    }
    let there = match engine.named(name).await {
        Ok(there) => there,
        Err(fault) if fault.is_missing_container() => return Ok(Outcome::MakeOne(None)),
        Err(fault) => return Err(said(fault)),
    };
    // By an id, or a part of one, another could be meant tomorrow.
    if there.name != name {
        return Ok(Outcome::MakeOne(None));
    }
    if there.labels.contains_key(LABEL_NODE) {
        return Err(RuntimeError::Refused(format!(
            "container `{name}` was made by fleetctl; there is nothing to adopt"
        )));
    }
    if let Some(known) = engine.adopted().get(&there.id) {
        if known.workload != launch.workload.name || known.node != launch.node {
            return Err(RuntimeError::Refused(format!(
                "container `{name}` was adopted by workload `{}` on node `{}` already",
                known.workload, known.node
            )));
        }
        if known.spec_hash == launch.spec_hash {
            return taken(engine, &there.id, Vec::new()).await;
        }
    }
    let (workload, _) = described(engine, &there.id).await.map_err(said)?;
    let differing = difference::between(&launch.workload, &workload);
    if differing.is_empty() {
        return keep(engine, launch, name, &there.id).await;
    }
    // While it still runs: what cannot be fetched must not cost what works.
    launch::prepare(engine, launch, progress).await?;
    let stop_ms = launch.workload.stop_timeout_ms;
    engine.end(&there.id, stop_ms).await.map_err(said)?;
    engine.discard(&there.id, false).await.map_err(said)?;
    engine.adopted().forget(&there.id).await;
    Ok(Outcome::MakeOne(Some(made_anew(name, &differing))))
}

fn made_anew(name: &str, differing: &[&str]) -> String {
    format!(
        "container `{name}` was made anew, not taken over as it was: its {} differed",
        differing.join(", ")
    )
}

async fn keep<E: Engine>(
    engine: &E,
    launch: &Launch,
    name: &str,
    id: &str,
) -> Result<Outcome, RuntimeError> {
    let workload: &Workload = &launch.workload;
    let record = Record {
        id: id.to_owned(),
        node: launch.node.clone(),
        workload: workload.name.clone(),
        version: workload.version.clone(),
        spec_hash: launch.spec_hash.clone(),
    };
    engine.adopted().put(record).await.map_err(|reason| {
        RuntimeError::Failed(format!("container `{name}` cannot be adopted: {reason}"))
    })?;
    let mut warnings = Vec::new();
    match calls::never_restart(engine.socket(), id).await {
        Ok(true) => {}
        Ok(false) => warnings.push(format!(
            "{} still restarts container `{name}` by itself: this version cannot be told \
             otherwise",
            engine.kind()
        )),
        Err(fault) => return Err(plain(engine.kind(), id, fault)),
    }
    taken(engine, id, warnings).await
}

/// Running already is fine; one that ended is started.
async fn taken<E: Engine>(
    engine: &E,
    id: &str,
    warnings: Vec<String>,
) -> Result<Outcome, RuntimeError> {
    let started = engine.start_made(id).await;
    started.map_err(|fault| plain(engine.kind(), id, fault))?;
    Ok(Outcome::Taken(Launched {
        handle: id.to_owned(),
        pid: None,
        warnings,
    }))
}
