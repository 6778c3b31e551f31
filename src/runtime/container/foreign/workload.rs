//! The workload that would make a container like one that is there.
//!
//! An engine tells what the image said and what the user said as one; what the image says anyway
//! is left out, so that the workload reads as a person would have written it, and goes on with the
//! image when that changes.

use super::{limits, mounts, network};
use crate::{
    model::{
        ContainerOptions, Health, HealthCheck, LogLimits, Name, PullPolicy, Restart, RestartPolicy,
        Run, RuntimeKind, Signal, Workload,
    },
    runtime::container::fault::Fault,
};
use bollard::models::{
    ContainerConfig, ContainerInspectResponse, HealthConfig, HostConfig, ImageConfig,
    RestartPolicyNameEnum,
};
use std::collections::BTreeMap;

/// Prefixes of labels that tools keep for themselves.
const TOOLS_LABELS: [&str; 5] = [
    "com.docker.compose.",
    "io.podman.compose.",
    "io.buildah.",
    "PODMAN_SYSTEMD_UNIT",
    super::LABEL_DISCOVER,
];
/// Bytes of /dev/shm that an engine gives unasked: Docker, Podman.
const USUAL_SHM: [i64; 2] = [67_108_864, 65_536_000];
/// The programs that both engines run containers with, unasked.
const USUAL_RUNTIMES: [&str; 4] = ["runc", "crun", "io.containerd.runc.v2", "oci"];
const SECOND_MS: u64 = 1000;

/// What it says, and what of it no workload can say: one sentence each.
pub(super) fn of(
    inspected: &ContainerInspectResponse,
    image: &ImageConfig,
    kind: RuntimeKind,
) -> Result<(Workload, Vec<String>), Fault> {
    let container = inspected.name.clone().unwrap_or_default();
    let container = container.trim_start_matches('/').to_owned();
    let unnamed = || Fault::said(format!("container `{container}` has no name to go by"));
    let name = Name::from_lossy(&container).ok_or_else(unnamed)?;
    let config = inspected.config.clone().unwrap_or_default();
    let host = inspected.host_config.clone().unwrap_or_default();
    let written = config.image.clone().unwrap_or_default();
    let mut lost = Vec::new();

    let entrypoint = other(config.entrypoint.as_ref(), image.entrypoint.as_ref());
    let mut command = other(config.cmd.as_ref(), image.cmd.as_ref());
    if !entrypoint.is_empty() {
        // Another entrypoint does away with the image's command.
        command = config.cmd.clone().unwrap_or_default();
    }
    let (network, networks) = network::network(inspected, &host, &mut lost);
    let options = ContainerOptions {
        networks,
        ..options(inspected, &config, &host, image, entrypoint, &mut lost)
    };
    let run = Run::Container {
        image: written.clone(),
        command,
        pull: PullPolicy::Missing,
        engine: Some(kind),
        user: text(config.user.as_ref()).filter(|user| image.user.as_ref() != Some(user)),
        working_dir: working_dir(&config, image),
        network,
        options: Box::new(options),
    };
    let mut workload = Workload::new(name, run);
    workload.version = version_of(&written);
    workload.adopt = Some(container);
    workload.env = environment(&config, image, kind);
    workload.ports = network::ports(inspected, &host, &mut lost);
    (workload.volumes, workload.resources.tmpfs) = mounts::of(inspected, &host, &mut lost);
    workload.devices = limits::devices(&host, &mut lost);
    limits::fill(&mut workload.resources, &host, kind, &mut lost);
    workload.restart = restart(&host);
    let stop_s = config.stop_timeout.and_then(|s| u64::try_from(s).ok());
    workload.stop_timeout_ms = stop_s.map_or(10 * SECOND_MS, |s| s.saturating_mul(SECOND_MS));
    workload.health = health(config.healthcheck.as_ref(), image.healthcheck.as_ref());
    workload.logs = logs(&host, &mut lost);
    cannot_be_said(&host, &mut lost);
    Ok((workload, lost))
}

