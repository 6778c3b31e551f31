//! Where the cgroups of this agent's instances lie.
//!
//! | the agent | below | controllers |
//! |---|---|---|
//! | is in a cgroup called `agent` (systemd 254 and `DelegateSubgroup=agent`) | the unit's own cgroup, beside `agent` | yes |
//! | runs as root elsewhere | `/fleetctl-<hash of the data directory>` | yes |
//! | runs as a user, in a cgroup that was delegated to it | its own cgroup | no: kill only |
//!
//! The second line is why limits also hold on systems with an older systemd: with controllers
//! switched on in the unit's own cgroup, the kernel would let no process into that cgroup itself
//! any more, hence systemd could not start the agent a second time while its workloads still run.
//! For the same reason nothing is switched on in the third case. A cgroup at the top is what
//! container engines without systemd use, too.
//!
//! A machine that mounts version 2 beside version 1 ("hybrid") has no controllers here as a rule;
//! its cgroups can still be killed as a whole.

use super::cgroup::{self, PREFIX};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is switched on where it can be.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// The place, and the cgroups from the top down in which controllers are switched on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CgroupBase {
    path: PathBuf,
    levels: Vec<PathBuf>,
}

impl CgroupBase {
    /// As this process may. `None` without cgroups of version 2.
    pub fn find(data: &Path) -> Option<CgroupBase> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        choose(&own, &mounts, rustix::process::geteuid().is_root(), data)
    }

    /// Below this cgroup, which is made when it is needed.
    pub fn at(path: PathBuf) -> CgroupBase {
        CgroupBase {
            levels: vec![path.clone()],
            path,
        }
    }

    /// The cgroup of an instance, with everything above it made. `None` where this is not
    /// allowed. Cheap: a few system calls when all is there.
    pub fn of_instance(&self, handle: &str) -> Option<PathBuf> {
        if let Err(error) = fs::create_dir(&self.path)
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            tracing::debug!(path = %self.path.display(), %error, "no cgroups for processes");
            return None;
        }
        for level in &self.levels {
            switch_on(level);
        }
        Some(self.path.join(format!("{PREFIX}{handle}")))
    }

    /// Removes the place when nothing is left there. One that was there before us has more in
    /// it, and stays.
    pub fn tidy(&self) {
        let _ = fs::remove_dir(&self.path);
    }
}

/// One by one: a write of several fails as a whole when one is not to be had.
fn switch_on(level: &Path) {
    let words = |file| fs::read_to_string(level.join(file)).unwrap_or_default();
    let (there, on) = (words("cgroup.controllers"), words("cgroup.subtree_control"));
    let has = |text: &str, name| text.split_ascii_whitespace().any(|word| word == name);
    for name in CONTROLLERS {
        if has(&there, name) && !has(&on, name) {
            let path = level.join("cgroup.subtree_control");
            if let Err(error) = cgroup::write(&path, &format!("+{name}")) {
                tracing::debug!(path = %path.display(), name, %error, "no such controller here");
            }
        }
    }
}

/// From the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn choose(own: &str, mounts: &str, root: bool, data: &Path) -> Option<CgroupBase> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (top, mount) = mounts.lines().find_map(mount_of)?;
    // What is mounted may be a part of the whole, and we may be outside of it.
    let relative = if top == "/" {
        own
    } else {
        own.strip_prefix(top.as_str())?
    };
    let relative = relative.trim_matches('/');
    if relative.split('/').any(|part| part == "..") {
        return None;
    }
    let own = mount.join(relative);
    if let Some(unit) = relative.strip_suffix("/agent") {
        let path = mount.join(unit);
        return Some(CgroupBase::at(path));
    }
    if root {
        let digest = ring::digest::digest(&ring::digest::SHA256, data.as_os_str().as_bytes());
        let hex: String = digest.as_ref()[..4]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let path = mount.join(format!("fleetctl-{hex}"));
        return Some(CgroupBase {
            levels: vec![mount, path.clone()],
            path,
        });
    }
    (!relative.is_empty()).then(|| CgroupBase {
        path: own,
        levels: Vec::new(),
    })
}

