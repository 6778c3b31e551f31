//! The inventory: which boards there are and how they are reached, from TOML or from YAML.
//!
//! ```toml
//! [defaults]
//! ssh_user = "pi"
//!
//! [board.pi-1]
//! host = "192.0.2.11"
//! labels = { zone = "hall" }
//! workloads = ["web"]        # the label runs.web=yes, for `requires = ["runs.web=yes"]`
//! ```

use crate::{
    manifest::{
        Flaw, Problems, Source,
        report::walk,
        table::Table,
        word::{absolute_path, env_entry, is_host},
    },
    model::{Name, shown},
};
use std::collections::{BTreeMap, BTreeSet};

/// The most boards of one inventory.
pub const MAX_BOARDS: usize = 10_000;
/// The most bytes of an environment: it travels as one line.
const MAX_ENV: usize = 16 << 10;
/// What stands before the name of a workload in the label of a board that is to run it.
const RUNS: &str = "runs.";
/// What begins the names of settings of `fleetctl` itself, capitals or not: OpenRC has small ones.
const OURS: &str = "FLEETCTL_";
/// What is empty, or another, after a restart of the board.
const FLEETING: [&str; 6] = ["/tmp", "/run", "/var/run", "/dev", "/proc", "/sys"];

/// One machine and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// Its name in the fleet.
    pub name: Name,
    /// Host, as `ssh` takes it: a name, an address, or a `Host` of `~/.ssh/config`.
    pub host: String,
    /// User to log in as; `None`: what `ssh` takes.
    pub ssh_user: Option<String>,
    /// Port; `None`: what `ssh` takes.
    pub ssh_port: Option<u16>,
    /// File with the private key; `None`: what `ssh` takes.
    pub ssh_key: Option<String>,
    /// More options of `ssh`, as after its `-o`.
    pub ssh_options: Vec<String>,
    /// Directory of the binary on the board.
    pub install_dir: String,
    /// Become root by `sudo` where the user is not root.
    pub sudo: bool,
    /// Labels of the node, those of `workloads` with them.
    pub labels: BTreeMap<String, String>,
    /// Environment of the agent, for `{{ env.NAME }}`.
    pub env: BTreeMap<String, String>,
}

/// All boards, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// At least one.
    pub boards: Vec<Board>,
}

/// Which boards are meant: by name, by a pattern of names, or by label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    /// A name, in which `*` stands for anything and `?` for one character.
    Name(String),
    /// A label.
    Label(String, String),
}

impl std::str::FromStr for Select {
    type Err = Flaw;
    fn from_str(text: &str) -> Result<Select, Flaw> {
        let text = text.trim();
        match text.split_once('=') {
            _ if text.is_empty() => Err(Flaw::new("this names no board")),
            Some(("", _) | (_, "")) => {
                Err(Flaw::new(format!("`{}` is not a label", shown(text))).hint("write key=value"))
            }
            Some((key, value)) => Ok(Select::Label(key.to_owned(), value.to_owned())),
            None => Ok(Select::Name(text.to_owned())),
        }
    }
}

impl Select {
    fn takes(&self, board: &Board) -> bool {
        match self {
            Select::Name(pattern) => matches(pattern.as_bytes(), board.name.as_str().as_bytes()),
            Select::Label(key, value) => board.labels.get(key) == Some(value),
        }
    }
}

/// `*` anything, `?` one byte; names have only such.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

impl Inventory {
    /// The boards that any of `limit` takes; all of them where there is none.
    ///
    /// # Errors
    /// One of `limit` takes no board: it is named.
    pub fn limited(&self, limit: &[Select]) -> Result<Vec<Board>, String> {
        for one in limit {
            if !self.boards.iter().any(|b| one.takes(b)) {
                let what = match one {
                    Select::Name(name) => shown(name).to_string(),
                    Select::Label(key, value) => format!("{}={}", shown(key), shown(value)),
                };
                return Err(format!("no board of the inventory is `{what}` (--limit)"));
            }
        }
        let wanted = |b: &&Board| limit.is_empty() || limit.iter().any(|l| l.takes(b));
        Ok(self.boards.iter().filter(wanted).cloned().collect())
    }
}

/// Reads an inventory: YAML where the file's name says so, else TOML.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn parse(source: &Source) -> Result<Inventory, Problems> {
    let yaml = [".yaml", ".yml"].iter().any(|e| source.name.ends_with(e));
    let boards = match yaml {
        true => crate::manifest::walk_yaml(source, read_yaml)?,
        false => walk(source, read_toml)?,
    };
    Ok(Inventory { boards })
}

