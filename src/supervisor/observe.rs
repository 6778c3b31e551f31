//! Inputs that say how things are: what runtimes have, and how far operations have come.

use super::{
    Action, Moment, Now, OperationId, Runtime, Supervisor,
    instance::{Current, Instance, OperationKind, Status},
    runs::Seen,
};
use crate::{
    model::{CLOCK_SET_MS, InstanceState, Name, RuntimeKind},
    runtime::{Found, FoundStatus, Progress},
};
use std::collections::BTreeMap;

impl Supervisor {
    /// A runtime told everything that it has.
    pub(super) fn listed(
        &mut self,
        now: Now,
        runtime: RuntimeKind,
        as_of: Moment,
        found: Vec<Found>,
        actions: &mut Vec<Action>,
    ) {
        match self.runtimes.get(&runtime) {
            // Another listing follows once it answers again.
            Some(Runtime::Lost { at, .. }) if as_of < *at => return,
            Some(Runtime::Lost { .. }) => self.changed = true,
            _ => {}
        }
        self.runtimes.insert(runtime, Runtime::Listed);
        let mut by_workload: BTreeMap<Name, Vec<Found>> = BTreeMap::new();
        for f in found {
            by_workload.entry(f.workload.clone()).or_default().push(f);
        }
        for name in by_workload.keys() {
            if !self.instances.contains_key(name) {
                self.instances
                    .insert(name.clone(), Instance::new(now, name.clone()));
            }
        }
        for (name, instance) in &mut self.instances {
            let mut found = by_workload.remove(name).unwrap_or_default();
            // An operation under way changes this very thing; look when it has ended.
            if instance
                .operation
                .as_ref()
                .is_some_and(|o| o.runtime == runtime)
            {
                instance.look_again = true;
                continue;
            }
            if instance.knows_better(runtime, as_of, actions) {
                continue;
            }
            let wanted = instance.assigned.as_ref().map(|a| a.spec_hash.as_str());
            let rank = |f: &Found| {
                let runs = matches!(f.status, FoundStatus::Running { .. });
                (Some(f.spec_hash.as_str()) == wanted, runs)
            };
            found.sort_by(|a, b| rank(b).cmp(&rank(a)).then(a.handle.cmp(&b.handle)));
            instance.leftovers.retain(|(r, _)| *r != runtime);
            let elsewhere = instance
                .current
                .as_ref()
                .is_some_and(|c| c.runtime != runtime);
            let mut rest = found.into_iter();
            match rest.next() {
                Some(best) if !elsewhere => instance.adopt(now, runtime, best),
                Some(other) => instance.leftovers.push((runtime, other.handle)),
                None if !elsewhere => instance.vanish(),
                None => {}
            }
            instance.leftovers.extend(rest.map(|f| (runtime, f.handle)));
        }
    }

    /// One instance was looked at.
    pub(super) fn observed(
        &mut self,
        now: Now,
        runtime: RuntimeKind,
        as_of: Moment,
        found: Found,
        actions: &mut Vec<Action>,
    ) {
        let Some(instance) = self.instances.get_mut(&found.workload) else {
            return;
        };
        if instance.operation.is_some() {
            instance.look_again = true;
            return;
        }
        let ours = |c: &Current| c.runtime == runtime && c.handle == found.handle;
        if instance.current.as_ref().is_some_and(ours)
            && !instance.knows_better(runtime, as_of, actions)
        {
            instance.adopt(now, runtime, found);
        }
    }

    /// One instance is gone, though nobody here removed it.
    pub(super) fn gone(&mut self, runtime: RuntimeKind, handle: &str) {
        for instance in self.instances.values_mut() {
            instance
                .leftovers
                .retain(|(r, h)| (*r, h.as_str()) != (runtime, handle));
            let ours = |c: &Current| c.runtime == runtime && c.handle == handle;
            if instance.current.as_ref().is_some_and(ours) {
                if instance.operation.is_some() {
                    instance.look_again = true;
                } else {
                    instance.vanish();
                }
            }
        }
    }

    /// A runtime cannot be reached.
    pub(super) fn lost(&mut self, now: Now, runtime: RuntimeKind, reason: String) {
        let at = self.begin_look();
        let lost = Runtime::Lost { why: reason, at };
        self.runtimes.insert(runtime, lost);
        self.changed = true;
        for instance in self.instances.values_mut() {
            let here = instance
                .current
                .as_ref()
                .is_some_and(|c| c.runtime == runtime);
            if let Some(monitor) = instance.monitor.as_mut().filter(|_| here) {
                monitor.pause(now.mono_ms);
            }
        }
    }

