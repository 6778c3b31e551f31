//! Rollouts: how they stand, and what a person orders of them.

use super::{
    auth::Caller,
    problem::ApiError,
    workloads::{Page, Paging, idempotent, named},
};
use crate::{
    controller::Controller,
    fleet::{
        Change, Fleet, Refusal, Revision, RevisionVerdict, Rollout, RolloutOrder, StepState,
        WorkloadRecord,
    },
    identity::Role,
    model::{Desired, Name, shown},
};
use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// A rollout, as listed: under way, or the last one of its workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutView {
    /// Of which workload.
    #[schema(value_type = String)]
    pub workload: Name,
    /// The version that it leads to.
    pub version: String,
    /// The version that it comes from, and goes back to.
    pub from_version: String,
    /// It goes on.
    pub active: bool,
    /// Nodes that it is about.
    pub nodes: usize,
    /// Of these: their turn has not come.
    pub waiting: usize,
    /// They were told to change and are not known to be healthy.
    pub changing: usize,
    /// They are healthy on the new version.
    pub healthy: usize,
    /// They are not, in time.
    pub failed: usize,
    /// They were told to go back and have not said that they are.
    #[serde(default)]
    pub returning: usize,
    /// They have the old version again, and have said so.
    pub returned: usize,
    /// The rollout did not change them.
    #[serde(default)]
    pub unchanged: usize,
    /// The workload is stopped: nothing changes until it is started.
    #[serde(default)]
    pub stopped: bool,
    /// All about it.
    pub rollout: Rollout,
}

impl RolloutView {
    /// Of a workload, where it has (had) one.
    pub(super) fn of(name: &Name, record: &WorkloadRecord) -> Option<RolloutView> {
        let rollout = record.rollout.clone()?;
        let version = |revision: u64| {
            let known = record.history.iter().find(|r| r.revision == revision);
            known.map_or_else(
                || format!("revision {revision}"),
                |r| r.spec.version.clone(),
            )
        };
        let count = |state: StepState| rollout.steps.values().filter(|s| s.state == state).count();
        Some(RolloutView {
            workload: name.clone(),
            version: version(rollout.to),
            from_version: version(rollout.from),
            active: rollout.phase.is_active(),
            nodes: rollout.steps.len(),
            waiting: count(StepState::Waiting),
            changing: count(StepState::Changing),
            healthy: count(StepState::Healthy),
            failed: count(StepState::Failed),
            returning: count(StepState::Returning),
            returned: count(StepState::Returned),
            unchanged: count(StepState::Unchanged),
            stopped: record.desired == Desired::Stopped,
            rollout,
        })
    }
}

/// Which rollouts.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Selection {
    /// Only those that go on.
    #[serde(default)]
    active: bool,
    /// Only what comes after this workload.
    #[serde(default)]
    after: String,
    /// At most so many.
    limit: Option<usize>,
}

#[utoipa::path(get, path = "/api/v1/rollouts", params(Selection), tag = "rollouts",
    responses((status = 200, body = Page<RolloutView>)))]
pub(super) async fn list(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    selection: Result<Query<Selection>, QueryRejection>,
) -> Result<Json<Page<RolloutView>>, ApiError> {
    caller.need(Role::Viewer)?;
    let Selection {
        active,
        after,
        limit,
    } = selection?.0;
    let fleet = c.fleet();
    let wanted = |w: &WorkloadRecord| {
        let rollout = w.rollout.as_ref();
        rollout.is_some_and(|r| !active || r.phase.is_active())
    };
    let all = fleet.workloads().filter(|(_, w)| wanted(w));
    let page = Paging { after, limit }.cut(all, |(name, _)| name.to_string());
    let views = page.items.into_iter();
    Ok(Json(Page {
        items: views
            .filter_map(|(name, w)| RolloutView::of(name, w))
            .collect(),
        next: page.next,
    }))
}

#[utoipa::path(get, path = "/api/v1/workloads/{workload}/rollout", tag = "rollouts",
    params(("workload" = String, Path)),
    responses((status = 200, body = RolloutView), (status = 404, body = super::ProblemDocument)))]
pub(super) async fn show(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(workload): Path<String>,
) -> Result<Json<RolloutView>, ApiError> {
    caller.need(Role::Viewer)?;
    standing(&c.fleet(), &named("workload", &workload)?).map(Json)
}

fn standing(fleet: &Fleet, name: &Name) -> Result<RolloutView, ApiError> {
    let record = fleet.workload(name.as_str());
    let record = record.ok_or_else(|| ApiError::not_found("workload", name.as_str()))?;
    RolloutView::of(name, record)
        .ok_or_else(|| ApiError::not_found("rollout of workload", name.as_str()))
}

