//! When a check is asked, and what its answers come to.

use super::*;
use HealthStatus::{Healthy, Starting, Unhealthy};
use proptest::prelude::*;

fn health() -> Health {
    Health {
        interval_ms: 10_000,
        timeout_ms: 1_000,
        retries: 3,
        ..Health::new(HealthCheck::Tcp("127.0.0.1:80".into()))
    }
}

fn asked(health: Health, up: Up) -> Monitor {
    Monitor::new(Source::Asked(health), up, 0)
}

/// Asks at the next deadline; when that was, and what the answer came to.
fn next(monitor: &mut Monitor, well: bool) -> (u64, Option<Change>) {
    let at = monitor.deadline().unwrap();
    if at > 0 {
        assert_eq!(monitor.task(at - 1, None), None);
    }
    assert!(matches!(monitor.task(at, None), Some(Task::Ask(..))));
    monitor.asked(at, at);
    let result = well.then_some(()).ok_or("refused".to_owned());
    (at, monitor.answered(at, result, at))
}

#[test]
fn while_it_starts_it_is_asked_often_and_then_by_its_interval() {
    let mut monitor = asked(
        Health {
            start_period_ms: 60_000,
            ..health()
        },
        Up::Started,
    );
    assert_eq!(next(&mut monitor, false), (500, None));
    assert_eq!(next(&mut monitor, false), (2_500, None));
    assert_eq!(next(&mut monitor, false), (4_500, None));
    assert_eq!(next(&mut monitor, false), (6_500, None));
    assert_eq!(next(&mut monitor, true), (8_500, Some(Change::Healthy)));
    assert_eq!(next(&mut monitor, true), (18_500, None));
    assert_eq!(monitor.status(), (Healthy, None));
}

#[test]
fn a_row_of_failures_makes_it_unhealthy_and_one_good_answer_healthy_again() {
    let mut monitor = asked(health(), Up::Started);
    next(&mut monitor, true);
    next(&mut monitor, false);
    next(&mut monitor, false);
    next(&mut monitor, true);
    next(&mut monitor, false);
    next(&mut monitor, false);
    assert_eq!(monitor.status().0, Healthy);
    let (_, change) = next(&mut monitor, false);
    assert_eq!(change, Some(Change::Unhealthy("refused".into())));
    assert_eq!(next(&mut monitor, false).1, None);
    assert_eq!(monitor.status(), (Unhealthy, Some("refused")));
    assert_eq!(next(&mut monitor, true).1, Some(Change::Healthy));
    assert_eq!(monitor.status(), (Healthy, None));
}

#[test]
fn what_was_found_is_asked_at_once_and_gets_a_whole_row() {
    let mut monitor = asked(health(), Up::Found { for_ms: 1 });
    assert_eq!(next(&mut monitor, false), (0, None));
    next(&mut monitor, false);
    let (_, change) = next(&mut monitor, false);
    assert!(matches!(change, Some(Change::Unhealthy(_))));
}

#[test]
fn an_answer_that_never_comes_is_a_failure_and_a_late_one_nothing() {
    let health = Health {
        retries: 1,
        ..health()
    };
    let mut monitor = asked(health, Up::Started);
    assert!(matches!(monitor.task(500, None), Some(Task::Ask(..))));
    monitor.asked(1, 500);
    assert_eq!(monitor.deadline(), Some(6_500));
    assert_eq!(monitor.task(6_499, None), None);
    let change = Change::Unhealthy("it did not answer".into());
    assert_eq!(monitor.task(6_500, None), Some(Task::Changed(change)));
    assert_eq!(monitor.answered(1, Ok(()), 6_600), None);
    assert_eq!(monitor.status().0, Unhealthy);
}

#[test]
fn other_times_keep_what_is_known_and_another_question_does_not() {
    let mut monitor = asked(health(), Up::Started);
    next(&mut monitor, true);
    let often = Health {
        interval_ms: 1_000,
        ..health()
    };
    monitor.set(Source::Asked(often), 1_000);
    assert_eq!(monitor.status().0, Healthy);
    assert_eq!(next(&mut monitor, true).0, 1_500);
    let other = Health::new(HealthCheck::Exec(vec!["true".into()]));
    monitor.set(Source::Asked(other), 2_000);
    assert_eq!(monitor.status().0, Starting);
    assert_eq!(next(&mut monitor, true).1, Some(Change::Healthy));
}

