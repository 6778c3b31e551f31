//! `instance`: moves one to another node.

use super::{
    Failure,
    args::{InstanceVerb, MigrateArgs},
    client::Client,
};
use crate::{
    fleet::InstanceView,
    http::{MigrateRequest, MigrateResponse},
    model::{InstanceState, Name},
};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

/// Between two looks at the instances.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn run(client: &mut Client, verb: InstanceVerb) -> Result<ExitCode, Failure> {
    let InstanceVerb::Migrate(args) = verb;
    let MigrateArgs {
        workload,
        from,
        to,
        force,
        wait,
        timeout,
    } = args;
    let request = MigrateRequest {
        workload: workload.clone(),
        from: from.clone(),
        to,
        force,
    };
    let answer: MigrateResponse = client.post("/api/v1/instances/migrate", &request).await?;
    let to = answer.to;
    eprintln!("{workload} goes from {from} to {to}");
    if !wait {
        return Ok(ExitCode::SUCCESS);
    }
    let deadline = Instant::now() + Duration::from_millis(timeout);
    loop {
        let mut all: Vec<InstanceView> = client.get("/api/v1/instances").await?;
        all.retain(|i| i.workload == workload);
        match standing(&all, &from, &to) {
            Standing::Done => {
                eprintln!("{workload} runs on {to}, and on {from} no more");
                return Ok(ExitCode::SUCCESS);
            }
            Standing::Undone => {
                return Err(Failure::new(format!(
                    "{workload} did not get to {to} and stays where it was; `fleetctl events` \
                     tells why"
                )));
            }
            Standing::UnderWay(_) if Instant::now() < deadline => {}
            Standing::UnderWay(how) => {
                return Err(Failure::new(format!(
                    "{workload} is not on {to} alone yet ({how}); the move goes on"
                )));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[derive(Debug, PartialEq)]
enum Standing {
    Done,
    Undone,
    /// How the new one stands.
    UnderWay(String),
}

/// By the instances of the workload that there are.
fn standing(instances: &[InstanceView], from: &Name, to: &Name) -> Standing {
    let on = |node: &Name| instances.iter().find(|i| i.node.as_ref() == Some(node));
    // What is on a node that cannot be heard, nobody can look at.
    let old = on(from).filter(|i| i.state != InstanceState::Unknown);
    match (old, on(to)) {
        (None, Some(new)) if new.state.is_well() && new.up_to_date => Standing::Done,
        (_, Some(new)) => Standing::UnderWay(format!("there it is {}", new.state)),
        (Some(_), None) => Standing::Undone,
        (None, None) => Standing::UnderWay("it is on neither".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(node: &str, state: InstanceState) -> InstanceView {
        let json = serde_json::json!({
            "workload": "web", "node": node, "state": state, "runtime": "process",
            "version": "1", "restarts": 0, "reason": "", "up_to_date": true, "warnings": [],
            "exit_code": null, "handle": null, "since_ms": 0, "progress": null,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_move_is_done_when_it_runs_there_and_only_there() {
        use InstanceState::{Pulling, Running, Unknown};
        let name = |text: &str| text.parse::<Name>().unwrap();
        let look = |all: &[InstanceView]| standing(all, &name("a"), &name("b"));
        let (old, new) = (instance("a", Running), instance("b", Running));
        let under_way = |s: Standing| matches!(s, Standing::UnderWay(_));
        assert!(under_way(look(&[old.clone(), instance("b", Pulling)])));
        assert!(under_way(look(&[old.clone(), new.clone()])));
        assert!(under_way(look(&[])));
        assert_eq!(look(std::slice::from_ref(&new)), Standing::Done);
        assert_eq!(look(&[instance("a", Unknown), new]), Standing::Done);
        assert_eq!(look(&[old]), Standing::Undone);
    }
}
