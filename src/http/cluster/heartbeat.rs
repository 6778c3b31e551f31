//! Signs of life of nodes that speak HTTP, and what they must run.
//!
//! ```text
//!  node ── {generation, instances, cpu, …} ──► controller
//!       ◄── {generation, interval, assignment when theirs is older} ──
//! ```

use super::{asker::Asker, containers::speaks_http};
use crate::{
    contract::{HeartbeatBody, Kind, MAX_INSTANCES, State as NodeState},
    controller::Controller,
    fleet::{Fleet, NodeRecord},
    http::{problem::ApiError, workloads::named},
    identity::Role,
    model::{
        AssignedInstance, Assignment, HealthStatus, InstanceState, Name, ObservedInstance, Run,
        RuntimeKind, Trial, TrialState, UnixMs, Workload,
    },
    support::clock,
};
use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// Bytes of a heartbeat: as of a `state` message.
pub(in crate::http) const MAX_HEARTBEAT: usize = crate::contract::MAX_PAYLOAD;
/// JSON numbers are exact below.
const MAX_GENERATION: u64 = 1 << 53;

/// A sign of life, with everything that the node has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatRequest {
    /// Generation of the assignment that it has in effect; 0: none.
    #[serde(default)]
    pub generation: u64,
    /// Every instance that is assigned, or still there.
    #[serde(default)]
    pub instances: Vec<HttpInstance>,
    /// Processor use, all cores together, percent.
    #[serde(default)]
    pub cpu: Option<f32>,
    /// Memory in use, percent.
    #[serde(default)]
    pub memory: Option<f32>,
    /// Disk in use, percent.
    #[serde(default)]
    pub disk: Option<f32>,
    /// Seconds since it started.
    #[serde(default)]
    pub uptime: u64,
}

/// An instance, as the node sees it. What is left out is as assigned, or as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HttpInstance {
    /// The workload.
    #[schema(value_type = String)]
    pub workload: Name,
    /// Where it stands.
    pub state: InstanceState,
    /// The version that runs (or last ran).
    #[serde(default)]
    pub version: Option<String>,
    /// `hashes` of the assignment that it runs by.
    #[serde(default)]
    pub spec_hash: Option<String>,
    /// What executes it.
    #[serde(default)]
    pub runtime: Option<RuntimeKind>,
    /// Times that it was started again.
    #[serde(default)]
    pub restarts: u32,
    /// Why it is in this state, one sentence.
    #[serde(default)]
    pub reason: Option<String>,
    /// Of its last end.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Container id or process id.
    #[serde(default)]
    pub handle: Option<String>,
    /// Node's clock when the state was entered.
    #[serde(default)]
    pub since_ms: Option<UnixMs>,
    /// While it runs: whether it works.
    #[serde(default)]
    pub health: Option<HealthStatus>,
    /// Of its guarded change, where its assignment has a `guard` and the node judges for itself
    /// whether the new version works; `spec_hash` is that of `hashes`. Once it has failed, the node
    /// runs the guard's `fallback`, and what is left out here is as that. A node that never says it
    /// is judged by `health` and `state`.
    #[serde(default)]
    pub trial: Option<Trial>,
}

/// What a node must run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AssignmentResponse {
    /// Generation of its assignment.
    pub generation: u64,
    /// Milliseconds until its next heartbeat.
    pub heartbeat_interval_ms: u64,
    /// The assignment, complete and signed, as the contract has it on `topic`; null in the answer
    /// to a heartbeat that tells this generation, or a later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub assignment: Option<serde_json::Value>,
    /// The topic that its signature is bound to.
    pub topic: String,
    /// By workload: what tells whether a running instance must be replaced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub hashes: BTreeMap<Name, String>,
}

/// A node that speaks HTTP says that it is there, and how its instances stand.
///
/// With the node's own token. The answer has its assignment, where it has not told the generation
/// of it.
#[utoipa::path(post, path = "/api/v1/cluster/containers/{name}/heartbeat", tag = "cluster",
    params(("name" = String, Path)), request_body = HeartbeatRequest,
    responses((status = 200, body = AssignmentResponse),
              (status = 401, body = super::super::ProblemDocument),
              (status = 422, body = super::super::ProblemDocument)))]
pub(in crate::http) async fn heartbeat(
    State(c): State<Arc<Controller>>,
    asker: Asker,
    Path(name): Path<String>,
    body: Result<Json<HeartbeatRequest>, JsonRejection>,
) -> Result<Json<AssignmentResponse>, ApiError> {
    let node = own_name(&c, &asker, &name)?;
    let request = body?.0;
    let generation = request.generation;
    let unfit = |detail| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let (state, said) = {
        let fleet = c.fleet();
        observed(&fleet, &node, request, clock::unix_ms()).map_err(unfit)?
    };
    c.hear_http(&node, state, &said).await?;
    answer(&c, &node, Some(generation))
}

/// What a node that speaks HTTP must run.
///
/// Complete and signed, with hashes that tell whether a running instance must be replaced.
#[utoipa::path(get, path = "/api/v1/cluster/containers/{name}/assignment", tag = "cluster",
    params(("name" = String, Path)),
    responses((status = 200, body = AssignmentResponse),
              (status = 404, body = super::super::ProblemDocument)))]