#[test]
fn without_a_check_it_is_healthy_once_it_has_been_up() {
    let uptime = || Source::Uptime { min_ms: 10_000 };
    let mut monitor = Monitor::new(uptime(), Up::Started, 5_000);
    assert_eq!(monitor.deadline(), Some(15_000));
    assert_eq!(monitor.task(14_999, None), None);
    let healthy = Some(Task::Changed(Change::Healthy));
    assert_eq!(monitor.task(15_000, None), healthy);
    assert_eq!(
        (monitor.task(15_000, None), monitor.deadline()),
        (None, None)
    );
    let mut found = Monitor::new(uptime(), Up::Found { for_ms: 60_000 }, 5_000);
    assert_eq!(found.task(5_000, None), healthy);
}

#[test]
fn an_engine_that_tells_is_believed_but_not_about_what_was_found_just_now() {
    let told = || Source::Told {
        on_unhealthy: OnUnhealthy::Restart,
        hold_ms: 30_000,
    };
    let says = |status| Some(ImageHealth::Told(status));
    let mut monitor = Monitor::new(told(), Up::Started, 0);
    assert_eq!(monitor.task(1, says(Starting)), None);
    let healthy = Some(Task::Changed(Change::Healthy));
    assert_eq!(monitor.task(2, says(Healthy)), healthy);
    assert_eq!(monitor.task(3, says(Healthy)), None);
    let task = monitor.task(4, says(Unhealthy));
    assert!(matches!(task, Some(Task::Changed(Change::Unhealthy(_)))));
    let mut found = Monitor::new(told(), Up::Found { for_ms: 1 }, 0);
    assert_eq!(found.task(29_999, says(Unhealthy)), None);
    assert_eq!(found.deadline(), Some(30_000));
    let task = found.task(30_000, says(Unhealthy));
    assert!(matches!(task, Some(Task::Changed(Change::Unhealthy(_)))));
}

#[test]
fn where_the_knowledge_comes_from() {
    let image = Health::new(HealthCheck::Image);
    let told = Some(ImageHealth::Told(Healthy));
    let ask = Some(ImageHealth::Ask { interval_ms: 7_000 });
    let written = health();
    let source = |written, image| Source::new(written, image, 1);
    assert_eq!(source(None, None), Source::Uptime { min_ms: 1 });
    assert_eq!(source(Some(&written), told), Source::Asked(health()));
    assert_eq!(source(Some(&image), ask), Source::Asked(image.clone()));
    assert_eq!(
        source(Some(&image), told).on_unhealthy(),
        OnUnhealthy::Restart
    );
    assert_eq!(source(None, told).on_unhealthy(), OnUnhealthy::Report);
    let Source::Asked(asked) = source(None, ask) else {
        panic!("it is not asked");
    };
    assert_eq!(asked.check, HealthCheck::Image);
    assert_eq!(
        (asked.interval_ms, asked.on_unhealthy),
        (7_000, OnUnhealthy::Report)
    );
}

proptest! {
    #[test]
    fn a_deadline_is_never_left_in_the_past(
        answers in prop::collection::vec(prop::option::of(any::<bool>()), 1..60),
        interval_ms in 0u64..50_000,
        retries in 0u32..5,
    ) {
        let settings = Health { interval_ms, retries, ..health() };
        let mut monitor = asked(settings, Up::Started);
        for (id, answer) in answers.into_iter().enumerate() {
            let at = monitor.deadline().unwrap();
            if let Some(Task::Ask(..)) = monitor.task(at, None) {
                monitor.asked(id as u64, at);
                if let Some(well) = answer {
                    let result = well.then_some(()).ok_or(String::new());
                    monitor.answered(id as u64, result, at);
                }
            }
            prop_assert!(monitor.deadline().unwrap() > at);
        }
    }
}
