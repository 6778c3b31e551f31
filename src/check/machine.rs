//! The kernel and the board.

use super::{Finding, Root};
use crate::{model::CLOCK_SET_MS, support::clock};

/// Firmware bits of a Raspberry Pi (`vcgencmd get_throttled`): now, and since it was started.
const THROTTLED: [(u32, &str); 8] = [
    (0, "the supply voltage is too low now"),
    (1, "the processor is held back now"),
    (2, "it is throttled now"),
    (3, "it is at its soft temperature limit now"),
    (16, "the supply voltage was too low since its start"),
    (17, "the processor was held back since its start"),
    (18, "it was throttled since its start"),
    (19, "it was at its soft temperature limit since its start"),
];

pub(super) fn findings(root: &Root) -> Vec<Finding> {
    [
        Some(kernel(root)),
        page_size(rustix::param::page_size()),
        Some(cgroups(root)),
        memory_cgroup(root),
        memory(root),
        temperature(root),
        voltage(root),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Native processes are watched by pidfd, which is 5.3.
fn kernel(root: &Root) -> Finding {
    let release = root.text("proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().ok());
    let version = (numbers.next().flatten(), numbers.next().flatten());
    match version {
        (Some(major), Some(minor)) if (major, minor) >= (5, 3) => {
            Finding::ok("kernel", format!("Linux {release}"))
        }
        (Some(_), Some(_)) => Finding::error(
            "kernel",
            format!("Linux {release} is older than 5.3, which native processes need"),
            "upgrade the system, or run containers only (`processes = false`)",
        ),
        _ => Finding::warning(
            "kernel",
            "the kernel's version cannot be read",
            "mount /proc",
        ),
    }
}

fn page_size(bytes: usize) -> Option<Finding> {
    let kib = bytes / 1024;
    Some(match kib {
        4 => Finding::ok("page-size", "4 KiB"),
        _ => Finding::warning(
            "page-size",
            format!("{kib} KiB: programs built for 4 KiB pages may not start (as with jemalloc)"),
            "on a Raspberry Pi 5 set `kernel=kernel8.img` in config.txt if an image fails to start",
        ),
    })
}

fn cgroups(root: &Root) -> Finding {
    let mounts = root.text("proc/self/mountinfo").unwrap_or_default();
    let has = |kind: &str| mounts.lines().any(|l| l.contains(&format!(" - {kind} ")));
    match (has("cgroup2"), has("cgroup")) {
        (true, false) => Finding::ok("cgroups", "version 2"),
        (true, true) => Finding::warning(
            "cgroups",
            "versions 1 and 2 side by side: limits of native processes fall back to rlimits",
            "boot with `systemd.unified_cgroup_hierarchy=1`",
        ),
        (false, true) => Finding::warning(
            "cgroups",
            "version 1: limits of native processes fall back to rlimits",
            "boot with `systemd.unified_cgroup_hierarchy=1`, or upgrade the system",
        ),
        (false, false) => Finding::error(
            "cgroups",
            "none are mounted: no limit can be enforced, and engines will not start containers",
            "mount cgroup2 on /sys/fs/cgroup",
        ),
    }
}

/// Raspberry Pi OS comes without.
fn memory_cgroup(root: &Root) -> Option<Finding> {
    let v2 = root.text("sys/fs/cgroup/cgroup.controllers");
    let has = match &v2 {
        Some(controllers) => controllers.split(' ').any(|c| c == "memory"),
        None => {
            let table = root.text("proc/cgroups")?;
            // subsys_name hierarchy num_cgroups enabled
            let line = table.lines().find(|l| l.starts_with("memory\t"));
            line.is_some_and(|l| l.split('\t').next_back() == Some("1"))
        }
    };
    Some(if has {
        Finding::ok("memory-cgroup", "memory limits can be enforced")
    } else {
        Finding::warning(
            "memory-cgroup",
            "the kernel has no memory cgroup: memory limits of containers are not enforced",
            "add `cgroup_enable=memory cgroup_memory=1` to /boot/firmware/cmdline.txt and restart",
        )
    })
}

fn memory(root: &Root) -> Option<Finding> {
    let text = root.text("proc/meminfo")?;
    let kib = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    };
    let (total, available) = (kib("MemTotal")?, kib("MemAvailable")?);
    let said = format!("{} of {} MiB are free", available / 1024, total / 1024);
    Some(if available * 20 < total {
        Finding::warning(
            "memory",
            said,
            "stop something, or set `resources.memory` so that one workload cannot take it all",
        )
    } else {
        Finding::ok("memory", said)
    })
}

fn temperature(root: &Root) -> Option<Finding> {
    let zones = root.names("sys/class/thermal");
    let degrees = zones
        .iter()
        .filter(|z| z.starts_with("thermal_zone"))
        .filter_map(|z| root.text(&format!("sys/class/thermal/{z}/temp")))
        .filter_map(|t| t.parse::<i64>().ok())
        .max()?
        / 1000;
    let said = format!("{degrees} °C");
    let cool = "cool it: most boards slow down at 80 to 85 °C";
    Some(match degrees {
        ..75 => Finding::ok("temperature", said),
        75..85 => Finding::warning("temperature", said, cool),
        _ => Finding::error("temperature", said, cool),
    })
}

/// What the firmware of a Raspberry Pi saw; other boards have nothing to say.
fn voltage(root: &Root) -> Option<Finding> {
    let text = root.text("sys/devices/platform/soc/soc:firmware/get_throttled")?;
    let bits = u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()?;
    let seen: Vec<&str> = THROTTLED
        .iter()
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, said)| *said)
        .collect();
    let advice = "use the board's own power supply and a short cable, and cool it";
    Some(if seen.is_empty() {
        Finding::ok("voltage", "neither too low nor throttled since its start")
    } else if bits & 0xf != 0 {
        Finding::error("voltage", seen.join("; "), advice)
    } else {
        Finding::warning("voltage", seen.join("; "), advice)
    })
}