    pub(super) fn progressed(&mut self, now: Now, operation: OperationId, progress: Progress) {
        let instance = self
            .instances
            .values_mut()
            .find(|i| i.operation.as_ref().is_some_and(|o| o.id == operation));
        let Some(instance) = instance else { return };
        let kind = instance.operation.as_ref().map(|o| o.kind);
        let changed = match progress {
            // The old one goes on while the new image is fetched: it still runs.
            Progress::Pulling(percent) if kind == Some(OperationKind::Prepare) => {
                let moved = instance.progress != percent;
                instance.progress = percent;
                moved
            }
            Progress::Pulling(percent) => {
                let entered = instance.enter(now, InstanceState::Pulling, None);
                let moved = instance.progress != percent;
                instance.progress = percent;
                entered || moved
            }
            Progress::Starting => instance.enter(now, InstanceState::Starting, None),
        };
        self.changed |= changed;
    }

    /// The last lines that an instance wrote.
    pub(super) fn last_output(&mut self, runtime: RuntimeKind, handle: &str, lines: &[String]) {
        let ours = |c: &Current| c.runtime == runtime && c.handle == handle;
        let mut instances = self.instances.values_mut();
        let instance = instances.find(|i| i.current.as_ref().is_some_and(ours));
        if let Some(instance) = instance {
            instance.note_output(lines);
            instance.note_last_words(lines);
            self.changed |= std::mem::take(&mut instance.changed);
        }
    }
}

impl Instance {
    /// A look that began then is older than what is known; what is there is looked at again. Else
    /// what it tells is known from now on.
    fn knows_better(
        &mut self,
        runtime: RuntimeKind,
        as_of: Moment,
        actions: &mut Vec<Action>,
    ) -> bool {
        let known = self.known_as_of.entry(runtime).or_default();
        let stale = as_of < *known;
        if !stale {
            *known = as_of;
        } else if let Some(current) = &self.current {
            actions.push(Action::Inspect {
                runtime: current.runtime,
                handle: current.handle.clone(),
            });
        }
        stale
    }

    /// What a runtime has of it, as its runs see it.
    pub(super) fn seen(&self) -> Seen {
        match self.current.as_ref().map(|c| &c.status) {
            None | Some(Status::Created) => Seen::Nothing,
            Some(Status::Running { .. }) => Seen::Running,
            Some(Status::Ended { .. }) => Seen::Ended,
        }
    }

    /// It takes what a runtime found to be its current one.
    pub(super) fn adopt(&mut self, now: Now, runtime: RuntimeKind, found: Found) {
        let same = |c: &Current| c.handle == found.handle;
        let before = self.current.as_ref().filter(|c| same(c));
        let before = before.map(|c| c.status.clone());
        let since_ms = match &before {
            Some(Status::Running { since_ms }) => *since_ms,
            _ => now.mono_ms,
        };
        let decided = matches!(&before, Some(Status::Ended { decided: true, .. }));
        self.started_unix_ms = match found.status {
            FoundStatus::Running { started_ms, .. } => Some(started_ms),
            _ => None,
        };
        let status = match found.status {
            FoundStatus::Created => Status::Created,
            FoundStatus::Running { .. } => Status::Running { since_ms },
            FoundStatus::Exited(exit) => Status::Ended { exit, decided },
        };
        let ran = matches!(before, Some(Status::Running { .. }));
        match &status {
            Status::Running { .. } if !ran => {
                // Somebody else started it.
                self.started_here = false;
                self.condemned = None;
                self.files_in_effect = None;
                self.monitor = None;
            }
            Status::Ended { exit, .. } if decided && self.condemned.is_some() => {
                // It was stopped before anybody knew with which code it would end.
                self.changed |= self.exit_code != exit.code;
                self.exit_code = exit.code;
            }
            _ => {}
        }
        self.reported_runtime = runtime;
        self.image_health = found.health;
        self.current = Some(Current {
            runtime,
            handle: found.handle,
            spec_hash: found.spec_hash,
            version: found.version,
            status,
        });
    }

    /// How long what was found running has been up, as far as the clock can be believed.
    pub(super) fn found_up_ms(&self, now: Now) -> u64 {
        let started = self.started_unix_ms.filter(|_| now.unix_ms >= CLOCK_SET_MS);
        started.map_or(0, |at| now.unix_ms.saturating_sub(at))
    }

    /// Nothing of it is there any more.
    pub(super) fn vanish(&mut self) {
        self.current = None;
        self.condemned = None;
        self.monitor = None;
        self.image_health = None;
        self.files_in_effect = None;
    }
}
