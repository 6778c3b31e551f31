//! `run`: one workload, once, in the foreground, without an agent.
//!
//! It is launched by the same runtime that an agent would use, under the name of a node that
//! nobody else has, so that an agent on the same machine neither sees nor touches it. What it
//! writes is passed on, its exit code becomes ours, and whatever happens (its end, Ctrl-C, the
//! timeout, a reader that goes away) nothing of it is left behind.
//!
//! | end | exit code |
//! |---|---|
//! | it ended | its own, 128 + n for signal n |
//! | Ctrl-C, SIGTERM, SIGHUP | 130, 143, 129 |
//! | the timeout | 124 |

mod once;
mod place;

use super::{Failure, args::RunArgs, files};
use crate::{
    agent::Here,
    config::{AgentConfig, AgentOverrides, CommonOverrides, Surroundings},
    manifest::Source,
    model::{Run, RunMode, RuntimeKind, Workload, template::of_environment},
    runtime::{
        Launch, RegistryCredentials, Runtime, docker::Docker, podman::Podman, process::Processes,
    },
};
use once::Once;
use place::Place;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use tokio::sync::Semaphore;

pub(super) fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    let config = configuration(args)?;
    let written = pick(args, &config)?;
    let ignored = ignored(&written);
    if !ignored.is_empty() {
        eprintln!(
            "{} runs once, here; this does not apply: {}",
            written.name,
            ignored.join(", ")
        );
    }
    let timeout_ms = args.timeout.or(written.timeout_ms);
    let workload = alone(written, &config)?;
    let place = Place::make(&config.common.data_dir)?;
    let once = Once {
        runtime: engine(&config, &workload, &place.dir)?,
        launch: Launch {
            node: place.node.clone(),
            spec_hash: workload.spec_hash(),
            workload: Arc::new(workload),
            trace: None,
        },
        timeout_ms,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let code = runtime.block_on(once.run())?;
    drop(place);
    Ok(ExitCode::from(code))
}

fn configuration(args: &RunArgs) -> Result<AgentConfig, Failure> {
    let source = args.config.as_deref().map(Source::read).transpose()?;
    let given = AgentOverrides {
        common: CommonOverrides {
            data_dir: args.data_dir.clone(),
            ..CommonOverrides::default()
        },
        label: Some(args.labels.clone()).filter(|labels| !labels.is_empty()),
        docker_socket: args.docker_socket.clone(),
        podman_socket: args.podman_socket.clone(),
        registry_config: args.registry_config.clone(),
        ..AgentOverrides::default()
    };
    let around = Surroundings::of_this_process();
    Ok(AgentConfig::resolve(source.as_ref(), &given, &around)?)
}

/// The workload of that name in the manifests.
fn pick(args: &RunArgs, config: &AgentConfig) -> Result<Workload, Failure> {
    let dir = args.dir.clone().or_else(|| config.standalone.clone());
    let paths: Vec<PathBuf> = match dir {
        _ if !args.files.is_empty() => args.files.clone(),
        Some(dir) => vec![dir],
        None => {
            return Err(Failure::usage(
                "say where the workload is written: -f FILE or --dir DIR",
            ));
        }
    };
    let manifests = files::read(&paths, &args.vars)?.manifests;
    let names: Vec<String> = manifests
        .iter()
        .map(|m| m.workload.name.to_string())
        .collect();
    let found = manifests
        .into_iter()
        .find(|m| m.workload.name == args.workload);
    found.map(|m| m.workload).ok_or_else(|| {
        Failure::new(format!(
            "there is no workload `{}` in them; there are: {}",
            args.workload,
            names.join(", ")
        ))
    })
}

/// What is written but means nothing for a single run.
fn ignored(workload: &Workload) -> Vec<&'static str> {
    let plain = Workload::new(workload.name.clone(), workload.run.clone());
    [
        ("schedule", matches!(workload.mode, RunMode::Schedule(_))),
        ("max_runs", matches!(workload.mode, RunMode::NTimes { .. })),
        ("restart policy", workload.restart != plain.restart),
        ("health check", workload.health.is_some()),
        ("depends_on", !workload.depends_on.is_empty()),
        ("before_stop", workload.before_stop.is_some()),
        ("placement", workload.placement != plain.placement),
        ("adopt", workload.adopt.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, is_set)| is_set.then_some(name))
    .collect()
}

/// The workload as it runs here, with everything filled in and nothing that only an agent does.
fn alone(workload: Workload, config: &AgentConfig) -> Result<Workload, Failure> {
    let name = workload.name.clone();
    let mut workload = Here::of(config)
        .fill(&workload)
        .map_err(|why| Failure::new(format!("{name} cannot run here: {why}")))?;
    if workload.has_templates() {
        let environment = |key: &str| std::env::var(key).ok();
        workload = workload
            .fill(&of_environment(&environment))
            .map_err(|unknown| {
                let unknown: Vec<String> = unknown.iter().map(|n| format!("`{n}`")).collect();
                Failure::new(format!(
                    "{name} cannot run here: {} is not set in the environment",
                    unknown.join(", ")
                ))
            })?;
    }
    workload.mode = RunMode::Forever;
    workload.health = None;
    workload.depends_on.clear();
    workload.before_stop = None;
    // It would take a container away from whoever runs it.
    workload.adopt = None;
    // The runtime would tell it the name that only this run has.
    let node = config.name.to_string();
    workload
        .env
        .entry("FLEETCTL_NODE".to_owned())
        .or_insert(node);
    Ok(workload)
}

/// The runtime that runs it.
fn engine(
    config: &AgentConfig,
    workload: &Workload,
    place: &Path,
) -> Result<Arc<dyn Runtime>, Failure> {
    let Run::Container { engine, .. } = &workload.run else {
        let shim = std::env::current_exe()?;
        return Ok(Arc::new(Processes::new(place.join("instances"), shim)));
    };
    let there = |socket: &Option<PathBuf>| socket.clone().filter(|socket| socket.exists());
    let docker = there(&config.docker_socket).filter(|_| *engine != Some(RuntimeKind::Podman));
    let podman = there(&config.podman_socket).filter(|_| *engine != Some(RuntimeKind::Docker));
    let credentials = Arc::new(RegistryCredentials::load(
        config.registry_config.as_deref(),
    )?);
    let pulls = Arc::new(Semaphore::new(1));
    match (docker, podman) {
        (Some(socket), _) => {
            let place = place.join("docker");
            Ok(Arc::new(Docker::new(socket, credentials, pulls, place)))
        }
        (None, Some(socket)) => {
            let place = place.join("podman");
            Ok(Arc::new(Podman::new(socket, credentials, pulls, place)))
        }
        (None, None) => {
            let wanted = engine.map_or("Docker or Podman".to_owned(), |kind| kind.to_string());
            Err(Failure::new(format!(
                "{} is a container, and there is no socket of {wanted} here; name it with \
                 --docker-socket or --podman-socket",
                workload.name
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DependsOn, Schedule};

    fn workload() -> Workload {
        let run = Run::Process {
            command: vec!["/bin/true".into()],
            user: None,
            working_dir: None,
        };
        Workload::new("once".parse().unwrap(), run)
    }

    #[test]
    fn what_means_nothing_for_one_run_is_named() {
        let mut w = workload();
        assert!(ignored(&w).is_empty());
        w.mode = RunMode::Schedule(Schedule::default());
        w.depends_on
            .insert("db".parse().unwrap(), DependsOn::Healthy);
        assert_eq!(ignored(&w), ["schedule", "depends_on"]);
    }
}
