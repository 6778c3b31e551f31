//! What the kernel counts since the machine started: bytes of interfaces and of the device with
//! the agent's data; and the load and the uptime, which are one line each.

use super::{Roots, Values, text};

/// Bytes of a sector in the kernel's counts, whatever the device.
const SECTOR: f64 = 512.0;

/// `1m`, `5m` and `15m`.
pub(super) fn load(loadavg: &str) -> Values {
    let numbers = loadavg
        .split_ascii_whitespace()
        .map_while(|w| w.parse().ok());
    ["1m", "5m", "15m"]
        .map(str::to_owned)
        .into_iter()
        .zip(numbers)
        .collect()
}

/// `seconds`, whole ones.
pub(super) fn uptime(uptime: &str) -> Values {
    let first = uptime.split_ascii_whitespace().next();
    let seconds = first.and_then(|w| w.parse::<f64>().ok());
    seconds
        .map(|s| ("seconds".to_owned(), s.floor()))
        .into_iter()
        .collect()
}

/// Of each interface `received` and `sent` bytes, `receive_errors` and `send_errors`. Loopback is
/// left out, and so are the ends of containers' pairs, which come and go by the dozen.
pub(super) fn network(dev: &str) -> Values {
    let mut values = Values::new();
    for line in dev.lines() {
        let Some((name, counts)) = line.split_once(':') else {
            continue;
        };
        let name = name.trim();
        if name == "lo" || name.starts_with("veth") {
            continue;
        }
        let counts: Vec<f64> = counts
            .split_ascii_whitespace()
            .map_while(|w| w.parse().ok())
            .collect();
        for (at, what) in [
            (0, "received"),
            (2, "receive_errors"),
            (8, "sent"),
            (10, "send_errors"),
        ] {
            if let Some(count) = counts.get(at) {
                values.insert(format!("{name}.{what}"), *count);
            }
        }
    }
    values
}

/// `read` and `written` bytes of the device with this number.
pub(super) fn device(roots: &Roots, number: u64) -> Values {
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let stat = roots.sys.join(format!("dev/block/{major}:{minor}/stat"));
    let mut counts = text(&stat);
    if counts.is_empty() {
        // Some file systems, such as btrfs, have a number of their own; the mount says on what.
        let mounts = text(&roots.proc.join("self/mountinfo"));
        if let Some(device) = mounted_from(&mounts, &format!("{major}:{minor}")) {
            counts = text(&roots.sys.join("class/block").join(device).join("stat"));
        }
    }
    let counts: Vec<f64> = counts
        .split_ascii_whitespace()
        .map_while(|w| w.parse().ok())
        .collect();
    [(2, "read"), (6, "written")]
        .into_iter()
        .filter_map(|(at, what)| Some((what.to_owned(), counts.get(at)? * SECTOR)))
        .collect()
}

/// Name of the device behind the mount with this number.
fn mounted_from<'a>(mounts: &'a str, number: &str) -> Option<&'a str> {
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(number))?;
    let (_, rest) = line.split_once(" - ")?;
    let source = rest.split(' ').nth(1)?.strip_prefix("/dev/")?;
    // Names with a slash, as those of logical volumes, are links that say nothing here.
    (!source.is_empty() && !source.contains('/') && source != "..").then_some(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn lines_are_read_and_nonsense_is_not() {
        let loads = load("0.52 0.58 0.59 1/467 12345\n");
        assert_eq!((loads["1m"], loads["5m"], loads["15m"]), (0.52, 0.58, 0.59));
        assert_eq!(load("0.5 x").len(), 1);
        assert_eq!(uptime("350735.47 234388.90\n")["seconds"], 350_735.0);
        for text in ["", "x", "\n"] {
            assert!(load(text).is_empty() && uptime(text).is_empty(), "{text}");
            assert!(network(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn interfaces_of_the_machine() {
        let values = network(
            "Inter-|   Receive                            |  Transmit\n \
             face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n    \
             lo: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n  \
             eth0: 1000 10 1 0 0 0 0 0 2000 20 2 0 0 0 0 0\n\
             veth12ab: 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5\n\
             wlan0:77 1 0\n",
        );
        let expected = [
            ("eth0.received", 1_000.0),
            ("eth0.receive_errors", 1.0),
            ("eth0.sent", 2_000.0),
            ("eth0.send_errors", 2.0),
            ("wlan0.received", 77.0),
            ("wlan0.receive_errors", 0.0),
        ];
        let expected: Values = expected.map(|(k, v)| (k.to_owned(), v)).into();
        assert_eq!(values, expected);
    }

    #[test]
    fn a_device_is_found_by_its_number_or_by_its_mount() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots {
            proc: dir.path().join("proc"),
            sys: dir.path().join("sys"),
        };
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let stat = "  100 0 8 5 200 0 16 9 0 0 0\n";
        let expected: Values = [("read", 4_096.0), ("written", 8_192.0)]
            .map(|(k, v)| (k.to_owned(), v))
            .into();
        let number = rustix::fs::makedev(179, 2);
        assert!(device(&roots, number).is_empty());
        write("sys/dev/block/179:2/stat", stat);
        assert_eq!(device(&roots, number), expected);

        let anonymous = rustix::fs::makedev(0, 41);
        let mounts = "30 1 0:41 /@ / rw,noatime shared:1 - btrfs /dev/mmcblk0p2 rw\n\
                      31 1 0:42 / /x rw - overlay overlay rw\n\
                      32 1 0:43 / /y rw - ext4 /dev/../../etc rw\n";
        write("proc/self/mountinfo", mounts);
        write("sys/class/block/mmcblk0p2/stat", stat);
        assert_eq!(device(&roots, anonymous), expected);
        for other in [42, 43, 44] {
            assert!(device(&roots, rustix::fs::makedev(0, other)).is_empty());
        }
    }
}
