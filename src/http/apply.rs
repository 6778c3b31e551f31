//! Planning, applying, and waiting for what was applied.

use super::{auth::Caller, problem::ApiError};
use crate::{
    controller::{AskError, Controller},
    fleet::{Change, Fleet, InstanceView, Plan, Refusal},
    identity::Role,
    manifest::{self, Source},
    model::{AGENT_WORKLOAD, Desired, HealthStatus, InstanceState, Name, Workload},
};
use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Semaphore, time};
use utoipa::ToSchema;

/// Longest wait in one request; who wants more asks again.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Manifests that are read and planned at the same time: of the few threads of the machine one is
/// left for everybody else.
const READERS: usize = 2;
/// So many more requests wait for their turn.
const WAITING: usize = 16;

static READING: Desk = Desk::new();

/// Where manifests are read: beside the threads that answer everybody, and not too many at once.
struct Desk {
    /// One for each request that is read or waits.
    asked: Semaphore,
    /// One for each that is read.
    readers: Semaphore,
}

impl Desk {
    const fn new() -> Desk {
        Desk {
            asked: Semaphore::const_new(READERS + WAITING),
            readers: Semaphore::const_new(READERS),
        }
    }

    /// What `work` makes, when it is its turn. It goes on when nobody waits for it any more, and
    /// keeps its place meanwhile.
    async fn read<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let asked = self.asked.try_acquire().map_err(|_| too_many())?;
        let reader = self.readers.acquire().await.map_err(|_| too_many())?;
        let done = tokio::task::spawn_blocking(move || {
            let _places = (asked, reader);
            work()
        });
        done.await.unwrap_or_else(|error| {
            let detail = format!("the manifests could not be read ({error}); look into the log");
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, detail))
        })
    }
}

fn too_many() -> ApiError {
    let detail = format!(
        "more than {WAITING} requests with manifests wait to be read; try again in {RETRY_S} s"
    );
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(RETRY_S)
}

/// When to come again, seconds.
const RETRY_S: u32 = 5;

/// A manifest as written.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ManifestSource {
    /// What errors call it: a file's path.
    pub name: String,
    /// TOML, workload YAML or a Compose file, told apart by `name`, else by the text.
    pub text: String,
    /// Texts of files beside it that it takes contents from, by the paths that it calls them by;
    /// at most 64, of at most 64 KiB each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// What the directory is called that it is in, where `name` does not say it: a Compose file
    /// without a name is called so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
}

impl From<ManifestSource> for Source {
    fn from(sent: ManifestSource) -> Source {
        Source {
            name: sent.name,
            text: sent.text,
            files: sent.files,
            directory: sent.directory,
        }
    }
}

impl From<Source> for ManifestSource {
    fn from(source: Source) -> ManifestSource {
        ManifestSource {
            name: source.name,
            text: source.text,
            files: source.files,
            directory: source.directory,
        }
    }
}

/// What to plan or apply.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ApplyRequest {
    /// All manifests; they are applied together or not at all.
    pub sources: Vec<ManifestSource>,
    /// Version of the plan that a person has agreed to; when the fleet's workloads have changed
    /// since, nothing is applied.
    #[serde(default)]
    pub plan: Option<Plan>,
    /// Take away every workload of the fleet that is in none of the manifests.
    #[serde(default)]
    pub prune: bool,
    /// For `${…}` in Compose files and `{{ var.… }}`; they win over the file's own.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Put behind the name of every workload here, so that they run beside those that are called
    /// so. What they say of each other goes with them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suffix: String,
}

fn workloads(request: &ApplyRequest) -> Result<Vec<Workload>, ApiError> {
    let refuse = |detail: String| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let sources: Vec<Source> = request.sources.iter().cloned().map(Source::from).collect();
    let read = manifest::parse_many_with(&sources, &request.variables)?;
    let workloads = read.manifests.into_iter().map(|m| m.workload).collect();
    if request.suffix.is_empty() {
        return Ok(workloads);
    }
    if request.prune {
        let detail = "`prune` with a suffix would take away what the new ones are to run beside";
        return Err(refuse(detail.into()));
    }
    suffixed(workloads, &request.suffix).map_err(refuse)
}

