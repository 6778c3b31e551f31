//! One golden file for each form and occasion, in `golden/`, and what hostile text becomes.
//!
//! With `UPDATE_GOLDEN=1` the files are written; look at what changed.

use super::*;
use crate::notify::{MailTls, Secret};
use std::{collections::BTreeMap, path::PathBuf};

fn secret(text: &str) -> Secret {
    Secret::Value(text.to_owned())
}

fn receivers() -> Vec<Receiver> {
    let smtp = Smtp {
        host: "mail.example.org".to_owned(),
        port: 587,
        tls: MailTls::Starttls,
        login: None,
        from: "Fleet <fleet@example.org>".to_owned(),
        to: vec![
            "ops@example.org".to_owned(),
            "Jürgen <j@example.org>".to_owned(),
        ],
    };
    let kinds = [
        Kind::Webhook {
            url: secret("https://example.org/hook"),
            headers: BTreeMap::from([("X-Team".to_owned(), secret("ops"))]),
            secret: Some(secret("key")),
        },
        Kind::Slack {
            url: secret("https://hooks.slack.com/services/T/B/x"),
        },
        Kind::Discord {
            url: secret("https://discord.com/api/webhooks/1/x"),
        },
        Kind::Ntfy {
            url: secret("https://ntfy.sh/"),
            topic: "fleet".to_owned(),
            token: Some(secret("tk_x")),
        },
        Kind::Pagerduty {
            url: secret("https://events.pagerduty.com/v2/enqueue"),
            routing_key: secret("R0"),
        },
        Kind::Smtp(smtp),
    ];
    let of = |kind| Receiver {
        kind,
        timeout_ms: 10_000,
        ca: None,
    };
    kinds.into_iter().map(of).collect()
}

fn said(occasion: Occasion, message: &str) -> Notification {
    Notification {
        id: "disk.pi-3".to_owned(),
        rule: "disk".to_owned(),
        severity: Severity::Warning,
        occasion,
        node: Some("pi-3".parse().unwrap()),
        workload: None,
        message: message.to_owned(),
        since_ms: 1_700_000_000_000,
        at_ms: 1_700_000_060_000,
    }
}

fn disk(occasion: Occasion) -> Notification {
    said(occasion, "disk of pi-3 is 93 % full (above 90 %)")
}

fn several() -> Vec<Notification> {
    let web = Notification {
        id: "crashloop.web.pi-4".to_owned(),
        rule: "crashloop".to_owned(),
        severity: Severity::Critical,
        node: Some("pi-4".parse().unwrap()),
        workload: Some("web".parse().unwrap()),
        ..said(
            Occasion::Firing,
            "web on pi-4 restarts over and over: Größe <b> & *x* zu klein",
        )
    };
    vec![disk(Occasion::Firing), web, disk(Occasion::Resolved)]
}

/// What is sent, for people.
fn written(request: &Request) -> String {
    match request {
        Request::Post { url, headers, body } => {
            let value: Value = serde_json::from_slice(body).unwrap();
            let headers: String = headers.iter().map(|(n, v)| format!("{n}: {v}\n")).collect();
            let body = serde_json::to_string_pretty(&value).unwrap();
            format!("POST {url}\n{headers}\n{body}\n")
        }
        Request::Mail(bytes) => String::from_utf8(bytes.clone()).unwrap().replace('\r', ""),
    }
}

#[test]
fn golden_forms_of_each_service_and_occasion() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/notify/golden");
    let batches = [
        ("firing", vec![disk(Occasion::Firing)]),
        ("resolved", vec![disk(Occasion::Resolved)]),
        ("escalated", vec![disk(Occasion::Escalated)]),
        ("several", several()),
    ];
    for receiver in receivers() {
        for (name, batch) in &batches {
            if batch.len() > receiver.batch() {
                continue;
            }
            let text = written(&render(&receiver, batch).unwrap());
            let path = folder.join(format!("{}_{name}.txt", receiver.kind.as_str()));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &text).unwrap();
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(
                kept,
                text,
                "{} differs; UPDATE_GOLDEN=1 writes it",
                path.display()
            );
        }
    }
}

