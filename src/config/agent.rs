//! `[agent]`.

use super::{
    Role, Surroundings,
    boot_dir::BootDir,
    common::{Common, CommonOverrides, parse_path},
    join::{JoinSource, JoinToken},
    otlp::{Otlp, OtlpOverrides},
    parse_name, role_table,
    settings::{COMMAND_LINE, Settings},
};
use crate::{
    manifest::{
        Flaw, Problem, Problems, Source,
        quantity::{duration_text, parse_duration_ms},
        render::{line, quote, quote_key},
        shown,
        table::Table,
    },
    model::{Name, Operator, Requirement},
};
use clap::builder::BoolishValueParser;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The longest wait before the broker is tried again, unless written: half of the time that a
/// controller waits after its start before it calls a node silent (`start_grace`), so that every
/// node is heard again before that.
pub const DEFAULT_RECONNECT_MAX_MS: u64 = 15_000;

/// What an agent needs to know, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// Data directory and log.
    pub common: Common,
    /// `name` of the node; the host name where none was given.
    pub name: Name,
    /// `join` or `join_file`: how to join the fleet; not needed once it has joined.
    pub join: Option<JoinSource>,
    /// `labels` of the node.
    pub labels: BTreeMap<String, String>,
    /// `docker_socket`: looked for when the agent starts and later; `None` is `off`.
    pub docker_socket: Option<PathBuf>,
    /// `podman_socket`: as `docker_socket`.
    pub podman_socket: Option<PathBuf>,
    /// `registry_config`: a file in the form of Docker's `config.json`, with the credentials of
    /// registries.
    pub registry_config: Option<PathBuf>,
    /// `parallel_pulls`: images that are fetched at the same time.
    pub parallel_pulls: u32,
    /// `reconnect_max`: the longest wait before the broker is tried again, milliseconds. Below the
    /// `start_grace` of the controllers, or its nodes look silent after a restart of theirs.
    pub reconnect_max_ms: u64,
    /// `processes`: native processes may run on this node.
    pub processes: bool,
    /// `standalone` and `dir`: the directory of manifests that says what runs, instead of a
    /// controller.
    pub standalone: Option<PathBuf>,
    /// `local_socket`: where `fleetctl --local` reaches the agent; `None` is `off`.
    pub local_socket: Option<PathBuf>,
    /// `otlp_endpoint`, `otlp_headers_file`: where spans are sent.
    pub otlp: Otlp,
    /// `boot_dir`: where the first boot's join token, name and labels are.
    pub boot_dir: BootDir,
    /// `mdns`: a controller that is not where it was is looked for in the local network.
    pub mdns: bool,
    /// The agent is a process of its own, not a part of a controller or of a simulation.
    pub own_process: bool,
}

/// A Unix socket, or that it is not to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineSocket {
    /// `off`.
    Off,
    /// An absolute path.
    At(PathBuf),
}

impl EngineSocket {
    /// `off` or an absolute path.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<EngineSocket, Flaw> {
        if text == "off" {
            return Ok(EngineSocket::Off);
        }
        let path = text.strip_prefix("unix://").unwrap_or(text);
        parse_path(path)
            .map(EngineSocket::At)
            .map_err(|flaw| flaw.hint("write a path or \"off\""))
    }

    fn path(self) -> Option<PathBuf> {
        match self {
            EngineSocket::Off => None,
            EngineSocket::At(path) => Some(path),
        }
    }
}