fn text(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

/// What is not as in the image.
fn other(here: Option<&Vec<String>>, image: Option<&Vec<String>>) -> Vec<String> {
    let here = here.cloned().unwrap_or_default();
    if image.is_some_and(|image| *image == here) {
        return Vec::new();
    }
    here
}

fn working_dir(config: &ContainerConfig, image: &ImageConfig) -> Option<String> {
    let of_image = text(image.working_dir.as_ref()).unwrap_or_else(|| "/".to_owned());
    text(config.working_dir.as_ref()).filter(|dir| *dir != of_image)
}

/// The tag; people's versions are there.
fn version_of(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let last = last.split('@').next().unwrap_or(last);
    let tag = last.split_once(':').map_or("1", |(_, tag)| tag);
    tag.chars().take(128).collect()
}

fn environment(
    config: &ContainerConfig,
    image: &ImageConfig,
    kind: RuntimeKind,
) -> BTreeMap<String, String> {
    let of_image = image.env.clone().unwrap_or_default();
    let hostname = config.hostname.clone().unwrap_or_default();
    let is_podmans = |key: &str, value: &str| {
        kind == RuntimeKind::Podman
            && match key {
                "container" => matches!(value, "podman" | "oci"),
                "TERM" => value == "xterm",
                "HOSTNAME" => value == hostname,
                "HOME" => true,
                "PATH" => value.starts_with("/usr/local/sbin:/usr/local/bin:"),
                _ => false,
            }
    };
    let all = config.env.clone().unwrap_or_default();
    all.iter()
        .filter(|pair| !of_image.contains(pair))
        .filter_map(|pair| pair.split_once('='))
        .filter(|(key, value)| !is_podmans(key, value))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn options(
    inspected: &ContainerInspectResponse,
    config: &ContainerConfig,
    host: &HostConfig,
    image: &ImageConfig,
    entrypoint: Vec<String>,
    lost: &mut Vec<String>,
) -> ContainerOptions {
    let of_image = image.labels.clone().unwrap_or_default();
    let labels = config.labels.clone().unwrap_or_default();
    let is_users = |key: &str, value: &str| {
        of_image.get(key).map(String::as_str) != Some(value)
            && !TOOLS_LABELS.iter().any(|tool| key.starts_with(tool))
    };
    let capabilities = |list: &Option<Vec<String>>| -> Vec<String> {
        let list = list.clone().unwrap_or_default();
        list.iter()
            .map(|name| name.strip_prefix("CAP_").unwrap_or(name).to_owned())
            .collect()
    };
    let id = inspected.id.clone().unwrap_or_default();
    // Engines name a container that has no other name by its id, or by the node.
    let is_given = |name: &String| {
        !id.starts_with(name.as_str()) && host.network_mode.as_deref() != Some("host")
    };
    ContainerOptions {
        entrypoint,
        hostname: text(config.hostname.as_ref()).filter(is_given),
        cap_add: capabilities(&host.cap_add),
        cap_drop: capabilities(&host.cap_drop),
        privileged: host.privileged.unwrap_or(false),
        extra_hosts: host.extra_hosts.clone().unwrap_or_default(),
        dns: host.dns.clone().unwrap_or_default(),
        group_add: host.group_add.clone().unwrap_or_default(),
        labels: labels
            .into_iter()
            .filter(|(key, value)| is_users(key, value))
            .collect(),
        sysctls: host
            .sysctls
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        init: host.init.unwrap_or(false),
        shm_size: host
            .shm_size
            .filter(|size| *size > 0 && !USUAL_SHM.contains(size))
            .and_then(|size| u64::try_from(size).ok()),
        stop_signal: stop_signal(config, image, lost),
        tty: config.tty.unwrap_or(false),
        networks: Vec::new(),
        security_opt: security(host, lost),
    }
}

fn stop_signal(
    config: &ContainerConfig,
    image: &ImageConfig,
    lost: &mut Vec<String>,
) -> Option<Signal> {
    let parse = |text: &str| {
        let number = text.parse::<i32>().ok();
        let by_number = |signal: &Signal| Some(signal.number()) == number;
        Signal::parse(text).or_else(|| Signal::ALL.into_iter().find(by_number))
    };
    let written = text(config.stop_signal.as_ref())?;
    if image.stop_signal.as_ref() == Some(&written) {
        return None;
    }
    let signal = parse(&written);
    if signal.is_none() {
        lost.push(format!(
            "it is stopped by signal `{written}`, which no workload can name"
        ));
    }
    let of_image = image.stop_signal.as_deref().and_then(parse);
    signal.filter(|signal| *signal != of_image.unwrap_or(Signal::SigTerm))
}

fn restart(host: &HostConfig) -> Restart {
    use RestartPolicyNameEnum as Is;
    let name = host.restart_policy.as_ref().and_then(|policy| policy.name);
    Restart {
        policy: match name {
            Some(Is::ALWAYS | Is::UNLESS_STOPPED) => RestartPolicy::Always,
            Some(Is::ON_FAILURE) => RestartPolicy::OnFailure,
            Some(Is::NO | Is::EMPTY) | None => RestartPolicy::Never,
        },
        ..Restart::default()
    }
}

/// The image's own check needs no words.
fn health(config: Option<&HealthConfig>, image: Option<&HealthConfig>) -> Option<Health> {
    let config = config?;
    let test = config.test.clone().unwrap_or_default();
    if image.and_then(|image| image.test.as_ref()) == Some(&test) {
        return None;
    }
    let command = match test.split_first()? {
        (how, rest) if how == "CMD" && !rest.is_empty() => rest.to_vec(),
        (how, rest) if how == "CMD-SHELL" && !rest.is_empty() => {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.join(" ")]
        }
        _ => return None,
    };
    let ms = |ns: Option<i64>| ns.and_then(|ns| u64::try_from(ns / 1_000_000).ok());
    let mut health = Health::new(HealthCheck::Exec(command));
    health.interval_ms = ms(config.interval).filter(|ms| *ms > 0).unwrap_or(30_000);
    health.timeout_ms = ms(config.timeout).filter(|ms| *ms > 0).unwrap_or(30_000);
    health.start_period_ms = ms(config.start_period).unwrap_or(0);
    let retries = config.retries.and_then(|n| u32::try_from(n).ok());
    health.retries = retries.filter(|n| *n > 0).unwrap_or(3);
    // As the engine did.
    health.on_unhealthy = crate::model::OnUnhealthy::Report;
    Some(health)
}

/// Its own limits where it has some; nobody wants a log without one.
fn logs(host: &HostConfig, lost: &mut Vec<String>) -> LogLimits {
    let mut logs = LogLimits::default();
    let Some(config) = &host.log_config else {
        return logs;
    };
    let driver = config.typ.as_deref().unwrap_or_default();
    if !matches!(driver, "" | "json-file" | "local" | "k8s-file" | "journald") {
        lost.push(format!("its output goes to the logging driver `{driver}`"));
        return logs;
    }
    let option = |key: &str| config.config.as_ref().and_then(|options| options.get(key));
    if let Some(bytes) = option("max-size").and_then(|size| limits::bytes(size)) {
        logs.max_size = bytes;
        // What Docker does where nothing is said.
        logs.max_files = 1;
    }
    if let Some(files) = option("max-file").and_then(|files| files.parse().ok()) {
        logs.max_files = files;
    }
    logs
}

/// Its options of security modules; a profile given as a whole cannot be said.
fn security(host: &HostConfig, lost: &mut Vec<String>) -> Vec<String> {
    let mut options = Vec::new();
    for option in host.security_opt.iter().flatten() {
        let (name, value) = option.split_once([':', '=']).unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", _) => {}
            // What engines put there for containers with all privileges.
            ("label", "disable") => {}
            ("seccomp", "unconfined") | ("apparmor" | "label", _) => {
                options.push(format!("{name}={value}"));
            }
            _ => {
                let option: String = option.chars().take(80).collect();
                lost.push(format!("it has the security option `{option}`"));
            }
        }
    }
    options.sort_unstable();
    options
}

