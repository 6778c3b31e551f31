//! Where instances go, as the user wrote it.

use super::{Name, shown};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, collections::BTreeMap, fmt};
use utoipa::ToSchema;

/// Where instances go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Placement {
    /// `any` with replicas, or `every` matching node.
    pub mode: PlacementMode,
    /// How to choose among the nodes that may run it.
    pub strategy: Strategy,
    /// What a node must have; all of them.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub requires: Vec<Requirement>,
    /// Only these nodes, where not empty.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub nodes: Vec<Name>,
    // What follows came later; see `Workload`.
    /// What a node should rather have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefers: Vec<Preference>,
    /// Label over whose values the replicas are spread evenly, before anything else is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<String>,
    /// Workloads that must be on the same node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub with: Vec<Name>,
    /// Workloads that must not be on the same node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub apart: Vec<Name>,
}

/// Something that a node should rather have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preference {
    /// What.
    #[schema(value_type = String)]
    pub requirement: Requirement,
    /// How much, -100 to 100; 50 unless written. Below 0: rather not.
    pub weight: i32,
}

/// `on` in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlacementMode {
    /// That many instances, each on a node of its own.
    Any {
        /// How many; zero is allowed and runs nothing.
        replicas: u32,
    },
    /// One on each node that may run it, also on nodes that join later.
    Every,
}

impl Default for PlacementMode {
    fn default() -> Self {
        PlacementMode::Any { replicas: 1 }
    }
}

/// How to choose among nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The node with the smallest part of its cpu and memory taken, then the fewest instances.
    #[default]
    LeastLoaded,
    /// One after the other, by name, after the one that was chosen last.
    RoundRobin,
    /// The node that has the least that it does not need: what is special is kept for those that
    /// ask for it.
    CapabilityMatch,
    /// The node that is left with the least room, so that others stay free for what is large.
    ResourceOptimal,
}

/// What a fact or label of a node must be: `key`, `!key`, `key=value`, `key!=value`, or a comparison
/// with `<`, `<=`, `>`, `>=` of numbers (`cpus>=4`), sizes (`memory>=1GiB`) or versions
/// (`kernel>=5.10`).
///
/// The key is a capability that the agent found out, else a label, else one of what is known of
/// every node: `memory` (bytes in all), `cpus`, `kernel` (its release), `os`, `arch`, `agent` (the
/// version of fleetctl there).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Requirement {
    /// Capability, label, or what is known of every node.
    pub key: String,
    /// What is asked of it.
    pub operator: Operator,
    /// What it is compared with; empty where only its presence is asked for.
    pub value: String,
}

/// What a [`Requirement`] asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// It is there.
    Has,
    /// It is not there.
    HasNot,
    /// It is that.
    Is,
    /// It is something else, or not there.
    IsNot,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

impl Operator {
    /// As it is written between key and value.
    pub fn as_str(self) -> &'static str {
        match self {
            Operator::Has | Operator::HasNot => "",
            Operator::Is => "=",
            Operator::IsNot => "!=",
            Operator::Less => "<",
            Operator::AtMost => "<=",
            Operator::More => ">",
            Operator::AtLeast => ">=",
        }
    }
}

impl Requirement {
    /// Whether labels and capabilities meet it.
    pub fn is_met_by(&self, properties: &BTreeMap<String, String>) -> bool {
        self.holds(properties.get(&self.key).map(String::as_str))
    }

    /// The same, for what one knows of its key.
    pub fn holds(&self, has: Option<&str>) -> bool {
        let compared = || compared(has?, &self.value);
        match self.operator {
            Operator::Has => has.is_some(),
            Operator::HasNot => has.is_none(),
            Operator::Is => has == Some(self.value.as_str()),
            Operator::IsNot => has != Some(self.value.as_str()),
            Operator::Less => compared() == Some(Ordering::Less),
            Operator::AtMost => compared().is_some_and(Ordering::is_le),
            Operator::More => compared() == Some(Ordering::Greater),
            Operator::AtLeast => compared().is_some_and(Ordering::is_ge),
        }
    }
}

impl Requirement {
    /// Whether a comparison of what is known of every node holds for all that they can be, or for
    /// none of it: nobody has less than no memory, and no architecture is more than another one.
    /// `None`: it depends on the node.
    pub fn by_type(&self) -> Option<bool> {
        if self.operator <= Operator::IsNot {
            return None;
        }
        match self.key.as_str() {
            "memory" | "cpus" => {
                // More parts than one dot can have are those of a version.
                let Some(value) = quantity(&self.value) else {
                    return Some(false);
                };
                match self.operator {
                    Operator::AtLeast if value <= 0.0 => Some(true),
                    Operator::More if value < 0.0 => Some(true),
                    Operator::AtMost if value <= 0.0 => Some(false),
                    Operator::Less if value <= 0.0 => Some(false),
                    _ => None,
                }
            }
            "kernel" | "agent" => version_parts(&self.value).is_none().then_some(false),
            "arch" | "os" => Some(false),
            _ => None,
        }
    }
}

/// Numbers, sizes in bytes, or versions part by part; `None` where they cannot be compared.
fn compared(has: &str, wanted: &str) -> Option<Ordering> {
    // A dot without a unit is that of a version: 5.10 is more than 5.9.
    let is_version =
        |text: &str| text.contains('.') && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if !is_version(has)
        && !is_version(wanted)
        && let (Some(has), Some(wanted)) = (quantity(has), quantity(wanted))
    {
        return has.partial_cmp(&wanted);
    }
    let (mut has, mut wanted) = (version_parts(has)?, version_parts(wanted)?);
    let len = has.len().max(wanted.len());
    has.resize(len, 0);
    wanted.resize(len, 0);
    Some(has.cmp(&wanted))
}

