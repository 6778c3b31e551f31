//! `check`: what is wrong with this machine, and what to do.

use super::{Failure, args::CheckArgs, output};
use crate::{
    check::{self, Finding, Level},
    config::{AgentConfig, Surroundings},
    manifest::Source,
};
use std::process::ExitCode;

const HEAD: [&str; 4] = ["CHECK", "LEVEL", "FOUND", "WHAT TO DO"];

/// Exit code 0: all is well; 1: an error; 3: a warning at worst.
pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let source = args.config.as_deref().map(Source::read).transpose()?;
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
