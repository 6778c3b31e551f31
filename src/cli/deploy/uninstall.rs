//! `deploy uninstall`: the agent goes from the board, and the node from the fleet.

use super::{
    Ssh, boards, nodes, places, quoted, said,
    show::{self, Outcome, Phase, Report, Show},
};
use crate::{
    cli::{Failure, apply::confirm, args::BoardsArgs, client::Client},
    deploy::{Board, Trouble},
    fleet::Approval,
    http::VersionView,
    model::Name,
};
use hyper::Method;
use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::time;

const UNINSTALL: &str = include_str!("uninstall.sh");

pub(super) async fn run(
    client: &mut Client,
    args: &BoardsArgs,
    purge: bool,
    yes: bool,
) -> Result<ExitCode, Failure> {
    let boards = boards(args)?;
    let names: Vec<&str> = boards.iter().take(10).map(|b| b.name.as_str()).collect();
    let more = match boards.len() {
        n if n > names.len() => format!(" and {} more", n - names.len()),
        _ => String::new(),
    };
    let what = match purge {
        true => "with their workloads and data",
        false => "(their workloads go on until the board is restarted)",
    };
    let question = format!(
        "take {}{more} out of the fleet and the agent off them, {what}?",
        names.join(", ")
    );
    if !yes && !confirm(&question)? {
        return Err(Failure::new("nothing was changed"));
    }
    let nodes = nodes(client).await?;
    let fleet_key = client
        .get::<VersionView>("/api/v1/version")
        .await?
        .fleet_key;
    let (ssh, limit) = (super::ssh(args), Duration::from_millis(args.timeout));
    let (ssh, nodes, client) = (&ssh, &nodes, &*client);
    let fleet_key = fleet_key.as_str();
    let show = Show::begin(&boards);
    let reports = show::of_all(
        &boards,
        usize::from(args.parallel),
        &show,
        async |board, tell| {
            tell(Phase::Removing);
            let began = Instant::now();
            let work = remove(ssh, client.another(), nodes, fleet_key, board, purge);
            let outcome = match time::timeout(limit, work).await {
                Ok(Ok(what)) => Outcome::Removed { what },
                Ok(Err(trouble)) => Outcome::Failed(trouble.to_string()),
                Err(_) => Outcome::Failed(Trouble::Slow(limit).to_string()),
            };
            Report::new(board, outcome, began.elapsed())
        },
    );
    let reports = reports.await;
    show::finish(show, &reports, args.output.output)
}

async fn remove(
    ssh: &Ssh,
    mut client: Client,
    nodes: &BTreeMap<Name, Approval>,
    fleet_key: &str,
    board: &Board,
    purge: bool,
) -> Result<String, Trouble> {
    let purged = if purge { "yes" } else { "no" };
    let script = format!(
        "{}FLEET_KEY={}\nPURGE={}\n{UNINSTALL}",
        places(board),
        quoted(fleet_key),
        quoted(purged)
    );
    let out = ssh
        .run(board, &script)
        .await
        .map_err(|trouble| trouble.of_board(board))?;
    if !out.lines().any(|l| l == "fleetctl-done") {
        return Err(Trouble::Broke("it did not say that it is done".into()));
    }
    let had = out.lines().any(|l| l == "fleetctl-had yes");
    let mut what = vec![
        match (had, purge) {
            (false, false) => "there was no agent on it",
            (false, true) => "there was no agent on it; workloads and data removed",
            (true, true) => "agent, workloads and data removed",
            (true, false) => "agent removed; its data and its workloads' processes stay (--purge)",
        }
        .to_owned(),
    ];
    what.extend(
        out.lines()
            .filter_map(|l| l.strip_prefix("fleetctl-note "))
            .map(str::to_owned),
    );
    if nodes.contains_key(&board.name) {
        let path = format!("/api/v1/nodes/{}", board.name);
        client
            .order(Method::DELETE, &path, None::<&()>)
            .await
            .map_err(said)?;
        what.push("node removed from the fleet".to_owned());
    }
    Ok(what.join("; "))
}
