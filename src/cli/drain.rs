//! `node drain`: empties a node, and says what holds it up.

use super::{Failure, args::DrainArgs, client::Client, node::post, output};
use crate::{
    fleet::{DrainView, NodeView},
    http::DrainRequest,
};
use hyper::Method;
use std::{
    collections::BTreeSet,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Between two looks at the node.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn run(client: &mut Client, args: DrainArgs) -> Result<ExitCode, Failure> {
    let DrainArgs { node, force, .. } = &args;
    let path = format!("/api/v1/nodes/{node}/drain");
    if args.cancel {
        client.order(Method::DELETE, &path, None::<&()>).await?;
        post(client, &format!("/api/v1/nodes/{node}/uncordon")).await?;
        eprintln!("{node} is drained no more and takes instances again");
        return Ok(ExitCode::SUCCESS);
    }
    let request = DrainRequest { force: *force };
    client.order(Method::POST, &path, Some(&request)).await?;
    if args.no_wait {
        eprintln!("{node} is being emptied; `fleetctl node show {node}` tells how far it is");
        return Ok(ExitCode::SUCCESS);
    }
    let deadline = Instant::now() + Duration::from_millis(args.timeout);
    let mut last = String::new();
    let mut told = BTreeSet::new();
    loop {
        let view: NodeView = client.get(&format!("/api/v1/nodes/{node}")).await?;
        let Some(drain) = view.drain else {
            return Err(Failure::new(format!(
                "somebody ended the drain of {node} before it was empty"
            )));
        };
        let text = progress(&drain);
        if text != last {
            eprintln!("{node}: {text}");
            last = text;
        }
        for blocker in &drain.blocked {
            let text = format!("{}: {}", blocker.workload, output::visible(&blocker.reason));
            if !told.contains(&text) {
                eprintln!("{node}: {text}");
                told.insert(text);
            }
        }
        if drain.left == 0 {
            eprintln!(
                "{node} is empty and takes nothing new until `fleetctl node uncordon {node}`"
            );
            return Ok(ExitCode::SUCCESS);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(late(node.as_str(), &drain)));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn progress(drain: &DrainView) -> String {
    let gone = drain.total.saturating_sub(drain.left);
    let mut text = format!("{gone} of {} moved", drain.total.max(drain.left));
    if drain.moving > 0 {
        text.push_str(&format!(", {} on their way", drain.moving));
    }
    if !drain.blocked.is_empty() {
        text.push_str(&format!(", {} held up", drain.blocked.len()));
    }
    text
}

/// What is left, and why.
fn late(node: &str, drain: &DrainView) -> String {
    let mut text = format!("{node} is not empty yet, {} left", drain.left);
    for blocker in &drain.blocked {
        let (workload, reason) = (&blocker.workload, output::visible(&blocker.reason));
        text.push_str(&format!("\n  {workload}: {reason}"));
    }
    text.push_str("\nit goes on; `fleetctl node drain --cancel` ends it");
    text
}

/// For `node show`.
pub(super) fn summary(drain: &DrainView) -> String {
    if drain.left == 0 {
        return format!("it is empty, for {}", output::ago(drain.since_ms));
    }
    let mut lines = vec![format!(
        "{}, for {}",
        progress(drain),
        output::ago(drain.since_ms)
    )];
    let blocked = drain.blocked.iter();
    lines.extend(blocked.map(|b| format!("{}: {}", b.workload, b.reason)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Blocker;

    #[test]
    fn whoever_waited_in_vain_is_told_what_holds_it_up() {
        let drain = DrainView {
            since_ms: 0,
            force: false,
            total: 3,
            left: 2,
            moving: 1,
            blocked: vec![Blocker {
                workload: "db".parse().unwrap(),
                reason: "it has local state in volume data".into(),
            }],
            done_ms: None,
        };
        assert_eq!(progress(&drain), "1 of 3 moved, 1 on their way, 1 held up");
        let said = late("pi-1", &drain);
        for word in ["pi-1", "2 left", "db: it has local state", "--cancel"] {
            assert!(said.contains(word), "{word} in {said}");
        }
    }
}
