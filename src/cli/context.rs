//! Which controller is meant: flags and environment, else a context, else the one on this machine.

use super::{
    Failure,
    args::{Connection, ContextVerb},
    output,
};
use crate::{
    config::Surroundings,
    identity::{read_optional, read_to_string, write_private},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Where the controller on this machine listens.
const LOCAL_URL: &str = "http://127.0.0.1:7070";

/// A controller and how to speak to it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) url: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) token: Option<String>,
    pub(super) ca_pem: Option<String>,
}

impl Target {
    fn parse(url: &str) -> Result<Target, Failure> {
        let wrong = || {
            Failure::usage(format!(
                "`{url}` is not the address of a controller: http://host:7070"
            ))
        };
        let (tls, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        let rest = rest.trim_end_matches('/');
        let default = if tls { 443 } else { 80 };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ => (rest, default),
        };
        let host = host.trim_matches(['[', ']']);
        if host.is_empty() || host.contains(['/', ' ', '@']) {
            return Err(wrong());
        }
        Ok(Target {
            url: url.trim_end_matches('/').to_owned(),
            host: host.to_owned(),
            port,
            tls,
            token: None,
            ca_pem: None,
        })
    }

    /// `host:port` for the Host header.
    pub(super) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Contexts {
    #[serde(default)]
    current: String,
    #[serde(default)]
    context: BTreeMap<String, Context>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Context {
    url: String,
    token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
}

fn file() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".config"));
    Some(base.or_else(home)?.join("fleetctl/contexts.toml"))
}

fn load() -> Result<Contexts, Failure> {
    let Some(path) = file() else {
        return Ok(Contexts::default());
    };
    let Some(text) = read_optional(&path)? else {
        return Ok(Contexts::default());
    };
    toml::from_str(&text).map_err(|e| Failure::new(format!("{} is damaged: {e}", path.display())))
}

fn save(contexts: &Contexts) -> Result<(), Failure> {
    let path = file().ok_or_else(|| Failure::new("there is no home directory for contexts"))?;
    Ok(write_private(&path, toml::to_string(contexts)?.as_bytes())?)
}

/// What a command speaks to.
pub(super) fn resolve(given: &Connection) -> Result<Target, Failure> {
    let mut target = address(given)?;
    if target.token.is_none() {
        return Err(Failure::usage(format!(
            "no API token for {}: set FLEETCTL_TOKEN, or remember the controller with `fleetctl \
             context add`; its first token is the file admin.token in its data directory",
            target.url
        )));
    }
    target.token = target.token.map(|t| t.trim().to_owned());
    Ok(target)
}

/// The same for what needs no token; there may be one all the same.
pub(super) fn address(given: &Connection) -> Result<Target, Failure> {
    let contexts = load()?;
    let name = given.context.as_deref().unwrap_or(&contexts.current);
    let context = contexts.context.get(name);
    if given.context.is_some() && context.is_none() {
        return Err(unknown(&contexts, name));
    }
    // An address that is given is not asked with another controller's token.
    let context = context.filter(|c| given.url.as_ref().is_none_or(|u| *u == c.url));
    let url = given.url.clone().or_else(|| context.map(|c| c.url.clone()));
    let local = url.is_none();
    let mut target = Target::parse(url.as_deref().unwrap_or(LOCAL_URL))?;
    let ca = given
        .ca
        .clone()
        .or_else(|| context.and_then(|c| c.ca.clone()));
    target.ca_pem = ca.map(|path| read_to_string(&path)).transpose()?;
    target.token = match (&given.token, &given.token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(file)) => Some(read_to_string(file)?),
        (None, None) => context.map(|c| c.token.clone()),
    };
    if target.token.is_none() && local {
        target.token = local_token();
    }
    Ok(target)
}

/// The admin token of a controller on this machine that runs with the default data directory.
fn local_token() -> Option<String> {
    let around = Surroundings::of_this_process();
    let path = around
        .default_data_dir(crate::config::Role::Controller)?
        .join("admin.token");
    read_optional(&path).ok().flatten()
}

fn unknown(contexts: &Contexts, name: &str) -> Failure {
    let known: Vec<&str> = contexts.context.keys().map(String::as_str).collect();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    Failure::usage(format!("there is no context `{name}`; there are: {known}"))
}

#[derive(Serialize)]
struct Row {
    name: String,
    url: String,
    current: bool,
}

pub(super) fn run(verb: ContextVerb) -> Result<ExitCode, Failure> {
    let mut contexts = load()?;
    match verb {
        ContextVerb::Ls { output } => {
            let rows: Vec<Row> = contexts
                .context
                .iter()
                .map(|(name, c)| Row {
                    name: name.clone(),
                    url: c.url.clone(),
                    current: *name == contexts.current,
                })
                .collect();
            output::list(output.output, &rows, &["", "NAME", "URL"], |r, _| {
                vec![
                    if r.current { "*".into() } else { String::new() },
                    r.name.clone(),
                    r.url.clone(),
                ]
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        ContextVerb::Add {
            name,
            url,
            token,
            ca,
        } => {
            Target::parse(&url)?;
            let token = match token.as_str() {
                "-" => {
                    let mut line = String::new();
                    std::io::stdin().read_line(&mut line)?;
                    line.trim().to_owned()
                }
                _ => token,
            };
            // Another working directory must find it too.
            let ca = ca.map(|path| std::path::absolute(&path)).transpose()?;
            if let Some(path) = &ca {
                read_to_string(path)?;
            }
            contexts
                .context
                .insert(name.clone(), Context { url, token, ca });
            contexts.current = name;
        }
        ContextVerb::Use { name } => {
            if !contexts.context.contains_key(&name) {
                return Err(unknown(&contexts, &name));
            }
            contexts.current = name;
        }
        ContextVerb::Rm { name, .. } => {
            if contexts.context.remove(&name).is_none() {
                return Err(unknown(&contexts, &name));
            }
            if contexts.current == name {
                contexts.current = String::new();
            }
        }
    }
    save(&contexts)?;
    Ok(ExitCode::SUCCESS)
}
