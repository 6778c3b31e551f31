//! What this process uses of the machine, for `/metrics` and an agent's own telemetry.

use std::fs;

/// One reading. What the kernel does not tell is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessUsage {
    /// Bytes of memory that are really there.
    pub resident_bytes: Option<u64>,
    /// Seconds of processor time, in the program and in the kernel for it.
    pub cpu_seconds: Option<f64>,
    /// File descriptors that are open now.
    pub open_fds: Option<u64>,
    /// When it started, seconds since 1970.
    pub start_seconds: Option<f64>,
}

impl ProcessUsage {
    /// Of this process, now: three small files and one directory of the kernel.
    pub fn read() -> ProcessUsage {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let machine = text("/proc/stat");
        let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
        let times = times(&text("/proc/self/stat"));
        let fds = fs::read_dir("/proc/self/fd").ok();
        ProcessUsage {
            resident_bytes: resident_pages(&text("/proc/self/statm"))
                .map(|pages| pages.saturating_mul(rustix::param::page_size() as u64)),
            cpu_seconds: times.map(|(cpu, _)| cpu as f64 / ticks),
            // One of them is the directory that is being read.
            open_fds: fds.map(|all| (all.count() as u64).saturating_sub(1)),
            start_seconds: times
                .zip(boot_seconds(&machine))
                .map(|((_, start), boot)| boot as f64 + start as f64 / ticks),
        }
    }
}

/// Ticks of processor time, and ticks from the machine's start to the process's: fields 14, 15 and
/// 22 of `stat`. Its second field is the program's name, which may hold anything.
fn times(stat: &str) -> Option<(u64, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)?.saturating_add(field(15)?), field(22)?))
}

/// The second field of `statm`.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// When the machine started, seconds since 1970.
fn boot_seconds(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|l| l.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_understood_whatever_the_program_is_called() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 10 0 0 0 250 50 0 0 20 0 3 0 1234 1 2";
        assert_eq!(times(stat), Some((300, 1_234)));
        assert_eq!(times("7 (x"), None);
        assert_eq!(resident_pages("100 42 3 1 0 9 0"), Some(42));
        assert_eq!(
            boot_seconds("cpu 1 2\nbtime 1700000000\n"),
            Some(1_700_000_000)
        );
        assert_eq!(boot_seconds(""), None);
    }

    #[test]
    fn this_process_is_measured() {
        let usage = ProcessUsage::read();
        assert!(usage.resident_bytes.unwrap() > 1 << 20, "{usage:?}");
        assert!(usage.cpu_seconds.unwrap() >= 0.0);
        assert!((1..10_000).contains(&usage.open_fds.unwrap()), "{usage:?}");
        let now = crate::support::clock::unix_ms() as f64 / 1_000.0;
        let age = now - usage.start_seconds.unwrap();
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }
}
