//! Fetching: what is there, what is not, and passwords.

use super::{
    fixture::{Fixture, engine, in_registry},
    on_both_engines,
};
use fleetctl::{
    model::{PullPolicy, Run, Workload},
    runtime::{Launch, Progress, RuntimeError, docker::RegistryCredentials},
};
use tokio::sync::mpsc;

on_both_engines!(
    an_image_is_fetched_with_the_right_password,
    wrong_and_missing_passwords_are_told,
    a_missing_tag_is_told,
    an_unreachable_registry_is_told,
    an_image_of_another_architecture_is_refused,
    never_means_never,
    always_uses_what_is_there_when_the_registry_is_away,
    a_preparation_is_enough,
    a_name_that_cannot_be_is_refused,
);

fn policy(pull_policy: PullPolicy) -> impl FnOnce(&mut Workload) {
    move |workload| {
        if let Run::Container { pull, .. } = &mut workload.run {
            *pull = pull_policy;
        }
    }
}

fn image_error(outcome: Result<impl std::fmt::Debug, RuntimeError>) -> String {
    match outcome {
        Err(RuntimeError::Image(sentence)) => sentence,
        other => panic!("{other:?}"),
    }
}

async fn prepare(fixture: &Fixture, launch: &Launch) -> Result<(), RuntimeError> {
    let (progress, _) = mpsc::unbounded_channel();
    fixture.runtime.prepare(launch, progress).await
}

async fn an_image_is_fetched_with_the_right_password(fixture: &Fixture) {
    // Always: it may be on the node from another test.
    let launch = fixture.with(
        &in_registry("fleet/hello:1"),
        &[],
        policy(PullPolicy::Always),
    );
    let (outcome, told) = fixture.launch_told(&launch).await;
    let launched = outcome.unwrap();
    assert_eq!(launched.warnings, Vec::<String>::new());
    assert_eq!(told.first(), Some(&Progress::Pulling(None)));
    assert_eq!(told.last(), Some(&Progress::Starting));
    assert_eq!(fixture.list().await.len(), 1);
    fixture.clean().await;
}

async fn wrong_and_missing_passwords_are_told(fixture: &Fixture) {
    let image = in_registry("fleet/hello:2");
    let registry = image.split('/').next().unwrap();
    // Never fetched with the right one by any other test.
    let launch = fixture.of_image(&image, &[]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.json");
    let wrong =
        format!(r#"{{"auths":{{"{registry}":{{"username":"fleet","password":"wrong"}}}}}}"#);
    std::fs::write(&file, wrong).unwrap();
    let cases = [
        (
            RegistryCredentials::load(Some(&file)).unwrap(),
            format!("registry `{registry}` refused the credentials for `{image}`"),
        ),
        (
            RegistryCredentials::default(),
            format!(
                "registry `{registry}` wants credentials for `{image}`, and this node has none \
                 for it"
            ),
        ),
    ];
    for (credentials, sentence) in cases {
        let runtime = engine(fixture.runtime.kind(), credentials, fixture.place.path());
        let (progress, _) = mpsc::unbounded_channel();
        assert_eq!(
            image_error(runtime.launch(&launch, progress).await),
            sentence
        );
    }
    assert!(fixture.list().await.is_empty());
}

async fn a_missing_tag_is_told(fixture: &Fixture) {
    let image = in_registry("fleet/hello:9");
    let outcome = fixture.try_launch(&fixture.of_image(&image, &[])).await;
    assert_eq!(
        image_error(outcome),
        format!("image `{image}` does not exist in its registry")
    );
}

async fn an_unreachable_registry_is_told(fixture: &Fixture) {
    // Nobody listens on the port of a listener that was closed again.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let registry = listener.local_addr().unwrap().to_string();
    drop(listener);
    let outcome = fixture
        .try_launch(&fixture.of_image(&format!("{registry}/fleet/x:1"), &[]))
        .await;
    let sentence = image_error(outcome);
    let start = format!("registry `{registry}` cannot be reached: ");
    assert!(sentence.starts_with(&start), "{sentence}");
}

async fn an_image_of_another_architecture_is_refused(fixture: &Fixture) {
    let launch = fixture.of_image(&in_registry("fleet/wrongarch:1"), &[]);
    // The second time it must not be found on the node.
    for _ in 0..2 {
        let sentence = image_error(fixture.try_launch(&launch).await);
        assert!(sentence.contains("is built for"), "{sentence}");
    }
    assert!(fixture.list().await.is_empty());
}

async fn never_means_never(fixture: &Fixture) {
    let image = in_registry("fleet/never:1");
    let launch = fixture.with(&image, &[], policy(PullPolicy::Never));
    let sentence = format!("image `{image}` is not on this node, and its pull policy is `never`");
    assert_eq!(image_error(fixture.try_launch(&launch).await), sentence);
    assert_eq!(image_error(prepare(fixture, &launch).await), sentence);
}

async fn always_uses_what_is_there_when_the_registry_is_away(fixture: &Fixture) {
    // It is in the engine, and in no registry that can be reached.
    let launch = fixture.with(
        super::fixture::LOCAL_IMAGE,
        &["sleep", "600"],
        policy(PullPolicy::Always),
    );
    let launched = fixture.launch(&launch).await;
    assert!(
        launched
            .warnings
            .iter()
            .any(|text| text.contains("image on this node is used")),
        "{launched:?}"
    );
    fixture.clean().await;
}

async fn a_preparation_is_enough(fixture: &Fixture) {
    let launch = fixture.with(
        &in_registry("fleet/hello:1"),
        &[],
        policy(PullPolicy::Always),
    );
    prepare(fixture, &launch).await.unwrap();
    let (outcome, told) = fixture.launch_told(&launch).await;
    outcome.unwrap();
    assert_eq!(told, [Progress::Starting], "it is not fetched again");
    fixture.clean().await;
}

async fn a_name_that_cannot_be_is_refused(fixture: &Fixture) {
    for image in ["no blanks:1", "UPPER/Case:1", "a?b=c"] {
        let outcome = fixture.try_launch(&fixture.of_image(image, &[])).await;
        assert!(
            matches!(&outcome, Err(RuntimeError::Refused(text)) if text.contains("is not the name")),
            "{outcome:?}"
        );
    }
}
