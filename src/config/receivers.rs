//! `[controller.alerts.receiver.<name>]`: who is told of alerts, and how.
//!
//! A secret stands in the key itself, in a file (`…_file`), or in the environment (`"env:NAME"`).
//! Problems with a secret point at the head of its table, so that the line that is shown with a
//! problem is never the one with the secret.

use super::common::parse_path;
use crate::{
    manifest::{
        Flaw,
        getters::Shape,
        nearest::nearest,
        quantity::duration_text,
        render::{line, quote, quote_key, quote_list},
        shown,
        table::Table,
    },
    model::Name,
    notify::{HIDDEN, Kind, MAX_SECRET, MailTls, Receiver, Secret, Smtp, address_flaw, url_flaw},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

const SECOND: u64 = 1_000;
const DEFAULT_TIMEOUT_MS: u64 = 10 * SECOND;
const TIMEOUT: RangeInclusive<u64> = SECOND..=5 * 60 * SECOND;
const MAX_RECEIVERS: usize = 50;
const MAX_HEADERS: usize = 32;
const MAX_TO: usize = 50;
const NTFY: &str = "https://ntfy.sh/";
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";
const KINDS: [&str; 6] = ["webhook", "slack", "discord", "ntfy", "pagerduty", "smtp"];
/// Headers that the delivery itself sets, or that would change what is sent.
const OWN_HEADERS: [&str; 8] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "upgrade",
    "user-agent",
    "x-fleetctl-signature",
];

/// The names of receivers that are written, those with a flaw too: who names one of these makes
/// no second mistake.
pub(super) struct Written<'a> {
    /// `[controller.alerts.receiver]`, which may be absent.
    pub table: Table<'a>,
    /// It is written as something that has no names.
    pub is_unreadable: bool,
}

impl Written<'_> {
    /// A receiver is written under this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.is_unreadable || self.table.has(name)
    }

    /// The names, in the order of the text.
    pub(super) fn names(&self) -> Vec<&str> {
        let all = self.table.all().iter();
        all.map(|entry| entry.name.as_str()).collect()
    }
}

/// The tables, by name; those without a flaw.
pub(super) fn read(all: &Table<'_>) -> BTreeMap<Name, Receiver> {
    let mut receivers = BTreeMap::new();
    for (key, span, table) in all.tables() {
        if receivers.len() == MAX_RECEIVERS {
            let flaw = Flaw::new(format!("there are more than {MAX_RECEIVERS} receivers"));
            all.refuse_at(span, flaw);
            break;
        }
        let name = match key.parse::<Name>() {
            Ok(name) => name,
            Err(error) => {
                all.refuse_at(span, Flaw::new(error.to_string()));
                continue;
            }
        };
        if let Some(receiver) = read_one(table) {
            receivers.insert(name, receiver);
        }
    }
    receivers
}

fn read_one(mut table: Table<'_>) -> Option<Receiver> {
    let t = &mut table;
    if !t.has("type") {
        t.missing(Flaw::new("the receiver has no `type`").hint(format!(
            "write `type = \"webhook\"`, or {}",
            or(&KINDS[1..])
        )));
        return None;
    }
    let word = t.parsed("type", |text| {
        let known = KINDS.iter().find(|kind| **kind == text);
        known.copied().ok_or_else(|| {
            let flaw = Flaw::new(format!("`{}` is no type of receiver", shown(text)));
            flaw.hint(match nearest(text, &KINDS) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("write {}", or(&KINDS)),
            })
        })
    })?;
    let timeout_ms = t
        .ms_within("timeout", TIMEOUT)
        .unwrap_or(DEFAULT_TIMEOUT_MS);
    let ca = t.parsed("ca", parse_path);
    let kind = match word {
        "webhook" => webhook(t),
        "slack" => url(t, None).map(|url| Kind::Slack { url }),
        "discord" => url(t, None).map(|url| Kind::Discord { url }),
        "ntfy" => ntfy(t),
        "pagerduty" => pagerduty(t),
        _ => smtp(t),
    };
    table.finish();
    Some(Receiver {
        kind: kind?,
        timeout_ms,
        ca,
    })
}