// Not a doc comment: it would become the description of the command.
// Flags of the agent; each stands before its environment variable, that before the file.
#[allow(missing_docs)]
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AgentOverrides {
    #[command(flatten)]
    pub common: CommonOverrides,
    /// Name of the node; the host name by default
    #[arg(long, env = "FLEETCTL_NAME", value_name = "NAME")]
    pub name: Option<Name>,
    /// Token of the join line
    #[arg(
        long,
        env = "FLEETCTL_JOIN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub join: Option<JoinToken>,
    /// File with the token of the join line
    #[arg(long, env = "FLEETCTL_JOIN_FILE", value_name = "FILE")]
    pub join_file: Option<PathBuf>,
    /// Label of the node; may be given several times
    #[arg(
        long,
        env = "FLEETCTL_LABEL",
        value_name = "KEY=VALUE",
        value_delimiter = ',',
        value_parser = parse_label
    )]
    pub label: Option<Vec<(String, String)>>,
    /// Socket of Docker, or off
    #[arg(
        long,
        env = "FLEETCTL_DOCKER_SOCKET",
        value_name = "PATH",
        value_parser = EngineSocket::parse
    )]
    pub docker_socket: Option<EngineSocket>,
    /// Socket of Podman, or off
    #[arg(
        long,
        env = "FLEETCTL_PODMAN_SOCKET",
        value_name = "PATH",
        value_parser = EngineSocket::parse
    )]
    pub podman_socket: Option<EngineSocket>,
    /// File with credentials of registries, as Docker's config.json
    #[arg(long, env = "FLEETCTL_REGISTRY_CONFIG", value_name = "FILE")]
    pub registry_config: Option<PathBuf>,
    /// Images that are fetched at the same time
    #[arg(long, env = "FLEETCTL_PARALLEL_PULLS", value_name = "COUNT")]
    pub parallel_pulls: Option<u32>,
    /// Longest wait before the broker is tried again
    #[arg(
        long,
        env = "FLEETCTL_RECONNECT_MAX",
        value_name = "DURATION",
        value_parser = parse_duration_ms
    )]
    pub reconnect_max: Option<u64>,
    /// Run native processes
    #[arg(
        long,
        env = "FLEETCTL_PROCESSES",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub processes: Option<bool>,
    /// Run without a controller; needs --dir
    #[arg(
        long,
        env = "FLEETCTL_STANDALONE",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub standalone: Option<bool>,
    /// Directory of manifests that says what runs, with --standalone
    #[arg(long, env = "FLEETCTL_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Socket for `fleetctl --local`, or off
    #[arg(
        long,
        env = "FLEETCTL_LOCAL_SOCKET",
        value_name = "PATH",
        value_parser = EngineSocket::parse
    )]
    pub local_socket: Option<EngineSocket>,
    /// Directory with the first boot's join token, name and labels, or off
    #[arg(long, env = "FLEETCTL_BOOT_DIR", value_name = "DIR", value_parser = BootDir::parse)]
    pub boot_dir: Option<BootDir>,
    /// Look for a controller that is not where it was in the local network
    #[arg(
        long,
        env = "FLEETCTL_MDNS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub mdns: Option<bool>,
    #[command(flatten)]
    pub otlp: OtlpOverrides,
}

