//! Silences: what people do not want to be told for a while.

use super::Subject;
use crate::model::{Name, UnixMs};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Bytes of the comment of a silence.
pub const MAX_COMMENT: usize = 500;
/// Bytes of an alert's id: a rule and two names, with dots.
const MAX_ID: usize = 3 * 63 + 2;

/// That somebody does not want to be told of an alert, or of several. Stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// When it ends.
    pub until_ms: UnixMs,
    /// Why.
    #[serde(default)]
    pub comment: String,
    /// Who: name of the API token.
    #[serde(default)]
    pub by: String,
    /// Since when.
    #[serde(default)]
    pub since_ms: UnixMs,
}

/// A silence, as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SilenceView {
    /// Id of the alert, or `rule=…,node=…,workload=…`.
    pub alert: String,
    /// When it ends.
    pub until_ms: UnixMs,
    /// Why.
    pub comment: String,
    /// Who: name of the API token.
    pub by: String,
    /// Since when.
    pub since_ms: UnixMs,
}

impl SilenceView {
    /// Of a silence, by what it is about.
    pub fn of(alert: &str, silence: &Silence) -> SilenceView {
        SilenceView {
            alert: alert.to_owned(),
            until_ms: silence.until_ms,
            comment: silence.comment.clone(),
            by: silence.by.clone(),
            since_ms: silence.since_ms,
        }
    }
}

/// Which alerts a silence is about: one, by its id, or all that fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matcher {
    /// The alert with this id.
    Alert(String),
    /// Every alert of this rule, node and workload, as far as they are given; at least one is.
    Fitting {
        /// The rule.
        rule: Option<String>,
        /// The node.
        node: Option<Name>,
        /// The workload.
        workload: Option<Name>,
    },
}

impl Matcher {
    /// Reads an id, or `rule=…,node=…,workload=…`.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Matcher, String> {
        let wrong = || {
            format!(
                "`{}` is neither the id of an alert nor `rule=…,node=…,workload=…`",
                crate::model::shown(text)
            )
        };
        if !text.contains('=') {
            let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
            return match (1..=MAX_ID).contains(&text.len()) && text.bytes().all(fine) {
                true => Ok(Matcher::Alert(text.to_owned())),
                false => Err(wrong()),
            };
        }
        let (mut rule, mut node, mut workload) = (None, None, None);
        for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
            let name = |value: &str| value.parse::<Name>().map_err(|e| e.to_string());
            match part.split_once('=') {
                Some(("rule", value)) if rule.is_none() && super::is_rule_name(value) => {
                    rule = Some(value.to_owned());
                }
                Some(("node", value)) if node.is_none() => node = Some(name(value)?),
                Some(("workload", value)) if workload.is_none() => workload = Some(name(value)?),
                _ => return Err(wrong()),
            }
        }
        Ok(Matcher::Fitting {
            rule,
            node,
            workload,
        })
    }

    /// The alert is one of them.
    pub fn fits(&self, id: &str, of_rule: &str, subject: &Subject) -> bool {
        match self {
            Matcher::Alert(alert) => alert == id,
            Matcher::Fitting {
                rule,
                node,
                workload,
            } => {
                rule.as_ref().is_none_or(|r| r == of_rule)
                    && (node.is_none() || *node == subject.node)
                    && (workload.is_none() || *workload == subject.workload)
            }
        }
    }
}

impl std::fmt::Display for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rule, node, workload) = match self {
            Matcher::Alert(id) => return f.write_str(id),
            Matcher::Fitting {
                rule,
                node,
                workload,
            } => (rule, node, workload),
        };
        let parts = [
            ("rule", rule.as_deref()),
            ("node", node.as_ref().map(Name::as_str)),
            ("workload", workload.as_ref().map(Name::as_str)),
        ];
        let given = parts.iter().filter_map(|(key, v)| Some((key, (*v)?)));
        let given: Vec<String> = given.map(|(key, v)| format!("{key}={v}")).collect();
        f.write_str(&given.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matcher_is_read_in_any_order_and_written_in_one() {
        for (text, expected) in [
            ("disk.pi-3", "disk.pi-3"),
            ("node=pi-3 rule=disk", "rule=disk,node=pi-3"),
            ("workload=web,node=a", "node=a,workload=web"),
        ] {
            let matcher = Matcher::parse(text).unwrap();
            assert_eq!(matcher.to_string(), expected);
            assert_eq!(Matcher::parse(expected).unwrap(), matcher);
        }
        for wrong in [
            "",
            "=",
            "a b",
            "node=",
            "node=A",
            "node=a,node=b",
            "zone=a",
            "a/b",
            "rule=1",
        ] {
            assert!(Matcher::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_given_must_fit() {
        let (web, pi): (Name, Name) = ("web".parse().unwrap(), "pi".parse().unwrap());
        let subject = Subject::instance(&web, &pi);
        for (text, expected) in [
            ("crashloop.web.pi", true),
            ("crashloop.web", false),
            ("node=pi", true),
            ("node=pi,rule=crashloop", true),
            ("node=pi,rule=disk", false),
            ("workload=db", false),
            ("workload=web,node=other", false),
        ] {
            let fits = Matcher::parse(text).unwrap();
            assert_eq!(
                fits.fits("crashloop.web.pi", "crashloop", &subject),
                expected,
                "{text}"
            );
        }
    }
}
