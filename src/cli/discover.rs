//! `discover`: who in the local network says that it is the broker of a fleet.

use super::{Failure, args::DiscoverArgs, output};
use crate::mdns::{self, Found};
use serde::Serialize;
use std::{process::ExitCode, time::Duration};

/// One answer, for people and programs.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Answer {
    name: String,
    address: String,
    port: u16,
    fleet: String,
    version: String,
    tls: bool,
}

impl From<Found> for Answer {
    fn from(found: Found) -> Answer {
        Answer {
            name: found.name,
            address: found.address.to_string(),
            port: found.port,
            fleet: found.fleet,
            version: found.version,
            tls: found.tls,
        }
    }
}

pub(super) fn run(args: &DiscoverArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let window = Duration::from_millis(args.timeout);
    let found = runtime
        .block_on(mdns::browse(window))
        .map_err(|error| Failure::new(format!("the local network cannot be asked: {error}")))?;
    let answers: Vec<Answer> = found.into_iter().map(Answer::from).collect();
    if answers.is_empty() && output::is_for_people(args.output.output) {
        eprintln!(
            "nobody answers; a controller does where its broker listens beyond loopback, in the \
             same network, and with `mdns` on"
        );
    }
    let head = ["NAME", "ADDRESS", "PORT", "FLEET", "VERSION"];
    output::list(args.output.output, &answers, &head, |a, wide| {
        vec![
            output::visible(&a.name),
            a.address.clone(),
            a.port.to_string(),
            match wide {
                true => output::visible(&a.fleet),
                false => output::short(&output::visible(&a.fleet), 16),
            },
            output::visible(&a.version),
        ]
    })?;
    Ok(ExitCode::SUCCESS)
}
