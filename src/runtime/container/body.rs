//! A launch as the body of the create call, for Docker's API and Podman's copy of it.

use super::limits::{Limit, Limits};
use crate::{
    model::{
        ContainerNetwork, ContainerOptions, HealthCheck, LogLimits, MountSource, Resources, Run,
        RuntimeKind, Workload,
    },
    runtime::{
        ENV_TRACE, LABEL_NODE, LABEL_SPEC_HASH, LABEL_TRACE, LABEL_VERSION, LABEL_WORKLOAD, Launch,
        RuntimeError,
    },
};
use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointSettings, HealthConfig, HostConfig,
    HostConfigLogConfig, NetworkingConfig, PortBinding, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

/// Environment variable: the node's name.
const ENV_NODE: &str = "FLEETCTL_NODE";
/// Environment variable: the workload's name.
const ENV_WORKLOAD: &str = "FLEETCTL_WORKLOAD";
/// Environment variable: the workload's `params`, JSON; not there when there are none.
const ENV_PARAMS: &str = "FLEETCTL_PARAMS";

/// Image and command, taken out of a workload that is a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Container<'a> {
    /// As the user wrote it.
    pub(crate) image: &'a str,
    /// Empty: the image's own.
    pub(crate) command: &'a [String],
    user: Option<&'a str>,
    working_dir: Option<&'a str>,
    network: Option<&'a str>,
    options: &'a ContainerOptions,
}

impl<'a> Container<'a> {
    /// `Refused` when the workload is a native process.
    pub(crate) fn of(workload: &'a Workload) -> Result<Container<'a>, RuntimeError> {
        match &workload.run {
            Run::Container {
                image,
                command,
                user,
                working_dir,
                network,
                options,
                ..
            } => Ok(Container {
                image,
                command,
                user: user.as_deref(),
                working_dir: working_dir.as_deref(),
                network: network.as_deref(),
                options,
            }),
            _ => Err(RuntimeError::Refused(format!(
                "workload `{}` is not a container",
                workload.name
            ))),
        }
    }

    /// The networks that it is in by name; none where `network` says it.
    pub(crate) fn networks(&self) -> &'a [ContainerNetwork] {
        &self.options.networks
    }
}

/// What the workload asks for and no container engine can give, one sentence each.
pub(crate) fn warnings(workload: &Workload) -> Vec<String> {
    let nice = workload.resources.nice.filter(|nice| *nice != 0);
    nice.map(|_| "`nice` has no effect on containers; limit `cpus` instead".to_owned())
        .into_iter()
        .collect()
}

/// The body. `placed` is where each of the workload's files lies on the node.
///
/// # Errors
/// `Refused` for a path with a colon, which the engines' syntax of mounts cannot express.
pub(crate) fn body(
    launch: &Launch,
    kind: RuntimeKind,
    limits: Limits,
    placed: &[PathBuf],
) -> Result<ContainerCreateBody, RuntimeError> {
    let workload = &*launch.workload;
    let container = Container::of(workload)?;
    let options = container.options;
    let exposed = ports(workload);
    Ok(ContainerCreateBody {
        image: Some(container.image.to_owned()),
        cmd: list(container.command),
        entrypoint: list(&options.entrypoint),
        hostname: options.hostname.clone(),
        env: Some(environment(launch)),
        user: container.user.map(str::to_owned),
        working_dir: container.working_dir.map(str::to_owned),
        labels: Some(labels(launch, options)),
        stop_signal: options.stop_signal.map(|signal| signal.to_string()),
        stop_timeout: Some(i64::from(super::stop_seconds(workload.stop_timeout_ms))),
        tty: options.tty.then_some(true),
        healthcheck: no_healthcheck(workload),
        networking_config: container.networks().first().map(endpoint),
        exposed_ports: (!exposed.is_empty()).then(|| {
            let mut names: Vec<String> = exposed.keys().cloned().collect();
            names.sort_unstable();
            names
        }),
        host_config: Some(HostConfig {
            binds: binds(workload, placed)?,
            devices: devices(workload),
            port_bindings: (!exposed.is_empty()).then_some(exposed),
            network_mode: network_mode(&container),
            // The agent owns restarts: engines restart without delay, or with a delay of theirs.
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            security_opt: security(options),
            log_config: Some(log_config(kind, workload.logs)),
            tmpfs: tmpfs(&workload.resources),
            readonly_rootfs: workload.resources.read_only.then_some(true),
            ..limited_host(&workload.resources, limits, optional_host(options))
        }),
        ..ContainerCreateBody::default()
    })
}