impl AgentConfig {
    /// From a file, where there is one, and what was given in front of it.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn resolve(
        file: Option<&Source>,
        given: &AgentOverrides,
        around: &Surroundings,
    ) -> Result<AgentConfig, Problems> {
        let read = role_table(file, Role::Agent, |table| Self::read(table, given, around))?;
        read.ok_or_else(|| {
            let host = shown(&around.host_name);
            let flaw = Flaw::new(format!("the host name `{host}` gives no name for the node"))
                .hint("set `name` or `--name`");
            Problem::without_place(COMMAND_LINE, flaw).into()
        })
    }

    /// `None` where the node has no name, which is on no record yet: a flag may give it.
    pub(super) fn read(
        table: Table<'_>,
        given: &AgentOverrides,
        around: &Surroundings,
    ) -> Option<AgentConfig> {
        let mut settings = Settings::new(table);
        let s = &mut settings;
        let given = given.clone();
        let common = Common::read(s, &given.common, around, Role::Agent.as_str());
        let name = s
            .parsed("name", given.name, parse_name)
            .or_else(|| Name::from_lossy(&around.host_name));
        let join = s.parsed("join", given.join, JoinToken::parse);
        let join_file = s.parsed("join_file", given.join_file, parse_path);
        if join.is_some() && join_file.is_some() {
            let flaw = Flaw::new("`join` and `join_file` exclude each other");
            s.refuse(
                "join_file",
                flaw.hint("give the token or the file that holds it"),
            );
        }
        let joins = join.is_some() || join_file.is_some();
        let labels = s.map("labels", &given.label.unwrap_or_default(), check_label);
        let docker_socket = s.parsed("docker_socket", given.docker_socket, EngineSocket::parse);
        let podman_socket = s.parsed("podman_socket", given.podman_socket, EngineSocket::parse);
        let registry_config = s.parsed("registry_config", given.registry_config, parse_path);
        let parallel_pulls = s.count("parallel_pulls", given.parallel_pulls, 1, 1..=16);
        let reconnect_max_ms = s.duration_ms(
            "reconnect_max",
            given.reconnect_max,
            DEFAULT_RECONNECT_MAX_MS,
            1_000..=3_600_000,
        );
        let processes = s.bool("processes", given.processes, true);
        let alone = s.bool("standalone", given.standalone, false);
        let dir = s.parsed("dir", given.dir, parse_path);
        check_standalone(s, alone, dir.is_some(), joins);
        let local_socket = s.parsed("local_socket", given.local_socket, EngineSocket::parse);
        let boot_dir = s.parsed("boot_dir", given.boot_dir, BootDir::parse);
        let mdns = s.bool("mdns", given.mdns, true);
        let otlp = Otlp::read(s, given.otlp, around);
        settings.finish();
        let default_socket = || EngineSocket::At(Self::socket_in(&common.data_dir));
        Some(AgentConfig {
            local_socket: local_socket.unwrap_or_else(default_socket).path(),
            standalone: dir.filter(|_| alone),
            common,
            name: name?,
            join: join
                .map(JoinSource::Token)
                .or(join_file.map(JoinSource::File)),
            labels,
            docker_socket: docker_socket
                .unwrap_or_else(|| EngineSocket::At("/var/run/docker.sock".into()))
                .path(),
            podman_socket: podman_socket
                .unwrap_or_else(|| EngineSocket::At(around.podman_socket()))
                .path(),
            registry_config,
            parallel_pulls,
            reconnect_max_ms,
            processes,
            otlp,
            boot_dir: boot_dir.unwrap_or_default(),
            mdns,
            own_process: true,
        })
    }

    /// Where the local socket is by default.
    pub fn socket_in(data_dir: &Path) -> PathBuf {
        data_dir.join("agent.sock")
    }

    /// For the node in a controller's own process: everything by default.
    pub fn local(
        common: Common,
        data_dir: PathBuf,
        name: Name,
        join: JoinSource,
        otlp: Otlp,
        around: &Surroundings,
    ) -> AgentConfig {
        AgentConfig {
            local_socket: Some(Self::socket_in(&data_dir)),
            standalone: None,
            common: Common { data_dir, ..common },
            name,
            join: Some(join),
            labels: BTreeMap::new(),
            docker_socket: Some("/var/run/docker.sock".into()),
            podman_socket: Some(around.podman_socket()),
            registry_config: None,
            parallel_pulls: 1,
            reconnect_max_ms: 5_000,
            processes: true,
            otlp,
            boot_dir: BootDir::Off,
            mdns: false,
            own_process: false,
        }
    }

    /// The configuration in effect, as a file that gives the same one; the token is left out.
    pub fn render(&self) -> String {
        let mut text = "[agent]\n".to_owned();
        let t = &mut text;
        let path = |path: &Option<PathBuf>, none: &str| match path {
            Some(path) => quote(&path.to_string_lossy()),
            None => quote(none),
        };
        self.common.render(t);
        line(t, "name", quote(self.name.as_str()));
        match &self.join {
            None => {}
            Some(JoinSource::File(file)) => line(t, "join_file", quote(&file.to_string_lossy())),
            Some(JoinSource::Token(_)) => t.push_str("# join = is set, and not shown\n"),
        }
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|(k, v)| format!("{} = {}", quote_key(k), quote(v)))
            .collect();
        let labels = if labels.is_empty() {
            "{}".to_owned()
        } else {
            format!("{{ {} }}", labels.join(", "))
        };
        line(t, "labels", labels);
        line(t, "docker_socket", path(&self.docker_socket, "off"));
        line(t, "podman_socket", path(&self.podman_socket, "off"));
        line(t, "registry_config", path(&self.registry_config, ""));
        line(t, "parallel_pulls", self.parallel_pulls.to_string());
        line(
            t,
            "reconnect_max",
            quote(&duration_text(self.reconnect_max_ms)),
        );
        line(t, "processes", self.processes.to_string());
        line(t, "standalone", self.standalone.is_some().to_string());
        line(t, "dir", path(&self.standalone, ""));
        line(t, "local_socket", path(&self.local_socket, "off"));
        line(t, "boot_dir", quote(&self.boot_dir.text()));
        line(t, "mdns", self.mdns.to_string());
        self.otlp.render(t);
        text
    }
}