pub(in crate::http) async fn assignment(
    State(c): State<Arc<Controller>>,
    asker: Asker,
    Path(name): Path<String>,
) -> Result<Json<AssignmentResponse>, ApiError> {
    if let Ok(node) = own_name(&c, &asker, &name) {
        return answer(&c, &node, None);
    }
    asker.person()?.need(Role::Operator)?;
    let node = named("node", &name)?;
    speaks_http(&c, &node)?;
    answer(&c, &node, None)
}

/// The name in the path, where it is that of who asks.
fn own_name(c: &Controller, asker: &Asker, name: &str) -> Result<Name, ApiError> {
    let node = name.parse().ok().filter(|node| asker.is(c, node));
    // The same whether there is such a node or not.
    node.ok_or_else(|| {
        let detail = "the token that this node got when it registered is needed, as \
                      `Authorization: Bearer <token>`; if it was removed or revoked, register again";
        ApiError::new(StatusCode::UNAUTHORIZED, detail)
    })
}

fn answer(
    c: &Controller,
    node: &Name,
    has: Option<u64>,
) -> Result<Json<AssignmentResponse>, ApiError> {
    let fleet = c.fleet();
    let gone = || ApiError::not_found("node", node.as_str());
    let plain = fleet.assignment(node.as_str()).ok_or_else(gone)?;
    let newer = has.is_none_or(|has| has < plain.generation);
    let mut response = AssignmentResponse {
        generation: plain.generation,
        heartbeat_interval_ms: plain.cfg.heartbeat_interval_ms,
        assignment: None,
        topic: c.outbox.topics.of(Kind::Assignment, node),
        hashes: BTreeMap::new(),
    };
    if newer {
        let signed = c.outbox.signed_assignment(&fleet, node);
        let too_large = "its assignment cannot be signed; see the controller's log";
        response.assignment = Some(
            signed.ok_or_else(|| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, too_large))?,
        );
        response.hashes = hashes(&plain);
    }
    Ok(Json(response))
}

fn hashes(assignment: &Assignment) -> BTreeMap<Name, String> {
    let each = assignment.instances.iter();
    each.map(|i| (i.workload.name.clone(), i.workload.spec_hash()))
        .collect()
}

/// What an agent would have said, with what the node left out.
fn observed(
    fleet: &Fleet,
    node: &Name,
    request: HeartbeatRequest,
    now: UnixMs,
) -> Result<(NodeState, HeartbeatBody), String> {
    if request.instances.len() > MAX_INSTANCES {
        return Err(format!("a node has at most {MAX_INSTANCES} instances"));
    }
    if request.generation >= MAX_GENERATION {
        return Err(format!("`generation` must be below {MAX_GENERATION}"));
    }
    let record = fleet.node(node.as_str());
    let assigned = fleet
        .assignment(node.as_str())
        .filter(|a| a.generation == request.generation);
    // Only by name, and the last word of each.
    let mut instances = BTreeMap::new();
    for said in request.instances {
        let given = assigned
            .iter()
            .flat_map(|a| &a.instances)
            .find(|i| i.workload.name == said.workload);
        let spec = given.map(|given| wanted(given, said.trial.as_ref()));
        let before = record.and_then(|n| n.observed.get(&said.workload));
        instances.insert(said.workload.clone(), instance(said, spec, before, now));
    }
    let percent = |value: Option<f32>| value.map(|v| v.clamp(0.0, 100.0));
    let count = |wanted: fn(InstanceState) -> bool| {
        let all = instances.values().filter(|i| wanted(i.state)).count();
        u32::try_from(all).ok()
    };
    let said = HeartbeatBody {
        cpu: percent(request.cpu),
        memory: percent(request.memory),
        disk: percent(request.disk),
        uptime: request.uptime,
        running: count(InstanceState::is_up),
        failed: count(InstanceState::is_bad),
        generation: Some(request.generation),
        ..HeartbeatBody::default()
    };
    let state = NodeState {
        generation: request.generation,
        instances: instances.into_values().collect(),
        // It said at its registration what it can execute, and that it is there.
        engines: record.and_then(engines).unwrap_or_default(),
        discovered: Vec::new(),
    };
    Ok((state, said))
}

/// What the node is to run of an instance: what it came from, once its own trial has failed.
fn wanted<'a>(given: &'a AssignedInstance, trial: Option<&Trial>) -> &'a Workload {
    let spec = &*given.workload;
    let failed =
        |t: &&Trial| t.state == TrialState::Failed && t.spec_hash == given.workload.spec_hash();
    match (&given.guard, trial.filter(failed)) {
        (Some(guard), Some(_)) => &guard.fallback,
        _ => spec,
    }
}

fn engines(record: &NodeRecord) -> Option<Vec<crate::model::EngineFact>> {
    record.facts.as_ref().map(|f| f.engines.clone())
}

