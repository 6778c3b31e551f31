//! Who is told, and how: what `[controller.alerts.receiver.<name>]` means.

use super::secret::{Secret, SecretError};
use std::{collections::BTreeMap, path::PathBuf};

/// One receiver, checked. Its secrets may still stand in files or in the environment:
/// [`Receiver::opened`] reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Which service, and what it needs.
    pub kind: Kind,
    /// The longest that one delivery may take, milliseconds.
    pub timeout_ms: u64,
    /// PEM file with CAs that are trusted beside those of the system.
    pub ca: Option<PathBuf>,
}

/// Which service, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Our own JSON, to anybody.
    Webhook {
        /// Where to; may hold a token.
        url: Secret,
        /// Sent along; their values may be tokens.
        headers: BTreeMap<String, Secret>,
        /// Signs the body.
        secret: Option<Secret>,
    },
    /// A Slack incoming webhook.
    Slack {
        /// The webhook's address, which is its secret.
        url: Secret,
    },
    /// A Discord webhook.
    Discord {
        /// The webhook's address, which is its secret.
        url: Secret,
    },
    /// An ntfy server.
    Ntfy {
        /// The server's root.
        url: Secret,
        /// Where to publish.
        topic: String,
        /// An access token.
        token: Option<Secret>,
    },
    /// PagerDuty's Events API v2.
    Pagerduty {
        /// Where events go.
        url: Secret,
        /// The integration's key.
        routing_key: Secret,
    },
    /// A mail server.
    Smtp(Smtp),
}

/// A mail server, and whom it brings mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smtp {
    /// Name or address of the server; the certificate must be of it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// Who signs in, and with which password.
    pub login: Option<(String, Secret)>,
    /// The sender's address, `name@domain` or `Some Name <name@domain>`.
    pub from: String,
    /// Addresses of the same form; at least one.
    pub to: Vec<String>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// Begins in plain text, and goes on only when the server turns to TLS.
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// Plain text.
    None,
}

impl MailTls {
    /// All, with their words.
    pub const ALL: [(&'static str, MailTls); 3] = [
        ("starttls", MailTls::Starttls),
        ("implicit", MailTls::Implicit),
        ("none", MailTls::None),
    ];

    /// The port that is meant where none is written.
    pub fn default_port(self) -> u16 {
        match self {
            MailTls::Starttls => 587,
            MailTls::Implicit => 465,
            MailTls::None => 25,
        }
    }

    /// As in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            MailTls::Starttls => "starttls",
            MailTls::Implicit => "implicit",
            MailTls::None => "none",
        }
    }
}

impl Kind {
    /// As in the configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            Kind::Webhook { .. } => "webhook",
            Kind::Slack { .. } => "slack",
            Kind::Discord { .. } => "discord",
            Kind::Ntfy { .. } => "ntfy",
            Kind::Pagerduty { .. } => "pagerduty",
            Kind::Smtp(_) => "smtp",
        }
    }

    fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        match self {
            Kind::Webhook {
                url,
                headers,
                secret,
            } => {
                let mut all = vec![url];
                all.extend(headers.values_mut());
                all.extend(secret);
                all
            }
            Kind::Slack { url } | Kind::Discord { url } => vec![url],
            Kind::Ntfy { url, token, .. } => {
                let mut all = vec![url];
                all.extend(token);
                all
            }
            Kind::Pagerduty { url, routing_key } => vec![url, routing_key],
            Kind::Smtp(smtp) => smtp.login.iter_mut().map(|(_, secret)| secret).collect(),
        }
    }
}

impl Receiver {
    /// The most notifications that go as one message.
    pub fn batch(&self) -> usize {
        match self.kind {
            // Each is an event of its own there.
            Kind::Pagerduty { .. } => 1,
            Kind::Webhook { .. } => 100,
            _ => super::queue::MAX_WAITING,
        }
    }

    /// The same with every secret as its value: reads files and the environment.
    ///
    /// # Errors
    /// A file cannot be read, or a variable is not set.
    pub fn opened(&self) -> Result<Receiver, SecretError> {
        let mut opened = self.clone();
        for secret in opened.kind.secrets_mut() {
            *secret = secret.opened()?;
        }
        Ok(opened)
    }

    /// `text` without any of the secrets, which an answer may repeat.
    pub fn scrubbed(&self, text: &str) -> String {
        let mut kind = self.kind.clone();
        let mut text = text.to_owned();
        for secret in kind.secrets_mut() {
            text = secret.scrubbed(&text);
        }
        text
    }
}
