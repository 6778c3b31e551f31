//! Completion: the shell asks this program, which asks the controller for live names.

use super::{Failure, args::Connection, client::Client, context, output};
use crate::{
    alert::AlertView,
    fleet::{NodeView, WorkloadView},
    http::RolloutView,
};
use clap_complete::CompletionCandidate;
use std::{process::ExitCode, time::Duration};

/// A person waits at the prompt: no longer than this.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn script(shell: String) -> Result<ExitCode, Failure> {
    let program = std::env::current_exe()?;
    let Some(script) = registration(&shell, &program.to_string_lossy())? else {
        let shells = clap_complete::env::Shells::builtins();
        let known: Vec<&str> = shells.names().collect();
        return Err(Failure::usage(format!(
            "there is no completion for `{shell}`: {}",
            known.join(", ")
        )));
    };
    output::print(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// The script for a shell, which asks the program of that name or path; none for an unknown shell.
pub(super) fn registration(shell: &str, program: &str) -> std::io::Result<Option<String>> {
    let shells = clap_complete::env::Shells::builtins();
    let Some(shell) = shells.completer(shell) else {
        return Ok(None);
    };
    let mut out = Vec::new();
    shell.write_registration("COMPLETE", "fleetctl", "fleetctl", program, &mut out)?;
    Ok(Some(String::from_utf8_lossy(&out).into_owned()))
}

pub(super) fn nodes() -> Vec<CompletionCandidate> {
    names(async |client: &mut Client| {
        let all: Vec<NodeView> = client.list("/api/v1/nodes").await?;
        Ok(all.into_iter().map(|n| n.name.to_string()).collect())
    })
}

pub(super) fn workloads() -> Vec<CompletionCandidate> {
    names(async |client: &mut Client| {
        let all: Vec<WorkloadView> = client.list("/api/v1/workloads").await?;
        Ok(all.into_iter().map(|w| w.name.to_string()).collect())
    })
}

/// Alerts that fire, or are about to.
pub(super) fn alerts() -> Vec<CompletionCandidate> {
    names(async |client: &mut Client| {
        let path = "/api/v1/alerts?state=firing,silenced,pending";
        let all: Vec<AlertView> = client.list(path).await?;
        Ok(all.into_iter().map(|a| a.id).collect())
    })
}

/// Workloads that are (or were last) rolled out.
pub(super) fn rollouts() -> Vec<CompletionCandidate> {
    names(async |client: &mut Client| {
        let all: Vec<RolloutView> = client.list("/api/v1/rollouts").await?;
        Ok(all.into_iter().map(|r| r.workload.to_string()).collect())
    })
}

fn names(
    ask: impl AsyncFn(&mut Client) -> Result<Vec<String>, Failure>,
) -> Vec<CompletionCandidate> {
    let variable = |name: &str| std::env::var(name).ok();
    let connection = Connection {
        url: variable("FLEETCTL_URL"),
        token: variable("FLEETCTL_TOKEN"),
        token_file: variable("FLEETCTL_TOKEN_FILE").map(Into::into),
        ca: variable("FLEETCTL_CA").map(Into::into),
        context: variable("FLEETCTL_CONTEXT"),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return Vec::new();
    };
    let found = runtime.block_on(async {
        let mut client = Client::new(context::resolve(&connection).ok()?);
        tokio::time::timeout(PATIENCE, ask(&mut client))
            .await
            .ok()?
            .ok()
    });
    found
        .unwrap_or_default()
        .into_iter()
        .map(CompletionCandidate::new)
        .collect()
}
