//! The image's own HEALTHCHECK.

use super::{
    fixture::{Fixture, LOCAL_IMAGE, PATIENCE, api},
    on_both_engines,
};
use bollard::query_parameters::BuildImageOptionsBuilder;
use fleetctl::{
    model::{Health, HealthCheck, HealthStatus, RuntimeKind},
    runtime::{ImageHealth, RuntimeEvent},
};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

on_both_engines!(
    the_images_own_check_is_told,
    a_check_of_the_workload_takes_its_place,
);

/// Well once `/tmp/well` is there.
const CHECK: &str = "HEALTHCHECK --interval=1s --timeout=5s --retries=1 CMD test -e /tmp/well\n";

/// A tar archive of one small file.
fn archive(name: &str, content: &str) -> Vec<u8> {
    let mut header = [0u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = header.to_vec();
    bytes.extend(content.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    bytes
}

/// Builds the local image with a check; its name.
async fn image(fixture: &Fixture) -> String {
    let kind = fixture.runtime.kind();
    // Podman's name for what is on the node only.
    let prefix = match kind {
        RuntimeKind::Podman => "localhost/",
        _ => "",
    };
    let name = format!("{prefix}fleetctl-test-health:1");
    let file = format!("FROM {prefix}{LOCAL_IMAGE}\n{CHECK}");
    let options = BuildImageOptionsBuilder::new()
        .dockerfile("Dockerfile")
        .t(&name)
        .rm(true)
        .build();
    let docker = api(kind);
    let body = bollard::body_full(archive("Dockerfile", &file).into());
    let mut building = docker.build_image(options, None, Some(body));
    while let Some(step) = building.next().await {
        let step = step.unwrap();
        assert!(step.error_detail.is_none(), "{step:?}");
    }
    name
}

async fn until_health(fixture: &Fixture, handle: &str, wanted: HealthStatus) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let health = fixture.runtime.inspect(handle).await.unwrap().health;
        if health == Some(ImageHealth::Told(wanted)) {
            return;
        }
        assert!(Instant::now() < deadline, "still {health:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn the_images_own_check_is_told(fixture: &Fixture) {
    let launch = fixture.of_image(&image(fixture).await, &["sleep", "600"]);
    let launched = fixture.launch(&launch).await;
    let handle = launched.handle.as_str();
    let is_docker = fixture.runtime.kind() == RuntimeKind::Docker;
    if is_docker {
        until_health(fixture, handle, HealthStatus::Unhealthy).await;
    } else {
        let health = fixture.runtime.inspect(handle).await.unwrap().health;
        assert_eq!(health, Some(ImageHealth::Ask { interval_ms: 1_000 }));
    }
    assert!(fixture.runtime.probe_image(handle, 10_000).await.is_err());

    let (sender, mut receiver) = mpsc::channel(64);
    let changed = RuntimeEvent::Changed {
        handle: handle.to_owned(),
    };
    let doing = async {
        assert_eq!(receiver.recv().await, Some(RuntimeEvent::Connected));
        fixture.until_exec(handle, &["touch", "/tmp/well"], 0).await;
        if is_docker {
            // Told without being asked.
            while receiver.recv().await.unwrap() != changed {}
            until_health(fixture, handle, HealthStatus::Healthy).await;
        }
        assert_eq!(fixture.runtime.probe_image(handle, 10_000).await, Ok(()));
        drop(receiver);
    };
    let watched = async { tokio::join!(fixture.runtime.watch(sender), doing) };
    timeout(PATIENCE, watched).await.unwrap();
    fixture.clean().await;
}

async fn a_check_of_the_workload_takes_its_place(fixture: &Fixture) {
    let image = image(fixture).await;
    let launch = fixture.with(&image, &["sleep", "600"], |workload| {
        workload.health = Some(Health::new(HealthCheck::Tcp("127.0.0.1:9".to_owned())));
    });
    let launched = fixture.launch(&launch).await;
    let found = fixture.runtime.inspect(&launched.handle).await.unwrap();
    assert_eq!(found.health, None);
    fixture.clean().await;
}
