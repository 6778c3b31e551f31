//! `with` and `apart` that contradict each other are refused when they are applied.

use super::*;

fn bound(text: &str, with: &[&str], apart: &[&str]) -> Workload {
    let mut w = workload(text);
    w.placement.with = with.iter().map(|n| name(n)).collect();
    w.placement.apart = apart.iter().map(|n| name(n)).collect();
    w
}

fn said(refusal: Refusal) -> String {
    assert!(matches!(refusal, Refusal::Invalid(_)), "{refusal:?}");
    refusal.to_string()
}

#[test]
fn who_wants_to_be_with_one_that_shuns_it_is_refused_whichever_comes_first() {
    let (a, b) = (bound("a", &["b"], &[]), bound("b", &[], &["a"]));
    let expected = "a could never run: it must be on the same node as b, and b must not be on the \
                    same node as a; change `with` of a or `apart` of b";
    for together in [[a.clone(), b.clone()], [b.clone(), a.clone()]] {
        assert_eq!(said(refuse(&mut three(), applied(&together))), expected);
    }
    for (first, then) in [(&a, &b), (&b, &a)] {
        let mut fleet = three();
        apply(&mut fleet, applied(std::slice::from_ref(first)));
        assert_eq!(
            said(refuse(&mut fleet, applied(std::slice::from_ref(then)))),
            expected
        );
    }
}

#[test]
fn a_contradiction_is_found_over_others_and_what_is_none_is_taken() {
    // b wants c, and so a wants both.
    let chain = [
        bound("a", &["b"], &[]),
        bound("b", &["c"], &[]),
        bound("c", &[], &["a"]),
    ];
    let text = said(refuse(&mut three(), applied(&chain)));
    assert!(text.starts_with("a could never run: it must be on the same node as c, and c"));
    let two = [
        bound("a", &["b", "c"], &[]),
        bound("b", &[], &["c"]),
        workload("c"),
    ];
    let text = said(refuse(&mut three(), applied(&two)));
    assert!(text.contains("as b and c, and b must not be on the same node as c"));

    let mut fleet = three();
    let fine = [
        bound("a", &["b"], &["d"]),
        bound("b", &["a"], &[]),
        bound("c", &[], &["a"]),
        workload("d"),
    ];
    apply(&mut fleet, applied(&fine));
    assert_eq!(placed(&fleet, "a"), placed(&fleet, "b"));
    // What goes at the same time contradicts nothing.
    apply(
        &mut fleet,
        Change::WorkloadsApplied {
            workloads: vec![bound("d", &["c"], &[])],
            removed: vec![name("a"), name("b")],
        },
    );
}
