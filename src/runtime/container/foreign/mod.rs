//! Containers that fleetctl did not make: telling them, and taking them over.
//!
//! | module | what |
//! |---|---|
//! | this one | which there are |
//! | [`workload`] | the workload that would make such a container |
//! | [`mounts`], [`network`], [`limits`] | parts of that |
//! | [`difference`] | what of a workload a container does not have |
//! | [`adopt`] | taking one over |

pub(crate) mod adopt;
mod difference;
mod limits;
mod mounts;
mod network;
#[cfg(test)]
mod tests;
mod workload;

use super::{calls, fault::Fault, launch::Engine, plain};
use crate::{
    model::Unmanaged,
    runtime::{LABEL_NODE, RuntimeError},
};
use std::collections::HashMap;

/// A container with this label, `true`, is announced without being asked for.
pub(crate) const LABEL_DISCOVER: &str = "fleetctl.discover";
/// The most containers that are told of.
const UNMANAGED_LIMIT: usize = 100;
/// Labels with the name of a Compose project.
const PROJECT_LABELS: [&str; 2] = ["com.docker.compose.project", "io.podman.compose.project"];

/// A container as an engine's list shows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listed {
    /// Its id.
    pub(crate) id: String,
    /// Without a slash in front.
    pub(crate) name: String,
    /// As it was written.
    pub(crate) image: String,
    /// It runs.
    pub(crate) running: bool,
    /// Its labels.
    pub(crate) labels: HashMap<String, String>,
    /// The pod that it is part of, where it is of one.
    pub(crate) pod: Option<String>,
}

impl Listed {
    fn announced(&self) -> bool {
        self.labels
            .get(LABEL_DISCOVER)
            .is_some_and(|value| value == "true")
    }

    fn project(&self) -> Option<String> {
        let mut labels = PROJECT_LABELS.iter();
        labels.find_map(|label| self.labels.get(*label)).cloned()
    }
}

/// [`crate::runtime::Runtime::unmanaged`] of both engines.
pub(crate) async fn unmanaged<E: Engine>(
    engine: &E,
    whole: bool,
) -> Result<Vec<Unmanaged>, RuntimeError> {
    let said = |fault: Fault| plain(engine.kind(), "", fault);
    // Where only the announced ones are wanted, the engine picks them.
    let mut listed = engine.all_listed(!whole).await.map_err(said)?;
    listed.retain(|one| {
        let ours = one.labels.contains_key(LABEL_NODE) || engine.adopted().has(&one.id);
        !ours && !one.name.is_empty() && (one.announced() || (whole && one.running))
    });
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    listed.truncate(UNMANAGED_LIMIT);
    let mut all = Vec::with_capacity(listed.len());
    for one in listed {
        let mut told = Unmanaged {
            runtime: engine.kind(),
            project: one.project(),
            announced: one.announced(),
            name: one.name,
            image: one.image,
            running: one.running,
            workload: None,
            lost: Vec::new(),
        };
        if whole {
            match described(engine, &one.id).await {
                Ok((workload, lost)) => {
                    told.workload = Some(workload);
                    told.lost = lost;
                }
                Err(fault) if fault.is_missing_container() => continue,
                Err(fault @ Fault::Unreachable(_)) => return Err(said(fault)),
                // One that cannot be read must not hide the others.
                Err(fault) => told.lost.push(said(fault).to_string()),
            }
            if let Some(pod) = one.pod {
                told.lost.push(format!("it is part of pod `{pod}`"));
            }
        }
        all.push(told);
    }
    Ok(all)
}

/// The workload that would make it, and what no workload can say.
async fn described<E: Engine>(
    engine: &E,
    container: &str,
) -> Result<(crate::model::Workload, Vec<String>), Fault> {
    let inspected = calls::inspect(engine.socket(), container).await?;
    let image = inspected.image.clone().unwrap_or_default();
    let image = calls::image_config(engine.socket(), &image).await?;
    workload::of(&inspected, &image, engine.kind())
}