/// The same workloads under longer names, also where they name each other.
fn suffixed(workloads: Vec<Workload>, suffix: &str) -> Result<Vec<Workload>, String> {
    let longer = |name: &Name| -> Result<Name, String> {
        let text = format!("{name}{suffix}");
        if text == AGENT_WORKLOAD {
            return Err(format!(
                "`{text}` is the agent's own name: take another suffix"
            ));
        }
        text.parse::<Name>().map_err(|e| format!("`{text}`: {e}"))
    };
    let mut names = BTreeMap::new();
    for workload in &workloads {
        names.insert(workload.name.clone(), longer(&workload.name)?);
    }
    let renamed = |name: &Name| names.get(name).unwrap_or(name).clone();
    let rename = |mut w: Workload| {
        w.name = renamed(&w.name);
        w.depends_on = std::mem::take(&mut w.depends_on)
            .into_iter()
            .map(|(name, how)| (renamed(&name), how))
            .collect();
        for others in [&mut w.placement.with, &mut w.placement.apart] {
            for name in others.iter_mut() {
                *name = renamed(name);
            }
        }
        w
    };
    Ok(workloads.into_iter().map(rename).collect())
}

#[utoipa::path(post, path = "/api/v1/plan", tag = "apply", request_body = ApplyRequest,
    responses((status = 200, body = Plan), (status = 422, body = super::ProblemDocument)))]
pub(super) async fn plan(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    body: Result<Json<ApplyRequest>, JsonRejection>,
) -> Result<Json<Plan>, ApiError> {
    caller.need(Role::Viewer)?;
    let request = body?.0;
    let planned = READING.read(move || {
        let workloads = workloads(&request)?;
        let fleet = c.fleet();
        let plan = fleet.plan(&workloads, request.prune);
        // What apply would refuse is no plan.
        fleet
            .check_order(&workloads, &plan.removed)
            .and_then(|()| fleet.check_removed(&plan.removed, &workloads))
            .map_err(AskError::Refused)?;
        Ok(plan)
    });
    planned.await.map(Json)
}

#[utoipa::path(post, path = "/api/v1/apply", tag = "apply", request_body = ApplyRequest,
    responses((status = 200, body = Plan), (status = 409, body = super::ProblemDocument),
              (status = 422, body = super::ProblemDocument)))]
pub(super) async fn apply(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    body: Result<Json<ApplyRequest>, JsonRejection>,
) -> Result<Json<Plan>, ApiError> {
    let by = caller.need(Role::Operator)?;
    let request = body?.0;
    let planner = c.clone();
    let planned = READING.read(move || {
        let workloads = workloads(&request)?;
        let plan = planner.fleet().plan(&workloads, request.prune);
        if request.plan.is_some_and(|agreed| differs(&agreed, &plan)) {
            let detail = "the fleet has changed since this plan was made; look at the new plan";
            return Err(ApiError::new(StatusCode::CONFLICT, detail));
        }
        Ok((workloads, plan))
    });
    let (workloads, mut plan) = planned.await?;
    let removed = plan.removed.clone();
    let change = Change::WorkloadsApplied {
        workloads: workloads.clone(),
        removed,
    };
    match c.change(Some(by), change).await {
        Ok(()) | Err(AskError::Refused(Refusal::Unchanged)) => {}
        Err(error) => return Err(error.into()),
    }
    plan.revisions = revisions(&c.fleet(), &workloads);
    Ok(Json(plan))
}

/// The revision of each, found by what it is: somebody else may have changed it since.
pub(super) fn revisions(fleet: &Fleet, workloads: &[Workload]) -> BTreeMap<Name, u64> {
    let found = workloads.iter().filter_map(|workload| {
        let record = fleet.workload(workload.name.as_str())?;
        let mut latest = record.history.iter().rev();
        let same = latest.find(|r| *r.spec == *workload)?;
        Some((workload.name.clone(), same.revision))
    });
    found.collect()
}