/// Without a controller there must be a directory, and nothing to join.
fn check_standalone(settings: &Settings<'_>, alone: bool, dir: bool, joins: bool) {
    if alone && joins {
        let flaw = Flaw::new("`standalone` and a join token exclude each other");
        settings.refuse(
            "standalone",
            flaw.hint("leave one of them out: a controller says what runs, or a directory"),
        );
    }
    if alone && !dir {
        let flaw = Flaw::new("`standalone` needs a directory of manifests");
        settings.refuse("standalone", flaw.hint("set `dir` or `--dir`"));
    }
    if dir && !alone {
        let flaw = Flaw::new("`dir` means nothing without `standalone`");
        settings.refuse(
            "dir",
            flaw.hint("set `standalone` or `--standalone` to run without a controller"),
        );
    }
}

/// A label as on the command line.
///
/// # Errors
/// Not `key=value`, or a key or value that no requirement could name.
pub fn parse_label(text: &str) -> Result<(String, String), Flaw> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(Flaw::new(format!("`{}` is not a label", shown(text))).hint("write key=value"));
    };
    check_label(key, value)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A label is what a requirement `key=value` can ask for.
fn check_label(key: &str, value: &str) -> Result<(), Flaw> {
    let wanted = Requirement {
        key: key.to_owned(),
        operator: Operator::Is,
        value: value.to_owned(),
    };
    match Requirement::try_from(format!("{key}={value}")) {
        Ok(read) if read == wanted => Ok(()),
        _ => Err(
            Flaw::new(format!("`{}={}` is not a label", shown(key), shown(value)))
                .hint("key and value are 1 to 128 letters, digits, `-`, `_`, `.`, `/` and `:`"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, given: &AgentOverrides) -> Result<AgentConfig, String> {
        let around = Surroundings {
            root: true,
            host_name: "pi".to_owned(),
            ..Surroundings::default()
        };
        let source = Source::new("a.toml", text);
        AgentConfig::resolve(Some(&source), given, &around).map_err(|p| p.to_string())
    }

    #[test]
    fn without_a_controller_there_is_a_directory_and_nothing_to_join() {
        let plain = AgentOverrides::default();
        let text = "[agent]\nstandalone = true\ndir = '/srv/workloads'\n";
        let config = read(text, &plain).unwrap();
        assert_eq!(config.standalone, Some("/srv/workloads".into()));
        assert_eq!(read(&config.render(), &plain).unwrap(), config);
        for (text, words) in [
            ("[agent]\nstandalone = true\n", "needs a directory"),
            ("[agent]\ndir = '/srv'\n", "means nothing without"),
            (
                "[agent]\nstandalone = true\ndir = '/srv'\njoin = 'x'\n",
                "exclude each other",
            ),
        ] {
            let said = read(text, &plain).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
        // A flag alone is as wrong as a line of the file.
        let given = AgentOverrides {
            dir: Some("workloads".into()),
            ..AgentOverrides::default()
        };
        let said = read("[agent]\n", &given).unwrap_err();
        assert!(said.contains("means nothing without"), "{said}");
        let given = AgentOverrides {
            standalone: Some(true),
            ..given
        };
        let config = read("[agent]\n", &given).unwrap();
        assert_eq!(config.standalone, Some("workloads".into()));
    }

    #[test]
    fn the_local_socket_is_in_the_data_directory_unless_said_otherwise() {
        let plain = AgentOverrides::default();
        let config = read("[agent]\ndata_dir = '/data'\n", &plain).unwrap();
        assert_eq!(config.local_socket, Some("/data/agent.sock".into()));
        for (text, expected) in [
            ("local_socket = 'off'", None),
            ("local_socket = '/run/x.sock'", Some("/run/x.sock".into())),
        ] {
            let config = read(&format!("[agent]\n{text}\n"), &plain).unwrap();
            assert_eq!(config.local_socket, expected);
            assert_eq!(read(&config.render(), &plain).unwrap(), config);
        }
    }
}
