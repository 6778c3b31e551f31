//! Delivery of alerts with real parts: servers that misbehave on order, files, TLS, and mail.

mod mail;
mod sink;

use super::harness::PATIENCE;
use fleetctl::{
    model::Name,
    notify::{Kind, Notification, Notifier, Occasion, Receiver, ReceiverStatus, Secret, Severity},
};
use sink::{FINE, Reply, Sink};
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

fn webhook(url: Secret) -> Receiver {
    of(Kind::Webhook {
        url,
        headers: BTreeMap::from([("X-Team".to_owned(), Secret::Value("ops".to_owned()))]),
        secret: Some(Secret::Value("a signing key".to_owned())),
    })
}

fn of(kind: Kind) -> Receiver {
    Receiver {
        kind,
        timeout_ms: 2_000,
        ca: None,
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn said(id: &str, occasion: Occasion, message: &str) -> Notification {
    Notification {
        id: id.to_owned(),
        rule: "disk".to_owned(),
        severity: Severity::Critical,
        occasion,
        node: Some(name("pi-3")),
        workload: None,
        message: message.to_owned(),
        since_ms: 1_700_000_000_000,
        at_ms: 1_700_000_060_000,
    }
}

fn firing(id: &str) -> Notification {
    said(
        id,
        Occasion::Firing,
        "disk of pi-3 is 93 % full (above 90 %)",
    )
}

fn notifier(receivers: Vec<(&str, Receiver)>, outbox: Option<PathBuf>) -> Notifier {
    let receivers = receivers.into_iter().map(|(n, r)| (name(n), r)).collect();
    Notifier::start(receivers, outbox)
}

fn status(notifier: &Notifier, wanted: &str) -> ReceiverStatus {
    let all = notifier.status();
    all.into_iter().find(|s| s.name == name(wanted)).unwrap()
}

/// Until `condition` holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_comes_together_goes_as_one_signed_message() {
    let sink = Sink::start(&[]).await;
    let notifier = notifier(vec![("ops", webhook(sink.url()))], None);
    notifier.send(&name("ops"), firing("disk.pi-3"));
    notifier.send(&name("ops"), firing("disk.pi-4"));
    notifier.send(&name("nobody"), firing("disk.pi-4"));
    until("it is delivered", || {
        status(&notifier, "ops").delivered == 2
    })
    .await;
    let seen = sink.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].head.starts_with("post /hook/verysecret http/1.1"));
    assert!(seen[0].head.contains("x-team: ops"));
    let body: serde_json::Value = serde_json::from_str(&seen[0].body).unwrap();
    assert_eq!(body["v"], 1);
    assert_eq!(body["alerts"][1]["id"], "disk.pi-4");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"a signing key");
    let tag = ring::hmac::sign(&key, seen[0].body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    assert!(
        seen[0]
            .head
            .contains(&format!("x-fleetctl-signature: sha256={hex}"))
    );
}

#[tokio::test]
async fn a_server_that_fails_three_times_gets_it_the_fourth_time() {
    let sink = Sink::start(&[
        Reply::Status(500, ""),
        Reply::Close,
        Reply::Status(429, "retry-after: 3\r\n"),
    ])
    .await;
    let notifier = notifier(vec![("ops", webhook(sink.url()))], None);
    notifier.send(&name("ops"), firing("disk.pi-3"));
    until("the first attempt fails", || {
        status(&notifier, "ops").last_error.is_some()
    })
    .await;
    let error = status(&notifier, "ops").last_error.unwrap();
    assert!(
        error.contains("500") && error.contains("cannot POST"),
        "{error}"
    );
    assert!(
        !error.contains("verysecret") && !error.contains('\u{1b}'),
        "{error}"
    );
    until("it is delivered", || {
        status(&notifier, "ops").delivered == 1
    })
    .await;
    let seen = sink.seen();
    assert_eq!(seen.len(), 4, "{seen:?}");
    let wished = seen[3].at.duration_since(seen[2].at);
    assert!(
        wished >= Duration::from_secs(3),
        "it asked for 3 s: {wished:?}"
    );
    let after = status(&notifier, "ops");
    assert_eq!(
        (after.failed, after.waiting, after.last_error),
        (0, 0, None)
    );
}

