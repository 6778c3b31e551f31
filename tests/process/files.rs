//! Files that are placed, and programs that take new ones by a signal.

use super::*;
use fleetctl::model::{FileSpec, Signal as ReloadSignal};

fn with_file(script: &str, path: &str, content: &str) -> Launch {
    launch_of(&["/bin/sh", "-c", script], |workload| {
        workload.files = vec![FileSpec {
            path: path.to_owned(),
            content: content.to_owned(),
            mode: 0o600,
            verbatim: false,
        }];
        workload.reload = Some(ReloadSignal::SigHup);
    })
}

#[tokio::test]
async fn new_contents_are_told_by_a_signal() {
    let node = Node::new();
    let script = "trap 'echo again $(cat conf/app)' HUP; echo $(cat conf/app); \
                  while :; do sleep 0.01; done";
    let launched = node
        .launch(&with_file(script, "conf/app", "one"))
        .await
        .expect("a launch");
    node.wait_for_line(&launched.handle, "one").await;
    let new = with_file(script, "conf/app", "two");
    let reload = |launch: Launch| {
        let (node, handle) = (&node, &launched.handle);
        async move { node.processes.reload(handle, &launch).await }
    };
    assert_eq!(reload(new.clone()).await, Ok(true));
    node.wait_for_line(&launched.handle, "again two").await;
    assert_eq!(reload(new.clone()).await, Ok(false));
    assert_eq!(node.texts(&launched.handle).await, ["one", "again two"]);
    // The next start has them, too.
    assert_eq!(node.launch(&new).await.expect("a launch").pid, launched.pid);
    node.processes
        .stop(&launched.handle, 0)
        .await
        .expect("a stop");
    node.processes
        .start(&launched.handle)
        .await
        .expect("a start");
    node.wait_for_line(&launched.handle, "two").await;
    let gone = node.processes.reload("web-00000000", &new).await;
    assert_eq!(gone, Err(RuntimeError::NotFound("web-00000000".to_owned())));
}

#[tokio::test]
async fn a_file_elsewhere_goes_with_the_instance_and_a_foreign_one_stays() {
    let node = Node::new();
    let place = node.root.path().join("etc/app.conf");
    let path = place.to_str().expect("UTF-8");
    let launch = with_file("cat \"$0\"; exec sleep 600", path, "ours");
    let launched = node.launch(&launch).await.expect("a launch");
    assert_eq!(std::fs::read_to_string(&place).expect("a file"), "ours");
    node.processes
        .remove(&launched.handle)
        .await
        .expect("a removal");
    assert!(!place.exists());

    std::fs::write(&place, "theirs").expect("written");
    let Err(RuntimeError::Refused(why)) = node.launch(&launch).await else {
        panic!("it was launched");
    };
    assert!(why.contains("was not placed by fleetctl"), "{why}");
    node.processes
        .remove(&launched.handle)
        .await
        .expect("a removal");
    assert_eq!(std::fs::read_to_string(&place).expect("a file"), "theirs");
}
