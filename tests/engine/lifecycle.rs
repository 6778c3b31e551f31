//! Launch, adopt, end, stop, remove, and what goes wrong on the way.

use super::{
    fixture::{Fixture, LOCAL_IMAGE, PATIENCE},
    on_both_engines,
};
use fleetctl::{
    model::{Port, Protocol, RuntimeKind},
    runtime::{FoundStatus, LABEL_NODE, RuntimeError},
};
use std::net::TcpListener;
use tokio::time::Instant;

on_both_engines!(
    an_engine_tells_its_version,
    what_was_launched_is_found_and_ends_when_it_is_stopped,
    an_interrupted_launch_is_adopted,
    what_has_run_is_not_run_again_by_a_launch,
    two_versions_stand_beside_each_other,
    exit_codes_are_told,
    a_stop_ends_what_ignores_it,
    gone_is_no_error,
    a_missing_command_is_refused_and_leaves_nothing,
    a_taken_port_is_named,
    a_memory_limit_is_enforced_or_warned_about,
    a_limit_that_cannot_be_is_a_warning,
);

async fn an_engine_tells_its_version(fixture: &Fixture) {
    let version = fixture.runtime.version().await.unwrap();
    assert!(
        version.starts_with(|c: char| c.is_ascii_digit()),
        "{version}"
    );
}

async fn what_was_launched_is_found_and_ends_when_it_is_stopped(fixture: &Fixture) {
    let launch = fixture.shell("trap 'exit 7' TERM; while :; do sleep 0.1; done");
    let launched = fixture.launch(&launch).await;
    assert_eq!(launched.warnings, Vec::<String>::new());

    let list = fixture.list().await;
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].handle, launched.handle);
    assert_eq!(list[0].workload, launch.workload.name);
    assert_eq!(list[0].version, "1");
    assert_eq!(list[0].spec_hash, launch.spec_hash);
    match list[0].status {
        FoundStatus::Running { started_ms, pid } => {
            assert!(started_ms > 0);
            assert!(pid.is_some_and(|pid| std::fs::exists(format!("/proc/{pid}")).unwrap()));
        }
        ref other => panic!("{other:?}"),
    }
    // Running already is no error.
    fixture.runtime.start(&launched.handle).await.unwrap();

    fixture
        .runtime
        .stop(&launched.handle, 20_000)
        .await
        .unwrap();
    assert_eq!(fixture.exit(&launched.handle).await.code, Some(7));
    // Stopped already is no error, and it starts again.
    fixture
        .runtime
        .stop(&launched.handle, 20_000)
        .await
        .unwrap();
    fixture.runtime.start(&launched.handle).await.unwrap();
    let running = |status: &FoundStatus| matches!(status, FoundStatus::Running { .. });
    fixture.wait_for(&launched.handle, running).await;

    fixture.runtime.remove(&launched.handle).await.unwrap();
    assert!(fixture.list().await.is_empty());
}

/// As when the launch of an agent that was killed has come late.
async fn what_has_run_is_not_run_again_by_a_launch(fixture: &Fixture) {
    let launch = fixture.shell("echo ran; exit 3");
    let launched = fixture.launch(&launch).await;
    assert_eq!(fixture.exit(&launched.handle).await.code, Some(3));
    assert_eq!(fixture.launch(&launch).await.handle, launched.handle);
    assert_eq!(fixture.exit(&launched.handle).await.code, Some(3));
    assert_eq!(
        super::configured::texts(fixture, &launched.handle).await,
        ["ran"]
    );
    fixture.clean().await;
}

async fn an_interrupted_launch_is_adopted(fixture: &Fixture) {
    let launch = fixture.shell("sleep 600");
    let first = fixture.launch(&launch).await;
    let second = fixture.launch(&launch).await;
    assert_eq!(first.handle, second.handle);
    assert_eq!(fixture.list().await.len(), 1);
    fixture.clean().await;
}

async fn two_versions_stand_beside_each_other(fixture: &Fixture) {
    let first = fixture.shell("sleep 600");
    let old = fixture.launch(&first).await;
    let second = fixture.shell("sleep 601");
    let new = fixture.launch(&second).await;
    assert_ne!(old.handle, new.handle);
    assert_eq!(fixture.list().await.len(), 2);
    fixture.clean().await;
    assert!(fixture.list().await.is_empty());
}

async fn exit_codes_are_told(fixture: &Fixture) {
    let launched = fixture.launch(&fixture.shell("exit 42")).await;
    let exit = fixture.exit(&launched.handle).await;
    assert_eq!((exit.code, exit.out_of_memory), (Some(42), false));
    fixture.clean().await;
}

async fn a_stop_ends_what_ignores_it(fixture: &Fixture) {
    let launched = fixture
        .launch(&fixture.shell("trap '' TERM; while :; do sleep 0.1; done"))
        .await;
    let began = Instant::now();
    fixture.runtime.stop(&launched.handle, 1_000).await.unwrap();
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    let exit = fixture.exit(&launched.handle).await;
    assert_eq!((exit.code, exit.out_of_memory), (Some(137), false));
    fixture.clean().await;
}

async fn gone_is_no_error(fixture: &Fixture) {
    let launched = fixture.launch(&fixture.shell("sleep 600")).await;
    fixture.runtime.remove(&launched.handle).await.unwrap();
    fixture.runtime.remove(&launched.handle).await.unwrap();
    fixture.runtime.stop(&launched.handle, 1_000).await.unwrap();
    let gone = RuntimeError::NotFound(launched.handle.clone());
    assert_eq!(
        fixture.runtime.inspect(&launched.handle).await,
        Err(gone.clone())
    );
    assert_eq!(fixture.runtime.start(&launched.handle).await, Err(gone));
}