/// Schedules need a clock that is set, and TLS certificates of others do too.
pub(super) fn clock() -> Vec<Finding> {
    let now = clock::unix_ms();
    let advice = "install systemd-timesyncd or chrony; schedules wait until the clock is set";
    if now < CLOCK_SET_MS {
        return vec![Finding::error(
            "clock",
            format!("it is not set: it shows {} s after 1970", now / 1000),
            advice,
        )];
    }
    // SAFETY: the structure is plain data, zeroed, and modes 0 only reads.
    let state = unsafe {
        let mut answer: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut answer), answer.status)
    };
    let unsynchronised = state.0 < 0 || state.1 & libc::STA_UNSYNC != 0;
    vec![if unsynchronised {
        Finding::warning(
            "clock",
            "it is set, but nothing keeps it right (the kernel calls it unsynchronised)",
            advice,
        )
    } else {
        Finding::ok("clock", "set and synchronised")
    }]
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use std::{fs, path::Path};

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = Root(dir.path().to_owned());
        (dir, root)
    }

    fn level(files: &[(&str, &str)], check: &str) -> Option<Level> {
        let (_dir, root) = machine(files);
        let all = findings(&root);
        all.iter().find(|f| f.check == check).map(|f| f.level)
    }

    #[test]
    fn verdicts() {
        let v2 = "24 1 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let v1 = "24 1 0:22 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        let both = format!("{v2}{v1}");
        let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t1\t0\n";
        let throttled = "sys/devices/platform/soc/soc:firmware/get_throttled";
        for (file, text, check, wanted) in [
            (
                "proc/sys/kernel/osrelease",
                "6.6.51+rpt-rpi-v8",
                "kernel",
                Level::Ok,
            ),
            (
                "proc/sys/kernel/osrelease",
                "4.19.0-27-armmp",
                "kernel",
                Level::Error,
            ),
            ("proc/sys/kernel/osrelease", "odd", "kernel", Level::Warning),
            ("proc/self/mountinfo", v2, "cgroups", Level::Ok),
            ("proc/self/mountinfo", v1, "cgroups", Level::Warning),
            ("proc/self/mountinfo", &both, "cgroups", Level::Warning),
            ("proc/self/mountinfo", "", "cgroups", Level::Error),
            (
                "sys/fs/cgroup/cgroup.controllers",
                "cpu io memory pids",
                "memory-cgroup",
                Level::Ok,
            ),
            (
                "sys/fs/cgroup/cgroup.controllers",
                "cpu io pids",
                "memory-cgroup",
                Level::Warning,
            ),
            ("proc/cgroups", table, "memory-cgroup", Level::Warning),
            (
                "proc/meminfo",
                "MemTotal: 1000000 kB\nMemAvailable: 900000 kB",
                "memory",
                Level::Ok,
            ),
            (
                "proc/meminfo",
                "MemTotal: 1000000 kB\nMemAvailable: 9000 kB",
                "memory",
                Level::Warning,
            ),
            (
                "sys/class/thermal/thermal_zone0/temp",
                "51000",
                "temperature",
                Level::Ok,
            ),
            (
                "sys/class/thermal/thermal_zone0/temp",
                "86000",
                "temperature",
                Level::Error,
            ),
            (throttled, "0", "voltage", Level::Ok),
            (throttled, "0x50000", "voltage", Level::Warning),
            (throttled, "50005", "voltage", Level::Error),
        ] {
            assert_eq!(level(&[(file, text)], check), Some(wanted), "{file} {text}");
        }
        assert_eq!(level(&[(throttled, "garbage")], "voltage"), None);
        assert_eq!(page_size(16 * 1024).map(|f| f.level), Some(Level::Warning));
    }
}