fn network_mode(container: &Container<'_>) -> Option<String> {
    let first = container.networks().first();
    let named = first.map(|network| network.name.as_str());
    container.network.or(named).map(str::to_owned)
}

/// Older engines take one network only when they make a container; the others are connected.
fn endpoint(first: &ContainerNetwork) -> NetworkingConfig {
    NetworkingConfig {
        endpoints_config: Some(HashMap::from([(
            first.name.clone(),
            EndpointSettings {
                aliases: list(&first.aliases),
                ..EndpointSettings::default()
            },
        )])),
    }
}

/// Who may do everything may also gain privileges.
fn security(options: &ContainerOptions) -> Option<Vec<String>> {
    let own = (!options.privileged).then(|| "no-new-privileges".to_owned());
    let all: Vec<String> = own
        .into_iter()
        .chain(options.security_opt.iter().cloned())
        .collect();
    list(&all)
}

/// What is rarely asked for.
fn optional_host(options: &ContainerOptions) -> HostConfig {
    HostConfig {
        cap_add: list(&options.cap_add),
        cap_drop: list(&options.cap_drop),
        privileged: options.privileged.then_some(true),
        extra_hosts: list(&options.extra_hosts),
        dns: list(&options.dns),
        group_add: list(&options.group_add),
        sysctls: map(&options.sysctls),
        init: options.init.then_some(true),
        shm_size: options.shm_size.map(saturating),
        ..HostConfig::default()
    }
}

/// The limits that are still asked for.
fn limited_host(resources: &Resources, limits: Limits, host: HostConfig) -> HostConfig {
    let memory = resources.memory.map(saturating);
    let open_files = resources.open_files.map(|files| {
        vec![ResourcesUlimits {
            name: Some("nofile".to_owned()),
            // Podman's older versions mix up the two.
            soft: Some(i64::from(files)),
            hard: Some(i64::from(files)),
        }]
    });
    HostConfig {
        memory: memory.filter(|_| limits.has(Limit::Memory)),
        memory_swap: memory.filter(|_| limits.has(Limit::Memory) && limits.has(Limit::Swap)),
        // The cast saturates, and makes 0 (no limit) of what is not a number.
        nano_cpus: resources
            .cpus
            .filter(|_| limits.has(Limit::Cpus))
            .map(|cpus| (cpus * 1e9).round() as i64),
        pids_limit: resources
            .pids
            .filter(|_| limits.has(Limit::Pids))
            .map(i64::from),
        ulimits: open_files.filter(|_| limits.has(Limit::OpenFiles)),
        oom_score_adj: resources
            .oom_score
            .filter(|_| limits.has(Limit::OomScore))
            .map(i64::from),
        ..host
    }
}

fn saturating(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn list(words: &[String]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| words.to_vec())
}

fn map(pairs: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!pairs.is_empty()).then(|| pairs.clone().into_iter().collect())
}

/// The user's, and ours where the user has no other.
fn environment(launch: &Launch) -> Vec<String> {
    let workload = &*launch.workload;
    let mut all = BTreeMap::from([
        (ENV_NODE, launch.node.to_string()),
        (ENV_WORKLOAD, workload.name.to_string()),
    ]);
    if !workload.params.is_empty()
        && let Ok(json) = serde_json::to_string(&workload.params)
    {
        all.insert(ENV_PARAMS, json);
    }
    if let Some(trace) = launch.trace {
        all.insert(ENV_TRACE, trace.to_string());
    }
    all.extend(workload.env.iter().map(|(k, v)| (k.as_str(), v.clone())));
    all.into_iter().map(|(k, v)| format!("{k}={v}")).collect()
}

/// A check of the workload's own takes the place of the image's, which would else run beside it.
fn no_healthcheck(workload: &Workload) -> Option<HealthConfig> {
    let health = workload.health.as_ref()?;
    (health.check != HealthCheck::Image).then(|| HealthConfig {
        test: Some(vec!["NONE".to_owned()]),
        // Never used; Podman refuses zeroes also for no check.
        interval: Some(30_000_000_000),
        timeout: Some(30_000_000_000),
        retries: Some(3),
        ..HealthConfig::default()
    })
}

