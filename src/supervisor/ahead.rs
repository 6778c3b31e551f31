//! What will be wanted later is fetched now: so that the change, when its turn comes, needs no
//! network and little time.
//!
//! It goes on beside everything else and has no effect on what runs. It begins while nothing else
//! is to be done for its instance, is tried again with growing delays, and is given up when it is
//! no longer wanted. When its spec becomes the wanted one it counts as the preparation of the
//! change: what is there is not fetched again, and what is under way is waited for.

use super::{
    Action, Now, OpOutcome, OperationId, Runtime, Supervisor,
    instance::{Instance, runtime_for},
};
use crate::{
    model::{RuntimeKind, Workload},
    runtime::{Launch, RuntimeError},
};
use std::sync::Arc;

/// What is to be fetched ahead for one instance.
#[derive(Debug)]
pub(super) struct Ahead {
    workload: Arc<Workload>,
    hash: String,
    failures: u32,
    not_before_ms: u64,
}

/// A fetch that is under way.
#[derive(Debug)]
pub(super) struct Fetching {
    operation: OperationId,
    runtime: RuntimeKind,
    hash: String,
}

impl Supervisor {
    /// Begins to fetch, where there is something to fetch and nothing else to do.
    pub(super) fn fetch_ahead(
        &mut self,
        now: Now,
        instance: &mut Instance,
        actions: &mut Vec<Action>,
    ) {
        let Some(ahead) = instance.ahead.as_ref() else {
            return;
        };
        let is_there = instance.fetched.as_ref() == Some(&ahead.hash);
        if is_there || instance.fetching.is_some() || now.mono_ms < ahead.not_before_ms {
            return;
        }
        let current = instance.current.as_ref().map(|c| c.runtime);
        let has = |r| self.runtimes.contains_key(&r);
        let Some(runtime) = runtime_for(&ahead.workload, current, has) else {
            return;
        };
        if self.runtimes.get(&runtime) != Some(&Runtime::Listed) {
            return;
        }
        let launch = Launch {
            node: self.node.clone(),
            workload: ahead.workload.clone(),
            spec_hash: ahead.hash.clone(),
            // Its request comes with its assignment.
            trace: None,
        };
        let operation = self.next_operation();
        instance.fetching = Some(Fetching {
            operation,
            runtime,
            hash: launch.spec_hash.clone(),
        });
        actions.push(Action::Prepare {
            operation,
            runtime,
            launch,
        });
    }

    /// An operation ended that is of no instance: perhaps it fetched ahead.
    pub(super) fn fetched(
        &mut self,
        now: Now,
        operation: OperationId,
        outcome: OpOutcome,
        actions: &mut Vec<Action>,
    ) {
        let fetches = |i: &&mut Instance| {
            let fetching = i.fetching.as_ref();
            fetching.is_some_and(|f| f.operation == operation)
        };
        let Some(instance) = self.instances.values_mut().find(fetches) else {
            return;
        };
        let Some(Fetching { runtime, hash, .. }) = instance.fetching.take() else {
            return;
        };
        let OpOutcome::Failed(error) = outcome else {
            let wanted = instance.assigned.as_ref().map(|a| &a.spec_hash);
            if wanted == Some(&hash) {
                instance.prepared = true;
            } else {
                instance.fetched = Some(hash);
                instance.changed = true;
            }
            return;
        };
        if let Some(ahead) = instance.ahead.as_mut().filter(|a| a.hash == hash) {
            ahead.failures = ahead.failures.saturating_add(1);
            let delay_ms = self.random.delay_ms(ahead.failures, 5_000, 300_000);
            ahead.not_before_ms = now.mono_ms.saturating_add(delay_ms);
            if ahead.failures == 1 {
                let version = &ahead.workload.version;
                let message = format!("cannot fetch version {version} ahead: {error}");
                actions.push(instance.tell("failed", message));
            }
        }
        if let RuntimeError::Unreachable { message, .. } = error {
            self.lost(now, runtime, message);
        }
    }
}

impl Instance {
    /// Takes what is to be fetched ahead; what is not any more is given up.
    pub(super) fn set_ahead(&mut self, next: Option<Arc<Workload>>, actions: &mut Vec<Action>) {
        let wanted = self.assigned.as_ref().map(|a| &a.spec_hash);
        let next = next.map(|workload| (workload.spec_hash(), workload));
        let next = next.filter(|(hash, _)| wanted != Some(hash));
        // A fetch of what is wanted by now goes on: the change waits for it.
        let of_use = |hash: &String| {
            wanted == Some(hash) || next.as_ref().is_some_and(|(next, _)| next == hash)
        };
        if let Some(fetching) = self.fetching.take_if(|f| !of_use(&f.hash)) {
            actions.push(Action::Cancel {
                operation: fetching.operation,
            });
        }
        match (&mut self.ahead, next) {
            (Some(ahead), Some((hash, workload))) if ahead.hash == hash => {
                ahead.workload = workload;
            }
            (ahead, next) => {
                *ahead = next.map(|(hash, workload)| Ahead {
                    workload,
                    hash,
                    failures: 0,
                    not_before_ms: 0,
                });
            }
        }
    }

    /// What it would fetch for a change is being fetched already: that operation, which is the
    /// change's own from now on.
    pub(super) fn take_over_fetch(
        &mut self,
        hash: &str,
        runtime: RuntimeKind,
    ) -> Option<OperationId> {
        let same = |f: &mut Fetching| f.hash == hash && f.runtime == runtime;
        self.fetching.take_if(same).map(|f| f.operation)
    }

    /// When it is to be tried again.
    pub(super) fn fetches_at(&self) -> Option<u64> {
        let ahead = self.ahead.as_ref().filter(|_| self.fetching.is_none())?;
        (ahead.failures > 0).then_some(ahead.not_before_ms)
    }
}
