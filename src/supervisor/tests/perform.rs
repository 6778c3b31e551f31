//! Carries an operation out in an engine that is held in memory.

use super::engine::{Engine, Verb, running};
use crate::{
    model::RuntimeKind,
    runtime::RuntimeError,
    supervisor::{Action, OpOutcome},
};
use std::collections::BTreeSet;

/// Verb, id, engine, and handle or workload.
pub(super) fn parts(action: &Action) -> (Verb, u64, RuntimeKind, String) {
    match action {
        Action::Launch {
            operation,
            runtime,
            launch,
        } => (
            Verb::Launch,
            *operation,
            *runtime,
            launch.workload.name.to_string(),
        ),
        Action::Prepare {
            operation,
            runtime,
            launch,
        } => (
            Verb::Prepare,
            *operation,
            *runtime,
            launch.workload.name.to_string(),
        ),
        Action::Start {
            operation,
            runtime,
            handle,
        } => (Verb::Start, *operation, *runtime, handle.clone()),
        Action::Stop {
            operation,
            runtime,
            handle,
            ..
        } => (Verb::Stop, *operation, *runtime, handle.clone()),
        Action::Remove {
            operation,
            runtime,
            handle,
        } => (Verb::Remove, *operation, *runtime, handle.clone()),
        Action::Reload {
            operation,
            runtime,
            handle,
            ..
        } => (Verb::Reload, *operation, *runtime, handle.clone()),
        other => unreachable!("no operation: {other:?}"),
    }
}

/// What came of it.
pub(super) fn perform(engine: &mut Engine, action: &Action) -> OpOutcome {
    let launched =
        |r: Result<_, RuntimeError>| r.map_or_else(OpOutcome::Failed, OpOutcome::Launched);
    match action {
        Action::Launch { launch, .. } => launched(engine.launch(launch)),
        Action::Start { handle, .. } => launched(engine.start(handle)),
        Action::Prepare { launch, .. } => match engine.prepare(launch) {
            Ok(()) => OpOutcome::Done,
            Err(error) => OpOutcome::Failed(error),
        },
        Action::Stop { handle, .. } => {
            engine.stop(handle);
            OpOutcome::Done
        }
        Action::Reload { .. } => OpOutcome::Done,
        Action::Remove { handle, .. } => {
            engine.remove(handle);
            OpOutcome::Done
        }
        other => unreachable!("no operation: {other:?}"),
    }
}

/// No two programs of one workload run at once, in whatever engine.
pub(super) fn nothing_runs_twice<'a>(
    engines: impl Iterator<Item = &'a Engine>,
    asked: &[(u64, String)],
) {
    let mut seen = BTreeSet::new();
    for found in engines.flat_map(|e| &e.instances) {
        let first = !running(found) || seen.insert(&found.workload);
        assert!(first, "{} runs twice: {asked:#?}", found.workload);
    }
}
