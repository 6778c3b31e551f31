//! What receivers need and is not there: no mistake in the file, which may be checked on another
//! machine, but worth a warning.

use crate::{
    manifest::shown,
    model::Name,
    notify::{Kind, Receiver, Secret},
};
use std::{collections::BTreeMap, env, fs, path::Path};

/// Files of secrets and CAs, and variables of the environment, that are not there now. One
/// sentence each. Looks at the file system and the environment.
pub(super) fn absent(receivers: &BTreeMap<Name, Receiver>) -> Vec<String> {
    let mut all = Vec::new();
    for (name, receiver) in receivers {
        let ca = receiver.ca.as_deref().and_then(|ca| file("CA", ca));
        let secrets = secrets(&receiver.kind);
        let secrets = secrets.into_iter().filter_map(|(what, s)| missing(what, s));
        let said = ca.into_iter().chain(secrets);
        all.extend(said.map(|what| format!("receiver `{name}`: {what}")));
    }
    all
}

fn missing(what: &str, secret: &Secret) -> Option<String> {
    match secret {
        Secret::Value(_) => None,
        Secret::File(path) => file(what, path),
        Secret::Env(variable) => env::var_os(variable).is_none().then(|| {
            format!(
                "the environment variable {variable} with its {what} is not set here; the \
                 controller needs it"
            )
        }),
    }
}

fn file(what: &str, path: &Path) -> Option<String> {
    let error = fs::metadata(path).err()?;
    let path = shown(&path.display().to_string());
    Some(format!(
        "the file {path} with its {what} cannot be found: {error}"
    ))
}

/// Each secret, with what it is.
fn secrets(kind: &Kind) -> Vec<(&str, &Secret)> {
    match kind {
        Kind::Webhook {
            url,
            headers,
            secret,
        } => {
            let mut all = vec![("address", url)];
            all.extend(headers.iter().map(|(name, value)| (name.as_str(), value)));
            all.extend(secret.iter().map(|secret| ("secret", secret)));
            all
        }
        Kind::Slack { url } | Kind::Discord { url } => vec![("address", url)],
        Kind::Ntfy { url, token, .. } => {
            let token = token.iter().map(|token| ("token", token));
            [("address", url)].into_iter().chain(token).collect()
        }
        Kind::Pagerduty { url, routing_key } => {
            vec![("address", url), ("routing key", routing_key)]
        }
        Kind::Smtp(smtp) => {
            let login = smtp.login.iter();
            login.map(|(_, password)| ("password", password)).collect()
        }
    }
}
