//! `fleetctl upgrade`: agents put another release in their own place, by a rollout.
//!
//! What is wanted is the workload [`AGENT_WORKLOAD`]; rollouts of it are looked at, paused and taken
//! back as those of any other. Here a version is turned into the binaries that were pushed, and the
//! first upgrade gets something to go back to.

use super::{
    apply::{differs, revisions},
    auth::Caller,
    problem::ApiError,
    rollouts::RolloutView,
    workloads::{Page, Paging},
};
use crate::{
    controller::{AskError, Controller},
    fleet::{Approval, Change, Fleet, Plan, Refusal, Upgrade, UpgradeNode, UpgradeStanding},
    identity::Role,
    model::{
        AGENT_WORKLOAD, Binary, Budget, Name, Requirement, Share, Update, Window, Workload,
        healthy_limit_ms, least_healthy_ms,
    },
};
use axum::{
    Json,
    extract::{
        Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// Requirements, and nodes by name, of one upgrade.
const MAX_REQUIRES: usize = 64;
const MAX_NODES: usize = 10_000;
/// Architectures whose programs are yet to be pushed.
const MAX_BINARIES: usize = 64;
/// The longest deadline: a week.
const MAX_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// The shortest deadline: nothing can have started by then.
const MIN_DEADLINE_MS: u64 = 1_000;

/// Which release the agents are to have, and in which steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeRequest {
    /// As `fleetctl --version` says it; its binaries were pushed.
    pub version: String,
    /// In which steps.
    #[serde(default)]
    pub update: UpgradeSteps,
    /// Only nodes that have all of this, as in `zone=a`. The others are not upgraded, now or later,
    /// and keep the release that they have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// Only these nodes; as for `requires`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub nodes: Vec<Name>,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// With `dry_run`: programs that are yet to be pushed, by architecture. They are planned with as
    /// if they were here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub binaries: BTreeMap<String, Binary>,
    /// The plan that a person has agreed to; when the fleet has changed since, nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// In which steps; what is not given is as in brackets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeSteps {
    /// So many nodes change before all others (1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<u32>,
    /// Healthy canaries are enough to go on (true).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_promote: Option<bool>,
    /// Nodes that change at the same time, as in `3` or `20%` (20%).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub max_parallel: Option<Share>,
    /// So long a new agent must have been well to count as such (10 s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_healthy_time_ms: Option<u64>,
    /// One that is not well after so long has failed (3 min).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_deadline_ms: Option<u64>,
    /// No further node has become well for so long: it has failed (10 min).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline_ms: Option<u64>,
    /// A failure takes every changed node back (true).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_rollback: Option<bool>,
    /// Label by whose value nodes are put into a sequence (none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// Of nodes that share a value of a label, so many may change at once (none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Nodes change only while one of these is open (at any time).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
}

impl UpgradeSteps {
    /// Filled in.
    fn update(self) -> Result<Update, String> {
        let canary = self.canary.unwrap_or(1);
        let auto_promote = self.auto_promote.unwrap_or(true);
        if !auto_promote && canary == 0 {
            return Err("`auto_promote` = false has no meaning without a canary".into());
        }
        let default = Update::default();
        let healthy_deadline_ms = self.healthy_deadline_ms.unwrap_or(3 * 60_000);
        let usual = default.progress_deadline_ms;
        let progress_deadline_ms =
            self.progress_deadline_ms
                .unwrap_or_else(|| match usual > healthy_deadline_ms {
                    true => usual,
                    false => healthy_deadline_ms.saturating_add(usual),
                });
        for (name, deadline_ms) in [
            ("healthy_deadline", healthy_deadline_ms),
            ("progress_deadline", progress_deadline_ms),
        ] {
            if !(MIN_DEADLINE_MS..=MAX_MS).contains(&deadline_ms) {
                return Err(format!("`{name}` must be from one second to seven days"));
            }
        }
        if progress_deadline_ms < healthy_deadline_ms {
            return Err("`progress_deadline` is shorter than `healthy_deadline`".into());
        }
        Ok(Update {
            max_parallel: self.max_parallel.unwrap_or(Share::Percent(20)),
            canary,
            auto_promote,
            min_healthy_time_ms: self
                .min_healthy_time_ms
                .unwrap_or(default.min_healthy_time_ms),
            healthy_deadline_ms,
            progress_deadline_ms,
            auto_rollback: self.auto_rollback.unwrap_or(true),
            sequence: self.sequence,
            budget: self.budget,
            windows: self.windows,
            download_windows: Vec::new(),
        })
    }
}

/// What an upgrade does, or would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UpgradeResponse {
    /// The nodes that it goes to, those that are left out and why, and in which steps.
    pub plan: Plan,
    /// The program for each architecture.
    pub binaries: BTreeMap<String, Binary>,
}

