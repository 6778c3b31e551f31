//! What the node is.

use crate::{
    config::AgentConfig,
    model::{EngineFact, NodeFacts, RuntimeKind},
};
use std::{collections::BTreeMap, path::Path};

/// Device nodes that tell what a board can do, and the capability that each stands for.
const DEVICES: [(&str, &str); 9] = [
    ("/dev/gpiomem", "gpio"),
    ("/dev/gpiochip0", "gpio"),
    ("/dev/i2c-1", "i2c"),
    ("/dev/spidev0.0", "spi"),
    ("/dev/video0", "camera"),
    ("/dev/dri", "gpu"),
    ("/dev/nvidia0", "gpu"),
    ("/dev/kvm", "kvm"),
    ("/dev/tpm0", "tpm"),
];

/// The machine's own name.
pub(super) fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Looks at the machine.
pub(super) fn gather(config: &AgentConfig, engines: &[EngineFact]) -> NodeFacts {
    let uname = rustix::system::uname();
    let arch = uname.machine().to_string_lossy().into_owned();
    let memory = sysinfo::System::new().map(|mut system| {
        system.refresh_memory();
        system.total_memory()
    });
    let mut capabilities: BTreeMap<String, String> = DEVICES
        .iter()
        .filter(|(path, _)| Path::new(path).exists())
        .map(|(path, name)| ((*name).to_owned(), (*path).to_owned()))
        .collect();
    capabilities.insert("arch".into(), arch.clone());
    capabilities.insert("os".into(), "linux".into());
    for engine in engines.iter().filter(|e| !e.version.is_empty()) {
        capabilities.insert(engine.runtime.as_str().to_owned(), engine.version.clone());
    }
    if config.processes {
        capabilities.insert(RuntimeKind::Process.as_str().into(), "native".into());
    }
    NodeFacts {
        agent_version: crate::VERSION.to_owned(),
        arch,
        os: os_name(),
        kernel: uname.release().to_string_lossy().into_owned(),
        hostname: hostname(),
        addresses: addresses(),
        cpus: std::thread::available_parallelism()
            .map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
        memory_total: memory.unwrap_or(0),
        disk_total: disk(&config.common.data_dir).map_or(0, |(total, _)| total),
        engines: engines.to_vec(),
        capabilities,
        labels: config.labels.clone(),
    }
}

fn os_name() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    pretty.map_or_else(
        || "Linux".to_owned(),
        |name| name.trim_matches('"').to_owned(),
    )
}

/// Addresses of the interfaces, loopback left out, sorted.
pub fn addresses() -> Vec<String> {
    let Ok(networks) = sysinfo::Networks::new_with_refreshed_list() else {
        return Vec::new();
    };
    let mut all: Vec<String> = networks
        .values()
        .flat_map(|n| n.ip_networks())
        .map(|n| n.addr)
        .filter(|a| !a.is_loopback())
        // Link-local IPv6 addresses say nothing without their interface.
        .filter(|a| !matches!(a, std::net::IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80))
        .map(|a| a.to_string())
        .collect();
    all.sort();
    all.dedup();
    all.truncate(32);
    all
}

/// Size and use, in bytes, of the file system that holds `path`.
pub(super) fn disk(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let total = stat.f_blocks.saturating_mul(stat.f_frsize);
    Some((
        total,
        total.saturating_sub(stat.f_bfree.saturating_mul(stat.f_frsize)),
    ))
}
