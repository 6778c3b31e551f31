//! Families of a process of ours: which build it is, and what it takes of the machine.

use super::text::{Text, Type};
use crate::support::ProcessUsage;

/// Writes them.
pub(super) fn write(text: &mut Text) {
    let help = "1; which fleetctl this is.";
    let mut family = text.family(Type::Gauge, "fleetctl_build_info", help);
    let labels = [
        ("version", crate::support::release::version()),
        ("arch", std::env::consts::ARCH),
    ];
    family.sample(&labels, 1.0);
    let usage = ProcessUsage::read();
    if let Some(seconds) = usage.cpu_seconds {
        let help = "Seconds of processor time taken.";
        let name = "process_cpu_seconds_total";
        text.family(Type::Counter, name, help).sample(&[], seconds);
    }
    let gauges = [
        (
            "process_resident_memory_bytes",
            "Bytes of memory that are really there.",
            usage.resident_bytes.map(|b| b as f64),
        ),
        (
            "process_open_fds",
            "File descriptors that are open.",
            usage.open_fds.map(|n| n as f64),
        ),
        (
            "process_max_fds",
            "File descriptors that may be open.",
            rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .map(|n| n as f64),
        ),
        (
            "process_start_time_seconds",
            "When the process started, seconds since 1970.",
            usage.start_seconds,
        ),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            text.gauge(name, help, value);
        }
    }
}