/// What has no word in a workload at all.
fn cannot_be_said(host: &HostConfig, lost: &mut Vec<String>) {
    let shared = |mode: &Option<String>| {
        let mode = mode.as_deref().unwrap_or_default();
        mode == "host" || mode.starts_with("container:") || mode.starts_with("ns:")
    };
    for (mode, what) in [
        (&host.pid_mode, "processes"),
        (&host.ipc_mode, "shared memory"),
        (&host.uts_mode, "host name"),
        (&host.userns_mode, "users"),
    ] {
        if shared(mode) {
            let mode = mode.as_deref().unwrap_or_default();
            lost.push(format!("it shares its {what} with others (`{mode}`)"));
        }
    }
    if let Some(runtime) = &host.runtime
        && !runtime.is_empty()
        && !USUAL_RUNTIMES.contains(&runtime.as_str())
    {
        lost.push(format!("it is run by `{runtime}`"));
    }
    if let Some(parent) = host
        .cgroup_parent
        .as_ref()
        .filter(|parent| !parent.is_empty())
    {
        lost.push(format!("it is in the control group `{parent}`"));
    }
    if host
        .storage_opt
        .as_ref()
        .is_some_and(|options| !options.is_empty())
    {
        lost.push("its storage has options".to_owned());
    }
    if host.auto_remove == Some(true) {
        lost.push("its engine removes it when it ends (`--rm`)".to_owned());
    }
}
