//! The configuration of the three roles: what they read, and what it means.
//!
//! A file has one table, `[controller]`, `[agent]` or `[broker]`. A setting is taken from its
//! flag, else from its environment variable, else from the file, else it has a default; `clap`
//! settles the first two ([`ControllerOverrides`] and its like), [`ControllerConfig::resolve`]
//! and its like do the rest. What comes out is checked; unknown keys are refused, and everything
//! that is wrong is said at once, at its place (see [`crate::manifest::span`]).
//!
//! Without `--config` and `FLEETCTL_CONFIG` a role reads `/etc/fleetctl/<role>.toml` where it exists
//! ([`file_of`]), so that a unit, a script and a person at a shell mean the same file.
//!
//! An empty text in a file counts as not written, so that the files in `config/` can show every
//! key.

mod absent;
mod agent;
mod alerts;
mod boot_dir;
mod broker;
mod common;
mod controller;
mod hidden;
mod join;
mod listen;
mod otlp;
mod rebalance;
mod receivers;
mod settings;
mod telemetry;
#[cfg(test)]
mod tests;

pub use agent::{AgentConfig, AgentOverrides, DEFAULT_RECONNECT_MAX_MS, EngineSocket, parse_label};
pub use alerts::AlertsConfig;
pub use boot_dir::BootDir;
pub use broker::{BrokerConfig, BrokerOverrides};
pub use common::{Common, CommonOverrides, LogFormat, parse_log, parse_topic_prefix};
pub use controller::{ControllerConfig, ControllerOverrides};
pub use join::{JoinSource, JoinToken};
pub use listen::{Listen, parse_advertised, parse_blob_url, parse_broker};
pub use otlp::{Otlp, OtlpOverrides};

use crate::{
    manifest::{Flaw, Problems, Source, report::walk, table::Table},
    model::Name,
};
use hidden::without_secrets;
use settings::{COMMAND_LINE, Settings};
use std::{
    env, io,
    path::{Path, PathBuf},
};

/// Where an embedded broker listens by default: boards over TLS, this machine in plain text.
const DEFAULT_MQTT_LISTEN: [&str; 2] = ["tls://0.0.0.0:8883", "tcp://127.0.0.1:1883"];
/// Where a role looks for its file, `<role>.toml`, when none is named.
const CONFIG_DIR: &str = "/etc/fleetctl";
/// What stands before every topic by default.
const DEFAULT_TOPIC_PREFIX: &str = "fleet";
/// The most addresses that one setting names.
const MAX_LISTEN: usize = 16;

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `fleetctl controller`.
    Controller,
    /// `fleetctl agent`.
    Agent,
    /// `fleetctl broker`.
    Broker,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Controller, Role::Agent, Role::Broker];

    /// The command, and the table in a file.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Controller => "controller",
            Role::Agent => "agent",
            Role::Broker => "broker",
        }
    }
}

/// What defaults depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The process runs as root.
    pub root: bool,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// `$XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `$STATE_DIRECTORY`: what a service manager has made for this role, of several the first.
    pub state_directory: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// The machine's own name.
    pub host_name: String,
    /// `$OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub otlp_endpoint: Option<String>,
}

impl Surroundings {
    /// Of this process.
    pub fn of_this_process() -> Surroundings {
        // The specification of these variables says that a relative path is to be ignored.
        let path = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        Surroundings {
            root: rustix::process::geteuid().is_root(),
            home: path("HOME"),
            state_home: path("XDG_STATE_HOME"),
            state_directory: env::var("STATE_DIRECTORY")
                .ok()
                .and_then(|all| Some(PathBuf::from(all.split(':').next()?)))
                .filter(|path| path.is_absolute()),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            host_name: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            otlp_endpoint: env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok(),
        }
    }

    /// Where a role keeps its data by default; `None` without a home directory.
    pub fn default_data_dir(&self, role: Role) -> Option<PathBuf> {
        self.data_dir(role.as_str())
    }

    /// Where the role called `role` keeps its data by default.
    fn data_dir(&self, role: &str) -> Option<PathBuf> {
        // Of a service of its own. The directory of another role's service is not to be shared.
        if let Some(given) = &self.state_directory
            && given.file_name().is_some_and(|name| name == role)
        {
            return Some(given.clone());
        }
        if self.root {
            return Some(Path::new("/var/lib/fleetctl").join(role));
        }
        let below_home = || self.home.as_ref().map(|home| home.join(".local/state"));
        let state = self.state_home.clone().or_else(below_home)?;
        Some(state.join("fleetctl").join(role))
    }

    /// Where Podman's API is by default.
    fn podman_socket(&self) -> PathBuf {
        match &self.runtime_dir {
            Some(folder) if !self.root => folder.join("podman/podman.sock"),
            _ => "/run/podman/podman.sock".into(),
        }
    }
}

