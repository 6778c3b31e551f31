//! Limits and devices of a container.

use crate::model::{Device, Resources, RuntimeKind};
use bollard::models::HostConfig;

/// What Podman limits processes to, unasked.
const PODMANS_PIDS: i64 = 2048;

/// Fills in what the engine limits.
pub(super) fn fill(
    resources: &mut Resources,
    host: &HostConfig,
    kind: RuntimeKind,
    lost: &mut Vec<String>,
) {
    let positive = |number: Option<i64>| number.filter(|number| *number > 0);
    let of_podman = kind == RuntimeKind::Podman;
    resources.memory = positive(host.memory).and_then(|bytes| u64::try_from(bytes).ok());
    resources.cpus = positive(host.nano_cpus)
        .map(|nano| nano as f64 / 1e9)
        .or_else(|| {
            let period = positive(host.cpu_period).unwrap_or(100_000);
            positive(host.cpu_quota).map(|quota| quota as f64 / period as f64)
        });
    resources.pids = positive(host.pids_limit)
        .filter(|pids| !(of_podman && *pids == PODMANS_PIDS))
        .and_then(|pids| u32::try_from(pids).ok());
    resources.read_only = host.readonly_rootfs.unwrap_or(false);
    resources.oom_score = host
        .oom_score_adj
        .filter(|score| *score != 0)
        .and_then(|score| i32::try_from(score).ok());
    // Podman tells its own defaults, too; there nobody can tell them from the user's.
    for ulimit in host.ulimits.iter().flatten().filter(|_| !of_podman) {
        let name = ulimit.name.as_deref().unwrap_or_default();
        let hard = ulimit.hard.and_then(|hard| u32::try_from(hard).ok());
        match (name, hard) {
            ("nofile", Some(files)) if ulimit.soft == ulimit.hard => {
                resources.open_files = Some(files);
            }
            _ => lost.push(format!("it has a limit of `{name}`")),
        }
    }
    let others = [
        (
            "its share of the processors",
            positive(host.cpu_shares).is_some(),
        ),
        (
            "the processors that it may use",
            has(host.cpuset_cpus.as_ref()),
        ),
        (
            "a reservation of memory",
            positive(host.memory_reservation).is_some(),
        ),
        (
            "its weight for disks",
            host.blkio_weight.is_some_and(|weight| weight > 0),
        ),
        (
            "that the kernel never ends it for want of memory",
            host.oom_kill_disable == Some(true),
        ),
    ];
    for (what, _) in others.into_iter().filter(|(_, is_set)| *is_set) {
        lost.push(format!("it has set {what}"));
    }
}

fn has(text: Option<&String>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

/// Device nodes; a privileged container has all of them anyway.
pub(super) fn devices(host: &HostConfig, lost: &mut Vec<String>) -> Vec<Device> {
    if host
        .device_requests
        .as_ref()
        .is_some_and(|all| !all.is_empty())
    {
        lost.push("it asks for devices by a driver (`--gpus`)".to_owned());
    }
    if host
        .device_cgroup_rules
        .as_ref()
        .is_some_and(|all| !all.is_empty())
    {
        lost.push("it has rules for devices (`--device-cgroup-rule`)".to_owned());
    }
    if host.privileged == Some(true) {
        return Vec::new();
    }
    let mut devices: Vec<Device> = host
        .devices
        .iter()
        .flatten()
        .filter_map(|device| {
            let on_host = device.path_on_host.clone()?;
            let permissions = device.cgroup_permissions.clone().unwrap_or_default();
            Some(Device {
                container: device
                    .path_in_container
                    .clone()
                    .unwrap_or_else(|| on_host.clone()),
                host: on_host,
                permissions: match permissions.as_str() {
                    "" => "rwm".to_owned(),
                    _ => permissions,
                },
            })
        })
        .collect();
    devices.sort_by(|a, b| a.container.cmp(&b.container));
    devices
}

/// `10m`, `512k`, `1048576`, `1g`, with or without a `b`: as engines read sizes, by 1024.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let text = text.strip_suffix('i').unwrap_or(text);
    let (number, factor) = match text.char_indices().next_back()? {
        (at, 'k') => (&text[..at], 1 << 10),
        (at, 'm') => (&text[..at], 1 << 20),
        (at, 'g') => (&text[..at], 1 << 30),
        _ => (text, 1u64),
    };
    number.trim().parse::<u64>().ok()?.checked_mul(factor)
}
