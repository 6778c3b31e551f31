//! Measuring the machine: every metric of telemetry but `instances`.
//!
//! Everything is read from the kernel's own texts below `/proc` and `/sys`. What a board does not
//! have, such as a sensor or a device for its data, is left out; nothing here is an error. Where
//! the kernel only counts, as for processor time, a value is what happened since the last reading.
//!
//! Names of values are lower case with dots between their parts, as in `core.0` or
//! `eth0.received`.

mod counters;
mod memory;
mod processor;
mod sensors;

use super::facts;
use crate::model::Metric;
use processor::Processor;
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Values of one measurement, by name.
pub(crate) type Values = BTreeMap<String, f64>;

/// Values that one measurement may have.
pub(super) const MAX_VALUES: usize = 200;
/// Bytes that are read of one file of the kernel.
const MAX_FILE: u64 = 256 * 1024;
/// Entries that are looked at in one directory of the kernel.
const MAX_ENTRIES: usize = 128;
/// Bytes of one part of a value's name.
const MAX_PART: usize = 32;

/// Where the kernel's texts are; other places in tests.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    /// `/proc`.
    pub(super) proc: PathBuf,
    /// `/sys`.
    pub(super) sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Roots {
            proc: "/proc".into(),
            sys: "/sys".into(),
        }
    }
}

/// Measures, and remembers what the next measurement is compared with.
#[derive(Debug)]
pub(super) struct Machine {
    roots: Roots,
    data_dir: PathBuf,
    processor: Processor,
}

impl Machine {
    /// `data_dir` says which file system and device `disk` is about.
    pub(super) fn new(roots: Roots, data_dir: PathBuf) -> Machine {
        Machine {
            roots,
            data_dir,
            processor: Processor::default(),
        }
    }

    /// Where it reads.
    pub(super) fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Reads `metric`; empty where there is nothing (yet) to tell. At most [`MAX_VALUES`].
    pub(super) fn measure(&mut self, metric: Metric) -> Values {
        let Roots { proc, sys } = &self.roots;
        let mut values = match metric {
            Metric::Cpu => self.processor.measure(&text(&proc.join("stat"))),
            Metric::Memory => memory::measure(&text(&proc.join("meminfo"))),
            Metric::Disk => self.disk(),
            Metric::Load => counters::load(&text(&proc.join("loadavg"))),
            Metric::Temperature => sensors::temperature(sys),
            Metric::Throttling => sensors::throttling(sys),
            Metric::Network => counters::network(&text(&proc.join("net/dev"))),
            Metric::Uptime => counters::uptime(&text(&proc.join("uptime"))),
            // Its runtimes are asked, or the agent itself.
            Metric::Instances | Metric::Agent => Values::new(),
        };
        bound(&mut values);
        values
    }

    fn disk(&self) -> Values {
        let mut values = Values::new();
        if let Some((total, used)) = facts::disk(&self.data_dir) {
            values.insert("total".into(), total as f64);
            values.insert("used".into(), used as f64);
            values.insert("percent".into(), percent(used as f64, total as f64));
        }
        if let Ok(found) = std::fs::metadata(&self.data_dir) {
            values.extend(counters::device(&self.roots, found.dev()));
        }
        values
    }
}

/// What is no number is left out, and what is too many.
pub(super) fn bound(values: &mut Values) {
    values.retain(|_, v| v.is_finite());
    while values.len() > MAX_VALUES {
        values.pop_last();
    }
}

/// To a tenth of a percent; 0 of nothing.
pub(super) fn percent(part: f64, whole: f64) -> f64 {
    if whole <= 0.0 {
        return 0.0;
    }
    (1_000.0 * part / whole).round() / 10.0
}

/// A file of the kernel; empty where it cannot be read.
fn text(path: &Path) -> String {
    let mut all = Vec::new();
    if let Ok(file) = File::open(path) {
        // What was read before an error still counts.
        let _ = file.take(MAX_FILE).read_to_end(&mut all);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The entries of a directory whose names begin with `prefix`, in the order of their numbers.
fn entries(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(found) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut all: Vec<(usize, String, PathBuf)> = found
        .filter_map(Result::ok)
        .filter_map(|e| {
            let name = e.file_name().into_string().ok()?;
            let rest = name.strip_prefix(prefix)?;
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number = rest[..digits].parse().unwrap_or(usize::MAX);
            Some((number, name, e.path()))
        })
        .take(MAX_ENTRIES)
        .collect();
    all.sort();
    all.into_iter().map(|(_, _, path)| path).collect()
}

/// One part of a value's name out of whatever a driver calls itself.
fn part(text: &str) -> String {
    let fine = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    text.trim().chars().map(fine).take(MAX_PART).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose kernel says what `files` say.
    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let roots = Roots {
            proc: dir.path().join("proc"),
            sys: dir.path().join("sys"),
        };
        let machine = Machine::new(roots, dir.path().to_owned());
        (dir, machine)
    }

    #[test]
    fn a_machine_without_anything_tells_only_of_its_file_system() {
        let (_dir, mut machine) = machine(&[]);
        for metric in Metric::ALL {
            let values = machine.measure(metric);
            assert_eq!(values.is_empty(), metric != Metric::Disk, "{metric}");
        }
        let disk = machine.measure(Metric::Disk);
        assert!(disk["total"] >= disk["used"] && disk["percent"] <= 100.0);
    }

    #[test]
    fn each_metric_is_read_from_its_file() {
        let (dir, mut machine) = machine(&[
            ("proc/stat", "cpu  10 0 10 80 0 0 0 0 0 0\n"),
            ("proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 25 kB\n"),
            ("proc/loadavg", "0.50 0.25 0.10 1/100 4242\n"),
            ("proc/uptime", "3600.25 7000.00\n"),
            (
                "proc/net/dev",
                " eth0: 100 1 2 0 0 0 0 0 200 1 3 0 0 0 0 0\n",
            ),
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
            ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
            (
                "sys/devices/platform/soc/soc:firmware/get_throttled",
                "50005\n",
            ),
        ]);
        assert!(
            machine.measure(Metric::Cpu).is_empty(),
            "nothing to compare"
        );
        std::fs::write(
            dir.path().join("proc/stat"),
            "cpu  20 0 20 160 0 0 0 0 0 0\n",
        )
        .unwrap();
        for (metric, name, expected) in [
            (Metric::Cpu, "total", 20.0),
            (Metric::Memory, "percent", 75.0),
            (Metric::Load, "1m", 0.5),
            (Metric::Uptime, "seconds", 3_600.0),
            (Metric::Network, "eth0.sent", 200.0),
            (Metric::Temperature, "cpu_thermal", 48.3),
            (Metric::Throttling, "throttled", 1.0),
        ] {
            let values = machine.measure(metric);
            assert_eq!(values.get(name), Some(&expected), "{metric}: {values:?}");
        }
    }

    #[test]
    fn values_are_finite_and_bounded() {
        let mut values: Values = (0..500).map(|n| (format!("{n:03}"), 1.0)).collect();
        values.insert("000".into(), f64::NAN);
        bound(&mut values);
        assert_eq!(values.len(), MAX_VALUES);
        assert!(!values.contains_key("000") && values.contains_key("001"));
        assert_eq!(percent(1.0, 0.0), 0.0);
        assert_eq!(part(" CPU Die/0 "), "cpu_die_0");
    }
}
