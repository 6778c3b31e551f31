//! Which request of a person an operation belongs to: for the log, and as spans where somebody
//! collects them ([`crate::trace`]).
//!
//! ```text
//!  assigned ─► process assignment
//!  operation begins ─► launch ─┬─► pull (while the image is fetched)
//!                              └─► runs: become healthy ─► well, or failed
//! ```
//!
//! What has no request (started by a clock, brought by an agent from before) is noted nowhere.

use crate::{
    model::{Assignment, HealthStatus, InstanceState, Name, Run, RuntimeKind, TraceContext},
    runtime::{Launch, Launched, Progress},
    supervisor::{Action, OpOutcome, Supervisor},
    trace::{OpenSpan, SpanKind, Tracer},
};
use std::collections::{BTreeMap, BTreeSet};
use tracing::{debug, info_span};

/// Spans of one assignment: one for each request that is new in it.
const MAX_REQUESTS: usize = 16;

/// What of this node's work is noted.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// Where spans go.
    pub(super) tracer: Tracer,
    /// Instances that were started and are not known to be healthy yet.
    becoming: BTreeMap<Name, OpenSpan>,
}

impl Traces {
    /// Another assignment has come.
    pub(super) fn assigned(&self, before: Option<&Assignment>, now: &Assignment) {
        if !self.tracer.is_on() {
            return;
        }
        let known: BTreeSet<TraceContext> = requests(before).collect();
        let new: BTreeSet<TraceContext> = requests(Some(now))
            .filter(|request| !known.contains(request))
            .collect();
        for request in new.into_iter().take(MAX_REQUESTS) {
            let span = self
                .tracer
                .begin(Some(request), SpanKind::Consumer, "process assignment");
            if let Some(mut span) = span {
                span.set("messaging.system", "mqtt");
                span.set("messaging.operation.type", "process");
                span.set("fleetctl.generation", now.generation);
            }
        }
    }

    /// An operation begins.
    pub(super) fn note(&mut self, supervisor: &Supervisor, action: &Action) -> Noted {
        let (operation, runtime, kind, launch) = match action {
            Action::Launch {
                operation,
                runtime,
                launch,
            } => (operation, runtime, "launch", Some(launch)),
            Action::Prepare {
                operation,
                runtime,
                launch,
            } => (operation, runtime, "prepare", Some(launch)),
            Action::Reload {
                operation,
                runtime,
                launch,
                ..
            } => (operation, runtime, "reload", Some(launch)),
            Action::Start {
                operation, runtime, ..
            } => (operation, runtime, "start", None),
            Action::Stop {
                operation, runtime, ..
            } => (operation, runtime, "stop", None),
            Action::Remove {
                operation, runtime, ..
            } => (operation, runtime, "remove", None),
            _ => return Noted::default(),
        };
        let workload = supervisor.workload_of(*operation);
        let request = workload.and_then(|w| supervisor.trace_of(w.as_str()));
        let (Some(workload), Some(request)) = (workload, request) else {
            return Noted::default();
        };
        let mut span = self.tracer.begin(Some(request), SpanKind::Internal, kind);
        if let Some(span) = &mut span {
            span.set("fleetctl.workload", workload.as_str());
            describe(span, *runtime, launch);
        }
        // Whatever it was becoming, it is not that any more.
        self.becoming.remove(workload);
        let log = info_span!(
            "operation",
            kind,
            %workload,
            trace = request.trace_id()
        );
        log.in_scope(|| debug!("begins"));
        Noted {
            tracer: self.tracer.clone(),
            log,
            span,
        }
    }

    /// An instance runs, for the first time or again.
    pub(super) fn started(&mut self, supervisor: &Supervisor, workload: &Name) {
        let request = supervisor.trace_of(workload.as_str());
        let span = self
            .tracer
            .begin(request, SpanKind::Internal, "become healthy");
        if let Some(mut span) = span {
            span.set("fleetctl.workload", workload.as_str());
            self.becoming.insert(workload.clone(), span);
        }
    }

    /// Something may have come of what was started.
    pub(super) fn look(&mut self, supervisor: &Supervisor) {
        if self.becoming.is_empty() {
            return;
        }
        self.becoming.retain(|workload, span| {
            let state = supervisor.state_of(workload.as_str());
            match become_of(state) {
                None => true,
                Some(Ok(())) => false,
                Some(Err(state)) => {
                    span.fail(&format!("it is {state}"));
                    false
                }
            }
        });
    }
}

