//! What is sent for a batch of notifications, by service: pure, one golden file for each form and
//! occasion (`golden/`).
//!
//! | form | what guards it | limits |
//! |---|---|---|
//! | webhook | JSON | 100 alerts, 4,096 characters a message |
//! | slack | `& < >` escaped, so that there are no mentions or links with names; markup off | 4,000 characters |
//! | discord | markdown escaped, no mentions allowed, no previews | 2,000 characters (UTF-16) |
//! | ntfy | plain text | title 250, message 4,000 bytes |
//! | pagerduty | JSON, one event each | summary 1,024, key 255 characters |
//! | smtp | plain text; headers by `lettre`, from a subject without control characters | subject 150, body 64 KiB |

use super::{
    Kind, Notification, Occasion, Receiver, Severity, Smtp,
    text::{self, MAX_LINE},
};
use crate::identity::sha256_hex;
use ring::hmac;
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    cmp::Reverse,
    time::{Duration, UNIX_EPOCH},
};

/// Header with the signature of a generic webhook's body: `sha256=` and HMAC-SHA256 in hex.
pub const SIGNATURE: &str = "X-Fleetctl-Signature";
/// Slack cuts above 40,000; nobody reads so much.
const SLACK_TEXT: usize = 4_000;
const DISCORD_CONTENT: usize = 2_000;
const NTFY_TITLE: usize = 250;
/// Above 4,096 bytes a message becomes an attachment.
const NTFY_MESSAGE: usize = 4_000;
const PAGERDUTY_SUMMARY: usize = 1_024;
const PAGERDUTY_KEY: usize = 255;
const MAIL_BODY: usize = 64 * 1024;
/// Discord shows no previews of addresses that a message names.
const SUPPRESS_EMBEDS: u32 = 4;

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `POST` of JSON.
    Post {
        /// Where to; may hold a secret.
        url: String,
        /// Beside those that every request has; values may be secrets.
        headers: Vec<(String, String)>,
        /// JSON.
        body: Vec<u8>,
    },
    /// A mail as it travels.
    Mail(Vec<u8>),
}

/// Something that cannot be sent: a header or an address that the configuration should have
/// refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the notification cannot be written: {0}")]
pub struct RenderError(String);

/// What `receiver`, which is [opened](Receiver::opened), is sent for `batch`, which is not empty.
///
/// # Errors
/// An address of a mail is none.
pub fn render(receiver: &Receiver, batch: &[Notification]) -> Result<Request, RenderError> {
    // The worst first. Stable, so that what is said of one alert stays in its order.
    let mut sorted = batch.to_vec();
    sorted.sort_by_key(|n| Reverse(n.severity));
    let batch = sorted.as_slice();
    Ok(match &receiver.kind {
        Kind::Webhook {
            url,
            headers,
            secret,
        } => {
            let body = webhook(batch);
            let mut headers: Vec<(String, String)> = headers
                .iter()
                .map(|(name, value)| (name.clone(), value.value().to_owned()))
                .collect();
            if let Some(secret) = secret {
                headers.push((SIGNATURE.to_owned(), signature(secret.value(), &body)));
            }
            Request::Post {
                url: url.value().to_owned(),
                headers,
                body,
            }
        }
        Kind::Slack { url } => post(url.value(), &slack(batch)),
        Kind::Discord { url } => post(url.value(), &discord(batch)),
        Kind::Ntfy { url, topic, token } => {
            let mut request = post(url.value(), &ntfy(topic, batch));
            if let (Request::Post { headers, .. }, Some(token)) = (&mut request, token) {
                let value = format!("Bearer {}", token.value());
                headers.push(("Authorization".to_owned(), value));
            }
            request
        }
        Kind::Pagerduty { url, routing_key } => {
            let Some(first) = batch.first() else {
                return Err(RenderError("there is nothing to tell".to_owned()));
            };
            post(url.value(), &pagerduty(routing_key.value(), first))
        }
        Kind::Smtp(smtp) => Request::Mail(mail(smtp, batch)?),
    })
}

/// `sha256=` and the HMAC of `body`.
fn signature(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body);
    let hex: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256={hex}")
}

fn post(url: &str, body: &Value) -> Request {
    Request::Post {
        url: url.to_owned(),
        headers: Vec::new(),
        body: body.to_string().into_bytes(),
    }
}

/// Our own form; documented in the README, so fields are only added.
fn webhook(batch: &[Notification]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body {
        v: u32,
        alerts: Vec<Notification>,
    }
    let clean = |n: &Notification| Notification {
        id: text::visible(&n.id),
        rule: text::visible(&n.rule),
        message: text::message(n, 4_096),
        ..n.clone()
    };
    let body = Body {
        v: 1,
        alerts: batch.iter().map(clean).collect(),
    };
    // Nothing in it can fail to be written as JSON.
    serde_json::to_vec(&body).unwrap_or_default()
}

