//! How an agent is, in the one line that a service manager shows.

use crate::model::{InstanceState, Name, ObservedInstance, RuntimeKind};

/// Counts what people have put there: the agent itself is none of it.
pub(super) fn status_line(node: &Name, connected: bool, observed: &[ObservedInstance]) -> String {
    let count = |which: fn(InstanceState) -> bool| {
        let workloads = observed.iter().filter(|o| o.runtime != RuntimeKind::Agent);
        workloads.filter(|o| which(o.state)).count()
    };
    let bad = match count(InstanceState::is_bad) {
        0 => String::new(),
        bad => format!(", {bad} failed"),
    };
    let connected = match connected {
        true => "connected",
        false => "not connected",
    };
    format!(
        "node {node}, {connected}, {} running{bad}",
        count(InstanceState::is_up)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn observed(workload: &str, runtime: &str, state: &str) -> ObservedInstance {
        let value = json!({
            "workload": workload, "version": "1", "spec_hash": "x", "state": state,
            "runtime": runtime, "restarts": 0, "since_ms": 0,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_agent_itself_does_not_count_as_a_workload() {
        let node: Name = "pi-1".parse().unwrap();
        let agent = observed("fleetctl-agent", "agent", "running");
        let all = [
            agent.clone(),
            observed("web", "process", "running"),
            observed("db", "process", "crash_loop"),
        ];
        assert_eq!(
            status_line(&node, true, &all),
            "node pi-1, connected, 1 running, 1 failed"
        );
        assert_eq!(
            status_line(&node, false, &[agent]),
            "node pi-1, not connected, 0 running"
        );
    }
}
