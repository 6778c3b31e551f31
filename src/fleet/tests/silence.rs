//! Silences: taken, bounded, and forgotten when they are over.

use super::*;

fn silenced(alert: &str, until_ms: u64) -> Change {
    Change::AlertSilenced {
        alert: alert.to_owned(),
        until_ms,
        comment: "it is being mended".into(),
    }
}

fn at(at_ms: u64, change: Change) -> Entry {
    Entry {
        at_ms,
        by: None,
        change,
    }
}

#[test]
fn a_silence_is_kept_until_it_is_taken_back() {
    let mut fleet = Fleet::new();
    apply(&mut fleet, silenced("node=pi rule=disk", 5_000));
    let kept = &fleet.silences()["rule=disk,node=pi"];
    assert_eq!((kept.until_ms, kept.since_ms), (5_000, 1_000));
    let stored = serde_json::to_string(&fleet).unwrap();
    assert_eq!(serde_json::from_str::<Fleet>(&stored).unwrap(), fleet);
    let back = Change::AlertUnsilenced {
        alert: "rule=disk,node=pi".into(),
    };
    apply(&mut fleet, back.clone());
    assert!(fleet.silences().is_empty());
    assert!(matches!(refuse(&mut fleet, back), Refusal::NotFound { .. }));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut fleet = Fleet::new();
    for (alert, until_ms) in [("disk.pi", 1_000), ("disk pi", 5_000), ("zone=a", 5_000)] {
        let refusal = refuse(&mut fleet, silenced(alert, until_ms));
        assert!(matches!(refusal, Refusal::Invalid(_)), "{alert}: {refusal}");
    }
    let long = Change::AlertSilenced {
        alert: "disk.pi".into(),
        until_ms: 5_000,
        comment: "x".repeat(501),
    };
    assert!(matches!(refuse(&mut fleet, long), Refusal::Invalid(_)));
}

#[test]
fn there_are_so_many_silences_and_those_that_are_over_make_room() {
    let mut fleet = Fleet::new();
    for n in 0..1_000 {
        apply(&mut fleet, silenced(&format!("disk.n{n}"), 5_000 + n));
    }
    let more = silenced("disk.more", 90_000);
    assert!(matches!(
        refuse(&mut fleet, more.clone()),
        Refusal::Conflict(_)
    ));
    apply(&mut fleet, silenced("disk.n7", 80_000));
    fleet.apply(&at(5_500, more)).unwrap();
    assert_eq!(fleet.silences().len(), 501);
    let over = Change::AlertUnsilenced {
        alert: "disk.n999".into(),
    };
    assert!(fleet.apply(&at(70_000, over)).is_err());
}
