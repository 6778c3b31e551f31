//! What is reported of an instance, and what went wrong with it.

use super::{Action, Now, instance::Instance, sentence};
use crate::model::{Desired, InstanceState, ObservedInstance};

impl Instance {
    /// Enters a state; `true` when that changes what is reported.
    pub(super) fn enter(&mut self, now: Now, state: InstanceState, reason: Option<String>) -> bool {
        if state != InstanceState::Pulling {
            self.progress = None;
        }
        if self.state == state && self.reason == reason {
            return false;
        }
        if self.state != state {
            // What ran before this agent did is shown with its own time.
            let started = self.started_unix_ms.take();
            let own = started.filter(|_| state == InstanceState::Running);
            self.since_unix_ms = own.unwrap_or(now.unix_ms);
        }
        self.state = state;
        self.reason = reason;
        self.changed = true;
        true
    }

    /// Something went wrong.
    pub(super) fn note_error(&mut self, text: &str) {
        let text = Some(sentence::told(text));
        if self.last_error != text {
            self.last_error = text;
            self.changed = true;
        }
    }

    /// A later run was stable, or came to its end: what went wrong before is over.
    pub(super) fn clear_error(&mut self) {
        self.changed |= self.last_error.take().is_some();
        self.changed |= !std::mem::take(&mut self.last_output).is_empty();
    }

    /// The last lines that it wrote before it failed.
    pub(super) fn note_output(&mut self, lines: &[String]) {
        let lines = sentence::last_lines(lines);
        if self.last_error.is_some() && self.last_output != lines {
            self.last_output = lines;
            self.changed = true;
        }
    }

    pub(super) fn tell(&self, event: &'static str, message: String) -> Action {
        Action::Tell {
            event,
            workload: self.name.clone(),
            message,
        }
    }

    pub(super) fn report(&self) -> ObservedInstance {
        let (spec_hash, version) = match (&self.current, &self.assigned) {
            (Some(c), _) => (c.spec_hash.clone(), c.version.clone()),
            (None, Some(a)) => (a.spec_hash.clone(), a.workload.version.clone()),
            (None, None) => Default::default(),
        };
        let up = self.state.is_up();
        let health = self.monitor.as_ref().map(|m| m.status().0);
        let runs = self.runs.counts().then_some(self.runs.record.runs);
        let attended = self.desired() == Some(Desired::Running);
        let mut warnings = self.warnings.clone();
        warnings.extend(self.order_warnings.iter().cloned());
        ObservedInstance {
            workload: self.name.clone(),
            version,
            spec_hash,
            state: self.state,
            runtime: self.reported_runtime,
            restarts: self.restarts,
            reason: self.reason.clone(),
            warnings,
            exit_code: self.exit_code,
            handle: self.current.as_ref().map(|c| c.handle.clone()),
            since_ms: self.since_unix_ms,
            progress: self.progress,
            health: health.filter(|_| up),
            runs,
            next_run_ms: self.runs.next_ms().filter(|_| attended),
            last_error: self.last_error.clone(),
            last_output: self.last_output.clone(),
            trial: self.trial.as_ref().map(|t| Box::new(t.report())),
            fetched: self.fetched.clone(),
        }
    }
}
