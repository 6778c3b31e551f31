//! What the node is.

use crate::{
    config::AgentConfig,
    model::{EngineFact, NodeFacts, RuntimeKind},
};
use std::{collections::BTreeMap, ffi::OsStr, os::unix::fs::PermissionsExt, path::Path};

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
    if let Some(controllers) = cgroup2(Path::new("/sys/fs/cgroup")) {
        capabilities.insert("cgroup2".into(), controllers);
    }
    if let Some(path) = in_path(&std::env::var_os("PATH").unwrap_or_default(), "python3") {
        capabilities.insert("python3".into(), path);
    }
    NodeFacts {
        agent_version: crate::support::release::version().to_owned(),
        features: crate::model::FEATURES,
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

/// What control groups of version 2 can limit here, as in `cpu:memory:pids`; `none` where they are
/// there and limit nothing, `None` where they are not.
fn cgroup2(root: &Path) -> Option<String> {
    let text = std::fs::read_to_string(root.join("cgroup.controllers")).ok()?;
    let mut all: Vec<&str> = text.split_ascii_whitespace().collect();
    all.sort_unstable();
    Some(match all.as_slice() {
        [] => "none".to_owned(),
        all => all.join(":"),
    })
}

/// Where a program is.
fn in_path(path: &OsStr, program: &str) -> Option<String> {
    let places = std::env::split_paths(path).filter(|dir| dir.is_absolute());
    let mut found = places.map(|dir| dir.join(program)).filter(|file| {
        let metadata = file.metadata();
        metadata.is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    });
    found.next().map(|file| file.to_string_lossy().into_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_groups_are_told_by_what_they_limit() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(cgroup2(dir.path()), None);
        for (text, expected) in [
            ("memory cpu io pids\n", "cpu:io:memory:pids"),
            ("\n", "none"),
        ] {
            std::fs::write(dir.path().join("cgroup.controllers"), text).unwrap();
            assert_eq!(cgroup2(dir.path()).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_program_is_found_where_it_can_be_run() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = std::env::join_paths([Path::new("bin"), first.path(), second.path()]).unwrap();
        let place = |dir: &Path, mode| {
            let file = dir.join("python3");
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            file.to_string_lossy().into_owned()
        };
        assert_eq!(in_path(&path, "python3"), None);
        place(first.path(), 0o644);
        let runs = place(second.path(), 0o755);
        assert_eq!(in_path(&path, "python3"), Some(runs));
    }
}