/// Root and place of a mounted hierarchy of version 2, from a line of mountinfo; see proc(5).
fn mount_of(line: &str) -> Option<(String, PathBuf)> {
    let (front, back) = line.split_once(" - ")?;
    if back.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = front.split(' ');
    let root = fields.nth(3)?;
    let place = fields.next()?;
    // Blanks in paths are written as octal numbers.
    Some((
        root.replace("\\040", " "),
        place.replace("\\040", " ").into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str =
        "24 1 8:1 / / rw - ext4 /dev/root rw\n29 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                          32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                          41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
    const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";

    fn chosen(own: &str, mounts: &str, root: bool) -> Option<(String, usize)> {
        let base = choose(own, mounts, root, Path::new("/var/lib/fleetctl"))?;
        Some((base.path.to_str()?.to_owned(), base.levels.len()))
    }

    #[test]
    fn the_place_follows_from_where_the_agent_is() {
        let unit = "0::/system.slice/fleetctl-agent.service";
        let hash = chosen("0::/", UNIFIED, true).expect("a place").0;
        assert!(hash.starts_with("/sys/fs/cgroup/fleetctl-"), "{hash}");
        let top = |mount: &str| {
            let name = hash.rsplit('/').next().expect("a name");
            Some((format!("{mount}/{name}"), 2))
        };
        let own = |path: &str, levels| Some((path.to_owned(), levels));
        let cases = [
            ("0::/", UNIFIED, true, top("/sys/fs/cgroup")),
            (unit, UNIFIED, true, top("/sys/fs/cgroup")),
            (
                "8:pids:/\n0::/",
                HYBRID,
                true,
                top("/sys/fs/cgroup/unified"),
            ),
            ("0::/", UNIFIED, false, None),
            (
                unit,
                UNIFIED,
                false,
                own("/sys/fs/cgroup/system.slice/fleetctl-agent.service", 0),
            ),
            (
                "0::/system.slice/fleetctl-agent.service/agent",
                UNIFIED,
                true,
                own("/sys/fs/cgroup/system.slice/fleetctl-agent.service", 1),
            ),
            ("8:pids:/", V1, true, None),
            ("0::/", V1, true, None),
            ("0::/../other", UNIFIED, true, None),
            ("", "", true, None),
        ];
        for (cgroups, mounts, root, wanted) in cases {
            assert_eq!(
                chosen(cgroups, mounts, root),
                wanted,
                "{cgroups}, root {root}"
            );
        }
    }

    #[test]
    fn a_part_of_the_hierarchy_may_be_mounted() {
        let mounts = "29 24 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw";
        let own = chosen("0::/docker/abc/x", mounts, false)
            .expect("a place")
            .0;
        assert_eq!(own, "/sys/fs/cgroup/x");
        assert_eq!(chosen("0::/elsewhere", mounts, false), None);
    }

    #[test]
    fn controllers_that_exist_and_are_off_are_switched_on() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().join("base");
        fs::create_dir(&path).expect("a directory");
        fs::write(path.join("cgroup.controllers"), "cpu io pids\n").expect("a file");
        fs::write(path.join("cgroup.subtree_control"), "cpu\n").expect("a file");
        let base = CgroupBase::at(path.clone());
        assert_eq!(base.of_instance("web-1"), Some(path.join("w-web-1")));
        let written = fs::read_to_string(path.join("cgroup.subtree_control")).expect("a file");
        assert_eq!(written, "+pids");
    }

    #[test]
    fn a_place_that_cannot_be_made_is_none() {
        let base = CgroupBase::at("/proc/no/such/place".into());
        assert_eq!(base.of_instance("web-1"), None);
    }
}