/// Whether a person would have to look again. The version alone says too much: it grows with each
/// heartbeat's change of state.
pub(super) fn differs(agreed: &Plan, now: &Plan) -> bool {
    let said = |p: &Plan| {
        let Plan {
            added,
            changed,
            unchanged,
            removed,
            ..
        } = p.clone();
        (added, changed, unchanged, removed)
    };
    said(agreed) != said(now)
}

/// What to wait for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WaitRequest {
    /// Until these have settled.
    #[schema(value_type = Vec<String>)]
    pub workloads: Vec<Name>,
    /// At most so long; 60,000 at most.
    pub timeout_ms: u64,
}

/// How they stand.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WaitResponse {
    /// All of them are as wanted, or will not get there by waiting.
    pub settled: bool,
    /// All of them are as wanted.
    pub ok: bool,
    /// Their instances.
    pub instances: Vec<InstanceView>,
}

#[utoipa::path(post, path = "/api/v1/wait", tag = "apply", request_body = WaitRequest,
    responses((status = 200, body = WaitResponse)))]
pub(super) async fn wait(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    body: Result<Json<WaitRequest>, JsonRejection>,
) -> Result<Json<WaitResponse>, ApiError> {
    caller.need(Role::Viewer)?;
    let request = body?.0;
    let most = manifest::MAX_WORKLOADS_IN_ALL;
    if request.workloads.len() > most {
        let detail = format!("more than {most} workloads cannot be waited for at once");
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let awaited: BTreeSet<Name> = request.workloads.into_iter().collect();
    let deadline = time::Instant::now() + Duration::from_millis(request.timeout_ms).min(MAX_WAIT);
    let mut changed = c.changed.subscribe();
    loop {
        let response = standing(&c.fleet(), &awaited);
        let moved = time::timeout_at(deadline, changed.changed());
        if response.settled || !matches!(moved.await, Ok(Ok(()))) {
            return Ok(Json(response));
        }
    }
}

/// An instance has settled when it runs what is wanted, has ended for good, or fails for a reason
/// that it says.
fn standing(fleet: &Fleet, workloads: &BTreeSet<Name>) -> WaitResponse {
    let all = fleet.instances();
    let instances: Vec<InstanceView> = all
        .into_iter()
        .filter(|i| workloads.contains(&i.workload))
        .collect();
    let desired = |i: &InstanceView| fleet.workload(i.workload.as_str()).map(|w| w.desired);
    // Whoever wrote a check wants to know that it passes.
    let checked = |i: &InstanceView| {
        let w = fleet.workload(i.workload.as_str());
        w.is_some_and(|w| w.spec.health.is_some())
    };
    // A restart that its node has not taken notice of yet is not done, though it runs.
    let told = |i: &InstanceView| {
        let w = fleet.workload(i.workload.as_str());
        let restarted = w.is_some_and(|w| w.restart_count > 0 && w.desired == Desired::Running);
        let node = i.node.as_ref().and_then(|n| fleet.node(n.as_str()));
        !restarted || node.is_none_or(|n| n.observed_generation >= n.generation)
    };
    let proven = |i: &InstanceView| !checked(i) || i.health == Some(HealthStatus::Healthy);
    let done = |i: &InstanceView| {
        told(i)
            && match (desired(i), i.state) {
                (Some(Desired::Running), InstanceState::Running) => i.up_to_date && proven(i),
                (Some(Desired::Running), InstanceState::Completed | InstanceState::Scheduled) => {
                    i.up_to_date
                }
                (Some(Desired::Stopped), InstanceState::Stopped) => true,
                _ => false,
            }
    };
    let stuck = |i: &InstanceView| {
        // Also an old one that goes on because the new one cannot be had.
        let held_up = i.state == InstanceState::Running && !i.up_to_date && !i.reason.is_empty();
        let failed = held_up || i.state.is_bad();
        let nowhere = i.node.is_none();
        let unheard = i.state == InstanceState::Unknown;
        desired(i).is_some() && (failed || nowhere || unheard)
    };
    let ok = instances.iter().all(done);
    WaitResponse {
        ok,
        settled: instances.iter().all(|i| done(i) || stuck(i)),
        instances,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(suffix: &str, prune: bool) -> ApplyRequest {
        let text = "[workload.db]\ncommand = ['/bin/db']\n\
                    [workload.web]\ncommand = ['/bin/web']\ndepends_on = ['db', 'mail']\n\
                    [workload.web.placement]\nwith = ['db']\napart = ['mail']\n";
        ApplyRequest {
            sources: vec![ManifestSource {
                name: "set.toml".into(),
                text: text.into(),
                files: BTreeMap::new(),
                directory: None,
            }],
            plan: None,
            prune,
            variables: BTreeMap::new(),
            suffix: suffix.into(),
        }
    }

    #[test]
    fn a_suffix_goes_behind_every_name_of_the_set_and_no_other() {
        let all = workloads(&request("-next", false)).unwrap();
        let names: Vec<&str> = all.iter().map(|w| w.name.as_str()).collect();
        assert_eq!(names, ["db-next", "web-next"]);
        let web = &all[1];
        let needed: Vec<&str> = web.depends_on.keys().map(Name::as_str).collect();
        assert_eq!(needed, ["db-next", "mail"]);
        assert_eq!(web.placement.with[0].as_str(), "db-next");
        assert_eq!(web.placement.apart[0].as_str(), "mail");
    }

    #[test]
    fn the_revision_of_an_apply_is_its_own_though_another_came_after_it() {
        let version = |version: &str| -> Vec<Workload> {
            let text =
                format!("[workload.web]\nversion = '{version}'\ncommand = ['/bin/{version}']\n");
            let read = manifest::parse_many_with(&[Source::new("w.toml", text)], &BTreeMap::new());
            let all = read.unwrap().manifests.into_iter();
            all.map(|m| m.workload).collect()
        };
        let mut fleet = Fleet::new();
        for (at_ms, text) in [(1, "1"), (2, "2"), (3, "3")] {
            let change = Change::WorkloadsApplied {
                workloads: version(text),
                removed: Vec::new(),
            };
            let entry = crate::fleet::Entry {
                at_ms,
                by: None,
                change,
            };
            fleet.apply(&entry).unwrap();
        }
        let web: Name = "web".parse().unwrap();
        for (text, revision) in [("2", 2), ("3", 3)] {
            assert_eq!(revisions(&fleet, &version(text))[&web], revision);
        }
        assert!(revisions(&fleet, &version("4")).is_empty());
    }

    #[tokio::test]
    async fn two_are_read_at_once_and_who_finds_too_many_waiting_is_told_when_to_come_again() {
        static DESK: Desk = Desk::new();
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let under_way = Arc::new(std::sync::Mutex::new((0, 0)));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..READERS + WAITING {
            let (gate, under_way) = (gate.clone(), under_way.clone());
            tasks.spawn(DESK.read(move || {
                let mut now = under_way.lock().unwrap();
                now.0 += 1;
                now.1 = now.1.max(now.0);
                drop(now);
                let _ = gate.lock().unwrap().recv_timeout(Duration::from_secs(30));
                under_way.lock().unwrap().0 -= 1;
                Ok(())
            }));
        }
        while DESK.asked.available_permits() > 0 || under_way.lock().unwrap().0 < READERS {
            tokio::task::yield_now().await;
        }
        let refused = DESK.read(|| Ok(())).await.unwrap_err();
        assert!(refused.detail().contains("try again in 5 s"), "{refused:?}");
        let answer = axum::response::IntoResponse::into_response(refused);
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["retry-after"], "5");
        for _ in 0..READERS + WAITING {
            go.send(()).unwrap();
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
        assert_eq!(*under_way.lock().unwrap(), (0, READERS));
        DESK.read(|| Ok(())).await.unwrap();
    }

    #[test]
    fn a_suffix_that_makes_no_name_or_would_prune_is_refused() {
        assert!(workloads(&request("-Next", false)).is_err());
        assert!(workloads(&request(&"x".repeat(80), false)).is_err());
        assert!(workloads(&request("-next", true)).is_err());
    }
}