/// How the agents of the fleet stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UpgradeView {
    /// The release that is wanted; none where the fleet leaves every board what it has.
    pub version: Option<String>,
    /// Its revision.
    pub revision: u64,
    /// Its rollout, under way or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// Nodes, by how they stand.
    pub nodes: BTreeMap<UpgradeStanding, usize>,
    /// Nodes, by the release that runs there; empty where that was never said.
    pub running: BTreeMap<String, usize>,
    /// Releases whose binaries are here, and their programs by architecture.
    pub releases: BTreeMap<String, BTreeMap<String, Binary>>,
}

fn unfit(detail: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail.into())
}

/// What is asked for, checked against the fleet.
fn read(fleet: &Fleet, request: UpgradeRequest) -> Result<Upgrade, ApiError> {
    if request.requires.len() > MAX_REQUIRES || request.nodes.len() > MAX_NODES {
        return Err(unfit(format!(
            "an upgrade has at most {MAX_REQUIRES} requirements and {MAX_NODES} nodes"
        )));
    }
    let member = |n: &Name| {
        let known = fleet.node(n.as_str());
        known.is_some_and(|n| n.approval == Approval::Approved)
    };
    if let Some(unknown) = request.nodes.iter().find(|n| !member(n)) {
        return Err(ApiError::not_found("node", unknown.as_str()));
    }
    let binaries = binaries(fleet, &request)?;
    let requires: Result<Vec<Requirement>, String> = request
        .requires
        .into_iter()
        .map(Requirement::try_from)
        .collect();
    let upgrade = Upgrade {
        version: request.version,
        binaries,
        requires: requires.map_err(unfit)?,
        nodes: request.nodes,
        update: request.update.update().map_err(unfit)?,
    };
    let spec = upgrade.workload().map_err(AskError::Refused)?;
    check_deadline(&spec, &upgrade.update)?;
    Ok(upgrade)
}

/// The program of a release for each architecture.
fn binaries(fleet: &Fleet, request: &UpgradeRequest) -> Result<BTreeMap<String, Binary>, ApiError> {
    let unpushed = &request.binaries;
    if unpushed.is_empty() {
        let here = fleet.release(&request.version);
        return Ok(here.map_err(AskError::Refused)?);
    }
    if !request.dry_run {
        return Err(unfit(
            "`binaries` are for `dry_run` alone: push them (`PUT /api/v1/artifacts`)",
        ));
    }
    if unpushed.len() > MAX_BINARIES {
        return Err(unfit(format!("`binaries` has at most {MAX_BINARIES}")));
    }
    let mut all = fleet.release(&request.version).unwrap_or_default();
    all.extend(unpushed.clone());
    Ok(all)
}

/// A deadline that nothing could meet.
fn check_deadline(spec: &Workload, update: &Update) -> Result<(), ApiError> {
    let (least, deadline) = (update.min_healthy_time_ms, update.healthy_deadline_ms);
    if healthy_limit_ms(spec, least, deadline) == deadline {
        return Ok(());
    }
    Err(unfit(format!(
        "`healthy_deadline` must be longer than {} s, for which an agent must have been well",
        least_healthy_ms(spec, least).div_ceil(1_000)
    )))
}

/// Bring a release of fleetctl to the agents, step by step.
#[utoipa::path(post, path = "/api/v1/upgrade", tag = "upgrade", request_body = UpgradeRequest,
    description = "Its binaries were pushed before (`PUT /api/v1/artifacts`). Each agent keeps what \
                   it has, starts the new one, and goes back by itself unless the new one is well \
                   in time. The rollout is that of the workload `fleetctl-agent`. With `dry_run` it \
                   is only planned.",
    responses((status = 200, body = UpgradeResponse), (status = 404, body = super::ProblemDocument),
              (status = 409, body = super::ProblemDocument),
              (status = 422, body = super::ProblemDocument)))]
pub(super) async fn upgrade(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    body: Result<Json<UpgradeRequest>, JsonRejection>,
) -> Result<Json<UpgradeResponse>, ApiError> {
    let mut request = body?.0;
    let by = caller.need(match request.dry_run {
        true => Role::Viewer,
        false => Role::Operator,
    })?;
    let (dry_run, agreed) = (request.dry_run, request.plan.take());
    let (upgrade, mut plan, changes) = {
        let fleet = c.fleet();
        let upgrade = read(&fleet, request)?;
        let plan = fleet.plan_upgrade(&upgrade).map_err(AskError::Refused)?;
        let changes = fleet.upgrade_changes(&upgrade).map_err(AskError::Refused)?;
        (upgrade, plan, changes)
    };
    if agreed.is_some_and(|agreed| differs(&agreed, &plan)) {
        let detail = "the fleet has changed since this plan was made; look at the new plan";
        return Err(ApiError::new(StatusCode::CONFLICT, detail));
    }
    if !dry_run {
        // Each waits for the one before: what is installed is there to go back to, or nothing is
        // begun.
        for change in changes {
            if let Change::WorkloadsApplied { workloads, .. } = &change {
                let applied = workloads.clone();
                match c.change(Some(by.clone()), change).await {
                    Ok(()) | Err(AskError::Refused(Refusal::Unchanged)) => {}
                    Err(error) => return Err(error.into()),
                }
                plan.revisions = revisions(&c.fleet(), &applied);
            }
        }
    }
    Ok(Json(UpgradeResponse {
        plan,
        binaries: upgrade.binaries,
    }))
}