/// What may be ordered of a rollout that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutVerb {
    /// Change no further node.
    Pause,
    /// Go on.
    Resume,
    /// The canaries are good enough.
    Promote,
    /// End it, and leave every node as it is.
    Abort,
}

impl RolloutVerb {
    fn parse(text: &str) -> Option<RolloutVerb> {
        Some(match text {
            "pause" => RolloutVerb::Pause,
            "resume" => RolloutVerb::Resume,
            "promote" => RolloutVerb::Promote,
            "abort" => RolloutVerb::Abort,
            _ => return None,
        })
    }

    fn order(self) -> RolloutOrder {
        match self {
            RolloutVerb::Pause => RolloutOrder::Pause,
            RolloutVerb::Resume => RolloutOrder::Resume,
            RolloutVerb::Promote => RolloutOrder::Promote,
            RolloutVerb::Abort => RolloutOrder::Abort,
        }
    }
}

#[utoipa::path(post, path = "/api/v1/workloads/{workload}/rollout/{verb}", tag = "rollouts",
    params(("workload" = String, Path), ("verb" = RolloutVerb, Path)),
    responses((status = 200, body = RolloutView), (status = 404, body = super::ProblemDocument),
              (status = 409, body = super::ProblemDocument)))]
pub(super) async fn order(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path((workload, verb)): Path<(String, String)>,
) -> Result<Json<RolloutView>, ApiError> {
    let by = caller.need(Role::Operator)?;
    let workload = named("workload", &workload)?;
    let verb =
        RolloutVerb::parse(&verb).ok_or_else(|| ApiError::not_found("order to rollouts", &verb))?;
    let change = Change::RolloutOrdered {
        workload: workload.clone(),
        order: verb.order(),
    };
    idempotent(c.change(Some(by), change).await)?;
    standing(&c.fleet(), &workload).map(Json)
}

/// Where to go back to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// A revision's number or a version's text, as in the history; where one text is both,
    /// `revision=3` or `version=3`. A JSON number is a revision's. Not given: the last good one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "text_or_number"
    )]
    pub to: Option<String>,
}

/// A revision is a number in every answer: so it may be one in a question too.
fn text_or_number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    match serde_json::Value::deserialize(from)? {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(text) => Ok(Some(text)),
        serde_json::Value::Number(number) if number.is_u64() => {
            Ok(Some(format!("revision={number}")))
        }
        other => Err(serde::de::Error::custom(format!(
            "`to` must be a revision's number or a version's text, not {other}"
        ))),
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RollbackResponse {
    /// The revision that is wanted now: a new one, with the settings of the one gone back to.
    pub revision: u64,
    /// Its version.
    pub version: String,
    /// How it is rolled out, where that goes step by step.
    pub rollout: Option<RolloutView>,
}

#[utoipa::path(post, path = "/api/v1/workloads/{workload}/rollback", tag = "rollouts",
    params(("workload" = String, Path)), request_body = RollbackRequest,
    responses((status = 200, body = RollbackResponse), (status = 404, body = super::ProblemDocument),
              (status = 409, body = super::ProblemDocument)))]
pub(super) async fn rollback(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(workload): Path<String>,
    body: Result<Json<RollbackRequest>, JsonRejection>,
) -> Result<Json<RollbackResponse>, ApiError> {
    let by = caller.need(Role::Operator)?;
    let workload = named("workload", &workload)?;
    let to = match body?.0.to {
        Some(text) => {
            let fleet = c.fleet();
            let record = fleet.workload(workload.as_str());
            let record =
                record.ok_or_else(|| ApiError::not_found("workload", workload.as_str()))?;
            Some(revision_of(
                &workload,
                &record.history,
                record.revision,
                &text,
            )?)
        }
        None => None,
    };
    let change = Change::RolloutOrdered {
        workload: workload.clone(),
        order: RolloutOrder::Rollback { to },
    };
    idempotent(c.change(Some(by), change).await)?;
    let fleet = c.fleet();
    let record = fleet.workload(workload.as_str());
    let record = record.ok_or_else(|| ApiError::not_found("workload", workload.as_str()))?;
    Ok(Json(RollbackResponse {
        revision: record.revision,
        version: record.spec.version.clone(),
        rollout: RolloutView::of(&workload, record).filter(|r| r.active),
    }))
}