/// The file of a role: the one that is named, else that of the machine where there is one.
///
/// # Errors
/// It is there, or was named, and cannot be read.
pub fn file_of(role: Role, named: Option<&Path>) -> Result<Option<Source>, Problems> {
    named_or_in(Path::new(CONFIG_DIR), role, named)
}

fn named_or_in(dir: &Path, role: Role, named: Option<&Path>) -> Result<Option<Source>, Problems> {
    if let Some(named) = named {
        return Source::read(named).map(Some);
    }
    let usual = dir.join(format!("{}.toml", role.as_str()));
    // One that nobody may look at is said by reading it: it must not be passed over in silence.
    match usual.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        _ => Source::read(&usual).map(Some),
    }
}

/// Checks a file by itself, and says whose it is. What only a flag may add is not missed.
///
/// # Errors
/// The file cannot be read, or everything that is wrong with it.
pub fn check_file(path: &Path, around: &Surroundings) -> Result<Role, Problems> {
    check(&Source::read(path)?, around)
}

/// As [`check_file`], of a text.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(source: &Source, around: &Surroundings) -> Result<Role, Problems> {
    examine(source, around).map(|(role, _)| role)
}

/// As [`check`]; and what is no mistake but should be known: which files and variables that hold
/// secrets are not there now. One sentence each.
///
/// # Errors
/// Everything that is wrong with it.
pub fn examine(source: &Source, around: &Surroundings) -> Result<(Role, Vec<String>), Problems> {
    walk(source, |mut root| {
        let mut found = None;
        let mut missing = Vec::new();
        for role in Role::ALL {
            if !root.has(role.as_str()) {
                continue;
            }
            if let Some(first) = found.replace(role) {
                let flaw = Flaw::new(format!("the file is for the {} already", first.as_str()))
                    .hint("a file is for one role; put the other one in a file of its own");
                root.refuse_key(role.as_str(), flaw);
            }
        }
        if found.is_none() {
            root.missing(
                Flaw::new("the file configures nothing")
                    .hint("begin it with `[controller]`, `[agent]` or `[broker]`"),
            );
        }
        for role in Role::ALL {
            let table = root.table(role.as_str());
            if !table.is_present() {
                continue;
            }
            match role {
                Role::Controller => {
                    let given = ControllerOverrides::default();
                    let config = ControllerConfig::read(table, &given, around, false);
                    missing = absent::absent(&config.alerts.receivers);
                }
                Role::Agent => {
                    AgentConfig::read(table, &AgentOverrides::default(), around);
                }
                Role::Broker => {
                    BrokerConfig::read(table, &BrokerOverrides::default(), around);
                }
            }
        }
        root.finish();
        (found, missing)
    })
    // Without a role there is a problem, so this default is never seen.
    .map(|(role, missing)| (role.unwrap_or(Role::Controller), missing))
    .map_err(|problems| without_secrets(source, problems))
}

/// Walks the table of `role` in `file`; without a file, an absent one.
fn role_table<T>(
    file: Option<&Source>,
    role: Role,
    read: impl FnOnce(Table<'_>) -> T,
) -> Result<T, Problems> {
    let nothing = Source::new(COMMAND_LINE, "");
    let source = file.unwrap_or(&nothing);
    walk(source, |mut root| {
        let value = read(root.table(role.as_str()));
        root.finish();
        value
    })
    .map_err(|problems| without_secrets(source, problems))
}

/// A list of addresses to listen on: at least one, each once.
fn read_listen(
    settings: &mut Settings<'_>,
    key: &'static str,
    given: Option<Vec<Listen>>,
    parse: fn(&str) -> Result<Listen, Flaw>,
    default: &[&str],
) -> Vec<Listen> {
    let list = settings.list(key, given, parse);
    let list = list.unwrap_or_else(|| default.iter().filter_map(|text| parse(text).ok()).collect());
    if list.len() > MAX_LISTEN {
        settings.refuse(
            key,
            Flaw::new(format!("`{key}` has more than {MAX_LISTEN} addresses")),
        );
    }
    if list.is_empty() {
        settings.refuse(key, Flaw::new(format!("`{key}` names no address")));
    }
    let twice = list.iter().enumerate().find(|(index, listen)| {
        let same = |other: &Listen| other.address == listen.address;
        listen.address.port() != 0 && list[..*index].iter().any(same)
    });
    if let Some((_, listen)) = twice {
        settings.refuse(
            key,
            Flaw::new(format!("`{key}` names {} twice", listen.address)),
        );
    }
    list
}

/// The name of a node.
fn parse_name(text: &str) -> Result<Name, Flaw> {
    text.parse::<Name>()
        .map_err(|error| Flaw::new(error.to_string()))
}