fn instance(
    said: HttpInstance,
    spec: Option<&Workload>,
    before: Option<&ObservedInstance>,
    now: UnixMs,
) -> ObservedInstance {
    let runs = |spec: &Workload| match &spec.run {
        Run::Container { engine, .. } => engine.unwrap_or(RuntimeKind::Docker),
        Run::Process { .. } | Run::Python { .. } => RuntimeKind::Process,
        Run::Agent { .. } => RuntimeKind::Agent,
    };
    // What is not said is as assigned, once it says that it has that assignment in effect.
    let version = said.version.or_else(|| spec.map(|s| s.version.clone()));
    let hash = said.spec_hash.or_else(|| spec.map(Workload::spec_hash));
    let runtime = said.runtime.or_else(|| spec.map(runs));
    let same_state = before.filter(|b| b.state == said.state);
    let since = said.since_ms.or(same_state.map(|b| b.since_ms));
    ObservedInstance {
        workload: said.workload,
        version: version
            .or_else(|| before.map(|b| b.version.clone()))
            .unwrap_or_default(),
        spec_hash: hash
            .or_else(|| before.map(|b| b.spec_hash.clone()))
            .unwrap_or_default(),
        state: said.state,
        runtime: runtime
            .or(before.map(|b| b.runtime))
            .unwrap_or(RuntimeKind::Process),
        restarts: said.restarts,
        reason: said.reason,
        warnings: Vec::new(),
        exit_code: said.exit_code,
        handle: said.handle,
        since_ms: since.unwrap_or(now),
        progress: None,
        health: said.health,
        runs: None,
        next_run_ms: None,
        last_error: None,
        last_output: Vec::new(),
        trial: said.trial.map(Box::new),
        fetched: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Desired, Guard};
    use serde_json::json;

    #[test]
    fn a_node_that_judges_for_itself_says_so_and_runs_what_it_came_from() {
        let version = |version: &str| {
            let run = Run::Process {
                command: vec!["/bin/web".into()],
                user: None,
                working_dir: None,
            };
            let mut spec = Workload::new(web(), run);
            spec.version = version.into();
            Arc::new(spec)
        };
        let given = AssignedInstance {
            workload: version("2"),
            desired: Desired::Running,
            restart_count: 0,
            guard: Some(Box::new(Guard {
                fallback: version("1"),
                min_healthy_time_ms: 1_000,
                healthy_deadline_ms: 60_000,
            })),
            next: None,
            trace: None,
        };
        for (state, expected) in [("running", "2"), ("passed", "2"), ("failed", "1")] {
            let said: HttpInstance = serde_json::from_value(json!({
                "workload": "web", "state": "running",
                "trial": {"spec_hash": given.workload.spec_hash(), "version": "2",
                          "state": state, "reason": "it ended with code 1"}
            }))
            .unwrap();
            let spec = wanted(&given, said.trial.as_ref());
            let seen = instance(said, Some(spec), None, 5);
            assert_eq!(seen.version, expected, "{state}");
            let trial = seen.trial.expect("it is passed on as an agent's");
            assert_eq!(trial.reason.as_deref(), Some("it ended with code 1"));
        }
    }

    fn beat(value: serde_json::Value) -> HeartbeatRequest {
        serde_json::from_value(value).unwrap()
    }

    fn web() -> Name {
        "web".parse().unwrap()
    }

    #[test]
    fn what_is_left_out_is_as_assigned_or_as_it_was() {
        let run = Run::Process {
            command: vec!["/bin/web".into()],
            user: None,
            working_dir: None,
        };
        let mut spec = Workload::new(web(), run);
        spec.version = "2".into();
        let said = |state: &str| -> HttpInstance {
            serde_json::from_value(json!({"workload": "web", "state": state})).unwrap()
        };
        let first = instance(said("running"), Some(&spec), None, 5);
        assert_eq!((first.version.as_str(), first.since_ms), ("2", 5));
        assert_eq!(first.spec_hash, spec.spec_hash());
        let again = instance(said("running"), None, Some(&first), 9);
        assert_eq!(again, first, "nothing new, so that no entry is made of it");
        let failed = instance(said("failed"), None, Some(&first), 9);
        assert_eq!((failed.since_ms, failed.version.as_str()), (9, "2"));
    }

    #[test]
    fn too_much_is_refused_and_the_rest_is_bounded() {
        let (fleet, node) = (Fleet::new(), web());
        let many: Vec<_> = (0..=MAX_INSTANCES)
            .map(|n| json!({"workload": format!("w{n}"), "state": "running"}))
            .collect();
        let late = json!({"generation": MAX_GENERATION});
        for wrong in [json!({"instances": many}), late] {
            assert!(observed(&fleet, &node, beat(wrong), 1).is_err());
        }
        let twice = json!({"cpu": 1e9, "instances": [
            {"workload": "web", "state": "running"}, {"workload": "web", "state": "failed"},
            {"workload": "db", "state": "running"}]});
        let (state, said) = observed(&fleet, &node, beat(twice), 1).unwrap();
        let names: Vec<&str> = state
            .instances
            .iter()
            .map(|i| i.workload.as_str())
            .collect();
        assert_eq!(names, ["db", "web"]);
        assert_eq!(
            (said.cpu, said.running, said.failed),
            (Some(100.0), Some(1), Some(1))
        );
    }
}
