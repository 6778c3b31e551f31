//! Tables and properties of the queue.

use super::*;
use crate::notify::Severity;
use proptest::prelude::*;

fn said(id: &str, occasion: Occasion) -> Notification {
    Notification {
        id: id.to_owned(),
        rule: "disk".to_owned(),
        severity: Severity::Warning,
        occasion,
        node: None,
        workload: None,
        message: "disk of pi-3 is 93 % full".to_owned(),
        since_ms: 1,
        at_ms: 2,
    }
}

fn later() -> Outcome {
    Outcome::Retry {
        error: "no".to_owned(),
        after_ms: None,
        perhaps: false,
    }
}

fn refused() -> Outcome {
    Outcome::Refused {
        error: "no".to_owned(),
    }
}

/// What waits, as `id:occasion`.
fn waiting(queue: &Queue) -> Vec<String> {
    let stored = queue.stored(0).waiting;
    let words = stored.iter().map(|item| {
        let n = &item.notification;
        format!("{}:{:?}", n.id, n.occasion).to_lowercase()
    });
    words.collect()
}

/// Brings everything that waits, from `now` on.
fn bring(queue: &mut Queue, now: u64) -> Vec<Notification> {
    let batch = queue.take(now);
    queue.landed(now, &Outcome::Delivered);
    batch
}

#[test]
fn what_comes_within_two_seconds_goes_together() {
    let mut queue = Queue::new(10, 1);
    assert_eq!(queue.next(0), Next::Idle);
    queue.push(100, said("a", Occasion::Firing));
    queue.push(1_900, said("b", Occasion::Firing));
    assert_eq!(queue.next(1_900), Next::At(2_100));
    assert_eq!(queue.take(2_099), []);
    assert_eq!(queue.next(2_100), Next::Send);
    assert_eq!(queue.take(2_100).len(), 2);
    queue.push(2_150, said("c", Occasion::Firing));
    assert_eq!(queue.next(9_999), Next::Idle, "one flight at a time");
    queue.landed(10_000, &Outcome::Delivered);
    assert_eq!(queue.next(10_000), Next::Send);
    assert_eq!(queue.counts().delivered, 2);
}

#[test]
fn where_each_goes_alone_nothing_waits_for_others() {
    let mut queue = Queue::new(1, 1);
    queue.push(0, said("a", Occasion::Firing));
    queue.push(0, said("b", Occasion::Firing));
    assert_eq!(bring(&mut queue, 0)[0].id, "a");
    assert_eq!(bring(&mut queue, 0)[0].id, "b");
}

#[test]
fn a_newer_one_of_the_same_alert_takes_the_place_of_the_older() {
    use Occasion::*;
    for (told, first, second, expected) in [
        (false, Firing, Resolved, None),
        (false, Repeated, Resolved, None),
        (false, Escalated, Resolved, None),
        (true, Firing, Resolved, Some("a:resolved")),
        (true, Repeated, Resolved, Some("a:resolved")),
        (false, Firing, Repeated, Some("a:firing")),
        (false, Escalated, Repeated, Some("a:escalated")),
        (false, Firing, Escalated, Some("a:escalated")),
        (true, Resolved, Firing, Some("a:firing")),
        (true, Resolved, Repeated, Some("a:repeated")),
    ] {
        let mut queue = Queue::new(10, 1);
        if told {
            queue.push(0, said("a", Firing));
            bring(&mut queue, 2_000);
        }
        queue.push(3_000, said("a", first));
        queue.push(3_001, said("a", second));
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(waiting(&queue), expected, "{told} {first:?} {second:?}");
    }
}

#[test]
fn the_end_of_what_is_in_flight_waits_for_its_fate() {
    let cases = [
        (Outcome::Delivered, vec!["a:resolved"]),
        (later(), vec![]),
        (refused(), vec![]),
        (
            Outcome::Retry {
                error: "lost".to_owned(),
                after_ms: None,
                perhaps: true,
            },
            vec!["a:resolved"],
        ),
    ];
    for (outcome, expected) in cases {
        let mut queue = Queue::new(10, 1);
        queue.push(0, said("a", Occasion::Firing));
        assert_eq!(queue.take(2_000).len(), 1);
        queue.push(2_001, said("a", Occasion::Resolved));
        queue.landed(2_002, &outcome);
        assert_eq!(waiting(&queue), expected, "{outcome:?}");
    }
}

