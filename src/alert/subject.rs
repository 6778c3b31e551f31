//! What an alert is about.

use crate::model::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A node, a workload, a workload on a node, a certificate of the controller, or (empty) the
/// controller itself.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
pub struct Subject {
    /// The workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub workload: Option<Name>,
    /// The node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub node: Option<Name>,
    /// The certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub certificate: Option<Name>,
}

impl Subject {
    /// A node.
    pub fn node(node: &Name) -> Subject {
        Subject {
            node: Some(node.clone()),
            ..Subject::default()
        }
    }

    /// A workload.
    pub fn workload(workload: &Name) -> Subject {
        Subject {
            workload: Some(workload.clone()),
            ..Subject::default()
        }
    }

    /// A workload on a node.
    pub fn instance(workload: &Name, node: &Name) -> Subject {
        Subject {
            workload: Some(workload.clone()),
            node: Some(node.clone()),
            certificate: None,
        }
    }

    /// A certificate.
    pub fn certificate(certificate: &Name) -> Subject {
        Subject {
            certificate: Some(certificate.clone()),
            ..Subject::default()
        }
    }

    /// Id of the alert of `rule` about it: `crashloop.web.pi-3`. Names have no dots, and a rule is
    /// always about subjects of the same kind, so that no two have the same. Safe in an address.
    pub fn id(&self, rule: &str) -> String {
        let mut id = rule.to_owned();
        let names = [&self.workload, &self.node, &self.certificate];
        for name in names.into_iter().flatten() {
            id.push('.');
            id.push_str(name.as_str());
        }
        id
    }
}
