//! Orders that are remembered.

use super::{apply, enrolled, entry, name, refuse, three};
use crate::{
    fleet::{Change, Effect, Entry, Refusal},
    model::{CommandKind, CommandOutcome, CommandSpec, LogLine, LogStream},
};

fn issued(id: &str, node: &str, deadline_ms: u64) -> Change {
    Change::CommandIssued {
        id: id.to_owned(),
        node: name(node),
        order: CommandSpec::new(CommandKind::Stop, Some(name("web"))),
        deadline_ms,
    }
}

fn finished(id: &str, outcome: CommandOutcome) -> Change {
    Change::CommandFinished {
        id: id.to_owned(),
        outcome,
    }
}

#[test]
fn an_order_is_sent_once_and_has_one_result() {
    let mut fleet = three();
    let effects = apply(&mut fleet, issued("1", "a", 9_000));
    assert!(matches!(&effects[..], [Effect::SendCommand { id, .. }] if id == "1"));
    let again = refuse(&mut fleet, issued("1", "a", 9_000));
    assert_eq!(again.to_string(), "there is a command `1` already");
    assert_eq!(fleet.command("1").unwrap().outcome, None);
    apply(&mut fleet, finished("1", CommandOutcome::done()));
    assert!(fleet.command("1").unwrap().outcome.as_ref().unwrap().ok);
    let second = finished("1", CommandOutcome::failed("too late"));
    assert_eq!(refuse(&mut fleet, second), Refusal::Unchanged);
    let unknown = finished("2", CommandOutcome::done());
    assert_eq!(refuse(&mut fleet, unknown), Refusal::Unchanged);
}

#[test]
fn an_order_without_an_answer_ends_at_its_deadline_as_not_known() {
    let mut fleet = three();
    apply(&mut fleet, issued("1", "a", 9_000));
    apply(&mut fleet, issued("2", "b", 12_000));
    assert!(fleet.expired_commands(8_999).is_empty());
    let expired = fleet.expired_commands(9_000);
    assert_eq!(expired.len(), 1);
    apply(&mut fleet, expired[0].clone());
    let outcome = fleet.command("1").unwrap().outcome.clone().unwrap();
    assert!(!outcome.ok);
    let message = "a did not answer in time; whether it acted is not known";
    assert_eq!(outcome.message.as_deref(), Some(message));
    assert!(fleet.expired_commands(9_000).is_empty());
    assert_eq!(fleet.command("2").unwrap().outcome, None);
}

#[test]
fn only_members_are_commanded() {
    let mut fleet = three();
    apply(&mut fleet, enrolled("d", "key", false));
    for node in ["d", "nobody"] {
        let refusal = refuse(&mut fleet, issued("1", node, 9_000));
        assert_eq!(refusal.to_string(), format!("there is no node `{node}`"));
    }
}

#[test]
fn of_many_orders_the_oldest_are_forgotten() {
    let mut fleet = three();
    for n in 0..502_u64 {
        let change = issued(&format!("{:03}", 999 - n), "a", 9_000);
        let entry = Entry {
            at_ms: n,
            ..entry(change)
        };
        fleet.apply(&entry).unwrap();
    }
    assert_eq!(fleet.commands().count(), 500);
    assert!(fleet.command("999").is_none() && fleet.command("998").is_none());
    assert!(fleet.command("997").is_some());
}

#[test]
fn lines_of_an_answer_are_not_kept() {
    let mut fleet = three();
    apply(&mut fleet, issued("1", "a", 9_000));
    let mut outcome = CommandOutcome::done();
    outcome.lines.push(LogLine {
        time_ns: 1,
        stream: LogStream::Stdout,
        text: "hello".into(),
    });
    apply(&mut fleet, finished("1", outcome));
    let kept = fleet.command("1").unwrap().outcome.clone().unwrap();
    assert_eq!(kept, CommandOutcome::done());
}
