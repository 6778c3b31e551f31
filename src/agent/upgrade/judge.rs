//! What has become of the child on trial, by what is assigned and what is seen of it. Pure.
//!
//! ```text
//!  assigned                               the child has passed, where it is healthy and
//!  ─────────────────────────────────────  ──────────────────────────────────────────────────────
//!  what it is, on trial                   the supervisor has let the trial pass
//!  what it is, without a guard            nothing else: the controller has decided
//!  another one, which goes back to it     that one has failed here
//!  anything else                          never: the runtime hands over when it is to be launched
//!  nothing                                it was wanted without a guard before; otherwise it goes,
//!                                         and the board keeps what it had
//! ```

use crate::{
    model::{
        AGENT_WORKLOAD, Assignment, HealthStatus, InstanceState, ObservedInstance, TrialState,
    },
    upgrade::record::Edition,
};

/// What has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is not known yet.
    Open,
    /// It works, and is wanted.
    Passed,
    /// The fleet does not decide any more what runs here.
    Unwanted,
}

/// Of the child that is `tried`. `latest`: the assignment in effect, where one is known.
pub(super) fn outcome(
    latest: Option<&Assignment>,
    observed: &[ObservedInstance],
    tried: &Edition,
) -> Outcome {
    let Some(latest) = latest else {
        return Outcome::Open;
    };
    let mut assigned = latest.instances.iter();
    let Some(wanted) = assigned.find(|i| i.workload.name.as_str() == AGENT_WORKLOAD) else {
        return Outcome::Unwanted;
    };
    let is_it = |o: &&ObservedInstance| {
        o.workload.as_str() == AGENT_WORKLOAD && o.spec_hash == tried.spec_hash
    };
    let healthy = observed
        .iter()
        .find(is_it)
        .filter(|o| o.state == InstanceState::Running && o.health == Some(HealthStatus::Healthy));
    let Some(seen) = healthy else {
        return Outcome::Open;
    };
    let (trial, offered) = (seen.trial.as_ref(), wanted.workload.spec_hash());
    let passed = if offered == tried.spec_hash {
        trial.is_none_or(|t| t.spec_hash == offered && t.state == TrialState::Passed)
    } else {
        let guard = wanted.guard.as_ref();
        guard.is_some_and(|g| g.fallback.spec_hash() == tried.spec_hash)
            && trial.is_some_and(|t| t.spec_hash == offered && t.state == TrialState::Failed)
    };
    if passed {
        Outcome::Passed
    } else {
        Outcome::Open
    }
}

/// Whether the controller has decided that `tried` runs here, without a guard; `None`: it decides
/// nothing.
pub(super) fn is_settled(latest: &Assignment, tried: &Edition) -> Option<bool> {
    let mut assigned = latest.instances.iter();
    let wanted = assigned.find(|i| i.workload.name.as_str() == AGENT_WORKLOAD)?;
    Some(wanted.guard.is_none() && wanted.workload.spec_hash() == tried.spec_hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AssignedInstance, Desired, Guard, Run, Trial, Workload};
    use std::{collections::BTreeMap, sync::Arc};

    fn release(version: &str) -> Arc<Workload> {
        let binaries = BTreeMap::new();
        let name = AGENT_WORKLOAD.parse().unwrap();
        let mut workload = Workload::new(name, Run::Agent { binaries });
        workload.version = version.into();
        Arc::new(workload)
    }

    fn tried(version: &str) -> Edition {
        Edition {
            version: version.into(),
            spec_hash: release(version).spec_hash(),
            ..Edition::default()
        }
    }

    /// That is wanted, with this one to go back to.
    fn assigned(version: &str, fallback: Option<&str>) -> Assignment {
        let guard = fallback.map(|fallback| Guard {
            fallback: release(fallback),
            min_healthy_time_ms: 20_000,
            healthy_deadline_ms: 180_000,
        });
        Assignment {
            generation: 1,
            instances: vec![AssignedInstance {
                workload: release(version),
                desired: Desired::Running,
                restart_count: 0,
                guard: guard.map(Box::new),
                next: None,
                trace: None,
            }],
            ..Assignment::default()
        }
    }

    /// It runs and is healthy; and what the supervisor says of a trial.
    fn seen(version: &str, trial: Option<(&str, TrialState)>) -> [ObservedInstance; 1] {
        let text = serde_json::json!({
            "workload": AGENT_WORKLOAD, "version": version, "runtime": "agent",
            "spec_hash": release(version).spec_hash(), "state": "running", "health": "healthy",
            "since_ms": 1, "restarts": 0,
        });
        let mut observed: ObservedInstance = serde_json::from_value(text).unwrap();
        observed.trial = trial.map(|(version, state)| {
            Box::new(Trial {
                spec_hash: release(version).spec_hash(),
                version: version.into(),
                state,
                reason: None,
                last_output: Vec::new(),
                at_ms: 1,
            })
        });
        [observed]
    }

    #[test]
    fn it_passes_when_its_trial_has_or_the_controller_has_decided() {
        let guarded = assigned("2", Some("1"));
        let of = |trial| outcome(Some(&guarded), &seen("2", trial), &tried("2"));
        assert_eq!(of(Some(("2", TrialState::Running))), Outcome::Open);
        assert_eq!(of(Some(("2", TrialState::Passed))), Outcome::Passed);
        let decided = assigned("2", None);
        let now = outcome(Some(&decided), &seen("2", None), &tried("2"));
        assert_eq!(now, Outcome::Passed);
        let mut ill = seen("2", None);
        ill[0].health = Some(HealthStatus::Starting);
        assert_eq!(outcome(Some(&decided), &ill, &tried("2")), Outcome::Open);
    }

    #[test]
    fn one_that_is_taken_back_during_its_trial_has_not_passed() {
        // Without a guard, so that nothing is on trial any more; it is healthy, and not wanted.
        let back = assigned("1", None);
        let now = outcome(Some(&back), &seen("2", None), &tried("2"));
        assert_eq!(now, Outcome::Open);
        // As little where a newer one takes its place.
        let newer = assigned("3", Some("1"));
        for trial in [None, Some(("3", TrialState::Running))] {
            let now = outcome(Some(&newer), &seen("2", trial), &tried("2"));
            assert_eq!(now, Outcome::Open);
        }
    }

    #[test]
    fn what_a_failed_one_goes_back_to_passes_though_it_was_never_here() {
        let newer = assigned("3", Some("2"));
        let of = |state| outcome(Some(&newer), &seen("2", Some(("3", state))), &tried("2"));
        assert_eq!(of(TrialState::Running), Outcome::Open);
        assert_eq!(of(TrialState::Failed), Outcome::Passed);
    }

    #[test]
    fn one_that_the_fleet_decides_nothing_about_goes() {
        let nothing = Assignment::default();
        let now = outcome(Some(&nothing), &seen("2", None), &tried("2"));
        assert_eq!(now, Outcome::Unwanted);
        assert_eq!(outcome(None, &seen("2", None), &tried("2")), Outcome::Open);
        // Unless it had been decided: then it stays.
        assert_eq!(is_settled(&nothing, &tried("2")), None);
        assert_eq!(is_settled(&assigned("2", None), &tried("2")), Some(true));
        let guarded = assigned("2", Some("1"));
        assert_eq!(is_settled(&guarded, &tried("2")), Some(false));
        assert_eq!(is_settled(&assigned("1", None), &tried("2")), Some(false));
    }
}
