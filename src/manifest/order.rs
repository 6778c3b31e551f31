//! `depends_on`: which workloads of the same node must have come how far, and that none waits
//! for itself, also not by way of others.

use super::{getters::Shape, nearest::nearest, shown, span::Flaw, table::Table, tree::Data};
use crate::model::{DependsOn, Name, Workload, cycle};
use std::{collections::BTreeMap, ops::Range};

/// The most workloads that one may wait for.
const MAX_DEPENDENCIES: usize = 64;
/// So many cycles are told of one text.
const MAX_CYCLES: usize = 20;
/// How far a workload must have come, as it is written.
const CONDITIONS: [DependsOn; 3] = [DependsOn::Started, DependsOn::Healthy, DependsOn::Completed];

/// The key `depends_on` of the workload `own`: `["db"]`, or `{ db = "healthy" }`.
pub(crate) fn read(table: &mut Table<'_>, own: Option<&Name>) -> BTreeMap<Name, DependsOn> {
    let mut found = BTreeMap::new();
    let name_of = |text: &str| -> Result<Name, Flaw> {
        let name = text
            .parse::<Name>()
            .map_err(|error| Flaw::new(error.to_string()))?;
        if own == Some(&name) {
            return Err(Flaw::new(format!("`{name}` cannot depend on itself")));
        }
        Ok(name)
    };
    if table.shape("depends_on") == Shape::Map {
        let entries = table.entries("depends_on", MAX_DEPENDENCIES, "a table");
        for entry in entries {
            let name = match name_of(&entry.name) {
                Ok(name) => name,
                Err(flaw) => {
                    table.refuse_at(entry.name_span.clone(), flaw);
                    continue;
                }
            };
            match condition(&entry.value.data) {
                Ok(condition) => {
                    found.insert(name, condition);
                }
                Err(flaw) => table.refuse_at(entry.value.span.clone(), flaw),
            }
        }
        return found;
    }
    table.parsed_list("depends_on", |text| {
        let name = name_of(text)?;
        if found.len() == MAX_DEPENDENCIES {
            return Err(Flaw::new(format!(
                "a workload can wait for at most {MAX_DEPENDENCIES} others"
            )));
        }
        if found.insert(name, DependsOn::Started).is_some() {
            return Err(Flaw::new(format!("`{text}` is named twice")));
        }
        Ok(())
    });
    found
}

fn condition(data: &Data) -> Result<DependsOn, Flaw> {
    let Data::Text(text) = data else {
        let flaw = Flaw::new("a condition of `depends_on` must be a string");
        return Err(flaw.hint("write \"started\", \"healthy\" or \"completed\""));
    };
    if let Some(condition) = CONDITIONS.into_iter().find(|c| c.as_str() == text) {
        return Ok(condition);
    }
    let flaw = Flaw::new(format!(
        "a condition must be \"started\" or \"healthy\" or \"completed\", not \"{}\"",
        shown(text)
    ));
    Err(match nearest(text, &CONDITIONS.map(DependsOn::as_str)) {
        Some(meant) => flaw.hint(format!("did you mean \"{meant}\"?")),
        None => flaw,
    })
}

/// What is wrong with the order of the workloads of one text: each cycle, at the place of one
/// workload in it.
pub(crate) fn cycle_flaws(found: &[(Range<usize>, Workload)]) -> Vec<(Range<usize>, Flaw)> {
    let mut graph: BTreeMap<Name, Vec<Name>> = found
        .iter()
        .filter(|(_, workload)| !workload.depends_on.is_empty())
        .map(|(_, workload)| {
            let needs = workload.depends_on.keys().cloned().collect();
            (workload.name.clone(), needs)
        })
        .collect();
    let mut flaws = Vec::new();
    while flaws.len() < MAX_CYCLES {
        let Some(cycle) = cycle(&graph) else {
            break;
        };
        let in_cycle = |name: &Name| cycle.contains(name);
        let place = found.iter().find(|(_, w)| in_cycle(&w.name));
        let Some((span, _)) = place else {
            break;
        };
        let names: Vec<&str> = cycle.iter().map(Name::as_str).collect();
        let flaw = Flaw::new(format!(
            "the workloads wait for each other: {}",
            names.join(" → ")
        ))
        .hint("remove one of them from the `depends_on` of another");
        flaws.push((span.clone(), flaw));
        graph.retain(|name, _| !in_cycle(name));
    }
    flaws
}
