//! Memory and swap, from `/proc/meminfo`.

use super::{Values, percent};
use std::collections::BTreeMap;

/// `used`, `total`, `percent`, and of swap, where there is some, the same with `swap_` before it.
pub(super) fn measure(meminfo: &str) -> Values {
    let fields: BTreeMap<&str, f64> = meminfo.lines().filter_map(read).collect();
    let get = |name: &str| fields.get(name).copied();
    let mut values = Values::new();
    // Before Linux 3.14 nobody estimated what is available.
    let available = get("MemAvailable").or_else(|| {
        let caches = get("Buffers").unwrap_or(0.0) + get("Cached").unwrap_or(0.0);
        Some(get("MemFree")? + caches)
    });
    if let (Some(total), Some(available)) = (get("MemTotal"), available) {
        insert(&mut values, "", total, available);
    }
    if let (Some(total), Some(free)) = (get("SwapTotal"), get("SwapFree"))
        && total > 0.0
    {
        insert(&mut values, "swap_", total, free);
    }
    values
}

fn insert(values: &mut Values, before: &str, total: f64, free: f64) {
    let used = (total - free).max(0.0);
    values.insert(format!("{before}total"), total);
    values.insert(format!("{before}used"), used);
    values.insert(format!("{before}percent"), percent(used, total));
}

/// A line, in bytes.
fn read(line: &str) -> Option<(&str, f64)> {
    let (name, rest) = line.split_once(':')?;
    let number: u64 = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some((name, number as f64 * 1_024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_what_is_not_available() {
        let values = measure(
            "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     750 kB\n\
             SwapTotal:        200 kB\nSwapFree:         150 kB\nHugePages_Total:       0\n",
        );
        let expected = [
            ("total", 1_024_000.0),
            ("used", 256_000.0),
            ("percent", 25.0),
            ("swap_total", 204_800.0),
            ("swap_used", 51_200.0),
            ("swap_percent", 25.0),
        ];
        let expected: Values = expected.map(|(k, v)| (k.to_owned(), v)).into();
        assert_eq!(values, expected);
    }

    #[test]
    fn old_kernels_no_swap_and_nonsense() {
        let old = measure("MemTotal: 100 kB\nMemFree: 10 kB\nBuffers: 5 kB\nCached: 35 kB\n");
        assert_eq!(old["percent"], 50.0);
        let none = measure("MemTotal: 4 kB\nMemAvailable: 4 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n");
        assert!(!none.contains_key("swap_total"));
        for text in ["", "MemTotal", "MemTotal: x kB", "MemAvailable: 1 kB"] {
            assert!(measure(text).is_empty(), "{text}");
        }
    }
}
