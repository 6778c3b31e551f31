//! What a workload is on one node: its templates filled in with what the fleet knows of the node.

use super::{Fleet, NodeRecord, WorkloadRecord, rollout::hash_on};
use crate::model::{Name, Workload, template::Lookup};
use std::{collections::BTreeMap, sync::Arc};

/// What the fleet knows of a node that a template may name.
#[derive(Debug, Clone, Default)]
pub struct NodeNames {
    /// By name, as in `node.arch` or `label.zone`.
    pub values: BTreeMap<String, String>,
}

impl NodeNames {
    pub(super) fn of(name: &Name, node: &NodeRecord) -> NodeNames {
        let mut values = BTreeMap::from([("node.name".to_owned(), name.to_string())]);
        if let Some(facts) = &node.facts {
            values.insert("node.arch".into(), facts.arch.clone());
            values.insert("node.hostname".into(), facts.hostname.clone());
        }
        values.insert("node.os".into(), "linux".into());
        let labels = node.all_labels();
        values.extend(labels.into_iter().map(|(k, v)| (format!("label.{k}"), v)));
        NodeNames { values }
    }

    /// What a name stands for; the agent's environment, and quoted texts, are left to the agent.
    pub fn lookup(&self, name: &str) -> Lookup {
        if name.starts_with("env.") || name == "\"" {
            return Lookup::Later;
        }
        let value = self.values.get(name).cloned();
        value.map_or(Lookup::Unknown, Lookup::Known)
    }
}

/// A spec as this node gets it.
pub(super) fn filled(spec: &Arc<Workload>, name: &Name, node: &NodeRecord) -> Arc<Workload> {
    let names = NodeNames::of(name, node);
    match spec.fill(&|n| names.lookup(n)) {
        Ok(filled) => Arc::new(filled),
        // It is not placed where a name is unknown; should it be, the agent refuses to start it
        // and says which name.
        Err(_) => spec.clone(),
    }
}

impl Fleet {
    /// [`Workload::spec_hash`] of the workload as this node gets it, in the revision that it is
    /// assigned.
    pub(super) fn spec_hash_on(
        &self,
        record: &WorkloadRecord,
        name: &str,
        node: &NodeRecord,
    ) -> String {
        let revision = record.revision_on(name);
        match self.nodes.get_key_value(name) {
            Some((name, _)) => hash_on(record, revision, name, node),
            None => record.spec_hash.clone(),
        }
    }
}
