//! `placement.requires`, and requirements of which no node can meet both.
//!
//! Two requirements on the same key are weighed against each other when the file is read: to wait
//! for ever for a node that cannot exist helps nobody. What depends on the fleet (no node has a
//! `gpu` today) is no mistake of the file, and is said by whoever places the instances.

use super::{shown, span::Flaw, table::Table};
use crate::model::{Operator, Requirement};
use std::collections::BTreeMap;

/// The key `requires` of a placement.
pub(crate) fn read(table: &mut Table<'_>) -> Vec<Requirement> {
    let mut by_key: BTreeMap<String, Vec<Requirement>> = BTreeMap::new();
    let read = table.parsed_list("requires", |text| {
        let requirement = parse(text)?;
        let same = by_key.entry(requirement.key.clone()).or_default();
        if let Some(other) = same.iter().find(|other| contradict(other, &requirement)) {
            let flaw = Flaw::new(format!("`{requirement}` contradicts `{other}`"));
            return Err(flaw.hint("no node can meet both; remove one of the two"));
        }
        same.push(requirement.clone());
        Ok(requirement)
    });
    read.unwrap_or_default()
}

/// One requirement.
pub(crate) fn parse(text: &str) -> Result<Requirement, Flaw> {
    let read = Requirement::try_from(text.to_owned()).map_err(|_| {
        Flaw::new(format!("`{}` is not a requirement", shown(text))).hint(
            "write \"key\", \"!key\", \"key=value\", \"key!=value\" or a comparison such as \
             \"memory>=1GiB\"",
        )
    })?;
    match read.by_type() {
        None => Ok(read),
        Some(true) => Err(Flaw::new(format!("`{read}` is true of every node"))
            .hint("leave it out, or write what is really needed")),
        Some(false) => Err(Flaw::new(format!("`{read}` is true of no node")).hint(
            "compare memory with a size, cpus with a number, kernel and agent with a version",
        )),
    }
}

/// No value, and no absence, can meet both; they are about the same key.
fn contradict(left: &Requirement, right: &Requirement) -> bool {
    use Operator::{AtLeast, AtMost, Has, HasNot, Is, IsNot, Less, More};
    match (left.operator, right.operator) {
        (HasNot, HasNot | IsNot) | (IsNot, HasNot) => false,
        (HasNot, _) | (_, HasNot) => true,
        (Is, _) => !right.holds(Some(&left.value)),
        (_, Is) => !left.holds(Some(&right.value)),
        (More | AtLeast, Less | AtMost) => apart(left, right),
        (Less | AtMost, More | AtLeast) => apart(right, left),
        (Has | IsNot | More | AtLeast | Less | AtMost, _) => false,
    }
}

/// Everything from `lower` on is beyond `upper`.
fn apart(lower: &Requirement, upper: &Requirement) -> bool {
    let strict = lower.operator == Operator::More || upper.operator == Operator::Less;
    let beyond = |from: &str, to: &str| {
        let against = |operator| {
            let bound = Requirement {
                key: upper.key.clone(),
                operator,
                value: to.to_owned(),
            };
            bound.holds(Some(from))
        };
        against(Operator::More) || (strict && against(Operator::AtLeast))
    };
    // `5.9` and `5.10` are numbers or versions, and which is only known from what a node has.
    let (from, to) = (lower.value.as_str(), upper.value.as_str());
    let version = |text: &str| format!("{text}.0");
    let is_decimal = |text: &str| text.contains('.') && !text.contains(char::is_alphabetic);
    let as_versions = !(is_decimal(from) && is_decimal(to)) || beyond(&version(from), &version(to));
    beyond(from, to) && as_versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_node_can_meet_is_found() {
        for (left, right, expected) in [
            ("gpu", "!gpu", true),
            ("gpu", "gpu=2", false),
            ("!gpu", "gpu=2", true),
            ("!gpu", "gpu!=2", false),
            ("!gpu", "gpu>=2", true),
            ("zone=a", "zone=b", true),
            ("zone=a", "zone=a", false),
            ("zone=a", "zone!=a", true),
            ("zone=a", "zone!=b", false),
            ("zone!=a", "zone!=b", false),
            ("cpus=4", "cpus>=4", false),
            ("cpus=4", "cpus>4", true),
            ("memory>2GiB", "memory<1GiB", true),
            ("memory>2GiB", "memory<3GiB", false),
            ("memory>=1GiB", "memory<=1024MiB", false),
            ("memory>1GiB", "memory<=1024MiB", true),
            ("memory>=1GiB", "memory<1024MiB", true),
            ("memory>=1GiB", "memory>=2GiB", false),
            ("memory<=1GiB", "memory!=1GiB", false),
            ("kernel>=5.9", "kernel<5.10", false),
            ("kernel>=6.1.2", "kernel<5.10", true),
            ("kernel>=6.1", "kernel<5.10", true),
            ("load>=0.5", "load<0.25", false),
        ] {
            let (one, other) = (parse(left).unwrap(), parse(right).unwrap());
            assert_eq!(contradict(&one, &other), expected, "{left} {right}");
            assert_eq!(contradict(&other, &one), expected, "{right} {left}");
        }
    }
}
