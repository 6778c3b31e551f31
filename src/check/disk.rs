//! Space and flash.

use super::{Finding, Root};
use std::path::Path;

pub(super) fn findings(root: &Root, data_dir: &Path) -> Vec<Finding> {
    // It may not exist yet: what counts is the file system that it will be on.
    let there = data_dir.ancestors().find(|p| p.exists());
    let mut all = Vec::new();
    if let Some(stat) = there.and_then(|p| rustix::fs::statvfs(p).ok()) {
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let total = stat.f_blocks.saturating_mul(stat.f_frsize);
        all.push(space(data_dir, free, total));
        all.extend(inodes(stat.f_favail, stat.f_files));
        if stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            all.push(Finding::error(
                "read-only",
                format!("{} is on a read-only file system", data_dir.display()),
                "a card that fails is mounted so by the kernel: look at `dmesg`, and replace it",
            ));
        }
    }
    all.extend(wear(root));
    all
}

fn space(data_dir: &Path, free: u64, total: u64) -> Finding {
    let (free_mib, total_mib) = (free >> 20, total >> 20);
    let said = format!(
        "{free_mib} of {total_mib} MiB are free where {} is",
        data_dir.display()
    );
    let advice = "remove what is not needed, as with `docker system prune`";
    if free_mib < 100 {
        Finding::error("disk-space", said, advice)
    } else if free_mib < 1024 || free < total / 20 {
        Finding::warning("disk-space", said, advice)
    } else {
        Finding::ok("disk-space", said)
    }
}

fn inodes(free: u64, total: u64) -> Option<Finding> {
    // Some file systems count none.
    (total > 0 && free < total / 50).then(|| {
        Finding::warning(
            "inodes",
            format!("{free} of {total} inodes are free"),
            "remove small files: `du --inodes -x / | sort -n | tail` shows where they are",
        )
    })
}

/// What eMMC and some cards tell of themselves: tenths of their life that are used up.
fn wear(root: &Root) -> Vec<Finding> {
    let devices = root.names("sys/block");
    let flash = devices.iter().filter(|d| d.starts_with("mmcblk"));
    flash
        .filter_map(|device| {
            let text = root.text(&format!("sys/block/{device}/device/life_time"))?;
            // Two kinds of memory in it, hexadecimal; 0 is unknown, 0x0b is more than all of it.
            let used = text
                .split_whitespace()
                .filter_map(|n| u32::from_str_radix(n.trim_start_matches("0x"), 16).ok())
                .max()
                .filter(|used| *used > 0)?;
            let said = match used {
                11.. => format!("{device} is beyond its expected life"),
                n => format!(
                    "{device} has used {} to {} % of its life",
                    (n - 1) * 10,
                    n * 10
                ),
            };
            let advice = "replace it soon, and keep a copy of what is on it";
            Some(match used {
                ..8 => Finding::ok("flash-wear", said),
                8..11 => Finding::warning("flash-wear", said, advice),
                _ => Finding::error("flash-wear", said, advice),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn space_is_judged_by_what_is_left() {
        let level = |free: u64, total: u64| space(Path::new("/x"), free << 20, total << 20).level;
        assert_eq!(level(20_000, 32_000), Level::Ok);
        assert_eq!(level(900, 8_000), Level::Warning);
        assert_eq!(level(2_000, 64_000), Level::Warning);
        assert_eq!(level(50, 8_000), Level::Error);
        assert_eq!(inodes(0, 0), None);
        assert!(inodes(10, 1_000).is_some());
    }

    #[test]
    fn wear_is_read_where_a_card_tells_it() {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("sys/block/mmcblk0/device");
        std::fs::create_dir_all(&device).unwrap();
        let root = Root(dir.path().to_owned());
        for (text, wanted) in [
            ("0x01 0x02\n", Some(Level::Ok)),
            ("0x01 0x09\n", Some(Level::Warning)),
            ("0x0b 0x01\n", Some(Level::Error)),
            ("0x00 0x00\n", None),
            ("\n", None),
        ] {
            std::fs::write(device.join("life_time"), text).unwrap();
            assert_eq!(wear(&root).first().map(|f| f.level), wanted, "{text}");
        }
    }
}
