//! Where instances go, and what happens when they end.

use super::{requires, span::Flaw, table::Table, tree::Data, word::label_key};
use crate::model::{
    Name, Placement, PlacementMode, Preference, Requirement, Restart, RestartPolicy, Strategy,
};

/// The most instances of one workload on any nodes.
const MAX_REPLICAS: i64 = 10_000;
/// What a preference weighs where nothing is written.
pub(crate) const DEFAULT_WEIGHT: i32 = 50;
/// The most that a preference weighs, for or against a node.
const MAX_WEIGHT: i64 = 100;
/// The most preferences.
const MAX_PREFERENCES: usize = 64;
/// The most workloads that one must be with, or apart from.
const MAX_NEIGHBOURS: usize = 64;
/// The longest delay before an instance is started again: one day.
const MAX_DELAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// `[workload.<name>.placement]` of the workload `own`.
pub(crate) fn read_placement(mut table: Table<'_>, own: Option<&Name>) -> Placement {
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
    let strategy = table.choice(
        "strategy",
        &[
            ("least_loaded", Strategy::LeastLoaded),
            ("round_robin", Strategy::RoundRobin),
            ("capability_match", Strategy::CapabilityMatch),
            ("resource_optimal", Strategy::ResourceOptimal),
        ],
    );
    let requires = requires::read(&mut table);
    let mut nodes: Vec<Name> = Vec::new();
    table.parsed_list("nodes", |text| {
        let name = name_of(text)?;
        if nodes.contains(&name) {
            return Err(Flaw::new(format!("node `{name}` is named twice")));
        }
        nodes.push(name);
        Ok(())
    });
    let prefers = read_preferences(&mut table);
    let spread = table.parsed("spread", label_key);
    let with = read_neighbours(&mut table, "with", own, &[]);
    let apart = read_neighbours(&mut table, "apart", own, &with);
    if every {
        // There is nothing to choose.
        for key in ["replicas", "prefers", "spread"] {
            let flaw = Flaw::new(format!("`{key}` has no meaning with `on = \"every\"`"))
                .hint("remove it, or write `on = \"any\"`");
            table.refuse_key(key, flaw);
        }
    }
    if let Some(replicas) = replicas
        && !every
        && !nodes.is_empty()
        && usize::try_from(replicas).is_ok_and(|replicas| replicas > nodes.len())
    {
        let (flaw, hint) = (
            too_few_nodes(replicas, nodes.len()),
            "name more nodes, or ask for fewer",
        );
        table.refuse("replicas", flaw.hint(hint));
    }
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
        requires,
        nodes,
        prefers,
        spread,
        with,
        apart,
    }
}

/// More instances are asked for than there are nodes to run on, each on one of its own.
fn too_few_nodes(replicas: i64, nodes: usize) -> Flaw {
    Flaw::new(match nodes {
        1 => format!("`replicas = {replicas}` and `nodes` names one node, which runs one instance"),
        n => format!(
            "`replicas = {replicas}` and `nodes` names {n}, each of which runs one instance"
        ),
    })
}

fn name_of(text: &str) -> Result<Name, Flaw> {
    text.parse::<Name>()
        .map_err(|error| Flaw::new(error.to_string()))
}

/// `prefers`: each item a requirement, or a table with its weight.
fn read_preferences(table: &mut Table<'_>) -> Vec<Preference> {
    let mut prefers: Vec<Preference> = Vec::new();
    for item in table.items("prefers", MAX_PREFERENCES) {
        let read = match &item.data {
            Data::Text(text) => match requires::parse(text) {
                Ok(requirement) => Some((requirement, DEFAULT_WEIGHT)),
                Err(flaw) => {
                    table.refuse_at(item.span.clone(), flaw);
                    None
                }
            },
            Data::Map(_) => read_preference(table.below(item)),
            _ => {
                let flaw = Flaw::new(format!(
                    "each item of `prefers` must be a string or a table, not {}",
                    item.kind()
                ));
                table.refuse_at(item.span.clone(), flaw.hint("write \"gpu\" or \"zone=a\""));
                None
            }
        };
        let Some((requirement, weight)) = read else {
            continue;
        };
        if prefers.iter().any(|other| other.requirement == requirement) {
            let flaw = Flaw::new(format!("`{requirement}` is named twice"));
            table.refuse_at(item.span.clone(), flaw.hint("give it one weight"));
            continue;
        }
        prefers.push(Preference {
            requirement,
            weight,
        });
    }
    prefers
}

/// `{ requires = "gpu", weight = 80 }`. `None`: it does not say what, which is on record.
fn read_preference(mut table: Table<'_>) -> Option<(Requirement, i32)> {
    if !table.has("requires") {
        table.missing(
            Flaw::new("the preference does not say what a node should have")
                .hint("write it as a requirement, as in `requires = \"gpu\"`"),
        );
    }
    let requirement = table.parsed("requires", requires::parse);
    let weight = table.integer_within("weight", -MAX_WEIGHT..=MAX_WEIGHT);
    if weight == Some(0) {
        let flaw = Flaw::new("a preference of the weight 0 says nothing");
        table.refuse(
            "weight",
            flaw.hint("write 1 to 100, or -1 to -100 for what a node should rather not have"),
        );
    }
    table.finish();
    let weight = weight.and_then(|weight| i32::try_from(weight).ok());
    Some((requirement?, weight.unwrap_or(DEFAULT_WEIGHT)))
}

/// `with` or `apart`: workloads on the same node, of which none may be in `other`, the opposite.
fn read_neighbours(
    table: &mut Table<'_>,
    key: &'static str,
    own: Option<&Name>,
    other: &[Name],
) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    table.parsed_list(key, |text| {
        let name = name_of(text)?;
        if own == Some(&name) {
            return Err(
                Flaw::new(format!("`{name}` cannot be named in its own `{key}`"))
                    .hint("two instances of one workload are never on the same node"),
            );
        }
        if names.contains(&name) {
            return Err(Flaw::new(format!("workload `{name}` is named twice")));
        }
        if other.contains(&name) {
            return Err(Flaw::new(format!("`{name}` is in `with` and in `apart`"))
                .hint("remove it from one of the two"));
        }
        if names.len() == MAX_NEIGHBOURS {
            return Err(Flaw::new(format!(
                "`{key}` names more than {MAX_NEIGHBOURS} workloads"
            )));
        }
        names.push(name);
        Ok(())
    });
    names
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