/// `🔴 firing: …` of one notification, with `escape` for what comes from elsewhere.
fn line(n: &Notification, escape: fn(&str) -> String) -> String {
    let message = escape(&text::message(n, MAX_LINE));
    let since = match n.occasion {
        Occasion::Test | Occasion::Firing => String::new(),
        _ => format!(" (since {})", text::time(n.since_ms)),
    };
    let (mark, occasion) = (text::mark(n), text::occasion(n.occasion));
    format!("{mark} {occasion}: {message}{since}")
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

fn slack(batch: &[Notification]) -> Value {
    // As Slack's manual wants it; without a raw `<` there is no `<!channel>` and no `<@U…>`.
    fn escape(text: &str) -> String {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    }
    let text = text::lines(batch, SLACK_TEXT, characters, |n| line(n, escape));
    json!({
        "text": text,
        "mrkdwn": false,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

fn discord(batch: &[Notification]) -> Value {
    fn escape(text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if "\\*_~`|<>@#[]():-".contains(c) {
                out.push('\\');
            }
            out.push(c);
        }
        out
    }
    let units = |text: &str| text.encode_utf16().count();
    let content = text::lines(batch, DISCORD_CONTENT, units, |n| line(n, escape));
    json!({
        "content": content,
        "allowed_mentions": { "parse": [] },
        "flags": SUPPRESS_EMBEDS,
    })
}

fn ntfy(topic: &str, batch: &[Notification]) -> Value {
    let worst = batch
        .iter()
        .filter(|n| !matches!(n.occasion, Occasion::Resolved | Occasion::Test))
        .map(|n| n.severity)
        .max();
    let only_over = batch.iter().all(|n| n.occasion == Occasion::Resolved);
    let (priority, tag) = match worst {
        Some(Severity::Critical) => (5, "rotating_light"),
        Some(Severity::Warning) => (4, "warning"),
        Some(Severity::Info) => (3, "information_source"),
        None if only_over => (3, "white_check_mark"),
        None => (3, "bell"),
    };
    let mut title = text::subject(batch);
    while title.len() > NTFY_TITLE {
        title = text::cut(&title, characters(&title) - 1);
    }
    let message = text::lines(batch, NTFY_MESSAGE, str::len, |n| match batch.len() {
        1 => format!(
            "{} (since {})",
            bytes_cut(&text::message(n, 2_000), 3_900),
            text::time(n.since_ms)
        ),
        _ => line(n, str::to_owned),
    });
    json!({
        "topic": topic,
        "title": title,
        "message": message,
        "priority": priority,
        "tags": [tag],
    })
}

/// At most `max` bytes, with `…` where something was left out.
fn bytes_cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max.saturating_sub('…'.len_utf8()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{}…", &text[..end])
}

fn pagerduty(routing_key: &str, n: &Notification) -> Value {
    let id = text::visible(&n.id);
    let key = match characters(&id) > PAGERDUTY_KEY {
        true => sha256_hex(n.id.as_bytes()),
        false => id,
    };
    if n.occasion == Occasion::Resolved {
        return json!({
            "routing_key": routing_key,
            "event_action": "resolve",
            "dedup_key": key,
        });
    }
    let source = n.node.as_ref().or(n.workload.as_ref());
    let mut payload = json!({
        "summary": text::message(n, PAGERDUTY_SUMMARY),
        "source": source.map_or("fleetctl", |name| name.as_str()),
        "severity": text::severity(n.severity),
        "timestamp": text::rfc3339(n.since_ms),
        "class": text::visible(&n.rule),
        "custom_details": { "occasion": text::occasion(n.occasion) },
    });
    if let Some(workload) = &n.workload {
        payload["component"] = json!(workload.as_str());
    }
    json!({
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": key,
        "client": "fleetctl",
        "payload": payload,
    })
}

fn mail(smtp: &Smtp, batch: &[Notification]) -> Result<Vec<u8>, RenderError> {
    use lettre::message::{Mailbox, Message, header};
    let address = |text: &str| {
        text.parse::<Mailbox>()
            .map_err(|error| RenderError(format!("`{}`: {error}", text::visible(text))))
    };
    let from = address(&smtp.from)?;
    let at_ms = batch.iter().map(|n| n.at_ms).max().unwrap_or(0);
    let mut builder = Message::builder()
        .date(UNIX_EPOCH + Duration::from_millis(at_ms))
        .message_id(Some(message_id(batch, from.email.domain())))
        .subject(text::subject(batch))
        .header(header::ContentType::TEXT_PLAIN)
        .raw_header(header::HeaderValue::new(
            header::HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    for to in &smtp.to {
        builder = builder.to(address(to)?);
    }
    let body = text::lines(batch, MAIL_BODY, str::len, paragraph);
    let message = builder.from(from).body(body + "\n");
    let message = message.map_err(|error| RenderError(error.to_string()))?;
    Ok(message.formatted())
}

/// The same for the same batch, so that a server can see that one came twice.
fn message_id(batch: &[Notification], domain: &str) -> String {
    let said = serde_json::to_vec(batch).unwrap_or_default();
    format!("<{}@{domain}>", &sha256_hex(&said)[..32])
}

/// One alert in a mail.
fn paragraph(n: &Notification) -> String {
    let mut text = format!(
        "{}: {}\n",
        text::occasion(n.occasion),
        text::message(n, 4_096)
    );
    let mut field = |name: &str, value: &str| text.push_str(&format!("  {name:<9} {value}\n"));
    field("severity", text::severity(n.severity));
    if let Some(node) = &n.node {
        field("node", node.as_str());
    }
    if let Some(workload) = &n.workload {
        field("workload", workload.as_str());
    }
    field("since", &text::time(n.since_ms));
    field("alert", &text::visible(&n.id));
    text
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