#[test]
fn attempts_come_later_and_later_and_end_after_a_day() {
    let mut queue = Queue::new(10, 7);
    queue.push(0, said("a", Occasion::Firing));
    let mut now = 2_000;
    let mut delays = Vec::new();
    loop {
        assert_eq!(queue.next(now), Next::Send);
        queue.take(now);
        let landing = queue.landed(now, &later());
        let Some(delay) = landing.retry_in_ms else {
            assert_eq!(landing.gave_up, 1);
            break;
        };
        assert_eq!(queue.next(now), Next::At(now + delay));
        delays.push(delay);
        now += delay;
    }
    assert!(
        (GIVE_UP_MS..GIVE_UP_MS + LAST_RETRY_MS).contains(&now),
        "{now}"
    );
    for (index, delay) in delays.iter().enumerate() {
        let base = (FIRST_RETRY_MS << index.min(20)).min(LAST_RETRY_MS);
        assert!((base * 3 / 4..=base).contains(delay), "{index}: {delay}");
    }
    assert!(queue.is_empty());
    assert_eq!(queue.counts().failed, 1);
    let other = Queue::new(10, 8).delay_ms(None);
    assert_ne!(delays[0], other, "another seed, another jitter");
}

#[test]
fn what_the_receiver_wishes_is_honoured_up_to_a_quarter_of_an_hour() {
    for (wish, low, high) in [
        (0, 750, 1_000),
        (30_000, 30_000, 30_000),
        (86_400_000, LONGEST_WISH_MS, LONGEST_WISH_MS),
    ] {
        let mut queue = Queue::new(1, 3);
        queue.push(0, said("a", Occasion::Firing));
        queue.take(0);
        let outcome = Outcome::Retry {
            error: "busy".to_owned(),
            after_ms: Some(wish),
            perhaps: false,
        };
        let delay = queue.landed(0, &outcome).retry_in_ms.unwrap();
        assert!((low..=high).contains(&delay), "{wish}: {delay}");
    }
}

#[test]
fn a_thousand_wait_and_the_oldest_is_left_out() {
    let mut queue = Queue::new(10, 1);
    for n in 0..=MAX_WAITING {
        let dropped = queue.push(0, said(&format!("a{n}"), Occasion::Firing));
        assert_eq!(dropped.is_some(), n == MAX_WAITING);
    }
    assert_eq!(queue.len(), MAX_WAITING);
    assert_eq!(queue.counts().dropped, 1);
    assert_eq!(waiting(&queue)[0], "a1:firing");
}

#[test]
fn one_that_always_fails_does_not_stand_in_the_way_of_the_others() {
    let mut queue = Queue::new(1, 1);
    queue.push(0, said("bad", Occasion::Firing));
    queue.push(0, said("good", Occasion::Firing));
    assert_eq!(queue.take(0)[0].id, "bad");
    queue.landed(0, &later());
    assert_eq!(bring(&mut queue, 10_000)[0].id, "good");
}

#[test]
fn nothing_is_lost_by_a_restart() {
    let mut queue = Queue::new(2, 1);
    queue.push(0, said("told", Occasion::Firing));
    bring(&mut queue, 2_000);
    for id in ["a", "b", "c"] {
        queue.push(3_000, said(id, Occasion::Firing));
    }
    assert_eq!(queue.take(9_000).len(), 2);
    let text = serde_json::to_string(&queue.stored(9_000)).unwrap();
    let stored: Stored = serde_json::from_str(&text).unwrap();
    assert_eq!(stored.waiting[0].age_ms, 6_000);

    let mut again = Queue::new(2, 1);
    again.restore(50, stored);
    assert_eq!(waiting(&again), ["a:firing", "b:firing", "c:firing"]);
    again.push(60, said("told", Occasion::Repeated));
    again.push(60, said("told", Occasion::Resolved));
    assert_eq!(
        waiting(&again)[3],
        "told:resolved",
        "it knows what was told"
    );
    // The day goes on where it was.
    again.take(2_050);
    let landing = again.landed(50 + GIVE_UP_MS - 6_000, &later());
    assert_eq!(landing.gave_up, 2);
}

