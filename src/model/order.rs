//! Circles of things that wait for each other.

use super::Name;
use std::collections::{BTreeMap, BTreeSet};

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