fn webhook(t: &mut Table<'_>) -> Option<Kind> {
    let url = url(t, None);
    let secret = secret(t, "secret", "secret_file");
    let head = t.span();
    let written = t.string_map("headers", |_, _| Ok(()));
    if written.len() > MAX_HEADERS {
        let flaw = Flaw::new(format!("`headers` has more than {MAX_HEADERS} entries"));
        t.refuse_at(head.clone(), flaw);
    }
    let mut headers = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (name, value) in written {
        if !seen.insert(name.to_ascii_lowercase()) {
            let flaw = Flaw::new(format!("the header `{}` is given twice", shown(&name)));
            t.refuse_at(
                head.clone(),
                flaw.hint("capital letters make no difference in it"),
            );
            continue;
        }
        match header(&name, &value) {
            Ok(secret) => {
                headers.insert(name, secret);
            }
            Err(flaw) => t.refuse_at(head.clone(), flaw),
        }
    }
    Some(Kind::Webhook {
        url: url?,
        headers,
        secret,
    })
}

/// The value of a header, which may be a token.
fn header(name: &str, value: &str) -> Result<Secret, Flaw> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if name.is_empty() || name.len() > 100 || !name.bytes().all(fine) {
        return Err(Flaw::new(format!(
            "`{}` is not the name of a header",
            shown(name)
        )));
    }
    if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(Flaw::new(format!("the header `{name}` is set by fleetctl")));
    }
    let secret = parse_secret(name, value)?;
    if !secret.value().bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Err(Flaw::new(format!(
            "the header `{name}` may only have printable ASCII"
        )));
    }
    Ok(secret)
}

fn ntfy(t: &mut Table<'_>) -> Option<Kind> {
    let url = url(t, Some(NTFY));
    let token = secret(t, "token", "token_file");
    let topic = required(t, "topic", |text| {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(fine) {
            return Ok(text.to_owned());
        }
        Err(
            // Whoever knows it can read it: it is not repeated.
            Flaw::new("the `topic` is not one of ntfy")
                .hint("a topic is 1 to 64 of a-z, A-Z, 0-9, `-` and `_`"),
        )
    });
    Some(Kind::Ntfy {
        url: url?,
        topic: topic?,
        token,
    })
}

fn pagerduty(t: &mut Table<'_>) -> Option<Kind> {
    let url = url(t, Some(PAGERDUTY));
    let key = secret(t, "routing_key", "routing_key_file");
    if key.is_none() && !t.has("routing_key") && !t.has("routing_key_file") {
        t.missing(
            Flaw::new("the receiver has no `routing_key`")
                .hint("it is the integration key of a service's Events API v2 integration"),
        );
    }
    Some(Kind::Pagerduty {
        url: url?,
        routing_key: key?,
    })
}