#[test]
fn an_old_form_of_what_is_stored_is_read() {
    let stored: Stored = serde_json::from_str("{}").unwrap();
    assert_eq!(stored, Stored::default());
}

#[derive(Debug, Clone)]
enum Step {
    Push(u8, Occasion),
    Take,
    Land(u8),
    Wait(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let occasion = prop_oneof![
        Just(Occasion::Firing),
        Just(Occasion::Repeated),
        Just(Occasion::Escalated),
        Just(Occasion::Resolved),
    ];
    prop_oneof![
        4 => (0..6_u8, occasion).prop_map(|(id, occasion)| Step::Push(id, occasion)),
        3 => Just(Step::Take),
        3 => (0..4_u8).prop_map(Step::Land),
        2 => (0..400_000_u64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_rules_hold(
        steps in proptest::collection::vec(step(), 0..200),
        batch in 1..5_usize,
        seed in any::<u64>(),
    ) {
        let mut queue = Queue::new(batch, seed);
        let (mut now, mut landed) = (0_u64, 0_u64);
        let mut flying: Vec<Notification> = Vec::new();
        for step in steps {
            match step {
                Step::Push(id, occasion) => {
                    queue.push(now, said(&id.to_string(), occasion));
                }
                Step::Take => {
                    let before = queue.next(now);
                    let batch_now = queue.take(now);
                    prop_assert_eq!(before == Next::Send, !batch_now.is_empty());
                    prop_assert!(batch_now.len() <= batch);
                    if !batch_now.is_empty() {
                        prop_assert!(flying.is_empty(), "two flights at once");
                        flying = batch_now;
                    }
                }
                Step::Land(how) if !flying.is_empty() => {
                    let outcome = match how {
                        0 => Outcome::Delivered,
                        1 => refused(),
                        2 => later(),
                        _ => Outcome::Retry {
                            error: String::new(),
                            after_ms: Some(u64::MAX),
                            perhaps: true,
                        },
                    };
                    let landing = queue.landed(now, &outcome);
                    if let Some(delay) = landing.retry_in_ms {
                        prop_assert!(delay >= FIRST_RETRY_MS * 3 / 4);
                        prop_assert!(delay <= LONGEST_WISH_MS);
                        prop_assert_ne!(queue.next(now), Next::Send);
                    }
                    if outcome == Outcome::Delivered {
                        landed += flying.len() as u64;
                    }
                    flying.clear();
                }
                Step::Land(_) => {}
                Step::Wait(ms) => now += ms,
                Step::Restart => {
                    let stored = queue.stored(now);
                    let mut again = Queue::new(batch, seed);
                    again.restore(now, stored);
                    // The same alert may have been in flight and waiting: the newer one counts.
                    prop_assert!(again.len() <= queue.len());
                    queue = again;
                    landed = 0;
                    flying.clear();
                }
            }
            let stored = queue.stored(now);
            let ahead: Vec<&String> = stored.waiting[flying.len()..]
                .iter()
                .map(|item| &item.notification.id)
                .collect();
            let mut once = ahead.clone();
            once.sort();
            once.dedup();
            prop_assert_eq!(once.len(), ahead.len(), "an alert waits twice");
            prop_assert!(queue.len() <= MAX_WAITING);
            prop_assert_eq!(queue.counts().delivered, landed);
        }
        // In the end, everything that waits can be brought.
        if !flying.is_empty() {
            queue.landed(now, &Outcome::Delivered);
        }
        let mut rounds = 0;
        while !queue.is_empty() {
            now += LONGEST_WISH_MS;
            prop_assert!(!bring(&mut queue, now).is_empty());
            rounds += 1;
            prop_assert!(rounds <= MAX_WAITING);
        }
    }
}