/// The revision that a person means: by its number, or the latest of a version that is not the
/// wanted one and not known to be bad, where there is such.
fn revision_of(
    workload: &Name,
    history: &[Revision],
    wanted: u64,
    text: &str,
) -> Result<u64, Refusal> {
    let (number, version) = match text.split_once('=') {
        Some(("revision", number)) => (number.parse::<u64>().ok(), None),
        Some(("version", version)) => (None, Some(version)),
        _ => (text.parse::<u64>().ok(), Some(text)),
    };
    let by_number = number.filter(|n| history.iter().any(|r| r.revision == *n));
    let of_version = |r: &&Revision| version == Some(r.spec.version.as_str());
    let others = || history.iter().rev().filter(of_version);
    let good = |r: &&Revision| r.revision != wanted && r.verdict != RevisionVerdict::Bad;
    let by_version = others()
        .find(good)
        .or_else(|| others().find(|r| r.revision != wanted))
        .or_else(|| others().next())
        .map(|r| r.revision);
    match (by_number, by_version) {
        (Some(a), Some(b)) if a != b => Err(Refusal::Conflict(format!(
            "`{text}` is a revision of {workload} and a version too: say revision={text} or \
             version={text}"
        ))),
        (Some(revision), _) | (None, Some(revision)) => Ok(revision),
        (None, None) => {
            // A revision is never 0, and whoever says a number hears about numbers.
            let what = match number {
                Some(number) if version.is_none() => format!("there is no revision {number}"),
                Some(0) => "there is no revision 0".into(),
                _ => format!("there is no revision or version `{}`", shown(text)),
            };
            let known = history
                .iter()
                .map(|r| format!("{} ({})", r.revision, r.spec.version));
            Err(Refusal::Conflict(format!(
                "{what} of {workload} to go back to; there are {}",
                known.collect::<Vec<_>>().join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Source, parse_many_with};

    fn revision(revision: u64, version: &str, verdict: RevisionVerdict) -> Revision {
        let text = format!("[workload.web]\nversion = '{version}'\ncommand = ['/bin/true']\n");
        let read = parse_many_with(&[Source::new("w.toml", text)], &Default::default());
        let spec = read.unwrap().manifests.remove(0).workload;
        Revision {
            revision,
            spec_hash: spec.spec_hash(),
            spec: Arc::new(spec),
            applied_ms: revision,
            by: None,
            trace: None,
            verdict,
        }
    }

    fn means(text: &str) -> Result<u64, String> {
        use RevisionVerdict::{Bad, Good, Untried};
        let history = [
            revision(1, "1.0", Good),
            revision(2, "1.1", Good),
            revision(3, "1.1", Bad),
            revision(4, "2", Good),
            revision(5, "1.0", Untried),
        ];
        let name = "web".parse().unwrap();
        revision_of(&name, &history, 5, text).map_err(|e| e.to_string())
    }

    #[test]
    fn a_revision_is_meant_by_its_number_or_by_its_version() {
        assert_eq!(means("3"), Ok(3));
        assert_eq!(means("1.1"), Ok(2), "the later one is bad");
        assert_eq!(means("1.0"), Ok(1), "the later one is the wanted one");
        assert_eq!(means("version=2"), Ok(4));
        assert_eq!(means("revision=2"), Ok(2));
    }

    #[test]
    fn a_revision_may_be_sent_as_a_number_too() {
        let to = |text: &str| serde_json::from_str::<RollbackRequest>(text).map(|r| r.to);
        assert_eq!(to("{}").unwrap(), None);
        assert_eq!(to("{\"to\":null}").unwrap(), None);
        assert_eq!(to("{\"to\":\"1.1\"}").unwrap(), Some("1.1".into()));
        let number = to("{\"to\":2}").unwrap().unwrap();
        assert_eq!(means(&number), Ok(2), "never a version that is called 2");
        let said = to("{\"to\":[1]}").unwrap_err().to_string();
        assert!(said.contains("a revision's number"), "{said}");
        assert!(to("{\"to\":-1}").is_err() && to("{\"to\":1.5}").is_err());
    }

    #[test]
    fn what_may_mean_two_revisions_is_refused_with_what_to_say() {
        let said = means("2").unwrap_err();
        assert!(
            said.contains("revision=2") && said.contains("version=2"),
            "{said}"
        );
    }

    #[test]
    fn what_there_is_not_is_refused_with_what_there_is() {
        for text in ["9", "3.0", "revision=1.0", "version=5", ""] {
            let said = means(text).unwrap_err();
            assert!(said.contains("1 (1.0), 2 (1.1)"), "{text}: {said}");
        }
        for text in ["0", "revision=0"] {
            let said = means(text).unwrap_err();
            assert!(said.starts_with("there is no revision 0 of web"), "{said}");
        }
    }
}
