//! A launch as the body of the create call, for Docker's API and Podman's copy of it.

use crate::{
    model::{MountSource, Run, RuntimeKind, Workload},
    runtime::{LABEL_NODE, LABEL_SPEC_HASH, LABEL_VERSION, LABEL_WORKLOAD, Launch, RuntimeError},
};
use bollard::models::{
    ContainerCreateBody, DeviceMapping, HostConfig, HostConfigLogConfig, PortBinding,
    RestartPolicy, RestartPolicyNameEnum,
};
use std::collections::HashMap;

/// What of the limits is asked for. A node that cannot enforce one runs the instance without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    /// All: memory without swap on top, and processors.
    All,
    /// Not the limit of swap, which many small boards' kernels cannot count.
    WithoutSwap,
    /// None.
    None,
}

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
                ..
            } => Ok(Container {
                image,
                command,
                user: user.as_deref(),
                working_dir: working_dir.as_deref(),
                network: network.as_deref(),
            }),
            Run::Process { .. } => Err(RuntimeError::Refused(format!(
                "workload `{}` is a native process, not a container",
                workload.name
            ))),
        }
    }
}

/// What the workload asks for and no container engine can give, one sentence each.
pub(crate) fn warnings(workload: &Workload) -> Vec<String> {
    let nice = workload.resources.nice.filter(|nice| *nice != 0);
    nice.map(|_| "`nice` has no effect on containers; limit `cpus` instead".to_owned())
        .into_iter()
        .collect()
}

/// True when [`Limits`] change anything.
pub(crate) fn has_limits(workload: &Workload) -> bool {
    workload.resources.memory.is_some() || workload.resources.cpus.is_some()
}

