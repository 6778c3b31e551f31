//! A disk without room, and directories of an earlier release.

use super::*;
use crate::e2e::harness::SmallDisk;

/// A runtime whose instances are on a small disk.
fn on(disk: &SmallDisk) -> Node {
    let root = tempfile::tempdir_in(disk.path()).expect("a temporary directory");
    Node::at(root, |processes| processes)
}

#[tokio::test]
async fn a_full_disk_does_not_hold_a_program_up_and_is_told() {
    let disk = SmallDisk::mount();
    let node = on(&disk);
    let outside = tempfile::tempdir().expect("a temporary directory");
    let script = format!(
        "cd {}; echo before; while [ ! -e go ]; do sleep 0.01; done; \
         i=0; line=$(printf '%0900d' 0); \
         while [ $i -lt 2000 ]; do echo lost $line; i=$((i+1)); done; touch done; \
         while [ ! -e on ]; do sleep 0.01; done; echo after; exit 3",
        outside.path().display()
    );
    let launched = node.sh(&script).await;
    node.wait_for_line(&launched.handle, "before").await;
    disk.fill();
    std::fs::write(outside.path().join("go"), "").expect("written");
    // 1.8 MB, which no pipe holds.
    until(|| async { outside.path().join("done").exists() }).await;
    disk.free();
    std::fs::write(outside.path().join("on"), "").expect("written");
    assert_eq!(node.exit(&launched.handle).await.code, Some(3));
    let texts = node.texts(&launched.handle).await;
    let notices: Vec<&String> = texts
        .iter()
        .filter(|t| t.starts_with("fleetctl: "))
        .collect();
    // A page that was begun may take some lines more: what is there and what is told add up.
    assert!((1..=5).contains(&notices.len()), "{notices:?}");
    let missing = notices.iter().map(|text| {
        let number = text.split(' ').nth(1).expect("a number");
        assert!(text.contains("lines are missing here"), "{text}");
        number.parse::<usize>().expect("a number")
    });
    let kept = texts.iter().filter(|t| t.starts_with("lost ")).count();
    assert_eq!(missing.sum::<usize>() + kept, 2_000);
    assert_eq!(texts.last().map(String::as_str), Some("after"));
}

#[tokio::test]
async fn the_end_is_written_down_on_a_full_disk_and_it_can_be_started_again() {
    let disk = SmallDisk::mount();
    let node = on(&disk);
    let outside = tempfile::tempdir().expect("a temporary directory");
    let go = outside.path().join("go");
    let script = format!(
        "while [ ! -e {} ]; do sleep 0.01; done; exit 5",
        go.display()
    );
    let launched = node.sh(&script).await;
    until(|| async { node.dir(&launched.handle).join(".room").exists() }).await;
    disk.fill();
    std::fs::write(&go, "").expect("written");
    assert_eq!(node.exit(&launched.handle).await.code, Some(5));
    node.processes
        .start(&launched.handle)
        .await
        .expect("a start");
    assert_eq!(node.exit(&launched.handle).await.code, Some(5));
}

#[tokio::test]
async fn a_plan_of_the_first_release_is_started() {
    let node = Node::new();
    let dir = node.dir("web-00000001");
    std::fs::create_dir_all(dir.join("work")).expect("a directory");
    let plan = serde_json::json!({
        "node": "pi-1", "workload": "web", "version": "1", "spec_hash": "00",
        "command": ["/bin/sh", "-c", "echo hello"],
        "resources": {"memory": null, "cpus": null, "nice": null},
    });
    std::fs::write(dir.join("instance.json"), plan.to_string()).expect("written");
    node.processes.start("web-00000001").await.expect("a start");
    assert_eq!(node.exit("web-00000001").await.code, Some(0));
    assert_eq!(node.texts("web-00000001").await, ["hello"]);
}
