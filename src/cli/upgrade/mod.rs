//! `upgrade`: releases of fleetctl brought to the controller, and from there to the agents.
//!
//! | file | about |
//! |---|---|
//! | [`release_file`] | what a file holds: a binary, a tarball; its hash and its sums |
//! | [`push`] | bringing them to the controller |
//! | [`show`] | tables and the plan |

mod push;
pub(super) mod release_file;
mod show;

use super::{
    Failure,
    apply::{confirm, settle},
    args::{Format, RollbackArgs, UpgradeArgs, UpgradeToArgs, UpgradeVerb},
    client::Client,
    follow::{self, Before},
    output,
    progress::or_interrupted,
    ps, rollout,
};
use crate::{
    fleet::UpgradeNode,
    http::{UpgradeRequest, UpgradeResponse, UpgradeSteps, UpgradeView},
    model::{AGENT_WORKLOAD, Binary, Name},
    support::release::Release,
};
use hyper::Method;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
};

pub(super) async fn run(client: &mut Client, args: UpgradeArgs) -> Result<ExitCode, Failure> {
    match args.verb {
        None => upgrade(client, args.to).await,
        Some(UpgradeVerb::Push { files }) => {
            push::push(client, &files).await?;
            Ok(ExitCode::SUCCESS)
        }
        Some(UpgradeVerb::Ls { output }) => {
            let view: UpgradeView = client.get("/api/v1/upgrade").await?;
            show::releases(output.output, &view)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(UpgradeVerb::Rm { version, .. }) => remove(client, &version).await,
        Some(UpgradeVerb::Status { watch, output }) => {
            let look = async |client: &mut Client| {
                let view: UpgradeView = client.get("/api/v1/upgrade").await?;
                let nodes: Vec<UpgradeNode> = client.list("/api/v1/upgrade/nodes").await?;
                show::status(output.output, &view, &nodes)
            };
            ps::watch(watch, look, client).await?;
            Ok(ExitCode::SUCCESS)
        }
        Some(UpgradeVerb::Rollback {
            to,
            wait,
            timeout,
            unasked,
        }) => {
            let args = RollbackArgs {
                workload: agent()?,
                to,
                wait,
                timeout,
                unasked,
            };
            rollout::rollback(client, args).await
        }
    }
}

fn agent() -> Result<Name, Failure> {
    Ok(AGENT_WORKLOAD.parse()?)
}

async fn remove(client: &mut Client, version: &str) -> Result<ExitCode, Failure> {
    let view: UpgradeView = client.get("/api/v1/upgrade").await?;
    let Some(binaries) = view.releases.get(version) else {
        let known: Vec<&str> = view.releases.keys().map(String::as_str).collect();
        let others = match known.is_empty() {
            true => "nor of any other release".to_owned(),
            false => format!("there are: {}", known.join(", ")),
        };
        return Err(Failure::new(format!(
            "there is no binary of fleetctl {version} here; {others}"
        )));
    };
    for arch in binaries.keys() {
        let id = form_urlencoded(&format!("fleetctl/{version}/{arch}"));
        let path = format!("/api/v1/artifacts?id={id}");
        client.order(Method::DELETE, &path, None::<&()>).await?;
        eprintln!("fleetctl {version} for {arch} removed");
    }
    Ok(ExitCode::SUCCESS)
}

/// A text as the value of a query key.
fn form_urlencoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let encode = |b: u8| match plain(b) {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    };
    text.bytes().map(encode).collect()
}

