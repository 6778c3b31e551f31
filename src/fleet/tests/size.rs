//! Nothing is accepted that a node could not be told in one message.

use super::*;

#[test]
fn a_workload_that_no_message_could_carry_is_refused() {
    let mut fleet = three();
    let mut big = workload("big");
    big.env.insert("X".into(), "x".repeat(200_000));
    let before = fleet.clone();
    let change = Change::WorkloadsApplied {
        workloads: vec![big],
        removed: Vec::new(),
    };
    assert!(matches!(refuse(&mut fleet, change), Refusal::Invalid(m) if m.contains("too large")));
    assert_eq!(fleet, before);
}

#[test]
fn an_assignment_is_never_larger_than_a_message() {
    let mut fleet = three();
    let mut many = Vec::new();
    for n in 0..40 {
        let mut w = workload(&format!("w{n}"));
        w.placement.mode = crate::model::PlacementMode::Every;
        w.env.insert("X".into(), "x".repeat(100_000));
        many.push(w);
    }
    apply(
        &mut fleet,
        Change::WorkloadsApplied {
            workloads: many,
            removed: Vec::new(),
        },
    );
    let assignment = fleet.assignment("a").unwrap();
    assert!((5..10).contains(&assignment.instances.len()));
    let bytes = serde_json::to_vec(&assignment).unwrap().len();
    assert!(bytes < crate::contract::MAX_PAYLOAD, "{bytes}");
    let why = &fleet.workload("w9").unwrap().reasons[&name("a")];
    assert_eq!(why, "its assignment would become too large for one message");
}