fn smtp(t: &mut Table<'_>) -> Option<Kind> {
    let host = required(t, "host", |text| {
        let parsed = rustls::pki_types::ServerName::try_from(text);
        match parsed {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err(Flaw::new(format!("`{}` is not a host", shown(text)))
                .hint("write a host name or an IP address; the port has a key of its own")),
        }
    });
    let tls = t.choice("tls", &MailTls::ALL).unwrap_or(MailTls::Starttls);
    let port = t.count_within("port", 1..=65_535);
    let port = port.and_then(|port| u16::try_from(port).ok());
    let address = |text: &str| match address_flaw(text) {
        None => Ok(text.to_owned()),
        Some(why) => Err(
            Flaw::new(format!("`{}` is not a mail address: {why}", shown(text)))
                .hint("write `ops@example.org` or `Ops <ops@example.org>`"),
        ),
    };
    let from = required(t, "from", address);
    let written = t.has("to");
    let to = t.parsed_list("to", address);
    if to.as_ref().is_none_or(Vec::is_empty) && !written {
        t.missing(Flaw::new("the receiver has no `to`").hint("write `to = [\"ops@example.org\"]`"));
    }
    if let Some(to) = &to
        && !(1..=MAX_TO).contains(&to.len())
    {
        t.refuse(
            "to",
            Flaw::new(format!("`to` must have from 1 to {MAX_TO} addresses")),
        );
    }
    let username = t.parsed("username", |text| {
        if (1..=256).contains(&text.len()) && !text.chars().any(char::is_control) {
            return Ok(text.to_owned());
        }
        Err(Flaw::new(
            "`username` must have from 1 to 256 bytes and no control characters",
        ))
    });
    let password = secret(t, "password", "password_file");
    let login = match (username, password) {
        (Some(name), Some(password)) => Some((name, password)),
        (Some(_), None) if !t.has("password") && !t.has("password_file") => {
            let flaw = Flaw::new("`username` has no password");
            t.refuse("username", flaw.hint("write `password_file` too"));
            None
        }
        (None, Some(_)) if !t.has("username") => {
            t.missing(Flaw::new("the receiver has a password and no `username`"));
            None
        }
        _ => None,
    };
    if let (Some(host), MailTls::None, Some(_)) = (&host, tls, &login)
        && !is_loopback(host)
    {
        let flaw = Flaw::new("the password would be sent in plain text")
            .hint("write `tls = \"starttls\"` or `tls = \"implicit\"`");
        t.refuse("tls", flaw);
    }
    Some(Kind::Smtp(Smtp {
        host: host?,
        port: port.unwrap_or(tls.default_port()),
        tls,
        login,
        from: from?,
        to: to?,
    }))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// A text that must be there.
fn required<T>(
    t: &mut Table<'_>,
    key: &'static str,
    parse: impl FnOnce(&str) -> Result<T, Flaw>,
) -> Option<T> {
    let written = t.has(key);
    let value = t.parsed(key, parse);
    if !written {
        t.missing(Flaw::new(format!("the receiver has no `{key}`")));
    }
    value
}

/// An address to post to, which may hold a secret.
fn url(t: &mut Table<'_>, default: Option<&str>) -> Option<Secret> {
    let written = t.has("url") || t.has("url_file");
    let url = secret(t, "url", "url_file");
    if !written {
        if default.is_none() {
            t.missing(Flaw::new("the receiver has no `url`").hint("write `url` or `url_file`"));
        }
        return default.map(|url| Secret::Value(url.to_owned()));
    }
    let url = url?;
    if let Secret::Value(text) = &url
        && let Some(why) = url_flaw(text)
    {
        t.refuse_at(t.span(), Flaw::new(format!("`url` {why}")));
        return None;
    }
    Some(url)
}

/// A secret: by itself, in a file, or in the environment.
fn secret(t: &mut Table<'_>, key: &'static str, file: &'static str) -> Option<Secret> {
    let in_file = t.parsed(file, parse_path).map(Secret::File);
    let written = match t.shape(key) {
        Shape::Absent => None,
        Shape::Text => {
            let read = parse_secret(key, t.string(key).unwrap_or_default());
            read.map_err(|flaw| t.refuse_at(t.span(), flaw)).ok()
        }
        _ => {
            t.refuse_at(t.span(), Flaw::new(format!("`{key}` must be a string")));
            None
        }
    };
    if t.has(file) && t.has(key) {
        t.refuse(
            file,
            Flaw::new(format!("`{key}` and `{file}` exclude each other")),
        );
    }
    written.or(in_file)
}

/// `env:NAME`, or the secret itself.
fn parse_secret(key: &str, text: &str) -> Result<Secret, Flaw> {
    if let Some(name) = text.strip_prefix("env:") {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || name.len() > 200 || !name.bytes().all(fine) {
            return Err(Flaw::new(format!("`{key}` names no environment variable"))
                .hint("write `env:` and a name of letters, digits and `_`"));
        }
        return Ok(Secret::Env(name.to_owned()));
    }
    if text.trim().is_empty() || text.len() > MAX_SECRET || text.chars().any(char::is_control) {
        return Err(Flaw::new(format!(
            "`{key}` must not be empty, longer than 16 KiB, or have control characters"
        )));
    }
    Ok(Secret::Value(text.to_owned()))
}

fn or(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    words.join(", ")
}

/// The tables as they are read, but for secrets that stand in the file itself: those are hidden.
pub(super) fn render(receivers: &BTreeMap<Name, Receiver>, text: &mut String) {
    for (name, receiver) in receivers {
        let name = quote_key(name.as_str());
        text.push_str(&format!("\n[controller.alerts.receiver.{name}]\n"));
        render_one(receiver, text);
    }
}

fn render_one(receiver: &Receiver, text: &mut String) {
    line(text, "type", quote(receiver.kind.as_str()));
    match &receiver.kind {
        Kind::Webhook {
            url,
            headers,
            secret,
        } => {
            render_url(url, text);
            if !headers.is_empty() {
                let entries: Vec<String> = headers
                    .iter()
                    .map(|(name, value)| {
                        format!("{} = {}", quote_key(name), quote(&shown_secret(value)))
                    })
                    .collect();
                line(text, "headers", format!("{{ {} }}", entries.join(", ")));
            }
            render_secret(secret.as_ref(), "secret", text);
        }
        Kind::Slack { url } | Kind::Discord { url } => render_url(url, text),
        Kind::Ntfy { url, topic, token } => {
            render_url(url, text);
            line(text, "topic", quote(topic));
            render_secret(token.as_ref(), "token", text);
        }
        Kind::Pagerduty { url, routing_key } => {
            render_url(url, text);
            render_secret(Some(routing_key), "routing_key", text);
        }
        Kind::Smtp(smtp) => {
            line(text, "host", quote(&smtp.host));
            line(text, "port", smtp.port.to_string());
            line(text, "tls", quote(smtp.tls.as_str()));
            if let Some((name, password)) = &smtp.login {
                line(text, "username", quote(name));
                render_secret(Some(password), "password", text);
            }
            line(text, "from", quote(&smtp.from));
            line(text, "to", quote_list(&smtp.to));
        }
    }
    line(text, "timeout", quote(&duration_text(receiver.timeout_ms)));
    if let Some(ca) = &receiver.ca {
        line(text, "ca", quote(&ca.to_string_lossy()));
    }
}

fn render_secret(secret: Option<&Secret>, key: &str, text: &mut String) {
    match secret {
        Some(Secret::File(path)) => {
            line(text, &format!("{key}_file"), quote(&path.to_string_lossy()));
        }
        Some(secret) => line(text, key, quote(&shown_secret(secret))),
        None => {}
    }
}

fn shown_secret(secret: &Secret) -> String {
    match secret {
        Secret::Env(name) => format!("env:{name}"),
        Secret::Value(_) | Secret::File(_) => HIDDEN.to_owned(),
    }
}

/// Scheme and host are shown: what follows them is the secret of most services.
fn render_url(url: &Secret, text: &mut String) {
    let Secret::Value(value) = url else {
        return render_secret(Some(url), "url", text);
    };
    let shown = match value.split_once("://") {
        _ if [NTFY, PAGERDUTY].contains(&value.as_str()) => value.clone(),
        Some((scheme, rest)) => match rest.find(['/', '?']) {
            Some(at) if !matches!(&rest[at..], "" | "/") => {
                format!("{scheme}://{}/{HIDDEN}", &rest[..at])
            }
            _ => value.clone(),
        },
        None => HIDDEN.to_owned(),
    };
    line(text, "url", quote(&shown));
}

#[cfg(test)]
#[path = "receivers_tests.rs"]
mod tests;
