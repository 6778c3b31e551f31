//! Containers that fleetctl did not make.

use super::{
    fixture::{Fixture, LOCAL_IMAGE, api, engine},
    on_both_engines,
};
use bollard::{
    models::{
        ContainerCreateBody, ContainerInspectResponse, HostConfig, RestartPolicy,
        RestartPolicyNameEnum,
    },
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder},
};
use fleetctl::{
    model::{LogQuery, Unmanaged},
    runtime::{FoundStatus, RuntimeError, docker::RegistryCredentials},
};

on_both_engines!(
    nothing_differs_and_it_is_not_even_restarted,
    what_differs_is_made_anew,
    who_asks_for_it_is_announced,
    what_another_workload_has_adopted_is_refused,
);

/// A running container of somebody, and its id.
async fn somebodys(
    fixture: &Fixture,
    change: impl FnOnce(&mut ContainerCreateBody),
) -> (String, String) {
    let docker = api(fixture.runtime.kind());
    let name = format!("somebodys-{}", fixture.node);
    remove(fixture, &name).await;
    let mut body = ContainerCreateBody {
        image: Some(LOCAL_IMAGE.to_owned()),
        cmd: Some(
            ["/bin/sh", "-c", "echo begun; exec sleep 600"]
                .map(str::to_owned)
                .to_vec(),
        ),
        env: Some(vec!["COLOUR=green".to_owned()]),
        stop_timeout: Some(0),
        host_config: Some(HostConfig {
            binds: Some(vec!["/etc:/node:ro".to_owned()]),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::ALWAYS),
                maximum_retry_count: None,
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    change(&mut body);
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    let made = docker.create_container(Some(options), body).await.unwrap();
    docker.start_container(&made.id, None).await.unwrap();
    (name, made.id)
}

async fn remove(fixture: &Fixture, name: &str) {
    let options = RemoveContainerOptionsBuilder::new().force(true).build();
    // Gone is fine.
    let _ = api(fixture.runtime.kind())
        .remove_container(name, Some(options))
        .await;
}

async fn inspected(fixture: &Fixture, id: &str) -> ContainerInspectResponse {
    let docker = api(fixture.runtime.kind());
    docker.inspect_container(id, None).await.unwrap()
}

async fn told(fixture: &Fixture, whole: bool, name: &str) -> Option<Unmanaged> {
    let all = fixture.runtime.unmanaged(whole).await.unwrap();
    all.into_iter().find(|one| one.name == name)
}

async fn nothing_differs_and_it_is_not_even_restarted(fixture: &Fixture) {
    let (name, id) = somebodys(fixture, |_| {}).await;
    let told_of = told(fixture, true, &name).await.unwrap();
    assert!(told_of.running && !told_of.announced, "{told_of:?}");
    assert_eq!(told_of.lost, Vec::<String>::new());
    let mut workload = told_of.workload.unwrap();
    assert_eq!(workload.adopt.as_deref(), Some(name.as_str()));
    assert_eq!(workload.env.len(), 1, "{:?}", workload.env);
    workload.name = fixture.node.clone();
    let launch = fixture.launch_of(workload);

    let before = inspected(fixture, &id).await.state.unwrap().started_at;
    let launched = fixture.launch(&launch).await;
    assert_eq!(launched.handle, id);
    assert_eq!(fixture.launch(&launch).await.handle, id);
    let after = inspected(fixture, &id).await;
    assert_eq!(before, after.state.unwrap().started_at);
    // Podman before 5.1 cannot be told to leave restarts to us.
    let policy = after.host_config.unwrap().restart_policy.unwrap().name;
    let restarts = policy == Some(RestartPolicyNameEnum::ALWAYS);
    let warned = |text: &String| text.contains("still restarts") && text.contains(&name);
    assert_eq!(
        launched.warnings.iter().any(warned),
        restarts,
        "{launched:?}"
    );
    assert!(told(fixture, true, &name).await.is_none(), "it is ours now");

    // Also for the next agent.
    let kind = fixture.runtime.kind();
    let again = engine(kind, RegistryCredentials::default(), fixture.place.path());
    let list = again.list(&fixture.node).await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(
        (&list[0].handle, &list[0].spec_hash),
        (&id, &launch.spec_hash)
    );
    let lines = fixture.logs(&id, LogQuery::default()).await;
    assert_eq!(lines[0].text, "begun");

    // What is stopped stays so under either policy, and starts again.
    fixture.runtime.stop(&id, 0).await.unwrap();
    fixture.exit(&id).await;
    fixture.runtime.start(&id).await.unwrap();
    let running = |status: &FoundStatus| matches!(status, FoundStatus::Running { .. });
    fixture.wait_for(&id, running).await;
    fixture.clean().await;
    assert!(fixture.list().await.is_empty());
    let gone = fixture.runtime.inspect(&id).await;
    assert_eq!(gone, Err(RuntimeError::NotFound(id)));
}

async fn what_differs_is_made_anew(fixture: &Fixture) {
    let (name, id) = somebodys(fixture, |_| {}).await;
    let mut workload = told(fixture, true, &name).await.unwrap().workload.unwrap();
    workload.name = fixture.node.clone();
    workload.env.insert("COLOUR".to_owned(), "red".to_owned());
    let launch = fixture.launch_of(workload);
    let launched = fixture.launch(&launch).await;
    assert_ne!(launched.handle, id);
    let warned = |text: &String| text.contains(&name) && text.contains("env");
    assert!(launched.warnings.iter().any(warned), "{launched:?}");
    let command = ["sh", "-c", "echo $COLOUR"];
    let (_, out, _) = fixture.exec(&launched.handle, &command).await;
    assert_eq!(out, "red\n");
    assert!(
        told(fixture, true, &name).await.is_none(),
        "the old one is gone"
    );
    // A second launch finds it made already.
    assert_eq!(fixture.launch(&launch).await.handle, launched.handle);
    fixture.clean().await;
}

async fn who_asks_for_it_is_announced(fixture: &Fixture) {
    let (name, _) = somebodys(fixture, |_| {}).await;
    assert!(told(fixture, false, &name).await.is_none());
    let labels = [
        ("fleetctl.discover", "true"),
        ("com.docker.compose.project", "shop"),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let (name, _) = somebodys(fixture, |body| body.labels = Some(labels.into())).await;
    let announced = told(fixture, false, &name).await.unwrap();
    assert!(announced.announced && announced.workload.is_none());
    assert_eq!(announced.project.as_deref(), Some("shop"));
    remove(fixture, &name).await;
}

async fn what_another_workload_has_adopted_is_refused(fixture: &Fixture) {
    let (name, _) = somebodys(fixture, |_| {}).await;
    let mut workload = told(fixture, true, &name).await.unwrap().workload.unwrap();
    workload.name = fixture.node.clone();
    fixture.launch(&fixture.launch_of(workload.clone())).await;
    workload.name = "another".parse().unwrap();
    let outcome = fixture.try_launch(&fixture.launch_of(workload)).await;
    assert!(
        matches!(&outcome, Err(RuntimeError::Refused(text)) if text.contains("adopted by")),
        "{outcome:?}"
    );
    fixture.clean().await;
    remove(fixture, &name).await;
}
