//! Limits, options, files, logs: what a workload asks for is what its container has.

use super::{
    fixture::{Fixture, LOCAL_IMAGE, api},
    on_both_engines,
};
use fleetctl::{
    model::{FileSpec, LogQuery, Run, Signal, Tmpfs, Workload},
    runtime::{FoundStatus, Launched},
};
use std::sync::Arc;

on_both_engines!(
    limits_and_options_reach_the_program,
    the_engine_knows_of_limits,
    files_change_in_place_and_a_signal_tells,
    files_go_with_their_container,
    logs_have_a_limit,
    usage_is_told_while_it_runs,
);

fn shell(
    fixture: &Fixture,
    script: &str,
    change: impl FnOnce(&mut Workload),
) -> fleetctl::runtime::Launch {
    fixture.with(LOCAL_IMAGE, &["/bin/sh", "-c", script], change)
}

fn not_enforced(launched: &Launched, what: &str) -> bool {
    let is_it = |text: &String| text.contains("not enforced") && text.contains(what);
    launched.warnings.iter().any(is_it)
}

pub(super) async fn texts(fixture: &Fixture, handle: &str) -> Vec<String> {
    let lines = fixture.logs(handle, LogQuery::default()).await;
    lines.into_iter().map(|line| line.text).collect()
}

async fn limits_and_options_reach_the_program(fixture: &Fixture) {
    let script = "ulimit -n; cat /proc/self/oom_score_adj; \
                  touch /x 2>/dev/null && echo writable || echo read-only; \
                  touch /mem/x && echo memory; \
                  echo $FLEETCTL_NODE $FLEETCTL_WORKLOAD $FLEETCTL_PARAMS; hostname";
    let launch = shell(fixture, script, |workload| {
        workload.resources.open_files = Some(123);
        workload.resources.oom_score = Some(500);
        workload.resources.read_only = true;
        workload.resources.tmpfs.push(Tmpfs {
            path: "/mem".to_owned(),
            size: Some(1 << 20),
        });
        workload.params.insert("n".to_owned(), 7.into());
        if let Run::Container { options, .. } = &mut workload.run {
            options.hostname = Some("box".to_owned());
            options.cap_drop = vec!["ALL".to_owned()];
        }
    });
    let launched = fixture.launch(&launch).await;
    assert_eq!(fixture.exit(&launched.handle).await.code, Some(0));
    let texts = texts(fixture, &launched.handle).await;
    assert_eq!(texts.len(), 6, "{texts:?}");
    assert!(
        texts[0] == "123" || not_enforced(&launched, "open files"),
        "{texts:?}"
    );
    assert!(
        texts[1] == "500" || not_enforced(&launched, "OOM score"),
        "{texts:?}"
    );
    assert_eq!(texts[2..4], ["read-only", "memory"]);
    let node = &fixture.node;
    assert_eq!(texts[4], format!("{node} {node} {{\"n\":7}}"));
    assert_eq!(texts[5], "box");
    fixture.clean().await;
}

async fn the_engine_knows_of_limits(fixture: &Fixture) {
    let launch = shell(fixture, "sleep 600", |workload| {
        workload.resources.memory = Some(64 << 20);
        workload.resources.pids = Some(50);
        if let Run::Container { options, .. } = &mut workload.run {
            options
                .labels
                .insert("colour".to_owned(), "green".to_owned());
        }
    });
    let launched = fixture.launch(&launch).await;
    let docker = api(fixture.runtime.kind());
    let inspected = docker
        .inspect_container(&launched.handle, None)
        .await
        .unwrap();
    let host = inspected.host_config.unwrap();
    assert!(
        host.memory == Some(64 << 20) || not_enforced(&launched, "memory"),
        "{host:?}"
    );
    assert!(
        host.pids_limit == Some(50) || not_enforced(&launched, "processes"),
        "{host:?}"
    );
    let labels = inspected.config.unwrap().labels.unwrap();
    assert_eq!(labels["colour"], "green");
    fixture.clean().await;
}