#[test]
fn the_worst_comes_first_and_what_is_said_of_one_alert_stays_in_its_order() {
    let mut batch = several();
    batch.push(disk(Occasion::Firing));
    let Request::Post { body, .. } = render(&receivers()[0], &batch).unwrap() else {
        panic!("a webhook posts");
    };
    let body: Value = serde_json::from_slice(&body).unwrap();
    let said: Vec<(&str, &str)> = body["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| (a["id"].as_str().unwrap(), a["occasion"].as_str().unwrap()))
        .collect();
    let [web, disk] = ["crashloop.web.pi-4", "disk.pi-3"];
    let expected = [
        (web, "firing"),
        (disk, "firing"),
        (disk, "resolved"),
        (disk, "firing"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_signature_is_that_of_the_body() {
    // Test case 2 of RFC 4231.
    assert_eq!(
        signature("Jefe", b"what do ya want for nothing?"),
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

/// What is sent for one message, without the escapes of JSON.
fn plain(receiver: &Receiver, batch: &[Notification]) -> String {
    match render(receiver, batch).unwrap() {
        Request::Post { body, .. } => {
            let value: Value = serde_json::from_slice(&body).unwrap();
            let said = match receiver.kind {
                Kind::Slack { .. } => &value["text"],
                Kind::Discord { .. } => &value["content"],
                Kind::Ntfy { .. } => &value["message"],
                Kind::Pagerduty { .. } => &value["payload"]["summary"],
                _ => &value["alerts"][0]["message"],
            };
            said.as_str().unwrap().to_owned()
        }
        Request::Mail(bytes) => String::from_utf8(bytes).unwrap(),
    }
}

#[test]
fn hostile_words_are_words() {
    let hostile = "<img src=x> <!channel> @everyone **b** \u{1b}[31m \u{202e}txt\r\nBcc: evil@example.org\r\n\r\nbody";
    for receiver in receivers() {
        let kind = receiver.kind.as_str();
        let text = plain(&receiver, &[said(Occasion::Firing, hostile)]);
        for bad in ['\u{1b}', '\u{202e}'] {
            assert!(!text.contains(bad), "{kind}: {text:?}");
        }
        assert!(!text.contains("\nBcc:"), "{kind}: {text:?}");
        match kind {
            "slack" => assert!(
                !text.contains('<') && text.contains("&lt;!channel&gt;"),
                "{text}"
            ),
            "discord" => {
                assert!(
                    text.contains("\\@everyone") && text.contains("\\*\\*b"),
                    "{text}"
                );
            }
            "smtp" => {
                let (head, _) = text.split_once("\r\n\r\n").unwrap();
                assert_eq!(head.matches("\r\nTo:").count(), 1, "{head}");
                assert!(head.is_ascii(), "{head}");
            }
            _ => {}
        }
    }
}

#[test]
fn nothing_is_longer_than_its_service_takes() {
    let word = "@<*ü\u{202e}\u{1b}&";
    for receiver in receivers() {
        for count in [1, 3, receiver.batch()] {
            // A megabyte each, or what the queue lets through.
            let long = word.repeat(if count > 3 { 600 } else { 100_000 });
            let batch = vec![said(Occasion::Firing, &long); count.min(receiver.batch())];
            let text = plain(&receiver, &batch);
            let fits = match receiver.kind {
                Kind::Slack { .. } => text.chars().count() <= SLACK_TEXT,
                Kind::Discord { .. } => text.encode_utf16().count() <= DISCORD_CONTENT,
                Kind::Ntfy { .. } => text.len() <= 4_096,
                Kind::Pagerduty { .. } => text.chars().count() <= PAGERDUTY_SUMMARY,
                // Encoded for the way, three or four for each byte.
                Kind::Smtp(_) => text.len() <= 5 * MAIL_BODY,
                Kind::Webhook { .. } => text.chars().count() <= 4_096,
            };
            let kind = receiver.kind.as_str();
            assert!(fits, "{kind}: {} bytes for {count}", text.len());
            if count > 10 && matches!(kind, "slack" | "discord" | "ntfy") {
                assert!(text.contains(" more"), "{kind}: {text}");
            }
        }
    }
}

#[test]
fn a_mail_has_what_a_mail_must_have() {
    let receiver = receivers().pop().unwrap();
    // All as bad, so that they stay in their order.
    let mut batch = several();
    batch[1].severity = Severity::Warning;
    let text = plain(&receiver, &batch);
    for part in [
        "Date: Tue, 14 Nov 2023 22:14:20 +0000\r\n",
        "Message-ID: <",
        "@example.org>\r\n",
        "Subject: [2 firing, 1 resolved] disk of pi-3 is 93 % full and 2 more\r\n",
        "From: Fleet <fleet@example.org>\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "Content-Type: text/plain; charset=utf-8\r\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text, plain(&receiver, &batch), "it is pure");
}

#[test]
fn a_long_id_becomes_a_key_that_pagerduty_takes() {
    let receiver = receivers().swap_remove(4);
    let mut firing = disk(Occasion::Firing);
    firing.id = "x".repeat(300);
    let over = Notification {
        occasion: Occasion::Resolved,
        ..firing.clone()
    };
    let key = |n: &Notification| match render(&receiver, std::slice::from_ref(n)).unwrap() {
        Request::Post { body, .. } => {
            let value: Value = serde_json::from_slice(&body).unwrap();
            value["dedup_key"].as_str().unwrap().to_owned()
        }
        Request::Mail(_) => String::new(),
    };
    assert_eq!(key(&firing), key(&over));
    assert_eq!(key(&firing).len(), 64);
}
