//! What can be done with what is selected. Capital letters, so that no slip of a finger does it,
//! and a question before each.

use super::{
    news::{Action, Kind},
    table::Row,
};
use crate::model::{CommandKind, CommandSpec, Name};

/// What a letter does with a row.
pub(super) fn of(kind: Kind, row: &Row, letter: char) -> Option<Action> {
    match (kind, &row.node, &row.workload) {
        (Kind::Nodes, Some(node), _) => of_node(node, row.cordoned, letter),
        (Kind::Workloads, _, Some(workload)) => of_workload(workload, letter),
        (Kind::Instances, Some(node), Some(workload)) => of_instance(node, workload, letter),
        _ => None,
    }
}

/// `C`: takes nothing new, or does again.
pub(super) fn of_node(node: &Name, cordoned: bool, letter: char) -> Option<Action> {
    if letter != 'C' {
        return None;
    }
    Some(match cordoned {
        false => action(
            format!("cordon {node}: it takes nothing new, what it has stays"),
            format!("{node} takes nothing new"),
            format!("/api/v1/nodes/{node}/cordon"),
        ),
        true => action(
            format!("uncordon {node}: it takes instances again"),
            format!("{node} takes instances again"),
            format!("/api/v1/nodes/{node}/uncordon"),
        ),
    })
}

/// `R` restarts, `X` stops, `B` begins again.
fn of_workload(workload: &Name, letter: char) -> Option<Action> {
    let (what, done, verb) = match letter {
        'R' => ("restart all instances of", "restarts", "restart"),
        'X' => ("stop all instances of", "is stopped", "stop"),
        'B' => ("start", "is started", "start"),
        _ => return None,
    };
    Some(action(
        format!("{what} {workload}"),
        format!("{workload} {done}"),
        format!("/api/v1/workloads/{workload}/{verb}"),
    ))
}

/// The same for one instance.
fn of_instance(node: &Name, workload: &Name, letter: char) -> Option<Action> {
    let (what, done, command) = match letter {
        'R' => ("restart", "was restarted", CommandKind::Restart),
        'X' => ("stop", "was stopped", CommandKind::Stop),
        'B' => ("start", "was started", CommandKind::Start),
        _ => return None,
    };
    let order = CommandSpec::new(command, Some(workload.clone()));
    Some(Action {
        body: serde_json::to_value(order).ok(),
        ..action(
            format!("{what} {workload} on {node}"),
            format!("{workload} on {node} {done}"),
            format!("/api/v1/nodes/{node}/command"),
        )
    })
}

fn action(what: String, done: String, path: String) -> Action {
    Action {
        what,
        done,
        path,
        body: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_asks_for_what_the_row_can_take() {
        let mut row = Row::new("web@pi".into(), Vec::new(), "");
        row.node = "pi".parse().ok();
        row.workload = "web".parse().ok();
        let one = of(Kind::Instances, &row, 'R').unwrap();
        assert_eq!(one.path, "/api/v1/nodes/pi/command");
        assert_eq!(one.body.unwrap()["workload"], "web");
        let all = of(Kind::Workloads, &row, 'X').unwrap();
        assert_eq!(all.path, "/api/v1/workloads/web/stop");
        assert_eq!(of(Kind::Nodes, &row, 'X'), None);
        row.cordoned = true;
        let open = of(Kind::Nodes, &row, 'C').unwrap();
        assert!(open.path.ends_with("/uncordon"));
    }
}
