//! What was handed over is on the disk before anybody relies on it.

use super::*;
use crate::notify::{Kind, Secret};
use std::{fs, path::Path};

fn ops() -> Name {
    "ops".parse().unwrap()
}

/// One that is never reached: what waits for it stays.
fn notifier(outbox: &Path) -> Notifier {
    let receiver = Receiver {
        kind: Kind::Slack {
            url: Secret::Value("http://127.0.0.1:1/".to_owned()),
        },
        timeout_ms: 1_000,
        ca: None,
    };
    Notifier::start(BTreeMap::from([(ops(), receiver)]), Some(outbox.to_owned()))
}

fn notification(id: &str) -> Notification {
    let mut notification = text::trial(1);
    notification.id = id.to_owned();
    notification
}

#[tokio::test]
async fn what_is_kept_is_in_the_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.json");
    let notifier = notifier(&path);
    notifier.send(&ops(), notification("disk.pi-3"));
    // Nothing else runs on this thread before the next line is over.
    assert!(notifier.kept());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("disk.pi-3"), "{text}");
    drop(notifier);
    let again = self::notifier(&path);
    assert_eq!(again.status()[0].waiting, 1, "a kill loses nothing");
}

#[tokio::test]
async fn a_write_that_failed_is_tried_again_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("data");
    let path = below.join("outbox.json");
    let notifier = notifier(&path);
    fs::write(&below, "in the way").unwrap();
    notifier.send(&ops(), notification("disk.pi-3"));
    assert!(!notifier.kept(), "it is known that it is not kept");
    let deadline = Instant::now() + Duration::from_secs(20);
    let outbox = notifier.outbox.clone().unwrap();
    while outbox.failed() == 0 {
        assert!(Instant::now() < deadline, "it is not even tried");
        time::sleep(Duration::from_millis(20)).await;
    }
    fs::remove_file(&below).unwrap();
    while !fs::read_to_string(&path).is_ok_and(|text| text.contains("disk.pi-3")) {
        assert!(Instant::now() < deadline, "it is never written");
        time::sleep(Duration::from_millis(20)).await;
    }
}
