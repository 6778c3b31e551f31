//! `node drain`: empties a node, and says what holds it up.

use super::{
    Failure,
    args::DrainArgs,
    client::Client,
    node::post,
    output,
    progress::{self, Progress, or_interrupted},
};
use crate::{
    fleet::{Blocker, DrainView, NodeView},
    http::DrainRequest,
    model::Name,
};
use hyper::Method;
use std::{
    collections::BTreeSet,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Between two looks at the node.
const LOOK: Duration = Duration::from_millis(250);
/// Whoever waits is told at least so often what for.
pub(super) const SAY_AGAIN: Duration = Duration::from_secs(10);

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
    let goes_on = format!(
        "the drain goes on; `fleetctl node show {node}` tells how far it is, `fleetctl node drain {node}` waits again"
    );
    or_interrupted(wait(client, &args), &goes_on).await
}

/// Until it is empty.
async fn wait(client: &mut Client, args: &DrainArgs) -> Result<ExitCode, Failure> {
    let node = &args.node;
    let deadline = Instant::now() + Duration::from_millis(args.timeout);
    let mut progress = Progress::begin();
    let mut last = String::new();
    let mut told = BTreeSet::new();
    let mut said = Instant::now();
    loop {
        let view: NodeView = client.get(&format!("/api/v1/nodes/{node}")).await?;
        let Some(drain) = view.drain else {
            return Err(Failure::new(format!(
                "somebody ended the drain of {node} before it was empty"
            )));
        };
        let text = standing(&drain);
        if progress.is_live() {
            progress.show(drawn(&drain, node.as_str()));
        }
        let mut lines = Vec::new();
        if told.is_empty() {
            lines.extend(stays(&drain.staying));
        }
        lines.extend(drain.blocked.iter().map(line));
        // What changes by itself is said only where it takes long.
        let again = said.elapsed() >= SAY_AGAIN && !progress.is_live();
        if again {
            lines.extend(drain.under_way.iter().map(line));
        }
        if (text != last || again) && !progress.is_live() {
            eprintln!("{node}: {text}");
            last = text;
            said = Instant::now();
        }
        for line in lines {
            if again || !told.contains(&line) {
                if !progress.is_live() {
                    eprintln!("{node}: {line}");
                }
                told.insert(line);
            }
        }
        if drain.left == 0 {
            progress.say(&format!(
                "{node} is empty and takes nothing new until `fleetctl node uncordon {node}`"
            ));
            return Ok(ExitCode::SUCCESS);
        }
        if Instant::now() >= deadline || is_hopeless(&drain) {
            return Err(Failure::new(late(node.as_str(), &drain)));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The block on a terminal.
fn drawn(drain: &DrainView, node: &str) -> Vec<String> {
    let total = drain.total.max(drain.left);
    let bar = progress::bar(total - drain.left, total);
    let mut lines = vec![format!("{node}  {bar} {}", standing(drain))];
    let waits = drain.blocked.iter().chain(&drain.under_way);
    lines.extend(waits.map(|b| format!("  {}", line(b))));
    lines.extend(stays(&drain.staying).map(|text| format!("  {text}")));
    lines
}

fn standing(drain: &DrainView) -> String {
    let gone = drain.total.saturating_sub(drain.left);
    let mut text = format!("{gone} of {} gone", drain.total.max(drain.left));
    if drain.moving > 0 {
        text.push_str(&format!(", {} on their way", drain.moving));
    }
    if !drain.blocked.is_empty() {
        text.push_str(&format!(", {} held up", drain.blocked.len()));
    }
    text
}

/// `web: it is not healthy on pi-2 yet (pulling)`.
fn line(blocker: &Blocker) -> String {
    format!("{}: {}", blocker.workload, output::visible(&blocker.reason))
}

/// Workloads of `on = "every"`: there is nowhere to go, and nothing to wait for.
fn stays(workloads: &[Name]) -> Option<String> {
    let (named, more) = workloads.split_at(workloads.len().min(8));
    let named: Vec<&str> = named.iter().map(Name::as_str).collect();
    let mut text = named.join(", ");
    if !more.is_empty() {
        text.push_str(&format!(" and {} more", more.len()));
    }
    let (stays, runs) = match workloads.len() {
        0 => return None,
        1 => ("stays", "it runs"),
        _ => ("stay", "they run"),
    };
    Some(format!("{text} {stays} on it: {runs} on every node"))
}

/// Nothing is on its way, and whatever is left waits for somebody to do something.
fn is_hopeless(drain: &DrainView) -> bool {
    drain.left > 0
        && drain.moving == 0
        && drain.blocked.len() == drain.left
        && drain.blocked.iter().all(|b| b.lasting)
}

/// What is left, and why.
fn late(node: &str, drain: &DrainView) -> String {
    let mut text = format!("{node} is not empty yet, {} left", drain.left);
    for waits in drain.blocked.iter().chain(&drain.under_way) {
        text.push_str(&format!("\n  {}", line(waits)));
    }
    text.push_str(match is_hopeless(drain) {
        true => "\nwaiting alone does not help; the drain goes on once that is changed; ",
        false => "\nit goes on; ",
    });
    text.push_str(&format!("`fleetctl node drain {node} --cancel` ends it"));
    text
}

/// For `node show`.
pub(super) fn summary(drain: &DrainView) -> String {
    let since = output::ago(drain.since_ms);
    let mut lines = vec![match drain.left {
        0 => format!("it is empty, for {since}"),
        _ => format!("{}, for {since}", standing(drain)),
    }];
    lines.extend(drain.blocked.iter().chain(&drain.under_way).map(line));
    lines.extend(stays(&drain.staying));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocker(workload: &str, reason: &str, lasting: bool) -> Blocker {
        Blocker {
            workload: workload.parse().unwrap(),
            reason: reason.into(),
            lasting,
        }
    }

    fn half_way() -> DrainView {
        DrainView {
            since_ms: 0,
            force: false,
            total: 3,
            left: 2,
            moving: 1,
            under_way: vec![blocker("web", "it goes to pi-2: it is pulling", false)],
            blocked: vec![blocker("db", "it has local state in volume data", true)],
            staying: vec!["probe".parse().unwrap()],
            done_ms: None,
        }
    }

    #[test]
    fn only_what_no_waiting_helps_ends_the_wait() {
        let mut drain = half_way();
        assert!(!is_hopeless(&drain), "something is on its way");
        drain.moving = 0;
        assert!(!is_hopeless(&drain), "another one waits for its turn");
        drain.left = 1;
        assert!(is_hopeless(&drain));
        assert!(late("pi-1", &drain).contains("waiting alone does not help"));
        drain.blocked[0].lasting = false;
        assert!(!is_hopeless(&drain), "it passes by itself");
        drain.left = 0;
        drain.blocked.clear();
        assert!(!is_hopeless(&drain), "it is empty");
    }

    #[test]
    fn what_stays_on_a_drained_node_is_named() {
        let drain = half_way();
        let said = stays(&drain.staying).unwrap();
        assert_eq!(said, "probe stays on it: it runs on every node");
        assert!(summary(&drain).contains(&said));
        assert_eq!(stays(&[]), None);
        let many: Vec<Name> = (0..10).map(|n| format!("w{n}").parse().unwrap()).collect();
        let said = stays(&many).unwrap();
        assert!(said.contains("w7 and 2 more stay on it"), "{said}");
    }

    #[test]
    fn whoever_waited_in_vain_is_told_what_holds_it_up() {
        let drain = half_way();
        assert_eq!(standing(&drain), "1 of 3 gone, 1 on their way, 1 held up");
        let said = late("pi-1", &drain);
        for word in [
            "pi-1",
            "2 left",
            "db: it has local state",
            "web: it goes to pi-2: it is pulling",
            "`fleetctl node drain pi-1 --cancel`",
        ] {
            assert!(said.contains(word), "{word} in {said}");
        }
    }
}