#[tokio::test]
async fn what_is_refused_is_not_tried_again() {
    let gone = Sink::start(&[Reply::Status(404, "")]).await;
    let moved = Sink::start(&[Reply::Status(302, "location: https://new.test/secret\r\n")]).await;
    let notifier = notifier(
        vec![
            ("gone", webhook(gone.url())),
            ("moved", webhook(moved.url())),
        ],
        None,
    );
    for receiver in ["gone", "moved"] {
        notifier.send(&name(receiver), firing("disk.pi-3"));
        until("it is given up", || status(&notifier, receiver).failed == 1).await;
        assert_eq!(status(&notifier, receiver).waiting, 0);
    }
    let error = status(&notifier, "moved").last_error.unwrap();
    assert!(error.contains("redirects are not followed"), "{error}");
    assert!(
        error.contains("new.test") && !error.contains("secret"),
        "{error}"
    );
    assert_eq!((gone.seen().len(), moved.seen().len()), (1, 1));
}

#[tokio::test]
async fn a_server_that_hangs_holds_up_neither_the_caller_nor_another_receiver() {
    let hanging = Sink::start(&[Reply::Hang; 50]).await;
    let quick = Sink::start(&[]).await;
    let notifier = notifier(
        vec![
            ("slow", webhook(hanging.url())),
            ("quick", webhook(quick.url())),
        ],
        None,
    );
    let started = Instant::now();
    for n in 0..2_000 {
        notifier.send(&name("slow"), firing(&format!("disk.pi-{n}")));
    }
    notifier.send(&name("quick"), firing("disk.pi-3"));
    // It may not wait for anybody: a hundredth of one timeout for each would be 40 s.
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    until("the other is told", || {
        status(&notifier, "quick").delivered == 1
    })
    .await;
    let slow = status(&notifier, "slow");
    assert_eq!(
        (slow.delivered, slow.waiting, slow.dropped),
        (0, 1_000, 1_000)
    );
    until("the attempt ends", || {
        status(&notifier, "slow").last_error.is_some()
    })
    .await;
    let error = status(&notifier, "slow").last_error.unwrap();
    assert!(error.contains("no answer within 2s"), "{error}");
    let stopping = Instant::now();
    notifier.stop().await;
    assert!(
        stopping.elapsed() < Duration::from_secs(5),
        "{:?}",
        stopping.elapsed()
    );
}

#[tokio::test]
async fn what_waits_survives_a_kill_and_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = folder.path().join("outbox.json");
    let sink = Sink::start(&[Reply::Hang, Reply::Hang, Reply::Hang]).await;
    let receivers = || vec![("ops", webhook(sink.url()))];

    let first = notifier(receivers(), Some(outbox.clone()));
    first.send(&name("ops"), firing("disk.pi-3"));
    until("it is in the file", || {
        fs::read_to_string(&outbox).is_ok_and(|text| text.contains("disk.pi-3"))
    })
    .await;
    drop(first);

    let second = notifier(receivers(), Some(outbox.clone()));
    assert_eq!(status(&second, "ops").waiting, 1);
    second.send(&name("ops"), firing("disk.pi-4"));
    second.stop().await;
    let text = fs::read_to_string(&outbox).unwrap();
    assert!(
        text.contains("disk.pi-3") && text.contains("disk.pi-4"),
        "{text}"
    );
    assert!(!text.contains("verysecret"), "{text}");

    let third = notifier(receivers(), Some(outbox.clone()));
    until("both are delivered", || {
        status(&third, "ops").delivered == 2
    })
    .await;
    until("the file is empty", || {
        fs::read_to_string(&outbox).is_ok_and(|text| !text.contains("\"notification\""))
    })
    .await;
}