/// Writable for everybody: a mount of type tmpfs is not, where all capabilities are dropped.
fn tmpfs(resources: &Resources) -> Option<HashMap<String, String>> {
    let one = |tmpfs: &crate::model::Tmpfs| {
        let size = tmpfs
            .size
            .map_or(String::new(), |size| format!(",size={size}"));
        (tmpfs.path.clone(), format!("mode=1777{size}"))
    };
    (!resources.tmpfs.is_empty()).then(|| resources.tmpfs.iter().map(one).collect())
}

fn labels(launch: &Launch, options: &ContainerOptions) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = options.labels.clone().into_iter().collect();
    // Last: nobody takes ours away.
    labels.extend([
        (LABEL_NODE.to_owned(), launch.node.to_string()),
        (LABEL_WORKLOAD.to_owned(), launch.workload.name.to_string()),
        (LABEL_VERSION.to_owned(), launch.workload.version.clone()),
        (LABEL_SPEC_HASH.to_owned(), launch.spec_hash.clone()),
    ]);
    if let Some(trace) = launch.trace {
        labels.insert(LABEL_TRACE.to_owned(), trace.trace_id());
    }
    labels
}

fn ports(workload: &Workload) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in &workload.ports {
        let binding = PortBinding {
            host_ip: port.address.clone(),
            host_port: Some(port.host.to_string()),
        };
        bindings
            .entry(format!("{}/{}", port.container, port.protocol))
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    bindings
}

/// `source:target[:ro]`, which makes a missing directory of the node, as people expect of `-v`.
/// Placed files are only ever read by the container.
fn binds(workload: &Workload, placed: &[PathBuf]) -> Result<Option<Vec<String>>, RuntimeError> {
    let mut binds = Vec::with_capacity(workload.volumes.len() + placed.len());
    for mount in &workload.volumes {
        let (MountSource::Volume(source) | MountSource::Path(source)) = &mount.source;
        binds.push(bind(source, &mount.target, mount.read_only)?);
    }
    for (file, path) in workload.files.iter().zip(placed) {
        binds.push(bind(&path.to_string_lossy(), &file.path, true)?);
    }
    Ok((!binds.is_empty()).then_some(binds))
}

fn bind(source: &str, target: &str, read_only: bool) -> Result<String, RuntimeError> {
    if let Some(path) = [source, target].into_iter().find(|path| path.contains(':')) {
        return Err(RuntimeError::Refused(format!(
            "`{path}` cannot be mounted: container engines allow no colon in a path"
        )));
    }
    let read_only = if read_only { ":ro" } else { "" };
    Ok(format!("{source}:{target}{read_only}"))
}

fn devices(workload: &Workload) -> Option<Vec<DeviceMapping>> {
    let devices: Vec<DeviceMapping> = workload
        .devices
        .iter()
        .map(|device| DeviceMapping {
            path_on_host: Some(device.host.clone()),
            path_in_container: Some(device.container.clone()),
            cgroup_permissions: Some(device.permissions.clone()),
        })
        .collect();
    (!devices.is_empty()).then_some(devices)
}

/// Small and rotated: logs must not wear out a card. Docker's log has a driver that all its
/// versions can read back; Podman's has nanoseconds in a file that root can read, and keeps one
/// file only, which may be as large as all that was asked for.
fn log_config(kind: RuntimeKind, logs: LogLimits) -> HostConfigLogConfig {
    let files = u64::from(logs.max_files.max(1));
    let (driver, options) = match kind {
        RuntimeKind::Podman => {
            let size = logs.max_size.saturating_mul(files);
            (
                "k8s-file",
                HashMap::from([("max-size".to_owned(), size.to_string())]),
            )
        }
        _ => (
            "json-file",
            HashMap::from([
                ("max-size".to_owned(), logs.max_size.to_string()),
                ("max-file".to_owned(), files.to_string()),
            ]),
        ),
    };
    HostConfigLogConfig {
        typ: Some(driver.to_owned()),
        config: Some(options),
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