fn with_file(content: &str) -> impl FnOnce(&mut Workload) {
    let file = FileSpec {
        path: "/etc/app.conf".to_owned(),
        content: content.to_owned(),
        mode: 0o644,
        verbatim: false,
    };
    move |workload| {
        workload.files.push(file);
        workload.reload = Some(Signal::SigHup);
    }
}

async fn files_change_in_place_and_a_signal_tells(fixture: &Fixture) {
    let script = "trap 'echo again; cat /etc/app.conf' HUP; cat /etc/app.conf; \
                  touch /tmp/ready; while :; do sleep 0.1; done";
    let first = shell(fixture, script, with_file("one\n"));
    let launched = fixture.launch(&first).await;
    fixture
        .until_exec(&launched.handle, &["test", "-e", "/tmp/ready"], 0)
        .await;
    let before = fixture.runtime.inspect(&launched.handle).await.unwrap();
    assert!(
        !fixture
            .runtime
            .reload(&launched.handle, &first)
            .await
            .unwrap()
    );

    let second = shell(fixture, script, with_file("two\n"));
    assert_eq!(first.spec_hash, second.spec_hash);
    assert!(
        fixture
            .runtime
            .reload(&launched.handle, &second)
            .await
            .unwrap()
    );
    let (_, out, _) = fixture
        .exec(&launched.handle, &["cat", "/etc/app.conf"])
        .await;
    assert_eq!(out, "two\n");
    let after = fixture.runtime.inspect(&launched.handle).await.unwrap();
    assert_eq!(before.status, after.status, "it was not restarted");

    let deadline = tokio::time::Instant::now() + super::fixture::PATIENCE;
    while texts(fixture, &launched.handle).await != ["one", "again", "two"] {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    fixture.clean().await;
}

async fn files_go_with_their_container(fixture: &Fixture) {
    let launch = shell(fixture, "sleep 600", with_file("x"));
    let launched = fixture.launch(&launch).await;
    let files = fixture.place.path().join("files");
    let dir = files.join(launch.container_name());
    assert!(dir.join("0").exists());
    // Left behind by an agent that was killed, and of a container that is gone.
    let stale = files.join("fleetctl-stale-00000000");
    std::fs::create_dir_all(&stale).unwrap();
    assert_eq!(fixture.list().await.len(), 1);
    assert!(!stale.exists() && dir.join("0").exists());
    fixture.runtime.remove(&launched.handle).await.unwrap();
    assert!(!dir.exists());
}

async fn logs_have_a_limit(fixture: &Fixture) {
    let script = "i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo line $i; done";
    let launch = shell(fixture, script, |workload| {
        workload.logs.max_size = 32 << 10;
        workload.logs.max_files = 2;
    });
    let launched = fixture.launch(&launch).await;
    fixture.exit(&launched.handle).await;
    let texts = texts(fixture, &launched.handle).await;
    assert_eq!(texts.last().map(String::as_str), Some("line 6000"));
    // Each line takes at least forty bytes in a file, with its time.
    assert!(
        texts.len() < 3 * (64 << 10) / 40,
        "{} lines are kept",
        texts.len()
    );
    fixture.clean().await;
}

async fn usage_is_told_while_it_runs(fixture: &Fixture) {
    let launched = fixture.launch(&fixture.shell("while :; do :; done")).await;
    let running = |status: &FoundStatus| matches!(status, FoundStatus::Running { .. });
    fixture.wait_for(&launched.handle, running).await;
    let runtime = Arc::clone(&fixture.runtime);
    let first = runtime.usage(&launched.handle).await.unwrap();
    assert!(first.memory > 0, "{first:?}");
    let deadline = tokio::time::Instant::now() + super::fixture::PATIENCE;
    while runtime.usage(&launched.handle).await.unwrap().cpu_us <= first.cpu_us {
        assert!(tokio::time::Instant::now() < deadline);
    }
    runtime.remove(&launched.handle).await.unwrap();
    assert_eq!(runtime.usage(&launched.handle).await, None);
}