/// What became of an instance that was started; `None`: nobody knows yet.
fn become_of(
    state: Option<(InstanceState, Option<HealthStatus>)>,
) -> Option<Result<(), InstanceState>> {
    use InstanceState::{
        Backoff, Completed, CrashLoop, Failed, Running, Scheduled, Stopped, Unhealthy,
    };
    match state {
        Some((Running, Some(HealthStatus::Healthy))) => Some(Ok(())),
        Some((Completed | Scheduled, _)) => Some(Ok(())),
        Some((bad @ (Backoff | CrashLoop | Failed | Unhealthy | Stopped), _)) => Some(Err(bad)),
        Some(_) => None,
        None => Some(Err(Stopped)),
    }
}

fn requests(assignment: Option<&Assignment>) -> impl Iterator<Item = TraceContext> {
    let all = assignment.into_iter().flat_map(|a| &a.instances);
    all.filter_map(|instance| instance.trace)
}

/// By the names of OpenTelemetry; never values of env.
fn describe(span: &mut OpenSpan, runtime: RuntimeKind, launch: Option<&Launch>) {
    span.set("container.runtime.name", runtime.as_str());
    let Some(launch) = launch else {
        return;
    };
    span.set(
        "fleetctl.workload.version",
        launch.workload.version.as_str(),
    );
    if let Run::Container { image, .. } = &launch.workload.run {
        span.set("container.image.name", image_name(image));
    }
}

/// Of `registry.example:5000/app:1.2@sha256:…` what is before tag and digest.
fn image_name(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// What is noted of an operation while it goes on.
#[derive(Debug)]
pub(super) struct Noted {
    tracer: Tracer,
    log: tracing::Span,
    span: Option<OpenSpan>,
}

impl Default for Noted {
    fn default() -> Noted {
        Noted {
            tracer: Tracer::off(),
            log: tracing::Span::none(),
            span: None,
        }
    }
}

impl Noted {
    /// What its lines in the log are within.
    pub(super) fn log(&self) -> tracing::Span {
        self.log.clone()
    }

    /// For what is fetched meanwhile.
    pub(super) fn pull(&self) -> Pull {
        Pull {
            tracer: self.tracer.clone(),
            within: self.span.as_ref().and_then(OpenSpan::context),
            span: None,
        }
    }

    /// It has ended.
    pub(super) fn end(&mut self, outcome: &OpOutcome) {
        let Some(mut span) = self.span.take() else {
            return;
        };
        match outcome {
            OpOutcome::Launched(Launched { handle, .. }) => {
                span.set("container.id", handle.as_str())
            }
            OpOutcome::Done => {}
            OpOutcome::DoneBut(why) => span.set("fleetctl.warning", why.as_str()),
            OpOutcome::Failed(error) => span.fail(&error.to_string()),
        }
    }
}

/// The span of what is fetched, from the first word of it to the last.
#[derive(Debug)]
pub(super) struct Pull {
    tracer: Tracer,
    within: Option<TraceContext>,
    span: Option<OpenSpan>,
}

impl Pull {
    /// The operation has got on.
    pub(super) fn step(&mut self, progress: Progress) {
        match progress {
            Progress::Pulling(_) if self.span.is_none() => {
                self.span = self.tracer.begin(self.within, SpanKind::Client, "pull");
            }
            Progress::Pulling(_) => {}
            Progress::Starting => self.span = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_without_tag_and_digest() {
        for (image, name) in [
            ("docker.io/library/nginx:1.27", "docker.io/library/nginx"),
            ("registry.example:5000/app", "registry.example:5000/app"),
            (
                "registry.example:5000/app:1@sha256:ab",
                "registry.example:5000/app",
            ),
            ("app", "app"),
        ] {
            assert_eq!(image_name(image), name);
        }
    }

    #[test]
    fn what_was_started_becomes_healthy_or_fails_and_is_waited_for_until_then() {
        use InstanceState::{CrashLoop, Pulling, Running, Starting};
        let starting = Some(HealthStatus::Starting);
        assert_eq!(become_of(Some((Pulling, None))), None);
        assert_eq!(become_of(Some((Starting, None))), None);
        assert_eq!(become_of(Some((Running, starting))), None);
        let healthy = Some(HealthStatus::Healthy);
        assert_eq!(become_of(Some((Running, healthy))), Some(Ok(())));
        assert_eq!(become_of(Some((CrashLoop, None))), Some(Err(CrashLoop)));
        assert!(matches!(become_of(None), Some(Err(_))), "it is gone");
    }
}