/// Which release is wanted, how far it has come, and which others there are.
#[utoipa::path(get, path = "/api/v1/upgrade", tag = "upgrade",
    responses((status = 200, body = UpgradeView)))]
pub(super) async fn show(
    State(c): State<Arc<Controller>>,
    caller: Caller,
) -> Result<Json<UpgradeView>, ApiError> {
    caller.need(Role::Viewer)?;
    Ok(Json(view(&c.fleet())))
}

fn view(fleet: &Fleet) -> UpgradeView {
    let record = fleet.agent_record();
    let name: Option<Name> = AGENT_WORKLOAD.parse().ok();
    let mut view = UpgradeView {
        version: record.map(|w| w.spec.version.clone()),
        revision: record.map_or(0, |w| w.revision),
        rollout: record.and_then(|w| RolloutView::of(name.as_ref()?, w)),
        nodes: BTreeMap::new(),
        running: BTreeMap::new(),
        releases: fleet.releases(),
    };
    for node in fleet.upgrade_nodes() {
        *view.nodes.entry(node.standing).or_default() += 1;
        *view.running.entry(node.version).or_default() += 1;
    }
    view
}

/// Which release each node has, and how it stands to the one that is wanted.
#[utoipa::path(get, path = "/api/v1/upgrade/nodes", tag = "upgrade", params(Paging),
    responses((status = 200, body = Page<UpgradeNode>)))]
pub(super) async fn nodes(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<Json<Page<UpgradeNode>>, ApiError> {
    caller.need(Role::Viewer)?;
    let fleet = c.fleet();
    Ok(Json(
        paging?.0.cut(fleet.upgrade_nodes(), |n| n.node.to_string()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn steps(value: serde_json::Value) -> Result<Update, String> {
        let steps: UpgradeSteps = serde_json::from_value(value).unwrap();
        steps.update()
    }

    #[test]
    fn an_upgrade_goes_by_a_canary_and_a_fifth_unless_asked_otherwise() {
        let usual = steps(json!({})).unwrap();
        assert_eq!((usual.canary, usual.max_parallel), (1, Share::Percent(20)));
        assert!(usual.auto_promote && usual.auto_rollback);
        assert_eq!(usual.min_healthy_time_ms, 10_000);
        assert_eq!(usual.healthy_deadline_ms, 180_000);
        let other =
            steps(json!({"canary": 0, "max_parallel": "3", "healthy_deadline_ms": 900_000}));
        let other = other.unwrap();
        assert_eq!((other.canary, other.max_parallel), (0, Share::Count(3)));
        assert!(other.progress_deadline_ms > other.healthy_deadline_ms);
    }

    #[test]
    fn steps_that_nothing_could_take_are_refused() {
        for (wrong, said) in [
            (
                json!({"canary": 0, "auto_promote": false}),
                "without a canary",
            ),
            (json!({"healthy_deadline_ms": 0}), "from one second"),
            (
                json!({"healthy_deadline_ms": 60_000, "progress_deadline_ms": 30_000}),
                "shorter than",
            ),
        ] {
            let error = steps(wrong).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let unknown = serde_json::from_value::<UpgradeSteps>(json!({"canaries": 1}));
        assert!(unknown.is_err());
    }

    #[test]
    fn what_is_not_pushed_yet_can_be_planned_with_and_no_more() {
        let binary = Binary {
            sha256: crate::model::Digest::of(b"x"),
            size: 1,
        };
        let mut request = UpgradeRequest {
            version: "9.9.9".into(),
            binaries: [("aarch64".into(), binary)].into(),
            dry_run: true,
            ..UpgradeRequest::default()
        };
        let planned = read(&Fleet::new(), request.clone()).unwrap();
        assert_eq!(planned.binaries, request.binaries);
        request.dry_run = false;
        let error = format!("{:?}", read(&Fleet::new(), request).unwrap_err());
        assert!(error.contains("for `dry_run` alone"), "{error}");
    }

    #[test]
    fn a_release_that_nobody_pushed_is_refused_with_what_to_do() {
        let request = UpgradeRequest {
            version: "9.9.9".into(),
            ..UpgradeRequest::default()
        };
        let error = format!("{:?}", read(&Fleet::new(), request).unwrap_err());
        assert!(
            error.contains("9.9.9") && error.contains("upgrade push"),
            "{error}"
        );
    }
}