async fn upgrade(client: &mut Client, args: UpgradeToArgs) -> Result<ExitCode, Failure> {
    let meant = meant(client, &args).await?;
    let format = args.output.output;
    let mut request = UpgradeRequest {
        version: meant.version,
        update: UpgradeSteps {
            canary: args.canary,
            auto_promote: args.hold.then_some(false),
            max_parallel: args.max_parallel,
            min_healthy_time_ms: args.min_healthy_time,
            healthy_deadline_ms: args.healthy_deadline,
            progress_deadline_ms: args.progress_deadline,
            auto_rollback: args.no_rollback.then_some(false),
            sequence: args.sequence,
            budget: None,
            windows: args.window,
        },
        requires: args.labels,
        nodes: args.nodes,
        dry_run: true,
        binaries: meant.unpushed,
        plan: None,
    };
    if !args.yes || args.plan {
        let planned: UpgradeResponse = client.post("/api/v1/upgrade", &request).await?;
        show::plan(format, &planned)?;
        if planned.plan.is_empty() || args.plan {
            return Ok(ExitCode::SUCCESS);
        }
        if !confirm("Upgrade these?")? {
            eprintln!("nothing was upgraded");
            return Ok(ExitCode::FAILURE);
        }
        request.plan = Some(planned.plan);
    }
    request.dry_run = false;
    let before = match args.wait {
        true => Some(Before::look(client).await?),
        false => None,
    };
    let begun: UpgradeResponse = client.post("/api/v1/upgrade", &request).await?;
    if args.yes && !(args.wait && format == Format::Json) {
        show::plan(format, &begun)?;
    }
    let Some(before) = before else {
        follow::tell_begun(client, &begun.plan).await;
        return Ok(ExitCode::SUCCESS);
    };
    let waits = async {
        let settled = settle(client, &begun.plan, &before, args.timeout, format).await?;
        Ok(match settled {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    };
    let goes_on = "the upgrade goes on; `fleetctl upgrade status -w` watches it";
    or_interrupted(waits, goes_on).await
}

/// The release that is meant.
#[derive(Default)]
struct Meant {
    version: String,
    /// Its programs by architecture, where they are only planned with.
    unpushed: BTreeMap<String, Binary>,
}

impl Meant {
    fn pushed(version: &str) -> Meant {
        Meant {
            version: version.to_owned(),
            ..Meant::default()
        }
    }
}

/// The release that is meant; files are pushed first, unless all is only planned.
async fn meant(client: &mut Client, args: &UpgradeToArgs) -> Result<Meant, Failure> {
    if let Some(version) = &args.to {
        return Ok(Meant::pushed(version));
    }
    let files: Vec<PathBuf> = args
        .what
        .iter()
        .filter(|text| is_file(text))
        .map(PathBuf::from)
        .collect();
    match (args.what.as_slice(), files.len()) {
        ([], _) => Err(Failure::usage(
            "to which release? `fleetctl upgrade ls` lists those whose binaries are here; \
             `fleetctl upgrade FILE` pushes one first",
        )),
        ([version], 0) => Ok(Meant::pushed(version)),
        (all, count) if count == all.len() => {
            if args.plan {
                let found = push::would_push(&files)?;
                let version = only(found.iter().map(|(release, _)| release))?;
                let unpushed = found.into_iter().map(|(r, binary)| (r.arch, binary));
                return Ok(Meant {
                    version,
                    unpushed: unpushed.collect(),
                });
            }
            let pushed = push::push(client, &files).await?;
            Ok(Meant::pushed(&only(pushed.iter())?))
        }
        (all, _) => {
            let missing = all.iter().find(|text| !is_file(text));
            Err(Failure::usage(format!(
                "one release, or files of one; `{}` is no file",
                output::visible(missing.map_or("", String::as_str))
            )))
        }
    }
}

/// The version that all of these have.
fn only<'a>(releases: impl Iterator<Item = &'a Release>) -> Result<String, Failure> {
    let versions: BTreeSet<&String> = releases.map(|r| &r.version).collect();
    let mut versions = versions.into_iter();
    match (versions.next(), versions.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => Err(Failure::usage(
            "these are files of several releases: bring them to the controller by `fleetctl \
             upgrade push`, then say which one",
        )),
    }
}

/// A version may look like a file that happens to be here: only what is one by its form is.
fn is_file(text: &str) -> bool {
    let named = text.contains('/') || text.ends_with(".tar.gz") || text.starts_with("fleetctl");
    named && Path::new(text).exists()
}