fn read_toml(mut root: Table<'_>) -> Vec<Board> {
    let defaults = Defaults::read(root.table("defaults"));
    let boards = root.table("board");
    if boards.all().is_empty() {
        none(&root, "write a table [board.NAME] with `host` for each");
    }
    root.finish();
    let mut seen = Seen::default();
    let mut out = Vec::new();
    for (name, span, mut table) in boards.tables().into_iter().take(MAX_BOARDS) {
        let name = match parse_name(name) {
            Ok(name) => Some(name),
            Err(flaw) => {
                table.refuse_at(span, flaw);
                None
            }
        };
        let board = read_board(&mut table, name, &defaults, &mut seen);
        table.finish();
        out.extend(board);
    }
    out
}

fn read_yaml(mut root: Table<'_>) -> Vec<Board> {
    let defaults = Defaults::read(root.table("defaults"));
    let clients = root.rows("clients", MAX_BOARDS);
    if clients.is_empty() {
        none(
            &root,
            "write a list `clients:` with `host` and `name` of each",
        );
    }
    root.finish();
    let mut seen = Seen::default();
    let mut out = Vec::new();
    for mut table in clients {
        let name = table.parsed("name", parse_name);
        if !table.has("name") {
            table.missing(Flaw::new("a board has no `name`").hint("write its name in the fleet"));
        }
        if let Some(name) = &name
            && !seen.names.insert(name.clone())
        {
            table.refuse(
                "name",
                Flaw::new(format!("there are two boards called `{name}`"))
                    .hint("a name stands for one node of the fleet"),
            );
        }
        let board = read_board(&mut table, name, &defaults, &mut seen);
        table.finish();
        out.extend(board);
    }
    out
}

fn none(root: &Table<'_>, hint: &'static str) {
    root.missing(Flaw::new("there is no board in this inventory").hint(hint));
}

/// What no two boards may have alike.
#[derive(Default)]
struct Seen {
    names: BTreeSet<Name>,
    /// Host (see [`one_machine`]) and port, and whose they are.
    hosts: BTreeMap<(String, Option<u16>), Option<Name>>,
}

/// What boards have that say nothing else.
struct Defaults {
    ssh_user: Option<String>,
    ssh_port: Option<u16>,
    ssh_key: Option<String>,
    ssh_options: Vec<String>,
    install_dir: String,
    sudo: bool,
    labels: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
}

impl Defaults {
    fn read(mut t: Table<'_>) -> Defaults {
        let defaults = Defaults {
            ssh_user: t.parsed("ssh_user", user),
            ssh_port: ssh_port(&mut t),
            ssh_key: t.parsed("ssh_key", key_file),
            ssh_options: t.parsed_list("ssh_options", option).unwrap_or_default(),
            install_dir: t
                .parsed("install_dir", install_dir)
                .unwrap_or_else(|| "/usr/local/bin".to_owned()),
            sudo: t.bool("sudo").unwrap_or(true),
            labels: t.string_map("labels", label),
            env: t.string_map("env", env_entry_of_one_line),
        };
        t.finish();
        defaults
    }
}

fn read_board(
    t: &mut Table<'_>,
    name: Option<Name>,
    defaults: &Defaults,
    seen: &mut Seen,
) -> Option<Board> {
    let host = t.parsed("host", host);
    if !t.has("host") {
        t.missing(
            Flaw::new("a board has no `host`").hint("write its address, or its name for ssh"),
        );
    }
    let ssh_user = t.parsed("ssh_user", user);
    let ssh_port = ssh_port(t).or(defaults.ssh_port);
    let ssh_key = t.parsed("ssh_key", key_file);
    let ssh_options = t.parsed_list("ssh_options", option);
    let install_dir = t.parsed("install_dir", install_dir);
    let sudo = t.bool("sudo");
    let mut labels = defaults.labels.clone();
    labels.extend(t.string_map("labels", label));
    for workload in t.parsed_list("workloads", parse_name).unwrap_or_default() {
        labels.insert(format!("{RUNS}{workload}"), "yes".to_owned());
    }
    let mut env = defaults.env.clone();
    env.extend(t.string_map("env", env_entry_of_one_line));
    if env
        .iter()
        .map(|(k, v)| k.len() + v.len() + 4)
        .sum::<usize>()
        > MAX_ENV
    {
        t.refuse("env", Flaw::new("`env` is larger than 16 KiB"));
    }
    if let Some(host) = &host
        && let Some(other) = seen
            .hosts
            .insert((one_machine(host), ssh_port), name.clone())
    {
        let whose = other.map_or_else(String::new, |n| format!(" (it is that of `{n}`)"));
        t.refuse(
            "host",
            Flaw::new(format!("two boards have the host `{}`{whose}", shown(host)))
                .hint("one machine is one node; write another host, or another `ssh_port`"),
        );
    }
    Some(Board {
        name: name?,
        host: host?,
        ssh_user: ssh_user.or_else(|| defaults.ssh_user.clone()),
        ssh_port,
        ssh_key: ssh_key.or_else(|| defaults.ssh_key.clone()),
        ssh_options: ssh_options.unwrap_or_else(|| defaults.ssh_options.clone()),
        install_dir: install_dir.unwrap_or_else(|| defaults.install_dir.clone()),
        sudo: sudo.unwrap_or(defaults.sudo),
        labels,
        env,
    })
}

