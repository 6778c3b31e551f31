//! `depends_on`: which workloads of the same node must have come how far, and that none waits
//! for itself, also not by way of others.

use super::{getters::Shape, nearest::nearest, shown, span::Flaw, table::Table, tree::Data};
use crate::model::{DependsOn, Name, Workload};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

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

/// A cycle among workloads, where there is one: each depends on the next, and the last is the
/// first again. What is named but not there itself depends on nothing.
///
/// Not recursive: a chain may be as long as there are workloads.
pub(crate) fn cycle(graph: &BTreeMap<Name, Vec<Name>>) -> Option<Vec<Name>> {
    let mut done: BTreeSet<&Name> = BTreeSet::new();
    for start in graph.keys() {
        // The way to the current workload, each with what it depends on and is still to be seen.
        let mut way: Vec<(&Name, std::slice::Iter<'_, Name>)> = Vec::new();
        let mut on_way: BTreeSet<&Name> = BTreeSet::new();
        let mut next = Some(start);
        loop {
            if let Some(name) = next.take().filter(|name| !done.contains(name)) {
                if on_way.contains(name) {
                    let mut names: Vec<Name> = way
                        .iter()
                        .map(|(name, _)| *name)
                        .skip_while(|on| *on != name)
                        .cloned()
                        .collect();
                    names.push(name.clone());
                    return Some(names);
                }
                on_way.insert(name);
                let needs = graph.get(name).map_or(&[][..], Vec::as_slice);
                way.push((name, needs.iter()));
            }
            let Some((name, needs)) = way.last_mut() else {
                break;
            };
            let name = *name;
            match needs.next() {
                Some(need) => next = Some(need),
                None => {
                    done.insert(name);
                    on_way.remove(name);
                    way.pop();
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// Of `a>b c>d`.
    fn graph(text: &str) -> BTreeMap<Name, Vec<Name>> {
        let mut graph: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
        for edge in text.split_whitespace() {
            let (from, to) = edge.split_once('>').unwrap();
            graph.entry(name(from)).or_default().push(name(to));
        }
        graph
    }

    #[test]
    fn cycles_are_found_and_named() {
        for (edges, expected) in [
            ("", None),
            ("a>b b>c a>c", None),
            ("a>b c>b d>a d>c", None),
            ("a>a", Some("a a")),
            ("a>b b>a", Some("a b a")),
            ("a>b b>c c>d d>b", Some("b c d b")),
            ("a>x b>c c>b", Some("b c b")),
        ] {
            let found = cycle(&graph(edges));
            let found =
                found.map(|names| names.iter().map(Name::as_str).collect::<Vec<_>>().join(" "));
            assert_eq!(found.as_deref(), expected, "{edges}");
        }
    }

    #[test]
    fn a_long_chain_is_no_problem() {
        let count = 100_000;
        let mut chain: BTreeMap<Name, Vec<Name>> = (0..count)
            .map(|n| (name(&format!("w{n}")), vec![name(&format!("w{}", n + 1))]))
            .collect();
        assert_eq!(cycle(&chain), None);
        chain.insert(name(&format!("w{count}")), vec![name("w0")]);
        assert_eq!(cycle(&chain).unwrap().len(), count + 2);
    }

    proptest! {
        /// Against the plain definition: something reaches itself.
        #[test]
        fn a_cycle_is_found_where_there_is_one(
            edges in proptest::collection::vec((0usize..6, 0usize..6), 0..12)
        ) {
            let mut reaches = [[false; 6]; 6];
            let mut graph: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
            for (from, to) in &edges {
                reaches[*from][*to] = true;
                graph
                    .entry(name(&format!("w{from}")))
                    .or_default()
                    .push(name(&format!("w{to}")));
            }
            for middle in 0..6 {
                for from in 0..6 {
                    for to in 0..6 {
                        reaches[from][to] |= reaches[from][middle] && reaches[middle][to];
                    }
                }
            }
            let expected = (0..6).any(|n| reaches[n][n]);
            let found = cycle(&graph);
            prop_assert_eq!(found.is_some(), expected);
            if let Some(names) = found {
                prop_assert_eq!(names.first(), names.last());
                for pair in names.windows(2) {
                    prop_assert!(graph[&pair[0]].contains(&pair[1]));
                }
            }
        }
    }
}
