//! `[workload.<name>.resources]` and `logs`: what a workload may use. A limit that a node cannot
//! enforce is a warning in its state, not a failure.

use super::{
    quantity::{bytes_text, parse_bytes},
    shown,
    span::Flaw,
    table::Table,
    word::absolute_path,
};
use crate::model::{LogLimits, Resources, Tmpfs};
use std::ops::RangeInclusive;

/// Less memory than this starts nothing. Docker's own minimum is 6 MiB, a process needs less.
const MIN_MEMORY: u64 = 4 * 1024 * 1024;
/// More memory than any board has; 1 PiB.
const MAX_MEMORY: u64 = 1 << 50;
/// The most cores.
const MAX_CPUS: f64 = 1_024.0;
/// The most processes: Linux counts no further.
const MAX_PIDS: u32 = 1 << 22;
/// The most open files of one process, as Linux is set up.
const MAX_OPEN_FILES: u32 = 1 << 20;
/// Fewer open files than this start no program: the first three are taken, and libraries want
/// some.
const MIN_OPEN_FILES: u32 = 16;
/// The most directories in memory.
const MAX_TMPFS: usize = 32;
/// A page, the least that a directory in memory can hold.
const MIN_TMPFS: u64 = 4 * 1024;

/// `[workload.<name>.resources]` of a container or a process.
pub(crate) fn read_resources(mut table: Table<'_>, is_container: bool) -> Resources {
    let memory = size_within(&mut table, "memory", MIN_MEMORY..=MAX_MEMORY, "64MiB");
    let cpus = table.number("cpus");
    if cpus.is_some_and(|cpus| !(f64::MIN_POSITIVE..=MAX_CPUS).contains(&cpus)) {
        let flaw = Flaw::new(format!("`cpus` must be more than 0 and at most {MAX_CPUS}"));
        table.refuse("cpus", flaw.hint("0.5 is half of one core"));
    }
    let nice = table.integer("nice");
    if nice.is_some_and(|nice| !(-20..=19).contains(&nice)) {
        let flaw = Flaw::new("`nice` must be from -20 (first) to 19 (last)");
        table.refuse("nice", flaw);
    }
    let pids = table.count_within("pids", 1..=MAX_PIDS);
    let open_files = table.count_within("open_files", MIN_OPEN_FILES..=MAX_OPEN_FILES);
    let oom_score = table.integer_within("oom_score", -1_000..=1_000);
    let read_only = table.bool("read_only").unwrap_or(false);
    let mut tmpfs: Vec<Tmpfs> = Vec::new();
    table.parsed_list("tmpfs", |text| {
        let directory = parse_tmpfs(text)?;
        if tmpfs.iter().any(|other| other.path == directory.path) {
            return Err(Flaw::new(format!("`{}` is named twice", directory.path)));
        }
        if tmpfs.len() == MAX_TMPFS {
            return Err(Flaw::new(format!(
                "there can be at most {MAX_TMPFS} directories in memory"
            )));
        }
        tmpfs.push(directory);
        Ok(())
    });
    if !is_container {
        for key in ["read_only", "tmpfs"] {
            let flaw = Flaw::new(format!(
                "`{key}` is for containers, and this workload is a process"
            ));
            table.refuse_key(key, flaw.hint("remove it, or give an `image`"));
        }
    }
    table.finish();
    Resources {
        memory,
        cpus,
        nice: nice.and_then(|nice| i32::try_from(nice).ok()),
        pids,
        open_files,
        read_only,
        tmpfs,
        oom_score: oom_score.and_then(|score| i32::try_from(score).ok()),
    }
}

/// `logs = { max_size = "1MiB", max_files = 4 }`: how much of what it writes is kept.
pub(crate) fn read_logs(mut table: Table<'_>) -> LogLimits {
    let usual = LogLimits::default();
    let max_size = size_within(&mut table, "max_size", 64 << 10..=1 << 30, "1MiB");
    let max_files = table.count_within("max_files", 1..=20);
    table.finish();
    LogLimits {
        max_size: max_size.unwrap_or(usual.max_size),
        max_files: max_files.unwrap_or(usual.max_files),
    }
}

/// A size in bytes within `bounds`; another one is refused, with `example` as what may be written.
pub(crate) fn size_within(
    table: &mut Table<'_>,
    key: &'static str,
    bounds: RangeInclusive<u64>,
    example: &str,
) -> Option<u64> {
    let bytes = table.bytes(key)?;
    if bounds.contains(&bytes) {
        return Some(bytes);
    }
    let (least, most) = (bytes_text(*bounds.start()), bytes_text(*bounds.end()));
    let flaw = Flaw::new(format!("`{key}` must be from {least} to {most}"));
    table.refuse(
        key,
        flaw.hint(format!("write a size with a unit, as in \"{example}\"")),
    );
    None
}

/// `/path` or `/path:size`.
fn parse_tmpfs(text: &str) -> Result<Tmpfs, Flaw> {
    let (path, size) = match text.split_once(':') {
        Some((path, size)) => (path, Some(parse_bytes(size)?)),
        None => (text, None),
    };
    let path = absolute_path(path)?;
    if path == "/" {
        return Err(Flaw::new("the root of a container cannot be in memory")
            .hint("write a path below it, as in \"/tmp:64MiB\""));
    }
    if size.is_some_and(|size| !(MIN_TMPFS..=MAX_MEMORY).contains(&size)) {
        return Err(Flaw::new(format!(
            "the size in `{}` must be at least 4KiB",
            shown(text)
        )));
    }
    Ok(Tmpfs { path, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_in_memory() {
        for (text, path, size) in [
            ("/run", "/run", None),
            ("/tmp/:64MiB", "/tmp", Some(64 << 20)),
            ("/a b:4096", "/a b", Some(4_096)),
        ] {
            let tmpfs = parse_tmpfs(text).unwrap();
            assert_eq!((tmpfs.path.as_str(), tmpfs.size), (path, size), "{text}");
        }
        for text in [
            "",
            "/",
            "tmp",
            "/tmp:",
            "/tmp:64M",
            "/tmp:0",
            "/tmp:1MiB:2MiB",
            "/a/../b",
        ] {
            assert!(parse_tmpfs(text).is_err(), "{text}");
        }
    }
}
