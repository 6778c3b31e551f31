//! `check`: what is wrong with this machine, and what to do.

use super::{
    Failure,
    args::{CheckArgs, Connection},
    client::Client,
    context::{self, Target},
    output,
};
use crate::{
    check::{self, Finding, Level},
    config::{self, AgentConfig, Role, Surroundings},
};
use std::{process::ExitCode, time::Duration};

const HEAD: [&str; 4] = ["CHECK", "LEVEL", "FOUND", "WHAT TO DO"];

/// How long a controller may take to say that it is ready.
const READY: Duration = Duration::from_secs(5);

/// Exit code 0 when the controller says that it is ready.
pub(super) fn ready(connection: &Connection) -> Result<ExitCode, Failure> {
    // No token is sent: one that was revoked says nothing of the controller's health.
    let connection = Connection {
        token: None,
        token_file: None,
        ..connection.clone()
    };
    let target = Target {
        token: None,
        ..context::address(&connection)?
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let url = target.url.clone();
    let mut client = Client::new(target);
    let answer = runtime.block_on(async { tokio::time::timeout(READY, client.ready()).await });
    answer
        .map_err(|_| Failure::new(format!("the controller at {url} does not answer in time")))??;
    Ok(ExitCode::SUCCESS)
}

/// Exit code 0: all is well; 1: an error; 3: a warning at worst.
pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let source = config::file_of(Role::Agent, args.config.as_deref())?;
    let around = Surroundings::of_this_process();
    let config = AgentConfig::resolve(source.as_ref(), &args.overrides, &around)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let findings = runtime.block_on(check::run(&config));
    output::list(args.output.output, &findings, &HEAD, |f, _| row(f))?;
    Ok(match check::worst(&findings) {
        Level::Ok => ExitCode::SUCCESS,
        Level::Warning => ExitCode::from(3),
        Level::Error => ExitCode::FAILURE,
    })
}

fn row(f: &Finding) -> Vec<String> {
    vec![
        f.check.clone(),
        f.level.to_string(),
        f.found.clone(),
        f.advice.clone().unwrap_or_else(|| "-".into()),
    ]
}
