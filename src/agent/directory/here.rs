//! What this node is, and so whether and how a workload runs on it: as a controller would decide
//! for a fleet of this one node.

use crate::{
    agent::facts,
    config::AgentConfig,
    fleet::{self, Candidate, NodeNames, Reserved, Taken},
    model::{Name, NodeFacts, Presence, Workload},
};
use std::collections::{BTreeMap, BTreeSet};

/// This node.
#[derive(Debug, Clone)]
pub struct Here {
    name: Name,
    facts: NodeFacts,
}

impl Here {
    /// As `config` and the machine say. Looks at the machine, which may take a moment.
    pub fn of(config: &AgentConfig) -> Here {
        Here::new(config.name.clone(), facts::gather(config, &[]))
    }

    /// A node of this name and with these facts.
    pub(in crate::agent) fn new(name: Name, facts: NodeFacts) -> Here {
        Here { name, facts }
    }

    /// The workload as it runs here.
    ///
    /// # Errors
    /// Why it does not run here.
    pub(in crate::agent) fn take(&self, workload: &Workload) -> Result<Workload, String> {
        if let Some(reason) = self.obstacle(workload) {
            return Err(reason);
        }
        self.fill(workload)
    }

    /// The workload with everything filled in that is known of this node; what the environment of
    /// its agent says is left as it is.
    ///
    /// # Errors
    /// Names in templates that mean nothing here.
    pub fn fill(&self, workload: &Workload) -> Result<Workload, String> {
        if !workload.has_templates() {
            return Ok(workload.clone());
        }
        let names = self.names();
        workload
            .fill(&|name| names.lookup(name))
            .map_err(|unknown| {
                let unknown: Vec<String> = unknown.iter().map(|n| format!("`{n}`")).collect();
                format!("{} is not known of this node", unknown.join(", "))
            })
    }

    fn names(&self) -> NodeNames {
        let mut values = BTreeMap::from([
            ("node.name".to_owned(), self.name.to_string()),
            ("node.arch".to_owned(), self.facts.arch.clone()),
            ("node.hostname".to_owned(), self.facts.hostname.clone()),
            ("node.os".to_owned(), "linux".to_owned()),
        ]);
        let labels = self.facts.labels.iter();
        values.extend(labels.map(|(key, value)| (format!("label.{key}"), value.clone())));
        NodeNames { values }
    }

    /// An engine that has not answered yet is no obstacle: where it is missing for good, the
    /// instance's own state says so.
    fn obstacle(&self, workload: &Workload) -> Option<String> {
        let candidate = Candidate {
            name: &self.name,
            presence: Presence::Online,
            facts: Some(&self.facts),
            labels: None,
            taken: Taken::default(),
            reserved: Reserved::default(),
            closed: None,
            others: None,
        };
        // As if it ran here already: placement leaves engines aside then.
        let current = BTreeSet::from([self.name.clone()]);
        let mut decision = fleet::place(workload, &current, &[candidate]);
        if decision.nodes.contains(&self.name) {
            return None;
        }
        let reason = decision.reasons.remove(&self.name);
        Some(reason.unwrap_or_else(|| "it is not for this node".to_owned()))
    }
}
