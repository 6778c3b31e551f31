//! What the control group of a process uses: memory and processor time, out of small files.
//!
//! No engine is asked: Docker's statistics take a second, and these files cost microseconds.
//!
//! | | v2 | v1 |
//! |---|---|---|
//! | memory | `memory.current` − `inactive_file` | `memory.usage_in_bytes` − `total_inactive_file` |
//! | processors | `usage_usec` of `cpu.stat` | `cpuacct.usage` |
//!
//! Where the kernel does not count memory by group (Raspberry Pi OS, by default), the resident
//! pages of its processes are added up, which counts shared pages more than once.

use super::Usage;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// More processes of one group than are added up.
const PROCESSES_LIMIT: usize = 4096;

/// Of the control group that `pid` is in. `None` when it is gone, or in no group of its own: the
/// root, or the group of this agent.
pub(crate) fn of_pid(pid: u32) -> Option<Usage> {
    let theirs = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let ours = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = Groups::parse(&theirs);
    let agent = Groups::parse(&ours);
    let root = Path::new("/sys/fs/cgroup");
    Some(Usage {
        cpu_us: processors(root, &groups, &agent)?,
        memory: memory(root, &groups, &agent)?,
    })
}

/// Paths of one process within the hierarchies.
#[derive(Debug, Default, PartialEq, Eq)]
struct Groups {
    unified: Option<String>,
    memory: Option<String>,
    cpuacct: Option<String>,
}

impl Groups {
    /// Lines as `0::/a` (v2) and `4:cpu,cpuacct:/a` (v1). The root, and what lies outside of what
    /// this process may see, is left out.
    fn parse(text: &str) -> Groups {
        let mut groups = Groups::default();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if path == "/" || path.split('/').any(|part| part == "..") {
                continue;
            }
            let path = Some(path.trim_start_matches('/').to_owned());
            if controllers.is_empty() {
                groups.unified = path;
                continue;
            }
            for controller in controllers.split(',') {
                match controller {
                    "memory" => groups.memory.clone_from(&path),
                    "cpuacct" => groups.cpuacct.clone_from(&path),
                    _ => {}
                }
            }
        }
        groups
    }
}

/// `path`, unless it is also the agent's: then the numbers are not the instance's.
fn own(path: Option<&String>, agents: Option<&String>) -> Option<PathBuf> {
    path.filter(|path| Some(*path) != agents).map(PathBuf::from)
}

/// Where the unified hierarchy is mounted, alone or beside those of v1.
fn unified(root: &Path, groups: &Groups, agent: &Groups) -> Option<PathBuf> {
    let path = own(groups.unified.as_ref(), agent.unified.as_ref())?;
    let beside = root.join("unified").join(&path);
    let alone = root.join(path);
    [alone, beside]
        .into_iter()
        .find(|dir| dir.join("cgroup.procs").exists())
}

fn processors(root: &Path, groups: &Groups, agent: &Groups) -> Option<u64> {
    if let Some(path) = own(groups.cpuacct.as_ref(), agent.cpuacct.as_ref()) {
        for hierarchy in ["cpuacct", "cpu,cpuacct"] {
            if let Some(ns) = number(&root.join(hierarchy).join(&path).join("cpuacct.usage")) {
                return Some(ns / 1000);
            }
        }
    }
    field(
        &unified(root, groups, agent)?.join("cpu.stat"),
        "usage_usec",
    )
}