/// The body.
///
/// # Errors
/// `Refused` for a path with a colon, which the engines' syntax of mounts cannot express.
pub(crate) fn body(
    launch: &Launch,
    kind: RuntimeKind,
    limits: Limits,
) -> Result<ContainerCreateBody, RuntimeError> {
    let workload = &*launch.workload;
    let container = Container::of(workload)?;
    let exposed = ports(workload);
    Ok(ContainerCreateBody {
        image: Some(container.image.to_owned()),
        cmd: (!container.command.is_empty()).then(|| container.command.to_vec()),
        env: Some(
            workload
                .env
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
        ),
        user: container.user.map(str::to_owned),
        working_dir: container.working_dir.map(str::to_owned),
        labels: Some(labels(launch)),
        stop_timeout: Some(i64::from(super::stop_seconds(workload.stop_timeout_ms))),
        exposed_ports: (!exposed.is_empty()).then(|| {
            let mut names: Vec<String> = exposed.keys().cloned().collect();
            names.sort_unstable();
            names
        }),
        host_config: Some(HostConfig {
            binds: binds(workload)?,
            devices: devices(workload),
            port_bindings: (!exposed.is_empty()).then_some(exposed),
            network_mode: container.network.map(str::to_owned),
            // The agent owns restarts: engines restart without delay, or with a delay of theirs.
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            log_config: Some(log_config(kind)),
            memory: memory(workload, limits),
            memory_swap: (limits == Limits::All)
                .then(|| memory(workload, limits))
                .flatten(),
            nano_cpus: nano_cpus(workload, limits),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    })
}

fn labels(launch: &Launch) -> HashMap<String, String> {
    HashMap::from([
        (LABEL_NODE.to_owned(), launch.node.to_string()),
        (LABEL_WORKLOAD.to_owned(), launch.workload.name.to_string()),
        (LABEL_VERSION.to_owned(), launch.workload.version.clone()),
        (LABEL_SPEC_HASH.to_owned(), launch.spec_hash.clone()),
    ])
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
fn binds(workload: &Workload) -> Result<Option<Vec<String>>, RuntimeError> {
    let mut binds = Vec::with_capacity(workload.volumes.len());
    for mount in &workload.volumes {
        let (MountSource::Volume(source) | MountSource::Path(source)) = &mount.source;
        if let Some(path) = [source, &mount.target]
            .into_iter()
            .find(|path| path.contains(':'))
        {
            return Err(RuntimeError::Refused(format!(
                "`{path}` cannot be mounted: container engines allow no colon in a path"
            )));
        }
        let read_only = if mount.read_only { ":ro" } else { "" };
        binds.push(format!("{source}:{}{read_only}", mount.target));
    }
    Ok((!binds.is_empty()).then_some(binds))
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

fn memory(workload: &Workload, limits: Limits) -> Option<i64> {
    let bytes = workload
        .resources
        .memory
        .filter(|_| limits != Limits::None)?;
    Some(i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn nano_cpus(workload: &Workload, limits: Limits) -> Option<i64> {
    let cpus = workload.resources.cpus.filter(|_| limits != Limits::None)?;
    // The cast saturates, and makes 0 (no limit) of what is not a number.
    Some((cpus * 1e9).round() as i64)
}

/// Small and rotated: logs must not wear out a card. Docker's log has a driver that all its
/// versions can read back; Podman's has nanoseconds in a file that root can read.
fn log_config(kind: RuntimeKind) -> HostConfigLogConfig {
    let (driver, options): (&str, &[(&str, &str)]) = match kind {
        RuntimeKind::Podman => ("k8s-file", &[("max-size", "1m")]),
        _ => ("json-file", &[("max-size", "1m"), ("max-file", "3")]),
    };
    HostConfigLogConfig {
        typ: Some(driver.to_owned()),
        config: Some(
            options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Device, Mount, Placement, Port, Protocol, PullPolicy, Resources, Restart, WorkloadType,
    };
    use std::{collections::BTreeMap, sync::Arc};

    fn launch() -> Launch {
        let port = |host, container, protocol| Port {
            address: None,
            host,
            container,
            protocol,
        };
        let workload = Workload {
            name: "web".parse().unwrap(),
            kind: WorkloadType::Service,
            version: "1.2 beta".to_owned(),
            run: Run::Container {
                image: "r.example/web:1".to_owned(),
                command: vec!["serve".to_owned()],
                pull: PullPolicy::Missing,
                engine: None,
                user: Some("1000:1000".to_owned()),
                working_dir: Some("/srv".to_owned()),
                network: Some("host".to_owned()),
            },
            env: BTreeMap::from([("MODE".to_owned(), "a=b".to_owned())]),
            ports: vec![
                port(8080, 80, Protocol::Tcp),
                port(8081, 80, Protocol::Tcp),
                port(53, 53, Protocol::Udp),
            ],
            volumes: vec![
                Mount {
                    source: MountSource::Volume("data".to_owned()),
                    target: "/data".to_owned(),
                    read_only: false,
                },
                Mount {
                    source: MountSource::Path("/etc/x".to_owned()),
                    target: "/x".to_owned(),
                    read_only: true,
                },
            ],
            devices: vec![Device {
                host: "/dev/null".to_owned(),
                container: "/dev/zilch".to_owned(),
                permissions: "rw".to_owned(),
            }],
            resources: Resources {
                memory: Some(64 << 20),
                cpus: Some(0.5),
                nice: Some(5),
            },
            placement: Placement::default(),
            restart: Restart::default(),
            stop_timeout_ms: 2_500,
        };
        let spec_hash = workload.spec_hash();
        Launch {
            node: "pi-1".parse().unwrap(),
            workload: Arc::new(workload),
            spec_hash,
        }
    }

    #[test]
    fn everything_that_was_asked_for_is_in_the_body() {
        let launch = launch();
        let body = body(&launch, RuntimeKind::Docker, Limits::All).unwrap();
        assert_eq!(body.env, Some(vec!["MODE=a=b".to_owned()]));
        assert_eq!(body.stop_timeout, Some(3));
        assert_eq!(
            body.exposed_ports,
            Some(vec!["53/udp".to_owned(), "80/tcp".to_owned()])
        );
        let labels = body.labels.unwrap();
        assert_eq!(labels[LABEL_NODE], "pi-1");
        assert_eq!(labels[LABEL_SPEC_HASH], launch.spec_hash);
        let host = body.host_config.unwrap();
        assert_eq!(
            host.binds,
            Some(vec!["data:/data".to_owned(), "/etc/x:/x:ro".to_owned()])
        );
        assert_eq!(
            (host.memory, host.memory_swap),
            (Some(64 << 20), Some(64 << 20))
        );
        assert_eq!(host.nano_cpus, Some(500_000_000));
        assert_eq!(host.network_mode.as_deref(), Some("host"));
        assert_eq!(
            host.port_bindings.unwrap()["80/tcp"]
                .as_ref()
                .unwrap()
                .len(),
            2
        );
        assert_eq!(warnings(&launch.workload).len(), 1);
    }

    #[test]
    fn limits_can_be_left_out_one_after_the_other() {
        let launch = launch();
        let host = |limits| {
            body(&launch, RuntimeKind::Podman, limits)
                .unwrap()
                .host_config
                .unwrap()
        };
        let without_swap = host(Limits::WithoutSwap);
        assert_eq!(
            (without_swap.memory, without_swap.memory_swap),
            (Some(64 << 20), None)
        );
        let none = host(Limits::None);
        assert_eq!(
            (none.memory, none.memory_swap, none.nano_cpus),
            (None, None, None)
        );
        assert_eq!(none.log_config.unwrap().typ.as_deref(), Some("k8s-file"));
    }

    #[test]
    fn a_colon_in_a_mount_is_refused() {
        let mut launch = launch();
        let mut workload = (*launch.workload).clone();
        workload.volumes[1].source = MountSource::Path("/a:b".to_owned());
        launch.workload = Arc::new(workload);
        assert!(matches!(
            body(&launch, RuntimeKind::Docker, Limits::All),
            Err(RuntimeError::Refused(sentence)) if sentence.contains("/a:b")
        ));
    }
}
