//! What the controller keeps for its nodes. The blobs themselves are files ([`crate::blobs`]); here
//! is which of them are wanted, and as what.

use super::{Actor, Effect, Fleet, Refusal};
use crate::model::{Artifact, ArtifactRecord, Digest, UnixMs};
use std::collections::{BTreeMap, BTreeSet};

/// Artifacts that are kept at once.
const MAX_ARTIFACTS: usize = 1_000;
/// Blobs of one.
const MAX_BLOBS: usize = 1_000;
/// Bytes of an id.
const MAX_ID: usize = 512;

impl Fleet {
    /// All artifacts, by [`Artifact::id`].
    pub fn artifacts(&self) -> &BTreeMap<String, ArtifactRecord> {
        &self.artifacts
    }

    /// Every blob that an artifact is made of, or that a workload names.
    pub fn wanted_blobs(&self) -> BTreeSet<Digest> {
        let kept = self.artifacts.values().flat_map(|r| r.artifact.blobs());
        let named = self.workloads.values().flat_map(|w| {
            let editions = w.history.iter().map(|r| &r.spec);
            editions
                .chain([&w.spec])
                .flat_map(|spec| spec.run.binaries())
        });
        kept.map(|(digest, _)| digest)
            .chain(named.map(|(_, binary)| binary.sha256))
            .collect()
    }

    pub(super) fn add_artifact(
        &mut self,
        artifact: &Artifact,
        by: Option<&Actor>,
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        let id = artifact.id();
        if id.len() > MAX_ID || artifact.blobs().len() > MAX_BLOBS {
            let message = format!("`{id:.80}` is too large: {MAX_BLOBS} blobs are the most");
            return Err(Refusal::Invalid(message));
        }
        let known = self.artifacts.get(&id);
        if known.is_some_and(|known| known.artifact == *artifact) {
            return Err(Refusal::Unchanged);
        }
        if known.is_none() && self.artifacts.len() >= MAX_ARTIFACTS {
            return Err(Refusal::Conflict(format!(
                "{MAX_ARTIFACTS} images and binaries are kept, which is the most: take some away \
                 with `fleetctl image prune`"
            )));
        }
        let record = ArtifactRecord {
            artifact: artifact.clone(),
            added_ms: at,
            by: by.map(|actor| actor.token.clone()),
        };
        self.artifacts.insert(id, record);
        Ok(Vec::new())
    }

    /// Refused for the release that agents are told to have: who joins would not get it.
    pub(super) fn remove_artifact(&mut self, id: &str) -> Result<Vec<Effect>, Refusal> {
        let record = self.artifacts.get(id);
        if let (
            Some(Artifact::Binary {
                version, binary, ..
            }),
            Some(agent),
        ) = (record.map(|r| &r.artifact), self.agent_record())
            && agent.spec.run.binaries().any(|(_, b)| b == binary)
        {
            return Err(Refusal::Conflict(format!(
                "agents are told to run fleetctl {version}: upgrade them to another release first, \
                 or end that with `fleetctl rm {}`",
                agent.spec.name
            )));
        }
        match self.artifacts.remove(id) {
            Some(_) => Ok(Vec::new()),
            None => Err(Refusal::NotFound {
                what: "image or binary",
                name: id.to_owned(),
            }),
        }
    }
}