async fn a_missing_command_is_refused_and_leaves_nothing(fixture: &Fixture) {
    let outcome = fixture
        .try_launch(&fixture.of_image(LOCAL_IMAGE, &["/bin/nope"]))
        .await;
    let sentence = format!("`/bin/nope` was not found in image `{LOCAL_IMAGE}`");
    assert_eq!(outcome, Err(RuntimeError::Refused(sentence)));
    assert!(fixture.list().await.is_empty());
    let outcome = fixture
        .try_launch(&fixture.of_image(LOCAL_IMAGE, &[]))
        .await;
    assert!(
        matches!(&outcome, Err(RuntimeError::Refused(text)) if text.contains("no command")),
        "{outcome:?}"
    );
}

async fn a_taken_port_is_named(fixture: &Fixture) {
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let host = taken.local_addr().unwrap().port();
    let launch = fixture.with(LOCAL_IMAGE, &["sleep", "600"], |workload| {
        workload.ports.push(Port {
            address: None,
            host,
            container: 80,
            protocol: Protocol::Tcp,
        });
    });
    let sentence = format!("port {host} is already taken on this node");
    assert_eq!(
        fixture.try_launch(&launch).await,
        Err(RuntimeError::Failed(sentence))
    );
    assert!(fixture.list().await.is_empty());

    drop(taken);
    let launched = fixture.launch(&launch).await;
    let running = |status: &FoundStatus| matches!(status, FoundStatus::Running { .. });
    fixture.wait_for(&launched.handle, running).await;
    fixture.clean().await;
}

async fn a_memory_limit_is_enforced_or_warned_about(fixture: &Fixture) {
    // `tail` keeps a line without an end in memory; without a limit it ends by `head`.
    let command = "head -c 64m /dev/zero | tail | wc -c";
    let launch = fixture.with(LOCAL_IMAGE, &["/bin/sh", "-c", command], |workload| {
        workload.resources.memory = Some(16 << 20);
        workload.resources.nice = Some(5);
    });
    let launched = fixture.launch(&launch).await;
    assert!(
        launched.warnings.iter().any(|text| text.contains("`nice`")),
        "{launched:?}"
    );
    let not_enforced = launched.warnings.len() > 1;
    let exit = fixture.exit(&launched.handle).await;
    // The shell outlives the program that is killed, and tells what `wc` has counted.
    let lines = fixture
        .logs(&launched.handle, fleetctl::model::LogQuery::default())
        .await;
    let all_of_it = lines.iter().any(|line| line.text.trim() == "67108864");
    assert_eq!(
        all_of_it, not_enforced,
        "{exit:?} {lines:?} {:?}",
        launched.warnings
    );
    fixture.clean().await;

    let launch = fixture.with(LOCAL_IMAGE, &["tail", "/dev/zero"], |workload| {
        workload.resources.memory = Some(16 << 20);
    });
    if !not_enforced {
        let launched = fixture.launch(&launch).await;
        let exit = fixture.exit(&launched.handle).await;
        assert_eq!((exit.code, exit.out_of_memory), (Some(137), true));
        assert!(exit.message.is_some_and(|text| text.contains("16 MiB")));
        fixture.clean().await;
    }
}

async fn a_limit_that_cannot_be_is_a_warning(fixture: &Fixture) {
    let launch = fixture.with(LOCAL_IMAGE, &["sleep", "600"], |workload| {
        workload.resources.cpus = Some(4096.0);
    });
    let launched = fixture.launch(&launch).await;
    // Docker refuses more processors than there are; Podman takes it for no limit.
    if fixture.runtime.kind() == RuntimeKind::Docker {
        assert!(
            launched
                .warnings
                .iter()
                .any(|text| text.contains("not enforced")),
            "{launched:?}"
        );
    }
    fixture.clean().await;
}

#[tokio::test]
async fn a_strangers_container_is_left_alone() {
    for kind in [RuntimeKind::Docker, RuntimeKind::Podman] {
        let fixture = match kind {
            RuntimeKind::Docker => Fixture::docker("stranger").await,
            _ => Fixture::podman("stranger").await,
        };
        // Another node's, as far as the labels go, under the name that ours would get.
        let launch = fixture.shell("sleep 600");
        let name = launch.container_name();
        let made = make_stranger(kind, &name).await;
        let outcome = fixture.try_launch(&launch).await;
        assert!(
            matches!(&outcome, Err(RuntimeError::Refused(text)) if text.contains(&name)),
            "{outcome:?}"
        );
        fixture.runtime.remove(&made).await.unwrap();
        assert!(fixture.list().await.is_empty());
    }
}

/// A container without our labels, by the API that both engines have.
async fn make_stranger(kind: RuntimeKind, name: &str) -> String {
    let docker = super::fixture::api(kind);
    let options = bollard::query_parameters::CreateContainerOptionsBuilder::new()
        .name(name)
        .build();
    let body = bollard::models::ContainerCreateBody {
        image: Some(LOCAL_IMAGE.to_owned()),
        cmd: Some(vec!["sleep".to_owned(), "600".to_owned()]),
        labels: Some([(LABEL_NODE.to_owned(), "another".to_owned())].into()),
        ..Default::default()
    };
    docker
        .create_container(Some(options), body)
        .await
        .unwrap()
        .id
}
