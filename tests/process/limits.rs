//! What a program may use, and that nothing escapes its end.

use super::*;

/// The value of a limit in `/proc/<pid>/limits`.
fn limit(pid: u32, name: &str) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let line = limits.lines().find(|line| line.starts_with(name));
    let rest = line.expect("the limit")[name.len()..].split_whitespace();
    rest.take(1).collect()
}

#[tokio::test]
async fn limits_are_set() {
    let node = Node::without_cgroups();
    let launch = launch_of(&["/bin/sleep", "600"], |workload| {
        workload.resources = Resources {
            memory: Some(256 << 20),
            cpus: Some(0.5),
            nice: Some(7),
            open_files: Some(33),
            oom_score: Some(321),
            ..Resources::default()
        };
    });
    let launched = node.launch(&launch).await.expect("a launch");
    let pid = launched.pid.expect("a pid");
    assert_eq!(limit(pid, "Max address space"), "268435456");
    assert_eq!(limit(pid, "Max open files"), "33");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a stat file");
    let (_, fields) = stat.rsplit_once(") ").expect("a name");
    assert_eq!(fields.split(' ').nth(16), Some("7"));
    let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("a score");
    assert_eq!(score.trim(), "321");
    assert_eq!(launched.warnings.len(), 1, "{:?}", launched.warnings);
    let warning = &launched.warnings[0];
    assert!(warning.contains("0.5 cpus is not enforced"), "{warning}");
}

#[tokio::test]
async fn a_program_has_a_cgroup_and_takes_it_along() {
    let node = Node::new();
    let launched = node.sh("sleep 600 & echo up; wait").await;
    node.wait_for_line(&launched.handle, "up").await;
    let cgroup = node
        .cgroup(&launched.handle)
        .expect("a cgroup of version 2: this test needs root and a hierarchy that can be written");
    let procs = std::fs::read_to_string(cgroup.join("cgroup.procs")).expect("a cgroup");
    let pids: Vec<u64> = procs
        .lines()
        .map(|pid| pid.parse().expect("a pid"))
        .collect();
    assert!(
        pids.contains(&node.pid(&launched.handle, "child")),
        "{pids:?}"
    );
    assert!(
        !pids.contains(&node.pid(&launched.handle, "shim")),
        "{pids:?}"
    );
    assert_eq!(pids.len(), 2);
    node.processes
        .stop(&launched.handle, 10_000)
        .await
        .expect("a stop");
    assert!(!cgroup.exists());
    node.processes
        .remove(&launched.handle)
        .await
        .expect("a removal");
    assert!(!cgroup.parent().expect("a base").exists());
}

/// A session of its own, a parent that is gone, and no signal but SIGKILL.
const HIDING: &str = "setsid /bin/sh -c \"trap '' TERM HUP; echo \\$\\$; \
                      while :; do sleep 600; done\" & sleep 600";

#[tokio::test]
async fn a_grandchild_that_hides_is_killed() {
    for node in [Node::new(), Node::without_cgroups()] {
        let launched = node.sh(HIDING).await;
        until(|| async { node.texts(&launched.handle).await.len() == 1 }).await;
        let hidden: u64 = node.texts(&launched.handle).await[0]
            .parse()
            .expect("a pid");
        assert!(lives(hidden));
        node.processes
            .stop(&launched.handle, 10_000)
            .await
            .expect("a stop");
        assert!(!lives(hidden));
    }
}

#[tokio::test]
async fn a_grandchild_does_not_outlive_a_shim_that_is_killed() {
    let node = Node::new();
    let launched = node.sh(HIDING).await;
    until(|| async { node.texts(&launched.handle).await.len() == 1 }).await;
    let hidden: u64 = node.texts(&launched.handle).await[0]
        .parse()
        .expect("a pid");
    let cgroup = node.cgroup(&launched.handle).expect("a cgroup");
    let shim = node.pid(&launched.handle, "shim");
    kill_process(raw(shim), Signal::KILL).expect("a signal");
    until(|| async { !lives(shim) }).await;
    assert_eq!(node.exit(&launched.handle).await.code, None);
    until(|| async { !lives(hidden) && !cgroup.exists() }).await;
}

/// Forks without end, ignores SIGTERM, and each process takes a session of its own.
const BOMB: &str = "import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('armed', flush=True)
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        pass
";

/// Processes of a user.
fn of_user(uid: u32) -> usize {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir("/proc").expect("a listing").flatten();
    let pids = entries.filter(|e| e.file_name().to_string_lossy().parse::<u64>().is_ok());
    pids.filter(|e| e.metadata().is_ok_and(|found| found.uid() == uid))
        .count()
}

#[tokio::test]
async fn a_fork_bomb_stays_within_its_limit_and_can_be_stopped() {
    for (node, uid) in [(Node::new(), 54_321_u32), (Node::without_cgroups(), 54_322)] {
        let launch = launch_of(&[], |workload| {
            workload.run = Run::Process {
                command: ["/usr/bin/python3", "-c", BOMB].map(str::to_owned).to_vec(),
                user: Some(uid.to_string()),
                working_dir: Some("/".to_owned()),
            };
            workload.resources.pids = Some(25);
        });
        let launched = node.launch(&launch).await.expect("a launch");
        until(|| async { of_user(uid) >= 25 }).await;
        assert_eq!(of_user(uid), 25);
        // Somebody else is not slowed down.
        let other = launch_of(&["/bin/true"], |workload| {
            workload.name = "other".parse().expect("a name");
        });
        let other = node.launch(&other).await.expect("a launch");
        assert_eq!(node.exit(&other.handle).await.code, Some(0));

        node.processes
            .stop(&launched.handle, 100)
            .await
            .expect("a stop");
        assert_eq!(of_user(uid), 0);
        assert_eq!(node.exit(&launched.handle).await.code, Some(137));
    }
}

#[tokio::test]
async fn what_it_uses_is_told() {
    for node in [Node::new(), Node::without_cgroups()] {
        // The work is done by a child that has ended, and by one that runs.
        let work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let launched = node
            .sh(&format!("({work}); echo up; sleep 600 & wait"))
            .await;
        node.wait_for_line(&launched.handle, "up").await;
        let usage = node.processes.usage(&launched.handle).await.expect("usage");
        assert!(usage.cpu_us >= 10_000, "{usage:?}");
        assert!(
            usage.memory > 100_000 && usage.memory < 100 << 20,
            "{usage:?}"
        );
        node.processes
            .stop(&launched.handle, 10_000)
            .await
            .expect("a stop");
        assert_eq!(node.processes.usage(&launched.handle).await, None);
    }
}