#[tokio::test]
async fn a_trial_is_one_attempt_and_says_what_is_wrong() {
    let sink = Sink::start(&[Reply::Status(403, ""), FINE]).await;
    let nobody = Receiver {
        kind: Kind::Slack {
            url: Secret::File("/nonexistent/slack".into()),
        },
        ..webhook(sink.url())
    };
    let notifier = notifier(vec![("ops", webhook(sink.url())), ("nobody", nobody)], None);
    let refused = notifier.test(&name("ops")).await.unwrap_err();
    assert!(refused.contains("403"), "{refused}");
    assert_eq!(notifier.test(&name("ops")).await, Ok(()));
    assert!(sink.seen()[1].body.contains("\"occasion\":\"test\""));
    let unread = notifier.test(&name("nobody")).await.unwrap_err();
    assert!(
        unread.contains("/nonexistent/slack cannot be read"),
        "{unread}"
    );
    let unknown = notifier.test(&name("nobody-else")).await.unwrap_err();
    assert!(unknown.contains("there is no receiver"), "{unknown}");
}

#[tokio::test]
async fn every_service_gets_its_own_form_of_hostile_words() {
    let sink = Sink::start(&[]).await;
    let url = sink.url();
    let key = Secret::Value("routing-key".to_owned());
    let kinds = vec![
        ("webhook", webhook(url.clone()).kind),
        ("slack", Kind::Slack { url: url.clone() }),
        ("discord", Kind::Discord { url: url.clone() }),
        (
            "ntfy",
            Kind::Ntfy {
                url: url.clone(),
                topic: "fleet".to_owned(),
                token: Some(Secret::Value("tk_123456".to_owned())),
            },
        ),
        (
            "pagerduty",
            Kind::Pagerduty {
                url,
                routing_key: key,
            },
        ),
    ];
    let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
    let receivers = kinds.into_iter().map(|(name, kind)| (name, of(kind)));
    let notifier = notifier(receivers.collect(), None);
    let mut hostile = "<b> <!channel> @everyone \r\nX: y \u{1b}[31m\u{202e}".to_owned();
    hostile.push_str(&"x".repeat(1 << 20));
    for receiver in &names {
        notifier.send(
            &name(receiver),
            said("disk.pi-3", Occasion::Firing, &hostile),
        );
        until(receiver, || status(&notifier, receiver).delivered == 1).await;
        let body = sink.seen().pop().unwrap().body;
        assert!(body.len() < 32_000, "{receiver}: {} bytes", body.len());
        serde_json::from_str::<serde_json::Value>(&body).unwrap();
        for bad in ["\\u001b", "\u{202e}", "\\r", "\\nX: y"] {
            assert!(!body.contains(bad), "{receiver}: {body}");
        }
        match *receiver {
            "slack" => assert!(body.contains("&lt;!channel&gt;"), "{body}"),
            "discord" => assert!(body.contains("\"parse\":[]"), "{body}"),
            "ntfy" => assert!(body.contains("\"topic\":\"fleet\""), "{body}"),
            "pagerduty" => assert!(body.contains("\"event_action\":\"trigger\""), "{body}"),
            _ => {}
        }
    }
}

/// A certificate of its own for `localhost`: PEM of it and of its key.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[tokio::test]
async fn https_needs_a_certificate_that_is_trusted() {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let (cert, key) = certificate();
    let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = fleetctl::identity::server_config(chain, key).unwrap();
    let sink = Sink::over(&[], Some(config.into())).await;
    let port = sink.address.rsplit(':').next().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, cert).unwrap();

    let strict = webhook(Secret::Value(format!("https://localhost:{port}/")));
    let trusting = Receiver {
        ca: Some(ca),
        ..strict.clone()
    };
    let notifier = notifier(vec![("strict", strict), ("trusting", trusting)], None);
    let refused = notifier.test(&name("strict")).await.unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    assert_eq!(notifier.test(&name("trusting")).await, Ok(()));
    assert_eq!(sink.seen().len(), 1);
}
