//! Where instances go, and what happens when they end.

use super::{not_supported, shown, span::Flaw, table::Table};
use crate::model::{Name, Placement, PlacementMode, Requirement, Restart, RestartPolicy, Strategy};

/// The most instances of one workload on any nodes.
const MAX_REPLICAS: i64 = 10_000;
/// The longest delay before an instance is started again: one day.
const MAX_DELAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// `[workload.<name>.placement]`.
pub(crate) fn read_placement(mut table: Table<'_>) -> Placement {
    let every = table
        .choice("on", &[("any", false), ("every", true)])
        .unwrap_or(false);
    let replicas = table.integer("replicas");
    if replicas.is_some_and(|replicas| !(0..=MAX_REPLICAS).contains(&replicas)) {
        table.refuse(
            "replicas",
            Flaw::new(format!("`replicas` must be from 0 to {MAX_REPLICAS}")),
        );
    }
    if every && table.has("replicas") {
        let flaw = Flaw::new("`replicas` has no meaning with `on = \"every\"`")
            .hint("remove it, or write `on = \"any\"`");
        table.refuse_key("replicas", flaw);
    }
    let strategy = table.parsed("strategy", |text| match text {
        "least_loaded" => Ok(Strategy::LeastLoaded),
        "round_robin" | "capability_match" | "resource_optimal" => Err(not_supported(text)),
        _ => Err(Flaw::new(format!("`{}` is not a strategy", shown(text)))
            .hint("write \"least_loaded\"")),
    });
    let requires = table.parsed_list("requires", |text| {
        Requirement::try_from(text.to_owned()).map_err(|_| {
            Flaw::new(format!("`{}` is not a requirement", shown(text)))
                .hint("write \"key\", \"!key\", \"key=value\" or \"key!=value\"")
        })
    });
    let mut nodes: Vec<Name> = Vec::new();
    table.parsed_list("nodes", |text| {
        let name = text
            .parse::<Name>()
            .map_err(|error| Flaw::new(error.to_string()))?;
        if nodes.contains(&name) {
            return Err(Flaw::new(format!("node `{name}` is named twice")));
        }
        nodes.push(name);
        Ok(())
    });
    table.refuse_key("prefers", not_supported("prefers"));
    table.finish();

    let replicas = replicas
        .and_then(|replicas| u32::try_from(replicas).ok())
        .unwrap_or(1);
    Placement {
        mode: if every {
            PlacementMode::Every
        } else {
            PlacementMode::Any { replicas }
        },
        strategy: strategy.unwrap_or_default(),
        requires: requires.unwrap_or_default(),
        nodes,
        ..Placement::default()
    }
}

/// `[workload.<name>.restart]`.
pub(crate) fn read_restart(mut table: Table<'_>) -> Restart {
    let default = Restart::default();
    let policy = table.choice(
        "policy",
        &[
            ("always", RestartPolicy::Always),
            ("on_failure", RestartPolicy::OnFailure),
            ("never", RestartPolicy::Never),
        ],
    );
    let delay = table.duration_ms("delay");
    let max_delay = table.duration_ms("max_delay");
    for (key, value) in [("delay", delay), ("max_delay", max_delay)] {
        if value.is_some_and(|value| value > MAX_DELAY_MS) {
            table.refuse(key, Flaw::new(format!("`{key}` must be at most one day")));
        }
    }
    // A default never contradicts what is written: it yields.
    let (delay_ms, max_delay_ms) = match (delay, max_delay) {
        (Some(delay), Some(max)) => (delay, max),
        (Some(delay), None) => (delay, default.max_delay_ms.max(delay)),
        (None, Some(max)) => (default.delay_ms.min(max), max),
        (None, None) => (default.delay_ms, default.max_delay_ms),
    };
    if delay_ms > max_delay_ms {
        let flaw = Flaw::new("`delay` is longer than `max_delay`")
            .hint("the delay grows from `delay` to `max_delay`");
        table.refuse("delay", flaw);
    }
    table.finish();
    Restart {
        policy: policy.unwrap_or_default(),
        delay_ms,
        max_delay_ms,
    }
}