fn memory(root: &Path, groups: &Groups, agent: &Groups) -> Option<u64> {
    if let Some(path) = own(groups.memory.as_ref(), agent.memory.as_ref()) {
        let dir = root.join("memory").join(path);
        if let Some(used) = number(&dir.join("memory.usage_in_bytes")) {
            let dropped = field(&dir.join("memory.stat"), "total_inactive_file");
            return Some(used.saturating_sub(dropped.unwrap_or(0)));
        }
    }
    let v2 = unified(root, groups, agent);
    if let Some(dir) = &v2
        && let Some(used) = number(&dir.join("memory.current"))
    {
        let dropped = field(&dir.join("memory.stat"), "inactive_file");
        return Some(used.saturating_sub(dropped.unwrap_or(0)));
    }
    let v1 = own(groups.cpuacct.as_ref(), agent.cpuacct.as_ref())
        .map(|path| root.join("cpuacct").join(path));
    resident(
        &v1.into_iter()
            .chain(v2)
            .find(|dir| dir.join("cgroup.procs").exists())?,
    )
}

/// Resident pages of all processes in `dir`, in bytes.
fn resident(dir: &Path) -> Option<u64> {
    let pids = fs::read_to_string(dir.join("cgroup.procs")).ok()?;
    let page = rustix::param::page_size() as u64;
    let of = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{}/statm", pid.trim())).ok()?;
        text.split(' ').nth(1)?.parse::<u64>().ok()
    };
    let pages: u64 = pids.lines().take(PROCESSES_LIMIT).filter_map(of).sum();
    Some(pages.saturating_mul(page))
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A line `key value` of a file of such lines.
fn field(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let value = |line: &str| {
        line.strip_prefix(key)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    };
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn groups_of_both_kinds_are_read() {
        let v2 = Groups::parse("0::/system.slice/docker-ab.scope\n");
        assert_eq!(v2.unified.as_deref(), Some("system.slice/docker-ab.scope"));
        let v1 = Groups::parse("5:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n0::/\nnonsense");
        assert_eq!(v1.memory.as_deref(), Some("docker/ab"));
        assert_eq!(v1.cpuacct.as_deref(), Some("docker/ab"));
        assert_eq!(v1.unified, None);
        assert_eq!(Groups::parse("0::/../../x"), Groups::default());
    }

    #[test]
    fn numbers_of_v2_leave_out_what_can_be_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("a");
        write(&group.join("cgroup.procs"), "");
        write(&group.join("memory.current"), "5000\n");
        write(&group.join("memory.stat"), "anon 1\ninactive_file 2000\n");
        write(&group.join("cpu.stat"), "usage_usec 77\nuser_usec 1\n");
        let groups = Groups::parse("0::/a");
        let none = Groups::default();
        assert_eq!(memory(dir.path(), &groups, &none), Some(3000));
        assert_eq!(processors(dir.path(), &groups, &none), Some(77));
        // The agent's own group says nothing about one of its instances.
        assert_eq!(memory(dir.path(), &groups, &groups), None);
        assert_eq!(processors(dir.path(), &groups, &groups), None);
    }

    #[test]
    fn numbers_of_v1_are_in_their_hierarchies() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("memory/a/memory.usage_in_bytes"), "9000");
        write(
            &dir.path().join("memory/a/memory.stat"),
            "total_inactive_file 1000",
        );
        write(&dir.path().join("cpu,cpuacct/a/cpuacct.usage"), "5000000");
        let groups = Groups::parse("5:memory:/a\n4:cpu,cpuacct:/a\n0::/");
        let none = Groups::default();
        assert_eq!(memory(dir.path(), &groups, &none), Some(8000));
        assert_eq!(processors(dir.path(), &groups, &none), Some(5000));
    }

    #[test]
    fn without_a_count_of_memory_resident_pages_are_added_up() {
        let dir = tempfile::tempdir().unwrap();
        let pid = std::process::id().to_string();
        write(
            &dir.path().join("a/cgroup.procs"),
            &format!("{pid}\n4294967295\n"),
        );
        let groups = Groups::parse("0::/a");
        let used = memory(dir.path(), &groups, &Groups::default()).unwrap();
        assert!(used > 100 * 1024, "{used}");
    }

    #[test]
    fn nobody_is_asked_about_in_vain() {
        assert_eq!(of_pid(u32::MAX), None);
        assert_eq!(of_pid(std::process::id()), None, "its own group");
    }
}