fn parse_name(text: &str) -> Result<Name, Flaw> {
    text.parse::<Name>().map_err(|e| Flaw::new(e.to_string()))
}

fn ssh_port(t: &mut Table<'_>) -> Option<u16> {
    let port = t.integer_within("ssh_port", 1..=65_535)?;
    u16::try_from(port).ok()
}

fn host(text: &str) -> Result<String, Flaw> {
    let address = text.parse::<std::net::IpAddr>().is_ok();
    let alias = !text.starts_with('-')
        && (1..=253).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if address || is_host(text) || alias {
        return Ok(text.to_owned());
    }
    let flaw = Flaw::new(format!("`{}` is not a host", shown(text)));
    Err(match text.split_once('@') {
        Some(_) => flaw.hint("write the user as `ssh_user`"),
        None => flaw
            .hint("write a name, an address, or a Host of ~/.ssh/config; the port is `ssh_port`"),
    })
}

/// The host as it is compared: names know no capitals, addresses have more than one spelling.
fn one_machine(host: &str) -> String {
    match host.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => host.trim_end_matches('.').to_ascii_lowercase(),
    }
}

fn user(text: &str) -> Result<String, Flaw> {
    let fine = !text.starts_with('-')
        && (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.@\\".contains(&b));
    match fine {
        true => Ok(text.to_owned()),
        false => Err(Flaw::new(format!("`{}` is not a user", shown(text)))),
    }
}

fn key_file(text: &str) -> Result<String, Flaw> {
    if text.is_empty() || text.len() > 4_096 || text.chars().any(char::is_control) {
        return Err(Flaw::new("`ssh_key` is not the path of a file"));
    }
    Ok(text.to_owned())
}

fn option(text: &str) -> Result<String, Flaw> {
    if text.contains('=') && text.len() <= 4_096 && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(
        Flaw::new(format!("`{}` is not an option of ssh", shown(text)))
            .hint("write it as after ssh's -o, as in \"ProxyJump=gate\""),
    )
}

/// Neither blanks nor what a unit, a shell or `sed` reads as something else.
fn install_dir(text: &str) -> Result<String, Flaw> {
    let path = absolute_path(text)?;
    // Without `//` and `/./`, behind which another directory could hide.
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let path: String = parts.flat_map(|part| ["/", part]).collect();
    let below = |dir: &str| {
        path.strip_prefix(dir)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if let Some(dir) = FLEETING.into_iter().find(|dir| below(dir)) {
        let flaw = Flaw::new(format!(
            "what is in `{}` is gone when the board restarts: {dir} lasts no longer",
            shown(text)
        ));
        return Err(flaw.hint("write a directory that stays, as in \"/usr/local/bin\""));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.+".contains(&b);
    if !path.is_empty() && path.bytes().all(plain) {
        return Ok(path);
    }
    Err(Flaw::new(format!(
        "`{}` cannot be the directory of a program",
        shown(text)
    ))
    .hint("write letters, digits, `-`, `_` and `.`, as in \"/usr/local/bin\""))
}

fn label(key: &str, value: &str) -> Result<(), Flaw> {
    crate::config::parse_label(&format!("{key}={value}")).map(drop)
}

/// Files of environments have one line for each.
fn env_entry_of_one_line(key: &str, value: &str) -> Result<(), Flaw> {
    env_entry(key, value)?;
    let ours = key.get(..OURS.len());
    if ours.is_some_and(|start| start.eq_ignore_ascii_case(OURS)) {
        return Err(Flaw::new(format!(
            "`{}` is a setting of the agent itself, and `env` is for its workloads",
            shown(key)
        ))
        .hint(
            "name and labels have keys here; other settings belong into a drop-in on the board \
             (`systemctl edit fleetctl-agent`)",
        ));
    }
    let name = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !name || value.chars().any(char::is_control) {
        return Err(Flaw::new(format!(
            "`{}` cannot be in the environment of a service",
            shown(key)
        ))
        .hint("its name is letters, digits and `_`, and its value one line"));
    }
    Ok(())
}