/// The numbers of a version.
fn version_parts(text: &str) -> Option<Vec<u64>> {
    let text = text.strip_prefix('v').unwrap_or(text);
    // What follows the numbers, as in `6.6.51+rpt-rpi-v8`, says nothing about the order.
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let parts = text[..end.unwrap_or(text.len())].trim_end_matches('.');
    parts.split('.').map(|part| part.parse().ok()).collect()
}

/// A number, also with a unit of sizes.
fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "k" | "ki" | "kib" => 1_024.0,
        "m" | "mi" | "mib" => 1_048_576.0,
        "g" | "gi" | "gib" => 1_073_741_824.0,
        "t" | "ti" | "tib" => 1_099_511_627_776.0,
        _ => return None,
    };
    let number: f64 = number.trim().parse().ok()?;
    number.is_finite().then_some(number * factor)
}

impl TryFrom<String> for Requirement {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let word = |s: &str| {
            !s.is_empty()
                && s.len() <= 128
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_./:+".contains(&b))
        };
        // The longer ones first.
        let operators = [
            Operator::IsNot,
            Operator::AtMost,
            Operator::AtLeast,
            Operator::Less,
            Operator::More,
            Operator::Is,
        ];
        let split = operators
            .into_iter()
            .filter_map(|o| {
                text.split_once(o.as_str())
                    .map(|(k, v)| (k.trim(), o, v.trim()))
            })
            .min_by_key(|(key, ..)| key.len());
        let (key, operator, value) = match split {
            Some(split) => split,
            None => match text.strip_prefix('!') {
                Some(key) => (key, Operator::HasNot, ""),
                None => (text.as_str(), Operator::Has, ""),
            },
        };
        let presence = matches!(operator, Operator::Has | Operator::HasNot);
        let compares = operator > Operator::IsNot;
        if !word(key)
            || !(presence || word(value))
            || (compares && compared(value, value).is_none())
        {
            return Err(format!(
                "`{}` is not a requirement: `key`, `!key`, `key=value`, `key!=value`, or a \
                 comparison such as `memory>=1GiB`",
                shown(&text)
            ));
        }
        Ok(Requirement {
            key: key.to_owned(),
            operator,
            value: value.to_owned(),
        })
    }
}

impl From<Requirement> for String {
    fn from(r: Requirement) -> String {
        r.to_string()
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operator {
            Operator::HasNot => write!(f, "!{}", self.key),
            operator => write!(f, "{}{}{}", self.key, operator.as_str(), self.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(requirement: &str, has: Option<&str>) -> bool {
        let requirement = Requirement::try_from(requirement.to_owned()).unwrap();
        assert_eq!(
            Requirement::try_from(requirement.to_string()).unwrap(),
            requirement
        );
        requirement.holds(has)
    }

    #[test]
    fn a_comparison_that_no_node_can_change_is_known_by_its_type() {
        for (text, expected) in [
            ("memory >= -1", Some(true)),
            ("memory>=0", Some(true)),
            ("memory>0", None),
            ("memory<0", Some(false)),
            ("memory<=0", Some(false)),
            ("memory<1GiB", None),
            ("memory>=1.2.3", Some(false)),
            ("cpus>-4", Some(true)),
            ("cpus>=4", None),
            ("kernel>=-1", Some(false)),
            ("kernel>=5.10", None),
            ("agent>=v1.2", None),
            ("arch>=7", Some(false)),
            ("os<12", Some(false)),
            // What a label says can be anything.
            ("depth>=-1", None),
            ("arch=arm", None),
            ("!memory", None),
        ] {
            let requirement = Requirement::try_from(text.to_owned()).unwrap();
            assert_eq!(requirement.by_type(), expected, "{text}");
        }
    }

    #[test]
    fn requirements_are_read_and_met() {
        for (requirement, has, expected) in [
            ("gpu", Some("1"), true),
            ("gpu", None, false),
            ("!gpu", None, true),
            ("!gpu", Some("1"), false),
            ("zone=a", Some("a"), true),
            ("zone=a", Some("b"), false),
            ("zone=a", None, false),
            ("zone!=a", Some("b"), true),
            ("zone!=a", None, true),
            ("zone!=a", Some("a"), false),
            ("cpus>=4", Some("4"), true),
            ("cpus>4", Some("4"), false),
            ("cpus<4", Some("10"), false),
            ("cpus<4", None, false),
            ("memory >= 1GiB", Some("1073741824"), true),
            ("memory>=1GiB", Some("1073741823"), false),
            ("kernel>=5.10", Some("5.9.2"), false),
            ("kernel>=5.10", Some("6.6.51+rpt-rpi-v8"), true),
            ("kernel<=5.10", Some("5.10.0"), true),
            ("kernel>=5.10.1", Some("5.10"), false),
            ("kernel>=5.10", Some("5.9"), false),
            ("kernel>=5.9", Some("5.10"), true),
            ("cpus>=0.5", Some("4"), true),
            ("memory>=0.5GiB", Some("1073741824"), true),
            ("kernel>=5", Some("odd"), false),
        ] {
            assert_eq!(holds(requirement, has), expected, "{requirement} {has:?}");
        }
        for wrong in [
            "",
            "!",
            "=a",
            "a=",
            "a b",
            "memory>=much",
            "a>",
            "a!=b=c d",
            "!a=b c",
        ] {
            assert!(Requirement::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
